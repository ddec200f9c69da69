# The relay in short: what is committed arrives, once, in order, signed, through failures, a killed
# worker, a stop and a restore. Other tests look closer at each of these.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver qw(signature_ok);
use Test::More;

my $conf = "shared_preload_libraries = 'banking'\nbanking.allow_private_endpoints = on\n"
  . "restart_after_crash = on\n";
my $node = ledger_node('relay', conf => $conf);
my $receiver = Receiver->start('relay');
my $directory = PostgreSQL::Test::Utils::tempdir;

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 20, '1000.00 HTG');

sub wait_until
{
	my ($query, $what, $server) = @_;
	($server // $node)->poll_query_until('ledger', $query) or die "timed out: $what";
	return;
}

# Events that a path has got with an answer of 2xx, in order, each the first time
sub got
{
	my ($path, $from) = @_;
	my %seen;

	return grep { !$seen{ $_->{id} }++ }
	  map { @{ $_->{events} } } grep { $_->{answer} =~ /^2/ } ($from // $receiver)->requests($path);
}

# Identifiers of all events from a position on
sub committed
{
	my ($server, $from) = @_;
	return sort map { $_->[0] }
	  query_rows($server, 'ledger', "SELECT event_id FROM bank_events WHERE position >= $from");
}

# What is out of order in a list of events: streams of customers' accounts whose versions do not rise by one
sub disorder
{
	my (%version, @wrong);

	foreach my $event (@_)
	{
		my $data = $event->{data};

		foreach my $place ([ $data->{account_id}, $data->{version} ], [ $data->{peer_id}, $data->{peer_version} ])
		{
			my ($account, $version) = @$place;
			next unless defined $account && $account =~ /^00000000-0000-7000-8000-/;
			push @wrong, "$account: $version after $version{$account}"
			  if defined $version{$account} && $version != $version{$account} + 1;
			$version{$account} = $version;
		}
	}
	return join(', ', @wrong);
}

wait_until("SELECT state = 'running' FROM bank_relay_status()", 'a worker');

# From the beginning, signed
my $secret = $node->safe_psql('ledger',
	"SELECT secret FROM bank_subscribe('all', '${\$receiver->url('/all')}', start => 'beginning', retry_delay => '100 ms')");
like($secret, qr/^whsec_[A-Za-z0-9+\/]{43}=$/, 'a secret is made');
wait_until("SELECT lag_events = 0 AND delivered > 0 FROM bank_subscriptions", 'the beginning');
is_deeply([ sort map { $_->{id} } got('/all') ], [ committed($node, 1) ], 'everything there is arrives');
my ($first) = $receiver->requests('/all');
ok(signature_ok($first, $secret), 'it is signed');
is($first->{id}, $first->{events}[0]{id}, 'webhook-id is the id of the event');
is($first->{type}, 'application/cloudevents+json; charset=UTF-8', 'its type is that of an event');
is($first->{events}[0]{specversion}, '1.0', 'it is a CloudEvent');

# T1 debits A, T2 credits B and commits, T1 credits B and commits
my $t1 = $node->background_psql('ledger');
my $from = $node->safe_psql('ledger', 'SELECT max(position) + 1 FROM bank_events');
my $cursor = $node->safe_psql('ledger', 'SELECT bank_feed_cursor()');
$t1->query_safe('BEGIN');
$t1->query_safe("SELECT bank_withdraw(account(1), '1 HTG')");
$node->safe_psql('ledger', "SELECT bank_deposit(account(2), '2 HTG')");
wait_until("SELECT lag_events = 0 FROM bank_subscriptions", 'what has committed');
is($node->safe_psql('ledger', "SELECT count(*) FROM bank_feed('$cursor') WHERE event_type LIKE 'money.%'"), 1, 'what has not is not shown');
$t1->query_safe("SELECT bank_deposit(account(2), '3 HTG')");
$t1->query_safe('COMMIT');
$t1->quit;
wait_until("SELECT delivered >= (SELECT count(*) FROM bank_events) FROM bank_subscriptions", 'all three');
is_deeply([ sort map { $_->{id} } grep { $_->{data}{position} >= $from } got('/all') ],
	[ committed($node, $from) ], 'all three arrive');
is(disorder(got('/all')), '', "in the order of each account's versions");

# Many writers, one event in ten fails for a while
$receiver->rules([ [ '/all', '*', 'random:10:status:503' ] ]);
my %load = pgbench($node, 'ledger', clients => 16, transactions => 40, scripts => [<<'SQL', <<'SQL']);
\set a random(1, 20)
\set b 1 + (:a + random(0, 18)) % 20
SELECT attempt(format('SELECT bank_transfer(%L, %L, %L)', account(:a), account(:b), '0.01 HTG'));
SQL
\set a random(1, 20)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG');
ROLLBACK;
SQL
is("$load{status} $load{stderr}", '0 ', 'there is a load');
wait_until("SELECT lag_events = 0 AND retrying = 0 FROM bank_subscriptions", 'the load');
is_deeply([ sort map { $_->{id} } got('/all') ], [ committed($node, 1) ],
	'what is committed arrives, what is rolled back does not');
is(disorder(got('/all')), '', 'in order, although some had to be sent again');
$receiver->rules([]);

# A poisonous event: a dead letter in the end, later events of its accounts go on after it
$receiver->rules([ [ '/poison', '"amount": "0.66"', 'status:422' ] ]);
$node->safe_psql('ledger', <<"SQL");
SELECT FROM bank_subscribe('poison', '${\$receiver->url('/poison')}', max_attempts => 3, retry_delay => '100 ms');
SELECT bank_deposit(account(3), '0.66 HTG');
SELECT bank_deposit(account(3), '1 HTG');
SELECT bank_deposit(account(4), '1 HTG');
SQL
wait_until("SELECT count(*) = 1 FROM bank_dead_letters", 'a dead letter');
wait_until("SELECT lag_events = 0 FROM bank_subscriptions WHERE name = 'poison'", 'the others');
is( join(' ', map { $_->{data}{amount} } got('/poison')), '1.00 1.00', 'the others have arrived');
is(scalar(grep { $_->{answer} eq '422' } $receiver->requests('/poison')), 3, 'after three attempts');
$receiver->rules([]);
is($node->safe_psql('ledger', "SELECT bank_retry_dead_letters('poison')"), 1, 'it can be tried again');
wait_until("SELECT count(*) = 0 FROM bank_deliveries", 'the dead letter');
is(scalar(got('/poison')), 3, 'then it arrives too');

# An endpoint that fails: the breaker opens, costs no attempts, and closes
$receiver->rules([ [ '/down', '*', 'status:500' ] ]);
$node->safe_psql('ledger', <<"SQL");
SELECT FROM bank_subscribe('down', '${\$receiver->url('/down')}', concurrency => 1, retry_delay => '50 ms',
  failure_threshold => 2, breaker_timeout => '1 second', max_attempts => 3);
SELECT count(bank_deposit(account(n), '0.05 HTG')) FROM generate_series(1, 10) AS n;
SQL
wait_until("SELECT breaker_state = 'open' AND failed >= 4 FROM bank_subscriptions WHERE name = 'down'",
	'probes that fail');
is($node->safe_psql('ledger', "SELECT max(attempts) <= 1, count(*) FILTER (WHERE state = 'dead') FROM bank_deliveries"),
	't|0', 'probes cost no attempts');
like($node->safe_psql('ledger', "SELECT detail FROM bank_health() WHERE NOT ok"), qr/down \(breaker open: 500/,
	'bank_health says so');
$receiver->rules([]);
wait_until("SELECT breaker_state = 'closed' AND lag_events = 0 FROM bank_subscriptions WHERE name = 'down'",
	'the endpoint');
is(scalar(got('/down')), 10, 'nothing is lost');

# The worker is killed with requests under way
$receiver->rules([ [ '/killed', '*', 'hang' ] ]);
$node->safe_psql('ledger', <<"SQL");
SELECT FROM bank_subscribe('killed', '${\$receiver->url('/killed')}', mode => 'batch', batch_size => 10,
  concurrency => 20);
SELECT count(bank_deposit(account(1 + n % 20), '0.01 HTG')) FROM generate_series(1, 400) AS n;
SQL
$receiver->wait_for(sub { $receiver->requests('/killed') >= 2 }, 30, 'requests under way');
my ($pid) = split(/\n/, $node->safe_psql('ledger', 'SELECT pid FROM bank_relay_status()'));
$receiver->rules([]);
kill 'KILL', $pid;
$node->poll_query_until('ledger', "SELECT state = 'running' AND pid <> $pid FROM bank_relay_status()")
  or die 'no new worker';
wait_until("SELECT bool_and(lag_events = 0) FROM bank_subscriptions", 'what was under way');
is(scalar(got('/killed')), 400, 'everything arrives after the worker was killed');
is(disorder(got('/killed')), '', 'in order');

# Stopped, the database can be cloned; the clone is stopped too
isnt(outcome($node, 'postgres', 'CREATE DATABASE clone TEMPLATE ledger'), 'ok', 'a worker is connected');
$node->safe_psql('ledger', 'SELECT bank_relay_stop()');
is(outcome($node, 'postgres', 'CREATE DATABASE clone TEMPLATE ledger'), 'ok', 'after bank_relay_stop() none is');
is($node->safe_psql('clone', 'SELECT state FROM bank_relay_status()'), 'stopped', 'the clone does not deliver');
$node->safe_psql('ledger', "SELECT bank_deposit(account(7), '0.07 HTG')");

# A dump, restored where transaction ids are lower: what was not delivered is, and nothing else
my %before = map { $_->{id} => 1 } got('/all');
my $fresh = ledger_node('fresh', conf => $conf);
IPC::Run::run([ 'pg_dump', '-Fc', '-f', "$directory/dump", '-d', $node->connstr('ledger') ]) or die;
$node->stop;
$fresh->safe_psql('postgres', 'CREATE DATABASE ledger');
IPC::Run::run([ 'pg_restore', '-e', '-d', $fresh->connstr('ledger'), "$directory/dump" ]) or die;
is($fresh->safe_psql('ledger', 'SELECT state FROM bank_relay_status()'), 'stopped', 'the copy is stopped as well');
my $requests = $receiver->requests('/all');
$fresh->safe_psql('ledger', 'SELECT bank_relay_start()');
$fresh->safe_psql('ledger', "SELECT bank_deposit(account(8), '0.08 HTG')");
wait_until("SELECT bool_and(lag_events = 0) AND bool_and(delivered > 0) FROM bank_subscriptions", 'the rest', $fresh);
my @new = grep { !$before{ $_->{id} } } got('/all');
is( join(' ', map { $_->{data}{amount} // () } @new), '0.07 0.08', 'in the restored ledger delivery goes on where it was');
is($receiver->requests('/all'), $requests + @new, 'and repeats nothing');
is(disorder(got('/all')), '', 'in order');

$fresh->stop;
$receiver->stop;
done_testing();
