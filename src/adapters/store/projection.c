/*
 * projection.c
 *		From events to accounts, holds and cases, in memory.
 *
 * Takes events in position order, which is version order along every stream.
 * Locks: none of its own; a load callback may take some. Memory, in the
 * context given: about sizeof(BankProjected) + 64 bytes per account touched, and
 * sizeof(BankProjectedHold) + 64 bytes per hold.
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

/* The same for holds. */
typedef struct BankProjectedHoldSlot
{
	BankUuid	id;
	char		status;			/* simplehash's own */
	BankProjectedHold *projected;
} BankProjectedHoldSlot;

#define SH_PREFIX bank_projected_holds
#define SH_ELEMENT_TYPE BankProjectedHoldSlot
#define SH_KEY_TYPE BankUuid
#define SH_KEY id
#define SH_HASH_KEY(table, key) bank_uuid_hash(&(key))
#define SH_EQUAL(table, a, b) bank_uuid_equal(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The same for cases. */
typedef struct BankProjectedCaseSlot
{
	BankUuid	id;
	char		status;			/* simplehash's own */
	BankProjectedCase *projected;
} BankProjectedCaseSlot;

#define SH_PREFIX bank_projected_cases
#define SH_ELEMENT_TYPE BankProjectedCaseSlot
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
	bank_projected_holds_hash *holds;	/* NULL: no event was about one */
	BankProjectedHold *first_hold;
	BankProjectedHold *last_hold;
	bank_projected_cases_hash *cases;	/* NULL: no event was about one */
	BankProjectedCase *first_case;
	BankProjectedCase *last_case;
	const BankProjectionStored *stored;	/* NULL: there is nothing */
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

/* Where to look for holds and cases that none of the events has made. */
void
bank_projection_stored(BankProjection *projection, const BankProjectionStored *stored)
{
	projection->stored = stored;
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
	entry->open = NULL;
	entry->n_holds = 0;
	entry->next = NULL;
	if (projection->last == NULL)
		projection->first = entry;
	else
		projection->last->next = entry;
	projection->last = entry;
	bank_projected_insert(projection->slots, *id, &found)->projected = entry;
	return entry;
}

/* Order of open holds in their account's heap, the one that expires first on top. */
static int
bank_projected_hold_compare(const pairingheap_node *a, const pairingheap_node *b,
							void *argument pg_attribute_unused())
{
	const BankProjectedHold *x = pairingheap_const_container(BankProjectedHold, node, a);
	const BankProjectedHold *y = pairingheap_const_container(BankProjectedHold, node, b);

	return (x->hold.expires_at < y->hold.expires_at) - (x->hold.expires_at > y->hold.expires_at);
}

/* Put an open hold into its account's heap. */
static void
bank_projection_add_open(BankProjection *projection, BankProjectedHold *entry)
{
	if (entry->owner->open == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(projection->context);

		entry->owner->open = pairingheap_allocate(bank_projected_hold_compare, NULL);
		MemoryContextSwitchTo(caller);
	}
	pairingheap_add(entry->owner->open, &entry->node);
}

/* The entry of a hold, loaded at first touch unless an event makes it. */
static BankProjectedHold *
bank_projection_touch_hold(BankProjection *projection, const BankEvent *event,
						   BankProjected *owner)
{
	BankProjectedHold *entry = bank_projection_find_hold(projection, &event->hold_id);
	bool		found;

	if (entry != NULL)
		return entry;
	if (projection->holds == NULL)
		projection->holds = bank_projected_holds_create(projection->context, BANK_CHUNK_FIRST,
														NULL);
	entry = MemoryContextAllocZero(projection->context, sizeof(BankProjectedHold));
	entry->stored = event->type != BANK_EVENT_HOLD_CREATED && projection->stored != NULL &&
		projection->stored->find(&event->hold_id, &entry->hold);
	if (!entry->stored)
	{
		entry->hold.id = event->hold_id;
		entry->hold.status = BANK_HOLD_UNKNOWN;
	}
	entry->owner = owner;
	owner->n_holds++;
	if (projection->last_hold == NULL)
		projection->first_hold = entry;
	else
		projection->last_hold->next = entry;
	projection->last_hold = entry;
	bank_projected_holds_insert(projection->holds, event->hold_id, &found)->projected = entry;
	if (entry->hold.status == BANK_HOLD_OPEN)
		bank_projection_add_open(projection, entry);
	return entry;
}

/* When the first of an account's open holds expires: among those touched, and the stored others. */
static int64_t
bank_projection_next_expiry(BankProjection *projection, BankProjected *owner)
{
	int64_t		next = BANK_NO_EXPIRY;
	BankUuid   *ids;
	int64_t    *expiries;
	int			n;
	int			i;

	if (owner->account.held == 0)
		return BANK_NO_EXPIRY;
	if (owner->open != NULL && !pairingheap_is_empty(owner->open))
		next = pairingheap_container(BankProjectedHold, node,
									 pairingheap_first(owner->open))->hold.expires_at;
	if (projection->stored == NULL)
		return next;
	/* one more than those touched: then one of them is another */
	ids = palloc((owner->n_holds + 1) * sizeof(BankUuid));
	expiries = palloc((owner->n_holds + 1) * sizeof(int64_t));
	n = projection->stored->open(&owner->account.id, owner->n_holds + 1, ids, expiries);
	for (i = 0; i < n; i++)
	{
		if (bank_projection_find_hold(projection, &ids[i]) == NULL)
		{
			next = Min(next, expiries[i]);
			break;
		}
	}
	pfree(ids);
	pfree(expiries);
	return next;
}

/* The entry of a case, loaded at first touch. */
static BankProjectedCase *
bank_projection_touch_case(BankProjection *projection, BankCaseKind kind, const BankUuid *id)
{
	BankProjectedCase *entry = bank_projection_find_case(projection, id);
	bool		found;

	if (entry != NULL)
		return entry;
	if (projection->cases == NULL)
		projection->cases = bank_projected_cases_create(projection->context,
																BANK_CHUNK_FIRST, NULL);
	entry = MemoryContextAllocZero(projection->context, sizeof(BankProjectedCase));
	if (projection->stored == NULL || !projection->stored->find_case(kind, id, &entry->state))
		bank_case_new(kind, id, &entry->state);
	entry->old_version = bank_case_version(&entry->state);
	if (projection->last_case == NULL)
		projection->first_case = entry;
	else
		projection->last_case->next = entry;
	projection->last_case = entry;
	bank_projected_cases_insert(projection->cases, *id, &found)->projected = entry;
	return entry;
}

/* A hold that does not expire is made for a transfer that was initiated just before. */
static bool
bank_projection_fits_transfer(BankProjection *projection, const BankEvent *event)
{
	const BankProjectedCase *entry;
	const BankTransfer *transfer;
	BankCase	stored;

	if (event->type != BANK_EVENT_HOLD_CREATED || event->expires_at != BANK_NO_EXPIRY)
		return true;
	entry = bank_projection_find_case(projection, &event->hold_id);
	transfer = entry != NULL ? &entry->state.of.transfer : &stored.of.transfer;
	if (entry == NULL && (projection->stored == NULL ||
						  !projection->stored->find_case(BANK_CASE_TRANSFER, &event->hold_id,
														&stored)))
		return false;
	if (entry != NULL && entry->state.kind != BANK_CASE_TRANSFER)
		return false;
	return transfer->state == BANK_TRANSFER_INITIATED && transfer->amount == event->amount &&
		memcmp(transfer->currency, event->currency, 3) == 0 &&
		bank_uuid_equal(&transfer->account_id, &event->aggregate_id);
}

/* Check an event against its hold, its account being as before it; apply it to the hold. */
static unsigned
bank_projection_hold(BankProjection *projection, const BankEvent *event, BankProjected *account)
{
	BankProjectedHold *entry = bank_projection_touch_hold(projection, event, account);
	unsigned	flaws = bank_hold_check(&entry->hold, &account->account, event);

	if (!bank_projection_fits_transfer(projection, event))
		flaws |= BANK_FLAW_HOLD;

	if (entry->hold.status == BANK_HOLD_OPEN)
		pairingheap_remove(entry->owner->open, &entry->node);
	bank_hold_apply(&entry->hold, event);
	if (entry->hold.status == BANK_HOLD_OPEN)
		bank_projection_add_open(projection, entry);
	return flaws;
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
	int64_t		held_before = entry->account.held;
	int64_t		business_at = bank_event_business_time(event);
	unsigned	flaws = bank_account_check(&entry->account, event, as_peer);
	bool		is_hold = !as_peer && bank_event_is_hold(event->type);

	if (is_hold)
		flaws |= bank_projection_hold(projection, event, entry);
	bank_account_apply(&entry->account, event, as_peer);
	if (is_hold && event->type != BANK_EVENT_HOLD_CREATED)
		entry->account.next_expiry = bank_projection_next_expiry(projection, entry);
	if (projection->backdated != NULL && bank_event_has_amount(event->type) &&
		business_at < latest_before && event->amount > 0)
	{
		BankBackdated movement;

		movement.account_id = entry->account.id;
		movement.version = entry->account.version;
		movement.business_at = business_at;
		movement.latest_before = latest_before;
		movement.amount = !bank_event_is_movement(event->type) ? 0 :
			bank_event_debits_aggregate(event->type) == as_peer ? event->amount : -event->amount;
		movement.held = entry->account.held - held_before;
		projection->backdated(&movement, projection->argument);
	}
	return flaws;
}

/*
 * Check an event and apply it to its accounts, or its case. Returns 0, or the BankFlaw bits
 * of the first side that is flawed, with *flawed its account; a flawed event is
 * applied all the same, see bank_account_apply.
 */
unsigned
bank_projection_add(BankProjection *projection, const BankEvent *event, const BankUuid **flawed)
{
	unsigned	flaws;

	*flawed = &event->aggregate_id;
	if (bank_event_is_case(event->type))
	{
		BankCase   *touched = &bank_projection_touch_case(projection, bank_case_kind(event->type),
															&event->aggregate_id)->state;

		flaws = bank_case_check(touched, event);
		bank_case_apply(touched, event);
		return flaws;
	}
	flaws = bank_projection_side(projection, event, false);
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

/* The entry of a hold, or NULL when no event touched it. */
BankProjectedHold *
bank_projection_find_hold(BankProjection *projection, const BankUuid *id)
{
	BankProjectedHoldSlot *slot = projection->holds == NULL ? NULL :
		bank_projected_holds_lookup(projection->holds, *id);

	return slot == NULL ? NULL : slot->projected;
}

/* The entry of a case, or NULL when no event touched it. */
BankProjectedCase *
bank_projection_find_case(BankProjection *projection, const BankUuid *id)
{
	BankProjectedCaseSlot *slot = projection->cases == NULL ? NULL :
		bank_projected_cases_lookup(projection->cases, *id);

	return slot == NULL ? NULL : slot->projected;
}

/* See projection.h. */
BankProjectedCase *
bank_projection_first_case(const BankProjection *projection)
{
	return projection->first_case;
}

/* See projection.h. */
BankProjectedHold *
bank_projection_first_hold(const BankProjection *projection)
{
	return projection->first_hold;
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
