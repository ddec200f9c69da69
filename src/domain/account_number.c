/*
 * account_number.c
 *		Check digits by ISO 7064 MOD 97-10.
 *
 * The whole number, check digits included, leaves 1 when divided by 97; so the
 * check digits of a serial s are 98 - (s * 100 mod 97).
 *
 * Pure C, no allocation, no locks.
 */
#include "domain/account_number.h"

/* See account_number.h. */
bool
bank_account_number_make(int64_t serial, char out[BANK_ACCOUNT_NUMBER_TEXT])
{
	int64_t		number;
	int			i;

	if (serial < 1 || serial > BANK_ACCOUNT_SERIAL_MAX)
		return false;
	number = serial * 100 + (98 - (serial * 100) % 97);
	out[BANK_ACCOUNT_NUMBER_LENGTH] = '\0';
	for (i = BANK_ACCOUNT_NUMBER_LENGTH - 1; i >= 0; i--)
	{
		out[i] = (char) ('0' + number % 10);
		number /= 10;
	}
	return true;
}

/* See account_number.h. */
int64_t
bank_account_number_serial(const char *text, size_t len)
{
	int64_t		number = 0;
	size_t		i;

	if (len != BANK_ACCOUNT_NUMBER_LENGTH)
		return 0;
	for (i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return 0;
		number = number * 10 + (text[i] - '0');
	}
	return number % 97 == 1 ? number / 100 : 0;
}

/* See account_number.h. */
bool
bank_account_number_check(const char *text, size_t len)
{
	return bank_account_number_serial(text, len) > 0;
}
