/*
 * authority.c
 *		What a customer may do with which account.
 *
 * Asked before anything is locked, so that nobody can hold up an account that is not theirs. No
 * locks of its own.
 */
#include "application/authority.h"

#include "ports/principal.h"

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

/* May the caller pay into this account, named so? A customer not into the bank's own. BK001. */
bool
bank_authority_check_payee(const BankAccount *account, const BankUuid *account_id,
						   BankError *error)
{
	return account->opening.type != BANK_TYPE_HOUSE || !bank_principal_is_customer() ||
		bank_command_not_found(account_id, error);
}

/*
 * A movement into this account was refused, *error says why. A customer who does not own it is told
 * that it does not take so much, and not where its ceiling is or what its balance. Returns false.
 */
bool
bank_authority_refuse(const BankAccount *payee, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	if (error->code != BANK_LIMIT_EXCEEDED || payee->limits.balance == BANK_NO_LIMIT ||
		bank_authority_owns(&payee->id))
		return false;
	bank_uuid_format(&payee->id, id);
	return bank_error_set(error, BANK_LIMIT_EXCEEDED, "Account: %s", id);
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
