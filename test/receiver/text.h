/*
 * text.h
 *		Bytes that grow, and parts of them.
 *
 * Memory that runs out ends the program.
 */
#ifndef RECEIVER_TEXT_H
#define RECEIVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow. data is NULL until something is added; {0} is an empty buffer. */
typedef struct Buffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} Buffer;

/* Part of a text, not terminated. data is NULL for what is not there. */
typedef struct Slice
{
	const char *data;
	size_t		len;
} Slice;

extern void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
extern void *allocate(void *old, size_t size);

extern void buffer_reserve(Buffer *buffer, size_t more);
extern void buffer_add(Buffer *buffer, const void *data, size_t len);
extern void buffer_print(Buffer *buffer, const char *format, ...)
			__attribute__((format(printf, 2, 3)));
extern void buffer_add_escaped(Buffer *buffer, Slice text);
extern void buffer_clear(Buffer *buffer);

extern Slice slice_take(Slice *from, char separator);
extern bool slice_equal(Slice a, Slice b);
extern bool slice_is(Slice slice, const char *text);
extern bool slice_begins(Slice slice, Slice with);
extern Slice slice_keep(Slice slice);
extern bool slice_number(Slice slice, uint64_t *number);

#endif							/* RECEIVER_TEXT_H */
