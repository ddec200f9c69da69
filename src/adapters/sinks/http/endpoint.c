/*
 * endpoint.c
 *		What a subscription may name as its endpoint: URL, headers, secrets.
 *
 * URLs are taken apart by libcurl, which sends to them later: two parsers that differ
 * are how checks are got round. Names are not resolved here, only when a socket is
 * opened (transfer.c), since what they stand for may change.
 *
 * A reason never quotes what may hold a secret (URL, values), nor text that could be
 * cut within a character: only names of headers that are known to be ASCII, and hosts.
 *
 * Runs in ordinary backends too. Allocates only what libcurl does, and frees it.
 */
#include "adapters/sinks/http/endpoint.h"

#include "adapters/sinks/http/address.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A host as curl_url_get() gives it: is it an address, in brackets if it is one of IPv6? */
static bool
host_address(const char *host, struct sockaddr_storage *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char		inside[INET6_ADDRSTRLEN];
	size_t		len = strlen(host);

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
	{
		memcpy(address, &in, sizeof(in));
		return true;
	}
	if (len > 2 && host[0] == '[' && host[len - 1] == ']' && len - 2 < sizeof(inside))
	{
		memcpy(inside, host + 1, len - 2);
		inside[len - 2] = '\0';
		if (inet_pton(AF_INET6, inside, &in6.sin6_addr) == 1)
		{
			memcpy(address, &in6, sizeof(in6));
			return true;
		}
	}
	return false;
}

/* Is this the name of this host itself, RFC 6761? */
static bool
host_is_localhost(const char *host)
{
	static const char name[] = "localhost";
	size_t		len = strlen(host);

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len < sizeof(name) - 1)
		return false;
	host += len - (sizeof(name) - 1);
	return strncasecmp(host, name, sizeof(name) - 1) == 0 &&
		(len == sizeof(name) - 1 || host[-1] == '.');
}

/* Refuses a host that is an address which needs banking.allow_private_endpoints. */
static const char *
check_host(const char *host, char *reason, size_t reason_size)
{
	struct sockaddr_storage address;
	char		text[BANK_HTTP_ADDRESS_SIZE];

	if (host_is_localhost(host))
		return "The host is this very server, see banking.allow_private_endpoints.";
	if (!host_address(host, &address) ||
		!bank_http_address_private((const struct sockaddr *) &address))
		return NULL;
	bank_http_address_text((const struct sockaddr *) &address, text, sizeof(text));
	(void) snprintf(reason, reason_size,
					"The address %s is private, see banking.allow_private_endpoints.", text);
	return reason;
}

/* Does the URL have this part? */
static bool
has_part(CURLU *url, CURLUPart part)
{
	char	   *text = NULL;
	bool		has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

/* What is wrong with a URL that libcurl has begun to take apart. */
static const char *
check_parts(CURLU *parts, const char *url, const BankSinkHost *host, char *reason,
			size_t reason_size)
{
	CURLUcode	code = curl_url_set(parts, CURLUPART_URL, url, 0);
	const char *wrong = NULL;
	char	   *name = NULL;

	if (code == CURLUE_OK)
		code = curl_url_get(parts, CURLUPART_HOST, &name, 0);
	if (code == CURLUE_NO_HOST)
		return "The URL has no host.";
	if (code == CURLUE_OUT_OF_MEMORY)
		return "There is no memory to check the URL.";
	if (code != CURLUE_OK)
	{
		(void) snprintf(reason, reason_size, "The URL is malformed: %s.",
						curl_url_strerror(code));
		return reason;
	}
	if (has_part(parts, CURLUPART_USER) || has_part(parts, CURLUPART_PASSWORD))
		wrong = "The URL has a user name or password, which many could see; use a header.";
	else if (!host->allow_private)
		wrong = check_host(name, reason, reason_size);
	curl_free(name);
	return wrong;
}

/* What is wrong with the URL; NULL: nothing. */
static const char *
check_url(const char *url, const BankSinkHost *host, char *reason, size_t reason_size)
{
	const char *wrong;
	const char *c;
	const char *rest;
	CURLU	   *parts;

	if (strlen(url) > BANK_HTTP_MAX_URL)
	{
		(void) snprintf(reason, reason_size, "The URL is longer than %d bytes.",
						BANK_HTTP_MAX_URL);
		return reason;
	}
	for (c = url; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= ' ' || *c == 0x7f)
			return "The URL has a space or a control character.";
		if ((unsigned char) *c > 0x7f)
			return "The URL has a character that is not ASCII: write it in percent encoding, "
				"and a host in punycode.";
	}
	if (strncasecmp(url, "http://", 7) == 0)
		rest = url + 7;
	else if (strncasecmp(url, "https://", 8) == 0)
		rest = url + 8;
	else
		return "The URL must begin with http:// or https://.";
	if (*rest == '/' || *rest == '\0')	/* libcurl would take the path for the host */
		return "The URL has no host.";
	if (strchr(url, '#') != NULL)
		return "The URL has a fragment, which is never sent.";

	parts = curl_url();
	if (parts == NULL)
		return "There is no memory to check the URL.";
	wrong = check_parts(parts, url, host, reason, reason_size);
	curl_url_cleanup(parts);
	return wrong;
}

/* Is this a token, RFC 9110 section 5.6.2? */
static bool
is_token(const char *name)
{
	static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	return name[0] != '\0' && name[strspn(name, allowed)] == '\0';
}

/* Headers that are ours to set, or that change how the message is framed. */
static bool
is_reserved(const char *name)
{
	static const char *const reserved[] = {
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding",
		"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect"
	};
	size_t		i;

	if (strncasecmp(name, "webhook-", 8) == 0)
		return true;
	for (i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
	{
		if (strcasecmp(name, reserved[i]) == 0)
			return true;
	}
	return false;
}

/* What is wrong with one header; NULL: nothing. */
static const char *
check_header(const BankSinkHeader *header, char *reason, size_t reason_size)
{
	const char *c;

	if (!is_token(header->name) || strlen(header->name) > BANK_HTTP_MAX_HEADER_NAME)
	{
		(void) snprintf(reason, reason_size,
						"The name of a header must be letters, digits and hyphens, at most %d.",
						BANK_HTTP_MAX_HEADER_NAME);
		return reason;
	}
	if (is_reserved(header->name))
	{
		(void) snprintf(reason, reason_size, "The header \"%s\" cannot be set.", header->name);
		return reason;
	}
	for (c = header->value; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7f)
		{
			(void) snprintf(reason, reason_size,
							"The value of the header \"%s\" has a control character.",
							header->name);
			return reason;
		}
	}
	if (c - header->value > BANK_HTTP_MAX_HEADER_VALUE)
	{
		(void) snprintf(reason, reason_size,
						"The value of the header \"%s\" is longer than %d bytes.", header->name,
						BANK_HTTP_MAX_HEADER_VALUE);
		return reason;
	}
	return NULL;
}

/* BankSinkCallbacks.check */
const char *
bank_http_check(const BankSinkTarget *target, const BankSinkHost *host, char *reason,
				size_t reason_size)
{
	const char *wrong = check_url(target->url, host, reason, reason_size);
	int			i;

	if (wrong != NULL)
		return wrong;
	if (target->n_headers > BANK_HTTP_MAX_HEADERS)
	{
		(void) snprintf(reason, reason_size, "There are more than %d headers.",
						BANK_HTTP_MAX_HEADERS);
		return reason;
	}
	for (i = 0; i < target->n_headers; i++)
	{
		wrong = check_header(&target->headers[i], reason, reason_size);
		if (wrong != NULL)
			return wrong;
	}
	for (i = 0; i < target->n_secrets; i++)
	{
		if (target->secrets[i].len < BANK_HTTP_MIN_SECRET ||
			target->secrets[i].len > BANK_HTTP_MAX_SECRET)
		{
			(void) snprintf(reason, reason_size, "A secret must have %d to %d bytes.",
							BANK_HTTP_MIN_SECRET, BANK_HTTP_MAX_SECRET);
			return reason;
		}
	}
	return NULL;
}
