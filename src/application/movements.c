/*
 * movements.c
 *		Deposit, withdrawal and transfer.
 *
 * Locks: customers' accounts in identifier order, then the house account's
 * stripe, which is never waited for; see command.c for the order of all steps.
 */
#include "application/movements.h"

#include "application/accounts.h"
#include "application/approvals.h"
#include "application/authority.h"
#include "domain/account_number.h"
#include "ports/event_store.h"

#include <string.h>

/* What is moved, and which way. */
typedef struct BankMovement
{
	BankEventType type;
	const BankMoney *amount;
} BankMovement;

/* Decide a movement; a BankPayment. */
static bool
bank_movements_decide(const void *argument, const BankAccount *aggregate, const BankAccount *peer,
					  BankEvent *event, BankError *error)
{
	const BankMovement *movement = argument;

	return bank_account_decide_movement(movement->type, aggregate, peer, movement->amount, event,
										error);
}

/*
 * The last steps, with both accounts locked: settle them, claim the key, compare the
 * version, decide, append. account_id is that of the aggregate as the command names it,
 * payee how the peer was named.
 */
static bool
bank_movements_post(BankEventType type, const BankUuid *account_id, BankLocked *locked_aggregate,
					BankLocked *locked_peer, const BankPayee *payee, const BankMoney *amount,
					const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	const BankAccount *aggregate = &locked_aggregate->account;
	const BankAccount *peer = &locked_peer->account;
	BankLocked *const all[] = {locked_aggregate, locked_peer};
	const BankMovement movement = {type, amount};
	int64_t		at = bank_accounts_settle(all, 2);
	bool		done;

	if (!bank_approvals_consider(amount->minor, amount->currency, options, outcome, error))
		return false;
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
	if (!bank_authority_decide(bank_movements_decide, &movement, aggregate, peer, payee,
							   &outcome->event, error))
		return false;
	if (outcome->needs_approval)
		return bank_approvals_request(amount->minor, amount->currency, account_id, at, options,
									  outcome);
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
	const BankPayee payee = {&house.account.id, NULL};
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
	bank_request_uuid(&outcome->request, "account_id", account_id);
	bank_request_money(&outcome->request, "amount", amount);
	bank_request_text(&outcome->request, "house_account", house_code);
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
	return bank_movements_post(type, account_id, &locked, &house, &payee, amount, options, outcome,
							   error);
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

/* Lock both accounts of a transfer, in the order of their identifiers. BK001. */
static bool
bank_movements_lock(const BankUuid *from_account, const BankPayee *payee, BankLocked *from,
					BankLocked *to, BankError *error)
{
	int			order = payee->account_id == NULL ? 1 :
		bank_uuid_compare(from_account, payee->account_id);

	if ((order > 0 && !bank_authority_lock_payee(payee, to, error)) ||
		!bank_accounts_lock(from_account, from, error) ||
		(order < 0 && !bank_authority_lock_payee(payee, to, error)))
		return false;
	if (order == 0)
		*to = *from;
	return true;
}

/* An account number as an argument; that tells nothing about accounts. BK001. */
static bool
bank_movements_check_number(const BankPayee *payee, BankError *error)
{
	if (payee->number == NULL || bank_account_number_check(payee->number, strlen(payee->number)))
		return true;
	bank_authority_payee_not_found(payee, error);
	return bank_error_hint(error, "An account number has twelve digits, the last two of which "
						   "check the others.");
}

/* See movements.h. */
bool
bank_movements_transfer(const BankUuid *from_account, const BankUuid *to_account,
						const char *to_number, const BankMoney *amount,
						const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankPayee	payee = {to_account, to_number};
	BankUuid	numbered;
	BankLocked	from;
	BankLocked	to;
	bool		done;

	if (from_account == NULL)
		return bank_command_missing("from_account", error);
	if (to_account == NULL && to_number == NULL)
		return bank_command_missing("to_account", error);
	if (amount == NULL)
		return bank_command_missing("amount", error);
	if (!bank_command_check(options, error) || !bank_movements_check_number(&payee, error))
		return false;

	bank_request_begin(&outcome->request, "transfer", options);
	bank_request_uuid(&outcome->request, "from_account", from_account);
	if (to_number != NULL)
		bank_request_text(&outcome->request, "to_account_number", to_number);
	else
		bank_request_uuid(&outcome->request, "to_account", to_account);
	bank_request_money(&outcome->request, "amount", amount);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_account_check_amount(amount, error) ||
		!bank_authority_check_own(from_account, error))
		return false;
	if (to_number != NULL)
		payee.account_id = bank_store_find_number(to_number, &numbered) ? &numbered : NULL;
	if (!bank_movements_lock(from_account, &payee, &from, &to, error))
		return false;
	return bank_movements_post(BANK_EVENT_TRANSFERRED, from_account, &from, &to, &payee, amount,
							   options, outcome, error);
}
