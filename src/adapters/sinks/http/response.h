/*
 * response.h
 *		What comes back from an endpoint, and what it means for the delivery.
 */
#ifndef BANK_HTTP_RESPONSE_H
#define BANK_HTTP_RESPONSE_H

#include "domain/delivery.h"

#include <curl/curl.h>
#include <stddef.h>

/* More than this is not read, neither of all headers together nor of the body. */
#define BANK_HTTP_RESPONSE_MAX 65536

/* A response as far as it has come; begins with all zero. */
typedef struct BankHttpResponse
{
	int			status;			/* of the last status line; 0: none yet */
	bool		head_ended;		/* all headers of the final response are there */
	bool		capped;			/* broken off, it became too long */
	size_t		head_len;		/* interim responses included */
	size_t		body_len;
	char		reason[64];		/* the words behind the status */
	char		retry_after[64];	/* the value of that header */
	char		body[152];		/* the beginning of the body, not terminated */
	char	   *answer;			/* the caller's room for more of it, or NULL */
	size_t		answer_size;
} BankHttpResponse;

extern size_t bank_http_take_header(char *line, size_t size, size_t n, void *response);
extern size_t bank_http_take_body(char *bytes, size_t size, size_t n, void *response);
extern void bank_http_fail(BankDelivery *delivery, const char *why);
extern void bank_http_result(const BankHttpResponse *response, CURLcode code, const char *error,
							 int64_t unix_now, BankDelivery *delivery);

#endif							/* BANK_HTTP_RESPONSE_H */
