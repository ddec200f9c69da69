# Tokens and logging in under attack: forged, expired, unsigned, for others, without claims, from keys that are gone;
# guessed passwords, one by one and many at a time, of users who are there and who are not. And what a DBA
# does: rotation of keys, users barred, dump and restore.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP ();
use Ledger;
use MIME::Base64 qw(decode_base64url encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Rest;
use Test::More;
use Time::HiRes qw(sleep time);

my $missing = Rest::missing();
plan skip_all => $missing if $missing;

my $node = ledger_node('tokens', conf => "banking.trusted_authenticators = 'bank_authenticator'\n");
my $rest = Rest->start($node, 'bank');

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('bank', $query);
}

# Status of a request with a token.
sub status
{
	my ($token) = @_;
	return $rest->get('accounts', token => $token)->{status};
}

# The secrets of the keys by their names.
sub secrets
{
	my $keys = JSON::PP->new->decode(sql('SELECT bank_rest.jwks()'))->{keys};
	return map { $_->{kid} => decode_base64url($_->{k}) } @$keys;
}

my $ann_id = $rest->add_user('ann@example.com', 'customer');
my $tess_id = $rest->add_user('tess@example.com', 'teller');
my $ann = $rest->login('ann@example.com');
my ($header, $claims) = Rest::token_parts($ann);
my %secrets = secrets();
my $key = $secrets{ $header->{kid} };

# A token like ann's, with some claims changed (undef: left out).
sub changed
{
	my ($changes, $other_header, $other_key) = @_;
	my %claims = (%$claims, %$changes);

	delete $claims{$_} foreach grep { !defined $claims{$_} } keys %claims;
	return Rest::make_token({ %$header, %{ $other_header // {} } }, \%claims, $other_key // $key);
}

is(status($ann), 200, 'a token of the API');
is(status(changed({ jti => 'another' })), 200, 'and one made with its key, for control');

my $now = int(time);
my @parts = split /\./, $ann;
my %bad = (
	'a wrong signature' => changed({}, {}, 'x' x 32),
	'an empty key' => changed({}, {}, ''),
	'changed claims' => join('.', $parts[0], encode_base64url(JSON::PP->new->encode({ %$claims, sub => $tess_id })), $parts[2]),
	'no signature' => "$parts[0].$parts[1].",
	'a signature cut short' => substr($ann, 0, -2),
	'a signature that is longer' => $ann . 'AA',
	'alg none' => encode_base64url('{"alg":"none"}') . ".$parts[1].",
	'alg None' => encode_base64url('{"alg":"None"}') . ".$parts[1].",
	'alg none, signed' => changed({}, { alg => 'none' }),
	'alg HS512, signed with HS256' => changed({}, { alg => 'HS512' }),
	'alg RS256' => changed({}, { alg => 'RS256' }),
	'an expired token' => changed({ iat => $now - 1000, nbf => $now - 1000, exp => $now - 100 }),
	'one that has just expired' => changed({ iat => $now - 900, nbf => $now - 900, exp => $now - 1 }),
	'another audience' => changed({ aud => 'shop' }),
	'audiences' => changed({ aud => [ 'banking', 'shop' ] }),
	'no aud' => changed({ aud => undef }),
	'no exp' => changed({ exp => undef }),
	'no nbf' => changed({ nbf => undef }),
	'no iat' => changed({ iat => undef }),
	'no jti' => changed({ jti => undef }),
	'no sub' => changed({ sub => undef }),
	'no role' => changed({ role => undef }),
	'exp as text' => changed({ exp => 'never' }),
	'nbf to come' => changed({ nbf => $now + 100 }),
	'nbf soon' => changed({ nbf => $now + 20 }),
	'iat to come' => changed({ iat => $now + 20, exp => $now + 100 }),
	'a year' => changed({ exp => $now + 365 * 86400 }),
	'the role of a teller' => changed({ role => 'bank_teller' }),
	'the role of a superuser' => changed({ role => $node->safe_psql('bank', 'SELECT current_user') }),
	'a role that is not there' => changed({ role => 'nobody' }),
	'a user who is not there' => changed({ sub => '00000000-0000-4000-8000-000000000000' }),
	'a sub that is no user' => changed({ sub => "' OR true --" }),
	'a key that is not there' => changed({}, { kid => 'mine' }),
	'no kid' => join('.', (map { encode_base64url($_) } '{"alg":"HS256"}', JSON::PP->new->encode($claims)), $parts[2]),
	'a kid that is a path' => changed({}, { kid => '../../dev/null' }),
	'a key in the header' => changed({}, { jwk => { kty => 'oct', k => encode_base64url('y' x 32) } }, 'y' x 32),
	'claims that are an array' => Rest::make_token($header, [1], $key),
	'two parts' => 'a.b',
	'no parts' => 'token',
	'no base64' => '***.***.***',
	'very long' => 'a' x 5000 . '.b.c');
foreach my $name (sort keys %bad)
{
	my $status = status($bad{$name});

	# PostgREST itself refuses what has no such role.
	like($status, $name =~ /role of a superuser|role that is not/ ? qr/^40[0-3]$/ : qr/^401$/, "refused: $name")
	  or note $bad{$name};
}
is($rest->get('accounts', headers => { Authorization => "Basic $ann" })->{status}, 401, 'refused: another scheme');
is($rest->get('accounts', headers => { Authorization => "bearer $ann" })->{status}, 200, 'the scheme in small letters');

# A check of ours that does not hang on that of PostgREST: both know a token that is good.
is(sql("SELECT fault IS NULL AND claims ->> 'sub' = '$ann_id' FROM bank_rest.verify_token('$ann')"), 't', 'verify_token');
is(sql("SELECT claims IS NULL AND fault <> '' FROM bank_rest.verify_token('$bad{'a wrong signature'}')"), 't', 'refuses');
is(sql('SELECT claims IS NULL FROM bank_rest.verify_token(NULL)'), 't', 'and needs a token');

# Rotation: the next key signs nothing until it is activated; the previous one is good until it is retired.
my $next = sql('SELECT bank_rest.prepare_key()');
is((Rest::token_parts($rest->login('ann@example.com')))[0]{kid}, $header->{kid}, 'a prepared key does not sign');
%secrets = secrets();
is(scalar(keys %secrets), 2, 'PostgREST is given both');
is(status(changed({}, { kid => $next }, $secrets{$next})), 401, 'nor is it good yet');
$rest->write_keys;
$rest->reload_postgrest;
is(sql('SELECT bank_rest.activate_key()'), $next, 'it is activated');
my $newer = $rest->login('ann@example.com');
is((Rest::token_parts($newer))[0]{kid}, $next, 'and signs');
$rest->wait_for(sub { status($newer) == 200 }, 'PostgREST knows it');
is(status($ann), 200, 'tokens of the previous key are still good');
is(status(changed({}, { kid => $next })), 401, 'but not under the name of the other one');
is(sql('SELECT bank_rest.retire_key()'), $header->{kid}, 'the previous key is retired');
is(status($ann), 401, 'its tokens are refused, although PostgREST knows it still');
is(status(changed({}, { kid => $next })), 401, 'under any name');
$rest->write_keys;
$rest->reload_postgrest;
is(status($newer), 200, 'those of the new one are not');
is(($node->psql('bank', 'SELECT bank_rest.activate_key()'))[0], 3, 'no key is activated that nobody has prepared');
is(sql('SELECT count(*) FROM bank_rest.signing_keys'), 1, 'and nothing is lost by trying');

# Users who leave.
is(sql("SELECT bank_rest.set_active('ANN\@example.com', false)"), 't', 'a user is barred');
is(status($newer), 401, 'her tokens are refused');
is($rest->post('auth/login', { email => 'ann@example.com', password => 'correct horse' })->{status}, 401, 'and her logins');
sql("SELECT bank_rest.set_active('ann\@example.com', true), bank_rest.unlock('ann\@example.com')");
is(status($newer), 200, 'and let in again');
sql("SELECT bank_rest.set_password('ann\@example.com', 'battery staple')");
is($rest->post('auth/login', { email => 'ann@example.com', password => 'battery staple' })->{status}, 200, 'another password');
is($rest->post('auth/login', { email => 'Ann@Example.com', password => 'correct horse' })->{status}, 401, 'not the old one');
sql("SELECT bank_rest.unlock('ann\@example.com')");
foreach my $password ('short', 'x' x 73)
{
	is(outcome($node, 'bank', "SELECT bank_rest.add_user('x\@example.com', '$password')"), '22023',
		'no password of ' . length($password) . ' bytes');
}
is(outcome($node, 'bank', "SELECT bank_rest.add_user('Ann\@example.com', 'correct horse')"), '23505', 'one user per address');
like(sql('SELECT min(password_hash) FROM bank_rest.users'), qr/^\$2a\$12\$/, 'bcrypt with cost 12');
is(outcome($node, 'bank', 'SELECT bank_rest.set_bcrypt_cost(11)'), '23514', 'and no less');
is(outcome($node, 'bank', "UPDATE bank_rest.settings SET token_lifetime = '16 minutes'"), '23514', 'no token for longer');

# A token is good for as long as the settings say.
sql("UPDATE bank_rest.settings SET token_lifetime = '2 seconds'");
my $short = $rest->login('tess@example.com');
is(status($short), 200, 'a short-lived token');
$rest->wait_for(sub { status($short) == 401 }, 'it has expired');
pass('expires');
is(status($newer), 401, 'and longer ones are not good any more');
sql("UPDATE bank_rest.settings SET token_lifetime = '15 minutes'");

# Guessing: the same for users who are there and who are not.
foreach my $email ('ann@example.com', 'nobody@example.com')
{
	my @statuses;

	sql("SELECT bank_rest.unlock('$email')");
	foreach my $n (1 .. 7)
	{
		my $answer = $rest->post('auth/login', { email => $email, password => "guess $n" });

		push @statuses, $answer->{status};
		like($answer->{headers}{'retry-after'}, qr/^(8[89]\d|900)$/, "$email: Retry-After") if $n == 7;
		is($answer->{json}{code}, $n > 5 ? 'locked_out' : 'invalid_credentials', "$email: guess $n");
	}
	is("@statuses", '401 401 401 401 401 429 429', "$email is locked out after five");
}
is($rest->post('auth/login', { email => 'ann@example.com', password => 'battery staple' })->{status}, 429,
	'then the right password is of no use');
is($rest->post('auth/login', { email => 'tess@example.com', password => 'correct horse' })->{status}, 200,
	'others are not concerned');
sql("UPDATE bank_rest.login_failures SET locked_until = now(), last_failed_at = now() - interval '15 minutes'");
is($rest->post('auth/login', { email => 'ann@example.com', password => 'guess' })->{status}, 401, 'after that time');
is(sql('SELECT count(*), max(failures) FROM bank_rest.login_failures'), '1|1',
	'failures are counted anew, and those of others are forgotten');
is($rest->post('auth/login', { email => 'ann@example.com', password => 'battery staple' })->{status}, 200, 'the password is right');
is(sql('SELECT count(*) FROM bank_rest.login_failures'), 0, 'and clears the count');

# Many guesses at a time: answered are no more than one by one.
my @pids;
my $counts = PostgreSQL::Test::Utils::tempdir() . '/statuses';
foreach my $child (1 .. 12)
{
	my $pid = fork // die "fork: $!";

	if (!$pid)
	{
		my $answer = $rest->post('auth/login', { email => 'tess@example.com', password => "guess $child" });

		append_to_file($counts, "$answer->{status}\n");
		POSIX::_exit(0);
	}
	push @pids, $pid;
}
waitpid($_, 0) foreach @pids;
my @statuses = sort split /\n/, slurp_file($counts);
is("@statuses", join(' ', (401) x 5, (429) x 7), 'twelve guesses at a time: five answers');

# An unknown user takes as long as a known one: 12 rounds of bcrypt are hard to miss.
my %took;
foreach my $email ('ann@example.com', 'unknown@example.com')
{
	my @took;

	foreach my $n (1 .. 3)
	{
		my $start = time;

		sql("SELECT l.token FROM bank_rest.login('$email', 'guess $n') AS l");
		push @took, time - $start;
	}
	$took{$email} = (sort { $a <=> $b } @took)[0];
}
cmp_ok($took{'unknown@example.com'}, '>', $took{'ann@example.com'} / 2, 'an unknown user takes as long');
cmp_ok($took{'ann@example.com'}, '>', $took{'unknown@example.com'} / 2, 'as a known one');

# A dump has users, keys and settings; who was locked out is not in it.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('bank') ], 'a dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'is restored');
is($node->safe_psql('restored', "SELECT bank_rest.jwks()::text"), sql('SELECT bank_rest.jwks()::text'), 'the keys');
is($node->safe_psql('restored', 'SELECT array_agg(u ORDER BY u) FROM bank_rest.users AS u'),
	sql('SELECT array_agg(u ORDER BY u) FROM bank_rest.users AS u'), 'the users');
is($node->safe_psql('restored', 'SELECT s FROM bank_rest.settings AS s'), sql('SELECT s FROM bank_rest.settings AS s'), 'settings');
my $copy = Rest->start($node, 'restored', set_up => 0);
is($copy->get('accounts', token => $newer)->{status}, 200, 'and it works');
$copy->stop;

# Dropping it leaves the ledger.
$rest->stop;
is(outcome($node, 'bank', 'DROP EXTENSION banking_rest'), 'ok', 'DROP EXTENSION banking_rest');
is(sql("SELECT count(*) FROM pg_namespace WHERE nspname IN ('bank_rest', 'bank_api')"), 0, 'takes its schemas along');
is(sql('SELECT count(*) FROM bank_verify() WHERE NOT ok'), 0, 'the ledger stays');
$node->stop;
done_testing();
