-- Holds: money that is reserved, and captured, released or expired.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
SET timezone = 'UTC';
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(n))).account_number FROM generate_series(1, 4) AS n;
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'USD', account_id => a(5));
SELECT balance FROM bank_deposit(a(1), '100 HTG');
-- Wait until a hold is over.
CREATE FUNCTION until_expired(hold uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  rest interval;
BEGIN
  LOOP
    SELECT h.expires_at - clock_timestamp() INTO rest FROM bank_holds AS h WHERE h.hold_id = hold;
    IF rest < interval '0' THEN
      RETURN 'over';
    END IF;
    PERFORM pg_sleep(extract(epoch FROM rest));
  END LOOP;
END
$$;
CREATE VIEW hold AS
SELECT a.n AS account, h.amount, h.captured, h.currency, h.status, h.resolved_at IS NOT NULL AS resolved,
       h.created_position IS NOT NULL AS made, h.resolved_position IS NOT NULL AS recorded
FROM bank_holds AS h JOIN (SELECT n, a(n) AS account_id FROM generate_series(1, 9) AS n) AS a USING (account_id)
ORDER BY h.created_position;

-- Held money stays on the balance and cannot be spent.
SELECT event_id AS h1, account_id = a(1) AS is_the_account, event_type, amount, currency, balance, version, replayed
FROM bank_hold(a(1), '40 HTG', metadata => '{"order":17}') \gset r_
\set h1 :r_h1
SELECT :'r_is_the_account', :'r_event_type', :'r_amount', :'r_currency', :'r_balance', :'r_version', :'r_replayed';
SELECT balance, held, available, version FROM bank_balance(a(1));
SELECT balance, held, available FROM bank_account(a(1));
SELECT * FROM hold;
SELECT expires_at = created_at + interval '7 days' AS seven_days FROM bank_holds;
SELECT refused($$SELECT bank_withdraw(a(1), '60.01 HTG')$$);
SELECT refused($$SELECT bank_transfer(a(1), a(2), '60.01 HTG')$$);
SELECT refused($$SELECT bank_hold(a(1), '60.01 HTG')$$);
SELECT balance FROM bank_withdraw(a(1), '10 HTG');
SELECT event_data - 'hold_id' - 'expires_at' AS event_data, event_data ->> 'hold_id' = event_id::text AS is_its_identifier,
       (event_data ->> 'expires_at')::timestamptz = occurred_at + interval '7 days' AS expires, metadata
FROM bank_events WHERE event_type = 'hold.created';

-- A part is captured, to another account: the rest is free.
SELECT event_type, amount, balance, version FROM bank_capture(:'h1', amount => '15 HTG', to_account => a(2));
SELECT balance, held, available FROM bank_balance(a(1));
SELECT balance, held, available FROM bank_balance(a(2));
SELECT * FROM hold;
SELECT event_data - 'hold_id' - 'transaction_id' AS event_data, event_data ->> 'hold_id' = :'h1' AS is_of_the_hold,
       event_data ->> 'transaction_id' = event_id::text AS is_a_movement
FROM bank_events WHERE event_type = 'hold.captured';
SELECT event_type, amount, balance FROM bank_transactions(a(1));
SELECT event_type, amount, balance FROM bank_transactions(a(2));
-- All is captured, to the house.
SELECT event_id AS h2 FROM bank_hold(a(1), '20 HTG') \gset
SELECT event_type, amount, balance FROM bank_capture(:'h2');
SELECT event_id AS h3 FROM bank_hold(a(1), '5 HTG') \gset
SELECT event_type, amount, balance FROM bank_capture(:'h3', house_account => 'fees', amount => '5 HTG');
SELECT house_account, balance FROM bank_accounts WHERE house_account IS NOT NULL ORDER BY 1;
-- Or to a house account by its identifier.
SELECT event_id AS h4 FROM bank_hold(a(1), '1 HTG') \gset
SELECT event_type, amount FROM bank_capture(:'h4', to_account => (SELECT account_id FROM bank_accounts WHERE house_account = 'fees'));
-- Released.
SELECT event_id AS h5 FROM bank_hold(a(1), '30 HTG') \gset
SELECT event_type, amount, balance FROM bank_release(:'h5', metadata => '{"why":"no stock"}');
SELECT balance, held, available FROM bank_balance(a(1));
SELECT * FROM hold;
SELECT * FROM broken_invariants();

-- Expired: unusable from that instant, and its money is free, though nobody has recorded it yet.
SELECT event_id AS h6 FROM bank_hold(a(1), '10 HTG', expires_in => '500 milliseconds') \gset
SELECT event_id AS h7 FROM bank_hold(a(1), '15 HTG', expires_in => '520 milliseconds') \gset
SELECT event_id AS h8 FROM bank_hold(a(1), '4 HTG', expires_in => 'P1M') \gset
SELECT balance, held, available, version FROM bank_balance(a(1));
SELECT refused($$SELECT bank_withdraw(a(1), '5 HTG')$$) LIKE 'ACCEPTED%' OR clock_timestamp() > (SELECT min(expires_at) FROM bank_holds WHERE status = 'OPEN') AS kept;
SELECT until_expired(:'h6'), until_expired(:'h7');
SELECT balance, held, available, version FROM bank_balance(a(1));
SELECT balance, held, available FROM bank_accounts WHERE account_id = a(1);
SELECT * FROM hold OFFSET 5;
SELECT refused(format('SELECT bank_capture(%L)', :'h6'));
SELECT refused(format('SELECT bank_release(%L)', :'h6'));
-- The next command records it first; the version that one expects is the one that one has seen.
SELECT version AS seen FROM bank_balance(a(1)) \gset
SELECT refused(format('SELECT bank_withdraw(a(1), ''35 HTG'', expected_version => %s + 1)', :seen));
SELECT event_type, balance, version - :seen AS events FROM bank_withdraw(a(1), '5 HTG', expected_version => :seen, idempotency_key => 'after expiry');
SELECT event_type, balance, version - :seen AS events, replayed FROM bank_withdraw(a(1), '5 HTG', expected_version => :seen, idempotency_key => 'after expiry');
SELECT event_type, event_data ->> 'amount' AS amount, event_data ->> 'held' AS held, occurred_at < recorded_at AS occurred_before
FROM bank_account_events(a(1)) WHERE version > :seen;
SELECT * FROM hold OFFSET 5;
SELECT refused(format('SELECT bank_release(%L)', :'h6'));
SELECT * FROM broken_invariants();
-- Swept, of several accounts.
SELECT balance FROM bank_deposit(a(3), '100 HTG');
SELECT count(bank_hold(a(n), '0.10 HTG', expires_in => '1 millisecond')) FROM generate_series(1, 3) AS n;
SELECT until_expired(hold_id) FROM bank_holds WHERE amount = 0.10 ORDER BY expires_at DESC LIMIT 1;
SELECT bank_expire_holds();
SELECT bank_expire_holds(1);
SELECT account, status, recorded, count(*) FROM hold WHERE amount = 0.10 GROUP BY 1, 2, 3 ORDER BY 1;
SELECT bank_expire_holds(0);
SELECT bank_expire_holds(NULL);
SELECT * FROM broken_invariants();

-- Frozen: no hold, no capture; release and expiry yes.
SELECT event_id AS h9 FROM bank_hold(a(3), '10 HTG') \gset
SELECT event_id AS h10 FROM bank_hold(a(3), '20 HTG', expires_in => '1 millisecond') \gset
SELECT event_id AS h11 FROM bank_hold(a(3), '30 HTG') \gset
SELECT event_type FROM bank_freeze(a(3));
SELECT refused($$SELECT bank_hold(a(3), '1 HTG')$$);
SELECT refused(format('SELECT bank_capture(%L)', :'h9'));
SELECT event_type, balance FROM bank_release(:'h9');
SELECT until_expired(:'h10');
SELECT held FROM bank_balance(a(3));
SELECT bank_expire_holds() <= 1 AS expired_or_was;
SELECT held FROM bank_balance(a(3));
-- A frozen destination takes nothing.
SELECT event_id AS h12 FROM bank_hold(a(1), '1 HTG') \gset
SELECT refused(format('SELECT bank_capture(%L, to_account => a(3))', :'h12'));
SELECT event_type FROM bank_unfreeze(a(3));
SELECT event_type FROM bank_capture(:'h11', to_account => a(1));
-- A closed account has no open holds.
SELECT event_type FROM bank_set_limits(a(4), overdraft_limit => '50 HTG');
SELECT event_id AS h13 FROM bank_hold(a(4), '50 HTG') \gset
SELECT balance, held, available FROM bank_balance(a(4));
SELECT refused($$SELECT bank_close(a(4))$$);
-- Limits are checked with what is held.
SELECT refused($$SELECT bank_set_limits(a(4), overdraft_limit => '49.99 HTG')$$);
SELECT event_type FROM bank_release(:'h13');
SELECT event_id AS h14 FROM bank_hold(a(4), '50 HTG', expires_in => '1 millisecond') \gset
SELECT until_expired(:'h14');
-- An expired one is in nobody's way.
SELECT event_type FROM bank_set_limits(a(4), overdraft_limit => '0 HTG');
SELECT event_type FROM bank_close(a(4));
SELECT refused($$SELECT bank_hold(a(4), '1 HTG')$$);
SELECT status, held FROM bank_account(a(4));

-- What is refused, in the order of the checks.
SELECT refused($$SELECT bank_hold(NULL, '1 HTG')$$);
SELECT refused($$SELECT bank_hold(a(1), NULL)$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expires_in => NULL)$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expires_in => '0 seconds')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expires_in => '-1 day')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expires_in => '11 years')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expires_in => '2000000000 days')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', idempotency_key => '')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', metadata => '[]')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', occurred_at => '1800-01-01')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', occurred_at => now() + interval '2 hours', expires_in => '1 hour')$$);
SELECT refused($$SELECT bank_hold(a(1), '0 HTG')$$);
SELECT refused($$SELECT bank_hold(a(9), '1 HTG')$$);
SELECT refused($$SELECT bank_hold((SELECT account_id FROM bank_accounts WHERE house_account = 'cash'), '1 HTG')$$);
SELECT refused($$SELECT bank_hold(a(1), '1 HTG', expected_version => 1)$$) LIKE 'BK006|Concurrency conflict|Expected version: 1, %' AS conflict;
SELECT refused($$SELECT bank_hold(a(1), '1 USD')$$);
SELECT refused($$SELECT bank_capture(NULL)$$);
SELECT refused($$SELECT bank_capture(a(77))$$);
SELECT refused($$SELECT bank_capture(a(77), house_account => NULL)$$);
SELECT refused($$SELECT bank_capture(a(77), house_account => 'No')$$);
SELECT refused($$SELECT bank_capture(a(77), amount => '0 HTG')$$);
SELECT refused(format('SELECT bank_capture(%L, house_account => ''nowhere'')', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, amount => ''1 USD'')', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, amount => ''1.01 HTG'')', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, to_account => a(1))', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, to_account => a(5))', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, to_account => a(9))', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, to_account => a(4))', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, occurred_at => ''2020-01-01'')', :'h12'));
SELECT refused(format('SELECT bank_release(%L, occurred_at => ''2020-01-01'')', :'h12'));
SELECT refused(format('SELECT bank_capture(%L, expected_version => 1)', :'h12')) LIKE 'BK006|%' AS conflict;
SELECT refused(format('SELECT bank_release(%L, expected_version => 1)', :'h12')) LIKE 'BK006|%' AS conflict;
SELECT refused($$SELECT bank_release(NULL)$$);
SELECT refused($$SELECT bank_release(a(77))$$);
SELECT event_type FROM bank_set_limits(a(2), balance_limit => '15.50 HTG');
SELECT refused(format('SELECT bank_capture(%L, to_account => a(2))', :'h12'));
SELECT event_type, amount FROM bank_capture(:'h12', amount => '0.50 HTG', to_account => a(2));
SELECT refused(format('SELECT bank_capture(%L)', :'h12'));
SELECT refused(format('SELECT bank_release(%L)', :'h12'));
SELECT refused(format('SELECT bank_release(%L)', :'h5'));

-- Idempotency: the first outcome again, whatever became of the hold.
SELECT event_id AS k1, replayed FROM bank_hold(a(1), '2 HTG', idempotency_key => 'hold 1') \gset
SELECT event_id = :'k1' AS the_same, replayed FROM bank_hold(a(1), '2 HTG', idempotency_key => 'hold 1');
SELECT refused($$SELECT bank_hold(a(1), '2 HTG', idempotency_key => 'hold 1', expires_in => '8 days')$$);
SELECT event_type, replayed FROM bank_capture(:'k1', amount => '1 HTG', idempotency_key => 'capture 1');
SELECT event_type, amount, replayed FROM bank_capture(:'k1', amount => '1 HTG', idempotency_key => 'capture 1');
SELECT refused(format('SELECT bank_capture(%L, idempotency_key => ''capture 1'')', :'k1'));
SELECT refused(format('SELECT bank_capture(%L, amount => ''1 HTG'', to_account => a(2), idempotency_key => ''capture 1'')', :'k1'));
SELECT event_id = :'k1' AS the_same, replayed FROM bank_hold(a(1), '2 HTG', idempotency_key => 'hold 1');

-- As JSON.
SELECT bank_execute(jsonb_build_object('command', 'hold', 'account_id', a(1), 'amount', '3 HTG', 'expires_in', '1 day')) AS answer \gset
SELECT :'answer'::jsonb - '{event_id,recorded_at,position,version}'::text[] AS answer;
SELECT expires_at - created_at AS lasts FROM bank_holds WHERE hold_id = (:'answer'::jsonb ->> 'event_id')::uuid;
SELECT bank_execute(jsonb_build_object('command', 'capture', 'hold_id', :'answer'::jsonb ->> 'event_id', 'amount', '2 HTG', 'to_account', a(3),
                                       'idempotency_key', 'j1')) - '{event_id,recorded_at,position,version}'::text[] AS answer;
SELECT bank_execute(jsonb_build_object('command', 'release', 'hold_id', :'answer'::jsonb ->> 'event_id', 'idempotency_key', 'j2')) - 'detail' AS answer;
SELECT bank_execute(jsonb_build_object('command', 'release', 'hold_id', :'answer'::jsonb ->> 'event_id', 'idempotency_key', 'j2')) - 'detail' AS answer;
SELECT bank_execute(jsonb_build_object('command', 'hold', 'account_id', a(1), 'amount', '3 HTG', 'expires_in', span))
         - '{event_id,recorded_at,position,version,account_id}'::text[] AS answer
FROM unnest(ARRAY['P2D', '3 hours', 'soon', '-1 day', '', repeat('1 day ', 60)]) AS span;
SELECT bank_execute('{"command":"capture"}'), bank_execute('{"command":"release","hold_id":"x"}'),
       bank_execute('{"command":"hold","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","hold_id":null}');
SELECT count(*), bool_and((r ->> 'ok')::boolean) AS ok
FROM bank_execute_batch(ARRAY(SELECT jsonb_build_object('command', 'release', 'hold_id', hold_id) FROM bank_holds WHERE status = 'OPEN')) AS b, unnest(b) AS r;
SELECT * FROM broken_invariants();

-- A batch sees what is held and what has expired.
SELECT event_id AS b2 FROM bank_hold(a(3), '5 HTG') \gset
SELECT event_id AS b1 FROM bank_hold(a(3), '20 HTG', expires_in => '1 millisecond') \gset
SELECT until_expired(:'b1');
SELECT balance, held, available FROM bank_balance(a(3));
SELECT ok, code, detail FROM bank_post_transfers(ARRAY[a(3), a(3)], ARRAY[a(1), a(1)], ARRAY['60 HTG', '7.01 HTG']::bank_money[]);
SELECT balance, held, available FROM bank_balance(a(3));
SELECT event_type FROM bank_account_events(a(3)) ORDER BY position DESC LIMIT 2;
SELECT * FROM broken_invariants();

-- The past, by business time and as recorded.
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(6), overdraft_limit => '10 HTG', occurred_at => '2026-01-01');
SELECT balance FROM bank_deposit(a(6), '100 HTG', occurred_at => '2026-02-01');
SELECT event_id AS p1 FROM bank_hold(a(6), '30 HTG', occurred_at => '2026-02-10') \gset
SELECT event_id AS p2 FROM bank_hold(a(6), '5 HTG', occurred_at => '2026-02-05') \gset
SELECT event_type FROM bank_release(:'p2', occurred_at => '2026-02-20');
SELECT event_type FROM bank_capture(:'p1', amount => '20 HTG', occurred_at => '2026-02-15');
SELECT event_type FROM bank_set_limits(a(6), overdraft_limit => '20 HTG', occurred_at => '2026-02-18');
SELECT day::date, b.balance, b.held, b.available, b.version
FROM unnest(ARRAY['2025-12-31', '2026-01-01', '2026-02-01', '2026-02-05', '2026-02-10', '2026-02-15', '2026-02-18', '2026-02-20']::timestamptz[]) AS day,
     bank_balance_at(a(6), day) AS b;
SELECT event_id AS p4 FROM bank_hold(a(6), '2 HTG') \gset
SELECT event_id AS p3 FROM bank_hold(a(6), '7 HTG', expires_in => '500 milliseconds') \gset
SELECT expires_at AS over FROM bank_holds WHERE hold_id = :'p3' \gset
SELECT until_expired(:'p3');
CREATE VIEW around AS
SELECT way, moment, b.balance, b.held, b.available
FROM (VALUES (1, 'before', interval '-1 microsecond'), (2, 'then', '0'), (3, 'after', '1 microsecond')) AS m (n, moment, apart),
     (VALUES (false, 'business'), (true, 'recorded')) AS w (as_recorded, way),
     LATERAL bank_balance_at(a(6), current_setting('test.over')::timestamptz + apart, as_recorded) AS b
ORDER BY way, n;
SELECT set_config('test.over', :'over', false) = :'over' AS set;
SELECT * FROM around;
SELECT bank_expire_holds();
SELECT * FROM around;
SELECT balance FROM bank_deposit(a(6), '1 HTG');
SELECT * FROM around;
SELECT entry, event_type, debit, credit, balance FROM bank_statement(a(6), '2026-02-01', '2026-02-28');

-- Everything is made again from the events alone.
SELECT ledger_state() AS before \gset
DELETE FROM bank.holds;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
SELECT repaired > 0 AS repaired FROM bank_rebuild();
SELECT ledger_state() = :'before' AS the_same;
UPDATE bank.holds SET captured = amount + 1 WHERE hold_id = :'p4';
UPDATE bank.holds SET status = 'OPEN' WHERE hold_id = :'p3';
UPDATE bank.accounts SET next_expiry = now() WHERE account_id = a(2);
SELECT invariant, failures, regexp_replace(detail, '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<uuid>', 'g') AS detail FROM bank_verify() WHERE NOT ok;
SELECT repaired FROM bank_rebuild();
SELECT ledger_state() = :'before' AS the_same;
SELECT * FROM broken_invariants();

-- In one transaction: a savepoint takes a capture back, and the hold is open again.
BEGIN;
SELECT event_id AS t1 FROM bank_hold(a(6), '9 HTG') \gset
SAVEPOINT s;
SELECT event_type FROM bank_capture(:'t1');
ROLLBACK TO s;
SELECT status FROM bank_holds WHERE hold_id = :'t1';
SELECT event_type FROM bank_release(:'t1');
COMMIT;
SELECT status FROM bank_holds WHERE hold_id = :'t1';
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
