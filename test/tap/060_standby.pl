# A streaming standby: it answers every query, with one consistent ledger at any moment; it refuses
# commands with the server's own error; promoted, it is a ledger like any other.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = ledger_node('primary', streaming => 1);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
$standby->start;

create_ledger($primary, 'ledger');
varied_history($primary, 'ledger');
$primary->safe_psql('ledger',
	"SELECT bank_freeze('00000000-0000-7000-8000-000000000005', idempotency_key => 'frozen')");
$primary->wait_for_catchup($standby);

# Every query, on both.
my @queries = (
	"SELECT * FROM bank_account('00000000-0000-7000-8000-000000000001')",
	"SELECT * FROM bank_accounts_of('00000000-0000-4000-8000-000000000001')",
	"SELECT bank_account_exists('00000000-0000-7000-8000-000000000001')",
	"SELECT * FROM bank_balance('00000000-0000-7000-8000-000000000001')",
	"SELECT * FROM bank_balance_at('00000000-0000-7000-8000-000000000001', '2023-06-01')",
	"SELECT * FROM bank_balance_at('00000000-0000-7000-8000-000000000001', '2024-06-01', true)",
	"SELECT * FROM bank_transactions('00000000-0000-7000-8000-000000000001')",
	"SELECT * FROM bank_transactions('00000000-0000-7000-8000-000000000001', '2024-01-01', '2024-12-31',
	  page_size => 2)",
	"SELECT t.* FROM bank_accounts AS a, bank_transactions(a.account_id) AS t
	  WHERE a.house_account = 'cash' AND a.currency = 'HTG'",
	"SELECT * FROM bank_statement('00000000-0000-7000-8000-000000000001', '2023-01-01', '2099-01-01')",
	"SELECT * FROM bank_account_events('00000000-0000-7000-8000-000000000002')",
	'SELECT * FROM bank_accounts ORDER BY account_id',
	'SELECT * FROM bank_events ORDER BY position',
	'SELECT * FROM bank_trial_balance ORDER BY currency',
	'SELECT * FROM bank_progress',
	'SELECT * FROM bank_verify()',
	"SELECT bank_money(12.5, 'HTG') + '1 HTG', bank_money_allocate('10 JPY', ARRAY[1, 2])",
	"SELECT bank_account_number_valid(account_number) FROM bank_accounts WHERE version = 1");

foreach my $query (@queries)
{
	my $expected = $primary->safe_psql('ledger', $query);
	my ($status, $stdout, $stderr) = $standby->psql('ledger', $query);

	is("$status $stdout $stderr", "0 $expected ", "on the standby: " . one_line($query));
}
is(fingerprint($standby, 'ledger', 1), fingerprint($primary, 'ledger', 1), 'the standby is equal');
ledger_ok($standby, 'ledger', 'standby');

# Every command, with and without a key that is known.
foreach my $command (
	"bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG')",
	"bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG',
	  account_id => '00000000-0000-7000-8000-000000000001', idempotency_key => 'varied 1')",
	"bank_create_house_account('other', 'HTG')",
	"bank_deposit('00000000-0000-7000-8000-000000000001', '1 HTG')",
	"bank_deposit('00000000-0000-7000-8000-000000000001', '1000.00 HTG', idempotency_key => 'varied 3')",
	"bank_deposit(NULL, NULL)",
	"bank_withdraw('00000000-0000-7000-8000-000000000001', '1 HTG')",
	"bank_transfer('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000006', '1 HTG')",
	"bank_freeze('00000000-0000-7000-8000-000000000001')",
	"bank_unfreeze('00000000-0000-7000-8000-000000000002')",
	"bank_close('00000000-0000-7000-8000-000000000009')",
	"bank_set_limits('00000000-0000-7000-8000-000000000001')",
	'bank_rebuild()')
{
	is(outcome($standby, 'ledger', "SELECT $command"),
		'25006', "refused on the standby: " . one_line($command));
	is(outcome($primary, 'ledger', "BEGIN READ ONLY; SELECT $command"),
		'25006', "refused in a read-only transaction: " . one_line($command));
}
is(fingerprint($standby, 'ledger', 1), fingerprint($primary, 'ledger', 1), 'nothing has changed anywhere');

# Under load every moment that the standby shows is a whole one.
open_accounts($primary, 'ledger', 101, 120, '1000.00 HTG');
my $end = start_pgbench(
	$primary, 'ledger',
	clients => 6,
	scripts => [<<'SQL']);
\set a random(101, 120)
\set b 101 + (:a - 101 + random(1, 19)) % 20
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a',
  '00000000-0000-7000-8000-000000000:b', '0.01 HTG');
SELECT bank_deposit('00000000-0000-7000-8000-000000000:a', '0.01 HTG',
  occurred_at => now() - interval '1 day', idempotency_key => pg_catalog.gen_random_uuid()::text);
SELECT count(*) / (count(*) FILTER (WHERE ok) = 40)::integer
FROM (SELECT array_agg(a), array_agg(b), array_agg('0.01 HTG'::bank_money), array_agg(pg_catalog.gen_random_uuid()::text)
      FROM (SELECT ('00000000-0000-7000-8000-000000000' || 101 + n % 20)::uuid, ('00000000-0000-7000-8000-000000000' || 101 + (n + 1 + n % 7) % 20)::uuid
            FROM generate_series(:a::integer, :a::integer + 39) AS n) AS o (a, b)) AS o (a, b, amounts, keys),
  bank_post_transfers(a, b, amounts, keys);
SQL
my $before = $standby->safe_psql('ledger', 'SELECT count(*) FROM bank_events');
foreach my $time (1 .. 3)
{
	$standby->poll_query_until('ledger', "SELECT count(*) > $before + 300 * $time FROM bank_events")
	  or die 'the standby does not follow';
	ledger_ok($standby, 'ledger', "standby under load, $time");
}
$end->();
$primary->wait_for_catchup($standby);
is( fingerprint($standby, 'ledger', 1),
	fingerprint($primary, 'ledger', 1),
	'after the load the standby is equal');

# Promotion, while a session on the standby has used the library already.
my $last = $primary->safe_psql('ledger', 'SELECT max(position) FROM bank_events');
my $session = $standby->background_psql('ledger');
$session->query_safe("SELECT * FROM bank_balance('00000000-0000-7000-8000-000000000001')");
$primary->stop;
$standby->promote;
like(
	$session->query_safe(
		"SELECT position > $last, version, balance
		  FROM bank_deposit('00000000-0000-7000-8000-000000000006', '3 HTG')"
	),
	qr/^t\|6\|3\.00$/,
	'after the promotion the session of before deposits');
$session->quit;
is_deeply(
	[
		query_rows(
			$standby, 'ledger', qq{
SELECT version, replayed FROM bank_deposit('00000000-0000-7000-8000-000000000001', '1000.00 HTG',
  idempotency_key => 'varied 3');
SELECT version, bank_account_number_valid(account_number)
  FROM bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG');
SELECT event_type, version FROM bank_unfreeze('00000000-0000-7000-8000-000000000005', expected_version => 4)})
	],
	[ [ 2, 't' ], [ 1, 't' ], [ 'account.unfrozen', 5 ] ],
	'all commands work');
my %load = pgbench($standby, 'ledger', transactions => 20, scripts => [<<'SQL']);
\set a random(101, 120)
\set b 101 + (:a - 101 + random(1, 19)) % 20
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a',
  '00000000-0000-7000-8000-000000000:b', '0.01 HTG');
SQL
is("$load{status} $load{stderr}", '0 ', 'and many clients');
ledger_ok($standby, 'ledger', 'promoted');

$standby->stop;
done_testing();
