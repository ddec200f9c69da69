/*
 * sinks.c
 *		Loads sinks by name, and what the relay does for them.
 *
 * A sink's library stays loaded until the process ends. Only libraries named
 * "banking_<name>" in the server's library directory are ever loaded.
 */
#include "postgres.h"

#include "adapters/relay/relay.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* The sinks that are at work in this process. */
BankRelaySink *bank_sinks_all = NULL;

/* Port: see event_sink.h. */
static int64_t
bank_sinks_unix_now(void)
{
	const int64 epoch_offset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	return GetCurrentTimestamp() + epoch_offset;
}

/* Port: see event_sink.h. */
static bool
bank_sinks_hmac(const BankSinkSecret *key, const void *const *parts, const size_t *lens,
				int n_parts, uint8_t mac[32])
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	bool		done = hmac != NULL && pg_hmac_init(hmac, key->bytes, key->len) >= 0;
	int			i;

	for (i = 0; done && i < n_parts; i++)
		done = pg_hmac_update(hmac, parts[i], lens[i]) >= 0;
	done = done && pg_hmac_final(hmac, mac, PG_SHA256_DIGEST_LENGTH) >= 0;
	pg_hmac_free(hmac);
	return done;
}

BankSinkHost bank_sinks_host = {
	.complete = bank_sender_complete,
	.unix_now = bank_sinks_unix_now,
	.hmac_sha256 = bank_sinks_hmac
};

/* May this be the name of a sink? So no path can be made of it. */
static bool
bank_sinks_name_valid(const char *name)
{
	size_t		len = strlen(name);

	return len > 0 && len <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

/*
 * The callbacks of a sink, its library loaded if need be. NULL: there is none of this
 * name, or one of another version; why, if given, says so. Raises what loading a library raises.
 */
const BankSinkCallbacks *
bank_sinks_load(const char *name, const char **why)
{
	char		library[80];
	BankSinkInit init;
	const BankSinkCallbacks *callbacks;

	bank_sinks_host.allow_private = bank_allow_private_endpoints;
	*why = "A sink is named by lower-case letters, digits and underscores.";
	if (!bank_sinks_name_valid(name))
		return NULL;
	snprintf(library, sizeof(library), "$libdir/banking_%s", name);
	init = (BankSinkInit) load_external_function(library, BANK_SINK_INIT, false, NULL);
	*why = "Its library is no sink.";
	if (init == NULL)
		return NULL;
	callbacks = init();
	*why = "Its library was made for another version of the relay.";
	if (callbacks == NULL || callbacks->version != BANK_SINK_VERSION)
		return NULL;
	return callbacks;
}

/*
 * The sink of a name at work in this process, started if need be. NULL: it cannot
 * be had; *why says why. Raises nothing.
 */
BankRelaySink *
bank_sinks_get(const char *name, const char **why)
{
	MemoryContext caller = CurrentMemoryContext;
	const BankSinkCallbacks *volatile callbacks = NULL;
	BankRelaySink *sink;
	void	   *state;

	for (sink = bank_sinks_all; sink != NULL; sink = sink->next)
	{
		if (strcmp(sink->name, name) == 0)
			return sink;
	}
	PG_TRY();
	{
		callbacks = bank_sinks_load(name, why);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		*why = error->message;
	}
	PG_END_TRY();
	if (callbacks == NULL)
		return NULL;
	state = callbacks->startup(&bank_sinks_host);
	*why = "It does not start.";
	if (state == NULL)
		return NULL;
	sink = MemoryContextAllocZero(TopMemoryContext, sizeof(BankRelaySink));
	strlcpy(sink->name, name, sizeof(sink->name));
	sink->callbacks = callbacks;
	sink->state = state;
	sink->next = bank_sinks_all;
	bank_sinks_all = sink;
	return sink;
}
