# Feed.pm
#
# What tests of the feed share: reading it from SQL, page by page, and the proof that what was read is
# what has been committed, each event once, those of every account in the order of its versions.
#
# The proof compares with bank.events itself, so it trusts nothing of the feed.

package Feed;

use strict;
use warnings;

use Exporter 'import';
use Ledger;
use PostgreSQL::Test::Cluster;
use Test::More;

our @EXPORT = qw(
  add_consumers consumers_ok feed_cursor feed_ok feed_page feed_rest last_position positions
);

# A cursor of now, or after a position.
sub feed_cursor
{
	my ($node, $database, $position) = @_;
	return $node->safe_psql($database, 'SELECT bank_feed_cursor(' . ($position // '') . ')');
}

# The SQL of a page after a cursor (undef: from the beginning).
sub page_query
{
	my ($cursor, $max) = @_;
	my $from = defined $cursor ? "'$cursor'" : 'NULL';

	return "SELECT position, cursor FROM bank_feed($from, $max)";
}

# One page after a cursor: the cursor to go on with, and the positions. "Where" is a node, or a session
# of background_psql() of the database.
sub feed_page
{
	my ($where, $database, $cursor, $max) = @_;
	my $query = page_query($cursor, $max // 1000);
	my $rows = $where->can('safe_psql') ? $where->safe_psql($database, $query) : $where->query_safe($query);
	my @rows = map { [ split(/\|/) ] } split(/\n/, $rows);

	return (@rows ? $rows[-1][1] : $cursor, map { $_->[0] } @rows);
}

# All pages after a cursor until one is empty: the last cursor, and the positions.
sub feed_rest
{
	my ($where, $database, $cursor, $max) = @_;
	my @read;

	while (1)
	{
		my @page;

		($cursor, @page) = feed_page($where, $database, $cursor, $max);
		last unless @page;
		push @read, @page;
	}
	return ($cursor, @read);
}

# Positions of committed events, in their order; the condition is about bank.events.
sub positions
{
	my ($node, $database, $condition) = @_;
	$condition //= 'true';

	return split(/\n/,
		$node->safe_psql($database, "SELECT position FROM bank.events WHERE $condition ORDER BY position"));
}

sub last_position
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, 'SELECT COALESCE(max(position), 0) FROM bank.events');
}

# Up to five of a list, for a message.
sub some
{
	my (@list) = @_;
	my $n = @list;

	return $n > 5 ? "@list[0 .. 4] ... ($n)" : "@list";
}

# Which accounts met their events in another order than that of their versions, as text.
sub wrong_order
{
	my ($node, $database, @read) = @_;
	my %event = map { $_->[0] => $_ } query_rows($node, $database,
		'SELECT position, aggregate_id, version, peer_id, peer_version FROM bank.events');
	my (%last, %wrong);

	foreach my $position (@read)
	{
		my (undef, @sides) = @{ $event{$position} // next };

		while (my ($account, $version) = splice(@sides, 0, 2))
		{
			next if $account eq '';
			$wrong{"$account: $version after $last{$account}"} = 1
			  if exists $last{$account} && $version <= $last{$account};
			$last{$account} = $version;
		}
	}
	return sort keys %wrong;
}

# A test: what was read (a reference to a list of positions) is what it should be (another; by default
# every committed event), each once, and no account's events were read in a wrong order.
sub feed_ok
{
	my ($node, $database, $name, $read, $expected) = @_;
	my %read;
	my %expected = map { $_ => 1 } $expected ? @$expected : positions($node, $database);
	my @problems;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$read{$_}++ foreach @$read;
	my %lists = (
		lost => [ grep { !$read{$_} } sort { $a <=> $b } keys %expected ],
		twice => [ grep { $read{$_} > 1 } sort { $a <=> $b } keys %read ],
		'not asked for' => [ grep { !$expected{$_} } sort { $a <=> $b } keys %read ],
		'wrong order' => [ wrong_order($node, $database, @$read) ]);
	foreach my $what (sort keys %lists)
	{
		push @problems, "$what: " . some(@{ $lists{$what} }) if @{ $lists{$what} };
	}
	return is(join("\n", @problems), '', "$name: each once, in the order of versions");
}

# Give a database consumers that keep what they have read and their cursors in tables, in one
# transaction: table consumers, table consumed, and consume(consumer, size), which reads one page
# and returns how many events it had. A consumer begins where it is inserted, or at the beginning.
sub add_consumers
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'SQL');
CREATE TABLE consumers (consumer integer PRIMARY KEY, cursor text);
CREATE TABLE consumed (consumer integer NOT NULL, n bigserial, position bigint NOT NULL);

CREATE FUNCTION consume(consumer integer, size integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  place text;
  events bigint;
BEGIN
  SELECT c.cursor INTO STRICT place FROM consumers AS c WHERE c.consumer = consume.consumer FOR UPDATE;
  WITH page AS MATERIALIZED (
    SELECT * FROM bank_feed(place, size) WITH ORDINALITY AS f
      (cursor, position, event_id, aggregate_id, version, peer_id, peer_version, event_type, event_data,
       metadata, occurred_at, recorded_at, n)
  ), kept AS (
    INSERT INTO consumed (consumer, position)
      SELECT consume.consumer, p.position FROM page AS p ORDER BY p.n
  )
  SELECT (array_agg(p.cursor ORDER BY p.n DESC))[1], count(*) INTO place, events FROM page AS p;
  UPDATE consumers AS c SET cursor = place WHERE c.consumer = consume.consumer AND events > 0;
  RETURN events;
END
$$;
SQL
	return;
}

# A test for each consumer, see feed_ok.
sub consumers_ok
{
	my ($node, $database, $name, $expected) = @_;
	my %read;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	push @{ $read{ $_->[0] } }, $_->[1]
	  foreach query_rows($node, $database, 'SELECT consumer, position FROM consumed ORDER BY n');
	foreach my $consumer (split(/\n/, $node->safe_psql($database, 'SELECT consumer FROM consumers ORDER BY 1')))
	{
		feed_ok($node, $database, "$name, consumer $consumer", $read{$consumer} // [], $expected);
	}
	return;
}

1;
