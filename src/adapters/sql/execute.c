/*
 * execute.c
 *		bank_execute(jsonb) and bank_execute_batch(jsonb[]): commands as JSON objects
 *		that answer with JSON instead of raising refusals.
 *
 * A command is {"command": name, argument: value, ...} with the argument names of
 * the SQL functions. A malformed one is refused with BK025 and the JSON pointer
 * (RFC 6901) of the member at fault. A refusal writes nothing; under an
 * idempotency key it is stored as the outcome and replayed.
 *
 * Transactions: the caller's; only faults of the server are raised. Locks: those
 * of the use cases; a batch first locks all transfers and then all customers' accounts it
 * names, in identifier order. Memory: the answers, in the caller's context.
 */
#include "postgres.h"

#include "adapters/sql/call.h"
#include "adapters/sql/errors.h"
#include "adapters/store/store.h"
#include "application/accounts.h"
#include "application/batch.h"
#include "application/holds.h"
#include "application/movements.h"
#include "application/transfers.h"
#include "domain/currency.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <inttypes.h>

PG_FUNCTION_INFO_V1(bank_sql_execute);
PG_FUNCTION_INFO_V1(bank_sql_execute_batch);

/* The members a command can have; X(name, kind) */
#define BANK_MEMBERS(X) \
	X(account_id, UUID) \
	X(hold_id, UUID) \
	X(transfer_id, UUID) \
	X(owner_id, UUID) \
	X(from_account, UUID) \
	X(to_account, UUID) \
	X(amount, MONEY) \
	X(overdraft_limit, MONEY) \
	X(balance_limit, MONEY) \
	X(account_type, TEXT) \
	X(currency, TEXT) \
	X(code, TEXT) \
	X(house_account, TEXT) \
	X(participant, TEXT) \
	X(destination, TEXT) \
	X(state, TEXT) \
	X(reason, TEXT) \
	X(idempotency_key, TEXT) \
	X(occurred_at, TIME) \
	X(expires_in, SPAN) \
	X(deadline_in, SPAN) \
	X(expected_version, INTEGER) \
	X(remove_balance_limit, BOOLEAN) \
	X(metadata, OBJECT)

typedef enum BankMember
{
#define X(name, kind) MEMBER_##name,
	BANK_MEMBERS(X)
#undef X
	BANK_MEMBER_COUNT
} BankMember;

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

/* The value of a member, as its kind says. */
typedef struct BankValue
{
	bool		given;			/* present and not null */
	BankUuid	uuid;
	BankMoney	money;
	char	   *text;
	int64		integer;		/* also of a time or time span, and 0 or 1 of a boolean */
	Jsonb	   *object;
} BankValue;

typedef struct BankJsonCommand BankJsonCommand;

/* How a command is run with its members. */
typedef bool (*BankJsonUseCase) (const BankJsonCommand *command, const BankOptions *options,
								 BankOutcome *outcome, BankError *error);

/* A command that was read. */
struct BankJsonCommand
{
	const char *name;
	BankJsonUseCase run;
	BankValue	values[BANK_MEMBER_COUNT];
	BankError	error;			/* when it is malformed */
	char		path[80];		/* of the member at fault */
};

#define ID(member) (command->values[MEMBER_##member].given ? \
					&command->values[MEMBER_##member].uuid : NULL)
#define MONEY(member) (command->values[MEMBER_##member].given ? \
					   &command->values[MEMBER_##member].money : NULL)
#define STRING(member) (command->values[MEMBER_##member].given ? \
						command->values[MEMBER_##member].text : NULL)

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
	return bank_movements_transfer(ID(from_account), ID(to_account), MONEY(amount), options,
								   outcome, error);
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
	return bank_transfers_cancel_received(ID(transfer_id), STRING(participant), options, outcome,
										  error) && error->code == BANK_OK;
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
	MASK(from_account) | MASK(to_account) | MASK(amount), 0},
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
static bool
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
static bool
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
	return true;
}

/* The common options of a command. */
static void
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

/* Append "name":"text" with the text escaped. */
static void
bank_answer_text(StringInfo answer, const char *name, const char *text)
{
	appendStringInfo(answer, ",\"%s\":", name);
	escape_json(answer, text);
}

/* Append an identifier. */
static void
bank_answer_uuid(StringInfo answer, const char *name, const BankUuid *uuid)
{
	char		text[BANK_UUID_TEXT];

	bank_uuid_format(uuid, text);
	bank_answer_text(answer, name, text);
}

/* Append a figure as a string. */
static void
bank_answer_minor(StringInfo answer, const char *name, int64 minor, const char *currency)
{
	char		text[BANK_MONEY_TEXT];

	bank_minor_format(minor, bank_currency_exponent(currency), text);
	bank_answer_text(answer, name, text);
}

/* The answer to a refused command. */
static Jsonb *
bank_answer_refusal(const BankError *error, const char *path, bool replayed)
{
	StringInfoData answer;

	initStringInfo(&answer);
	appendStringInfoString(&answer, "{\"ok\":false");
	bank_answer_text(&answer, "code", bank_error_sqlstate(error->code));
	bank_answer_text(&answer, "message", bank_error_message(error->code));
	if (error->detail[0] != '\0')
		bank_answer_text(&answer, "detail", bank_error_text(error->detail));
	if (error->hint[0] != '\0')
		bank_answer_text(&answer, "hint", bank_error_text(error->hint));
	if (path != NULL)
		bank_answer_text(&answer, "path", bank_error_text(path));
	appendStringInfo(&answer, ",\"replayed\":%s}", replayed ? "true" : "false");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer.data)));
}

/* The answer to an accepted command: the members of bank_receipt, and of a new account more. */
static Jsonb *
bank_answer_event(const BankJsonCommand *command, const BankOutcome *outcome)
{
	const BankEvent *event = &outcome->event;
	const BankOpening *opening = &event->opening;
	const BankUuid *account_id = ID(account_id);
	char		currency[4] = {event->currency[0], event->currency[1], event->currency[2], '\0'};
	StringInfoData answer;

	if (event->type == BANK_EVENT_CREATED)
		account_id = opening->type == BANK_TYPE_HOUSE ? &opening->house_account_id :
			&event->aggregate_id;
	else if (event->type == BANK_EVENT_TRANSFERRED)
		account_id = ID(from_account);
	else if (bank_event_is_hold(event->type))
		account_id = &event->aggregate_id;
	initStringInfo(&answer);
	appendStringInfoString(&answer, "{\"ok\":true");
	bank_answer_uuid(&answer, "event_id", &event->event_id);
	if (bank_event_is_transfer(event->type))
		bank_answer_uuid(&answer, "transfer_id", &event->aggregate_id);
	else
		bank_answer_uuid(&answer, "account_id", account_id);
	bank_answer_text(&answer, "event_type", bank_event_type_name(event->type));
	if (bank_event_has_amount(event->type) ||
		(bank_event_is_transfer(event->type) && event->amount > 0))
		bank_answer_minor(&answer, "amount", event->amount, event->currency);
	if (!bank_event_is_transfer(event->type))
	{
		bank_answer_text(&answer, "currency", currency);
		bank_answer_minor(&answer, "balance", event->balance, event->currency);
	}
	else
	{
		if (event->amount > 0)
			bank_answer_text(&answer, "currency", currency);
		if (event->terms->code[0] != '\0')
			bank_answer_text(&answer, "code", event->terms->code);
		if (event->terms->reason[0] != '\0')
			bank_answer_text(&answer, "reason", event->terms->reason);
	}
	if (event->type == BANK_EVENT_CREATED)
		bank_answer_text(&answer, "account_type", bank_account_type_name(opening->type));
	if (event->type == BANK_EVENT_CREATED && opening->number[0] != '\0')
		bank_answer_text(&answer, "account_number", opening->number);
	appendStringInfo(&answer, ",\"version\":%" PRId64 ",\"position\":%" PRId64, event->version,
					 event->position);
	bank_answer_text(&answer, "recorded_at",
					 JsonEncodeDateTime(NULL, TimestampTzGetDatum(event->recorded_at),
										TIMESTAMPTZOID, NULL));
	appendStringInfo(&answer, ",\"replayed\":%s}", outcome->replayed ? "true" : "false");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer.data)));
}

/* Run a command that was read, in a session of its own, and answer. */
static Jsonb *
bank_json_run(const BankJsonCommand *command)
{
	BankSession session;
	BankOptions options;
	BankOutcome outcome;
	BankError	error;
	bool		accepted;

	if (command->error.code != BANK_OK)
		return bank_answer_refusal(&command->error, command->path, false);
	bank_json_options(command, &options);
	outcome.request.len = 0;
	outcome.replayed = false;
	bank_session_open(&session);
	bank_session_lock_tables();
	accepted = command->run(command, &options, &outcome, &error);
	if (!accepted)
		accepted = bank_command_keep_refusal(&options, &outcome, &error);
	bank_session_close(&session);
	return accepted ? bank_answer_event(command, &outcome) :
		bank_answer_refusal(&error, NULL, outcome.replayed);
}

/* bank_execute(command) */
Datum
bank_sql_execute(PG_FUNCTION_ARGS)
{
	BankJsonCommand command;

	bank_call_check_writable("bank_execute()");
	(void) bank_json_read(PG_GETARG_JSONB_P(0), &command);
	PG_RETURN_JSONB_P(bank_json_run(&command));
}

/* Order of identifiers, for qsort. */
static int
bank_json_compare(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/* Lock the transfers that commands name, and add their accounts to the list; returns its length. */
static int
bank_json_lock_transfers(const BankJsonCommand *commands, int n, BankUuid *ids, int count)
{
	BankUuid   *transfers = MemoryContextAllocHuge(CurrentMemoryContext,
												   Max(n, 1) * sizeof(BankUuid));
	BankTransfer transfer;
	int			n_transfers = 0;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (commands[i].error.code == BANK_OK && commands[i].values[MEMBER_transfer_id].given)
			transfers[n_transfers++] = commands[i].values[MEMBER_transfer_id].uuid;
	}
	qsort(transfers, n_transfers, sizeof(BankUuid), bank_json_compare);
	for (i = 0; i < n_transfers; i++)
	{
		if (i > 0 && bank_uuid_equal(&transfers[i], &transfers[i - 1]))
			continue;
		bank_transfer_lock_name(&transfers[i], false);
		if (bank_store_find_transfer(&transfers[i], &transfer) && transfer.has_account)
			ids[count++] = transfer.account_id;
	}
	pfree(transfers);
	return count;
}

/* Lock the transfers and customers' accounts that commands name, those of holds too. */
static void
bank_json_lock(const BankJsonCommand *commands, int n)
{
	static const BankMember members[] = {
		MEMBER_account_id, MEMBER_from_account, MEMBER_to_account
	};
	BankUuid   *ids = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) *
											  (lengthof(members) + 2) *
											  sizeof(BankUuid));
	int			count = 0;
	BankSession session;
	BankHold	hold;
	int			i;
	size_t		k;

	bank_session_open(&session);
	bank_session_lock_tables();
	for (i = 0; i < n; i++)
	{
		if (commands[i].error.code == BANK_OK && commands[i].values[MEMBER_hold_id].given &&
			bank_store_find_hold(&commands[i].values[MEMBER_hold_id].uuid, &hold))
			ids[count++] = hold.account_id;
		for (k = 0; commands[i].error.code == BANK_OK && k < lengthof(members); k++)
		{
			if (commands[i].values[members[k]].given)
				ids[count++] = commands[i].values[members[k]].uuid;
		}
	}
	count = bank_json_lock_transfers(commands, n, ids, count);
	bank_accounts_lock_all(ids, count);
	bank_session_close(&session);
	pfree(ids);
}

/* Raise BK024 unless this is a list of commands of bearable length. */
static void
bank_json_check_batch(ArrayType *array)
{
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	BankError	error;

	if (ARR_NDIM(array) <= 1 && n <= BANK_BATCH_MAX)
		return;
	if (ARR_NDIM(array) > 1)
		bank_error_set(&error, BANK_INVALID_BATCH, "commands must have one dimension.");
	else
		bank_error_set(&error, BANK_INVALID_BATCH,
					   "At most %d commands are allowed in one call, not %d.", BANK_BATCH_MAX, n);
	bank_ereport(&error);
}

/* bank_execute_batch(commands) */
Datum
bank_sql_execute_batch(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	BankJsonCommand *commands;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int			i;

	bank_call_check_writable("bank_execute_batch()");
	bank_json_check_batch(array);
	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	commands = MemoryContextAllocHuge(CurrentMemoryContext, Max(n, 1) * sizeof(BankJsonCommand));
	for (i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
		{
			memset(&commands[i], 0, sizeof(commands[i]));
			(void) bank_json_malformed(&commands[i], "", "A command is a JSON object.");
		}
		else
			(void) bank_json_read(DatumGetJsonbP(values[i]), &commands[i]);
	}
	bank_json_lock(commands, n);
	scratch = AllocSetContextCreate(caller, "banking command", ALLOCSET_DEFAULT_SIZES);
	for (i = 0; i < n; i++)
	{
		Jsonb	   *answer;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(scratch);
		answer = bank_json_run(&commands[i]);
		MemoryContextSwitchTo(caller);
		values[i] = datumCopy(JsonbPGetDatum(answer), false, -1);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, n, JSONBOID, -1, false, TYPALIGN_INT));
}
