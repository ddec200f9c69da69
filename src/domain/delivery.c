/*
 * delivery.c
 *		What an HTTP status means, and when to try again.
 *
 * Pure C, no allocation, no locks, no floating point. All arithmetic on times is
 * checked.
 */
#include "domain/delivery.h"
#include "domain/money.h"

static const char *const bank_verdict_names[] = {
	"delivered", "rejected", "unreached", "throttled", "gone"
};

/*
 * See delivery.h. A redirect is not followed, and what is no status at all (0, 1xx, 600)
 * did not come from an endpoint that works.
 */
BankVerdict
bank_delivery_verdict(int http_status)
{
	if (http_status >= 200 && http_status <= 299)
		return BANK_DELIVERED;
	if (http_status == 408)
		return BANK_UNREACHED;
	if (http_status == 410)
		return BANK_GONE;
	if (http_status == 429)
		return BANK_THROTTLED;
	if (http_status >= 400 && http_status <= 499)
		return BANK_REJECTED;
	return BANK_UNREACHED;
}

/* Stored name of a verdict. */
const char *
bank_verdict_name(BankVerdict verdict)
{
	return bank_verdict_names[verdict];
}

/*
 * See delivery.h. The jitter keeps the deliveries that one outage stopped from all
 * coming back at one moment; half of the delay is left, so that none comes at once. See
 * "Exponential Backoff And Jitter" by M. Brooker, AWS Architecture Blog, 2015.
 */
int64_t
bank_retry_delay(const BankRetryPolicy *policy, int32_t attempts, int64_t retry_after,
				 uint64_t random)
{
	int64_t		delay = policy->first_delay;
	int64_t		half;
	int32_t		i;

	for (i = 1; i < attempts && delay < policy->max_delay; i++)
	{
		if (!bank_multiply_int64(delay, 2, &delay))
			delay = policy->max_delay;
	}
	if (delay > policy->max_delay)
		delay = policy->max_delay;
	half = delay / 2;
	delay = half + (int64_t) (random % ((uint64_t) half + 1));

	if (retry_after > BANK_RETRY_AFTER_MAX)
		retry_after = BANK_RETRY_AFTER_MAX;
	return retry_after > delay ? retry_after : delay;
}
