/*
 * notify.c
 *		What a transaction has done that concerns the relay, told at its commit.
 *
 * Notes are taken while the transaction runs and forgotten when it aborts. A part
 * of it that is rolled back may leave one behind: the worker then looks in vain. A prepared
 * transaction is committed by somebody else, who tells nothing: the worker's timer finds its
 * events, but not that the relay was stopped or started, so such a one is refused.
 */
#include "postgres.h"

#include "adapters/relay/notify.h"
#include "adapters/relay/shared.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "adapters/pg_compat.h"

PG_FUNCTION_INFO_V1(bank_relay_note_change);
PG_FUNCTION_INFO_V1(bank_relay_note_created);
PG_FUNCTION_INFO_V1(bank_relay_note_restore);

bool		bank_relay_is_worker = false;

static bool bank_noted_events = false;
static bool bank_noted_changes = false;
static bool bank_noted_restore = false;
static bool bank_noted_created = false;
static bool bank_noted_start = false;
static bool bank_noted_stop = false;
static int	bank_noted_stop_level = 0;	/* nesting level of the transaction that stopped it */

/*
 * There is a ledger where there may have been none, bank_relay_start has committed, or
 * bank_relay_stop has not: there shall be a worker again.
 */
static void
bank_relay_resume(void)
{
	BankRelaySlot *slot;

	if (bank_relay_shared == NULL)
		return;
	bank_relay_lock();
	slot = bank_relay_slot(MyDatabaseId, true);
	if (slot != NULL && slot->pid == 0 && slot->state != BANK_RELAY_STARTING)
		bank_relay_want(slot, 0);
	else if (slot != NULL)
		slot->stop = false;
	bank_relay_unlock();
}

/* Callback at the end of every transaction. */
static void
bank_relay_at_end(XactEvent event, void *argument pg_attribute_unused())
{
	if (event == XACT_EVENT_PRE_PREPARE && (bank_noted_start || bank_noted_stop))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has stopped or started the relay")));
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT &&
		(bank_noted_events || bank_noted_changes || bank_noted_restore))
		bank_relay_commit(bank_noted_events, bank_noted_changes || bank_noted_restore,
						  bank_noted_restore);
	if (event == XACT_EVENT_COMMIT ? bank_noted_start || bank_noted_created : bank_noted_stop)
		bank_relay_resume();
	bank_noted_events = bank_noted_changes = bank_noted_restore = bank_noted_created = false;
	bank_noted_start = bank_noted_stop = false;
}

/*
 * Callback at the end of every subtransaction. One that has stopped the relay and is rolled
 * back starts it again, when the whole transaction ends: a worker that finds it stopped
 * after all ends by itself.
 */
static void
bank_relay_at_sub_end(SubXactEvent event, SubTransactionId id pg_attribute_unused(),
					  SubTransactionId parent pg_attribute_unused(),
					  void *argument pg_attribute_unused())
{
	int			level = GetCurrentTransactionNestLevel();

	if (!bank_noted_stop || bank_noted_stop_level < level)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		bank_noted_stop_level = level - 1;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		bank_noted_start = true;
}

/* Have the end of the transaction watched. */
static void
bank_relay_watch(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(bank_relay_at_end, NULL);
	RegisterSubXactCallback(bank_relay_at_sub_end, NULL);
	registered = true;
}

/* The running transaction has appended events. */
void
bank_relay_note_events(void)
{
	bank_relay_watch();
	bank_noted_events = true;
}

/* The running transaction has changed what the worker does. */
void
bank_relay_note_changes(void)
{
	bank_relay_watch();
	bank_noted_changes = true;
}

/* The running transaction has restored deliveries, or events to which such may belong. */
void
bank_relay_note_restored(void)
{
	bank_relay_watch();
	bank_noted_restore = true;
}

/* The running transaction has stopped the worker (at once), or starts it (at commit). */
void
bank_relay_note_stop(bool stop)
{
	int			level = GetCurrentTransactionNestLevel();

	bank_relay_watch();
	bank_noted_start = !stop;
	if (!stop)
		return;
	bank_noted_stop_level = bank_noted_stop ? Min(bank_noted_stop_level, level) : level;
	bank_noted_stop = true;
}

/* Trigger function bank.relay_note_change(): subscriptions have changed. */
Datum
bank_relay_note_change(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"bank.relay_note_change")));
	bank_relay_note_changes();
	return PointerGetDatum(NULL);
}

/*
 * Trigger function bank.relay_note_restore(): deliveries have been written that the worker does not
 * know of. It does not hear of its own; commands, which change the subscription first, tell it by
 * its revision.
 */
Datum
bank_relay_note_restore(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"bank.relay_note_restore")));
	if (!bank_relay_is_worker && !bank_noted_changes)
		bank_relay_note_restored();
	return PointerGetDatum(NULL);
}

/* bank.relay_note_created(): called by the install script, and by those of upgrades. */
Datum
bank_relay_note_created(PG_FUNCTION_ARGS)
{
	bank_relay_note_changes();
	bank_noted_created = true;
	PG_RETURN_VOID();
}
