# Receiver.pm
#
# An endpoint for tests of the relay: starts test/receiver, tells it how to behave, and reads from its
# log what it has received. Needs no server.
#
# The environment variable BANKING_RECEIVER names the program; without it, it is
# build/receiver/receiver in this tree (make -C test/receiver). No receiver outlives its test: it
# ends when the pipe that is its standard input does.
#
#	my $receiver = Receiver->start('hook');
#	$receiver->rules([ [ '/hook', '*', 'times:2:status:503|ok' ] ]);
#	... subscribe to $receiver->url('/hook') ...
#	$receiver->wait_for(sub { $receiver->events >= 3 }, 30, 'three events');

package Receiver;

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(realpath);
use Digest::SHA qw(hmac_sha256);
use Exporter 'import';
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp ();
use HTTP::Tiny;
use IO::Handle;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(signature_ok);

my $tree = realpath(dirname(__FILE__) . '/../..');

# Start a receiver on a free port. The name is that of its log, which is in the directory of the test's
# logs where there is one. Options: quiet => 1, keep no log: requests() is empty, stats() is there;
# max_seconds => 3600, when it ends by itself.
sub start
{
	my ($class, $name, %options) = @_;
	my $self = bless {
		%options,
		name => $name,
		owner => $$,
		temporary => File::Temp->newdir,
		port => 0,
		rules => '',
		requests => [],
		offset => 0
	}, $class;
	my $directory = $ENV{TESTLOGDIR} // $self->{temporary}->dirname;

	make_path($directory);
	$self->{log} = "$directory/receiver_$name.log";
	unlink $self->{log};
	$self->start_again;
	return $self;
}

# Start it again after stop_listening: at the same port, with the same log and the same rules. Counters,
# times:N and the numbers of connections begin anew.
sub start_again
{
	my ($self) = @_;
	my $program = $ENV{BANKING_RECEIVER} // "$tree/build/receiver/receiver";
	my $port_file = $self->{temporary}->dirname . '/port';
	my $rules_file = $self->{temporary}->dirname . '/rules';
	my @command = ($program, '--with-parent', '--port', $self->{port}, '--port-file', $port_file);

	croak 'it runs already' if $self->{pid};
	croak "there is no $program: make -C test/receiver" unless -x $program;
	unlink $port_file;
	open(my $file, '>:raw', $rules_file) or die "could not create $rules_file: $!";
	print $file $self->{rules};
	close($file) or die "could not write $rules_file: $!";
	push @command, '--rules', $rules_file, '--max-seconds', $self->{max_seconds} // 3600;
	push @command, $self->{quiet} ? '--quiet' : ('--log', $self->{log});

	pipe(my $reader, $self->{pipe}) or die "could not make a pipe: $!";
	my $pid = fork;
	die "could not fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		open(STDIN, '<&', $reader) or POSIX::_exit(1);
		open(STDOUT, '>&', \*STDERR) or POSIX::_exit(1);
		exec { $command[0] } @command or POSIX::_exit(1);
	}
	$self->{pid} = $pid;
	$self->wait_for(
		sub {
			if (waitpid($pid, WNOHANG) == $pid)
			{
				delete $self->{pid};
				croak "the receiver $self->{name} ended at once";
			}
			return -e $port_file;
		},
		30,
		"the receiver $self->{name} to listen");
	open($file, '<', $port_file) or die "could not open $port_file: $!";
	chomp($self->{port} = <$file>);
	close($file);
	return;
}

# End it, and with it all its connections; others are refused from now on.
sub stop_listening
{
	my ($self) = @_;

	return unless $self->{pid};
	local ($?, $!);
	kill 'TERM', $self->{pid};
	waitpid($self->{pid}, 0);
	delete $self->{pid};
	close(delete $self->{pipe});
	return;
}

# End it for good. What it has received can still be asked for.
sub stop
{
	my ($self) = @_;

	$self->requests;
	return $self->stop_listening;
}

# A process that the test has forked has a copy of the object, but the receiver is not its own.
sub DESTROY
{
	my ($self) = @_;

	$self->stop_listening if $self->{owner} == $$;
	return;
}

sub port
{
	my ($self) = @_;
	return $self->{port};
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}" . ($path // '/');
}

# Ask the receiver itself; returns its answer, dies unless it is a good one.
sub control
{
	my ($self, $method, $path, $content) = @_;
	my $client = HTTP::Tiny->new(
		keep_alive => 0,
		timeout => 30,
		proxy => undef,
		http_proxy => undef);
	my $response =
	  $client->request($method, $self->url($path), { defined $content ? (content => $content) : () });

	croak "$method $path: $response->{status} $response->{content}" unless $response->{success};
	return $response->{content};
}

# Put rules in the place of all others: a list of [path prefix, part of the body or '*', behaviour], or of
# such lines with tabs. See test/receiver/rules.h for the behaviours. They hold from the next request on.
sub rules
{
	my ($self, $rules) = @_;
	my $text = join('', map { (ref $_ ? join("\t", @$_) : $_) . "\n" } @$rules);

	$self->control('POST', '/control', $text) if $self->{pid};
	$self->{rules} = $text;
	return;
}

# The counters, see test/receiver/stats.h, as a hash reference; those of paths are in its "paths".
sub stats
{
	my ($self) = @_;
	my %stats = (paths => {});

	foreach my $line (split(/\n/, $self->control('GET', '/control/stats')))
	{
		if ($line =~ /^path (\d+) (.*)/)
		{
			$stats{paths}{$2} = $1;
		}
		elsif ($line =~ /^(\w+) (\d+)$/)
		{
			$stats{$1} = $2;
		}
	}
	return \%stats;
}

# Zero the counters. The log stays as it is.
sub reset_stats
{
	my ($self) = @_;

	$self->control('POST', '/control/reset', '');
	return;
}

# A field of the log as it was received.
sub unescape
{
	my ($field) = @_;
	my %letters = (t => "\t", n => "\n", r => "\r", '\\' => '\\');

	return $field =~ s/\\(.)/$letters{$1}/gr;
}

# A line of the log as a hash, see requests.
sub parse_line
{
	my ($line) = @_;
	my ($time, $connection, $path, $id, $timestamp, $signature, $type, $answer, $headers, $body) =
	  map { unescape($_) } split(/\t/, $line, -1);
	my %request = (
		time => $time,
		connection => $connection,
		path => $path,
		answer => $answer,
		headers => {},
		body => $body);

	foreach my $header (split(/ \| /, $headers))
	{
		my ($name, $value) = $header =~ /^(:?[^:]+): (.*)/s or next;
		$name = lc $name;
		$request{headers}{$name} =
		  exists $request{headers}{$name} ? "$request{headers}{$name}, $value" : $value;
	}
	$request{method} = $request{headers}{':method'};
	$request{id} = $request{headers}{'webhook-id'};
	$request{timestamp} = $request{headers}{'webhook-timestamp'};
	$request{signature} = $request{headers}{'webhook-signature'};
	$request{type} = $request{headers}{'content-type'};

	local $@;
	my $content = eval { JSON::PP::decode_json($body) };
	$request{events} =
	    ref $content eq 'ARRAY' ? $content
	  : ref $content eq 'HASH' ? [$content]
	  :                          [];
	return \%request;
}

# What has been received so far, in order of receipt, at this path or at all of them; in scalar
# context, how many requests. Each is a hash: time (microseconds since the Unix epoch, when all of it had
# arrived), connection (its number), method, path, id, timestamp, signature, type (undef where the header
# was missing), answer (a status or the name of a behaviour), headers (by name in small letters), body
# (bytes), events (a list of what the JSON in the body says; empty if it is none).
sub requests
{
	my ($self, $path) = @_;

	if (open(my $log, '<:raw', $self->{log}))
	{
		seek($log, $self->{offset}, 0);
		while (my $line = <$log>)
		{
			last unless $line =~ /\n\z/;
			$self->{offset} += length $line;
			chomp $line;
			push @{ $self->{requests} }, parse_line($line);
		}
		close($log);
	}
	return grep { !defined $path || $_->{path} eq $path } @{ $self->{requests} };
}

# The events in those requests, in order of receipt; in scalar context, how many.
sub events
{
	my ($self, $path) = @_;
	my @events = map { @{ $_->{events} } } $self->requests($path);

	return @events;
}

# Call a function until it returns true; dies when it has not within so many seconds.
sub wait_for
{
	my ($self, $condition, $seconds, $what) = @_;
	my $end = time + ($seconds // 30);

	while (1)
	{
		my $result = $condition->();

		return $result if $result;
		croak 'timed out waiting for ' . ($what // 'a condition') if time > $end;
		sleep(0.05);
	}
}

# Is a request signed with this secret ("whsec_...") as Standard Webhooks asks for? Says nothing about
# its age.
sub signature_ok
{
	my ($request, $secret) = @_;
	my ($id, $timestamp, $signature) = @$request{qw(id timestamp signature)};

	return 0 unless defined $id && defined $timestamp && defined $signature;
	my ($key) = $secret =~ m{^whsec_([A-Za-z0-9+/]+=*)$} or croak "not a secret: $secret";
	my $mac = encode_base64(hmac_sha256("$id.$timestamp.$request->{body}", decode_base64($key)), '');
	return scalar grep { $_ eq "v1,$mac" } split(/ /, $signature);
}

1;
