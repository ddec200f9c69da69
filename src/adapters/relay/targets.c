/*
 * targets.c
 *		What subscriptions and participants have in common: a target, a breaker, secrets that
 *		expire.
 *
 * Memory: a context for each target, until nobody uses it. Runs in a transaction of the worker,
 * inside a BankSession; locks nothing.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* When settings change by themselves: a secret expires. 0: never. */
TimestampTz bank_relay_reload_at = 0;

/* Read the settings again then, at the latest. */
void
bank_relay_reload_by(TimestampTz at)
{
	if (bank_relay_reload_at == 0 || at < bank_relay_reload_at)
		bank_relay_reload_at = at;
}

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

/* Take over the headers of a row. */
static void
bank_target_set_headers(BankSinkTarget *target, const BankTargetRow *row)
{
	Datum	   *names;
	Datum	   *texts;
	BankSinkHeader *headers;
	int			i;

	target->n_headers = bank_array_elements(row->header_names, TEXTOID, &names);
	(void) bank_array_elements(row->header_values, TEXTOID, &texts);
	headers = palloc((target->n_headers + 1) * sizeof(BankSinkHeader));
	for (i = 0; i < target->n_headers; i++)
	{
		headers[i].name = TextDatumGetCString(names[i]);
		headers[i].value = TextDatumGetCString(texts[i]);
	}
	target->headers = headers;
}

/* Make the target of a row, in a context of its own, with one user. */
BankTarget *
bank_target_make(const BankTargetRow *row)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "banking relay target",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	BankTarget *target = palloc0(sizeof(BankTarget));
	BankSinkTarget *sink_target = &target->sink_target;
	Datum	   *texts;
	BankSinkSecret *secrets;
	int			i;

	target->references = 1;
	target->context = context;
	sink_target->url = TextDatumGetCString(row->url);
	if (row->header_names != (Datum) 0)
		bank_target_set_headers(sink_target, row);
	sink_target->n_secrets = bank_array_elements(row->secrets, BYTEAOID, &texts);
	secrets = palloc((sink_target->n_secrets + 1) * sizeof(BankSinkSecret));
	for (i = 0; i < sink_target->n_secrets; i++)
	{
		bytea	   *secret = DatumGetByteaPCopy(texts[i]);

		secrets[i].bytes = (const uint8_t *) VARDATA_ANY(secret);
		secrets[i].len = VARSIZE_ANY_EXHDR(secret);
	}
	sink_target->secrets = secrets;
	sink_target->batch = row->batch;
	sink_target->connect_timeout = row->connect_timeout;
	sink_target->request_timeout = row->request_timeout;
	MemoryContextSwitchTo(caller);
	return target;
}

/* The breaker as the last worker left it; after an outage requests ramp up. */
void
bank_breaker_load(BankBreaker *breaker, const BankBreakerPolicy *policy, Datum state, bool forced,
				  TimestampTz since, int32 failures, TimestampTz now)
{
	bank_breaker_init(breaker, policy, now);
	if (!bank_breaker_state_parse(TextDatumGetCString(state), &breaker->state))
		breaker->state = BANK_BREAKER_CLOSED;
	breaker->forced = forced;
	breaker->since = since;
	breaker->failures = failures;
	if (breaker->state != BANK_BREAKER_CLOSED || failures > 0)
		breaker->ramp = 1;
	bank_breaker_restore(breaker, policy, now);
}
