/*
 * transfers.c
 *		The SQL functions of transfers to and from other ledgers.
 *
 * Transactions, locks: as in commands.c. Memory: results are palloc'd in the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/call.h"
#include "adapters/sql/errors.h"
#include "application/transfers.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bank_sql_send);
PG_FUNCTION_INFO_V1(bank_sql_cancel_transfer);
PG_FUNCTION_INFO_V1(bank_sql_resolve_transfer);
PG_FUNCTION_INFO_V1(bank_sql_receive);
PG_FUNCTION_INFO_V1(bank_sql_cancel_received);
PG_FUNCTION_INFO_V1(bank_sql_answer_receive);
PG_FUNCTION_INFO_V1(bank_sql_answer_cancel);

/*
 * End a command about the transfer that is argument 0: its result is the transfer's row, as it is
 * now; of one that does not exist before it is approved, nothing but the identifier.
 */
static Datum
bank_call_transfer(BankCall *call, FunctionCallInfo fcinfo, bool accepted)
{
	static BankPlan plan = {
		.text = "SELECT t.* FROM bank.transfer_list AS t "
		"WHERE t.transfer_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {accepted ? bank_uuid_datum(bank_arg_uuid(fcinfo, 0)) : (Datum) 0};
	HeapTuple	row = NULL;
	TupleDesc	desc;
	int			natts;

	if (!accepted)
		bank_ereport(&call->error);
	bank_plan_execute(&plan, values, NULL, false);
	natts = SPI_tuptable->tupdesc->natts;
	if (SPI_processed == 1)
		row = SPI_copytuple(SPI_tuptable->vals[0]);
	else if (call->outcome.event.type != BANK_EVENT_APPROVAL_REQUESTED)
		elog(ERROR, "the row of a transfer is missing");
	bank_session_close(&call->session);
	bank_call_note_request(&call->outcome);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != natts)
		elog(ERROR, "return type must have the columns of bank.transfer_list");
	if (row == NULL)
	{
		Datum	   *columns = palloc0(natts * sizeof(Datum));
		bool	   *nulls = palloc(natts * sizeof(bool));

		memset(nulls, true, natts * sizeof(bool));
		nulls[0] = false;
		columns[0] = bank_uuid_datum(bank_arg_uuid(fcinfo, 0));
		row = heap_form_tuple(desc, columns, nulls);
	}
	return heap_copy_tuple_as_datum(row, BlessTupleDesc(desc));
}

/* bank_send(from_account, amount, participant, destination, options, deadline_in) */
Datum
bank_sql_send(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankNewTransfer arguments;
	BankUuid   *transfer_id = palloc(sizeof(BankUuid));
	int64_t		duration;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_send()", 4);
	arguments.from_account = bank_arg_uuid(fcinfo, 0);
	arguments.amount = bank_arg_money(fcinfo, 1);
	arguments.participant = bank_arg_text(fcinfo, 2);
	arguments.destination = bank_arg_text(fcinfo, 3);
	arguments.deadline_in = NULL;
	if (!PG_ARGISNULL(8))
	{
		const Interval *interval = PG_GETARG_INTERVAL_P(8);

		duration = bank_interval_microseconds(interval->time, interval->day, interval->month);
		arguments.deadline_in = &duration;
	}
	accepted = bank_transfers_send(&arguments, &call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	*transfer_id = call.outcome.event.aggregate_id;
	return bank_uuid_datum(transfer_id);
}

/* bank_cancel_transfer(transfer_id, options) */
Datum
bank_sql_cancel_transfer(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_cancel_transfer()", 1);
	accepted = bank_transfers_cancel(bank_arg_uuid(fcinfo, 0), &call.options, &call.outcome,
									 &call.error);
	return bank_call_transfer(&call, fcinfo, accepted);
}

/* bank_resolve_transfer(transfer_id, state, options, reason) */
Datum
bank_sql_resolve_transfer(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_resolve_transfer()", 2);
	accepted = bank_transfers_resolve(bank_arg_uuid(fcinfo, 0), bank_arg_text(fcinfo, 1),
									  bank_arg_text(fcinfo, 6), &call.options, &call.outcome,
									  &call.error);
	return bank_call_transfer(&call, fcinfo, accepted);
}

/* bank_receive(transfer_id, to_account, amount, options, participant, house_account) */
Datum
bank_sql_receive(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankIncoming arguments;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_receive()", 3);
	arguments.transfer_id = bank_arg_uuid(fcinfo, 0);
	arguments.to_account = bank_arg_uuid(fcinfo, 1);
	arguments.amount = bank_arg_money(fcinfo, 2);
	arguments.participant = bank_arg_text(fcinfo, 7);
	arguments.house_account = bank_arg_text(fcinfo, 8);
	arguments.refusal = NULL;
	accepted = bank_transfers_receive(&arguments, &call.options, &call.outcome, &call.error);
	return bank_call_transfer(&call, fcinfo, accepted);
}

/* bank_cancel_received(transfer_id, options, participant) */
Datum
bank_sql_cancel_received(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_cancel_received()", 1);
	accepted = bank_transfers_cancel_received(bank_arg_uuid(fcinfo, 0), bank_arg_text(fcinfo, 5),
											  false, &call.options, &call.outcome, &call.error);
	return bank_call_transfer(&call, fcinfo, accepted);
}

/* Begin a step that a participant has asked for, without options. */
static void
bank_answer_begin(BankCall *call, const char *name)
{
	bank_call_check_writable(name);
	memset(&call->options, 0, sizeof(call->options));
	memset(&call->error, 0, sizeof(call->error));
	call->options.needs_no_approval = true;
	bank_outcome_begin(&call->outcome);
	bank_session_open(&call->session);
	bank_session_lock_tables();
}

/*
 * The answer to a participant, type bank.transfer_answer. It is told which rule it was, and
 * not the detail, which may be the balance of somebody else's customer.
 */
static Datum
bank_answer_end(BankCall *call, FunctionCallInfo fcinfo, bool accepted)
{
	const BankEvent *event = &call->outcome.event;
	const char *status = event->type == BANK_EVENT_TRANSFER_REFUSED ? "refused" :
		event->type == BANK_EVENT_TRANSFER_CANCELLED ? "cancelled" : "received";
	BankErrorCode why = BANK_OK;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (!accepted)
		bank_ereport(&call->error);
	if (event->terms != NULL)
		why = bank_error_find(event->terms->code, NULL);
	bank_session_close(&call->session);
	values[0] = CStringGetTextDatum(status);
	nulls[1] = nulls[2] = why == BANK_OK;
	values[1] = CStringGetTextDatum(bank_error_sqlstate(why));
	values[2] = CStringGetTextDatum(why == BANK_OK ? "" : bank_error_message(why));
	return bank_call_row(fcinfo, values, nulls, 3);
}

/*
 * bank.receive(transfer_id, to_account, amount, participant, house_account, refusal_code,
 * refusal_detail)
 */
Datum
bank_sql_answer_receive(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankIncoming arguments;
	BankError	refusal;
	bool		accepted;

	arguments.transfer_id = bank_arg_uuid(fcinfo, 0);
	arguments.to_account = bank_arg_uuid(fcinfo, 1);
	arguments.amount = bank_arg_money(fcinfo, 2);
	arguments.participant = bank_arg_text(fcinfo, 3);
	arguments.house_account = bank_arg_text(fcinfo, 4);
	arguments.refusal = NULL;
	if (!PG_ARGISNULL(5))
	{
		BankErrorCode code = bank_error_find(bank_arg_text(fcinfo, 5), NULL);

		bank_error_set(&refusal, code == BANK_OK ? BANK_INVALID_AMOUNT : code, "%s",
					   PG_ARGISNULL(6) ? "" : bank_arg_text(fcinfo, 6));
		arguments.refusal = &refusal;
	}
	bank_answer_begin(&call, "bank.receive()");
	accepted = bank_transfers_receive(&arguments, &call.options, &call.outcome, &call.error);
	return bank_answer_end(&call, fcinfo, accepted);
}

/* bank.cancel_received(transfer_id, participant) */
Datum
bank_sql_answer_cancel(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_answer_begin(&call, "bank.cancel_received()");
	accepted = bank_transfers_cancel_received(bank_arg_uuid(fcinfo, 0), bank_arg_text(fcinfo, 1),
											  true, &call.options, &call.outcome, &call.error);
	return bank_answer_end(&call, fcinfo, accepted);
}
