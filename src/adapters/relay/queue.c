/*
 * queue.c
 *		The order of delivery: what may be sent now.
 *
 * An event belongs to one or two customers' accounts. It may be sent when it is the first
 * one in the queue of each of them, so that the events of an account arrive one
 * after the other and in order, and different accounts go in parallel. House accounts have
 * no queue: their stripes see the events of many accounts, which need not wait
 * for each other; they are sent in the order of the feed all the same.
 *
 * An event that fails stays at the head of its queues until it is delivered or given up,
 * and what depends on it waits (unless the subscription wants it set aside).
 *
 * Memory: items in the subscription's context. No I/O, no transactions.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#define SH_PREFIX bank_queues
#define SH_ELEMENT_TYPE BankQueue
#define SH_KEY_TYPE BankUuid
#define SH_KEY account_id
#define SH_HASH_KEY(table, key) hash_bytes((key).bytes, sizeof((key).bytes))
#define SH_EQUAL(table, a, b) bank_uuid_equal(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A request that takes longer than this holds up what is behind it. */
#define BANK_QUEUE_SLOW (1 * USECS_PER_SEC)

/* Memory of all payloads. */
uint64		bank_relay_bytes = 0;

/* Order of delayed items: the one due first is the heap's first. */
static int
bank_queue_compare_due(const pairingheap_node *a, const pairingheap_node *b,
					   void *argument pg_attribute_unused())
{
	const BankItem *x = pairingheap_const_container(BankItem, delay_node, a);
	const BankItem *y = pairingheap_const_container(BankItem, delay_node, b);

	if (x->next_attempt != y->next_attempt)
		return x->next_attempt > y->next_attempt ? -1 : 1;
	return x->position > y->position ? -1 : x->position < y->position;
}

/* Prepare the lists of a new subscription, or of one that begins anew. */
void
bank_queue_init(BankSubscription *sub)
{
	MemoryContext caller = MemoryContextSwitchTo(sub->context);

	sub->queues = bank_queues_create(sub->context, 64, NULL);
	sub->delayed = pairingheap_allocate(bank_queue_compare_due, NULL);
	dlist_init(&sub->order);
	dlist_init(&sub->ready);
	dlist_init(&sub->dirty);
	dlist_init(&sub->requests);
	sub->n_order = 0;
	sub->n_ready = 0;
	sub->n_items = 0;
	sub->in_flight = 0;
	MemoryContextSwitchTo(caller);
}

/* An empty item; fill it and hand it to bank_queue_add. */
BankItem *
bank_queue_new_item(BankSubscription *sub)
{
	sub->n_items++;
	return MemoryContextAllocZero(sub->context, sizeof(BankItem));
}

/* Keep a copy of an item's payload. */
void
bank_queue_set_json(BankSubscription *sub, BankItem *item, const char *json, size_t len)
{
	bank_queue_drop_json(sub, item);
	item->json = MemoryContextAlloc(sub->context, len + 1);
	memcpy(item->json, json, len);
	item->json[len] = '\0';
	item->json_len = (uint32) len;
	sub->bytes += len;
	bank_relay_bytes += len;
}

/* Free an item's payload; it can be loaded again. */
void
bank_queue_drop_json(BankSubscription *sub, BankItem *item)
{
	if (item->json == NULL)
		return;
	sub->bytes -= item->json_len;
	bank_relay_bytes -= item->json_len;
	pfree(item->json);
	item->json = NULL;
	item->json_len = 0;
}

/* Free the payloads of all items that are not being sent: nothing will be for a while. */
void
bank_queue_drop_payloads(BankSubscription *sub)
{
	dlist_iter	iter;

	if (sub->bytes == 0)
		return;
	dlist_foreach(iter, &sub->order)
	{
		BankItem   *item = dlist_container(BankItem, order_node, iter.cur);

		if (item->state != BANK_ITEM_SENDING)
			bank_queue_drop_json(sub, item);
	}
	dlist_foreach(iter, &sub->ready)
		bank_queue_drop_json(sub, dlist_container(BankItem, ready_node, iter.cur));
}

/* One item less uses these snapshots. */
void
bank_pair_release(BankPair *pair)
{
	if (pair == NULL || --pair->references > 0)
		return;
	if (pair->before.snapshot != NULL)
		pfree((void *) pair->before.snapshot);
	if (pair->until.snapshot != NULL)
		pfree((void *) pair->until.snapshot);
	pfree(pair);
}

/* Free an item that nothing needs any more. */
static void
bank_queue_free_item(BankSubscription *sub, BankItem *item)
{
	Assert(item->state == BANK_ITEM_DONE && !item->in_order && !item->dirty);
	bank_queue_drop_json(sub, item);
	if (item->error != NULL)
		pfree(item->error);
	pfree(item);
	sub->n_items--;
}

/* Put a link into the queue of its account, behind all with a lower position. */
static void
bank_queue_enter(BankSubscription *sub, BankLink *link)
{
	bool		found;
	BankQueue  *queue = bank_queues_insert(sub->queues, link->account_id, &found);
	BankLink   *before;

	if (!found)
		queue->first = queue->last = NULL;
	for (before = queue->last;
		 before != NULL && before->item->position > link->item->position;)
		before = before->before;
	link->before = before;
	link->after = before != NULL ? before->after : queue->first;
	if (link->before != NULL)
		link->before->after = link;
	else
		queue->first = link;
	if (link->after != NULL)
		link->after->before = link;
	else
		queue->last = link;
}

/* Take a link out of its queue; returns the item that was behind it, or NULL. */
static BankItem *
bank_queue_leave(BankSubscription *sub, BankLink *link)
{
	BankItem   *behind = link->after != NULL ? link->after->item : NULL;
	BankQueue  *queue = bank_queues_lookup(sub->queues, link->account_id);

	if (link->before != NULL)
		link->before->after = link->after;
	else
		queue->first = link->after;
	if (link->after != NULL)
		link->after->before = link->before;
	else
		queue->last = link->before;
	if (queue->first == NULL)
		bank_queues_delete_item(sub->queues, queue);
	link->before = link->after = NULL;
	return behind;
}

/* Take an item out of the list that goes with its state. */
static void
bank_queue_unlist(BankSubscription *sub, BankItem *item)
{
	if (item->state == BANK_ITEM_READY)
	{
		dlist_delete(&item->ready_node);
		sub->n_ready--;
	}
	else if (item->state == BANK_ITEM_DELAYED)
		pairingheap_remove(sub->delayed, &item->delay_node);
	item->state = BANK_ITEM_BLOCKED;
}

/* Find out whether an item that is not being sent is blocked, delayed or ready. */
static void
bank_queue_evaluate(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	int			i;

	if (item->state == BANK_ITEM_SENDING || item->state == BANK_ITEM_DONE)
		return;
	bank_queue_unlist(sub, item);
	for (i = 0; item->queued && i < item->n_links; i++)
	{
		if (item->links[i].before != NULL)
			return;
	}
	if (item->next_attempt > now)
	{
		item->state = BANK_ITEM_DELAYED;
		pairingheap_add(sub->delayed, &item->delay_node);
		return;
	}
	item->state = BANK_ITEM_READY;
	dlist_push_tail(&sub->ready, &item->ready_node);
	sub->n_ready++;
}

/*
 * Add a new item. Read from the feed (pair is set) it goes to the end of the order; a
 * done one is but a mark there.
 */
void
bank_queue_add(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	int			i;

	if (item->pair != NULL)
	{
		item->in_order = true;
		dlist_push_tail(&sub->order, &item->order_node);
		sub->n_order++;
	}
	if (item->state == BANK_ITEM_DONE)
		return;
	item->queued = item->n_links > 0;
	for (i = 0; i < item->n_links; i++)
	{
		BankItem   *behind;

		item->links[i].item = item;
		bank_queue_enter(sub, &item->links[i]);
		behind = item->links[i].after != NULL ? item->links[i].after->item : NULL;
		if (behind != NULL)
			bank_queue_evaluate(sub, behind, now);
	}
	bank_queue_evaluate(sub, item, now);
}

/* Delayed items whose time has come become ready. */
void
bank_queue_wake(BankSubscription *sub, TimestampTz now)
{
	while (!pairingheap_is_empty(sub->delayed))
	{
		BankItem   *item = pairingheap_container(BankItem, delay_node,
												 pairingheap_first(sub->delayed));

		if (item->next_attempt > now)
			break;
		bank_queue_evaluate(sub, item, now);
	}
}

/* When the next delayed item is due; 0: there is none. */
TimestampTz
bank_queue_next_due(const BankSubscription *sub)
{
	if (pairingheap_is_empty(sub->delayed))
		return 0;
	return pairingheap_container(BankItem, delay_node,
								 pairingheap_first(sub->delayed))->next_attempt;
}

/* What an item waits for in the queue of one of its accounts: the first one there, or NULL. */
static const BankItem *
bank_queue_blocker(BankSubscription *sub, const BankLink *link)
{
	if (link->before == NULL)
		return NULL;
	return bank_queues_lookup(sub->queues, link->account_id)->first->item;
}

/*
 * Is an item held up, by a failure or by a request that hangs? Else it is being sent, or only waits
 * for its turn. Looks at what is before it in one queue, what that waits for in its other
 * queue, and so on: positions go down from one to the next, so this ends. What is kept in a row,
 * or is about to be, and still waits was found to be held up: it need not be looked behind.
 */
static bool
bank_queue_item_is_held_up(BankSubscription *sub, const BankItem *item, TimestampTz now)
{
	while (item != NULL)
	{
		const BankItem *blocker = NULL;
		int			i;

		if (item->state == BANK_ITEM_SENDING)
			return now - item->last_attempt >= BANK_QUEUE_SLOW;
		if (item->state != BANK_ITEM_BLOCKED)
			return item->state == BANK_ITEM_DELAYED;
		if (item->stored || item->dirty)
			return true;
		/* as the first one in one queue it waits in the other one only */
		for (i = 0; blocker == NULL && i < item->n_links; i++)
			blocker = bank_queue_blocker(sub, &item->links[i]);
		item = blocker;
	}
	return false;
}

/* The same of an item that may wait in both of its queues. */
bool
bank_queue_held_up(BankSubscription *sub, const BankItem *item, TimestampTz now)
{
	int			i;

	if (item->state != BANK_ITEM_BLOCKED)
		return bank_queue_item_is_held_up(sub, item, now);
	for (i = 0; i < item->n_links; i++)
	{
		if (bank_queue_item_is_held_up(sub, bank_queue_blocker(sub, &item->links[i]), now))
			return true;
	}
	return false;
}

/* Take an item's links out of their queues; what was behind it may go ahead. */
static void
bank_queue_leave_all(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	BankItem   *behind[2];
	int			i;

	if (!item->queued)
		return;
	item->queued = false;
	for (i = 0; i < item->n_links; i++)
		behind[i] = bank_queue_leave(sub, &item->links[i]);
	for (i = 0; i < item->n_links; i++)
	{
		if (behind[i] != NULL)
			bank_queue_evaluate(sub, behind[i], now);
	}
}

/* An item that was sent is to be sent again, at its next_attempt. */
void
bank_queue_retry(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	Assert(item->state == BANK_ITEM_SENDING);
	item->state = BANK_ITEM_BLOCKED;
	bank_queue_evaluate(sub, item, now);
}

/* Let the later events of its accounts pass an item that is to be sent again. */
void
bank_queue_set_aside(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	bank_queue_leave_all(sub, item, now);
}

/* An item is done: delivered, or a dead letter. It may be gone afterwards. */
void
bank_queue_done(BankSubscription *sub, BankItem *item, TimestampTz now)
{
	bank_queue_unlist(sub, item);
	item->state = BANK_ITEM_DONE;
	bank_queue_leave_all(sub, item, now);
	bank_queue_drop_json(sub, item);
	if (item->stored || item->dead)
		bank_queue_mark(sub, item);
	if (item->in_order)
		bank_queue_trim(sub);
	else if (!item->dirty)
		bank_queue_free_item(sub, item);
}

/* The row of an item is to be written, or deleted. */
void
bank_queue_mark(BankSubscription *sub, BankItem *item)
{
	if (item->dirty)
		return;
	item->dirty = true;
	dlist_push_tail(&sub->dirty, &item->dirty_node);
}

/* The row of an item has been written, or deleted. It may be gone afterwards. */
void
bank_queue_clean(BankSubscription *sub, BankItem *item)
{
	dlist_delete(&item->dirty_node);
	item->dirty = false;
	if (item->state == BANK_ITEM_DONE && !item->in_order)
		bank_queue_free_item(sub, item);
}

/*
 * Drop the beginning of the order up to the first item that only this memory knows:
 * up to there the feed is done with, or kept in rows.
 */
void
bank_queue_trim(BankSubscription *sub)
{
	while (!dlist_is_empty(&sub->order))
	{
		BankItem   *item = dlist_head_element(BankItem, order_node, &sub->order);

		/* a row that is still to be written does not count */
		if (item->dirty || (item->state != BANK_ITEM_DONE && !item->stored))
			break;
		dlist_delete(&item->order_node);
		item->in_order = false;
		sub->n_order--;
		bank_pair_release(item->pair);
		item->pair = NULL;
		if (item->state == BANK_ITEM_DONE)
			bank_queue_free_item(sub, item);
	}
}

/* Can this item go into a request with those taken already? All before it are among them. */
static bool
bank_queue_follows(const BankItem *item)
{
	int			i;

	if (item->state != BANK_ITEM_BLOCKED || item->alone || item->json == NULL ||
		item->next_attempt != 0 || !item->queued)
		return false;
	for (i = 0; i < item->n_links; i++)
	{
		const BankLink *before = item->links[i].before;

		if (before != NULL && !before->item->taken)
			return false;
	}
	return true;
}

/* Order of items by position, for qsort. */
static int
bank_queue_compare_position(const void *a, const void *b)
{
	const BankItem *x = *(BankItem *const *) a;
	const BankItem *y = *(BankItem *const *) b;

	return x->position < y->position ? -1 : x->position > y->position;
}

/*
 * Take items for one request: ready ones, with their payloads loaded, and (max > 1) others
 * that may follow them in the same request. They are in the order to send
 * them in, and marked as being sent.
 */
int
bank_queue_take(BankSubscription *sub, BankItem **items, int max)
{
	dlist_mutable_iter iter;
	int			n = 0;
	int			next = 0;
	bool		alone = false;
	int			i;

	dlist_foreach_modify(iter, &sub->ready)
	{
		BankItem   *item = dlist_container(BankItem, ready_node, iter.cur);

		if (n >= max || alone)
			break;
		if (item->json == NULL || (item->alone && n > 0))
			continue;
		alone = item->alone;
		bank_queue_unlist(sub, item);
		item->state = BANK_ITEM_SENDING;
		item->taken = true;
		items[n++] = item;
		/* what is behind them in their queues, and behind that */
		for (; !alone && next < n && n < max; next++)
		{
			for (i = 0; i < items[next]->n_links && n < max; i++)
			{
				const BankLink *after = items[next]->links[i].after;

				if (items[next]->queued && after != NULL && bank_queue_follows(after->item))
				{
					after->item->state = BANK_ITEM_SENDING;
					after->item->taken = true;
					items[n++] = after->item;
				}
			}
		}
	}
	for (i = 0; i < n; i++)
		items[i]->taken = false;
	qsort(items, n, sizeof(BankItem *), bank_queue_compare_position);
	return n;
}
