/*
 * waiting.c
 *		Waits for the latch and for the sockets of all sinks, at once.
 *
 * So whatever the server wants of this process (a barrier for DROP DATABASE, a shutdown)
 * wakes it at once, also while requests hang. The set of events is made anew when a sink says that
 * its sockets have changed.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"
#include "adapters/relay/exchange.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"

/* Sockets of one sink; twice as many as requests, as some linger. */
#define BANK_WAITING_SOCKETS (2 * (BANK_RELAY_IN_FLIGHT + BANK_EXCHANGES_SENT))

/* What there is to wait for in one sink. */
typedef struct BankWaitingSink
{
	BankSinkSocket sockets[BANK_WAITING_SOCKETS];
	BankSinkSocket ready[BANK_WAITING_SOCKETS];
	int			n;
	int			n_ready;
} BankWaitingSink;

/* One per sink, in the order of bank_sinks_all; sinks are added, never removed. */
#define BANK_WAITING_SINKS 16
static BankWaitingSink *bank_waiting_sinks[BANK_WAITING_SINKS];
static int	bank_waiting_count = 0;
static WaitEventSet *bank_waiting_set = NULL;

/* Ask all sinks what to wait for. True: it is something else than before. */
static bool
bank_waiting_ask(int64 *timeout)
{
	BankRelaySink *sink;
	bool		changed = false;
	int			n = 0;

	for (sink = bank_sinks_all; sink != NULL && n < BANK_WAITING_SINKS; sink = sink->next, n++)
	{
		int32_t		sink_timeout;
		uint64_t	version;

		if (bank_waiting_sinks[n] == NULL)
			bank_waiting_sinks[n] = MemoryContextAllocZero(TopMemoryContext,
														   sizeof(BankWaitingSink));
		version = sink->callbacks->wait_for(sink->state, bank_waiting_sinks[n]->sockets,
											BANK_WAITING_SOCKETS, &bank_waiting_sinks[n]->n,
											&sink_timeout);
		changed |= version != sink->sockets_version;
		sink->sockets_version = version;
		if (sink_timeout >= 0 && (*timeout < 0 || sink_timeout < *timeout))
			*timeout = sink_timeout;
	}
	changed |= n != bank_waiting_count;
	bank_waiting_count = n;
	return changed;
}

/* Make the set of events anew. The user data of a socket tells sink and place. */
static void
bank_waiting_build(void)
{
	int			total = 2;
	int			i;
	int			k;

	if (bank_waiting_set != NULL)
		FreeWaitEventSet(bank_waiting_set);
	for (i = 0; i < bank_waiting_count; i++)
		total += bank_waiting_sinks[i]->n;
	bank_waiting_set = bank_create_wait_event_set(total);
	AddWaitEventToSet(bank_waiting_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(bank_waiting_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (i = 0; i < bank_waiting_count; i++)
	{
		for (k = 0; k < bank_waiting_sinks[i]->n; k++)
		{
			const BankSinkSocket *socket = &bank_waiting_sinks[i]->sockets[k];
			uint32		events = (socket->events & BANK_SINK_READ ? WL_SOCKET_READABLE : 0) |
				(socket->events & BANK_SINK_WRITE ? WL_SOCKET_WRITEABLE : 0);

			if (events != 0)
				AddWaitEventToSet(bank_waiting_set, events, socket->socket, NULL,
								  (void *) (intptr_t) (i * BANK_WAITING_SOCKETS + k));
		}
	}
}

/* Have each sink do what can be done now. */
static void
bank_waiting_run(void)
{
	BankRelaySink *sink;
	int			n = 0;

	for (sink = bank_sinks_all; sink != NULL && n < bank_waiting_count; sink = sink->next, n++)
		sink->callbacks->run(sink->state, bank_waiting_sinks[n]->ready,
							 bank_waiting_sinks[n]->n_ready);
}

/* Wait until something happens, at most so long (-1: for ever); then let the sinks work. */
void
bank_waiting_wait(int64 timeout_ms)
{
	WaitEvent	occurred[64];
	bool		changed = bank_waiting_ask(&timeout_ms);
	int			n;
	int			i;

	if (changed || bank_waiting_set == NULL)
		bank_waiting_build();
	for (i = 0; i < bank_waiting_count; i++)
		bank_waiting_sinks[i]->n_ready = 0;
	n = WaitEventSetWait(bank_waiting_set, (long) Min(timeout_ms, INT_MAX), occurred,
						 lengthof(occurred), PG_WAIT_EXTENSION);
	for (i = 0; i < n; i++)
	{
		BankWaitingSink *sink;
		int			place;

		if (occurred[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		if ((occurred[i].events & WL_SOCKET_MASK) == 0)
			continue;
		place = (int) (intptr_t) occurred[i].user_data;
		sink = bank_waiting_sinks[place / BANK_WAITING_SOCKETS];
		sink->ready[sink->n_ready].socket = occurred[i].fd;
		sink->ready[sink->n_ready++].events =
			(occurred[i].events & WL_SOCKET_READABLE ? BANK_SINK_READ : 0) |
			(occurred[i].events & WL_SOCKET_WRITEABLE ? BANK_SINK_WRITE : 0);
	}
	bank_waiting_run();
}
