-- Transfers to and from other ledgers, both ends; what the worker does is played by hand.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
-- A step of the worker: the events that it would append, and what it would note.
CREATE FUNCTION worker(transfer_id uuid, step text, more jsonb DEFAULT '{}') RETURNS text
  LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  t bank.transfers;
  a bank.accounts;
  h bank.accounts;
  at timestamptz;
BEGIN
  SELECT * INTO STRICT t FROM bank.transfers WHERE transfer_id = worker.transfer_id FOR UPDATE;
  SELECT * INTO STRICT a FROM bank.accounts WHERE account_id = t.account_id FOR NO KEY UPDATE;
  IF step IN ('completed', 'compensated') AND (t.captured = (step = 'compensated')) THEN
    IF NOT EXISTS (SELECT FROM bank.accounts WHERE house_code = t.house_account AND currency = t.currency) THEN
      PERFORM bank_create_house_account(t.house_account, t.currency);
    END IF;
    SELECT * INTO STRICT h FROM bank.accounts WHERE house_code = t.house_account AND currency = t.currency LIMIT 1 FOR NO KEY UPDATE;
    at := clock_timestamp();
    INSERT INTO bank.events (event_id, aggregate_id, version, peer_id, peer_version, event_type, amount, currency, balance,
                             peer_balance, held, hold_id, recorded_at, metadata)
    VALUES (gen_random_uuid(), a.account_id, a.version + 1, h.account_id, h.version + 1,
            CASE step WHEN 'completed' THEN 'hold.captured' ELSE 'money.deposited' END::bank.event_type, t.amount, t.currency,
            a.credits - a.debits - CASE step WHEN 'completed' THEN t.amount ELSE -t.amount END,
            h.credits - h.debits + CASE step WHEN 'completed' THEN t.amount ELSE -t.amount END,
            nullif(a.held - CASE step WHEN 'completed' THEN t.amount ELSE 0 END, 0),
            CASE step WHEN 'completed' THEN t.transfer_id END, at, jsonb_build_object('correlation_id', t.transfer_id));
    more := more || jsonb_build_object('account_id', a.account_id, 'account_version', (a.version + 1)::text);
  ELSIF step = 'rejected' THEN
    at := clock_timestamp();
    INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, held, hold_id, recorded_at, metadata)
    VALUES (gen_random_uuid(), a.account_id, a.version + 1, 'hold.released', t.amount, t.currency, a.credits - a.debits,
            nullif(a.held - t.amount, 0), t.transfer_id, at, jsonb_build_object('correlation_id', t.transfer_id));
  END IF;
  INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, recorded_at, data)
  VALUES (gen_random_uuid(), t.transfer_id, t.version + 1, ('transfer.' || step)::bank.event_type, t.amount, t.currency, 0, coalesce(at, clock_timestamp()), more);
  IF step <> 'submitted' THEN
    DELETE FROM bank.transfer_attempts AS n WHERE n.transfer_id = t.transfer_id;
  END IF;
  RETURN (SELECT state FROM bank.transfers WHERE transfer_id = t.transfer_id);
END
$$;
-- A transfer that is to be, in this state.
CREATE FUNCTION bring(amount bank_money, VARIADIC steps text[] DEFAULT '{}') RETURNS uuid
  LANGUAGE plpgsql AS $$
DECLARE
  id uuid := bank_send(a(1), amount, 'north', 'account 7');
  step text;
BEGIN
  FOREACH step IN ARRAY steps LOOP
    IF step = 'cancel' THEN
      PERFORM bank_cancel_transfer(id);
    ELSE
      PERFORM worker(id, step);
    END IF;
  END LOOP;
  RETURN id;
END
$$;
\set ECHO all
SET timezone = 'UTC';
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(n))).account_number FROM generate_series(1, 4) AS n;
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'USD', account_id => a(5));
SELECT balance FROM bank_deposit(a(1), '1000 HTG');
SELECT name FROM bank_add_participant('north', 'https://north.example/', deadline => '1 hour');
SELECT name FROM bank_add_participant('south', 'https://south.example/', deadline => '1 month', house_account => 'fees');
CREATE VIEW transfer AS
SELECT t.direction, t.state, t.participant, a.n AS account, t.destination, t.amount, t.currency, t.version, t.deadline IS NOT NULL AS ends,
       t.attempts, t.next_attempt_at IS NOT NULL AS due, t.code, t.reason
FROM bank_transfers AS t LEFT JOIN (SELECT n, a(n) AS account_id FROM generate_series(1, 9) AS n) AS a USING (account_id)
ORDER BY t.created_at;
CREATE FUNCTION event_data_of(transfer uuid, OUT version bigint, OUT event_type text, OUT event_data jsonb, OUT metadata jsonb)
  RETURNS SETOF record LANGUAGE sql STABLE AS $$
  SELECT e.version, e.event_type,
         e.event_data - 'transfer_id' - CASE WHEN (e.event_data ->> 'deadline')::timestamptz > e.recorded_at THEN 'deadline' ELSE '' END,
         e.metadata
  FROM bank_events AS e WHERE e.aggregate_id = transfer AND e.event_data ->> 'transfer_id' = transfer::text ORDER BY e.version
$$;

-- Money is reserved: it stays on the balance and cannot be spent.
SELECT bank_send(a(1), '40 HTG', 'north', 'account 7', metadata => '{"order":17}') AS t1 \gset
SELECT * FROM transfer;
SELECT balance, held, available FROM bank_balance(a(1));
SELECT * FROM event_data_of(:'t1');
SELECT event_data - 'hold_id' AS event_data, event_data ->> 'hold_id' = :'t1' AS has_its_name, metadata - 'correlation_id' AS metadata,
       metadata ->> 'correlation_id' = :'t1' AS is_related
FROM bank_account_events(a(1)) WHERE event_type = 'hold.created';
SELECT hold_id = :'t1' AS of_the_transfer, amount, status, expires_at FROM bank_holds;
SELECT deadline - created_at AS lasts, age >= interval '0' AS has_an_age, changed_at = created_at AS just_begun FROM bank_transfer_status(:'t1');
SELECT participant, attempts, absent, next_attempt_at <= clock_timestamp() AS now FROM bank.transfer_attempts;
SELECT refused($$SELECT bank_withdraw(a(1), '960.01 HTG')$$);
-- A correlation_id of one's own is kept.
SELECT bank_send(a(1), '1 HTG', 'south', 'x', metadata => '{"correlation_id":"mine"}', deadline_in => '1 day') AS t2 \gset
SELECT metadata FROM bank_account_events(a(1)) WHERE event_data ->> 'hold_id' = :'t2';
SELECT deadline - created_at AS lasts FROM bank_transfer_status(:'t2');
SELECT state, version FROM bank_cancel_transfer(:'t2');
-- Nobody else resolves its hold, which does not expire either.
SELECT refused(format('SELECT bank_capture(%L)', :'t1'));
SELECT refused(format('SELECT bank_capture(%L, amount => ''1 HTG'', to_account => a(2))', :'t1'));
SELECT refused(format('SELECT bank_release(%L)', :'t1'));
SELECT bank_expire_holds();
SELECT code, message FROM jsonb_to_record(bank_execute(jsonb_build_object('command', 'release', 'hold_id', :'t1'))) AS r (code text, message text);
SELECT * FROM broken_invariants();

-- It is sent, and completed: the money leaves.
SELECT worker(:'t1', 'submitted'), worker(:'t1', 'completed');
SELECT * FROM transfer;
SELECT balance, held, available FROM bank_balance(a(1));
SELECT house_account, balance FROM bank_accounts WHERE house_account IS NOT NULL ORDER BY 1;
SELECT version, event_type, event_data - 'account_version' AS event_data FROM event_data_of(:'t1');
SELECT event_type, amount, balance FROM bank_transactions(a(1));
SELECT bank_transfer_status(:'t1') = t AS the_row FROM bank_transfers AS t WHERE transfer_id = :'t1';
SELECT bank_transfer_status(a(77)) IS NULL AS unknown;
SELECT * FROM broken_invariants();

-- Asked back: before it is sent, it is at once; else the participant decides.
SELECT bring('10 HTG') AS t3 \gset
SELECT state, version, reason FROM bank_cancel_transfer(:'t3', metadata => '{"why":"typo"}');
SELECT version, event_type, metadata FROM event_data_of(:'t3');
SELECT metadata - 'correlation_id' AS metadata, metadata ->> 'correlation_id' = :'t3' AS is_related
FROM bank_account_events(a(1)) WHERE event_type = 'hold.released' ORDER BY position DESC LIMIT 1;
SELECT refused(format('SELECT bank_cancel_transfer(%L)', :'t3')) LIKE 'BK030|Transfer is already resolved|State: rejected (transfer%' AS resolved;
SELECT bring('10 HTG', 'submitted') AS t4 \gset
SELECT state, version, deadline > changed_at AS ends, next_attempt_at IS NOT NULL AS due FROM bank_cancel_transfer(:'t4');
SELECT refused(format('SELECT bank_cancel_transfer(%L)', :'t4')) LIKE 'BK030|Transfer is under way|State: cancelling (transfer%' AS under_way;
SELECT worker(:'t4', 'completed', '{"code":"BK004","reason":"spent"}');
SELECT state, code, reason FROM bank_transfer_status(:'t4');
SELECT state FROM bank_cancel_transfer(:'t4');
SELECT worker(:'t4', 'completed', '{"code":"BK004"}');
SELECT balance, held FROM bank_balance(a(1));
SELECT state FROM bank_cancel_transfer(:'t4');
SELECT worker(:'t4', 'compensated');
SELECT balance, held FROM bank_balance(a(1));
SELECT event_type FROM event_data_of(:'t4');
SELECT worker(bring('10 HTG', 'submitted', 'cancel'), 'rejected'), worker(bring('10 HTG', 'submitted'), 'rejected', '{"code":"BK002"}');
SELECT balance, held FROM bank_balance(a(1));
SELECT * FROM broken_invariants();

-- In doubt: each way out, held or gone.
SELECT bring('1 HTG', 'submitted', 'in_doubt') AS d1, bring('2 HTG', 'submitted', 'in_doubt') AS d2, bring('3 HTG', 'submitted', 'cancel', 'in_doubt') AS d3,
       bring('4 HTG', 'submitted', 'in_doubt') AS d4, bring('5 HTG', 'submitted', 'completed', 'cancel', 'in_doubt') AS d5,
       bring('6 HTG', 'submitted', 'completed', 'cancel', 'in_doubt') AS d6, bring('7 HTG', 'submitted', 'completed', 'cancel', 'in_doubt') AS d7 \gset
SELECT amount, state, due FROM transfer WHERE state = 'in_doubt';
SELECT balance, held FROM bank_balance(a(1));
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''compensated'')', :'d1'));
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''rejected'')', :'d5'));
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''submitted'')', :'d5'));
SELECT refused(format('SELECT bank_resolve_transfer(%L, state)', :'d1')) LIKE '42703%' AS no_state;
SELECT refused(format('SELECT bank_resolve_transfer(%L, %L)', :'d1', state)) FROM unnest(ARRAY['in_doubt', 'lost', 'Completed', '']) AS state;
SELECT state, reason, next_attempt_at IS NULL AS done FROM bank_resolve_transfer(:'d1', 'completed', reason => 'They called: "we have it"');
SELECT state, next_attempt_at IS NULL AS done FROM bank_resolve_transfer(:'d2', 'rejected', reason => repeat('é', 200));
SELECT length(reason), octet_length(reason) FROM bank_transfer_status(:'d2');
SELECT state, next_attempt_at IS NULL AS done, deadline > changed_at AS ends FROM bank_resolve_transfer(:'d3', 'submitted');
SELECT worker(:'d3', 'completed');
SELECT state FROM bank_cancel_transfer(:'d4');
SELECT worker(:'d4', 'rejected');
SELECT state FROM bank_resolve_transfer(:'d5', 'completed');
SELECT state FROM bank_resolve_transfer(:'d6', 'compensated', expected_version => 6, occurred_at => '2026-01-01');
SELECT state FROM bank_cancel_transfer(:'d7');
SELECT worker(:'d7', 'compensated');
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''completed'')', :'d1'));
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''completed'')', bring('1 HTG')));
SELECT amount, state FROM transfer WHERE amount < 8 AND state <> 'reserved';
SELECT balance, held FROM bank_balance(a(1));
SELECT * FROM broken_invariants();

-- An account with money under way: frozen it is completed, closed it cannot be.
SELECT balance FROM bank_deposit(a(2), '30 HTG');
SELECT bank_send(a(2), '20 HTG', 'north', 'x') AS f1, bank_send(a(2), '10 HTG', 'north', 'x') AS f3 \gset
SELECT refused($$SELECT bank_close(a(2))$$);
SELECT event_type FROM bank_freeze(a(2));
SELECT refused($$SELECT bank_send(a(2), '1 HTG', 'north', 'x')$$);
SELECT worker(t, step) FROM unnest(ARRAY[:'f1', :'f3']::uuid[]) AS t, unnest(ARRAY['submitted', 'completed']) AS step;
SELECT status, balance, held FROM bank_account(a(2));
-- What comes back to it while it is frozen goes to suspense; so does what comes back to a closed one.
SELECT state FROM bank_cancel_transfer(:'f1');
SELECT worker(:'f1', 'in_doubt');
SELECT state FROM bank_resolve_transfer(:'f1', 'compensated');
SELECT balance, held FROM bank_balance(a(2));
SELECT house_account, balance FROM bank_accounts WHERE house_account = 'suspense';
SELECT m.event_type, m.amount, f.house_code AS from, t.house_code AS to
FROM bank_events AS e, bank.events AS m, bank.accounts AS f, bank.accounts AS t
WHERE e.aggregate_id = :'f1' AND e.event_type = 'transfer.compensated' AND m.aggregate_id::text = e.event_data ->> 'account_id'
  AND m.version::text = e.event_data ->> 'account_version' AND f.account_id = m.aggregate_id AND t.account_id = m.peer_id;
SELECT event_type FROM bank_unfreeze(a(2));
SELECT event_type FROM bank_set_limits(a(2), overdraft_limit => '5 HTG');
SELECT bank_send(a(2), '5 HTG', 'north', 'x') AS f2 \gset
SELECT balance, held, available FROM bank_balance(a(2));
SELECT refused($$SELECT bank_set_limits(a(2), overdraft_limit => '4.99 HTG')$$);
SELECT state FROM bank_cancel_transfer(:'f2');
SELECT event_type FROM bank_close(a(2));
SELECT state FROM bank_cancel_transfer(:'f3');
SELECT worker(:'f3', 'in_doubt');
SELECT state FROM bank_resolve_transfer(:'f3', 'compensated');
SELECT house_account, balance FROM bank_accounts WHERE house_account = 'suspense';
SELECT * FROM broken_invariants();

-- What is refused, in the order of the checks.
SELECT refused($$SELECT bank_send(NULL, '1 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(1), NULL, 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', NULL, 'x')$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'north', NULL)$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'north', 'x', idempotency_key => '')$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'north', 'x', metadata => '[]')$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'north', 'x', occurred_at => '1800-01-01')$$);
SELECT refused(format('SELECT bank_send(a(1), ''1 HTG'', ''north'', %L)', destination)) FROM unnest(ARRAY['', E'a\nb', repeat('x', 256), repeat('é', 128)]) AS destination;
SELECT refused(format('SELECT bank_send(a(1), ''1 HTG'', ''north'', %L)', destination)) FROM unnest(ARRAY['é "x" \', repeat('x', 255)]) AS destination;
SELECT refused(format('SELECT bank_send(a(1), ''1 HTG'', %L, ''x'')', participant)) FROM unnest(ARRAY['west', '', repeat('n', 64)]) AS participant;
SELECT refused(format('SELECT bank_send(a(1), ''1 HTG'', ''north'', ''x'', deadline_in => %L)', span))
FROM unnest(ARRAY['0 seconds', '-1 day', '11 years', '1 microsecond']) AS span;
SELECT refused($$SELECT bank_send(a(1), '0 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(9), '1 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_send((SELECT account_id FROM bank_accounts WHERE house_account = 'cash'), '1 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'north', 'x', expected_version => 1)$$) LIKE 'BK006|Concurrency conflict|Expected version: 1, %' AS conflict;
SELECT refused($$SELECT bank_send(a(1), '1 USD', 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(1), '99999 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_send(a(2), '1 HTG', 'north', 'x')$$);
SELECT refused($$SELECT bank_cancel_transfer(NULL)$$);
SELECT refused($$SELECT bank_cancel_transfer(a(77))$$);
SELECT refused($$SELECT bank_cancel_transfer(a(1))$$);
SELECT refused($$SELECT bank_resolve_transfer(NULL, 'rejected')$$);
SELECT refused($$SELECT bank_resolve_transfer(a(77), NULL)$$);
SELECT refused($$SELECT bank_resolve_transfer(a(77), 'rejected')$$);
SELECT bring('8 HTG', 'submitted') AS e1 \gset
SELECT refused(format('SELECT bank_cancel_transfer(%L, expected_version => 2)', :'e1'));
SELECT state FROM bank_cancel_transfer(:'e1', expected_version => 3);
SELECT worker(:'e1', 'rejected');
-- Business times are those of the movements.
SELECT bank_send(a(1), '9 HTG', 'north', 'x', occurred_at => now() + interval '5 hours') AS e2 \gset
SELECT refused(format('SELECT bank_cancel_transfer(%L, occurred_at => now())', :'e2'));
SELECT state FROM bank_cancel_transfer(:'e2');
SELECT status, resolved_at = created_at AS when_it_began FROM bank_holds WHERE hold_id = :'e2';
SELECT bank_send(a(1), '9 HTG', 'north', 'x', occurred_at => '2026-03-01') AS e3 \gset
SELECT state FROM bank_cancel_transfer(:'e3', occurred_at => '2026-03-05');
SELECT created_at, resolved_at FROM bank_holds WHERE hold_id = :'e3';
SELECT * FROM broken_invariants();

-- Idempotency: the first outcome again, whatever became of the transfer.
SELECT bank_send(a(1), '11 HTG', 'north', 'x', idempotency_key => 'send 1') AS k1 \gset
SELECT bank_send(a(1), '11 HTG', 'north', 'x', idempotency_key => 'send 1') = :'k1' AS the_same;
SELECT state FROM bank_cancel_transfer(:'k1', idempotency_key => 'cancel 1');
SELECT state FROM bank_cancel_transfer(:'k1', idempotency_key => 'cancel 1');
SELECT bank_send(a(1), '11 HTG', 'north', 'x', idempotency_key => 'send 1') = :'k1' AS the_same;
SELECT refused($$SELECT bank_send(a(1), '11 HTG', 'north', 'y', idempotency_key => 'send 1')$$);
SELECT refused($$SELECT bank_send(a(1), '11 HTG', 'south', 'x', idempotency_key => 'send 1')$$);
SELECT refused($$SELECT bank_send(a(1), '11 HTG', 'north', 'x', deadline_in => '1 hour', idempotency_key => 'send 1')$$);
SELECT refused(format('SELECT bank_cancel_transfer(%L, idempotency_key => ''cancel 1'')', :'d1'));
SELECT bring('12 HTG', 'submitted', 'in_doubt') AS k2 \gset
SELECT state FROM bank_resolve_transfer(:'k2', 'rejected', idempotency_key => 'resolve 1');
SELECT state FROM bank_resolve_transfer(:'k2', 'rejected', idempotency_key => 'resolve 1');
SELECT refused(format('SELECT bank_resolve_transfer(%L, ''completed'', idempotency_key => ''resolve 1'')', :'k2'));
SELECT count(*) FROM transfer WHERE amount IN (11, 12);

-- The other end: money comes, once.
SELECT direction, state, participant, account_id = a(3) AS is_the_account, amount, currency, version, deadline, code, reason
FROM bank_receive(a(1001), a(3), '50 HTG', participant => 'north', metadata => '{"from":"them"}');
SELECT balance FROM bank_balance(a(3));
SELECT event_type, event_data - 'account_version' AS event_data, metadata FROM event_data_of(a(1001));
SELECT event_type, event_data - 'transaction_id' AS event_data, metadata FROM bank_account_events(a(3)) WHERE version = 2;
SELECT state, version FROM bank_receive(a(1001), a(3), '50 HTG', participant => 'north');
SELECT state, version FROM bank_receive(a(1001), a(3), '50 HTG');
SELECT refused($$SELECT bank_receive(a(1001), a(3), '50.01 HTG', participant => 'north')$$);
SELECT refused($$SELECT bank_receive(a(1001), a(4), '50 HTG', participant => 'north')$$);
SELECT refused($$SELECT bank_receive(a(1001), a(3), '50 HTG', participant => 'south')$$);
SELECT refused(format('SELECT bank_receive(%L, a(3), ''40 HTG'')', :'t1'));
SELECT refused($$SELECT bank_receive(a(3), a(3), '50 HTG')$$);
SELECT refused($$SELECT bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1001))$$);
SELECT balance FROM bank_balance(a(3));
-- Refused for a reason of the account, it stays so.
SELECT event_type FROM bank_freeze(a(4));
SELECT event_type FROM bank_set_limits(a(3), balance_limit => '60 HTG');
CREATE FUNCTION come(n integer, amount bank_money, account uuid, OUT state text, OUT code text, OUT reason text, OUT version bigint)
  LANGUAGE sql AS $$
  SELECT r.state, r.code, r.reason, r.version FROM bank_receive(a(n), account, amount, participant => 'north') AS r
$$;
SELECT * FROM come(1010, '1 HTG', a(9));
SELECT * FROM come(1011, '1 HTG', a(4));
SELECT * FROM come(1012, '1 HTG', a(2));
SELECT * FROM come(1013, '1 USD', a(3));
SELECT * FROM come(1014, '10.01 HTG', a(3));
SELECT * FROM come(1015, '0 HTG', a(3));
SELECT * FROM come(1016, '1 HTG', (SELECT account_id FROM bank_accounts WHERE house_account = 'cash'));
SELECT event_type FROM bank_unfreeze(a(4));
SELECT event_type FROM bank_set_limits(a(3), remove_balance_limit => true);
SELECT * FROM come(1011, '1 HTG', a(4));
SELECT * FROM come(1014, '10.01 HTG', a(3));
SELECT * FROM come(1015, '5 HTG', a(3));
SELECT event_data FROM event_data_of(a(1011));
SELECT event_data FROM event_data_of(a(1015));
SELECT balance FROM bank_balance(a(3));
SELECT * FROM broken_invariants();
-- What is an error decides nothing.
SELECT refused($$SELECT bank_receive(NULL, a(3), '1 HTG')$$);
SELECT refused($$SELECT bank_receive(a(1020), NULL, '1 HTG')$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), NULL)$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', house_account => NULL)$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', house_account => 'No')$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', house_account => 'nowhere')$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', participant => repeat('n', 64))$$);
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', expected_version => 1)$$) LIKE 'BK006|%' AS conflict;
SELECT event_type FROM bank_freeze(a(4));
SELECT refused($$SELECT bank_receive(a(1020), a(4), '1 HTG', expected_version => 1)$$) LIKE 'BK006|%' AS conflict;
SELECT event_type FROM bank_unfreeze(a(4));
SELECT refused($$SELECT bank_receive(a(1020), a(3), '1 HTG', idempotency_key => repeat('k', 256))$$);
SELECT state FROM bank_receive(a(1020), a(3), '1 HTG', house_account => 'fees', participant => repeat('n', 63), occurred_at => '2026-02-01');
SELECT state FROM bank_receive(a(1020), a(3), '1 HTG', house_account => 'fees', participant => repeat('n', 63));
SELECT event_data FROM event_data_of(a(1020));
-- With keys.
SELECT state, version FROM bank_receive(a(1021), a(3), '1 HTG', idempotency_key => 'receive 1');
SELECT state, version FROM bank_cancel_received(a(1021), idempotency_key => 'give back 1');
SELECT state, version FROM bank_receive(a(1021), a(3), '1 HTG', idempotency_key => 'receive 1');
SELECT state, version FROM bank_cancel_received(a(1021), idempotency_key => 'give back 1');
SELECT refused($$SELECT bank_receive(a(1022), a(3), '1 HTG', idempotency_key => 'receive 1')$$);
SELECT refused($$SELECT bank_cancel_received(a(1022), idempotency_key => 'give back 1')$$);

-- It is given back, while it is there.
SELECT state, version FROM bank_cancel_received(a(1001), expected_version => 1, metadata => '{"who":"them"}');
SELECT balance FROM bank_balance(a(3));
SELECT event_type, event_data - 'account_version' AS event_data, metadata FROM event_data_of(a(1001));
SELECT state, version FROM bank_cancel_received(a(1001));
SELECT state, version FROM bank_receive(a(1001), a(3), '50 HTG', participant => 'north');
SELECT balance FROM bank_balance(a(3));
-- Before it comes: then it never does.
SELECT state, version, amount, currency, account_id FROM bank_cancel_received(a(1030), participant => 'north');
SELECT state, version FROM bank_receive(a(1030), a(3), '50 HTG', participant => 'north');
SELECT event_data FROM event_data_of(a(1030));
SELECT refused($$SELECT bank_receive(a(1030), a(3), '50 HTG', participant => 'south')$$);
-- Not when it is spent, held, or the account is frozen; an error decides nothing.
SELECT state FROM bank_receive(a(1031), a(4), '50 HTG', participant => 'north');
SELECT event_id AS h1 FROM bank_hold(a(4), '0.01 HTG') \gset
SELECT refused($$SELECT bank_cancel_received(a(1031))$$);
SELECT event_type FROM bank_capture(:'h1');
SELECT refused($$SELECT bank_cancel_received(a(1031))$$);
SELECT balance FROM bank_deposit(a(4), '0.01 HTG');
SELECT event_type FROM bank_freeze(a(4));
SELECT refused($$SELECT bank_cancel_received(a(1031))$$);
SELECT event_type FROM bank_unfreeze(a(4));
SELECT refused($$SELECT bank_cancel_received(a(1031), participant => 'south')$$);
SELECT refused($$SELECT bank_cancel_received(a(1031), participant => repeat('n', 64))$$);
SELECT refused($$SELECT bank_cancel_received(a(1031), expected_version => 2)$$);
SELECT refused($$SELECT bank_cancel_received(NULL)$$);
SELECT refused($$SELECT bank_cancel_received(a(3))$$);
SELECT refused(format('SELECT bank_cancel_received(%L)', :'t1'));
SELECT refused($$SELECT bank_cancel_transfer(a(1031))$$);
SELECT state FROM bank_cancel_received(a(1031));
SELECT balance FROM bank_balance(a(4));
SELECT * FROM broken_invariants();

-- What participants are answered: the rule, not the figures; and what they were told once stays.
SELECT * FROM bank.transfer_answer(a(1040), 'north');
SELECT * FROM bank.receive(a(1040), a(4), '50 HTG', 'north', 'external', NULL, NULL);
SELECT * FROM bank.transfer_answer(a(1040), 'north');
SELECT * FROM bank.transfer_answer(a(1040), 'south');
SELECT * FROM bank.receive(a(1041), NULL, NULL, 'north', 'external', 'BK001', 'No account "x".');
SELECT * FROM bank.receive(a(1041), a(4), '50 HTG', 'north', 'external', NULL, NULL);
SELECT reason FROM bank_transfer_status(a(1041));
SELECT * FROM bank.receive(a(1042), NULL, NULL, 'north', 'external', 'XX999', NULL);
SELECT * FROM bank.receive(a(1043), a(4), '50 USD', 'north', 'external', NULL, NULL);
SELECT * FROM bank.transfer_answer(a(1043), 'north');
SELECT refused($$SELECT bank.receive(a(1040), a(4), '50 HTG', 'south', 'external', NULL, NULL)$$);
SELECT balance FROM bank_withdraw(a(4), '10 HTG');
SELECT * FROM bank.cancel_received(a(1040), 'north');
SELECT * FROM event_data_of(a(1040)) OFFSET 1;
SELECT balance FROM bank_deposit(a(4), '10 HTG');
SELECT * FROM bank.cancel_received(a(1040), 'north');
SELECT * FROM bank.transfer_answer(a(1040), 'north');
SELECT direction, state, code, reason FROM bank_cancel_received(a(1040));
SELECT direction, state, code, reason FROM bank_receive(a(1040), a(4), '50 HTG');
SELECT balance FROM bank_balance(a(4));
SELECT * FROM bank.receive(a(1044), a(4), '5 HTG', 'north', 'external', NULL, NULL);
SELECT * FROM bank.cancel_received(a(1044), 'north');
SELECT * FROM bank.cancel_received(a(1045), 'north');
SELECT * FROM bank.transfer_answer(a(1045), 'north');
SELECT * FROM bank.transfer_answer(:'t1', 'north');
SELECT * FROM broken_invariants();

-- As JSON.
SELECT bank_execute(jsonb_build_object('command', 'send', 'from_account', a(1), 'amount', '3 HTG', 'participant', 'north', 'destination', 'é "x"',
                                       'deadline_in', '1 day', 'idempotency_key', 'j1')) AS answer \gset
SELECT :'answer'::jsonb - '{event_id,recorded_at,position,transfer_id}'::text[] AS answer;
SELECT deadline - created_at AS lasts, destination FROM bank_transfer_status((:'answer'::jsonb ->> 'transfer_id')::uuid);
SELECT bank_execute(jsonb_build_object('command', 'cancel_transfer', 'transfer_id', :'answer'::jsonb ->> 'transfer_id', 'idempotency_key', 'j2'))
         - '{event_id,recorded_at,position,transfer_id}'::text[] AS answer FROM generate_series(1, 2);
SELECT bank_execute(jsonb_build_object('command', 'cancel_transfer', 'transfer_id', :'answer'::jsonb ->> 'transfer_id', 'idempotency_key', 'j3')) - 'detail' AS answer
FROM generate_series(1, 2);
SELECT bank_execute(jsonb_build_object('command', 'resolve_transfer', 'transfer_id', bring('3 HTG', 'submitted', 'in_doubt'), 'state', 'rejected', 'reason', 'a letter'))
         - '{event_id,recorded_at,position,transfer_id}'::text[] AS answer;
SELECT bank_execute(jsonb_build_object('command', 'receive', 'transfer_id', a(1050), 'to_account', a(4), 'amount', amount, 'participant', 'north', 'house_account', 'fees'))
         - '{event_id,recorded_at,position}'::text[] AS answer FROM unnest(ARRAY['2 HTG', '2 HTG', '3 HTG']) AS amount;
SELECT bank_execute(jsonb_build_object('command', 'receive', 'transfer_id', a(1051), 'to_account', a(9), 'amount', '1 HTG'))
         - '{event_id,recorded_at,position}'::text[] AS answer;
SELECT balance FROM bank_withdraw(a(4), '51 HTG');
SELECT bank_execute(jsonb_build_object('command', 'cancel_received', 'transfer_id', a(1050), 'idempotency_key', 'j4')) FROM generate_series(1, 2);
SELECT balance FROM bank_deposit(a(4), '51 HTG');
SELECT bank_execute(jsonb_build_object('command', 'cancel_received', 'transfer_id', a(1050), 'idempotency_key', key)) - '{event_id,recorded_at,position}'::text[] AS answer
FROM unnest(ARRAY['j4', 'j5', 'j5', 'j6']) AS key;
SELECT bank_execute('{"command":"send"}'), bank_execute('{"command":"resolve_transfer","transfer_id":"x"}'),
       bank_execute('{"command":"receive","transfer_id":"00000000-0000-7000-8000-000000000001","to_account":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","hold_id":null}');
SELECT r ->> 'ok' AS ok, r ->> 'event_type' AS event_type, r ->> 'code' AS code
FROM unnest(bank_execute_batch(ARRAY(
  SELECT jsonb_build_object('command', 'receive', 'transfer_id', a(1060 + n % 3), 'to_account', a(3 + n % 3), 'amount', '1 HTG') FROM generate_series(0, 5) AS n))) AS r;
SELECT * FROM broken_invariants();

-- In one transaction: a savepoint takes a step back.
BEGIN;
SELECT bank_send(a(1), '2.50 HTG', 'north', 'x') AS s1 \gset
SAVEPOINT s;
SELECT state FROM bank_cancel_transfer(:'s1');
ROLLBACK TO s;
SELECT state FROM bank_transfer_status(:'s1');
COMMIT;
SELECT state FROM bank_cancel_transfer(:'s1');
-- Read-only transactions read.
BEGIN READ ONLY;
SELECT state FROM bank_transfer_status(:'s1');
SELECT count(*) > 10 AS many FROM bank_transfers;
SAVEPOINT s;
SELECT bank_send(a(1), '2.50 HTG', 'north', 'x');
ROLLBACK TO s;
SELECT bank_cancel_transfer(a(1001));
ROLLBACK TO s;
SELECT bank_resolve_transfer(a(1001), 'rejected');
ROLLBACK TO s;
SELECT bank_receive(a(1001), a(3), '50 HTG');
ROLLBACK TO s;
SELECT bank_cancel_received(a(1001));
ROLLBACK TO s;
SELECT bank.receive(a(1001), a(3), '50 HTG', 'north', 'external', NULL, NULL);
ROLLBACK TO s;
SELECT bank.cancel_received(a(1001), 'north');
COMMIT;

-- Events that do not fit are refused, whoever writes them.
SELECT bring('13 HTG', 'submitted') AS w1 \gset
CREATE FUNCTION write(transfer uuid, type text, data jsonb DEFAULT '{}', changes text DEFAULT '') RETURNS text LANGUAGE sql AS $$
  SELECT refused(format('INSERT INTO bank.events SELECT (jsonb_populate_record(e, jsonb_build_object(''version'', t.version + 1, ''event_type'', %L, ''data'', %L::jsonb, '
    '''position'', (SELECT max(position) + 1 FROM bank.events), ''transaction_id'', pg_current_xact_id()::text, ''event_id'', gen_random_uuid(), ''recorded_at'', clock_timestamp(), ''metadata'', NULL) || %L)).* '
    'FROM bank.events AS e JOIN bank.transfers AS t ON t.transfer_id = e.aggregate_id AND t.version = e.version WHERE t.transfer_id = %L', type, data, coalesce(nullif(changes, ''), '{}'), transfer))
$$;
SELECT regexp_replace(write(:'w1', type, data::jsonb, changes), 'position \d+', 'position N') AS refusal
FROM (VALUES ('transfer.in_doubt', '{}', ''), ('transfer.submitted', '{}', ''), ('transfer.received', '{}', ''), ('transfer.compensated', '{}', ''), ('transfer.completed', '{}', ''),
             ('transfer.completed', '{"account_version":"3"}', ''), ('transfer.rejected', '{"account_version":"3"}', ''), ('transfer.cancel_requested', '{}', ''),
             ('transfer.cancel_requested', '{"deadline":"soon"}', ''), ('transfer.in_doubt', '{}', '{"version":9}'), ('transfer.in_doubt', '{}', '{"amount":1}'),
             ('transfer.in_doubt', '{}', '{"currency":"USD"}'), ('transfer.in_doubt', '{}', '{"balance":1}'), ('transfer.in_doubt', '{}', '{"recorded_at":"2020-01-01"}'),
             ('transfer.in_doubt', '{}', '{"occurred_at":"2020-01-01"}'), ('transfer.in_doubt', '{}', '{"recorded_at":"infinity"}'),
             ('transfer.in_doubt', NULL, '{"data":null}'), ('transfer.in_doubt', '[]', ''), ('transfer.in_doubt', '{}', '{"hold_id":"00000000-0000-7000-8000-000000000001"}'))
     AS v (type, data, changes);
-- A hold without end belongs to a transfer that has just been initiated.
SELECT regexp_replace(refused(format($$INSERT INTO bank.events (position, event_id, hold_id, aggregate_id, version, event_type, amount, currency, balance, held, expires_at)
  SELECT (SELECT max(position) + 1 FROM bank.events), i, i, a.account_id, a.version + 1, 'hold.created', 100, 'HTG', a.credits - a.debits, a.held + 100, 'infinity' FROM bank.accounts AS a, CAST(%L AS uuid) AS i WHERE a.account_id = a(1)$$, id)),
  'position \d+', 'position N') AS refusal
FROM unnest(ARRAY[:'w1', a(78)::text]) AS id;
SELECT refused($$UPDATE bank.events SET data = '{}' WHERE event_type = 'transfer.received'$$);
SELECT state FROM bank_cancel_transfer(:'w1');
SELECT * FROM broken_invariants();

-- Everything is made again from the events alone, to the byte.
SELECT bring('14 HTG', 'submitted', 'completed') AS v1, bring('15 HTG', 'submitted', 'in_doubt') AS v2 \gset
SELECT ledger_state() AS before \gset
SELECT md5(string_agg(t::text, E'\n' ORDER BY transfer_id)) AS rows FROM bank.transfers AS t \gset
CREATE FUNCTION broken(command text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE command;
    RETURN QUERY SELECT regexp_replace(concat_ws(': ', invariant, failures, detail), '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<uuid>', 'g') FROM bank_verify() WHERE NOT ok;
    RAISE EXCEPTION 'back' USING ERRCODE = 'ZZ000';
  EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    NULL;
  END;
END
$$;
SELECT change, broken(format('UPDATE bank.transfers SET %s WHERE transfer_id = %L', change, :'v1'))
FROM unnest(ARRAY['version = 9', 'position = 1', $$recorded_at = 'epoch'$$, $$created_at = 'epoch'$$, 'amount = 1', 'captured = false', $$state = 'rejected'$$,
                  $$currency = 'USD'$$, $$participant = 'x'$$, $$house_account = 'x'$$, $$destination = 'x'$$, $$code = 'x'$$, $$reason = 'x'$$,
                  'account_id = NULL', 'account_id = a(3)', 'deadline = NULL']) WITH ORDINALITY AS u (change, n) ORDER BY n;
SELECT broken(format('DELETE FROM bank.transfers WHERE transfer_id = %L', :'v1'));
SELECT broken($$INSERT INTO bank.transfers SELECT a(79), t.version, t.position, t.recorded_at, t.created_at, t.amount, t.captured, t.state, t.currency, t.participant,
  t.house_account, t.destination, t.code, t.reason, t.account_id, t.deadline FROM bank.transfers AS t WHERE state = 'received' LIMIT 1$$);
SELECT broken(format('UPDATE bank.holds SET status = %L, captured = 0 WHERE hold_id = %L', 'RELEASED', :'v1'));
SELECT broken(format('UPDATE bank.holds SET status = %L WHERE hold_id = %L', 'RELEASED', :'v2'));
SELECT broken(format('UPDATE bank.holds SET account_id = a(3) WHERE hold_id = %L', :'v1'));
SELECT broken(format('DELETE FROM bank.holds WHERE hold_id = %L', :'v2'));
-- Events that fit their stream, but not what the accounts say.
SELECT bring('16 HTG', 'submitted') AS v3 \gset
SELECT broken(format('SELECT worker(%L, ''in_doubt''); INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, data)
  SELECT gen_random_uuid(), transfer_id, version + 1, ''transfer.completed'', amount, currency, 0, jsonb_build_object(''account_id'', a(1), ''account_version'', %L)
  FROM bank.transfers WHERE transfer_id = %L', :'v3', version, :'v3'))
FROM unnest(ARRAY['99999', '3']) AS version;
SELECT state FROM bank_receive(a(1100), a(3), '0.75 HTG');
SELECT broken(format('INSERT INTO bank.events (event_id, aggregate_id, version, event_type, amount, currency, balance, data)
  SELECT gen_random_uuid(), a(1101), 1, ''transfer.received'', amount, currency, 0, data %s FROM bank.events WHERE aggregate_id = a(1100)', change))
FROM unnest(ARRAY['', '|| ''{"account_version":"99999"}''']) AS change;
SELECT state FROM bank_cancel_transfer(:'v3');
SELECT worker(:'v3', 'rejected');
SELECT ledger_state() AS before \gset
SELECT md5(string_agg(t::text, E'\n' ORDER BY transfer_id)) AS rows FROM bank.transfers AS t \gset
UPDATE bank.transfers SET state = 'rejected', reason = 'lies' WHERE transfer_id IN (:'v1', :'v2');
DELETE FROM bank.transfers WHERE state IN ('received', 'cancelled');
SELECT repaired > 0 AS repaired FROM bank_rebuild();
SELECT ledger_state() = :'before' AS the_same, (SELECT md5(string_agg(t::text, E'\n' ORDER BY transfer_id)) FROM bank.transfers AS t) = :'rows' AS rows;
SELECT repaired FROM bank_rebuild();
DELETE FROM bank.transfers;
SELECT repaired FROM bank_rebuild() \gset
SELECT :repaired = count(*) AS all_of_them FROM bank.transfers;
SELECT ledger_state() = :'before' AS the_same;
SELECT * FROM broken_invariants();
SELECT state, count(*) FROM bank_transfers GROUP BY 1 ORDER BY 1;
SELECT currency, debits = credits AS balanced FROM bank_trial_balance ORDER BY 1;

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
