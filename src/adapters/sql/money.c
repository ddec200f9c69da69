/*
 * money.c
 *		The type bank_money: text and binary form, construction, accessors and
 *		allocation.
 *
 * Nothing here decides anything: amounts are checked by src/domain/money.c, whose
 * refusals are raised as they are (BK...). Results are palloc'd in the caller's
 * context.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/sql/errors.h"
#include "adapters/sql/money_datum.h"
#include "catalog/pg_type.h"
#include "domain/currency.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(bank_sql_money_in);
PG_FUNCTION_INFO_V1(bank_sql_money_out);
PG_FUNCTION_INFO_V1(bank_sql_money_recv);
PG_FUNCTION_INFO_V1(bank_sql_money_send);
PG_FUNCTION_INFO_V1(bank_sql_money_make);
PG_FUNCTION_INFO_V1(bank_sql_money_amount);
PG_FUNCTION_INFO_V1(bank_sql_money_currency);
PG_FUNCTION_INFO_V1(bank_sql_money_allocate);
PG_FUNCTION_INFO_V1(bank_sql_minor_to_numeric);
PG_FUNCTION_INFO_V1(bank_sql_minor_to_text);

/*
 * bank.money_in(cstring): "1000.00 HTG" or "HTG 1000". 22P02 for text that is
 * not money, BK008 and BK014 for money that is refused; all of them soft where
 * the server knows soft errors.
 */
Datum
bank_sql_money_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	BankMoney  *money = palloc(sizeof(BankMoney));
	BankError	error;

	switch (bank_money_parse(text, strlen(text), money, &error))
	{
		case BANK_PARSE_OK:
			break;
		case BANK_PARSE_REFUSED:
			bank_errsave(fcinfo->context, &error);
			PG_RETURN_NULL();
		case BANK_PARSE_SYNTAX:
			ereturn(fcinfo->context, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s: \"%s\"", "bank_money", text),
					 errhint("Write an amount and a currency, for example \"1000.00 HTG\".")));
	}
	PG_RETURN_BANK_MONEY(money);
}

/* bank.money_out(bank_money): "1000.00 HTG", with all the currency's decimals. */
Datum
bank_sql_money_out(PG_FUNCTION_ARGS)
{
	char	   *text = palloc(BANK_MONEY_TEXT);

	(void) bank_money_format(PG_GETARG_BANK_MONEY(0), text);
	PG_RETURN_CSTRING(text);
}

/*
 * bank.money_recv(internal): minor units (int64, network order), the three
 * letters of the currency, its exponent (one byte). Refuses what bank.money_in
 * refuses: BK008, BK014.
 */
Datum
bank_sql_money_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	BankMoney  *money = palloc0(sizeof(BankMoney));
	BankError	error;

	money->minor = pq_getmsgint64(buffer);
	pq_copymsgbytes(buffer, money->currency, sizeof(money->currency));
	money->exponent = (uint8) pq_getmsgbyte(buffer);
	if (!bank_money_check(money, &error))
		bank_ereport(&error);
	PG_RETURN_BANK_MONEY(money);
}

/* bank.money_send(bank_money): the 12 bytes that bank.money_recv reads. */
Datum
bank_sql_money_send(PG_FUNCTION_ARGS)
{
	const BankMoney *money = PG_GETARG_BANK_MONEY(0);
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendint64(&buffer, (uint64) money->minor);
	pq_sendbytes(&buffer, money->currency, sizeof(money->currency));
	pq_sendint8(&buffer, money->exponent);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* The exponent of a currency given as text; raises BK014. */
static int
bank_text_exponent(const text *currency)
{
	int			exponent;
	BankError	error;

	if (!bank_currency_find(VARDATA_ANY(currency), VARSIZE_ANY_EXHDR(currency), &exponent,
							&error))
		bank_ereport(&error);
	return exponent;
}

/*
 * Digits of a numeric, exact, without the zeros at the end of its decimals: a
 * numeric equal to a valid amount is one, however many zeros its scale shows.
 */
static char *
bank_numeric_digits(Numeric value)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out,
															 NumericGetDatum(value)));

	if (strchr(digits, '.') != NULL)
	{
		char	   *end = digits + strlen(digits);

		while (end[-1] == '0')
			end--;
		if (end[-1] == '.')
			end--;
		*end = '\0';
	}
	return digits;
}

/*
 * bank_money(numeric, text): exactly this amount of this currency. BK014 for the
 * currency; BK008 for an amount that is negative, not finite, too great, or not a
 * whole number of minor units.
 */
Datum
bank_sql_money_make(PG_FUNCTION_ARGS)
{
	text	   *currency = PG_GETARG_TEXT_PP(1);
	BankMoney  *money = palloc(sizeof(BankMoney));
	BankError	error;
	char	   *text;

	(void) bank_text_exponent(currency);
	text = psprintf("%s %.3s", bank_numeric_digits(PG_GETARG_NUMERIC(0)), VARDATA_ANY(currency));
	switch (bank_money_parse(text, strlen(text), money, &error))
	{
		case BANK_PARSE_OK:
			break;
		case BANK_PARSE_REFUSED:
			bank_ereport(&error);
		case BANK_PARSE_SYNTAX:
			elog(ERROR, "numeric text \"%s\" is not an amount", text);
	}
	PG_RETURN_BANK_MONEY(money);
}

/* bank_amount(bank_money), and the cast to numeric: exact, its scale the currency's decimals. */
Datum
bank_sql_money_amount(PG_FUNCTION_ARGS)
{
	const BankMoney *money = PG_GETARG_BANK_MONEY(0);

	PG_RETURN_NUMERIC(int64_div_fast_to_numeric(money->minor, money->exponent));
}

/* bank_currency(bank_money): the three letters. */
Datum
bank_sql_money_currency(PG_FUNCTION_ARGS)
{
	const BankMoney *money = PG_GETARG_BANK_MONEY(0);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(money->currency, sizeof(money->currency)));
}

/*
 * The weights of an allocation as a C array of *n elements. BK022 for a null, or
 * for an array of several dimensions, whose order would be a guess.
 */
static int64_t *
bank_weights(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	int64_t    *weights;
	BankError	error;
	int			i;

	if (ARR_NDIM(array) > 1)
	{
		bank_error_set(&error, BANK_INVALID_WEIGHTS, "The weights have %d dimensions.",
					   ARR_NDIM(array));
		bank_ereport(&error);
	}
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, n);
	weights = palloc((size_t) *n * sizeof(int64_t));
	for (i = 0; i < *n; i++)
	{
		if (nulls[i])
		{
			bank_error_set(&error, BANK_INVALID_WEIGHTS, "Weight %d is null.", i + 1);
			bank_ereport(&error);
		}
		weights[i] = DatumGetInt64(elements[i]);
	}
	return weights;
}

/*
 * bank_money_allocate(bank_money, bigint[]): the parts, in the order of the
 * weights; see the domain function for the contract. BK022.
 */
Datum
bank_sql_money_allocate(PG_FUNCTION_ARGS)
{
	Oid			money_type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
	int			n;
	int64_t    *weights = bank_weights(PG_GETARG_ARRAYTYPE_P(1), &n);
	BankMoney  *parts = palloc((size_t) n * sizeof(BankMoney));
	BankShare  *shares = palloc((size_t) n * sizeof(BankShare));
	Datum	   *elements = palloc((size_t) n * sizeof(Datum));
	BankError	error;
	int			i;

	if (!bank_money_allocate(PG_GETARG_BANK_MONEY(0), weights, (size_t) n, parts, shares, &error))
		bank_ereport(&error);

	for (i = 0; i < n; i++)
		elements[i] = BankMoneyGetDatum(&parts[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, money_type, sizeof(BankMoney), false,
										  TYPALIGN_DOUBLE));
}

/*
 * bank.minor_to_numeric(bigint, text): a signed figure in minor units as
 * numeric, its scale the currency's decimals. BK014.
 */
Datum
bank_sql_minor_to_numeric(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(int64_div_fast_to_numeric(PG_GETARG_INT64(0),
												bank_text_exponent(PG_GETARG_TEXT_PP(1))));
}

/* bank.minor_to_text(bigint, text): the same as text, "-500.50". BK014. */
Datum
bank_sql_minor_to_text(PG_FUNCTION_ARGS)
{
	char		figure[BANK_MONEY_TEXT];
	int			len = bank_minor_format(PG_GETARG_INT64(0),
										bank_text_exponent(PG_GETARG_TEXT_PP(1)), figure);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(figure, len));
}
