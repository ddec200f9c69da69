/*
 * shared.c
 *		The relay's shared memory, its settings, and what a commit does to it.
 *
 * A backend that has appended events wakes the worker of its database after its commit:
 * it looks for the slot without a lock (a slot's database never changes while it is in
 * use, and a wrong wake-up is harmless), counts, and sets the worker's latch if that asked for
 * it. A database without a slot is shown to the launcher, which finds out what it is.
 *
 * Locks: bank_relay_shared->lock for all that is not atomic; held for moments, never
 * while anything else is waited for.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/notify.h"
#include "adapters/relay/shared.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define BANK_RELAY_TRANCHE "banking_relay"

BankRelayShared *bank_relay_shared = NULL;
bool		bank_allow_private_endpoints = false;
int			bank_relay_memory = 64 * 1024;

static shmem_request_hook_type bank_next_shmem_request_hook = NULL;
static shmem_startup_hook_type bank_next_shmem_startup_hook = NULL;

/* Hook: ask for the memory. */
static void
bank_relay_request(void)
{
	if (bank_next_shmem_request_hook)
		bank_next_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(BankRelayShared)));
	RequestNamedLWLockTranche(BANK_RELAY_TRANCHE, 1);
}

/* Hook: create it, or find it. */
static void
bank_relay_startup(void)
{
	bool		found;
	int			i;

	if (bank_next_shmem_startup_hook)
		bank_next_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	bank_relay_shared = ShmemInitStruct("banking relay", sizeof(BankRelayShared), &found);
	if (!found)
	{
		memset(bank_relay_shared, 0, sizeof(BankRelayShared));
		bank_relay_shared->lock = &GetNamedLWLockTranche(BANK_RELAY_TRANCHE)->lock;
		for (i = 0; i < BANK_RELAY_SLOTS; i++)
		{
			BankRelaySlot *slot = &bank_relay_shared->slots[i];

			pg_atomic_init_u32(&slot->attentive, 0);
			pg_atomic_init_u32(&slot->commits, 0);
			pg_atomic_init_u32(&slot->changes, 0);
			pg_atomic_init_u32(&slot->restores, 0);
			pg_atomic_init_u32(&slot->in_flight, 0);
			pg_atomic_init_u32(&slot->items, 0);
			pg_atomic_init_u64(&slot->bytes, 0);
			pg_atomic_init_u64(&slot->delivered, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Define the settings; preloaded, ask for shared memory and for the launcher. */
void
bank_relay_init(void)
{
	DefineCustomBoolVariable("banking.allow_private_endpoints",
							 "Allows subscriptions to deliver to private and loopback addresses.",
							 NULL, &bank_allow_private_endpoints, false, PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("banking.relay_memory",
							"Memory for the payloads of events on their way, in each database.",
							NULL, &bank_relay_memory, 64 * 1024, 1024, 4 * 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	bank_next_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = bank_relay_request;
	bank_next_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = bank_relay_startup;
	if (!IsBinaryUpgrade)
		bank_relay_launch();
}

/* The slot of a database; create: take a free one if it has none. NULL: none. Under the lock. */
BankRelaySlot *
bank_relay_slot(Oid database, bool create)
{
	BankRelaySlot *unused = NULL;
	int			i;

	for (i = 0; i < BANK_RELAY_SLOTS; i++)
	{
		BankRelaySlot *slot = &bank_relay_shared->slots[i];

		if (slot->database == database)
			return slot;
		if (unused == NULL && slot->state == BANK_RELAY_FREE)
			unused = slot;
	}
	if (!create || unused == NULL)
		return NULL;
	unused->database = database;
	unused->stop = false;
	unused->failures = 0;
	unused->error[0] = '\0';
	return unused;
}

/* A worker shall be started for this slot, not before start_at (0: now). Under the lock. */
void
bank_relay_want(BankRelaySlot *slot, TimestampTz start_at)
{
	slot->state = BANK_RELAY_WANTED;
	slot->stop = false;
	slot->start_at = start_at;
	if (bank_relay_shared->launcher_latch != NULL)
		SetLatch(bank_relay_shared->launcher_latch);
}

/*
 * A database is being dropped: forget that its relay is stopped, or such slots would pile up.
 * If it is not dropped after all, its next commit has a worker find out again.
 */
void
bank_relay_forget(Oid database)
{
	BankRelaySlot *slot;

	if (bank_relay_shared == NULL)
		return;
	bank_relay_lock();
	slot = bank_relay_slot(database, false);
	if (slot != NULL && slot->state == BANK_RELAY_STOPPED)
	{
		slot->state = BANK_RELAY_FREE;
		slot->database = InvalidOid;
	}
	bank_relay_unlock();
}

/* The slot of this backend's database, found without a lock; NULL: it has none. */
static BankRelaySlot *
bank_relay_own_slot(void)
{
	static int	last = 0;
	int			i;

	for (i = 0; i < BANK_RELAY_SLOTS; i++)
	{
		int			at = (last + i) % BANK_RELAY_SLOTS;

		if (bank_relay_shared->slots[at].database == MyDatabaseId)
		{
			last = at;
			return &bank_relay_shared->slots[at];
		}
	}
	return NULL;
}

/* Count a commit. */
static void
bank_relay_count(BankRelaySlot *slot, bool events, bool changes, bool restores)
{
	if (events)
		(void) pg_atomic_fetch_add_u32(&slot->commits, 1);
	if (restores)
		(void) pg_atomic_fetch_add_u32(&slot->restores, 1);
	if (changes)
		(void) pg_atomic_fetch_add_u32(&slot->changes, 1);
}

/*
 * A transaction of this database has committed that appended events, or changed
 * subscriptions; perhaps by a restore. Raises nothing: the transaction is over. A worker that
 * is about to free the slot, as it has found no ledger, sees that count, or we see the slot freed.
 */
void
bank_relay_commit(bool events, bool changes, bool restores)
{
	BankRelaySlot *slot;
	Latch	   *latch;

	if (bank_relay_shared == NULL)
		return;
	slot = bank_relay_own_slot();
	if (slot != NULL)
		bank_relay_count(slot, events, changes, restores);
	if (slot == NULL || slot->database != MyDatabaseId)
	{
		bank_relay_lock();
		slot = bank_relay_slot(MyDatabaseId, true);
		if (slot != NULL && slot->state == BANK_RELAY_FREE)
			bank_relay_want(slot, 0);
		bank_relay_unlock();
		if (slot == NULL)
			return;
		bank_relay_count(slot, events, changes, restores);
	}
	latch = slot->latch;
	if (latch != NULL && (changes || pg_atomic_read_u32(&slot->attentive) != 0))
		SetLatch(latch);
}
