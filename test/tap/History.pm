# History.pm
#
# Is what many clients were answered what one ledger can have answered? The events give the order:
# the versions of an account are the order of what happened to it. So
#   - every event must be the one that the model (Model.pm) makes of its command and of the
#     accounts as the events before it have left them;
#   - every accepted command must have its event, and the receipt of that event;
#   - every refusal must be the model's, with its detail, at some moment between the command's
#     sending and its answer; the accounts as they were at that moment follow from recorded_at,
#     which the ledger reads while it holds their locks. What needs no such lock (that an account
#     exists, that a key is known) may count from when it was recorded, and must count once it was
#     answered;
#   - a command that was answered before another one was sent has the lower version.
# A command whose answer was lost is whole or not there; asked again under its key it has one
# effect.
#
# Commands are told apart by their metadata: {"op": tag}. An operation is a hash: command; s and
# e, when it was sent and answered (microseconds since 1970, e undef: its answer was lost for
# good); s_last, when it was sent for the last time; attempts; answer, as Session.pm has it.

package History;

use strict;
use warnings;

use Commands   qw(items outcomes);
use JSON::PP   ();
use List::Util qw(max min);
use Model      qw(figure money);

my $json = JSON::PP->new->canonical;

# How much the clocks of client and server, which are one, may seem to differ.
my $slack = 1000;

my @columns = qw(position event_id aggregate version peer peer_version type amount currency balance
  peer_balance held peer_held rec occurred expires_at hold xid tag data recorded_at);

# SQL for a moment as microseconds since 1970.
sub micro
{
	return "(extract(epoch FROM $_[0]) * 1000000)::bigint";
}

# Events after a position.
sub events
{
	my ($session, $after) = @_;
	my $sql =
	  'SELECT position, event_id, aggregate_id, version, peer_id, peer_version, event_type, amount,'
	  . ' currency,'
	  . ' balance, peer_balance, COALESCE(held, 0), COALESCE(peer_held, 0), '
	  . join(', ', map { micro($_) } qw(recorded_at occurred_at expires_at))
	  . ", hold_id, transaction_id, metadata ->> 'op', data, recorded_at"
	  . " FROM bank.events WHERE position > $after ORDER BY position";
	my @events;

	foreach my $row ($session->rows($sql))
	{
		my %event;

		@event{@columns} = @$row;
		$event{data} = $json->decode($event{data}) if defined $event{data};
		push @events, \%event;
	}
	return @events;
}

# A history that begins with the ledger as it is, of which it takes no notice but for house
# accounts. Others' holds may expire meanwhile.
sub new
{
	my ($class, $session, %parts) = @_;
	my $self = bless {
		others     => $session->rows('SELECT FROM bank.holds LIMIT 1') > 0,
		accounts   => {},
		holds      => {},
		keys       => {},
		codes      => {},
		places     => {},
		stripes    => {},
		recent     => [],
		mismatches => [],
		explained  => 0 }, $class;
	my (%houses, %codes);

	$codes{$_} = 1 foreach qw(cash external fees interest exchange suspense);
	foreach my $row (
		$session->rows(
			'SELECT house_account_id, house_code, currency, account_id, version, credits - debits
			  FROM bank.accounts
			  WHERE house_code IS NOT NULL'))
	{
		my ($id, $code, $currency, $stripe, $version, $balance) = @$row;

		$houses{$id}  = [ $code, $currency ];
		$codes{$code} = 1;
		$self->{stripes}->{$stripe} =
		  { place => "$code/$currency", version => $version, balance => $balance };
		$self->{places}->{"$code/$currency"} //= { rec => 0, ack => 0 };
	}
	$self->{start} = { houses => \%houses, codes => \%codes, stripes => { %{ $self->{stripes} } } };
	$self->{model} = Model->new(houses => \%houses, codes => \%codes, %parts);
	return $self;
}

# The same beginning with other rules.
sub again
{
	my ($self, %parts) = @_;
	my $start = $self->{start};

	return bless {
		accounts => {},
		holds    => {},
		keys     => {},
		codes    => {},
		places => { map { ($_->{place} => { rec => 0, ack => 0 }) } values %{ $start->{stripes} } },
		stripes => { map { ($_ => { %{ $start->{stripes}->{$_} } }) } keys %{ $start->{stripes} } },
		recent     => [],
		mismatches => [],
		explained  => 0,
		start      => $start,
		model      => Model->new(houses => $start->{houses}, codes => $start->{codes}, %parts) },
	  ref($self);
}

# Something that cannot be.
sub mismatch
{
	my ($self, $operation, $text) = @_;

	push @{ $self->{mismatches} }, { operation => $operation, text => $text };
	return;
}

sub shown
{
	my ($value) = @_;
	return defined $value ? $value : 'null';
}

# Take in a round: operations that have all ended, and the events that are new since.
sub add
{
	my ($self, $operations, $events, $until) = @_;
	my %round = (items => {}, operation => {}, until => $until);

	$self->{recent} = [ grep { !defined $_->{resolved_version} } @{ $self->{recent} } ];
	foreach my $operation (@$operations)
	{
		my $i = 0;
		foreach my $c (items($operation->{command}))
		{
			my $item = { command => $c, operation => $operation, i => $i++ };

			push @{ $operation->{items} }, $item;
			$round{items}->{ $c->{tag} } = $item if defined $c->{tag};
		}
	}
	foreach my $event (@$events)
	{
		next unless defined $event->{tag} && $round{items}->{ $event->{tag} };
		$round{operation}->{ $event->{xid} } = $round{items}->{ $event->{tag} }->{operation};
	}
	$self->{round} = \%round;
	foreach my $event (@$events)
	{
		if ($event->{type} eq 'hold.expired')
		{
			$self->take_expiry($event);
		}
		elsif ($event->{type} eq 'account.created' && !defined $event->{tag})
		{
			$self->take_stripe($event);
		}
		else
		{
			$self->take_event($event);
		}
	}
	my @answered = grep { $_->{answer} } sort { $a->{s} <=> $b->{s} } @$operations;
	$self->take_answers($_) foreach @answered;
	$self->find_denials(@answered);
	foreach my $operation (@answered)
	{
		$self->explain($operation, $_) foreach @{ $operation->{unexplained} };
	}
	foreach my $operation (@$operations)
	{
		$self->explain_orders($operation) if $operation->{command}->{name} eq 'post_transfers';
	}
	return;
}

# When an operation was over, as far as one knows.
sub over
{
	my ($self, $operation) = @_;
	return $operation->{e} // $self->{round}->{until};
}

# ---------------------------------------------------------------------------------------------
# Events

# A stripe of a house account is opened by whoever needs it.
sub take_stripe
{
	my ($self, $event) = @_;
	my $code      = $event->{data}->{house_account};
	my $place     = "$code/$event->{currency}";
	my $operation = $self->{round}->{operation}->{ $event->{xid} };

	return $self->mismatch($operation, "a stripe of $place without a command") unless $operation;
	$self->mismatch($operation, "a stripe of $place, of which there is no code")
	  unless $self->{start}->{codes}->{$code} || $self->{codes}->{$code};
	$self->open_stripe($event, $place, $operation);
	return;
}

sub open_stripe
{
	my ($self, $event, $place, $operation) = @_;
	my $fact = { rec => $event->{rec}, ack => $self->over($operation) };

	$self->{stripes}->{ $event->{aggregate} } = { place => $place, version => 1, balance => 0 };
	$self->{places}->{$place} //= $fact;
	$self->{codes}->{ $place =~ s{/.*}{}r } //= $fact;
	return;
}

# The state of an account now; undef: it has none.
sub latest
{
	my ($self, $id) = @_;
	my $account = $self->{accounts}->{ $id // '' };

	return $account ? $account->{states}->[-1] : undef;
}

# Add what an event made of an account.
sub push_state
{
	my ($self, $event, $id, $as_peer, $operation) = @_;
	my $account = $self->{accounts}->{$id};
	my $before  = $account->{states}->[-1];
	my ($version, $balance, $held) =
	  @$event{ $as_peer ? qw(peer_version peer_balance peer_held) : qw(version balance held) };
	my %state = (
		%$before,
		version  => $version,
		balance  => $balance,
		held     => $held,
		rec      => $event->{rec},
		type     => $event->{type},
		xid      => $event->{xid},
		business => defined $event->{amount} ? $event->{occurred} // $event->{rec} : undef);

	$self->mismatch($operation,
		"account $id, version $version: recorded before version $before->{version}")
	  if $event->{rec} < $before->{rec};
	$self->{round}->{before}->{ $event->{xid} }->{$id} //= $before;
	push @{ $account->{states} }, \%state;
	return \%state;
}

# A hold whose time was over when something else was recorded on its account.
sub take_expiry
{
	my ($self, $event) = @_;
	my $operation = $self->{round}->{operation}->{ $event->{xid} };
	my $hold      = $self->{holds}->{ $event->{hold} };
	my $state     = $self->latest($event->{aggregate});
	my $name      = "hold $event->{hold} expired at version $event->{version}";
	my $after     = ($self->{round}->{seen}->{ $event->{xid} } //= {});

	if (!$hold && $self->{others})
	{
		# somebody else's, swept with ours
		push @{ $self->{round}->{expired}->{ $event->{xid} } }, $event;
		return;
	}
	return $self->mismatch($operation, "$name: there is no such hold") unless $hold && $state;
	my ($first) =
	  sort { $a->{expires_at} <=> $b->{expires_at} || $a->{id} cmp $b->{id} } @{ $state->{open} };
	my $wrong =
	   !$first                                             ? 'there is no open one'
	  : $first->{id} ne $hold->{id}                        ? "hold $first->{id} was to be the first"
	  : $hold->{account} ne $event->{aggregate}            ? 'it is of another account'
	  : !$self->{model}->{over}->($hold, $event->{rec})    ? 'it is not over'
	  : $event->{occurred} != $hold->{expires_at}          ? 'with another time'
	  : $event->{version} != $state->{version} + 1         ? 'not the next version'
	  : $event->{balance} != $state->{balance}             ? 'with another balance'
	  : $event->{held} != $state->{held} - $hold->{amount} ? 'with another sum held'
	  : $event->{amount} != $hold->{amount}                ? 'with another amount'
	  :                                                      undef;
	$self->mismatch($operation, "$name: $wrong") if $wrong;
	$after->{ $event->{aggregate} } //= $state->{version};
	push @{ $self->{round}->{expired}->{ $event->{xid} } }, $event;
	$self->resolve($event, $hold, 'EXPIRED');
	$self->close_hold($self->push_state($event, $event->{aggregate}, 0, $operation), $hold);
	return;
}

sub resolve
{
	my ($self, $event, $hold, $status) = @_;

	@$hold{qw(status resolved_version resolved_rec resolved_at captured)} = (
		$status, $event->{version}, $event->{rec},
		$event->{occurred} // $event->{rec},
		$status eq 'CAPTURED' ? $event->{amount} : 0);
	return;
}

sub close_hold
{
	my ($self, $state, $hold) = @_;

	$state->{open} = [ grep { $_ != $hold } @{ $state->{open} } ];
	return;
}

# An event of a command: it must be what the model makes of it.
sub take_event
{
	my ($self, $event) = @_;
	my $item = defined $event->{tag} ? $self->{round}->{items}->{ $event->{tag} } : undef;

	return $self->mismatch(undef, "event $event->{event_id} is of no command that was sent")
	  unless $item;
	my ($c, $operation) = @$item{qw(command operation)};
	return $self->mismatch($operation, "$c->{tag} has two events") if $item->{event};
	$item->{event} = $event;
	my $seen = $self->{round}->{seen}->{ $event->{xid} } // {};
	my $hold = defined $c->{hold} ? $self->{holds}->{ $c->{hold} } : undef;
	my %view = (
		accounts => {},
		holds    => $hold ? { $hold->{id} => $hold } : {},
		codes    => $self->{codes},
		places   => $self->known_places($c, $operation),
		seen     => $seen);

	foreach my $id ($self->{model}->accounts($c), $hold ? $hold->{account} : ())
	{
		my $state = $self->latest($id);
		$view{accounts}->{$id} = $state if $state;
	}
	my $outcome = $self->{model}->check_arguments($c, $event->{rec})
	  // $self->{model}->decide($c, $event->{rec}, \%view);
	my $wrong = $self->differs($event, $c, $outcome);
	$self->mismatch($operation, $wrong) if $wrong;
	$self->mismatch($operation,
		"$c->{tag} was recorded before it was sent, or after it was answered")
	  if $event->{rec} < $operation->{s} - $slack
	  || $event->{rec} > $self->over($operation) + $slack;
	if (defined $c->{key})
	{
		$self->mismatch($operation, "key $c->{key} has a second event")
		  if $self->{keys}->{ $c->{key} };
		$self->{keys}->{ $c->{key} } //= {
			item    => $item,
			request => Model::request($c),
			outcome => { ok => 1, event => $event, command => $c },
			rec     => $event->{rec},
			ack     => $self->over($operation) };
	}
	$self->apply($event, $c, $operation);
	delete $seen->{$_} foreach grep { defined } @$event{qw(aggregate peer)};
	return;
}

# House accounts that were there for certain when a command was sent: one that is being opened by a
# deposit does not keep others from opening it.
sub known_places
{
	my ($self, $c, $operation) = @_;
	my $place = $c->{name} eq 'create_house_account' ? "$c->{code}/$c->{currency}" : '';
	my $fact  = $self->{places}->{$place};

	return $fact && $fact->{ack} <= $operation->{s} ? { $place => 1 } : {};
}

# Which field of an event is not the model's? undef: none.
sub differs
{
	my ($self, $event, $c, $outcome) = @_;
	my $name = "$c->{name} $c->{tag}: the ledger recorded $event->{type} "
	  . (defined $event->{amount} ? money(@$event{qw(amount currency)}) : '');

	return "$name; the model refuses it: $outcome->{code} $outcome->{message} ($outcome->{detail})"
	  unless $outcome->{ok};
	my $stripe = $self->{stripes}->{ $event->{aggregate} };
	my $peer   = defined $event->{peer} ? $self->{stripes}->{ $event->{peer} } : undef;
	my $data   = $event->{data} // {};
	my $limited =
	  $event->{type} =~ /^account\.(?:created|limits_changed)$/ && !defined $data->{house_account};
	my $house  = $stripe || defined $data->{house_account};
	my @fields = (
		[ type     => @$event{qw(type)},  $outcome->{type} ],
		[ currency => $event->{currency}, $outcome->{currency} ],
		[ amount   => $event->{amount},   $outcome->{amount} ],
		[ hold     => $event->{type} eq 'hold.created' ? undef : $event->{hold}, $outcome->{hold} ],
		[ expires_at  => $event->{expires_at}, $outcome->{expires_at} ],
		[ occurred_at => $event->{occurred},   $c->{occurred} ],
		[   'house account' => $stripe ? $stripe->{place} : undef,
			$stripe ? $outcome->{place} : undef ],
		[ 'house account of peer' => $peer ? $peer->{place} : undef, $outcome->{peer_place} ]);

	push @fields,
	  [ account => $event->{aggregate}, $outcome->{aggregate} ],
	  [ version => $event->{version},   $outcome->{version} ],
	  [ balance => $event->{balance},   $outcome->{balance} ],
	  [ held    => $event->{held},      $outcome->{held} ]
	  unless $house;
	push @fields,
	  [ peer              => $event->{peer},         $outcome->{peer} ],
	  [ 'version of peer' => $event->{peer_version}, $outcome->{peer_version} ],
	  [ 'balance of peer' => $event->{peer_balance}, $outcome->{peer_balance} ],
	  [ 'held of peer'    => $event->{peer_held},    $outcome->{peer_held} ]
	  if defined $event->{peer} && !$peer;
	push @fields,
	  [ overdraft_limit => $data->{overdraft_limit},
		figure($outcome->{overdraft}, $event->{currency}) ],
	  [ balance_limit => $data->{balance_limit},
		defined $outcome->{ceiling} ? figure($outcome->{ceiling}, $event->{currency}) : undef ]
	  if $limited;
	push @fields, [ account_type => $data->{account_type}, $outcome->{account_type} ]
	  if defined $outcome->{account_type};

	foreach my $field (@fields)
	{
		my ($what, $got, $expected) = @$field;
		return "$name; $what is " . shown($got) . ', the model has ' . shown($expected)
		  if shown($got) ne shown($expected);
	}
	return $self->stripe_differs($event, $name);
}

# House accounts have nothing to decide, but their stripes must add up.
sub stripe_differs
{
	my ($self, $event, $name) = @_;
	my $sign = $event->{type} eq 'money.deposited' ? 1 : -1;

	foreach my $side ([ qw(aggregate version balance), $sign ],
		[ qw(peer peer_version peer_balance), -$sign ])
	{
		my ($id, $version, $balance, $direction) = @$side;
		my $stripe = defined $event->{$id} ? $self->{stripes}->{ $event->{$id} } : undef;

		next unless $stripe;
		return "$name; version or balance of a stripe of $stripe->{place} does not go on"
		  if $event->{$version} != $stripe->{version} + 1
		  || $event->{$balance} != $stripe->{balance} + $direction * $event->{amount};
	}
	return;
}

# What an event makes of accounts and holds. The event is right, whatever the model thinks.
sub apply
{
	my ($self, $event, $c, $operation) = @_;
	my $type = $event->{type};
	my $data = $event->{data} // {};
	my $end  = $self->over($operation);

	if ($type eq 'account.created')
	{
		return $self->open_stripe($event, "$data->{house_account}/$event->{currency}", $operation)
		  if defined $data->{house_account};
		my %state = (
			id        => $event->{aggregate},
			currency  => $event->{currency},
			version   => 1,
			balance   => 0,
			held      => 0,
			status    => 'ACTIVE',
			overdraft => $c->{overdraft} ? $c->{overdraft}->[0] : 0,
			ceiling   => $c->{ceiling}   ? $c->{ceiling}->[0]   : undef,
			rec       => $event->{rec},
			type      => $type,
			open      => []);
		$self->{accounts}->{ $event->{aggregate} } = {
			states       => [ \%state ],
			number       => $data->{account_number},
			account_type => $data->{account_type},
			currency     => $event->{currency},
			rec          => $event->{rec},
			ack          => $end,
			started      => $operation->{s},
			limits => [ [ $event->{rec}, $event->{occurred} // $event->{rec}, $state{overdraft} ] ]
		};
		return;
	}
	foreach my $side ([ aggregate => 0 ], [ peer => 1 ])
	{
		my ($member, $as_peer) = @$side;
		my $id = $event->{$member};

		next unless defined $id;
		if (my $stripe = $self->{stripes}->{$id})
		{
			$stripe->{version}++;
			$stripe->{balance} = $event->{ $as_peer ? 'peer_balance' : 'balance' };
			next;
		}
		my $account = $self->{accounts}->{$id};
		unless ($account)
		{
			$self->mismatch($operation, "$c->{tag}: account $id was not created");
			next;
		}
		$self->mismatch($operation,
			"$c->{tag} was answered before a command with a lower version of account $id was sent")
		  if $end + $slack < $account->{started};
		$account->{started} = max($account->{started}, $operation->{s});
		my $state = $self->push_state($event, $id, $as_peer, $operation);
		$self->apply_to($event, $state, $account, $c, $operation) unless $as_peer;
	}
	return;
}

# What an event makes of its own account beyond balance and version.
sub apply_to
{
	my ($self, $event, $state, $account, $c, $operation) = @_;
	my $type     = $event->{type};
	my %statuses = (
		'account.frozen'   => 'FROZEN',
		'account.unfrozen' => 'ACTIVE',
		'account.closed'   => 'CLOSED');

	$state->{status} = $statuses{$type} if $statuses{$type};
	if ($type eq 'account.limits_changed')
	{
		$state->{overdraft} = $c->{overdraft}->[0] if $c->{overdraft};
		$state->{ceiling}   = $c->{ceiling}->[0]   if $c->{ceiling};
		$state->{ceiling}   = undef                if $c->{remove_ceiling};
		push @{ $account->{limits} },
		  [ $event->{rec}, $event->{occurred} // $event->{rec}, $state->{overdraft} ];
	}
	elsif ($type eq 'hold.created')
	{
		my %hold = (
			id              => $event->{hold},
			account         => $event->{aggregate},
			currency        => $event->{currency},
			amount          => $event->{amount},
			status          => 'OPEN',
			expires_at      => $event->{expires_at},
			created_at      => $event->{occurred} // $event->{rec},
			created_version => $event->{version},
			rec             => $event->{rec},
			ack             => $self->over($operation),
			tag             => $c->{tag},
			captured        => 0);
		$self->{holds}->{ $hold{id} } = \%hold;
		push @{ $self->{recent} },   \%hold;
		push @{ $account->{holds} }, \%hold;
		$state->{open} = [ @{ $state->{open} }, \%hold ];
	}
	elsif ($type eq 'hold.captured' || $type eq 'hold.released')
	{
		my $hold = $self->{holds}->{ $event->{hold} } or return;

		$self->resolve($event, $hold, $type eq 'hold.captured' ? 'CAPTURED' : 'RELEASED');
		$self->close_hold($state, $hold);
	}
	return;
}

# ---------------------------------------------------------------------------------------------
# Answers

# Accepted commands against their events; what is refused or replayed is left to be explained.
sub take_answers
{
	my ($self, $operation) = @_;
	my $command = $operation->{command};
	my $error   = $operation->{answer}->{error};

	return if $command->{name} eq 'wait';
	return $self->mismatch($operation, "$command->{name}: error $error->{C} $error->{M}")
	  if $error && $error->{C} !~ /^BK/;
	return $self->take_sweep($operation) if $command->{name} eq 'expire_holds';
	my @got   = outcomes($command, $operation->{answer});
	my @items = @{ $operation->{items} };

	if ($command->{fault} && $command->{items})
	{
		my $wrong = refusal_differs($got[0], $command->{fault});
		$self->mismatch($operation, "$command->{name}: $wrong") if $wrong;
		return;
	}
	return $self->mismatch($operation,
		"$command->{name}: " . @got . ' answers for ' . @items . ' commands')
	  if @got != @items;
	foreach my $i (0 .. $#items)
	{
		my ($item, $outcome) = ($items[$i], $got[$i]);

		$item->{got} = $outcome;
		if ($outcome->{ok} && $item->{event})
		{
			my $wrong = receipt_differs($item->{command}, $outcome, $item->{event});
			$self->mismatch($operation, $wrong) if $wrong;
			next;
		}
		if ($item->{event})
		{
			$self->mismatch($operation, "$item->{command}->{tag} was refused and has an event");
		}
		elsif ($outcome->{ok} && !$outcome->{replayed} && !exists $outcome->{created_at})
		{
			$self->mismatch($operation, "$item->{command}->{tag} was accepted and has no event");
		}
		else
		{
			push @{ $operation->{unexplained} }, $item unless $command->{name} eq 'post_transfers';
		}
	}
	return;
}

# What differs between a receipt and the event it is of? undef: nothing.
sub receipt_differs
{
	my ($c, $got, $event) = @_;
	my $currency = $event->{currency};
	my $name     = "$c->{name} $c->{tag}";
	my @fields;

	if (!exists $got->{event_id})
	{
		# the row of a new account
		@fields = (
			[ currency       => $got->{currency},       $currency ],
			[ status         => $got->{status},         'ACTIVE' ],
			[ balance        => $got->{balance},        figure(0, $currency) ],
			[ held           => $got->{held},           figure(0, $currency) ],
			[ version        => $got->{version},        1 ],
			[ created_at     => $got->{created_at},     $event->{recorded_at} ],
			[ account_number => $got->{account_number}, $event->{data}->{account_number} ],
			[ account_type   => $got->{account_type},   $event->{data}->{account_type} ],
			[ balance_limit  => $got->{balance_limit},  $event->{data}->{balance_limit} ],
			[ house_account  => $got->{house_account},  $event->{data}->{house_account} ],
			[   account_id => $got->{account_id},
				$event->{data}->{house_account_id} // $event->{aggregate} ]);
	}
	elsif (exists $got->{ordinal})
	{
		@fields = ([ event_id => $got->{event_id}, $event->{event_id} ]);
	}
	else
	{
		my $amount = $event->{amount};

		@fields = (
			[ event_id   => $got->{event_id},   $event->{event_id} ],
			[ event_type => $got->{event_type}, $event->{type} ],
			[ amount   => $got->{amount},   defined $amount ? figure($amount, $currency) : undef ],
			[ currency => $got->{currency}, $currency ],
			[ balance  => $got->{balance},  figure($event->{balance}, $currency) ],
			[ version  => $got->{version},  $event->{version} ],
			[ position => $got->{position}, $event->{position} ],
			[ recorded_at => $got->{recorded_at}, $event->{recorded_at} ],
			[   account_id => $got->{account_id},
				$event->{type} eq 'account.created'
				? $event->{data}->{house_account_id} // $event->{aggregate}
				: $c->{id} // $event->{aggregate} ]);
	}
	foreach my $field (@fields)
	{
		my ($what, $answer, $expected) = @$field;
		return "$name: the answer has $what " . shown($answer) . ', the event ' . shown($expected)
		  if shown($answer) ne shown($expected);
	}
	return;
}

# What differs between the refusal that was answered and this one? undef: nothing.
sub refusal_differs
{
	my ($got, $expected) = @_;

	foreach my $field (qw(ok code message detail path))
	{
		return 'expected ' . described($expected) . ', got ' . described($got)
		  if ($got->{$field} // '') ne ($expected->{$field} // '');
	}
	return if $got->{raised} || ($got->{replayed} // 0) == ($expected->{replayed} // 0);
	return
		described($expected) . ' was'
	  . ($got->{replayed} ? '' : ' not')
	  . ' said to be replayed';
}

sub described
{
	my ($outcome) = @_;

	return 'success' if $outcome->{ok};
	return "$outcome->{code} $outcome->{message}"
	  . ($outcome->{detail} ne '' ? " ($outcome->{detail})" : '');
}

# bank_expire_holds says how many it expired, and leaves none that was over before it began.
sub take_sweep
{
	my ($self,    $operation) = @_;
	my ($expired, $xid)       = @{ $operation->{answer}->{rows}->[0] };
	my $events = @{ $self->{round}->{expired}->{$xid} // [] };

	$self->mismatch($operation, "bank_expire_holds() said $expired, and recorded $events")
	  if $expired != $events;

	# a limit counts holds that others may have expired by the time their accounts are locked
	return if $operation->{command}->{max} < 1000 || $expired >= $operation->{command}->{max};
	foreach my $hold (@{ $self->{recent} })
	{
		next if $hold->{expires_at} > $operation->{s} || $hold->{ack} > $operation->{s};
		next if defined $hold->{resolved_rec} && $hold->{resolved_rec} <= $operation->{e};
		$self->mismatch($operation,
			"bank_expire_holds() has left hold $hold->{id}, over since $hold->{expires_at}");
	}
	return;
}

# Refusals that bank_execute has stored under a key are what the key stands for from then on.
sub find_denials
{
	my ($self, @operations) = @_;

	foreach my $again (0, 1)
	{
		foreach my $operation (@operations)
		{
			foreach my $item (@{ $operation->{unexplained} // [] })
			{
				my ($c, $got) = @$item{qw(command got)};

				next if !$c->{json} || !defined $c->{key} || $got->{ok} || $got->{code} eq 'BK007';
				next if $self->{model}->check_arguments($c, $operation->{s});
				if ($again)
				{
					# the first answer was lost, this is its replay
					next
					  if !$got->{replayed}
					  || $operation->{attempts} < 2
					  || $self->{keys}->{ $c->{key} };
				}
				else
				{
					next if $got->{replayed};
					$self->mismatch($operation, "key $c->{key} has two outcomes")
					  if $self->{keys}->{ $c->{key} };
				}
				my %first = %$got;
				delete $first{replayed};
				$self->{keys}->{ $c->{key} } //= {
					item    => $item,
					request => Model::request($c),
					outcome => \%first,
					rec     => $operation->{s},
					ack     => $self->over($operation) };
			}
		}
	}
	return;
}

# Is a key known to a command that began and ended then? A list of what it may be: 1, 0 or both.
sub key_states
{
	my ($self, $item, $s, $e) = @_;
	my $first = $self->{keys}->{ $item->{command}->{key} // '' };

	return 0 if !$first || $first->{item} == $item;
	return $first->{item}->{i} < $item->{i} ? 1 : 0
	  if $first->{item}->{operation} == $item->{operation};
	return 0 if $e <= $first->{rec};
	return 1 if $s >= $first->{ack};
	return (0, 1);
}

# A refusal or a replay: is there a moment for it?
sub explain
{
	my ($self, $operation, $item) = @_;
	my ($c, $got)                 = @$item{qw(command got)};
	my ($s, $e)                   = ($operation->{s}, $self->over($operation));
	my $fault = $self->{model}->check_arguments($c, $s);
	my @wrong;

	$self->{explained}++;
	if ($fault)
	{
		my $wrong = refusal_differs($got, $fault);
		$self->mismatch($operation, "$c->{name} $c->{tag}: $wrong") if $wrong;
		return;
	}
	foreach my $known ($self->key_states($item, $s, $e))
	{
		if ($known)
		{
			my $wrong = $self->replay_differs($c, $got, $self->{keys}->{ $c->{key} });
			return unless $wrong;
			push @wrong, $wrong;
			next;
		}
		my $expected = $got;
		if (   $got->{replayed}
			&& $self->{keys}->{ $c->{key} }
			&& $self->{keys}->{ $c->{key} }->{item} == $item)
		{
			# its own first attempt
			$expected = { %$got, replayed => 0 };
		}
		my ($moment, @seen) = $self->find_moment($operation, $item, $expected);
		if (defined $moment)
		{
			$item->{moment} = $moment;
			return;
		}
		push @wrong, @seen;
	}
	my %once;
	$self->mismatch($operation,
			"$c->{name} $c->{tag}: the ledger answered "
		  . described($got)
		  . '; the model has '
		  . join(' or ', grep { !$once{$_}++ } @wrong));
	return;
}

# What differs between this answer and the first one of its key? undef: nothing.
sub replay_differs
{
	my ($self, $c, $got, $first) = @_;
	my $outcome = $self->{model}->replay($c, $first);

	return refusal_differs($got, $outcome) ? described($outcome) : undef unless $outcome->{ok};
	return 'a replay' unless $got->{ok} && $got->{replayed} || exists $got->{created_at};
	return receipt_differs($c, $got, $outcome->{event});
}

# The last state of an account recorded by this time, and its number; undef: none was.
sub state_at
{
	my ($account, $at) = @_;
	my $states = $account->{states};
	my ($low, $high) = (-1, $#$states);

	while ($low < $high)
	{
		my $middle = int(($low + $high + 1) / 2);

		if ($states->[$middle]->{rec} <= $at)
		{
			$low = $middle;
		}
		else
		{
			$high = $middle - 1;
		}
	}
	return $low < 0 ? undef : $states->[$low];
}

# A hold as it was at this version of its account.
sub hold_at
{
	my ($hold, $version) = @_;

	return if $hold->{created_version} > $version;
	return { %$hold, status => 'OPEN' }
	  if defined $hold->{resolved_version} && $hold->{resolved_version} > $version;
	return $hold;
}

# States of these accounts between two times at which anything may change: when something was
# recorded, when a hold is over.
sub moments
{
	my ($self, $s, $e, @accounts) = @_;
	my %moments = ($s => 1, $e => 1);

	foreach my $account (@accounts)
	{
		my $states = $account->{states};
		my $state  = state_at($account, $s);
		my @open   = $state ? @{ $state->{open} } : ();

		foreach my $n (($state ? $state->{version} - 1 : 0) .. $#$states)
		{
			my $rec = $states->[$n]->{rec};

			last if $rec > $e;
			push @open, @{ $states->[$n]->{open} };
			$moments{$_} = 1 foreach grep { $_ >= $s } ($rec - 1, $rec);
		}
		foreach my $hold (@open)
		{
			$moments{$_} = 1
			  foreach grep { $_ >= $s && $_ <= $e } ($hold->{expires_at} - 1, $hold->{expires_at});
		}
	}
	return sort { $a <=> $b } keys %moments;
}

# Facts about which a command between these times may be of either opinion, and those that are true
# for it in any case.
sub facts
{
	my ($self, $s, $e, %facts) = @_;
	my (%true, @open);

	foreach my $name (keys %facts)
	{
		my $fact = $facts{$name};

		next if !$fact || $fact->{rec} > $e;
		$true{$name} = 1;
		push @open, $name if $fact->{ack} > $s;
	}
	return (\%true, @open);
}

# A moment at which the model answers so; else undef and what it answers at each.
sub find_moment
{
	my ($self, $operation, $item, $got) = @_;
	my $c    = $item->{command};
	my $hold = defined $c->{hold} ? $self->{holds}->{ $c->{hold} } : undef;
	my ($s, $e) = ($operation->{s}, $self->over($operation));
	my %accounts =
	  map  { ($_ => $self->{accounts}->{$_}) }
	  grep { $self->{accounts}->{$_} }
	  ($self->{model}->accounts($c), $hold ? $hold->{account} : ());
	my (%from, %to);

	# of several commands in one transaction each comes in its turn, on accounts that all hold
	foreach my $other (@{ $operation->{items} })
	{
		my $event = $other->{event};

		next unless $event;
		$s = max($s, $event->{rec}) if $other->{i} < $item->{i};
		$e = min($e, $event->{rec}) if $other->{i} > $item->{i};
		foreach my $side ([qw(aggregate version)], [qw(peer peer_version)])
		{
			my ($id, $version) = @$event{@$side};

			next unless defined $id && $accounts{$id};
			if ($other->{i} < $item->{i})
			{
				$from{$id} = $version;
			}
			else
			{
				# before what was recorded with it as expired
				my @expired = grep {
						 $_->{aggregate} eq $id
					  && $_->{version} < $version
					  && $_->{version} >
					  ($from{$id} // 0)
				} @{ $self->{round}->{expired}->{ $event->{xid} } // [] };

				$to{$id} //= min(map { $_->{version} } @expired, { version => $version }) - 1;
			}
		}
	}
	my ($true, @open) = $self->facts(
		$s, $e,
		(map { ($_ => $accounts{$_}) } keys %accounts),
		$hold ? (hold => $hold) : (),
		code  => defined $c->{code} ? $self->{codes}->{ $c->{code} } : undef,
		place => $c->{name} eq 'create_house_account'
		? $self->{places}->{"$c->{code}/$c->{currency}"}
		: undef);
	my @seen;

	foreach my $moment ($self->moments($s, $e, values %accounts))
	{
		foreach my $without (0 .. (1 << @open) - 1)
		{
			my %true = %$true;
			delete $true{ $open[$_] } foreach grep { $without & (1 << $_) } 0 .. $#open;
			my %view = (
				accounts => {},
				holds    => {},
				seen     => {},
				codes    => $true{code}  ? { $c->{code}                  => 1 } : {},
				places   => $true{place} ? { "$c->{code}/$c->{currency}" => 1 } : {});

			foreach my $id (grep { $true{$_} } keys %accounts)
			{
				my $state  = state_at($accounts{$id}, $moment);
				my $states = $accounts{$id}->{states};

				$state = $states->[ $from{$id} - 1 ]
				  if defined $from{$id} && (!$state || $state->{version} < $from{$id});
				$state = $to{$id} > 0 ? $states->[ $to{$id} - 1 ] : undef
				  if defined $to{$id} && $state && $state->{version} > $to{$id};
				$view{accounts}->{$id} = $state if $state;
			}
			if ($true{hold} && $view{accounts}->{ $hold->{account} })
			{
				my $then = hold_at($hold, $view{accounts}->{ $hold->{account} }->{version});
				$view{holds}->{ $hold->{id} } = $then if $then;
			}
			my $outcome = $self->{model}->decide($c, $moment, \%view);

			return $moment unless refusal_differs($got, $outcome);
			push @seen, described($outcome);
		}
	}
	return (undef, @seen);
}

# bank_post_transfers decides all orders on the accounts as it has locked them.
sub explain_orders
{
	my ($self, $operation) = @_;
	my @items    = @{ $operation->{items} };
	my @orders   = map { $_->{command} } @items;
	my $answered = $operation->{answer} && !$operation->{answer}->{error};

	return if $operation->{command}->{fault};
	return if $operation->{answer} && (!$answered || grep { !$_->{got} } @items);
	my ($s, $e) = ($operation->{s_last}, $self->over($operation));

	# events of an attempt whose answer was lost count as known keys in the one after it
	my %earlier =
	  map { ($_->{i} => 1) } grep { $answered && $_->{event} && $_->{got}->{replayed} } @items;
	my ($own) = map { $_->{event} } grep { $_->{event} && !$earlier{ $_->{i} } } @items;
	return if !$own && !$answered;
	my %accounts =
	  map { ($_ => $self->{accounts}->{$_}) }
	  grep { $self->{accounts}->{$_} } map { $self->{model}->accounts($_) } @orders;
	my @doubtful;
	my %known;

	foreach my $item (@items)
	{
		my $key   = $item->{command}->{key};
		my $first = defined $key ? $self->{keys}->{$key} : undef;

		next unless $first;
		if ($first->{item}->{operation} == $operation)
		{
			$known{$key} = $first if $earlier{ $first->{item}->{i} };
			next;
		}
		my @states = $self->key_states($item, $s, $e);
		$known{$key} = $first if grep { $_ } @states;
		push @doubtful, $key if @states > 1 && !grep { $_ eq $key } @doubtful;
	}
	my ($true, @open) = $self->facts($s, $e, %accounts);
	my @choices = (@doubtful, @open);
	splice(@choices, 8) if @choices > 8;
	my @moments = $own ? ($own->{rec}) : $self->moments($s, $e, values %accounts);
	my @wrong;

	$self->{explained}++;
	foreach my $moment (@moments)
	{
		foreach my $without (0 .. (1 << @choices) - 1)
		{
			my %left = %known;
			my %view = (accounts => {}, holds => {}, seen => {}, codes => {}, places => {});
			my %not  = map { ($choices[$_] => 1) } grep { $without & (1 << $_) } 0 .. $#choices;

			delete @left{ keys %not };
			foreach my $id (grep { $true->{$_} && !$not{$_} } keys %accounts)
			{
				my $state = ($own ? $self->{round}->{before}->{ $own->{xid} }->{$id} : undef)
				  // state_at($accounts{$id}, $moment);
				$view{accounts}->{$id} = $state if $state;
			}
			my @outcomes = $self->{model}->post(\@orders, $moment, \%view, \%left);
			my $wrong    = $self->orders_differ(\@items, \@outcomes, \%earlier);

			return unless $wrong;
			push @wrong, $wrong;
		}
	}
	$self->mismatch($operation, "post_transfers: $wrong[0]");
	return;
}

# Which order has another outcome? undef: none.
sub orders_differ
{
	my ($self, $items, $outcomes, $earlier) = @_;

	foreach my $i (0 .. $#$items)
	{
		my ($item, $outcome) = ($items->[$i], $outcomes->[$i]);
		my ($c,    $got)     = @$item{qw(command got)};
		my $name = "order $c->{tag}";

		if (!$got)
		{
			# the answer was lost: its events must be those of the accepted orders
			return "$name should be " . described($outcome)
			  if ($outcome->{ok} && !$outcome->{replayed} ? 1 : 0) != ($item->{event} ? 1 : 0);
			next;
		}
		if (!$outcome->{ok})
		{
			my $wrong = refusal_differs($got, $outcome);
			return "$name: $wrong" if $wrong;
			next;
		}
		return "$name: expected " . described($outcome) . ', got ' . described($got)
		  unless $got->{ok};
		return "$name: replayed is $got->{replayed}"
		  if $got->{replayed} != ($outcome->{replayed} // 0);
		next if $item->{event};
		my $first =
		  $outcome->{event} ? $outcome->{event} : $self->{keys}->{ $c->{key} }->{outcome}->{event};
		return "$name: replayed another event" if $first->{event_id} ne $got->{event_id};
	}
	return;
}

# When an operation took effect, for putting operations in order.
sub moment_of
{
	my ($self, $operation) = @_;
	my @moments = grep { defined }
	  map { $_->{event} ? $_->{event}->{rec} : $_->{moment} } @{ $operation->{items} // [] };

	return @moments ? $moments[0] : $operation->{e} // $operation->{s};
}

# ---------------------------------------------------------------------------------------------
# The ledger at rest

# What should be true of the past of an account at a moment: the columns of bank_balance_at.
sub balance_at
{
	my ($self, $id, $at, $as_recorded) = @_;
	my $account = $self->{accounts}->{$id};
	my $time    = $as_recorded ? 'rec' : 'business';
	my ($balance, $before, $held, $version, $gap) = (0, 0, 0, 0, 0);
	my $overdraft = 0;

	foreach my $state (@{ $account->{states} })
	{
		my $counts = !defined $state->{$time} || $state->{$time} <= $at;

		$balance += $state->{balance} - $before if $counts;
		$before = $state->{balance};
		$gap ||= !$counts;
		$version++ unless $gap;
	}
	foreach my $hold (@{ $account->{holds} // [] })
	{
		my ($since, $until) =
		  @$hold{ $as_recorded ? qw(rec resolved_rec) : qw(created_at resolved_at) };

		next if $since > $at || $hold->{expires_at} <= $at;
		next if defined $until && $hold->{status} ne 'EXPIRED' && $until <= $at;
		$held += $hold->{amount};
	}
	foreach my $limit (reverse @{ $account->{limits} })
	{
		next if $limit->[ $as_recorded ? 0 : 1 ] > $at;
		$overdraft = $limit->[2];
		last;
	}
	return join('|',
		map { figure($_, $account->{currency}) } $balance,
		$held, $balance - $held + $overdraft)
	  . "|$version";
}

# Rows of bank_accounts of customers at this time, as text, in the order of identifiers.
sub account_rows
{
	my ($self, $at) = @_;
	my @rows;

	foreach my $id (sort keys %{ $self->{accounts} })
	{
		my $account = $self->{accounts}->{$id};
		my $state   = $account->{states}->[-1];
		my $held    = $state->{held};

		$held -= $_->{amount} foreach grep { $_->{expires_at} <= $at } @{ $state->{open} };
		push @rows,
		  join(
			'|', $id,
			@$account{qw(number account_type currency)},
			$state->{status},
			(   map { figure($_, $account->{currency}) }
				  ($state->{balance}, $held, $state->{balance} - $held + $state->{overdraft})),
			$state->{version},
			figure($state->{overdraft}, $account->{currency}),
			defined $state->{ceiling} ? figure($state->{ceiling}, $account->{currency}) : '');
	}
	return @rows;
}

# The same of house accounts: their stripes added up.
sub house_rows
{
	my ($self) = @_;
	my %sums;

	foreach my $stripe (values %{ $self->{stripes} })
	{
		my $sum = $sums{ $stripe->{place} } //= [ 0, 0 ];

		$sum->[0] += $stripe->{balance};
		$sum->[1] += $stripe->{version};
	}
	return map { "$_|" . figure($sums{$_}->[0], s{.*/}{}r) . "|$sums{$_}->[1]" } sort keys %sums;
}

# Rows of bank_holds at this time.
sub hold_rows
{
	my ($self, $at) = @_;
	my @rows;

	foreach my $id (sort keys %{ $self->{holds} })
	{
		my $hold = $self->{holds}->{$id};
		my $status =
		  $hold->{status} eq 'OPEN' && $hold->{expires_at} <= $at ? 'EXPIRED' : $hold->{status};

		push @rows,
		  join('|',
			$id,
			$hold->{account},
			(map { figure($_, $hold->{currency}) } @$hold{qw(amount captured)}),
			$status,
			@$hold{qw(expires_at created_at)},
			$status eq 'OPEN' ? '' : $hold->{resolved_at} // $hold->{expires_at});
	}
	return @rows;
}

1;
