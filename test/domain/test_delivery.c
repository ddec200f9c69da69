/*
 * test_delivery.c
 *		What HTTP statuses mean, and the delays between attempts: known ones, and their
 *		bounds under any policy.
 */
#include "check.h"
#include "domain/delivery.h"

#include <limits.h>

__extension__ typedef unsigned __int128 uint128;

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

/* Statuses that one meets, and the edges of their classes. */
static void
test_statuses(void)
{
	static const struct
	{
		int			status;
		const char *verdict;
	}			cases[] = {
		{200, "delivered"}, {201, "delivered"}, {202, "delivered"}, {204, "delivered"},
		{299, "delivered"},
		{400, "rejected"}, {401, "rejected"}, {403, "rejected"}, {404, "rejected"},
		{407, "rejected"}, {409, "rejected"}, {411, "rejected"}, {413, "rejected"},
		{422, "rejected"}, {428, "rejected"}, {430, "rejected"}, {499, "rejected"},
		{408, "unreached"}, {429, "throttled"}, {410, "gone"},
		{0, "unreached"}, {100, "unreached"}, {101, "unreached"}, {199, "unreached"},
		{300, "unreached"}, {301, "unreached"}, {302, "unreached"}, {304, "unreached"},
		{307, "unreached"}, {308, "unreached"}, {399, "unreached"},
		{500, "unreached"}, {502, "unreached"}, {503, "unreached"}, {504, "unreached"},
		{599, "unreached"}, {600, "unreached"}, {999, "unreached"},
		{-1, "unreached"}, {-200, "unreached"}, {2000, "unreached"},
		{INT_MIN, "unreached"}, {INT_MAX, "unreached"},
	};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		name[32];

		(void) snprintf(name, sizeof(name), "status %d", cases[i].status);
		check_text(bank_verdict_name(bank_delivery_verdict(cases[i].status)), cases[i].verdict,
				   name);
	}
}

/* All of them, by their first digit. */
static void
test_all_statuses(void)
{
	int			counts[BANK_GONE + 1] = {0};
	bool		sound = true;
	int			status;

	for (status = 0; status <= 999; status++)
	{
		BankVerdict verdict = bank_delivery_verdict(status);
		bool		odd = status == 408 || status == 410 || status == 429;

		counts[verdict]++;
		if ((verdict == BANK_DELIVERED) != (status / 100 == 2) ||
			(verdict == BANK_REJECTED) != (status / 100 == 4 && !odd))
		{
			sound = check(false, "status %d is %s", status, bank_verdict_name(verdict));
			break;
		}
	}
	check(sound, "every status from 0 to 999 belongs to its class");
	check_int(counts[BANK_DELIVERED], 100, "so many are deliveries");
	check_int(counts[BANK_REJECTED], 97, "so many are rejections");
	check_int(counts[BANK_THROTTLED], 1, "one throttles");
	check_int(counts[BANK_GONE], 1, "one is for good");
	check_int(counts[BANK_UNREACHED], 801, "all others are failures of the endpoint");
}

/* The shortest and the longest wait of some policies, worked out by hand. */
static void
test_known_delays(void)
{
	static const struct
	{
		const char *name;
		BankRetryPolicy policy;
		int32_t		attempts;
		int64_t		least;
		int64_t		most;
	}			cases[] = {
		{"first", {10, SECOND, HOUR}, 1, SECOND / 2, SECOND},
		{"second", {10, SECOND, HOUR}, 2, SECOND, 2 * SECOND},
		{"third", {10, SECOND, HOUR}, 3, 2 * SECOND, 4 * SECOND},
		{"last before the cap", {100, SECOND, HOUR}, 12, 1024 * SECOND, 2048 * SECOND},
		{"first at the cap", {100, SECOND, HOUR}, 13, HOUR / 2, HOUR},
		{"far beyond the cap", {100, SECOND, HOUR}, 100, HOUR / 2, HOUR},
		{"most attempts", {INT32_MAX, SECOND, HOUR}, INT32_MAX, HOUR / 2, HOUR},
		{"cap is a power", {10, SECOND, 4 * SECOND}, 3, 2 * SECOND, 4 * SECOND},
		{"constant", {10, SECOND, SECOND}, 9, SECOND / 2, SECOND},
		{"shortest", {10, 1, 1}, 1, 0, 0},
		{"odd", {10, 3, 3}, 1, 1, 2},
		{"longest", {10, INT64_MAX, INT64_MAX}, 1, INT64_MAX / 2, INT64_MAX - 1},
		{"longest, doubled", {10, INT64_MAX, INT64_MAX}, 2, INT64_MAX / 2, INT64_MAX - 1},
		{"overflow by doubling", {10, INT64_MAX / 2 + 1, INT64_MAX}, 2, INT64_MAX / 2,
		INT64_MAX - 1},
		{"no overflow yet", {10, INT64_MAX / 2, INT64_MAX}, 2, INT64_MAX / 2, INT64_MAX - 1},
		{"from 1 to the greatest power", {100, 1, INT64_MAX}, 63, INT64_C(1) << 61,
		INT64_C(1) << 62},
		{"from 1 beyond it", {100, 1, INT64_MAX}, 64, INT64_MAX / 2, INT64_MAX - 1},
		{"from 1, most attempts", {INT32_MAX, 1, INT64_MAX}, INT32_MAX, INT64_MAX / 2,
		INT64_MAX - 1},
		{"no attempt yet", {10, SECOND, HOUR}, 0, SECOND / 2, SECOND},
		{"less than none", {10, SECOND, HOUR}, INT32_MIN, SECOND / 2, SECOND},
	};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		int64_t		span = cases[i].most - cases[i].least;
		char		name[80];

		(void) snprintf(name, sizeof(name), "shortest delay: %s", cases[i].name);
		check_int(bank_retry_delay(&cases[i].policy, cases[i].attempts, BANK_NO_RETRY_AFTER, 0),
				  cases[i].least, name);
		(void) snprintf(name, sizeof(name), "longest delay: %s", cases[i].name);
		check_int(bank_retry_delay(&cases[i].policy, cases[i].attempts, BANK_NO_RETRY_AFTER,
								   (uint64_t) span), cases[i].most, name);
		(void) snprintf(name, sizeof(name), "random numbers go round: %s", cases[i].name);
		check_int(bank_retry_delay(&cases[i].policy, cases[i].attempts, BANK_NO_RETRY_AFTER,
								   (uint64_t) span + 1), cases[i].least, name);
	}
}

/* What the receiver asks for wins if it is longer, up to a day. */
static void
test_retry_after(void)
{
	static const BankRetryPolicy policy = {10, 10 * SECOND, HOUR};
	static const BankRetryPolicy slow = {10, INT64_MAX, INT64_MAX};

	check_int(bank_retry_delay(&policy, 1, BANK_NO_RETRY_AFTER, 0), 5 * SECOND, "not asked");
	check_int(bank_retry_delay(&policy, 1, 0, 0), 5 * SECOND, "asked for at once");
	check_int(bank_retry_delay(&policy, 1, 5 * SECOND - 1, 0), 5 * SECOND, "asked for less");
	check_int(bank_retry_delay(&policy, 1, 5 * SECOND, 0), 5 * SECOND, "asked for the same");
	check_int(bank_retry_delay(&policy, 1, 5 * SECOND + 1, 0), 5 * SECOND + 1, "asked for more");
	check_int(bank_retry_delay(&policy, 1, 2 * HOUR, 0), 2 * HOUR,
			  "what is asked for may be longer than the policy's longest");
	check_int(bank_retry_delay(&policy, 1, BANK_RETRY_AFTER_MAX, 0), 24 * HOUR, "asked for a day");
	check_int(bank_retry_delay(&policy, 1, BANK_RETRY_AFTER_MAX + 1, 0), 24 * HOUR,
			  "asked for more than a day");
	check_int(bank_retry_delay(&policy, 1, INT64_MAX, 0), 24 * HOUR, "asked for ever");
	check_int(bank_retry_delay(&policy, 1, INT64_MIN, 0), 5 * SECOND, "asked for the past");
	check_int(bank_retry_delay(&slow, 1, INT64_MAX, 0), INT64_MAX / 2,
			  "a policy may be slower than a day");
}

/* Any policy: the delay is what 128 bits say it is. */
static void
test_any_policy(void)
{
	uint64_t	state = 1;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 200000 && sound; trial++)
	{
		int64_t		a = check_random_int64(&state);
		int64_t		b = check_random_int64(&state);
		BankRetryPolicy policy = {1, (a < b ? a : b), (a < b ? b : a)};
		int32_t		attempts = (int32_t) (check_random(&state) % (trial % 2 == 0 ? 80 : INT32_MAX));
		int64_t		retry_after = trial % 3 == 0 ? check_random_int64(&state) : BANK_NO_RETRY_AFTER;
		int64_t		asked = retry_after < 24 * HOUR ? retry_after : 24 * HOUR;
		uint64_t	random = check_random(&state) >> (trial % 64);
		uint128		exact;
		int64_t		delay;
		int64_t		plain;

		if (policy.first_delay == 0)
			policy.first_delay = 1;
		if (policy.max_delay == 0)
			policy.max_delay = 1;
		attempts = attempts < 1 ? 1 : attempts;
		exact = (uint128) (uint64_t) policy.first_delay << (attempts > 64 ? 63 : attempts - 1);
		if (exact > (uint64_t) policy.max_delay)
			exact = (uint64_t) policy.max_delay;

		plain = bank_retry_delay(&policy, attempts, BANK_NO_RETRY_AFTER, random);
		delay = bank_retry_delay(&policy, attempts, retry_after, random);
		sound = plain >= (int64_t) (exact / 2) && plain <= (int64_t) exact &&
			(uint64_t) plain - (uint64_t) (exact / 2) == random % (uint64_t) (exact / 2 + 1) &&
			delay == (asked > plain ? asked : plain);
		if (!sound)
			printf("# first %" PRId64 ", max %" PRId64 ", attempts %" PRId32 ", retry after %"
				   PRId64 ", random %" PRIu64 ": %" PRId64 ", %" PRId64 "\n", policy.first_delay,
				   policy.max_delay, attempts, retry_after, random, plain, delay);
	}
	check(sound, "delays of any policy are within their bounds");
}

/* With the same random number, later attempts never wait less. */
static void
test_never_shorter(void)
{
	uint64_t	state = 2;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 2000 && sound; trial++)
	{
		int64_t		first = 1 + (check_random_int64(&state) >> 1);
		int64_t		max = first + (check_random_int64(&state) >> 1);
		BankRetryPolicy policy = {80, first, max};
		int64_t		before = 0;
		int32_t		attempts;

		for (attempts = 1; attempts <= 80 && sound; attempts++)
		{
			int64_t		delay = bank_retry_delay(&policy, attempts, BANK_NO_RETRY_AFTER, 0);

			sound = delay >= before && delay <= max;
			before = delay;
		}
		sound = sound && before == max / 2;
		if (!sound)
			printf("# first %" PRId64 ", max %" PRId64 "\n", first, max);
	}
	check(sound, "delays grow until they reach the longest");
}

/* The jitter takes every value between half the delay and all of it, about equally often. */
static void
test_jitter_spreads(void)
{
	static const BankRetryPolicy policy = {10, 200, 200};
	int			seen[101] = {0};
	uint64_t	state = 3;
	bool		sound = true;
	int			i;

	for (i = 0; i < 101000 && sound; i++)
	{
		int64_t		delay = bank_retry_delay(&policy, 1, BANK_NO_RETRY_AFTER,
											 check_random(&state));

		sound = delay >= 100 && delay <= 200;
		if (sound)
			seen[delay - 100]++;
	}
	for (i = 0; i <= 100; i++)
		sound = sound && seen[i] > 800 && seen[i] < 1200;
	check(sound, "jitter spreads over half the delay");
}

/* Names are those of the documents. */
static void
test_names(void)
{
	check_text(bank_verdict_name(BANK_DELIVERED), "delivered", "name of BANK_DELIVERED");
	check_text(bank_verdict_name(BANK_REJECTED), "rejected", "name of BANK_REJECTED");
	check_text(bank_verdict_name(BANK_UNREACHED), "unreached", "name of BANK_UNREACHED");
	check_text(bank_verdict_name(BANK_THROTTLED), "throttled", "name of BANK_THROTTLED");
	check_text(bank_verdict_name(BANK_GONE), "gone", "name of BANK_GONE");
}

int
main(void)
{
	test_statuses();
	test_all_statuses();
	test_known_delays();
	test_retry_after();
	test_any_policy();
	test_never_shorter();
	test_jitter_spreads();
	test_names();
	return check_done();
}
