/*
 * money_selectivity.c
 *		Selectivity of the comparisons that raise on two currencies.
 *
 * The planner's estimators call the operator itself on the values that ANALYZE
 * kept. For "<" and its kind that would raise BK003 while planning a query which,
 * executed, never compares two currencies: the rows of the other ones may be
 * filtered out before. So these estimators ask about the operator of the same
 * strategy in the default btree class (*< for <), which never raises and agrees
 * wherever there is one currency.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"

#include "access/stratnum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(bank_sql_money_ltsel);
PG_FUNCTION_INFO_V1(bank_sql_money_lesel);
PG_FUNCTION_INFO_V1(bank_sql_money_gtsel);
PG_FUNCTION_INFO_V1(bank_sql_money_gesel);

/* Call the server's estimator for the sorting operator of this strategy. */
static Datum
bank_money_selectivity(FunctionCallInfo fcinfo, PGFunction estimator, StrategyNumber strategy)
{
	Oid			operator = PG_GETARG_OID(1);
	Oid			left;
	Oid			right;
	TypeCacheEntry *type;
	Oid			sorting;

	op_input_types(operator, &left, &right);
	type = lookup_type_cache(left, TYPECACHE_BTREE_OPFAMILY);
	sorting = get_opfamily_member(type->btree_opf, left, right, strategy);
	if (!OidIsValid(sorting))
		elog(ERROR, "operator %u has no sorting counterpart", operator);

	return DirectFunctionCall4Coll(estimator, PG_GET_COLLATION(), PG_GETARG_DATUM(0),
								   ObjectIdGetDatum(sorting), PG_GETARG_DATUM(2),
								   PG_GETARG_DATUM(3));
}

/* RESTRICT of "<". */
Datum
bank_sql_money_ltsel(PG_FUNCTION_ARGS)
{
	return bank_money_selectivity(fcinfo, scalarltsel, BTLessStrategyNumber);
}

/* RESTRICT of "<=". */
Datum
bank_sql_money_lesel(PG_FUNCTION_ARGS)
{
	return bank_money_selectivity(fcinfo, scalarlesel, BTLessEqualStrategyNumber);
}

/* RESTRICT of ">". */
Datum
bank_sql_money_gtsel(PG_FUNCTION_ARGS)
{
	return bank_money_selectivity(fcinfo, scalargtsel, BTGreaterStrategyNumber);
}

/* RESTRICT of ">=". */
Datum
bank_sql_money_gesel(PG_FUNCTION_ARGS)
{
	return bank_money_selectivity(fcinfo, scalargesel, BTGreaterEqualStrategyNumber);
}
