/*
 * batch.c
 *		SQL function bank_post_transfers: decode arrays, run the use case, encode rows.
 *
 * Transactions: the caller's. Memory: the arrays taken apart, and results, in the
 * call's context; see application/batch.c for the amounts.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/sql/money_datum.h"
#include "adapters/store/store.h"
#include "application/authority.h"
#include "application/batch.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(bank_sql_post_transfers);

/* An array argument taken apart. */
typedef struct BankColumn
{
	Datum	   *values;			/* NULL: the argument was null */
	bool	   *nulls;
} BankColumn;

/* Raise BK024 with this sentence. */
static void
bank_batch_malformed(const char *detail)
{
	BankError	error;

	bank_error_set(&error, BANK_INVALID_BATCH, "%s", detail);
	bank_ereport(&error);
}

/*
 * Take an array argument apart. *n is the length all arrays must have, or -1
 * before the first. BK024 when it is missing but required, of another length, or
 * not of one dimension.
 */
static BankColumn
bank_batch_column(FunctionCallInfo fcinfo, int argument, const char *name, bool required, int *n)
{
	BankColumn	column = {NULL, NULL};
	ArrayType  *array;
	Oid			type;
	int16		length;
	bool		by_value;
	char		align;
	int			count;

	if (PG_ARGISNULL(argument))
	{
		if (required)
			bank_batch_malformed(psprintf("%s must not be null.", name));
		return column;
	}
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1)
		bank_batch_malformed(psprintf("%s must have one dimension.", name));
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (count > BANK_BATCH_MAX)
		bank_batch_malformed(psprintf("At most %d orders are allowed in one call, not %d.",
									  BANK_BATCH_MAX, count));
	if (*n >= 0 && count != *n)
		bank_batch_malformed(psprintf("%s has %d elements, from_accounts has %d.", name, count,
									  *n));
	*n = count;
	type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &column.values, &column.nulls, &count);
	return column;
}

/* Does this column have a value for this order? */
static bool
bank_column_has(const BankColumn *column, int i)
{
	return column->values != NULL && !column->nulls[i];
}

/* Put the result of an order into the set returned. */
static void
bank_batch_put(ReturnSetInfo *rsinfo, int i, const BankOrderResult *result)
{
	bool		ok = result->error == NULL;
	Datum		values[7];
	bool		nulls[7] = {false};

	values[0] = Int32GetDatum(i + 1);
	values[1] = BoolGetDatum(ok);
	nulls[2] = nulls[3] = nulls[4] = ok;
	if (!ok)
	{
		values[2] = CStringGetTextDatum(bank_error_sqlstate(result->error->code));
		values[3] = CStringGetTextDatum(bank_error_message(result->error->code));
		values[4] = CStringGetTextDatum(bank_error_text(result->error->detail));
	}
	nulls[5] = !ok;
	values[5] = bank_uuid_datum(&result->event.event_id);
	values[6] = BoolGetDatum(result->replayed);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * bank_post_transfers(from_accounts, to_accounts, amounts, idempotency_keys,
 * linked, occurred_at, metadata)
 */
Datum
bank_sql_post_transfers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	BankColumn	from;
	BankColumn	to;
	BankColumn	amounts;
	BankColumn	keys;
	BankColumn	linked;
	BankColumn	occurred;
	BankColumn	metadata;
	BankOrder  *orders;
	BankOrderResult *results;
	BankSession session;
	BankError	error;
	int			n = -1;
	int			i;

	PreventCommandIfReadOnly("bank_post_transfers()");
	PreventCommandIfParallelMode("bank_post_transfers()");
	PreventCommandDuringRecovery("bank_post_transfers()");
	from = bank_batch_column(fcinfo, 0, "from_accounts", true, &n);
	to = bank_batch_column(fcinfo, 1, "to_accounts", true, &n);
	amounts = bank_batch_column(fcinfo, 2, "amounts", true, &n);
	keys = bank_batch_column(fcinfo, 3, "idempotency_keys", false, &n);
	linked = bank_batch_column(fcinfo, 4, "linked", false, &n);
	occurred = bank_batch_column(fcinfo, 5, "occurred_at", false, &n);
	metadata = bank_batch_column(fcinfo, 6, "metadata", false, &n);

	InitMaterializedSRF(fcinfo, 0);
	orders = palloc0(Max(n, 1) * sizeof(BankOrder));
	results = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(BankOrderResult));
	for (i = 0; i < n; i++)
	{
		BankOrder  *order = &orders[i];

		if (bank_column_has(&from, i))
			order->from_account = (const BankUuid *) DatumGetPointer(from.values[i]);
		if (bank_column_has(&to, i))
			order->to_account = (const BankUuid *) DatumGetPointer(to.values[i]);
		if (bank_column_has(&amounts, i))
			order->amount = DatumGetBankMoney(amounts.values[i]);
		if (bank_column_has(&keys, i))
			order->options.key = TextDatumGetCString(keys.values[i]);
		order->linked = bank_column_has(&linked, i) && DatumGetBool(linked.values[i]);
		order->options.has_occurred_at = bank_column_has(&occurred, i);
		if (order->options.has_occurred_at)
			order->options.occurred_at = DatumGetTimestampTz(occurred.values[i]);
		if (bank_column_has(&metadata, i))
		{
			Jsonb	   *value = DatumGetJsonbP(metadata.values[i]);

			order->options.metadata = value;
			order->options.metadata_size = VARSIZE(value);
			order->options.metadata_is_object = JB_ROOT_IS_OBJECT(value);
		}
	}

	bank_session_open(&session);
	bank_session_lock_tables();
	if (!bank_authority_check_staff(&error) || !bank_batch_post(orders, n, results, &error))
		bank_ereport(&error);
	/* refusals stand in the session's memory */
	for (i = 0; i < n; i++)
		bank_batch_put(rsinfo, i, &results[i]);
	bank_session_close(&session);
	return (Datum) 0;
}
