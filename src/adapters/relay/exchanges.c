/*
 * exchanges.c
 *		Questions to participants: from a claim to what came of it.
 *
 * One transaction concludes what has ended, claims more, and is committed and flushed
 * before anything of it is sent; nothing is held while a participant is waited for. An
 * answer counts only if it is one of the protocol: anything else says nothing about the
 * transfer, which is asked about again. A conclusion that finds a lock taken stays in
 * memory and is tried again soon.
 *
 * Memory: exchanges in their participant's context, a few kB each, at most BANK_EXCHANGES.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "adapters/store/store.h"
#include "application/transfers.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* When to try again what somebody has locked. */
#define BANK_EXCHANGE_LOCKED (100 * INT64CONST(1000))
/* So many conclusions in a transaction. */
#define BANK_EXCHANGE_PAGE 64

/* Requests under way, exchanges in memory, and answers since the worker started. */
int			bank_exchanges_in_flight = 0;
int			bank_exchanges_total = 0;
uint64		bank_exchanges_answered = 0;

/* Exchanges that have ended and are not concluded. */
static dlist_head bank_exchanges_ended = DLIST_STATIC_INIT(bank_exchanges_ended);

/* Do not try before, as something was locked. */
static TimestampTz bank_exchanges_locked_until = 0;

/* The exchange about this transfer, or NULL. */
BankExchange *
bank_exchange_find(const BankUuid *transfer_id)
{
	dlist_iter	outer;
	dlist_iter	inner;

	dlist_foreach(outer, &bank_participants)
	{
		dlist_foreach(inner, &dlist_container(BankParticipant, node, outer.cur)->exchanges)
		{
			BankExchange *exchange = dlist_container(BankExchange, node, inner.cur);

			if (bank_uuid_equal(&exchange->transfer_id, transfer_id))
				return exchange;
		}
	}
	return NULL;
}

/* Make up the exchange of a claim; attempts counts this one. It is sent after the commit. */
BankExchange *
bank_exchange_make(BankParticipant *participant, const BankTransfer *transfer,
				   BankTransferAction action, int32 attempts)
{
	BankExchange *exchange = MemoryContextAllocZero(participant->context, sizeof(BankExchange));

	exchange->participant = participant;
	exchange->target = participant->target;
	exchange->target->references++;
	exchange->transfer_id = transfer->id;
	exchange->action = action;
	exchange->attempts = attempts;
	bank_uuid_format(&transfer->id, exchange->transfer_text);
	snprintf(exchange->message_id, sizeof(exchange->message_id), "%s_%s",
			 bank_transfer_action_name(action), exchange->transfer_text);
	exchange->header.name = "idempotency-key";
	exchange->header.value = exchange->transfer_text;
	exchange->message.content_type = "application/json";
	exchange->message.body = bank_protocol_request(transfer, action, participant->context,
												   &exchange->message.body_len);
	exchange->message.headers = &exchange->header;
	exchange->message.n_headers = 1;
	exchange->message.answer = exchange->answer;
	exchange->message.answer_size = sizeof(exchange->answer);
	exchange->request.target = &exchange->target->sink_target;
	exchange->request.message_id = exchange->message_id;
	exchange->request.message = &exchange->message;
	dlist_push_tail(&participant->exchanges, &exchange->node);
	participant->n_exchanges++;
	participant->in_flight++;
	bank_exchanges_in_flight++;
	bank_exchanges_total++;
	return exchange;
}

/* It is on its way no longer. */
static void
bank_exchange_landed(BankExchange *exchange)
{
	exchange->participant->in_flight--;
	bank_exchanges_in_flight--;
}

/* Free an exchange; one that is under way is given up. */
void
bank_exchange_free(BankExchange *exchange)
{
	BankParticipant *participant = exchange->participant;

	if (exchange->completed)
		dlist_delete(&exchange->ended_node);
	else
	{
		if (exchange->sent)
			participant->sink->callbacks->cancel(participant->sink->state, &exchange->request);
		bank_exchange_landed(exchange);
	}
	dlist_delete(&exchange->node);
	participant->n_exchanges--;
	bank_exchanges_total--;
	bank_target_release(exchange->target);
	pfree((void *) exchange->message.body);
	pfree(exchange);
}

/* Callback of the sink: a request has ended. */
void
bank_exchanges_complete(BankSinkRequest *request, const BankDelivery *delivery)
{
	BankExchange *exchange = (BankExchange *) request;

	exchange->completed = true;
	exchange->delivery = *delivery;
	bank_exchange_landed(exchange);
	/* those that wait for a lock are behind */
	dlist_push_head(&bank_exchanges_ended, &exchange->ended_node);
	exchange->participant->look = true;
}

/* Send what was claimed; the claims are on disk. */
void
bank_exchanges_send(TimestampTz now pg_attribute_unused())
{
	dlist_iter	outer;
	dlist_iter	inner;

	dlist_foreach(outer, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, outer.cur);

		dlist_foreach(inner, &participant->exchanges)
		{
			BankExchange *exchange = dlist_container(BankExchange, node, inner.cur);
			BankDelivery delivery;

			if (exchange->sent)
				continue;
			exchange->sent = true;
			exchange->generation = bank_breaker_sent(&participant->breaker);
			if (!participant->sink->callbacks->send(participant->sink->state, &exchange->request,
													&delivery))
				bank_exchanges_complete(&exchange->request, &delivery);
		}
	}
	/* another one is the first next time */
	if (!dlist_is_empty(&bank_participants))
		dlist_push_tail(&bank_participants, dlist_pop_head_node(&bank_participants));
}

/* A step: read the answer. */
static bool
bank_exchange_read(void *argument)
{
	BankExchange *exchange = argument;

	bank_protocol_reply(exchange->answer, exchange->message.answer_len, &exchange->transfer_id,
						&exchange->reply);
	return true;
}

/*
 * What an exchange that has ended says about the participant: one that does not answer in the
 * protocol fails as much as one that does not answer at all.
 */
static void
bank_exchange_judge(BankExchange *exchange, TimestampTz now)
{
	BankParticipant *participant = exchange->participant;
	BankDelivery *delivery = &exchange->delivery;
	BankReply  *reply = &exchange->reply;
	bool		failed;

	reply->answer = BANK_ANSWER_NONE;
	if (delivery->verdict == BANK_DELIVERED && delivery->status == 200 &&
		exchange->message.answer_len <= sizeof(exchange->answer))
	{
		if (!bank_step_run(bank_exchange_read, exchange, NULL, &failed) || failed)
			reply->answer = BANK_ANSWER_NONE;
		/* only a status can be unknown: who takes money or cancels knows the transfer then */
		if (reply->answer == BANK_ANSWER_UNKNOWN && exchange->action != BANK_ACTION_STATUS)
			reply->answer = BANK_ANSWER_NONE;
	}
	if (reply->answer == BANK_ANSWER_NONE && delivery->verdict == BANK_DELIVERED)
		snprintf(delivery->error, sizeof(delivery->error), delivery->status == 200 ?
				 "the answer is not one of the protocol" :
				 "an answer of the protocol has status 200, not %d", delivery->status);
	if (reply->answer == BANK_ANSWER_NONE &&
		(delivery->verdict == BANK_DELIVERED || delivery->verdict == BANK_REJECTED))
		delivery->verdict = BANK_UNREACHED;
	if (reply->answer != BANK_ANSWER_NONE)
		delivery->verdict = BANK_DELIVERED;

	(void) bank_breaker_result(&participant->breaker, &participant->breaker_policy,
							   exchange->generation, delivery->verdict, now, &failed);
	participant->progressed = true;
	exchange->judged = true;
	if (reply->answer != BANK_ANSWER_NONE)
	{
		participant->answered++;
		participant->last_answered_at = now;
		bank_exchanges_answered++;
		return;
	}
	participant->failed++;
	if (delivery->error[0] == '\0')
		strlcpy(delivery->error, bank_verdict_name(delivery->verdict), sizeof(delivery->error));
	strlcpy(participant->last_error, delivery->error, sizeof(participant->last_error));
	participant->last_error_at = now;
	if (delivery->verdict == BANK_GONE)
	{
		participant->active = false;
		participant->disable = true;
	}
	if (delivery->verdict == BANK_THROTTLED)
	{
		TimestampTz until = now + bank_retry_delay(&participant->retry, 1, delivery->retry_after,
												   pg_prng_uint64(&pg_global_prng_state));

		participant->throttled_until = Max(participant->throttled_until, until);
	}
}

/* Does the answer decide about the transfer as it is by now? */
static bool
bank_exchange_decides(const BankExchange *exchange, const BankTransfer *transfer)
{
	return bank_transfer_conclude(transfer->state, exchange->action, exchange->reply.answer) !=
		BANK_EVENT_UNKNOWN;
}

/*
 * Have it asked again: at once after "unknown", else after a while. Nothing is written if
 * the transfer is in another state since, or just coming into one: then it is due already.
 */
static void
bank_exchange_ask_again(const BankExchange *exchange, TimestampTz now)
{
	static BankPlan plan = {
		.text = "UPDATE bank.transfer_attempts AS a SET next_attempt_at = $3, absent = $4, "
		"last_status = $5, last_error = $6 "
		"WHERE a.attempts OPERATOR(pg_catalog.=) $2 "
		"AND a.transfer_id OPERATOR(pg_catalog.=) (SELECT l.transfer_id "
		"FROM bank.transfer_attempts AS l WHERE l.transfer_id OPERATOR(pg_catalog.=) $1 "
		"FOR NO KEY UPDATE SKIP LOCKED)",
		.nargs = 6, .types = {UUIDOID, INT4OID, TIMESTAMPTZOID, BOOLOID, INT4OID, TEXTOID}
	};
	const BankParticipant *participant = exchange->participant;
	bool		absent = exchange->reply.answer == BANK_ANSWER_UNKNOWN;
	TimestampTz next = now;
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	if (!absent)
		next = Max(participant->throttled_until,
				   now + bank_retry_delay(&participant->retry, exchange->attempts,
										  exchange->delivery.retry_after,
										  pg_prng_uint64(&pg_global_prng_state)));
	values[0] = bank_uuid_datum(&exchange->transfer_id);
	values[1] = Int32GetDatum(exchange->attempts);
	values[2] = TimestampTzGetDatum(next);
	values[3] = BoolGetDatum(absent);
	values[4] = Int32GetDatum(exchange->delivery.status);
	values[5] = CStringGetTextDatum(exchange->delivery.error);
	nulls[5] = exchange->delivery.error[0] == '\0' ? 'n' : ' ';
	bank_plan_execute(&plan, values, nulls, false);
}

/* What a step needs to know beside the exchange. */
typedef struct BankConclusion
{
	BankExchange *exchange;
	TimestampTz now;
} BankConclusion;

/* A step: conclude one exchange by the state that its transfer is in now. */
static bool
bank_exchange_conclude(void *argument)
{
	BankConclusion *conclusion = argument;
	BankExchange *exchange = conclusion->exchange;
	const BankReply *reply = &exchange->reply;
	BankTransfer transfer;

	if (!bank_store_find_transfer(&exchange->transfer_id, &transfer))
		return true;
	if (bank_exchange_decides(exchange, &transfer))
	{
		bank_session_lock_tables();
		if (!bank_step_lock(&transfer))
			return false;
		/* it may have moved on while we had no lock */
		if (!bank_store_find_transfer(&exchange->transfer_id, &transfer))
			return true;
		if (bank_exchange_decides(exchange, &transfer))
		{
			if (bank_transfers_conclude(&exchange->transfer_id, exchange->action, reply->answer,
										reply->code, reply->reason))
				return true;
			strlcpy(exchange->delivery.error, "the answer could not be carried out here",
					sizeof(exchange->delivery.error));
		}
	}
	bank_exchange_ask_again(exchange, conclusion->now);
	return true;
}

/* A step: after an error of the ledger's own. */
static bool
bank_exchange_put_off(void *argument)
{
	BankConclusion *conclusion = argument;
	BankExchange *exchange = conclusion->exchange;

	strlcpy(exchange->delivery.error, "the answer met an error here, see the server's log",
			sizeof(exchange->delivery.error));
	exchange->reply.answer = BANK_ANSWER_NONE;
	exchange->delivery.retry_after = 60 * USECS_PER_SEC;
	bank_exchange_ask_again(exchange, conclusion->now);
	return true;
}

/* Draw the conclusions of what has ended, and record how the participants have done. */
static void
bank_exchanges_conclude(TimestampTz now)
{
	dlist_mutable_iter iter;
	dlist_iter	recorded;
	int			n = 0;

	dlist_foreach_modify(iter, &bank_exchanges_ended)
	{
		BankExchange *exchange = dlist_container(BankExchange, ended_node, iter.cur);
		BankConclusion conclusion = {exchange, now};
		char		what[80];
		bool		failed;

		if (n++ >= BANK_EXCHANGE_PAGE)
			break;
		if (!exchange->judged)
			bank_exchange_judge(exchange, now);
		snprintf(what, sizeof(what), "transfer %s", exchange->transfer_text);
		if (!bank_step_run(bank_exchange_conclude, &conclusion, what, &failed))
		{
			dlist_delete(&exchange->ended_node);
			dlist_push_tail(&bank_exchanges_ended, &exchange->ended_node);
			bank_exchanges_locked_until = now + BANK_EXCHANGE_LOCKED;
			continue;
		}
		if (failed)
			(void) bank_step_run(bank_exchange_put_off, &conclusion, NULL, &failed);
		exchange->participant->look = true;
		bank_exchange_free(exchange);
	}
	dlist_foreach(recorded, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, recorded.cur);

		if (participant->progressed && !bank_participant_record(participant))
			bank_exchanges_locked_until = now + BANK_EXCHANGE_LOCKED;
	}
}

/* There may be something due that we do not know of: somebody has told us so. */
void
bank_exchanges_look(bool told)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_participants)
		dlist_container(BankParticipant, node, iter.cur)->look |= told;
}

/* Time has passed: breakers and throttles. */
void
bank_exchanges_tick(TimestampTz now)
{
	dlist_iter	iter;

	dlist_foreach(iter, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);

		if (bank_breaker_tick(&participant->breaker, &participant->breaker_policy, now))
			participant->progressed = true;
		if (participant->throttled_until != 0 && participant->throttled_until <= now)
		{
			participant->throttled_until = 0;
			participant->progressed = true;
		}
	}
}

/* Has something ended that can be concluded now? */
static bool
bank_exchanges_have_ended(void)
{
	if (dlist_is_empty(&bank_exchanges_ended))
		return false;
	/* what has just ended need not wait for a lock that another one waits for */
	return !dlist_head_element(BankExchange, ended_node, &bank_exchanges_ended)->judged;
}

/* Is there anything to do for a transaction? */
bool
bank_exchanges_need_transaction(TimestampTz now)
{
	bool		patient = bank_exchanges_locked_until > now;
	dlist_iter	iter;

	if (bank_exchanges_have_ended() || bank_sweeps_due(now) ||
		(!patient && !dlist_is_empty(&bank_exchanges_ended)))
		return true;
	dlist_foreach(iter, &bank_participants)
	{
		const BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);

		if ((participant->progressed && !patient) || bank_claims_wanted(participant, now))
			return true;
	}
	return false;
}

/* Conclude, sweep, claim. True: something is claimed, to be sent when this is on disk. */
bool
bank_exchanges_transact(TimestampTz now)
{
	bool		claimed = false;
	dlist_iter	iter;

	bank_steps_begin();
	bank_exchanges_conclude(now);
	if (bank_sweeps_due(now))
		bank_sweeps_run(now);
	dlist_foreach(iter, &bank_participants)
	{
		BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);

		if (bank_claims_wanted(participant, now))
			claimed |= bank_claims_take(participant, now);
	}
	return claimed;
}

/* The earlier of two moments, of which 0 is none. */
static TimestampTz
bank_exchanges_earlier(TimestampTz a, TimestampTz b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When there is something to do that nobody will tell; 0: never. */
TimestampTz
bank_exchanges_next(TimestampTz now)
{
	TimestampTz next = bank_sweeps_next();
	TimestampTz unlocked = Max(bank_exchanges_locked_until, now);
	dlist_iter	iter;

	if (!dlist_is_empty(&bank_exchanges_ended))
		next = bank_exchanges_earlier(next, unlocked);
	dlist_foreach(iter, &bank_participants)
	{
		const BankParticipant *participant = dlist_container(BankParticipant, node, iter.cur);
		int64		breaker = bank_breaker_next(&participant->breaker,
												&participant->breaker_policy);

		if (participant->progressed)
			next = bank_exchanges_earlier(next, unlocked);
		if (!participant->active || participant->sink == NULL)
			continue;
		if (breaker != PG_INT64_MAX)
			next = bank_exchanges_earlier(next, breaker);
		next = bank_exchanges_earlier(next, participant->throttled_until);
		/* with no room, or not allowed, whatever makes room wakes us */
		if (participant->next_due > now || bank_claims_wanted(participant, now))
			next = bank_exchanges_earlier(next, participant->look ? now : participant->next_due);
	}
	return next;
}
