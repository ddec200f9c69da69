/*
 * breaker.c
 *		The circuit breaker of an endpoint: its states, what leads from one to another.
 *
 * Pure C, no allocation, no locks, no clock of its own. Nothing overflows: counters
 * and moments stop at the end of their range. The policy may be another one in every
 * call; what an earlier one left behind is read within the bounds of the present one.
 */
#include "domain/breaker.h"
#include "domain/money.h"

#include <string.h>

static const char *const bank_breaker_state_names[] = {"closed", "open", "half-open"};

#define BANK_BREAKER_STATES 3

/* Requests at a time: those of an earlier policy may be more than the present one allows. */
static int32_t
bank_breaker_ramp(const BankBreaker *breaker, const BankBreakerPolicy *policy)
{
	return breaker->ramp < policy->concurrency ? breaker->ramp : policy->concurrency;
}

/*
 * Go into a state, in a new generation: all requests under way are late from now on.
 * Whatever comes next begins with one request at a time.
 */
static void
bank_breaker_enter(BankBreaker *breaker, BankBreakerState state, int64_t now)
{
	if (breaker->state != state)
		breaker->since = now;
	breaker->state = state;
	breaker->ramp = 1;
	breaker->probing = false;
	if (!bank_add_int64(breaker->generation, 1, &breaker->generation))
		breaker->generation = 0;
}

/* See breaker.h. */
void
bank_breaker_init(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now)
{
	memset(breaker, 0, sizeof(*breaker));
	breaker->state = BANK_BREAKER_CLOSED;
	breaker->since = now;
	breaker->ramp = policy->concurrency;
}

/*
 * See breaker.h. A clock that was put back starts the timeout again rather than keep
 * the breaker open until it has caught up.
 */
bool
bank_breaker_tick(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now)
{
	int64_t		next;

	if (breaker->state != BANK_BREAKER_OPEN || breaker->forced)
		return false;
	if (breaker->since > now)
		breaker->since = now;
	next = bank_breaker_next(breaker, policy);
	if (next == INT64_MAX || now < next)
		return false;
	bank_breaker_enter(breaker, BANK_BREAKER_HALF_OPEN, now);
	return true;
}

/*
 * See breaker.h. The probe does not wait for requests of earlier generations, which
 * may hang as long as their time-out; once closed again, those take up their places.
 */
int32_t
bank_breaker_allows(const BankBreaker *breaker, const BankBreakerPolicy *policy,
					int32_t in_flight)
{
	int32_t		most = bank_breaker_ramp(breaker, policy);

	switch (breaker->state)
	{
		case BANK_BREAKER_CLOSED:
			return in_flight < most ? most - in_flight : 0;
		case BANK_BREAKER_HALF_OPEN:
			return breaker->probing ? 0 : 1;
		case BANK_BREAKER_OPEN:
			break;
	}
	return 0;
}

/* See breaker.h. */
int64_t
bank_breaker_sent(BankBreaker *breaker)
{
	if (breaker->state == BANK_BREAKER_HALF_OPEN)
		breaker->probing = true;
	return breaker->generation;
}

/* The endpoint failed once more, in time. True: the state changed. */
static bool
bank_breaker_failed(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now)
{
	if (breaker->failures < INT32_MAX)
		breaker->failures++;
	if (breaker->state == BANK_BREAKER_CLOSED && breaker->failures < policy->failure_threshold)
		return false;
	bank_breaker_enter(breaker, BANK_BREAKER_OPEN, now);
	return true;
}

/*
 * See breaker.h. Whatever else an endpoint says than that it failed, it answers: that
 * ends the row of failures, and closes the breaker if it was the probe.
 */
bool
bank_breaker_result(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t generation,
					BankVerdict verdict, int64_t now, bool *counts)
{
	bool		probe = breaker->state == BANK_BREAKER_HALF_OPEN;

	*counts = false;
	if (generation != breaker->generation || breaker->state == BANK_BREAKER_OPEN ||
		(probe && !breaker->probing))
		return false;

	*counts = verdict != BANK_DELIVERED && !(probe && verdict == BANK_UNREACHED);
	if (verdict == BANK_UNREACHED)
		return bank_breaker_failed(breaker, policy, now);
	breaker->failures = 0;
	if (probe)
		bank_breaker_enter(breaker, BANK_BREAKER_CLOSED, now);
	else if (verdict == BANK_DELIVERED)
		breaker->ramp = breaker->ramp > policy->concurrency / 2 ? policy->concurrency :
			breaker->ramp * 2;
	return probe;
}

/* See breaker.h. */
void
bank_breaker_cancelled(BankBreaker *breaker, int64_t generation)
{
	if (generation == breaker->generation)
		breaker->probing = false;
}

/*
 * See breaker.h. Closing a closed breaker makes the requests under way late as well:
 * what they meet is older than the command. A half-open breaker goes on with its probe.
 */
void
bank_breaker_force(BankBreaker *breaker, const BankBreakerPolicy *policy, BankBreakerState state,
				   int64_t now)
{
	(void) policy;
	if (state == BANK_BREAKER_HALF_OPEN && breaker->state == BANK_BREAKER_HALF_OPEN)
		return;
	bank_breaker_enter(breaker, state, now);
	breaker->forced = state == BANK_BREAKER_OPEN;
	if (state == BANK_BREAKER_CLOSED)
		breaker->failures = 0;
}

/* See breaker.h. */
int64_t
bank_breaker_next(const BankBreaker *breaker, const BankBreakerPolicy *policy)
{
	int64_t		next;

	if (breaker->state != BANK_BREAKER_OPEN || breaker->forced ||
		!bank_add_int64(breaker->since, policy->timeout, &next))
		return INT64_MAX;
	return next;
}

/*
 * See breaker.h. Nobody waits for the probe any more, so a half-open breaker is open
 * again; its timeout runs from when it became half-open. The row of failures and the
 * ramp go on where they were.
 */
void
bank_breaker_restore(BankBreaker *breaker, const BankBreakerPolicy *policy, int64_t now)
{
	int64_t		since = breaker->since < now ? breaker->since : now;

	if (breaker->state == BANK_BREAKER_HALF_OPEN)
		bank_breaker_enter(breaker, BANK_BREAKER_OPEN, now);
	breaker->since = since;
	breaker->probing = false;
	breaker->ramp = breaker->ramp < 1 ? 1 : bank_breaker_ramp(breaker, policy);
}

/* Stored name of a state. */
const char *
bank_breaker_state_name(BankBreakerState state)
{
	return bank_breaker_state_names[state];
}

/* State of a stored name; false when it is none. */
bool
bank_breaker_state_parse(const char *name, BankBreakerState *state)
{
	int			i;

	for (i = 0; i < BANK_BREAKER_STATES; i++)
	{
		if (strcmp(bank_breaker_state_names[i], name) == 0)
		{
			*state = (BankBreakerState) i;
			return true;
		}
	}
	return false;
}
