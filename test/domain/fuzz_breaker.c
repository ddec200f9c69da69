/*
 * fuzz_breaker.c
 *		Fuzzer of the circuit breaker and of the delays between attempts.
 *
 * The input is used twice: as a program, where every byte lets one thing happen to a
 * breaker and its requests, and as numbers of a policy, moments and a stored state of
 * any size. What must hold is written as invariants over the state before and after,
 * and over a list of the requests under way that is kept apart; delays are compared
 * with 128 bits.
 */
#include "fuzz_driver.h"

#include "domain/breaker.h"

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

/* Bytes of a program, see fuzz_step; every other byte is one of them, too. */
static const char fuzz_operations[] = "sdurtgcTDEBSCOHRp";

const char *const fuzz_dictionary[] = {
	"s", "s", "s", "d", "u", "x", "r", "t", "g", "c", "T", "D", "E", "B", "S", "C", "O", "H", "R",
	"p", "sd", "su", "sususu", "sususususususususu", "ssssssss", "dddddddd", "uuuuuuuu", "DsuDsu",
	"DsdsdsdsdD", "sssuuuDsud", "OsDEu", "HscsuDsd", "CsuCsu", "BDsd", "Rs", "DsRDs", "pssp",
	"ETsuuDsr", "cccc", "\x01", "\x02", "\x7F", "\xFF\xFF\xFF\xFF", "\x08\x80\x80\x80", NULL
};

#define MAX_REQUESTS 32

/* A request under way, and whether the breaker has changed since it was sent. */
typedef struct Request
{
	int64_t		generation;
	bool		late;
} Request;

/* What the fuzzer knows. */
typedef struct World
{
	BankBreakerPolicy policy;
	BankBreaker breaker;
	int64_t		now;
	Request		requests[MAX_REQUESTS];
	int			n;
	int			row;			/* failures in time without anything else between them */
	int64_t		opened_at;
} World;

/* What always holds. */
static void
check_state(const World *world)
{
	const BankBreaker *breaker = &world->breaker;
	int32_t		allows = bank_breaker_allows(breaker, &world->policy, world->n);
	int64_t		next = bank_breaker_next(breaker, &world->policy);
	BankBreakerState state;
	int			timely = 0;
	int			i;

	for (i = 0; i < world->n; i++)
		timely += !world->requests[i].late;
	FUZZ_HOLDS(bank_breaker_state_parse(bank_breaker_state_name(breaker->state), &state) &&
			   state == breaker->state);
	FUZZ_HOLDS(breaker->ramp >= 1 && breaker->failures == world->row);
	FUZZ_HOLDS(allows >= 0 && allows <= world->policy.concurrency);
	switch (breaker->state)
	{
		case BANK_BREAKER_CLOSED:
			FUZZ_HOLDS(!breaker->forced && !breaker->probing && next == INT64_MAX);
			FUZZ_HOLDS(allows == 0 || allows + world->n <= world->policy.concurrency);
			FUZZ_HOLDS(world->n > 0 || allows > 0);
			break;
		case BANK_BREAKER_OPEN:
			FUZZ_HOLDS(allows == 0 && timely == 0 && !breaker->probing);
			FUZZ_HOLDS(breaker->since == world->opened_at);
			FUZZ_HOLDS(next == (breaker->forced ? INT64_MAX :
								breaker->since + world->policy.timeout));
			break;
		case BANK_BREAKER_HALF_OPEN:
			FUZZ_HOLDS(!breaker->forced && next == INT64_MAX);
			FUZZ_HOLDS(timely <= 1 && breaker->probing == (timely == 1) && allows == 1 - timely);
			break;
	}
}

/* The breaker has begun anew: what was sent before is late. */
static void
turn(World *world)
{
	int			i;

	for (i = 0; i < world->n; i++)
		world->requests[i].late = true;
}

/* Is nothing different? The bytes between members do not matter. */
static bool
same(const BankBreaker *a, const BankBreaker *b)
{
	return a->state == b->state && a->forced == b->forced && a->since == b->since &&
		a->failures == b->failures && a->ramp == b->ramp && a->probing == b->probing &&
		a->generation == b->generation;
}

/* Time goes on to this moment, or back. */
static void
fuzz_tick(World *world, int64_t now)
{
	BankBreaker before = world->breaker;
	int64_t		since = before.since < now ? before.since : now;
	bool		due = before.state == BANK_BREAKER_OPEN && !before.forced &&
		now - since >= world->policy.timeout;

	world->now = now;
	FUZZ_HOLDS(bank_breaker_tick(&world->breaker, &world->policy, now) == due);
	FUZZ_HOLDS(!bank_breaker_tick(&world->breaker, &world->policy, now));
	if (due)
	{
		FUZZ_HOLDS(world->breaker.state == BANK_BREAKER_HALF_OPEN && world->breaker.since == now);
		turn(world);
	}
	else
		FUZZ_HOLDS(world->breaker.state == before.state &&
				   world->breaker.generation == before.generation);
	if (before.state == BANK_BREAKER_OPEN && !before.forced)
		world->opened_at = since;
}

/* A request is sent if one is allowed. */
static void
fuzz_send(World *world)
{
	if (world->n == MAX_REQUESTS ||
		bank_breaker_allows(&world->breaker, &world->policy, world->n) == 0)
		return;
	world->requests[world->n].generation = bank_breaker_sent(&world->breaker);
	world->requests[world->n].late = false;
	world->n++;
}

/* One of the requests ends, the first or the last sent by turns. */
static void
fuzz_end(World *world, BankVerdict verdict, bool cancel)
{
	BankBreaker before = world->breaker;
	Request		request;
	bool		counts = true;
	bool		changed;
	bool		probe;

	if (world->n == 0)
		return;
	request = world->requests[world->now % 2 == 0 ? 0 : world->n - 1];
	if (world->now % 2 == 0)
		memmove(world->requests, world->requests + 1,
				sizeof(Request) * (size_t) (world->n - 1));
	world->n--;
	if (cancel)
	{
		bank_breaker_cancelled(&world->breaker, request.generation);
		FUZZ_HOLDS(world->breaker.state == before.state &&
				   world->breaker.failures == before.failures);
		return;
	}

	probe = before.state == BANK_BREAKER_HALF_OPEN;
	changed = bank_breaker_result(&world->breaker, &world->policy, request.generation, verdict,
								  world->now, &counts);
	FUZZ_HOLDS(changed == (world->breaker.state != before.state));
	FUZZ_HOLDS(changed == (world->breaker.generation != before.generation));
	if (request.late)
	{
		FUZZ_HOLDS(!counts && same(&before, &world->breaker));
		return;
	}
	FUZZ_HOLDS(before.state != BANK_BREAKER_OPEN);
	FUZZ_HOLDS(counts == (verdict != BANK_DELIVERED && !(probe && verdict == BANK_UNREACHED)));
	if (verdict == BANK_UNREACHED)
	{
		world->row++;
		FUZZ_HOLDS(changed == (probe || world->row >= world->policy.failure_threshold));
		FUZZ_HOLDS(!changed || world->breaker.state == BANK_BREAKER_OPEN);
		world->opened_at = world->now;
	}
	else
	{
		world->row = 0;
		FUZZ_HOLDS(changed == probe && world->breaker.state == BANK_BREAKER_CLOSED);
		FUZZ_HOLDS(!probe || world->breaker.ramp == 1);
		FUZZ_HOLDS(probe || verdict != BANK_DELIVERED ||
				   (world->breaker.ramp <= world->policy.concurrency &&
					(world->breaker.ramp > before.ramp ||
					 world->breaker.ramp == world->policy.concurrency)));
	}
	if (changed)
		turn(world);
}

/* A command. */
static void
fuzz_force(World *world, BankBreakerState state)
{
	BankBreakerState before = world->breaker.state;

	bank_breaker_force(&world->breaker, &world->policy, state, world->now);
	FUZZ_HOLDS(world->breaker.state == state);
	FUZZ_HOLDS(world->breaker.forced == (state == BANK_BREAKER_OPEN));
	FUZZ_HOLDS(before == state || world->breaker.since == world->now);
	if (state != BANK_BREAKER_HALF_OPEN || before != state)
		turn(world);
	if (before != BANK_BREAKER_OPEN)
		world->opened_at = world->now;
	if (state == BANK_BREAKER_CLOSED)
		world->row = 0;
}

/* The worker starts again; nothing is under way. */
static void
fuzz_restart(World *world)
{
	BankBreaker before = world->breaker;

	world->n = 0;
	bank_breaker_restore(&world->breaker, &world->policy, world->now);
	FUZZ_HOLDS(world->breaker.state == (before.state == BANK_BREAKER_HALF_OPEN ?
										BANK_BREAKER_OPEN : before.state));
	FUZZ_HOLDS(world->breaker.forced == before.forced);
	FUZZ_HOLDS(world->breaker.since == (before.since < world->now ? before.since : world->now));
	FUZZ_HOLDS(world->breaker.ramp <= world->policy.concurrency);
	world->opened_at = world->breaker.since;
}

/* A small policy from two bytes. */
static BankBreakerPolicy
make_policy(uint8_t a, uint8_t b)
{
	BankBreakerPolicy policy = {1 + a % 8, 1 + b % 32, 1 + (a >> 3)};

	return policy;
}

/* One byte of the program: a verdict, time, a command, a restart, a policy. */
static void
fuzz_step(World *world, char operation, uint8_t argument)
{
	int64_t		due = world->breaker.since + world->policy.timeout;

	switch (operation)
	{
		case 's':
			fuzz_send(world);
			break;
		case 'd':
			fuzz_end(world, BANK_DELIVERED, false);
			break;
		case 'u':
			fuzz_end(world, BANK_UNREACHED, false);
			break;
		case 'r':
			fuzz_end(world, BANK_REJECTED, false);
			break;
		case 't':
			fuzz_end(world, BANK_THROTTLED, false);
			break;
		case 'g':
			fuzz_end(world, BANK_GONE, false);
			break;
		case 'c':
			fuzz_end(world, BANK_UNREACHED, true);
			break;
		case 'T':
			fuzz_tick(world, world->now + 1);
			break;
		case 'D':
			fuzz_tick(world, due > world->now ? due : world->now);
			break;
		case 'E':
			fuzz_tick(world, due - 1);
			break;
		case 'B':
			fuzz_tick(world, world->now - argument);
			break;
		case 'S':
			fuzz_tick(world, world->now + argument);
			break;
		case 'C':
			fuzz_force(world, BANK_BREAKER_CLOSED);
			break;
		case 'O':
			fuzz_force(world, BANK_BREAKER_OPEN);
			break;
		case 'H':
			fuzz_force(world, BANK_BREAKER_HALF_OPEN);
			break;
		case 'R':
			fuzz_restart(world);
			break;
		default:
			world->policy = make_policy(argument, (uint8_t) (argument * 7));
			break;
	}
}

/* The input as a program; its first two bytes are the policy. */
static void
fuzz_program(const uint8_t *data, size_t size)
{
	World		world;
	size_t		i;

	if (size < 2)
		return;
	memset(&world, 0, sizeof(world));
	world.policy = make_policy(data[0], data[1]);
	bank_breaker_init(&world.breaker, &world.policy, world.now);
	check_state(&world);
	for (i = 2; i < size; i++)
	{
		char		operation = (char) data[i];

		if (strchr(fuzz_operations, operation) == NULL || operation == '\0')
			operation = fuzz_operations[data[i] % (sizeof(fuzz_operations) - 1)];
		fuzz_step(&world, operation, data[i - 1]);
		check_state(&world);
	}

	/* whatever has happened, an endpoint that works is served again */
	if (world.breaker.forced)
		return;
	if (world.breaker.state == BANK_BREAKER_OPEN)
		fuzz_tick(&world, world.breaker.since + world.policy.timeout > world.now ?
				  world.breaker.since + world.policy.timeout : world.now);
	for (i = 0; i < MAX_REQUESTS + 8; i++)
	{
		fuzz_send(&world);
		fuzz_end(&world, BANK_DELIVERED, false);
		check_state(&world);
	}
	FUZZ_HOLDS(world.breaker.state == BANK_BREAKER_CLOSED);
	FUZZ_HOLDS(bank_breaker_allows(&world.breaker, &world.policy, 0) == world.policy.concurrency);
}

/* Take a number of 0 to 8 bytes, of either sign, off the input; 0 when it is used up. */
static int64_t
take_number(const uint8_t **data, size_t *size)
{
	uint64_t	value = 0;
	size_t		bytes;
	bool		negative;

	if (*size == 0)
		return 0;
	bytes = **data % 9;
	negative = **data % 2 == 1;
	(*data)++;
	(*size)--;
	if (bytes > *size)
		bytes = *size;
	memcpy(&value, *data, bytes);
	*data += bytes;
	*size -= bytes;
	return negative ? -(int64_t) (value & INT64_MAX) - 1 : (int64_t) (value & INT64_MAX);
}

/* The size of a number, at least 1. */
static int64_t
positive(int64_t number)
{
	number = number < 0 ? -(number + 1) : number;
	return number < 1 ? 1 : number;
}

/* The same in 32 bits. */
static int32_t
positive32(int64_t number)
{
	return 1 + (int32_t) (positive(number) % INT32_MAX);
}

/* The input as numbers of any size: a stored state is taken up, and ends its open time. */
static void
fuzz_numbers(const uint8_t *data, size_t size)
{
	BankBreakerPolicy policy;
	BankBreaker breaker;
	int64_t		now = take_number(&data, &size);
	int64_t		later = take_number(&data, &size);
	int64_t		generation;
	bool		counts;
	int128		due;

	policy.timeout = positive(take_number(&data, &size));
	policy.failure_threshold = positive32(take_number(&data, &size));
	policy.concurrency = positive32(take_number(&data, &size));
	memset(&breaker, 0, sizeof(breaker));
	breaker.state = (BankBreakerState) (positive(take_number(&data, &size)) % 3);
	breaker.forced = breaker.state == BANK_BREAKER_OPEN && take_number(&data, &size) % 2 == 0;
	breaker.since = take_number(&data, &size);
	breaker.failures = (int32_t) take_number(&data, &size);
	breaker.ramp = (int32_t) take_number(&data, &size);
	breaker.probing = take_number(&data, &size) % 2 == 0;
	breaker.generation = take_number(&data, &size);

	bank_breaker_restore(&breaker, &policy, now);
	FUZZ_HOLDS(breaker.since <= now && breaker.ramp >= 1 && breaker.ramp <= policy.concurrency);
	FUZZ_HOLDS(breaker.state != BANK_BREAKER_HALF_OPEN && !breaker.probing);
	if (breaker.state == BANK_BREAKER_OPEN && !breaker.forced)
	{
		due = (int128) (later < breaker.since ? later : breaker.since) + policy.timeout;
		FUZZ_HOLDS(bank_breaker_tick(&breaker, &policy, later) ==
				   (later >= due && due < INT64_MAX));
		due = (int128) breaker.since + policy.timeout;
		if (breaker.state == BANK_BREAKER_OPEN)
			FUZZ_HOLDS(bank_breaker_next(&breaker, &policy) ==
					   (due < INT64_MAX ? (int64_t) due : INT64_MAX));
		bank_breaker_force(&breaker, &policy, BANK_BREAKER_HALF_OPEN, later);
	}
	else if (breaker.forced)
	{
		FUZZ_HOLDS(!bank_breaker_tick(&breaker, &policy, later));
		bank_breaker_force(&breaker, &policy, BANK_BREAKER_HALF_OPEN, later);
	}
	generation = bank_breaker_sent(&breaker);
	(void) bank_breaker_result(&breaker, &policy, generation, BANK_UNREACHED, later, &counts);
	generation = bank_breaker_sent(&breaker);
	(void) bank_breaker_result(&breaker, &policy, generation, BANK_UNREACHED, later, &counts);
	bank_breaker_force(&breaker, &policy, BANK_BREAKER_CLOSED, now);
	generation = bank_breaker_sent(&breaker);
	FUZZ_HOLDS(!bank_breaker_result(&breaker, &policy, generation, BANK_DELIVERED, now, &counts));
	FUZZ_HOLDS(breaker.ramp == (policy.concurrency > 1 ? 2 : 1) && breaker.failures == 0);
}

/* The input as a policy of retries. */
static void
fuzz_delay(const uint8_t *data, size_t size)
{
	BankRetryPolicy policy;
	int32_t		attempts;
	int64_t		retry_after;
	uint64_t	random;
	uint128		exact;
	uint64_t	half;
	uint64_t	delay;

	policy.max_attempts = 1;
	policy.first_delay = positive(take_number(&data, &size));
	policy.max_delay = positive(take_number(&data, &size));
	if (policy.max_delay < policy.first_delay)
		policy.max_delay = policy.first_delay;
	attempts = (int32_t) (positive(take_number(&data, &size)) % INT32_MAX);
	retry_after = take_number(&data, &size);
	random = (uint64_t) take_number(&data, &size);

	exact = (uint128) (uint64_t) policy.first_delay << (attempts < 1 ? 0 : (attempts - 1) % 64);
	if (attempts > 64 || exact > (uint64_t) policy.max_delay)
		exact = (uint64_t) policy.max_delay;
	half = (uint64_t) (exact / 2);
	delay = half + random % (half + 1);
	if (retry_after > 0 && (uint64_t) retry_after > delay)
	{
		uint64_t	asked = (uint64_t) retry_after;

		if (asked > BANK_RETRY_AFTER_MAX)
			asked = BANK_RETRY_AFTER_MAX;
		delay = asked > delay ? asked : delay;
	}
	FUZZ_HOLDS((uint64_t) bank_retry_delay(&policy, attempts, retry_after, random) == delay);
	FUZZ_HOLDS(strlen(bank_verdict_name(bank_delivery_verdict((int) retry_after))) > 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > FUZZ_MAX_INPUT)
		return 0;
	fuzz_program(data, size);
	fuzz_numbers(data, size);
	fuzz_delay(data, size);
	return 0;
}
