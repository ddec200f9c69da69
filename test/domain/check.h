/*
 * check.h
 *		The harness of the domain's unit and property tests: TAP on stdout.
 *
 * A test program calls check() once per fact and ends with
 * "return check_done();". A property is many trials and one TAP line: it reports
 * its first counterexample and stops there. Random numbers come from a fixed
 * seed, so that a failure repeats.
 */
#ifndef BANK_TEST_CHECK_H
#define BANK_TEST_CHECK_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int	check_count = 0;
static int	check_failures = 0;

/* One TAP line; "name" is printf-like. Returns the condition. */
__attribute__((format(printf, 2, 3)))
static inline bool
check(bool condition, const char *name, ...)
{
	va_list		args;

	check_count++;
	if (!condition)
		check_failures++;
	printf("%sok %d - ", condition ? "" : "not ", check_count);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf("\n");
	return condition;
}

/* Two numbers are equal; shows both if not. */
static inline bool
check_int(int64_t is, int64_t expected, const char *name)
{
	bool		same = check(is == expected, "%s", name);

	if (!same)
		printf("# is %" PRId64 ", expected %" PRId64 "\n", is, expected);
	return same;
}

/* Two texts are equal; shows both if not. */
static inline bool
check_text(const char *is, const char *expected, const char *name)
{
	bool		same = check(strcmp(is, expected) == 0, "%s", name);

	if (!same)
		printf("# is '%s', expected '%s'\n", is, expected);
	return same;
}

/* The plan, and the exit status of the program. */
static inline int
check_done(void)
{
	printf("1..%d\n", check_count);
	return check_failures == 0 ? 0 : 1;
}

/* The next number of a sequence that its state (any seed) determines: SplitMix64 of G. Steele. */
static inline uint64_t
check_random(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/*
 * A non-negative number of any magnitude: as many small ones as great ones, and
 * the ends of the range more often than chance would have them.
 */
static inline int64_t
check_random_int64(uint64_t *state)
{
	uint64_t	shape = check_random(state);

	switch (shape % 16)
	{
		case 0:
			return 0;
		case 1:
			return INT64_MAX - (int64_t) ((shape >> 8) % 3);
		default:
			return (int64_t) (check_random(state) >> (1 + (shape >> 8) % 63));
	}
}

#endif							/* BANK_TEST_CHECK_H */
