# Commands.pm
#
# Commands of the model (Model.pm) as the ledger takes them: SQL, or JSON for bank_execute; and
# what the ledger answered, in the model's words.

package Commands;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP ();
use Model    qw(moment money);

our @EXPORT_OK = qw(items outcomes sql);

my $owner = '00000000-0000-4000-8000-000000000001';
my $json  = JSON::PP->new->canonical;

# Arguments of each command: [name in the ledger, name in the model, kind]. Required ones come
# first and are given by place.
my @options = (
	[ 'expected_version', 'expected', 'number' ],
	[ 'idempotency_key',  'key',      'text' ],
	[ 'occurred_at',      'occurred', 'time' ],
	[ 'metadata',         'metadata', 'object' ]);
my %arguments = (
	create_account => {
		required => [
			[ 'owner_id',     'owner',    'text' ],
			[ 'account_type', 'type',     'text' ],
			[ 'currency',     'currency', 'text' ] ],
		optional => [
			[ 'account_id',      'id',        'text' ],
			[ 'overdraft_limit', 'overdraft', 'money' ],
			[ 'balance_limit',   'ceiling',   'money' ] ] },
	create_house_account => {
		required => [ [ 'code', 'code', 'text' ], [ 'currency', 'currency', 'text' ] ],
		optional => [] },
	transfer => {
		required => [
			[ 'from_account', 'id',     'text' ],
			[ 'to_account',   'to',     'text' ],
			[ 'amount',       'amount', 'money' ] ],
		optional => [] },
	set_limits => {
		required => [ [ 'account_id', 'id', 'text' ] ],
		optional => [
			[ 'overdraft_limit',      'overdraft',      'money' ],
			[ 'balance_limit',        'ceiling',        'money' ],
			[ 'remove_balance_limit', 'remove_ceiling', 'boolean' ] ] },
	hold => {
		required => [ [ 'account_id', 'id',         'text' ], [ 'amount', 'amount', 'money' ] ],
		optional => [ [ 'expires_in', 'expires_in', 'span' ] ] },
	capture => {
		required => [ [ 'hold_id', 'hold', 'text' ] ],
		optional => [
			[ 'amount',        'amount', 'money' ],
			[ 'to_account',    'to',     'text' ],
			[ 'house_account', 'code',   'text' ] ] },
	release => { required => [ [ 'hold_id', 'hold', 'text' ] ], optional => [] });
foreach my $name ('deposit', 'withdraw')
{
	$arguments{$name} = {
		required => [ [ 'account_id',    'id',   'text' ], [ 'amount', 'amount', 'money' ] ],
		optional => [ [ 'house_account', 'code', 'text' ] ] };
}
foreach my $name ('freeze', 'unfreeze', 'close')
{
	$arguments{$name} = { required => [ [ 'account_id', 'id', 'text' ] ], optional => [] };
}

sub quote
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	return "'" . $text =~ s/'/''/gr . "'";
}

# The value of an argument as text; undef: none.
sub value
{
	my ($c, $argument) = @_;
	my ($name, $member, $kind) = @$argument;
	my $value = $member eq 'owner' ? $owner : $c->{$member};

	return $c->{text}->{$name} if $c->{text} && exists $c->{text}->{$name};
	return unless defined $value;
	return money(@$value)            if $kind eq 'money';
	return moment($value)            if $kind eq 'time';
	return "$value microseconds"     if $kind eq 'span';
	return $value ? 'true' : 'false' if $kind eq 'boolean';
	return $value;
}

# A hold is named by a variable where the text is for people: see sql.
sub literal
{
	my ($c, $argument, $symbolic) = @_;

	return ":'hold_$c->{hold_of}'"
	  if $symbolic && $argument->[1] eq 'hold' && defined $c->{hold_of};
	my $value = value($c, $argument);
	return $value if defined $value && $argument->[2] =~ /^(?:number|boolean)$/;
	return quote($value);
}

# One command as a call of its function.
sub call
{
	my ($c, $symbolic) = @_;
	my $arguments = $arguments{ $c->{name} };

	return "bank_$c->{name}("
	  . join(
		', ',
		(map { literal($c, $_, $symbolic) } @{ $arguments->{required} }),
		(   map    { "$_->[0] => " . literal($c, $_, $symbolic) }
			  grep { defined value($c, $_) } @options,
			@{ $arguments->{optional} })) . ')';
}

# One command as JSON.
sub object
{
	my ($c, $symbolic) = @_;
	my $arguments = $arguments{ $c->{name} };
	my %object    = (command => $c->{name});

	foreach my $argument (@{ $arguments->{required} }, @options, @{ $arguments->{optional} })
	{
		my $value = value($c, $argument);
		next unless defined $value;
		$value = "hold_$c->{hold_of}"
		  if $symbolic && $argument->[1] eq 'hold' && defined $c->{hold_of};
		$object{ $argument->[0] } =
			$argument->[2] eq 'number'  ? $value + 0
		  : $argument->[2] eq 'boolean' ? JSON::PP::true
		  : $argument->[2] eq 'object'  ? $json->decode($value)
		  :                               $value;
	}
	%object = (%object, %{ $c->{members} }) if $c->{members};
	return quote($json->encode(\%object));
}

# An array of one argument of all orders; undef when none has it and it is optional.
sub array
{
	my ($type, $c, $argument, $optional) = @_;
	my @values = map { literal($_, $argument) } @{ $c->{items} };

	return if $optional && !grep { $_ ne 'NULL' } @values;
	return 'ARRAY[' . join(', ', @values) . "]::$type\[]";
}

# A command as a statement. Symbolic: for people, with variables of psql for holds.
sub sql
{
	my ($c, $symbolic) = @_;
	my $name = $c->{name};

	return 'SELECT pg_sleep(' . ($c->{seconds} // 0.3) . ')' if $name eq 'wait';
	return "SELECT bank_expire_holds($c->{max}) AS expired, pg_current_xact_id()"
	  if $name eq 'expire_holds';
	if ($name eq 'execute_batch')
	{
		return
			'SELECT unnest(bank_execute_batch(ARRAY['
		  . join(', ', map { object($_, $symbolic) } @{ $c->{items} })
		  . ']::jsonb[]))';
	}
	if ($name eq 'post_transfers')
	{
		my ($from, $to, $amount) = @{ $arguments{transfer}->{required} };
		my @linked   = map { $_->{linked} ? 'true' : 'false' } @{ $c->{items} };
		my @optional = (
			[ idempotency_keys => array('text', $c, $options[1], 1) ],
			[   linked => (grep { $_ eq 'true' } @linked)
				? 'ARRAY[' . join(', ', @linked) . ']'
				: undef ],
			[ occurred_at => array('timestamptz', $c, $options[2], 1) ],
			[ metadata    => array('jsonb',       $c, $options[3], 1) ]);

		return 'SELECT * FROM bank_post_transfers('
		  . join(', ',
			array('uuid',       $c, $from),
			array('uuid',       $c, $to),
			array('bank_money', $c, $amount),
			map { "$_->[0] => $_->[1]" } grep { defined $_->[1] } @optional)
		  . ')';
	}
	return 'SELECT bank_execute(' . object($c, $symbolic) . ')' if $c->{json};
	my $call = call($c, $symbolic);
	return "SELECT event_id AS hold_$c->{tag} FROM $call \\gset" if $symbolic && $name eq 'hold';
	return "SELECT * FROM $call";
}

# The single commands of a command.
sub items
{
	my ($c) = @_;
	return $c->{items} ? @{ $c->{items} } : ($c);
}

# What the ledger answered: an outcome for each item. Raised refusals of a batch are those of all.
sub outcomes
{
	my ($c, $answer) = @_;

	if (my $error = $answer->{error})
	{
		my $refusal = {
			ok      => 0,
			code    => $error->{C},
			message => $error->{M},
			detail  => $error->{D} // '',
			raised  => 1 };
		return map { $refusal } items($c);
	}
	return map { from_json($_->[0]) } @{ $answer->{rows} }
	  if $c->{json} || $c->{name} eq 'execute_batch';
	return map { from_row($answer->{columns}, $_) } @{ $answer->{rows} };
}

sub from_row
{
	my ($columns, $row) = @_;
	my %outcome = (ok => 1);

	@outcome{@$columns} = @$row;
	$outcome{ok}        = $outcome{ok} eq 't'                ? 1 : 0 if $outcome{ok} ne '1';
	$outcome{replayed}  = ($outcome{replayed} // 'f') eq 't' ? 1 : 0;
	$outcome{detail} //= '';
	return \%outcome;
}

sub from_json
{
	my ($text) = @_;
	my $outcome = $json->decode($text);

	$outcome->{$_} = $outcome->{$_} ? 1 : 0 foreach qw(ok replayed);
	$outcome->{recorded_at} =~ s/T/ /          if defined $outcome->{recorded_at};
	$outcome->{recorded_at} =~ s/\+00:00$/+00/ if defined $outcome->{recorded_at};
	$outcome->{detail} //= '';
	return $outcome;
}

1;
