/*
 * webhook.c
 *		Checks signatures of messages by the rules of Standard Webhooks.
 *
 * No locks, no transactions. Memory: the caller's context.
 */
#include "postgres.h"

#include "adapters/pg_compat.h"

#include "common/base64.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(bank_sql_webhook_signed);

/* "v1," and the base64 form of an HMAC-SHA-256. */
#define BANK_SIGNATURE_SIZE 47

/* Add a text to what is signed. */
static void
bank_webhook_add(pg_hmac_ctx *hmac, const char *bytes, size_t len)
{
	if (pg_hmac_update(hmac, (const uint8 *) bytes, len) < 0)
		elog(ERROR, "could not compute an HMAC: %s", pg_hmac_error(hmac));
}

/* The signature of a message: of id.timestamp.body, as Standard Webhooks 1.0 says. */
static void
bank_webhook_sign(const bytea *secret, const text *const *parts,
				  char signature[BANK_SIGNATURE_SIZE])
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	uint8		mac[PG_SHA256_DIGEST_LENGTH];
	int			i;
	int			len;

	if (pg_hmac_init(hmac, (const uint8 *) VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret)) < 0)
		elog(ERROR, "could not compute an HMAC: %s", pg_hmac_error(hmac));
	for (i = 0; i < 3; i++)
	{
		if (i > 0)
			bank_webhook_add(hmac, ".", 1);
		bank_webhook_add(hmac, VARDATA_ANY(parts[i]), VARSIZE_ANY_EXHDR(parts[i]));
	}
	if (pg_hmac_final(hmac, mac, sizeof(mac)) < 0)
		elog(ERROR, "could not compute an HMAC: %s", pg_hmac_error(hmac));
	pg_hmac_free(hmac);
	memcpy(signature, "v1,", 3);
	len = pg_b64_encode((const void *) mac, sizeof(mac), signature + 3, BANK_SIGNATURE_SIZE - 3);
	if (len != BANK_SIGNATURE_SIZE - 3)
		elog(ERROR, "could not encode a signature");
}

/* bank.webhook_signed(secret, message_id, message_timestamp, body, signatures) */
Datum
bank_sql_webhook_signed(PG_FUNCTION_ARGS)
{
	const bytea *secret = PG_GETARG_BYTEA_PP(0);
	const text *const parts[] = {PG_GETARG_TEXT_PP(1), PG_GETARG_TEXT_PP(2), PG_GETARG_TEXT_PP(3)};
	const text *signatures = PG_GETARG_TEXT_PP(4);
	const char *given = VARDATA_ANY(signatures);
	const char *end = given + VARSIZE_ANY_EXHDR(signatures);
	char		expected[BANK_SIGNATURE_SIZE];
	bool		found = false;

	bank_webhook_sign(secret, parts, expected);
	while (given < end)
	{
		const char *space = memchr(given, ' ', end - given);
		size_t		len = (space != NULL ? space : end) - given;
		uint8		different = len != BANK_SIGNATURE_SIZE;
		size_t		i;

		/* as long for any signature of the right length */
		for (i = 0; i < BANK_SIGNATURE_SIZE && len == BANK_SIGNATURE_SIZE; i++)
			different |= (uint8) (given[i] ^ expected[i]);
		found |= different == 0;
		given += len + 1;
	}
	PG_RETURN_BOOL(found);
}
