/*
 * delivery.h
 *		What became of an attempt to deliver, and when to try again.
 *
 * Pure C, no allocation. Clock and randomness are given by the caller. Times are
 * microseconds; moments are counted from 2000-01-01 00:00 UTC.
 */
#ifndef BANK_DOMAIN_DELIVERY_H
#define BANK_DOMAIN_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whose fault it was decides what follows: an event that is refused is tried
 * again and in the end given up; an endpoint that fails opens its breaker.
 */
typedef enum BankVerdict
{
	BANK_DELIVERED,				/* the receiver has it */
	BANK_REJECTED,				/* the receiver does not want this event (4xx) */
	BANK_UNREACHED,				/* the endpoint failed: no connection, time-out, 5xx, 408, 3xx */
	BANK_THROTTLED,				/* the endpoint asks us to slow down (429) */
	BANK_GONE					/* the endpoint wants no more events, ever (410) */
} BankVerdict;

#define BANK_NO_RETRY_AFTER INT64_C(-1)

typedef struct BankDelivery
{
	BankVerdict verdict;
	int			status;			/* of HTTP, or 0 */
	int64_t		retry_after;	/* how long the receiver asks us to wait, or BANK_NO_RETRY_AFTER */
	char		error[256];		/* what went wrong, "" if nothing did */
} BankDelivery;

/* What an HTTP status means; see docs/operations.md. */
extern BankVerdict bank_delivery_verdict(int http_status);

extern const char *bank_verdict_name(BankVerdict verdict);

/* How to go on after failed attempts; all from the subscription. */
typedef struct BankRetryPolicy
{
	int32_t		max_attempts;	/* >= 1; after so many an event is a dead letter */
	int64_t		first_delay;	/* > 0, before the second attempt; doubles each time */
	int64_t		max_delay;		/* >= first_delay */
} BankRetryPolicy;

/* The longest Retry-After that is honoured: a day. */
#define BANK_RETRY_AFTER_MAX INT64_C(86400000000)

/*
 * How long to wait after this many failed attempts (>= 1): exponential, with
 * "equal jitter": between half of it and all of it, as random (any value) says; never
 * less than what the receiver asked for. Cannot overflow.
 */
extern int64_t bank_retry_delay(const BankRetryPolicy *policy, int32_t attempts,
								int64_t retry_after, uint64_t random);

#endif							/* BANK_DOMAIN_DELIVERY_H */
