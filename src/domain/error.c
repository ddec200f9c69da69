/*
 * error.c
 *		SQLSTATE and wording of the ledger's refusals.
 *
 * Pure C, no allocation, no locks.
 */
#include "domain/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct
{
	const char *sqlstate;
	const char *message;
}			bank_error_table[] = {
	{"00000", "Success"},
#define X(symbol, sqlstate, message) {sqlstate, message},
	BANK_ERRORS(X)
#undef X
};

/* The five-character SQLSTATE of a code; "00000" for BANK_OK. */
const char *
bank_error_sqlstate(BankErrorCode code)
{
	return bank_error_table[code].sqlstate;
}

/* The primary message of a code, fixed wording. */
const char *
bank_error_message(BankErrorCode code)
{
	return bank_error_table[code].message;
}

/* The code with this SQLSTATE and message (NULL: any); BANK_OK when there is none. */
BankErrorCode
bank_error_find(const char *sqlstate, const char *message)
{
	size_t		i;

	for (i = 1; i < sizeof(bank_error_table) / sizeof(bank_error_table[0]); i++)
	{
		if (strcmp(bank_error_table[i].sqlstate, sqlstate) == 0 &&
			(message == NULL || strcmp(bank_error_table[i].message, message) == 0))
			return (BankErrorCode) i;
	}
	return BANK_OK;
}

/*
 * Record a refusal with its detail (printf style; cut at the array's size) and
 * no hint. Always returns false, so that a rule can write
 * "return bank_error_set(...)".
 */
bool
bank_error_set(BankError *error, BankErrorCode code, const char *detail, ...)
{
	va_list		args;

	error->code = code;
	error->hint[0] = '\0';
	error->hidden = BANK_OK;
	error->hidden_detail[0] = '\0';
	va_start(args, detail);
	(void) vsnprintf(error->detail, sizeof(error->detail), detail, args);
	va_end(args);
	return false;
}

/*
 * Tell the caller this instead of the refusal recorded just before, which is kept for the log;
 * always returns false.
 */
bool
bank_error_hide(BankError *error, BankErrorCode code, const char *detail, ...)
{
	va_list		args;

	error->hidden = error->code;
	memcpy(error->hidden_detail, error->detail, sizeof(error->hidden_detail));
	error->code = code;
	error->hint[0] = '\0';
	va_start(args, detail);
	(void) vsnprintf(error->detail, sizeof(error->detail), detail, args);
	va_end(args);
	return false;
}

/* Add a hint to the refusal recorded just before; always returns false. */
bool
bank_error_hint(BankError *error, const char *hint, ...)
{
	va_list		args;

	va_start(args, hint);
	(void) vsnprintf(error->hint, sizeof(error->hint), hint, args);
	va_end(args);
	return false;
}
