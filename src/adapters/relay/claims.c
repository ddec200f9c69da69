/*
 * claims.c
 *		Takes transfers whose participant is to be asked, and decides what to ask.
 *
 * A claim is written before anything is sent: that it is tried, and a time before which it
 * is not tried again, so that a worker that dies over it leaves it to the next one, not
 * at once. What was reserved becomes submitted in the same transaction: if the server
 * stops after that, it may have been sent, and is treated so.
 *
 * Locks: rows of bank.transfer_attempts, and those of what is submitted; none is waited for. Runs
 * in a transaction of the worker, inside a BankSession.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "adapters/store/store.h"
#include "application/transfers.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/* A claim lasts so much longer than its request may. */
#define BANK_CLAIM_MARGIN (1 * USECS_PER_SEC)
/* When to look again at what somebody has locked. */
#define BANK_CLAIM_LOCKED (100 * INT64CONST(1000))
/* When to try again what has raised an error. */
#define BANK_CLAIM_FAILED (60 * USECS_PER_SEC)

/* A row of bank.transfer_attempts, and what is decided on it. */
typedef struct BankClaim
{
	const BankParticipant *participant;
	TimestampTz now;
	BankUuid	transfer_id;
	int32		attempts;
	bool		absent;
	BankTransfer transfer;
	BankTransferAction action;
} BankClaim;

/*
 * How many more may be asked of this participant now. It takes at most half of what is left for
 * all, so that one that hangs leaves some to the others.
 */
static int
bank_claims_room(const BankParticipant *participant, TimestampTz now)
{
	int			room;

	if (!participant->active || participant->sink == NULL || participant->throttled_until > now)
		return 0;
	room = bank_breaker_allows(&participant->breaker, &participant->breaker_policy,
							   participant->in_flight);
	room = Min(room, (BANK_EXCHANGES_SENT - bank_exchanges_in_flight + 1) / 2);
	room = Min(room, 4 * participant->breaker_policy.concurrency - participant->n_exchanges);
	return Min(room, BANK_EXCHANGES - bank_exchanges_total);
}

/* Is there something to claim, as far as we know? */
bool
bank_claims_wanted(const BankParticipant *participant, TimestampTz now)
{
	return (participant->look || (participant->next_due != 0 && participant->next_due <= now)) &&
		bank_claims_room(participant, now) > 0;
}

/* Not before then; asked: it counts as an attempt, and "absent" is asked about anew. */
static void
bank_claims_postpone(const BankUuid *transfer_id, TimestampTz until, bool asked, TimestampTz now)
{
	static BankPlan plan = {
		.text = "UPDATE bank.transfer_attempts AS a SET next_attempt_at = $2, "
		"attempts = CASE WHEN $3 THEN LEAST(a.attempts, 1000000) OPERATOR(pg_catalog.+) 1 "
		"ELSE a.attempts END, absent = a.absent AND NOT $3, "
		"last_attempt_at = CASE WHEN $3 THEN $4 ELSE a.last_attempt_at END "
		"WHERE a.transfer_id OPERATOR(pg_catalog.=) $1",
		.nargs = 4, .types = {UUIDOID, TIMESTAMPTZOID, BOOLOID, TIMESTAMPTZOID}
	};
	Datum		values[4];

	values[0] = bank_uuid_datum(transfer_id);
	values[1] = TimestampTzGetDatum(until);
	values[2] = BoolGetDatum(asked);
	values[3] = TimestampTzGetDatum(now);
	bank_plan_execute(&plan, values, NULL, false);
}

/* A step: decide what to ask about one transfer, and write that it is asked. */
static bool
bank_claims_decide(void *argument)
{
	BankClaim  *claim = argument;
	BankTransfer *transfer = &claim->transfer;
	bool		expired;

	claim->action = BANK_ACTION_NONE;
	if (!bank_store_find_transfer(&claim->transfer_id, transfer) ||
		!bank_transfer_is_driven(transfer->state))
	{
		bank_store_settle_transfer(&claim->transfer_id);
		return true;
	}
	expired = transfer->deadline != 0 && transfer->deadline <= claim->now;
	if (expired || transfer->state == BANK_TRANSFER_RESERVED)
	{
		bank_session_lock_tables();
		if (!bank_step_lock(transfer))
			return false;
		if (expired)
			(void) bank_transfers_expire(&claim->transfer_id);
		else
			(void) bank_transfers_submit(&claim->transfer_id);
		if (!bank_store_find_transfer(&claim->transfer_id, transfer))
			return true;
	}
	claim->action = bank_transfer_action(transfer->state, claim->attempts > 0, claim->absent);
	if (transfer->state == BANK_TRANSFER_RESERVED)
		elog(ERROR, "transfer could not be submitted");
	if (claim->action != BANK_ACTION_NONE)
	{
		const BankSinkTarget *target = &claim->participant->target->sink_target;

		bank_claims_postpone(&claim->transfer_id, claim->now + BANK_CLAIM_MARGIN +
							 INT64CONST(1000) * target->request_timeout, true, claim->now);
	}
	return true;
}

/* A step: leave one alone that has raised an error. */
static bool
bank_claims_put_off(void *argument)
{
	const BankClaim *claim = argument;

	bank_claims_postpone(&claim->transfer_id, claim->now + BANK_CLAIM_FAILED, false, claim->now);
	return true;
}

/* When the next one of a participant is due that was not claimed; 0: there is none. */
static TimestampTz
bank_claims_next_due(const BankParticipant *participant)
{
	static BankPlan plan = {
		.text = "SELECT a.next_attempt_at FROM bank.transfer_attempts AS a "
		"WHERE a.participant OPERATOR(pg_catalog.=) $1 "
		"ORDER BY a.next_attempt_at USING OPERATOR(pg_catalog.<) LIMIT 1",
		.nargs = 1, .types = {TEXTOID}
	};
	Datum		name = CStringGetTextDatum(participant->name);
	TimestampTz due = 0;
	bool		isnull;

	if (bank_plan_execute(&plan, &name, NULL, false) == 1)
		due = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
												&isnull));
	SPI_freetuptable(SPI_tuptable);
	return due;
}

/* Decide on one row; true: something is claimed. */
static bool
bank_claims_take_one(BankParticipant *participant, BankClaim *claim)
{
	char		what[80] = "transfer ";
	bool		failed;

	if (bank_exchange_find(&claim->transfer_id) != NULL)
	{
		/* what came of the last attempt is not recorded yet */
		bank_claims_postpone(&claim->transfer_id, claim->now + 10 * USECS_PER_SEC, false,
							 claim->now);
		return false;
	}
	bank_uuid_format(&claim->transfer_id, what + strlen(what));
	if (!bank_step_run(bank_claims_decide, claim, what, &failed))
		return false;
	if (failed)
	{
		(void) bank_step_run(bank_claims_put_off, claim, NULL, &failed);
		return false;
	}
	if (claim->action == BANK_ACTION_NONE)
		return false;
	(void) bank_exchange_make(participant, &claim->transfer, claim->action, claim->attempts + 1);
	return true;
}

/* Claim what is due for a participant, as much as it may be asked now. True: something is. */
bool
bank_claims_take(BankParticipant *participant, TimestampTz now)
{
	static BankPlan plan = {
		.text = "SELECT a.transfer_id, a.attempts, a.absent FROM bank.transfer_attempts AS a "
		"WHERE a.participant OPERATOR(pg_catalog.=) $1 "
		"AND a.next_attempt_at OPERATOR(pg_catalog.<=) $2 "
		"ORDER BY a.next_attempt_at USING OPERATOR(pg_catalog.<) LIMIT $3 "
		"FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 3, .types = {TEXTOID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[3];
	SPITupleTable *table;
	uint64		n;
	uint64		i;
	bool		claimed = false;

	values[0] = CStringGetTextDatum(participant->name);
	values[1] = TimestampTzGetDatum(now);
	values[2] = Int64GetDatum(bank_claims_room(participant, now));
	n = bank_plan_execute(&plan, values, NULL, false);
	table = SPI_tuptable;
	for (i = 0; i < n; i++)
	{
		BankClaim	claim = {.participant = participant, .now = now};
		bool		isnull;

		bank_uuid_from_datum(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull),
							 &claim.transfer_id);
		claim.attempts = DatumGetInt32(SPI_getbinval(table->vals[i], table->tupdesc, 2, &isnull));
		claim.absent = DatumGetBool(SPI_getbinval(table->vals[i], table->tupdesc, 3, &isnull));
		claimed |= bank_claims_take_one(participant, &claim);
	}
	SPI_freetuptable(table);
	participant->look = false;
	participant->next_due = bank_claims_next_due(participant);
	if (participant->next_due != 0 && participant->next_due <= now && !claimed)
		participant->next_due = now + BANK_CLAIM_LOCKED;
	return claimed;
}

/* A step: see bank_claims_add_missing. */
static bool
bank_claims_insert_missing(void *argument pg_attribute_unused())
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.transfer_attempts (transfer_id, participant, next_attempt_at, "
		"attempts, absent) SELECT t.transfer_id, t.participant, pg_catalog.now(), 0, false "
		"FROM bank.transfers AS t "
		"WHERE t.state IN ('reserved', 'submitted', 'cancelling', 'returning') "
		"AND NOT EXISTS (SELECT FROM bank.transfer_attempts AS a "
		"WHERE a.transfer_id OPERATOR(pg_catalog.=) t.transfer_id) ON CONFLICT DO NOTHING"
	};

	bank_plan_execute(&plan, NULL, NULL, false);
	return true;
}

/*
 * Transfers that are under way have a row: an import or a rebuild may have made some that
 * have none.
 */
void
bank_claims_add_missing(void)
{
	bool		failed;

	(void) bank_step_run(bank_claims_insert_missing, NULL, "transfers without attempts", &failed);
}
