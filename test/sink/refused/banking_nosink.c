/*
 * banking_nosink.c
 *		A library of PostgreSQL that is named as a sink is, and is none.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
