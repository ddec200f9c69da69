/*
 * test_application.c
 *		The use cases on a store in memory: what they ask of the ports, in which
 *		order, and what comes of it. That this program links is the proof that
 *		application/ needs nothing of PostgreSQL.
 */
#include "check.h"
#include "fake_store.h"

#include "application/accounts.h"
#include "application/batch.h"
#include "application/holds.h"
#include "application/movements.h"
#include "domain/account_number.h"

#include <stdlib.h>

static const BankOptions no_options;

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

/*
 * The end of a command: a refusal takes everything back. Answers with the event
 * type or the SQLSTATE, and remembers both outcome and error.
 */
static BankOutcome outcome;
static BankError error;

static const char *
done(bool accepted)
{
	if (accepted)
		return bank_event_type_name(outcome.event.type);
	fake_rollback();
	return bank_error_sqlstate(error.code);
}

/* Commands with short names; accounts by number, amounts in centimes of HTG. */
static const char *
create(int n, const BankOptions *options)
{
	BankUuid	owner = fake_uuid(250);
	BankUuid	id = fake_uuid(n);
	BankNewAccount arguments = {&owner, "COURANT", "HTG", n > 0 ? &id : NULL, NULL, NULL};

	fake_begin();
	return done(bank_accounts_create(&arguments, options, &outcome, &error));
}

static const char *
deposit(int n, int64_t minor, const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_deposit(&id, &amount, "cash", options, &outcome, &error));
}

static const char *
withdraw(int n, int64_t minor, const char *house, const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_withdraw(&id, &amount, house, options, &outcome, &error));
}

static const char *
transfer(BankUuid from, BankUuid to, int64_t minor, const BankOptions *options)
{
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_movements_transfer(&from, &to, NULL, &amount, options, &outcome, &error));
}

static const char *
change(bool (*use_case) (const BankUuid *, const BankOptions *, BankOutcome *, BankError *), int n,
	   const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);

	fake_begin();
	return done(use_case(&id, options, &outcome, &error));
}

static const char *
limits(int n, const BankMoney *overdraft, const BankMoney *ceiling, bool remove,
	   const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);

	fake_begin();
	return done(bank_accounts_set_limits(&id, overdraft, ceiling, remove, options, &outcome,
										 &error));
}

static const char *
open_house(const char *code, const char *currency, const BankOptions *options)
{
	fake_begin();
	return done(bank_accounts_create_house(code, currency, options, &outcome, &error));
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
	return NULL;
}

static const char *
hold(int n, int64_t minor, int64_t expires_in, const BankOptions *options)
{
	BankUuid	id = fake_uuid(n);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_holds_create(&id, &amount, &expires_in, options, &outcome, &error));
}

/* Capture a hold, all of it where minor is 0; to an account, or cash where to is 0. */
static const char *
capture(const BankUuid *hold_id, int64_t minor, int to, const BankOptions *options)
{
	BankUuid	id = fake_uuid(to);
	BankMoney	amount = money(minor, "HTG");

	fake_begin();
	return done(bank_holds_capture(hold_id, minor > 0 ? &amount : NULL, to > 0 ? &id : NULL,
								   "cash", options, &outcome, &error));
}

static const char *
release(const BankUuid *hold_id, const BankOptions *options)
{
	fake_begin();
	return done(bank_holds_release(hold_id, options, &outcome, &error));
}

/* The identifier of the logical house account with this code. */
static BankUuid
house_id(const char *code)
{
	int			i;

	for (i = 0; i < fake.n_accounts; i++)
	{
		if (strcmp(fake.accounts[i].opening.house_code, code) == 0)
			return fake.accounts[i].opening.house_account_id;
	}
	return fake_uuid(251);
}

/* A ledger with customers 1, 2 and 3; 1 has 100.00. */
static void
begin(void)
{
	fake_reset();
	(void) create(1, &no_options);
	(void) create(2, &no_options);
	(void) create(3, &no_options);
	(void) deposit(1, 10000, &no_options);
}

/* Opening customers' accounts. */
static void
test_create(void)
{
	BankUuid	owner = fake_uuid(250);
	BankUuid	id = fake_uuid(9);
	BankUuid	house;
	BankMoney	overdraft = money(500, "HTG");
	BankMoney	ceiling = money(50000, "HTG");
	BankMoney	usd = money(1, "USD");
	static const uint8_t digest[12];
	const struct
	{
		const char *what;
		BankNewAccount arguments;
		const char *answer;
	}			cases[] = {
		{"no owner", {NULL, "COURANT", "HTG", NULL, NULL, NULL}, "BK021"},
		{"no type", {&owner, NULL, "HTG", NULL, NULL, NULL}, "BK021"},
		{"no currency", {&owner, "COURANT", NULL, NULL, NULL, NULL}, "BK021"},
		{"type HOUSE", {&owner, "HOUSE", "HTG", NULL, NULL, NULL}, "BK009"},
		{"type of nothing", {&owner, "", "HTG", NULL, NULL, NULL}, "BK009"},
		{"currency of nothing", {&owner, "COURANT", "", NULL, NULL, NULL}, "BK014"},
		{"currency ZZZ", {&owner, "COURANT", "ZZZ", NULL, NULL, NULL}, "BK014"},
		{"overdraft in dollars", {&owner, "COURANT", "HTG", NULL, &usd, NULL}, "BK003"},
		{"ceiling in dollars", {&owner, "COURANT", "HTG", NULL, NULL, &usd}, "BK003"},
	};
	BankNewAccount arguments = {&owner, "EPARGNE", "HTG", &id, &overdraft, &ceiling};
	BankOptions version = with_version(1);
	size_t		i;

	fake_reset();
	check_text(done(bank_accounts_create(&arguments, &no_options, &outcome, &error)),
			   "account.created", "create");
	check_text(fake_trace, "exists serial append:account.created ", "create asks for no lock");
	check_text(outcome.event.opening.number, "000000000195", "the first number");
	check(stored(9) != NULL && stored(9)->limits.overdraft == 500 &&
		  stored(9)->limits.balance == 50000 && stored(9)->opening.type == BANK_TYPE_EPARGNE &&
		  bank_uuid_equal(&stored(9)->opening.owner_id, &owner) && stored(9)->version == 1,
		  "it is stored as asked for");
	check_text(create(9, &no_options), "BK011", "the same identifier again");
	check_int(fake.serial, 1, "a refusal draws no number");
	check_text(create(0, &no_options), "account.created", "an identifier of its own");
	check_text(fake_trace, "serial append:account.created ", "which cannot be taken");
	check_int(outcome.event.aggregate_id.bytes[0], 1, "comes from the clock");
	check_text(create(10, &version), "BK006", "a new account has version 0");
	version.expected_version = 0;
	check_text(create(10, &version), "account.created", "expected version 0");

	bank_uuid_house(digest, &house);
	arguments.account_id = &house;
	fake_begin();
	check_text(done(bank_accounts_create(&arguments, &no_options, &outcome, &error)), "BK011",
			   "an identifier of the form of house accounts'");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		fake_begin();
		check_text(done(bank_accounts_create(&cases[i].arguments, &no_options, &outcome, &error)),
				   cases[i].answer, cases[i].what);
		check_text(fake_trace, "", "refused before anything is asked of the store");
	}
}

/* Deposits and withdrawals: locks, stripes of house accounts, order of refusals. */
static void
test_movements_with_house(void)
{
	BankUuid	one = fake_uuid(1);
	BankMoney	ten = money(1000, "HTG");
	BankMoney	usd = money(1000, "USD");
	BankMoney	zero = money(0, "HTG");
	BankOptions version = with_version(7);
	int			events;

	fake_reset();
	(void) create(1, &no_options);
	events = fake.n_events;
	check_text(withdraw(1, 1000, "cash", &no_options), "BK004", "nothing to withdraw");
	check_text(fake_trace, "lock:1 house:cash ", "refused before the house account is opened");
	check_text(deposit(1, 1000, &version), "BK006", "a version it does not have");
	check_int(fake.n_events, events, "refusals leave no event");

	check_text(deposit(1, 1000, &no_options), "money.deposited", "the first deposit");
	check_text(fake_trace, "lock:1 house:cash append:account.created append:money.deposited ",
			   "opens the house account after all checks");
	check_int(outcome.event.version, 2, "version of the account");
	check_int(outcome.event.peer_version, 2, "version of the stripe");
	check_int(outcome.event.position, fake.n_events, "position");
	check_text(deposit(1, 1000, &no_options), "money.deposited", "the second deposit");
	check_text(fake_trace, "lock:1 house:cash append:money.deposited ", "uses it");
	check_text(withdraw(1, 500, "cash", &no_options), "money.withdrawn", "a withdrawal");
	check_int(stored(1)->credits - stored(1)->debits, 1500, "balance");

	fake.stripe_busy = true;
	check_text(deposit(1, 1000, &no_options), "money.deposited", "all stripes are busy");
	check_text(fake_trace, "lock:1 house:cash append:account.created append:money.deposited ",
			   "so another one is opened");
	fake.stripe_busy = false;

	check_text(withdraw(1, 100, "vault", &no_options), "BK001", "an unknown house account");
	check_text(error.hint, "Open it with bank_create_house_account.", "says what to do");
	check_text(withdraw(1, 100, "fees", &no_options), "money.withdrawn", "one that is built in");
	check_text(open_house("vault", "USD", &no_options), "account.created", "opened in dollars");
	check_text(withdraw(1, 100, "vault", &no_options), "money.withdrawn",
			   "it can be used in every currency");
	check_text(open_house("vault", "HTG", &no_options), "BK011", "it is there by now");
	check_text(open_house("Vault", "HTG", &no_options), "BK019", "a bad code");
	check_text(open_house(NULL, "HTG", &no_options), "BK021", "no code");
	check_text(open_house("safe", NULL, &no_options), "BK021", "no currency");
	check_text(open_house("safe", "ZZZ", &no_options), "BK014", "an unknown currency");
	version.expected_version = 1;
	check_text(open_house("safe", "HTG", &version), "BK006", "a new one has version 0");
	fake.stripe_busy = true;
	check_text(open_house("vault", "HTG", &no_options), "BK011", "also while it is busy");
	fake.stripe_busy = false;

	/* arguments, before anything is asked of the store */
	fake_begin();
	check_text(done(bank_movements_deposit(NULL, &ten, "cash", &no_options, &outcome, &error)),
			   "BK021", "no account");
	check_text(done(bank_movements_deposit(&one, NULL, "cash", &no_options, &outcome, &error)),
			   "BK021", "no amount");
	check_text(done(bank_movements_deposit(&one, &ten, NULL, &no_options, &outcome, &error)),
			   "BK021", "no house account");
	check_text(done(bank_movements_deposit(&one, &zero, "cash", &no_options, &outcome, &error)),
			   "BK008", "nothing");
	check_text(done(bank_movements_deposit(&one, &ten, "a b", &no_options, &outcome, &error)),
			   "BK019", "a bad house code");
	check_text(fake_trace, "", "the store was not asked");
	check_text(done(bank_movements_deposit(&one, &usd, "cash", &no_options, &outcome, &error)),
			   "BK003", "another currency");
	check_text(fake_trace, "lock:1 ", "opens no house account in it");
	check_text(deposit(77, 1, &no_options), "BK001", "an unknown account");
	check_text(error.detail, "Account: 00000000-0000-7000-8000-00000000004d", "is named");
	fake_begin();
	one = house_id("cash");
	check_text(done(bank_movements_deposit(&one, &ten, "cash", &no_options, &outcome, &error)),
			   "BK009", "a house account is no customer");
}

/* Transfers: locks in identifier order, house accounts on either side. */
static void
test_transfers(void)
{
	BankUuid	cash;
	BankOptions version = with_version(2);
	BankMoney	zero = money(0, "HTG");
	BankMoney	one = money(1, "HTG");
	BankUuid	a = fake_uuid(1);

	begin();
	cash = house_id("cash");
	check_text(transfer(fake_uuid(1), fake_uuid(2), 3000, &version), "transfer.completed",
			   "from 1 to 2");
	check_text(fake_trace, "lock:1 lock:2 append:transfer.completed ", "locks 1, then 2");
	check_text(transfer(fake_uuid(2), fake_uuid(1), 1000, &version), "transfer.completed",
			   "from 2 to 1");
	check_text(fake_trace, "lock:1 lock:2 append:transfer.completed ", "locks 1, then 2 as well");
	check_int(stored(1)->credits - stored(1)->debits, 8000, "balance of 1");
	check_int(stored(2)->credits - stored(2)->debits, 2000, "balance of 2");
	check_text(transfer(fake_uuid(2), fake_uuid(1), 1000, &version), "BK006",
			   "the version is the source's");
	check_text(transfer(fake_uuid(1), fake_uuid(1), 1, &no_options), "BK015", "to itself");
	check_text(transfer(fake_uuid(1), fake_uuid(77), 1, &no_options), "BK001", "to nobody");
	check_text(transfer(fake_uuid(77), fake_uuid(1), 1, &no_options), "BK001", "from nobody");
	check_text(transfer(fake_uuid(2), fake_uuid(3), 2001, &no_options), "BK004", "too much");

	check_text(transfer(fake_uuid(1), cash, 500, &no_options), "transfer.completed",
			   "to a house account");
	check_text(transfer(cash, fake_uuid(1), 500, &no_options), "transfer.completed",
			   "from a house account");
	check_text(bank_uuid_equal(&outcome.event.aggregate_id, &cash) ? "logical" : "stripe", "stripe",
			   "the event is a stripe's");
	check_text(transfer(cash, cash, 500, &no_options), "BK015", "to the same house account");
	version.expected_version = 1;
	check_text(transfer(cash, fake_uuid(1), 500, &version), "BK009",
			   "a house account has no version to expect");
	(void) withdraw(1, 100, "fees", &no_options);
	check_text(transfer(house_id("fees"), cash, 100, &no_options), "transfer.completed",
			   "between house accounts");

	fake_begin();
	check_text(done(bank_movements_transfer(NULL, &a, NULL, &one, &no_options, &outcome, &error)),
			   "BK021", "no source");
	check_text(done(bank_movements_transfer(&a, NULL, NULL, &one, &no_options, &outcome, &error)),
			   "BK021", "no destination");
	check_text(done(bank_movements_transfer(&a, &cash, NULL, NULL, &no_options, &outcome, &error)),
			   "BK021", "no amount");
	check_text(done(bank_movements_transfer(&a, &cash, NULL, &zero, &no_options, &outcome, &error)),
			   "BK008", "nothing");
	check_text(fake_trace, "", "the store was not asked");
}

/* Freezing, closing, limits. */
static void
test_account_commands(void)
{
	BankMoney	ten = money(1000, "HTG");
	BankMoney	hundred = money(10000, "HTG");
	BankMoney	ninety_nine = money(9999, "HTG");
	BankMoney	usd = money(1000, "USD");
	BankOptions version = with_version(9);
	BankUuid	cash;

	begin();
	check_text(change(bank_accounts_freeze, 1, &version), "BK006", "freeze another version");
	check_text(change(bank_accounts_freeze, 1, &no_options), "account.frozen", "freeze");
	check_text(fake_trace, "lock:1 append:account.frozen ", "freeze locks one account");
	check_text(deposit(1, 1, &no_options), "BK002", "deposit to a frozen account");
	check_text(transfer(fake_uuid(2), fake_uuid(1), 1, &no_options), "BK002", "transfer to it");
	check_text(change(bank_accounts_close, 1, &no_options), "BK002", "close it");
	check_text(change(bank_accounts_unfreeze, 1, &no_options), "account.unfrozen", "unfreeze");
	check_text(change(bank_accounts_close, 1, &no_options), "BK010", "close with money in it");

	check_text(limits(1, &ten, &hundred, false, &no_options), "account.limits_changed", "limits");
	check(stored(1)->limits.overdraft == 1000 && stored(1)->limits.balance == 10000,
		  "both are set");
	check_text(limits(1, NULL, NULL, false, &no_options), "account.limits_changed", "no argument");
	check(stored(1)->limits.overdraft == 1000 && stored(1)->limits.balance == 10000,
		  "what is left out stays");
	check_text(limits(1, NULL, NULL, true, &no_options), "account.limits_changed", "no ceiling");
	check(stored(1)->limits.overdraft == 1000 && stored(1)->limits.balance == BANK_NO_LIMIT,
		  "the ceiling is gone, the overdraft stays");
	check_text(limits(1, NULL, &ten, true, &no_options), "BK008", "set and remove at once");
	check_text(limits(1, NULL, &ninety_nine, false, &no_options), "BK005", "below the balance");
	check_text(limits(1, &usd, NULL, false, &no_options), "BK003", "overdraft in dollars");
	check_text(limits(1, NULL, &usd, false, &no_options), "BK003", "ceiling in dollars");
	check_text(limits(77, NULL, NULL, false, &no_options), "BK001", "limits of nobody");

	check_text(withdraw(1, 10000, "cash", &no_options), "money.withdrawn", "empty it");
	check_text(change(bank_accounts_close, 1, &no_options), "account.closed", "close");
	check_text(deposit(1, 1, &no_options), "BK002", "deposit to a closed account");
	check_text(change(bank_accounts_unfreeze, 1, &no_options), "BK010", "unfreeze it");
	check_text(change(bank_accounts_freeze, 77, &no_options), "BK001", "freeze nobody");
	fake_begin();
	check_text(done(bank_accounts_freeze(NULL, &no_options, &outcome, &error)), "BK021", "NULL");
	check_text(done(bank_accounts_set_limits(NULL, NULL, NULL, false, &no_options, &outcome,
											 &error)), "BK021", "limits of NULL");
	cash = house_id("cash");
	check_text(done(bank_accounts_freeze(&cash, &no_options, &outcome, &error)), "BK009",
			   "freeze a house account");
}

/* Options: business dates, metadata, keys, at their bounds. */
static void
test_options(void)
{
	static const int64_t day = INT64_C(86400000000);
	static const char object[] = "{}";
	char		key[300];
	BankOptions options;
	struct
	{
		const char *what;
		int64_t		occurred_at;
		const char *answer;
	}			dates[] = {
		{"1900-01-01", -36524 * day, "money.deposited"},
		{"a microsecond earlier", -36524 * day - 1, "BK016"},
		{"the beginning of time", INT64_MIN, "BK016"},
		{"the end of time", INT64_MAX, "BK016"},
		{"now", 0, "money.deposited"},
		{"tomorrow", 1, "money.deposited"},
		{"a microsecond after tomorrow", 2, "BK016"},
	};
	size_t		i;

	begin();
	for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++)
	{
		options = no_options;
		options.has_occurred_at = true;
		/* the fake clock stands still between here and there */
		options.occurred_at = dates[i].occurred_at == 0 ? fake.now :
			dates[i].occurred_at == 1 ? fake.now + day :
			dates[i].occurred_at == 2 ? fake.now + day + 1 : dates[i].occurred_at;
		check_text(deposit(1, 1, &options), dates[i].answer, dates[i].what);
		if (error.code != BANK_OK && strcmp(dates[i].answer, "BK016") == 0)
			check_text(fake_trace, "", "refused before anything is asked of the store");
		else
			check(outcome.event.has_occurred_at &&
				  outcome.event.occurred_at == options.occurred_at, "%s is kept", dates[i].what);
	}

	options = no_options;
	options.metadata = object;
	options.metadata_is_object = true;
	options.metadata_size = BANK_METADATA_MAX;
	check_text(deposit(1, 1, &options), "money.deposited", "metadata as great as allowed");
	check(outcome.event.metadata == object, "it is kept");
	options.metadata_size++;
	check_text(deposit(1, 1, &options), "BK017", "a byte more");
	options.metadata_size = 2;
	options.metadata_is_object = false;
	check_text(deposit(1, 1, &options), "BK017", "no object");

	memset(key, 'k', sizeof(key));
	key[BANK_KEY_MAX + 1] = '\0';
	options = with_key(key);
	check_text(deposit(1, 1, &options), "BK018", "a key of 256 bytes");
	check_text(fake_trace, "", "refused before it is looked up");
	key[BANK_KEY_MAX] = '\0';
	check_text(deposit(1, 1, &options), "money.deposited", "a key of 255 bytes");
	check_text(deposit(1, 2, &options), "BK007", "used again with another amount");
	options.key = "";
	check_text(deposit(1, 1, &options), "BK018", "an empty key");
}

/* recorded_at never goes back, whatever the clock does. */
static void
test_clock(void)
{
	int64_t		last;

	begin();
	(void) deposit(3, 100, &no_options);
	(void) deposit(1, 100, &no_options);
	last = stored(1)->recorded_at;
	fake.now -= INT64_C(3600000000);
	check_text(transfer(fake_uuid(3), fake_uuid(1), 1, &no_options), "transfer.completed",
			   "the clock has gone back");
	check_int(outcome.event.recorded_at, last, "recorded_at follows the destination");
	check_text(deposit(1, 1, &no_options), "money.deposited", "a deposit");
	check_int(outcome.event.recorded_at, last, "recorded_at stays");
	check_text(transfer(fake_uuid(1), fake_uuid(2), 1, &no_options), "transfer.completed",
			   "a transfer");
	check_int(outcome.event.recorded_at, last, "to an older stream");
	fake.now += INT64_C(7200000000);
	check_text(deposit(1, 1, &no_options), "money.deposited", "the clock has caught up");
	check(outcome.event.recorded_at > last, "so has recorded_at");
}

/* What another session commits while this one is on its way to claim the key. */
static void
meanwhile_the_same(void)
{
	BankOptions options = with_key("k");
	BankOutcome mine;
	BankError	ignored;
	BankUuid	id = fake_uuid(2);
	BankMoney	amount = money(700, "HTG");

	(void) bank_movements_deposit(&id, &amount, "cash", &options, &mine, &ignored);
}

/* The same for an account that this session does not touch. */
static void
meanwhile_another(void)
{
	BankOptions options = with_key("k");
	BankOutcome mine;
	BankError	ignored;
	BankUuid	id = fake_uuid(3);
	BankMoney	amount = money(700, "HTG");

	(void) bank_movements_deposit(&id, &amount, "cash", &options, &mine, &ignored);
}

/* Idempotency: replays, reuse, and the race for a key. */
static void
test_keys(void)
{
	BankOptions k = with_key("k");
	BankOptions dated = with_key("k");
	BankOptions noted = with_key("k");
	BankOptions versioned = with_key("k");
	BankEvent	first;
	int			events;

	begin();
	check_text(deposit(1, 700, &k), "money.deposited", "the first call");
	check_text(fake_trace, "find lock:1 house:cash claim append:money.deposited ",
			   "looks the key up, locks, claims the key, appends");
	check(!outcome.replayed, "is no replay");
	first = outcome.event;
	events = fake.n_events;
	check_text(deposit(1, 700, &k), "money.deposited", "the second call");
	check_text(fake_trace, "find ", "only looks the key up");
	check(outcome.replayed && memcmp(&outcome.event, &first, sizeof(first)) == 0,
		  "and tells the first outcome");
	(void) withdraw(1, 10700, "cash", &no_options);
	(void) change(bank_accounts_close, 1, &no_options);
	check_text(deposit(1, 700, &k), "money.deposited", "whatever the state is now");
	noted.metadata = "{}";
	noted.metadata_is_object = true;
	check_text(deposit(1, 700, &noted), "money.deposited", "metadata is not part of the request");
	check_int(fake.n_events, events + 2, "no second effect");

	check_text(deposit(1, 701, &k), "BK007", "another amount");
	check_text(deposit(2, 700, &k), "BK007", "another account");
	check_text(withdraw(1, 700, "cash", &k), "BK007", "another command");
	check_text(change(bank_accounts_freeze, 1, &k), "BK007", "another kind of command");
	check_text(create(0, &k), "BK007", "a new account");
	check_text(open_house("vault", "HTG", &k), "BK007", "a new house account");
	check_text(limits(1, NULL, NULL, false, &k), "BK007", "limits");
	dated.has_occurred_at = true;
	check_text(deposit(1, 700, &dated), "BK007", "another business date");
	versioned.has_expected_version = true;
	check_text(deposit(1, 700, &versioned), "BK007", "another expected version");

	/* a refusal is no outcome */
	begin();
	check_text(withdraw(2, 700, "cash", &k), "BK004", "refused");
	check_int(fake.n_keys, 0, "the key is free");
	(void) deposit(2, 700, &no_options);
	check_text(withdraw(2, 700, "cash", &k), "money.withdrawn", "later accepted");

	/* another session is first with the key, between our look and our claim */
	begin();
	fake_begin();
	fake_meanwhile = meanwhile_the_same;
	{
		BankUuid	id = fake_uuid(2);
		BankMoney	amount = money(700, "HTG");

		check_text(done(bank_movements_deposit(&id, &amount, "cash", &k, &outcome, &error)),
				   "money.deposited", "the same request at the same time");
		check(outcome.replayed, "is told the other's outcome");
		check_int(stored(2)->credits, 700, "and counts once");
	}
	begin();
	fake_begin();
	fake_meanwhile = meanwhile_the_same;
	{
		BankUuid	id = fake_uuid(3);
		BankMoney	amount = money(700, "HTG");

		check_text(done(bank_movements_deposit(&id, &amount, "cash", &k, &outcome, &error)),
				   "BK007", "another request at the same time");
	}

	/* replays of what made accounts */
	begin();
	check_text(create(0, &k), "account.created", "a new account");
	first = outcome.event;
	check_text(create(0, &k), "account.created", "again");
	check(outcome.replayed && bank_uuid_equal(&outcome.event.aggregate_id, &first.aggregate_id),
		  "is the same account");
	k.key = "h";
	check_text(open_house("vault", "HTG", &k), "account.created", "a new house account");
	check_text(open_house("vault", "HTG", &k), "account.created", "again");
	check(outcome.replayed, "is the same one");
}

/* Another session resolves the hold that this one is about to capture. */
static BankUuid meanwhile_hold;

static void
meanwhile_released(void)
{
	BankOutcome mine;
	BankError	ignored;

	(void) bank_holds_release(&meanwhile_hold, &no_options, &mine, &ignored);
}

/* Holds: which ports they use, in which order, and what is refused before any of them. */
static void
test_holds(void)
{
	BankOptions k = with_key("k");
	BankOptions v;
	BankOptions early = no_options;
	BankUuid	id = fake_uuid(1);
	BankUuid	missing = fake_uuid(240);
	BankUuid	h;
	BankUuid	other;
	BankMoney	ten = money(1000, "HTG");
	int64_t		day = INT64_C(86400) * 1000000;

	begin();
	check_text(hold(1, 4000, day, &k), "hold.created", "a hold");
	check_text(fake_trace, "find lock:1 claim append:hold.created ", "its ports");
	h = outcome.event.event_id;
	check(bank_uuid_equal(&outcome.event.hold_id, &h), "its identifier is that of the event");
	check_int(outcome.event.expires_at, outcome.event.recorded_at + day, "it lasts a day");
	check_int(stored(1)->held, 4000, "and reserves");
	check_text(hold(1, 4000, day, &k), "hold.created", "again");
	check(outcome.replayed && bank_uuid_equal(&outcome.event.event_id, &h), "is the same hold");
	check_text(hold(1, 4000, day + 1, &k), "BK007", "for longer it is another request");
	check_text(withdraw(1, 6001, "cash", &no_options), "BK004", "what is held is not available");

	check_text(capture(&h, 1000, 2, &no_options), "hold.captured", "a capture");
	check_text(fake_trace, "hold lock:1 lock:2 hold append:hold.captured ",
			   "finds the hold, locks both accounts, and looks at it again");
	check_int(stored(1)->held, 0, "nothing is held");
	check_int(bank_account_balance(stored(1)), 9000, "what was captured has left");
	check_int(bank_account_balance(stored(2)), 1000, "and has come");
	check_text(capture(&h, 0, 0, &no_options), "BK013", "once more");
	check_text(release(&h, &no_options), "BK013", "nor can it be released");

	(void) hold(3, 100, day, &no_options);
	check_text(bank_error_sqlstate(error.code), "BK004", "an empty account");
	(void) hold(1, 500, day, &no_options);
	h = outcome.event.event_id;
	check_text(capture(&h, 0, 0, &no_options), "hold.captured", "all, to cash");
	check_text(fake_trace, "hold lock:1 house:cash hold append:hold.captured ", "its ports");
	check_int(outcome.event.amount, 500, "is all");
	(void) hold(2, 500, day, &no_options);
	h = outcome.event.event_id;
	check_text(capture(&h, 0, 1, &no_options), "hold.captured", "to an account before its own");
	check_text(fake_trace, "hold lock:1 lock:2 hold append:hold.captured ", "locks in order");
	(void) hold(2, 500, day, &no_options);
	h = outcome.event.event_id;
	check_text(capture(&h, 0, 2, &no_options), "BK015", "to its own account");
	v = with_version(stored(2)->version);
	check_text(release(&h, &v), "hold.released", "a release, at the version expected");
	check_text(fake_trace, "hold lock:2 hold append:hold.released ", "its ports");
	check_text(release(&missing, &no_options), "BK013", "an unknown hold");
	check_text(fake_trace, "hold ", "is looked for, that is all");
	check_text(capture(&missing, 0, 0, &no_options), "BK013", "likewise");

	/* missing arguments, and times */
	fake_begin();
	check_text(done(bank_holds_create(NULL, &ten, &day, &no_options, &outcome, &error)), "BK021",
			   "no account");
	check_text(done(bank_holds_create(&id, NULL, &day, &no_options, &outcome, &error)), "BK021",
			   "no amount");
	check_text(done(bank_holds_create(&id, &ten, NULL, &no_options, &outcome, &error)), "BK021",
			   "no end");
	check_text(done(bank_holds_capture(NULL, NULL, NULL, "cash", &no_options, &outcome, &error)),
			   "BK021", "no hold");
	check_text(done(bank_holds_capture(&h, NULL, NULL, NULL, &no_options, &outcome, &error)),
			   "BK021", "no destination");
	check_text(done(bank_holds_capture(&h, NULL, NULL, "Cash", &no_options, &outcome, &error)),
			   "BK019", "no code");
	check_text(done(bank_holds_release(NULL, &no_options, &outcome, &error)), "BK021", "no hold");
	check_text(fake_trace, "", "none of which asks anything of the ports");
	check_text(hold(1, 1, 0, &no_options), "BK013", "no time");
	check_text(hold(1, 1, BANK_HOLD_LONGEST + 1, &no_options), "BK013", "too much time");
	early.has_occurred_at = true;
	early.occurred_at = fake.now - day;
	check_text(hold(1, 1, day, &early), "hold.created", "made yesterday, for a day from now");
	check_int(outcome.event.occurred_at, early.occurred_at, "is kept so");

	/* another session is first with the hold: it is looked at again under the lock */
	begin();
	(void) hold(1, 500, day, &no_options);
	meanwhile_hold = h = outcome.event.event_id;
	fake_begin();
	fake_meanwhile = meanwhile_released;
	(void) bank_holds_release(&h, &k, &outcome, &error);
	check_int(error.code, BANK_HOLD_RESOLVED, "released meanwhile");
	fake_rollback();

	/* what is over when a command comes is expired first, by expires_at */
	begin();
	(void) hold(1, 5000, 2000, &no_options);
	h = outcome.event.event_id;
	(void) hold(1, 3000, 1000, &no_options);
	other = outcome.event.event_id;
	(void) hold(1, 100, day, &no_options);
	fake.now += 3000;
	check_text(release(&h, &no_options), "BK013", "it is over");
	check_int(error.code, BANK_HOLD_EXPIRED, "and says so");
	check_int(stored(1)->held, 8100, "a refusal writes nothing");
	v = with_version(stored(1)->version);
	v.key = "after";
	check_text(withdraw(1, 9900, "cash", &v), "money.withdrawn", "its money is there");
	check_text(fake_trace, "find lock:1 house:cash expired:1 claim append:hold.expired "
			   "append:hold.expired append:money.withdrawn ", "it is expired first");
	check_int(outcome.event.version, v.expected_version + 3,
			  "the version expected is the one before");
	check(bank_uuid_equal(&fake.events[fake.n_events - 3].hold_id, &other) &&
		  bank_uuid_equal(&fake.events[fake.n_events - 2].hold_id, &h), "in the order of expiry");
	check_int(fake.events[fake.n_events - 3].recorded_at, outcome.event.recorded_at,
			  "at the time of the command");
	check_int(stored(1)->held, 100, "what is not over is held");
	v.expected_version += 3;
	check_text(withdraw(1, 9900, "cash", &v), "BK007", "the key stands for the first request");
	v.expected_version -= 3;
	check_text(withdraw(1, 9900, "cash", &v), "money.withdrawn", "which is replayed");
	check(outcome.replayed, "as such");

	/* also where it is the destination, and in a batch */
	(void) deposit(1, 1000, &no_options);
	(void) hold(1, 10, 1, &no_options);
	(void) deposit(3, 1000, &no_options);
	fake.now += 100;
	check_text(transfer(fake_uuid(3), fake_uuid(1), 10, &no_options), "transfer.completed",
			   "to an account with a hold that is over");
	check_text(fake_trace, "lock:1 lock:3 expired:1 append:hold.expired append:transfer.completed ",
			   "expires it");
	(void) hold(1, 10, 1, &no_options);
	(void) hold(3, 10, 1, &no_options);
	fake.now += 100;
	{
		BankUuid	one = fake_uuid(1);
		BankUuid	three = fake_uuid(3);
		BankMoney	much = money(100000, "HTG");
		BankOrder	orders[2] = {{&one, &three, &ten, false, no_options},
		{&three, &one, &much, false, no_options}};
		BankOrderResult results[2];
		int64_t		version = stored(1)->version;

		fake_begin();
		check(bank_batch_post(&orders[1], 1, results, &error) && results[0].error != NULL,
			  "a batch whose orders are refused");
		check_int(stored(1)->version, version, "expires nothing");
		fake_begin();
		check(bank_batch_post(orders, 2, results, &error), "another one");
		check(results[0].error == NULL && results[1].error != NULL, "of which one is accepted");
		check_int(stored(1)->held + stored(3)->held, 100, "expires what is over");
		check_int(results[0].event.version, version + 2, "first");
	}

	/* a sweep */
	begin();
	(void) deposit(2, 1000, &no_options);
	(void) hold(2, 10, 50, &no_options);
	(void) hold(1, 10, 50, &no_options);
	(void) hold(1, 20, 50, &no_options);
	(void) hold(1, 30, day, &no_options);
	fake.now += 1000;
	fake_begin();
	check_int(bank_holds_expire(100), 3, "a sweep");
	check_text(fake_trace, "lock:1 lock:2 expired:1 expired:2 append:hold.expired "
			   "append:hold.expired append:hold.expired ", "locks all accounts, in order");
	check_int(stored(1)->held, 30, "leaves what is not over");
	check_int(bank_holds_expire(100), 0, "and then there is nothing to do");
}

/* Requests that differ in anything but metadata have different texts; none is cut. */
static void
test_requests(void)
{
	char		seen[60][600];
	int			n = 0;
	int			i;
	int			j;
	bool		different = true;
	BankOptions k = with_key("k");
	BankOptions v = with_version(INT64_MIN);
	BankOptions t = with_key("k");
	BankMoney	ten = money(1000, "HTG");
	BankMoney	all = money(INT64_MAX, "HTG");
	BankUuid	owner = fake_uuid(250);
	BankUuid	id = fake_uuid(9);
	BankNewAccount made[] = {
		{&owner, "COURANT", "HTG", NULL, NULL, NULL}, {&owner, "EPARGNE", "HTG", NULL, NULL, NULL},
		{&owner, "COURANT", "USD", NULL, NULL, NULL}, {&id, "COURANT", "HTG", NULL, NULL, NULL},
		{&owner, "COURANT", "HTG", &id, NULL, NULL}, {&owner, "COURANT", "HTG", NULL, &ten, NULL},
		{&owner, "COURANT", "HTG", NULL, NULL, &ten}, {&owner, "COURANT", "HTG", &id, &all, &all},
	};

	v.key = "k";
	t.has_occurred_at = true;
	t.occurred_at = INT64_C(-36524) * 86400 * 1000000;
	begin();
#define SEEN(call) \
	do { \
		fake.n_keys = 0; \
		(void) (call); \
		memcpy(seen[n++], fake_request, sizeof(fake_request)); \
		fake_rollback(); \
	} while (0)
	SEEN(deposit(1, 700, &k));
	SEEN(deposit(1, 700, &v));
	SEEN(deposit(1, 700, &t));
	SEEN(deposit(1, 701, &k));
	SEEN(deposit(1, 70000, &k));
	SEEN(deposit(2, 700, &k));
	SEEN(withdraw(1, 700, "cash", &k));
	SEEN(withdraw(1, 700, "fees", &k));
	SEEN(transfer(fake_uuid(1), fake_uuid(2), 700, &k));
	SEEN(transfer(fake_uuid(2), fake_uuid(1), 700, &k));
	SEEN(change(bank_accounts_freeze, 1, &k));
	SEEN(change(bank_accounts_unfreeze, 1, &k));
	SEEN(change(bank_accounts_close, 1, &k));
	SEEN(change(bank_accounts_close, 2, &k));
	SEEN(limits(1, NULL, NULL, false, &k));
	SEEN(limits(1, NULL, NULL, true, &k));
	SEEN(limits(1, &ten, NULL, false, &k));
	SEEN(limits(1, NULL, &ten, false, &k));
	SEEN(limits(1, &all, &all, false, &v));
	SEEN(hold(1, 700, 1, &k));
	SEEN(hold(1, 700, 2, &k));
	SEEN(hold(1, INT64_MAX, BANK_HOLD_LONGEST, &v));
	SEEN(capture(&id, 0, 0, &k));
	SEEN(capture(&id, 700, 0, &k));
	SEEN(capture(&id, 700, 1, &k));
	SEEN(capture(&owner, INT64_MAX, 1, &v));
	SEEN(release(&id, &k));
	SEEN(open_house("vault", "HTG", &k));
	SEEN(open_house("vault", "USD", &k));
	SEEN(open_house("safe", "HTG", &k));
	for (i = 0; i < (int) (sizeof(made) / sizeof(made[0])); i++)
	{
		fake_begin();
		SEEN(bank_accounts_create(&made[i], i == 7 ? &v : &k, &outcome, &error));
	}
#undef SEEN
	for (i = 0; i < n; i++)
	{
		for (j = 0; j < i; j++)
		{
			if (strcmp(seen[i], seen[j]) == 0)
			{
				printf("# requests %d and %d: %s\n", i, j, seen[i]);
				different = false;
			}
		}
		different = different && strlen(seen[i]) < BANK_REQUEST_TEXT - 100 &&
			seen[i][strlen(seen[i]) - 1] == '|';
	}
	check(different, "%d requests have %d canonical texts", n, n);
}

/* --- batches: exactly what the same orders one at a time would give --- */

#define N_ORDERS 24

/* Refusals of the orders that are posted alone, until the next batch. */
static BankError kept[N_ORDERS];
static int	n_kept;

/* Keep a refusal; a batch has no more of them than orders. */
static const BankError *
keep(const BankError *refusal)
{
	kept[n_kept % N_ORDERS] = *refusal;
	return &kept[n_kept++ % N_ORDERS];
}

/* An order by itself, in the way of done(); results as a batch tells them. */
static void
post_alone(const BankOrder *order, BankOrderResult *result)
{
	fake_begin();
	result->error = NULL;
	if (bank_movements_transfer(order->from_account, order->to_account, NULL, order->amount,
								&order->options, &outcome, &error))
	{
		result->event = outcome.event;
		result->replayed = outcome.replayed;
	}
	else
	{
		fake_rollback();
		result->error = keep(&error);
		result->replayed = false;
	}
}

/* Post a chain one order at a time: when one is refused, all are taken back. */
static void
post_chain(const BankOrder *orders, int first, int last, BankOrderResult *results)
{
	static FakeStore before;
	int			i;
	int			j;

	before = fake;
	for (i = first; i <= last; i++)
	{
		post_alone(&orders[i], &results[i]);
		if (results[i].error == NULL)
			continue;
		if (first < last)
		{
			BankErrorCode code = results[i].error->code;
			BankError	linked;

			fake = before;
			for (j = first; j <= last; j++)
			{
				if (j == i)
					continue;
				results[j].replayed = false;
				bank_error_set(&linked, BANK_LINKED_ORDER_FAILED, "Order %d failed: %s %s", i + 1,
							   bank_error_sqlstate(code), bank_error_message(code));
				results[j].error = keep(&linked);
			}
		}
		break;
	}
}

/* Are these two ledgers the same, but for identifiers of events and times? */
static bool
same_ledger(const FakeStore *a, const FakeStore *b)
{
	int			i;

	if (a->n_accounts != b->n_accounts || a->n_keys != b->n_keys)
		return false;
	for (i = 0; i < a->n_accounts; i++)
	{
		const BankAccount *x = &a->accounts[i];
		const BankAccount *y = NULL;
		int			j;

		for (j = 0; j < b->n_accounts; j++)
		{
			/* stripes have identifiers of the clock's making, in order of their opening */
			const BankAccount *z = &b->accounts[j];

			if (bank_uuid_equal(&x->id, &z->id) ||
				(x->opening.type == BANK_TYPE_HOUSE && x->opening.stripe == z->opening.stripe &&
				 strcmp(x->opening.house_code, z->opening.house_code) == 0))
				y = z;
		}
		if (y == NULL || x->version != y->version || x->debits != y->debits ||
			x->credits != y->credits)
			return false;
	}
	for (i = 0; i < a->n_keys; i++)
	{
		int			j;

		for (j = 0; j < b->n_keys; j++)
		{
			if (strcmp(a->keys[i].key, b->keys[j].key) == 0 &&
				strcmp(a->keys[i].request, b->keys[j].request) == 0 &&
				a->keys[i].version == b->keys[j].version)
				break;
		}
		if (j == b->n_keys)
			return false;
	}
	return true;
}

/* One random batch, posted at once and one order at a time. */
static bool
batch_agrees(uint64_t seed)
{
	static const char *const keys[] = {"a", "b", "c", "d", "e"};
	static FakeStore start;
	static FakeStore alone;
	static BankOrderResult at_once[N_ORDERS];
	static BankOrderResult one_by_one[N_ORDERS];
	BankOrder	orders[N_ORDERS];
	BankUuid	ids[8];
	BankMoney	amounts[N_ORDERS];
	uint64_t	random = seed;
	int			n = 1 + (int) (check_random(&random) % N_ORDERS);
	int			i;

	begin();
	(void) create(4, &no_options);
	(void) deposit(2, 5000, &no_options);
	(void) open_house("vault", "USD", &no_options);
	(void) change(bank_accounts_freeze, 4, &no_options);
	for (i = 0; i < 6; i++)
		ids[i] = fake_uuid(i + 1);	/* 5 and 6 do not exist */
	ids[6] = house_id("cash");
	ids[7] = fake.accounts[fake.n_accounts - 1].id;	/* a stripe, in dollars */
	for (i = 0; i < n; i++)
	{
		memset(&orders[i], 0, sizeof(orders[i]));
		orders[i].from_account = check_random(&random) % 40 == 0 ? NULL :
			&ids[check_random(&random) % (check_random(&random) % 3 == 0 ? 8 : 3)];
		orders[i].to_account =
			&ids[check_random(&random) % (check_random(&random) % 3 == 0 ? 8 : 3)];
		amounts[i] = money((int64_t) (check_random(&random) % 6000),
						   check_random(&random) % 20 == 0 ? "USD" : "HTG");
		orders[i].amount = check_random(&random) % 40 == 0 ? NULL : &amounts[i];
		orders[i].linked = i < n - 1 && check_random(&random) % 4 == 0;
		if (check_random(&random) % 3 == 0)
			orders[i].options.key = keys[check_random(&random) % 5];
		if (i > 0 && check_random(&random) % 5 == 0)
		{
			/* the same order again, which makes replays likely */
			bool		linked = orders[i].linked;

			orders[i] = orders[i - 1];
			orders[i].linked = linked;
		}
	}
	if (check_random(&random) % 2 == 0)
	{
		BankOptions k = with_key("a");

		(void) transfer(ids[0], ids[1], 100, &k);
	}

	start = fake;
	for (i = 0; i < n; i++)
	{
		int			last = i;

		while (orders[last].linked)
			last++;
		post_chain(orders, i, last, one_by_one);
		i = last;
	}
	alone = fake;
	fake = start;
	fake_begin();
	if (!bank_batch_post(orders, n, at_once, &error))
	{
		printf("# the batch was refused: %s\n", bank_error_sqlstate(error.code));
		return false;
	}
	for (i = 0; i < n; i++)
	{
		const BankOrderResult *x = &at_once[i];
		const BankOrderResult *y = &one_by_one[i];
		const char *x_says = x->error != NULL ? x->error->detail : "accepted";
		const char *y_says = y->error != NULL ? y->error->detail : "accepted";

		if ((x->error != NULL ? x->error->code : BANK_OK) !=
			(y->error != NULL ? y->error->code : BANK_OK) ||
			strcmp(x_says, y_says) != 0 || x->replayed != y->replayed ||
			(x->error == NULL &&
			 (x->event.version != y->event.version || x->event.amount != y->event.amount ||
			  x->event.balance != y->event.balance ||
			  x->event.peer_version != y->event.peer_version ||
			  x->event.peer_balance != y->event.peer_balance)))
		{
			printf("# order %d: %s%s in the batch, %s%s alone\n", i + 1, x_says,
				   x->replayed ? ", replayed" : "", y_says, y->replayed ? ", replayed" : "");
			return false;
		}
	}
	return same_ledger(&fake, &alone);
}

/* Batches. */
static void
test_batches(void)
{
	bool		agrees = true;
	uint64_t	seed;
	BankUuid	one = fake_uuid(1);
	BankUuid	two = fake_uuid(2);
	BankUuid	cash;
	BankMoney	ten = money(1000, "HTG");
	BankOrder	order = {&one, &two, &ten, true, {0}};
	BankOrderResult result;

	for (seed = 1; seed <= 2000 && agrees; seed++)
	{
		agrees = batch_agrees(seed);
		if (!agrees)
			printf("# seed %" PRIu64 "\n", seed);
	}
	check(agrees, "random batches give what the same orders one at a time give");

	begin();
	fake_begin();
	check(bank_batch_post(&order, 0, &result, &error), "an empty batch");
	check_int(fake.n_events, 5, "does nothing");
	cash = house_id("cash");
	order.linked = false;
	order.to_account = &cash;
	fake.stripe_busy = true;
	check(bank_batch_post(&order, 1, &result, &error) && result.error == NULL,
		  "a batch that opens a stripe");
	check_int(fake.n_events, 7, "has two events");
	check(result.event.recorded_at >= fake.events[5].recorded_at, "in the order of time");
	begin();
	order.linked = true;
	order.to_account = &two;
	check(!bank_batch_post(&order, 1, &result, &error), "a chain without an end");
	check_int(error.code, BANK_INVALID_BATCH, "is refused");
	order.linked = false;
	order.options = with_key("k");
	fake_begin();
	fake_meanwhile = meanwhile_another;
	check(bank_batch_post(&order, 1, &result, &error), "another session is first with the key");
	check(result.error != NULL && result.error->code == BANK_KEY_REUSED,
		  "the order with that key is refused");
	check_int(stored(1)->version, 2, "and moves nothing");
}

int
main(void)
{
	test_create();
	test_movements_with_house();
	test_transfers();
	test_account_commands();
	test_options();
	test_clock();
	test_keys();
	test_holds();
	test_requests();
	test_batches();
	return check_done();
}
