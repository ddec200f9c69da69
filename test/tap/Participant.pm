# Participant.pm
#
# Another ledger, for tests of transfers between ledgers: an HTTP server of several processes that answers
# the protocol of docs/protocol.md, well or badly. Behind it stands a book, files in which the fate of each
# transfer is kept, or a database with the extension in it, which bank_answer_participant answers for.
#
#	my $other = Participant->start('other');
#	$other->rules([ 'receive', 1, 'process', 'reset' ], [ '.', undef, '503' ]);
#
# A rule: an expression that "action transfer_id amount" has to match, how often it holds (undef: always), and
# steps, one after the other: process (carry it out), answer (with what came of it), delay:MS, hang (until
# the caller gives up), reset, a status such as 503 or 429:SECONDS (Retry-After), say:TEXT (with status 200),
# refuse:CODE (in the book, for ever), again:MS (the same request arrives once more, so much later), and
# chaos, which picks from all of it. The first rule that matches and is not used up counts; without any it is
# process and answer.

package Participant;

use strict;
use warnings;

use Carp qw(croak);
use Digest::SHA qw(hmac_sha256);
use Fcntl qw(:flock);
use File::Temp ();
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use IPC::Open2 qw(open2);
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->canonical;

# All of them in this process, by address.
my %all;

# Start one. Options: database => connection string (a ledger stands behind it); processes => 6; chaos => a
# hash of probabilities, see chaos_steps.
sub start
{
	my ($class, $name, %options) = @_;
	my $self = bless {
		processes => 6,
		%options,
		name => $name,
		owner => $$,
		temporary => File::Temp->newdir,
		pids => []
	}, $class;

	$self->{directory} = $self->{temporary}->dirname;
	mkdir "$self->{directory}/$_" foreach qw(book late);
	$self->rules;
	$self->{listener} = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => 0,
		ReuseAddr => 1,
		Listen => 128) or die "could not listen: $@";
	$self->{port} = $self->{listener}->sockport;
	$all{ 0 + $self } = $self->{listener};
	$self->go;
	return $self;
}

# A process that the test has forked must not hold the ports of participants, or they cannot be opened again.
sub close_ports
{
	close $_ foreach values %all;
	%all = ();
	return;
}

# Have processes accept connections.
sub go
{
	my ($self) = @_;

	pipe(my $reader, $self->{pipe}) or die "could not make a pipe: $!";
	foreach my $number (0 .. $self->{processes})
	{
		my $pid = fork;

		die "could not fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			close $self->{pipe};
			close $all{$_} foreach grep { $_ != 0 + $self } keys %all;
			$SIG{$_} = 'DEFAULT' foreach qw(TERM INT __DIE__ ALRM);
			$SIG{PIPE} = 'IGNORE';
			srand($$ ^ time);
			eval { $number == 0 ? $self->repeat_late($reader) : $self->serve($reader); 1 }
			  or print STDERR "participant $self->{name}: $@";
			$self->end_database;
			POSIX::_exit(0);
		}
		push @{ $self->{pids} }, $pid;
	}
	close $reader;
	return;
}

# An outage: connections are refused until resume().
sub pause
{
	my ($self) = @_;

	local ($?, $!);
	delete $all{ 0 + $self };
	close(delete $self->{pipe}) if $self->{pipe};
	close(delete $self->{listener}) if $self->{listener};
	kill 'TERM', @{ $self->{pids} };
	waitpid($_, 0) foreach @{ $self->{pids} };
	$self->{pids} = [];
	return;
}

# The end of it.
sub resume
{
	my ($self) = @_;

	$self->{listener} = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => $self->{port},
		ReuseAddr => 1,
		Listen => 128) or die "could not listen again: $@";
	$all{ 0 + $self } = $self->{listener};
	$self->go;
	return;
}

sub stop
{
	my ($self) = @_;

	$self->pause;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	$self->pause if $self->{owner} == $$ && @{ $self->{pids} };
	return;
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}" . ($path // '/transfers');
}

# Put rules in the place of all others.
sub rules
{
	my ($self, @rules) = @_;
	my $file = "$self->{directory}/rules";

	open(my $out, '>', "$file.new") or die "could not write rules: $!";
	print $out $json->encode(\@rules);
	close $out;
	unlink glob("$self->{directory}/used.*");
	rename("$file.new", $file) or die "could not rename: $!";
	return;
}

# What has been asked so far, in order of arrival: hashes with time, action, transfer_id, id (of the message),
# body, timestamp, signatures, headers, steps.
sub requests
{
	my ($self, $action) = @_;
	my @requests;

	if (open(my $log, '<', "$self->{directory}/log"))
	{
		while (my $line = <$log>)
		{
			last unless $line =~ /\n\z/;
			push @requests, $json->decode($line);
		}
	}
	return grep { !defined $action || $_->{action} eq $action } @requests;
}

# The fate of a transfer in the book; undef: it is not known. With a status: make it that.
sub book
{
	my ($self, $id, $status) = @_;
	my $file = "$self->{directory}/book/" . lc $id;

	if (defined $status)
	{
		open(my $out, '>', $file) or die "could not write $file: $!";
		print $out $status;
		close $out;
	}
	open(my $in, '<', $file) or return;
	local $/;
	return scalar <$in>;
}

# Call a function until it is true.
sub wait_for
{
	my ($self, $condition, $what) = @_;
	my $end = time + 60;

	while (1)
	{
		my $result = $condition->();

		return $result if $result;
		croak "timed out waiting for $what" if time > $end;
		sleep 0.03;
	}
}

# Is a request signed with this secret?
sub signed
{
	my ($request, $secret) = @_;
	my ($key) = $secret =~ /^whsec_(.*)/;
	my $mac = encode_base64(
		hmac_sha256("$request->{id}.$request->{timestamp}.$request->{body}", decode_base64($key)), '');

	return scalar grep { $_ eq "v1,$mac" } split / /, $request->{signatures};
}

# ---- the processes

# One process: a connection at a time, a request per connection.
sub serve
{
	my ($self, $parent) = @_;
	my $select = IO::Select->new($self->{listener}, $parent);

	while (1)
	{
		foreach my $ready ($select->can_read)
		{
			return if $ready != $self->{listener};
			$self->{listener}->blocking(0);
			my $client = $self->{listener}->accept or next;
			$client->blocking(1);
			eval { $self->handle($client); 1 } or print STDERR "participant $self->{name}: $@";
			close $client;
		}
	}
}

# Read a request and take the steps of its rule.
sub handle
{
	my ($self, $client) = @_;
	my $input = '';
	my ($end, $length);

	while (!defined $end || length $input < $end + 4 + $length)
	{
		return unless sysread($client, $input, 65536, length $input);
		next if ($end = index($input, "\r\n\r\n")) < 0 && !defined($end = undef);
		($length) = substr($input, 0, $end) =~ /^content-length:\s*(\d+)/im;
		$length //= 0;
	}
	my ($first, @lines) = split(/\r\n/, substr($input, 0, $end));
	my %headers = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @lines;
	my $body = substr($input, $end + 4, $length);
	my $content = eval { JSON::PP::decode_json($body) } // {};
	my %request = (
		time => time,
		action => $content->{action} // '',
		transfer_id => $content->{transfer_id} // '',
		content => $content,
		id => $headers{'webhook-id'},
		timestamp => $headers{'webhook-timestamp'},
		signatures => $headers{'webhook-signature'},
		headers => \%headers,
		first => $first,
		body => $body);

	$request{steps} = [ $self->steps(\%request) ];
	$self->write_log(\%request);
	$self->take($client, \%request);
	return;
}

# Which steps: those of the first rule that matches.
sub steps
{
	my ($self, $request) = @_;
	my $what = join(' ', $request->{action}, $request->{transfer_id}, $request->{content}{amount} // '');
	my @default = $self->{chaos} ? ('chaos') : (qw(process answer));

	open(my $in, '<', "$self->{directory}/rules") or return @default;
	flock($in, LOCK_EX);
	local $/;
	my $rules = $json->decode(scalar <$in>);
	foreach my $n (0 .. $#$rules)
	{
		my ($expression, $times, @steps) = @{ $rules->[$n] };

		next unless $what =~ /$expression/;
		if (defined $times)
		{
			my $used = "$self->{directory}/used.$n";

			next if (-s $used // 0) >= $times;
			open(my $out, '>>', $used) or die "could not write $used: $!";
			print $out '.';
			close $out;
		}
		return @steps;
	}
	return @default;
}

# Write a request into the log.
sub write_log
{
	my ($self, $request) = @_;

	open(my $log, '>>', "$self->{directory}/log") or die "could not write the log: $!";
	flock($log, LOCK_EX);
	syswrite($log, $json->encode($request) . "\n");
	close $log;
	return;
}

# Steps as chance has it, by the probabilities in percent.
sub chaos_steps
{
	my ($self) = @_;
	my %chance = (
		delay => 15,
		early_reset => 4,
		late_reset => 5,
		refuse_service => 4,
		late_error => 3,
		nonsense => 2,
		twice => 6,
		later => 8,
		ref $self->{chaos} ? %{ $self->{chaos} } : ());
	my $hits = sub { rand(100) < $chance{ $_[0] } };
	my @steps;

	push @steps, 'delay:' . int(rand 400) if $hits->('delay');
	push @steps, 'again:0' if $hits->('twice');
	push @steps, 'again:' . int(rand 4000) if $hits->('later');
	return (@steps, 'reset') if $hits->('early_reset');
	return (@steps, '503') if $hits->('refuse_service');
	push @steps, 'process';
	push @steps, 'delay:' . int(rand 1500) if $hits->('delay');
	return (@steps, 'reset') if $hits->('late_reset');
	return (@steps, '500') if $hits->('late_error');
	return (@steps, 'say:' . (qw({} [] {"status":"received"} <html> ok))[ rand 5 ]) if $hits->('nonsense');
	return (@steps, 'answer');
}

# Take the steps of a request.
sub take
{
	my ($self, $client, $request) = @_;
	my @answer = (500, 'nothing was done');
	my @steps = map { $_ eq 'chaos' ? $self->chaos_steps : $_ } @{ $request->{steps} };

	foreach my $step (@steps)
	{
		my ($word, $argument) = split /:/, $step, 2;

		if ($word eq 'process') { @answer = $self->process($request) }
		elsif ($word eq 'refuse') { @answer = $self->process($request, $argument) }
		elsif ($word eq 'answer') { reply($client, @answer) }
		elsif ($word eq 'say') { reply($client, 200, $argument) }
		elsif ($word eq 'delay') { sleep $argument / 1000 }
		elsif ($word eq 'hang') { sysread($client, my $rest, 1) }
		elsif ($word eq 'again') { $self->later($request, $argument / 1000) }
		elsif ($word =~ /^\d+$/) { reply($client, $word, '', $argument) }
		elsif ($word eq 'reset')
		{
			setsockopt($client, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
			return;
		}
		else { die "no such step: $step" }
	}
	return;
}

# Answer.
sub reply
{
	my ($client, $status, $body, $retry_after) = @_;

	syswrite($client,
			"HTTP/1.1 $status Status\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
		  . length($body) . "\r\n" . (defined $retry_after ? "Retry-After: $retry_after\r\n" : '') . "\r\n$body");
	return;
}

# Carry a request out: status and body of the answer.
sub process
{
	my ($self, $request, $refusal) = @_;

	return $self->ask_database($request) if $self->{database};
	my ($action, $id) = ($request->{action}, lc $request->{transfer_id});

	open(my $lock, '>>', "$self->{directory}/book.lock") or die "could not lock: $!";
	flock($lock, LOCK_EX);
	my $status = $self->book($id);

	if ($action eq 'receive' && !defined $status)
	{
		$status = $self->book($id, defined $refusal ? 'refused' : 'received');
	}
	elsif ($action eq 'cancel' && ($status // '') !~ /refused|kept/)
	{
		$status = $self->book($id, defined $refusal ? 'kept' : 'cancelled');
	}
	$status = 'received' if ($status // '') eq 'kept';
	return (200,
		$json->encode({
			transfer_id => $id,
			status => $status // 'unknown',
			defined $refusal ? (code => $refusal, message => "refused with $refusal") : () }));
}

# The same request shall arrive once more.
sub later
{
	my ($self, $request, $seconds) = @_;
	my $file = sprintf('%s/late/%.6f.%d.%d', $self->{directory}, time + $seconds, $$, rand 1e9);

	open(my $out, '>', "$file.new") or die "could not write $file: $!";
	print $out $json->encode($request);
	close $out;
	rename("$file.new", $file) or die "could not rename: $!";
	return;
}

# One process: carry out what arrives late.
sub repeat_late
{
	my ($self, $parent) = @_;
	my $select = IO::Select->new($parent);

	until ($select->can_read(0.02))
	{
		foreach my $file (sort grep { !/\.new$/ } glob("$self->{directory}/late/*"))
		{
			last if $file =~ m{/([\d.]+?)\.\d+\.\d+$} && $1 > time;
			open(my $in, '<', $file) or next;
			$self->process($json->decode(scalar readline($in)));
			unlink $file;
		}
	}
	return;
}

# How many requests are still to arrive late.
sub late
{
	my ($self) = @_;
	return scalar(() = glob("$self->{directory}/late/*"));
}

# ---- a ledger behind it

# A text as an SQL literal; undef as null.
sub literal
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Ask bank_answer_participant; 503 when the database does not answer.
sub ask_database
{
	my ($self, $request) = @_;
	my $query = sprintf(
		'SELECT a.status, a.body FROM bank_answer_participant(%s, %s, %s, %s) AS a',
		map { literal($_) } @$request{qw(id timestamp signatures body)});

	for my $try (1 .. 2)
	{
		my $line = $self->query($query);

		return ($1, $2) if defined $line && $line =~ /^(\d+)\|(.*)$/;
		$self->end_database;
	}
	return (503, '');
}

# Run a query that returns one line in this process's own psql; undef: it did not.
sub query
{
	my ($self, $query) = @_;
	my $line;

	eval {
		local $SIG{ALRM} = sub { die "no answer\n" };
		alarm 20;
		unless ($self->{psql})
		{
			open(my $errors, '>>', "$self->{directory}/psql.log") or die;
			local *STDERR = $errors;
			$self->{psql} = open2($self->{from}, $self->{to}, 'psql', '-XAtq', '-d', $self->{database});
			$self->{to}->autoflush(1);
		}
		print { $self->{to} } "$query;\n\\echo\n" or die "gone\n";
		$line = readline($self->{from});
		my $end = defined $line && $line ne "\n" ? readline($self->{from}) : $line;
		undef $line unless defined $end && $end eq "\n";
		alarm 0;
		1;
	} or undef $line;
	alarm 0;
	chomp $line if defined $line;
	return $line;
}

# End the psql of this process.
sub end_database
{
	my ($self) = @_;
	my $pid = delete $self->{psql} or return;

	close $self->{to};
	close $self->{from};
	kill 'KILL', $pid;
	waitpid($pid, 0);
	return;
}

1;
