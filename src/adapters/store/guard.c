/*
 * guard.c
 *		What nobody may do by accident: change an event, or drop a ledger that has
 *		events.
 *
 * The trigger below refuses every UPDATE, DELETE and TRUNCATE. Dropping is
 * watched by an object access hook on the table bank.events, whatever command
 * the drop comes from (DROP EXTENSION, DROP SCHEMA ... CASCADE, DROP OWNED); an
 * event trigger sees to it that this library is loaded before such a command.
 *
 * Locks: the dropping command has locked the table already.
 */
#include "postgres.h"

#include "adapters/relay/notify.h"
#include "adapters/sql/errors.h"
#include "adapters/store/guard.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(bank_events_refuse_change);
PG_FUNCTION_INFO_V1(bank_guard_drop);

static bool bank_allow_drop = false;
static object_access_hook_type bank_next_object_access_hook = NULL;

/* Trigger function bank.events_refuse_change(). */
Datum
bank_events_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	BankError	error;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"bank.events_refuse_change")));
	bank_error_set(&error, BANK_APPEND_ONLY, "%s on bank.events is refused for every role.",
				   TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "UPDATE" :
				   TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "DELETE" : "TRUNCATE");
	bank_error_hint(&error,
					"Correct a movement with another one in the opposite direction.");
	bank_ereport(&error);
	PG_RETURN_NULL();
}

/* Does this table have a row that the latest snapshot sees? */
static bool
bank_table_has_rows(Oid relation_id)
{
	Relation	relation = table_open(relation_id, NoLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return found;
}

/* Is this relation the table of events of the installed extension? */
static bool
bank_is_events_table(Oid relation_id)
{
	const char *name = get_rel_name(relation_id);
	const char *schema;
	Oid			extension;

	if (name == NULL || strcmp(name, "events") != 0)
		return false;
	schema = get_namespace_name(get_rel_namespace(relation_id));
	if (schema == NULL || strcmp(schema, "bank") != 0)
		return false;
	extension = getExtensionOfObject(RelationRelationId, relation_id);
	return OidIsValid(extension) && extension == get_extension_oid("banking", true);
}

/*
 * Object access hook: refuse to drop a table of events with rows; tell the relay of others, and
 * of databases.
 */
static void
bank_guard_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
						 void *argument)
{
	if (bank_next_object_access_hook)
		bank_next_object_access_hook(access, class_id, object_id, sub_id, argument);

	if (access == OAT_DROP && class_id == DatabaseRelationId)
		bank_relay_forget(object_id);
	if (access != OAT_DROP || class_id != RelationRelationId || sub_id != 0 ||
		!bank_is_events_table(object_id))
		return;
	if (!bank_allow_drop && bank_table_has_rows(object_id))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop extension banking while its ledger has events"),
				 errhint("Back the ledger up, then set banking.allow_drop to on "
						 "and drop it again.")));
	/* once it is dropped the relay's worker has nothing to do here */
	bank_relay_note_changes();
}

/* Event trigger function bank.guard_drop(): calling it has loaded this library, which is all. */
Datum
bank_guard_drop(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager",
						"bank.guard_drop")));
	PG_RETURN_NULL();
}

/* Define banking.allow_drop and install the hook; called once per backend by _PG_init. */
void
bank_guard_init(void)
{
	DefineCustomBoolVariable("banking.allow_drop",
							 "Allows the extension to be dropped with the events it stores.",
							 NULL, &bank_allow_drop, false, PGC_SUSET, 0, NULL, NULL, NULL);
	bank_next_object_access_hook = object_access_hook;
	object_access_hook = bank_guard_object_access;
}
