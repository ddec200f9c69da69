/*
 * approvals.h
 *		Four eyes: a teller's command that moves more than the currency's threshold becomes a
 *		request, which somebody else approves or rejects.
 *
 * What a use case does for it: bank_approvals_consider before it claims its key; and when all
 * is decided and nothing appended, bank_approvals_request instead of appending, if
 * outcome->needs_approval. So what would be refused anyway is refused at once.
 */
#ifndef BANK_APPLICATION_APPROVALS_H
#define BANK_APPLICATION_APPROVALS_H

#include "application/command.h"
#include "domain/approval.h"

extern bool bank_approvals_needed(int64_t minor, const char currency[3],
								  const BankOptions *options, int64_t *time);
extern bool bank_approvals_consider(int64_t minor, const char currency[3],
									const BankOptions *options, BankOutcome *outcome,
									BankError *error);
extern bool bank_approvals_request(int64_t minor, const char currency[3],
								   const BankUuid *account_id, int64_t at,
								   const BankOptions *options, BankOutcome *outcome);
extern bool bank_approvals_refuse(int64_t minor, const char currency[3],
								  const BankOptions *options, BankError *error);

/*
 * Carries out a command that was kept, as bank_store_write_command wrote it, with its own options
 * and these: its business time unless it names one, and that it needs no approval.
 */
typedef bool (*BankApprovedCommand) (const void *command, const BankUuid *request_id,
									 const BankOptions *options, BankOutcome *outcome,
									 BankError *error);

/*
 * Grant: the outcome's event is that of the command, account_id the account it was about, as
 * the command named it. Reject: the outcome's event is approval.rejected.
 */
extern bool bank_approvals_grant(const BankUuid *request_id, BankApprovedCommand run,
								 const BankOptions *options, BankUuid *account_id,
								 BankOutcome *outcome, BankError *error);
extern bool bank_approvals_reject(const BankUuid *request_id, const char *reason,
								  const BankOptions *options, BankUuid *account_id,
								  BankOutcome *outcome, BankError *error);

#endif							/* BANK_APPLICATION_APPROVALS_H */
