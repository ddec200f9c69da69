/*
 * breaker.h
 *		The circuit breaker of an endpoint, a state machine.
 *
 *	closed --(threshold consecutive failures)--> open --(timeout)--> half-open
 *	half-open --(the probe succeeds)--> closed; --(it fails)--> open again
 *
 * Pure C: the caller gives the time and keeps the state. Only failures of the
 * endpoint (BANK_UNREACHED) count; a rejected event, or one that is throttled, shows
 * that the endpoint answers. A request belongs to the generation in which it was
 * let through: what comes of one that was let through before the breaker last
 * changed its state is late, and changes nothing.
 *
 * After an outage requests ramp up: one at a time at first, twice as many with each
 * success, up to the endpoint's concurrency.
 */
#ifndef BANK_DOMAIN_BREAKER_H
#define BANK_DOMAIN_BREAKER_H

#include "domain/delivery.h"

typedef enum BankBreakerState
{
	BANK_BREAKER_CLOSED,		/* requests go through */
	BANK_BREAKER_OPEN,			/* none does */
	BANK_BREAKER_HALF_OPEN		/* one does, the probe */
} BankBreakerState;

typedef struct BankBreakerPolicy
{
	int32_t		failure_threshold;	/* >= 1 consecutive failures open it */
	int64_t		timeout;		/* > 0, how long it stays open */
	int32_t		concurrency;	/* >= 1 requests at a time when all is well */
} BankBreakerPolicy;

typedef struct BankBreaker
{
	BankBreakerState state;
	bool		forced;			/* opened by command: stays so until the next command */
	int64_t		since;			/* when it came into this state */
	int32_t		failures;		/* consecutive ones */
	int32_t		ramp;			/* requests at a time allowed at present, >= 1 */
	bool		probing;		/* half-open: the probe is under way */
	int64_t		generation;		/* another one after every change of state or command */
} BankBreaker;

/* A closed breaker of an endpoint of which nothing is known; full concurrency. */
extern void bank_breaker_init(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now);

/* Time has passed: from open to half-open when the timeout is over. True: the state changed. */
extern bool bank_breaker_tick(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now);

/* How many more requests may be sent now, with this many under way. Call tick before. */
extern int32_t bank_breaker_allows(const BankBreaker *breaker, const BankBreakerPolicy *policy,
								   int32_t in_flight);

/* A request is being sent; returns the generation to give back with what came of it. */
extern int64_t bank_breaker_sent(BankBreaker *breaker);

/*
 * What came of a request let through in this generation. True: the state changed. *counts
 * tells whether a failed attempt counts against the event: not when it was the probe of
 * an endpoint that is down, nor when the breaker had changed since.
 */
extern bool bank_breaker_result(BankBreaker *breaker, const BankBreakerPolicy *policy,
								int64_t generation, BankVerdict verdict, int64_t now,
								bool *counts);

/* The request was given up without a result: it does not count, a probe may be sent again. */
extern void bank_breaker_cancelled(BankBreaker *breaker, int64_t generation);

/*
 * By command. Open stays open; half-open probes now, or goes on if it does; closed forgets
 * all failures, those of requests under way too, and ramps up again.
 */
extern void bank_breaker_force(BankBreaker *breaker, const BankBreakerPolicy *policy,
							   BankBreakerState state, int64_t now);

/* When tick will next change the state; INT64_MAX: not by itself. */
extern int64_t bank_breaker_next(const BankBreaker *breaker, const BankBreakerPolicy *policy);

/* A worker has started: what the state was when the last one stopped, with no request under way. */
extern void bank_breaker_restore(BankBreaker *breaker, const BankBreakerPolicy *policy,
								 int64_t now);

extern const char *bank_breaker_state_name(BankBreakerState state);
extern bool bank_breaker_state_parse(const char *name, BankBreakerState *state);

#endif							/* BANK_DOMAIN_BREAKER_H */
