/*
 * test_money.c
 *		Money: text form, arithmetic, order and allocation, by tables and by properties.
 */
#include "check.h"
#include "domain/currency.h"
#include "domain/money.h"

#include <stdlib.h>

#define TRIALS 200000
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

__extension__ typedef __int128 int128;

/* The money a valid text stands for; ends the program if the text is not valid. */
static BankMoney
money_of(const char *text)
{
	BankMoney	money;
	BankError	error;

	if (bank_money_parse(text, strlen(text), &money, &error) != BANK_PARSE_OK)
	{
		printf("Bail out! test wants money, not \"%s\"\n", text);
		exit(1);
	}
	return money;
}

/* The text of money; one buffer, good until the next call. */
static const char *
text_of(const BankMoney *money)
{
	static char text[BANK_MONEY_TEXT];

	(void) bank_money_format(money, text);
	return text;
}

/* Any amount in any currency. */
static BankMoney
random_money(uint64_t *state)
{
	BankMoney	money;
	BankError	error;
	int			currency = (int) (check_random(state) % (uint64_t) bank_currency_count());

	if (!bank_money_make(check_random_int64(state), bank_currency_code(currency), &money, &error))
		abort();
	return money;
}

/* What is accepted, and how it is written back. */
static void
test_parse_good(void)
{
	static const struct
	{
		const char *text;
		const char *written;
		int64_t		minor;
	}			cases[] = {
		{"1000.00 HTG", "1000.00 HTG", 100000},
		{"HTG 1000", "1000.00 HTG", 100000},
		{"HTG 1000.00", "1000.00 HTG", 100000},
		{" 1000.5 HTG ", "1000.50 HTG", 100050},
		{"\t\n\v\f\r 1 \t\n\v\f\r HTG \t\n\v\f\r", "1.00 HTG", 100},
		{"0 HTG", "0.00 HTG", 0},
		{"0.0 HTG", "0.00 HTG", 0},
		{"0.01 HTG", "0.01 HTG", 1},
		{"0.1 HTG", "0.10 HTG", 10},
		{"0.99 HTG", "0.99 HTG", 99},
		{"007 HTG", "7.00 HTG", 700},
		{"000000000000000000000000000000000000000000.01 HTG", "0.01 HTG", 1},
		{"92233720368547758.07 HTG", "92233720368547758.07 HTG", INT64_MAX},
		{"0 JPY", "0 JPY", 0},
		{"5 JPY", "5 JPY", 5},
		{"9223372036854775807 JPY", "9223372036854775807 JPY", INT64_MAX},
		{"1 KWD", "1.000 KWD", 1000},
		{"0.05 KWD", "0.050 KWD", 50},
		{"9223372036854775.807 KWD", "9223372036854775.807 KWD", INT64_MAX},
		{"1.2345 CLF", "1.2345 CLF", 12345},
		{"0.0001 CLF", "0.0001 CLF", 1},
		{"922337203685477.5807 CLF", "922337203685477.5807 CLF", INT64_MAX},
		{"3 UYW", "3.0000 UYW", 30000},
	};
	size_t		i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		BankMoney	money;
		BankError	error;

		memset(&money, 0xFF, sizeof(money));
		if (!check(bank_money_parse(cases[i].text, strlen(cases[i].text), &money, &error) ==
				   BANK_PARSE_OK, "accepted: case %zu, %s", i, cases[i].written))
			continue;
		check_text(text_of(&money), cases[i].written, "written in full");
		check_int(money.minor, cases[i].minor, "minor units");
		check(money.zero == 0, "every byte is set");
	}
}

/* What is refused, each for its own reason. */
static void
test_parse_bad(void)
{
#define SEPARATORS "The amount has separators other than one decimal point."
#define EXPONENT "The amount is in exponent notation."
	static const struct
	{
		const char *text;
		BankErrorCode code;		/* BANK_OK: not money at all */
		const char *detail;
	}			cases[] = {
		{"", BANK_OK, ""},
		{" ", BANK_OK, ""},
		{"abc", BANK_OK, ""},
		{"HTG", BANK_OK, ""},
		{"1000", BANK_OK, ""},
		{"1000HTG", BANK_OK, ""},
		{"HTG1000", BANK_OK, ""},
		{"hello world", BANK_OK, ""},
		{"5 12", BANK_OK, ""},
		{"NaN", BANK_OK, ""},
		{"NaN NaN", BANK_OK, ""},
		{"5 HTG HTG", BANK_OK, ""},
		{"HTG 5 HTG", BANK_OK, ""},
		{"HTG 5 USD", BANK_OK, ""},
		{".5 HTG", BANK_OK, ""},
		{"5. HTG", BANK_OK, ""},
		{". HTG", BANK_OK, ""},
		{"- HTG", BANK_OK, ""},
		{"+5 HTG", BANK_OK, ""},
		{"--5 HTG", BANK_OK, ""},
		{"5- HTG", BANK_OK, ""},
		{"- 5 HTG", BANK_OK, ""},
		{"(5) HTG", BANK_OK, ""},
		{"0x10 HTG", BANK_OK, ""},
		{"5 H.G", BANK_OK, ""},
		{"5 HT6", BANK_OK, ""},
		{"5 \xE2\x82\xAC", BANK_OK, ""},
		{"\xD9\xA5 HTG", BANK_OK, ""},
		{"5e HTG", BANK_OK, ""},
		{"5e+ HTG", BANK_OK, ""},
		{"e5 HTG", BANK_OK, ""},
		{"5e5e5 HTG", BANK_OK, ""},
		{",5 HTG", BANK_OK, ""},
		{"5, HTG", BANK_OK, ""},
		{"5,,5 HTG", BANK_OK, ""},
		{"5;5 HTG", BANK_OK, ""},
		{"$5 USD", BANK_OK, ""},
		{"5 XYZ", BANK_UNKNOWN_CURRENCY, "\"XYZ\" is not a currency of ISO 4217."},
		{"XAU 5", BANK_UNKNOWN_CURRENCY, "\"XAU\" is not a currency of ISO 4217."},
		{"5 htg", BANK_UNKNOWN_CURRENCY, "\"htg\" is not a currency of ISO 4217."},
		{"5 HT", BANK_UNKNOWN_CURRENCY, "\"HT\" is not a currency of ISO 4217."},
		{"5 HTGS", BANK_UNKNOWN_CURRENCY, "\"HTGS\" is not a currency of ISO 4217."},
		{"-NaN XYZ", BANK_UNKNOWN_CURRENCY, "\"XYZ\" is not a currency of ISO 4217."},
		{"-5 HTG", BANK_INVALID_AMOUNT, "The amount is negative."},
		{"HTG -5", BANK_INVALID_AMOUNT, "The amount is negative."},
		{"-0.01 HTG", BANK_INVALID_AMOUNT, "The amount is negative."},
		{"-0 HTG", BANK_INVALID_AMOUNT, "The amount is negative."},
		{"NaN HTG", BANK_INVALID_AMOUNT, "The amount is not a number."},
		{"HTG nan", BANK_INVALID_AMOUNT, "The amount is not a number."},
		{"Infinity HTG", BANK_INVALID_AMOUNT, "The amount is infinite."},
		{"-Infinity HTG", BANK_INVALID_AMOUNT, "The amount is infinite."},
		{"HTG inf", BANK_INVALID_AMOUNT, "The amount is infinite."},
		{"1e3 HTG", BANK_INVALID_AMOUNT, EXPONENT},
		{"1.5E+3 HTG", BANK_INVALID_AMOUNT, EXPONENT},
		{"15e-1 HTG", BANK_INVALID_AMOUNT, EXPONENT},
		{"-1e3 HTG", BANK_INVALID_AMOUNT, EXPONENT},
		{"1,000.00 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1.000,00 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1000,50 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1.000.000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1 000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"HTG 1 000 000.00", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1'000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1_000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1\xC2\xA0" "000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1\xE2\x80\xAF" "000 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1,000e3 HTG", BANK_INVALID_AMOUNT, SEPARATORS},
		{"1.005 HTG", BANK_INVALID_AMOUNT, "The amount has more decimals (3) than HTG (2)."},
		{"1000.000 HTG", BANK_INVALID_AMOUNT, "The amount has more decimals (3) than HTG (2)."},
		{"5.0 JPY", BANK_INVALID_AMOUNT, "The amount has more decimals (1) than JPY (0)."},
		{"5.0001 KWD", BANK_INVALID_AMOUNT, "The amount has more decimals (4) than KWD (3)."},
		{"5.00001 CLF", BANK_INVALID_AMOUNT, "The amount has more decimals (5) than CLF (4)."},
		{"92233720368547758.08 HTG", BANK_INVALID_AMOUNT,
		"The amount exceeds 92233720368547758.07 HTG."},
		{"92233720368547758.1 HTG", BANK_INVALID_AMOUNT,
		"The amount exceeds 92233720368547758.07 HTG."},
		{"92233720368547759 HTG", BANK_INVALID_AMOUNT,
		"The amount exceeds 92233720368547758.07 HTG."},
		{"9223372036854775808 JPY", BANK_INVALID_AMOUNT,
		"The amount exceeds 9223372036854775807 JPY."},
		{"18446744073709551617 JPY", BANK_INVALID_AMOUNT,
		"The amount exceeds 9223372036854775807 JPY."},
		{"922337203685477.5808 CLF", BANK_INVALID_AMOUNT,
		"The amount exceeds 922337203685477.5807 CLF."},
		{"100000000000000000000000000000000000000000000000000 KWD", BANK_INVALID_AMOUNT,
		"The amount exceeds 9223372036854775.807 KWD."},
	};
	size_t		i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		BankMoney	money;
		BankError	error;
		BankParse	outcome;

		outcome = bank_money_parse(cases[i].text, strlen(cases[i].text), &money, &error);
		if (cases[i].code == BANK_OK)
			check(outcome == BANK_PARSE_SYNTAX, "not money: \"%s\"", cases[i].text);
		else if (check(outcome == BANK_PARSE_REFUSED && error.code == cases[i].code,
					   "refused: \"%s\"", cases[i].text))
			check_text(error.detail, cases[i].detail, "its detail");
	}
}

/* The text has a length, not a terminator; a null byte is a byte like any other. */
static void
test_parse_length(void)
{
	BankMoney	money;
	BankError	error;

	check(bank_money_parse("12.50 HTGX", 9, &money, &error) == BANK_PARSE_OK && money.minor == 1250,
		  "nothing is read beyond the length");
	check(bank_money_parse("5\0 HTG", 6, &money, &error) == BANK_PARSE_SYNTAX,
		  "null in the amount");
	check(bank_money_parse("5 HTG\0", 6, &money, &error) == BANK_PARSE_SYNTAX, "null at the end");
}

/* Hints: where the way out is not obvious from the detail. */
static void
test_parse_hints(void)
{
	static const struct
	{
		const char *text;
		const char *hint;
	}			cases[] = {
		{"1,5 HTG", "Write it without separators, for example 1000.00."},
		{"1e3 HTG", "Write all its digits, for example 1000.00."},
		{"5 usd", "Write the currency in capital letters: \"USD\"."},
		{"5 XAU", ""},
		{"-5 HTG", ""},
	};
	size_t		i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		BankMoney	money;
		BankError	error;

		(void) bank_money_parse(cases[i].text, strlen(cases[i].text), &money, &error);
		check_text(error.hint, cases[i].hint, cases[i].text);
	}
}

/* Signed figures without a currency. */
static void
test_minor_format(void)
{
	static const struct
	{
		int64_t		minor;
		int			exponent;
		const char *text;
	}			cases[] = {
		{0, 0, "0"}, {0, 2, "0.00"}, {0, 4, "0.0000"},
		{5, 0, "5"}, {5, 2, "0.05"}, {5, 3, "0.005"}, {5, 4, "0.0005"},
		{-5, 0, "-5"}, {-5, 2, "-0.05"}, {-50050, 2, "-500.50"},
		{100, 2, "1.00"}, {10, 0, "10"}, {100000, 2, "1000.00"},
		{INT64_MAX, 0, "9223372036854775807"}, {INT64_MAX, 4, "922337203685477.5807"},
		{INT64_MIN, 0, "-9223372036854775808"}, {INT64_MIN, 2, "-92233720368547758.08"},
		{INT64_MIN, 4, "-922337203685477.5808"},
	};
	size_t		i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		char		text[BANK_MONEY_TEXT];
		int			len = bank_minor_format(cases[i].minor, cases[i].exponent, text);

		check_text(text, cases[i].text, cases[i].text);
		check_int(len, (int64_t) strlen(cases[i].text), "its length");
	}
}

/* Construction from minor units, and the check of a value from outside. */
static void
test_make_and_check(void)
{
	BankMoney	money;
	BankMoney	wrong;
	BankError	error;

	check(bank_money_make(12345, "CLF...", &money, &error), "make");
	check_text(text_of(&money), "1.2345 CLF", "made");
	check(bank_money_make(INT64_MAX, "JPY", &money, &error), "make the greatest");
	check(bank_money_make(0, "JPY", &money, &error), "make the least");
	check(!bank_money_make(-1, "JPY", &money, &error) && error.code == BANK_INVALID_AMOUNT,
		  "make a negative one");
	check_text(error.detail, "The amount is negative.", "its detail");
	check(!bank_money_make(1, "XXX", &money, &error) && error.code == BANK_UNKNOWN_CURRENCY,
		  "make one of no currency");

	money = money_of("5 KWD");
	check(bank_money_check(&money, &error), "a sound value");
	wrong = money;
	wrong.minor = -1;
	check(!bank_money_check(&wrong, &error) && error.code == BANK_INVALID_AMOUNT, "negative");
	wrong = money;
	wrong.minor = INT64_MIN;
	check(!bank_money_check(&wrong, &error) && error.code == BANK_INVALID_AMOUNT, "most negative");
	wrong = money;
	wrong.exponent = 2;
	check(!bank_money_check(&wrong, &error) && error.code == BANK_INVALID_AMOUNT, "other exponent");
	check_text(error.detail, "The exponent 2 is not that of KWD, which is 3.", "its detail");
	wrong = money;
	wrong.currency[0] = '\0';
	check(!bank_money_check(&wrong, &error) && error.code == BANK_UNKNOWN_CURRENCY,
		  "other letters");
	wrong = money;
	wrong.zero = 1;
	check(!bank_money_check(&wrong, &error) && error.code == BANK_INVALID_AMOUNT, "reserved bytes");
}

/* One line of a table of sums, differences and products. */
typedef struct Arithmetic
{
	const char *a;
	char		operator;
	const char *b;				/* money, or the factor in digits */
	const char *result;			/* null: refused */
	BankErrorCode code;
	const char *detail;
} Arithmetic;

/* Results, and every refusal of + - *. */
static void
test_arithmetic(void)
{
	static const Arithmetic cases[] = {
		{"1.50 HTG", '+', "2.75 HTG", "4.25 HTG", BANK_OK, ""},
		{"0 HTG", '+', "0 HTG", "0.00 HTG", BANK_OK, ""},
		{"92233720368547758.06 HTG", '+', "0.01 HTG", "92233720368547758.07 HTG", BANK_OK, ""},
		{"92233720368547758.07 HTG", '+', "0.01 HTG", NULL, BANK_INVALID_AMOUNT,
		"The sum exceeds 92233720368547758.07 HTG."},
		{"1 HTG", '+', "1 USD", NULL, BANK_CURRENCY_MISMATCH, "The amounts are in HTG and USD."},
		{"2.75 HTG", '-', "1.50 HTG", "1.25 HTG", BANK_OK, ""},
		{"2.75 HTG", '-', "2.75 HTG", "0.00 HTG", BANK_OK, ""},
		{"92233720368547758.07 HTG", '-', "0 HTG", "92233720368547758.07 HTG", BANK_OK, ""},
		{"1.50 HTG", '-', "1.51 HTG", NULL, BANK_INVALID_AMOUNT,
		"1.50 HTG minus 1.51 HTG is negative."},
		{"0 JPY", '-', "9223372036854775807 JPY", NULL, BANK_INVALID_AMOUNT,
		"0 JPY minus 9223372036854775807 JPY is negative."},
		{"1 USD", '-', "1 HTG", NULL, BANK_CURRENCY_MISMATCH, "The amounts are in USD and HTG."},
		{"1.25 HTG", '*', "3", "3.75 HTG", BANK_OK, ""},
		{"1.25 HTG", '*', "0", "0.00 HTG", BANK_OK, ""},
		{"0 HTG", '*', "-3", "0.00 HTG", BANK_OK, ""},
		{"0 HTG", '*', "-9223372036854775808", "0.00 HTG", BANK_OK, ""},
		{"0.01 HTG", '*', "9223372036854775807", "92233720368547758.07 HTG", BANK_OK, ""},
		{"0.02 HTG", '*', "4611686018427387904", NULL, BANK_INVALID_AMOUNT,
		"The product exceeds 92233720368547758.07 HTG."},
		{"1.25 HTG", '*', "-1", NULL, BANK_INVALID_AMOUNT, "1.25 HTG times -1 is negative."},
		{"5 JPY", '*', "-9223372036854775808", NULL, BANK_INVALID_AMOUNT,
		"5 JPY times -9223372036854775808 is negative."},
	};
	size_t		i;

	for (i = 0; i < LENGTH(cases); i++)
	{
		BankMoney	a = money_of(cases[i].a);
		BankMoney	result;
		BankError	error;
		bool		done;

		if (cases[i].operator == '*')
			done = bank_money_multiply(&a, strtoll(cases[i].b, NULL, 10), &result, &error);
		else
		{
			BankMoney	b = money_of(cases[i].b);

			if (cases[i].operator == '+')
				done = bank_money_add(&a, &b, &result, &error);
			else
				done = bank_money_subtract(&a, &b, &result, &error);
		}
		if (!check(done == (cases[i].result != NULL), "%s %c %s", cases[i].a, cases[i].operator,
				   cases[i].b))
			continue;
		if (done)
			check_text(text_of(&result), cases[i].result, "its result");
		else
		{
			check_int(error.code, cases[i].code, "its code");
			check_text(error.detail, cases[i].detail, "its detail");
		}
	}
}

/* The result may be an operand. */
static void
test_aliases(void)
{
	BankMoney	a = money_of("1.25 HTG");
	BankError	error;

	check(bank_money_add(&a, &a, &a, &error) && a.minor == 250, "a = a + a");
	check(bank_money_multiply(&a, 2, &a, &error) && a.minor == 500, "a = a * 2");
	check(bank_money_subtract(&a, &a, &a, &error) && a.minor == 0, "a = a - a");
}

/* Every pair of a sorted list compares as its places do. */
static void
test_order(void)
{
	static const char *const sorted[] = {
		"0 EUR", "0.01 EUR", "92233720368547758.07 EUR", "0 HTG", "0.10 HTG", "1 HTG", "10 HTG",
		"0 JPY", "100 JPY", "0 USD", "5 USD"
	};
	size_t		i;
	size_t		j;
	bool		agrees = true;
	BankMoney	old;
	BankMoney	new;
	BankError	error;

	for (i = 0; i < LENGTH(sorted); i++)
	{
		for (j = 0; j < LENGTH(sorted); j++)
		{
			BankMoney	a = money_of(sorted[i]);
			BankMoney	b = money_of(sorted[j]);

			if (bank_money_order(&a, &b) != (i > j) - (i < j))
				agrees = false;
		}
	}
	check(agrees, "order by currency, then amount");

	/* should the decimals of a currency change one day */
	old = money_of("2 HTG");
	new = money_of("1 HTG");
	new.exponent = 3;
	check(bank_money_order(&old, &new) == -1 && bank_money_order(&new, &old) == 1,
		  "equal only if the decimals are");
	check(!bank_money_add(&old, &new, &old, &error) && error.code == BANK_CURRENCY_MISMATCH,
		  "and added only then");
}

/* One line of a table of allocations. */
typedef struct Allocation
{
	const char *whole;
	size_t		n;
	int64_t		weights[7];
	int64_t		parts[7];		/* minor units */
} Allocation;

/* Known allocations; ties go to the earlier part. */
static void
test_allocate(void)
{
	static const Allocation cases[] = {
		{"100 HTG", 3, {1, 1, 1}, {3334, 3333, 3333}},
		{"100 HTG", 1, {1}, {10000}},
		{"100 HTG", 1, {INT64_MAX}, {10000}},
		{"100 HTG", 4, {0, 1, 0, 3}, {0, 2500, 0, 7500}},
		{"0.05 HTG", 2, {3, 7}, {2, 3}},	/* 1.5 and 3.5: a tie */
		{"0.05 HTG", 2, {7, 3}, {4, 1}},	/* 3.5 and 1.5: a tie */
		{"0.01 HTG", 3, {1, 1, 1}, {1, 0, 0}},
		{"0.02 HTG", 3, {1, 1, 1}, {1, 1, 0}},
		{"0.02 HTG", 3, {0, 1, 1}, {0, 1, 1}},
		{"0 HTG", 3, {1, 2, 3}, {0, 0, 0}},
		{"101 JPY", 3, {50, 30, 20}, {51, 30, 20}},	/* 50.5, 30.3, 20.2 */
		{"103 JPY", 3, {50, 30, 20}, {51, 31, 21}},	/* 51.5, 30.9, 20.6 */
		{"1 JPY", 2, {1, 2}, {0, 1}},	/* the greater remainder, not the earlier part */
		{"9223372036854775807 JPY", 2, {1, 1}, {INT64_C(4611686018427387904), INT64_MAX / 2}},
		{"9223372036854775807 JPY", 2, {INT64_MAX, INT64_MAX},
		{INT64_C(4611686018427387904), INT64_MAX / 2}},
		{"9223372036854775807 JPY", 2, {INT64_MAX, 0}, {INT64_MAX, 0}},
		{"7 JPY", 7, {1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1}},
	};
	size_t		i;
	size_t		p;

	for (i = 0; i < LENGTH(cases); i++)
	{
		BankMoney	whole = money_of(cases[i].whole);
		BankMoney	parts[7];
		BankShare	shares[7];
		BankError	error;
		bool		agrees;

		agrees = bank_money_allocate(&whole, cases[i].weights, cases[i].n, parts, shares, &error);
		for (p = 0; agrees && p < cases[i].n; p++)
			agrees = parts[p].minor == cases[i].parts[p] &&
				bank_money_check(&parts[p], &error) &&
				bank_money_same_currency(&parts[p], &whole, &error);
		check(agrees, "allocation %zu of %s", i, cases[i].whole);
	}
}

/* Weights that are refused, and the greatest number of the greatest weights. */
static void
test_allocate_limits(void)
{
	static int64_t weights[BANK_MAX_WEIGHTS + 1];
	static BankMoney parts[BANK_MAX_WEIGHTS + 1];
	static BankShare shares[BANK_MAX_WEIGHTS + 1];
	static const int64_t negative[] = {1, 0, -7};
	static const int64_t zero[] = {0, 0};
	BankMoney	whole = money_of("9223372036854775807 JPY");
	BankError	error;
	int128		sum = 0;
	size_t		i;

	check(!bank_money_allocate(&whole, zero, 0, parts, shares, &error) &&
		  error.code == BANK_INVALID_WEIGHTS, "no weights");
	check_text(error.detail, "There are no weights.", "its detail");
	check(!bank_money_allocate(&whole, zero, 2, parts, shares, &error) &&
		  error.code == BANK_INVALID_WEIGHTS, "zero weights");
	check_text(error.detail, "All weights are zero.", "its detail");
	check(!bank_money_allocate(&whole, negative, 3, parts, shares, &error) &&
		  error.code == BANK_INVALID_WEIGHTS, "a negative weight");
	check_text(error.detail, "Weight 3 is negative: -7.", "its detail");

	for (i = 0; i <= BANK_MAX_WEIGHTS; i++)
		weights[i] = INT64_MAX;
	check(!bank_money_allocate(&whole, weights, BANK_MAX_WEIGHTS + 1, parts, shares, &error) &&
		  error.code == BANK_INVALID_WEIGHTS, "too many weights");
	check_text(error.detail, "There are 65536 weights, the most is 65535.", "its detail");

	check(bank_money_allocate(&whole, weights, BANK_MAX_WEIGHTS, parts, shares, &error),
		  "as many and as great weights as there can be");
	for (i = 0; i < BANK_MAX_WEIGHTS; i++)
	{
		sum += parts[i].minor;
		if (parts[i].minor < parts[BANK_MAX_WEIGHTS - 1].minor ||
			parts[i].minor > parts[BANK_MAX_WEIGHTS - 1].minor + 1 ||
			(i > 0 && parts[i].minor > parts[i - 1].minor))
			break;
	}
	check_int((int64_t) i, BANK_MAX_WEIGHTS, "equal parts, the odd units first");
	check(sum == INT64_MAX, "which add up");
}

/* parse(format(x)) = x, with the currency at either end. */
static void
test_property_text(void)
{
	uint64_t	state = 42;
	int			trial;

	for (trial = 0; trial < TRIALS; trial++)
	{
		BankMoney	money = random_money(&state);
		BankMoney	again;
		BankError	error;
		char		text[BANK_MONEY_TEXT];
		char		turned[BANK_MONEY_TEXT];
		int			len = bank_money_format(&money, text);

		(void) snprintf(turned, sizeof(turned), "%s %.*s", text + len - 3, len - 4, text);
		if (len != (int) strlen(text) ||
			bank_money_parse(text, (size_t) len, &again, &error) != BANK_PARSE_OK ||
			memcmp(&again, &money, sizeof(money)) != 0 ||
			bank_money_parse(turned, (size_t) len, &again, &error) != BANK_PARSE_OK ||
			memcmp(&again, &money, sizeof(money)) != 0)
		{
			printf("# %s\n", text);
			break;
		}
	}
	check_int(trial, TRIALS, "text and back gives the same bytes");
}

/* (a + b) - b = a and a + b = b + a; what does not fit is refused, by a 128-bit oracle. */
static void
test_property_sums(void)
{
	uint64_t	state = 43;
	int			trial;

	for (trial = 0; trial < TRIALS; trial++)
	{
		BankMoney	a = random_money(&state);
		BankMoney	b = random_money(&state);
		BankMoney	sum;
		BankMoney	turned;
		BankMoney	back;
		BankError	error;
		bool		fits = (int128) a.minor + b.minor <= INT64_MAX;

		memcpy(b.currency, a.currency, 3);
		b.exponent = a.exponent;
		if (bank_money_add(&a, &b, &sum, &error) != fits)
			break;
		if (fits && (!bank_money_add(&b, &a, &turned, &error) ||
					 memcmp(&sum, &turned, sizeof(sum)) != 0 ||
					 !bank_money_subtract(&sum, &b, &back, &error) ||
					 memcmp(&back, &a, sizeof(a)) != 0 ||
					 !bank_money_check(&sum, &error)))
			break;
		if (bank_money_subtract(&a, &b, &back, &error) != (a.minor >= b.minor))
			break;
	}
	check_int(trial, TRIALS, "sums and differences are each other's inverse");
}

/* a * n = a + ... + a, and what does not fit is refused, by a 128-bit oracle. */
static void
test_property_products(void)
{
	uint64_t	state = 44;
	int			trial;

	for (trial = 0; trial < TRIALS; trial++)
	{
		BankMoney	a = random_money(&state);
		int64_t		factor = check_random_int64(&state);
		BankMoney	product;
		BankError	error;
		int128		exact;

		if (check_random(&state) % 4 == 0)
			factor = -factor;
		exact = (int128) a.minor * factor;
		if (bank_money_multiply(&a, factor, &product, &error) != (exact >= 0 && exact <= INT64_MAX))
			break;
		if (exact >= 0 && exact <= INT64_MAX &&
			(product.minor != (int64_t) exact || !bank_money_check(&product, &error)))
			break;
	}
	check_int(trial, TRIALS, "products are exact or refused");
}

/* The order is total, antisymmetric and transitive, and its equality that of bytes. */
static void
test_property_order(void)
{
	uint64_t	state = 45;
	int			trial;

	for (trial = 0; trial < TRIALS; trial++)
	{
		BankMoney	m[3];
		int			ab,
					bc,
					ac;
		int			i;

		for (i = 0; i < 3; i++)
		{
			m[i] = random_money(&state);
			if (i > 0 && check_random(&state) % 3 == 0)
				m[i] = m[i - 1];
			else if (i > 0 && check_random(&state) % 2 == 0)
			{
				memcpy(m[i].currency, m[0].currency, 3);
				m[i].exponent = m[0].exponent;
			}
		}
		ab = bank_money_order(&m[0], &m[1]);
		bc = bank_money_order(&m[1], &m[2]);
		ac = bank_money_order(&m[0], &m[2]);
		if (ab != -bank_money_order(&m[1], &m[0]) ||
			(ab == 0) != (memcmp(&m[0], &m[1], sizeof(BankMoney)) == 0) ||
			(ab <= 0 && bc <= 0 && ac > 0) || (ab >= 0 && bc >= 0 && ac < 0) ||
			(ab < 0 && bc <= 0 && ac >= 0))
			break;
	}
	check_int(trial, TRIALS, "the order is total and agrees with equality");
}

/*
 * Parts add up, are within one unit of the exact share, nothing for a zero
 * weight; and where a part got a unit that another with a greater remainder did
 * not get, the method would be another one.
 */
static bool
allocation_holds(const BankMoney *whole, const int64_t *weights, size_t n, const BankMoney *parts)
{
	int128		total = 0;
	int128		sum = 0;
	size_t		i;
	size_t		j;

	for (i = 0; i < n; i++)
	{
		total += weights[i];
		sum += parts[i].minor;
	}
	if (sum != whole->minor)
		return false;
	for (i = 0; i < n; i++)
	{
		int128		remainder = (int128) whole->minor * weights[i] % total;
		int128		off = (int128) parts[i].minor * total - (int128) whole->minor * weights[i];

		if (off <= -total || off >= total || (weights[i] == 0 && parts[i].minor != 0))
			return false;
		for (j = 0; j < n && off > 0; j++)
		{
			int128		other = (int128) whole->minor * weights[j] % total;
			bool		rounded_up = (int128) parts[j].minor * total >
				(int128) whole->minor * weights[j];

			if (!rounded_up && (other > remainder || (other == remainder && j < i)))
				return false;
		}
	}
	return true;
}

/* Allocations of any amount by few or many, small or great weights. */
static void
test_property_allocate(void)
{
	uint64_t	state = 46;
	int			trial;

	for (trial = 0; trial < TRIALS / 10; trial++)
	{
		BankMoney	whole = random_money(&state);
		int64_t		weights[40];
		BankMoney	parts[40];
		BankShare	shares[40];
		BankError	error;
		size_t		n = 1 + check_random(&state) % 40;
		bool		small = check_random(&state) % 2 == 0;
		size_t		i;

		/* with a great whole, weights below 2^55: the oracle has only 127 bits */
		for (i = 0; i < n; i++)
			weights[i] = small ? (int64_t) (check_random(&state) % 5)
				: check_random_int64(&state) >> (whole.minor > INT32_MAX ? 8 : 0);
		weights[check_random(&state) % n] = 1;
		if (!bank_money_allocate(&whole, weights, n, parts, shares, &error) ||
			!allocation_holds(&whole, weights, n, parts))
			break;
	}
	check_int(trial, TRIALS / 10,
			  "allocations add up, are fair, and give nothing to a zero weight");
}

int
main(void)
{
	test_parse_good();
	test_parse_bad();
	test_parse_length();
	test_parse_hints();
	test_minor_format();
	test_make_and_check();
	test_arithmetic();
	test_aliases();
	test_order();
	test_allocate();
	test_allocate_limits();
	test_property_text();
	test_property_sums();
	test_property_products();
	test_property_order();
	test_property_allocate();
	return check_done();
}
