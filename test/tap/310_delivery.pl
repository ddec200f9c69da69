# What the relay delivers, to a real endpoint: which events, as what, signed how, in which order, how many
# at a time; and what changes when the subscription does. Failures are the matter of 311 and 312.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use JSON::PP ();
use Ledger;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver qw(signature_ok);
use Test::More;

my $node = relay_node('delivery');
my $receiver = Receiver->start('delivery');

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
varied_history($node, 'ledger');
wait_for_worker($node, 'ledger');

# Make a subscription to the path of its name; returns its secret if one was made.
sub hook
{
	my ($name, @arguments) = @_;
	return $node->safe_psql('ledger',
		'SELECT secret FROM bank_subscribe(' . join(', ', "'$name'", "'" . $receiver->url("/$name") . "'", @arguments) . ')');
}

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('ledger', $sql);
}

# The requests at a path that was given this name.
sub requests
{
	my ($name) = @_;
	return $receiver->requests("/$name");
}

# Wait until a path has got so many events in all.
sub wait_for_events
{
	my ($name, $n) = @_;
	return $receiver->wait_for(sub { $receiver->events("/$name") >= $n }, 60, "$n events at /$name");
}

# A test: exactly the events that a condition on bank.events names have arrived at a path, each once.
sub got_ok
{
	my ($name, $condition, $test) = @_;
	my @expected = sort split(/\n/, sql("SELECT event_id FROM bank.events AS e WHERE $condition"));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is_deeply([ sort map { $_->{id} } $receiver->events("/$name") ], \@expected, $test // $name);
}

# Which accounts' events came in another order than that of their versions; "" if none.
sub disorder
{
	my ($name) = @_;
	my (%version, @wrong);

	foreach my $event ($receiver->events("/$name"))
	{
		my $data = $event->{data};

		foreach my $side ([ $event->{subject}, $data->{version} ], [ $data->{peer_id}, $data->{peer_version} ])
		{
			my ($account, $version) = @$side;

			next unless defined $account && $account =~ /^00000000-0000-7000-8000-/;
			push @wrong, "$account: $version after $version{$account}"
			  if exists $version{$account} && $version <= $version{$account};
			$version{$account} = $version;
		}
	}
	return join(', ', @wrong);
}

# One event of each kind there is, as CloudEvents say it, and as Standard Webhooks sign it.
my $secret = hook(
	'all',
	"start => 'beginning'",
	qq(headers => '{"Authorization": "Bearer 7f3c-very-secret", "X-Number": "1", "X-Empty": "", "x-lower": "a; b=c"}'));
like($secret, qr/^whsec_[A-Za-z0-9+\/]+=*$/, 'a secret is made');
wait_for_delivery($node, 'ledger', 'all');
got_ok('all', 'true', 'every event has arrived, once');
is(disorder('all'), '', "in the order of each account's versions");
my $expected = JSON::PP::decode_json(sql(<<'SQL'));
SELECT json_object_agg(e.event_id, json_build_object(
  'specversion', '1.0', 'id', e.event_id, 'source', '/banking/ledger', 'type', e.event_type, 'subject', e.aggregate_id,
  'time', to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'datacontenttype', 'application/json',
  'data', e.event_data || jsonb_build_object('position', e.position, 'version', e.version, 'peer_id', e.peer_id,
    'peer_version', e.peer_version, 'metadata', e.metadata,
    'occurred_at', to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))))
FROM bank_events AS e
SQL
my %types;
foreach my $request (requests('all'))
{
	my ($event) = @{ $request->{events} };
	my @wrong;

	$types{ $event->{type} } = 1;
	push @wrong, 'method' if $request->{method} ne 'POST';
	push @wrong, "type $request->{type}" if $request->{type} ne 'application/cloudevents+json; charset=UTF-8';
	push @wrong, 'more than one event' if @{ $request->{events} } != 1 || $request->{body} !~ /^\{.*\}$/s;
	push @wrong, 'id' if $request->{id} ne $event->{id};
	push @wrong, "timestamp $request->{timestamp}"
	  if $request->{timestamp} !~ /^\d+$/ || abs($request->{timestamp} - $request->{time} / 1e6) > 60;
	push @wrong, "signature $request->{signature}"
	  if $request->{signature} !~ /^v1,\S+$/ || !signature_ok($request, $secret);
	push @wrong, 'attributes' if grep { !/^[a-z0-9]{1,20}$/ } keys %$event;
	foreach my $attribute (qw(specversion id source type subject time datacontenttype))
	{
		push @wrong, "no $attribute"
		  if !defined $event->{$attribute} || ref $event->{$attribute} || $event->{$attribute} eq '';
	}
	push @wrong, 'no data' if ref $event->{data} ne 'HASH';
	my %headers = ('user-agent' => 'banking', 'x-number' => '1', 'x-empty' => '', 'x-lower' => 'a; b=c',
		authorization => 'Bearer 7f3c-very-secret');
	foreach my $header (sort keys %headers)
	{
		push @wrong, "header $header" if ($request->{headers}{$header} // 'none') ne $headers{$header};
	}
	push @wrong, 'headers that nobody has asked for: ' . join(' ', sort keys %{ $request->{headers} })
	  if keys(%{ $request->{headers} }) != keys(%headers) + 7;
	is(join(', ', @wrong), '', "$event->{type} $event->{data}{position}: request");
	is_deeply($event, $expected->{ $event->{id} }, "$event->{type} $event->{data}{position}: event");
}
is( join(' ', sort keys %types),
	sql('SELECT string_agg(e::text, $$ $$ ORDER BY e::text COLLATE "C") FROM unnest(enum_range(NULL::bank.event_type)) AS e'),
	'all types of events were among them');
unlike(join('', map { $_->{body} } requests('all')), qr/"amount": [0-9]/, 'amounts are strings');
is(scalar(grep { signature_ok($_, 'whsec_' . encode_base64('x' x 32, '')) } requests('all')),
	0, 'another secret does not fit');

# No view shows the secret or the value of a header, in whatever form.
{
	my ($key) = $secret =~ /^whsec_(.*)/;
	my $hex = unpack('H*', MIME::Base64::decode_base64($key));
	my @views = split(/\n/, sql(<<'SQL'));
SELECT c.oid::regclass FROM pg_class AS c JOIN pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'banking') AND d.deptype = 'e'
  AND c.relkind IN ('v', 'm') AND c.relname LIKE 'bank\_%' ORDER BY 1
SQL
	cmp_ok(scalar @views, '>=', 7, 'there are views');
	foreach my $view (@views, 'bank_relay_status()', 'bank_health()')
	{
		is( sql("SELECT count(*) FROM $view AS v, unnest(ARRAY['7f3c-very-secret', '$key', '$hex']) AS s
			  WHERE strpos(v::text, s) > 0"),
			0, "nothing secret in $view");
	}
	like(sql("SELECT header_names FROM bank_subscriptions WHERE name = 'all'"),
		qr/^\{.*Authorization.*\}$/, 'only the names of headers');
	is(sql("SELECT count(*) FROM bank.subscriptions AS v WHERE strpos(v::text, '7f3c-very-secret') > 0"),
		1, 'this search would have found it');
	is(sql("SELECT count(*) FROM bank.subscription_secrets AS v WHERE strpos(v::text, '$hex') > 0"), 1, 'and the secret');
}

# Secrets: a given one, a new one beside it, and the new one alone.
my $given = 'whsec_' . encode_base64(join('', map { chr } 0 .. 23), '');
is(hook('secrets', "secret => '$given'", "event_types => '{money.deposited}'"), '', 'a given secret is not returned');

# Deposit, and return what it looks like at a path.
sub signed
{
	my ($name) = @_;
	my $id = sql("SELECT event_id FROM bank_deposit(account(8), '1 HTG')");
	my $request;

	$receiver->wait_for(sub { ($request) = grep { ($_->{id} // '') eq $id } requests($name) }, 60, 'a request');
	return $request;
}

sub signatures_ok
{
	my ($request, $name, @secrets) = @_;
	my @signatures = split(/ /, $request->{signature});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar @signatures, scalar @secrets, "$name: one signature for each secret");
	foreach my $i (0 .. $#secrets)
	{
		ok(signature_ok({ %$request, signature => $signatures[$i] }, $secrets[$i]), "$name: signature " . ($i + 1));
	}
	return;
}
signatures_ok(signed('secrets'), 'given', $given);
my $second = sql("SELECT secret FROM bank_rotate_secret('secrets')");
like($second, qr/^whsec_[A-Za-z0-9+\/]{43}=$/, 'rotated: a new secret is made');
isnt($second, $secret, 'another one');
signatures_ok(signed('secrets'), 'rotated', $second, $given);
my $third = 'whsec_' . encode_base64('z' x 64, '');
is(sql("SELECT secret FROM bank_rotate_secret('secrets', '$third', keep_old => '1 hour')"), '', 'rotated to a given one');
signatures_ok(signed('secrets'), 'rotated twice', $third, $second, $given);
is(sql("SELECT secrets FROM bank_subscriptions WHERE name = 'secrets'"), 3, 'which the view counts');
sql("SELECT bank_rotate_secret('secrets', '$second', keep_old => '2 seconds')");
signatures_ok(signed('secrets'), 'the old ones end soon', $second, $third, $second, $given);
$receiver->wait_for(sub { signed('secrets')->{signature} !~ / / }, 30, 'the old secrets to end');
signatures_ok(signed('secrets'), 'the old ones have ended', $second);
sql("SELECT bank_rotate_secret('secrets', '$given', keep_old => '0')");
signatures_ok(signed('secrets'), 'rotated at once', $given);

# Filters. Each subscription begins at the beginning; then more happens.
my $cash = sql("SELECT account_id FROM bank_accounts WHERE (house_account, currency) = ('cash', 'HTG')");
my $vault = sql("SELECT account_id FROM bank_accounts WHERE (house_account, currency) = ('vault', 'HTG')");
my $owner = '00000000-0000-4000-8000-000000000002';
sql("SELECT bank_create_account('$owner', 'COURANT', 'HTG', account_id => account($_))") foreach 10, 11;
my ($one, $five, $ten, $forty) = map { account_id($_) } 1, 5, 10, 40;

# the account of a transfer to or from another ledger, or of a request for approval, not all of whose events name it
my $of_transfer = '(SELECT t.account_id FROM bank.transfers AS t WHERE t.transfer_id = e.aggregate_id
  UNION ALL SELECT r.account_id FROM bank.approvals AS r WHERE r.request_id = e.aggregate_id)';

# an event touches one of these accounts, which may be the bank's
sub touches
{
	my (@accounts) = @_;
	my $accounts = join(', ', map { "'$_'" } @accounts);

	return "EXISTS (SELECT FROM bank.accounts AS a WHERE a.account_id IN (e.aggregate_id, e.peer_id, $of_transfer)
	  AND (a.account_id IN ($accounts) OR a.house_account_id IN ($accounts)))";
}
my %filters = (
	everything => [ "event_types => '{*}'", 'true' ],
	accounts => [ "event_types => '{account.*}'", "e.event_type::text LIKE 'account.%'" ],
	created => [ "event_types => '{*.created}'", "e.event_type::text LIKE '%.created'" ],
	underscore => [ "event_types => '{account.limits_changed}'", "e.event_type = 'account.limits_changed'" ],
	some_types => [
		"event_types => '{money.withdrawn,transfer.*,*frozen}'",
		"e.event_type::text LIKE 'transfer.%' OR e.event_type IN ('money.withdrawn', 'account.frozen', 'account.unfrozen')"
	],
	one_account => [ "account_ids => '{$one}'", touches($one) ],
	two_accounts => [ "account_ids => '{$five,$ten}'", touches($five, $ten) ],
	of_transfers => [ "account_ids => '{$forty}'", touches($forty) ],
	no_account => [ "account_ids => '{00000000-0000-7000-8000-00000000abcd}'", 'false' ],
	cash => [ "account_ids => '{$cash}'", touches($cash) ],
	vault => [ "account_ids => '{$vault}'", touches($vault) ],
	owner => [ "owner_ids => '{$owner}'", touches(map { account_id($_) } 10, 11) ],
	owners => [
		"owner_ids => '{$owner,00000000-0000-4000-8000-000000000001}'",
		"EXISTS (SELECT FROM bank.accounts AS a WHERE a.account_id IN (e.aggregate_id, e.peer_id, $of_transfer)
		  AND a.owner_id IN ('$owner', '00000000-0000-4000-8000-000000000001'))"
	],
	yen => [ "currencies => '{JPY}'", "e.currency = 'JPY'" ],
	dinars_and_yen => [ "currencies => '{KWD,JPY}'", "e.currency IN ('KWD', 'JPY')" ],
	all_at_once => [
		"currencies => '{HTG}', account_ids => '{$one,$ten}', event_types => '{money.*}', "
		  . "owner_ids => '{00000000-0000-4000-8000-000000000001}'",
		touches($one) . " AND e.event_type::text LIKE 'money.%'"
	]);
hook($_, "start => 'beginning'", $filters{$_}[0]) foreach sort keys %filters;
sql(<<'SQL');
SELECT bank_deposit(account(10), '5 HTG'), bank_deposit(account(3), '7 JPY'), bank_deposit(account(1), '1 HTG', house_account => 'vault');
SELECT bank_transfer(account(10), account(11), '1 HTG'), bank_transfer(account(1), account(10), '1 HTG');
SELECT bank_freeze(account(11));
SELECT bank_withdraw(account(10), '1 HTG', house_account => 'vault');
SELECT bank_set_limits(account(9), balance_limit => '900 HTG');
SELECT bank_create_house_account('new', 'HTG');
SQL
wait_for_delivery($node, 'ledger', keys %filters);
foreach my $name (sort keys %filters)
{
	got_ok($name, $filters{$name}[1], "filter: $name");
	cmp_ok(scalar $receiver->events("/$name"), '>', 0, "filter: $name: there are some") if $name ne 'no_account';
	is(disorder($name), '', "filter: $name: in order");
}
sql("SELECT bank_unsubscribe('$_')") foreach keys %filters;
is(sql('SELECT count(*) FROM bank_subscriptions'), 2, 'unsubscribed');

# Where to begin. What has not committed comes with every start.
{
	my $writer = $node->background_psql('ledger');
	$writer->query_safe('BEGIN');
	my $open = $writer->query_safe("SELECT position FROM bank_deposit(account(9), '1 HTG')");
	my ($middle, $time) = split(/\|/,
		sql('SELECT position, recorded_at FROM bank.events ORDER BY position OFFSET 20 LIMIT 1'));
	sql("SELECT bank_deposit(account(8), '1 HTG')");
	hook('now');
	hook('start_now', "start => 'now'");
	hook('beginning', "start => 'beginning'");
	hook('position', "start_position => $middle");
	hook('position_0', 'start_position => 0');
	hook('position_far', 'start_position => 1000000');
	hook('time', "start_time => '$time'");
	hook('time_past', "start_time => '1999-01-01'");
	hook('time_future', "start_time => now() + interval '1 hour'");
	my $last = sql('SELECT max(position) FROM bank.events');
	sql("SELECT bank_deposit(account(8), '1 HTG')");
	wait_for_delivery($node, 'ledger', 'beginning', 'position', 'time', 'now');
	is(scalar(grep { $_->{data}{position} == $open } $receiver->events("/beginning")), 0,
		'what has not committed has not arrived');
	$writer->query_safe('COMMIT');
	$writer->quit;
	wait_for_events($_, 2) foreach qw(now start_now time_future position_far);
	wait_for_delivery($node, 'ledger', qw(now start_now beginning position position_0 time time_past time_future));
	my $new = "e.position > $last OR e.position = $open";
	got_ok('now', $new, 'start: now, by default');
	got_ok('start_now', $new, 'start: now');
	got_ok('beginning', 'true', 'start: beginning');
	got_ok('position', "e.position >= $middle OR e.position = $open", 'start: a position');
	got_ok('position_0', 'true', 'start: position 0');
	got_ok('position_far', $new, 'start: a position yet to come: what has not committed comes all the same');
	got_ok('time', "e.recorded_at >= '$time' OR e.position = $open", 'start: a time');
	got_ok('time_past', 'true', 'start: a time before all');
	got_ok('time_future', $new, 'start: a time yet to come');
	sql("SELECT bank_unsubscribe(name) FROM bank_subscriptions WHERE name <> 'all'");
}

# Batches: arrays, not longer than wanted, in order inside too, each with a name of its own that stays.
open_accounts($node, 'ledger', 101, 120, '100.00 HTG');
{
	hook('batches', "start => 'beginning'", "mode => 'batch', batch_size => 7, concurrency => 1");
	hook('batch_of_1', "start => 'beginning'", "mode => 'batch', batch_size => 1");
	my $key = hook('batch_of_1000', "start => 'beginning'", "mode => 'batch', batch_size => 1000");
	wait_for_delivery($node, 'ledger', qw(batches batch_of_1 batch_of_1000));
	my @rest = requests('batches');
	my @all = map { @{ $_->{events} } } @rest;
	is(join(' ', sort map { $_->{id} } @all), join(' ', sort split(/\n/, sql('SELECT event_id FROM bank.events'))),
		'batch: all events, each once');
	is(scalar(grep { $_->{body} !~ /^\[\{.*\}\]$/s } requests('batches')), 0, 'batch: arrays');
	is(scalar(grep { @{ $_->{events} } > 7 || @{ $_->{events} } < 1 } @rest), 0, 'batch: not longer than wanted');
	cmp_ok(scalar(grep { @{ $_->{events} } == 7 } @rest), '>', 5, 'batch: most of them full');
	is(scalar(grep { $_->{type} ne 'application/cloudevents-batch+json; charset=UTF-8' } @rest), 0, 'batch: their type');
	is(scalar(grep { $_->{id} !~ /^batch_[0-9a-f]{32}$/ } @rest), 0, 'batch: their names');
	my %names = map { $_->{id} => 1 } @rest;
	is(scalar keys %names, scalar @rest, 'batch: each has its own');
	is(scalar(grep { !signature_ok($_, $key) } requests('batch_of_1000')), 0, 'batch: signed');
	is(disorder('batch_of_1000'), '', 'batch: in order inside, too');
	cmp_ok(scalar requests('batch_of_1000'), '<', 10, 'batch: large ones');
	is(scalar(grep { $_->{body} !~ /^\[/ || @{ $_->{events} } != 1 } requests('batch_of_1')), 0, 'batch: of one event, an array');
	got_ok($_, 'true', "$_: all events") foreach qw(batch_of_1 batch_of_1000);
	is_deeply((requests('batch_of_1'))[0]{events}[0], (requests('batch_of_1000'))[0]{events}[0],
		'batch: the same events');

	# one that fails comes again as it was
	$receiver->rules([ [ '/batches', '*', 'times:2:status:503|ok' ] ]);
	sql("SELECT bank_change_subscription('batches', retry_delay => '200 ms')");
	sql('SELECT bank_deposit(account(n), $$1 HTG$$) FROM generate_series(101, 105) AS n');
	wait_for_delivery($node, 'ledger', 'batches');
	my @attempts = (requests('batches'))[ scalar @rest .. scalar requests('batches') - 1 ];
	is(join(' ', map { $_->{answer} } @attempts), '503 503 204', 'batch: two attempts fail');
	is(scalar(grep { $_->{id} eq $attempts[0]{id} && $_->{body} eq $attempts[0]{body} } @attempts), 3,
		'batch: all have the same name and the same events');
	cmp_ok(scalar @{ $attempts[0]{events} }, '>=', 5, 'batch: all of a transaction');
	sql("SELECT bank_unsubscribe('$_')") foreach qw(batches batch_of_1 batch_of_1000);
}

# One request at a time for an account, different ones side by side: also when one session has made all the deposits, so
# that they share a stripe of the house account.
{
	$receiver->rules([ [ '/', '*', 'delay:300' ] ]);
	hook('parallel', "event_types => '{money.*,transfer.*}', concurrency => 30");
	sql("SELECT bank_pause_subscription('all')");
	$receiver->reset_stats;
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 101 .. 120));
	is( sql("SELECT count(DISTINCT peer_id) FROM (SELECT peer_id FROM bank.events ORDER BY position DESC LIMIT 20) AS e"),
		1, 'parallel: 20 deposits share a stripe');
	wait_for_events('parallel', 20);
	is($receiver->stats->{max_in_flight}, 20, 'parallel: 20 accounts, 20 requests at a time');
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'answers');

	$receiver->rules([ [ '/', '*', 'delay:50' ] ]);
	$receiver->reset_stats;
	sql(join(";\n", map { "SELECT bank_deposit(account(101), '1 HTG')" } 1 .. 10));
	wait_for_events('parallel', 30);
	is($receiver->stats->{max_in_flight}, 1, 'parallel: one account, one request at a time');
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'answers');

	# a transfer waits for both of its accounts, and both for it: three pairs in turn
	$receiver->reset_stats;
	sql(join(";\n", map { ("SELECT bank_transfer(account(101), account(102), '1 HTG')",
		"SELECT bank_transfer(account(102), account(103), '1 HTG')",
		"SELECT bank_transfer(account(103), account(101), '1 HTG')") } 1 .. 4));
	wait_for_events('parallel', 42);
	is($receiver->stats->{max_in_flight}, 1, 'parallel: transfers that touch each other, one at a time');
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'answers');
	$receiver->reset_stats;
	sql(join(";\n", map { "SELECT bank_transfer(account($_), account(" . ($_ + 1) . "), '1 HTG')" } grep { $_ % 2 } 101 .. 120));
	wait_for_events('parallel', 52);
	is($receiver->stats->{max_in_flight}, 10, 'parallel: transfers that do not, side by side');

	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'answers');
	sql("SELECT bank_change_subscription('parallel', concurrency => 3)");
	$receiver->reset_stats;
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 101 .. 120));
	wait_for_events('parallel', 72);
	is($receiver->stats->{max_in_flight}, 3, 'parallel: not more at a time than concurrency says');
	is(disorder('parallel'), '', 'parallel: in order');
	sql("SELECT bank_unsubscribe('parallel')");
	$receiver->rules([]);
	sql("SELECT bank_resume_subscription('all')");
	wait_for_delivery($node, 'ledger', 'all');
	got_ok('all', 'true', 'who was paused has got everything when it is resumed');
}

# Changes take effect for what is sent from then on; what is not named stays.
{
	my $key = hook('change', "event_types => '{money.deposited}'", qq(headers => '{"X-Old": "1", "X-Both": "1"}'));
	my $first = signed('change');

	is(join(' ', @{ $first->{headers} }{qw(x-old x-both)}), '1 1', 'change: before');
	sql(qq(SELECT bank_change_subscription('change', headers => '{"X-Both": "2", "X-New": "2"}')));
	my $second = signed('change');
	is(join(' ', map { $second->{headers}{$_} // '-' } qw(x-old x-both x-new)), '- 2 2', 'change: headers');
	sql("SELECT bank_change_subscription('change', url => '" . $receiver->url('/changed') . "')");
	my $third = signed('changed');
	is(join(' ', map { $third->{headers}{$_} // '-' } qw(x-old x-both x-new)), '- 2 2', 'change: URL; headers stay');
	ok(signature_ok($third, $key), 'change: the secret stays');
	is(scalar $receiver->events('/change'), 2, 'change: nothing more at the old one');
	my @columns = qw(connect_timeout request_timeout concurrency max_attempts retry_delay retry_max_delay
	  on_failure failure_threshold breaker_timeout);
	sql(<<'SQL');
SELECT bank_change_subscription('change', connect_timeout => '1 s', request_timeout => '2 s', concurrency => 3,
  max_attempts => 4, retry_delay => '5 s', retry_max_delay => '6 s', on_failure => 'skip', failure_threshold => 7,
  breaker_timeout => '8 s');
SQL
	is( sql('SELECT ' . join(', ', @columns) . " FROM bank_subscriptions WHERE name = 'change'"),
		'00:00:01|00:00:02|3|4|00:00:05|00:00:06|skip|7|00:00:08',
		'change: everything else');
	is(outcome($node, 'ledger', "SELECT bank_change_subscription('change', batch_size => 5)"), 'BK026',
		'change: no batch size where there are no batches');
	is(outcome($node, 'ledger', "SELECT bank_change_subscription('change', retry_delay => '7 s')"), 'BK026',
		'change: what does not fit with the rest is refused');
	is(sql("SELECT retry_delay FROM bank_subscriptions WHERE name = 'change'"), '00:00:05', 'and changes nothing');
	signed('changed');
	hook('change_batch', "mode => 'batch', batch_size => 2, concurrency => 1, event_types => '{money.deposited}'", "start => 'beginning'");
	wait_for_delivery($node, 'ledger', 'change_batch');
	sql("SELECT bank_change_subscription('change_batch', batch_size => 9); SELECT bank_replay('change_batch')");
	wait_for_delivery($node, 'ledger', 'change_batch');
	my @sizes = map { scalar @{ $_->{events} } } requests('change_batch');
	is((sort { $b <=> $a } @sizes)[0], 9, 'change: the size of batches');
	sql("SELECT bank_unsubscribe('$_')") foreach qw(change change_batch);
}

# Paused: nothing is sent, nothing is lost. Requests that hang do not stand in the way of unsubscribing.
{
	hook('pause', "event_types => '{money.deposited}'");
	signed('pause');
	sql("SELECT bank_pause_subscription('pause')");
	is(sql("SELECT state FROM bank_subscriptions WHERE name = 'pause'"), 'paused', 'pause: shown');
	my @missed = map { signed('all')->{id} } 1 .. 3;
	is(scalar requests('pause'), 1, 'pause: nothing is sent');
	cmp_ok(sql("SELECT lag_events FROM bank_subscriptions WHERE name = 'pause'"), '>=', 3, 'pause: the lag is shown');
	sql("SELECT bank_pause_subscription('pause')");
	$node->restart;
	wait_for_worker($node, 'ledger');
	push @missed, signed('all')->{id};
	is(scalar requests('pause'), 1, 'pause: over a restart, too');
	sql("SELECT bank_resume_subscription('pause')");
	wait_for_events('pause', 5);
	is(join(' ', map { $_->{id} } (requests('pause'))[ 1 .. 4 ]), "@missed", 'pause: resumed where it was');
	sql("SELECT bank_resume_subscription('pause'); SELECT bank_unsubscribe('pause')");

	$receiver->rules([ [ '/hangs', '*', 'hang' ] ]);
	hook('hangs', "request_timeout => '5 minutes', event_types => '{money.deposited}'");
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 101 .. 110));
	$receiver->wait_for(sub { requests('hangs') == 10 }, 30, 'ten requests that hang');
	wait_until($node, 'ledger', 'ten requests that hang', 'SELECT requests_in_flight = 10 FROM bank_relay_status()');
	sql("SELECT bank_unsubscribe('hangs')");
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, 30, 'the requests to be given up');
	is(relay_status($node, 'ledger')->{state}, 'running', 'unsubscribe: they are given up at once');
	is(sql('SELECT count(*) FROM bank_deliveries'), 0, 'unsubscribe: nothing stays behind');
	$receiver->rules([]);
	hook('hangs', "event_types => '{money.deposited}'");
	my $new = signed('hangs')->{id};
	is(scalar requests('hangs'), 11, 'unsubscribe: the same name again begins anew');
	sql("SELECT bank_unsubscribe('hangs')");
}

# Again: everything, from a position, from a time, one account's. The events are those of before.
{
	my ($number, $middle, $time) = split(/\|/, sql(<<'SQL'));
SELECT (SELECT count(*) FROM bank.events), position, recorded_at FROM bank.events ORDER BY position OFFSET 40 LIMIT 1
SQL
	hook('again', "start => 'beginning'");
	wait_for_delivery($node, 'ledger', 'again');
	is(scalar $receiver->events('/again'), $number, 'replay: everything has arrived');
	my %body = map { $_->{id} => $_->{body} } requests('again');
	my $before = $number;

	foreach my $case (
		[ '', 'true', 'everything' ],
		[ "from_position => $middle", "position >= $middle", 'from a position' ],
		[ "from_time => '$time'", "recorded_at >= '$time'", 'from a time' ],
		[ 'account_id => account(1)', 'account(1) IN (aggregate_id, peer_id)', "one account's" ],
		[ "account_id => '$vault'", touches($vault), "a house account's" ],
		[ 'account_id => account(1), from_position => ' . $middle, "account(1) IN (aggregate_id, peer_id) AND position >= $middle", "one account's from a position" ],
		[ 'from_position => 1000000', 'false', 'nothing' ])
	{
		my ($arguments, $condition, $name) = @$case;
		my @expected = sort split(/\n/, sql("SELECT event_id FROM bank.events AS e WHERE $condition"));
		my $events = sql("SELECT bank_replay('again'" . ($arguments ? ", $arguments)" : ')'));

		is($events, scalar @expected, "replay: $name: as many as it says");
		$receiver->wait_for(sub { $receiver->events('/again') >= $before + @expected }, 60, "replay: $name");
		wait_for_delivery($node, 'ledger', 'again');
		my @all = requests('again');
		my @new = @all[ $before .. $#all ];
		is_deeply([ sort map { $_->{id} } @new ], \@expected, "replay: $name");
		is(scalar(grep { $_->{body} ne $body{ $_->{id} } } @new), 0, "replay: $name: the same bytes");
		is(scalar(grep { ($_->{timestamp} // '') !~ /^\d+$/ } @new), 0, "replay: $name: signed anew");
		$before = @all;
	}
	is(outcome($node, 'ledger', "SELECT bank_replay('again', from_position => 1, from_time => now())"),
		'BK026', 'replay: not from both');
	is(outcome($node, 'ledger', "SELECT bank_replay('again', from_position => -1)"), 'BK026', 'replay: not from before');

	# filters stay
	hook('again_filtered', "account_ids => ARRAY[account(1)], event_types => '{money.*}'", "start => 'beginning'");
	wait_for_delivery($node, 'ledger', 'again_filtered');
	my $filtered = $receiver->events('/again_filtered');
	cmp_ok(sql('SELECT count(*) FROM bank_transactions(account(8))'), '>', 0, 'replay: another account has its movements');
	is(sql("SELECT bank_replay('again_filtered', account_id => account(8))"), 0,
		'replay: of what was filtered out there is nothing');
	is(sql("SELECT bank_replay('again_filtered', account_id => '$cash')"),
		sql("SELECT count(*) FROM bank.events AS e WHERE account(1) IN (aggregate_id, peer_id)
		  AND event_type::text LIKE 'money.%' AND " . touches($cash)),
		'replay: of a house account, what it has to do with the account that was asked for');
	wait_for_delivery($node, 'ledger', 'again_filtered');
	my $with_cash = $receiver->events('/again_filtered') - $filtered;
	sql("SELECT bank_replay('again_filtered', account_id => account(1))");
	wait_for_events('again_filtered', 2 * $filtered + $with_cash);
	sql("SELECT bank_replay('again_filtered')");
	wait_for_events('again_filtered', 3 * $filtered + $with_cash);
	wait_for_delivery($node, 'ledger', 'again_filtered');
	is(scalar $receiver->events('/again_filtered'), 3 * $filtered + $with_cash, 'replay: filters stay');

	# while events are on their way, none is lost
	$receiver->rules([ [ '/again_busy', '*', 'delay:200' ] ]);
	hook('again_busy', "concurrency => 2, event_types => '{money.deposited}'");
	sql(join(";\n", map { "SELECT bank_deposit(account($_), '1 HTG')" } 101 .. 110));
	my $last = sql('SELECT max(position) FROM bank.events');
	$receiver->wait_for(sub { requests('again_busy') > 2 }, 30, 'some requests');
	sql("SELECT bank_replay('again_busy', from_position => $last)");
	$receiver->rules([]);
	wait_for_delivery($node, 'ledger', 'again_busy');
	my %got = map { $_->{id} => 1 } $receiver->events('/again_busy');
	is(scalar keys %got, 10, 'replay: what was not delivered yet is not passed over');
	sql("SELECT bank_unsubscribe('$_')") foreach qw(again again_filtered again_busy);
}

# An operator's session that has not ended its transaction keeps nobody waiting: not other subscriptions, not even
# the one it is about.
{
	hook('locked', "event_types => '{money.deposited}'");
	my $operator = $node->background_psql('ledger');

	foreach my $command ("bank_pause_subscription('locked')", "bank_force_breaker('locked', 'closed')",
		"bank_replay('locked', from_position => 1000000)", "bank_unsubscribe('locked')")
	{
		$operator->query_safe('BEGIN');
		$operator->query_safe("SELECT $command");
		my ($first, $second) = map { signed('locked') } 1, 2;
		ok($first && $second, "locked by $command: events are delivered");
		my $id = signed('all')->{id};
		ok($receiver->wait_for(
				sub { sql("SELECT lag_events = 0 FROM bank_subscriptions WHERE name = 'all'") eq 't' }, 30, 'recorded'),
			"locked by $command: others are recorded, too");
		$operator->query_safe('ROLLBACK');
		wait_for_delivery($node, 'ledger', 'locked');
	}
	$operator->quit;
	my %times;
	$times{ $_->{id} }++ foreach $receiver->events('/locked');
	is(scalar(grep { $_ > 1 } values %times), 0, 'locked: nothing was sent twice');
	sql("SELECT bank_unsubscribe('locked')");
}

is(errors_logged($node) =~ /\bXX000\b/ ? 'internal errors' : '', '', 'no internal errors');
$node->stop;
done_testing();
