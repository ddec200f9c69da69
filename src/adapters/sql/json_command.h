/*
 * json_command.h
 *		Commands as JSON objects, {"command": name, argument: value, ...}, with the argument
 *		names of the SQL functions.
 */
#ifndef BANK_SQL_JSON_COMMAND_H
#define BANK_SQL_JSON_COMMAND_H

#include "application/command.h"

#include "utils/jsonb.h"

/* The members a command can have; X(name, kind) */
#define BANK_MEMBERS(X) \
	X(account_id, UUID) \
	X(hold_id, UUID) \
	X(transfer_id, UUID) \
	X(owner_id, UUID) \
	X(from_account, UUID) \
	X(to_account, UUID) \
	X(to_account_number, TEXT) \
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

extern bool bank_json_malformed(BankJsonCommand *command, const char *member, const char *detail);
extern bool bank_json_read(Jsonb *json, BankJsonCommand *command);
extern void bank_json_options(const BankJsonCommand *command, BankOptions *options);

#endif							/* BANK_SQL_JSON_COMMAND_H */
