/*
 * rebuild.c
 *		bank_rebuild(): make the read models again from the events alone.
 *
 * Locks: SHARE ROW EXCLUSIVE on bank.accounts, then on bank.events, the order in
 * which commands take theirs. Commands wait until the transaction ends, readers
 * do not. Only rows that differ are written, and sequences that have fallen
 * behind (those of a logical replica) are moved on. Memory: see projection.c.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/store/progress.h"
#include "adapters/store/replay.h"
#include "adapters/store/store.h"
#include "domain/account_number.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(bank_sql_rebuild);

/* Run a statement without arguments that returns nothing of interest. */
static uint64
bank_rebuild_run(const char *statement)
{
	if (SPI_execute(statement, false, 0) < 0)
		elog(ERROR, "SPI_execute failed for \"%s\"", statement);
	return SPI_processed;
}

/* Remove a stored account that is not what the events say; it is written anew later. */
static void
bank_rebuild_remove(const BankAccount *stored, const BankProjected *projected pg_attribute_unused(),
					void *argument)
{
	static BankPlan plan = {
		.text = "DELETE FROM bank.accounts WHERE account_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(&stored->id)};
	int64	   *repaired = argument;

	bank_plan_execute(&plan, values, NULL, false);
	(*repaired)++;
}

/* The same for a hold. */
static void
bank_rebuild_remove_hold(const BankHold *stored,
						 const BankProjectedHold *projected pg_attribute_unused(), void *argument)
{
	static BankPlan plan = {
		.text = "DELETE FROM bank.holds WHERE hold_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(&stored->id)};
	int64	   *repaired = argument;

	bank_plan_execute(&plan, values, NULL, false);
	(*repaired)++;
}

/* The same for a case. */
static void
bank_rebuild_remove_case(const BankCase *stored,
						 const BankProjectedCase *projected pg_attribute_unused(), void *argument)
{
	int64	   *repaired = argument;

	bank_case_delete(stored);
	(*repaired)++;
}

/* Raise when the events themselves are damaged: nothing can be made from them. */
static void
bank_rebuild_refuse_flaws(const BankReplay *replay)
{
	int			bit;

	for (bit = 0; bit < BANK_FLAW_BITS; bit++)
	{
		if (replay->flaws[bit].count > 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("cannot rebuild read models from damaged events"),
					 errdetail("First damage: %s.", replay->flaws[bit].first),
					 errhint("Run bank_verify() for the whole list, "
							 "and restore the events from a backup.")));
	}
}

/*
 * Write the back-dated movements again when those stored are not what the events
 * say; returns how many rows that touched.
 */
static int64
bank_rebuild_backdated(const BankReplay *replay, BankBackdatedSum stored)
{
	int64		touched;
	ListCell   *cell;

	if (stored.count == replay->backdated.count && stored.hash == replay->backdated.hash)
		return 0;
	touched = (int64) bank_rebuild_run("DELETE FROM bank.backdated_movements");
	foreach(cell, replay->movements)
		bank_apply_backdated(lfirst(cell), NULL);
	return Max(touched, replay->backdated.count);
}

/* Write the holds that are not stored as they should be; returns how many. */
static int64
bank_rebuild_holds(const BankReplay *replay, MemoryContext row)
{
	BankProjectedHold *projected;
	int64		added = 0;

	for (projected = bank_projection_first_hold(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		MemoryContext caller;

		if (projected->seen)
			continue;
		caller = MemoryContextSwitchTo(row);
		bank_hold_row_insert(&projected->hold);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
		added++;
	}
	return added;
}

/* Write the cases that are not stored as they should be; returns how many. */
static int64
bank_rebuild_cases(const BankReplay *replay, MemoryContext row)
{
	BankProjectedCase *projected;
	int64		added = 0;

	for (projected = bank_projection_first_case(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		MemoryContext caller;

		if (projected->seen)
			continue;
		caller = MemoryContextSwitchTo(row);
		bank_case_insert(&projected->state);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
		added++;
	}
	return added;
}

/* Move the sequences past what the events have used, as after taking over a logical replica. */
static void
bank_rebuild_sequences(const BankReplay *replay)
{
	int64		position = 0;
	int64		serial = 0;
	BankProjected *projected;
	BankProjectedCase *touched;

	for (projected = bank_projection_first(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		const char *number = projected->account.opening.number;

		position = Max(position, projected->account.position);
		serial = Max(serial, bank_account_number_serial(number, strlen(number)));
	}
	for (touched = bank_projection_first_case(replay->projection); touched != NULL;
		 touched = touched->next)
		position = Max(position, bank_case_position(&touched->state));
	if (position > 0)
		bank_store_pass_position(position);
	if (serial > 0)
		bank_store_pass_account_serial(serial);
}

/* bank_rebuild(): (events, accounts, repaired) */
Datum
bank_sql_rebuild(PG_FUNCTION_ARGS)
{
	BankSession session;
	BankReplay	replay;
	BankBackdatedSum backdated;
	MemoryContext row;
	BankProjected *projected;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};
	int64		repaired = 0;
	int64		removed_holds = 0;
	int64		removed_cases = 0;
	int64		added_holds;
	int64		added_cases;
	int64		added = 0;
	int64		accounts;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PreventCommandIfReadOnly("bank_rebuild()");
	PreventCommandIfParallelMode("bank_rebuild()");

	bank_session_open(&session);
	bank_progress_start(BANK_PROGRESS_REBUILD);
	bank_progress_phase(BANK_PHASE_LOCKING);
	bank_rebuild_run("LOCK TABLE bank.accounts IN SHARE ROW EXCLUSIVE MODE");
	bank_rebuild_run("LOCK TABLE bank.events IN SHARE ROW EXCLUSIVE MODE");

	/* what committed while we waited must be seen */
	PushActiveSnapshot(GetLatestSnapshot());
	bank_replay_events(&replay, CurrentMemoryContext, true);
	bank_rebuild_refuse_flaws(&replay);
	bank_replay_compare_accounts(&replay, bank_rebuild_remove, &repaired);
	bank_replay_compare_holds(&replay, bank_rebuild_remove_hold, &removed_holds);
	bank_replay_compare_cases(&replay, bank_rebuild_remove_case, &removed_cases);
	backdated = bank_replay_stored_backdated();
	PopActiveSnapshot();

	bank_progress_phase(BANK_PHASE_WRITING_MODELS);
	row = AllocSetContextCreate(CurrentMemoryContext, "banking rebuild row",
								ALLOCSET_DEFAULT_SIZES);
	for (projected = bank_projection_first(replay.projection); projected != NULL;
		 projected = projected->next)
	{
		MemoryContext caller;

		if (projected->seen)
			continue;
		caller = MemoryContextSwitchTo(row);
		if (!bank_account_row_insert(&projected->account))
			elog(ERROR, "could not write an account that was just removed");
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row);
		added++;
	}
	added = Max(repaired, added);
	added_holds = bank_rebuild_holds(&replay, row);
	added_cases = bank_rebuild_cases(&replay, row);
	repaired = added + Max(removed_holds, added_holds) +
		Max(removed_cases, added_cases) + bank_rebuild_backdated(&replay, backdated);
	bank_rebuild_sequences(&replay);
	accounts = bank_projection_size(replay.projection);
	bank_progress_end();
	bank_session_close(&session);

	values[0] = Int64GetDatum(replay.events);
	values[1] = Int64GetDatum(accounts);
	values[2] = Int64GetDatum(repaired);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
