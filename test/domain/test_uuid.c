/*
 * test_uuid.c
 *		Identifiers: the layouts of versions 7 and 8, text, order.
 */
#include "check.h"
#include "domain/uuid.h"

/* The test vector of RFC 9562, appendix A.6: 2022-02-22 14:22:22.00 -05:00. */
static void
test_vector(void)
{
	static const uint8_t random[10] = {0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
	BankUuid	uuid;
	char		text[BANK_UUID_TEXT];

	bank_uuid_v7(UINT64_C(1645557742000), random, &uuid);
	bank_uuid_format(&uuid, text);
	check_text(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "version 7, vector of the RFC");
}

/* Whatever the random bits are: version and variant are right, the rest is theirs. */
static void
test_version_7_bits(void)
{
	uint64_t	state = 1;
	bool		sound = true;
	int			trial;

	for (trial = 0; trial < 10000 && sound; trial++)
	{
		uint64_t	time = check_random(&state) >> 16;
		uint8_t		random[10];
		BankUuid	uuid;
		uint64_t	read = 0;
		int			i;

		for (i = 0; i < 10; i++)
			random[i] = (uint8_t) check_random(&state);
		bank_uuid_v7(time, random, &uuid);
		for (i = 0; i < 6; i++)
			read = read << 8 | uuid.bytes[i];
		sound = read == time && uuid.bytes[6] >> 4 == 7 && uuid.bytes[8] >> 6 == 2 &&
			(uuid.bytes[6] & 0x0F) == (random[0] & 0x0F) && uuid.bytes[7] == random[1] &&
			(uuid.bytes[8] & 0x3F) == (random[2] & 0x3F) &&
			memcmp(uuid.bytes + 9, random + 3, 7) == 0 && !bank_uuid_is_house(&uuid);
	}
	check(sound, "version 7: 48 bits of time, version, variant, 74 random bits");
}

/* A later millisecond sorts after an earlier one, whatever the random bits are. */
static void
test_version_7_order(void)
{
	static const uint8_t low[10];
	static const uint8_t high[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
	static const uint64_t times[] = {0, 1, 255, 256, UINT64_C(1645557742000),
	UINT64_C(1645557742001), (UINT64_C(1) << 48) - 1};
	bool		sorted = true;
	size_t		i;

	for (i = 1; i < sizeof(times) / sizeof(times[0]); i++)
	{
		BankUuid	earlier;
		BankUuid	later;

		bank_uuid_v7(times[i - 1], high, &earlier);
		bank_uuid_v7(times[i], low, &later);
		sorted = sorted && bank_uuid_compare(&earlier, &later) < 0 &&
			bank_uuid_compare(&later, &earlier) > 0 && !bank_uuid_equal(&earlier, &later);
	}
	check(sorted, "version 7 sorts by time");
}

/* Identifiers of house accounts: version 8, and recognised as such; nothing else is. */
static void
test_house(void)
{
	static const uint8_t digest[12] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
	BankUuid	uuid;
	char		text[BANK_UUID_TEXT];

	bank_uuid_house(digest, &uuid);
	bank_uuid_format(&uuid, text);
	check_text(text, "62616e6b-ffff-8fff-bfff-ffffffffffff", "house account: \"bank\", version 8");
	check(bank_uuid_is_house(&uuid), "a house account's identifier is known as one");
	uuid.bytes[6] = (uint8_t) ((uuid.bytes[6] & 0x0F) | 0x70);
	check(!bank_uuid_is_house(&uuid), "version 7 is no house account");
	bank_uuid_house(digest, &uuid);
	uuid.bytes[0] ^= 1;
	check(!bank_uuid_is_house(&uuid), "another vendor's version 8 is no house account");
}

int
main(void)
{
	static const BankUuid nil;
	char		text[BANK_UUID_TEXT];

	test_vector();
	test_version_7_bits();
	test_version_7_order();
	test_house();
	bank_uuid_format(&nil, text);
	check_text(text, "00000000-0000-0000-0000-000000000000", "nil");
	check_int((int64_t) strlen(text), BANK_UUID_TEXT - 1, "length of the text");
	return check_done();
}
