/*
 * protocol.c
 *		The messages between ledgers, see docs/protocol.md: writes requests, reads answers.
 *
 * JSON in UTF-8, whatever the database's encoding is. Runs in a transaction of the worker.
 */
#include "postgres.h"

#include "adapters/relay/exchange.h"
#include "domain/currency.h"
#include "domain/money.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

/* Write a request, in this context. */
const char *
bank_protocol_request(const BankTransfer *transfer, BankTransferAction action,
					  MemoryContext context, size_t *len)
{
	StringInfoData text;
	char		id[BANK_UUID_TEXT];
	const char *utf8;

	bank_uuid_format(&transfer->id, id);
	initStringInfo(&text);
	appendStringInfo(&text, "{\"protocol\":\"banking-transfer/1\",\"action\":\"%s\","
					 "\"transfer_id\":\"%s\"", bank_transfer_action_name(action), id);
	if (action == BANK_ACTION_RECEIVE)
	{
		char		amount[BANK_MONEY_TEXT];

		bank_minor_format(transfer->amount, bank_currency_exponent(transfer->currency), amount);
		appendStringInfo(&text, ",\"amount\":\"%s\",\"currency\":\"%.3s\",\"to_account\":",
						 amount, transfer->currency);
		escape_json(&text, transfer->destination);
	}
	appendStringInfoChar(&text, '}');
	utf8 = pg_server_to_any(text.data, text.len, PG_UTF8);
	*len = strlen(utf8);
	return MemoryContextStrdup(context, utf8);
}

/* A member of an object that is a string: copied, without control characters; else "". */
static void
bank_protocol_member(Jsonb *object, const char *name, char *text, size_t size)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&object->root, name, strlen(name), &buffer);
	size_t		len;
	char	   *c;

	text[0] = '\0';
	if (value == NULL || value->type != jbvString)
		return;
	len = pg_mbcliplen(value->val.string.val, value->val.string.len, size - 1);
	memcpy(text, value->val.string.val, len);
	text[len] = '\0';
	for (c = text; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			*c = ' ';
	}
}

/*
 * Read an answer about this transfer. Anything that is none leaves BANK_ANSWER_NONE, or
 * raises what the server says about JSON that is malformed.
 */
void
bank_protocol_reply(const char *text, size_t len, const BankUuid *transfer_id, BankReply *reply)
{
	char		id[64];
	char		status[16];
	char		code[32];
	char	   *copy;
	Jsonb	   *object;
	BankUuid	answered;

	memset(reply, 0, sizeof(*reply));
	reply->answer = BANK_ANSWER_NONE;
	if (len == 0 || memchr(text, '\0', len) != NULL)
		return;
	copy = pg_any_to_server(pnstrdup(text, len), len, PG_UTF8);
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
	if (!JB_ROOT_IS_OBJECT(object))
		return;
	bank_protocol_member(object, "transfer_id", id, sizeof(id));
	if (!bank_uuid_parse(id, &answered) || !bank_uuid_equal(&answered, transfer_id))
		return;
	bank_protocol_member(object, "status", status, sizeof(status));
	reply->answer = bank_transfer_answer_parse(status, strlen(status));
	if (reply->answer == BANK_ANSWER_NONE)
		return;
	bank_protocol_member(object, "code", code, sizeof(code));
	if (strlen(code) < sizeof(reply->code))
		strlcpy(reply->code, code, sizeof(reply->code));
	bank_protocol_member(object, "message", reply->reason, sizeof(reply->reason));
}
