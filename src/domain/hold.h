/*
 * hold.h
 *		The rules of a hold: money of an account that is reserved until the hold is
 *		captured, released or expires; which of these happens once.
 *
 * Pure C, as account.h. A hold belongs to one account, and all its events lie on
 * that account's stream: the caller holds the lock of the account. "at" is the
 * time of the command, which is the recorded_at of its events.
 */
#ifndef BANK_DOMAIN_HOLD_H
#define BANK_DOMAIN_HOLD_H

#include "domain/account.h"

typedef enum BankHoldStatus
{
	BANK_HOLD_OPEN,
	BANK_HOLD_CAPTURED,
	BANK_HOLD_RELEASED,
	BANK_HOLD_LAPSED,
	BANK_HOLD_UNKNOWN			/* there is no such hold */
} BankHoldStatus;

typedef struct BankHold
{
	BankUuid	id;				/* event_id of hold.created */
	BankUuid	account_id;
	char		currency[3];
	BankHoldStatus status;
	int64_t		amount;			/* reserved, minor units, > 0 */
	int64_t		captured;		/* of it, how much moved; 0 unless captured */
	int64_t		expires_at;		/* from then on it cannot be used; BANK_NO_EXPIRY: a transfer's */
	int64_t		created_at;		/* business time */
	int64_t		created_version;	/* of the account */
	int64_t		created_position;
	int64_t		resolved_at;	/* business time; these three are 0 while it is open */
	int64_t		resolved_version;
	int64_t		resolved_position;
} BankHold;

/* How long it lasts unless told otherwise: seven days. */
#define BANK_HOLD_DEFAULT (INT64_C(7) * 86400 * 1000000)

/* A hold lasts no longer than this many microseconds: ten years. */
#define BANK_HOLD_LONGEST (INT64_C(3653) * 86400 * 1000000)

/*
 * A time span in microseconds, a day taken for 24 hours and a month for 30 days;
 * INT64_MAX when that is out of range.
 */
extern int64_t bank_interval_microseconds(int64_t microseconds, int64_t days, int64_t months);

extern const char *bank_hold_status_name(BankHoldStatus status);
extern BankHoldStatus bank_hold_status_parse(const char *name, size_t len);

/* Decisions, as in account.h. */
extern bool bank_hold_check_duration(int64_t duration, BankError *error);
extern bool bank_hold_decide_create(const BankAccount *account, const BankMoney *amount,
									int64_t at, int64_t duration, int64_t business_at,
									BankEvent *event, BankError *error);
extern bool bank_hold_decide_capture(const BankHold *hold, const BankAccount *account,
									 const BankAccount *peer, const BankMoney *amount,
									 int64_t at, int64_t business_at, BankEvent *event,
									 BankError *error);
extern bool bank_hold_decide_release(const BankHold *hold, const BankAccount *account, int64_t at,
									 int64_t business_at, BankEvent *event, BankError *error);
extern bool bank_hold_check_own(const BankHold *hold, BankError *error);
extern void bank_hold_expire(const BankHold *hold, const BankAccount *account, BankEvent *event);

/*
 * Does this event fit its hold, and the account it is about as that was before?
 * Returns 0, or BankFlaw bits.
 */
extern unsigned bank_hold_check(const BankHold *hold, const BankAccount *account,
								const BankEvent *event);

/* Make the hold what it is after the event. */
extern void bank_hold_apply(BankHold *hold, const BankEvent *event);

#endif							/* BANK_DOMAIN_HOLD_H */
