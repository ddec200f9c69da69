/*
 * execute.c
 *		bank_execute(jsonb) and bank_execute_batch(jsonb[]): commands as JSON objects
 *		that answer with JSON instead of raising refusals.
 *
 * A refusal writes nothing; under an
 * idempotency key it is stored as the outcome and replayed.
 *
 * Transactions: the caller's; only faults of the server are raised. Locks: those
 * of the use cases; a batch first locks all transfers and then all customers' accounts it
 * names, in identifier order. Memory: the answers, in the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/call.h"
#include "adapters/sql/errors.h"
#include "adapters/sql/json_command.h"
#include "adapters/sql/refusal_log.h"
#include "adapters/store/store.h"
#include "application/accounts.h"
#include "application/authority.h"
#include "application/batch.h"
#include "application/transfers.h"
#include "domain/currency.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <inttypes.h>

PG_FUNCTION_INFO_V1(bank_sql_execute);
PG_FUNCTION_INFO_V1(bank_sql_execute_batch);

/* Append "name":"text" with the text escaped. */
static void
bank_answer_text(StringInfo answer, const char *name, const char *text)
{
	appendStringInfo(answer, ",\"%s\":", name);
	escape_json(answer, text);
}

/* Append an identifier. */
static void
bank_answer_uuid(StringInfo answer, const char *name, const BankUuid *uuid)
{
	char		text[BANK_UUID_TEXT];

	bank_uuid_format(uuid, text);
	bank_answer_text(answer, name, text);
}

/* Append a figure as a string. */
static void
bank_answer_minor(StringInfo answer, const char *name, int64 minor, const char *currency)
{
	char		text[BANK_MONEY_TEXT];

	bank_minor_format(minor, bank_currency_exponent(currency), text);
	bank_answer_text(answer, name, text);
}

/* The answer to a refused command. */
static Jsonb *
bank_answer_refusal(const BankError *error, const char *path, bool replayed)
{
	StringInfoData answer;

	initStringInfo(&answer);
	appendStringInfoString(&answer, "{\"ok\":false");
	bank_answer_text(&answer, "code", bank_error_sqlstate(error->code));
	bank_answer_text(&answer, "message", bank_error_message(error->code));
	if (error->detail[0] != '\0')
		bank_answer_text(&answer, "detail", bank_error_text(error->detail));
	if (error->hint[0] != '\0')
		bank_answer_text(&answer, "hint", bank_error_text(error->hint));
	if (path != NULL)
		bank_answer_text(&answer, "path", bank_error_text(path));
	appendStringInfo(&answer, ",\"replayed\":%s}", replayed ? "true" : "false");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer.data)));
}

/* The answer to an accepted command: the members of bank_receipt, and of a new account more. */
static Jsonb *
bank_answer_event(const BankJsonCommand *command, const BankOutcome *outcome)
{
	const BankEvent *event = &outcome->event;
	const BankOpening *opening = &event->opening;
	const BankUuid *account_id = ID(account_id);
	char		currency[4] = {event->currency[0], event->currency[1], event->currency[2], '\0'};
	StringInfoData answer;

	if (event->type == BANK_EVENT_CREATED)
		account_id = opening->type == BANK_TYPE_HOUSE ? &opening->house_account_id :
			&event->aggregate_id;
	else if (event->type == BANK_EVENT_TRANSFERRED)
		account_id = ID(from_account);
	else if (bank_event_is_hold(event->type) || bank_event_is_approval(event->type))
		account_id = bank_call_account_id(event);
	initStringInfo(&answer);
	appendStringInfoString(&answer, "{\"ok\":true");
	bank_answer_uuid(&answer, "event_id", &event->event_id);
	if (bank_event_is_approval(event->type))
		bank_answer_uuid(&answer, "request_id", &event->aggregate_id);
	if (bank_event_is_transfer(event->type))
		bank_answer_uuid(&answer, "transfer_id", &event->aggregate_id);
	else
		bank_answer_uuid(&answer, "account_id", account_id);
	bank_answer_text(&answer, "event_type", bank_event_type_name(event->type));
	if (bank_event_has_amount(event->type) ||
		(bank_event_is_case(event->type) && event->amount > 0))
		bank_answer_minor(&answer, "amount", event->amount, event->currency);
	if (!bank_event_is_transfer(event->type))
	{
		bank_answer_text(&answer, "currency", currency);
		if (!bank_event_is_approval(event->type))
			bank_answer_minor(&answer, "balance", event->balance, event->currency);
	}
	else
	{
		if (event->amount > 0)
			bank_answer_text(&answer, "currency", currency);
		if (event->terms->code[0] != '\0')
			bank_answer_text(&answer, "code", event->terms->code);
		if (event->terms->reason[0] != '\0')
			bank_answer_text(&answer, "reason", event->terms->reason);
	}
	if (event->type == BANK_EVENT_CREATED)
		bank_answer_text(&answer, "account_type", bank_account_type_name(opening->type));
	if (event->type == BANK_EVENT_CREATED && opening->number[0] != '\0')
		bank_answer_text(&answer, "account_number", opening->number);
	appendStringInfo(&answer, ",\"version\":%" PRId64 ",\"position\":%" PRId64, event->version,
					 event->position);
	bank_answer_text(&answer, "recorded_at",
					 JsonEncodeDateTime(NULL, TimestampTzGetDatum(event->recorded_at),
										TIMESTAMPTZOID, NULL));
	appendStringInfo(&answer, ",\"replayed\":%s}", outcome->replayed ? "true" : "false");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer.data)));
}

/* Run a command that was read, in a session of its own, and answer. lent: see BankOptions. */
static Jsonb *
bank_json_run(const BankJsonCommand *command, bool lent)
{
	BankSession session;
	BankOptions options;
	BankOutcome outcome;
	BankError	error;
	MemoryContext caller = CurrentMemoryContext;
	Jsonb	   *answer;
	bool		accepted;

	if (command->error.code != BANK_OK)
		return bank_answer_refusal(&command->error, command->path, false);
	bank_json_options(command, &options);
	options.lent = lent;
	bank_outcome_begin(&outcome);
	bank_session_open(&session);
	bank_session_lock_tables();
	accepted = command->run(command, &options, &outcome, &error);
	if (!accepted)
		accepted = bank_command_keep_refusal(&options, &outcome, &error);
	/* the event points to what the session frees */
	MemoryContextSwitchTo(caller);
	answer = accepted ? bank_answer_event(command, &outcome) :
		bank_answer_refusal(&error, NULL, outcome.replayed);
	bank_session_close(&session);
	if (!accepted)
		bank_log_refusal(&error);
	return answer;
}

/* bank_execute(command) */
Datum
bank_sql_execute(PG_FUNCTION_ARGS)
{
	BankJsonCommand command;

	bank_call_check_writable("bank_execute()");
	(void) bank_json_read(PG_GETARG_JSONB_P(0), &command);
	PG_RETURN_JSONB_P(bank_json_run(&command, !bank_call_has_own_right(fcinfo)));
}

/* Order of identifiers, for qsort. */
static int
bank_json_compare(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/* Lock the transfers that commands name, and add their accounts to the list; returns its length. */
static int
bank_json_lock_transfers(const BankJsonCommand *commands, int n, BankUuid *ids, int count)
{
	BankUuid   *transfers = MemoryContextAllocHuge(CurrentMemoryContext,
												   Max(n, 1) * sizeof(BankUuid));
	BankTransfer transfer;
	int			n_transfers = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (commands[i].error.code == BANK_OK && commands[i].values[MEMBER_transfer_id].given)
			transfers[n_transfers++] = commands[i].values[MEMBER_transfer_id].uuid;
	}
	qsort(transfers, n_transfers, sizeof(BankUuid), bank_json_compare);
	for (i = 0; i < n_transfers; i++)
	{
		if (i > 0 && bank_uuid_equal(&transfers[i], &transfers[i - 1]))
			continue;
		bank_transfer_lock_name(&transfers[i], false);
		if (bank_store_find_transfer(&transfers[i], &transfer) && transfer.has_account)
			ids[count++] = transfer.account_id;
	}
	pfree(transfers);
	return count;
}

/* Lock the transfers and customers' accounts that commands name, those of holds too. */
static void
bank_json_lock(const BankJsonCommand *commands, int n)
{
	static const BankMember members[] = {
		MEMBER_account_id, MEMBER_from_account, MEMBER_to_account
	};
	BankUuid   *ids = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) *
											  (lengthof(members) + 3) *
											  sizeof(BankUuid));
	int			count = 0;
	BankSession session;
	BankHold	hold;
	int			i;
	size_t		k;

	bank_session_open(&session);
	bank_session_lock_tables();
	for (i = 0; i < n; i++)
	{
		if (commands[i].error.code == BANK_OK && commands[i].values[MEMBER_hold_id].given &&
			bank_store_find_hold(&commands[i].values[MEMBER_hold_id].uuid, &hold))
			ids[count++] = hold.account_id;
		if (commands[i].error.code == BANK_OK &&
			commands[i].values[MEMBER_to_account_number].given &&
			bank_store_find_number(commands[i].values[MEMBER_to_account_number].text, &ids[count]))
			count++;
		for (k = 0; commands[i].error.code == BANK_OK && k < lengthof(members); k++)
		{
			if (commands[i].values[members[k]].given)
				ids[count++] = commands[i].values[members[k]].uuid;
		}
	}
	count = bank_json_lock_transfers(commands, n, ids, count);
	bank_accounts_lock_all(ids, count);
	bank_session_close(&session);
	pfree(ids);
}

/* Raise BK024 unless this is a list of commands of bearable length. */
static void
bank_json_check_batch(ArrayType *array)
{
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	BankError	error;

	if (ARR_NDIM(array) <= 1 && n <= BANK_BATCH_MAX)
		return;
	if (ARR_NDIM(array) > 1)
		bank_error_set(&error, BANK_INVALID_BATCH, "commands must have one dimension.");
	else
		bank_error_set(&error, BANK_INVALID_BATCH,
					   "At most %d commands are allowed in one call, not %d.", BANK_BATCH_MAX, n);
	bank_ereport(&error);
}

/* bank_execute_batch(commands) */
Datum
bank_sql_execute_batch(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	BankSession session;
	BankError	error;
	BankJsonCommand *commands;
	Datum	   *values;
	bool	   *nulls;
	bool		lent = !bank_call_has_own_right(fcinfo);
	int			n;
	int			i;

	bank_call_check_writable("bank_execute_batch()");
	bank_session_open(&session);
	if (!bank_authority_check_staff(&error))
		bank_ereport(&error);
	bank_session_close(&session);
	bank_json_check_batch(array);
	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	commands = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(BankJsonCommand));
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
		{
			memset(&commands[i], 0, sizeof(commands[i]));
			(void) bank_json_malformed(&commands[i], "", "A command is a JSON object.");
		}
		else
			(void) bank_json_read(DatumGetJsonbP(values[i]), &commands[i]);
	}
	bank_json_lock(commands, n);
	scratch = AllocSetContextCreate(caller, "banking command", ALLOCSET_DEFAULT_SIZES);
	for (i = 0; i < n; i++)
	{
		Jsonb	   *answer;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		answer = bank_json_run(&commands[i], lent);
		MemoryContextSwitchTo(caller);
		values[i] = datumCopy(JsonbPGetDatum(answer), false, -1);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, JSONBOID, -1, false, TYPALIGN_INT));
}
