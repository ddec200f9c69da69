/*
 * recorder.c
 *		Writes down what became of deliveries.
 *
 * One transaction covers the rows of bank.deliveries and the progress row with the cursor: what
 * lies before the cursor is delivered or has a row. So after a crash only what was
 * under way, or had just ended, is sent again: see BANK_RELAY_UNRECORDED.
 *
 * Locks: the progress row, FOR NO KEY UPDATE and never waited for: when a command holds it, the
 * subscription is recorded later. If a command has changed it, what this worker knows is
 * out of date, and not written. Runs in a transaction of the worker, inside a BankSession.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"
#include "adapters/store/store.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Events that are held up become rows when the order is longer than this. */
#define BANK_RECORDER_PATIENCE 64

/* What is to be written, or deleted, as columns of arrays. */
enum
{
	ROW_POSITION, ROW_STATE, ROW_ATTEMPTS, ROW_NEXT, ROW_FIRST, ROW_LAST, ROW_STATUS, ROW_ERROR,
	ROW_COLUMNS
};

static const Oid bank_row_types[ROW_COLUMNS] = {
	INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTOID
};

/* Lock the progress row if it is free and as we know it. */
static bool
bank_recorder_lock(const BankSubscription *sub)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.subscription_progress AS p "
		"WHERE p.subscription_id OPERATOR(pg_catalog.=) $1 "
		"AND p.revision OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 2, .types = {UUIDOID, INT8OID}
	};
	Datum		values[2];
	bool		locked;

	values[0] = bank_uuid_datum(&sub->id);
	values[1] = Int64GetDatum(sub->revision);
	locked = bank_plan_execute(&plan, values, NULL, false) == 1;
	SPI_freetuptable(SPI_tuptable);
	return locked;
}

/*
 * Events at the beginning of the order that are held up get a row, or the cursor would wait
 * for them. Those that only wait for their turn soon leave it by themselves.
 */
static void
bank_recorder_relieve(BankSubscription *sub, TimestampTz now)
{
	int			surplus = sub->n_order - BANK_RECORDER_PATIENCE;
	dlist_iter	iter;

	dlist_foreach(iter, &sub->order)
	{
		BankItem   *item = dlist_container(BankItem, order_node, iter.cur);

		if (surplus-- <= 0)
			break;
		if (item->state == BANK_ITEM_DONE || item->stored)
			continue;
		if (!bank_queue_held_up(sub, item, now))
			break;
		bank_queue_mark(sub, item);
	}
}

/* A column as an array. */
static Datum
bank_recorder_array(Datum *values, bool *nulls, int n, Oid type)
{
	int			lower = 1;
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, type, length,
											  by_value, align));
}

/* Delete rows of events that have been delivered. */
static void
bank_recorder_delete(const BankSubscription *sub, Datum *positions, int n)
{
	static BankPlan plan = {
		.text = "DELETE FROM bank.deliveries AS d "
		"WHERE d.subscription_id OPERATOR(pg_catalog.=) $1 "
		"AND d.position OPERATOR(pg_catalog.=) ANY ($2)",
		.nargs = 2, .types = {UUIDOID, INT8ARRAYOID}
	};
	Datum		values[2];

	if (n == 0)
		return;
	values[0] = bank_uuid_datum(&sub->id);
	values[1] = bank_recorder_array(positions, NULL, n, INT8OID);
	bank_plan_execute(&plan, values, NULL, false);
}

/* Write rows, new ones or changed ones. */
static void
bank_recorder_write(const BankSubscription *sub, Datum *const *columns, bool *const *nulls, int n)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.deliveries AS d (subscription_id, position, state, attempts, "
		"next_attempt_at, first_attempt_at, last_attempt_at, last_status, last_error) "
		"SELECT $1, r.* FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), "
		"pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
		"pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9)) AS r "
		"ON CONFLICT (subscription_id, position) DO UPDATE SET state = excluded.state, "
		"attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at, "
		"first_attempt_at = excluded.first_attempt_at, "
		"last_attempt_at = excluded.last_attempt_at, last_status = excluded.last_status, "
		"last_error = excluded.last_error",
		.nargs = ROW_COLUMNS + 1,
		.types = {UUIDOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID,
		TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, TEXTARRAYOID}
	};
	Datum		values[ROW_COLUMNS + 1];
	int			i;

	if (n == 0)
		return;
	values[0] = bank_uuid_datum(&sub->id);
	for (i = 0; i < ROW_COLUMNS; i++)
		values[i + 1] = bank_recorder_array(columns[i], nulls[i], n, bank_row_types[i]);
	bank_plan_execute(&plan, values, NULL, false);
}

/* Fill one row of the arrays. */
static void
bank_recorder_fill(const BankItem *item, Datum *const *columns, bool *const *nulls, int row)
{
#define SET(column, datum, isnull) \
	do { \
		columns[column][row] = (datum); \
		nulls[column][row] = (isnull); \
	} while (0)
	SET(ROW_POSITION, Int64GetDatum(item->position), false);
	SET(ROW_STATE, CStringGetTextDatum(item->dead ? "dead" :
									   item->attempts > 0 ? "retrying" : "waiting"), false);
	SET(ROW_ATTEMPTS, Int32GetDatum(item->attempts), false);
	SET(ROW_NEXT, TimestampTzGetDatum(item->next_attempt), item->next_attempt == 0 || item->dead);
	SET(ROW_FIRST, TimestampTzGetDatum(item->first_attempt), item->first_attempt == 0);
	SET(ROW_LAST, TimestampTzGetDatum(item->last_attempt), item->last_attempt == 0);
	SET(ROW_STATUS, Int32GetDatum(item->status), item->attempts == 0);
	SET(ROW_ERROR, item->error != NULL ? CStringGetTextDatum(item->error) : (Datum) 0,
		item->error == NULL);
#undef SET
}

/* Write and delete rows of all items that are marked for it. */
static void
bank_recorder_rows(BankSubscription *sub)
{
	Datum	   *columns[ROW_COLUMNS];
	bool	   *nulls[ROW_COLUMNS];
	Datum	   *deleted;
	int			n_dirty = 0;
	int			n_written = 0;
	int			n_deleted = 0;
	dlist_mutable_iter iter;
	dlist_iter	count;
	int			i;

	dlist_foreach(count, &sub->dirty)
		n_dirty++;
	if (n_dirty == 0)
		return;
	for (i = 0; i < ROW_COLUMNS; i++)
	{
		columns[i] = palloc(n_dirty * sizeof(Datum));
		nulls[i] = palloc(n_dirty * sizeof(bool));
	}
	deleted = palloc(n_dirty * sizeof(Datum));
	dlist_foreach_modify(iter, &sub->dirty)
	{
		BankItem   *item = dlist_container(BankItem, dirty_node, iter.cur);

		if (item->state == BANK_ITEM_DONE && !item->dead)
		{
			if (item->stored)
				deleted[n_deleted++] = Int64GetDatum(item->position);
		}
		else
			bank_recorder_fill(item, columns, nulls, n_written++);
		item->stored = item->state != BANK_ITEM_DONE || item->dead;
		if (item->state == BANK_ITEM_BLOCKED || item->state == BANK_ITEM_DELAYED)
			bank_queue_drop_json(sub, item);
		bank_queue_clean(sub, item);
	}
	bank_recorder_delete(sub, deleted, n_deleted);
	bank_recorder_write(sub, columns, nulls, n_written);
}

/* The positions after the cursor that are done with, or have a row. */
static Datum
bank_recorder_done_after(BankSubscription *sub)
{
	Datum	   *positions = palloc((sub->n_order + sub->n_skip + 1) * sizeof(Datum));
	int			n = 0;
	dlist_iter	iter;
	int			i;

	dlist_foreach(iter, &sub->order)
	{
		const BankItem *item = dlist_container(BankItem, order_node, iter.cur);

		if (item->state == BANK_ITEM_DONE || item->stored)
			positions[n++] = Int64GetDatum(item->position);
	}
	for (i = 0; i < sub->n_skip; i++)
		positions[n++] = Int64GetDatum(sub->skip_positions[i]);
	return bank_recorder_array(positions, NULL, n, INT8OID);
}

/* The cursor before the first event that only this memory knows; *position, for the lag. */
static char *
bank_recorder_cursor(BankSubscription *sub, int64 *position)
{
	const BankItem *first;
	BankFeedCursor cursor;

	*position = sub->read_position;
	if (dlist_is_empty(&sub->order))
		return bank_feed_text(&sub->read);
	first = dlist_head_element(BankItem, order_node, &sub->order);
	memset(&cursor, 0, sizeof(cursor));
	cursor.before = first->pair->before;
	cursor.until = first->pair->until;
	cursor.position = first->position - 1;
	*position = Min(*position, first->position - 1);
	return bank_feed_text(&cursor);
}

/* Write the progress row. */
static void
bank_recorder_progress(BankSubscription *sub)
{
	static BankPlan plan = {
		.text = "UPDATE bank.subscription_progress AS p SET cursor = $2, done_after = $3, "
		"read_position = GREATEST(p.read_position, $4), breaker_state = $5, breaker_forced = $6, "
		"breaker_since = $7, breaker_failures = $8, throttled_until = $9, "
		"delivered = p.delivered OPERATOR(pg_catalog.+) $10, "
		"failed = p.failed OPERATOR(pg_catalog.+) $11, "
		"last_delivered_at = COALESCE($12, p.last_delivered_at), "
		"last_error = COALESCE($13, p.last_error), "
		"last_error_at = COALESCE($14, p.last_error_at) "
		"WHERE p.subscription_id OPERATOR(pg_catalog.=) $1",
		.nargs = 14,
		.types = {UUIDOID, TEXTOID, INT8ARRAYOID, INT8OID, TEXTOID, BOOLOID, TIMESTAMPTZOID,
		INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID}
	};
	const BankBreaker *breaker = &sub->breaker;
	Datum		values[14];
	char		nulls[14];
	int64		position;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = bank_uuid_datum(&sub->id);
	values[1] = CStringGetTextDatum(bank_recorder_cursor(sub, &position));
	values[2] = bank_recorder_done_after(sub);
	values[3] = Int64GetDatum(position);
	values[4] = CStringGetTextDatum(bank_breaker_state_name(breaker->state));
	values[5] = BoolGetDatum(breaker->forced);
	values[6] = TimestampTzGetDatum(breaker->since);
	values[7] = Int32GetDatum(breaker->failures);
	values[8] = TimestampTzGetDatum(sub->throttled_until);
	nulls[8] = sub->throttled_until == 0 ? 'n' : ' ';
	values[9] = Int64GetDatum(sub->delivered);
	values[10] = Int64GetDatum(sub->failed);
	values[11] = TimestampTzGetDatum(sub->last_delivered_at);
	nulls[11] = sub->last_delivered_at == 0 ? 'n' : ' ';
	values[12] = CStringGetTextDatum(sub->last_error);
	nulls[12] = sub->last_error_at == 0 ? 'n' : ' ';
	values[13] = TimestampTzGetDatum(sub->last_error_at);
	nulls[13] = nulls[12];
	bank_plan_execute(&plan, values, nulls, false);
	sub->delivered = 0;
	sub->failed = 0;
	sub->last_delivered_at = 0;
	sub->last_error_at = 0;
}

/* The endpoint wants no more: disable the subscription, unless somebody is at it just now. */
static void
bank_recorder_disable(BankSubscription *sub)
{
	static BankPlan plan = {
		.text = "UPDATE bank.subscriptions AS s SET state = 'disabled', state_reason = $2, "
		"state_since = pg_catalog.now() WHERE s.subscription_id OPERATOR(pg_catalog.=) "
		"(SELECT l.subscription_id FROM bank.subscriptions AS l "
		"WHERE l.subscription_id OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED)",
		.nargs = 2, .types = {UUIDOID, TEXTOID}
	};
	Datum		values[2];

	values[0] = bank_uuid_datum(&sub->id);
	values[1] = CStringGetTextDatum("The endpoint answered 410 Gone.");
	if (bank_plan_execute(&plan, values, NULL, false) == 1)
		sub->disable = false;
}

/*
 * Record a subscription. False: somebody else holds its progress row, or has changed
 * it: nothing is written, try again later.
 */
bool
bank_recorder_record(BankSubscription *sub, TimestampTz now)
{
	if (!bank_recorder_lock(sub))
		return false;
	bank_recorder_relieve(sub, now);
	bank_recorder_rows(sub);
	bank_queue_trim(sub);
	bank_recorder_progress(sub);
	if (sub->disable)
		bank_recorder_disable(sub);
	sub->unflushed += sub->unrecorded;
	sub->unrecorded = 0;
	sub->progressed = sub->disable;
	/* what is under way now may hold it up when we look again */
	sub->lazy = sub->in_flight > 0 && sub->n_order >= 2 * BANK_RELAY_WINDOW;
	sub->lazy_since = now;
	return true;
}
