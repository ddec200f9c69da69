/*
 * test_hold.c
 *		The rules of a hold: which command makes which event of a hold in which
 *		state, which flaws an event about a hold can have, and that histories agree with
 *		a model that is too simple to be wrong.
 */
#include "check.h"
#include "domain/hold.h"

#include <stdlib.h>

#define NOW INT64_C(5000)
#define LATER INT64_C(9000)

/* An identifier that shows its number. */
static BankUuid
id_of(int n)
{
	BankUuid	id;

	memset(&id, 0, sizeof(id));
	id.bytes[6] = 0x70;
	id.bytes[8] = 0x80;
	id.bytes[14] = (uint8_t) (n / 256);
	id.bytes[15] = (uint8_t) (n % 256);
	return id;
}

/* Money that must be right. */
static BankMoney
money(int64_t minor, const char *currency)
{
	BankMoney	amount;
	BankError	error;

	if (!bank_money_make(minor, currency, &amount, &error))
		abort();
	return amount;
}

/* A customer's account of 100.00 HTG, of which this much is held until LATER. */
static BankAccount
account_of(int n, int64_t held)
{
	BankAccount account;

	memset(&account, 0, sizeof(account));
	account.id = id_of(n);
	account.version = 3;
	account.status = BANK_STATUS_ACTIVE;
	memcpy(account.currency, "HTG", 3);
	account.credits = 10000;
	account.held = held;
	account.next_expiry = held > 0 ? LATER : BANK_NO_EXPIRY;
	account.limits.balance = BANK_NO_LIMIT;
	account.limits_version = 1;
	account.recorded_at = 2000;
	account.position = 30;
	account.opening.type = BANK_TYPE_COURANT;
	account.opening.has_owner = true;
	return account;
}

/* A stripe of a house account. */
static BankAccount
house(void)
{
	BankAccount account = account_of(9, 0);

	account.opening.type = BANK_TYPE_HOUSE;
	account.opening.has_owner = false;
	memcpy(account.opening.house_code, "cash", 5);
	return account;
}

/* An open hold of 40.00 on account 1, made at 1000. */
static BankHold
open_hold(void)
{
	BankHold	hold;

	memset(&hold, 0, sizeof(hold));
	hold.id = id_of(50);
	hold.account_id = id_of(1);
	memcpy(hold.currency, "HTG", 3);
	hold.status = BANK_HOLD_OPEN;
	hold.amount = 4000;
	hold.expires_at = LATER;
	hold.created_at = 1000;
	hold.created_version = 2;
	hold.created_position = 20;
	return hold;
}

/* Put a decided event into its place: what the use cases add to it. */
static void
complete(BankEvent *event, int64_t at)
{
	event->position = 31;
	event->recorded_at = at;
	event->event_id = id_of(60);
	if (event->type == BANK_EVENT_HOLD_CREATED)
		event->hold_id = event->event_id;
}

/* The SQLSTATE and message of an error. */
static const char *
refusal(const BankError *error)
{
	static char text[80];

	(void) snprintf(text, sizeof(text), "%s %s", bank_error_sqlstate(error->code),
					bank_error_message(error->code));
	return text;
}

/* Hold this much of an account for this long; the event type, or the refusal. */
static const char *
create(const BankAccount *account, const BankMoney *amount, int64_t duration, int64_t business_at,
	   BankEvent *event)
{
	BankError	error;

	if (!bank_hold_decide_create(account, amount, NOW, duration, business_at, event, &error))
		return refusal(&error);
	return bank_event_type_name(event->type);
}

/* Money is reserved where it is available. */
static void
test_create(void)
{
	BankAccount account = account_of(1, 4000);
	BankHold	none = {.status = BANK_HOLD_UNKNOWN};
	BankMoney	sixty = money(6000, "HTG");
	BankMoney	more = money(6001, "HTG");
	BankMoney	dollars = money(1, "USD");
	BankAccount cash = house();
	BankEvent	event;

	check_text(create(&account, &sixty, 100, NOW, &event), "hold.created", "all that is free");
	complete(&event, NOW);
	check_int(event.amount, 6000, "its amount");
	check_int(event.held, 10000, "what is held then");
	check_int(event.balance, 10000, "the balance stays");
	check_int(event.expires_at, NOW + 100, "its end");
	check(!event.has_peer && event.peer_version == 0, "nobody else is concerned");
	check_int(bank_account_check(&account, &event, false), 0, "the event continues the stream");
	check_int(bank_hold_check(&none, &account, &event), 0, "and makes a hold");
	check_text(create(&account, &more, 100, NOW, &event), "BK004 Insufficient balance",
			   "a centime more");
	account.limits.overdraft = 1;
	check_text(create(&account, &more, 100, NOW, &event), "hold.created", "with an overdraft");
	check_text(create(&account, &dollars, 100, NOW, &event), "BK003 Currency mismatch", "dollars");
	check_text(create(&account, &sixty, 100, NOW + 100, &event), "BK016 Invalid business date",
			   "a business time at its end");
	check_text(create(&account, &sixty, 100, NOW + 99, &event), "hold.created",
			   "a business time just before");
	check_text(create(&account, &sixty, INT64_MAX - 1, NOW, &event),
			   "BK013 Invalid expiry of a hold", "beyond all times");
	check_text(create(&account, &sixty, BANK_NO_EXPIRY, NOW, &event), "hold.created",
			   "without end");
	check_int(event.expires_at, BANK_NO_EXPIRY, "which it says");
	account.status = BANK_STATUS_FROZEN;
	check_text(create(&account, &sixty, 100, NOW, &event), "BK002 Account is not active", "frozen");
	account.status = BANK_STATUS_CLOSED;
	check_text(create(&account, &sixty, 100, NOW, &event), "BK002 Account is not active", "closed");
	check_text(create(&cash, &sixty, 100, NOW, &event), "BK009 Invalid account type",
			   "a house account");

	account = account_of(1, INT64_MAX - 5);
	account.credits = INT64_MAX;
	account.limits.overdraft = INT64_MAX;
	check_text(create(&account, &sixty, 100, NOW, &event), "BK005 Limit exceeded",
			   "more than an amount can be");
}

/* How long a hold may last, and what a time span is in microseconds. */
static void
test_durations(void)
{
	BankError	error;

	check(bank_hold_check_duration(1, &error), "a microsecond");
	check(bank_hold_check_duration(BANK_HOLD_LONGEST, &error), "ten years");
	check(!bank_hold_check_duration(0, &error), "nothing");
	check(!bank_hold_check_duration(-1, &error), "less than nothing");
	check(!bank_hold_check_duration(BANK_HOLD_LONGEST + 1, &error), "longer");
	check_text(refusal(&error), "BK013 Invalid expiry of a hold", "is refused");

	check_int(bank_interval_microseconds(5, 0, 0), 5, "microseconds");
	check_int(bank_interval_microseconds(0, 7, 0), BANK_HOLD_DEFAULT, "seven days");
	check_int(bank_interval_microseconds(0, 0, 1), INT64_C(30) * 86400 * 1000000, "a month");
	check_int(bank_interval_microseconds(-1, 1, 0), INT64_C(86400) * 1000000 - 1, "mixed signs");
	check_int(bank_interval_microseconds(1, 0, INT64_MAX), INT64_MAX, "too many months");
	check_int(bank_interval_microseconds(0, INT64_MAX, 1), INT64_MAX, "too many days");
	check_int(bank_interval_microseconds(0, -INT64_MAX, 0), INT64_MAX, "too few days");
	check_int(bank_interval_microseconds(INT64_MAX, 1, 0), INT64_MAX, "too many microseconds");
}

/* Capture this much of a hold; the event type, or the refusal. */
static const char *
capture(const BankHold *hold, const BankAccount *account, const BankAccount *peer, int64_t minor,
		int64_t at, int64_t business_at, BankEvent *event)
{
	BankMoney	amount = money(minor, "HTG");
	BankError	error;

	if (!bank_hold_decide_capture(hold, account, peer, &amount, at, business_at, event, &error))
		return refusal(&error);
	complete(event, at);
	return bank_event_type_name(event->type);
}

/* Held money moves, though it is not available; what is over is over. */
static void
test_capture(void)
{
	BankHold	hold = open_hold();
	BankAccount account = account_of(1, 10000);
	BankAccount other = account_of(2, 7);
	BankMoney	dollars = money(1, "USD");
	BankEvent	event;
	BankError	error;

	check_text(capture(&hold, &account, &other, 4000, NOW, NOW, &event), "hold.captured",
			   "all, although nothing is available");
	check_text(capture(&hold, &account, &other, 1500, NOW, NOW, &event), "hold.captured", "a part");
	check_int(event.held, 6000, "frees the rest");
	check_int(event.balance, 8500, "and moves the part");
	check_int(event.peer_balance, 11500, "to the peer");
	check_int(event.peer_held, 7, "whose own holds stay");
	check(bank_uuid_equal(&event.hold_id, &hold.id), "and names the hold");
	check_int(bank_account_check(&account, &event, false), 0, "the event continues one stream");
	check_int(bank_account_check(&other, &event, true), 0, "and the other");
	check_int(bank_hold_check(&hold, &account, &event), 0, "and fits the hold");
	bank_hold_apply(&hold, &event);
	check_int(hold.status, BANK_HOLD_CAPTURED, "captured");
	check_int(hold.captured, 1500, "this much");
	check_int(hold.amount, 4000, "of this much");
	check_int(hold.resolved_version, 4, "at this version");
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event),
			   "BK013 Hold is already resolved", "once more");
	check(bank_hold_check(&hold, &account, &event) != 0, "which would be a flaw, too");

	hold = open_hold();
	check_text(capture(&hold, &account, &other, 4001, NOW, NOW, &event), "BK005 Limit exceeded",
			   "more than is held");
	check(!bank_hold_decide_capture(&hold, &account, &other, &dollars, NOW, NOW, &event, &error) &&
		  error.code == BANK_CURRENCY_MISMATCH, "dollars");
	check_text(capture(&hold, &account, &account, 1, NOW, NOW, &event),
			   "BK015 Source and destination are the same account", "to itself");
	check_text(capture(&hold, &account, &other, 1, LATER - 1, LATER - 1, &event), "hold.captured",
			   "at the last moment");
	check_text(capture(&hold, &account, &other, 1, LATER, LATER - 1, &event),
			   "BK013 Hold has expired", "a moment later");
	check_text(capture(&hold, &account, &other, 1, NOW, 999, &event),
			   "BK016 Invalid business date", "before there was a hold");
	check_text(capture(&hold, &account, &other, 1, NOW, LATER, &event),
			   "BK016 Invalid business date", "for when there is none");
	other.limits.balance = 10000;
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event), "BK005 Limit exceeded",
			   "the peer is full");
	other = account_of(2, 0);
	other.status = BANK_STATUS_FROZEN;
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event),
			   "BK002 Account is not active", "the peer is frozen");
	account.status = BANK_STATUS_FROZEN;
	other.status = BANK_STATUS_ACTIVE;
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event),
			   "BK002 Account is not active", "the account is frozen");
	hold.status = BANK_HOLD_LAPSED;
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event), "BK013 Hold has expired",
			   "expired and recorded as such");
}

/* A hold without end is a transfer's, and is captured whatever the state of the account. */
static void
test_without_end(void)
{
	BankHold	hold = open_hold();
	BankAccount account = account_of(1, 4000);
	BankAccount other = account_of(2, 0);
	BankEvent	event;
	BankError	error;

	check(bank_hold_check_own(&hold, &error), "a hold with an end is anybody's");
	hold.expires_at = BANK_NO_EXPIRY;
	account.next_expiry = BANK_NO_EXPIRY;
	check(!bank_hold_check_own(&hold, &error), "one without is not");
	check_text(refusal(&error), "BK013 Hold belongs to a transfer", "but the transfer's");
	account.status = BANK_STATUS_FROZEN;
	check_text(capture(&hold, &account, &other, 4000, INT64_MAX - 1, INT64_MAX - 1, &event),
			   "hold.captured", "captured, frozen, after all times");
	check_int(bank_account_check(&account, &event, false), 0, "which fits the account");
	check_int(bank_hold_check(&hold, &account, &event), 0, "and the hold");
	hold.expires_at = INT64_MAX - 1;
	check(bank_hold_check(&hold, &account, &event) != 0, "but not one that has an end");
	hold.expires_at = BANK_NO_EXPIRY;
	other.status = BANK_STATUS_FROZEN;
	check_text(capture(&hold, &account, &other, 1, NOW, NOW, &event),
			   "BK002 Account is not active", "the peer must be active");
	check(bank_hold_decide_release(&hold, &account, NOW, NOW, &event, &error), "released");
}

/* Release and expiry free all of it, frozen or not. */
static void
test_free(void)
{
	BankHold	hold = open_hold();
	BankAccount account = account_of(1, 4000);
	BankEvent	event;
	BankError	error;

	account.status = BANK_STATUS_FROZEN;
	check(bank_hold_decide_release(&hold, &account, NOW, NOW, &event, &error), "a release");
	complete(&event, NOW);
	check_int(event.held, 0, "frees all");
	check_int(event.amount, 4000, "which it tells");
	check_int(event.balance, 10000, "and moves nothing");
	check_int(bank_account_check(&account, &event, false), 0, "on a frozen account, too");
	check_int(bank_hold_check(&hold, &account, &event), 0, "and fits the hold");
	check(!bank_hold_decide_release(&hold, &account, LATER, NOW, &event, &error) &&
		  error.code == BANK_HOLD_EXPIRED, "too late");

	bank_hold_expire(&hold, &account, &event);
	complete(&event, LATER + 7);
	check(event.has_occurred_at && event.occurred_at == LATER, "expired when it did");
	check_int(bank_account_check(&account, &event, false), 0, "on a frozen account");
	check_int(bank_hold_check(&hold, &account, &event), 0, "and fits the hold");
	bank_hold_apply(&hold, &event);
	check_int(hold.status, BANK_HOLD_LAPSED, "is expired");
	check_int(hold.resolved_at, LATER, "since then");
	check_text(bank_hold_status_name(hold.status), "EXPIRED", "by name");
	check(!bank_hold_decide_release(&hold, &account, NOW, NOW, &event, &error) &&
		  error.code == BANK_HOLD_EXPIRED, "and not released");
	hold.status = BANK_HOLD_RELEASED;
	check(!bank_hold_decide_release(&hold, &account, NOW, NOW, &event, &error) &&
		  error.code == BANK_HOLD_RESOLVED, "released twice");

	account.status = BANK_STATUS_CLOSED;
	check(bank_account_check(&account, &event, false) != 0, "a closed account has no holds");
}

/* Every flaw of an event about a hold. */
static void
test_flaws(void)
{
	BankHold	hold = open_hold();
	BankHold	none = {.status = BANK_HOLD_UNKNOWN};
	BankAccount account = account_of(1, 6000);
	BankMoney	ten = money(1000, "HTG");
	BankEvent	created;
	BankEvent	captured;
	BankEvent	released;
	BankEvent	expired;
	BankEvent	event;
	BankError	error;
	BankAccount other = account_of(2, 0);

	if (!bank_hold_decide_create(&account, &ten, NOW, 100, NOW, &created, &error) ||
		!bank_hold_decide_capture(&hold, &account, &other, &ten, NOW, NOW, &captured, &error) ||
		!bank_hold_decide_release(&hold, &account, NOW, NOW, &released, &error))
		abort();
	bank_hold_expire(&hold, &account, &expired);
	complete(&created, NOW);
	complete(&captured, NOW);
	complete(&released, NOW);
	complete(&expired, LATER);
#define FLAWED(good, what, change, of, expected) \
	do { \
		event = good; \
		change; \
		check_int(bank_hold_check(of, &account, &event), (int64_t) (expected), #good ": " what); \
	} while (0)
	FLAWED(created, "sound", (void) 0, &none, 0);
	FLAWED(created, "there already", (void) 0, &hold, BANK_FLAW_HOLD);
	FLAWED(created, "another identifier", event.hold_id = id_of(61), &none, BANK_FLAW_HOLD);
	FLAWED(created, "over at once", event.expires_at = NOW, &none, BANK_FLAW_HOLD);
	FLAWED(created, "never over", event.expires_at = BANK_NO_EXPIRY, &none, 0);
	FLAWED(created, "over before it began", event.has_occurred_at = true;
		   event.occurred_at = NOW + 100, &none, BANK_FLAW_HOLD);
	FLAWED(captured, "sound", (void) 0, &hold, 0);
	FLAWED(captured, "unknown", (void) 0, &none, BANK_FLAW_HOLD);
	FLAWED(captured, "another account's", event.aggregate_id = id_of(3), &hold, BANK_FLAW_HOLD);
	FLAWED(captured, "frees more", event.held -= 1, &hold, BANK_FLAW_HELD);
	FLAWED(captured, "frees less", event.held += 1, &hold, BANK_FLAW_HELD);
	FLAWED(captured, "frees the impossible", event.held = INT64_MIN, &hold, BANK_FLAW_HELD);
	FLAWED(captured, "moves more", event.amount = 4001, &hold, BANK_FLAW_HOLD);
	FLAWED(captured, "too late", event.recorded_at = LATER, &hold, BANK_FLAW_HOLD);
	FLAWED(captured, "with an end", event.expires_at = LATER, &hold, BANK_FLAW_HOLD);
	FLAWED(captured, "before it began", event.has_occurred_at = true; event.occurred_at = 999,
		   &hold, BANK_FLAW_HOLD);
	FLAWED(released, "sound", (void) 0, &hold, 0);
	FLAWED(released, "a part", event.amount = 3999, &hold, BANK_FLAW_HOLD);
	FLAWED(expired, "sound", (void) 0, &hold, 0);
	FLAWED(expired, "too early", event.recorded_at = LATER - 1, &hold, BANK_FLAW_HOLD);
	FLAWED(expired, "at another time", event.occurred_at++, &hold, BANK_FLAW_HOLD);
	FLAWED(expired, "at no time", event.has_occurred_at = false, &hold, BANK_FLAW_HOLD);
#undef FLAWED

	/* what the account sees of it */
	event = created;
	event.held++;
	check_int(bank_account_check(&account, &event, false), BANK_FLAW_HELD, "held too much");
	event = created;
	event.amount = 4001;
	event.held = 10001;
	check_int(bank_account_check(&account, &event, false), BANK_FLAW_LIMITS, "beyond the balance");
	event = created;
	event.amount = 0;
	event.held = 6000;
	check_int(bank_account_check(&account, &event, false), BANK_FLAW_HELD | BANK_FLAW_AMOUNT,
			  "nothing");
	event = released;
	event.recorded_at = LATER;
	check_int(bank_account_check(&account, &event, false), BANK_FLAW_EXPIRY,
			  "what is over must be expired first");
	check_int(bank_account_check(&account, &expired, false), 0, "which may be said");
	event = captured;
	event.peer_held = 1;
	check_int(bank_account_check(&other, &event, true), BANK_FLAW_HELD, "of the peer");
	event = captured;
	event.has_peer = false;
	check_int(bank_account_check(&account, &event, false), BANK_FLAW_SHAPE, "without a peer");
}

/* --- histories against a model --- */

#define N_HOLDS 40
#define N_STEPS 300

/* A hold as a child would keep it. */
typedef struct Slip
{
	int64_t		amount;
	int64_t		expires_at;
	bool		open;
} Slip;

/* One account and another that only receives, with the holds on the first. */
typedef struct Story
{
	BankAccount account;
	BankAccount other;
	BankHold	holds[N_HOLDS];
	Slip		slips[N_HOLDS];
	int			n;
	int64_t		clock;
	int64_t		balance;
} Story;

/* What the slips say is held at this time. */
static int64_t
story_held(const Story *story, int64_t at)
{
	int64_t		held = 0;
	int			i;

	for (i = 0; i < story->n; i++)
	{
		if (story->slips[i].open && story->slips[i].expires_at > at)
			held += story->slips[i].amount;
	}
	return held;
}

/* Apply an event of hold number i everywhere; false: it is flawed. */
static bool
story_apply(Story *story, const BankEvent *event, int i)
{
	int64_t		next = BANK_NO_EXPIRY;
	int			k;

	if (bank_account_check(&story->account, event, false) != 0 ||
		(event->has_peer && bank_account_check(&story->other, event, true) != 0) ||
		(i >= 0 && bank_hold_check(&story->holds[i], &story->account, event) != 0))
	{
		printf("# %s is flawed\n", bank_event_type_name(event->type));
		return false;
	}
	bank_account_apply(&story->account, event, false);
	if (event->has_peer)
		bank_account_apply(&story->other, event, true);
	if (i >= 0)
		bank_hold_apply(&story->holds[i], event);
	for (k = 0; k < story->n; k++)
	{
		if (story->holds[k].status == BANK_HOLD_OPEN && story->holds[k].expires_at < next)
			next = story->holds[k].expires_at;
	}
	story->account.next_expiry = next;
	return true;
}

/* Give a decided event its place. */
static void
story_complete(Story *story, BankEvent *event, int n)
{
	event->position = story->account.position + 1;
	if (story->other.position >= event->position)
		event->position = story->other.position + 1;
	event->recorded_at = story->clock;
	event->event_id = id_of(1000 + n);
	if (event->type == BANK_EVENT_HOLD_CREATED)
		event->hold_id = event->event_id;
}

/* Expire what is over, as every command does first. */
static bool
story_settle(Story *story)
{
	int			i;

	for (i = 0; i < story->n; i++)
	{
		BankEvent	event;

		if (story->holds[i].status != BANK_HOLD_OPEN || story->holds[i].expires_at > story->clock)
			continue;
		bank_hold_expire(&story->holds[i], &story->account, &event);
		story_complete(story, &event, i);
		if (!story_apply(story, &event, i))
			return false;
		story->slips[i].open = false;
	}
	return true;
}

/* One random command, put to rules and slips; false: they differ. */
static bool
story_step(Story *story, uint64_t *random)
{
	int			kind = (int) (check_random(random) % 6);
	int			i = story->n > 0 ? (int) (check_random(random) % (uint64_t) story->n) : -1;
	int64_t		minor = 1 + (int64_t) (check_random(random) % 3000);
	BankMoney	amount = money(minor, "HTG");
	BankErrorCode expected = BANK_OK;
	BankEvent	event;
	BankError	error;
	int64_t		held;
	bool		accepted;

	story->clock += (int64_t) (check_random(random) % 40);
	if (!story_settle(story))
		return false;
	held = story_held(story, story->clock);
	if (story->account.held != held || bank_account_available(&story->account) !=
		story->balance - held)
	{
		printf("# held %" PRId64 ", the slips say %" PRId64 "\n", story->account.held, held);
		return false;
	}
	error.code = BANK_OK;
	if (kind <= 1)
	{
		int64_t		duration = 1 + (int64_t) (check_random(random) % 300);

		if (story->n == N_HOLDS)
			return true;
		i = story->n;
		if (minor > story->balance - held)
			expected = BANK_INSUFFICIENT_BALANCE;
		accepted = bank_hold_decide_create(&story->account, &amount, story->clock, duration,
										   story->clock, &event, &error);
		if (accepted)
		{
			story->holds[i].status = BANK_HOLD_UNKNOWN;
			story->slips[i].amount = minor;
			story->slips[i].expires_at = story->clock + duration;
			story->slips[i].open = true;
			story->n++;
		}
	}
	else if (kind <= 3)
	{
		if (i < 0)
			return true;
		if (!story->slips[i].open)
			expected = story->holds[i].status == BANK_HOLD_LAPSED ? BANK_HOLD_EXPIRED :
				BANK_HOLD_RESOLVED;
		else if (kind == 2 && minor > story->slips[i].amount)
			expected = BANK_LIMIT_EXCEEDED;
		accepted = kind == 2 ?
			bank_hold_decide_capture(&story->holds[i], &story->account, &story->other, &amount,
									 story->clock, story->clock, &event, &error) :
			bank_hold_decide_release(&story->holds[i], &story->account, story->clock,
									 story->clock, &event, &error);
		if (accepted)
		{
			story->slips[i].open = false;
			story->balance -= kind == 2 ? minor : 0;
		}
	}
	else
	{
		i = -1;
		if (kind == 4 && minor > story->balance - held)
			expected = BANK_INSUFFICIENT_BALANCE;
		accepted = bank_account_decide_movement(kind == 4 ? BANK_EVENT_TRANSFERRED :
												BANK_EVENT_DEPOSITED, &story->account,
												&story->other, &amount, &event, &error);
		if (accepted)
			story->balance += kind == 4 ? -minor : minor;
	}
	if (accepted != (expected == BANK_OK) || (!accepted && error.code != expected))
	{
		printf("# kind %d: the slips say %s, the rules %s\n", kind, bank_error_message(expected),
			   accepted ? "yes" : bank_error_message(error.code));
		return false;
	}
	if (!accepted)
		return true;
	story_complete(story, &event, i);
	return story_apply(story, &event, i) &&
		bank_account_balance(&story->account) == story->balance;
}

/* Many random histories. */
static void
test_histories(void)
{
	static Story story;
	bool		sound = true;
	int			resolved[BANK_HOLD_UNKNOWN] = {0};
	uint64_t	seed;
	int			i;

	for (seed = 1; seed <= 500 && sound; seed++)
	{
		uint64_t	random = seed;

		memset(&story, 0, sizeof(story));
		story.account = account_of(1, 0);
		story.other = account_of(2, 0);
		story.other.opening.type = BANK_TYPE_HOUSE;
		story.balance = 10000;
		story.clock = NOW;
		for (i = 0; i < (int) (seed * 7 % N_STEPS) + 10 && sound; i++)
			sound = story_step(&story, &random);
		for (i = 0; i < story.n; i++)
			resolved[story.holds[i].status]++;
		if (!sound)
			printf("# seed %" PRIu64 "\n", seed);
	}
	check(sound, "random histories of holds agree with the slips, step by step");
	for (i = 0; i < BANK_HOLD_UNKNOWN; i++)
		check(resolved[i] > 100, "some holds are %s", bank_hold_status_name((BankHoldStatus) i));
}

/* Whatever stands in an event, check and apply take it without overflow. */
static void
test_garbage(void)
{
	static const int64_t figures[] = {0, 1, -1, 4000, 6000, 10000, NOW, LATER, INT64_MAX,
	INT64_MIN, INT64_MAX - 1, -INT64_MAX};
#define FIGURE() (figures[check_random(&random) % (sizeof(figures) / sizeof(figures[0]))])
	uint64_t	random = 5;
	bool		sound = true;
	int			accepted = 0;
	int			trial;

	for (trial = 0; trial < 300000 && sound; trial++)
	{
		BankAccount account = account_of(1, 6000);
		BankHold	hold = open_hold();
		BankEvent	event;

		memset(&event, 0, sizeof(event));
		event.type = (BankEventType) (BANK_EVENT_HOLD_CREATED + check_random(&random) % 4);
		event.aggregate_id = check_random(&random) % 8 == 0 ? id_of(3) : id_of(1);
		event.peer_id = id_of(2);
		event.has_peer = check_random(&random) % 8 == 0 ? true :
			bank_event_is_movement(event.type);
		event.version = check_random(&random) % 4 == 0 ? FIGURE() : account.version + 1;
		event.amount = check_random(&random) % 2 == 0 ? FIGURE() : 4000;
		memcpy(event.currency, "HTG", 3);
		event.balance = check_random(&random) % 2 == 0 ? FIGURE() : event.has_peer ? 6000 : 10000;
		event.held = check_random(&random) % 2 == 0 ? FIGURE() :
			event.type == BANK_EVENT_HOLD_CREATED ? 10000 : 2000;
		event.hold_id = event.type == BANK_EVENT_HOLD_CREATED ? event.event_id : hold.id;
		event.expires_at = check_random(&random) % 2 == 0 ? FIGURE() :
			event.type == BANK_EVENT_HOLD_CREATED ? LATER : 0;
		event.position = check_random(&random) % 4 == 0 ? FIGURE() : 31;
		event.recorded_at = check_random(&random) % 2 == 0 ? FIGURE() : NOW;
		event.has_occurred_at = check_random(&random) % 4 == 0;
		event.occurred_at = FIGURE();
		if (event.type == BANK_EVENT_HOLD_CREATED)
			hold.status = BANK_HOLD_UNKNOWN;
		if ((bank_account_check(&account, &event, false) |
			 bank_hold_check(&hold, &account, &event)) == 0)
		{
			accepted++;
			bank_account_apply(&account, &event, false);
			sound = account.held >= 0 && bank_account_available(&account) >= 0;
		}
		else
		{
			bank_account_apply(&account, &event, false);
			sound = account.held >= 0;
		}
		bank_hold_apply(&hold, &event);
		if (!sound)
			printf("# trial %d, event type %d\n", trial, (int) event.type);
	}
#undef FIGURE
	check(sound, "whatever stands in an event, what is held stays within what is there");
	check(accepted > 1000, "some of the random events had no flaw");
}

int
main(void)
{
	int			n;

	test_create();
	test_durations();
	test_capture();
	test_without_end();
	test_free();
	test_flaws();
	for (n = 0; n < BANK_HOLD_UNKNOWN; n++)
	{
		const char *name = bank_hold_status_name((BankHoldStatus) n);

		check_int(bank_hold_status_parse(name, strlen(name)), n, name);
	}
	check_int(bank_hold_status_parse("open", 4), BANK_HOLD_UNKNOWN, "no status");
	test_histories();
	test_garbage();
	return check_done();
}
