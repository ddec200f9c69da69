/*
 * holds.c
 *		Reserve money, capture it, release it, expire what is over.
 *
 * Locks: the account of the hold, and for a capture the destination's, in identifier
 * order; then the house account's stripe. Which account a hold belongs to is
 * read before it is locked, and never changes; what became of the hold is read under
 * the lock. See command.c for the order of all steps.
 */
#include "application/holds.h"

#include "application/accounts.h"
#include "application/approvals.h"
#include "application/authority.h"
#include "ports/clock.h"
#include "ports/event_store.h"

#include <stdlib.h>

/* The business time of a command that happens at this time. */
static int64_t
bank_holds_business_time(const BankOptions *options, int64_t at)
{
	return options->has_occurred_at ? options->occurred_at : at;
}

/* Find a hold that the caller may resolve, in whatever state. BK013. */
static bool
bank_holds_find(const BankUuid *hold_id, BankHold *hold, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	if (bank_store_find_hold(hold_id, hold) && bank_authority_owns_hold(hold))
		return true;
	bank_uuid_format(hold_id, id);
	return bank_error_set(error, BANK_HOLD_NOT_FOUND, "Hold: %s", id);
}

/*
 * Reserve money. expires_in is in microseconds.
 * BK001..BK009, BK013, BK016..BK018, BK021.
 */
bool
bank_holds_create(const BankUuid *account_id, const BankMoney *amount, const int64_t *expires_in,
				  const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankLocked	locked;
	BankLocked *const all[] = {&locked};
	const BankAccount *account = &locked.account;
	int64_t		at;
	bool		done;

	if (account_id == NULL)
		return bank_command_missing("account_id", error);
	if (amount == NULL)
		return bank_command_missing("amount", error);
	if (expires_in == NULL)
		return bank_command_missing("expires_in", error);
	if (!bank_command_check(options, error) || !bank_hold_check_duration(*expires_in, error))
		return false;
	bank_request_begin(&outcome->request, "hold", options);
	bank_request_uuid(&outcome->request, "account_id", account_id);
	bank_request_money(&outcome->request, "amount", amount);
	bank_request_number(&outcome->request, "expires_in", expires_in);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_account_check_amount(amount, error) ||
		!bank_authority_check_own(account_id, error) ||
		!bank_accounts_lock(account_id, &locked, error))
		return false;
	at = bank_accounts_settle(all, 1);
	if (!bank_approvals_consider(amount->minor, amount->currency, options, outcome, error))
		return false;
	if (!bank_command_claim(options, &account->id, account->version + 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error) ||
		!bank_hold_decide_create(account, amount, at, *expires_in,
								 bank_holds_business_time(options, at), &outcome->event, error))
		return false;
	if (outcome->needs_approval)
		return bank_approvals_request(amount->minor, amount->currency, account_id, at, options,
									  outcome);
	bank_accounts_open(&locked);
	bank_command_append(options, at, account, NULL, outcome);
	return true;
}

/*
 * Lock the account of a hold and the other side of its capture: a customer's or
 * house account by identifier, or the house account with this code. BK001.
 */
static bool
bank_holds_lock(const BankHold *hold, const BankPayee *payee, const char *house_code,
				BankLocked *locked, BankLocked *peer, BankError *error)
{
	const BankUuid *to_account = payee->account_id;
	char		currency[4] = {hold->currency[0], hold->currency[1], hold->currency[2], '\0'};
	int			order;

	if (to_account == NULL)
		return bank_accounts_lock(&hold->account_id, locked, error) &&
			bank_accounts_lock_house(house_code, currency, peer, error);
	order = bank_uuid_compare(&hold->account_id, to_account);
	if ((order > 0 && !bank_authority_lock_payee(payee, peer, error)) ||
		!bank_accounts_lock(&hold->account_id, locked, error) ||
		(order < 0 && !bank_authority_lock_payee(payee, peer, error)))
		return false;
	if (order == 0)
		*peer = *locked;
	return true;
}

/* A capture; see bank_hold_decide_capture. */
typedef struct BankCapture
{
	const BankHold *hold;
	const BankMoney *amount;
	int64_t		at;
	int64_t		business_at;
} BankCapture;

/* Decide a capture; a BankPayment. */
static bool
bank_holds_decide_capture(const void *argument, const BankAccount *account,
						  const BankAccount *peer, BankEvent *event, BankError *error)
{
	const BankCapture *capture = argument;

	return bank_hold_decide_capture(capture->hold, account, peer, capture->amount, capture->at,
									capture->business_at, event, error);
}

/*
 * Move held money, or a part of it, and free the rest. expected_version is that
 * of the hold's account. BK001..BK003, BK005..BK008, BK013, BK015..BK019, BK021.
 */
bool
bank_holds_capture(const BankUuid *hold_id, const BankMoney *amount, const BankUuid *to_account,
				   const char *house_code, const BankOptions *options, BankOutcome *outcome,
				   BankError *error)
{
	BankLocked	locked;
	BankLocked	peer;
	BankLocked *const all[] = {&locked, &peer};
	const BankAccount *account = &locked.account;
	const BankPayee payee = {to_account, NULL};
	BankHold	hold;
	BankMoney	whole;
	BankCapture capture;
	int64_t		at;
	bool		done;

	if (hold_id == NULL)
		return bank_command_missing("hold_id", error);
	if (to_account == NULL && house_code == NULL)
		return bank_command_missing("house_account", error);
	if (!bank_command_check(options, error) ||
		(to_account == NULL && !bank_authority_check_staff(error)) ||
		(to_account == NULL && !bank_house_code_check(house_code, strlen(house_code), error)))
		return false;
	bank_request_begin(&outcome->request, "capture", options);
	bank_request_uuid(&outcome->request, "hold_id", hold_id);
	bank_request_money(&outcome->request, "amount", amount);
	bank_request_uuid(&outcome->request, "to_account", to_account);
	bank_request_text(&outcome->request, "house_account", to_account == NULL ? house_code : "");
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if ((amount != NULL && !bank_account_check_amount(amount, error)) ||
		!bank_holds_find(hold_id, &hold, error) ||
		!bank_holds_lock(&hold, &payee, house_code, &locked, &peer, error))
		return false;
	at = bank_accounts_settle(all, 2);
	if (!bank_approvals_consider(amount != NULL ? amount->minor : hold.amount, hold.currency,
								 options, outcome, error))
		return false;
	if (!bank_command_claim(options, &account->id, account->version + 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error) ||
		!bank_holds_find(hold_id, &hold, error) ||
		!bank_hold_check_own(&hold, error))
		return false;
	if (amount == NULL)
	{
		if (!bank_money_make(hold.amount, hold.currency, &whole, error))
			return false;
		amount = &whole;
	}
	capture = (BankCapture) {&hold, amount, at, bank_holds_business_time(options, at)};
	if (!bank_authority_decide(bank_holds_decide_capture, &capture, account, &peer.account, &payee,
							   &outcome->event, error))
		return false;
	if (outcome->needs_approval)
		return bank_approvals_request(amount->minor, amount->currency, &hold.account_id, at,
									  options, outcome);
	bank_accounts_open(&locked);
	bank_accounts_open(&peer);
	bank_command_append(options, at, account, &peer.account, outcome);
	return true;
}

/* Free held money. BK006, BK007, BK013, BK016..BK018, BK021. */
bool
bank_holds_release(const BankUuid *hold_id, const BankOptions *options, BankOutcome *outcome,
				   BankError *error)
{
	BankLocked	locked;
	BankLocked *const all[] = {&locked};
	const BankAccount *account = &locked.account;
	BankHold	hold;
	int64_t		at;
	bool		done;

	if (hold_id == NULL)
		return bank_command_missing("hold_id", error);
	if (!bank_command_check(options, error))
		return false;
	bank_request_begin(&outcome->request, "release", options);
	bank_request_uuid(&outcome->request, "hold_id", hold_id);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_holds_find(hold_id, &hold, error) ||
		!bank_accounts_lock(&hold.account_id, &locked, error))
		return false;
	at = bank_accounts_settle(all, 1);
	if (!bank_command_claim(options, &account->id, account->version + 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error) ||
		!bank_holds_find(hold_id, &hold, error) ||
		!bank_hold_check_own(&hold, error) ||
		!bank_hold_decide_release(&hold, account, at, bank_holds_business_time(options, at),
								  &outcome->event, error))
		return false;
	bank_accounts_open(&locked);
	bank_command_append(options, at, account, NULL, outcome);
	return true;
}

/* Order of identifiers, for qsort. */
static int
bank_holds_compare(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/* See holds.h. The accounts are locked before anything is written. */
int64_t
bank_holds_expire_accounts(const BankUuid *ids, int n_ids)
{
	BankLocked **all = bank_store_allocate((size_t) n_ids * sizeof(BankLocked *));
	int64_t		expired = 0;
	int			n = 0;
	int			i;

	for (i = 0; i < n_ids; i++)
	{
		BankError	ignored;

		all[n] = bank_store_allocate(sizeof(BankLocked));
		if (bank_accounts_lock(&ids[i], all[n], &ignored))
			n++;
	}
	(void) bank_accounts_settle(all, n);
	for (i = 0; i < n; i++)
	{
		expired += all[i]->n_expiries;
		bank_accounts_open(all[i]);
	}
	return expired;
}

/* See holds.h. */
int64_t
bank_holds_expire(int max)
{
	BankUuid   *ids;
	int			n = bank_store_due_accounts(bank_clock_now(), max, &ids);

	qsort(ids, (size_t) n, sizeof(BankUuid), bank_holds_compare);
	return bank_holds_expire_accounts(ids, n);
}
