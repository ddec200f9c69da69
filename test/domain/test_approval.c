/*
 * test_approval.c
 *		Requests for approval: the states of one, and what the use cases ask of the ports when a
 *		command becomes a request and when it is approved.
 */
#include "check.h"
#include "fake_store.h"

#include "application/accounts.h"
#include "application/approvals.h"
#include "application/holds.h"
#include "application/movements.h"
#include "application/transfers.h"

#include <stdlib.h>

static const BankOptions no_options;
static BankOutcome outcome;
static BankError error;
static BankUuid one;
static BankUuid two;
static BankUuid named;

/* Money that must be right. */
static BankMoney
money(int64_t minor)
{
	BankMoney	amount;

	if (!bank_money_make(minor, "HTG", &amount, &error))
		exit(2);
	return amount;
}

/* Open an account with this much on it, asking nobody. */
static void
open_account(BankUuid id, int64_t minor)
{
	BankNewAccount arguments = {&id, "COURANT", "HTG", &id, NULL, NULL};
	BankMoney	amount = money(minor);
	bool		supervised = fake_is_supervised;

	fake_is_supervised = false;
	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_accounts_create(&arguments, &no_options, &outcome, &error), "an account");
	fake_begin();
	if (minor > 0)
		check(bank_movements_deposit(&id, &amount, "cash", &no_options, &outcome, &error),
			  "with money");
	fake_is_supervised = supervised;
	fake_begin();
	bank_outcome_begin(&outcome);
}

/* A fresh ledger with two accounts and a threshold of 1 000.00 HTG. */
static void
begin(void)
{
	fake_reset();
	one = fake_uuid(1);
	two = fake_uuid(2);
	fake_is_customer = false;
	fake_is_supervised = true;
	fake_threshold = 100000;
	fake_person = 0;
	open_account(one, 500000);
	open_account(two, 0);
}

/* Ask for a deposit of this much on account one. */
static bool
ask(int64_t minor, const BankOptions *options)
{
	BankMoney	amount = money(minor);

	fake_begin();
	bank_outcome_begin(&outcome);
	return bank_movements_deposit(&one, &amount, "cash", options, &outcome, &error);
}

static const FakeCommand *carried_out;
static BankUuid carried_out_for;
static bool run_refuses;

/* What is carried out in these tests: a deposit of 2 000.00 HTG. */
static bool
run(const void *command, const BankUuid *request_id, const BankOptions *options,
	BankOutcome *result, BankError *why)
{
	BankMoney	amount = money(200000);
	BankOptions own = *options;

	carried_out = command;
	carried_out_for = *request_id;
	own.key = NULL;
	own.has_expected_version = false;
	check(options->needs_no_approval, "it is carried out as approved");
	if (run_refuses)
		return bank_error_set(why, BANK_INSUFFICIENT_BALANCE, "%s", "");
	return bank_movements_deposit(&one, &amount, "cash", &own, result, why);
}

/* Approve a request as this person. */
static bool
approve(const BankUuid *request_id, int person, const BankOptions *options)
{
	bool		accepted;

	fake_begin();
	bank_outcome_begin(&outcome);
	fake_person = person;
	carried_out = NULL;
	accepted = bank_approvals_grant(request_id, run, options, &named, &outcome, &error);
	if (!accepted)
		fake_rollback();
	fake_person = 0;
	return accepted;
}

/* The states, and what fits none of them. */
static void
test_states(void)
{
	static const BankEventType types[] = {
		BANK_EVENT_APPROVAL_REQUESTED, BANK_EVENT_APPROVAL_GRANTED, BANK_EVENT_APPROVAL_REJECTED
	};
	static const BankApprovalState next[][3] = {
		/* pending */ {BANK_APPROVAL_NONE, BANK_APPROVAL_GRANTED, BANK_APPROVAL_REJECTED},
		/* granted */ {BANK_APPROVAL_NONE, BANK_APPROVAL_NONE, BANK_APPROVAL_NONE},
		/* rejected */ {BANK_APPROVAL_NONE, BANK_APPROVAL_NONE, BANK_APPROVAL_NONE},
		/* none */ {BANK_APPROVAL_PENDING, BANK_APPROVAL_NONE, BANK_APPROVAL_NONE}
	};
	int			state;
	int			i;

	for (state = BANK_APPROVAL_PENDING; state <= BANK_APPROVAL_NONE; state++)
	{
		for (i = 0; i < 3; i++)
			check(bank_approval_next((BankApprovalState) state, types[i]) == next[state][i],
				  bank_event_type_name(types[i]));
		check(bank_approval_next((BankApprovalState) state, BANK_EVENT_DEPOSITED) ==
			  BANK_APPROVAL_NONE, "no other event");
		if (state != BANK_APPROVAL_NONE)
		{
			const char *name = bank_approval_state_name((BankApprovalState) state);

			check((int) bank_approval_state_parse(name, strlen(name)) == state, name);
		}
	}
	check(bank_approval_state_parse("expired", 7) == BANK_APPROVAL_NONE, "expired is not stored");
}

/* What is wrong with an event of a request. */
static void
test_check(void)
{
	BankApproval approval = {.id = fake_uuid(9), .state = BANK_APPROVAL_NONE};
	BankApprovalTerms requested = {.command = "deposit"};
	BankApprovalTerms granted = {.version = 1};
	BankApprovalTerms rejected = {.reason = "no"};
	BankEvent	event;
	BankEvent	good;

	approval.amount = 5;
	memcpy(approval.currency, "HTG", 3);
	approval.expires_at = 100;
	check(bank_approval_decide(&approval, BANK_EVENT_APPROVAL_REQUESTED, 50, &requested, &event,
							   &error), "requested");
	event.position = 1;
	good = event;
	check(bank_approval_check(&approval, &event) == 0, "fits");
	event.approval = NULL;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_SHAPE, "says nothing");
	event = good;
	event.expires_at = 50;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_SHAPE, "has expired at once");
	event = good;
	event.amount = 0;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_AMOUNT, "of nothing");
	event = good;
	memcpy(event.currency, "QQQ", 3);
	check(bank_approval_check(&approval, &event) == BANK_FLAW_CURRENCY, "of no currency");
	event = good;
	event.version = 2;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_VERSION, "not the first");
	event = good;
	event.balance = 1;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_SHAPE, "has a balance");
	event = good;
	event.recorded_at = INT64_MAX;
	event.expires_at = INT64_MAX;
	check((bank_approval_check(&approval, &event) & BANK_FLAW_TIME) != 0, "at no time");
	bank_approval_apply(&approval, &good);
	check(approval.state == BANK_APPROVAL_PENDING && approval.version == 1 &&
		  approval.created_at == 50 && approval.expires_at == 100 && approval.amount == 5,
		  "is pending");
	check(bank_approval_check(&approval, &good) == BANK_FLAW_VERSION, "once");

	check(!bank_approval_decide(&approval, BANK_EVENT_APPROVAL_GRANTED, 100, &granted, &event,
								&error) && error.code == BANK_APPROVAL_EXPIRED,
		  "cannot be granted when it has expired");
	check(bank_approval_decide(&approval, BANK_EVENT_APPROVAL_GRANTED, 99, &granted, &event,
							   &error), "can be just before");
	event.position = 2;
	good = event;
	check(bank_approval_check(&approval, &event) == 0, "fits");
	event.recorded_at = 100;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_STATUS, "not after it has expired");
	event.recorded_at = 49;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_TIME, "not before it was made");
	event = good;
	event.position = 1;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_POSITION, "in order");
	event = good;
	event.amount = 6;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_AMOUNT, "of the same amount");
	event = good;
	event.approval = &rejected;
	check(bank_approval_check(&approval, &event) == BANK_FLAW_SHAPE, "says what was done");
	check(bank_approval_decide(&approval, BANK_EVENT_APPROVAL_REJECTED, 100, &rejected, &event,
							   &error), "can be rejected when it has expired");
	event.position = 2;
	check(bank_approval_check(&approval, &event) == 0, "fits");
	bank_approval_apply(&approval, &event);
	check(approval.state == BANK_APPROVAL_REJECTED && approval.version == 2, "is rejected");
	check(!bank_approval_decide(&approval, BANK_EVENT_APPROVAL_GRANTED, 99, &granted, &event,
								&error) && error.code == BANK_APPROVAL_RESOLVED, "for good");
}

/* When a command becomes a request. */
static void
test_threshold(void)
{
	begin();
	check(ask(100000, &no_options) && outcome.event.type == BANK_EVENT_DEPOSITED,
		  "not above the threshold: done");
	check(ask(100001, &no_options) && outcome.event.type == BANK_EVENT_APPROVAL_REQUESTED,
		  "above it: a request");
	check_text(fake_trace, "lock:1 house:cash threshold append:approval.requested ",
			   "after the locks and the decision, and instead of the event");
	check(outcome.event.aggregate_id.bytes[0] != 0 &&
		  bank_uuid_equal(&outcome.event.aggregate_id, &outcome.event.event_id),
		  "which has the identifier of its event");
	check(bank_uuid_equal(&outcome.event.approval->account_id, &one), "it names the account");
	check_text(((const FakeCommand *) outcome.event.approval->command)->text,
			   "command=deposit account_id=00000000-0000-7000-8000-000000000001 "
			   "amount=1000.01 HTG house_account=cash ", "and says what was asked for");
	check(fake.approvals[0].amount == 100001, "and how much");
	fake_is_supervised = false;
	check(ask(100001, &no_options) && outcome.event.type == BANK_EVENT_DEPOSITED,
		  "who is not supervised asks nobody");
	check(strstr(fake_trace, "threshold") == NULL, "and looks for no threshold");
	fake_is_supervised = true;
	fake_threshold = 0;
	check(ask(100001, &no_options) && outcome.event.type == BANK_EVENT_DEPOSITED,
		  "without a threshold nobody does");
}

/* What would be refused is refused at once. */
static void
test_refused(void)
{
	BankMoney	amount = money(900000);

	begin();
	check(!bank_movements_withdraw(&one, &amount, "cash", &no_options, &outcome, &error) &&
		  error.code == BANK_INSUFFICIENT_BALANCE, "no money: no request");
	check(fake.n_approvals == 0, "none");
}

/* An idempotency key stands for the request. */
static void
test_key(void)
{
	BankOptions options = no_options;
	BankUuid	request_id;

	begin();
	options.key = "k";
	check(ask(100001, &options), "a request under a key");
	request_id = outcome.event.aggregate_id;
	check_text(fake_trace, "find lock:1 house:cash threshold claim append:approval.requested ",
			   "claims it before it is decided");
	check(ask(100001, &options) && outcome.replayed &&
		  bank_uuid_equal(&outcome.event.aggregate_id, &request_id), "is found again");
	check(!ask(100002, &options) && error.code == BANK_KEY_REUSED, "not for another command");
}

/* Approving: by another one, once, deciding anew. */
static void
test_approve(void)
{
	BankOptions options = no_options;
	BankUuid	request_id;

	begin();
	check(ask(200000, &no_options), "a request");
	request_id = outcome.event.aggregate_id;
	check(!approve(&request_id, 0, &no_options) && error.code == BANK_NOT_ALLOWED,
		  "not by who has asked");
	check(carried_out == NULL, "nothing is carried out");
	run_refuses = true;
	check(!approve(&request_id, 1, &no_options) && error.code == BANK_INSUFFICIENT_BALANCE,
		  "what is refused now is refused");
	run_refuses = false;
	check(fake.approvals[0].state == BANK_APPROVAL_PENDING, "and leaves the request");
	options.key = "yes";
	check(approve(&request_id, 1, &options) && outcome.event.type == BANK_EVENT_DEPOSITED,
		  "by another one: the outcome is the command's");
	check_text(fake_trace, "find approval claim event lock:1 house:cash append:money.deposited "
			   "append:approval.granted ", "the request is locked before the accounts");
	check(carried_out == fake.events[fake.n_events - 3].approval->command &&
		  bank_uuid_equal(&carried_out_for, &request_id), "what was asked for");
	check(fake.events[fake.n_events - 1].approval->version == outcome.event.version &&
		  bank_uuid_equal(&fake.events[fake.n_events - 1].approval->aggregate_id,
						  &outcome.event.aggregate_id), "the request says by which event");
	check(bank_uuid_equal(&named, &one), "and which account");
	check(approve(&request_id, 1, &options) && outcome.replayed &&
		  outcome.event.type == BANK_EVENT_DEPOSITED && carried_out == NULL,
		  "the key finds the command's event");
	check(!approve(&request_id, 1, &no_options) && error.code == BANK_APPROVAL_RESOLVED, "once");
	request_id = fake_uuid(77);
	check(!approve(&request_id, 1, &no_options) && error.code == BANK_APPROVAL_NOT_FOUND,
		  "what there is");
	check(!bank_approvals_grant(NULL, run, &no_options, &named, &outcome, &error) &&
		  error.code == BANK_MISSING_ARGUMENT, "and is named");
}

/* A request expires; the clock that goes back does not save it. */
static void
test_expiry(void)
{
	BankUuid	request_id;

	begin();
	check(ask(200000, &no_options), "a request");
	request_id = outcome.event.aggregate_id;
	fake.now = fake.approvals[0].expires_at - 2;
	check(approve(&request_id, 1, &no_options), "just in time");
	begin();
	check(ask(200000, &no_options), "a request");
	request_id = outcome.event.aggregate_id;
	fake.now = fake.approvals[0].expires_at;
	check(!approve(&request_id, 1, &no_options) && error.code == BANK_APPROVAL_EXPIRED,
		  "too late");
	bank_outcome_begin(&outcome);
	check(bank_approvals_reject(&request_id, "too late", &no_options, &named, &outcome, &error) &&
		  outcome.event.type == BANK_EVENT_APPROVAL_REJECTED, "it can still be rejected");
}

/* Rejecting needs a reason, and is for everybody. */
static void
test_reject(void)
{
	BankUuid	request_id;

	begin();
	check(ask(200000, &no_options), "a request");
	request_id = outcome.event.aggregate_id;
	fake_begin();
	bank_outcome_begin(&outcome);
	check(!bank_approvals_reject(&request_id, "", &no_options, &named, &outcome, &error) &&
		  error.code == BANK_MISSING_ARGUMENT, "not without a reason");
	check(bank_approvals_reject(&request_id, "a mistake", &no_options, &named, &outcome, &error),
		  "by who has made it");
	check_text(fake_trace, "approval append:approval.rejected ", "without a lock on the account");
	check_text(outcome.event.approval->reason, "a mistake", "saying why");
	fake_begin();
	check(!bank_approvals_reject(&request_id, "again", &no_options, &named, &outcome, &error) &&
		  error.code == BANK_APPROVAL_RESOLVED, "once");
}

/* The other commands, each of which stops before its first event. */
static void
test_commands(void)
{
	BankMoney	amount = money(150000);
	BankMoney	small = money(100);
	BankMoney	ceiling = money(900000);
	BankNewAccount opening = {&one, "COURANT", "HTG", NULL, &amount, NULL};
	BankUuid	transfer_id = fake_uuid(50);
	BankUuid	hold_id;
	BankNewTransfer sending = {&one, &amount, "other", "there", NULL};
	BankIncoming coming = {&transfer_id, &two, &amount, "other", "external", NULL};
	BankOptions exempt = no_options;
	int64_t		day = INT64_C(86400) * 1000000;
	int64_t		long_time = 9 * day;
	int			n;

	begin();
	memcpy(fake.participants[0].name, "other", 6);
	memcpy(fake.participants[0].house_code, "external", 9);
	fake.participants[0].deadline = day;
	fake.n_participants = 1;
	n = fake.n_events;
#define REQUESTED(call, what) \
	fake_begin(); \
	bank_outcome_begin(&outcome); \
	check((call) && outcome.event.type == BANK_EVENT_APPROVAL_REQUESTED && \
		  fake.n_events == ++n, what)
	REQUESTED(bank_movements_withdraw(&one, &amount, "cash", &no_options, &outcome, &error),
			  "withdraw");
	REQUESTED(bank_movements_transfer(&one, &two, NULL, &amount, &no_options, &outcome,
									  &error),
			  "transfer");
	REQUESTED(bank_holds_create(&one, &amount, &day, &no_options, &outcome, &error), "hold");
	REQUESTED(bank_accounts_set_limits(&one, &amount, NULL, false, &no_options, &outcome, &error),
			  "set_limits");
	REQUESTED(bank_transfers_send(&sending, &no_options, &outcome, &error), "send");
	REQUESTED(bank_transfers_receive(&coming, &no_options, &outcome, &error), "receive");

	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_accounts_set_limits(&one, &small, &ceiling, false, &no_options, &outcome, &error) &&
		  outcome.event.type == BANK_EVENT_LIMITS_CHANGED, "a ceiling lends nothing");
	fake_begin();
	bank_outcome_begin(&outcome);
	check(!bank_accounts_create(&opening, &no_options, &outcome, &error) &&
		  error.code == BANK_APPROVAL_REQUIRED, "create_account is refused");

	/* with what another ledger sends, nobody is asked */
	exempt.needs_no_approval = true;
	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_transfers_receive(&coming, &exempt, &outcome, &error) &&
		  outcome.event.type == BANK_EVENT_TRANSFER_RECEIVED, "a participant's own request");
	n = fake.n_events;
	REQUESTED(bank_transfers_cancel_received(&transfer_id, "other", false, &no_options, &outcome,
											 &error), "cancel_received");

	fake_is_supervised = false;
	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_holds_create(&one, &amount, &long_time, &no_options, &outcome, &error), "a hold");
	hold_id = outcome.event.hold_id;
	fake_begin();
	check(bank_transfers_send(&sending, &no_options, &outcome, &error), "a transfer");
	transfer_id = outcome.event.aggregate_id;
	fake_begin();
	check(bank_transfers_submit(&transfer_id), "is sent");
	fake_begin();
	fake.now += 2 * day;
	check(bank_transfers_expire(&transfer_id), "and in doubt");
	fake.now -= day;
	fake_is_supervised = true;
	n = fake.n_events;
	REQUESTED(bank_transfers_resolve(&transfer_id, "completed", "so they say", &no_options,
									 &outcome, &error), "resolve_transfer");
	check_text(((const FakeCommand *) outcome.event.approval->command)->text +
			   strlen("command=resolve_transfer transfer_id=") + 36, " state=completed "
			   "reason=so they say ", "with all it was told");
	REQUESTED(bank_holds_capture(&hold_id, NULL, &two, NULL, &no_options, &outcome, &error),
			  "capture of the whole");
	check(bank_uuid_equal(&outcome.event.approval->account_id, &one), "of the hold's account");
	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_holds_capture(&hold_id, &small, &two, NULL, &no_options, &outcome, &error) &&
		  outcome.event.type == BANK_EVENT_HOLD_CAPTURED, "capture of a small part");
	fake_begin();
	bank_outcome_begin(&outcome);
	check(bank_transfers_resolve(&transfer_id, "submitted", NULL, &no_options, &outcome, &error) &&
		  outcome.event.type == BANK_EVENT_TRANSFER_SUBMITTED, "asking again moves nothing");
}

int
main(void)
{
	test_states();
	test_check();
	test_threshold();
	test_refused();
	test_key();
	test_approve();
	test_expiry();
	test_reject();
	test_commands();
	return check_done();
}
