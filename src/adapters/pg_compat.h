/*
 * pg_compat.h
 *		What differs between the supported server versions (15 to 18).
 *
 * The only file that looks at PG_VERSION_NUM. It gives older servers the names
 * of newer ones, so that everything else is written for the newest. Include it
 * after postgres.h.
 */
#ifndef BANK_PG_COMPAT_H
#define BANK_PG_COMPAT_H

#include "access/tableam.h"
#include "fmgr.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "banking supports PostgreSQL 15, 16, 17 and 18"
#endif

/*
 * Servers from 16 on export the functions of PG_FUNCTION_INFO_V1 from a library
 * built with -fvisibility=hidden, and whatever is marked PGDLLEXPORT.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_, funcname) (void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_, funcname) (void) \
{ \
	static const Pg_finfo_record info = {1}; \
\
	return &info; \
} \
extern int	no_such_variable
#endif

/*
 * Soft errors came with 16: errsave() reports to the context if that can take
 * it, and returns; else it raises. Before, there is no such context.
 */
#if PG_VERSION_NUM < 160000
#define errsave(context, ...) \
	do { \
		(void) (context); \
		ereport(ERROR, __VA_ARGS__); \
	} while (0)
#define ereturn(context, dummy_value, ...) \
	do { \
		errsave(context, __VA_ARGS__); \
		return dummy_value; \
	} while (0)
#endif

/* pg_noreturn, written before the declaration, came with 18. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

/* A number from 1 on that no two backends have at the same time. */
#if PG_VERSION_NUM < 170000
#define bank_backend_number() ((int32) MyBackendId)
#else
#define bank_backend_number() ((int32) MyProcNumber + 1)
#endif

/* The number of the transaction within this backend; it also counts those that write nothing. */
#if PG_VERSION_NUM < 170000
#define bank_local_transaction_id() (MyProc->lxid)
#else
#define bank_local_transaction_id() (MyProc->vxid.lxid)
#endif

/* The status of the i-th backend, 1 based, in this backend's copy of the table. */
#if PG_VERSION_NUM < 160000
#define bank_local_backend_status(i) pgstat_fetch_stat_local_beentry(i)
#else
#define bank_local_backend_status(i) pgstat_get_local_beentry_by_index(i)
#endif

/* Begin an index scan; 18 added an argument for its instrumentation. */
#if PG_VERSION_NUM < 180000
#define bank_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#else
#define bank_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#endif

/*
 * Which indexes must be told of an updated row: none of them after a HOT update,
 * all, or from 16 on the summarizing ones (BRIN) only.
 */
#if PG_VERSION_NUM < 160000
typedef bool BankIndexUpdate;
#define bank_index_update_needed(update) (update)
#define bank_insert_index_tuples(info, slot, estate, update) \
	((void) (update), ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL))
#define bank_insert_new_index_tuples(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL)
#else
typedef TU_UpdateIndexes BankIndexUpdate;
#define bank_index_update_needed(update) ((update) != TU_None)
#define bank_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL, \
						  (update) == TU_Summarizing)
#define bank_insert_new_index_tuples(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL, false)
#endif

/* A set of events to wait for that lives until it is freed; 17 binds it to a resource owner. */
#if PG_VERSION_NUM < 170000
#define bank_create_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, n)
#else
#define bank_create_wait_event_set(n) CreateWaitEventSet(NULL, n)
#endif

/* The latest transaction that has ended, in 64 bits. */
#if PG_VERSION_NUM < 170000
#define bank_transam_variables ShmemVariableCache
#else
#define bank_transam_variables TransamVariables
#endif

/* Decode the fields of a date and time; 16 added an argument for details of errors. */
#if PG_VERSION_NUM < 160000
#define bank_decode_datetime(fields, types, n, type, tm, fraction, zone) \
	DecodeDateTime(fields, types, n, type, tm, fraction, zone)
#else
#define bank_decode_datetime(fields, types, n, type, tm, fraction, zone) \
	DecodeDateTime(fields, types, n, type, tm, fraction, zone, &(DateTimeErrorExtra) {0})
#endif

/* May this role execute this function? */
#if PG_VERSION_NUM < 160000
#define bank_may_execute(function, role) \
	(pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define bank_may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* What an action of the JSON parser returns, and a lexer for it, which copies strings. */
#if PG_VERSION_NUM < 160000
#define BankJsonAction void
#define BANK_JSON_GO_ON return
#else
#define BankJsonAction JsonParseErrorType
#define BANK_JSON_GO_ON return JSON_SUCCESS
#endif
#if PG_VERSION_NUM < 170000
#define bank_json_lexer(json, len) \
	makeJsonLexContextCstringLen(pstrdup(json), (int) (len), GetDatabaseEncoding(), true)
#else
#define bank_json_lexer(json, len) \
	makeJsonLexContextCstringLen(NULL, json, len, GetDatabaseEncoding(), true)
#endif

#endif							/* BANK_PG_COMPAT_H */
