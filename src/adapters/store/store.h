/*
 * store.h
 *		What the files of the event store share: sessions, kept plans, rows.
 *
 * Every SQL text names schemas and operators in full: nothing is resolved
 * through the caller's search_path.
 */
#ifndef BANK_STORE_STORE_H
#define BANK_STORE_STORE_H

#include "adapters/pg_compat.h"
#include "domain/approval.h"
#include "domain/hold.h"
#include "domain/transfer.h"

#include "executor/spi.h"
#include "utils/jsonb.h"

/*
 * A session: SPI is connected and the current user is the ledger's owner, so
 * that callers need no right on schema bank. An error restores the user with
 * the (sub)transaction's abort, as for security definer functions.
 */
typedef struct BankSession
{
	Oid			caller;
	int			caller_context;
	Oid			outer_caller;	/* of the session that this one was opened in, if any */
	int			outer_context;
} BankSession;

extern void bank_session_open(BankSession *session);
extern void bank_session_close(const BankSession *session);
extern Oid	bank_session_caller(int *context);
extern void bank_session_lock_tables(void);
extern bool bank_lock_name(uint32 hash, bool dont_wait);

/*
 * A statement whose plan is prepared at first use and kept for the life of the
 * backend. Fill text, nargs and types; the rest is bank_plan_execute's.
 */
#define BANK_PLAN_ARGS 24

typedef struct BankPlan
{
	const char *text;
	int			nargs;
	Oid			types[BANK_PLAN_ARGS];
	SPIPlanPtr	plan;
} BankPlan;

extern uint64 bank_plan_execute(BankPlan *plan, Datum *values, const char *nulls, bool read_only);
extern SPIPlanPtr bank_plan_get(BankPlan *plan);

/* identifiers and text between the domain and Datums */
static inline Datum
bank_uuid_datum(const BankUuid *uuid)
{
	return PointerGetDatum(uuid);
}

static inline void
bank_uuid_from_datum(Datum datum, BankUuid *uuid)
{
	memcpy(uuid->bytes, DatumGetPointer(datum), sizeof(uuid->bytes));
}

/* Hash of an identifier; also of one that shows no randomness, such as 0…1, 0…2. */
static inline uint32
bank_uuid_hash(const BankUuid *uuid)
{
	uint64		halves[2];

	memcpy(halves, uuid->bytes, sizeof(halves));
	halves[0] = (halves[0] ^ (halves[1] >> 32)) * UINT64CONST(0x9e3779b97f4a7c15);
	halves[1] = (halves[1] ^ (halves[0] >> 32)) * UINT64CONST(0xc2b2ae3d27d4eb4f);
	return (uint32) (halves[1] >> 32);
}

/* account_rows.c */
#define BANK_ACCOUNT_COLUMNS \
	"account_id, version, debits, credits, position, held, overdraft_limit, recorded_at, " \
	"business_at, created_at, currency, account_type, status, balance_limit, owner_id, " \
	"account_number, house_code, stripe, house_account_id, next_expiry, " \
	"limits_version"

/* types of these columns */
#define BANK_ACCOUNT_COLUMN_TYPES \
	{UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, \
	TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, UUIDOID, TEXTOID, TEXTOID, \
	INT4OID, UUIDOID, TIMESTAMPTZOID, INT8OID}

extern void bank_text_from_datum(Datum datum, char *out, size_t size);
extern void bank_account_from_values(const Datum *values, const bool *nulls, BankAccount *account);
extern void bank_account_from_row(HeapTuple row, TupleDesc desc, BankAccount *account);
extern void bank_account_mutable_values(const BankAccount *account, Datum *values, bool *nulls,
										bool *replace);
extern bool bank_account_row_insert(const BankAccount *account);
extern bool bank_account_row_update_spi(const BankAccount *account, int64 old_version);

/* writer.c */
extern void bank_writer_init(void);
extern bool bank_writer_inserts_events(Relation events, bool plain);
extern bool bank_writer_updates_accounts(Relation accounts);
extern bool bank_writer_writes_holds(Relation holds);

/* places.c */
extern void bank_place_remember(const BankAccount *account, Oid file,
								const ItemPointerData *place);
extern bool bank_place_find(const BankUuid *account_id, Oid *file, ItemPointerData *place);
extern bool bank_place_find_stripe(const char *code, const char *currency, int32 stripe,
								   BankUuid *account_id);

/* account_access.c */
extern bool bank_account_row_lock(const BankUuid *account_id, BankAccount *account);
extern bool bank_account_row_lock_stripe(const char *code, const char *currency, int32 stripe,
										 BankAccount *account);

/* bank.accounts, open for a series of updates */
typedef struct BankAccountUpdates BankAccountUpdates;

extern BankAccountUpdates *bank_account_updates_begin(void);
extern bool bank_account_update(BankAccountUpdates *updates, const BankAccount *account,
								int64 old_version);
extern void bank_account_updates_end(BankAccountUpdates *updates);

/* event_rows.c */
#define BANK_EVENT_COLUMNS \
	"position, version, peer_version, amount, balance, peer_balance, recorded_at, " \
	"transaction_id, event_id, aggregate_id, peer_id, event_type, currency, occurred_at, data, " \
	"metadata, held, peer_held, expires_at, hold_id, limits_before, actor_id"

/* types of these columns; that of event_type is given */
#define BANK_EVENT_COLUMN_TYPES(event_type) \
	{INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, XID8OID, UUIDOID, \
	UUIDOID, UUIDOID, event_type, TEXTOID, TIMESTAMPTZOID, JSONBOID, JSONBOID, INT8OID, INT8OID, \
	TIMESTAMPTZOID, UUIDOID, INT8OID, INT4OID}

extern void bank_event_from_values(const Datum *values, const bool *nulls, BankEvent *event);
extern void bank_event_from_row(HeapTuple row, TupleDesc desc, BankEvent *event);
extern void bank_event_to_values(const BankEvent *event, Datum *values, bool *nulls);
extern void bank_event_rows_insert_spi(BankEvent *const *events, int n);
extern Jsonb *bank_event_data(const BankEvent *event);

#define BANK_TIME_TEXT 64
extern void bank_time_text(TimestampTz time, char text[BANK_TIME_TEXT]);

/* hold_rows.c */
#define BANK_HOLD_COLUMNS \
	"hold_id, account_id, amount, captured, expires_at, created_at, created_version, " \
	"created_position, resolved_at, resolved_version, resolved_position, currency, status"

/* types of these columns */
#define BANK_HOLD_COLUMN_TYPES \
	{UUIDOID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, \
	TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, TEXTOID}

extern void bank_hold_from_values(const Datum *values, const bool *nulls, BankHold *hold);
extern void bank_hold_from_row(HeapTuple row, TupleDesc desc, BankHold *hold);
extern void bank_hold_to_values(const BankHold *hold, Datum *values, bool *nulls);
extern void bank_hold_row_insert_spi(const BankHold *hold);
extern bool bank_hold_row_resolve_spi(const BankHold *hold);

/* hold_access.c */
extern void bank_hold_row_insert(const BankHold *hold);
extern bool bank_hold_row_resolve(const BankHold *hold);
extern int	bank_hold_rows_open(const BankUuid *account_id, int max, BankUuid *hold_ids,
								int64_t *expiries);

/* transfer_rows.c */
#define BANK_TRANSFER_COLUMNS \
	"transfer_id, version, position, recorded_at, created_at, amount, captured, state, " \
	"currency, participant, house_account, destination, code, reason, account_id, deadline"

/* types of these columns */
#define BANK_TRANSFER_COLUMN_TYPES \
	{UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, BOOLOID, TEXTOID, \
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, UUIDOID, TIMESTAMPTZOID}

extern void bank_transfer_from_row(HeapTuple row, TupleDesc desc, BankTransfer *transfer);
extern void bank_transfer_row_insert(const BankTransfer *transfer);
extern bool bank_transfer_row_update(const BankTransfer *transfer, int64 old_version);
extern bool bank_transfer_lock_name(const BankUuid *transfer_id, bool dont_wait);

/* approval_rows.c */
#define BANK_APPROVAL_COLUMNS \
	"request_id, version, position, recorded_at, created_at, expires_at, amount, state, " \
	"currency, account_id"

extern void bank_approval_from_row(HeapTuple row, TupleDesc desc, BankApproval *approval);
extern void bank_approval_row_insert(const BankApproval *approval);
extern bool bank_approval_row_update(const BankApproval *approval, int64 old_version);
extern bool bank_approval_find(const BankUuid *request_id, BankApproval *approval);

/* event_insert.c */
extern void bank_event_rows_insert(BankEvent *const *events, int n);

/* actor.c */
extern void bank_actor_begin(void);
extern int32 bank_actor_id(void);

/* apply.c */
extern void bank_apply_events(BankEvent *const *events, int n);

/* event_store.c: the accounts the event being appended was decided on, for the trigger */
extern const BankAccount *bank_store_decided_account(const BankUuid *account_id);
extern const BankAccount *const *bank_store_decided_accounts(int *n);
extern bool bank_store_is_appending(void);
extern void bank_store_pass_position(int64 position);
extern void bank_store_pass_account_serial(int64 serial);

/* incarnation.c */
extern bool bank_incarnation_load(int64 first_position, int64 last_position);

#endif							/* BANK_STORE_STORE_H */
