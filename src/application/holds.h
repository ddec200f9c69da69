/*
 * holds.h
 *		Use cases of holds: reserve money, capture it, release it, expire what is over.
 *
 * Conventions as in movements.h.
 */
#ifndef BANK_APPLICATION_HOLDS_H
#define BANK_APPLICATION_HOLDS_H

#include "application/command.h"

extern bool bank_holds_create(const BankUuid *account_id, const BankMoney *amount,
							  const int64_t *expires_in, const BankOptions *options,
							  BankOutcome *outcome, BankError *error);

/* amount NULL: all; to_account NULL: the house account with this code */
extern bool bank_holds_capture(const BankUuid *hold_id, const BankMoney *amount,
							   const BankUuid *to_account, const char *house_code,
							   const BankOptions *options, BankOutcome *outcome,
							   BankError *error);
extern bool bank_holds_release(const BankUuid *hold_id, const BankOptions *options,
							   BankOutcome *outcome, BankError *error);

/* Append the expiry of holds whose time is over, of up to max accounts; how many holds. */
extern int64_t bank_holds_expire(int max);

/* The same for these accounts, in the order of their identifiers. */
extern int64_t bank_holds_expire_accounts(const BankUuid *account_ids, int n);

#endif							/* BANK_APPLICATION_HOLDS_H */
