/*
 * approvals.c
 *		Requests for approval: when a command becomes one, and what becomes of it.
 *
 * Locks: that of the request, before those of the command that is approved. A new request
 * has an identifier nobody knows, and no lock. See command.c for the order of all steps.
 *
 * Who approves is not who asked: people are compared, not roles.
 */
#include "application/approvals.h"

#include "application/authority.h"
#include "ports/clock.h"
#include "ports/event_store.h"
#include "ports/principal.h"

/* Has somebody else to approve it when the caller moves this much? Then for how long they can. */
bool
bank_approvals_needed(int64_t minor, const char currency[3], const BankOptions *options,
					  int64_t *time)
{
	int64_t		threshold;

	return !options->needs_no_approval && bank_principal_is_supervised() &&
		bank_store_approval_threshold(currency, &threshold, time) && minor > threshold;
}

/* Both people need a right of their own: who asks, and who approves or rejects. BK035. */
static bool
bank_approvals_check_right(const BankOptions *options, BankError *error)
{
	return !options->lent ||
		bank_error_set(error, BANK_NOT_ALLOWED,
					   "Asking for approval and approving take a right of one's own.");
}

/* The same, to be kept in the outcome, with an identifier for the request. BK035. */
bool
bank_approvals_consider(int64_t minor, const char currency[3], const BankOptions *options,
						BankOutcome *outcome, BankError *error)
{
	outcome->needs_approval = bank_approvals_needed(minor, currency, options,
													&outcome->approval_time);
	if (!outcome->needs_approval)
		return true;
	bank_clock_new_uuid(&outcome->request_id);
	return bank_approvals_check_right(options, error);
}

/* Refuse what cannot become a request. BK036. */
bool
bank_approvals_refuse(int64_t minor, const char currency[3], const BankOptions *options,
					  BankError *error)
{
	BankMoney	money;
	BankError	ignored;
	char		text[BANK_MONEY_TEXT] = "";
	int64_t		time;

	if (!bank_approvals_needed(minor, currency, options, &time))
		return true;
	if (bank_money_make(minor, currency, &money, &ignored))
		bank_money_format(&money, text);
	return bank_error_set(error, BANK_APPROVAL_REQUIRED, "Amount: %s", text);
}

/* What was asked for, as the command that can be carried out later. */
static const void *
bank_approvals_command(const BankOptions *options, const BankRequest *request)
{
	const char *names[BANK_REQUEST_PIECES];
	const char *values[BANK_REQUEST_PIECES];
	int			i;

	for (i = 0; i < request->n; i++)
	{
		size_t		start = request->pieces[i].start;
		size_t		end = i + 1 < request->n ? request->pieces[i + 1].start : request->len;
		char	   *value = bank_store_allocate(end - start);

		/* all but the separator */
		memcpy(value, request->text + start, end - start - 1);
		names[i] = request->pieces[i].name;
		values[i] = value;
	}
	return bank_store_write_command(names, values, request->n, options->metadata);
}

/* Append an event of a request. */
static void
bank_approvals_append(BankEvent *event, const BankOptions *options)
{
	bank_clock_new_uuid(&event->event_id);
	if (event->type == BANK_EVENT_APPROVAL_REQUESTED)
		event->event_id = event->aggregate_id;
	event->metadata = options->metadata;
	bank_store_append(event, NULL, NULL);
}

/* Make a command that has been decided a request. account_id is the account as it was named. */
bool
bank_approvals_request(int64_t minor, const char currency[3], const BankUuid *account_id,
					   int64_t at, const BankOptions *options, BankOutcome *outcome)
{
	BankApproval approval = {.id = outcome->request_id, .state = BANK_APPROVAL_NONE};
	BankApprovalTerms *terms = bank_store_allocate(sizeof(BankApprovalTerms));
	BankError	ignored;

	approval.amount = minor;
	memcpy(approval.currency, currency, 3);
	if (!bank_add_int64(at, outcome->approval_time, &approval.expires_at))
		approval.expires_at = INT64_MAX - 1;
	terms->command = bank_approvals_command(options, &outcome->request);
	terms->has_account = account_id != NULL;
	if (terms->has_account)
		terms->account_id = *account_id;
	if (!bank_approval_decide(&approval, BANK_EVENT_APPROVAL_REQUESTED, at, terms,
							  &outcome->event, &ignored))
		return false;			/* cannot be: it is new */
	bank_approvals_append(&outcome->event, options);
	return true;
}

/*
 * The common frame of granting and rejecting: find the key's outcome, lock the request, decide
 * on the event, claim the key. BK006, BK007, BK037.
 */
static bool
bank_approvals_begin(const BankUuid *request_id, BankEventType type,
					 const BankApprovalTerms *terms, const BankOptions *options,
					 BankApproval *approval, BankEvent *event, BankOutcome *outcome, bool *done,
					 BankError *error)
{
	int64_t		at;

	if (!bank_command_find(options, outcome, done, error))
		return false;
	bank_store_lock_approval(request_id, approval);
	if (*done)
		return true;
	at = bank_clock_now();
	if (at < approval->recorded_at)
		at = approval->recorded_at;
	if (!bank_command_claim(options, request_id, approval->version + 1, outcome, done, error))
		return false;
	if (*done)
		return true;
	if (options->has_expected_version &&
		!bank_account_check_version(approval->version, options->expected_version, error))
		return false;
	return bank_approval_decide(approval, type, at, terms, event, error);
}

/*
 * Carry out what was asked for, as if it were asked for now; and say that it was granted.
 * BK006, BK007, BK016..BK018, BK021, BK035, BK037, and those of the command.
 */
bool
bank_approvals_grant(const BankUuid *request_id, BankApprovedCommand run,
					 const BankOptions *options, BankUuid *account_id, BankOutcome *outcome,
					 BankError *error)
{
	BankApproval approval;
	BankApprovalTerms *terms = bank_store_allocate(sizeof(BankApprovalTerms));
	BankOptions approved = *options;
	BankOutcome carried_out;
	BankEvent	granted;
	BankEvent	requested;
	bool		done;

	if (request_id == NULL)
		return bank_command_missing("request_id", error);
	if (!bank_command_check(options, error) || !bank_authority_check_staff(error) ||
		!bank_approvals_check_right(options, error))
		return false;
	bank_request_begin(&outcome->request, "approve", options);
	bank_request_uuid(&outcome->request, "request_id", request_id);
	if (!bank_approvals_begin(request_id, BANK_EVENT_APPROVAL_GRANTED, terms, options, &approval,
							  &granted, outcome, &done, error))
		return false;
	*account_id = approval.account_id;
	if (done)
	{
		const BankApprovalTerms *first = outcome->event.approval;

		bank_store_read_event(&first->aggregate_id, first->version, &outcome->event);
		return true;
	}
	if (!bank_principal_is_another(request_id))
		return bank_error_set(error, BANK_NOT_ALLOWED,
							  "Somebody else has to approve it, and it must be known who.");
	bank_store_read_event(request_id, 1, &requested);
	approved.needs_no_approval = true;
	bank_outcome_begin(&carried_out);
	if (!run(requested.approval->command, request_id, &approved, &carried_out, error))
		return false;
	/* a transfer that has come by another request, or without one */
	if (carried_out.replayed)
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(&carried_out.event.aggregate_id, id);
		return bank_error_set(error, BANK_TRANSFER_EXISTS, "Transfer: %s", id);
	}
	terms->aggregate_id = carried_out.event.aggregate_id;
	terms->version = carried_out.event.version;
	bank_approvals_append(&granted, options);
	outcome->event = carried_out.event;
	return true;
}

/* Reject what was asked for; who has asked for it may take it back so. As bank_approvals_grant. */
bool
bank_approvals_reject(const BankUuid *request_id, const char *reason, const BankOptions *options,
					  BankUuid *account_id, BankOutcome *outcome, BankError *error)
{
	BankApproval approval;
	BankApprovalTerms *terms = bank_store_allocate(sizeof(BankApprovalTerms));
	BankEvent	rejected;
	bool		done;

	if (request_id == NULL)
		return bank_command_missing("request_id", error);
	if (reason == NULL || reason[0] == '\0')
		return bank_command_missing("reason", error);
	if (!bank_command_check(options, error) || !bank_authority_check_staff(error) ||
		!bank_approvals_check_right(options, error))
		return false;
	bank_command_text(terms->reason, sizeof(terms->reason), reason);
	bank_request_begin(&outcome->request, "reject", options);
	bank_request_uuid(&outcome->request, "request_id", request_id);
	bank_request_text(&outcome->request, "reason", terms->reason);
	if (!bank_approvals_begin(request_id, BANK_EVENT_APPROVAL_REJECTED, terms, options, &approval,
							  &rejected, outcome, &done, error))
		return false;
	*account_id = approval.account_id;
	if (done)
		return true;
	bank_approvals_append(&rejected, options);
	outcome->event = rejected;
	return true;
}
