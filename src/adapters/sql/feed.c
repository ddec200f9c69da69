/*
 * feed.c
 *		bank.feed() and bank.feed_cursor(): the feed for SQL.
 *
 * They read under the caller's snapshot and write nothing. Memory: the rows go into
 * a tuplestore; a batch at a time is in memory.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/sql/errors.h"
#include "adapters/store/feed.h"
#include "adapters/store/store.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(bank_feed);
PG_FUNCTION_INFO_V1(bank_feed_cursor);

/* The most that one call gives. */
#define BANK_FEED_MAX 10000

/* bank.feed(cursor, max_events) */
Datum
bank_feed(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int32		max = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);
	BankFeedCursor cursor;
	BankError	error = {0};
	BankSession session;
	int64	   *positions;
	int			n;

	if (max < 1 || max > BANK_FEED_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events must be between 1 and %d", BANK_FEED_MAX)));
	InitMaterializedSRF(fcinfo, 0);
	bank_session_open(&session);
	if (PG_ARGISNULL(0))
		bank_feed_begin(&cursor, false, 0);
	else if (!bank_feed_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &cursor, &error))
		bank_ereport(&error);
	positions = palloc(max * sizeof(int64));
	while (max > 0 && (n = bank_feed_read(&cursor, positions, max, &error)) != 0)
	{
		int64		last = cursor.position;
		int			i;

		if (n < 0)
			bank_ereport(&error);
		for (i = 0; i < n; i++)
		{
			Datum		values[2];
			bool		nulls[2] = {false};

			cursor.position = positions[i];
			values[0] = CStringGetTextDatum(bank_feed_text(&cursor));
			values[1] = Int64GetDatum(positions[i]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
		cursor.position = last;
		max -= n;
	}
	bank_feed_flush_all();
	bank_session_close(&session);
	return (Datum) 0;
}

/* bank.feed_cursor(after_position) */
Datum
bank_feed_cursor(PG_FUNCTION_ARGS)
{
	BankFeedCursor cursor;
	BankSession session;
	MemoryContext caller = CurrentMemoryContext;
	text	   *result;

	if (!PG_ARGISNULL(0) && PG_GETARG_INT64(0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position must not be negative")));
	bank_session_open(&session);
	bank_feed_begin(&cursor, PG_ARGISNULL(0), PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0));
	bank_feed_flush_all();
	MemoryContextSwitchTo(caller);
	result = cstring_to_text(bank_feed_text(&cursor));
	bank_session_close(&session);
	PG_RETURN_TEXT_P(result);
}
