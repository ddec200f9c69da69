-- Many transfers in one call: exactly what the same transfers one at a time would do.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', CASE n WHEN 5 THEN 'USD' ELSE 'HTG' END, account_id => a(n),
                            overdraft_limit => CASE n WHEN 3 THEN '20 HTG'::bank_money END,
                            balance_limit => CASE n WHEN 4 THEN '50 HTG'::bank_money END)).account_number
FROM generate_series(1, 6) AS n;
SELECT balance FROM bank_deposit(a(1), '100 HTG');
SELECT balance FROM bank_deposit(a(2), '50 HTG');
SELECT version FROM bank_freeze(a(6));
CREATE FUNCTION cash() RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT account_id FROM bank_accounts WHERE house_account = 'cash' AND currency = 'HTG');

-- One order, and what its row says.
SELECT ordinal, ok, code, message, detail, replayed, event_id IS NOT NULL AS event
FROM bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], ARRAY['10 HTG'::bank_money]);
SELECT event_type, event_data ->> 'amount' AS amount, version, peer_version FROM bank_events ORDER BY position DESC LIMIT 1;
-- Every reason to refuse an order; the others are not touched by it.
SELECT ordinal, ok, code, message, CASE ordinal WHEN 18 THEN left(detail, 8) ELSE detail END AS detail
FROM bank_post_transfers(
  ARRAY[a(1), a(1), a(1), a(99), NULL, a(1), a(1), a(1), a(1), a(6), a(1), a(1), a(1), a(3), a(1), cash(), a(1), cash(), a(1)],
  ARRAY[a(2), a(1), a(99), a(1), a(1), NULL, a(2), a(2), a(2), a(1), a(6), a(5), a(4), a(2), a(4), a(1), cash(), cash(), a(2)],
  ARRAY['1 HTG', '1 HTG', '1 HTG', '1 HTG', '1 HTG', '1 HTG', NULL, '0 HTG', '1 USD', '1 HTG', '1 HTG', '1 HTG', '50.01 HTG', '20.01 HTG',
        '999 HTG', '5 HTG', '5 HTG', '1 HTG', '2 HTG']::bank_money[]);
SELECT account_id = cash() AS cash, balance, version FROM bank_accounts WHERE account_id IN (a(1), a(2), a(3), a(4), cash()) ORDER BY account_id;
-- Each order sees what the ones before it did.
SELECT ordinal, ok, detail
FROM bank_post_transfers(ARRAY[a(3), a(2), a(3), a(3)], ARRAY[a(1), a(3), a(1), a(1)], ARRAY['21 HTG', '50 HTG', '70 HTG', '0.01 HTG']::bank_money[]);
-- A chain is accepted whole or not at all.
SELECT ordinal, ok, code, detail
FROM bank_post_transfers(ARRAY[a(1), a(2), a(1), a(1), a(1), a(1)], ARRAY[a(2), a(4), a(2), a(2), a(4), a(2)],
                         ARRAY['1 HTG', '1 HTG', '3 HTG', '4 HTG', '900 HTG', '6 HTG']::bank_money[],
                         linked => ARRAY[true, false, true, true, false, false]);
-- Keys: the first outcome again, within the batch too; a refused order leaves its key free.
SELECT ordinal, ok, code, detail, replayed
FROM bank_post_transfers(ARRAY[a(1), a(1), a(1), a(1), a(1)], ARRAY[a(2), a(2), a(2), a(2), a(2)],
                         ARRAY['1 HTG', '1 HTG', '2 HTG', '900 HTG', '3 HTG']::bank_money[],
                         idempotency_keys => ARRAY['k1', 'k1', 'k1', 'k2', 'k2']);
SELECT amount, replayed FROM bank_transfer(a(1), a(2), '1 HTG', idempotency_key => 'k1');
SELECT ordinal, ok, code, replayed, r.event_id = e.event_id AS the_same
FROM bank_post_transfers(ARRAY[a(1), a(1), a(1)], ARRAY[a(2), a(2), a(2)], ARRAY['1 HTG', '3 HTG', '1 HTG']::bank_money[],
                         idempotency_keys => ARRAY['k1', 'k2', NULL]) AS r
LEFT JOIN (SELECT k.idempotency_key, e.event_id FROM bank.idempotency_keys AS k JOIN bank.events AS e USING (aggregate_id, version)) AS e
  ON e.idempotency_key = (ARRAY['k1', 'k2'])[r.ordinal];
-- Business dates and metadata, one element each.
SELECT ordinal, ok, code, detail
FROM bank_post_transfers(ARRAY[a(1), a(1), a(1), a(1)], ARRAY[a(2), a(2), a(2), a(2)], ARRAY['1 HTG', '1 HTG', '1 HTG', '1 HTG']::bank_money[],
                         occurred_at => ARRAY['2026-01-01 12:00+00', NULL, 'infinity', NULL]::timestamptz[],
                         metadata => ARRAY['{"n":1}', NULL, NULL, '[4]']::jsonb[]);
SELECT occurred_at = '2026-01-01 12:00+00' AS dated, metadata FROM bank_events ORDER BY position DESC LIMIT 2;
-- The call as a whole.
SELECT * FROM bank_post_transfers('{}', '{}', '{}');
SELECT ledger_state() AS before \gset
SELECT refused($$SELECT bank_post_transfers(NULL, '{}', '{}')$$);
SELECT refused($$SELECT bank_post_transfers('{}', NULL, '{}')$$);
SELECT refused($$SELECT bank_post_transfers('{}', '{}', NULL)$$);
SELECT refused($$SELECT bank_post_transfers(ARRAY[a(1)], ARRAY[a(2), a(2)], ARRAY['1 HTG'::bank_money])$$);
SELECT refused($$SELECT bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], '{}')$$);
SELECT refused($$SELECT bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], ARRAY['1 HTG'::bank_money], idempotency_keys => '{}')$$);
SELECT refused($$SELECT bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], ARRAY['1 HTG'::bank_money], linked => ARRAY[true])$$);
SELECT refused($$SELECT bank_post_transfers(ARRAY[ARRAY[a(1)]], ARRAY[ARRAY[a(2)]], ARRAY[ARRAY['1 HTG'::bank_money]])$$);
SELECT refused($$SELECT bank_post_transfers(array_fill(a(1), ARRAY[65537]), array_fill(a(2), ARRAY[65537]), array_fill('1 HTG'::bank_money, ARRAY[65537]))$$);
BEGIN READ ONLY;
SELECT bank_post_transfers('{}', '{}', '{}');
ROLLBACK;
SELECT ledger_state() = :'before' AS nothing_has_changed;
SELECT * FROM broken_invariants();

-- Random batches, posted at once and one at a time from the same state: the same answers, the same ledger.
CREATE FUNCTION pick(seed integer, n integer, what integer) RETURNS integer LANGUAGE sql IMMUTABLE
RETURN ('x' || substr(md5(format('%s %s %s', seed, n, what)), 1, 7))::bit(28)::integer;
CREATE FUNCTION ledger() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT md5(string_agg(format('%s %s %s %s %s', account_id, version, debits, credits, status), chr(10) ORDER BY account_id)) ||
         (SELECT md5(string_agg(format('%s %s %s %s %s %s %s %s', aggregate_id, version, peer_id, peer_version, amount, balance, peer_balance, metadata),
                                chr(10) ORDER BY aggregate_id, version)) FROM bank.events) ||
         (SELECT md5(string_agg(format('%s %s %s', idempotency_key, aggregate_id, version), chr(10) ORDER BY idempotency_key)) FROM bank.idempotency_keys)
  FROM bank.accounts
$$;
CREATE FUNCTION same_outcome(seed integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  n integer := 1 + pick(seed, 0, 0) % 40;
  froms uuid[];
  tos uuid[];
  amounts bank_money[];
  keys text[];
  answers text[] := '{}';
  at_once text[];
  one_by_one text;
  batch text;
  receipt bank_receipt;
BEGIN
  SELECT array_agg(CASE pick(seed, i, 1) % 9 WHEN 8 THEN cash() WHEN 7 THEN a(99) ELSE a(1 + pick(seed, i, 2) % 4) END ORDER BY i),
         array_agg(CASE pick(seed, i, 3) % 9 WHEN 8 THEN cash() WHEN 7 THEN a(6) ELSE a(1 + pick(seed, i, 4) % 4) END ORDER BY i),
         array_agg(bank_money(pick(seed, i, 5) % 3000 / 100.0, 'HTG') ORDER BY i),
         array_agg(CASE WHEN pick(seed, i, 6) % 3 = 0 THEN format('%s %s', seed, pick(seed, i, 7) % 5) END ORDER BY i)
  INTO froms, tos, amounts, keys FROM generate_series(1, n) AS i;
  BEGIN
    FOR i IN 1..n LOOP
      BEGIN
        receipt := bank_transfer(froms[i], tos[i], amounts[i], idempotency_key => keys[i], metadata => jsonb_build_object('i', i));
        answers := answers || format('ok %s', receipt.replayed);
      EXCEPTION WHEN OTHERS THEN
        answers := answers || format('%s %s', SQLSTATE, SQLERRM);
      END;
    END LOOP;
    one_by_one := ledger();
    RAISE EXCEPTION USING ERRCODE = 'ZZ000';
  EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
  END;
  SELECT array_agg(CASE WHEN r.ok THEN format('ok %s', r.replayed) ELSE format('%s %s', r.code, r.message) END ORDER BY r.ordinal) INTO at_once
  FROM bank_post_transfers(froms, tos, amounts, keys, metadata => (SELECT array_agg(jsonb_build_object('i', i) ORDER BY i) FROM generate_series(1, n) AS i)) AS r;
  batch := ledger();
  RETURN CASE WHEN at_once IS DISTINCT FROM answers THEN format('seed %s: %s, not %s', seed, at_once, answers)
              WHEN batch IS DISTINCT FROM one_by_one THEN format('seed %s: another ledger', seed) ELSE 'the same' END;
END
$$;
SELECT same_outcome(seed), count(*) FROM generate_series(1, 60) AS seed GROUP BY 1;
SELECT count(*) > 200 AS events, count(*) FILTER (WHERE peer_id = a(4)) > 5 AS to_the_limited FROM bank.events;
SELECT * FROM broken_invariants();

-- Chains: the first, a middle or the last member fails; two chains and a lone order; one with a replay in it, and one whose
-- keys are free again afterwards; null is no link.
CREATE FUNCTION told(r bank_order_result) RETURNS text LANGUAGE sql
RETURN concat_ws('|', r.ordinal, r.ok, r.code, r.detail, CASE WHEN r.ok THEN r.replayed END);
SELECT balance FROM bank_deposit(a(1), '1000 HTG');
SELECT told(r) FROM bank_post_transfers(array_fill(a(1), ARRAY[11]), array_fill(a(2), ARRAY[11]),
  ARRAY['9000 HTG', '1 HTG', '2 HTG', '3 HTG', '0 HTG', '5 HTG', '6 HTG', '7 USD', '8 HTG', '9 HTG', '10 HTG']::bank_money[],
  linked => ARRAY[true, true, false, true, true, false, true, false, true, NULL, false]) AS r;
SELECT told(r) FROM bank_post_transfers(array_fill(a(1), ARRAY[5]), array_fill(a(2), ARRAY[5]),
  ARRAY['1 HTG', '2 HTG', '9999 HTG', '1 HTG', '2 HTG']::bank_money[], ARRAY['c1', 'c2', 'c3', 'c1', 'c1'], linked => ARRAY[true, true, false, false, false]) AS r;
SELECT told(r) FROM bank_post_transfers(array_fill(a(1), ARRAY[3]), array_fill(a(2), ARRAY[3]),
  ARRAY['1 HTG', '4 HTG', '1 HTG']::bank_money[], ARRAY['c1', 'c4', 'c1'], linked => ARRAY[true, true, false]) AS r;
-- A chain sees what its own members did, and what a failed chain did is not there for the next order.
SELECT c.status FROM unnest(ARRAY[a(7), a(8)]) AS id, LATERAL bank_create_account(a(100), 'COURANT', 'HTG', account_id => id) AS c;
SELECT told(r) FROM bank_post_transfers(ARRAY[a(1), a(7), a(8), a(7), a(1), a(7)], ARRAY[a(7), a(8), a(7), a(99), a(7), a(8)],
  array_fill('10 HTG'::bank_money, ARRAY[6]), linked => ARRAY[true, true, true, false, true, false]) AS r;
SELECT balance, version FROM bank_accounts WHERE account_id IN (a(7), a(8)) ORDER BY account_id;

-- The key of a refusal that bank_execute has stored.
SELECT bank_execute(jsonb_build_object('command', 'transfer', 'from_account', a(7), 'to_account', a(8), 'amount', '1 HTG', 'idempotency_key', 'stored')) ->> 'code' AS code;
SELECT told(r), replayed FROM bank_post_transfers(ARRAY[a(7), a(7), a(1), a(1)], ARRAY[a(8), a(8), a(8), a(8)],
  ARRAY['1 HTG', '2 HTG', '3 HTG', '4 HTG']::bank_money[], ARRAY['stored', 'stored', 'new', 'new']) AS r;
-- Keys that are no keys, or stand for another command.
SELECT balance FROM bank_deposit(a(1), '1 HTG', idempotency_key => 'deposit');
SELECT told(r) FROM bank_post_transfers(array_fill(a(1), ARRAY[4]), array_fill(a(2), ARRAY[4]), array_fill('1 HTG'::bank_money, ARRAY[4]),
  ARRAY['', repeat('k', 256), 'deposit', repeat('k', 255)]) AS r;

-- A house account by the name of its stripe and by its own, in one batch: one account. And one that was not used before.
CREATE FUNCTION stripe() RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT account_id FROM bank.accounts WHERE house_code = 'cash' AND currency = 'HTG');
SELECT version AS cash_version, balance AS cash_balance FROM bank_accounts WHERE account_id = cash() \gset
SELECT told(r) FROM bank_post_transfers(ARRAY[cash(), stripe(), a(8), a(8), cash(), stripe()], ARRAY[a(8), a(8), cash(), stripe(), stripe(), cash()],
  ARRAY['1 HTG', '2 HTG', '3 HTG', '4 HTG', '5 HTG', '6 HTG']::bank_money[]) AS r;
SELECT version - :cash_version AS versions, balance - :cash_balance AS balance FROM bank_accounts WHERE account_id = cash();
SELECT status FROM bank_create_house_account('vault', 'HTG');
SELECT told(r) FROM bank_accounts AS v, LATERAL bank_post_transfers(ARRAY[cash(), v.account_id], ARRAY[v.account_id, a(8)], ARRAY['100 HTG', '1 HTG']::bank_money[]) AS r WHERE v.house_account = 'vault';
-- Another session has no stripe of its own yet: it opens one, or takes a free one; the account is the same.
\connect
SELECT told(r) FROM bank_post_transfers(ARRAY[a(1), cash()], ARRAY[cash(), a(2)], ARRAY['1 HTG', '2 HTG']::bank_money[]) AS r;

-- Events stand in the order of the orders, without gap; versions grow by one; the read models follow.
SELECT max(position) AS last FROM bank.events \gset
SELECT told(r) FROM bank_post_transfers(ARRAY[a(1), a(2), a(7), a(1)], ARRAY[a(2), a(1), a(1), a(8)], ARRAY['1 HTG', '2 HTG', '999 HTG', '3 HTG']::bank_money[],
  occurred_at => ARRAY[NULL, '2020-01-01 00:00+00', NULL, '1899-12-31 00:00+00']::timestamptz[]) AS r;
SELECT told(r) FROM bank_post_transfers(ARRAY[a(1), a(2), a(1)], ARRAY[a(2), a(1), a(8)], ARRAY['1 HTG', '2 HTG', '3 HTG']::bank_money[]) AS r;
SELECT position - :last AS position, aggregate_id, amount, event_type, occurred_at IS NOT NULL AS dated FROM bank.events WHERE position > :last ORDER BY position;
SELECT count(*) FROM bank.backdated_movements;
SELECT * FROM broken_invariants();

-- In a transaction that is rolled back nothing remains, and the session goes on.
SELECT ledger() AS before \gset
BEGIN;
SELECT count(*) FILTER (WHERE ok) FROM bank_post_transfers(ARRAY[a(1), a(2)], ARRAY[a(2), a(1)], ARRAY['0.01 HTG', '0.01 HTG']::bank_money[], idempotency_keys => ARRAY['r1', 'r2']);
SAVEPOINT s;
SELECT count(*) FILTER (WHERE ok) FROM bank_post_transfers(ARRAY[a(1), a(2)], ARRAY[a(2), a(1)], ARRAY['0.01 HTG', '0.01 HTG']::bank_money[], idempotency_keys => ARRAY['r3', 'r1']);
ROLLBACK TO s;
SELECT count(*) FILTER (WHERE ok) FROM bank_post_transfers(ARRAY[a(1), a(2)], ARRAY[a(2), a(1)], ARRAY['0.01 HTG', '0.01 HTG']::bank_money[]);
ROLLBACK;
SELECT ledger() = :'before' AS nothing_has_changed;
SELECT ok FROM bank_post_transfers(ARRAY[a(2)], ARRAY[a(1)], ARRAY['0.01 HTG']::bank_money[], idempotency_keys => ARRAY['r1']);
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
