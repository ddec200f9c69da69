/*
 * test_account_number.c
 *		Check digits of account numbers: known numbers, and every kind of slip that
 *		ISO 7064 MOD 97-10 promises to find.
 */
#include "check.h"
#include "domain/account_number.h"

/* Numbers worked out apart from the code: 98 - (serial * 100 mod 97). */
static void
test_known(void)
{
	static const struct
	{
		int64_t		serial;
		const char *number;
	}			cases[] = {
		{1, "000000000195"},
		{2, "000000000292"},
		{794, "000000079444"},	/* the example of ISO 7064 */
		{33, "000000003396"},
		{97, "000000009798"},
		{1234567890, "123456789092"},
		{BANK_ACCOUNT_SERIAL_MAX, "999999999951"},
	};
	size_t		i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		number[BANK_ACCOUNT_NUMBER_TEXT] = "";
		char		name[64];

		(void) snprintf(name, sizeof(name), "number of serial %" PRId64, cases[i].serial);
		bank_account_number_make(cases[i].serial, number);
		check_text(number, cases[i].number, name);
	}
}

/* A serial that does not fit makes no number. */
static void
test_range(void)
{
	static const int64_t serials[] = {0, -1, BANK_ACCOUNT_SERIAL_MAX + 1, INT64_MIN, INT64_MAX};
	char		number[BANK_ACCOUNT_NUMBER_TEXT];
	size_t		i;

	for (i = 0; i < sizeof(serials) / sizeof(serials[0]); i++)
		check(!bank_account_number_make(serials[i], number), "serial %" PRId64 " is out of range",
			  serials[i]);
}

/* Every number checks, and gives its serial back. */
static void
test_round_trip(void)
{
	uint64_t	state = 1;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 20000 && sound; trial++)
	{
		int64_t		serial = trial < 1000 ? trial + 1 :
			(int64_t) (check_random(&state) % (uint64_t) BANK_ACCOUNT_SERIAL_MAX) + 1;
		char		number[BANK_ACCOUNT_NUMBER_TEXT];

		sound = bank_account_number_make(serial, number) &&
			strlen(number) == BANK_ACCOUNT_NUMBER_LENGTH &&
			bank_account_number_check(number, BANK_ACCOUNT_NUMBER_LENGTH) &&
			bank_account_number_serial(number, BANK_ACCOUNT_NUMBER_LENGTH) == serial;
		if (!sound)
			printf("# serial %" PRId64 ", number %s\n", serial, number);
	}
	check(sound, "numbers check and give their serials back");
}

/* Is this slip noticed? The number is put back. */
static bool
test_noticed(char *number, int i, char a, int j, char b)
{
	char		old_i = number[i];
	char		old_j = number[j];
	bool		noticed;

	number[i] = a;
	number[j] = b;
	noticed = !bank_account_number_check(number, BANK_ACCOUNT_NUMBER_LENGTH);
	if (!noticed)
		printf("# %s is not noticed\n", number);
	number[i] = old_i;
	number[j] = old_j;
	return noticed;
}

/* Every wrong digit, every swap of neighbours and every swap around a digit, in many numbers. */
static void
test_slips(void)
{
	uint64_t	state = 2;
	bool		digits = true;
	bool		neighbours = true;
	bool		jumps = true;
	int			trial;

	for (trial = 0; trial < 2000; trial++)
	{
		char		number[BANK_ACCOUNT_NUMBER_TEXT];
		int			i;

		bank_account_number_make((int64_t) (check_random(&state) %
											(uint64_t) BANK_ACCOUNT_SERIAL_MAX) + 1, number);
		for (i = 0; i < BANK_ACCOUNT_NUMBER_LENGTH; i++)
		{
			char		digit;

			for (digit = '0'; digit <= '9'; digit++)
			{
				if (digit != number[i])
					digits = test_noticed(number, i, digit, i, digit) && digits;
			}
			if (i > 0 && number[i] != number[i - 1])
				neighbours = test_noticed(number, i, number[i - 1], i - 1, number[i]) &&
					neighbours;
			if (i > 1 && number[i] != number[i - 2])
				jumps = test_noticed(number, i, number[i - 2], i - 2, number[i]) && jumps;
		}
	}
	check(digits, "every wrong digit is noticed");
	check(neighbours, "every swap of neighbours is noticed");
	check(jumps, "every swap around one digit is noticed");
}

/* What is no number at all. */
static void
test_malformed(void)
{
	static const char *const texts[] = {
		"", "0", "00000000019", "0000000001950", " 00000000195", "00000000019 ", "00000000019x",
		"-00000000195", "+0000000195", "0x0000000195", "000000000195\n", "00000000.195",
		"000000000001", "000000000098", "\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa0\xd9\xa1",
	};
	size_t		i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check(!bank_account_number_check(texts[i], strlen(texts[i])), "malformed number %d",
			  (int) i);
	check(!bank_account_number_check("00000000019\0", 12), "a zero byte is no digit");
	check_int(bank_account_number_serial("000000000196", 12), 0, "wrong digits give no serial");
}

int
main(void)
{
	test_known();
	test_range();
	test_round_trip();
	test_slips();
	test_malformed();
	return check_done();
}
