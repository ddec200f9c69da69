/*
 * feed.h
 *		The feed: committed events in delivery order, from a cursor on.
 */
#ifndef BANK_STORE_FEED_H
#define BANK_STORE_FEED_H

#include "adapters/store/snapshot.h"
#include "domain/error.h"

/* A moment: what a snapshot of one incarnation of the ledger saw. */
typedef struct BankFeedPoint
{
	int64		incarnation;
	const BankSnapshot *snapshot;	/* NULL: saw nothing */
} BankFeedPoint;

/*
 * Read is what "before" saw, and of what "until" saw besides everything up to
 * the position. A plain value; the snapshots are somebody's whom it must not outlive.
 */
typedef struct BankFeedCursor
{
	BankFeedPoint before;
	BankFeedPoint until;
	int64		position;
	bool		exhausted;		/* all that "until" saw is read; not part of the text */
	bool		walking;		/* read in the order of positions; not part of the text */
} BankFeedCursor;

extern void bank_feed_begin(BankFeedCursor *cursor, bool at_end, int64 after_position);
extern bool bank_feed_parse(const char *text, BankFeedCursor *cursor, BankError *error);
extern char *bank_feed_text(const BankFeedCursor *cursor);
extern void bank_feed_flush_events(void);
extern void bank_feed_flush_all(void);
extern int	bank_feed_read(BankFeedCursor *cursor, int64 *positions, int max, BankError *error);

#endif							/* BANK_STORE_FEED_H */
