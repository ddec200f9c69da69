/*
 * webhook.h
 *		The headers of a request: Standard Webhooks, CloudEvents and the target's own.
 */
#ifndef BANK_HTTP_WEBHOOK_H
#define BANK_HTTP_WEBHOOK_H

#include "ports/event_sink.h"

#include <curl/curl.h>

/* Base64 of an HMAC-SHA-256, and its terminator. */
#define BANK_HTTP_MAC_TEXT 45

extern void bank_http_base64(const uint8_t mac[32], char text[BANK_HTTP_MAC_TEXT]);
extern const char *bank_http_headers(const BankSinkHost *host, const BankSinkRequest *request,
									 const void *body, size_t body_len,
									 struct curl_slist **headers);

#endif							/* BANK_HTTP_WEBHOOK_H */
