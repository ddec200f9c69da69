# Requests for approval beyond what one session shows: who is who behind an authenticator, many who approve
# at the same time, a server that is killed in between, a copy of the ledger that is asked to approve what was
# asked for in the first one.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $owner = '00000000-0000-4000-8000-000000000001';
my $account = '00000000-0000-7000-8000-000000000001';
my $node = ledger_node('approvals', conf => "banking.trusted_authenticators = 'authenticator'\nfsync = on\n");
create_ledger($node, 'bank');

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('bank', $query);
}

# The output, or the message, of statements by a login role.
sub as
{
	my ($role, $query) = @_;
	my ($status, $out, $error) = $node->psql('bank', "SET client_min_messages = warning;\n$query", extra_params => [ '-U', $role ]);

	return $status == 0 ? $out : $error =~ /ERROR:\s+(.*)/ ? "ERROR: $1" : $error;
}

# Statements with the claims that an authenticator has verified.
sub with_token
{
	my ($subject, $query, $role) = @_;

	$role //= 'tellers';
	return as('authenticator', <<"SQL");
BEGIN;
SET LOCAL ROLE $role;
SET LOCAL request.jwt.claims = '{"sub": "$subject"}';
$query;
COMMIT;
SQL
}

sub pending
{
	return sql('SELECT request_id FROM bank_pending_approvals ORDER BY requested_at DESC LIMIT 1');
}

sql(<<"SQL");
CREATE ROLE tellers; CREATE ROLE other_tellers;
CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE tellers, other_tellers;
CREATE ROLE jean LOGIN IN ROLE tellers; CREATE ROLE marie LOGIN IN ROLE tellers;
SELECT bank_grant('tellers', 'teller'), bank_grant('other_tellers', 'teller');
SELECT count(*) FROM bank_create_account('$owner', 'COURANT', 'HTG', account_id => '$account');
SELECT count(*) FROM bank_deposit('$account', '5000 HTG');
SELECT bank_set_approval_threshold('1000 HTG');
SQL

# Who is who.
my $deposit = "SELECT event_type FROM bank_deposit('$account', '1500 HTG')";
my $approve = 'SELECT event_type FROM bank_approve((SELECT request_id FROM bank_pending_approvals))';
my ($one, $two) = ('7d9f2b7e-0000-4000-8000-00000000000a', '7d9f2b7e-0000-4000-8000-00000000000b');

is(with_token($one, $deposit), 'approval.requested', 'a teller with a token asks');
is(sql('SELECT requested_by FROM bank_pending_approvals'), $one, 'and is known by its subject');
is(with_token($one, $approve), 'ERROR: Not allowed', 'it cannot approve that');
is(with_token($one, $approve, 'other_tellers'), 'ERROR: Not allowed', 'in another role neither');
is(with_token(uc $one, $approve), 'ERROR: Not allowed', 'nor with its subject written otherwise');
(my $plain = $one) =~ tr/-//d;
is(with_token($plain, $approve), 'ERROR: Not allowed', 'nor without its hyphens');
is(with_token($two, $approve), 'money.deposited', 'another subject of the same authenticator can');
is(sql("SELECT decided_by FROM bank_approvals"), $two, 'and is known');

is(with_token($one, $deposit), 'approval.requested', 'a token again');
sql("SELECT bank_map_owner('jean', '$one')");
is(as('jean', $approve), 'ERROR: Not allowed', 'the role that stands for that owner is the same person');
is(as('jean', "SET request.jwt.claims = '{\"sub\": \"$two\"}';\n$approve"), 'ERROR: Not allowed', 'claims of its own make it nobody else');
sql("SELECT bank_unmap_owner('jean')");
is(as('jean', $approve), 'money.deposited', 'a role that stands for nobody is another one');
is(as('jean', $deposit), 'approval.requested', 'who asks as a role');
sql("SELECT bank_map_owner('jean', '$one')");
is(with_token($one, $approve), 'ERROR: Not allowed', 'is that owner too');
is(as('authenticator', "SET ROLE tellers;\n$approve"), 'ERROR: Not allowed', 'an authenticator without a token is nobody to approve');
is(as('authenticator', "SET ROLE tellers;\nSET request.jwt.claims = '{\"sub\": 7}';\n$approve"), 'ERROR: Not allowed',
	'nor is one whose token names nobody');
is(as('marie', $approve), 'money.deposited', 'another role is');
is(as('authenticator', "SET ROLE tellers;\n$deposit"), 'approval.requested', 'it can ask');
is(as('authenticator', "SET ROLE other_tellers;\n$approve"), 'ERROR: Not allowed', 'and not approve');
is(as('marie', $approve), 'money.deposited', 'for another one to approve');
sql("SELECT bank_unmap_owner('jean')");

# Of a long subject the beginning is kept, and compared.
my $long = "\x{c3}\x{a9}" x 200;
is(with_token($long, $deposit), 'approval.requested', 'who has a long subject asks');
is(with_token($long, $approve), 'ERROR: Not allowed', 'and cannot approve that');
is(as('marie', $approve), 'money.deposited', 'but another one can');

# Many who approve and reject everything there is, at the same time: each request is decided once.
as('jean', join(";\n", ($deposit) x 40));
my $script = write_file('decide.sql', <<'SQL');
SET client_min_messages = fatal;
SELECT request_id AS request FROM bank_pending_approvals ORDER BY random() LIMIT 1 \gset
SELECT format(CASE WHEN random() < 0.7 THEN 'SELECT bank_approve(%L)' ELSE 'SELECT bank_reject(%L, ''so'')' END, :'request') \gexec
SQL
my $before = sql("SELECT balance FROM bank_balance('$account')");
my $connection = $node->connstr('bank') . ' user=marie';
my @running = map {
	IPC::Run::start([ 'sh', '-c', 'for i in $(seq 40); do psql -XAtq -f "$1" "$2"; done', 'sh', $script, $connection ],
		'>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(120));
} 1 .. 4;
$_->finish foreach @running;
my $granted = sql("SELECT count(*) FROM bank_approvals WHERE state = 'granted'") - 5;
is(sql("SELECT count(*) FROM bank_approvals WHERE state = 'pending'"), 0, 'all requests have been decided');
is(sql('SELECT count(*) - count(DISTINCT request_id) FROM bank_approvals'), 0, 'each once');
is(sql("SELECT balance - $before - 1500.00 * $granted FROM bank_balance('$account')"), '0.00', 'what was approved was carried out once');
cmp_ok($granted, '>', 0, 'there were such');
cmp_ok($granted, '<', 40, 'and others');
is(sql("SELECT count(*) FROM bank.events WHERE metadata ? 'causation_id'"), $granted + 5, 'their events say what they were approved as');

# A killed server has what was committed.
is(as('jean', $deposit), 'approval.requested', 'asked for');
my $request = pending();
$node->stop('immediate');
$node->start;
is(pending(), $request, 'it is there after a crash');
is(as('marie', "BEGIN;\nSELECT event_type FROM bank_approve('$request');\nROLLBACK"), 'money.deposited', 'what was not committed');
is(pending(), $request, 'was not approved');

# A copy of the ledger goes on where the first one was.
my $dump = write_file('bank.dump', '');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('bank') ], 'a dump');
sql('CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'restored');
is($node->safe_psql('copy', 'SELECT request_id FROM bank_pending_approvals'), $request, 'has the request');
is($node->safe_psql('copy', "SELECT currency, threshold, expires_in FROM bank_approval_thresholds"), 'HTG|1000.00|7 days', 'and the threshold');
foreach my $case ([ 'jean', 1, 'not for who has asked' ], [ 'marie', 0, 'for another one' ])
{
	my ($role, $refused, $name) = @$case;
	my ($status) = $node->psql('copy', "SELECT bank_approve('$request')", extra_params => [ '-U', $role ]);

	is($status == 0 ? 0 : 1, $refused, "to approve, $name");
}
is($node->safe_psql('copy', 'SELECT count(*) FROM bank_verify() WHERE NOT ok'), 0, 'the copy is sound');
is($node->safe_psql('copy', 'SELECT repaired FROM bank_rebuild()'), 0, 'its read models too');
is(sql('SELECT count(*) FROM bank_verify() WHERE NOT ok'), 0, 'and so is the first');
ledger_ok($node, 'bank', 'in the end');

done_testing();
