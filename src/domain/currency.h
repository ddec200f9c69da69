/*
 * currency.h
 *		The currencies of ISO 4217 and the decimals of their minor units.
 *
 * Source: ISO 4217 list one (active codes). Codes for which the standard gives
 * no minor unit (XAU, XXX, XTS, ...) are not money and are unknown here.
 */
#ifndef BANK_DOMAIN_CURRENCY_H
#define BANK_DOMAIN_CURRENCY_H

#include "domain/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BANK_MAX_EXPONENT 4

/*
 * The exponent (number of decimals, 0..4) of a currency given by its three
 * upper-case letters, or -1 when ISO 4217 has no such currency. "code" need not
 * be terminated: exactly three bytes are read.
 */
extern int	bank_currency_exponent(const char *code);

/*
 * The same for a code that came from outside: len bytes of any text. False, with
 * BK014 in *error, when that is not a currency.
 */
extern bool bank_currency_find(const char *code, size_t len, int *exponent, BankError *error);

/* Number of known currencies, and the i-th one in alphabetical order (0 based). */
extern int	bank_currency_count(void);
extern const char *bank_currency_code(int i);

#endif							/* BANK_DOMAIN_CURRENCY_H */
