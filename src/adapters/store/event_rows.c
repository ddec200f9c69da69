/*
 * event_rows.c
 *		Rows of bank.events: decode, encode, insert.
 *
 * Decoding takes whatever stands in a row, also one that nobody checked: what
 * cannot be understood becomes BANK_EVENT_UNKNOWN or a value that the rules
 * refuse. Inserting (through the executor; event_insert.c does without) must
 * happen inside a BankSession, with all accounts locked.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "adapters/store/tables.h"
#include "domain/currency.h"
#include "domain/money.h"
#include "ports/event_store.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

/* Does an event of this type have something to say beyond the columns? */
static bool
bank_event_has_data(BankEventType type)
{
	return type == BANK_EVENT_CREATED || type == BANK_EVENT_LIMITS_CHANGED ||
		bank_event_is_case(type);
}

/* Event type of an enum value of bank.event_type. */
static BankEventType
bank_event_type_from_oid(Oid oid)
{
	HeapTuple	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(oid));
	BankEventType type;
	const char *label;

	if (!HeapTupleIsValid(tuple))
		return BANK_EVENT_UNKNOWN;
	label = NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel);
	type = bank_event_type_parse(label, strlen(label));
	ReleaseSysCache(tuple);
	return type;
}

/* A string member of a JSON object, copied into out; false when absent, no string, or too long. */
static bool
bank_data_string(Jsonb *data, const char *key, char *out, size_t size)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&data->root, key, (int) strlen(key), &buffer);

	if (value == NULL || value->type != jbvString || (size_t) value->val.string.len >= size)
		return false;
	memcpy(out, value->val.string.val, value->val.string.len);
	out[value->val.string.len] = '\0';
	return true;
}

/*
 * A limit written as "500.00"; *minor stays when absent, becomes INT64_MIN when it
 * makes no sense.
 */
static void
bank_data_limit(Jsonb *data, const char *key, const char *currency, int64_t *minor)
{
	JsonbValue	value;
	char		figure[BANK_MONEY_TEXT];
	char		text[2 * BANK_MONEY_TEXT];
	BankMoney	money;
	BankError	error;

	if (getKeyJsonValueFromContainer(&data->root, key, (int) strlen(key), &value) == NULL)
		return;
	*minor = PG_INT64_MIN;
	if (!bank_data_string(data, key, figure, sizeof(figure)))
		return;
	snprintf(text, sizeof(text), "%s %.3s", figure, currency);
	if (bank_money_parse(text, strlen(text), &money, &error) == BANK_PARSE_OK)
		*minor = money.minor;
}

/* An identifier written as text; false when absent or malformed. */
static bool
bank_data_uuid(Jsonb *data, const char *key, BankUuid *uuid)
{
	char		text[BANK_UUID_TEXT];

	return bank_data_string(data, key, text, sizeof(text)) && bank_uuid_parse(text, uuid);
}

/* Read what account.created and account.limits_changed say in data. */
static void
bank_event_read_data(Jsonb *data, BankEvent *event)
{
	BankOpening *opening = &event->opening;
	char		text[32];

	if (!JB_ROOT_IS_OBJECT(data))
		return;
	bank_data_limit(data, "overdraft_limit", event->currency, &event->limits.overdraft);
	bank_data_limit(data, "balance_limit", event->currency, &event->limits.balance);
	if (event->type != BANK_EVENT_CREATED)
		return;
	if (bank_data_string(data, "account_type", text, sizeof(text)))
		opening->type = bank_account_type_parse(text, strlen(text));
	opening->has_owner = bank_data_uuid(data, "owner_id", &opening->owner_id);
	(void) bank_data_string(data, "account_number", opening->number, sizeof(opening->number));
	(void) bank_data_string(data, "house_account", opening->house_code,
							sizeof(opening->house_code));
	(void) bank_data_uuid(data, "house_account_id", &opening->house_account_id);
	if (bank_data_string(data, "stripe", text, sizeof(text)))
		opening->stripe = (int32_t) strtol(text, NULL, 10);
}

/* A time as bank_json_time writes it; 0 when it is none. */
static TimestampTz
bank_data_time(const char *text)
{
	struct pg_tm tm = {0};
	fsec_t		fraction = 0;
	int			zone = 0;
	int			read = 0;
	TimestampTz time;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fraction, &read) != 7 ||
		text[read] != '\0' || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_min < 0 || tm.tm_sec < 0 || fraction < 0 ||
		tm2timestamp(&tm, fraction, &zone, &time) != 0)
		return 0;
	return time;
}

/*
 * Read what an event of a transfer says in data. Texts that are too long make no sense
 * and are left out, which the rules notice where they matter; no object, no terms.
 */
static void
bank_event_read_terms(Jsonb *data, BankEvent *event)
{
	BankTransferTerms *terms = palloc0(sizeof(BankTransferTerms));
	char		text[32];

	if (!JB_ROOT_IS_OBJECT(data))
		return;
	event->terms = terms;
	terms->has_account = bank_data_uuid(data, "account_id", &terms->account_id);
	(void) bank_data_string(data, "participant", terms->participant, sizeof(terms->participant));
	(void) bank_data_string(data, "house_account", terms->house_code, sizeof(terms->house_code));
	(void) bank_data_string(data, "destination", terms->destination, sizeof(terms->destination));
	(void) bank_data_string(data, "code", terms->code, sizeof(terms->code));
	(void) bank_data_string(data, "reason", terms->reason, sizeof(terms->reason));
	if (bank_data_string(data, "account_version", text, sizeof(text)))
		terms->account_version = strtoi64(text, NULL, 10);
	if (bank_data_string(data, "deadline", text, sizeof(text)))
		terms->deadline = bank_data_time(text);
}

/* Read what an event of a request for approval says in data. */
static void
bank_event_read_approval(Jsonb *data, BankEvent *event)
{
	BankApprovalTerms *terms = palloc0(sizeof(BankApprovalTerms));
	JsonbValue	buffer;
	JsonbValue *command;
	char		text[32];

	if (!JB_ROOT_IS_OBJECT(data))
		return;
	event->approval = terms;
	command = getKeyJsonValueFromContainer(&data->root, "command", 7, &buffer);
	if (command != NULL && command->type == jbvBinary)
		terms->command = JsonbValueToJsonb(command);
	terms->has_account = bank_data_uuid(data, "account_id", &terms->account_id);
	(void) bank_data_string(data, "reason", terms->reason, sizeof(terms->reason));
	if (bank_data_uuid(data, "result_aggregate_id", &terms->aggregate_id) &&
		bank_data_string(data, "result_version", text, sizeof(text)))
		terms->version = strtoi64(text, NULL, 10);
}

/* Decode the columns of a row, in table order; metadata is not read. */
void
bank_event_from_values(const Datum *values, const bool *nulls, BankEvent *event)
{
	text	   *currency;

	memset(event, 0, sizeof(*event));
#define VALUE(column) values[Anum_event_##column - 1]
#define IS_NULL(column) nulls[Anum_event_##column - 1]
	event->type = bank_event_type_from_oid(DatumGetObjectId(VALUE(event_type)));
	event->position = DatumGetInt64(VALUE(position));
	bank_uuid_from_datum(VALUE(event_id), &event->event_id);
	bank_uuid_from_datum(VALUE(aggregate_id), &event->aggregate_id);
	event->version = DatumGetInt64(VALUE(version));
	event->balance = DatumGetInt64(VALUE(balance));
	event->recorded_at = DatumGetTimestampTz(VALUE(recorded_at));
	currency = DatumGetTextPP(VALUE(currency));
	if (VARSIZE_ANY_EXHDR(currency) == sizeof(event->currency))
		memcpy(event->currency, VARDATA_ANY(currency), sizeof(event->currency));
	event->has_peer = !IS_NULL(peer_id);
	/* the end of a transfer that left is called as that of one that stayed */
	if (event->type == BANK_EVENT_TRANSFERRED && !event->has_peer)
		event->type = BANK_EVENT_TRANSFER_COMPLETED;
	if (event->has_peer)
		bank_uuid_from_datum(VALUE(peer_id), &event->peer_id);
	/* the columns of a movement and those of a hold stand together or not at all */
	if (IS_NULL(peer_version) == event->has_peer || IS_NULL(peer_balance) == event->has_peer ||
		(IS_NULL(amount) == bank_event_has_amount(event->type) &&
		 !bank_event_is_case(event->type)) ||
		(IS_NULL(amount) && bank_event_is_approval(event->type)) ||
		IS_NULL(hold_id) == bank_event_is_hold(event->type) ||
		IS_NULL(expires_at) == bank_event_expires(event->type) ||
		IS_NULL(limits_before) == (event->type == BANK_EVENT_LIMITS_CHANGED) ||
		(!IS_NULL(peer_held) && !event->has_peer))
		event->type = BANK_EVENT_UNKNOWN;
	else
	{
		event->held = IS_NULL(held) ? 0 : DatumGetInt64(VALUE(held));
		if (!IS_NULL(amount))
			event->amount = DatumGetInt64(VALUE(amount));
		if (!IS_NULL(hold_id))
			bank_uuid_from_datum(VALUE(hold_id), &event->hold_id);
		if (!IS_NULL(limits_before))
			event->limits_before = DatumGetInt64(VALUE(limits_before));
		if (!IS_NULL(expires_at))
			event->expires_at = DatumGetTimestampTz(VALUE(expires_at));
	}
	if (event->has_peer && event->type != BANK_EVENT_UNKNOWN)
	{
		event->peer_version = DatumGetInt64(VALUE(peer_version));
		event->peer_balance = DatumGetInt64(VALUE(peer_balance));
		event->peer_held = IS_NULL(peer_held) ? 0 : DatumGetInt64(VALUE(peer_held));
	}
	event->actor_id = IS_NULL(actor_id) ? 0 : DatumGetInt32(VALUE(actor_id));
	event->has_occurred_at = !IS_NULL(occurred_at);
	if (event->has_occurred_at)
		event->occurred_at = DatumGetTimestampTz(VALUE(occurred_at));
	event->limits.balance = BANK_NO_LIMIT;
	event->opening.type = BANK_TYPE_UNKNOWN;
	if (IS_NULL(data) == bank_event_has_data(event->type))
		event->type = BANK_EVENT_UNKNOWN;
	else if (bank_event_is_transfer(event->type))
		bank_event_read_terms(DatumGetJsonbP(VALUE(data)), event);
	else if (bank_event_is_approval(event->type))
		bank_event_read_approval(DatumGetJsonbP(VALUE(data)), event);
	else if (!IS_NULL(data))
		bank_event_read_data(DatumGetJsonbP(VALUE(data)), event);
#undef VALUE
#undef IS_NULL
}

/* Decode a row with all columns in table order. */
void
bank_event_from_row(HeapTuple row, TupleDesc desc, BankEvent *event)
{
	Datum		values[Natts_event];
	bool		nulls[Natts_event];

	Assert(desc->natts == Natts_event);
	heap_deform_tuple(row, desc, values, nulls);
	bank_event_from_values(values, nulls, event);
}

/* See ports/event_store.h. */
void
bank_store_read_event(const BankUuid *aggregate_id, int64_t version, BankEvent *event)
{
	static BankPlan plan = {
		.text = "SELECT " BANK_EVENT_COLUMNS " FROM bank.events "
		"WHERE aggregate_id OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.=) $2",
		.nargs = 2, .types = {UUIDOID, INT8OID}
	};
	Datum		values[] = {bank_uuid_datum(aggregate_id), Int64GetDatum(version)};

	if (bank_plan_execute(&plan, values, NULL, false) != 1)
		elog(ERROR, "an event of a stream is missing");
	bank_event_from_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, event);
	if (event->type == BANK_EVENT_UNKNOWN ||
		(bank_event_is_approval(event->type) && event->approval == NULL))
		elog(ERROR, "an event of a stream is damaged");
	SPI_freetuptable(SPI_tuptable);
}

/* Append a JSON member whose value needs no escaping. */
static void
bank_json_member(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, "%s\"%s\":\"%s\"", json->len > 1 ? "," : "", key, value);
}

/* The same for an identifier. */
static void
bank_json_uuid(StringInfo json, const char *key, const BankUuid *uuid)
{
	char		text[BANK_UUID_TEXT];

	bank_uuid_format(uuid, text);
	bank_json_member(json, key, text);
}

/* The same for a limit, as "500.00". */
static void
bank_json_minor(StringInfo json, const char *key, int64_t minor, const char *currency)
{
	char		text[BANK_MONEY_TEXT];

	bank_minor_format(minor, bank_currency_exponent(currency), text);
	bank_json_member(json, key, text);
}

/* Append a JSON member whose value may be anything, unless it is empty. */
static void
bank_json_text(StringInfo json, const char *key, const char *value)
{
	if (*value == '\0')
		return;
	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", key);
	escape_json(json, value);
}

/* A time in UTC, as ISO 8601 has it. */
void
bank_time_text(TimestampTz time, char text[BANK_TIME_TEXT])
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "time out of range");
	snprintf(text, BANK_TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction);
}

/* The same for a time. */
static void
bank_json_time(StringInfo json, const char *key, TimestampTz time)
{
	char		text[BANK_TIME_TEXT];

	bank_time_text(time, text);
	bank_json_member(json, key, text);
}

/* What an event of a transfer says. */
static void
bank_event_write_terms(StringInfo json, const BankTransferTerms *terms)
{
	char		text[32];

	if (terms->has_account)
		bank_json_uuid(json, "account_id", &terms->account_id);
	bank_json_text(json, "participant", terms->participant);
	bank_json_text(json, "house_account", terms->house_code);
	bank_json_text(json, "destination", terms->destination);
	bank_json_text(json, "code", terms->code);
	bank_json_text(json, "reason", terms->reason);
	snprintf(text, sizeof(text), INT64_FORMAT, terms->account_version);
	if (terms->account_version > 0)
		bank_json_member(json, "account_version", text);
	if (terms->deadline > 0)
		bank_json_time(json, "deadline", terms->deadline);
}

/* What an event of a request for approval says. */
static void
bank_event_write_approval(StringInfo json, const BankApprovalTerms *terms)
{
	char		text[32];

	if (terms->has_account)
		bank_json_uuid(json, "account_id", &terms->account_id);
	if (terms->command != NULL)
	{
		Jsonb	   *command = unconstify(void *, terms->command);

		appendStringInfo(json, "%s\"command\":", json->len > 1 ? "," : "");
		(void) JsonbToCString(json, &command->root, VARSIZE(command));
	}
	if (terms->version > 0)
	{
		bank_json_uuid(json, "result_aggregate_id", &terms->aggregate_id);
		snprintf(text, sizeof(text), INT64_FORMAT, terms->version);
		bank_json_member(json, "result_version", text);
	}
	bank_json_text(json, "reason", terms->reason);
}

/* The payload beyond the columns, as column data holds it; NULL when there is none. */
Jsonb *
bank_event_data(const BankEvent *event)
{
	const BankOpening *opening = &event->opening;
	bool		house = event->type == BANK_EVENT_CREATED && opening->type == BANK_TYPE_HOUSE;
	StringInfoData json;

	if (!bank_event_has_data(event->type))
		return NULL;
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	if (event->type == BANK_EVENT_CREATED)
	{
		bank_json_member(&json, "account_type", bank_account_type_name(opening->type));
		if (opening->has_owner)
			bank_json_uuid(&json, "owner_id", &opening->owner_id);
		if (opening->number[0] != '\0')
			bank_json_member(&json, "account_number", opening->number);
	}
	if (house)
	{
		bank_json_member(&json, "house_account", opening->house_code);
		bank_json_uuid(&json, "house_account_id", &opening->house_account_id);
		appendStringInfo(&json, ",\"stripe\":\"%d\"", opening->stripe);
	}
	else if (bank_event_is_transfer(event->type))
		bank_event_write_terms(&json, event->terms);
	else if (bank_event_is_approval(event->type))
		bank_event_write_approval(&json, event->approval);
	else
	{
		bank_json_minor(&json, "overdraft_limit", event->limits.overdraft, event->currency);
		if (event->limits.balance != BANK_NO_LIMIT)
			bank_json_minor(&json, "balance_limit", event->limits.balance, event->currency);
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/*
 * The columns of the row of an event, in table order, NULLs apart; the event type
 * as text.
 */
void
bank_event_to_values(const BankEvent *event, Datum *values, bool *nulls)
{
	Jsonb	   *data = bank_event_data(event);

	memset(nulls, 0, Natts_event * sizeof(bool));
#define SET(column, datum) values[Anum_event_##column - 1] = (datum)
#define SET_OR_NULL(column, present, datum) \
	do { \
		SET(column, datum); \
		if (!(present)) \
			nulls[Anum_event_##column - 1] = true; \
	} while (0)
	SET(position, Int64GetDatum(event->position));
	SET(version, Int64GetDatum(event->version));
	SET_OR_NULL(peer_version, event->has_peer, Int64GetDatum(event->peer_version));
	SET_OR_NULL(amount, bank_event_has_amount(event->type) ||
				(bank_event_is_case(event->type) && event->amount > 0),
				Int64GetDatum(event->amount));
	SET(balance, Int64GetDatum(event->balance));
	SET_OR_NULL(peer_balance, event->has_peer, Int64GetDatum(event->peer_balance));
	SET(recorded_at, TimestampTzGetDatum(event->recorded_at));
	SET(transaction_id, FullTransactionIdGetDatum(GetTopFullTransactionId()));
	SET(event_id, bank_uuid_datum(&event->event_id));
	SET(aggregate_id, bank_uuid_datum(&event->aggregate_id));
	SET_OR_NULL(peer_id, event->has_peer, bank_uuid_datum(&event->peer_id));
	SET(event_type, CStringGetTextDatum(bank_event_type_name(event->type)));
	SET(currency, PointerGetDatum(cstring_to_text_with_len(event->currency, 3)));
	SET_OR_NULL(occurred_at, event->has_occurred_at, TimestampTzGetDatum(event->occurred_at));
	SET_OR_NULL(data, data != NULL, PointerGetDatum(data));
	SET_OR_NULL(metadata, event->metadata != NULL, PointerGetDatum(event->metadata));
	SET_OR_NULL(held, event->held != 0, Int64GetDatum(event->held));
	SET_OR_NULL(peer_held, event->peer_held != 0, Int64GetDatum(event->peer_held));
	SET_OR_NULL(expires_at, bank_event_expires(event->type),
				TimestampTzGetDatum(event->expires_at));
	SET_OR_NULL(hold_id, bank_event_is_hold(event->type), bank_uuid_datum(&event->hold_id));
	SET_OR_NULL(limits_before, event->type == BANK_EVENT_LIMITS_CHANGED,
				Int64GetDatum(event->limits_before));
	SET(actor_id, Int32GetDatum(bank_actor_id()));
#undef SET
#undef SET_OR_NULL
}

/* Insert the row of one event, see below. */
static void
bank_event_row_insert_spi(const BankEvent *event)
{
	static BankPlan plan = {
		.text = "INSERT INTO bank.events (" BANK_EVENT_COLUMNS ") "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, "
		"$8, $9, $10, $11, $12::bank.event_type, $13, $14, $15, $16, $17, $18, $19, $20, "
		"$21, $22)",
		.nargs = Natts_event,
		.types = BANK_EVENT_COLUMN_TYPES(TEXTOID)
	};
	Datum		values[Natts_event];
	bool		nulls[Natts_event];
	char		spi_nulls[Natts_event];
	int			i;

	bank_event_to_values(event, values, nulls);
	for (i = 0; i < Natts_event; i++)
		spi_nulls[i] = nulls[i] ? 'n' : ' ';
	bank_plan_execute(&plan, values, spi_nulls, false);
}

/*
 * Insert the rows of events that have their positions, in this order, through
 * the executor: one statement, one trigger call. Raises on a taken place in a stream.
 */
void
bank_event_rows_insert_spi(BankEvent *const *events, int n)
{
	static const Oid types[Natts_event] = BANK_EVENT_COLUMN_TYPES(TEXTOID);
	static BankPlan plan = {
		.text = "INSERT INTO bank.events (" BANK_EVENT_COLUMNS ") "
		"SELECT a, b, c, d, e, f, g, h, i, j, k, l::bank.event_type, m, n, o, p, q, r, s, t, u, v "
		"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
		"pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), "
		"pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9), "
		"pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12), "
		"pg_catalog.unnest($13), pg_catalog.unnest($14), pg_catalog.unnest($15), "
		"pg_catalog.unnest($16), pg_catalog.unnest($17), pg_catalog.unnest($18), "
		"pg_catalog.unnest($19), pg_catalog.unnest($20), pg_catalog.unnest($21), "
		"pg_catalog.unnest($22)) "
		"AS t (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)",
		.nargs = Natts_event
	};
	Datum	   *columns[Natts_event];
	bool	   *column_nulls[Natts_event];
	Datum		arrays[Natts_event];
	int			i;
	int			k;

	if (n == 1)
	{
		bank_event_row_insert_spi(events[0]);
		return;
	}
	for (i = 0; i < Natts_event; i++)
	{
		plan.types[i] = get_array_type(types[i]);
		columns[i] = palloc(n * sizeof(Datum));
		column_nulls[i] = palloc(n * sizeof(bool));
	}
	for (k = 0; k < n; k++)
	{
		Datum		values[Natts_event];
		bool		nulls[Natts_event];

		bank_event_to_values(events[k], values, nulls);
		for (i = 0; i < Natts_event; i++)
		{
			columns[i][k] = values[i];
			column_nulls[i][k] = nulls[i];
		}
	}
	for (i = 0; i < Natts_event; i++)
	{
		int			lower = 1;
		int16		length;
		bool		by_value;
		char		align;

		get_typlenbyvalalign(types[i], &length, &by_value, &align);
		arrays[i] = PointerGetDatum(construct_md_array(columns[i], column_nulls[i], 1, &n, &lower,
													   types[i], length, by_value, align));
		pfree(columns[i]);
		pfree(column_nulls[i]);
	}
	bank_plan_execute(&plan, arrays, NULL, false);
}
