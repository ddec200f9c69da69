/*
 * hmac.c
 *		HMAC-SHA-256 (RFC 2104, FIPS 180-4) for tests: the worker has PostgreSQL's.
 */
#include "hmac.h"

#include <string.h>

#define BLOCK 64

typedef struct Sha256
{
	uint32_t	state[8];
	uint8_t		block[BLOCK];
	size_t		in_block;
	uint64_t	len;
} Sha256;

/* The first 32 bits behind the point of the cube roots of the first 64 primes. */
static const uint32_t k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static uint32_t
rotate(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void
sha256_init(Sha256 *sha)
{
	static const uint32_t first[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
	};

	memset(sha, 0, sizeof(*sha));
	memcpy(sha->state, first, sizeof(first));
}

static void
sha256_block(Sha256 *sha)
{
	uint32_t	w[64];
	uint32_t	s[8];
	int			i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t) sha->block[4 * i] << 24 | (uint32_t) sha->block[4 * i + 1] << 16 |
			(uint32_t) sha->block[4 * i + 2] << 8 | sha->block[4 * i + 3];
	for (; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
			(rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
			(rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, sha->state, sizeof(s));
	for (i = 0; i < 64; i++)
	{
		uint32_t	t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
		uint32_t	t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		sha->state[i] += s[i];
	sha->in_block = 0;
}

static void
sha256_add(Sha256 *sha, const void *bytes, size_t len)
{
	const uint8_t *next = bytes;

	sha->len += len;
	while (len-- > 0)
	{
		sha->block[sha->in_block++] = *next++;
		if (sha->in_block == BLOCK)
			sha256_block(sha);
	}
}

static void
sha256_end(Sha256 *sha, uint8_t digest[32])
{
	uint64_t	bits = sha->len * 8;
	uint8_t		length[8];
	int			i;

	sha256_add(sha, "\x80", 1);
	while (sha->in_block != BLOCK - 8)
		sha256_add(sha, "", 1);
	for (i = 0; i < 8; i++)
		length[i] = (uint8_t) (bits >> (56 - 8 * i));
	sha256_add(sha, length, 8);
	for (i = 0; i < 32; i++)
		digest[i] = (uint8_t) (sha->state[i / 4] >> (24 - 8 * (i % 4)));
}

/* BankSinkHost.hmac_sha256, for keys of at most a block. */
bool
hmac_sha256(const BankSinkSecret *key, const void *const *parts, const size_t *lens, int n_parts,
			uint8_t mac[32])
{
	Sha256		sha;
	uint8_t		pad[BLOCK];
	int			outer;
	int			i;

	if (key->len > BLOCK)
		return false;
	for (outer = 0; outer <= 1; outer++)
	{
		memset(pad, 0, sizeof(pad));
		memcpy(pad, key->bytes, key->len);
		for (i = 0; i < BLOCK; i++)
			pad[i] ^= outer ? 0x5c : 0x36;
		sha256_init(&sha);
		sha256_add(&sha, pad, BLOCK);
		if (outer)
			sha256_add(&sha, mac, 32);
		else
		{
			for (i = 0; i < n_parts; i++)
				sha256_add(&sha, parts[i], lens[i]);
		}
		sha256_end(&sha, mac);
	}
	return true;
}
