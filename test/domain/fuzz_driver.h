/*
 * fuzz_driver.h
 *		A driver for fuzzers without a fuzzing engine: fuzz_X [runs [seed [seconds]]].
 *
 * A fuzzer is one function, LLVMFuzzerTestOneInput, that aborts through fuzz_fail()
 * when an invariant does not hold, and a dictionary: words that inputs are made of.
 * Built with -DFUZZ_ENGINE (and clang -fsanitize=fuzzer) the engine brings its own
 * main. Otherwise main makes inputs from random bytes, words of the dictionary and
 * mutations of the input before. The same seed gives the same inputs; a failure
 * prints its input in hexadecimal.
 */
#ifndef BANK_TEST_FUZZ_DRIVER_H
#define BANK_TEST_FUZZ_DRIVER_H

#include "check.h"

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Words to build inputs from; the fuzzer defines it, a null pointer at the end. */
extern const char *const fuzz_dictionary[];

#define FUZZ_MAX_INPUT 256

static const uint8_t *fuzz_data;
static size_t fuzz_size;

/* Report the broken invariant with the input at hand and abort. */
static inline void
fuzz_fail(const char *invariant, int line)
{
	size_t		i;

	fprintf(stderr, "line %d: does not hold: %s\ninput (%zu bytes): ", line, invariant, fuzz_size);
	for (i = 0; i < fuzz_size; i++)
		fprintf(stderr, "%02x", fuzz_data[i]);
	fprintf(stderr, "\n");
	abort();
}

#define FUZZ_HOLDS(invariant) \
	do { \
		if (!(invariant)) \
			fuzz_fail(#invariant, __LINE__); \
	} while (0)

#ifndef FUZZ_ENGINE

/* Append bytes as far as there is room. */
static inline void
fuzz_append(uint8_t *input, size_t *size, const void *bytes, size_t len)
{
	if (len > FUZZ_MAX_INPUT - *size)
		len = FUZZ_MAX_INPUT - *size;
	memcpy(input + *size, bytes, len);
	*size += len;
}

/* A new input: one word of the dictionary, or up to six words, digits and random bytes. */
static inline void
fuzz_compose(uint8_t *input, size_t *size, uint64_t *state)
{
	size_t		words = 0;
	uint64_t	pieces = check_random(state);

	while (fuzz_dictionary[words] != NULL)
		words++;
	*size = 0;
	pieces = (pieces % 2 == 0) ? 1 : 1 + (pieces >> 8) % 6;
	while (pieces-- > 0)
	{
		uint64_t	choice = check_random(state);
		const char *word = fuzz_dictionary[(choice >> 8) % words];
		uint64_t	bytes = check_random(state);
		char		digits[24];

		switch (choice % 8)
		{
			case 0:
				fuzz_append(input, size, &bytes, sizeof(bytes));
				break;
			case 1:
			case 2:
				(void) snprintf(digits, sizeof(digits), "%" PRIu64, bytes >> (choice >> 58));
				fuzz_append(input, size, digits, strlen(digits));
				break;
			default:
				fuzz_append(input, size, word, strlen(word));
				break;
		}
	}
}

/* Change the input a little: flip a bit, replace, drop, repeat or exchange bytes. */
static inline void
fuzz_mutate(uint8_t *input, size_t *size, uint64_t *state)
{
	uint64_t	choice = check_random(state);
	size_t		i = *size > 0 ? (choice >> 8) % *size : 0;
	size_t		j = *size > 0 ? (choice >> 32) % *size : 0;
	uint8_t		byte = (uint8_t) (choice >> 56);

	if (*size == 0)
	{
		fuzz_append(input, size, &byte, 1);
		return;
	}
	switch (choice % 6)
	{
		case 0:
			input[i] ^= (uint8_t) (1 << (byte % 8));
			break;
		case 1:
			input[i] = (uint8_t) (' ' + byte % 95);
			break;
		case 2:
			memmove(input + i, input + i + 1, *size - i - 1);
			(*size)--;
			break;
		case 3:
			if (*size < FUZZ_MAX_INPUT)
			{
				memmove(input + i + 1, input + i, *size - i);
				(*size)++;
			}
			break;
		case 4:
			byte = input[i];
			input[i] = input[j];
			input[j] = byte;
			break;
		default:
			input[i] = byte;
			break;
	}
}

/* Feed the fuzzer "runs" inputs, or as many as "seconds" allow; prints how many. */
int
main(int argc, char **argv)
{
	uint64_t	runs = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
	uint64_t	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	time_t		seconds = argc > 3 ? (time_t) strtoul(argv[3], NULL, 10) : 0;
	time_t		end = time(NULL) + seconds;
	uint64_t	state = seed;
	uint8_t		input[FUZZ_MAX_INPUT];
	size_t		size = 0;
	uint64_t	run;

	for (run = 0; seconds > 0 ? (run % 1024 != 0 || time(NULL) < end) : run < runs; run++)
	{
		uint8_t    *exact;

		if (check_random(&state) % 4 == 0)
			fuzz_compose(input, &size, &state);
		else
			fuzz_mutate(input, &size, &state);

		/* a copy of just this size, so that a sanitizer sees any step beyond it */
		exact = malloc(size > 0 ? size : 1);
		if (exact == NULL)
			abort();
		memcpy(exact, input, size);
		fuzz_data = exact;
		fuzz_size = size;
		(void) LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	printf("%s: %" PRIu64 " inputs, seed %" PRIu64 ", no failure\n", argv[0], run, seed);
	return 0;
}

#endif							/* FUZZ_ENGINE */

#endif							/* BANK_TEST_FUZZ_DRIVER_H */
