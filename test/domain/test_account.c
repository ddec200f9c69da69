/*
 * test_account.c
 *		The rules of an account: which command makes which event in which state,
 *		which flaws an event can have, and that histories agree with a model that
 *		is too simple to be wrong.
 */
#include "check.h"
#include "domain/account.h"
#include "domain/currency.h"

#include <stdlib.h>

/* The states the table below speaks of. */
typedef enum State
{
	EMPTY,						/* active, nothing in it */
	FUNDED,						/* active, 100.00, no limits */
	LIMITED,					/* active, 100.00, overdraft 50.00, ceiling 150.00 */
	HOLDING,					/* active, 100.00 of which 40.00 are held */
	OVERDRAWN,					/* active, -30.00, overdraft 50.00 */
	FROZEN,						/* 100.00 */
	CLOSED,
	HOUSE,						/* a house account, -100.00 */
	N_STATES
} State;

static const char *const state_names[] = {"empty", "funded", "limited", "holding", "overdrawn",
"frozen", "closed", "house"};

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

/* An account in one of the states, in HTG, with three events behind it. */
static BankAccount
account_in(State state, int n)
{
	BankAccount account;

	memset(&account, 0, sizeof(account));
	account.id = id_of(n);
	account.version = 3;
	account.status = state == FROZEN ? BANK_STATUS_FROZEN :
		state == CLOSED ? BANK_STATUS_CLOSED : BANK_STATUS_ACTIVE;
	memcpy(account.currency, "HTG", 3);
	account.debits = 20000;
	account.credits = state == EMPTY || state == CLOSED ? 20000 : state == OVERDRAWN ? 17000 :
		state == HOUSE ? 10000 : 30000;
	account.held = state == HOLDING ? 4000 : 0;
	account.next_expiry = state == HOLDING ? 1000000 : BANK_NO_EXPIRY;
	account.limits.overdraft = state == LIMITED || state == OVERDRAWN ? 5000 : 0;
	account.limits.balance = state == LIMITED ? 15000 : BANK_NO_LIMIT;
	account.created_at = 1000;
	account.recorded_at = 2000;
	account.business_at = 1500;
	account.position = 30;
	account.opening.type = state == HOUSE ? BANK_TYPE_HOUSE : BANK_TYPE_COURANT;
	account.opening.has_owner = state != HOUSE;
	if (state == HOUSE)
	{
		memcpy(account.opening.house_code, "cash", 5);
		account.opening.stripe = 1;
		account.opening.house_account_id = id_of(99);
	}
	else
		memcpy(account.opening.number, "000000000195", 13);
	return account;
}

/* Put a decided event into its place: what the use cases add to it. */
static void
complete(BankEvent *event, const BankAccount *aggregate, const BankAccount *peer)
{
	event->position = 1 + (peer != NULL && peer->position > aggregate->position ?
						   peer->position : aggregate->position);
	event->recorded_at = 1 + (peer != NULL && peer->recorded_at > aggregate->recorded_at ?
							  peer->recorded_at : aggregate->recorded_at);
	event->event_id = id_of(200);
}

/* The answer to one command, by name: the event type, or the refusal. */
static const char *
answer(bool accepted, const BankEvent *event, const BankError *error)
{
	static char text[64];

	if (accepted)
		return bank_event_type_name(event->type);
	(void) snprintf(text, sizeof(text), "%s %s", bank_error_sqlstate(error->code),
					bank_error_message(error->code));
	return text;
}

/*
 * Ask a command, named in the table, of an account in a state; the other account
 * of a movement is house or an account that takes anything.
 */
static const char *
ask(const char *command, State state, BankEvent *event, BankError *error)
{
	BankAccount account = account_in(state, 1);
	BankAccount house = account_in(HOUSE, 2);
	BankAccount other = account_in(FUNDED, 3);
	BankMoney	ten = money(1000, "HTG");
	BankMoney	eighty = money(8000, "HTG");
	BankLimits	none = {0, BANK_NO_LIMIT};
	BankLimits	low = {0, 9999};
	BankLimits	high = {5000, 15000};
	const BankAccount *peer = NULL;
	bool		accepted;
	bool		incoming = false;

	error->code = BANK_OK;
	if (strcmp(command, "deposit 10") == 0)
		accepted = bank_account_decide_movement(BANK_EVENT_DEPOSITED, &account, peer = &house,
												&ten, event, error);
	else if (strcmp(command, "deposit 80") == 0)
		accepted = bank_account_decide_movement(BANK_EVENT_DEPOSITED, &account, peer = &house,
												&eighty, event, error);
	else if (strcmp(command, "withdraw 10") == 0)
		accepted = bank_account_decide_movement(BANK_EVENT_WITHDRAWN, &account, peer = &house,
												&ten, event, error);
	else if (strcmp(command, "withdraw 80") == 0)
		accepted = bank_account_decide_movement(BANK_EVENT_WITHDRAWN, &account, peer = &house,
												&eighty, event, error);
	else if (strcmp(command, "transfer 80 from") == 0)
		accepted = bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &account, peer = &other,
												&eighty, event, error);
	else if (strcmp(command, "transfer 80 to") == 0)
	{
		incoming = true;
		accepted = bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &other, &account, &eighty,
												event, error);
	}
	else if (strcmp(command, "freeze") == 0)
		accepted = bank_account_decide_freeze(&account, event, error);
	else if (strcmp(command, "unfreeze") == 0)
		accepted = bank_account_decide_unfreeze(&account, event, error);
	else if (strcmp(command, "close") == 0)
		accepted = bank_account_decide_close(&account, event, error);
	else if (strcmp(command, "no limits") == 0)
		accepted = bank_account_decide_limits(&account, &none, event, error);
	else if (strcmp(command, "low ceiling") == 0)
		accepted = bank_account_decide_limits(&account, &low, event, error);
	else
		accepted = bank_account_decide_limits(&account, &high, event, error);

	/* whatever is decided continues both streams without a flaw */
	if (accepted)
	{
		const BankAccount *aggregate = incoming ? &other : &account;

		if (incoming)
			peer = &account;
		complete(event, aggregate, peer);
		if (bank_account_check(aggregate, event, false) != 0 ||
			(peer != NULL && bank_account_check(peer, event, true) != 0))
			return "a flawed event";
	}
	return answer(accepted, event, error);
}

#define NOT_ACTIVE "BK002 Account is not active"
#define POOR "BK004 Insufficient balance"
#define LIMIT "BK005 Limit exceeded"
#define NO_CUSTOMER "BK009 Invalid account type"
#define CLOSED_ALREADY "BK010 Account is already closed"
#define NOT_EMPTY "BK010 Account is not empty"
#define NOT_FROZEN "BK010 Account is not frozen"
#define IN "money.deposited"
#define OUT "money.withdrawn"
#define MOVED "transfer.completed"
#define CHANGED "account.limits_changed"

/* Every command in every state. */
static void
test_decisions(void)
{
	static const struct
	{
		const char *command;
		const char *answers[N_STATES];
	}			table[] = {
		/* empty, funded, limited, holding, overdrawn, frozen, closed, house */
		{"deposit 10", {IN, IN, IN, IN, IN, NOT_ACTIVE, NOT_ACTIVE, IN}},
		{"deposit 80", {IN, IN, LIMIT, IN, IN, NOT_ACTIVE, NOT_ACTIVE, IN}},
		{"withdraw 10", {POOR, OUT, OUT, OUT, OUT, NOT_ACTIVE, NOT_ACTIVE, OUT}},
		{"withdraw 80", {POOR, OUT, OUT, POOR, POOR, NOT_ACTIVE, NOT_ACTIVE, OUT}},
		{"transfer 80 from", {POOR, MOVED, MOVED, POOR, POOR, NOT_ACTIVE, NOT_ACTIVE, MOVED}},
		{"transfer 80 to", {MOVED, MOVED, LIMIT, MOVED, MOVED, NOT_ACTIVE, NOT_ACTIVE, MOVED}},
		{"freeze", {"account.frozen", "account.frozen", "account.frozen", "account.frozen",
		"account.frozen", "BK010 Account is already frozen", CLOSED_ALREADY, NO_CUSTOMER}},
		{"unfreeze", {NOT_FROZEN, NOT_FROZEN, NOT_FROZEN, NOT_FROZEN, NOT_FROZEN,
		"account.unfrozen", CLOSED_ALREADY, NO_CUSTOMER}},
		{"close", {"account.closed", NOT_EMPTY, NOT_EMPTY, NOT_EMPTY, NOT_EMPTY, NOT_ACTIVE,
		CLOSED_ALREADY, NO_CUSTOMER}},
		{"no limits", {CHANGED, CHANGED, CHANGED, CHANGED, LIMIT, NOT_ACTIVE, NOT_ACTIVE,
		NO_CUSTOMER}},
		{"low ceiling", {CHANGED, LIMIT, LIMIT, LIMIT, LIMIT, NOT_ACTIVE, NOT_ACTIVE,
		NO_CUSTOMER}},
		{"both limits", {CHANGED, CHANGED, CHANGED, CHANGED, CHANGED, NOT_ACTIVE, NOT_ACTIVE,
		NO_CUSTOMER}},
	};
	size_t		i;
	int			state;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		for (state = 0; state < N_STATES; state++)
		{
			BankEvent	event;
			BankError	error;
			char		name[80];

			(void) snprintf(name, sizeof(name), "%s, account %s", table[i].command,
							state_names[state]);
			check_text(ask(table[i].command, (State) state, &event, &error),
					   table[i].answers[state], name);
		}
	}
}

/* What the refusals say. */
static void
test_details(void)
{
	static const struct
	{
		const char *command;
		State		state;
		const char *detail;
		const char *hint;
	}			cases[] = {
		{"withdraw 10", EMPTY, "Available: 0.00 HTG", ""},
		{"withdraw 80", HOLDING, "Available: 60.00 HTG", ""},
		{"withdraw 80", OVERDRAWN, "Available: 20.00 HTG", ""},
		{"deposit 80", LIMITED, "Balance limit: 150.00 HTG, balance: 100.00 HTG", ""},
		{"deposit 10", FROZEN, "Status: FROZEN (account 00000000-0000-7000-8000-000000000001)", ""},
		{"deposit 10", CLOSED, "Status: CLOSED (account 00000000-0000-7000-8000-000000000001)", ""},
		{"unfreeze", FUNDED, "Status: ACTIVE", ""},
		{"close", HOLDING, "Balance: 100.00 HTG, held: 40.00 HTG", "Move the balance away first."},
		{"close", OVERDRAWN, "Balance: -30.00 HTG, held: 0.00 HTG", "Move the balance away first."},
		{"no limits", OVERDRAWN,
		"Balance: -30.00 HTG, held: 0.00 HTG; the new limits would not allow it.", ""},
		{"freeze", HOUSE, "House account cash takes movements only.", ""},
	};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		BankEvent	event;
		BankError	error;

		(void) ask(cases[i].command, cases[i].state, &event, &error);
		check_text(error.detail, cases[i].detail, cases[i].command);
		check_text(error.hint, cases[i].hint, cases[i].command);
	}
}

/* Events say what they should. */
static void
test_events(void)
{
	BankEvent	event;
	BankError	error;
	BankUuid	id = id_of(1);
	BankUuid	peer = id_of(3);

	(void) ask("transfer 80 from", FUNDED, &event, &error);
	check(bank_uuid_equal(&event.aggregate_id, &id) && bank_uuid_equal(&event.peer_id, &peer) &&
		  event.has_peer, "a transfer names source and destination");
	check_int(event.version, 4, "version of the source");
	check_int(event.peer_version, 4, "version of the destination");
	check_int(event.amount, 8000, "amount");
	check_int(event.balance, 2000, "balance of the source");
	check_int(event.peer_balance, 18000, "balance of the destination");
	check(memcmp(event.currency, "HTG", 3) == 0, "currency");
	(void) ask("deposit 80", EMPTY, &event, &error);
	check_int(event.balance, 8000, "balance after a deposit");
	check_int(event.peer_balance, -18000, "balance of the house after it");
	(void) ask("withdraw 80", FUNDED, &event, &error);
	check_int(event.balance, 2000, "balance after a withdrawal");
	check_int(event.peer_balance, -2000, "balance of the house after it");
	(void) ask("both limits", FUNDED, &event, &error);
	check(!event.has_peer && event.amount == 0 && event.balance == 10000 &&
		  event.limits.overdraft == 5000 && event.limits.balance == 15000,
		  "new limits move nothing and carry both");
}

/* What two accounts of a movement must have in common, or not. */
static void
test_two_accounts(void)
{
	BankAccount one = account_in(FUNDED, 1);
	BankAccount two = account_in(FUNDED, 2);
	BankMoney	htg = money(100, "HTG");
	BankMoney	usd = money(100, "USD");
	BankEvent	event;
	BankError	error;

	check_text(answer(bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &one, &one, &htg,
												   &event, &error), &event, &error),
			   "BK015 Source and destination are the same account", "transfer to itself");
	check_text(answer(bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &one, &two, &usd,
												   &event, &error), &event, &error),
			   "BK003 Currency mismatch", "amount in another currency");
	memcpy(two.currency, "USD", 3);
	check_text(answer(bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &one, &two, &htg,
												   &event, &error), &event, &error),
			   "BK003 Currency mismatch", "destination in another currency");
	check_text(answer(bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &one, &two, &usd,
												   &event, &error), &event, &error),
			   "BK003 Currency mismatch", "source in another currency");
	check_text(error.detail,
			   "The amount is in USD, the source account in HTG, the destination account in USD.",
			   "the three currencies");
}

/* The ends of the range: nothing wraps. */
static void
test_extremes(void)
{
	BankAccount account = account_in(EMPTY, 1);
	BankAccount house = account_in(HOUSE, 2);
	BankMoney	all = money(INT64_MAX, "HTG");
	BankMoney	one = money(1, "HTG");
	BankLimits	wide = {INT64_MAX, INT64_MAX};
	BankLimits	zero = {0, 0};
	BankLimits	bad[] = {{-1, BANK_NO_LIMIT}, {0, -2}, {INT64_MIN, 0}, {0, INT64_MIN}};
	BankEvent	event;
	BankError	error;
	size_t		i;

	account.credits = account.debits = 0;
	house.credits = house.debits = 0;
	check(bank_account_decide_movement(BANK_EVENT_DEPOSITED, &account, &house, &all, &event,
									   &error), "the greatest deposit");
	complete(&event, &account, &house);
	check_int(event.peer_balance, -INT64_MAX, "balance of the house");
	check_int(bank_account_check(&account, &event, false), 0, "sound on the account");
	check_int(bank_account_check(&house, &event, true), 0, "sound on the house");
	bank_account_apply(&account, &event, false);
	bank_account_apply(&house, &event, true);
	check_int(bank_account_balance(&account), INT64_MAX, "balance of the account");
	check_text(answer(bank_account_decide_movement(BANK_EVENT_DEPOSITED, &account, &house, &one,
												   &event, &error), &event, &error),
			   LIMIT, "one more");
	check_text(error.detail,
			   "The sum of an account's movements cannot exceed 92233720368547758.07 HTG.",
			   "one more, detail");
	check(bank_account_decide_limits(&account, &wide, &event, &error), "the widest limits");
	complete(&event, &account, NULL);
	bank_account_apply(&account, &event, false);
	check_int(bank_account_available(&account), INT64_MAX, "available saturates");
	check_text(answer(bank_account_decide_limits(&account, &zero, &event, &error), &event,
					  &error), LIMIT, "a ceiling of zero above a balance");
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_text(answer(bank_account_decide_limits(&account, &bad[i], &event, &error), &event,
						  &error), "BK008 Invalid amount", "a limit below zero");
	/* an overdraft used to its end, and the account full of debits */
	account = account_in(EMPTY, 1);
	account.credits = account.debits = 0;
	account.limits = wide;
	check(bank_account_decide_movement(BANK_EVENT_WITHDRAWN, &account, &house, &all, &event,
									   &error), "the greatest overdraft");
	complete(&event, &account, &house);
	bank_account_apply(&account, &event, false);
	check_int(bank_account_balance(&account), -INT64_MAX, "the lowest balance");
	check_int(bank_account_available(&account), 0, "nothing is left");
	check_text(answer(bank_account_decide_movement(BANK_EVENT_WITHDRAWN, &account, &house, &one,
												   &event, &error), &event, &error),
			   POOR, "one more");
}

/* Opening accounts. */
static void
test_create(void)
{
	BankUuid	id = id_of(1);
	BankLimits	none = {0, BANK_NO_LIMIT};
	BankLimits	wide = {5000, 15000};
	BankLimits	negative = {-1, BANK_NO_LIMIT};
	BankOpening customer = account_in(EMPTY, 1).opening;
	BankOpening house = account_in(HOUSE, 1).opening;
	BankOpening both = house;
	BankOpening neither = customer;
	BankAccount account;
	BankEvent	event;
	BankError	error;

	check(bank_account_decide_create(&id, "HTG", &wide, &customer, &event, &error), "a customer's");
	check_int(event.version, 1, "version 1");
	check_int(event.balance, 0, "balance 0");
	memset(&account, 0, sizeof(account));
	event.position = event.recorded_at = 7;
	check_int(bank_account_check(&account, &event, false), 0, "its event is sound");
	memset(&account, 0x55, sizeof(account));
	bank_account_apply(&account, &event, false);
	check(account.version == 1 && account.status == BANK_STATUS_ACTIVE && account.credits == 0 &&
		  account.debits == 0 && account.held == 0 && account.limits.overdraft == 5000 &&
		  account.limits.balance == 15000 && account.created_at == 7 && account.position == 7 &&
		  account.business_at == INT64_MIN && bank_uuid_equal(&account.id, &id) &&
		  memcmp(account.currency, "HTG", 3) == 0 &&
		  memcmp(&account.opening, &customer, sizeof(customer)) == 0,
		  "the account is what its opening says, whatever was there before");
	check(bank_account_decide_create(&id, "JPY", &none, &house, &event, &error), "the house's");
	event.position = event.recorded_at = 7;
	memset(&account, 0, sizeof(account));
	check_int(bank_account_check(&account, &event, false), 0, "its event is sound");
	check_text(answer(bank_account_decide_create(&id, "ZZZ", &none, &customer, &event, &error),
					  &event, &error), "BK014 Unknown currency", "unknown currency");
	check_text(answer(bank_account_decide_create(&id, "htg", &none, &customer, &event, &error),
					  &event, &error), "BK014 Unknown currency", "small letters");
	check_text(answer(bank_account_decide_create(&id, "HTG", &negative, &customer, &event,
												 &error), &event, &error),
			   "BK008 Invalid amount", "negative limit");
	both.type = BANK_TYPE_COURANT;
	check_text(answer(bank_account_decide_create(&id, "HTG", &none, &both, &event, &error),
					  &event, &error), NO_CUSTOMER, "a customer's account with a house code");
	neither.type = BANK_TYPE_HOUSE;
	check_text(answer(bank_account_decide_create(&id, "HTG", &none, &neither, &event, &error),
					  &event, &error), NO_CUSTOMER, "a house account without a code");
}

/* Versions, amounts, codes of house accounts. */
static void
test_small_checks(void)
{
	static const struct
	{
		const char *code;
		bool		good;
	}			codes[] = {
		{"cash", true}, {"a", true}, {"a1_", true}, {"vault_2", true},
		{"abcdefghijklmnopqrstuvwxyz012345", true},
		{"abcdefghijklmnopqrstuvwxyz0123456", false}, {"", false}, {"1a", false}, {"_a", false},
		{"A", false}, {"aB", false}, {"a-b", false}, {"a b", false}, {"a|b", false},
		{"caf\xc3\xa9", false}, {"a\"", false}, {"a\n", false},
	};
	static const char *const builtin[] = {"cash", "external", "fees", "interest", "exchange",
	"suspense"};
	BankAccount account = account_in(FUNDED, 1);
	BankMoney	zero = money(0, "HTG");
	BankMoney	one = money(1, "HTG");
	BankError	error;
	size_t		i;

	check(bank_account_check_version(account.version, 3, &error), "the version it has");
	check(!bank_account_check_version(account.version, 2, &error), "an older version");
	check_text(error.detail, "Expected version: 2, actual version: 3", "both versions are told");
	check_int(error.code, BANK_CONCURRENCY_CONFLICT, "BK006");
	check(!bank_account_check_version(account.version, INT64_MIN, &error), "an absurd version");
	check(bank_account_check_amount(&one, &error), "one centime");
	check(!bank_account_check_amount(&zero, &error), "nothing");
	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		check(bank_house_code_check(codes[i].code, strlen(codes[i].code), &error) == codes[i].good,
			  "house code %d is %s", (int) i, codes[i].good ? "good" : "bad");
	check(!bank_house_code_check("ca\0sh", 5, &error), "a zero byte in a house code");
	for (i = 0; i < sizeof(builtin) / sizeof(builtin[0]); i++)
		check(bank_house_code_is_builtin(builtin[i]) &&
			  bank_house_code_check(builtin[i], strlen(builtin[i]), &error), "%s is built in",
			  builtin[i]);
	check(!bank_house_code_is_builtin("vault") && !bank_house_code_is_builtin("") &&
		  !bank_house_code_is_builtin("cas") && !bank_house_code_is_builtin("cash2"),
		  "others are not");
}

/* Names of the enumerations, there and back. */
static void
test_names(void)
{
	int			n;
	bool		sound = true;

	for (n = 0; n < BANK_EVENT_UNKNOWN; n++)
	{
		const char *name = bank_event_type_name((BankEventType) n);

		/* two types have this name; who parses it finds the first, see event.h */
		sound = sound && bank_event_type_parse(name, strlen(name)) ==
			(n == BANK_EVENT_TRANSFER_COMPLETED ? BANK_EVENT_TRANSFERRED : (BankEventType) n) &&
			bank_event_type_parse(name, strlen(name) - 1) == BANK_EVENT_UNKNOWN;
	}
	for (n = 0; n < BANK_TYPE_UNKNOWN; n++)
	{
		const char *name = bank_account_type_name((BankAccountType) n);

		sound = sound && bank_account_type_parse(name, strlen(name)) == (BankAccountType) n;
	}
	for (n = 0; n < BANK_STATUS_UNKNOWN; n++)
	{
		const char *name = bank_account_status_name((BankAccountStatus) n);

		sound = sound && bank_account_status_parse(name, strlen(name)) == (BankAccountStatus) n;
	}
	check(sound, "names of event types, account types and statuses, there and back");
	check_int(bank_event_type_parse("", 0), BANK_EVENT_UNKNOWN, "no event type");
	check_int(bank_account_type_parse("courant", 7), BANK_TYPE_UNKNOWN, "no account type");
	check_int(bank_account_status_parse("ACTIVE ", 7), BANK_STATUS_UNKNOWN, "no status");
}

/* A sound deposit of 10.00 to account 1, for the flaws below to be put into. */
static BankEvent
sound_deposit(const BankAccount *account, const BankAccount *house)
{
	BankMoney	ten = money(1000, "HTG");
	BankEvent	event;
	BankError	error;

	if (!bank_account_decide_movement(BANK_EVENT_DEPOSITED, account, house, &ten, &event, &error))
		abort();
	complete(&event, account, house);
	return event;
}

/* Flaws of the event on the account's stream and on the house's, and what is said. */
static void
flawed(const char *what, const BankEvent *event, State state, unsigned expected,
	   unsigned expected_peer)
{
	BankAccount account = account_in(state, 1);
	BankAccount house = account_in(HOUSE, 2);
	char		name[96];

	(void) snprintf(name, sizeof(name), "%s: flaws on its stream", what);
	check_int(bank_account_check(&account, event, false), (int64_t) expected, name);
	(void) snprintf(name, sizeof(name), "%s: flaws on the peer's", what);
	check_int(bank_account_check(&house, event, true), (int64_t) expected_peer, name);
}

/* Every flaw bit of a movement. */
static void
test_flaws_of_movements(void)
{
	BankAccount account = account_in(FUNDED, 1);
	BankAccount house = account_in(HOUSE, 2);
	const BankEvent good = sound_deposit(&account, &house);
	BankEvent	event;

	flawed("nothing", &good, FUNDED, 0, 0);
#define FLAWED(what, change, state, expected, expected_peer) \
	do { \
		event = good; \
		change; \
		flawed(what, &event, state, expected, expected_peer); \
	} while (0)
	FLAWED("version too high", event.version++, FUNDED, BANK_FLAW_VERSION, 0);
	FLAWED("version taken", event.version--, FUNDED, BANK_FLAW_VERSION, 0);
	FLAWED("version lowest", event.version = INT64_MIN, FUNDED, BANK_FLAW_VERSION, 0);
	FLAWED("peer version", event.peer_version--, FUNDED, 0, BANK_FLAW_VERSION);
	FLAWED("currency", memcpy(event.currency, "USD", 3), FUNDED, BANK_FLAW_CURRENCY,
		   BANK_FLAW_CURRENCY);
	FLAWED("unknown type", event.type = BANK_EVENT_UNKNOWN, FUNDED, BANK_FLAW_SHAPE,
		   BANK_FLAW_SHAPE);
	FLAWED("no peer", event.has_peer = false, FUNDED, BANK_FLAW_SHAPE, BANK_FLAW_SHAPE);
	FLAWED("itself", event.peer_id = event.aggregate_id, FUNDED, BANK_FLAW_SHAPE, BANK_FLAW_SHAPE);
	FLAWED("opening", event.type = BANK_EVENT_CREATED, FUNDED, BANK_FLAW_SHAPE, BANK_FLAW_SHAPE);
	FLAWED("amount zero", event.amount = 0, FUNDED, BANK_FLAW_AMOUNT, BANK_FLAW_AMOUNT);
	FLAWED("amount negative", event.amount = -1000, FUNDED, BANK_FLAW_AMOUNT, BANK_FLAW_AMOUNT);
	FLAWED("amount lowest", event.amount = INT64_MIN, FUNDED, BANK_FLAW_AMOUNT, BANK_FLAW_AMOUNT);
	FLAWED("amount highest", event.amount = INT64_MAX, FUNDED, BANK_FLAW_AMOUNT, BANK_FLAW_AMOUNT);
	FLAWED("amount another", event.amount = 1001, FUNDED, BANK_FLAW_BALANCE, BANK_FLAW_BALANCE);
	FLAWED("balance", event.balance++, FUNDED, BANK_FLAW_BALANCE, 0);
	FLAWED("peer balance", event.peer_balance = INT64_MIN, FUNDED, 0, BANK_FLAW_BALANCE);
	FLAWED("direction", event.type = BANK_EVENT_WITHDRAWN, FUNDED, BANK_FLAW_BALANCE,
		   BANK_FLAW_BALANCE);
	FLAWED("time", event.recorded_at = 1999, FUNDED, BANK_FLAW_TIME, BANK_FLAW_TIME);
	FLAWED("the same time", event.recorded_at = 2000, FUNDED, 0, 0);
	FLAWED("no end of time", event.recorded_at = INT64_MAX, FUNDED, BANK_FLAW_TIME,
		   BANK_FLAW_TIME);
	FLAWED("business time, no end", event.has_occurred_at = true; event.occurred_at = INT64_MAX,
		   FUNDED, BANK_FLAW_TIME, BANK_FLAW_TIME);
	FLAWED("business time, no beginning", event.has_occurred_at = true;
		   event.occurred_at = INT64_MIN, FUNDED, BANK_FLAW_TIME, BANK_FLAW_TIME);
	FLAWED("business time long ago", event.has_occurred_at = true; event.occurred_at = -1, FUNDED,
		   0, 0);
	FLAWED("position taken", event.position = 30, FUNDED, BANK_FLAW_POSITION, BANK_FLAW_POSITION);
	FLAWED("position lowest", event.position = INT64_MIN, FUNDED, BANK_FLAW_POSITION,
		   BANK_FLAW_POSITION);
	FLAWED("frozen account", (void) 0, FROZEN, BANK_FLAW_STATUS, 0);
	FLAWED("closed account", event.balance = 1000, CLOSED, BANK_FLAW_STATUS, 0);
	FLAWED("beyond the ceiling", event.amount = 6000; event.balance = 16000;
		   event.peer_balance = -16000, LIMITED, BANK_FLAW_LIMITS, 0);
	FLAWED("beyond the overdraft", event.type = BANK_EVENT_WITHDRAWN; event.amount = 15001;
		   event.balance = -5001; event.peer_balance = 5001, LIMITED, BANK_FLAW_LIMITS, 0);
	FLAWED("into what is held", event.type = BANK_EVENT_WITHDRAWN; event.amount = 6001; event.held = 4000;
		   event.balance = 3999; event.peer_balance = -3999, HOLDING, BANK_FLAW_LIMITS, 0);
	FLAWED("several", event.balance++; event.recorded_at = 0; event.position = 0;
		   memcpy(event.currency, "USD", 3), FUNDED,
		   BANK_FLAW_BALANCE | BANK_FLAW_TIME | BANK_FLAW_POSITION | BANK_FLAW_CURRENCY,
		   BANK_FLAW_TIME | BANK_FLAW_POSITION | BANK_FLAW_CURRENCY);
#undef FLAWED
}

/* Flaws of events that move nothing. */
static void
test_flaws_of_others(void)
{
	BankAccount funded = account_in(FUNDED, 1);
	BankAccount house = account_in(HOUSE, 2);
	BankAccount absent;
	BankOpening customer = account_in(EMPTY, 1).opening;
	BankOpening stripe = house.opening;
	BankLimits	none = {0, BANK_NO_LIMIT};
	BankUuid	id = id_of(1);
	BankEvent	good;
	BankEvent	event;
	BankError	error;

	memset(&absent, 0, sizeof(absent));
	if (!bank_account_decide_freeze(&funded, &good, &error))
		abort();
	complete(&good, &funded, NULL);
#define FLAWED(what, change, account, expected) \
	do { \
		event = good; \
		change; \
		check_int(bank_account_check(account, &event, false), (int64_t) (expected), what); \
	} while (0)
	FLAWED("a freeze", (void) 0, &funded, 0);
	FLAWED("a freeze of a stripe", event.aggregate_id = house.id; event.balance = -10000, &house,
		   BANK_FLAW_SHAPE);
	FLAWED("a freeze of nothing", (void) 0, &absent, BANK_FLAW_VERSION);
	FLAWED("a freeze with an amount", event.amount = 1, &funded, BANK_FLAW_SHAPE);
	FLAWED("a freeze with a peer", event.has_peer = true; event.peer_id = house.id, &funded,
		   BANK_FLAW_SHAPE);
	FLAWED("a freeze with another balance", event.balance = 0, &funded, BANK_FLAW_BALANCE);
	FLAWED("an unfreeze of an active account", event.type = BANK_EVENT_UNFROZEN, &funded,
		   BANK_FLAW_STATUS);
	FLAWED("closing with money", event.type = BANK_EVENT_CLOSED, &funded, BANK_FLAW_STATUS);
	FLAWED("limits", event.type = BANK_EVENT_LIMITS_CHANGED; event.limits = none, &funded, 0);
	FLAWED("a ceiling below the balance", event.type = BANK_EVENT_LIMITS_CHANGED;
		   event.limits.balance = 9999, &funded, BANK_FLAW_LIMITS);
	FLAWED("a negative overdraft", event.type = BANK_EVENT_LIMITS_CHANGED; event.limits = none;
		   event.limits.overdraft = -1, &funded, BANK_FLAW_SHAPE);
	FLAWED("the lowest overdraft", event.type = BANK_EVENT_LIMITS_CHANGED; event.limits = none;
		   event.limits.overdraft = INT64_MIN, &funded, BANK_FLAW_SHAPE);
	FLAWED("a negative ceiling", event.type = BANK_EVENT_LIMITS_CHANGED;
		   event.limits.balance = -2, &funded, BANK_FLAW_SHAPE);

	if (!bank_account_decide_create(&id, "HTG", &none, &customer, &good, &error))
		abort();
	good.position = good.recorded_at = 1;
	FLAWED("an opening", (void) 0, &absent, 0);
	FLAWED("an opening of an account that is there", event.version = 4, &funded,
		   BANK_FLAW_VERSION);
	FLAWED("an opening at version 2", event.version = 2, &absent, BANK_FLAW_VERSION);
	FLAWED("an opening with money", event.balance = 1, &absent, BANK_FLAW_BALANCE);
	FLAWED("an opening in no currency", memcpy(event.currency, "ZZZ", 3), &absent,
		   BANK_FLAW_CURRENCY);
	FLAWED("an opening in zero bytes", memset(event.currency, 0, 3), &absent, BANK_FLAW_CURRENCY);
	FLAWED("an opening of no type", event.opening.type = BANK_TYPE_UNKNOWN, &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("an opening without an owner", event.opening.has_owner = false, &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("an opening without a number", event.opening.number[0] = '\0', &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("an opening with wrong check digits", event.opening.number[11] = '6', &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("an opening with a house code", memcpy(event.opening.house_code, "cash", 5), &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("an opening with a negative limit", event.limits.overdraft = -1, &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("a stripe", event.opening = stripe, &absent, 0);
	FLAWED("a stripe with an owner", event.opening = stripe; event.opening.has_owner = true,
		   &absent, BANK_FLAW_SHAPE);
	FLAWED("a stripe without a code", event.opening = stripe; event.opening.house_code[0] = '\0',
		   &absent, BANK_FLAW_SHAPE);
	FLAWED("a stripe with a bad code", event.opening = stripe; event.opening.house_code[0] = 'C',
		   &absent, BANK_FLAW_SHAPE);
	FLAWED("a stripe without a number", event.opening = stripe; event.opening.stripe = 0, &absent,
		   BANK_FLAW_SHAPE);
	FLAWED("a stripe of nothing", event.opening = stripe;
		   memset(&event.opening.house_account_id, 0, 16), &absent, BANK_FLAW_SHAPE);
#undef FLAWED
}

/* The trigger says the lowest flaw, each with its own sentence. */
static void
test_flaw_texts(void)
{
#define X(symbol, bit, text) \
	check_text(bank_flaw_text(bit), text, #symbol); \
	check_text(bank_flaw_text((bit) | 0x8000U), text, #symbol " with others above it"); \
	check(((bit) & ((bit) - 1)) == 0, #symbol " is one bit");
	BANK_FLAWS(X)
#undef X
	check_text(bank_flaw_text(BANK_FLAW_TIME | BANK_FLAW_VERSION),
			   bank_flaw_text(BANK_FLAW_VERSION), "the lowest of several");
	check_text(bank_flaw_text(0), "", "no flaw, no text");
}

/* A flawed event is applied with its own figures, so that a verification can go on behind it. */
static void
test_apply_flawed(void)
{
	BankAccount account = account_in(FUNDED, 1);
	BankAccount house = account_in(HOUSE, 2);
	BankEvent	event = sound_deposit(&account, &house);
	BankEvent	next;

	event.balance = 77700;
	event.version = 9;
	check(bank_account_check(&account, &event, false) != 0, "a wrong balance and version");
	bank_account_apply(&account, &event, false);
	check_int(bank_account_balance(&account), 77700, "the event's balance wins");
	check_int(account.version, 9, "the event's version wins");
	bank_account_apply(&house, &event, true);
	next = sound_deposit(&account, &house);
	check_int(bank_account_check(&account, &next, false), 0, "what follows is sound again");
	check_int(next.balance, 78700, "and counts from there");
}

/* --- histories against a model --- */

#define N_ACCOUNTS 5
#define N_STEPS 400

/* An account as a child would keep it. */
typedef struct Model
{
	bool		house;
	char		currency[4];
	char		status;			/* A, F, C */
	int64_t		balance;
	int64_t		overdraft;
	int64_t		ceiling;		/* -1: none */
	int64_t		version;
	int64_t		last_business;
} Model;

/* Would the model refuse a movement, and why? "" : no. */
static const char *
model_movement(const Model *from, const Model *to, int64_t amount, const char *currency)
{
	if (from == to)
		return "BK015";
	if (from->status != 'A' || to->status != 'A')
		return "BK002";
	if (strcmp(from->currency, currency) != 0 || strcmp(to->currency, currency) != 0)
		return "BK003";
	if (!from->house && from->balance - amount < -from->overdraft)
		return "BK004";
	if (!to->house && to->ceiling >= 0 && to->balance + amount > to->ceiling)
		return "BK005";
	return "";
}

/* One step of a history: a random command, put to rules and model; false: they differ. */
static bool
step(BankAccount *accounts, Model *models, int64_t *clock, uint64_t *random)
{
	int			i = (int) (check_random(random) % N_ACCOUNTS);
	int			j = (int) (check_random(random) % N_ACCOUNTS);
	int			kind = (int) (check_random(random) % 10);
	int64_t		amount = 1 + (int64_t) (check_random(random) % 5000);
	bool		usd = check_random(random) % 8 == 0;
	BankMoney	value = money(amount, usd ? "USD" : "HTG");
	const char *expected = "";
	BankEventType type = BANK_EVENT_FROZEN;
	BankAccount before[2] = {accounts[i], accounts[j]};
	Model	   *m = &models[i];
	BankEvent	event;
	BankError	error;
	bool		accepted;

	memset(&event, 0, sizeof(event));
	error.code = BANK_OK;
	if (kind < 6)
	{
		type = kind < 2 ? BANK_EVENT_DEPOSITED : kind < 4 ? BANK_EVENT_WITHDRAWN :
			BANK_EVENT_TRANSFERRED;
		expected = type == BANK_EVENT_DEPOSITED ?
			model_movement(&models[j], m, amount, usd ? "USD" : "HTG") :
			model_movement(m, &models[j], amount, usd ? "USD" : "HTG");
		accepted = bank_account_decide_movement(type, &accounts[i], &accounts[j], &value, &event,
												&error);
	}
	else if (kind == 6)
	{
		expected = m->house ? "BK009" : m->status != 'A' ? "BK010" : "";
		accepted = bank_account_decide_freeze(&accounts[i], &event, &error);
	}
	else if (kind == 7)
	{
		type = BANK_EVENT_UNFROZEN;
		expected = m->house ? "BK009" : m->status != 'F' ? "BK010" : "";
		accepted = bank_account_decide_unfreeze(&accounts[i], &event, &error);
	}
	else if (kind == 8 && check_random(random) % 8 == 0)
	{
		type = BANK_EVENT_CLOSED;
		expected = m->house ? "BK009" : m->status == 'C' ? "BK010" : m->status == 'F' ? "BK002" :
			m->balance != 0 ? "BK010" : "";
		accepted = bank_account_decide_close(&accounts[i], &event, &error);
	}
	else
	{
		BankLimits	limits;

		limits.overdraft = (int64_t) (check_random(random) % 4) * 2000;
		limits.balance = check_random(random) % 2 == 0 ? BANK_NO_LIMIT :
			(int64_t) (check_random(random) % 20000);
		type = BANK_EVENT_LIMITS_CHANGED;
		expected = m->house ? "BK009" : m->status != 'A' ? "BK002" :
			m->balance < -limits.overdraft ||
			(limits.balance >= 0 && m->balance > limits.balance) ? "BK005" : "";
		accepted = bank_account_decide_limits(&accounts[i], &limits, &event, &error);
	}

	if (accepted != (expected[0] == '\0') ||
		(!accepted && strcmp(bank_error_sqlstate(error.code), expected) != 0))
	{
		printf("# kind %d on %d and %d: the model says \"%s\", the rules %s\n", kind, i, j,
			   expected, accepted ? "yes" : bank_error_sqlstate(error.code));
		return false;
	}
	if (!accepted)
		return memcmp(&before[0], &accounts[i], sizeof(before[0])) == 0 &&
			memcmp(&before[1], &accounts[j], sizeof(before[1])) == 0;

	event.position = ++*clock;
	event.recorded_at = *clock;
	event.has_occurred_at = check_random(random) % 3 == 0;
	event.occurred_at = (int64_t) (check_random(random) % (uint64_t) *clock);
	if (event.type != type || bank_account_check(&accounts[i], &event, false) != 0 ||
		(event.has_peer && bank_account_check(&accounts[j], &event, true) != 0))
	{
		printf("# kind %d on %d and %d: its own event is flawed\n", kind, i, j);
		return false;
	}
	bank_account_apply(&accounts[i], &event, false);
	m->version++;
	if (type == BANK_EVENT_FROZEN)
		m->status = 'F';
	else if (type == BANK_EVENT_UNFROZEN)
		m->status = 'A';
	else if (type == BANK_EVENT_CLOSED)
		m->status = 'C';
	else if (type == BANK_EVENT_LIMITS_CHANGED)
	{
		m->overdraft = event.limits.overdraft;
		m->ceiling = event.limits.balance;
	}
	else
	{
		int64_t		business = event.has_occurred_at ? event.occurred_at : event.recorded_at;
		int64_t		delta = type == BANK_EVENT_DEPOSITED ? amount : -amount;

		bank_account_apply(&accounts[j], &event, true);
		m->balance += delta;
		models[j].balance -= delta;
		models[j].version++;
		if (business > m->last_business)
			m->last_business = business;
		if (business > models[j].last_business)
			models[j].last_business = business;
	}
	return true;
}

/* Is every account what the model says and within its limits; do the balances add up to 0? */
static bool
agrees(const BankAccount *accounts, const Model *models)
{
	int64_t		htg = 0;
	int64_t		usd = 0;
	int			i;

	for (i = 0; i < N_ACCOUNTS; i++)
	{
		const BankAccount *a = &accounts[i];
		const Model *m = &models[i];
		int64_t		balance = bank_account_balance(a);

		*(m->currency[0] == 'U' ? &usd : &htg) += balance;
		if (balance != m->balance || a->version != m->version ||
			a->business_at != m->last_business ||
			bank_account_status_name(a->status)[0] != m->status ||
			a->limits.overdraft != m->overdraft || a->limits.balance != m->ceiling ||
			a->debits < 0 || a->credits < 0 ||
			(!m->house && bank_account_available(a) != balance + m->overdraft) ||
			(!m->house && (balance < -m->overdraft || (m->ceiling >= 0 && balance > m->ceiling))))
		{
			printf("# account %d: balance %" PRId64 ", the model has %" PRId64 "\n", i, balance,
				   m->balance);
			return false;
		}
	}
	return htg == 0 && usd == 0;
}

/* Many random histories: two customers and a house account in HTG, one of each in USD. */
static void
test_histories(void)
{
	bool		sound = true;
	uint64_t	seed;

	for (seed = 1; seed <= 500 && sound; seed++)
	{
		BankAccount accounts[N_ACCOUNTS];
		Model		models[N_ACCOUNTS];
		uint64_t	random = seed;
		int64_t		clock = 1;
		int			i;

		for (i = 0; i < N_ACCOUNTS; i++)
		{
			const char *currency = i < 3 ? "HTG" : "USD";
			BankUuid	id = id_of(i + 1);
			BankLimits	limits = {0, BANK_NO_LIMIT};
			BankOpening opening = account_in(i == 2 || i == 4 ? HOUSE : EMPTY, i).opening;
			BankEvent	event;
			BankError	error;

			if (!bank_account_decide_create(&id, currency, &limits, &opening, &event, &error))
				abort();
			event.position = event.recorded_at = clock;
			bank_account_apply(&accounts[i], &event, false);
			memset(&models[i], 0, sizeof(models[i]));
			models[i].house = opening.type == BANK_TYPE_HOUSE;
			memcpy(models[i].currency, currency, 4);
			models[i].status = 'A';
			models[i].ceiling = -1;
			models[i].version = 1;
			models[i].last_business = INT64_MIN;
		}
		for (i = 0; i < N_STEPS && sound; i++)
			sound = step(accounts, models, &clock, &random) && agrees(accounts, models);
		if (!sound)
			printf("# seed %" PRIu64 "\n", seed);
	}
	check(sound, "random histories agree with the model, step by step");
}

/*
 * Anything may stand in an event: check and apply take it without overflow (the
 * sanitizers look on), and what has no flaw leaves the account within its limits, and what
 * has one is applied with its own figures.
 */
static void
test_garbage(void)
{
	static const int64_t figures[] = {0, 1, -1, 3, 4, 1000, 10000, 11000, -11000, INT64_MAX,
	INT64_MIN, INT64_MAX - 1, -INT64_MAX};
#define FIGURE() (figures[check_random(&state) % (sizeof(figures) / sizeof(figures[0]))])
	uint64_t	state = 3;
	bool		sound = true;
	int			accepted = 0;
	int			trial;

	for (trial = 0; trial < 300000 && sound; trial++)
	{
		BankAccount account = account_in((State) (check_random(&state) % N_STATES), 1);
		bool		as_peer = check_random(&state) % 2 == 0;
		BankEvent	event;

		if (check_random(&state) % 8 == 0)
			memset(&account, 0, sizeof(account));
		memset(&event, 0, sizeof(event));
		event.type = (BankEventType) (check_random(&state) % (BANK_EVENT_UNKNOWN + 1));
		event.aggregate_id = id_of((int) (check_random(&state) % 3));
		event.peer_id = id_of((int) (check_random(&state) % 3));
		event.has_peer = check_random(&state) % 4 != 0 ? bank_event_is_movement(event.type) :
			check_random(&state) % 2 == 0;
		event.version = check_random(&state) % 4 != 0 ? account.version + 1 : FIGURE();
		event.peer_version = check_random(&state) % 4 != 0 ? account.version + 1 : FIGURE();
		event.amount = check_random(&state) % 2 == 0 ? FIGURE() : event.has_peer ? 1000 : 0;
		memcpy(event.currency, check_random(&state) % 8 == 0 ? "USD" : "HTG", 3);
		event.balance = check_random(&state) % 2 == 0 ? FIGURE() :
			(event.type == BANK_EVENT_DEPOSITED ? 1000 : event.has_peer ? -1000 : 0) +
			bank_account_balance(&account);
		event.peer_balance = check_random(&state) % 2 == 0 ? FIGURE() :
			(event.type == BANK_EVENT_DEPOSITED ? -1000 : 1000) + bank_account_balance(&account);
		event.position = check_random(&state) % 4 != 0 ? 31 : FIGURE();
		event.recorded_at = check_random(&state) % 4 != 0 ? 2001 : FIGURE();
		event.has_occurred_at = check_random(&state) % 4 == 0;
		event.occurred_at = FIGURE();
		event.limits.overdraft = FIGURE();
		event.limits.balance = FIGURE();
		event.opening = account_in(check_random(&state) % 2 == 0 ? HOUSE : EMPTY, 1).opening;
		if (check_random(&state) % 4 == 0)
			event.opening.type = (BankAccountType) (check_random(&state) % 4);

		if (bank_account_check(&account, &event, as_peer) == 0)
		{
			bool		house;

			accepted++;
			bank_account_apply(&account, &event, as_peer);
			house = account.opening.type == BANK_TYPE_HOUSE;
			sound = account.debits >= 0 && account.credits >= 0 &&
				account.version == (as_peer ? event.peer_version : event.version) &&
				bank_account_balance(&account) == (as_peer ? event.peer_balance : event.balance) &&
				(house || (account.limits.overdraft >= 0 &&
						   bank_account_available(&account) >= 0 &&
						   (account.limits.balance == BANK_NO_LIMIT ||
							bank_account_balance(&account) <= account.limits.balance)));
		}
		else
		{
			int64_t		balance = as_peer ? event.peer_balance : event.balance;

			bank_account_apply(&account, &event, as_peer);
			sound = account.debits >= 0 && account.credits >= 0 &&
				(!bank_event_is_movement(event.type) || balance == INT64_MIN ||
				 bank_account_balance(&account) == balance);
		}
		if (!sound)
			printf("# trial %d, event type %d\n", trial, (int) event.type);
	}
#undef FIGURE
	check(sound, "whatever stands in an event, an account stays within its limits or follows it");
	check(accepted > 1000, "some of the random events had no flaw");
}

int
main(void)
{
	test_decisions();
	test_details();
	test_events();
	test_two_accounts();
	test_extremes();
	test_create();
	test_small_checks();
	test_names();
	test_flaws_of_movements();
	test_flaws_of_others();
	test_flaw_texts();
	test_apply_flawed();
	test_histories();
	test_garbage();
	return check_done();
}
