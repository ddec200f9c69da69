# Transfers to another ledger that answers well, badly, late and not at all: nothing is guessed, what is not
# known is asked for, and the money is where the other side says it is. What happens to the worker itself is
# tested in 421.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use Participant;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use Transfers;

my $node = relay_node('sender');
my $other = Participant->start('other');
my $n = 0;

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 40, '1000.00 HTG');
wait_for_worker($node, 'ledger');
my $secret = add_participant($node, 'ledger', 'other', $other->url, request_timeout => '400 ms');

# Send money of an account that no other case uses; returns the transfer's identifier and the account's number.
sub case
{
	my (@rules) = @_;

	$other->rules(@rules);
	$n++;
	return (send_money($node, 'ledger', $n, '10.00 HTG', 'other'), $n);
}

# The actions that the participant was asked for about a transfer, in order.
sub asked
{
	my ($id) = @_;
	return join(' ', map { $_->{action} } grep { $_->{transfer_id} eq $id } $other->requests);
}

# A test: the transfer comes into this state, after these questions; balance and available are these.
sub ends
{
	my ($id, $account, $state, $actions, $balance, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for_transfer($node, 'ledger', $id, $state);
	is(asked($id), $actions, "$name: what is asked") if defined $actions;
	is($node->safe_psql('ledger', "SELECT balance, available FROM bank_accounts WHERE account_id = account($account)"),
		$balance, "$name: the money");
	return;
}

# All is well
my ($id, $account) = case();
ends($id, $account, 'completed', 'receive', '990.00|990.00', 'all is well');
my ($request) = $other->requests;
ok(Participant::signed($request, $secret), 'a request is signed');
is($request->{id}, "receive_$id", 'its identifier is made of action and transfer');
is($request->{headers}{'idempotency-key'}, $id, 'the key is the transfer');
is($request->{headers}{'content-type'}, 'application/json', 'it is JSON');
is_deeply(
	$request->{content},
	{
		protocol => 'banking-transfer/1',
		action => 'receive',
		transfer_id => $id,
		amount => '10.00',
		currency => 'HTG',
		to_account => 'over there'
	},
	'it says what is sent where');
is($node->safe_psql('ledger', "SELECT sum(credits - debits) FROM bank.accounts WHERE house_code = 'external'"), 1000,
	'the money is with the other side');

# Unknown outcomes are asked for
($id, $account) = case([ 'receive', 1, 'process', 'hang' ]);
ends($id, $account, 'completed', 'receive status', '990.00|990.00', 'a time-out after it was processed');
($id, $account) = case([ 'receive', 1, 'hang' ]);
ends($id, $account, 'completed', 'receive status receive', '990.00|990.00', 'a time-out before');
($id, $account) = case([ 'receive', 1, 'process', 'reset' ]);
ends($id, $account, 'completed', 'receive status', '990.00|990.00', 'a reset after it was processed');
($id, $account) = case([ 'receive', 1, 'reset' ]);
ends($id, $account, 'completed', 'receive status receive', '990.00|990.00', 'a reset before');
($id, $account) = case([ 'receive', 1, 'process', '500' ], [ 'status', 2, '503' ]);
ends($id, $account, 'completed', 'receive status status status', '990.00|990.00', 'errors of the server');
($id, $account) = case([ 'receive', 1, 'process', '404' ], [ 'status', 1, '302' ]);
ends($id, $account, 'completed', 'receive status status', '990.00|990.00', 'errors of the client, redirects');

# What is no answer of the protocol says nothing, whatever it looks like
my @nonsense = (
	'', '{', '[]', 'null', '"received"', '{}', '{"status":"refused"}',
	'{"transfer_id":"00000000-0000-4000-8000-000000000000","status":"refused"}',
	'{"transfer_id":"ID","status":"REFUSED"}', '{"transfer_id":"ID","status":null}',
	'{"transfer_id":"ID","status":["refused"]}', '{"transfer_id":["ID"],"status":"refused"}',
	'{"transfer_id":"ID","status":"refused\\u0000"}', "{\"transfer_id\":\"ID\",\"status\":\"refused\",\"x\":\"\xff\"}",
	"{\"transfer_id\":\"ID\",\"status\":\"refused\"}\0", '[{"transfer_id":"ID","status":"refused"}]',
	'{"transfer_id":"ID","status":"refused"' . (' ' x 5000) . '}', '{"transfer_id":"ID","status":"refused"} {}');
($id, $account) = case([ 'receive', 1, 'process', '503' ], [ 'status', undef, '503' ]);
$other->wait_for(sub { asked($id) =~ /status/ }, 'a status');
$other->rules(map { [ "status $id", 1, 'say:' . $_ =~ s/ID/$id/r ] } @nonsense);
wait_for_transfer($node, 'ledger', $id, 'completed');
my @said = map { $_->{steps}[0] } grep { $_->{transfer_id} eq $id } $other->requests;
is(scalar(grep { /^say/ } @said), scalar @nonsense, 'after each answer that is none it is asked again');
is($node->safe_psql('ledger', "SELECT balance FROM bank_accounts WHERE account_id = account($account)"), '990.00',
	'and nothing is concluded from it');
like(participant($node, 'ledger', 'other')->{error}, qr/not one of the protocol/, 'what was wrong is shown');

# A refusal frees the money; its reason is kept
($id, $account) = case([ 'receive', 1, 'refuse:BK002', 'answer' ]);
ends($id, $account, 'rejected', 'receive', '1000.00|1000.00', 'a refusal');
my $transfer = transfer($node, 'ledger', $id);
is("$transfer->{code} $transfer->{reason}", 'BK002 refused with BK002', 'its reason is kept');
($id, $account) = case([ 'receive', 1, 'refuse:BK002', 'reset' ]);
ends($id, $account, 'rejected', 'receive status', '1000.00|1000.00', 'a refusal that is asked for');

# Cancelled before it was sent: the other side never hears of it
$node->safe_psql('ledger', "SELECT bank_pause_participant('other')");
($id, $account) = case();
is(transfer($node, 'ledger', $id)->{state}, 'reserved', 'nothing is sent to a paused participant');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
$node->safe_psql('ledger', "SELECT bank_resume_participant('other')");
ends($id, $account, 'rejected', '', '1000.00|1000.00', 'cancelled before it was sent');

# Cancelled while nothing is known
($id, $account) = case([ 'receive|status', undef, 'hang' ]);
$other->wait_for(sub { asked($id) eq 'receive' }, 'a request');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
ends($id, $account, 'rejected', undef, '1000.00|1000.00', 'cancelled while nothing was known');
like(asked($id), qr/ cancel$/, 'the other side was asked to');
is($other->book($id), 'cancelled', 'and knows it');

# An answer that arrives after the cancel was asked for says nothing about the cancel
($id, $account) = case([ 'receive', 1, 'process', 'delay:300', 'answer' ]);
$other->wait_for(sub { asked($id) eq 'receive' }, 'a request');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
ends($id, $account, 'rejected', 'receive cancel', '1000.00|1000.00', 'cancelled while the answer was on its way');

# Cancelled when it had arrived, and once more after a refusal
($id, $account) = case();
wait_for_transfer($node, 'ledger', $id, 'completed');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
ends($id, $account, 'compensated', 'receive cancel', '1000.00|1000.00', 'a completed one is given back');
($id, $account) = case([ 'cancel', 1, 'refuse:BK004', 'reset' ], [ 'cancel', 1, 'refuse:BK004', 'answer' ]);
wait_for_transfer($node, 'ledger', $id, 'completed');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
wait_until($node, 'ledger', 'the refusal of a cancel', "SELECT state = 'completed' AND code = 'BK004' FROM bank_transfers WHERE transfer_id = '$id'");
ends($id, $account, 'completed', 'receive cancel cancel', '990.00|990.00', 'one that cannot be given back');
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
$other->wait_for(sub { asked($id) eq 'receive cancel cancel cancel' }, 'another cancel');
ends($id, $account, 'completed', undef, '990.00|990.00', 'asked again, it is kept all the same');
my @cancels = grep { $_->{transfer_id} eq $id } $other->requests('cancel');
is($cancels[0]{id}, $cancels[1]{id}, 'attempts of a cancel have one identifier');

# What is not known at the deadline is in doubt, and an operator resolves it
foreach my $case ([ 'completed', '990.00|990.00' ], [ 'rejected', '1000.00|1000.00' ], [ 'submitted', '990.00|990.00' ])
{
	my ($resolution, $money) = @$case;

	$other->rules([ '.', undef, 'reset' ]);
	$id = send_money($node, 'ledger', ++$n, '10.00 HTG', 'other', "deadline_in => '1 second'");
	wait_for_transfer($node, 'ledger', $id, 'in_doubt');
	is($node->safe_psql('ledger', "SELECT balance, available FROM bank_accounts WHERE account_id = account($n)"),
		'1000.00|990.00', 'in doubt the money is still held');
	my $requests = () = $other->requests;
	sleep 0.5;
	is(scalar(() = $other->requests), $requests, 'and nobody is asked any more');
	$other->rules;
	$node->safe_psql('ledger', "SELECT bank_resolve_transfer('$id', '$resolution', reason => 'the bank said so')");
	ends($id, $n, $resolution eq 'submitted' ? 'completed' : $resolution, undef, $money, "resolved as $resolution");
}

# Money that is in doubt while it comes back
($id, $account) = case([ 'cancel', undef, 'process', 'reset' ]);
wait_for_transfer($node, 'ledger', $id, 'completed');
$node->safe_psql('ledger', "SELECT bank_change_participant('other', deadline => '1 second')");
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
wait_for_transfer($node, 'ledger', $id, 'in_doubt');
$node->safe_psql('ledger', "SELECT bank_change_participant('other', deadline => '1 day')");
$other->rules;
$node->safe_psql('ledger', "SELECT bank_cancel_transfer('$id')");
ends($id, $account, 'compensated', undef, '1000.00|1000.00', 'a cancel can be asked for again');

# Secrets are rotated: both sign
my $new = $node->safe_psql('ledger', "SELECT secret FROM bank_rotate_participant_secret('other')");
($id, $account) = case();
wait_for_transfer($node, 'ledger', $id, 'completed');
($request) = grep { $_->{transfer_id} eq $id } $other->requests;
ok(Participant::signed($request, $secret) && Participant::signed($request, $new), 'the old secret and the new one sign');

# A transfer of a prepared transaction, of which the worker hears nothing
$other->rules;
$n++;
$node->safe_psql('ledger', "BEGIN; SELECT bank_send(account($n), '10 HTG', 'other', 'prepared'); PREPARE TRANSACTION 'sent'");
$node->safe_psql('ledger', "COMMIT PREPARED 'sent'");
wait_until($node, 'ledger', 'what was prepared', "SELECT state = 'completed' FROM bank_transfers WHERE destination = 'prepared'");

# What was rolled back is not sent
my $before = () = $other->requests;
$node->safe_psql('ledger', "BEGIN; SELECT bank_send(account(40), '10 HTG', 'other', 'rolled back'); ROLLBACK");
sleep 0.5;
is(scalar(() = $other->requests), $before, 'what was rolled back is not sent');

# With nothing to do there are no statements
my $idle = sub { $node->safe_psql('postgres', "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'ledger'") };
sleep 3;
my $statements = $idle->();
sleep 4;
is($idle->(), $statements, 'idle, the worker runs no statement');

is($node->safe_psql('ledger', "SELECT string_agg(invariant, ', ') FROM bank_verify() WHERE NOT ok"), '', 'bank_verify');
is($node->safe_psql('ledger', "SELECT count(*) FROM bank.transfer_attempts"), 0, 'nothing is left over');
$other->stop;
$node->stop;
done_testing();
