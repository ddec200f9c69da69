/*
 * incarnation.c
 *		Events that come with transaction ids of another cluster: from a dump, or by
 *		logical replication. See sql/feed.sql for what an incarnation is.
 *
 * Locks: the row of the present incarnation, until the loading transaction ends.
 */
#include "postgres.h"

#include "adapters/relay/notify.h"
#include "adapters/store/store.h"
#include "adapters/store/tables.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/rel.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(bank_events_stamp);
PG_FUNCTION_INFO_V1(bank_incarnations_skip);

/*
 * Events from first_position to last_position have come with ids of another
 * cluster: they count as loaded by the running transaction. False: events of the
 * present incarnation lie beside them, so this is no restore. Inside a BankSession.
 */
bool
bank_incarnation_load(int64 first_position, int64 last_position)
{
	static BankPlan plan = {
		.text = "UPDATE bank.incarnations AS i SET after_position = $2, loaded_by = $3 "
		"WHERE i.incarnation OPERATOR(pg_catalog.=) "
		"(SELECT c.last_value FROM bank.incarnation AS c) "
		"AND i.after_position OPERATOR(pg_catalog.<) $1 "
		"AND NOT EXISTS (SELECT FROM bank.events AS e "
		"WHERE e.position OPERATOR(pg_catalog.>) i.after_position "
		"AND e.position OPERATOR(pg_catalog.<) $1) "
		"AND NOT EXISTS (SELECT FROM bank.events AS e WHERE e.position OPERATOR(pg_catalog.>) $2)",
		.nargs = 3, .types = {INT8OID, INT8OID, XID8OID}
	};
	Datum		values[3];

	values[0] = Int64GetDatum(first_position);
	values[1] = Int64GetDatum(last_position);
	values[2] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	if (bank_plan_execute(&plan, values, NULL, false) != 1)
		return false;
	bank_relay_note_restored();
	return true;
}

/*
 * Trigger function bank.events_stamp(): the row belongs to the running transaction. It fires where
 * events come by logical replication, row by row without bank.events_apply(): so it is here
 * that the relay's worker is told of them.
 */
Datum
bank_events_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Datum		xid = FullTransactionIdGetDatum(GetTopFullTransactionId());
	int			column = Anum_event_transaction_id;
	bool		isnull = false;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE INSERT FOR EACH ROW",
						"bank.events_stamp")));
	bank_relay_note_events();
	return PointerGetDatum(heap_modify_tuple_by_cols(trigger->tg_trigtuple,
													 RelationGetDescr(trigger->tg_relation), 1,
													 &column, &xid, &isnull));
}

/* Trigger function bank.incarnations_skip(): the row is left out. */
Datum
bank_incarnations_skip(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"bank.incarnations_skip")));
	return PointerGetDatum(NULL);
}
