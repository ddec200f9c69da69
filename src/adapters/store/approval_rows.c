/*
 * approval_rows.c
 *		Requests for approval: rows of bank.approvals and of bank.approval_thresholds.
 *
 * Locks: a request is locked by its row, FOR NO KEY UPDATE, before the accounts of its command.
 * Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "ports/event_store.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Decode a row with all columns in table order. */
void
bank_approval_from_row(HeapTuple row, TupleDesc desc, BankApproval *approval)
{
	Datum		values[Natts_approval];
	bool		nulls[Natts_approval];
	char		text[32];

	Assert(desc->natts == Natts_approval);
	heap_deform_tuple(row, desc, values, nulls);
	memset(approval, 0, sizeof(*approval));
#define VALUE(column) values[Anum_approval_##column - 1]
	bank_uuid_from_datum(VALUE(request_id), &approval->id);
	approval->version = DatumGetInt64(VALUE(version));
	approval->position = DatumGetInt64(VALUE(position));
	approval->recorded_at = DatumGetTimestampTz(VALUE(recorded_at));
	approval->created_at = DatumGetTimestampTz(VALUE(created_at));
	approval->expires_at = DatumGetTimestampTz(VALUE(expires_at));
	approval->amount = DatumGetInt64(VALUE(amount));
	bank_text_from_datum(VALUE(state), text, sizeof(text));
	approval->state = bank_approval_state_parse(text, strlen(text));
	bank_text_from_datum(VALUE(currency), text, sizeof(text));
	memcpy(approval->currency, text, sizeof(approval->currency));
	approval->has_account = !nulls[Anum_approval_account_id - 1];
	if (approval->has_account)
		bank_uuid_from_datum(VALUE(account_id), &approval->account_id);
#undef VALUE
}

/* Write a new request. Raises when its identifier is taken. */
void
bank_approval_row_insert(const BankApproval *approval)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.approvals (" BANK_APPROVAL_COLUMNS ") VALUES "
		"($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		.nargs = Natts_approval,
		.types = {UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		INT8OID, TEXTOID, TEXTOID, UUIDOID}
	};
	Datum		values[Natts_approval];
	char		nulls[Natts_approval];

	memset(nulls, ' ', sizeof(nulls));
	values[Anum_approval_request_id - 1] = bank_uuid_datum(&approval->id);
	values[Anum_approval_version - 1] = Int64GetDatum(approval->version);
	values[Anum_approval_position - 1] = Int64GetDatum(approval->position);
	values[Anum_approval_recorded_at - 1] = TimestampTzGetDatum(approval->recorded_at);
	values[Anum_approval_created_at - 1] = TimestampTzGetDatum(approval->created_at);
	values[Anum_approval_expires_at - 1] = TimestampTzGetDatum(approval->expires_at);
	values[Anum_approval_amount - 1] = Int64GetDatum(approval->amount);
	values[Anum_approval_state - 1] =
		CStringGetTextDatum(bank_approval_state_name(approval->state));
	values[Anum_approval_currency - 1] =
		PointerGetDatum(cstring_to_text_with_len(approval->currency, 3));
	values[Anum_approval_account_id - 1] = bank_uuid_datum(&approval->account_id);
	if (!approval->has_account)
		nulls[Anum_approval_account_id - 1] = 'n';
	bank_plan_execute(&plan, values, nulls, false);
}

/* Write what became of a request; false: it had not this version. */
bool
bank_approval_row_update(const BankApproval *approval, int64 old_version)
{
	static BankPlan plan = {
		.text = "UPDATE bank.approvals SET version = $2, position = $3, recorded_at = $4, "
		"state = $5 "
		"WHERE request_id OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $6",
		.nargs = 6, .types = {UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	};
	Datum		values[6];

	values[0] = bank_uuid_datum(&approval->id);
	values[1] = Int64GetDatum(approval->version);
	values[2] = Int64GetDatum(approval->position);
	values[3] = TimestampTzGetDatum(approval->recorded_at);
	values[4] = CStringGetTextDatum(bank_approval_state_name(approval->state));
	values[5] = Int64GetDatum(old_version);
	return bank_plan_execute(&plan, values, NULL, false) == 1;
}

/* Run a query for one request; false, and *approval of version 0: there is none. */
static bool
bank_approval_query(BankPlan *plan, const BankUuid *request_id, BankApproval *approval)
{
	Datum		values[] = {bank_uuid_datum(request_id)};

	memset(approval, 0, sizeof(*approval));
	approval->id = *request_id;
	approval->state = BANK_APPROVAL_NONE;
	if (bank_plan_execute(plan, values, NULL, false) == 0)
		return false;
	bank_approval_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, approval);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Read a request without a lock. */
bool
bank_approval_find(const BankUuid *request_id, BankApproval *approval)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_APPROVAL_COLUMNS " FROM bank.approvals "
		"WHERE request_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};

	return bank_approval_query(&plan, request_id, approval);
}

/* See ports/event_store.h. */
void
bank_store_lock_approval(const BankUuid *request_id, BankApproval *approval)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_APPROVAL_COLUMNS " FROM bank.approvals "
		"WHERE request_id OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE",
		.nargs = 1, .types = {UUIDOID}
	};

	(void) bank_approval_query(&plan, request_id, approval);
}

/*
 * See ports/event_store.h. Every command of a teller asks, mostly of an empty table, so it is
 * looked through without a plan; it has a row for a currency at most.
 */
bool
bank_store_approval_threshold(const char currency[3], int64_t *threshold, int64_t *time)
{
	Relation	table = table_open(get_relname_relid("approval_thresholds",
													 get_namespace_oid("bank", false)),
								   AccessShareLock);
	bool		found = false;

	if (RelationGetNumberOfBlocks(table) > 0)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);
		TupleTableSlot *slot = table_slot_create(table, NULL);

		while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			char		text[4];

			slot_getallattrs(slot);
			bank_text_from_datum(slot->tts_values[Anum_threshold_currency - 1], text,
								 sizeof(text));
			found = memcmp(text, currency, 3) == 0;
			if (found)
			{
				const Interval *interval =
					DatumGetIntervalP(slot->tts_values[Anum_threshold_expires_in - 1]);

				*threshold = DatumGetInt64(slot->tts_values[Anum_threshold_threshold - 1]);
				*time = bank_interval_microseconds(interval->time, interval->day,
												   interval->month);
			}
		}
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
		UnregisterSnapshot(snapshot);
	}
	table_close(table, AccessShareLock);
	return found;
}
