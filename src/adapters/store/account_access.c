/*
 * account_access.c
 *		Finding, locking and updating rows of bank.accounts below the executor, whose
 *		preparations would take most of a command's time.
 *
 * Locks: rows are locked FOR NO KEY UPDATE, as the executor's LockRows node does
 * it. A customer's row is waited for, and callers keep to identifier order.
 * Transactions: the same in READ COMMITTED, REPEATABLE READ and SERIALIZABLE as
 * the statements SELECT ... FOR NO KEY UPDATE and UPDATE would be. Memory: slots
 * and scans, freed when the access ends, however many rows it went to. Must be
 * called inside a BankSession.
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

/* bank.accounts, open for going to some rows; and one of its unique indexes, once needed. */
typedef struct BankAccountAccess
{
	Relation	accounts;
	TupleTableSlot *slot;		/* the row found */
	Relation	index;			/* NULL: not needed so far */
	IndexScanDesc scan;
	MemoryContext context;		/* where it was begun, for what a scan allocates as it goes */
} BankAccountAccess;

/*
 * Begin in a fresh snapshot (in READ COMMITTED), as a statement would have; to be
 * ended by bank_account_access_end.
 */
static void
bank_account_access_begin(BankAccountAccess *access)
{
	access->accounts = table_open(get_relname_relid("accounts", get_namespace_oid("bank", false)),
								  RowExclusiveLock);
	access->slot = table_slot_create(access->accounts, NULL);
	access->index = NULL;
	access->scan = NULL;
	access->context = CurrentMemoryContext;
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Let go; locks on tables last until the transaction ends. */
static void
bank_account_access_end(BankAccountAccess *access)
{
	if (access->index != NULL)
	{
		index_endscan(access->scan);
		index_close(access->index, NoLock);
	}
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(access->slot);
	table_close(access->accounts, NoLock);
}

/* A unique index of bank.accounts with its key. */
typedef struct BankAccountKey
{
	const char *index;
	int			n;
	RegProcedure equals[3];
	Datum		values[3];
} BankAccountKey;

/* The key for the account with this identifier. */
static BankAccountKey
bank_account_key(const BankUuid *account_id)
{
	BankAccountKey key = {"accounts_pkey", 1, {F_UUID_EQ}, {bank_uuid_datum(account_id)}};

	return key;
}

/* Look a key up; the row is in access->slot. All lookups of an access go to the same index. */
static bool
bank_account_seek(BankAccountAccess *access, const BankAccountKey *key)
{
	ScanKeyData keys[lengthof(key->values)];
	MemoryContext caller = MemoryContextSwitchTo(access->context);
	bool		found;
	int			i;

	if (access->index == NULL)
	{
		access->index = index_open(get_relname_relid(key->index,
													 get_namespace_oid("bank", false)),
								   AccessShareLock);
		access->scan = bank_index_beginscan(access->accounts, access->index, GetActiveSnapshot(),
											key->n);
	}
	for (i = 0; i < key->n; i++)
		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   access->index->rd_indcollation[i], key->equals[i],
							   key->values[i]);
	index_rescan(access->scan, keys, key->n, NULL, 0);
	found = index_getnext_slot(access->scan, ForwardScanDirection, access->slot);
	MemoryContextSwitchTo(caller);
	return found;
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

/* Go to the remembered place of a row that this transaction holds; false: it is not there. */
static bool
bank_account_seek_held(BankAccountAccess *access, const BankUuid *account_id)
{
	Oid			file;
	ItemPointerData place;
	BankUuid	found;
	bool		isnull;

	if (!bank_place_find(account_id, &file, &place) ||
		file != access->accounts->rd_rel->relfilenode ||
		ItemPointerGetBlockNumber(&place) >= RelationGetNumberOfBlocks(access->accounts) ||
		!table_tuple_fetch_row_version(access->accounts, &place, GetActiveSnapshot(),
									   access->slot))
		return false;
	bank_uuid_from_datum(slot_getattr(access->slot, Anum_account_account_id, &isnull), &found);
	return bank_uuid_equal(&found, account_id) && bank_account_is_held(access->slot);
}

/* Decode the row found. */
static void
bank_account_read(BankAccountAccess *access, BankAccount *account)
{
	slot_getallattrs(access->slot);
	bank_account_from_values(access->slot->tts_values, access->slot->tts_isnull, account);
}

/* What became of the attempt to lock a row. */
typedef enum BankRowLock
{
	BANK_ROW_LOCKED,
	BANK_ROW_ABSENT,			/* there is no such row */
	BANK_ROW_HOUSE,				/* a house account's, where only customers' were asked for */
	BANK_ROW_BUSY				/* with LockWaitSkip: somebody else has it */
} BankRowLock;

/*
 * Lock the row with this key, and decode it in its latest version. In READ
 * COMMITTED it follows the row to what a concurrent transaction made of it; above,
 * that is a serialization failure. The keys of a row never change.
 */
static BankRowLock
bank_account_lock_row(BankAccountAccess *access, const BankAccountKey *key, LockWaitPolicy wait,
					  bool customers_only, BankAccount *account)
{
	int			flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData failure;
	TM_Result	result;

	if (!bank_account_seek(access, key))
		return BANK_ROW_ABSENT;
	if (customers_only && !slot_attisnull(access->slot, Anum_account_house_code))
		return BANK_ROW_HOUSE;
	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(access->accounts, &access->slot->tts_tid, GetActiveSnapshot(),
							  access->slot, GetCurrentCommandId(true), LockTupleNoKeyExclusive,
							  wait, flags, &failure);
	switch (result)
	{
		case TM_Ok:
			bank_account_read(access, account);
			bank_place_remember(account, access->accounts->rd_rel->relfilenode,
								&access->slot->tts_tid);
			return BANK_ROW_LOCKED;
		case TM_WouldBlock:
			return BANK_ROW_BUSY;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR,
						(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						 errmsg("could not serialize access due to concurrent update")));
			if (result == TM_Deleted)
				return BANK_ROW_ABSENT;
			break;
		default:
			break;
	}
	elog(ERROR, "unexpected table_tuple_lock status: %u", result);
}

/* Lock a row by its identifier, whatever its type, waiting if need be; false: there is none. */
bool
bank_account_row_lock(const BankUuid *account_id, BankAccount *account)
{
	BankAccountKey key = bank_account_key(account_id);
	BankAccountAccess access;
	bool		locked = true;

	bank_account_access_begin(&access);
	if (bank_account_seek_held(&access, account_id))
		bank_account_read(&access, account);
	else
		locked = bank_account_lock_row(&access, &key, LockWaitBlock, false,
									   account) == BANK_ROW_LOCKED;
	bank_account_access_end(&access);
	return locked;
}

/* Lock a customer's account in an access that may be an old one. */
static BankRowLock
bank_account_lock_customer(BankAccountAccess *access, const BankUuid *account_id,
						   BankAccount *account)
{
	BankAccountKey key = bank_account_key(account_id);

	CHECK_FOR_INTERRUPTS();
	if (!bank_account_seek_held(access, account_id))
		return bank_account_lock_row(access, &key, LockWaitBlock, true, account);
	bank_account_read(access, account);
	return account->opening.type == BANK_TYPE_HOUSE ? BANK_ROW_HOUSE : BANK_ROW_LOCKED;
}

/* See ports/event_store.h. */
bool
bank_store_lock_account(const BankUuid *account_id, BankAccount *account)
{
	BankAccountAccess access;
	BankRowLock result;

	bank_account_access_begin(&access);
	result = bank_account_lock_customer(&access, account_id, account);
	bank_account_access_end(&access);
	return result == BANK_ROW_LOCKED;
}

/*
 * See ports/event_store.h. All are looked up in one snapshot; an account that is
 * not in it may have come while others were waited for, so that it is looked for
 * once more.
 */
void
bank_store_lock_accounts(const BankUuid *account_ids, int n, BankAccount *const *accounts,
						 bool *found)
{
	BankAccountAccess access;
	int			i;

	bank_account_access_begin(&access);
	for (i = 0; i < n; i++)
	{
		BankRowLock result = bank_account_lock_customer(&access, &account_ids[i], accounts[i]);

		found[i] = result == BANK_ROW_LOCKED ||
			(result == BANK_ROW_ABSENT && bank_store_lock_account(&account_ids[i], accounts[i]));
	}
	bank_account_access_end(&access);
}

/*
 * Lock the stripe with this number of a house account, without waiting; false:
 * there is none, or somebody else has it.
 */
bool
bank_account_row_lock_stripe(const char *code, const char *currency, int32 stripe,
							 BankAccount *account)
{
	BankAccountKey key = {"accounts_house_stripe", 3, {F_TEXTEQ, F_TEXTEQ, F_INT4EQ}, {0}};
	BankAccountAccess access;
	BankUuid	account_id;
	bool		locked = true;

	key.values[0] = CStringGetTextDatum(code);
	key.values[1] = CStringGetTextDatum(currency);
	key.values[2] = Int32GetDatum(stripe);
	bank_account_access_begin(&access);
	if (bank_place_find_stripe(code, currency, stripe, &account_id) &&
		bank_account_seek_held(&access, &account_id))
		bank_account_read(&access, account);
	else
		locked = bank_account_lock_row(&access, &key, LockWaitSkip, false,
									   account) == BANK_ROW_LOCKED;
	bank_account_access_end(&access);
	return locked;
}

struct BankAccountUpdates
{
	BankAccountAccess access;
	bool		direct;			/* below the executor */
	TupleTableSlot *slot;		/* the new version of a row */
	ResultRelInfo *indexes;		/* NULL: not needed so far */
	EState	   *estate;
};

/*
 * Begin to update rows that this transaction has locked, each once; to be ended by
 * bank_account_updates_end. In the current memory context.
 */
BankAccountUpdates *
bank_account_updates_begin(void)
{
	BankAccountUpdates *updates = palloc0(sizeof(BankAccountUpdates));

	bank_account_access_begin(&updates->access);
	updates->direct = bank_writer_updates_accounts(updates->access.accounts);
	if (updates->direct)
	{
		/* a publication may want a replica identity */
		CheckCmdReplicaIdentity(updates->access.accounts, CMD_UPDATE);
		updates->slot = table_slot_create(updates->access.accounts, NULL);
	}
	return updates;
}

/* Make index entries for a row version that could not be a HOT update. */
static void
bank_account_insert_index_entries(BankAccountUpdates *updates, BankIndexUpdate update)
{
	if (updates->indexes == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(updates->access.context);

		updates->estate = CreateExecutorState();
		updates->indexes = makeNode(ResultRelInfo);
		InitResultRelInfo(updates->indexes, updates->access.accounts, 0, NULL, 0);
		ExecOpenIndices(updates->indexes, false);
		MemoryContextSwitchTo(caller);
	}
	bank_insert_index_tuples(updates->indexes, updates->slot, updates->estate, update);
	ResetPerTupleExprContext(updates->estate);
}

/*
 * Write what events can change of an account; false: its row no longer has the
 * version it was loaded with. None of the columns is indexed, so this is a HOT
 * update wherever the page has room.
 */
bool
bank_account_update(BankAccountUpdates *updates, const BankAccount *account, int64 old_version)
{
	BankAccountKey key = bank_account_key(&account->id);
	BankAccountAccess *access = &updates->access;
	TupleDesc	desc = RelationGetDescr(access->accounts);
	Datum		values[Natts_account];
	bool		nulls[Natts_account] = {false};
	bool		replace[Natts_account] = {false};
	ItemPointerData place;
	BankIndexUpdate update;
	HeapTuple	old;
	bool		flag;

	if (!updates->direct)
		return bank_account_row_update_spi(account, old_version);
	if (!bank_account_seek_held(access, &account->id) && !bank_account_seek(access, &key))
		return false;
	if (DatumGetInt64(slot_getattr(access->slot, Anum_account_version, &flag)) != old_version)
		return false;
	place = access->slot->tts_tid;
	old = ExecFetchSlotHeapTuple(access->slot, false, &flag);
	bank_account_mutable_values(account, values, nulls, replace);
	ExecForceStoreHeapTuple(heap_modify_tuple(old, desc, values, nulls, replace), updates->slot,
							true);
	simple_table_tuple_update(access->accounts, &place, updates->slot, GetActiveSnapshot(),
							  &update);
	bank_place_remember(account, access->accounts->rd_rel->relfilenode, &updates->slot->tts_tid);
	if (bank_index_update_needed(update))
		bank_account_insert_index_entries(updates, update);
	/* its memory may be the caller's, for this row only */
	ExecClearTuple(updates->slot);
	return true;
}

/* End the updates; what follows sees them. */
void
bank_account_updates_end(BankAccountUpdates *updates)
{
	if (updates->indexes != NULL)
	{
		ExecCloseIndices(updates->indexes);
		FreeExecutorState(updates->estate);
	}
	if (updates->slot != NULL)
		ExecDropSingleTupleTableSlot(updates->slot);
	bank_account_access_end(&updates->access);
	pfree(updates);
	CommandCounterIncrement();
}

/* See ports/event_store.h. */
bool
bank_store_find_number(const char *number, BankUuid *account_id)
{
	static BankPlan plan = {
		.text = "SELECT a.account_id FROM bank.accounts AS a "
		"WHERE a.account_number OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {TEXTOID}
	};
	Datum		values[] = {CStringGetTextDatum(number)};
	bool		found = bank_plan_execute(&plan, values, NULL, false) > 0;
	bool		isnull;

	if (found)
		bank_uuid_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										   &isnull), account_id);
	SPI_freetuptable(SPI_tuptable);
	return found;
}
