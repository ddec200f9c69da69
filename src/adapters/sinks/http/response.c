/*
 * response.c
 *		What comes back from an endpoint, and what it means for the delivery.
 *
 * The final status is the receipt: it counts when the response has come to its end, or
 * has been broken off by us because it is too long. A response that the endpoint
 * breaks off or does not finish in time is a failure, whatever its status.
 *
 * Nothing here allocates or raises. Text from outside becomes one line of printable
 * ASCII before it goes anywhere.
 */
#include "adapters/sinks/http/response.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define USEC INT64_C(1000000)

/*
 * Text from outside as one line: each run of white space is one space, none at the
 * ends, and whatever else is not printable ASCII is a question mark.
 */
static void
one_line(const char *from, size_t len, char *to, size_t size)
{
	size_t		n = 0;
	size_t		i;

	for (i = 0; i < len && n + 1 < size; i++)
	{
		unsigned char c = (unsigned char) from[i];

		if (c == ' ' || (c >= '\t' && c <= '\r'))
		{
			if (n > 0 && to[n - 1] != ' ')
				to[n++] = ' ';
		}
		else
			to[n++] = c > ' ' && c < 0x7f ? (char) c : '?';
	}
	while (n > 0 && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
}

/* A status that another response follows; 101 is none, we never ask for another protocol. */
static bool
is_interim(int status)
{
	return status >= 100 && status < 200 && status != 101;
}

/* A status line, "HTTP/1.1 503 Service Unavailable", begins a response. */
static void
take_status_line(BankHttpResponse *response, const char *line, size_t len)
{
	const char *end = line + len;
	const char *c = memchr(line, ' ', len);
	int			digits;

	response->status = 0;
	response->retry_after[0] = '\0';
	while (c != NULL && c < end && *c == ' ')
		c++;
	for (digits = 0; digits < 3 && c != NULL && c < end && *c >= '0' && *c <= '9'; digits++)
		response->status = response->status * 10 + (*c++ - '0');
	if (c != NULL)
		one_line(c, (size_t) (end - c), response->reason, sizeof(response->reason));
}

/* CURLOPT_HEADERFUNCTION: one line of the head, that of interim responses too, or a trailer. */
size_t
bank_http_take_header(char *line, size_t size, size_t n, void *arg)
{
	static const char retry_after[] = "Retry-After:";
	const size_t name_len = sizeof(retry_after) - 1;
	BankHttpResponse *response = arg;
	size_t		len = size * n;

	response->head_len += len;
	if (response->head_len > BANK_HTTP_RESPONSE_MAX)
	{
		response->capped = true;
		return 0;
	}
	if (response->head_ended)
		return len;
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
		take_status_line(response, line, len);
	else if (len > name_len && strncasecmp(line, retry_after, name_len) == 0)
		one_line(line + name_len, len - name_len, response->retry_after,
				 sizeof(response->retry_after));
	else if (len > 0 && (line[0] == '\r' || line[0] == '\n'))
		response->head_ended = !is_interim(response->status);
	return len;
}

/* Keep as much of a piece as still belongs to the beginning of the body. */
static void
keep_beginning(char *kept, size_t size, size_t had, const char *bytes, size_t len)
{
	if (had < size)
		memcpy(kept + had, bytes, len < size - had ? len : size - had);
}

/* CURLOPT_WRITEFUNCTION: a piece of the body, of which the beginning is kept. */
size_t
bank_http_take_body(char *bytes, size_t size, size_t n, void *arg)
{
	BankHttpResponse *response = arg;
	size_t		len = size * n;

	keep_beginning(response->body, sizeof(response->body), response->body_len, bytes, len);
	if (response->answer != NULL)
		keep_beginning(response->answer, response->answer_size, response->body_len, bytes, len);
	response->body_len += len;
	if (response->body_len > BANK_HTTP_RESPONSE_MAX)
	{
		response->capped = true;
		return 0;
	}
	return len;
}

/*
 * How long a Retry-After asks us to wait: seconds, or until a date (RFC 9110 section
 * 10.2.3). No longer than a day, not less than nothing.
 */
static int64_t
retry_after_usec(const char *value, int64_t unix_now)
{
	int64_t		wait = 0;
	const char *c = value;
	time_t		date;

	if (*c == '-' && c[1] >= '0' && c[1] <= '9')
		return 0;
	while (*c >= '0' && *c <= '9')
	{
		if (wait < BANK_RETRY_AFTER_MAX / USEC)
			wait = wait * 10 + (*c - '0');
		c++;
	}
	if (c > value && *c == '\0')
		wait *= USEC;
	else
	{
		date = curl_getdate(value, NULL);
		if (date == (time_t) -1)
			return BANK_NO_RETRY_AFTER;
		wait = (int64_t) date - unix_now / USEC;
		if (wait < 0)
			return 0;
		wait = wait < BANK_RETRY_AFTER_MAX / USEC ? wait * USEC : BANK_RETRY_AFTER_MAX;
	}
	return wait < BANK_RETRY_AFTER_MAX ? wait : BANK_RETRY_AFTER_MAX;
}

/* A delivery that has failed for a reason of the endpoint's or of ours; any text. */
void
bank_http_fail(BankDelivery *delivery, const char *why)
{
	memset(delivery, 0, sizeof(*delivery));
	delivery->verdict = BANK_UNREACHED;
	delivery->retry_after = BANK_NO_RETRY_AFTER;
	one_line(why, strlen(why), delivery->error, sizeof(delivery->error));
}

/* What the endpoint answered, in words: "503 Service Unavailable: try later". */
static void
describe(const BankHttpResponse *response, char *text, size_t size)
{
	char		body[sizeof(response->body) + 1];
	size_t		kept = response->body_len < sizeof(response->body) ? response->body_len :
		sizeof(response->body);

	if (response->status >= 400)
		one_line(response->body, kept, body, sizeof(body));
	else
		(void) snprintf(body, sizeof(body), "%s",
						response->status >= 300 ? "redirects are not followed" : "");
	(void) snprintf(text, size, "%03d%s%s%s%s", response->status,
					response->reason[0] != '\0' ? " " : "", response->reason,
					body[0] != '\0' ? ": " : "", body);
}

/*
 * What a transfer that ended with this code means. "error" is libcurl's or our own text,
 * "" if there is none.
 */
void
bank_http_result(const BankHttpResponse *response, CURLcode code, const char *error,
				 int64_t unix_now, BankDelivery *delivery)
{
	bool		has_status = response->status != 0 && !is_interim(response->status);

	if (response->capped && code == CURLE_WRITE_ERROR)
	{
		error = "the headers of the response are too long";
		if (has_status)
			code = CURLE_OK;
	}
	else if (code == CURLE_OK && !response->head_ended)
	{
		/* libcurl takes an end within the headers for the end of the response */
		error = "the response ended within its headers";
		code = CURLE_GOT_NOTHING;
	}
	if (code != CURLE_OK)
	{
		bank_http_fail(delivery, error[0] != '\0' ? error : curl_easy_strerror(code));
		if (has_status)
			delivery->status = response->status;
		return;
	}

	memset(delivery, 0, sizeof(*delivery));
	delivery->verdict = bank_delivery_verdict(response->status);
	delivery->status = response->status;
	delivery->retry_after = BANK_NO_RETRY_AFTER;
	if (delivery->verdict == BANK_DELIVERED)
		return;
	if (response->retry_after[0] != '\0')
		delivery->retry_after = retry_after_usec(response->retry_after, unix_now);
	describe(response, delivery->error, sizeof(delivery->error));
}
