/*
 * server.h
 *		A server within the test's process that answers, byte by byte, as a test wants.
 */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include <stddef.h>

#define SERVER_MAX_REQUEST 65536

/* The last request that came, and how many of what so far; all under lock. */
typedef struct Server
{
	int			port;
	int			connections;	/* accepted */
	int			requests;
	int			ok_requests;	/* to /ok */
	size_t		sent;			/* bytes of the last endless answer that were taken */
	char		last[SERVER_MAX_REQUEST];	/* head and body of the last request, terminated */
	size_t		last_len;
} Server;

extern void server_start(void);
extern Server server_look(void);

#endif							/* TEST_SERVER_H */
