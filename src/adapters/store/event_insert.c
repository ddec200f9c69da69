/*
 * event_insert.c
 *		Inserting rows of bank.events below the executor, as COPY does: rows of a page
 *		in one WAL record, no plan, no trigger queue.
 *
 * Index entries are made index by index, in the order of the index: the pages
 * they go to then follow one another, instead of lying all over the index.
 * What the trigger events_apply would do follows in the same call.
 *
 * Locks: ROW EXCLUSIVE on the table and its indexes. Transactions: the rows
 * belong to the current command, like those of a statement; what follows sees
 * them. Memory: chunks of BANK_INSERT_CHUNK rows, about 600 bytes each and what
 * their metadata takes, freed with each chunk.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_enum.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "port/pg_bswap.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define BANK_INSERT_CHUNK 2048

/* An index of bank.events, open for insertion. */
typedef struct BankEventIndex
{
	Relation	relation;
	IndexInfo  *info;
} BankEventIndex;

/* bank.events, open for insertion. */
typedef struct BankEventInsert
{
	Relation	events;
	BankEventIndex *indexes;
	int			n_indexes;
	bool		plain;			/* all of them are B-trees on columns */
	TupleDesc	desc;			/* that of the table, without counting who uses it */
	Oid			types[BANK_EVENT_UNKNOWN];	/* enum values; InvalidOid: not looked up yet */
} BankEventInsert;

/* A row of a chunk by the identifier it is sorted by. */
typedef struct BankSortedRow
{
	uint64		high;
	uint64		low;
	int			row;
} BankSortedRow;

/* Order by identifier, then by place in the chunk. */
static inline int
bank_sorted_row_compare(const BankSortedRow *a, const BankSortedRow *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	return a->row - b->row;
}

#define ST_SORT bank_sort_rows
#define ST_ELEMENT_TYPE BankSortedRow
#define ST_COMPARE(a, b) bank_sorted_row_compare(a, b)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* Can entries be made in this index from columns alone, with nothing to check later? */
static bool
bank_event_index_is_plain(const BankEventIndex *index)
{
	return index->relation->rd_rel->relam == BTREE_AM_OID &&
		index->info->ii_Expressions == NIL && index->info->ii_Predicate == NIL &&
		index->info->ii_ExclusionOps == NULL &&
		(!index->relation->rd_index->indisunique || index->relation->rd_index->indimmediate);
}

/* Open bank.events and its indexes; to be closed by bank_event_insert_close. */
static void
bank_event_insert_open(BankEventInsert *insert)
{
	List	   *oids;
	ListCell   *cell;

	insert->events = table_open(get_relname_relid("events", get_namespace_oid("bank", false)),
								RowExclusiveLock);
	insert->desc = CreateTupleDescCopy(RelationGetDescr(insert->events));
	oids = RelationGetIndexList(insert->events);
	insert->indexes = palloc(Max(list_length(oids), 1) * sizeof(BankEventIndex));
	insert->n_indexes = 0;
	insert->plain = true;
	memset(insert->types, 0, sizeof(insert->types));
	foreach(cell, oids)
	{
		BankEventIndex *index = &insert->indexes[insert->n_indexes++];

		index->relation = index_open(lfirst_oid(cell), RowExclusiveLock);
		index->info = BuildIndexInfo(index->relation);
		insert->plain = insert->plain && bank_event_index_is_plain(index);
	}
	list_free(oids);
}

/* Close them; locks last until the transaction ends. */
static void
bank_event_insert_close(BankEventInsert *insert)
{
	int			i;

	for (i = 0; i < insert->n_indexes; i++)
	{
		index_close(insert->indexes[i].relation, NoLock);
		pfree(insert->indexes[i].info);
	}
	pfree(insert->indexes);
	FreeTupleDesc(insert->desc);
	table_close(insert->events, NoLock);
}

/* The enum value of an event type. */
static Oid
bank_event_insert_type(BankEventInsert *insert, BankEventType type)
{
	Oid		   *known = &insert->types[type];

	if (!OidIsValid(*known))
	{
		Oid			enum_type = TupleDescAttr(insert->desc, Anum_event_event_type - 1)->atttypid;

		*known = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(enum_type),
								 CStringGetDatum(bank_event_type_name(type)));
		if (!OidIsValid(*known))
			elog(ERROR, "event type \"%s\" is not known", bank_event_type_name(type));
	}
	return *known;
}

/* A row of an event, in a slot of its own, which goes away with the current memory context. */
static TupleTableSlot *
bank_event_insert_slot(BankEventInsert *insert, const BankEvent *event)
{
	TupleTableSlot *slot = MakeTupleTableSlot(insert->desc,
											  table_slot_callbacks(insert->events));

	bank_event_to_values(event, slot->tts_values, slot->tts_isnull);
	slot->tts_values[Anum_event_event_type - 1] =
		ObjectIdGetDatum(bank_event_insert_type(insert, event->type));
	ExecStoreVirtualTuple(slot);
	return slot;
}

/* Make the entry of a row in an index. Raises when it must be unique and is not. */
static void
bank_event_index_insert(const BankEventInsert *insert, const BankEventIndex *index,
						TupleTableSlot *slot)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	FormIndexDatum(index->info, slot, NULL, values, nulls);
	index_insert(index->relation, values, nulls, &slot->tts_tid, insert->events,
				 index->relation->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
				 false, index->info);
}

/* The rows of a chunk in the order of this identifier, or NULL when it is none of theirs. */
static BankSortedRow *
bank_event_rows_sorted(BankEvent *const *events, int n, AttrNumber column)
{
	BankSortedRow *rows;
	int			i;

	if (n == 1 || (column != Anum_event_aggregate_id && column != Anum_event_peer_id))
		return NULL;
	rows = palloc(n * sizeof(BankSortedRow));
	for (i = 0; i < n; i++)
	{
		const BankUuid *id = column == Anum_event_peer_id ? &events[i]->peer_id :
			&events[i]->aggregate_id;
		uint64		halves[2];

		memcpy(halves, id->bytes, sizeof(halves));
		rows[i].high = pg_ntoh64(halves[0]);
		rows[i].low = pg_ntoh64(halves[1]);
		rows[i].row = i;
	}
	bank_sort_rows(rows, n);
	return rows;
}

/* Make the entries of all rows of a chunk in an index. */
static void
bank_event_index_fill(const BankEventInsert *insert, const BankEventIndex *index,
					  BankEvent *const *events, TupleTableSlot **slots, int n)
{
	BankSortedRow *rows;
	int			i;

	/* one that is just being built concurrently will find our rows by itself */
	if (!index->info->ii_ReadyForInserts)
		return;
	rows = bank_event_rows_sorted(events, n, index->info->ii_IndexAttrNumbers[0]);
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		bank_event_index_insert(insert, index, slots[rows == NULL ? i : rows[i].row]);
	}
}

/*
 * Insert a chunk of rows: first all of them, then their index entries. In the
 * current memory context, which the caller resets.
 */
static void
bank_event_insert_chunk(BankEventInsert *insert, BankEvent *const *events, int n)
{
	TupleTableSlot **slots = palloc(n * sizeof(TupleTableSlot *));
	int			i;

	for (i = 0; i < n; i++)
		slots[i] = bank_event_insert_slot(insert, events[i]);
	table_multi_insert(insert->events, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (i = 0; i < insert->n_indexes; i++)
		bank_event_index_fill(insert, &insert->indexes[i], events, slots, n);
}

/*
 * Insert the rows of events that have their positions, in this order, and bring
 * the read models up to date: directly where that is allowed, else through the
 * executor and the trigger. Raises on a taken place in a stream, and what the
 * trigger raises. Must be called inside a BankSession, with all accounts locked.
 */
void
bank_event_rows_insert(BankEvent *const *events, int n)
{
	BankEventInsert insert;
	MemoryContext chunk;
	MemoryContext caller;
	int			i;

	bank_event_insert_open(&insert);
	if (!bank_writer_inserts_events(insert.events, insert.plain))
	{
		bank_event_insert_close(&insert);
		bank_event_rows_insert_spi(events, n);
		return;
	}
	chunk = AllocSetContextCreate(CurrentMemoryContext, "banking events", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(chunk);
	for (i = 0; i < n; i += BANK_INSERT_CHUNK)
	{
		bank_event_insert_chunk(&insert, events + i, Min(n - i, BANK_INSERT_CHUNK));
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(chunk);
	bank_event_insert_close(&insert);
	CommandCounterIncrement();
	bank_apply_events(events, n);
}
