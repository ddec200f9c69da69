/*
 * account_number.c
 *		SQL function bank_account_number_valid.
 *
 * No state, no locks.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "domain/account_number.h"

#include "fmgr.h"

PG_FUNCTION_INFO_V1(bank_sql_account_number_valid);

/* bank_account_number_valid(account_number) */
Datum
bank_sql_account_number_valid(PG_FUNCTION_ARGS)
{
	text	   *number = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(bank_account_number_check(VARDATA_ANY(number), VARSIZE_ANY_EXHDR(number)));
}
