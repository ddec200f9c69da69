/*
 * accounts.c
 *		Create, freeze, unfreeze, close, limits; stripes of house accounts.
 *
 * Locks: the one account a command is about. A new account with a chosen
 * identifier, and a new house account, wait for a concurrent creation of the same
 * one, before the key is claimed; else see command.c for the order of all steps.
 *
 * A house account is many rows, its stripes, so that deposits never queue on
 * one. A session that finds none for itself opens one, with an
 * account.created event like any other account's.
 */
#include "application/accounts.h"

#include "domain/account_number.h"
#include "domain/currency.h"
#include "application/approvals.h"
#include "application/authority.h"
#include "ports/clock.h"
#include "ports/event_store.h"

#include <stdlib.h>

/* A currency argument. BK014, BK021. */
static bool
bank_accounts_check_currency(const char *currency, BankError *error)
{
	int			exponent;

	if (currency == NULL)
		return bank_command_missing("currency", error);
	return bank_currency_find(currency, strlen(currency), &exponent, error);
}

/* A limit argument must be in the account's currency; NULL leaves *minor as it is. BK003. */
static bool
bank_accounts_take_limit(const BankMoney *limit, const char *currency, int64_t *minor,
						 BankError *error)
{
	if (limit == NULL)
		return true;
	if (memcmp(limit->currency, currency, 3) != 0)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH,
							  "The limit is in %.3s, the account in %.3s.", limit->currency,
							  currency);
	*minor = limit->minor;
	return true;
}

/* A new stream has version 0; expected_version may say so. BK006. */
static bool
bank_accounts_check_new(const BankOptions *options, BankError *error)
{
	return !options->has_expected_version ||
		bank_account_check_version(0, options->expected_version, error);
}

/*
 * Open a customer's account. The outcome is the account.created event.
 * BK003, BK006..BK009, BK011, BK014, BK016..BK018, BK021.
 */
bool
bank_accounts_create(const BankNewAccount *arguments, const BankOptions *options,
					 BankOutcome *outcome, BankError *error)
{
	BankLimits	limits = {0, BANK_NO_LIMIT};
	BankOpening opening;
	BankUuid	account_id;
	BankUuid	nobody;
	bool		exists;
	bool		done;

	memset(&opening, 0, sizeof(opening));
	if (arguments->owner_id == NULL)
		return bank_command_missing("owner_id", error);
	if (arguments->account_type == NULL)
		return bank_command_missing("account_type", error);
	opening.type = bank_account_type_parse(arguments->account_type,
										   strlen(arguments->account_type));
	if (opening.type == BANK_TYPE_UNKNOWN || opening.type == BANK_TYPE_HOUSE)
	{
		bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE,
					   "Customers' accounts have type COURANT or EPARGNE.");
		return opening.type == BANK_TYPE_UNKNOWN ? false :
			bank_error_hint(error, "Open house accounts with bank_create_house_account.");
	}
	if (!bank_accounts_check_currency(arguments->currency, error) ||
		!bank_command_check(options, error) ||
		!bank_authority_check_opening(arguments, error) ||
		!bank_accounts_take_limit(arguments->overdraft_limit, arguments->currency,
								  &limits.overdraft, error) ||
		!bank_accounts_take_limit(arguments->balance_limit, arguments->currency,
								  &limits.balance, error))
		return false;
	opening.has_owner = true;
	opening.owner_id = *arguments->owner_id;

	bank_request_begin(&outcome->request, "create_account", options);
	bank_request_uuid(&outcome->request, "owner_id", arguments->owner_id);
	bank_request_text(&outcome->request, "account_type", bank_account_type_name(opening.type));
	bank_request_text(&outcome->request, "currency", arguments->currency);
	bank_request_uuid(&outcome->request, "account_id", arguments->account_id);
	bank_request_money(&outcome->request, "overdraft_limit", arguments->overdraft_limit);
	bank_request_money(&outcome->request, "balance_limit", arguments->balance_limit);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_approvals_refuse(limits.overdraft, arguments->currency, options, error))
		return false;

	if (arguments->account_id != NULL)
		account_id = *arguments->account_id;
	else
		bank_clock_new_uuid(&account_id);
	if (!bank_accounts_check_new(options, error))
		return false;
	if (arguments->account_id != NULL && bank_uuid_is_house(&account_id))
	{
		bank_error_set(error, BANK_ACCOUNT_EXISTS,
					   "Identifiers of this form belong to house accounts.");
		return bank_error_hint(error, "Take a random UUID, or none.");
	}
	exists = arguments->account_id != NULL && bank_store_identifier_taken(&account_id);
	/*
	 * Perhaps it was this very command that was waited for: a claim finds that. It is
	 * one for no event, lest a refusal under the key answer with the other's opening.
	 */
	if (exists)
		bank_clock_new_uuid(&nobody);
	if (!bank_command_claim(options, exists ? &nobody : &account_id, 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (exists)
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(&account_id, id);
		return bank_error_set(error, BANK_ACCOUNT_EXISTS, "Account: %s", id);
	}
	bank_account_number_make(bank_store_next_account_serial(), opening.number);
	if (!bank_account_decide_create(&account_id, arguments->currency, &limits, &opening,
									&outcome->event, error))
		return false;
	bank_command_append(options, bank_clock_now(), NULL, NULL, outcome);
	return true;
}

/* Decide the opening of a stripe of a house account. BK011, BK014. */
static bool
bank_accounts_decide_stripe(const char *code, const char *currency, const BankHouseLookup *lookup,
							const BankUuid *account_id, BankEvent *event, BankError *error)
{
	BankLimits	limits = {0, BANK_NO_LIMIT};
	BankOpening opening;

	memset(&opening, 0, sizeof(opening));
	opening.type = BANK_TYPE_HOUSE;
	memcpy(opening.house_code, code, strlen(code) + 1);
	opening.stripe = lookup->stripe;
	opening.house_account_id = lookup->house_account_id;
	return bank_account_decide_create(account_id, currency, &limits, &opening, event, error);
}

/*
 * Open a house account in one currency, which makes its code usable in every
 * currency. BK006, BK007, BK011, BK014, BK016..BK019, BK021.
 */
bool
bank_accounts_create_house(const char *code, const char *currency, const BankOptions *options,
						   BankOutcome *outcome, BankError *error)
{
	BankAccount account;
	BankHouseLookup lookup;
	BankUuid	account_id;
	bool		exists;
	bool		done;

	if (code == NULL)
		return bank_command_missing("code", error);
	if (!bank_accounts_check_currency(currency, error) ||
		!bank_authority_check_staff(error) ||
		!bank_house_code_check(code, strlen(code), error) ||
		!bank_command_check(options, error))
		return false;

	bank_request_begin(&outcome->request, "create_house_account", options);
	bank_request_text(&outcome->request, "code", code);
	bank_request_text(&outcome->request, "currency", currency);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;

	if (!bank_accounts_check_new(options, error))
		return false;
	exists = bank_store_house_exists(code, currency);
	bank_clock_new_uuid(&account_id);
	/* perhaps it was this very command that was waited for */
	if (!bank_command_claim(options, &account_id, 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (exists || bank_store_lock_house(code, currency, &account, &lookup) || lookup.known)
		return bank_error_set(error, BANK_ACCOUNT_EXISTS, "House account: %s in %s", code,
							  currency);
	if (!bank_accounts_decide_stripe(code, currency, &lookup, &account_id, &outcome->event, error))
		return false;
	bank_command_append(options, bank_clock_now(), NULL, NULL, outcome);
	return true;
}

/* Nothing is pending yet. */
static void
bank_accounts_begin(BankLocked *locked)
{
	locked->to_open = false;
	locked->n_expiries = 0;
	locked->before = NULL;
}

/*
 * Lock the stripe of a house account that this command may use; there may be
 * none yet, see BankLocked. An unknown code is a mistake, not a new account.
 * BK001.
 */
bool
bank_accounts_lock_house(const char *code, const char *currency, BankLocked *locked,
						 BankError *error)
{
	BankHouseLookup lookup;
	BankUuid	account_id;

	bank_accounts_begin(locked);
	if (bank_store_lock_house(code, currency, &locked->account, &lookup))
		return true;
	if (!lookup.code_known && !bank_house_code_is_builtin(code))
	{
		bank_error_set(error, BANK_ACCOUNT_NOT_FOUND, "House account: %s", code);
		return bank_error_hint(error, "Open it with bank_create_house_account.");
	}
	bank_clock_new_uuid(&account_id);
	if (!bank_accounts_decide_stripe(code, currency, &lookup, &account_id, &locked->opening,
									 error))
		return false;
	locked->to_open = true;
	bank_account_apply(&locked->account, &locked->opening, false);
	return true;
}

/* Decide the expiry of the holds of a locked account whose time is over. */
static void
bank_accounts_expire(BankLocked *locked)
{
	BankHold   *holds;
	int64_t		next_expiry;
	int			n = bank_store_expired_holds(&locked->account.id, locked->at, &holds,
											 &next_expiry);
	int			i;

	locked->before = bank_store_allocate(sizeof(BankAccount));
	*locked->before = locked->account;
	locked->expiries = bank_store_allocate((size_t) n * sizeof(BankEvent *));
	for (i = 0; i < n; i++)
	{
		BankEvent  *event = bank_store_allocate(sizeof(BankEvent));

		bank_hold_expire(&holds[i], &locked->account, event);
		bank_clock_new_uuid(&event->event_id);
		event->recorded_at = locked->at;
		bank_account_apply(&locked->account, event, false);
		locked->expiries[locked->n_expiries++] = event;
	}
	locked->account.next_expiry = next_expiry;
}

/* The same for one account, when the time of the command is known. */
void
bank_accounts_settle_at(BankLocked *locked, int64_t at)
{
	locked->at = at;
	locked->seen_version = locked->account.version;
	if (locked->account.next_expiry <= at)
		bank_accounts_expire(locked);
}

/*
 * With all accounts of the command locked: the time of the command, which is the
 * recorded_at of all its events, so that nothing can expire between its checks and its
 * events. It never decreases along a stream, whatever the clock does. Holds of these
 * accounts that have expired by then are decided to be so, see BankLocked.
 */
int64_t
bank_accounts_settle(BankLocked *const *locked, int n)
{
	int64_t		at = bank_clock_now();
	int			i;

	for (i = 0; i < n; i++)
	{
		if (at < locked[i]->account.recorded_at)
			at = locked[i]->account.recorded_at;
	}
	for (i = 0; i < n; i++)
		bank_accounts_settle_at(locked[i], at);
	return at;
}

/* Refuse unless the account has the version that the options expect, if they do. BK006. */
bool
bank_accounts_check_version(const BankLocked *locked, const BankOptions *options,
							BankError *error)
{
	return !options->has_expected_version ||
		bank_account_check_version(locked->seen_version, options->expected_version, error);
}

/* Append what is pending: the opening of a stripe, the expiry of holds. */
void
bank_accounts_open(BankLocked *locked)
{
	static const BankOptions no_options;
	const BankAccount *before = locked->before;
	BankOutcome outcome;

	if (locked->to_open)
	{
		outcome.event = locked->opening;
		bank_command_append(&no_options, locked->at, NULL, NULL, &outcome);
		bank_account_apply(&locked->account, &outcome.event, false);
		locked->to_open = false;
	}
	if (locked->n_expiries > 0)
	{
		bank_store_append_all(locked->expiries, locked->n_expiries, &before, 1);
		locked->account.position = locked->expiries[locked->n_expiries - 1]->position;
		locked->n_expiries = 0;
	}
}

/*
 * Lock the account with this identifier: a customer's account, or for a house
 * account the stripe that this command may use. BK001.
 */
bool
bank_accounts_lock(const BankUuid *account_id, BankLocked *locked, BankError *error)
{
	char		code[BANK_HOUSE_CODE_TEXT];
	char		currency[4];

	bank_accounts_begin(locked);
	if (bank_store_lock_account(account_id, &locked->account))
		return true;
	if (bank_store_house_of(account_id, code, currency))
		return bank_accounts_lock_house(code, currency, locked, error);
	return bank_command_not_found(account_id, error);
}

/* Order of identifiers, for qsort. */
static int
bank_accounts_compare(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/*
 * Lock those customers' accounts among these that there are, each once and in
 * order: who is about to run several commands in one transaction does not
 * deadlock with another one. Sorts the identifiers.
 */
void
bank_accounts_lock_all(BankUuid *account_ids, int n)
{
	BankAccount *state = bank_store_allocate(sizeof(BankAccount));
	BankAccount **states = bank_store_allocate((size_t) n * sizeof(BankAccount *));
	bool	   *found = bank_store_allocate((size_t) n * sizeof(bool));
	int			different = 0;
	int			i;

	qsort(account_ids, (size_t) n, sizeof(BankUuid), bank_accounts_compare);
	for (i = 0; i < n; i++)
	{
		if (different > 0 && bank_uuid_equal(&account_ids[i], &account_ids[different - 1]))
			continue;
		states[different] = state;	/* nobody looks at it */
		account_ids[different++] = account_ids[i];
	}
	bank_store_lock_accounts(account_ids, different, states, found);
}

/* Which decision a command about one account takes. */
typedef bool (*BankAccountDecision) (const BankAccount *account, BankEvent *event,
									 BankError *error);

/* The common course of the commands about one account that take no further argument. */
static bool
bank_accounts_change(const char *command, const BankUuid *account_id,
					 BankAccountDecision decide, const BankOptions *options,
					 BankOutcome *outcome, BankError *error)
{
	BankLocked	locked;
	BankLocked *const all[] = {&locked};
	const BankAccount *account = &locked.account;
	int64_t		at;
	bool		done;

	if (account_id == NULL)
		return bank_command_missing("account_id", error);
	if (!bank_command_check(options, error) || !bank_authority_check_staff(error))
		return false;
	bank_request_begin(&outcome->request, command, options);
	bank_request_uuid(&outcome->request, "account_id", account_id);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_lock(account_id, &locked, error))
		return false;
	at = bank_accounts_settle(all, 1);
	if (!bank_command_claim(options, &account->id, account->version + 1, outcome, &done,
							error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error))
		return false;
	if (!decide(account, &outcome->event, error))
		return false;
	bank_accounts_open(&locked);
	bank_command_append(options, at, account, NULL, outcome);
	return true;
}

/* BK001, BK006, BK007, BK009, BK010, BK016..BK018, BK021. */
bool
bank_accounts_freeze(const BankUuid *account_id, const BankOptions *options,
					 BankOutcome *outcome, BankError *error)
{
	return bank_accounts_change("freeze", account_id, bank_account_decide_freeze, options,
								outcome, error);
}

/* Errors as for freeze. */
bool
bank_accounts_unfreeze(const BankUuid *account_id, const BankOptions *options,
					   BankOutcome *outcome, BankError *error)
{
	return bank_accounts_change("unfreeze", account_id, bank_account_decide_unfreeze, options,
								outcome, error);
}

/* Errors as for freeze, and BK002. */
bool
bank_accounts_close(const BankUuid *account_id, const BankOptions *options,
					BankOutcome *outcome, BankError *error)
{
	return bank_accounts_change("close", account_id, bank_account_decide_close, options, outcome,
								error);
}

/*
 * Change the limits of an account; one that is NULL stays as it is, the ceiling
 * can be removed. BK001..BK003, BK005..BK009, BK016..BK018, BK021.
 */
bool
bank_accounts_set_limits(const BankUuid *account_id, const BankMoney *overdraft_limit,
						 const BankMoney *balance_limit, bool remove_balance_limit,
						 const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankLimits	limits;
	BankLocked	locked;
	BankLocked *const all[] = {&locked};
	const BankAccount *account = &locked.account;
	int64_t		at;
	bool		done;

	if (account_id == NULL)
		return bank_command_missing("account_id", error);
	if (balance_limit != NULL && remove_balance_limit)
		return bank_error_set(error, BANK_INVALID_AMOUNT,
							  "balance_limit and remove_balance_limit exclude each other.");
	if (!bank_command_check(options, error) || !bank_authority_check_staff(error))
		return false;
	bank_request_begin(&outcome->request, "set_limits", options);
	bank_request_uuid(&outcome->request, "account_id", account_id);
	bank_request_money(&outcome->request, "overdraft_limit", overdraft_limit);
	bank_request_money(&outcome->request, "balance_limit", balance_limit);
	bank_request_text(&outcome->request, "remove_balance_limit",
					  remove_balance_limit ? "remove_balance_limit" : "");
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_lock(account_id, &locked, error))
		return false;
	at = bank_accounts_settle(all, 1);
	if (overdraft_limit != NULL && overdraft_limit->minor > account->limits.overdraft &&
		!bank_approvals_consider(overdraft_limit->minor, overdraft_limit->currency, options,
								outcome, error))
		return false;
	if (!bank_command_claim(options, &account->id, account->version + 1, outcome, &done,
							error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error))
		return false;
	limits = account->limits;
	if (remove_balance_limit)
		limits.balance = BANK_NO_LIMIT;
	if (!bank_accounts_take_limit(overdraft_limit, account->currency, &limits.overdraft, error) ||
		!bank_accounts_take_limit(balance_limit, account->currency, &limits.balance, error) ||
		!bank_account_decide_limits(account, &limits, &outcome->event, error))
		return false;
	if (outcome->needs_approval)
		return bank_approvals_request(overdraft_limit->minor, overdraft_limit->currency,
									  account_id, at, options, outcome);
	bank_accounts_open(&locked);
	bank_command_append(options, at, account, NULL, outcome);
	return true;
}
