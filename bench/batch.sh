# batch.sh - the benchmark of bank_post_transfers, part of bench/run, which sources it
# shellcheck shell=bash
#
# Runs of batches alternate with runs that COPY the rows of the very same events, as many per
# transaction, from files on the server into a table with the same columns and indexes and no triggers.

readonly BATCH_SIZES='100 1000 8190'
readonly BATCH_ORDERS=65520		# in each run, about; 8 batches of the greatest size
readonly BATCH_BAR=0.55

# A ledger, and the table of the reference with the same rows.
make_batch_ledger()
{
	make_ledger batch
	sql batch <<-'SQL'
		CREATE SCHEMA bench;
		CREATE TABLE bench.events (LIKE bank.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
		INSERT INTO bench.events SELECT * FROM bank.events ORDER BY position;
	SQL
	as_server_user mkdir -p "$socket/copy"
}

# write_copy_files POSITION SIZE CLIENTS BATCHES: the events after that position, in files for copy.pgbench
write_copy_files()
{
	sql batch >/dev/null <<-SQL
		SELECT format('COPY (SELECT * FROM bank.events WHERE position > %s AND position <= %s ORDER BY position) TO %L',
		              $1 + n * $2, $1 + (n + 1) * $2, format('$socket/copy/%s.%s', n / $4, 1 + n % $4))
		FROM generate_series(0, $3 * $4 - 1) AS n \\gexec
	SQL
}

# run_batches SIZE SKEW CLIENTS KEYS: a run of batches, and one of COPY of what they have written
run_batches()
{
	local size=$1 skew=$2 clients=$3 keys=$4 batches last name="$1 $2 $3 $4"

	batches=$((BATCH_ORDERS / size / clients))
	sql batch -v size="$size" -v skew="$skew" -v clients="$clients" -v keys="$keys" \
		-v batches="$batches" -v accounts="$ACCOUNTS" -f bench/batches.sql >>"$LOG" 2>&1
	last=$(sql batch -c 'SELECT max(position) FROM bank.events')
	run_pgbench "batch $name" batch -c "$clients" -j "$clients" -t "$batches" -D n=0 -D size="$size" \
		-f bench/batch.pgbench
	write_copy_files "$last" "$size" "$clients" "$batches"
	run_pgbench "copy $name" batch -c "$clients" -j "$clients" -t "$batches" -D n=0 \
		-D directory="$socket/copy" -f bench/copy.pgbench
}

bench_batch()
{
	local round keys skew clients size

	make_batch_ledger
	for ((round = 1; round <= rounds; round++)); do
		progress "round $round of $rounds, batches"
		for keys in 0 1; do
			for skew in 0 1; do
				for clients in 1 2; do
					for size in $BATCH_SIZES; do
						run_batches "$size" "$skew" "$clients" "$keys"
					done
				done
			done
		done
	done
	check_ledger batch
}

# batch_rate NAME SIZE: rows per second
batch_rate()
{
	awk -v tps="$(median "$1")" -v size="$2" 'BEGIN { printf "%.0f", tps * size }'
}

report_batch()
{
	local keys skew clients size name value what bar

	for keys in 0 1; do
		for skew in 0 1; do
			for clients in 1 2; do
				for size in $BATCH_SIZES; do
					name="$size $skew $clients $keys"
					value=$(ratio "batch $name" "copy $name")
					what="bank_post_transfers, $size per call"
					[ "$skew" = 0 ] || what+=', Zipf'
					[ "$clients" = 1 ] || what+=", $clients clients"
					[ "$keys" = 0 ] || what+=', keys'
					bar=
					[ "$name" != '8190 0 1 0' ] || bar=$BATCH_BAR
					row "$what" "$(grouped "$(batch_rate "batch $name" "$size")") orders/s" \
						"$(grouped "$(batch_rate "copy $name" "$size")") rows/s (COPY)" \
						"$(printf '%.2f' "$value")" "${bar:+≥ $bar}" "${bar:+$(verdict "$value" '>=' "$bar")}"
				done
			done
		done
	done
	if [ -n "$chart" ]; then
		chart_batch >"$chart"
	fi
}

# The same figures as an SVG.
chart_batch()
{
	local size

	for size in $BATCH_SIZES; do
		printf '%s per call|%s|%s|%s|%s|%s\n' "$size" "$(batch_rate "copy $size 0 1 0" "$size")" \
			"$(batch_rate "batch $size 0 1 0" "$size")" "$(batch_rate "batch $size 1 1 0" "$size")" \
			"$(batch_rate "batch $size 0 2 0" "$size")" "$(batch_rate "batch $size 0 1 1" "$size")"
	done | awk -f bench/chart.awk \
		-v title='bank_post_transfers and COPY of the same events, rows per second' \
		-v names='COPY|uniform|Zipf(1.0)|uniform, 2 clients|uniform, with keys'
}
