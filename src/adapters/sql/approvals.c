/*
 * approvals.c
 *		The SQL functions of requests for approval.
 *
 * Transactions, locks: as in commands.c. Memory: results are palloc'd in the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/call.h"
#include "adapters/sql/errors.h"
#include "adapters/sql/json_command.h"
#include "application/approvals.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bank_sql_approve);
PG_FUNCTION_INFO_V1(bank_sql_reject);
PG_FUNCTION_INFO_V1(bank_sql_set_approval_threshold);

/* Metadata of a command that was approved: its cause is the request, whatever it says itself. */
static const void *
bank_approved_metadata(const void *metadata, const BankUuid *request_id)
{
	char		id[BANK_UUID_TEXT];
	Datum		own;

	bank_uuid_format(request_id, id);
	own = DirectFunctionCall1(jsonb_in,
							  CStringGetDatum(psprintf("{\"causation_id\":\"%s\"}", id)));
	return metadata == NULL ? DatumGetPointer(own) :
		DatumGetPointer(DirectFunctionCall2(jsonb_concat, PointerGetDatum(metadata), own));
}

/* Carry out a command that was kept, see approvals.h. */
static bool
bank_approved_command(const void *kept, const BankUuid *request_id, const BankOptions *approval,
					  BankOutcome *outcome, BankError *error)
{
	BankJsonCommand command;
	BankOptions options;

	if (kept == NULL)
		elog(ERROR, "the command of a request is missing");
	if (!bank_json_read(unconstify(void *, kept), &command))
	{
		*error = command.error;
		return false;
	}
	bank_json_options(&command, &options);
	options.needs_no_approval = true;
	if (!options.has_occurred_at)
	{
		options.has_occurred_at = approval->has_occurred_at;
		options.occurred_at = approval->occurred_at;
	}
	options.metadata = bank_approved_metadata(options.metadata, request_id);
	options.metadata_is_object = true;
	return command.run(&command, &options, outcome, error);
}

/* bank_approve(request_id, options) */
Datum
bank_sql_approve(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankUuid	account_id;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_approve()", 1);
	accepted = bank_approvals_grant(bank_arg_uuid(fcinfo, 0), bank_approved_command,
									&call.options, &account_id, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, &account_id);
}

/* bank_reject(request_id, reason, options) */
Datum
bank_sql_reject(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankUuid	account_id;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_reject()", 2);
	accepted = bank_approvals_reject(bank_arg_uuid(fcinfo, 0), bank_arg_text(fcinfo, 1),
									 &call.options, &account_id, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, &account_id);
}

/* Refuse a threshold that makes no sense. BK008, BK016, BK021. */
static bool
bank_threshold_check(const BankMoney *threshold, const Interval *expires_in, BankError *error)
{
	int64_t		time;

	if (threshold == NULL)
		return bank_command_missing("threshold", error);
	if (expires_in == NULL)
		return bank_command_missing("expires_in", error);
	if (threshold->minor < 0)
		return bank_error_set(error, BANK_INVALID_AMOUNT, "A threshold cannot be negative.");
	time = bank_interval_microseconds(expires_in->time, expires_in->day, expires_in->month);
	return (time > 0 && time <= BANK_HOLD_LONGEST) ||
		bank_error_set(error, BANK_INVALID_DATE,
					   "expires_in must be greater than zero and at most ten years.");
}

/* bank_set_approval_threshold(threshold, expires_in) */
Datum
bank_sql_set_approval_threshold(PG_FUNCTION_ARGS)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.approval_thresholds AS t "
		"(currency, threshold, expires_in, changed_at, changed_by) "
		"VALUES ($1, $2, $3, pg_catalog.clock_timestamp(), $4) "
		"ON CONFLICT (currency) DO UPDATE SET threshold = EXCLUDED.threshold, "
		"expires_in = EXCLUDED.expires_in, changed_at = EXCLUDED.changed_at, "
		"changed_by = EXCLUDED.changed_by",
		.nargs = 4, .types = {TEXTOID, INT8OID, INTERVALOID, TEXTOID}
	};
	const BankMoney *threshold = bank_arg_money(fcinfo, 0);
	const Interval *expires_in = PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1);
	BankSession session;
	BankError	error;
	Datum		values[4];

	bank_call_check_writable("bank_set_approval_threshold()");
	if (!bank_threshold_check(threshold, expires_in, &error))
		bank_ereport(&error);
	bank_session_open(&session);
	values[0] = PointerGetDatum(cstring_to_text_with_len(threshold->currency, 3));
	values[1] = Int64GetDatum(threshold->minor);
	values[2] = IntervalPGetDatum(expires_in);
	values[3] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	bank_plan_execute(&plan, values, NULL, false);
	bank_session_close(&session);
	PG_RETURN_VOID();
}
