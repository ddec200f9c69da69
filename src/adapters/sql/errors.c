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
			 error->detail[0] != '\0' ? errdetail_internal("%s", error->detail) : 0,
			 error->hint[0] != '\0' ? errhint("%s", error->hint) : 0));
}

/* Raise a refusal; does not return. */
void
bank_ereport(const BankError *error)
{
	bank_errsave(NULL, error);
	pg_unreachable();
}
