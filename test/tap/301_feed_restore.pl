# Cursors of the feed outlive their cluster: taken before a dump, they go on in what is restored from it,
# where transaction ids are lower, or higher, and mean nothing of what they meant; also after a second
# dump and restore. Nothing is lost, nothing comes twice.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Feed;
use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "shared_preload_libraries = 'banking'\nbanking.allow_private_endpoints = on\nfsync = off\n";
my $directory = PostgreSQL::Test::Utils::tempdir;
my $original = ledger_node('original', conf => $conf);
my $lower = ledger_node('lower', conf => $conf);
my $higher = ledger_node('higher', conf => $conf);
my %nodes = (lower => $lower, higher => $higher);

# The original has given many transaction ids before its ledger begins, one of the targets 2^32 and more.
$original->safe_psql('postgres', <<'SQL');
CREATE TABLE used (n integer);
DO $$ BEGIN
  FOR n IN 1 .. 40000 LOOP
    BEGIN
      INSERT INTO used VALUES (n);
    EXCEPTION WHEN OTHERS THEN
      RAISE;
    END;
  END LOOP;
END $$;
SQL
$higher->stop;
command_ok([ 'pg_resetwal', '-e', 3, '-D', $higher->data_dir ], 'a cluster in another epoch of transaction ids');
$higher->start;

sub deposit
{
	my ($account) = @_;
	return sprintf(
		"SELECT position FROM bank_deposit('00000000-0000-7000-8000-%012d', '1.00 HTG')", $account);
}

# Commit so many events, each in its own transaction, of accounts that no open transaction has locked.
sub write_events
{
	my ($node, $database, $n) = @_;

	$node->safe_psql($database, join(";\n", map { deposit(4 + $_ % 7) } 1 .. $n));
	return;
}

# A consumer: a cursor, and what has been read so far.
sub consumer
{
	my ($cursor, @read) = @_;
	return { cursor => $cursor, read => \@read };
}

sub copy_consumers
{
	my ($consumers) = @_;
	return { map { $_ => consumer($consumers->{$_}{cursor}, @{ $consumers->{$_}{read} }) } keys %$consumers };
}

# One page for a consumer.
sub read_page
{
	my ($node, $database, $consumer, $max) = @_;
	my ($cursor, @page) = feed_page($node, $database, $consumer->{cursor}, $max);

	$consumer->{cursor} = $cursor;
	push @{ $consumer->{read} }, @page;
	return;
}

sub read_rest
{
	my ($node, $database, $consumer) = @_;
	my ($cursor, @page) = feed_rest($node, $database, $consumer->{cursor}, 100);

	$consumer->{cursor} = $cursor;
	push @{ $consumer->{read} }, @page;
	return;
}

# The ledger goes on, and consumers read of it, none to the end: some stop in the middle of a batch,
# some when a transaction is still running.
sub go_on
{
	my ($node, $database, $consumers) = @_;
	my @names = sort keys %$consumers;
	my $late = $node->background_psql($database);

	$late->query_safe('BEGIN');
	$late->query_safe(deposit(1));
	write_events($node, $database, 10);
	foreach my $i (0 .. $#names)
	{
		read_page($node, $database, $consumers->{ $names[$i] }, 3 + $i);
		read_rest($node, $database, $consumers->{ $names[$i] }) if $i % 3 == 1;
	}
	$late->query_safe(deposit(2));
	$late->query_safe('COMMIT');
	$late->quit;
	write_events($node, $database, 10);
	read_page($node, $database, $consumers->{ $names[$_] }, 1 + $_) foreach grep { $_ % 2 } 0 .. $#names;
	return;
}

# A test for each consumer: it reads the rest, and then has got everything once.
sub ends_well
{
	my ($node, $database, $name, $consumers) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $consumer (sort keys %$consumers)
	{
		read_rest($node, $database, $consumers->{$consumer});
		feed_ok($node, $database, "$name, consumer \"$consumer\"", $consumers->{$consumer}{read});
	}
	return;
}

sub run_ok
{
	my ($name, @command) = @_;
	my ($stdout, $stderr) = ('', '');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $done = IPC::Run::run(\@command, '<', \undef, '>', \$stdout, '2>', \$stderr);
	is(($done ? '' : 'failed: ') . $stderr, '', $name);
	return;
}

# Dump a database into files, one of each format.
sub dump_ledger
{
	my ($node, $database) = @_;
	my $source = $node->connstr($database);

	run_ok("$database: dump", 'pg_dump', '-Fc', '-f', "$directory/$database.custom", '-d', $source);
	run_ok("$database: dump as inserts", 'pg_dump', '--inserts', '-f', "$directory/$database.inserts", '-d', $source);
	return;
}

# Restore such a file into a new database.
sub restore_ledger
{
	my ($node, $database, $file, $format) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	run_ok(
		"$database: restore",
		$format eq 'custom'
		? ('pg_restore', '-e', '-d', $node->connstr($database), "$directory/$file.$format")
		: (
			'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', "$directory/$file.$format", '-d',
			$node->connstr($database)));
	return;
}

# Consumers of the original, one in each situation there is.
my %consumers;

create_ledger($original, 'ledger');
$consumers{'empty ledger'} = consumer(feed_cursor($original, 'ledger'));
$consumers{'from the beginning'} = consumer(undef);
open_accounts($original, 'ledger', 1, 10, '100.00 HTG');
$consumers{'first batch'} = consumer(undef);
read_page($original, 'ledger', $consumers{'first batch'}, 13);

my ($never, $open, $early) = map { $original->background_psql('ledger') } 1 .. 3;
$never->query_safe('BEGIN');
my $lost = $never->query_safe(deposit(1));
$consumers{'later batch'} = consumer(undef);
read_rest($original, 'ledger', $consumers{'later batch'});
$early->query_safe('BEGIN');
$early->query_safe(deposit(2));
write_events($original, 'ledger', 5) foreach 1 .. 3;
$early->query_safe('COMMIT');
read_page($original, 'ledger', $consumers{'later batch'}, 4);
$open->query_safe('BEGIN');
$open->query_safe(deposit(3));
$consumers{'a transaction runs'} = consumer(undef);
read_rest($original, 'ledger', $consumers{'a transaction runs'});
$consumers{'now'} = consumer(feed_cursor($original, 'ledger'), @{ $consumers{'a transaction runs'}{read} });
$open->query_safe('COMMIT');
$consumers{'to the end'} = consumer(undef);
read_rest($original, 'ledger', $consumers{'to the end'});
dump_ledger($original, 'ledger');

# The original goes on by itself; one consumer has read there what the dump does not have.
$consumers{'of another branch'} = consumer(undef, positions($original, 'ledger'));
$never->query_safe('COMMIT');
write_events($original, 'ledger', 20);
($consumers{'of another branch'}{cursor}) = feed_rest($original, 'ledger', undef, 1000);
$_->quit foreach $never, $open, $early;
cmp_ok($original->safe_psql('ledger', 'SELECT min(transaction_id::text::bigint) FROM bank.events'),
	'>', 40000, 'the original counts high transaction ids');

# The first generation of copies.
my %first;
foreach my $format ('custom', 'inserts')
{
	foreach my $target ('lower', 'higher')
	{
		my $database = "${format}_$target";
		my $node = $nodes{$target};
		my $own = copy_consumers(\%consumers);

		restore_ledger($node, $database, 'ledger', $format);
		is(scalar(grep { $_ == $lost } positions($node, $database)), 0, "$database: what had not committed is not in it")
		  if $format eq 'custom';
		$own->{'of the copy, now'} =
		  consumer(feed_cursor($node, $database), positions($node, $database));
		$own->{'of the copy, from the beginning'} = consumer(undef);
		read_page($node, $database, $own->{'of the copy, from the beginning'}, 20);
		go_on($node, $database, $own);
		$first{$database} = copy_consumers($own);
		my $id = $node->safe_psql($database, 'SELECT transaction_id FROM bank.events ORDER BY position DESC LIMIT 1');
		cmp_ok($id, $target eq 'lower' ? '<' : '>', $target eq 'lower' ? 40000 : 2**32,
			"$database: it counts $target transaction ids");
		dump_ledger($node, $database) if $format eq 'custom';
		ends_well($node, $database, $database, $own);
		ledger_ok($node, $database, $database);
	}
}

# The second generation: to the other side, and back to where the ids were once. It has whatever was there
# at the time of the dump; consumers of the original that never saw the first go on in it as well.
foreach my $way ([ 'lower', 'higher' ], [ 'higher', 'lower' ])
{
	foreach my $format ('custom', 'inserts')
	{
		my ($from, $to) = @$way;
		my $database = "${from}_${to}_$format";
		my $own = copy_consumers($first{"custom_$from"});
		my $old = copy_consumers(\%consumers);

		restore_ledger($nodes{$to}, $database, "custom_$from", $format);
		$own->{"original, $_"} = $old->{$_} foreach keys %$old;
		go_on($nodes{$to}, $database, $own);
		ends_well($nodes{$to}, $database, $database, $own);
	}
}
dump_ledger($lower, 'higher_lower_custom');
{
	my $old = copy_consumers(\%consumers);
	restore_ledger($original, 'third', 'higher_lower_custom', 'custom');
	go_on($original, 'third', $old);
	ends_well($original, 'third', 'the third generation, where the ids are those of the first', $old);
}

# A ledger that was dumped while it was empty, then used, then dumped again.
create_ledger($original, 'nothing');
my %nothing = ('empty ledger' => consumer(feed_cursor($original, 'nothing')));
dump_ledger($original, 'nothing');
restore_ledger($lower, 'nothing', 'nothing', 'custom');
$nothing{'empty copy'} = consumer(feed_cursor($lower, 'nothing'));
open_accounts($lower, 'nothing', 1, 10, '1.00 HTG');
$nothing{'of the copy'} = consumer(feed_rest($lower, 'nothing', undef, 100));
dump_ledger($lower, 'nothing');
restore_ledger($higher, 'nothing', 'nothing', 'custom');
my $again = copy_consumers(\%nothing);
ends_well($lower, 'nothing', 'begun empty', \%nothing);
go_on($higher, 'nothing', $again);
ends_well($higher, 'nothing', 'begun empty, second generation', $again);

# Only the data, into a ledger that was there before, and had its consumer.
create_ledger($lower, 'data_only');
my %data = ('of the target' => consumer(feed_cursor($lower, 'data_only')),
	'to the end' => consumer($consumers{'to the end'}{cursor}, @{ $consumers{'to the end'}{read} }));
run_ok('data only: restore', 'pg_restore', '-e', '--data-only', '-d', $lower->connstr('data_only'),
	"$directory/ledger.custom");
go_on($lower, 'data_only', \%data);
ends_well($lower, 'data_only', 'data only', \%data);

# Into one that has events of its own it cannot be restored, and changes nothing there.
my $digest = fingerprint($lower, 'data_only');
my ($stdout, $stderr) = ('', '');
ok( !IPC::Run::run(
		[ 'pg_restore', '-e', '--data-only', '-d', $lower->connstr('data_only'), "$directory/nothing.custom" ],
		'<', \undef, '>', \$stdout, '2>', \$stderr),
	'data only: not into a ledger in use');
is(fingerprint($lower, 'data_only'), $digest, 'which is as it was');

# A copy by CREATE DATABASE lives in the same ids; so does one that has been renamed.
my $same = copy_consumers($first{custom_lower});
$lower->safe_psql('postgres', 'SELECT 1');
$lower->safe_psql('custom_lower', 'SELECT bank_relay_stop()');
$lower->safe_psql('postgres', 'CREATE DATABASE same TEMPLATE custom_lower');
go_on($lower, 'same', $same);
ends_well($lower, 'same', 'a cloned database', $same);

$_->stop foreach $original, $lower, $higher;
done_testing();
