/*
 * progress.c
 *		Progress of bank_verify and bank_rebuild.
 *
 * Uses the progress slots that the server keeps for every backend in shared
 * memory, under a command number of our own, which no pg_stat_progress_* view
 * knows. So it needs no preloading, survives nothing, and an abort clears it.
 *
 * Locks: none; the server's protocol of change counts makes reads consistent.
 */
#include "postgres.h"

#include "adapters/store/progress.h"
#include "adapters/pg_compat.h"

#include "commands/progress.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(bank_progress);

/* "bank" in ASCII: far from the server's own commands. */
#define BANK_PROGRESS_COMMAND ((ProgressCommandType) 0x62616e6b)

/* parameters of that command */
#define BANK_PARAM_COMMAND 0
#define BANK_PARAM_PHASE 1
#define BANK_PARAM_TOTAL 2
#define BANK_PARAM_DONE 3

/* Begin to show a command; bank_progress_end or the transaction's abort ends it. */
void
bank_progress_start(BankProgressCommand command)
{
	pgstat_progress_start_command(BANK_PROGRESS_COMMAND, InvalidOid);
	pgstat_progress_update_param(BANK_PARAM_COMMAND, command);
}

/* What it is doing now. */
void
bank_progress_phase(BankProgressPhase phase)
{
	pgstat_progress_update_param(BANK_PARAM_PHASE, phase);
}

/* How many events there are to read, as far as known. */
void
bank_progress_total(int64 events)
{
	pgstat_progress_update_param(BANK_PARAM_TOTAL, events);
}

/* How many have been read. */
void
bank_progress_done(int64 events)
{
	pgstat_progress_update_param(BANK_PARAM_DONE, events);
}

/* Stop showing the command. */
void
bank_progress_end(void)
{
	pgstat_progress_end_command();
}

/* bank.progress(): one row per session that verifies or rebuilds a ledger of this database. */
Datum
bank_progress(PG_FUNCTION_ARGS)
{
	static const char *const commands[] = {NULL, "verify", "rebuild"};
	static const char *const phases[] = {
		"starting", "waiting for locks", "reading events", "reading read models",
		"writing read models"
	};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			backends = pgstat_fetch_stat_numbackends();
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	for (i = 1; i <= backends; i++)
	{
		LocalPgBackendStatus *local = bank_local_backend_status(i);
		PgBackendStatus *backend = &local->backendStatus;
		int64	   *params = backend->st_progress_param;
		Datum		values[5];
		bool		nulls[5] = {false};

		if (backend->st_progress_command != BANK_PROGRESS_COMMAND ||
			backend->st_databaseid != MyDatabaseId ||
			params[BANK_PARAM_COMMAND] < BANK_PROGRESS_VERIFY ||
			params[BANK_PARAM_COMMAND] > BANK_PROGRESS_REBUILD ||
			params[BANK_PARAM_PHASE] < 0 || params[BANK_PARAM_PHASE] > BANK_PHASE_WRITING_MODELS)
			continue;
		values[0] = Int32GetDatum(backend->st_procpid);
		values[1] = CStringGetTextDatum(commands[params[BANK_PARAM_COMMAND]]);
		values[2] = CStringGetTextDatum(phases[params[BANK_PARAM_PHASE]]);
		values[3] = Int64GetDatum(params[BANK_PARAM_TOTAL]);
		values[4] = Int64GetDatum(params[BANK_PARAM_DONE]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
