# Workload.pm
#
# Random commands of many clients for a ledger. Accounts are in small groups, most commands stay
# in one, so that several clients meet on every account; amounts and limits are small, so that
# about every second command is refused. What has been answered so far is known to all clients.
#
# To add a command: how to make one in %makers, with a weight.

package Workload;

use strict;
use warnings;

use List::Util  qw(max);
use Model       qw(refusal);
use Time::HiRes ();

my $day    = 86_400_000_000;
my $second = 1_000_000;
my %unit   = (HTG => 100, USD => 100, JPY => 1);

# Options: seed, clients, houses (as Model.pm has them), prefix of identifiers (eight digits).
sub new
{
	my ($class, %options) = @_;
	my $self = bless {
		random       => ($options{seed} * 7919 + 104_729) % 2_147_483_646 + 1,
		clients      => $options{clients} // 1,
		prefix       => $options{prefix}  // '00000000',
		houses       => $options{houses},
		accounts     => {},
		groups       => [],
		keys         => [],
		n            => 0,
		next_account => 0 }, $class;

	foreach my $n (0 .. int(($self->{clients} + 2) / 3))
	{
		my $group = { slots => [], holds => [] };
		my $other = $n % 2 ? 'USD' : 'JPY';

		push @{ $self->{groups} }, $group;
		push @{ $group->{slots} }, $self->fresh_account($_) foreach (('HTG') x 4, ($other) x 2);
	}
	return $self;
}

# A number from 0 to below this (MINSTD: the same on every machine).
sub draw
{
	my ($self, $below) = @_;

	$self->{random} = $self->{random} * 48_271 % 2_147_483_647;
	return $self->{random} % $below;
}

sub chance
{
	my ($self, $percent) = @_;
	return $self->draw(10_000) < $percent * 100;
}

sub pick
{
	my ($self, @list) = @_;
	return @list ? $list[ $self->draw(scalar(@list)) ] : undef;
}

# An identifier for an account to be.
sub fresh_account
{
	my ($self, $currency) = @_;
	my $id = sprintf('%s-0000-7000-8000-%012d', $self->{prefix}, ++$self->{next_account});

	$self->{accounts}->{$id} = { id => $id, currency => $currency };
	return $id;
}

sub now
{
	return int(Time::HiRes::time() * 1_000_000);
}

# An amount for an account: small, mostly of its currency.
sub amount
{
	my ($self, $currency) = @_;

	$currency = $self->pick(qw(HTG USD JPY)) if $self->chance(3);
	return [ 0, $currency ] if $self->chance(2);
	return [ 1 + $self->draw(500), $currency ] if $self->chance(15);
	return [ (1 + $self->draw(20)) * $unit{$currency}, $currency ];
}

sub limit
{
	my ($self, $currency, @units) = @_;

	$currency = $self->pick(qw(HTG USD JPY)) if $self->chance(2);
	return [ $self->pick(@units) * $unit{$currency}, $currency ];
}

# An account of the group, now and then one that is not there; rarely a house account.
sub some_account
{
	my ($self, $group, $currency) = @_;
	my @slots = @{ $group->{slots} };

	return $self->pick(sort keys %{ $self->{houses} }) if $self->chance(3);
	return sprintf('%s-0000-7000-8000-%012d', $self->{prefix}, 900_000 + $self->draw(3))
	  if $self->chance(1);
	return $self->pick(@{ $self->pick(@{ $self->{groups} })->{slots} }) if $self->chance(4);
	@slots = grep { $self->{accounts}->{$_}->{currency} eq $currency } @slots
	  if defined $currency && !$self->chance(5);
	return $self->pick(@slots) // $self->pick(@{ $group->{slots} });
}

sub currency_of
{
	my ($self, $id) = @_;

	return $self->{houses}->{$id}->[1] if $self->{houses}->{$id};
	return ($self->{accounts}->{$id} // { currency => 'HTG' })->{currency};
}

sub house_code
{
	my ($self) = @_;
	return $self->chance(75) ? 'cash' : $self->pick('fees', 'suspense', map { "till_$_" } 1 .. 6);
}

# Each maker: weight, and the command's own arguments for a group.
my %makers = (
	deposit => [
		20 => sub {
			my ($self, $group) = @_;
			my $id = $self->some_account($group);
			return (
				id     => $id,
				amount => $self->amount($self->currency_of($id)),
				code   => $self->house_code);
		}
	],
	withdraw => [
		16 => sub {
			my ($self, $group) = @_;
			my $id      = $self->some_account($group);
			my $balance = ($self->{accounts}->{$id} // {})->{balance};

			# all of it, so that the account can be closed
			return (id => $id, amount => [ $balance, $self->currency_of($id) ], code => 'cash')
			  if ($balance // 0) > 0 && $self->chance(20);
			return (
				id     => $id,
				amount => $self->amount($self->currency_of($id)),
				code   => $self->house_code);
		}
	],
	transfer => [
		20 => sub {
			my ($self, $group) = @_;
			my $id       = $self->some_account($group);
			my $currency = $self->currency_of($id);
			my $to       = $self->some_account($group, $currency);
			$to = $self->some_account($group, $currency) if $to eq $id && !$self->chance(5);
			$to = $self->some_account($group, $currency) if $to eq $id && !$self->chance(20);
			return (id => $id, to => $to, amount => $self->amount($currency));
		}
	],
	create_account => [
		2 => sub {
			my ($self, $group) = @_;
			my @new      = grep { !$self->{accounts}->{$_}->{created} } @{ $group->{slots} };
			my $id       = $self->pick(@new && !$self->chance(5) ? @new : @{ $group->{slots} });
			my $currency = $self->{accounts}->{$id}->{currency};
			return (
				id       => $id,
				type     => $self->pick(qw(COURANT EPARGNE)),
				currency => $currency,
				$self->chance(40) ? (overdraft => $self->limit($currency, 0,  5,  20))  : (),
				$self->chance(30) ? (ceiling   => $self->limit($currency, 40, 60, 100)) : ());
		}
	],
	create_house_account => [
		0.7 => sub {
			my ($self) = @_;
			return (
				code     => $self->pick('cash', map { "till_$_" } 1 .. 6),
				currency => $self->pick(qw(HTG USD JPY)));
		}
	],
	freeze => [ 2 => sub { my ($self, $group) = @_; return (id => $self->some_account($group)); } ],
	unfreeze => [
		6 => sub {
			my ($self, $group) = @_;
			my @frozen = grep { $self->{accounts}->{$_}->{frozen} } @{ $group->{slots} };
			return (id => @frozen
				  && $self->chance(80) ? $self->pick(@frozen) : $self->some_account($group));
		}
	],
	close => [
		3 => sub {
			my ($self, $group) = @_;
			my @empty =
			  grep { ($_->{balance} // 1) == 0 && !$_->{closed} && !$_->{frozen} }
			  map { $self->{accounts}->{$_} } @{ $group->{slots} };
			return (id => @empty ? $self->pick(@empty)->{id} : $self->some_account($group));
		}
	],
	set_limits => [
		5 => sub {
			my ($self, $group) = @_;
			my $id       = $self->some_account($group);
			my $currency = $self->currency_of($id);
			return (
				id => $id,
				$self->chance(50)   ? (overdraft => $self->limit($currency, 0,  5,  10, 20)) : (),
				$self->chance(40)   ? (ceiling   => $self->limit($currency, 20, 40, 60, 100))
				: $self->chance(40) ? (remove_ceiling => 1)
				:                     ());
		}
	],
	hold => [
		14 => sub {
			my ($self, $group) = @_;
			my $id = $self->some_account($group);
			return (
				id         => $id,
				amount     => $self->amount($self->currency_of($id)),
				expires_in => $self->chance(60) ? 1 + $self->draw(300_000) : 3_600 * $second);
		}
	],
	capture => [
		12 => sub {
			my ($self, $group) = @_;
			my ($hold, %which) = $self->some_hold($group);
			my $currency = $hold ? $self->currency_of($hold->{id}) : 'HTG';
			return (
				%which,
				$self->chance(60) ? (amount => $self->amount($currency)) : (),
				$self->chance(50)
				? (to => $self->some_account($group, $currency))
				: (code => $self->house_code));
		}
	],
	release => [
		5 => sub {
			my ($self, $group) = @_;
			my ($hold, %which) = $self->some_hold($group);
			return %which;
		}
	],
	expire_holds   => [ 1.5 => undef ],
	post_transfers => [ 6   => undef ],
	execute_batch  => [ 5   => undef ]);
my @weighted;
my @single;
foreach my $name (sort keys %makers)
{
	my ($weight, $maker) = @{ $makers{$name} };
	push @weighted, ($name) x (10 * $weight);
	push @single,   ($name) x (10 * $weight) if $maker;
}

# A hold of the group, used already or not.
sub some_hold
{
	my ($self, $group) = @_;
	my $holds = $group->{holds};

	splice(@$holds, 0, @$holds - 12) if @$holds > 12;
	my $hold = $self->pick(@$holds);
	return (undef, hold => sprintf('%s-0000-7000-9000-%012d', $self->{prefix}, $self->draw(3)))
	  if !$hold || $self->chance(2);
	return ($hold, hold => $hold->{hold}, hold_of => $hold->{tag}, of => $hold->{id});
}

# Something wrong with the arguments alone. What the ledger says of it is the model's business,
# but for what is no argument at all.
my @faults = (
	sub { $_[1]->{occurred} = -2_208_988_800_000_001 },
	sub { $_[1]->{occurred} = now() + 2 * $day },
	sub { $_[1]->{key}      = '' },
	sub { $_[1]->{key}      = 'k' x 256 },
	sub { $_[1]->{metadata} = '[1]' unless $_[1]->{json} },
	sub { $_[1]->{amount}   = undef if $_[1]->{name} =~ /^(?:deposit|withdraw|transfer|hold)$/ },
	sub {
		$_[1]->{ exists $_[1]->{hold} ? 'hold' : 'id' } = undef
		  unless $_[1]->{name} =~ /^create/;
	},
	sub { $_[1]->{type} = $_[0]->pick(qw(HOUSE GOLD)) if $_[1]->{type} },
	sub {
		my ($self, $c) = @_;
		return unless $c->{name} =~ /^create/;
		delete @$c{qw(overdraft ceiling)};
		$c->{currency} = 'XYZ';
	},
	sub { $_[1]->{code}       = $_[0]->pick('No', '9', 'x' x 33)    if defined $_[1]->{code} },
	sub { $_[1]->{expires_in} = $_[0]->pick(0,    -5,  3654 * $day) if $_[1]->{expires_in} },
	sub {
		$_[1]->{remove_ceiling} = 1
		  if $_[1]->{name} eq 'set_limits' && $_[1]->{ceiling};
	},
	sub {
		my ($self, $c) = @_;
		return unless $c->{amount};
		$c->{text}->{amount} = '-1.00 HTG';
		$c->{fault} = {
			%{ refusal('BK008', 'The amount is negative.') },
			$c->{json} ? (path => '/amount') : () };
	},
	sub {
		my ($self, $c) = @_;
		return unless $c->{json};
		$c->{members} = { 'a/b' => 1 };
		$c->{fault} =
		  { %{ refusal('BK025', 'This command has no such member.') }, path => '/a~1b' };
	},
	sub {
		my ($self, $c) = @_;
		return unless $c->{json};
		$c->{members} = { expected_version => '3' };
		$c->{fault} =
		  { %{ refusal('BK025', 'A whole number is expected.') }, path => '/expected_version' };
	});

# Options of a command: a version, a key, a business time.
sub add_options
{
	my ($self, $c, $keyed) = @_;
	my $account = defined $c->{id} ? $self->{accounts}->{ $c->{id} } : undef;

	$account //= $self->{accounts}->{ $c->{of} } if defined $c->{of};
	if ($c->{name} =~ /^create/)
	{
		$c->{expected} = $self->draw(4) ? 0 : 1 if $self->chance(10);
	}
	elsif ($account && $self->chance(12))
	{
		$c->{expected} = max(0, ($account->{version} // 0) + $self->pick(0, 0, 0, 0, -1, 1));
	}
	elsif ($c->{name} eq 'transfer' && $self->{houses}->{ $c->{id} } && $self->chance(20))
	{
		$c->{expected} = 1;
	}
	$c->{key} = "$self->{prefix} $c->{tag}" if $keyed;
	if ($self->chance(15))
	{
		my $now   = now();
		my $today = $now - $now % $day;

		$c->{occurred} =
			$self->chance(40) ? $now - $self->draw(100_000)
		  : $self->chance(20) ? $now + 3_600 * $second
		  : $self->chance(30) ? $today - $day * (1 + $self->draw(5))
		  :                     $today - $self->draw(30) * $day + $self->draw(86_400) * $second;
	}
	if ($c->{name} =~ /^create/ && $self->chance(6))
	{
		# rare commands, whose faults are to come up, too
		delete @$c{qw(overdraft ceiling)};
		if (defined $c->{code} && $self->chance(50))
		{
			$c->{code} = 'No';
		}
		else
		{
			$c->{currency} = 'XYZ';
		}
	}
	elsif ($self->chance(4))
	{
		$self->pick(@faults)->($self, $c);
	}
	return $c;
}

# One command about one thing.
sub single
{
	my ($self, $group, %more) = @_;
	my $name = $more{name};

	if (!defined $name)
	{
		my @new = grep { !$self->{accounts}->{$_}->{created} } @{ $group->{slots} };
		$name = @new && $self->chance(30) ? 'create_account' : $self->pick(@single);
	}
	my %c = ($makers{$name}->[1]->($self, $group), %more, name => $name);
	$c{metadata} = "{\"op\":\"$c{tag}\"}";
	$self->add_options(\%c, delete $c{keyed});
	return \%c;
}

# A key that was used before: for the same request, in another form, or for another one.
sub again
{
	my ($self, $group, $tag) = @_;
	my $keys = $self->{keys};

	splice(@$keys, 0, @$keys - 40) if @$keys > 40;
	my $first = $self->pick(@$keys);
	my %c     = (
		  $self->chance(70)
		? %$first
		: %{ $self->single($group, tag => $tag, json => $self->chance(40)) });
	if ($c{fault} || $c{text})
	{
		return $self->single($group, tag => $tag);
	}
	$c{json} = $self->chance(50) if ($c{metadata} // '') ne '[1]';
	delete $c{linked};
	return { %c, key => $first->{key}, tag => $tag, metadata => "{\"op\":\"$tag\"}" };
}

# The next command of a client.
sub next_command
{
	my ($self, $client) = @_;
	my $groups = $self->{groups};
	my $group = $groups->[ $self->chance(70) ? $client % @$groups : $self->draw(scalar(@$groups)) ];
	my $name  = $self->pick(@weighted);
	my $tag   = ++$self->{n};

	return { name => 'expire_holds', max => $self->pick(1, 5, 1000, 1000) }
	  if $name eq 'expire_holds';
	if ($name eq 'post_transfers')
	{
		my $keyed  = $self->chance(50);
		my $linked = $self->chance(50);
		my $size   = 1 + $self->draw(7);
		my @orders;

		foreach my $n (1 .. $size)
		{
			my $c =
				$keyed && @{ $self->{keys} } && $self->chance(8)
			  ? $self->again($group, "$tag.$n")
			  : $self->single($group, name => 'transfer', tag => "$tag.$n", keyed => $keyed);

			$c = $self->single($group, name => 'transfer', tag => "$tag.$n", keyed => $keyed)
			  if $c->{name} ne 'transfer';
			delete @$c{qw(expected json)};
			next if $c->{fault};
			$c->{linked} = $linked && $n < $size && $self->chance(50) ? 1 : 0;
			push @orders, $c;
		}
		return $self->next_command($client) unless @orders;
		$orders[-1]->{linked} = 0;
		my $command = { name => $name, items => \@orders, keyed => $keyed };
		if ($self->chance(4))
		{
			$orders[-1]->{linked} = 1;
			$command->{fault} =
			  refusal('BK024', 'The last order is linked, but there is none after it.');
		}
		return $command;
	}
	if ($name eq 'execute_batch')
	{
		my $keyed = $self->chance(50);
		my @items;

		foreach my $n (1 .. 1 + $self->draw(6))
		{
			push @items, $self->single($group, tag => "$tag.$n", json => 1, keyed => $keyed);
		}
		return { name => $name, items => \@items, keyed => $keyed };
	}
	return $self->again($group, $tag) if @{ $self->{keys} } && $self->chance(6);
	my $new = grep { !$self->{accounts}->{$_}->{created} } @{ $group->{slots} };
	return $self->single(
		$group,
		tag   => $tag,
		json  => $self->chance(40),
		keyed => $self->chance(35),
		$new && $self->chance(30) ? (name => 'create_account') : (name => $name));
}

# What a client was answered, each item with its outcome.
sub learn
{
	my ($self, $command, @outcomes) = @_;
	my @items = $command->{items} ? @{ $command->{items} } : ($command);

	return if @items != @outcomes;
	foreach my $i (0 .. $#items)
	{
		my ($c, $outcome) = ($items[$i], $outcomes[$i]);

		push @{ $self->{keys} }, $c
		  if defined $c->{key}
		  && length($c->{key}) > 0
		  && length($c->{key}) < 256
		  && $self->chance(30);
		next unless $outcome->{ok};
		$self->learn_of($c, $outcome);
	}
	return;
}

sub learn_of
{
	my ($self, $c, $outcome) = @_;
	my $account = $self->{accounts}->{ $c->{id} // $outcome->{account_id} // '' };

	return unless $account;
	$account->{version} = max($account->{version} // 0, $outcome->{version} // 0);
	$account->{created} = 1 if $c->{name} eq 'create_account';
	$account->{balance} = $outcome->{balance} =~ s/\.//r + 0 if defined $outcome->{balance};
	$account->{frozen}  = $c->{name} eq 'freeze' if $c->{name} =~ /freeze$/;
	if ($c->{name} eq 'close' && !$account->{closed})
	{
		$account->{closed} = 1;
		foreach my $group (@{ $self->{groups} })
		{
			# a few stay in use, closed as they are
			next if $self->chance(10);
			my $fresh;
			$group->{slots} = [
				map {
						$_ eq $account->{id}
					  ? $fresh //= $self->fresh_account($account->{currency})
					  : $_
				} @{ $group->{slots} } ];
		}
	}
	if ($c->{name} eq 'hold' && !$outcome->{replayed})
	{
		foreach my $group (@{ $self->{groups} })
		{
			next unless grep { $_ eq $account->{id} } @{ $group->{slots} };
			push @{ $group->{holds} },
			  { hold => $outcome->{event_id}, id => $account->{id}, tag => $c->{tag} };
		}
	}
	return;
}

1;
