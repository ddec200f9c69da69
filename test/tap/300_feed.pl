# The feed: every committed event once per cursor, those of an account in the order of its versions,
# whatever their transactions do: overlap, commit late, roll back, are prepared, write beside each other
# by the thousands. And what it refuses: cursors that are none, bounds, forged transaction ids.
#
# The load lasts 0.6 * BANKING_TEST_SECONDS (default 10).

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Feed;
use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = ledger_node(
	'feed',
	conf => "shared_preload_libraries = 'banking'\nbanking.allow_private_endpoints = on\n"
	  . "deadlock_timeout = 50ms\n");
create_ledger($node, 'ledger');
add_functions($node, 'ledger');

# Before there is anything.
my $empty = feed_cursor($node, 'ledger');
is(join(' ', feed_page($node, 'ledger', undef, 10)), '', 'no events, no rows');
is((feed_page($node, 'ledger', $empty, 10))[0], $empty, 'nor after a cursor');
open_accounts($node, 'ledger', 1, 20, '1000.00 HTG');
my (undef, @first) = feed_rest($node, 'ledger', $empty, 7);
feed_ok($node, 'ledger', 'after a cursor of the empty ledger', \@first);

# What a row says is what bank_events says.
is( $node->safe_psql(
		'ledger', q{
SELECT count(*), count(*) FILTER (WHERE
  (f.event_id, f.aggregate_id, f.version, f.peer_id, f.peer_version, f.event_type, f.event_data, f.metadata,
   f.occurred_at, f.recorded_at) IS NOT DISTINCT FROM
  (e.event_id, e.aggregate_id, e.version, e.peer_id, e.peer_version, e.event_type, e.event_data, e.metadata,
   e.occurred_at, e.recorded_at))
FROM bank_feed(max_events => 10000) AS f JOIN bank_events AS e ON e.position = f.position}),
	join('|', (scalar positions($node, 'ledger')) x 2),
	'rows are those of bank_events');

# A session that writes, and the positions it has written.
sub session
{
	return $node->background_psql('ledger');
}

sub deposit
{
	my ($account) = @_;
	return "SELECT position FROM bank_deposit(account($account), '1.00 HTG')";
}

sub withdrawal
{
	my ($account) = @_;
	return "SELECT position FROM bank_withdraw(account($account), '1.00 HTG')";
}

sub committed
{
	my ($account) = @_;
	return $node->safe_psql('ledger', deposit($account));
}

# Every session opens a stripe of the house account at its first deposit: do that now, so that events below
# are those that are named there.
{
	my @sessions = map { session() } 1 .. 12;

	$_->query_safe(deposit(16)) foreach @sessions;
	$_->quit foreach @sessions;
}

# T1 debits A and so has its transaction id, T2 credits B and commits, T1 credits B and commits. By
# transaction ids T1 comes first, by versions T2's event of B does. Read by one who has looked in
# between, and by one who has not; with T1's first event of another account, and of the same.
foreach my $way ('after all', 'in between')
{
	my $cursor = feed_cursor($node, 'ledger');
	my ($t1, $t2) = (session(), session());
	my (@expected, @read, @page);

	$t1->query_safe('BEGIN');
	push @expected, $t1->query_safe(withdrawal(1));
	$t2->query_safe('BEGIN');
	push @expected, $t2->query_safe(deposit(2));
	$t2->query_safe('COMMIT');
	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 1) if $way eq 'in between';
	is("@read", $expected[1], "T1, T2, T1, $way: T2's is read while T1 runs") if $way eq 'in between';
	push @expected, $t1->query_safe(deposit(2));
	$t1->query_safe('COMMIT');
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 1);
	push @read, @page;
	feed_ok($node, 'ledger', "T1, T2, T1, $way", \@read, \@expected);
	cmp_ok(
		$node->safe_psql('ledger', "SELECT transaction_id FROM bank.events WHERE position = $expected[0]"),
		'<',
		$node->safe_psql('ledger', "SELECT transaction_id FROM bank.events WHERE position = $expected[1]"),
		"T1, T2, T1, $way: transaction ids have the other order");
	$_->quit foreach $t1, $t2;
}

# Transactions with early positions stay open while many others commit; nobody waits for them, and they
# come when they have committed, the last one first.
{
	my ($cursor, $whole) = (feed_cursor($node, 'ledger')) x 2;
	my @open = map { session() } 1 .. 3;
	my (@early, @read, @page);

	foreach my $i (0 .. 2)
	{
		$open[$i]->query_safe('BEGIN');
		push @early, $open[$i]->query_safe(deposit($i + 1));
	}
	my $before = last_position($node, 'ledger');
	$node->safe_psql('ledger', deposit(4 + $_ % 10)) foreach 1 .. 10;
	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 3);
	is(scalar @read, 10, 'nothing waits for an open transaction');
	$node->safe_psql('ledger', join(";\n", map { deposit(4 + $_ % 10) } 1 .. 200));
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 1000);
	push @read, @page;
	is(scalar @page, 200, 'nor do 200 more commits');
	foreach my $i (2, 1, 0)
	{
		$open[$i]->query_safe('COMMIT');
		committed(15);
		($cursor, @page) = feed_rest($node, 'ledger', $cursor, 1000);
		push @read, @page;
		is($page[0], $early[$i], 'one that commits late comes then, before later positions');
		is(scalar @page, 2, 'and nothing else comes again');
	}
	my @all = positions($node, 'ledger', "position >= $early[0]");
	feed_ok($node, 'ledger', 'late commits', \@read, \@all);
	(undef, @page) = feed_rest($node, 'ledger', $whole, 10000);
	feed_ok($node, 'ledger', 'late commits, all at once', \@page, \@all);
	$_->quit foreach @open;
}

# Somebody writes in another database, and idles in the transaction: of no concern here.
{
	my $other = $node->background_psql('postgres');
	my $cursor = feed_cursor($node, 'ledger');

	$other->query_safe('BEGIN');
	$other->query_safe('CREATE TABLE nothing ()');
	my @expected = map { committed($_) } 1 .. 3;
	my @read;
	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 2);
	feed_ok($node, 'ledger', 'a writer idles in another database', \@read, \@expected);
	$other->query_safe('ROLLBACK');
	is((feed_rest($node, 'ledger', $cursor, 2))[1], undef, 'nor when it has ended');
	$other->quit;
}

# Prepared transactions: they are seen when they are committed, also after a restart (after which a session
# may open a stripe of the house account, as a prepared transaction has locked its own).
{
	my ($cursor, $before) = (feed_cursor($node, 'ledger')) x 2;
	my $base = last_position($node, 'ledger');
	my ($kept, $other) = map {
		$node->safe_psql('ledger', "BEGIN;\n" . deposit($_) . ";\nPREPARE TRANSACTION 'prepared $_'")
	} 1, 2;
	my @others = map { committed($_) } 3, 4;
	my (@read, @page);

	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 1);
	is("@read", "@others", 'prepared transactions hold nothing up, nor are they seen');
	$node->restart;
	push @others, committed(5);
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 1);
	is($page[-1], $others[2], 'after a restart neither');
	is(scalar(grep { $_ == $kept || $_ == $other } @page), 0, 'nor are they seen then');
	push @read, @page;
	$node->safe_psql('ledger', "ROLLBACK PREPARED 'prepared 2'");
	is((feed_rest($node, 'ledger', $cursor, 1))[1], undef, 'one that is rolled back is never seen');
	$node->safe_psql('ledger', "COMMIT PREPARED 'prepared 1'");
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 1);
	is("@page", $kept, 'one that is committed is seen then');
	push @read, @page;
	my @all = positions($node, 'ledger', "position > $base");
	feed_ok($node, 'ledger', 'prepared transactions', \@read, \@all);
	(undef, @page) = feed_rest($node, 'ledger', $before, 1000);
	feed_ok($node, 'ledger', 'prepared transactions, all at once', \@page, \@all);
}

# Savepoints: what has been rolled back to, and what has not; so many of them that snapshots
# overflow; and exceptions in PL/pgSQL.
{
	my $cursor = feed_cursor($node, 'ledger');
	my $writer = session();
	my (@expected, @read, @page);

	$writer->query_safe('BEGIN');
	push @expected, $writer->query_safe(deposit(1));
	foreach my $i (1 .. 100)
	{
		$writer->query_safe("SAVEPOINT s$i");
		my $position = $writer->query_safe(deposit(1 + $i % 3));
		if ($i % 4 == 0)
		{
			$writer->query_safe("ROLLBACK TO SAVEPOINT s$i");
			next;
		}
		push @expected, $position;
		$writer->query_safe("RELEASE SAVEPOINT s$i") if $i % 4 == 1;
	}
	$writer->query_safe(<<'SQL');
DO $$ BEGIN
  PERFORM bank_deposit(account(3), '1.00 HTG');
  RAISE EXCEPTION 'no';
EXCEPTION WHEN OTHERS THEN
  NULL;
END $$
SQL
	my @others = map { committed($_) } 4 .. 6;
	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 2);
	is("@read", "@others", 'an open transaction with 100 savepoints is not seen');
	$writer->query_safe('COMMIT');
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 11);
	feed_ok($node, 'ledger', 'savepoints', \@page, \@expected);
	$writer->query_safe('BEGIN');
	$writer->query_safe(deposit(1));
	$writer->query_safe('ROLLBACK');
	is((feed_rest($node, 'ledger', $cursor, 11))[1], undef, 'a position that was rolled back is not missed');
	push @page, committed(1);
	is((feed_rest($node, 'ledger', $cursor, 11))[1], $page[-1], 'what comes after it is seen');
	$writer->quit;
}

# One's own events are there once they are committed, for cursors from before, and from within.
{
	my $cursor = feed_cursor($node, 'ledger');
	my $writer = session();
	my (@own, @page, $within);

	$writer->query_safe('BEGIN');
	push @own, $writer->query_safe(deposit(1));
	is((feed_page($writer, 'ledger', $cursor, 10))[1], undef, 'own events are not there before the commit');
	$within = $writer->query_safe('SELECT bank_feed_cursor()');
	$writer->query_safe('SAVEPOINT s');
	push @own, $writer->query_safe(deposit(2));
	my $other = committed(3);
	(my $next, @page) = feed_page($writer, 'ledger', $cursor, 10);
	is("@page", $other, 'those of others are');
	push @own, $writer->query_safe(deposit(3));
	$writer->query_safe('COMMIT');
	(undef, @page) = feed_rest($writer, 'ledger', $next, 2);
	feed_ok($node, 'ledger', 'own events, read after the commit', [ $other, @page ], [ @own, $other ]);
	(undef, @page) = feed_rest($writer, 'ledger', $within, 2);
	feed_ok($node, 'ledger', 'own events, after a cursor from within the transaction', \@page,
		[ @own, $other ]);
	$writer->quit;
}

# A reader in REPEATABLE READ reads what its snapshot sees, and goes on after it.
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $cursor = feed_cursor($node, 'ledger');
	my $reader = session();
	my @expected = committed(1);
	my (@read, @page);

	$reader->query_safe("BEGIN ISOLATION LEVEL $level");
	($cursor, @read) = feed_rest($reader, 'ledger', $cursor, 10);
	is("@read", "@expected", "$level: what was committed before");
	push @expected, committed(2);
	is((feed_page($reader, 'ledger', $cursor, 10))[1], undef, "$level: nothing that was committed since");
	my $now = $reader->query_safe('SELECT bank_feed_cursor()');
	$reader->query_safe('COMMIT');
	push @expected, committed(1);
	($cursor, @page) = feed_rest($reader, 'ledger', $cursor, 10);
	feed_ok($node, 'ledger', "$level: afterwards", [ @read, @page ], \@expected);
	(undef, @page) = feed_rest($reader, 'ledger', $now, 10);
	feed_ok($node, 'ledger', "$level: a cursor of then has not seen it either", \@page, [ @expected[ 1, 2 ] ]);
	$reader->quit;
}

# A cursor that has seen more than the reader's snapshot does, in the middle of a batch: the reader must
# not take what it does not see for read.
{
	my ($cursor, @read) = (feed_cursor($node, 'ledger'));
	my ($reader, @open) = map { session() } 1 .. 3;
	my (@expected, @page);

	foreach my $i (0, 1)
	{
		$open[$i]->query_safe('BEGIN');
		push @expected, $open[$i]->query_safe(deposit($i + 1));
	}
	push @expected, committed(3);
	$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
	is($reader->query_safe('SELECT max(position) FROM bank.events'), $expected[2], 'an old snapshot');
	$_->query_safe('COMMIT') foreach @open;
	($cursor, @read) = feed_page($node, 'ledger', $cursor, 1);
	is("@read", $expected[0], 'a new one reads the first event');
	($cursor, @page) = feed_page($reader, 'ledger', $cursor, 10);
	push @read, @page;
	$reader->query_safe('COMMIT');
	($cursor, @page) = feed_rest($reader, 'ledger', $cursor, 10);
	feed_ok($node, 'ledger', 'a snapshot older than the cursor', [ @read, @page ], \@expected);
	$_->quit foreach $reader, @open;
}

# After a position: everything above it, and what is not committed yet, whatever its position.
{
	my $writer = session();
	$writer->query_safe('BEGIN');
	my $early = $writer->query_safe(deposit(1));
	my @expected = map { committed($_) } 2 .. 4;
	my $cursor = feed_cursor($node, 'ledger', $expected[0]);
	my @read;

	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 1);
	is("@read", "@expected[1, 2]", 'after a position');
	$writer->query_safe('COMMIT');
	is((feed_rest($node, 'ledger', $cursor, 1))[1], $early, 'and what has been committed since');
	is((feed_rest($node, 'ledger', feed_cursor($node, 'ledger', 1 << 40), 1))[1],
		undef, 'after a position that is yet to come');
	(undef, @read) = feed_rest($node, 'ledger', feed_cursor($node, 'ledger', 0), 100);
	feed_ok($node, 'ledger', 'after position 0', \@read);
	$writer->quit;
}

# Many writers with all they can do; consumers that keep cursor and events in one transaction, of
# all page sizes and isolation levels; and before them a batch so large that it is not sorted in memory.
add_consumers($node, 'ledger');
$node->safe_psql('ledger', <<'SQL');
CREATE FUNCTION post(n integer) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM bank_post_transfers(
    ARRAY(SELECT account(1 + i % 20) FROM generate_series(1, n) AS i),
    ARRAY(SELECT account(1 + (i + 1 + i / 20 % 19) % 20) FROM generate_series(1, n) AS i),
    array_fill('0.01 HTG'::bank_money, ARRAY[n]))
$$;
SQL
my @writes = (
	<<'SQL',
\set a random(1, 20)
\set b 1 + (:a + random(0, 18)) % 20
SELECT bank_transfer(account(:a), account(:b), '0.01 HTG');
SQL
	<<'SQL',
\set a random(1, 19)
\set b random(:a + 1, 20)
\set end random(1, 3)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG');
SAVEPOINT s;
SELECT bank_deposit(account(:b), '0.02 HTG');
ROLLBACK TO SAVEPOINT s;
SAVEPOINT s;
SELECT bank_withdraw(account(:b), '0.01 HTG');
RELEASE SAVEPOINT s;
\if :end = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
	<<'SQL',
\set a random(1, 10)
\set b random(11, 20)
\set ms random(1, 40)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG', house_account => 'fees');
SELECT pg_sleep(:ms / 1000.0);
SELECT bank_deposit(account(:b), '0.01 HTG', house_account => 'fees');
COMMIT;
SQL
	<<'SQL',
SELECT post(20);
SQL
	<<'SQL',
\set a random(1, 20)
SELECT attempt(format('SELECT bank_withdraw(%L, %L)', account(:a), '1000000.00 HTG'));
SQL
);
my $prepared = <<'SQL';
\set a random(1, 20)
\set end random(1, 2)
BEGIN;
SELECT bank_deposit(account(:a), '0.01 HTG', house_account => 'external');
PREPARE TRANSACTION 'load :client_id';
\if :end = 1
COMMIT PREPARED 'load :client_id';
\else
ROLLBACK PREPARED 'load :client_id';
\endif
SQL
my $consume = <<'SQL';
\set size random(1, 10000)
\set size case when :client_id = 0 then 1 when :client_id = 1 then 7 when :client_id = 2 then 1000 when :client_id = 3 then 10000 else :size end
\if :client_id >= 6
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT consume(:client_id, :size);
SELECT consume(:client_id, :size);
COMMIT;
\else
SELECT consume(:client_id, :size);
\endif
SQL
{
	my $before = last_position($node, 'ledger');
	$node->safe_psql('ledger',
		'INSERT INTO consumers SELECT i, bank_feed_cursor() FROM generate_series(0, 7) AS i;'
		  . 'INSERT INTO consumers VALUES (8, NULL), (9, bank_feed_cursor(0))');
	my @ends = (
		start_pgbench($node, 'ledger', clients => 4, scripts => [ @writes, $prepared ]),
		start_pgbench($node, 'ledger', clients => 4, scripts => \@writes, isolation => 'serializable',
			tries => 1000));
	$node->safe_psql('ledger', 'SELECT post(6000)');
	my $backlog = last_position($node, 'ledger');
	my %consumers = pgbench($node, 'ledger', clients => 8, seconds => int(0.6 * test_seconds()) || 1,
		scripts => [$consume]);
	is("$consumers{status} $consumers{stderr}", '0 ', 'consumers read while others write');
	$_->() foreach @ends;

	# what was read while they wrote
	$node->poll_query_until('ledger', 'SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = $$pgbench$$')
	  or die 'pgbench does not end';
	$node->safe_psql('ledger', "ROLLBACK PREPARED '$_'")
	  foreach split(/\n/, $node->safe_psql('ledger', 'SELECT gid FROM pg_prepared_xacts'));
	cmp_ok(
		$node->safe_psql('ledger', "SELECT count(*) FROM consumed WHERE consumer = 4 AND position > $backlog"),
		'>', 100, 'they have read more than there was before');
	cmp_ok($backlog - $before, '>', 4096 + 1000, 'which was more than is sorted in memory');
	cmp_ok(
		$node->safe_psql('ledger',
			'SELECT count(*) FROM (SELECT position, lag(position) OVER (ORDER BY n) FROM consumed
			  WHERE consumer = 4) AS c WHERE position < lag'),
		'>', 0, 'some events came later than higher positions');

	# the rest
	foreach my $consumer (0 .. 9)
	{
		1 while $node->safe_psql('ledger', "SELECT consume($consumer, 10000)") > 0;
	}
	my @all = positions($node, 'ledger', "position > $before");
	$node->safe_psql('ledger', "DELETE FROM consumed WHERE consumer >= 8 AND position <= $before");
	consumers_ok($node, 'ledger', 'under load', \@all);
	ledger_ok($node, 'ledger', 'under load');
}

# A large batch that begins with a late commit far behind, page by page.
{
	my $cursor = feed_cursor($node, 'ledger');
	my $late = session();
	my (@read, @page);

	$late->query_safe('BEGIN');
	my $early = $late->query_safe(deposit(1));
	committed(2) foreach 1 .. 3;
	($cursor, @read) = feed_rest($node, 'ledger', $cursor, 100);
	$late->query_safe('COMMIT');
	$node->safe_psql('ledger', 'SELECT post(5000)');
	($cursor, @page) = feed_page($node, 'ledger', $cursor, 1);
	is("@page", $early, 'a large batch begins with what has committed late');
	push @read, @page;
	foreach my $size (1, 7, 3)
	{
		foreach (1 .. 10)
		{
			($cursor, @page) = feed_page($node, 'ledger', $cursor, $size);
			is(scalar @page, $size, "a full page of $size") if $_ == 1;
			push @read, @page;
		}
	}
	($cursor, @page) = feed_rest($node, 'ledger', $cursor, 10000);
	feed_ok($node, 'ledger', 'a large batch with a late commit',
		[ @read, @page ], [ positions($node, 'ledger', "position >= $early") ]);
	$late->quit;
}

# What is no cursor.
create_ledger($node, 'other');
open_accounts($node, 'other', 1, 3, '1.00 HTG');
my $good = (feed_page($node, 'ledger', feed_cursor($node, 'ledger', 5), 3))[0];
like($good, qr{^1/-/\d+\@\d+:\d+:[\d,]*/\d+$}, 'a cursor looks as the cases below expect');
my $middle = (feed_page($node, 'ledger', $empty, 3))[0];
like($middle, qr{^1/\d+\@[\d:,]*/\d+\@[\d:,]*/\d+$}, 'another one');
my ($incarnation) = $good =~ m{/(\d+)\@};
foreach my $case (
	[ '', 'nothing' ],
	[ 'garbage', 'garbage' ],
	[ ' ' . $good, 'a space before' ],
	[ "$good ", 'a space behind' ],
	[ "$good/", 'a slash behind' ],
	[ $good =~ s/^1/2/r, 'another format' ],
	[ $good =~ s/\d+$/-1/r, 'a negative position' ],
	[ $good =~ s/\d+$/99999999999999999999/r, 'a position too large' ],
	[ $good =~ s/\d+$/1.5/r, 'a position with a point' ],
	[ $good =~ s/\@/:/r, 'no incarnation' ],
	[ "1/-/-/5", 'no snapshot at all' ],
	[ "1/-/$incarnation\@9:5:/5", 'xmin after xmax' ],
	[ "1/-/$incarnation\@0:5:/5", 'xmin 0' ],
	[ "1/-/$incarnation\@5:9:7,6/5", 'running transactions out of order' ],
	[ "1/-/$incarnation\@5:9:6,6/5", 'the same twice' ],
	[ "1/-/$incarnation\@5:9:4/5", 'running before xmin' ],
	[ "1/-/$incarnation\@5:9:9/5", 'running from xmax on' ],
	[ "1/-/$incarnation\@5:9:6,/5", 'a comma behind' ],
	[ "1/-/$incarnation\@5:9:6;7/5", 'a semicolon' ],
	[ "1/-/$incarnation\@5:/5", 'half a snapshot' ],
	[ "1/-/$incarnation\@5:99999999999999999999999:/5", 'a transaction id too large' ],
	[ "1/-/$incarnation\@-5:9:/5", 'a negative transaction id' ],
	[ "1/-/$incarnation\@0x5:9:/5", 'hexadecimal' ],
	[ '10:20:10,14,15', 'a pg_snapshot' ],
	[ "1/$good", 'one in the other' ],
	[ $good x 2, 'two' ],
	[ '1/-/' . ($incarnation % 1000000 + 1) . '@5:9:/5', 'an incarnation that is none of ours' ],
	[ feed_cursor($node, 'other'), 'one of another ledger' ],
	[ (feed_page($node, 'other', undef, 2))[0], 'one of another ledger with a position' ],
	[ '1/-/' . ('9' x 100000), 'a long one' ])
{
	my ($cursor, $name) = @$case;

	is(outcome($node, 'ledger', "SELECT * FROM bank_feed('$cursor')"), 'BK029', "no cursor: $name");
}
foreach my $cursor ($good, $middle)
{
	my ($start) = $cursor =~ m{^(.*/)\d+$};
	my $accepted = $node->safe_psql('ledger', <<"SQL");
CREATE OR REPLACE FUNCTION pg_temp.accepts(cursor text) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
  PERFORM * FROM bank_feed(cursor, 1);
  RETURN true;
EXCEPTION WHEN SQLSTATE 'BK029' THEN
  RETURN false;
END \$\$;
SELECT string_agg(n::text, ' ') FROM generate_series(0, length('$start')) AS n
  WHERE pg_temp.accepts(left('$start', n));
SQL
	is($accepted, '', 'a cursor without its end is none, wherever it is cut');
}

# Bounds, rights.
foreach my $max (0, -1, 10001, 2147483647, 'NULL')
{
	is(outcome($node, 'ledger', "SELECT * FROM bank_feed(NULL, $max)"), '22023', "max_events $max");
	is(outcome($node, 'ledger', "SELECT * FROM bank_feed('garbage', $max)"), '22023', "max_events $max first");
}
foreach my $max (1, 10000)
{
	is($node->safe_psql('ledger', "SELECT count(*) FROM bank_feed(NULL, $max)"), $max, "max_events $max");
}
is(outcome($node, 'ledger', 'SELECT bank_feed_cursor(-1)'), '22023', 'a cursor after a negative position');
is(outcome($node, 'ledger', 'BEGIN READ ONLY; SELECT count(*) FROM bank_feed(bank_feed_cursor(0))'),
	'ok', 'in a read-only transaction');
$node->safe_psql('ledger', 'CREATE ROLE reader');
foreach my $call ('bank_feed()', 'bank_feed_cursor()', 'bank.feed(NULL, 1)', 'bank.feed_cursor(NULL)')
{
	is(outcome($node, 'ledger', "SET ROLE reader; SELECT * FROM $call"), '42501', "not for everybody: $call");
}
$node->safe_psql('ledger', 'GRANT EXECUTE ON FUNCTION bank_feed(text, integer), bank_feed_cursor(bigint) TO reader');
is( answer($node, 'ledger', "SET ROLE reader; SET search_path = ''; SELECT count(*) FROM public.bank_feed(public.bank_feed_cursor(0), 5)"),
	5, 'for who may, without any right on tables');

# Events written by hand with a transaction id that is not the writer's.
my $forged = <<'SQL';
INSERT INTO bank.events (version, balance, transaction_id, event_id, aggregate_id, event_type, currency)
SELECT a.version + 1, a.credits - a.debits, %s, gen_random_uuid(), a.account_id, 'account.frozen', a.currency
FROM bank.accounts AS a WHERE a.account_id = account(20)
SQL
is(outcome($node, 'ledger', 'BEGIN; ' . sprintf($forged, 'pg_current_xact_id()') . '; ROLLBACK'),
	'ok', 'an event written by hand, by the rules');
foreach my $id ("'3'", "'1'", "'0'", "(pg_current_xact_id()::text::bigint + 1)::text::xid8", "'18446744073709551615'")
{
	is(outcome($node, 'ledger', 'BEGIN; SELECT pg_current_xact_id(); ' . sprintf($forged, $id)),
		'BK020', "with transaction_id $id");
}
is(outcome($node, 'ledger', 'BEGIN; SAVEPOINT s; ' . sprintf($forged, "'3'")), 'BK020', 'nor in a subtransaction');
is( answer(
		$node, 'ledger',
		"BEGIN; SET session_replication_role = replica; "
		  . sprintf($forged, "'3'")
		  . ' RETURNING transaction_id = pg_current_xact_id(); ROLLBACK'
	),
	't',
	'a replica writes its own in its place');
ledger_ok($node, 'ledger', 'in the end');

$node->stop;
done_testing();
