/*
 * clock.c
 *		Time and identifiers: the server's clock and its strong random numbers.
 *
 * No locks; nothing is remembered between calls.
 */
#include "postgres.h"

#include "ports/clock.h"

#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* See ports/clock.h. */
int64_t
bank_clock_now(void)
{
	return GetCurrentTimestamp();
}

/* See ports/clock.h. */
void
bank_clock_new_uuid(BankUuid *uuid)
{
	const int64 epoch_offset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	uint8		random[10];

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	bank_uuid_v7((uint64) ((GetCurrentTimestamp() + epoch_offset) / 1000), random, uuid);
}
