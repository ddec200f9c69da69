/*
 * test_breaker.c
 *		The circuit breaker: every arrow and everything that is none, its edges, and random
 *		histories beside a model that knows which requests are late from a list of them
 *		instead of generations. The clock is a number.
 */
#include "check.h"
#include "domain/breaker.h"

/* Where the breaker stands when something happens; it came there at 1000. */
typedef enum Situation
{
	FRESH,						/* closed, nothing known */
	RAMPING,					/* closed again a moment ago */
	FAILING,					/* closed, one failure more opens it */
	OPEN,
	FORCED,						/* open by command */
	HALF,						/* half-open, the probe is not sent yet */
	PROBING,					/* half-open, the probe is under way */
	SITUATIONS
} Situation;

static const char *const situation_names[] = {
	"fresh", "ramping", "failing", "open", "forced open", "half-open", "probing"
};

/* What happens, at 1050 if nothing else is said. */
typedef enum Input
{
	TICK_EARLY,					/* 1099 */
	TICK_DUE,					/* 1100 */
	TICK_LATE,					/* 5000 */
	TICK_BACK,					/* the clock was put back to 500 */
	SENT,
	DELIVERED, REJECTED, UNREACHED, THROTTLED, GONE,
	LATE_DELIVERED, LATE_REJECTED, LATE_UNREACHED, LATE_THROTTLED, LATE_GONE,
	CANCELLED,
	LATE_CANCELLED,
	FORCE_CLOSED, FORCE_OPEN, FORCE_HALF,
	RESTORE,
	RESTORE_BACK,				/* the clock was put back to 500 */
	INPUTS
} Input;

static const char *const input_names[] = {
	"tick too early", "tick when due", "late tick", "tick with clock put back", "sent",
	"delivered", "rejected", "unreached", "throttled", "gone",
	"late delivered", "late rejected", "late unreached", "late throttled", "late gone",
	"cancelled", "late cancelled", "forced closed", "forced open", "forced half-open",
	"restart", "restart with clock put back"
};

#define CLOSED_STATE BANK_BREAKER_CLOSED
#define OPEN_STATE BANK_BREAKER_OPEN
#define HALF_STATE BANK_BREAKER_HALF_OPEN

static const BankBreakerPolicy test_policy = {3, 100, 8};

/* What an input does in a situation. */
typedef struct Arrow
{
	Situation	from;
	Input		input;
	BankBreakerState state;
	bool		forced;
	int64_t		since;
	int32_t		failures;
	int32_t		ramp;
	bool		probing;
	bool		renewed;		/* requests under way become late */
	bool		changed;		/* what the function returns */
	bool		counts;			/* against the event */
} Arrow;

/* All of them; whatever is not here changes nothing, returns false, and does not count. */
static const Arrow arrows[] = {
	{FRESH, REJECTED, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FRESH, UNREACHED, CLOSED_STATE, false, 1000, 1, 8, false, false, false, true},
	{FRESH, THROTTLED, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FRESH, GONE, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FRESH, FORCE_CLOSED, CLOSED_STATE, false, 1000, 0, 1, false, true, false, false},
	{FRESH, FORCE_OPEN, OPEN_STATE, true, 1050, 0, 1, false, true, false, false},
	{FRESH, FORCE_HALF, HALF_STATE, false, 1050, 0, 1, false, true, false, false},
	{FRESH, RESTORE_BACK, CLOSED_STATE, false, 500, 0, 8, false, false, false, false},

	{RAMPING, DELIVERED, CLOSED_STATE, false, 1000, 0, 2, false, false, false, false},
	{RAMPING, REJECTED, CLOSED_STATE, false, 1000, 0, 1, false, false, false, true},
	{RAMPING, UNREACHED, CLOSED_STATE, false, 1000, 1, 1, false, false, false, true},
	{RAMPING, THROTTLED, CLOSED_STATE, false, 1000, 0, 1, false, false, false, true},
	{RAMPING, GONE, CLOSED_STATE, false, 1000, 0, 1, false, false, false, true},
	{RAMPING, FORCE_CLOSED, CLOSED_STATE, false, 1000, 0, 1, false, true, false, false},
	{RAMPING, FORCE_OPEN, OPEN_STATE, true, 1050, 0, 1, false, true, false, false},
	{RAMPING, FORCE_HALF, HALF_STATE, false, 1050, 0, 1, false, true, false, false},
	{RAMPING, RESTORE_BACK, CLOSED_STATE, false, 500, 0, 1, false, false, false, false},

	{FAILING, DELIVERED, CLOSED_STATE, false, 1000, 0, 8, false, false, false, false},
	{FAILING, REJECTED, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FAILING, UNREACHED, OPEN_STATE, false, 1050, 3, 1, false, true, true, true},
	{FAILING, THROTTLED, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FAILING, GONE, CLOSED_STATE, false, 1000, 0, 8, false, false, false, true},
	{FAILING, FORCE_CLOSED, CLOSED_STATE, false, 1000, 0, 1, false, true, false, false},
	{FAILING, FORCE_OPEN, OPEN_STATE, true, 1050, 2, 1, false, true, false, false},
	{FAILING, FORCE_HALF, HALF_STATE, false, 1050, 2, 1, false, true, false, false},
	{FAILING, RESTORE_BACK, CLOSED_STATE, false, 500, 2, 8, false, false, false, false},

	{OPEN, TICK_DUE, HALF_STATE, false, 1100, 3, 1, false, true, true, false},
	{OPEN, TICK_LATE, HALF_STATE, false, 5000, 3, 1, false, true, true, false},
	{OPEN, TICK_BACK, OPEN_STATE, false, 500, 3, 1, false, false, false, false},
	{OPEN, FORCE_CLOSED, CLOSED_STATE, false, 1050, 0, 1, false, true, false, false},
	{OPEN, FORCE_OPEN, OPEN_STATE, true, 1000, 3, 1, false, true, false, false},
	{OPEN, FORCE_HALF, HALF_STATE, false, 1050, 3, 1, false, true, false, false},
	{OPEN, RESTORE_BACK, OPEN_STATE, false, 500, 3, 1, false, false, false, false},

	{FORCED, FORCE_CLOSED, CLOSED_STATE, false, 1050, 0, 1, false, true, false, false},
	{FORCED, FORCE_OPEN, OPEN_STATE, true, 1000, 0, 1, false, true, false, false},
	{FORCED, FORCE_HALF, HALF_STATE, false, 1050, 0, 1, false, true, false, false},
	{FORCED, RESTORE_BACK, OPEN_STATE, true, 500, 0, 1, false, false, false, false},

	{HALF, SENT, HALF_STATE, false, 1000, 3, 1, true, false, false, false},
	{HALF, FORCE_CLOSED, CLOSED_STATE, false, 1050, 0, 1, false, true, false, false},
	{HALF, FORCE_OPEN, OPEN_STATE, true, 1050, 3, 1, false, true, false, false},
	{HALF, RESTORE, OPEN_STATE, false, 1000, 3, 1, false, true, false, false},
	{HALF, RESTORE_BACK, OPEN_STATE, false, 500, 3, 1, false, true, false, false},

	{PROBING, DELIVERED, CLOSED_STATE, false, 1050, 0, 1, false, true, true, false},
	{PROBING, REJECTED, CLOSED_STATE, false, 1050, 0, 1, false, true, true, true},
	{PROBING, UNREACHED, OPEN_STATE, false, 1050, 4, 1, false, true, true, false},
	{PROBING, THROTTLED, CLOSED_STATE, false, 1050, 0, 1, false, true, true, true},
	{PROBING, GONE, CLOSED_STATE, false, 1050, 0, 1, false, true, true, true},
	{PROBING, CANCELLED, HALF_STATE, false, 1000, 3, 1, false, false, false, false},
	{PROBING, FORCE_CLOSED, CLOSED_STATE, false, 1050, 0, 1, false, true, false, false},
	{PROBING, FORCE_OPEN, OPEN_STATE, true, 1050, 3, 1, false, true, false, false},
	{PROBING, RESTORE, OPEN_STATE, false, 1000, 3, 1, false, true, false, false},
	{PROBING, RESTORE_BACK, OPEN_STATE, false, 500, 3, 1, false, true, false, false},
};

/* So many requests, one after the other, that do not reach the endpoint. */
static void
fail(BankBreaker *breaker, const BankBreakerPolicy *policy, int times, int64_t now)
{
	bool		counts;

	while (times-- > 0)
		(void) bank_breaker_result(breaker, policy, bank_breaker_sent(breaker), BANK_UNREACHED,
								   now, &counts);
}

/* One request with this result; true if the state changed. */
static bool
attempt(BankBreaker *breaker, const BankBreakerPolicy *policy, BankVerdict verdict, int64_t now)
{
	bool		counts;

	return bank_breaker_result(breaker, policy, bank_breaker_sent(breaker), verdict, now, &counts);
}

/* Bring a breaker into a situation, the way it comes there in practice. */
static BankBreaker
situate(Situation situation)
{
	const BankBreakerPolicy *policy = &test_policy;
	BankBreaker breaker;

	bank_breaker_init(&breaker, policy,
					  situation == FRESH || situation == FAILING ? 1000 : 800);
	switch (situation)
	{
		case FAILING:
			fail(&breaker, policy, 2, 1000);
			break;
		case OPEN:
			fail(&breaker, policy, 3, 1000);
			break;
		case FORCED:
			bank_breaker_force(&breaker, policy, BANK_BREAKER_OPEN, 1000);
			break;
		case RAMPING:
			fail(&breaker, policy, 3, 800);
			(void) bank_breaker_tick(&breaker, policy, 900);
			(void) attempt(&breaker, policy, BANK_DELIVERED, 1000);
			break;
		case HALF:
		case PROBING:
			fail(&breaker, policy, 3, 900);
			(void) bank_breaker_tick(&breaker, policy, 1000);
			if (situation == PROBING)
				(void) bank_breaker_sent(&breaker);
			break;
		case FRESH:
		case SITUATIONS:
			break;
	}
	return breaker;
}

/* Let it happen; what a result function returns goes to *changed and *counts. */
static void
happen(BankBreaker *breaker, Input input, bool *changed, bool *counts)
{
	static const int64_t ticks[] = {1099, 1100, 5000, 500};
	const BankBreakerPolicy *policy = &test_policy;

	*changed = false;
	*counts = false;
	if (input <= TICK_BACK)
		*changed = bank_breaker_tick(breaker, policy, ticks[input]);
	else if (input == SENT)
		(void) bank_breaker_sent(breaker);
	else if (input <= GONE)
		*changed = bank_breaker_result(breaker, policy, breaker->generation,
									   (BankVerdict) (input - DELIVERED), 1050, counts);
	else if (input <= LATE_GONE)
	{
		*counts = true;
		*changed = bank_breaker_result(breaker, policy, breaker->generation - 1,
									   (BankVerdict) (input - LATE_DELIVERED), 1050, counts);
	}
	else if (input == CANCELLED)
		bank_breaker_cancelled(breaker, breaker->generation);
	else if (input == LATE_CANCELLED)
		bank_breaker_cancelled(breaker, breaker->generation - 1);
	else if (input <= FORCE_HALF)
		bank_breaker_force(breaker, policy, (BankBreakerState) (input - FORCE_CLOSED), 1050);
	else
		bank_breaker_restore(breaker, policy, input == RESTORE ? 1050 : 500);
}

/* The arrow of an input, or what stands for none. */
static Arrow
arrow_of(Situation situation, Input input, const BankBreaker *before)
{
	Arrow		none = {
		situation, input, before->state, before->forced, before->since, before->failures,
		before->ramp, before->probing, false, false, false
	};
	size_t		i;

	for (i = 0; i < sizeof(arrows) / sizeof(arrows[0]); i++)
	{
		if (arrows[i].from == situation && arrows[i].input == input)
			return arrows[i];
	}
	return none;
}

/* Every input in every situation. */
static void
test_arrows(void)
{
	int			situation;
	int			input;

	for (situation = 0; situation < SITUATIONS; situation++)
	{
		for (input = 0; input < INPUTS; input++)
		{
			BankBreaker breaker = situate((Situation) situation);
			Arrow		arrow = arrow_of((Situation) situation, (Input) input, &breaker);
			int64_t		generation = breaker.generation;
			int32_t		allowed = arrow.state == CLOSED_STATE ? arrow.ramp :
				arrow.state == HALF_STATE && !arrow.probing ? 1 : 0;
			int64_t		next = arrow.state == OPEN_STATE && !arrow.forced ? arrow.since + 100 :
				INT64_MAX;
			bool		changed;
			bool		counts;

			happen(&breaker, (Input) input, &changed, &counts);
			if (!check(breaker.state == arrow.state && breaker.forced == arrow.forced &&
					   breaker.since == arrow.since && breaker.failures == arrow.failures &&
					   breaker.ramp == arrow.ramp && breaker.probing == arrow.probing &&
					   (breaker.generation != generation) == arrow.renewed &&
					   changed == arrow.changed && counts == arrow.counts &&
					   bank_breaker_allows(&breaker, &test_policy, 0) == allowed &&
					   bank_breaker_next(&breaker, &test_policy) == next,
					   "%s: %s", situation_names[situation], input_names[input]))
				printf("# is %s, forced %d, since %" PRId64 ", failures %" PRId32 ", ramp %" PRId32
					   ", probing %d, generation %" PRId64 " after %" PRId64
					   ", changed %d, counts %d\n", bank_breaker_state_name(breaker.state),
					   breaker.forced, breaker.since, breaker.failures, breaker.ramp,
					   breaker.probing, breaker.generation, generation, changed, counts);
		}
	}
}

/* The situations are what their names say; otherwise the arrows prove nothing. */
static void
test_situations(void)
{
	static const BankBreaker expected[] = {
		{CLOSED_STATE, false, 1000, 0, 8, false, 0},
		{CLOSED_STATE, false, 1000, 0, 1, false, 3},
		{CLOSED_STATE, false, 1000, 2, 8, false, 0},
		{OPEN_STATE, false, 1000, 3, 1, false, 1},
		{OPEN_STATE, true, 1000, 0, 1, false, 1},
		{HALF_STATE, false, 1000, 3, 1, false, 2},
		{HALF_STATE, false, 1000, 3, 1, true, 2},
	};
	int			i;

	for (i = 0; i < SITUATIONS; i++)
	{
		BankBreaker is = situate((Situation) i);
		const BankBreaker *should = &expected[i];

		check(is.state == should->state && is.forced == should->forced &&
			  is.since == should->since && is.failures == should->failures &&
			  is.ramp == should->ramp && is.probing == should->probing &&
			  is.generation == should->generation, "situation: %s", situation_names[i]);
	}
}

/* An outage from its first failure to full concurrency. */
static void
test_story(void)
{
	static const BankBreakerPolicy policy = {5, 60000000, 10};
	static const int32_t ramp[] = {1, 2, 4, 8, 10, 10};
	BankBreaker breaker;
	int64_t		probe;
	bool		counts;
	size_t		i;

	bank_breaker_init(&breaker, &policy, 0);
	check_int(bank_breaker_allows(&breaker, &policy, 0), 10, "all requests at first");
	check_int(bank_breaker_allows(&breaker, &policy, 7), 3, "less those under way");
	check_int(bank_breaker_allows(&breaker, &policy, 10), 0, "none beyond the concurrency");
	check_int(bank_breaker_allows(&breaker, &policy, 11), 0, "none when there are too many");
	fail(&breaker, &policy, 4, 10);
	check(breaker.state == BANK_BREAKER_CLOSED, "four failures leave it closed");
	(void) attempt(&breaker, &policy, BANK_DELIVERED, 11);
	fail(&breaker, &policy, 4, 12);
	check(breaker.state == BANK_BREAKER_CLOSED, "a success starts the row again");
	check(attempt(&breaker, &policy, BANK_UNREACHED, 13), "the fifth in a row opens it");
	check_int(bank_breaker_next(&breaker, &policy), 60000013, "for so long");
	check_int(bank_breaker_allows(&breaker, &policy, 0), 0, "nothing is let through");
	check(!bank_breaker_tick(&breaker, &policy, 60000012), "a microsecond before it is over");
	check(bank_breaker_tick(&breaker, &policy, 60000013), "it is over");
	check_int(bank_breaker_allows(&breaker, &policy, 3), 1,
			  "one probe, whatever else is under way");
	probe = bank_breaker_sent(&breaker);
	check_int(bank_breaker_allows(&breaker, &policy, 0), 0, "one only");
	bank_breaker_cancelled(&breaker, probe);
	check_int(bank_breaker_allows(&breaker, &policy, 0), 1, "another one when it was given up");
	probe = bank_breaker_sent(&breaker);
	check(bank_breaker_result(&breaker, &policy, probe, BANK_UNREACHED, 60000020, &counts) &&
		  breaker.state == BANK_BREAKER_OPEN && !counts, "a probe that fails opens it again");
	check_int(bank_breaker_next(&breaker, &policy), 120000020, "for as long, from then on");
	check(bank_breaker_tick(&breaker, &policy, 120000020), "and once more it is over");
	probe = bank_breaker_sent(&breaker);
	check(bank_breaker_result(&breaker, &policy, probe, BANK_DELIVERED, 120000021, &counts) &&
		  breaker.state == BANK_BREAKER_CLOSED, "a probe that succeeds closes it");
	for (i = 0; i < sizeof(ramp) / sizeof(ramp[0]); i++)
	{
		check_int(bank_breaker_allows(&breaker, &policy, 0), ramp[i], "requests ramp up");
		(void) attempt(&breaker, &policy, BANK_DELIVERED, 120000022);
	}
	check(!bank_breaker_result(&breaker, &policy, probe, BANK_UNREACHED, 120000023, &counts) &&
		  breaker.failures == 0, "a second result of the probe is late");
}

/* A burst of requests under way when the endpoint dies: only those up to the opening count. */
static void
test_burst(void)
{
	static const BankBreakerPolicy policy = {3, 100, 20};
	BankBreaker breaker;
	int64_t		generations[20];
	int			counted = 0;
	int			opened = 0;
	int			i;

	bank_breaker_init(&breaker, &policy, 0);
	for (i = 0; i < 20; i++)
		generations[i] = bank_breaker_sent(&breaker);
	for (i = 0; i < 20; i++)
	{
		bool		counts;

		opened += bank_breaker_result(&breaker, &policy, generations[i], BANK_UNREACHED, 10 + i,
									  &counts);
		counted += counts;
	}
	check_int(opened, 1, "a burst of failures opens once");
	check_int(counted, 3, "no more attempts are burnt than it takes to open");
	check_int(breaker.since, 12, "late failures do not extend the open time");
	check_int(breaker.failures, 3, "late failures are not counted");
}

/* Another policy in the next call. */
static void
test_policy_changes(void)
{
	BankBreakerPolicy policy = {10, 100, 8};
	BankBreaker breaker;

	bank_breaker_init(&breaker, &policy, 0);
	policy.concurrency = 3;
	check_int(bank_breaker_allows(&breaker, &policy, 0), 3, "a lower concurrency holds at once");
	check_int(bank_breaker_allows(&breaker, &policy, 8), 0, "with more than that under way");
	policy.concurrency = 20;
	check_int(bank_breaker_allows(&breaker, &policy, 0), 8, "a higher one is grown into");
	(void) attempt(&breaker, &policy, BANK_DELIVERED, 1);
	check_int(bank_breaker_allows(&breaker, &policy, 0), 16, "by doubling");
	(void) attempt(&breaker, &policy, BANK_DELIVERED, 1);
	check_int(bank_breaker_allows(&breaker, &policy, 0), 20, "up to it");
	policy.concurrency = 2;
	(void) attempt(&breaker, &policy, BANK_DELIVERED, 1);
	check_int(breaker.ramp, 2, "a success brings the ramp down to a lower one");
	policy.concurrency = INT32_MAX;
	breaker.ramp = INT32_MAX / 2 + 1;
	(void) attempt(&breaker, &policy, BANK_DELIVERED, 1);
	check_int(breaker.ramp, INT32_MAX, "the greatest concurrency is reached without overflow");

	fail(&breaker, &policy, 6, 2);
	policy.failure_threshold = 4;
	check(!bank_breaker_tick(&breaker, &policy, 3) && breaker.state == BANK_BREAKER_CLOSED,
		  "a lower threshold opens nothing by itself");
	check(attempt(&breaker, &policy, BANK_UNREACHED, 4), "but at the next failure");
	policy.timeout = 10;
	check(!bank_breaker_tick(&breaker, &policy, 13) && bank_breaker_tick(&breaker, &policy, 14),
		  "a shorter timeout holds at once");
	policy.failure_threshold = INT32_MAX;
	check(attempt(&breaker, &policy, BANK_UNREACHED, 20),
		  "a probe that fails opens it below a higher threshold, too");

	policy = (BankBreakerPolicy) {1, 100, 1};
	bank_breaker_init(&breaker, &policy, 0);
	check(attempt(&breaker, &policy, BANK_UNREACHED, 0), "threshold 1: the first failure opens");
}

/* Ends of the ranges. */
static void
test_extremes(void)
{
	BankBreakerPolicy policy = {INT32_MAX, INT64_MAX, 1};
	BankBreaker breaker;

	bank_breaker_init(&breaker, &policy, 0);
	breaker.failures = INT32_MAX - 1;
	check(attempt(&breaker, &policy, BANK_UNREACHED, 5), "the greatest threshold can be reached");
	check_int(bank_breaker_next(&breaker, &policy), INT64_MAX, "the end of an endless timeout");
	check(!bank_breaker_tick(&breaker, &policy, INT64_MAX), "an endless timeout does not end");
	bank_breaker_force(&breaker, &policy, BANK_BREAKER_HALF_OPEN, 6);
	check(attempt(&breaker, &policy, BANK_UNREACHED, 7) && breaker.failures == INT32_MAX,
		  "failures stop at the end of their range");

	policy.timeout = INT64_MAX - 1 - 7;
	check_int(bank_breaker_next(&breaker, &policy), INT64_MAX - 1, "the last moment there is");
	check(!bank_breaker_tick(&breaker, &policy, INT64_MAX - 2) &&
		  bank_breaker_tick(&breaker, &policy, INT64_MAX - 1), "is reached");

	policy.timeout = 1;
	bank_breaker_force(&breaker, &policy, BANK_BREAKER_CLOSED, INT64_MAX);
	breaker.failures = INT32_MAX - 1;
	(void) attempt(&breaker, &policy, BANK_UNREACHED, INT64_MAX);
	check_int(bank_breaker_next(&breaker, &policy), INT64_MAX, "opened at the end of time");
	check(!bank_breaker_tick(&breaker, &policy, INT64_MIN) &&
		  bank_breaker_tick(&breaker, &policy, INT64_MIN + 1),
		  "a clock put back from its end to its beginning does not keep it open");

	policy.timeout = INT64_MAX;
	policy.failure_threshold = 1;
	bank_breaker_init(&breaker, &policy, INT64_MIN);
	(void) attempt(&breaker, &policy, BANK_UNREACHED, INT64_MIN);
	check(!bank_breaker_tick(&breaker, &policy, -2) && bank_breaker_tick(&breaker, &policy, -1),
		  "the longest timeout from the beginning of time");

	breaker.generation = INT64_MAX;
	(void) bank_breaker_sent(&breaker);
	check(attempt(&breaker, &policy, BANK_DELIVERED, 0) && breaker.generation != INT64_MAX,
		  "after the last generation comes another one");
}

/* What a worker finds that starts after a stop or a crash. */
static void
test_restart(void)
{
	const BankBreakerPolicy *policy = &test_policy;
	BankBreaker breaker = situate(PROBING);
	int64_t		lost = breaker.generation;
	bool		counts;

	bank_breaker_restore(&breaker, policy, 1200);
	check(breaker.state == BANK_BREAKER_OPEN && bank_breaker_tick(&breaker, policy, 1200) &&
		  bank_breaker_allows(&breaker, policy, 0) == 1,
		  "after a long stop the next probe is sent at once");
	(void) bank_breaker_sent(&breaker);
	check(!bank_breaker_result(&breaker, policy, lost, BANK_DELIVERED, 1201, &counts) && !counts,
		  "what became of the lost probe is late");

	breaker = situate(PROBING);
	bank_breaker_restore(&breaker, policy, 1001);
	check(!bank_breaker_tick(&breaker, policy, 1099) && bank_breaker_tick(&breaker, policy, 1100),
		  "after a quick restart it waits for the timeout");

	breaker = situate(OPEN);
	bank_breaker_restore(&breaker, policy, 100);
	check(!bank_breaker_tick(&breaker, policy, 199) && bank_breaker_tick(&breaker, policy, 200),
		  "a clock put back meanwhile does not keep it open");

	breaker = situate(FORCED);
	bank_breaker_restore(&breaker, policy, INT64_MAX - 1);
	check(!bank_breaker_tick(&breaker, policy, INT64_MAX - 1) && breaker.forced,
		  "forced open stays so through restarts");

	breaker = situate(FAILING);
	bank_breaker_restore(&breaker, policy, 1200);
	check(attempt(&breaker, policy, BANK_UNREACHED, 1201), "failures count through restarts");

	breaker = situate(FRESH);
	breaker.ramp = 0;
	bank_breaker_restore(&breaker, policy, 1200);
	check_int(bank_breaker_allows(&breaker, policy, 0), 1, "a ramp of none would stop it for ever");
	breaker.ramp = INT32_MAX;
	bank_breaker_restore(&breaker, policy, 1200);
	check_int(breaker.ramp, 8, "a ramp is bounded by the policy");
}

/* What commands mean for requests under way. */
static void
test_commands(void)
{
	const BankBreakerPolicy *policy = &test_policy;
	BankBreaker breaker = situate(FAILING);
	int64_t		old = bank_breaker_sent(&breaker);
	bool		counts;

	bank_breaker_force(&breaker, policy, BANK_BREAKER_CLOSED, 1050);
	check(!bank_breaker_result(&breaker, policy, old, BANK_UNREACHED, 1051, &counts) && !counts &&
		  breaker.failures == 0, "closing forgets the failures of requests under way");

	breaker = situate(PROBING);
	old = breaker.generation;
	bank_breaker_force(&breaker, policy, BANK_BREAKER_HALF_OPEN, 1050);
	check_int(bank_breaker_allows(&breaker, policy, 1), 0,
			  "a command to probe sends no second probe");
	check(bank_breaker_result(&breaker, policy, old, BANK_DELIVERED, 1051, &counts),
		  "nor forgets the first");

	breaker = situate(FORCED);
	bank_breaker_force(&breaker, policy, BANK_BREAKER_HALF_OPEN, 1050);
	check(attempt(&breaker, policy, BANK_UNREACHED, 1060) &&
		  bank_breaker_next(&breaker, policy) == 1160,
		  "a probe by command that fails opens it as any other does");

	breaker = situate(OPEN);
	bank_breaker_force(&breaker, policy, BANK_BREAKER_OPEN, 1050);
	check(!bank_breaker_tick(&breaker, policy, 1100) &&
		  !bank_breaker_tick(&breaker, policy, INT64_MAX), "an open breaker can be forced open");
}

/* Names are stored, and read back. */
static void
test_names(void)
{
	static const char *const wrong[] = {
		"", "CLOSED", "closed ", " closed", "close", "half_open", "half", "half-opened", "opened"
	};
	BankBreakerState state = BANK_BREAKER_OPEN;
	size_t		i;

	check_text(bank_breaker_state_name(BANK_BREAKER_CLOSED), "closed", "name of closed");
	check_text(bank_breaker_state_name(BANK_BREAKER_OPEN), "open", "name of open");
	check_text(bank_breaker_state_name(BANK_BREAKER_HALF_OPEN), "half-open", "name of half-open");
	for (i = 0; i <= BANK_BREAKER_HALF_OPEN; i++)
		check(bank_breaker_state_parse(bank_breaker_state_name((BankBreakerState) i), &state) &&
			  state == (BankBreakerState) i, "state %d is read back", (int) i);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		check(!bank_breaker_state_parse(wrong[i], &state), "'%s' is no state", wrong[i]);
}

/* A request that is under way in a random history. */
typedef struct Request
{
	int64_t		generation;		/* what the breaker gave us; the model does not look at it */
	bool		late;
} Request;

#define MAX_REQUESTS 64

/* The model: what happened, as a list of requests and a few plain facts. */
typedef struct Model
{
	BankBreakerPolicy policy;
	char		phase;			/* 'C', 'O', 'H' */
	bool		forced;
	int64_t		since;
	int64_t		row;			/* failures without anything else between them */
	int64_t		width;			/* requests at a time */
	Request		requests[MAX_REQUESTS];
	int			n;
} Model;

/* All requests become late. */
static void
model_turn(Model *model, char phase, int64_t now)
{
	int			i;

	for (i = 0; i < model->n; i++)
		model->requests[i].late = true;
	if (model->phase != phase)
		model->since = now;
	model->phase = phase;
	model->forced = false;
	model->width = 1;
}

/* Requests under way that are not late. */
static int
model_timely(const Model *model)
{
	int			timely = 0;
	int			i;

	for (i = 0; i < model->n; i++)
		timely += !model->requests[i].late;
	return timely;
}

/* How many more may be sent. */
static int64_t
model_allows(const Model *model)
{
	int64_t		width = model->width < model->policy.concurrency ? model->width :
		model->policy.concurrency;

	if (model->phase == 'O')
		return 0;
	if (model->phase == 'H')
		return model_timely(model) > 0 ? 0 : 1;
	return width > model->n ? width - model->n : 0;
}

/* Time has passed; the numbers of a history are small enough to add. */
static bool
model_tick(Model *model, int64_t now)
{
	if (model->phase != 'O' || model->forced)
		return false;
	if (now < model->since)
		model->since = now;
	if (now < model->since + model->policy.timeout)
		return false;
	model_turn(model, 'H', now);
	return true;
}

/* Take a request off the list. */
static Request
model_remove(Model *model, int i)
{
	Request		request = model->requests[i];

	model->requests[i] = model->requests[--model->n];
	return request;
}

/* What came of a request that was taken off the list. */
static bool
model_result(Model *model, Request request, BankVerdict verdict, int64_t now, bool *counts)
{
	char		phase = model->phase;

	*counts = false;
	if (request.late)
		return false;
	*counts = verdict == BANK_REJECTED || verdict == BANK_THROTTLED || verdict == BANK_GONE ||
		(verdict == BANK_UNREACHED && phase == 'C');
	if (verdict == BANK_UNREACHED)
	{
		model->row++;
		if (phase == 'H' || model->row >= model->policy.failure_threshold)
			model_turn(model, 'O', now);
	}
	else
	{
		model->row = 0;
		if (phase == 'H')
			model_turn(model, 'C', now);
		else if (verdict == BANK_DELIVERED)
			model->width = model->width * 2 < model->policy.concurrency ? model->width * 2 :
				model->policy.concurrency;
	}
	return model->phase != phase;
}

/* Does the breaker look as the model says? */
static bool
model_agrees(const Model *model, const BankBreaker *breaker)
{
	static const char phases[] = "COH";

	return phases[breaker->state] == model->phase && breaker->forced == model->forced &&
		breaker->since == model->since && breaker->failures == model->row &&
		breaker->ramp == model->width &&
		breaker->probing == (model->phase == 'H' && model_timely(model) > 0) &&
		bank_breaker_allows(breaker, &model->policy, model->n) == model_allows(model) &&
		bank_breaker_next(breaker, &model->policy) ==
		(model->phase == 'O' && !model->forced ? model->since + model->policy.timeout : INT64_MAX);
}

/* A policy of small numbers, so that everything happens often. */
static BankBreakerPolicy
random_policy(uint64_t *state)
{
	BankBreakerPolicy policy;

	policy.failure_threshold = 1 + (int32_t) (check_random(state) % 6);
	policy.timeout = 1 + (int64_t) (check_random(state) % 50);
	policy.concurrency = 1 + (int32_t) (check_random(state) % 16);
	return policy;
}

/* Results come in moods: an endpoint that works, one that is down, one that is strange. */
static BankVerdict
random_verdict(uint64_t *state, int mood)
{
	uint64_t	choice = check_random(state) % 100;

	if (mood == 0)
		return choice < 90 ? BANK_DELIVERED : BANK_REJECTED;
	if (mood == 1)
		return choice < 97 ? BANK_UNREACHED : BANK_DELIVERED;
	return (BankVerdict) (choice % (BANK_GONE + 1));
}

/* What a step of a history did, for its report. */
typedef struct Step
{
	const char *what;
	bool		sound;
} Step;

/* Send a request if it is allowed, now and then also one that an open breaker forbids. */
static Step
step_send(Model *model, BankBreaker *breaker, uint64_t *state)
{
	int32_t		allows = bank_breaker_allows(breaker, &model->policy, model->n);
	bool		forbidden = model->phase == 'O' && check_random(state) % 8 == 0;

	if (model->n == MAX_REQUESTS || (allows == 0 && !forbidden))
		return (Step) {"not sent", true};
	model->requests[model->n].generation = bank_breaker_sent(breaker);
	model->requests[model->n].late = forbidden;
	model->n++;
	return (Step) {"sent", model->phase == 'H' ? model_timely(model) == 1 :
		forbidden || model->n <= model->policy.concurrency};
}

/* One of the requests ends, or is given up. */
static Step
step_end(Model *model, BankBreaker *breaker, uint64_t *state, int mood, int64_t now)
{
	BankBreakerState before = breaker->state;
	int64_t		since = breaker->since;
	BankVerdict verdict = random_verdict(state, mood);
	Request		request;
	bool		counts = true;
	bool		expected_counts;
	bool		changed;

	if (model->n == 0)
		return (Step) {"nothing under way", true};
	request = model_remove(model, (int) (check_random(state) % (uint64_t) model->n));
	if (check_random(state) % 10 == 0)
	{
		bank_breaker_cancelled(breaker, request.generation);
		return (Step) {"cancelled", true};
	}
	changed = bank_breaker_result(breaker, &model->policy, request.generation, verdict, now,
								  &counts);
	return (Step) {bank_verdict_name(verdict),
		model_result(model, request, verdict, now, &expected_counts) == changed &&
		counts == expected_counts &&
		/* while it is down, no attempt is burnt and nothing makes it wait longer */
		!(before == BANK_BREAKER_OPEN && (counts || changed || breaker->since != since)) &&
		!(before == BANK_BREAKER_HALF_OPEN && verdict == BANK_UNREACHED && counts)};
}

/* The clock goes on, to where it matters more often than not, or back. */
static int64_t
random_time(const Model *model, uint64_t *state, int64_t now)
{
	uint64_t	choice = check_random(state);
	int64_t		due = model->since + model->policy.timeout;

	switch (choice % 40)
	{
		case 0:
			return now - (int64_t) ((choice >> 8) % 200);
		case 1:
		case 2:
			return due > now ? due : now;
		case 3:
		case 4:
			return due - 1 > now ? due - 1 : now;
		default:
			return now + (int64_t) ((choice >> 8) % 4);
	}
}

/* A command, a restart or another policy. */
static Step
step_rare(Model *model, BankBreaker *breaker, uint64_t *state, int64_t now)
{
	static const char phases[] = "COH";
	BankBreakerState forced;

	switch (check_random(state) % 4)
	{
		case 0:
			model->policy = random_policy(state);
			return (Step) {"another policy", true};
		case 1:
			model->n = 0;
			if (now < model->since)
				model->since = now;
			if (model->phase == 'H')
			{
				int64_t		since = model->since;

				model_turn(model, 'O', now);
				model->since = since;
			}
			else if (model->width > model->policy.concurrency)
				model->width = model->policy.concurrency;
			bank_breaker_restore(breaker, &model->policy, now);
			return (Step) {"restart", true};
		default:
			forced = (BankBreakerState) (check_random(state) % 3);
			if (model->phase != 'H' || phases[forced] != 'H')
				model_turn(model, phases[forced], now);
			model->forced = phases[forced] == 'O';
			if (phases[forced] == 'C')
				model->row = 0;
			bank_breaker_force(breaker, &model->policy, forced, now);
			return (Step) {"command", true};
	}
}

/* A history; false at the first difference. Adds to how often each state was seen. */
static bool
run_history(uint64_t seed, int steps, int seen[3])
{
	uint64_t	state = seed;
	int64_t		now = (int64_t) (check_random(&state) % 2000) - 1000;
	Model		model = {.policy = random_policy(&state), .phase = 'C', .since = now};
	BankBreaker breaker;
	Step		step = {"init", true};
	int			mood = 0;
	int			i;

	model.width = model.policy.concurrency;
	bank_breaker_init(&breaker, &model.policy, now);
	for (i = 0; i < steps; i++)
	{
		uint64_t	choice = check_random(&state) % 100;
		bool		ticked;

		if (choice < 3)
			mood = (int) (check_random(&state) % 3);
		now = random_time(&model, &state, now);
		ticked = bank_breaker_tick(&breaker, &model.policy, now);
		if (ticked != model_tick(&model, now) || !model_agrees(&model, &breaker))
		{
			step = (Step) {"tick", false};
			break;
		}
		if (choice < 45)
			step = step_send(&model, &breaker, &state);
		else if (choice < 98)
			step = step_end(&model, &breaker, &state, mood, now);
		else
			step = step_rare(&model, &breaker, &state, now);
		step.sound = step.sound && model_agrees(&model, &breaker);
		if (!step.sound)
			break;
		seen[breaker.state]++;
	}
	if (step.sound && breaker.state == BANK_BREAKER_OPEN)
	{
		int64_t		due = breaker.since + model.policy.timeout;

		step.what = "the end";
		step.sound = breaker.forced ?
			!bank_breaker_tick(&breaker, &model.policy, INT64_MAX - 1) :
			!bank_breaker_tick(&breaker, &model.policy, due - 1) &&
			bank_breaker_tick(&breaker, &model.policy, due);
	}
	if (!step.sound)
		printf("# seed %" PRIu64 ", step %d, %s: model %c since %" PRId64 " row %" PRId64
			   " width %" PRId64 ", breaker %s since %" PRId64 " failures %" PRId32 " ramp %" PRId32
			   "\n", seed, i, step.what, model.phase, model.since, model.row, model.width,
			   bank_breaker_state_name(breaker.state), breaker.since, breaker.failures,
			   breaker.ramp);
	return step.sound;
}

/* Many of them. */
static void
test_histories(void)
{
	int			seen[3] = {0};
	bool		sound = true;
	uint64_t	seed;

	for (seed = 1; seed <= 4000 && sound; seed++)
		sound = run_history(seed, 400, seen);
	check(sound, "random histories agree with the model");
	check(seen[0] > 100000 && seen[1] > 100000 && seen[2] > 100000,
		  "the histories have been everywhere: %d, %d, %d steps", seen[0], seen[1], seen[2]);
}

/* Whatever comes late while it is open: it becomes half-open neither later nor sooner. */
static void
test_open_time(void)
{
	uint64_t	state = 5;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 5000 && sound; trial++)
	{
		BankBreakerPolicy policy = random_policy(&state);
		int64_t		timeout = 1 + (check_random_int64(&state) >> 1);
		int64_t		start = (check_random_int64(&state) >> 2) * (trial % 2 == 0 ? 1 : -1);
		int64_t		late;
		BankBreaker breaker;
		int			i;

		policy.timeout = timeout;
		bank_breaker_init(&breaker, &policy, start);
		late = bank_breaker_sent(&breaker);
		fail(&breaker, &policy, policy.failure_threshold, start);
		for (i = 0; i < 50; i++)
		{
			int64_t		now = start + (int64_t) (check_random(&state) % (uint64_t) timeout);
			bool		counts = true;

			sound = sound && !bank_breaker_tick(&breaker, &policy, now) &&
				!bank_breaker_result(&breaker, &policy, late,
									 (BankVerdict) (check_random(&state) % (BANK_GONE + 1)), now,
									 &counts) && !counts &&
				bank_breaker_allows(&breaker, &policy, 0) == 0;
			bank_breaker_cancelled(&breaker, late);
		}
		sound = sound && bank_breaker_next(&breaker, &policy) == start + timeout &&
			!bank_breaker_tick(&breaker, &policy, start + timeout - 1) &&
			bank_breaker_tick(&breaker, &policy, start + timeout);
		if (!sound)
			printf("# timeout %" PRId64 ", start %" PRId64 "\n", timeout, start);
	}
	check(sound, "it is open exactly as long as its timeout, whatever comes late");
}

/* What an endless queue and an endpoint that is down from "dies" to "back" have done together. */
typedef struct Outage
{
	int			counted;		/* attempts burnt */
	int			opened;
	int			probes;			/* sent while it was down */
	int			most;			/* requests under way at once */
	int64_t		closed_at;		/* when it closed for good */
	int64_t		full_at;		/* when it was at its full concurrency again */
} Outage;

/* Live through an outage; requests take 1 to "slowest". */
static Outage
live_through(const BankBreakerPolicy *policy, int64_t dies, int64_t back, int64_t end,
			 int64_t slowest, uint64_t *state)
{
	Outage		outage = {0};
	BankBreaker breaker;
	int64_t		generations[MAX_REQUESTS];
	int64_t		ends[MAX_REQUESTS];
	int			n = 0;
	int64_t		now;

	bank_breaker_init(&breaker, policy, 0);
	for (now = 0; now < end; now++)
	{
		int			i;

		(void) bank_breaker_tick(&breaker, policy, now);
		for (i = n - 1; i >= 0; i--)
		{
			bool		down = now >= dies && now < back;
			bool		counts;
			bool		changed;

			if (ends[i] > now)
				continue;
			changed = bank_breaker_result(&breaker, policy, generations[i],
										  down ? BANK_UNREACHED : BANK_DELIVERED, now, &counts);
			outage.counted += counts;
			outage.opened += changed && breaker.state == BANK_BREAKER_OPEN;
			if (changed && breaker.state == BANK_BREAKER_CLOSED)
				outage.closed_at = now;
			n--;
			generations[i] = generations[n];
			ends[i] = ends[n];
		}
		while (bank_breaker_allows(&breaker, policy, n) > 0)
		{
			outage.probes += breaker.state == BANK_BREAKER_HALF_OPEN && now < back;
			generations[n] = bank_breaker_sent(&breaker);
			ends[n] = now + 1 + (int64_t) (check_random(state) % (uint64_t) slowest);
			n++;
		}
		outage.most = n > outage.most ? n : outage.most;
		if (breaker.ramp < policy->concurrency)
			outage.full_at = now + 1;
	}
	return outage;
}

/* Outages burn as many attempts as it takes to open, cost a probe per timeout, and end. */
static void
test_outages(void)
{
	uint64_t	state = 6;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 2000 && sound; trial++)
	{
		BankBreakerPolicy policy = random_policy(&state);
		int64_t		slowest = 1 + (int64_t) (check_random(&state) % 20);
		int64_t		dies = 50 + (int64_t) (check_random(&state) % 50);
		int64_t		back = dies + 200 + (int64_t) (check_random(&state) % 1000);
		int64_t		end = back + policy.timeout + 10 * slowest + 10;
		Outage		outage = live_through(&policy, dies, back, end, slowest, &state);
		int64_t		longest_cycle = policy.timeout + slowest;
		int64_t		opened_by = dies + policy.failure_threshold * slowest;

		sound = outage.counted == policy.failure_threshold && outage.opened >= 1 &&
			outage.probes <= (back - dies) / policy.timeout + 1 &&
			outage.probes >= (back - opened_by) / longest_cycle - 1 &&
			outage.most <= policy.concurrency + 1 &&
			outage.closed_at >= back && outage.closed_at <= back + longest_cycle &&
			outage.full_at <= outage.closed_at + 6 * slowest;
		if (!sound)
			printf("# trial %d: threshold %" PRId32 ", timeout %" PRId64 ", concurrency %" PRId32
				   ", slowest %" PRId64 ", down %" PRId64 " to %" PRId64 ": counted %d, opened %d, "
				   "probes %d, most %d, closed at %" PRId64 ", full at %" PRId64 "\n", trial,
				   policy.failure_threshold, policy.timeout, policy.concurrency, slowest, dies,
				   back, outage.counted, outage.opened, outage.probes, outage.most,
				   outage.closed_at, outage.full_at);
	}
	check(sound, "outages burn few attempts, are probed once per timeout, and end");
}

int
main(void)
{
	test_situations();
	test_arrows();
	test_story();
	test_burst();
	test_policy_changes();
	test_extremes();
	test_restart();
	test_commands();
	test_names();
	test_histories();
	test_open_time();
	test_outages();
	return check_done();
}
