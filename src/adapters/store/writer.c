/*
 * writer.c
 *		Who writes rows of the ledger's tables: the executor, or we ourselves below it,
 *		as COPY does.
 *
 * Below the executor nobody looks at what others may have put on a table. So
 * this file looks: only a table that is as the extension has made it, as far as
 * writing goes, is written directly; for any other the executor does it.
 * The setting banking.writer can ask for the one or the other.
 *
 * Locks: callers have the table open with the lock that writing needs, so what
 * is found here stays true until the transaction ends. No memory of its own.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* Values of banking.writer. */
typedef enum BankWriter
{
	BANK_WRITER_AUTO,
	BANK_WRITER_EXECUTOR,
	BANK_WRITER_DIRECT
} BankWriter;

static const struct config_enum_entry bank_writers[] = {
	{"auto", BANK_WRITER_AUTO, false},
	{"executor", BANK_WRITER_EXECUTOR, false},
	{"direct", BANK_WRITER_DIRECT, false},
	{NULL, 0, false}
};

static int	bank_writer = BANK_WRITER_AUTO;

/* The columns of a table as the extension makes it. */
typedef struct BankShape
{
	int			natts;
	const Oid  *types;			/* InvalidOid: a type of schema bank */
	uint32		nullable;		/* bit n: column n + 1 may be null */
} BankShape;

#define NULLABLE(column) (1U << (Anum_##column - 1))

static const Oid bank_event_types[Natts_event] = BANK_EVENT_COLUMN_TYPES(InvalidOid);
static const Oid bank_account_types[Natts_account] = BANK_ACCOUNT_COLUMN_TYPES;
static const Oid bank_hold_types[Natts_hold] = BANK_HOLD_COLUMN_TYPES;

static const BankShape bank_event_shape = {
	Natts_event, bank_event_types,
	NULLABLE(event_peer_version) | NULLABLE(event_amount) | NULLABLE(event_peer_balance) |
	NULLABLE(event_peer_id) | NULLABLE(event_occurred_at) | NULLABLE(event_data) |
	NULLABLE(event_metadata) | NULLABLE(event_held) | NULLABLE(event_peer_held) |
	NULLABLE(event_expires_at) | NULLABLE(event_hold_id) | NULLABLE(event_limits_before) |
	NULLABLE(event_actor_id)
};
static const BankShape bank_account_shape = {
	Natts_account, bank_account_types,
	NULLABLE(account_balance_limit) | NULLABLE(account_owner_id) |
	NULLABLE(account_account_number) | NULLABLE(account_house_code) | NULLABLE(account_stripe) |
	NULLABLE(account_house_account_id) | NULLABLE(account_next_expiry)
};

static const BankShape bank_hold_shape = {
	Natts_hold, bank_hold_types,
	NULLABLE(hold_resolved_at) | NULLABLE(hold_resolved_version) | NULLABLE(hold_resolved_position)
};

/* Define the setting. */
void
bank_writer_init(void)
{
	DefineCustomEnumVariable("banking.writer",
							 "Who writes events, accounts and holds: the executor, or the "
							 "extension itself below it.",
							 "auto writes directly wherever nobody has put anything on the tables "
							 "that the executor would have to see to; direct is an error there.",
							 &bank_writer, BANK_WRITER_AUTO, bank_writers, PGC_USERSET, 0, NULL,
							 NULL, NULL);
}

/* Are the columns those that the extension has made? */
static bool
bank_writer_fits(Relation relation, const BankShape *shape)
{
	TupleDesc	desc = RelationGetDescr(relation);
	int			i;

	if (desc->natts != shape->natts)
		return false;
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || column->attgenerated != '\0' ||
			column->attnotnull == ((shape->nullable & (1U << i)) != 0) ||
			(OidIsValid(shape->types[i]) && column->atttypid != shape->types[i]))
			return false;
	}
	return true;
}

/*
 * What keeps this table from being written directly, whatever the command; NULL:
 * nothing. Triggers are the callers' matter.
 */
static const char *
bank_writer_obstacle(Relation relation, const BankShape *shape, AclMode right)
{
	Form_pg_class form = relation->rd_rel;
	const TupleConstr *constraints = RelationGetDescr(relation)->constr;

	if (form->relkind != RELKIND_RELATION || form->relam != HEAP_TABLE_AM_OID)
		return "It is not an ordinary table.";
	if (form->relispartition || form->relhassubclass)
		return "It is part of a partitioned table or of an inheritance tree.";
	if (relation->rd_rules != NULL)
		return "It has rules.";
	if (form->relrowsecurity)
		return "It has row security.";
	if (!bank_writer_fits(relation, shape))
		return "Its columns are not those that the extension has made.";
	if (constraints != NULL && constraints->num_check > 0)
		return "It has check constraints.";
	if (pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), right) != ACLCHECK_OK)
		return "Its owner has no right to write it.";
	/* the triggers would not do there what they do elsewhere */
	if (IsLogicalWorker())
		return "A logical replication worker writes it.";
	return NULL;
}

/* Is this function bank.events_apply()? */
static bool
bank_writer_is_apply(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = strcmp(NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname), "events_apply") == 0 &&
		((Form_pg_proc) GETSTRUCT(tuple))->pronamespace == get_namespace_oid("bank", false);
	ReleaseSysCache(tuple);
	return result;
}

/* Does this trigger fire in the session as it is? */
static bool
bank_writer_fires(const Trigger *trigger)
{
	bool		replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;

	return trigger->tgenabled == TRIGGER_FIRES_ALWAYS ||
		(trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA && replica) ||
		(trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN && !replica);
}

/*
 * Is there exactly one trigger on bank.events that an INSERT would fire, the one
 * that keeps the read models?
 */
static bool
bank_writer_knows_triggers(const TriggerDesc *triggers)
{
	int			applying = 0;
	int			i;

	if (triggers == NULL)
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (!TRIGGER_FOR_INSERT(trigger->tgtype) || !bank_writer_fires(trigger))
			continue;
		if (trigger->tgtype != (TRIGGER_TYPE_AFTER | TRIGGER_TYPE_INSERT) ||
			trigger->tgenabled != TRIGGER_FIRES_ALWAYS || trigger->tgqual != NULL ||
			!bank_writer_is_apply(trigger->tgfoid))
			return false;
		applying++;
	}
	return applying == 1;
}

/* May it be done directly, with this in the way (NULL: nothing)? Raises if it must, but cannot. */
static bool
bank_writer_choose(Relation relation, const char *obstacle)
{
	if (bank_writer == BANK_WRITER_DIRECT && obstacle != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write table \"bank.%s\" directly",
						RelationGetRelationName(relation)),
				 errdetail_internal("%s", obstacle),
				 errhint("Set banking.writer to auto.")));
	return bank_writer != BANK_WRITER_EXECUTOR && obstacle == NULL;
}

/*
 * May rows be inserted into bank.events directly? "plain" says that all its
 * indexes are B-trees on columns. Who does so must call bank_apply_events.
 */
bool
bank_writer_inserts_events(Relation events, bool plain)
{
	const char *obstacle = bank_writer_obstacle(events, &bank_event_shape, ACL_INSERT);

	if (obstacle == NULL && !bank_writer_knows_triggers(events->trigdesc))
		obstacle = "It has triggers of others, or not its own.";
	if (obstacle == NULL && !plain)
		obstacle = "It has an index other than a B-tree on columns.";
	return bank_writer_choose(events, obstacle);
}

/* May rows of bank.accounts be updated directly? */
bool
bank_writer_updates_accounts(Relation accounts)
{
	const char *obstacle = bank_writer_obstacle(accounts, &bank_account_shape, ACL_UPDATE);

	if (obstacle == NULL && accounts->trigdesc != NULL)
		obstacle = "It has triggers.";
	return bank_writer_choose(accounts, obstacle);
}

/* May rows of bank.holds be inserted and updated directly? */
bool
bank_writer_writes_holds(Relation holds)
{
	const char *obstacle = bank_writer_obstacle(holds, &bank_hold_shape, ACL_INSERT);

	if (obstacle == NULL)
		obstacle = bank_writer_obstacle(holds, &bank_hold_shape, ACL_UPDATE);
	if (obstacle == NULL && holds->trigdesc != NULL)
		obstacle = "It has triggers.";
	return bank_writer_choose(holds, obstacle);
}
