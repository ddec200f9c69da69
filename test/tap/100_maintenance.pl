# What a DBA does while the bank is open: VACUUM, REINDEX, CLUSTER, new indexes, triggers of his own on
# the read model, bank_verify() and bank_rebuild(). Commands may wait for it; none may fail. And
# bank_rebuild() repairs whatever somebody did to the read models.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ledger_node('maintenance', conf => "deadlock_timeout = 100ms\nautovacuum_naptime = 1s\n");
create_ledger($node, 'postgres');
add_functions($node, 'postgres');
varied_history($node, 'postgres');
open_accounts($node, 'postgres', 101, 160, '1000.00 HTG');

# All kinds of commands, each on its own, so that none has a reason to fail.
my @load = (
	<<'SQL',
\set a random(101, 160)
\set b 101 + (:a - 101 + random(1, 59)) % 60
SELECT bank_transfer(account(:a), account(:b), '0.01 HTG');
SQL
	<<'SQL',
\set a random(101, 160)
SELECT bank_deposit(account(:a), '0.01 HTG', idempotency_key => pg_catalog.gen_random_uuid()::text,
  occurred_at => now() - interval '1 hour');
SQL
	<<'SQL',
SELECT bank_create_account('00000000-0000-4000-8000-000000000002', 'COURANT', 'HTG',
  account_id => pg_catalog.gen_random_uuid());
SELECT bank_create_house_account('h' || pg_catalog.left(pg_catalog.md5(pg_catalog.random()::text), 20),
  'HTG');
SQL
	<<'SQL',
\set a random(101, 160)
SELECT bank_set_limits(account(:a), overdraft_limit => '10.00 HTG');
SQL
	<<'SQL',
\set a random(101, 160)
BEGIN;
SELECT bank_deposit(account(:a), '0.05 HTG', house_account => 'fees');
SAVEPOINT one;
SELECT bank_withdraw(account(:a), '0.02 HTG', house_account => 'external');
ROLLBACK TO SAVEPOINT one;
SELECT bank_withdraw(account(:a), '0.03 HTG');
COMMIT;
SQL
	<<'SQL',
\set a random(101, 160)
SELECT count(*) FROM bank_transactions(account(:a));
SELECT balance FROM bank_balance_at(account(:a), now() - interval '30 minutes');
SELECT sum(credit) FROM bank_statement(account(:a), current_date - 1, current_date);
SQL
);

foreach my $work (
	[ 'bank_verify()', 'SELECT * FROM bank_verify() WHERE NOT ok' ],
	[ 'bank_rebuild()', 'SELECT repaired FROM bank_rebuild() WHERE repaired <> 0' ],
	[ 'VACUUM', 'VACUUM bank.accounts, bank.events; VACUUM ANALYZE; VACUUM FREEZE bank.accounts' ],
	[ 'VACUUM FULL', 'VACUUM FULL bank.accounts; VACUUM FULL bank.events' ],
	[ 'CLUSTER', 'CLUSTER bank.accounts USING accounts_pkey; CLUSTER bank.events USING events_position_key' ],
	[
		'REINDEX',
		'REINDEX TABLE bank.accounts; REINDEX TABLE bank.events; REINDEX TABLE bank.idempotency_keys'
	],
	[
		'REINDEX CONCURRENTLY',
		'REINDEX TABLE CONCURRENTLY bank.accounts; REINDEX TABLE CONCURRENTLY bank.events'
	],
	[
		'an index more and less',
		'CREATE INDEX CONCURRENTLY extra ON bank.accounts (status, version);
		  DROP INDEX CONCURRENTLY bank.extra'
	],
	[
		'other storage',
		'ALTER TABLE bank.accounts SET (fillfactor = 90);
		  ALTER TABLE bank.accounts RESET (autovacuum_enabled); ALTER TABLE bank.accounts
		    SET (fillfactor = 50)'
	])
{
	my ($name, $sql) = @$work;
	my $offset = -s $node->logfile;
	my $end = start_pgbench($node, 'postgres', clients => 8, scripts => \@load);

	foreach my $time (1 .. 3)
	{
		my $before = $node->safe_psql('postgres', 'SELECT last_value FROM bank.events_position_seq');

		is(answer($node, 'postgres', $sql), '', "$name, $time");
		$node->poll_query_until('postgres', "SELECT last_value > $before + 50 FROM bank.events_position_seq")
		  or die "$name stands in the way for good";
	}
	$end->();

	# but that its client went away when the load was ended
	is(join(' ', grep { !/^08/ } split(/ /, errors_logged($node, $offset))), '',
		"$name: nobody got an error");
	ledger_ok($node, 'postgres', $name);
}
storage_ok($node, 'postgres', 'after all of it');

# A trigger of the DBA's on the read model, while sessions are at work: it sees every change.
my $session = $node->background_psql('postgres');
my $deposit = "SELECT balance FROM bank_deposit(account(8), '1.00 HTG')";
$session->query_safe($deposit);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE seen (version bigint, balance bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.seen VALUES (NEW.version, NEW.credits - NEW.debits);
  RETURN NEW;
END $$;
CREATE TRIGGER see BEFORE UPDATE ON bank.accounts
  FOR EACH ROW WHEN (NEW.house_code IS NULL) EXECUTE FUNCTION see();
SQL
$session->query_safe($deposit) foreach 1 .. 2;
$node->safe_psql('postgres', 'DROP TRIGGER see ON bank.accounts');
like(scalar($session->query_safe($deposit)), qr/^4\.00$/m, 'a trigger on bank.accounts comes and goes');
$session->quit;
is($node->safe_psql('postgres', "SELECT string_agg(balance::text, ' ' ORDER BY version) FROM seen"),
	'200 300', 'and sees what is written');
ledger_ok($node, 'postgres', 'with a trigger on bank.accounts');

# Somebody has touched the read models. bank_verify() notices, commands do not make it worse silently,
# bank_rebuild() makes them what they were, to the last byte, whatever is missing.
my $digest = fingerprint($node, 'postgres');
foreach my $damage (
	"UPDATE bank.accounts SET credits = credits + 1 WHERE account_id = account(101)",
	"UPDATE bank.accounts SET status = 'CLOSED' WHERE account_id > account(130) AND house_code IS NULL",
	"UPDATE bank.accounts SET version = version + 1, position = 1",
	"UPDATE bank.accounts SET account_number = NULL, balance_limit = 5, held = 3 WHERE house_code IS NULL",
	'DELETE FROM bank.accounts WHERE house_code IS NOT NULL',
	'DELETE FROM bank.backdated_movements WHERE version % 2 = 0',
	'UPDATE bank.backdated_movements SET amount = amount + 1',
	'TRUNCATE bank.accounts, bank.backdated_movements',
	"INSERT INTO bank.accounts SELECT (a).* FROM (SELECT jsonb_populate_record(a,
	  jsonb_build_object('account_id', gen_random_uuid(), 'account_number', NULL)) AS a
	    FROM bank.accounts AS a WHERE account_id = account(102)) AS a",
	"SELECT setval('bank.events_position_seq', 1), setval('bank.account_serial_seq', 1)")
{
	(my $short = one_line($damage)) =~ s/^(.{60}).*/$1.../s;

	$node->safe_psql('postgres', $damage);
	isnt($node->safe_psql('postgres', 'SELECT count(*) FROM bank_verify() WHERE NOT ok'),
		0, "bank_verify() notices: $short")
	  unless $damage =~ /setval/;
	is(outcome($node, 'postgres', 'SELECT * FROM bank_rebuild()'), 'ok', "bank_rebuild() repairs: $short");
	is(fingerprint($node, 'postgres', 1), $digest =~ s/^.*_seq\|.*\n//mgr, "equal again: $short");
}
ledger_ok($node, 'postgres', 'after repairs');
is( answer(
		$node,
		'postgres',
		"SELECT balance FROM bank_deposit(account(8), '1.00 HTG');
		  SELECT bank_account_number_valid(account_number)
		    FROM bank_create_account('00000000-0000-4000-8000-000000000002', 'COURANT', 'HTG')"
	),
	"5.00\nt",
	'and the ledger goes on');

$node->stop;
done_testing();
