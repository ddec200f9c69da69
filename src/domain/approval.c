/*
 * approval.c
 *		The states of a request for approval.
 *
 * Pure C, no allocation. Locks: the caller holds that of the request, see approval.h.
 */
#include "domain/approval.h"
#include "domain/currency.h"

static const char *const bank_approval_state_names[] = {"pending", "granted", "rejected"};

/* Stored name of a state; must not be BANK_APPROVAL_NONE. */
const char *
bank_approval_state_name(BankApprovalState state)
{
	return bank_approval_state_names[state];
}

/* State of a stored name, or BANK_APPROVAL_NONE. */
BankApprovalState
bank_approval_state_parse(const char *name, size_t len)
{
	int			i;

	for (i = 0; i < BANK_APPROVAL_NONE; i++)
	{
		if (strlen(bank_approval_state_names[i]) == len &&
			memcmp(bank_approval_state_names[i], name, len) == 0)
			break;
	}
	return (BankApprovalState) i;
}

/* See approval.h. */
BankApprovalState
bank_approval_next(BankApprovalState state, BankEventType type)
{
	if (state == BANK_APPROVAL_NONE)
		return type == BANK_EVENT_APPROVAL_REQUESTED ? BANK_APPROVAL_PENDING : BANK_APPROVAL_NONE;
	if (state != BANK_APPROVAL_PENDING)
		return BANK_APPROVAL_NONE;
	return type == BANK_EVENT_APPROVAL_GRANTED ? BANK_APPROVAL_GRANTED :
		type == BANK_EVENT_APPROVAL_REJECTED ? BANK_APPROVAL_REJECTED : BANK_APPROVAL_NONE;
}

/* See approval.h. What has expired can still be rejected. */
bool
bank_approval_decide(const BankApproval *approval, BankEventType type, int64_t at,
					 const BankApprovalTerms *terms, BankEvent *event, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	bank_uuid_format(&approval->id, id);
	if (approval->state == BANK_APPROVAL_NONE && type != BANK_EVENT_APPROVAL_REQUESTED)
		return bank_error_set(error, BANK_APPROVAL_NOT_FOUND, "Request: %s", id);
	if (bank_approval_next(approval->state, type) == BANK_APPROVAL_NONE)
		return bank_error_set(error, BANK_APPROVAL_RESOLVED, "State: %s (request %s)",
							  bank_approval_state_name(approval->state), id);
	if (type == BANK_EVENT_APPROVAL_GRANTED && approval->expires_at <= at)
	{
		bank_error_set(error, BANK_APPROVAL_EXPIRED, "Request: %s", id);
		return bank_error_hint(error, "Ask for it again.");
	}
	memset(event, 0, sizeof(*event));
	event->type = type;
	event->aggregate_id = approval->id;
	event->version = approval->version + 1;
	event->amount = approval->amount;
	memcpy(event->currency, approval->currency, 3);
	event->recorded_at = at;
	event->expires_at = type == BANK_EVENT_APPROVAL_REQUESTED ? approval->expires_at : 0;
	event->limits.balance = BANK_NO_LIMIT;
	event->opening.type = BANK_TYPE_UNKNOWN;
	event->approval = terms;
	return true;
}

/* Does the event say what events of its type say? */
static bool
bank_approval_terms_sound(const BankEvent *event)
{
	const BankApprovalTerms *terms = event->approval;

	if (terms == NULL)
		return false;
	switch (event->type)
	{
		case BANK_EVENT_APPROVAL_REQUESTED:
			return terms->command != NULL && event->expires_at > event->recorded_at;
		case BANK_EVENT_APPROVAL_GRANTED:
			return terms->version > 0;
		default:
			return terms->reason[0] != '\0';
	}
}

/* See account.h. */
unsigned
bank_approval_check(const BankApproval *approval, const BankEvent *event)
{
	bool		first = approval->version == 0;
	unsigned	flaws = 0;

	if (event->has_peer || event->balance != 0 || event->held != 0 || event->has_occurred_at ||
		!bank_event_is_approval(event->type))
		return BANK_FLAW_SHAPE;
	if (event->version != approval->version + 1)
		return BANK_FLAW_VERSION;
	if (bank_approval_next(approval->state, event->type) == BANK_APPROVAL_NONE)
		return BANK_FLAW_STATUS;
	if (!bank_approval_terms_sound(event))
		flaws |= BANK_FLAW_SHAPE;
	if (event->recorded_at == INT64_MIN || event->recorded_at == INT64_MAX ||
		(!first && event->recorded_at < approval->recorded_at))
		flaws |= BANK_FLAW_TIME;
	if (!first && event->position <= approval->position)
		flaws |= BANK_FLAW_POSITION;
	if (event->type == BANK_EVENT_APPROVAL_GRANTED && event->recorded_at >= approval->expires_at)
		flaws |= BANK_FLAW_STATUS;
	if (first ? bank_currency_exponent(event->currency) < 0 :
		memcmp(event->currency, approval->currency, 3) != 0)
		flaws |= BANK_FLAW_CURRENCY;
	if (first ? event->amount <= 0 : event->amount != approval->amount)
		flaws |= BANK_FLAW_AMOUNT;
	return flaws;
}

/* See account.h. */
void
bank_approval_apply(BankApproval *approval, const BankEvent *event)
{
	BankApprovalState next = bank_approval_next(approval->state, event->type);

	if (approval->version == 0)
	{
		memset(approval, 0, sizeof(*approval));
		approval->id = event->aggregate_id;
		approval->state = BANK_APPROVAL_PENDING;
		approval->created_at = event->recorded_at;
		approval->expires_at = event->expires_at;
		approval->amount = event->amount;
		memcpy(approval->currency, event->currency, 3);
		if (event->approval != NULL && event->approval->has_account)
		{
			approval->has_account = true;
			approval->account_id = event->approval->account_id;
		}
	}
	else if (next != BANK_APPROVAL_NONE)
		approval->state = next;
	approval->version = event->version;
	approval->position = event->position;
	approval->recorded_at = event->recorded_at;
}
