/*
 * event_sink.h
 *		Port: a sink, the place where the relay delivers events, or asks another ledger.
 *
 * A sink is a library named "banking_<name>" that exports bank_sink_init(), which
 * returns its callbacks; the relay loads it by that name when a subscription asks
 * for it (as archive modules are loaded). HTTP is the sink "http", in
 * adapters/sinks/http; test/sink has a sample.
 *
 * The relay owns everything else: which events, in which order, how often, the
 * breaker. A sink sends one request and says what became of it.
 *
 * Rules for a sink. All callbacks run in the worker's only thread, except check(),
 * which runs in whatever backend calls bank_subscribe(). None may block, raise a
 * PostgreSQL error, start a transaction or keep a pointer into a request after
 * it has completed. Threads that a library starts must have all signals blocked.
 * Exactly one complete() for every request that send() took, only from within run();
 * none after cancel(). complete() may call send() and cancel(). The text of a failed
 * delivery goes into a table: one line of printable ASCII. Times are milliseconds.
 */
#ifndef BANK_PORTS_EVENT_SINK_H
#define BANK_PORTS_EVENT_SINK_H

#include "domain/delivery.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rises when a callback or a struct below changes; the relay refuses another one's sink. */
#define BANK_SINK_VERSION 2

typedef struct BankSinkHeader
{
	const char *name;
	const char *value;
} BankSinkHeader;

typedef struct BankSinkSecret
{
	const uint8_t *bytes;
	size_t		len;
} BankSinkSecret;

/* Where to and how: what a subscription says. Unchanged while requests to it are under way. */
typedef struct BankSinkTarget
{
	const char *url;
	const BankSinkHeader *headers;
	int			n_headers;
	const BankSinkSecret *secrets;	/* sign with each of them, the newest first */
	int			n_secrets;
	bool		batch;			/* requests carry arrays of events */
	int32_t		connect_timeout;
	int32_t		request_timeout;	/* for all of it, connecting included */
} BankSinkTarget;

/* One event, as a CloudEvents 1.0 JSON object in UTF-8. */
typedef struct BankSinkEvent
{
	const char *event_id;		/* its "id": text of a UUID */
	const char *json;
	size_t		json_len;
} BankSinkEvent;

/*
 * Something else than events, sent as it is, whose answer matters. A sink that can
 * only deliver events rejects it.
 */
typedef struct BankSinkMessage
{
	const char *content_type;
	const char *body;
	size_t		body_len;
	const BankSinkHeader *headers;	/* besides those of the target */
	int			n_headers;
	char	   *answer;			/* room for the beginning of the answer's body */
	size_t		answer_size;
	size_t		answer_len;		/* length of that body, set before the end is told; may be more */
} BankSinkMessage;

typedef struct BankSinkRequest
{
	const BankSinkTarget *target;
	const char *message_id;		/* the same in every attempt with these events */
	BankSinkMessage *message;	/* NULL: events */
	const BankSinkEvent *events;
	int			n_events;		/* 1 unless target->batch; 0 with a message */
	void	   *sink_data;		/* for the sink's use */
} BankSinkRequest;

/* What a sink may ask of whom it works for. */
typedef struct BankSinkHost
{
	bool		allow_private;	/* banking.allow_private_endpoints; may change at any time */

	/* A request has ended. "delivery" is copied. */
	void		(*complete) (BankSinkRequest *request, const BankDelivery *delivery);
	/* The current time, microseconds since 1970-01-01 00:00 UTC. */
	int64_t		(*unix_now) (void);
	/* HMAC-SHA-256 of the parts one after the other; false: it could not be computed. */
	bool		(*hmac_sha256) (const BankSinkSecret *key, const void *const *parts,
								const size_t *lens, int n_parts, uint8_t mac[32]);
} BankSinkHost;

/* A socket that the relay shall wait for. */
#define BANK_SINK_READ 1
#define BANK_SINK_WRITE 2

typedef struct BankSinkSocket
{
	int			socket;
	int			events;			/* what to wait for; in run(), what has happened */
} BankSinkSocket;

typedef struct BankSinkCallbacks
{
	uint32_t	version;		/* BANK_SINK_VERSION */

	/*
	 * May a subscription have this target? Without any network traffic. Returns
	 * NULL, or what is wrong with it: a sentence, in static memory or in "reason".
	 */
	const char *(*check) (const BankSinkTarget *target, const BankSinkHost *host, char *reason,
						  size_t reason_size);

	/* Begin to work in this process; returns the sink's state, NULL when it cannot. */
	void	   *(*startup) (const BankSinkHost *host);

	/* Start sending; false, with delivery filled: it has failed at once, there is no complete(). */
	bool		(*send) (void *state, BankSinkRequest *request, BankDelivery *delivery);

	/* Forget a request that is under way. */
	void		(*cancel) (void *state, BankSinkRequest *request);

	/*
	 * The sockets to wait for, at most max of them, and how long at most (-1: as long
	 * as you like). A number that differs from the last call's tells that the set of
	 * sockets, or what to wait for, has changed.
	 */
	uint64_t	(*wait_for) (void *state, BankSinkSocket *sockets, int max, int *n,
							 int32_t *timeout);

	/* Do what can be done now; ready are the sockets where something has happened. */
	void		(*run) (void *state, const BankSinkSocket *ready, int n);

	/* Let go of connections: settings have changed. May be NULL. */
	void		(*reset) (void *state);
} BankSinkCallbacks;

typedef const BankSinkCallbacks *(*BankSinkInit) (void);

/* The one symbol that a sink exports. */
#define BANK_SINK_INIT "bank_sink_init"

#endif							/* BANK_PORTS_EVENT_SINK_H */
