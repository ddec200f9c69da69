# Two ledgers in two clusters, each other's participants, under everything that can go wrong between them: random
# transfers and cancels both ways; requests that are delayed, repeated, also long after their answer, reset before
# and after they were processed, answered by errors and nonsense; workers and servers killed; a long outage of
# either side. In the end the money of both is what it was, every transfer is final or in doubt, both sides
# agree about it, and none has moved twice.
#
# BANKING_TEST_SECONDS says how long it goes on. BANKING_TEST_SEED repeats the choices of a run.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use IPC::Run ();
use Ledger;
use Participant;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX ();
use Time::HiRes qw(sleep time);
use Transfers;

my $seconds = $ENV{BANKING_TEST_SECONDS} || 20;
my $seed = $ENV{BANKING_TEST_SEED} // int(rand 1e9);
my $accounts = 12;
my @sides = ('east', 'west');
my (%node, %front, @loads);

note "seed $seed, $seconds seconds";
srand($seed);

foreach my $side (@sides)
{
	$node{$side} = relay_node($side, conf => "synchronous_commit = on\nfsync = off\n");
	create_ledger($node{$side}, 'ledger');
	add_functions($node{$side}, 'ledger');
	open_accounts($node{$side}, 'ledger', 1, $accounts, '1000.00 HTG');
	# one of another currency: refused there
	open_accounts($node{$side}, 'ledger', $accounts + 1, $accounts + 1, '1000.00 USD', currency => 'USD');
	wait_for_worker($node{$side}, 'ledger');
	$front{$side} = Participant->start(
		$side,
		database => $node{$side}->connstr('ledger'),
		processes => 6,
		chaos => 1);
}

sub other { return $_[0] eq 'east' ? 'west' : 'east' }

# The same secret on both sides
my %options = (
	request_timeout => '1 second',
	connect_timeout => '500 ms',
	retry_delay => '50 ms',
	retry_max_delay => '500 ms',
	failure_threshold => 5,
	breaker_timeout => '300 ms',
	concurrency => 6,
	deadline => '1 hour');
my $secret = add_participant($node{east}, 'ledger', 'west', $front{west}->url, %options);
add_participant($node{west}, 'ledger', 'east', $front{east}->url, %options, secret => $secret);

# A query whose failure does not matter, as the server may be down.
sub try_query
{
	my ($side, $query) = @_;
	my ($stdout, $stderr) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-d', $node{$side}->connstr('ledger'), '-c', $query ],
		'>', \$stdout, '2>', \$stderr) or return;
	chomp $stdout;
	return $stdout;
}

# Customers and their bank, a process per side: commands one after the other, whatever comes of them.
sub load
{
	my ($side, $until) = @_;
	my $peer = other($side);

	srand($seed + length($side) * ord($side));
	while (time < $until)
	{
		my @commands;

		foreach (1 .. 6)
		{
			my ($a, $b) = map { 1 + int rand $accounts } 1 .. 2;
			my $amount = sprintf('%.2f HTG', 0.01 + rand 60);
			my $chance = rand 100;
			my $destination =
			    $chance < 4 ? "'nobody'"
			  : $chance < 7 ? 'account(' . ($accounts + 1) . ')::text'
			  :               "account($b)::text";

			push @commands,
				$chance < 60
			  ? "SELECT bank_send(account($a), '$amount', '$peer', $destination"
			  . ($chance > 55 ? ", deadline_in => '" . (300 + int rand 2500) . " ms'" : '') . ')'
			  : $chance < 78
			  ? "SELECT bank_cancel_transfer(t.transfer_id) FROM (SELECT transfer_id FROM bank_transfers
				  WHERE direction = 'out' AND state IN ('reserved', 'submitted', 'completed', 'in_doubt')
				  ORDER BY created_at DESC LIMIT 20) AS t ORDER BY random() LIMIT 1"
			  : $chance < 82 ? "SELECT bank_freeze(account($a))"
			  : $chance < 88 ? "SELECT bank_unfreeze(account_id) FROM bank_accounts WHERE status = 'FROZEN' LIMIT 1"
			  : $chance < 90
			  ? "BEGIN; SELECT bank_transfer(account($a), account($b), '$amount'); SELECT pg_sleep(0.3); COMMIT"
			  : "SELECT bank_transfer(account($a), account($b), '" . sprintf('%.2f', rand 900) . " HTG')";
		}
		my $output;
		# the server may go away at any moment
		eval { IPC::Run::run([ 'psql', '-XAtq', '-d', $node{$side}->connstr('ledger') ],
			'<', \join('', map { "$_;\n" } @commands), '>', \$output, '2>', '/dev/null') };
		sleep(0.02 + rand 0.1);
	}
	return 1;
}

foreach my $side (@sides)
{
	my $pid = fork;

	die "could not fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		$SIG{PIPE} = 'IGNORE';
		Participant::close_ports();
		eval { load($side, time + $seconds) } or print STDERR "$side: $@";
		POSIX::_exit(0);
	}
	push @loads, $pid;
}

# Start a server again, which may have to wait for the end of processes of the one before.
sub start_again
{
	my ($side) = @_;

	for my $try (1 .. 100)
	{
		# one that was killed may have left its file behind
		$node{$side}->{_pid} = undef;
		return if $node{$side}->start(fail_ok => 1);
		sleep 0.1;
	}
	die "$side does not start";
}

# What goes wrong, one after the other.
my %count;
my $end = time + $seconds;
my %outage = (east => time + $seconds * 0.25, west => time + $seconds * 0.6);

while (time < $end)
{
	my $side = $sides[ rand 2 ];
	my $what = rand 100;

	foreach my $silent (grep { exists $outage{$_} && $outage{$_} < time } @sides)
	{
		delete $outage{$silent};
		$count{'long outage'}++;
		$front{$silent}->pause;
		$node{$silent}->stop('immediate');
		sleep $seconds / 8;
		start_again($silent);
		$front{$silent}->resume;
	}
	if ($what < 45)
	{
		my $pid = try_query($side, 'SELECT pid FROM bank_relay_status()');

		$count{'worker killed'} += kill('KILL', $pid) if $pid;
	}
	elsif ($what < 60)
	{
		$count{'server killed'}++;
		$node{$side}->kill9;
		sleep rand 0.5;
		start_again($side);
	}
	elsif ($what < 70)
	{
		$count{'server restarted'}++;
		$node{$side}->restart;
	}
	elsif ($what < 80)
	{
		$count{'short outage'}++;
		$front{$side}->pause;
		sleep rand 2;
		$front{$side}->resume;
	}
	elsif ($what < 90)
	{
		$count{'relay stopped'}++;
		try_query($side, 'SELECT bank_relay_stop()');
		sleep rand 0.5;
		try_query($side, 'SELECT bank_relay_start()') // redo;
	}
	sleep(0.5 + rand 2);
}
waitpid($_, 0) foreach @loads;

# From now on all is well
foreach my $side (@sides)
{
	$front{$side}->rules([ '.', undef, 'process', 'answer' ]);
	$node{$side}->safe_psql('ledger', 'SELECT bank_relay_start()');
	$node{$side}->safe_psql('ledger', "SELECT bank_force_participant_breaker('" . other($side) . "', 'closed')");
}
foreach my $side (@sides)
{
	wait_until($node{$side}, 'ledger', "the transfers of $side",
		"SELECT count(*) = 0 FROM bank_transfers WHERE state IN ('initiated', 'reserved', 'submitted', 'cancelling', 'returning')");
}
for (my $left = 200; $left > 0 && grep({ $front{$_}->late } @sides); $left--) { sleep 0.1 }
is(join(' ', map { $front{$_}->late } @sides), '0 0', 'whatever was late has arrived');

# All transfers of a ledger in one direction: transfer => [state, amount in minor units, money has left or come]
sub transfers
{
	my ($side, $direction) = @_;
	my %transfers;

	foreach my $row (query_rows($node{$side}, 'ledger', <<"SQL"))
SELECT t.transfer_id, t.state, t.amount, t.captured FROM bank.transfers AS t
JOIN bank_transfers AS v ON v.transfer_id = t.transfer_id WHERE v.direction = '$direction'
SQL
	{
		my ($id, @rest) = @$row;

		$transfers{$id} = \@rest;
	}
	return \%transfers;
}

# The money of customers, and what was meant for them, in minor units.
sub money
{
	my ($side) = @_;

	return $node{$side}->safe_psql('ledger',
		"SELECT sum(credits - debits) FROM bank.accounts
		  WHERE currency = 'HTG' AND (house_code IS NULL OR house_code = 'suspense')");
}

my %agree = (
	completed => { received => 1, kept => 1 },
	rejected => { refused => 1, cancelled => 1, unknown => 1 },
	compensated => { cancelled => 1 },
	in_doubt => { received => 1, kept => 1, refused => 1, cancelled => 1, unknown => 1 });

# Compare both sides. Returns what is missing or too much for transfers in doubt, in minor units.
sub compare
{
	my ($name) = @_;
	my (%states, @wrong);
	my $apart = 0;

	foreach my $side (@sides)
	{
		my $sent = transfers($side, 'out');
		my $came = transfers(other($side), 'in');
		my $external = 0;

		foreach my $id (keys %$sent)
		{
			my ($state, $amount, $captured) = @{ $sent->{$id} };
			my ($there) = @{ $came->{$id} // ['unknown'] };

			$states{"$state/$there"}++;
			push @wrong, "$id $state here, $there there" unless $agree{$state}{$there};
			push @wrong, "$id of another amount" if $there =~ /received|kept/ && $came->{$id}[1] != $amount;
			$external += $amount if $captured eq 't';
			$apart += ($there =~ /received|kept/ ? $amount : 0) - ($captured eq 't' ? $amount : 0);
		}
		push @wrong, map { "$_ came from nowhere" } grep { !$sent->{$_} } keys %$came;
		my $arrived = transfers($side, 'in');
		$external -= $_->[0] =~ /received|kept/ ? $_->[1] : 0 foreach values %$arrived;
		is($node{$side}->safe_psql('ledger', "SELECT COALESCE(sum(credits - debits), 0) FROM bank.accounts WHERE house_code = 'external'"),
			$external, "$name: $side: what has left and come is what transfers say");
	}
	is(some(@wrong), '', "$name: both sides agree about every transfer");
	note "$name: " . join(', ', map { "$_ $states{$_}" } sort keys %states);
	return ($apart, \%states);
}

sub some { return @_ <= 5 ? join(', ', @_) : join(', ', @_[ 0 .. 4 ]) . ', ... (' . scalar @_ . ')' }

note join(', ', map { "$_: $count{$_}" } sort keys %count);
my $initial = 2 * $accounts * 100_000;
my ($apart, $states) = compare('in the end');
is(money('east') + money('west') - $apart, $initial, 'the money is what it was, but for what is in doubt');
cmp_ok($states->{$_} // 0, '>', 0, "there are transfers that are $_")
  foreach 'completed/received', 'rejected/refused', 'compensated/cancelled';

# No event of a stream says twice that money has moved, and no account has been moved for it twice
foreach my $side (@sides)
{
	is($node{$side}->safe_psql('ledger', <<'SQL'), '', "$side: no money has moved twice");
SELECT string_agg(t.transfer_id::text, ', ') FROM (
  SELECT e.aggregate_id AS transfer_id FROM bank.events AS e
  WHERE e.event_type IN ('transfer.received', 'transfer.refused', 'transfer.rejected', 'transfer.compensated')
    AND EXISTS (SELECT FROM bank.transfers AS t WHERE t.transfer_id = e.aggregate_id)
  GROUP BY e.aggregate_id, e.event_type HAVING count(*) > 1
  UNION
  SELECT (e.metadata ->> 'correlation_id')::uuid FROM bank.events AS e
  WHERE e.event_type IN ('money.deposited', 'money.withdrawn', 'hold.captured', 'hold.released') AND e.metadata ? 'correlation_id'
  GROUP BY e.metadata ->> 'correlation_id', e.event_type HAVING count(*) > 1) AS t
SQL
	is($node{$side}->safe_psql('ledger', "SELECT string_agg(invariant || ' ' || failures, ', ') FROM bank_verify() WHERE NOT ok"),
		'', "$side: bank_verify");
	is($node{$side}->safe_psql('ledger', "SELECT count(*) FROM bank_trial_balance WHERE debits <> credits"), 0,
		"$side: the trial balance is even");
	my $crashes = errors($side);
	is($crashes, '', "$side: the worker has met no error of its own");
}

# Errors that workers have logged.
sub errors
{
	my ($side) = @_;
	my $log = slurp_file($node{$side}->logfile);
	my %seen;

	$seen{$1}++ while $log =~ /^\S+ \S+ \S+ \[\d+\] (?:[0-9A-Z]{5} )?\S*?((?:PANIC|TRAP|LOG: +banking relay: transfer).*)$/mg;
	return some(sort keys %seen);
}

# An operator asks the other side about what is in doubt, and resolves it
foreach my $side (@sides)
{
	my $sent = transfers($side, 'out');
	my $came = transfers(other($side), 'in');

	foreach my $id (grep { $sent->{$_}[0] eq 'in_doubt' } keys %$sent)
	{
		my ($there) = @{ $came->{$id} // ['unknown'] };
		my $captured = $sent->{$id}[2] eq 't';
		my $resolution =
		    $there =~ /received|kept/ ? 'completed'
		  : $captured            ? 'compensated'
		  : $there eq 'unknown'  ? 'submitted'
		  :                        'rejected';

		$node{$side}->safe_psql('ledger', "SELECT bank_unfreeze(account_id) FROM bank_accounts WHERE status = 'FROZEN'");
		$node{$side}->safe_psql('ledger', "SELECT bank_resolve_transfer('$id', '$resolution')");
	}
}
foreach my $side (@sides)
{
	wait_until($node{$side}, 'ledger', "what $side has sent again",
		"SELECT count(*) = 0 FROM bank_transfers WHERE direction = 'out' AND state NOT IN ('completed', 'rejected', 'compensated')");
}
($apart) = compare('resolved');
is($apart, 0, 'nothing is in doubt any more');
is(money('east') + money('west'), $initial, 'the money of both is what it was');

$front{$_}->stop, $node{$_}->stop foreach @sides;
done_testing();
