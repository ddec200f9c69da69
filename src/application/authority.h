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

/* An account to pay into, as the caller has named it. */
typedef struct BankPayee
{
	const BankUuid *account_id; /* NULL: no account has the number */
	const char *number;			/* NULL: it was named by its identifier */
} BankPayee;

/* Decides on a payment from an account to another. */
typedef bool (*BankPayment) (const void *argument, const BankAccount *account,
							 const BankAccount *payee_account, BankEvent *event,
							 BankError *error);

extern bool bank_authority_payee_not_found(const BankPayee *payee, BankError *error);
extern bool bank_authority_lock_payee(const BankPayee *payee, BankLocked *locked,
									  BankError *error);

/*
 * Decide a payment. A customer is told what its own account does not allow. What somebody else's
 * does not allow is refused as if that were not there, so that nothing about it can be learned but
 * by paying; the log has the reason. BK001, and what the decision refuses.
 */
extern bool bank_authority_decide(BankPayment decide, const void *argument,
								  const BankAccount *account, const BankAccount *payee_account,
								  const BankPayee *payee, BankEvent *event, BankError *error);

extern bool bank_authority_owns_hold(const BankHold *hold);
extern bool bank_authority_owns_transfer(const BankTransfer *transfer);

#endif							/* BANK_APPLICATION_AUTHORITY_H */
