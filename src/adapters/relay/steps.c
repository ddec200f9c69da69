/*
 * steps.c
 *		Steps of the worker that append events: each in a subtransaction, none of which
 *		waits for a lock.
 *
 * A use case may meet anything that a command meets. What it raises concerns its own
 * transfer or account: the others go on. Locks that somebody else has are not waited for: those
 * of rows are asked for before, and all others cost a few milliseconds at most. Outside a
 * step the worker waits as it always does, for DDL only.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "adapters/store/store.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* Somebody has locked what all steps need: none is tried any more in this transaction. */
static bool bank_step_blocked = false;

/* A transaction begins in which steps will be run. */
void
bank_steps_begin(void)
{
	bank_step_blocked = false;
}

/* Is this an error of the moment, after which the same may succeed? */
static bool
bank_step_is_transient(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/*
 * Run a step. False: it is to be tried again, as it says itself or since a lock was not to be
 * had. When it raises anything else, *failed is set, the error is logged as one of "what" (NULL:
 * it is not), and it counts as done.
 */
bool
bank_step_run(BankStep step, void *argument, const char *what, bool *failed)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;
	int			nest_level;

	*failed = false;
	if (bank_step_blocked)
		return false;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		/*
		 * bank_rebuild, for one, has locks on tables for as long as it takes. Set as by a session:
		 * PGC_S_OVERRIDE would change what is restored afterwards.
		 */
		nest_level = NewGUCNestLevel();
		(void) set_config_option("lock_timeout", "20ms", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
		done = step(argument);
		AtEOXact_GUC(true, nest_level);
		if (done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		/* the worker is to end, or the server is: not for us to catch */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);
		done = !bank_step_is_transient(error->sqlerrcode);
		*failed = done;
		bank_step_blocked = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
		if (done && what != NULL)
			ereport(LOG,
					(errmsg("banking relay: %s: %s", what, error->message),
					 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0));
		FreeErrorData(error);
	}
	PG_END_TRY();
	return done;
}

/* Lock a transfer and its account, unless somebody else has one of them: false. */
bool
bank_step_lock(const BankTransfer *transfer)
{
	static BankPlan transfer_plan = {
		.text = "SELECT FROM bank.transfers AS t WHERE t.transfer_id OPERATOR(pg_catalog.=) $1 "
		"FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 1, .types = {UUIDOID}
	};
	static BankPlan account_plan = {
		.text = "SELECT FROM bank.accounts AS a WHERE a.account_id OPERATOR(pg_catalog.=) $1 "
		"FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		id = bank_uuid_datum(&transfer->id);
	Datum		account_id = bank_uuid_datum(&transfer->account_id);

	return bank_transfer_lock_name(&transfer->id, true) &&
		bank_plan_execute(&transfer_plan, &id, NULL, false) == 1 &&
		(!transfer->has_account ||
		 bank_plan_execute(&account_plan, &account_id, NULL, false) == 1);
}
