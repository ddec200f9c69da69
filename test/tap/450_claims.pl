# Whose claims are believed, and what claims can say: the session's user must be a trusted
# authenticator, and the subject of a JSON object a UUID; all else is nobody, and never an error.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ledger_node('claims', conf => "banking.trusted_authenticators = '\"Web App\", authenticator'\n");
create_ledger($node, 'postgres');
add_functions($node, 'postgres');

my $alice = '00000000-0000-4000-8000-0000000000a1';
my $bob = '00000000-0000-4000-8000-0000000000b2';
$node->safe_psql('postgres', <<SQL);
CREATE ROLE customers NOLOGIN;
CREATE ROLE tellers NOLOGIN;
CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE customers, tellers;
CREATE ROLE "Web App" LOGIN NOINHERIT IN ROLE customers;
CREATE ROLE plain LOGIN NOINHERIT IN ROLE customers, tellers;
SELECT bank_grant('customers', 'customer'), bank_grant('tellers', 'teller');
SELECT bank_map_owner('plain', '$alice'), bank_map_owner('authenticator', '$alice');
SELECT bank_create_account('$alice', 'COURANT', 'HTG', account_id => account(1));
SELECT bank_create_account('$bob', 'COURANT', 'HTG', account_id => account(2));
SELECT bank_deposit(account(1), '100 HTG'), bank_deposit(account(2), '200 HTG');
SQL

# What a session of this user, in the role, finds when it says this of itself.
sub seen
{
	my ($user, $claims, $role) = @_;
	my ($status, $out, $err) = $node->psql(
		'postgres',
		'BEGIN; SELECT set_config(\'request.jwt.claims\', :\'claims\', true) \g /dev/null
SET LOCAL ROLE ' . ($role // 'customers') . ';
SELECT concat_ws(\' \', \'owner\', bank_current_owner(), \'sees\', (SELECT string_agg(balance::text, \',\' ORDER BY balance) FROM bank_accounts WHERE house_account IS NULL));
ROLLBACK;',
		connstr => $node->connstr('postgres') . " user='$user'",
		extra_params => [ '-v', "claims=$claims" ]);
	$out =~ s/\s+$//;
	return $status == 0 ? $out : $err;
}

is(seen('authenticator', "{\"sub\": \"$bob\"}"), "owner $bob sees 200.00", 'an authenticator is believed');
is(seen('Web App', "{\"sub\": \"$bob\"}"), "owner $bob sees 200.00", 'so is one whose name has to be quoted');
is(seen('plain', "{\"sub\": \"$bob\"}"), "owner $alice sees 100.00", 'another role is whom it is mapped to, whatever it says');
is(seen('authenticator', ''), 'owner sees', 'an authenticator that says nothing is nobody, mapped or not');
is(seen('authenticator', "{\"sub\": \"$bob\"}", 'tellers'), "owner $bob sees 100.00,200.00", 'staff sees all, whoever the subject is');
is(seen('plain', "{\"sub\": \"$bob\", \"role\": \"tellers\"}"), "owner $alice sees 100.00", 'a claimed role is no role');

# One owner, however it is written.
(my $upper = $bob) =~ tr/a-f/A-F/;
(my $bare = $bob) =~ tr/-//d;
is(seen('authenticator', "{\"sub\": \"$upper\"}"), "owner $bob sees 200.00", 'in capitals');
is(seen('authenticator', "{\"sub\": \"$bare\"}"), "owner $bob sees 200.00", 'without hyphens');
is(seen('authenticator', '{"sub": "\u0030' . substr($bob, 1) . '"}'), "owner $bob sees 200.00", 'with an escape');
is(seen('authenticator', "{\"sub\": \"$alice\", \"sub\": \"$bob\"}"), "owner $bob sees 200.00", 'the last of two subjects counts, as in jsonb');

# What is no subject.
my %nobody = (
	'braces' => "{\"sub\": \"{$bob}\"}",
	'a space behind it' => "{\"sub\": \"$bob \"}",
	'a digit too many' => "{\"sub\": \"${bob}0\"}",
	'a digit too few' => '{"sub": "' . substr($bob, 0, 35) . '"}',
	'SQL' => "{\"sub\": \"$bob' OR true --\"}",
	'SQL alone' => "' OR true; --",
	'no string' => '{"sub": 1e400}',
	'NaN' => '{"sub": NaN}',
	'null' => '{"sub": null}',
	'null after a subject' => "{\"sub\": \"$bob\", \"sub\": null}",
	'an array' => "{\"sub\": [\"$bob\"]}",
	'an object' => "{\"sub\": {\"sub\": \"$bob\"}}",
	'deeper' => "{\"a\": {\"sub\": \"$bob\"}}",
	'deeper, after an empty array' => "{\"sub\": [], \"a\": [\"$bob\"]}",
	'in an array' => "[{\"sub\": \"$bob\"}]",
	'a string' => "\"$bob\"",
	'another name' => "{\"Sub\": \"$bob\"}",
	'a longer name' => "{\"sub\\u0000\": \"$bob\"}",
	'a null byte' => "{\"sub\": \"$bob\\u0000\"}",
	'half of a surrogate' => "{\"sub\": \"$bob\", \"a\": \"\\ud800\"}",
	'no end' => "{\"sub\": \"$bob\"",
	'something behind it' => "{\"sub\": \"$bob\"} x",
	'a comma too many' => "{\"sub\": \"$bob\",}",
	'single quotes' => "{'sub': '$bob'}",
	'a long text' => '{"sub": "' . ('x' x 50_000) . '"}');
is(seen('authenticator', $nobody{$_}), 'owner sees', "nobody: $_") foreach sort keys %nobody;
is(seen('authenticator', '{"a": ' . ('[' x 1000) . (']' x 1000) . ", \"sub\": \"$bob\"}"), "owner $bob sees 200.00", 'beside a deep nesting');
is(seen('authenticator', '{"a": "' . ('x' x 100_000) . "\", \"sub\": \"$bob\"}"), "owner $bob sees 200.00", 'beside a long text');

# The session's user counts: not the role, and not who has logged in before another authorization was set.
my $out = $node->safe_psql('postgres', <<SQL);
SET SESSION AUTHORIZATION authenticator;
SET ROLE customers;
SET request.jwt.claims = '{"sub": "$bob"}';
SELECT bank_current_owner();
SET SESSION AUTHORIZATION plain;
SELECT bank_current_owner();
SET ROLE customers;
SELECT bank_current_owner();
RESET SESSION AUTHORIZATION;
SET ROLE authenticator;
SELECT bank_current_owner() IS NULL;
SQL
is($out, "$bob\n$alice\n$alice\nt", 'the claims are believed of the user of the session only');
is( $node->psql('postgres', 'SET SESSION AUTHORIZATION plain', connstr => $node->connstr('postgres') . ' user=authenticator'),
	3,
	'which an authenticator cannot change itself');

# Who it was is recorded in full characters, however long the subject is.
my $long = ("\xc3\xa9" x 300);
$node->safe_psql(
	'postgres', "SET client_encoding = utf8; SET request.jwt.claims = '{\"sub\": \"$long\"}'; SET ROLE tellers; SELECT bank_deposit(account(1), '1 HTG')",
	connstr => $node->connstr('postgres') . ' user=authenticator');
is($node->safe_psql('postgres', q{SELECT convert_from(convert_to(actor ->> 'subject', 'UTF8'), 'UTF8') ~ '^é{127}$' FROM bank_events ORDER BY position DESC LIMIT 1}),
	't', 'a long subject is cut between two characters');
is($node->psql('postgres', 'SELECT * FROM bank_events', stdout => \my $events), 0, 'events can be read');
ledger_ok($node, 'postgres', 'after all that');

$node->stop;
done_testing();
