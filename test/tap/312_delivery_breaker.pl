# The circuit breaker of a subscription, as an endpoint and an operator see it: what opens it, how many
# requests it lets through and when, what survives restarts, and what it costs events: nothing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

my $node = relay_node('breaker');
my $receiver = Receiver->start('breaker');

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 40, '100.00 HTG');
wait_for_worker($node, 'ledger');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('ledger', $sql);
}

# Make a subscription to deposits from now on, at the path of its name. One request at a time, retries at once.
sub hook
{
	my ($name, @arguments) = @_;
	my @all = ("event_types => '{money.deposited}'", @arguments);

	push @all, 'concurrency => 1' unless grep { /^concurrency/ } @all;
	push @all, "retry_delay => '10 ms', retry_max_delay => '10 ms'" unless grep { /^retry_delay/ } @all;
	sql("SELECT bank_subscribe('$name', '" . $receiver->url("/$name") . "', " . join(', ', @all) . ')');
	return;
}

sub drop
{
	sql("SELECT bank_unsubscribe('$_')") foreach @_;
	return;
}

sub deposit
{
	my ($account) = @_;
	return sql("SELECT event_id FROM bank_deposit(account($account), '1 HTG')");
}

sub requests
{
	my ($name) = @_;
	return $receiver->requests("/$name");
}

sub shown
{
	my ($name, $columns) = @_;
	return sql("SELECT $columns FROM bank_subscriptions WHERE name = '$name'");
}

# Wait until the breaker of a subscription is in a state.
sub wait_for_breaker
{
	my ($name, $state) = @_;

	wait_until($node, 'ledger', "the breaker of $name to be $state",
		"SELECT breaker_state = '$state' FROM bank_subscriptions WHERE name = '$name'");
	return;
}

# Times between requests, in milliseconds.
sub gaps
{
	my (@requests) = @_;
	return map { ($requests[$_]{time} - $requests[ $_ - 1 ]{time}) / 1000 } 1 .. $#requests;
}

# Another subscription that must not notice anything: a deposit arrives there, whatever happens.
hook('beside', 'concurrency => 20');

sub beside_ok
{
	my ($name, $account) = @_;
	my $id = deposit($account);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($receiver->wait_for(sub { grep { $_->{id} eq $id } requests('beside') }, 30, 'another subscription'),
		"$name: other subscriptions are served");
	return $id;
}

# Closed, open after three failures in a row, a probe each second, closed again. Exactly so many requests.
{
	$receiver->rules([ [ '/circle', '*', 'times:6:status:500|ok' ] ]);
	hook('circle', 'failure_threshold => 3', "breaker_timeout => '1 second'", 'max_attempts => 4');
	is(shown('circle', 'breaker_state, breaker_failures, breaker_forced'), 'closed|0|f', 'circle: closed at first');
	my @ids = deposit(1);
	wait_for_breaker('circle', 'open');
	cmp_ok(scalar requests('circle'), '>=', 3, 'circle: open after three failures');
	is(shown('circle', 'breaker_failures >= 3, breaker_forced, now() - breaker_since < interval $$30 s$$, state'),
		't|f|t|active', 'circle: what the view says');
	like(health($node, 'ledger')->{endpoints}, qr/^f circle \(breaker (?:open|half-open): 500 .*\)$/,
		'circle: bank_health() says so');
	push @ids, beside_ok('circle', $_) foreach 1 .. 3;
	wait_for_delivery($node, 'ledger', 'circle');
	my @requests = requests('circle');
	my @gaps = gaps(@requests);
	is( join(' ', map { $_->{answer} } @requests),
		join(' ', (500) x 6, (204) x 4),
		'circle: three attempts, three probes that fail, one that does not, and the rest');
	cmp_ok($gaps[$_], '<', 1000, 'circle: attempts follow each other') foreach 0, 1;
	cmp_ok($gaps[$_], '>=', 1000, 'circle: before a probe the time of the breaker is over') foreach 2 .. 5;
	is(scalar(grep { $_->{id} ne $ids[0] } @requests[ 0 .. 2 ]), 0, 'circle: attempts with the first event');
	is(shown('circle', 'breaker_state, breaker_failures, delivered, failed, dead_letters, retrying'),
		'closed|0|4|6|0|0', 'circle: closed, nothing given up: probes cost no attempts');
	is(health($node, 'ledger')->{endpoints}, 't No breaker is open.', 'circle: bank_health() too');
	drop('circle');
}

# What counts as a failure of the endpoint, and what does not: each between two failures, of which three open it.
# (When a connection that was kept ends without a byte of an answer, libcurl sends the request again at once on another
# one. So one attempt can be several requests, and an answer that ends connections comes for good here.)
{
	my @cases = (
		[ 'status:500', 1 ],
		[ 'status:599', 1 ],
		[ 'status:408', 1 ],
		[ 'status:302', 1 ],
		[ 'hang', 1 ],
		[ 'hang-body', 1 ],
		[ 'reset', 1 ],
		[ 'close', 1 ],
		[ 'garbage', 1 ],
		[ 'status:400', 0 ],
		[ 'status:404', 0 ],
		[ 'status:422', 0 ],
		[ 'status:429', 0 ],
		[ 'ok', 0 ]);
	my @names = map { "counts$_" } 0 .. $#cases;

	my @ends = map { scalar($_->[0] =~ /^(?:reset|close)$/) } @cases;
	$receiver->rules([ map { [ "/counts$_/", '*', 'times:1:status:500|'
		. ($ends[$_] ? $cases[$_][0] : "times:1:$cases[$_][0]|times:1:status:500|ok") ] } 0 .. $#cases ]);
	foreach my $i (0 .. $#cases)
	{
		hook("counts$i", 'failure_threshold => 3', "breaker_timeout => '1 hour'", "request_timeout => '300 ms'");
		sql("SELECT bank_change_subscription('counts$i', url => '" . $receiver->url("/counts$i/") . "')");
	}
	sql(join(";\n", ("SELECT bank_deposit(account(4), '1 HTG')") x 4));
	wait_until($node, 'ledger', 'breakers that open or not',
		"SELECT bool_and(breaker_state = 'open' OR lag_events = 0) FROM bank_subscriptions WHERE name LIKE 'counts%'");
	foreach my $i (0 .. $#cases)
	{
		is(shown("counts$i", 'breaker_state, breaker_failures'), $cases[$i][1] ? 'open|3' : 'closed|0',
			"$cases[$i][0]: " . ($cases[$i][1] ? 'is a failure of the endpoint' : 'ends a row of failures'));
		is(scalar $receiver->requests("/counts$i/"), $cases[$i][1] ? 3 : $cases[$i][0] eq 'ok' ? 6 : 7,
			"$cases[$i][0]: as many requests")
		  unless $ends[$i];
	}
	drop(@names);

	# nobody listens
	my $nobody = Receiver->start('nobody');
	hook('nobody', 'failure_threshold => 2', "breaker_timeout => '500 ms'");
	sql("SELECT bank_change_subscription('nobody', url => '" . $nobody->url('/nobody') . "')");
	$nobody->stop_listening;
	my $id = deposit(5);
	wait_for_breaker('nobody', 'open');
	$nobody->start_again;
	wait_for_delivery($node, 'ledger', 'nobody');
	is(join(' ', map { $_->{id} } $nobody->requests), $id, 'nobody listens: open; somebody does: a probe closes it');
	is(shown('nobody', 'breaker_state, breaker_failures'), 'closed|0', 'nobody listens: closed again');
	drop('nobody');
	$nobody->stop;
}

# An open breaker lets nothing through: not for new events, not after a restart of the worker or of the server, not
# after a crash. Its state stays, and its time runs on.
{
	$receiver->rules([ [ '/open', '*', 'status:503' ] ]);
	hook('open', 'failure_threshold => 2', "breaker_timeout => '1 hour'", 'max_attempts => 3');
	my @ids = deposit(6);
	wait_for_breaker('open', 'open');
	my $since = shown('open', 'breaker_since');
	is(scalar requests('open'), 2, 'open: two requests so far');

	foreach my $way (
		[ 'as it is', sub { } ],
		[ 'after the worker was ended', sub { sql('SELECT pg_terminate_backend(pid) FROM bank_relay_status()') } ],
		[ 'after bank_relay_stop()', sub { sql('SELECT bank_relay_stop()'); sql('SELECT bank_relay_start()') } ],
		[ 'after a restart', sub { $node->restart } ],
		[ 'after a crash', sub { $node->stop('immediate'); $node->start } ])
	{
		my ($name, $do) = @$way;
		my $pid = relay_status($node, 'ledger')->{pid};

		$do->();
		wait_for_worker($node, 'ledger', $name eq 'as it is' ? undef : $pid);
		push @ids, beside_ok("open, $name", 6 + @ids);
		wait_for_delivery($node, 'ledger', 'beside');
		is(scalar requests('open'), 2, "open, $name: nothing is sent");
		is(shown('open', 'breaker_state, breaker_failures, breaker_forced, breaker_since'), "open|2|f|$since",
			"open, $name: its state stays");
	}
	is(sql("SELECT max(attempts), count(*) FILTER (WHERE state = 'dead') FROM bank_deliveries"), '2|0', 'open: no attempts are used up');

	# the time of the breaker can be over while nobody is there to see it
	sql("SELECT bank_relay_stop()");
	sql("SELECT bank_change_subscription('open', breaker_timeout => '1 ms')");
	sql("SELECT bank_relay_start()");
	$receiver->wait_for(sub { requests('open') >= 4 }, 30, 'probes');
	$receiver->rules([]);
	wait_for_delivery($node, 'ledger', 'open');
	is( join(' ', sort map { $_->{id} } grep { $_->{answer} eq '204' } requests('open')),
		join(' ', sort @ids),
		'open: closed, everything arrives, once');
	is(shown('open', 'breaker_state, dead_letters, retrying'), 'closed|0|0', 'open: and nothing was given up');
	drop('open');
}

# A probe is one request, however many events wait; half-open is there to be seen; while it hangs nothing else is sent.
{
	$receiver->rules([ [ '/half', '*', 'times:2:status:500|hang' ] ]);
	hook('half', 'failure_threshold => 2', "breaker_timeout => '100 ms'", 'concurrency => 10', "request_timeout => '5 minutes'", 'max_attempts => 3');
	deposit(20);
	wait_for_breaker('half', 'half-open');
	$receiver->wait_for(sub { requests('half') == 3 }, 30, 'the probe');
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 20 .. 35));
	beside_ok('half-open', 20);
	wait_for_delivery($node, 'ledger', 'beside');
	is(scalar requests('half'), 3, 'half-open: one probe, no more');
	is(shown('half', 'breaker_state'), 'half-open', 'half-open: shown');
	like(health($node, 'ledger')->{endpoints}, qr/^f half \(breaker half-open: /, 'half-open: by bank_health(), too');

	# a worker that starts again does not know its probe any more: another one
	my $pid = relay_status($node, 'ledger')->{pid};
	sql("SELECT pg_terminate_backend($pid)");
	wait_for_worker($node, 'ledger', $pid);
	$receiver->wait_for(sub { requests('half') == 4 }, 30, 'another probe');
	beside_ok('half-open, a new worker', 20);
	is(scalar requests('half'), 4, 'half-open, a new worker: one probe, no more');

	# a command gives it up: the next one is answered
	$receiver->rules([ [ '/half', '*', 'delay:50' ] ]);
	$receiver->reset_stats;
	sql("SELECT bank_force_breaker('half', 'closed')");
	wait_for_delivery($node, 'ledger', 'half');
	my @answered = grep { $_->{answer} eq '204' } requests('half');
	my %ids = map { $_->{id} => 1 } @answered;
	is(scalar @answered, scalar keys %ids, 'half-open, closed by command: everything arrives, once');
	is(scalar keys %ids, 19, 'half-open, closed by command: all of it');
	is(shown('half', 'breaker_state, dead_letters'), 'closed|0', 'half-open, closed by command: in the end');
	drop('half');
}

# After an outage requests ramp up: one, and with each success at most twice as many at a time.
{
	my $delay = 150;

	$receiver->rules([ [ '/ramp', '*', "times:1:status:500|delay:$delay" ] ]);
	hook('ramp', 'failure_threshold => 1', "breaker_timeout => '1 hour'", 'concurrency => 16');
	deposit(1);
	wait_for_breaker('ramp', 'open');
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 1 .. 40));
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 1 .. 40));
	sql("SELECT bank_change_subscription('ramp', breaker_timeout => '1 ms')");
	wait_for_delivery($node, 'ledger', 'ramp');
	my @answered = grep { $_->{answer} eq '204' } requests('ramp');
	my ($most, @wrong) = 0;
	foreach my $request (@answered)
	{
		my $time = $request->{time};
		# answers take $delay; clocks may disagree a little
		my $before = $time - ($delay - 10) * 1000;
		my $done = grep { $_->{time} <= $before } @answered;
		my $running = grep { $_->{time} > $before && $_->{time} <= $time } @answered;
		my $allowed = $done < 1 ? 1 : $done > 5 ? 16 : 2**($done - 1);

		push @wrong, "$running at a time after $done successes" if $running > $allowed;
		$most = $running if $running > $most;
	}
	is(join(', ', @wrong), '', 'ramp: at most twice as many with each success');
	cmp_ok($most, '>', 8, 'ramp: in the end there are many');
	cmp_ok($most, '<=', 16, 'ramp: not more than concurrency');
	is(scalar @answered, 81, 'ramp: everything arrives, once');
	drop('ramp');
}

# Failures of requests that were under way when the breaker opened are late: they cost no attempts, and do not keep
# it open for longer.
{
	$receiver->rules([ [ '/late', '"amount": "1.00"', 'delay:200:status:500' ], [ '/late', '*', 'delay:1500:status:500' ] ]);
	hook('late', 'failure_threshold => 2', "breaker_timeout => '1 hour'", 'concurrency => 20', "retry_delay => '1 hour'");
	sql("SELECT count(bank_deposit(account(n), CASE WHEN n <= 2 THEN '1 HTG' ELSE '2 HTG' END::bank_money)) FROM generate_series(1, 10) AS n");
	wait_for_breaker('late', 'open');
	my $since = shown('late', 'breaker_since');
	is(scalar requests('late'), 10, 'late: ten requests at a time, two have failed');
	wait_until($node, 'ledger', 'all to fail', "SELECT failed = 10 FROM bank_subscriptions WHERE name = 'late'");
	is(shown('late', 'breaker_state, breaker_since, breaker_failures'), "open|$since|2", 'late: the others change nothing');
	is(sql("SELECT COALESCE(sum(attempts), 0) FROM bank_deliveries"), 2, 'late: and cost no attempts');
	is(scalar requests('late'), 10, 'late: nothing more is sent');
	drop('late');
}

# By command: open, whatever the endpoint is like, until the next command; half-open; closed.
{
	$receiver->rules([]);
	hook('force', 'failure_threshold => 3', "breaker_timeout => '100 ms'");
	my @ids = deposit(1);
	wait_for_delivery($node, 'ledger', 'force');
	sql("SELECT bank_force_breaker('force', 'open')");
	is(shown('force', 'breaker_state, breaker_forced'), 'open|t', 'forced open: shown');
	push @ids, beside_ok('forced open', 1);
	wait_until($node, 'ledger', 'the time of the breaker to be over',
		"SELECT now() - breaker_since > interval '1 second' FROM bank_subscriptions WHERE name = 'force'");
	push @ids, beside_ok('forced open', 2);
	is(scalar requests('force'), 1, 'forced open: nothing is sent, its time does not count');
	my $pid = relay_status($node, 'ledger')->{pid};
	sql("SELECT pg_terminate_backend($pid)");
	wait_for_worker($node, 'ledger', $pid);
	push @ids, beside_ok('forced open, a new worker', 3);
	is(scalar requests('force'), 1, 'forced open, a new worker: neither');
	is(shown('force', 'breaker_state, breaker_forced'), 'open|t', 'forced open, a new worker: stays so');

	# a probe that fails, by command: open as by itself, and so it goes on
	$receiver->rules([ [ '/force', '*', 'times:1:status:500|ok' ] ]);
	sql("SELECT bank_force_breaker('force', 'half-open')");
	wait_for_delivery($node, 'ledger', 'force');
	is(join(' ', map { $_->{answer} } requests('force')), '204 500 204 204 204', 'forced half-open: a probe, another one, and all the rest');
	is(join(' ', sort map { $_->{id} } grep { $_->{answer} eq '204' } requests('force')), join(' ', sort @ids), 'forced half-open: nothing is missing');
	is(shown('force', 'breaker_state, breaker_forced, breaker_failures'), 'closed|f|0', 'forced half-open: closed by itself');

	# closed: failures are forgotten
	$receiver->rules([ [ '/force', '*', 'status:500' ] ]);
	sql("SELECT bank_change_subscription('force', breaker_timeout => '1 hour')");
	my $before = requests('force');
	my $last = deposit(4);
	wait_for_breaker('force', 'open');
	is(scalar requests('force') - $before, 3, 'forced closed: it had opened');
	$receiver->rules([ [ '/force', '*', 'times:2:status:500|ok' ] ]);
	sql("SELECT bank_force_breaker('force', 'closed')");
	wait_for_delivery($node, 'ledger', 'force');
	my @last = map { $_->{answer} } (requests('force'))[ $before .. scalar requests('force') - 1 ];
	is("@last", '500 500 500 500 500 204', 'forced closed: two more failures do not open it');
	is(shown('force', 'breaker_state, breaker_failures'), 'closed|0', 'forced closed: in the end');

	# rolled back, or in a transaction that goes on, it changes nothing
	sql("BEGIN; SELECT bank_force_breaker('force', 'open'); ROLLBACK");
	my $id = deposit(5);
	$receiver->wait_for(sub { grep { $_->{id} eq $id } requests('force') }, 30, 'a delivery');
	is(shown('force', 'breaker_state, breaker_forced'), 'closed|f', 'forced, rolled back: nothing has changed');
	drop('force');
}

# Batches: a probe is a single event; a batch that fails is one failure.
{
	$receiver->rules([ [ '/batch', '*', 'times:3:status:500|ok' ] ]);
	hook('batch', "mode => 'batch'", 'batch_size => 50', 'failure_threshold => 2', "breaker_timeout => '300 ms'", 'max_attempts => 3');
	sql("SELECT count(bank_deposit(account(n), '1 HTG')) FROM generate_series(1, 30) AS n");
	wait_for_delivery($node, 'ledger', 'batch');
	my @requests = requests('batch');
	my @sizes = map { scalar @{ $_->{events} } } @requests;
	is(join(' ', map { $_->{answer} } @requests[ 0 .. 3 ]), '500 500 500 204', 'batch: two failures, a probe that fails, one that does not');
	is($sizes[0], 30, 'batch: it began with all');
	is("@sizes[2, 3]", '1 1', 'batch: probes are single events');
	my %ids = map { $_->{id} => 1 } map { @{ $_->{events} } } grep { $_->{answer} eq '204' } @requests;
	is(scalar keys %ids, 30, 'batch: everything arrives');
	is(shown('batch', 'delivered, dead_letters, breaker_state'), '30|0|closed', 'batch: once');
	drop('batch');
}

# Events that are refused do not keep the breaker open: its probe is another one.
{
	$receiver->rules([ [ '/poison', '"amount": "0.66"', 'status:500' ], [ '/poison', '*', 'ok' ] ]);
	hook('poison', 'failure_threshold => 2', "breaker_timeout => '200 ms'", 'max_attempts => 4', "retry_delay => '50 ms', retry_max_delay => '50 ms'");
	sql("SELECT bank_deposit(account(1), '0.66 HTG')");
	wait_for_breaker('poison', 'open');
	my @ids = map { deposit($_) } 2 .. 6;
	$receiver->wait_for(sub { my %got = map { $_->{id} => 1 } requests('poison'); !grep { !$got{$_} } @ids }, 60, 'all others');
	pass('poison: the others arrive although one event has an endpoint fail each time');
	drop('poison');
}
unlike(errors_logged($node), qr/XX000/, 'no internal errors');

$node->stop;
done_testing();
