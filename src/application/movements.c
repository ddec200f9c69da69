/*
 * movements.c
 *		Deposit, withdrawal and transfer.
 *
 * Locks: customers' accounts in identifier order, then the house account's
 * stripe, which is never waited for; see command.c for the order of all steps.
 */
#include "application/movements.h"

#include "application/accounts.h"
#include "application/authority.h"
#include "ports/event_store.h"

/*
 * The last steps, with both accounts locked: settle them, claim the key, compare the
 * version, decide, append.
 */
static bool
bank_movements_post(BankEventType type, BankLocked *locked_aggregate, BankLocked *locked_peer,
					const BankMoney *amount, const BankOptions *options,
					BankOutcome *outcome, BankError *error)
{
	const BankAccount *aggregate = &locked_aggregate->account;
	const BankAccount *peer = &locked_peer->account;
	BankLocked *const all[] = {locked_aggregate, locked_peer};
	int64_t		at = bank_accounts_settle(all, 2);
	bool		done;

	if (!bank_command_claim(options, &aggregate->id, aggregate->version + 1, outcome,
							&done, error))
		return false;
	if (done)
		return true;
	if (options->has_expected_version && aggregate->opening.type == BANK_TYPE_HOUSE)
		return bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE,
							  "House account %s has no version to expect: "
							  "each of its stripes has its own.",
							  aggregate->opening.house_code);
	if (!bank_accounts_check_version(locked_aggregate, options, error))
		return false;
	if (!bank_account_decide_movement(type, aggregate, peer, amount, &outcome->event, error))
		return bank_authority_refuse(type == BANK_EVENT_DEPOSITED ? aggregate : peer, error);
	bank_accounts_open(locked_aggregate);
	bank_accounts_open(locked_peer);
	bank_command_append(options, at, aggregate, peer, outcome);
	return true;
}

/* Deposit and withdrawal differ in the direction only, which is the event type. */
static bool
bank_movements_with_house(BankEventType type, const char *command, const BankUuid *account_id,
						  const BankMoney *amount, const char *house_code,
						  const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankLocked	locked;
	BankLocked	house;
	const BankAccount *account = &locked.account;
	bool		done;

	if (account_id == NULL)
		return bank_command_missing("account_id", error);
	if (amount == NULL)
		return bank_command_missing("amount", error);
	if (house_code == NULL)
		return bank_command_missing("house_account", error);
	if (!bank_command_check(options, error) ||
		!bank_authority_check_staff(error) ||
		!bank_house_code_check(house_code, strlen(house_code), error))
		return false;

	bank_request_begin(&outcome->request, command, options);
	bank_request_uuid(&outcome->request, account_id);
	bank_request_money(&outcome->request, amount);
	bank_request_text(&outcome->request, house_code);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_account_check_amount(amount, error))
		return false;

	if (!bank_accounts_lock(account_id, &locked, error))
		return false;
	if (account->opening.type == BANK_TYPE_HOUSE)
	{
		bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE,
					   "House account %s cannot be the customer's side.",
					   account->opening.house_code);
		return bank_error_hint(error, "Move money between house accounts with bank_transfer.");
	}
	/* A wrong currency must be refused before it opens a house account in that currency. */
	if (memcmp(account->currency, amount->currency, 3) != 0)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH,
							  "The amount is in %.3s, the account in %.3s.", amount->currency,
							  account->currency);
	if (!bank_accounts_lock_house(house_code, account->currency, &house, error))
		return false;
	return bank_movements_post(type, &locked, &house, amount, options, outcome, error);
}

/* Money comes from a house account to a customer's. BK001..BK008, BK016..BK019, BK021. */
bool
bank_movements_deposit(const BankUuid *account_id, const BankMoney *amount,
					   const char *house_code, const BankOptions *options, BankOutcome *outcome,
					   BankError *error)
{
	return bank_movements_with_house(BANK_EVENT_DEPOSITED, "deposit", account_id, amount,
									 house_code, options, outcome, error);
}

/* Money goes from a customer's account to a house account. Errors as for a deposit. */
bool
bank_movements_withdraw(const BankUuid *account_id, const BankMoney *amount,
						const char *house_code, const BankOptions *options,
						BankOutcome *outcome, BankError *error)
{
	return bank_movements_with_house(BANK_EVENT_WITHDRAWN, "withdraw", account_id, amount,
									 house_code, options, outcome, error);
}

/*
 * Money goes from one account to another, either of which may be a house
 * account. The aggregate, whose version expected_version speaks of, is the
 * source. BK001..BK009, BK015..BK018, BK021.
 */
bool
bank_movements_transfer(const BankUuid *from_account, const BankUuid *to_account,
						const BankMoney *amount, const BankOptions *options,
						BankOutcome *outcome, BankError *error)
{
	BankLocked	from;
	BankLocked	to;
	bool		done;
	bool		from_first;

	if (from_account == NULL)
		return bank_command_missing("from_account", error);
	if (to_account == NULL)
		return bank_command_missing("to_account", error);
	if (amount == NULL)
		return bank_command_missing("amount", error);
	if (!bank_command_check(options, error))
		return false;

	bank_request_begin(&outcome->request, "transfer", options);
	bank_request_uuid(&outcome->request, from_account);
	bank_request_uuid(&outcome->request, to_account);
	bank_request_money(&outcome->request, amount);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_account_check_amount(amount, error) ||
		!bank_authority_check_own(from_account, error))
		return false;

	from_first = bank_uuid_compare(from_account, to_account) <= 0;
	if (!bank_accounts_lock(from_first ? from_account : to_account, from_first ? &from : &to,
							error))
		return false;
	if (bank_uuid_equal(from_account, to_account))
		to = from;
	else if (!bank_accounts_lock(from_first ? to_account : from_account,
								 from_first ? &to : &from, error))
		return false;
	if (!bank_authority_check_payee(&to.account, to_account, error))
		return false;
	return bank_movements_post(BANK_EVENT_TRANSFERRED, &from, &to, amount, options, outcome,
							   error);
}
