# Shrink.pm
#
# The shortest history that still shows a mismatch: the commands about the accounts in question, one
# after the other in one session, with commands left out as long as ledger and model still disagree.
# Every attempt has accounts, keys and codes of its own names, so that one database does for all.

package Shrink;

use strict;
use warnings;

use Commands qw(items outcomes sql);
use History;
use List::Util  qw(max);
use Time::HiRes ();

my $attempt = 0;

sub now
{
	return int(Time::HiRes::time() * 1_000_000);
}

# A command with the names of an attempt.
sub renamed
{
	my ($c, $holds) = @_;
	my %copy = %$c;

	$copy{items} = [ map { renamed($_, $holds) } @{ $c->{items} } ] if $c->{items};
	foreach my $member ('id', 'to')
	{
		$copy{$member} =~ s/^[0-9a-f]{8}(?=-0000-7000-)/sprintf('%08x', $attempt)/e
		  if defined $copy{$member};
	}
	$copy{key} = "$attempt $copy{key}"
	  if defined $copy{key} && $copy{key} ne '' && length($copy{key}) < 256;
	$copy{code} .= "_$attempt" if defined $copy{code} && $copy{code} =~ /^till_/;
	$copy{hold} = $holds->{ $c->{hold_of} } // 'ffffffff-0000-7000-9000-000000000000'
	  if defined $c->{hold_of} && defined $c->{hold};
	return \%copy;
}

# Run commands in this session. Returns the first mismatch and the commands up to it, or nothing.
sub attempt
{
	my ($session, $parts, @commands) = @_;
	my ($start) =
	  map { $_->[0] } $session->rows('SELECT COALESCE(max(position), 0) FROM bank.events');
	my $history = History->new($session, %$parts);
	my (@operations, %holds, %until);

	$attempt++;
	foreach my $c (@commands)
	{
		my $command = renamed($c, \%holds);
		if ($command->{name} eq 'wait')
		{
			# until the hold is over that was to be
			my $end = $until{ $command->{hold_of} } // next;
			$command->{seconds} = max(0, $end - now()) / 1_000_000 + 0.002;
		}
		my %operation = (command => $command, s => now(), attempts => 1, original => $c);
		$operation{s_last} = $operation{s};
		$operation{answer} = $session->run(sql($command));
		$operation{e}      = now();
		push @operations, \%operation;
		next if $command->{name} =~ /^(?:wait|expire_holds)$/;
		my @got   = outcomes($command, $operation{answer});
		my @items = items($command);

		foreach my $i (0 .. $#items)
		{
			next unless $got[$i] && $got[$i]->{ok} && $items[$i]->{name} eq 'hold';
			$holds{ $items[$i]->{tag} } = $got[$i]->{event_id};
			$until{ $items[$i]->{tag} } = $operation{e} + $items[$i]->{expires_in};
		}
	}
	my @events = History::events($session, $start);
	$history->add(\@operations, \@events, now());
	my $first = $history->{mismatches}->[0] or return;
	my $found = 0;
	my @until = grep {
		my $before = !$found;
		$found ||= $first->{operation} && $_ == $first->{operation};
		$before
	} @operations;

	return ($first, map { $_->{original} } @until);
}

# Accounts that a command is about, holds' accounts by what made them.
sub accounts
{
	my ($c) = @_;
	return grep { defined } map { @$_{qw(id to of)} } items($c);
}

# The operations that may have led to a mismatch, in order, with waits for holds that were to
# expire.
sub candidates
{
	my ($history, $operations, $mismatch) = @_;
	my $operation = $mismatch->{operation};
	my %accounts = map { ($_ => 1) } accounts($operation->{command});
	my %keys     = map { (defined $_->{key} ? ($_->{key} => 1) : ()) } items($operation->{command});
	my $end      = $history->moment_of($operation);
	my (@slice, @waits);

	foreach my $other (@$operations)
	{
		my $moment = $history->moment_of($other);

		next if $moment > $end && $other != $operation;
		next
		  unless $other == $operation
		  || $other->{command}->{name} eq 'expire_holds'
		  || (grep { $accounts{$_} } accounts($other->{command}))
		  || (grep { defined $_->{key} && $keys{ $_->{key} } } items($other->{command}));
		push @slice, [ $moment, $other->{command} ];
		foreach my $c (grep { $_->{name} eq 'hold' && ($_->{expires_in} // 0) < 2_000_000 }
			items($other->{command}))
		{
			push @waits, [ $moment + $c->{expires_in}, { name => 'wait', hold_of => $c->{tag} } ]
			  if $moment + $c->{expires_in} < $end;
		}
	}
	return map { $_->[1] } sort { $a->[0] <=> $b->[0] } @slice, @waits;
}

# Shorten a list of commands while they show a mismatch, for so many seconds at most. Returns the
# mismatch and the commands; nothing when they show none at all.
sub shortest
{
	my ($session, $parts, $seconds, @commands) = @_;
	my $end = Time::HiRes::time() + $seconds;
	my ($mismatch, @best) = attempt($session, $parts, @commands);

	return unless $mismatch;
	my $chunk = max(1, int(@best / 2));
	while (1)
	{
		my $shorter = 0;

		for (my $from = 0; $from < @best && Time::HiRes::time() < $end;)
		{
			my @without = @best;
			splice(@without, $from, $chunk);
			my ($still, @less) = @without ? attempt($session, $parts, @without) : ();

			if ($still)
			{
				($mismatch, @best) = ($still, @less);
				$shorter = 1;
			}
			else
			{
				$from += $chunk;
			}
		}
		last if Time::HiRes::time() >= $end || ($chunk == 1 && !$shorter);
		$chunk = max(1, int($chunk / 2)) unless $chunk == 1;
	}
	return simpler($session, $parts, $end, without_pairs($session, $parts, $end, $mismatch, @best));
}

# The same without two commands that are of no use alone.
sub without_pairs
{
	my ($session, $parts, $end, $mismatch, @best) = @_;

	for (my $i = 0; $i < @best; $i++)
	{
		for (my $j = $i + 1; $j < @best && Time::HiRes::time() < $end; $j++)
		{
			my @without = @best[ grep { $_ != $i && $_ != $j } 0 .. $#best ];
			my ($still, @less) = @without ? attempt($session, $parts, @without) : ();

			next unless $still;
			($mismatch, @best) = ($still, @less);
			($i, $j) = (0, 0);
		}
	}
	return ($mismatch, @best);
}

# The same with fewer orders and options.
sub simpler
{
	my ($session, $parts, $end, $mismatch, @best) = @_;

	foreach my $n (0 .. $#best)
	{
		my $items = @{ $best[$n]->{items} // [] };
		my @ways  = (
			(   map {
					my $i = $_;
					sub { splice(@{ $_[0]->{items} }, $i, 1) }
				} reverse 0 .. $items - 1),
			(   map {
					my $member = $_;
					sub { delete $_->{$member} foreach items($_[0]) }
				} qw(expected occurred key)));

		foreach my $way (@ways)
		{
			last if Time::HiRes::time() >= $end || $n > $#best;
			my @less = @best;
			my %copy = %{ $best[$n] };

			$copy{items} = [
				map {
					{ %$_ }
				} @{ $copy{items} } ]
			  if $copy{items};
			$way->(\%copy);
			next if $copy{items} && (!@{ $copy{items} } || $copy{items}->[-1]->{linked});
			$less[$n] = \%copy;
			my ($still, @until) = attempt($session, $parts, @less);
			($mismatch, @best) = ($still, @until) if $still && @until == @less;
		}
	}
	return ($mismatch, @best);
}

# A history as SQL for psql.
sub text
{
	my (@commands) = @_;
	return
	  join('', map { sql($_, 1) . ($_->{name} eq 'hold' && !$_->{json} ? "\n" : ";\n") } @commands);
}

1;
