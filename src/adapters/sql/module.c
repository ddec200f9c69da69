/*
 * module.c
 *		The library's entry point. Works preloaded and loaded on demand.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/shared.h"
#include "adapters/sql/refusal_log.h"
#include "adapters/store/guard.h"
#include "adapters/store/principal.h"
#include "adapters/store/store.h"

#include "fmgr.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

/* Called once per backend when the library is loaded. */
void
_PG_init(void)
{
	bank_guard_init();
	bank_relay_init();
	bank_writer_init();
	bank_principal_init();
	bank_refusal_log_init();
	MarkGUCPrefixReserved("banking");
}
