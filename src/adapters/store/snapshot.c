/*
 * snapshot.c
 *		Snapshots as values, see snapshot.h.
 *
 * pg_current_snapshot() cannot be used for this: on a standby it names no running
 * transaction, and it takes the caller's own for one that has ended.
 *
 * Memory: palloc'd in the caller's context. No locks.
 */
#include "postgres.h"

#include "adapters/store/snapshot.h"

#include "access/xact.h"
#include "lib/qunique.h"
#include "lib/stringinfo.h"
#include "utils/snapmgr.h"

/* Order of two transaction ids, for qsort and bsearch. */
static int
bank_snapshot_order(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* A transaction id of a snapshot in 64 bits: it lies less than 2^31 before the next one. */
static uint64
bank_snapshot_widen(TransactionId xid, FullTransactionId next)
{
	uint64		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return epoch << 32 | xid;
}

/*
 * The active snapshot. The caller's own transaction counts as running. On a
 * standby all running ones are among the "subtransactions". The server may name one
 * twice: a transaction is there as a session's and as a prepared one while PREPARE
 * TRANSACTION goes from one to the other, which includes its wait for a standby.
 */
BankSnapshot *
bank_snapshot_current(void)
{
	Snapshot	active = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();
	FullTransactionId own = GetTopFullTransactionIdIfAny();
	const TransactionId *running = active->takenDuringRecovery ? active->subxip : active->xip;
	int			n = active->takenDuringRecovery ? active->subxcnt : (int) active->xcnt;
	BankSnapshot *snapshot = palloc(sizeof(BankSnapshot));
	int			i;

	snapshot->xmin = bank_snapshot_widen(active->xmin, next);
	snapshot->xmax = bank_snapshot_widen(active->xmax, next);
	snapshot->running = palloc((n + 1) * sizeof(uint64));
	snapshot->n = 0;
	for (i = 0; i < n; i++)
	{
		uint64		xid = bank_snapshot_widen(running[i], next);

		if (xid < snapshot->xmax)
			snapshot->running[snapshot->n++] = xid;
	}
	if (FullTransactionIdIsValid(own) && U64FromFullTransactionId(own) < snapshot->xmax)
		snapshot->running[snapshot->n++] = U64FromFullTransactionId(own);
	qsort(snapshot->running, snapshot->n, sizeof(uint64), bank_snapshot_order);
	snapshot->n = (int) qunique(snapshot->running, snapshot->n, sizeof(uint64),
								bank_snapshot_order);
	if (snapshot->n > 0 && snapshot->running[0] < snapshot->xmin)
		snapshot->xmin = snapshot->running[0];
	return snapshot;
}

/* Read an unsigned number and the character that must follow it; *text goes on behind. */
static bool
bank_snapshot_number(const char **text, const char *end, char stop, bool stop_or_end,
					 uint64 *number)
{
	const char *c = *text;

	*number = 0;
	if (c == end || *c < '0' || *c > '9')
		return false;
	for (; c < end && *c >= '0' && *c <= '9'; c++)
	{
		if (*number > (PG_UINT64_MAX - 9) / 10)
			return false;
		*number = *number * 10 + (uint64) (*c - '0');
	}
	if (c == end)
	{
		*text = c;
		return stop_or_end;
	}
	*text = c + 1;
	return *c == stop;
}

/* Read the text form "xmin:xmax:a,b,c"; NULL when it is none. */
BankSnapshot *
bank_snapshot_parse(const char *text, size_t len)
{
	const char *end = text + len;
	BankSnapshot *snapshot = palloc0(sizeof(BankSnapshot));

	if (!bank_snapshot_number(&text, end, ':', false, &snapshot->xmin) ||
		!bank_snapshot_number(&text, end, ':', false, &snapshot->xmax) ||
		snapshot->xmin == 0 || snapshot->xmin > snapshot->xmax)
		return NULL;
	snapshot->running = palloc(((end - text) / 2 + 1) * sizeof(uint64));
	while (text < end)
	{
		uint64		xid;

		/* nothing may follow a last comma */
		if (!bank_snapshot_number(&text, end, ',', true, &xid) ||
			(text == end && end[-1] == ',') ||
			xid < snapshot->xmin || xid >= snapshot->xmax ||
			(snapshot->n > 0 && xid <= snapshot->running[snapshot->n - 1]))
			return NULL;
		snapshot->running[snapshot->n++] = xid;
	}
	return snapshot;
}

/* The text form. */
char *
bank_snapshot_text(const BankSnapshot *snapshot)
{
	StringInfoData text;
	int			i;

	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":", snapshot->xmin, snapshot->xmax);
	for (i = 0; i < snapshot->n; i++)
		appendStringInfo(&text, "%s" UINT64_FORMAT, i > 0 ? "," : "", snapshot->running[i]);
	return text.data;
}

/* Do both see the same? */
bool
bank_snapshot_equal(const BankSnapshot *a, const BankSnapshot *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax && a->n == b->n &&
		memcmp(a->running, b->running, a->n * sizeof(uint64)) == 0;
}

/*
 * Is whatever the second one sees seen by the first one too? Of two snapshots of one incarnation
 * one covers the other.
 */
bool
bank_snapshot_covers(const BankSnapshot *a, const BankSnapshot *b)
{
	int			i;

	if (b->xmax > a->xmax)
		return false;
	for (i = 0; i < a->n && a->running[i] < b->xmax; i++)
	{
		if (bank_snapshot_sees(b, a->running[i]))
			return false;
	}
	return true;
}

/* Is this transaction one of those between xmin and xmax that had not ended? */
bool
bank_snapshot_runs(const BankSnapshot *snapshot, uint64 xid)
{
	return bsearch(&xid, snapshot->running, snapshot->n, sizeof(uint64),
				   bank_snapshot_order) != NULL;
}
