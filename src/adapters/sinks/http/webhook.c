/*
 * webhook.c
 *		The headers of a request: Standard Webhooks, CloudEvents and the target's own.
 *
 * Standard Webhooks 1.0: webhook-id, webhook-timestamp, webhook-signature. Signed are the
 * very bytes that are sent, with id and time in front of them; each secret gives a
 * signature, so that a receiver who knows the old one or the new one finds a good one.
 *
 * Memory is malloc's: libcurl works with the list while the request is under way.
 */
#include "adapters/sinks/http/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A signature in the header: "v1,", the text, and a space or the terminator. */
#define SIGNATURE_SIZE (3 + BANK_HTTP_MAC_TEXT)

static const char no_memory[] = "out of memory";

/* Base64 (RFC 4648) of a MAC, terminated. */
void
bank_http_base64(const uint8_t mac[32], char text[BANK_HTTP_MAC_TEXT])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	int			i;

	for (i = 0; i < 32; i += 3)
	{
		uint32_t	three = (uint32_t) mac[i] << 16 | (uint32_t) mac[i + 1] << 8;

		if (i + 2 < 32)
			three |= mac[i + 2];
		*text++ = digits[three >> 18];
		*text++ = digits[three >> 12 & 63];
		*text++ = digits[three >> 6 & 63];
		*text++ = i + 2 < 32 ? digits[three & 63] : '=';
	}
	*text = '\0';
}

/*
 * Add a header. libcurl drops a header that has a colon and nothing behind it, and
 * sends one without value if its name is followed by a semicolon.
 */
static bool
add_header(struct curl_slist **headers, const char *name, const char *value)
{
	size_t		size = strlen(name) + strlen(value) + 3;
	char	   *line = malloc(size);
	struct curl_slist *longer = NULL;

	if (line == NULL)
		return false;
	if (value[strspn(value, " ")] == '\0')
		(void) snprintf(line, size, "%s;", name);
	else
		(void) snprintf(line, size, "%s: %s", name, value);
	longer = curl_slist_append(*headers, line);
	free(line);
	if (longer == NULL)
		return false;
	*headers = longer;
	return true;
}

/* Keep libcurl from sending a header of its own. */
static bool
drop_header(struct curl_slist **headers, const char *name_and_colon)
{
	struct curl_slist *longer = curl_slist_append(*headers, name_and_colon);

	if (longer == NULL)
		return false;
	*headers = longer;
	return true;
}

/* Add headers that somebody has asked for. */
static bool
add_all(struct curl_slist **headers, const BankSinkHeader *more, int n)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (!add_header(headers, more[i].name, more[i].value))
			return false;
	}
	return true;
}

/* Add the signatures by all secrets of the target, if it has any; returns what went wrong. */
static const char *
add_signatures(const BankSinkHost *host, const BankSinkRequest *request, const char *timestamp,
			   const void *body, size_t body_len, struct curl_slist **headers)
{
	const BankSinkTarget *target = request->target;
	const void *parts[] = {request->message_id, ".", timestamp, ".", body};
	size_t		lens[] = {strlen(request->message_id), 1, strlen(timestamp), 1, body_len};
	const char *wrong = NULL;
	char	   *text;
	char	   *next;
	int			i;

	if (target->n_secrets <= 0)
		return NULL;
	text = malloc((size_t) target->n_secrets * SIGNATURE_SIZE);
	if (text == NULL)
		return no_memory;
	next = text;
	for (i = 0; i < target->n_secrets && wrong == NULL; i++)
	{
		uint8_t		mac[32];

		if (!host->hmac_sha256(&target->secrets[i], parts, lens, 5, mac))
			wrong = "could not compute the signature";
		else
		{
			if (i > 0)
				*next++ = ' ';
			memcpy(next, "v1,", 3);
			bank_http_base64(mac, next + 3);
			next += SIGNATURE_SIZE - 1;
		}
	}
	if (wrong == NULL && !add_header(headers, "webhook-signature", text))
		wrong = no_memory;
	free(text);
	return wrong;
}

/*
 * The headers of a request with this body, with the present time and signed with it.
 * Returns NULL, or what went wrong in static memory. *headers must be NULL or a list
 * and is the caller's to free in both cases.
 */
const char *
bank_http_headers(const BankSinkHost *host, const BankSinkRequest *request, const void *body,
				  size_t body_len, struct curl_slist **headers)
{
	const BankSinkTarget *target = request->target;
	const BankSinkMessage *message = request->message;
	char		timestamp[24];

	(void) snprintf(timestamp, sizeof(timestamp), "%" PRId64, host->unix_now() / 1000000);
	if (!add_header(headers, "Content-Type", message != NULL ? message->content_type :
					target->batch ?
					"application/cloudevents-batch+json; charset=UTF-8" :
					"application/cloudevents+json; charset=UTF-8") ||
		!drop_header(headers, "Expect:") ||
		!drop_header(headers, "Accept:") ||
		!add_header(headers, "webhook-id", request->message_id) ||
		!add_header(headers, "webhook-timestamp", timestamp) ||
		(message != NULL && !add_all(headers, message->headers, message->n_headers)) ||
		!add_all(headers, target->headers, target->n_headers))
		return no_memory;
	return add_signatures(host, request, timestamp, body, body_len, headers);
}
