/*
 * transfer.c
 *		The state machine of a transfer between two ledgers.
 *
 * Pure C, no allocation. Locks: the caller holds that of the transfer, see transfer.h.
 */
#include "domain/transfer.h"
#include "domain/currency.h"

static const char *const bank_transfer_state_names[] = {
#define X(symbol, name) name,
	BANK_TRANSFER_STATES(X)
#undef X
};

static const char *const bank_transfer_action_names[] = {"none", "receive", "status", "cancel"};

static const char *const bank_transfer_answer_names[] = {
	"received", "refused", "cancelled", "unknown"
};

/* Every arrow there is: an event leads from one state to another one. */
static const struct
{
	BankTransferState from;
	BankEventType type;
	BankTransferState to;
}			bank_transfer_arrows[] = {
	/* the sender */
	{BANK_TRANSFER_NONE, BANK_EVENT_TRANSFER_INITIATED, BANK_TRANSFER_INITIATED},
	{BANK_TRANSFER_INITIATED, BANK_EVENT_TRANSFER_RESERVED, BANK_TRANSFER_RESERVED},
	{BANK_TRANSFER_RESERVED, BANK_EVENT_TRANSFER_SUBMITTED, BANK_TRANSFER_SUBMITTED},
	{BANK_TRANSFER_RESERVED, BANK_EVENT_TRANSFER_REJECTED, BANK_TRANSFER_REJECTED},
	{BANK_TRANSFER_SUBMITTED, BANK_EVENT_TRANSFER_COMPLETED, BANK_TRANSFER_COMPLETED},
	{BANK_TRANSFER_SUBMITTED, BANK_EVENT_TRANSFER_REJECTED, BANK_TRANSFER_REJECTED},
	{BANK_TRANSFER_SUBMITTED, BANK_EVENT_TRANSFER_CANCEL_REQUESTED, BANK_TRANSFER_CANCELLING},
	{BANK_TRANSFER_SUBMITTED, BANK_EVENT_TRANSFER_IN_DOUBT, BANK_TRANSFER_IN_DOUBT},
	{BANK_TRANSFER_CANCELLING, BANK_EVENT_TRANSFER_COMPLETED, BANK_TRANSFER_COMPLETED},
	{BANK_TRANSFER_CANCELLING, BANK_EVENT_TRANSFER_REJECTED, BANK_TRANSFER_REJECTED},
	{BANK_TRANSFER_CANCELLING, BANK_EVENT_TRANSFER_IN_DOUBT, BANK_TRANSFER_IN_DOUBT},
	{BANK_TRANSFER_COMPLETED, BANK_EVENT_TRANSFER_CANCEL_REQUESTED, BANK_TRANSFER_RETURNING},
	{BANK_TRANSFER_RETURNING, BANK_EVENT_TRANSFER_COMPENSATED, BANK_TRANSFER_COMPENSATED},
	{BANK_TRANSFER_RETURNING, BANK_EVENT_TRANSFER_COMPLETED, BANK_TRANSFER_COMPLETED},
	{BANK_TRANSFER_RETURNING, BANK_EVENT_TRANSFER_IN_DOUBT, BANK_TRANSFER_IN_DOUBT},
	/* the sender's operator; see bank_transfer_next for which of these fit which doubt */
	{BANK_TRANSFER_IN_DOUBT, BANK_EVENT_TRANSFER_SUBMITTED, BANK_TRANSFER_SUBMITTED},
	{BANK_TRANSFER_IN_DOUBT, BANK_EVENT_TRANSFER_CANCEL_REQUESTED, BANK_TRANSFER_CANCELLING},
	{BANK_TRANSFER_IN_DOUBT, BANK_EVENT_TRANSFER_COMPLETED, BANK_TRANSFER_COMPLETED},
	{BANK_TRANSFER_IN_DOUBT, BANK_EVENT_TRANSFER_REJECTED, BANK_TRANSFER_REJECTED},
	{BANK_TRANSFER_IN_DOUBT, BANK_EVENT_TRANSFER_COMPENSATED, BANK_TRANSFER_COMPENSATED},
	/* the receiver */
	{BANK_TRANSFER_NONE, BANK_EVENT_TRANSFER_RECEIVED, BANK_TRANSFER_RECEIVED},
	{BANK_TRANSFER_NONE, BANK_EVENT_TRANSFER_REFUSED, BANK_TRANSFER_REFUSED},
	{BANK_TRANSFER_NONE, BANK_EVENT_TRANSFER_CANCELLED, BANK_TRANSFER_CANCELLED},
	{BANK_TRANSFER_RECEIVED, BANK_EVENT_TRANSFER_CANCELLED, BANK_TRANSFER_CANCELLED},
	{BANK_TRANSFER_RECEIVED, BANK_EVENT_TRANSFER_KEPT, BANK_TRANSFER_KEPT},
};

/* Stored name of a state; must not be BANK_TRANSFER_NONE. */
const char *
bank_transfer_state_name(BankTransferState state)
{
	return bank_transfer_state_names[state];
}

/* State of a stored name, or BANK_TRANSFER_NONE. */
BankTransferState
bank_transfer_state_parse(const char *name, size_t len)
{
	int			i;

	for (i = 0; i < BANK_TRANSFER_NONE; i++)
	{
		if (strlen(bank_transfer_state_names[i]) == len &&
			memcmp(bank_transfer_state_names[i], name, len) == 0)
			break;
	}
	return (BankTransferState) i;
}

/* The word of the protocol for what is asked. */
const char *
bank_transfer_action_name(BankTransferAction action)
{
	return bank_transfer_action_names[action];
}

/* What a word of the protocol answers; BANK_ANSWER_NONE when it is none. */
BankTransferAnswer
bank_transfer_answer_parse(const char *name, size_t len)
{
	int			i;

	for (i = 0; i < BANK_ANSWER_NONE; i++)
	{
		if (strlen(bank_transfer_answer_names[i]) == len &&
			memcmp(bank_transfer_answer_names[i], name, len) == 0)
			break;
	}
	return (BankTransferAnswer) i;
}

/* See transfer.h. */
BankTransferState
bank_transfer_next(BankTransferState state, bool captured, BankEventType type)
{
	size_t		i;

	if (state == BANK_TRANSFER_IN_DOUBT && captured)
	{
		/* the doubt is whether it was given back: it cannot be sent, nor rejected any more */
		if (type == BANK_EVENT_TRANSFER_CANCEL_REQUESTED)
			return BANK_TRANSFER_RETURNING;
		if (type == BANK_EVENT_TRANSFER_SUBMITTED || type == BANK_EVENT_TRANSFER_REJECTED)
			return BANK_TRANSFER_NONE;
	}
	else if (state == BANK_TRANSFER_IN_DOUBT && type == BANK_EVENT_TRANSFER_COMPENSATED)
		return BANK_TRANSFER_NONE;
	for (i = 0; i < sizeof(bank_transfer_arrows) / sizeof(bank_transfer_arrows[0]); i++)
	{
		if (bank_transfer_arrows[i].from == state && bank_transfer_arrows[i].type == type)
			return bank_transfer_arrows[i].to;
	}
	return BANK_TRANSFER_NONE;
}

/* See transfer.h. What was asked once is only asked about, unless it has not arrived. */
BankTransferAction
bank_transfer_action(BankTransferState state, bool asked, bool absent)
{
	switch (state)
	{
		case BANK_TRANSFER_RESERVED:
			return BANK_ACTION_RECEIVE;
		case BANK_TRANSFER_SUBMITTED:
			return asked && !absent ? BANK_ACTION_STATUS : BANK_ACTION_RECEIVE;
		case BANK_TRANSFER_CANCELLING:
		case BANK_TRANSFER_RETURNING:
			return BANK_ACTION_CANCEL;
		default:
			return BANK_ACTION_NONE;
	}
}

/*
 * See transfer.h. A participant that has refused or cancelled a transfer stays with that, and so
 * does one that has answered a cancel with "received": whatever arrives there later,
 * or late, finds the same. So an answer decides however old it is; but while a cancel is under
 * way, "received" only as the answer to a cancel, for what has been received can
 * still be given back. "unknown" never decides: the request may still be on its way.
 */
BankEventType
bank_transfer_conclude(BankTransferState state, BankTransferAction asked,
					   BankTransferAnswer answer)
{
	bool		never = answer == BANK_ANSWER_REFUSED || answer == BANK_ANSWER_CANCELLED;

	if (answer == BANK_ANSWER_NONE || answer == BANK_ANSWER_UNKNOWN)
		return BANK_EVENT_UNKNOWN;
	if (!never && state != BANK_TRANSFER_SUBMITTED && asked != BANK_ACTION_CANCEL)
		return BANK_EVENT_UNKNOWN;
	if (state == BANK_TRANSFER_SUBMITTED || state == BANK_TRANSFER_CANCELLING)
		return never ? BANK_EVENT_TRANSFER_REJECTED : BANK_EVENT_TRANSFER_COMPLETED;
	if (state == BANK_TRANSFER_RETURNING)
		return never ? BANK_EVENT_TRANSFER_COMPENSATED : BANK_EVENT_TRANSFER_COMPLETED;
	return BANK_EVENT_UNKNOWN;
}

/* See transfer.h. What was never sent is known not to have arrived. */
BankEventType
bank_transfer_expire(BankTransferState state)
{
	if (state == BANK_TRANSFER_RESERVED)
		return BANK_EVENT_TRANSFER_REJECTED;
	return bank_transfer_is_driven(state) ? BANK_EVENT_TRANSFER_IN_DOUBT : BANK_EVENT_UNKNOWN;
}

/* See transfer.h. */
bool
bank_transfer_decide(const BankTransfer *transfer, BankEventType type,
					 const BankTransferTerms *terms, BankEvent *event, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	if (bank_transfer_next(transfer->state, transfer->captured, type) == BANK_TRANSFER_NONE)
	{
		bank_uuid_format(&transfer->id, id);
		if (transfer->state == BANK_TRANSFER_NONE)
			return bank_error_set(error, BANK_TRANSFER_NOT_FOUND, "Transfer: %s", id);
		return bank_error_set(error, bank_transfer_is_driven(transfer->state) ?
							  BANK_TRANSFER_UNDER_WAY : BANK_TRANSFER_RESOLVED,
							  "State: %s (transfer %s)", bank_transfer_state_name(transfer->state),
							  id);
	}
	memset(event, 0, sizeof(*event));
	event->type = type;
	event->aggregate_id = transfer->id;
	event->version = transfer->version + 1;
	event->amount = transfer->amount;
	memcpy(event->currency, transfer->currency, 3);
	event->limits.balance = BANK_NO_LIMIT;
	event->opening.type = BANK_TYPE_UNKNOWN;
	event->terms = terms;
	return true;
}

/* What the participant shall call the account: something, printable, not too long. BK034. */
bool
bank_transfer_check_destination(const char *destination, size_t len, BankError *error)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) destination[i];

		if (c < ' ' || c == 0x7f)
			break;
	}
	if (len > 0 && len < BANK_DESTINATION_TEXT && i == len)
		return true;
	return bank_error_set(error, BANK_INVALID_DESTINATION,
						  "A destination has 1 to %d bytes, none of them a control character.",
						  BANK_DESTINATION_TEXT - 1);
}

/* Does the event say what events of its type say? */
static bool
bank_transfer_terms_sound(const BankTransfer *transfer, const BankEvent *event)
{
	const BankTransferTerms *terms = event->terms;
	bool		moves = event->type == BANK_EVENT_TRANSFER_RECEIVED ||
		event->type == BANK_EVENT_TRANSFER_COMPENSATED ||
		(event->type == BANK_EVENT_TRANSFER_CANCELLED && transfer->captured) ||
		(event->type == BANK_EVENT_TRANSFER_COMPLETED && !transfer->captured);

	if (terms == NULL || (terms->account_version > 0) != moves || terms->account_version < 0 ||
		(moves && !terms->has_account))
		return false;
	if (event->type == BANK_EVENT_TRANSFER_INITIATED)
		return terms->has_account && terms->participant[0] != '\0' &&
			terms->house_code[0] != '\0' && terms->destination[0] != '\0' && terms->deadline > 0;
	if (event->type == BANK_EVENT_TRANSFER_RECEIVED)
		return terms->house_code[0] != '\0';
	if (event->type == BANK_EVENT_TRANSFER_CANCEL_REQUESTED)
		return terms->deadline > 0;
	return true;
}

/* See account.h. */
unsigned
bank_transfer_check(const BankTransfer *transfer, const BankEvent *event)
{
	bool		first = transfer->version == 0;
	unsigned	flaws = 0;

	if (event->has_peer || event->balance != 0 || event->held != 0 || event->has_occurred_at ||
		!bank_event_is_transfer(event->type))
		return BANK_FLAW_SHAPE;
	if (event->version != transfer->version + 1)
		return BANK_FLAW_VERSION;
	if (bank_transfer_next(transfer->state, transfer->captured, event->type) ==
		BANK_TRANSFER_NONE)
		return BANK_FLAW_STATUS;
	if (!bank_transfer_terms_sound(transfer, event))
		flaws |= BANK_FLAW_SHAPE;
	if (event->recorded_at == INT64_MIN || event->recorded_at == INT64_MAX ||
		(!first && event->recorded_at < transfer->recorded_at))
		flaws |= BANK_FLAW_TIME;
	if (!first && event->position <= transfer->position)
		flaws |= BANK_FLAW_POSITION;
	if (first ? bank_currency_exponent(event->currency) < 0 && event->amount != 0 :
		memcmp(event->currency, transfer->currency, 3) != 0)
		flaws |= BANK_FLAW_CURRENCY;
	if (first ? event->amount < 0 ||
		(event->amount == 0 && event->type != BANK_EVENT_TRANSFER_REFUSED &&
		 event->type != BANK_EVENT_TRANSFER_CANCELLED) :
		event->amount != transfer->amount)
		flaws |= BANK_FLAW_AMOUNT;
	return flaws;
}

/* The first event of a transfer says who and what. */
static void
bank_transfer_begin(BankTransfer *transfer, const BankEvent *event,
					const BankTransferTerms *terms)
{
	memset(transfer, 0, sizeof(*transfer));
	transfer->id = event->aggregate_id;
	transfer->state = BANK_TRANSFER_NONE;
	transfer->created_at = event->recorded_at;
	transfer->amount = event->amount;
	memcpy(transfer->currency, event->currency, 3);
	transfer->has_account = terms->has_account;
	transfer->account_id = terms->account_id;
	memcpy(transfer->participant, terms->participant, sizeof(transfer->participant));
	memcpy(transfer->house_code, terms->house_code, sizeof(transfer->house_code));
	memcpy(transfer->destination, terms->destination, sizeof(transfer->destination));
}

/* See account.h. */
void
bank_transfer_apply(BankTransfer *transfer, const BankEvent *event)
{
	static const BankTransferTerms nothing;
	const BankTransferTerms *terms = event->terms == NULL ? &nothing : event->terms;
	BankTransferState next = bank_transfer_next(transfer->state, transfer->captured, event->type);

	if (transfer->version == 0)
		bank_transfer_begin(transfer, event, terms);
	if (next != BANK_TRANSFER_NONE)
		transfer->state = next;
	switch (transfer->state)
	{
		case BANK_TRANSFER_COMPLETED:
		case BANK_TRANSFER_RECEIVED:
			transfer->captured = true;
			break;
		case BANK_TRANSFER_COMPENSATED:
		case BANK_TRANSFER_CANCELLED:
			transfer->captured = false;
			break;
		default:
			break;
	}
	if (terms->deadline > 0)
		transfer->deadline = terms->deadline;
	memcpy(transfer->code, terms->code, sizeof(transfer->code));
	memcpy(transfer->reason, terms->reason, sizeof(transfer->reason));
	transfer->version = event->version;
	transfer->position = event->position;
	transfer->recorded_at = event->recorded_at;
}
