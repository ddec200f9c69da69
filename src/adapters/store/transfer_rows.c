/*
 * transfer_rows.c
 *		Transfers to and from other ledgers: rows of bank.transfers, and what goes with them.
 *
 * Locks: a transfer has a lock of its name, taken before those of its accounts, and is read
 * under it; its row is locked too, so that in REPEATABLE READ a change that
 * the snapshot does not see is a serialization failure. Everything goes through the
 * executor: a transfer takes a network's time anyway. Must be called inside a
 * BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Decode a row with all columns in table order. */
void
bank_transfer_from_row(HeapTuple row, TupleDesc desc, BankTransfer *transfer)
{
	Datum		values[Natts_transfer];
	bool		nulls[Natts_transfer];
	char		text[32];

	Assert(desc->natts == Natts_transfer);
	heap_deform_tuple(row, desc, values, nulls);
	memset(transfer, 0, sizeof(*transfer));
#define VALUE(column) values[Anum_transfer_##column - 1]
#define IS_NULL(column) nulls[Anum_transfer_##column - 1]
	bank_uuid_from_datum(VALUE(transfer_id), &transfer->id);
	transfer->version = DatumGetInt64(VALUE(version));
	transfer->position = DatumGetInt64(VALUE(position));
	transfer->recorded_at = DatumGetTimestampTz(VALUE(recorded_at));
	transfer->created_at = DatumGetTimestampTz(VALUE(created_at));
	transfer->amount = DatumGetInt64(VALUE(amount));
	transfer->captured = DatumGetBool(VALUE(captured));
	bank_text_from_datum(VALUE(state), text, sizeof(text));
	transfer->state = bank_transfer_state_parse(text, strlen(text));
	bank_text_from_datum(VALUE(currency), text, sizeof(text));
	memcpy(transfer->currency, text, sizeof(transfer->currency));
	bank_text_from_datum(VALUE(participant), transfer->participant, sizeof(transfer->participant));
	bank_text_from_datum(VALUE(house_account), transfer->house_code, sizeof(transfer->house_code));
	bank_text_from_datum(VALUE(destination), transfer->destination, sizeof(transfer->destination));
	bank_text_from_datum(VALUE(code), transfer->code, sizeof(transfer->code));
	bank_text_from_datum(VALUE(reason), transfer->reason, sizeof(transfer->reason));
	transfer->has_account = !IS_NULL(account_id);
	if (transfer->has_account)
		bank_uuid_from_datum(VALUE(account_id), &transfer->account_id);
	transfer->deadline = IS_NULL(deadline) ? 0 : DatumGetTimestampTz(VALUE(deadline));
#undef VALUE
#undef IS_NULL
}

/* The columns of the row of a transfer, in table order; SPI's way of telling nulls. */
static void
bank_transfer_to_values(const BankTransfer *transfer, Datum *values, char *nulls)
{
	memset(nulls, ' ', Natts_transfer);
#define SET(column, datum) values[Anum_transfer_##column - 1] = (datum)
	SET(transfer_id, bank_uuid_datum(&transfer->id));
	SET(version, Int64GetDatum(transfer->version));
	SET(position, Int64GetDatum(transfer->position));
	SET(recorded_at, TimestampTzGetDatum(transfer->recorded_at));
	SET(created_at, TimestampTzGetDatum(transfer->created_at));
	SET(amount, Int64GetDatum(transfer->amount));
	SET(captured, BoolGetDatum(transfer->captured));
	SET(state, CStringGetTextDatum(bank_transfer_state_name(transfer->state)));
	SET(currency, PointerGetDatum(cstring_to_text_with_len(transfer->currency, 3)));
	SET(participant, CStringGetTextDatum(transfer->participant));
	SET(house_account, CStringGetTextDatum(transfer->house_code));
	SET(destination, CStringGetTextDatum(transfer->destination));
	SET(code, CStringGetTextDatum(transfer->code));
	SET(reason, CStringGetTextDatum(transfer->reason));
	SET(account_id, bank_uuid_datum(&transfer->account_id));
	SET(deadline, TimestampTzGetDatum(transfer->deadline));
#undef SET
	if (!transfer->has_account)
		nulls[Anum_transfer_account_id - 1] = 'n';
	if (transfer->deadline == 0)
		nulls[Anum_transfer_deadline - 1] = 'n';
}

/* Write a new transfer. Raises when its identifier is taken. */
void
bank_transfer_row_insert(const BankTransfer *transfer)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.transfers (" BANK_TRANSFER_COLUMNS ") VALUES "
		"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
		.nargs = Natts_transfer, .types = BANK_TRANSFER_COLUMN_TYPES
	};
	Datum		values[Natts_transfer];
	char		nulls[Natts_transfer];

	bank_transfer_to_values(transfer, values, nulls);
	bank_plan_execute(&plan, values, nulls, false);
}

/* Write what became of a transfer; false: it had not this version. */
bool
bank_transfer_row_update(const BankTransfer *transfer, int64 old_version)
{
	static BankPlan plan = {
		.text = "UPDATE bank.transfers SET version = $2, position = $3, recorded_at = $4, "
		"captured = $7, state = $8, code = $13, reason = $14, deadline = $16 "
		"WHERE transfer_id OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $17",
		.nargs = Natts_transfer + 1, .types = BANK_TRANSFER_COLUMN_TYPES
	};
	Datum		values[Natts_transfer + 1];
	char		nulls[Natts_transfer + 1];

	plan.types[Natts_transfer] = INT8OID;
	bank_transfer_to_values(transfer, values, nulls);
	values[Natts_transfer] = Int64GetDatum(old_version);
	nulls[Natts_transfer] = ' ';
	return bank_plan_execute(&plan, values, nulls, false) == 1;
}

/* Run a query for one transfer; false, and *transfer of version 0: there is none. */
static bool
bank_transfer_query(BankPlan *plan, bool read_only, const BankUuid *transfer_id,
					BankTransfer *transfer)
{
	Datum		values[] = {bank_uuid_datum(transfer_id)};

	memset(transfer, 0, sizeof(*transfer));
	transfer->id = *transfer_id;
	transfer->state = BANK_TRANSFER_NONE;
	if (bank_plan_execute(plan, values, NULL, read_only) == 0)
		return false;
	bank_transfer_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, transfer);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Read the row of a transfer; read_only: as the active snapshot sees it. */
static bool
bank_transfer_read(bool read_only, const BankUuid *transfer_id, BankTransfer *transfer)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_TRANSFER_COLUMNS " FROM bank.transfers "
		"WHERE transfer_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};

	return bank_transfer_query(&plan, read_only, transfer_id, transfer);
}

/* See ports/event_store.h. */
bool
bank_store_find_transfer(const BankUuid *transfer_id, BankTransfer *transfer)
{
	return bank_transfer_read(false, transfer_id, transfer);
}

/* Take the lock of a transfer; false when dont_wait and somebody else has it. */
bool
bank_transfer_lock_name(const BankUuid *transfer_id, bool dont_wait)
{
	return bank_lock_name(hash_bytes(transfer_id->bytes, sizeof(transfer_id->bytes)), dont_wait);
}

/* See ports/event_store.h. */
void
bank_store_lock_transfer(const BankUuid *transfer_id, BankTransfer *transfer)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_TRANSFER_COLUMNS " FROM bank.transfers "
		"WHERE transfer_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
		.nargs = 1, .types = {UUIDOID}
	};
	BankTransfer latest;

	(void) bank_transfer_lock_name(transfer_id, false);
	if (bank_transfer_query(&plan, false, transfer_id, transfer))
		return;
	/* one that came while we waited, where the snapshot does not move on */
	PushActiveSnapshot(GetLatestSnapshot());
	if (bank_transfer_read(true, transfer_id, &latest))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	PopActiveSnapshot();
}

/* See ports/event_store.h. */
bool
bank_store_find_participant(const char *name, int64_t *deadline,
							char house_code[BANK_HOUSE_CODE_TEXT])
{
	static BankPlan plan = {
		.text = "SELECT p.deadline, p.house_account FROM bank.participants AS p "
		"WHERE p.name OPERATOR(pg_catalog.=) $1 FOR KEY SHARE",
		.nargs = 1, .types = {TEXTOID}
	};
	Datum		values[] = {CStringGetTextDatum(name)};
	const Interval *interval;
	bool		isnull;

	if (bank_plan_execute(&plan, values, NULL, false) == 0)
		return false;
	interval = DatumGetIntervalP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											   &isnull));
	*deadline = bank_interval_microseconds(interval->time, interval->day, interval->month);
	bank_text_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull),
						 house_code, BANK_HOUSE_CODE_TEXT);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* See ports/event_store.h. */
void
bank_store_schedule_transfer(const BankUuid *transfer_id, const char *participant, int64_t at)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.transfer_attempts AS t (transfer_id, participant, "
		"next_attempt_at, attempts, absent) VALUES ($1, $2, $3, 0, false) "
		"ON CONFLICT (transfer_id) DO UPDATE SET next_attempt_at = $3, attempts = 0, "
		"absent = false, last_error = NULL, last_status = NULL",
		.nargs = 3, .types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
	};
	Datum		values[] = {bank_uuid_datum(transfer_id), CStringGetTextDatum(participant),
	TimestampTzGetDatum(at)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* See ports/event_store.h. */
void
bank_store_settle_transfer(const BankUuid *transfer_id)
{
	static BankPlan plan = {
		.text = "DELETE FROM bank.transfer_attempts "
		"WHERE transfer_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(transfer_id)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* See ports/event_store.h. */
const void *
bank_store_correlate(const void *metadata, const BankUuid *id)
{
	char		text[BANK_UUID_TEXT];
	Datum		own;

	bank_uuid_format(id, text);
	own = DirectFunctionCall1(jsonb_in,
							  CStringGetDatum(psprintf("{\"correlation_id\":\"%s\"}", text)));
	return metadata == NULL ? DatumGetPointer(own) :
		DatumGetPointer(DirectFunctionCall2(jsonb_concat, own, PointerGetDatum(metadata)));
}
