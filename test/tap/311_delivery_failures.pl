# What the relay makes of every answer an endpoint can give, or not give: what is delivered, what is tried
# again, when, and how often; what is given up, and who waits for it. The breaker is the matter of 312.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver qw(signature_ok);
use Test::More;

my $node = relay_node('failures');
my $receiver = Receiver->start('failures');

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 20, '100.00 HTG');
wait_for_worker($node, 'ledger');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('ledger', $sql);
}

# Make a subscription to deposits and transfers from now on, at the path of its name; returns its secret.
sub hook
{
	my ($name, @arguments) = @_;
	return sql(
		"SELECT secret FROM bank_subscribe("
		  . join(', ', "'$name'", "'" . $receiver->url("/$name") . "'", "event_types => '{money.deposited,transfer.*}'", @arguments)
		  . ')');
}

# Deposit so much to an account; returns the identifier of the event.
sub deposit
{
	my ($account, $amount) = @_;
	return sql("SELECT event_id FROM bank_deposit(account($account), '" . ($amount // '1.00') . " HTG')");
}

sub requests
{
	my ($name) = @_;
	return $receiver->requests("/$name");
}

# Columns of a row of bank_subscriptions, with bars in between.
sub shown
{
	my ($name, $columns) = @_;
	return sql("SELECT $columns FROM bank_subscriptions WHERE name = '$name'");
}

# Times between requests, in milliseconds.
sub gaps
{
	my (@requests) = @_;
	return map { ($requests[$_]{time} - $requests[ $_ - 1 ]{time}) / 1000 } 1 .. $#requests;
}

# Every answer, once, and then a good one. [behaviour, is it delivered?, how often it counts as failed, what the
# error says, further arguments of bank_subscribe].
my @answers = (
	[ 'ok', 1 ],
	[ 'ok:thank you', 1 ],
	[ 'status:201', 1 ],
	[ 'status:202', 1 ],
	[ 'status:299', 1 ],
	[ 'slow:300', 1 ],
	[ 'delay:300', 1 ],
	[ 'big:100000000', 1 ],
	[ 'big:65536', 1 ],
	[ 'status:500', 0, 1, '^500' ],
	[ 'status:501', 0, 1, '^501' ],
	[ 'status:503', 0, 1, '^503' ],
	[ 'status:599', 0, 1, '^599' ],
	[ 'status:408', 0, 1, '^408' ],
	[ 'status:400', 0, 1, '^400' ],
	[ 'status:401', 0, 1, '^401' ],
	[ 'status:404', 0, 1, '^404' ],
	[ 'status:409', 0, 1, '^409' ],
	[ 'status:422', 0, 1, '^422' ],
	[ 'status:300', 0, 1, '^300' ],
	[ 'status:304', 0, 1, '^304' ],
	[ 'redirect:' . $receiver->url('/elsewhere'), 0, 1, '^302.*redirects are not followed' ],
	[ 'status:307:Location: ' . $receiver->url('/elsewhere'), 0, 1, '^307' ],
	[ 'status:308:Location: /elsewhere', 0, 1, '^308' ],
	[ 'hang', 0, 1, 'time', "request_timeout => '400 ms'" ],
	[ 'hang-body', 0, 1, 'time', "request_timeout => '400 ms'" ],
	[ 'slow:20000', 0, 1, 'time', "request_timeout => '400 ms'" ],
	[ 'delay:20000', 0, 1, 'time', "request_timeout => '400 ms', connect_timeout => '5 minutes'" ],
	[ 'reset', 0, 1, '.' ],
	[ 'close', 0, 1, '.' ],
	[ 'garbage', 0, 1, '.' ],
	[ 'status:429', 0, 0, '^429' ],
	[ 'status:429:Retry-After: 0', 0, 0, '^429' ],
	[ 'status:429:Retry-After: -5', 0, 0, '^429' ],
	[ 'status:429:Retry-After: soon', 0, 0, '^429' ],
	[ 'status:503:Retry-After: 0', 0, 1, '^503' ]);
{
	my @rules;
	my %secret;

	foreach my $i (0 .. $#answers)
	{
		push @rules, [ "/answer$i/", '*', "times:1:$answers[$i][0]|ok" ];
		$secret{$i} = sql("SELECT secret FROM bank_subscribe('answer$i', '"
			  . $receiver->url("/answer$i/")
			  . "', event_types => '{money.deposited}', retry_delay => '100 ms', failure_threshold => 100"
			  . ($answers[$i][4] ? ", $answers[$i][4])" : ')'));
	}
	$receiver->rules(\@rules);
	my $before = worker_memory(relay_status($node, 'ledger')->{pid});
	my $id = deposit(1);
	wait_for_delivery($node, 'ledger', map { "answer$_" } 0 .. $#answers);
	foreach my $i (0 .. $#answers)
	{
		my ($behaviour, $delivered, $failed, $error) = @{ $answers[$i] };
		my @requests = $receiver->requests("/answer$i/");
		my $name = substr($behaviour, 0, 30);

		is(scalar @requests, $delivered ? 1 : 2, "$name: " . ($delivered ? 'is delivered' : 'is tried again'));
		is(join(' ', map { $_->{id} // '' } @requests), join(' ', ($id) x @requests), "$name: always the same event");
		is(scalar(grep { !signature_ok($_, $secret{$i}) } @requests), 0, "$name: signed");
		is(shown("answer$i", 'delivered, failed, dead_letters, state, breaker_state'),
			join('|', 1, $failed // 0, 0, 'active', 'closed'), "$name: what the view says");
		like(shown("answer$i", "COALESCE(last_error, '')"), defined $error ? qr/$error/i : qr/^$/, "$name: why");
	}
	is(scalar $receiver->requests('/elsewhere'), 0, 'redirects are not followed');
	cmp_ok(worker_memory(relay_status($node, 'ledger')->{pid}) - $before, '<', 30_000_000, 'long answers are not kept in memory');
	is(sql('SELECT count(*) FROM bank_deliveries'), 0, 'nothing stays behind');
	sql("SELECT bank_unsubscribe('answer$_')") foreach 0 .. $#answers;
}

# Each attempt has a time and a signature of its own.
{
	my $secret = hook('attempts', "retry_delay => '2200 ms'", "retry_max_delay => '2200 ms'");
	$receiver->rules([ [ '/attempts', '*', 'times:1:status:500|ok' ] ]);
	deposit(1);
	wait_for_delivery($node, 'ledger', 'attempts');
	my ($first, $second) = requests('attempts');

	is($second->{id}, $first->{id}, 'attempts: the same name');
	is($second->{body}, $first->{body}, 'attempts: the same bytes');
	cmp_ok($second->{timestamp}, '>', $first->{timestamp}, 'attempts: a new time');
	isnt($second->{signature}, $first->{signature}, 'attempts: a new signature');
	ok(signature_ok($_, $secret), 'attempts: signed') foreach $first, $second;
	sql("SELECT bank_unsubscribe('attempts')");
}

# Back-off: the wait doubles up to the longest one, each between half of it and all of it. Then the event is a dead letter.
{
	$receiver->rules([ [ '/backoff', '*', 'status:404:X: y' ] ]);
	hook('backoff', "max_attempts => 6, retry_delay => '100 ms', retry_max_delay => '400 ms'");
	my $id = deposit(1);
	wait_until($node, 'ledger', 'a dead letter', "SELECT count(*) = 1 FROM bank_dead_letters WHERE subscription = 'backoff'");
	my @requests = requests('backoff');
	my @gaps = gaps(@requests);
	my @least = (50, 100, 200, 200, 200);

	is(scalar @requests, 6, 'back-off: as many attempts as max_attempts');
	foreach my $i (0 .. $#least)
	{
		cmp_ok($gaps[$i], '>=', $least[$i], "back-off: wait " . ($i + 1));
		# what takes longer than that is this machine's load
		cmp_ok($gaps[$i], '<', 2 * $least[$i] + 5000, "back-off: wait " . ($i + 1) . ', at most');
	}
	is( sql("SELECT event_id, event_type, attempts, last_status, last_error, first_attempt_at < last_attempt_at,
		  event_data ->> 'amount' FROM bank_dead_letters"),
		"$id|money.deposited|6|404|404 Not OK: status 404|t|1.00",
		'back-off: what the dead letter says');
	is(sql('SELECT state, attempts, next_attempt_at IS NULL, last_status FROM bank_deliveries'), 'dead|6|t|404',
		'back-off: bank_deliveries has it too');
	like(health($node, 'ledger')->{dead_letters}, qr/^f backoff \(1\)$/, 'back-off: bank_health() says so');
	is(shown('backoff', 'failed, dead_letters, retrying, lag_events, breaker_state'), '6|1|0|0|closed',
		'back-off: and the subscription');

	# one that is refused again is a dead letter again, after all its attempts
	is(sql("SELECT bank_retry_dead_letters('backoff', gen_random_uuid())"), 0, 'dead letters: there is no such one');
	is(sql("SELECT bank_retry_dead_letters('backoff', '$id')"), 1, 'dead letters: one is tried again');
	$receiver->wait_for(sub { requests('backoff') == 12 }, 60, 'six more attempts');
	wait_until($node, 'ledger', 'a dead letter again', "SELECT count(*) = 1 FROM bank_dead_letters WHERE attempts = 6");
	is(scalar requests('backoff'), 12, 'dead letters: with all attempts, and no more');
	my @ids = ($id, map { deposit($_) } 2 .. 4);
	wait_until($node, 'ledger', 'four dead letters', 'SELECT count(*) = 4 FROM bank_dead_letters');
	$node->restart;
	wait_for_worker($node, 'ledger');
	is(sql('SELECT count(*) FROM bank_dead_letters'), 4, 'dead letters: they survive a restart');
	is(scalar requests('backoff'), 30, 'dead letters: and are not sent');
	is(sql("SELECT bank_discard_dead_letters('backoff', '$ids[1]')"), 1, 'dead letters: one is discarded');
	$receiver->rules([]);
	is(sql("SELECT bank_retry_dead_letters('backoff', '$ids[3]')"), 1, 'dead letters: one is tried again');
	$receiver->wait_for(sub { grep { $_->{id} eq $ids[3] && $_->{answer} eq '204' } requests('backoff') }, 30, 'it');
	wait_until($node, 'ledger', 'it to be recorded', 'SELECT count(*) = 2 FROM bank_deliveries');
	is(sql("SELECT bank_retry_dead_letters('backoff')"), 2, 'dead letters: all others are');
	wait_until($node, 'ledger', 'the dead letters', 'SELECT count(*) = 0 FROM bank_deliveries');
	is( join(' ', sort map { $_->{id} } grep { $_->{answer} eq '204' } requests('backoff')),
		join(' ', sort @ids[ 0, 2, 3 ]),
		'dead letters: then they arrive, but for the one that was discarded');
	is(sql("SELECT bank_discard_dead_letters('backoff')"), 0, 'dead letters: there are none any more');
	sql("SELECT bank_unsubscribe('backoff')");
}

# A Retry-After is honoured: with 429 by the whole subscription, else by the event. In seconds, and as a date.
{
	my @cases = (
		[ '429', sub { '1' }, 1000, 0 ],
		[ '429', sub { strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)) }, 1500, 0 ],
		[ '503', sub { '1' }, 1000, 1 ],
		[ '404', sub { strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)) }, 1500, 1 ]);
	foreach my $i (0 .. $#cases)
	{
		my ($status, $after, $least, $counts) = @{ $cases[$i] };
		my $header = $after->();

		$receiver->rules([ [ "/after$i", '*', "times:1:status:$status:Retry-After: $header|ok" ] ]);
		hook("after$i", "retry_delay => '1 ms'");
		my $id = deposit(1);
		$receiver->wait_for(sub { requests("after$i") == 1 }, 30, 'an attempt');
		my $other = deposit(2);
		if ($status eq '429')
		{
			wait_until($node, 'ledger', 'the throttle', "SELECT throttled_until > now() FROM bank_subscriptions WHERE name = 'after$i'");
			is(shown("after$i", 'breaker_state, state'), 'closed|active', "Retry-After: $status $header: throttled, no more");
		}
		wait_for_delivery($node, 'ledger', "after$i");
		my ($first, $again) = grep { $_->{id} eq $id } requests("after$i");
		my ($beside) = grep { $_->{id} eq $other } requests("after$i");
		cmp_ok((gaps($first, $again))[0], '>=', $least, "Retry-After: $status $header: waits");
		is((gaps($first, $beside))[0] >= $least ? 'waits' : 'does not wait', $counts ? 'does not wait' : 'waits',
			"Retry-After: $status $header: and the next event of another account");
		is(shown("after$i", 'failed, throttled_until IS NULL'), "$counts|t", "Retry-After: $status $header: counts or not");
		is(scalar requests("after$i"), 3, "Retry-After: $status $header: no more attempts than that");
		sql("SELECT bank_unsubscribe('after$i')");
	}
}

# 410: the endpoint wants nothing more. Until it is resumed; then nothing is missing.
{
	$receiver->rules([ [ '/gone', '*', 'times:1:status:410|ok' ] ]);
	hook('gone', 'max_attempts => 1');
	hook('beside');
	my @ids = deposit(1);
	wait_until($node, 'ledger', 'the subscription to be disabled', "SELECT state = 'disabled' FROM bank_subscriptions WHERE name = 'gone'");
	like(shown('gone', 'state_reason'), qr/410/, '410: why it is disabled');
	like(health($node, 'ledger')->{subscriptions}, qr/^f 1 active, 0 paused, 1 disabled: gone$/, '410: bank_health() says so');
	push @ids, map { deposit($_) } 1, 2;
	wait_for_delivery($node, 'ledger', 'beside');
	is(scalar requests('gone'), 1, '410: nothing more is sent');
	is(sql("SELECT count(*) FROM bank_dead_letters"), 0, '410: no event is given up for it');
	$node->restart;
	wait_for_worker($node, 'ledger');
	push @ids, deposit(3);
	wait_for_delivery($node, 'ledger', 'beside');
	is(scalar requests('gone'), 1, '410: nor after a restart');
	sql("SELECT bank_resume_subscription('gone')");
	wait_for_delivery($node, 'ledger', 'gone');
	is( join(' ', sort map { $_->{id} } grep { $_->{answer} eq '204' } requests('gone')),
		join(' ', sort @ids),
		'410: resumed, everything arrives');
	is(shown('gone', 'state, state_reason IS NULL, failed'), 'active|t|0', '410: and all is well');
	is(health($node, 'ledger')->{subscriptions}, 't 2 active, 0 paused, 0 disabled', '410: bank_health() too');
	sql("SELECT bank_unsubscribe('$_')") foreach qw(gone beside);
}

# Whoever is behind a failing event waits for it (park), and nobody else; or nobody does (skip). The poison is
# account 1's; then come more of account 1, a transfer to account 2, more of account 2, and of account 3.
foreach my $policy ('park', 'skip')
{
	foreach my $restart (0, 1)
	{
		my $path = "$policy$restart";
		my $name = $restart ? "$policy, with a restart" : $policy;

		$receiver->rules([ [ "/$path", '"amount": "0.66"', 'times:2:status:422|status:500' ] ]);
		hook($path, "on_failure => '$policy', max_attempts => 4, retry_delay => '700 ms', retry_max_delay => '700 ms', failure_threshold => 100");
		my $poison = deposit(1, '0.66');
		my @behind = (deposit(1), sql("SELECT event_id FROM bank_transfer(account(1), account(2), '1 HTG')"), deposit(2));
		my $free = deposit(3);
		if ($restart)
		{
			$receiver->wait_for(sub { grep { $_->{id} eq $poison } requests($path) }, 30, 'the poison');
			wait_until($node, 'ledger', 'a failure to be recorded', "SELECT failed > 0 FROM bank_subscriptions WHERE name = '$path'");
			sql('SELECT pg_terminate_backend(pid) FROM bank_relay_status()');
		}
		wait_until($node, 'ledger', 'a dead letter', "SELECT count(*) = 1 FROM bank_dead_letters WHERE subscription = '$path'");
		wait_for_delivery($node, 'ledger', $path);
		my @order = map { $_->{id} } requests($path);
		my ($last) = grep { $order[$_] eq $poison } reverse 0 .. $#order;
		my ($second) = (grep { $order[$_] eq $poison } 0 .. $#order)[1];
		my %place = map { $order[$_] => $_ } reverse 0 .. $#order;

		is(scalar(grep { $_ eq $poison } @order), 4, "$name: four attempts with the poison");
		is(scalar @order, 8, "$name: everything else once");
		cmp_ok($place{$free}, '<', $second, "$name: other accounts do not wait") unless $restart;
		if ($policy eq 'park')
		{
			is(join(' ', @order[ $last + 1 .. $last + 3 ]), "@behind", "$name: what is behind it comes after it, in order");
		}
		else
		{
			is(join(' ', (grep { my $id = $_; grep { $id eq $_ } @behind } @order)), "@behind", "$name: what is behind it comes, in order");
			cmp_ok($place{ $behind[2] }, '<', $last, "$name: before the poison is given up");
		}
		is(shown($path, 'dead_letters, retrying, lag_events, delivered'), '1|0|0|4', "$name: in the end");

		# what was given up can still be had, out of order
		$receiver->rules([]);
		sql("SELECT bank_retry_dead_letters('$path')");
		wait_until($node, 'ledger', 'the dead letter', "SELECT count(*) = 0 FROM bank_deliveries");
		is((requests($path))[-1]{id}, $poison, "$name: tried again, it arrives");
		sql("SELECT bank_unsubscribe('$path')");
	}
}

# While it waits, it is there to be seen; what waits behind it too, when it has lasted.
{
	$receiver->rules([ [ '/seen', '"amount": "0.66"', 'status:422' ] ]);
	hook('seen', "retry_delay => '1 hour'");
	my $poison = deposit(1, '0.66');
	deposit(1) foreach 1 .. 3;
	wait_until($node, 'ledger', 'a failure', "SELECT count(*) = 1 FROM bank_deliveries WHERE state = 'retrying'");
	is( sql("SELECT subscription, event_id, event_type, aggregate_id, attempts, last_status, last_error,
		  next_attempt_at BETWEEN now() + interval '29 minutes' AND now() + interval '1 hour'
		  FROM bank_deliveries WHERE state = 'retrying'"),
		join('|', 'seen', $poison, 'money.deposited', account_id(1), 1, 422, '422 Not OK: status 422', 't'),
		'retrying: bank_deliveries shows it');
	is(shown('seen', 'retrying, dead_letters, lag_events >= 4, lag_seconds > 0'), '1|0|t|t', 'retrying: so does the subscription');
	is(scalar requests('seen'), 1, 'retrying: what is behind it waits');
	sql("SELECT bank_unsubscribe('seen')");
	is(sql('SELECT count(*) FROM bank_deliveries'), 0, 'retrying: unsubscribed, it is forgotten');
}

# One poisonous event in a batch: it is found, and the others arrive.
foreach my $accounts ('one account', 'many accounts')
{
	my $path = $accounts eq 'one account' ? 'batch1' : 'batch10';

	$receiver->rules([ [ "/$path", '"amount": "0.66"', 'status:422' ] ]);
	hook($path, "mode => 'batch', batch_size => 10, concurrency => 1, max_attempts => 2, retry_delay => '50 ms', failure_threshold => 1");
	my @ids = split(/\n/, sql(<<"SQL"));
SELECT event_id FROM generate_series(1, 10) AS n,
  bank_deposit(account(CASE WHEN '$accounts' = 'one account' THEN 1 ELSE n END), CASE n WHEN 4 THEN '0.66 HTG' ELSE '1.00 HTG' END::bank_money)
SQL
	my $poison = $ids[3];
	wait_until($node, 'ledger', 'a dead letter', "SELECT count(*) = 1 FROM bank_dead_letters WHERE subscription = '$path'");
	wait_for_delivery($node, 'ledger', $path);
	my @requests = requests($path);
	my @delivered = map { $_->{id} } map { @{ $_->{events} } } grep { $_->{answer} eq '204' } @requests;

	is(join(' ', sort @delivered), join(' ', sort grep { $_ ne $poison } @ids), "batch, $accounts: all others arrive, once");
	is("@delivered", join(' ', grep { $_ ne $poison } @ids), "batch, $accounts: in order") if $accounts eq 'one account';
	is(scalar @{ $requests[0]{events} }, 10, "batch, $accounts: it began with a batch of all");
	is(scalar(grep { @{ $_->{events} } == 1 && $_->{events}[0]{id} eq $poison } @requests), 2,
		"batch, $accounts: the poison was tried alone, max_attempts times");
	is(scalar(grep { @{ $_->{events} } > 1 && grep { $_->{id} eq $poison } @{ $_->{events} } } @requests), 1,
		"batch, $accounts: and once in a batch");
	is(sql('SELECT event_id, attempts FROM bank_dead_letters'), "$poison|2", "batch, $accounts: which does not count");
	is(shown($path, 'failed, breaker_state'), '2|closed', "batch, $accounts: nor do the others");
	sql("SELECT bank_unsubscribe('$path')");
}

# Nobody listens; then somebody does.
{
	my $late = Receiver->start('late');

	hook('unused', 'concurrency => 1');
	sql("SELECT bank_subscribe('late', '" . $late->url('/late') . "', event_types => '{money.*}', retry_delay => '50 ms', retry_max_delay => '200 ms', failure_threshold => 1000000, max_attempts => 1000)");
	$late->stop_listening;
	my @ids = map { deposit($_) } 1 .. 5, 1 .. 5;
	wait_until($node, 'ledger', 'failures', "SELECT failed >= 10 FROM bank_subscriptions WHERE name = 'late'");
	like(shown('late', 'last_error'), qr/refused|connect/i, 'refused: why');
	is(sql("SELECT DISTINCT last_status FROM bank_deliveries WHERE state = 'retrying'"), '0', 'refused: no status');
	$late->start_again;
	wait_for_delivery($node, 'ledger', 'late');
	is(join(' ', sort map { $_->{id} } $late->requests('/late')), join(' ', sort @ids), 'refused: when somebody listens, everything arrives once');
	is(shown('late', 'retrying, dead_letters, breaker_state'), '0|0|closed', 'refused: and all is well');
	$late->stop;
}

# Random failures of all kinds, for many accounts: everything arrives in the end, per account in order.
{
	$receiver->rules([
		[ '/chaos', '"amount": "0.01"', 'random:40:status:500' ],
		[ '/chaos', '"amount": "0.02"', 'random:40:reset' ],
		[ '/chaos', '"amount": "0.03"', 'random:40:status:404' ],
		[ '/chaos', '"amount": "0.04"', 'random:20:hang' ],
		[ '/chaos', '"amount": "0.05"', 'random:40:close' ],
		[ '/chaos', '"amount": "0.06"', 'random:40:status:429' ],
		[ '/chaos', '"amount": "0.07"', 'random:40:big:1000000' ],
		[ '/chaos', '*', 'random:40:garbage' ] ]);
	hook('chaos', "retry_delay => '20 ms', retry_max_delay => '100 ms', max_attempts => 1000, request_timeout => '300 ms', failure_threshold => 20, breaker_timeout => '100 ms'");
	my $first = sql('SELECT max(position) + 1 FROM bank.events');
	sql(join(";\n", map { "SELECT bank_deposit(account(" . (1 + $_ % 20) . "), '0.0" . (1 + $_ % 8) . " HTG')" } 1 .. 200));
	sql(join(";\n", map { "SELECT bank_transfer(account(" . (1 + $_ % 20) . "), account(" . (1 + ($_ + 3) % 20) . "), '0.0" . (1 + $_ % 8) . " HTG')" } 1 .. 100));
	wait_for_delivery($node, 'ledger', 'chaos');
	my (%seen, %version, @wrong);
	foreach my $event (map { @{ $_->{events} } } grep { $_->{answer} =~ /^2|^big/ } requests('chaos'))
	{
		foreach my $side ([ $event->{subject}, $event->{data}{version} ], [ $event->{data}{peer_id}, $event->{data}{peer_version} ])
		{
			my ($account, $version) = @$side;

			next unless $account =~ /^00000000-0000-7000-8000/;
			push @wrong, "$account $version" if ($version{$account} // 0) >= $version;
			$version{$account} = $version;
		}
		push @wrong, "$event->{id} again" if $seen{ $event->{id} }++;
	}
	is("@wrong", '', 'chaos: per account in order, none twice');
	is( join(' ', sort keys %seen),
		join(' ', sort split(/\n/, sql("SELECT event_id FROM bank.events WHERE position >= $first AND peer_id IS NOT NULL"))),
		'chaos: everything has arrived');
	is(shown('chaos', 'dead_letters, retrying'), '0|0', 'chaos: nothing was given up');
}
unlike(errors_logged($node), qr/XX000/, 'no internal errors');

$node->stop;
done_testing();
