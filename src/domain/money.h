/*
 * money.h
 *		Money: a non-negative whole number of minor units of one currency.
 *
 * Pure C, no allocation, no floating point. Every operation is checked: it
 * returns false and fills *error instead of wrapping around, losing a decimal
 * or going below zero.
 */
#ifndef BANK_DOMAIN_MONEY_H
#define BANK_DOMAIN_MONEY_H

#include "domain/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * The stored form of bank_money: 16 bytes, 8-byte aligned, every byte defined
 * (equal values are equal byte for byte).
 */
typedef struct BankMoney
{
	int64_t		minor;			/* minor units (centimes), >= 0 */
	char		currency[3];	/* ISO 4217 letters, not terminated */
	uint8_t		exponent;		/* decimals of that currency, 0..4 */
	uint32_t	zero;			/* always 0 */
} BankMoney;

/* Enough for any text form: 19 digits, sign, point, space, code, terminator. */
#define BANK_MONEY_TEXT 32

/*
 * Parsing distinguishes text that is not money at all (BANK_PARSE_SYNTAX, no
 * domain error recorded) from money the ledger refuses (BANK_PARSE_REFUSED).
 */
typedef enum BankParse
{
	BANK_PARSE_OK,
	BANK_PARSE_SYNTAX,
	BANK_PARSE_REFUSED
} BankParse;

/*
 * "1000.00 HTG", "HTG 1000", " 1000.5 HTG " -> money. "text" has len bytes, no
 * terminator needed. White space separates the two and may surround them.
 */
extern BankParse bank_money_parse(const char *text, size_t len, BankMoney *money, BankError *error);

/* Build money from minor units and a currency code of exactly three bytes. BK008, BK014. */
extern bool bank_money_make(int64_t minor, const char *currency, BankMoney *money,
							BankError *error);

/* Check every byte of a value that came from outside (binary input). BK008, BK014. */
extern bool bank_money_check(const BankMoney *money, BankError *error);

/* Write "1000.00 HTG" (terminated) into out; returns its length. */
extern int	bank_money_format(const BankMoney *money, char out[BANK_MONEY_TEXT]);

/*
 * Write a signed figure without its currency: -50050, 2 -> "-500.50". Balances
 * of house accounts and overdrafts are signed, so they are not money.
 */
extern int	bank_minor_format(int64_t minor, int exponent, char out[BANK_MONEY_TEXT]);

/* BK003 unless both are of one currency. */
extern bool bank_money_same_currency(const BankMoney *a, const BankMoney *b, BankError *error);

/*
 * Arithmetic. BK003 for two currencies, BK008 when the result would be negative
 * or does not fit. The result may be one of the operands.
 */
extern bool bank_money_add(const BankMoney *a, const BankMoney *b, BankMoney *sum,
						   BankError *error);
extern bool bank_money_subtract(const BankMoney *a, const BankMoney *b, BankMoney *rest,
								BankError *error);
extern bool bank_money_multiply(const BankMoney *a, int64_t factor, BankMoney *product,
								BankError *error);

/* Total order: by currency code, then by amount; <0, 0, >0. Never fails. */
extern int	bank_money_order(const BankMoney *a, const BankMoney *b);

/*
 * Scratch space of one part during an allocation: the remainder of its share
 * (128 bits in two halves, so that it needs no more than 8-byte alignment).
 */
typedef struct BankShare
{
	uint64_t	high;
	uint64_t	low;
	uint32_t	index;
} BankShare;

#define BANK_MAX_WEIGHTS 65535

/*
 * Split "whole" by non-negative integer weights (not all zero, 1..65535 of them)
 * into "parts": they add up to the whole exactly, each differs from its exact
 * share by less than one minor unit, a zero weight gets nothing (largest
 * remainder method of Hamilton; ties go to the earlier part). "parts" and
 * "shares" are arrays of n elements given by the caller. BK022.
 */
extern bool bank_money_allocate(const BankMoney *whole, const int64_t *weights, size_t n,
								BankMoney *parts, BankShare *shares, BankError *error);

/* Checked int64 arithmetic; return false when the result does not fit. */
static inline bool
bank_add_int64(int64_t a, int64_t b, int64_t *result)
{
	return !__builtin_add_overflow(a, b, result);
}

static inline bool
bank_subtract_int64(int64_t a, int64_t b, int64_t *result)
{
	return !__builtin_sub_overflow(a, b, result);
}

static inline bool
bank_multiply_int64(int64_t a, int64_t b, int64_t *result)
{
	return !__builtin_mul_overflow(a, b, result);
}

#endif							/* BANK_DOMAIN_MONEY_H */
