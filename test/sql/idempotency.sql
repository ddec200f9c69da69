-- Idempotency keys: the same key with the same request gives the first outcome again, whatever has
-- happened since, and has no second effect. (Other requests under a used key: errors.sql.
-- Concurrent duplicates: the isolation tests.)
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Every command twice; a row that is not told means that something is wrong.
CREATE TABLE request (line serial, command text);
INSERT INTO request (command) VALUES
  ('bank_create_account(a(100), ''COURANT'', ''HTG'', account_id => a(1), idempotency_key => ''create 1'')'),
  ('bank_create_account(a(100), ''EPARGNE'', ''HTG'', account_id => a(2), overdraft_limit => ''10 HTG'', balance_limit => ''5000 HTG'', idempotency_key => ''create 2'')'),
  ('bank_create_account(a(100), ''COURANT'', ''HTG'', expected_version => 0, idempotency_key => ''create with an identifier of its own'')'),
  ('bank_create_house_account(''vault'', ''HTG'', idempotency_key => ''create vault'')'),
  ('bank_deposit(a(1), ''100 HTG'', idempotency_key => ''deposit'')'),
  ('bank_deposit(a(1), ''100 HTG'', idempotency_key => ''deposit to the vault'', house_account => ''vault'')'),
  ('bank_withdraw(a(1), ''10 HTG'', idempotency_key => ''withdraw'', occurred_at => ''2026-01-01 12:00+00'', metadata => ''{"a":1}'')'),
  ('bank_transfer(a(1), a(2), ''20 HTG'', idempotency_key => ''transfer'', expected_version => 4)'),
  ('bank_freeze(a(1), idempotency_key => ''freeze'')'),
  ('bank_unfreeze(a(1), idempotency_key => ''unfreeze'')'),
  ('bank_set_limits(a(1), overdraft_limit => ''5 HTG'', idempotency_key => ''limits'')'),
  ('bank_withdraw(a(1), ''170 HTG'', idempotency_key => ''the rest'')'),
  ('bank_close(a(1), idempotency_key => ''close'')');
CREATE TABLE outcome (line integer, round integer, outcome jsonb, state text);
CREATE FUNCTION play(line integer, round integer, command text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  outcome jsonb;
BEGIN
  EXECUTE 'SELECT to_jsonb(o) FROM ' || command || ' AS o' INTO outcome;
  INSERT INTO outcome VALUES (line, round, outcome, ledger_state());
END
$$;
SELECT count(play(line, 1, command)) FROM request;
SELECT line, outcome ->> 'event_type' AS event_type, outcome ->> 'amount' AS amount, outcome ->> 'balance' AS balance,
       outcome ->> 'version' AS version, outcome ->> 'replayed' AS replayed
FROM outcome WHERE round = 1 ORDER BY line;
-- Now account 1 is closed, and all is told again, in whatever order.
SELECT count(play(line, 2, command)) FROM (SELECT * FROM request ORDER BY line DESC) AS r;
SELECT count(play(line, 3, command)) FROM request;
SELECT count(*) AS replays,
       count(*) FILTER (WHERE again.outcome - 'replayed' IS DISTINCT FROM first.outcome - 'replayed') AS differ,
       count(*) FILTER (WHERE (first.outcome ? 'replayed') AND NOT (again.outcome ->> 'replayed')::boolean) AS not_marked,
       count(*) FILTER (WHERE again.state <> last.state) AS with_an_effect
FROM outcome AS first JOIN outcome AS again USING (line) JOIN outcome AS last ON last.line = 13 AND last.round = 1
WHERE first.round = 1 AND again.round > 1;
SELECT count(*) FROM bank.idempotency_keys;

-- Another way of writing the same request is the same request.
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(3));
SELECT balance, version, replayed FROM bank_deposit(a(3), '7 HTG', idempotency_key => 'k1', occurred_at => '2026-03-01 12:00:00+00');
SELECT balance, version, replayed FROM bank_deposit(a(3), 'HTG 7.00', idempotency_key => 'k1', occurred_at => '2026-03-01 07:00:00-05', house_account => 'cash');
-- Metadata is not part of the request; what was said first stays.
SELECT balance, version, replayed FROM bank_deposit(a(3), '1 HTG', idempotency_key => 'k2', metadata => '{"attempt":1}');
SELECT balance, version, replayed FROM bank_deposit(a(3), '1 HTG', idempotency_key => 'k2', metadata => '{"attempt":2}');
SELECT metadata FROM bank_account_events(a(3)) WHERE metadata IS NOT NULL;
-- Bad options are refused on a replay too.
SELECT refused($$SELECT bank_deposit(a(3), '1 HTG', idempotency_key => 'k2', metadata => '[]')$$);

-- Keys are told apart byte by byte.
SELECT left(key, 12) AS key, version, replayed
FROM (VALUES (1, 'K2'), (2, ' k2'), (3, 'k2 '), (4, 'é'), (5, E'e\u0301'), (6, ''';--'), (7, E'tab\tand\nnewline'), (8, repeat('k', 255)), (9, 'k2|')) AS k (n, key),
     LATERAL bank_deposit(a(3), '1 HTG', idempotency_key => key) ORDER BY n;
-- Without a key every call counts.
SELECT version, replayed FROM bank_deposit(a(3), '1 HTG', idempotency_key => NULL);
SELECT version, replayed FROM bank_deposit(a(3), '1 HTG');

-- A refusal is no outcome: the key stays free.
SELECT refused($$SELECT bank_withdraw(a(3), '1000 HTG', idempotency_key => 'salary')$$);
SELECT version FROM bank_deposit(a(3), '1000 HTG');
SELECT balance, replayed FROM bank_withdraw(a(3), '1000 HTG', idempotency_key => 'salary');
SELECT balance, replayed FROM bank_withdraw(a(3), '1000 HTG', idempotency_key => 'salary');

-- A key commits with the money, or not at all.
BEGIN;
SELECT balance, replayed FROM bank_deposit(a(3), '5 HTG', idempotency_key => 'rolled back');
SELECT balance, replayed FROM bank_deposit(a(3), '5 HTG', idempotency_key => 'rolled back');
ROLLBACK;
SELECT balance, replayed FROM bank_deposit(a(3), '6 HTG', idempotency_key => 'rolled back');
BEGIN;
SAVEPOINT s;
SELECT balance, replayed FROM bank_deposit(a(3), '5 HTG', idempotency_key => 'savepoint');
ROLLBACK TO s;
SELECT balance, replayed FROM bank_deposit(a(3), '6 HTG', idempotency_key => 'savepoint');
COMMIT;
SELECT balance, replayed FROM bank_deposit(a(3), '6 HTG', idempotency_key => 'savepoint');

-- The same in one statement: one effect.
SELECT count(*), count(DISTINCT r.event_id) AS events, count(*) FILTER (WHERE r.replayed) AS replayed
FROM generate_series(1, 5) AS n, LATERAL bank_deposit(a(3), bank_money(n - n + 1, 'HTG'), idempotency_key => 'five times') AS r;

SELECT count(*) AS keys, count(e.event_id) AS with_event
FROM bank.idempotency_keys AS k LEFT JOIN bank.events AS e USING (aggregate_id, version);
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
