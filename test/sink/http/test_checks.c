/*
 * test_checks.c
 *		What the HTTP sink makes of URLs, headers, secrets, addresses, signatures and
 *		responses, without any network.
 */
#include "check.h"
#include "hmac.h"

#include "adapters/sinks/http/address.h"
#include "adapters/sinks/http/endpoint.h"
#include "adapters/sinks/http/response.h"
#include "adapters/sinks/http/sockets.h"
#include "adapters/sinks/http/webhook.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static BankSinkHost host = {.allow_private = false};
static char reason[256];

/* What check() says of a target; "" if nothing is wrong with it. */
static const char *
wrong_with(const BankSinkTarget *target)
{
	const char *wrong = bank_http_check(target, &host, reason, sizeof(reason));

	return wrong == NULL ? "" : wrong;
}

/* Does it say this? NULL: it must say nothing. */
static bool
says(const char *wrong, const char *part)
{
	return part == NULL ? wrong[0] == '\0' : strstr(wrong, part) != NULL;
}

/* The same of a URL. */
static const char *
wrong_with_url(const char *url)
{
	BankSinkTarget target = {.url = url};

	return wrong_with(&target);
}

/* Which URLs may be subscribed to, with private addresses and without. */
static void
test_urls(void)
{
	static const struct
	{
		const char *url;
		const char *wrong;		/* part of the reason, NULL: nothing */
		bool		with_private;	/* right if private addresses are allowed */
	}			cases[] = {
		{"https://example.com", NULL, true},
		{"http://example.com/hook?a=b&c=%20d", NULL, true},
		{"HTTPS://Example.COM:8443/", NULL, true},
		{"https://xn--bcher-kva.example/x", NULL, true},
		{"https://example.com./x", NULL, true},
		{"http://8.8.8.8/", NULL, true},
		{"http://[2606:4700::1111]:80/", NULL, true},
		{"https://localhost.example.com/", NULL, true},
		{"https://notlocalhost/", NULL, true},
		{"https://example.com/a@b", NULL, true},
		{"https://example.com?x=http://user:pass@host/", NULL, true},
		{"https://example.com/%0d%0a", NULL, true},

		{"", "begin with", false},
		{"example.com/hook", "begin with", false},
		{"//example.com/hook", "begin with", false},
		{"ftp://example.com/", "begin with", false},
		{"file:///etc/passwd", "begin with", false},
		{"gopher://example.com/", "begin with", false},
		{"javascript:alert(1)", "begin with", false},
		{"http:/example.com/", "begin with", false},
		{"http:example.com/", "begin with", false},
		{"httpx://example.com/", "begin with", false},
		{"http://", "no host", false},
		{"http:///", "no host", false},
		{"http:///example.com/", "no host", false},
		{"https://:443/", "no host", false},
		{"https://?x", "no host", false},
		{"https://user@example.com/", "user name or password", false},
		{"https://user:pass@example.com/", "user name or password", false},
		{"https://:pass@example.com/", "user name or password", false},
		{"https://token:@example.com/", "user name or password", false},
		{"https://example.com/x#part", "fragment", false},
		{"https://example.com/x#", "fragment", false},
		{"https://example.com#@10.0.0.1/", "fragment", false},
		{"https://example.com/a b", "space or a control", false},
		{" https://example.com/", "space or a control", false},
		{"https://example.com/\n", "space or a control", false},
		{"https://example.com/\r\nX: y", "space or a control", false},
		{"https://example.com/\t", "space or a control", false},
		{"https://example.com/\x7f", "space or a control", false},
		{"https://example.com/\x01", "space or a control", false},
		{"https://b\xc3\xbc" "cher.example/", "not ASCII", false},
		{"https://example.com/\xff", "not ASCII", false},
		{"http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", "not ASCII", false},
		{"https://example.com:99999/", "malformed", false},
		{"https://example.com:port/", "malformed", false},
		{"https://example.com:80:80/", "malformed", false},
		{"https://exa<mple.com/", "malformed", false},
		{"https://example.com\\@10.0.0.1/", "user name or password", false},
		{"http://[::1/", "malformed", false},
		{"http://[::g]/", "malformed", false},
		{"http://[v1.x]/", "malformed", false},

		{"http://localhost/", "this very server", true},
		{"http://LocalHost:8080/", "this very server", true},
		{"http://localhost./", "this very server", true},
		{"http://api.localhost/", "this very server", true},
		{"http://%6cocalhost/", "this very server", true},
		{"http://127.0.0.1/", "127.0.0.1 is private", true},
		{"http://127.1/", "127.0.0.1 is private", true},
		{"http://0177.0.0.1/", "127.0.0.1 is private", true},
		{"http://0x7f.1/", "127.0.0.1 is private", true},
		{"http://0x7f000001/", "127.0.0.1 is private", true},
		{"http://2130706433/", "127.0.0.1 is private", true},
		{"http://%31%32%37.0.0.1/", "127.0.0.1 is private", true},
		{"http://0/", "0.0.0.0 is private", true},
		{"http://10.0.0.1:8080/x", "10.0.0.1 is private", true},
		{"http://169.254.169.254/latest/meta-data/", "169.254.169.254 is private", true},
		{"http://[::1]/", "::1 is private", true},
		{"http://[::]/", ":: is private", true},
		{"http://[fe80::1%25eth0]/", "fe80::1 is private", true},
		{"http://[::ffff:10.0.0.1]/", "10.0.0.1 is private", true},
		{"http://[64:ff9b::a00:1]/", "64:ff9b::a00:1 is private", true},
		{"http://[fd00::1]:80/", "fd00::1 is private", true},
	};
	char		long_url[BANK_HTTP_MAX_URL + 2] = "https://example.com/";
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *wrong;

		host.allow_private = false;
		wrong = wrong_with_url(cases[i].url);
		if (!check(says(wrong, cases[i].wrong),
				   "URL %zu is %s", i, cases[i].wrong == NULL ? "right" : cases[i].wrong))
			printf("# %s: %s\n", cases[i].url, wrong);
		host.allow_private = true;
		wrong = wrong_with_url(cases[i].url);
		if ((wrong[0] == '\0') != cases[i].with_private)
		{
			check(false, "URL %zu when private addresses are allowed", i);
			printf("# %s: %s\n", cases[i].url, wrong);
		}
		host.allow_private = false;
	}
	i = strlen(long_url);
	memset(long_url + i, 'x', BANK_HTTP_MAX_URL - i);
	check_text(wrong_with_url(long_url), "", "the longest URL");
	long_url[BANK_HTTP_MAX_URL] = 'x';
	check_text(wrong_with_url(long_url), "The URL is longer than 2000 bytes.", "a longer one");
}

/* Which headers may be set. */
static void
test_headers(void)
{
	static const struct
	{
		const char *name;
		const char *value;
		const char *wrong;
	}			cases[] = {
		{"Authorization", "Bearer abc", NULL},
		{"X-Api-Key", "", NULL},
		{"Cookie", "a=b", NULL},
		{"User-Agent", "other", NULL},
		{"Accept", "*/*", NULL},
		{"traceparent", "00-0-0-01", NULL},
		{"x!#$%&'*+-.^_`|~9", "v", NULL},
		{"X", "caf\xc3\xa9", NULL},
		{"webhookish", "x", NULL},
		{"", "x", "name of a header"},
		{"X Y", "x", "name of a header"},
		{"X:", "x", "name of a header"},
		{"X;", "x", "name of a header"},
		{"X\r\nEvil", "x", "name of a header"},
		{"\xc3\xa9", "x", "name of a header"},
		{"X\t", "x", "name of a header"},
		{"Host", "x", "\"Host\" cannot be set"},
		{"content-length", "0", "cannot be set"},
		{"CONTENT-TYPE", "text/plain", "cannot be set"},
		{"Content-Encoding", "gzip", "cannot be set"},
		{"Transfer-Encoding", "chunked", "cannot be set"},
		{"Connection", "close", "cannot be set"},
		{"Expect", "100-continue", "cannot be set"},
		{"Upgrade", "h2c", "cannot be set"},
		{"TE", "trailers", "cannot be set"},
		{"webhook-id", "x", "cannot be set"},
		{"Webhook-Signature", "x", "cannot be set"},
		{"webhook-anything", "x", "cannot be set"},
		{"X", "a\r\nEvil: b", "control character"},
		{"X", "a\nb", "control character"},
		{"X", "a\rb", "control character"},
		{"X", "a\tb", "control character"},
		{"X", "\x7f", "control character"},
		{"X", "\x01", "control character"},
	};
	static char long_text[BANK_HTTP_MAX_HEADER_VALUE + 2];
	BankSinkHeader many[BANK_HTTP_MAX_HEADERS + 1];
	BankSinkHeader header = {.name = "X", .value = long_text};
	BankSinkTarget target = {.url = "https://example.com/", .headers = &header, .n_headers = 1};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *wrong;

		header.name = cases[i].name;
		header.value = cases[i].value;
		wrong = wrong_with(&target);
		if (!check(says(wrong, cases[i].wrong),
				   "header %zu is %s", i, cases[i].wrong == NULL ? "right" : cases[i].wrong))
			printf("# %s\n", wrong);
	}

	header.name = "X";
	header.value = long_text;
	memset(long_text, 'x', BANK_HTTP_MAX_HEADER_VALUE);
	check_text(wrong_with(&target), "", "the longest value");
	long_text[BANK_HTTP_MAX_HEADER_VALUE] = 'x';
	check_text(wrong_with(&target), "The value of the header \"X\" is longer than 4096 bytes.",
			   "a longer one");
	header.value = "x";
	header.name = long_text;
	long_text[BANK_HTTP_MAX_HEADER_NAME] = '\0';
	check_text(wrong_with(&target), "", "the longest name");
	long_text[BANK_HTTP_MAX_HEADER_NAME] = 'x';
	check(wrong_with(&target)[0] != '\0', "a longer one");

	for (i = 0; i < BANK_HTTP_MAX_HEADERS + 1; i++)
		many[i] = (BankSinkHeader) {.name = "X", .value = "y"};
	target.headers = many;
	target.n_headers = BANK_HTTP_MAX_HEADERS;
	check_text(wrong_with(&target), "", "as many headers as there may be");
	target.n_headers++;
	check_text(wrong_with(&target), "There are more than 32 headers.", "one more");
}

/* How long secrets may be. */
static void
test_secrets(void)
{
	static const uint8_t bytes[65];
	static const size_t lens[] = {0, 23, 24, 32, 64, 65};
	size_t		i;

	for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
	{
		BankSinkSecret secrets[2] = {{bytes, 32}, {bytes, lens[i]}};
		BankSinkTarget target = {.url = "https://example.com/", .secrets = secrets, .n_secrets = 2};

		check_text(wrong_with(&target),
				   lens[i] >= 24 && lens[i] <= 64 ? "" : "A secret must have 24 to 64 bytes.",
				   "length of a secret");
	}
}

/* The ends of every net that is not public, and their neighbours. */
static void
test_addresses(void)
{
	static const char *const private[] = {
		"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255",
		"127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.0.0", "169.254.169.254",
		"169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.1",
		"192.88.99.1", "192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255",
		"198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255",
		"::", "::1", "::2", "::10.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
		"::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8",
		"100::1", "2001::1", "2001:0:4136:e378::1", "2001:2::1", "2001:10::1", "2001:1ff::1",
		"2001:db8::1", "2001:db8:ffff::1", "2002:a00:1::1", "2002:7f00:1::", "2002:c0a8:101::1",
		"2002:a9fe:a9fe::", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1",
		"fdff:ffff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "1fff::1",
	};
	static const char *const public[] = {
		"1.0.0.0", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
		"169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
		"192.88.98.255", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2000::1", "2001:200::1", "2001:db7::1",
		"2001:db9::1",
		"2002:808:808::1", "2003::1", "2606:4700:4700::1111", "2a00:1450::1", "3ffe::1",
		"3fff:1000::1",
	};
	const size_t n_private = sizeof(private) / sizeof(private[0]);
	size_t		i;

	for (i = 0; i < n_private + sizeof(public) / sizeof(public[0]); i++)
	{
		bool		is_private = i < n_private;
		const char *text = is_private ? private[i] : public[i - n_private];
		struct sockaddr_in in = {.sin_family = AF_INET};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
		const struct sockaddr *address = NULL;

		if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
			address = (const struct sockaddr *) &in;
		else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
			address = (const struct sockaddr *) &in6;
		check(address != NULL && bank_http_address_private(address) == is_private, "%s is %s", text,
			  is_private ? "private" : "public");
	}
	check(bank_http_address_private((const struct sockaddr *) &(struct sockaddr_un) {
		.sun_family = AF_UNIX}), "a socket of this machine is private");
}

/* Find a header in a list; NULL: it is not there. */
static const char *
find_header(const struct curl_slist *list, const char *name)
{
	for (; list != NULL; list = list->next)
	{
		if (strncmp(list->data, name, strlen(name)) == 0)
			return list->data;
	}
	return NULL;
}

static int64_t
fixed_now(void)
{
	return INT64_C(1614265330) * 1000000 + 999999;
}

static bool
no_hmac(const BankSinkSecret *key, const void *const *parts, const size_t *lens, int n_parts,
		uint8_t mac[32])
{
	(void) key;
	(void) parts;
	(void) lens;
	(void) n_parts;
	(void) mac;
	return false;
}

/*
 * The test vector of the Standard Webhooks libraries, whose secret is
 * whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, and several secrets.
 */
static void
test_signature(void)
{
	static const uint8_t key[24] = {
		0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a, 0xab, 0x4f, 0x08, 0xd4,
		0x3c, 0x3f, 0x08, 0x2c, 0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0
	};
	static const char body[] = "{\"test\": 2432232314}";
	static const char signature[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
	BankSinkHost signer = {.unix_now = fixed_now, .hmac_sha256 = hmac_sha256};
	BankSinkSecret secrets[3] = {{key, 24}, {(const uint8_t *) SECRET, 32}, {key, 24}};
	BankSinkHeader headers[] = {{"Authorization", "Bearer x"}, {"X-Empty", ""}, {"X-Blank", "  "}};
	BankSinkTarget target = {.secrets = secrets, .n_secrets = 1, .headers = headers,
		.n_headers = 3};
	BankSinkRequest request = {.target = &target, .message_id = "msg_p5jXN8AQM9LWM0D4loKWxJek"};
	struct curl_slist *list = NULL;
	char		expected[400];
	const char *found;
	uint8_t		mac[32];
	int			i;

	check(bank_http_headers(&signer, &request, body, strlen(body), &list) == NULL, "headers");
	(void) snprintf(expected, sizeof(expected), "webhook-signature: %s", signature);
	found = find_header(list, "webhook-signature");
	check_text(found ? found : "", expected, "signature");
	found = find_header(list, "webhook-id");
	check_text(found ? found : "", "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek", "id");
	found = find_header(list, "webhook-timestamp");
	check_text(found ? found : "", "webhook-timestamp: 1614265330", "whole seconds");
	found = find_header(list, "Content-Type");
	check_text(found ? found : "", "Content-Type: application/cloudevents+json; charset=UTF-8",
			   "content type");
	found = find_header(list, "Authorization");
	check_text(found ? found : "", "Authorization: Bearer x", "header of the target");
	found = find_header(list, "X-Empty");
	check_text(found ? found : "", "X-Empty;", "libcurl's form of an empty header");
	found = find_header(list, "X-Blank");
	check_text(found ? found : "", "X-Blank;", "a blank one is empty too");
	curl_slist_free_all(list);
	list = NULL;

	target.n_secrets = 3;
	target.batch = true;
	check(bank_http_headers(&signer, &request, body, strlen(body), &list) == NULL, "three secrets");
	found = find_header(list, "webhook-signature");
	(void) snprintf(expected, sizeof(expected), "webhook-signature: %s v1,", signature);
	check(found != NULL && strncmp(found, expected, strlen(expected)) == 0, "the first one first");
	check(found != NULL && strlen(found) == strlen("webhook-signature: ") + 3 * 47 + 2 &&
		  found[strlen(found) - 48] == ' ' && strcmp(found + strlen(found) - 47, signature) == 0,
		  "and the last one last");
	found = find_header(list, "Content-Type");
	check_text(found ? found : "",
			   "Content-Type: application/cloudevents-batch+json; charset=UTF-8",
			   "content type of a batch");
	curl_slist_free_all(list);
	list = NULL;

	target.n_secrets = 0;
	check(bank_http_headers(&signer, &request, body, strlen(body), &list) == NULL, "no secrets");
	check(find_header(list, "webhook-signature") == NULL, "no signature");
	curl_slist_free_all(list);
	list = NULL;

	target.n_secrets = 1;
	signer.hmac_sha256 = no_hmac;
	found = bank_http_headers(&signer, &request, body, strlen(body), &list);
	check_text(found ? found : "", "could not compute the signature", "failing cryptography");
	curl_slist_free_all(list);

	for (i = 0; i < 32; i++)
		mac[i] = (uint8_t) (i * 8);
	bank_http_base64(mac, expected);
	check_text(expected, "AAgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8Pg=", "base64");
	memset(mac, 0xff, sizeof(mac));
	bank_http_base64(mac, expected);
	check_text(expected, "//////////////////////////////////////////8=", "base64 of all ones");
}

/* Feed a response line by line and piece by piece; the lines have a newline each. */
static BankHttpResponse
response_of(const char *head, const char *body)
{
	BankHttpResponse response;
	char	   *copy = strdup(head);
	char	   *line = copy;
	char	   *end;

	memset(&response, 0, sizeof(response));
	while ((end = strchr(line, '\n')) != NULL)
	{
		if (bank_http_take_header(line, 1, (size_t) (end + 1 - line), &response) == 0)
			break;
		line = end + 1;
	}
	free(copy);
	copy = strdup(body);
	(void) bank_http_take_body(copy, 1, strlen(copy), &response);
	free(copy);
	return response;
}

/* What statuses, Retry-After and bodies become. */
static void
test_responses(void)
{
	static const int64_t now = INT64_C(1767225600) * 1000000;	/* 2026-01-01 00:00 UTC */
	static const struct
	{
		const char *value;
		int64_t		seconds;	/* -1: not understood */
	}			waits[] = {
		{"0", 0}, {"1", 1}, {"120", 120}, {"86400", 86400}, {"86401", 86400},
		{"99999999999999999999999999", 86400}, {"-5", 0}, {"00030", 30},
		{"Thu, 01 Jan 2026 00:01:00 GMT", 60}, {"Wed, 31 Dec 2025 23:59:59 GMT", 0},
		{"Thu, 01 Jan 2026 00:00:00 GMT", 0}, {"Fri, 01 Jan 2027 00:00:00 GMT", 86400},
		{"Thursday, 01-Jan-26 00:02:00 GMT", 120}, {"Thu Jan  1 00:03:00 2026", 180},
		{"soon", -1}, {"5 bananas", -1}, {"-", -1}, {"1.5", -1},
	};
	BankHttpResponse response;
	BankDelivery delivery;
	char		text[400];
	size_t		i;

	for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
	{
		(void) snprintf(text, sizeof(text), "HTTP/1.1 429 Slow\r\nRETRY-AFTER: %s\r\n\r\n",
						waits[i].value);
		response = response_of(text, "");
		bank_http_result(&response, CURLE_OK, "", now, &delivery);
		(void) snprintf(text, sizeof(text), "Retry-After: %s", waits[i].value);
		check_int(delivery.retry_after,
				  waits[i].seconds < 0 ? BANK_NO_RETRY_AFTER : waits[i].seconds * 1000000, text);
	}

	response = response_of("HTTP/1.1 200 OK\r\nRetry-After: 9\r\n\r\n", "fine");
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check(delivery.verdict == BANK_DELIVERED && delivery.status == 200 &&
		  delivery.retry_after == BANK_NO_RETRY_AFTER && delivery.error[0] == '\0', "200");

	response = response_of("HTTP/1.1 302 Found\r\n\r\n", "<a>there</a>");
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check_int(delivery.verdict, BANK_UNREACHED, "verdict of 302");
	check_text(delivery.error, "302 Found: redirects are not followed", "text of 302");

	response = response_of("HTTP/2 422\r\n\r\n", "");
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check_int(delivery.verdict, BANK_REJECTED, "verdict of 422");
	check_text(delivery.error, "422", "a status without words");

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	response = response_of("HTTP/1.1 400 0123456789012345678901234567890123456789012345678901234567"
						   "890123456789\r\n\r\n", text);
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check(strlen(delivery.error) < sizeof(delivery.error) && strlen(delivery.error) > 200 &&
		  strncmp(delivery.error, "400 0123456789", 14) == 0, "long words and a long body are cut");

	response = response_of("HTTP/1.1 200 OK\r\n\r\n", "");
	bank_http_result(&response, CURLE_OPERATION_TIMEDOUT, "Operation timed out\nafter \xff ms", now,
					 &delivery);
	check(delivery.verdict == BANK_UNREACHED && delivery.status == 200, "200, but not to its end");
	check_text(delivery.error, "Operation timed out after ? ms",
			   "and its text is one line of ASCII");

	memset(&response, 0, sizeof(response));
	bank_http_result(&response, CURLE_COULDNT_RESOLVE_HOST, "", now, &delivery);
	check(delivery.verdict == BANK_UNREACHED && delivery.status == 0 && delivery.error[0] != '\0',
		  "an error without a text of its own has one");
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check(delivery.verdict == BANK_UNREACHED && delivery.error[0] != '\0',
		  "no status is no success");

	response = response_of("HTTP/1.1 100 Continue\r\n\r\n", "");
	bank_http_result(&response, CURLE_OK, "", now, &delivery);
	check_int(delivery.verdict, BANK_UNREACHED, "an interim status is no answer");
	check_int(delivery.status, 0, "and not told");

	bank_http_fail(&delivery, " a\n\n b ");
	check_text(delivery.error, "a b", "white space is one space");
}

/* The number of a report changes when the kernel's set must be made anew, and only then. */
static void
test_sockets(void)
{
	BankHttpSockets sockets;
	BankSinkSocket report[4];
	uint64_t	first;
	uint64_t	second;
	int			n;

	memset(&sockets, 0, sizeof(sockets));
	first = bank_http_sockets_report(&sockets, report, 4, &n);
	check_int(n, 0, "no sockets at first");
	(void) bank_http_sockets_opened(&sockets, 100);
	check(bank_http_sockets_report(&sockets, report, 4, &n) == first && n == 0,
		  "an open socket is not waited for as such");
	(void) bank_http_sockets_watch(&sockets, 100, BANK_SINK_WRITE);
	(void) bank_http_sockets_watch(&sockets, 7, BANK_SINK_READ);
	second = bank_http_sockets_report(&sockets, report, 4, &n);
	check(second != first && n == 2 && report[0].socket == 7 &&
		  report[0].events == BANK_SINK_READ && report[1].socket == 100 &&
		  report[1].events == BANK_SINK_WRITE, "both in order");
	check(bank_http_sockets_report(&sockets, report, 4, &n) == second && n == 2, "no change");

	(void) bank_http_sockets_watch(&sockets, 100, 0);
	(void) bank_http_sockets_watch(&sockets, 100, BANK_SINK_WRITE);
	check(bank_http_sockets_report(&sockets, report, 4, &n) == second,
		  "away and back between two reports is no change");
	(void) bank_http_sockets_watch(&sockets, 100, BANK_SINK_READ);
	first = bank_http_sockets_report(&sockets, report, 4, &n);
	check(first != second, "other events are one");

	(void) bank_http_sockets_watch(&sockets, 100, 0);
	bank_http_sockets_closed(&sockets, 100);
	(void) bank_http_sockets_opened(&sockets, 100);
	(void) bank_http_sockets_watch(&sockets, 100, BANK_SINK_READ);
	second = bank_http_sockets_report(&sockets, report, 4, &n);
	check(second != first && n == 2, "another socket with the same number is one");
	(void) bank_http_sockets_watch(&sockets, 7, 0);
	(void) bank_http_sockets_watch(&sockets, 7, BANK_SINK_READ);
	first = bank_http_sockets_report(&sockets, report, 4, &n);
	check(second != first && n == 2, "so is one of which we do not know when it closes");
	bank_http_sockets_closed(&sockets, 100);
	(void) bank_http_sockets_watch(&sockets, 100, BANK_SINK_READ);
	check(bank_http_sockets_report(&sockets, report, 4, &n) != first,
		  "so is a resolver's socket with a connection's number");

	first = bank_http_sockets_report(&sockets, report, 1, &n);
	check(n == 1 && sockets.overflow, "no room for the second");
	check(bank_http_sockets_report(&sockets, report, 4, &n) != first && n == 2 && !sockets.overflow,
		  "room for it again");
	(void) bank_http_sockets_watch(&sockets, 5000, 0);
	bank_http_sockets_closed(&sockets, 6000);
	bank_http_sockets_closed(&sockets, -1);
	check(sockets.size < 5000, "numbers that were never seen need no memory");
	free(sockets.sockets);
}

int
main(void)
{
	test_urls();
	test_headers();
	test_secrets();
	test_addresses();
	test_signature();
	test_responses();
	test_sockets();
	return check_done();
}
