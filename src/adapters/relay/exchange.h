/*
 * exchange.h
 *		What the files that talk to participants share: participants, and the questions
 *		that are on their way to them.
 *
 * As relay.h: all of it is the worker's own memory, made again from the tables. An exchange is
 * one request about one transfer; a transfer has one at a time. It lives from its claim, which
 * is committed before anything is sent, until what came of it is recorded.
 */
#ifndef BANK_RELAY_EXCHANGE_H
#define BANK_RELAY_EXCHANGE_H

#include "adapters/relay/relay.h"
#include "domain/transfer.h"

/* Requests under way at a time, over all participants, besides those of subscriptions. */
#define BANK_EXCHANGES_SENT 128
/* Exchanges in memory: those, and those whose conclusion waits for somebody's lock. */
#define BANK_EXCHANGES 512
/* What is read of an answer; a longer one is none. */
#define BANK_ANSWER_SIZE 4096

typedef struct BankParticipant BankParticipant;

/* An answer of the protocol, or BANK_ANSWER_NONE. */
typedef struct BankReply
{
	BankTransferAnswer answer;
	char		code[BANK_CODE_TEXT];
	char		reason[BANK_REASON_TEXT];
} BankReply;

typedef struct BankExchange
{
	BankSinkRequest request;	/* first */
	BankSinkMessage message;
	BankSinkHeader header;		/* idempotency-key */
	BankParticipant *participant;
	BankTarget *target;
	BankUuid	transfer_id;
	char		transfer_text[BANK_UUID_TEXT];
	char		message_id[80];
	BankTransferAction action;
	int32		attempts;		/* with this one, as in bank.transfer_attempts */
	int64		generation;		/* of the breaker */
	bool		sent;
	bool		completed;
	bool		judged;			/* the breaker knows, and reply is set */
	BankDelivery delivery;
	BankReply	reply;
	char		answer[BANK_ANSWER_SIZE];
	dlist_node	node;			/* in the participant's exchanges */
	dlist_node	ended_node;		/* while completed */
} BankExchange;

struct BankParticipant
{
	MemoryContext context;
	BankUuid	id;
	char		name[BANK_PARTICIPANT_TEXT];
	bool		active;
	bool		seen;			/* for loading: it is still there */
	BankRelaySink *sink;
	BankTarget *target;
	BankRetryPolicy retry;
	BankBreakerPolicy breaker_policy;

	int64		revision;		/* of the progress row that all below goes with */
	BankBreaker breaker;
	TimestampTz throttled_until;	/* 0: not */

	bool		look;			/* there may be something due that we do not know of */
	TimestampTz next_due;		/* of what we know of, 0: nothing */
	dlist_head	exchanges;
	int			n_exchanges;
	int			in_flight;		/* of them, those that are sent and have not ended */

	bool		progressed;		/* the progress row is to be written */
	bool		disable;		/* it is gone: pause it */
	int64		answered;		/* since it was last written */
	int64		failed;
	TimestampTz last_answered_at;
	TimestampTz last_error_at;
	char		last_error[300];

	dlist_node	node;
};

/* participants.c */
extern dlist_head bank_participants;
extern void bank_participants_load(TimestampTz now);
extern void bank_participants_find_sink(void);
extern bool bank_participant_record(BankParticipant *participant);

/* protocol.c */
extern const char *bank_protocol_request(const BankTransfer *transfer, BankTransferAction action,
										 MemoryContext context, size_t *len);
extern void bank_protocol_reply(const char *text, size_t len, const BankUuid *transfer_id,
								BankReply *reply);

/* steps.c */
typedef bool (*BankStep) (void *argument);

extern bool bank_step_run(BankStep step, void *argument, const char *what, bool *failed);
extern bool bank_step_lock(const BankTransfer *transfer);
extern void bank_steps_begin(void);

/* claims.c */
extern bool bank_claims_wanted(const BankParticipant *participant, TimestampTz now);
extern bool bank_claims_take(BankParticipant *participant, TimestampTz now);
extern void bank_claims_add_missing(void);

/* sweeps.c */
extern void bank_sweeps_look(bool told);
extern bool bank_sweeps_due(TimestampTz now);
extern bool bank_sweeps_run(TimestampTz now);
extern TimestampTz bank_sweeps_next(void);

/* exchanges.c */
extern int	bank_exchanges_in_flight;
extern int	bank_exchanges_total;
extern uint64 bank_exchanges_answered;
extern BankExchange *bank_exchange_find(const BankUuid *transfer_id);
extern BankExchange *bank_exchange_make(BankParticipant *participant, const BankTransfer *transfer,
										BankTransferAction action, int32 attempts);
extern void bank_exchange_free(BankExchange *exchange);
extern void bank_exchanges_complete(BankSinkRequest *request, const BankDelivery *delivery);
extern void bank_exchanges_look(bool told);
extern void bank_exchanges_tick(TimestampTz now);
extern bool bank_exchanges_need_transaction(TimestampTz now);
extern bool bank_exchanges_transact(TimestampTz now);
extern void bank_exchanges_send(TimestampTz now);
extern TimestampTz bank_exchanges_next(TimestampTz now);

#endif							/* BANK_RELAY_EXCHANGE_H */
