/*
 * event.h
 *		An event: one accepted command, one row, never changed.
 *
 * A movement names two accounts and moves one amount from one to the other, so
 * no event can be unbalanced. The same struct is what a rule produces, what the
 * store writes and what the read models are made from.
 *
 * Times are microseconds since 2000-01-01 00:00 UTC. Amounts and balances are
 * minor units; balances are signed.
 */
#ifndef BANK_DOMAIN_EVENT_H
#define BANK_DOMAIN_EVENT_H

#include "domain/uuid.h"

#include <stddef.h>

/*
 * X(symbol, name as stored). A name that stands here twice is the same word for the end of a
 * transfer inside the ledger, which is a movement and has a peer, and of one that left
 * it, which is an event of the transfer's own stream (domain/transfer.h).
 */
#define BANK_EVENT_TYPES(X) \
	X(BANK_EVENT_CREATED, "account.created") \
	X(BANK_EVENT_FROZEN, "account.frozen") \
	X(BANK_EVENT_UNFROZEN, "account.unfrozen") \
	X(BANK_EVENT_CLOSED, "account.closed") \
	X(BANK_EVENT_LIMITS_CHANGED, "account.limits_changed") \
	X(BANK_EVENT_DEPOSITED, "money.deposited") \
	X(BANK_EVENT_WITHDRAWN, "money.withdrawn") \
	X(BANK_EVENT_TRANSFERRED, "transfer.completed") \
	X(BANK_EVENT_HOLD_CREATED, "hold.created") \
	X(BANK_EVENT_HOLD_CAPTURED, "hold.captured") \
	X(BANK_EVENT_HOLD_RELEASED, "hold.released") \
	X(BANK_EVENT_HOLD_EXPIRED, "hold.expired") \
	X(BANK_EVENT_TRANSFER_INITIATED, "transfer.initiated") \
	X(BANK_EVENT_TRANSFER_RESERVED, "transfer.reserved") \
	X(BANK_EVENT_TRANSFER_SUBMITTED, "transfer.submitted") \
	X(BANK_EVENT_TRANSFER_COMPLETED, "transfer.completed") \
	X(BANK_EVENT_TRANSFER_REJECTED, "transfer.rejected") \
	X(BANK_EVENT_TRANSFER_COMPENSATED, "transfer.compensated") \
	X(BANK_EVENT_TRANSFER_IN_DOUBT, "transfer.in_doubt") \
	X(BANK_EVENT_TRANSFER_CANCEL_REQUESTED, "transfer.cancel_requested") \
	X(BANK_EVENT_TRANSFER_RECEIVED, "transfer.received") \
	X(BANK_EVENT_TRANSFER_REFUSED, "transfer.refused") \
	X(BANK_EVENT_TRANSFER_KEPT, "transfer.kept") \
	X(BANK_EVENT_TRANSFER_CANCELLED, "transfer.cancelled") \
	X(BANK_EVENT_APPROVAL_REQUESTED, "approval.requested") \
	X(BANK_EVENT_APPROVAL_GRANTED, "approval.granted") \
	X(BANK_EVENT_APPROVAL_REJECTED, "approval.rejected")

typedef enum BankEventType
{
#define X(symbol, name) symbol,
	BANK_EVENT_TYPES(X)
#undef X
	BANK_EVENT_UNKNOWN
} BankEventType;

typedef enum BankAccountType
{
	BANK_TYPE_COURANT,
	BANK_TYPE_EPARGNE,
	BANK_TYPE_HOUSE,
	BANK_TYPE_UNKNOWN
} BankAccountType;

typedef enum BankAccountStatus
{
	BANK_STATUS_ACTIVE,
	BANK_STATUS_FROZEN,
	BANK_STATUS_CLOSED,
	BANK_STATUS_UNKNOWN
} BankAccountStatus;

#define BANK_NO_LIMIT INT64_C(-1)
#define BANK_HOUSE_CODE_TEXT 33
#define BANK_NUMBER_TEXT 13

/* How far an account may go, in minor units of its currency. */
typedef struct BankLimits
{
	int64_t		overdraft;		/* the balance may fall to minus this; >= 0 */
	int64_t		balance;		/* the balance may rise to this, or BANK_NO_LIMIT */
} BankLimits;

/* What account.created says beyond the columns of every event. */
typedef struct BankOpening
{
	BankAccountType type;
	bool		has_owner;
	BankUuid	owner_id;
	char		number[BANK_NUMBER_TEXT];	/* "" for a house account */
	char		house_code[BANK_HOUSE_CODE_TEXT];	/* "" for a customer's account */
	int32_t		stripe;
	BankUuid	house_account_id;	/* the logical account it is a stripe of */
} BankOpening;

typedef struct BankEvent
{
	BankEventType type;
	int64_t		position;		/* global order; set by the store when appending */
	BankUuid	event_id;
	BankUuid	aggregate_id;
	int64_t		version;
	bool		has_peer;		/* is it a movement? */
	BankUuid	peer_id;
	int64_t		peer_version;
	int64_t		amount;			/* of a movement, or of the hold that is made or freed; else 0 */
	char		currency[3];
	int64_t		balance;		/* of the aggregate, afterwards */
	int64_t		peer_balance;
	int64_t		held;			/* what the aggregate has reserved afterwards */
	int64_t		peer_held;
	BankUuid	hold_id;		/* hold.*: the event_id of the hold.created */
	int64_t		expires_at;		/* hold.created, approval.requested */
	int64_t		limits_before;	/* account.limits_changed: version of what set those before */
	int64_t		recorded_at;
	bool		has_occurred_at;
	int64_t		occurred_at;
	BankLimits	limits;			/* account.created, account.limits_changed */
	BankOpening opening;		/* account.created */
	const struct BankTransferTerms *terms;	/* transfer.* of a stream of its own; else NULL */
	const struct BankApprovalTerms *approval;	/* approval.*; else NULL */
	const void *metadata;		/* opaque to the rules; NULL: none */
	int32_t		actor_id;		/* who has appended it; as read from the store, 0: not known */
} BankEvent;

/* Names of the enumerations, and back; an unknown name gives the ..._UNKNOWN value. */
extern const char *bank_event_type_name(BankEventType type);
extern BankEventType bank_event_type_parse(const char *name, size_t len);
extern const char *bank_account_type_name(BankAccountType type);
extern BankAccountType bank_account_type_parse(const char *name, size_t len);
extern const char *bank_account_status_name(BankAccountStatus status);
extern BankAccountStatus bank_account_status_parse(const char *name, size_t len);

/* Does money move from the aggregate to its peer (withdrawal, transfer, capture) or towards it? */
static inline bool
bank_event_debits_aggregate(BankEventType type)
{
	return type == BANK_EVENT_WITHDRAWN || type == BANK_EVENT_TRANSFERRED ||
		type == BANK_EVENT_HOLD_CAPTURED;
}

static inline bool
bank_event_is_movement(BankEventType type)
{
	return type == BANK_EVENT_DEPOSITED || bank_event_debits_aggregate(type);
}

/* Does the event make or resolve a hold? */
static inline bool
bank_event_is_hold(BankEventType type)
{
	return type == BANK_EVENT_HOLD_CREATED || type == BANK_EVENT_HOLD_CAPTURED ||
		type == BANK_EVENT_HOLD_RELEASED || type == BANK_EVENT_HOLD_EXPIRED;
}

/* Is it an event of the stream of a transfer to or from another ledger? */
static inline bool
bank_event_is_transfer(BankEventType type)
{
	return type >= BANK_EVENT_TRANSFER_INITIATED && type <= BANK_EVENT_TRANSFER_CANCELLED;
}

/* Is it an event of the stream of a request for approval? */
static inline bool
bank_event_is_approval(BankEventType type)
{
	return type >= BANK_EVENT_APPROVAL_REQUESTED && type <= BANK_EVENT_APPROVAL_REJECTED;
}

/* Is the stream not that of an account? */
static inline bool
bank_event_is_case(BankEventType type)
{
	return bank_event_is_transfer(type) || bank_event_is_approval(type);
}

/* Does the event say until when something holds? */
static inline bool
bank_event_expires(BankEventType type)
{
	return type == BANK_EVENT_HOLD_CREATED || type == BANK_EVENT_APPROVAL_REQUESTED;
}

/* Does the event have an amount, and so a place in the order of business times? */
static inline bool
bank_event_has_amount(BankEventType type)
{
	return bank_event_is_movement(type) || bank_event_is_hold(type);
}

/* The business time of an event: when it occurred if anyone said, else when it was recorded. */
static inline int64_t
bank_event_business_time(const BankEvent *event)
{
	return event->has_occurred_at ? event->occurred_at : event->recorded_at;
}

#endif							/* BANK_DOMAIN_EVENT_H */
