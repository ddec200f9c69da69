/*
 * shared.h
 *		What the launcher, the workers and all other processes know of each other, in shared
 *		memory. It is there when the library is preloaded; else nobody delivers.
 */
#ifndef BANK_RELAY_SHARED_H
#define BANK_RELAY_SHARED_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

/* So many databases can have a worker at a time. */
#define BANK_RELAY_SLOTS 128

typedef enum BankRelayState
{
	BANK_RELAY_FREE,			/* the slot is nobody's */
	BANK_RELAY_WANTED,			/* a worker shall be started when its time has come */
	BANK_RELAY_STARTING,		/* the launcher has asked for one */
	BANK_RELAY_RUNNING,
	BANK_RELAY_STOPPED			/* by bank_relay_stop: until bank_relay_start */
} BankRelayState;

/* One database. Fields that are not atomic: under the lock. */
typedef struct BankRelaySlot
{
	Oid			database;
	BankRelayState state;
	bool		stop;			/* the worker shall end */
	pid_t		pid;			/* of the worker, 0: there is none */
	Latch	   *latch;			/* of the worker */
	TimestampTz started_at;
	TimestampTz start_at;		/* wanted: not before */
	int			failures;		/* consecutive ends that nobody asked for */
	char		error[160];		/* why there is no worker although there should be */

	pg_atomic_uint32 attentive; /* shall a commit set the latch? */
	pg_atomic_uint32 commits;	/* transactions that appended events */
	pg_atomic_uint32 changes;	/* transactions that changed subscriptions */
	pg_atomic_uint32 restores;	/* transactions that restored deliveries, or events */
	pg_atomic_uint32 in_flight; /* requests under way */
	pg_atomic_uint32 items;		/* events in the worker's memory */
	pg_atomic_uint64 bytes;		/* memory of their payloads */
	pg_atomic_uint64 delivered; /* events delivered since the worker's start */
} BankRelaySlot;

typedef struct BankRelayShared
{
	LWLock	   *lock;
	pid_t		launcher;		/* 0: there is none */
	Latch	   *launcher_latch;
	BankRelaySlot slots[BANK_RELAY_SLOTS];
} BankRelayShared;

extern BankRelayShared *bank_relay_shared;

extern void bank_relay_init(void);
extern BankRelaySlot *bank_relay_slot(Oid database, bool create);
extern void bank_relay_want(BankRelaySlot *slot, TimestampTz start_at);
extern void bank_relay_commit(bool events, bool changes, bool restores);
extern void bank_relay_launch(void);

/* Begin and end of what is under the lock. */
static inline void
bank_relay_lock(void)
{
	LWLockAcquire(bank_relay_shared->lock, LW_EXCLUSIVE);
}

static inline void
bank_relay_unlock(void)
{
	LWLockRelease(bank_relay_shared->lock);
}

/* settings.c */
extern bool bank_allow_private_endpoints;
extern int	bank_relay_memory;	/* kB */

#endif							/* BANK_RELAY_SHARED_H */
