/*
 * rules.c
 *		What the receiver does with a request.
 */
#define _GNU_SOURCE
#include "rules.h"

#include <stdlib.h>
#include <string.h>

/* How each behaviour is written, in the order of Kind: its name and what follows it. */
static const struct
{
	const char *name;
	bool		number;			/* a number must follow */
	bool		behaviour;		/* a behaviour may follow */
	bool		text;			/* a text may follow */
}			grammar[] = {
	[OK] = {"ok", false, false, true},
	[STATUS] = {"status", true, false, true},
	[DELAY] = {"delay", true, true, false},
	[HANG] = {"hang", false, false, false},
	[HANG_BODY] = {"hang-body", false, false, false},
	[RESET] = {"reset", false, false, false},
	[CLOSE] = {"close", false, false, false},
	[REDIRECT] = {"redirect", false, false, true},
	[BIG] = {"big", true, false, false},
	[GARBAGE] = {"garbage", false, false, false},
	[SLOW] = {"slow", true, false, false},
	[TIMES] = {"times", true, true, false},
	[RANDOM] = {"random", true, true, false},
};

#define N_KINDS (sizeof(grammar) / sizeof(grammar[0]))

static const Behaviour plain_ok = {.kind = OK};

typedef struct Rule
{
	Slice		prefix;			/* of the path */
	Slice		part;			/* of the body; no data: any body */
	const Behaviour *behaviour;
	uint64_t	matched;		/* requests so far */
} Rule;

static Rule *rules;
static size_t n_rules;

/* What it is called in a rule. */
const char *
behaviour_name(const Behaviour *behaviour)
{
	return grammar[behaviour->kind].name;
}

/* Understand a behaviour; NULL if it is none. */
static const Behaviour *
behaviour_parse(Slice text)
{
	Behaviour  *behaviour = allocate(NULL, sizeof(Behaviour));
	Slice		name = slice_take(&text, ':');
	size_t		kind = 0;

	while (kind < N_KINDS && !slice_is(name, grammar[kind].name))
		kind++;
	if (kind == N_KINDS)
		return NULL;
	*behaviour = (Behaviour) {.kind = (Kind) kind, .next = &plain_ok};
	if (grammar[kind].number && !slice_number(slice_take(&text, ':'), &behaviour->number))
		return NULL;
	if (kind == TIMES)
	{
		behaviour->next = behaviour_parse(slice_take(&text, '|'));
		behaviour->then = behaviour_parse(text);
		if (behaviour->then == NULL)
			return NULL;
	}
	else if (text.len > 0 && grammar[kind].behaviour)
		behaviour->next = behaviour_parse(text);
	else if (text.len > 0 && grammar[kind].text)
		behaviour->text = slice_keep(text).data;
	else if (text.len > 0)
		return NULL;
	if ((kind == STATUS && (behaviour->number < 100 || behaviour->number > 999)) ||
		(kind == REDIRECT && behaviour->text == NULL))
		return NULL;
	return behaviour->next == NULL ? NULL : behaviour;
}

/* Put these rules in the place of all others; false, with the line, if one is not understood. */
bool
rules_set(Slice text, Slice *bad)
{
	Rule	   *new_rules = NULL;
	size_t		n = 0;

	while (text.len > 0)
	{
		Slice		line = slice_take(&text, '\n');
		Slice		rest = line;
		Rule		rule = {0};

		if (line.len == 0)
			continue;
		*bad = line;
		rule.prefix = slice_keep(slice_take(&rest, '\t'));
		rule.part = slice_keep(slice_take(&rest, '\t'));
		rule.behaviour = behaviour_parse(rest);
		if (rule.behaviour == NULL)
			return false;
		if (slice_is(rule.part, "*"))
			rule.part = (Slice) {0};
		new_rules = allocate(new_rules, (n + 1) * sizeof(Rule));
		new_rules[n++] = rule;
	}
	free(rules);
	rules = new_rules;
	n_rules = n;
	return true;
}

/*
 * What the rules say of a request: a behaviour that is neither of DELAY, TIMES nor
 * RANDOM, and how many milliseconds to wait before it.
 */
const Behaviour *
rules_apply(Slice path, Slice body, uint64_t *delay)
{
	const Behaviour *behaviour = &plain_ok;
	uint64_t	before = 0;

	*delay = 0;
	for (Rule *rule = rules; rule < rules + n_rules; rule++)
	{
		if (slice_begins(path, rule->prefix) &&
			(rule->part.data == NULL ||
			 memmem(body.data, body.len, rule->part.data, rule->part.len) != NULL))
		{
			behaviour = rule->behaviour;
			before = rule->matched++;
			break;
		}
	}
	for (;;)
	{
		switch (behaviour->kind)
		{
			case DELAY:
				*delay += behaviour->number;
				behaviour = behaviour->next;
				break;
			case TIMES:
				if (before >= behaviour->number)
				{
					before -= behaviour->number;
					behaviour = behaviour->then;
				}
				else
					behaviour = behaviour->next;
				break;
			case RANDOM:
				behaviour = (uint64_t) (random() % 100) < behaviour->number ?
					behaviour->next : &plain_ok;
				break;
			default:
				return behaviour;
		}
	}
}
