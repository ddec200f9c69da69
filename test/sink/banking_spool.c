/*
 * banking_spool.c
 *		A sample sink: appends every event as a line of JSON to a file.
 *
 * Start from this file to write a sink of your own; ports/event_sink.h is the contract. A
 * sink "spool" is a library banking_spool.so with one function, bank_sink_init(), which
 * returns its callbacks. Install it as "make install" does here, then subscribe:
 *
 *	SELECT bank_subscribe('audit', 'file:///var/spool/events', sink => 'spool');
 *
 * The file belongs to the server's user. For tests, the URL may end with
 * "?fail=rejected" or "?fail=unreached": then nothing is written.
 *
 * Memory is malloc's: PostgreSQL's belongs to contexts that come and go. Writing to a file
 * may block for a moment, which a sink for production must not: it would give its work
 * to sockets, and name them in wait_for().
 */
#include "postgres.h"

#include "fmgr.h"
#include "ports/event_sink.h"

#include <fcntl.h>
#include <unistd.h>

PG_MODULE_MAGIC;

extern PGDLLEXPORT const BankSinkCallbacks *bank_sink_init(void);

#define SCHEME "file://"
#define MAX_PATH 1000

/* Requests that were sent and are not done yet: a queue. */
typedef struct Job
{
	BankSinkRequest *request;
	struct Job *next;
} Job;

typedef struct Spool
{
	const BankSinkHost *host;
	Job		   *jobs;
} Spool;

/* May a subscription have this URL? It must name an absolute path. */
static const char *
spool_check(const BankSinkTarget *target, const BankSinkHost *host, char *reason,
			size_t reason_size)
{
	const char *query = strchr(target->url, '?');

	(void) host;
	if (strncmp(target->url, SCHEME "/", strlen(SCHEME "/")) != 0)
		return "The URL must begin with " SCHEME "/.";
	if (strlen(target->url) > MAX_PATH)
	{
		(void) snprintf(reason, reason_size, "The URL is longer than %d bytes.", MAX_PATH);
		return reason;
	}
	if (query != NULL && strcmp(query, "?fail=rejected") != 0 &&
		strcmp(query, "?fail=unreached") != 0)
		return "The URL may end with ?fail=rejected or ?fail=unreached, and no other query.";
	return NULL;
}

/* Begin to work in this process. The host stays where it is. */
static void *
spool_startup(const BankSinkHost *host)
{
	Spool	   *spool = calloc(1, sizeof(*spool));

	if (spool != NULL)
		spool->host = host;
	return spool;
}

/* A delivery that failed. The text is for people: one line of ASCII. */
static void
fail(BankDelivery *delivery, BankVerdict verdict, const char *error)
{
	delivery->verdict = verdict;
	(void) snprintf(delivery->error, sizeof(delivery->error), "%s", error);
}

/* Put a request in the queue: its completion may not be told from within send(). */
static bool
spool_send(void *state, BankSinkRequest *request, BankDelivery *delivery)
{
	Spool	   *spool = state;
	Job		   *job = malloc(sizeof(*job));
	Job		  **end;

	if (job == NULL)
	{
		*delivery = (BankDelivery) {.retry_after = BANK_NO_RETRY_AFTER};
		fail(delivery, BANK_UNREACHED, "out of memory");
		return false;
	}
	job->request = request;
	job->next = NULL;
	for (end = &spool->jobs; *end != NULL; end = &(*end)->next)
		;
	*end = job;
	return true;
}

/* Take a request out of the queue; it will not complete. */
static void
spool_cancel(void *state, BankSinkRequest *request)
{
	Spool	   *spool = state;
	Job		  **next;

	for (next = &spool->jobs; *next != NULL; next = &(*next)->next)
	{
		if ((*next)->request == request)
		{
			Job		   *job = *next;

			*next = job->next;
			free(job);
			return;
		}
	}
}

/* There are no sockets to wait for, only work that can be done at once. */
static uint64_t
spool_wait_for(void *state, BankSinkSocket *sockets, int max, int *n, int32_t *timeout)
{
	Spool	   *spool = state;

	(void) sockets;
	(void) max;
	*n = 0;
	*timeout = spool->jobs != NULL ? 0 : -1;
	return 0;
}

/* The events of a request as lines; NULL: there is no memory. */
static char *
make_lines(const BankSinkRequest *request, size_t *len)
{
	char	   *lines;
	char	   *next;
	int			i;

	*len = 0;
	for (i = 0; i < request->n_events; i++)
		*len += request->events[i].json_len + 1;
	lines = next = malloc(*len);
	for (i = 0; lines != NULL && i < request->n_events; i++)
	{
		memcpy(next, request->events[i].json, request->events[i].json_len);
		next += request->events[i].json_len;
		*next++ = '\n';
	}
	return lines;
}

/* Append a request's events to its file; returns NULL, or what went wrong. */
static const char *
append(const BankSinkRequest *request, const char *path)
{
	const char *wrong = NULL;
	size_t		len;
	char	   *lines = make_lines(request, &len);
	int			fd;

	if (lines == NULL)
		return "out of memory";
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		wrong = "could not open the file";
	else
	{
		if (write(fd, lines, len) != (ssize_t) len)
			wrong = "could not write all of it";
		if (close(fd) != 0 && wrong == NULL)
			wrong = "could not close the file";
	}
	free(lines);
	return wrong;
}

/* What became of a request: the file is an endpoint like any other. */
static void
work_off(const BankSinkRequest *request, BankDelivery *delivery)
{
	const char *url = request->target->url;
	const char *query = strchr(url, '?');
	const char *wrong;

	*delivery = (BankDelivery) {.verdict = BANK_DELIVERED, .retry_after = BANK_NO_RETRY_AFTER};
	if (request->message != NULL)
		fail(delivery, BANK_REJECTED, "a file gives no answers");
	else if (query != NULL && strcmp(query, "?fail=rejected") == 0)
		fail(delivery, BANK_REJECTED, "the URL asks to reject");
	else if (query != NULL)
		fail(delivery, BANK_UNREACHED, "the URL asks to fail");
	else
	{
		wrong = append(request, url + strlen(SCHEME));
		if (wrong != NULL)
			fail(delivery, BANK_UNREACHED, wrong);
	}
}

/*
 * Do what is in the queue now. complete() may send and cancel: each job is out of the queue
 * before it is told of, and what is sent meanwhile is left to the next call.
 */
static void
spool_run(void *state, const BankSinkSocket *ready, int n)
{
	Spool	   *spool = state;
	Job		   *job;
	int			left = 0;

	(void) ready;
	(void) n;
	for (job = spool->jobs; job != NULL; job = job->next)
		left++;
	while (left-- > 0 && (job = spool->jobs) != NULL)
	{
		BankSinkRequest *request = job->request;
		BankDelivery delivery;

		spool->jobs = job->next;
		free(job);
		work_off(request, &delivery);
		spool->host->complete(request, &delivery);
	}
}

/* The one symbol that leaves the library. */
const BankSinkCallbacks *
bank_sink_init(void)
{
	static const BankSinkCallbacks callbacks = {
		.version = BANK_SINK_VERSION,
		.check = spool_check,
		.startup = spool_startup,
		.send = spool_send,
		.cancel = spool_cancel,
		.wait_for = spool_wait_for,
		.run = spool_run,
	};

	return &callbacks;
}
