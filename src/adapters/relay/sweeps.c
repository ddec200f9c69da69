/*
 * sweeps.c
 *		What time alone brings about: transfers that reach their deadline, holds that expire.
 *
 * At most once a second, and only when something is due as far as is known; commits that have
 * appended events may have brought something that is due earlier. A transfer whose participant
 * is just being asked waits for the end of that. Both are steps of their own for each transfer
 * and each account, see steps.c; what is locked stays for the next time.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "adapters/store/store.h"
#include "application/holds.h"
#include "application/transfers.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/* So many transfers, and so many accounts, at a time. */
#define BANK_SWEEP_PAGE 100
#define BANK_SWEEP_PAUSE (1 * USECS_PER_SEC)
#define BANK_SWEEP_FAILED (60 * USECS_PER_SEC)

static bool bank_sweeps_curious = true; /* something may be due that we do not know of */
static TimestampTz bank_sweeps_due_at = 0;	/* of what we know of, 0: nothing */
static TimestampTz bank_sweeps_not_before = 0;

/* Something may have become due without our knowledge. */
void
bank_sweeps_look(bool told)
{
	bank_sweeps_curious |= told;
}

/* When to sweep next; 0: not before we are told. */
TimestampTz
bank_sweeps_next(void)
{
	if (bank_sweeps_curious)
		return Max(bank_sweeps_not_before, 1);
	return bank_sweeps_due_at == 0 ? 0 : Max(bank_sweeps_due_at, bank_sweeps_not_before);
}

/* Is it time to sweep? */
bool
bank_sweeps_due(TimestampTz now)
{
	TimestampTz next = bank_sweeps_next();

	return next != 0 && next <= now;
}

/* A step: a transfer has reached its deadline. */
static bool
bank_sweeps_expire_transfer(void *argument)
{
	const BankUuid *transfer_id = argument;
	BankTransfer transfer;

	bank_session_lock_tables();
	if (!bank_store_find_transfer(transfer_id, &transfer))
		return true;
	if (!bank_step_lock(&transfer))
		return false;
	(void) bank_transfers_expire(transfer_id);
	return true;
}

/* A step: an account has holds whose time is over. */
static bool
bank_sweeps_expire_holds(void *argument)
{
	static BankPlan plan = {
		.text = "SELECT FROM bank.accounts AS a WHERE a.account_id OPERATOR(pg_catalog.=) $1 "
		"FOR NO KEY UPDATE SKIP LOCKED",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		id = bank_uuid_datum(argument);

	bank_session_lock_tables();
	if (bank_plan_execute(&plan, &id, NULL, false) == 0)
		return false;
	(void) bank_holds_expire_accounts(argument, 1);
	return true;
}

/* Run one of these for each identifier; true: one has failed, and none has been of use. */
static bool
bank_sweeps_each(BankStep step, const char *kind, BankUuid *ids, int n)
{
	int			useful = 0;
	int			failures = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		char		what[80];
		bool		failed;
		bool		done;

		strlcpy(what, kind, sizeof(what) - BANK_UUID_TEXT);
		bank_uuid_format(&ids[i], what + strlen(what));
		done = bank_step_run(step, &ids[i], what, &failed);
		failures += failed ? 1 : 0;
		useful += done && !failed ? 1 : 0;
	}
	return failures > 0 && useful == 0;
}

/* Transfers that have reached their deadline, and are not just being asked about. */
static bool
bank_sweeps_transfers(TimestampTz now)
{
	static BankPlan plan = {
		.text = "SELECT t.transfer_id FROM bank.transfers AS t "
		"WHERE t.state IN ('reserved', 'submitted', 'cancelling', 'returning') "
		"AND t.deadline OPERATOR(pg_catalog.<=) $1 "
		"ORDER BY t.deadline USING OPERATOR(pg_catalog.<) LIMIT $2",
		.nargs = 2, .types = {TIMESTAMPTZOID, INT8OID}
	};
	BankUuid   *ids = palloc((BANK_EXCHANGES + BANK_SWEEP_PAGE) * sizeof(BankUuid));
	Datum		values[2];
	int			n = 0;
	uint64		found;
	uint64		i;

	values[0] = TimestampTzGetDatum(now);
	values[1] = Int64GetDatum(bank_exchanges_total + BANK_SWEEP_PAGE);
	found = bank_plan_execute(&plan, values, NULL, false);
	for (i = 0; i < found; i++)
	{
		bool		isnull;

		bank_uuid_from_datum(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
										   &isnull), &ids[n]);
		if (bank_exchange_find(&ids[n]) == NULL)
			n++;
	}
	SPI_freetuptable(SPI_tuptable);
	return bank_sweeps_each(bank_sweeps_expire_transfer, "transfer ", ids, n);
}

/* The earliest that is due some time: a deadline, or the end of a hold; 0: none. */
static TimestampTz
bank_sweeps_find_due(void)
{
	static BankPlan plan = {
		.text = "SELECT LEAST("
		"(SELECT pg_catalog.min(t.deadline) FROM bank.transfers AS t "
		"WHERE t.state IN ('reserved', 'submitted', 'cancelling', 'returning')), "
		"(SELECT pg_catalog.min(h.expires_at) FROM bank.holds AS h "
		"WHERE h.status OPERATOR(pg_catalog.=) 'OPEN'))"
	};
	bool		isnull;
	Datum		due;

	bank_plan_execute(&plan, NULL, NULL, false);
	due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	SPI_freetuptable(SPI_tuptable);
	return isnull || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(due)) ? 0 :
		DatumGetTimestampTz(due);
}

/* Do what is due. Returns true: something may have been written. */
bool
bank_sweeps_run(TimestampTz now)
{
	TimestampTz due = bank_sweeps_find_due();
	bool		wrote = false;
	bool		failed = false;

	bank_sweeps_curious = false;
	if (due != 0 && due <= now)
	{
		BankUuid   *accounts;
		int			n = bank_store_due_accounts(now, BANK_SWEEP_PAGE, &accounts);

		failed = bank_sweeps_transfers(now);
		failed |= bank_sweeps_each(bank_sweeps_expire_holds, "holds of account ", accounts, n);
		wrote = true;
		due = bank_sweeps_find_due();
	}
	bank_sweeps_due_at = due;
	bank_sweeps_not_before = now + (failed ? BANK_SWEEP_FAILED : BANK_SWEEP_PAUSE);
	return wrote;
}
