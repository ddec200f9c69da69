/*
 * approval.h
 *		The rules of a request for approval: a command that somebody has asked for and somebody
 *		else has to approve before it is carried out.
 *
 * Pure C, as account.h. A request has a stream of its own: asked for, then granted or
 * rejected, once. Nothing is reserved meanwhile: what the command would do is decided again
 * when it is granted. "at" is the time of the command, which is the recorded_at of its event.
 */
#ifndef BANK_DOMAIN_APPROVAL_H
#define BANK_DOMAIN_APPROVAL_H

#include "domain/account.h"

typedef enum BankApprovalState
{
	BANK_APPROVAL_PENDING,
	BANK_APPROVAL_GRANTED,
	BANK_APPROVAL_REJECTED,
	BANK_APPROVAL_NONE			/* there is no such request */
} BankApprovalState;

#define BANK_APPROVAL_REASON_TEXT 256

/* What an event of a request says beyond the columns of every event. */
typedef struct BankApprovalTerms
{
	const void *command;		/* requested: what was asked for; opaque to the rules */
	bool		has_account;
	BankUuid	account_id;		/* requested: whose money, as the command names it */
	BankUuid	aggregate_id;	/* granted: place of the event of the command; version 0: none */
	int64_t		version;
	char		reason[BANK_APPROVAL_REASON_TEXT];	/* rejected: why */
} BankApprovalTerms;

typedef struct BankApproval
{
	BankUuid	id;				/* event_id of approval.requested */
	BankApprovalState state;
	int64_t		version;		/* 0: it does not exist */
	int64_t		position;		/* of its last event */
	int64_t		recorded_at;	/* of its last event */
	int64_t		created_at;
	int64_t		expires_at;		/* from then on it cannot be granted */
	int64_t		amount;			/* what the command would move, minor units, > 0 */
	char		currency[3];
	bool		has_account;
	BankUuid	account_id;
} BankApproval;

extern const char *bank_approval_state_name(BankApprovalState state);
extern BankApprovalState bank_approval_state_parse(const char *name, size_t len);

/* The state after an event of this type; BANK_APPROVAL_NONE when it does not fit. */
extern BankApprovalState bank_approval_next(BankApprovalState state, BankEventType type);

/*
 * Decide on an event of this type: fills *event with what the request says, *terms being what
 * the event says itself (kept by reference). BK037.
 */
extern bool bank_approval_decide(const BankApproval *approval, BankEventType type, int64_t at,
								 const BankApprovalTerms *terms, BankEvent *event,
								 BankError *error);

/* As bank_account_check and bank_account_apply. */
extern unsigned bank_approval_check(const BankApproval *approval, const BankEvent *event);
extern void bank_approval_apply(BankApproval *approval, const BankEvent *event);

#endif							/* BANK_DOMAIN_APPROVAL_H */
