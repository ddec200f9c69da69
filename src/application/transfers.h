/*
 * transfers.h
 *		Use cases of transfers to and from other ledgers, see domain/transfer.h.
 *
 * Conventions as in movements.h. The last three are steps of the worker that talks to
 * the participants: each is one short transaction between two exchanges, and none of
 * them waits for the network.
 */
#ifndef BANK_APPLICATION_TRANSFERS_H
#define BANK_APPLICATION_TRANSFERS_H

#include "application/command.h"
#include "domain/transfer.h"

/* Arguments of bank_transfers_send; NULL where the caller gave none. */
typedef struct BankNewTransfer
{
	const BankUuid *from_account;
	const BankMoney *amount;
	const char *participant;
	const char *destination;
	const int64_t *deadline_in; /* microseconds; NULL: the participant's */
} BankNewTransfer;

/* Reserve money and have it sent. The outcome is transfer.initiated of the new transfer. */
extern bool bank_transfers_send(const BankNewTransfer *arguments, const BankOptions *options,
								BankOutcome *outcome, BankError *error);

/* Ask for the money back, sent or not; the worker does it. */
extern bool bank_transfers_cancel(const BankUuid *transfer_id, const BankOptions *options,
								  BankOutcome *outcome, BankError *error);

/*
 * What an operator has found out about a transfer in doubt: "completed", "rejected",
 * "compensated"; or "submitted": ask again.
 */
extern bool bank_transfers_resolve(const BankUuid *transfer_id, const char *state,
								   const char *reason, const BankOptions *options,
								   BankOutcome *outcome, BankError *error);

/* Arguments of bank_transfers_receive; to_account, amount NULL: they made no sense. */
typedef struct BankIncoming
{
	const BankUuid *transfer_id;
	const BankUuid *to_account;
	const BankMoney *amount;
	const char *participant;	/* NULL: nobody in particular */
	const char *house_account;	/* the house's side */
	const BankError *refusal;	/* NULL: none; else it is refused for this */
} BankIncoming;

/*
 * Take money from another ledger. What the rules of the account do not allow is not an
 * error but an outcome, transfer.refused, which is the answer for ever. A transfer that is
 * known already answers as it is: then *outcome is its last event, replayed.
 */
extern bool bank_transfers_receive(const BankIncoming *arguments, const BankOptions *options,
								   BankOutcome *outcome, BankError *error);

/*
 * Give it back, or never take it if it is not known. When the account has not got it any
 * more that is an error; or, where the answer is to be final, an outcome, transfer.kept: then
 * it is never given back, lest a request that comes late undo what the sender was told.
 */
extern bool bank_transfers_cancel_received(const BankUuid *transfer_id, const char *participant,
										   bool final, const BankOptions *options,
										   BankOutcome *outcome, BankError *error);

/* Record that it is about to be sent; false: it is no longer to be. */
extern bool bank_transfers_submit(const BankUuid *transfer_id);

/*
 * What the participant has said when it was asked this, with code and reason if it gave any; false:
 * it decides nothing.
 */
extern bool bank_transfers_conclude(const BankUuid *transfer_id, BankTransferAction asked,
									BankTransferAnswer answer, const char *code,
									const char *reason);

/* The deadline has passed; false: it has not, or the transfer is done with. */
extern bool bank_transfers_expire(const BankUuid *transfer_id);

#endif							/* BANK_APPLICATION_TRANSFERS_H */
