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
