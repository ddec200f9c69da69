-- Commands as JSON: bank_execute answers instead of raising, and under an idempotency key a refusal
-- is an outcome too.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\pset format unaligned
\pset tuples_only on

-- An answer without what differs from run to run.
CREATE FUNCTION told(answer jsonb) RETURNS jsonb LANGUAGE sql
RETURN answer - '{event_id,recorded_at,created_at,transaction_id}'::text[];
CREATE FUNCTION run(command text) RETURNS jsonb LANGUAGE sql RETURN told(bank_execute(command::jsonb));

-- Every command.
SELECT run('{"command":"create_account","owner_id":"00000000-0000-7000-8000-000000000100","account_type":"COURANT","currency":"HTG","account_id":"00000000-0000-7000-8000-000000000001"}');
SELECT run('{"command":"create_account","owner_id":"00000000-0000-7000-8000-000000000100","account_type":"EPARGNE","currency":"HTG","account_id":"00000000-0000-7000-8000-000000000002","overdraft_limit":"50 HTG","balance_limit":"500.00 HTG","expected_version":0}');
SELECT run('{"command":"create_house_account","code":"vault","currency":"HTG"}') - 'account_id';
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"100.00 HTG"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"HTG 5","house_account":"vault","occurred_at":"2026-01-01T12:00:00Z","metadata":{"by":"Marie"},"expected_version":2}');
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","house_account":null,"idempotency_key":null}');
SELECT run('{"command":"transfer","from_account":"00000000-0000-7000-8000-000000000001","to_account":"00000000-0000-7000-8000-000000000002","amount":"10 HTG"}');
SELECT run('{"command":"freeze","account_id":"00000000-0000-7000-8000-000000000002"}');
SELECT run('{"command":"unfreeze","account_id":"00000000-0000-7000-8000-000000000002"}');
SELECT run('{"command":"set_limits","account_id":"00000000-0000-7000-8000-000000000002","overdraft_limit":"60 HTG","remove_balance_limit":true}');
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000002","amount":"10 HTG"}');
SELECT run('{"command":"close","account_id":"00000000-0000-7000-8000-000000000002"}');
SELECT occurred_at = '2026-01-01 12:00+00', metadata FROM bank_account_events(a(1)) WHERE version = 3;
SELECT bank_execute(NULL) IS NULL;

-- The answer has what the receipt has.
SELECT bank_execute('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG"}') AS answer \gset
SELECT :'answer'::jsonb ->> 'event_id' = event_id::text FROM bank_events ORDER BY position DESC LIMIT 1;

-- Refusals are answers, and leave nothing behind.
SELECT ledger_state() AS before \gset
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"5000 HTG"}');
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"5000 HTG","house_account":"interest"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000099","amount":"1 HTG"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000002","amount":"1 HTG"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 USD"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"0 HTG"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","expected_version":1}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","occurred_at":"infinity"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","occurred_at":"1800-01-01"}');
SELECT run('{"command":"freeze","account_id":"00000000-0000-7000-8000-000000000002"}');
SELECT run('{"command":"create_account","owner_id":"00000000-0000-7000-8000-000000000100","account_type":"GOLD","currency":"HTG"}');
SELECT run('{"command":"create_house_account","code":"The Vault","currency":"HTG"}');
SELECT run('{"command":"create_house_account","code":"vault","currency":"HTG"}');
-- Malformed commands say where.
SELECT run(command) FROM (VALUES
  (1, '[]'), (2, '"deposit"'), (3, '1'), (4, 'null'), (5, '{}'), (6, '{"command":null}'), (7, '{"command":["deposit"]}'),
  (8, '{"command":"Deposit"}'), (9, '{"command":"drop"}'), (10, '{"command":"deposit"}'),
  (11, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001"}'),
  (12, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":null}'),
  (13, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":1}'),
  (14, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1"}'),
  (15, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"-1 HTG"}'),
  (16, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1.001 HTG"}'),
  (17, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 ZZZ"}'),
  (18, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"NaN HTG"}'),
  (19, '{"command":"deposit","account_id":1,"amount":"1 HTG"}'),
  (20, '{"command":"deposit","account_id":"1","amount":"1 HTG"}'),
  (21, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","expected_version":"1"}'),
  (22, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","expected_version":1.5}'),
  (23, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","expected_version":1e30}'),
  (24, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","occurred_at":20260101}'),
  (25, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","occurred_at":"soon"}'),
  (26, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","occurred_at":"2026-02-30"}'),
  (27, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","metadata":[]}'),
  (28, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","metadata":"{}"}'),
  (29, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","idempotency_key":1}'),
  (30, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","idempotency_key":""}'),
  (31, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","acount_id":"1"}'),
  (32, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","balance_limit":"1 HTG"}'),
  (33, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","a/b~c":1}'),
  (34, '{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","q\"\\\n\u0001":1}'),
  (35, '{"command":"set_limits","account_id":"00000000-0000-7000-8000-000000000001","remove_balance_limit":"yes"}'),
  (36, '{"command":"set_limits","account_id":"00000000-0000-7000-8000-000000000001","remove_balance_limit":true,"balance_limit":"1 HTG"}')) AS v (line, command)
ORDER BY line;
-- A long name of many bytes per letter is cut between letters.
SELECT convert_from(textsend(run(format('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","x%s":1}', repeat(chr(233), 100))) ->> 'path'), 'UTF8') ~ ('^/xx?' || chr(233) || '{30,}$');
SELECT convert_from(textsend(run(format('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","xx%s":1}', repeat(chr(233), 100))) ->> 'path'), 'UTF8') ~ ('^/xx?' || chr(233) || '{30,}$');
SELECT run(format('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","metadata":{"k":"%s"}}', repeat('v', 1048576)));
SELECT ledger_state() = :'before' AS nothing_has_changed;

-- Under a key: the first outcome again, as the command functions do it.
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"7 HTG","idempotency_key":"k1"}');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"7 HTG","idempotency_key":"k1"}');
SELECT balance, replayed FROM bank_deposit(a(1), '7 HTG', idempotency_key => 'k1');
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"8 HTG","idempotency_key":"k1"}');
-- A refusal is an outcome: it is told again although the money is there by now.
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"5000 HTG","idempotency_key":"k2"}');
SELECT balance FROM bank_deposit(a(1), '5000 HTG');
SELECT ledger_state() AS before \gset
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"5000 HTG","idempotency_key":"k2"}');
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"5001 HTG","idempotency_key":"k2"}');
SELECT refused($$SELECT bank_withdraw(a(1), '5000 HTG', idempotency_key => 'k2')$$);
SELECT refused($$SELECT bank_withdraw(a(1), '1 HTG', idempotency_key => 'k2')$$);
-- What makes no sense is no outcome of a key.
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"1","idempotency_key":"k3"}');
SELECT ledger_state() = :'before' AS nothing_has_changed;
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","idempotency_key":"k3"}');
-- A refusal of a command function leaves the key free.
SELECT refused($$SELECT bank_withdraw(a(1), '9000 HTG', idempotency_key => 'k4')$$);
SELECT run('{"command":"deposit","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","idempotency_key":"k4"}');
-- A refusal because the account is there is one too: the account in the way is not its outcome.
SELECT run('{"command":"create_account","owner_id":"00000000-0000-7000-8000-000000000100","account_type":"COURANT","currency":"HTG","account_id":"00000000-0000-7000-8000-000000000001","idempotency_key":"k6"}')
FROM generate_series(1, 2);
SELECT refused($$SELECT bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1), idempotency_key => 'k6')$$);
SELECT refusal ->> 'code', aggregate_id, version FROM bank.idempotency_keys WHERE idempotency_key = 'k6';
-- A key commits with the caller's transaction.
BEGIN;
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"9000 HTG","idempotency_key":"k5"}');
ROLLBACK;
SELECT run('{"command":"withdraw","account_id":"00000000-0000-7000-8000-000000000001","amount":"1 HTG","idempotency_key":"k5"}');

-- Many at once: one after the other, each as it would be alone.
SELECT told(answer) FROM unnest(bank_execute_batch(ARRAY[
  '{"command":"create_account","owner_id":"00000000-0000-7000-8000-000000000100","account_type":"COURANT","currency":"HTG","account_id":"00000000-0000-7000-8000-000000000003"}',
  '{"command":"transfer","from_account":"00000000-0000-7000-8000-000000000001","to_account":"00000000-0000-7000-8000-000000000003","amount":"10 HTG"}',
  '{"command":"transfer","from_account":"00000000-0000-7000-8000-000000000003","to_account":"00000000-0000-7000-8000-000000000001","amount":"11 HTG"}',
  '{"command":"nonsense"}',
  '{"command":"transfer","from_account":"00000000-0000-7000-8000-000000000003","to_account":"00000000-0000-7000-8000-000000000001","amount":"10 HTG"}',
  '{"command":"close","account_id":"00000000-0000-7000-8000-000000000003"}',
  NULL]::jsonb[])) WITH ORDINALITY AS t (answer, n) ORDER BY n;
SELECT bank_execute_batch('{}'), bank_execute_batch(NULL) IS NULL;
-- Faults of the server are raised, not answered.
BEGIN READ ONLY;
SELECT bank_execute('{"command":"freeze","account_id":"00000000-0000-7000-8000-000000000001"}');
ROLLBACK;
BEGIN READ ONLY;
SELECT bank_execute_batch('{}');
ROLLBACK;

\pset tuples_only off
\pset format aligned
SELECT * FROM broken_invariants();
SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
