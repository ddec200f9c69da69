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

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Decode the columns of a row, in table order. */
void
bank_hold_from_values(const Datum *values, const bool *nulls, BankHold *hold)
{
	char		text[16];

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

/* Decode a row with all columns in table order. */
void
bank_hold_from_row(HeapTuple row, TupleDesc desc, BankHold *hold)
{
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold];

	Assert(desc->natts == Natts_hold);
	heap_deform_tuple(row, desc, values, nulls);
	bank_hold_from_values(values, nulls, hold);
}

/* The columns of the row of a hold, in table order. */
void
bank_hold_to_values(const BankHold *hold, Datum *values, bool *nulls)
{
	bool		open = hold->status == BANK_HOLD_OPEN;

	memset(nulls, 0, Natts_hold * sizeof(bool));
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
#undef SET
	nulls[Anum_hold_resolved_at - 1] = open;
	nulls[Anum_hold_resolved_version - 1] = open;
	nulls[Anum_hold_resolved_position - 1] = open;
}

/* Write a new hold through the executor. Raises when its identifier is taken. */
void
bank_hold_row_insert_spi(const BankHold *hold)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.holds (" BANK_HOLD_COLUMNS ") "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		.nargs = Natts_hold,
		.types = BANK_HOLD_COLUMN_TYPES
	};
	Datum		values[Natts_hold];
	bool		nulls[Natts_hold];
	char		spi_nulls[Natts_hold];
	int			i;

	bank_hold_to_values(hold, values, nulls);
	for (i = 0; i < Natts_hold; i++)
		spi_nulls[i] = nulls[i] ? 'n' : ' ';
	bank_plan_execute(&plan, values, spi_nulls, false);
}

/* Write what became of an open hold through the executor; false: it is not open. */
bool
bank_hold_row_resolve_spi(const BankHold *hold)
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
