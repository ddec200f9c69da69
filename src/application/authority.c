/*
 * authority.c
 *		What a customer may do with which account.
 *
 * Asked before anything is locked, so that nobody can hold up an account that is not theirs. Locks:
 * the account to pay into, in the order of its caller.
 */
#include "application/authority.h"

#include "ports/event_store.h"
#include "ports/principal.h"

#include <string.h>

/* May the caller act on any account? BK035. */
bool
bank_authority_check_staff(BankError *error)
{
	return !bank_principal_is_customer() ||
		bank_error_set(error, BANK_NOT_ALLOWED, "Customers cannot do this.");
}

/* A customer opens accounts for its own owner, without limits of its own making. BK035. */
bool
bank_authority_check_opening(const BankNewAccount *arguments, BankError *error)
{
	BankUuid	owner_id;

	if (!bank_principal_is_customer())
		return true;
	if (!bank_principal_owner(&owner_id) || !bank_uuid_equal(&owner_id, arguments->owner_id))
		return bank_error_set(error, BANK_NOT_ALLOWED, "Customers open accounts for themselves.");
	if (arguments->account_id != NULL || arguments->overdraft_limit != NULL ||
		arguments->balance_limit != NULL)
		return bank_error_set(error, BANK_NOT_ALLOWED,
							  "Customers choose no identifiers and no limits.");
	return true;
}

/* Does a customer's own owner have this account? True for staff. */
static bool
bank_authority_owns(const BankUuid *account_id)
{
	BankUuid	owner_id;

	return !bank_principal_is_customer() ||
		(bank_principal_owner(&owner_id) && bank_principal_owns(&owner_id, account_id));
}

/* May the caller act for this account? BK001. */
bool
bank_authority_check_own(const BankUuid *account_id, BankError *error)
{
	return bank_authority_owns(account_id) || bank_command_not_found(account_id, error);
}

/* Refuse an account to pay into, in the words of the caller. A customer is told no more. BK001. */
bool
bank_authority_payee_not_found(const BankPayee *payee, BankError *error)
{
	if (payee->number != NULL)
		bank_error_set(error, BANK_ACCOUNT_NOT_FOUND, "Account number: %s", payee->number);
	else
		bank_command_not_found(payee->account_id, error);
	return bank_principal_is_customer() ?
		bank_error_hint(error, "There is no such account, or it cannot take this payment.") :
		false;
}

/*
 * Lock an account to pay into. For a customer one that is not there, or is the bank's own, has
 * version 0 and is refused by bank_authority_decide, after all that its own account does not
 * allow. BK001.
 */
bool
bank_authority_lock_payee(const BankPayee *payee, BankLocked *locked, BankError *error)
{
	BankAccount *account = &locked->account;

	if (!bank_principal_is_customer())
		return (payee->account_id != NULL &&
				bank_accounts_lock(payee->account_id, locked, error)) ||
			bank_authority_payee_not_found(payee, error);
	memset(locked, 0, sizeof(*locked));
	if (payee->account_id != NULL && bank_store_lock_account(payee->account_id, account))
		return true;
	memset(account, 0, sizeof(*account));
	if (payee->account_id != NULL)
		account->id = *payee->account_id;
	account->next_expiry = BANK_NO_EXPIRY;
	return true;
}

/* An account that takes whatever this one pays, in place of the payee's. */
static void
bank_authority_any_payee(const BankAccount *account, const BankAccount *payee, BankAccount *any)
{
	memset(any, 0, sizeof(*any));
	any->id = payee->id;
	any->version = 1;
	any->status = BANK_STATUS_ACTIVE;
	memcpy(any->currency, account->currency, sizeof(any->currency));
	any->limits.balance = BANK_NO_LIMIT;
	any->next_expiry = BANK_NO_EXPIRY;
	any->business_at = INT64_MIN;
	any->opening.type = BANK_TYPE_COURANT;
}

/* See authority.h. */
bool
bank_authority_decide(BankPayment decide, const void *argument, const BankAccount *account,
					  const BankAccount *payee_account, const BankPayee *payee, BankEvent *event,
					  BankError *error)
{
	bool		there = payee_account->version > 0;
	BankAccount any;
	BankError	own;

	if (there && decide(argument, account, payee_account, event, error))
		return true;
	if (there && bank_authority_owns(&payee_account->id))
		return false;
	bank_authority_any_payee(account, payee_account, &any);
	if (!decide(argument, account, &any, event, &own))
	{
		*error = own;
		return false;
	}
	if (!there)
		return bank_authority_payee_not_found(payee, error);
	bank_authority_payee_not_found(payee, &own);
	bank_error_hide(error, own.code, "%s", own.detail);
	return bank_error_hint(error, "%s", own.hint);
}

/* May the caller resolve this hold? A customer only what was made on its behalf. */
bool
bank_authority_owns_hold(const BankHold *hold)
{
	BankUuid	owner_id;

	return !bank_principal_is_customer() ||
		(bank_principal_owner(&owner_id) && bank_principal_owns(&owner_id, &hold->account_id) &&
		 bank_principal_made(&owner_id, hold));
}

/* May the caller ask for the money of this transfer back? */
bool
bank_authority_owns_transfer(const BankTransfer *transfer)
{
	return !transfer->has_account || bank_authority_owns(&transfer->account_id);
}
