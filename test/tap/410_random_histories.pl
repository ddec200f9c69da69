# Random commands of 20 clients at once, with crashes of the server in between, against a model
# that predicts every outcome: see History.pm for what is checked, Model.pm for the rules,
# Workload.pm for the commands. A mismatch prints the shortest history that still shows it.
#
#   BANKING_TEST_SECONDS   how long the clients are at work, in all (default 8)
#   BANKING_TEST_SEED      which commands (default: another one each time; it is printed)
#   BANKING_TEST_MUTATION  a part of the rules that the model is to get wrong, see %mutations
#
# Clients work in epochs, each on a database of its own, of four rounds; a crash ends the first
# three. The seed makes the commands; when each is done is the server's business, so that the same
# seed does not give the same history again.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Commands qw(items outcomes sql);
use History;
use IO::Select;
use Ledger;
use Model;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Shrink;
use Test::More;
use Time::HiRes qw(sleep);
use Workload;

my $clients = 20;
my $seconds = $ENV{BANKING_TEST_SECONDS} // 8;
my $seed    = $ENV{BANKING_TEST_SEED}    // time() % 1_000_000;
my $node    = ledger_node('random_histories',
	conf => "deadlock_timeout = 50ms\nrestart_after_crash = on\nsynchronous_commit = on\n"
	  . "autovacuum_naptime = 1s\nlog_min_messages = fatal\n");

# Parts of the rules as they are not: each must be found out.
my %mutations = (
	'what is held can be spent' => { available => sub { $_[0]->{balance} + $_[0]->{overdraft} } },
	'a capture frees what it moves'   => { freed       => sub { $_[1] } },
	'holds are never over'            => { over        => sub { 0 } },
	'frozen accounts take money'      => { takes_money => sub { $_[0]->{status} ne 'CLOSED' } },
	'a key stands for any request'    => { differs     => sub { 0 } },
	'any version is the expected one' => { expected    => sub { 1 } },
	'orders of a chain do not fail together' => { together => sub { 0 } });
my $parts = defined $ENV{BANKING_TEST_MUTATION} ? $mutations{ $ENV{BANKING_TEST_MUTATION} } : {};
die "no such mutation: $ENV{BANKING_TEST_MUTATION}" unless $parts;

sub now
{
	return int(Time::HiRes::time() * 1_000_000);
}

# ---------------------------------------------------------------------------------------------
# Clients

# Some see the ledger as it was when they began, some write through the executor.
sub settings
{
	my ($client) = @_;
	return {
		default_transaction_isolation => (
			  $client % 10 == 8 ? 'repeatable read'
			: $client % 10 == 9 ? 'serializable'
			:                     'read committed'),
		'banking.writer' => $client % 4 == 3 ? 'executor' : 'auto' };
}

# Is a command that failed so to be run again? Serialization failures are for who asked for them,
# and a circle can arise where one transaction waits for several names, accounts or keys.
sub to_repeat
{
	my ($client, $command, $error) = @_;

	return 1 if $error->{C} eq '40001' && $client % 10 >= 8;
	return $error->{C} eq '40P01'
	  && $command->{name} =~ /^(?:create_|execute_batch|post_transfers)/;
}

# Is one effect sure when this is asked for once more?
sub has_keys
{
	my ($command) = @_;

	return 0 if $command->{name} eq 'expire_holds';
	return !grep { !defined $_->{key} } items($command);
}

# The server is there again?
sub wait_for_server
{
	my ($database) = @_;

	foreach my $try (1 .. 600)
	{
		my $session = Session->new($node, $database);
		return $session if $session;
		sleep 0.05;
	}
	die 'the server does not come back';
}

# The first line of postmaster.pid.
sub postmaster
{
	return slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr;
}

# Wait until none of these processes is there.
sub wait_for_end
{
	my (@pids) = @_;

	foreach my $try (1 .. 600)
	{
		return unless kill 0, @pids;
		sleep 0.05;
	}
	die 'processes do not end';
}

# Start after the postmaster has gone: not before all its children have, too.
sub start_again
{
	my ($postmaster) = @_;

	wait_for_end($postmaster);
	foreach my $try (1 .. 100)
	{
		return if $node->start(fail_ok => 1);
		sleep 0.1;
	}
	die 'the server does not start';
}

# What ends a round: a signal, and to which of these processes: the postmaster, the clients'
# backends; and what brings the server back.
my @strikes = (
	{   name    => 'kill -9 of the postmaster and half of the backends',
		signal  => 'KILL',
		victims => sub {
			my ($postmaster, @backends) = @_;
			($postmaster, grep { $_ % 2 == 0 } @backends);
		},
		recover => sub { $node->kill9; start_again($_[0]) }
	},
	{   name    => 'kill -9 of a backend',
		signal  => 'KILL',
		victims => sub { $_[1] },

		# the postmaster ends all the others
		recover => sub { my ($postmaster, @backends) = @_; wait_for_end(@backends) }
	},
	{   name    => 'immediate stop',
		signal  => 'QUIT',
		victims => sub { $_[0] },
		recover => sub { $node->stop('immediate', fail_ok => 1); start_again($_[0]) }
	},
	{ name => 'no crash' });

# A process that sends a signal to the victims at a time, whatever we do then; a little later it
# kills all backends: with no postmaster, one may wait for ever for a lock that a killed one had.
sub start_striker
{
	my ($time, $strike, @pids) = @_;
	my ($signal, @victims) = ($strike->{signal}, $strike->{victims}->(@pids));
	my $pid = fork();

	die "could not fork: $!" unless defined $pid;
	return $pid if $pid > 0;
	my $left = ($time - now()) / 1_000_000;
	sleep $left if $left > 0;
	kill $signal, @victims;
	if (grep { $_ == $pids[0] } @victims)
	{
		sleep 0.5;
		kill 'KILL', @pids[ 1 .. $#pids ];
	}
	POSIX::_exit(0);
}

# Keep sessions busy until that time, and then until all have answered or are gone; first with the
# operations that were lost. %$world has the database, the workload, the sessions. Returns the
# operations that have ended; those whose answer was lost are left in $world->{lost}.
sub work
{
	my ($world, $deadline) = @_;
	my ($sessions, $workload, $lost) = @$world{qw(sessions workload lost)};
	my @pending = splice(@$lost);
	my (@ended, %running);

	while (1)
	{
		foreach my $client (0 .. $#$sessions)
		{
			next if $running{$client} || !$sessions->[$client];
			my $operation = shift(@pending) // (
				now() < $deadline
				? { command => $workload->next_command($client), attempts => 0 }
				: undef);
			last unless $operation;
			$operation->{attempts}++;
			$operation->{s_last} = now();
			$operation->{s} //= $operation->{s_last};
			$running{$client} = $operation;
			$sessions->[$client]->start(sql($operation->{command}));
		}
		if (!%running && !grep { $_ } @$sessions)
		{
			push @$lost, @pending;
			last;
		}
		last if !%running && !@pending && now() >= $deadline;
		my %client_of = map { (fileno($sessions->[$_]->{socket}) => $_) } keys %running;
		my $select    = IO::Select->new(map { $sessions->[$_]->{socket} } keys %running);

		foreach my $socket ($select->can_read(0.02))
		{
			my $client    = $client_of{ fileno($socket) };
			my $answer    = $sessions->[$client]->receive or next;
			my $operation = delete $running{$client};
			my $command   = $operation->{command};

			if ($answer->{lost})
			{
				push @$lost, $operation;
				$sessions->[$client] = undef;
			}
			elsif ($answer->{error} && to_repeat($client, $command, $answer->{error}))
			{
				push @pending, $operation;
			}
			else
			{
				$operation->{e}      = now();
				$operation->{answer} = $answer;
				push @ended, $operation;
				$workload->learn($command, outcomes($command, $answer))
				  unless $command->{name} eq 'expire_holds';
			}
		}
	}
	return @ended;
}

# Connect all clients that are not; the server is there.
sub connect_all
{
	my ($world) = @_;

	foreach my $client (0 .. $clients - 1)
	{
		$world->{sessions}->[$client] //=
		  Session->new($node, $world->{database}, settings => settings($client))
		  // die 'could not connect a client';
	}
	return;
}

# ---------------------------------------------------------------------------------------------
# Checks

# The first line that is in one of two lists only; '' when they are equal.
sub first_difference
{
	my ($got, $expected) = @_;

	foreach my $i (0 .. (@$got > @$expected ? $#$got : $#$expected))
	{
		my ($x, $y) = map { $_ // 'nothing' } $got->[$i], $expected->[$i];
		return "ledger: $x\nmodel:  $y" if $x ne $y;
	}
	return '';
}

sub lines
{
	my ($session, $sql) = @_;
	return map {
		join('|', map { $_ // '' } @$_)
	} $session->rows($sql);
}

# Tests: the ledger at rest is that of the model.
sub at_rest_ok
{
	my ($name, $session, $history, $workload) = @_;
	my $clock = "extract(epoch FROM statement_timestamp()) * 1000000";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", lines($session, 'SELECT invariant, detail FROM bank_verify() WHERE NOT ok')),
		'', "$name: bank_verify() finds nothing");
	is(join("\n", lines($session, 'SELECT repaired FROM bank_rebuild()')),
		0, "$name: bank_rebuild() repairs nothing");
	my ($now, @accounts) = at($session, <<"SQL");
SELECT concat_ws('|', account_id, account_number, account_type, currency, status, balance, held,
       available, version, overdraft_limit, COALESCE(balance_limit::text, '')), ($clock)::bigint
FROM bank_accounts WHERE house_account IS NULL ORDER BY account_id
SQL
	is(first_difference(\@accounts, [ $history->account_rows($now) ]),
		'', "$name: the accounts are those of the model: " . @accounts);
	($now, my @holds) = at($session, <<"SQL");
SELECT concat_ws('|', hold_id, account_id, amount, captured, status,
       ${\History::micro('expires_at')}, ${\History::micro('created_at')},
       COALESCE((${\History::micro('resolved_at')})::text, '')), ($clock)::bigint
FROM bank_holds ORDER BY hold_id
SQL
	is(first_difference(\@holds, [ $history->hold_rows($now) ]),
		'', "$name: the holds are those of the model: " . @holds);
	is( first_difference(
			[ lines($session, <<'SQL') ],
SELECT house_account || '/' || currency, balance, version FROM bank_accounts
WHERE house_account IS NOT NULL ORDER BY (house_account || '/' || currency) COLLATE "C"
SQL
			[ $history->house_rows ]),
		'',
		"$name: the house accounts are those of the model");
	is( join("\n",
			lines($session, 'SELECT currency FROM bank_trial_balance WHERE debits <> credits')),
		'',
		"$name: the trial balance is zero");
	is( first_difference(
			[   lines(
					$session,
					'SELECT idempotency_key FROM bank.idempotency_keys
					  ORDER BY idempotency_key COLLATE "C"'
				) ],
			[ sort keys %{ $history->{keys} } ]),
		'',
		"$name: the keys are those of the model");
	past_ok($name, $session, $history, $workload);
	return;
}

# The time of a statement, and its rows.
sub at
{
	my ($session, $sql) = @_;
	my @rows = $session->rows($sql);

	return (@rows ? $rows[0]->[1] : 0, map { $_->[0] } @rows);
}

# A test: bank_balance_at at random moments, and at those at which something happened.
sub past_ok
{
	my ($name, $session, $history, $workload) = @_;
	my (@asked, @expected);
	my @ids = sort keys %{ $history->{accounts} };

	foreach my $n (1 .. 300)
	{
		my $id      = $workload->pick(@ids) // last;
		my $account = $history->{accounts}->{$id};
		my $state   = $workload->pick(@{ $account->{states} });
		my $hold    = $workload->pick(@{ $account->{holds} // [] });
		my $at      = $workload->pick(
			$state->{rec},
			$state->{business} // $state->{rec},
			$hold ? (@$hold{qw(expires_at created_at)}) : ()) +
		  $workload->pick(-1, 0, 0, 1);
		my $as_recorded = $workload->pick(0, 1);

		$at = now() - $workload->draw(40 * 86_400) * 1_000_000 if $workload->chance(15);
		push @asked,
			"("
		  . @asked
		  . ", '$id'::uuid, '"
		  . Model::moment($at)
		  . "'::timestamptz, "
		  . ($as_recorded ? 'true' : 'false') . ')';
		push @expected, "$id|$at|$as_recorded|" . $history->balance_at($id, $at, $as_recorded);
	}
	return unless @asked;
	my $sql =
		"SELECT q.id, ${\History::micro('q.at')}, q.recorded::int, b.balance, b.held,"
	  . ' b.available, b.version FROM (VALUES '
	  . join(', ', @asked)
	  . ') AS q (n, id, at, recorded), bank_balance_at(q.id, q.at, q.recorded) AS b ORDER BY q.n';
	is(first_difference([ lines($session, $sql) ], \@expected),
		'', "$name: bank_balance_at() agrees at " . @asked . ' moments');
	return;
}

# The shortest history that shows one of the first mismatches, for models with these parts: a
# mismatch and the commands, no more of which are looked for when they are five; nothing when none
# is shown by one client alone.
sub shortest
{
	my ($with, $time, $history, $operations, @mismatches) = @_;
	my $session = Session->new($node, 'shrink') // die 'no session';

	my @best;

	@mismatches = grep { $_->{operation} } @mismatches;
	foreach my $mismatch (@mismatches[ 0 .. ($#mismatches > 9 ? 9 : $#mismatches) ])
	{
		my @candidates = Shrink::candidates($history, $operations, $mismatch);
		splice(@candidates, 0, @candidates - 4000) if @candidates > 4000;
		my @found = Shrink::shortest($session, $with, $time, @candidates);
		@best = @found if @found && (!@best || @found < @best);
		last if @best && @best <= 6;
	}
	return @best;
}

# Say what does not fit, and the shortest history that shows it.
sub report
{
	my ($history, $operations, @mismatches) = @_;

	diag "seed $seed: $_->{text}" foreach @mismatches[ 0 .. ($#mismatches > 9 ? 9 : $#mismatches) ];
	my ($shorter, @commands) = shortest($parts, 30, $history, $operations, @mismatches);
	if ($shorter)
	{
		diag "the shortest history, one command after the other:\n"
		  . Shrink::text(@commands)
		  . "-- $shorter->{text}";
		return;
	}

	# it takes several clients
	my ($operation) = grep { $_ } map { $_->{operation} } @mismatches;
	return unless $operation;
	my %accounts = map { ($_ => 1) } Shrink::accounts($operation->{command});
	my @around   = grep {
		my $other = $_;
		($other->{e} // $other->{s}) >= $operation->{s} - 50_000
		  && $other->{s} <= $history->moment_of($operation) + 50_000
		  && grep { $accounts{$_} }
		  Shrink::accounts($other->{command})
	} @$operations;
	diag 'no history of one client shows it; commands on these accounts around that time, '
	  . "with the microseconds at which they were sent and answered:\n"
	  . join(
		"\n",
		map {
				'-- '
			  . join(' to ', map { $_ // 'lost' } @$_{qw(s e)}) . "\n"
			  . sql($_->{command}) . ';'
		} @around);
	return;
}

# Count what has come up; answers are not needed any more, unless they are kept.
sub tally
{
	my ($seen, $operations, $kept) = @_;

	foreach my $operation (@$operations)
	{
		my $command = $operation->{command};

		foreach my $item (@{ $operation->{items} })
		{
			my $got = $kept ? $item->{got} : delete $item->{got};

			$seen->{ $item->{command}->{name} }++ if $item->{event};
			$seen->{ $got->{code} }++             if $got && !$got->{ok};
			$seen->{replayed}++                   if $got && $got->{replayed};
		}
		$seen->{ $command->{name} }++          if $command->{name} =~ /_/;
		$seen->{ $command->{fault}->{code} }++ if $command->{fault};
		delete $operation->{answer} unless $kept;
	}
	return;
}

# ---------------------------------------------------------------------------------------------
# The epochs

# Make a ledger with some house accounts in use; returns a session and its history, at its
# beginning.
sub begin
{
	my ($database) = @_;

	create_ledger($node, $database);
	my $session = Session->new($node, $database) // die 'no session';
	foreach my $currency (qw(HTG USD JPY))
	{
		$session->rows("SELECT bank_create_house_account('$_', '$currency')") foreach qw(cash fees);
	}
	return ($session, History->new($session, %$parts));
}

begin('shrink');

my (%seen, %first, $total, $lost_total, $explained);
my $epochs        = int(($seconds + 15) / 16);
my $round_seconds = $seconds / $epochs / @strikes;
my $failed        = 0;

foreach my $epoch (1 .. $epochs)
{
	my $database = "epoch$epoch";
	my ($session, $history) = begin($database);
	my %world = (
		database => $database,
		sessions => [],
		lost     => [],
		workload => Workload->new(
			seed    => $seed + $epoch - 1,
			clients => $clients,
			houses  => $history->{start}->{houses}));
	my ($position) = map { $_->[0] } $session->rows('SELECT max(position) FROM bank.events');
	my (@operations, @rounds);

	foreach my $strike (@strikes)
	{
		my $name = 'seed ' . ($seed + $epoch - 1) . ", $strike->{name}";
		my $end  = now() + int($round_seconds * 1_000_000);

		connect_all(\%world);
		my @pids = (postmaster(), map { $_->{pid} } @{ $world{sessions} });
		my $striker =
		  $strike->{signal}
		  ? start_striker($end, $strike, @pids)
		  : undef;

		# while the server is going down, clients go on
		my @round = work(\%world, $end + ($striker ? 2_000_000 : 0));

		# Commands with keys are asked for once more; what became of the others, the events tell.
		my @lost = splice(@{ $world{lost} });
		my @gone = grep { !has_keys($_->{command}) } @lost;
		if ($striker)
		{
			waitpid($striker, 0);
			$strike->{recover}->(@pids);
			$session         = wait_for_server($database);
			$world{sessions} = [];
			$world{lost}     = [ grep { has_keys($_->{command}) } @lost ];
			$lost_total += @lost;
			connect_all(\%world);
			push @round, work(\%world, 0);
		}
		my @events = History::events($session, $position);
		$position = $events[-1]->{position} if @events;
		my @all  = ([ @round, @gone ], \@events, now());
		my $kept = $epoch == 1 && @operations < 5_000;

		push @rounds, \@all if $kept;
		push @operations, @round, @gone;
		$history->add(@all);
		tally(\%seen, $all[0], $kept);
		cmp_ok(scalar(@round), '>', $clients, "$name: clients were at work: " . @round);
		my $mismatches = $history->{mismatches};
		is(scalar(@$mismatches), 0, "$name: every outcome is that of the model");
		at_rest_ok($name, $session, $history, $world{workload});

		if (@$mismatches)
		{
			report($history, \@operations, @$mismatches);
			$failed = 1;
			last;
		}
	}
	ledger_ok($node, $database, "epoch $epoch");
	$explained += $history->{explained};
	$total     += @operations;
	%first = (history => $history->again, rounds => \@rounds) if $epoch == 1;
	$session->disconnect;
	$_->disconnect foreach grep { $_ } @{ $world{sessions} };
	$node->safe_psql('postgres', "DROP DATABASE $database WITH (FORCE)") unless $failed;

	# they know each other: an operation its items, an item its operation
	delete @$_{qw(items unexplained)} foreach @operations;
	last if $failed;
}
note
  "seed $seed: $total commands, $lost_total answers lost, $explained refusals and replays checked";
note join(', ', map { "$_: $seen{$_}" } sort keys %seen);

# That says something only if everything has happened.
is( join(
		' ',
		grep { !$seen{$_} }
		  qw(create_account create_house_account deposit withdraw transfer freeze unfreeze close
		  set_limits hold capture release post_transfers execute_batch replayed
		  BK001 BK002 BK003 BK004 BK005 BK006 BK007 BK008
		  BK009 BK010 BK011 BK013 BK014 BK015 BK016 BK017 BK018 BK019 BK021 BK023 BK024 BK025)),
	'',
	'every command and every refusal has come up') if $total >= 15_000;
cmp_ok($lost_total, '>', 0, 'answers were lost in crashes');

# ---------------------------------------------------------------------------------------------
# Would it have been noticed? The first epoch once more, against models that are wrong: each is
# found out, and a few commands show it.

note 'too few commands to see whether models that are wrong are found out' if $total < 5_000;
foreach my $mutation ($failed || %$parts || $total < 5_000 ? () : sort keys %mutations)
{
	my $history = $first{history}->again(%{ $mutations{$mutation} });
	my @operations;

	foreach my $round (@{ $first{rounds} })
	{
		my ($operations, $events, $until) = @$round;

		delete @$_{qw(items unexplained)} foreach @$operations;
		push @operations, @$operations;
		$history->add($operations, $events, $until);
		last if @{ $history->{mismatches} };
	}
	my @mismatches = @{ $history->{mismatches} };
	ok(scalar(@mismatches), "wrong on purpose, $mutation: found") or next;
	my ($shorter, @commands) =
	  shortest($mutations{$mutation}, 10, $history, \@operations, @mismatches);
	ok($shorter && @commands <= 5,
		"wrong on purpose, $mutation: shown by " . @commands . ' commands')
	  or diag $mismatches[0]->{text};
	note Shrink::text(@commands) . "-- $shorter->{text}" if $shorter;
}

$node->stop;
done_testing();
