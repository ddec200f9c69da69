# Many clients at once: no deadlock, no lost update, no error, in all three isolation levels.
#
# Each load lasts BANKING_TEST_SECONDS (default 10); for the long run:
#   BANKING_TEST_SECONDS=60 prove ... test/tap/030_concurrency.pl

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ledger_node('concurrency', conf => "deadlock_timeout = 20ms\n");
my $seconds = test_seconds();

# What pgbench is to do again, and what nobody may ever see.
my %settings = (
	'read committed' => { tries => 1, allowed => qr/^$/ },
	'repeatable read' => { tries => 0, allowed => qr/^(40001)?$/ },
	'serializable' => { tries => 0, allowed => qr/^(40001)?$/ });

# A test: pgbench ended well, the server logged no error but these, nobody waited in a circle.
sub load_ok
{
	my ($name, $load, $database, $offset, $allowed) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$load->{status} $load->{failed} $load->{stderr}", '0 0 ', "$name: no client failed");
	cmp_ok($load->{processed}, '>', 20, "$name: there was load");
	like(errors_logged($node, $offset), $allowed, "$name: no error but what is to be retried");
	return;
}

sub deadlocks
{
	my ($database) = @_;
	return $node->safe_psql('postgres', "SELECT deadlocks FROM pg_stat_database WHERE datname = '$database'");
}

# Opposite transfers on ten accounts. What a client was told is what the ledger has: as many events
# as transactions, and on every account what the events say.
foreach my $isolation ('read committed', 'repeatable read', 'serializable')
{
	(my $database = $isolation) =~ s/ /_/;
	create_ledger($node, $database);
	add_functions($node, $database);
	open_accounts($node, $database, 1, 10, '1000000.00 HTG');
	my $offset = -s $node->logfile;

	my %load = pgbench(
		$node, $database,
		seconds => $seconds,
		isolation => $isolation,
		tries => $settings{$isolation}->{tries},
		scripts => [<<'SQL']);
\set from random(1, 10)
\set to 1 + (:from - 1 + random(1, 9)) % 10
\set amount random(1, 500)
SELECT bank_transfer(account(:from), account(:to), bank_money(:amount / 100.0, 'HTG'));
SQL
	load_ok("transfers, $isolation", \%load, $database, $offset, $settings{$isolation}->{allowed});
	is(deadlocks($database), 0, "transfers, $isolation: no deadlock");
	is( $node->safe_psql(
			$database, "SELECT count(*) FROM bank_events WHERE event_type = 'transfer.completed'"),
		$load{processed},
		"transfers, $isolation: each is there once");
	is($node->safe_psql($database, "SELECT sum(balance) FROM bank_accounts WHERE house_account IS NULL"),
		'10000000.00', "transfers, $isolation: no money came or went");
	ledger_ok($node, $database, "transfers, $isolation");
	storage_ok($node, $database, "transfers, $isolation");
}

# All commands together on few accounts, refusals included, alone and in longer transactions that
# take savepoints and roll back; lower and upper limits within reach.
create_ledger($node, 'mixed');
open_accounts($node, 'mixed', 1, 8, '50.00 HTG',
	options => "overdraft_limit => '20.00 HTG', balance_limit => '150.00 HTG'");
open_accounts($node, 'mixed', 9, 12, '50.00 HTG');
add_functions($node, 'mixed');
my @mixed = (
	<<'SQL',
\set a random(1, 12)
\set amount random(1, 3000)
SELECT attempt('SELECT bank_deposit(account(:a), bank_money(:amount / 100.0, ''HTG''))');
\set b random(1, 12)
SELECT attempt('SELECT bank_withdraw(account(:b), bank_money(:amount / 100.0, ''HTG''))');
SQL
	<<'SQL',
\set a random(1, 12)
\set b random(1, 12)
\set amount random(1, 3000)
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), bank_money(:amount / 100.0, ''HTG''))');
SELECT version FROM bank_balance(account(:a)) \gset
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), ''0.01 HTG'', expected_version => :version)');
SQL
	<<'SQL',
\set a random(1, 12)
\set what random(1, 10)
\if :what = 1
SELECT attempt('SELECT bank_freeze(account(:a))');
\elif :what = 2
SELECT attempt('SELECT bank_set_limits(account(:a), overdraft_limit => ''30.00 HTG'',
  balance_limit => ''180.00 HTG'')');
\elif :what = 3
SELECT attempt('SELECT bank_close(account(:a))');
\else
SELECT attempt('SELECT bank_unfreeze(account(:a))');
\endif
SQL
	<<'SQL',
\set a random(1, 12)
\set b random(1, 12)
\set amount random(1, 2000)
\set end random(1, 3)
BEGIN;
SELECT attempt('SELECT bank_deposit(account(:a), bank_money(:amount / 100.0, ''HTG''))');
SAVEPOINT one;
SELECT attempt('SELECT bank_transfer(account(:a), account(:b), bank_money(:amount / 100.0, ''HTG''))');
ROLLBACK TO SAVEPOINT one;
SELECT attempt('SELECT bank_withdraw(account(:b), bank_money(:amount / 100.0, ''HTG''),
  house_account => ''fees'')');
SAVEPOINT two;
SELECT attempt('SELECT bank_transfer(account(:b), account(:a), bank_money(:amount / 100.0, ''HTG''))');
RELEASE SAVEPOINT two;
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
	<<'SQL',
\set a random(1, 12)
\set days random(0, 60)
SELECT attempt('SELECT bank_deposit(account(:a), ''0.05 HTG'',
  occurred_at => now() - :days * interval ''1 day'')');
SELECT attempt('SELECT bank_create_account(''00000000-0000-4000-8000-000000000002'', ''EPARGNE'', ''USD'')');
SQL
);
foreach my $isolation ('read committed', 'serializable')
{
	my $offset = -s $node->logfile;
	my %load = pgbench(
		$node, 'mixed',
		seconds => int(($seconds + 1) / 2),
		isolation => $isolation,
		tries => 0,
		scripts => \@mixed);

	# Transactions of several commands may lock accounts in a circle; the server ends that.
	load_ok("all commands, $isolation", \%load, 'mixed', $offset, qr/^(40001)? ?(40P01)?$/);
	ledger_ok($node, 'mixed', "all commands, $isolation");
}
storage_ok($node, 'mixed', 'all commands');
is( $node->safe_psql('mixed', <<'SQL'),
SELECT count(DISTINCT event_type) FROM bank_events WHERE event_type <> 'account.closed'
SQL
	7, 'all commands: each has happened');
is( $node->safe_psql('mixed', <<'SQL'),
SELECT count(*) FROM bank_accounts WHERE NOT bank_account_number_valid(account_number)
SQL
	0, 'all commands: every account has a valid number');

# Each transaction takes back what it did to an account, and does it again: who comes second waits,
# whatever became of the row in between.
create_ledger($node, 'savepoints');
add_functions($node, 'savepoints');
open_accounts($node, 'savepoints', 1, 3);
foreach my $isolation ('read committed', 'repeatable read')
{
	my $offset = -s $node->logfile;
	my $count = 'SELECT count(*) FROM bank_events';
	my %load = pgbench(
		$node, 'savepoints',
		seconds => int(($seconds + 1) / 2),
		isolation => $isolation,
		tries => $settings{$isolation}->{tries},
		scripts => [<<'SQL']);
\set a random(1, 3)
BEGIN;
SAVEPOINT one;
SELECT bank_deposit(account(:a), '0.01 HTG');
ROLLBACK TO SAVEPOINT one;
\sleep 100 us
SELECT bank_deposit(account(:a), '0.02 HTG');
COMMIT;
SQL
	load_ok("savepoints, $isolation", \%load, 'savepoints', $offset, $settings{$isolation}->{allowed});
	is( $node->safe_psql('savepoints', "$count WHERE event_type = 'money.deposited'") * 2,
		$node->safe_psql(
			'savepoints',
			'SELECT (100 * sum(balance))::bigint FROM bank_accounts WHERE house_account IS NULL'),
		"savepoints, $isolation: nothing that was taken back has remained");
	ledger_ok($node, 'savepoints', "savepoints, $isolation");
}
# The same, step by step: the place of the row version that was taken back is used again by somebody
# else's version of the same row. It is theirs.
open_accounts($node, 'savepoints', 4, 63, '1 HTG');
my $deposit = q{SELECT version FROM bank_deposit(account(10), '1 HTG')};
my $place = q{SELECT ctid FROM bank.accounts WHERE account_id = account(10)};
my ($older, $first, $second) = map { $node->background_psql('savepoints', on_error_stop => 0) } 1 .. 3;
$older->query_safe(
	"BEGIN; SELECT count(bank_deposit(account_id, '1 HTG')) FROM bank_accounts
	  WHERE house_account IS NULL AND account_id <> account(10)"
);
$first->query_safe("BEGIN; SAVEPOINT one; $deposit");
my $taken_back = $first->query_safe($place);
$first->query_safe('ROLLBACK TO SAVEPOINT one');
$older->query_safe('COMMIT');

foreach my $try (1 .. 200)
{
	$node->safe_psql('savepoints', $deposit);
	last if $node->safe_psql('savepoints', $place) eq $taken_back;
}
note "taken back at $taken_back, now at " . $node->safe_psql('savepoints', $place);
my $version = $node->safe_psql('savepoints', 'SELECT version FROM bank_balance(account(10))');
$second->query_safe("BEGIN; $deposit");
$first->query_until(qr/begun/, "\\echo begun\n$deposit;\n");
$node->poll_query_until('savepoints',
	"SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
$second->query_safe('COMMIT');
like(
	scalar($first->query('COMMIT')),
	qr/^${\($version + 2)}$/m,
	'a row that was taken back must be locked again');
$_->quit foreach ($older, $first, $second);
ledger_ok($node, 'savepoints', 'savepoints, step by step');
storage_ok($node, 'savepoints', 'savepoints');
is(deadlocks('savepoints'), 0, 'savepoints: no deadlock');

# The same requests again and again, from all clients at once: each key has one effect.
foreach my $isolation ('read committed', 'repeatable read', 'serializable')
{
	(my $database = "keys_$isolation") =~ s/ /_/;
	create_ledger($node, $database);
	add_functions($node, $database);
	open_accounts($node, $database, 1, 10, '1000000.00 HTG');
	my $before = $node->safe_psql($database, 'SELECT max(position) FROM bank_events');
	my $offset = -s $node->logfile;
	my %load = pgbench(
		$node,
		$database,
		transactions => 60,
		isolation => $isolation,
		tries => $settings{$isolation}->{tries} ? 1 : 1000,
		scripts => [
			<<'SQL',
\set n random(1, 100)
\set a 1 + :n % 10
SELECT bank_deposit(account(:a), bank_money(:n, 'HTG'), idempotency_key => 'deposit :n');
SQL
			<<'SQL',
\set n random(1, 100)
\set a 1 + :n % 10
\set b 1 + (:n + 1) % 10
SELECT bank_transfer(account(:a), account(:b), bank_money(:n, 'HTG'), idempotency_key => 'transfer :n');
SQL
			<<'SQL',
\set n random(1, 100)
SELECT bank_create_account('00000000-0000-4000-8000-000000000003', 'COURANT', 'HTG',
  idempotency_key => 'create :n', account_id => CASE WHEN :n % 2 = 0 THEN account(100 + :n) END);
SQL
			<<'SQL',
\set n random(1, 100)
SELECT bank_create_house_account(pg_catalog.format('house_%s', :n), 'HTG', idempotency_key => 'house :n');
SQL
			<<'SQL'
\set n random(1, 100)
\set a random(1, 10)
SELECT attempt('SELECT bank_deposit(account(:a), ''1 HTG'', idempotency_key => ''different :n'')');
SQL
		]);
	load_ok("keys, $isolation", \%load, $database, $offset, $settings{$isolation}->{allowed});
	is(deadlocks($database), 0, "keys, $isolation: no deadlock");
	is( $node->safe_psql($database, <<"SQL"),
SELECT count(*) FROM bank.idempotency_keys AS k
FULL JOIN (SELECT * FROM bank.events
  WHERE position > $before AND (data ->> 'house_account' = 'cash') IS NOT TRUE) AS e
  USING (aggregate_id, version)
WHERE k.idempotency_key IS NULL OR e.version IS NULL
SQL
		0, "keys, $isolation: one event for each key, one key for each event");
	is( $node->safe_psql($database, <<'SQL'),
SELECT sum(balance) FROM bank_accounts WHERE house_account IS NULL
SQL
		$node->safe_psql($database, <<'SQL'),
SELECT 10000000.00 + sum(CASE split_part(idempotency_key, ' ', 1) WHEN 'deposit'
  THEN split_part(idempotency_key, ' ', 2)::numeric
                        WHEN 'different' THEN 1 ELSE 0 END)
FROM bank.idempotency_keys
SQL
		"keys, $isolation: each deposit was made once");
	ledger_ok($node, $database, "keys, $isolation");
	storage_ok($node, $database, "keys, $isolation");
}

$node->stop;
done_testing();
