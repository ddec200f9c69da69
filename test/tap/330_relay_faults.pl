# The worker, or the server, goes down while requests are under way: it comes back by itself, every event
# arrives, and again arrive those only that were under way.

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
use Time::HiRes qw(time);

# Requests under way at most (BANK_RELAY_IN_FLIGHT), and how they are shared out here.
my $in_flight = 256;
my $single = 200;
my $batches = $in_flight - $single;
my $batch_size = 20;

# Requests of a subscription that may have ended without that being on disk (BANK_RELAY_UNRECORDED).
my $unrecorded = 256;

my $accounts = 2000;
my $node = relay_node('faults', conf => <<'CONF');
wal_writer_delay = 10s
autovacuum = off
CONF
my $receiver = Receiver->start('faults');
my @names = ('single', 'batch');

create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, $accounts, '1000.00 HTG');

# A patient subscriber, that is: only the end of the worker ends a request that hangs.
sub subscribe_both
{
	my ($single_concurrency, $batch_concurrency) = @_;
	my $patience = "request_timeout => '5 minutes', failure_threshold => 1000000";

	subscribe($node, 'postgres', 'single', $receiver->url('/single'),
		"$patience, concurrency => $single_concurrency");
	subscribe($node, 'postgres', 'batch', $receiver->url('/batch'),
		"$patience, concurrency => $batch_concurrency, mode => 'batch', batch_size => $batch_size");
	return;
}

# Post so many transfers in one transaction: three of four from the bank's cash, which bring work for one account
# only, and one between accounts.
my $cash = $node->safe_psql('postgres', "SELECT account_id FROM bank_accounts WHERE house_account = 'cash'");

sub post_some
{
	my ($n) = @_;

	$node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM bank_post_transfers(
  ARRAY(SELECT CASE WHEN i % 4 = 0 THEN account(1 + i % $accounts) ELSE '$cash' END FROM generate_series(1, $n) AS i),
  ARRAY(SELECT account(1 + (i * 7 + 1) % $accounts) FROM generate_series(1, $n) AS i),
  ARRAY(SELECT '0.01 HTG'::bank_money FROM generate_series(1, $n)))
SQL
	return;
}

# The events of requests, or of the hanging ones among them, as a hash.
sub events_of
{
	my ($path, $wanted) = @_;
	my %events;

	foreach my $request (grep { $wanted->($_) } @{ deliveries($receiver, $path) })
	{
		$events{ $_->[0] } = 1 foreach @{ $request->{events} };
	}
	return \%events;
}

# Fill the worker with requests that hang, and events behind them: returns path => its hanging events.
sub fill_with_hanging_requests
{
	my ($name) = @_;
	my %before;
	my %hanging;

	$receiver->rules([ [ '/', '*', 'hang' ] ]);
	$receiver->reset_stats;
	$before{$_} = @{ deliveries($receiver, "/$_") } foreach @names;
	post_some(4000);
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == $in_flight }, 60, "$name: all requests under way");
	foreach my $path (map { "/$_" } @names)
	{
		my @requests = @{ deliveries($receiver, $path) };

		$hanging{$path} = events_of($path, sub { $_[0]->{answer} eq 'hang' });
		delete $hanging{$path}{$_} foreach keys %{ events_of($path, sub { $_[0]->{delivered} }) };
	}

	# what was answered before must have been recorded
	wait_until($node, 'postgres', "$name: records", <<"SQL");
SELECT bool_and(delivered = CASE name WHEN 'single' THEN ${\delivered_events($receiver, '/single')}
                                      ELSE ${\delivered_events($receiver, '/batch')} END)
FROM bank_subscriptions
SQL
	my $status = relay_status($node, 'postgres');
	is("$status->{state} $status->{requests_in_flight}",
		"running $in_flight", "$name: bank_relay_status says so too");
	cmp_ok(scalar(map { keys %$_ } values %hanging), '>=', 1000, "$name: with many events");
	return \%hanging;
}

# What happens to the worker, or the server; returns when it is to be seen.
my @strikes = (
	[
		'kill -9 of the worker' => sub {
			my ($worker) = @_;

			kill 9, $worker;
		}
	],
	[
		'immediate stop' => sub {
			$node->stop('immediate');
			$node->start;
		}
	],
	[
		'pg_terminate_backend' => sub {
			my ($worker) = @_;

			$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
		}
	],
	[
		'fast stop' => sub {
			my $start = time;

			$node->stop('fast');
			cmp_ok(time - $start, '<', 3, 'fast stop: takes less than 3 seconds, though endpoints hang');
			$node->start;
		}
	]);

subscribe_both($single, $batches);
wait_for_delivery($node, 'postgres', @names);
foreach (@strikes)
{
	my ($name, $strike) = @$_;
	my $hanging = fill_with_hanging_requests($name);
	my %before = map { $_ => scalar @{ deliveries($receiver, "/$_") } } @names;
	my $worker = wait_for_worker($node, 'postgres');
	my $start = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

	$receiver->rules([]);
	$strike->($worker);
	wait_for_worker($node, 'postgres', $worker);
	wait_for_delivery($node, 'postgres', @names);
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'),
		$start, "$name: nobody had to start the server")
	  if $name !~ /stop/;

	my $events = account_events($node, 'postgres');
	foreach my $path (map { "/$_" } @names)
	{
		my $requests = deliveries($receiver, $path);
		my %again;

		deliveries_ok($events, $requests, "$name, $path");
		foreach my $request (@$requests[ $before{ substr($path, 1) } .. $#$requests ])
		{
			$again{ $_->[0] } = $request->{id} foreach @{ $request->{events} };
		}
		is(scalar(grep { !$again{$_} } keys %{ $hanging->{$path} }),
			0, "$name, $path: all that hung was sent again");
		is(scalar(grep { $again{$_} ne $_ } keys %again), 0, "$name, $path: with the same message id")
		  if $path eq '/single';
	}
}

# The same while the receiver answers, a little late, so that requests are at every point of their life.
# Again may come, of each subscription, what was under way and what had ended without being on disk.
my $concurrency = 40;
my $most = $concurrency + $unrecorded - 1;
my %enough = (single => 2 * $most, batch => 2 * $concurrency);

# How many requests, of those from $first to $strike, had events that came again from $strike to $end?
sub repeated_requests
{
	my ($requests, $first, $strike, $end) = @_;
	my %again;

	foreach my $request (grep { $_->{delivered} } @$requests[ $strike .. $end - 1 ])
	{
		$again{ $_->[0] } = 1 foreach @{ $request->{events} };
	}
	return scalar grep {
		$_->{delivered} && grep { $again{ $_->[0] } } @{ $_->{events} }
	} @$requests[ $first .. $strike - 1 ];
}

$node->safe_psql('postgres', "SELECT bank_unsubscribe(name) FROM bank_subscriptions");
$receiver->rules([ [ '/single', '*', 'delay:30' ], [ '/batch', '*', 'delay:250' ] ]);
my %first = map { $_ => scalar @{ deliveries($receiver, "/$_") } } @names;
$node->safe_psql('postgres', 'SELECT bank_relay_stop()');
subscribe_both($concurrency, $concurrency);
$node->safe_psql('postgres', 'SELECT bank_relay_start()');
my %ends = map { $_ => [] } @names;
foreach (@strikes[ 0 .. 2 ])
{
	my ($name, $strike) = @$_;
	my %before = map { $_ => scalar @{ deliveries($receiver, "/$_") } } @names;
	my $worker = wait_for_worker($node, 'postgres');

	$receiver->wait_for(
		sub {
			return !grep { @{ deliveries($receiver, "/$_") } < $before{$_} + $enough{$_} } @names;
		},
		60,
		'requests under way');
	$strike->($worker);
	push @{ $ends{$_} }, scalar @{ deliveries($receiver, "/$_") } foreach @names;
	wait_for_worker($node, 'postgres', $worker);
}
wait_for_delivery($node, 'postgres', @names);
foreach my $subscription (@names)
{
	my $requests = deliveries($receiver, "/$subscription");
	my @ends = (@{ $ends{$subscription} }, scalar @$requests);
	my %again = map { $_->[0] => 1 } map { @{ $_->{events} } } @$requests[ $first{$subscription} .. $ends[-2] - 1 ];
	my %result = deliveries_ok(
		account_events($node, 'postgres'),
		$requests,
		"in full flight, $subscription",
		after => $first{$subscription},
		again => \%again);
	cmp_ok($result{repeated}, '>', 0, "in full flight, $subscription: some were under way");
	foreach my $i (0 .. $#ends - 1)
	{
		my $repeated = repeated_requests($requests, $first{$subscription}, @ends[ $i, $i + 1 ]);

		cmp_ok($repeated, '<=', $most, "$strikes[$i][0] in full flight, $subscription: as many requests again as may be");
		note "$repeated requests again";
	}
}

# As many and no more are sent while the worker cannot record.
$receiver->rules([]);
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; SELECT FROM bank.subscription_progress FOR NO KEY UPDATE');
my $sent = @{ deliveries($receiver, '/single') };
post_some(4000);
$receiver->wait_for(sub { @{ deliveries($receiver, '/single') } >= $sent + $unrecorded }, 60, 'as many as may be sent');
wait_until($node, 'postgres', 'all of them to end', 'SELECT requests_in_flight = 0 FROM bank_relay_status()');
cmp_ok(@{ deliveries($receiver, '/single') } - $sent, '<=', $most, 'what cannot be recorded is not sent without end');
$session->query_safe('ROLLBACK');
$session->quit;
wait_for_delivery($node, 'postgres', @names);

# A booking that does not wait for the disk: what the receiver has seen is there after a crash. The
# receiver does not answer, so that nothing of what the worker writes then can help.
foreach my $round (1 .. 5)
{
	my $arrived = '';

	wait_for_worker($node, 'postgres');
	$receiver->rules([ [ '/', '*', 'hang' ] ]);
	my $id = $node->safe_psql('postgres',
		"SET synchronous_commit = off; SELECT event_id FROM bank_deposit(account($round), '1 HTG')");
	$receiver->wait_for(
		sub {
			($arrived) = map { $_->[0] } map { @{ $_->{events} } }
			  grep { $_->{answer} eq 'hang' } (@{ deliveries($receiver, '/single') })[-1];
			return ($arrived // '') eq $id;
		},
		30,
		'the event');
	$node->stop('immediate');
	$receiver->rules([]);
	$node->start;
	is($node->safe_psql('postgres', "SELECT count(*) FROM bank.events WHERE event_id = '$id'"),
		1, "synchronous_commit = off, $round: what has arrived is there after a crash");
}
wait_for_delivery($node, 'postgres', @names);
ledger_ok($node, 'postgres', 'faults');
is(errors_logged($node, 0) =~ /XX\d\d\d|21000/ ? errors_logged($node, 0) : '', '', 'no internal error was logged');

$node->stop;
done_testing();
