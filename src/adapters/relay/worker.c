/*
 * worker.c
 *		The worker of a database: reads the feed, sends, records; asks participants.
 *
 * One turn of its loop: take what has ended, record it and read more in one short
 * transaction, send what is ready, wait. It is woken by the latch (a commit that
 * appended events, a command), by a socket, or by the time that it has computed: a retry, a
 * breaker, a secret that expires, and a look at how many transactions have ended now and
 * then, which finds what nobody tells (COMMIT PREPARED). When that has not
 * changed it runs no statement at all.
 *
 * No transaction, snapshot or lock is held while it waits. What it sends is flushed before.
 * An error ends the process; the launcher starts another one, which begins with what is
 * recorded. Booking never depends on it.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/exchange.h"
#include "adapters/relay/notify.h"
#include "adapters/relay/worker.h"
#include "adapters/store/store.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* How often it looks for what nobody tells, in milliseconds. */
#define BANK_WORKER_POLL 2000
/* How long the position of a quiet subscription may stay unwritten. */
#define BANK_WORKER_LAZY (1 * USECS_PER_SEC)
/* How long what has ended may stay unwritten while more is under way: commits cost a flush. */
#define BANK_WORKER_GATHER (5 * INT64CONST(1000))
/* How long to wait before recording again what somebody else has locked. */
#define BANK_WORKER_LOCKED (100 * INT64CONST(1000))
/* When to look again whether the extension's version is the library's, if nobody tells. */
#define BANK_WORKER_OUTDATED_DELAY (60 * USECS_PER_SEC)

/* Why the worker ends. */
typedef enum BankWorkerEnd
{
	BANK_WORKER_FAILED,			/* by an error: shall be started again, a little later */
	BANK_WORKER_STOPPED,		/* by bank_relay_stop */
	BANK_WORKER_OUTDATED,		/* the ledger is of another version: shall look again later */
	BANK_WORKER_REPLACED,		/* another ledger is here: shall be started again, for that one */
	BANK_WORKER_NEEDLESS		/* there is no ledger here */
} BankWorkerEnd;

static BankRelaySlot *bank_worker_slot = NULL;
static ResourceOwner bank_worker_owner = NULL;	/* while there is no transaction */
static MemoryContext bank_worker_context = NULL;	/* likewise; reset each turn */
static BankWorkerEnd bank_worker_end = BANK_WORKER_FAILED;
static uint32 bank_worker_commits = 0;	/* as of the last look */
static uint32 bank_worker_changes = 0;
static uint32 bank_worker_transfers = 0;
static uint32 bank_worker_restores = 0;
static uint64 bank_worker_ended_before = 0;
static Oid	bank_worker_extension = InvalidOid; /* what its memory is about */
static TimestampTz bank_worker_locked_until = 0;
static TimestampTz bank_worker_recorded_at = 0;
static XLogRecPtr bank_worker_unflushed = InvalidXLogRecPtr;	/* commit of what was recorded */

/* At exit: leave the slot as it is to be found. */
static void
bank_worker_leave(int code pg_attribute_unused(), Datum argument pg_attribute_unused())
{
	BankRelaySlot *slot = bank_worker_slot;

	bank_relay_lock();
	slot->pid = 0;
	slot->latch = NULL;
	pg_atomic_write_u32(&slot->attentive, 0);
	pg_atomic_write_u32(&slot->in_flight, 0);
	pg_atomic_write_u32(&slot->items, 0);
	pg_atomic_write_u64(&slot->bytes, 0);
	switch (bank_worker_end)
	{
		case BANK_WORKER_STOPPED:
			slot->state = BANK_RELAY_STOPPED;
			break;
		case BANK_WORKER_OUTDATED:
			bank_relay_want(slot, GetCurrentTimestamp() + BANK_WORKER_OUTDATED_DELAY);
			break;
		case BANK_WORKER_REPLACED:
			bank_relay_want(slot, 0);
			break;
		case BANK_WORKER_NEEDLESS:
			slot->state = BANK_RELAY_FREE;
			slot->database = InvalidOid;
			pg_memory_barrier();
			/* one may have been created since we looked */
			if (pg_atomic_read_u32(&slot->changes) != bank_worker_changes)
			{
				slot->database = MyDatabaseId;
				bank_relay_want(slot, 0);
			}
			break;
		case BANK_WORKER_FAILED:
			if (TimestampDifferenceExceeds(slot->started_at, GetCurrentTimestamp(), 60000))
				slot->failures = 0;
			slot->failures++;
			snprintf(slot->error, sizeof(slot->error), "the worker ended, see the server's log");
			bank_relay_want(slot, GetCurrentTimestamp() +
							Min(USECS_PER_SEC << Min(slot->failures - 1, 6), 60 * USECS_PER_SEC));
			break;
	}
	bank_relay_unlock();
}

/* Take the slot of this database. False: there is none, or somebody else has it. */
static bool
bank_worker_attach(void)
{
	BankRelaySlot *slot;
	bool		ours;

	bank_relay_lock();
	slot = bank_relay_slot(MyDatabaseId, false);
	ours = slot != NULL && slot->pid == 0 && slot->state == BANK_RELAY_STARTING;
	if (ours)
	{
		slot->state = BANK_RELAY_RUNNING;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->started_at = GetCurrentTimestamp();
		pg_atomic_write_u64(&slot->delivered, 0);
		pg_atomic_write_u64(&slot->answered, 0);
		bank_worker_slot = slot;
	}
	bank_relay_unlock();
	if (ours)
		before_shmem_exit(bank_worker_leave, (Datum) 0);
	return ours;
}

/* End the process in order. */
static void
bank_worker_quit(BankWorkerEnd why)
{
	bank_worker_end = why;
	proc_exit(0);
}

/* What is done between transactions has a resource owner and a memory context of its own. */
static void
bank_worker_between(void)
{
	CurrentResourceOwner = bank_worker_owner;
	MemoryContextSwitchTo(bank_worker_context);
}

/* The extension, as of now; InvalidOid: there is none. *version is its version, or null. */
static Oid
bank_worker_find_extension(char **version)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			extension = InvalidOid;

	*version = NULL;
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("banking"));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(relation), &isnull);

		extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return extension;
}

/* Say in the slot what is wrong with the extension's version, or that nothing is wrong. */
static void
bank_worker_complain(const char *version)
{
	bank_relay_lock();
	bank_worker_slot->error[0] = '\0';
	if (version != NULL)
		snprintf(bank_worker_slot->error, sizeof(bank_worker_slot->error),
				 "extension version %.20s, library version %s: ALTER EXTENSION banking UPDATE",
				 version, BANK_VERSION);
	bank_relay_unlock();
}

/*
 * Take the lock that DROP EXTENSION, and nothing else, waits for; then the ledger's tables stay.
 * False: somebody is just dropping it. Ends the process if the ledger is not there, is another
 * one than before, or of another version than the library, before any of its tables is looked at.
 */
static bool
bank_worker_lock_ledger(void)
{
	char	   *version;
	Oid			extension = bank_worker_find_extension(&version);

	if (!OidIsValid(extension))
		bank_worker_quit(BANK_WORKER_NEEDLESS);
	if (!ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) ||
		bank_worker_find_extension(&version) != extension)
		return false;
	if (OidIsValid(bank_worker_extension) && bank_worker_extension != extension)
		bank_worker_quit(BANK_WORKER_REPLACED);
	bank_worker_extension = extension;
	if (strcmp(version, BANK_VERSION) != 0)
	{
		bank_worker_complain(version);
		bank_worker_quit(BANK_WORKER_OUTDATED);
	}
	return true;
}

/*
 * Begin a transaction of the worker: all of them begin here. While somebody drops the extension,
 * and may still roll that back, it waits without a transaction, and requests under way go on.
 * Returns the time, which may have passed meanwhile. The snapshot is taken under the lock:
 * what it shows is of the ledger that is locked.
 */
static TimestampTz
bank_worker_begin(BankSession *session)
{
	for (;;)
	{
		pgstat_report_activity(STATE_RUNNING, "banking relay");
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		if (bank_worker_lock_ledger())
			break;
		CommitTransactionCommand();
		bank_worker_between();
		pgstat_report_activity(STATE_IDLE, NULL);
		bank_waiting_wait(BANK_WORKER_LOCKED / 1000);
		CHECK_FOR_INTERRUPTS();
		if (bank_worker_slot->stop)
			bank_worker_quit(BANK_WORKER_STOPPED);
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	bank_session_open(session);
	return GetCurrentTimestamp();
}

/* Commit it. */
static void
bank_worker_commit(const BankSession *session)
{
	bank_session_close(session);
	PopActiveSnapshot();
	CommitTransactionCommand();
	bank_worker_between();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Ends the process if the relay is stopped. */
static void
bank_worker_check_stopped(void)
{
	static BankPlan plan = {.text = "SELECT FROM bank.relay_stopped"};

	if (bank_plan_execute(&plan, NULL, NULL, true) > 0)
		bank_worker_quit(BANK_WORKER_STOPPED);
}

/* Deliveries, or their events, have been restored: forget what has been read without them. */
static void
bank_worker_forget_all(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &bank_relay_subscriptions)
		bank_subscription_forget(dlist_container(BankSubscription, node, iter.cur));
}

/* The subscriptions have changed, or are read for the first time. */
static void
bank_worker_load(void)
{
	uint32		restores = pg_atomic_read_u32(&bank_worker_slot->restores);
	BankSession session;
	TimestampTz now;
	dlist_iter	iter;

	if (restores != bank_worker_restores)
		bank_worker_forget_all();
	bank_worker_restores = restores;
	now = bank_worker_begin(&session);
	bank_worker_complain(NULL);
	bank_worker_check_stopped();
	bank_relay_reload_at = 0;
	bank_subscriptions_load(now);
	bank_participants_load(now);
	bank_steps_begin();
	bank_claims_add_missing();
	bank_worker_commit(&session);

	bank_participants_find_sink();
	bank_sweeps_look(true);
	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);
		const char *why = "";

		sub->sink = bank_sinks_get(sub->sink_name, &why);
		if (sub->sink != NULL)
			continue;
		sub->runnable = false;
		ereport(LOG,
				(errmsg("banking relay: subscription \"%s\" has no sink \"%s\": %s", sub->name,
						sub->sink_name, why)));
	}
}

/* Is a subscription to be recorded now? */
static bool
bank_worker_is_dirty(const BankSubscription *sub, TimestampTz now)
{
	bool		gathering = bank_sender_in_flight > 0 &&
		now - bank_worker_recorded_at < BANK_WORKER_GATHER;

	if (bank_worker_locked_until > now)
		return false;
	return (sub->progressed && (!gathering || sub->unrecorded >= BANK_RELAY_UNRECORDED / 2)) ||
		(sub->lazy && now - sub->lazy_since >= BANK_WORKER_LAZY);
}

/* Do ready events lack payloads that could be sent now? */
static int
bank_worker_lacks_payloads(BankSubscription *sub)
{
	int			room = bank_breaker_allows(&sub->breaker, &sub->breaker_policy, sub->in_flight);
	int			wanted = room * sub->batch_size;
	int			looked = 0;
	dlist_iter	iter;

	if (!sub->active || !sub->runnable || sub->throttled_until != 0)
		return 0;
	/* short of memory, one request at a time */
	if (bank_reader_is_full())
		wanted = sub->in_flight > 0 ? 0 : Min(wanted, sub->batch_size);
	dlist_foreach(iter, &sub->ready)
	{
		if (looked++ >= wanted)
			break;
		if (dlist_container(BankItem, ready_node, iter.cur)->json == NULL)
			return wanted;
	}
	return 0;
}

/* Is there anything to do for a transaction? */
static bool
bank_worker_needs_transaction(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (bank_worker_is_dirty(sub, now) || (!sub->caught_up && bank_reader_wants(sub)) ||
			bank_worker_lacks_payloads(sub) > 0)
			return true;
	}
	return false;
}

/*
 * Record what has ended, and read more, in one transaction; flush what was read. Returns when it
 * began.
 */
static TimestampTz
bank_worker_transact(void)
{
	BankSession session;
	TimestampTz now = bank_worker_begin(&session);
	dlist_iter	iter;
	bool		recorded = false;
	bool		reload = false;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (!bank_worker_is_dirty(sub, now))
			continue;
		if (bank_recorder_record(sub, now))
			recorded = true;
		else
		{
			bank_worker_locked_until = now + BANK_WORKER_LOCKED;
			reload = true;
		}
	}
	if (recorded)
		bank_worker_recorded_at = now;
	PopActiveSnapshot();
	PushActiveSnapshot(GetLatestSnapshot());
	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (!sub->caught_up && bank_reader_wants(sub))
			bank_reader_read(sub, now);
		bank_reader_load_payloads(sub, bank_worker_lacks_payloads(sub));
	}
	bank_worker_commit(&session);
	if (recorded)
		bank_worker_unflushed = XactLastCommitEnd;
	bank_feed_flush_events();
	/* a command may have changed the row that could not be recorded */
	if (reload)
		bank_worker_load();
	return now;
}

/* Conclude what participants have said, and claim what they are to be asked; send that. */
static void
bank_worker_exchange(void)
{
	BankSession session;
	TimestampTz now = bank_worker_begin(&session);
	bool		claimed = bank_exchanges_transact(now);

	bank_worker_commit(&session);
	if (claimed)
	{
		XLogFlush(XactLastCommitEnd);
		bank_exchanges_send(now);
	}
}

/* Does a subscription wait for that what it has recorded is on disk, to send more? */
static bool
bank_worker_is_held_up(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		const BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (sub->unflushed > 0 && bank_sender_is_ahead(sub))
			return true;
	}
	return false;
}

/*
 * Have what was recorded on disk, at the latest when the next record is due. Its commit need not be
 * waited for before, if nobody does: under load other commits have flushed it by then.
 */
static void
bank_worker_flush(TimestampTz now)
{
	dlist_iter	iter;

	if (bank_worker_unflushed == InvalidXLogRecPtr ||
		(bank_sender_in_flight > 0 && now - bank_worker_recorded_at < BANK_WORKER_GATHER &&
		 !bank_worker_is_held_up()))
		return;
	XLogFlush(bank_worker_unflushed);
	bank_worker_unflushed = InvalidXLogRecPtr;
	dlist_foreach(iter, &bank_relay_subscriptions)
		dlist_container(BankSubscription, node, iter.cur)->unflushed = 0;
}

/* Time has passed: breakers, throttles and delayed events. */
static void
bank_worker_tick(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);

		if (bank_breaker_tick(&sub->breaker, &sub->breaker_policy, now))
			sub->progressed = true;
		if (sub->throttled_until != 0 && sub->throttled_until <= now)
		{
			sub->throttled_until = 0;
			sub->progressed = true;
		}
		bank_queue_wake(sub, now);
		if (!sub->active || sub->breaker.state == BANK_BREAKER_OPEN)
			bank_queue_drop_payloads(sub);
	}
}

/* Send what is ready, one subscription after the other, each time another one first. */
static void
bank_worker_send(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
		bank_sender_send(dlist_container(BankSubscription, node, iter.cur), now);
	if (!dlist_is_empty(&bank_relay_subscriptions))
		dlist_push_tail(&bank_relay_subscriptions,
						dlist_pop_head_node(&bank_relay_subscriptions));
}

/* The earlier of two moments, of which 0 is none. */
static TimestampTz
bank_worker_earlier(TimestampTz a, TimestampTz b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When there is something to do that nobody will tell; 0: never. */
static TimestampTz
bank_worker_next(void)
{
	TimestampTz next = bank_worker_earlier(bank_relay_reload_at,
										   bank_exchanges_next(GetCurrentTimestamp()));
	dlist_iter	iter;

	if (bank_worker_unflushed != InvalidXLogRecPtr)
		next = bank_worker_earlier(next, bank_worker_recorded_at + BANK_WORKER_GATHER);

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		const BankSubscription *sub = dlist_container(BankSubscription, node, iter.cur);
		int64		breaker = bank_breaker_next(&sub->breaker, &sub->breaker_policy);

		if (sub->progressed)
			next = bank_worker_earlier(next, Max(bank_worker_locked_until,
												 bank_worker_recorded_at + BANK_WORKER_GATHER));
		if (sub->lazy)
			next = bank_worker_earlier(next, sub->lazy_since + BANK_WORKER_LAZY);
		if (!sub->active || !sub->runnable)
			continue;
		if (breaker != PG_INT64_MAX)
			next = bank_worker_earlier(next, breaker);
		next = bank_worker_earlier(next, sub->throttled_until);
		next = bank_worker_earlier(next, bank_queue_next_due(sub));
	}
	return next;
}

/* Shall a commit wake us? Only if somebody would read what it brought. */
static bool
bank_worker_is_attentive(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_relay_subscriptions)
	{
		if (bank_reader_wants(dlist_container(BankSubscription, node, iter.cur)))
			return true;
	}
	return false;
}

/*
 * How many transactions of the server have ended. The latest one's identifier does not tell: COMMIT
 * PREPARED ends one that is older than others that have ended already.
 */
static uint64
bank_worker_ended(void)
{
	uint64		ended;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	ended = bank_transam_variables->xactCompletionCount;
	LWLockRelease(ProcArrayLock);
	return ended;
}

/* Have transactions ended since the last look? Then every feed may have more. */
static void
bank_worker_look(bool told)
{
	uint64		ended = bank_worker_ended();
	dlist_iter	iter;

	if (!told && ended == bank_worker_ended_before)
		return;
	bank_worker_ended_before = ended;
	dlist_foreach(iter, &bank_relay_subscriptions)
		dlist_container(BankSubscription, node, iter.cur)->caught_up = false;
}

/*
 * Is a participant to be asked something new? Who appends to a transfer tells, but COMMIT PREPARED
 * does not; that has time until the next poll.
 */
static bool
bank_worker_is_asked(uint32 transfers, TimestampTz now)
{
	static TimestampTz polled_at = 0;
	static uint64 polled_ended = 0;
	bool		asked = transfers != bank_worker_transfers;

	bank_worker_transfers = transfers;
	if (now - polled_at >= INT64CONST(1000) * BANK_WORKER_POLL)
	{
		uint64		ended = bank_worker_ended();

		asked |= ended != polled_ended;
		polled_ended = ended;
		polled_at = now;
	}
	return asked;
}

/* Show in shared memory what is going on. */
static void
bank_worker_show(void)
{
	dlist_iter	iter;
	uint32		items = 0;

	dlist_foreach(iter, &bank_relay_subscriptions)
		items += dlist_container(BankSubscription, node, iter.cur)->n_items;
	pg_atomic_write_u32(&bank_worker_slot->items, items);
	pg_atomic_write_u32(&bank_worker_slot->in_flight,
						bank_sender_in_flight + bank_exchanges_in_flight);
	pg_atomic_write_u64(&bank_worker_slot->bytes, bank_relay_bytes);
	pg_atomic_write_u64(&bank_worker_slot->delivered, bank_sender_delivered);
	pg_atomic_write_u64(&bank_worker_slot->answered, bank_exchanges_answered);
}

/* Wait until there is something to do. */
static void
bank_worker_wait(void)
{
	bool		attentive = bank_worker_is_attentive();
	TimestampTz next = bank_worker_next();
	int64		timeout = -1;

	pg_atomic_write_u32(&bank_worker_slot->attentive, attentive);
	pg_memory_barrier();
	if (next != 0)
		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);
	/* when nobody subscribes, new holds are still to be swept when they are over */
	if (timeout < 0 || timeout > BANK_WORKER_POLL)
		timeout = BANK_WORKER_POLL;
	if (bank_worker_needs_transaction(GetCurrentTimestamp()) ||
		bank_exchanges_need_transaction(GetCurrentTimestamp()) ||
		pg_atomic_read_u32(&bank_worker_slot->transfers) != bank_worker_transfers ||
		(attentive &&
		 pg_atomic_read_u32(&bank_worker_slot->commits) != bank_worker_commits) ||
		pg_atomic_read_u32(&bank_worker_slot->changes) != bank_worker_changes)
		timeout = 0;
	else if (timeout < 0 || timeout >= 1000)
		(void) pgstat_report_stat(true);
	bank_waiting_wait(timeout);
}

/* What the database or the role is set to must not matter here. */
static void
bank_worker_settings(void)
{
	static const char *const settings[][2] = {
		{"role", "none"},
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"synchronous_commit", "off"},
		{"session_replication_role", "origin"},
		{"enable_seqscan", "off"},
		{"jit", "off"},
		{"lock_timeout", "0"},
		/* whoever meets the worker in a circle shall go on, not the worker */
		{"deadlock_timeout", "20ms"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"}	/* from PostgreSQL 17 on */
	};
	size_t		i;

	for (i = 0; i < lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

/* One turn of the loop. */
static void
bank_worker_turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	uint32		commits = pg_atomic_read_u32(&bank_worker_slot->commits);
	uint32		changes = pg_atomic_read_u32(&bank_worker_slot->changes);
	uint32		transfers = pg_atomic_read_u32(&bank_worker_slot->transfers);

	if (bank_worker_slot->stop)
		bank_worker_quit(BANK_WORKER_STOPPED);
	if (changes != bank_worker_changes ||
		(bank_relay_reload_at != 0 && bank_relay_reload_at <= now))
	{
		bank_worker_changes = changes;
		bank_worker_load();
		bank_worker_look(true);
		now = GetCurrentTimestamp();
	}
	bank_worker_look(commits != bank_worker_commits);
	bank_sweeps_look(commits != bank_worker_commits);
	bank_exchanges_look(bank_worker_is_asked(transfers, now));
	bank_worker_commits = commits;
	bank_sender_finish(now);
	bank_worker_tick(now);
	bank_exchanges_tick(now);
	/* whatever can go at once goes before the transaction, which takes time */
	bank_worker_send(now);
	bank_worker_flush(now);
	if (bank_worker_needs_transaction(now))
	{
		now = bank_worker_transact();
		bank_worker_send(now);
		bank_worker_flush(now);
	}
	if (bank_exchanges_need_transaction(now))
		bank_worker_exchange();
	bank_worker_show();
}

/* The worker's main function; the argument is the database. */
void
bank_relay_worker_main(Datum argument)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
	if (bank_relay_shared == NULL || !bank_worker_attach())
		proc_exit(0);
	bank_relay_is_worker = true;
	bank_worker_settings();
	bank_worker_owner = ResourceOwnerCreate(NULL, "banking relay");
	bank_worker_context = AllocSetContextCreate(TopMemoryContext, "banking relay turn",
												ALLOCSET_DEFAULT_SIZES);
	bank_worker_between();

	/* whatever was told before has been told to nobody: look at everything first */
	bank_worker_changes = pg_atomic_read_u32(&bank_worker_slot->changes);
	bank_worker_load();
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(bank_worker_context);
		if (ConfigReloadPending)
		{
			BankRelaySink *sink;

			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			bank_sinks_host.allow_private = bank_allow_private_endpoints;
			for (sink = bank_sinks_all; sink != NULL; sink = sink->next)
			{
				if (sink->callbacks->reset != NULL)
					sink->callbacks->reset(sink->state);
			}
		}
		bank_worker_turn();
		bank_worker_wait();
	}
}
