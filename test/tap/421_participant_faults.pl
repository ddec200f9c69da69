# What must not happen to the worker that asks participants: that it waits for a lock of somebody else, that one
# participant or transfer holds up the others, that it sends when it must not; and what becomes of transfers
# when it is killed or stopped at any moment.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use Participant;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;
use Time::HiRes qw(sleep time);
use Transfers;

my $node = relay_node('sender', streaming => 1);
my $other = Participant->start('other');
my $silent = Participant->start('silent', processes => 8);
my $receiver = Receiver->start('hook');
my $n = 0;

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 120, '1000.00 HTG');
my $worker = wait_for_worker($node, 'ledger');
add_participant($node, 'ledger', 'other', $other->url, request_timeout => '500 ms', concurrency => 4);
add_participant($node, 'ledger', 'silent', $silent->url, request_timeout => '5 seconds', concurrency => 8);
subscribe($node, 'ledger', 'hook', $receiver->url('/hook'));

sub send_one
{
	my ($participant, $more) = @_;
	return send_money($node, 'ledger', ++$n, '1.00 HTG', $participant // 'other', $more);
}

sub state { return transfer($node, 'ledger', $_[0])->{state} }

sub wait_for { return wait_for_transfer($node, 'ledger', @_) }

sub query { return $node->safe_psql('ledger', $_[0]) }

sub until_true { return wait_until($node, 'ledger', @_) }

# One that hangs does not disturb another one, nor deliveries
$silent->rules([ '.', undef, 'hang' ]);
my @hanging = map { send_one('silent') } 1 .. 20;
$silent->wait_for(sub { $silent->requests >= 8 }, 'requests under way');
is(query("SELECT requests_in_flight >= 8 FROM bank_relay_status()"), 't', 'they are shown');
my $start = time;
my $id = send_one();
wait_for($id, 'completed');
until_true('deliveries', "SELECT lag_events = 0 FROM bank_subscriptions");
cmp_ok(time - $start, '<', 4, 'a participant that hangs disturbs neither another one nor deliveries');
is(scalar(() = $silent->requests), 8, 'it gets no more at a time than it may');
$silent->rules;
wait_for($_, 'completed') foreach @hanging;

# Somebody holds the account: the conclusion waits, everything else goes on
my $session = $node->background_psql('ledger');
$other->rules([ 'receive', 1, 'process', 'delay:300', 'answer' ]);
$id = send_one();
$other->wait_for(sub { grep { $_->{transfer_id} eq $id } $other->requests }, 'a request');
$session->query_safe('BEGIN');
$session->query_safe("SELECT bank_deposit(account($n), '1 HTG')");
my $next = send_one();
wait_for($next, 'completed');
sleep 0.7;
is(state($id), 'submitted', 'who holds the account keeps the answer from being carried out');
is(query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'banking relay' AND wait_event_type = 'Lock'"), 0,
	'the worker does not wait for it');
my $requests = () = grep { $_->{transfer_id} eq $id } $other->requests;
$session->query_safe('COMMIT');
wait_for($id, 'completed');
is($requests, 1, 'nobody was asked again meanwhile');

# The same for the transfer itself, and for one that is to be sent
$session->query_safe('BEGIN');
$id = send_one('silent');
$silent->rules([ '.', undef, 'hang' ]);
$session->query_safe("SELECT bank_deposit(account(119), '1 HTG')");
$node->safe_psql('ledger', "SELECT bank_pause_participant('other')");
my $reserved = send_money($node, 'ledger', 120, '1.00 HTG', 'other');
$session->query_safe("SELECT bank_deposit(account(120), '1 HTG')");
$node->safe_psql('ledger', "SELECT bank_resume_participant('other')");
$next = send_one();
wait_for($next, 'completed');
is(state($reserved), 'reserved', 'one whose account is held is not sent');
$session->query_safe('ROLLBACK');
wait_for($reserved, 'completed');
$silent->rules;

# Somebody holds tables, as bank_rebuild does: deliveries go on
$session->query_safe('BEGIN');
$session->query_safe('LOCK TABLE bank.accounts IN SHARE ROW EXCLUSIVE MODE');
$other->rules;
sleep 0.5;
is(relay_status($node, 'ledger')->{state}, 'running', 'the worker runs');
is(relay_status($node, 'ledger')->{pid}, $worker, 'it is the same');
is(query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'banking relay' AND wait_event_type = 'Lock'"), 0,
	'it does not wait for tables');
$session->query_safe('COMMIT');
$id = send_one();
wait_for($id, 'completed');

# An error of one transfer is its own
$id = send_one('silent', "deadline_in => '1 day'");
wait_for($id, 'completed');
query(<<"SQL");
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'not this one'; END \$\$;
CREATE TRIGGER fail BEFORE UPDATE ON bank.transfers FOR EACH ROW
  WHEN (old.account_id = '@{[ account_id($n + 1) ]}') EXECUTE FUNCTION fail();
SQL
$id = send_one();
my @more = map { send_one() } 1 .. 5;
wait_for($_, 'completed') foreach @more;
is(state($id), 'reserved', 'a transfer that meets an error stays');
is(relay_status($node, 'ledger')->{pid}, $worker, 'and the worker goes on with the others');
like(slurp_file($node->logfile), qr/banking relay: transfer $id: not this one/, 'the error is logged');
query("DROP TRIGGER fail ON bank.transfers; UPDATE bank.transfer_attempts SET next_attempt_at = now() WHERE transfer_id = '$id'");
wait_for($id, 'completed');

# The breaker: opens, nothing is sent, deadlines count all the same, a probe closes it
query("SELECT bank_change_participant('other', failure_threshold => 3, breaker_timeout => '1 hour')");
$other->rules([ '.', undef, '503' ]);
my @down = map { send_one('other', "deadline_in => '3 seconds'") } 1 .. 6;
until_true('an open breaker', "SELECT breaker_state = 'open' FROM bank_participants WHERE name = 'other'");
sleep 0.5;
$requests = () = $other->requests;
$next = send_one();
my $late = send_one('other', "deadline_in => '1 second'");
wait_for($late, 'rejected');
is(query("SELECT attempts, reason FROM bank_transfers WHERE transfer_id = '$late'"), '0|Not sent by the deadline',
	'what was not sent by its deadline is rejected');
my @asked = query_rows($node, 'ledger', 'SELECT transfer_id FROM bank_transfers WHERE attempts > 0 AND transfer_id IN ('
	  . join(', ', map { "'$_'" } @down) . ')');
foreach my $id (@down) { until_true("the deadline of $id", "SELECT state IN ('in_doubt', 'rejected') FROM bank_transfers WHERE transfer_id = '$id'") }
is(join(' ', map { state($_->[0]) } @asked), join(' ', ('in_doubt') x @asked), 'what was sent is in doubt');
is(scalar(() = $other->requests), $requests, 'while the breaker is open nothing is sent');
is(state($next), 'reserved', 'nor attempted');
like(health($node, 'ledger')->{endpoints}, qr/^f .*other \(breaker open: 503/, 'bank_health says so');
$other->rules;
query("SELECT bank_force_participant_breaker('other', 'half-open')");
wait_for($next, 'completed');
is(participant($node, 'ledger', 'other')->{breaker}, 'closed', 'a probe closes it');
query("SELECT bank_change_participant('other', failure_threshold => 1000)");

# 410 pauses, 429 throttles
$other->rules([ '.', 1, '410' ]);
$id = send_one();
until_true('a pause', "SELECT state = 'paused' FROM bank_participants WHERE name = 'other'");
is(state($id), 'submitted', 'who is gone is paused');
query("SELECT bank_resume_participant('other')");
wait_for($id, 'completed');
$other->rules([ '.', 1, '429:2' ]);
$start = time;
$id = send_one();
$other->wait_for(sub { grep { $_->{transfer_id} eq $id } $other->requests }, 'a request');
sleep 0.2;
$next = send_one();
wait_for($_, 'completed') foreach $id, $next;
cmp_ok(time - $start, '>=', 1.9, 'Retry-After is honoured, for all transfers to it');

# The worker is killed at each step
foreach my $step ([ 'before it was processed', 'hang' ], [ 'after it was processed', 'process', 'hang' ])
{
	my ($name, @steps) = @$step;

	$other->rules([ 'receive', 1, @steps ]);
	$id = send_one();
	$other->wait_for(sub { grep { $_->{transfer_id} eq $id } $other->requests }, 'a request');
	kill 'KILL', wait_for_worker($node, 'ledger');
	$node->poll_query_until('ledger', 'SELECT true') or die;
	wait_for($id, 'completed');
	my @actions = map { $_->{action} } grep { $_->{transfer_id} eq $id } $other->requests;
	is(join(' ', @actions), $steps[0] eq 'hang' ? 'receive status receive' : 'receive status', "killed $name");
}
foreach my $round (1 .. 6)
{
	my @sent = map { send_one() } 1 .. 3;

	sleep rand 0.02;
	kill 'KILL', wait_for_worker($node, 'ledger');
	$node->poll_query_until('ledger', 'SELECT true') or die;
	wait_for($_, 'completed') foreach @sent;
}
pass('killed at any moment');

# Stopped with exchanges under way
$silent->rules([ 'receive', 1, 'process', 'hang' ]);
$id = send_one('silent');
$silent->wait_for(sub { grep { $_->{transfer_id} eq $id } $silent->requests }, 'a request');
$start = time;
query('SELECT bank_relay_stop()');
cmp_ok(time - $start, '<', 2, 'the worker stops at once');
$next = send_one();
is(state($next), 'reserved', 'stopped, nothing is sent');
query('SELECT bank_relay_start()');
wait_for($_, 'completed') foreach $id, $next;

# A fast shutdown
$silent->rules([ 'receive', 1, 'process', 'hang' ]);
$id = send_one('silent');
$silent->wait_for(sub { grep { $_->{transfer_id} eq $id } $silent->requests }, 'a request');
$start = time;
$node->restart;
cmp_ok(time - $start, '<', 4, 'a fast shutdown does not wait for participants');
wait_for($id, 'completed');

# Another database can be dropped while one hangs
$silent->rules([ 'receive', 1, 'hang' ]);
$id = send_one('silent');
$silent->wait_for(sub { grep { $_->{transfer_id} eq $id } $silent->requests }, 'a request');
$node->safe_psql('postgres', 'CREATE DATABASE victim');
$start = time;
$node->safe_psql('postgres', 'DROP DATABASE victim');
cmp_ok(time - $start, '<', 3, 'DROP DATABASE does not wait for it');

# Expired holds are swept, but those of an account that is locked; nobody else is needed
query('SELECT bank_unsubscribe(\'hook\')');
query("SELECT bank_hold(account(101), '5 HTG', expires_in => '1 second'); SELECT bank_hold(account(102), '5 HTG', expires_in => '1 second')");
$session = $node->background_psql('ledger');
$session->query_safe('BEGIN');
$session->query_safe('SELECT FROM bank.accounts WHERE account_id = account(102) FOR NO KEY UPDATE');
until_true('a sweep', "SELECT count(*) = 1 FROM bank_events WHERE event_type = 'hold.expired'");
is(query("SELECT aggregate_id = account(101) FROM bank_events WHERE event_type = 'hold.expired'"), 't', 'a hold that is over is swept');
$session->query_safe('ROLLBACK');
until_true('the other one', "SELECT count(*) = 2 FROM bank_events WHERE event_type = 'hold.expired'");
$session->quit;

# A standby is promoted while one hangs
wait_for($id, 'completed');
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$silent->rules([ 'receive', 1, 'process', 'hang' ]);
$id = send_one('silent');
$silent->wait_for(sub { grep { $_->{transfer_id} eq $id } $silent->requests }, 'a request');
$node->wait_for_catchup($standby);
$node->stop('immediate');
$standby->promote;
wait_for_transfer($standby, 'ledger', $id, 'completed');
is($standby->safe_psql('ledger', "SELECT string_agg(invariant, ', ') FROM bank_verify() WHERE NOT ok"), '', 'bank_verify');
is(scalar(() = grep { $silent->book($_->{transfer_id}) ne 'received' } $silent->requests), 0, 'every transfer has arrived');

$_->stop foreach $other, $silent, $receiver;
$standby->stop;
done_testing();
