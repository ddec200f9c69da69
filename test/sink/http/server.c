/*
 * server.c
 *		A server within the test's process that answers, byte by byte, as a test wants.
 *
 * What the relay's receiver (test/receiver) does politely: this one also breaks the
 * protocol. A thread per connection; the path of a request says what comes back.
 */
#include "server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers that are one piece. */
static const struct
{
	const char *path;
	const char *answer;
	bool		close;			/* the connection after it */
}			answers[] = {
	{"/ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
	{"/none", "HTTP/1.1 204 No Content\r\n\r\n", false},
	{"/chunked", "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"
		"2\r\nok\r\n0\r\nRetry-After: 5\r\nHTTP/9: 1\r\n\r\n", false},
	{"/interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nRetry-After: 5\r\n\r\n"
		"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ntry later", false},
	{"/interim-ok", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
		"HTTP/1.1 204 None\r\n\r\n", false},
	{"/interim-hang", "HTTP/1.1 102 Processing\r\n\r\n", false},
	{"/interim-close", "HTTP/1.1 100 Continue\r\n\r\n", true},
	{"/upgrade", "HTTP/1.1 101 Switching Protocols\r\n"
		"Upgrade: x\r\nConnection: Upgrade\r\n\r\n", true},
	{"/400", "HTTP/1.1 400 Bad Request\r\nContent-Length: 34\r\n\r\n"
		"  no\r\n\tsuch \x01\x7f account \xc3\xa9 \x00 here. ", false},
	{"/404", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", false},
	{"/408", "HTTP/1.1 408 Request Timeout\r\n"
		"Content-Length: 0\r\nConnection: close\r\n\r\n", true},
	{"/410", "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", false},
	{"/429", "HTTP/1.1 429 Too Many Requests\r\n"
		"retry-after:  120 \r\nContent-Length: 0\r\n\r\n", false},
	{"/429-date", "HTTP/1.1 429 Slow\r\nRetry-After: Thu, 01 Jan 2026 00:01:00 GMT\r\n"
		"Content-Length: 0\r\n\r\n", false},
	{"/500", "HTTP/1.1 500 Internal Server Error\r\n\r\n", true},
	{"/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", false},
	{"/half", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true},
	{"/half-head", "HTTP/1.1 200 OK\r\nContent-Le", true},
	{"/hang", "", false},
	{"/hang-head", "HTTP/1.1 200 OK\r\nContent-Le", false},
	{"/hang-body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false},
	{"/garbage", "\x16\x03\x01\xff\xfe no HTTP at all\r\n\r\n", true},
	{"/old", "<h1>it works</h1>\r\n", true},
	{"/closes", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true},
	{"/nothing", "", true},
};

static Server server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Send all of it; false: the client has gone. */
static bool
send_all(int fd, const char *bytes, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t) n;
	}
	return true;
}

#define MUCH 100000000

/* Send a beginning and then the same piece again and again, up to so many bytes. */
static void
send_much(int fd, const char *begin, const char *piece)
{
	char		block[4096];
	size_t		piece_len = strlen(piece);
	size_t		len = 0;
	size_t		sent = 0;

	while (len + piece_len <= sizeof(block))
	{
		memcpy(block + len, piece, piece_len);
		len += piece_len;
	}
	if (send_all(fd, begin, strlen(begin)))
	{
		while (sent < MUCH && send_all(fd, block, len))
			sent += len;
	}
	(void) pthread_mutex_lock(&lock);
	server.sent = sent;
	(void) pthread_mutex_unlock(&lock);
}

/* Read one request into the buffer; its length, 0: there is none any more. */
static size_t
read_request(int fd, char *buffer)
{
	size_t		len = 0;
	size_t		need = 0;

	while (need == 0 || len < need)
	{
		ssize_t		n = recv(fd, buffer + len, SERVER_MAX_REQUEST - 1 - len, 0);
		char	   *end;
		char	   *length;

		if (n <= 0)
			return 0;
		len += (size_t) n;
		buffer[len] = '\0';
		end = strstr(buffer, "\r\n\r\n");
		if (end == NULL)
			continue;
		length = strstr(buffer, "Content-Length: ");
		need = (size_t) (end + 4 - buffer) + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
	}
	return len;
}

/* Answer one request; false: close the connection. */
static bool
answer(int fd, const char *path)
{
	size_t		i;

	for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
	{
		size_t		len = strlen(answers[i].answer);

		if (strcmp(path, answers[i].path) != 0)
			continue;
		if (strcmp(path, "/400") == 0)	/* has a byte 0 */
			len += 1 + strlen(answers[i].answer + len + 1);
		return send_all(fd, answers[i].answer, len) && !answers[i].close;
	}
	if (strcmp(path, "/reset") == 0)
		(void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger) {.l_onoff = 1},
						  sizeof(struct linger));
	else if (strcmp(path, "/big") == 0)
		send_much(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", "0123456789\n");
	else if (strcmp(path, "/big-chunked") == 0)
		send_much(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
				  "a\r\n0123456789\r\n");
	else if (strcmp(path, "/big-503") == 0)
		send_much(fd, "HTTP/1.1 503 Down\r\nContent-Length: 100000000\r\n\r\n", "down for now\n");
	else if (strcmp(path, "/big-headers") == 0)
		send_much(fd, "HTTP/1.1 200 OK\r\n", "X-Header: 0123456789\r\n");
	else if (strcmp(path, "/big-interim") == 0)
		send_much(fd, "", "HTTP/1.1 100 Continue\r\n\r\n");
	else if (strcmp(path, "/slow") == 0)
	{
		const char *c;

		for (c = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"; *c != '\0'; c++)
		{
			if (!send_all(fd, c, 1))
				return false;
			(void) usleep(3000);
		}
		return true;
	}
	return false;
}

/* A thread: one connection. */
static void *
serve(void *arg)
{
	int			fd = (int) (size_t) arg;
	char	   *buffer = malloc(SERVER_MAX_REQUEST);
	char		path[64];
	size_t		len;

	while (buffer != NULL && (len = read_request(fd, buffer)) > 0)
	{
		if (sscanf(buffer, "POST %63[^ ?]", path) != 1)
			path[0] = '\0';
		(void) pthread_mutex_lock(&lock);
		server.requests++;
		if (strcmp(path, "/ok") == 0)
			server.ok_requests++;
		memcpy(server.last, buffer, len + 1);
		server.last_len = len;
		(void) pthread_mutex_unlock(&lock);
		if (!answer(fd, path))
			break;
	}
	free(buffer);
	(void) close(fd);
	return NULL;
}

/* A thread: accept for ever. */
static void *
listen_on(void *arg)
{
	int			listener = (int) (size_t) arg;

	for (;;)
	{
		int			fd = accept(listener, NULL, NULL);
		pthread_t	thread;

		if (fd < 0)
			continue;
		(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) {1}, sizeof(int));
		(void) pthread_mutex_lock(&lock);
		server.connections++;
		(void) pthread_mutex_unlock(&lock);
		if (pthread_create(&thread, NULL, serve, (void *) (size_t) fd) == 0)
			(void) pthread_detach(thread);
		else
			(void) close(fd);
	}
	return NULL;
}

/* Listen on a free port of 127.0.0.1, until the process ends. */
void
server_start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	len = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t	thread;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 || bind(listener, (struct sockaddr *) &address, sizeof(address)) < 0 ||
		listen(listener, 512) < 0 ||
		getsockname(listener, (struct sockaddr *) &address, &len) < 0 ||
		pthread_create(&thread, NULL, listen_on, (void *) (size_t) listener) != 0)
	{
		perror("server");
		exit(1);
	}
	server.port = ntohs(address.sin_port);
}

/* A copy of what is known now. */
Server
server_look(void)
{
	Server		copy;

	(void) pthread_mutex_lock(&lock);
	copy = server;
	(void) pthread_mutex_unlock(&lock);
	return copy;
}
