/*
 * session.c
 *		Sessions of the event store: SPI, the owner's rights, kept plans.
 *
 * Transactions: everything runs in the caller's transaction. Memory: plans live
 * in SPI's own contexts until the backend ends; all else belongs to the SPI
 * call and is freed by bank_session_close.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "ports/event_store.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* Who has opened the session, and in which security context; nobody without a session. */
static Oid	bank_caller = InvalidOid;
static int	bank_caller_context = 0;
static bool bank_session_watching = false;

/* The role that owns bank.events. Raises when the extension is not there. */
static Oid
bank_session_owner(void)
{
	Oid			schema = get_namespace_oid("bank", true);
	Oid			events = OidIsValid(schema) ? get_relname_relid("events", schema) : InvalidOid;
	HeapTuple	tuple = OidIsValid(events) ? SearchSysCache1(RELOID, ObjectIdGetDatum(events)) :
		NULL;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"bank.events\" does not exist"),
				 errhint("Run CREATE EXTENSION banking in this database.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Sessions end with the transaction that an error ends, without being closed. */
static void
bank_session_at_end(XactEvent event, void *argument pg_attribute_unused())
{
	if (event == XACT_EVENT_ABORT)
		bank_caller = InvalidOid;
}

/* The same for a subtransaction. Where a session goes on around it, nobody is its caller. */
static void
bank_session_at_subend(SubXactEvent event, SubTransactionId id pg_attribute_unused(),
					   SubTransactionId parent pg_attribute_unused(),
					   void *argument pg_attribute_unused())
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		bank_caller = InvalidOid;
}

/*
 * Connect to SPI and take the rights of the ledger's owner. Must be closed by
 * bank_session_close unless an error ends the (sub)transaction first.
 */
void
bank_session_open(BankSession *session)
{
	Oid			owner = bank_session_owner();

	if (!bank_session_watching)
	{
		RegisterXactCallback(bank_session_at_end, NULL);
		RegisterSubXactCallback(bank_session_at_subend, NULL);
		bank_session_watching = true;
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&session->caller, &session->caller_context);
	session->outer_caller = bank_caller;
	session->outer_context = bank_caller_context;
	bank_caller = session->caller;
	bank_caller_context = session->caller_context;
	SetUserIdAndSecContext(owner, session->caller_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
}

/*
 * The role whose rights the caller of the API used, and its security context. Must be called
 * inside a session.
 */
Oid
bank_session_caller(int *context)
{
	*context = bank_caller_context;
	return bank_caller;
}

/*
 * Take the table locks that a command's writes will need, before any other, and
 * bank.accounts before bank.events: so do bank_rebuild and every command.
 */
void
bank_session_lock_tables(void)
{
	Oid			schema = get_namespace_oid("bank", false);

	LockRelationOid(get_relname_relid("accounts", schema), RowExclusiveLock);
	LockRelationOid(get_relname_relid("events", schema), RowExclusiveLock);
}

/*
 * Take a lock of this ledger on a name, until the transaction ends (or is
 * prepared and ends later): the right to open a stripe, or an account with this
 * identifier. The lock is one on bank.accounts as an object with a
 * sub-identifier, so it cannot be confused with anybody's advisory lock.
 * Returns false when dont_wait and somebody else has it.
 */
bool
bank_lock_name(uint32 hash, bool dont_wait)
{
	Oid			accounts = get_relname_relid("accounts", get_namespace_oid("bank", false));
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, accounts, hash, 1);
	return LockAcquire(&tag, ExclusiveLock, false, dont_wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* Give the caller its own rights back and leave SPI. */
void
bank_session_close(const BankSession *session)
{
	SetUserIdAndSecContext(session->caller, session->caller_context);
	bank_caller = session->outer_caller;
	bank_caller_context = session->outer_context;
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/*
 * The kept plan of a statement, prepared at first use and again when it could
 * not be revalidated. Plans are generic: all statements are lookups by key.
 */
SPIPlanPtr
bank_plan_get(BankPlan *plan)
{
	if (plan->plan != NULL && SPI_plan_is_valid(plan->plan))
		return plan->plan;
	if (plan->plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare_cursor(plan->text, plan->nargs, plan->types,
												  CURSOR_OPT_GENERIC_PLAN);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "SPI_prepare failed for \"%s\": %s", plan->text,
				 SPI_result_code_string(SPI_result));
		plan->plan = prepared;
	}
	return plan->plan;
}

/*
 * Run a statement; rows it returns are in SPI_tuptable. Not read only, it sees
 * what committed before this moment (in READ COMMITTED). Returns the number of
 * rows returned or changed.
 */
uint64
bank_plan_execute(BankPlan *plan, Datum *values, const char *nulls, bool read_only)
{
	int			result = SPI_execute_plan(bank_plan_get(plan), values, nulls, read_only, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed for \"%s\": %s", plan->text,
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* See ports/event_store.h. */
void *
bank_store_allocate(size_t size)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, Max(size, 1),
									  MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
}
