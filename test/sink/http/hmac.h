/*
 * hmac.h
 *		HMAC-SHA-256 for tests, in the form that a sink asks its host for.
 */
#ifndef TEST_HMAC_H
#define TEST_HMAC_H

#include "ports/event_sink.h"

extern bool hmac_sha256(const BankSinkSecret *key, const void *const *parts,
						const size_t *lens, int n_parts, uint8_t mac[32]);

#endif							/* TEST_HMAC_H */
