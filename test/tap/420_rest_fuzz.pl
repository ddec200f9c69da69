# Ten thousand hostile requests against every route of the REST API, as bytes on a socket: bodies, headers, paths,
# methods, whole requests that are none. None gets a 5xx, and the ledger has no event that was not
# answered with 2xx.
#
# BANKING_FUZZ_REQUESTS says how many, BANKING_FUZZ_SEED which.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Rest;
use Test::More;
use Time::HiRes qw(time);

my $missing = Rest::missing();
plan skip_all => $missing if $missing;

my $requests = $ENV{BANKING_FUZZ_REQUESTS} // 10_000;
my $seed = $ENV{BANKING_FUZZ_SEED} // 20_240_117;
my $workers = 4;
my $node = ledger_node('fuzz', conf => "banking.trusted_authenticators = 'bank_authenticator'\nfsync = off\n");
my $rest = Rest->start($node, 'bank');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

$rest->add_user("$_\@example.com", $_ eq 'tess' ? 'teller' : 'customer') foreach qw(ann ben tess);
my @tokens = map { $rest->login("$_\@example.com") } qw(ann ben tess);
my @accounts = map {
	my $token = $tokens[ $_ % 2 ];
	$rest->post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $token)->{json}{account_id}
} 0 .. 3;
$rest->post('deposits', { account_id => $_, amount => '1000000', currency => 'HTG' }, token => $tokens[2]) foreach @accounts;
my @holds = map {
	$rest->post('holds', { account_id => $accounts[ $_ % 4 ], amount => '1', currency => 'HTG' }, token => $tokens[2])->{json}{hold_id}
} 0 .. 39;
my $before = $node->safe_psql('bank', 'SELECT max(position) FROM bank_events');

sub any { return $_[ rand @_ ] }
sub bytes { my ($most) = @_; return join('', map { chr(int rand 256) } 1 .. 1 + rand $most) }

# Values that hurt.
my @nasty = (
	'', ' ', "\0", '0', '-0', '-1', '1', '0.00', '0.001', '1e5', '1E400', 'NaN', 'Infinity', '-Infinity', '1,000.00', '１００',
	'99999999999999999999.99', '92233720368547758.07', '92233720368547758.08', '9' x 5000, 'null', 'true', '[]', '{}',
	"'; DROP TABLE bank.events; --", '1 HTG', '1 USD', '1 HTG HTG', "1\tHTG", "1\nHTG", '%00', '%s%n%x', '../../etc/passwd', '${jndi:x}',
	"\x{202e}", "\x{0}\x{1}", "\x{10ffff}", 'A' x 300, "\x{fffd}", '00000000-0000-0000-0000-000000000000', 'HTG', 'htg', 'COURANT',
	'infinity', 'PT1H', '7 days', '-1 day', '178000000 years', 'epoch', 'now', '1 mon; select 1');

# The same as bytes.
my @raw = map { my $text = $_; utf8::encode($text); $text } @nasty;

sub scalar_value
{
	my $kind = int rand 12;

	return any(@nasty) if $kind < 5;
	return any(@accounts) if $kind == 5;
	return any(@holds) if $kind == 6;
	return any(0, -1, 1, 1.5, 1e300, -1e-300, 9007199254740993, 1e19) if $kind == 7;
	return any(JSON::PP::true, JSON::PP::false, undef) if $kind == 8;
	return [ map { any(@nasty) } 0 .. rand 3 ] if $kind == 9;
	return { map { any(@nasty) => any(@nasty) } 0 .. rand 3 } if $kind == 10;
	return sprintf('%d.%02d', rand 100, rand 100);
}

# The members of each route, as a client would give them.
my %valid = (
	accounts => sub { { account_type => any('COURANT', 'EPARGNE'), currency => any('HTG', 'USD', 'JPY') } },
	deposits => sub { { account_id => any(@accounts), amount => sprintf('%.2f', 0.01 + rand 5), currency => 'HTG' } },
	withdrawals => sub { { account_id => any(@accounts), amount => sprintf('%.2f', 0.01 + rand 5), currency => 'HTG' } },
	transfers => sub {
		{ from_account => any(@accounts), to_account => any(@accounts), amount => sprintf('%.2f', 0.01 + rand 5) }
	},
	holds => sub { { account_id => any(@accounts), amount => '0.01', currency => 'HTG', expires_in => '1 day' } },
	'holds/capture' => sub { { hold_id => any(@holds), to_account => any(@accounts) } },
	'holds/release' => sub { { hold_id => any(@holds) } },
	# without an address that is text: hashing passwords takes its time
	'auth/login' => sub { { email => any(1, undef, []), password => any(@nasty) } });
my @routes = sort keys %valid;

sub deep
{
	my $depth = 1 + int rand 4_000;
	return any('[' x $depth, '{"a":' x $depth, '[' x $depth . ']' x $depth, '{"amount":' . '[' x $depth . ']' x $depth . '}');
}

sub body
{
	my ($route) = @_;
	my $kind = int rand 10;
	my $value = $valid{$route}->();

	return ' ' x any(8_200, 140_000) . '{}' if rand > 0.99;
	return $json->encode($value) if $kind == 0;
	if ($kind < 6)
	{
		# some members are something else, some are gone, some are new
		foreach my $n (0 .. rand 2)
		{
			my $member = any(keys %$value, qw(amount currency metadata expected_version command idempotency_key owner_id
				house_account occurred_at), any(@nasty));

			if (rand > 0.2) { $value->{$member} = scalar_value() }
			else { delete $value->{$member} }
		}
		return $json->encode($value);
	}
	return bytes(300) if $kind == 6;
	return deep() if $kind == 7 && rand > 0.8;
	return $json->encode(scalar_value()) if $kind == 7;
	my $text = $json->encode($value);

	# a byte is another one, or the end is missing
	substr($text, rand length $text, 1) = chr(int rand 256) foreach 0 .. rand 3;
	return $kind == 8 ? $text : substr($text, 0, rand length $text);
}

sub path
{
	my ($route) = @_;
	my $kind = int rand 10;
	my $id = any(@accounts, any(@accounts), any(@holds), 'x' x 36, '-' x 36, '0' x 36, any(@raw));
	my $query = join('&', map {
			any(qw(page page_size from_date to_date owner_id account_id select order limit offset), '', 'and') . any('=', '=eq.', '==', '')
			  . any(1, 0, -1, 1000, 1001, '2026-01-01', '2026-13-45', '%00', '%', '%zz', '%27', '%26page%3D1', '999999999999', @accounts, @raw)
		} 0 .. rand 4);

	$query =~ s/([^\x21-\x7e])/sprintf('%%%02X', ord($1) & 255)/ge if rand > 0.1;
	return "/api/v1/$route" if $kind < 2;
	return any('/api/v1/accounts', "/api/v1/accounts/$id", "/api/v1/accounts/$id/transactions", "/api/v1/accounts/$id/statement") . "?$query"
	  if $kind < 7;
	return any(
		'/', '//', '*', '/api', '/api/v1', '/api/v1/', '/api/v1/..', '/api/v1/../../rpc/login', '/rpc/login', '/rpc/execute', '/users', '/api/v1/rpc/deposit',
		'/api/v1//accounts', '/api/v1/accounts/', '/api/v1/accounts%00', '/api/v1/%2e%2e/rpc/login', '/api/v1/accounts;x=1', '/api/v1/ACCOUNTS',
		'http://other.example/api/v1/accounts', "/api/v1/accounts/$id/../..", '/api/v1/accounts#x', '/' . 'a' x (rand 20_000), '/' . bytes(60));
}

# Headers, some of which are none.
sub headers
{
	my ($kind) = @_;
	my @headers;

	push @headers, "Authorization: Bearer " . any(@tokens) if rand > 0.1;
	push @headers, 'Content-Type: application/json' if rand > 0.05;
	foreach my $n (1 .. rand 2.5)
	{
		push @headers, any(
			sub { 'Idempotency-Key: ' . any('once', 'twice', int(rand 50), 'k' x (rand 400), bytes(20) =~ s/[\r\n\0]//gr, "\xc3\x28", "'") },
			sub { 'traceparent: ' . any('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', '00-' . '0' x 32 . '-' . '0' x 16 . '-00', 'x', bytes(30) =~ s/[\r\n\0]//gr) },
			sub { 'Prefer: ' . any('tx=rollback', 'return=representation', 'params=single-object', 'count=exact', 'handling=strict', 'timezone=Mars') },
			sub { 'Accept: ' . any('text/csv', 'application/vnd.pgrst.plan', 'application/vnd.pgrst.object+json', 'x', '*/*;q=2', '') },
			sub { 'Content-Type: ' . any('text/plain', 'application/json; charset=utf-16', 'multipart/form-data', 'application/octet-stream', 'x') },
			sub { 'Content-Encoding: ' . any('gzip', 'x') },
			sub { 'Authorization: ' . any('Bearer', 'Bearer ', 'Bearer x', 'Basic eDp5', 'Bearer ' . 'a.' x 50, bytes(40) =~ s/[\r\n\0]//gr) },
			sub { 'Range: ' . any('0-5', 'bytes=0-5', 'items=9999999999-', 'x') },
			sub { any('Accept-Profile', 'Content-Profile') . ': ' . any('bank', 'public', 'bank_rest', "x'") },
			sub { 'X-HTTP-Method-Override: DELETE' },
			sub { 'Cookie: ' . bytes(50) =~ s/[\r\n\0]//gr },
			sub { 'X: ' . 'y' x (rand 20_000) },
			sub { bytes(30) =~ s/[\r\n]//gr },
			sub { 'Host: ' . any('', 'x y', "\x7f", 'a' x 300, '[::1', 'other.example') },
			sub { 'Connection: ' . any('Upgrade', 'close', 'Authorization', 'keep-alive, Idempotency-Key') },
			sub { 'Upgrade: h2c' },
			sub { 'Expect: ' . any('100-continue', 'x') },
			sub { 'Transfer-Encoding: ' . any('identity', 'gzip', 'chunked, gzip', 'x') })->();
	}
	return @headers;
}

# A whole request, and what is special: the connection goes on after it; nothing more is sent; it is a HEAD.
sub request
{
	my $kind = int rand 20;
	my $route = any(@routes);

	return (any(bytes(500), "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n" x 50, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
			"POST /api/v1/deposits HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
			"POST /api/v1/deposits HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
			"POST /api/v1/deposits HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
			"POST /api/v1/deposits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
			"POST /api/v1/deposits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
			"POST /api/v1/deposits HTTP/1.0\r\n\r\n", "GET /api/v1/accounts\r\n"), 'ends')
	  if $kind == 0;

	my $method = $kind < 13 ? 'POST' : $kind < 18 ? 'GET' : any(qw(HEAD PUT PATCH DELETE OPTIONS TRACE CONNECT get FOO), 'P' x 100);
	my $path = $kind < 11 ? "/api/v1/$route" : path($route);
	my $body = $method eq 'POST' || rand > 0.8 ? body($route) : '';
	my @headers = headers();
	my $chunked = 0;

	unshift @headers, 'Host: bank.example' unless grep { /^Host:/ } @headers;
	if ($body ne '' && rand > 0.9)
	{
		push @headers, 'Transfer-Encoding: chunked' unless grep { /^Transfer-Encoding/ } @headers;
		$body = join('', map { sprintf("%x\r\n%s\r\n", length $_, $_) } unpack('(a1000)*', $body)) . "0\r\n\r\n";
		$chunked = 1;
	}
	elsif ($body ne '')
	{
		push @headers, 'Content-Length: ' . length $body;
	}
	return ("$method $path HTTP/1.1\r\n" . join('', map { "$_\r\n" } @headers) . "\r\n$body",
		$method eq 'HEAD' ? 'head'
		: !$chunked && $path =~ m{^[!-~]+$} && !(grep { /^(Transfer|Expect|Connection|Upgrade)|[^ -~]/ } @headers) ? 'goes on'
		: '');
}

# Send a request, read its answer: (status, body); nothing: the other side closed without one.
my $socket;

sub exchange
{
	my ($request, $special) = @_;

	foreach my $attempt (1 .. 2)
	{
		my $fresh = !$socket;
		my $answer = '';
		my $end = time + 30;

		$socket //= IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $rest->{port}) or die "connect: $!";
		# It may be closed before all of it is there.
		for (my $sent = 0; $sent < length $request;)
		{
			$sent += $socket->syswrite($request, 65536, $sent) // last;
		}
		shutdown($socket, 1) if $special eq 'ends';
		while (!complete($answer, $special) && time < $end)
		{
			last unless IO::Select->new($socket)->can_read($end - time);
			last unless $socket->sysread($answer, 65536, length $answer);
			$answer =~ s{^HTTP/1\.1 100 .*?\r\n\r\n}{}s;
		}
		undef $socket if $special ne 'goes on' || !complete($answer) || $answer =~ /^Connection: close/mi;
		# a connection that was closed before it had our request
		next if $answer eq '' && !$fresh && $attempt == 1;
		return $answer =~ m{^HTTP/1\.1 (\d+) .*?\r\n\r\n(.*)}s ? ($1, $2) : $answer eq '' ? () : (400, $answer);
	}
	return;
}

# Is an answer there to its end?
sub complete
{
	my ($answer, $special) = @_;

	return 0 unless $answer =~ /^(HTTP.*?)\r\n\r\n(.*)$/s;
	my ($head, $body) = ($1, $2);

	return 1 if ($special // '') eq 'head';
	return length $body >= $1 if $head =~ /^Content-Length: (\d+)/mi;
	return $body =~ /(^|\r\n)0\r\n\r\n$/ if $head =~ /^Transfer-Encoding: chunked/mi;
	return 0;
}

# Each worker writes one line per request that counts: status, and what was accepted.
my $directory = PostgreSQL::Test::Utils::tempdir();
my $start = time;
my @pids;
foreach my $worker (1 .. $workers)
{
	my $pid = fork // die "fork: $!";

	if ($pid) { push @pids, $pid; next }
	srand($seed + $worker);
	local $SIG{PIPE} = 'IGNORE';
	open(my $out, '>', "$directory/$worker") or POSIX::_exit(1);
	eval {
		foreach my $n (1 .. $requests / $workers)
		{
			my ($request, $special) = request();
			my ($status, $body) = exchange($request, $special);
			my $accepted = '';

			$status //= 0;
			if ($status =~ /^2/ && $request =~ /^POST/)
			{
				$accepted = join(' ', "$body" =~ /"position":(\d+)/g, "$body" =~ /"account_id" ?: ?"([0-9a-f-]{36})"/g);
			}
			print $out "$status $accepted\n";
			print $out "# $status: ", $json->encode(substr($request, 0, 500)), "\n# ", $json->encode(substr($body, 0, 500)), "\n"
			  if $status >= 500 || ($status && $body !~ /^(\w+\r\n)?[\[{"]|^$/);
		}
		1;
	} or print $out "# died: $@";
	close $out;
	POSIX::_exit(0);
}
waitpid($_, 0) foreach @pids;
my $seconds = time - $start;

my (%statuses, %accepted, @odd);
foreach my $line (map { split /\n/, slurp_file("$directory/$_") } 1 .. $workers)
{
	if ($line =~ /^#/)
	{
		push @odd, $line;
		next;
	}
	my ($status, @what) = split / /, $line;

	$statuses{$status}++;
	$accepted{$_}++ foreach @what;
}
note(sprintf('seed %d, %.1f s, %s', $seed, $seconds, join(', ', map { "$_: $statuses{$_}" } sort keys %statuses)));
my $answers = 0;
$answers += $_ foreach values %statuses;
is($answers, $requests, "$requests requests");
is(join(' ', grep { $_ >= 500 } sort keys %statuses), '', 'none was answered with 5xx');
is(join("\n", @odd), '', 'every answer is JSON');
cmp_ok($statuses{0} // 0, '<', $requests / 20, 'nearly all were answered');
cmp_ok($statuses{$_} // 0, '>', 0, "some with $_") foreach qw(200 201 400 401 404 405 409 413 414 415 422);

# Whatever is new in the ledger was answered with 2xx; the house accounts open by themselves.
my @events = map { [ split /\|/ ] } split /\n/, $node->safe_psql('bank', <<"SQL");
SELECT e.position, e.aggregate_id, e.event_type FROM bank_events AS e
WHERE e.position > $before AND e.event_type <> 'hold.expired'
  AND NOT EXISTS (SELECT FROM bank.accounts AS a WHERE a.account_id = e.aggregate_id AND a.house_code IS NOT NULL)
SQL
my @unanswered = grep { !$accepted{ $_->[2] eq 'account.created' ? $_->[1] : $_->[0] } } @events;
cmp_ok(scalar @events, '>', 100, 'many were accepted');
is(join(', ', map { "@$_" } @unanswered), '', 'and nothing happened without a 2xx');
ledger_ok($node, 'bank', 'after the attack');
is($rest->get('accounts', token => $tokens[0])->{status}, 200, 'the API still works');
is($node->safe_psql('bank', "SELECT count(*) FROM bank_events WHERE metadata ? 'traceparent'"
		  . " AND metadata ->> 'traceparent' !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\$'"), 0,
	'no traceparent is stored that is none') or note 'bodies may have one of their own';
my $log = slurp_file($node->logfile);
is(join(' ', $log =~ /(PANIC|server process .* was terminated|TRAP)/g), '', 'the server has taken no harm');
$rest->stop;
$node->stop;
done_testing();
