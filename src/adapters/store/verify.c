/*
 * verify.c
 *		bank_verify(): re-derive everything from the events and say, invariant by
 *		invariant, what does not hold.
 *
 * Locks: none; it reads one snapshot, so it may run beside commands and on a
 * standby. Memory: see projection.c.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/store/progress.h"
#include "adapters/store/replay.h"
#include "adapters/store/store.h"

#include "funcapi.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

#include <inttypes.h>

PG_FUNCTION_INFO_V1(bank_sql_verify);

/* One line of the answer. */
typedef struct BankFinding
{
	int64		failures;
	char		detail[300];	/* about the first failure */
} BankFinding;

/* Invariants that the replay of the events decides: the flaws that break them. */
static const struct
{
	const char *invariant;
	unsigned	flaws;
}			bank_event_invariants[] = {
	{"movements_balanced", BANK_FLAW_SHAPE | BANK_FLAW_AMOUNT},
	{"versions_contiguous", BANK_FLAW_VERSION},
	{"currencies_match", BANK_FLAW_CURRENCY},
	{"balances_match_events", BANK_FLAW_BALANCE},
	{"held_matches_events", BANK_FLAW_HELD},
	{"holds_resolve_once", BANK_FLAW_HOLD},
	{"expired_holds_are_free", BANK_FLAW_EXPIRY},
	{"statuses_respected", BANK_FLAW_STATUS},
	{"limits_respected", BANK_FLAW_LIMITS},
	{"recorded_at_never_decreases", BANK_FLAW_TIME},
	{"positions_increase", BANK_FLAW_POSITION},
};

/* What the data of an event e names: an identifier, a version; NULL where it is none. */
#define BANK_DATA_UUID(member) \
	"CASE WHEN e.data OPERATOR(pg_catalog.->>) '" member "' OPERATOR(pg_catalog.~) " \
	"'^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' " \
	"THEN (e.data OPERATOR(pg_catalog.->>) '" member "')::pg_catalog.uuid END"
#define BANK_DATA_VERSION(member) \
	"CASE WHEN e.data OPERATOR(pg_catalog.->>) '" member "' OPERATOR(pg_catalog.~) " \
	"'^[0-9]{1,18}$' THEN (e.data OPERATOR(pg_catalog.->>) '" member "')::pg_catalog.int8 END"

/* Invariants that a statement decides: it returns the failures and a sentence about one. */
static const struct
{
	const char *invariant;
	BankPlan	plan;
}			bank_query_invariants[] = {
	{
		"trial_balance_zero",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'debits and credits differ in ', pg_catalog.min(t.currency)) "
			"FROM (SELECT currency FROM bank.accounts GROUP BY currency "
			"HAVING pg_catalog.sum(debits) OPERATOR(pg_catalog.<>) pg_catalog.sum(credits)) AS t"
		}
	},
	{
		"held_is_sum_of_open_holds",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'held or next_expiry is not that of the open holds of account ', "
			"(pg_catalog.array_agg(a.account_id))[1]) "
			"FROM bank.accounts AS a FULL JOIN (SELECT h.account_id, "
			"pg_catalog.sum(h.amount) AS held, pg_catalog.min(h.expires_at) FILTER "
			"(WHERE h.expires_at OPERATOR(pg_catalog.<) 'infinity') AS next_expiry "
			"FROM bank.holds AS h WHERE h.status OPERATOR(pg_catalog.=) 'OPEN' "
			"GROUP BY h.account_id) AS o "
			"ON o.account_id OPERATOR(pg_catalog.=) a.account_id "
			"WHERE a.held::pg_catalog.numeric IS DISTINCT FROM "
			"COALESCE(o.held, 0::pg_catalog.numeric) "
			"OR a.next_expiry IS DISTINCT FROM o.next_expiry"
		}
	},
	{
		"captured_within_hold",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'more was captured than held by hold ', (pg_catalog.array_agg(h.hold_id))[1]) "
			"FROM bank.holds AS h WHERE h.captured OPERATOR(pg_catalog.>) h.amount"
		}
	},
	{
		"transfers_hold_their_money",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'the hold of transfer ', "
			"(pg_catalog.array_agg(COALESCE(t.transfer_id, h.hold_id)))[1], "
			"' is not as its state says') "
			"FROM (SELECT s.* FROM bank.transfers AS s WHERE s.state OPERATOR(pg_catalog.<>) "
			"ALL (ARRAY['received', 'kept', 'refused', 'cancelled'])) AS t "
			"FULL JOIN (SELECT o.* FROM bank.holds AS o "
			"WHERE o.expires_at OPERATOR(pg_catalog.=) 'infinity') AS h "
			"ON h.hold_id OPERATOR(pg_catalog.=) t.transfer_id "
			"WHERE t.transfer_id IS NULL OR h.hold_id IS NULL "
			"OR h.account_id OPERATOR(pg_catalog.<>) t.account_id "
			"OR h.amount OPERATOR(pg_catalog.<>) t.amount "
			"OR h.currency OPERATOR(pg_catalog.<>) t.currency "
			"OR h.status OPERATOR(pg_catalog.<>) CASE "
			"WHEN t.captured OR t.state OPERATOR(pg_catalog.=) 'compensated' THEN 'CAPTURED' "
			"WHEN t.state OPERATOR(pg_catalog.=) 'rejected' THEN 'RELEASED' ELSE 'OPEN' END "
			"OR (h.status OPERATOR(pg_catalog.=) 'CAPTURED' "
			"AND h.captured OPERATOR(pg_catalog.<>) h.amount)"
		}
	},
	{
		"transfers_move_once",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'the movement of transfer ', (pg_catalog.array_agg(s.transfer_id))[1], "
			"' is missing, or another one''s') "
			"FROM (SELECT t.transfer_id, t.amount, t.currency, e.event_type::pg_catalog.text, "
			BANK_DATA_UUID("account_id") " AS account_id, "
			BANK_DATA_VERSION("account_version") " AS version, "
			"pg_catalog.count(*) OVER (PARTITION BY e.data OPERATOR(pg_catalog.->>) 'account_id', "
			"e.data OPERATOR(pg_catalog.->>) 'account_version') AS uses "
			"FROM bank.transfers AS t JOIN bank.events AS e "
			"ON e.aggregate_id OPERATOR(pg_catalog.=) t.transfer_id "
			"WHERE e.data OPERATOR(pg_catalog.?) 'account_version') AS s "
			"LEFT JOIN bank.events AS m ON m.aggregate_id OPERATOR(pg_catalog.=) s.account_id "
			"AND m.version OPERATOR(pg_catalog.=) s.version "
			"WHERE m.position IS NULL OR s.uses OPERATOR(pg_catalog.>) 1 "
			"OR m.amount IS DISTINCT FROM s.amount "
			"OR m.currency OPERATOR(pg_catalog.<>) s.currency OR m.peer_id IS NULL "
			"OR m.hold_id IS DISTINCT FROM CASE s.event_type "
			"WHEN 'transfer.completed' THEN s.transfer_id END "
			"OR NOT CASE s.event_type "
			"WHEN 'transfer.completed' THEN m.event_type OPERATOR(pg_catalog.=) 'hold.captured' "
			"WHEN 'transfer.received' THEN m.event_type OPERATOR(pg_catalog.=) 'money.deposited' "
			"WHEN 'transfer.cancelled' THEN m.event_type OPERATOR(pg_catalog.=) 'money.withdrawn' "
			"ELSE m.event_type OPERATOR(pg_catalog.=) "
			"ANY (ARRAY['money.deposited', 'transfer.completed']::bank.event_type[]) END"
		}
	},
	{
		"approvals_carried_out_once",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'the event of request ', (pg_catalog.array_agg(s.request_id))[1], "
			"' is missing, or another one''s') "
			"FROM (SELECT e.aggregate_id AS request_id, "
			BANK_DATA_UUID("result_aggregate_id") " AS id, "
			BANK_DATA_VERSION("result_version") " AS version "
			"FROM bank.approvals AS a JOIN bank.events AS e "
			"ON e.aggregate_id OPERATOR(pg_catalog.=) a.request_id "
			"AND e.version OPERATOR(pg_catalog.=) 2 "
			"WHERE a.state OPERATOR(pg_catalog.=) 'granted') AS s "
			"LEFT JOIN bank.events AS r ON r.aggregate_id OPERATOR(pg_catalog.=) s.id "
			"AND r.version OPERATOR(pg_catalog.=) s.version "
			"WHERE r.metadata OPERATOR(pg_catalog.->>) 'causation_id' "
			"IS DISTINCT FROM s.request_id::pg_catalog.text"
		}
	},
	{
		"approved_by_another",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'request ', (pg_catalog.array_agg(a.request_id))[1], "
			"' was approved by who had made it') "
			"FROM bank.approvals AS a JOIN bank.events AS r "
			"ON r.aggregate_id OPERATOR(pg_catalog.=) a.request_id "
			"AND r.version OPERATOR(pg_catalog.=) 1 "
			"JOIN bank.events AS d ON d.aggregate_id OPERATOR(pg_catalog.=) a.request_id "
			"AND d.version OPERATOR(pg_catalog.=) 2 "
			"LEFT JOIN bank.actors AS w ON w.actor_id OPERATOR(pg_catalog.=) r.actor_id "
			"LEFT JOIN bank.actors AS b ON b.actor_id OPERATOR(pg_catalog.=) d.actor_id "
			"WHERE a.state OPERATOR(pg_catalog.=) 'granted' "
			"AND (w.actor_id IS NULL OR b.actor_id IS NULL OR "
			"(w.session_user_name OPERATOR(pg_catalog.=) b.session_user_name "
			"AND w.subject OPERATOR(pg_catalog.=) b.subject))"
		}
	},
	{
		"one_outcome_per_idempotency_key",
		{
			.text = "SELECT pg_catalog.count(*), pg_catalog.concat("
			"'no event for key ', pg_catalog.min(k.idempotency_key)) "
			"FROM bank.idempotency_keys AS k "
			"LEFT JOIN bank.events AS e ON e.aggregate_id OPERATOR(pg_catalog.=) k.aggregate_id "
			"AND e.version OPERATOR(pg_catalog.=) k.version "
			"WHERE e.position IS NULL AND k.refusal IS NULL"
		}
	},
	{
		"events_are_append_only",
		{
			.text = "SELECT 4 OPERATOR(pg_catalog.-) pg_catalog.count(*), "
			"'a trigger that guards bank.events is missing or not enabled ALWAYS' "
			"FROM (SELECT t.tgname FROM pg_catalog.pg_trigger AS t "
			"WHERE t.tgrelid OPERATOR(pg_catalog.=) 'bank.events'::pg_catalog.regclass "
			"AND t.tgenabled OPERATOR(pg_catalog.=) 'A' AND t.tgname OPERATOR(pg_catalog.=) ANY "
			"(ARRAY['events_refuse_change', 'events_refuse_row_change', 'events_apply']"
			"::pg_catalog.name[]) UNION ALL "
			"SELECT e.evtname FROM pg_catalog.pg_event_trigger AS e "
			"WHERE e.evtname OPERATOR(pg_catalog.=) 'banking_guard_drop' "
			"AND e.evtenabled OPERATOR(pg_catalog.=) 'A') AS t"
		}
	},
	{
		"positions_unused",
		{
			.text = "SELECT (m.position OPERATOR(pg_catalog.>) s.last_value)::integer::bigint, "
			"'bank.events_position_seq is behind the last event' "
			"FROM (SELECT pg_catalog.max(position) AS position FROM bank.events) AS m, "
			"bank.events_position_seq AS s"
		}
	},
};

/* Add a row to the answer. */
static void
bank_verify_put(ReturnSetInfo *result, const char *invariant, const BankFinding *finding)
{
	Datum		values[4];
	bool		nulls[4] = {false};

	values[0] = CStringGetTextDatum(invariant);
	values[1] = BoolGetDatum(finding->failures == 0);
	values[2] = Int64GetDatum(finding->failures);
	nulls[3] = finding->failures == 0;
	values[3] = CStringGetTextDatum(finding->detail);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Sum up the flaws that break one invariant. */
static void
bank_verify_flaws(const BankReplay *replay, unsigned flaws, BankFinding *finding)
{
	int			bit;

	memset(finding, 0, sizeof(*finding));
	for (bit = 0; bit < BANK_FLAW_BITS; bit++)
	{
		const BankFlawCount *flaw = &replay->flaws[bit];

		if ((flaws & (1U << bit)) == 0 || flaw->count == 0)
			continue;
		if (finding->failures == 0)
			strlcpy(finding->detail, flaw->first, sizeof(finding->detail));
		finding->failures += flaw->count;
	}
}

/* Difference callback: a stored account that is not what the events say. */
static void
bank_verify_difference(const BankAccount *stored, const BankProjected *projected, void *argument)
{
	BankFinding *finding = argument;

	if (finding->failures++ == 0)
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(&stored->id, id);
		if (projected == NULL)
			snprintf(finding->detail, sizeof(finding->detail),
					 "account %s has a row in bank.accounts but no events", id);
		else
			snprintf(finding->detail, sizeof(finding->detail),
					 "account %s: version %" PRId64 ", debits %" PRId64 ", credits %" PRId64
					 " by the events; version %" PRId64 ", debits %" PRId64 ", credits %" PRId64
					 " in bank.accounts", id, projected->account.version,
					 projected->account.debits, projected->account.credits, stored->version,
					 stored->debits, stored->credits);
	}
	if (projected != NULL)
	{
		BankProjected *mark = unconstify(BankProjected *, projected);

		mark->seen = true;
	}
}

/* Difference callback: a stored hold that is not what the events say. */
static void
bank_verify_hold_difference(const BankHold *stored, const BankProjectedHold *projected,
							void *argument)
{
	BankFinding *finding = argument;

	if (finding->failures++ == 0)
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(&stored->id, id);
		snprintf(finding->detail, sizeof(finding->detail), projected == NULL ?
				 "hold %s has a row in bank.holds but no events" :
				 "hold %s is not in bank.holds what the events say", id);
	}
	if (projected != NULL)
	{
		BankProjectedHold *mark = unconstify(BankProjectedHold *, projected);

		mark->seen = true;
	}
}

/* Are the stored holds what the events say? */
static void
bank_verify_holds(BankReplay *replay, BankFinding *finding)
{
	BankProjectedHold *projected;

	bank_replay_compare_holds(replay, bank_verify_hold_difference, finding);
	for (projected = bank_projection_first_hold(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		char		id[BANK_UUID_TEXT];

		if (projected->seen || finding->failures++ > 0)
			continue;
		bank_uuid_format(&projected->hold.id, id);
		snprintf(finding->detail, sizeof(finding->detail),
				 "hold %s has events but no row in bank.holds", id);
	}
}

/* Difference callback: a stored case that is not what the events say. */
static void
bank_verify_case_difference(const BankCase *stored, const BankProjectedCase *projected,
							void *argument)
{
	BankFinding *finding = argument;

	if (finding->failures++ == 0)
	{
		const char *name = bank_case_name(stored->kind);
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(bank_case_id(stored), id);
		snprintf(finding->detail, sizeof(finding->detail), projected == NULL ?
				 "%s %s has a row in bank.%ss but no events" :
				 "%s %s is not in bank.%ss what the events say", name, id, name);
	}
	if (projected != NULL)
	{
		BankProjectedCase *mark = unconstify(BankProjectedCase *, projected);

		mark->seen = true;
	}
}

/* Are the stored cases what the events say? */
static void
bank_verify_cases(BankReplay *replay, BankFinding *finding)
{
	BankProjectedCase *projected;

	bank_replay_compare_cases(replay, bank_verify_case_difference, finding);
	for (projected = bank_projection_first_case(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		const char *name = bank_case_name(projected->state.kind);
		char		id[BANK_UUID_TEXT];

		if (projected->seen || finding->failures++ > 0)
			continue;
		bank_uuid_format(bank_case_id(&projected->state), id);
		snprintf(finding->detail, sizeof(finding->detail),
				 "%s %s has events but no row in bank.%ss", name, id, name);
	}
}

/* Are the stored read models what the events say? repairable: the events themselves are sound. */
static void
bank_verify_read_models(BankReplay *replay, bool repairable, BankFinding *finding)
{
	BankProjected *projected;
	BankBackdatedSum stored;

	memset(finding, 0, sizeof(*finding));
	bank_replay_compare_accounts(replay, bank_verify_difference, finding);
	for (projected = bank_projection_first(replay->projection); projected != NULL;
		 projected = projected->next)
	{
		char		id[BANK_UUID_TEXT];

		if (projected->seen || finding->failures++ > 0)
			continue;
		bank_uuid_format(&projected->account.id, id);
		snprintf(finding->detail, sizeof(finding->detail),
				 "account %s has events but no row in bank.accounts", id);
	}
	bank_verify_holds(replay, finding);
	bank_verify_cases(replay, finding);
	stored = bank_replay_stored_backdated();
	if ((stored.count != replay->backdated.count || stored.hash != replay->backdated.hash) &&
		finding->failures++ == 0)
		strlcpy(finding->detail, "bank.backdated_movements is not what the events say",
				sizeof(finding->detail));
	if (finding->failures > 0 && repairable)
		strlcat(finding->detail, "; bank_rebuild() repairs read models",
				sizeof(finding->detail));
}

/* Is it known who has appended every event? */
static void
bank_verify_actors(BankReplay *replay, BankFinding *finding)
{
	int32		first = 0;

	memset(finding, 0, sizeof(*finding));
	finding->failures = bank_replay_unknown_actors(replay, &first);
	snprintf(finding->detail, sizeof(finding->detail), "actor %d is not in bank.actors", first);
}

/* Ask the statement of an invariant. */
static void
bank_verify_query(BankPlan *plan, BankFinding *finding)
{
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;
	char	   *detail;

	memset(finding, 0, sizeof(*finding));
	bank_plan_execute(plan, NULL, NULL, true);
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	finding->failures = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	if (isnull)
		finding->failures = 0;
	detail = SPI_getvalue(row, desc, 2);
	if (detail != NULL)
		strlcpy(finding->detail, detail, sizeof(finding->detail));
	SPI_freetuptable(SPI_tuptable);
}

/* bank_verify(): setof (invariant, ok, failures, detail) */
Datum
bank_sql_verify(PG_FUNCTION_ARGS)
{
	static BankPlan plans[lengthof(bank_query_invariants)];
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BankSession session;
	BankReplay	replay;
	BankFinding finding;
	bool		sound = true;
	size_t		i;

	InitMaterializedSRF(fcinfo, 0);
	bank_session_open(&session);
	bank_progress_start(BANK_PROGRESS_VERIFY);
	bank_replay_events(&replay, CurrentMemoryContext, false);
	for (i = 0; i < lengthof(bank_event_invariants); i++)
	{
		bank_verify_flaws(&replay, bank_event_invariants[i].flaws, &finding);
		bank_verify_put(result, bank_event_invariants[i].invariant, &finding);
		sound = sound && finding.failures == 0;
	}
	bank_verify_read_models(&replay, sound, &finding);
	bank_verify_put(result, "read_models_match_events", &finding);
	bank_verify_actors(&replay, &finding);
	bank_verify_put(result, "actors_known", &finding);
	for (i = 0; i < lengthof(bank_query_invariants); i++)
	{
		if (plans[i].text == NULL)
			plans[i] = bank_query_invariants[i].plan;
		bank_verify_query(&plans[i], &finding);
		bank_verify_put(result, bank_query_invariants[i].invariant, &finding);
	}
	bank_progress_end();
	bank_session_close(&session);
	return (Datum) 0;
}
