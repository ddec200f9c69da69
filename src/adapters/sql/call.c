/*
 * call.c
 *		What the SQL functions of the commands share: arguments, options, sessions, results.
 *
 * Transactions: the caller's; a refusal is raised and leaves nothing behind.
 * Memory: results are palloc'd in the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/call.h"
#include "adapters/sql/errors.h"
#include "adapters/sql/money_datum.h"
#include "domain/approval.h"
#include "domain/currency.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* An identifier argument, or NULL. */
const BankUuid *
bank_arg_uuid(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : (const BankUuid *) PG_GETARG_UUID_P(n);
}

/* A money argument, or NULL. */
const BankMoney *
bank_arg_money(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_BANK_MONEY(n);
}

/* A text argument as a C string, or NULL. */
const char *
bank_arg_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* Refuse where nothing can be written, with the server's own errors. */
void
bank_call_check_writable(const char *name)
{
	PreventCommandIfReadOnly(name);
	PreventCommandIfParallelMode(name);
	PreventCommandDuringRecovery(name);
}

/* Has the caller itself the right to the function, not only somebody whose rights it uses? */
bool
bank_call_has_own_right(FunctionCallInfo fcinfo)
{
	return bank_may_execute(fcinfo->flinfo->fn_oid, GetOuterUserId());
}

/*
 * Begin a command: refuse where nothing can be written, with the server's own
 * errors; read the four common options, which stand from argument n on; open a
 * session. name is the function as users call it.
 */
void
bank_call_begin(BankCall *call, FunctionCallInfo fcinfo, const char *name, int n)
{
	BankOptions *options = &call->options;

	bank_call_check_writable(name);
	memset(options, 0, sizeof(*options));
	options->lent = !bank_call_has_own_right(fcinfo);
	bank_outcome_begin(&call->outcome);
	options->has_expected_version = !PG_ARGISNULL(n);
	if (options->has_expected_version)
		options->expected_version = PG_GETARG_INT64(n);
	options->key = bank_arg_text(fcinfo, n + 1);
	options->has_occurred_at = !PG_ARGISNULL(n + 2);
	if (options->has_occurred_at)
		options->occurred_at = PG_GETARG_TIMESTAMPTZ(n + 2);
	if (!PG_ARGISNULL(n + 3))
	{
		Jsonb	   *metadata = PG_GETARG_JSONB_P(n + 3);

		options->metadata = metadata;
		options->metadata_size = VARSIZE(metadata);
		options->metadata_is_object = JB_ROOT_IS_OBJECT(metadata);
	}
	bank_session_open(&call->session);
	bank_session_lock_tables();
}

/* End a command: raise its refusal, or close the session, which frees what the event points to. */
void
bank_call_end(BankCall *call, bool accepted)
{
	if (!accepted)
		bank_ereport(&call->error);
	call->account_id = *bank_call_account_id(&call->outcome.event);
	bank_session_close(&call->session);
	bank_call_note_request(&call->outcome);
}

/* Tell the client that somebody else has to approve the command; not again, it may be decided. */
void
bank_call_note_request(const BankOutcome *outcome)
{
	char		id[BANK_UUID_TEXT];

	if (outcome->event.type != BANK_EVENT_APPROVAL_REQUESTED || outcome->replayed)
		return;
	bank_uuid_format(&outcome->event.aggregate_id, id);
	ereport(NOTICE,
			(errmsg("the command waits for approval"),
			 errdetail("Request: %s", id),
			 errhint("Somebody else calls bank_approve or bank_reject.")));
}

/* A figure in minor units as numeric with the currency's decimals. */
Datum
bank_numeric_datum(int64_t minor, const char *currency)
{
	return NumericGetDatum(int64_div_fast_to_numeric(minor, bank_currency_exponent(currency)));
}

/* Form the composite result of a function. */
Datum
bank_call_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls, int natts)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts < natts)
		elog(ERROR, "return type must be a row type with %d columns", natts);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* The account of an event whose command did not name one. */
const BankUuid *
bank_call_account_id(const BankEvent *event)
{
	return bank_event_is_approval(event->type) && event->approval != NULL ?
		&event->approval->account_id : &event->aggregate_id;
}

/*
 * The result of most commands, type bank_receipt. account_id is the account as
 * the caller named it: for a house account not the stripe that was used.
 */
Datum
bank_call_receipt(FunctionCallInfo fcinfo, const BankOutcome *outcome, const BankUuid *account_id)
{
	const BankEvent *event = &outcome->event;
	Datum		values[10];
	bool		nulls[10] = {false};

	values[0] = bank_uuid_datum(&event->event_id);
	values[1] = bank_uuid_datum(account_id);
	values[2] = CStringGetTextDatum(bank_event_type_name(event->type));
	nulls[3] = !bank_event_has_amount(event->type) && !bank_event_is_case(event->type);
	values[3] = bank_numeric_datum(event->amount, event->currency);
	values[4] = PointerGetDatum(cstring_to_text_with_len(event->currency, 3));
	nulls[5] = bank_event_is_case(event->type);
	values[5] = bank_numeric_datum(event->balance, event->currency);
	values[6] = Int64GetDatum(event->version);
	values[7] = Int64GetDatum(event->position);
	values[8] = TimestampTzGetDatum(event->recorded_at);
	values[9] = BoolGetDatum(outcome->replayed);
	return bank_call_row(fcinfo, values, nulls, 10);
}
