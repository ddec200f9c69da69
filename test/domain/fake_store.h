/*
 * fake_store.h
 *		The ports of the use cases, in memory: an event store, a clock, identifiers.
 *
 * It keeps what the real store promises and no more: accounts, holds and transfers come
 * from the events that were appended, an event that does not continue its streams ends
 * the test program, positions follow each other. There is one session; what
 * another one does meanwhile is played by fake_meanwhile.
 *
 * fake_trace tells in which order the ports were used.
 */
#ifndef BANK_TEST_FAKE_STORE_H
#define BANK_TEST_FAKE_STORE_H

#include "ports/clock.h"
#include "ports/event_store.h"

#define FAKE_ACCOUNTS 64
#define FAKE_EVENTS 512
#define FAKE_KEYS 64
#define FAKE_HOLDS 64
#define FAKE_TRANSFERS 64
#define FAKE_PARTICIPANTS 4
#define FAKE_APPROVALS 16

/* Metadata as bank_store_correlate makes it: what was given, and what it was related to. */
typedef struct FakeMetadata
{
	const void *given;
	BankUuid	correlation_id;
} FakeMetadata;

/* Everything the fake knows. A copy of it is a snapshot: see fake_rollback. */
typedef struct FakeStore
{
	BankAccount accounts[FAKE_ACCOUNTS];
	int			n_accounts;
	BankEvent	events[FAKE_EVENTS];
	int			n_events;
	struct
	{
		char		key[300];
		char		request[600];
		BankUuid	aggregate_id;
		int64_t		version;
		bool		denied;			/* the outcome is this refusal, not an event */
		BankError	refusal;
	}			keys[FAKE_KEYS];
	int			n_keys;
	BankHold	holds[FAKE_HOLDS];
	BankUuid	made_for[FAKE_HOLDS];	/* the owner; all zeros: made by staff */
	int			n_holds;
	BankTransfer transfers[FAKE_TRANSFERS];
	int			n_transfers;
	BankApproval approvals[FAKE_APPROVALS];
	int			n_approvals;
	BankApprovalTerms approval_terms[FAKE_EVENTS];	/* of events, as terms below */
	struct
	{
		BankUuid	transfer_id;
		char		participant[BANK_PARTICIPANT_TEXT];
		int64_t		at;
		int			times;			/* how often it was scheduled */
	}			schedule[FAKE_TRANSFERS];	/* whom the worker has to ask */
	int			n_schedule;
	struct
	{
		char		name[BANK_PARTICIPANT_TEXT];
		char		house_code[BANK_HOUSE_CODE_TEXT];
		int64_t		deadline;
	}			participants[FAKE_PARTICIPANTS];	/* put in by the tests */
	int			n_participants;
	BankTransferTerms terms[FAKE_EVENTS];	/* of events, where they outlive the command */
	FakeMetadata metadata[FAKE_EVENTS];
	int			n_metadata;
	int64_t		serial;
	int64_t		now;			/* what the clock says; ticks by one with every look */
	int			uuids;
	bool		stripe_busy;	/* another transaction has all stripes there are */
} FakeStore;

extern FakeStore fake;

/* What was asked of the ports since fake_begin, such as "find lock:1 house:cash claim append ". */
extern char fake_trace[1024];

/* The canonical text of the last request that came with a key. */
extern char fake_request[600];

/* Called once, just before a key is claimed: what another session commits meanwhile. */
extern void (*fake_meanwhile) (void);

/* Who is calling: staff, or a customer of this owner; all zeros: of nobody. */
extern bool fake_is_customer;
extern BankUuid fake_owner;

/*
 * Above how much, in minor units of HTG, commands are to be approved, if the caller is supervised;
 * and which person it is: 0, 1, ...; requests remember that.
 */
extern bool fake_is_supervised;
extern int64_t fake_threshold;
extern int fake_person;

/* A command as bank_store_write_command writes it: "name=value name=value ". */
typedef struct FakeCommand
{
	char		text[400];
	const void *metadata;
} FakeCommand;

extern void fake_reset(void);
extern void fake_begin(void);
extern void fake_rollback(void);
extern BankUuid fake_uuid(int n);
extern BankHold *fake_hold(const BankUuid *hold_id);
extern BankTransfer *fake_transfer(const BankUuid *transfer_id);
extern int	fake_scheduled(const BankUuid *transfer_id);
extern bool fake_is_correlated(const BankEvent *event, const void *given, const BankUuid *id);

#endif							/* BANK_TEST_FAKE_STORE_H */
