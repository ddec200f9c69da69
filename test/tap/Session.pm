# Session.pm
#
# A session with a server of the tests that need not be waited for: the simple query protocol
# over the server's Unix socket. One process can so keep many sessions busy, know when each
# statement was sent and when it was answered, and get refusals with all their fields.

package Session;

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use Time::HiRes qw(sleep time);

$SIG{PIPE} = 'IGNORE';

# Connect; undef when the server does not let us in (yet). Options: user; application_name; settings =>
# { name => value }. What is connected to has the directory of its socket as host, and a port.
sub new
{
	my ($class, $node, $database, %options) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port);
	my $self   = bless {
		node     => $node,
		database => $database,
		options  => \%options,
		socket   => $socket,
		buffer   => '' }, $class;

	return unless $socket;
	my %settings   = %{ $options{settings} // {} };
	my %parameters = (
		user     => $options{user} // $ENV{PGUSER} // scalar(getpwuid($<)),
		database => $database,
		defined $options{application_name} ? (application_name => $options{application_name}) : ());
	$parameters{options} = join(' ', map { "-c $_=" . $settings{$_} =~ s/ /\\ /gr } sort keys %settings)
	  if %settings;
	my $startup =
	  pack('N', 196_608) . join('', map { "$_\0$parameters{$_}\0" } sort keys %parameters) . "\0";
	$self->put(pack('N', 4 + length($startup)) . $startup);
	my $answer = $self->await(30);
	return if !$answer || $answer->{lost} || $answer->{error};
	return $self;
}

sub put
{
	my ($self, $bytes) = @_;

	while (length($bytes) > 0)
	{
		my $n = syswrite($self->{socket}, $bytes);

		return unless defined $n;
		substr($bytes, 0, $n, '');
	}
	return;
}

# Send a statement; its answer comes by receive or await.
sub start
{
	my ($self, $sql) = @_;

	utf8::encode($sql) if utf8::is_utf8($sql);
	$self->{answer} = undef;
	$self->put('Q' . pack('N', 5 + length($sql)) . "$sql\0");
	return;
}

# The same by the extended protocol, with values for $1, $2, ...; undef is null. Of a statement with a name
# only the first call sends the text.
sub start_bound
{
	my ($self, $name, $sql, @values) = @_;
	my $message = sub { my ($type, $body) = @_; return $type . pack('N', 4 + length($body)) . $body; };
	my $bytes   = '';

	utf8::encode($_) foreach grep { defined && utf8::is_utf8($_) } $sql, @values;
	$bytes .= $message->('P', "$name\0$sql\0" . pack('n', 0)) unless $self->{prepared}->{$name};
	$self->{prepared}->{$name} = 1 if length($name) > 0;
	$bytes .= $message->('B', "\0$name\0" . pack('nn', 0, scalar(@values))
		  . join('', map { defined ? pack('N/a*', $_) : pack('N', 0xFFFFFFFF) } @values) . pack('n', 0));
	$self->{answer} = undef;
	$self->put($bytes . $message->('E', "\0" . pack('N', 0)) . $message->('S', ''));
	return;
}

# Read what there is, when the socket is readable. The answer, once it is whole: a hash with
# columns, rows (arrays of texts; null is undef), error (fields by their letters: C, M, D, H);
# lost => 1 when the connection broke before. Else undef.
sub receive
{
	my ($self) = @_;
	my $answer = $self->{answer} //= { rows => [], columns => [] };
	my $n      = sysread($self->{socket}, $self->{buffer}, 65_536, length($self->{buffer}));

	if (!$n)
	{
		$answer->{lost} = 1;
		return $answer;
	}
	while (length($self->{buffer}) >= 5)
	{
		my ($type, $length) = unpack('aN', $self->{buffer});

		last if length($self->{buffer}) < $length + 1;
		my $body = substr($self->{buffer}, 5, $length - 4);
		substr($self->{buffer}, 0, $length + 1, '');
		if ($type eq 'D')
		{
			push @{ $answer->{rows} }, row($body);
		}
		elsif ($type eq 'T')
		{
			$answer->{columns} = [ unpack('n/(Z*x18)', $body) ];
		}
		elsif ($type eq 'E')
		{
			$answer->{error} = { map { /^(.)(.*)/s ? ($1 => $2) : () } split(/\0/, $body) };

			# the server is going down: it does not say whether the statement was done
			if ($answer->{error}->{C} =~ /^(?:57P0[123]|08)/)
			{
				$answer->{lost} = 1;
				return $answer;
			}
		}
		elsif ($type eq 'K')
		{
			($self->{pid}) = unpack('N', $body);
		}
		elsif ($type eq 'Z')
		{
			return $answer;
		}
	}
	return;
}

# The values of a row.
sub row
{
	my ($body) = @_;
	my $count  = unpack('n', $body);
	my $at     = 2;
	my @values;

	foreach (1 .. $count)
	{
		my $length = unpack('l>', substr($body, $at, 4));

		$at += 4;
		push @values, $length < 0 ? undef : substr($body, $at, $length);
		$at += $length if $length > 0;
	}
	return \@values;
}

# Wait for the answer; undef when the time (in seconds) is over.
sub await
{
	my ($self, $seconds) = @_;
	my $end    = time() + $seconds;
	my $select = IO::Select->new($self->{socket});

	while ((my $left = $end - time()) > 0)
	{
		next unless $select->can_read($left);
		my $answer = $self->receive;
		return $answer if $answer;
	}
	return;
}

# Run a statement and wait for its answer.
sub run
{
	my ($self, $sql) = @_;

	$self->start($sql);
	return $self->await(180) // { lost => 1 };
}

# The same by the extended protocol.
sub run_bound
{
	my ($self, @statement) = @_;

	$self->start_bound(@statement);
	return $self->await(180) // { lost => 1 };
}

# The rows of a query; dies when it fails.
sub rows
{
	my ($self, $sql) = @_;
	my $answer = $self->run($sql);

	die "lost the connection in: $sql"                         if $answer->{lost};
	die "$answer->{error}->{C} $answer->{error}->{M} in: $sql" if $answer->{error};
	return @{ $answer->{rows} };
}

sub disconnect
{
	my ($self) = @_;

	$self->put('X' . pack('N', 4));
	close($self->{socket});
	return;
}

1;
