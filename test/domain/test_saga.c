/*
 * test_saga.c
 *		The use cases of transfers to and from other ledgers on a store in memory: what they
 *		ask of the ports, in which order, and what comes of it.
 */
#include "check.h"
#include "fake_store.h"

#include "application/accounts.h"
#include "application/holds.h"
#include "application/movements.h"
#include "application/transfers.h"

#include <stdlib.h>

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

static const BankOptions no_options;
static BankOutcome outcome;
static BankError error;

/* The options with an idempotency key. */
static BankOptions
with_key(const char *key)
{
	BankOptions options = no_options;

	options.key = key;
	return options;
}

/* The options with an expected version. */
static BankOptions
with_version(int64_t version)
{
	BankOptions options = no_options;

	options.has_expected_version = true;
	options.expected_version = version;
	return options;
}

/* The options with a business time. */
static BankOptions
at_time(int64_t occurred_at)
{
	BankOptions options = no_options;

	options.has_occurred_at = true;
	options.occurred_at = occurred_at;
	return options;
}

/* Money that must be right. */
static BankMoney
money(int64_t minor, const char *currency)
{
	BankMoney	amount;

	if (!bank_money_make(minor, currency, &amount, &error))
		abort();
	return amount;
}

/*
 * The end of a command: a refusal takes everything back. Answers with the event type, marked
 * when it is replayed, or with the SQLSTATE.
 */
static const char *
done(bool accepted)
{
	static char text[64];

	if (!accepted)
	{
		fake_rollback();
		return bank_error_sqlstate(error.code);
	}
	(void) snprintf(text, sizeof(text), "%s%s", bank_event_type_name(outcome.event.type),
					outcome.replayed ? " again" : "");
	return text;
}

/* Commands with short names; accounts by number, amounts in centimes of HTG. */
static void
create(int n, const BankMoney *ceiling)
{
	BankUuid	owner = fake_uuid(250);
	BankUuid	id = fake_uuid(n);
	BankNewAccount arguments = {&owner, "COURANT", "HTG", &id, NULL, ceiling};

	fake_begin();
	(void) done(bank_accounts_create(&arguments, &no_options, &outcome, &error));
}

static const char *
deposit(int n, int64_t minor)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_deposit(&id, &amount, "cash", &no_options, &outcome, &error));
}

static const char *
withdraw(int n, int64_t minor)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_withdraw(&id, &amount, "cash", &no_options, &outcome, &error));
}

static const char *
change(bool (*use_case) (const BankUuid *, const BankOptions *, BankOutcome *, BankError *), int n)
{
	BankUuid	id = fake_uuid(n);

	fake_begin();
	return done(use_case(&id, &no_options, &outcome, &error));
}

static const char *
send_to(int n, int64_t minor, const char *participant, const char *destination,
		const int64_t *deadline_in, const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");
	BankNewTransfer arguments = {&id, &amount, participant, destination, deadline_in};

	fake_begin();
	return done(bank_transfers_send(&arguments, options, &outcome, &error));
}

static const char *
send(int n, int64_t minor, const BankOptions *options)
{
	return send_to(n, minor, "north", "account 7", NULL, options);
}

static const char *
cancel(const BankUuid *id, const BankOptions *options)
{
	fake_begin();
	return done(bank_transfers_cancel(id, options, &outcome, &error));
}

static const char *
resolve(const BankUuid *id, const char *state, const char *reason, const BankOptions *options)
{
	fake_begin();
	return done(bank_transfers_resolve(id, state, reason, options, &outcome, &error));
}

static const char *
receive(int id, int to, int64_t minor, const char *participant, const BankOptions *options)
{
	BankUuid	transfer_id = fake_uuid(id);
	BankUuid	account_id = fake_uuid(to);
	BankMoney	amount = money(minor, "HTG");
	BankIncoming arguments = {&transfer_id, &account_id, &amount, participant, "external", NULL};

	fake_begin();
	return done(bank_transfers_receive(&arguments, options, &outcome, &error));
}

static const char *
give_back(int id, const char *participant, bool final, const BankOptions *options)
{
	BankUuid	transfer_id = fake_uuid(id);

	fake_begin();
	return done(bank_transfers_cancel_received(&transfer_id, participant, final, options, &outcome,
											   &error));
}

/* Steps of the worker. */
static bool
submit(const BankUuid *id)
{
	fake_begin();
	return bank_transfers_submit(id);
}

static bool
conclude(const BankUuid *id, BankTransferAction asked, BankTransferAnswer answer)
{
	fake_begin();
	return bank_transfers_conclude(id, asked, answer, "BK004", "because");
}

static bool
expire(const BankUuid *id)
{
	fake_begin();
	return bank_transfers_expire(id);
}

/* The stored account with this number. */
static const BankAccount *
stored(int n)
{
	BankUuid	id = fake_uuid(n);
	int			i;

	for (i = 0; i < fake.n_accounts; i++)
	{
		if (bank_uuid_equal(&fake.accounts[i].id, &id))
			return &fake.accounts[i];
	}
	abort();
}

/* What a house account has, all stripes together. */
static int64_t
house_balance(const char *code)
{
	int64_t		balance = 0;
	int			i;

	for (i = 0; i < fake.n_accounts; i++)
	{
		if (strcmp(fake.accounts[i].opening.house_code, code) == 0)
			balance += bank_account_balance(&fake.accounts[i]);
	}
	return balance;
}

/* Balance, held, and the state of a transfer: "80.00, 0.00, completed" in centimes. */
static const char *
is(int n, const BankUuid *id)
{
	static char text[120];
	const BankTransfer *transfer = fake_transfer(id);

	(void) snprintf(text, sizeof(text), "%" PRId64 ", %" PRId64 ", %s",
					bank_account_balance(stored(n)), stored(n)->held,
					transfer == NULL ? "none" : bank_transfer_state_name(transfer->state));
	return text;
}

/* A ledger with customers 1 and 2, who have 100.00 each, and two participants. */
static void
begin(void)
{
	fake_reset();
	create(1, NULL);
	create(2, NULL);
	(void) deposit(1, 10000);
	(void) deposit(2, 10000);
	(void) strcpy(fake.participants[0].name, "north");
	(void) strcpy(fake.participants[0].house_code, "external");
	fake.participants[0].deadline = HOUR;
	(void) strcpy(fake.participants[1].name, "south");
	(void) strcpy(fake.participants[1].house_code, "fees");
	fake.participants[1].deadline = INT64_MAX;
	fake.n_participants = 2;
}

/* A transfer of this much of account 1, brought into this state. */
static BankUuid
bring(int64_t minor, const char *state)
{
	BankUuid	id;

	begin();
	(void) send(1, minor, &no_options);
	id = outcome.event.aggregate_id;
	if (strcmp(state, "reserved") == 0)
		return id;
	(void) submit(&id);
	if (strcmp(state, "submitted") == 0)
		return id;
	if (strcmp(state, "completed") == 0 || strcmp(state, "returning") == 0 ||
		strcmp(state, "captured doubt") == 0)
		(void) conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED);
	if (strcmp(state, "completed") == 0)
		return id;
	if (strcmp(state, "rejected") == 0)
		(void) conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_REFUSED);
	else if (strcmp(state, "doubt") != 0)
		(void) cancel(&id, &no_options);
	if (strstr(state, "doubt") != NULL)
	{
		fake.now += 2 * HOUR;
		(void) expire(&id);
	}
	return id;
}

/* Money is reserved, and the worker is told. */
static void
test_send(void)
{
	static const char metadata[] = "{}";
	BankUuid	one = fake_uuid(1);
	BankMoney	ten = money(1000, "HTG");
	BankMoney	usd = money(1000, "USD");
	BankOptions options = no_options;
	char		name[BANK_PARTICIPANT_TEXT + 1];
	const BankTransfer *transfer;
	const BankEvent *events;
	BankUuid	id;
	int64_t		deadline_in;
	int			n;
	size_t		i;
	const struct
	{
		const char *what;
		BankNewTransfer arguments;
		const char *answer;
	}			cases[] = {
		{"no account", {NULL, &ten, "north", "x", NULL}, "BK021"},
		{"no amount", {&one, NULL, "north", "x", NULL}, "BK021"},
		{"no participant", {&one, &ten, NULL, "x", NULL}, "BK021"},
		{"no destination", {&one, &ten, "north", NULL, NULL}, "BK021"},
		{"an empty destination", {&one, &ten, "north", "", NULL}, "BK034"},
		{"a line as destination", {&one, &ten, "north", "x\n", NULL}, "BK034"},
	};

	begin();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		fake_begin();
		check_text(done(bank_transfers_send(&cases[i].arguments, &no_options, &outcome, &error)),
				   cases[i].answer, cases[i].what);
		check_text(fake_trace, "", "refused before anything is asked of the store");
	}
	n = fake.n_events;
	check_text(send(1, 0, &no_options), "BK008", "nothing");
	check_text(send(9, 1000, &no_options), "BK001", "of no account");
	check_text(send(1, 10001, &no_options), "BK004", "more than there is");
	check_text(send_to(1, 1000, "west", "x", NULL, &no_options), "BK031", "to nobody");
	check_text(error.detail, "Participant: west", "says whom");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	check_text(send_to(1, 1000, name, "x", NULL, &no_options), "BK031", "a name too long");
	deadline_in = 0;
	check_text(send_to(1, 1000, "north", "x", &deadline_in, &no_options), "BK016", "no time");
	deadline_in = BANK_HOLD_LONGEST + 1;
	check_text(send_to(1, 1000, "north", "x", &deadline_in, &no_options), "BK016", "too much time");
	options = with_version(7);
	check_text(send(1, 1000, &options), "BK006", "a version it does not have");
	{
		BankNewTransfer arguments = {&one, &usd, "north", "x", NULL};

		fake_begin();
		check_text(done(bank_transfers_send(&arguments, &no_options, &outcome, &error)), "BK003",
				   "another currency");
	}
	(void) change(bank_accounts_freeze, 2);
	check_text(send(2, 1000, &no_options), "BK002", "of a frozen account");
	check_int(fake.n_events, n + 1, "refusals leave no event");
	check_int(fake.n_schedule + fake.n_transfers + fake.n_holds, 0, "and nothing else");

	options = no_options;
	options.metadata = metadata;
	options.metadata_is_object = true;
	check_text(send(1, 1000, &options), "transfer.initiated", "it begins");
	check_text(fake_trace, "participant lock:1 append:transfer.initiated append:hold.created "
			   "append:transfer.reserved schedule ", "the account is locked, then all is appended");
	id = outcome.event.aggregate_id;
	transfer = fake_transfer(&id);
	events = &fake.events[fake.n_events - 3];
	check_text(is(1, &id), "10000, 1000, reserved", "the money is reserved");
	check(fake_hold(&id) != NULL && fake_hold(&id)->amount == 1000 &&
		  fake_hold(&id)->expires_at == BANK_NO_EXPIRY, "by a hold without end of the same name");
	check(transfer->amount == 1000 && bank_uuid_equal(&transfer->account_id, &one) &&
		  strcmp(transfer->participant, "north") == 0 &&
		  strcmp(transfer->destination, "account 7") == 0 &&
		  strcmp(transfer->house_code, "external") == 0, "as it was asked for");
	check_int(transfer->deadline, events[0].recorded_at + HOUR, "with the participant's deadline");
	check(events[0].metadata == metadata && events[2].metadata == NULL,
		  "metadata stands with the first event");
	check(fake_is_correlated(&events[1], metadata, &id), "and with that of the account, related");
	check_int(fake_scheduled(&id), 1, "the worker is told");
	check(bank_uuid_equal(&events[1].event_id, &id), "the hold is the transfer's");
	check(events[0].recorded_at == events[1].recorded_at &&
		  events[1].recorded_at == events[2].recorded_at, "all at the same time");

	deadline_in = 5 * SECOND;
	(void) send_to(1, 1000, "south", "x", &deadline_in, &no_options);
	transfer = fake_transfer(&outcome.event.aggregate_id);
	check_int(transfer->deadline, transfer->created_at + 5 * SECOND, "a deadline of its own");
	check_text(transfer->house_code, "fees", "the participant's house account");
	(void) send_to(1, 1000, "south", "x", NULL, &no_options);
	check_int(fake_transfer(&outcome.event.aggregate_id)->deadline, INT64_MAX - 1,
			  "a deadline beyond all times");
}

/* What another session does while a key is claimed. */
static BankUuid meanwhile_id;

static void
meanwhile(void)
{
	BankUuid	id = fake_uuid(1);
	BankMoney	amount = money(1000, "HTG");
	BankNewTransfer arguments = {&id, &amount, "north", "account 7", NULL};
	BankOptions options = with_key("k");
	BankOutcome other;

	fake_trace[0] = '\0';
	if (!bank_transfers_send(&arguments, &options, &other, &error))
		abort();
	meanwhile_id = other.event.aggregate_id;
}

/* The same key is the same transfer. */
static void
test_keys(void)
{
	BankOptions options = with_key("k");
	BankUuid	id;
	int			n;

	begin();
	(void) send(1, 1000, &options);
	id = outcome.event.aggregate_id;
	check_text(fake_trace, "find participant lock:1 claim append:transfer.initiated "
			   "append:hold.created append:transfer.reserved schedule ", "a key is claimed");
	n = fake.n_events;
	check_text(send(1, 1000, &options), "transfer.initiated again", "send again");
	check(bank_uuid_equal(&outcome.event.aggregate_id, &id), "is the same transfer");
	check_text(fake_trace, "find ", "nothing is locked");
	(void) submit(&id);
	(void) conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED);
	check_text(send(1, 1000, &options), "transfer.initiated again", "whatever became of it");
	check_text(send(1, 1001, &options), "BK007", "another amount");
	check_text(send(2, 1000, &options), "BK007", "another account");
	check_text(send_to(1, 1000, "south", "account 7", NULL, &options), "BK007", "another receiver");
	check_text(send_to(1, 1000, "north", "account 8", NULL, &options), "BK007", "another account "
			   "there");
	{
		int64_t		deadline_in = HOUR;

		check_text(send_to(1, 1000, "north", "account 7", &deadline_in, &options), "BK007",
				   "another deadline");
	}
	check_text(cancel(&id, &options), "BK007", "another command");
	check_int(fake.n_events, n + 4, "nothing came of that");

	begin();
	fake_begin();
	{
		BankUuid	one = fake_uuid(1);
		BankMoney	amount = money(1000, "HTG");
		BankNewTransfer arguments = {&one, &amount, "north", "account 7", NULL};

		fake_meanwhile = meanwhile;
		check_text(done(bank_transfers_send(&arguments, &options, &outcome, &error)),
				   "transfer.initiated again", "somebody else was first with the key");
		check(bank_uuid_equal(&outcome.event.aggregate_id, &meanwhile_id), "it is his");
		check_int(fake.n_transfers, 1, "there is one");
	}

	id = bring(1000, "submitted");
	options = with_key("c");
	check_text(cancel(&id, &options), "transfer.cancel_requested", "cancel with a key");
	check_text(fake_trace, "find transfer claim participant append:transfer.cancel_requested "
			   "schedule ", "claims it under the lock");
	check_text(cancel(&id, &options), "transfer.cancel_requested again", "once more");
	options = with_key("d");
	check_text(cancel(&id, &options), "BK030", "with another key");
	check_text(bank_error_message(error.code), "Transfer is under way", "it is under way");

	id = bring(1000, "doubt");
	options = with_key("r");
	check_text(resolve(&id, "rejected", "phone call", &options), "transfer.rejected", "resolve");
	check_text(resolve(&id, "rejected", "phone call", &options), "transfer.rejected again", "again");
	check_text(resolve(&id, "rejected", "letter", &options), "BK007", "for another reason");
	check_text(resolve(&id, "completed", "phone call", &options), "BK007", "to another state");

	options = with_key("i");
	check_text(receive(100, 1, 500, "north", &options), "transfer.received", "receive");
	check_text(receive(100, 1, 500, "north", &options), "transfer.received again", "again");
	check_text(receive(101, 1, 500, "north", &options), "BK007", "another transfer");
	options = with_key("g");
	check_text(give_back(100, "north", false, &options), "transfer.cancelled", "give back");
	check_text(give_back(100, "north", false, &options), "transfer.cancelled again", "again");
	check_text(give_back(101, "north", false, &options), "BK007", "another one");
	options = with_key("i");
	check_text(receive(100, 1, 500, "north", &options), "transfer.received again",
			   "the first outcome of its key");
}

/* What the worker does between two exchanges. */
static void
test_worker(void)
{
	BankUuid	id = bring(1000, "reserved");
	BankUuid	nobody = fake_uuid(99);
	char		reason[3 * BANK_REASON_TEXT];
	int			i;

	check(!conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "no answer before a request");
	check(submit(&id), "about to be sent");
	check_text(fake_trace, "transfer append:transfer.submitted ", "under the transfer's lock");
	check(!submit(&id), "not twice");
	check(!submit(&nobody) && !expire(&nobody) &&
		  !conclude(&nobody, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "nor what there is not");
	check(!conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_NONE), "no answer");
	check(!conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_UNKNOWN), "unknown there");
	check(!expire(&id), "before the deadline");
	check_text(is(1, &id), "10000, 1000, submitted", "it is asked for");
	check_int(fake_scheduled(&id), 1, "as before");
	check(conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_RECEIVED), "received");
	check_text(fake_trace, "transfer lock:1 house:external hold append:account.created "
			   "append:hold.captured append:transfer.completed settle ",
			   "transfer, account, house are locked in this order");
	check_text(is(1, &id), "9000, 0, completed", "the money has left");
	check_int(house_balance("external"), 1000, "for the house account of the participant");
	check(fake_transfer(&id)->captured && fake_hold(&id)->status == BANK_HOLD_CAPTURED,
		  "the hold is captured");
	check_int(fake_scheduled(&id), 0, "nobody is asked any more");
	check_int(fake.events[fake.n_events - 1].terms->account_version, stored(1)->version,
			  "the event says where");
	check(fake_is_correlated(&fake.events[fake.n_events - 2], NULL, &id), "and the other one why");
	check(!conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_RECEIVED), "once");
	check(!conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "and unasked it stays");

	id = bring(1000, "submitted");
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_REFUSED), "refused");
	check_text(fake_trace, "transfer lock:1 hold append:hold.released append:transfer.rejected "
			   "settle ", "no house account is needed");
	check_text(is(1, &id), "10000, 0, rejected", "the money is free");
	check_text(fake_transfer(&id)->code, "BK004", "with the code");
	check_text(fake_transfer(&id)->reason, "because", "and the reason");
	check_int(fake_scheduled(&id), 0, "nobody is asked any more");

	/* e with acute accent is two bytes: 255 of these are cut inside of one */
	id = bring(1000, "submitted");
	for (i = 0; i + 2 < (int) sizeof(reason); i += 2)
		memcpy(reason + i, "\xc3\xa9", 3);
	fake_begin();
	check(bank_transfers_conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_REFUSED, "toolong", reason),
		  "a long reason");
	check_int((int64_t) strlen(fake_transfer(&id)->reason), BANK_REASON_TEXT - 2,
			  "is cut between characters");
	check_text(fake_transfer(&id)->code, "toolo", "a code likewise");

	/* a clock that goes back */
	id = bring(1000, "submitted");
	fake.now -= HOUR;
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "while the clock goes back");
	check(fake_transfer(&id)->recorded_at >= fake_transfer(&id)->created_at, "time does not");
}

/* The deadline of each state. */
static void
test_deadlines(void)
{
	BankUuid	id = bring(1000, "reserved");

	check(!expire(&id), "a microsecond before the deadline of what was not sent");
	fake.now = fake_transfer(&id)->deadline;
	check(expire(&id), "the deadline of what was not sent");
	check_text(is(1, &id), "10000, 0, rejected", "it is rejected");
	check_text(fake_transfer(&id)->reason, "Not sent by the deadline", "for that");
	check(!expire(&id), "once");

	id = bring(1000, "submitted");
	fake.now = fake_transfer(&id)->deadline - 1;
	check(!expire(&id), "just before the deadline of what was sent");
	check(expire(&id), "the deadline of what was sent");
	check_text(fake_trace, "transfer append:transfer.in_doubt settle ", "no account is touched");
	check_text(is(1, &id), "10000, 1000, in_doubt", "it is in doubt");
	check_text(fake_transfer(&id)->reason, "Not known at the deadline", "for that");
	check_int(fake_scheduled(&id), 0, "nobody is asked any more");
	check(!expire(&id), "once");
	check(!conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_RECEIVED), "nor is an answer taken");

	id = bring(1000, "cancelling");
	check(!expire(&id), "a request to cancel has a deadline of its own");
	fake.now = fake_transfer(&id)->deadline;
	check(expire(&id), "which comes");
	check_text(is(1, &id), "10000, 1000, in_doubt", "in doubt");
	id = bring(1000, "returning");
	fake.now = fake_transfer(&id)->deadline;
	check(expire(&id), "that of a completed one");
	check_text(is(1, &id), "9000, 0, in_doubt", "in doubt, but the money has left");
	id = bring(1000, "completed");
	fake.now = fake_transfer(&id)->deadline;
	check(!expire(&id), "what is completed has none");
}

/* Asking for it back, in every state. */
static void
test_cancel(void)
{
	BankUuid	id = bring(1000, "reserved");
	BankUuid	nobody = fake_uuid(99);
	BankOptions options = with_version(2);

	fake_begin();
	check_text(done(bank_transfers_cancel(NULL, &no_options, &outcome, &error)), "BK021", "null");
	check_text(cancel(&nobody, &no_options), "BK030", "one that there is not");
	check_text(bank_error_message(error.code), "Transfer not found", "is not found");
	options = with_version(3);
	check_text(cancel(&id, &options), "BK006", "a version it does not have");
	options = with_version(2);
	check_text(cancel(&id, &options), "transfer.rejected", "what was not sent is rejected");
	check_text(is(1, &id), "10000, 0, rejected", "at once");
	check_text(cancel(&id, &no_options), "BK030", "once more");
	check_text(bank_error_message(error.code), "Transfer is already resolved", "it is resolved");

	id = bring(1000, "submitted");
	check_text(cancel(&id, &no_options), "transfer.cancel_requested", "what was sent is asked for");
	check_text(fake_trace, "transfer participant append:transfer.cancel_requested schedule ",
			   "the worker is told");
	check_text(is(1, &id), "10000, 1000, cancelling", "and the money stays held");
	check_int(fake_transfer(&id)->deadline, fake_transfer(&id)->recorded_at + HOUR - 1,
			  "until a new deadline");
	check(!conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED) &&
		  !conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_RECEIVED),
		  "that it was received is no answer to that");
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "it is given back");
	check_text(is(1, &id), "10000, 0, rejected", "it never was there");
	id = bring(1000, "cancelling");
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_REFUSED), "or was refused before");
	check_text(is(1, &id), "10000, 0, rejected", "which is the same");
	id = bring(1000, "cancelling");
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_RECEIVED), "or it is not given back");
	check_text(is(1, &id), "9000, 0, completed", "so it is completed");
	check_text(fake_transfer(&id)->code, "BK004", "and says why");

	check_text(cancel(&id, &no_options), "transfer.cancel_requested", "what is completed");
	check_text(is(1, &id), "9000, 0, returning", "is asked back");
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_RECEIVED), "in vain");
	check_text(fake_trace, "transfer append:transfer.completed settle ", "nothing moves");
	check_text(is(1, &id), "9000, 0, completed", "it stays completed");
	(void) cancel(&id, &no_options);
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "or not");
	check_text(fake_trace, "transfer lock:1 house:external append:money.deposited "
			   "append:transfer.compensated settle ", "money comes back");
	check_text(is(1, &id), "10000, 0, compensated", "to the account");
	check_int(house_balance("external"), 0, "from where it was");
	check_text(cancel(&id, &no_options), "BK030", "and that is the end");

	id = bring(1000, "doubt");
	check_text(cancel(&id, &no_options), "transfer.cancel_requested", "in doubt, held");
	check_text(is(1, &id), "10000, 1000, cancelling", "is cancelling");
	id = bring(1000, "captured doubt");
	check_text(cancel(&id, &no_options), "transfer.cancel_requested", "in doubt, gone");
	check_text(is(1, &id), "9000, 0, returning", "is returning");
	check_int(fake_scheduled(&id), 1, "the worker is told");
	id = bring(1000, "returning");
	check_text(cancel(&id, &no_options), "BK030", "while it is returning");

	id = bring(1000, "submitted");
	fake.n_participants = 0;
	check_text(cancel(&id, &no_options), "BK031", "when the participant has gone");
	(void) receive(100, 1, 500, "north", &no_options);
	nobody = fake_uuid(100);
	check_text(cancel(&nobody, &no_options), "BK030", "one that came");
	check_text(bank_error_message(error.code), "Transfer not found", "was not sent");
}

/* What an operator says about doubts, in every state. */
static void
test_resolve(void)
{
	static const char *const states[] = {"completed", "rejected", "compensated", "submitted"};
	static const char *const held[] = {"9000, 0, completed", "10000, 0, rejected", NULL,
	"10000, 1000, submitted"};
	static const char *const gone[] = {"9000, 0, completed", NULL, "10000, 0, compensated", NULL};
	static const char *const others[] = {"reserved", "submitted", "cancelling", "returning",
	"completed", "rejected"};
	BankUuid	id;
	BankOptions options;
	int			kind;
	size_t		i;

	for (kind = 0; kind < 2; kind++)
	{
		for (i = 0; i < 4; i++)
		{
			const char *expected = kind == 0 ? held[i] : gone[i];

			id = bring(1000, kind == 0 ? "doubt" : "captured doubt");
			if (expected == NULL)
			{
				check_text(resolve(&id, states[i], "phone call", &no_options), "BK030", states[i]);
				check_text(bank_error_message(error.code), "Invalid resolution of a transfer",
						   "does not fit");
				continue;
			}
			check(strcmp(resolve(&id, states[i], "phone call", &no_options) + 9, states[i]) == 0,
				  "resolved: %s", states[i]);
			check_text(is(1, &id), expected, "what becomes of it");
			check_text(fake_transfer(&id)->reason, "phone call", "for the reason given");
			check_int(fake_scheduled(&id), i == 3, "whether the worker goes on");
			check_int(house_balance("external"), 10000 - bank_account_balance(stored(1)),
					  "nothing is lost");
		}
	}
	id = bring(1000, "doubt");
	(void) resolve(&id, "submitted", NULL, &no_options);
	check(fake_transfer(&id)->deadline > fake.now && fake_transfer(&id)->reason[0] == '\0',
		  "a new deadline, no reason");
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "and it goes on");
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		id = bring(1000, others[i]);
		check_text(resolve(&id, "completed", NULL, &no_options), "BK030", others[i]);
		check_text(bank_error_message(error.code), i < 4 ? "Transfer is under way" :
				   "Transfer is already resolved", "is not in doubt");
	}
	id = bring(1000, "doubt");
	check_text(resolve(&id, "in_doubt", NULL, &no_options), "BK030", "to no end");
	check_text(resolve(&id, "nonsense", NULL, &no_options), "BK030", "to nonsense");
	check_text(resolve(&id, NULL, NULL, &no_options), "BK021", "to nothing");
	fake_begin();
	check_text(done(bank_transfers_resolve(NULL, "rejected", NULL, &no_options, &outcome, &error)),
			   "BK021", "nothing");
	options = with_version(3);
	check_text(resolve(&id, "rejected", NULL, &options), "BK006", "another version");
	options = with_version(4);
	check_text(resolve(&id, "rejected", NULL, &options), "transfer.rejected", "the right one");
}

/* The account of a transfer, and what else happens to it. */
static void
test_account(void)
{
	BankUuid	id = bring(1000, "submitted");
	BankUuid	hold_id;
	BankMoney	all = money(9000, "HTG");
	BankMoney	ceiling = money(9500, "HTG");
	BankUuid	one = fake_uuid(1);
	int64_t		expires_in = SECOND;
	int			n;

	fake_begin();
	check_text(done(bank_holds_capture(&id, NULL, NULL, "cash", &no_options, &outcome, &error)),
			   "BK013", "nobody else captures its hold");
	check_text(bank_error_message(error.code), "Hold belongs to a transfer", "it is the transfer's");
	fake_begin();
	check_text(done(bank_holds_release(&id, &no_options, &outcome, &error)), "BK013",
			   "nor releases it");
	fake_begin();
	fake.now += 20 * 365 * 24 * HOUR;
	check_int(bank_holds_expire(100), 0, "nor does it expire");
	check_text(withdraw(1, 9001), "BK004", "its money is not there");
	check_text(withdraw(1, 9000), "money.withdrawn", "the rest is");
	check_text(change(bank_accounts_close, 1), "BK010", "the account cannot be closed");

	check_text(change(bank_accounts_freeze, 1), "account.frozen", "but frozen");
	check(conclude(&id, BANK_ACTION_STATUS, BANK_ANSWER_RECEIVED), "which does not stop it");
	check_text(is(1, &id), "0, 0, completed", "it is completed");
	(void) cancel(&id, &no_options);
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "and given back");
	check_text(is(1, &id), "0, 0, compensated", "but not to the account");
	check_int(house_balance("suspense"), 1000, "to suspense");
	check_int(house_balance("external"), 0, "from where it was");
	check(fake_is_correlated(&fake.events[fake.n_events - 2], NULL, &id) &&
		  fake.events[fake.n_events - 2].type == BANK_EVENT_TRANSFERRED, "by a transfer");
	check(!bank_uuid_equal(&fake.events[fake.n_events - 1].terms->account_id, &one),
		  "and the event says where");

	id = bring(1000, "returning");
	fake_begin();
	(void) done(bank_accounts_set_limits(&one, NULL, &ceiling, false, &no_options, &outcome,
										 &error));
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "back beyond a ceiling");
	check_text(is(1, &id), "9000, 0, compensated", "not to the account");
	check_int(house_balance("suspense"), 1000, "either");

	/* another session has used suspense at a time that is still to come for this one */
	id = bring(1000, "returning");
	(void) change(bank_accounts_freeze, 1);
	fake.now += HOUR;
	{
		BankUuid	two = fake_uuid(2);
		BankMoney	some = money(700, "HTG");

		fake_begin();
		check_text(done(bank_movements_withdraw(&two, &some, "suspense", &no_options, &outcome,
												&error)), "money.withdrawn", "suspense is in use");
	}
	fake.now -= HOUR;
	check(conclude(&id, BANK_ACTION_CANCEL, BANK_ANSWER_CANCELLED), "when its clock is ahead");
	check_int(house_balance("suspense"), 1700, "the time of the step is that of suspense");

	/* holds of the account whose time is over go first */
	begin();
	fake_begin();
	(void) done(bank_holds_create(&one, &all, &expires_in, &no_options, &outcome, &error));
	hold_id = outcome.event.hold_id;
	check_text(send(1, 2000, &no_options), "BK004", "what another hold has");
	fake.now += 2 * SECOND;
	check_text(send(1, 2000, &no_options), "transfer.initiated", "is free when its time is over");
	check_text(fake_trace, "participant lock:1 expired:1 append:hold.expired "
			   "append:transfer.initiated append:hold.created append:transfer.reserved schedule ",
			   "which is recorded first");
	id = outcome.event.aggregate_id;
	check_int(fake_hold(&hold_id)->status, BANK_HOLD_LAPSED, "it has expired");
	(void) submit(&id);
	all = money(8000, "HTG");
	fake_begin();
	(void) done(bank_holds_create(&one, &all, &expires_in, &no_options, &outcome, &error));
	fake.now += 2 * SECOND;
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "when it is completed, too");
	check_text(fake_trace, "transfer lock:1 house:external expired:1 hold append:hold.expired "
			   "append:account.created append:hold.captured append:transfer.completed settle ",
			   "expiry, then capture");
	check_text(is(1, &id), "8000, 0, completed", "both are there");
	n = fake.n_events;
	check_int(fake.events[n - 4].type, BANK_EVENT_HOLD_EXPIRED, "in this order");
}

/* Business times: of the movements, never of the transfer. */
static void
test_business_time(void)
{
	BankOptions options;
	BankUuid	id;
	int64_t		tomorrow;

	begin();
	tomorrow = fake.now + 20 * HOUR;
	options = at_time(tomorrow);
	check_text(send(1, 1000, &options), "transfer.initiated", "sent for tomorrow");
	id = outcome.event.aggregate_id;
	check(!outcome.event.has_occurred_at && fake_hold(&id)->created_at == tomorrow,
		  "the hold is of tomorrow");
	options = at_time(tomorrow - 1);
	check_text(cancel(&id, &options), "BK016", "it cannot end before it begins");
	(void) submit(&id);
	check(conclude(&id, BANK_ACTION_RECEIVE, BANK_ANSWER_RECEIVED), "completed today");
	check_text(is(1, &id), "9000, 0, completed", "the money has left");
	check_int(fake_hold(&id)->resolved_at, tomorrow, "of tomorrow");

	options = at_time(tomorrow);
	(void) send(1, 1000, &options);
	id = outcome.event.aggregate_id;
	check_text(cancel(&id, &no_options), "transfer.rejected", "cancelled before it was sent");
	check_int(fake_hold(&id)->resolved_at, tomorrow, "of tomorrow likewise");
	options = at_time(fake.now - HOUR);
	check_text(receive(100, 2, 500, "north", &options), "transfer.received", "received an hour ago");
	check(fake.events[fake.n_events - 2].has_occurred_at &&
		  fake.events[fake.n_events - 2].occurred_at == options.occurred_at,
		  "the movement says so");
}

/* What comes from other ledgers. */
static void
test_receive(void)
{
	BankUuid	id = fake_uuid(100);
	BankUuid	one = fake_uuid(1);
	BankUuid	cash;
	BankMoney	usd = money(500, "USD");
	BankMoney	some = money(500, "HTG");
	BankMoney	ceiling = money(500, "HTG");
	BankOptions options;
	BankError	refusal;
	char		name[BANK_PARTICIPANT_TEXT + 1];
	int			n;
	size_t		i;
	const struct
	{
		const char *what;
		BankIncoming arguments;
		const char *answer;
	}			cases[] = {
		{"no transfer", {NULL, &one, &some, NULL, "external", NULL}, "BK021"},
		{"no account", {&id, NULL, &some, NULL, "external", NULL}, "BK021"},
		{"no amount", {&id, &one, NULL, NULL, "external", NULL}, "BK021"},
		{"no house account", {&id, &one, &some, NULL, NULL, NULL}, "BK021"},
		{"a code that is none", {&id, &one, &some, NULL, "No!", NULL}, "BK019"},
		{"a name too long", {&id, &one, &some, name, "external", NULL}, "BK031"},
	};

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	begin();
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		fake_begin();
		check_text(done(bank_transfers_receive(&cases[i].arguments, &no_options, &outcome, &error)),
				   cases[i].answer, cases[i].what);
		check_text(fake_trace, "", "refused before anything is asked of the store");
	}
	name[sizeof(name) - 2] = '\0';
	check_text(receive(1, 1, 500, "north", &no_options), "BK030", "an account's identifier");
	check_text(receive(100, 1, 500, "north", &no_options), "transfer.received", "received");
	check_text(fake_trace, "transfer exists lock:1 house:external append:account.created "
			   "append:money.deposited append:transfer.received ",
			   "transfer, account, house are locked in this order");
	check_text(is(1, &id), "10500, 0, received", "the money is there");
	check_int(house_balance("external"), -500, "from the house account");
	check_int(fake_scheduled(&id), 0, "nobody is asked about it");
	check(fake_is_correlated(&fake.events[fake.n_events - 2], NULL, &id), "the deposit is related");
	n = fake.n_events;
	check_text(receive(100, 1, 500, "north", &no_options), "transfer.received again", "once more");
	check_text(fake_trace, "transfer event ", "asks for no account");
	check_text(receive(100, 1, 501, "north", &no_options), "BK030", "another amount");
	check_text(bank_error_message(error.code), "Transfer already exists", "is another transfer");
	check_text(receive(100, 2, 500, "north", &no_options), "BK030", "another account");
	check_text(receive(100, 1, 500, "south", &no_options), "BK030", "another participant");
	check_text(receive(100, 1, 500, NULL, &no_options), "transfer.received again", "no matter whose");
	check_int(fake.n_events, n, "nothing came of that");
	check_text(receive(101, 1, 1, name, &no_options), "transfer.received", "the longest name");
	check_text(receive(101, 1, 1, name, &no_options), "transfer.received again", "is kept");

	/* refusals that are outcomes */
	check_text(receive(110, 99, 500, "north", &no_options), "transfer.refused", "unknown account");
	check_text(outcome.event.terms->code, "BK001", "says so");
	check_text(receive(111, 1, 0, "north", &no_options), "transfer.refused", "nothing");
	check_text(outcome.event.terms->code, "BK008", "says so");
	(void) change(bank_accounts_freeze, 2);
	check_text(receive(112, 2, 500, "north", &no_options), "transfer.refused", "a frozen account");
	check_text(outcome.event.terms->code, "BK002", "says so");
	check_text(fake_trace, "transfer exists lock:2 house:external append:transfer.refused ",
			   "and no money moves");
	(void) change(bank_accounts_unfreeze, 2);
	check_text(receive(112, 2, 500, "north", &no_options), "transfer.refused again",
			   "and stays so when it is active");
	{
		BankUuid	other = fake_uuid(113);
		BankIncoming arguments = {&other, &one, &usd, "north", "external", NULL};

		fake_begin();
		check_text(done(bank_transfers_receive(&arguments, &no_options, &outcome, &error)),
				   "transfer.refused", "another currency");
		check_text(outcome.event.terms->code, "BK003", "says so");
	}
	create(3, &ceiling);
	check_text(receive(114, 3, 501, "north", &no_options), "transfer.refused", "beyond a ceiling");
	check_text(outcome.event.terms->code, "BK005", "says so");
	for (i = 0; i < (size_t) fake.n_accounts; i++)
	{
		if (strcmp(fake.accounts[i].opening.house_code, "cash") == 0)
			cash = fake.accounts[i].opening.house_account_id;
	}
	{
		BankUuid	other = fake_uuid(115);
		BankIncoming arguments = {&other, &cash, &some, "north", "external", NULL};

		fake_begin();
		check_text(done(bank_transfers_receive(&arguments, &no_options, &outcome, &error)),
				   "transfer.refused", "a house account");
		check_text(outcome.event.terms->code, "BK009", "says so");
	}

	/* what was not understood has neither account nor amount */
	bank_error_set(&refusal, BANK_INVALID_AMOUNT, "It is a poem.");
	{
		BankUuid	other = fake_uuid(116);
		BankIncoming arguments = {&other, NULL, NULL, "north", "external", &refusal};

		fake_begin();
		check_text(done(bank_transfers_receive(&arguments, &no_options, &outcome, &error)),
				   "transfer.refused", "not understood");
		check_text(outcome.event.terms->code, "BK008", "says so");
		check_text(outcome.event.terms->reason, "Invalid amount: It is a poem.", "and why");
	}
	check_text(receive(116, 1, 500, "north", &no_options), "transfer.refused again",
			   "for whatever comes under that name");
	check_text(receive(116, 1, 500, "south", &no_options), "BK030", "from the same participant");

	/* refusals that are errors, and decide nothing */
	options = with_version(99);
	check_text(receive(120, 1, 500, "north", &options), "BK006", "another version of the account");
	(void) change(bank_accounts_freeze, 2);
	check_text(receive(121, 2, 500, "north", &options), "BK006", "of a frozen one, too");
	(void) change(bank_accounts_unfreeze, 2);
	{
		BankUuid	other = fake_uuid(122);
		BankIncoming arguments = {&other, &one, &some, "north", "vault", NULL};

		fake_begin();
		check_text(done(bank_transfers_receive(&arguments, &no_options, &outcome, &error)),
				   "BK001", "a house account that is not there");
	}
	check_text(receive(120, 1, 500, "north", &no_options), "transfer.received", "so it can come");
	check_text(receive(121, 2, 500, "north", &no_options), "transfer.received", "later");
	check_text(receive(122, 1, 500, "north", &no_options), "transfer.received", "each of them");

	(void) send(1, 1000, &no_options);
	id = outcome.event.aggregate_id;
	{
		BankIncoming arguments = {&id, &one, &some, "north", "external", NULL};

		fake_begin();
		check_text(done(bank_transfers_receive(&arguments, &no_options, &outcome, &error)),
				   "BK030", "one that was sent from here");
	}
}

/* What other ledgers want back. */
static void
test_give_back(void)
{
	BankUuid	id = fake_uuid(100);
	BankOptions options;

	begin();
	fake_begin();
	check_text(done(bank_transfers_cancel_received(NULL, NULL, false, &no_options, &outcome,
												   &error)), "BK021", "null");
	(void) receive(100, 1, 500, "north", &no_options);
	check_text(give_back(100, "south", false, &no_options), "BK030", "somebody else's");
	options = with_version(2);
	check_text(give_back(100, "north", false, &options), "BK006", "another version");
	options = with_version(1);
	check_text(give_back(100, "north", false, &options), "transfer.cancelled", "given back");
	check_text(fake_trace, "transfer lock:1 house:external append:money.withdrawn "
			   "append:transfer.cancelled ", "from the account");
	check_text(is(1, &id), "10000, 0, cancelled", "the money has gone");
	check_int(house_balance("external"), 0, "to where it came from");
	check_text(give_back(100, "north", true, &no_options), "transfer.cancelled again", "once more");
	check_text(receive(100, 1, 500, "north", &no_options), "transfer.cancelled again",
			   "it does not come again");

	check_text(give_back(101, "north", true, &no_options), "transfer.cancelled", "before it came");
	check_text(fake_trace, "transfer exists append:transfer.cancelled ", "no account is touched");
	check_text(receive(101, 1, 500, "north", &no_options), "transfer.cancelled again",
			   "then it never comes");
	check_text(is(1, &id), "10000, 0, cancelled", "and no money either");
	check_text(receive(101, 1, 500, "south", &no_options), "BK030", "another one's");
	check_text(give_back(1, "north", true, &no_options), "BK030", "an account's identifier");

	/* spent */
	(void) receive(102, 1, 500, "north", &no_options);
	(void) withdraw(1, 10100);
	check_text(give_back(102, "north", false, &no_options), "BK004", "spent: an error");
	check_text(give_back(102, "north", true, &no_options), "transfer.kept", "or an outcome");
	check_text(outcome.event.terms->code, "BK004", "that says why");
	id = fake_uuid(102);
	check_text(is(1, &id), "400, 0, kept", "it stays");
	(void) deposit(1, 10000);
	check_text(give_back(102, "north", true, &no_options), "transfer.kept again",
			   "also when the money is there again");
	check_text(outcome.event.terms->code, "BK004", "for the same reason");
	check_text(give_back(102, "north", false, &no_options), "transfer.kept again", "whoever asks");
	check_text(receive(102, 1, 500, "north", &no_options), "transfer.kept again",
			   "what was received is known");
	check_text(is(1, &id), "10400, 0, kept", "nothing moves");

	/* held, frozen */
	(void) receive(103, 2, 500, "north", &no_options);
	(void) change(bank_accounts_freeze, 2);
	check_text(give_back(103, "north", false, &no_options), "BK002", "frozen: an error");
	(void) change(bank_accounts_unfreeze, 2);
	check_text(give_back(103, "north", false, &no_options), "transfer.cancelled",
			   "which decides nothing");
	(void) receive(104, 2, 500, "north", &no_options);
	(void) send(2, 10200, &no_options);
	check_text(give_back(104, "north", false, &no_options), "BK004", "held for something else");

	/* one that was sent */
	(void) send(1, 100, &no_options);
	id = outcome.event.aggregate_id;
	fake_begin();
	check_text(done(bank_transfers_cancel_received(&id, "north", true, &no_options, &outcome,
												   &error)), "BK030", "one that was sent from here");
	/* a refused one */
	(void) receive(105, 99, 500, "north", &no_options);
	check_text(give_back(105, "north", true, &no_options), "transfer.refused again", "refused");
}

int
main(void)
{
	test_send();
	test_keys();
	test_worker();
	test_deadlines();
	test_cancel();
	test_resolve();
	test_account();
	test_business_time();
	test_receive();
	test_give_back();
	return check_done();
}
