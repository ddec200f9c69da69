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
#include "adapters/sql/refusal_log.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

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
