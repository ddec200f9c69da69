/*
 * feed.c
 *		Reads the feed: every committed event once per cursor, those of a stream in the
 *		order of its versions, whenever they commit.
 *
 * Two snapshots make a batch: what the second sees and the first did not, in the order
 * of positions. An event that another one of its stream waited for was
 * committed before that one took its position, so whoever sees the later one sees the
 * earlier one: it is in the same batch, before it, or in one before. No event is skipped,
 * since each is unseen until some snapshot sees it, and nothing waits for a
 * transaction that runs long: it stays among those that the first snapshot names.
 *
 * A batch is found by index: rows of transactions that the first snapshot names as
 * running, and rows of transactions from its xmax on. A large one is read page
 * by page in the order of positions instead.
 *
 * Transaction ids are compared within one incarnation of the ledger (sql/feed.sql).
 * Rows that were loaded from a dump count for the present one as written by the
 * transaction that loaded them.
 *
 * With asynchronous commits an event can be seen before its commit is on disk. Before an event
 * is told to anybody bank_feed_flush_events() sees to that. A cursor that leaves the server
 * needs more (bank_feed_flush_all): after a crash the ids of transactions of which no WAL was
 * written are given again, and it would take them for seen.
 *
 * Locks: ACCESS SHARE on bank.events. Runs under the active snapshot; writes
 * nothing, also on standbys. Memory: the caller's context.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/store/feed.h"
#include "adapters/store/store.h"
#include "adapters/store/tables.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include <inttypes.h>

/* A batch of up to this many events is sorted in memory. */
#define BANK_FEED_SORTED 4096

/* The first part of a cursor's text: its format. */
#define BANK_FEED_FORMAT "1"

/* The latest commit, of an event that was read, that may not be on disk yet. */
static XLogRecPtr bank_feed_unflushed = InvalidXLogRecPtr;

/* What a point has seen, in numbers to compare a row with. */
typedef struct BankFeedBound
{
	int64		low;			/* up to here rows were loaded from a dump, */
	uint64		loaded_by;		/* by this transaction, */
	bool		low_seen;		/* which the snapshot has seen or not */
	int64		high;			/* rows after this belong to a later incarnation */
	const BankSnapshot *snapshot;
	bool		present;		/* is it of the present incarnation? */
} BankFeedBound;

/* Has this row been seen? */
static bool
bank_feed_seen(const BankFeedBound *bound, int64 position, uint64 xid)
{
	if (bound->snapshot == NULL || position > bound->high)
		return false;
	if (position <= bound->low)
		return bound->low_seen;
	return bank_snapshot_sees(bound->snapshot, xid);
}

/* The number of the present incarnation. */
static int64
bank_feed_incarnation(void)
{
	static BankPlan plan = {.text = "SELECT last_value FROM bank.incarnation"};
	bool		isnull;
	int64		incarnation;

	bank_plan_execute(&plan, NULL, NULL, true);
	incarnation = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											  &isnull));
	SPI_freetuptable(SPI_tuptable);
	return incarnation;
}

/*
 * Where the rows of an incarnation lie: low, high, and which transaction loaded those before.
 * False: the ledger has not had it.
 */
static bool
bank_feed_resolve(const BankFeedPoint *point, int64 present, BankFeedBound *bound)
{
	static BankPlan plan = {
		.text = "SELECT i.after_position, i.loaded_by, "
		"(SELECT pg_catalog.min(l.after_position) FROM bank.incarnations AS l "
		"WHERE l.after_position OPERATOR(pg_catalog.>) i.after_position "
		"OR (l.after_position OPERATOR(pg_catalog.=) i.after_position "
		"AND l.begun_at OPERATOR(pg_catalog.>) i.begun_at)) "
		"FROM bank.incarnations AS i WHERE i.incarnation OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		arguments[1];
	Datum		values[3];
	bool		nulls[3];

	bound->snapshot = point->snapshot;
	bound->present = point->incarnation == present;
	bound->low = 0;
	bound->loaded_by = 0;
	bound->low_seen = true;
	bound->high = PG_INT64_MAX;
	if (point->snapshot == NULL)
		return true;
	arguments[0] = Int64GetDatum(point->incarnation);
	if (bank_plan_execute(&plan, arguments, NULL, true) == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	SPI_freetuptable(SPI_tuptable);
	bound->low = DatumGetInt64(values[0]);
	if (!nulls[1])
	{
		bound->loaded_by = U64FromFullTransactionId(DatumGetFullTransactionId(values[1]));
		bound->low_seen = bank_snapshot_sees(point->snapshot, bound->loaded_by);
	}
	if (!bound->present)
		bound->high = nulls[2] ? 0 : DatumGetInt64(values[2]);	/* null: it had no events */
	return true;
}

/* What the batch of a cursor is compared with; false: a point of another ledger. BK029. */
static bool
bank_feed_bounds(const BankFeedCursor *cursor, int64 present, BankFeedBound *before,
				 BankFeedBound *until, BankError *error)
{
	if (bank_feed_resolve(&cursor->before, present, before) &&
		bank_feed_resolve(&cursor->until, present, until))
		return true;
	bank_error_set(error, BANK_INVALID_CURSOR, "The cursor belongs to another ledger.");
	return bank_error_hint(error, "Take a new one from bank_feed_cursor().");
}

/* One scan over bank.events by an index. */
typedef struct BankFeedScan
{
	Relation	events;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} BankFeedScan;

/* Open the table and an index of it by name. */
static void
bank_feed_open(BankFeedScan *scan, const char *index, int nkeys)
{
	Oid			schema = get_namespace_oid("bank", false);

	scan->events = table_open(get_relname_relid("events", schema), AccessShareLock);
	scan->index = index_open(get_relname_relid(index, schema), AccessShareLock);
	scan->slot = table_slot_create(scan->events, NULL);
	scan->scan = bank_index_beginscan(scan->events, scan->index, GetActiveSnapshot(), nkeys);
}

/* The next row's position and transaction; false: there is none. */
static bool
bank_feed_next(BankFeedScan *scan, int64 *position, uint64 *xid)
{
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	if (!index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot))
		return false;
	*position = DatumGetInt64(slot_getattr(scan->slot, Anum_event_position, &isnull));
	*xid = U64FromFullTransactionId(
		DatumGetFullTransactionId(slot_getattr(scan->slot, Anum_event_transaction_id, &isnull)));
	return true;
}

/* Close what bank_feed_open opened; the locks stay until the transaction ends. */
static void
bank_feed_close(BankFeedScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, NoLock);
	table_close(scan->events, NoLock);
}

/*
 * An event of this transaction has been read. The server remembers of recent transactions
 * how far the WAL must be flushed for their commit; of those that committed
 * synchronously, nothing.
 */
static void
bank_feed_note_commit(const BankFeedBound *until, int64 position, uint64 xid)
{
	XLogRecPtr	commit = InvalidXLogRecPtr;

	if (!until->present || RecoveryInProgress())
		return;
	if (position <= until->low)
		xid = until->loaded_by;
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	if (U64FromFullTransactionId(ReadNextFullTransactionId()) - xid < PG_INT32_MAX &&
		!TransactionIdPrecedes((TransactionId) xid, bank_transam_variables->oldestClogXid))
		commit = TransactionIdGetCommitLSN((TransactionId) xid);
	LWLockRelease(XactTruncationLock);
	if (commit > bank_feed_unflushed)
		bank_feed_unflushed = commit;
}

/* The batch of a cursor while it is being looked for by transaction. */
typedef struct BankFeedBatch
{
	const BankFeedCursor *cursor;
	const BankFeedBound *before;
	const BankFeedBound *until;
	int64		positions[BANK_FEED_SORTED];
	int			n;
	bool		overflow;		/* there are more than that */
	int64		lowest;
} BankFeedBatch;

/*
 * Add the rows of transactions from the first to before the end to the batch. Once
 * it is too large only its lowest position matters; returns false when not even that.
 */
static bool
bank_feed_collect(BankFeedScan *scan, BankFeedBatch *batch, uint64 first, uint64 end)
{
	ScanKeyData keys[2];
	int64		position;
	uint64		xid;

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_XID8GE,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(first)));
	ScanKeyInit(&keys[1], 1, BTLessStrategyNumber, F_XID8LT,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(end)));
	index_rescan(scan->scan, keys, lengthof(keys), NULL, 0);
	while (bank_feed_next(scan, &position, &xid))
	{
		if (position <= batch->cursor->position ||
			bank_feed_seen(batch->before, position, xid) ||
			!bank_feed_seen(batch->until, position, xid))
			continue;
		bank_feed_note_commit(batch->until, position, xid);
		batch->lowest = Min(batch->lowest, position);
		if (batch->n < BANK_FEED_SORTED)
			batch->positions[batch->n++] = position;
		else
		{
			batch->overflow = true;
			if (batch->cursor->position > 0)
				return false;
		}
	}
	return true;
}

/* Order of positions, for qsort. */
static int
bank_feed_order(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * The next events of a batch by transaction. Returns how many, or -1 when the
 * batch is too large for this; then *lowest is a position before which it has none.
 */
static int
bank_feed_by_transaction(const BankFeedCursor *cursor, const BankFeedBound *before,
						 const BankFeedBound *until, int64 *positions, int max, int64 *lowest)
{
	BankFeedBatch *batch = palloc(sizeof(BankFeedBatch));
	const BankSnapshot *first = before->snapshot;
	BankFeedScan scan;
	bool		more = true;
	int			n;
	int			i;

	batch->cursor = cursor;
	batch->before = before;
	batch->until = until;
	batch->n = 0;
	batch->overflow = false;
	batch->lowest = PG_INT64_MAX;
	bank_feed_open(&scan, "events_transaction", 2);
	for (i = 0; more && i < first->n; i++)
	{
		/* still running, or nothing we could see yet: no rows */
		if (!until->present || bank_snapshot_sees(until->snapshot, first->running[i]))
			more = bank_feed_collect(&scan, batch, first->running[i], first->running[i] + 1);
	}
	/* what was loaded from a dump can have ids without end; its own end where until does */
	if (more)
		(void) bank_feed_collect(&scan, batch, first->xmax,
								 until->present ? until->snapshot->xmax : PG_UINT64_MAX);
	bank_feed_close(&scan);

	if (batch->overflow)
	{
		*lowest = cursor->position > 0 ? cursor->position : batch->lowest - 1;
		pfree(batch);
		return -1;
	}
	qsort(batch->positions, batch->n, sizeof(int64), bank_feed_order);
	n = Min(batch->n, max);
	memcpy(positions, batch->positions, n * sizeof(int64));
	pfree(batch);
	return n;
}

/* The next events of a batch in the order of positions, after the cursor's. */
static int
bank_feed_by_position(const BankFeedCursor *cursor, const BankFeedBound *before,
					  const BankFeedBound *until, int64 *positions, int max)
{
	BankFeedScan scan;
	ScanKeyData key;
	int64		position;
	uint64		xid;
	int			n = 0;

	bank_feed_open(&scan, "events_position_key", 1);
	ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(cursor->position));
	index_rescan(scan.scan, &key, 1, NULL, 0);
	while (n < max && bank_feed_next(&scan, &position, &xid))
	{
		if (bank_feed_seen(before, position, xid) || !bank_feed_seen(until, position, xid))
			continue;
		bank_feed_note_commit(until, position, xid);
		positions[n++] = position;
	}
	bank_feed_close(&scan);
	return n;
}

/* Up to max positions of what is left of the cursor's batch. */
static int
bank_feed_read_batch(BankFeedCursor *cursor, const BankFeedBound *before,
					 const BankFeedBound *until, int64 *positions, int max)
{
	if (!cursor->walking && before->present && before->snapshot != NULL && before->low_seen)
	{
		int64		lowest = 0;
		int			n = bank_feed_by_transaction(cursor, before, until, positions, max, &lowest);

		if (n >= 0)
			return n;
		cursor->position = lowest;
	}
	cursor->walking = true;
	return bank_feed_by_position(cursor, before, until, positions, max);
}

/* Has this ledger no events? */
static bool
bank_feed_is_empty(void)
{
	static BankPlan plan = {.text = "SELECT FROM bank.events LIMIT 1"};
	bool		empty = bank_plan_execute(&plan, NULL, NULL, true) == 0;

	SPI_freetuptable(SPI_tuptable);
	return empty;
}

/*
 * The next events: up to max positions, all of one batch; moves the cursor behind the
 * last one. 0: there is nothing new, and the cursor has seen what the active snapshot
 * sees, or more: the snapshot is an old one, or a standby's. -1: the cursor is not of
 * this ledger (BK029). Inside an SPI connection.
 */
int
bank_feed_read(BankFeedCursor *cursor, int64 *positions, int max, BankError *error)
{
	int64		present = bank_feed_incarnation();
	const BankSnapshot *now = bank_snapshot_current();

	for (;;)
	{
		BankFeedBound before;
		BankFeedBound until;
		int			n;

		if (!bank_feed_bounds(cursor, present, &before, &until, error))
			return -1;
		/* a reader who does not see all of this batch would pass over what is missing */
		if (until.present && until.snapshot != NULL &&
			!bank_snapshot_covers(now, until.snapshot))
			return 0;
		if (!cursor->exhausted)
		{
			n = bank_feed_read_batch(cursor, &before, &until, positions, max);
			cursor->exhausted = n < max;
			if (n > 0)
			{
				cursor->position = positions[n - 1];
				return n;
			}
		}
		if (until.present && until.snapshot != NULL && bank_snapshot_equal(until.snapshot, now))
			return 0;
		/* pg_restore can bring cursors before the events, which they may have seen */
		if (!until.present && until.snapshot != NULL && bank_feed_is_empty())
		{
			cursor->exhausted = false;
			return 0;
		}
		cursor->before = cursor->until;
		cursor->until.incarnation = present;
		cursor->until.snapshot = now;
		cursor->position = 0;
		cursor->exhausted = false;
		cursor->walking = false;
	}
}

/*
 * A cursor that has read what the active snapshot sees (at_end), or of that what
 * lies up to a position. Inside an SPI connection.
 */
void
bank_feed_begin(BankFeedCursor *cursor, bool at_end, int64 after_position)
{
	memset(cursor, 0, sizeof(*cursor));
	cursor->until.incarnation = bank_feed_incarnation();
	cursor->until.snapshot = bank_snapshot_current();
	cursor->before = cursor->until;
	if (at_end)
		return;
	cursor->before.snapshot = NULL;
	cursor->position = after_position;
}

/* Append a point to the text of a cursor. */
static void
bank_feed_append_point(StringInfo text, const BankFeedPoint *point)
{
	if (point->snapshot == NULL)
		appendStringInfoString(text, "-/");
	else
		appendStringInfo(text, INT64_FORMAT "@%s/", point->incarnation,
						 bank_snapshot_text(point->snapshot));
}

/* Flush the commits of all events that were read. */
void
bank_feed_flush_events(void)
{
	if (bank_feed_unflushed == InvalidXLogRecPtr)
		return;
	XLogFlush(bank_feed_unflushed);
	bank_feed_unflushed = InvalidXLogRecPtr;
}

/*
 * Flush all WAL that there is. An insert position
 * right behind a page header is the end of the page before: no record begins there yet.
 */
void
bank_feed_flush_all(void)
{
	XLogRecPtr	end;

	if (RecoveryInProgress())
		return;
	end = GetXLogInsertRecPtr();
	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}

/* The cursor as text, for keeping: opaque to users. */
char *
bank_feed_text(const BankFeedCursor *cursor)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, BANK_FEED_FORMAT "/");
	bank_feed_append_point(&text, &cursor->before);
	bank_feed_append_point(&text, &cursor->until);
	appendStringInfo(&text, INT64_FORMAT, cursor->position);
	return text.data;
}

/* Read a whole decimal number of up to 18 digits that ends at "end". */
static bool
bank_feed_number(const char *text, const char *end, int64 *number)
{
	*number = 0;
	if (text == end || end - text > 18)
		return false;
	for (; text < end; text++)
	{
		if (*text < '0' || *text > '9')
			return false;
		*number = *number * 10 + (*text - '0');
	}
	return true;
}

/* Read a point up to the slash behind it; *text goes on after that. */
static bool
bank_feed_parse_point(const char **text, BankFeedPoint *point)
{
	const char *end = strchr(*text, '/');
	const char *at = strchr(*text, '@');
	const char *start = *text;

	if (end == NULL)
		return false;
	*text = end + 1;
	point->incarnation = 0;
	point->snapshot = NULL;
	if (end - start == 1 && *start == '-')
		return true;
	if (at == NULL || at > end || !bank_feed_number(start, at, &point->incarnation))
		return false;
	point->snapshot = bank_snapshot_parse(at + 1, end - at - 1);
	return point->snapshot != NULL;
}

/* Read a cursor's text. BK029. */
bool
bank_feed_parse(const char *text, BankFeedCursor *cursor, BankError *error)
{
	const char *rest = text + strlen(BANK_FEED_FORMAT "/");

	memset(cursor, 0, sizeof(*cursor));
	if (strncmp(text, BANK_FEED_FORMAT "/", strlen(BANK_FEED_FORMAT "/")) == 0 &&
		bank_feed_parse_point(&rest, &cursor->before) &&
		bank_feed_parse_point(&rest, &cursor->until) &&
		bank_feed_number(rest, rest + strlen(rest), &cursor->position) &&
		cursor->until.snapshot != NULL)
		return true;
	bank_error_set(error, BANK_INVALID_CURSOR, "This is not a cursor of the feed.");
	return bank_error_hint(error, "Take one from bank_feed or bank_feed_cursor().");
}
