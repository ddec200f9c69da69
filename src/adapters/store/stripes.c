/*
 * stripes.c
 *		House accounts and their stripes: which one a command may use.
 *
 * Locks: a stripe is never waited for (SKIP LOCKED), so it may be locked at any
 * time; the right to open one is a lock on a name, never waited for either, and
 * held like a row lock until the transaction ends. Only commands that create
 * an account, or a house account, wait for each other by such a name. Must be
 * called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* Stripe numbers of one backend lie this far apart; more than MAX_BACKENDS could be. */
#define BANK_STRIPE_STEP 1048576
#define BANK_STRIPE_TRIES 1024

/* A stripe is full when one of its sums is beyond this, in minor units. */
#define BANK_STRIPE_FULL (PG_INT64_MAX / 2)

/* See ports/event_store.h. */
bool
bank_store_house_of(const BankUuid *account_id, char code[BANK_HOUSE_CODE_TEXT], char currency[4])
{
	static BankPlan plan = {
		.text = "SELECT house_code, currency FROM bank.accounts "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND house_code IS NOT NULL "
		"UNION ALL SELECT house_code, currency FROM bank.accounts "
		"WHERE house_account_id OPERATOR(pg_catalog.=) $1 LIMIT 1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(account_id)};
	bool		isnull;

	if (bank_plan_execute(&plan, values, NULL, false) == 0)
	{
		SPI_freetuptable(SPI_tuptable);
		return false;
	}
	bank_text_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
						 code, BANK_HOUSE_CODE_TEXT);
	bank_text_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull),
						 currency, 4);
	SPI_freetuptable(SPI_tuptable);
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
 * The lock name of a stripe: who has it may open the stripe. Stripes are numbered
 * from 1; 0 stands for the house account itself.
 */
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

/*
 * Do a stripe's sums come near what they can hold? They only grow, so it is left
 * alone from then on, and another one used.
 */
static bool
bank_stripe_is_full(const BankAccount *stripe)
{
	return stripe->debits > BANK_STRIPE_FULL || stripe->credits > BANK_STRIPE_FULL;
}

/* Try to get the stripe with this number, without waiting. */
static BankStripe
bank_stripe_try(const char *code, const char *currency, int32 stripe, BankAccount *account)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.accounts WHERE house_code OPERATOR(pg_catalog.=) $1 "
		"AND currency OPERATOR(pg_catalog.=) $2 AND stripe OPERATOR(pg_catalog.=) $3",
		.nargs = 3, .types = {TEXTOID, TEXTOID, INT4OID}
	};
	Datum		values[3];

	if (bank_account_row_lock_stripe(code, currency, stripe, account))
		return bank_stripe_is_full(account) ? BANK_STRIPE_BUSY : BANK_STRIPE_LOCKED;
	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	values[2] = Int32GetDatum(stripe);
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
		"AND debits OPERATOR(pg_catalog.<=) $3 AND credits OPERATOR(pg_catalog.<=) $3 "
		"LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 3, .types = {TEXTOID, TEXTOID, INT8OID}
	};
	Datum		values[3];

	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	values[2] = Int64GetDatum(BANK_STRIPE_FULL);
	if (bank_plan_execute(&plan, values, NULL, false) == 0)
		return false;
	bank_account_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, account);
	SPI_freetuptable(SPI_tuptable);
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
bank_store_identifier_taken(const BankUuid *account_id)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.accounts WHERE account_id OPERATOR(pg_catalog.=) $1 UNION ALL "
		"SELECT 1 FROM bank.transfers WHERE transfer_id OPERATOR(pg_catalog.=) $1 UNION ALL "
		"SELECT 1 FROM bank.approvals WHERE request_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(account_id)};

	bool		exists;

	/* what was created while we waited counts, whatever the isolation level */
	(void) bank_lock_name(hash_bytes(account_id->bytes, sizeof(account_id->bytes)), false);
	PushActiveSnapshot(GetLatestSnapshot());
	exists = bank_plan_execute(&plan, values, NULL, true) > 0;
	PopActiveSnapshot();
	return exists;
}

/* See ports/event_store.h. */
bool
bank_store_house_exists(const char *code, const char *currency)
{
	static BankPlan plan = {
		.text = "SELECT 1 FROM bank.accounts WHERE house_code OPERATOR(pg_catalog.=) $1 "
		"AND currency OPERATOR(pg_catalog.=) $2 LIMIT 1",
		.nargs = 2, .types = {TEXTOID, TEXTOID}
	};
	Datum		values[2];
	bool		exists;

	values[0] = CStringGetTextDatum(code);
	values[1] = CStringGetTextDatum(currency);
	(void) bank_lock_name(bank_stripe_hash(code, currency, 0), false);
	PushActiveSnapshot(GetLatestSnapshot());
	exists = bank_plan_execute(&plan, values, NULL, true) > 0;
	PopActiveSnapshot();
	return exists;
}
