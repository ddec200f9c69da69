/*
 * projection.c
 *		From events to accounts, in memory.
 *
 * Takes events in position order, which is version order along every stream.
 * Locks: none of its own; a load callback may take some. Memory, in the
 * context given: about sizeof(BankProjected) + 64 bytes per account touched.
 */
#include "postgres.h"

#include "adapters/store/projection.h"
#include "adapters/store/store.h"

/* The hash table points to the accounts, which stay where they are. */
typedef struct BankProjectedSlot
{
	BankUuid	id;
	char		status;			/* simplehash's own */
	BankProjected *projected;
} BankProjectedSlot;

#define SH_PREFIX bank_projected
#define SH_ELEMENT_TYPE BankProjectedSlot
#define SH_KEY_TYPE BankUuid
#define SH_KEY id
#define SH_HASH_KEY(table, key) bank_uuid_hash(&(key))
#define SH_EQUAL(table, a, b) bank_uuid_equal(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Accounts are allocated in chunks that grow to this many. */
#define BANK_CHUNK_FIRST 4
#define BANK_CHUNK_MAX 1024

struct BankProjection
{
	MemoryContext context;
	bank_projected_hash *slots;
	BankProjected *first;
	BankProjected *last;
	BankProjected *chunk;		/* free accounts of the last chunk */
	uint32		chunk_size;
	uint32		chunk_used;
	BankProjectionLoad load;
	BankProjectionBackdated backdated;
	void	   *argument;
};

/* An empty projection in this context; load may be NULL (everything is new), backdated too. */
BankProjection *
bank_projection_create(MemoryContext context, BankProjectionLoad load,
					   BankProjectionBackdated backdated, void *argument)
{
	BankProjection *projection = MemoryContextAllocZero(context, sizeof(BankProjection));

	projection->context = context;
	projection->slots = bank_projected_create(context, BANK_CHUNK_FIRST, NULL);
	projection->load = load;
	projection->backdated = backdated;
	projection->argument = argument;
	return projection;
}

/* Room for one more account; it stays where it is as long as the context lives. */
static BankProjected *
bank_projection_allocate(BankProjection *projection)
{
	if (projection->chunk_used == projection->chunk_size)
	{
		uint32		size = Min(projection->chunk_size * 2, BANK_CHUNK_MAX);

		size = Max(size, BANK_CHUNK_FIRST);
		projection->chunk = MemoryContextAlloc(projection->context,
											   size * sizeof(BankProjected));
		projection->chunk_size = size;
		projection->chunk_used = 0;
	}
	return &projection->chunk[projection->chunk_used++];
}

/* The entry of an account, loaded at first touch. */
static BankProjected *
bank_projection_touch(BankProjection *projection, const BankUuid *id)
{
	BankProjectedSlot *slot = bank_projected_lookup(projection->slots, *id);
	BankProjected *entry;
	BankAccount account;
	bool		found;

	if (slot != NULL)
		return slot->projected;
	/* load first: a load that raises must leave no half-made entry */
	if (projection->load == NULL || !projection->load(id, &account))
	{
		memset(&account, 0, sizeof(account));
		account.id = *id;
	}
	entry = bank_projection_allocate(projection);
	entry->seen = false;
	entry->old_version = account.version;
	entry->account = account;
	entry->next = NULL;
	if (projection->last == NULL)
		projection->first = entry;
	else
		projection->last->next = entry;
	projection->last = entry;
	bank_projected_insert(projection->slots, *id, &found)->projected = entry;
	return entry;
}

/* Load an account before any event touches it. */
void
bank_projection_load(BankProjection *projection, const BankUuid *id)
{
	(void) bank_projection_touch(projection, id);
}

/* Check and apply an event on one of its two streams; returns BankFlaw bits. */
static unsigned
bank_projection_side(BankProjection *projection, const BankEvent *event, bool as_peer)
{
	BankProjected *entry = bank_projection_touch(projection, as_peer ? &event->peer_id :
												 &event->aggregate_id);
	int64_t		latest_before = entry->account.business_at;
	int64_t		business_at = bank_event_business_time(event);
	unsigned	flaws = bank_account_check(&entry->account, event, as_peer);

	bank_account_apply(&entry->account, event, as_peer);
	if (projection->backdated != NULL && bank_event_is_movement(event->type) &&
		business_at < latest_before && event->amount > 0)
	{
		BankBackdated movement;

		movement.account_id = entry->account.id;
		movement.version = entry->account.version;
		movement.business_at = business_at;
		movement.latest_before = latest_before;
		movement.amount = bank_event_debits_aggregate(event->type) == as_peer ? event->amount :
			-event->amount;
		projection->backdated(&movement, projection->argument);
	}
	return flaws;
}

/*
 * Check an event and apply it to its accounts. Returns 0, or the BankFlaw bits
 * of the first side that is flawed, with *flawed its account; a flawed event is
 * applied all the same, see bank_account_apply.
 */
unsigned
bank_projection_add(BankProjection *projection, const BankEvent *event, const BankUuid **flawed)
{
	unsigned	flaws = bank_projection_side(projection, event, false);

	*flawed = &event->aggregate_id;
	if (event->has_peer)
	{
		unsigned	peer_flaws = bank_projection_side(projection, event, true);

		if (flaws == 0)
			*flawed = &event->peer_id;
		flaws |= peer_flaws;
	}
	return flaws;
}

/* The entry of an account, or NULL when no event touched it. */
BankProjected *
bank_projection_find(BankProjection *projection, const BankUuid *id)
{
	BankProjectedSlot *slot = bank_projected_lookup(projection->slots, *id);

	return slot == NULL ? NULL : slot->projected;
}

/* See projection.h. */
BankProjected *
bank_projection_first(const BankProjection *projection)
{
	return projection->first;
}

/* How many accounts the events touched. */
uint32
bank_projection_size(const BankProjection *projection)
{
	return projection->slots->members;
}
