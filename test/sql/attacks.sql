-- Ways around the ledger's rules that were open once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS banking;
\set VERBOSITY terse
\set one '''00000000-0000-7000-8000-000000000001'''
\set two '''00000000-0000-7000-8000-000000000002'''
\set owner '''00000000-0000-4000-8000-000000000001'''

SELECT balance FROM bank_create_account(:owner, 'COURANT', 'HTG', account_id => :one);
SELECT balance FROM bank_create_account(:owner, 'COURANT', 'HTG', account_id => :two);
SELECT balance FROM bank_deposit(:one, '100 HTG');

-- A trigger function of the ledger on somebody's own table.
CREATE TEMP TABLE forged AS SELECT * FROM bank.events WHERE aggregate_id = :one ORDER BY version DESC LIMIT 1;
UPDATE forged SET version = version + 1, peer_version = peer_version + 1, position = position + 1,
  balance = balance + 10000, peer_balance = peer_balance - 10000;
CREATE TEMP TABLE mine (LIKE forged);
CREATE TRIGGER forge AFTER INSERT ON mine REFERENCING NEW TABLE AS new
  FOR EACH STATEMENT EXECUTE FUNCTION bank.events_apply();
INSERT INTO mine SELECT * FROM forged;
SELECT balance FROM bank_balance(:one);
SELECT count(*) AS public_trigger_functions FROM pg_proc
WHERE pronamespace = 'bank'::regnamespace AND prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
  AND has_function_privilege('public', oid, 'EXECUTE');

-- Look-alikes where the API's schema used to be.
ALTER SCHEMA public RENAME TO moved;
CREATE SCHEMA public;
CREATE VIEW public.bank_accounts AS SELECT 1 / 0 AS account_id;
CREATE VIEW public.bank_events AS SELECT 1 / 0 AS position;
CREATE TYPE public.bank_balance_row AS (a integer);
CREATE TYPE public.bank_balance_then AS (a integer);
SELECT balance FROM moved.bank_balance(:one);
SELECT balance FROM moved.bank_account(:one);
SELECT balance FROM moved.bank_balance_at(:one, now());
SELECT count(*) FROM moved.bank_account_events(:one);
SELECT count(*) FROM moved.bank_transactions(:one);
SELECT count(*) FROM moved.bank_accounts_of(:owner);
DROP SCHEMA public CASCADE;
ALTER SCHEMA moved RENAME TO public;

-- No function that runs with the owner's rights names the API's schema in its text.
SELECT p.proname FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking'
WHERE p.prosecdef AND p.prosrc ~ 'public\.';

-- A refused creation under a key does not become another account's success.
SELECT bank_execute(jsonb_build_object('command', 'create_account', 'owner_id', '00000000-0000-4000-8000-000000000002',
  'account_type', 'COURANT', 'currency', 'USD', 'account_id', :one, 'idempotency_key', 'taken')) - 'detail';
SELECT bank_execute(jsonb_build_object('command', 'create_account', 'owner_id', '00000000-0000-4000-8000-000000000002',
  'account_type', 'COURANT', 'currency', 'USD', 'account_id', :one, 'idempotency_key', 'taken')) - 'detail';

-- A full stripe is left alone.
SELECT balance FROM bank_deposit(:two, '92233720368547758.07 HTG', house_account => 'suspense');
SELECT balance FROM bank_withdraw(:two, '92233720368547758.07 HTG', house_account => 'suspense');
SELECT balance FROM bank_deposit(:one, '1 HTG', house_account => 'suspense');
SELECT count(*) AS stripes FROM bank.accounts WHERE house_code = 'suspense';

-- Tables that have more columns than the library knows, and a constraint of the user's.
SELECT balance FROM bank_deposit(:one, '1 HTG', idempotency_key => 'columns');
DO $$
BEGIN
  FOR i IN 1..40 LOOP
    EXECUTE format('ALTER TABLE bank.accounts ADD c%s bigint DEFAULT 7', i);
    EXECUTE format('ALTER TABLE bank.events ADD c%s bigint DEFAULT 7', i);
  END LOOP;
END
$$;
SELECT balance, replayed FROM bank_deposit(:one, '1 HTG', idempotency_key => 'columns');
SELECT balance FROM bank_deposit(:one, '1 HTG');
SELECT c1, c2, c3, c30, c40 FROM bank.accounts WHERE account_id = :one;
ALTER TABLE bank.accounts ADD CONSTRAINT small CHECK (credits <= 10400) NOT VALID;
SELECT balance FROM bank_deposit(:one, '2 HTG');
ALTER TABLE bank.accounts DROP CONSTRAINT small;

-- Batches of bank_execute are bounded.
SELECT bank_execute_batch(array_fill(NULL::jsonb, ARRAY[65537]));
SELECT bank_execute_batch(array_fill(NULL::jsonb, ARRAY[2, 2]));

SELECT invariant, failures, detail FROM bank_verify() WHERE NOT ok;
