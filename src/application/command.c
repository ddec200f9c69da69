/*
 * command.c
 *		The frame of every command.
 *
 * Order of things in a command, always the same:
 *	1. arguments and options are checked (no lock, no read);
 *	2. a known idempotency key answers with its first outcome;
 *	3. all accounts are locked, customers' in identifier order, the house last; the
 *	   clock is read, and what has expired by then counts as expired
 *	   (bank_accounts_settle);
 *	4. the idempotency key is claimed, which may find a concurrent outcome;
 *	5. expected_version is compared, the domain decides;
 *	6. events of expired holds and the command's own are appended; or instead, if somebody
 *	   else has to approve it, the event of a request for that (approvals.c).
 * A refusal writes no event. Raised by the SQL adapter, it leaves nothing behind:
 * the server takes back whatever 3 and 4 did. Answered instead (bank_execute),
 * bank_command_keep_refusal makes it the outcome of the key.
 */
#include "application/command.h"

#include "ports/clock.h"
#include "ports/event_store.h"

#include <inttypes.h>
#include <stdio.h>

#define BANK_MICROSECONDS_PER_DAY INT64_C(86400000000)

/* 1900-01-01 00:00 UTC: a hundred years of 365 days and 24 leap days before 2000. */
#define BANK_OLDEST_DATE (INT64_C(-36524) * BANK_MICROSECONDS_PER_DAY)

/* Before a command: nothing was asked for yet. */
void
bank_outcome_begin(BankOutcome *outcome)
{
	outcome->request.len = 0;
	outcome->replayed = false;
	outcome->needs_approval = false;
}

/* Start the canonical text with the command and the options that are part of the request. */
void
bank_request_begin(BankRequest *request, const char *command, const BankOptions *options)
{
	request->len = 0;
	request->n = 0;
	request->text[0] = '\0';
	bank_request_text(request, "command", command);
	bank_request_number(request, "expected_version",
						options->has_expected_version ? &options->expected_version : NULL);
	bank_request_number(request, "occurred_at",
						options->has_occurred_at ? &options->occurred_at : NULL);
}

/*
 * Add a text and a separator; texts are bounded by their callers. No bars in it unless it is
 * the last one.
 */
void
bank_request_text(BankRequest *request, const char *name, const char *text)
{
	int			len = snprintf(request->text + request->len, BANK_REQUEST_TEXT - request->len,
							   "%s|", text);

	request->pieces[request->n].name = name;
	request->pieces[request->n++].start = request->len;
	request->len += (size_t) len;
	if (request->len >= BANK_REQUEST_TEXT)
		request->len = BANK_REQUEST_TEXT - 1;
}

/* Add an identifier; NULL adds an empty text. */
void
bank_request_uuid(BankRequest *request, const char *name, const BankUuid *uuid)
{
	char		text[BANK_UUID_TEXT] = "";

	if (uuid != NULL)
		bank_uuid_format(uuid, text);
	bank_request_text(request, name, text);
}

/* Add a whole number; NULL adds an empty text. */
void
bank_request_number(BankRequest *request, const char *name, const int64_t *number)
{
	char		text[32] = "";

	if (number != NULL)
		snprintf(text, sizeof(text), "%" PRId64, *number);
	bank_request_text(request, name, text);
}

/* Add an amount of money; NULL adds an empty text. */
void
bank_request_money(BankRequest *request, const char *name, const BankMoney *money)
{
	char		text[BANK_MONEY_TEXT] = "";

	if (money != NULL)
		bank_money_format(money, text);
	bank_request_text(request, name, text);
}

/* Step 1 for the options. BK016, BK017, BK018. */
bool
bank_command_check(const BankOptions *options, BankError *error)
{
	if (options->key != NULL)
	{
		size_t		len = strlen(options->key);

		if (len == 0 || len > BANK_KEY_MAX)
			return bank_error_set(error, BANK_INVALID_KEY,
								  "An idempotency key has 1 to %d bytes, not %zu.",
								  BANK_KEY_MAX, len);
		if (options->key[0] == BANK_KEY_RESERVED)
			return bank_error_set(error, BANK_INVALID_KEY,
								  "An idempotency key cannot begin with the control character 1.");
	}
	if (options->has_occurred_at)
	{
		if (options->occurred_at < BANK_OLDEST_DATE)
			return bank_error_set(error, BANK_INVALID_DATE,
								  "occurred_at cannot be before 1900-01-01.");
		if (options->occurred_at > bank_clock_now() + BANK_MICROSECONDS_PER_DAY)
			return bank_error_set(error, BANK_INVALID_DATE,
								  "occurred_at cannot be more than one day in the future.");
	}
	if (options->metadata != NULL)
	{
		if (!options->metadata_is_object)
			return bank_error_set(error, BANK_INVALID_METADATA,
								  "Metadata must be a JSON object.");
		if (options->metadata_size > BANK_METADATA_MAX)
			return bank_error_set(error, BANK_INVALID_METADATA,
								  "Metadata takes %zu bytes, more than the %d allowed.",
								  options->metadata_size, BANK_METADATA_MAX);
	}
	return true;
}

/* Turn what the store says of a key into the command's answer; *done: the outcome is there. */
static bool
bank_command_keyed(BankKeyState state, const char *key, BankOutcome *outcome, bool *done,
				   BankError *error)
{
	*done = state == BANK_KEY_REPLAY;
	outcome->replayed = state == BANK_KEY_REPLAY || state == BANK_KEY_DENIED;
	if (state == BANK_KEY_REFUSED)
		return bank_command_key_reused(key, error);
	return state != BANK_KEY_DENIED;
}

/*
 * Step 2. Sets *done when the outcome is the first outcome of the key; that may
 * be a refusal, then in *error. BK007.
 */
bool
bank_command_find(const BankOptions *options, BankOutcome *outcome, bool *done, BankError *error)
{
	BankKeyState state = BANK_KEY_FREE;

	if (options->key != NULL)
		state = bank_store_find_key(options->key, outcome->request.text, &outcome->event, error);
	return bank_command_keyed(state, options->key, outcome, done, error);
}

/*
 * Step 4: the outcome will be the event with this place in its stream; or, of a command that
 * needs approval, the first one of that request. Sets *done when a concurrent call with the
 * same key was first. BK007.
 */
bool
bank_command_claim(const BankOptions *options, const BankUuid *aggregate_id, int64_t version,
				   BankOutcome *outcome, bool *done, BankError *error)
{
	BankKeyState state = BANK_KEY_FREE;

	if (outcome->needs_approval)
	{
		aggregate_id = &outcome->request_id;
		version = 1;
	}
	if (options->key != NULL)
		state = bank_store_claim_key(options->key, outcome->request.text, aggregate_id, version,
									 &outcome->event, error);
	return bank_command_keyed(state, options->key, outcome, done, error);
}

/*
 * For callers that answer with a refusal instead of raising it: under a key it is
 * the outcome of the command, unless it is the key itself that was refused, or
 * the arguments before there was a request.
 */
bool
bank_command_keep_refusal(const BankOptions *options, BankOutcome *outcome, BankError *error)
{
	BankError	refusal = *error;
	bool		done;

	if (options->key == NULL || outcome->replayed || outcome->request.len == 0 ||
		error->code == BANK_KEY_REUSED)
		return false;
	/* true: a concurrent call with the key was accepted meanwhile, that is the outcome */
	return bank_command_keyed(bank_store_deny_key(options->key, outcome->request.text, &refusal,
												  &outcome->event, error),
							  options->key, outcome, &done, error) && done;
}

/*
 * Step 6: complete the decided event with identifier, times and metadata, and
 * append it. "at" is the time of the command, see bank_accounts_settle.
 */
void
bank_command_append(const BankOptions *options, int64_t at, const BankAccount *aggregate,
					const BankAccount *peer, BankOutcome *outcome)
{
	BankEvent  *event = &outcome->event;

	bank_clock_new_uuid(&event->event_id);
	if (event->type == BANK_EVENT_HOLD_CREATED)
		event->hold_id = event->event_id;
	event->recorded_at = at;
	event->has_occurred_at = options->has_occurred_at;
	event->occurred_at = options->occurred_at;
	event->metadata = options->metadata;
	bank_store_append(event, aggregate, peer);
}

/* Copy a text that may be missing or too long, which then is cut between characters of UTF-8. */
void
bank_command_text(char *to, size_t size, const char *from)
{
	size_t		len = from == NULL ? 0 : strlen(from);

	if (len >= size)
	{
		len = size - 1;
		while (len > 0 && ((unsigned char) from[len] & 0xc0) == 0x80)
			len--;
	}
	if (len > 0)
		memcpy(to, from, len);
	to[len] = '\0';
}

/* Refuse a required argument that is NULL. BK021. */
bool
bank_command_missing(const char *name, BankError *error)
{
	return bank_error_set(error, BANK_MISSING_ARGUMENT, "%s must not be null.", name);
}

/* Refuse an account that does not exist. BK001. */
bool
bank_command_not_found(const BankUuid *account_id, BankError *error)
{
	char		text[BANK_UUID_TEXT];

	bank_uuid_format(account_id, text);
	return bank_error_set(error, BANK_ACCOUNT_NOT_FOUND, "Account: %s", text);
}

/* Refuse a key that stands for another request. BK007. */
bool
bank_command_key_reused(const char *key, BankError *error)
{
	bank_error_set(error, BANK_KEY_REUSED, "Idempotency key: %s", key);
	return bank_error_hint(error, "Take a new key for a new request.");
}
