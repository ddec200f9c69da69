# Sinks of others: the sample one, test/sink, writes events to a file in order; when it fails the relay
# tries again, gives up and opens its breaker as with any endpoint. And what is no sink, or is not named as
# one: refused when subscribing.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use JSON::PP ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;
use Workers;

chomp(my $libdir = `pg_config --pkglibdir`);
plan skip_all => "the sample sink is not installed in $libdir: make -C test/sink install"
  unless -e "$libdir/banking_spool.so";

my $node = relay_node('sink', conf => "autovacuum = off\n");
my $directory = PostgreSQL::Test::Utils::tempdir;

create_ledger($node, 'ledger');
varied_history($node, 'ledger');

# Subscribe a file of the test's directory, from the beginning; more: query of the URL, further arguments.
sub spool
{
	my ($name, $query, @arguments) = @_;

	subscribe($node, 'ledger', $name, "file://$directory/$name$query", join(', ', "sink => 'spool'", @arguments));
	return;
}

# The events in a file, in its order.
sub spooled
{
	my ($name) = @_;

	return () unless -e "$directory/$name";
	return map { JSON::PP::decode_json($_) } split(/\n/, slurp_file("$directory/$name"));
}

# A test: a file has every event of the ledger, once, those of an account in the order of its versions.
sub spooled_ok
{
	my ($name, $what) = @_;
	my @events = spooled($name);
	my (%version, @wrong);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	foreach my $event (@events)
	{
		my $data = $event->{data};

		foreach my $place ([ $event->{subject}, $data->{version} ], [ $data->{peer_id}, $data->{peer_version} ])
		{
			my ($account, $version) = @$place;

			next unless defined $account && $account =~ /^00000000-/;
			push @wrong, "version $version of $account" if $version != ++$version{$account};
		}
	}
	is("@wrong", '', "$what: the events of each account are in order");
	is( join(' ', sort map { $_->{id} } @events),
		join(' ', split(/\n/, $node->safe_psql('ledger', 'SELECT event_id FROM bank_events ORDER BY event_id::text'))),
		"$what: the file has each event once");
	return;
}

# It delivers.
spool('single', '');
spool('batch', '', "mode => 'batch'", 'batch_size => 7');
open_accounts($node, 'ledger', 101, 140, '10.00 HTG');
my %load = pgbench($node, 'ledger', clients => 4, transactions => 25, scripts => [<<'SQL']);
\set a random(101, 140)
\set b 101 + (:a - 101 + random(1, 39)) % 40
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a', '00000000-0000-7000-8000-000000000:b', '0.01 HTG');
SQL
is("$load{status} $load{stderr}", '0 ', 'there are events');
wait_for_delivery($node, 'ledger', 'single', 'batch');
spooled_ok('single', 'one by one');
spooled_ok('batch', 'in batches');
is($node->safe_psql('ledger', "SELECT string_agg(concat_ws(' ', name, sink, state, breaker_state, failed), ', ' ORDER BY name)
  FROM bank_subscriptions"), 'batch spool active closed 0, single spool active closed 0', 'the view shows its sink');

# What a file has is what the HTTP sink would send: an event of CloudEvents.
my ($deposit) = grep { $_->{type} eq 'money.deposited' && ($_->{data}{metadata}{note} // '') =~ /first/ } spooled('single');
is_deeply(
	{ map { $_ => $deposit->{$_} } qw(specversion source type subject datacontenttype) },
	{
		specversion => '1.0',
		source => '/banking/ledger',
		type => 'money.deposited',
		subject => account_id(1),
		datacontenttype => 'application/json'
	},
	'an event');
is($deposit->{data}{metadata}{note}, "first\nline; DROP TABLE x; --", 'with all of its data');

# It rejects events: each is tried as often as it may be, and given up; the endpoint is well.
my $events = $node->safe_psql('ledger', 'SELECT count(*) FROM bank_events');
spool('rejected', '?fail=rejected', 'max_attempts => 3', "retry_delay => '10 ms'", "on_failure => 'skip'",
	'failure_threshold => 2');
wait_until($node, 'ledger', 'all events to be given up',
	"SELECT dead_letters = $events AND retrying = 0 FROM bank_subscriptions WHERE name = 'rejected'");
is( $node->safe_psql('ledger',
		"SELECT DISTINCT attempts, last_error FROM bank_dead_letters WHERE subscription = 'rejected'"),
	'3|the URL asks to reject',
	'a sink that rejects: every event is a dead letter after its attempts');
is( $node->safe_psql('ledger',
		"SELECT breaker_state, failed, delivered FROM bank_subscriptions WHERE name = 'rejected'"),
	join('|', 'closed', 3 * $events, 0),
	'its breaker stays closed');
ok(!-e "$directory/rejected", 'nothing was written');
like(health($node, 'ledger')->{dead_letters}, qr/^f .*rejected \($events\)/, 'bank_health tells of them');
is( $node->safe_psql(
		'ledger',
		"SELECT bank_change_subscription('rejected', url => 'file://$directory/rejected');
		 SELECT bank_retry_dead_letters('rejected')"),
	"\n$events",
	'its URL is changed, the dead letters are tried again');
wait_until($node, 'ledger', 'the dead letters to be delivered',
	"SELECT dead_letters = 0 AND lag_events = 0 FROM bank_subscriptions WHERE name = 'rejected'");
spooled_ok('rejected', 'tried again');

# It cannot be reached: the breaker opens, and nothing is given up.
spool('unreached', '?fail=unreached', 'max_attempts => 3', "retry_delay => '10 ms'", "retry_max_delay => '20 ms'",
	'failure_threshold => 2', "breaker_timeout => '300 ms'", 'concurrency => 2');
wait_until($node, 'ledger', 'the breaker to have opened more than once',
	"SELECT breaker_state = 'open' AND failed >= 6 FROM bank_subscriptions WHERE name = 'unreached'");
is(subscription($node, 'ledger', 'unreached')->{last_error},
	'the URL asks to fail', 'a sink that cannot be reached: the breaker opens');
is(subscription($node, 'ledger', 'unreached')->{dead_letters}, 0, 'probes cost no attempts: nothing is given up');
is($node->safe_psql('ledger',
		"SELECT COALESCE(max(attempts), 0) < 3 FROM bank_deliveries WHERE subscription = 'unreached'"),
	't', 'no event has used them up');
like(health($node, 'ledger')->{endpoints}, qr/^f .*unreached \(breaker/, 'bank_health tells of it');
$node->safe_psql('ledger', "SELECT bank_change_subscription('unreached', url => 'file://$directory/unreached')");
wait_for_delivery($node, 'ledger', 'unreached');
is(subscription($node, 'ledger', 'unreached')->{breaker_state}, 'closed', 'reached, it closes its breaker');
spooled_ok('unreached', 'after the breaker');

# A file that is no good now, and later is.
subscribe($node, 'ledger', 'missing', "file://$directory/missing/file",
	"sink => 'spool', retry_delay => '10 ms', retry_max_delay => '100 ms', breaker_timeout => '200 ms'");
wait_until($node, 'ledger', 'the error of the file',
	"SELECT last_error = 'could not open the file' FROM bank_subscriptions WHERE name = 'missing'");
mkdir "$directory/missing" or die "could not create a directory: $!";
wait_for_delivery($node, 'ledger', 'missing');
spooled_ok('missing/file', 'once there is a directory');

# What is refused when subscribing.
my %refused = (
	"the sink's own check" => [ 'spool', 'http://example.com/', 'BK026', qr/must begin with file:/ ],
	'another check of it' => [ 'spool', 'file:///x?fail=perhaps', 'BK026', qr/no other query/ ],
	'no such sink' => [ 'nosuch', 'file:///x', '58P01', qr/could not access file.*banking_nosuch/ ],
	map { ("name \"$_\"" => [ $_, 'file:///x', 'BK026', qr/lower-case letters, digits and underscores/ ]) } (
		'', '../x', '../../lib/banking_spool', 'spool/../spool', '/tmp/x', 'http; drop', 'SPOOL', 'spool.so',
		'spool ', 'http"', "a\nb", 'x' x 33, "sp\x{c3}\x{b6}l", '$libdir'));
if (-e "$libdir/banking_nosink.so" && -e "$libdir/banking_oldsink.so")
{
	$refused{'a library that is no sink'} = [ 'nosink', 'file:///x', 'BK026', qr/Its library is no sink/ ];
	$refused{'a sink of another version'} = [ 'oldsink', 'file:///x', 'BK026', qr/another version of the relay/ ];
}
else
{
  SKIP:
	{
		skip "libraries that are no sinks are not installed in $libdir: make -C test/sink/refused install", 2;
	}
}
foreach my $what (sort keys %refused)
{
	my ($sink, $url, $state, $pattern) = @{ $refused{$what} };
	my $command = "SELECT bank_subscribe('refused', '$url', sink => '$sink')";
	my (undef, undef, $error) = $node->psql('ledger', $command, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	like($error, qr/ERROR:  $state: .*$pattern/s, 'refused: ' . one_line($what));
}
like(outcome($node, 'ledger', "SELECT bank_subscribe('refused', 'file:///x', sink => NULL)"),
	qr/^BK026$/, 'refused: no sink');
is($node->safe_psql('ledger', "SELECT count(*) FROM bank.subscriptions WHERE name = 'refused'"),
	0, 'nothing of that is left');

# A library that has gone since: the worker says so, serves the others, and is not disturbed.
my $pid = relay_status($node, 'ledger')->{pid};
my $offset = -s $node->logfile;
$node->safe_psql('ledger', "UPDATE bank.subscriptions SET sink = 'gone' WHERE name = 'batch'");
$node->wait_for_log(qr/banking relay: subscription "batch" has no sink "gone": could not access file/, $offset);
my $id = $node->safe_psql('ledger', "SELECT event_id FROM bank_deposit('" . account_id(101) . "', '1 HTG')");
wait_for_delivery($node, 'ledger', 'single');
is((grep { $_->{id} eq $id } spooled('single')) ? 1 : 0, 1, 'a sink that has gone does not stop the others');
is(scalar(grep { $_->{id} eq $id } spooled('batch')), 0, 'its own subscription waits');
$node->safe_psql('ledger', "UPDATE bank.subscriptions SET sink = 'spool' WHERE name = 'batch'");
wait_for_delivery($node, 'ledger', 'batch');
spooled_ok('batch', 'when it is back');

# Another sink while requests are under way: it is the one that has them that must give them up.
my $receiver = Receiver->start('sink');
$receiver->rules([ [ '/hang', '*', 'hang' ] ]);
subscribe($node, 'ledger', 'hang', $receiver->url('/hang'), "request_timeout => '5 minutes'");
wait_until($node, 'ledger', 'requests that hang', 'SELECT requests_in_flight > 5 FROM bank_relay_status()');
$node->safe_psql('ledger', "UPDATE bank.subscriptions SET sink = 'spool', url = 'file://$directory/other' WHERE name = 'hang';
  SELECT bank_replay('hang')");
wait_for_delivery($node, 'ledger', 'hang');
spooled_ok('other', 'given from one sink to another');
is(relay_status($node, 'ledger')->{requests_in_flight}, 0, 'no request is left with the former one');
is(relay_status($node, 'ledger')->{pid}, $pid, 'it was the same worker all the time');

ledger_ok($node, 'ledger', 'in the end');
$node->stop;
done_testing();
