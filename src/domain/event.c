/*
 * event.c
 *		Names of event types, account types and statuses.
 *
 * Pure C, no allocation, no locks.
 */
#include "domain/event.h"

static const char *const bank_event_names[] = {
#define X(symbol, name) name,
	BANK_EVENT_TYPES(X)
#undef X
};

static const char *const bank_type_names[] = {"COURANT", "EPARGNE", "HOUSE"};

static const char *const bank_status_names[] = {"ACTIVE", "FROZEN", "CLOSED"};

/* Index of a name of len bytes in a list, or n when it is not there. */
static int
bank_name_find(const char *const *names, int n, const char *name, size_t len)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			break;
	}
	return i;
}

/* Stored name of an event type; must not be BANK_EVENT_UNKNOWN. */
const char *
bank_event_type_name(BankEventType type)
{
	return bank_event_names[type];
}

/* Event type of a stored name, or BANK_EVENT_UNKNOWN. */
BankEventType
bank_event_type_parse(const char *name, size_t len)
{
	return (BankEventType) bank_name_find(bank_event_names, BANK_EVENT_UNKNOWN, name, len);
}

/* Stored name of an account type; must not be BANK_TYPE_UNKNOWN. */
const char *
bank_account_type_name(BankAccountType type)
{
	return bank_type_names[type];
}

/* Account type of a stored name, or BANK_TYPE_UNKNOWN. */
BankAccountType
bank_account_type_parse(const char *name, size_t len)
{
	return (BankAccountType) bank_name_find(bank_type_names, BANK_TYPE_UNKNOWN, name, len);
}

/* Stored name of a status; must not be BANK_STATUS_UNKNOWN. */
const char *
bank_account_status_name(BankAccountStatus status)
{
	return bank_status_names[status];
}

/* Status of a stored name, or BANK_STATUS_UNKNOWN. */
BankAccountStatus
bank_account_status_parse(const char *name, size_t len)
{
	return (BankAccountStatus) bank_name_find(bank_status_names, BANK_STATUS_UNKNOWN, name, len);
}
