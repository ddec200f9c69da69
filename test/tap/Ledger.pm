# Ledger.pm
#
# What the TAP tests of this directory share: a cluster with the ledger in it, accounts to work
# on, load from pgbench, a fingerprint of everything stored, and the oracle: the invariants of the
# ledger, derived again from bank.events by SQL of this file's own, so that it agrees with the
# product only when both are right.
#
# The tests are run by prove with the perl directory of PGXS in @INC, as an unprivileged user, with
# PG_REGRESS and PATH set as "make prove_check" of PostgreSQL sets them. BANKING_TEST_SECONDS says
# how long each load of the concurrency tests lasts.

package Ledger;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  account_id add_functions answer create_ledger dump_text errors_logged fingerprint ledger_node
  ledger_ok one_line open_accounts outcome pgbench query_rows start_pgbench storage_ok test_seconds
  varied_history write_file
);

# The options of every cluster here; later lines of a test's own win.
my $configuration = <<'CONF';
log_statement = none
log_line_prefix = '%m [%p] %e %q%a '
max_connections = 60
max_prepared_transactions = 20
max_wal_size = 1GB
shared_buffers = 64MB
statement_timeout = 120s
timezone = 'UTC'
datestyle = 'ISO, YMD'
jit = off
CONF

# Start a cluster. Options: streaming => 1 or 'logical'; conf => lines for postgresql.conf.
sub ledger_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(
		extra => [ '--no-locale', '--encoding=UTF8' ],
		$options{streaming} ? (allows_streaming => $options{streaming}) : ());
	$node->append_conf('postgresql.conf', $configuration . ($options{conf} // ''));
	$node->start;
	return $node;
}

# Make a database with the extension, in the schema named (default public).
sub create_ledger
{
	my ($node, $database, $schema) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database") if $database ne 'postgres';
	$node->safe_psql($database,
		$schema
		? "CREATE SCHEMA $schema; CREATE EXTENSION banking SCHEMA $schema"
		: 'CREATE EXTENSION banking');
	return;
}

# The identifier of the tests' account number $n (1, 2, ...), in order of $n.
sub account_id
{
	my ($n) = @_;
	return sprintf('00000000-0000-7000-8000-%012d', $n);
}

# Open the tests' accounts $first to $last, with this money on each (none: undef).
# More: currency => 'HTG', schema => 'public', options => further arguments of bank_create_account.
sub open_accounts
{
	my ($node, $database, $first, $last, $money, %options) = @_;
	my $schema = $options{schema} // 'public';
	my $currency = $options{currency} // 'HTG';
	my $more = defined $options{options} ? ", $options{options}" : '';
	my $id = "pg_catalog.format('00000000-0000-7000-8000-%s', pg_catalog.lpad(i::text, 12, '0'))::uuid";

	$node->safe_psql($database,
			"SELECT count($schema.bank_create_account('00000000-0000-4000-8000-000000000001', 'COURANT',"
		  . " '$currency', account_id => $id$more)) FROM generate_series($first, $last) AS i");
	$node->safe_psql($database,
		"SELECT count($schema.bank_deposit($id, '$money')) FROM generate_series($first, $last) AS i")
	  if defined $money;
	return;
}

# Give a database two functions: account(n), the identifier of the tests' account n; and
# attempt(command), which runs a command and returns 'ok' or the SQLSTATE of the ledger's refusal.
# Everything else is still an error, and so is BK020: no command may make an event that does not fit.
sub add_functions
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
CREATE FUNCTION account(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
  $$ SELECT pg_catalog.format('00000000-0000-7000-8000-%s', pg_catalog.lpad(n::text, 12, '0'))::uuid $$;

CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE command;
  RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
  IF SQLSTATE NOT LIKE 'BK%' OR SQLSTATE = 'BK020' THEN
    RAISE;
  END IF;
  RETURN SQLSTATE;
END
$$;
SQL
	return;
}

# Every kind of event, in several currencies, with whatever a row can hold: accounts 1 to 9 and 40, keys
# 'varied 1' to 'varied 7', the fifth one of a refusal; on account 9 an open hold of 70.00 HTG, made
# under the sixth key, one that has expired and nobody has swept, and one in each other state; from
# account 40 transfers to participant north, which is paused, of 10 to 17 HTG in all states, that of 10 HTG
# made under the seventh key, and to it those that came, in all states.
sub varied_history
{
	my ($node, $database, $schema) = @_;
	my $sql = <<'SQL';
SELECT bank_create_account(:owner, 'COURANT', 'HTG', account_id => :a1, idempotency_key => 'varied 1');
SELECT bank_create_account(:owner, 'EPARGNE', 'HTG', account_id => :a2,
  overdraft_limit => '500.00 HTG', balance_limit => '90000.00 HTG');
SELECT bank_create_account(:owner, 'COURANT', 'JPY', account_id => :a3, overdraft_limit => '50 JPY');
SELECT bank_create_account(:owner, 'COURANT', 'KWD', account_id => :a4,
  metadata => '{"teller": "Ren\u00e9e \"R\"", "back\\slash": [1, null, "tab\t"]}');
SELECT bank_create_account(:owner, 'COURANT', 'HTG', account_id => id)
  FROM unnest(ARRAY[:a5, :a6, :a7, :a8, :a9]::uuid[]) AS id;
SELECT bank_create_house_account('vault', 'HTG', idempotency_key => 'varied 2');
SELECT bank_create_house_account('vault', 'USD');
SELECT bank_deposit(:a1, '1000.00 HTG', idempotency_key => 'varied 3',
  metadata => '{"note": "first\nline; DROP TABLE x; --"}');
SELECT bank_deposit(:a1, '1.05 HTG', house_account => 'vault');
SELECT bank_deposit(:a3, '150 JPY');
SELECT bank_deposit(:a4, '12.345 KWD', occurred_at => '1999-12-31 23:59:59.999999+00');
SELECT bank_withdraw(:a3, '200 JPY', house_account => 'fees');
SELECT bank_transfer(:a1, :a2, '300.00 HTG', idempotency_key => 'varied 4',
  occurred_at => '2024-02-29 12:00:00+00');
SELECT bank_transfer(:a2, :a5, '700.00 HTG');
SELECT bank_deposit(:a1, '7.00 HTG', occurred_at => '2023-01-01');
SELECT bank_deposit(:a1, '8.00 HTG', occurred_at => '2024-01-01');
SELECT bank_transfer(vault.account_id, cash.account_id, '999999.99 HTG')
  FROM bank_accounts AS vault, bank_accounts AS cash
  WHERE (vault.house_account, vault.currency) = ('vault', 'HTG')
    AND (cash.house_account, cash.currency) = ('cash', 'HTG');
SELECT bank_freeze(:a2);
SELECT bank_freeze(:a6);
SELECT bank_unfreeze(:a6);
SELECT bank_set_limits(:a6, overdraft_limit => '5.00 HTG');
SELECT bank_set_limits(:a6, balance_limit => '5.00 HTG');
SELECT bank_close(:a7, metadata => '{}');
SELECT bank_execute(jsonb_build_object('command', 'withdraw', 'account_id', :a8, 'amount', '9 HTG',
  'idempotency_key', 'varied 5'));
BEGIN;
SELECT bank_deposit(:a8, '1 HTG', idempotency_key => 'rolled back');
ROLLBACK;
SELECT bank_deposit(:a9, '100.00 HTG');
SELECT bank_hold(:a9, '70.00 HTG', expires_in => '9 years', idempotency_key => 'varied 6',
  metadata => '{"order": 1}');
SELECT bank_capture(hold.event_id, to_account => :a5, amount => '1.00 HTG')
  FROM bank_hold(:a9, '20.00 HTG') AS hold;
SELECT bank_release(hold.event_id) FROM bank_hold(:a9, '20.00 HTG') AS hold;
SELECT bank_hold(:a9, '5.00 HTG', expires_in => '1 microsecond');
SELECT bank_expire_holds();
SELECT bank_hold(:a9, '6.00 HTG', occurred_at => '2024-05-05', expires_in => '1 day');
SELECT bank_hold(:a9, '7.00 HTG', expires_in => '1 microsecond');
SELECT bank_create_account(:owner, 'COURANT', 'HTG', account_id => :a40);
SELECT bank_deposit(:a40, '200.00 HTG');
SELECT bank_add_participant('north', 'https://north.example/');
SELECT bank_add_participant('south', 'https://south.example/', deadline => '1 month', house_account => 'vault');
SELECT bank_rotate_participant_secret('north');
SELECT bank_pause_participant(name) FROM unnest(ARRAY['north', 'south']) AS name;
SELECT bank_send(:a40, '10.00 HTG', 'north', 'their account', idempotency_key => 'varied 7',
  metadata => '{"order": 2}', occurred_at => '2024-06-06');
SELECT bank_send(:a40, amount::bank_money, 'north', E'their \u00e9 "account" \\') FROM unnest(ARRAY['11 HTG', '12 HTG', '13 HTG', '14 HTG', '15 HTG', '16 HTG', '17 HTG']) AS amount;
CREATE FUNCTION pg_temp.step(minor bigint, type bank.event_type) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, data)
    SELECT pg_catalog.gen_random_uuid(), t.transfer_id, t.version + 1, type, t.amount, t.currency, 0, '{}'
    FROM bank.transfers AS t WHERE t.amount = minor;
  DELETE FROM bank.transfer_attempts AS a USING bank.transfers AS t
    WHERE t.transfer_id = a.transfer_id AND t.amount = minor AND type = 'transfer.in_doubt';
$$;
SELECT bank_cancel_transfer(transfer_id) FROM bank_transfers WHERE amount = 11;
SELECT pg_temp.step(minor, 'transfer.submitted') FROM unnest(ARRAY[1200, 1300, 1400, 1500, 1600, 1700]) AS minor;
SELECT bank_cancel_transfer(transfer_id) FROM bank_transfers WHERE amount = 13;
SELECT pg_temp.step(minor, 'transfer.in_doubt') FROM unnest(ARRAY[1400, 1500, 1600, 1700]) AS minor;
SELECT bank_resolve_transfer(transfer_id, 'completed', reason => E'a\nletter') FROM bank_transfers WHERE amount IN (15, 16, 17);
SELECT bank_cancel_transfer(transfer_id) FROM bank_transfers WHERE amount IN (16, 17);
SELECT pg_temp.step(1700, 'transfer.in_doubt');
SELECT bank_resolve_transfer(transfer_id, 'compensated') FROM bank_transfers WHERE amount = 17;
UPDATE bank.transfer_attempts SET attempts = 3, absent = true, last_attempt_at = now(), last_status = 500, last_error = E'tab\t'
  WHERE transfer_id = (SELECT transfer_id FROM bank.transfers WHERE amount = 1300);
SELECT bank_receive(:t1, :a40, '1.00 HTG', participant => 'north', house_account => 'vault');
SELECT bank_receive(:t2, :t2, '1.00 EUR', participant => 'north');
SELECT bank_receive(:t3, :a40, '9000.00 HTG');
SELECT bank_withdraw(:a40, '9000.00 HTG');
SELECT bank.cancel_received(:t3, '');
SELECT bank_deposit(:a40, '9000.00 HTG');
SELECT bank_cancel_received(:t4, participant => 'south');
SELECT bank_receive(:t5, :a40, '2.00 HTG');
SELECT bank_cancel_received(:t5);
-- Requests for approval, without a role that would have to be wherever this is restored: by hand.
SELECT bank_set_approval_threshold('1000000 HTG', '1 month');
INSERT INTO bank.actors (session_user_name, application_name) VALUES ('asker', 'by hand'), ('approver', 'by hand');
CREATE FUNCTION pg_temp.approval(request uuid, event_version bigint, type bank.event_type, what jsonb, expires timestamptz DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, data, expires_at, actor_id)
    SELECT CASE event_version WHEN 1 THEN request ELSE pg_catalog.gen_random_uuid() END, request, event_version, type, 100000100, 'HTG', 0, what, expires,
      (SELECT a.actor_id FROM bank.actors AS a WHERE a.session_user_name = CASE event_version WHEN 1 THEN 'asker' ELSE 'approver' END)
$$;
SELECT pg_temp.approval(id, 1, 'approval.requested', jsonb_build_object('account_id', :a40,
    'command', jsonb_build_object('command', 'deposit', 'account_id', :a40, 'amount', '1000001.00 HTG', 'metadata', '{"why": "\u00e9"}'::jsonb)), '2100-01-01')
  FROM unnest(ARRAY[:t6, :t7, :t8]::uuid[]) AS id;
SELECT pg_temp.approval(:t7, 2, 'approval.granted', jsonb_build_object('result_aggregate_id', :a40, 'result_version', d.version::text))
  FROM bank_deposit(:a40, '1000001.00 HTG', metadata => jsonb_build_object('why', 'e', 'causation_id', :t7)) AS d;
SELECT pg_temp.approval(:t8, 2, 'approval.rejected', '{"reason": "no \"reason\""}');
SELECT bank_withdraw(:a40, '1000001.00 HTG');
SQL

	$schema //= 'public';
	$node->safe_psql($database,
			"SET search_path = $schema;\n"
		  . "\\set owner '\\'00000000-0000-4000-8000-000000000001\\''\n"
		  . join('', map { "\\set a$_ '\\'" . account_id($_) . "\\''\n" } 1 .. 9, 40)
		  . join('', map { "\\set t$_ '\\'" . account_id(1000000 + $_) . "\\''\n" } 1 .. 8)
		  . $sql);
	return;
}

# Run SQL; returns 'ok', or the SQLSTATE of the error that ended it.
sub outcome
{
	my ($node, $database, $sql) = @_;
	my ($status, $stdout, $stderr) =
	  $node->psql($database, $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return 'ok' if $status == 0;
	return $stderr =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5})\b/ ? $1 : "no SQLSTATE: $stderr";
}

# Run SQL; returns what it printed, and the error where there was one.
sub answer
{
	my ($node, $database, $sql) = @_;
	my ($status, $stdout, $stderr) = $node->psql($database, $sql);

	return $status == 0 ? $stdout : "$stdout\n$stderr";
}

# Rows of a query as a list of array references; no value may hold a bar or a newline.
sub query_rows
{
	my ($node, $database, $sql) = @_;
	return map { [ split(/\|/, $_, -1) ] } split(/\n/, $node->safe_psql($database, $sql));
}

# A text as one line, for the name of a test.
sub one_line
{
	my ($text) = @_;
	return $text =~ s/\s+/ /gr;
}

# Write a file into a directory of this test's own, which goes away with it; returns its path.
my $directory;

sub write_file
{
	my ($name, $content) = @_;

	$directory //= PostgreSQL::Test::Utils::tempdir;
	my $path = "$directory/$name";
	open(my $file, '>', $path) or die "could not create $path: $!";
	print $file $content;
	close($file) or die "could not write $path: $!";
	return $path;
}

# How long a load of the concurrency tests lasts.
sub test_seconds
{
	return $ENV{BANKING_TEST_SECONDS} // 10;
}

# The command line of a pgbench run, see pgbench().
sub pgbench_command
{
	my ($node, $database, %options) = @_;
	my @command = ('pgbench', '-n', '-c', $options{clients} // 20, '-j', 2);
	my $number = 0;

	push @command, $options{seconds} ? ('-T', $options{seconds}) : ('-t', $options{transactions});
	push @command, "--max-tries=$options{tries}" if defined $options{tries};
	push @command, '-f', write_file('script' . ++$number . '.pgbench', $_) foreach @{ $options{scripts} };
	return (@command, $node->connstr($database));
}

# Run pgbench. Options: scripts => [text, ...] (chosen at random, alike), clients (20), seconds or
# transactions (of each client), isolation, tries (pgbench's --max-tries).
# Returns a hash: status, stderr, processed, failed, retried.
sub pgbench
{
	my ($node, $database, %options) = @_;
	my @command = pgbench_command($node, $database, %options);
	my ($stdout, $stderr) = ('', '');

	local $ENV{PGOPTIONS} = '';
	if ($options{isolation})
	{
		(my $level = $options{isolation}) =~ s{ }{\\ }g;
		$ENV{PGOPTIONS} = "-c default_transaction_isolation=$level";
	}
	note join(' ', @command);
	IPC::Run::run(\@command, '<', \undef, '>', \$stdout, '2>', \$stderr);
	my $status = $? >> 8;
	note $stdout;
	$stderr =~ s/^pgbench \(.*\n//mg;
	$stderr =~ s{\A((?:.*\n){6})(?:.*\n)+}{$1...\n};
	my %result = (status => $status, stderr => $stderr);
	$result{processed} = $1 if $stdout =~ /^number of transactions actually processed: (\d+)/m;
	$result{failed} = $1 if $stdout =~ /^number of failed transactions: (\d+)/m;
	$result{retried} = $1 if $stdout =~ /^number of transactions retried: (\d+)/m;
	return %result;
}

# Start pgbench, with the same options, and go on. Returns a function that ends it, and fails the
# test when it had ended before.
sub start_pgbench
{
	my ($node, $database, %options) = @_;
	my @command = pgbench_command($node, $database, seconds => 600, %options);
	my $output = '';
	my $run = IPC::Run::start(\@command, '<', \undef, '>&', \$output);

	note join(' ', @command);
	return sub {
		die "pgbench ended: $output" unless $run->pumpable;
		$run->signal('INT');
		$run->finish;
	};
}

# The SQLSTATEs of all errors in the server's log from an offset on, each once, in order.
sub errors_logged
{
	my ($node, $offset) = @_;
	my %seen;

	foreach my $line (split(/\n/, slurp_file($node->logfile, $offset)))
	{
		next if $line =~ /ERROR:  canceling autovacuum task$/;
		$seen{$1} = 1 if $line =~ /^[-\d]+ [\d:.]+ \S+ \[\d+\] ([0-9A-Z]{5}) .*?(?:ERROR|FATAL|PANIC):  /;
	}
	return join(' ', sort keys %seen);
}

# One line for each table, sequence and view of the extension: its name and a digest of all that
# is in it, in an order of its own. Equal ledgers have equal fingerprints. Sequences
# may be left out (1): a standby has its own idea of how far they are; for a logical copy the
# transaction ids of events as well ('replica'). What belongs
# to this very copy of a ledger is never in it: its incarnation, and events as they leave it, which
# name the database; nor how old a transfer is by now.
sub fingerprint
{
	my ($node, $database, $without_sequences) = @_;
	my @relations = query_rows($node, $database, <<'SQL');
SELECT c.oid::regclass, c.relkind
FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'banking')
  AND c.relkind IN ('r', 'v', 'S')
  AND c.oid <> ALL (ARRAY['bank.incarnation', 'bank.incarnations', 'bank.outgoing']::regclass[])
ORDER BY c.oid::regclass::text COLLATE "C"
SQL
	@relations = grep { $_->[1] ne 'S' } @relations if $without_sequences;
	die "no extension in $database" unless @relations;
	my $sql = join(
		' UNION ALL ',
		map {
			$_->[1] eq 'S'
			  ? "SELECT '$_->[0]', last_value || ' ' || is_called FROM $_->[0]"
			  : "SELECT '$_->[0]', count(*) || ' ' || "
			  . "COALESCE(md5(string_agg(md5(r), '' ORDER BY md5(r) COLLATE \"C\")), '')
			    FROM $_->[0] AS t, LATERAL (SELECT "
			  . ($_->[0] eq 'bank.events' && ($without_sequences // '') eq 'replica'
				? "(to_jsonb(t) - 'transaction_id')::text"
				: $_->[0] =~ /\btransfer_list$|\b\w+_transfers$/
				? "(to_jsonb(t) - 'age')::text"
				: 't::text')
			  . ') AS l (r)'
		} @relations);

	return $node->safe_psql($database, $sql);
}

# pg_dump's plain text of a database, without what differs from run to run.
sub dump_text
{
	my ($node, $database, @arguments) = @_;
	my ($stdout, $stderr) = ('', '');

	push @arguments, '--no-statistics' if $node->pg_version >= 18;
	IPC::Run::run([ 'pg_dump', '-d', $node->connstr($database), @arguments ],
		'<', \undef, '>', \$stdout, '2>', \$stderr)
	  or die "pg_dump failed: $stderr";
	$stdout =~ s/^\\(?:un)?restrict .*\n//mg;
	# each copy of a ledger adds an incarnation
	$stdout =~ s/^COPY bank\.incarnations .*?^\\\.\n//ms;
	return $stdout;
}

# The invariants, derived from bank.events; one row each that does not hold, with how often.
my $invariants = <<'SQL';
WITH saga AS MATERIALIZED (	-- events of transfers to and from other ledgers, whose streams are no accounts
  SELECT e.*, split_part(e.event_type::text, '.', 2) AS kind, row_number() OVER w AS place, lag(e.position) OVER w AS position_before,
         lag(e.recorded_at) OVER w AS recorded_before
  FROM bank.events AS e
  WHERE e.event_type BETWEEN 'transfer.initiated' AND 'transfer.cancelled'
     OR (e.event_type = 'transfer.completed' AND e.peer_id IS NULL)
  WINDOW w AS (PARTITION BY e.aggregate_id ORDER BY e.version, e.position)
), moves AS MATERIALIZED (
  SELECT e.metadata ->> 'correlation_id' AS id, array_agg(e.event_type::text ORDER BY e.position) AS moved
  FROM bank.events AS e
  WHERE e.metadata ->> 'correlation_id' IN (SELECT s.aggregate_id::text FROM saga AS s)
    AND NOT EXISTS (SELECT FROM saga AS s WHERE s.position = e.position)
  GROUP BY 1
), transfer AS MATERIALIZED (
  SELECT t.*, m.moved FROM (SELECT s.aggregate_id AS transfer_id, count(*) AS events, max(s.position) AS position, max(s.recorded_at) AS recorded_at,
         min(s.recorded_at) AS created_at, (array_agg(s.kind ORDER BY s.version DESC))[1] AS last,
         (array_agg(s.kind ORDER BY s.version))[1] AS first, bool_or(s.kind = 'completed') AS completed,
         bool_or(s.kind = 'received') AS received, min(s.amount) AS amount, max(s.amount) AS other_amount,
         (array_agg((s.data ->> 'account_id')::uuid ORDER BY s.version))[1] AS account_id
  FROM saga AS s GROUP BY s.aggregate_id) AS t
  LEFT JOIN moves AS m ON m.id = t.transfer_id::text
), stream AS MATERIALIZED (
  SELECT e.aggregate_id AS account_id, e.version, e.position, e.recorded_at, e.currency, e.balance,
         e.event_type::text AS kind, e.peer_id IS NOT NULL AS movement,
         COALESCE(e.occurred_at, e.recorded_at) AS business_at,
         CASE e.event_type::text WHEN 'money.deposited' THEN e.amount
           WHEN 'money.withdrawn' THEN -e.amount WHEN 'transfer.completed' THEN -e.amount
           WHEN 'hold.captured' THEN -e.amount
           ELSE 0 END AS delta,
         e.peer_id IS NOT NULL OR e.hold_id IS NOT NULL AS dated, COALESCE(e.held, 0) AS held,
         CASE e.event_type::text WHEN 'hold.created' THEN e.amount
           WHEN 'hold.released' THEN -e.amount WHEN 'hold.expired' THEN -e.amount
           WHEN 'hold.captured' THEN -(SELECT h.amount FROM bank.events AS h
             WHERE h.hold_id = e.hold_id AND h.event_type = 'hold.created')
           ELSE 0 END AS held_delta
  FROM bank.events AS e
  WHERE NOT EXISTS (SELECT FROM saga AS s WHERE s.position = e.position) AND e.event_type < 'approval.requested'
  UNION ALL
  SELECT e.peer_id, e.peer_version, e.position, e.recorded_at, e.currency, e.peer_balance,
         e.event_type::text, true,
         COALESCE(e.occurred_at, e.recorded_at),
         CASE e.event_type::text WHEN 'money.deposited' THEN -e.amount ELSE e.amount END,
         true, COALESCE(e.peer_held, 0), 0
  FROM bank.events AS e
  WHERE e.peer_id IS NOT NULL
), hold AS MATERIALIZED (
  SELECT c.hold_id, c.aggregate_id AS account_id, c.amount, c.expires_at, c.version, c.position,
         COALESCE(c.occurred_at, c.recorded_at) AS created_at, r.n AS resolutions, r.event_type,
         r.account_id AS resolved_on, r.amount AS resolved_amount, r.recorded_at,
         r.business_at, r.version AS resolved_version, r.position AS resolved_position
  FROM bank.events AS c
  LEFT JOIN (SELECT hold_id, count(*) AS n, min(event_type::text) AS event_type,
                    min(aggregate_id::text)::uuid AS account_id, min(amount) AS amount,
                    min(recorded_at) AS recorded_at, min(COALESCE(occurred_at, recorded_at)) AS business_at,
                    min(version) AS version, min(position) AS position
             FROM bank.events WHERE hold_id IS NOT NULL AND event_type <> 'hold.created'
             GROUP BY hold_id) AS r USING (hold_id)
  WHERE c.event_type = 'hold.created'
), running AS MATERIALIZED (
  SELECT s.*, row_number() OVER w AS place, sum(s.delta) OVER w AS total, sum(s.held_delta) OVER w AS held_total,
         lag(s.position) OVER w AS position_before, lag(s.recorded_at) OVER w AS recorded_before,
         max(s.business_at) FILTER (WHERE s.dated)
           OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
           AS latest_before
  FROM stream AS s
  WINDOW w AS (PARTITION BY s.account_id ORDER BY s.version, s.position)
), folded AS MATERIALIZED (
  SELECT account_id, count(*) AS events, sum(greatest(delta, 0)) AS credits,
         sum(greatest(-delta, 0)) AS debits, max(recorded_at) AS recorded_at, max(position) AS position,
         min(recorded_at) FILTER (WHERE version = 1) AS created_at,
         COALESCE(max(business_at) FILTER (WHERE dated), '-infinity') AS business_at,
         min(currency) AS currency, max(currency) AS other_currency,
         (array_agg(balance ORDER BY version DESC))[1] AS last_balance,
         (array_agg(CASE kind WHEN 'account.frozen' THEN 'FROZEN' WHEN 'account.closed' THEN 'CLOSED'
                    ELSE 'ACTIVE' END ORDER BY version DESC)
          FILTER (WHERE kind ~ '^account\.(created|frozen|unfrozen|closed)$'))[1]
           AS status
  FROM stream GROUP BY account_id
), finding(invariant, failures) AS (
  SELECT 'versions are 1 to n without gap', count(*) FROM running WHERE version IS DISTINCT FROM place
  UNION ALL SELECT 'a stream begins with account.created, and only there', count(*)
    FROM running WHERE (version = 1) IS DISTINCT FROM (kind = 'account.created')
  UNION ALL SELECT 'every event carries the balance after it', count(*)
    FROM running WHERE balance IS DISTINCT FROM total
  UNION ALL SELECT 'every event carries what is held after it', count(*)
    FROM running WHERE held IS DISTINCT FROM held_total
  UNION ALL SELECT 'a hold is made once and resolved at most once, on its account',
    (SELECT count(*) FROM hold WHERE resolutions > 1 OR resolved_on <> account_id)
    + (SELECT count(*) - count(DISTINCT hold_id) FROM hold)
    + (SELECT count(*) FROM bank.events AS e
       WHERE e.hold_id IS NOT NULL AND NOT EXISTS (SELECT FROM hold AS h WHERE h.hold_id = e.hold_id))
  UNION ALL SELECT 'no more is captured than held, and nothing but a capture is a part', count(*)
    FROM hold WHERE resolved_amount > amount
      OR (resolved_amount < amount AND event_type <> 'hold.captured')
  UNION ALL SELECT 'a hold is used before it expires, and expires not before', count(*)
    FROM hold WHERE (event_type = 'hold.expired') <> (recorded_at >= expires_at)
  UNION ALL SELECT 'nothing is recorded on an account beside a hold that is over', count(*)
    FROM hold AS h JOIN stream AS s ON s.account_id = h.account_id
    WHERE s.recorded_at >= h.expires_at AND s.kind <> 'hold.expired'
      AND (h.resolved_version IS NULL OR s.version < h.resolved_version)
  UNION ALL SELECT 'held and next_expiry of the account are those of its open holds', count(*)
    FROM bank.accounts AS a
    LEFT JOIN (SELECT account_id, sum(amount) AS held, min(expires_at) FILTER (WHERE expires_at < 'infinity') AS next_expiry
               FROM hold WHERE resolutions IS NULL GROUP BY account_id) AS h USING (account_id)
    WHERE a.held <> COALESCE(h.held, 0) OR a.next_expiry IS DISTINCT FROM h.next_expiry
  UNION ALL SELECT 'a closed account has no open holds', count(*)
    FROM bank.accounts AS a WHERE a.status = 'CLOSED' AND a.held <> 0
  UNION ALL SELECT 'bank.holds is what the events say', count(*)
    FROM hold AS h FULL JOIN bank.holds AS b USING (hold_id)
    WHERE (b.account_id, b.amount, b.expires_at, b.created_at, b.created_version, b.created_position,
           b.resolved_at, b.resolved_version, b.resolved_position, b.status, b.captured)
          IS DISTINCT FROM
          (h.account_id, h.amount, h.expires_at, h.created_at, h.version, h.position,
           h.business_at, h.resolved_version, h.resolved_position,
           COALESCE(upper(split_part(h.event_type, '.', 2)), 'OPEN'),
           CASE WHEN h.event_type = 'hold.captured' THEN h.resolved_amount ELSE 0 END)
  UNION ALL SELECT 'positions grow along a stream', count(*) FROM running WHERE position <= position_before
  UNION ALL SELECT 'recorded_at never decreases along a stream', count(*)
    FROM running WHERE recorded_at < recorded_before
  UNION ALL SELECT 'amounts are greater than zero', count(*)
    FROM bank.events WHERE peer_id IS NOT NULL AND (amount > 0) IS NOT TRUE
  UNION ALL SELECT 'every stream has its account, every account its stream', count(*)
    FROM folded FULL JOIN bank.accounts AS a USING (account_id)
    WHERE a.version IS NULL OR folded.events IS NULL
  UNION ALL SELECT 'the account''s version is the number of its events', count(*)
    FROM folded JOIN bank.accounts AS a USING (account_id) WHERE a.version <> folded.events
  UNION ALL SELECT 'balance = credits - debits = sum over the events = last event''s', count(*)
    FROM folded JOIN bank.accounts AS a USING (account_id)
    WHERE (a.credits, a.debits, a.credits - a.debits) IS DISTINCT FROM
          (folded.credits, folded.debits, folded.last_balance)
  UNION ALL SELECT 'status, currency, times and position of the account follow from its events', count(*)
    FROM folded JOIN bank.accounts AS a USING (account_id)
    WHERE (a.status, a.currency, a.currency, a.recorded_at, a.created_at, a.business_at, a.position)
          IS DISTINCT FROM
          (folded.status, folded.currency, folded.other_currency, folded.recorded_at, folded.created_at,
           folded.business_at, folded.position)
  UNION ALL SELECT 'no account is beyond its limits', count(*)
    FROM bank.accounts AS a
    WHERE a.house_code IS NULL AND (a.credits - a.debits - a.held < -a.overdraft_limit
                                    OR a.credits - a.debits > a.balance_limit)
  UNION ALL SELECT 'debits equal credits in every currency', count(*)
    FROM (SELECT currency FROM bank.accounts GROUP BY currency HAVING sum(debits) <> sum(credits)) AS c
  UNION ALL SELECT 'bank_trial_balance is zero in every currency', count(*)
    FROM @schema@.bank_trial_balance WHERE debits <> credits
  UNION ALL SELECT 'bank_trial_balance has every currency', count(*)
    FROM (SELECT DISTINCT currency FROM stream) AS e
    FULL JOIN @schema@.bank_trial_balance AS b USING (currency)
    WHERE b.currency IS NULL OR e.currency IS NULL
  UNION ALL SELECT 'positions and event ids are unique',
    count(*) * 2 - count(DISTINCT position) - count(DISTINCT event_id) FROM bank.events
  UNION ALL SELECT 'no position is beyond the sequence', count(*)
    FROM bank.events, bank.events_position_seq AS s WHERE position > s.last_value
  UNION ALL SELECT 'the back-dated movements are those of the events', count(*)
    FROM (SELECT account_id, version, business_at, latest_before, delta AS amount, held_delta AS held
          FROM running WHERE dated AND business_at < latest_before) AS r
    FULL JOIN bank.backdated_movements AS b
      USING (account_id, version, business_at, latest_before, amount, held)
    WHERE r.account_id IS NULL OR b.account_id IS NULL
  UNION ALL SELECT 'every idempotency key has one event, no event two keys',
    count(*) * 2 - count(e.position) - count(DISTINCT e.position)
    FROM bank.idempotency_keys AS k
    LEFT JOIN bank.events AS e ON e.aggregate_id = k.aggregate_id AND e.version = k.version
    WHERE k.refusal IS NULL
  UNION ALL SELECT 'versions of a transfer are 1 to n, positions and times in their order', count(*)
    FROM saga WHERE version <> place OR position <= position_before OR recorded_at < recorded_before
  UNION ALL SELECT 'a transfer has one amount', count(*)
    FROM transfer AS t WHERE t.amount <> t.other_amount OR (t.amount IS NULL AND t.first NOT IN ('refused', 'cancelled'))
  UNION ALL SELECT 'bank.transfers is what the events say', count(*)
    FROM transfer AS t FULL JOIN bank.transfers AS b USING (transfer_id)
    WHERE (b.version, b.position, b.recorded_at, b.created_at, b.amount, b.account_id, b.state, b.captured) IS DISTINCT FROM
          (t.events, t.position, t.recorded_at, t.created_at, COALESCE(t.amount, 0), t.account_id,
           CASE t.last WHEN 'cancel_requested' THEN CASE WHEN t.completed THEN 'returning' ELSE 'cancelling' END ELSE t.last END,
           (t.completed OR t.received) AND t.last NOT IN ('compensated', 'cancelled'))
  UNION ALL SELECT 'a transfer that was sent moves its money as its end says', count(*)
    FROM transfer AS t WHERE t.first = 'initiated' AND t.moved IS DISTINCT FROM
      ARRAY['hold.created'] || CASE WHEN t.completed THEN ARRAY['hold.captured'] WHEN t.last = 'rejected' THEN ARRAY['hold.released'] END
      || CASE WHEN t.last = 'compensated' THEN t.moved[3:3] END
  UNION ALL SELECT 'what is compensated has come back', count(*)
    FROM transfer AS t WHERE t.last = 'compensated' AND (t.moved[3] IN ('money.deposited', 'transfer.completed')) IS NOT TRUE
  UNION ALL SELECT 'a transfer that came moves its money as its end says', count(*)
    FROM transfer AS t WHERE t.first <> 'initiated' AND t.moved IS DISTINCT FROM
      CASE WHEN t.received THEN ARRAY['money.deposited'] || CASE WHEN t.last = 'cancelled' THEN ARRAY['money.withdrawn'] END END
  UNION ALL SELECT 'what the worker has to do is what is under way', count(*)
    FROM bank.transfers AS t FULL JOIN bank.transfer_attempts AS a USING (transfer_id)
    WHERE (t.state IN ('reserved', 'submitted', 'cancelling', 'returning')) IS DISTINCT FROM (a.participant IS NOT NULL)
  UNION ALL SELECT 'bank_verify(): ' || invariant, 1 FROM @schema@.bank_verify() WHERE ok IS NOT TRUE
)
SELECT invariant, failures FROM finding WHERE failures <> 0
SQL

# A test: tables and indexes of the ledger are sound, as far as amcheck can tell (it skips where there
# is none). Adds that extension to the database.
sub storage_ok
{
	my ($node, $database, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
  SKIP:
	{
		skip 'amcheck is not installed', 1
		  if $node->safe_psql($database,
			"SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'") == 0;
		return is($node->safe_psql($database, <<'SQL'), '', "$name: tables and indexes are sound");
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS amcheck;
SELECT c.oid::regclass || ': ' || h.msg FROM pg_class AS c, verify_heapam(c.oid) AS h
  WHERE c.relnamespace = 'bank'::regnamespace AND c.relkind = 'r';
SELECT bt_index_check(c.oid::regclass, true) FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam
  WHERE c.relnamespace = 'bank'::regnamespace AND c.relkind = 'i' AND a.amname = 'btree' \g /dev/null
SQL
	}
	return;
}

# A test: all invariants hold, and bank_verify() agrees. Argument schema as for create_ledger.
sub ledger_ok
{
	my ($node, $database, $name, $schema) = @_;
	my $sql = $invariants;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$schema //= 'public';
	$sql =~ s/\@schema\@/$schema/g;
	return is($node->safe_psql($database, $sql), '', "$name: invariants hold");
}

1;
