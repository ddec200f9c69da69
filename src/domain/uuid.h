/*
 * uuid.h
 *		Identifiers: UUID version 7 (RFC 9562, section 5.7).
 *
 * Pure C, no allocation. Clock and randomness are given by the caller.
 */
#ifndef BANK_DOMAIN_UUID_H
#define BANK_DOMAIN_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct BankUuid
{
	uint8_t		bytes[16];
} BankUuid;

/* 36 characters and the terminator */
#define BANK_UUID_TEXT 37

/*
 * Build a version 7 UUID: 48 bits of Unix milliseconds, then 74 random bits
 * taken from "random" (10 bytes), with version and variant set.
 */
extern void bank_uuid_v7(uint64_t unix_milliseconds, const uint8_t random[10], BankUuid *uuid);

/*
 * Identifiers of house accounts are version 8 (RFC 9562, section 5.8: the
 * vendor's own): "bank" in ASCII, then 90 bits of a digest of code and
 * currency. So no two sessions can disagree on the identifier of a house
 * account, and no other account may have one of this form.
 */
extern void bank_uuid_house(const uint8_t digest[12], BankUuid *uuid);
extern bool bank_uuid_is_house(const BankUuid *uuid);

/* Read a text form: 32 hexadecimal digits, with hyphens anywhere between them; else false. */
extern bool bank_uuid_parse(const char *text, BankUuid *uuid);

/* Write the canonical lower-case text form, terminated. */
extern void bank_uuid_format(const BankUuid *uuid, char out[BANK_UUID_TEXT]);

/* Byte order, which is the order of the uuid type of PostgreSQL: <0, 0, >0. */
static inline int
bank_uuid_compare(const BankUuid *a, const BankUuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

static inline bool
bank_uuid_equal(const BankUuid *a, const BankUuid *b)
{
	return bank_uuid_compare(a, b) == 0;
}

#endif							/* BANK_DOMAIN_UUID_H */
