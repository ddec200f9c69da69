/*
 * participants.c
 *		The worker's picture of bank.participants and bank.participant_progress.
 *
 * Settings are read again whenever a participant has changed. Exchanges that are under way
 * end with the settings they began with; when a command has changed the progress row (its
 * revision is another one) the breaker is taken from there.
 *
 * Locks: the progress row, to write it, never waited for. Memory: a context for each
 * participant. Runs in a transaction of the worker, inside a BankSession.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "adapters/store/store.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

dlist_head	bank_participants = DLIST_STATIC_INIT(bank_participants);

/* Columns of the query below. */
enum
{
	PART_ID, PART_NAME, PART_URL, PART_CONNECT_TIMEOUT, PART_REQUEST_TIMEOUT, PART_RETRY_DELAY,
	PART_RETRY_MAX_DELAY, PART_BREAKER_TIMEOUT, PART_CONCURRENCY, PART_THRESHOLD, PART_ACTIVE,
	PART_SECRETS, PART_SECRET_EXPIRES, PART_REVISION, PART_BREAKER_STATE, PART_BREAKER_FORCED,
	PART_BREAKER_SINCE, PART_BREAKER_FAILURES, PART_THROTTLED_UNTIL,
	PART_COLUMNS
};

static BankPlan bank_participants_plan = {
	.text = "SELECT s.participant_id, s.name, s.url, "
	BANK_MILLISECONDS("connect_timeout") BANK_MILLISECONDS("request_timeout")
	BANK_MICROSECONDS("retry_delay") BANK_MICROSECONDS("retry_max_delay")
	BANK_MICROSECONDS("breaker_timeout")
	"s.concurrency, s.failure_threshold, s.state OPERATOR(pg_catalog.=) 'active', "
	"ARRAY(SELECT k.secret FROM bank.participant_secrets AS k "
	"WHERE k.participant_id OPERATOR(pg_catalog.=) s.participant_id "
	"AND (k.expires_at IS NULL OR k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()) "
	"ORDER BY k.created_at USING OPERATOR(pg_catalog.>)), "
	"(SELECT pg_catalog.min(k.expires_at) FROM bank.participant_secrets AS k "
	"WHERE k.participant_id OPERATOR(pg_catalog.=) s.participant_id "
	"AND k.expires_at OPERATOR(pg_catalog.>) pg_catalog.now()), "
	"p.revision, p.breaker_state, p.breaker_forced, p.breaker_since, p.breaker_failures, "
	"p.throttled_until "
	"FROM bank.participants AS s JOIN bank.participant_progress AS p "
	"ON p.participant_id OPERATOR(pg_catalog.=) s.participant_id"
};

/* The participant with this identifier, or NULL. */
static BankParticipant *
bank_participant_find(const BankUuid *id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);

		if (bank_uuid_equal(&participant->id, id))
			return participant;
	}
	return NULL;
}

/* One that the worker has not known so far. */
static BankParticipant *
bank_participant_create(const BankUuid *id)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "banking participant",
												  ALLOCSET_DEFAULT_SIZES);
	BankParticipant *participant = MemoryContextAllocZero(context, sizeof(BankParticipant));

	participant->context = context;
	participant->id = *id;
	dlist_init(&participant->exchanges);
	dlist_push_tail(&bank_participants, &participant->node);
	return participant;
}

/* Drop what the worker knows of it; its exchanges are given up. */
static void
bank_participant_forget(BankParticipant *participant)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &participant->exchanges)
		bank_exchange_free(dlist_container(BankExchange, node, iter.cur));
	bank_target_release(participant->target);
	dlist_delete(&participant->node);
	MemoryContextDelete(participant->context);
}

/* Take over what the row says about where to and how. */
static void
bank_participant_set(BankParticipant *participant, const Datum *values, const bool *nulls)
{
	BankTargetRow target = {0};

	strlcpy(participant->name, TextDatumGetCString(values[PART_NAME]), sizeof(participant->name));
	target.url = values[PART_URL];
	target.secrets = values[PART_SECRETS];
	target.connect_timeout = DatumGetInt32(values[PART_CONNECT_TIMEOUT]);
	target.request_timeout = DatumGetInt32(values[PART_REQUEST_TIMEOUT]);
	bank_target_release(participant->target);
	participant->target = bank_target_make(&target);
	participant->active = DatumGetBool(values[PART_ACTIVE]);
	participant->retry.max_attempts = PG_INT32_MAX;
	participant->retry.first_delay = DatumGetInt64(values[PART_RETRY_DELAY]);
	participant->retry.max_delay = DatumGetInt64(values[PART_RETRY_MAX_DELAY]);
	participant->breaker_policy.failure_threshold = DatumGetInt32(values[PART_THRESHOLD]);
	participant->breaker_policy.timeout = DatumGetInt64(values[PART_BREAKER_TIMEOUT]);
	participant->breaker_policy.concurrency = DatumGetInt32(values[PART_CONCURRENCY]);
	if (!nulls[PART_SECRET_EXPIRES])
		bank_relay_reload_by(DatumGetTimestampTz(values[PART_SECRET_EXPIRES]));
}

/* Take over what the row says about how it has gone; requests under way are late for it. */
static void
bank_participant_set_progress(BankParticipant *participant, const Datum *values,
							  const bool *nulls, TimestampTz now)
{
	int64		generation = participant->breaker.generation;

	participant->revision = DatumGetInt64(values[PART_REVISION]);
	participant->throttled_until = nulls[PART_THROTTLED_UNTIL] ? 0 :
		DatumGetTimestampTz(values[PART_THROTTLED_UNTIL]);
	bank_breaker_load(&participant->breaker, &participant->breaker_policy,
					  values[PART_BREAKER_STATE], DatumGetBool(values[PART_BREAKER_FORCED]),
					  DatumGetTimestampTz(values[PART_BREAKER_SINCE]),
					  DatumGetInt32(values[PART_BREAKER_FAILURES]), now);
	participant->breaker.generation = generation + 2;
}

/* Read all participants. */
void
bank_participants_load(TimestampTz now)
{
	dlist_mutable_iter iter;
	SPITupleTable *table;
	uint64		n;
	uint64		i;

	dlist_foreach_modify(iter, &bank_participants)
		dlist_container(BankParticipant, node, iter.cur)->seen = false;
	n = bank_plan_execute(&bank_participants_plan, NULL, NULL, true);
	table = SPI_tuptable;
	for (i = 0; i < n; i++)
	{
		Datum		values[PART_COLUMNS];
		bool		nulls[PART_COLUMNS];
		BankParticipant *participant;
		BankUuid	id;

		heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
		bank_uuid_from_datum(values[PART_ID], &id);
		participant = bank_participant_find(&id);
		if (participant == NULL)
			participant = bank_participant_create(&id);
		participant->seen = true;
		participant->look = true;
		bank_participant_set(participant, values, nulls);
		if (participant->revision != DatumGetInt64(values[PART_REVISION]))
			bank_participant_set_progress(participant, values, nulls, now);
	}
	SPI_freetuptable(table);
	dlist_foreach_modify(iter, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);

		if (!participant->seen)
			bank_participant_forget(participant);
	}
}

/* Give each participant what it is asked by. Outside a transaction. */
void
bank_participants_find_sink(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);
		const char *why = "";

		if (participant->sink != NULL)
			continue;
		participant->sink = bank_sinks_get("http", &why);
		if (participant->sink == NULL)
			ereport(LOG,
					(errmsg("banking relay: participant \"%s\" cannot be asked: %s",
							participant->name, why)));
	}
}

/* The endpoint wants no more: pause the participant, unless somebody is at it just now. */
static void
bank_participant_pause(BankParticipant *participant)
{
	static BankPlan plan = {
		.text = "UPDATE bank.participants AS s SET state = 'paused', "
		"changed_at = pg_catalog.now() WHERE s.participant_id OPERATOR(pg_catalog.=) "
		"(SELECT l.participant_id FROM bank.participants AS l "
		"WHERE l.participant_id OPERATOR(pg_catalog.=) $1 FOR UPDATE SKIP LOCKED)",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		id = bank_uuid_datum(&participant->id);

	if (bank_plan_execute(&plan, &id, NULL, false) == 1)
		participant->disable = false;
}

/*
 * Write the progress row. False: somebody else holds it, or has changed it: nothing is
 * written, try again later.
 */
bool
bank_participant_record(BankParticipant *participant)
{
	static BankPlan plan = {
		.text = "UPDATE bank.participant_progress AS p SET breaker_state = $3, "
		"breaker_forced = $4, breaker_since = $5, breaker_failures = $6, throttled_until = $7, "
		"answered = p.answered OPERATOR(pg_catalog.+) $8, "
		"failed = p.failed OPERATOR(pg_catalog.+) $9, "
		"last_answered_at = COALESCE($10, p.last_answered_at), "
		"last_error = COALESCE($11, p.last_error), "
		"last_error_at = COALESCE($12, p.last_error_at) "
		"WHERE p.participant_id OPERATOR(pg_catalog.=) (SELECT l.participant_id "
		"FROM bank.participant_progress AS l "
		"WHERE l.participant_id OPERATOR(pg_catalog.=) $1 "
		"AND l.revision OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE SKIP LOCKED)",
		.nargs = 12,
		.types = {UUIDOID, INT8OID, TEXTOID, BOOLOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID,
		INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID}
	};
	const BankBreaker *breaker = &participant->breaker;
	Datum		values[12];
	char		nulls[12];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = bank_uuid_datum(&participant->id);
	values[1] = Int64GetDatum(participant->revision);
	values[2] = CStringGetTextDatum(bank_breaker_state_name(breaker->state));
	values[3] = BoolGetDatum(breaker->forced);
	values[4] = TimestampTzGetDatum(breaker->since);
	values[5] = Int32GetDatum(breaker->failures);
	values[6] = TimestampTzGetDatum(participant->throttled_until);
	nulls[6] = participant->throttled_until == 0 ? 'n' : ' ';
	values[7] = Int64GetDatum(participant->answered);
	values[8] = Int64GetDatum(participant->failed);
	values[9] = TimestampTzGetDatum(participant->last_answered_at);
	nulls[9] = participant->last_answered_at == 0 ? 'n' : ' ';
	values[10] = CStringGetTextDatum(participant->last_error);
	values[11] = TimestampTzGetDatum(participant->last_error_at);
	nulls[10] = nulls[11] = participant->last_error_at == 0 ? 'n' : ' ';
	if (bank_plan_execute(&plan, values, nulls, false) == 0)
		return false;
	participant->answered = 0;
	participant->failed = 0;
	participant->last_answered_at = 0;
	participant->last_error_at = 0;
	if (participant->disable)
		bank_participant_pause(participant);
	participant->progressed = participant->disable;
	return true;
}
