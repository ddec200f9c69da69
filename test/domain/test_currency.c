/*
 * test_currency.c
 *		The table of currencies: decimals, order, and what is not in it.
 */
#include "check.h"
#include "domain/currency.h"

/* Decimals of the currencies that do not have two, and of some that do. */
static void
test_exponents(void)
{
	static const struct
	{
		const char *codes;
		int			exponent;
	}			cases[] = {
		{"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF", 0},
		{"AED BOV CHE CHW COU EUR HTG MGA MRU MXV USD USN VED XAD XCD XCG ZWG", 2},
		{"BHD IQD JOD KWD LYD OMR TND", 3},
		{"CLF UYW", 4},
	};
	int			found[BANK_MAX_EXPONENT + 1] = {0};
	size_t		i;
	int			c;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *code;

		for (code = cases[i].codes; *code != '\0'; code += (code[3] == ' ') ? 4 : 3)
		{
			char		name[40];

			(void) snprintf(name, sizeof(name), "decimals of %.3s", code);
			check_int(bank_currency_exponent(code), cases[i].exponent, name);
		}
	}

	for (c = 0; c < bank_currency_count(); c++)
		found[bank_currency_exponent(bank_currency_code(c))]++;
	check_int(found[0], 17, "17 currencies without decimals");
	check_int(found[1], 0, "none with one");
	check_int(found[3], 7, "7 currencies with three");
	check_int(found[4], 2, "2 currencies with four");
	check_int(bank_currency_count(), 165, "165 currencies in all");
}

/* Strictly ascending, three capital letters each, each found by its own lookup. */
static void
test_table(void)
{
	bool		ascending = true;
	bool		letters = true;
	bool		found = true;
	int			c;
	int			i;

	for (c = 0; c < bank_currency_count(); c++)
	{
		const char *code = bank_currency_code(c);
		int			exponent = bank_currency_exponent(code);

		if (c > 0 && strcmp(bank_currency_code(c - 1), code) >= 0)
			ascending = false;
		for (i = 0; i < 3; i++)
		{
			if (code[i] < 'A' || code[i] > 'Z')
				letters = false;
		}
		if (code[3] != '\0')
			letters = false;
		if (exponent < 0 || exponent > BANK_MAX_EXPONENT)
			found = false;
	}
	check(ascending, "codes ascend, none twice");
	check(letters, "codes are three capital letters");
	check(found, "every code is found");
}

/* Every other combination of three letters is unknown: the lookup finds nothing else. */
static void
test_unknown(void)
{
	static const char *const unknown[] = {
		"XAU", "XAG", "XPT", "XPD", "XXX", "XTS", "XDR", "XSU", "XUA", "XBA", "XBB", "XBC", "XBD",
		"ANG", "BGN", "CUC", "HRK", "SLL", "ZWL", "FRF", "DEM", "htg", "Htg", "ZZZ", "AAA", "   "
	};
	int			known = 0;
	size_t		i;
	char		code[3];

	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
	{
		char		name[40];

		(void) snprintf(name, sizeof(name), "'%s' is unknown", unknown[i]);
		check_int(bank_currency_exponent(unknown[i]), -1, name);
	}
	for (code[0] = 'A'; code[0] <= 'Z'; code[0]++)
	{
		for (code[1] = 'A'; code[1] <= 'Z'; code[1]++)
		{
			for (code[2] = 'A'; code[2] <= 'Z'; code[2]++)
			{
				if (bank_currency_exponent(code) >= 0)
					known++;
			}
		}
	}
	check_int(known, bank_currency_count(), "no other letters are a currency");
}

/* Codes from outside: any length, any bytes. */
static void
test_find(void)
{
	static const struct
	{
		const char *code;
		size_t		len;
		const char *detail;
		const char *hint;
	}			cases[] = {
		{"XAU", 3, "\"XAU\" is not a currency of ISO 4217.", ""},
		{"htg", 3, "\"htg\" is not a currency of ISO 4217.",
		"Write the currency in capital letters: \"HTG\"."},
		{"Usd", 3, "\"Usd\" is not a currency of ISO 4217.",
		"Write the currency in capital letters: \"USD\"."},
		{"zzz", 3, "\"zzz\" is not a currency of ISO 4217.", ""},
		{"HT", 2, "\"HT\" is not a currency of ISO 4217.", ""},
		{"HTGX", 4, "\"HTGX\" is not a currency of ISO 4217.", ""},
		{"%s%n", 4, "\"%s%n\" is not a currency of ISO 4217.", ""},
		{"", 0, "A currency is given by its three letters in ISO 4217.", ""},
		{"H G", 3, "A currency is given by its three letters in ISO 4217.", ""},
		{"H\xC3\xA9", 3, "A currency is given by its three letters in ISO 4217.", ""},
		{"HT\0", 3, "A currency is given by its three letters in ISO 4217.", ""},
		{"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz", 52,
		"\"abcdefghijklmnopqrstuvwxyzabcdefghijklmn...\" is not a currency of ISO 4217.", ""},
	};
	BankError	error;
	int			exponent = 7;
	size_t		i;

	check(bank_currency_find("KWD and more", 3, &exponent, &error) && exponent == 3,
		  "three letters of a longer text");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		check(!bank_currency_find(cases[i].code, cases[i].len, &exponent, &error) &&
			  error.code == BANK_UNKNOWN_CURRENCY, "code %zu is refused", i);
		check_text(error.detail, cases[i].detail, "its detail");
		check_text(error.hint, cases[i].hint, "its hint");
	}
}

int
main(void)
{
	test_exponents();
	test_table();
	test_unknown();
	test_find();
	return check_done();
}
