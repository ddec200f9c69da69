/*
 * receiver.c
 *		An HTTP/1.1 server that receives events, and misbehaves when told to.
 *
 * For the tests of the relay, its benchmark and the quickstart; 127.0.0.1 only. Every
 * request is written to a log when it has arrived (request.h) and answered as the first rule
 * that matches it says (rules.h). Besides:
 *
 *	POST /control		takes rules, one a line, in the place of all others; 400 if one is none
 *	GET /control/stats	shows counters (stats.h)
 *	POST /control/reset	sets them to zero
 *
 * One thread, one epoll set, level-triggered. A connection's requests are answered in their
 * order: while one waits (a delay, a hang), those pipelined behind it do. conn_advance(),
 * and what calls it last, may close and free a connection; nothing looks at one after that.
 * A client that closes its half of the connection has gone, an answer that waits is dropped.
 * Times are microseconds.
 */
#define _GNU_SOURCE
#include "request.h"
#include "stats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_HEAD (64 * 1024)
#define MAX_BODY (64 * 1024 * 1024)
#define SLOW_BYTES 10

/* How a connection ends once its output is written. */
typedef enum Ending
{
	END_NOT,
	END_FIN,
	END_RST
} Ending;

typedef struct Connection
{
	int			fd;
	uint64_t	number;
	uint32_t	events;			/* what epoll waits for */
	bool		used;			/* there was a request */
	bool		last;			/* the client wants no more than this answer */

	Buffer		in;
	size_t		at;				/* where in it the next request begins */
	size_t		head_len;		/* of that request, 0 while its head has not arrived */
	size_t		body_len;

	Buffer		out;
	size_t		sent;			/* how much of it */
	uint64_t	fill;			/* bytes of a big body to send after it */
	Ending		ending;

	bool		stuck;			/* a request that is never answered */
	const Behaviour *pending;	/* what to do when the time has come */
	int			slow_left;		/* bytes of a slow body to send, one each time */
	int64_t		slow_step;
	int64_t		due;			/* when the time has come, by the monotonic clock */
	size_t		heap_at;		/* place in the heap of timers, 0: none */

	uint64_t	unanswered;		/* requests in flight */
} Connection;

/* Connections with a timer: a heap, the next one at 1. */
static Connection **timers;
static size_t n_timers;
static size_t timers_size;

static int	epoll_fd;
static int	log_fd = -1;
static uint64_t connections;	/* so far, to number them */

/* Stand for the listening socket and standard input in the epoll set. */
static char listener_mark;
static char parent_mark;

/* A clock's time in microseconds. */
static int64_t
clock_now(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Move a timer to its place, down towards the leaves or up towards the root. */
static void
timer_place(Connection *c, size_t at)
{
	for (; at > 1 && timers[at / 2]->due > c->due; at /= 2)
		(timers[at] = timers[at / 2])->heap_at = at;
	for (size_t child; (child = at * 2) <= n_timers; at = child)
	{
		if (child < n_timers && timers[child + 1]->due < timers[child]->due)
			child++;
		if (timers[child]->due >= c->due)
			break;
		(timers[at] = timers[child])->heap_at = at;
	}
	timers[at] = c;
	c->heap_at = at;
}

/* Wake a connection that has no timer after some time. */
static void
timer_start(Connection *c, int64_t delay)
{
	c->due = clock_now(CLOCK_MONOTONIC) + delay;
	if (n_timers + 1 >= timers_size)
	{
		timers_size = timers_size ? timers_size * 2 : 64;
		timers = allocate(timers, timers_size * sizeof(*timers));
	}
	n_timers++;
	timer_place(c, n_timers);
}

/* Take a connection's timer away, if it has one. */
static void
timer_stop(Connection *c)
{
	size_t		at = c->heap_at;

	if (at == 0)
		return;
	c->heap_at = 0;
	if (at < n_timers--)
		timer_place(timers[n_timers + 1], at);
}

/* Answer with a status, a header line (or NULL), and a body of which len bytes are here. */
static void
answer(Connection *c, int status, const char *header, const char *body, size_t len,
	   uint64_t content_length)
{
	buffer_print(&c->out, "HTTP/1.1 %d %s\r\n", status, status < 300 ? "OK" : "Not OK");
	if (header != NULL)
		buffer_print(&c->out, "%s\r\n", header);
	if (c->last)
	{
		buffer_add(&c->out, "Connection: close\r\n", 19);
		c->ending = END_FIN;
	}
	if (status >= 200 && status != 204 && status != 304)
	{
		buffer_print(&c->out, "Content-Length: %" PRIu64 "\r\n\r\n", content_length);
		buffer_add(&c->out, body, len);
	}
	else
		buffer_add(&c->out, "\r\n", 2);
}

/* Answer with a whole text. */
static void
answer_text(Connection *c, int status, const char *header, const char *text)
{
	answer(c, status, header, text, strlen(text), strlen(text));
}

/* Answer what is not a request that we understand, and close. */
static void
refuse(Connection *c, int status, const char *why)
{
	c->last = true;
	answer_text(c, status, NULL, why);
}

/* Do with the request under way what a behaviour says; not for DELAY, TIMES and RANDOM. */
static void
perform(Connection *c, const Behaviour *behaviour)
{
	char		text[1024];

	switch (behaviour->kind)
	{
		case OK:
			if (behaviour->text != NULL)
				answer_text(c, 200, NULL, behaviour->text);
			else
				answer_text(c, 204, NULL, "");
			break;
		case STATUS:
			snprintf(text, sizeof(text), "status %d\n", (int) behaviour->number);
			answer_text(c, (int) behaviour->number, behaviour->text, text);
			break;
		case HANG:
			c->stuck = true;
			break;
		case HANG_BODY:
			answer(c, 200, NULL, "0123456789", 10, 1000);
			c->ending = END_NOT;
			c->stuck = true;
			break;
		case RESET:
			c->ending = END_RST;
			break;
		case CLOSE:
			c->ending = END_FIN;
			break;
		case REDIRECT:
			snprintf(text, sizeof(text), "Location: %s", behaviour->text);
			answer_text(c, 302, text, "");
			break;
		case BIG:
			answer(c, 200, NULL, "", 0, behaviour->number);
			c->fill = behaviour->number;
			break;
		case GARBAGE:
			buffer_print(&c->out, "\x15\x03\x01 this is not HTTP\r\n\r\n");
			c->ending = END_FIN;
			break;
		case SLOW:
			answer(c, 200, NULL, "", 0, SLOW_BYTES);
			c->slow_left = SLOW_BYTES;
			c->slow_step = (int64_t) behaviour->number * 1000 / SLOW_BYTES;
			timer_start(c, c->slow_step);
			break;
		case DELAY:
		case TIMES:
		case RANDOM:
			abort();
	}
}

/* Answer a request to /control. */
static void
serve_control(Connection *c, const Request *request)
{
	static Buffer text;
	bool		post = slice_is(request->method, "POST");
	Slice		bad;

	text.len = 0;
	if (post && slice_is(request->path, "/control"))
	{
		if (rules_set(request->body, &bad))
		{
			answer_text(c, 204, NULL, "");
			return;
		}
		buffer_print(&text, "not a rule: ");
		buffer_add(&text, bad.data, bad.len);
		answer(c, 400, NULL, text.data, text.len, text.len);
	}
	else if (post && slice_is(request->path, "/control/reset"))
	{
		stats_reset();
		answer_text(c, 204, NULL, "");
	}
	else if (!post && slice_is(request->path, "/control/stats"))
	{
		stats_print(&text);
		answer(c, 200, NULL, text.data, text.len, text.len);
	}
	else
		answer_text(c, 404, NULL, "POST /control, GET /control/stats or POST /control/reset\n");
}

/* Is there a whole request? Answers what can never become one. */
static bool
conn_has_request(Connection *c)
{
	Slice		here = {c->in.data + c->at, c->in.len - c->at};

	if (c->head_len == 0)
	{
		const char *end = here.len > 0 ? memmem(here.data, here.len, "\r\n\r\n", 4) : NULL;
		Request		request;
		Slice		length;
		uint64_t	number = 0;

		if (end == NULL)
		{
			if (here.len > MAX_HEAD)
				refuse(c, 431, "head too long\n");
			return false;
		}
		c->head_len = end + 4 - here.data;
		if (!request_parse((Slice) {here.data, c->head_len}, &request))
		{
			refuse(c, 400, "not a request\n");
			return false;
		}
		length = request_header(&request, "content-length");
		if (length.data != NULL && !slice_number(length, &number))
			refuse(c, 400, "not a length\n");
		else if (request_header(&request, "transfer-encoding").data != NULL)
			refuse(c, 411, "Content-Length only\n");
		else if (number > MAX_BODY)
			refuse(c, 413, "body too long\n");
		if (c->ending != END_NOT)
			return false;
		c->body_len = number;
		if (here.len < c->head_len + c->body_len && request_header(&request, "expect").data != NULL)
			buffer_print(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
	}
	return here.len >= c->head_len + c->body_len;
}

/* Receive the request that is there: count it, log it, do what the rules say. */
static void
conn_serve(Connection *c)
{
	const char *start = c->in.data + c->at;
	Request		request;
	Slice		connection;
	bool		control;

	request_parse((Slice) {start, c->head_len}, &request);
	request.body = (Slice) {start + c->head_len, c->body_len};
	connection = request_header(&request, "connection");
	control = slice_is(request.path, "/control") ||
		slice_begins(request.path, (Slice) {"/control/", 9});
	c->last = slice_is(request.version, "HTTP/1.0") ||
		(connection.len == 5 && strncasecmp(connection.data, "close", 5) == 0);
	if (!c->used && control)
		stats_add_connection(-1);
	c->used = true;
	if (control)
		serve_control(c, &request);
	else
	{
		int64_t		now = clock_now(CLOCK_REALTIME);
		uint64_t	delay;
		const Behaviour *behaviour = rules_apply(request.path, request.body, &delay);

		stats_add_request(request.path, request.body, now);
		stats_begin(1);
		c->unanswered++;
		if (log_fd >= 0)
			request_log(log_fd, now, c->number, &request, behaviour);
		if (delay > 0)
		{
			c->pending = behaviour;
			timer_start(c, (int64_t) delay * 1000);
		}
		else
			perform(c, behaviour);
	}
	c->at += c->head_len + c->body_len;
	c->head_len = 0;
	if (c->at == c->in.len)
	{
		c->at = 0;
		buffer_clear(&c->in);
	}
}

/* Close a connection and free it. */
static void
conn_close(Connection *c)
{
	if (c->ending == END_RST)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger) {1, 0}, sizeof(struct linger));
	close(c->fd);
	timer_stop(c);
	stats_end(c->unanswered);
	free(c->in.data);
	free(c->out.data);
	free(c);
}

/* Does the request under way keep the next one waiting? */
static bool
conn_waits(const Connection *c)
{
	return c->stuck || c->pending != NULL || c->slow_left > 0;
}

/* Is there output that the socket has not taken? */
static bool
conn_has_output(const Connection *c)
{
	return c->sent < c->out.len || c->fill > 0;
}

/* Write what the socket takes; false if the client has gone. */
static bool
conn_flush(Connection *c)
{
	static char filling[256 * 1024];

	while (conn_has_output(c))
	{
		bool		own = c->sent < c->out.len;
		size_t		len = own ? c->out.len - c->sent :
			c->fill < sizeof(filling) ? c->fill : sizeof(filling);
		ssize_t		n = send(c->fd, own ? c->out.data + c->sent : filling, len, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (own)
			c->sent += n;
		else
			c->fill -= n;
	}
	c->sent = 0;
	buffer_clear(&c->out);
	stats_end(c->unanswered);
	c->unanswered = conn_waits(c) ? 1 : 0;
	stats_begin(c->unanswered);
	return true;
}

/* Go on with a connection after whatever has happened to it; may close and free it. */
static void
conn_advance(Connection *c)
{
	struct epoll_event event = {.data.ptr = c};

	do
	{
		while (!conn_waits(c) && c->fill == 0 && c->ending == END_NOT && conn_has_request(c))
			conn_serve(c);
		if (!conn_flush(c) || (c->ending != END_NOT && !conn_has_output(c) && !conn_waits(c)))
		{
			conn_close(c);
			return;
		}
	} while (!conn_waits(c) && !conn_has_output(c) && conn_has_request(c));

	/* no input while a request waits, but the end of the connection */
	event.events = conn_waits(c) || conn_has_output(c) ? EPOLLRDHUP : EPOLLIN;
	if (conn_has_output(c))
		event.events |= EPOLLOUT;
	if (event.events != c->events)
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
	c->events = event.events;
}

/* Do what epoll says can be done. May close and free the connection. */
static void
conn_ready(Connection *c, uint32_t events)
{
	ssize_t		n;

	if (events & (EPOLLERR | EPOLLRDHUP))
	{
		conn_close(c);
		return;
	}
	if (events & EPOLLIN)
	{
		size_t		missing = c->head_len + c->body_len + c->at - c->in.len;

		if (c->at > 0)
		{
			memmove(c->in.data, c->in.data + c->at, c->in.len - c->at);
			c->in.len -= c->at;
			c->at = 0;
		}
		buffer_reserve(&c->in, c->head_len > 0 && missing > 4096 ? missing : 4096);
		n = recv(c->fd, c->in.data + c->in.len, c->in.size - c->in.len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		{
			conn_close(c);
			return;
		}
		c->in.len += n > 0 ? n : 0;
	}
	conn_advance(c);
}

/* The time for which a connection has waited has come. May close and free it. */
static void
conn_timer(Connection *c)
{
	timer_stop(c);
	if (c->pending != NULL)
	{
		const Behaviour *behaviour = c->pending;

		c->pending = NULL;
		perform(c, behaviour);
	}
	else if (c->slow_left > 0)
	{
		buffer_add(&c->out, "s", 1);
		if (--c->slow_left > 0)
			timer_start(c, c->slow_step);
	}
	conn_advance(c);
}

/* Accept all connections that wait. */
static void
accept_all(int listener)
{
	int			fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
	{
		Connection *c = allocate(NULL, sizeof(Connection));
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

		*c = (Connection) {.fd = fd, .number = ++connections, .events = EPOLLIN};
		stats_add_connection(1);
		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
			die("epoll_ctl failed: %s", strerror(errno));
	}
	if (errno == EMFILE || errno == ENFILE)
		die("too many connections: %s", strerror(errno));
}

/* Listen on a port of 127.0.0.1, any free one for 0; sets it. */
static int
listen_on(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t	len = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) {1}, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) {1}, sizeof(int));
	if (bind(fd, (struct sockaddr *) &address, len) < 0 || listen(fd, 4096) < 0 ||
		getsockname(fd, (struct sockaddr *) &address, &len) < 0)
		die("could not listen on port %d: %s", *port, strerror(errno));
	*port = ntohs(address.sin_port);
	return fd;
}

/* Write the port to a file, which is there with all of it or not at all. */
static void
write_port(const char *path, uint16_t port)
{
	char		new_path[4096];
	FILE	   *file;

	if (snprintf(new_path, sizeof(new_path), "%s.new", path) >= (int) sizeof(new_path))
		die("path too long: %s", path);
	file = fopen(new_path, "w");
	if (file == NULL || fprintf(file, "%d\n", port) < 0 || fclose(file) != 0 ||
		rename(new_path, path) < 0)
		die("could not write %s: %s", path, strerror(errno));
}

/* Set the rules that stand in a file. */
static void
read_rules(const char *path)
{
	FILE	   *file = fopen(path, "r");
	Buffer		text = {0};
	Slice		bad;
	size_t		n;

	if (file == NULL)
		die("could not open %s: %s", path, strerror(errno));
	do
	{
		buffer_reserve(&text, 4096);
		n = fread(text.data + text.len, 1, 4096, file);
		text.len += n;
	} while (n > 0);
	if (!rules_set((Slice) {text.data, text.len}, &bad))
		die("not a rule: %.*s", (int) bad.len, bad.data);
	fclose(file);
	free(text.data);
}

/* A signal asks us to end. Nothing waits to be written: log lines are whole. */
static void
on_signal(int number)
{
	(void) number;
	_exit(0);
}

/* Print how to call this program. */
static void
usage(FILE *to)
{
	fputs("receiver [OPTION ...]: receive events by HTTP on 127.0.0.1\n"
		  "  --port N          0, the default: any free one\n"
		  "  --port-file FILE  where to write the port once listening\n"
		  "  --log FILE        append a line for each request\n"
		  "  --quiet           no log, whatever --log says\n"
		  "  --rules FILE      rules to begin with\n"
		  "  --with-parent     end when standard input does\n"
		  "  --max-seconds N   end after this time (default 3600)\n"
		  "A rule is PATH-PREFIX<TAB>PART-OF-BODY or *<TAB>BEHAVIOUR; the first match counts.\n"
		  "Behaviours: ok[:BODY] status:NNN[:HEADER: VALUE] redirect:URL hang hang-body big:BYTES\n"
		  "  slow:MS close reset garbage delay:MS[:B] times:N:B|B random:PERCENT:B\n"
		  "POST /control sets rules, GET /control/stats shows counters, POST /control/reset\n"
		  "sets them to zero.\n",
		  to);
}

/* The value of an option that is a number up to a limit. */
static int64_t
option_number(const char *text, uint64_t max)
{
	uint64_t	number;

	if (!slice_number((Slice) {text, strlen(text)}, &number) || number > max)
		die("not a number up to %" PRIu64 ": %s", max, text);
	return (int64_t) number;
}

/* Wait for events and handle them until the time has come to end. */
static void
run(int listener, int64_t end)
{
	static struct epoll_event ready[512];
	static char ignored[4096];

	for (int64_t now = 0; now < end;)
	{
		int64_t		next = n_timers > 0 && timers[1]->due < end ? timers[1]->due : end;
		int64_t		timeout;
		int			n;

		now = clock_now(CLOCK_MONOTONIC);
		timeout = next > now ? (next - now + 999) / 1000 : 0;
		n = epoll_wait(epoll_fd, ready, 512, timeout > 60000 ? 60000 : (int) timeout);
		if (n < 0 && errno != EINTR)
			die("epoll_wait failed: %s", strerror(errno));
		for (int i = 0; i < n; i++)
		{
			if (ready[i].data.ptr == &listener_mark)
				accept_all(listener);
			else if (ready[i].data.ptr == &parent_mark)
			{
				if (read(STDIN_FILENO, ignored, sizeof(ignored)) == 0)
					return;
			}
			else
				conn_ready(ready[i].data.ptr, ready[i].events);
		}
		now = clock_now(CLOCK_MONOTONIC);
		while (n_timers > 0 && timers[1]->due <= now)
			conn_timer(timers[1]);
	}
}

/* Start: options, limits, the listening socket. */
int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"port-file", required_argument, NULL, 'f'},
		{"log", required_argument, NULL, 'l'},
		{"quiet", no_argument, NULL, 'q'},
		{"rules", required_argument, NULL, 'r'},
		{"with-parent", no_argument, NULL, 'w'},
		{"max-seconds", required_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}
	};
	const char *port_file = NULL;
	const char *log = NULL;
	bool		quiet = false;
	bool		with_parent = false;
	int64_t		max_seconds = 3600;
	uint16_t	port = 0;
	int			option;
	int			listener;
	struct rlimit files;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		switch (option)
		{
			case 'p':
				port = (uint16_t) option_number(optarg, 65535);
				break;
			case 'f':
				port_file = optarg;
				break;
			case 'l':
				log = optarg;
				break;
			case 'q':
				quiet = true;
				break;
			case 'r':
				read_rules(optarg);
				break;
			case 'w':
				with_parent = true;
				break;
			case 'm':
				max_seconds = option_number(optarg, 1000000);
				break;
			case 'h':
				usage(stdout);
				return 0;
			default:
				usage(stderr);
				return 2;
		}
	}
	if (optind < argc)
		die("too many arguments: see --help");

	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if (log != NULL && !quiet)
	{
		log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
		if (log_fd < 0)
			die("could not open %s: %s", log, strerror(errno));
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listener = listen_on(&port);
	if (epoll_fd < 0 ||
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener,
				  &(struct epoll_event) {.events = EPOLLIN, .data.ptr = &listener_mark}) < 0)
		die("epoll failed: %s", strerror(errno));
	if (with_parent &&
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO,
				  &(struct epoll_event) {.events = EPOLLIN, .data.ptr = &parent_mark}) < 0)
		die("standard input must be a pipe: %s", strerror(errno));
	if (port_file != NULL)
		write_port(port_file, port);
	else
		printf("listening on http://127.0.0.1:%d\n", port);
	fflush(stdout);
	run(listener, clock_now(CLOCK_MONOTONIC) + max_seconds * 1000000);
	return 0;
}
