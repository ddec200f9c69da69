# Deliveries.pm
#
# What the TAP tests of the relay share beside Ledger.pm and Receiver.pm: a cluster with the relay in it,
# what the worker says about itself, and the proof of delivery: the log of a receiver against the events
# that bank.events has.
#
# A receiver's log has each request when it has arrived, with what it will be answered. Requests that were
# answered 2xx, in the order of the log, are what a subscriber has got. That of two events of an account the
# earlier one was answered before the later one was sent is for the relay to see to, so this order is that of
# the answers too as far as one account goes.

package Deliveries;

use strict;
use warnings;

use Exporter 'import';
use Ledger;
use List::Util qw(max min);
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(
  account_events delivered_events deliveries deliveries_ok health megabytes post_transfers relay_node
  relay_status subscribe subscription wait_for_delivery wait_for_worker wait_until watch_until_delivered
  worker_memory
);

# Start a cluster that delivers. Options as ledger_node.
sub relay_node
{
	my ($name, %options) = @_;

	$options{conf} = <<'CONF' . ($options{conf} // '');
shared_preload_libraries = 'banking'
banking.allow_private_endpoints = on
restart_after_crash = on
CONF
	return ledger_node($name, %options);
}

# Wait until a query says true; dies when it has not after some time. Says what it waits for.
sub wait_until
{
	my ($node, $database, $what, $query) = @_;

	$node->poll_query_until($database, $query) or die "timed out waiting for $what";
	return;
}

# One row of a query as a hash; values must not hold a bar or a newline.
sub row
{
	my ($node, $database, $columns, $query) = @_;
	my %row;

	@row{ split(/, /, $columns) } = split(/\|/, $node->safe_psql($database, "SELECT $columns $query"), -1);
	return \%row;
}

# bank_relay_status() as a hash.
sub relay_status
{
	my ($node, $database) = @_;
	return row($node, $database,
		'state, pid, error, requests_in_flight, events_in_memory, payload_bytes, delivered',
		'FROM bank_relay_status()');
}

# A subscription as bank_subscriptions shows it, a hash.
sub subscription
{
	my ($node, $database, $name) = @_;
	return row(
		$node,
		$database,
		'state, breaker_state, breaker_failures, breaker_forced, lag_events, lag_seconds, retrying, '
		  . 'dead_letters, delivered, failed, last_error',
		"FROM bank_subscriptions WHERE name = '$name'");
}

# bank_health() as a hash of name => "t detail" or "f detail".
sub health
{
	my ($node, $database) = @_;
	return {
		map { $_->[0] => "$_->[1] $_->[2]" }
		  query_rows($node, $database, 'SELECT name, ok, detail FROM bank_health()')
	};
}

# Subscribe a URL. More: further arguments of bank_subscribe.
sub subscribe
{
	my ($node, $database, $name, $url, $more) = @_;

	$node->safe_psql($database,
		"SELECT FROM bank_subscribe('$name', '$url', start => 'beginning'" . ($more ? ", $more)" : ')'));
	return;
}

# Wait until the database has a running worker, another one than this; returns its process id.
sub wait_for_worker
{
	my ($node, $database, $other) = @_;

	wait_until($node, $database, 'a worker',
		"SELECT state = 'running' AND pid <> " . ($other // 0) . ' FROM bank_relay_status()');
	return relay_status($node, $database)->{pid};
}

# Memory of a process that is its own alone, in bytes.
sub worker_memory
{
	my ($pid) = @_;

	open(my $file, '<', "/proc/$pid/status") or return undef;
	my ($kilobytes) = map { /^RssAnon:\s+(\d+) kB/ ? $1 : () } <$file>;
	close($file);
	return defined $kilobytes ? 1024 * $kilobytes : undef;
}

# Wait until the worker has nothing left to do for these subscriptions: all there is is delivered and
# recorded, or a dead letter. Dies when nothing happens for a long time.
sub wait_for_delivery
{
	my ($node, $database, @names) = @_;
	my $names = join(', ', map { "'$_'" } @names);
	my $query =
	    'SELECT count(*) FILTER (WHERE lag_events = 0), '
	  . "string_agg(concat_ws(' ', name, lag_events, delivered, failed, breaker_state, last_error), ', ') "
	  . "FROM bank_subscriptions WHERE name IN ($names)";
	my $before = '';
	my $since = time;

	while (1)
	{
		my ($status, $now) = $node->psql($database, $query);

		$now = $status == 0 ? $now : $before;
		return if $now =~ /^${\scalar @names}\|/;
		die "no progress: $now" if $now eq $before && time - $since > 100;
		$since = time if $now ne $before;
		$before = $now;
		sleep(0.1);
	}
}

# Post so many transfers, 8 000 in a transaction; the accounts are SQL that may use i, 1, 2, ...
sub post_transfers
{
	my ($node, $database, $n, $from, $to) = @_;

	for (; $n > 0; $n -= 8000)
	{
		my $some = min($n, 8000);

		$node->safe_psql($database, <<"SQL");
SELECT count(*) FROM bank_post_transfers(
  ARRAY(SELECT $from FROM generate_series(1, $some) AS i),
  ARRAY(SELECT $to FROM generate_series(1, $some) AS i),
  ARRAY(SELECT '0.01 HTG'::bank_money FROM generate_series(1, $some)))
SQL
	}
	return;
}

# Look at the worker until a condition is true, which is given the status; without one, until
# a subscription has nothing left. Returns the most that was seen: memory, events, bytes (of payloads).
sub watch_until_delivered
{
	my ($node, $database, $name, $condition) = @_;
	my %most = (memory => 0, events => 0, bytes => 0);
	my $since = time;
	my $before = '';

	while (1)
	{
		my $status = relay_status($node, $database);
		my $now = "$status->{delivered} $status->{events_in_memory}";

		$most{memory} = max($most{memory}, worker_memory($status->{pid}) // 0);
		$most{events} = max($most{events}, $status->{events_in_memory});
		$most{bytes} = max($most{bytes}, $status->{payload_bytes});
		if ($condition)
		{
			return %most if $condition->($status);
		}
		elsif ($now eq $before)
		{
			return %most if subscription($node, $database, $name)->{lag_events} == 0;
		}
		$since = time if $before ne $now;
		$before = $now;
		die "no progress of $name: $before" if time - $since > 100;
		sleep(0.05);
	}
}

sub megabytes
{
	my ($bytes) = @_;
	return sprintf('%.1f MB', $bytes / 1024 / 1024);
}

# The requests that a receiver has got at a path so far, in order of receipt: an array of hashes with
# time (microseconds), id (of the message), answer, delivered (was it answered 2xx?), events: [[event id,
# position], ...]. Reads what is new in the log only. The JSON is not parsed: a log can be long.
my %logs;

sub deliveries
{
	my ($receiver, $path) = @_;
	my $log = $logs{ $receiver->{log} } //= { offset => 0, requests => {} };

	open(my $file, '<:raw', $receiver->{log}) or die "could not open $receiver->{log}: $!";
	seek($file, $log->{offset}, 0);
	while (my $line = <$file>)
	{
		last unless $line =~ /\n\z/;
		$log->{offset} += length $line;
		my ($time, undef, $at, $id, undef, undef, undef, $answer, undef, $body) = split(/\t/, $line, 10);
		my @events;

		push @events, [ $1, $2 ] while $body =~ /"id" : "([-0-9a-f]+)".*?"position": (\d+)/g;
		push @{ $log->{requests}{$at} },
		  {
			time => $time,
			id => $id,
			answer => $answer,
			delivered => scalar $answer =~ /^2\d\d$/,
			events => \@events
		  };
	}
	close($file);
	return $log->{requests}{$path} // [];
}

# The number of events that were delivered at a path so far, each counted once.
sub delivered_events
{
	my ($receiver, $path) = @_;
	my %seen;

	foreach my $request (grep { $_->{delivered} } @{ deliveries($receiver, $path) })
	{
		$seen{ $_->[0] } = 1 foreach @{ $request->{events} };
	}
	return scalar keys %seen;
}

# All committed events of a database: a hash of event id => [position, [account, version], ...], with the
# customers' accounts that it touches.
sub account_events
{
	my ($node, $database) = @_;
	my %events;

	foreach my $row (query_rows($node, $database, <<'SQL'))
SELECT e.event_id, e.position, CASE WHEN a.house_code IS NULL THEN e.aggregate_id END, e.version,
       CASE WHEN p.house_code IS NULL THEN e.peer_id END, e.peer_version
FROM bank.events AS e
JOIN bank.accounts AS a ON a.account_id = e.aggregate_id
LEFT JOIN bank.accounts AS p ON p.account_id = e.peer_id
SQL
	{
		my ($id, $position, $aggregate, $version, $peer, $peer_version) = @$row;

		$events{$id} = [
			$position,
			$aggregate ne '' ? [ $aggregate, $version ] : (),
			$peer ne '' ? [ $peer, $peer_version ] : ()
		];
	}
	return \%events;
}

# The first few of a list, for a message.
sub some
{
	my (@list) = @_;
	return @list <= 3 ? join(', ', @list) : join(', ', @list[ 0 .. 2 ]) . ', ... (' . scalar @list . ')';
}

# A test: the requests of a subscriber are what these committed events ask for. All of them are delivered
# and nothing else; per account in the order of versions, without gap; and none again after it had been
# delivered, but for those that may be: again => { event id => 1 }. Other options: given_up => { event id
# => 1 }, events that must not be delivered; after => number of requests to leave out at the beginning
# (those of a ledger's former life), before => { event id => 1 }, what had been delivered until then,
# unordered => { event id => 1 }, events that were given up once and may come at any time.
# Returns a hash: delivered (requests), failed (requests), repeated (events).
sub deliveries_ok
{
	my ($events, $requests, $name, %options) = @_;
	my $given_up = $options{given_up} // {};
	my $again = $options{again} // {};
	my $unordered = $options{unordered} // {};
	my %delivered = %{ $options{before} // {} };
	my %version;
	my (@wrong, %result);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	%result = (delivered => 0, failed => 0, repeated => 0);
	foreach my $id (keys %delivered)
	{
		my (undef, @places) = @{ $events->{$id} // [] };

		foreach my $place (@places)
		{
			$version{ $place->[0] } = $place->[1] if ($version{ $place->[0] } // 0) < $place->[1];
		}
	}
	my $number = 0;
	foreach my $request (@$requests)
	{
		next if $number++ < ($options{after} // 0);
		$result{ $request->{delivered} ? 'delivered' : 'failed' }++;
		push @wrong, "request $number has no event" unless @{ $request->{events} };
		foreach my $event (@{ $request->{events} })
		{
			my ($id, $position) = @$event;
			my ($true_position, @places) = @{ $events->{$id} // [] };

			if (!defined $true_position)
			{
				push @wrong, "$id did not commit";
				next;
			}
			push @wrong, "$id has position $true_position, not $position" if $true_position != $position;
			next unless $request->{delivered};
			if ($delivered{$id}++)
			{
				$result{repeated}++;
				push @wrong, "$id again" unless $again->{$id};
				next;
			}
			push @wrong, "$id was given up" if $given_up->{$id};
			next if $unordered->{$id};
			foreach my $place (@places)
			{
				my ($account, $version) = @$place;
				my $expected = ($version{$account} // 0) + 1;

				push @wrong, "version $version of $account, not $expected"
				  if %$given_up || %$unordered ? $version < $expected : $version != $expected;
				$version{$account} = $version;
			}
		}
	}
	my @missing = grep { !$delivered{$_} && !$given_up->{$_} } keys %$events;
	push @wrong, 'missing: ' . some(sort @missing) if @missing;
	is(some(@wrong), '', "$name: every event that committed, in order, once");
	note sprintf('%s: %d events; %d requests delivered, %d failed, %d events again',
		$name, scalar keys %delivered, @result{qw(delivered failed repeated)});
	return %result;
}

1;
