/*
 * uuid.c
 *		UUID version 7 layout and text form (RFC 9562).
 *
 * Pure C, no allocation, no locks.
 */
#include "domain/uuid.h"

/* See uuid.h. Bits: 48 time, 4 version (0111), 12 random, 2 variant (10), 62 random. */
void
bank_uuid_v7(uint64_t unix_milliseconds, const uint8_t random[10], BankUuid *uuid)
{
	int			i;

	for (i = 0; i < 6; i++)
		uuid->bytes[i] = (uint8_t) (unix_milliseconds >> (8 * (5 - i)));
	memcpy(uuid->bytes + 6, random, 10);
	uuid->bytes[6] = (uint8_t) ((uuid->bytes[6] & 0x0F) | 0x70);
	uuid->bytes[8] = (uint8_t) ((uuid->bytes[8] & 0x3F) | 0x80);
}

/* See uuid.h. */
void
bank_uuid_house(const uint8_t digest[12], BankUuid *uuid)
{
	memcpy(uuid->bytes, "bank", 4);
	memcpy(uuid->bytes + 4, digest, 12);
	uuid->bytes[6] = (uint8_t) ((uuid->bytes[6] & 0x0F) | 0x80);
	uuid->bytes[8] = (uint8_t) ((uuid->bytes[8] & 0x3F) | 0x80);
}

/* See uuid.h. */
bool
bank_uuid_is_house(const BankUuid *uuid)
{
	return memcmp(uuid->bytes, "bank", 4) == 0 && uuid->bytes[6] >> 4 == 8;
}

/* See uuid.h. */
void
bank_uuid_format(const BankUuid *uuid, char out[BANK_UUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	char	   *p = out;
	int			i;

	for (i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid->bytes[i] >> 4];
		*p++ = digits[uuid->bytes[i] & 0x0F];
	}
	*p = '\0';
}

/* Value of a hexadecimal digit, or -1. */
static int
bank_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* See uuid.h. */
bool
bank_uuid_parse(const char *text, BankUuid *uuid)
{
	int			digits = 0;

	for (; *text != '\0'; text++)
	{
		int			value = bank_hex_value(*text);

		if (*text == '-' && digits > 0)
			continue;
		if (value < 0 || digits == 32)
			return false;
		if (digits % 2 == 0)
			uuid->bytes[digits / 2] = (uint8_t) (value << 4);
		else
			uuid->bytes[digits / 2] = (uint8_t) (uuid->bytes[digits / 2] | value);
		digits++;
	}
	return digits == 32;
}
