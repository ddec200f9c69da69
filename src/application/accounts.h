/*
 * accounts.h
 *		Use cases on one account: create, freeze, unfreeze, close, limits; and the
 *		house accounts.
 *
 * Conventions as in movements.h.
 */
#ifndef BANK_APPLICATION_ACCOUNTS_H
#define BANK_APPLICATION_ACCOUNTS_H

#include "application/command.h"

/* Arguments of bank_accounts_create; NULL where the caller gave none. */
typedef struct BankNewAccount
{
	const BankUuid *owner_id;
	const char *account_type;
	const char *currency;
	const BankUuid *account_id; /* NULL: a fresh one */
	const BankMoney *overdraft_limit;	/* NULL: no overdraft */
	const BankMoney *balance_limit; /* NULL: no ceiling */
} BankNewAccount;

extern bool bank_accounts_create(const BankNewAccount *arguments, const BankOptions *options,
								 BankOutcome *outcome, BankError *error);
extern bool bank_accounts_create_house(const char *code, const char *currency,
									   const BankOptions *options, BankOutcome *outcome,
									   BankError *error);
extern bool bank_accounts_freeze(const BankUuid *account_id, const BankOptions *options,
								 BankOutcome *outcome, BankError *error);
extern bool bank_accounts_unfreeze(const BankUuid *account_id, const BankOptions *options,
								   BankOutcome *outcome, BankError *error);
extern bool bank_accounts_close(const BankUuid *account_id, const BankOptions *options,
								BankOutcome *outcome, BankError *error);
extern bool bank_accounts_set_limits(const BankUuid *account_id,
									 const BankMoney *overdraft_limit,
									 const BankMoney *balance_limit,
									 bool remove_balance_limit, const BankOptions *options,
									 BankOutcome *outcome, BankError *error);

/*
 * An account under lock. A stripe of a house account may have to be opened
 * first: then account is what its opening will make of it, and
 * bank_accounts_open must append that opening, after all checks of the command.
 */
typedef struct BankLocked
{
	BankAccount account;
	bool		to_open;
	BankEvent	opening;
} BankLocked;

extern bool bank_accounts_lock(const BankUuid *account_id, BankLocked *locked, BankError *error);
extern bool bank_accounts_lock_house(const char *code, const char *currency, BankLocked *locked,
									 BankError *error);
extern void bank_accounts_open(BankLocked *locked);
extern void bank_accounts_lock_all(BankUuid *account_ids, int n);

#endif							/* BANK_APPLICATION_ACCOUNTS_H */
