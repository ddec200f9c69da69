# Overlapping batches and single calls from many clients: no deadlock, no error, each key one effect, in
# all three isolation levels; and after a crash every batch is there whole or not at all.
#
# Each load lasts BANKING_TEST_SECONDS (default 8); for the long run:
#   BANKING_TEST_SECONDS=60 prove ... test/tap/120_batch_concurrency.pl

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{BANKING_TEST_SECONDS} // 8;
my $node = ledger_node('batch_concurrency',
	conf => "deadlock_timeout = 20ms\nrestart_after_crash = on\nsynchronous_commit = on\n");

# Batches to post. Nobody runs out of money: every order without a key is accepted, so a batch has as
# many events as orders, and its tag and size are in the metadata of each.
my $functions = <<'SQL';
CREATE FUNCTION house(code text) RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT account_id FROM bank_accounts AS h WHERE (h.house_account, h.currency) = ($1, 'HTG') $$;

-- number 1 to 17 as a customer's account, 18 to 20 as a house account
CREATE FUNCTION party(n integer) RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT CASE n WHEN 18 THEN house('cash') WHEN 19 THEN house('fees') WHEN 20 THEN house('vault') ELSE account(n) END $$;

CREATE FUNCTION post_tagged(size integer, keyed boolean, linked boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  tag text := gen_random_uuid();
  failed bigint;
BEGIN
  WITH o AS MATERIALIZED (
    SELECT n, f, 1 + (f - 1 + 1 + floor(random() * 19)::integer) % 20 AS t, 1 + floor(random() * 500) AS amount
    FROM (SELECT n, 1 + floor(random() * 20)::integer AS f FROM generate_series(1, size) AS n) AS s
  ), b AS MATERIALIZED (
    SELECT array_agg(party(f) ORDER BY n) AS f, array_agg(party(t) ORDER BY n) AS t,
           array_agg(bank_money(amount::numeric / 100, 'HTG') ORDER BY n) AS amounts,
           array_agg(format('%s %s', tag, n) ORDER BY n) AS keys,
           array_agg(n % 3 <> 0 AND n < size ORDER BY n) AS links,
           array_agg(jsonb_build_object('batch', tag, 'size', size) ORDER BY n) AS metadata
    FROM o)
  SELECT count(*) FILTER (WHERE NOT r.ok OR r.replayed) INTO failed
  FROM b, bank_post_transfers(b.f, b.t, b.amounts, idempotency_keys => CASE WHEN keyed THEN b.keys END,
                              linked => CASE WHEN post_tagged.linked THEN b.links END, metadata => b.metadata) AS r;
  RETURN failed / (failed = 0)::integer;		-- all were accepted, or an error
END
$$;

-- The request that key n stands for: always the same, two in 20 between house accounts, which lock nothing.
CREATE FUNCTION request(n integer, OUT f uuid, OUT t uuid, OUT amount bank_money) LANGUAGE sql STABLE AS
  $$ SELECT party(1 + n % 20), party(1 + (n + 1 + n % 7) % 20), bank_money(n, 'HTG') $$;

-- A batch of size requests from last keys, in any order, some twice; one in twenty asks for something
-- else under its key. Raises when any is refused for another reason than that.
CREATE FUNCTION post_known(size integer, last integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  WITH k AS MATERIALIZED (
    SELECT i, 1 + floor(random() * last)::integer AS key, random() < 0.05 AS other FROM generate_series(1, size) AS i
  ), b AS MATERIALIZED (
    SELECT array_agg(r.f ORDER BY i) AS f, array_agg(r.t ORDER BY i) AS t,
           array_agg(CASE WHEN other THEN '0.01 HTG' ELSE r.amount END ORDER BY i) AS amounts,
           array_agg('known ' || key ORDER BY i) AS keys
    FROM k, LATERAL request(key) AS r)
  SELECT count(*) FILTER (WHERE NOT r.ok AND r.code <> 'BK007') INTO wrong
  FROM b, bank_post_transfers(b.f, b.t, b.amounts, idempotency_keys => b.keys) AS r;
  RETURN wrong / (wrong = 0)::integer;
END
$$;
SQL

# One event for every key and the right one; every batch whole.
my $whole = <<'SQL';
SELECT 'batch in parts', metadata ->> 'batch', count(*)
FROM bank.events WHERE metadata ? 'batch' GROUP BY metadata ->> 'batch', metadata -> 'size'
HAVING count(*) <> (metadata -> 'size')::integer
UNION ALL
SELECT 'wrong effect', k.idempotency_key, e.amount
FROM bank.idempotency_keys AS k LEFT JOIN bank.events AS e USING (aggregate_id, version)
WHERE k.idempotency_key LIKE 'known %' AND e.amount IS DISTINCT FROM 100 * split_part(k.idempotency_key, ' ', 2)::bigint
  AND e.amount IS DISTINCT FROM 1
SQL

sub make_database
{
	my ($database) = @_;

	create_ledger($node, $database);
	add_functions($node, $database);
	$node->safe_psql($database, $functions);
	$node->safe_psql($database, "SELECT bank_create_house_account('vault', 'HTG')");
	open_accounts($node, $database, 1, 17, '1000000000.00 HTG');
	$node->safe_psql($database,
		"SELECT bank_deposit(account(1), '1 HTG', house_account => 'fees')");
	return;
}

sub deadlocks
{
	my ($database) = @_;
	return $node->safe_psql('postgres',
		"SELECT deadlocks FROM pg_stat_database WHERE datname = '$database'");
}

my @scripts = (
	# now and then a client changes the writer
	"\\set size random(1, 60)\nSELECT set_config('banking.writer', CASE WHEN random() < 0.3 THEN 'executor' ELSE 'direct' END, false);\n"
	  . "SELECT post_tagged(:size, false, false);\n",
	"\\set size random(1, 60)\nSELECT post_tagged(:size, true, true);\n",
	"\\set size random(1, 30)\nSELECT post_known(:size, 5000);\n",
	"\\set size random(1, 10)\nSELECT post_known(:size, 100);\n",
	<<'SQL',
\set a random(1, 17)
\set b 1 + (:a - 1 + random(1, 16)) % 17
SELECT bank_transfer(account(:a), account(:b), '0.01 HTG');
SELECT bank_deposit(account(:b), '0.02 HTG');
SQL
	<<'SQL',
\set n random(1, 5000)
SELECT attempt('SELECT bank_transfer(r.f, r.t, r.amount, idempotency_key => ''known :n'') FROM request(:n) AS r');
SQL
	<<'SQL');
\set a random(1, 17)
\set b 1 + (:a - 1 + random(1, 16)) % 17
SELECT bank_execute_batch(ARRAY[
  jsonb_build_object('command', 'transfer', 'from_account', account(:a), 'to_account', account(:b), 'amount', '0.03 HTG'),
  jsonb_build_object('command', 'withdraw', 'account_id', account(:b), 'amount', '0.02 HTG'),
  jsonb_build_object('command', 'withdraw', 'account_id', account(:a), 'amount', '99999999999.00 HTG')]);
SQL

foreach my $isolation ('read committed', 'repeatable read', 'serializable')
{
	(my $database = $isolation) =~ s/ /_/;
	my $retry = $isolation ne 'read committed';

	make_database($database);
	my $from = -s $node->logfile;
	my %load = pgbench(
		$node, $database,
		clients => 20,
		seconds => $seconds,
		isolation => $isolation,
		tries => $retry ? 0 : 1,
		scripts => \@scripts);

	is("$load{status} $load{failed} $load{stderr}", '0 0 ', "$isolation: no client failed");
	cmp_ok($load{processed}, '>', 20, "$isolation: there was load");
	like(errors_logged($node, $from), $retry ? qr/^(40001)?$/ : qr/^$/,
		"$isolation: no error but what is to be retried");
	is(deadlocks($database), 0, "$isolation: no deadlock");
	is($node->safe_psql($database, $whole), '', "$isolation: every batch is whole, every key has its effect");
	cmp_ok(
		$node->safe_psql($database,
			"SELECT count(*) FROM bank.idempotency_keys WHERE idempotency_key LIKE 'known %'"),
		'>', 50, "$isolation: keys were used");
	ledger_ok($node, $database, $isolation);
	storage_ok($node, $database, $isolation);
}

# All clients have the same new keys, in any order, each on accounts of its own: who comes first has the key.
make_database('keys');
my $offset = -s $node->logfile;
my %load = pgbench(
	$node, 'keys',
	clients => 8,
	seconds => int(($seconds + 1) / 2),
	tries => 1,
	scripts => [<<'SQL']);
SELECT count(*) / (count(*) FILTER (WHERE r.ok OR r.code = 'BK007') = 20)::integer FROM (
    SELECT array_agg(account(1 + :client_id)) AS f, array_agg(account(9 + :client_id)) AS t,
           array_agg('0.01 HTG'::bank_money) AS amounts,
           array_agg(format('%s %s', floor(10 * extract(epoch FROM clock_timestamp())), i) ORDER BY random()) AS keys
    FROM generate_series(1, 20) AS i) AS b,
  bank_post_transfers(b.f, b.t, b.amounts, b.keys) AS r;
SQL
is("$load{status} $load{failed} $load{stderr}", '0 0 ', 'new keys of all: no client failed');
is(errors_logged($node, $offset), '', 'new keys of all: no error');
is(deadlocks('keys'), 0, 'new keys of all: no deadlock');
ledger_ok($node, 'keys', 'new keys of all');

# A call that fails while it waits for a key leaves its session as any failed statement does.
my $post = q{bank_post_transfers(ARRAY[account(3)], ARRAY[account(4)], ARRAY['1 HTG'::bank_money], ARRAY['held'])};
my ($first, $second) = map { $node->background_psql('keys', on_error_stop => 0) } 1 .. 2;
$first->query_safe(q{BEGIN; SELECT replayed FROM bank_transfer(account(1), account(2), '1 HTG', idempotency_key => 'held')});
$second->query(q{SET lock_timeout = '50ms'});
$second->query("SELECT ok FROM $post");
is(scalar($second->query('SELECT 1')), '1', 'a call that fails while it waits for a key: the session goes on');
$first->query_safe('COMMIT');
is(scalar($second->query("SELECT code FROM $post")),
	'BK007', 'a call that fails while it waits for a key: asked again, it is told who has it');
$_->quit foreach ($first, $second);

# Struck in the middle of batches.
make_database('crash');

sub victim
{
	my $pid = '';

	$pid = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE datname = 'crash' AND state = 'active' AND query LIKE '%post_tagged%' LIMIT 1")
	  until $pid;
	return $pid;
}

my @rounds = (
	[ 'immediate stop' => sub { $node->stop('immediate') } ],
	[ 'kill -9 of a server process' => sub { kill 9, victim() } ],
	[
		'immediate stop after a checkpoint' => sub {
			$node->safe_psql('postgres', 'CHECKPOINT');
			$node->stop('immediate');
		}
	]);
foreach my $round (@rounds)
{
	my ($name, $strike) = @$round;
	my $count = "SELECT count(DISTINCT metadata ->> 'batch') FROM bank.events";
	my $before = $node->safe_psql('crash', $count);
	my $output = '';
	my $load = IPC::Run::start(
		[
			Ledger::pgbench_command(
				$node, 'crash',
				clients => 6,
				seconds => 600,
				scripts => [
					"SELECT post_tagged(700, false, false);\n",
					"SELECT post_tagged(300, true, true);\n",
					"SELECT post_known(50, 1000);\n"
				])
		],
		'<', \undef, '>&', \$output);

	$node->poll_query_until('crash', "SELECT ($count) > $before + 10") or die 'the clients do nothing';
	$strike->();
	$load->finish;
	isnt($load->result(0), 0, "$name: it struck the clients at work");
	if ($name =~ /^kill/)
	{
		$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()')
		  or die 'the server does not come back';
	}
	else
	{
		$node->start;
	}
	cmp_ok($node->safe_psql('crash', $count), '>', $before + 10, "$name: batches are there");
	is($node->safe_psql('crash', $whole), '', "$name: every batch is whole, every key has its effect");
	ledger_ok($node, 'crash', $name);
	storage_ok($node, 'crash', $name);
	is($node->safe_psql('crash', 'SELECT post_tagged(100, true, true)'), 0, "$name: the next batch is posted");
}

$node->stop;
done_testing();
