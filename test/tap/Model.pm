# Model.pm
#
# The ledger's rules in Perl, written from the documentation: what a command answers, and which
# event it makes, given the accounts as they are and the time. It keeps no history; see
# History.pm.
#
# A command is a hash: name, and what it is about. Accounts are named by identifiers; amounts are
# [minor units, currency]; times are microseconds since 1970, UTC.
#   create_account        id, type, currency, overdraft, ceiling
#   create_house_account  code, currency
#   deposit, withdraw     id, amount, code
#   transfer              id, to, amount
#   freeze, unfreeze, close  id
#   set_limits            id, overdraft, ceiling, remove_ceiling
#   hold                  id, amount, expires_in
#   capture               hold, amount (undef: all), to or code
#   release               hold
# Each may have expected, key, occurred, metadata. Commands of several of these
# (bank_post_transfers, bank_execute_batch) have items; an item of the first is a transfer, and
# may be linked.
#
# To add a command: its rule in %rules, what it needs in %required, what its key stands for in
# %request; its text in Commands.pm, and when to use it in Workload.pm. One that makes events of a
# new type has a line in History.pm's apply.
#
# What is known is a view: { accounts => { id => state }, holds => { id => hold } }, with states as
# History.pm keeps them. House accounts are without state here: nothing bounds them.

package Model;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(figure moment money refusal);

my %decimals     = (HTG => 2, USD => 2, JPY => 0);
my $day          = 86_400_000_000;
my $oldest       = -2_208_988_800_000_000;
my $longest_hold = 3653 * $day;
my $short_code   = qr/^[a-z][a-z0-9_]{0,31}$/;

my %messages = (
	BK001 => 'Account not found',
	BK002 => 'Account is not active',
	BK003 => 'Currency mismatch',
	BK004 => 'Insufficient balance',
	BK005 => 'Limit exceeded',
	BK006 => 'Concurrency conflict',
	BK007 => 'Idempotency key reused with a different request',
	BK008 => 'Invalid amount',
	BK009 => 'Invalid account type',
	BK011 => 'Account already exists',
	BK014 => 'Unknown currency',
	BK015 => 'Source and destination are the same account',
	BK016 => 'Invalid business date',
	BK017 => 'Invalid metadata',
	BK018 => 'Invalid idempotency key',
	BK019 => 'Invalid house account code',
	BK021 => 'Missing argument',
	BK023 => 'Linked order failed',
	BK024 => 'Invalid batch',
	BK025 => 'Invalid command');

# A refusal: its code, its detail, and its message where the code has several.
sub refusal
{
	my ($code, $detail, $message) = @_;

	return {
		ok      => 0,
		code    => $code,
		message => $message // $messages{$code},
		detail  => $detail  // '' };
}

# A figure in minor units as the ledger prints it.
sub figure
{
	my ($minor, $currency) = @_;
	my $digits = $decimals{$currency};
	my $text   = abs($minor);

	$text = '0' x ($digits + 1 - length($text)) . $text if length($text) <= $digits;
	substr($text, -$digits, 0, '.')                     if $digits > 0;
	return ($minor < 0 ? '-' : '') . $text;
}

# The same with its currency.
sub money
{
	my ($minor, $currency) = @_;
	return figure($minor, $currency) . " $currency";
}

# A moment as text.
sub moment
{
	my ($micro)  = @_;
	my $fraction = $micro % 1_000_000;
	my @t        = gmtime(($micro - $fraction) / 1_000_000);

	return sprintf(
		'%04d-%02d-%02d %02d:%02d:%02d.%06d+00',
		$t[5] + 1900,
		$t[4] + 1,
		@t[ 3, 2, 1, 0 ], $fraction);
}

# What a test of the tests may get wrong on purpose: each is a part of the rules.
my %parts = (

	# what can be spent
	available => sub { $_[0]->{balance} - $_[0]->{held} + $_[0]->{overdraft} },

	# what a capture takes off the money held: all of the hold, whatever part of it is moved
	freed => sub { my ($hold, $amount) = @_; return $hold->{amount} },

	# is a hold over?
	over => sub { my ($hold, $at) = @_; return $hold->{expires_at} <= $at },

	# does this status let money come?
	takes_money => sub { $_[0]->{status} eq 'ACTIVE' },

	# is a request another one than the first under its key?
	differs => sub { $_[0] ne $_[1] },

	# is this version the one expected?
	expected => sub { my ($version, $expected) = @_; return $version == $expected },

	# do orders fail with the others of their chain?
	together => sub { 1 });

# A model; parts that are given by name replace those above. houses: { id => [code, currency] }.
sub new
{
	my ($class, %options) = @_;
	return bless { %parts, houses => {}, codes => {}, %options }, $class;
}

# An account as a command at this time finds it: what is over holds nothing. undef: there is none.
# "seen" is its version before that is recorded.
sub find
{
	my ($self, $view, $id, $at) = @_;

	if (my $house = $self->{houses}->{$id})
	{
		return {
			id       => $id,
			house    => $house->[0],
			currency => $house->[1],
			status   => 'ACTIVE',
			place    => "$house->[0]/$house->[1]" };
	}
	my $state = $view->{accounts}->{$id};
	return unless $state;
	my %now = (%$state, seen => $view->{seen}->{$id} // $state->{version});
	foreach my $hold (@{ $state->{open} })
	{
		next unless $self->{over}->($hold, $at);
		$now{held} -= $hold->{amount};
		$now{version}++;
	}
	return \%now;
}

# The house account of a deposit, withdrawal or capture; a refusal when there is none of this code.
sub find_house
{
	my ($self, $view, $code, $currency) = @_;

	return refusal('BK001', "House account: $code")
	  unless $self->{codes}->{$code} || $view->{codes}->{$code};
	return {
		house    => $code,
		currency => $currency,
		status   => 'ACTIVE',
		place    => "$code/$currency" };
}

sub not_found
{
	my ($id) = @_;
	return refusal('BK001', "Account: $id");
}

sub check_active
{
	my ($account) = @_;

	return if $account->{status} eq 'ACTIVE';
	return refusal('BK002', "Status: $account->{status} (account $account->{id})");
}

sub check_customer
{
	my ($account) = @_;

	return unless $account->{house};
	return refusal('BK009', "House account $account->{house} takes movements only.");
}

sub check_version
{
	my ($self, $c, $account) = @_;

	return if !defined $c->{expected} || $self->{expected}->($account->{seen}, $c->{expected});
	return refusal('BK006', "Expected version: $c->{expected}, actual version: $account->{seen}");
}

# An event about one account.
sub event
{
	my ($type, $account, %more) = @_;
	return {
		ok        => 1,
		type      => $type,
		aggregate => $account->{id},
		place     => $account->{place},
		currency  => $account->{currency},
		balance   => $account->{balance},
		held      => $account->{held},
		version   => defined $account->{version} ? $account->{version} + 1 : undef,
		%more };
}

# Money from one account to another: the event, or why not. The aggregate is one of the two.
sub move
{
	my ($self, $type, $aggregate, $from, $to, $amount) = @_;
	my ($minor, $currency) = @$amount;
	my $peer = $aggregate == $from ? $to : $from;
	my $sign = $aggregate == $from ? -1  : 1;

	if (defined $from->{id} && defined $to->{id} && $from->{id} eq $to->{id})
	{
		return refusal('BK015', "Account: $from->{id}");
	}
	foreach my $account ($from, $to)
	{
		next if $account == $to && $self->{takes_money}->($account);
		my $error = check_active($account);
		return $error if $error;
	}
	return refusal('BK003',
			"The amount is in $currency, the source account in $from->{currency}, "
		  . "the destination account in $to->{currency}.")
	  if $currency ne $from->{currency} || $currency ne $to->{currency};
	return refusal('BK004', 'Available: ' . money($self->{available}->($from), $currency))
	  if !$from->{house} && $minor > $self->{available}->($from);
	return refusal('BK005',
			'Balance limit: '
		  . money($to->{ceiling}, $currency)
		  . ', balance: '
		  . money($to->{balance}, $currency))
	  if !$to->{house} && defined $to->{ceiling} && $to->{balance} + $minor > $to->{ceiling};
	return event(
		$type, $aggregate,
		amount       => $minor,
		balance      => $aggregate->{house} ? undef : $aggregate->{balance} + $sign * $minor,
		peer         => $peer->{id},
		peer_place   => $peer->{place},
		peer_version => $peer->{house} ? undef : $peer->{version} + 1,
		peer_balance => $peer->{house} ? undef : $peer->{balance} - $sign * $minor,
		peer_held    => $peer->{house} ? 0     : $peer->{held});
}

# The limits a command names must be in this currency.
sub check_limits
{
	my ($c, $currency) = @_;

	foreach my $limit (@$c{qw(overdraft ceiling)})
	{
		return refusal('BK003', "The limit is in $limit->[1], the account in $currency.")
		  if $limit && $limit->[1] ne $currency;
	}
	return;
}

sub zero
{
	my ($amount) = @_;
	return $amount->[0] > 0 ? undef : refusal('BK008', 'The amount must be greater than zero.');
}

# Can this hold be used now?
sub check_usable
{
	my ($self, $c, $hold, $at) = @_;
	my $business_at = $c->{occurred} // $at;

	return refusal('BK013', "Hold: $hold->{id}", 'Hold has expired')
	  if $hold->{status} eq 'EXPIRED' || ($hold->{status} eq 'OPEN' && $self->{over}->($hold, $at));
	return refusal('BK013', "Status: $hold->{status} (hold $hold->{id})",
		'Hold is already resolved')
	  if $hold->{status} ne 'OPEN';
	return refusal('BK016', 'occurred_at must not be before the hold, and before it expires.')
	  if $business_at < $hold->{created_at} || $business_at >= $hold->{expires_at};
	return;
}

sub no_hold
{
	my ($id) = @_;
	return refusal('BK013', "Hold: $id", 'Hold not found');
}

# Arguments that each command needs, by the names the ledger has for them.
my %required = (
	create_account       => [ [ type => 'account_type' ], [ currency => 'currency' ] ],
	create_house_account => [ [ code => 'code' ], [ currency => 'currency' ] ],
	deposit              => [ [ id => 'account_id' ], [ amount => 'amount' ] ],
	withdraw             => [ [ id => 'account_id' ], [ amount => 'amount' ] ],
	transfer   => [ [ id => 'from_account' ], [ to => 'to_account' ], [ amount => 'amount' ] ],
	freeze     => [ [ id   => 'account_id' ] ],
	unfreeze   => [ [ id   => 'account_id' ] ],
	close      => [ [ id   => 'account_id' ] ],
	set_limits => [ [ id   => 'account_id' ] ],
	hold       => [ [ id   => 'account_id' ], [ amount => 'amount' ] ],
	capture    => [ [ hold => 'hold_id' ] ],
	release    => [ [ hold => 'hold_id' ] ]);

# What is wrong with the arguments alone, whatever the ledger holds; undef: nothing. Commands have
# one such fault at most. "now" are the earliest and the latest time it may be.
sub check_arguments
{
	my ($self, $c, $now) = @_;

	# said by who made the command: what JSON or a type does not take
	return $c->{fault} if $c->{fault};
	foreach my $argument (@{ $required{ $c->{name} } })
	{
		next if defined $c->{ $argument->[0] };
		return { %{ refusal('BK025', 'This command needs it.') }, path => "/$argument->[1]" }
		  if $c->{json};
		return refusal('BK021', "$argument->[1] must not be null.");
	}
	return refusal('BK009', 'Customers\' accounts have type COURANT or EPARGNE.')
	  if $c->{name} eq 'create_account' && $c->{type} !~ /^(?:COURANT|EPARGNE)$/;
	return refusal('BK014', "\"$c->{currency}\" is not a currency of ISO 4217.")
	  if defined $c->{currency} && !defined $decimals{ $c->{currency} };
	return refusal('BK019',
			'A code is a lower-case letter followed by up to 31 lower-case letters, digits or '
		  . 'underscores.')
	  if defined $c->{code} && !defined $c->{to} && $c->{code} !~ $short_code;
	return refusal('BK008', 'balance_limit and remove_balance_limit exclude each other.')
	  if $c->{ceiling} && $c->{remove_ceiling};
	return refusal('BK018', 'An idempotency key has 1 to 255 bytes, not ' . length($c->{key}) . '.')
	  if defined $c->{key} && $c->{key} !~ /^.{1,255}$/;
	return refusal('BK016', 'occurred_at cannot be before 1900-01-01.')
	  if defined $c->{occurred} && $c->{occurred} < $oldest;
	return refusal('BK016', 'occurred_at cannot be more than one day in the future.')
	  if defined $c->{occurred} && $c->{occurred} > $now + $day;
	return refusal('BK017', 'Metadata must be a JSON object.')
	  if defined $c->{metadata} && $c->{metadata} !~ /^\{/;
	return refusal(
		'BK013',
		'expires_in must be greater than zero and at most ten years.',
		'Invalid expiry of a hold'
	) if defined $c->{expires_in} && ($c->{expires_in} <= 0 || $c->{expires_in} > $longest_hold);
	return check_limits($c, $c->{currency}) if $c->{name} eq 'create_account';
	return;
}

# What a key stands for, besides name, expected_version and occurred_at.
my %request = (
	create_account       => [qw(type currency id overdraft ceiling)],
	create_house_account => [qw(code currency)],
	deposit              => [qw(id amount code)],
	withdraw             => [qw(id amount code)],
	transfer             => [qw(id to amount)],
	freeze               => ['id'],
	unfreeze             => ['id'],
	close                => ['id'],
	set_limits           => [qw(id overdraft ceiling remove_ceiling)],
	hold                 => [qw(id amount expires_in)],
	capture              => [qw(hold amount to code)],
	release              => ['hold']);

sub request
{
	my ($c) = @_;
	return join('|',
		map { !defined $_ ? '' : ref($_) ? money(@$_) : $_ } $c->{name},
		@$c{ qw(expected occurred), @{ $request{ $c->{name} } } });
}

# The answer of a key that is known: the first outcome, or that this is another request.
sub replay
{
	my ($self, $c, $first) = @_;

	return refusal('BK007', "Idempotency key: $c->{key}")
	  if $self->{differs}->(request($c), $first->{request});
	return { %{ $first->{outcome} }, replayed => 1 };
}

# Customers' accounts a command is about, in any case; holds' accounts are those of their holds.
sub accounts
{
	my ($self, $c) = @_;
	return grep { defined $_ && !$self->{houses}->{$_} } @$c{qw(id to)};
}

# Which of two identifiers is missing? They are looked for in their order.
sub missing
{
	my ($view, $self, $at, @ids) = @_;

	foreach my $id (sort @ids)
	{
		return not_found($id) unless $self->find($view, $id, $at);
	}
	return;
}

# The rules, from the key on. Each returns an event or a refusal.
my %rules = (
	create_account => sub {
		my ($self, $c, $at, $view) = @_;

		return refusal('BK006', "Expected version: $c->{expected}, actual version: 0")
		  if ($c->{expected} // 0) != 0;
		return refusal('BK011', "Account: $c->{id}") if $view->{accounts}->{ $c->{id} };
		return event(
			'account.created',
			{ id => $c->{id}, version => 0, balance => 0, held => 0, currency => $c->{currency} },
			account_type => $c->{type},
			overdraft    => $c->{overdraft} ? $c->{overdraft}->[0] : 0,
			ceiling      => $c->{ceiling}   ? $c->{ceiling}->[0]   : undef);
	},
	create_house_account => sub {
		my ($self, $c, $at, $view) = @_;

		return refusal('BK006', "Expected version: $c->{expected}, actual version: 0")
		  if ($c->{expected} // 0) != 0;
		return refusal('BK011', "House account: $c->{code} in $c->{currency}")
		  if $view->{places}->{"$c->{code}/$c->{currency}"};
		return event('account.created',
			{ place => "$c->{code}/$c->{currency}", version => 0, currency => $c->{currency} });
	},
	transfer => sub {
		my ($self, $c, $at, $view) = @_;
		my $error = zero($c->{amount}) // missing($view, $self, $at, @$c{qw(id to)});

		return $error if $error;
		my ($from, $to) = map { $self->find($view, $_, $at) } @$c{qw(id to)};
		return refusal('BK009',
				"House account $from->{house} has no version to expect: "
			  . 'each of its stripes has its own.')
		  if $from->{house} && defined $c->{expected};
		return $self->check_version($c, $from)
		  // $self->move('transfer.completed', $from, $from, $to, $c->{amount});
	},
	set_limits => sub {
		my ($self, $c, $at, $view) = @_;
		my $account = $self->find($view, $c->{id}, $at)  // return not_found($c->{id});
		my $error   = $self->check_version($c, $account) // check_limits($c, $account->{currency})
		  // check_customer($account) // check_active($account);

		return $error if $error;
		my $overdraft = $c->{overdraft} ? $c->{overdraft}->[0] : $account->{overdraft};
		my $ceiling =
			$c->{remove_ceiling} ? undef
		  : $c->{ceiling}        ? $c->{ceiling}->[0]
		  :                        $account->{ceiling};
		return refusal('BK005',
				'Balance: '
			  . money($account->{balance}, $account->{currency})
			  . ', held: '
			  . money($account->{held}, $account->{currency})
			  . '; the new limits would not allow it.')
		  if $account->{balance} - $account->{held} < -$overdraft
		  || (defined $ceiling && $account->{balance} > $ceiling);
		return event(
			'account.limits_changed', $account,
			overdraft => $overdraft,
			ceiling   => $ceiling);
	},
	hold => sub {
		my ($self, $c, $at, $view) = @_;
		my $zero = zero($c->{amount});
		return $zero if $zero;
		my $account = $self->find($view, $c->{id}, $at)  // return not_found($c->{id});
		my $error   = $self->check_version($c, $account) // check_customer($account)
		  // check_active($account);

		return $error if $error;
		my ($minor, $currency) = @{ $c->{amount} };
		return refusal('BK003', "The amount is in $currency, the account in $account->{currency}.")
		  if $currency ne $account->{currency};
		return refusal('BK004', 'Available: ' . money($self->{available}->($account), $currency))
		  if $minor > $self->{available}->($account);
		return refusal('BK016', 'occurred_at must be before the hold expires.')
		  if ($c->{occurred} // $at) >= $at + $c->{expires_in};
		return event(
			'hold.created', $account,
			amount     => $minor,
			held       => $account->{held} + $minor,
			expires_at => $at + $c->{expires_in});
	},
	capture => sub {
		my ($self, $c, $at, $view) = @_;
		my $zero = $c->{amount} ? zero($c->{amount}) : undef;
		my $hold = $view->{holds}->{ $c->{hold} };

		return $zero if $zero;
		return no_hold($c->{hold}) unless $hold;
		my $missing =
		  defined $c->{to} ? missing($view, $self, $at, $hold->{account}, $c->{to}) : undef;
		return $missing if $missing;
		my $account = $self->find($view, $hold->{account}, $at);
		my $to =
		  defined $c->{to}
		  ? $self->find($view, $c->{to}, $at)
		  : $self->find_house($view, $c->{code}, $hold->{currency});
		return $to if defined $to->{ok};
		my $error = $self->check_version($c, $account) // $self->check_usable($c, $hold, $at);
		return $error if $error;
		my $amount = $c->{amount} // [ @$hold{qw(amount currency)} ];
		return refusal('BK003', "The amount is in $amount->[1], the hold in $hold->{currency}.")
		  if $amount->[1] ne $hold->{currency};
		return refusal('BK005', 'Held: ' . money(@$hold{qw(amount currency)}))
		  if $amount->[0] > $hold->{amount};
		my $freed = { %$account, held => $account->{held} - $self->{freed}->($hold, $amount->[0]) };
		my $outcome = $self->move('hold.captured', $freed, $freed, $to, $amount);
		$outcome->{hold} = $hold->{id} if $outcome->{ok};
		return $outcome;
	},
	release => sub {
		my ($self, $c, $at, $view) = @_;
		my $hold    = $view->{holds}->{ $c->{hold} } // return no_hold($c->{hold});
		my $account = $self->find($view, $hold->{account}, $at);
		my $error   = $self->check_version($c, $account) // $self->check_usable($c, $hold, $at);

		return $error if $error;
		return event(
			'hold.released', $account,
			hold   => $hold->{id},
			amount => $hold->{amount},
			held   => $account->{held} - $hold->{amount});
	});

foreach my $way ('deposit', 'withdraw')
{
	$rules{$way} = sub {
		my ($self, $c, $at, $view) = @_;
		my $zero = zero($c->{amount});
		return $zero if $zero;
		my $account = $self->find($view, $c->{id}, $at) // return not_found($c->{id});

		return refusal('BK009', "House account $account->{house} cannot be the customer's side.")
		  if $account->{house};
		return refusal('BK003',
			"The amount is in $c->{amount}->[1], the account in $account->{currency}.")
		  if $c->{amount}->[1] ne $account->{currency};
		my $house = $self->find_house($view, $c->{code}, $account->{currency});
		return $house if defined $house->{ok};
		return $self->check_version($c, $account) // $self->move(
			$way eq 'deposit' ? 'money.deposited' : 'money.withdrawn', $account,
			$way eq 'deposit' ? ($house, $account) : ($account, $house), $c->{amount});
	};
}

my %changes = (
	freeze   => [ 'account.frozen',   'ACTIVE' ],
	unfreeze => [ 'account.unfrozen', 'FROZEN' ],
	close    => [ 'account.closed',   'ACTIVE' ]);

foreach my $name (keys %changes)
{
	my ($type, $before) = @{ $changes{$name} };

	$rules{$name} = sub {
		my ($self, $c, $at, $view) = @_;
		my $account = $self->find($view, $c->{id}, $at)  // return not_found($c->{id});
		my $error   = $self->check_version($c, $account) // check_customer($account);

		return $error                                            if $error;
		return refusal('BK010', '', 'Account is already closed') if $account->{status} eq 'CLOSED';
		if ($account->{status} ne $before)
		{
			return check_active($account) if $name eq 'close';
			return refusal('BK010', '', 'Account is already frozen') if $name eq 'freeze';
			return refusal('BK010', "Status: $account->{status}", 'Account is not frozen');
		}
		return refusal(
			'BK010',
			'Balance: '
			  . money($account->{balance}, $account->{currency})
			  . ', held: '
			  . money($account->{held}, $account->{currency}),
			'Account is not empty'
		) if $name eq 'close' && ($account->{balance} != 0 || $account->{held} != 0);
		return event($type, $account);
	};
}

# What a command does at this time, its arguments and its key apart.
sub decide
{
	my ($self, $c, $at, $view) = @_;
	return $rules{ $c->{name} }->($self, $c, $at, $view);
}

# The state of an account after an event of this outcome.
sub moved
{
	my ($state, $outcome, $as_peer) = @_;
	my ($balance, $version) = $as_peer ? qw(peer_balance peer_version) : qw(balance version);

	return { %$state, balance => $outcome->{$balance}, version => $outcome->{$version} };
}

# What orders of bank_post_transfers come to: one outcome each. "known" are the keys that have an
# outcome by then, key => { request, outcome }. Changes the accounts of the view.
sub post
{
	my ($self, $orders, $at, $view, $known) = @_;
	my %keys = %$known;
	my @outcomes;
	my $first = 0;

	# what is over is recorded before the first order
	foreach my $id (keys %{ $view->{accounts} })
	{
		$view->{accounts}->{$id} = { %{ $self->find($view, $id, $at) }, open => [] };
		delete $view->{accounts}->{$id}->{seen};
	}
	while ($first < @$orders)
	{
		my $last = $first;
		$last++ while $orders->[$last]->{linked};
		my %accounts = %{ $view->{accounts} };
		my %before   = %keys;
		my $failed;

		foreach my $i ($first .. $last)
		{
			my $c       = $orders->[$i];
			my $outcome = $self->check_arguments($c, $at);

			$outcome //= $self->replay($c, $keys{ $c->{key} })
			  if defined $c->{key} && $keys{ $c->{key} };
			$outcome //= $self->decide($c, $at, $view);
			$outcomes[$i] = $outcome;
			if (!$outcome->{ok})
			{
				$failed = $i;
				last if $self->{together}->();
				next;
			}
			next if $outcome->{replayed};
			foreach my $side ([ $outcome->{aggregate}, 0 ], [ $outcome->{peer}, 1 ])
			{
				my $state = $view->{accounts}->{ $side->[0] } or next;
				$view->{accounts}->{ $side->[0] } = moved($state, $outcome, $side->[1]);
			}
			$keys{ $c->{key} } = { request => request($c), outcome => $outcome }
			  if defined $c->{key};
		}
		if (defined $failed && $first < $last && $self->{together}->())
		{
			my $why = $outcomes[$failed];

			$view->{accounts} = \%accounts;
			%keys = %before;
			foreach my $i (grep { $_ != $failed } $first .. $last)
			{
				$outcomes[$i] =
				  refusal('BK023',
					'Order ' . ($failed + 1) . " failed: $why->{code} $why->{message}");
			}
		}
		$first = $last + 1;
	}
	return @outcomes;
}

1;
