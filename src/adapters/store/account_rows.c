/*
 * account_rows.c
 *		Rows of bank.accounts: read, lock, insert, update; stripes of house accounts.
 *
 * Locks: rows are locked FOR NO KEY UPDATE. A customer's row is waited for; the
 * callers keep to identifier order. A stripe of a house account is never waited
 * for (SKIP LOCKED), so it may be locked at any time. Must be called inside a
 * BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "domain/currency.h"
#include "ports/event_store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Stripe numbers of one backend lie this far apart; more than MAX_BACKENDS could be. */
#define BANK_STRIPE_STEP 1048576
#define BANK_STRIPE_TRIES 1024

/* Copy a text Datum into a fixed array, terminated; longer text is cut. */
static void
bank_text_from_datum(Datum datum, char *out, size_t size)
{
	text	   *value = DatumGetTextPP(datum);
	size_t		len = Min(VARSIZE_ANY_EXHDR(value), size - 1);

	memcpy(out, VARDATA_ANY(value), len);
	out[len] = '\0';
}

/* Decode the columns of a row, in table order. */
static void
bank_account_from_values(const Datum *values, const bool *nulls, BankAccount *account)
{
	BankOpening *opening = &account->opening;
	char		name[16];

	memset(account, 0, sizeof(*account));
#define VALUE(column) values[Anum_account_##column - 1]
#define IS_NULL(column) nulls[Anum_account_##column - 1]
	bank_uuid_from_datum(VALUE(account_id), &account->id);
	account->version = DatumGetInt64(VALUE(version));
	account->debits = DatumGetInt64(VALUE(debits));
	account->credits = DatumGetInt64(VALUE(credits));
	account->position = DatumGetInt64(VALUE(position));
	account->held = DatumGetInt64(VALUE(held));
	account->limits.overdraft = DatumGetInt64(VALUE(overdraft_limit));
	account->limits.balance = IS_NULL(balance_limit) ? BANK_NO_LIMIT :
		DatumGetInt64(VALUE(balance_limit));
	account->recorded_at = DatumGetTimestampTz(VALUE(recorded_at));
	account->business_at = DatumGetTimestampTz(VALUE(business_at));
	account->created_at = DatumGetTimestampTz(VALUE(created_at));
	bank_text_from_datum(VALUE(currency), name, sizeof(name));
	memcpy(account->currency, name, sizeof(account->currency));
	bank_text_from_datum(VALUE(account_type), name, sizeof(name));
	opening->type = bank_account_type_parse(name, strlen(name));
	bank_text_from_datum(VALUE(status), name, sizeof(name));
	account->status = bank_account_status_parse(name, strlen(name));
	opening->has_owner = !IS_NULL(owner_id);
	if (opening->has_owner)
		bank_uuid_from_datum(VALUE(owner_id), &opening->owner_id);
	if (!IS_NULL(account_number))
		bank_text_from_datum(VALUE(account_number), opening->number, sizeof(opening->number));
	if (!IS_NULL(house_code))
	{
		bank_text_from_datum(VALUE(house_code), opening->house_code,
							 sizeof(opening->house_code));
		opening->stripe = DatumGetInt32(VALUE(stripe));
		bank_uuid_from_datum(VALUE(house_account_id), &opening->house_account_id);
	}
#undef VALUE
#undef IS_NULL
}

/* Decode a row with all columns in table order. */
void
bank_account_from_row(HeapTuple row, TupleDesc desc, BankAccount *account)
{
	Datum		values[Natts_account];
	bool		nulls[Natts_account];

	Assert(desc->natts == Natts_account);
	heap_deform_tuple(row, desc, values, nulls);
	bank_account_from_values(values, nulls, account);
}

/* bank.accounts and one of its unique indexes, open for one lookup by equality. */
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
	index_endscan(lookup->scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(lookup->slot);
	index_close(lookup->index, NoLock);
	table_close(lookup->accounts, NoLock);
}

/*
 * Lock the row of bank.accounts that a unique index finds for these keys, and
 * decode it in its latest version. Works below the executor, whose preparations
 * would take most of a command's time, and does what its LockRows node does: in
 * READ COMMITTED it follows the row to what a concurrent transaction made of it;
 * above, that is a serialization failure. The keys of a row never change.
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

	return bank_account_lock_by_index("accounts_pkey", values, equals, 1, LockWaitBlock, false,
									  account);
}

/* See ports/event_store.h. */
bool
bank_store_lock_account(const BankUuid *account_id, BankAccount *account)
{
	const RegProcedure equals[] = {F_UUID_EQ};
	Datum		values[] = {bank_uuid_datum(account_id)};

	return bank_account_lock_by_index("accounts_pkey", values, equals, 1, LockWaitBlock, true,
									  account);
}

/* See ports/event_store.h. */
bool
bank_store_house_of(const BankUuid *account_id, char code[BANK_HOUSE_CODE_TEXT], char currency[4])
{
	static BankPlan plan = {
		.text = "SELECT house_code, currency FROM bank.accounts "
		"WHERE house_code IS NOT NULL AND (house_account_id OPERATOR(pg_catalog.=) $1 "
		"OR account_id OPERATOR(pg_catalog.=) $1) LIMIT 1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(account_id)};
	bool		isnull;

	if (bank_plan_execute(&plan, values, NULL, false) == 0)
		return false;
	bank_text_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
						 code, BANK_HOUSE_CODE_TEXT);
	bank_text_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull),
						 currency, 4);
	return true;
}


/* Identifier of the logical house account, see domain/uuid.h. */
static void
bank_house_account_id(const char *code, const char *currency, BankUuid *id)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) code, strlen(code)) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) "/", 1) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) currency, 3) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);
	bank_uuid_house(digest, id);
}

/*
 * Take a lock of this ledger on a name, until the transaction ends (or is
 * prepared and ends later). The lock is one on bank.accounts as an object with
 * a sub-identifier, so it cannot be confused with anybody's advisory lock.
 * Returns false when dont_wait and somebody else has it.
 */
static bool
bank_lock_name(uint32 hash, bool dont_wait)
{
	Oid			accounts = get_relname_relid("accounts", get_namespace_oid("bank", false));
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, accounts, hash, 1);
	return LockAcquire(&tag, ExclusiveLock, false, dont_wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* The lock name of a stripe: who has it may open the stripe. */
static uint32
bank_stripe_hash(const char *code, const char *currency, int32 stripe)
{
	uint32		hash = hash_bytes((const unsigned char *) code, (int) strlen(code));

	hash = hash_combine(hash, hash_bytes((const unsigned char *) currency, 3));
	return hash_combine(hash, hash_bytes_uint32((uint32) stripe));
}

/* What became of the attempt to get a certain stripe. */
typedef enum BankStripe
{
	BANK_STRIPE_LOCKED,			/* ours, *account is its state */
	BANK_STRIPE_ABSENT,			/* it does not exist; we alone may open it */
	BANK_STRIPE_BUSY			/* another transaction holds it, or is opening it */
} BankStripe;

/* Try to get the stripe with this number, without waiting. */
static BankStripe
bank_stripe_try(const char *code, const char *currency, int32 stripe, BankAccount *account)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.accounts WHERE house_code OPERATOR(pg_catalog.=) $1 "
		"AND currency OPERATOR(pg_catalog.=) $2 AND stripe OPERATOR(pg_catalog.=) $3",
		.nargs = 3, .types = {TEXTOID, TEXTOID, INT4OID}
	};
	const RegProcedure equals[] = {F_TEXTEQ, F_TEXTEQ, F_INT4EQ};
	Datum		values[3];

	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	values[2] = Int32GetDatum(stripe);
	if (bank_account_lock_by_index("accounts_house_stripe", values, equals, 3, LockWaitSkip, false,
								   account))
		return BANK_STRIPE_LOCKED;
	if (!bank_lock_name(bank_stripe_hash(code, currency, stripe), true) ||
		bank_plan_execute(&plan, values, NULL, false) > 0)
		return BANK_STRIPE_BUSY;
	return BANK_STRIPE_ABSENT;
}

/* Lock any stripe of the house account that is free; false: there is none. */
static bool
bank_stripe_borrow(const char *code, const char *currency, BankAccount *account)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_ACCOUNT_COLUMNS " FROM bank.accounts "
		"WHERE house_code OPERATOR(pg_catalog.=) $1 AND currency OPERATOR(pg_catalog.=) $2 "
		"LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	if (bank_plan_execute(&plan, values, NULL, false) == 0)
		return false;
	bank_account_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, account);
	return true;
}

/* Fill in what a caller must know to open this stripe. */
static void
bank_house_describe(const char *code, const char *currency, int32 stripe, BankHouseLookup *lookup)
{
	static BankPlan plan = {
		.text = "SELECT EXISTS (SELECT FROM bank.accounts "
		"WHERE house_code OPERATOR(pg_catalog.=) $1 AND currency OPERATOR(pg_catalog.=) $2), "
		"EXISTS (SELECT FROM bank.accounts WHERE house_code OPERATOR(pg_catalog.=) $1)",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	Datum		values[2];
	bool		isnull;

	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	bank_plan_execute(&plan, values, NULL, false);
	lookup->known = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											   &isnull));
	lookup->code_known = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
													2, &isnull));
	SPI_freetuptable(SPI_tuptable);
	lookup->stripe = stripe;
	bank_house_account_id(code, currency, &lookup->house_account_id);
}

/*
 * See ports/event_store.h. In this order: the stripe with the backend's own
 * number; that one opened; another one that is free; one with a later number of
 * the backend's. Only transactions that are prepared, or that borrowed, ever
 * make a backend go beyond the first.
 */
bool
bank_store_lock_house(const char *code, const char *currency, BankAccount *account,
					  BankHouseLookup *lookup)
{
	int			i;

	for (i = 0; i < BANK_STRIPE_TRIES; i++)
	{
		int32		stripe = bank_backend_number() + i * BANK_STRIPE_STEP;

		switch (bank_stripe_try(code, currency, stripe, account))
		{
			case BANK_STRIPE_LOCKED:
				return true;
			case BANK_STRIPE_ABSENT:
				bank_house_describe(code, currency, stripe, lookup);
				return false;
			case BANK_STRIPE_BUSY:
				if (i == 0 && bank_stripe_borrow(code, currency, account))
					return true;
				break;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("could not lock a stripe of house account %s in %s", code, currency),
			 errdetail("All %d stripes this session may open are in use by other transactions.",
					   BANK_STRIPE_TRIES)));
}

/* See ports/event_store.h. */
bool
bank_store_account_exists(const BankUuid *account_id)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.accounts WHERE account_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(account_id)};

	(void) bank_lock_name(hash_bytes(account_id->bytes, sizeof(account_id->bytes)), false);
	return bank_plan_execute(&plan, values, NULL, false) > 0;
}

/* Write a new account; false: identifier, number or stripe are taken. */
bool
bank_account_row_insert(const BankAccount *account)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.accounts (" BANK_ACCOUNT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, "
		"$7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT DO NOTHING",
		.nargs = Natts_account, .types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
			TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, UUIDOID, TEXTOID, TEXTOID, INT4OID,
		UUIDOID}
	};
	const BankOpening *opening = &account->opening;
	bool		house = opening->type == BANK_TYPE_HOUSE;
	Datum		values[Natts_account];
	char		nulls[Natts_account];

	memset(nulls, ' ', sizeof(nulls));
#define SET(column, datum) values[Anum_account_##column - 1] = (datum)
#define SET_OR_NULL(column, present, datum) \
	do { \
		if (present) \
			SET(column, datum); \
		else \
			nulls[Anum_account_##column - 1] = 'n'; \
	} while (0)
	SET(account_id, bank_uuid_datum(&account->id));
	SET(version, Int64GetDatum(account->version));
	SET(debits, Int64GetDatum(account->debits));
	SET(credits, Int64GetDatum(account->credits));
	SET(position, Int64GetDatum(account->position));
	SET(held, Int64GetDatum(account->held));
	SET(overdraft_limit, Int64GetDatum(account->limits.overdraft));
	SET(recorded_at, TimestampTzGetDatum(account->recorded_at));
	SET(business_at, TimestampTzGetDatum(account->business_at));
	SET(created_at, TimestampTzGetDatum(account->created_at));
	SET(currency, PointerGetDatum(cstring_to_text_with_len(account->currency, 3)));
	SET(account_type, CStringGetTextDatum(bank_account_type_name(opening->type)));
	SET(status, CStringGetTextDatum(bank_account_status_name(account->status)));
	SET_OR_NULL(balance_limit, account->limits.balance != BANK_NO_LIMIT,
				Int64GetDatum(account->limits.balance));
	SET_OR_NULL(owner_id, opening->has_owner, bank_uuid_datum(&opening->owner_id));
	SET_OR_NULL(account_number, opening->number[0] != '\0', CStringGetTextDatum(opening->number));
	SET_OR_NULL(house_code, house, CStringGetTextDatum(opening->house_code));
	SET_OR_NULL(stripe, house, Int32GetDatum(opening->stripe));
	SET_OR_NULL(house_account_id, house, bank_uuid_datum(&opening->house_account_id));
#undef SET
#undef SET_OR_NULL
	return bank_plan_execute(&plan, values, nulls, false) == 1;
}

/* The values of the columns that events can change, and which columns those are. */
static void
bank_account_mutable_values(const BankAccount *account, Datum *values, bool *nulls, bool *replace)
{
#define SET(column, datum) \
	do { \
		values[Anum_account_##column - 1] = (datum); \
		replace[Anum_account_##column - 1] = true; \
	} while (0)
	SET(version, Int64GetDatum(account->version));
	SET(debits, Int64GetDatum(account->debits));
	SET(credits, Int64GetDatum(account->credits));
	SET(position, Int64GetDatum(account->position));
	SET(held, Int64GetDatum(account->held));
	SET(overdraft_limit, Int64GetDatum(account->limits.overdraft));
	SET(recorded_at, TimestampTzGetDatum(account->recorded_at));
	SET(business_at, TimestampTzGetDatum(account->business_at));
	SET(status, CStringGetTextDatum(bank_account_status_name(account->status)));
	SET(balance_limit, Int64GetDatum(account->limits.balance));
	nulls[Anum_account_balance_limit - 1] = account->limits.balance == BANK_NO_LIMIT;
#undef SET
}

/* The same update through the executor, for a table that somebody has put triggers or rules on. */
static bool
bank_account_row_update_spi(const BankAccount *account, int64 old_version)
{
	static BankPlan plan = {
		.text = "UPDATE bank.accounts SET version = $3, debits = $4, credits = $5, position = $6, "
		"held = $7, overdraft_limit = $8, recorded_at = $9, business_at = $10, status = $11, "
		"balance_limit = $12 "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $2",
		.nargs = 12,
		.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	};
	Datum		columns[Natts_account];
	bool		column_nulls[Natts_account] = {false};
	bool		replace[Natts_account] = {false};
	Datum		values[12];
	char		nulls[12];
	int			n = 2;
	int			i;

	bank_account_mutable_values(account, columns, column_nulls, replace);
	memset(nulls, ' ', sizeof(nulls));
	values[0] = bank_uuid_datum(&account->id);
	values[1] = Int64GetDatum(old_version);
	for (i = 0; i < Natts_account; i++)
	{
		if (!replace[i])
			continue;
		nulls[n] = column_nulls[i] ? 'n' : ' ';
		values[n++] = columns[i];
	}
	Assert(n == 12);
	return bank_plan_execute(&plan, values, nulls, false) == 1;
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

	bank_account_lookup_begin(&lookup, "accounts_pkey", key, equals, 1);
	if (lookup.accounts->trigdesc != NULL || lookup.accounts->rd_rules != NULL)
	{
		bank_account_lookup_end(&lookup);
		return bank_account_row_update_spi(account, old_version);
	}
	if (index_getnext_slot(lookup.scan, ForwardScanDirection, lookup.slot))
	{
		Datum		values[Natts_account];
		bool		nulls[Natts_account] = {false};
		bool		replace[Natts_account] = {false};
		bool		shouldfree;
		HeapTuple	old = ExecFetchSlotHeapTuple(lookup.slot, false, &shouldfree);
		TupleDesc	desc = RelationGetDescr(lookup.accounts);
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
			if (bank_index_update_needed(update))
				bank_account_insert_index_entries(lookup.accounts, slot, update);
			ExecDropSingleTupleTableSlot(slot);
		}
	}
	bank_account_lookup_end(&lookup);
	CommandCounterIncrement();
	return found;
}
