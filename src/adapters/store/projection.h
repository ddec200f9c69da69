/*
 * projection.h
 *		From events to accounts, holds and cases, in memory: the one way read models are
 *		made, used by the trigger, by bank_rebuild and by bank_verify.
 */
#ifndef BANK_STORE_PROJECTION_H
#define BANK_STORE_PROJECTION_H

#include "adapters/store/cases.h"
#include "domain/hold.h"

#include "lib/pairingheap.h"
#include "utils/palloc.h"

/* An account as far as the events given so far have made it. */
typedef struct BankProjected
{
	bool		seen;			/* for the use of whoever walks over the accounts */
	int64_t		old_version;	/* version when it was loaded; 0: it was not there */
	BankAccount account;
	pairingheap *open;			/* its open holds among those the events touch; NULL: none yet */
	int			n_holds;		/* how many of its holds the events touch */
	struct BankProjected *next; /* in the order of first touch */
} BankProjected;

/* A hold that the events touch. */
typedef struct BankProjectedHold
{
	bool		seen;			/* for the use of whoever walks over the holds */
	bool		stored;			/* it was there before */
	BankHold	hold;
	BankProjected *owner;
	pairingheap_node node;		/* in owner->open, while the hold is open */
	struct BankProjectedHold *next; /* in the order of first touch */
} BankProjectedHold;

/* A case (cases.h) that the events touch. */
typedef struct BankProjectedCase
{
	bool		seen;			/* for the use of whoever walks over the cases */
	int64_t		old_version;	/* version when it was loaded; 0: it was not there */
	BankCase	state;
	struct BankProjectedCase *next; /* in the order of first touch */
} BankProjectedCase;

/* A movement or hold whose business time lies before that of an earlier one of the stream. */
typedef struct BankBackdated
{
	BankUuid	account_id;
	int64_t		version;
	int64_t		business_at;
	int64_t		latest_before;
	int64_t		amount;			/* added to the balance, signed */
	int64_t		held;			/* added to what is held, signed */
} BankBackdated;

typedef struct BankProjection BankProjection;

/* Fill *account with the state before the first event given, or return false: it is new. */
typedef bool (*BankProjectionLoad) (const BankUuid *account_id, BankAccount *account);

/* Told of every back-dated movement, in order. */
typedef void (*BankProjectionBackdated) (const BankBackdated *movement, void *argument);

/*
 * The holds before the first event: one by its identifier; and the open ones of an
 * account that expire first, up to max of them; and the cases before it.
 * Without, there are none before.
 */
typedef struct BankProjectionStored
{
	bool		(*find) (const BankUuid *hold_id, BankHold *hold);
	int			(*open) (const BankUuid *account_id, int max, BankUuid *hold_ids,
						 int64_t *expiries);
	bool		(*find_case) (BankCaseKind kind, const BankUuid *id, BankCase *c);
} BankProjectionStored;

extern BankProjection *bank_projection_create(MemoryContext context, BankProjectionLoad load,
											  BankProjectionBackdated backdated, void *argument);
extern void bank_projection_stored(BankProjection *projection,
								   const BankProjectionStored *stored);
extern void bank_projection_load(BankProjection *projection, const BankUuid *id);
extern unsigned bank_projection_add(BankProjection *projection, const BankEvent *event,
									const BankUuid **flawed);
extern BankProjected *bank_projection_find(BankProjection *projection, const BankUuid *id);

extern BankProjectedHold *bank_projection_find_hold(BankProjection *projection,
													const BankUuid *id);

/* The hold touched first; follow next for the others. */
extern BankProjectedHold *bank_projection_first_hold(const BankProjection *projection);

/* The same for cases. */
extern BankProjectedCase *bank_projection_find_case(BankProjection *projection,
															const BankUuid *id);
extern BankProjectedCase *bank_projection_first_case(const BankProjection *projection);

/* The account touched first; follow next for the others. */
extern BankProjected *bank_projection_first(const BankProjection *projection);
extern uint32 bank_projection_size(const BankProjection *projection);

#endif							/* BANK_STORE_PROJECTION_H */
