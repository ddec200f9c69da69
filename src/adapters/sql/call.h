/*
 * call.h
 *		What the SQL functions of the commands share: arguments, options, sessions, results.
 */
#ifndef BANK_SQL_CALL_H
#define BANK_SQL_CALL_H

#include "adapters/store/store.h"
#include "application/command.h"

#include "fmgr.h"

/* One command on its way: what every function below needs. */
typedef struct BankCall
{
	BankSession session;
	BankOptions options;
	BankOutcome outcome;
	BankUuid	account_id;		/* of the event, when the session has ended */
	BankError	error;
} BankCall;

extern const BankUuid *bank_arg_uuid(FunctionCallInfo fcinfo, int n);
extern const BankMoney *bank_arg_money(FunctionCallInfo fcinfo, int n);
extern const char *bank_arg_text(FunctionCallInfo fcinfo, int n);
extern void bank_call_check_writable(const char *name);
extern bool bank_call_has_own_right(FunctionCallInfo fcinfo);
extern void bank_call_begin(BankCall *call, FunctionCallInfo fcinfo, const char *name, int n);
extern void bank_call_end(BankCall *call, bool accepted);
extern void bank_call_note_request(const BankOutcome *outcome);
extern Datum bank_numeric_datum(int64_t minor, const char *currency);
extern const BankUuid *bank_call_account_id(const BankEvent *event);
extern Datum bank_call_receipt(FunctionCallInfo fcinfo, const BankOutcome *outcome,
							   const BankUuid *account_id);
extern Datum bank_call_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls, int natts);

#endif							/* BANK_SQL_CALL_H */
