/*
 * sockets.h
 *		The sockets that libcurl uses, and what it waits for on each.
 */
#ifndef BANK_HTTP_SOCKETS_H
#define BANK_HTTP_SOCKETS_H

#include "ports/event_sink.h"

/* What is known of the socket whose number is its index. */
typedef struct BankHttpSocket
{
	bool		open;			/* a connection's, from its opening to its closing */
	uint8_t		events;			/* what libcurl waits for now; 0: nothing */
	uint8_t		reported;		/* what the relay was told last */
} BankHttpSocket;

typedef struct BankHttpSockets
{
	BankHttpSocket *sockets;
	int			size;			/* of the array */
	bool		stale;			/* a reported number may stand for another socket now */
	bool		overflow;		/* the last report had no room for all */
	uint64_t	version;		/* of what was reported last */
} BankHttpSockets;

extern bool bank_http_sockets_opened(BankHttpSockets *sockets, int socket);
extern void bank_http_sockets_closed(BankHttpSockets *sockets, int socket);
extern bool bank_http_sockets_watch(BankHttpSockets *sockets, int socket, int events);
extern uint64_t bank_http_sockets_report(BankHttpSockets *sockets, BankSinkSocket *report,
										 int max, int *n);

#endif							/* BANK_HTTP_SOCKETS_H */
