# Prepared transactions: a movement that is neither committed nor rolled back blocks the accounts it
# names and nothing else. Whoever books on other accounts never waits for a house account, also not
# the session that prepared it, nor a later one in the same slot of the server.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# To wait is to fail.
my $node = ledger_node('prepared', conf => "lock_timeout = '300ms'\ndeadlock_timeout = '5s'\n");
create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, 20);
open_accounts($node, 'postgres', 21, 40, undef, currency => 'USD');

sub run
{
	my ($sql) = @_;
	return outcome($node, 'postgres', $sql);
}

# The house account's stripes: their numbers within one slot of the server.
sub stripes
{
	my ($currency) = @_;
	return $node->safe_psql(
		'postgres',
		"SELECT string_agg((stripe / 1048576)::text, ' ' ORDER BY stripe) FROM bank.accounts
		  WHERE house_code = 'cash' AND currency = '$currency'"
	);
}

# The first deposit of all makes the house account; it is prepared. One session after the other,
# each in the slot that the one before it has left.
is(run("BEGIN; SELECT bank_deposit(account(1), '10 HTG'); PREPARE TRANSACTION 'first'"),
	'ok', 'the first deposit of all can be prepared');
is(run("SELECT bank_deposit(account(2), '10 HTG')"), 'ok', 'the next session in its slot does not wait');
is( run("BEGIN; SELECT bank_deposit(account(3), '10 HTG'); SELECT bank_deposit(account(3), '10 HTG');
  PREPARE TRANSACTION 'second'"
	),
	'ok',
	'another one can be prepared');
is(run("SELECT bank_deposit(account(4), '10 HTG')"), 'ok', 'nor does the session after that');
is( run("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT bank_withdraw(account(4), '5 HTG');
  PREPARE TRANSACTION 'third'"
	),
	'ok',
	'in SERIALIZABLE too');
is(run("SELECT bank_deposit(account(5), '10 HTG')"), 'ok', 'nor the session after that');
ledger_ok($node, 'postgres', 'with three prepared transactions');

# What it has locked is locked: its accounts, with the server's own error for who would wait.
is(run("SELECT bank_deposit(account(1), '1 HTG')"),
	'55P03', 'a command on an account of a prepared transaction waits');
is(run("SELECT bank_transfer(account(2), account(1), '1 HTG')"), '55P03', 'a transfer to it too');
is($node->safe_psql('postgres', 'SELECT balance, version FROM bank_balance(account(1))'),
	'0.00|1', 'a query does not');

is(run("COMMIT PREPARED 'first'; COMMIT PREPARED 'third'; ROLLBACK PREPARED 'second'"), 'ok', 'they end');
is( $node->safe_psql(
		'postgres',
		"SELECT string_agg(balance::text, ' ' ORDER BY account_id) FROM bank_accounts
		  WHERE house_account IS NULL AND version > 1"
	),
	'10.00 10.00 5.00 10.00',
	'committed ones have happened, the one rolled back has not');
ledger_ok($node, 'postgres', 'after they have ended');
is(run("SELECT bank_deposit(account(3), '1 HTG'); SELECT bank_deposit(account(1), '1 HTG')"),
	'ok', 'and all accounts are free');

# Within one session: it prepares, goes on, prepares again ... with a stripe in doubt each time.
is( run(join(
			';',
			map {
				"BEGIN; SELECT bank_deposit(account($_), '1 USD'); PREPARE TRANSACTION 'usd $_';
				  SELECT bank_deposit(account($_ + 5), '1 USD')"
			} 21 .. 25)),
	'ok',
	'one session prepares five transactions and books between them');
is( run(join(';',
			map { $_ % 2 ? "COMMIT PREPARED 'usd $_'" : "ROLLBACK PREPARED 'usd $_'" } (23, 21, 24, 25, 22))),
	'ok',
	'they end in another order, from another session');
ledger_ok($node, 'postgres', 'five prepared transactions of one session');
is( $node->safe_psql(
		'postgres', "SELECT sum(balance) FROM bank_accounts WHERE currency = 'USD' AND house_account IS NULL"
	),
	'8.00',
	'with the effect of those committed');
my $stripes = stripes('USD');
is(run("SELECT bank_deposit(account(30), '1 USD')"), 'ok', 'a session in that slot goes on');
is(stripes('USD'), $stripes, 'with a stripe that is there');

# However long the stripe of a slot is in doubt: its sessions go on with another one, the same.
open_accounts($node, 'postgres', 46, 47, undef, currency => 'CAD');
is( run(    "BEGIN; SELECT bank_deposit(account(46), '1 CAD'); PREPARE TRANSACTION 'cad';"
		  . "SELECT count(bank_deposit(account(47), '1 CAD')) FROM generate_series(1, 1500)"),
	'ok',
	'one session books 1500 times while its first deposit is in doubt');
is(run("COMMIT PREPARED 'cad'"), 'ok', 'which then commits');
is(stripes('CAD'), '0 1', 'it has opened one more stripe, not one for each command');

# With its only stripe in doubt, a house account is still itself.
open_accounts($node, 'postgres', 48, 48, '1 CHF', currency => 'CHF');
is( run("BEGIN; SELECT bank_deposit(account(48), '1 CHF'); PREPARE TRANSACTION 'chf';
  SELECT bank_transfer(account_id, account_id, '1 CHF') FROM bank_accounts WHERE house_account = 'cash'
  AND currency = 'CHF'"
	),
	'BK015',
	'a transfer from a house account to itself is refused as that');
is(run("COMMIT PREPARED 'chf'"), 'ok', 'whatever becomes of the stripe');

# Opening a house account is in doubt itself.
is(run("BEGIN; SELECT bank_create_house_account('vault', 'HTG'); PREPARE TRANSACTION 'vault'"),
	'ok', 'opening a house account can be prepared');
is(run("SELECT bank_deposit(account(6), '1 HTG', house_account => 'vault')"), 'BK001', 'it is not there yet');
is(run("ROLLBACK PREPARED 'vault'"), 'ok', 'and rolled back');
is(run("SELECT bank_create_house_account('vault', 'HTG')"), 'ok', 'then opened by another session');
is(run("SELECT bank_deposit(account(6), '1 HTG', house_account => 'vault')"), 'ok', 'and used');

# Idempotency keys in doubt.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $deposit = "bank_deposit(account(7), '1 HTG', idempotency_key => 'doubt $end')";
	my $create = "bank_create_account('00000000-0000-4000-8000-000000000009', 'COURANT', 'HTG',
	    idempotency_key => 'create $end')";

	is(run("BEGIN; SELECT $deposit; SELECT $create; PREPARE TRANSACTION 'key'"),
		'ok', "$end PREPARED: a command with a key can be prepared");
	is(run("SELECT $deposit"), '55P03', "$end PREPARED: the same again waits");
	is(run("SELECT $create"), '55P03', "$end PREPARED: creating an account too");
	is(run("SELECT bank_deposit(account(8), '1 HTG', idempotency_key => 'doubt $end')"),
		'55P03', "$end PREPARED: another request under the key waits");
	is(run("$end PREPARED 'key'"), 'ok', "$end PREPARED: it ends");
	is( $node->safe_psql('postgres', "SELECT (b).replayed, (b).balance FROM (SELECT $deposit AS b) AS b"),
		$end eq 'COMMIT' ? 't|1.00' : 'f|2.00',
		"$end PREPARED: then it is replayed, or done now");
	is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT $create) AS c"),
		1, "$end PREPARED: the account is there");
	is(run("SELECT bank_deposit(account(8), '1 HTG', idempotency_key => 'doubt $end')"),
		'BK007', "$end PREPARED: another request under the key is refused");
}
is( $node->safe_psql(
		'postgres', "SELECT count(*) FROM bank_accounts_of('00000000-0000-4000-8000-000000000009')"),
	2,
	'each key has opened one account');

# The identifier of an account in doubt.
my $same =
  "bank_create_account('00000000-0000-4000-8000-000000000010', 'EPARGNE', 'HTG', account_id => account(50))";
is(run("BEGIN; SELECT $same; PREPARE TRANSACTION 'id'"), 'ok', 'opening an account can be prepared');
is(run("SELECT $same"), '55P03', 'the same identifier waits');
is(run("ROLLBACK PREPARED 'id'; BEGIN; SELECT $same; PREPARE TRANSACTION 'id'"),
	'ok', 'is free after a rollback');
is(run("COMMIT PREPARED 'id'; SELECT $same"), 'BK011', 'and taken after a commit');

# A prepared transaction outlives the server: with its locks, and then with its effect.
is(run("BEGIN; SELECT bank_deposit(account(11), '1 GBP')"),
	'BK003', 'a currency that the account has not opens no house account');
open_accounts($node, 'postgres', 41, 45, undef, currency => 'JPY');
is( run("BEGIN; SELECT bank_deposit(account(41), '500 JPY', idempotency_key => 'jpy');
  PREPARE TRANSACTION 'jpy'"
	),
	'ok',
	'a first deposit is prepared');
$node->stop('immediate');
$node->start;
is(run("SELECT bank_deposit(account(42), '7 JPY')"), 'ok', 'after a crash nobody waits for it');
is(run("SELECT bank_deposit(account(41), '7 JPY')"), '55P03', 'but on its own account');
is(run("COMMIT PREPARED 'jpy'"), 'ok', 'it commits');
is($node->safe_psql('postgres', "SELECT sum(balance) FROM bank_accounts WHERE currency = 'JPY'"),
	'0', 'and its money is balanced');
is($node->safe_psql('postgres', "SELECT balance FROM bank_balance(account(41))"), '500', 'and there');

ledger_ok($node, 'postgres', 'in the end');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'),
	0, 'no transaction is left in doubt');
$node->stop;
done_testing();
