/*
 * event_store.h
 *		Port: the event store, as the use cases see it.
 *
 * Implemented by adapters/store/. Locks taken here are row locks
 * (FOR NO KEY UPDATE) held until the caller's transaction ends. The use cases
 * lock every account they will touch before the first write: customers'
 * accounts in the order of their identifiers, then the house account, which never waits.
 *
 * Refusals of the ledger are returned; faults of the server (serialization
 * failure, deadlock, disk full, read-only transaction, ...) are raised by the
 * implementation and end the command.
 */
#ifndef BANK_PORTS_EVENT_STORE_H
#define BANK_PORTS_EVENT_STORE_H

#include "domain/approval.h"
#include "domain/hold.h"
#include "domain/transfer.h"

/*
 * Lock a customer's account, waiting if need be, and read its current state.
 * False: there is no such account of a customer.
 */
extern bool bank_store_lock_account(const BankUuid *account_id, BankAccount *account);

/* The account with this number, a customer's. Without a lock: that never changes. */
extern bool bank_store_find_number(const char *number, BankUuid *account_id);

/*
 * The same for many accounts, whose identifiers are all different and in order;
 * found[i] tells whether account_ids[i] is a customer's account, whose state is
 * then in *accounts[i].
 */
extern void bank_store_lock_accounts(const BankUuid *account_ids, int n,
									 BankAccount *const *accounts, bool *found);

/*
 * Code and currency of the house account with this identifier, that of the
 * logical account or of one of its stripes; false: there is none.
 */
extern bool bank_store_house_of(const BankUuid *account_id, char code[BANK_HOUSE_CODE_TEXT],
								char currency[4]);

/*
 * Lock a stripe of a house account without ever waiting: this session's own, or
 * another one that is free. False when there is none: then *lookup says whether
 * the account is there but busy, whether its code is in use in any currency, and
 * which stripe to create; that number is reserved for this transaction.
 */
typedef struct BankHouseLookup
{
	bool		known;			/* there are stripes in this currency, all busy */
	bool		code_known;
	BankUuid	house_account_id;	/* the logical account, the same for all its stripes */
	int32_t		stripe;
} BankHouseLookup;

extern bool bank_store_lock_house(const char *code, const char *currency, BankAccount *account,
								  BankHouseLookup *lookup);

/*
 * Holds. They change under the lock of their account only: what find says is
 * certain once that is locked, but the account itself never changes. expired: the
 * open holds of an account whose time is over by "at", by expires_at and identifier, in
 * *holds (from the allocator); *next_expiry is that of the first of the others.
 * due: up to max accounts that have such holds, those that wait longest.
 */
extern bool bank_store_find_hold(const BankUuid *hold_id, BankHold *hold);
extern int	bank_store_expired_holds(const BankUuid *account_id, int64_t at, BankHold **holds,
									 int64_t *next_expiry);
extern int	bank_store_due_accounts(int64_t at, int max, BankUuid **account_ids);

/*
 * Transfers. lock: the right to add to a transfer's stream, waiting for it if need be, before
 * the locks of accounts; reads its current state, which is BANK_TRANSFER_NONE with
 * version 0 when there is none. find: the same without the lock.
 */
extern void bank_store_lock_transfer(const BankUuid *transfer_id, BankTransfer *transfer);
extern bool bank_store_find_transfer(const BankUuid *transfer_id, BankTransfer *transfer);

/*
 * Requests for approval. threshold: above how much, in minor units, commands in this currency
 * have to be approved, and how long (microseconds) they can be; false: never. lock: as
 * for transfers, before the locks of accounts. write_command: what was asked for, as an opaque
 * value; names[i] is the argument with the text values[i], metadata as given to the command.
 */
extern bool bank_store_approval_threshold(const char currency[3], int64_t *threshold,
										  int64_t *time);
extern void bank_store_lock_approval(const BankUuid *request_id, BankApproval *approval);
extern const void *bank_store_write_command(const char *const *names, const char *const *values,
											int n, const void *metadata);

/* The event with this place in its stream, which must be there. */
extern void bank_store_read_event(const BankUuid *aggregate_id, int64_t version,
								  BankEvent *event);

/*
 * The participant with this name: how long its transfers may take (microseconds) and the
 * house account that stands for it. It cannot be removed until the transaction ends. False:
 * there is none.
 */
extern bool bank_store_find_participant(const char *name, int64_t *deadline,
										char house_code[BANK_HOUSE_CODE_TEXT]);

/* Have the participant asked about a transfer now; or never again. */
extern void bank_store_schedule_transfer(const BankUuid *transfer_id, const char *participant,
										 int64_t at);
extern void bank_store_settle_transfer(const BankUuid *transfer_id);

/* Metadata (NULL: none) with this identifier as correlation_id, unless it has one. */
extern const void *bank_store_correlate(const void *metadata, const BankUuid *id);

/*
 * Is this the identifier of an account, of a transfer to or from another ledger, or of a request
 * for approval? Waits for a concurrent creation of the first two; the third is nobody's choice.
 */
extern bool bank_store_identifier_taken(const BankUuid *account_id);

/* Is there this house account in this currency? Waits for a concurrent creation likewise. */
extern bool bank_store_house_exists(const char *code, const char *currency);

/* Draw the next serial number of customers' accounts. */
extern int64_t bank_store_next_account_serial(void);

/*
 * Append the event: gives it its position and writes it; the read models follow in
 * the same call. aggregate and peer are the locked accounts that the
 * event was decided on; NULL where there is none.
 */
extern void bank_store_append(BankEvent *event, const BankAccount *aggregate,
							  const BankAccount *peer);

/*
 * Append many decided events, in this order, as bank_store_append would one by
 * one. accounts are all those the events touch, as they were before the first.
 */
extern void bank_store_append_all(BankEvent *const *events, int n,
								  const BankAccount *const *accounts, int n_accounts);

/*
 * Idempotency. "request" is a canonical text of what was asked for. find: has this key
 * an outcome already? claim: take the key for the event with this place in its
 * stream; waits for a concurrent claim of the same key, and finds its outcome.
 */
typedef enum BankKeyState
{
	BANK_KEY_FREE,				/* find: unknown key; claim: it is ours now */
	BANK_KEY_REPLAY,			/* *first is the event of the first call */
	BANK_KEY_DENIED,			/* the outcome of the first call was the refusal in *error */
	BANK_KEY_REFUSED			/* used with another request */
} BankKeyState;

/* What no key that a caller chooses begins with: the store puts it before those of customers. */
#define BANK_KEY_RESERVED '\001'

extern BankKeyState bank_store_find_key(const char *key, const char *request, BankEvent *first,
										BankError *error);
extern BankKeyState bank_store_claim_key(const char *key, const char *request,
										 const BankUuid *aggregate_id, int64_t version,
										 BankEvent *first, BankError *error);

/* Make a refusal the outcome of a key, which may have been claimed by this command. */
extern BankKeyState bank_store_deny_key(const char *key, const char *request,
										const BankError *error, BankEvent *first,
										BankError *stored);

/* The same for the keys of many commands, each in a struct of its own. */
#define BANK_REQUEST_HASH 32

typedef struct BankKey
{
	const char *key;
	uint8_t		request_hash[BANK_REQUEST_HASH];	/* see bank_store_hash_request */
	BankUuid	aggregate_id;	/* place of the event the key is claimed for */
	int64_t		version;
	BankKeyState state;			/* what find says */
	BankEvent  *first;			/* with BANK_KEY_REPLAY; from the store's allocator */
	BankError  *denial;			/* with BANK_KEY_DENIED, likewise */
} BankKey;

extern void bank_store_hash_request(const char *request, uint8_t hash[BANK_REQUEST_HASH]);
extern void bank_store_find_keys(BankKey *const *keys, int n);

/*
 * Claim all of them, which must be different and in the order of strcmp, so that
 * two commands do not wait for each other. False, with none claimed: a
 * concurrent call was first with one.
 */
extern bool bank_store_claim_keys(BankKey *const *keys, int n);

/* Memory, zeroed, that lives until the command ends. */
extern void *bank_store_allocate(size_t size);

#endif							/* BANK_PORTS_EVENT_STORE_H */
