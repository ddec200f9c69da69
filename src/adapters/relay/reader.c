/*
 * reader.c
 *		From the feed, and from bank.deliveries, to events on their way.
 *
 * A page of the feed at a time, while the subscription has little to send and its breaker
 * lets anything through. What its filter leaves out costs no memory. Payloads are read with the
 * event unless memory is short or the metadata is large; then when it is about to be sent.
 *
 * Runs in a transaction of the worker, inside a BankSession, under the active snapshot; locks
 * nothing. What it has read must be flushed before it is sent: the worker does that.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"
#include "adapters/store/store.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* Metadata from this size on is not read ahead. */
#define BANK_READER_LARGE "8192"

/* The accounts of an event that are not the bank's own: null for a house account. */
#define BANK_READER_ACCOUNTS \
	"CASE WHEN o.opens_house OR (o.event_type OPERATOR(pg_catalog.=) 'transfer.completed' " \
	"AND EXISTS (SELECT FROM bank.accounts AS a " \
	"WHERE a.account_id OPERATOR(pg_catalog.=) o.aggregate_id AND a.house_code IS NOT NULL)) " \
	"THEN NULL ELSE o.aggregate_id END, " \
	"CASE WHEN o.peer_id IS NULL " \
	"OR o.event_type OPERATOR(pg_catalog.=) ANY (ARRAY['money.deposited', 'money.withdrawn']) " \
	"OR EXISTS (SELECT FROM bank.accounts AS a " \
	"WHERE a.account_id OPERATOR(pg_catalog.=) o.peer_id AND a.house_code IS NOT NULL) " \
	"THEN NULL ELSE o.peer_id END, "

/*
 * The account of a transfer to or from another ledger, or of a request for approval, whose events
 * do not name it all.
 */
#define BANK_READER_CASE_ACCOUNT \
	"(SELECT t.account_id FROM bank.transfers AS t " \
	"WHERE t.transfer_id OPERATOR(pg_catalog.=) o.aggregate_id " \
	"UNION ALL SELECT r.account_id FROM bank.approvals AS r " \
	"WHERE r.request_id OPERATOR(pg_catalog.=) o.aggregate_id)"

#define BANK_READER_FILTER \
	"($3 IS NULL OR o.event_type OPERATOR(pg_catalog.~~) ANY ($3)) " \
	"AND ($6 IS NULL OR o.currency OPERATOR(pg_catalog.=) ANY ($6)) " \
	"AND ($4 IS NULL OR EXISTS (SELECT FROM bank.accounts AS a " \
	"WHERE a.account_id OPERATOR(pg_catalog.=) ANY (ARRAY[o.aggregate_id, o.peer_id, " \
	BANK_READER_CASE_ACCOUNT "]) " \
	"AND (a.account_id OPERATOR(pg_catalog.=) ANY ($4) " \
	"OR a.house_account_id OPERATOR(pg_catalog.=) ANY ($4)))) " \
	"AND ($5 IS NULL OR EXISTS (SELECT FROM bank.accounts AS a " \
	"WHERE a.account_id OPERATOR(pg_catalog.=) ANY (ARRAY[o.aggregate_id, o.peer_id, " \
	BANK_READER_CASE_ACCOUNT "]) " \
	"AND a.owner_id OPERATOR(pg_catalog.=) ANY ($5)))"

/* $1 positions, $2 with payloads, $3 to $6 the filter */
#define BANK_READER_QUERY(matches) \
	"SELECT o.position, o.event_id, " BANK_READER_ACCOUNTS "m.matches, " \
	"CASE WHEN m.matches AND $2 AND o.metadata_size OPERATOR(pg_catalog.<) " BANK_READER_LARGE \
	" THEN o.cloud_event END " \
	"FROM pg_catalog.unnest($1) AS p (position) JOIN bank.outgoing AS o " \
	"ON o.position OPERATOR(pg_catalog.=) p.position " \
	"CROSS JOIN LATERAL (SELECT " matches ") AS m (matches) " \
	"ORDER BY o.position USING OPERATOR(pg_catalog.<)"

/* Columns of that query. */
enum
{
	READ_POSITION, READ_EVENT_ID, READ_AGGREGATE, READ_PEER, READ_MATCHES, READ_JSON, READ_COLUMNS
};

/* An array of positions. */
static Datum
bank_reader_positions(const int64 *positions, int n)
{
	Datum	   *values = palloc((n + 1) * sizeof(Datum));
	int			i;

	for (i = 0; i < n; i++)
		values[i] = Int64GetDatum(positions[i]);
	return PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* How many events a subscription shall have ready: enough for the requests it may send soon. */
static int
bank_reader_low_water(const BankSubscription *sub)
{
	int64		wanted = (int64) sub->breaker_policy.concurrency * sub->batch_size * 2;

	return (int) Min(Max(wanted, 64), 2 * BANK_RELAY_PAGE);
}

/* Shall more of the feed be read for this subscription, if there is more? */
bool
bank_reader_wants(const BankSubscription *sub)
{
	return sub->active && sub->runnable && sub->breaker.state != BANK_BREAKER_OPEN &&
		sub->throttled_until == 0 && sub->n_ready < bank_reader_low_water(sub) &&
		sub->n_items < BANK_RELAY_ITEMS && sub->n_order < 2 * BANK_RELAY_WINDOW;
}

/* Is the memory for payloads used up? */
bool
bank_reader_is_full(void)
{
	return bank_relay_bytes >= (uint64) bank_relay_memory * 1024;
}

/* A copy of a snapshot in a context, or NULL. */
static const BankSnapshot *
bank_reader_copy_snapshot(const BankSnapshot *snapshot, MemoryContext context)
{
	BankSnapshot *copy;

	if (snapshot == NULL)
		return NULL;
	copy = MemoryContextAlloc(context, sizeof(BankSnapshot) + snapshot->n * sizeof(uint64));
	*copy = *snapshot;
	copy->running = (uint64 *) (copy + 1);
	memcpy(copy->running, snapshot->running, snapshot->n * sizeof(uint64));
	return copy;
}

/*
 * Keep a cursor that was read with as the subscription's own, in its own context; a new one
 * replaces the old, so that memory does not grow.
 */
static void
bank_reader_keep_cursor(BankSubscription *sub, const BankFeedCursor *cursor)
{
	MemoryContext old = sub->read_context;

	sub->read_context = AllocSetContextCreate(sub->context, "banking feed cursor",
											  ALLOCSET_SMALL_SIZES);
	sub->read = *cursor;
	sub->read.before.snapshot = bank_reader_copy_snapshot(cursor->before.snapshot,
														  sub->read_context);
	sub->read.until.snapshot = bank_reader_copy_snapshot(cursor->until.snapshot,
														 sub->read_context);
	MemoryContextDelete(old);
}

/* The snapshots of the page that was just read, for its items. */
static BankPair *
bank_reader_pair(BankSubscription *sub)
{
	BankPair   *pair = MemoryContextAlloc(sub->context, sizeof(BankPair));

	pair->references = 1;
	pair->before = sub->read.before;
	pair->until = sub->read.until;
	pair->before.snapshot = bank_reader_copy_snapshot(sub->read.before.snapshot, sub->context);
	pair->until.snapshot = bank_reader_copy_snapshot(sub->read.until.snapshot, sub->context);
	return pair;
}

/* Was this position done before the worker started? Then it is no longer remembered for that. */
static bool
bank_reader_skips(BankSubscription *sub, int64 position)
{
	int			i;

	for (i = 0; i < sub->n_skip; i++)
	{
		if (sub->skip_positions[i] == position)
		{
			memmove(&sub->skip_positions[i], &sub->skip_positions[i + 1],
					(sub->n_skip - i - 1) * sizeof(int64));
			sub->n_skip--;
			return true;
		}
	}
	return false;
}

/* Fill an item from a row of the query. */
static BankItem *
bank_reader_item(BankSubscription *sub, const Datum *values, const bool *nulls)
{
	BankItem   *item = bank_queue_new_item(sub);
	int			column;

	item->position = DatumGetInt64(values[READ_POSITION]);
	bank_uuid_from_datum(values[READ_EVENT_ID], &item->event_id);
	for (column = READ_AGGREGATE; column <= READ_PEER; column++)
	{
		if (!nulls[column])
			bank_uuid_from_datum(values[column], &item->links[item->n_links++].account_id);
	}
	if (!nulls[READ_JSON])
	{
		text	   *json = DatumGetTextPP(values[READ_JSON]);

		bank_queue_set_json(sub, item, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	}
	return item;
}

/* Run the query for these positions; its rows are in SPI_tuptable. */
static uint64
bank_reader_query(const BankSubscription *sub, const int64 *positions, int n, bool payloads)
{
	static BankPlan all = {
		.text = BANK_READER_QUERY("true"),
		.nargs = 2, .types = {INT8ARRAYOID, BOOLOID}
	};
	static BankPlan filtered = {
		.text = BANK_READER_QUERY(BANK_READER_FILTER),
		.nargs = 6,
		.types = {INT8ARRAYOID, BOOLOID, TEXTARRAYOID, UUIDARRAYOID, UUIDARRAYOID, TEXTARRAYOID}
	};
	const BankFilter *filter = &sub->filter;
	Datum		values[6];
	char		nulls[6];
	int			i;

	values[0] = bank_reader_positions(positions, n);
	values[1] = BoolGetDatum(payloads);
	values[2] = filter->event_types;
	values[3] = filter->account_ids;
	values[4] = filter->owner_ids;
	values[5] = filter->currencies;
	for (i = 0; i < 6; i++)
		nulls[i] = i > 1 && values[i] == (Datum) 0 ? 'n' : ' ';
	return bank_plan_execute(filter->any ? &all : &filtered, values, nulls, true);
}

/* Read one page of the feed for a subscription. */
void
bank_reader_read(BankSubscription *sub, TimestampTz now)
{
	int64		positions[BANK_RELAY_PAGE];
	BankFeedCursor cursor = sub->read;
	BankError	error;
	BankPair   *pair;
	SPITupleTable *table;
	uint64		rows;
	uint64		i;
	int			n = bank_feed_read(&cursor, positions, BANK_RELAY_PAGE, &error);

	if (n < 0)
	{
		sub->runnable = false;
		if (!sub->complained)
			ereport(LOG,
					(errmsg("banking relay: subscription \"%s\" cannot be served: %s",
							sub->name, error.detail),
					 errhint("Give it a new cursor with bank_replay().")));
		sub->complained = true;
		return;
	}
	bank_reader_keep_cursor(sub, &cursor);
	sub->caught_up = n == 0;
	if (n == 0)
		return;
	if (!sub->lazy)
	{
		sub->lazy = true;
		sub->lazy_since = now;
	}
	rows = bank_reader_query(sub, positions, n, !bank_reader_is_full());
	table = SPI_tuptable;
	pair = bank_reader_pair(sub);
	for (i = 0; i < rows; i++)
	{
		Datum		values[READ_COLUMNS];
		bool		nulls[READ_COLUMNS];
		BankItem   *item;

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		sub->read_position = Max(sub->read_position, DatumGetInt64(values[READ_POSITION]));
		if (!DatumGetBool(values[READ_MATCHES]))
			continue;
		item = bank_reader_item(sub, values, nulls);
		if (sub->n_skip > 0 && bank_reader_skips(sub, item->position))
		{
			item->state = BANK_ITEM_DONE;
			bank_queue_drop_json(sub, item);
		}
		item->pair = pair;
		pair->references++;
		bank_queue_add(sub, item, now);
	}
	bank_pair_release(pair);
	bank_queue_trim(sub);
	/* find out at once what holds it up, or nothing more could be read for a while */
	if (sub->n_order >= 2 * BANK_RELAY_WINDOW)
		sub->progressed = true;
	SPI_freetuptable(table);
}

/* Add the items behind this one in the queues of its accounts that lack their payloads. */
static int
bank_reader_followers(const BankItem *item, BankItem **items, int n, int max)
{
	int			i;

	for (i = 0; item->queued && i < item->n_links; i++)
	{
		const BankLink *link = item->links[i].after;

		for (; link != NULL && n < max && link->item->json == NULL; link = link->after)
		{
			if (link->item->taken)
				continue;
			link->item->taken = true;
			items[n++] = link->item;
		}
	}
	return n;
}

/*
 * Load the payloads of up to so many ready items that lack them, and of what may go with them
 * in a batch.
 */
void
bank_reader_load_payloads(BankSubscription *sub, int wanted)
{
	static BankPlan plan = {
		.text = "SELECT o.position, o.cloud_event FROM pg_catalog.unnest($1) AS p (position) "
		"JOIN bank.outgoing AS o ON o.position OPERATOR(pg_catalog.=) p.position",
		.nargs = 1, .types = {INT8ARRAYOID}
	};
	int64		positions[BANK_RELAY_IN_FLIGHT];
	BankItem   *items[BANK_RELAY_IN_FLIGHT];
	int			n = 0;
	dlist_iter	iter;
	Datum		values[1];
	uint64		rows;
	uint64		i;
	int			k;

	wanted = Min(wanted, BANK_RELAY_IN_FLIGHT);
	dlist_foreach(iter, &sub->ready)
	{
		BankItem   *item = dlist_container(BankItem, ready_node, iter.cur);

		if (n >= wanted)
			break;
		if (item->json != NULL || item->taken)
			continue;
		item->taken = true;
		items[n++] = item;
		if (sub->batch_size > 1)
			n = bank_reader_followers(item, items, n, wanted);
	}
	if (n == 0)
		return;
	for (k = 0; k < n; k++)
	{
		items[k]->taken = false;
		positions[k] = items[k]->position;
	}
	values[0] = bank_reader_positions(positions, n);
	rows = bank_plan_execute(&plan, values, NULL, true);
	for (i = 0; i < rows; i++)
	{
		bool		isnull;
		int64		position = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc, 1, &isnull));
		text	   *json = DatumGetTextPP(SPI_getbinval(SPI_tuptable->vals[i],
														SPI_tuptable->tupdesc, 2, &isnull));
		for (k = 0; k < n; k++)
		{
			if (items[k]->position == position)
				bank_queue_set_json(sub, items[k], VARDATA_ANY(json),
									VARSIZE_ANY_EXHDR(json));
		}
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Load the events that have a row in bank.deliveries, dead letters apart. */
void
bank_reader_load_stored(BankSubscription *sub, TimestampTz now)
{
	static BankPlan plan = {
		.text = "SELECT o.position, o.event_id, " BANK_READER_ACCOUNTS
		"d.attempts, d.next_attempt_at, d.first_attempt_at, d.last_attempt_at, d.last_status, "
		"d.last_error FROM bank.deliveries AS d JOIN bank.outgoing AS o "
		"ON o.position OPERATOR(pg_catalog.=) d.position "
		"WHERE d.subscription_id OPERATOR(pg_catalog.=) $1 "
		"AND d.state OPERATOR(pg_catalog.<>) 'dead' "
		"ORDER BY d.position USING OPERATOR(pg_catalog.<)",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		argument = bank_uuid_datum(&sub->id);
	uint64		rows = bank_plan_execute(&plan, &argument, NULL, true);
	SPITupleTable *table = SPI_tuptable;
	uint64		i;

	for (i = 0; i < rows; i++)
	{
		Datum		row[10];
		bool		row_nulls[10];
		Datum		values[READ_COLUMNS];
		bool		nulls[READ_COLUMNS];
		BankItem   *item;

		heap_deform_tuple(table->vals[i], table->tupdesc, row, row_nulls);
		memcpy(values, row, 4 * sizeof(Datum));
		memcpy(nulls, row_nulls, 4 * sizeof(bool));
		nulls[READ_JSON] = true;
		item = bank_reader_item(sub, values, nulls);
		item->stored = true;
		item->attempts = DatumGetInt32(row[4]);
		item->next_attempt = row_nulls[5] ? 0 : DatumGetTimestampTz(row[5]);
		item->first_attempt = row_nulls[6] ? 0 : DatumGetTimestampTz(row[6]);
		item->last_attempt = row_nulls[7] ? 0 : DatumGetTimestampTz(row[7]);
		item->status = row_nulls[8] ? 0 : DatumGetInt32(row[8]);
		if (!row_nulls[9])
			item->error = MemoryContextStrdup(sub->context, TextDatumGetCString(row[9]));
		bank_queue_add(sub, item, now);
		/* one that was set aside stays so */
		if (sub->skip && item->attempts > 0)
			bank_queue_set_aside(sub, item, now);
	}
	SPI_freetuptable(table);
}
