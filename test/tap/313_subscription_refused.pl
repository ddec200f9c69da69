# What nobody can subscribe to, and why: each refusal says what is wrong, and leaves nothing behind. And private
# addresses while banking.allow_private_endpoints is off: refused by what they are, and at the latest when a
# connection to them would be made, whatever name they go by.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Deliveries;
use Ledger;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Receiver;
use Socket qw(getaddrinfo getnameinfo NI_NUMERICHOST SOCK_STREAM);
use Sys::Hostname qw(hostname);
use Test::More;

my $node = relay_node('refused');
my $receiver = Receiver->start('refused');

create_ledger($node, 'ledger');
add_functions($node, 'ledger');
open_accounts($node, 'ledger', 1, 3, '100.00 HTG');
wait_for_worker($node, 'ledger');

sub sql
{
	my ($sql) = @_;
	return $node->safe_psql('ledger', $sql);
}

my $given = 'whsec_' . encode_base64('g' x 32, '');
sql("SELECT bank_subscribe('all', '" . $receiver->url('/all') . "')");

my $url = $receiver->url('/refused');
my %refused = (
	'' => [],
	'nonsense' => [qr/http/],
	'shop.example/x' => [qr/http/],
	'ftp://shop.example/' => [qr/must begin with http/],
	'file:///etc/passwd' => [qr/must begin with http/],
	'gopher://127.0.0.1:70/_x' => [qr/must begin with http/],
	'javascript:alert(1)' => [qr/must begin with http/],
	'http://' => [qr/no host/],
	'http:///path' => [qr/no host/],
	'https://:443/' => [qr/host/],
	'http://shop.example:99999/' => [qr/malformed|port/i],
	'http://shop.example:x/' => [qr/malformed|port/i],
	'http://user:pass@shop.example/' => [qr/user name or password/],
	'http://user@shop.example/' => [qr/user name or password/],
	'http://shop.example/a b' => [qr/space/],
	"http://shop.example/\\r\\nX: y" => [qr/control/],
	"http://shop.example/\\tx" => [qr/control/],
	'http://shop.example/#part' => [qr/fragment/],
	"http://shop.example/\x{c3}\x{a9}" => [qr/ASCII/],
	'http://[::1' => [qr/malformed/i],
	'http://' . ('x' x 2000) . '/' => [qr/longer/]);
foreach my $bad (sort keys %refused)
{
	my $pattern = $refused{$bad}[0] // qr/./;
	my ($status, $stdout, $stderr) =
	  $node->psql('ledger', "SET client_min_messages = error; \\set VERBOSITY verbose\nSELECT bank_subscribe('refused', E'$bad')");

	like($stderr, qr/ERROR:  BK026: Invalid subscription\nDETAIL:  .*$pattern/, "refused: URL " . substr($bad, 0, 40));
}
foreach my $case (
	[ qq(headers => '{"X-A": "b\\r\\nX-Evil: c"}'), qr/control character/ ],
	[ qq(headers => '{"X-A": "b\\nc"}'), qr/control character/ ],
	[ qq(headers => '{"X-A\\r\\nX-Evil": "c"}'), qr/name of a header/ ],
	[ qq(headers => '{"X-A: b": "c"}'), qr/name of a header/ ],
	[ qq(headers => '{"": "c"}'), qr/name of a header/ ],
	[ qq(headers => '{"X \\u00e9": "c"}'), qr/name of a header/ ],
	[ qq(headers => '{"X-Long": ") . 'x' x 5000 . qq("}'), qr/longer/ ],
	(map { [ qq(headers => '{"$_": "x"}'), qr/"$_" cannot be set/ ] }
		  qw(Host host Content-Length Content-Type Transfer-Encoding Connection Expect Upgrade TE webhook-id Webhook-Signature WEBHOOK-TIMESTAMP webhook-x)),
	[ qq(headers => '{"X-A": 1}'), qr/object of strings/ ],
	[ qq(headers => '{"X-A": null}'), qr/object of strings/ ],
	[ qq(headers => '["X-A"]'), qr/JSON object/ ],
	[ 'headers => NULL', qr/JSON object/ ],
	[ "secret => 'whsec_" . encode_base64('x' x 23, '') . "'", qr/24 to 64/ ],
	[ "secret => 'whsec_" . encode_base64('x' x 65, '') . "'", qr/24 to 64/ ],
	[ "secret => 'whsec_'", qr/24 to 64/ ],
	[ "secret => ''", qr/whsec_/ ],
	[ "secret => '" . encode_base64('x' x 32, '') . "'", qr/whsec_/ ],
	[ "secret => 'whsec_****'", qr/whsec_/ ],
	[ "secret => 'whsec_" . ('A' x 41) . "'", qr/base64/ ],
	[ "mode => 'stream'", qr/mode/ ],
	[ 'mode => NULL', qr/mode/ ],
	[ "mode => 'batch', batch_size => 0", qr/batch_size/ ],
	[ "mode => 'batch', batch_size => 1001", qr/batch_size/ ],
	[ "mode => 'batch', batch_size => NULL", qr/batch_size/ ],
	[ "start => 'yesterday'", qr/start/ ],
	[ 'start_position => -1', qr/start_position/ ],
	[ 'start_position => 1, start_time => now()', qr/start_position/ ],
	[ "event_types => '{}'", qr/event_types/ ],
	[ "event_types => '{NULL}'", qr/event_types/ ],
	[ "event_types => '{money.stolen}'", qr/event_types/ ],
	[ "event_types => '{money.*,x%}'", qr/event_types/ ],
	[ "event_types => '{Money.deposited}'", qr/event_types/ ],
	[ "account_ids => '{}'", qr/account_ids/ ],
	[ "owner_ids => '{NULL}'", qr/owner_ids/ ],
	[ "currencies => '{}'", qr/currencies/ ],
	[ "currencies => '{htg}'", qr/capital/ ],
	[ "connect_timeout => '0'", qr/connect_timeout/ ],
	[ "connect_timeout => NULL", qr/connect_timeout/ ],
	[ "request_timeout => '-1 s'", qr/request_timeout/ ],
	[ "request_timeout => '5 minutes 1 ms'", qr/request_timeout/ ],
	[ 'concurrency => 0', qr/concurrency/ ],
	[ 'concurrency => 257', qr/concurrency/ ],
	[ 'max_attempts => 0', qr/max_attempts/ ],
	[ 'max_attempts => NULL', qr/max_attempts/ ],
	[ "retry_delay => '0'", qr/retry_delay/ ],
	[ "retry_delay => '1 hour', retry_max_delay => '59 minutes'", qr/retry_max_delay/ ],
	[ "retry_max_delay => '31 days'", qr/retry_max_delay/ ],
	[ "on_failure => 'panic'", qr/on_failure/ ],
	[ 'failure_threshold => 0', qr/failure_threshold/ ],
	[ "breaker_timeout => '0'", qr/breaker_timeout/ ],
	[ "sink => '../http'", qr/sink/ ],
	[ "sink => ''", qr/sink/ ],
	[ 'sink => NULL', qr/sink/ ])
{
	my ($arguments, $pattern) = @$case;
	my ($status, $stdout, $stderr) =
	  $node->psql('ledger', "\\set VERBOSITY verbose\nSELECT bank_subscribe('refused', '$url', $arguments)");

	like($stderr, qr/ERROR:  BK026: Invalid subscription\nDETAIL:  .*$pattern/, "refused: " . substr($arguments, 0, 70));
}
foreach my $name ('', ' ', '-x', '.x', 'a b', 'a/b', "a\nb", 'x' x 64, "\x{c3}\x{a9}")
{
	is(outcome($node, 'ledger', "SELECT bank_subscribe('$name', '$url')"), 'BK026', 'refused: name "' . one_line($name) . '"');
}
is(outcome($node, 'ledger', "SELECT bank_subscribe(NULL, '$url')"), 'BK026', 'refused: no name');
is(outcome($node, 'ledger', "SELECT bank_subscribe('x', NULL)"), 'BK026', 'refused: no URL');
is(outcome($node, 'ledger', "SELECT bank_subscribe('all', '$url')"), 'BK028', 'refused: a name that is taken');
isnt(outcome($node, 'ledger', "SELECT bank_subscribe('x', '$url', sink => 'nothing')"), 'ok', 'refused: a sink that is not there');
foreach my $command ("bank_unsubscribe('none')", "bank_pause_subscription('none')", "bank_resume_subscription('none')",
	"bank_rotate_secret('none')", "bank_replay('none')", "bank_change_subscription('none')", "bank_retry_dead_letters('none')",
	"bank_discard_dead_letters('none')", "bank_force_breaker('none', 'open')", "bank_unsubscribe(NULL)")
{
	is(outcome($node, 'ledger', "SELECT $command"), 'BK027', "refused: $command");
}
is(outcome($node, 'ledger', "SELECT bank_force_breaker('all', 'ajar')"), 'BK026', 'refused: a state that is none');
is(outcome($node, 'ledger', "SELECT bank_rotate_secret('all', keep_old => '31 days')"), 'BK026', 'refused: old secrets for too long');
is(outcome($node, 'ledger', "SELECT bank_rotate_secret('all', 'whsec_AAAA')"), 'BK026', 'refused: a new secret that is too short');
is(outcome($node, 'ledger', "SELECT bank_change_subscription('all', url => 'ftp://x')"), 'BK026', 'refused: a new URL');
is(outcome($node, 'ledger', qq(SELECT bank_change_subscription('all', headers => '{"Host": "x"}'))), 'BK026', 'refused: new headers');
is(sql('SELECT count(*) FROM bank_subscriptions'), 1, 'nothing of all that was made');
is(scalar $receiver->requests('/refused'), 0, 'or called');

# Switched on and off while subscriptions are at work.
sub allow_private
{
	my ($value) = @_;

	sql("ALTER SYSTEM SET banking.allow_private_endpoints = $value");
	$node->reload;
	# settings.c of a session, and so of the worker soon
	$node->poll_query_until('ledger', "SELECT current_setting('banking.allow_private_endpoints') = '$value'")
	  or die 'the setting is not taken';
	return;
}

sub deposit
{
	return sql("SELECT event_id FROM bank_deposit(account(1), '1 HTG')");
}

sub has
{
	my ($path, $id) = @_;
	return grep { ($_->{id} // '') eq $id } $receiver->requests($path);
}

my $first = deposit();
$receiver->wait_for(sub { has('/all', $first) }, 30, 'a delivery');
allow_private('off');
$receiver->wait_for(sub {
	deposit();
	return sql("SELECT failed > 0 FROM bank_subscriptions WHERE name = 'all'") eq 't';
}, 30, 'a failure');
my $second = deposit();
like(sql("SELECT last_error FROM bank_subscriptions WHERE name = 'all'"),
	qr/address 127\.0\.0\.1 is private, see banking\.allow_private_endpoints/,
	'private: no longer delivered to, also by a connection that is open');
is(scalar has('/all', $second), 0, 'private: nothing arrives');

my $port = $receiver->port;
foreach my $host (qw(
	127.0.0.1 127.1 127.0.1 0x7f000001 0x7f.1 0177.0.0.1 2130706433 127.255.255.254 0.0.0.0 0 localhost LOCALHOST
	localhost. x.localhost localhost.:80 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1]
	[64:ff9b::7f00:1] [2002:7f00:1::] 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254
	100.64.0.1 [fc00::1] [fd12:3456::1] [fe80::1] [fe80::1%25eth0] [ff02::1] 224.0.0.1 255.255.255.255 198.18.0.1 192.0.2.1))
{
	my $url = $host =~ /:\d+$/ ? "http://$host/" : "http://$host:$port/";
	my ($status, $stdout, $stderr) =
	  $node->psql('ledger', "\\set VERBOSITY verbose\nSELECT bank_subscribe('refused', '$url')");

	like($stderr, qr/ERROR:  BK026: Invalid subscription\nDETAIL:  .*(?:private|this very server|malformed)/i, "private: $host");
}
is(outcome($node, 'ledger', "SELECT bank_change_subscription('all', url => 'http://10.0.0.1/')"),
	'BK026', 'private: nor is a subscription changed to one');
foreach my $host ('192.0.1.1', '8.8.8.8', '11.0.0.1', '172.32.0.1', '172.15.0.1', '192.169.0.1', '100.128.0.1',
	'[2606:4700::1111]', 'localhost.example', 'mylocalhost', '10.0.0.1.example')
{
	is( outcome($node, 'ledger', "BEGIN; SELECT bank_subscribe('public', 'https://$host/'); ROLLBACK"),
		'ok', "private: not $host");
}

# A name can stand for anything, and for something else the next time: it is looked at when a connection is made.
SKIP:
{
	my ($name) = grep { resolves_to_loopback($_) } hostname(), qw(ip6-localhost localhost.localdomain ip6-loopback localhost4 localhost6);
	skip 'this host has no other name for itself', 3 unless defined $name;

	note "$name is this host";
	is(outcome($node, 'ledger', "SELECT bank_subscribe('rebound', 'http://$name:$port/rebound')"), 'ok', "private: the name $name can be subscribed to");
	my $id = deposit();
	$node->poll_query_until('ledger', "SELECT failed > 0 FROM bank_subscriptions WHERE name = 'rebound'")
	  or die 'nothing fails';
	like(sql("SELECT last_error FROM bank_subscriptions WHERE name = 'rebound'"),
		qr/address \S+ is private/, 'private: but not connected to');
	is(scalar $receiver->requests('/rebound'), 0, 'private: nothing arrives');
}

# On again, all is delivered.
allow_private('on');
sql("SELECT bank_force_breaker(name, 'closed') FROM bank_subscriptions");
$receiver->wait_for(sub { has('/all', $second) }, 60, 'delivery after the setting is on again');
wait_for_delivery($node, 'ledger', 'all');
is(scalar $receiver->requests('/all'), scalar(keys %{ { map { $_->{id} => 1 } $receiver->requests('/all') } }),
	'private: allowed again, everything arrives once');
unlike(errors_logged($node), qr/XX000/, 'no internal errors');

# Does this name stand for this host, and for nothing else?
sub resolves_to_loopback
{
	my ($name) = @_;
	my ($error, @addresses) = getaddrinfo($name, '80', { socktype => SOCK_STREAM });

	return 0 if $error || !@addresses || $name =~ /(?:^|\.)localhost\.?$/i;
	foreach my $address (@addresses)
	{
		my ($failed, $text) = getnameinfo($address->{addr}, NI_NUMERICHOST);

		return 0 if $failed || $text !~ /^127\.|^::1$/;
	}
	return 1;
}

$node->stop;
done_testing();
