/*
 * test_delivery.c
 *		Requests of the HTTP sink to a server that answers well, badly and not at all.
 *
 * Names are resolved by functions of our own, which stand in for those of the C library:
 * *.test is what the comment of getaddrinfo() says.
 */
#include "check.h"
#include "relay.h"
#include "server.h"

#include "adapters/sinks/http/http_sink.h"
#include "adapters/sinks/http/response.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Longer than anything may take that is not waited for. */
#define PATIENCE 20000

/* The time-out of requests that are meant to run into it. */
#define SHORT 300

static int	port;
static volatile int resolving_ms = 0;	/* how long sleepy.test takes */
static volatile bool signals_blocked = true;

/*
 * A name of a test: here.test is this host, sleepy.test too, after a while;
 * private.test is 10.0.0.1, both.test a private address of IPv6 and this host. Others
 * do not exist.
 */
int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	static const struct in6_addr fd00 = {{{0xfd, [15] = 1}}};
	struct addrinfo *info;
	struct sockaddr_in in = {.sin_family = AF_INET};
	sigset_t	mask;

	(void) hints;
	(void) pthread_sigmask(SIG_SETMASK, NULL, &mask);
	if (!sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGHUP) ||
		!sigismember(&mask, SIGUSR1) || !sigismember(&mask, SIGALRM) ||
		!sigismember(&mask, SIGINT))
		signals_blocked = false;

	if (strcmp(name, "sleepy.test") == 0)
		(void) usleep((useconds_t) resolving_ms * 1000);
	else if (strcmp(name, "here.test") != 0 && strcmp(name, "private.test") != 0 &&
			 strcmp(name, "both.test") != 0)
		return EAI_NONAME;

	in.sin_port = htons((uint16_t) (service != NULL ? atoi(service) : 0));
	in.sin_addr.s_addr = htonl(strcmp(name, "private.test") == 0 ? 0x0a000001 : INADDR_LOOPBACK);
	info = calloc(1, sizeof(*info));
	info->ai_family = AF_INET;
	info->ai_socktype = SOCK_STREAM;
	info->ai_protocol = IPPROTO_TCP;
	info->ai_addrlen = sizeof(in);
	info->ai_addr = malloc(sizeof(in));
	memcpy(info->ai_addr, &in, sizeof(in));
	if (strcmp(name, "both.test") == 0)
	{
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
		struct addrinfo *first = calloc(1, sizeof(*first));

		in6.sin6_addr = fd00;
		first->ai_family = AF_INET6;
		first->ai_socktype = SOCK_STREAM;
		first->ai_protocol = IPPROTO_TCP;
		first->ai_addrlen = sizeof(in6);
		first->ai_addr = malloc(sizeof(in6));
		memcpy(first->ai_addr, &in6, sizeof(in6));
		first->ai_next = info;
		info = first;
	}
	*result = info;
	return 0;
}

/* The end of getaddrinfo(). */
void
freeaddrinfo(struct addrinfo *info)
{
	while (info != NULL)
	{
		struct addrinfo *next = info->ai_next;

		free(info->ai_addr);
		free(info);
		info = next;
	}
}

/* A target with this path of the server; stays as it is until eight others were asked for. */
static const BankSinkTarget *
target_of(const char *path)
{
	static BankSinkTarget targets[8];
	static char urls[8][100];
	static int	next = 0;
	int			i = next++ % 8;

	(void) snprintf(urls[i], sizeof(urls[i]), "http://127.0.0.1:%d%s", port, path);
	targets[i] = (BankSinkTarget) {.url = urls[i], .connect_timeout = PATIENCE,
		.request_timeout = PATIENCE};
	return &targets[i];
}

/* Send one request there and wait for its end. */
static BankDelivery
deliver_to(const BankSinkTarget *target)
{
	Delivery	delivery = {.completed = 0};

	relay_send(&delivery, target);
	if (!relay_finish(2 * PATIENCE) || delivery.completed != 1)
	{
		check(false, "a request to %s ends", target->url);
		exit(1);
	}
	return delivery.result;
}

static BankDelivery
deliver(const char *path)
{
	return deliver_to(target_of(path));
}

/* With the short time-out. */
static BankDelivery
deliver_briefly(const char *path)
{
	BankSinkTarget target = *target_of(path);

	target.request_timeout = SHORT;
	return deliver_to(&target);
}

/* Did it end so? Text: the beginning of the error. */
static void
check_delivery(BankDelivery is, BankVerdict verdict, int status, const char *text, const char *name)
{
	bool		ok = is.verdict == verdict && is.status == status &&
		strncmp(is.error, text, strlen(text)) == 0 && (text[0] != '\0' || is.error[0] == '\0');

	if (!check(ok, "%s", name))
		printf("# is %s, %d, %s\n", bank_verdict_name(is.verdict), is.status, is.error);
}

/* Every kind of answer. */
static void
test_answers(void)
{
	static const struct
	{
		const char *path;
		BankVerdict verdict;
		int			status;
		const char *text;
		int64_t		wait;		/* seconds, -1: none */
	}			cases[] = {
		{"/ok", BANK_DELIVERED, 200, "", -1},
		{"/none", BANK_DELIVERED, 204, "", -1},
		{"/chunked", BANK_DELIVERED, 202, "", -1},
		{"/slow", BANK_DELIVERED, 200, "", -1},
		{"/closes", BANK_DELIVERED, 200, "", -1},
		{"/interim-ok", BANK_DELIVERED, 204, "", -1},
		{"/interim", BANK_UNREACHED, 503, "503 Service Unavailable: try later", -1},
		{"/upgrade", BANK_UNREACHED, 101, "", -1},
		{"/redirect", BANK_UNREACHED, 302, "302 Found: redirects are not followed", -1},
		{"/400", BANK_REJECTED, 400, "400 Bad Request: no such ?? account ?? ? here.", -1},
		{"/404", BANK_REJECTED, 404, "404", -1},
		{"/408", BANK_UNREACHED, 408, "408 Request Timeout", -1},
		{"/410", BANK_GONE, 410, "410 Gone", -1},
		{"/429", BANK_THROTTLED, 429, "429 Too Many Requests", 120},
		{"/429-date", BANK_THROTTLED, 429, "429 Slow", 60},
		{"/500", BANK_UNREACHED, 500, "500 Internal Server Error", -1},
		{"/half", BANK_UNREACHED, 200, "", -1},
		{"/half-head", BANK_UNREACHED, 200, "the response ended within its headers", -1},
		{"/interim-close", BANK_UNREACHED, 0, "", -1},
		{"/garbage", BANK_UNREACHED, 0, "Received HTTP/0.9 when not allowed", -1},
		{"/old", BANK_UNREACHED, 0, "Received HTTP/0.9 when not allowed", -1},
		{"/nothing", BANK_UNREACHED, 0, "Empty reply from server", -1},
		{"/reset", BANK_UNREACHED, 0, "Recv failure: Connection reset by peer", -1},
	};
	size_t		i;
	int			ok_requests;

	relay.now = INT64_C(1767225600) * 1000000;	/* 2026-01-01 00:00 UTC */
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		BankDelivery is = deliver(cases[i].path);

		/* libcurl's words for these depend on its version */
		if (cases[i].text[0] == '\0' && cases[i].verdict != BANK_DELIVERED && is.error[0] != '\0')
			is.error[0] = '\0';
		check_delivery(is, cases[i].verdict, cases[i].status, cases[i].text, cases[i].path);
		if (is.retry_after != (cases[i].wait < 0 ? BANK_NO_RETRY_AFTER : cases[i].wait * 1000000))
			check(false, "Retry-After of %s is not %lld", cases[i].path,
				  (long long) is.retry_after);
	}
	relay.now = 0;
	ok_requests = server_look().ok_requests;
	(void) deliver("/redirect");
	check_int(server_look().ok_requests, ok_requests, "a redirect is not followed");
}

/* Time runs out at every stage. */
static void
test_timeouts(void)
{
	static const char *const paths[] = {"/hang", "/hang-head", "/hang-body", "/interim-hang"};
	static const int statuses[] = {0, 200, 200, 0};
	BankSinkTarget target;
	size_t		i;

	for (i = 0; i < 4; i++)
		check_delivery(deliver_briefly(paths[i]), BANK_UNREACHED, statuses[i],
					   "Operation timed out after", paths[i]);
	target = *target_of("/ok");
	target.request_timeout = 0;
	check(deliver_to(&target).verdict <= BANK_UNREACHED, "no time at all ends too");
	check(relay.longest_ms < PATIENCE / 4, "no call waits");
}

/* More than one wants to read. */
static void
test_big(void)
{
	static const struct
	{
		const char *path;
		BankVerdict verdict;
		int			status;
		const char *text;
	}			cases[] = {
		{"/big", BANK_DELIVERED, 200, ""},
		{"/big-chunked", BANK_DELIVERED, 200, ""},
		{"/big-503", BANK_UNREACHED, 503, "503 Down: down for now down for now"},
		{"/big-headers", BANK_DELIVERED, 200, ""},
		{"/big-interim", BANK_UNREACHED, 0, "the headers of the response are too long"},
	};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		int			connections = server_look().connections;

		check_delivery(deliver(cases[i].path), cases[i].verdict, cases[i].status, cases[i].text,
					   cases[i].path);
		check_delivery(deliver("/ok"), BANK_DELIVERED, 200, "", "and then another");
		if (server_look().connections < connections + 1)
			check(false, "the connection of %s was used again", cases[i].path);
	}
	check(server_look().sent < 50 * 1000 * 1000, "the rest was not read");
}

/* The bytes on the wire. */
static void
test_bytes(void)
{
	static const uint8_t key[24] = "012345678901234567890123";
	static const BankSinkSecret secret = {key, 24};
	static const BankSinkHeader headers[] = {
		{"Authorization", "Bearer x"}, {"X-Empty", ""}, {"User-Agent", "mine"}
	};
	static const BankSinkEvent events[] = {
		{"1", "{\"a\":1}", 7}, {"2", "{\"b\":\"\xc3\xa9\"}", 10}, {"3", "{}", 2}
	};
	Delivery	delivery = {.request = {.message_id = "msg_x", .events = events, .n_events = 3}};
	BankSinkTarget target = *target_of("/ok?a=b%20c");
	Server		seen;
	char	   *body;
	char		first[SERVER_MAX_REQUEST];

	target.secrets = &secret;
	target.n_secrets = 1;
	target.headers = headers;
	target.n_headers = 2;
	target.batch = true;
	relay.now = INT64_C(1614265330) * 1000000;
	relay_send(&delivery, &target);
	check(relay_finish(PATIENCE) && delivery.result.verdict == BANK_DELIVERED, "a batch");
	seen = server_look();
	body = strstr(seen.last, "\r\n\r\n");
	check_text(body != NULL ? body + 4 : "", "[{\"a\":1},{\"b\":\"\xc3\xa9\"},{}]",
			   "its body is the array");
	check(strncmp(seen.last, "POST /ok?a=b%20c HTTP/1.1\r\n", 27) == 0, "POST to the path");
	check(strstr(seen.last, "\r\nContent-Length: 23\r\n") != NULL, "of that length");
	check(strstr(seen.last, "\r\nContent-Type: application/cloudevents-batch+json; "
				 "charset=UTF-8\r\n") != NULL, "of that type");
	check(strstr(seen.last, "\r\nwebhook-id: msg_x\r\n") != NULL, "with its id");
	check(strstr(seen.last, "\r\nwebhook-timestamp: 1614265330\r\n") != NULL, "its time");
	check(strstr(seen.last, "\r\nwebhook-signature: v1,") != NULL, "a signature");
	check(strstr(seen.last, "\r\nAuthorization: Bearer x\r\n") != NULL, "the target's header");
	check(strstr(seen.last, "\r\nX-Empty:\r\n") != NULL, "an empty one too");
	check(strstr(seen.last, "\r\nUser-Agent: banking\r\n") != NULL, "who sends it");
	check(strcasestr(seen.last, "\r\nExpect:") == NULL &&
		  strcasestr(seen.last, "\r\nAccept") == NULL &&
		  strcasestr(seen.last, "\r\nCookie") == NULL, "and nothing else");
	(void) memcpy(first, seen.last, sizeof(first));

	relay_send(&delivery, &target);
	(void) relay_finish(PATIENCE);
	check(strcmp(server_look().last, first) == 0, "the same at the same time is the same");
	relay.now += 1000000;
	relay_send(&delivery, &target);
	(void) relay_finish(PATIENCE);
	seen = server_look();
	check(strstr(seen.last, "\r\nwebhook-id: msg_x\r\n") != NULL &&
		  strstr(seen.last, "\r\nwebhook-timestamp: 1614265331\r\n") != NULL &&
		  strncmp(strstr(seen.last, "webhook-signature"),
				  strstr(first, "webhook-signature"), 66) != 0,
		  "the next attempt has the same id, a new time and a new signature");
	relay.now = 0;

	target.n_secrets = 0;
	target.n_headers = 3;
	target.batch = false;
	delivery.request.n_events = 1;
	relay_send(&delivery, &target);
	(void) relay_finish(PATIENCE);
	seen = server_look();
	body = strstr(seen.last, "\r\n\r\n");
	check_text(body != NULL ? body + 4 : "", "{\"a\":1}", "a single event is its JSON");
	check(strstr(seen.last, "application/cloudevents+json; charset=UTF-8") != NULL, "of its type");
	check(strstr(seen.last, "webhook-signature") == NULL, "no signature without a secret");
	check(strstr(seen.last, "User-Agent: mine") != NULL &&
		  strstr(seen.last, "User-Agent: banking") == NULL, "a user agent of the target's own");
}

/* Nothing comes from the environment. */
static void
test_environment(void)
{
	(void) setenv("http_proxy", "http://127.0.0.1:1/", 1);
	(void) setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
	check_delivery(deliver("/ok"), BANK_DELIVERED, 200, "",
				   "proxies of the environment are not used");
	(void) unsetenv("http_proxy");
	(void) unsetenv("ALL_PROXY");
}

/* Connections are kept, and let go of by reset(). */
static void
test_connections(void)
{
	Delivery	under_way = {.completed = 0};
	int			before;
	int			i;

	(void) deliver("/ok");
	before = server_look().connections;
	for (i = 0; i < 20; i++)
		(void) deliver("/ok");
	check_int(server_look().connections - before, 0, "a connection is used again");

	relay_send(&under_way, target_of("/slow"));
	for (i = 0; i < 25; i++)	/* its bytes come one at a time: that is beyond the first line */
		relay_turn(PATIENCE);
	relay.sink->reset(relay.state);
	check(relay_finish(PATIENCE) && under_way.result.verdict == BANK_DELIVERED,
		  "reset() does not disturb a request");
	before = server_look().connections;
	(void) deliver("/ok");
	check_int(server_look().connections - before, 1, "but its connection is not used again");

	relay.sink->reset(relay.state);
	before = server_look().connections;
	(void) deliver("/ok");
	check_int(server_look().connections - before, 1, "nor is an idle one");
	(void) deliver("/ok");
	check_int(server_look().connections - before, 1, "the new one is");

	relay.host.allow_private = false;
	relay.sink->reset(relay.state);
	check_delivery(deliver("/ok"), BANK_UNREACHED, 0,
				   "address 127.0.0.1 is private, see banking.allow_private_endpoints",
				   "a setting holds from reset() on");
	relay.host.allow_private = true;
}

/* Addresses are looked at when a socket is opened, whatever the name. */
static void
test_names(void)
{
	BankSinkTarget target = *target_of("/ok");
	char		url[100];

	target.url = url;
	(void) snprintf(url, sizeof(url), "http://here.test:%d/ok", port);
	check_delivery(deliver_to(&target), BANK_DELIVERED, 200, "", "a name");
	(void) snprintf(url, sizeof(url), "http://nowhere.test:%d/ok", port);
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "Could not resolve host: nowhere.test",
				   "a name that does not exist");
	(void) snprintf(url, sizeof(url), "http://127.0.0.1:1/ok");
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "Failed to connect to 127.0.0.1",
				   "nobody listens");

	relay.host.allow_private = false;
	relay.sink->reset(relay.state);
	(void) snprintf(url, sizeof(url), "http://private.test:%d/ok", port);
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0,
				   "address 10.0.0.1 is private, see banking.allow_private_endpoints",
				   "a name that leads to a private address");
	(void) snprintf(url, sizeof(url), "http://both.test:%d/ok", port);
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "address ", "a name that leads to two");
	(void) snprintf(url, sizeof(url), "http://here.test:%d/ok", port);
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "address 127.0.0.1 is private",
				   "a name that led there before");
	relay.host.allow_private = true;
	check(signals_blocked, "a resolver's thread gets no signals");
}

/* A resolver that takes its time holds up nobody, neither at a time-out nor at cancel(). */
static void
test_slow_names(void)
{
	BankSinkTarget target = *target_of("/ok");
	Delivery	sleepy = {.completed = 0};
	Delivery	other = {.completed = 0};
	char		url[100];
	int64_t		begin;

	(void) snprintf(url, sizeof(url), "http://sleepy.test:%d/ok", port);
	target.url = url;
	resolving_ms = PATIENCE / 4;
	target.request_timeout = SHORT;
	relay.longest_ms = 0;
	begin = relay_clock_ms();
	check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "Resolving timed out after",
				   "a name that takes too long");
	check(relay_clock_ms() - begin < PATIENCE / 4, "is given up in time");

	target.request_timeout = PATIENCE;
	relay_send(&sleepy, &target);
	relay_turn(0);
	relay_send(&other, target_of("/ok"));
	while (other.completed == 0)
		relay_turn(PATIENCE);
	check(sleepy.completed == 0 && relay_clock_ms() - begin < PATIENCE / 4,
		  "others do not wait for it");
	relay_cancel(&sleepy);
	(void) deliver("/ok");
	check(sleepy.completed == 0 && relay_clock_ms() - begin < PATIENCE / 4, "it can be cancelled");
	check(relay.longest_ms < PATIENCE / 8, "no call waits for it");

	resolving_ms = 100;
	target.request_timeout = PATIENCE;
	check_delivery(deliver_to(&target), BANK_DELIVERED, 200, "", "and in time it is found");
}

static Delivery many[200];
static Delivery more[200];
static int	n_more = 0;
static Delivery *to_cancel = NULL;

/* Send another one as soon as one has ended. */
static void
send_more(Delivery *delivery)
{
	if (n_more < 200)
		relay_send(&more[n_more++], delivery->request.target);
}

/* Cancel another one as soon as one has ended. */
static void
cancel_other(Delivery *delivery)
{
	(void) delivery;
	if (to_cancel != NULL && to_cancel->completed == 0)
		relay_cancel(to_cancel);
	to_cancel = NULL;
}

/* Many at a time, sending from complete(), cancelling at every moment. */
static void
test_many(void)
{
	BankSinkTarget target = *target_of("/ok");
	BankSinkTarget hangs = *target_of("/hang");
	char		url[100];
	char		hang_url[100];
	Delivery	a;
	Delivery	b;
	int			delivered = 0;
	int			connections = server_look().connections;
	int			i;

	(void) snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", port);
	target.url = url;
	(void) snprintf(hang_url, sizeof(hang_url), "http://127.0.0.1:%d/hang", port);
	hangs.url = hang_url;

	for (i = 0; i < 200; i++)
	{
		many[i].then = send_more;
		relay_send(&many[i], &target);
	}
	check(relay_finish(PATIENCE), "200 at a time, and another after each");
	for (i = 0; i < 200; i++)
		delivered += (many[i].completed == 1 && many[i].result.verdict == BANK_DELIVERED) +
			(more[i].completed == 1 && more[i].result.verdict == BANK_DELIVERED);
	check_int(delivered, 400, "all are delivered, once");
	for (i = 0; i < 200; i++)
	{
		many[i].then = NULL;
		relay_send(&many[i], &target);
	}
	check(relay_finish(PATIENCE), "200 again");
	if (!check(server_look().connections - connections < 220, "all on the same connections"))
		printf("# %d of them\n", server_look().connections - connections);

	/* the sockets that the relay has room for are those of requests that hang */
	relay.max_sockets = 5;
	for (i = 0; i < 100; i++)
		relay_send(&many[i], i < 80 ? &hangs : &target);
	for (i = 0; i < 1000 && relay.under_way > 80; i++)
		relay_turn(PATIENCE);
	check_int(relay.under_way, 80, "sockets that the relay has no room for are served");
	for (i = 0; i < 80; i++)
		relay_cancel(&many[i]);
	relay.max_sockets = RELAY_MAX_SOCKETS;

	/* one that ended in the same turn is cancelled by the other's completion */
	for (i = 0; i < 100; i++)
	{
		memset(&a, 0, sizeof(a));
		memset(&b, 0, sizeof(b));
		a.then = cancel_other;
		to_cancel = &b;
		relay_send(&a, &target);
		relay_send(&b, &target);
		if (!relay_finish(PATIENCE) || a.completed != 1 || b.completed > 1)
			break;
	}
	check_int(i, 100, "cancelling from complete()");

	for (i = 0; i < 100; i++)
		relay_send(&many[i], i % 2 == 0 ? &target : &hangs);
	for (i = 0; i < 7; i++)
		relay_turn(10);
	for (i = 0; i < 100; i++)
	{
		if (many[i].completed == 0)
			relay_cancel(&many[i]);
	}
	check_int(relay.under_way, 0, "all are cancelled");
	for (i = 0; i < 20; i++)
		relay_turn(1);
	for (i = 0; i < 100 && (i % 2 == 0 || many[i].completed == 0); i++)
		;
	check_int(i, 100, "and do not complete");
	check_delivery(deliver("/ok"), BANK_DELIVERED, 200, "", "the next one does");
}

/* While requests follow each other on connections, the set of sockets does not change. */
static void
test_stable_set(void)
{
	int			rebuilds;
	int			i;

	for (i = 0; i < 20; i++)
		(void) deliver("/ok");
	rebuilds = relay.rebuilds;
	for (i = 0; i < 100; i++)
		(void) deliver("/ok");
	if (!check(relay.rebuilds - rebuilds < 30, "the set of sockets is stable"))
		printf("# %d changes\n", relay.rebuilds - rebuilds);
}

/* Descriptors that this process has open; -1: there is no telling. */
static int
open_descriptors(void)
{
	DIR		   *dir = opendir("/proc/self/fd");
	int			n = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		n++;
	(void) closedir(dir);
	return n;
}

/* Sockets of requests that failed are closed; the server's go with them, a little later. */
static void
test_descriptors(void)
{
	int			before = open_descriptors();
	int64_t		end = relay_clock_ms() + PATIENCE;
	int			i;

	for (i = 0; i < 50; i++)
		(void) deliver("/reset");
	while (open_descriptors() > before + 10 && relay_clock_ms() < end)
		(void) usleep(1000);
	check(open_descriptors() <= before + 10, "descriptors are closed");
}

/* A message with an answer: what goes out, what comes back, however it ends. */
static void
test_message(void)
{
	static const BankSinkHeader header = {"idempotency-key", "7"};
	static const BankSinkHeader targets = {"Authorization", "Bearer x"};
	char		answer[16];
	BankSinkMessage message = {.content_type = "application/json", .body = "{\"ask\":1}",
		.body_len = 9, .headers = &header, .n_headers = 1, .answer = answer,
		.answer_size = sizeof(answer)};
	Delivery	delivery = {.request = {.message_id = "status_7", .message = &message}};
	BankSinkTarget target = *target_of("/ok");
	Server		seen;
	char	   *body;

	target.headers = &targets;
	target.n_headers = 1;
	memset(answer, '.', sizeof(answer));
	relay_send(&delivery, &target);
	check(relay_finish(PATIENCE) && delivery.result.verdict == BANK_DELIVERED, "a message");
	seen = server_look();
	body = strstr(seen.last, "\r\n\r\n");
	check_text(body != NULL ? body + 4 : "", "{\"ask\":1}", "its body as it is");
	check(strstr(seen.last, "\r\nContent-Type: application/json\r\n") != NULL, "of its type");
	check(strstr(seen.last, "\r\nidempotency-key: 7\r\n") != NULL, "with its header");
	check(strstr(seen.last, "\r\nAuthorization: Bearer x\r\n") != NULL, "and the target's");
	check(strstr(seen.last, "\r\nwebhook-id: status_7\r\n") != NULL, "and its id");
	check_int((int) message.answer_len, 2, "length of the answer");
	check(memcmp(answer, "ok..............", 16) == 0, "the answer, and not a byte more");

	(void) deliver("/ok");
	check(memcmp(answer, "ok..............", 16) == 0, "an event leaves it alone");

	target = *target_of("/big");
	relay_send(&delivery, &target);
	check(relay_finish(PATIENCE) && message.answer_len > 65536, "an answer that has no end");
	check(memcmp(answer, "0123456789\n01234", 16) == 0, "of which the beginning is kept");

	target = *target_of("/half");
	relay_send(&delivery, &target);
	check(relay_finish(PATIENCE) && delivery.result.verdict == BANK_UNREACHED &&
		  message.answer_len == 4, "an answer that is broken off is none");
	target = *target_of("/none");
	relay_send(&delivery, &target);
	check(relay_finish(PATIENCE) && message.answer_len == 0, "an answer without a body");

	memset(answer, '.', sizeof(answer));
	target = *target_of("/hang-body");
	relay_send(&delivery, &target);
	while (answer[0] == '.')
		relay_turn(PATIENCE);
	relay_cancel(&delivery);
	memset(answer, '.', sizeof(answer));
	(void) deliver("/ok");
	check(answer[0] == '.', "one that was given up is not written to any more");
}

/* With nothing to do the sink waits for nothing, although connections are open. */
static void
test_idle(void)
{
	BankSinkSocket sockets[8];
	int32_t		timeout;
	int			n;

	check_delivery(deliver("/ok"), BANK_DELIVERED, 200, "", "a last one");
	(void) relay.sink->wait_for(relay.state, sockets, 8, &n, &timeout);
	check_int(n, 0, "no socket to wait for");
	check_int(timeout, -1, "no time to wait for");
}

/* Start openssl's server with a certificate that nobody signed; its port, 0: no openssl. */
static int
start_tls_server(const char *dir, pid_t *pid)
{
	char		command[600];
	char		key[100];
	char		certificate[100];
	char		line[200];
	int			out[2];
	int			tls_port = 0;
	FILE	   *lines;

	(void) snprintf(key, sizeof(key), "%s/key", dir);
	(void) snprintf(certificate, sizeof(certificate), "%s/certificate", dir);
	(void) snprintf(command, sizeof(command), "openssl req -x509 -newkey ec "
					"-pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here.test "
					"-addext subjectAltName=DNS:here.test -keyout %s -out %s >%s/log 2>&1",
					key, certificate, dir);
	if (system(command) != 0 || pipe(out) != 0)
		return 0;
	*pid = fork();
	if (*pid == 0)
	{
		(void) dup2(out[1], STDOUT_FILENO);
		(void) dup2(out[1], STDERR_FILENO);
		(void) execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-www",
					  "-cert", certificate, "-key", key, (char *) NULL);
		_exit(1);
	}
	(void) close(out[1]);
	lines = fdopen(out[0], "r");
	while (tls_port == 0 && lines != NULL && fgets(line, sizeof(line), lines) != NULL)
		(void) sscanf(line, "ACCEPT 127.0.0.1:%d", &tls_port);
	return tls_port;
}

/* TLS is verified. */
static void
test_tls(void)
{
	BankSinkTarget target = *target_of("/");
	char		dir[] = "/tmp/banking-tls.XXXXXX";
	char		text[100];
	pid_t		pid = 0;
	int			tls_port = mkdtemp(dir) != NULL ? start_tls_server(dir, &pid) : 0;

	if (tls_port == 0)
		check(true, "a certificate that nobody signed # SKIP there is no openssl");
	else
	{
		(void) snprintf(text, sizeof(text), "https://here.test:%d/", tls_port);
		target.url = text;
		check_delivery(deliver_to(&target), BANK_UNREACHED, 0, "SSL certificate ",
					   "a certificate that nobody signed");
	}
	if (pid > 0)
	{
		(void) kill(pid, SIGKILL);
		(void) waitpid(pid, NULL, 0);
	}
	(void) snprintf(text, sizeof(text), "rm -rf %s", dir);
	if (system(text) != 0)
		printf("# could not remove %s\n", dir);
}

int
main(void)
{
	(void) signal(SIGPIPE, SIG_IGN);
	server_start();
	port = server_look().port;
	relay_start(bank_http_callbacks());
	test_answers();
	test_timeouts();
	test_big();
	test_bytes();
	test_environment();
	test_connections();
	test_names();
	test_slow_names();
	test_stable_set();
	test_many();
	test_descriptors();
	test_message();
	test_idle();
	test_tls();
	return check_done();
}
