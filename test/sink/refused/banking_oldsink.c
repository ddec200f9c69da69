/*
 * banking_oldsink.c
 *		A sink that was made for another version of the relay. Nothing but its version may be
 *		looked at: it has no callbacks.
 */
#include "postgres.h"

#include "fmgr.h"
#include "ports/event_sink.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT const BankSinkCallbacks *bank_sink_init(void);

/* The one symbol that leaves the library. */
const BankSinkCallbacks *
bank_sink_init(void)
{
	static const BankSinkCallbacks callbacks = {.version = BANK_SINK_VERSION + 1};

	return &callbacks;
}
