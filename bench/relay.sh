# shellcheck shell=bash
#
# relay.sh - the benchmarks of delivery; bench/run reads this file
#
# A receiver on this machine answers 204 to everything; what it can take by itself is measured with
# test/receiver/load.c and printed beside the figures. bench/run provides sql, record, median,
# row, progress, run_script and the like.

# Events that are there before a delivery is timed.
readonly RELAY_EVENTS=100000
# Events per second while latency is measured, and for how long.
readonly RELAY_RATE=500
readonly RELAY_LATENCY_SECONDS=20
readonly RELAY_IDLE_SECONDS=30

receiver_pid=
receiver_port=

start_receiver()
{
	local portfile=$repo/build/bench.port

	make -s -C test/receiver
	rm -f -- "$portfile"
	build/receiver/receiver --quiet --port-file "$portfile" --max-seconds 3600 \
		</dev/null >>"$LOG" 2>&1 &
	receiver_pid=$!
	while [ ! -s "$portfile" ]; do sleep 0.1; done
	receiver_port=$(cat "$portfile")
	rm -f -- "$portfile"
}

stop_receiver()
{
	[ -z "$receiver_pid" ] || kill "$receiver_pid" 2>/dev/null || true
	receiver_pid=
}

receiver()
{
	perl -MHTTP::Tiny -e '
		my ($method, $url) = @ARGV;
		my $answer = HTTP::Tiny->new->request($method, $url);
		die "$url: $answer->{status}\n" unless $answer->{success};
		print $answer->{content};' "$1" "http://127.0.0.1:$receiver_port/control/$2"
}

receiver_stat()
{
	receiver GET stats | sed -n "s/^$1 //p"
}

# relay QUERY: on the benchmark's ledger
relay()
{
	sql relay -c "$1"
}

# What the receiver takes: a real event, and a hundred of them
measure_receiver()
{
	local file=$LOG.event

	relay "SELECT cloud_event FROM bank.outgoing WHERE event_type = 'transfer.completed' LIMIT 1" >"$file"
	record 'receiver single' "$(build/receiver/load "$receiver_port" 2 20 "$file")"
	relay "SELECT '[' || string_agg(cloud_event, ',') || ']' FROM (SELECT cloud_event FROM bank.outgoing
		WHERE event_type = 'transfer.completed' LIMIT 100) AS o" >"$file"
	record 'receiver batch' $((100 * $(build/receiver/load "$receiver_port" 2 4 "$file")))
	rm -f -- "$file"
}

subscribe()
{
	relay "SELECT count(bank_subscribe('bench', 'http://127.0.0.1:${3:-$receiver_port}/bench', mode => '$1', start => '$2'))" >>"$LOG"
}

unsubscribe()
{
	relay "SELECT bank_unsubscribe('bench')" >>"$LOG"
}

# measure_delivery MODE: from subscribing at the beginning until everything is delivered and recorded
measure_delivery()
{
	local mode=$1 count start

	count=$(relay 'SELECT count(*) FROM bank.events')
	start=$(date +%s%N)
	subscribe "$mode" beginning
	while [ "$(relay "SELECT delivered FROM bank_subscriptions WHERE name = 'bench'")" -lt "$count" ]; do
		sleep 0.05
	done
	record "delivery $mode" "$(awk -v n="$count" -v ns="$(($(date +%s%N) - start))" \
		'BEGIN { printf "%.0f", n / (ns / 1e9) }')"
	unsubscribe
	progress "$(printf '%-28s %9.0f events/s' "delivery $mode" "$(tail -n 1 <<<"${samples["delivery $mode"]%$'\n'}")")"
}

# Latency from recorded_at, which lies before the commit, to the arrival of the whole request.
measure_latency()
{
	subscribe single now
	receiver POST reset >/dev/null
	"$bindir/pgbench" -h "$socket" -p 5432 -U postgres -n -c 8 -j 1 -R "$RELAY_RATE" -T "$RELAY_LATENCY_SECONDS" \
		-D accounts="$ACCOUNTS" -f bench/transfer.pgbench relay >>"$LOG" 2>&1
	sleep 0.5
	record latency "$(receiver_stat latency_p99)"
	record 'latency median' "$(receiver_stat latency_p50)"
	record 'latency events' "$(receiver_stat latency_events)"
	unsubscribe
	progress "$(printf '%-28s %9.0f µs (p99)' 'commit to received' "$(tail -n 1 <<<"${samples[latency]%$'\n'}")")"
}

# Commands with a subscription whose endpoint refuses connections, and without any, in turn.
measure_dead_endpoint()
{
	run_script 'commands alone' relay simple transfer "$ACCOUNTS"
	subscribe single now 1
	run_script 'commands beside dead endpoint' relay simple transfer "$ACCOUNTS"
	unsubscribe
}

bench_http()
{
	local round

	make_ledger relay
	fill relay "$RELAY_EVENTS"
	start_receiver
	measure_receiver
	for ((round = 1; round <= rounds; round++)); do
		progress "round $round of $rounds, delivery"
		measure_delivery single
		measure_delivery batch
		measure_latency
	done
	stop_receiver
	for ((round = 1; round <= rounds; round++)); do
		measure_dead_endpoint
	done
	check_ledger relay
}

report_http()
{
	local mode bar

	for mode in single batch; do
		bar=1500
		[ "$mode" = single ] || bar=8000
		row "HTTP delivery, $mode, backlog of $(grouped "$RELAY_EVENTS")" \
			"$(grouped "$(median "delivery $mode")") events/s" \
			"$(grouped "$(median "receiver $mode")") events/s (receiver alone)" '' "≥ $(grouped "$bar") events/s" \
			"$(verdict "$(median "delivery $mode")" '>=' "$bar")"
	done
	row "recorded to received at $RELAY_RATE events/s, p99" \
		"$(awk -v us="$(median latency)" 'BEGIN { printf "%.1f ms", us / 1000 }')" \
		"$(awk -v us="$(median 'latency median')" 'BEGIN { printf "%.1f ms (median)", us / 1000 }')" '' '≤ 50 ms' \
		"$(verdict "$(median latency)" '<=' 50000)"
	ratio_row 'bank_transfer beside a dead endpoint' 'commands beside dead endpoint' 'commands alone' 'no subscription' 0.95
}

# What a worker with a subscription and nothing to do costs: processor time, how often it wakes.
bench_idle()
{
	local pid before after

	[ -n "$(sql postgres -c "SELECT 1 FROM pg_database WHERE datname = 'relay'")" ] || make_ledger relay
	subscribe single now 1
	sleep 3
	pid=$(relay 'SELECT pid FROM bank_relay_status()')
	before=$(worker_cost "$pid")
	sleep "$RELAY_IDLE_SECONDS"
	after=$(worker_cost "$pid")
	record 'idle cpu' "$(awk -v a="${before% *}" -v b="${after% *}" -v hz="$(getconf CLK_TCK)" -v s="$RELAY_IDLE_SECONDS" \
		'BEGIN { printf "%.4f", (b - a) / hz / s * 100 }')"
	record 'idle wakes' "$(awk -v a="${before#* }" -v b="${after#* }" -v s="$RELAY_IDLE_SECONDS" 'BEGIN { printf "%.2f", (b - a) / s }')"
	unsubscribe
}

# worker_cost PID: clock ticks used so far, times it has gone to sleep
worker_cost()
{
	printf '%s %s\n' "$(awk '{ print $14 + $15 }' "/proc/$1/stat")" \
		"$(sed -n 's/^voluntary_ctxt_switches:\t//p' "/proc/$1/status")"
}

report_idle()
{
	row "idle worker, $RELAY_IDLE_SECONDS s" "$(median 'idle cpu') % of a processor" '' '' '0' \
		"$(verdict "$(median 'idle cpu')" '<=' 0.05)"
	row 'idle worker, wakes' "$(median 'idle wakes') per second" '' '' '≤ 1 per second' \
		"$(verdict "$(median 'idle wakes')" '<=' 1)"
}
