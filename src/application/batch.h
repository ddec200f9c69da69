/*
 * batch.h
 *		Use case: many transfers in one call.
 *
 * The outcome is exactly that of the same orders one at a time, in their
 * sequence, except that a chain of linked orders is accepted whole or not at
 * all. An order that is refused touches nothing.
 */
#ifndef BANK_APPLICATION_BATCH_H
#define BANK_APPLICATION_BATCH_H

#include "application/command.h"

#define BANK_BATCH_MAX 65536

/* One transfer that is asked for; NULL stands for an argument that was null. */
typedef struct BankOrder
{
	const BankUuid *from_account;
	const BankUuid *to_account;
	const BankMoney *amount;
	bool		linked;			/* shares the fate of the next order */
	BankOptions options;		/* expected_version is not used */
} BankOrder;

/* What became of it: refused when error is set, else *event. */
typedef struct BankOrderResult
{
	const BankError *error;		/* from the store's allocator; NULL: accepted */
	bool		replayed;
	BankEvent	event;
} BankOrderResult;

extern bool bank_batch_post(const BankOrder *orders, int n, BankOrderResult *results,
							BankError *error);

#endif							/* BANK_APPLICATION_BATCH_H */
