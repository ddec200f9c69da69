# The GraphQL API from end to end: real PostGraphile with the preset of docker/. Opening accounts, moving money,
# lists and pages, typed errors, owners who do not see each other, tokens; and nothing else is in the schema.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Graphql;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $missing = Graphql::missing();
plan skip_all => $missing if $missing;

my $nowhere = '00000000-0000-4000-8000-00000000dead';
my $trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
my $node = ledger_node('graphql', conf => "banking.trusted_authenticators = 'bank_authenticator'\n");
my $graphql = Graphql->start($node, 'bank');

# A mutation: its name, what it selects, its input. Returns the payload, or "status code" of the error.
sub mutate
{
	my ($name, $selection, $input, %options) = @_;
	my $type = ucfirst($name) . 'Input';
	my $answer = $graphql->query("mutation (\$i: $type!) { $name(input: \$i) { $selection } }", variables => { i => $input }, %options);

	return $answer->{errors} ? code($answer) : $answer->{data}{$name};
}

# The code of the first error.
sub code
{
	my ($answer) = @_;
	return join(' ', $answer->{status}, $answer->{errors}[0]{extensions}{code} // $answer->{errors}[0]{message} // 'none');
}

my $ann_id = $graphql->add_user('ann@example.com', 'customer');
my $ben_id = $graphql->add_user('ben@example.com', 'customer');
$graphql->add_user('tess@example.com', 'teller');
my ($ann, $ben, $tess) = map { $graphql->login("$_\@example.com") } qw(ann ben tess);
like($ann, qr/^[\w-]+\.[\w-]+\.[\w-]+$/, 'a customer logs in');
is($graphql->login('ann@example.com', 'wrong horse'), undef, 'not with another password');

# What there is: the functions of bank_graphql, and of the two other schemas and extensions nothing.
my $schema = $graphql->query('{ __schema { queryType { fields { name } } mutationType { fields { name } }'
	  . ' types { name fields { name } } } }')->{data}{__schema};
is(join(' ', sort map { $_->{name} } @{ $schema->{queryType}{fields} }), 'account accounts query', 'queries');
is(join(' ', sort map { $_->{name} } @{ $schema->{mutationType}{fields} }),
	'capture createAccount deposit hold login release transfer withdraw', 'mutations');
my ($type) = grep { $_->{name} eq 'Account' } @{ $schema->{types} };
is(join(' ', sort map { $_->{name} } @{ $type->{fields} }),
	'accountId accountNumber accountType available balance balanceLimit createdAt currency held overdraftLimit ownerId'
	  . ' statement status transactions version',
	'an account');

# Accounts and money.
my $account = mutate('createAccount', 'account { accountId ownerId balance currency status }',
	{ accountType => 'COURANT', currency => 'HTG' }, token => $ann)->{account};
is_deeply($account, { accountId => $account->{accountId}, ownerId => $ann_id, balance => '0.00', currency => 'HTG', status => 'ACTIVE' },
	'an account is opened');
my $id = $account->{accountId};
my $other = mutate('createAccount', 'account { accountId }', { accountType => 'EPARGNE', currency => 'HTG' }, token => $ann)
  ->{account}{accountId};
my $receipt = mutate('deposit', 'receipt { eventId eventType amount balance currency version replayed }',
	{ accountId => $id, amount => '1000.00 HTG', metadata => { note => 'first' } },
	token => $ann, headers => { traceparent => $trace })->{receipt};
is_deeply($receipt,
	{
		eventId => $receipt->{eventId}, eventType => 'money.deposited', amount => '1000.00', balance => '1000.00',
		currency => 'HTG', version => '2', replayed => JSON::PP::false
	},
	'a deposit; figures are strings');
is($node->safe_psql('bank', "SELECT metadata ->> 'traceparent', metadata ->> 'note' FROM bank_events WHERE event_id = '$receipt->{eventId}'"),
	"$trace|first", 'traceparent and metadata are in the event');
is(mutate('withdraw', 'receipt { balance }', { accountId => $id, amount => '50.50 HTG' }, token => $ann)->{receipt}{balance},
	'949.50', 'a withdrawal');
is(mutate('transfer', 'receipt { balance }', { fromAccount => $id, toAccount => $other, amount => '200 HTG' }, token => $ann)
	  ->{receipt}{balance}, '749.50', 'a transfer');
my $hold = mutate('hold', 'receipt { eventId }', { accountId => $id, amount => '100 HTG', expiresIn => 'PT30M' }, token => $ann)
  ->{receipt}{eventId};
is($graphql->query("{ account(accountId: \"$id\") { held available } }", token => $ann)->{data}{account}{available}, '649.50', 'a hold');
is(mutate('capture', 'receipt { eventType balance }', { holdId => $hold, amount => '60 HTG', toAccount => $other }, token => $ann)
	  ->{receipt}{balance}, '689.50', 'a capture');
$hold = mutate('hold', 'receipt { eventId }', { accountId => $id, amount => '1 HTG' }, token => $ann)->{receipt}{eventId};
is(mutate('release', 'receipt { eventType }', { holdId => $hold }, token => $ann)->{receipt}{eventType}, 'hold.released', 'a release');

# Lists, pages, nesting.
my $pages = $graphql->query(<<"GRAPHQL", token => $ann)->{data};
{
  accounts { accountId balance }
  account(accountId: "$id") {
    first: transactions(page: 1, pageSize: 3) { eventType amount balance }
    second: transactions(page: 2, pageSize: 3) { eventType amount balance otherAccountId }
    none: transactions(fromDate: "2001-01-01", toDate: "2001-12-31") { amount }
    statement(fromDate: "2001-01-01", toDate: "2100-01-01") { entry balance }
  }
}
GRAPHQL
is_deeply([ map { "$_->{accountId} $_->{balance}" } @{ $pages->{accounts} } ], [ "$id 689.50", "$other 260.00" ], 'accounts');
is_deeply([ map { "$_->{eventType} $_->{amount} $_->{balance}" } @{ $pages->{account}{first} } ],
	[ 'hold.captured -60.00 689.50', 'transfer.completed -200.00 749.50', 'money.withdrawn -50.50 949.50' ], 'the first page');
is_deeply([ map { "$_->{eventType} $_->{amount} $_->{balance}" } @{ $pages->{account}{second} } ],
	['money.deposited 1000.00 1000.00'], 'the second page');
is_deeply($pages->{account}{none}, [], 'other days');
is_deeply([ map { $_->{entry} } @{ $pages->{account}{statement} } ], [ 'opening', ('movement') x 4, 'closing' ], 'a statement');

# Typed errors.
my $answer = $graphql->query("mutation { withdraw(input: { accountId: \"$id\", amount: \"5000 HTG\" }) { receipt { balance } } }",
	token => $ann);
is($answer->{errors}[0]{message}, 'Insufficient balance', 'a refusal says what');
is_deeply($answer->{errors}[0]{extensions}, { code => 'BK004', detail => 'Available: 689.50 HTG' }, 'has its code and says why');
is_deeply($answer->{errors}[0]{path}, ['withdraw'], 'and where');
foreach my $refusal (
	[ 'deposit', { accountId => $nowhere, amount => '1 HTG' }, '200 BK001' ],
	[ 'deposit', { accountId => $id, amount => '1 USD' }, '200 BK003' ],
	[ 'deposit', { accountId => $id, amount => '0 HTG' }, '200 BK008' ],
	[ 'deposit', { accountId => $id, amount => '0.001 HTG' }, '200 BK008' ],
	[ 'deposit', { accountId => $id, amount => 'much' }, '200 BK025' ],
	[ 'hold', { accountId => $id, amount => 'much' }, '200 invalid_parameter' ],
	[ 'hold', { accountId => $id }, '200 BK021' ],
	[ 'deposit', { accountId => $id, amount => '1 HTG', expectedVersion => '1' }, '200 BK006' ],
	[ 'transfer', { fromAccount => $id, toAccount => $id, amount => '1 HTG' }, '200 BK015' ],
	[ 'hold', { accountId => $id, amount => '1 HTG', expiresIn => 'soon' }, '200 invalid_parameter' ],
	[ 'release', { holdId => $hold }, '200 BK013' ])
{
	my ($name, $input, $expected) = @$refusal;

	is(mutate($name, 'receipt { balance }', $input, token => $ann), $expected, "$name: $expected");
}
is(mutate('createAccount', 'account { accountId }', { accountType => 'GOLD', currency => 'HTG' }, token => $ann),
	'200 BK009', 'createAccount');
like(code($graphql->query('{ nothing }', token => $ann)), qr/^400 Cannot query field/, 'no such field');
is($graphql->query("{ account(accountId: \"$id\") { balance } }", token => $ann)->{data}{account}{balance}, '689.50', 'nothing has moved');

# Idempotency keys, which do not meet those of other users.
my %keyed = (accountId => $id, amount => '10.50 HTG', idempotencyKey => 'once');
my @receipts = map { mutate('deposit', 'receipt { eventId balance replayed }', \%keyed, token => $ann)->{receipt} } 1 .. 2;
is($receipts[1]{eventId}, $receipts[0]{eventId}, 'the same event');
ok($receipts[1]{replayed} && !$receipts[0]{replayed}, 'the second is a replay');
is(mutate('deposit', 'receipt { balance }', { %keyed, amount => '11 HTG' }, token => $ann), '200 BK007', 'another request');

# Who may do what.
my $bens = mutate('createAccount', 'account { accountId }', { accountType => 'COURANT', currency => 'HTG' }, token => $ben)
  ->{account}{accountId};
is(mutate('deposit', 'receipt { replayed }', { %keyed, accountId => $bens }, token => $ben)->{receipt}{replayed}, JSON::PP::false,
	'keys of two users do not meet');
is(code($graphql->query("{ account(accountId: \"$id\") { balance } }", token => $ben)), '200 BK001', 'another customer does not see it');
is(mutate('withdraw', 'receipt { balance }', { accountId => $id, amount => '1 HTG' }, token => $ben), '200 BK001', 'nor moves its money');
is_deeply($graphql->query("{ accounts(ownerId: \"$ann_id\") { accountId } }", token => $ben)->{data}{accounts} // [], [],
	'nor lists those of another owner');
is(mutate('transfer', 'receipt { balance }', { fromAccount => $id, toAccount => $bens, amount => '100 HTG' }, token => $ann)->{receipt}{balance},
	'600.00', 'a customer pays into it');
is(mutate('deposit', 'receipt { balance }', { accountId => $id, amount => '100 HTG' }, token => $tess)->{receipt}{balance}, '700.00',
	'a teller moves money');
is($graphql->query("{ accounts(ownerId: \"$ben_id\") { balance } }", token => $tess)->{data}{accounts}[0]{balance}, '110.50',
	'and sees accounts of any owner');
is(code($graphql->query('{ accounts { accountId } }')), '200 forbidden', 'nobody sees anything without a token');
is(mutate('deposit', 'receipt { balance }', { accountId => $id, amount => '1 HTG' }), '200 forbidden', 'nor moves anything');
is($node->safe_psql('bank', "SELECT actor ->> 'subject' FROM bank_events WHERE aggregate_id = '$id' ORDER BY position DESC LIMIT 1"),
	(Rest::token_parts($tess))[1]{sub}, 'the event says who did it');

# Tokens are checked as for REST.
my ($header, $claims) = Rest::token_parts($ann);
foreach my $bad ('x', 'a.b.c', Rest::make_token($header, $claims, 'x' x 32), Rest::make_token({ %$header, alg => 'none' }, $claims, ''),
	substr($ann, 0, -3))
{
	is(code($graphql->query('{ accounts { accountId } }', token => $bad)), '401 invalid_token', 'a bad token');
}
is(code($graphql->query('{ accounts { accountId } }', headers => { Authorization => 'Basic eDp5' })), '401 invalid_token', 'another scheme');
$node->safe_psql('bank', "SELECT bank_rest.set_active('ben\@example.com', false)");
is(code($graphql->query('{ accounts { accountId } }', token => $ben)), '401 invalid_token', 'a user who was barred');

# The server goes away and comes back.
$node->stop('immediate');
like(code($graphql->query('{ accounts { accountId } }', token => $ann)), qr/^503 unavailable/, 'without the server');
$node->start;
$graphql->wait_for(sub { $graphql->query('{ accounts { accountId } }', token => $ann)->{status} == 200 }, 'it is back');
pass('and comes back by itself');

ledger_ok($node, 'bank', 'after all of this');
$graphql->stop;
$node->stop;
done_testing();
