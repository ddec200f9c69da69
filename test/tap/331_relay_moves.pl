# A ledger that moves while events are not delivered yet: to a standby that is promoted, and by pg_dump and
# pg_restore to clusters whose transaction identifiers are lower, or higher. All events arrive; what had
# been delivered before is not delivered again.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

my $accounts = 60;
my $receiver = Receiver->start('moves');
my $patience = "request_timeout => '5 minutes', failure_threshold => 1000000";

# Deposit once to each of the accounts $first to $last; more: further arguments of bank_deposit.
sub deposit_to
{
	my ($node, $first, $last, $more) = @_;

	$node->safe_psql('ledger',
			"SELECT count(bank_deposit(account(i), '1 HTG'"
		  . ($more ? ", $more" : '')
		  . ")) FROM generate_series($first, $last) AS i");
	return;
}

# What was delivered so far at a path, as a hash by event id.
sub delivered
{
	my ($path) = @_;
	return {
		map { $_->[0] => 1 }
		map { @{ $_->{events} } } grep { $_->{delivered} } @{ deliveries($receiver, $path) }
	};
}

# Take transaction identifiers.
sub take_xids
{
	my ($node, $n) = @_;

	$node->safe_psql('postgres',
		"DO \$\$ BEGIN FOR i IN 1..$n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$");
	return;
}

# Promotion
{
	my $primary = relay_node('primary', streaming => 1);
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;

	create_ledger($primary, 'ledger');
	add_functions($primary, 'ledger');
	open_accounts($primary, 'ledger', 1, $accounts, '100.00 HTG');
	my %paths = (single => '/primary/single', batch => '/primary/batch');
	subscribe($primary, 'ledger', 'single', $receiver->url($paths{single}), "$patience, concurrency => 10");
	subscribe($primary, 'ledger', 'batch', $receiver->url($paths{batch}),
		"$patience, concurrency => 3, mode => 'batch', batch_size => 10");
	wait_for_delivery($primary, 'ledger', 'single', 'batch');

	# a transaction that the promoted server will commit
	my $prepared = $primary->safe_psql('ledger',
		"BEGIN; SELECT event_id FROM bank_deposit(account(1), '1 HTG'); PREPARE TRANSACTION 'late'");

	# requests that hang, and events behind them
	$receiver->rules([ [ '/primary', '*', 'hang' ] ]);
	deposit_to($primary, 2, $accounts) foreach 1 .. 10;
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 13 }, 30, 'requests under way');
	my %before = map { $_ => delivered($paths{$_}) } keys %paths;
	wait_until($primary, 'ledger', 'records', <<"SQL");
SELECT bool_and(delivered = 2 * $accounts + 1) FROM bank_subscriptions
SQL
	$primary->wait_for_catchup($standby);

	my $status = relay_status($standby, 'ledger');
	is("$status->{state} $status->{pid}", 'standby ', 'a standby delivers nothing');
	is(health($standby, 'ledger')->{relay}, 't This is a standby; the primary delivers.', 'and says so');
	my $row = subscription($standby, 'ledger', 'single');
	cmp_ok($row->{lag_events}, '>=', 500, 'it shows what is not delivered');

	$primary->stop;
	$receiver->rules([]);
	$standby->promote;
	wait_for_worker($standby, 'ledger');
	wait_for_delivery($standby, 'ledger', 'single', 'batch');
	$standby->safe_psql('ledger', "COMMIT PREPARED 'late'");
	deposit_to($standby, 1, $accounts);
	wait_for_delivery($standby, 'ledger', 'single', 'batch');

	my $events = account_events($standby, 'ledger');
	ok($events->{$prepared}, 'promotion: the prepared transaction has committed');
	foreach my $name (sort keys %paths)
	{
		deliveries_ok($events, deliveries($receiver, $paths{$name}), "promotion, $name");
		$row = subscription($standby, 'ledger', $name);
		is("$row->{lag_events} $row->{delivered}",
			'0 ' . keys %$events, "promotion, $name: bank_subscriptions counts on");
	}
	is(relay_status($standby, 'ledger')->{state}, 'running', 'the promoted server delivers');
	ledger_ok($standby, 'ledger', 'promoted');
	$standby->stop;
}

# The ledger to dump. Its subscriptions have everything that can be left undone.
my $source = relay_node('source');
my %paths = map { $_ => "/dumped/$_" } qw(single batch parked dead);

take_xids($source, 20000);
create_ledger($source, 'ledger');
add_functions($source, 'ledger');
open_accounts($source, 'ledger', 1, $accounts, '100.00 HTG');
subscribe($source, 'ledger', 'single', $receiver->url($paths{single}), "$patience, concurrency => 10");
subscribe($source, 'ledger', 'batch', $receiver->url($paths{batch}),
	"$patience, concurrency => 3, mode => 'batch', batch_size => 10");
subscribe($source, 'ledger', 'parked', $receiver->url($paths{parked}),
	"$patience, max_attempts => 1000, retry_delay => '2 seconds', retry_max_delay => '2 seconds'");
subscribe($source, 'ledger', 'dead', $receiver->url($paths{dead}), "$patience, max_attempts => 1");
my @names = sort keys %paths;
wait_for_delivery($source, 'ledger', @names);

# One endpoint refuses an event of account 1, behind which others wait; another one three events for
# good; the other two hang.
my @refusing = map { [ $paths{$_}, '"poison": true', 'status:422' ] } qw(parked dead);
$receiver->rules(\@refusing);
deposit_to($source, 1, 1, q{metadata => '{"poison": true}'});
deposit_to($source, 2, $accounts) foreach 1 .. 3;
deposit_to($source, 1, 1) foreach 1 .. 20;
wait_for_delivery($source, 'ledger', qw(single batch dead));
deposit_to($source, 3, 4, q{metadata => '{"poison": true}'});
wait_for_delivery($source, 'ledger', 'dead');
wait_until($source, 'ledger', 'parked events', <<'SQL');
SELECT lag_events BETWEEN 23 AND 25 AND retrying = 3 FROM bank_subscriptions WHERE name = 'parked'
SQL
$receiver->rules([ @refusing, map { [ $paths{$_}, '*', 'hang' ] } qw(single batch) ]);
$receiver->reset_stats;
deposit_to($source, 5, $accounts) foreach 1 .. 8;
$receiver->wait_for(sub { $receiver->stats->{in_flight} == 13 }, 30, 'requests under way');
wait_for_delivery($source, 'ledger', 'dead');
wait_until($source, 'ledger', 'all but the parked events', <<'SQL');
SELECT lag_events BETWEEN 23 AND 25 AND retrying = 3 FROM bank_subscriptions WHERE name = 'parked'
SQL

my %before = map { $_ => delivered($paths{$_}) } @names;
my $events = account_events($source, 'ledger');
my $poison = {
	map { $_->[0] => 1 } query_rows($source, 'ledger', 'SELECT event_id FROM bank.events WHERE metadata IS NOT NULL')
};
is(scalar keys %$poison, 3, 'three events are refused');
is(scalar(keys %$events) - keys %{ $before{dead} }, 3, 'two of them, and the first, are dead letters');
cmp_ok(scalar(keys %$events) - keys %{ $before{$_} }, '>=', 400, "$_: many events are not delivered")
  foreach qw(single batch);
wait_until($source, 'ledger', 'records',
	"SELECT delivered = ${\scalar keys %{ $before{$_} }} FROM bank_subscriptions WHERE name = '$_'")
  foreach @names;

my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
run_ok('pg_dump', 'pg_dump', '-Fd', '-f', $dump, $source->connstr('ledger'));
my $source_xid = $source->safe_psql('ledger', 'SELECT min(transaction_id) FROM bank.events');
$source->stop;

# Run a program that must succeed.
sub run_ok
{
	my ($name, @command) = @_;
	my ($stdout, $stderr) = ('', '');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $done = IPC::Run::run(\@command, '<', \undef, '>', \$stdout, '2>', \$stderr);
	is(($done ? '' : 'failed: ') . $stderr, '', $name);
	return;
}

# Restore table by table: first everything else, then these; after each the worker has time to see it.
sub restore_in_order
{
	my ($target, $name, @tables) = @_;
	my ($contents) = PostgreSQL::Test::Utils::run_command([ 'pg_restore', '-l', $dump ]);
	my @items = split(/\n/, $contents);
	my $is_table = sub { $_[0] =~ / TABLE DATA bank ($_[1]) / };
	my $any = join('|', @tables);
	my @parts = ([ grep { !$is_table->($_, $any) } @items ]);

	foreach my $table (@tables)
	{
		push @parts, [ grep { $is_table->($_, $table) } @items ];
	}
	foreach my $part (0 .. $#parts)
	{
		my $list = write_file("$part.list", join("\n", @{ $parts[$part] }) . "\n");
		my $what = $part == 0 ? 'everything else' : $tables[ $part - 1 ];
		my $now = $target->safe_psql('ledger', 'SELECT clock_timestamp()');

		run_ok("$name: $what", 'pg_restore', '-L', $list, '-d', $target->connstr('ledger'), $dump);
		next if $part == 0;
		wait_until($target, 'ledger', "the worker to look at $what", <<"SQL");
SELECT state = 'idle' AND state_change > '$now'
FROM pg_stat_activity WHERE pid = (SELECT pid FROM bank_relay_status())
SQL
	}
	return;
}

# Restore into a fresh cluster: into a database that is empty, or one whose worker runs already.
sub restore_ok
{
	my ($name, %options) = @_;
	(my $cluster = $name) =~ s/\W+/_/g;
	my $target = relay_node($cluster);

	$receiver->rules(\@refusing);
	take_xids($target, $options{xids}) if $options{xids};
	$target->safe_psql('postgres', 'CREATE DATABASE ledger');
	if ($options{running})
	{
		$target->safe_psql('ledger', 'CREATE EXTENSION banking');
		wait_for_worker($target, 'ledger');
	}
	my $xid = $target->safe_psql('postgres', 'SELECT pg_current_xact_id()');
	cmp_ok($xid, $options{xids} ? '>' : '<', $source_xid, "$name: other transaction identifiers");
	my %after = map { $_ => scalar @{ deliveries($receiver, $paths{$_}) } } @names;

	if ($options{order})
	{
		restore_in_order($target, $name, @{ $options{order} });
	}
	else
	{
		run_ok("$name: pg_restore",
			'pg_restore', @{ $options{arguments} // [] },
			'-d', $target->connstr('ledger'), $dump);
	}
	wait_for_worker($target, 'ledger');
	wait_for_delivery($target, 'ledger', qw(single batch dead));
	foreach my $subscription (qw(single batch))
	{
		deliveries_ok(
			$events,
			deliveries($receiver, $paths{$subscription}),
			"$name, $subscription",
			before => $before{$subscription},
			after => $after{$subscription});
	}

	# what was parked is parked still, and what was given up is given up
	$receiver->wait_for(
		sub { @{ deliveries($receiver, $paths{parked}) } >= $after{parked} + 3 },
		30, "$name: a retry of the parked events");
	is_deeply(
		[
			query_rows($target, 'ledger',
				"SELECT subscription, state, count(*) FROM bank_deliveries GROUP BY 1, 2 ORDER BY 1, 2")
		],
		[ [ 'dead', 'dead', 3 ], [ 'parked', 'retrying', 3 ], [ 'parked', 'waiting', 20 ] ],
		"$name: what waits and what is dead is what it was");
	is(scalar @{ deliveries($receiver, $paths{dead}) }, $after{dead}, "$name, dead: nothing was sent");

	# then it is accepted
	$receiver->rules([]);
	is($target->safe_psql('ledger', "SELECT bank_retry_dead_letters('dead')"), 3, "$name: dead letters again");
	deposit_to($target, 1, $accounts);
	wait_for_delivery($target, 'ledger', @names);
	my $all = account_events($target, 'ledger');
	foreach my $subscription (@names)
	{
		deliveries_ok(
			$all,
			deliveries($receiver, $paths{$subscription}),
			"$name, $subscription, at the end",
			before => $before{$subscription},
			after => $after{$subscription},
			unordered => $subscription eq 'dead' ? $poison : {});
		my $row = subscription($target, 'ledger', $subscription);
		is( "$row->{state} $row->{breaker_state} $row->{lag_events} $row->{dead_letters} $row->{delivered}",
			'active closed 0 0 ' . keys %$all, "$name, $subscription: bank_subscriptions counts on");
	}
	ledger_ok($target, 'ledger', $name);
	is(errors_logged($target, 0), '', "$name: no error was logged");
	$target->stop;
	return;
}

restore_ok('lower identifiers');
restore_ok('higher identifiers', xids => 60000);
restore_ok('while a worker runs', running => 1);
restore_ok('while a worker runs, in parallel', running => 1, arguments => ['--jobs=4']);

# pg_restore may bring the tables in any order.
restore_ok('the worst order',
	running => 1,
	order => [qw(subscriptions subscription_progress subscription_secrets incarnations deliveries events)]);
restore_ok('another order',
	running => 1,
	order => [qw(deliveries subscription_progress subscriptions incarnations events subscription_secrets)]);
done_testing();
