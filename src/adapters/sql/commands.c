/*
 * commands.c
 *		The SQL functions of the commands: decode arguments, run the use case, encode
 *		the result. No rule lives here.
 *
 * Transactions: the caller's; a refusal is raised and leaves nothing behind.
 * Locks: those of the use cases. Memory: results are palloc'd in the caller's
 * context.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/sql/call.h"
#include "application/accounts.h"
#include "application/batch.h"
#include "application/holds.h"
#include "application/movements.h"
#include "domain/currency.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bank_sql_create_account);
PG_FUNCTION_INFO_V1(bank_sql_create_house_account);
PG_FUNCTION_INFO_V1(bank_sql_deposit);
PG_FUNCTION_INFO_V1(bank_sql_withdraw);
PG_FUNCTION_INFO_V1(bank_sql_transfer);
PG_FUNCTION_INFO_V1(bank_sql_transfer_to_number);
PG_FUNCTION_INFO_V1(bank_sql_freeze);
PG_FUNCTION_INFO_V1(bank_sql_unfreeze);
PG_FUNCTION_INFO_V1(bank_sql_close);
PG_FUNCTION_INFO_V1(bank_sql_set_limits);
PG_FUNCTION_INFO_V1(bank_sql_hold);
PG_FUNCTION_INFO_V1(bank_sql_capture);
PG_FUNCTION_INFO_V1(bank_sql_release);
PG_FUNCTION_INFO_V1(bank_sql_expire_holds);

/* The result of creating an account: its row of view bank_accounts, as first created. */
static Datum
bank_call_account(FunctionCallInfo fcinfo, const BankOutcome *outcome)
{
	const BankOpening *opening = &outcome->event.opening;
	bool		house = opening->type == BANK_TYPE_HOUSE;
	BankAccount account;
	Datum		values[14];
	bool		nulls[14] = {false};

	bank_account_apply(&account, &outcome->event, false);
	values[0] = bank_uuid_datum(house ? &opening->house_account_id : &account.id);
	nulls[1] = opening->number[0] == '\0';
	values[1] = CStringGetTextDatum(opening->number);
	nulls[2] = !opening->has_owner;
	values[2] = bank_uuid_datum(&opening->owner_id);
	values[3] = CStringGetTextDatum(bank_account_type_name(opening->type));
	values[4] = PointerGetDatum(cstring_to_text_with_len(account.currency, 3));
	values[5] = CStringGetTextDatum(bank_account_status_name(account.status));
	values[6] = bank_numeric_datum(bank_account_balance(&account), account.currency);
	values[7] = bank_numeric_datum(account.held, account.currency);
	nulls[8] = house;
	values[8] = bank_numeric_datum(bank_account_available(&account), account.currency);
	values[9] = Int64GetDatum(account.version);
	values[10] = TimestampTzGetDatum(account.created_at);
	nulls[11] = house;
	values[11] = bank_numeric_datum(account.limits.overdraft, account.currency);
	nulls[12] = account.limits.balance == BANK_NO_LIMIT;
	values[12] = bank_numeric_datum(account.limits.balance, account.currency);
	nulls[13] = !house;
	values[13] = CStringGetTextDatum(opening->house_code);
	return bank_call_row(fcinfo, values, nulls, 14);
}

/*
 * bank_create_account(owner_id, account_type, currency, options, account_id,
 * overdraft_limit, balance_limit)
 */
Datum
bank_sql_create_account(PG_FUNCTION_ARGS)
{
	BankCall	call;
	BankNewAccount arguments;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_create_account()", 3);
	arguments.owner_id = bank_arg_uuid(fcinfo, 0);
	arguments.account_type = bank_arg_text(fcinfo, 1);
	arguments.currency = bank_arg_text(fcinfo, 2);
	arguments.account_id = bank_arg_uuid(fcinfo, 7);
	arguments.overdraft_limit = bank_arg_money(fcinfo, 8);
	arguments.balance_limit = bank_arg_money(fcinfo, 9);
	accepted = bank_accounts_create(&arguments, &call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_account(fcinfo, &call.outcome);
}

/* bank_create_house_account(code, currency, options) */
Datum
bank_sql_create_house_account(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_create_house_account()", 2);
	accepted = bank_accounts_create_house(bank_arg_text(fcinfo, 0), bank_arg_text(fcinfo, 1),
										  &call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_account(fcinfo, &call.outcome);
}

/* bank_deposit(account_id, amount, options, house_account) */
Datum
bank_sql_deposit(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_deposit()", 2);
	accepted = bank_movements_deposit(bank_arg_uuid(fcinfo, 0), bank_arg_money(fcinfo, 1),
									  bank_arg_text(fcinfo, 6), &call.options, &call.outcome,
									  &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_withdraw(account_id, amount, options, house_account) */
Datum
bank_sql_withdraw(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_withdraw()", 2);
	accepted = bank_movements_withdraw(bank_arg_uuid(fcinfo, 0), bank_arg_money(fcinfo, 1),
									   bank_arg_text(fcinfo, 6), &call.options, &call.outcome,
									   &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_transfer(from_account, to_account, amount, options) */
Datum
bank_sql_transfer(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_transfer()", 3);
	accepted = bank_movements_transfer(bank_arg_uuid(fcinfo, 0), bank_arg_uuid(fcinfo, 1), NULL,
									   bank_arg_money(fcinfo, 2), &call.options, &call.outcome,
									   &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_transfer_to_number(from_account, to_account_number, amount, options) */
Datum
bank_sql_transfer_to_number(PG_FUNCTION_ARGS)
{
	BankCall	call;
	const char *number = bank_arg_text(fcinfo, 1);
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_transfer_to_number()", 3);
	accepted = number == NULL ? bank_command_missing("to_account_number", &call.error) :
		bank_movements_transfer(bank_arg_uuid(fcinfo, 0), NULL, number, bank_arg_money(fcinfo, 2),
								&call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* A use case about one account without further arguments. */
typedef bool (*BankAccountUseCase) (const BankUuid *account_id, const BankOptions *options,
									BankOutcome *outcome, BankError *error);

/* The common body of bank_freeze, bank_unfreeze, bank_close (account_id, options). */
static Datum
bank_call_account_use_case(FunctionCallInfo fcinfo, const char *name, BankAccountUseCase use_case)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, name, 1);
	accepted = use_case(bank_arg_uuid(fcinfo, 0), &call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_freeze(account_id, options) */
Datum
bank_sql_freeze(PG_FUNCTION_ARGS)
{
	return bank_call_account_use_case(fcinfo, "bank_freeze()", bank_accounts_freeze);
}

/* bank_unfreeze(account_id, options) */
Datum
bank_sql_unfreeze(PG_FUNCTION_ARGS)
{
	return bank_call_account_use_case(fcinfo, "bank_unfreeze()", bank_accounts_unfreeze);
}

/* bank_close(account_id, options) */
Datum
bank_sql_close(PG_FUNCTION_ARGS)
{
	return bank_call_account_use_case(fcinfo, "bank_close()", bank_accounts_close);
}

/* bank_set_limits(account_id, options, overdraft_limit, balance_limit, remove_balance_limit) */
Datum
bank_sql_set_limits(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_set_limits()", 1);
	accepted = bank_accounts_set_limits(bank_arg_uuid(fcinfo, 0), bank_arg_money(fcinfo, 5),
										bank_arg_money(fcinfo, 6),
										!PG_ARGISNULL(7) && PG_GETARG_BOOL(7), &call.options,
										&call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_hold(account_id, amount, options, expires_in) */
Datum
bank_sql_hold(PG_FUNCTION_ARGS)
{
	BankCall	call;
	int64_t		duration = 0;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_hold()", 2);
	if (!PG_ARGISNULL(6))
	{
		const Interval *interval = PG_GETARG_INTERVAL_P(6);

		duration = bank_interval_microseconds(interval->time, interval->day, interval->month);
	}
	accepted = bank_holds_create(bank_arg_uuid(fcinfo, 0), bank_arg_money(fcinfo, 1),
								 PG_ARGISNULL(6) ? NULL : &duration, &call.options,
								 &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, bank_arg_uuid(fcinfo, 0));
}

/* bank_capture(hold_id, options, amount, to_account, house_account) */
Datum
bank_sql_capture(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_capture()", 1);
	accepted = bank_holds_capture(bank_arg_uuid(fcinfo, 0), bank_arg_money(fcinfo, 5),
								  bank_arg_uuid(fcinfo, 6), bank_arg_text(fcinfo, 7),
								  &call.options, &call.outcome, &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, &call.account_id);
}

/* bank_release(hold_id, options) */
Datum
bank_sql_release(PG_FUNCTION_ARGS)
{
	BankCall	call;
	bool		accepted;

	bank_call_begin(&call, fcinfo, "bank_release()", 1);
	accepted = bank_holds_release(bank_arg_uuid(fcinfo, 0), &call.options, &call.outcome,
								  &call.error);
	bank_call_end(&call, accepted);
	return bank_call_receipt(fcinfo, &call.outcome, &call.account_id);
}

/* bank_expire_holds(max_holds) */
Datum
bank_sql_expire_holds(PG_FUNCTION_ARGS)
{
	int32		max = PG_GETARG_INT32(0);
	BankSession session;
	int64		expired;

	bank_call_check_writable("bank_expire_holds()");
	if (max < 1 || max > BANK_BATCH_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_holds must be between 1 and %d", BANK_BATCH_MAX)));
	bank_session_open(&session);
	bank_session_lock_tables();
	expired = bank_holds_expire(max);
	bank_session_close(&session);
	PG_RETURN_INT64(expired);
}
