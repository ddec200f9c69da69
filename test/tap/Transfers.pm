# Transfers.pm
#
# What the TAP tests of transfers between ledgers share, beside Participant.pm.

package Transfers;

use strict;
use warnings;

use Deliveries;
use Exporter 'import';
use Ledger;
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(add_participant participant send_money transfer wait_for_transfer);

# Add a participant with time-outs fit for tests; more options of bank_add_participant as name => text. Returns
# the secret.
sub add_participant
{
	my ($node, $database, $name, $url, %options) = @_;

	%options = (
		request_timeout => '2 seconds',
		retry_delay => '50 ms',
		retry_max_delay => '200 ms',
		failure_threshold => 1000,
		breaker_timeout => '300 ms',
		%options);
	return $node->safe_psql($database,
		"SELECT secret FROM bank_add_participant('$name', '$url'"
		  . join('', map { ", $_ => '$options{$_}'" } sort keys %options) . ')');
}

# Send money of the tests' account $n; returns the identifier of the transfer. More: further arguments.
sub send_money
{
	my ($node, $database, $n, $amount, $participant, $more) = @_;

	return $node->safe_psql($database,
		"SELECT bank_send(account($n), '$amount', '$participant', 'over there'" . (defined $more ? ", $more" : '') . ')');
}

# A transfer as a hash of some columns of bank_transfers.
sub transfer
{
	my ($node, $database, $id) = @_;
	my %transfer;

	@transfer{qw(state attempts status error code reason)} = split(/\|/,
		$node->safe_psql($database,
			"SELECT state, attempts, last_status, last_error, code, reason FROM bank_transfers WHERE transfer_id = '$id'"),
		-1);
	return \%transfer;
}

# A participant as a hash of some columns of bank_participants.
sub participant
{
	my ($node, $database, $name) = @_;
	my %participant;

	@participant{qw(state breaker failures error throttled)} = split(/\|/,
		$node->safe_psql($database,
			"SELECT state, breaker_state, breaker_failures, last_error, throttled_until > now()
			   FROM bank_participants WHERE name = '$name'"),
		-1);
	return \%participant;
}

# Wait until a transfer is in a state.
sub wait_for_transfer
{
	my ($node, $database, $id, $state) = @_;

	wait_until($node, $database, "transfer $id to be $state, not " . transfer($node, $database, $id)->{state},
		"SELECT state = '$state' FROM bank_transfers WHERE transfer_id = '$id'");
	return;
}

1;
