/*
 * test_transfer.c
 *		The state machine of a transfer between two ledgers: every arrow and every impossible
 *		one, what is asked next and what an answer decides, which flaws an event can have.
 */
#include "check.h"
#include "domain/transfer.h"

#include <stdlib.h>

/* An identifier that shows its number. */
static BankUuid
id_of(int n)
{
	BankUuid	id;

	memset(&id, 0, sizeof(id));
	id.bytes[6] = 0x70;
	id.bytes[8] = 0x80;
	id.bytes[15] = (uint8_t) n;
	return id;
}

/* The states by their names, and "none". */
static BankTransferState
state_of(const char *name, size_t len)
{
	if (len == 4 && memcmp(name, "none", 4) == 0)
		return BANK_TRANSFER_NONE;
	return bank_transfer_state_parse(name, len);
}

static const char *
name_of(BankTransferState state)
{
	return state == BANK_TRANSFER_NONE ? "none" : bank_transfer_state_name(state);
}

/* The types of events of transfers by their names, without "transfer.". */
static const struct
{
	BankEventType type;
	const char *name;
}			transfer_types[] = {
	{BANK_EVENT_TRANSFER_INITIATED, "initiated"},
	{BANK_EVENT_TRANSFER_RESERVED, "reserved"},
	{BANK_EVENT_TRANSFER_SUBMITTED, "submitted"},
	{BANK_EVENT_TRANSFER_COMPLETED, "completed"},
	{BANK_EVENT_TRANSFER_REJECTED, "rejected"},
	{BANK_EVENT_TRANSFER_COMPENSATED, "compensated"},
	{BANK_EVENT_TRANSFER_IN_DOUBT, "in_doubt"},
	{BANK_EVENT_TRANSFER_CANCEL_REQUESTED, "cancel_requested"},
	{BANK_EVENT_TRANSFER_RECEIVED, "received"},
	{BANK_EVENT_TRANSFER_REFUSED, "refused"},
	{BANK_EVENT_TRANSFER_KEPT, "kept"},
	{BANK_EVENT_TRANSFER_CANCELLED, "cancelled"},
};

#define N_TYPES (sizeof(transfer_types) / sizeof(transfer_types[0]))

/* What docs/architecture.md draws: from each state, event and state that follows it. */
static const struct
{
	const char *from;
	bool		captured;
	const char *arrows;
}			picture[] = {
	{"none", false, "initiated=initiated received=received refused=refused cancelled=cancelled"},
	{"initiated", false, "reserved=reserved"},
	{"reserved", false, "submitted=submitted rejected=rejected"},
	{"submitted", false, "completed=completed rejected=rejected cancel_requested=cancelling "
	"in_doubt=in_doubt"},
	{"cancelling", false, "completed=completed rejected=rejected in_doubt=in_doubt"},
	{"completed", true, "cancel_requested=returning"},
	{"returning", true, "compensated=compensated completed=completed in_doubt=in_doubt"},
	{"compensated", false, ""},
	{"rejected", false, ""},
	{"in_doubt", false, "submitted=submitted cancel_requested=cancelling completed=completed "
	"rejected=rejected"},
	{"in_doubt", true, "cancel_requested=returning completed=completed compensated=compensated"},
	{"received", true, "cancelled=cancelled kept=kept"},
	{"kept", true, ""},
	{"refused", false, ""},
	{"cancelled", false, ""},
};

#define N_PICTURE (sizeof(picture) / sizeof(picture[0]))

/* Where the picture says that an event leads. */
static BankTransferState
pictured(BankTransferState state, bool captured, BankEventType type)
{
	size_t		i;
	size_t		t;

	for (i = 0; i < N_PICTURE; i++)
	{
		const char *arrow = picture[i].arrows;

		/* but for doubt, a state says itself whether the money has moved */
		if (state_of(picture[i].from, strlen(picture[i].from)) != state ||
			(state == BANK_TRANSFER_IN_DOUBT && picture[i].captured != captured))
			continue;
		while (*arrow != '\0')
		{
			size_t		event = strcspn(arrow, "=");
			size_t		to = strcspn(arrow + event + 1, " ");

			for (t = 0; t < N_TYPES; t++)
			{
				if (transfer_types[t].type == type && strlen(transfer_types[t].name) == event &&
					memcmp(transfer_types[t].name, arrow, event) == 0)
					return state_of(arrow + event + 1, to);
			}
			arrow += event + 1 + to;
			arrow += strspn(arrow, " ");
		}
		return BANK_TRANSFER_NONE;
	}
	printf("Bail out! the picture has no %s\n", name_of(state));
	exit(2);
}

/* Names of states, types, actions and answers, there and back. */
static void
test_names(void)
{
	static const char *const states[] = {
		"initiated", "reserved", "submitted", "cancelling", "completed", "returning",
		"compensated", "rejected", "in_doubt", "received", "kept", "refused", "cancelled"
	};
	int			i;
	size_t		t;
	bool		all = true;

	check_int(BANK_TRANSFER_NONE, (int64_t) (sizeof(states) / sizeof(states[0])), "thirteen states");
	for (i = 0; i < BANK_TRANSFER_NONE; i++)
		all &= strcmp(bank_transfer_state_name((BankTransferState) i), states[i]) == 0 &&
			bank_transfer_state_parse(states[i], strlen(states[i])) == (BankTransferState) i;
	check(all, "their names lead back to them");
	check(bank_transfer_state_parse("complete", 8) == BANK_TRANSFER_NONE &&
		  bank_transfer_state_parse("completedx", 10) == BANK_TRANSFER_NONE &&
		  bank_transfer_state_parse("", 0) == BANK_TRANSFER_NONE &&
		  bank_transfer_state_parse("COMPLETED", 9) == BANK_TRANSFER_NONE, "nothing else does");

	for (all = true, t = 0; t < N_TYPES; t++)
	{
		const char *name = bank_event_type_name(transfer_types[t].type);

		all &= memcmp(name, "transfer.", 9) == 0 && strcmp(name + 9, transfer_types[t].name) == 0;
	}
	check(all, "names of events");
	for (all = true, i = 0; i <= BANK_EVENT_UNKNOWN; i++)
	{
		bool		listed = false;

		for (t = 0; t < N_TYPES; t++)
			listed |= transfer_types[t].type == (BankEventType) i;
		all &= bank_event_is_transfer((BankEventType) i) == listed;
	}
	check(all, "which types are of transfers");
	check(bank_event_type_parse("transfer.completed", 18) == BANK_EVENT_TRANSFERRED,
		  "a name that two types have is that of the movement");
	check(bank_event_type_parse("transfer.in_doubt", 17) == BANK_EVENT_TRANSFER_IN_DOUBT,
		  "the others are found");

	check_text(bank_transfer_action_name(BANK_ACTION_NONE), "none", "nothing to ask");
	check_text(bank_transfer_action_name(BANK_ACTION_RECEIVE), "receive", "take it");
	check_text(bank_transfer_action_name(BANK_ACTION_STATUS), "status", "have you got it");
	check_text(bank_transfer_action_name(BANK_ACTION_CANCEL), "cancel", "give it back");
	check(bank_transfer_answer_parse("received", 8) == BANK_ANSWER_RECEIVED &&
		  bank_transfer_answer_parse("refused", 7) == BANK_ANSWER_REFUSED &&
		  bank_transfer_answer_parse("cancelled", 9) == BANK_ANSWER_CANCELLED &&
		  bank_transfer_answer_parse("unknown", 7) == BANK_ANSWER_UNKNOWN, "the answers");
	check(bank_transfer_answer_parse("", 0) == BANK_ANSWER_NONE &&
		  bank_transfer_answer_parse("none", 4) == BANK_ANSWER_NONE &&
		  bank_transfer_answer_parse("receive", 7) == BANK_ANSWER_NONE &&
		  bank_transfer_answer_parse("Received", 8) == BANK_ANSWER_NONE &&
		  bank_transfer_answer_parse("receivedx", 9) == BANK_ANSWER_NONE, "are all there are");
}

/* Every state, money moved or not, and every type of event there is. */
static void
test_arrows(void)
{
	int			state;
	int			captured;
	int			type;
	int			arrows = 0;

	for (state = 0; state <= BANK_TRANSFER_NONE; state++)
	{
		for (captured = 0; captured <= 1; captured++)
		{
			bool		all = true;

			for (type = 0; type <= BANK_EVENT_UNKNOWN; type++)
			{
				BankTransferState is = bank_transfer_next((BankTransferState) state, captured,
														  (BankEventType) type);
				BankTransferState expected = pictured((BankTransferState) state, captured,
													  (BankEventType) type);

				arrows += captured == 0 && is != BANK_TRANSFER_NONE;
				if (is == expected)
					continue;
				all = false;
				printf("# %s leads to %s, expected %s\n",
					   bank_event_type_name((BankEventType) type), name_of(is), name_of(expected));
			}
			check(all, "arrows from %s%s", name_of((BankTransferState) state),
				  captured ? ", money moved" : "");
		}
	}
	check_int(arrows, 24, "that many arrows where no money has moved");
}

/* Which side a state belongs to, and what is asked in it. */
static void
test_action(void)
{
	int			state;
	int			flags;

	for (state = 0; state <= BANK_TRANSFER_NONE; state++)
	{
		const char *name = name_of((BankTransferState) state);
		bool		all = true;
		bool		driven = false;

		for (flags = 0; flags < 4; flags++)
		{
			bool		asked = (flags & 1) != 0;
			bool		absent = (flags & 2) != 0;
			BankTransferAction expected = BANK_ACTION_NONE;

			if (strcmp(name, "reserved") == 0)
				expected = BANK_ACTION_RECEIVE;
			else if (strcmp(name, "submitted") == 0)
				expected = flags == 1 ? BANK_ACTION_STATUS : BANK_ACTION_RECEIVE;
			else if (strcmp(name, "cancelling") == 0 || strcmp(name, "returning") == 0)
				expected = BANK_ACTION_CANCEL;
			driven |= expected != BANK_ACTION_NONE;
			all &= bank_transfer_action((BankTransferState) state, asked, absent) == expected;
		}
		check(all, "what is asked when it is %s", name);
		check(bank_transfer_is_driven((BankTransferState) state) == driven,
			  "whether something is: %s", name);
		if (state < BANK_TRANSFER_NONE)
			check(bank_transfer_is_outgoing((BankTransferState) state) ==
				  (strcmp(name, "received") != 0 && strcmp(name, "kept") != 0 &&
				   strcmp(name, "refused") != 0 && strcmp(name, "cancelled") != 0), "whose state is %s", name);
	}
}

/* What an answer decides, and the deadline: every state, every question and every answer. */
static void
test_conclude(void)
{
	/* received, refused, cancelled; the other two answers never decide anything */
	static const struct
	{
		const char *state;
		const char *received;
		bool		if_cancel;		/* only when a cancel was asked for */
		const char *never;
		const char *deadline;
	}			rows[] = {
		{"reserved", NULL, false, NULL, "transfer.rejected"},
		{"submitted", "transfer.completed", false, "transfer.rejected", "transfer.in_doubt"},
		{"cancelling", "transfer.completed", true, "transfer.rejected", "transfer.in_doubt"},
		{"returning", "transfer.completed", true, "transfer.compensated", "transfer.in_doubt"},
	};
	int			state;
	int			asked;
	int			answer;
	size_t		i;

	for (state = 0; state <= BANK_TRANSFER_NONE; state++)
	{
		BankTransferState of = (BankTransferState) state;
		const char *received = NULL;
		const char *never = NULL;
		const char *deadline = NULL;
		bool		if_cancel = false;
		bool		all = true;
		BankEventType expiry = bank_transfer_expire(of);

		for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		{
			if (strcmp(rows[i].state, name_of(of)) == 0)
			{
				received = rows[i].received;
				if_cancel = rows[i].if_cancel;
				never = rows[i].never;
				deadline = rows[i].deadline;
			}
		}
		for (i = 0; i < (BANK_ACTION_CANCEL + 1) * (BANK_ANSWER_NONE + 1); i++)
		{
			BankEventType type;
			const char *expected;

			asked = (int) i % (BANK_ACTION_CANCEL + 1);
			answer = (int) i / (BANK_ACTION_CANCEL + 1);
			type = bank_transfer_conclude(of, (BankTransferAction) asked,
										  (BankTransferAnswer) answer);
			expected = answer == BANK_ANSWER_RECEIVED ?
				(if_cancel && asked != BANK_ACTION_CANCEL ? NULL : received) :
				answer == BANK_ANSWER_REFUSED || answer == BANK_ANSWER_CANCELLED ? never : NULL;

			if (expected == NULL)
				all &= type == BANK_EVENT_UNKNOWN;
			else
				all &= bank_event_is_transfer(type) &&
					strcmp(bank_event_type_name(type), expected) == 0 &&
					bank_transfer_next(of, of == BANK_TRANSFER_RETURNING, type) !=
					BANK_TRANSFER_NONE;
		}
		check(all, "what answers decide when it is %s", name_of(of));
		check(deadline == NULL ? expiry == BANK_EVENT_UNKNOWN : bank_event_is_transfer(expiry) &&
			  strcmp(bank_event_type_name(expiry), deadline) == 0 &&
			  bank_transfer_next(of, of == BANK_TRANSFER_RETURNING, expiry) != BANK_TRANSFER_NONE,
			  "what the deadline decides then");
	}
}

/* What the destination may be called. */
static void
test_destination(void)
{
	char		text[BANK_DESTINATION_TEXT + 1];
	BankError	error;

	memset(text, 'x', sizeof(text));
	check(bank_transfer_check_destination(text, 1, &error), "one letter");
	check(bank_transfer_check_destination(text, BANK_DESTINATION_TEXT - 1, &error), "255 letters");
	check(!bank_transfer_check_destination(text, BANK_DESTINATION_TEXT, &error), "256 letters");
	check_text(bank_error_sqlstate(error.code), "BK034", "are refused");
	check(!bank_transfer_check_destination("", 0, &error), "nothing");
	check(bank_transfer_check_destination("a b \xc3\xa9~", 7, &error), "blanks and other letters");
	check(!bank_transfer_check_destination("a\nb", 3, &error), "a new line");
	check(!bank_transfer_check_destination("\x01", 1, &error), "a control character");
	check(!bank_transfer_check_destination("a\x7f", 2, &error), "the last one of them");
	check(!bank_transfer_check_destination("a\0b", 3, &error), "a zero byte");
}

/* What an event of this type says when it is sound, the transfer being as it is. */
static BankTransferTerms
sound_terms(BankEventType type, bool captured)
{
	BankTransferTerms terms;

	memset(&terms, 0, sizeof(terms));
	switch (type)
	{
		case BANK_EVENT_TRANSFER_INITIATED:
			terms.has_account = true;
			terms.account_id = id_of(1);
			(void) snprintf(terms.participant, sizeof(terms.participant), "north");
			(void) snprintf(terms.house_code, sizeof(terms.house_code), "external");
			(void) snprintf(terms.destination, sizeof(terms.destination), "their account");
			terms.deadline = 90000;
			break;
		case BANK_EVENT_TRANSFER_CANCEL_REQUESTED:
			terms.deadline = 95000;
			break;
		case BANK_EVENT_TRANSFER_RECEIVED:
			(void) snprintf(terms.house_code, sizeof(terms.house_code), "external");
			(void) snprintf(terms.participant, sizeof(terms.participant), "south");
			terms.has_account = true;
			terms.account_id = id_of(2);
			terms.account_version = 7;
			break;
		case BANK_EVENT_TRANSFER_COMPLETED:
		case BANK_EVENT_TRANSFER_CANCELLED:
			if (captured != (type == BANK_EVENT_TRANSFER_CANCELLED))
				break;
			/* FALLTHROUGH */
		case BANK_EVENT_TRANSFER_COMPENSATED:
			terms.has_account = true;
			terms.account_id = id_of(1);
			terms.account_version = 8;
			break;
		default:
			break;
	}
	return terms;
}

/* A transfer of 40.00 HTG in this state; none where it does not exist. */
static BankTransfer
transfer_in(BankTransferState state, bool captured)
{
	BankTransfer transfer;

	memset(&transfer, 0, sizeof(transfer));
	transfer.id = id_of(50);
	transfer.state = state;
	transfer.amount = 4000;
	memcpy(transfer.currency, "HTG", 3);
	if (state == BANK_TRANSFER_NONE)
		return transfer;
	transfer.version = 3;
	transfer.position = 30;
	transfer.recorded_at = 2000;
	transfer.created_at = 1000;
	transfer.captured = captured;
	transfer.has_account = true;
	transfer.account_id = id_of(1);
	transfer.deadline = 80000;
	(void) snprintf(transfer.participant, sizeof(transfer.participant), "north");
	(void) snprintf(transfer.house_code, sizeof(transfer.house_code), "external");
	(void) snprintf(transfer.destination, sizeof(transfer.destination), "their account");
	(void) snprintf(transfer.code, sizeof(transfer.code), "BK009");
	(void) snprintf(transfer.reason, sizeof(transfer.reason), "before");
	return transfer;
}

/* Decide on an event and give it what the use cases add. */
static bool
decide(const BankTransfer *transfer, BankEventType type, const BankTransferTerms *terms,
	   BankEvent *event, BankError *error)
{
	if (!bank_transfer_decide(transfer, type, terms, event, error))
		return false;
	event->position = transfer->position + 1;
	event->recorded_at = transfer->recorded_at + 1;
	event->event_id = id_of(60);
	return true;
}

/* Decisions in every state on every type; those that are taken are sound, and are applied. */
static void
test_decide(void)
{
	int			state;
	int			captured;
	int			type;

	for (state = 0; state <= BANK_TRANSFER_NONE; state++)
	{
		for (captured = 0; captured <= (state < BANK_TRANSFER_NONE); captured++)
		{
			BankTransferState of = (BankTransferState) state;
			const char *refusal = of == BANK_TRANSFER_NONE ? "Transfer not found" :
				bank_transfer_is_driven(of) ? "Transfer is under way" :
				"Transfer is already resolved";
			BankTransfer before = transfer_in(of, captured);
			bool		sound = true;
			bool		applied = true;
			bool		refused = true;

			for (type = 0; type <= BANK_EVENT_UNKNOWN; type++)
			{
				BankEventType what = (BankEventType) type;
				BankTransferState to = pictured(of, captured, what);
				BankTransfer after = before;
				BankTransferTerms terms = sound_terms(what, captured);
				BankEvent	event;
				BankError	error;

				(void) snprintf(terms.reason, sizeof(terms.reason), "why");
				if (!decide(&before, what, &terms, &event, &error))
				{
					refused &= to == BANK_TRANSFER_NONE &&
						strcmp(bank_error_sqlstate(error.code), "BK030") == 0 &&
						strcmp(bank_error_message(error.code), refusal) == 0;
					continue;
				}
				refused &= to != BANK_TRANSFER_NONE;
				sound &= bank_transfer_check(&before, &event) == 0 && event.type == what &&
					bank_uuid_equal(&event.aggregate_id, &before.id) &&
					event.version == before.version + 1 && event.amount == 4000 &&
					memcmp(event.currency, "HTG", 3) == 0 && !event.has_peer &&
					event.terms == &terms;
				bank_transfer_apply(&after, &event);
				applied &= after.state == to && after.version == event.version &&
					after.position == event.position && after.recorded_at == event.recorded_at &&
					strcmp(after.reason, "why") == 0 && after.code[0] == '\0' &&
					after.deadline == (terms.deadline > 0 ? terms.deadline : before.deadline) &&
					after.amount == 4000 && after.created_at ==
					(of == BANK_TRANSFER_NONE ? event.recorded_at : before.created_at) &&
					(of == BANK_TRANSFER_NONE || strcmp(after.participant, "north") == 0);
				/* doubt, and asking, does not move anything */
				applied &= after.captured ==
					(to == BANK_TRANSFER_COMPLETED || to == BANK_TRANSFER_RECEIVED ||
					 (before.captured && to != BANK_TRANSFER_COMPENSATED &&
					  to != BANK_TRANSFER_CANCELLED));
			}
			check(sound, "decisions when it is %s%s", name_of(of),
				  captured ? ", money moved" : "");
			check(applied, "what becomes of it");
			check(refused, "refusals: %s", refusal);
		}
	}
}

/* The first event tells who and what. */
static void
test_begin(void)
{
	BankTransfer transfer = transfer_in(BANK_TRANSFER_NONE, false);
	BankTransferTerms terms = sound_terms(BANK_EVENT_TRANSFER_INITIATED, false);
	BankEvent	event;
	BankError	error;

	check(decide(&transfer, BANK_EVENT_TRANSFER_INITIATED, &terms, &event, &error), "it begins");
	bank_transfer_apply(&transfer, &event);
	check(bank_uuid_equal(&transfer.id, &event.aggregate_id) && transfer.has_account &&
		  bank_uuid_equal(&transfer.account_id, &terms.account_id) &&
		  strcmp(transfer.participant, "north") == 0 &&
		  strcmp(transfer.house_code, "external") == 0 &&
		  strcmp(transfer.destination, "their account") == 0 && transfer.deadline == 90000 &&
		  transfer.version == 1 && transfer.amount == 4000 && !transfer.captured,
		  "with all that was said");
	/* an event that does not fit is applied as far as it goes, for a verification to go on */
	event.type = BANK_EVENT_TRANSFER_RECEIVED;
	event.version = 9;
	event.terms = NULL;
	bank_transfer_apply(&transfer, &event);
	check(transfer.state == BANK_TRANSFER_INITIATED && transfer.version == 9,
		  "a flawed event does not change the state");
	check(!transfer.captured, "nor does it move money");
}

/* One thing wrong with an event at a time, and the flaw that it is. */
static void
test_flaws(void)
{
	BankTransfer none = transfer_in(BANK_TRANSFER_NONE, false);
	BankTransfer submitted = transfer_in(BANK_TRANSFER_SUBMITTED, false);
	BankTransfer completed = transfer_in(BANK_TRANSFER_COMPLETED, true);
	BankTransfer returning = transfer_in(BANK_TRANSFER_RETURNING, true);
	BankTransfer doubt = transfer_in(BANK_TRANSFER_IN_DOUBT, false);
	BankTransfer received = transfer_in(BANK_TRANSFER_RECEIVED, true);
	BankTransferTerms terms;
	BankEvent	sound;
	BankEvent	event;
	BankError	error;

	memset(&event, 0, sizeof(event));
#define BEGIN(transfer, type) \
	(terms = sound_terms(type, (transfer).captured), \
	 (void) decide(&(transfer), type, &terms, &sound, &error), event = sound, \
	 check_int(bank_transfer_check(&(transfer), &event), 0, "sound: " #type))
#define FLAW(transfer, change, flaw, what) \
	do { \
		BankTransferTerms saved = terms; \
		event = sound; \
		change; \
		check_int(bank_transfer_check(&(transfer), &event), flaw, what); \
		terms = saved; \
	} while (0)

	BEGIN(submitted, BANK_EVENT_TRANSFER_COMPLETED);
	FLAW(submitted, event.has_peer = true, BANK_FLAW_SHAPE, "a peer");
	FLAW(submitted, event.balance = 1, BANK_FLAW_SHAPE, "a balance");
	FLAW(submitted, event.held = 1, BANK_FLAW_SHAPE, "something held");
	FLAW(submitted, event.has_occurred_at = true, BANK_FLAW_SHAPE, "a business time");
	FLAW(submitted, event.type = BANK_EVENT_DEPOSITED, BANK_FLAW_SHAPE, "no event of a transfer");
	FLAW(submitted, event.type = BANK_EVENT_TRANSFERRED, BANK_FLAW_SHAPE,
		 "the other one of that name");
	FLAW(submitted, event.type = BANK_EVENT_UNKNOWN, BANK_FLAW_SHAPE, "an unknown type");
	FLAW(submitted, event.version = 3, BANK_FLAW_VERSION, "the same version");
	FLAW(submitted, event.version = 5, BANK_FLAW_VERSION, "a gap");
	FLAW(submitted, event.type = BANK_EVENT_TRANSFER_COMPENSATED, BANK_FLAW_STATUS,
		 "no such arrow");
	FLAW(submitted, event.type = BANK_EVENT_TRANSFER_RECEIVED, BANK_FLAW_STATUS,
		 "an arrow of the receiver");
	FLAW(submitted, event.recorded_at = 1999, BANK_FLAW_TIME, "back in time");
	FLAW(submitted, event.recorded_at = INT64_MAX, BANK_FLAW_TIME, "never");
	FLAW(submitted, event.recorded_at = INT64_MIN, BANK_FLAW_TIME, "always");
	FLAW(submitted, event.recorded_at = 2000, 0, "at the same time");
	FLAW(submitted, event.position = 30, BANK_FLAW_POSITION, "at the same position");
	FLAW(submitted, memcpy(event.currency, "USD", 3), BANK_FLAW_CURRENCY, "another currency");
	FLAW(submitted, event.amount = 4001, BANK_FLAW_AMOUNT, "more");
	FLAW(submitted, event.amount = 0, BANK_FLAW_AMOUNT, "nothing");
	FLAW(submitted, event.terms = NULL, BANK_FLAW_SHAPE, "it says nothing");
	FLAW(submitted, terms.account_version = 0, BANK_FLAW_SHAPE, "no movement");
	FLAW(submitted, terms.account_version = -1, BANK_FLAW_SHAPE, "a movement before the first");
	FLAW(submitted, terms.has_account = false, BANK_FLAW_SHAPE, "a movement of no account");

	BEGIN(submitted, BANK_EVENT_TRANSFER_REJECTED);
	FLAW(submitted, (terms.account_version = 1, terms.has_account = true), BANK_FLAW_SHAPE,
		 "a movement though none belongs to it");
	FLAW(submitted, terms.account_version = -1, BANK_FLAW_SHAPE, "nor a negative one");
	BEGIN(submitted, BANK_EVENT_TRANSFER_IN_DOUBT);
	BEGIN(submitted, BANK_EVENT_TRANSFER_CANCEL_REQUESTED);
	FLAW(submitted, terms.deadline = 0, BANK_FLAW_SHAPE, "a request without end");
	BEGIN(doubt, BANK_EVENT_TRANSFER_SUBMITTED);
	FLAW(doubt, terms.deadline = 1, 0, "submitted again until some time");
	BEGIN(completed, BANK_EVENT_TRANSFER_CANCEL_REQUESTED);
	BEGIN(returning, BANK_EVENT_TRANSFER_COMPLETED);
	FLAW(returning, (terms.account_version = 9, terms.has_account = true), BANK_FLAW_SHAPE,
		 "the money has moved already");
	BEGIN(returning, BANK_EVENT_TRANSFER_COMPENSATED);
	FLAW(returning, terms.account_version = 0, BANK_FLAW_SHAPE, "it comes back without a movement");
	BEGIN(received, BANK_EVENT_TRANSFER_CANCELLED);
	FLAW(received, terms.account_version = 0, BANK_FLAW_SHAPE, "it goes back without a movement");
	BEGIN(received, BANK_EVENT_TRANSFER_KEPT);
	FLAW(received, (terms.account_version = 9, terms.has_account = true), BANK_FLAW_SHAPE,
		 "it stays, but moved");

	BEGIN(none, BANK_EVENT_TRANSFER_INITIATED);
	FLAW(none, event.version = 2, BANK_FLAW_VERSION, "it begins with version 2");
	FLAW(none, event.recorded_at = INT64_MIN, BANK_FLAW_TIME, "at no time");
	FLAW(none, memcpy(event.currency, "ZZZ", 3), BANK_FLAW_CURRENCY, "no currency");
	FLAW(none, event.amount = 0, BANK_FLAW_AMOUNT, "of nothing");
	FLAW(none, event.amount = -1, BANK_FLAW_AMOUNT, "of less");
	FLAW(none, terms.has_account = false, BANK_FLAW_SHAPE, "nobody's");
	FLAW(none, terms.participant[0] = '\0', BANK_FLAW_SHAPE, "to nobody");
	FLAW(none, terms.house_code[0] = '\0', BANK_FLAW_SHAPE, "through no house account");
	FLAW(none, terms.destination[0] = '\0', BANK_FLAW_SHAPE, "nowhere");
	FLAW(none, terms.deadline = 0, BANK_FLAW_SHAPE, "with all the time in the world");
	FLAW(none, terms.account_version = 1, BANK_FLAW_SHAPE, "moving already");

	BEGIN(none, BANK_EVENT_TRANSFER_RECEIVED);
	FLAW(none, terms.house_code[0] = '\0', BANK_FLAW_SHAPE, "received from no house account");
	FLAW(none, terms.account_version = 0, BANK_FLAW_SHAPE, "received without a movement");
	FLAW(none, event.amount = 0, BANK_FLAW_AMOUNT, "received nothing");
	FLAW(none, terms.participant[0] = '\0', 0, "received from nobody in particular");

	BEGIN(none, BANK_EVENT_TRANSFER_REFUSED);
	FLAW(none, (event.amount = 0, memcpy(event.currency, "XXX", 3)), 0, "refused: made no sense");
	FLAW(none, memcpy(event.currency, "ZZZ", 3), BANK_FLAW_CURRENCY, "an amount of no currency");
	FLAW(none, event.amount = -1, BANK_FLAW_AMOUNT, "refused less than nothing");
	FLAW(none, terms.account_version = 1, BANK_FLAW_SHAPE, "refused, but moved");

	BEGIN(none, BANK_EVENT_TRANSFER_CANCELLED);
	FLAW(none, (event.amount = 0, memcpy(event.currency, "XXX", 3)), 0, "cancelled before it came");
	FLAW(none, (terms.account_version = 1, terms.has_account = true), BANK_FLAW_SHAPE,
		 "cancelled before it came, but moved");
#undef BEGIN
#undef FLAW
}

int
main(void)
{
	test_names();
	test_arrows();
	test_action();
	test_conclude();
	test_destination();
	test_decide();
	test_begin();
	test_flaws();
	return check_done();
}
