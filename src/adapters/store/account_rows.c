/*
 * account_rows.c
 *		Rows of bank.accounts as the domain's accounts, and back.
 *
 * No locks of its own; must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Copy a text Datum into a fixed array, terminated; longer text is cut. */
void
bank_text_from_datum(Datum datum, char *out, size_t size)
{
	text	   *value = DatumGetTextPP(datum);
	size_t		len = Min(VARSIZE_ANY_EXHDR(value), size - 1);

	memcpy(out, VARDATA_ANY(value), len);
	out[len] = '\0';
}

/* Decode the columns of a row, in table order. */
void
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
	account->next_expiry = IS_NULL(next_expiry) ? BANK_NO_EXPIRY :
		DatumGetTimestampTz(VALUE(next_expiry));
	account->limits_version = DatumGetInt64(VALUE(limits_version));
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

/* Write a new account; false: identifier, number or stripe are taken. */
bool
bank_account_row_insert(const BankAccount *account)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.accounts (" BANK_ACCOUNT_COLUMNS ") "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, "
		"$8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) "
		"ON CONFLICT DO NOTHING",
		.nargs = Natts_account,
		.types = BANK_ACCOUNT_COLUMN_TYPES
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
	SET_OR_NULL(next_expiry, account->next_expiry != BANK_NO_EXPIRY,
				TimestampTzGetDatum(account->next_expiry));
	SET(limits_version, Int64GetDatum(account->limits_version));
#undef SET
#undef SET_OR_NULL
	return bank_plan_execute(&plan, values, nulls, false) == 1;
}

/* The values of the columns that events can change, and which columns those are. */
void
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
	SET(next_expiry, TimestampTzGetDatum(account->next_expiry));
	nulls[Anum_account_next_expiry - 1] = account->next_expiry == BANK_NO_EXPIRY;
	SET(limits_version, Int64GetDatum(account->limits_version));
#undef SET
}

/* The same update through the executor, for a table that somebody has put triggers or rules on. */
bool
bank_account_row_update_spi(const BankAccount *account, int64 old_version)
{
	static BankPlan plan = {
		.text = "UPDATE bank.accounts SET version = $3, debits = $4, credits = $5, position = $6, "
		"held = $7, overdraft_limit = $8, recorded_at = $9, business_at = $10, status = $11, "
		"balance_limit = $12, next_expiry = $13, limits_version = $14 "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $2",
		.nargs = 14,
		.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
		TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		columns[Natts_account];
	bool		column_nulls[Natts_account] = {false};
	bool		replace[Natts_account] = {false};
	Datum		values[14];
	char		nulls[14];
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
	Assert(n == 14);
	return bank_plan_execute(&plan, values, nulls, false) == 1;
}
