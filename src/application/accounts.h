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
									 const BankMoney *balance_limit, const BankOptions *options,
									 BankOutcome *outcome, BankError *error);

extern bool bank_accounts_lock(const BankUuid *account_id, BankAccount *account,
							   BankError *error);
extern bool bank_accounts_lock_house(const char *code, const char *currency,
									 BankAccount *account, BankError *error);

#endif							/* BANK_APPLICATION_ACCOUNTS_H */
