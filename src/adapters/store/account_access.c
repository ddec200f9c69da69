/*
 * account_access.c
 *		Finding, locking and updating rows of bank.accounts below the executor, whose
 *		preparations would take most of a command's time.
 *
 * Locks: rows are locked FOR NO KEY UPDATE, as the executor's LockRows node does
 * it. A customer's row is waited for, and callers keep to identifier order.
 * Transactions: the same in READ COMMITTED, REPEATABLE READ and SERIALIZABLE as
 * the statements SELECT ... FOR NO KEY UPDATE and UPDATE would be. Memory: table
 * slots, freed with each lookup. Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* bank.accounts, open for one lookup; and one of its unique indexes, unless the place is known. */
typedef struct BankAccountLookup
{
	Relation	accounts;
	Relation	index;
	TupleTableSlot *slot;		/* the row found */
	IndexScanDesc scan;
} BankAccountLookup;

/*
 * Begin a lookup in a fresh snapshot (in READ COMMITTED), as a statement would
 * have; to be ended by bank_account_lookup_end.
 */
static void
bank_account_lookup_begin(BankAccountLookup *lookup, const char *index_name, const Datum *values,
						  const RegProcedure *equals, int nkeys)
{
	Oid			schema = get_namespace_oid("bank", false);
	ScanKeyData keys[INDEX_MAX_KEYS];
	int			i;

	lookup->accounts = table_open(get_relname_relid("accounts", schema), RowExclusiveLock);
	lookup->index = index_open(get_relname_relid(index_name, schema), AccessShareLock);
	lookup->slot = table_slot_create(lookup->accounts, NULL);
	for (i = 0; i < nkeys; i++)
		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   lookup->index->rd_indcollation[i], equals[i], values[i]);
	PushActiveSnapshot(GetTransactionSnapshot());
	lookup->scan = bank_index_beginscan(lookup->accounts, lookup->index, GetActiveSnapshot(),
										nkeys);
	index_rescan(lookup->scan, keys, nkeys, NULL, 0);
}

/* Let go of the lookup; locks on tables last until the transaction ends. */
static void
bank_account_lookup_end(BankAccountLookup *lookup)
{
	if (lookup->scan != NULL)
	{
		index_endscan(lookup->scan);
		index_close(lookup->index, NoLock);
	}
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(lookup->slot);
	table_close(lookup->accounts, NoLock);
}

/*
 * Does this transaction hold the row version: has it written it, or locked it?
 * Not so any more when that was after a savepoint it has gone back to.
 */
static bool
bank_account_is_held(TupleTableSlot *slot)
{
	bool		should_free;
	HeapTupleHeader header = ExecFetchSlotHeapTuple(slot, false, &should_free)->t_data;

	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)))
		return true;
	return (header->t_infomask & (HEAP_XMAX_INVALID | HEAP_XMAX_IS_MULTI)) == 0 &&
		HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) &&
		HEAP_XMAX_IS_EXCL_LOCKED(header->t_infomask) &&
		TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(header));
}

/*
 * Begin a lookup at the remembered place of a row that this transaction holds;
 * the row is in lookup->slot. False, with nothing to end: it is not there.
 */
static bool
bank_account_lookup_held(BankAccountLookup *lookup, const BankUuid *account_id)
{
	Oid			file;
	ItemPointerData place;
	BankUuid	found;
	bool		isnull;

	if (!bank_place_find(account_id, &file, &place))
		return false;
	lookup->accounts = table_open(get_relname_relid("accounts", get_namespace_oid("bank", false)),
								  RowExclusiveLock);
	lookup->slot = table_slot_create(lookup->accounts, NULL);
	lookup->scan = NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
	if (file == lookup->accounts->rd_rel->relfilenode &&
		ItemPointerGetBlockNumber(&place) < RelationGetNumberOfBlocks(lookup->accounts) &&
		table_tuple_fetch_row_version(lookup->accounts, &place, GetActiveSnapshot(),
									  lookup->slot))
	{
		bank_uuid_from_datum(slot_getattr(lookup->slot, Anum_account_account_id, &isnull), &found);
		if (bank_uuid_equal(&found, account_id) && bank_account_is_held(lookup->slot))
			return true;
	}
	bank_account_lookup_end(lookup);
	return false;
}

/* The state of a row that this transaction holds, if it is known where. */
static bool
bank_account_read_held(const BankUuid *account_id, BankAccount *account)
{
	BankAccountLookup lookup;

	if (!bank_account_lookup_held(&lookup, account_id))
		return false;
	slot_getallattrs(lookup.slot);
	bank_account_from_values(lookup.slot->tts_values, lookup.slot->tts_isnull, account);
	bank_account_lookup_end(&lookup);
	return true;
}

/*
 * Lock the row of bank.accounts that a unique index finds for these keys, and
 * decode it in its latest version. In READ COMMITTED it follows the row to what a
 * concurrent transaction made of it; above, that is a serialization failure. The
 * keys of a row never change.
 * False: there is no such row among those asked for, or with LockWaitSkip,
 * somebody else has it.
 */
static bool
bank_account_lock_by_index(const char *index_name, const Datum *values,
						   const RegProcedure *equals, int nkeys, LockWaitPolicy wait,
						   bool customers_only, BankAccount *account)
{
	BankAccountLookup lookup;
	int			flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	bool		locked = false;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	bank_account_lookup_begin(&lookup, index_name, values, equals, nkeys);
	while (!locked && index_getnext_slot(lookup.scan, ForwardScanDirection, lookup.slot))
	{
		TM_FailureData failure;
		TM_Result	result;

		if (customers_only && !slot_attisnull(lookup.slot, Anum_account_house_code))
			break;
		result = table_tuple_lock(lookup.accounts, &lookup.slot->tts_tid, GetActiveSnapshot(),
								  lookup.slot, GetCurrentCommandId(true),
								  LockTupleNoKeyExclusive, wait, flags, &failure);
		if (result == TM_Ok)
			locked = true;
		else if ((result == TM_Updated || result == TM_Deleted) && IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
		else if (result != TM_WouldBlock && result != TM_Deleted)
			elog(ERROR, "unexpected table_tuple_lock status: %u", result);
	}
	if (locked)
	{
		slot_getallattrs(lookup.slot);
		bank_account_from_values(lookup.slot->tts_values, lookup.slot->tts_isnull, account);
		bank_place_remember(account, lookup.accounts->rd_rel->relfilenode, &lookup.slot->tts_tid);
	}
	bank_account_lookup_end(&lookup);
	return locked;
}

/* Lock a row by its identifier, whatever its type, waiting if need be; false: there is none. */
bool
bank_account_row_lock(const BankUuid *account_id, BankAccount *account)
{
	const RegProcedure equals[] = {F_UUID_EQ};
	Datum		values[] = {bank_uuid_datum(account_id)};

	return bank_account_read_held(account_id, account) ||
		bank_account_lock_by_index("accounts_pkey", values, equals, 1, LockWaitBlock, false,
								   account);
}

/* See ports/event_store.h. */
bool
bank_store_lock_account(const BankUuid *account_id, BankAccount *account)
{
	const RegProcedure equals[] = {F_UUID_EQ};
	Datum		values[] = {bank_uuid_datum(account_id)};

	CHECK_FOR_INTERRUPTS();
	if (bank_account_read_held(account_id, account))
		return account->opening.type != BANK_TYPE_HOUSE;
	return bank_account_lock_by_index("accounts_pkey", values, equals, 1, LockWaitBlock, true,
									  account);
}

/*
 * Lock the stripe with this number of a house account, without waiting; false:
 * there is none, or somebody else has it.
 */
bool
bank_account_row_lock_stripe(const char *code, const char *currency, int32 stripe,
							 BankAccount *account)
{
	const RegProcedure equals[] = {F_TEXTEQ, F_TEXTEQ, F_INT4EQ};
	Datum		values[3];
	BankUuid	account_id;

	if (bank_place_find_stripe(code, currency, stripe, &account_id) &&
		bank_account_read_held(&account_id, account))
		return true;
	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	values[2] = Int32GetDatum(stripe);
	return bank_account_lock_by_index("accounts_house_stripe", values, equals, 3, LockWaitSkip,
									  false, account);
}

/* Make index entries for a row version that could not be a HOT update. */
static void
bank_account_insert_index_entries(Relation accounts, TupleTableSlot *slot, BankIndexUpdate update)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, accounts, 0, NULL, 0);
	ExecOpenIndices(info, false);
	bank_insert_index_tuples(info, slot, estate, update);
	ExecCloseIndices(info);
	FreeExecutorState(estate);
}

/*
 * Write what events can change of an account whose row this transaction has
 * locked; false: it no longer has the version it was loaded with. Works below
 * the executor like the lock, unless somebody has put triggers or rules on the
 * table. None of the columns is indexed, so this is a HOT update wherever the
 * page has room.
 */
bool
bank_account_row_update(const BankAccount *account, int64 old_version)
{
	const RegProcedure equals[] = {F_UUID_EQ};
	Datum		key[] = {bank_uuid_datum(&account->id)};
	BankAccountLookup lookup;
	bool		found = false;

	if (bank_account_lookup_held(&lookup, &account->id))
		found = true;
	else
		bank_account_lookup_begin(&lookup, "accounts_pkey", key, equals, 1);
	if (lookup.accounts->trigdesc != NULL || lookup.accounts->rd_rules != NULL ||
		(RelationGetDescr(lookup.accounts)->constr != NULL &&
		 (RelationGetDescr(lookup.accounts)->constr->num_check > 0 ||
		  RelationGetDescr(lookup.accounts)->constr->has_generated_stored)))
	{
		bank_account_lookup_end(&lookup);
		return bank_account_row_update_spi(account, old_version);
	}
	if (found || index_getnext_slot(lookup.scan, ForwardScanDirection, lookup.slot))
	{
		TupleDesc	desc = RelationGetDescr(lookup.accounts);
		int			natts = Max(desc->natts, Natts_account);
		Datum	   *values = palloc(natts * sizeof(Datum));
		bool	   *nulls = palloc0(natts * sizeof(bool));
		bool	   *replace = palloc0(natts * sizeof(bool));
		bool		shouldfree;
		HeapTuple	old = ExecFetchSlotHeapTuple(lookup.slot, false, &shouldfree);
		bool		isnull;

		found = DatumGetInt64(heap_getattr(old, Anum_account_version, desc, &isnull)) ==
			old_version;
		if (found)
		{
			ItemPointerData tid = lookup.slot->tts_tid;
			TupleTableSlot *slot = table_slot_create(lookup.accounts, NULL);
			BankIndexUpdate update;

			bank_account_mutable_values(account, values, nulls, replace);
			ExecForceStoreHeapTuple(heap_modify_tuple(old, desc, values, nulls, replace), slot,
									true);
			simple_table_tuple_update(lookup.accounts, &tid, slot, GetActiveSnapshot(), &update);
			bank_place_remember(account, lookup.accounts->rd_rel->relfilenode, &slot->tts_tid);
			if (bank_index_update_needed(update))
				bank_account_insert_index_entries(lookup.accounts, slot, update);
			ExecDropSingleTupleTableSlot(slot);
		}
	}
	bank_account_lookup_end(&lookup);
	CommandCounterIncrement();
	return found;
}
