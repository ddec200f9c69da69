/*
 * account.c
 *		The rules of an account.
 *
 * Pure C, no allocation. Locks: the caller holds those of all accounts given,
 * see account.h. All arithmetic on amounts is checked.
 */
#include "domain/account.h"
#include "domain/account_number.h"
#include "domain/currency.h"

#include <inttypes.h>

/* Text of a signed figure with its currency, such as "-500.50 HTG". */
typedef struct BankFigure
{
	char		text[BANK_MONEY_TEXT + 4];
} BankFigure;

/* Make that text; the caller prints it at once. */
static BankFigure
bank_figure(int64_t minor, const char *currency)
{
	BankFigure	figure;
	int			len = bank_minor_format(minor, bank_currency_exponent(currency), figure.text);

	figure.text[len] = ' ';
	memcpy(figure.text + len + 1, currency, 3);
	figure.text[len + 4] = '\0';
	return figure;
}

/* See account.h. Saturates: a limit near INT64_MAX means "everything". */
int64_t
bank_account_available(const BankAccount *account)
{
	int64_t		available = bank_account_balance(account) - account->held;

	if (!bank_add_int64(available, account->limits.overdraft, &available))
		return INT64_MAX;
	return available;
}

/* Refuse an amount that is more than what is available. BK004. */
bool
bank_account_refuse_amount(const BankAccount *account, BankError *error)
{
	return bank_error_set(error, BANK_INSUFFICIENT_BALANCE, "Available: %s",
						  bank_figure(bank_account_available(account), account->currency).text);
}

/* Is balance (holds taken off) and ceiling within these limits? House accounts have none. */
static bool
bank_account_fits(const BankAccount *account, const BankLimits *limits)
{
	int64_t		balance = bank_account_balance(account);
	int64_t		free;

	if (account->opening.type == BANK_TYPE_HOUSE)
		return true;
	return bank_subtract_int64(balance, account->held, &free) && free >= -limits->overdraft &&
		(limits->balance == BANK_NO_LIMIT || balance <= limits->balance);
}

/* Refuse unless the account is ACTIVE. BK002. */
bool
bank_account_check_active(const BankAccount *account, BankError *error)
{
	char		id[BANK_UUID_TEXT];

	if (account->status == BANK_STATUS_ACTIVE)
		return true;
	bank_uuid_format(&account->id, id);
	return bank_error_set(error, BANK_ACCOUNT_NOT_ACTIVE, "Status: %s (account %s)",
						  bank_account_status_name(account->status), id);
}

/* Refuse house accounts, which have no owner to freeze, limit or close them for. BK009. */
bool
bank_account_check_customer(const BankAccount *account, BankError *error)
{
	if (account->opening.type != BANK_TYPE_HOUSE)
		return true;
	return bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE,
						  "House account %s takes movements only.", account->opening.house_code);
}

/* Start an event that continues the stream of this account, and changes none of its sums. */
void
bank_event_begin(BankEvent *event, BankEventType type, const BankAccount *account)
{
	memset(event, 0, sizeof(*event));
	event->type = type;
	event->aggregate_id = account->id;
	event->version = account->version + 1;
	memcpy(event->currency, account->currency, 3);
	event->balance = bank_account_balance(account);
	event->held = account->held;
}

/* Limits are not negative; a ceiling may be absent. */
static bool
bank_limits_sound(const BankLimits *limits)
{
	return limits->overdraft >= 0 && limits->balance >= BANK_NO_LIMIT;
}

/* Refuse limits that are not sound. BK008. */
static bool
bank_limits_check(const BankLimits *limits, BankError *error)
{
	if (!bank_limits_sound(limits))
		return bank_error_set(error, BANK_INVALID_AMOUNT, "A limit cannot be negative.");
	return true;
}

/*
 * Open an account. The caller has made sure that neither the identifier nor the
 * number is taken. BK008, BK009, BK014.
 */
bool
bank_account_decide_create(const BankUuid *id, const char *currency, const BankLimits *limits,
						   const BankOpening *opening, BankEvent *event, BankError *error)
{
	BankAccount account;

	if (bank_currency_exponent(currency) < 0)
		return bank_error_set(error, BANK_UNKNOWN_CURRENCY,
							  "\"%.3s\" is not a currency of ISO 4217.", currency);
	if (!bank_limits_check(limits, error))
		return false;
	if ((opening->type == BANK_TYPE_HOUSE) != (opening->house_code[0] != '\0'))
		return bank_error_set(error, BANK_INVALID_ACCOUNT_TYPE,
							  "A house account has a code, a customer's account an owner.");

	memset(&account, 0, sizeof(account));
	account.id = *id;
	memcpy(account.currency, currency, 3);
	bank_event_begin(event, BANK_EVENT_CREATED, &account);
	event->limits = *limits;
	event->opening = *opening;
	return true;
}

/*
 * Move money between two accounts: a deposit comes to the aggregate from its
 * peer, a withdrawal and a transfer go from the aggregate to its peer. The
 * amount was checked by bank_account_check_amount. BK002..BK005, BK015.
 */
bool
bank_account_decide_movement(BankEventType type, const BankAccount *aggregate,
							 const BankAccount *peer, const BankMoney *amount, BankEvent *event,
							 BankError *error)
{
	bool		debits_aggregate = bank_event_debits_aggregate(type);
	const BankAccount *from = debits_aggregate ? aggregate : peer;
	const BankAccount *to = debits_aggregate ? peer : aggregate;
	int64_t		sum;

	if (bank_uuid_equal(&from->id, &to->id))
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(from->opening.type == BANK_TYPE_HOUSE ?
						 &from->opening.house_account_id : &from->id, id);
		return bank_error_set(error, BANK_SAME_ACCOUNT, "Account: %s", id);
	}
	if (!bank_account_check_active(from, error) || !bank_account_check_active(to, error))
		return false;
	if (memcmp(amount->currency, from->currency, 3) != 0 ||
		memcmp(amount->currency, to->currency, 3) != 0)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH,
							  "The amount is in %.3s, the source account in %.3s, "
							  "the destination account in %.3s.",
							  amount->currency, from->currency, to->currency);
	if (from->opening.type != BANK_TYPE_HOUSE && amount->minor > bank_account_available(from))
		return bank_account_refuse_amount(from, error);
	if (!bank_add_int64(from->debits, amount->minor, &sum) ||
		!bank_add_int64(to->credits, amount->minor, &sum))
		return bank_error_set(error, BANK_LIMIT_EXCEEDED,
							  "The sum of an account's movements cannot exceed %s.",
							  bank_figure(INT64_MAX, from->currency).text);
	if (to->opening.type != BANK_TYPE_HOUSE && to->limits.balance != BANK_NO_LIMIT &&
		bank_account_balance(to) + amount->minor > to->limits.balance)
		return bank_error_set(error, BANK_LIMIT_EXCEEDED, "Balance limit: %s, balance: %s",
							  bank_figure(to->limits.balance, to->currency).text,
							  bank_figure(bank_account_balance(to), to->currency).text);

	bank_event_begin(event, type, aggregate);
	event->has_peer = true;
	event->peer_id = peer->id;
	event->peer_version = peer->version + 1;
	event->amount = amount->minor;
	event->balance += debits_aggregate ? -amount->minor : amount->minor;
	event->peer_held = peer->held;
	event->peer_balance = bank_account_balance(peer) +
		(debits_aggregate ? amount->minor : -amount->minor);
	return true;
}

/* Stop all movements of an account. BK009, BK010. */
bool
bank_account_decide_freeze(const BankAccount *account, BankEvent *event, BankError *error)
{
	if (!bank_account_check_customer(account, error))
		return false;
	if (account->status == BANK_STATUS_CLOSED)
		return bank_error_set(error, BANK_ALREADY_CLOSED, "%s", "");
	if (account->status == BANK_STATUS_FROZEN)
		return bank_error_set(error, BANK_ALREADY_FROZEN, "%s", "");
	bank_event_begin(event, BANK_EVENT_FROZEN, account);
	return true;
}

/* Let a frozen account move again. BK009, BK010. */
bool
bank_account_decide_unfreeze(const BankAccount *account, BankEvent *event, BankError *error)
{
	if (!bank_account_check_customer(account, error))
		return false;
	if (account->status == BANK_STATUS_CLOSED)
		return bank_error_set(error, BANK_ALREADY_CLOSED, "%s", "");
	if (account->status != BANK_STATUS_FROZEN)
		return bank_error_set(error, BANK_NOT_FROZEN, "Status: %s",
							  bank_account_status_name(account->status));
	bank_event_begin(event, BANK_EVENT_UNFROZEN, account);
	return true;
}

/* Close an account for good; it must be active and empty. BK002, BK009, BK010. */
bool
bank_account_decide_close(const BankAccount *account, BankEvent *event, BankError *error)
{
	if (!bank_account_check_customer(account, error))
		return false;
	if (account->status == BANK_STATUS_CLOSED)
		return bank_error_set(error, BANK_ALREADY_CLOSED, "%s", "");
	if (!bank_account_check_active(account, error))
		return false;
	if (bank_account_balance(account) != 0 || account->held != 0)
	{
		bank_error_set(error, BANK_NOT_EMPTY, "Balance: %s, held: %s",
					   bank_figure(bank_account_balance(account), account->currency).text,
					   bank_figure(account->held, account->currency).text);
		return bank_error_hint(error, "Move the balance away first.");
	}
	bank_event_begin(event, BANK_EVENT_CLOSED, account);
	return true;
}

/*
 * Give an active account other limits; its balance must be within them. BK002,
 * BK005, BK008, BK009.
 */
bool
bank_account_decide_limits(const BankAccount *account, const BankLimits *limits, BankEvent *event,
						   BankError *error)
{
	if (!bank_account_check_customer(account, error) ||
		!bank_limits_check(limits, error) ||
		!bank_account_check_active(account, error))
		return false;
	if (!bank_account_fits(account, limits))
		return bank_error_set(error, BANK_LIMIT_EXCEEDED,
							  "Balance: %s, held: %s; the new limits would not allow it.",
							  bank_figure(bank_account_balance(account), account->currency).text,
							  bank_figure(account->held, account->currency).text);
	bank_event_begin(event, BANK_EVENT_LIMITS_CHANGED, account);
	event->limits = *limits;
	event->limits_before = account->limits_version;
	return true;
}

/* Optimistic versioning: refuse unless the account has the version the caller has seen. BK006. */
bool
bank_account_check_version(int64_t version, int64_t expected, BankError *error)
{
	if (version == expected)
		return true;
	bank_error_set(error, BANK_CONCURRENCY_CONFLICT,
				   "Expected version: %" PRId64 ", actual version: %" PRId64, expected,
				   version);
	return bank_error_hint(error, "Read the account again and decide anew.");
}

/* A movement moves something. BK008. */
bool
bank_account_check_amount(const BankMoney *amount, BankError *error)
{
	if (amount->minor > 0)
		return true;
	return bank_error_set(error, BANK_INVALID_AMOUNT, "The amount must be greater than zero.");
}

/*
 * Codes of house accounts: a lower-case letter, then lower-case letters, digits
 * and underscores; 32 at most. BK019.
 */
bool
bank_house_code_check(const char *code, size_t len, BankError *error)
{
	size_t		i;

	for (i = 0; i < len; i++)
	{
		if (!((code[i] >= 'a' && code[i] <= 'z') ||
			  (i > 0 && ((code[i] >= '0' && code[i] <= '9') || code[i] == '_'))))
			break;
	}
	if (len > 0 && len < BANK_HOUSE_CODE_TEXT && i == len)
		return true;
	return bank_error_set(error, BANK_INVALID_HOUSE_CODE,
						  "A code is a lower-case letter followed by up to %d lower-case letters, "
						  "digits or underscores.",
						  BANK_HOUSE_CODE_TEXT - 2);
}

/* Is it one of the house accounts every ledger has? */
bool
bank_house_code_is_builtin(const char *code)
{
	static const char *const builtin[] = {"cash", "external", "fees", "interest", "exchange",
	"suspense"};
	size_t		i;

	for (i = 0; i < sizeof(builtin) / sizeof(builtin[0]); i++)
	{
		if (strcmp(builtin[i], code) == 0)
			return true;
	}
	return false;
}

/*
 * Flaws of the event on an account in this status: a frozen one can be unfrozen,
 * what is held can become free, and a transfer can take what is held for it (which holds
 * these are is known to bank_hold_check).
 */
static unsigned
bank_account_check_status(const BankAccount *account, BankEventType type, bool as_peer)
{
	bool		frees = type == BANK_EVENT_HOLD_RELEASED || type == BANK_EVENT_HOLD_EXPIRED ||
		(type == BANK_EVENT_HOLD_CAPTURED && !as_peer);
	bool		allowed = account->status == BANK_STATUS_FROZEN ?
		type == BANK_EVENT_UNFROZEN || frees :
		account->status == BANK_STATUS_ACTIVE && type != BANK_EVENT_UNFROZEN;

	return allowed ? 0 : BANK_FLAW_STATUS;
}

/* What the event says of held on this account, as far as one can tell without the hold. */
static unsigned
bank_account_check_held(const BankAccount *account, const BankEvent *event, bool as_peer)
{
	if (as_peer)
		return event->peer_held == account->held ? 0 : BANK_FLAW_HELD;
	if (!bank_event_is_hold(event->type))
		return event->held == account->held ? 0 : BANK_FLAW_HELD;
	if (event->type == BANK_EVENT_HOLD_CREATED)
		return event->held > account->held &&
			event->held - account->held == event->amount ? 0 : BANK_FLAW_HELD;
	return event->held >= 0 && event->held < account->held &&
		account->held - event->held >= event->amount ? 0 : BANK_FLAW_HELD;
}

/* Does a movement bring money to this one of its two accounts? */
static bool
bank_event_credits(const BankEvent *event, bool as_peer)
{
	return bank_event_debits_aggregate(event->type) == as_peer;
}

/* Is this a whole opening: a customer's account with its number, or a stripe of a house account? */
static bool
bank_opening_sound(const BankOpening *opening)
{
	static const BankUuid nil;
	BankError	ignored;

	if (opening->type == BANK_TYPE_UNKNOWN)
		return false;
	if (opening->type == BANK_TYPE_HOUSE)
		return !opening->has_owner && opening->number[0] == '\0' && opening->stripe > 0 &&
			bank_house_code_check(opening->house_code, strlen(opening->house_code), &ignored) &&
			!bank_uuid_equal(&opening->house_account_id, &nil);
	return opening->has_owner && opening->house_code[0] == '\0' &&
		bank_account_number_check(opening->number, strlen(opening->number));
}

/* See account.h. */
unsigned
bank_account_check(const BankAccount *account, const BankEvent *event, bool as_peer)
{
	bool		movement = bank_event_is_movement(event->type);
	BankAccount after = *account;
	unsigned	flaws = 0;

	if (event->type == BANK_EVENT_UNKNOWN || event->has_peer != movement ||
		(account->opening.type == BANK_TYPE_HOUSE && account->version > 0 && !movement) ||
		(movement && bank_uuid_equal(&event->aggregate_id, &event->peer_id)))
		return BANK_FLAW_SHAPE;
	if ((as_peer ? event->peer_version : event->version) != account->version + 1 ||
		(event->type == BANK_EVENT_CREATED) != (account->version == 0))
		return BANK_FLAW_VERSION;

	if (event->recorded_at == INT64_MIN || event->recorded_at == INT64_MAX ||
		(event->has_occurred_at &&
		 (event->occurred_at == INT64_MIN || event->occurred_at == INT64_MAX)))
		flaws |= BANK_FLAW_TIME;
	if (event->type == BANK_EVENT_CREATED)
	{
		if (!bank_opening_sound(&event->opening) || !bank_limits_sound(&event->limits))
			flaws |= BANK_FLAW_SHAPE;
		if (bank_currency_exponent(event->currency) < 0)
			flaws |= BANK_FLAW_CURRENCY;
	}
	else
	{
		if (memcmp(event->currency, account->currency, 3) != 0)
			flaws |= BANK_FLAW_CURRENCY;
		if (event->position <= account->position)
			flaws |= BANK_FLAW_POSITION;
		if (event->recorded_at < account->recorded_at)
			flaws |= BANK_FLAW_TIME;
		flaws |= bank_account_check_status(account, event->type, as_peer);
		if (event->type != BANK_EVENT_HOLD_EXPIRED && account->next_expiry != BANK_NO_EXPIRY &&
			account->next_expiry <= event->recorded_at)
			flaws |= BANK_FLAW_EXPIRY;
	}
	flaws |= bank_account_check_held(account, event, as_peer);
	after.held = as_peer ? event->peer_held : event->held;

	if (movement)
	{
		int64_t    *side = bank_event_credits(event, as_peer) ? &after.credits : &after.debits;

		if (event->amount <= 0 || !bank_add_int64(*side, event->amount, side))
			return flaws | BANK_FLAW_AMOUNT;
	}
	else if (bank_event_is_hold(event->type))
	{
		if (event->amount <= 0)
			return flaws | BANK_FLAW_AMOUNT;
	}
	else if (event->amount != 0)
		flaws |= BANK_FLAW_SHAPE;
	if (event->type == BANK_EVENT_LIMITS_CHANGED)
	{
		after.limits = event->limits;
		if (!bank_limits_sound(&event->limits) ||
			event->limits_before != account->limits_version)
			flaws |= BANK_FLAW_SHAPE;
	}
	if (event->type == BANK_EVENT_CLOSED &&
		(bank_account_balance(account) != 0 || account->held != 0))
		flaws |= BANK_FLAW_STATUS;
	if ((as_peer ? event->peer_balance : event->balance) != bank_account_balance(&after))
		flaws |= BANK_FLAW_BALANCE;
	if ((flaws & (BANK_FLAW_SHAPE | BANK_FLAW_HELD)) == 0 &&
		!bank_account_fits(&after, &after.limits))
		flaws |= BANK_FLAW_LIMITS;
	return flaws;
}

/* See account.h. */
void
bank_account_apply(BankAccount *account, const BankEvent *event, bool as_peer)
{
	if (event->type == BANK_EVENT_CREATED)
	{
		memset(account, 0, sizeof(*account));
		account->id = event->aggregate_id;
		memcpy(account->currency, event->currency, 3);
		account->status = BANK_STATUS_ACTIVE;
		account->limits = event->limits;
		account->created_at = event->recorded_at;
		account->business_at = INT64_MIN;
		account->next_expiry = BANK_NO_EXPIRY;
		account->limits_version = event->version;
		account->opening = event->opening;
	}
	else if (event->type == BANK_EVENT_FROZEN)
		account->status = BANK_STATUS_FROZEN;
	else if (event->type == BANK_EVENT_UNFROZEN)
		account->status = BANK_STATUS_ACTIVE;
	else if (event->type == BANK_EVENT_CLOSED)
		account->status = BANK_STATUS_CLOSED;
	else if (event->type == BANK_EVENT_LIMITS_CHANGED)
	{
		account->limits = event->limits;
		account->limits_version = event->version;
	}
	else if (bank_event_is_movement(event->type))
	{
		int64_t		balance = as_peer ? event->peer_balance : event->balance;
		int64_t		sum;

		if (event->amount > 0 && bank_event_credits(event, as_peer) &&
			bank_add_int64(account->credits, event->amount, &sum))
			account->credits = sum;
		else if (event->amount > 0 && !bank_event_credits(event, as_peer) &&
				 bank_add_int64(account->debits, event->amount, &sum))
			account->debits = sum;
		/* a flawed balance wins, see account.h: start again from it */
		if (balance != bank_account_balance(account))
		{
			account->credits = balance > 0 ? balance : 0;
			account->debits = balance < -INT64_MAX ? INT64_MAX : balance < 0 ? -balance : 0;
		}
	}
	if (event->type == BANK_EVENT_HOLD_CREATED && event->expires_at < account->next_expiry)
		account->next_expiry = event->expires_at;
	if (bank_event_has_amount(event->type) &&
		bank_event_business_time(event) > account->business_at)
		account->business_at = bank_event_business_time(event);
	account->held = as_peer ? event->peer_held : event->held;
	if (account->held < 0)
		account->held = 0;		/* flawed */
	account->version = as_peer ? event->peer_version : event->version;
	account->recorded_at = event->recorded_at;
	account->position = event->position;
}

/* See account.h. */
const char *
bank_flaw_text(unsigned flaws)
{
#define X(symbol, bit, text) \
	if (flaws & (bit)) \
		return text;
	BANK_FLAWS(X)
#undef X
	return "";
}
