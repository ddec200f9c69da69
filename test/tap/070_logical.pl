# Logical replication: a subscriber that has the extension becomes an equal copy, by an initial copy
# or from a dump of the slot's snapshot, and stays one; events are append-only there too, also for
# what arrives by replication. Taking over needs the sequences, which are not replicated.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = ledger_node('publisher', streaming => 'logical');
my $subscriber = ledger_node('subscriber', streaming => 'logical');
my $directory = PostgreSQL::Test::Utils::tempdir;

my $writers = <<'SQL';
\set a random(101, 120)
\set b 101 + (:a - 101 + random(1, 19)) % 20
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a',
  '00000000-0000-7000-8000-000000000:b', '0.01 HTG');
SELECT bank_deposit('00000000-0000-7000-8000-000000000:a', '0.01 HTG',
  occurred_at => now() - interval '1 day', idempotency_key => pg_catalog.gen_random_uuid()::text);
SELECT count(*) / (count(*) FILTER (WHERE ok) = 40)::integer
FROM (SELECT array_agg(a), array_agg(b), array_agg('0.01 HTG'::bank_money), array_agg(pg_catalog.gen_random_uuid()::text)
      FROM (SELECT ('00000000-0000-7000-8000-000000000' || 101 + n % 20)::uuid, ('00000000-0000-7000-8000-000000000' || 101 + (n + 1 + n % 7) % 20)::uuid
            FROM generate_series(:a::integer, :a::integer + 39) AS n) AS o (a, b)) AS o (a, b, amounts, keys),
  bank_post_transfers(a, b, amounts, keys);
SQL

create_ledger($publisher, 'ledger');
$publisher->safe_psql('ledger', 'CREATE PUBLICATION ledger FOR TABLES IN SCHEMA bank');
varied_history($publisher, 'ledger');
open_accounts($publisher, 'ledger', 101, 120, '1000.00 HTG');
my %load = pgbench($publisher, 'ledger', clients => 8, transactions => 30, scripts => [$writers]);
is("$load{status} $load{stderr}", '0 ', 'there is a ledger that many have written to');
my $connection = $publisher->connstr . ' dbname=ledger';

# Two ways to begin; then the same for both.
foreach my $way ('initial copy', 'dump of the snapshot')
{
	(my $database = $way) =~ s/ /_/g;
	my $subscription = $database;

	if ($way eq 'initial copy')
	{
		create_ledger($subscriber, $database);
		$subscriber->safe_psql($database,
			"CREATE SUBSCRIPTION $subscription CONNECTION '$connection' PUBLICATION ledger");
		ok( $subscriber->poll_query_until(
				$database,
				"SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel"),
			"$way: it comes to an end");
	}
	else
	{
		# a slot, and a dump of exactly what was there when it was made, while others write
		my $end = start_pgbench($publisher, 'ledger', clients => 4, scripts => [$writers]);
		my $session = $publisher->background_psql('ledger', replication => 'database');
		my $slot =
		  $session->query_safe("CREATE_REPLICATION_SLOT $subscription LOGICAL pgoutput (SNAPSHOT 'export')");
		my $snapshot = (split(/\|/, $slot))[2];

		$subscriber->safe_psql('postgres', "CREATE DATABASE $database");
		IPC::Run::run(
			[
				'pg_dump', '-Fc', "--snapshot=$snapshot", '--no-publications', '-f', "$directory/snapshot",
				'-d', $connection
			]) or die 'pg_dump failed';
		$session->quit;
		IPC::Run::run([ 'pg_restore', '-e', '-d', $subscriber->connstr($database), "$directory/snapshot" ])
		  or die 'pg_restore failed';
		$subscriber->safe_psql($database,
				"CREATE SUBSCRIPTION $subscription CONNECTION '$connection' PUBLICATION ledger "
			  . "WITH (create_slot = false, slot_name = '$subscription', copy_data = false)");
		$end->();
	}

	%load = pgbench($publisher, 'ledger', clients => 8, transactions => 30, scripts => [$writers]);
	is("$load{status} $load{stderr}", '0 ', "$way: the publisher goes on");
	$publisher->safe_psql('ledger', <<'SQL');
SELECT bank_freeze('00000000-0000-7000-8000-000000000008');
SELECT bank_set_limits('00000000-0000-7000-8000-000000000009', balance_limit => '700 HTG');
SELECT bank_unfreeze('00000000-0000-7000-8000-000000000008');
SELECT bank_create_house_account(pg_catalog.format('house_%s', count(*)), 'KWD') FROM bank_events;
SQL
	$publisher->wait_for_catchup($subscription);
	is( fingerprint($subscriber, $database, 'replica'),
		fingerprint($publisher, 'ledger', 'replica'),
		"$way: the copy is equal");
	is( $subscriber->safe_psql(
			$database, "SELECT invariant FROM bank_verify() WHERE NOT ok AND invariant <> 'positions_unused'"
		),
		'',
		"$way: bank_verify() finds nothing but that the sequence of positions is not replicated");

	# Nobody changes events there, the publisher included.
	is(outcome($subscriber, $database, 'UPDATE bank.events SET amount = amount + 1'),
		'BK012', "$way: UPDATE is refused");
	is(outcome($subscriber, $database, 'DELETE FROM bank.events'), 'BK012', "$way: DELETE is refused");
	is(outcome($subscriber, $database, 'SET session_replication_role = replica; TRUNCATE bank.events'),
		'BK012', "$way: TRUNCATE is refused");
	my $digest = fingerprint($subscriber, $database, 'replica');
	my $offset = -s $subscriber->logfile;
	$publisher->safe_psql('ledger', <<'SQL');
BEGIN;
ALTER TABLE bank.events DISABLE TRIGGER events_refuse_change;
ALTER TABLE bank.events DISABLE TRIGGER events_refuse_row_change;
UPDATE bank.events SET amount = amount + 1 WHERE position = (SELECT max(position) FROM bank.events
  WHERE peer_id IS NOT NULL);
UPDATE bank.events SET amount = amount - 1 WHERE position = (SELECT max(position) FROM bank.events
  WHERE peer_id IS NOT NULL);
ALTER TABLE bank.events ENABLE ALWAYS TRIGGER events_refuse_change;
ALTER TABLE bank.events ENABLE ALWAYS TRIGGER events_refuse_row_change;
COMMIT;
SQL
	$subscriber->wait_for_log(qr/BK012 .*ERROR:  Events are append-only/, $offset);
	is(fingerprint($subscriber, $database, 'replica'),
		$digest, "$way: a forged change on the publisher stops the replication");

	# Taking over.
	$subscriber->safe_psql($database, <<"SQL");
ALTER SUBSCRIPTION $subscription DISABLE;
ALTER SUBSCRIPTION $subscription SET (slot_name = NONE);
DROP SUBSCRIPTION $subscription;
SELECT bank_rebuild();
SQL
	$publisher->safe_psql(
		'ledger',
		"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
		  WHERE slot_name = '$subscription' AND active"
	);
	$publisher->poll_query_until('ledger',
		"SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$subscription' AND active");
	$publisher->safe_psql('ledger', "SELECT pg_drop_replication_slot('$subscription')");
	ledger_ok($subscriber, $database, "$way, taken over");
	%load = pgbench($subscriber, $database, clients => 8, transactions => 30, scripts => [$writers]);
	is("$load{status} $load{stderr}", '0 ', "$way, taken over: commands work");
	is( outcome(
			$subscriber, $database,
			"SELECT bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG')"),
		'ok',
		"$way, taken over: accounts are opened");
	ledger_ok($subscriber, $database, "$way, taken over and written to");
	ledger_ok($publisher, 'ledger', "$way: the publisher's own ledger");
}

$subscriber->stop;
$publisher->stop;
done_testing();
