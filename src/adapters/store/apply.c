/*
 * apply.c
 *		The trigger that keeps the read models: AFTER INSERT on bank.events, per
 *		statement; and the same for events that were inserted below the executor.
 *
 * It trusts nobody: every inserted row must continue its streams exactly, also
 * one written by hand or by pg_restore, else BK020 ends the statement. Only what
 * logical replication writes is taken as it comes. Rows that bring the transaction ids
 * of another cluster are taken for a restore (incarnation.c).
 *
 * Locks: rows of bank.accounts FOR NO KEY UPDATE, in the order the events touch
 * them; a command holds all of them already, and holds change under the lock of
 * their account. Transactions: the inserting one.
 * Memory: projection.c's, in a context of its own that ends with the call.
 */
#include "postgres.h"

#include "adapters/relay/notify.h"
#include "adapters/sql/errors.h"
#include "adapters/store/replay.h"
#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/xid8.h"

#include <inttypes.h>

PG_FUNCTION_INFO_V1(bank_events_apply);

/* Load callback: the account the command has just decided on, or the locked row. */
static bool
bank_apply_load(const BankUuid *account_id, BankAccount *account)
{
	const BankAccount *decided = bank_store_decided_account(account_id);

	if (decided == NULL)
		return bank_account_row_lock(account_id, account);
	*account = *decided;
	return true;
}

/* Where the holds and cases are that the events do not make. */
static const BankProjectionStored bank_apply_stored = {
	bank_store_find_hold, bank_hold_rows_open, bank_case_find
};

/* Keep a back-dated movement. */
void
bank_apply_backdated(const BankBackdated *movement, void *argument pg_attribute_unused())
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.backdated_movements "
		"(account_id, version, business_at, latest_before, amount, held) "
		"VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		.nargs = 6, .types = {UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID}
	};
	Datum		values[6];

	values[0] = bank_uuid_datum(&movement->account_id);
	values[1] = Int64GetDatum(movement->version);
	values[2] = TimestampTzGetDatum(movement->business_at);
	values[3] = TimestampTzGetDatum(movement->latest_before);
	values[4] = Int64GetDatum(movement->amount);
	values[5] = Int64GetDatum(movement->held);
	/* a row that a snapshot of the transaction does not see is a serialization failure */
	if (bank_plan_execute(&plan, values, NULL, false) != 1)
		elog(ERROR, "back-dated movement is there already");
}

/* Raise BK020 for an event that does not fit. */
static void
bank_apply_refuse(const BankEvent *event, const BankUuid *stream_id, unsigned flaws)
{
	char		id[BANK_UUID_TEXT];
	BankError	error;

	bank_uuid_format(stream_id, id);
	bank_error_set(&error, BANK_EVENT_REFUSED, "%s %s, position %" PRId64 ": %s.",
				   !bank_event_is_case(event->type) ? "Account" :
				   bank_case_kind(event->type) == BANK_CASE_TRANSFER ? "Transfer" : "Approval", id,
				   event->position, bank_flaw_text(flaws));
	bank_error_hint(&error, "Events are appended by the bank_* commands.");
	bank_ereport(&error);
}

/* Raise what is wrong when an account could not be written. */
static void
bank_apply_fail(const BankProjected *entry)
{
	char		id[BANK_UUID_TEXT];
	BankError	error;

	bank_uuid_format(&entry->account.id, id);
	if (entry->old_version == 0)
		bank_error_set(&error, BANK_ACCOUNT_EXISTS,
					   "The identifier, number or stripe of account %s is taken.", id);
	else
		bank_error_set(&error, BANK_EVENT_REFUSED,
					   "Account %s was changed while its events were appended.", id);
	bank_ereport(&error);
}

/*
 * Write what the projection made of the accounts; "row" is a context that is
 * reset after each of them.
 */
static void
bank_apply_write(BankProjection *projection, MemoryContext row)
{
	MemoryContext caller = CurrentMemoryContext;
	BankAccountUpdates *updates = NULL;
	BankProjected *entry;

	for (entry = bank_projection_first(projection); entry != NULL; entry = entry->next)
	{
		bool		written;

		CHECK_FOR_INTERRUPTS();
		if (entry->old_version == entry->account.version)
			continue;			/* no event touched it after all */
		if (entry->old_version != 0 && updates == NULL)
			updates = bank_account_updates_begin();
		MemoryContextSwitchTo(row);		/* SPI goes back to its own */
		written = entry->old_version == 0 ? bank_account_row_insert(&entry->account) :
			bank_account_update(updates, &entry->account, entry->old_version);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
		if (!written)
			bank_apply_fail(entry);
	}
	if (updates != NULL)
		bank_account_updates_end(updates);
}

/* Write what the projection made of the holds, as bank_apply_write does. */
static void
bank_apply_write_holds(BankProjection *projection, MemoryContext row)
{
	MemoryContext caller = CurrentMemoryContext;
	BankProjectedHold *entry;

	for (entry = bank_projection_first_hold(projection); entry != NULL; entry = entry->next)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row);
		MemoryContextSwitchTo(row);
		if (!entry->stored)
			bank_hold_row_insert(&entry->hold);
		else if (!bank_hold_row_resolve(&entry->hold))
		{
			char		id[BANK_UUID_TEXT];
			BankError	error;

			bank_uuid_format(&entry->hold.id, id);
			bank_error_set(&error, BANK_EVENT_REFUSED,
						   "Hold %s was changed while its events were appended.", id);
			bank_ereport(&error);
		}
	}
	MemoryContextSwitchTo(caller);
}

/* Write what the projection made of the cases, as bank_apply_write does. */
static void
bank_apply_write_cases(BankProjection *projection, MemoryContext row)
{
	MemoryContext caller = CurrentMemoryContext;
	BankProjectedCase *entry;

	for (entry = bank_projection_first_case(projection); entry != NULL; entry = entry->next)
	{
		MemoryContextReset(row);
		MemoryContextSwitchTo(row);
		if (entry->old_version == 0)
			bank_case_insert(&entry->state);
		else if (!bank_case_update(&entry->state, entry->old_version))
		{
			char		id[BANK_UUID_TEXT];
			BankError	error;

			bank_uuid_format(bank_case_id(&entry->state), id);
			bank_error_set(&error, BANK_EVENT_REFUSED,
						   "The %s %s was changed while its events were appended.",
						   bank_case_name(entry->state.kind), id);
			bank_ereport(&error);
		}
	}
	MemoryContextSwitchTo(caller);
}

/* Check an event against its accounts and apply it to them, in memory. */
static void
bank_apply_event(BankProjection *projection, const BankEvent *event)
{
	const BankUuid *flawed;
	unsigned	flaws = bank_projection_add(projection, event, &flawed);

	if (flaws != 0)
		bank_apply_refuse(event, flawed, flaws);
}

/*
 * What the trigger does, for events that a command has just inserted directly:
 * the same checks, the same writes. Must be called inside a BankSession.
 */
void
bank_apply_events(BankEvent *const *events, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "banking projection",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext row = AllocSetContextCreate(context, "banking projection row",
											  ALLOCSET_DEFAULT_SIZES);
	BankProjection *projection = bank_projection_create(context, bank_apply_load,
														bank_apply_backdated, NULL);
	MemoryContext caller;
	const BankAccount *const *decided;
	int			n_decided;
	int			i;

	bank_relay_note_events();
	bank_projection_stored(projection, &bank_apply_stored);
	/* touch the accounts in their order, which is the order in which they will be written */
	decided = bank_store_decided_accounts(&n_decided);
	for (i = 0; i < n_decided; i++)
		bank_projection_load(projection, &decided[i]->id);
	caller = MemoryContextSwitchTo(row);
	for (i = 0; i < n; i++)
		bank_apply_event(projection, events[i]);
	MemoryContextSwitchTo(caller);
	bank_apply_write(projection, row);
	bank_apply_write_holds(projection, row);
	bank_apply_write_cases(projection, row);
	MemoryContextDelete(context);
}

/* Trigger function bank.events_apply(). */
Datum
bank_events_apply(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MemoryContext context;
	MemoryContext row;
	MemoryContext caller;
	BankSession session;
	BankProjection *projection;
	TupleTableSlot *slot;
	int64		first_position = PG_INT64_MAX;
	int64		last_position = 0;
	uint64		own_xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	bool		loading = false;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		RelationGetRelid(trigger->tg_relation) !=
		get_relname_relid("events", get_namespace_oid("bank", false)) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || trigger->tg_newtable == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER INSERT FOR EACH STATEMENT "
						"with a transition table",
						"bank.events_apply")));

	bank_relay_note_events();

	/*
	 * What logical replication brings was checked where it was written, and its read
	 * models come with it; its first copy is not even in order.
	 */
	if (IsLogicalWorker())
		return PointerGetDatum(NULL);

	bank_session_open(&session);
	context = AllocSetContextCreate(CurrentMemoryContext, "banking projection",
									ALLOCSET_DEFAULT_SIZES);
	row = AllocSetContextCreate(context, "banking projection row", ALLOCSET_DEFAULT_SIZES);
	projection = bank_projection_create(context, bank_apply_load, bank_apply_backdated, NULL);
	bank_projection_stored(projection, &bank_apply_stored);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(trigger->tg_relation), &TTSOpsMinimalTuple);
	tuplestore_rescan(trigger->tg_newtable);
	while (tuplestore_gettupleslot(trigger->tg_newtable, true, false, slot))
	{
		BankEvent	event;

		caller = MemoryContextSwitchTo(row);
		slot_getallattrs(slot);
		bank_event_from_values(slot->tts_values, slot->tts_isnull, &event);
		first_position = Min(first_position, event.position);
		last_position = Max(last_position, event.position);
		loading |= own_xid != U64FromFullTransactionId(
			DatumGetFullTransactionId(slot->tts_values[Anum_event_transaction_id - 1]));
		bank_apply_event(projection, &event);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
	}
	bank_apply_write(projection, row);
	bank_apply_write_holds(projection, row);
	bank_apply_write_cases(projection, row);
	if (loading && !bank_incarnation_load(first_position, last_position))
	{
		BankError	error;

		bank_error_set(&error, BANK_EVENT_REFUSED,
					   "transaction_id is not the running transaction.");
		bank_error_hint(&error, "Events are appended by the bank_* commands.");
		bank_ereport(&error);
	}
	if (!bank_store_is_appending() && last_position > 0)
		bank_store_pass_position(last_position);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
	bank_session_close(&session);
	return PointerGetDatum(NULL);
}
