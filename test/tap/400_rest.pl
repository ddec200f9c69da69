# The REST API as its clients meet it: real PostgREST behind real nginx. Logging in, every route and every
# refusal, owners who do not see each other, idempotency keys, and what a client gets when locks, PostgREST or
# the server are not to be had. Every answer is one that rest/openapi.json describes.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use JSON::PP ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Rest;
use Test::More;
use Time::HiRes qw(time);

my $missing = Rest::missing();
plan skip_all => $missing if $missing;

my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;
my $trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
my $nowhere = '00000000-0000-4000-8000-00000000dead';
my $api = JSON::PP->new->decode(slurp_file("$FindBin::RealBin/../../rest/openapi.json"));
my $node = ledger_node('rest', conf => "banking.trusted_authenticators = 'bank_authenticator'\n");
my $rest = Rest->start($node, 'bank');
my @undocumented;

sub sql
{
	my ($query) = @_;
	return $node->safe_psql('bank', $query);
}

# Is a value what a schema of the document says? Returns what is wrong, as text; nothing: it is.
sub flaw
{
	my ($schema, $value, $place) = @_;
	my @flaws;

	if ($schema->{'$ref'})
	{
		my $target = $api;

		$target = $target->{$_} foreach grep { $_ ne '#' } split m{/}, $schema->{'$ref'};
		return flaw($target, $value, $place);
	}
	return map { flaw($_, $value, $place) } @{ $schema->{allOf} } if $schema->{allOf};
	return $schema->{nullable} ? () : "$place is null" if !defined $value;
	if ($schema->{type} eq 'array')
	{
		return "$place is no array" if ref $value ne 'ARRAY';
		return map { flaw($schema->{items}, $value->[$_], "$place/$_") } 0 .. $#$value;
	}
	if ($schema->{type} eq 'object')
	{
		return "$place is no object" if ref $value ne 'HASH';
		push @flaws, map { "$place lacks $_" } grep { !exists $value->{$_} } @{ $schema->{required} // [] };
		push @flaws, map { flaw($schema->{properties}{$_}, $value->{$_}, "$place/$_") }
		  grep { exists $value->{$_} } keys %{ $schema->{properties} // {} };
		return @flaws;
	}
	push @flaws, "$place is $value" if $schema->{pattern} && $value !~ /$schema->{pattern}/;
	push @flaws, "$place is $value" if $schema->{enum} && !grep { $_ eq $value } @{ $schema->{enum} };
	push @flaws, "$place is $value" if ($schema->{format} // '') eq 'uuid' && $value !~ /^$uuid$/;
	# Money is never a number.
	push @flaws, "$place is no string" if $schema->{type} eq 'string' && JSON::PP->new->allow_nonref->encode($value) !~ /^"/;
	return @flaws;
}

# Look an answer up in the document.
sub documented
{
	my ($method, $path, $answer) = @_;
	my $route = '/' . ($path =~ s/\?.*//r =~ s{^accounts/[^/]+}{accounts/{account_id}}r);
	my $operation = $api->{paths}{$route}{ lc $method } or return;
	my $response = $operation->{responses}{ $answer->{status} };

	if (!$response)
	{
		push @undocumented, "$method $route: $answer->{status}";
		return;
	}
	if ($response->{'$ref'})
	{
		$response = $api->{components}{responses}{ $response->{'$ref'} =~ s{.*/}{}r };
	}
	push @undocumented, map { "$method $route: $answer->{status}: $_" }
	  flaw($response->{content}{'application/json'}{schema}, $answer->{json}, '');
	return;
}

# Requests whose answers are looked up.
sub get
{
	my ($path, @options) = @_;
	my $answer = $rest->get($path, @options);

	documented('GET', $path, $answer);
	return $answer;
}

sub post
{
	my ($path, $data, @options) = @_;
	my $answer = $rest->post($path, $data, @options);

	documented('POST', $path, $answer);
	return $answer;
}

# Status and code of an answer: "404 BK001".
sub outcome_of
{
	my ($answer) = @_;
	return join(' ', $answer->{status}, $answer->{json}{code} // ());
}

# Run parts at the same time, each in a process of its own; each returns a text.
sub at_once
{
	my (@parts) = @_;
	my @pipes;

	foreach my $part (@parts)
	{
		pipe(my $in, my $out) or die "pipe: $!";
		my $pid = fork // die "fork: $!";

		if (!$pid)
		{
			close $in;
			$rest->{http} = HTTP::Tiny->new(timeout => 60, keep_alive => 1);
			print $out eval { $part->() } // "died: $@";
			close $out;
			POSIX::_exit(0);
		}
		close $out;
		push @pipes, [ $pid, $in ];
	}
	return map {
		my ($pid, $in) = @$_;
		local $/;
		my $text = <$in>;

		waitpid $pid, 0;
		$text;
	} @pipes;
}

my $ann_id = $rest->add_user('ann@example.com', 'customer');
my $ben_id = $rest->add_user('ben@example.com', 'customer');
$rest->add_user('tess@example.com', 'teller');
$rest->add_user('aude@example.com', 'auditor');

# The classic test.
my $answer = post('auth/login', { email => 'ann@example.com', password => 'correct horse' });
is($answer->{status}, 200, 'a customer logs in');
my $ann = $answer->{json}{access_token};
like($ann, qr/^[\w-]+\.[\w-]+\.[\w-]+$/, 'and gets a token');
is($answer->{headers}{'cache-control'}, 'no-store', 'that nobody stores');

$answer = post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $ann);
is($answer->{status}, 201, 'the customer opens an account');
like($answer->{json}{account_id}, qr/^$uuid$/, 'it has an identifier');
is($answer->{json}{balance}, '0.00', 'and no money');
is($answer->{json}{owner_id}, $ann_id, 'and its owner is the customer');
my $account = $answer->{json}{account_id};
is($answer->{headers}{location}, "/api/v1/accounts/$account", 'Location says where it is');
is_deeply(get("accounts/$account", token => $ann)->{json},
	{ %{ $answer->{json} }, overdraft_limit => '0.00', balance_limit => undef }, 'and there it is');

# The token is what it should be.
my ($header, $claims) = Rest::token_parts($ann);
is($header->{alg}, 'HS256', 'HS256');
is($header->{kid}, sql("SELECT kid FROM bank_rest.signing_keys"), 'the key is named');
is(join(' ', sort keys %$claims), 'aud exp iat jti nbf role sub', 'all claims are there');
is("$claims->{sub} $claims->{role} $claims->{aud}", "$ann_id bank_customer banking", 'and say who');
is($claims->{exp} - $claims->{iat}, 900, 'for 15 minutes');
my $ben = $rest->login('ben@example.com');
my $tess = $rest->login('tess@example.com');
my $aude = $rest->login('aude@example.com');
isnt((Rest::token_parts($ben))[1]{jti}, $claims->{jti}, 'each token has an identifier of its own');

# Money.
$answer = post('deposits', { account_id => $account, amount => '1000.00', currency => 'HTG', metadata => { note => 'first' } },
	token => $ann, headers => { traceparent => $trace });
is($answer->{status}, 201, 'a deposit');
is("$answer->{json}{event_type} $answer->{json}{amount} $answer->{json}{balance}",
	'money.deposited 1000.00 1000.00', 'its receipt');
is(sql("SELECT metadata ->> 'traceparent', metadata ->> 'note' FROM bank_events"
		  . " WHERE event_id = '$answer->{json}{transaction_id}'"),
	"$trace|first", 'traceparent and metadata are in the event');
my $other = post('accounts', { account_type => 'EPARGNE', currency => 'HTG' }, token => $ann)->{json}{account_id};
is(post('withdrawals', { account_id => $account, amount => '50.5' }, token => $ann)->{json}{balance},
	'949.50', 'a withdrawal, in the currency of the account');
is(post('transfers', { from_account => $account, to_account => $other, amount => '200 HTG' }, token => $ann)->{json}{balance},
	'749.50', 'a transfer, with the currency behind the amount');
my $hold = post('holds', { account_id => $account, amount => '100', currency => 'HTG', expires_in => 'PT30M' }, token => $ann);
is($hold->{status}, 201, 'a hold');
is(get("accounts/$account", token => $ann)->{json}{available}, '649.50', 'reserves money');
$answer = post('holds/capture', { hold_id => $hold->{json}{hold_id}, amount => '60', to_account => $other }, token => $ann);
is("$answer->{status} $answer->{json}{event_type} $answer->{json}{balance}", '200 hold.captured 689.50', 'a capture');
is($answer->{json}{hold_id}, $hold->{json}{hold_id}, 'of that hold');
$hold = post('holds', { account_id => $account, amount => '10' }, token => $ann)->{json}{hold_id};
is(post('holds/release', { hold_id => $hold }, token => $ann)->{json}{event_type}, 'hold.released', 'a release');

# Queries.
$answer = get('accounts', token => $ann);
is_deeply([ map { $_->{account_id} } @{ $answer->{json} } ], [ $account, $other ], 'the list of accounts');
is(scalar @{ get('accounts?page=2&page_size=1', token => $ann)->{json} }, 1, 'by pages');
$answer = get("accounts/$account/transactions?page=1&page_size=3", token => $ann);
is_deeply([ map { "$_->{event_type} $_->{amount} $_->{balance}" } @{ $answer->{json} } ],
	[ 'hold.captured -60.00 689.50', 'transfer.completed -200.00 749.50', 'money.withdrawn -50.50 949.50' ],
	'movements, newest first');
$answer = get("accounts/$account/transactions?page=2&page_size=3", token => $ann);
is_deeply([ map { "$_->{event_type} $_->{amount}" } @{ $answer->{json} } ], ['money.deposited 1000.00'], 'the next page');
is_deeply(get("accounts/$account/transactions?from_date=2001-01-01&to_date=2001-12-31", token => $ann)->{json}, [],
	'of other days');
$answer = get("accounts/$account/statement", token => $ann);
is_deeply([ map { $_->{entry} } @{ $answer->{json} } ],
	[ 'opening', ('movement') x 4, 'closing' ], 'the statement of this month');
is($answer->{json}[-1]{balance}, '689.50', 'ends with the balance');
is($rest->request('HEAD', "accounts/$account", token => $ann)->{status}, 200, 'HEAD');

# What is refused.
my $usd = post('accounts', { account_type => 'COURANT', currency => 'USD' }, token => $ann)->{json}{account_id};
my $frozen = post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $ann)->{json}{account_id};
sql("SELECT bank_freeze('$frozen')");
my @refused = (
	[ 'accounts', { account_type => 'GOLD', currency => 'HTG' }, '422 BK009' ],
	[ 'accounts', { account_type => 'COURANT', currency => 'XXX' }, '422 BK014' ],
	[ 'accounts', { account_type => 'COURANT' }, '422 BK025' ],
	[ 'accounts', { account_type => 'COURANT', currency => 'HTG', overdraft_limit => '9 HTG' }, '422 BK025' ],
	[ 'deposits', { account_id => $nowhere, amount => '1', currency => 'HTG' }, '404 BK001' ],
	[ 'deposits', { account_id => $nowhere, amount => '1' }, '404 BK001' ],
	[ 'deposits', { account_id => 'mine', amount => '1', currency => 'HTG' }, '422 BK025' ],
	[ 'deposits', { account_id => $frozen, amount => '1', currency => 'HTG' }, '409 BK002' ],
	[ 'deposits', { account_id => $account, amount => '1', currency => 'USD' }, '422 BK003' ],
	[ 'deposits', { account_id => $account, amount => '0', currency => 'HTG' }, '422 BK008' ],
	[ 'deposits', { account_id => $account, amount => '-1', currency => 'HTG' }, '422 BK008' ],
	[ 'deposits', { account_id => $account, amount => '0.001', currency => 'HTG' }, '422 BK008' ],
	[ 'deposits', { account_id => $account, amount => '1e3', currency => 'HTG' }, '422 BK008' ],
	[ 'deposits', { account_id => $account, amount => 'NaN', currency => 'HTG' }, '422 BK008' ],
	[ 'deposits', { account_id => $account, amount => 5, currency => 'HTG' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', currency => 7 }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', currency => 'htg' }, '422 BK014' ],
	[ 'deposits', { account_id => $account, currency => 'HTG' }, '422 BK025' ],
	[ 'deposits', { amount => '5', currency => 'HTG' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', house_account => 'fees' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', idempotency_key => 'x' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', command => 'withdraw' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', metadata => 'x' }, '422 BK025' ],
	[ 'deposits', { account_id => $account, amount => '5', expected_version => 77 }, '409 BK006' ],
	[ 'withdrawals', { account_id => $account, amount => '999999', currency => 'HTG' }, '422 BK004' ],
	[ 'transfers', { from_account => $account, to_account => $account, amount => '1' }, '422 BK015' ],
	[ 'transfers', { from_account => $account, to_account => $usd, amount => '1' }, '422 BK003' ],
	[ 'transfers', { from_account => $account, to_account => $nowhere, amount => '1' }, '404 BK001' ],
	[ 'holds', { account_id => $account, amount => '1', expires_in => 'PT0S' }, '422 BK013' ],
	[ 'holds/capture', { hold_id => $hold, to_account => $other }, '409 BK013' ],
	[ 'holds/capture', { hold_id => $nowhere, to_account => $other }, '404 BK013' ],
	[ 'holds/capture', { hold_id => $hold }, '403 BK035' ],
	[ 'holds/release', { hold_id => $nowhere }, '404 BK013' ],
	[ 'auth/login', { email => 'ann@example.com' }, '422 invalid_request' ],
	[ 'auth/login', { email => 1, password => [] }, '422 invalid_request' ],
	[ 'auth/login', [], '400 bad_request' ],
	[ 'deposits', [], '400 bad_request' ]);
my $events = sql('SELECT count(*) FROM bank_events');
foreach my $refusal (@refused)
{
	my ($path, $body, $expected) = @$refusal;

	is(outcome_of(post($path, $body, token => $ann)), $expected, "$path " . JSON::PP->new->canonical->encode($body));
}
$answer = post('withdrawals', { account_id => $account, amount => '1000.00', currency => 'HTG' }, token => $ann);
is_deeply($answer->{json}, { code => 'BK004', message => 'Insufficient balance', detail => 'Available: 689.50 HTG' },
	'a refusal says why');
foreach my $refusal (
	[ "accounts/$nowhere", '404 BK001' ],
	[ "accounts/$nowhere/transactions", '404 BK001' ],
	[ "accounts/$nowhere/statement", '404 BK001' ],
	[ "accounts/$account/transactions?page=0", '422 invalid_parameter' ],
	[ "accounts/$account/transactions?page=x", '422 invalid_parameter' ],
	[ "accounts/$account/transactions?page_size=1001", '422 invalid_parameter' ],
	[ "accounts/$account/transactions?from_date=2026-02-30", '422 invalid_parameter' ],
	[ "accounts/$account/statement?from_date=yesterday", '422 invalid_parameter' ],
	[ "accounts/$account/statement?from_date=2026-02-01&to_date=2026-01-01", '422 invalid_parameter' ],
	[ 'accounts?page=999999999999', '422 invalid_parameter' ],
	[ 'accounts?owner_id=x', '404 BK001' ],
	[ 'accounts/mine', '404 not_found' ],
	[ 'nothing', '404 not_found' ],
	[ 'deposits', '405 method_not_allowed' ])
{
	is(outcome_of($rest->get($refusal->[0], token => $ann)), $refusal->[1], $refusal->[0]);
}
foreach my $refusal (
	[ '{', {}, '400 bad_request' ],
	[ '', {}, '400 bad_request' ],
	[ "\xff\xfe", {}, '400 bad_request' ],
	[ '{"amount":"\u0000"}', {}, '400 bad_request' ],
	[ '[' x 8000, {}, '400 bad_request' ],
	[ '"' . 'x' x 9000 . '"', {}, '413 payload_too_large' ],
	[ '{}', { 'Content-Type' => 'text/plain' }, '415 unsupported_media_type' ],
	[ 'a=1', { 'Content-Type' => 'application/x-www-form-urlencoded' }, '415 unsupported_media_type' ])
{
	my ($body, $headers, $expected) = @$refusal;

	is(outcome_of($rest->request('POST', 'deposits', content => $body, headers => $headers, token => $ann)),
		$expected, 'a body of ' . length($body) . " bytes: $expected");
}
is($rest->request('DELETE', 'accounts', token => $ann)->{headers}{allow}, 'GET, HEAD, POST', 'Allow says what is');
is(sql('SELECT count(*) FROM bank_events'), $events, 'no refusal has left anything');

# Who may do what.
is(outcome_of(get("accounts/$account", token => $ben)), '404 BK001', 'another customer does not see an account');
is(outcome_of(get("accounts/$account/$_", token => $ben)), '404 BK001', "nor its $_") foreach qw(transactions statement);
is_deeply(get('accounts', token => $ben)->{json}, [], 'nor has any');
is_deeply(get("accounts?owner_id=$ann_id", token => $ben)->{json} // [], [], 'nor sees those of another owner');
foreach my $request (
	[ 'deposits', { account_id => $account, amount => '1' } ],
	[ 'withdrawals', { account_id => $account, amount => '1', currency => 'HTG' } ],
	[ 'holds', { account_id => $account, amount => '1', currency => 'HTG' } ],
	[ 'transfers', { from_account => $account, to_account => $other, amount => '1', currency => 'HTG' } ])
{
	is(outcome_of(post(@$request, token => $ben)), '404 BK001', "nor moves its money: $request->[0]");
}
$hold = post('holds', { account_id => $account, amount => '5' }, token => $ann)->{json}{hold_id};
is(outcome_of(post('holds/capture', { hold_id => $hold, to_account => $account }, token => $ben)), '404 BK013',
	'nor captures its holds');
is(outcome_of(post('holds/release', { hold_id => $hold }, token => $ben)), '404 BK013', 'nor releases them');
my $bens_account = post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $ben)->{json};
my $bens = $bens_account->{account_id};
is(post('transfers', { from_account => $account, to_account => $bens, amount => '10' }, token => $ann)->{status},
	201, 'a customer pays into an account of somebody else');
is(post('transfers', { from_account => $account, to_account_number => $bens_account->{account_number}, amount => '10' }, token => $ann)
	  ->{json}{balance},
	'669.50', 'or by its number');
is(outcome_of(post('transfers', { from_account => $account, amount => '10', currency => 'HTG' }, token => $ann)), '422 BK025', 'but has to name one');
$node->safe_psql('bank', "SELECT bank_freeze('$bens')");
is(outcome_of(post('transfers', { from_account => $account, to_account => $bens, amount => '10' }, token => $ann)), '404 BK001',
	'is not told that somebody else\'s account is frozen');
$node->safe_psql('bank', "SELECT bank_unfreeze('$bens')");
is(outcome_of(post('accounts', { account_type => 'COURANT', currency => 'HTG', owner_id => $ben_id }, token => $ann)),
	'403 BK035', 'but opens none for somebody else');
is(get("accounts/$account", token => $tess)->{json}{balance}, '669.50', 'a teller sees any account');
is(post('deposits', { account_id => $account, amount => '30.50' }, token => $tess)->{json}{balance}, '700.00', 'and moves money');
is(post('accounts', { account_type => 'COURANT', currency => 'HTG', owner_id => $ben_id }, token => $tess)->{json}{owner_id},
	$ben_id, 'and opens accounts for others');
is(outcome_of(post('accounts', { account_type => 'COURANT', currency => 'HTG' }, token => $tess)), '422 BK025', 'saying for whom');
is(scalar @{ get("accounts?owner_id=$ann_id", token => $tess)->{json} }, 4, 'and sees those of an owner');
is(scalar @{ get('accounts', token => $tess)->{json} }, 6, 'and all customers\' accounts');
is(get("accounts/$account", token => $aude)->{json}{balance}, '700.00', 'an auditor sees any account');
is(scalar @{ get("accounts/$account/statement", token => $aude)->{json} }, 9, 'and statements');
is(outcome_of(post('deposits', { account_id => $account, amount => '1', currency => 'HTG' }, token => $aude)),
	'403 forbidden', 'and moves nothing');
is(outcome_of(post('deposits', { account_id => $account, amount => '1', currency => 'HTG' })), '401 invalid_token',
	'nor does anybody without a token');
is(get('accounts')->{headers}{'www-authenticate'}, 'Bearer', 'who is asked for one');

# The actor is in the event.
is(sql("SELECT actor ->> 'subject' FROM bank_events WHERE aggregate_id = '$account' ORDER BY position DESC LIMIT 1"),
	(Rest::token_parts($tess))[1]{sub}, 'the event says which teller did it');
is(sql("SELECT string_agg(DISTINCT actor ->> 'subject', ' ') FROM bank_events WHERE aggregate_id = '$bens'"),
	$ben_id, 'or which customer');

# Cash is a teller's, lent to customers for their own accounts; and taken back.
sql('UPDATE bank_rest.settings SET customers_move_cash = false');
is(outcome_of(post($_, { account_id => $account, amount => '1', currency => 'HTG' }, token => $ann)), '403 forbidden',
	"without cash machines: $_") foreach qw(deposits withdrawals);
is(post('transfers', { from_account => $account, to_account => $other, amount => '1' }, token => $ann)->{status}, 201,
	'transfers go on');
is(post('transfers', { from_account => $other, to_account => $account, amount => '1' }, token => $ann)->{status}, 201, 'both ways');
is(post('deposits', { account_id => $account, amount => '1' }, token => $tess)->{status}, 201, 'and tellers');
is(post('withdrawals', { account_id => $account, amount => '1' }, token => $tess)->{status}, 201, 'all the same');
sql('UPDATE bank_rest.settings SET customers_move_cash = true');

# Above a threshold somebody else has to approve what a teller asks for, also cash that a customer moves.
sql("SELECT bank_set_approval_threshold('5000 HTG')");
my %large = (token => $tess, headers => { 'Idempotency-Key' => 'large' });
my $waiting = post('deposits', { account_id => $account, amount => '5000.01', currency => 'HTG' }, %large);
is("$waiting->{status} $waiting->{json}{event_type}", '202 approval.requested', 'a large deposit waits for approval');
is(post('deposits', { account_id => $account, amount => '5000.01', currency => 'HTG' }, %large)->{content}, $waiting->{content},
	'a retry gets the same answer');
is(get("accounts/$account", token => $ann)->{json}{balance}, '700.00', 'nothing has moved');
is(sql("SELECT requested_by FROM bank_pending_approvals"), (Rest::token_parts($tess))[1]{sub}, 'it is known who has asked');
is(sql("SELECT event_type FROM bank_approve('$waiting->{json}{request_id}')"), 'money.deposited', 'somebody else approves it');
is(get("accounts/$account", token => $ann)->{json}{balance}, '5700.01', 'and it has');
is(post('withdrawals', { account_id => $account, amount => '5000.01', currency => 'HTG' }, token => $ann)->{status}, 202,
	'so does cash that a customer wants');
is(sql('SELECT event_type FROM bank_approve((SELECT request_id FROM bank_pending_approvals))'), 'money.withdrawn', 'until it is approved');
sql("SELECT bank_remove_approval_threshold('HTG')");

# Whoever comes by SQL in the role of customers has not what the API's sessions have.
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; GRANT bank_customer TO mallory');
foreach my $attempt (
	[ "SELECT bank_rest.execute('{\"command\":\"deposit\"}')", '42501' ],
	[ "SELECT bank_rest.execute_own(jsonb_build_object('command', 'deposit', 'account_id', '$account', 'amount', '9 HTG'))", '42501' ],
	[ "SELECT bank_rest.execute_cash(jsonb_build_object('command', 'deposit', 'account_id', '$account', 'amount', '9 HTG'))", 'BK001' ],
	[ "SELECT bank_rest.execute_cash(jsonb_build_object('command', 'deposit', 'account_id', 'x', 'amount', '9 HTG'))", '42501' ],
	[ 'SET ROLE bank_cash', '42501' ],
	[ 'SELECT * FROM bank_rest.users', '42501' ],
	[ 'SELECT bank_rest.jwks()', '42501' ],
	[ "SELECT bank_rest.issue_token('$ann_id', 'teller')", '42501' ])
{
	my ($sql, $expected) = @$attempt;
	my (undef, undef, $error) = $node->psql('bank',
		"SET request.jwt.claims = '{\"sub\":\"$ann_id\",\"role\":\"bank_customer\"}'; SET ROLE bank_customer; \\set VERBOSITY verbose\n$sql",
		extra_params => [ '-U', 'mallory' ]);

	like($error, qr/\b$expected\b/, "by SQL: $expected: " . substr($sql, 0, 60));
}

# Idempotency keys.
my %request = (token => $ann, headers => { 'Idempotency-Key' => 'once' });
my $first = post('deposits', { account_id => $account, amount => '100', currency => 'HTG' }, %request);
my $again = post('deposits', { account_id => $account, amount => '100', currency => 'HTG' }, %request);
is("$again->{status} $again->{content}", "$first->{status} $first->{content}", 'a retry gets the same answer');
is($first->{headers}{'idempotency-replayed'}, undef, 'the first is not a replay');
is($again->{headers}{'idempotency-replayed'}, 'true', 'the second is');
is(get("accounts/$account", token => $ann)->{json}{balance}, '800.00', 'money moved once');
is(outcome_of(post('deposits', { account_id => $account, amount => '101', currency => 'HTG' }, %request)),
	'409 BK007', 'another request under the key');
is(post('deposits', { account_id => $bens, amount => '7' }, token => $ben, headers => $request{headers})->{status},
	201, 'the keys of two users do not meet');
$request{headers}{'Idempotency-Key'} = 'refused';
$first = post('withdrawals', { account_id => $account, amount => '900' }, %request);
post('deposits', { account_id => $account, amount => '200' }, token => $ann);
$again = post('withdrawals', { account_id => $account, amount => '900' }, %request);
is("$again->{status} $again->{content}", "$first->{status} $first->{content}", 'a refusal is an outcome too');
is($first->{json}{code}, 'BK004', 'even when there is money by now');
$request{headers}{'Idempotency-Key'} = 'k' x 300;
$first = post('accounts', { account_type => 'COURANT', currency => 'HTG' }, %request);
$again = post('accounts', { account_type => 'COURANT', currency => 'HTG' }, %request);
is($again->{content}, $first->{content}, 'an account is opened once, under a long key');
$request{headers}{'Idempotency-Key'} = 'parallel';
my @answers = at_once(map {
	sub {
		my $answer = $rest->post('deposits', { account_id => $account, amount => '1', currency => 'HTG' }, %request);
		return "$answer->{status} $answer->{content}";
	}
} 1 .. 8);
is(scalar(grep { $_ eq $answers[0] } @answers), 8, 'eight at a time get the same answer');
like($answers[0], qr/^201 /, 'an accepted one');
is(get("accounts/$account", token => $ann)->{json}{balance}, '1001.00', 'and have one effect');

# Two customers and a teller at the same time, with the same keys: everything that the routes do, again and again.
# Each says what it has on its two accounts in the end, or what was not as it should be.
my $journey = sub {
	my ($token, $owner, @strangers) = @_;
	my @wrong;
	my $check = sub { push @wrong, "$_[2]: $_[0], not $_[1]" if $_[0] ne $_[1] };
	my ($one, $two) = map {
		$rest->post('accounts', { account_type => 'COURANT', currency => 'HTG', owner_id => $owner },
			token => $token, headers => { 'Idempotency-Key' => "open $_" })->{json}{account_id}
	} 1 .. 2;

	foreach my $n (1 .. 12)
	{
		my %keyed = (token => $token, headers => { 'Idempotency-Key' => "deposit $n" });
		my @receipts = map { $rest->post('deposits', { account_id => $one, amount => '10', currency => 'HTG' }, %keyed) } 1 .. 2;

		$check->($receipts[1]{content}, $receipts[0]{content}, 'retry');
		$check->($rest->post('transfers', { from_account => $one, to_account => $two, amount => '4' }, token => $token)->{status}, 201, 'transfer');
		$check->($rest->post('withdrawals', { account_id => $two, amount => '1' }, token => $token)->{status}, 201, 'withdrawal');
		my $hold = $rest->post('holds', { account_id => $one, amount => '2' }, token => $token)->{json}{hold_id};
		$check->($rest->post('holds/' . ($n % 2 ? 'capture' : 'release'), { hold_id => $hold, $n % 2 ? (to_account => $two) : () },
				token => $token)->{status}, 200, 'hold');
		$check->(outcome_of($rest->post('withdrawals', { account_id => $one, amount => '99999' }, token => $token)), '422 BK004', 'refusal');
		foreach my $stranger (@strangers)
		{
			$check->(outcome_of($rest->get("accounts/$stranger", token => $token)), '404 BK001', 'an account of somebody else');
			$check->(outcome_of($rest->post('transfers', { from_account => $stranger, to_account => $one, amount => '1' }, token => $token)),
				'404 BK001', 'money of somebody else');
		}
		my $seen = $rest->get('accounts?page_size=1000' . (@strangers ? '' : "&owner_id=$owner"), token => $token)->{json};

		$check->(scalar(grep { $_->{owner_id} ne $owner } @$seen), 0, 'accounts of others in the list');
	}
	my $statement = $rest->get("accounts/$one/statement", token => $token)->{json};

	$check->(scalar @$statement, 2 + 12 + 12 + 6, 'lines of the statement');
	return join(', ', @wrong) || join(' ', map { $rest->get("accounts/$_", token => $token)->{json}{balance} } $one, $two);
};
is_deeply(
	[
		at_once(
			sub { $journey->($ann, $ann_id, $bens) },
			sub { $journey->($ben, $ben_id, $account) },
			sub { $journey->($tess, $nowhere) })
	],
	[ ('60.00 48.00') x 3 ],
	'two customers and a teller, in parallel, do not disturb each other');

# Locks that somebody else holds.
$node->safe_psql('postgres', "ALTER ROLE bank_authenticator SET lock_timeout = '300ms'");
$rest->stop_child('postgrest');
$rest->start_postgrest;
$rest->wait_for(sub { $rest->get('accounts', token => $ann)->{status} == 200 }, 'PostgREST is back');
my $holder = $node->background_psql('bank');
$holder->query_safe("BEGIN; SELECT bank_deposit('$account', '1 HTG')");
$answer = post('deposits', { account_id => $account, amount => '1' }, token => $ann);
is(outcome_of($answer), '503 unavailable', 'an account that is locked for long');
is($answer->{headers}{'retry-after'}, 1, 'Retry-After');
is(get("accounts/$account", token => $ann)->{status}, 200, 'is read all the same');
$holder->query_safe('ROLLBACK');
$holder->quit;

# A backend that dies, PostgREST that is not there, a server that is not there.
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bank_authenticator'");
$rest->wait_for(
	sub {
		my $answer = $rest->get('accounts', token => $ann);
		is(outcome_of($answer), '503 unavailable', 'while connections are lost') if $answer->{status} != 200;
		return $answer->{status} == 200;
	},
	'new connections are there');
$rest->stop_child('postgrest', 'KILL');
$answer = post('deposits', { account_id => $account, amount => '1' }, token => $ann);
is(outcome_of($answer) . " $answer->{headers}{'retry-after'}", '503 unavailable 1', 'without PostgREST');
$rest->start_postgrest;
$rest->wait_for(sub { $rest->get('accounts', token => $ann)->{status} == 200 }, 'PostgREST is back');
$node->stop('immediate');
$answer = get('accounts', token => $ann);
is(outcome_of($answer) . " $answer->{headers}{'retry-after'}", '503 unavailable 1', 'without the server');
$node->start;
$rest->wait_for(sub { $rest->get('accounts', token => $ann)->{status} == 200 }, 'it is back');
pass('and comes back by itself');

# The inside is closed.
foreach my $role (qw(bank_authenticator bank_anonymous bank_customer bank_teller bank_auditor))
{
	foreach my $table (qw(settings roles users login_failures signing_keys))
	{
		is(sql("SELECT has_table_privilege('$role', 'bank_rest.$table', 'SELECT,INSERT,UPDATE,DELETE')"), 'f',
			"$role has no right on bank_rest.$table");
	}
	is(sql("SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'bank_rest'::regnamespace"
			  . " AND has_function_privilege('$role', oid, 'EXECUTE') AND proname IN ('jwks', 'add_user', 'set_password',"
			  . " 'set_active', 'unlock', 'issue_token', 'prepare_key', 'activate_key', 'retire_key', 'set_up', 'new_key')"),
		'', "$role may call nothing that is the DBA's");
}

is_deeply(\@undocumented, [], 'every answer is as rest/openapi.json says');
ledger_ok($node, 'bank', 'after all of this');
$rest->stop;
$node->stop;
done_testing();
