/*
 * test_two_ledgers.c
 *		The rules of a transfer on both of its sides, with a network between them: money is
 *		neither made nor lost, and the two ledgers agree in the end.
 */
#include "check.h"
#include "domain/transfer.h"

/* An identifier that shows its number. */
static BankUuid
id_of(int n)
{
	BankUuid	id;

	memset(&id, 0, sizeof(id));
	id.bytes[6] = 0x70;
	id.bytes[8] = 0x80;
	id.bytes[15] = (uint8_t) n;
	return id;
}

/* The name of a state, "none" where there is no transfer. */
static const char *
name_of(BankTransferState state)
{
	return state == BANK_TRANSFER_NONE ? "none" : bank_transfer_state_name(state);
}

/* What an event of this type says, the transfer being as it is. */
static BankTransferTerms
terms_of(BankEventType type, bool captured)
{
	BankTransferTerms terms;

	memset(&terms, 0, sizeof(terms));
	terms.deadline = 90000;
	if (type == BANK_EVENT_TRANSFER_INITIATED || type == BANK_EVENT_TRANSFER_RECEIVED)
	{
		(void) snprintf(terms.participant, sizeof(terms.participant), "the other");
		(void) snprintf(terms.house_code, sizeof(terms.house_code), "external");
		(void) snprintf(terms.destination, sizeof(terms.destination), "their account");
	}
	terms.has_account = true;
	terms.account_id = id_of(1);
	if (type == BANK_EVENT_TRANSFER_RECEIVED || type == BANK_EVENT_TRANSFER_COMPENSATED ||
		(type == BANK_EVENT_TRANSFER_COMPLETED && !captured) ||
		(type == BANK_EVENT_TRANSFER_CANCELLED && captured))
		terms.account_version = 7;
	return terms;
}

/*
 * Two ledgers and a network. The rules of src/domain decide; who owns the money is kept beside
 * them, by rules that are written down here again. The sender's worker gives up a request when it
 * likes, but an answer may come nevertheless. Requests and answers get lost, come
 * late, twice, and in any order.
 */
#define MESSAGES 64
#define AMOUNT 4000

typedef struct Message
{
	int			id;				/* of the request it is, or answers */
	bool		is_answer;
	BankTransferAction action;
	BankTransferAnswer answer;
} Message;

typedef struct World
{
	uint64_t	random;
	BankTransfer sender;
	BankTransfer receiver;
	/* the sender's customer: free, held; and what has left him */
	int64_t		free;
	int64_t		held;
	int64_t		left;
	/* the receiver's customer: has it, or has spent it; and what has come to him */
	int64_t		has;
	int64_t		spent;
	int64_t		come;
	bool		frozen;			/* the receiver's account takes and gives nothing */
	/* the worker */
	int			outstanding;	/* request under way; 0: none */
	bool		asked;
	bool		absent;
	int			requests;
	int			cancels;		/* how often the customer asked for it back */
	/* the network */
	Message		messages[MESSAGES];
	int			n_messages;
	const char *wrong;
} World;

/* One in n. */
static bool
chance(World *world, unsigned n)
{
	return check_random(&world->random) % n == 0;
}

/* Something is not as it must be. */
static void
must(World *world, bool condition, const char *what)
{
	if (!condition && world->wrong == NULL)
		world->wrong = what;
}

/* Take an event into a stream. */
static void
append(World *world, BankTransfer *transfer, BankEventType type)
{
	BankTransferTerms terms = terms_of(type, transfer->captured);
	BankEvent	event;
	BankError	error;
	bool		captured = transfer->captured;

	if (!bank_transfer_decide(transfer, type, &terms, &event, &error))
	{
		must(world, false, "an arrow that there is not");
		return;
	}
	event.position = transfer->position + 1;
	event.recorded_at = transfer->recorded_at + 1;
	event.event_id = id_of(60);
	must(world, bank_transfer_check(transfer, &event) == 0, "a flawed event");
	bank_transfer_apply(transfer, &event);
	switch (type)
	{
		case BANK_EVENT_TRANSFER_RESERVED:
			world->free -= AMOUNT;
			world->held += AMOUNT;
			break;
		case BANK_EVENT_TRANSFER_COMPLETED:
			if (captured)
				break;
			world->held -= AMOUNT;
			world->left += AMOUNT;
			break;
		case BANK_EVENT_TRANSFER_REJECTED:
			world->held -= AMOUNT;
			world->free += AMOUNT;
			break;
		case BANK_EVENT_TRANSFER_COMPENSATED:
			world->left -= AMOUNT;
			world->free += AMOUNT;
			break;
		case BANK_EVENT_TRANSFER_RECEIVED:
			world->has += AMOUNT;
			world->come += AMOUNT;
			break;
		case BANK_EVENT_TRANSFER_CANCELLED:
			if (!captured)
				break;
			world->has -= AMOUNT;
			world->come -= AMOUNT;
			break;
		default:
			break;
	}
	must(world, world->free >= 0 && world->held >= 0 && world->left >= 0 && world->has >= 0 &&
		 world->come >= 0, "money that there is not");
	must(world, world->free + world->held + world->left == AMOUNT, "the sender's sum");
	must(world, world->has + world->spent == world->come, "the receiver's sum");
}

/* A step of the sender: whatever it does, the worker begins anew in the state it leads to. */
static void
sender_step(World *world, BankEventType type)
{
	append(world, &world->sender, type);
	world->asked = world->absent = false;
}

/* Put a message on its way. */
static void
post(World *world, Message message)
{
	if (world->n_messages < MESSAGES)
		world->messages[world->n_messages++] = message;
}

/* Take a message off its way. */
static Message
take(World *world, int which)
{
	Message		message = world->messages[which];

	world->messages[which] = world->messages[world->n_messages - 1];
	world->n_messages--;
	return message;
}

/*
 * What an operator sees to who goes back from a doubt, which may be that of a cancel, to asking what
 * has become of it: that no request to cancel is under way any more, and no answer that
 * is older than one.
 */
static void
wait_for_cancels(World *world)
{
	int			n = 0;
	int			i;

	for (i = 0; i < world->n_messages; i++)
	{
		if (!world->messages[i].is_answer && world->messages[i].action != BANK_ACTION_CANCEL)
			world->messages[n++] = world->messages[i];
	}
	world->n_messages = n;
}

/* What the receiver does with a request. */
static BankTransferAnswer
receive(World *world, BankTransferAction action)
{
	BankTransfer *transfer = &world->receiver;

	if (transfer->state == BANK_TRANSFER_NONE && action == BANK_ACTION_RECEIVE)
		append(world, transfer, world->frozen ? BANK_EVENT_TRANSFER_REFUSED :
			   BANK_EVENT_TRANSFER_RECEIVED);
	else if (action == BANK_ACTION_CANCEL && transfer->state == BANK_TRANSFER_NONE)
		append(world, transfer, BANK_EVENT_TRANSFER_CANCELLED);
	else if (action == BANK_ACTION_CANCEL && transfer->state == BANK_TRANSFER_RECEIVED)
		append(world, transfer, world->frozen || world->has < AMOUNT ?
			   BANK_EVENT_TRANSFER_KEPT : BANK_EVENT_TRANSFER_CANCELLED);
	switch (transfer->state)
	{
		case BANK_TRANSFER_NONE:
			return BANK_ANSWER_UNKNOWN;
		case BANK_TRANSFER_RECEIVED:
		case BANK_TRANSFER_KEPT:
			return BANK_ANSWER_RECEIVED;
		case BANK_TRANSFER_REFUSED:
			return BANK_ANSWER_REFUSED;
		default:
			return BANK_ANSWER_CANCELLED;
	}
}

/* A message arrives. */
static void
arrive(World *world, Message message)
{
	BankEventType type;

	if (!message.is_answer)
	{
		message.answer = receive(world, message.action);
		message.is_answer = true;
		post(world, message);
		return;
	}
	if (message.id == world->outstanding)
	{
		world->outstanding = 0;
		world->absent = message.answer == BANK_ANSWER_UNKNOWN;
	}
	type = bank_transfer_conclude(world->sender.state, message.action, message.answer);
	if (type != BANK_EVENT_UNKNOWN)
		sender_step(world, type);
}

/* The sender's worker goes on. */
static void
work(World *world)
{
	BankTransferState state = world->sender.state;
	Message		message = {.action = bank_transfer_action(state, world->asked, world->absent)};

	if (message.action == BANK_ACTION_NONE || world->outstanding != 0)
		return;
	if (state == BANK_TRANSFER_RESERVED)
		sender_step(world, BANK_EVENT_TRANSFER_SUBMITTED);
	world->asked = true;
	message.id = world->outstanding = ++world->requests;
	post(world, message);
}

/* An operator resolves a doubt: asks again, or, when nothing is under way, asks over there. */
static void
resolve(World *world)
{
	bool		captured = world->sender.captured;
	bool		there = world->receiver.state == BANK_TRANSFER_RECEIVED ||
		world->receiver.state == BANK_TRANSFER_KEPT;

	if (world->n_messages > 0)
	{
		bool		cancel = captured || chance(world, 2);

		if (!cancel)
			wait_for_cancels(world);
		sender_step(world, cancel ? BANK_EVENT_TRANSFER_CANCEL_REQUESTED :
					BANK_EVENT_TRANSFER_SUBMITTED);
	}
	else
		sender_step(world, there ? BANK_EVENT_TRANSFER_COMPLETED : captured ?
					BANK_EVENT_TRANSFER_COMPENSATED : BANK_EVENT_TRANSFER_REJECTED);
}

/* One of the things that can happen. */
static void
happen(World *world)
{
	BankTransferState state = world->sender.state;

	switch (check_random(&world->random) % 12)
	{
		case 0:
			world->outstanding = 0; /* it took too long, or the worker died */
			break;
		case 1:
			if (world->n_messages > 0)	/* one is lost */
				(void) take(world, (int) (check_random(&world->random) %
										  (unsigned) world->n_messages));
			break;
		case 2:
			if (world->n_messages > 0)	/* one is there twice */
				post(world,
					 world->messages[check_random(&world->random) % (unsigned) world->n_messages]);
			break;
		case 3:
			if (chance(world, 4) && bank_transfer_expire(state) != BANK_EVENT_UNKNOWN)
				sender_step(world, bank_transfer_expire(state));
			break;
		case 4:
			if (world->cancels > 2 || !chance(world, 4))
				break;
			world->cancels++;
			if (state == BANK_TRANSFER_RESERVED)
				sender_step(world, BANK_EVENT_TRANSFER_REJECTED);
			else if (state == BANK_TRANSFER_SUBMITTED || state == BANK_TRANSFER_COMPLETED)
				sender_step(world, BANK_EVENT_TRANSFER_CANCEL_REQUESTED);
			break;
		case 5:
			if (chance(world, 2))
				world->frozen = !world->frozen;
			else if (world->has > 0)
			{
				world->has -= AMOUNT;
				world->spent += AMOUNT;
			}
			else if (world->spent > 0)
			{
				world->has += AMOUNT;
				world->spent -= AMOUNT;
			}
			break;
		case 6:
			if (state == BANK_TRANSFER_IN_DOUBT && chance(world, 4))
				resolve(world);
			break;
		case 7:
		case 8:
			work(world);
			break;
		default:
			if (world->n_messages > 0)
				arrive(world, take(world, (int) (check_random(&world->random) %
												 (unsigned) world->n_messages)));
	}
}

/* Do the two sides agree? */
static bool
agreed(const World *world)
{
	BankTransferState there = world->receiver.state;

	switch (world->sender.state)
	{
		case BANK_TRANSFER_COMPLETED:
			return (there == BANK_TRANSFER_RECEIVED || there == BANK_TRANSFER_KEPT) &&
				world->left == AMOUNT && world->come == AMOUNT;
		case BANK_TRANSFER_REJECTED:
			return (there == BANK_TRANSFER_NONE || there == BANK_TRANSFER_REFUSED ||
					there == BANK_TRANSFER_CANCELLED) && world->free == AMOUNT && world->come == 0;
		case BANK_TRANSFER_COMPENSATED:
			return there == BANK_TRANSFER_CANCELLED && world->free == AMOUNT && world->come == 0;
		default:
			return false;
	}
}

/* Many lives of a transfer, each random until it settles down. */
static void
test_two_ledgers(void)
{
	int			ends[BANK_TRANSFER_NONE] = {0};
	uint64_t	seed;
	int			i;

	for (seed = 1; seed <= 200000; seed++)
	{
		World		world = {.random = seed, .free = AMOUNT};
		int			steps = (int) (seed % 60);

		world.sender.state = BANK_TRANSFER_NONE;
		world.sender.id = id_of(50);
		world.sender.amount = AMOUNT;
		memcpy(world.sender.currency, "HTG", 3);
		world.receiver = world.sender;
		append(&world, &world.sender, BANK_EVENT_TRANSFER_INITIATED);
		append(&world, &world.sender, BANK_EVENT_TRANSFER_RESERVED);
		for (i = 0; i < steps; i++)
			happen(&world);
		/* then the network behaves, and an operator looks after it */
		for (i = 0; i < 1000 && (world.n_messages > 0 ||
								 bank_transfer_is_driven(world.sender.state) ||
								 world.sender.state == BANK_TRANSFER_IN_DOUBT); i++)
		{
			if (world.n_messages > 0)
				arrive(&world, take(&world, world.n_messages - 1));
			else if (world.sender.state == BANK_TRANSFER_IN_DOUBT)
				resolve(&world);
			else
			{
				world.outstanding = 0;
				work(&world);
			}
		}
		must(&world, i < 1000, "it goes on for ever");
		must(&world, agreed(&world), "the two ledgers do not agree");
		if (world.wrong != NULL)
		{
			check(false, "two ledgers: %s", world.wrong);
			printf("# seed %" PRIu64 ": here %s, there %s\n", seed, name_of(world.sender.state),
				   name_of(world.receiver.state));
			return;
		}
		ends[world.sender.state]++;
	}
	check(true, "two ledgers agree in the end, whatever the network does");
	check(ends[BANK_TRANSFER_COMPLETED] > 1000 && ends[BANK_TRANSFER_REJECTED] > 1000 &&
		  ends[BANK_TRANSFER_COMPENSATED] > 1000,
		  "each of the ends is met: %d completed, %d rejected, %d compensated",
		  ends[BANK_TRANSFER_COMPLETED], ends[BANK_TRANSFER_REJECTED],
		  ends[BANK_TRANSFER_COMPENSATED]);
}

int
main(void)
{
	test_two_ledgers();
	return check_done();
}
