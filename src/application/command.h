/*
 * command.h
 *		What every command shares: its options, its outcome, its idempotency.
 *
 * Use cases load state, ask the domain, append. They know the ports only.
 */
#ifndef BANK_APPLICATION_COMMAND_H
#define BANK_APPLICATION_COMMAND_H

#include "domain/account.h"

/* The options every command takes. */
typedef struct BankOptions
{
	bool		has_expected_version;
	int64_t		expected_version;
	const char *key;			/* idempotency key, or NULL */
	bool		has_occurred_at;
	int64_t		occurred_at;
	const void *metadata;		/* opaque, or NULL */
	size_t		metadata_size;	/* bytes */
	bool		metadata_is_object;
	bool		needs_no_approval;	/* it has been approved, or another ledger asks for it */
	bool		lent;			/* the right to the command is not the caller's own */
} BankOptions;

/* Metadata beyond this many bytes is refused. */
#define BANK_METADATA_MAX 65536
#define BANK_KEY_MAX 255

/* Longest canonical request text, see bank_request_...; and most pieces of one. */
#define BANK_REQUEST_TEXT 768
#define BANK_REQUEST_PIECES 12

/*
 * A canonical text of what a command was asked to do, built piece by piece. Each piece has the
 * name of the argument that it is.
 */
typedef struct BankRequest
{
	char		text[BANK_REQUEST_TEXT];
	size_t		len;
	int			n;
	struct
	{
		const char *name;
		size_t		start;
	}			pieces[BANK_REQUEST_PIECES];
} BankRequest;

/* The outcome of a command. */
typedef struct BankOutcome
{
	BankEvent	event;			/* when it was accepted */
	bool		replayed;		/* the outcome of an earlier call with the same key */
	BankRequest request;		/* what was asked for; empty until the arguments are checked */
	bool		needs_approval; /* it becomes a request for approval, see approvals.h */
	BankUuid	request_id;		/* of that request */
	int64_t		approval_time;	/* how long it can be approved, microseconds */
} BankOutcome;

extern void bank_outcome_begin(BankOutcome *outcome);
extern void bank_request_begin(BankRequest *request, const char *command,
							   const BankOptions *options);
extern void bank_request_text(BankRequest *request, const char *name, const char *text);
extern void bank_request_uuid(BankRequest *request, const char *name, const BankUuid *uuid);
extern void bank_request_number(BankRequest *request, const char *name, const int64_t *number);
extern void bank_request_money(BankRequest *request, const char *name, const BankMoney *money);

extern bool bank_command_check(const BankOptions *options, BankError *error);
extern bool bank_command_find(const BankOptions *options, BankOutcome *outcome, bool *done,
							  BankError *error);
extern bool bank_command_claim(const BankOptions *options, const BankUuid *aggregate_id,
							   int64_t version, BankOutcome *outcome, bool *done,
							   BankError *error);
extern bool bank_command_keep_refusal(const BankOptions *options, BankOutcome *outcome,
									  BankError *error);
extern void bank_command_append(const BankOptions *options, int64_t at,
								const BankAccount *aggregate, const BankAccount *peer,
								BankOutcome *outcome);
extern void bank_command_text(char *to, size_t size, const char *from);
extern bool bank_command_missing(const char *name, BankError *error);
extern bool bank_command_not_found(const BankUuid *account_id, BankError *error);
extern bool bank_command_key_reused(const char *key, BankError *error);

#endif							/* BANK_APPLICATION_COMMAND_H */
