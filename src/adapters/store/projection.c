/*
 * projection.c
 *		From events to accounts, in memory.
 *
 * Takes events in position order, which is version order along every stream.
 * Locks: none of its own; a load callback may take some. Memory: one entry of
 * sizeof(BankProjected) bytes per account touched, in the context given.
 */
#include "postgres.h"

#include "adapters/store/projection.h"

#include "common/hashfn.h"

#define SH_PREFIX bank_projected
#define SH_ELEMENT_TYPE BankProjected
#define SH_KEY_TYPE BankUuid
#define SH_KEY id
#define SH_HASH_KEY(table, key) hash_bytes((key).bytes, sizeof((key).bytes))
#define SH_EQUAL(table, a, b) bank_uuid_equal(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct BankProjection
{
	bank_projected_hash *accounts;
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

	projection->accounts = bank_projected_create(context, 4, NULL);
	projection->load = load;
	projection->backdated = backdated;
	projection->argument = argument;
	return projection;
}

/* The entry of an account, loaded at first touch; valid until the next call. */
static BankProjected *
bank_projection_touch(BankProjection *projection, const BankUuid *id)
{
	BankProjected *entry = bank_projected_lookup(projection->accounts, *id);
	BankAccount account;
	bool		found;

	if (entry != NULL)
		return entry;
	/* load first: a load that raises must leave no half-made entry */
	if (projection->load == NULL || !projection->load(id, &account))
		memset(&account, 0, sizeof(account));
	entry = bank_projected_insert(projection->accounts, *id, &found);
	entry->dirty = false;
	entry->old_version = account.version;
	entry->account = account;
	return entry;
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
	entry->dirty = true;
	if (projection->backdated != NULL && bank_event_is_movement(event->type) &&
		business_at < latest_before)
	{
		BankBackdated movement;

		movement.account_id = entry->id;
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
	return bank_projected_lookup(projection->accounts, *id);
}

/* See projection.h. */
BankProjected *
bank_projection_next(BankProjection *projection, uint32 *i)
{
	while (*i < projection->accounts->size)
	{
		BankProjected *entry = &projection->accounts->data[(*i)++];

		if (entry->status == bank_projected_SH_IN_USE)
			return entry;
	}
	return NULL;
}

/* How many accounts the events touched. */
uint32
bank_projection_size(const BankProjection *projection)
{
	return projection->accounts->members;
}
