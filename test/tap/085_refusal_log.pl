# What was refused leaves one line of JSON in the server's log, which no rollback takes back: commands that the
# ledger refuses, and access that the server denies; with who it was, whatever that calls itself and whatever
# language the server speaks.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $evil = q(evil","role":"postgres);
my ($own, $other, $frozen) = map { account_id($_) } 1 .. 3;
my ($alice, $bob) = map { sprintf '00000000-0000-4000-8000-%012d', $_ } 100, 200;
my $deposit = "SELECT bank_deposit('$own', '1 HTG')";

sub quoted
{
	return '"' . $_[0] =~ s,","",gr . '"';
}

$ENV{LANGUAGE} = 'de';
my $node = ledger_node('refusals',
	conf => "shared_preload_libraries = 'banking'\nbanking.trusted_authenticators = 'authenticator'\n");
create_ledger($node, 'bank');
$node->safe_psql('bank', <<"SQL");
CREATE ROLE customers; CREATE ROLE tellers;
SELECT bank_grant('customers', 'customer'), bank_grant('tellers', 'teller');
CREATE ROLE alice LOGIN IN ROLE customers;
CREATE ROLE ${\quoted($evil)} LOGIN IN ROLE customers;
CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE customers, tellers;
SELECT bank_map_owner('alice', '$alice');
SELECT bank_create_account('$alice', 'COURANT', 'HTG', account_id => '$own'),
       bank_create_account('$bob', 'COURANT', 'HTG', account_id => '$other'),
       bank_create_account('$bob', 'COURANT', 'HTG', account_id => '$frozen');
SELECT bank_deposit('$own', '100 HTG');
SELECT bank_freeze('$frozen');
CREATE TABLE notes ();
SQL

# What SQL as a role adds to the log, as JSON objects without who it was; and who it was.
my $who;

sub lines_of
{
	my ($role, $sql) = @_;
	my $offset = -s $node->logfile;
	my @lines;

	$node->psql('bank', $sql, extra_params => [ '-U', $role ], on_error_stop => 0);
	@lines = map { decode_json($_) } slurp_file($node->logfile, $offset) =~ /LOG:  banking refusal: (.*)/g;
	$who = join ' ', map { $lines[0]{$_} // '-' } qw(session_user role subject) if @lines;
	delete @$_{qw(session_user role subject application_name)} foreach @lines;
	return \@lines;
}

sub denied
{
	my ($detail, $message) = @_;
	return [ { event => 'access_denied', code => '42501', message => $message // 'permission denied', detail => $detail } ];
}

# Access that the server denies.
is_deeply(lines_of('alice', $deposit), denied('function bank_deposit'), 'a function');
is($who, 'alice alice -', 'who it was');
is_deeply(lines_of('alice', 'SELECT * FROM bank_events'), denied('view bank_events'), 'a view');
is_deeply(lines_of('alice', 'TABLE bank.accounts'), denied('schema bank'), 'a table of schema bank');
is_deeply(lines_of('alice', 'DROP FUNCTION bank_verify()'), denied('function bank_verify', 'must be owner'), 'dropping one');
is_deeply(lines_of('alice', "BEGIN; $deposit; ROLLBACK; $deposit"),
	[ map { @{ denied('function bank_deposit') } } 1, 2 ], 'one line each time');
is_deeply(lines_of('alice', 'TABLE notes'), [], 'what is not the ledger\'s');
is_deeply(lines_of('alice', 'SET lc_messages = \'C\''), [], 'what is no object');
is_deeply(lines_of('alice', 'SELECT 1 / 0'), [], 'another error');
is_deeply(lines_of('postgres', "SET banking.log_refusals = off; SET ROLE alice; $deposit"), [], 'switched off');

# Who it was, whatever that is.
is_deeply(lines_of($evil, "SET application_name = '\"\\'; $deposit"), denied('function bank_deposit'), 'a hostile name');
is($who, "$evil $evil -", 'is escaped');
my $claims = qq({"sub": "$bob", "roles": ["a", {"b": []}]});
my $as = "BEGIN; SET LOCAL ROLE customers; SELECT set_config('request.jwt.claims', '%s', true)";
foreach ([ 'authenticator', $claims, "authenticator customers $bob" ],
	[ 'authenticator', '', 'authenticator customers -' ],
	[ 'authenticator', '{"sub": "\\ud83d', 'authenticator customers -' ],
	[ 'authenticator', '[' x 3000, 'authenticator customers -' ],
	[ 'authenticator', '[' x 30_000, 'authenticator customers -' ],
	[ 'authenticator', '{"sub": "' . 'x' x 30_000 . '"}', 'authenticator customers -' ],
	[ 'alice', $claims, 'alice customers -' ])
{
	my ($role, $claim, $expected) = @$_;
	my $name = substr($claim, 0, 40);

	is_deeply(lines_of($role, sprintf($as, $claim) . "; $deposit; ROLLBACK"), denied('function bank_deposit'), "$role with \"$name\"");
	is($who, $expected, 'who that was');
}

# Commands that the ledger refuses; what a customer is not told, the log is.
is_deeply(lines_of('alice', "SELECT bank_transfer('$own', '$other', '200 HTG')"),
	[ { event => 'command_refused', code => 'BK004', message => 'Insufficient balance', detail => 'Available: 100.00 HTG' } ], 'a refusal');
is_deeply(
	lines_of('alice', "SELECT bank_transfer('$own', '$frozen', '1 HTG')"),
	[ { event => 'command_refused', code => 'BK002', message => 'Account is not active', detail => "Status: FROZEN (account $frozen)", told => 'BK001' } ],
	'of a payee');

# An account that a customer asks a query for and has not, whether there is one or not.
my $missing = account_id(4);

foreach my $query ('bank_account(%s)', 'bank_balance(%s)', 'bank_balance_at(%s, now())', 'bank_transactions(%s)',
	q{bank_statement(%s, '2026-01-01', '2026-01-31')})
{
	my ($function) = $query =~ /^(\w+)/;

	foreach my $account ($other, $missing)
	{
		is_deeply(
			lines_of('alice', sprintf("BEGIN; SELECT $query; ROLLBACK", "'$account'")),
			[ { event => 'access_denied', code => 'BK001', message => 'Account not found', detail => "Account: $account (function $function)" } ],
			"$function, of an account that the caller has not");
	}
}
is($who, 'alice alice -', 'who it was');
is(scalar @{ lines_of('alice', "DO \$\$ BEGIN PERFORM bank_account('$other'); EXCEPTION WHEN OTHERS THEN NULL; END \$\$") }, 1, 'an error that is caught');
lines_of('authenticator', sprintf($as, qq({"sub": "$alice"})) . "; SELECT bank_balance('$other')");
is($who, "authenticator customers $alice", 'by a token');
is_deeply(lines_of('alice', "SELECT bank_balance('$own')"), [], 'not of its own');
is_deeply(lines_of('postgres', "SELECT bank_balance('$missing')"), [], 'nor for who may ask for all');
is_deeply(lines_of('postgres', "SET banking.log_refusals = off; SET ROLE alice; SELECT bank_balance('$other')"), [], 'switched off');

# In another language, where the server has its translations.
$node->append_conf('postgresql.conf', "lc_messages = 'C.UTF-8'");
$node->restart;
SKIP:
{
	my (undef, undef, $error) = $node->psql('bank', $deposit, extra_params => [ '-U', 'alice' ]);

	skip 'the server speaks English only', 2 if $error =~ /permission denied/;
	is_deeply(lines_of('alice', $deposit), denied('function bank_deposit'), 'a function, in German');
	is_deeply(lines_of('alice', 'DROP VIEW bank_accounts'), denied('view bank_accounts', 'must be owner'), 'dropping a view, in German');
}

# Not preloaded, the library knows only of the sessions that have used it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nlc_messages = 'C'");
$node->restart;
is_deeply(lines_of('alice', 'TABLE bank_events'), [], 'not preloaded: nothing');
is_deeply(lines_of('alice', "SELECT bank_current_owner(); $deposit"), denied('function bank_deposit'), 'after a first use');
$node->stop;
done_testing;
