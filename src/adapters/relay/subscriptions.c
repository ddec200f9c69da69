/*
 * subscriptions.c
 *		The worker's picture of bank.subscriptions and bank.subscription_progress.
 *
 * Settings are read again whenever a subscription has changed. What is on its way is kept
 * then, unless a command has changed the progress row too (its revision is another one): then
 * requests under way are given up and the subscription begins anew from its row.
 *
 * Memory: a context for each subscription. Runs in a transaction of the worker, inside a
 * BankSession; locks nothing.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"
#include "adapters/store/store.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

dlist_head	bank_relay_subscriptions = DLIST_STATIC_INIT(bank_relay_subscriptions);

/* When settings change by themselves: a secret expires. 0: never. */
TimestampTz bank_relay_reload_at = 0;

/* Columns of the query below. */
enum
{
	SUB_ID, SUB_NAME, SUB_SINK, SUB_URL, SUB_HEADER_NAMES, SUB_HEADER_VALUES,
	SUB_EVENT_TYPES, SUB_ACCOUNTS, SUB_OWNERS, SUB_CURRENCIES, SUB_BATCH_SIZE,
	SUB_CONNECT_TIMEOUT, SUB_REQUEST_TIMEOUT, SUB_CONCURRENCY, SUB_MAX_ATTEMPTS,
	SUB_RETRY_DELAY, SUB_RETRY_MAX_DELAY, SUB_SKIP, SUB_THRESHOLD, SUB_BREAKER_TIMEOUT,
	SUB_ACTIVE, SUB_SECRETS, SUB_SECRET_EXPIRES,
	SUB_REVISION, SUB_CURSOR, SUB_DONE_AFTER, SUB_READ_POSITION, SUB_BREAKER_STATE,
	SUB_BREAKER_FORCED, SUB_BREAKER_SINCE, SUB_BREAKER_FAILURES, SUB_THROTTLED_UNTIL,
	SUB_COLUMNS
};

#define BANK_MILLISECONDS(column) \
	"(EXTRACT(epoch FROM s." column ") OPERATOR(pg_catalog.*) 1000)::pg_catalog.int4, "
#define BANK_MICROSECONDS(column) \
	"(EXTRACT(epoch FROM s." column ") OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, "

static BankPlan bank_subscriptions_plan = {
	.text = "SELECT s.subscription_id, s.name, s.sink, s.url, "
	"ARRAY(SELECT h.key FROM pg_catalog.jsonb_each_text(s.headers) AS h "
	"ORDER BY h.key USING OPERATOR(pg_catalog.<)), "
	"ARRAY(SELECT h.value FROM pg_catalog.jsonb_each_text(s.headers) AS h "
	"ORDER BY h.key USING OPERATOR(pg_catalog.<)), "
	"CASE WHEN s.event_types IS NOT NULL THEN ARRAY(SELECT pg_catalog.replace(pg_catalog.replace("
	"t, '_', '\\_'), '*', '%') FROM pg_catalog.unnest(s.event_types) AS t) END, "
	"s.account_ids, s.owner_ids, s.currencies, s.batch_size, "
	BANK_MILLISECONDS("connect_timeout") BANK_MILLISECONDS("request_timeout")
	"s.concurrency, s.max_attempts, "
	BANK_MICROSECONDS("retry_delay") BANK_MICROSECONDS("retry_max_delay")
	"s.on_failure OPERATOR(pg_catalog.=) 'skip', s.failure_threshold, "
	BANK_MICROSECONDS("breaker_timeout")
	"s.state OPERATOR(pg_catalog.=) 'active', "
	"ARRAY(SELECT k.secret FROM bank.subscription_secrets AS k "
	"WHERE k.subscription_id OPERATOR(pg_catalog.=) s.subscription_id "
	"AND (k.expires_at IS NULL OR k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()) "
	"ORDER BY k.created_at USING OPERATOR(pg_catalog.>)), "
	"(SELECT pg_catalog.min(k.expires_at) FROM bank.subscription_secrets AS k "
	"WHERE k.subscription_id OPERATOR(pg_catalog.=) s.subscription_id "
	"AND k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()), "
	"p.revision, p.cursor, p.done_after, p.read_position, p.breaker_state, p.breaker_forced, "
	"p.breaker_since, p.breaker_failures, p.throttled_until "
	"FROM bank.subscriptions AS s JOIN bank.subscription_progress AS p "
	"ON p.subscription_id OPERATOR(pg_catalog.=) s.subscription_id"
};

/* The elements of an array of text or bytea that has no nulls; returns how many. */
static int
bank_array_elements(Datum array, Oid type, Datum **elements)
{
	int			n;
	bool	   *nulls;

	deconstruct_array(DatumGetArrayTypeP(array), type, -1, false, TYPALIGN_INT, elements,
					  &nulls, &n);
	return n;
}

/* One user of a target less. */
void
bank_target_release(BankTarget *target)
{
	if (target != NULL && --target->references == 0)
		MemoryContextDelete(target->context);
}

/* Make the target of a row, in a context of its own. */
static BankTarget *
bank_target_make(const Datum *values, const bool *nulls)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "banking relay target",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	BankTarget *target = palloc0(sizeof(BankTarget));
	BankSinkTarget *sink_target = &target->sink_target;
	Datum	   *names;
	Datum	   *texts;
	BankSinkHeader *headers;
	BankSinkSecret *secrets;
	int			i;

	target->references = 1;
	target->context = context;
	sink_target->url = TextDatumGetCString(values[SUB_URL]);
	sink_target->n_headers = bank_array_elements(values[SUB_HEADER_NAMES], TEXTOID, &names);
	(void) bank_array_elements(values[SUB_HEADER_VALUES], TEXTOID, &texts);
	headers = palloc((sink_target->n_headers + 1) * sizeof(BankSinkHeader));
	for (i = 0; i < sink_target->n_headers; i++)
	{
		headers[i].name = TextDatumGetCString(names[i]);
		headers[i].value = TextDatumGetCString(texts[i]);
	}
	sink_target->headers = headers;
	sink_target->n_secrets = bank_array_elements(values[SUB_SECRETS], BYTEAOID, &texts);
	secrets = palloc((sink_target->n_secrets + 1) * sizeof(BankSinkSecret));
	for (i = 0; i < sink_target->n_secrets; i++)
	{
		bytea	   *secret = DatumGetByteaPCopy(texts[i]);

		secrets[i].bytes = (const uint8_t *) VARDATA_ANY(secret);
		secrets[i].len = VARSIZE_ANY_EXHDR(secret);
	}
	sink_target->secrets = secrets;
	sink_target->batch = !nulls[SUB_BATCH_SIZE];
	sink_target->connect_timeout = DatumGetInt32(values[SUB_CONNECT_TIMEOUT]);
	sink_target->request_timeout = DatumGetInt32(values[SUB_REQUEST_TIMEOUT]);
	MemoryContextSwitchTo(caller);
	return target;
}

/* A filter's array, copied, or 0 for null. */
static Datum
bank_filter_array(Datum value, bool isnull)
{
	return isnull ? (Datum) 0 : PointerGetDatum(DatumGetArrayTypePCopy(value));
}

/* Take over what the row says about how to deliver. */
static void
bank_subscription_set(BankSubscription *sub, const Datum *values, const bool *nulls)
{
	BankFilter *filter = &sub->filter;
	MemoryContext caller;

	if (sub->settings == NULL)
		sub->settings = AllocSetContextCreate(sub->context, "banking relay settings",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(sub->settings);
	caller = MemoryContextSwitchTo(sub->settings);
	filter->event_types = bank_filter_array(values[SUB_EVENT_TYPES], nulls[SUB_EVENT_TYPES]);
	filter->account_ids = bank_filter_array(values[SUB_ACCOUNTS], nulls[SUB_ACCOUNTS]);
	filter->owner_ids = bank_filter_array(values[SUB_OWNERS], nulls[SUB_OWNERS]);
	filter->currencies = bank_filter_array(values[SUB_CURRENCIES], nulls[SUB_CURRENCIES]);
	filter->any = nulls[SUB_EVENT_TYPES] && nulls[SUB_ACCOUNTS] && nulls[SUB_OWNERS] &&
		nulls[SUB_CURRENCIES];
	MemoryContextSwitchTo(caller);

	strlcpy(sub->name, TextDatumGetCString(values[SUB_NAME]), sizeof(sub->name));
	strlcpy(sub->sink_name, TextDatumGetCString(values[SUB_SINK]), sizeof(sub->sink_name));
	bank_target_release(sub->target);
	sub->target = bank_target_make(values, nulls);
	sub->active = DatumGetBool(values[SUB_ACTIVE]);
	sub->batch_size = nulls[SUB_BATCH_SIZE] ? 1 : DatumGetInt32(values[SUB_BATCH_SIZE]);
	sub->skip = DatumGetBool(values[SUB_SKIP]);
	sub->retry.max_attempts = DatumGetInt32(values[SUB_MAX_ATTEMPTS]);
	sub->retry.first_delay = DatumGetInt64(values[SUB_RETRY_DELAY]);
	sub->retry.max_delay = DatumGetInt64(values[SUB_RETRY_MAX_DELAY]);
	sub->breaker_policy.failure_threshold = DatumGetInt32(values[SUB_THRESHOLD]);
	sub->breaker_policy.timeout = DatumGetInt64(values[SUB_BREAKER_TIMEOUT]);
	sub->breaker_policy.concurrency = DatumGetInt32(values[SUB_CONCURRENCY]);
	/* without any while pg_restore has not come to them */
	sub->runnable = sub->target->sink_target.n_secrets > 0;
	sub->complained = false;
	if (!nulls[SUB_SECRET_EXPIRES] &&
		(bank_relay_reload_at == 0 ||
		 DatumGetTimestampTz(values[SUB_SECRET_EXPIRES]) < bank_relay_reload_at))
		bank_relay_reload_at = DatumGetTimestampTz(values[SUB_SECRET_EXPIRES]);
}

/* The breaker as the last worker left it; after an outage requests ramp up. */
static void
bank_subscription_restore_breaker(BankSubscription *sub, const Datum *values, TimestampTz now)
{
	BankBreaker *breaker = &sub->breaker;

	bank_breaker_init(breaker, &sub->breaker_policy, now);
	if (!bank_breaker_state_parse(TextDatumGetCString(values[SUB_BREAKER_STATE]),
								  &breaker->state))
		breaker->state = BANK_BREAKER_CLOSED;
	breaker->forced = DatumGetBool(values[SUB_BREAKER_FORCED]);
	breaker->since = DatumGetTimestampTz(values[SUB_BREAKER_SINCE]);
	breaker->failures = DatumGetInt32(values[SUB_BREAKER_FAILURES]);
	if (breaker->state != BANK_BREAKER_CLOSED || breaker->failures > 0)
		breaker->ramp = 1;
	bank_breaker_restore(breaker, &sub->breaker_policy, now);
}

/* The cursor of the row, and which events after it are done. False: it is no cursor. */
static bool
bank_subscription_restore_cursor(BankSubscription *sub, const Datum *values)
{
	MemoryContext caller = MemoryContextSwitchTo(sub->read_context);
	BankError	error;
	bool		good = bank_feed_parse(TextDatumGetCString(values[SUB_CURSOR]), &sub->read,
									   &error);
	Datum	   *positions;
	bool	   *nulls;
	int			i;

	MemoryContextSwitchTo(sub->context);
	deconstruct_array(DatumGetArrayTypeP(values[SUB_DONE_AFTER]), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &positions, &nulls, &sub->n_skip);
	sub->skip_positions = palloc((sub->n_skip + 1) * sizeof(int64));
	for (i = 0; i < sub->n_skip; i++)
		sub->skip_positions[i] = DatumGetInt64(positions[i]);
	MemoryContextSwitchTo(caller);
	return good;
}

/* A subscription as its rows say, with what it has left undone. */
static void
bank_subscription_create(const Datum *values, const bool *nulls, TimestampTz now)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "banking subscription",
												  ALLOCSET_DEFAULT_SIZES);
	BankSubscription *sub = MemoryContextAllocZero(context, sizeof(BankSubscription));

	sub->context = context;
	sub->read_context = AllocSetContextCreate(context, "banking feed cursor",
											  ALLOCSET_SMALL_SIZES);
	bank_uuid_from_datum(values[SUB_ID], &sub->id);
	sub->seen = true;
	bank_queue_init(sub);
	dlist_push_tail(&bank_relay_subscriptions, &sub->node);
	bank_subscription_set(sub, values, nulls);
	sub->revision = DatumGetInt64(values[SUB_REVISION]);
	sub->read_position = DatumGetInt64(values[SUB_READ_POSITION]);
	if (!nulls[SUB_THROTTLED_UNTIL])
		sub->throttled_until = DatumGetTimestampTz(values[SUB_THROTTLED_UNTIL]);
	bank_subscription_restore_breaker(sub, values, now);
	if (!bank_subscription_restore_cursor(sub, values))
	{
		sub->runnable = false;
		ereport(LOG,
				(errmsg("banking relay: subscription \"%s\" has no valid cursor", sub->name),
				 errhint("Give it a new one with bank_replay().")));
		return;
	}
	bank_reader_load_stored(sub, now);
}

/* Drop what the worker knows of a subscription; requests under way are given up. */
void
bank_subscription_forget(BankSubscription *sub)
{
	bank_sender_cancel_all(sub);
	bank_relay_bytes -= sub->bytes;
	bank_target_release(sub->target);
	dlist_delete(&sub->node);
	MemoryContextDelete(sub->context);
}

/* The subscription with this identifier, or NULL. */
static BankSubscription *
bank_subscription_find(const BankUuid *id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (bank_uuid_equal(&sub->id, id))
			return sub;
	}
	return NULL;
}

/* Read all subscriptions. Changes of settings take effect, those of progress too. */
void
bank_subscriptions_load(TimestampTz now)
{
	dlist_mutable_iter iter;
	SPITupleTable *table;
	uint64		n;
	uint64		i;

	bank_relay_reload_at = 0;
	dlist_foreach_modify(iter, &bank_relay_subscriptions)
		dlist_container(BankSubscription, node, iter.cur)->seen = false;
	n = bank_plan_execute(&bank_subscriptions_plan, NULL, NULL, true);
	table = SPI_tuptable;
	for (i = 0; i < n; i++)
	{
		Datum		values[SUB_COLUMNS];
		bool		nulls[SUB_COLUMNS];
		BankSubscription *sub;
		BankUuid	id;

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		bank_uuid_from_datum(values[SUB_ID], &id);
		sub = bank_subscription_find(&id);
		if (sub != NULL && sub->revision != DatumGetInt64(values[SUB_REVISION]))
		{
			bank_subscription_forget(sub);
			sub = NULL;
		}
		if (sub == NULL)
			bank_subscription_create(values, nulls, now);
		else
		{
			sub->seen = true;
			bank_subscription_set(sub, values, nulls);
		}
	}
	SPI_freetuptable(table);
	dlist_foreach_modify(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (!sub->seen)
			bank_subscription_forget(sub);
	}
}
