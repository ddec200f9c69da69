/*
 * endpoint.h
 *		What a subscription may name as its endpoint.
 */
#ifndef BANK_HTTP_ENDPOINT_H
#define BANK_HTTP_ENDPOINT_H

#include "ports/event_sink.h"

#define BANK_HTTP_MAX_URL 2000
#define BANK_HTTP_MAX_HEADERS 32
#define BANK_HTTP_MAX_HEADER_NAME 128
#define BANK_HTTP_MAX_HEADER_VALUE 4096
#define BANK_HTTP_MIN_SECRET 24
#define BANK_HTTP_MAX_SECRET 64

extern const char *bank_http_check(const BankSinkTarget *target, const BankSinkHost *host,
								   char *reason, size_t reason_size);

#endif							/* BANK_HTTP_ENDPOINT_H */
