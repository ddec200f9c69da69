/*
 * control.c
 *		The SQL functions that look at the relay, stop it and start it, and check
 *		what a subscription asks for.
 *
 * Locks: the relay's, for moments. bank.relay_stop() waits for another process.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/notify.h"
#include "adapters/relay/relay.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(bank_relay_status);
PG_FUNCTION_INFO_V1(bank_relay_stop);
PG_FUNCTION_INFO_V1(bank_relay_start);
PG_FUNCTION_INFO_V1(bank_sink_check);

/* A worker that has not ended after so long, in milliseconds, gets a signal. */
#define BANK_STOP_PATIENCE 2000
#define BANK_STOP_SLICE 20

/* The state in which nothing starts the worker. */
#define BANK_NO_LAUNCHER "no launcher"

/* The worker's state in words. A worker that runs goes on without the launcher. */
static const char *
bank_relay_state_name(const BankRelaySlot *slot, bool launcher)
{
	if (bank_relay_shared == NULL)
		return "not preloaded";
	if (RecoveryInProgress())
		return "standby";
	if (!launcher && (slot == NULL || (slot->pid == 0 && slot->state != BANK_RELAY_STOPPED)))
		return BANK_NO_LAUNCHER;
	switch (slot == NULL ? BANK_RELAY_FREE : slot->state)
	{
		case BANK_RELAY_WANTED:
			return slot->failures > 0 || slot->error[0] != '\0' ? "waiting" : "starting";
		case BANK_RELAY_STARTING:
			return "starting";
		case BANK_RELAY_RUNNING:
			return slot->stop ? "stopping" : "running";
		case BANK_RELAY_STOPPED:
			return "stopped";
		case BANK_RELAY_FREE:
			break;
	}
	return "starting";
}

/* bank.relay_status() */
Datum
bank_relay_status(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[9] = {0};
	bool		nulls[9] = {false, true, true, true, true, true, true, true, true};
	BankRelaySlot *slot = NULL;
	BankRelaySlot copy;
	const char *state;
	bool		launcher = true;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (bank_relay_shared != NULL)
	{
		bank_relay_lock();
		slot = bank_relay_slot(MyDatabaseId, false);
		if (slot != NULL)
			copy = *slot;
		launcher = bank_relay_shared->launcher != 0;
		bank_relay_unlock();
	}
	state = bank_relay_state_name(slot != NULL ? &copy : NULL, launcher);
	values[0] = CStringGetTextDatum(state);
	if (slot != NULL)
	{
		values[1] = Int32GetDatum(copy.pid);
		nulls[1] = copy.pid == 0;
		values[2] = TimestampTzGetDatum(copy.started_at);
		nulls[2] = copy.pid == 0;
		values[3] = Int32GetDatum(copy.failures);
		nulls[3] = false;
		values[4] = CStringGetTextDatum(copy.error);
		nulls[4] = copy.error[0] == '\0';
		values[5] = Int64GetDatum(pg_atomic_read_u32(&slot->in_flight));
		values[6] = Int64GetDatum(pg_atomic_read_u32(&slot->items));
		values[7] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->bytes));
		values[8] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->delivered));
		nulls[5] = nulls[6] = nulls[7] = nulls[8] = false;
	}
	if (strcmp(state, BANK_NO_LAUNCHER) == 0)
	{
		values[4] = CStringGetTextDatum("the process \"banking relay launcher\" does not run: "
										"raise max_worker_processes, or see the server's log");
		nulls[4] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Tell the worker of this database to end; its process id, 0: there is none. */
static pid_t
bank_relay_ask_to_stop(void)
{
	BankRelaySlot *slot;
	pid_t		pid;

	bank_relay_lock();
	slot = bank_relay_slot(MyDatabaseId, true);
	if (slot == NULL)
	{
		bank_relay_unlock();
		return 0;
	}
	pid = slot->pid;
	if (pid != 0)
	{
		slot->stop = true;
		SetLatch(slot->latch);
	}
	else if (slot->state != BANK_RELAY_STARTING)
		slot->state = BANK_RELAY_STOPPED;
	/* one that is just starting has to come first */
	else
		pid = -1;
	bank_relay_unlock();
	return pid;
}

/* bank.relay_stop() */
Datum
bank_relay_stop(PG_FUNCTION_ARGS)
{
	int			waited = 0;
	bool		signalled = false;
	pid_t		pid;

	if (bank_relay_shared == NULL)
		PG_RETURN_VOID();
	bank_relay_note_stop(true);
	while ((pid = bank_relay_ask_to_stop()) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (pid > 0 && waited >= BANK_STOP_PATIENCE && !signalled)
		{
			kill(pid, SIGTERM);
			signalled = true;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 BANK_STOP_SLICE, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		waited += BANK_STOP_SLICE;
	}
	PG_RETURN_VOID();
}

/* bank.relay_start() */
Datum
bank_relay_start(PG_FUNCTION_ARGS)
{
	if (bank_relay_shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("banking is not preloaded"),
				 errhint("Add banking to shared_preload_libraries and restart the server.")));
	bank_relay_note_stop(false);
	PG_RETURN_VOID();
}

/* Elements of a text[] as C strings, of a bytea[] as they are; returns how many. */
static int
bank_check_elements(ArrayType *array, Oid type, Datum **elements)
{
	bool	   *nulls;
	int			n;

	deconstruct_array(array, type, -1, false, TYPALIGN_INT, elements, &nulls, &n);
	return n;
}

/*
 * bank.sink_check(sink, url, header_names, header_values, secret, batch): what is wrong with a
 * target, or null.
 */
Datum
bank_sink_check(PG_FUNCTION_ARGS)
{
	BankSinkTarget target = {0};
	BankSinkSecret secret;
	BankSinkHeader *headers;
	Datum	   *names;
	Datum	   *values;
	const BankSinkCallbacks *callbacks;
	const char *why;
	char		reason[300];
	int			i;

	callbacks = bank_sinks_load(text_to_cstring(PG_GETARG_TEXT_PP(0)), &why);
	if (callbacks == NULL)
		PG_RETURN_TEXT_P(cstring_to_text(why));
	target.url = text_to_cstring(PG_GETARG_TEXT_PP(1));
	target.n_headers = bank_check_elements(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, &names);
	(void) bank_check_elements(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, &values);
	headers = palloc((target.n_headers + 1) * sizeof(BankSinkHeader));
	for (i = 0; i < target.n_headers; i++)
	{
		headers[i].name = TextDatumGetCString(names[i]);
		headers[i].value = TextDatumGetCString(values[i]);
	}
	target.headers = headers;
	secret.bytes = (const uint8_t *) VARDATA_ANY(PG_GETARG_BYTEA_PP(4));
	secret.len = VARSIZE_ANY_EXHDR(PG_GETARG_BYTEA_PP(4));
	target.secrets = &secret;
	target.n_secrets = 1;
	target.batch = PG_GETARG_BOOL(5);
	target.connect_timeout = target.request_timeout = 1000;
	why = callbacks->check(&target, &bank_sinks_host, reason, sizeof(reason));
	if (why == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(why));
}
