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
	BankUuid	id;				/* hash key, must be first */
	char		status;			/* simplehash's own */
	bool		dirty;			/* events have changed it */
	int64_t		old_version;	/* version when it was loaded; 0: it was not there */
	BankAccount account;
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
extern unsigned bank_projection_add(BankProjection *projection, const BankEvent *event,
									const BankUuid **flawed);
extern BankProjected *bank_projection_find(BankProjection *projection, const BankUuid *id);

/* Walk over all accounts, in no order: for (i = 0; (p = bank_projection_next(projection, &i)); ) */
extern BankProjected *bank_projection_next(BankProjection *projection, uint32 *i);
extern uint32 bank_projection_size(const BankProjection *projection);

#endif							/* BANK_STORE_PROJECTION_H */
