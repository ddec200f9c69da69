/*
 * fuzz_money.c
 *		Fuzzer of money's text form, arithmetic and allocation.
 *
 * The input is used twice: as text to parse, and as bytes of amounts, a factor
 * and weights. What the domain answers is compared with a second implementation
 * made in another way: strings for the text, 128 bits for the arithmetic, ranks
 * for the allocation.
 */
#include "fuzz_driver.h"

#include "domain/currency.h"
#include "domain/money.h"

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

const char *const fuzz_dictionary[] = {
	" ", " ", " ", "\t", "\n", "-", "+", ".", ".", ",", "'", "_", "e", "E-2", "0", "00", "1000.00",
	"0.1", "0.01", "0.001", "0.0001", ".00000", "9223372036854775807", "9223372036854775808",
	"92233720368547758.07", "92233720368547758.08", "922337203685477.5807", "18446744073709551616",
	"HTG", "USD", "JPY", "KWD", "CLF", "UYW", "XAF", "XAU", "XXX", "htg", " HTG", " JPY", "CLF ",
	"KWD ", "NaN", "inf", "-Infinity", "\xC2\xA0", "\xE2\x80\xAF", "\xE2\x82\xAC", "1 HTG", "JPY 1",
	"0x1F", "1000.00 HTG", "HTG 1000", "0.05 USD", "KWD 5.125", "1.2345 CLF", "500 JPY",
	" UYW 12.5 ", "92233720368547758.07 EUR", "9223372036854775.807 BHD", NULL
};

/* Decimals by a list of our own; -1 when the code is not in the domain's table. */
static int
oracle_exponent(const char *code)
{
	int			i;

	for (i = 0; i < bank_currency_count(); i++)
	{
		if (strcmp(code, bank_currency_code(i)) == 0)
			break;
	}
	if (i == bank_currency_count())
		return -1;
	if (strstr("CLF UYW", code) != NULL)
		return 4;
	if (strstr("BHD IQD JOD KWD LYD OMR TND", code) != NULL)
		return 3;
	if (strstr("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF", code) != NULL)
		return 0;
	return 2;
}

/* Is the text digits, or digits, a point and digits? */
static bool
oracle_is_number(const char *text)
{
	size_t		whole = strspn(text, "0123456789");
	size_t		decimals;

	if (whole == 0)
		return false;
	if (text[whole] == '\0')
		return true;
	decimals = strspn(text + whole + 1, "0123456789");
	return text[whole] == '.' && decimals > 0 && text[whole + 1 + decimals] == '\0';
}

/*
 * Words of the text; fewer than three of them, else -1. Also -1 for a text with
 * null bytes.
 */
static int
oracle_words(const uint8_t *data, size_t size, char *copy, char *words[2])
{
	int			n = 0;
	char	   *word;

	if (memchr(data, '\0', size) != NULL)
		return -1;
	memcpy(copy, data, size);
	copy[size] = '\0';
	for (word = strtok(copy, " \t\n\v\f\r"); word != NULL; word = strtok(NULL, " \t\n\v\f\r"))
	{
		if (n == 2)
			return -1;
		words[n++] = word;
	}
	return n;
}

/* Is this money, and how much in what currency? By shifting digits in strings. */
static bool
oracle_parse(const uint8_t *data, size_t size, char code[4], int64_t *minor)
{
	char		copy[FUZZ_MAX_INPUT + 1];
	char		digits[2 * FUZZ_MAX_INPUT];
	char	   *words[2];
	const char *number;
	const char *currency;
	const char *point;
	char	   *start;
	int			exponent;

	if (oracle_words(data, size, copy, words) != 2)
		return false;
	number = oracle_is_number(words[0]) ? words[0] : words[1];
	currency = (number == words[0]) ? words[1] : words[0];
	if (!oracle_is_number(number) || strlen(currency) != 3)
		return false;
	exponent = oracle_exponent(currency);
	point = strchr(number, '.');
	if (exponent < 0 || (point != NULL && strlen(point + 1) > (size_t) exponent))
		return false;

	(void) snprintf(digits, sizeof(digits), "%.*s%s%.*s",
					(int) strcspn(number, "."), number, point != NULL ? point + 1 : "",
					exponent - (int) (point != NULL ? strlen(point + 1) : 0), "0000");
	start = digits + strspn(digits, "0");
	if (strlen(start) > 19 || (strlen(start) == 19 && strcmp(start, "9223372036854775807") > 0))
		return false;
	*minor = (int64_t) strtoull(digits, NULL, 10);
	memcpy(code, currency, 4);
	return true;
}

/* Two words, a signed number and letters: it is money, even if it is refused. */
static bool
oracle_is_money_like(const uint8_t *data, size_t size)
{
	char		copy[FUZZ_MAX_INPUT + 1];
	char	   *words[2];
	int			i;

	if (oracle_words(data, size, copy, words) != 2)
		return false;
	for (i = 0; i < 2; i++)
	{
		const char *letters = words[1 - i];

		if (!oracle_is_number(words[i] + (words[i][0] == '-')))
			continue;
		if (strspn(letters, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(letters) &&
			strcmp(letters, "NAN") != 0 && strcmp(letters, "INF") != 0 &&
			strcmp(letters, "INFINITY") != 0)
			return true;
	}
	return false;
}

/* "1000.00 HTG" made by the C library. */
static void
oracle_format(const BankMoney *money, char *out, size_t room)
{
	char		digits[32];
	int			whole;

	(void) snprintf(digits, sizeof(digits), "%0*" PRId64, money->exponent + 1, money->minor);
	whole = (int) strlen(digits) - money->exponent;
	(void) snprintf(out, room, "%.*s%s%s %.3s", whole, digits, money->exponent > 0 ? "." : "",
					digits + whole, money->currency);
}

/* Is the text visible ASCII, ending in a point: a sentence, without bytes of the input? */
static bool
is_sentence(const char *text)
{
	const char *c;

	for (c = text; *c != '\0'; c++)
	{
		if (*c < ' ' || *c > '~')
			return false;
	}
	return c > text && c[-1] == '.';
}

/* The input as text. */
static void
fuzz_text(const uint8_t *data, size_t size)
{
	BankMoney	money;
	BankMoney	again;
	BankError	error;
	char		text[BANK_MONEY_TEXT];
	char		expected_text[64];
	char		code[4];
	int64_t		minor = 0;
	bool		expected = oracle_parse(data, size, code, &minor);
	BankParse	outcome;

	memset(&money, 0xA5, sizeof(money));
	memset(&error, 0, sizeof(error));
	outcome = bank_money_parse((const char *) data, size, &money, &error);
	FUZZ_HOLDS((outcome == BANK_PARSE_OK) == expected);

	switch (outcome)
	{
		case BANK_PARSE_OK:
			FUZZ_HOLDS(money.minor == minor && memcmp(money.currency, code, 3) == 0);
			FUZZ_HOLDS(money.exponent == oracle_exponent(code) && money.zero == 0);
			FUZZ_HOLDS(bank_money_check(&money, &error));
			FUZZ_HOLDS(bank_money_format(&money, text) == (int) strlen(text));
			oracle_format(&money, expected_text, sizeof(expected_text));
			FUZZ_HOLDS(strcmp(text, expected_text) == 0);
			FUZZ_HOLDS(bank_money_parse(text, strlen(text), &again, &error) == BANK_PARSE_OK);
			FUZZ_HOLDS(memcmp(&again, &money, sizeof(money)) == 0);
			break;
		case BANK_PARSE_REFUSED:
			FUZZ_HOLDS(error.code == BANK_INVALID_AMOUNT || error.code == BANK_UNKNOWN_CURRENCY);
			FUZZ_HOLDS(is_sentence(error.detail));
			break;
		case BANK_PARSE_SYNTAX:
			FUZZ_HOLDS(error.code == BANK_OK);
			FUZZ_HOLDS(!oracle_is_money_like(data, size));
			break;
	}
}

/* Any 16 bytes: only sound values pass the check. */
static void
fuzz_bytes(const uint8_t *data, size_t size)
{
	BankMoney	money;
	BankError	error;
	char		code[4] = {0};

	if (size < sizeof(money))
		return;
	memcpy(&money, data, sizeof(money));
	memcpy(code, money.currency, 3);
	FUZZ_HOLDS(bank_money_check(&money, &error) ==
			   (money.minor >= 0 && money.zero == 0 && strlen(code) == 3 &&
				oracle_exponent(code) == money.exponent));
}

/* Take a number of 1 to 8 bytes off the input; the magnitude varies with its first byte. */
static bool
take_number(const uint8_t **data, size_t *size, int64_t *number)
{
	uint64_t	value = 0;
	size_t		bytes;

	if (*size == 0)
		return false;
	bytes = 1 + **data % 8;
	if (bytes > *size)
		bytes = *size;
	memcpy(&value, *data, bytes);
	*number = (int64_t) (value & INT64_MAX);
	*data += bytes;
	*size -= bytes;
	return true;
}

/* Hamilton's method by ranks: who has fewer than "left" shares before it gets a unit more. */
static void
check_allocation(const BankMoney *whole, const int64_t *weights, size_t n, const BankMoney *parts)
{
	uint128		total = 0;
	uint128		remainders[FUZZ_MAX_INPUT];
	int64_t		left = whole->minor;
	size_t		i;
	size_t		j;

	for (i = 0; i < n; i++)
		total += (uint64_t) weights[i];
	for (i = 0; i < n; i++)
	{
		uint128		product = (uint128) (uint64_t) whole->minor * (uint64_t) weights[i];

		remainders[i] = product % total;
		left -= (int64_t) (product / total);
	}
	for (i = 0; i < n; i++)
	{
		uint128		product = (uint128) (uint64_t) whole->minor * (uint64_t) weights[i];
		int64_t		rank = 0;

		for (j = 0; j < n; j++)
			rank += remainders[j] > remainders[i] || (remainders[j] == remainders[i] && j < i);
		FUZZ_HOLDS(parts[i].minor == (int64_t) (product / total) + (rank < left));
		FUZZ_HOLDS(parts[i].minor == 0 || weights[i] > 0);
	}
}

/* The input as amounts, a factor and weights. */
static void
fuzz_arithmetic(const uint8_t *data, size_t size)
{
	BankMoney	a;
	BankMoney	b;
	BankMoney	result;
	BankError	error;
	int64_t		x = 0;
	int64_t		y = 0;
	int64_t		weights[FUZZ_MAX_INPUT];
	BankMoney	parts[FUZZ_MAX_INPUT];
	BankShare	shares[FUZZ_MAX_INPUT];
	size_t		n = 0;
	const char *code = bank_currency_code(size > 0 ? data[0] % bank_currency_count() : 0);
	bool		positive = false;
	int128		product;

	(void) take_number(&data, &size, &x);
	(void) take_number(&data, &size, &y);
	FUZZ_HOLDS(bank_money_make(x, code, &a, &error) && bank_money_make(y, code, &b, &error));

	if (bank_money_add(&a, &b, &result, &error))
		FUZZ_HOLDS((int128) x + y == result.minor && bank_money_check(&result, &error));
	else
		FUZZ_HOLDS((int128) x + y > INT64_MAX && is_sentence(error.detail));

	if (bank_money_subtract(&a, &b, &result, &error))
		FUZZ_HOLDS((int128) x - y == result.minor && bank_money_check(&result, &error));
	else
		FUZZ_HOLDS(x < y && is_sentence(error.detail));

	FUZZ_HOLDS(bank_money_order(&a, &b) == (x > y) - (x < y));
	FUZZ_HOLDS((bank_money_order(&a, &b) == 0) == (memcmp(&a, &b, sizeof(a)) == 0));

	if (size % 3 == 0)
		y = -y;
	product = (int128) x * y;
	if (bank_money_multiply(&a, y, &result, &error))
		FUZZ_HOLDS(product == result.minor && bank_money_check(&result, &error));
	else
		FUZZ_HOLDS((product < 0 || product > INT64_MAX) && is_sentence(error.detail));

	while (n < FUZZ_MAX_INPUT && take_number(&data, &size, &weights[n]))
		positive |= weights[n++] > 0;
	if (bank_money_allocate(&a, weights, n, parts, shares, &error))
		check_allocation(&a, weights, n, parts);
	else
		FUZZ_HOLDS(!positive && error.code == BANK_INVALID_WEIGHTS && is_sentence(error.detail));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > FUZZ_MAX_INPUT)
		return 0;
	fuzz_text(data, size);
	fuzz_bytes(data, size);
	fuzz_arithmetic(data, size);
	return 0;
}
