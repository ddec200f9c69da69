/*
 * json_command.c
 *		Which commands there are as JSON, what each may say, and reading them.
 *
 * A malformed command is refused with BK025 and the JSON pointer (RFC 6901) of the member at
 * fault. No locks, no transactions of its own. Memory: the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/json_command.h"
#include "adapters/store/store.h"
#include "application/accounts.h"
#include "application/holds.h"
#include "application/movements.h"
#include "application/transfers.h"
#include "ports/event_store.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

typedef enum BankKind
{
	KIND_UUID,
	KIND_MONEY,
	KIND_TEXT,
	KIND_TIME,
	KIND_SPAN,
	KIND_INTEGER,
	KIND_BOOLEAN,
	KIND_OBJECT
} BankKind;

static const struct
{
	const char *name;
	BankKind	kind;
}			bank_members[] = {
#define X(name, kind) {#name, KIND_##kind},
	BANK_MEMBERS(X)
#undef X
};

/* {"command": "create_account"} */
static bool
bank_json_create_account(const BankJsonCommand *command, const BankOptions *options,
						 BankOutcome *outcome, BankError *error)
{
	BankNewAccount arguments = {ID(owner_id), STRING(account_type), STRING(currency),
		ID(account_id), MONEY(overdraft_limit), MONEY(balance_limit)};

	return bank_accounts_create(&arguments, options, outcome, error);
}

/* {"command": "create_house_account"} */
static bool
bank_json_create_house_account(const BankJsonCommand *command, const BankOptions *options,
							   BankOutcome *outcome, BankError *error)
{
	return bank_accounts_create_house(STRING(code), STRING(currency), options, outcome, error);
}

/* The house account of a deposit or withdrawal. */
static const char *
bank_json_house(const BankJsonCommand *command)
{
	return command->values[MEMBER_house_account].given ? STRING(house_account) : "cash";
}

/* {"command": "deposit"} */
static bool
bank_json_deposit(const BankJsonCommand *command, const BankOptions *options,
				  BankOutcome *outcome, BankError *error)
{
	return bank_movements_deposit(ID(account_id), MONEY(amount), bank_json_house(command), options,
								  outcome, error);
}

/* {"command": "withdraw"} */
static bool
bank_json_withdraw(const BankJsonCommand *command, const BankOptions *options,
				   BankOutcome *outcome, BankError *error)
{
	return bank_movements_withdraw(ID(account_id), MONEY(amount), bank_json_house(command),
								   options, outcome, error);
}

/* {"command": "transfer"} */
static bool
bank_json_transfer(const BankJsonCommand *command, const BankOptions *options,
				   BankOutcome *outcome, BankError *error)
{
	return bank_movements_transfer(ID(from_account), ID(to_account), STRING(to_account_number),
								   MONEY(amount), options, outcome, error);
}

/* {"command": "freeze"} */
static bool
bank_json_freeze(const BankJsonCommand *command, const BankOptions *options, BankOutcome *outcome,
				 BankError *error)
{
	return bank_accounts_freeze(ID(account_id), options, outcome, error);
}

/* {"command": "unfreeze"} */
static bool
bank_json_unfreeze(const BankJsonCommand *command, const BankOptions *options,
				   BankOutcome *outcome, BankError *error)
{
	return bank_accounts_unfreeze(ID(account_id), options, outcome, error);
}

/* {"command": "close"} */
static bool
bank_json_close(const BankJsonCommand *command, const BankOptions *options, BankOutcome *outcome,
				BankError *error)
{
	return bank_accounts_close(ID(account_id), options, outcome, error);
}

/* {"command": "set_limits"} */
static bool
bank_json_set_limits(const BankJsonCommand *command, const BankOptions *options,
					 BankOutcome *outcome, BankError *error)
{
	return bank_accounts_set_limits(ID(account_id), MONEY(overdraft_limit), MONEY(balance_limit),
									command->values[MEMBER_remove_balance_limit].integer != 0,
									options, outcome, error);
}

/* {"command": "hold"} */
static bool
bank_json_hold(const BankJsonCommand *command, const BankOptions *options, BankOutcome *outcome,
			   BankError *error)
{
	const BankValue *expires_in = &command->values[MEMBER_expires_in];
	int64_t		duration = expires_in->given ? expires_in->integer : BANK_HOLD_DEFAULT;

	return bank_holds_create(ID(account_id), MONEY(amount), &duration, options, outcome, error);
}

/* {"command": "capture"} */
static bool
bank_json_capture(const BankJsonCommand *command, const BankOptions *options,
				  BankOutcome *outcome, BankError *error)
{
	return bank_holds_capture(ID(hold_id), MONEY(amount), ID(to_account),
							  bank_json_house(command), options, outcome, error);
}

/* {"command": "release"} */
static bool
bank_json_release(const BankJsonCommand *command, const BankOptions *options,
				  BankOutcome *outcome, BankError *error)
{
	return bank_holds_release(ID(hold_id), options, outcome, error);
}

/* {"command": "send"} */
static bool
bank_json_send(const BankJsonCommand *command, const BankOptions *options, BankOutcome *outcome,
			   BankError *error)
{
	const BankValue *deadline_in = &command->values[MEMBER_deadline_in];
	int64_t		duration = deadline_in->integer;
	BankNewTransfer arguments = {ID(from_account), MONEY(amount), STRING(participant),
		STRING(destination), deadline_in->given ? &duration : NULL};

	return bank_transfers_send(&arguments, options, outcome, error);
}

/* {"command": "cancel_transfer"} */
static bool
bank_json_cancel_transfer(const BankJsonCommand *command, const BankOptions *options,
						  BankOutcome *outcome, BankError *error)
{
	return bank_transfers_cancel(ID(transfer_id), options, outcome, error);
}

/* {"command": "resolve_transfer"} */
static bool
bank_json_resolve_transfer(const BankJsonCommand *command, const BankOptions *options,
						   BankOutcome *outcome, BankError *error)
{
	return bank_transfers_resolve(ID(transfer_id), STRING(state), STRING(reason), options,
								  outcome, error);
}

/* {"command": "receive"} */
static bool
bank_json_receive(const BankJsonCommand *command, const BankOptions *options,
				  BankOutcome *outcome, BankError *error)
{
	BankIncoming arguments = {ID(transfer_id), ID(to_account), MONEY(amount),
		STRING(participant), "external", NULL};

	if (command->values[MEMBER_house_account].given)
		arguments.house_account = STRING(house_account);
	return bank_transfers_receive(&arguments, options, outcome, error);
}

/* {"command": "cancel_received"} */
static bool
bank_json_cancel_received(const BankJsonCommand *command, const BankOptions *options,
						  BankOutcome *outcome, BankError *error)
{
	return bank_transfers_cancel_received(ID(transfer_id), STRING(participant), false, options,
										  outcome, error);
}

#define MASK(member) (1U << MEMBER_##member)
#define OPTION_MASK (MASK(expected_version) | MASK(idempotency_key) | MASK(occurred_at) | \
					 MASK(metadata))

/* Every command: the members it needs, and those it can have besides the four options. */
static const struct
{
	const char *name;
	BankJsonUseCase run;
	uint32		required;
	uint32		optional;
}			bank_json_commands[] = {
	{"create_account", bank_json_create_account,
		MASK(owner_id) | MASK(account_type) | MASK(currency),
	MASK(account_id) | MASK(overdraft_limit) | MASK(balance_limit)},
	{"create_house_account", bank_json_create_house_account, MASK(code) | MASK(currency), 0},
	{"deposit", bank_json_deposit, MASK(account_id) | MASK(amount), MASK(house_account)},
	{"withdraw", bank_json_withdraw, MASK(account_id) | MASK(amount), MASK(house_account)},
	{"transfer", bank_json_transfer,
		MASK(from_account) | MASK(amount), MASK(to_account) | MASK(to_account_number)},
	{"freeze", bank_json_freeze, MASK(account_id), 0},
	{"unfreeze", bank_json_unfreeze, MASK(account_id), 0},
	{"close", bank_json_close, MASK(account_id), 0},
	{"set_limits", bank_json_set_limits, MASK(account_id),
	MASK(overdraft_limit) | MASK(balance_limit) | MASK(remove_balance_limit)},
	{"hold", bank_json_hold, MASK(account_id) | MASK(amount), MASK(expires_in)},
	{"capture", bank_json_capture, MASK(hold_id),
	MASK(amount) | MASK(to_account) | MASK(house_account)},
	{"release", bank_json_release, MASK(hold_id), 0},
	{"send", bank_json_send,
		MASK(from_account) | MASK(amount) | MASK(participant) | MASK(destination),
	MASK(deadline_in)},
	{"cancel_transfer", bank_json_cancel_transfer, MASK(transfer_id), 0},
	{"resolve_transfer", bank_json_resolve_transfer, MASK(transfer_id) | MASK(state),
	MASK(reason)},
	{"receive", bank_json_receive, MASK(transfer_id) | MASK(to_account) | MASK(amount),
	MASK(participant) | MASK(house_account)},
	{"cancel_received", bank_json_cancel_received, MASK(transfer_id), MASK(participant)},
};

/* Refuse a command for one of its members; always false. The name is cut, and escaped by JSON. */
bool
bank_json_malformed(BankJsonCommand *command, const char *member, const char *detail)
{
	const char *c;
	size_t		len = 0;

	/* JSON pointer: "" is the whole, "~" is written "~0", "/" is written "~1" */
	if (*member != '\0')
		command->path[len++] = '/';
	for (c = member; *c != '\0' && len < sizeof(command->path) - 3; c++)
	{
		if (*c == '~' || *c == '/')
		{
			command->path[len++] = '~';
			command->path[len++] = *c == '~' ? '0' : '1';
		}
		else
			command->path[len++] = *c;
	}
	command->path[len] = '\0';
	return bank_error_set(&command->error, BANK_INVALID_COMMAND, "%s", detail);
}

/* Read a time in any form that timestamptz takes; false when it is none. */
static bool
bank_json_time(const char *text, int64 *time)
{
	char		buffer[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;
	int			type;
	int			zone;
	fsec_t		fraction;
	struct pg_tm tm;

	return strlen(text) <= MAXDATELEN &&
		ParseDateTime(text, buffer, sizeof(buffer), fields, types, MAXDATEFIELDS, &n) == 0 &&
		bank_decode_datetime(fields, types, n, &type, &tm, &fraction, &zone) == 0 &&
		type == DTK_DATE && tm2timestamp(&tm, fraction, &zone, time) == 0;
}

/* Read a time span as type interval does, in microseconds; false when it is none. */
static bool
bank_json_span(const char *text, int64 *span)
{
	char		buffer[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;
	int			type;
	struct pg_itm_in parts;

	if (strlen(text) > MAXDATELEN)
		return false;
	if (ParseDateTime(text, buffer, sizeof(buffer), fields, types, MAXDATEFIELDS, &n) != 0 ||
		DecodeInterval(fields, types, n, INTERVAL_FULL_RANGE, &type, &parts) != 0)
	{
		if (DecodeISO8601Interval(unconstify(char *, text), &type, &parts) != 0)
			return false;
	}
	if (type != DTK_DELTA)
		return false;
	*span = bank_interval_microseconds(parts.tm_usec, parts.tm_mday,
									   parts.tm_mon + INT64CONST(12) * parts.tm_year);
	return true;
}

/* Read the value of a member according to its kind. */
static bool
bank_json_value(BankJsonCommand *command, BankMember member, const JsonbValue *json)
{
	const char *name = bank_members[member].name;
	BankValue  *value = &command->values[member];
	BankKind	kind = bank_members[member].kind;
	BankParse	parsed;

	if (json->type == jbvNull)
		return true;
	value->given = true;
	if (kind == KIND_UUID || kind == KIND_MONEY || kind == KIND_TEXT || kind == KIND_TIME ||
		kind == KIND_SPAN)
	{
		if (json->type != jbvString)
			return bank_json_malformed(command, name, "A string is expected.");
		value->text = pnstrdup(json->val.string.val, json->val.string.len);
	}
	switch (kind)
	{
		case KIND_UUID:
			return bank_uuid_parse(value->text, &value->uuid) ||
				bank_json_malformed(command, name, "A UUID is expected.");
		case KIND_MONEY:
			parsed = bank_money_parse(value->text, strlen(value->text), &value->money,
									  &command->error);
			if (parsed == BANK_PARSE_OK)
				return true;
			if (parsed == BANK_PARSE_SYNTAX)
				return bank_json_malformed(command, name,
										   "Money such as \"100.00 HTG\" is expected.");
			snprintf(command->path, sizeof(command->path), "/%s", name);
			return false;
		case KIND_TEXT:
			return true;
		case KIND_TIME:
			return bank_json_time(value->text, &value->integer) ||
				bank_json_malformed(command, name,
									"A time such as \"2026-01-31T12:00:00Z\" is expected.");
		case KIND_SPAN:
			return bank_json_span(value->text, &value->integer) ||
				bank_json_malformed(command, name,
									"A time span such as \"7 days\" is expected.");
		case KIND_INTEGER:
			if (json->type == jbvNumeric)
			{
				char	   *digits = numeric_normalize(json->val.numeric);
				char	   *end;

				errno = 0;
				value->integer = strtoi64(digits, &end, 10);
				if (errno == 0 && *end == '\0')
					return true;
			}
			return bank_json_malformed(command, name, "A whole number is expected.");
		case KIND_BOOLEAN:
			if (json->type != jbvBool)
				return bank_json_malformed(command, name, "true or false is expected.");
			value->integer = json->val.boolean;
			return true;
		case KIND_OBJECT:
			if (json->type == jbvBinary && JsonContainerIsObject(json->val.binary.data))
			{
				value->object = JsonbValueToJsonb(unconstify(JsonbValue *, json));
				return true;
			}
			return bank_json_malformed(command, name, "An object is expected.");
	}
	return false;
}

/* Which member has this name? BANK_MEMBER_COUNT: none. */
static BankMember
bank_json_member_find(const char *name)
{
	int			i;

	for (i = 0; i < BANK_MEMBER_COUNT; i++)
	{
		if (strcmp(bank_members[i].name, name) == 0)
			break;
	}
	return (BankMember) i;
}

/* Read a command; false with error and path when it is malformed. BK008, BK014, BK025. */
bool
bank_json_read(Jsonb *json, BankJsonCommand *command)
{
	JsonbValue	buffer;
	JsonbValue	item;
	JsonbValue *name;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	uint32		allowed = 0;
	uint32		required = 0;
	size_t		i;
	int			member;

	memset(command, 0, sizeof(*command));
	if (!JB_ROOT_IS_OBJECT(json))
		return bank_json_malformed(command, "", "A command is a JSON object.");
	name = getKeyJsonValueFromContainer(&json->root, "command", 7, &buffer);
	if (name == NULL || name->type != jbvString)
		return bank_json_malformed(command, "command", "The name of a command is expected.");
	command->name = pnstrdup(name->val.string.val, name->val.string.len);
	for (i = 0; i < lengthof(bank_json_commands); i++)
	{
		if (strcmp(bank_json_commands[i].name, command->name) == 0)
		{
			command->run = bank_json_commands[i].run;
			required = bank_json_commands[i].required;
			allowed = required | bank_json_commands[i].optional | OPTION_MASK;
		}
	}
	if (command->run == NULL)
		return bank_json_malformed(command, "command", "There is no such command.");

	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(item.val.string.val, item.val.string.len);
		(void) JsonbIteratorNext(&iterator, &item, true);
		member = bank_json_member_find(key);
		if (strcmp(key, "command") == 0)
			continue;
		if (member == BANK_MEMBER_COUNT || (allowed & (1U << member)) == 0)
			return bank_json_malformed(command, key, "This command has no such member.");
		if (!bank_json_value(command, (BankMember) member, &item))
			return false;
	}
	for (member = 0; member < BANK_MEMBER_COUNT; member++)
	{
		if ((required & (1U << member)) != 0 && !command->values[member].given)
			return bank_json_malformed(command, bank_members[member].name,
									   "This command needs it.");
	}
	if (command->run == bank_json_transfer && !command->values[MEMBER_to_account].given &&
		!command->values[MEMBER_to_account_number].given)
		return bank_json_malformed(command, "to_account", "This command needs it.");
	if (command->values[MEMBER_to_account].given &&
		command->values[MEMBER_to_account_number].given)
		return bank_json_malformed(command, "to_account_number",
								   "There is to_account already.");
	return true;
}

/* Write a member as JSON, its value being the text of a request (application/command.h). */
static void
bank_json_write_member(StringInfo json, const char *name, const char *value)
{
	BankMember	member = bank_json_member_find(name);
	BankKind	kind = member == BANK_MEMBER_COUNT ? KIND_TEXT : bank_members[member].kind;
	char		time[BANK_TIME_TEXT];

	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	switch (kind)
	{
		case KIND_INTEGER:
			appendStringInfoString(json, value);
			break;
		case KIND_BOOLEAN:		/* said only when it is so */
			appendStringInfoString(json, "true");
			break;
		case KIND_TIME:
			bank_time_text(strtoi64(value, NULL, 10), time);
			escape_json(json, time);
			break;
		case KIND_SPAN:
			appendStringInfo(json, "\"%s microseconds\"", value);
			break;
		default:
			escape_json(json, value);
	}
}

/* See ports/event_store.h. What is empty was not given. */
const void *
bank_store_write_command(const char *const *names, const char *const *values, int n,
						 const void *metadata)
{
	StringInfoData json;
	int			i;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (i = 0; i < n; i++)
	{
		if (*values[i] != '\0')
			bank_json_write_member(&json, names[i], values[i]);
	}
	if (metadata != NULL)
	{
		Jsonb	   *object = unconstify(void *, metadata);

		appendStringInfoString(&json, ",\"metadata\":");
		(void) JsonbToCString(&json, &object->root, VARSIZE(object));
	}
	appendStringInfoChar(&json, '}');
	return DatumGetPointer(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/* The common options of a command. */
void
bank_json_options(const BankJsonCommand *command, BankOptions *options)
{
	Jsonb	   *metadata = command->values[MEMBER_metadata].object;

	memset(options, 0, sizeof(*options));
	options->has_expected_version = command->values[MEMBER_expected_version].given;
	options->expected_version = command->values[MEMBER_expected_version].integer;
	options->key = STRING(idempotency_key);
	options->has_occurred_at = command->values[MEMBER_occurred_at].given;
	options->occurred_at = command->values[MEMBER_occurred_at].integer;
	options->metadata = metadata;
	options->metadata_size = metadata == NULL ? 0 : VARSIZE(metadata);
	options->metadata_is_object = metadata != NULL;
}
