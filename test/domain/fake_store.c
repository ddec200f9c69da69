/*
 * fake_store.c
 *		The ports of the use cases, in memory.
 */
#include "fake_store.h"
#include "ports/principal.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

FakeStore	fake;
char		fake_trace[1024];
char		fake_request[600];
void		(*fake_meanwhile) (void);

static FakeStore fake_before;

static void fake_free(void);

/* A promise of the ports was broken: no test can go on. */
static _Noreturn void
fake_die(const char *what)
{
	printf("Bail out! fake store: %s (after \"%s\")\n", what, fake_trace);
	exit(2);
}

/* Note a use of the ports. */
__attribute__((format(printf, 1, 2)))
static void
fake_note(const char *format, ...)
{
	size_t		len = strlen(fake_trace);
	va_list		args;

	va_start(args, format);
	(void) vsnprintf(fake_trace + len, sizeof(fake_trace) - len, format, args);
	va_end(args);
}

/* An identifier that shows its number, below all that bank_clock_new_uuid makes. */
BankUuid
fake_uuid(int n)
{
	BankUuid	uuid;

	memset(&uuid, 0, sizeof(uuid));
	uuid.bytes[6] = 0x70;
	uuid.bytes[8] = 0x80;
	uuid.bytes[14] = (uint8_t) (n / 256);
	uuid.bytes[15] = (uint8_t) (n % 256);
	return uuid;
}

/* An empty ledger, on 2026-01-01. */
void
fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.now = INT64_C(9497) * 86400 * 1000000;
	fake_begin();
}

/* A transaction begins: remember where to go back to. */
void
fake_begin(void)
{
	fake_free();
	fake_before = fake;
	fake_trace[0] = '\0';
	fake_meanwhile = NULL;
}

/* A refusal takes everything back, but not the numbers and times that were drawn. */
void
fake_rollback(void)
{
	int64_t		serial = fake.serial;
	int64_t		now = fake.now;
	int			uuids = fake.uuids;

	fake = fake_before;
	fake.serial = serial;
	fake.now = now;
	fake.uuids = uuids;
}

/* --- ports/clock.h --- */

int64_t
bank_clock_now(void)
{
	return fake.now++;
}

void
bank_clock_new_uuid(BankUuid *uuid)
{
	*uuid = fake_uuid(++fake.uuids);
	uuid->bytes[0] = 1;
}

/* --- ports/event_store.h --- */

/* The account with this identifier, or NULL. */
static BankAccount *
fake_find(const BankUuid *id)
{
	int			i;

	for (i = 0; i < fake.n_accounts; i++)
	{
		if (bank_uuid_equal(&fake.accounts[i].id, id))
			return &fake.accounts[i];
	}
	return NULL;
}

bool
bank_store_lock_account(const BankUuid *account_id, BankAccount *account)
{
	BankAccount *found = fake_find(account_id);

	fake_note("lock:%d ", account_id->bytes[15]);
	if (found == NULL || found->opening.type == BANK_TYPE_HOUSE)
		return false;
	*account = *found;
	return true;
}

bool
bank_store_find_number(const char *number, BankUuid *account_id)
{
	int			i;

	fake_note("number ");
	for (i = 0; i < fake.n_accounts; i++)
	{
		if (strcmp(fake.accounts[i].opening.number, number) == 0)
		{
			*account_id = fake.accounts[i].id;
			return true;
		}
	}
	return false;
}

void
bank_store_lock_accounts(const BankUuid *account_ids, int n, BankAccount *const *accounts,
						 bool *found)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (i > 0 && bank_uuid_compare(&account_ids[i - 1], &account_ids[i]) >= 0)
			fake_die("accounts are not locked in order");
		found[i] = bank_store_lock_account(&account_ids[i], accounts[i]);
	}
}

bool
bank_store_house_of(const BankUuid *account_id, char code[BANK_HOUSE_CODE_TEXT], char currency[4])
{
	int			i;

	for (i = 0; i < fake.n_accounts; i++)
	{
		const BankAccount *stripe = &fake.accounts[i];

		if (stripe->opening.type == BANK_TYPE_HOUSE &&
			(bank_uuid_equal(&stripe->opening.house_account_id, account_id) ||
			 bank_uuid_equal(&stripe->id, account_id)))
		{
			memcpy(code, stripe->opening.house_code, BANK_HOUSE_CODE_TEXT);
			memcpy(currency, stripe->currency, 3);
			currency[3] = '\0';
			return true;
		}
	}
	return false;
}

bool
bank_store_lock_house(const char *code, const char *currency, BankAccount *account,
					  BankHouseLookup *lookup)
{
	uint8_t		digest[12] = {0};
	int			i;

	fake_note("house:%s ", code);
	memset(lookup, 0, sizeof(*lookup));
	lookup->stripe = 1;
	for (i = 0; i < fake.n_accounts; i++)
	{
		const BankAccount *stripe = &fake.accounts[i];

		if (stripe->opening.type != BANK_TYPE_HOUSE ||
			strcmp(stripe->opening.house_code, code) != 0)
			continue;
		lookup->code_known = true;
		if (memcmp(stripe->currency, currency, 3) != 0)
			continue;
		lookup->known = true;
		lookup->stripe = stripe->opening.stripe + 1;
		if (!fake.stripe_busy)
		{
			*account = *stripe;
			return true;
		}
	}
	/* good enough for one ledger: letters of code and currency instead of a digest */
	for (i = 0; code[i] != '\0'; i++)
		digest[i % 8] = (uint8_t) (digest[i % 8] * 31 + code[i]);
	memcpy(digest + 8, currency, 3);
	bank_uuid_house(digest, &lookup->house_account_id);
	return false;
}

bool
bank_store_identifier_taken(const BankUuid *account_id)
{
	fake_note("exists ");
	return fake_find(account_id) != NULL || fake_transfer(account_id) != NULL;
}

bool
bank_store_house_exists(const char *code, const char *currency)
{
	int			i;

	fake_note("house exists ");
	for (i = 0; i < fake.n_accounts; i++)
	{
		if (strcmp(fake.accounts[i].opening.house_code, code) == 0 &&
			memcmp(fake.accounts[i].currency, currency, 3) == 0)
			return true;
	}
	return false;
}

int64_t
bank_store_next_account_serial(void)
{
	fake_note("serial ");
	return ++fake.serial;
}

/* The hold with this identifier, or NULL. */
BankHold *
fake_hold(const BankUuid *hold_id)
{
	int			i;

	for (i = 0; i < fake.n_holds; i++)
	{
		if (bank_uuid_equal(&fake.holds[i].id, hold_id))
			return &fake.holds[i];
	}
	return NULL;
}

bool
bank_store_find_hold(const BankUuid *hold_id, BankHold *hold)
{
	const BankHold *found = fake_hold(hold_id);

	fake_note("hold ");
	if (found != NULL)
		*hold = *found;
	return found != NULL;
}

/* Order of holds by expiry and identifier, for qsort. */
static int
fake_compare_holds(const void *a, const void *b)
{
	const BankHold *x = a;
	const BankHold *y = b;

	if (x->expires_at != y->expires_at)
		return x->expires_at < y->expires_at ? -1 : 1;
	return bank_uuid_compare(&x->id, &y->id);
}

int
bank_store_expired_holds(const BankUuid *account_id, int64_t at, BankHold **holds,
						 int64_t *next_expiry)
{
	int			n = 0;
	int			i;

	fake_note("expired:%d ", account_id->bytes[15]);
	*holds = bank_store_allocate(FAKE_HOLDS * sizeof(BankHold));
	*next_expiry = BANK_NO_EXPIRY;
	for (i = 0; i < fake.n_holds; i++)
	{
		const BankHold *hold = &fake.holds[i];

		if (hold->status != BANK_HOLD_OPEN || !bank_uuid_equal(&hold->account_id, account_id))
			continue;
		if (hold->expires_at <= at)
			(*holds)[n++] = *hold;
		else if (hold->expires_at < *next_expiry)
			*next_expiry = hold->expires_at;
	}
	qsort(*holds, (size_t) n, sizeof(BankHold), fake_compare_holds);
	return n;
}

int
bank_store_due_accounts(int64_t at, int max, BankUuid **account_ids)
{
	int			n = 0;
	int			i;

	*account_ids = bank_store_allocate(FAKE_ACCOUNTS * sizeof(BankUuid));
	for (i = 0; i < fake.n_accounts && n < max; i++)
	{
		if (fake.accounts[i].next_expiry <= at)
			(*account_ids)[n++] = fake.accounts[i].id;
	}
	return n;
}

/* Check an event against its hold and apply it. */
static void
fake_apply_hold(const BankEvent *event)
{
	BankHold   *hold = fake_hold(&event->hold_id);
	unsigned	flaws;

	if (hold == NULL)
	{
		if (fake.n_holds == FAKE_HOLDS)
			fake_die("too many holds");
		hold = &fake.holds[fake.n_holds++];
		if (fake_is_customer)
			fake.made_for[fake.n_holds - 1] = fake_owner;
		hold->status = BANK_HOLD_UNKNOWN;
	}
	flaws = bank_hold_check(hold, fake_find(&event->aggregate_id), event);
	if (flaws != 0)
		fake_die(bank_flaw_text(flaws));
	bank_hold_apply(hold, event);
}

/* The transfer with this identifier, or NULL. */
BankTransfer *
fake_transfer(const BankUuid *transfer_id)
{
	int			i;

	for (i = 0; i < fake.n_transfers; i++)
	{
		if (bank_uuid_equal(&fake.transfers[i].id, transfer_id))
			return &fake.transfers[i];
	}
	return NULL;
}

bool
bank_store_find_transfer(const BankUuid *transfer_id, BankTransfer *transfer)
{
	const BankTransfer *found = fake_transfer(transfer_id);

	memset(transfer, 0, sizeof(*transfer));
	transfer->id = *transfer_id;
	transfer->state = BANK_TRANSFER_NONE;
	if (found != NULL)
		*transfer = *found;
	return found != NULL;
}

void
bank_store_lock_transfer(const BankUuid *transfer_id, BankTransfer *transfer)
{
	if (strstr(fake_trace, "lock:") != NULL || strstr(fake_trace, "house:") != NULL)
		fake_die("a transfer is locked after accounts");
	fake_note("transfer ");
	(void) bank_store_find_transfer(transfer_id, transfer);
}

void
bank_store_read_event(const BankUuid *aggregate_id, int64_t version, BankEvent *event)
{
	int			i;

	fake_note("event ");
	for (i = 0; i < fake.n_events; i++)
	{
		if (bank_uuid_equal(&fake.events[i].aggregate_id, aggregate_id) &&
			fake.events[i].version == version)
		{
			*event = fake.events[i];
			return;
		}
	}
	fake_die("an event of a stream is missing");
}

bool		fake_is_supervised = false;
int64_t		fake_threshold = 0;
int			fake_person = 0;

static int	fake_requesters[FAKE_APPROVALS];

/* Place of a request among those there are, or the end. */
static int
fake_approval_of(const BankUuid *request_id)
{
	int			i;

	for (i = 0; i < fake.n_approvals; i++)
	{
		if (bank_uuid_equal(&fake.approvals[i].id, request_id))
			break;
	}
	return i;
}

void
bank_store_lock_approval(const BankUuid *request_id, BankApproval *approval)
{
	int			i = fake_approval_of(request_id);

	if (strstr(fake_trace, "lock:") != NULL || strstr(fake_trace, "house:") != NULL)
		fake_die("a request is locked after accounts");
	fake_note("approval ");
	memset(approval, 0, sizeof(*approval));
	approval->id = *request_id;
	approval->state = BANK_APPROVAL_NONE;
	if (i < fake.n_approvals)
		*approval = fake.approvals[i];
}

bool
bank_store_approval_threshold(const char currency[3], int64_t *threshold, int64_t *time)
{
	fake_note("threshold ");
	*threshold = fake_threshold;
	*time = INT64_C(86400) * 1000000;
	return fake_threshold > 0 && memcmp(currency, "HTG", 3) == 0;
}

const void *
bank_store_write_command(const char *const *names, const char *const *values, int n,
						 const void *metadata)
{
	FakeCommand *command = bank_store_allocate(sizeof(FakeCommand));
	int			i;

	for (i = 0; i < n; i++)
	{
		size_t		len = strlen(command->text);

		if (values[i][0] != '\0')
			(void) snprintf(command->text + len, sizeof(command->text) - len, "%s=%s ", names[i],
							values[i]);
	}
	command->metadata = metadata;
	return command;
}

bool
bank_principal_is_supervised(void)
{
	return fake_is_supervised && !fake_is_customer;
}

bool
bank_principal_is_another(const BankUuid *request_id)
{
	return fake_requesters[fake_approval_of(request_id)] != fake_person;
}

/* Check an event of a request for approval and apply it. */
static void
fake_apply_approval(const BankEvent *event)
{
	int			i = fake_approval_of(&event->aggregate_id);
	unsigned	flaws;

	if (i == FAKE_APPROVALS)
		fake_die("too many requests for approval");
	if (i == fake.n_approvals)
	{
		fake.n_approvals++;
		memset(&fake.approvals[i], 0, sizeof(fake.approvals[i]));
		fake.approvals[i].state = BANK_APPROVAL_NONE;
		fake_requesters[i] = fake_person;
	}
	flaws = bank_approval_check(&fake.approvals[i], event);
	if (flaws != 0)
		fake_die(bank_flaw_text(flaws));
	bank_approval_apply(&fake.approvals[i], event);
}

bool
bank_store_find_participant(const char *name, int64_t *deadline,
							char house_code[BANK_HOUSE_CODE_TEXT])
{
	int			i;

	fake_note("participant ");
	for (i = 0; i < fake.n_participants; i++)
	{
		if (strcmp(fake.participants[i].name, name) != 0)
			continue;
		*deadline = fake.participants[i].deadline;
		memcpy(house_code, fake.participants[i].house_code, BANK_HOUSE_CODE_TEXT);
		return true;
	}
	return false;
}

/* Place of a transfer among those that are to be asked about, or the end. */
static int
fake_schedule_of(const BankUuid *transfer_id)
{
	int			i;

	for (i = 0; i < fake.n_schedule; i++)
	{
		if (bank_uuid_equal(&fake.schedule[i].transfer_id, transfer_id))
			break;
	}
	return i;
}

/* How often it was scheduled since it was not; 0: nobody is to be asked about it. */
int
fake_scheduled(const BankUuid *transfer_id)
{
	int			i = fake_schedule_of(transfer_id);

	return i < fake.n_schedule ? fake.schedule[i].times : 0;
}

void
bank_store_schedule_transfer(const BankUuid *transfer_id, const char *participant, int64_t at)
{
	int			i = fake_schedule_of(transfer_id);

	fake_note("schedule ");
	if (i == fake.n_schedule)
	{
		if (fake.n_schedule == FAKE_TRANSFERS)
			fake_die("too many transfers are scheduled");
		memset(&fake.schedule[i], 0, sizeof(fake.schedule[0]));
		fake.schedule[i].transfer_id = *transfer_id;
		(void) snprintf(fake.schedule[i].participant, BANK_PARTICIPANT_TEXT, "%s", participant);
		fake.n_schedule++;
	}
	fake.schedule[i].at = at;
	fake.schedule[i].times++;
}

void
bank_store_settle_transfer(const BankUuid *transfer_id)
{
	int			i = fake_schedule_of(transfer_id);

	fake_note("settle ");
	if (i < fake.n_schedule)
		fake.schedule[i] = fake.schedule[--fake.n_schedule];
}

const void *
bank_store_correlate(const void *metadata, const BankUuid *id)
{
	FakeMetadata *made = &fake.metadata[fake.n_metadata];

	if (fake.n_metadata == FAKE_EVENTS)
		fake_die("too much metadata");
	fake.n_metadata++;
	made->given = metadata;
	made->correlation_id = *id;
	return made;
}

/* Has the event this metadata, related to this identifier? */
bool
fake_is_correlated(const BankEvent *event, const void *given, const BankUuid *id)
{
	const FakeMetadata *metadata = event->metadata;

	return metadata >= fake.metadata && metadata < fake.metadata + fake.n_metadata &&
		metadata->given == given && bank_uuid_equal(&metadata->correlation_id, id);
}

/* Check an event of a transfer and apply it. */
static void
fake_apply_transfer(const BankEvent *event)
{
	BankTransfer *transfer = fake_transfer(&event->aggregate_id);
	unsigned	flaws;

	if (transfer == NULL)
	{
		if (fake.n_transfers == FAKE_TRANSFERS)
			fake_die("too many transfers");
		transfer = &fake.transfers[fake.n_transfers++];
		memset(transfer, 0, sizeof(*transfer));
		transfer->state = BANK_TRANSFER_NONE;
	}
	flaws = bank_transfer_check(transfer, event);
	if (flaws != 0)
		fake_die(bank_flaw_text(flaws));
	bank_transfer_apply(transfer, event);
}

/* The earliest expiry among the open holds of an account. */
static int64_t
fake_next_expiry(const BankUuid *account_id)
{
	int64_t		next = BANK_NO_EXPIRY;
	int			i;

	for (i = 0; i < fake.n_holds; i++)
	{
		if (fake.holds[i].status == BANK_HOLD_OPEN &&
			bank_uuid_equal(&fake.holds[i].account_id, account_id) &&
			fake.holds[i].expires_at < next)
			next = fake.holds[i].expires_at;
	}
	return next;
}

/* Check an event on one of its streams and apply it. */
static void
fake_apply(const BankEvent *event, bool as_peer)
{
	const BankUuid *id = as_peer ? &event->peer_id : &event->aggregate_id;
	BankAccount *account = fake_find(id);
	unsigned	flaws;

	if (bank_event_is_transfer(event->type))
	{
		fake_apply_transfer(event);
		return;
	}
	if (bank_event_is_approval(event->type))
	{
		fake_apply_approval(event);
		return;
	}
	if (account == NULL)
	{
		if (fake.n_accounts == FAKE_ACCOUNTS)
			fake_die("too many accounts");
		account = &fake.accounts[fake.n_accounts++];
		memset(account, 0, sizeof(*account));
	}
	flaws = bank_account_check(account, event, as_peer);
	if (flaws != 0)
		fake_die(bank_flaw_text(flaws));
	if (!as_peer && bank_event_is_hold(event->type))
		fake_apply_hold(event);
	bank_account_apply(account, event, as_peer);
	account->next_expiry = fake_next_expiry(&account->id);
}

void
bank_store_append(BankEvent *event, const BankAccount *aggregate, const BankAccount *peer)
{
	const BankAccount *stored = fake_find(&event->aggregate_id);
	const BankAccount *stored_peer = event->has_peer ? fake_find(&event->peer_id) : NULL;

	fake_note("append:%s ", bank_event_type_name(event->type));
	if ((aggregate == NULL) != (stored == NULL) || (peer == NULL) != (stored_peer == NULL) ||
		(aggregate != NULL && aggregate->version != stored->version) ||
		(peer != NULL && peer->version != stored_peer->version) ||
		(aggregate != NULL && aggregate->next_expiry != stored->next_expiry) ||
		(peer != NULL && peer->next_expiry != stored_peer->next_expiry))
		fake_die("append was not given the accounts the event was decided on");
	if (fake.n_events == FAKE_EVENTS)
		fake_die("too many events");
	event->position = fake.n_events + 1;
	fake.events[fake.n_events] = *event;
	if (event->terms != NULL)
	{
		fake.terms[fake.n_events] = *event->terms;
		fake.events[fake.n_events].terms = &fake.terms[fake.n_events];
	}
	if (event->approval != NULL)
	{
		fake.approval_terms[fake.n_events] = *event->approval;
		fake.events[fake.n_events].approval = &fake.approval_terms[fake.n_events];
	}
	fake.n_events++;
	fake_apply(event, false);
	if (event->has_peer)
		fake_apply(event, true);
}

/* Is the account with this identifier among these? */
static bool
fake_given(const BankUuid *id, const BankAccount *const *accounts, int n_accounts)
{
	int			i;

	for (i = 0; i < n_accounts; i++)
	{
		if (bank_uuid_equal(&accounts[i]->id, id))
			return true;
	}
	return false;
}

void
bank_store_append_all(BankEvent *const *events, int n, const BankAccount *const *accounts,
					  int n_accounts)
{
	int			i;

	for (i = 0; i < n_accounts; i++)
	{
		const BankAccount *stored = fake_find(&accounts[i]->id);

		if (stored == NULL || stored->version != accounts[i]->version ||
			stored->position != accounts[i]->position ||
			stored->next_expiry != accounts[i]->next_expiry)
			fake_die("append was given accounts that are not as stored");
	}
	for (i = 0; i < n; i++)
	{
		if (!bank_event_is_case(events[i]->type) &&
			(!fake_given(&events[i]->aggregate_id, accounts, n_accounts) ||
			 (events[i]->has_peer && !fake_given(&events[i]->peer_id, accounts, n_accounts))))
			fake_die("append was not given all accounts");
		bank_store_append(events[i], fake_find(&events[i]->aggregate_id),
						  events[i]->has_peer ? fake_find(&events[i]->peer_id) : NULL);
	}
}

/* What a key stands for. */
static BankKeyState
fake_lookup(const char *key, const char *request, BankEvent *first, BankError *error)
{
	int			i;
	int			e;

	for (i = 0; i < fake.n_keys; i++)
	{
		if (strcmp(fake.keys[i].key, key) != 0)
			continue;
		if (strcmp(fake.keys[i].request, request) != 0)
			return BANK_KEY_REFUSED;
		if (fake.keys[i].denied)
		{
			*error = fake.keys[i].refusal;
			return BANK_KEY_DENIED;
		}
		for (e = 0; e < fake.n_events; e++)
		{
			if (bank_uuid_equal(&fake.events[e].aggregate_id, &fake.keys[i].aggregate_id) &&
				fake.events[e].version == fake.keys[i].version)
			{
				*first = fake.events[e];
				return BANK_KEY_REPLAY;
			}
		}
		fake_die("a key has no event");
	}
	return BANK_KEY_FREE;
}

/* Keep a new key; its outcome is still to be filled in. */
static void
fake_keep(const char *key, const char *request)
{
	if (fake.n_keys == FAKE_KEYS)
		fake_die("too many keys");
	memset(&fake.keys[fake.n_keys], 0, sizeof(fake.keys[0]));
	(void) snprintf(fake.keys[fake.n_keys].key, sizeof(fake.keys[0].key), "%s", key);
	(void) snprintf(fake.keys[fake.n_keys].request, sizeof(fake.keys[0].request), "%s", request);
	fake.n_keys++;
}

/* The hash of a request is its text's FNV-1a, four times with other seeds. */
void
bank_store_hash_request(const char *request, uint8_t hash[BANK_REQUEST_HASH])
{
	int			i;

	for (i = 0; i < BANK_REQUEST_HASH / 8; i++)
	{
		uint64_t	value = UINT64_C(0xcbf29ce484222325) + (uint64_t) i;
		const char *c;

		for (c = request; *c != '\0'; c++)
			value = (value ^ (uint8_t) *c) * UINT64_C(0x100000001b3);
		memcpy(hash + 8 * i, &value, sizeof(value));
	}
}

/* That hash as the request that the other functions keep. */
static void
fake_hash_text(const uint8_t hash[BANK_REQUEST_HASH], char text[2 * BANK_REQUEST_HASH + 1])
{
	int			i;

	for (i = 0; i < BANK_REQUEST_HASH; i++)
		(void) snprintf(text + 2 * i, 3, "%02x", hash[i]);
}

/* The same of a request that is given as text, which is noted. */
static const char *
fake_hashed(const char *request)
{
	static char text[2 * BANK_REQUEST_HASH + 1];
	uint8_t		hash[BANK_REQUEST_HASH];

	(void) snprintf(fake_request, sizeof(fake_request), "%s", request);
	bank_store_hash_request(request, hash);
	fake_hash_text(hash, text);
	return text;
}

BankKeyState
bank_store_find_key(const char *key, const char *request, BankEvent *first, BankError *error)
{
	fake_note("find ");
	return fake_lookup(key, fake_hashed(request), first, error);
}

BankKeyState
bank_store_claim_key(const char *key, const char *request, const BankUuid *aggregate_id,
					 int64_t version, BankEvent *first, BankError *error)
{
	void		(*meanwhile) (void) = fake_meanwhile;
	BankKeyState state;

	fake_meanwhile = NULL;
	if (meanwhile != NULL)
		meanwhile();
	fake_note("claim ");
	state = fake_lookup(key, fake_hashed(request), first, error);
	if (state == BANK_KEY_FREE)
	{
		fake_keep(key, fake_hashed(request));
		fake.keys[fake.n_keys - 1].aggregate_id = *aggregate_id;
		fake.keys[fake.n_keys - 1].version = version;
	}
	return state;
}

BankKeyState
bank_store_deny_key(const char *key, const char *request, const BankError *error,
					BankEvent *first, BankError *stored)
{
	int			i;

	fake_note("deny ");
	for (i = 0; i < fake.n_keys && strcmp(fake.keys[i].key, key) != 0; i++)
		;
	if (i == fake.n_keys)
		fake_keep(key, fake_hashed(request));
	fake.keys[i].denied = true;
	fake.keys[i].refusal = *error;
	(void) first;
	(void) stored;
	return BANK_KEY_FREE;
}

void
bank_store_find_keys(BankKey *const *keys, int n)
{
	char		request[2 * BANK_REQUEST_HASH + 1];
	int			i;

	fake_note("find:%d ", n);
	for (i = 0; i < n; i++)
	{
		BankKey    *key = keys[i];

		key->first = bank_store_allocate(sizeof(BankEvent));
		key->denial = bank_store_allocate(sizeof(BankError));
		fake_hash_text(key->request_hash, request);
		key->state = fake_lookup(key->key, request, key->first, key->denial);
	}
}

bool
bank_store_claim_keys(BankKey *const *keys, int n)
{
	void		(*meanwhile) (void) = fake_meanwhile;
	char		request[2 * BANK_REQUEST_HASH + 1];
	int			before = fake.n_keys;
	int			i;
	int			k;

	fake_meanwhile = NULL;
	if (meanwhile != NULL)
	{
		meanwhile();
		before = fake.n_keys;
	}
	fake_note("claim:%d ", n);
	for (i = 0; i < n; i++)
	{
		if (i > 0 && strcmp(keys[i - 1]->key, keys[i]->key) >= 0)
			fake_die("keys are not claimed in order");
		for (k = 0; k < fake.n_keys; k++)
		{
			if (strcmp(fake.keys[k].key, keys[i]->key) == 0)
			{
				fake.n_keys = before;
				return false;
			}
		}
		fake_hash_text(keys[i]->request_hash, request);
		fake_keep(keys[i]->key, request);
		fake.keys[fake.n_keys - 1].aggregate_id = keys[i]->aggregate_id;
		fake.keys[fake.n_keys - 1].version = keys[i]->version;
	}
	return true;
}

/* What was allocated is kept in a list until the next command begins. */
typedef struct FakeChunk
{
	struct FakeChunk *next;
	max_align_t memory[];
} FakeChunk;

static FakeChunk *fake_chunks;

void *
bank_store_allocate(size_t size)
{
	FakeChunk  *chunk = calloc(1, sizeof(FakeChunk) + size);

	if (chunk == NULL)
		fake_die("out of memory");
	chunk->next = fake_chunks;
	fake_chunks = chunk;
	return chunk->memory;
}

/* The memory of the last command. */
static void
fake_free(void)
{
	while (fake_chunks != NULL)
	{
		FakeChunk  *next = fake_chunks->next;

		free(fake_chunks);
		fake_chunks = next;
	}
}

/* --- ports/principal.h: staff, unless the test says otherwise --- */

bool		fake_is_customer;
BankUuid	fake_owner;

bool
bank_principal_is_customer(void)
{
	return fake_is_customer;
}

bool
bank_principal_owner(BankUuid *owner_id)
{
	static const BankUuid nobody;

	*owner_id = fake_owner;
	return !bank_uuid_equal(&fake_owner, &nobody);
}

bool
bank_principal_owns(const BankUuid *owner_id, const BankUuid *account_id)
{
	const BankAccount *account = fake_find(account_id);

	return account != NULL && account->opening.has_owner &&
		bank_uuid_equal(&account->opening.owner_id, owner_id);
}

bool
bank_principal_made(const BankUuid *owner_id, const BankHold *hold)
{
	const BankHold *found = fake_hold(&hold->id);

	return found != NULL && bank_uuid_equal(&fake.made_for[found - fake.holds], owner_id);
}
