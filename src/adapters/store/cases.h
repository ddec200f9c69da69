/*
 * cases.h
 *		What has a stream of events and a read model besides accounts and their holds: a transfer
 *		to or from another ledger, a request for approval. One list of what differs.
 */
#ifndef BANK_STORE_CASES_H
#define BANK_STORE_CASES_H

#include "domain/approval.h"
#include "domain/transfer.h"

#include "access/htup.h"
#include "access/tupdesc.h"

typedef enum BankCaseKind
{
	BANK_CASE_TRANSFER,
	BANK_CASE_APPROVAL,
	BANK_CASE_KINDS
} BankCaseKind;

typedef struct BankCase
{
	BankCaseKind kind;
	union
	{
		BankTransfer transfer;
		BankApproval approval;
	}			of;
} BankCase;

extern const char *bank_case_name(BankCaseKind kind);
extern BankCaseKind bank_case_kind(BankEventType type);
extern const BankUuid *bank_case_id(const BankCase *c);
extern int64_t bank_case_version(const BankCase *c);
extern int64_t bank_case_position(const BankCase *c);
extern void bank_case_new(BankCaseKind kind, const BankUuid *id, BankCase *c);
extern unsigned bank_case_check(const BankCase *c, const BankEvent *event);
extern void bank_case_apply(BankCase *c, const BankEvent *event);
extern bool bank_case_same(const BankCase *a, const BankCase *b);

/* Rows of the read models. update: false when it had not this version. */
extern bool bank_case_find(BankCaseKind kind, const BankUuid *id, BankCase *c);
extern void bank_case_insert(const BankCase *c);
extern bool bank_case_update(const BankCase *c, int64_t old_version);
extern void bank_case_delete(const BankCase *c);
extern struct BankPlan *bank_case_all(BankCaseKind kind);
extern void bank_case_from_row(BankCaseKind kind, HeapTuple row, TupleDesc desc, BankCase *c);

#endif							/* BANK_STORE_CASES_H */
