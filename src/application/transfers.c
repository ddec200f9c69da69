/*
 * transfers.c
 *		Transfers to and from other ledgers: what the sender, its worker and the receiver do.
 *
 * Locks: the transfer, then its account, then the house account's stripe; see command.c for
 * the order of all steps. The events of a transfer and those of the accounts that go with
 * them are appended together, or not at all.
 */
#include "application/transfers.h"

#include "application/accounts.h"
#include "application/approvals.h"
#include "application/authority.h"
#include "domain/hold.h"
#include "ports/clock.h"
#include "ports/event_store.h"

#include <stdio.h>

static const BankOptions bank_no_options;

/* Room for what an event says. It lives as long as the command. */
static BankTransferTerms *
bank_transfers_terms(void)
{
	return bank_store_allocate(sizeof(BankTransferTerms));
}

/* What a refusal says, as code and sentence. */
static void
bank_transfers_why(BankTransferTerms *terms, const BankError *error)
{
	char		text[2 * BANK_REASON_TEXT];

	snprintf(text, sizeof(text), "%s%s%s", bank_error_message(error->code),
			 error->detail[0] == '\0' ? "" : ": ", error->detail);
	bank_command_text(terms->code, sizeof(terms->code), bank_error_sqlstate(error->code));
	bank_command_text(terms->reason, sizeof(terms->reason), text);
}

/* Give an event that was decided what every event has. */
static void
bank_transfers_complete(BankEvent *event, int64_t at, const void *metadata)
{
	bank_clock_new_uuid(&event->event_id);
	event->recorded_at = at;
	event->metadata = metadata;
}

/* The time of a step that touches no account: never before the last event of the stream. */
static int64_t
bank_transfers_now(const BankTransfer *transfer)
{
	int64_t		now = bank_clock_now();

	return now < transfer->recorded_at ? transfer->recorded_at : now;
}

/* When a transfer of a participant that begins now has to be known. */
static int64_t
bank_transfers_deadline(int64_t at, int64_t duration)
{
	int64_t		deadline;

	return bank_add_int64(at, duration, &deadline) ? deadline : INT64_MAX - 1;
}

/* No participant has a name that is too long; NULL: nobody is named. BK031. */
static bool
bank_transfers_check_name(const char *participant, BankError *error)
{
	return participant == NULL || strlen(participant) < BANK_PARTICIPANT_TEXT ||
		bank_error_set(error, BANK_PARTICIPANT_NOT_FOUND, "Its name is too long.");
}

/* Find a participant. BK031. */
static bool
bank_transfers_participant(const char *name, int64_t *deadline,
						   char house_code[BANK_HOUSE_CODE_TEXT], BankError *error)
{
	return bank_store_find_participant(name, deadline, house_code) ||
		bank_error_set(error, BANK_PARTICIPANT_NOT_FOUND, "Participant: %s", name);
}

/*
 * Reserve money and have it sent.
 * BK001..BK009, BK016..BK018, BK021, BK031, BK034.
 */
bool
bank_transfers_send(const BankNewTransfer *arguments, const BankOptions *options,
					BankOutcome *outcome, BankError *error)
{
	BankLocked	locked;
	BankLocked *const all[] = {&locked};
	const BankAccount *account = &locked.account;
	BankTransfer transfer = {.state = BANK_TRANSFER_NONE};
	BankTransferTerms *terms;
	BankEvent	hold;
	BankEvent	reserved;
	BankEvent  *const events[] = {&outcome->event, &hold, &reserved};
	const void *metadata;
	int64_t		duration;
	int64_t		at;
	bool		done;

	if (arguments->from_account == NULL)
		return bank_command_missing("from_account", error);
	if (arguments->amount == NULL)
		return bank_command_missing("amount", error);
	if (arguments->participant == NULL)
		return bank_command_missing("participant", error);
	if (arguments->destination == NULL)
		return bank_command_missing("destination", error);
	if (!bank_command_check(options, error) ||
		!bank_transfer_check_destination(arguments->destination, strlen(arguments->destination),
										 error))
		return false;
	if (!bank_transfers_check_name(arguments->participant, error))
		return false;
	if (arguments->deadline_in != NULL && (*arguments->deadline_in <= 0 ||
										   *arguments->deadline_in > BANK_HOLD_LONGEST))
		return bank_error_set(error, BANK_INVALID_DATE,
							  "deadline_in must be greater than zero and at most ten years.");
	bank_request_begin(&outcome->request, "send", options);
	bank_request_uuid(&outcome->request, "from_account", arguments->from_account);
	bank_request_money(&outcome->request, "amount", arguments->amount);
	bank_request_number(&outcome->request, "deadline_in", arguments->deadline_in);
	bank_request_text(&outcome->request, "participant", arguments->participant);
	bank_request_text(&outcome->request, "destination", arguments->destination);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	terms = bank_transfers_terms();
	if (!bank_account_check_amount(arguments->amount, error) ||
		!bank_transfers_participant(arguments->participant, &duration, terms->house_code,
									error) ||
		!bank_authority_check_own(arguments->from_account, error) ||
		!bank_accounts_lock(arguments->from_account, &locked, error))
		return false;
	at = bank_accounts_settle(all, 1);
	bank_clock_new_uuid(&transfer.id);
	if (!bank_approvals_consider(arguments->amount->minor, arguments->amount->currency, options,
							outcome, error))
		return false;
	if (!bank_command_claim(options, &transfer.id, 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (!bank_accounts_check_version(&locked, options, error) ||
		!bank_hold_decide_create(account, arguments->amount, at, BANK_NO_EXPIRY,
								 options->has_occurred_at ? options->occurred_at : at, &hold,
								 error))
		return false;
	if (outcome->needs_approval)
		return bank_approvals_request(arguments->amount->minor, arguments->amount->currency,
									  arguments->from_account, at, options, outcome);

	terms->has_account = true;
	terms->account_id = account->id;
	bank_command_text(terms->participant, sizeof(terms->participant), arguments->participant);
	bank_command_text(terms->destination, sizeof(terms->destination), arguments->destination);
	terms->deadline = bank_transfers_deadline(at, arguments->deadline_in != NULL ?
											  *arguments->deadline_in : duration);
	transfer.amount = arguments->amount->minor;
	memcpy(transfer.currency, arguments->amount->currency, 3);
	metadata = bank_store_correlate(options->metadata, &transfer.id);
	if (!bank_transfer_decide(&transfer, BANK_EVENT_TRANSFER_INITIATED, terms, &outcome->event,
							  error))
		return false;
	bank_transfers_complete(&outcome->event, at, options->metadata);
	bank_transfer_apply(&transfer, &outcome->event);
	hold.event_id = hold.hold_id = transfer.id;
	hold.recorded_at = at;
	hold.has_occurred_at = options->has_occurred_at;
	hold.occurred_at = options->occurred_at;
	hold.metadata = metadata;
	if (!bank_transfer_decide(&transfer, BANK_EVENT_TRANSFER_RESERVED, bank_transfers_terms(),
							  &reserved, error))
		return false;
	bank_transfers_complete(&reserved, at, NULL);
	bank_accounts_open(&locked);
	bank_store_append_all(events, 3, &account, 1);
	bank_store_schedule_transfer(&transfer.id, arguments->participant, at);
	return true;
}

/* The accounts of a transfer here, as far as its next event moves money; and what moves it. */
typedef struct BankTransferSides
{
	BankLocked	account;
	BankLocked	house;
	bool		has_house;
	bool		not_final;		/* what was refused is no rule of the account */
	BankEvent	movement;
	int64_t		at;
	bool		has_occurred_at;
	int64_t		occurred_at;
} BankTransferSides;

/* The time of a step that moves money: not before the last event of any stream it touches. */
static void
bank_transfers_settle(const BankTransfer *transfer, BankTransferSides *sides)
{
	int64_t		at = bank_transfers_now(transfer);

	if (at < sides->account.account.recorded_at)
		at = sides->account.account.recorded_at;
	if (sides->has_house && at < sides->house.account.recorded_at)
		at = sides->house.account.recorded_at;
	bank_accounts_settle_at(&sides->account, at);
	if (sides->has_house)
		bank_accounts_settle_at(&sides->house, at);
	sides->at = at;
}

/*
 * The business time of the movement: as asked for; else the time of the step, but not before the
 * hold (NULL: none) that it resolves, which may have been made for a time to come.
 */
static int64_t
bank_transfers_business_time(const BankOptions *options, const BankHold *hold,
							 BankTransferSides *sides)
{
	sides->has_occurred_at = options->has_occurred_at;
	sides->occurred_at = options->occurred_at;
	if (!sides->has_occurred_at && hold != NULL && sides->at < hold->created_at)
	{
		sides->has_occurred_at = true;
		sides->occurred_at = hold->created_at;
	}
	return sides->has_occurred_at ? sides->occurred_at : sides->at;
}

/*
 * Decide on the event of the account that goes with an event of the transfer, and lock what it
 * needs. Money that comes back to an account which cannot take it goes to the house account
 * "suspense". BK001..BK006, BK013, BK015.
 */
static bool
bank_transfers_move(const BankTransfer *transfer, BankEventType type, const BankOptions *options,
					BankTransferSides *sides, BankError *error)
{
	const BankAccount *account = &sides->account.account;
	const BankAccount *house = &sides->house.account;
	char		currency[4] = {transfer->currency[0], transfer->currency[1],
		transfer->currency[2], '\0'};
	BankMoney	amount;
	BankHold	hold;
	int64_t		business_at;

	sides->has_house = type != BANK_EVENT_TRANSFER_REJECTED;
	if (!bank_money_make(transfer->amount, transfer->currency, &amount, error) ||
		!bank_accounts_lock(&transfer->account_id, &sides->account, error))
		return false;
	if (sides->has_house &&
		!bank_accounts_lock_house(transfer->house_code, currency, &sides->house, error))
	{
		sides->not_final = true;
		return false;
	}
	bank_transfers_settle(transfer, sides);
	if (type == BANK_EVENT_TRANSFER_RECEIVED &&
		!bank_accounts_check_version(&sides->account, options, error))
	{
		sides->not_final = true;
		return false;
	}
	business_at = bank_transfers_business_time(options, NULL, sides);
	switch (type)
	{
		case BANK_EVENT_TRANSFER_COMPLETED:
		case BANK_EVENT_TRANSFER_REJECTED:
			if (!bank_store_find_hold(&transfer->id, &hold))
				return bank_error_set(error, BANK_HOLD_NOT_FOUND, "%s", "");
			business_at = bank_transfers_business_time(options, &hold, sides);
			return type == BANK_EVENT_TRANSFER_COMPLETED ?
				bank_hold_decide_capture(&hold, account, house, &amount, sides->at, business_at,
										 &sides->movement, error) :
				bank_hold_decide_release(&hold, account, sides->at, business_at,
										 &sides->movement, error);
		case BANK_EVENT_TRANSFER_RECEIVED:
			return bank_account_decide_movement(BANK_EVENT_DEPOSITED, account, house, &amount,
												&sides->movement, error);
		case BANK_EVENT_TRANSFER_CANCELLED:
			return bank_account_decide_movement(BANK_EVENT_WITHDRAWN, account, house, &amount,
												&sides->movement, error);
		default:				/* BANK_EVENT_TRANSFER_COMPENSATED */
			if (bank_account_decide_movement(BANK_EVENT_DEPOSITED, account, house, &amount,
											 &sides->movement, error))
				return true;
			if (!bank_accounts_lock_house("suspense", currency, &sides->account, error))
				return false;
			bank_transfers_settle(transfer, sides);
			return bank_account_decide_movement(BANK_EVENT_TRANSFERRED, house, account, &amount,
												&sides->movement, error);
	}
}

/*
 * Append an event of a transfer that was decided, and that of its accounts if there is one
 * (sides not NULL). terms are the event's own, completed here.
 */
static void
bank_transfers_append(BankTransfer *transfer, BankEvent *event, BankTransferTerms *terms,
					  BankTransferSides *sides, const BankOptions *options)
{
	const BankAccount *accounts[2];
	BankEvent  *events[2];
	int			n_accounts = 0;
	int			n = 0;
	int64_t		at = sides == NULL ? bank_transfers_now(transfer) : sides->at;

	if (sides != NULL)
	{
		BankEvent  *movement = &sides->movement;

		bank_accounts_open(&sides->account);
		accounts[n_accounts++] = &sides->account.account;
		if (sides->has_house)
		{
			bank_accounts_open(&sides->house);
			accounts[n_accounts++] = &sides->house.account;
		}
		bank_transfers_complete(movement, at,
								bank_store_correlate(options->metadata, &transfer->id));
		movement->has_occurred_at = sides->has_occurred_at;
		movement->occurred_at = sides->occurred_at;
		if (event->type != BANK_EVENT_TRANSFER_REJECTED)
		{
			terms->has_account = true;
			terms->account_id = movement->aggregate_id;
			terms->account_version = movement->version;
		}
		events[n++] = movement;
	}
	bank_transfers_complete(event, at, options->metadata);
	events[n++] = event;
	bank_store_append_all(events, n, accounts, n_accounts);
	bank_transfer_apply(transfer, event);
}

/* Does the event move money, with the transfer as it is? */
static bool
bank_transfers_moves(const BankTransfer *transfer, BankEventType type)
{
	return type == BANK_EVENT_TRANSFER_REJECTED || type == BANK_EVENT_TRANSFER_RECEIVED ||
		type == BANK_EVENT_TRANSFER_COMPENSATED ||
		((type == BANK_EVENT_TRANSFER_COMPLETED) && !transfer->captured) ||
		((type == BANK_EVENT_TRANSFER_CANCELLED) && transfer->captured);
}

/* Decide on a step of a transfer that is there, and on its movement; *sides NULL: it has none. */
static bool
bank_transfers_decide(const BankTransfer *transfer, BankEventType type,
					  const BankTransferTerms *terms, const BankOptions *options,
					  BankEvent *event, BankTransferSides **sides, BankError *error)
{
	*sides = NULL;
	if (!bank_transfer_decide(transfer, type, terms, event, error))
		return false;
	if (!bank_transfers_moves(transfer, type))
		return true;
	*sides = bank_store_allocate(sizeof(BankTransferSides));
	return bank_transfers_move(transfer, type, options, *sides, error);
}

/* A step of a transfer that is there already: decide, append. */
static bool
bank_transfers_step(BankTransfer *transfer, BankEventType type, BankTransferTerms *terms,
					const BankOptions *options, BankEvent *event, BankError *error)
{
	BankTransferSides *sides;

	if (!bank_transfers_decide(transfer, type, terms, options, event, &sides, error))
		return false;
	bank_transfers_append(transfer, event, terms, sides, options);
	if (bank_transfer_is_driven(transfer->state))
	{
		if (type != BANK_EVENT_TRANSFER_SUBMITTED || terms->deadline > 0)
			bank_store_schedule_transfer(&transfer->id, transfer->participant,
										 transfer->recorded_at);
	}
	else if (bank_transfer_is_outgoing(transfer->state))
		bank_store_settle_transfer(&transfer->id);
	return true;
}

/* Lock a transfer that this ledger has sent. BK030. */
static bool
bank_transfers_lock_sent(const BankUuid *transfer_id, BankTransfer *transfer, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	bank_store_lock_transfer(transfer_id, transfer);
	if (transfer->version > 0 && bank_transfer_is_outgoing(transfer->state) &&
		bank_authority_owns_transfer(transfer))
		return true;
	bank_uuid_format(transfer_id, id);
	return bank_error_set(error, BANK_TRANSFER_NOT_FOUND, "Transfer: %s", id);
}

/* The commands about a transfer that was sent, up to the decision. moves: on where its money is. */
static bool
bank_transfers_begin(const BankUuid *transfer_id, bool moves, const BankOptions *options,
					 BankTransfer *transfer, BankOutcome *outcome, bool *done, BankError *error)
{
	if (!bank_command_find(options, outcome, done, error))
		return false;
	if (*done)
		return true;
	if (!bank_transfers_lock_sent(transfer_id, transfer, error))
		return false;
	if (moves &&
		!bank_approvals_consider(transfer->amount, transfer->currency, options, outcome, error))
		return false;
	return bank_command_claim(options, transfer_id, transfer->version + 1, outcome, done,
							  error) &&
		(*done || !options->has_expected_version ||
		 bank_account_check_version(transfer->version, options->expected_version, error));
}

/* Make a step that can be taken a request for approval instead. */
static bool
bank_transfers_request(const BankTransfer *transfer, BankEventType type,
					   const BankTransferTerms *terms, const BankOptions *options,
					   BankOutcome *outcome, BankError *error)
{
	BankTransferSides *sides;

	return bank_transfers_decide(transfer, type, terms, options, &outcome->event, &sides,
								 error) &&
		bank_approvals_request(transfer->amount, transfer->currency, &transfer->account_id,
							   bank_transfers_now(transfer), options, outcome);
}

/*
 * Ask for the money back. What was never sent is rejected at once; else the participant
 * is asked, and whether it can give it back is up to it.
 * BK006, BK007, BK016..BK018, BK021, BK030, BK031.
 */
bool
bank_transfers_cancel(const BankUuid *transfer_id, const BankOptions *options,
					  BankOutcome *outcome, BankError *error)
{
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	char		house_code[BANK_HOUSE_CODE_TEXT];
	int64_t		duration;
	bool		done;

	if (transfer_id == NULL)
		return bank_command_missing("transfer_id", error);
	if (!bank_command_check(options, error))
		return false;
	bank_request_begin(&outcome->request, "cancel_transfer", options);
	bank_request_uuid(&outcome->request, "transfer_id", transfer_id);
	if (!bank_transfers_begin(transfer_id, false, options, &transfer, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (transfer.state == BANK_TRANSFER_RESERVED)
	{
		bank_command_text(terms->reason, sizeof(terms->reason), "Cancelled before it was sent");
		return bank_transfers_step(&transfer, BANK_EVENT_TRANSFER_REJECTED, terms, options,
								   &outcome->event, error);
	}
	if (!bank_transfers_participant(transfer.participant, &duration, house_code, error))
		return false;
	terms->deadline = bank_transfers_deadline(bank_transfers_now(&transfer), duration);
	return bank_transfers_step(&transfer, BANK_EVENT_TRANSFER_CANCEL_REQUESTED, terms, options,
							   &outcome->event, error);
}

/* See transfers.h. BK006, BK007, BK013, BK016..BK018, BK021, BK030, BK031. */
bool
bank_transfers_resolve(const BankUuid *transfer_id, const char *state, const char *reason,
					   const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	char		house_code[BANK_HOUSE_CODE_TEXT];
	BankEventType type;
	int64_t		duration;
	bool		done;

	if (transfer_id == NULL)
		return bank_command_missing("transfer_id", error);
	if (state == NULL)
		return bank_command_missing("state", error);
	switch (bank_transfer_state_parse(state, strlen(state)))
	{
		case BANK_TRANSFER_COMPLETED:
			type = BANK_EVENT_TRANSFER_COMPLETED;
			break;
		case BANK_TRANSFER_REJECTED:
			type = BANK_EVENT_TRANSFER_REJECTED;
			break;
		case BANK_TRANSFER_COMPENSATED:
			type = BANK_EVENT_TRANSFER_COMPENSATED;
			break;
		case BANK_TRANSFER_SUBMITTED:
			type = BANK_EVENT_TRANSFER_SUBMITTED;
			break;
		default:
			return bank_error_set(error, BANK_INVALID_RESOLUTION,
								  "The state is completed, rejected, compensated or submitted.");
	}
	if (!bank_command_check(options, error) || !bank_authority_check_staff(error))
		return false;
	bank_command_text(terms->reason, sizeof(terms->reason), reason);
	bank_request_begin(&outcome->request, "resolve_transfer", options);
	bank_request_uuid(&outcome->request, "transfer_id", transfer_id);
	bank_request_text(&outcome->request, "state", state);
	bank_request_text(&outcome->request, "reason", terms->reason);
	if (!bank_transfers_begin(transfer_id, type != BANK_EVENT_TRANSFER_SUBMITTED, options,
							  &transfer, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (transfer.state != BANK_TRANSFER_IN_DOUBT)
		return bank_error_set(error, bank_transfer_is_driven(transfer.state) ?
							  BANK_TRANSFER_UNDER_WAY : BANK_TRANSFER_RESOLVED,
							  "State: %s", bank_transfer_state_name(transfer.state));
	if (bank_transfer_next(transfer.state, transfer.captured, type) == BANK_TRANSFER_NONE)
		return bank_error_set(error, BANK_INVALID_RESOLUTION, transfer.captured ?
							  "The money has left: it is completed, or compensated." :
							  "The money is held: it is completed, rejected, or submitted again.");
	if (outcome->needs_approval)
		return bank_transfers_request(&transfer, type, terms, options, outcome, error);
	if (type == BANK_EVENT_TRANSFER_SUBMITTED)
	{
		if (!bank_transfers_participant(transfer.participant, &duration, house_code, error))
			return false;
		terms->deadline = bank_transfers_deadline(bank_transfers_now(&transfer), duration);
	}
	return bank_transfers_step(&transfer, type, terms, options, &outcome->event, error);
}

/* Is it the same that was asked for when the transfer came first? */
static bool
bank_transfers_same(const BankTransfer *transfer, const BankIncoming *arguments)
{
	if (bank_transfer_is_outgoing(transfer->state) ||
		(arguments->participant != NULL &&
		 strcmp(transfer->participant, arguments->participant) != 0))
		return false;
	/* a cancel that came first, or a refusal, may not have known more */
	return transfer->amount == 0 || arguments->amount == NULL ||
		(transfer->amount == arguments->amount->minor &&
		 memcmp(transfer->currency, arguments->amount->currency, 3) == 0 &&
		 (!transfer->has_account || arguments->to_account == NULL ||
		  bank_uuid_equal(&transfer->account_id, arguments->to_account)));
}

/* The transfer is known: answer with its last event. BK030 when it is another one. */
static bool
bank_transfers_replay(const BankTransfer *transfer, bool same, BankOutcome *outcome,
					  BankError *error)
{
	char		id[BANK_UUID_TEXT];

	bank_uuid_format(&transfer->id, id);
	if (!same)
		return bank_error_set(error, BANK_TRANSFER_EXISTS, "Transfer: %s", id);
	bank_store_read_event(&transfer->id, transfer->version, &outcome->event);
	outcome->replayed = true;
	return true;
}

/* Refuse what has come, for ever. */
static bool
bank_transfers_refuse(BankTransfer *transfer, BankTransferTerms *terms, const BankError *refusal,
					  const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	bank_transfers_why(terms, refusal);
	if (!bank_transfer_decide(transfer, BANK_EVENT_TRANSFER_REFUSED, terms, &outcome->event,
							  error))
		return false;
	bank_transfers_append(transfer, &outcome->event, terms, NULL, options);
	return true;
}

/* Nothing else may have the identifier of a transfer that is new here. BK030. */
static bool
bank_transfers_check_new(const BankUuid *transfer_id, BankError *error)
{
	return !bank_store_identifier_taken(transfer_id) ||
		bank_error_set(error, BANK_TRANSFER_EXISTS, "An account has this identifier.");
}

/* Begin the transfer that has come. Whether it makes sense is for later. */
static void
bank_transfers_come(const BankIncoming *arguments, BankTransfer *transfer,
					BankTransferTerms *terms)
{
	memset(transfer, 0, sizeof(*transfer));
	transfer->id = *arguments->transfer_id;
	transfer->state = BANK_TRANSFER_NONE;
	memcpy(transfer->currency, "XXX", 3);
	if (arguments->amount != NULL && arguments->amount->minor > 0)
	{
		transfer->amount = arguments->amount->minor;
		memcpy(transfer->currency, arguments->amount->currency, 3);
	}
	if (arguments->to_account != NULL)
	{
		terms->has_account = transfer->has_account = true;
		terms->account_id = transfer->account_id = *arguments->to_account;
	}
	bank_command_text(terms->participant, sizeof(terms->participant), arguments->participant);
	bank_command_text(terms->house_code, sizeof(terms->house_code), arguments->house_account);
	memcpy(transfer->house_code, terms->house_code, sizeof(transfer->house_code));
}

/* See transfers.h. BK006, BK007, BK016..BK019, BK021, BK030, BK031. */
bool
bank_transfers_receive(const BankIncoming *arguments, const BankOptions *options,
					   BankOutcome *outcome, BankError *error)
{
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	BankTransferSides *sides = bank_store_allocate(sizeof(BankTransferSides));
	BankError	refusal;
	bool		done;

	if (arguments->transfer_id == NULL)
		return bank_command_missing("transfer_id", error);
	if (arguments->refusal == NULL && arguments->to_account == NULL)
		return bank_command_missing("to_account", error);
	if (arguments->refusal == NULL && arguments->amount == NULL)
		return bank_command_missing("amount", error);
	if (arguments->house_account == NULL)
		return bank_command_missing("house_account", error);
	if (!bank_command_check(options, error) ||
		!bank_house_code_check(arguments->house_account, strlen(arguments->house_account), error) ||
		!bank_authority_check_staff(error) ||
		!bank_transfers_check_name(arguments->participant, error))
		return false;
	bank_request_begin(&outcome->request, "receive", options);
	bank_request_uuid(&outcome->request, "transfer_id", arguments->transfer_id);
	bank_request_uuid(&outcome->request, "to_account", arguments->to_account);
	bank_request_money(&outcome->request, "amount", arguments->amount);
	bank_request_text(&outcome->request, "house_account", arguments->house_account);
	bank_request_text(&outcome->request, "participant", arguments->participant == NULL ? "" :
					  arguments->participant);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	bank_store_lock_transfer(arguments->transfer_id, &transfer);
	if (transfer.version > 0)
		return bank_transfers_replay(&transfer, bank_transfers_same(&transfer, arguments),
									 outcome, error);
	if (!bank_transfers_check_new(arguments->transfer_id, error))
		return false;
	if (arguments->refusal == NULL &&
		!bank_approvals_consider(arguments->amount->minor, arguments->amount->currency, options,
								outcome, error))
		return false;
	if (!bank_command_claim(options, arguments->transfer_id, 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	bank_transfers_come(arguments, &transfer, terms);
	if (arguments->refusal != NULL)
		return bank_transfers_refuse(&transfer, terms, arguments->refusal, options, outcome,
									 error);
	if (!bank_account_check_amount(arguments->amount, &refusal) ||
		!bank_transfers_move(&transfer, BANK_EVENT_TRANSFER_RECEIVED, options, sides, &refusal))
	{
		*error = refusal;
		return !sides->not_final && !outcome->needs_approval &&
			bank_transfers_refuse(&transfer, terms, &refusal, options, outcome, error);
	}
	if (sides->account.account.opening.type == BANK_TYPE_HOUSE)
	{
		bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE, "It is a house account.");
		refusal = *error;
		return !outcome->needs_approval &&
			bank_transfers_refuse(&transfer, terms, &refusal, options, outcome, error);
	}
	if (outcome->needs_approval)
		return bank_approvals_request(transfer.amount, transfer.currency, &transfer.account_id,
									  sides->at, options, outcome);
	if (!bank_transfer_decide(&transfer, BANK_EVENT_TRANSFER_RECEIVED, terms, &outcome->event,
							  error))
		return false;
	bank_transfers_append(&transfer, &outcome->event, terms, sides, options);
	return true;
}

/* See transfers.h. BK002, BK004, BK006, BK007, BK016..BK018, BK021, BK030, BK031. */
bool
bank_transfers_cancel_received(const BankUuid *transfer_id, const char *participant, bool final,
							   const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankIncoming same = {transfer_id, NULL, NULL, participant, "", NULL};
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	bool		done;

	if (transfer_id == NULL)
		return bank_command_missing("transfer_id", error);
	if (!bank_command_check(options, error) || !bank_transfers_check_name(participant, error) ||
		!bank_authority_check_staff(error))
		return false;
	bank_request_begin(&outcome->request, "cancel_received", options);
	bank_request_uuid(&outcome->request, "transfer_id", transfer_id);
	bank_request_text(&outcome->request, "participant", participant == NULL ? "" : participant);
	if (!bank_command_find(options, outcome, &done, error))
		return false;
	if (done)
		return true;
	bank_store_lock_transfer(transfer_id, &transfer);
	if (transfer.version > 0 && (transfer.state != BANK_TRANSFER_RECEIVED ||
								 !bank_transfers_same(&transfer, &same)))
		return bank_transfers_replay(&transfer, bank_transfers_same(&transfer, &same), outcome,
									 error);
	if (transfer.version == 0 && !bank_transfers_check_new(transfer_id, error))
		return false;
	if (transfer.version > 0 &&
		!bank_approvals_consider(transfer.amount, transfer.currency, options, outcome, error))
		return false;
	if (!bank_command_claim(options, transfer_id, transfer.version + 1, outcome, &done, error))
		return false;
	if (done)
		return true;
	if (options->has_expected_version &&
		!bank_account_check_version(transfer.version, options->expected_version, error))
		return false;
	if (outcome->needs_approval)
		return bank_transfers_request(&transfer, BANK_EVENT_TRANSFER_CANCELLED, terms, options,
									  outcome, error);
	if (transfer.version == 0)
		bank_transfers_come(&same, &transfer, terms);
	if (bank_transfers_step(&transfer, BANK_EVENT_TRANSFER_CANCELLED, terms, options,
							&outcome->event, error))
		return true;
	/* the account has not got it, or cannot give it: it stays where it is */
	if (!final)
		return false;
	bank_transfers_why(terms, error);
	return bank_transfers_step(&transfer, BANK_EVENT_TRANSFER_KEPT, terms, options,
							   &outcome->event, error);
}

/* See transfers.h. */
bool
bank_transfers_submit(const BankUuid *transfer_id)
{
	BankTransfer transfer;
	BankEvent	event;
	BankError	ignored;

	bank_store_lock_transfer(transfer_id, &transfer);
	return transfer.state == BANK_TRANSFER_RESERVED &&
		bank_transfers_step(&transfer, BANK_EVENT_TRANSFER_SUBMITTED, bank_transfers_terms(),
							&bank_no_options, &event, &ignored);
}

/* See transfers.h. */
bool
bank_transfers_conclude(const BankUuid *transfer_id, BankTransferAction asked,
						BankTransferAnswer answer, const char *code, const char *reason)
{
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	BankEventType type;
	BankEvent	event;
	BankError	ignored;

	bank_store_lock_transfer(transfer_id, &transfer);
	type = bank_transfer_conclude(transfer.state, asked, answer);
	if (type == BANK_EVENT_UNKNOWN)
		return false;
	bank_command_text(terms->code, sizeof(terms->code), code);
	bank_command_text(terms->reason, sizeof(terms->reason), reason);
	return bank_transfers_step(&transfer, type, terms, &bank_no_options, &event, &ignored);
}

/* See transfers.h. */
bool
bank_transfers_expire(const BankUuid *transfer_id)
{
	BankTransfer transfer;
	BankTransferTerms *terms = bank_transfers_terms();
	BankEventType type;
	BankEvent	event;
	BankError	ignored;

	bank_store_lock_transfer(transfer_id, &transfer);
	type = bank_transfer_expire(transfer.state);
	if (type == BANK_EVENT_UNKNOWN || transfer.deadline > bank_clock_now())
		return false;
	bank_command_text(terms->reason, sizeof(terms->reason), type == BANK_EVENT_TRANSFER_REJECTED ?
						"Not sent by the deadline" : "Not known at the deadline");
	return bank_transfers_step(&transfer, type, terms, &bank_no_options, &event, &ignored);
}
