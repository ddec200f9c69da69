/*
 * bench.c
 *		How many requests per second the HTTP sink sends to a URL.
 *
 *	bench URL [AT-A-TIME [EVENTS [SECONDS]]]	default: 20 at a time, one event each, 3 s
 *
 * More than one event makes a batch. Private addresses are allowed.
 */
#include "relay.h"

#include "adapters/sinks/http/http_sink.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MAX_AT_A_TIME 256
#define MAX_EVENTS 1000

static int64_t end;
static int	n_sent = 0;
static int	n_delivered = 0;

/* Send it again, until the time is over. */
static void
again(Delivery *delivery)
{
	if (delivery->result.verdict == BANK_DELIVERED)
		n_delivered++;
	else
		printf("%s: %s\n", bank_verdict_name(delivery->result.verdict), delivery->result.error);
	if (relay_clock_ms() < end)
	{
		n_sent++;
		relay_send(delivery, delivery->request.target);
	}
}

int
main(int argc, char **argv)
{
	static const uint8_t key[32] = "01234567890123456789012345678901";
	static const BankSinkSecret secret = {key, 32};
	static char json[600];
	static BankSinkEvent events[MAX_EVENTS];
	static Delivery deliveries[MAX_AT_A_TIME];
	BankSinkTarget target = {.secrets = &secret, .n_secrets = 1, .connect_timeout = 5000,
		.request_timeout = 30000};
	int			at_a_time = argc > 2 ? atoi(argv[2]) : 20;
	int			n_events = argc > 3 ? atoi(argv[3]) : 1;
	int			seconds = argc > 4 ? atoi(argv[4]) : 3;
	struct rusage usage;
	double		rate;
	int			i;

	if (argc < 2 || at_a_time < 1 || at_a_time > MAX_AT_A_TIME || n_events < 1 ||
		n_events > MAX_EVENTS)
	{
		fputs("bench URL [AT-A-TIME [EVENTS [SECONDS]]]\n", stderr);
		return 2;
	}
	(void) signal(SIGPIPE, SIG_IGN);
	memset(json, 'x', sizeof(json));
	for (i = 0; i < n_events; i++)
		events[i] = (BankSinkEvent) {.event_id = "x", .json = json, .json_len = sizeof(json)};
	target.url = argv[1];
	target.batch = n_events > 1;
	relay_start(bank_http_callbacks());
	end = relay_clock_ms() + seconds * 1000;
	for (i = 0; i < at_a_time; i++)
	{
		deliveries[i].request.events = events;
		deliveries[i].request.n_events = n_events;
		deliveries[i].then = again;
		n_sent++;
		relay_send(&deliveries[i], &target);
	}
	if (!relay_finish(seconds * 1000 + 60000))
		puts("not all have ended");
	(void) getrusage(RUSAGE_SELF, &usage);
	rate = (double) n_delivered / seconds;
	printf("%d at a time, %d events each: %.0f requests/s, %.0f events/s\n", at_a_time, n_events,
		   rate, rate * n_events);
	printf("%d sent, %d delivered, %d changes of the set of sockets, %.1f us of CPU each\n", n_sent,
		   n_delivered, relay.rebuilds,
		   ((double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
			(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)) / n_sent);
	return n_sent == n_delivered ? 0 : 1;
}
