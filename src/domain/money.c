/*
 * money.c
 *		Text form, arithmetic, order and allocation of money.
 *
 * Pure C, no allocation, no locks, no floating point. Amounts are whole numbers
 * of minor units; allocation needs 128-bit products, everything else fits 64 bits.
 */
#include "domain/money.h"
#include "domain/currency.h"

#include <inttypes.h>
#include <string.h>

__extension__ typedef unsigned __int128 bank_uint128;

/* What an amount's text looks like, before its currency is considered. */
typedef enum BankAmountShape
{
	BANK_SHAPE_PLAIN,			/* digits, perhaps one point and more digits */
	BANK_SHAPE_GARBAGE,
	BANK_SHAPE_NAN,
	BANK_SHAPE_INFINITE,
	BANK_SHAPE_SEPARATORS,
	BANK_SHAPE_EXPONENT
} BankAmountShape;

/* A piece of the input: not terminated. */
typedef struct BankSlice
{
	const char *text;
	size_t		len;
} BankSlice;

/* White space in ASCII; the tests of <ctype.h> depend on the locale. */
static bool
bank_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A digit of ASCII. */
static bool
bank_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A letter of ASCII. */
static bool
bank_is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* The slice without white space at its ends. */
static BankSlice
bank_slice_trim(BankSlice slice)
{
	while (slice.len > 0 && bank_is_space(slice.text[0]))
	{
		slice.text++;
		slice.len--;
	}
	while (slice.len > 0 && bank_is_space(slice.text[slice.len - 1]))
		slice.len--;
	return slice;
}

/* Is the slice this word (given in lower case), in any case? */
static bool
bank_slice_is(BankSlice slice, const char *word)
{
	size_t		i;

	if (slice.len != strlen(word))
		return false;
	for (i = 0; i < slice.len; i++)
	{
		if ((slice.text[i] | 0x20) != word[i])
			return false;
	}
	return true;
}

/* The names that numeric and float types give to what is no finite number. */
static bool
bank_slice_is_infinity(BankSlice slice)
{
	return bank_slice_is(slice, "inf") || bank_slice_is(slice, "infinity");
}

/* Can the slice be meant as a currency: letters only, and not one of the names above? */
static bool
bank_slice_is_code(BankSlice slice)
{
	size_t		i;

	for (i = 0; i < slice.len; i++)
	{
		if (!bank_is_letter(slice.text[i]))
			return false;
	}
	return slice.len > 0 && !bank_slice_is(slice, "nan") && !bank_slice_is_infinity(slice);
}

/*
 * Length of what people put between groups of digits (comma, apostrophe,
 * underscore, space, and in UTF-8 the no-break spaces and the typographic
 * apostrophe), or 0 when the slice does not begin with such a thing.
 */
static size_t
bank_separator_length(BankSlice slice)
{
	static const char *const separators[] = {
		",", "'", "_", " ", "\t", "\xC2\xA0", "\xE2\x80\xAF", "\xE2\x80\x99", "\xE2\x80\x89"
	};
	size_t		i;

	for (i = 0; i < sizeof(separators) / sizeof(separators[0]); i++)
	{
		size_t		len = strlen(separators[i]);

		if (slice.len >= len && memcmp(slice.text, separators[i], len) == 0)
			return len;
	}
	return 0;
}

/* Does the slice hold nothing but an exponent's sign and digits? */
static bool
bank_slice_is_exponent(BankSlice slice)
{
	size_t		i = (slice.len > 0 && (slice.text[0] == '+' || slice.text[0] == '-')) ? 1 : 0;

	if (i == slice.len)
		return false;
	for (; i < slice.len; i++)
	{
		if (!bank_is_digit(slice.text[i]))
			return false;
	}
	return true;
}

/*
 * Classify an amount without its sign. Anything else than BANK_SHAPE_PLAIN only
 * serves to tell the user what is wrong. A separator, the point included, stands
 * between digits; two points are separators of thousands.
 */
static BankAmountShape
bank_amount_shape(BankSlice rest)
{
	bool		separators = false;
	int			points = 0;
	bool		after_digit = false;

	if (bank_slice_is(rest, "nan"))
		return BANK_SHAPE_NAN;
	if (bank_slice_is_infinity(rest))
		return BANK_SHAPE_INFINITE;

	while (rest.len > 0)
	{
		size_t		step = 1;

		if (bank_is_digit(rest.text[0]))
			after_digit = true;
		else if (!after_digit)
			return BANK_SHAPE_GARBAGE;
		else if (rest.text[0] == '.')
		{
			points++;
			after_digit = false;
		}
		else if ((step = bank_separator_length(rest)) > 0)
		{
			separators = true;
			after_digit = false;
		}
		else if (rest.text[0] == 'e' || rest.text[0] == 'E')
		{
			rest.text++;
			rest.len--;
			if (!bank_slice_is_exponent(rest))
				return BANK_SHAPE_GARBAGE;
			return (separators || points > 1) ? BANK_SHAPE_SEPARATORS : BANK_SHAPE_EXPONENT;
		}
		else
			return BANK_SHAPE_GARBAGE;
		rest.text += step;
		rest.len -= step;
	}
	if (!after_digit)
		return BANK_SHAPE_GARBAGE;
	return (separators || points > 1) ? BANK_SHAPE_SEPARATORS : BANK_SHAPE_PLAIN;
}

/* Refuse a result that does not fit; "what" is "amount", "sum" or "product". */
static bool
bank_refuse_overflow(const char *what, int exponent, const char *currency, BankError *error)
{
	char		greatest[BANK_MONEY_TEXT];

	(void) bank_minor_format(INT64_MAX, exponent, greatest);
	return bank_error_set(error, BANK_INVALID_AMOUNT, "The %s exceeds %s %.3s.",
						  what, greatest, currency);
}

/*
 * The minor units of a plain amount ("1000", "1000.5") in a currency of so many
 * decimals. BK008 when it has more decimals, or more digits than fit.
 */
static bool
bank_amount_to_minor(BankSlice amount, int exponent, const char *currency, int64_t *minor,
					 BankError *error)
{
	int64_t		value = 0;
	int			decimals = -1;	/* seen so far; -1 before the point */
	size_t		i;

	for (i = 0; i < amount.len && amount.text[i] != '.'; i++)
		 /* find the point */ ;
	if (i < amount.len && amount.len - i - 1 > (size_t) exponent)
		return bank_error_set(error, BANK_INVALID_AMOUNT,
							  "The amount has more decimals (%zu) than %.3s (%d).",
							  amount.len - i - 1, currency, exponent);

	for (i = 0; i < amount.len; i++)
	{
		if (amount.text[i] == '.')
		{
			decimals = 0;
			continue;
		}
		if (!bank_multiply_int64(value, 10, &value) ||
			!bank_add_int64(value, amount.text[i] - '0', &value))
			return bank_refuse_overflow("amount", exponent, currency, error);
		if (decimals >= 0)
			decimals++;
	}
	for (i = (size_t) (decimals < 0 ? 0 : decimals); i < (size_t) exponent; i++)
	{
		if (!bank_multiply_int64(value, 10, &value))
			return bank_refuse_overflow("amount", exponent, currency, error);
	}
	*minor = value;
	return true;
}

/* Fill in all 16 bytes. */
static void
bank_money_set(int64_t minor, const char *currency, int exponent, BankMoney *money)
{
	money->minor = minor;
	memcpy(money->currency, currency, 3);
	money->exponent = (uint8_t) exponent;
	money->zero = 0;
}

/*
 * Cut the text into its amount and its currency, in either order. The currency
 * is the last word, or else the first; white space left inside the amount is
 * dealt with as a separator. False when it is not made like that.
 */
static bool
bank_money_split(BankSlice text, BankSlice *amount, BankSlice *code)
{
	size_t		first = 0;
	size_t		last;

	text = bank_slice_trim(text);
	last = text.len;
	while (last > 0 && !bank_is_space(text.text[last - 1]))
		last--;
	if (last == 0)
		return false;			/* less than two words */
	while (!bank_is_space(text.text[first]))
		first++;

	*code = (BankSlice) {text.text + last, text.len - last};
	*amount = bank_slice_trim((BankSlice) {text.text, last});
	if (bank_slice_is_code(*code))
		return true;

	*code = (BankSlice) {text.text, first};
	*amount = bank_slice_trim((BankSlice) {text.text + first, text.len - first});
	return bank_slice_is_code(*code);
}

/* See money.h. BK014 for the currency comes before BK008 for the amount. */
BankParse
bank_money_parse(const char *text, size_t len, BankMoney *money, BankError *error)
{
	BankSlice	amount;
	BankSlice	code;
	BankAmountShape shape;
	bool		negative;
	int			exponent;
	int64_t		minor = 0;

	if (!bank_money_split((BankSlice) {text, len}, &amount, &code))
		return BANK_PARSE_SYNTAX;

	negative = amount.text[0] == '-';
	if (negative)
	{
		amount.text++;
		amount.len--;
	}
	shape = bank_amount_shape(amount);
	if (shape == BANK_SHAPE_GARBAGE)
		return BANK_PARSE_SYNTAX;

	if (!bank_currency_find(code.text, code.len, &exponent, error))
		return BANK_PARSE_REFUSED;

	switch (shape)
	{
		case BANK_SHAPE_NAN:
			bank_error_set(error, BANK_INVALID_AMOUNT, "The amount is not a number.");
			return BANK_PARSE_REFUSED;
		case BANK_SHAPE_INFINITE:
			bank_error_set(error, BANK_INVALID_AMOUNT, "The amount is infinite.");
			return BANK_PARSE_REFUSED;
		case BANK_SHAPE_SEPARATORS:
			bank_error_set(error, BANK_INVALID_AMOUNT,
						   "The amount has separators other than one decimal point.");
			bank_error_hint(error, "Write it without separators, for example 1000.00.");
			return BANK_PARSE_REFUSED;
		case BANK_SHAPE_EXPONENT:
			bank_error_set(error, BANK_INVALID_AMOUNT, "The amount is in exponent notation.");
			bank_error_hint(error, "Write all its digits, for example 1000.00.");
			return BANK_PARSE_REFUSED;
		case BANK_SHAPE_PLAIN:
		case BANK_SHAPE_GARBAGE:
			break;
	}
	if (negative)
	{
		bank_error_set(error, BANK_INVALID_AMOUNT, "The amount is negative.");
		return BANK_PARSE_REFUSED;
	}
	if (!bank_amount_to_minor(amount, exponent, code.text, &minor, error))
		return BANK_PARSE_REFUSED;

	bank_money_set(minor, code.text, exponent, money);
	return BANK_PARSE_OK;
}

/* See money.h. BK008 when negative, BK014. */
bool
bank_money_make(int64_t minor, const char *currency, BankMoney *money, BankError *error)
{
	int			exponent;

	if (!bank_currency_find(currency, 3, &exponent, error))
		return false;
	if (minor < 0)
		return bank_error_set(error, BANK_INVALID_AMOUNT, "The amount is negative.");
	bank_money_set(minor, currency, exponent, money);
	return true;
}

/* See money.h. BK008 when negative or inconsistent, BK014. */
bool
bank_money_check(const BankMoney *money, BankError *error)
{
	BankMoney	made;

	if (!bank_money_make(money->minor, money->currency, &made, error))
		return false;
	if (money->exponent != made.exponent)
		return bank_error_set(error, BANK_INVALID_AMOUNT,
							  "The exponent %d is not that of %.3s, which is %d.",
							  money->exponent, made.currency, made.exponent);
	if (money->zero != 0)
		return bank_error_set(error, BANK_INVALID_AMOUNT, "The reserved bytes are not zero.");
	return true;
}

/* See money.h. */
int
bank_minor_format(int64_t minor, int exponent, char out[BANK_MONEY_TEXT])
{
	char		reversed[BANK_MONEY_TEXT];
	int			len = 0;
	int			i;
	uint64_t	rest = minor < 0 ? 0 - (uint64_t) minor : (uint64_t) minor;

	do
	{
		if (exponent > 0 && len == exponent)
			reversed[len++] = '.';
		reversed[len++] = (char) ('0' + rest % 10);
		rest /= 10;
	} while (rest > 0 || len <= exponent);
	if (minor < 0)
		reversed[len++] = '-';

	for (i = 0; i < len; i++)
		out[i] = reversed[len - 1 - i];
	out[len] = '\0';
	return len;
}

/* See money.h. */
int
bank_money_format(const BankMoney *money, char out[BANK_MONEY_TEXT])
{
	int			len = bank_minor_format(money->minor, money->exponent, out);

	out[len++] = ' ';
	memcpy(out + len, money->currency, 3);
	len += 3;
	out[len] = '\0';
	return len;
}

/* See money.h. BK003. */
bool
bank_money_same_currency(const BankMoney *a, const BankMoney *b, BankError *error)
{
	if (memcmp(a->currency, b->currency, 3) != 0 || a->exponent != b->exponent)
		return bank_error_set(error, BANK_CURRENCY_MISMATCH, "The amounts are in %.3s and %.3s.",
							  a->currency, b->currency);
	return true;
}

/* See money.h. BK003, BK008 when the sum does not fit. */
bool
bank_money_add(const BankMoney *a, const BankMoney *b, BankMoney *sum, BankError *error)
{
	int64_t		minor;

	if (!bank_money_same_currency(a, b, error))
		return false;
	if (!bank_add_int64(a->minor, b->minor, &minor))
		return bank_refuse_overflow("sum", a->exponent, a->currency, error);
	bank_money_set(minor, a->currency, a->exponent, sum);
	return true;
}

/* See money.h. BK003, BK008 when the rest would be negative. */
bool
bank_money_subtract(const BankMoney *a, const BankMoney *b, BankMoney *rest, BankError *error)
{
	int64_t		minor;

	if (!bank_money_same_currency(a, b, error))
		return false;
	if (!bank_subtract_int64(a->minor, b->minor, &minor) || minor < 0)
	{
		char		from[BANK_MONEY_TEXT];
		char		taken[BANK_MONEY_TEXT];

		(void) bank_money_format(a, from);
		(void) bank_money_format(b, taken);
		return bank_error_set(error, BANK_INVALID_AMOUNT, "%s minus %s is negative.", from, taken);
	}
	bank_money_set(minor, a->currency, a->exponent, rest);
	return true;
}

/* See money.h. BK008 when the product would be negative or does not fit. */
bool
bank_money_multiply(const BankMoney *a, int64_t factor, BankMoney *product, BankError *error)
{
	int64_t		minor;

	if (factor < 0 && a->minor > 0)
	{
		char		from[BANK_MONEY_TEXT];

		(void) bank_money_format(a, from);
		return bank_error_set(error, BANK_INVALID_AMOUNT, "%s times %" PRId64 " is negative.",
							  from, factor);
	}
	if (!bank_multiply_int64(a->minor, factor, &minor))
		return bank_refuse_overflow("product", a->exponent, a->currency, error);
	bank_money_set(minor, a->currency, a->exponent, product);
	return true;
}

/*
 * See money.h. The exponent belongs to the currency; comparing it as well keeps
 * the order consistent with equality of bytes should a later edition of the
 * standard change one.
 */
int
bank_money_order(const BankMoney *a, const BankMoney *b)
{
	int			order = memcmp(a->currency, b->currency, 3);

	if (order != 0)
		return order < 0 ? -1 : 1;
	if (a->exponent != b->exponent)
		return a->exponent < b->exponent ? -1 : 1;
	return (a->minor > b->minor) - (a->minor < b->minor);
}

/* Does share a get a left-over unit before share b? */
static bool
bank_share_precedes(const BankShare *a, const BankShare *b)
{
	if (a->high != b->high)
		return a->high > b->high;
	if (a->low != b->low)
		return a->low > b->low;
	return a->index < b->index;
}

/* Restore the heap (the preceding share on top) below position i of n. */
static void
bank_shares_sift(BankShare *shares, size_t n, size_t i)
{
	BankShare	moving = shares[i];

	for (;;)
	{
		size_t		child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && bank_share_precedes(&shares[child + 1], &shares[child]))
			child++;
		if (!bank_share_precedes(&shares[child], &moving))
			break;
		shares[i] = shares[child];
		i = child;
	}
	shares[i] = moving;
}

/* Check the weights and add them up: at most 65535 * 2^63, which 79 bits hold. BK022. */
static bool
bank_weights_total(const int64_t *weights, size_t n, bank_uint128 *total, BankError *error)
{
	size_t		i;

	if (n == 0)
		return bank_error_set(error, BANK_INVALID_WEIGHTS, "There are no weights.");
	if (n > BANK_MAX_WEIGHTS)
		return bank_error_set(error, BANK_INVALID_WEIGHTS,
							  "There are %zu weights, the most is %d.", n, BANK_MAX_WEIGHTS);
	*total = 0;
	for (i = 0; i < n; i++)
	{
		if (weights[i] < 0)
			return bank_error_set(error, BANK_INVALID_WEIGHTS,
								  "Weight %zu is negative: %" PRId64 ".", i + 1, weights[i]);
		*total += (uint64_t) weights[i];
	}
	if (*total == 0)
		return bank_error_set(error, BANK_INVALID_WEIGHTS, "All weights are zero.");
	return true;
}

/*
 * See money.h. Every part first gets its share rounded down; fewer than n units
 * are left, which go one each to the greatest remainders. All remainders add up
 * to (units left) * total and each is less than total, so only parts with a
 * remainder, hence with a weight, can get one.
 */
bool
bank_money_allocate(const BankMoney *whole, const int64_t *weights, size_t n,
					BankMoney *parts, BankShare *shares, BankError *error)
{
	bank_uint128 total = 0;
	int64_t		left = whole->minor;
	size_t		i;

	if (!bank_weights_total(weights, n, &total, error))
		return false;

	for (i = 0; i < n; i++)
	{
		bank_uint128 product = (bank_uint128) (uint64_t) whole->minor * (uint64_t) weights[i];
		bank_uint128 remainder = product % total;
		int64_t		minor = (int64_t) (product / total);

		bank_money_set(minor, whole->currency, whole->exponent, &parts[i]);
		left -= minor;
		shares[i].high = (uint64_t) (remainder >> 64);
		shares[i].low = (uint64_t) remainder;
		shares[i].index = (uint32_t) i;
	}

	for (i = n / 2; i-- > 0;)
		bank_shares_sift(shares, n, i);
	for (; left > 0; left--)
	{
		parts[shares[0].index].minor++;
		shares[0] = shares[--n];
		bank_shares_sift(shares, n, 0);
	}
	return true;
}
