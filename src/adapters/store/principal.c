/*
 * principal.c
 *		Who is calling: which profile, and which owner's accounts are theirs.
 *
 * Rights are the server's: EXECUTE and SELECT, as bank_grant gives them. A profile is EXECUTE on
 * the function of schema bank with its name, which nobody can call and nobody needs to. What
 * counts is the outer user: the session's, or the one it has SET ROLE to; not the owner of a
 * SECURITY DEFINER function on the way, which would be the ledger's.
 *
 * Nobody becomes more than a customer by what a customer lends: a view or a SECURITY DEFINER
 * function that a customer has made passes the server's checks for whoever uses it, and so do an
 * index or a materialized view of a customer's while the server or a superuser works on it.
 *
 * The owner is the subject of the JSON Web Token that an authenticator has verified, if the
 * session is one of banking.trusted_authenticators: anybody else could claim to be anybody.
 * Else it is the one that the session's role is mapped to.
 *
 * No locks. Memory: the caller's context. Mapped roles are looked up in a BankSession.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/store/principal.h"
#include "adapters/store/store.h"
#include "ports/event_store.h"
#include "ports/principal.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(bank_sql_current_owner);
PG_FUNCTION_INFO_V1(bank_sql_sees_all);

static char *bank_trusted_authenticators = NULL;

/* Claims longer than this many bytes, or with more objects and arrays, are not plain. */
#define BANK_PLAIN_CLAIMS 4096
#define BANK_PLAIN_BRACKETS 32

/* Define the setting. */
void
bank_principal_init(void)
{
	DefineCustomStringVariable("banking.trusted_authenticators",
							   "Roles whose sessions are believed when they say whose token they "
							   "have verified.",
							   "Their request.jwt.claims name the owner. A comma-separated list.",
							   &bank_trusted_authenticators, "", PGC_SIGHUP,
							   GUC_LIST_INPUT | GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

/* Has the role this profile? Superusers and the ledger's owner have all. */
static bool
bank_role_has(Oid role, const char *profile)
{
	oidvector  *none = buildoidvector(NULL, 0);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										   CStringGetDatum(profile), PointerGetDatum(none),
										   ObjectIdGetDatum(get_namespace_oid("bank", false)));

	pfree(none);
	return OidIsValid(function) && bank_may_execute(function, role);
}

/* Is the role a customer's, and not of staff too? */
static bool
bank_role_is_customer(Oid role)
{
	return !bank_role_has(role, "teller") && bank_role_has(role, "customer");
}

/*
 * See ports/principal.h. Where a command is called with the rights of a customer, it is one. So it
 * is in a SECURITY DEFINER function that is called while the server maintains an index or a
 * materialized view: whose rights were lent to it cannot be told there.
 */
bool
bank_principal_is_customer(void)
{
	const int	lent = SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE;
	int			context;
	Oid			caller = bank_session_caller(&context);

	return (context & lent) == lent || bank_role_is_customer(GetOuterUserId()) ||
		(caller != GetOuterUserId() && bank_role_is_customer(caller));
}

/* Has the role itself a right on the function or view of the API with this name? */
static bool
bank_role_may_use(Oid role, text *object)
{
	static BankPlan plan = {
		.text = "SELECT FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_depend AS d "
		"ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass "
		"AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' "
		"LEFT JOIN pg_catalog.pg_class AS c "
		"ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND c.oid OPERATOR(pg_catalog.=) d.objid "
		"LEFT JOIN pg_catalog.pg_proc AS p "
		"ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass "
		"AND p.oid OPERATOR(pg_catalog.=) d.objid "
		"WHERE e.extname OPERATOR(pg_catalog.=) 'banking' "
		"AND CASE WHEN c.relnamespace OPERATOR(pg_catalog.=) e.extnamespace "
		"AND c.relname OPERATOR(pg_catalog.=) $2 "
		"THEN pg_catalog.has_table_privilege($1, c.oid, 'SELECT') "
		"WHEN p.pronamespace OPERATOR(pg_catalog.=) e.extnamespace "
		"AND p.proname OPERATOR(pg_catalog.=) $2 "
		"THEN pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE') END",
		.nargs = 2, .types = {OIDOID, TEXTOID}
	};
	Datum		values[] = {ObjectIdGetDatum(role), PointerGetDatum(object)};
	BankSession session;
	bool		found;

	bank_session_open(&session);
	found = bank_plan_execute(&plan, values, NULL, true) > 0;
	bank_session_close(&session);
	return found;
}

/* Is the role one that reads everything, if it may read at all? */
static bool
bank_role_reads_all(Oid role)
{
	return bank_role_has(role, "teller") || bank_role_has(role, "auditor");
}

/*
 * May the caller read everything that this function or view of the API can show? Whoever has no
 * profile may if the right on it is its own, not lent by somebody's view or function.
 */
static bool
bank_principal_sees_all(text *object)
{
	Oid			role = GetOuterUserId();

	if (InSecurityRestrictedOperation())
	{
		if (InLocalUserIdChange())
			return false;
		role = GetUserId();
	}
	if (!bank_role_reads_all(GetUserId()) && bank_role_has(GetUserId(), "customer"))
		return false;
	return bank_role_reads_all(role) ||
		(!bank_role_has(role, "customer") && bank_role_may_use(role, object));
}

/* Is this session user (NULL: it is no more) a trusted authenticator? */
static bool
bank_principal_trusts(const char *session)
{
	char	   *list = pstrdup(bank_trusted_authenticators);
	List	   *names;
	ListCell   *cell;
	bool		trusted = false;

	if (session != NULL && SplitIdentifierString(list, ',', &names))
	{
		foreach(cell, names)
			trusted |= strcmp(lfirst(cell), session) == 0;
		list_free(names);
	}
	pfree(list);
	return trusted;
}

/* Is the session that of a trusted authenticator? */
static bool
bank_principal_is_trusted(void)
{
	return bank_principal_trusts(GetUserNameFromId(GetSessionUserId(), true));
}

/* What the parser of JSON finds. */
typedef struct BankClaims
{
	JsonLexContext *lex;
	bool		is_object;
	bool		in_subject;		/* the value that comes is that of "sub" at the top */
	char	   *subject;		/* NULL: none, or no string */
} BankClaims;

/* An object begins: is it the whole? */
static BankJsonAction
bank_claims_object(void *state)
{
	BankClaims *claims = state;

	if (claims->lex->lex_level == 0)
		claims->is_object = true;
	BANK_JSON_GO_ON;
}

/* A member of an object: is it the subject? */
static BankJsonAction
bank_claims_member(void *state, char *name, bool isnull pg_attribute_unused())
{
	BankClaims *claims = state;

	claims->in_subject = claims->is_object && claims->lex->lex_level == 1 &&
		strcmp(name, "sub") == 0;
	if (claims->in_subject)
		claims->subject = NULL; /* the last one counts, as in jsonb */
	BANK_JSON_GO_ON;
}

/* A value that is no object and no array. */
static BankJsonAction
bank_claims_scalar(void *state, char *token, JsonTokenType type)
{
	BankClaims *claims = state;

	if (claims->in_subject && claims->lex->lex_level == 1 && type == JSON_TOKEN_STRING)
		claims->subject = token;
	claims->in_subject = false;
	BANK_JSON_GO_ON;
}

/*
 * The subject in the claims, or NULL. What is no JSON object, or has no subject that is a string,
 * is nobody's: never an error.
 */
static const char *
bank_claims_subject(const char *json)
{
	BankClaims	claims = {0};
	JsonSemAction action = {0};

	if (!pg_verifymbstr(json, (int) strlen(json), true))
		return NULL;
	claims.lex = bank_json_lexer(json, strlen(json));
	action.semstate = &claims;
	action.object_start = bank_claims_object;
	action.object_field_start = bank_claims_member;
	action.scalar = bank_claims_scalar;
	return pg_parse_json(claims.lex, &action) == JSON_SUCCESS ? claims.subject : NULL;
}

/* What request.jwt.claims says, or NULL if nobody is trusted with it. */
static const char *
bank_principal_claims(void)
{
	const char *json;

	if (bank_trusted_authenticators == NULL || bank_trusted_authenticators[0] == '\0')
		return NULL;
	json = GetConfigOption("request.jwt.claims", true, false);
	return json != NULL && *json != '\0' ? json : NULL;
}

/* The subject of the token that a trusted authenticator has verified, or NULL. */
const char *
bank_principal_subject(void)
{
	const char *json = bank_principal_claims();

	return json != NULL && bank_principal_is_trusted() ? bank_claims_subject(json) : NULL;
}

/*
 * The same while an error is being handled, when the catalog cannot be asked for the session's
 * user and nothing may raise another error. So claims are left alone that are longer, deeper or
 * more escaped than those of an owner are: the parser recurses, and converts what is escaped.
 */
const char *
bank_principal_plain_subject(const char *session)
{
	const char *json = bank_principal_claims();
	const char *c;
	int			brackets = 0;

	if (json == NULL || strlen(json) > BANK_PLAIN_CLAIMS || !bank_principal_trusts(session))
		return NULL;
	for (c = json; *c != '\0'; c++)
	{
		brackets += *c == '{' || *c == '[';
		if (*c == '\\' || brackets > BANK_PLAIN_BRACKETS)
			return NULL;
	}
	return bank_claims_subject(json);
}

/* The owner that the session's role is mapped to. */
static bool
bank_principal_mapped(BankUuid *owner_id)
{
	static BankPlan plan = {
		.text = "SELECT o.owner_id FROM bank.role_owners AS o "
		"WHERE o.role_name OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {NAMEOID}
	};
	Datum		values[1];
	BankSession session;
	NameData	name;
	char	   *session_user = GetUserNameFromId(GetSessionUserId(), true);
	bool		found;
	bool		isnull;

	if (session_user == NULL)
		return false;
	namestrcpy(&name, session_user);
	values[0] = NameGetDatum(&name);
	bank_session_open(&session);
	found = bank_plan_execute(&plan, values, NULL, true) > 0;
	if (found)
		bank_uuid_from_datum(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										   &isnull), owner_id);
	bank_session_close(&session);
	return found;
}

/* See ports/principal.h. */
bool
bank_principal_owner(BankUuid *owner_id)
{
	const char *subject;

	if (bank_trusted_authenticators != NULL && bank_trusted_authenticators[0] != '\0' &&
		bank_principal_is_trusted())
	{
		subject = bank_principal_subject();
		return subject != NULL && bank_uuid_parse(subject, owner_id);
	}
	return bank_principal_mapped(owner_id);
}

/* See ports/principal.h. */
bool
bank_principal_owns(const BankUuid *owner_id, const BankUuid *account_id)
{
	static BankPlan plan = {
		.text = "SELECT FROM bank.accounts AS a WHERE a.account_id OPERATOR(pg_catalog.=) $1 "
		"AND a.owner_id OPERATOR(pg_catalog.=) $2",
		.nargs = 2, .types = {UUIDOID, UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(account_id), bank_uuid_datum(owner_id)};

	return bank_plan_execute(&plan, values, NULL, false) > 0;
}

/*
 * See ports/principal.h. In a BankSession the current user is the ledger's owner. Neither who calls
 * nor whose rights are used may be another one: a teller lends nobody a command of its own.
 */
bool
bank_principal_is_supervised(void)
{
	int			context;

	return !(has_privs_of_role(GetOuterUserId(), GetUserId()) &&
			 has_privs_of_role(bank_session_caller(&context), GetUserId())) &&
		!bank_principal_is_customer();
}

/*
 * See ports/principal.h. A person is the subject of a verified token, else the owner that the
 * session's role is mapped to, else that role; what the session has SET ROLE to does not matter.
 */
bool
bank_principal_is_another(const BankUuid *request_id)
{
	static BankPlan plan = {
		.text = "SELECT FROM bank.events AS e JOIN bank.actors AS a "
		"ON a.actor_id OPERATOR(pg_catalog.=) e.actor_id "
		"WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 AND e.version OPERATOR(pg_catalog.=) 1 "
		"AND bank.person(a.session_user_name, a.subject) OPERATOR(pg_catalog.<>) "
		"bank.person($2, $3)",
		.nargs = 3, .types = {UUIDOID, TEXTOID, TEXTOID}
	};
	const char *subject = bank_principal_subject();
	char	   *session_user = GetUserNameFromId(GetSessionUserId(), true);
	Datum		values[3];

	/* an authenticator that does not say for whom is nobody in particular */
	if (session_user == NULL || (subject == NULL && bank_principal_is_trusted()))
		return false;
	values[0] = bank_uuid_datum(request_id);
	values[1] = CStringGetTextDatum(session_user);
	/* as much of it as is kept of who has made the request */
	values[2] = subject == NULL ? CStringGetTextDatum("") :
		PointerGetDatum(cstring_to_text_with_len(subject,
												 pg_mbcliplen(subject, (int) strlen(subject),
															  BANK_SUBJECT_TEXT - 1)));
	return bank_plan_execute(&plan, values, NULL, false) > 0;
}

/* See ports/principal.h. */
bool
bank_principal_made(const BankUuid *owner_id, const BankHold *hold)
{
	static BankPlan plan = {
		.text = "SELECT FROM bank.events AS e JOIN bank.actors AS a "
		"ON a.actor_id OPERATOR(pg_catalog.=) e.actor_id "
		"WHERE e.aggregate_id OPERATOR(pg_catalog.=) $1 AND e.version OPERATOR(pg_catalog.=) $2 "
		"AND a.owner_id OPERATOR(pg_catalog.=) $3",
		.nargs = 3, .types = {UUIDOID, INT8OID, UUIDOID}
	};
	Datum		values[] = {bank_uuid_datum(&hold->account_id),
	Int64GetDatum(hold->created_version), bank_uuid_datum(owner_id)};

	return bank_plan_execute(&plan, values, NULL, false) > 0;
}

/* bank_current_owner() */
Datum
bank_sql_current_owner(PG_FUNCTION_ARGS)
{
	BankUuid   *owner_id = palloc(sizeof(BankUuid));

	if (!bank_principal_owner(owner_id))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(bank_uuid_datum(owner_id));
}

/* bank.sees_all(object_name) */
Datum
bank_sql_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(bank_principal_sees_all(PG_GETARG_TEXT_PP(0)));
}
