/*
 * event_store.c
 *		Appending events.
 *
 * Locks: append needs the locks of all accounts of the event, so the position
 * it draws is greater than any earlier one on these streams. Must be called
 * inside a BankSession.
 */
#include "postgres.h"

#include "adapters/store/store.h"
#include "ports/event_store.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "utils/lsyscache.h"

/*
 * While events are being appended: the accounts they were decided on, as they
 * were before, in identifier order. The trigger then need not read them again;
 * they are locked and current.
 */
static const BankAccount *const *bank_decided_accounts = NULL;
static int	bank_decided_count = 0;

/* Order of an identifier and an account, for bsearch. */
static int
bank_decided_compare(const void *id, const void *account)
{
	return bank_uuid_compare(id, &(*(const BankAccount *const *) account)->id);
}

/* The account with this identifier among those of the append under way, or NULL. */
const BankAccount *
bank_store_decided_account(const BankUuid *account_id)
{
	const BankAccount *const *found;

	if (bank_decided_accounts == NULL)
		return NULL;
	found = bsearch(account_id, bank_decided_accounts, bank_decided_count,
					sizeof(*bank_decided_accounts), bank_decided_compare);
	return found == NULL ? NULL : *found;
}

/* All accounts of the append under way, in identifier order. */
const BankAccount *const *
bank_store_decided_accounts(int *n)
{
	*n = bank_decided_count;
	return bank_decided_accounts;
}

/* A sequence of schema bank. */
static Oid
bank_sequence_find(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("bank", false));
}

/* See ports/event_store.h. */
int64_t
bank_store_next_account_serial(void)
{
	return nextval_internal(bank_sequence_find("account_serial_seq"), true);
}

/* Is a command appending right now? Else the row comes from a restore, or somebody's hand. */
bool
bank_store_is_appending(void)
{
	return bank_decided_accounts != NULL;
}

/* Move the sequence of positions up to one that was not drawn from it. */
void
bank_store_pass_position(int64 position)
{
	static BankPlan plan = {
		.text = "SELECT pg_catalog.setval('bank.events_position_seq', $1) "
		"FROM bank.events_position_seq "
		"WHERE last_value OPERATOR(pg_catalog.<) $1 OR NOT is_called",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		values[] = {Int64GetDatum(position)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* The same for the serial numbers of accounts. */
void
bank_store_pass_account_serial(int64 serial)
{
	static BankPlan plan = {
		.text = "SELECT pg_catalog.setval('bank.account_serial_seq', $1) "
		"FROM bank.account_serial_seq "
		"WHERE last_value OPERATOR(pg_catalog.<) $1 OR NOT is_called",
		.nargs = 1, .types = {INT8OID}
	};
	Datum		values[] = {Int64GetDatum(serial)};

	bank_plan_execute(&plan, values, NULL, false);
}

/* Order of two accounts, for qsort. */
static int
bank_decided_order(const void *a, const void *b)
{
	return bank_uuid_compare(&(*(const BankAccount *const *) a)->id,
							 &(*(const BankAccount *const *) b)->id);
}

/*
 * See ports/event_store.h. The accounts are put into order by the identifiers of
 * their rows, which for house accounts are those of the stripes.
 */
void
bank_store_append_all(BankEvent *const *events, int n, const BankAccount *const *accounts,
					  int n_accounts)
{
	const BankAccount **ordered = palloc(Max(n_accounts, 1) * sizeof(*ordered));
	Oid			positions = bank_sequence_find("events_position_seq");
	int			i;

	bank_actor_begin();
	memcpy(ordered, accounts, n_accounts * sizeof(*ordered));
	qsort(ordered, n_accounts, sizeof(*ordered), bank_decided_order);
	for (i = 0; i < n; i++)
		events[i]->position = nextval_internal(positions, true);
	bank_decided_accounts = ordered;
	bank_decided_count = n_accounts;
	PG_TRY();
	{
		bank_event_rows_insert(events, n);
	}
	PG_FINALLY();
	{
		bank_decided_accounts = NULL;
		bank_decided_count = 0;
	}
	PG_END_TRY();
	pfree(ordered);
}

/* See ports/event_store.h. */
void
bank_store_append(BankEvent *event, const BankAccount *aggregate, const BankAccount *peer)
{
	const BankAccount *accounts[2];
	int			n = 0;

	if (aggregate != NULL)
		accounts[n++] = aggregate;
	if (peer != NULL)
		accounts[n++] = peer;
	bank_store_append_all(&event, 1, accounts, n);
}
