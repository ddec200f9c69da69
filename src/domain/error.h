/*
 * error.h
 *		Every refusal the ledger knows: one list, one SQLSTATE each.
 *
 * A rule never raises. It fills a BankError and returns false; the SQL adapter
 * turns that into an ereport. The list below is the only place where codes and
 * primary messages are written; docs/errors.md explains each of them and
 * a test compares the two. A code is never used again for another meaning.
 *
 * Memory: a BankError is a plain value, its texts are fixed arrays.
 */
#ifndef BANK_DOMAIN_ERROR_H
#define BANK_DOMAIN_ERROR_H

#include <stdbool.h>

/* X(symbol, SQLSTATE, primary message) */
#define BANK_ERRORS(X) \
	X(BANK_ACCOUNT_NOT_FOUND, "BK001", "Account not found") \
	X(BANK_ACCOUNT_NOT_ACTIVE, "BK002", "Account is not active") \
	X(BANK_CURRENCY_MISMATCH, "BK003", "Currency mismatch") \
	X(BANK_INSUFFICIENT_BALANCE, "BK004", "Insufficient balance") \
	X(BANK_LIMIT_EXCEEDED, "BK005", "Limit exceeded") \
	X(BANK_CONCURRENCY_CONFLICT, "BK006", "Concurrency conflict") \
	X(BANK_KEY_REUSED, "BK007", "Idempotency key reused with a different request") \
	X(BANK_INVALID_AMOUNT, "BK008", "Invalid amount") \
	X(BANK_INVALID_ACCOUNT_TYPE, "BK009", "Invalid account type") \
	X(BANK_ALREADY_FROZEN, "BK010", "Account is already frozen") \
	X(BANK_NOT_FROZEN, "BK010", "Account is not frozen") \
	X(BANK_ALREADY_CLOSED, "BK010", "Account is already closed") \
	X(BANK_NOT_EMPTY, "BK010", "Account is not empty") \
	X(BANK_ACCOUNT_EXISTS, "BK011", "Account already exists") \
	X(BANK_APPEND_ONLY, "BK012", "Events are append-only") \
	X(BANK_HOLD_NOT_FOUND, "BK013", "Hold not found") \
	X(BANK_HOLD_RESOLVED, "BK013", "Hold is already resolved") \
	X(BANK_HOLD_EXPIRED, "BK013", "Hold has expired") \
	X(BANK_HOLD_OF_TRANSFER, "BK013", "Hold belongs to a transfer") \
	X(BANK_INVALID_EXPIRY, "BK013", "Invalid expiry of a hold") \
	X(BANK_UNKNOWN_CURRENCY, "BK014", "Unknown currency") \
	X(BANK_SAME_ACCOUNT, "BK015", "Source and destination are the same account") \
	X(BANK_INVALID_DATE, "BK016", "Invalid business date") \
	X(BANK_INVALID_METADATA, "BK017", "Invalid metadata") \
	X(BANK_INVALID_KEY, "BK018", "Invalid idempotency key") \
	X(BANK_INVALID_HOUSE_CODE, "BK019", "Invalid house account code") \
	X(BANK_EVENT_REFUSED, "BK020", "Event does not fit its stream") \
	X(BANK_MISSING_ARGUMENT, "BK021", "Missing argument") \
	X(BANK_INVALID_WEIGHTS, "BK022", "Invalid weights") \
	X(BANK_LINKED_ORDER_FAILED, "BK023", "Linked order failed") \
	X(BANK_INVALID_BATCH, "BK024", "Invalid batch") \
	X(BANK_INVALID_COMMAND, "BK025", "Invalid command") \
	X(BANK_INVALID_SUBSCRIPTION, "BK026", "Invalid subscription") \
	X(BANK_SUBSCRIPTION_NOT_FOUND, "BK027", "Subscription not found") \
	X(BANK_SUBSCRIPTION_EXISTS, "BK028", "Subscription already exists") \
	X(BANK_INVALID_CURSOR, "BK029", "Invalid feed cursor") \
	X(BANK_TRANSFER_NOT_FOUND, "BK030", "Transfer not found") \
	X(BANK_TRANSFER_EXISTS, "BK030", "Transfer already exists") \
	X(BANK_TRANSFER_RESOLVED, "BK030", "Transfer is already resolved") \
	X(BANK_TRANSFER_UNDER_WAY, "BK030", "Transfer is under way") \
	X(BANK_INVALID_RESOLUTION, "BK030", "Invalid resolution of a transfer") \
	X(BANK_PARTICIPANT_NOT_FOUND, "BK031", "Participant not found") \
	X(BANK_PARTICIPANT_EXISTS, "BK032", "Participant already exists") \
	X(BANK_PARTICIPANT_IN_USE, "BK032", "Participant has unresolved transfers") \
	X(BANK_INVALID_PARTICIPANT, "BK033", "Invalid participant") \
	X(BANK_INVALID_DESTINATION, "BK034", "Invalid destination") \
	X(BANK_NOT_ALLOWED, "BK035", "Not allowed") \
	X(BANK_APPROVAL_REQUIRED, "BK036", "Approval required") \
	X(BANK_APPROVAL_NOT_FOUND, "BK037", "Request for approval not found") \
	X(BANK_APPROVAL_RESOLVED, "BK037", "Request for approval is already resolved") \
	X(BANK_APPROVAL_EXPIRED, "BK037", "Request for approval has expired")

typedef enum BankErrorCode
{
	BANK_OK = 0,
#define X(symbol, sqlstate, message) symbol,
	BANK_ERRORS(X)
#undef X
} BankErrorCode;

typedef struct BankError
{
	BankErrorCode code;			/* BANK_OK: no error */
	char		detail[256];	/* a sentence, or "" */
	char		hint[160];		/* a sentence, or "" */
	BankErrorCode hidden;		/* what it was, if not told; else BANK_OK */
	char		hidden_detail[256];
} BankError;

extern const char *bank_error_sqlstate(BankErrorCode code);
extern const char *bank_error_message(BankErrorCode code);
extern BankErrorCode bank_error_find(const char *sqlstate, const char *message);
extern bool bank_error_set(BankError *error, BankErrorCode code, const char *detail, ...)
			__attribute__((format(printf, 3, 4)));
extern bool bank_error_hide(BankError *error, BankErrorCode code, const char *detail, ...)
			__attribute__((format(printf, 3, 4)));
extern bool bank_error_hint(BankError *error, const char *hint, ...)
			__attribute__((format(printf, 2, 3)));

#endif							/* BANK_DOMAIN_ERROR_H */
