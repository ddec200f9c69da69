/*
 * replay.h
 *		Read all events in order and project them; compare the result with the
 *		read models.
 */
#ifndef BANK_STORE_REPLAY_H
#define BANK_STORE_REPLAY_H

#include "adapters/store/projection.h"

#include "nodes/pg_list.h"
#include "utils/hsearch.h"

/* The flaws found, by BankFlaw bit (index: number of the bit), with the first one's sentence. */
#define BANK_FLAW_BITS 12

typedef struct BankFlawCount
{
	int64		count;
	char		first[200];
} BankFlawCount;

/* Order-independent fingerprint of a set of back-dated movements. */
typedef struct BankBackdatedSum
{
	int64		count;
	uint64		hash;
} BankBackdatedSum;

typedef struct BankReplay
{
	BankProjection *projection;
	int64		events;
	BankFlawCount flaws[BANK_FLAW_BITS];
	HTAB	   *actors;			/* identifiers of all actors, as int32 */
	int32		last_actor;
	BankBackdatedSum backdated; /* what the events say */
	List	   *movements;		/* BankBackdated *, when asked for */
	bool		keep_movements;
	MemoryContext context;
} BankReplay;

extern int64 bank_replay_unknown_actors(BankReplay *replay, int32 *first);
extern void bank_replay_events(BankReplay *replay, MemoryContext context, bool keep_movements);
extern BankBackdatedSum bank_replay_stored_backdated(void);

/* Called for every stored row of bank.accounts that is not what the events say. */
typedef void (*BankReplayDifference) (const BankAccount *stored, const BankProjected *projected,
									  void *argument);

typedef void (*BankReplayHoldDifference) (const BankHold *stored,
										  const BankProjectedHold *projected, void *argument);

typedef void (*BankReplayCaseDifference) (const BankCase *stored,
										  const BankProjectedCase *projected, void *argument);

extern void bank_replay_compare_cases(BankReplay *replay, BankReplayCaseDifference difference,
									  void *argument);
extern void bank_replay_compare_holds(BankReplay *replay, BankReplayHoldDifference difference,
									  void *argument);
extern void bank_replay_compare_accounts(BankReplay *replay, BankReplayDifference difference,
										 void *argument);
extern void bank_apply_backdated(const BankBackdated *movement, void *argument);

#endif							/* BANK_STORE_REPLAY_H */
