/*
 * stats.c
 *		What the receiver counts.
 *
 * In flight is a request from when it has arrived until its answer is written or
 * its connection has ended.
 */
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATENCY_STEPS 64		/* buckets to a power of two */
#define LATENCY_BUCKETS ((64 - 5) * LATENCY_STEPS)

/* What stats_reset() sets to zero. */
static struct
{
	uint64_t	requests;
	uint64_t	events;
	uint64_t	connections;
	uint64_t	max_in_flight;
	uint64_t	latencies;
	uint64_t	latency_max;
	uint64_t	latency[LATENCY_BUCKETS];
} stats;

static uint64_t in_flight;

/* Requests by path: a list, as there are few. */
static struct
{
	Slice		path;
	uint64_t	requests;
}		   *paths;
static size_t n_paths;

/*
 * Microseconds since the Unix epoch of a time as RFC 3339 writes it, such as
 * "2024-02-29T12:00:00.123456+01:00"; -1 if it is none. Days as Fliegel and Van Flandern.
 */
static int64_t
parse_time(const char *text, const char *end)
{
	char		copy[40];
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			zone_hours = 0;
	int			zone_minutes = 0;
	int			zone_sign = 1;
	int64_t		fraction = 0;
	int			era;			/* -1 in January and February */
	int			days;
	size_t		len = end - text;
	const char *p = copy + 19;

	if (len < 20 || len >= sizeof(copy))
		return -1;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second) != 6)
		return -1;
	if (*p == '.')
	{
		int64_t		unit = 100000;

		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			fraction += (*p - '0') * unit;
	}
	if (*p == '+' || *p == '-')
	{
		zone_sign = *p == '-' ? -1 : 1;
		if (sscanf(p + 1, "%2d:%2d", &zone_hours, &zone_minutes) != 2)
			return -1;
	}
	else if (*p != 'Z')
		return -1;
	era = (month - 14) / 12;
	days = 1461 * (year + 4800 + era) / 4 + 367 * (month - 2 - era * 12) / 12 -
		3 * ((year + 4900 + era) / 100) / 4 + day - 32075 - 2440588;
	hour -= zone_sign * zone_hours;
	minute -= zone_sign * zone_minutes;
	return (((days * INT64_C(24) + hour) * 60 + minute) * 60 + second) * 1000000 + fraction;
}

/* Count the time from an event to its receipt. Clocks that disagree count as no time. */
static void
stats_add_latency(int64_t latency)
{
	uint64_t	value = latency > 0 ? latency : 0;
	int			shift = value < LATENCY_STEPS ? 0 : 63 - __builtin_clzll(value) - 6;

	stats.latency[shift * LATENCY_STEPS + (value >> shift)]++;
	stats.latencies++;
	if (value > stats.latency_max)
		stats.latency_max = value;
}

/* The time within which so many percent of the latencies lie, at most 1/64 too long. */
static uint64_t
stats_percentile(int percent)
{
	uint64_t	wanted = stats.latencies * percent / 100;
	uint64_t	seen = 0;

	for (uint64_t i = 0; i < LATENCY_BUCKETS; i++)
	{
		int			shift = i < 2 * LATENCY_STEPS ? 0 : (int) (i / LATENCY_STEPS) - 1;
		uint64_t	top = ((i - (uint64_t) shift * LATENCY_STEPS + 1) << shift) - 1;

		seen += stats.latency[i];
		if (seen > wanted)
			return top < stats.latency_max ? top : stats.latency_max;
	}
	return stats.latency_max;
}

/*
 * Count the events in a body, one CloudEvent or an array of them, and how long ago
 * each of them happened. Looks at the attributes of events only, not at what is inside
 * of their data; expects JSON to be right.
 */
static void
stats_add_events(Slice body, int64_t now)
{
	const char *p = body.data;
	const char *end = p + body.len;
	int			depth = 0;
	int			event_depth = 1;

	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	if (p < end && *p == '[')
		event_depth = 2;
	else if (p == end || *p != '{')
		return;
	for (Slice key = {0}; p < end; p++)
	{
		if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		else if (*p == ':' && depth == event_depth && slice_is(key, "specversion"))
			stats.events++;
		else if (*p == '"')
		{
			const char *start = ++p;

			while (p < end && *p != '"')
				p += *p == '\\' ? 2 : 1;
			if (p >= end)
				return;
			if (depth == event_depth && slice_is(key, "time"))
			{
				int64_t		time = parse_time(start, p);

				if (time >= 0)
					stats_add_latency(now - time);
			}
			key = (Slice) {start, p - start};
		}
		else if (*p == ',')
			key = (Slice) {0};
	}
}

/* Count a request to this path. */
static void
stats_add_path(Slice path)
{
	static size_t last;			/* where the one before was */
	size_t		i = last;

	if (i >= n_paths || !slice_equal(paths[i].path, path))
		for (i = 0; i < n_paths && !slice_equal(paths[i].path, path);)
			i++;
	if (i == n_paths)
	{
		paths = allocate(paths, (n_paths + 1) * sizeof(*paths));
		paths[n_paths].path = slice_keep(path);
		paths[n_paths++].requests = 0;
	}
	paths[i].requests++;
	last = i;
}

/* Count connections: one more, or one less (-1) that shall not count. */
void
stats_add_connection(int n)
{
	if (n > 0 || stats.connections > 0)
		stats.connections += n;
}

/* Count a request that has arrived now, and the events in it. */
void
stats_add_request(Slice path, Slice body, int64_t now)
{
	stats.requests++;
	stats_add_path(path);
	stats_add_events(body, now);
}

/* More requests are in flight. */
void
stats_begin(uint64_t requests)
{
	in_flight += requests;
	if (in_flight > stats.max_in_flight)
		stats.max_in_flight = in_flight;
}

/* Fewer requests are in flight. */
void
stats_end(uint64_t requests)
{
	in_flight -= requests;
}

/* All counters as text, one "name number" a line; for paths "path number path". */
void
stats_print(Buffer *to)
{
	buffer_print(to, "requests %" PRIu64 "\nevents %" PRIu64 "\nconnections %" PRIu64
				 "\nin_flight %" PRIu64 "\nmax_in_flight %" PRIu64 "\n",
				 stats.requests, stats.events, stats.connections, in_flight, stats.max_in_flight);
	buffer_print(to, "latency_events %" PRIu64 "\nlatency_p50 %" PRIu64 "\nlatency_p90 %" PRIu64
				 "\nlatency_p99 %" PRIu64 "\nlatency_max %" PRIu64 "\n",
				 stats.latencies, stats_percentile(50), stats_percentile(90), stats_percentile(99),
				 stats.latency_max);
	for (size_t i = 0; i < n_paths; i++)
	{
		buffer_print(to, "path %" PRIu64 " ", paths[i].requests);
		buffer_add(to, paths[i].path.data, paths[i].path.len);
		buffer_add(to, "\n", 1);
	}
}

/* Set all counters to zero; what is in flight stays so. */
void
stats_reset(void)
{
	memset(&stats, 0, sizeof(stats));
	stats.max_in_flight = in_flight;
	for (size_t i = 0; i < n_paths; i++)
		free((char *) paths[i].path.data);
	n_paths = 0;
}
