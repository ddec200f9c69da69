-- What the SQL tests share. Included by them with \i; prints nothing.
--
--   a(n)              identifier of the n-th account of a test
--   ledger_state()    fingerprint of the whole ledger: events, read models, keys, positions drawn
--   refused(command)  what a command that must fail says, and whether it changed anything
--   broken_invariants()  what is wrong with the ledger: nothing, one hopes

-- line numbers in the extension's own functions are nobody's contract
\set SHOW_CONTEXT never

CREATE FUNCTION a(n integer) RETURNS uuid
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN pg_catalog.format('00000000-0000-7000-8000-%s', pg_catalog.lpad(n::text, 12, '0'))::uuid;

CREATE FUNCTION ledger_state() RETURNS text
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%s events %s %s %s %s at position %s, serial %s',
    (SELECT count(*) FROM bank.events),
    (SELECT md5(string_agg(e::text, chr(10) ORDER BY e.position)) FROM bank.events AS e),
    (SELECT md5(string_agg(a::text, chr(10) ORDER BY a.account_id)) FROM bank.accounts AS a),
    (SELECT md5(concat(string_agg(b::text, chr(10) ORDER BY b.account_id, b.version),
       (SELECT string_agg(h::text, chr(10) ORDER BY h.hold_id) FROM bank.holds AS h),
       (SELECT string_agg(t::text, chr(10) ORDER BY t.transfer_id) FROM bank.transfers AS t),
       (SELECT string_agg(t::text, chr(10) ORDER BY t.transfer_id) FROM bank.transfer_attempts AS t)))
     FROM bank.backdated_movements AS b),
    (SELECT md5(string_agg(k::text, chr(10) ORDER BY k.idempotency_key))
     FROM bank.idempotency_keys AS k),
    (SELECT format('%s%s', last_value, is_called) FROM bank.events_position_seq),
    (SELECT format('%s%s', last_value, is_called) FROM bank.account_serial_seq))
$$;

-- SQLSTATE|message|detail|hint of the error that a command raises
CREATE FUNCTION refused(command text) RETURNS text
  LANGUAGE plpgsql
AS $$
DECLARE
  before text := ledger_state();
  answer text;
  detail text;
  hint text;
BEGIN
  BEGIN
    EXECUTE command;
    RAISE EXCEPTION 'ACCEPTED' USING ERRCODE = 'ZZ000';		-- and taken back
  EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN
      answer := SQLERRM;
    WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
      answer := concat_ws('|', SQLSTATE, SQLERRM, regexp_replace(detail, '^Failing row.*', '…'), hint);
  END;
  IF ledger_state() IS DISTINCT FROM before THEN
    answer := answer || ' -- AND THE LEDGER CHANGED';
  END IF;
  -- identifiers that differ from run to run
  RETURN regexp_replace(answer, '(?!00000000-)\m[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\M', '<uuid>', 'g');
END
$$;

-- What must be true of every ledger at any time; no rows when all is well.
CREATE FUNCTION broken_invariants() RETURNS SETOF text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
  WITH event AS (	-- of transfers to and from other ledgers: their streams are no accounts
    SELECT e.*, e.event_type BETWEEN 'transfer.initiated' AND 'transfer.cancelled'
                OR (e.event_type = 'transfer.completed' AND e.peer_id IS NULL) AS of_transfer
    FROM bank.events AS e WHERE e.event_type < 'approval.requested'
  ), side AS (
    SELECT e.aggregate_id AS account_id, e.version, e.position, e.balance,
           CASE WHEN e.event_type IN ('money.withdrawn', 'transfer.completed', 'hold.captured')
                THEN -e.amount WHEN e.event_type = 'money.deposited' THEN e.amount END AS delta
    FROM event AS e WHERE NOT e.of_transfer
    UNION ALL
    SELECT e.peer_id, e.peer_version, e.position, e.peer_balance,
           CASE WHEN e.event_type IN ('money.withdrawn', 'transfer.completed', 'hold.captured')
                THEN e.amount ELSE -e.amount END
    FROM bank.events AS e WHERE e.peer_id IS NOT NULL
  ), stream AS (
    SELECT account_id, count(*) AS events, min(version) AS first, max(version) AS last,
           count(DISTINCT version) AS versions, coalesce(sum(delta), 0) AS balance,
           (array_agg(balance ORDER BY version DESC))[1] AS last_balance,
           array_agg(position ORDER BY version) = array_agg(position ORDER BY position) AS in_order
    FROM side GROUP BY account_id
  ), saga AS (
    SELECT e.aggregate_id AS transfer_id, count(*) AS events, max(e.version) AS version, max(e.position) AS position,
           array_agg(e.version ORDER BY e.version) = array_agg(e.version ORDER BY e.position) AS in_order,
           substr((array_agg(e.event_type::text ORDER BY e.version DESC))[1], 10) AS last,
           bool_or(e.event_type = 'transfer.initiated') AS sent,
           count(*) FILTER (WHERE e.event_type = 'transfer.completed') > 0 AS completed,
           count(*) FILTER (WHERE e.event_type = 'transfer.received') > 0 AS received
    FROM event AS e WHERE e.of_transfer GROUP BY 1
  ), moved AS (	-- what the accounts know of a transfer
    SELECT (e.metadata ->> 'correlation_id')::uuid AS transfer_id,
           count(*) FILTER (WHERE e.event_type = 'hold.captured') AS captures,
           count(*) FILTER (WHERE e.event_type = 'hold.released') AS releases,
           count(*) FILTER (WHERE e.event_type = 'money.deposited') AS deposits,
           count(*) FILTER (WHERE e.event_type = 'money.withdrawn') AS withdrawals,
           count(*) FILTER (WHERE e.event_type = 'transfer.completed') AS elsewhere
    FROM event AS e JOIN saga AS s ON s.transfer_id::text = e.metadata ->> 'correlation_id'
    WHERE NOT e.of_transfer GROUP BY 1
  )
  SELECT format('transfer %s: %s, version %s; its stream: %s, %s of %s', s.transfer_id, t.state, t.version, s.last,
                s.version, s.events)
  FROM bank.transfers AS t FULL JOIN saga AS s USING (transfer_id)
  WHERE t.state IS NULL OR s.last IS NULL OR NOT s.in_order
     OR t.version <> s.version OR t.version <> s.events OR t.position <> s.position
     OR t.state <> CASE s.last WHEN 'cancel_requested' THEN CASE WHEN s.completed THEN 'returning' ELSE 'cancelling' END
                   ELSE s.last END
  UNION ALL
  SELECT format('transfer %s is %s, but its money has moved: %s', s.transfer_id, s.last, to_json(m))
  FROM saga AS s LEFT JOIN moved AS m USING (transfer_id)
  WHERE NOT CASE WHEN s.sent
    THEN m.captures = s.completed::integer AND m.releases = (s.last = 'rejected')::integer AND m.withdrawals = 0
         AND m.deposits + m.elsewhere = (s.last = 'compensated')::integer
    ELSE coalesce(m.deposits, 0) = s.received::integer AND coalesce(m.captures + m.releases + m.elsewhere, 0) = 0
         AND coalesce(m.withdrawals, 0) = (s.received AND s.last = 'cancelled')::integer END
  UNION ALL
  SELECT format('transfer %s is %s, and the worker has %s', t.transfer_id, t.state, coalesce(a.participant, 'nothing to do'))
  FROM bank.transfers AS t FULL JOIN bank.transfer_attempts AS a USING (transfer_id)
  WHERE (t.state IN ('reserved', 'submitted', 'cancelling', 'returning')) IS DISTINCT FROM (a.participant IS NOT NULL)
  UNION ALL
  SELECT format('stream %s is not 1..n', account_id) FROM stream
  WHERE first <> 1 OR last <> events OR versions <> events
  UNION ALL
  SELECT format('stream %s is not in the order of positions', account_id) FROM stream WHERE NOT in_order
  UNION ALL
  SELECT format('account %s: version %s, balance %s; its stream: %s, %s, %s', account_id,
                a.version, a.credits - a.debits, s.last, s.balance, s.last_balance)
  FROM bank.accounts AS a FULL JOIN stream AS s USING (account_id)
  WHERE a.version IS DISTINCT FROM s.last
     OR a.credits - a.debits IS DISTINCT FROM s.balance
     OR a.credits - a.debits IS DISTINCT FROM s.last_balance::numeric
  UNION ALL
  SELECT format('account %s is beyond its limits', account_id) FROM bank.accounts
  WHERE house_code IS NULL
    AND (credits - debits - held < -overdraft_limit OR credits - debits > balance_limit)
  UNION ALL
  SELECT format('account %s holds %s until %s, its open holds %s until %s', account_id, a.held, a.next_expiry, h.held, h.next)
  FROM bank.accounts AS a FULL JOIN (
    SELECT e.aggregate_id AS account_id, sum(e.amount) AS held, min(e.expires_at) FILTER (WHERE e.expires_at < 'infinity') AS next
    FROM bank.events AS e
    WHERE e.event_type = 'hold.created'
      AND NOT EXISTS (SELECT FROM bank.events AS r WHERE r.hold_id = e.hold_id AND r.event_type <> 'hold.created')
    GROUP BY 1) AS h USING (account_id)
  WHERE coalesce(a.held, 0) IS DISTINCT FROM coalesce(h.held, 0) OR a.next_expiry IS DISTINCT FROM h.next
  UNION ALL
  SELECT format('hold %s is resolved %s times', hold_id, count(*)) FROM bank.events
  WHERE hold_id IS NOT NULL AND event_type <> 'hold.created' GROUP BY hold_id HAVING count(*) > 1
  UNION ALL
  SELECT format('%s does not balance', currency) FROM bank.accounts
  GROUP BY currency HAVING sum(debits) <> sum(credits)
  UNION ALL
  SELECT format('key %s has no event', idempotency_key) FROM bank.idempotency_keys AS k
  WHERE k.aggregate_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM bank.events AS e
                    WHERE e.aggregate_id = k.aggregate_id AND e.version = k.version)
  UNION ALL
  SELECT format('bank_verify says %s: %s %s', invariant, failures, detail) FROM public.bank_verify() WHERE NOT ok
$$;
