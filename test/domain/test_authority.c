/*
 * test_authority.c
 *		Who may do what with which account: every use case, asked for by staff, by the owner of the
 *		accounts it names, by another customer, and by a customer of nobody.
 */
#include "check.h"
#include "fake_store.h"

#include "application/accounts.h"
#include "application/authority.h"
#include "application/holds.h"
#include "application/movements.h"
#include "application/transfers.h"
#include "domain/account_number.h"

#include <stdlib.h>

/* The accounts: 1 and 2 are Alice's, whose owner is 100; the others Bob's, whose owner is 200. */
#define OWN 1
#define SECOND 2
#define OTHER 11
#define FROZEN 12
#define DOLLARS 13
#define FULL 14
#define MISSING 31
#define HOUSE 99				/* the house account "cash" */

static const BankOptions no_options;
static BankOutcome outcome;
static BankError error;
static BankUuid alice;
static BankUuid bob;
static BankUuid nobody;
static BankUuid cash;
static BankUuid staffs_hold;	/* on Alice's account, made by staff */
static BankUuid own_hold;		/* on Alice's account, made for her */
static BankUuid sent;			/* from Alice's account */

/* Money that must be right. */
static BankMoney
money(int64_t minor, const char *currency)
{
	BankMoney	amount;

	if (!bank_money_make(minor, currency, &amount, &error))
		abort();
	return amount;
}

/* The identifier of an account of this test. */
static BankUuid
account(int n)
{
	return n == HOUSE ? cash : fake_uuid(n);
}

/* Whose session it is from now on. */
static void
as_staff(void)
{
	fake_is_customer = false;
	fake_owner = nobody;
}

static void
as_customer(BankUuid owner)
{
	fake_is_customer = true;
	fake_owner = owner;
}

/* The end of a command: the event type or the SQLSTATE. A refusal takes everything back. */
static const char *
done(bool accepted)
{
	if (accepted)
		return bank_event_type_name(outcome.event.type);
	fake_rollback();
	return bank_error_sqlstate(error.code);
}

/* --- The use cases, with short names. --- */

static const char *
create(BankUuid owner, int n, const char *currency, bool limited)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	limit = money(100, currency);
	BankNewAccount arguments = {&owner, "COURANT", currency, n > 0 ? &id : NULL, NULL,
	limited ? &limit : NULL};

	fake_begin();
	return done(bank_accounts_create(&arguments, &no_options, &outcome, &error));
}

static const char *
transfer(int from, int to, int64_t minor)
{
	BankUuid	from_id = account(from);
	BankUuid	to_id = account(to);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_transfer(&from_id, &to_id, NULL, &amount, &no_options, &outcome,
										&error));
}

static const char *
transfer_to_number(int from, const char *number, int64_t minor)
{
	BankUuid	from_id = account(from);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_transfer(&from_id, NULL, number, &amount, &no_options, &outcome,
										&error));
}

static const char *
deposit(int n, int64_t minor)
{
	BankUuid	id = account(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_deposit(&id, &amount, "cash", &no_options, &outcome, &error));
}

static const char *
hold(int n)
{
	BankUuid	id = account(n);
	BankMoney	amount = money(100, "HTG");
	int64_t		expires_in = BANK_HOLD_DEFAULT;

	fake_begin();
	return done(bank_holds_create(&id, &amount, &expires_in, &no_options, &outcome, &error));
}

static const char *
capture(BankUuid hold_id, int to)
{
	BankUuid	to_id = account(to);

	fake_begin();
	return done(bank_holds_capture(&hold_id, NULL, to > 0 ? &to_id : NULL, "cash", &no_options,
								   &outcome, &error));
}

static const char *
release(BankUuid hold_id)
{
	fake_begin();
	return done(bank_holds_release(&hold_id, &no_options, &outcome, &error));
}

static const char *
send(int from)
{
	BankUuid	id = account(from);
	BankMoney	amount = money(100, "HTG");
	BankNewTransfer arguments = {&id, &amount, "coop", "1", NULL};

	fake_begin();
	return done(bank_transfers_send(&arguments, &no_options, &outcome, &error));
}

static const char *
cancel(BankUuid transfer_id)
{
	fake_begin();
	return done(bank_transfers_cancel(&transfer_id, &no_options, &outcome, &error));
}

/* --- One row of the table each. --- */

static const char *
open_own(void)
{
	return create(alice, 0, "HTG", false);
}

static const char *
open_chosen(void)
{
	return create(alice, 21, "HTG", false);
}

static const char *
open_limited(void)
{
	return create(alice, 0, "HTG", true);
}

static const char *
open_house(void)
{
	fake_begin();
	return done(bank_accounts_create_house("vault", "HTG", &no_options, &outcome, &error));
}

static const char *
deposit_own(void)
{
	return deposit(OWN, 100);
}

static const char *
withdraw_own(void)
{
	BankUuid	id = account(OWN);
	BankMoney	amount = money(100, "HTG");

	fake_begin();
	return done(bank_movements_withdraw(&id, &amount, "cash", &no_options, &outcome, &error));
}

static const char *
pay_own(void)
{
	return transfer(OWN, SECOND, 100);
}

static const char *
pay_other(void)
{
	return transfer(OWN, OTHER, 100);
}

static const char *
pay_number(void)
{
	BankUuid	id = account(OTHER);
	int			i;

	for (i = 0; !bank_uuid_equal(&fake.accounts[i].id, &id); i++)
		;
	return transfer_to_number(OWN, fake.accounts[i].opening.number, 100);
}

static const char *
pay_house(void)
{
	return transfer(OWN, HOUSE, 100);
}

static const char *
pay_missing(void)
{
	return transfer(OWN, MISSING, 100);
}

static const char *
pay_from_house(void)
{
	return transfer(HOUSE, OWN, 100);
}

static const char *
pay_from_missing(void)
{
	return transfer(MISSING, OWN, 100);
}

static const char *
freeze(void)
{
	BankUuid	id = account(OWN);

	fake_begin();
	return done(bank_accounts_freeze(&id, &no_options, &outcome, &error));
}

static const char *
unfreeze(void)
{
	BankUuid	id = account(FROZEN);

	fake_begin();
	return done(bank_accounts_unfreeze(&id, &no_options, &outcome, &error));
}

static const char *
close(void)
{
	BankUuid	id = account(SECOND);

	fake_begin();
	return done(bank_accounts_close(&id, &no_options, &outcome, &error));
}

static const char *
set_limits(void)
{
	BankUuid	id = account(OWN);
	BankMoney	limit = money(100, "HTG");

	fake_begin();
	return done(bank_accounts_set_limits(&id, &limit, NULL, false, &no_options, &outcome, &error));
}

static const char *
hold_own(void)
{
	return hold(OWN);
}

static const char *
hold_missing(void)
{
	return hold(MISSING);
}

static const char *
capture_own(void)
{
	return capture(own_hold, OTHER);
}

static const char *
capture_own_to_code(void)
{
	return capture(own_hold, 0);
}

static const char *
capture_own_to_house(void)
{
	return capture(own_hold, HOUSE);
}

static const char *
capture_staffs(void)
{
	return capture(staffs_hold, OTHER);
}

static const char *
capture_missing(void)
{
	return capture(fake_uuid(MISSING), OTHER);
}

static const char *
release_own(void)
{
	return release(own_hold);
}

static const char *
release_staffs(void)
{
	return release(staffs_hold);
}

static const char *
release_missing(void)
{
	return release(fake_uuid(MISSING));
}

static const char *
send_own(void)
{
	return send(OWN);
}

static const char *
send_missing(void)
{
	return send(MISSING);
}

static const char *
cancel_sent(void)
{
	return cancel(sent);
}

static const char *
cancel_missing(void)
{
	return cancel(fake_uuid(MISSING));
}

static const char *
resolve(void)
{
	fake_begin();
	return done(bank_transfers_resolve(&sent, "rejected", "", &no_options, &outcome, &error));
}

static const char *
batch(void)
{
	fake_begin();
	return bank_authority_check_staff(&error) ? "may" : done(false);
}

/* What each of them answers: to staff, to Alice, to Bob, and to a customer of nobody. */
static const struct
{
	const char *name;
	const char *(*run) (void);
	const char *answers[4];
	bool		alone;			/* refused before anything is locked */
}			table[] = {
	{"open an account", open_own, {"account.created", "account.created", "BK035", "BK035"}, true},
	{"open one with an identifier", open_chosen, {"account.created", "BK035", "BK035", "BK035"}, true},
	{"open one with a limit", open_limited, {"account.created", "BK035", "BK035", "BK035"}, true},
	{"open a house account", open_house, {"account.created", "BK035", "BK035", "BK035"}, true},
	{"deposit", deposit_own, {"money.deposited", "BK035", "BK035", "BK035"}, true},
	{"withdraw", withdraw_own, {"money.withdrawn", "BK035", "BK035", "BK035"}, true},
	{"transfer to an own account", pay_own, {"transfer.completed", "transfer.completed", "BK001", "BK001"}, true},
	{"transfer to another's", pay_other, {"transfer.completed", "transfer.completed", "BK001", "BK001"}, true},
	{"transfer by number", pay_number, {"transfer.completed", "transfer.completed", "BK001", "BK001"}, true},
	{"transfer to a house account", pay_house, {"transfer.completed", "BK001", "BK001", "BK001"}, false},
	{"transfer to what is missing", pay_missing, {"BK001", "BK001", "BK001", "BK001"}, false},
	{"transfer from a house account", pay_from_house, {"transfer.completed", "BK001", "BK001", "BK001"}, true},
	{"transfer from what is missing", pay_from_missing, {"BK001", "BK001", "BK001", "BK001"}, true},
	{"freeze", freeze, {"account.frozen", "BK035", "BK035", "BK035"}, true},
	{"unfreeze", unfreeze, {"account.unfrozen", "BK035", "BK035", "BK035"}, true},
	{"close", close, {"account.closed", "BK035", "BK035", "BK035"}, true},
	{"set limits", set_limits, {"account.limits_changed", "BK035", "BK035", "BK035"}, true},
	{"hold", hold_own, {"hold.created", "hold.created", "BK001", "BK001"}, true},
	{"hold on what is missing", hold_missing, {"BK001", "BK001", "BK001", "BK001"}, true},
	{"capture", capture_own, {"hold.captured", "hold.captured", "BK013", "BK013"}, true},
	{"capture to a code", capture_own_to_code, {"hold.captured", "BK035", "BK035", "BK035"}, true},
	{"capture to a house account", capture_own_to_house, {"hold.captured", "BK001", "BK013", "BK013"}, false},
	{"capture what staff holds", capture_staffs, {"hold.captured", "BK013", "BK013", "BK013"}, true},
	{"capture what is missing", capture_missing, {"BK013", "BK013", "BK013", "BK013"}, true},
	{"release", release_own, {"hold.released", "hold.released", "BK013", "BK013"}, true},
	{"release what staff holds", release_staffs, {"hold.released", "BK013", "BK013", "BK013"}, true},
	{"release what is missing", release_missing, {"BK013", "BK013", "BK013", "BK013"}, true},
	{"send", send_own, {"transfer.initiated", "transfer.initiated", "BK001", "BK001"}, true},
	{"send from what is missing", send_missing, {"BK001", "BK001", "BK001", "BK001"}, true},
	{"cancel a transfer", cancel_sent, {"transfer.rejected", "transfer.rejected", "BK030", "BK030"}, true},
	{"cancel what is missing", cancel_missing, {"BK030", "BK030", "BK030", "BK030"}, true},
	{"resolve a transfer", resolve, {"BK030", "BK035", "BK035", "BK035"}, true},
	{"post a batch", batch, {"may", "BK035", "BK035", "BK035"}, true},
};

/* A ledger with all that the table speaks of. */
static void
begin(void)
{
	BankUuid	id = account(FROZEN);

	fake_reset();
	as_staff();
	alice = fake_uuid(100);
	bob = fake_uuid(200);
	(void) create(alice, OWN, "HTG", false);
	(void) create(alice, SECOND, "HTG", false);
	(void) create(bob, OTHER, "HTG", false);
	(void) create(bob, FROZEN, "HTG", false);
	(void) create(bob, DOLLARS, "USD", false);
	(void) create(bob, FULL, "HTG", true);
	(void) deposit(OWN, 10000);
	(void) deposit(FULL, 100);
	cash = fake.events[fake.n_events - 1].peer_id;
	fake_begin();
	(void) bank_accounts_freeze(&id, &no_options, &outcome, &error);
	(void) hold(OWN);
	staffs_hold = outcome.event.event_id;
	(void) snprintf(fake.participants[0].name, BANK_PARTICIPANT_TEXT, "coop");
	(void) snprintf(fake.participants[0].house_code, BANK_HOUSE_CODE_TEXT, "external");
	fake.participants[0].deadline = INT64_C(3600000000);
	fake.n_participants = 1;
	as_customer(alice);
	(void) hold(OWN);
	own_hold = outcome.event.event_id;
	(void) send(OWN);
	sent = outcome.event.aggregate_id;
	as_staff();
}

/* Take the part of the n-th column of the table. */
static void
act_as(int n)
{
	const BankUuid *owners[] = {NULL, &alice, &bob, &nobody};

	if (n == 0)
		as_staff();
	else
		as_customer(*owners[n]);
}

/* Every use case by everybody. Who may not has locked nothing and changed nothing. */
static void
test_table(void)
{
	static const char *const who[] = {"staff", "Alice", "Bob", "nobody's customer"};
	size_t		i;
	int			n;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
	{
		for (n = 0; n < 4; n++)
		{
			const char *expected = table[i].answers[n];
			const char *answer;
			char		name[100];
			int			events;

			begin();
			act_as(n);
			events = fake.n_events;
			(void) snprintf(name, sizeof(name), "%s: %s", table[i].name, who[n]);
			answer = table[i].run();
			check_text(answer, expected, name);
			if (strncmp(expected, "BK", 2) != 0 || n == 0)
				continue;
			check(fake.n_events == events, "%s: nothing was appended", name);
			if (table[i].alone || n > 1)
				check(strstr(fake_trace, "lock:") == NULL && strstr(fake_trace, "house:") == NULL,
					  "%s: nothing was locked", name);
		}
	}
}

/* What is told of a refusal, without the identifier that the caller gave. */
static const char *
told(void)
{
	static char text[600];
	char		detail[sizeof(error.detail)];

	memcpy(detail, error.detail, sizeof(detail));
	if (error.code == BANK_ACCOUNT_NOT_FOUND)
		*strchr(detail, ':') = '\0';
	(void) snprintf(text, sizeof(text), "%s %s|%s", bank_error_sqlstate(error.code), detail,
					error.hint);
	return text;
}

/* What somebody else's account does not allow looks like one that is not there, but in the log. */
static void
test_payees(void)
{
	static const struct
	{
		int			n;
		BankErrorCode reason;	/* for the log and for staff */
	}			payees[] = {
		{MISSING, BANK_ACCOUNT_NOT_FOUND}, {HOUSE, BANK_OK}, {FROZEN, BANK_ACCOUNT_NOT_ACTIVE},
		{DOLLARS, BANK_CURRENCY_MISMATCH}, {FULL, BANK_LIMIT_EXCEEDED}
	};
	size_t		i;

	for (i = 0; i < sizeof(payees) / sizeof(payees[0]); i++)
	{
		int			n = payees[i].n;

		begin();
		as_customer(alice);
		(void) transfer(OWN, n, 100);
		check_text(told(), "BK001 Account|There is no such account, or it cannot take this "
				   "payment.", "a customer is told of no account");
		check(error.hidden == (n == MISSING || n == HOUSE ? BANK_OK : payees[i].reason),
			  "the reason is kept");
		(void) capture(own_hold, n);
		check_text(told(), "BK001 Account|There is no such account, or it cannot take this "
				   "payment.", "the same of a capture");

		(void) transfer(OWN, n, 1000000);
		check_text(told(), "BK004 Available: 97.00 HTG|", "her own balance comes first");
		check(error.hidden == BANK_OK, "there is nothing else");

		as_staff();
		if (n != HOUSE)
		{
			(void) transfer(OWN, n, 100);
			check(error.code == payees[i].reason && error.hidden == BANK_OK, "staff is told why");
		}
	}
}

/* Of an account of her own she is told everything. */
static void
test_own_payee(void)
{
	BankUuid	id = account(SECOND);

	begin();
	fake_begin();
	(void) bank_accounts_freeze(&id, &no_options, &outcome, &error);
	as_customer(alice);
	check_text(transfer(OWN, SECOND, 100), "BK002", "her other account is frozen");
	check(error.hidden == BANK_OK, "nothing is kept from her");
	check_text(transfer(OWN, OWN, 100), "BK015", "to itself");
}

/* A number that is none is refused before anybody looks for it; one that is nobody's is not found. */
static void
test_numbers(void)
{
	char		number[BANK_ACCOUNT_NUMBER_TEXT];
	char		detail[64];

	bank_account_number_make(99999, number);
	(void) snprintf(detail, sizeof(detail), "Account number: %s", number);
	begin();
	as_customer(alice);
	check_text(transfer_to_number(OWN, "000000000196", 100), "BK001", "wrong check digits");
	check_text(fake_trace, "", "the store was not asked");
	check_text(transfer_to_number(OWN, number, 100), "BK001", "nobody's number");
	check_text(error.detail, detail, "it is named as the caller named it");
	check_text(transfer_to_number(OTHER, number, 100), "BK001", "from another's account");
	check(strstr(fake_trace, "number") == NULL, "for which no number is looked up");
	as_staff();
	check_text(transfer_to_number(OWN, number, 100), "BK001", "staff finds no more");
	check_text(error.hint, "", "and needs no hint");
}

int
main(void)
{
	test_table();
	test_payees();
	test_own_payee();
	test_numbers();
	return check_done();
}
