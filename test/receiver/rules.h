/*
 * rules.h
 *		What the receiver does with a request.
 *
 * A rule is a line PATH-PREFIX<TAB>PART-OF-BODY<TAB>BEHAVIOUR, where a part "*" stands for
 * any body. The first rule that matches counts; where none does, the behaviour is "ok".
 *
 *	ok					204
 *	ok:BODY				200 with this body
 *	status:NNN			this status
 *	status:NNN:HEADER	and this line of header, "Retry-After: 2"
 *	redirect:URL		302
 *	hang				never answer
 *	hang-body			200 and the first 10 bytes of 1000
 *	big:BYTES			200 and a body of so many bytes
 *	slow:MS				200 and a body of 10 bytes, which takes so long, a byte at a time
 *	close				close the connection, by FIN
 *	reset				close the connection, by RST
 *	garbage				answer what is not HTTP, and close
 *	delay:MS[:B]		wait so many milliseconds, then do B, by default ok
 *	times:N:B1|B2		B1 for the first N requests that match the rule, then B2, which may
 *						again be times, counting from then on
 *	random:PERCENT:B	B for so many percent of the requests, ok for the others
 */
#ifndef RECEIVER_RULES_H
#define RECEIVER_RULES_H

#include "text.h"

typedef enum Kind
{
	OK,
	STATUS,
	DELAY,
	HANG,
	HANG_BODY,
	RESET,
	CLOSE,
	REDIRECT,
	BIG,
	GARBAGE,
	SLOW,
	TIMES,
	RANDOM
} Kind;

/* Never freed: requests under way may still need one whose rule has gone. */
typedef struct Behaviour
{
	Kind		kind;
	uint64_t	number;			/* status, milliseconds, bytes, times or percent */
	const char *text;			/* body, header or URL; NULL if none */
	const struct Behaviour *next;	/* of DELAY and RANDOM; the first one of TIMES */
	const struct Behaviour *then;	/* the second one of TIMES */
} Behaviour;

extern bool rules_set(Slice text, Slice *bad);
extern const Behaviour *rules_apply(Slice path, Slice body, uint64_t *delay);
extern const char *behaviour_name(const Behaviour *behaviour);

#endif							/* RECEIVER_RULES_H */
