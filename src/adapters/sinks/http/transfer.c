/*
 * transfer.c
 *		A request on its way: a handle of libcurl and what belongs to it.
 *
 * What never differs is set once, when the handle is made; the rest for each request.
 * libcurl does not copy body and headers, so both stay until bank_http_transfer_clear():
 * the body of a message or a single event is the caller's own memory, the rest malloc's.
 *
 * HTTP/1.1 only: a connection carries one request at a time, so that a response that is
 * broken off, or a connection that hangs, is the matter of one request.
 */
#include "adapters/sinks/http/transfer.h"

#include "adapters/sinks/http/address.h"
#include "adapters/sinks/http/webhook.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* CURLOPT_PROTOCOLS_STR is of 7.85, CURLOPT_QUICK_EXIT of 7.87. */
#if LIBCURL_VERSION_NUM < 0x075800
#error "banking_http needs libcurl 7.88 or later"
#endif

static const char no_memory[] = "out of memory";

/*
 * CURLOPT_OPENSOCKETFUNCTION: the last moment to look at an address, when it can no
 * longer become another one. Refused are private ones unless they are allowed.
 */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	BankHttpTransfer *transfer = arg;
	int			fd;

	(void) purpose;
	if (!transfer->host->allow_private && bank_http_address_private(&address->addr))
	{
		char		text[BANK_HTTP_ADDRESS_SIZE];

		bank_http_address_text(&address->addr, text, sizeof(text));
		(void) snprintf(transfer->refused, sizeof(transfer->refused),
						"address %s is private, see banking.allow_private_endpoints", text);
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !bank_http_sockets_opened(transfer->sockets, fd))
	{
		(void) close(fd);
		return CURL_SOCKET_BAD;
	}
	return fd;
}

/* CURLOPT_CLOSESOCKETFUNCTION: a connection may outlive the transfer that opened it. */
static int
close_socket(void *sockets, curl_socket_t fd)
{
	bank_http_sockets_closed(sockets, fd);
	return close(fd);
}

/* Set what is the same for all requests. */
static bool
set_constants(BankHttpTransfer *transfer)
{
	CURL	   *easy = transfer->easy;
	bool		ok = true;

#define SET(option, value) ok = curl_easy_setopt(easy, option, value) == CURLE_OK && ok
	SET(CURLOPT_PRIVATE, (void *) transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	/* Else libcurl waits in the end for a resolver's thread, however long that takes. */
	SET(CURLOPT_QUICK_EXIT, 1L);

	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_USERAGENT, "banking");
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	/* Nothing from the environment or the files of the server's user. */
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);

	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);

	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, (void *) transfer);
	SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(CURLOPT_CLOSESOCKETDATA, (void *) transfer->sockets);
	SET(CURLOPT_HEADERFUNCTION, bank_http_take_header);
	SET(CURLOPT_HEADERDATA, (void *) &transfer->response);
	SET(CURLOPT_WRITEFUNCTION, bank_http_take_body);
	SET(CURLOPT_WRITEDATA, (void *) &transfer->response);
#undef SET
	return ok;
}

/* A transfer to use, and to keep for ever; NULL: there is no memory. */
BankHttpTransfer *
bank_http_transfer_create(const BankSinkHost *host, BankHttpSockets *sockets)
{
	BankHttpTransfer *transfer = calloc(1, sizeof(*transfer));

	if (transfer == NULL)
		return NULL;
	transfer->host = host;
	transfer->sockets = sockets;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL || !set_constants(transfer))
	{
		curl_easy_cleanup(transfer->easy);
		free(transfer);
		return NULL;
	}
	return transfer;
}

/* The events as one JSON array; NULL: there is no memory. */
static char *
make_array(const BankSinkRequest *request, size_t *len)
{
	size_t		size = 1;		/* the opening bracket; a comma or bracket behind each */
	char	   *array;
	char	   *next;
	int			i;

	for (i = 0; i < request->n_events; i++)
		size += request->events[i].json_len + 1;
	array = malloc(size);
	if (array == NULL)
		return NULL;
	next = array;
	*next++ = '[';
	for (i = 0; i < request->n_events; i++)
	{
		if (i > 0)
			*next++ = ',';
		memcpy(next, request->events[i].json, request->events[i].json_len);
		next += request->events[i].json_len;
	}
	*next++ = ']';
	*len = (size_t) (next - array);
	return array;
}

/* A time-out for libcurl, to which 0 means none. */
static long
timeout_ms(int32_t timeout)
{
	return timeout > 0 ? timeout : 1;
}

/*
 * Make an idle transfer ready for libcurl to start. Returns NULL, or what went wrong in
 * static memory; the transfer is to be cleared in both cases when it is over.
 */
const char *
bank_http_transfer_begin(BankHttpTransfer *transfer, BankSinkRequest *request)
{
	const BankSinkTarget *target = request->target;
	CURL	   *easy = transfer->easy;
	BankSinkMessage *message = request->message;
	const char *body;
	size_t		len;
	const char *wrong;

	transfer->request = request;
	memset(&transfer->response, 0, sizeof(transfer->response));
	transfer->refused[0] = '\0';
	transfer->error[0] = '\0';
	if (message != NULL)
	{
		body = message->body;
		len = message->body_len;
		transfer->response.answer = message->answer;
		transfer->response.answer_size = message->answer_size;
		message->answer_len = 0;
	}
	else if (target->batch)
	{
		transfer->array = make_array(request, &len);
		if (transfer->array == NULL)
			return no_memory;
		body = transfer->array;
	}
	else
	{
		body = request->events[0].json;
		len = request->events[0].json_len;
	}
	wrong = bank_http_headers(transfer->host, request, body, len, &transfer->headers);
	if (wrong != NULL)
		return wrong;
	if (curl_easy_setopt(easy, CURLOPT_URL, target->url) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) len) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
						 timeout_ms(target->connect_timeout)) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
						 timeout_ms(target->request_timeout)) != CURLE_OK ||
		curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 0L) != CURLE_OK)
		return no_memory;
	return NULL;
}

/* libcurl is done with it: work out the delivery, and tell how long the answer is. */
void
bank_http_transfer_ended(BankHttpTransfer *transfer, CURLcode code)
{
	bool		refused = code == CURLE_COULDNT_CONNECT && transfer->refused[0] != '\0';

	if (transfer->request != NULL && transfer->request->message != NULL)
		transfer->request->message->answer_len = transfer->response.body_len;
	bank_http_result(&transfer->response, code, refused ? transfer->refused : transfer->error,
					 transfer->host->unix_now(), &transfer->delivery);
}

/* Let go of all that belongs to the request; libcurl must not have the transfer any more. */
void
bank_http_transfer_clear(BankHttpTransfer *transfer)
{
	(void) curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	(void) curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, NULL);
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	free(transfer->array);
	transfer->array = NULL;
	transfer->response.answer = NULL;
	if (transfer->request != NULL)
		transfer->request->sink_data = NULL;
	transfer->request = NULL;
}
