/*
 * keys.c
 *		Idempotency keys: what they stand for, and claiming them.
 *
 * Locks: a claim waits for a transaction that has claimed the same key. Many
 * keys are claimed in their order, so that two commands do not wait for each other.
 * Memory: what find allocates is the caller's. Must be called inside a
 * BankSession.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"
#include "ports/principal.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

StaticAssertDecl(BANK_REQUEST_HASH == PG_SHA256_DIGEST_LENGTH, "the digest is SHA-256");

/* See ports/event_store.h: SHA-256 of the canonical request. */
void
bank_store_hash_request(const char *request, uint8_t hash[BANK_REQUEST_HASH])
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) request, strlen(request)) < 0 ||
		pg_cryptohash_final(context, hash, BANK_REQUEST_HASH) < 0)
		elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
}

/* A digest as bytea. */
static Datum
bank_hash_datum(const uint8 hash[BANK_REQUEST_HASH])
{
	bytea	   *datum = palloc(VARHDRSZ + BANK_REQUEST_HASH);

	memcpy(VARDATA(datum), hash, BANK_REQUEST_HASH);
	SET_VARSIZE(datum, VARHDRSZ + BANK_REQUEST_HASH);
	return PointerGetDatum(datum);
}

/* The digest of a request as bytea. */
static Datum
bank_request_hash(const char *request)
{
	uint8		hash[BANK_REQUEST_HASH];

	bank_store_hash_request(request, hash);
	return bank_hash_datum(hash);
}

/* A member of a stored refusal, or "". */
static void
bank_refusal_text(Jsonb *refusal, const char *key, char *out, size_t size)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&refusal->root, key, (int) strlen(key),
													 &buffer);

	out[0] = '\0';
	if (value != NULL && value->type == jbvString && (size_t) value->val.string.len < size)
	{
		memcpy(out, value->val.string.val, value->val.string.len);
		out[value->val.string.len] = '\0';
	}
}

/* Read a stored refusal. */
static void
bank_refusal_from_jsonb(Jsonb *refusal, BankError *error)
{
	char		sqlstate[8];
	char		message[100];

	bank_refusal_text(refusal, "code", sqlstate, sizeof(sqlstate));
	bank_refusal_text(refusal, "message", message, sizeof(message));
	bank_refusal_text(refusal, "detail", error->detail, sizeof(error->detail));
	bank_refusal_text(refusal, "hint", error->hint, sizeof(error->hint));
	error->code = bank_error_find(sqlstate, message);
	error->hidden = BANK_OK;
	if (error->code == BANK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored refusal \"%s\" \"%s\" is not known", sqlstate, message)));
}

/*
 * A customer's keys are its own: those of one owner are other keys than anybody else's. They are
 * stored behind a character with which no key of a command begins.
 */
static const char *
bank_key_scoped(const char *key)
{
	BankUuid	owner_id;
	char		text[BANK_UUID_TEXT] = "";

	if (!bank_principal_is_customer())
		return key;
	if (bank_principal_owner(&owner_id))
		bank_uuid_format(&owner_id, text);
	return psprintf("%c%s/%s", BANK_KEY_RESERVED, text, key);
}

/*
 * The outcome of a key for a request with this hash, see ports/event_store.h. Locks the table as
 * writing a key will: a lock that becomes stronger later meets that of REINDEX.
 */
static BankKeyState
bank_key_lookup(const char *key, Datum hash, BankEvent *first, BankError *error)
{
	static BankPlan plan = {
		.text = "SELECT k.request_hash OPERATOR(pg_catalog.=) $2, k.refusal, "
		"e.position, e.version, e.peer_version, e.amount, e.balance, e.peer_balance, "
		"e.recorded_at, e.transaction_id, e.event_id, e.aggregate_id, e.peer_id, e.event_type, "
		"e.currency, e.occurred_at, e.data, e.metadata, e.held, e.peer_held, e.expires_at, "
		"e.hold_id, e.limits_before, e.actor_id "
		"FROM bank.idempotency_keys AS k LEFT JOIN bank.events AS e "
		"ON e.aggregate_id OPERATOR(pg_catalog.=) k.aggregate_id "
		"AND e.version OPERATOR(pg_catalog.=) k.version "
		"WHERE k.idempotency_key OPERATOR(pg_catalog.=) $1",
		.nargs = 2, .types = {TEXTOID, BYTEAOID}
	};
	Datum		arguments[2];
	Datum		values[Natts_event + 2];
	bool		nulls[Natts_event + 2];

	LockRelationOid(get_relname_relid("idempotency_keys", get_namespace_oid("bank", false)),
					RowExclusiveLock);
	arguments[0] = CStringGetTextDatum(key);
	arguments[1] = hash;
	if (bank_plan_execute(&plan, arguments, NULL, false) == 0)
	{
		SPI_freetuptable(SPI_tuptable);
		return BANK_KEY_FREE;
	}
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	if (!DatumGetBool(values[0]))
	{
		SPI_freetuptable(SPI_tuptable);
		return BANK_KEY_REFUSED;
	}
	if (!nulls[1])
	{
		bank_refusal_from_jsonb(DatumGetJsonbP(values[1]), error);
		SPI_freetuptable(SPI_tuptable);
		return BANK_KEY_DENIED;
	}
	if (nulls[Anum_event_position + 1])
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("idempotency key \"%s\" has no event", key),
				 errhint("Run bank_verify().")));
	bank_event_from_values(values + 2, nulls + 2, first);
	SPI_freetuptable(SPI_tuptable);
	return BANK_KEY_REPLAY;
}

/* See ports/event_store.h. */
BankKeyState
bank_store_find_key(const char *key, const char *request, BankEvent *first, BankError *error)
{
	return bank_key_lookup(bank_key_scoped(key), bank_request_hash(request), first, error);
}

/*
 * See ports/event_store.h. In REPEATABLE READ and above a concurrent claim
 * that has committed raises a serialization failure.
 */
BankKeyState
bank_store_claim_key(const char *key, const char *request, const BankUuid *aggregate_id,
					 int64_t version, BankEvent *first, BankError *error)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.idempotency_keys "
		"(idempotency_key, request_hash, aggregate_id, version) "
		"VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		.nargs = 4, .types = {TEXTOID, BYTEAOID, UUIDOID, INT8OID}
	};
	Datum		hash = bank_request_hash(request);
	Datum		values[4];

	key = bank_key_scoped(key);
	values[0] = CStringGetTextDatum(key);
	values[1] = hash;
	values[2] = bank_uuid_datum(aggregate_id);
	values[3] = Int64GetDatum(version);
	for (;;)
	{
		BankKeyState state;

		if (bank_plan_execute(&plan, values, NULL, false) == 1)
			return BANK_KEY_FREE;
		state = bank_key_lookup(key, hash, first, error);
		if (state != BANK_KEY_FREE)
			return state;
		/* the row in our way is gone already: try again */
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * See ports/event_store.h. A claim of this command is turned into the refusal;
 * one that a concurrent call has made since stays as it is.
 */
BankKeyState
bank_store_deny_key(const char *key, const char *request, const BankError *error,
					BankEvent *first, BankError *stored)
{
	/* two statements: the second has a snapshot from after the wait for a concurrent claim */
	static BankPlan insert = {
		.text = "INSERT INTO bank.idempotency_keys (idempotency_key, request_hash, refusal) "
		"VALUES ($1, $2, pg_catalog.jsonb_build_object('code', $3, 'message', $4, 'detail', $5, "
		"'hint', $6)) ON CONFLICT DO NOTHING",
		.nargs = 6, .types = {TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	};
	static BankPlan update = {
		.text = "UPDATE bank.idempotency_keys AS k "
		"SET refusal = pg_catalog.jsonb_build_object('code', $3, 'message', $4, 'detail', $5, "
		"'hint', $6), aggregate_id = NULL, version = NULL "
		"WHERE k.idempotency_key OPERATOR(pg_catalog.=) $1 "
		"AND k.request_hash OPERATOR(pg_catalog.=) $2 "
		"AND k.refusal IS NULL AND NOT EXISTS (SELECT FROM bank.events AS e "
		"WHERE e.aggregate_id OPERATOR(pg_catalog.=) k.aggregate_id "
		"AND e.version OPERATOR(pg_catalog.=) k.version)",
		.nargs = 6, .types = {TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	};
	Datum		values[6];

	key = bank_key_scoped(key);
	values[0] = CStringGetTextDatum(key);
	values[1] = bank_request_hash(request);
	values[2] = CStringGetTextDatum(bank_error_sqlstate(error->code));
	values[3] = CStringGetTextDatum(bank_error_message(error->code));
	values[4] = CStringGetTextDatum(bank_error_text(error->detail));
	values[5] = CStringGetTextDatum(bank_error_text(error->hint));
	if (bank_plan_execute(&insert, values, NULL, false) == 1 ||
		bank_plan_execute(&update, values, NULL, false) == 1)
		return BANK_KEY_FREE;
	return bank_key_lookup(key, values[1], first, stored);
}

/* One index lookup: is there a row with this key? */
static bool
bank_key_is_stored(IndexScanDesc scan, TupleTableSlot *slot, text *key)
{
	ScanKeyData scan_key;

	ScanKeyEntryInitialize(&scan_key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   scan->indexRelation->rd_indcollation[0], F_TEXTEQ,
						   PointerGetDatum(key));
	index_rescan(scan, &scan_key, 1, NULL, 0);
	return index_getnext_slot(scan, ForwardScanDirection, slot);
}

/*
 * Which of these keys have a row? By index lookups below the executor, whose
 * preparations would take most of the time: nearly all keys are new ones. Where the
 * table is not as it was made, all count as having one, to be looked at again.
 */
static void
bank_keys_stored(BankKey *const *keys, int n, bool *stored)
{
	Oid			schema = get_namespace_oid("bank", false);
	Relation	table = table_open(get_relname_relid("idempotency_keys", schema),
								   RowExclusiveLock);
	Oid			index_id = get_relname_relid("idempotency_keys_pkey", schema);
	Relation	index;
	TupleTableSlot *slot;
	IndexScanDesc scan;
	int			i;

	if (table->rd_rel->relkind != RELKIND_RELATION || !OidIsValid(index_id))
	{
		memset(stored, true, n * sizeof(bool));
		table_close(table, NoLock);
		return;
	}
	index = index_open(index_id, AccessShareLock);
	slot = table_slot_create(table, NULL);
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = bank_index_beginscan(table, index, GetActiveSnapshot(), 1);
	for (i = 0; i < n; i++)
	{
		text	   *key = cstring_to_text(keys[i]->key);

		CHECK_FOR_INTERRUPTS();
		stored[i] = bank_key_is_stored(scan, slot, key);
		pfree(key);
	}
	index_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(table, NoLock);
}

/* See ports/event_store.h. */
void
bank_store_find_keys(BankKey *const *keys, int n)
{
	bool	   *stored = palloc(Max(n, 1) * sizeof(bool));
	int			i;

	bank_keys_stored(keys, n, stored);
	for (i = 0; i < n; i++)
	{
		BankKey    *key = keys[i];
		BankEvent	first;
		BankError	denial;

		key->state = BANK_KEY_FREE;
		if (!stored[i])
			continue;
		CHECK_FOR_INTERRUPTS();
		key->state = bank_key_lookup(key->key, bank_hash_datum(key->request_hash), &first,
									 &denial);
		if (key->state == BANK_KEY_REPLAY)
		{
			key->first = palloc(sizeof(BankEvent));
			*key->first = first;
		}
		else if (key->state == BANK_KEY_DENIED)
		{
			key->denial = palloc(sizeof(BankError));
			*key->denial = denial;
		}
	}
	pfree(stored);
}

/* An array of n values that are not null. */
static Datum
bank_keys_array(Datum *values, int n, Oid type)
{
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(values, n, type, length, by_value, align));
}

/*
 * See ports/event_store.h. One statement makes the rows, in the order of the
 * array; where it makes fewer, they are taken back: those with the place of an
 * event that is yet to come are ours.
 */
bool
bank_store_claim_keys(BankKey *const *keys, int n)
{
	static BankPlan claim = {
		.text = "INSERT INTO bank.idempotency_keys "
		"(idempotency_key, request_hash, aggregate_id, version) "
		"SELECT a, b, c, d FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), "
		"pg_catalog.unnest($3), pg_catalog.unnest($4)) AS t (a, b, c, d) ON CONFLICT DO NOTHING",
		.nargs = 4
	};
	static BankPlan release = {
		.text = "DELETE FROM bank.idempotency_keys AS k USING ROWS FROM (pg_catalog.unnest($1), "
		"pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS t (a, b, c, d) "
		"WHERE k.idempotency_key OPERATOR(pg_catalog.=) t.a "
		"AND k.aggregate_id OPERATOR(pg_catalog.=) t.c AND k.version OPERATOR(pg_catalog.=) t.d",
		.nargs = 4
	};
	static const Oid types[] = {TEXTOID, BYTEAOID, UUIDOID, INT8OID};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "banking keys",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	Datum	   *columns[lengthof(types)];
	Datum		arrays[lengthof(types)];
	bool		claimed;
	size_t		column;
	int			i;

	for (column = 0; column < lengthof(types); column++)
		columns[column] = palloc(Max(n, 1) * sizeof(Datum));
	for (i = 0; i < n; i++)
	{
		columns[0][i] = CStringGetTextDatum(keys[i]->key);
		columns[1][i] = bank_hash_datum(keys[i]->request_hash);
		columns[2][i] = bank_uuid_datum(&keys[i]->aggregate_id);
		columns[3][i] = Int64GetDatum(keys[i]->version);
	}
	for (column = 0; column < lengthof(types); column++)
	{
		claim.types[column] = release.types[column] = get_array_type(types[column]);
		arrays[column] = bank_keys_array(columns[column], n, types[column]);
	}
	claimed = bank_plan_execute(&claim, arrays, NULL, false) == (uint64) n;
	if (!claimed)
		bank_plan_execute(&release, arrays, NULL, false);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return claimed;
}
