/*
 * account.h
 *		The rules of an account: which commands it accepts (decide) and what an
 *		event makes of it (check, apply).
 *
 * Pure C: a rule sees the state as it is under the lock the caller holds, and
 * answers with an event or a refusal; it reads no clock and no table. The
 * caller of a decision must hold the lock of every account given to it until
 * its event is committed.
 */
#ifndef BANK_DOMAIN_ACCOUNT_H
#define BANK_DOMAIN_ACCOUNT_H

#include "domain/event.h"
#include "domain/money.h"

/* Later than any time. */
#define BANK_NO_EXPIRY INT64_MAX

/* Current state of an account; version 0 means that it does not exist yet. */
typedef struct BankAccount
{
	BankUuid	id;
	int64_t		version;
	BankAccountStatus status;
	char		currency[3];
	int64_t		debits;			/* sum of money that left, minor units, >= 0 */
	int64_t		credits;		/* sum of money that came, minor units, >= 0 */
	int64_t		held;			/* part of the balance that is reserved, >= 0 */
	int64_t		next_expiry;	/* of its open holds, the earliest; BANK_NO_EXPIRY: none open */
	BankLimits	limits;
	int64_t		limits_version; /* of the event that set them */
	int64_t		created_at;
	int64_t		recorded_at;	/* of the last event of the stream */
	int64_t		position;		/* of the last event of the stream */
	int64_t		business_at;	/* latest of its movements and holds; INT64_MIN: none */
	BankOpening opening;
} BankAccount;

/* The balance: signed, minor units. Cannot overflow: bank_account_check saw to it. */
static inline int64_t
bank_account_balance(const BankAccount *account)
{
	return account->credits - account->debits;
}

/*
 * What can be spent: balance - held + overdraft limit, in minor units. House
 * accounts have no bound; this must not be asked of them.
 */
extern int64_t bank_account_available(const BankAccount *account);

/*
 * Decisions. On success they fill *event (all but identifiers of the event
 * itself, position, times and metadata, which the caller knows) and return
 * true; else they fill *error and return false.
 */
extern bool bank_account_decide_create(const BankUuid *id, const char *currency,
									   const BankLimits *limits, const BankOpening *opening,
									   BankEvent *event, BankError *error);
extern bool bank_account_decide_movement(BankEventType type, const BankAccount *aggregate,
										 const BankAccount *peer, const BankMoney *amount,
										 BankEvent *event, BankError *error);
extern bool bank_account_decide_freeze(const BankAccount *account, BankEvent *event,
									   BankError *error);
extern bool bank_account_decide_unfreeze(const BankAccount *account, BankEvent *event,
										 BankError *error);
extern bool bank_account_decide_close(const BankAccount *account, BankEvent *event,
									  BankError *error);
extern bool bank_account_decide_limits(const BankAccount *account, const BankLimits *limits,
									   BankEvent *event, BankError *error);

/* Helpers of commands that have no account state to look at yet. */
extern bool bank_account_refuse_amount(const BankAccount *account, BankError *error);
extern bool bank_account_check_active(const BankAccount *account, BankError *error);
extern bool bank_account_check_customer(const BankAccount *account, BankError *error);
extern void bank_event_begin(BankEvent *event, BankEventType type, const BankAccount *account);
extern bool bank_account_check_version(int64_t version, int64_t expected,
									   BankError *error);
extern bool bank_account_check_amount(const BankMoney *amount, BankError *error);
extern bool bank_house_code_check(const char *code, size_t len, BankError *error);
extern bool bank_house_code_is_builtin(const char *code);

/*
 * What can be wrong with an event on a stream; bits of bank_account_check.
 * X(symbol, bit, what the trigger says)
 */
#define BANK_FLAWS(X) \
	X(BANK_FLAW_VERSION, 1, "version must be the account's version plus one") \
	X(BANK_FLAW_CURRENCY, 2, "currency must be the account's") \
	X(BANK_FLAW_SHAPE, 4, "columns do not fit the event type") \
	X(BANK_FLAW_AMOUNT, 8, "amount must be greater than zero and the sums in bounds") \
	X(BANK_FLAW_BALANCE, 16, "balance must be the account's balance after the event") \
	X(BANK_FLAW_STATUS, 32, "the account's status does not allow it") \
	X(BANK_FLAW_LIMITS, 64, "the account would be beyond its limits") \
	X(BANK_FLAW_TIME, 128, "times must be finite, recorded_at not before the last event's") \
	X(BANK_FLAW_POSITION, 256, "position must be after that of the stream's last event") \
	X(BANK_FLAW_HELD, 512, "held must be what is reserved of the account after the event") \
	X(BANK_FLAW_HOLD, 1024, "the event does not fit its hold, which is resolved once") \
	X(BANK_FLAW_EXPIRY, 2048, "expired holds of the account must be expired before")

typedef enum BankFlaw
{
#define X(symbol, bit, text) symbol = bit,
	BANK_FLAWS(X)
#undef X
} BankFlaw;

/*
 * Does this event continue the stream of this account (as its aggregate, or as
 * its peer)? Returns 0, or the BankFlaw bits. Anything may stand in the event.
 */
extern unsigned bank_account_check(const BankAccount *account, const BankEvent *event,
								   bool as_peer);

/*
 * Make the account what it is after the event; but where a hold is resolved,
 * next_expiry is left to the caller, who knows the other holds. When the event was flawed, its
 * own figures win, so that a verification can go on behind the flaw.
 */
extern void bank_account_apply(BankAccount *account, const BankEvent *event, bool as_peer);

/* The sentence for the lowest flaw bit that is set. */
extern const char *bank_flaw_text(unsigned flaws);

#endif							/* BANK_DOMAIN_ACCOUNT_H */
