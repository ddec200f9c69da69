/*
 * hold_access.c
 *		Finding and writing rows of bank.holds below the executor.
 *
 * Each lookup goes by the index that is made for it: a planner that has seen the
 * table while it was empty might think of another one. Rows are written directly
 * where writer.c finds nothing in the way.
 *
 * Locks: ROW EXCLUSIVE on the table, also to read, as writing follows. Rows
 * are not locked: a hold changes under the lock of its account. Memory: the caller's
 * context, freed with each access. Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* bank.holds, open for one scan of an index; or for a write, without one. */
typedef struct BankHoldAccess
{
	Relation	holds;
	TupleTableSlot *slot;		/* the row found */
	Relation	index;
	IndexScanDesc scan;			/* NULL: none */
} BankHoldAccess;

/* Open the table, in a fresh snapshot (in READ COMMITTED). */
static void
bank_hold_access_begin(BankHoldAccess *access)
{
	access->holds = table_open(get_relname_relid("holds", get_namespace_oid("bank", false)),
							   RowExclusiveLock);
	access->slot = table_slot_create(access->holds, NULL);
	access->scan = NULL;
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* Begin to scan an index with these keys, ascending. */
static void
bank_hold_scan(BankHoldAccess *access, const char *index_name, ScanKeyData *keys, int nkeys)
{
	access->index = index_open(get_relname_relid(index_name,
												 RelationGetNamespace(access->holds)),
							   AccessShareLock);
	access->scan = bank_index_beginscan(access->holds, access->index, GetActiveSnapshot(), nkeys);
	index_rescan(access->scan, keys, nkeys, NULL, 0);
}

/* The next row, in access->slot; false: there is none. */
static bool
bank_hold_next(BankHoldAccess *access)
{
	if (!index_getnext_slot(access->scan, ForwardScanDirection, access->slot))
		return false;
	slot_getallattrs(access->slot);
	return true;
}

/* Decode the row found. */
static void
bank_hold_read(const BankHoldAccess *access, BankHold *hold)
{
	bank_hold_from_values(access->slot->tts_values, access->slot->tts_isnull, hold);
}

/* Close everything; locks on the table last until the transaction ends. */
static void
bank_hold_access_end(BankHoldAccess *access)
{
	if (access->scan != NULL)
	{
		index_endscan(access->scan);
		index_close(access->index, NoLock);
	}
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(access->slot);
	table_close(access->holds, NoLock);
}

/* Find the row of a hold; false: there is none. */
static bool
bank_hold_seek(BankHoldAccess *access, const BankUuid *hold_id)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, bank_uuid_datum(hold_id));
	bank_hold_scan(access, "holds_pkey", &key, 1);
	return bank_hold_next(access);
}

/* See ports/event_store.h. */
bool
bank_store_find_hold(const BankUuid *hold_id, BankHold *hold)
{
	BankHoldAccess access;
	bool		found;

	bank_hold_access_begin(&access);
	found = bank_hold_seek(&access, hold_id);
	if (found)
		bank_hold_read(&access, hold);
	bank_hold_access_end(&access);
	return found;
}

/* Begin to scan the open holds of an account by expires_at. */
static void
bank_hold_scan_open(BankHoldAccess *access, const BankUuid *account_id)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, bank_uuid_datum(account_id));
	ScanKeyEntryInitialize(&keys[1], 0, 2, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ,
						   CStringGetTextDatum(bank_hold_status_name(BANK_HOLD_OPEN)));
	bank_hold_scan(access, "holds_account", keys, 2);
}

/* The open holds of an account that expire first, up to max: how many, which, and when. */
int
bank_hold_rows_open(const BankUuid *account_id, int max, BankUuid *hold_ids, int64_t *expiries)
{
	BankHoldAccess access;
	BankHold	hold;
	int			n = 0;

	bank_hold_access_begin(&access);
	bank_hold_scan_open(&access, account_id);
	while (n < max && bank_hold_next(&access))
	{
		bank_hold_read(&access, &hold);
		hold_ids[n] = hold.id;
		expiries[n++] = hold.expires_at;
	}
	bank_hold_access_end(&access);
	return n;
}

/* Order of holds by end and identifier, for qsort. */
static int
bank_hold_compare(const void *a, const void *b)
{
	const BankHold *x = a;
	const BankHold *y = b;

	if (x->expires_at != y->expires_at)
		return x->expires_at < y->expires_at ? -1 : 1;
	return bank_uuid_compare(&x->id, &y->id);
}

/* See ports/event_store.h. */
int
bank_store_expired_holds(const BankUuid *account_id, int64_t at, BankHold **holds,
						 int64_t *next_expiry)
{
	BankHoldAccess access;
	int			size = 8;
	int			n = 0;

	*holds = palloc(size * sizeof(BankHold));
	*next_expiry = BANK_NO_EXPIRY;
	bank_hold_access_begin(&access);
	bank_hold_scan_open(&access, account_id);
	while (bank_hold_next(&access))
	{
		BankHold	hold;

		bank_hold_read(&access, &hold);
		if (hold.expires_at > at)
		{
			*next_expiry = hold.expires_at;
			break;
		}
		if (n == size)
		{
			size *= 2;
			*holds = repalloc_huge(*holds, size * sizeof(BankHold));
		}
		(*holds)[n++] = hold;
	}
	bank_hold_access_end(&access);
	qsort(*holds, n, sizeof(BankHold), bank_hold_compare);
	return n;
}

/* Order of identifiers, for qsort. */
static int
bank_hold_account_order(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/* See ports/event_store.h. */
int
bank_store_due_accounts(int64_t at, int max, BankUuid **account_ids)
{
	BankHoldAccess access;
	ScanKeyData key;
	int			n = 0;
	int			different = 0;
	int			i;

	*account_ids = palloc(max * sizeof(BankUuid));
	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, TimestampTzGetDatum(at));
	bank_hold_access_begin(&access);
	bank_hold_scan(&access, "holds_expiry", &key, 1);
	while (n < max && bank_hold_next(&access))
		bank_uuid_from_datum(access.slot->tts_values[Anum_hold_account_id - 1],
							 &(*account_ids)[n++]);
	bank_hold_access_end(&access);
	qsort(*account_ids, n, sizeof(BankUuid), bank_hold_account_order);
	for (i = 0; i < n; i++)
	{
		if (different == 0 ||
			!bank_uuid_equal(&(*account_ids)[i], &(*account_ids)[different - 1]))
			(*account_ids)[different++] = (*account_ids)[i];
	}
	return different;
}

/* Make index entries for the row in a slot: a new one, or what an update made of one. */
static void
bank_hold_insert_index_entries(Relation holds, TupleTableSlot *slot, const BankIndexUpdate *update)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, holds, 0, NULL, 0);
	ExecOpenIndices(info, false);
	if (update == NULL)
		bank_insert_new_index_tuples(info, slot, estate);
	else
		bank_insert_index_tuples(info, slot, estate, *update);
	ExecCloseIndices(info);
	FreeExecutorState(estate);
}

/* Write a new hold. Raises when its identifier is taken. */
void
bank_hold_row_insert(const BankHold *hold)
{
	BankHoldAccess access;

	bank_hold_access_begin(&access);
	if (!bank_writer_writes_holds(access.holds))
	{
		bank_hold_access_end(&access);
		bank_hold_row_insert_spi(hold);
		return;
	}
	ExecClearTuple(access.slot);
	bank_hold_to_values(hold, access.slot->tts_values, access.slot->tts_isnull);
	ExecStoreVirtualTuple(access.slot);
	table_tuple_insert(access.holds, access.slot, GetCurrentCommandId(true), 0, NULL);
	bank_hold_insert_index_entries(access.holds, access.slot, NULL);
	bank_hold_access_end(&access);
	CommandCounterIncrement();
}

/* Write what became of an open hold; false: it is not open. */
bool
bank_hold_row_resolve(const BankHold *hold)
{
	BankHoldAccess access;
	BankHold	stored;
	bool		open;

	bank_hold_access_begin(&access);
	if (!bank_writer_writes_holds(access.holds))
	{
		bank_hold_access_end(&access);
		return bank_hold_row_resolve_spi(hold);
	}
	CheckCmdReplicaIdentity(access.holds, CMD_UPDATE);
	open = bank_hold_seek(&access, &hold->id);
	if (open)
	{
		bank_hold_read(&access, &stored);
		open = stored.status == BANK_HOLD_OPEN;
	}
	if (open)
	{
		TupleTableSlot *slot = table_slot_create(access.holds, NULL);
		ItemPointerData place = access.slot->tts_tid;
		BankIndexUpdate update;

		bank_hold_to_values(hold, slot->tts_values, slot->tts_isnull);
		ExecStoreVirtualTuple(slot);
		simple_table_tuple_update(access.holds, &place, slot, GetActiveSnapshot(), &update);
		if (bank_index_update_needed(update))
			bank_hold_insert_index_entries(access.holds, slot, &update);
		ExecDropSingleTupleTableSlot(slot);
	}
	bank_hold_access_end(&access);
	CommandCounterIncrement();
	return open;
}
