# lib.sh - what the scripts of this directory share; sourced by them.
# shellcheck shell=bash

# The repository's root. Everything runs from there.
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$repo" || exit

# Nothing here may lead to the caller's own servers.
unset PGDATA PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGSERVICE PGOPTIONS PGPASSFILE

# The same words whatever the caller's language is.
export LC_ALL=C.UTF-8

say()
{
	printf '\n== %s\n' "$*"
}

fail()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Run a command as root, through sudo unless we are root already.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo -- "$@"
	else
		fail "this needs root: run it as root, or install sudo"
	fi
}

# Install what make has built into the server's directories; as root only where it must be.
install_extension()
{
	local pg_config=${PG_CONFIG:-pg_config}

	if [ -w "$("$pg_config" --pkglibdir)" ] && [ -w "$("$pg_config" --sharedir)/extension" ]; then
		make -s install PG_CONFIG="$pg_config"
	else
		as_root make -s install PG_CONFIG="$pg_config"
	fi
}

# Build and install the sample sink and what must be refused as a sink, for tests; as root only where
# it must be.
install_test_sinks()
{
	local pg_config=${PG_CONFIG:-pg_config} dir

	for dir in test/sink test/sink/refused; do
		make -s -C "$dir" clean PG_CONFIG="$pg_config"
		make -s -C "$dir" PG_CONFIG="$pg_config"
		if [ -w "$("$pg_config" --pkglibdir)" ]; then
			make -s -C "$dir" install PG_CONFIG="$pg_config"
		else
			as_root make -s -C "$dir" install PG_CONFIG="$pg_config"
		fi
	done
}

# The user for whatever must not run as root (the server, the tests): ourselves, or for root
# BANKING_CLUSTER_USER, by default postgres or nobody. scripts/cluster chooses the same.
server_user()
{
	if [ "$(id -u)" -ne 0 ]; then
		id -un
	elif [ -n "${BANKING_CLUSTER_USER:-}" ]; then
		printf '%s\n' "$BANKING_CLUSTER_USER"
	elif id -u postgres >/dev/null 2>&1; then
		printf 'postgres\n'
	else
		printf 'nobody\n'
	fi
}

# Run a command as server_user.
as_server_user()
{
	local user

	if [ "$(id -u)" -ne 0 ]; then
		"$@"
	else
		user=$(server_user)
		setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --inh-caps=-all -- "$@"
	fi
}

# relay_tour CLUSTER DATABASE: examples/relay.sql in a database of a throw-away cluster, with
# examples/receive_webhook as the other system. The receiver runs as server_user, on a free port of
# 127.0.0.1 and with its files in the cluster's directory; it ends with this.
relay_tour()
(
	cluster=$1 database=$2 receiver='' port=''
	directory=$(readlink -f "$cluster")/receiver
	secret=whsec_$(head -c 32 /dev/urandom | base64)

	trap '[ -z "$receiver" ] || kill -- "-$receiver"' EXIT
	trap 'exit 130' HUP INT TERM
	as_server_user mkdir -p "$directory"
	: >"$directory/log"
	set -m
	WEBHOOK_SECRET=$secret as_server_user perl - 0 "$directory/outage" \
		<examples/receive_webhook >"$directory/received" 2>"$directory/log" &
	set +m
	receiver=$!
	for _ in {1..100}; do
		port=$(sed -n 's|.*http://127.0.0.1:\([0-9]*\)/$|\1|p' "$directory/log")
		[ -z "$port" ] || break
		sleep 0.1
	done
	[ -n "$port" ] || fail "the receiver did not start: $(cat "$directory/log")"
	RECEIVED=$directory/received OUTAGE=$directory/outage scripts/cluster psql "$cluster" -X \
		-d "$database" -v "url=http://127.0.0.1:$port/" -v "secret=$secret" -f examples/relay.sql
)
