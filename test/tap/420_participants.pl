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
is($node->safe_psql('ledger', "SELECT balance FROM bank_accounts WHERE account_id IN
	(SELECT account_id FROM bank.accounts WHERE house_code = 'external')"), '10.00', 'the money is with the other side');

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
my $nonsense = 0;
foreach my $answer (
	'', '{', '[]', 'null', '"received"', '{}', '{"status":"received"}',
	'{"transfer_id":"00000000-0000-4000-8000-000000000000","status":"refused"}',
	'{"transfer_id":"ID","status":"REFUSED"}', '{"transfer_id":"ID","status":null}',
	'{"transfer_id":"ID","status":["refused"]}', '{"transfer_id":"ID","status":"unknown"}',
	'{"transfer_id":"ID","status":"refused\\u0000"}', "{\"transfer_id\":\"ID\",\"status\":\"refused\",\"x\":\"\xff\"}",
	'{"transfer_id":"ID","status":"refused"' . (' ' x 5000) . '}', '[{"transfer_id":"ID","status":"refused"}]',
	'{"transfer_id":"ID","status":"refused"} {}')
{
	# the identifier is not known before the first request has come
	($id, $account) = case([ 'receive', 1, 'process', '503' ], [ 'status', undef, '503' ]);
	$other->wait_for(sub { asked($id) =~ /status/ }, 'a status');
	$other->rules([ "status $id", 1, 'say:' . $answer =~ s/ID/$id/r ]);
	wait_for_transfer($node, 'ledger', $id, 'completed');
	my @requests = grep { $_->{transfer_id} eq $id } $other->requests;
	$nonsense++ if @requests >= 4 && $node->safe_psql('ledger', "SELECT balance FROM bank_accounts WHERE account_id = account($account)") eq '990.00';
	$n-- if $n > 25;
	if ($n == 25) { $node->safe_psql('ledger', "SELECT bank_deposit(account(26), '0.01 HTG')"); }
	last if $n > 38;
}
