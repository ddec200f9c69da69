/*
 * sender.c
 *		Requests: from ready events to a sink, and what came of them.
 *
 * Here, and only here, the breaker is asked and told. A sink reports a request's end
 * by bank_sender_complete, at a time of its own; bank_sender_finish then draws the
 * conclusions. Memory: requests in their subscription's context. No transactions.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"

#include "common/cryptohash.h"
#include "common/pg_prng.h"
#include "common/sha2.h"
#include "utils/memutils.h"

#include <inttypes.h>

/* Requests under way, over all subscriptions. */
int			bank_sender_in_flight = 0;
/* Events delivered since the worker started. */
uint64		bank_sender_delivered = 0;

/* Requests that have ended and of which no conclusions are drawn yet. */
static dlist_head bank_sender_completed = DLIST_STATIC_INIT(bank_sender_completed);

/*
 * The identifier of a request, the same for the same events: that of the event, or for a batch
 * one made from all of theirs.
 */
static void
bank_sender_name(BankRelayRequest *request)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *hash;
	int			i;
	char	   *text = request->message_id;

	if (!request->target->sink_target.batch)
	{
		bank_uuid_format(&request->items[0]->event_id, text);
		return;
	}
	hash = pg_cryptohash_create(PG_SHA256);
	if (pg_cryptohash_init(hash) < 0)
		elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(hash));
	for (i = 0; i < request->n; i++)
	{
		if (pg_cryptohash_update(hash, request->items[i]->event_id.bytes, 16) < 0)
			elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(hash));
	}
	if (pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA-256 digest: %s", pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);
	text += snprintf(text, sizeof(request->message_id), "batch_");
	for (i = 0; i < 16; i++)
		text += snprintf(text, 3, "%02x", digest[i]);
}

/* Make up a request of these items. */
static BankRelayRequest *
bank_sender_make(BankSubscription *sub, BankItem **items, int n)
{
	MemoryContext caller = MemoryContextSwitchTo(sub->context);
	BankRelayRequest *request = palloc0(sizeof(BankRelayRequest));
	int			i;

	request->subscription = sub;
	request->sink = sub->sink;
	request->target = sub->target;
	request->target->references++;
	request->n = n;
	request->random = pg_prng_uint64(&pg_global_prng_state);
	request->items = palloc(n * sizeof(BankItem *));
	request->events = palloc0(n * sizeof(BankSinkEvent));
	for (i = 0; i < n; i++)
	{
		char	   *id = palloc(BANK_UUID_TEXT);

		bank_uuid_format(&items[i]->event_id, id);
		request->items[i] = items[i];
		request->events[i].event_id = id;
		request->events[i].json = items[i]->json;
		request->events[i].json_len = items[i]->json_len;
	}
	bank_sender_name(request);
	request->request.target = &request->target->sink_target;
	request->request.message_id = request->message_id;
	request->request.events = request->events;
	request->request.n_events = n;
	MemoryContextSwitchTo(caller);
	return request;
}

/* Free a request that has ended, or was given up. */
static void
bank_sender_free(BankRelayRequest *request)
{
	BankSubscription *sub = request->subscription;
	int			i;

	dlist_delete(&request->node);
	sub->in_flight--;
	bank_sender_in_flight--;
	bank_target_release(request->target);
	for (i = 0; i < request->n; i++)
		pfree((void *) request->events[i].event_id);
	pfree(request->events);
	pfree(request->items);
	pfree(request);
}

/* Callback of the sinks: a request has ended. */
void
bank_sender_complete(BankSinkRequest *sink_request, const BankDelivery *delivery)
{
	BankRelayRequest *request = (BankRelayRequest *) sink_request;

	if (sink_request->message != NULL)
	{
		bank_exchanges_complete(sink_request, delivery);
		return;
	}
	request->completed = true;
	request->delivery = *delivery;
	dlist_push_tail(&bank_sender_completed, &request->completed_node);
}

/*
 * In a half-open state the one event to try with: the one that has failed least, so that a
 * poisonous one does not keep the breaker open. It goes to the front.
 */
static void
bank_sender_choose_probe(BankSubscription *sub)
{
	BankItem   *best = NULL;
	int			looked = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &sub->ready)
	{
		BankItem   *item = dlist_container(BankItem, ready_node, iter.cur);

		if (item->json != NULL && (best == NULL || item->attempts < best->attempts))
			best = item;
		if (++looked >= BANK_RELAY_WINDOW || (best != NULL && best->attempts == 0))
			break;
	}
	if (best != NULL)
		dlist_move_head(&sub->ready, &best->ready_node);
}

/* Have so many requests ended that these must be on disk before more are sent? */
bool
bank_sender_is_ahead(const BankSubscription *sub)
{
	return sub->unrecorded + sub->unflushed >= BANK_RELAY_UNRECORDED;
}

/* Send what may be sent for a subscription now. */
void
bank_sender_send(BankSubscription *sub, TimestampTz now)
{
	BankItem   *items[BANK_RELAY_BATCH];

	if (!sub->active || !sub->runnable || sub->sink == NULL || sub->throttled_until > now)
		return;
	while (sub->n_ready > 0 && bank_sender_in_flight < BANK_RELAY_IN_FLIGHT &&
		   !bank_sender_is_ahead(sub) &&
		   bank_breaker_allows(&sub->breaker, &sub->breaker_policy, sub->in_flight) > 0)
	{
		bool		probe = sub->breaker.state == BANK_BREAKER_HALF_OPEN;
		BankRelayRequest *request;
		BankDelivery delivery;
		int			n;
		int			i;

		if (probe)
			bank_sender_choose_probe(sub);
		/* a batch that is not full waits for the answer to the one before */
		else if (sub->batch_size > 1 && sub->in_flight > 0 && sub->n_ready < sub->batch_size)
			return;
		n = bank_queue_take(sub, items, probe ? 1 : sub->batch_size);
		if (n == 0)
			return;
		request = bank_sender_make(sub, items, n);
		request->generation = bank_breaker_sent(&sub->breaker);
		dlist_push_tail(&sub->requests, &request->node);
		sub->in_flight++;
		bank_sender_in_flight++;
		if (!sub->lazy)
		{
			sub->lazy = true;
			sub->lazy_since = now;
		}
		for (i = 0; i < n; i++)
		{
			items[i]->last_attempt = now;
			if (items[i]->first_attempt == 0)
				items[i]->first_attempt = now;
		}
		if (!sub->sink->callbacks->send(sub->sink->state, &request->request, &delivery))
			bank_sender_complete(&request->request, &delivery);
	}
}

/* Remember what went wrong, for the views. */
static void
bank_sender_note_error(BankSubscription *sub, const BankDelivery *delivery, TimestampTz now)
{
	strlcpy(sub->last_error, delivery->error[0] != '\0' ? delivery->error :
			bank_verdict_name(delivery->verdict), sizeof(sub->last_error));
	sub->last_error_at = now;
}

/*
 * An attempt with an item has failed, and counts: plan the next one, or give it up. The items
 * of one request come back together, so that a batch can be the same again.
 */
static void
bank_sender_failed(BankSubscription *sub, BankItem *item, const BankRelayRequest *request,
				   TimestampTz now)
{
	const BankDelivery *delivery = &request->delivery;

	item->attempts++;
	item->status = delivery->status;
	if (item->error != NULL)
		pfree(item->error);
	item->error = MemoryContextStrdup(sub->context, delivery->error[0] != '\0' ?
									  delivery->error : bank_verdict_name(delivery->verdict));
	bank_queue_mark(sub, item);
	if (item->attempts >= sub->retry.max_attempts)
	{
		item->dead = true;
		bank_queue_done(sub, item, now);
		return;
	}
	item->next_attempt = now + bank_retry_delay(&sub->retry, item->attempts,
												delivery->retry_after, request->random);
	if (sub->skip)
		bank_queue_set_aside(sub, item, now);
	bank_queue_retry(sub, item, now);
}

/* The conclusions for one item of a request. */
static void
bank_sender_conclude(BankSubscription *sub, BankItem *item, const BankRelayRequest *request,
					 bool counts, TimestampTz now)
{
	const BankDelivery *delivery = &request->delivery;

	switch (delivery->verdict)
	{
		case BANK_DELIVERED:
			sub->delivered++;
			bank_sender_delivered++;
			bank_queue_done(sub, item, now);
			return;
		case BANK_REJECTED:
			if (request->n > 1)
			{
				/* which one of the batch it was is found out one by one */
				item->alone = true;
				break;
			}
			sub->failed++;
			bank_sender_failed(sub, item, request, now);
			return;
		case BANK_UNREACHED:
			sub->failed++;
			if (counts)
			{
				bank_sender_failed(sub, item, request, now);
				return;
			}
			break;
		case BANK_THROTTLED:
		case BANK_GONE:
			break;
	}
	bank_queue_retry(sub, item, now);
}

/* Draw the conclusions from one request that has ended. */
static void
bank_sender_finish_one(BankRelayRequest *request, TimestampTz now)
{
	BankSubscription *sub = request->subscription;
	const BankDelivery *delivery = &request->delivery;
	bool		counts;
	int			i;

	(void) bank_breaker_result(&sub->breaker, &sub->breaker_policy, request->generation,
							   delivery->verdict, now, &counts);
	sub->progressed = true;
	sub->unrecorded++;
	if (delivery->verdict == BANK_DELIVERED)
		sub->last_delivered_at = now;
	else
		bank_sender_note_error(sub, delivery, now);
	if (delivery->verdict == BANK_GONE)
	{
		sub->active = false;
		sub->disable = true;
	}
	if (delivery->verdict == BANK_THROTTLED)
	{
		TimestampTz until = now + bank_retry_delay(&sub->retry, 1, delivery->retry_after,
												   request->random);

		sub->throttled_until = Max(sub->throttled_until, until);
	}
	for (i = 0; i < request->n; i++)
		bank_sender_conclude(sub, request->items[i], request, counts, now);
	bank_sender_free(request);
}

/* Draw the conclusions from all requests that have ended. */
void
bank_sender_finish(TimestampTz now)
{
	while (!dlist_is_empty(&bank_sender_completed))
	{
		BankRelayRequest *request = dlist_container(BankRelayRequest, completed_node,
													dlist_pop_head_node(&bank_sender_completed));

		bank_sender_finish_one(request, now);
	}
}

/* Give up all requests of a subscription; nothing is concluded about their events. */
void
bank_sender_cancel_all(BankSubscription *sub)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &sub->requests)
	{
		BankRelayRequest *request = dlist_container(BankRelayRequest, node, iter.cur);

		if (request->completed)
			dlist_delete(&request->completed_node);
		else
			request->sink->callbacks->cancel(request->sink->state, &request->request);
		bank_sender_free(request);
	}
}
