/*
 * relay.h
 *		What the relay is to a sink, without a server: a host and an event loop.
 */
#ifndef TEST_RELAY_H
#define TEST_RELAY_H

#include "ports/event_sink.h"

#define RELAY_MAX_SOCKETS 1024

/* A request and what became of it. */
typedef struct Delivery
{
	BankSinkRequest request;
	BankSinkEvent event;		/* unless the request has an array of its own */
	int			completed;		/* how often; must become 1 */
	BankDelivery result;
	void		(*then) (struct Delivery *delivery);	/* NULL, or called when it has ended */
} Delivery;

typedef struct Relay
{
	BankSinkHost host;
	const BankSinkCallbacks *sink;
	void	   *state;
	int64_t		now;			/* Unix microseconds; 0: as the clock says */
	int			max_sockets;	/* to ask for */
	int			under_way;
	int			rebuilds;		/* how often the set of sockets changed */
	int			longest_ms;		/* of a call of the sink */
} Relay;

extern Relay relay;

extern void relay_start(const BankSinkCallbacks *sink);
extern void relay_send(Delivery *delivery, const BankSinkTarget *target);
extern void relay_cancel(Delivery *delivery);
extern void relay_turn(int max_ms);
extern bool relay_finish(int max_ms);
extern int64_t relay_clock_ms(void);

#endif							/* TEST_RELAY_H */
