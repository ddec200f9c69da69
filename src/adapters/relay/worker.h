/*
 * worker.h
 *		The relay's worker, one for each database with a ledger.
 */
#ifndef BANK_RELAY_WORKER_H
#define BANK_RELAY_WORKER_H

#include "adapters/pg_compat.h"

extern PGDLLEXPORT void bank_relay_worker_main(Datum argument);

#endif							/* BANK_RELAY_WORKER_H */
