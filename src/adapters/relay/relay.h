/*
 * relay.h
 *		What the files of the worker share: subscriptions and the events on their way.
 *
 * Everything lives in the worker's own memory and is made again from the tables
 * when it starts. Per subscription there is one context; an item, an event on its way,
 * takes about 250 bytes besides its payload.
 */
#ifndef BANK_RELAY_RELAY_H
#define BANK_RELAY_RELAY_H

#include "adapters/relay/shared.h"
#include "adapters/store/feed.h"
#include "domain/breaker.h"
#include "domain/uuid.h"
#include "ports/event_sink.h"

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "utils/timestamp.h"

/* Events of one subscription in memory; it reads no further when there are so many. */
#define BANK_RELAY_ITEMS 100000
/*
 * When there are twice as many events between the stored cursor and what has been read, nothing
 * more is read until those that are held up have become rows: a page more at most.
 */
#define BANK_RELAY_WINDOW 1000
/* Events read at a time. */
#define BANK_RELAY_PAGE 500
/* Requests under way at a time, over all subscriptions. */
#define BANK_RELAY_IN_FLIGHT 256
/*
 * Requests of a subscription that have ended without that being on disk; when there are so many,
 * nothing more is sent. They and those under way are what a crash has sent again.
 */
#define BANK_RELAY_UNRECORDED 256
/* The largest batch, in events. */
#define BANK_RELAY_BATCH 1000

typedef struct BankItem BankItem;
typedef struct BankSubscription BankSubscription;

/* Two snapshots of the feed, shared by the items that were read between them. */
typedef struct BankPair
{
	int			references;
	BankFeedPoint before;
	BankFeedPoint until;
} BankPair;

/* A place in the queue of an account. */
typedef struct BankLink
{
	struct BankLink *before;
	struct BankLink *after;
	BankItem   *item;
	BankUuid	account_id;
} BankLink;

typedef enum BankItemState
{
	BANK_ITEM_BLOCKED,			/* an earlier event of one of its accounts is not done */
	BANK_ITEM_DELAYED,			/* waits for its next attempt */
	BANK_ITEM_READY,			/* can be sent */
	BANK_ITEM_SENDING,			/* is being sent */
	BANK_ITEM_DONE				/* delivered, or a dead letter */
} BankItemState;

struct BankItem
{
	BankItemState state;
	int			n_links;		/* customers' accounts it belongs to: 0 to 2 */
	int64		position;
	BankUuid	event_id;
	BankLink	links[2];

	char	   *json;			/* NULL: not loaded */
	uint32		json_len;

	int32		attempts;		/* failed ones */
	TimestampTz next_attempt;
	TimestampTz first_attempt;	/* 0: none yet */
	TimestampTz last_attempt;
	char	   *error;			/* of the last attempt, or NULL */
	int			status;			/* of the last attempt */

	bool		queued;			/* are the links in their queues? */
	bool		alone;			/* not to be sent in a batch with others */
	bool		taken;			/* by the request, or the query, that is being made up */
	bool		stored;			/* it has a row in bank.deliveries */
	bool		dead;			/* done, but as a dead letter */
	bool		dirty;			/* its row is to be written or deleted */
	bool		in_order;
	BankPair   *pair;			/* where in the feed it was read; NULL: loaded from its row */

	dlist_node	order_node;		/* in the order of reading, while in_order */
	dlist_node	dirty_node;		/* while dirty */
	union
	{
		dlist_node	ready_node; /* while ready */
		pairingheap_node delay_node;	/* while delayed */
	};
};

/* The queue of an account: its items, by position. */
typedef struct BankQueue
{
	BankUuid	account_id;
	char		status;			/* simplehash's own */
	BankLink   *first;
	BankLink   *last;
} BankQueue;

struct bank_queues_hash;

/* What a subscription says about where to and how; requests under way keep theirs. */
typedef struct BankTarget
{
	int			references;
	MemoryContext context;
	BankSinkTarget sink_target;
} BankTarget;

typedef struct BankRelayRequest
{
	BankSinkRequest request;	/* first */
	BankSubscription *subscription;
	struct BankRelaySink *sink; /* which has it */
	BankTarget *target;
	BankItem  **items;
	BankSinkEvent *events;
	int			n;
	int64		generation;		/* of the breaker */
	uint64		random;			/* for the delay after a failure */
	char		message_id[72];
	bool		completed;
	BankDelivery delivery;
	dlist_node	node;			/* in the subscription's requests */
	dlist_node	completed_node;
} BankRelayRequest;

typedef struct BankRelaySink
{
	char		name[64];
	const BankSinkCallbacks *callbacks;
	void	   *state;
	uint64_t	sockets_version;
	struct BankRelaySink *next;
} BankRelaySink;

typedef struct BankFilter
{
	bool		any;			/* nothing is left out */
	Datum		event_types;	/* text[] of patterns for LIKE, 0: all */
	Datum		account_ids;	/* uuid[], 0: all */
	Datum		owner_ids;		/* uuid[], 0: all */
	Datum		currencies;		/* text[], 0: all */
} BankFilter;

struct BankSubscription
{
	MemoryContext context;
	MemoryContext settings;		/* filter and the like, made anew when they change */
	BankUuid	id;
	char		name[64];
	bool		active;
	bool		seen;			/* for loading: it is still there */
	bool		runnable;		/* its cursor and its sink are good */
	char		sink_name[64];
	BankRelaySink *sink;
	BankTarget *target;
	BankFilter	filter;
	int32		batch_size;
	bool		skip;			/* a failing event lets later ones of its accounts pass */
	BankRetryPolicy retry;
	BankBreakerPolicy breaker_policy;

	int64		revision;		/* of the progress row that all below goes with */
	BankBreaker breaker;
	TimestampTz throttled_until;	/* 0: not */

	BankFeedCursor read;		/* how far the feed is read; snapshots in read_context */
	MemoryContext read_context;
	int64		read_position;	/* highest position read */
	bool		caught_up;		/* the feed had no more when it was last asked */
	int64	   *skip_positions; /* done already though after the stored cursor, ascending */
	int			n_skip;

	struct bank_queues_hash *queues;
	dlist_head	order;			/* read from the feed, from the first that is not done on */
	int			n_order;
	dlist_head	ready;
	int			n_ready;
	pairingheap *delayed;
	dlist_head	dirty;
	dlist_head	requests;
	int			in_flight;
	int			n_items;
	uint64		bytes;			/* of their payloads */

	bool		progressed;		/* the progress row is to be written */
	bool		lazy;			/* something may be written when there is time for it */
	TimestampTz lazy_since;
	int			unrecorded;		/* requests that have ended since it was last written */
	int			unflushed;		/* those that are written, but perhaps not on disk */
	bool		disable;		/* the endpoint is gone: write that */
	int64		delivered;		/* since it was last written */
	int64		failed;
	TimestampTz last_delivered_at;
	TimestampTz last_error_at;
	char		last_error[300];
	bool		complained;		/* about a cursor or sink that is no good, once */

	dlist_node	node;
};

/* queue.c */
extern void bank_queue_init(BankSubscription *sub);
extern BankItem *bank_queue_new_item(BankSubscription *sub);
extern void bank_queue_add(BankSubscription *sub, BankItem *item, TimestampTz now);
extern void bank_queue_wake(BankSubscription *sub, TimestampTz now);
extern TimestampTz bank_queue_next_due(const BankSubscription *sub);
extern bool bank_queue_held_up(BankSubscription *sub, const BankItem *item, TimestampTz now);
extern void bank_queue_retry(BankSubscription *sub, BankItem *item, TimestampTz now);
extern void bank_queue_done(BankSubscription *sub, BankItem *item, TimestampTz now);
extern void bank_queue_set_aside(BankSubscription *sub, BankItem *item, TimestampTz now);
extern int	bank_queue_take(BankSubscription *sub, BankItem **items, int max);
extern void bank_queue_mark(BankSubscription *sub, BankItem *item);
extern void bank_queue_clean(BankSubscription *sub, BankItem *item);
extern void bank_queue_trim(BankSubscription *sub);
extern void bank_queue_set_json(BankSubscription *sub, BankItem *item, const char *json,
								size_t len);
extern void bank_queue_drop_json(BankSubscription *sub, BankItem *item);
extern void bank_queue_drop_payloads(BankSubscription *sub);
extern void bank_pair_release(BankPair *pair);
extern uint64 bank_relay_bytes;

/* targets.c */
#define BANK_MILLISECONDS(column) \
	"(EXTRACT(epoch FROM s." column ") OPERATOR(pg_catalog.*) 1000)::pg_catalog.int4, "
#define BANK_MICROSECONDS(column) \
	"(EXTRACT(epoch FROM s." column ") OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, "

/* The columns of a row that a target is made from; without headers, both are 0. */
typedef struct BankTargetRow
{
	Datum		url;			/* text */
	Datum		header_names;	/* text[] */
	Datum		header_values;	/* text[] */
	Datum		secrets;		/* bytea[], the newest first */
	bool		batch;
	int32		connect_timeout;
	int32		request_timeout;
} BankTargetRow;

extern TimestampTz bank_relay_reload_at;
extern void bank_relay_reload_by(TimestampTz at);
extern BankTarget *bank_target_make(const BankTargetRow *row);
extern void bank_target_release(BankTarget *target);
extern void bank_breaker_load(BankBreaker *breaker, const BankBreakerPolicy *policy, Datum state,
							  bool forced, TimestampTz since, int32 failures, TimestampTz now);

/* subscriptions.c */
extern dlist_head bank_relay_subscriptions;
extern void bank_subscriptions_load(TimestampTz now);
extern void bank_subscription_forget(BankSubscription *sub);

/* reader.c */
extern bool bank_reader_wants(const BankSubscription *sub);
extern bool bank_reader_is_full(void);
extern void bank_reader_read(BankSubscription *sub, TimestampTz now);
extern void bank_reader_load_payloads(BankSubscription *sub, int wanted);
extern void bank_reader_load_stored(BankSubscription *sub, TimestampTz now);

/* recorder.c */
extern bool bank_recorder_record(BankSubscription *sub, TimestampTz now);

/* sender.c */
extern int	bank_sender_in_flight;
extern uint64 bank_sender_delivered;
extern bool bank_sender_is_ahead(const BankSubscription *sub);
extern void bank_sender_send(BankSubscription *sub, TimestampTz now);
extern void bank_sender_complete(BankSinkRequest *request, const BankDelivery *delivery);
extern void bank_sender_finish(TimestampTz now);
extern void bank_sender_cancel_all(BankSubscription *sub);

/* sinks.c */
extern BankRelaySink *bank_sinks_get(const char *name, const char **why);
extern const BankSinkCallbacks *bank_sinks_load(const char *name, const char **why);
extern BankSinkHost bank_sinks_host;
extern BankRelaySink *bank_sinks_all;

/* waiting.c */
extern void bank_waiting_wait(int64 timeout_ms);

#endif							/* BANK_RELAY_RELAY_H */
