/*
 * projection.h
 *		From events to accounts, in memory: the one way read models are made, used
 *		by the trigger, by bank_rebuild and by bank_verify.
 */
#ifndef BANK_STORE_PROJECTION_H
#define BANK_STORE_PROJECTION_H

#include "domain/account.h"

#include "utils/palloc.h"

/* An account as far as the events given so far have made it. */
typedef struct BankProjected
{
	bool		seen;			/* for the use of whoever walks over the accounts */
	int64_t		old_version;	/* version when it was loaded; 0: it was not there */
	BankAccount account;
	struct BankProjected *next; /* in the order of first touch */
} BankProjected;

/* A movement whose business time lies before that of an earlier one of the stream. */
typedef struct BankBackdated
{
	BankUuid	account_id;
	int64_t		version;
	int64_t		business_at;
	int64_t		latest_before;
	int64_t		amount;			/* signed */
} BankBackdated;

typedef struct BankProjection BankProjection;

/* Fill *account with the state before the first event given, or return false: it is new. */
typedef bool (*BankProjectionLoad) (const BankUuid *account_id, BankAccount *account);

/* Told of every back-dated movement, in order. */
typedef void (*BankProjectionBackdated) (const BankBackdated *movement, void *argument);

extern BankProjection *bank_projection_create(MemoryContext context, BankProjectionLoad load,
											  BankProjectionBackdated backdated, void *argument);
extern void bank_projection_load(BankProjection *projection, const BankUuid *id);
extern unsigned bank_projection_add(BankProjection *projection, const BankEvent *event,
									const BankUuid **flawed);
extern BankProjected *bank_projection_find(BankProjection *projection, const BankUuid *id);

/* The account touched first; follow next for the others. */
extern BankProjected *bank_projection_first(const BankProjection *projection);
extern uint32 bank_projection_size(const BankProjection *projection);

#endif							/* BANK_STORE_PROJECTION_H */
