/*
 * address.h
 *		Which network addresses are public.
 */
#ifndef BANK_HTTP_ADDRESS_H
#define BANK_HTTP_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Room for an address as text. */
#define BANK_HTTP_ADDRESS_SIZE 64

extern bool bank_http_address_private(const struct sockaddr *address);
extern void bank_http_address_text(const struct sockaddr *address, char *text, size_t size);

#endif							/* BANK_HTTP_ADDRESS_H */
