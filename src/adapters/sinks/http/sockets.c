/*
 * sockets.c
 *		The sockets that libcurl uses, and what it waits for on each.
 *
 * With each request libcurl begins and ends to wait for a connection. What the relay is
 * told changes only when it differs between two reports: while requests follow each
 * other on the same connections, it need not build its set of events anew.
 *
 * A kernel forgets a socket in such a set when it is closed, also if the next one gets
 * the same number; so such a number counts as a change. Connections are opened and
 * closed by callbacks of ours. Other sockets (a resolver's) are taken for closed as soon
 * as libcurl does not wait for them.
 *
 * Memory is malloc's, for one entry per number up to the highest, and kept.
 */
#include "adapters/sinks/http/sockets.h"

#include <stdlib.h>
#include <string.h>

/* Make an entry for this number; false: there is no memory. */
static bool
make_room(BankHttpSockets *sockets, int socket)
{
	int			size = sockets->size > 0 ? sockets->size : 64;
	BankHttpSocket *larger;

	if (socket < sockets->size)
		return true;
	while (size <= socket)
		size *= 2;
	larger = realloc(sockets->sockets, (size_t) size * sizeof(*larger));
	if (larger == NULL)
		return false;
	memset(larger + sockets->size, 0, (size_t) (size - sockets->size) * sizeof(*larger));
	sockets->sockets = larger;
	sockets->size = size;
	return true;
}

/* A connection's socket has been opened; false: there is no memory to know it. */
bool
bank_http_sockets_opened(BankHttpSockets *sockets, int socket)
{
	BankHttpSocket *entry;

	if (socket < 0 || !make_room(sockets, socket))
		return false;
	entry = &sockets->sockets[socket];
	entry->open = true;
	entry->events = 0;
	if (entry->reported != 0)
		sockets->stale = true;
	return true;
}

/* A connection's socket is being closed. */
void
bank_http_sockets_closed(BankHttpSockets *sockets, int socket)
{
	BankHttpSocket *entry;

	if (socket < 0 || socket >= sockets->size)
		return;
	entry = &sockets->sockets[socket];
	entry->open = false;
	entry->events = 0;
	if (entry->reported != 0)
		sockets->stale = true;
}

/* What libcurl waits for from now on, 0: nothing; false: there is no memory to know it. */
bool
bank_http_sockets_watch(BankHttpSockets *sockets, int socket, int events)
{
	BankHttpSocket *entry;

	if (socket < 0 || (socket >= sockets->size && events == 0))
		return true;
	if (!make_room(sockets, socket))
		return false;
	entry = &sockets->sockets[socket];
	entry->events = (uint8_t) events;
	if (events == 0 && !entry->open && entry->reported != 0)
		sockets->stale = true;
	return true;
}

/*
 * Fill in the sockets to wait for, in the order of their numbers, and return the number
 * of the report: the same as the last time if nothing has changed. If there are more
 * than max, the others are left out and "overflow" is set.
 */
uint64_t
bank_http_sockets_report(BankHttpSockets *sockets, BankSinkSocket *report, int max, int *n)
{
	int			i;

	*n = 0;
	sockets->overflow = false;
	for (i = 0; i < sockets->size; i++)
	{
		BankHttpSocket *entry = &sockets->sockets[i];
		uint8_t		events = entry->events;

		if (events != 0 && *n == max)
		{
			sockets->overflow = true;
			events = 0;
		}
		if (events != 0)
			report[(*n)++] = (BankSinkSocket) {.socket = i, .events = events};
		if (events != entry->reported)
			sockets->stale = true;
		entry->reported = events;
	}
	if (sockets->stale)
		sockets->version++;
	sockets->stale = false;
	return sockets->version;
}
