/*
 * places.c
 *		Where the rows of bank.accounts are that the running transaction has locked or
 *		written.
 *
 * A command looks at a row twice, to lock it and to update it, and a transaction
 * of many commands at the same rows (a stripe, a payer of salaries) again and
 * again. While it lasts, none of their older versions can be pruned, so that an
 * index lookup would walk over all of them. A place is a hint: whoever uses it
 * must see to it that the row found there is the one, and held by this
 * transaction.
 *
 * Memory: TopTransactionContext, 40 to 80 bytes per row; all is forgotten when
 * the transaction ends. No locks.
 */
#include "postgres.h"

#include "adapters/store/store.h"

#include "storage/proc.h"
#include "utils/memutils.h"

typedef struct BankPlace
{
	BankUuid	account_id;
	char		status;			/* simplehash's own */
	Oid			file;			/* the table's, which a new or rewritten table has another of */
	ItemPointerData place;
} BankPlace;

#define SH_PREFIX bank_places
#define SH_ELEMENT_TYPE BankPlace
#define SH_KEY_TYPE BankUuid
#define SH_KEY account_id
#define SH_HASH_KEY(table, key) bank_uuid_hash(&(key))
#define SH_EQUAL(table, a, b) bank_uuid_equal(&(a), &(b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Stripes are looked for by house account and number; a transaction rarely uses more of them. */
#define BANK_PLACE_STRIPES 16

typedef struct BankPlaceStripe
{
	char		house_code[BANK_HOUSE_CODE_TEXT];
	char		currency[3];
	int32		stripe;
	BankUuid	account_id;
} BankPlaceStripe;

static LocalTransactionId bank_places_transaction = InvalidLocalTransactionId;
static bank_places_hash *bank_places = NULL;
static BankPlaceStripe bank_place_stripes[BANK_PLACE_STRIPES];
static int	bank_place_stripe_count = 0;

/* Does what is remembered belong to the running transaction? Else it is gone already. */
static bool
bank_places_current(void)
{
	return bank_places_transaction == bank_local_transaction_id() &&
		LocalTransactionIdIsValid(bank_places_transaction);
}

/* Remember the stripe behind an account, the latest ones. */
static void
bank_place_remember_stripe(const BankAccount *account)
{
	const BankOpening *opening = &account->opening;
	BankPlaceStripe *entry;
	int			i;

	for (i = 0; i < Min(bank_place_stripe_count, BANK_PLACE_STRIPES); i++)
	{
		if (bank_uuid_equal(&bank_place_stripes[i].account_id, &account->id))
			return;
	}
	entry = &bank_place_stripes[bank_place_stripe_count++ % BANK_PLACE_STRIPES];
	memcpy(entry->house_code, opening->house_code, sizeof(entry->house_code));
	memcpy(entry->currency, account->currency, sizeof(entry->currency));
	entry->stripe = opening->stripe;
	entry->account_id = account->id;
}

/* Remember where the row of an account is, in this file of the table. */
void
bank_place_remember(const BankAccount *account, Oid file, const ItemPointerData *place)
{
	BankPlace  *entry;
	bool		found;

	if (!bank_places_current())
	{
		bank_places_transaction = InvalidLocalTransactionId;
		bank_places = bank_places_create(TopTransactionContext, 4, NULL);
		bank_place_stripe_count = 0;
		bank_places_transaction = bank_local_transaction_id();
	}
	entry = bank_places_insert(bank_places, account->id, &found);
	entry->file = file;
	entry->place = *place;
	if (account->opening.type == BANK_TYPE_HOUSE)
		bank_place_remember_stripe(account);
}

/* Where the row of an account was last seen in this transaction; false: not yet. */
bool
bank_place_find(const BankUuid *account_id, Oid *file, ItemPointerData *place)
{
	BankPlace  *entry;

	if (!bank_places_current())
		return false;
	entry = bank_places_lookup(bank_places, *account_id);
	if (entry == NULL)
		return false;
	*file = entry->file;
	*place = entry->place;
	return true;
}

/* The account behind a stripe this transaction has used; false: not known. */
bool
bank_place_find_stripe(const char *code, const char *currency, int32 stripe, BankUuid *account_id)
{
	int			i;

	if (!bank_places_current())
		return false;
	for (i = 0; i < Min(bank_place_stripe_count, BANK_PLACE_STRIPES); i++)
	{
		const BankPlaceStripe *entry = &bank_place_stripes[i];

		if (entry->stripe == stripe && strcmp(entry->house_code, code) == 0 &&
			memcmp(entry->currency, currency, sizeof(entry->currency)) == 0)
		{
			*account_id = entry->account_id;
			return true;
		}
	}
	return false;
}
