/*
 * snapshot.h
 *		Which transactions had been committed at a moment, as a value that can be kept:
 *		what pg_snapshot is, with the text form of pg_snapshot.
 */
#ifndef BANK_STORE_SNAPSHOT_H
#define BANK_STORE_SNAPSHOT_H

#include "access/transam.h"

typedef struct BankSnapshot
{
	uint64		xmin;			/* everything before it had ended */
	uint64		xmax;			/* nothing from it on had */
	int			n;
	uint64	   *running;		/* in between: what had not ended, ascending */
} BankSnapshot;

extern BankSnapshot *bank_snapshot_current(void);
extern BankSnapshot *bank_snapshot_parse(const char *text, size_t len);
extern char *bank_snapshot_text(const BankSnapshot *snapshot);
extern bool bank_snapshot_equal(const BankSnapshot *a, const BankSnapshot *b);
extern bool bank_snapshot_covers(const BankSnapshot *a, const BankSnapshot *b);
extern bool bank_snapshot_runs(const BankSnapshot *snapshot, uint64 xid);

/* Had this transaction ended (and, as its rows are seen, committed)? */
static inline bool
bank_snapshot_sees(const BankSnapshot *snapshot, uint64 xid)
{
	if (xid < snapshot->xmin)
		return true;
	return xid < snapshot->xmax && !bank_snapshot_runs(snapshot, xid);
}

#endif							/* BANK_STORE_SNAPSHOT_H */
