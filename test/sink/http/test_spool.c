/*
 * test_spool.c
 *		The sample sink, banking_spool.c: what it accepts, writes, and does when it cannot.
 */
#include "check.h"
#include "relay.h"

#include <stdlib.h>
#include <unistd.h>

extern const BankSinkCallbacks *bank_sink_init(void);
extern int	pg_snprintf(char *text, size_t size, const char *format, ...);

static char dir[] = "/tmp/banking-spool.XXXXXX";
static char url[200];

/* What PostgreSQL's headers make of snprintf(). */
int
pg_snprintf(char *text, size_t size, const char *format, ...)
{
	va_list		args;
	int			n;

	va_start(args, format);
	n = vsnprintf(text, size, format, args);
	va_end(args);
	return n;
}

/* The whole of the spooled file; "" if there is none. */
static const char *
spooled(void)
{
	static char text[1000];
	char		path[200];
	size_t		n = 0;
	FILE	   *file;

	(void) snprintf(path, sizeof(path), "%s/events", dir);
	file = fopen(path, "r");
	if (file != NULL)
	{
		n = fread(text, 1, sizeof(text) - 1, file);
		(void) fclose(file);
	}
	text[n] = '\0';
	return text;
}

/* Which URLs it takes. */
static void
test_urls(void)
{
	static const struct
	{
		const char *url;
		bool		right;
	}			cases[] = {
		{"file:///tmp/x", true}, {"file:///tmp/x?fail=rejected", true},
		{"file:///tmp/x?fail=unreached", true}, {"file:///tmp/x?fail=never", false},
		{"file:///tmp/x?", false}, {"file://host/x", false}, {"file:x", false},
		{"/tmp/x", false}, {"https://example.com/", false}, {"", false},
	};
	char		reason[200];
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		BankSinkTarget target = {.url = cases[i].url};
		const char *wrong = relay.sink->check(&target, &relay.host, reason, sizeof(reason));

		check((wrong == NULL) == cases[i].right, "URL '%s'", cases[i].url);
	}
}

static Delivery second = {.completed = 0};

/* Send another one from complete(). */
static void
send_second(Delivery *delivery)
{
	relay_send(&second, delivery->request.target);
}

/* Cancel another one from complete(). */
static void
cancel_second(Delivery *delivery)
{
	(void) delivery;
	relay_cancel(&second);
}

int
main(void)
{
	static const BankSinkEvent events[] = {{"1", "{\"a\":1}", 7}, {"2", "{\"b\":2}", 7}};
	BankSinkTarget target = {.url = url};
	Delivery	one = {.completed = 0};
	Delivery	batch = {.request = {.events = events, .n_events = 2}, .then = send_second};
	BankSinkMessage message = {.content_type = "application/json", .body = "{}", .body_len = 2};
	Delivery	asked = {.request = {.message = &message}};
	char		command[200];

	if (mkdtemp(dir) == NULL)
		return 1;
	relay_start(bank_sink_init());
	test_urls();

	(void) snprintf(url, sizeof(url), "file://%s/events", dir);
	relay_send(&one, &target);
	check(one.completed == 0, "nothing completes from within send()");
	check(relay_finish(1000) && one.result.verdict == BANK_DELIVERED && one.result.error[0] == '\0',
		  "an event is delivered");
	check_text(spooled(), "{}\n", "as a line");
	relay_send(&batch, &target);
	check(relay_finish(1000) && batch.completed == 1 && second.completed == 1,
		  "a batch, and another one sent from complete()");
	check_text(spooled(), "{}\n{\"a\":1}\n{\"b\":2}\n{}\n", "are appended");

	one.then = cancel_second;
	relay_send(&one, &target);
	relay_send(&second, &target);
	check(relay_finish(1000) && one.completed == 1 && second.completed == 0,
		  "cancelled in complete()");
	check_text(spooled(), "{}\n{\"a\":1}\n{\"b\":2}\n{}\n{}\n", "is not written");
	one.then = NULL;
	relay_send(&asked, &target);
	check(relay_finish(1000) && asked.result.verdict == BANK_REJECTED, "a file gives no answers");

	(void) snprintf(url, sizeof(url), "file://%s/events?fail=rejected", dir);
	relay_send(&one, &target);
	check(relay_finish(1000) && one.result.verdict == BANK_REJECTED && one.result.error[0] != '\0',
		  "rejected on demand");
	(void) snprintf(url, sizeof(url), "file://%s/events?fail=unreached", dir);
	relay_send(&one, &target);
	check(relay_finish(1000) && one.result.verdict == BANK_UNREACHED, "failed on demand");
	(void) snprintf(url, sizeof(url), "file://%s/none/events", dir);
	relay_send(&one, &target);
	check(relay_finish(1000) && one.result.verdict == BANK_UNREACHED &&
		  one.result.retry_after == BANK_NO_RETRY_AFTER, "a directory that is not there");
	check_text(one.result.error, "could not open the file", "says so");
	check_text(spooled(), "{}\n{\"a\":1}\n{\"b\":2}\n{}\n{}\n", "nothing of them was written");

	(void) snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command) != 0)
		printf("# could not remove %s\n", dir);
	return check_done();
}
