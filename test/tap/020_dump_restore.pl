# pg_dump and pg_restore into a fresh cluster give back an equal ledger that goes on working: in every
# format, with the extension in any schema, while others write, and into a cluster whose transaction
# identifiers are lower than those of the cluster it comes from.

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use IPC::Run ();
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $source = ledger_node('source');
my $target = ledger_node('target');
my $directory = PostgreSQL::Test::Utils::tempdir;

# The source counts transactions far beyond what the target has seen.
$source->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
SQL

# A ledger in schema public, with movements of many sessions at once, so that the rows of its tables
# lie in another order than that of the events; and one in a schema of its own.
create_ledger($source, 'ledger');
varied_history($source, 'ledger');
open_accounts($source, 'ledger', 101, 130, '1000.00 HTG');
my %load = pgbench(
	$source, 'ledger',
	clients => 10,
	transactions => 60,
	scripts => [
		<<'SQL',
\set a random(101, 130)
\set b 101 + (:a - 101 + random(1, 29)) % 30
BEGIN;
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a',
  '00000000-0000-7000-8000-000000000:b', '0.01 HTG');
\set end random(1, 4)
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
		<<'SQL',
\set a random(101, 130)
SELECT bank_deposit('00000000-0000-7000-8000-000000000:a', '0.02 HTG',
  idempotency_key => 'load :client_id :a');
SQL
	]);
is("$load{status} $load{stderr}", '0 ', 'many sessions have written');
create_ledger($source, 'elsewhere', '"Our Bank"');
varied_history($source, 'elsewhere', '"Our Bank"');
ledger_ok($source, 'ledger', 'source');
ledger_ok($source, 'elsewhere', 'source in a schema of its own', '"Our Bank"');

# Run a program that must succeed.
sub run_ok
{
	my ($name, @command) = @_;
	my ($stdout, $stderr) = ('', '');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $done = IPC::Run::run(\@command, '<', \undef, '>', \$stdout, '2>', \$stderr);
	is(($done ? '' : 'failed: ') . $stderr, '', $name);
	return;
}

# Dump and restore by the commands given, "FROM" and "INTO" standing for the databases; then
# everything must be equal, and work.
sub round_trip
{
	my ($name, $database, $schema, $dump, $restore) = @_;
	(my $copy = "${database}_$name") =~ s/\W+/_/g;
	my @dump = map { $_ eq 'FROM' ? $source->connstr($database) : $_ } @$dump;
	my @restore = map { $_ eq 'INTO' ? $target->connstr($copy) : $_ } @$restore;

	$target->safe_psql('postgres', "CREATE DATABASE $copy");
	run_ok("$name: dump", @dump);
	run_ok("$name: restore", @restore);
	is(fingerprint($target, $copy), fingerprint($source, $database), "$name: everything is equal");
	is(dump_text($target, $copy), dump_text($source, $database), "$name: also in the next dump");
	ledger_ok($target, $copy, $name, $schema);

	my $max = $source->safe_psql($database, "SELECT max(position) FROM bank.events");
	my $serial = $source->safe_psql($database, 'SELECT last_value FROM bank.account_serial_seq');
	my @after = query_rows(
		$target, $copy, qq{
SET search_path = $schema;
SELECT position > $max, version, balance, replayed
  FROM bank_deposit('00000000-0000-7000-8000-000000000005', '1 HTG');
SELECT substr(account_number, 1, 10)::bigint > $serial, bank_account_number_valid(account_number), version
  FROM bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG');
SELECT position <= $max, version, balance, replayed
  FROM bank_deposit('00000000-0000-7000-8000-000000000001', '1000.00 HTG', idempotency_key => 'varied 3');
SELECT account_id FROM bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG',
  account_id => '00000000-0000-7000-8000-000000000001', idempotency_key => 'varied 1');
SELECT answer ->> 'code', answer ->> 'replayed' FROM bank_execute(jsonb_build_object('command', 'withdraw',
  'account_id', '00000000-0000-7000-8000-000000000008', 'amount', '9 HTG',
  'idempotency_key', 'varied 5')) AS answer;
SELECT count(*) FROM bank_accounts WHERE house_account = 'vault';
SELECT status, amount, captured, resolved_position IS NULL FROM bank_holds WHERE expires_at < 'infinity' ORDER BY created_position;
SELECT balance, held, available FROM bank_balance('00000000-0000-7000-8000-000000000009');
SELECT held.event_type, held.balance, held.version - seen.version
  FROM bank_balance('00000000-0000-7000-8000-000000000009') AS seen,
    LATERAL bank_withdraw(seen.account_id, '23.00 HTG', expected_version => seen.version) AS held;
SELECT replayed FROM bank_hold('00000000-0000-7000-8000-000000000009', '70.00 HTG',
  expires_in => '9 years', idempotency_key => 'varied 6');
SELECT capture.event_type, capture.balance FROM bank_holds AS h, LATERAL bank_capture(h.hold_id) AS capture
  WHERE h.status = 'OPEN' AND h.amount = 70;
SELECT direction, state, amount, participant, attempts, next_attempt_at IS NOT NULL
  FROM bank_transfers ORDER BY direction DESC, amount, state;
SELECT bank_send('00000000-0000-7000-8000-000000000040', '10.00 HTG', 'north', 'their account', idempotency_key => 'varied 7',
  metadata => '{"order": 2}', occurred_at => '2024-06-06') = transfer_id FROM bank_transfers WHERE amount = 10;
SELECT r.state, r.version FROM bank_transfers AS t, LATERAL bank_cancel_transfer(t.transfer_id) AS r WHERE t.amount = 10;
SELECT r.state, r.version FROM bank_transfers AS t, LATERAL bank_resolve_transfer(t.transfer_id, 'rejected') AS r WHERE t.amount = 14;
SELECT state FROM bank_receive('00000000-0000-7000-8000-000001000003', '00000000-0000-7000-8000-000000000040', '9000.00 HTG');
SELECT state FROM bank_cancel_received('00000000-0000-7000-8000-000001000001');
SELECT balance, held FROM bank_balance('00000000-0000-7000-8000-000000000040');
SELECT name, state, secrets, breaker_state, house_account, deadline FROM bank_participants ORDER BY name});
	is_deeply(
		\@after,
		[
			[ 't', 4, '702.00', 'f' ],
			[ 't', 't', 1 ],
			[ 't', 2, '1000.00', 't' ],
			['00000000-0000-7000-8000-000000000001'],
			[ 'BK004', 'true' ], [2],
			[ 'OPEN', '70.00', '0.00', 't' ],
			[ 'CAPTURED', '20.00', '1.00', 'f' ],
			[ 'RELEASED', '20.00', '0.00', 'f' ],
			[ 'EXPIRED', '5.00', '0.00', 'f' ],
			[ 'OPEN', '6.00', '0.00', 't' ],
			[ 'EXPIRED', '7.00', '0.00', 't' ],
			[ '99.00', '76.00', '23.00' ],
			[ 'money.withdrawn', '76.00', 2 ],
			['t'],
			[ 'hold.captured', '6.00' ],
			[ 'out', 'reserved', '10.00', 'north', 0, 't' ],
			[ 'out', 'rejected', '11.00', 'north', 0, 'f' ],
			[ 'out', 'submitted', '12.00', 'north', 0, 't' ],
			[ 'out', 'cancelling', '13.00', 'north', 3, 't' ],
			[ 'out', 'in_doubt', '14.00', 'north', 0, 'f' ],
			[ 'out', 'completed', '15.00', 'north', 0, 'f' ],
			[ 'out', 'returning', '16.00', 'north', 0, 't' ],
			[ 'out', 'compensated', '17.00', 'north', 0, 'f' ],
			[ 'in', 'received', '1.00', 'north', 0, 'f' ],
			[ 'in', 'refused', '1.00', 'north', 0, 'f' ],
			[ 'in', 'cancelled', '2.00', '', 0, 'f' ],
			[ 'in', 'kept', '9000.00', '', 0, 'f' ],
			[ 'in', 'cancelled', '', 'south', 0, 'f' ],
			['t'],
			[ 'rejected', 3 ],
			[ 'rejected', 5 ],
			['kept'],
			['cancelled'],
			[ '9169.00', '25.00' ],
			[ 'north', 'paused', 2, 'closed', 'external', '1 day' ],
			[ 'south', 'paused', 1, 'closed', 'vault', '1 mon' ]
		],
		"$name: the ledger goes on where it was");
	is( outcome(
			$target,
			$copy,
			"SELECT $schema.bank_deposit('00000000-0000-7000-8000-000000000001', '1.00 HTG',
			  idempotency_key => 'varied 3')"
		),
		'BK007',
		"$name: keys are known");
	is( outcome(
			$target, $copy, "SELECT $schema.bank_deposit('00000000-0000-7000-8000-000000000002', '1.00 HTG')"
		),
		'BK002',
		"$name: a frozen account is frozen");
	is(outcome($target, $copy, 'DELETE FROM bank.events'), 'BK012', "$name: events are append-only");
	is(outcome($target, $copy, 'DROP EXTENSION banking CASCADE'),
		'2BP01', "$name: and guarded against a drop");
	ledger_ok($target, $copy, "$name, went on", $schema);
	return;
}

my @formats = (
	[
		'plain',
		[ 'pg_dump', '-f', "$directory/plain", '-d', 'FROM' ],
		[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', "$directory/plain", '-d', 'INTO' ]
	],
	[
		'custom',
		[ 'pg_dump', '-Fc', '-f', "$directory/custom", '-d', 'FROM' ],
		[ 'pg_restore', '-e', '-d', 'INTO', "$directory/custom" ]
	],
	[
		'custom, one transaction',
		[ 'pg_dump', '-Fc', '-f', "$directory/custom1", '-d', 'FROM' ],
		[ 'pg_restore', '-1', '-d', 'INTO', "$directory/custom1" ]
	],
	[
		'inserts',
		[ 'pg_dump', '--inserts', '-f', "$directory/inserts", '-d', 'FROM' ],
		[
			'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null',
			'-f', "$directory/inserts", '-d', 'INTO'
		]
	],
	[
		'column inserts, several rows each',
		[
			'pg_dump', '--column-inserts', '--rows-per-insert=37', '-Ft', '-f', "$directory/tar", '-d',
			'FROM'
		],
		[ 'pg_restore', '-e', '-d', 'INTO', "$directory/tar" ]
	],
	[
		'directory, parallel',
		[ 'pg_dump', '-Fd', '-j', 2, '-f', "$directory/directory", '-d', 'FROM' ],
		[ 'pg_restore', '-j', 2, '-e', '-d', 'INTO', "$directory/directory" ]
	]);
round_trip($_->[0], 'ledger', 'public', $_->[1], $_->[2]) foreach @formats;
round_trip(
	'schema of its own',
	'elsewhere', '"Our Bank"',
	[ 'pg_dump', '-Fc', '-f', "$directory/schema", '-d', 'FROM' ],
	[ 'pg_restore', '-e', '-d', 'INTO', "$directory/schema" ]);

# Only then does the next statement prove anything.
cmp_ok(
	$source->safe_psql('ledger', 'SELECT max(transaction_id::text::bigint) FROM bank.events'),
	'>',
	$target->safe_psql('postgres', 'SELECT pg_current_xact_id()'),
	'the target counts transactions that the source has long passed');

# An empty ledger.
create_ledger($source, 'nothing');
$target->safe_psql('postgres', 'CREATE DATABASE nothing');
run_ok('empty: dump', 'pg_dump', '-Fc', '-f', "$directory/empty", '-d', $source->connstr('nothing'));
run_ok('empty: restore', 'pg_restore', '-e', '-d', $target->connstr('nothing'), "$directory/empty");
is(fingerprint($target, 'nothing'), fingerprint($source, 'nothing'), 'empty: equal');
varied_history($target, 'nothing');
ledger_ok($target, 'nothing', 'empty, then used');

# Only the data, into a database where the extension is already.
create_ledger($target, 'data_only');
run_ok('data only: dump',
	'pg_dump', '-Fc', '--data-only', '-f', "$directory/data", '-d', $source->connstr('ledger'));
run_ok('data only: restore', 'pg_restore', '-e', '-d', $target->connstr('data_only'), "$directory/data");
is(fingerprint($target, 'data_only'), fingerprint($source, 'ledger'), 'data only: equal');
ledger_ok($target, 'data_only', 'data only');

# While others write: the dump is of one moment. Then the copy is written to as well.
my $writers = <<'SQL';
\set a random(101, 130)
\set b 101 + (:a - 101 + random(1, 29)) % 30
SELECT bank_transfer('00000000-0000-7000-8000-000000000:a', '00000000-0000-7000-8000-000000000:b', '0.01 HTG',
  idempotency_key => pg_catalog.gen_random_uuid()::text);
SELECT bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT', 'HTG');
SQL
my $rows = 'SELECT md5(e::text) FROM bank.events AS e';
foreach my $format ('custom', 'directory')
{
	my $end = start_pgbench($source, 'ledger', clients => 8, scripts => [$writers]);
	my $first = $source->safe_psql('ledger', 'SELECT max(position) FROM bank.events');
	$source->poll_query_until('ledger', "SELECT max(position) > $first + 500 FROM bank.events")
	  or die 'nobody writes';
	my @before = split(/\n/, $source->safe_psql('ledger', $rows));
	run_ok(
		"$format, while others write: dump",
		'pg_dump', '-d',
		$source->connstr('ledger'),
		$format eq 'custom' ? '-Fc' : ('-Fd', '-j', 2),
		'-f', "$directory/live_$format");
	my $last = $source->safe_psql('ledger', 'SELECT max(position) FROM bank.events');
	$source->poll_query_until('ledger', "SELECT max(position) > $last + 100 FROM bank.events")
	  or die 'nobody writes any more';
	$end->();

	$target->safe_psql('postgres', "CREATE DATABASE live_$format");
	run_ok(
		"$format, while others write: restore",
		'pg_restore', '-j', 2, '-e', '-d', $target->connstr("live_$format"),
		"$directory/live_$format");
	ledger_ok($target, "live_$format", "$format, while others write");
	my %copy = map { $_ => 1 } split(/\n/, $target->safe_psql("live_$format", $rows));
	my %source = map { $_ => 1 } split(/\n/, $source->safe_psql('ledger', $rows));
	is(scalar(grep { !$copy{$_} } @before), 0, "$format, while others write: nothing is missing");
	is(scalar(grep { !$source{$_} } keys %copy), 0, "$format, while others write: nothing is invented");
	cmp_ok(scalar(keys %copy), '<', scalar(keys %source),
		"$format, while others write: they went on writing");
	my %more = pgbench(
		$target, "live_$format",
		clients => 4,
		transactions => 20,
		scripts => [$writers]);
	is("$more{status} $more{stderr}", '0 ', "$format, while others write: the copy goes on");
	ledger_ok($target, "live_$format", "$format, while others write, went on");
}

$source->stop;
$target->stop;
done_testing();
