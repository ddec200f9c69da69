/*
 * batch.c
 *		Many transfers in one call.
 *
 * Steps, after those of command.c:
 *	1. arguments of each order are checked;
 *	2. all accounts are locked, each once: customers' in identifier order, then
 *	   stripes of house accounts, which are never waited for; the clock is read, and
 *	   holds that have expired by then count as expired;
 *	3. idempotency keys are looked up;
 *	4. the orders are decided one after the other on the states in memory, each
 *	   on what the accepted ones before it have made of them;
 *	5. the keys of accepted orders are claimed; where a concurrent call was
 *	   first, 3 to 5 start again;
 *	6. stripes are opened and holds expired that the accepted orders need so, and
 *	   all their events are appended at once.
 *
 * Memory: from the store's allocator, until the command ends: per order about
 * 450 bytes with its result (130 more with an idempotency key, 420 when refused),
 * per account touched about 500. docs/performance.md has what a whole call takes.
 */
#include "application/batch.h"

#include "application/accounts.h"
#include "application/approvals.h"
#include "ports/clock.h"
#include "ports/event_store.h"
#include "ports/principal.h"

#include <stdlib.h>

/* An account of the batch: as it was locked, and as the accepted orders have made it. */
typedef struct BankBatchAccount
{
	BankUuid	id;				/* as the orders name it */
	bool		found;
	struct BankBatchAccount *same;	/* another name of the same stripe; NULL: none before */
	BankAccount before;
	BankAccount now;
	BankLocked *pending;		/* what must be appended before its first event; NULL: nothing */
} BankBatchAccount;

/* What an order has changed, to take it back when its chain fails. */
typedef struct BankBatchUndo
{
	BankBatchAccount *account;
	BankAccount now;
} BankBatchUndo;

/* An order on its way. */
typedef struct BankBatchEntry
{
	BankBatchAccount *from;		/* NULL: refused by its arguments alone */
	BankBatchAccount *to;
	struct BankBatchKey *key;	/* NULL: it has none */
} BankBatchEntry;

/* An order that has a key, and what is known of it. */
typedef struct BankBatchKey
{
	BankKey		key;
	int			i;				/* the order */
	struct BankBatchKey *earlier;	/* of the order before it with the same key; NULL: none */
} BankBatchKey;

typedef struct BankBatch
{
	const BankOrder *orders;
	BankOrderResult *results;
	int			n;
	BankBatchEntry *entries;
	BankBatchKey *keys;			/* of the orders that have one, in the order of keys */
	BankKey   **found;			/* these keys for the store; later those to claim */
	int			n_keys;
	BankBatchAccount *accounts; /* in identifier order */
	int			n_accounts;
	BankBatchUndo *undo;		/* of the chain being decided */
	int			n_undo;
	int64_t		recorded_at;
	bool		supervised;		/* orders may be too large for the caller alone */
} BankBatch;

/* Order of identifiers, for qsort and bsearch. */
static int
bank_batch_compare(const void *a, const void *b)
{
	return bank_uuid_compare(a, b);
}

/* The account with this identifier, which must be one of the batch's. */
static BankBatchAccount *
bank_batch_account(const BankBatch *batch, const BankUuid *id)
{
	BankBatchAccount *account = bsearch(id, batch->accounts, (size_t) batch->n_accounts,
										sizeof(BankBatchAccount), bank_batch_compare);

	return account->same != NULL ? account->same : account;
}

/* Keep a refusal as the result of an order. */
static void
bank_batch_refuse(BankBatch *batch, int i, const BankError *error)
{
	BankError  *kept = bank_store_allocate(sizeof(BankError));

	*kept = *error;
	batch->results[i].error = kept;
}

/* Step 1 for one order. BK016..BK018, BK021. */
static bool
bank_batch_check(const BankOrder *order, BankError *error)
{
	if (order->from_account == NULL)
		return bank_command_missing("from_account", error);
	if (order->to_account == NULL)
		return bank_command_missing("to_account", error);
	if (order->amount == NULL)
		return bank_command_missing("amount", error);
	return bank_command_check(&order->options, error);
}

/* Step 1: check all orders, and list the accounts that they name, each once and in order. */
static void
bank_batch_prepare(BankBatch *batch)
{
	BankUuid   *ids = bank_store_allocate(2 * (size_t) batch->n * sizeof(BankUuid));
	int			n_ids = 0;
	int			n_keys = 0;
	int			i;

	for (i = 0; i < batch->n; i++)
	{
		BankError	error;

		batch->results[i].error = NULL;
		batch->results[i].replayed = false;
		if (!bank_batch_check(&batch->orders[i], &error))
		{
			bank_batch_refuse(batch, i, &error);
			continue;
		}
		ids[n_ids++] = *batch->orders[i].from_account;
		ids[n_ids++] = *batch->orders[i].to_account;
		n_keys += batch->orders[i].options.key != NULL;
	}
	qsort(ids, (size_t) n_ids, sizeof(BankUuid), bank_batch_compare);
	batch->accounts = bank_store_allocate((size_t) n_ids * sizeof(BankBatchAccount));
	batch->n_accounts = 0;
	for (i = 0; i < n_ids; i++)
	{
		if (i > 0 && bank_uuid_equal(&ids[i], &ids[i - 1]))
			continue;
		batch->accounts[batch->n_accounts++].id = ids[i];
	}
	batch->keys = bank_store_allocate((size_t) n_keys * sizeof(BankBatchKey));
	batch->found = bank_store_allocate((size_t) n_keys * sizeof(BankKey *));
}

/* The account that was locked before as this stripe of a house account, or NULL. */
static BankBatchAccount *
bank_batch_find_house(BankBatch *batch, int end, const char *code, const char *currency)
{
	int			i;

	for (i = 0; i < end; i++)
	{
		const BankAccount *account = &batch->accounts[i].before;

		if (batch->accounts[i].found && strcmp(account->opening.house_code, code) == 0 &&
			memcmp(account->currency, currency, sizeof(account->currency)) == 0)
			return &batch->accounts[i];
	}
	return NULL;
}

/* Step 2: lock every account once; a house account may go by several names. */
static void
bank_batch_lock(BankBatch *batch)
{
	size_t		n = (size_t) batch->n_accounts;
	BankUuid   *ids = bank_store_allocate(n * sizeof(BankUuid));
	BankAccount **states = bank_store_allocate(n * sizeof(BankAccount *));
	bool	   *found = bank_store_allocate(n * sizeof(bool));
	int			i;

	for (i = 0; i < batch->n_accounts; i++)
	{
		ids[i] = batch->accounts[i].id;
		states[i] = &batch->accounts[i].before;
	}
	bank_store_lock_accounts(ids, batch->n_accounts, states, found);
	for (i = 0; i < batch->n_accounts; i++)
		batch->accounts[i].found = found[i];
	for (i = 0; i < batch->n_accounts; i++)
	{
		BankBatchAccount *account = &batch->accounts[i];
		char		code[BANK_HOUSE_CODE_TEXT];
		char		currency[4];
		BankError	ignored;

		if (account->found || !bank_store_house_of(&account->id, code, currency))
			continue;
		account->same = bank_batch_find_house(batch, i, code, currency);
		if (account->same != NULL)
			continue;
		account->pending = bank_store_allocate(sizeof(BankLocked));
		account->found = bank_accounts_lock_house(code, currency, account->pending, &ignored);
		account->before = account->pending->account;
	}
	for (i = 0; i < batch->n; i++)
	{
		if (batch->results[i].error != NULL)
			continue;
		batch->entries[i].from = bank_batch_account(batch, batch->orders[i].from_account);
		batch->entries[i].to = bank_batch_account(batch, batch->orders[i].to_account);
	}
}

/*
 * The time of the batch, as bank_accounts_settle says; accounts with holds that have
 * expired by then are settled.
 */
static int64_t
bank_batch_settle(BankBatch *batch)
{
	int64_t		at = bank_clock_now();
	int			i;

	for (i = 0; i < batch->n_accounts; i++)
	{
		if (batch->accounts[i].found && at < batch->accounts[i].before.recorded_at)
			at = batch->accounts[i].before.recorded_at;
	}
	for (i = 0; i < batch->n_accounts; i++)
	{
		BankBatchAccount *account = &batch->accounts[i];

		if (!account->found || (account->pending == NULL && account->before.next_expiry > at))
			continue;
		if (account->pending == NULL)
		{
			account->pending = bank_store_allocate(sizeof(BankLocked));
			account->pending->account = account->before;
		}
		bank_accounts_settle_at(account->pending, at);
		account->before = account->pending->account;
	}
	return at;
}

/* Order of keyed orders by key and then by sequence, for qsort. */
static int
bank_batch_compare_keys(const void *a, const void *b)
{
	const BankBatchKey *x = a;
	const BankBatchKey *y = b;
	int			order = strcmp(x->key.key, y->key.key);

	return order != 0 ? order : (x->i > y->i) - (x->i < y->i);
}

/* List the orders that have a key, and what they ask for. */
static void
bank_batch_list_keys(BankBatch *batch)
{
	int			i;

	for (i = 0; i < batch->n; i++)
	{
		const BankOrder *order = &batch->orders[i];
		BankBatchKey *key;
		BankRequest request;

		if (batch->entries[i].from == NULL || order->options.key == NULL)
			continue;
		bank_request_begin(&request, "transfer", &order->options);
		bank_request_uuid(&request, "from_account", order->from_account);
		bank_request_uuid(&request, "to_account", order->to_account);
		bank_request_money(&request, "amount", order->amount);
		key = &batch->keys[batch->n_keys++];
		key->i = i;
		key->key.key = order->options.key;
		bank_store_hash_request(request.text, key->key.request_hash);
	}
	qsort(batch->keys, (size_t) batch->n_keys, sizeof(BankBatchKey), bank_batch_compare_keys);
	for (i = 0; i < batch->n_keys; i++)
		batch->entries[batch->keys[i].i].key = &batch->keys[i];
}

/* Step 3: what is known of the orders' keys, in the store and within the batch. */
static void
bank_batch_find_keys(BankBatch *batch)
{
	int			k;

	for (k = 0; k < batch->n_keys; k++)
	{
		BankBatchKey *key = &batch->keys[k];

		batch->found[k] = &key->key;
		key->earlier = k > 0 && strcmp(key->key.key, key[-1].key.key) == 0 ? key - 1 : NULL;
	}
	if (batch->n_keys > 0)
		bank_store_find_keys(batch->found, batch->n_keys);
}

/* Has this order been accepted in this batch, not replayed? */
static bool
bank_batch_accepted(const BankBatch *batch, int i)
{
	return batch->entries[i].from != NULL && batch->results[i].error == NULL &&
		!batch->results[i].replayed;
}

/* The key of the accepted order of this batch before this one that has the same, or NULL. */
static BankBatchKey *
bank_batch_same_key(const BankBatch *batch, BankBatchKey *key)
{
	BankBatchKey *earlier = key->earlier;

	while (earlier != NULL && !bank_batch_accepted(batch, earlier->i))
		earlier = earlier->earlier;
	/* what is refused by now stays refused: the next one need not walk here again */
	key->earlier = earlier;
	return earlier;
}

/* Does an order's key have an outcome already? Then that is the order's: true. BK007. */
static bool
bank_batch_replay(BankBatch *batch, int i)
{
	BankOrderResult *result = &batch->results[i];
	BankBatchKey *key = batch->entries[i].key;
	BankBatchKey *earlier;
	BankError	error;

	if (key == NULL)
		return false;
	earlier = bank_batch_same_key(batch, key);
	if (key->key.state == BANK_KEY_REFUSED ||
		(earlier != NULL && memcmp(earlier->key.request_hash, key->key.request_hash,
								   BANK_REQUEST_HASH) != 0))
	{
		bank_command_key_reused(key->key.key, &error);
		bank_batch_refuse(batch, i, &error);
		return true;
	}
	if (key->key.state == BANK_KEY_FREE && earlier == NULL)
		return false;
	result->replayed = true;
	if (key->key.state == BANK_KEY_DENIED)
		result->error = key->key.denial;
	else
		result->event = earlier != NULL ? batch->results[earlier->i].event : *key->key.first;
	/* the key of a command that became a request: a row cannot say so, and nothing has moved */
	if (result->error == NULL && result->event.type == BANK_EVENT_APPROVAL_REQUESTED)
	{
		char		id[BANK_UUID_TEXT];

		bank_uuid_format(&result->event.aggregate_id, id);
		bank_error_set(&error, BANK_APPROVAL_REQUIRED, "Request: %s", id);
		bank_batch_refuse(batch, i, &error);
	}
	return true;
}

/* Apply one side of an accepted order, remembering how to take it back. */
static void
bank_batch_apply(BankBatch *batch, BankBatchAccount *account, const BankEvent *event,
				 bool as_peer)
{
	batch->undo[batch->n_undo].account = account;
	batch->undo[batch->n_undo++].now = account->now;
	bank_account_apply(&account->now, event, as_peer);
}

/* Refuse an order for a missing account: the one a single transfer would miss first. */
static void
bank_batch_refuse_missing(BankBatch *batch, int i)
{
	const BankOrder *order = &batch->orders[i];
	bool		from_first = bank_uuid_compare(order->from_account, order->to_account) <= 0;
	const BankUuid *first = from_first ? order->from_account : order->to_account;
	const BankUuid *second = from_first ? order->to_account : order->from_account;
	BankError	error;

	bank_command_not_found(bank_batch_account(batch, first)->found ? second : first, &error);
	bank_batch_refuse(batch, i, &error);
}

/* Step 4 for one order: decide it on the present states. */
static void
bank_batch_decide(BankBatch *batch, int i)
{
	BankBatchEntry *entry = &batch->entries[i];
	BankOrderResult *result = &batch->results[i];
	BankEvent  *event = &result->event;
	BankError	error;

	result->replayed = false;
	if (entry->from == NULL)
		return;
	result->error = NULL;
	if (bank_batch_replay(batch, i))
		return;
	if (!bank_account_check_amount(batch->orders[i].amount, &error))
	{
		bank_batch_refuse(batch, i, &error);
		return;
	}
	if (!entry->from->found || !entry->to->found)
	{
		bank_batch_refuse_missing(batch, i);
		return;
	}
	if (!bank_account_decide_movement(BANK_EVENT_TRANSFERRED, &entry->from->now, &entry->to->now,
									  batch->orders[i].amount, event, &error))
	{
		bank_batch_refuse(batch, i, &error);
		return;
	}
	if (batch->supervised &&
		!bank_approvals_refuse(event->amount, event->currency, &batch->orders[i].options, &error))
	{
		bank_batch_refuse(batch, i, &error);
		return;
	}
	event->recorded_at = batch->recorded_at;
	event->has_occurred_at = batch->orders[i].options.has_occurred_at;
	event->occurred_at = batch->orders[i].options.occurred_at;
	event->metadata = batch->orders[i].options.metadata;
	bank_batch_apply(batch, entry->from, event, false);
	bank_batch_apply(batch, entry->to, event, true);
}

/* Refuse all members of a chain, first..last, because of the one that failed. BK023. */
static void
bank_batch_fail_chain(BankBatch *batch, int first, int last, int failed)
{
	BankErrorCode code = batch->results[failed].error->code;
	BankError	error;
	int			i;

	bank_error_set(&error, BANK_LINKED_ORDER_FAILED, "Order %d failed: %s %s", failed + 1,
				   bank_error_sqlstate(code), bank_error_message(code));
	while (batch->n_undo > 0)
	{
		BankBatchUndo *undo = &batch->undo[--batch->n_undo];

		undo->account->now = undo->now;
	}
	for (i = first; i <= last; i++)
	{
		if (i == failed)
			continue;
		batch->results[i].replayed = false;
		bank_batch_refuse(batch, i, &error);
	}
}

/* Step 4: decide all orders in their sequence, chain by chain; a lone order is a chain of one. */
static void
bank_batch_decide_all(BankBatch *batch)
{
	int			first;
	int			last;

	for (first = 0; first < batch->n_accounts; first++)
		batch->accounts[first].now = batch->accounts[first].before;
	for (first = 0; first < batch->n; first = last + 1)
	{
		int			failed = -1;
		int			i;

		for (last = first; batch->orders[last].linked; last++)
			;
		batch->n_undo = 0;
		for (i = first; i <= last && failed < 0; i++)
		{
			bank_batch_decide(batch, i);
			if (batch->results[i].error != NULL)
				failed = i;
		}
		if (failed >= 0 && first < last)
			bank_batch_fail_chain(batch, first, last, failed);
	}
}

/*
 * Step 5: claim the keys of accepted orders. False, with nothing claimed: a
 * concurrent call was first with one.
 */
static bool
bank_batch_claim(BankBatch *batch)
{
	int			n = 0;
	int			k;

	for (k = 0; k < batch->n_keys; k++)
	{
		BankBatchKey *key = &batch->keys[k];
		const BankEvent *event = &batch->results[key->i].event;

		if (!bank_batch_accepted(batch, key->i))
			continue;
		key->key.aggregate_id = event->aggregate_id;
		key->key.version = event->version;
		batch->found[n++] = &key->key;
	}
	return n == 0 || bank_store_claim_keys(batch->found, n);
}

/* Step 6: append what is pending on the accounts of accepted orders, and all events at once. */
static void
bank_batch_append(BankBatch *batch)
{
	BankEvent **events = bank_store_allocate((size_t) batch->n * sizeof(BankEvent *));
	const BankAccount **before = bank_store_allocate((size_t) batch->n_accounts *
													 sizeof(BankAccount *));
	int			n_events = 0;
	int			n_before = 0;
	int			i;

	for (i = 0; i < batch->n_accounts; i++)
	{
		BankBatchAccount *account = &batch->accounts[i];

		if (!account->found || account->now.version == account->before.version)
			continue;
		if (account->pending != NULL)
		{
			bank_accounts_open(account->pending);
			account->before = account->pending->account;
		}
		before[n_before++] = &account->before;
	}
	for (i = 0; i < batch->n; i++)
	{
		if (bank_batch_accepted(batch, i))
		{
			BankEvent  *event = &batch->results[i].event;

			bank_clock_new_uuid(&event->event_id);
			events[n_events++] = event;
		}
	}
	if (n_events > 0)
		bank_store_append_all(events, n_events, before, n_before);
	for (i = 0; i < batch->n_keys; i++)
	{
		BankBatchKey *key = &batch->keys[i];

		/* a replay of an order of this batch was copied before it was complete */
		if (batch->results[key->i].replayed && key->key.state == BANK_KEY_FREE)
			batch->results[key->i].event =
				batch->results[bank_batch_same_key(batch, key)->i].event;
	}
}

/* How many orders the longest chain has; a lone order is a chain of one. */
static int
bank_batch_longest_chain(const BankOrder *orders, int n)
{
	int			longest = 1;
	int			length = 1;
	int			i;

	for (i = 0; i < n; i++)
	{
		length = orders[i].linked ? length + 1 : 1;
		if (length > longest)
			longest = length;
	}
	return longest;
}

/*
 * Post the orders. False only when the call as a whole makes no sense (BK024);
 * what becomes of each order is in results.
 */
bool
bank_batch_post(const BankOrder *orders, int n, BankOrderResult *results, BankError *error)
{
	BankBatch	batch = {.orders = orders, .results = results, .n = n};

	if (n > 0 && orders[n - 1].linked)
		return bank_error_set(error, BANK_INVALID_BATCH,
							  "The last order is linked, but there is none after it.");
	batch.supervised = bank_principal_is_supervised();
	batch.entries = bank_store_allocate((size_t) n * sizeof(BankBatchEntry));
	batch.undo = bank_store_allocate(2 * (size_t) bank_batch_longest_chain(orders, n) *
									 sizeof(BankBatchUndo));
	bank_batch_prepare(&batch);
	bank_batch_lock(&batch);
	batch.recorded_at = bank_batch_settle(&batch);
	bank_batch_list_keys(&batch);
	for (;;)
	{
		bank_batch_find_keys(&batch);
		bank_batch_decide_all(&batch);
		if (bank_batch_claim(&batch))
			break;
	}
	bank_batch_append(&batch);
	return true;
}
