# The feed on a standby that follows a primary under load, and after its promotion, with the same
# cursor; cursors that go from one server to the other; and on a subscriber of logical replication.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Feed;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "shared_preload_libraries = 'banking'\nbanking.allow_private_endpoints = on\n"
  . "deadlock_timeout = 50ms\n";
my $primary = ledger_node('primary', streaming => 'logical', conf => $conf);
create_ledger($primary, 'ledger');
add_functions($primary, 'ledger');
open_accounts($primary, 'ledger', 1, 20, '1000.00 HTG');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
$standby->start;

my @writes = (
	<<'SQL',
\set a random(1, 10)
\set b 1 + (:a + random(0, 8)) % 10
SELECT bank_transfer(account(:a), account(:b), '0.01 HTG');
SQL
	<<'SQL',
\set a random(11, 15)
\set b random(16, 20)
\set ms random(1, 200)
\set end random(1, 3)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG', house_account => 'fees');
SAVEPOINT s;
SELECT pg_sleep(:ms / 1000.0);
SELECT bank_deposit(account(:b), '0.01 HTG', house_account => 'fees');
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
	<<'SQL'
\set a random(1, 10)
\set end random(1, 2)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG', house_account => 'external');
PREPARE TRANSACTION 'load :client_id';
\if :end = 1
COMMIT PREPARED 'load :client_id';
\else
ROLLBACK PREPARED 'load :client_id';
\endif
SQL
);

sub deposit
{
	my ($account) = @_;
	return "SELECT position FROM bank_deposit(account($account), '1.00 HTG')";
}

# End a load, and what it has left.
sub end_load
{
	my ($node, $end) = @_;

	$end->();
	$node->poll_query_until('ledger', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pgbench'})
	  or die 'pgbench does not end';
	$node->safe_psql('ledger', "ROLLBACK PREPARED '$_'")
	  foreach split(/\n/, $node->safe_psql('ledger', 'SELECT gid FROM pg_prepared_xacts'));
	return;
}

# Under load: pages of all sizes, from the beginning. Transactions with many subtransactions run all the
# time, so that snapshots on the standby overflow; one runs for the whole of it.
my ($cursor, @read, @page);
{
	my ($long, $many) = map { $primary->background_psql('ledger') } 1 .. 2;
	my $reader = $standby->background_psql('ledger');

	open_accounts($primary, 'ledger', 21, 22, '1000.00 HTG');
	$long->query_safe('BEGIN');
	my $early = $long->query_safe(deposit(21));
	$many->query_safe('BEGIN');
	foreach my $i (1 .. 80)
	{
		$many->query_safe("SAVEPOINT s$i");
		$many->query_safe(deposit(22));
	}
	$primary->wait_for_catchup($standby);
	my $end = start_pgbench($primary, 'ledger', clients => 8, scripts => \@writes);
	my $stop = time + (int(0.6 * test_seconds()) || 1);
	my ($pages, $late, $highest) = (0, 0, 0);

	while (time < $stop)
	{
		($cursor, @page) = feed_page($reader, 'ledger', $cursor, (1, 7, 100, 1000, 10000)[ $pages++ % 5 ]);
		$late += grep { $_ < $highest } @page;
		foreach (@page)
		{
			$highest = $_ if $_ > $highest;
		}
		push @read, @page;
	}
	is(scalar(grep { $_ == $early } @read), 0, 'standby: what runs on the primary is not seen');
	note("$late events came after higher positions");
	cmp_ok(scalar @read, '>', 0, 'standby: some were read while others wrote');
	$_->query_safe('COMMIT') foreach $long, $many;
	end_load($primary, $end);
	$primary->wait_for_catchup($standby);
	($cursor, @page) = feed_rest($reader, 'ledger', $cursor, 1000);
	push @read, @page;
	is(scalar(grep { $_ == $early } @page), 1, 'standby: once it has committed it is');
	feed_ok($standby, 'ledger', 'standby under load', \@read);
	feed_ok($primary, 'ledger', 'standby under load, as the primary sees it', \@read);
	$_->quit foreach $long, $many, $reader;
}

# A cursor of the primary on a standby that lags behind, in the middle of a batch: what the standby has not got
# yet must not be taken for read.
{
	my @open = map { $primary->background_psql('ledger') } 1 .. 2;
	my $other = feed_cursor($primary, 'ledger');
	my (@expected, $next);

	foreach my $i (0, 1)
	{
		$open[$i]->query_safe('BEGIN');
		push @expected, $open[$i]->query_safe(deposit($i + 1));
	}
	push @expected, $primary->safe_psql('ledger', deposit(3));
	$primary->wait_for_catchup($standby);
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'})
	  or die 'replay does not pause';
	$_->query_safe('COMMIT') foreach @open;
	my @all = positions($primary, 'ledger', "position >= $expected[0]");
	($next, my @got) = feed_page($primary, 'ledger', $other, 1);
	is("@got", $all[0], 'the primary reads the first event');
	($next, @page) = feed_page($standby, 'ledger', $next, 10);
	push @got, @page;
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	$primary->safe_psql('ledger', deposit(4));
	$primary->wait_for_catchup($standby);
	($next, @page) = feed_rest($standby, 'ledger', $next, 10);
	feed_ok($standby, 'ledger', 'a cursor of the primary on a standby that lags',
		[ @got, @page ], [ positions($primary, 'ledger', "position >= $expected[0]") ]);
	(undef, @page) = feed_rest($primary, 'ledger', $next, 10);
	is("@page", '', 'and back on the primary there is nothing that it has not seen');
	$_->quit foreach @open;
}

# Promotion, with transactions that are lost, and one that is prepared: the cursor of the standby goes on.
{
	my @open = map { $primary->background_psql('ledger') } 1 .. 2;

	$primary->safe_psql('ledger', "BEGIN;\n" . deposit(5) . ";\nPREPARE TRANSACTION 'kept'");
	foreach my $i (0, 1)
	{
		$open[$i]->query_safe('BEGIN');
		$open[$i]->query_safe(deposit(6 + $i));
	}
	$primary->safe_psql('ledger', deposit(8)) foreach 1 .. 3;
	$primary->wait_for_catchup($standby);
	($cursor, @page) = feed_page($standby, 'ledger', $cursor, 2);
	push @read, @page;
	$primary->stop('immediate');
	$standby->promote;
	($cursor, @page) = feed_page($standby, 'ledger', $cursor, 1);
	push @read, @page;
	$standby->safe_psql('ledger', deposit(9)) foreach 1 .. 3;
	($cursor, @page) = feed_rest($standby, 'ledger', $cursor, 2);
	push @read, @page;
	$standby->safe_psql('ledger', "COMMIT PREPARED 'kept'");
	my %load = pgbench($standby, 'ledger', clients => 8, transactions => 20, scripts => \@writes);
	is("$load{status} $load{stderr}", '0 ', 'promoted: writers go on');
	($cursor, @page) = feed_rest($standby, 'ledger', $cursor, 7);
	push @read, @page;
	feed_ok($standby, 'ledger', 'promoted', \@read);
	eval { $_->quit } foreach @open;
}

# Logical replication: events get the subscriber's own transaction ids, and its feed has them all.
my $subscriber = ledger_node('subscriber', streaming => 1, conf => $conf);
create_ledger($subscriber, 'copy');
my $connection = $standby->connstr . ' dbname=ledger';
my $incarnation = $subscriber->safe_psql('copy', 'TABLE bank.incarnations');
my $begun = feed_cursor($subscriber, 'copy');
$standby->safe_psql('ledger', 'CREATE PUBLICATION ledger FOR TABLES IN SCHEMA bank');
my $end = start_pgbench($standby, 'ledger', clients => 4, scripts => [ @writes[ 0, 1 ] ]);
$subscriber->safe_psql('copy', "CREATE SUBSCRIPTION copy CONNECTION '$connection' PUBLICATION ledger");
@read = ();
$cursor = $begun;
$subscriber->poll_query_until('copy',
	"SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel")
  or die 'the initial copy does not end';
my $stop = time + (int(0.3 * test_seconds()) || 1);
my $pages = 0;
while (time < $stop)
{
	($cursor, @page) = feed_page($subscriber, 'copy', $cursor, (1, 7, 1000)[ $pages++ % 3 ]);
	push @read, @page;
}
end_load($standby, $end);
$standby->wait_for_catchup('copy');
($cursor, @page) = feed_rest($subscriber, 'copy', $cursor, 1000);
push @read, @page;
feed_ok($subscriber, 'copy', 'subscriber', \@read);
feed_ok($standby, 'ledger', 'subscriber, as the publisher sees it', \@read);
(undef, @page) = feed_rest($subscriber, 'copy', undef, 10000);
feed_ok($subscriber, 'copy', 'subscriber, from the beginning', \@page);
is($subscriber->safe_psql('copy', 'TABLE bank.incarnations'),
	$incarnation, 'subscriber: it has an incarnation of its own, and no other');
is( $subscriber->safe_psql(
		'copy', q{SELECT count(*) FROM bank.events WHERE transaction_id >= pg_current_xact_id()}
	),
	0,
	'subscriber: transaction ids are its own');
isnt(
	$subscriber->safe_psql('copy', 'SELECT md5(string_agg(transaction_id::text, $$ $$ ORDER BY position)) FROM bank.events'),
	$standby->safe_psql('ledger', 'SELECT md5(string_agg(transaction_id::text, $$ $$ ORDER BY position)) FROM bank.events'),
	'subscriber: not those of the publisher');
is(outcome($subscriber, 'copy', "SELECT * FROM bank_feed('" . feed_cursor($standby, 'ledger') . "')"),
	'BK029', 'subscriber: a cursor of the publisher is of another ledger');

# It takes over.
$subscriber->safe_psql('copy', <<'SQL');
ALTER SUBSCRIPTION copy DISABLE;
ALTER SUBSCRIPTION copy SET (slot_name = NONE);
DROP SUBSCRIPTION copy;
SELECT bank_rebuild();
SQL
add_functions($subscriber, 'copy');
my %load = pgbench($subscriber, 'copy', clients => 4, transactions => 20, scripts => [ $writes[0] ]);
is("$load{status} $load{stderr}", '0 ', 'subscriber, taken over: writers go on');
($cursor, @page) = feed_rest($subscriber, 'copy', $cursor, 9);
push @read, @page;
feed_ok($subscriber, 'copy', 'subscriber, taken over', \@read);

$_->stop foreach $standby, $subscriber;
done_testing();
