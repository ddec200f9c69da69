/*
 * authority.h
 *		What a customer may do with which account. Staff may do what the server lets them call.
 *
 * A customer is told of what is not theirs just what they are told of what does not exist.
 */
#ifndef BANK_APPLICATION_AUTHORITY_H
#define BANK_APPLICATION_AUTHORITY_H

#include "application/accounts.h"
#include "domain/hold.h"
#include "domain/transfer.h"

extern bool bank_authority_check_staff(BankError *error);
extern bool bank_authority_check_opening(const BankNewAccount *arguments, BankError *error);
extern bool bank_authority_check_own(const BankUuid *account_id, BankError *error);
extern bool bank_authority_check_payee(const BankAccount *account, const BankUuid *account_id,
									   BankError *error);
extern bool bank_authority_refuse(const BankAccount *payee, BankError *error);
extern bool bank_authority_owns_hold(const BankHold *hold);
extern bool bank_authority_owns_transfer(const BankTransfer *transfer);

#endif							/* BANK_APPLICATION_AUTHORITY_H */
