/*
 * cases.c
 *		Transfers to and from other ledgers, and requests for approval, as the trigger,
 *		bank_rebuild and bank_verify see them: in the same way.
 *
 * No locks of its own. Must be called inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/cases.h"
#include "adapters/store/store.h"
#include "ports/event_store.h"

#include "catalog/pg_type.h"

/* The statements, by kind. */
static BankPlan bank_case_all_plans[] = {
	{.text = "SELECT " BANK_TRANSFER_COLUMNS " FROM bank.transfers"},
	{.text = "SELECT " BANK_APPROVAL_COLUMNS " FROM bank.approvals"}
};

static BankPlan bank_case_delete_plans[] = {
	{
		.text = "DELETE FROM bank.transfers WHERE transfer_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	},
	{
		.text = "DELETE FROM bank.approvals WHERE request_id OPERATOR(pg_catalog.=) $1",
		.nargs = 1, .types = {UUIDOID}
	}
};

/* What it is called. */
const char *
bank_case_name(BankCaseKind kind)
{
	return kind == BANK_CASE_TRANSFER ? "transfer" : "approval";
}

/* What an event is about, of which bank_event_is_case holds. */
BankCaseKind
bank_case_kind(BankEventType type)
{
	return bank_event_is_transfer(type) ? BANK_CASE_TRANSFER : BANK_CASE_APPROVAL;
}

/* Its identifier. */
const BankUuid *
bank_case_id(const BankCase *c)
{
	return c->kind == BANK_CASE_TRANSFER ? &c->of.transfer.id : &c->of.approval.id;
}

/* Its version; 0: it does not exist. */
int64_t
bank_case_version(const BankCase *c)
{
	return c->kind == BANK_CASE_TRANSFER ? c->of.transfer.version : c->of.approval.version;
}

/* The position of its last event. */
int64_t
bank_case_position(const BankCase *c)
{
	return c->kind == BANK_CASE_TRANSFER ? c->of.transfer.position : c->of.approval.position;
}

/* One that does not exist yet. */
void
bank_case_new(BankCaseKind kind, const BankUuid *id, BankCase *c)
{
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	if (kind == BANK_CASE_TRANSFER)
	{
		c->of.transfer.id = *id;
		c->of.transfer.state = BANK_TRANSFER_NONE;
	}
	else
	{
		c->of.approval.id = *id;
		c->of.approval.state = BANK_APPROVAL_NONE;
	}
}

/* What is wrong with an event of it: BankFlaw bits. */
unsigned
bank_case_check(const BankCase *c, const BankEvent *event)
{
	return c->kind == BANK_CASE_TRANSFER ? bank_transfer_check(&c->of.transfer, event) :
		bank_approval_check(&c->of.approval, event);
}

/* Apply an event of it. */
void
bank_case_apply(BankCase *c, const BankEvent *event)
{
	if (c->kind == BANK_CASE_TRANSFER)
		bank_transfer_apply(&c->of.transfer, event);
	else
		bank_approval_apply(&c->of.approval, event);
}

/* Are two transfers the same in every column? */
static bool
bank_transfer_same(const BankTransfer *a, const BankTransfer *b)
{
	return bank_uuid_equal(&a->id, &b->id) && a->version == b->version && a->state == b->state &&
		a->position == b->position && a->recorded_at == b->recorded_at &&
		a->created_at == b->created_at && a->captured == b->captured &&
		a->has_account == b->has_account && bank_uuid_equal(&a->account_id, &b->account_id) &&
		a->amount == b->amount && memcmp(a->currency, b->currency, 3) == 0 &&
		a->deadline == b->deadline && strcmp(a->participant, b->participant) == 0 &&
		strcmp(a->house_code, b->house_code) == 0 && strcmp(a->destination, b->destination) == 0 &&
		strcmp(a->code, b->code) == 0 && strcmp(a->reason, b->reason) == 0;
}

/* Are two requests for approval? */
static bool
bank_approval_same(const BankApproval *a, const BankApproval *b)
{
	return bank_uuid_equal(&a->id, &b->id) && a->version == b->version && a->state == b->state &&
		a->position == b->position && a->recorded_at == b->recorded_at &&
		a->created_at == b->created_at && a->expires_at == b->expires_at &&
		a->amount == b->amount && memcmp(a->currency, b->currency, 3) == 0 &&
		a->has_account == b->has_account && bank_uuid_equal(&a->account_id, &b->account_id);
}

/* Are two of the same kind the same in every column? */
bool
bank_case_same(const BankCase *a, const BankCase *b)
{
	return a->kind == BANK_CASE_TRANSFER ? bank_transfer_same(&a->of.transfer, &b->of.transfer) :
		bank_approval_same(&a->of.approval, &b->of.approval);
}

/* Read its row; false, and one that does not exist: there is none. */
bool
bank_case_find(BankCaseKind kind, const BankUuid *id, BankCase *c)
{
	bank_case_new(kind, id, c);
	return kind == BANK_CASE_TRANSFER ? bank_store_find_transfer(id, &c->of.transfer) :
		bank_approval_find(id, &c->of.approval);
}

/* Write a new row. Raises when its identifier is taken. */
void
bank_case_insert(const BankCase *c)
{
	if (c->kind == BANK_CASE_TRANSFER)
		bank_transfer_row_insert(&c->of.transfer);
	else
		bank_approval_row_insert(&c->of.approval);
}

/* Write what became of it; false: it had not this version. */
bool
bank_case_update(const BankCase *c, int64_t old_version)
{
	return c->kind == BANK_CASE_TRANSFER ?
		bank_transfer_row_update(&c->of.transfer, old_version) :
		bank_approval_row_update(&c->of.approval, old_version);
}

/* Remove its row. */
void
bank_case_delete(const BankCase *c)
{
	Datum		values[] = {bank_uuid_datum(bank_case_id(c))};

	bank_plan_execute(&bank_case_delete_plans[c->kind], values, NULL, false);
}

/* The statement that reads all rows of a kind. */
BankPlan *
bank_case_all(BankCaseKind kind)
{
	return &bank_case_all_plans[kind];
}

/* Decode a row with all columns in table order. */
void
bank_case_from_row(BankCaseKind kind, HeapTuple row, TupleDesc desc, BankCase *c)
{
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	if (kind == BANK_CASE_TRANSFER)
		bank_transfer_from_row(row, desc, &c->of.transfer);
	else
		bank_approval_from_row(row, desc, &c->of.approval);
}
