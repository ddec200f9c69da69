/*
 * transfer.h
 *		The rules of a transfer that leaves this ledger, or comes to it from another one:
 *		a saga over two ledgers, each of which keeps its own stream of events about it.
 *
 * Pure C, as account.h. The stream has the transfer's identifier, which is also that of
 * the hold that reserves the money; the caller holds the lock of the transfer. Money moves
 * by events of accounts, in the same transaction as the event here that says so.
 *
 * Nothing is guessed: money is captured only when the participant has said that it
 * has it, and given free only when it has said that it has not and never will.
 */
#ifndef BANK_DOMAIN_TRANSFER_H
#define BANK_DOMAIN_TRANSFER_H

#include "domain/account.h"

/*
 * X(symbol, name as stored). The first nine belong to the sender, the others to the
 * receiver; docs/protocol.md has the picture.
 */
#define BANK_TRANSFER_STATES(X) \
	X(BANK_TRANSFER_INITIATED, "initiated")		/* asked for */ \
	X(BANK_TRANSFER_RESERVED, "reserved")		/* money is held; nothing was sent */ \
	X(BANK_TRANSFER_SUBMITTED, "submitted")		/* sent: the outcome is asked for */ \
	X(BANK_TRANSFER_CANCELLING, "cancelling")	/* a cancel is asked for; not completed */ \
	X(BANK_TRANSFER_COMPLETED, "completed")		/* the participant has it: captured */ \
	X(BANK_TRANSFER_RETURNING, "returning")		/* a cancel is asked for; completed */ \
	X(BANK_TRANSFER_COMPENSATED, "compensated") /* given back; final */ \
	X(BANK_TRANSFER_REJECTED, "rejected")		/* it never will have it: released; final */ \
	X(BANK_TRANSFER_IN_DOUBT, "in_doubt")		/* not known at the deadline: for an operator */ \
	X(BANK_TRANSFER_RECEIVED, "received")		/* credited here */ \
	X(BANK_TRANSFER_KEPT, "kept")				/* credited; not given back when asked; final */ \
	X(BANK_TRANSFER_REFUSED, "refused")			/* not taken, now and for ever; final */ \
	X(BANK_TRANSFER_CANCELLED, "cancelled")		/* given back, or never to be taken; final */

typedef enum BankTransferState
{
#define X(symbol, name) symbol,
	BANK_TRANSFER_STATES(X)
#undef X
	BANK_TRANSFER_NONE			/* there is no such transfer */
} BankTransferState;

#define BANK_PARTICIPANT_TEXT 64
#define BANK_DESTINATION_TEXT 256
#define BANK_REASON_TEXT 256
#define BANK_CODE_TEXT 6

/* What an event of a transfer says beyond the columns of every event; "" and 0: nothing. */
typedef struct BankTransferTerms
{
	bool		has_account;
	BankUuid	account_id;		/* whose money, where it moved */
	char		participant[BANK_PARTICIPANT_TEXT];
	char		house_code[BANK_HOUSE_CODE_TEXT];	/* the other side of the movements here */
	char		destination[BANK_DESTINATION_TEXT]; /* initiated: the account over there */
	int64_t		deadline;		/* initiated, submitted, cancel_requested: to know by */
	int64_t		account_version;	/* place in its stream of the movement that belongs here */
	char		code[BANK_CODE_TEXT];	/* why: an error code of this list or of the participant */
	char		reason[BANK_REASON_TEXT];	/* why: a sentence */
} BankTransferTerms;

typedef struct BankTransfer
{
	BankUuid	id;
	BankTransferState state;
	int64_t		version;		/* 0: it does not exist */
	int64_t		position;		/* of its last event */
	int64_t		recorded_at;	/* of its last event */
	int64_t		created_at;
	bool		captured;		/* sent: money has left the account; received: has come to it */
	bool		has_account;
	BankUuid	account_id;
	int64_t		amount;			/* minor units; 0: never known */
	char		currency[3];
	int64_t		deadline;		/* 0: none */
	char		participant[BANK_PARTICIPANT_TEXT];
	char		house_code[BANK_HOUSE_CODE_TEXT];
	char		destination[BANK_DESTINATION_TEXT];
	char		code[BANK_CODE_TEXT];
	char		reason[BANK_REASON_TEXT];
} BankTransfer;

/* What can be asked of a participant, and what it can answer. */
typedef enum BankTransferAction
{
	BANK_ACTION_NONE,			/* nothing is to be done */
	BANK_ACTION_RECEIVE,		/* take this money */
	BANK_ACTION_STATUS,			/* have you got it? */
	BANK_ACTION_CANCEL			/* give it back, or never take it */
} BankTransferAction;

typedef enum BankTransferAnswer
{
	BANK_ANSWER_RECEIVED,		/* it has the money */
	BANK_ANSWER_REFUSED,		/* it has not taken it, and never will */
	BANK_ANSWER_CANCELLED,		/* it has given it back, or will never take it */
	BANK_ANSWER_UNKNOWN,		/* it has never heard of it */
	BANK_ANSWER_NONE			/* no answer of the protocol: nothing is known */
} BankTransferAnswer;

extern const char *bank_transfer_state_name(BankTransferState state);
extern BankTransferState bank_transfer_state_parse(const char *name, size_t len);
extern const char *bank_transfer_action_name(BankTransferAction action);
extern BankTransferAnswer bank_transfer_answer_parse(const char *name, size_t len);

/* Is this ledger the sender (by the state)? */
static inline bool
bank_transfer_is_outgoing(BankTransferState state)
{
	return state <= BANK_TRANSFER_IN_DOUBT;
}

/* Is the participant to be asked something? */
static inline bool
bank_transfer_is_driven(BankTransferState state)
{
	return state == BANK_TRANSFER_RESERVED || state == BANK_TRANSFER_SUBMITTED ||
		state == BANK_TRANSFER_CANCELLING || state == BANK_TRANSFER_RETURNING;
}

/*
 * The state machine: the state after an event of this type; BANK_TRANSFER_NONE when
 * that arrow does not exist. "captured" tells the two kinds of doubt apart.
 */
extern BankTransferState bank_transfer_next(BankTransferState state, bool captured,
											BankEventType type);

/*
 * What to ask next. "asked": the participant may have the request already; "absent": it
 * has said since that it does not know the transfer.
 */
extern BankTransferAction bank_transfer_action(BankTransferState state, bool asked, bool absent);

/*
 * The event that an answer to this question leads to; BANK_EVENT_UNKNOWN when it decides
 * nothing, and the participant is to be asked again.
 */
extern BankEventType bank_transfer_conclude(BankTransferState state, BankTransferAction asked,
											BankTransferAnswer answer);

/* The event that reaching the deadline leads to. */
extern BankEventType bank_transfer_expire(BankTransferState state);

/*
 * Decide on an event of this type: fills *event with what the transfer says, *terms
 * being what the event says itself (kept by reference). BK030.
 */
extern bool bank_transfer_decide(const BankTransfer *transfer, BankEventType type,
								 const BankTransferTerms *terms, BankEvent *event,
								 BankError *error);

/* Check of arguments. BK034. */
extern bool bank_transfer_check_destination(const char *destination, size_t len,
											BankError *error);

/* As bank_account_check and bank_account_apply. */
extern unsigned bank_transfer_check(const BankTransfer *transfer, const BankEvent *event);
extern void bank_transfer_apply(BankTransfer *transfer, const BankEvent *event);

#endif							/* BANK_DOMAIN_TRANSFER_H */
