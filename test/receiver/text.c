/*
 * text.c
 *		Bytes that grow, and parts of them.
 */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* End with a message. */
void
die(const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	fputs("receiver: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* realloc that does not return NULL. */
void *
allocate(void *old, size_t size)
{
	void	   *memory = realloc(old, size);

	if (memory == NULL)
		die("out of memory");
	return memory;
}

/* Make room for more bytes behind those of the buffer. */
void
buffer_reserve(Buffer *buffer, size_t more)
{
	size_t		size = buffer->size ? buffer->size : 4096;

	while (size < buffer->len + more)
		size *= 2;
	if (size != buffer->size)
		buffer->data = allocate(buffer->data, size);
	buffer->size = size;
}

/* Append bytes. */
void
buffer_add(Buffer *buffer, const void *data, size_t len)
{
	if (len == 0)
		return;
	buffer_reserve(buffer, len);
	memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
}

/* Append a short text, as printf makes it; longer than 1000 bytes it is cut. */
void
buffer_print(Buffer *buffer, const char *format, ...)
{
	va_list		args;
	int			len;

	buffer_reserve(buffer, 1000);
	va_start(args, format);
	len = vsnprintf(buffer->data + buffer->len, 1000, format, args);
	va_end(args);
	buffer->len += len < 1000 ? len : 999;
}

/* Append a text as a field of the log. */
void
buffer_add_escaped(Buffer *buffer, Slice text)
{
	const char *from = text.data;
	const char *end = from + text.len;

	for (const char *p = from; p < end; p++)
	{
		const char *escape = *p == '\t' ? "\\t" : *p == '\n' ? "\\n" :
			*p == '\r' ? "\\r" : *p == '\\' ? "\\\\" : NULL;

		if (escape == NULL)
			continue;
		buffer_add(buffer, from, p - from);
		buffer_add(buffer, escape, 2);
		from = p + 1;
	}
	buffer_add(buffer, from, end - from);
}

/* Forget what is in a buffer, and its memory when it is much. */
void
buffer_clear(Buffer *buffer)
{
	buffer->len = 0;
	if (buffer->size > 1024 * 1024)
	{
		free(buffer->data);
		*buffer = (Buffer) {0};
	}
}

/* Take the text up to a separator, or all of it, from the front of another. */
Slice
slice_take(Slice *from, char separator)
{
	const char *end = from->len ? memchr(from->data, separator, from->len) : NULL;
	Slice		taken = {from->data, end ? (size_t) (end - from->data) : from->len};
	size_t		gone = taken.len + (end != NULL);

	from->data += gone;
	from->len -= gone;
	return taken;
}

/* Are these texts the same? */
bool
slice_equal(Slice a, Slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Is a text the same as a constant one? */
bool
slice_is(Slice slice, const char *text)
{
	return slice_equal(slice, (Slice) {text, strlen(text)});
}

/* Does a text begin with another? */
bool
slice_begins(Slice slice, Slice with)
{
	return slice.len >= with.len && slice_equal((Slice) {slice.data, with.len}, with);
}

/* A copy that stays, NUL-terminated. */
Slice
slice_keep(Slice slice)
{
	char	   *copy = allocate(NULL, slice.len + 1);

	memcpy(copy, slice.data, slice.len);
	copy[slice.len] = '\0';
	return (Slice) {copy, slice.len};
}

/* A number of at most 12 digits; false if it is none. */
bool
slice_number(Slice slice, uint64_t *number)
{
	*number = 0;
	for (size_t i = 0; i < slice.len; i++)
	{
		if (slice.data[i] < '0' || slice.data[i] > '9')
			return false;
		*number = *number * 10 + (slice.data[i] - '0');
	}
	return slice.len > 0 && slice.len <= 12;
}
