/*
 * load.c
 *		How many requests per second a receiver can take: the limit of what a benchmark
 *		against it can show.
 *
 *	load PORT SECONDS CONNECTIONS FILE
 *
 * Posts the file again and again to 127.0.0.1, one request at a time on each connection,
 * and prints the requests answered per second. Single-threaded, epoll.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define MAX_BODY (1 << 20)

static char request[MAX_BODY + 1024];
static size_t request_len;

/* Print what went wrong and end. */
static void
fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Seconds of a clock that is never set. */
static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Read the body and put the head before it. */
static void
make_request(const char *path)
{
	static char body[MAX_BODY];
	FILE	   *file = fopen(path, "r");
	size_t		len;
	int			head;

	if (file == NULL)
		fail(path);
	len = fread(body, 1, sizeof(body), file);
	fclose(file);
	head = snprintf(request, sizeof(request),
					"POST /load HTTP/1.1\r\nHost: 127.0.0.1\r\n"
					"Content-Type: application/cloudevents+json\r\nContent-Length: %zu\r\n\r\n", len);
	memcpy(request + head, body, len);
	request_len = (size_t) head + len;
}

/* Send the request on a connection; small enough for the socket's buffer, or waited for. */
static void
post(int fd)
{
	size_t		sent = 0;

	while (sent < request_len)
	{
		ssize_t		n = send(fd, request + sent, request_len - sent, MSG_NOSIGNAL);

		if (n < 0)
			fail("send");
		sent += (size_t) n;
	}
}

/* A connection to the receiver, watched. */
static void
open_connection(int port, int epoll)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	struct epoll_event event = {.events = EPOLLIN};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);
	int			one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	event.data.fd = fd;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
	post(fd);
}

/* See the top of the file. */
int
main(int argc, char **argv)
{
	int			epoll = epoll_create1(0);
	long		answered = 0;
	double		start;
	double		end;
	int			i;

	if (argc != 5 || atoi(argv[3]) < 1 || atoi(argv[3]) > MAX_CONNECTIONS)
	{
		fprintf(stderr, "usage: load PORT SECONDS CONNECTIONS FILE\n");
		return 2;
	}
	make_request(argv[4]);
	for (i = 0; i < atoi(argv[3]); i++)
		open_connection(atoi(argv[1]), epoll);
	start = seconds();
	end = start + atof(argv[2]);
	while (seconds() < end)
	{
		struct epoll_event events[256];
		int			n = epoll_wait(epoll, events, 256, 100);

		for (i = 0; i < n; i++)
		{
			char		answer[4096];

			/* the receiver's answers are short and come in one piece */
			if (recv(events[i].data.fd, answer, sizeof(answer), 0) <= 0)
				fail("recv");
			answered++;
			post(events[i].data.fd);
		}
	}
	printf("%.0f\n", (double) answered / (seconds() - start));
	return 0;
}
