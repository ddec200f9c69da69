/*
 * refusal_log.c
 *		A line in the server's log for what was refused, which no rollback takes back.
 *
 * Three things are refused: a command, by the ledger; an account that a customer asks a query for;
 * and access to a function, view or schema of the ledger, by the server, of which this library
 * learns when the error is about to be logged. Each leaves one line of JSON, with who it was. It
 * has no argument of a command but what the detail says.
 *
 * The hook runs while the server handles an error: no catalog, no lock, nothing that raises an
 * error. What it needs is in memory: settings, and the error itself.
 */
#include "postgres.h"

#include "adapters/sql/errors.h"
#include "adapters/sql/refusal_log.h"

#include "adapters/store/principal.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(bank_sql_log_denied);

static bool bank_log_refusals = true;
static emit_log_hook_type bank_refusal_log_next = NULL;

/* Append a member of the JSON object, unless it is empty. */
static void
bank_log_member(StringInfo json, const char *name, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	escape_json(json, value);
}

/* Begin the JSON object: what was refused, and why. */
static void
bank_log_begin(StringInfo json, const char *event, const char *code, const char *message,
			   const char *detail)
{
	initStringInfo(json);
	appendStringInfoChar(json, '{');
	bank_log_member(json, "event", event);
	bank_log_member(json, "code", code);
	bank_log_member(json, "message", message);
	bank_log_member(json, "detail", detail);
}

/* Add who it was, and write the line. */
static void
bank_log_end(StringInfo json, const char *session_user_name, const char *role, const char *subject)
{
	bank_log_member(json, "session_user", session_user_name);
	bank_log_member(json, "role", role);
	bank_log_member(json, "subject", subject);
	bank_log_member(json, "application_name", GetConfigOption("application_name", true, false));
	appendStringInfoChar(json, '}');
	ereport(LOG_SERVER_ONLY,
			(errmsg_internal("banking refusal: %s", json->data), errhidestmt(true),
			 errhidecontext(true)));
	pfree(json->data);
}

/* A command was refused; of what the caller is not told, the log has the reason. */
void
bank_log_refusal(const BankError *error)
{
	BankErrorCode code = error->hidden != BANK_OK ? error->hidden : error->code;
	StringInfoData json;

	if (!bank_log_refusals)
		return;
	bank_log_begin(&json, "command_refused", bank_error_sqlstate(code), bank_error_message(code),
				   bank_error_text(code == error->code ? error->detail : error->hidden_detail));
	if (code != error->code)
		bank_log_member(&json, "told", bank_error_sqlstate(error->code));
	bank_log_end(&json, GetUserNameFromId(GetSessionUserId(), true),
				 GetUserNameFromId(GetOuterUserId(), true), bank_principal_subject());
}

/*
 * bank.log_denied(account_id, object_name)
 *
 * A customer has asked for an account that it has not; whether there is one, nothing tells.
 */
Datum
bank_sql_log_denied(PG_FUNCTION_ARGS)
{
	char	   *account = DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)));
	char	   *object = text_to_cstring(PG_GETARG_TEXT_PP(1));
	StringInfoData json;

	if (!bank_log_refusals)
		PG_RETURN_VOID();
	bank_log_begin(&json, "access_denied", bank_error_sqlstate(BANK_ACCOUNT_NOT_FOUND),
				   bank_error_message(BANK_ACCOUNT_NOT_FOUND),
				   psprintf("Account: %s (function %s)", account, object));
	bank_log_end(&json, GetUserNameFromId(GetSessionUserId(), true),
				 GetUserNameFromId(GetOuterUserId(), true), bank_principal_subject());
	PG_RETURN_VOID();
}

/*
 * What an error of the server is about, such as "function bank_deposit", if it denies access to
 * something and says nothing else; else NULL. *message is what is said of it. The untranslated
 * message tells the kind of the object; where its name stands in the message, the translation.
 */
static const char *
bank_denied_object(const ErrorData *edata, const char **message)
{
	static const struct
	{
		const char *said;
		const char *before;
	}			denials[] = {{"permission denied", "permission denied for "},
	{"must be owner", "must be owner of "}};
	const char *id = edata->message_id;
	const char *translated;
	const char *place;
	size_t		before;
	size_t		after;
	size_t		len;
	size_t		i;

	if (id == NULL || edata->message == NULL)
		return NULL;
	for (i = 0; i < lengthof(denials); i++)
	{
		before = strlen(denials[i].before);
		if (strncmp(id, denials[i].before, before) == 0)
			break;
	}
	len = strlen(id);
	if (i == lengthof(denials) || strcmp(id + len - 3, " %s") != 0 ||
		strchr(id, '%') != id + len - 2)
		return NULL;
	translated = dgettext(edata->domain, id);
	place = strstr(translated, "%s");
	if (place == NULL)
		return NULL;
	before = (size_t) (place - translated);
	after = strlen(place + 2);
	len = strlen(edata->message);
	if (len < before + after)
		return NULL;
	*message = denials[i].said;
	id += strlen(denials[i].before);
	return psprintf("%.*s%.*s", (int) strlen(id) - 2, id, (int) (len - before - after),
					edata->message + before);
}

/*
 * Is this one of the ledger's? Without the catalog only the name tells, and all of the ledger's
 * that others can name begin so, or stand in schema bank.
 */
static bool
bank_denied_is_ours(const char *object)
{
	const char *name = strrchr(object, ' ') + 1;
	const char *last = strrchr(name, '.');

	return strcmp(object, "schema bank") == 0 || strncmp(name, "bank.", 5) == 0 ||
		strncmp(last != NULL ? last + 1 : name, "bank_", 5) == 0;
}

/* The server is about to log something; if it has denied access to the ledger, say who it was. */
static void
bank_refusal_log_hook(ErrorData *edata)
{
	static bool busy = false;

	if (bank_log_refusals && !busy && edata->elevel == ERROR &&
		edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
	{
		const char *message;
		const char *object = bank_denied_object(edata, &message);

		if (object != NULL && bank_denied_is_ours(object))
		{
			const char *session_user_name = GetConfigOption("session_authorization", true, false);
			const char *role = GetConfigOption("role", true, false);
			StringInfoData json;

			busy = true;
			bank_log_begin(&json, "access_denied", unpack_sql_state(edata->sqlerrcode), message,
						   object);
			bank_log_end(&json, session_user_name,
						 role != NULL && strcmp(role, "none") != 0 ? role : session_user_name,
						 bank_principal_plain_subject(session_user_name));
			busy = false;
		}
	}
	if (bank_refusal_log_next != NULL)
		bank_refusal_log_next(edata);
}

/* Define the setting, and have the server tell what it logs. */
void
bank_refusal_log_init(void)
{
	DefineCustomBoolVariable("banking.log_refusals",
							 "Write a line into the server's log for every refused command and "
							 "every access to the ledger that the server denies.", NULL,
							 &bank_log_refusals, true, PGC_SUSET, 0, NULL, NULL, NULL);
	bank_refusal_log_next = emit_log_hook;
	emit_log_hook = bank_refusal_log_hook;
}
