# The receiver that tests of the relay use, test/receiver with Receiver.pm: every behaviour, on raw
# sockets, and what it logs and counts. And examples/receive_webhook: which signatures it accepts.

use strict;
use warnings;

use Cwd qw(realpath);
use Digest::SHA qw(hmac_sha256);
use Errno qw(EAGAIN ECONNREFUSED ECONNRESET);
use File::Basename qw(dirname);
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX qw(strftime);
use Socket qw(MSG_DONTWAIT MSG_PEEK);
use Test::More;
use Time::HiRes ();

use Receiver qw(signature_ok);

# What takes longer than this has failed.
my $timeout = 60;

# The example of the Standard Webhooks libraries.
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my %vector = (
	id => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
	timestamp => '1614265330',
	signature => 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
	body => '{"test": 2432232314}');

my $tree = realpath(dirname(__FILE__) . '/../..');

# Connect to a port; undef if it does not let us.
sub connect_to
{
	my ($port) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => $timeout);
}

# The text of a request. Headers: name => value, ...
sub request
{
	my ($path, $body, %headers) = @_;

	return
		"POST $path HTTP/1.1\r\nHost: localhost\r\n"
	  . join('', map { "$_: $headers{$_}\r\n" } sort keys %headers)
	  . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
}

# Read until a pattern matches what has come, or the connection ends. Returns what has come, and how it
# ended: 'matched', 'end', 'reset' or 'timed out'.
sub read_until
{
	my ($socket, $pattern) = @_;
	my $input = '';
	my $end = Time::HiRes::time() + $timeout;

	while ($input !~ $pattern)
	{
		return ($input, 'timed out')
		  unless IO::Select->new($socket)->can_read($end - Time::HiRes::time());
		my $n = sysread($socket, $input, 65536, length $input);
		return ($input, $! == ECONNRESET ? 'reset' : "$!") unless defined $n;
		return ($input, 'end') if $n == 0;
	}
	return ($input, 'matched');
}

# Has nothing come, and is the connection still there?
sub is_silent
{
	my ($socket) = @_;

	return !defined recv($socket, my $byte, 1, MSG_PEEK | MSG_DONTWAIT) && $! == EAGAIN;
}

my $no_content = qr/^HTTP\/1\.1 204 [^\r]+\r\n\r\n/;
my $no_pattern = qr/(?!)/;

my $receiver = Receiver->start('receiver');

# Send a request on a connection of its own and return what comes and how it ends.
sub post
{
	my ($path, $body, $pattern) = @_;
	my $socket = connect_to($receiver->port) or die "could not connect: $!";

	syswrite($socket, request($path, $body));
	return (read_until($socket, $pattern // $no_content), $socket);
}

# Wait until so many requests have been received in all.
sub wait_for_requests
{
	my ($n) = @_;

	return $receiver->wait_for(sub { $receiver->requests >= $n }, $timeout, "$n requests");
}

# A request and its line in the log
{
	my $before = int(Time::HiRes::time() * 1_000_000);
	my $socket = connect_to($receiver->port);
	my $body = qq({\n\t"specversion": "1.0",\r\n\t"data": {"text": "a\\tb \\u00e9 \xc3\xa9 \\\\"}\n});

	syswrite(
		$socket,
		request(
			'/one?x=1', $body,
			'Webhook-Id' => $vector{id},
			'webhook-timestamp' => $vector{timestamp},
			'webhook-signature' => $vector{signature},
			'content-type' => 'application/cloudevents+json',
			'X-Empty' => '',
			'X-Bar' => 'a | b'));
	is((read_until($socket, $no_content))[1], 'matched', 'a request is answered with 204');
	my ($request) = $receiver->requests;
	cmp_ok($request->{time}, '>=', $before, 'the log knows when it came');
	cmp_ok($request->{time}, '<=', Time::HiRes::time() * 1_000_000, 'which is not in the future');
	is_deeply(
		{ map { $_ => $request->{$_} } qw(connection method path id timestamp signature type answer) },
		{
			%vector{qw(id timestamp signature)},
			connection => 1,
			method => 'POST',
			path => '/one?x=1',
			type => 'application/cloudevents+json',
			answer => 204
		},
		'and what it was');
	is($request->{body}, $body, 'the body is as it was sent');
	is($request->{headers}{'content-length'}, length $body, 'other headers are there');
	is($request->{headers}{'x-empty'}, '', 'one without a value too');
	is_deeply(
		$request->{events},
		[ { specversion => '1.0', data => { text => "a\tb \xe9 \xe9 \\" } } ],
		'the event in it is decoded');

	syswrite($socket, request('/two', '[{"specversion":"1.0","id":"1"},{"specversion":"1.0","id":"2"}]'));
	read_until($socket, $no_content);
	syswrite($socket, request('/two', 'no JSON'));
	read_until($socket, $no_content);
	is_deeply([ map { $_->{connection} } $receiver->requests ], [ 1, 1, 1 ], 'a connection is kept');
	is(scalar $receiver->requests('/two'), 2, 'requests are found by their path');
	is_deeply([ map { $_->{id} } $receiver->events('/two') ], [ 1, 2 ], 'so are events, each of a batch');
	is(($receiver->requests('/two'))[0]{id}, undef, 'a header that is missing is undefined');
	is(scalar $receiver->events, 3, 'what is not JSON has no events');
}

# However requests come
{
	my $socket = connect_to($receiver->port);
	my $before = $receiver->requests;

	syswrite($socket, $_) foreach split(//, request('/bytes', 'slowly'));
	is((read_until($socket, $no_content))[1], 'matched', 'a request may come byte by byte');
	syswrite($socket, join('', map { request("/pipelined/$_", 'x' x $_) } 1 .. 200));
	is((read_until($socket, qr/(?:HTTP\/1\.1 204 [^\r]+\r\n\r\n){200}\z/))[1],
		'matched', 'or many at once');
	is_deeply(
		[ map { length $_->{body} } grep { $_->{path} =~ /^\/pipelined/ } $receiver->requests ],
		[ 1 .. 200 ],
		'which are taken in their order');
	is(scalar $receiver->requests, $before + 201, 'each once');

	$socket = connect_to($receiver->port);
	syswrite($socket, request('/', '', Connection => 'close'));
	my ($input, $end) = read_until($socket, $no_pattern);
	is($end, 'end', 'a connection is closed when the client wants it');
	like($input, qr/\r\nConnection: close\r\n\r\n\z/, 'and it is told');

	$socket = connect_to($receiver->port);
	syswrite($socket, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	is((read_until($socket, qr/^HTTP\/1\.1 100 Continue\r\n\r\n/))[1], 'matched', '100-continue is known');
	syswrite($socket, 'body');
	is((read_until($socket, $no_content))[1], 'matched', 'and then the body');

	my @refused = (
		[ 'what is no request', "HELO\r\n\r\n", 400 ],
		[ 'no length', "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400 ],
		[ 'chunks', "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411 ],
		[ 'a body over 64 MB', "POST / HTTP/1.1\r\nContent-Length: 67108865\r\n\r\n", 413 ],
		[ 'a head that does not end', "POST / HTTP/1.1\r\n" . "X: y\r\n" x 12000, 431 ]);
	foreach my $case (@refused)
	{
		my ($name, $text, $status) = @$case;

		$before = $receiver->requests;
		$socket = connect_to($receiver->port);
		syswrite($socket, $text);
		($input, $end) = read_until($socket, $no_pattern);
		like($input, qr/^HTTP\/1\.1 $status /, "refused: $name");
		is(scalar $receiver->requests, $before, "not received: $name");
	}

	$receiver->reset_stats;
	$before = $receiver->requests;
	my $long = ('x' x 100 . "\\\t\n") x 300_000;
	is((post('/big', $long))[1], 'matched', 'a long body is taken');
	ok(($receiver->requests)[-1]{body} eq $long, 'whole');
}

# Behaviours that answer
{
	my @answers = (
		[ 'ok', 204, '', '' ],
		[ 'ok:some text: this', 200, '', 'some text: this' ],
		[ 'status:500', 500, '', "status 500\n" ],
		[ 'status:404', 404, '', "status 404\n" ],
		[ 'status:429:Retry-After: 2', 429, "Retry-After: 2\r\n", "status 429\n" ],
		[ 'redirect:http://127.0.0.1:1/x', 302, "Location: http://127.0.0.1:1/x\r\n", '' ],
		[ 'delay:1:status:503', 503, '', "status 503\n" ],
		[ 'random:0:status:500', 204, '', '' ],
		[ 'random:100:status:500', 500, '', "status 500\n" ],
		[ 'times:0:hang|delay:1', 204, '', '' ]);
	foreach my $case (@answers)
	{
		my ($behaviour, $status, $header, $body) = @$case;

		$receiver->rules([ [ '/', '*', $behaviour ] ]);
		my $socket = connect_to($receiver->port);
		syswrite($socket, request('/', '{}', Connection => 'close'));
		my ($input) = read_until($socket, $no_pattern);
		my $length = $status == 204 ? '' : 'Content-Length: ' . length($body) . "\r\n";
		my $headers = $header . "Connection: close\r\n" . $length;
		like($input, qr/^HTTP\/1\.1 $status [^\r]+\r\n\Q$headers\E\r\n\Q$body\E\z/,
			"$behaviour: its answer");
		is(($receiver->requests)[-1]{answer}, $status, "$behaviour: its name in the log");
	}

	my $start = Time::HiRes::time();
	$receiver->rules([ [ '/slow', '*', 'slow:300' ], [ '/', '*', 'delay:200' ] ]);
	is((post('/', ''))[1], 'matched', 'delay: an answer');
	cmp_ok(Time::HiRes::time() - $start, '>=', 0.2, 'delay: after its time');
	my $socket = connect_to($receiver->port);
	$start = Time::HiRes::time();
	syswrite($socket, request('/slow', '') . request('/', ''));
	like((read_until($socket, qr/\r\n\r\n/))[0], qr/^HTTP\/1\.1 200 .*\r\nContent-Length: 10\r\n\r\n\z/s,
		'slow: the head comes first');
	my ($input) = read_until($socket, qr/^s{10}HTTP\/1\.1 204 [^\r]+\r\n\r\n\z/);
	is(substr($input, 0, 10), 's' x 10, 'slow: then the body, then the next answer');
	cmp_ok(Time::HiRes::time() - $start, '>=', 0.5, 'slow: all in its time');

	$receiver->rules([ [ '/', '*', 'big:30000000' ] ]);
	my $before = $receiver->stats->{requests};
	$socket = connect_to($receiver->port);
	syswrite($socket, request('/', '') x 2);
	my $total = 0;
	while ($total < 60_000_000 && sysread($socket, my $bytes, 1_000_000))
	{
		$total += length $bytes;
	}
	cmp_ok($total, '>=', 60_000_000, 'big: all bytes come');
	is($receiver->stats->{requests}, $before + 2, 'big: of both requests');
	is(($receiver->requests)[-1]{answer}, 'big', 'big: its name in the log');
}

# Behaviours that do not
{
	$receiver->rules([ [ '/', '*', 'garbage' ] ]);
	my ($input, $end) = post('/', '', $no_pattern);
	unlike($input, qr/^HTTP/, 'garbage: is not HTTP');
	is($end, 'end', 'garbage: the connection ends');
	$receiver->rules([ [ '/', '*', 'close' ] ]);
	is_deeply([ (post('/', '', $no_pattern))[ 0, 1 ] ], [ '', 'end' ], 'close: the connection ends');
	$receiver->rules([ [ '/', '*', 'reset' ] ]);
	is_deeply([ (post('/', '', $no_pattern))[ 0, 1 ] ], [ '', 'reset' ], 'reset: the connection is reset');
	is_deeply([ map { $_->{answer} } ($receiver->requests)[ -3 .. -1 ] ],
		[qw(garbage close reset)], 'their names in the log');

	$receiver->rules([ [ '/body', '*', 'hang-body' ], [ '/', '*', 'hang' ] ]);
	$receiver->reset_stats;
	my $before = $receiver->requests;
	my @sockets = map { connect_to($receiver->port) } 1 .. 3;
	syswrite($sockets[0], request('/', '') x 2);
	syswrite($sockets[1], request('/body', ''));
	syswrite($sockets[2], request('/delay', ''));
	wait_for_requests($before + 3);
	is_deeply([ sort map { $_->{answer} } ($receiver->requests)[ -3 .. -1 ] ],
		[qw(hang hang hang-body)], 'hang, hang-body: logged at receipt, what is behind them is not');
	like((read_until($sockets[1], qr/0123456789\z/))[0],
		qr/^HTTP\/1\.1 200 .*\r\nContent-Length: 1000\r\n\r\n/s, 'hang-body: the answer begins');
	ok(is_silent($_), 'no more comes') foreach @sockets;
	is($receiver->stats->{in_flight}, 3, 'they are in flight');
	close($_) foreach @sockets;
	$receiver->wait_for(sub { $receiver->stats->{in_flight} == 0 }, $timeout, 'requests to end');
	is($receiver->stats->{max_in_flight}, 3, 'until the client goes, as many at a time as there were');
	is(scalar $receiver->requests, $before + 3, 'what was behind them never came');
}

# Rules
{
	$receiver->rules([ [ '/a', 'poison', 'status:422' ], "/a\t*\tstatus:500", [ '/a', '*', 'ok' ] ]);
	like((post('/a/b', 'no poison', qr/\n\z/))[0], qr/ 422 /, 'a rule finds a part of the body');
	like((post('/a/b', 'meat', qr/\n\z/))[0], qr/ 500 /, 'the first rule that matches counts');
	is((post('/b', 'poison'))[1], 'matched', 'where none does, all is well');

	$receiver->rules([ [ '/', '*', 'times:2:status:503|times:1:status:400|ok:now' ] ]);
	post('/', '', qr/\n\n|\n\z|now/) foreach 1 .. 5;
	is_deeply([ map { $_->{answer} } ($receiver->requests)[ -5 .. -1 ] ],
		[ 503, 503, 400, 200, 200 ], 'times: one after the other');

	$receiver->rules([ [ '/', '*', 'random:50:status:500' ] ]);
	post('/', '', qr/\r\n\r\n/) foreach 1 .. 200;
	my $failed = grep { $_->{answer} == 500 } ($receiver->requests)[ -200 .. -1 ];
	ok($failed > 50 && $failed < 150, 'random: about as often as it says');

	foreach my $bad ('nope', 'status', 'status:99', 'status:x', 'hang:1', 'delay', 'delay:1:nope',
		'redirect', 'times:1:ok', 'times:1:nope|ok', 'random:ok', '')
	{
		ok(!eval { $receiver->rules([ [ '/', '*', $bad ] ]); 1 }, "not a behaviour: \"$bad\"");
		like($@, qr/^POST \/control: 400 not a rule: \/\t\*\t\Q$bad\E/, 'and it says so');
	}
	ok(!eval { $receiver->rules(['nothing']); 1 }, 'not a rule');
	is((post('/', '', qr/\r\n\r\n/))[1], 'matched', 'the rules before stay');
	$receiver->rules([]);
	is((post('/', ''))[1], 'matched', 'there may be none');
}

# Counters
{
	$receiver->reset_stats;
	my $stats = $receiver->stats;
	is_deeply(
		[ @$stats{qw(requests events connections in_flight max_in_flight latency_max paths)} ],
		[ (0) x 6, {} ],
		'reset: all is zero');

	my $then = Time::HiRes::time() - 100;
	my $time = strftime('%Y-%m-%dT%H:%M:%S', gmtime $then) . sprintf('.%06d', ($then - int $then) * 1e6);
	my $event = qq({"specversion":"1.0","data":{"time":"2001-01-01T00:00:00Z","specversion":"x"},)
	  . qq("subject":"time","note":"\\",\\"specversion\\":","time":);
	post('/a', "$event\"${time}Z\"}");
	post('/b', "[" . join(', ', map { "$event\"$_\"}" } "${time}Z", "${time}+00:00", 'never') . "]");
	post('/b', '"specversion"');
	$stats = $receiver->stats;
	is_deeply(
		[ @$stats{qw(requests events connections max_in_flight latency_events paths)} ],
		[ 3, 4, 3, 1, 3, { '/a' => 1, '/b' => 2 } ],
		'requests, connections and events are counted');
	foreach my $name (qw(latency_p50 latency_p90 latency_p99 latency_max))
	{
		ok($stats->{$name} >= 100e6 && $stats->{$name} < 100e6 + $timeout * 1e6, "$name is right");
	}
	foreach my $zone ([ '+01:30', 5400 ], [ '-02:15', -8100 ])
	{
		$receiver->reset_stats;
		post('/', $event . strftime('"%Y-%m-%dT%H:%M:%S', gmtime($then + $zone->[1])) . qq($zone->[0]"}));
		my $latency = $receiver->stats->{latency_max};
		ok($latency >= 100e6 && $latency < 100e6 + $timeout * 1e6, "so it is in zone $zone->[0]");
	}
	is($receiver->control('GET', '/control/stats') =~ /^requests 1\n/, 1, 'control does not count');

	my $quiet = Receiver->start('quiet', quiet => 1);
	my $socket = connect_to($quiet->port);
	syswrite($socket, request('/', "$event\"${time}Z\"}"));
	is((read_until($socket, $no_content))[1], 'matched', 'quiet: an answer');
	is($quiet->stats->{latency_events}, 1, 'quiet: counters');
	is(scalar $quiet->requests, 0, 'quiet: no log');
}

# Many connections
{
	$receiver->rules([ [ '/', '*', 'delay:100' ] ]);
	$receiver->reset_stats;
	my @sockets = map { connect_to($receiver->port) } 1 .. 500;
	syswrite($_, request('/', '')) foreach @sockets;
	my $answered = grep { (read_until($_, $no_content))[1] eq 'matched' } @sockets;
	is($answered, 500, 'many connections are served');
	is($receiver->stats->{connections}, 500, 'all of them');
	cmp_ok($receiver->stats->{max_in_flight}, '>', 1, 'together');
}

# It comes and goes
{
	my $port = $receiver->port;
	my $socket = connect_to($port);
	my $before = $receiver->requests;

	$receiver->rules([ [ '/', '*', 'status:418' ] ]);
	$receiver->stop_listening;
	is((read_until($socket, $no_pattern))[1], 'end', 'stop_listening: connections end');
	ok(!connect_to($port), 'others are not let in');
	is($! + 0, ECONNREFUSED, 'but refused');
	$receiver->start_again;
	is($receiver->port, $port, 'start_again: the same port');
	is($receiver->url('/x'), "http://127.0.0.1:$port/x", 'and URL');
	like((post('/', '', qr/\n\z/))[0], qr/ 418 /, 'the same rules');
	is(scalar $receiver->requests, $before + 1, 'the same log');

	pipe(my $reader, my $writer) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		my $orphan = Receiver->start('orphan');
		syswrite($writer, $orphan->port . "\n");
		kill 'KILL', $$;
	}
	close($writer);
	chomp(my $orphan = <$reader>);
	waitpid($pid, 0);
	ok($receiver->wait_for(sub { !connect_to($orphan) }, $timeout, 'the orphan to end'),
		'no receiver outlives its test');

	my $short = Receiver->start('short', max_seconds => 1);
	ok($receiver->wait_for(sub { !connect_to($short->port) }, $timeout, 'the receiver to end'),
		'none lives longer than it is told');
	ok(!eval { $receiver->wait_for(sub { 0 }, 0.1, 'nothing'); 1 }, 'wait_for gives up');
	like($@, qr/^timed out waiting for nothing/, 'and says on what');
}

# Sign a body; returns the headers.
sub signed
{
	my ($body, %options) = @_;
	my $time = $options{time} // time;
	my $id = $options{id} // 'msg_1';
	my ($key) = ($options{secret} // $secret) =~ /^whsec_(.*)/;

	my $mac = hmac_sha256("$id.$time.$body", decode_base64($key));
	return (
		'webhook-id' => $id,
		'webhook-timestamp' => $time,
		'webhook-signature' => 'v1,' . encode_base64($mac, ''));
}

# Signatures
my $other_secret = 'whsec_' . encode_base64('another key of some bytes', '');
is({ signed($vector{body}, %vector{id}, time => $vector{timestamp}) }->{'webhook-signature'},
	$vector{signature}, 'this test signs as Standard Webhooks asks for');
ok(signature_ok({%vector}, $secret), 'signature_ok: the example of Standard Webhooks');
ok(signature_ok({ %vector, signature => "v1a,x v1,AAAA $vector{signature}" }, $secret), 'among others');
ok(!signature_ok({%vector}, $other_secret), 'not with another secret');
foreach my $part (sort keys %vector)
{
	ok(!signature_ok({ %vector, $part => "$vector{$part}0" }, $secret), "not with another $part");
	ok(!signature_ok({ %vector, $part => undef }, $secret), "not without $part") if $part ne 'body';
}

# The example of a receiver
{
	my $directory = File::Temp->newdir;
	my $outage = "$directory/outage";
	my ($port, $output);

	local $ENV{WEBHOOK_SECRET} = $secret;
	my $pid = open($output, '-|', "exec '$^X' '$tree/examples/receive_webhook' 0 '$outage' 2>&1")
	  or die "could not start receive_webhook: $!";
	my ($line) = read_until($output, qr/\n/);
	ok(($port) = $line =~ m{listening on http://127\.0\.0\.1:(\d+)/\n\z}, 'receive_webhook listens');

	my $event = {
		specversion => '1.0',
		type => 'money.deposited',
		subject => 'x',
		time => '2024-02-29T12:00:00.123456Z',
		data => {
			account_id => '00000000-0000-7000-8000-000000000001',
			amount => '1000.00',
			currency => 'HTG'
		}
	};
	my $body = JSON::PP::encode_json($event);
	my $shown = '2024-02-29T12:00:00.123456Z money.deposited      '
	  . "00000000-0000-7000-8000-000000000001 1000.00 HTG\n";
	my $socket = connect_to($port);

	# The status that it answers to this, on the same connection.
	my $status = sub {
		my ($text, %headers) = @_;

		syswrite($socket, request('/', $text, %headers));
		return ((read_until($socket, qr/\r\n\r\n\z/))[0] =~ /^HTTP\/1\.1 (\d+) /)[0];
	};

	my %good = signed($body);
	my $right = $good{'webhook-signature'};
	is($status->($body, %good), 204, 'a right signature is accepted');
	is((read_until($output, qr/\n/))[0], $shown, 'and the event shown');

	my @refused = (
		[ 'no signature', { %good, 'webhook-signature' => '' } ],
		[ 'no header', {} ],
		[ 'no id', { %good, 'webhook-id' => '' } ],
		[ 'another id', { %good, 'webhook-id' => 'msg_2' } ],
		[ 'another time', { %good, 'webhook-timestamp' => $good{'webhook-timestamp'} + 1 } ],
		[ 'no time', { %good, 'webhook-timestamp' => 'x' } ],
		[ 'another version', { %good, 'webhook-signature' => $right =~ s/v1/v2/r } ],
		[ 'a shorter signature', { %good, 'webhook-signature' => substr($right, 0, -1) } ],
		[ 'a longer signature', { %good, 'webhook-signature' => "$right=" } ],
		[ 'another secret', { signed($body, secret => $other_secret) } ],
		[ 'another body', { signed("$body ") } ],
		[ 'too old', { signed($body, time => time - 310) } ],
		[ 'too new', { signed($body, time => time + 310) } ],
		[ 'years old', { signed($vector{body}, %vector{id}, time => $vector{timestamp}) }, $vector{body} ]);
	is($status->($_->[2] // $body, %{ $_->[1] }), 401, "refused: $_->[0]") foreach @refused;

	is($status->($body, signed($body, time => time - 290)), 204, 'accepted: not too old');
	is($status->($body, %good, 'webhook-signature' => "v1,AAAA $right"),
		204, 'accepted: the second of two signatures');
	is((read_until($output, qr/\n.*\n/))[0], $shown x 2, 'both were shown, nothing else');

	my $batch =
	  "[$body,\n" . JSON::PP::encode_json({ type => 'account.frozen', subject => "Ren\xe9e" }) . ']';
	is($status->($batch, signed($batch)), 204, 'a batch is accepted');
	my ($text) = read_until($output, qr/\n.*\n/);
	like($text, qr/^\Q$shown\E +account\.frozen +Ren\xc3\xa9e +\n\z/, 'and each of its events shown');
	is($status->('{', signed('{')), 400, 'what is not JSON is refused');

	open(my $file, '>', $outage) or die $!;
	close($file);
	is($status->($body, %good), 503, 'an outage');
	unlink $outage;
	is($status->($body, %good), 204, 'and its end');
	is((read_until($output, qr/\n/))[0], $shown, 'it shows what came after');
	kill 'TERM', $pid;
	close($output);
}

$receiver->stop;
done_testing();
