/*
 * stats.h
 *		What the receiver counts, requests to /control apart.
 *
 * Shown as lines "name number":
 *
 *	requests, events, connections
 *	in_flight			requests that have arrived and are not answered; hanging ones too
 *	max_in_flight		the most of them at a time
 *	latency_events		events with a "time", which is a CloudEvent's time of occurrence
 *	latency_p50, latency_p90, latency_p99, latency_max
 *						from there to the arrival of the request, microseconds
 *	path N /PATH		requests to this path, a line for each
 *
 * Times are microseconds since the Unix epoch.
 */
#ifndef RECEIVER_STATS_H
#define RECEIVER_STATS_H

#include "text.h"

extern void stats_add_connection(int n);
extern void stats_add_request(Slice path, Slice body, int64_t now);
extern void stats_begin(uint64_t requests);
extern void stats_end(uint64_t requests);
extern void stats_print(Buffer *to);
extern void stats_reset(void);

#endif							/* RECEIVER_STATS_H */
