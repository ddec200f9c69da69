# An endpoint that is down for long, with 100 000 events behind: no attempts are burnt, nobody else is affected,
# memory is bounded, and when it is over requests ramp up and everything arrives.
#
# How fast commands are is for bench/ to say.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use List::Util qw(max min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

my $accounts = 500;
my $backlog = 104_000;
my $concurrency = 16;
my $node = relay_node('outage', conf => <<'CONF');
autovacuum = off
max_wal_size = 4GB
CONF
my $down = Receiver->start('down');
my $up = Receiver->start('up');

create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, $accounts, '10000.00 HTG');

# Attempts that count against events of a subscription.
sub attempts
{
	my ($name) = @_;

	return $node->safe_psql('postgres',
		"SELECT COALESCE(sum(attempts), 0) FROM bank_deliveries WHERE subscription = '$name'");
}

# One endpoint refuses connections, from the beginning; another one is well.
$down->stop_listening;
subscribe($node, 'postgres', 'down', $down->url('/down'),
	"mode => 'batch', batch_size => 10, concurrency => $concurrency, breaker_timeout => '1 hour'");
subscribe($node, 'postgres', 'up', $up->url('/up'), "mode => 'batch', batch_size => 500");
wait_until($node, 'postgres', 'the breaker to open',
	"SELECT breaker_state = 'open' FROM bank_subscriptions WHERE name = 'down'");
wait_for_delivery($node, 'postgres', 'up');
my $before = subscription($node, 'postgres', 'down');
my $attempts = attempts('down');
is("$before->{state} $before->{breaker_failures} $before->{delivered}",
	'active 5 0', 'the breaker has opened after five failures');
like($before->{last_error}, qr/connect/i, 'the last error says why');
cmp_ok($attempts, '>', 0, 'those attempts count');
like(health($node, 'postgres')->{endpoints},
	qr/^f down \(breaker open: .*connect/i, 'bank_health says what is wrong');

my $worker = wait_for_worker($node, 'postgres');
my $memory = worker_memory($worker);
post_transfers($node, 'postgres', $backlog, "account(1 + i % $accounts)", "account(1 + (i * 7 + 1) % $accounts)");
my %most = watch_until_delivered($node, 'postgres', 'up');
note sprintf('memory of the worker: %s when idle, at most %s while it delivers %d events and another %d wait',
	megabytes($memory), megabytes($most{memory}), $backlog, $backlog);
cmp_ok($most{memory} - $memory, '<', 32 * 1024 * 1024, 'the backlog takes no memory to speak of');
deliveries_ok(account_events($node, 'postgres'), deliveries($up, '/up'), 'the other subscription');

# While it is open, nothing is tried, and nothing counts.
sub nothing_burnt_ok
{
	my ($name, $probes) = @_;
	my $row = subscription($node, 'postgres', 'down');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( "$row->{state} $row->{breaker_state} $row->{failed} $row->{dead_letters} " . attempts('down'),
		'active open ' . ($before->{failed} + $probes) . " 0 $attempts",
		"$name: no attempt is burnt");
	return $row;
}
my $row = nothing_burnt_ok('open', 0);
cmp_ok($row->{lag_events}, '>=', $backlog, 'open: all of the backlog is shown as lag');
cmp_ok($row->{lag_seconds}, '>', 0, 'open: with its age');
is(relay_status($node, 'postgres')->{requests_in_flight}, 0, 'open: nothing is under way');

# Nor when it is tried: a probe counts as a failure, not as an attempt of its event.
foreach my $probe (1 .. 3)
{
	$node->safe_psql('postgres', "SELECT bank_force_breaker('down', 'half-open')");
	wait_until($node, 'postgres', 'the probe to fail', <<"SQL");
SELECT breaker_state = 'open' AND failed = $before->{failed} + $probe FROM bank_subscriptions WHERE name = 'down'
SQL
	nothing_burnt_ok("probe $probe", $probe);
}

# Commands do not mind a dead endpoint that is tried all the time.
$node->safe_psql('postgres', "SELECT bank_change_subscription('down', breaker_timeout => '50 milliseconds')");
my %load = pgbench(
	$node,
	'postgres',
	clients => 8,
	seconds => 2,
	scripts => [<<"SQL"]);
\\set a random(1, $accounts)
\\set b 1 + (:a - 1 + random(1, $accounts - 1)) % $accounts
SELECT bank_transfer(account(:a), account(:b), '0.01 HTG');
SQL
is("$load{status} $load{failed} $load{stderr}", '0 0 ', 'no command failed');
cmp_ok($load{processed}, '>', 100, 'commands go on while an endpoint is dead');
wait_until($node, 'postgres', 'attempts',
	"SELECT failed > $before->{failed} + 10 FROM bank_subscriptions WHERE name = 'down'");
$node->safe_psql('postgres', "SELECT bank_pause_subscription('down')");
$row = subscription($node, 'postgres', 'down');
cmp_ok($row->{failed}, '>', $before->{failed} + 10, 'the endpoint was tried again and again');
is(attempts('down'), $attempts, 'and no attempt was burnt');

# It comes back, and needs some time for each request. What the receiver sees: one request, the probe;
# when that is answered one more; then twice as many with each answer, and never more than agreed.
my $delay = 0.25;
$down->rules([ [ '/', '*', 'delay:' . 1000 * $delay ] ]);
$down->start_again;
$node->safe_psql('postgres', "SELECT bank_resume_subscription('down')");
$down->wait_for(sub { @{ deliveries($down, '/down') } >= 4 * $concurrency }, 60, 'requests');
$down->rules([]);
my @requests = @{ deliveries($down, '/down') };
my $most_in_flight = 0;
my @too_many;
is(scalar @{ $requests[0]->{events} }, 1, 'recovery: one event is the probe');
foreach my $n (0 .. 4 * $concurrency - 1)
{
	# what is certainly still under way when this one arrives, and what may have been answered by then
	my @earlier = map { $_->{time} } @requests[ 0 .. $n - 1 ];
	my $now = $requests[$n]->{time};
	my $answered = grep { $_ + $delay * 1e6 <= $now } @earlier;
	my $under_way = 1 + @earlier - $answered;
	my $allowed = $answered < 2 ? 1 : min($concurrency, 2**($answered - 1));

	$most_in_flight = max($most_in_flight, $under_way);
	push @too_many, 'request ' . ($n + 1) . ": $under_way under way, $answered answered" if $under_way > $allowed;
}
is(join('; ', @too_many), '', 'recovery: requests ramp up');
cmp_ok($most_in_flight, '>', $concurrency / 2, 'recovery: to as many as before');
is($down->stats->{max_in_flight}, $concurrency, 'recovery: and no more');
%most = watch_until_delivered($node, 'postgres', 'down');
wait_for_delivery($node, 'postgres', 'up');
note sprintf('memory of the worker: %s when idle, at most %s while the backlog is delivered (%d events, %s in payloads)',
	megabytes($memory), megabytes($most{memory}), $most{events}, megabytes($most{bytes}));
cmp_ok($most{memory} - $memory, '<', 32 * 1024 * 1024, 'recovery: memory is bounded');
is(wait_for_worker($node, 'postgres'), $worker, 'recovery: it is the same worker all the time');
my $events = account_events($node, 'postgres');
deliveries_ok($events, deliveries($down, '/down'), 'recovery');
deliveries_ok($events, deliveries($up, '/up'), 'recovery, the other subscription');
$row = subscription($node, 'postgres', 'down');
is( "$row->{breaker_state} $row->{breaker_failures} $row->{lag_events} $row->{retrying} $row->{delivered}",
	'closed 0 0 0 ' . keys %$events,
	'recovery: bank_subscriptions says so');
is(health($node, 'postgres')->{endpoints}, 't No breaker is open.', 'recovery: bank_health says so');

$node->stop;
done_testing();
