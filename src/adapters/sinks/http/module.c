/*
 * module.c
 *		The library banking_http: the sink "http", see ports/event_sink.h.
 *
 * A library of its own, so that only who delivers loads libcurl. This is the only file
 * of it that knows PostgreSQL.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/sinks/http/http_sink.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT const BankSinkCallbacks *bank_sink_init(void);

/* BankSinkInit */
const BankSinkCallbacks *
bank_sink_init(void)
{
	return bank_http_callbacks();
}
