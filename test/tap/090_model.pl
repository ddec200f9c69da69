# A long random history against a model of its own.
#
# A second ledger, written in Perl from the documentation alone, predicts of every command its
# SQLSTATE or its result, position and account number included; then every balance of the past, every
# page of movements and every statement. One session, a fixed history for each seed:
#   BANKING_TEST_SEED      which history (default 1)
#   BANKING_TEST_COMMANDS  how long (default 4000)
# The history is left as SQL beside the logs of the test, to be run again by hand.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use Ledger;
use Math::BigInt;
use POSIX qw(floor strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storable qw(dclone);
use Test::More;

my $seed = $ENV{BANKING_TEST_SEED} // 1;
my $commands = $ENV{BANKING_TEST_COMMANDS} // 4000;
my $owner = '00000000-0000-4000-8000-000000000001';
my $max = Math::BigInt->new('9223372036854775807');
my %decimals = (HTG => 2, USD => 2, JPY => 0, KWD => 3);

srand($seed);

# ---------------------------------------------------------------------------------------------
# The model. %$ledger and @events are what a rollback takes back; the sequences are not.

my $ledger = {
	accounts => {},    # id => account; "code/currency" => house account, "code/currency#n" => its stripe
	codes => { map { $_ => 1 } qw(cash external fees interest exchange suspense) },
	keys => {},        # key => { request, row, flag }
};
my @events;
my $position = 0;
my $serial = 0;

# A refusal.
sub refuse
{
	die { code => $_[0] };
}

# A figure in minor units as the ledger prints it.
sub figure
{
	my ($minor, $currency) = @_;
	my $digits = $decimals{$currency};
	my $text = $minor->copy->babs->bstr;

	$text = '0' x ($digits + 1 - length($text)) . $text if length($text) <= $digits;
	substr($text, -$digits, 0, '.') if $digits > 0;
	return ($minor->is_neg ? '-' : '') . $text;
}

sub balance
{
	my ($account) = @_;
	return $account->{credits} - $account->{debits};
}

# What can be spent; a sum beyond the largest figure counts as the largest.
sub available
{
	my ($account) = @_;
	my $available = balance($account) + $account->{overdraft};

	return $available > $max ? $max : $available;
}

# ISO 7064 MOD 97-10: the number with its two check digits leaves 1.
sub account_number
{
	my ($n) = @_;
	return sprintf('%010d%02d', $n, 98 - ($n * 100) % 97);
}

sub check_options
{
	my ($c) = @_;

	refuse('BK018') if defined $c->{key} && (length($c->{key}) < 1 || length($c->{key}) > 255);
	refuse('BK016') if $c->{bad_date};
	refuse('BK017') if $c->{bad_metadata};
	return;
}

# The first outcome of a key, if it has one.
sub replay
{
	my ($c, @request) = @_;

	return unless defined $c->{key};
	my $request = join('|', map { $_ // 'null' } $c->{name}, $c->{expected}, $c->{occurred}, @request);
	my $first = $ledger->{keys}->{ $c->{key} };
	$c->{request} = $request;
	return unless $first;
	refuse('BK007') if $first->{request} ne $request;
	my @row = @{ $first->{row} };
	$row[ $first->{flag} ] = 't' if defined $first->{flag};
	die { code => '00000', row => \@row };
}

# Append an event; sides are [account, what it adds to the balance or undef].
sub append
{
	my ($c, $type, @sides) = @_;
	my @seen;

	$position++;
	foreach my $side (@sides)
	{
		my ($account, $delta) = @$side;

		$account->{version}++;
		$account->{ $delta->is_pos ? 'credits' : 'debits' } += abs($delta) if defined $delta;
		push @seen, [ $account->{id}, $account->{version}, $delta, balance($account) ];
	}
	push @events, { position => $position, type => $type, occurred => $c->{occurred}, sides => \@seen };
	return;
}

# What a command on an account returns; remembers it under the key.
sub receipt
{
	my ($c, $type, $account, $minor) = @_;
	my @row = (
		$account->{house} ? 'house'                              : $account->{id}, $type,
		defined $minor    ? figure($minor, $account->{currency}) : '', $account->{currency},
		figure(balance($account), $account->{currency}), $account->{version},
		$position, 'f');

	$ledger->{keys}->{ $c->{key} } = { request => $c->{request}, row => [@row], flag => $#row }
	  if defined $c->{key};
	return \@row;
}

# An account by what the command names: an identifier, "code/currency" for a house account's, or
# undef for null. A house account that is not there yet cannot be named.
sub find
{
	my ($id) = @_;
	my $account = $ledger->{accounts}->{ $id // '' };

	refuse('BK021') if !defined $id || ($id =~ m{/} && !$account);
	return $account;
}

# The stripes of a house account, in the order of their opening; none: it is not there.
sub stripes
{
	my ($id) = @_;
	return map { $ledger->{accounts}->{$_} } @{ ($ledger->{accounts}->{$id} // {})->{stripes} // [] };
}

# The stripe of a house account that a movement uses: the one that is not full. Where there is none,
# a new one, opened by open_stripe once all is decided.
sub stripe
{
	my ($code, $currency) = @_;
	my @stripes = stripes("$code/$currency");
	my $half = $max / 2;

	refuse('BK001') unless $ledger->{codes}->{$code};
	foreach my $stripe (@stripes)
	{
		return $stripe if $stripe->{credits} <= $half && $stripe->{debits} <= $half;
	}
	return new_account(
		"$code/$currency#" . @stripes,
		$currency,
		house => $code,
		of => "$code/$currency");
}

sub open_stripe
{
	my ($stripe, $c) = @_;

	return if !$stripe->{house} || $stripe->{version} > 0;
	my $house = $ledger->{accounts}->{ $stripe->{of} } //=
	  { id => $stripe->{of}, house => $stripe->{house}, currency => $stripe->{currency}, stripes => [] };
	push @{ $house->{stripes} }, $stripe->{id};
	$ledger->{accounts}->{ $stripe->{id} } = $stripe;
	append($c // {}, 'account.created', [$stripe]);
	return;
}

sub new_account
{
	my ($id, $currency, %more) = @_;
	return {
		id => $id,
		currency => $currency,
		status => 'ACTIVE',
		version => 0,
		credits => Math::BigInt->new(0),
		debits => Math::BigInt->new(0),
		overdraft => Math::BigInt->new(0),
		ceiling => undef,
		%more
	};
}

# The row of view bank_accounts, without the identifier of house accounts; these are added up.
sub account_row
{
	my ($account) = @_;
	my $currency = $account->{currency};

	if ($account->{stripes})
	{
		my $sum = new_account($account->{id}, $currency, house => $account->{house});

		foreach my $stripe (stripes($account->{id}))
		{
			$sum->{$_} += $stripe->{$_} foreach qw(credits debits version);
		}
		$account = $sum;
	}
	return [
		'house', '', '', 'HOUSE', $currency, 'ACTIVE',
		figure(balance($account), $currency),
		figure(Math::BigInt->new(0), $currency),
		'', $account->{version}, '', '', $account->{house}
	  ]
	  if $account->{house};
	return [
		$account->{id},
		$account->{number},
		$owner,
		$account->{type},
		$currency,
		$account->{status},
		figure(balance($account), $currency),
		figure(Math::BigInt->new(0), $currency),
		figure(available_unbounded($account), $currency),
		$account->{version},
		figure($account->{overdraft}, $currency),
		defined $account->{ceiling} ? figure($account->{ceiling}, $currency) : '',
		''
	];
}

# In the view nothing bounds the sum.
sub available_unbounded
{
	my ($account) = @_;
	return balance($account) + $account->{overdraft};
}

# Do two accounts and an amount allow this movement?
sub check_movement
{
	my ($from, $to, $amount) = @_;

	refuse('BK015') if $from->{id} eq $to->{id};
	refuse('BK002') if $from->{status} ne 'ACTIVE' || $to->{status} ne 'ACTIVE';
	refuse('BK003')
	  if $amount->{currency} ne $from->{currency} || $amount->{currency} ne $to->{currency};
	refuse('BK004') if !$from->{house} && $amount->{minor} > available($from);
	refuse('BK005')
	  if $from->{debits} + $amount->{minor} > $max || $to->{credits} + $amount->{minor} > $max;
	refuse('BK005')
	  if !$to->{house} && defined $to->{ceiling} && balance($to) + $amount->{minor} > $to->{ceiling};
	return;
}

sub check_version
{
	my ($c, $version) = @_;

	refuse('BK006') if defined $c->{expected} && $c->{expected} != $version;
	return;
}

sub limits_of
{
	my ($c, $currency, $account) = @_;

	foreach my $limit ('overdraft', 'ceiling')
	{
		refuse('BK003') if $c->{$limit} && $c->{$limit}->{currency} ne $currency;
	}
	return ($c->{overdraft} ? $c->{overdraft}->{minor} : $account->{overdraft},
		$c->{ceiling} ? $c->{ceiling}->{minor} : $c->{remove_ceiling} ? undef : $account->{ceiling});
}

my %rules = (
	create_account => sub {
		my ($c) = @_;

		refuse('BK021') if !defined $c->{type} || !defined $c->{currency};
		refuse('BK009') unless $c->{type} =~ /^(?:COURANT|EPARGNE)$/;
		refuse('BK014') unless exists $decimals{ $c->{currency} };
		check_options($c);
		my $account = new_account($c->{id}, $c->{currency}, type => $c->{type});
		($account->{overdraft}, $account->{ceiling}) = limits_of($c, $c->{currency}, $account);
		replay(
			$c,
			@$c{qw(type currency id)},
			map { $c->{$_} ? $c->{$_}->{sql} : undef } qw(overdraft ceiling));
		check_version($c, 0);
		refuse('BK011') if $ledger->{accounts}->{ $c->{id} };
		$account->{number} = account_number(++$serial);
		$ledger->{accounts}->{ $c->{id} } = $account;
		append($c, 'account.created', [$account]);
		$ledger->{keys}->{ $c->{key} } = { request => $c->{request}, row => account_row($account) }
		  if defined $c->{key};
		return account_row($account);
	},
	create_house_account => sub {
		my ($c) = @_;

		refuse('BK014') unless exists $decimals{ $c->{currency} };
		refuse('BK019') unless $c->{code} =~ /^[a-z][a-z0-9_]{0,31}$/;
		check_options($c);
		replay($c, @$c{qw(code currency)});
		check_version($c, 0);
		refuse('BK011') if $ledger->{accounts}->{"$c->{code}/$c->{currency}"};
		$ledger->{codes}->{ $c->{code} } = 1;
		my $account = stripe($c->{code}, $c->{currency});
		open_stripe($account, $c);
		$ledger->{keys}->{ $c->{key} } = { request => $c->{request}, row => account_row($account) }
		  if defined $c->{key};
		return account_row($account);
	},
	transfer => sub {
		my ($c) = @_;

		# an identifier that is not to be found is null when it is that of a house account
		find($_) foreach grep { !defined $_ || m{/} } @$c{qw(id to)};
		refuse('BK021') if $c->{amount}->{null};
		check_options($c);
		replay($c, @$c{qw(id to)}, $c->{amount}->{sql});
		refuse('BK008') if $c->{amount}->{minor} == 0;
		my ($from, $to) = map { find($_) } @$c{qw(id to)};
		refuse('BK001') unless $from && $to;
		refuse('BK009') if $from->{house} && defined $c->{expected};
		($from, $to) = map { $_->{house} ? stripe($_->{house}, $_->{currency}) : $_ } ($from, $to);
		check_version($c, $from->{version});
		check_movement($from, $to, $c->{amount});
		open_stripe($_) foreach ($from, $to);
		append($c, 'transfer.completed', [ $from, -$c->{amount}->{minor} ], [ $to, $c->{amount}->{minor} ]);
		return receipt($c, 'transfer.completed', $from, $c->{amount}->{minor});
	},
	set_limits => sub {
		my ($c) = @_;
		my $account = find($c->{id});

		refuse('BK008') if $c->{ceiling} && $c->{remove_ceiling};
		check_options($c);
		replay($c, $c->{id}, $c->{remove_ceiling},
			map { $c->{$_} ? $c->{$_}->{sql} : undef } qw(overdraft ceiling));
		refuse('BK001') unless $account;
		check_version($c, $account->{version});
		my ($overdraft, $ceiling) = limits_of($c, $account->{currency}, $account);
		refuse('BK009') if $account->{house};
		refuse('BK002') if $account->{status} ne 'ACTIVE';
		refuse('BK005')
		  if balance($account) < -$overdraft || (defined $ceiling && balance($account) > $ceiling);
		@$account{qw(overdraft ceiling)} = ($overdraft, $ceiling);
		append($c, 'account.limits_changed', [$account]);
		return receipt($c, 'account.limits_changed', $account);
	});

foreach my $way ('deposit', 'withdraw')
{
	my $type = $way eq 'deposit' ? 'money.deposited' : 'money.withdrawn';

	$rules{$way} = sub {
		my ($c) = @_;
		my $account = find($c->{id});

		refuse('BK021') if $c->{amount}->{null} || !defined $c->{code};
		check_options($c);
		refuse('BK019') unless $c->{code} =~ /^[a-z][a-z0-9_]{0,31}$/;
		replay($c, $c->{id}, $c->{amount}->{sql}, $c->{code});
		refuse('BK008') if $c->{amount}->{minor} == 0;
		refuse('BK001') unless $account;
		refuse('BK009') if $account->{house};
		refuse('BK003') if $account->{currency} ne $c->{amount}->{currency};
		my $house = stripe($c->{code}, $account->{currency});
		check_version($c, $account->{version});
		my $minor = $c->{amount}->{minor};
		check_movement($way eq 'deposit' ? ($house, $account) : ($account, $house), $c->{amount});
		open_stripe($house);
		append($c, $type,
			map { $way eq 'deposit' ? $_ : [ $_->[0], -$_->[1] ] }
			  ([ $account, $minor ], [ $house, -$minor ]));
		return receipt($c, $type, $account, $minor);
	};
}

my %changes = (
	freeze => [ 'account.frozen', 'ACTIVE', 'FROZEN' ],
	unfreeze => [ 'account.unfrozen', 'FROZEN', 'ACTIVE' ],
	close => [ 'account.closed', 'ACTIVE', 'CLOSED' ]);

foreach my $name (keys %changes)
{
	my ($type, $before, $after) = @{ $changes{$name} };

	$rules{$name} = sub {
		my ($c) = @_;
		my $account = find($c->{id});

		check_options($c);
		replay($c, $c->{id});
		refuse('BK001') unless $account;
		refuse('BK009') if $account->{house};
		check_version($c, $account->{version});
		refuse('BK010') if $account->{status} eq 'CLOSED';
		refuse($name eq 'close' ? 'BK002' : 'BK010') if $account->{status} ne $before;
		refuse('BK010') if $name eq 'close' && balance($account) != 0;
		$account->{status} = $after;
		append($c, $type, [$account]);
		return receipt($c, $type, $account);
	};
}

# What a command will answer: SQLSTATE and the row.
sub predict
{
	my ($c) = @_;

	return ($c->{syntax}, undef) if $c->{syntax};
	my $row = eval { $rules{ $c->{name} }->($c) };
	return ('00000', $row) if $row;
	die $@ unless ref($@) eq 'HASH';
	return ($@->{code}, $@->{row});
}

# ---------------------------------------------------------------------------------------------
# The history.

my $script = "\\set ON_ERROR_STOP 0\n";
my @expected;    # [SQL, SQLSTATE, what is printed]

sub chance
{
	my ($percent) = @_;
	return rand(100) < $percent;
}

sub pick
{
	return $_[ int(rand(@_)) ];
}

sub quote
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

# A moment as text, from microseconds since 1970.
sub moment
{
	my ($micro) = @_;
	my $second = floor($micro / 1_000_000);

	return strftime('%Y-%m-%d %H:%M:%S', gmtime($second)) . sprintf('.%06d+00', $micro - $second * 1_000_000);
}

# Money: mostly sound, of the currency given.
sub random_money
{
	my ($currency) = @_;
	my $kind = rand(100);

	$currency = pick(sort keys %decimals) if $kind < 3;
	return { sql => 'NULL', null => 1 } if $kind >= 3 && $kind < 4;
	return { sql => pick("'-1 HTG'", "'1.001 HTG'", "'1e3 HTG'", "'NaN HTG'"), error => 'BK008' }
	  if $kind >= 4 && $kind < 5;
	return { sql => "'1 ABC'", error => 'BK014' } if $kind >= 5 && $kind < 5.5;
	return { sql => "'much'", error => '22P02' } if $kind >= 5.5 && $kind < 6;
	my $minor =
		$kind < 8  ? Math::BigInt->new(0)
	  : $kind < 11 ? $max->copy->bdiv(1 + int(rand(4)))->copy
	  : $kind < 30 ? Math::BigInt->new(int(rand(10)) + 1)
	  :              Math::BigInt->new(int(rand(100_000)) + 1);
	$minor = Math::BigInt->new("$minor");
	return { sql => "'" . figure($minor, $currency) . " $currency'", minor => $minor, currency => $currency };
}

sub random_id
{
	return account_id(1 + int(rand(40)));
}

# An account for a command: mostly one that is there, has this status, and this currency if one is given.
sub random_account
{
	my ($status, $currency) = @_;
	my $kind = rand(100);

	return undef if $kind < 1;
	return account_id(900 + int(rand(5))) if $kind < 3;
	return pick(qw(cash vault fees)) . '/' . pick(sort keys %decimals) if $kind < 8;
	my @ids = grep { !m{/} } sort keys %{ $ledger->{accounts} };
	my @fit = grep {
		my $account = $ledger->{accounts}->{$_};
		$account->{status} eq $status && (!defined $currency || $account->{currency} eq $currency)
	} @ids;
	return pick(@fit) if @fit && $kind < 93;
	return @ids ? pick(@ids) : random_id();
}

# The SQL that names it.
sub id_sql
{
	my ($id) = @_;

	return 'NULL' unless defined $id;
	return "'$id'" unless $id =~ m{(.*)/(.*)};
	return "(SELECT account_id FROM bank_accounts WHERE house_account = '$1' AND currency = '$2')";
}

# Midnights of the zone that the queries below use.
my @days = map { 1_599_973_200_000_000 + $_ * 86_400_000_000 } 0 .. 29;
my $now = time() * 1_000_000;

# The options of a command; returns them as SQL too.
sub random_options
{
	my ($c, $account) = @_;
	my @sql;

	if (chance(15))
	{
		$c->{expected} =
			chance(25)                     ? int(rand(30))
		  : $account && !$account->{house} ? $account->{version}
		  :                                  0;
		push @sql, "expected_version => $c->{expected}";
	}
	if (chance(30))
	{
		$c->{key} = chance(3) ? pick('', 'k' x 256) : chance(5) ? 'k' x 255 : 'key ' . int(rand(1_000_000));
		push @sql, 'idempotency_key => ' . quote($c->{key});
	}

	# Every other account is one of imports: its movements come nearly in order, some by an instant
	# too late.
	my @imports = grep { defined $_ && /[13579]$/ } @$c{qw(id to)};
	if (chance(@imports ? 98 : 35))
	{
		if (chance(3))
		{
			$c->{bad_date} = 1;
			push @sql,
			  'occurred_at => '
			  . pick("'1899-12-31 23:59:59.999999+00'",
				"'infinity'", "'-infinity'", quote(moment($now + 90_000_000_000)));
		}
		else
		{
			$c->{occurred} =
				@imports && chance(98)
			  ? $days[ (@expected / 140) % @days ] + int(@expected % 140 / 20) + int(rand(5)) - 2
			  : chance(5)  ? $now + 36_000_000_000
			  : chance(40) ? pick(@days) + int(rand(3))
			  :              pick(@days) + int(rand(86_400_000_000));
			push @sql, 'occurred_at => ' . quote(moment($c->{occurred}));
		}
	}
	if (chance(10))
	{
		$c->{bad_metadata} = chance(15);
		push @sql,
		  'metadata => '
		  . (
			$c->{bad_metadata}
			? pick("'[1]'", "'null'", "'\"text\"'", "jsonb_build_object('a', repeat('x', 70000))")
			: "'{\"n\": " . int(rand(100)) . "}'");
	}
	return @sql;
}

# How many mistakes there are in the arguments themselves, whatever the ledger holds.
sub faults
{
	my ($c) = @_;
	my $amount = $c->{amount};
	my $faults = grep { $_ } $c->{syntax}, $c->{bad_date}, $c->{bad_metadata},
	  defined $c->{key} && $c->{key} !~ /^.{1,255}$/, $c->{ceiling} && $c->{remove_ceiling},
	  $amount && ($amount->{null} || (defined $amount->{minor} && $amount->{minor} == 0));

	if ($c->{name} =~ /^(?:deposit|withdraw|create_house_account)$/)
	{
		$faults++ unless defined $c->{code} && $c->{code} =~ /^[a-z][a-z0-9_]{0,31}$/;
	}
	if ($c->{name} =~ /^create/)
	{
		$faults++ unless exists $decimals{ $c->{currency} // '' };
		$faults++ unless $c->{name} ne 'create_account' || ($c->{type} // '') =~ /^(?:COURANT|EPARGNE)$/;
		$faults += grep { $_ && ($_->{currency} // '') ne ($c->{currency} // '') } @$c{qw(overdraft ceiling)};
	}
	else
	{
		$faults += grep { !defined $c->{$_} || ($c->{$_} =~ m{/} && !$ledger->{accounts}->{ $c->{$_} }) }
		  ('id', $c->{name} eq 'transfer' ? 'to' : ());
	}
	return $faults;
}

# One random command.
sub random_command
{
	my $name = pick(
		('deposit') x 25,
		('withdraw') x 20,
		('transfer') x 30,
		('create_account') x 4,
		'create_house_account',
		('freeze') x 3,
		('unfreeze') x 5,
		'close',
		('set_limits') x 5);
	my $c = { name => $name };
	my @arguments;

	if ($name eq 'create_account')
	{
		$c->{id} = random_id();
		$c->{type} = chance(4) ? pick('HOUSE', 'courant', undef) : pick('COURANT', 'EPARGNE');
		$c->{currency} = chance(4) ? pick('htg', 'XYZ', '', undef) : pick('HTG', 'HTG', sort keys %decimals);
		@arguments = (quote($owner), quote($c->{type}), quote($c->{currency}), "account_id => '$c->{id}'");
		push @arguments, random_options($c);
	}
	elsif ($name eq 'create_house_account')
	{
		$c->{code} = chance(10) ? pick('Vault', '', '9', 'x' x 33) : pick('vault', 'till_1', 'cash', 'fees');
		$c->{currency} = chance(5) ? 'XYZ' : pick(sort keys %decimals);
		@arguments = (quote($c->{code}), quote($c->{currency}), random_options($c));
	}
	else
	{
		$c->{id} = random_account($name eq 'unfreeze' ? 'FROZEN' : 'ACTIVE');
		@arguments = (id_sql($c->{id}));
	}
	my $account = defined $c->{id} ? $ledger->{accounts}->{ $c->{id} } : undef;
	my $currency = $account ? $account->{currency} : 'HTG';

	if ($name eq 'transfer')
	{
		$c->{to} = chance(3) ? $c->{id} : random_account('ACTIVE', $currency);
		push @arguments, id_sql($c->{to});
	}
	if ($name =~ /^(?:deposit|withdraw|transfer)$/)
	{
		$c->{amount} = random_money($currency);
		$c->{syntax} = $c->{amount}->{error};
		push @arguments, $c->{amount}->{sql};
	}
	push @arguments, random_options($c, $account) unless $name =~ /^create/;
	if ($name =~ /^(?:deposit|withdraw)$/)
	{
		$c->{code} = 'cash';
		if (chance(20))
		{
			$c->{code} =
			  chance(15) ? pick('nowhere', 'No', undef) : pick(qw(cash fees vault till_1 interest));
			push @arguments, 'house_account => ' . quote($c->{code});
		}
	}
	if ($name eq 'create_account' || $name eq 'set_limits')
	{
		foreach my $limit ([ 'overdraft', 'overdraft_limit' ], [ 'ceiling', 'balance_limit' ])
		{
			next unless chance(40);
			my $money = random_money(
				  $name eq 'set_limits'                    ? $currency
				: exists $decimals{ $c->{currency} // '' } ? $c->{currency}
				:                                            'HTG');
			next if $money->{null};
			$c->{syntax} //= $money->{error};
			$c->{ $limit->[0] } = $money;
			push @arguments, "$limit->[1] => $money->{sql}";
		}
	}
	if ($name eq 'set_limits' && chance(20))
	{
		$c->{remove_ceiling} = 1;
		push @arguments, 'remove_balance_limit => true';
	}

	# Which of two mistakes in the arguments is named is nobody's business.
	return random_command() if faults($c) > 1;

	# A version that is expected of a house account would be one of its stripes'.
	return random_command()
	  if defined $c->{expected} && defined $c->{id} && $c->{id} =~ m{/} && $name ne 'transfer';
	$c->{sql} = "SELECT shown(r) FROM bank_$name(" . join(', ', @arguments) . ') AS r;';
	return $c;
}

# Add a statement and what it must answer.
sub expect
{
	my ($sql, $code, $text) = @_;

	$script .= "$sql\n\\echo = :SQLSTATE\n";
	push @expected, [ $sql, $code, $text // '' ];
	return;
}

# Add a statement that shows all accounts.
sub expect_accounts
{
	my @customers = grep { !$_->{house} } values %{ $ledger->{accounts} };
	my @houses = grep { $_->{stripes} } values %{ $ledger->{accounts} };
	my @rows = map { join('|', @{ account_row($_) }) }
	  ((sort { $a->{id} cmp $b->{id} } @customers), (sort { $a->{id} cmp $b->{id} } @houses));

	expect(
		"SELECT shown(r) FROM bank_accounts AS r ORDER BY house_account IS NOT NULL,
		  CASE WHEN house_account IS NULL THEN account_id END, house_account COLLATE \"C\", currency;",
		'00000',
		join("\n", @rows));
	return;
}

# The model as it is now, and back to it.
sub remember
{
	return { ledger => dclone($ledger), events => scalar(@events) };
}

sub go_back
{
	my ($then) = @_;

	$ledger = dclone($then->{ledger});
	$#events = $then->{events} - 1;
	return;
}

my @keyed;    # commands with keys, to be asked again
my @undo;     # what there was at BEGIN, and at each SAVEPOINT
my $failed = 0;

foreach my $n (1 .. 20)
{
	my $c = {
		name => 'create_account',
		id => account_id($n),
		type => 'COURANT',
		currency => pick('HTG', sort keys %decimals)
	};
	my ($code, $row) = predict($c);

	expect(
		"SELECT shown(r) FROM bank_create_account('$owner', 'COURANT', '$c->{currency}',
		  account_id => '$c->{id}') AS r;",
		$code,
		join('|', @$row));
}
while (@expected < $commands)
{
	# transactions of several commands, with savepoints
	if (!@undo && chance(6))
	{
		expect('BEGIN;', '00000');
		push @undo, remember();
	}
	elsif (@undo && chance(10) && !$failed)
	{
		expect('SAVEPOINT s' . scalar(@undo) . ';', '00000');
		push @undo, remember();
	}
	elsif (@undo > 1 && chance($failed ? 50 : 10))
	{
		my $keep = 1 + int(rand(@undo - 1));

		expect("ROLLBACK TO SAVEPOINT s$keep;", '00000');
		$#undo = $keep;
		go_back($undo[$keep]);
		$failed = 0;
	}
	elsif (@undo > 1 && !$failed && chance(5))
	{
		my $release = 1 + int(rand(@undo - 1));

		expect("RELEASE SAVEPOINT s$release;", '00000');
		$#undo = $release - 1;
	}
	elsif (@undo && chance($failed ? 70 : 12))
	{
		my $commit = chance(70);

		expect($commit ? 'COMMIT;' : 'ROLLBACK;', '00000');
		go_back($undo[0]) if $failed || !$commit;
		@undo = ();
		$failed = 0;
	}

	my $c = @keyed && chance(6) ? { %{ pick(@keyed) } } : random_command();
	if (@keyed && chance(3) && !$c->{syntax} && !defined $c->{key})
	{
		# a key that belongs to something else
		$c->{key} = pick(@keyed)->{key};
		$c->{sql} =~ s/\) AS r;$/, idempotency_key => '$c->{key}') AS r;/;
	}
	push @keyed, {%$c} if defined $c->{key} && $c->{key} =~ /^key/;
	my ($code, $row) = $failed ? ('25P02', undef) : predict($c);
	expect($c->{sql}, $code, $row ? join('|', @$row) : undef);
	$failed = 1 if @undo && $code ne '00000';
	expect_accounts() if !@undo && chance(2);
}
if (@undo)
{
	expect('COMMIT;', '00000');
	go_back($undo[0]) if $failed;
}
expect_accounts();

# ---------------------------------------------------------------------------------------------
# Play it.

my $node = ledger_node('model');
create_ledger($node, 'postgres');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION shown(r bank_receipt) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws('|',
    CASE WHEN EXISTS (SELECT FROM bank_accounts AS a
    WHERE a.account_id = r.account_id AND a.house_account IS NOT NULL)
         THEN 'house' ELSE r.account_id::text END,
    r.event_type, COALESCE(r.amount::text, ''), r.currency, r.balance, r.version, r.position, r.replayed) $$;
CREATE FUNCTION shown(r bank_accounts) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws('|',
    CASE WHEN r.house_account IS NULL THEN r.account_id::text ELSE 'house' END,
    COALESCE(r.account_number, ''),
    COALESCE(r.owner_id::text, ''), r.account_type, r.currency, r.status, r.balance, r.held,
    COALESCE(r.available::text, ''), r.version, COALESCE(r.overdraft_limit::text, ''),
    COALESCE(r.balance_limit::text, ''), COALESCE(r.house_account, '')) $$;
SQL

# Run a script; returns what it printed before each mark.
sub answers
{
	my ($name, $text) = @_;
	my $path = "${PostgreSQL::Test::Utils::log_path}/090_model_$name.sql";
	my ($stdout, $stderr) = ('', '');

	open(my $file, '>', $path) or die "could not create $path: $!";
	print $file $text;
	close($file);
	note "history: $path";
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $path ],
		'<', \undef, '>', \$stdout, '2>', \$stderr);
	my @answers;
	my $printed = '';

	foreach my $line (split(/^/, $stdout))
	{
		if ($line =~ /^= (\w{5})$/)
		{
			chomp $printed;
			push @answers, [ $1, $printed ];
			$printed = '';
		}
		else
		{
			$printed .= $line;
		}
	}
	return @answers;
}

# A test: all answers are those expected. Shows the first that is not, with what was before it.
sub answers_ok
{
	my ($name, $before, @answers) = @_;
	my $wrong = 0;

	foreach my $i (0 .. $#expected)
	{
		my ($sql, $code, $text) = @{ $expected[$i] };
		my $answer = $answers[$i] // [ 'none', '' ];

		next if $answer->[0] eq $code && $answer->[1] eq $text;
		next if $wrong++ >= 2;
		my $from = $i < $before ? 0 : $i - $before;
		diag join("\n",
			'history:', map { "$_->[0] -- $_->[1] " . ($_->[2] =~ /^(.*)/)[0] } @expected[ $from .. $i - 1 ])
		  if $before;
		diag "statement $i: $sql\nexpected: $code $text\ngot: $answer->[0] $answer->[1]";
	}
	is($wrong, 0, "$name: " . scalar(@expected) . " answers as predicted, seed $seed");
	return;
}

my @answers = answers("commands_$seed", $script);
answers_ok('commands', 12, @answers);

# That says something only if everything has happened.
my %codes;
$codes{ $_->[1] }++ foreach @expected;
note join(', ', map { "$_: $codes{$_}" } sort keys %codes);
is( join(
		' ',
		grep { !$codes{$_} }
		  qw(00000 22P02 25P02 BK001 BK002 BK003 BK004 BK005 BK006 BK007 BK008 BK009 BK010
		  BK011 BK014 BK015 BK016 BK017 BK018 BK019 BK021)),
	'',
	'every refusal has occurred') if $commands >= 4000;
cmp_ok($codes{'00000'}, '>', $commands / 2, 'most commands were accepted');
ledger_ok($node, 'postgres', 'after the history');
is($node->safe_psql('postgres', 'SELECT repaired FROM bank_rebuild()'),
	0, 'bank_rebuild() finds nothing to repair');

# ---------------------------------------------------------------------------------------------
# Queries about the past.

# The model's events with the times at which they were recorded.
my %recorded =
  map { $_->[0] => $_->[1] }
  query_rows($node, 'postgres', 'SELECT position, ' . micro('recorded_at') . ' FROM bank_events');
is( join(' ', sort { $a <=> $b } keys %recorded),
	join(' ', map { $_->{position} } @events),
	'the events are those of the model');
my %streams;
foreach my $event (@events)
{
	my $recorded_at = $recorded{ $event->{position} };

	foreach my $side (@{ $event->{sides} })
	{
		my ($id, $version, $delta, $after) = @$side;

		push @{ $streams{$id} },
		  {
			version => $version,
			position => $event->{position},
			type => $event->{type},
			delta => $delta,
			after => $after,
			recorded => $recorded_at,
			business => $event->{occurred} // $recorded_at
		  };
	}
}

# SQL for a moment as microseconds since 1970.
sub micro
{
	return "(extract(epoch FROM $_[0]) * 1000000)::bigint";
}

# Days begin at midnight of this zone, five hours behind Greenwich.
my $zone = 'Etc/GMT+5';
my $offset = -5 * 3_600_000_000;
my $day = 86_400_000_000;

sub date_of
{
	my ($number) = @_;
	return strftime('%Y-%m-%d', gmtime($number * 86_400));
}

sub day_start
{
	my ($number) = @_;
	return $number * $day - $offset;
}

$script = "\\set ON_ERROR_STOP 0\nSET timezone = '$zone';\n";
@expected = ();
foreach my $id (grep { !/#/ } sort keys %{ $ledger->{accounts} })
{
	my $account = $ledger->{accounts}->{$id};
	my $currency = $account->{currency};

	# an account has one stream, a house account that of each stripe
	my @streams = map { $streams{$_} } @{ $account->{stripes} // [$id] };
	my @stream = sort { $a->{position} <=> $b->{position} } map { @$_ } @streams;
	my @movements = grep { defined $_->{delta} } @stream;
	my $zero = Math::BigInt->new(0);

	# at the very moment of a movement, just before, and anywhere
	my @moments = map {
		my $m = pick(@stream);
		pick($m->{business}, $m->{business} - 1, $m->{recorded}, $m->{recorded} - 1)
	} 1 .. 6;
	push @moments, pick(@days) + int(rand($day)), $days[0] - 1, $now + 2 * $day;
	foreach my $at (@moments)
	{
		# by business time; the version is the last before which nothing occurred later
		my $sum = $zero->copy;
		$sum += $_->{delta} foreach grep { $_->{business} <= $at } @movements;
		my $version = 0;
		foreach my $one (@streams)
		{
			foreach my $event (@$one)
			{
				last if defined $event->{delta} && $event->{business} > $at;
				$version++;
			}
		}
		expect(
			'SELECT currency, balance, held, version FROM bank_balance_at('
			  . id_sql($id) . ', '
			  . quote(moment($at)) . ');',
			'00000',
			join('|', $currency, figure($sum, $currency), figure($zero, $currency), $version));

		# as it was recorded
		my $past = $zero->copy;
		$version = 0;
		foreach my $one (@streams)
		{
			my @past = grep { $_->{recorded} <= $at } @$one;

			$past    += $past[-1]->{after} if @past;
			$version += @past;
		}
		expect(
			'SELECT currency, balance, held, version FROM bank_balance_at('
			  . id_sql($id) . ', '
			  . quote(moment($at))
			  . ', true);',
			'00000',
			join('|', $currency, figure($past, $currency), figure($zero, $currency), $version));
	}

	# pages of movements, by days and by versions
	foreach my $try (1 .. 6)
	{
		my ($from, $to) = sort { $a <=> $b }
		  map { floor((pick(@stream)->{business} + $offset) / $day) + pick(-1, 0, 0, 1) } 1 .. 2;
		my $size = pick(1, 3, 10, 1000);
		my $page = pick(1, 1, 2, 3);
		my $before = chance(30) && !$account->{house} ? 1 + int(rand(@stream)) : undef;
		($from) = (undef) if chance(20);
		($to) = (undef) if chance(20);
		my @rows = sort { $b->{position} <=> $a->{position} } grep {
				 (!defined $from || $_->{business} >= day_start($from))
			  && (!defined $to || $_->{business} < day_start($to + 1))
			  && (!defined $before || $_->{version} < $before)
		} @movements;
		my @page = splice(@rows, ($page - 1) * $size, $size);

		expect(
			'SELECT version, position, event_type, amount, balance, '
			  . micro('occurred_at') . ', '
			  . micro('recorded_at')
			  . ' FROM bank_transactions('
			  . join(', ',
				id_sql($id), (map { quote(defined $_ ? date_of($_) : undef) } $from, $to),
				$page, $size, $before // 'NULL')
			  . ');',
			'00000',
			join(
				"\n",
				map {
					join('|',
						$_->{version}, $_->{position}, $_->{type},
						figure($_->{delta}, $currency),
						$account->{house} ? '' : figure($_->{after}, $currency),
						$_->{business}, $_->{recorded})
				} @page));
	}

	# statements
	foreach my $try (1 .. 3)
	{
		my ($from, $to) = sort { $a <=> $b }
		  map { floor((pick(@stream)->{business} + $offset) / $day) + pick(-1, 0, 0, 1) } 1 .. 2;
		my ($since, $until) = (day_start($from), day_start($to + 1));
		my $sum = $zero->copy;
		$sum += $_->{delta} foreach grep { $_->{business} < $since } @movements;
		my @rows = ([ 0, 'opening', $since, '', '', '', figure($sum, $currency) ]);
		my ($debit, $credit) = ($zero->copy, $zero->copy);
		foreach my $m (
			sort { $a->{business} <=> $b->{business} || $a->{position} <=> $b->{position} }
			grep { $_->{business} >= $since && $_->{business} < $until } @movements)
		{
			my $amount = figure(abs($m->{delta}), $currency);

			$sum += $m->{delta};
			$m->{delta}->is_neg ? ($debit += abs($m->{delta})) : ($credit += $m->{delta});
			push @rows,
			  [
				scalar(@rows), 'movement', $m->{business}, $m->{type},
				$m->{delta}->is_neg ? ($amount, '') : ('', $amount),
				figure($sum, $currency)
			  ];
		}
		push @rows,
		  [
			scalar(@rows), 'closing',
			$until, '',
			figure($debit, $currency), figure($credit, $currency),
			figure($sum, $currency)
		  ];
		expect(
			'SELECT line, entry, '
			  . micro('occurred_at')
			  . ', event_type, debit, credit, balance FROM bank_statement('
			  . join(', ', id_sql($id), map { quote(date_of($_)) } $from, $to) . ');',
			'00000',
			join("\n", map { join('|', @$_) } @rows));
	}

	expect('SELECT count(*), min(position), max(position) FROM bank_account_events(' . id_sql($id) . ');',
		'00000', join('|', scalar(@stream), $stream[0]->{position}, $stream[-1]->{position}));
}
my %trial;
foreach my $account (grep { !$_->{stripes} } values %{ $ledger->{accounts} })
{
	my $sums = $trial{ $account->{currency} } //= [ Math::BigInt->new(0), Math::BigInt->new(0) ];

	$sums->[0] += $account->{debits};
	$sums->[1] += $account->{credits};
}
expect(
	'SELECT currency, debits, credits FROM bank_trial_balance ORDER BY currency;',
	'00000',
	join("\n",
		map { join('|', $_, figure($trial{$_}->[0], $_), figure($trial{$_}->[1], $_)) } sort keys %trial));
answers_ok('queries', 0, answers("queries_$seed", $script));

$node->stop;
done_testing();
