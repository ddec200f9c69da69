/*
 * actor.c
 *		Who has done it: the rows of bank.actors that events point to.
 *
 * An actor is a session user, the subject of a verified token, an application name, and the
 * owner whose customer it was. The same one may have several rows: nobody waits for
 * another session, and none is looked for beyond what the snapshot shows.
 *
 * The last one is remembered, under all that can change while a session lasts: the role can get
 * another name, the ledger be dropped and made again by somebody else. Not beyond the end of a
 * (sub)transaction that may take its row back.
 *
 * No locks. Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/principal.h"
#include "adapters/store/store.h"
#include "ports/principal.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Who it is, in which bank.actors. Texts are "" for none. */
typedef struct BankActor
{
	Oid			table;
	char		session_user[NAMEDATALEN];
	bool		has_owner;
	BankUuid	owner_id;
	char		subject[BANK_SUBJECT_TEXT];
	char		application[NAMEDATALEN];
} BankActor;

static BankActor bank_actor_last;
static int32 bank_actor_last_id = 0;	/* 0: none is remembered */
static bool bank_actor_watching = false;

/* At the end of a transaction that may have taken the row back: forget it. */
static void
bank_actor_at_end(XactEvent event, void *argument pg_attribute_unused())
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		bank_actor_last_id = 0;
}

/* The same for a subtransaction. */
static void
bank_actor_at_subend(SubXactEvent event, SubTransactionId id pg_attribute_unused(),
					 SubTransactionId parent pg_attribute_unused(),
					 void *argument pg_attribute_unused())
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		bank_actor_last_id = 0;
}

/* Fill in who is calling. */
static void
bank_actor_find(BankActor *actor)
{
	const char *subject = bank_principal_subject();
	const char *application = GetConfigOption("application_name", true, false);
	char	   *name = GetUserNameFromId(GetSessionUserId(), true);

	memset(actor, 0, sizeof(*actor));
	actor->table = get_relname_relid("actors", get_namespace_oid("bank", false));
	if (name != NULL)
		strlcpy(actor->session_user, name, sizeof(actor->session_user));
	if (subject != NULL)
		memcpy(actor->subject, subject,
			   pg_mbcliplen(subject, (int) strlen(subject), sizeof(actor->subject) - 1));
	if (application != NULL)
		strlcpy(actor->application, application, sizeof(actor->application));
	if (bank_principal_is_customer())
		actor->has_owner = bank_principal_owner(&actor->owner_id);
}

/* Find or make its row. */
static int32
bank_actor_row(const BankActor *actor)
{
	static BankPlan find = {
		.text = "SELECT a.actor_id FROM bank.actors AS a "
		"WHERE a.session_user_name OPERATOR(pg_catalog.=) $1 "
		"AND a.application_name OPERATOR(pg_catalog.=) $2 "
		"AND a.subject OPERATOR(pg_catalog.=) $3 "
		"AND (a.owner_id OPERATOR(pg_catalog.=) $4 OR (a.owner_id IS NULL AND $4 IS NULL)) "
		"LIMIT 1",
		.nargs = 4, .types = {TEXTOID, TEXTOID, TEXTOID, UUIDOID}
	};
	static BankPlan make = {
		.text = "INSERT INTO bank.actors (session_user_name, application_name, subject, owner_id) "
		"VALUES ($1, $2, $3, $4) RETURNING actor_id",
		.nargs = 4, .types = {TEXTOID, TEXTOID, TEXTOID, UUIDOID}
	};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', actor->has_owner ? ' ' : 'n'};
	int32		id;
	bool		isnull;

	values[0] = CStringGetTextDatum(actor->session_user);
	values[1] = CStringGetTextDatum(actor->application);
	values[2] = CStringGetTextDatum(actor->subject);
	values[3] = bank_uuid_datum(&actor->owner_id);
	if (bank_plan_execute(&find, values, nulls, false) == 0)
		bank_plan_execute(&make, values, nulls, false);
	id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return id;
}

/* Look who is calling now, before events are written. */
void
bank_actor_begin(void)
{
	BankActor	actor;

	bank_actor_find(&actor);
	if (bank_actor_last_id != 0 && memcmp(&actor, &bank_actor_last, sizeof(actor)) == 0)
		return;
	if (!bank_actor_watching)
	{
		RegisterXactCallback(bank_actor_at_end, NULL);
		RegisterSubXactCallback(bank_actor_at_subend, NULL);
		bank_actor_watching = true;
	}
	bank_actor_last_id = bank_actor_row(&actor);
	memcpy(&bank_actor_last, &actor, sizeof(actor));
}

/* The identifier of who is writing events. */
int32
bank_actor_id(void)
{
	return bank_actor_last_id;
}
