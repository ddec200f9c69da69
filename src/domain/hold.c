/*
 * hold.c
 *		The rules of a hold.
 *
 * Pure C, no allocation. Locks: the caller holds those of all accounts given,
 * see hold.h.
 */
#include "domain/hold.h"
#include "domain/currency.h"

#include <stdio.h>

static const char *const bank_hold_status_names[] = {"OPEN", "CAPTURED", "RELEASED", "EXPIRED"};

/* Stored name of a status; must not be BANK_HOLD_UNKNOWN. */
const char *
bank_hold_status_name(BankHoldStatus status)
{
	return bank_hold_status_names[status];
}

/* Status of a stored name, or BANK_HOLD_UNKNOWN. */
BankHoldStatus
bank_hold_status_parse(const char *name, size_t len)
{
	int			i;

	for (i = 0; i < BANK_HOLD_UNKNOWN; i++)
	{
		if (strlen(bank_hold_status_names[i]) == len &&
			memcmp(bank_hold_status_names[i], name, len) == 0)
			break;
	}
	return (BankHoldStatus) i;
}

/* See hold.h. */
int64_t
bank_interval_microseconds(int64_t microseconds, int64_t days, int64_t months)
{
	int64_t		span;

	if (__builtin_mul_overflow(months, INT64_C(30), &months) ||
		!bank_add_int64(days, months, &days) ||
		__builtin_mul_overflow(days, INT64_C(86400000000), &span) ||
		!bank_add_int64(span, microseconds, &span))
		return INT64_MAX;
	return span;
}

/* How long a hold lasts, in microseconds: something, and not for ever. BK013. */
bool
bank_hold_check_duration(int64_t duration, BankError *error)
{
	if (duration > 0 && duration <= BANK_HOLD_LONGEST)
		return true;
	return bank_error_set(error, BANK_INVALID_EXPIRY,
						  "expires_in must be greater than zero and at most ten years.");
}

/* Start an event about a hold of this account. */
static void
bank_hold_event(BankEvent *event, BankEventType type, const BankHold *hold,
				const BankAccount *account)
{
	bank_event_begin(event, type, account);
	event->hold_id = hold->id;
	event->amount = hold->amount;
	event->held = account->held - hold->amount;
}

/*
 * Reserve money of an active customer's account for a time (BANK_NO_EXPIRY: until a
 * transfer resolves it); the event's identifier, which the caller gives it, is that of the hold.
 * BK002..BK005, BK009, BK016.
 */
bool
bank_hold_decide_create(const BankAccount *account, const BankMoney *amount, int64_t at,
						int64_t duration, int64_t business_at, BankEvent *event,
						BankError *error)
{
	int64_t		available;
	int64_t		held;
	int64_t		expires_at;

	if (!bank_account_check_customer(account, error) || !bank_account_check_active(account, error))
		return false;
	if (memcmp(amount->currency, account->currency, 3) != 0)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH,
							  "The amount is in %.3s, the account in %.3s.", amount->currency,
							  account->currency);
	available = bank_account_available(account);
	if (amount->minor > available)
		return bank_account_refuse_amount(account, error);
	if (!bank_add_int64(account->held, amount->minor, &held))
		return bank_error_set(error, BANK_LIMIT_EXCEEDED,
							  "The holds of an account cannot exceed what an amount can be.");
	if (duration == BANK_NO_EXPIRY)
		expires_at = BANK_NO_EXPIRY;
	else if (!bank_add_int64(at, duration, &expires_at))
		return bank_hold_check_duration(INT64_MAX, error);
	if (business_at >= expires_at)
		return bank_error_set(error, BANK_INVALID_DATE,
							  "occurred_at must be before the hold expires.");
	bank_event_begin(event, BANK_EVENT_HOLD_CREATED, account);
	event->amount = amount->minor;
	event->held = held;
	event->expires_at = expires_at;
	return true;
}

/* Refuse unless the hold is open and can be used at this time. BK013, BK016. */
static bool
bank_hold_check_usable(const BankHold *hold, int64_t at, int64_t business_at, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	bank_uuid_format(&hold->id, id);
	if (hold->status == BANK_HOLD_LAPSED || (hold->status == BANK_HOLD_OPEN &&
											 hold->expires_at <= at))
		return bank_error_set(error, BANK_HOLD_EXPIRED, "Hold: %s", id);
	if (hold->status != BANK_HOLD_OPEN)
		return bank_error_set(error, BANK_HOLD_RESOLVED, "Status: %s (hold %s)",
							  bank_hold_status_name(hold->status), id);
	if (business_at < hold->created_at || business_at >= hold->expires_at)
		return bank_error_set(error, BANK_INVALID_DATE,
							  "occurred_at must not be before the hold, and before it expires.");
	return true;
}

/* A hold that does not expire is a transfer's, and not to be resolved by anybody else. BK013. */
bool
bank_hold_check_own(const BankHold *hold, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	if (hold->expires_at != BANK_NO_EXPIRY)
		return true;
	bank_uuid_format(&hold->id, id);
	bank_error_set(error, BANK_HOLD_OF_TRANSFER, "Transfer: %s", id);
	return bank_error_hint(error, "Ask for the money back with bank_cancel_transfer.");
}

/*
 * Move the held money, or a part of it, from the account to a peer; the rest is
 * free again. BK002, BK003, BK005, BK013, BK015, BK016.
 */
bool
bank_hold_decide_capture(const BankHold *hold, const BankAccount *account,
						 const BankAccount *peer, const BankMoney *amount, int64_t at,
						 int64_t business_at, BankEvent *event, BankError *error)
{
	BankAccount freed = *account;

	if (!bank_hold_check_usable(hold, at, business_at, error))
		return false;
	if (memcmp(amount->currency, hold->currency, 3) != 0)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH,
							  "The amount is in %.3s, the hold in %.3s.", amount->currency,
							  hold->currency);
	if (amount->minor > hold->amount)
	{
		char		text[BANK_MONEY_TEXT];

		bank_minor_format(hold->amount, bank_currency_exponent(hold->currency), text);
		return bank_error_set(error, BANK_LIMIT_EXCEEDED, "Held: %s %.3s", text, hold->currency);
	}
	/* a transfer's money has left already when it is captured */
	if (hold->expires_at == BANK_NO_EXPIRY)
		freed.status = BANK_STATUS_ACTIVE;
	freed.held -= hold->amount;
	if (!bank_account_decide_movement(BANK_EVENT_HOLD_CAPTURED, &freed, peer, amount, event,
									  error))
		return false;
	event->hold_id = hold->id;
	return true;
}

/* Give the held money free; a frozen account does not mind. BK013, BK016. */
bool
bank_hold_decide_release(const BankHold *hold, const BankAccount *account, int64_t at,
						 int64_t business_at, BankEvent *event, BankError *error)
{
	if (!bank_hold_check_usable(hold, at, business_at, error))
		return false;
	bank_hold_event(event, BANK_EVENT_HOLD_RELEASED, hold, account);
	return true;
}

/* What becomes of an open hold whose time is over; it occurred then, whenever it is recorded. */
void
bank_hold_expire(const BankHold *hold, const BankAccount *account, BankEvent *event)
{
	bank_hold_event(event, BANK_EVENT_HOLD_EXPIRED, hold, account);
	event->has_occurred_at = true;
	event->occurred_at = hold->expires_at;
}

/* See hold.h. */
unsigned
bank_hold_check(const BankHold *hold, const BankAccount *account, const BankEvent *event)
{
	int64_t		business_at = bank_event_business_time(event);
	bool		fits;

	if (event->type == BANK_EVENT_HOLD_CREATED)
		return hold->status == BANK_HOLD_UNKNOWN &&
			bank_uuid_equal(&event->hold_id, &event->event_id) &&
			event->expires_at > event->recorded_at &&
			event->expires_at > business_at ? 0 : BANK_FLAW_HOLD;
	if (hold->status != BANK_HOLD_OPEN || event->expires_at != 0 ||
		!bank_uuid_equal(&hold->account_id, &event->aggregate_id))
		return BANK_FLAW_HOLD;
	if (event->held < 0 || account->held - event->held != hold->amount)
		return BANK_FLAW_HELD;
	if (event->type == BANK_EVENT_HOLD_CAPTURED && account->status != BANK_STATUS_ACTIVE &&
		hold->expires_at != BANK_NO_EXPIRY)
		return BANK_FLAW_STATUS;
	if (event->type == BANK_EVENT_HOLD_EXPIRED)
		fits = event->amount == hold->amount && event->recorded_at >= hold->expires_at &&
			event->has_occurred_at && event->occurred_at == hold->expires_at;
	else
		fits = event->recorded_at < hold->expires_at && business_at >= hold->created_at &&
			business_at < hold->expires_at &&
			(event->type == BANK_EVENT_HOLD_CAPTURED ? event->amount <= hold->amount :
			 event->amount == hold->amount);
	return fits ? 0 : BANK_FLAW_HOLD;
}

/* See hold.h. */
void
bank_hold_apply(BankHold *hold, const BankEvent *event)
{
	if (event->type == BANK_EVENT_HOLD_CREATED)
	{
		memset(hold, 0, sizeof(*hold));
		hold->id = event->hold_id;
		hold->account_id = event->aggregate_id;
		memcpy(hold->currency, event->currency, 3);
		hold->status = BANK_HOLD_OPEN;
		hold->amount = event->amount;
		hold->expires_at = event->expires_at;
		hold->created_at = bank_event_business_time(event);
		hold->created_version = event->version;
		hold->created_position = event->position;
		return;
	}
	hold->status = event->type == BANK_EVENT_HOLD_CAPTURED ? BANK_HOLD_CAPTURED :
		event->type == BANK_EVENT_HOLD_RELEASED ? BANK_HOLD_RELEASED : BANK_HOLD_LAPSED;
	hold->captured = event->type == BANK_EVENT_HOLD_CAPTURED ? event->amount : 0;
	hold->resolved_at = bank_event_business_time(event);
	hold->resolved_version = event->version;
	hold->resolved_position = event->position;
}
