/*
 * movements.h
 *		Use cases that move money: deposit, withdrawal, transfer.
 *
 * A NULL pointer for a required argument is refused with BK021. On success the
 * outcome is filled and true returned; else *error says why and no event was
 * written: the caller raises, or answers after bank_command_keep_refusal.
 */
#ifndef BANK_APPLICATION_MOVEMENTS_H
#define BANK_APPLICATION_MOVEMENTS_H

#include "application/command.h"

extern bool bank_movements_deposit(const BankUuid *account_id, const BankMoney *amount,
								   const char *house_code, const BankOptions *options,
								   BankOutcome *outcome, BankError *error);
extern bool bank_movements_withdraw(const BankUuid *account_id, const BankMoney *amount,
									const char *house_code, const BankOptions *options,
									BankOutcome *outcome, BankError *error);

/*
 * Money goes from one account to another, either of which may be a house account. The other one is
 * named by its identifier or, if to_number is not NULL, by its number. The aggregate, whose version
 * expected_version speaks of, is the source. BK001..BK009, BK015..BK018, BK021.
 */
extern bool bank_movements_transfer(const BankUuid *from_account, const BankUuid *to_account,
									const char *to_number, const BankMoney *amount,
									const BankOptions *options, BankOutcome *outcome,
									BankError *error);

#endif							/* BANK_APPLICATION_MOVEMENTS_H */
