/*
 * event_store.c
 *		Appending events, and idempotency keys.
 *
 * Locks: append needs the locks of all accounts of the event, so the position
 * it draws is greater than any earlier one on these streams. A claim of an
 * idempotency key waits for a transaction that has claimed the same key.
 * Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/*
 * While events are being appended: the accounts they were decided on, as they
 * were before, in identifier order. The trigger then need not read them again;
 * they are locked and current.
 */
static const BankAccount *const *bank_decided_accounts = NULL;
static int	bank_decided_count = 0;

/* Order of an identifier and an account, for bsearch. */
static int
bank_decided_compare(const void *id, const void *account)
{
	return bank_uuid_compare(id, &(*(const BankAccount *const *) account)->id);
}

/* The account with this identifier among those of the append under way, or NULL. */
const BankAccount *
bank_store_decided_account(const BankUuid *account_id)
{
	const BankAccount *const *found;

	if (bank_decided_accounts == NULL)
		return NULL;
	found = bsearch(account_id, bank_decided_accounts, bank_decided_count,
					sizeof(*bank_decided_accounts), bank_decided_compare);
	return found == NULL ? NULL : *found;
}

/* Draw the next value of a sequence of schema bank. */
static int64
bank_sequence_next(const char *name)
{
	Oid			sequence = get_relname_relid(name, get_namespace_oid("bank", false));

	return DatumGetInt64(DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));
}

/* See ports/event_store.h. */
int64_t
bank_store_next_account_serial(void)
{
	return bank_sequence_next("account_serial_seq");
}

/* Is a command appending right now? Else the row comes from a restore, or somebody's hand. */
bool
bank_store_is_appending(void)
{
	return bank_decided_accounts != NULL;
}

/* Move the sequence of positions up to one that was not drawn from it. */
void
bank_store_pass_position(int64 position)
{
	static BankPlan plan = {
		.text = "SELECT pg_catalog.setval('bank.events_position_seq', $1) "
		"FROM bank.events_position_seq "
		"WHERE last_value OPERATOR(pg_catalog.<) $1 OR NOT is_called",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		values[] = {Int64GetDatum(position)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* The same for the serial numbers of accounts. */
void
bank_store_pass_account_serial(int64 serial)
{
	static BankPlan plan = {
		.text = "SELECT pg_catalog.setval('bank.account_serial_seq', $1) "
		"FROM bank.account_serial_seq "
		"WHERE last_value OPERATOR(pg_catalog.<) $1 OR NOT is_called",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		values[] = {Int64GetDatum(serial)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* Order of two accounts, for qsort. */
static int
bank_decided_order(const void *a, const void *b)
{
	return bank_uuid_compare(&(*(const BankAccount *const *) a)->id,
							 &(*(const BankAccount *const *) b)->id);
}

/*
 * See ports/event_store.h. The accounts are put into order by the identifiers of
 * their rows, which for house accounts are those of the stripes.
 */
void
bank_store_append_all(BankEvent *const *events, int n, const BankAccount *const *accounts,
					  int n_accounts)
{
	const BankAccount **ordered = palloc(Max(n_accounts, 1) * sizeof(*ordered));
	int			i;

	memcpy(ordered, accounts, n_accounts * sizeof(*ordered));
	qsort(ordered, n_accounts, sizeof(*ordered), bank_decided_order);
	for (i = 0; i < n; i++)
		events[i]->position = bank_sequence_next("events_position_seq");
	bank_decided_accounts = ordered;
	bank_decided_count = n_accounts;
	PG_TRY();
	{
		if (n == 1)
			bank_event_row_insert(events[0]);
		else
			bank_event_rows_insert(events, n);
	}
	PG_FINALLY();
	{
		bank_decided_accounts = NULL;
		bank_decided_count = 0;
	}
	PG_END_TRY();
	pfree(ordered);
}

/* See ports/event_store.h. */
void
bank_store_append(BankEvent *event, const BankAccount *aggregate, const BankAccount *peer)
{
	const BankAccount *accounts[2];
	int			n = 0;

	if (aggregate != NULL)
		accounts[n++] = aggregate;
	if (peer != NULL)
		accounts[n++] = peer;
	bank_store_append_all(&event, 1, accounts, n);
}

/* SHA-256 of the canonical request, as bytea. */
static Datum
bank_request_hash(const char *request)
{
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) request, strlen(request)) < 0 ||
		pg_cryptohash_final(context, (uint8 *) VARDATA(hash), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return PointerGetDatum(hash);
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
	if (error->code == BANK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored refusal \"%s\" \"%s\" is not known", sqlstate, message)));
}

/* The outcome of a key for a request with this hash, see ports/event_store.h. */
static BankKeyState
bank_key_lookup(const char *key, Datum hash, BankEvent *first, BankError *error)
{
	static BankPlan plan = {
		.text = "SELECT k.request_hash OPERATOR(pg_catalog.=) $2, k.refusal, "
		"e.position, e.version, e.peer_version, e.amount, e.balance, e.peer_balance, "
		"e.recorded_at, e.transaction_id, e.event_id, e.aggregate_id, e.peer_id, e.event_type, "
		"e.currency, e.occurred_at, e.data, e.metadata, e.held, e.peer_held, e.expires_at, "
		"e.hold_id "
		"FROM bank.idempotency_keys AS k LEFT JOIN bank.events AS e "
		"ON e.aggregate_id OPERATOR(pg_catalog.=) k.aggregate_id "
		"AND e.version OPERATOR(pg_catalog.=) k.version "
		"WHERE k.idempotency_key OPERATOR(pg_catalog.=) $1",
		.nargs = 2, .types = {TEXTOID, BYTEAOID}
	};
	Datum		arguments[2];
	Datum		values[Natts_event + 2];
	bool		nulls[Natts_event + 2];

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
	return bank_key_lookup(key, bank_request_hash(request), first, error);
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

/* See ports/event_store.h. */
void
bank_store_release_key(const char *key)
{
	static BankPlan plan = {
		.text = "DELETE FROM bank.idempotency_keys "
		"WHERE idempotency_key OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {TEXTOID}
	};
	Datum		values[] = {CStringGetTextDatum(key)};

	bank_plan_execute(&plan, values, NULL, false);
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
