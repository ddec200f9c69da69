/*
 * replay.c
 *		Read all events in position order and project them; compare with the stored
 *		read models.
 *
 * Runs in the active snapshot, so events and read models are seen at one
 * moment, and takes no locks; must be called inside a BankSession. Memory: the
 * projection, in the caller's context; rows in batches that are freed.
 */
#include "postgres.h"

#include "adapters/store/progress.h"
#include "adapters/store/replay.h"
#include "adapters/store/store.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <inttypes.h>

#define BANK_FETCH_ROWS 2000

/* Add a movement to a fingerprint. */
static void
bank_backdated_add(BankBackdatedSum *sum, const BankBackdated *movement)
{
	sum->count++;
	sum->hash += hash_bytes_extended((const unsigned char *) movement, sizeof(*movement), 0);
}

/* Projection callback: count, and keep when asked to. */
static void
bank_replay_backdated(const BankBackdated *movement, void *argument)
{
	BankReplay *replay = argument;

	bank_backdated_add(&replay->backdated, movement);
	if (replay->keep_movements)
	{
		MemoryContext caller = MemoryContextSwitchTo(replay->context);
		BankBackdated *copy = palloc(sizeof(*copy));

		*copy = *movement;
		replay->movements = lappend(replay->movements, copy);
		MemoryContextSwitchTo(caller);
	}
}

/* Count the flaws of an event. */
static void
bank_replay_flawed(BankReplay *replay, const BankEvent *event, const BankUuid *account_id,
				   unsigned flaws)
{
	char		id[BANK_UUID_TEXT];

	bank_uuid_format(account_id, id);
	while (flaws != 0)
	{
		int			bit = pg_rightmost_one_pos32(flaws);
		BankFlawCount *flaw = &replay->flaws[bit];

		if (flaw->count++ == 0)
			snprintf(flaw->first, sizeof(flaw->first), "position %" PRId64 ", %s %s: %s",
					 event->position,
					 !bank_event_is_case(event->type) ? "account" :
					 bank_case_name(bank_case_kind(event->type)), id,
					 bank_flaw_text(1U << bit));
		flaws &= ~(1U << bit);
	}
}

/* What to do with each row of a result. */
typedef void (*BankRowVisitor) (HeapTuple row, TupleDesc desc, void *argument);

/* Walk over the rows of a statement without arguments, in batches. */
static void
bank_replay_rows(BankPlan *plan, BankRowVisitor visit, void *argument)
{
	Portal		cursor = SPI_cursor_open(NULL, bank_plan_get(plan), NULL, NULL, true);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "banking replay",
												ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		MemoryContext caller;
		SPITupleTable *table;
		uint64		rows;
		uint64		i;

		/* the visitor may run statements of its own, which set SPI's globals */
		SPI_cursor_fetch(cursor, true, BANK_FETCH_ROWS);
		table = SPI_tuptable;
		rows = SPI_processed;
		caller = MemoryContextSwitchTo(batch);
		for (i = 0; i < rows; i++)
			visit(table->vals[i], table->tupdesc, argument);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(batch);
		SPI_freetuptable(table);
		if (rows == 0)
			break;
	}
	SPI_cursor_close(cursor);
	MemoryContextDelete(batch);
}

/* Row visitor: one event. */
static void
bank_replay_event(HeapTuple row, TupleDesc desc, void *argument)
{
	BankReplay *replay = argument;
	BankEvent	event;
	const BankUuid *flawed;
	unsigned	flaws;

	bank_event_from_row(row, desc, &event);
	if (event.actor_id != replay->last_actor && event.actor_id != 0)
	{
		(void) hash_search(replay->actors, &event.actor_id, HASH_ENTER, NULL);
		replay->last_actor = event.actor_id;
	}
	flaws = bank_projection_add(replay->projection, &event, &flawed);
	if (flaws != 0)
		bank_replay_flawed(replay, &event, flawed, flaws);
	if (++replay->events % BANK_FETCH_ROWS == 0)
		bank_progress_done(replay->events);
}

/* How many events there are, as the highest position says; for progress only. */
static int64
bank_replay_estimate(void)
{
	static BankPlan plan = {
		.text = "SELECT pg_catalog.max(position) FROM bank.events"
	};
	bool		isnull;
	int64		estimate;

	bank_plan_execute(&plan, NULL, NULL, true);
	estimate = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										   &isnull));
	SPI_freetuptable(SPI_tuptable);
	return isnull ? 0 : estimate;
}

/* Project all events into a fresh projection in this context, counting flaws. */
void
bank_replay_events(BankReplay *replay, MemoryContext context, bool keep_movements)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_EVENT_COLUMNS " FROM bank.events ORDER BY position"
	};

	HASHCTL		actors = {.keysize = sizeof(int32), .entrysize = sizeof(int32), .hcxt = context};

	memset(replay, 0, sizeof(*replay));
	replay->actors = hash_create("banking actors", 64, &actors,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	replay->context = context;
	replay->keep_movements = keep_movements;
	replay->projection = bank_projection_create(context, NULL, bank_replay_backdated, replay);
	bank_progress_total(bank_replay_estimate());
	bank_progress_phase(BANK_PHASE_READING_EVENTS);
	bank_replay_rows(&plan, bank_replay_event, replay);
	bank_progress_done(replay->events);
}

/* Row visitor: one actor, whom we know then. */
static void
bank_replay_actor(HeapTuple row, TupleDesc desc, void *argument)
{
	BankReplay *replay = argument;
	bool		isnull;
	int32		actor_id = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));

	(void) hash_search(replay->actors, &actor_id, HASH_REMOVE, NULL);
}

/* How many actors of events are not in bank.actors; *first is one of them. Once only. */
int64
bank_replay_unknown_actors(BankReplay *replay, int32 *first)
{
	static BankPlan plan = {
		.text = "SELECT actor_id FROM bank.actors"
	};
	HASH_SEQ_STATUS scan;
	int32	   *actor_id;

	bank_replay_rows(&plan, bank_replay_actor, replay);
	hash_seq_init(&scan, replay->actors);
	while ((actor_id = hash_seq_search(&scan)) != NULL)
		*first = *actor_id;
	return hash_get_num_entries(replay->actors);
}

/* Row visitor: one stored back-dated movement. */
static void
bank_replay_stored_movement(HeapTuple row, TupleDesc desc, void *argument)
{
	BankBackdated movement;
	bool		isnull;

	memset(&movement, 0, sizeof(movement));
	bank_uuid_from_datum(SPI_getbinval(row, desc, 1, &isnull), &movement.account_id);
	movement.version = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
	movement.business_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 3, &isnull));
	movement.latest_before = DatumGetTimestampTz(SPI_getbinval(row, desc, 4, &isnull));
	movement.amount = DatumGetInt64(SPI_getbinval(row, desc, 5, &isnull));
	movement.held = DatumGetInt64(SPI_getbinval(row, desc, 6, &isnull));
	bank_backdated_add(argument, &movement);
}

/* Fingerprint of bank.backdated_movements as stored. */
BankBackdatedSum
bank_replay_stored_backdated(void)
{
	static BankPlan plan = {
		.text = "SELECT account_id, version, business_at, latest_before, amount, held "
		"FROM bank.backdated_movements"
	};
	BankBackdatedSum sum = {0, 0};

	bank_replay_rows(&plan, bank_replay_stored_movement, &sum);
	return sum;
}

/* What bank_replay_compare_accounts hands to its row visitor. */
typedef struct BankComparison
{
	BankReplay *replay;
	BankReplayDifference difference;
	BankReplayHoldDifference hold_difference;
	BankCaseKind kind;
	BankReplayCaseDifference case_difference;
	void	   *argument;
} BankComparison;

/* Are two accounts the same in every column? */
static bool
bank_account_same(const BankAccount *a, const BankAccount *b)
{
	const BankOpening *x = &a->opening;
	const BankOpening *y = &b->opening;

	return bank_uuid_equal(&a->id, &b->id) && a->version == b->version &&
		a->status == b->status && memcmp(a->currency, b->currency, 3) == 0 &&
		a->debits == b->debits && a->credits == b->credits && a->held == b->held &&
		a->next_expiry == b->next_expiry && a->limits_version == b->limits_version &&
		a->limits.overdraft == b->limits.overdraft && a->limits.balance == b->limits.balance &&
		a->created_at == b->created_at && a->recorded_at == b->recorded_at &&
		a->business_at == b->business_at && a->position == b->position && x->type == y->type &&
		x->has_owner == y->has_owner && bank_uuid_equal(&x->owner_id, &y->owner_id) &&
		strcmp(x->number, y->number) == 0 && strcmp(x->house_code, y->house_code) == 0 &&
		x->stripe == y->stripe && bank_uuid_equal(&x->house_account_id, &y->house_account_id);
}

/* Row visitor: one stored account. */
static void
bank_replay_stored_account(HeapTuple row, TupleDesc desc, void *argument)
{
	BankComparison *comparison = argument;
	BankAccount stored;
	BankProjected *projected;

	bank_account_from_row(row, desc, &stored);
	projected = bank_projection_find(comparison->replay->projection, &stored.id);
	if (projected != NULL && bank_account_same(&stored, &projected->account))
		projected->seen = true;
	else
		comparison->difference(&stored, projected, comparison->argument);
}

/*
 * Compare bank.accounts with the projection: marks as seen the accounts that are
 * stored as they should be, and calls back for every other stored row.
 */
void
bank_replay_compare_accounts(BankReplay *replay, BankReplayDifference difference, void *argument)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_ACCOUNT_COLUMNS " FROM bank.accounts"
	};
	BankComparison comparison = {.replay = replay, .difference = difference, .argument = argument};

	bank_progress_phase(BANK_PHASE_READING_MODELS);
	bank_replay_rows(&plan, bank_replay_stored_account, &comparison);
}

/* Are two holds the same in every column? */
static bool
bank_hold_same(const BankHold *a, const BankHold *b)
{
	return bank_uuid_equal(&a->id, &b->id) && bank_uuid_equal(&a->account_id, &b->account_id) &&
		memcmp(a->currency, b->currency, 3) == 0 && a->status == b->status &&
		a->amount == b->amount && a->captured == b->captured && a->expires_at == b->expires_at &&
		a->created_at == b->created_at && a->created_version == b->created_version &&
		a->created_position == b->created_position && a->resolved_at == b->resolved_at &&
		a->resolved_version == b->resolved_version && a->resolved_position == b->resolved_position;
}

/* Row visitor: one stored hold. */
static void
bank_replay_stored_hold(HeapTuple row, TupleDesc desc, void *argument)
{
	BankComparison *comparison = argument;
	BankHold	stored;
	BankProjectedHold *projected;

	bank_hold_from_row(row, desc, &stored);
	projected = bank_projection_find_hold(comparison->replay->projection, &stored.id);
	if (projected != NULL && bank_hold_same(&stored, &projected->hold))
		projected->seen = true;
	else
		comparison->hold_difference(&stored, projected, comparison->argument);
}

/* The same for bank.holds. */
void
bank_replay_compare_holds(BankReplay *replay, BankReplayHoldDifference difference, void *argument)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_HOLD_COLUMNS " FROM bank.holds"
	};
	BankComparison comparison = {
		.replay = replay, .hold_difference = difference, .argument = argument
	};

	bank_replay_rows(&plan, bank_replay_stored_hold, &comparison);
}

/* Row visitor: one stored case. */
static void
bank_replay_stored_case(HeapTuple row, TupleDesc desc, void *argument)
{
	BankComparison *comparison = argument;
	BankCase	stored;
	BankProjectedCase *projected;

	bank_case_from_row(comparison->kind, row, desc, &stored);
	projected = bank_projection_find_case(comparison->replay->projection, bank_case_id(&stored));
	if (projected != NULL && projected->state.kind == stored.kind &&
		bank_case_same(&stored, &projected->state))
		projected->seen = true;
	else
		comparison->case_difference(&stored, projected, comparison->argument);
}

/* The same for bank.transfers and bank.approvals. */
void
bank_replay_compare_cases(BankReplay *replay, BankReplayCaseDifference difference, void *argument)
{
	BankComparison comparison = {
		.replay = replay, .case_difference = difference, .argument = argument
	};

	for (comparison.kind = 0; comparison.kind < BANK_CASE_KINDS; comparison.kind++)
		bank_replay_rows(bank_case_all(comparison.kind), bank_replay_stored_case, &comparison);
}
