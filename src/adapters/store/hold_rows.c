/*
 * hold_rows.c
 *		Rows of bank.holds as the domain's holds, and back.
 *
 * No locks of its own: a hold changes under the lock of its account. Must be called
 * inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Decode a row with all columns in table order. */
void
bank_hold_from_row(HeapTuple row, TupleDesc desc, BankHold *hold)
{
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold];
	char		text[16];

	Assert(desc->natts == Natts_hold);
	heap_deform_tuple(row, desc, values, nulls);
	memset(hold, 0, sizeof(*hold));
#define VALUE(column) values[Anum_hold_##column - 1]
#define IS_NULL(column) nulls[Anum_hold_##column - 1]
	bank_uuid_from_datum(VALUE(hold_id), &hold->id);
	bank_uuid_from_datum(VALUE(account_id), &hold->account_id);
	hold->amount = DatumGetInt64(VALUE(amount));
	hold->captured = DatumGetInt64(VALUE(captured));
	hold->expires_at = DatumGetTimestampTz(VALUE(expires_at));
	hold->created_at = DatumGetTimestampTz(VALUE(created_at));
	hold->created_version = DatumGetInt64(VALUE(created_version));
	hold->created_position = DatumGetInt64(VALUE(created_position));
	if (!IS_NULL(resolved_at))
		hold->resolved_at = DatumGetTimestampTz(VALUE(resolved_at));
	if (!IS_NULL(resolved_version))
		hold->resolved_version = DatumGetInt64(VALUE(resolved_version));
	if (!IS_NULL(resolved_position))
		hold->resolved_position = DatumGetInt64(VALUE(resolved_position));
	bank_text_from_datum(VALUE(currency), text, sizeof(text));
	memcpy(hold->currency, text, sizeof(hold->currency));
	bank_text_from_datum(VALUE(status), text, sizeof(text));
	hold->status = bank_hold_status_parse(text, strlen(text));
#undef VALUE
#undef IS_NULL
}

/* Write a new hold; false: its identifier is taken. */
bool
bank_hold_row_insert(const BankHold *hold)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.holds (" BANK_HOLD_COLUMNS ") "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
		.nargs = Natts_hold,
		.types = {UUIDOID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID,
		INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, TEXTOID}
	};
	Datum		values[Natts_hold];
	char		nulls[Natts_hold];
	char		unresolved = hold->status == BANK_HOLD_OPEN ? 'n' : ' ';

	memset(nulls, ' ', sizeof(nulls));
#define SET(column, datum) values[Anum_hold_##column - 1] = (datum)
	SET(hold_id, bank_uuid_datum(&hold->id));
	SET(account_id, bank_uuid_datum(&hold->account_id));
	SET(amount, Int64GetDatum(hold->amount));
	SET(captured, Int64GetDatum(hold->captured));
	SET(expires_at, TimestampTzGetDatum(hold->expires_at));
	SET(created_at, TimestampTzGetDatum(hold->created_at));
	SET(created_version, Int64GetDatum(hold->created_version));
	SET(created_position, Int64GetDatum(hold->created_position));
	SET(resolved_at, TimestampTzGetDatum(hold->resolved_at));
	SET(resolved_version, Int64GetDatum(hold->resolved_version));
	SET(resolved_position, Int64GetDatum(hold->resolved_position));
	SET(currency, PointerGetDatum(cstring_to_text_with_len(hold->currency, 3)));
	SET(status, CStringGetTextDatum(bank_hold_status_name(hold->status)));
	nulls[Anum_hold_resolved_at - 1] = unresolved;
	nulls[Anum_hold_resolved_version - 1] = unresolved;
	nulls[Anum_hold_resolved_position - 1] = unresolved;
#undef SET
	return bank_plan_execute(&plan, values, nulls, false) == 1;
}

/* Write what became of an open hold; false: it is not open. */
bool
bank_hold_row_resolve(const BankHold *hold)
{
	static BankPlan plan = {
		.text = "UPDATE bank.holds SET captured = $2, resolved_at = $3, resolved_version = $4, "
		"resolved_position = $5, status = $6 "
		"WHERE hold_id OPERATOR(pg_catalog.=) $1 AND status OPERATOR(pg_catalog.=) 'OPEN'",
		.nargs = 6, .types = {UUIDOID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID}
	};
	Datum		values[6];

	values[0] = bank_uuid_datum(&hold->id);
	values[1] = Int64GetDatum(hold->captured);
	values[2] = TimestampTzGetDatum(hold->resolved_at);
	values[3] = Int64GetDatum(hold->resolved_version);
	values[4] = Int64GetDatum(hold->resolved_position);
	values[5] = CStringGetTextDatum(bank_hold_status_name(hold->status));
	return bank_plan_execute(&plan, values, NULL, false) == 1;
}

/* See ports/event_store.h. */
bool
bank_store_find_hold(const BankUuid *hold_id, BankHold *hold)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_HOLD_COLUMNS " FROM bank.holds "
		"WHERE hold_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(hold_id)};
	bool		found = bank_plan_execute(&plan, values, NULL, false) > 0;

	if (found)
		bank_hold_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, hold);
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/* The open holds of an account that expire first, up to max: how many, which, and when. */
int
bank_hold_rows_open(const BankUuid *account_id, int max, BankUuid *hold_ids, int64_t *expiries)
{
	static BankPlan plan = {
		.text = "SELECT hold_id, expires_at FROM bank.holds "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND status OPERATOR(pg_catalog.=) 'OPEN' "
		"ORDER BY expires_at LIMIT $2",
		.nargs = 2, .types = {UUIDOID, INT8OID}
	};
	Datum		values[2];
	int			n;
	int			i;
	bool		isnull;

	values[0] = bank_uuid_datum(account_id);
	values[1] = Int64GetDatum(max);
	n = (int) bank_plan_execute(&plan, values, NULL, false);
	for (i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		bank_uuid_from_datum(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull), &hold_ids[i]);
		expiries[i] = DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* See ports/event_store.h. */
int
bank_store_expired_holds(const BankUuid *account_id, int64_t at, BankHold **holds,
						 int64_t *next_expiry)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_HOLD_COLUMNS " FROM bank.holds "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND status OPERATOR(pg_catalog.=) 'OPEN' "
		"AND expires_at OPERATOR(pg_catalog.<=) $2 ORDER BY expires_at, hold_id",
		.nargs = 2, .types = {UUIDOID, TIMESTAMPTZOID}
	};
	static BankPlan next = {
		.text = "SELECT expires_at FROM bank.holds "
		"WHERE account_id OPERATOR(pg_catalog.=) $1 AND status OPERATOR(pg_catalog.=) 'OPEN' "
		"AND expires_at OPERATOR(pg_catalog.>) $2 ORDER BY expires_at LIMIT 1",
		.nargs = 2, .types = {UUIDOID, TIMESTAMPTZOID}
	};
	Datum		values[2];
	int			n;
	int			i;
	bool		isnull;

	values[0] = bank_uuid_datum(account_id);
	values[1] = TimestampTzGetDatum(at);
	n = (int) bank_plan_execute(&plan, values, NULL, false);
	*holds = bank_store_allocate(n * sizeof(BankHold));
	for (i = 0; i < n; i++)
		bank_hold_from_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &(*holds)[i]);
	SPI_freetuptable(SPI_tuptable);
	*next_expiry = BANK_NO_EXPIRY;
	if (bank_plan_execute(&next, values, NULL, false) > 0)
		*next_expiry = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0],
														 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* See ports/event_store.h. */
int
bank_store_due_accounts(int64_t at, int max, BankUuid **account_ids)
{
	static BankPlan plan = {
		.text = "SELECT DISTINCT d.account_id FROM (SELECT account_id FROM bank.holds "
		"WHERE status OPERATOR(pg_catalog.=) 'OPEN' AND expires_at OPERATOR(pg_catalog.<=) $1 "
		"ORDER BY expires_at LIMIT $2) AS d",
		.nargs = 2, .types = {TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[2];
	int			n;
	int			i;
	bool		isnull;

	values[0] = TimestampTzGetDatum(at);
	values[1] = Int64GetDatum(max);
	n = (int) bank_plan_execute(&plan, values, NULL, false);
	*account_ids = bank_store_allocate(n * sizeof(BankUuid));
	for (i = 0; i < n; i++)
		bank_uuid_from_datum(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
										   &isnull), &(*account_ids)[i]);
	SPI_freetuptable(SPI_tuptable);
	return n;
}
