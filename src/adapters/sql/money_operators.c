/*
 * money_operators.c
 *		Operators of bank_money, the support functions of its operator classes and
 *		the transition functions of its aggregates.
 *
 * Two families of comparisons. "< <= > >=" compare amounts and raise BK003 for
 * two currencies; they belong to no operator class, so no index and no sort can
 * turn that error into an answer. "*< *<= *>= *>" are the total order by currency
 * and amount that sorting needs and never raise; "=" and "<>" agree with it.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/sql/money_datum.h"
#include "common/hashfn.h"
#include "utils/sortsupport.h"

PG_FUNCTION_INFO_V1(bank_sql_money_add);
PG_FUNCTION_INFO_V1(bank_sql_money_subtract);
PG_FUNCTION_INFO_V1(bank_sql_money_multiply);
PG_FUNCTION_INFO_V1(bank_sql_multiply_money);
PG_FUNCTION_INFO_V1(bank_sql_money_smaller);
PG_FUNCTION_INFO_V1(bank_sql_money_larger);
PG_FUNCTION_INFO_V1(bank_sql_money_order);
PG_FUNCTION_INFO_V1(bank_sql_money_sortsupport);
PG_FUNCTION_INFO_V1(bank_sql_money_hash);
PG_FUNCTION_INFO_V1(bank_sql_money_hash_extended);

/* A domain operation on two amounts. */
typedef bool (*BankOperation) (const BankMoney *a, const BankMoney *b, BankMoney *result,
							   BankError *error);

/* Apply an operation to both arguments; raises its refusal. */
static Datum
bank_money_operate(FunctionCallInfo fcinfo, BankOperation operation)
{
	BankMoney  *result = palloc(sizeof(BankMoney));
	BankError	error;

	if (!operation(PG_GETARG_BANK_MONEY(0), PG_GETARG_BANK_MONEY(1), result, &error))
		bank_ereport(&error);
	PG_RETURN_BANK_MONEY(result);
}

/*
 * bank_money + bank_money; also the transition and combine function of sum().
 * BK003, BK008.
 */
Datum
bank_sql_money_add(PG_FUNCTION_ARGS)
{
	return bank_money_operate(fcinfo, bank_money_add);
}

/*
 * bank_money - bank_money; also the inverse transition function of sum() over a
 * moving window. BK003, BK008 below zero.
 */
Datum
bank_sql_money_subtract(PG_FUNCTION_ARGS)
{
	return bank_money_operate(fcinfo, bank_money_subtract);
}

/* The product of an amount and an integer; BK008 below zero or too great. */
static Datum
bank_money_times(const BankMoney *money, int64 factor)
{
	BankMoney  *product = palloc(sizeof(BankMoney));
	BankError	error;

	if (!bank_money_multiply(money, factor, product, &error))
		bank_ereport(&error);
	PG_RETURN_BANK_MONEY(product);
}

/* bank_money * bigint. */
Datum
bank_sql_money_multiply(PG_FUNCTION_ARGS)
{
	return bank_money_times(PG_GETARG_BANK_MONEY(0), PG_GETARG_INT64(1));
}

/* bigint * bank_money. */
Datum
bank_sql_multiply_money(PG_FUNCTION_ARGS)
{
	return bank_money_times(PG_GETARG_BANK_MONEY(1), PG_GETARG_INT64(0));
}

/* Order of the arguments' amounts; raises BK003 when they are of two currencies. */
static int
bank_money_compare(FunctionCallInfo fcinfo)
{
	const BankMoney *a = PG_GETARG_BANK_MONEY(0);
	const BankMoney *b = PG_GETARG_BANK_MONEY(1);
	BankError	error;

	if (!bank_money_same_currency(a, b, &error))
		bank_ereport(&error);
	return bank_money_order(a, b);
}

/* Place of the arguments in the total order; never raises. */
static int
bank_money_place(FunctionCallInfo fcinfo)
{
	return bank_money_order(PG_GETARG_BANK_MONEY(0), PG_GETARG_BANK_MONEY(1));
}

/* A boolean operator: does the outcome of "compare" stand in this relation to zero? */
#define BANK_COMPARISON(name, compare, relation) \
	PG_FUNCTION_INFO_V1(bank_sql_money_##name); \
	Datum \
	bank_sql_money_##name(PG_FUNCTION_ARGS) \
	{ \
		PG_RETURN_BOOL(compare(fcinfo) relation 0); \
	} \
	extern Datum bank_sql_money_##name(PG_FUNCTION_ARGS)

BANK_COMPARISON(eq, bank_money_place, ==);
BANK_COMPARISON(ne, bank_money_place, !=);

BANK_COMPARISON(lt, bank_money_compare, <);
BANK_COMPARISON(le, bank_money_compare, <=);
BANK_COMPARISON(gt, bank_money_compare, >);
BANK_COMPARISON(ge, bank_money_compare, >=);

BANK_COMPARISON(order_lt, bank_money_place, <);
BANK_COMPARISON(order_le, bank_money_place, <=);
BANK_COMPARISON(order_gt, bank_money_place, >);
BANK_COMPARISON(order_ge, bank_money_place, >=);

/* Transition and combine function of min(). BK003. */
Datum
bank_sql_money_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(bank_money_compare(fcinfo) <= 0 ? PG_GETARG_DATUM(0) : PG_GETARG_DATUM(1));
}

/* Transition and combine function of max(). BK003. */
Datum
bank_sql_money_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(bank_money_compare(fcinfo) >= 0 ? PG_GETARG_DATUM(0) : PG_GETARG_DATUM(1));
}

/* Support function 1 of the btree class. */
Datum
bank_sql_money_order(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bank_money_place(fcinfo));
}

/* The comparison of a sort, without the cost of a function call through fmgr. */
static int
bank_money_sort_compare(Datum a, Datum b, SortSupport ssup)
{
	(void) ssup;
	return bank_money_order(DatumGetBankMoney(a), DatumGetBankMoney(b));
}

/* Support function 2 of the btree class. */
Datum
bank_sql_money_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

	ssup->comparator = bank_money_sort_compare;
	PG_RETURN_VOID();
}

/* Support function 1 of the hash class: equal values are equal byte for byte. */
Datum
bank_sql_money_hash(PG_FUNCTION_ARGS)
{
	PG_RETURN_UINT32(hash_bytes((const unsigned char *) PG_GETARG_BANK_MONEY(0),
								sizeof(BankMoney)));
}

/* Support function 2 of the hash class, with a seed. */
Datum
bank_sql_money_hash_extended(PG_FUNCTION_ARGS)
{
	PG_RETURN_UINT64(hash_bytes_extended((const unsigned char *) PG_GETARG_BANK_MONEY(0),
										 sizeof(BankMoney), (uint64) PG_GETARG_INT64(1)));
}
