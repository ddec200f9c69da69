/*
 * relay.c
 *		What the relay is to a sink, without a server: a host and an event loop.
 *
 * As the worker does, it waits in a set of events of the kernel that it makes anew only
 * when the sink says that its sockets have changed. A sink that forgets to say so hangs.
 */
#include "relay.h"

#include "hmac.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

Relay		relay;

static int	epoll_fd = -1;
static uint64_t version = UINT64_MAX;
static int	calls_from_sink = 0;	/* in a callback that must not complete */

/* Milliseconds of a clock that is never set. */
int64_t
relay_clock_ms(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* BankSinkHost.unix_now */
static int64_t
unix_now(void)
{
	struct timespec now;

	if (relay.now != 0)
		return relay.now;
	(void) clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* BankSinkHost.complete */
static void
complete(BankSinkRequest *request, const BankDelivery *result)
{
	Delivery   *delivery = (Delivery *) (void *) request;

	if (calls_from_sink > 0)
	{
		fputs("complete() from within a callback that must not\n", stderr);
		abort();
	}
	delivery->completed++;
	delivery->result = *result;
	relay.under_way--;
	if (delivery->then != NULL)
		delivery->then(delivery);
}

/* Keep the longest time that a call of the sink took. */
static void
note_time(int64_t begin)
{
	int			ms = (int) (relay_clock_ms() - begin);

	if (ms > relay.longest_ms)
		relay.longest_ms = ms;
}

/* Begin with a sink; private addresses are allowed until somebody says otherwise. */
void
relay_start(const BankSinkCallbacks *sink)
{
	relay.host.allow_private = true;
	relay.host.complete = complete;
	relay.host.unix_now = unix_now;
	relay.host.hmac_sha256 = hmac_sha256;
	relay.max_sockets = RELAY_MAX_SOCKETS;
	relay.sink = sink;
	relay.state = sink->startup(&relay.host);
	if (relay.state == NULL)
	{
		fputs("the sink does not start\n", stderr);
		exit(1);
	}
}

/* Send one; when it fails at once, that is its result. An id of its own, unless it has one. */
void
relay_send(Delivery *delivery, const BankSinkTarget *target)
{
	int64_t		begin = relay_clock_ms();

	delivery->request.target = target;
	if (delivery->request.message_id == NULL)
		delivery->request.message_id = "msg_1";
	if (delivery->request.events == NULL && delivery->request.message == NULL)
	{
		if (delivery->event.json == NULL)
		{
			delivery->event.json = "{}";
			delivery->event.json_len = 2;
		}
		delivery->request.events = &delivery->event;
		delivery->request.n_events = 1;
	}
	delivery->completed = 0;
	calls_from_sink++;
	relay.under_way++;
	if (!relay.sink->send(relay.state, &delivery->request, &delivery->result))
	{
		delivery->completed = 1;
		relay.under_way--;
	}
	calls_from_sink--;
	note_time(begin);
}

/* Forget one that is under way. */
void
relay_cancel(Delivery *delivery)
{
	int64_t		begin = relay_clock_ms();

	calls_from_sink++;
	relay.sink->cancel(relay.state, &delivery->request);
	calls_from_sink--;
	relay.under_way--;
	note_time(begin);
}

/* Make the set of events anew. */
static void
rebuild(const BankSinkSocket *sockets, int n)
{
	int			i;

	relay.rebuilds++;
	if (epoll_fd >= 0)
		(void) close(epoll_fd);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < n; i++)
	{
		struct epoll_event event = {.data.fd = sockets[i].socket};

		if (sockets[i].events & BANK_SINK_READ)
			event.events |= EPOLLIN;
		if (sockets[i].events & BANK_SINK_WRITE)
			event.events |= EPOLLOUT;
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sockets[i].socket, &event) < 0)
		{
			perror("epoll_ctl");
			abort();
		}
	}
}

/* Wait once, at most so long, and let the sink do what can be done. */
void
relay_turn(int max_ms)
{
	static BankSinkSocket sockets[RELAY_MAX_SOCKETS];
	static struct epoll_event events[RELAY_MAX_SOCKETS];
	uint64_t	v;
	int			n;
	int			i;
	int32_t		timeout;
	int64_t		begin = relay_clock_ms();

	calls_from_sink++;
	v = relay.sink->wait_for(relay.state, sockets, relay.max_sockets, &n, &timeout);
	calls_from_sink--;
	note_time(begin);
	if (v != version)
		rebuild(sockets, n);
	version = v;

	n = epoll_wait(epoll_fd, events, RELAY_MAX_SOCKETS,
				   timeout < 0 || timeout > max_ms ? max_ms : timeout);
	for (i = 0; i < n; i++)
	{
		sockets[i] = (BankSinkSocket) {.socket = events[i].data.fd};
		if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			sockets[i].events |= BANK_SINK_READ;
		if (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			sockets[i].events |= BANK_SINK_WRITE;
	}
	begin = relay_clock_ms();
	relay.sink->run(relay.state, sockets, n > 0 ? n : 0);
	note_time(begin);
}

/* Go on until nothing is under way; false: that takes longer. */
bool
relay_finish(int max_ms)
{
	int64_t		end = relay_clock_ms() + max_ms;

	while (relay.under_way > 0)
	{
		int64_t		left = end - relay_clock_ms();

		if (left <= 0)
			return false;
		relay_turn((int) left);
	}
	return true;
}
