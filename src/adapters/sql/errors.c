/*
 * errors.c
 *		From the domain's refusals to the server's errors.
 *
 * The domain says what is wrong (BankError), this file raises it. SQLSTATE and
 * primary message are the domain's own list, shown untranslated: clients and
 * documentation rely on them.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/sql/errors.h"

#include "adapters/store/principal.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

static bool bank_log_refusals = true;

/* Define the setting. */
void
bank_errors_init(void)
{
	DefineCustomBoolVariable("banking.log_refusals",
							 "Write a line into the server's log for every refused command.", NULL,
							 &bank_log_refusals, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Append a member of the JSON object, unless it is empty. */
static void
bank_log_member(StringInfo json, const char *name, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	escape_json(json, value);
}

/*
 * Leave a trace of a refusal that survives what the refusal takes back: one line of JSON in the
 * server's log. It has no argument of the command but what the detail says.
 */
void
bank_log_refusal(const BankError *error)
{
	StringInfoData json;

	if (!bank_log_refusals)
		return;
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	bank_log_member(&json, "event", "command_refused");
	bank_log_member(&json, "code", bank_error_sqlstate(error->code));
	bank_log_member(&json, "message", bank_error_message(error->code));
	bank_log_member(&json, "detail", bank_error_text(error->detail));
	bank_log_member(&json, "session_user", GetUserNameFromId(GetSessionUserId(), true));
	bank_log_member(&json, "role", GetUserNameFromId(GetOuterUserId(), true));
	bank_log_member(&json, "subject", bank_principal_subject());
	bank_log_member(&json, "application_name", GetConfigOption("application_name", true, false));
	appendStringInfoChar(&json, '}');
	ereport(LOG_SERVER_ONLY,
			(errmsg("banking refusal: %s", json.data), errhidestmt(true), errhidecontext(true)));
	pfree(json.data);
}

/*
 * A text of the domain without the half of a character that its fixed array may
 * have cut at the end.
 */
const char *
bank_error_text(const char *text)
{
	int			len = (int) strlen(text);

	return pnstrdup(text, pg_mbcliplen(text, len, len));
}

/*
 * Report a refusal to the context of a soft error, if that is one (servers from
 * 16 on), and return; raise it otherwise. The caller returns something arbitrary
 * afterwards.
 */
void
bank_errsave(struct Node *context, const BankError *error)
{
	const char *sqlstate = bank_error_sqlstate(error->code);

	errsave(context,
			(errcode(MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3],
								   sqlstate[4])),
			 errmsg_internal("%s", bank_error_message(error->code)),
			 error->detail[0] != '\0' ?
			 errdetail_internal("%s", bank_error_text(error->detail)) : 0,
			 error->hint[0] != '\0' ? errhint("%s", bank_error_text(error->hint)) : 0));
}

/* Raise a refusal; does not return. */
void
bank_ereport(const BankError *error)
{
	bank_log_refusal(error);
	bank_errsave(NULL, error);
	pg_unreachable();
}
