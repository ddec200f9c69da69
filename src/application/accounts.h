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
 * first, holds that have expired may have to be expired first: then account is
 * what these events will make of it, and bank_accounts_open must append them, after
 * all checks of the command.
 */
typedef struct BankLocked
{
	BankAccount account;
	bool		to_open;
	BankEvent	opening;
	int64_t		seen_version;	/* before holds expired: what a caller can have seen */
	int64_t		at;				/* the time of the command */
	BankAccount *before;		/* the account before holds expired; NULL: none has */
	BankEvent **expiries;
	int			n_expiries;
} BankLocked;

extern bool bank_accounts_lock(const BankUuid *account_id, BankLocked *locked, BankError *error);
extern bool bank_accounts_lock_house(const char *code, const char *currency, BankLocked *locked,
									 BankError *error);
extern int64_t bank_accounts_settle(BankLocked *const *locked, int n);
extern void bank_accounts_settle_at(BankLocked *locked, int64_t at);
extern bool bank_accounts_check_version(const BankLocked *locked, const BankOptions *options,
										BankError *error);
extern void bank_accounts_open(BankLocked *locked);
extern void bank_accounts_lock_all(BankUuid *account_ids, int n);

#endif							/* BANK_APPLICATION_ACCOUNTS_H */
