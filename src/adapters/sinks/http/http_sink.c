/*
 * http_sink.c
 *		The HTTP sink: its callbacks, and the event loop of libcurl.
 *
 * libcurl's multi interface tells by callbacks which sockets and which timer it waits
 * for; the relay waits for them and calls run(). Requests that have ended stand in a
 * queue from which run() alone tells of them: complete() may then send and cancel at
 * will, since libcurl is not on the stack. wait_for() lets libcurl do what is due first,
 * so that a request just sent is on its way, with its socket, before the relay sleeps.
 *
 * A resolver runs in a thread of its own, which inherits the signal mask: all signals
 * are blocked in every call of libcurl that may start one, since they are for the
 * relay's thread. No locks; all memory is malloc's, and none is used in a transaction.
 */
#include "adapters/sinks/http/http_sink.h"

#include "adapters/sinks/http/endpoint.h"
#include "adapters/sinks/http/sockets.h"
#include "adapters/sinks/http/transfer.h"

#include <curl/curl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

/* So many connections may be open without a request. */
#define MAX_IDLE_CONNECTIONS 256L

/* How often to look at sockets that the relay has no room to wait for, milliseconds. */
#define OVERFLOW_WAIT 10

/* A request just sent needs some turns until it waits for its socket, and no more. */
#define MAX_TURNS 8

#define NO_DEADLINE INT64_C(-1)

typedef struct BankHttpSink
{
	const BankSinkHost *host;
	CURLM	   *multi;
	BankHttpSockets sockets;
	int64_t		deadline;		/* libcurl's timer, by the monotonic clock in ms */
	BankHttpTransfer *idle;
	BankHttpTransfer *ended;	/* a queue: the first one, */
	BankHttpTransfer **ended_end;	/* and where the next one goes */
	BankHttpTransfer *all;
} BankHttpSink;

/* Milliseconds of a clock that is never set. */
static int64_t
monotonic_ms(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Block all signals; the mask that was is for restore_signals(). */
static void
block_signals(sigset_t *before)
{
	sigset_t	all;

	(void) sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, before);
}

/* The end of block_signals(). */
static void
restore_signals(const sigset_t *before)
{
	(void) pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* CURLMOPT_SOCKETFUNCTION */
static int
socket_callback(CURL *easy, curl_socket_t socket, int what, void *arg, void *socket_data)
{
	BankHttpSink *sink = arg;
	int			events = 0;

	(void) easy;
	(void) socket_data;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= BANK_SINK_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= BANK_SINK_WRITE;
	return bank_http_sockets_watch(&sink->sockets, socket, events) ? 0 : -1;
}

/* CURLMOPT_TIMERFUNCTION */
static int
timer_callback(CURLM *multi, long timeout, void *arg)
{
	BankHttpSink *sink = arg;

	(void) multi;
	sink->deadline = timeout < 0 ? NO_DEADLINE : monotonic_ms() + timeout;
	return 0;
}

/* Take ended transfers out of libcurl, into the queue. */
static void
collect(BankHttpSink *sink)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(sink->multi, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		CURLcode	code = message->data.result;	/* the message ends with the next call */
		char	   *private = NULL;
		BankHttpTransfer *transfer;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		transfer = (BankHttpTransfer *) (void *) private;
		(void) curl_multi_remove_handle(sink->multi, easy);
		bank_http_transfer_ended(transfer, code);
		transfer->state = BANK_HTTP_ENDED;
		transfer->next = NULL;
		*sink->ended_end = transfer;
		sink->ended_end = &transfer->next;
	}
}

/* Let libcurl do what its timer says is due, and collect; signals are blocked. */
static void
run_timer(BankHttpSink *sink)
{
	int			running;
	int			turn;

	for (turn = 0; turn < MAX_TURNS; turn++)
	{
		if (sink->deadline == NO_DEADLINE || sink->deadline > monotonic_ms())
			break;
		sink->deadline = NO_DEADLINE;
		(void) curl_multi_socket_action(sink->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	collect(sink);
}

/* Make a transfer that libcurl does not have ready for the next request. */
static void
recycle(BankHttpSink *sink, BankHttpTransfer *transfer)
{
	bank_http_transfer_clear(transfer);
	transfer->state = BANK_HTTP_IDLE;
	transfer->next = sink->idle;
	sink->idle = transfer;
}

/* BankSinkCallbacks.startup */
static void *
http_startup(const BankSinkHost *host)
{
	BankHttpSink *sink = calloc(1, sizeof(*sink));
	sigset_t	before;
	bool		ok;

	if (sink == NULL)
		return NULL;
	sink->host = host;
	sink->deadline = NO_DEADLINE;
	sink->ended_end = &sink->ended;
	block_signals(&before);
	ok = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK &&
		(sink->multi = curl_multi_init()) != NULL &&
		curl_multi_setopt(sink->multi, CURLMOPT_SOCKETFUNCTION, socket_callback) == CURLM_OK &&
		curl_multi_setopt(sink->multi, CURLMOPT_SOCKETDATA, (void *) sink) == CURLM_OK &&
		curl_multi_setopt(sink->multi, CURLMOPT_TIMERFUNCTION, timer_callback) == CURLM_OK &&
		curl_multi_setopt(sink->multi, CURLMOPT_TIMERDATA, (void *) sink) == CURLM_OK &&
		curl_multi_setopt(sink->multi, CURLMOPT_MAXCONNECTS, MAX_IDLE_CONNECTIONS) == CURLM_OK;
	if (!ok && sink->multi != NULL)
		(void) curl_multi_cleanup(sink->multi);
	restore_signals(&before);
	if (!ok)
	{
		free(sink);
		return NULL;
	}
	return sink;
}

/* An idle transfer, taken out of its list, or a new one; NULL: there is no memory. */
static BankHttpTransfer *
take_idle(BankHttpSink *sink)
{
	BankHttpTransfer *transfer = sink->idle;

	if (transfer != NULL)
	{
		sink->idle = transfer->next;
		return transfer;
	}
	transfer = bank_http_transfer_create(sink->host, &sink->sockets);
	if (transfer != NULL)
	{
		transfer->next_of_all = sink->all;
		sink->all = transfer;
	}
	return transfer;
}

/* BankSinkCallbacks.send: libcurl starts with it in the next wait_for() or run(). */
static bool
http_send(void *state, BankSinkRequest *request, BankDelivery *delivery)
{
	BankHttpSink *sink = state;
	BankHttpTransfer *transfer;
	const char *wrong;
	sigset_t	before;

	request->sink_data = NULL;
	transfer = take_idle(sink);
	wrong = transfer == NULL ? "out of memory" : bank_http_transfer_begin(transfer, request);
	if (wrong == NULL)
	{
		CURLMcode	code;

		block_signals(&before);
		code = curl_multi_add_handle(sink->multi, transfer->easy);
		restore_signals(&before);
		if (code != CURLM_OK)
			wrong = curl_multi_strerror(code);
	}
	if (wrong != NULL)
	{
		if (transfer != NULL)
			recycle(sink, transfer);
		bank_http_fail(delivery, wrong);
	}
	else
	{
		transfer->state = BANK_HTTP_UNDER_WAY;
		request->sink_data = transfer;
	}
	return wrong == NULL;
}

/* BankSinkCallbacks.cancel: a connection that is in the middle of it is closed. */
static void
http_cancel(void *state, BankSinkRequest *request)
{
	BankHttpSink *sink = state;
	BankHttpTransfer *transfer = request->sink_data;
	sigset_t	before;

	if (transfer == NULL)
		return;
	if (transfer->state == BANK_HTTP_ENDED)
	{
		/* leaves the queue when its turn comes */
		request->sink_data = NULL;
		transfer->request = NULL;
		return;
	}
	block_signals(&before);
	(void) curl_multi_remove_handle(sink->multi, transfer->easy);
	restore_signals(&before);
	recycle(sink, transfer);
}

/* BankSinkCallbacks.wait_for */
static uint64_t
http_wait_for(void *state, BankSinkSocket *sockets, int max, int *n, int32_t *timeout)
{
	BankHttpSink *sink = state;
	sigset_t	before;
	uint64_t	version;

	block_signals(&before);
	run_timer(sink);
	restore_signals(&before);
	version = bank_http_sockets_report(&sink->sockets, sockets, max, n);

	if (sink->ended != NULL)
		*timeout = 0;
	else if (sink->deadline == NO_DEADLINE)
		*timeout = -1;
	else
	{
		int64_t		left = sink->deadline - monotonic_ms();

		*timeout = left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int32_t) left;
	}
	if (sink->sockets.overflow && (*timeout < 0 || *timeout > OVERFLOW_WAIT))
		*timeout = OVERFLOW_WAIT;
	return version;
}

/* Tell libcurl of a socket; events 0: it shall look itself what has happened. */
static void
socket_ready(BankHttpSink *sink, int socket, int events)
{
	int			what = 0;
	int			running;

	if (events & BANK_SINK_READ)
		what |= CURL_CSELECT_IN;
	if (events & BANK_SINK_WRITE)
		what |= CURL_CSELECT_OUT;
	(void) curl_multi_socket_action(sink->multi, socket, what, &running);
}

/* BankSinkCallbacks.run */
static void
http_run(void *state, const BankSinkSocket *ready, int n)
{
	BankHttpSink *sink = state;
	BankHttpTransfer *transfer;
	sigset_t	before;
	int			i;

	block_signals(&before);
	for (i = 0; i < n; i++)
		socket_ready(sink, ready[i].socket, ready[i].events);
	if (sink->sockets.overflow)
	{
		for (i = 0; i < sink->sockets.size; i++)
		{
			if (sink->sockets.sockets[i].events != 0 && sink->sockets.sockets[i].reported == 0)
				socket_ready(sink, i, 0);
		}
	}
	run_timer(sink);
	restore_signals(&before);

	while ((transfer = sink->ended) != NULL)
	{
		BankSinkRequest *request = transfer->request;
		BankDelivery delivery = transfer->delivery;

		sink->ended = transfer->next;
		if (sink->ended == NULL)
			sink->ended_end = &sink->ended;
		recycle(sink, transfer);
		if (request != NULL)
			sink->host->complete(request, &delivery);
	}
}

/*
 * BankSinkCallbacks.reset: connections of requests under way are not used again, and
 * idle ones are shut down, which libcurl sees before it would use one.
 */
static void
http_reset(void *state)
{
	BankHttpSink *sink = state;
	BankHttpTransfer *transfer;
	int			i;

	for (transfer = sink->all; transfer != NULL; transfer = transfer->next_of_all)
	{
		if (transfer->state == BANK_HTTP_UNDER_WAY)
			(void) curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
	}
	for (i = 0; i < sink->sockets.size; i++)
	{
		if (sink->sockets.sockets[i].open && sink->sockets.sockets[i].events == 0)
			(void) shutdown(i, SHUT_RDWR);
	}
}

/* The callbacks of the sink. */
const BankSinkCallbacks *
bank_http_callbacks(void)
{
	static const BankSinkCallbacks callbacks = {
		.version = BANK_SINK_VERSION,
		.check = bank_http_check,
		.startup = http_startup,
		.send = http_send,
		.cancel = http_cancel,
		.wait_for = http_wait_for,
		.run = http_run,
		.reset = http_reset,
	};

	return &callbacks;
}
