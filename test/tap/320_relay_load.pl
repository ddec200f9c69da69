# The relay under load: many writers with all that can make a feed lose, repeat or turn round events.
# Whatever has committed is delivered once, per account in the order of versions; nothing else is.
#
# The load lasts BANKING_TEST_SECONDS (default 10); for the long run:
#   BANKING_TEST_SECONDS=60 prove ... test/tap/320_relay_load.pl

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

my $writers = 64;
my $accounts = 300;
my $seconds = test_seconds();
my $node = relay_node('load', conf => <<'CONF');
max_connections = 100
max_prepared_transactions = 100
deadlock_timeout = 20ms
wal_level = replica
max_wal_senders = 1
autovacuum = off
CONF
my $receiver = Receiver->start('load');

create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, $accounts + 10, '100000.00 HTG');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE TABLE t AS SELECT 1 AS n');

# Before anything else, the interleavings that an order by transaction turns round. T1 takes its
# transaction id first, and writes to B last.
subscribe($node, 'postgres', 'order', $receiver->url('/order'));
wait_for_delivery($node, 'postgres', 'order');
my $event = 'SELECT event_id FROM';

# Wait until an event has arrived at a path.
sub wait_for_event
{
	my ($path, $id, $what) = @_;

	$receiver->wait_for(
		sub {
			return scalar grep { $_->[0] eq $id } map { @{ $_->{events} } } @{ deliveries($receiver, $path) };
		},
		60, $what);
	return;
}

# Positions of these events in the order in which they have arrived.
sub arrival
{
	my ($path, @ids) = @_;
	my %wanted = map { $ids[$_] => $_ + 1 } (0 .. $#ids);

	return
	  join(' ',
		map { $wanted{ $_->[0] } // () } map { @{ $_->{events} } } @{ deliveries($receiver, $path) });
}

foreach my $case (
	[ 'a debit, then a deposit', "bank_withdraw(account(1), '1 HTG')", "bank_deposit(account(2), '1 HTG')" ],
	[
		'transfers',
		"bank_transfer(account(1), account(4), '1 HTG')",
		"bank_transfer(account(3), account(2), '1 HTG')"
	])
{
	my ($name, $debit, $credit) = @$case;

	foreach my $when ('at once', 'while it waits', 'in one batch')
	{
		my $session = $node->background_psql('postgres');
		$node->safe_psql('postgres', "SELECT bank_pause_subscription('order')") if $when eq 'in one batch';
		my $first = $session->query_safe("BEGIN; $event $debit");
		my $second = $node->safe_psql('postgres', "$event bank_deposit(account(2), '5 HTG')");

		# T2 does not wait for T1, which is still open
		wait_for_event('/order', $second, "$name, $when: the event of T2") if $when eq 'while it waits';
		my $third = $session->query_safe("$event $credit");
		is(arrival('/order', $first, $third), '', "$name, $when: nothing of T1 before it commits");
		$session->query_safe('COMMIT');
		$session->quit;
		$node->safe_psql('postgres', "SELECT bank_resume_subscription('order')") if $when eq 'in one batch';
		wait_for_delivery($node, 'postgres', 'order');
		like(
			arrival('/order', $first, $second, $third),
			$when eq 'while it waits' ? qr/^2 1 3$|^2 3 1$/ : qr/^(?=.*1)2 (?:1 )?3(?: 1)?$|^1 2 3$/,
			"$name, $when: B's events arrive in the order of their versions");
	}
}
deliveries_ok(account_events($node, 'postgres'), deliveries($receiver, '/order'), 'interleavings');

# A transaction that is being prepared is in every snapshot twice, as the session's and as a prepared one, as
# long as it waits for a standby. It is one transaction all the same.
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'\n");
$node->reload;
my $limbo = $node->background_psql('postgres');
$limbo->query_until(qr/begun/,
	"BEGIN;\nSELECT FROM bank_deposit(account(5), '1 HTG');\n\\echo begun\nPREPARE TRANSACTION 'limbo';\n");
wait_until($node, 'postgres', 'the transaction to be prepared', <<'SQL');
SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'
SQL
my $between = $node->safe_psql('postgres',
	"SET synchronous_commit = local; $event bank_deposit(account(6), '1 HTG')");
wait_for_event('/order', $between, 'an event while another transaction is being prepared');
my $cursor = $node->safe_psql('postgres', 'SELECT bank_feed_cursor()');
wait_for_delivery($node, 'postgres', 'order');
my $worker = relay_status($node, 'postgres')->{pid};
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
wait_for_worker($node, 'postgres', $worker);
$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "''");
$node->reload;
$limbo->query_safe('SELECT 1');
$limbo->quit;
$node->safe_psql('postgres', "COMMIT PREPARED 'limbo'");
is( $node->safe_psql('postgres', "SELECT count(*), count(DISTINCT position) FROM bank_feed('$cursor')"),
	'1|1', 'an event that was being prepared is in the feed once');
$receiver->wait_for(
	sub { delivered_events($receiver, '/order') == keys %{ account_events($node, 'postgres') } },
	60, 'the prepared event');
wait_for_delivery($node, 'postgres', 'order');
deliveries_ok(account_events($node, 'postgres'), deliveries($receiver, '/order'), 'while it was prepared');

# Now the load. Two subscribers, one for each mode; both refuse some of the requests.
$receiver->rules([ map { [ $_, '*', 'random:3:status:500' ] } '/single', '/batch' ]);
subscribe($node, 'postgres', 'single', $receiver->url('/single'),
	"retry_delay => '50 milliseconds', retry_max_delay => '1 second', failure_threshold => 1000");
subscribe($node, 'postgres', 'batch', $receiver->url('/batch'),
	"mode => 'batch', retry_delay => '50 milliseconds', retry_max_delay => '1 second',
	  failure_threshold => 1000");
$node->safe_psql('postgres', "SELECT bank_unsubscribe('order')");

# Writers that stay idle in their transactions: one here, one in another database; and prepared ones.
my ($idle, $stranger) = map { $node->background_psql($_) } 'postgres', 'other';
my $late = $idle->query_safe("BEGIN; $event bank_deposit(account($accounts + 1), '1 HTG')");
$stranger->query_safe('BEGIN; INSERT INTO t VALUES (2)');
my ($prepared, $undone) = map {
	$node->safe_psql('postgres',
		"BEGIN; $event bank_transfer(account($accounts + $_), account($accounts + $_ + 1), '1 HTG');
		  PREPARE TRANSACTION 'transfer $_'")
} 2, 4;

my $offset = -s $node->logfile;
my %load = pgbench(
	$node,
	'postgres',
	clients => $writers,
	seconds => $seconds,
	scripts => [
		<<"SQL",
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
\\set amount random(1, 500)
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), bank_money(:amount / 100.0, ''HTG''))');
SQL
		<<"SQL",
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
\\set c 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
\\set pause random(0, 30)
\\set end random(1, 4)
BEGIN;
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), ''0.01 HTG'')');
\\sleep :pause ms
SELECT attempt('SELECT bank_transfer(account(:a), account(:c), ''0.02 HTG'')');
SELECT attempt('SELECT bank_deposit(account(:c), ''0.03 HTG'')');
\\if :end = 1
ROLLBACK;
\\else
COMMIT;
\\endif
SQL
		<<"SQL",
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
\\set end random(1, 4)
BEGIN;
SELECT attempt('SELECT bank_deposit(account(:a), ''0.01 HTG'')');
SAVEPOINT one;
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), ''0.02 HTG'')');
SELECT attempt('SELECT bank_withdraw(account(:a), ''0.03 HTG'')');
ROLLBACK TO SAVEPOINT one;
SELECT attempt('SELECT bank_transfer(account(:b), account(:a), ''0.04 HTG'')');
SAVEPOINT two;
SELECT attempt('SELECT bank_withdraw(account(:b), ''0.05 HTG'')');
RELEASE SAVEPOINT two;
\\if :end = 1
ROLLBACK;
\\else
COMMIT;
\\endif
SQL
		<<"SQL",
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
\\set pause random(0, 50)
\\set end random(1, 3)
BEGIN;
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), ''0.01 HTG'')');
PREPARE TRANSACTION 'writer :client_id';
\\sleep :pause ms
\\if :end = 1
ROLLBACK PREPARED 'writer :client_id';
\\else
COMMIT PREPARED 'writer :client_id';
\\endif
SQL
		<<"SQL"
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
SELECT count(*) FROM bank_post_transfers(ARRAY[account(:a), account(:b), account(:a)],
  ARRAY[account(:b), account(:a), account(:b)], ARRAY['0.01 HTG', '0.02 HTG', '0.03 HTG']::bank_money[]);
SQL
	]);
is("$load{status} $load{stderr}", '0 ', 'no writer failed');
like(errors_logged($node, $offset), qr/^(40P01)?$/, 'no error but transactions that met in a circle');
cmp_ok($load{processed}, '>', 100 * $seconds, 'there was load');

# All that is committed arrives, although others are still open.
wait_for_delivery($node, 'postgres', 'single', 'batch');
my $events = account_events($node, 'postgres');
is(scalar(grep { $events->{$_} } $late, $prepared, $undone), 0, 'some transactions are still open');
foreach my $path ('/single', '/batch')
{
	my %result = deliveries_ok($events, deliveries($receiver, $path), "$path, others still open");
	cmp_ok($result{failed}, '>', 0, "$path: some requests failed, and were sent again");
}

# Then those that commit late. Nobody tells the worker of the prepared one, and no other transaction ends
# meanwhile: there is no autovacuum here.
$node->safe_psql('postgres', "ROLLBACK PREPARED 'transfer 4'");
$node->safe_psql('postgres', "COMMIT PREPARED 'transfer 2'");
wait_for_event($_, $prepared, 'the prepared transaction') foreach '/single', '/batch';
$idle->query_safe('COMMIT');
wait_for_event($_, $late, 'the transaction that was idle') foreach '/single', '/batch';
$stranger->query_safe('COMMIT');
$_->quit foreach $idle, $stranger;
$node->safe_psql('postgres', "$event bank_deposit(account($accounts + $_), '1 HTG')") foreach 1 .. 5;
wait_for_delivery($node, 'postgres', 'single', 'batch');

$events = account_events($node, 'postgres');
is(join(' ', map { $events->{$_} ? 1 : 0 } $late, $prepared, $undone),
	'1 1 0', 'two of the three have committed');
cmp_ok(
	$node->safe_psql('postgres', 'SELECT max(position) - count(*) FROM bank.events'),
	'>', $seconds, 'many positions were drawn by what was rolled back');
foreach my $name ('single', 'batch')
{
	my $requests = deliveries($receiver, "/$name");
	my %result = deliveries_ok($events, $requests, "/$name, at the end");
	my $failed = 0;

	foreach my $request (grep { !$_->{delivered} } @$requests)
	{
		$failed += @{ $request->{events} };
	}
	my $row = subscription($node, 'postgres', $name);
	is( join(' ', @$row{qw(state breaker_state lag_events retrying dead_letters delivered failed)}),
		join(' ', 'active closed 0 0 0', scalar keys %$events, $failed),
		"$name: bank_subscriptions says the same");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM bank_deliveries'), 0, 'nothing waits');
is_deeply(
	health($node, 'postgres'),
	{
		relay => 't The worker is running.',
		subscriptions => 't 2 active, 0 paused, 0 disabled',
		endpoints => 't No breaker is open.',
		dead_letters => 't There are none.',
		participants => 't 0 active, 0 paused',
		transfers => 't None is in doubt.'
	},
	'all is well');
my $status = relay_status($node, 'postgres');
is("@$status{qw(state error requests_in_flight events_in_memory payload_bytes)}",
	'running  0 0 0', 'the worker has nothing left');
ledger_ok($node, 'postgres', 'load');

$node->stop;
done_testing();
