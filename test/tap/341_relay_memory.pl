# The memory of the worker is bounded, whatever is in its way: 100 000 events behind one that is refused
# again and again, which hold nobody else up; and events that are large.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Test::More;

# Events of a subscription in the worker at most (BANK_RELAY_ITEMS), and in a page of the feed.
my $most_events = 100_000;
my $page = 500;

my $accounts = 500;
my $poisoned = $accounts + 1;
# not the stripes of the bank's cash, which are opened when they are needed
my $movements = "event_types => '{money.*,transfer.*}'";
my $node = relay_node('memory', conf => <<'CONF');
max_wal_size = 4GB
CONF
my $receiver = Receiver->start('memory');

create_ledger($node, 'postgres');
add_functions($node, 'postgres');
open_accounts($node, 'postgres', 1, $poisoned, '10000.00 HTG');
my $cash = $node->safe_psql('postgres', "SELECT account_id FROM bank_accounts WHERE house_account = 'cash'");
$receiver->rules([ [ '/parked', '"poison": true', 'status:422' ] ]);
subscribe($node, 'postgres', 'parked', $receiver->url('/parked'),
	"mode => 'batch', batch_size => 100, max_attempts => 1000, retry_delay => '2 seconds',
	  retry_max_delay => '2 seconds'");
wait_for_delivery($node, 'postgres', 'parked');
my $worker = wait_for_worker($node, 'postgres');
my $memory = worker_memory($worker);

# Events of account $poisoned, behind one that the receiver refuses.
sub park
{
	my ($n) = @_;

	post_transfers($node, 'postgres', $n, "'$cash'::uuid", "account($poisoned)");
	return;
}

# Deposit to all other accounts and wait until that has arrived.
sub others_ok
{
	my ($name) = @_;
	my $before = delivered_events($receiver, '/parked');

	$node->safe_psql('postgres', "SELECT count(bank_deposit(account(i), '1 HTG')) FROM generate_series(1, $accounts) AS i");
	my $arrived = eval {
		$receiver->wait_for(sub { delivered_events($receiver, '/parked') >= $before + $accounts }, 60);
	};
	ok($arrived, "$name: events of other accounts arrive");
	return;
}
my $poison = $node->safe_psql('postgres',
	qq(SELECT event_id FROM bank_deposit(account($poisoned), '1 HTG', metadata => '{"poison": true}')));
wait_until($node, 'postgres', 'a refusal', "SELECT retrying = 1 FROM bank_subscriptions WHERE name = 'parked'");
my $parked = 0;
foreach my $more (16_000, 32_000, 40_000)
{
	park($more);
	$parked += $more;
	others_ok("$parked events parked");
}
my $row = subscription($node, 'postgres', 'parked');
is("$row->{state} $row->{breaker_state} $row->{lag_events} $row->{retrying}",
	'active closed ' . ($parked + 1) . ' 1', 'they are what is not delivered');
is( $node->safe_psql('postgres', <<"SQL"),
SELECT state, count(*), max(attempts) > 0, count(*) FILTER (WHERE event_id = '$poison')
FROM bank_deliveries GROUP BY state ORDER BY state
SQL
	"retrying|1|t|1\nwaiting|$parked|f|0", 'bank_deliveries has them');

# More than it keeps in memory
park(16_000);
$parked += 16_000;
my %most = watch_until_delivered($node, 'postgres', 'parked',
	sub { $_[0]->{events_in_memory} >= $most_events && $_[0]->{requests_in_flight} == 0 });
note sprintf('memory of the worker: %s when idle, at most %s with %d of %d parked events, %s of payloads',
	megabytes($memory), megabytes($most{memory}), $most{events}, $parked + 1, megabytes($most{bytes}));
cmp_ok($most{events}, '<', $most_events + $page, 'no more events in memory than that, and a page');
cmp_ok($most{memory} - $memory, '<', 400 * $most_events, 'and not much memory for each');

# What is behind those waits until it is accepted, or given up; then everything arrives.
$node->safe_psql('postgres', "SELECT count(bank_deposit(account(i), '1 HTG')) FROM generate_series(1, $accounts) AS i");
$receiver->rules([]);
my $start = time;
%most = watch_until_delivered($node, 'postgres', 'parked');
note sprintf('%d parked events arrived in %d s; memory at most %s', $parked, time - $start, megabytes($most{memory}));
my %result = deliveries_ok(account_events($node, 'postgres'), deliveries($receiver, '/parked'), 'parked');
cmp_ok($result{failed}, '>', 1, 'the first one was tried again and again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bank_deliveries'), 0, 'nothing waits any more');
is(wait_for_worker($node, 'postgres'), $worker, 'it is the same worker all the time');
$node->safe_psql('postgres', "SELECT bank_unsubscribe('parked')");

# A request that hangs holds up its own account only, however many events of others come meanwhile.
$receiver->rules([ [ '/hanging', sprintf('"subject" : "%s"', account_id(1)), 'hang' ] ]);
$node->safe_psql('postgres',
	"SELECT FROM bank_subscribe('hanging', '${\$receiver->url('/hanging')}', $movements, request_timeout => '5 minutes')");
$node->safe_psql('postgres',
	"SELECT count(bank_withdraw(account(1), '1 HTG')) FROM generate_series(1, 20) AS i");
$receiver->wait_for(sub { @{ deliveries($receiver, '/hanging') } == 1 }, 60, 'the request that hangs');
post_transfers($node, 'postgres', 8000, "account(2 + i % 200)", "account(202 + i % 200)");
$receiver->wait_for(sub { delivered_events($receiver, '/hanging') == 8000 }, 60, 'the events of others');
is(scalar(grep { !$_->{delivered} } @{ deliveries($receiver, '/hanging') }), 1, 'a request hangs, events of others arrive');
wait_until($node, 'postgres', 'the rows of what is held up',
	"SELECT lag_events = 20 FROM bank_subscriptions WHERE name = 'hanging'");
$receiver->rules([]);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$worker = wait_for_worker($node, 'postgres', $worker);
wait_for_delivery($node, 'postgres', 'hanging');
is(delivered_events($receiver, '/hanging'), 8020, 'when it is given up the others arrive too');
$node->safe_psql('postgres', "SELECT bank_unsubscribe('hanging')");

# So does an event that is refused: what waits for it, from account to account, and nobody else.
my $links = 40;
$receiver->rules([ [ '/chain', '"poison": true', 'status:422' ] ]);
$node->safe_psql('postgres',
	"SELECT FROM bank_subscribe('chain', '${\$receiver->url('/chain')}', $movements, retry_delay => '2 seconds', retry_max_delay => '2 seconds')");
$node->safe_psql('postgres', q(SELECT FROM bank_deposit(account(1), '1 HTG', metadata => '{"poison": true}')));
$node->safe_psql('postgres', "SELECT FROM bank_transfer(account($_), account($_ + 1), '1 HTG')") foreach 1 .. $links;
post_transfers($node, 'postgres', 8000, "account(102 + i % 200)", "account(302 + i % 198)");
$receiver->wait_for(sub { delivered_events($receiver, '/chain') >= 8000 }, 60, 'the events of others');
is(delivered_events($receiver, '/chain'), 8000, 'a chain of accounts waits, events of others arrive');
wait_until($node, 'postgres', 'the rows of the chain',
	"SELECT lag_events = 1 + $links FROM bank_subscriptions WHERE name = 'chain'");
$receiver->rules([]);
wait_for_delivery($node, 'postgres', 'chain');
is(delivered_events($receiver, '/chain'), 8000 + 1 + $links, 'and then those of the chain');
$node->safe_psql('postgres', "SELECT bank_unsubscribe('chain')");

# What waits for its turn only is not written down: few accounts, all of whose events wait for each other.
my $written = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'bank.deliveries'::regclass";
my $rows = $node->safe_psql('postgres', $written);
foreach my $mode ('single', 'batch')
{
	$node->safe_psql('postgres', "SELECT FROM bank_subscribe('few', '${\$receiver->url(qq(/few/$mode))}', $movements, mode => '$mode')");
	post_transfers($node, 'postgres', 8000, "account(1 + i % 7)", "account(8 + i % 3)");
	wait_for_delivery($node, 'postgres', 'few');
	is(delivered_events($receiver, "/few/$mode"), 8000, "few accounts, $mode: all arrive");
	$node->safe_psql('postgres', "SELECT bank_unsubscribe('few')");
}
cmp_ok($node->safe_psql('postgres', $written) - $rows, '<', 1600, 'few accounts: what waits for its turn is not written');

# Large events: 60 kB of metadata each, such as compress well, and such as do not.
my $large = 60_000;
my $number = 2000;
my $setting = 8;
my @subscriptions = ([ single => '' ], [ batch => ", mode => 'batch', batch_size => 100" ]);
$node->append_conf('postgresql.conf', "banking.relay_memory = ${setting}MB\n");
$node->reload;
foreach my $metadata (
	[ 'that compress well', "repeat('x', $large)" ],
	[
		'that do not compress',
		"(SELECT string_agg(md5(i::text || n::text), '') FROM generate_series(1, $large / 32) AS n)"
	])
{
	my ($what, $text) = @$metadata;

	foreach (@subscriptions)
	{
		my ($name, $mode) = @$_;

		$node->safe_psql('postgres', "SELECT FROM bank_subscribe('$name', '${\$receiver->url(qq(/$name))}', $movements$mode)");
		$node->safe_psql('postgres', "SELECT bank_pause_subscription('$name')");
	}
	my $first = $node->safe_psql('postgres', 'SELECT max(position) FROM bank.events');
	$node->safe_psql('postgres', <<"SQL");
SELECT count(bank_deposit(account(1 + i % $accounts), '1 HTG', metadata => jsonb_build_object('text', $text)))
FROM generate_series(1, $number) AS i
SQL
	my $before = worker_memory($worker);
	foreach (@subscriptions)
	{
		my ($name) = @$_;
		my $got = delivered_events($receiver, "/$name");

		$node->safe_psql('postgres', "SELECT bank_resume_subscription('$name')");
		%most = watch_until_delivered($node, 'postgres', $name,
			sub { delivered_events($receiver, "/$name") >= $got + $number });
		note sprintf('%d events of %d kB %s, %s: at most %s of payloads; memory of the worker %s before, at most %s',
			$number, $large / 1000, $what, $name, map { megabytes($_) } $most{bytes}, $before, $most{memory});
		cmp_ok($most{bytes}, '<=', $setting * 1024 * 1024 + $page * ($large + 1000),
			"events $what, $name: no more payloads in memory than allowed, and a page");
		cmp_ok($most{bytes}, '>', 0, "events $what, $name: there were some");
		cmp_ok($most{memory}, '<', 128 * 1024 * 1024, "events $what, $name: nor much memory besides");
		wait_for_delivery($node, 'postgres', $name);
		$node->safe_psql('postgres', "SELECT bank_unsubscribe('$name')");
	}
}
foreach (@subscriptions)
{
	my ($name) = @$_;
	my %seen;

	$seen{ $_->[0] }++ foreach map { @{ $_->{events} } } @{ deliveries($receiver, "/$name") };
	is(scalar keys %seen, 2 * $number, "large events, $name: all have arrived");
	is(scalar(grep { $_ > 1 } values %seen), 0, "large events, $name: each once");
}
is(wait_for_worker($node, 'postgres'), $worker, 'large events: it is the same worker all the time');

$node->stop;
done_testing();
