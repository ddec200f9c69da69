# Pgbouncer.pm
#
# PgBouncer for tests, as docs/security.md configures it: a child that keeps its files in a directory of its own
# and ends with the test. It listens on a Unix socket there. It has the methods that Session.pm asks a node for,
# so that clients connect to it as they would to the server.
#
#	my $reason = Pgbouncer::missing();
#	plan skip_all => $reason if $reason;
#	my $bouncer = Pgbouncer->start($node, 'bank', users => ['alice'], settings => { default_pool_size => 5 });
#	my $session = Session->new($bouncer, 'bank', user => 'alice');

package Pgbouncer;

use strict;
use warnings;

use File::Basename qw(dirname);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Time::HiRes qw(sleep time);

my $program = '/usr/sbin/pgbouncer';
my $documentation = dirname(__FILE__) . '/../../docs/security.md';

# Why there can be none here; nothing: it can be.
sub missing
{
	return -x $program ? undef : 'PgBouncer is not installed (scripts/setup test)';
}

# Its version as a number: 1018 for 1.18.
sub version
{
	return `$program --version` =~ /PgBouncer (\d+)\.(\d+)/ ? 1000 * $1 + $2 : 0;
}

# What the documentation sets in the section [pgbouncer].
sub documented
{
	my ($section) = slurp_file($documentation) =~ /^## Behind PgBouncer\n.*?^\[pgbouncer\]\n(.*?)^```/ms
	  or die "no configuration in $documentation";

	return $section =~ /^(\w+) = (.*)$/mg;
}

# Start it. Options: users => the roles that may log in; settings => what differs from the documentation;
# address => what else is said of the database.
sub start
{
	my ($class, $node, $database, %options) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $self = bless {
		owner => $$,
		directory => $directory,
		port => PostgreSQL::Test::Cluster::get_free_port(),
		log => ($ENV{TESTLOGDIR} // $directory) . "/pgbouncer_$database.log"
	}, $class;
	my $address = 'host=' . $node->host . ' port=' . $node->port . " dbname=$database " . ($options{address} // '');
	my %settings = (
		documented(),
		listen_addr => '',
		listen_port => $self->{port},
		unix_socket_dir => $directory,
		auth_type => 'trust',
		auth_file => "$directory/users.txt",
		admin_users => 'pooler',
		server_login_retry => 1,
		%{ $options{settings} // {} });

	$self->write_file('users.txt', map { qq("$_" ""\n) } 'pooler', @{ $options{users} });
	$self->write_file('pgbouncer.ini',
		"[databases]\n$database = $address\n[pgbouncer]\n",
		map { "$_ = $settings{$_}\n" } sort keys %settings);
	$self->{pid} = fork // die "fork: $!";
	if (!$self->{pid})
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', $self->{log});
		open(STDERR, '>&', \*STDOUT);
		exec('setpriv', '--pdeathsig', 'INT', '--', $program, "$directory/pgbouncer.ini") or POSIX::_exit(127);
	}
	my $end = time + 30;
	until ($self->{console} = Session->new($self, 'pgbouncer', user => 'pooler'))
	{
		die "PgBouncer does not answer, see $self->{log}" if time > $end;
		sleep 0.05;
	}
	return $self;
}

sub write_file
{
	my ($self, $name, @lines) = @_;

	open(my $file, '>', "$self->{directory}/$name") or die "could not create $name: $!";
	print $file @lines;
	close($file) or die "could not write $name: $!";
	return;
}

sub host
{
	my ($self) = @_;
	return $self->{directory};
}

sub port
{
	my ($self) = @_;
	return $self->{port};
}

# What the console shows, such as 'servers': a list of hashes by column.
sub show
{
	my ($self, $what) = @_;
	my $answer = $self->{console}->run("SHOW $what");
	my @columns = @{ $answer->{columns} };

	die "SHOW $what failed" if $answer->{lost} || $answer->{error};
	return map {
		my %row;
		@row{@columns} = @$_;
		\%row
	} @{ $answer->{rows} };
}

# End it, at once.
sub stop
{
	my ($self) = @_;

	return if $self->{owner} != $$ || !$self->{pid};
	kill 'TERM', $self->{pid};
	waitpid delete $self->{pid}, 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	$self->stop;
	return;
}

1;
