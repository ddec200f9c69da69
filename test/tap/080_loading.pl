# How the library comes and goes: preloaded and on demand, with right and wrong settings, CREATE and
# DROP EXTENSION in all their ways (rolled back, repeated in one session, in other schemas, in several
# databases, against the guard), and queries in parallel workers.

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);
use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ledger_node('loading');
my $open = "SELECT version FROM bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG',
    account_id => '00000000-0000-7000-8000-000000000001')";
my $deposit = "SELECT version FROM bank_deposit('00000000-0000-7000-8000-000000000001', '1 HTG')";

$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN');

# A test on the server as it is configured now: what must be the same preloaded and on demand.
my $databases = 0;

sub loads_ok
{
	my ($name) = @_;
	my $database = 'db' . ++$databases;

	# CREATE EXTENSION that is rolled back leaves nothing, and does not stand in the way of the next.
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	is( answer(
			$node,
			$database,
			"BEGIN; CREATE EXTENSION banking; $open; $deposit; ROLLBACK; SELECT count(*) FROM pg_namespace
			  WHERE nspname = 'bank'; CREATE EXTENSION banking; $open; $deposit"
		),
		"1\n2\n0\n1\n2",
		"$name: CREATE EXTENSION rolled back, and again");
	is(outcome($node, $database, 'CREATE EXTENSION banking'), '42710', "$name: twice is an error");

	# Each command in a backend of its own.
	is(answer($node, $database, $deposit), $_, "$name: a new session, $_") foreach 3 .. 5;
	is(answer($node, $database, "SELECT '0.10 HTG'::bank_money * 3"),
		'0.30 HTG', "$name: a new session uses the type");
	is(outcome($node, $database, 'DELETE FROM bank.events'), 'BK012', "$name: a new session may not delete");

	# The guard, in sessions that have not used the library before.
	is(outcome($node, $database, $_), '2BP01', "$name: refused: $_")
	  foreach (
		'DROP EXTENSION banking',
		'DROP EXTENSION banking CASCADE',
		'SET session_replication_role = replica; BEGIN; DROP EXTENSION banking CASCADE; ROLLBACK',
		'DROP SCHEMA bank CASCADE',
		'DROP SCHEMA public CASCADE',
		'DROP TABLE bank.events CASCADE',
		'DROP OWNED BY CURRENT_USER CASCADE');
	ledger_ok($node, $database, "$name: all of it is there");

	# In one session: dropped, made again, used; the plans of before are of no use any more.
	is( answer(
			$node, $database, qq{
SET client_min_messages = warning;
$deposit;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
SELECT count(*) FROM pg_namespace WHERE nspname = 'bank';
CREATE EXTENSION banking;
$open;
$deposit;
BEGIN;
DROP EXTENSION banking CASCADE;
CREATE SCHEMA aside;
CREATE EXTENSION banking SCHEMA aside;
SET LOCAL search_path = aside;
$open;
$deposit;
ROLLBACK;
$deposit;
SELECT string_agg(aggregate_id::text, ' ') FROM bank_events WHERE version = 3}),
		"6\n0\n1\n2\n1\n2\n3\n00000000-0000-7000-8000-000000000001",
		"$name: DROP EXTENSION and CREATE EXTENSION in one session");
	ledger_ok($node, $database, "$name: made again");

	# The same in one transaction with writes before, so that the new tables are shorter than the old.
	open_accounts($node, $database, 101, 700, '1 HTG');
	is( answer(
			$node, $database, q{
SET client_min_messages = warning;
SET banking.allow_drop = on;
BEGIN;
SELECT count(bank_deposit(account_id, '1 HTG')) FROM bank_accounts WHERE house_account IS NULL;
DROP EXTENSION banking CASCADE;
CREATE EXTENSION banking;
SELECT count(bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG',
  account_id => '00000000-0000-7000-8000-000000000700'));
SELECT version FROM bank_deposit('00000000-0000-7000-8000-000000000700', '1 HTG');
COMMIT}),
		"601\n1\n2",
		"$name: in one transaction with movements before");
	ledger_ok($node, $database, "$name: made again in one transaction");

	# A ledger without events may go.
	is( outcome(
			$node,
			$database,
			'SET banking.allow_drop = on; DROP EXTENSION banking CASCADE; SET banking.allow_drop = off;
			  CREATE EXTENSION banking; DROP EXTENSION banking'
		),
		'ok',
		"$name: an empty ledger is dropped without more ado");

	# Somebody else's schema bank.
	is( outcome(
			$node, $database,
			"CREATE SCHEMA bank; CREATE TABLE bank.events (n int); INSERT INTO bank.events VALUES (1)"),
		'ok',
		"$name: somebody has a schema bank of his own");
	is(outcome($node, $database, 'CREATE EXTENSION banking'), '42P06', "$name: that is in the way");
	is(outcome($node, $database, "LOAD 'banking'; SELECT n FROM bank.events; DROP SCHEMA bank CASCADE"),
		'ok', "$name: and his to drop");
	is(outcome($node, $database, 'CREATE EXTENSION banking'), 'ok', "$name: then it is not");

	# Settings.
	is(outcome($node, $database, "LOAD 'banking'; SET banking.allow_drop = maybe"),
		'22023', "$name: a wrong value");
	is(outcome($node, $database, "LOAD 'banking'; SET banking.typo = on"),
		'42602', "$name: no setting of that name");
	is( answer(
			$node,
			$database,
			"SET client_min_messages = error; SET banking.allow_drop = off; LOAD 'banking';
			  SHOW banking.allow_drop"
		),
		'off',
		"$name: a setting made before");
	is( outcome(
			$node,
			$database,
			"SET ROLE clerk; SET banking.allow_drop = on; RESET ROLE; SELECT bank_account_number_valid('x');
			  SELECT 1 / (current_setting('banking.allow_drop') = 'off')::int"
		),
		$name eq 'preloaded' ? '42501' : 'ok',
		"$name: not for everybody");
	return;
}

loads_ok('on demand');
is(answer($node, 'db1', "SELECT count(*) FROM pg_settings WHERE name LIKE 'banking.%'"),
	0, 'on demand: a session that has not used it has not loaded it');

# Two ledgers in one cluster, and a copy of one, know nothing of each other.
create_ledger($node, 'one');
create_ledger($node, 'two', 'x');
varied_history($node, 'one');
varied_history($node, 'two', 'x');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE one');
is(fingerprint($node, 'copy'), fingerprint($node, 'one'), 'a copied database is an equal ledger');
my $digest = fingerprint($node, 'one');
$node->safe_psql('copy', "SELECT bank_deposit('00000000-0000-7000-8000-000000000008', '1 HTG')");
$node->safe_psql('two', "SELECT x.bank_deposit('00000000-0000-7000-8000-000000000008', '1 HTG')");
is(fingerprint($node, 'one'), $digest, 'what is done to others does not show');
ledger_ok($node, 'copy', 'copied database');
ledger_ok($node, 'two', 'other schema', 'x');

# In a schema of its own nothing depends on anybody's search_path.
is( answer(
		$node, 'two', q{
SET search_path = '';
SELECT version, balance FROM x.bank_deposit('00000000-0000-7000-8000-000000000008', '1 HTG',
  idempotency_key => 'path');
SELECT version, replayed FROM x.bank_deposit('00000000-0000-7000-8000-000000000008', '1 HTG',
  idempotency_key => 'path');
SELECT balance FROM x.bank_balance('00000000-0000-7000-8000-000000000008');
SELECT count(*) FROM x.bank_statement('00000000-0000-7000-8000-000000000001', '2020-01-01', '2100-01-01');
SELECT count(*) FROM x.bank_transactions('00000000-0000-7000-8000-000000000001');
SELECT balance FROM x.bank_balance_at('00000000-0000-7000-8000-000000000001', '2023-06-01');
SELECT count(*) FROM x.bank_account_events('00000000-0000-7000-8000-000000000001');
SELECT count(*) FROM x.bank_verify() WHERE NOT ok;
SELECT repaired FROM x.bank_rebuild();
SELECT '1 HTG'::x.bank_money OPERATOR(x.+) '2 HTG'::x.bank_money}),
	"3|2.00\n3|t\n2.00\n7\n5\n7.00\n6\n0\n0\n3.00 HTG",
	'everything works with an empty search_path');
is(outcome($node, 'two', 'ALTER EXTENSION banking SET SCHEMA public'), '0A000', 'the schema is chosen once');
is(outcome($node, 'two', 'DROP SCHEMA x CASCADE'), '2BP01', 'its schema cannot be dropped either');

# What a clerk needs is EXECUTE, on the functions and nothing else.
$node->safe_psql('two', <<'SQL');
GRANT USAGE ON SCHEMA x TO clerk;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA x TO clerk;
SQL
is( answer(
		$node, 'two', q{
SET ROLE clerk;
SELECT version FROM x.bank_deposit('00000000-0000-7000-8000-000000000008', '1 HTG',
  idempotency_key => 'clerk');
SELECT version FROM x.bank_withdraw('00000000-0000-7000-8000-000000000008', '1 HTG',
  house_account => 'suspense');
SELECT balance FROM x.bank_balance('00000000-0000-7000-8000-000000000008');
SELECT count(*) FROM x.bank_statement('00000000-0000-7000-8000-000000000008', '2020-01-01', '2100-01-01');
SELECT current_user}),
	"4\n5\n2.00\n6\nclerk",
	'commands and queries work without any right on tables');
is(outcome($node, 'two', "SET ROLE clerk; SELECT * FROM bank.accounts"),
	'42501', 'which he has not, neither before');
is( outcome(
		$node, 'two',
		"SET ROLE clerk; SELECT x.bank_withdraw('00000000-0000-7000-8000-000000000008', '100 HTG')"),
	'BK004',
	'a refusal is a refusal');
is( answer($node, 'two', <<'SQL'),
SET ROLE clerk;
\set ON_ERROR_STOP 0
SELECT x.bank_withdraw('00000000-0000-7000-8000-000000000008', '100 HTG');
SELECT current_user;
DO $$ BEGIN PERFORM x.bank_withdraw('00000000-0000-7000-8000-000000000008', '100 HTG');
  EXCEPTION WHEN OTHERS THEN RAISE; END $$;
SELECT current_user, pg_catalog.has_schema_privilege('bank', 'USAGE');
SQL
	"clerk\nclerk|f", 'after which he is himself again');

# A long answer in short.
sub digest
{
	my ($text) = @_;
	return length($text) < 200 ? $text : length($text) . ' bytes, ' . md5_hex($text);
}

# Parallel workers.
my $parallel = $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
my @queries = (
	"SELECT * FROM bank_account('00000000-0000-7000-8000-000000000001')",
	"SELECT * FROM bank_accounts_of('00000000-0000-4000-8000-000000000001') ORDER BY account_id",
	"SELECT count(*) FILTER (WHERE bank_account_exists(account_id)) FROM bank_accounts",
	'SELECT b.* FROM bank_accounts AS a, bank_balance(a.account_id) AS b ORDER BY 1',
	"SELECT b.* FROM bank_accounts AS a, bank_balance_at(a.account_id, '2024-06-01') AS b ORDER BY 1",
	'SELECT t.* FROM bank_accounts AS a, bank_transactions(a.account_id) AS t ORDER BY t::text',
	"SELECT s.* FROM bank_accounts AS a, bank_statement(a.account_id, '2023-01-01', '2100-01-01') AS s
	  ORDER BY s::text",
	'SELECT e.* FROM bank_accounts AS a, bank_account_events(a.account_id) AS e ORDER BY e::text',
	'SELECT * FROM bank_accounts ORDER BY account_id',
	'SELECT * FROM bank_events ORDER BY position',
	'SELECT * FROM bank_trial_balance ORDER BY currency',
	'SELECT invariant, ok, failures FROM bank_verify()',
	"SELECT currency, sum(bank_money(abs(balance), currency)), min(bank_money(abs(balance), currency)),
	  max(bank_money(abs(balance), currency)) FROM bank_accounts GROUP BY 1 ORDER BY 1",
	"SELECT sum(bank_money(amount / 100.0, 'HTG')), count(DISTINCT bank_money(amount, 'HTG'))
	  FROM bank.events",
	"SELECT bank_money(amount / 100.0, 'HTG') AS m, count(*) FROM bank.events WHERE currency = 'HTG'
	  GROUP BY 1 ORDER BY 1"
);
open_accounts($node, 'one', 101, 125, '0.37 HTG');
foreach my $query (@queries)
{
	my $settings = "SET $parallel = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; "
	  . 'SET min_parallel_table_scan_size = 0; SET min_parallel_index_scan_size = 0; ';

	is( digest(answer($node, 'one', $settings . $query)),
		digest(answer($node, 'one', "SET max_parallel_workers_per_gather = 0; $query")),
		"the same in parallel: " . one_line($query));
}
like(
	$node->safe_psql(
		'one',
		"SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; "
		  . "EXPLAIN (COSTS OFF) SELECT sum(bank_money(amount / 100.0, 'HTG')) FROM bank.events"),
	qr/Partial Aggregate/,
	'sums of money are made in parallel');
is( answer(
		$node, 'one', qq{
SET $parallel = on;
SELECT version FROM bank_deposit('00000000-0000-7000-8000-000000000101', '1 HTG');
SELECT count(bank_deposit(account_id, '1 HTG')) FROM bank_accounts
  WHERE account_id > '00000000-0000-7000-8000-000000000100' AND house_account IS NULL;
SELECT repaired FROM bank_rebuild()}),
	"3\n25\n0",
	'commands work where parallel queries are preferred');
ledger_ok($node, 'one', 'parallel');

# Preloaded, with settings in the configuration file.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'banking'\n");
$node->restart;
loads_ok('preloaded');
is(answer($node, 'postgres', 'SHOW banking.allow_drop'),
	'off', 'preloaded: known in every database, with or without the extension');
ledger_ok($node, 'one', 'preloaded');

# Wrong settings in the file do not stop the server, and do not open anything.
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "banking.typo = on\nbanking.allow_drop = perhaps\n");
$node->restart;
is(answer($node, 'one', 'SHOW banking.allow_drop'), 'off', 'a wrong value in the file is not taken');
is(outcome($node, 'one', 'SHOW banking.typo'), '42704', 'an unknown setting in the file is none');
like(slurp_file($node->logfile, $offset), qr/"banking\.allow_drop"/, 'the log says so');
like(slurp_file($node->logfile, $offset), qr/"banking\.typo"/, 'of both');
$node->append_conf('postgresql.conf', "banking.allow_drop = on\n");
$node->restart;
is(answer($node, 'one', 'SHOW banking.allow_drop'), 'on', 'a right one is taken');

# Default privileges, which many a shared database has, make nobody a user of the ledger.
$node->safe_psql('postgres', 'CREATE DATABASE defaults');
$node->safe_psql('defaults', <<'SQL');
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO clerk;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO clerk, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO clerk;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO clerk;
CREATE EXTENSION banking;
CREATE ROLE customers;
SELECT bank_grant('customers', 'customer');
CREATE ROLE alice LOGIN IN ROLE customers;
SQL
is(answer($node, 'defaults', 'SELECT * FROM bank_grants'), 'customers|customer', 'default privileges give no profile');
is(outcome($node, 'defaults', "SET SESSION AUTHORIZATION clerk; $_"), '42501', "nor a right: $_")
  foreach (
	"SELECT bank_grant('clerk', 'teller')",
	'SELECT count(*) FROM bank_events',
	'SELECT count(*) FROM bank.subscription_secrets');
is( answer(
		$node, 'defaults',
		"SET SESSION AUTHORIZATION alice; SELECT count(*) FROM bank_accounts; SELECT '1 HTG'::bank_money + '2 HTG'"),
	"0\n3.00 HTG",
	'default privileges leave a profile as it is');

# The extension without its library, and the library without the extension.
is(outcome($node, 'postgres', 'SELECT bank.minor_to_numeric(1, $$HTG$$)'),
	'3F000', 'a database without the extension has nothing of it');

$node->stop;
done_testing();
