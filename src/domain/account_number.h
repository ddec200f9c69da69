/*
 * account_number.h
 *		Account numbers people can type: ten digits of serial number and two check
 *		digits (ISO 7064 MOD 97-10, the scheme of IBAN and LEI).
 *
 * A mistyped digit and any swap of two neighbours are detected.
 */
#ifndef BANK_DOMAIN_ACCOUNT_NUMBER_H
#define BANK_DOMAIN_ACCOUNT_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BANK_ACCOUNT_NUMBER_LENGTH 12
#define BANK_ACCOUNT_NUMBER_TEXT (BANK_ACCOUNT_NUMBER_LENGTH + 1)
#define BANK_ACCOUNT_SERIAL_MAX INT64_C(9999999999)

/* Write the number of a serial (1..9999999999), terminated; false when out of range. */
extern bool bank_account_number_make(int64_t serial, char out[BANK_ACCOUNT_NUMBER_TEXT]);

/* Is this text of len bytes an account number with the right check digits? */
extern bool bank_account_number_check(const char *text, size_t len);

/* The serial inside an account number that passes bank_account_number_check; else 0. */
extern int64_t bank_account_number_serial(const char *text, size_t len);

#endif							/* BANK_DOMAIN_ACCOUNT_NUMBER_H */
