/*
 * launcher.c
 *		The launcher: one process that keeps a worker in every database with a ledger.
 *
 * When it starts it tries every database that takes connections and is no
 * template: a worker looks for the extension and ends if there is none. From then on
 * backends show it databases where something has happened. It sleeps until it is told, and
 * owns all restarts: workers ask for none of their own, so that a database can be
 * renamed, cloned or dropped while its worker is stopped. It runs on primaries only, from the
 * end of recovery on.
 *
 * Transactions: one, at the start and before each restart, to read pg_database. Locks:
 * the relay's, for moments.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/shared.h"
#include "adapters/relay/worker.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PGDLLEXPORT void bank_relay_launcher_main(Datum argument);

/* What to wait before the first restart of a worker that failed; doubles up to the maximum. */
#define BANK_LAUNCHER_DELAY (1 * USECS_PER_SEC)
#define BANK_LAUNCHER_DELAY_MAX (60 * USECS_PER_SEC)
/* After a crash of the server. */
#define BANK_LAUNCHER_CRASH_DELAY (3 * USECS_PER_SEC)
/* When the server has no free worker slot. */
#define BANK_LAUNCHER_BUSY_DELAY (2 * USECS_PER_SEC)
#define BANK_LAUNCHER_BUSY "no free worker slot, see max_worker_processes"

/* Workers that have been asked for and whose start is awaited: handles by slot. */
static BackgroundWorkerHandle *bank_launcher_handles[BANK_RELAY_SLOTS];

/* Register the launcher; called while libraries are preloaded. */
void
bank_relay_launch(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "banking relay launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "banking relay launcher");
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "banking");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "bank_relay_launcher_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	RegisterBackgroundWorker(&worker);
}

/* At exit: nobody need wake us any more. */
static void
bank_launcher_leave(int code pg_attribute_unused(), Datum argument pg_attribute_unused())
{
	bank_relay_lock();
	bank_relay_shared->launcher = 0;
	bank_relay_shared->launcher_latch = NULL;
	bank_relay_unlock();
}

/* Want a worker in every database where there could be a ledger, unless it has one. */
static void
bank_launcher_find_databases(TimestampTz start_at)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		BankRelaySlot *slot;

		if (!database->datallowconn || database->datistemplate)
			continue;
		bank_relay_lock();
		slot = bank_relay_slot(database->oid, true);
		if (slot != NULL && slot->pid == 0 && slot->state != BANK_RELAY_STOPPED)
			bank_relay_want(slot, start_at);
		bank_relay_unlock();
		if (slot == NULL)
			ereport(LOG,
					(errmsg("banking relay: no worker for database \"%s\"",
							NameStr(database->datname)),
					 errdetail("There are %d databases with one already.", BANK_RELAY_SLOTS)));
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
}

/* Does this database exist, and may it have a worker? */
static bool
bank_launcher_database_usable(Oid database)
{
	HeapTuple	tuple;
	bool		usable = false;

	StartTransactionCommand();
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		usable = form->datallowconn && !form->datistemplate;
		ReleaseSysCache(tuple);
	}
	CommitTransactionCommand();
	return usable;
}

/* How long to wait before the next start, after so many failures. */
static int64
bank_launcher_delay(int failures)
{
	int64		delay = BANK_LAUNCHER_DELAY << Min(failures - 1, 6);

	return Min(delay, BANK_LAUNCHER_DELAY_MAX);
}

/* Ask the server for the worker of a slot. */
static void
bank_launcher_start(int n)
{
	BankRelaySlot *slot = &bank_relay_shared->slots[n];
	Oid			database = slot->database;
	BackgroundWorker worker;
	bool		usable = bank_launcher_database_usable(database);
	bool		started;
	bool		known;

	bank_relay_lock();
	if (slot->state != BANK_RELAY_WANTED || slot->database != database || !usable)
	{
		if (slot->state == BANK_RELAY_WANTED && slot->database == database)
		{
			slot->database = InvalidOid;
			slot->state = BANK_RELAY_FREE;
		}
		bank_relay_unlock();
		return;
	}
	slot->state = BANK_RELAY_STARTING;
	bank_relay_unlock();

	memset(&worker, 0, sizeof(worker));
	snprintf(worker.bgw_name, BGW_MAXLEN, "banking relay for database %u", database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "banking relay");
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "banking");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "bank_relay_worker_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&worker, &bank_launcher_handles[n]);
	if (started)
		return;
	bank_relay_lock();
	known = strcmp(slot->error, BANK_LAUNCHER_BUSY) == 0;
	strlcpy(slot->error, BANK_LAUNCHER_BUSY, sizeof(slot->error));
	bank_relay_want(slot, GetCurrentTimestamp() + BANK_LAUNCHER_BUSY_DELAY);
	bank_relay_unlock();
	/* once, not with every try */
	if (!known)
		ereport(LOG,
				(errmsg("banking relay: could not start a worker for database %u", database),
				 errdetail("It is tried again until there is a free worker slot."),
				 errhint("Raise max_worker_processes.")));
}

/* Has a worker that was asked for ended? Then its slot is to be started again, or is free. */
static void
bank_launcher_reap(int n)
{
	BankRelaySlot *slot = &bank_relay_shared->slots[n];
	pid_t		pid;

	if (bank_launcher_handles[n] == NULL ||
		GetBackgroundWorkerPid(bank_launcher_handles[n], &pid) != BGWH_STOPPED)
		return;
	pfree(bank_launcher_handles[n]);
	bank_launcher_handles[n] = NULL;
	bank_relay_lock();
	/* whoever ended in order has set the state; who did not has failed */
	if (slot->state == BANK_RELAY_STARTING || slot->state == BANK_RELAY_RUNNING)
	{
		if (slot->stop)
			slot->state = BANK_RELAY_STOPPED;
		else
		{
			slot->failures++;
			snprintf(slot->error, sizeof(slot->error), "the worker ended, see the server's log");
			bank_relay_want(slot, GetCurrentTimestamp() + bank_launcher_delay(slot->failures));
		}
	}
	slot->pid = 0;
	slot->latch = NULL;
	bank_relay_unlock();
}

/* Do what is to be done now; returns when to look again without being told, 0: never. */
static TimestampTz
bank_launcher_work(void)
{
	TimestampTz next = 0;
	int			n;

	for (n = 0; n < BANK_RELAY_SLOTS; n++)
	{
		const BankRelaySlot *slot = &bank_relay_shared->slots[n];

		bank_launcher_reap(n);
		if (slot->state != BANK_RELAY_WANTED || bank_launcher_handles[n] != NULL)
			continue;
		if (slot->start_at <= GetCurrentTimestamp())
			bank_launcher_start(n);
		if (slot->state == BANK_RELAY_WANTED && (next == 0 || slot->start_at < next))
			next = slot->start_at;
	}
	return next;
}

/* The launcher's main function. */
void
bank_relay_launcher_main(Datum argument pg_attribute_unused())
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	if (bank_relay_shared == NULL)
		proc_exit(0);

	before_shmem_exit(bank_launcher_leave, (Datum) 0);
	bank_relay_lock();
	bank_relay_shared->launcher = MyProcPid;
	bank_relay_shared->launcher_latch = MyLatch;
	bank_relay_unlock();

	/*
	 * Started long after the server, we follow on a crash, perhaps of a worker: leave sessions
	 * some time before the next one can happen.
	 */
	bank_launcher_find_databases(
		TimestampDifferenceExceeds(PgStartTime, GetCurrentTimestamp(), 10000) ?
		GetCurrentTimestamp() + BANK_LAUNCHER_CRASH_DELAY : 0);
	for (;;)
	{
		TimestampTz next;
		long		timeout = -1;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		next = bank_launcher_work();
		if (next != 0)
			timeout = Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next), 10);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
