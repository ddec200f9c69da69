-- A hostile search_path: look-alikes of everything the extension could be tempted to call stand in
-- front of pg_catalog, and each of them raises. Commands and queries must not notice.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE SCHEMA evil;
CREATE FUNCTION evil.twin(source pg_proc) RETURNS void LANGUAGE plpgsql AS $make$
BEGIN
  EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''%s was called''; END $$',
                 source.proname, pg_get_function_identity_arguments(source.oid), CASE WHEN source.proretset THEN 'SETOF ' ELSE '' END,
                 format_type(source.prorettype, NULL), source.proname);
END
$make$;
-- functions of the types that the ledger is made of,
SELECT count(evil.twin(p)) > 300 AS functions
FROM pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.pronargs > 0
  AND NOT EXISTS (SELECT FROM pg_type WHERE oid = p.prorettype AND typtype = 'p')
  AND p.proargtypes::oid[] <@ ARRAY['uuid', 'text', 'int4', 'int8', 'numeric', 'timestamptz', 'date', 'interval', 'bytea', 'jsonb', 'bool',
                                    'regclass', 'xid8', 'name', 'oid']::regtype[]::oid[]
  AND pg_get_function_arguments(p.oid) !~ 'OUT|DEFAULT';
SELECT count(evil.twin(p)) AS functions
FROM pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('now', 'clock_timestamp', 'transaction_timestamp', 'pg_current_xact_id', 'gen_random_uuid');
CREATE FUNCTION evil.jsonb_build_object(VARIADIC text[]) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'jsonb_build_object was called'; END $$;
-- operators,
DO $make$
DECLARE
  o record;
BEGIN
  FOR o IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result FROM pg_operator
           WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprcode <> 0
             AND ARRAY[oprleft, oprright] <@ ARRAY['uuid', 'text', 'int4', 'int8', 'numeric', 'timestamptz', 'date', 'interval', 'bytea', 'jsonb', 'bool', 'oid']::regtype[]::oid[]
  LOOP
    EXECUTE format('CREATE FUNCTION evil.operator(%s, %s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''operator %s was called''; END $$',
                   o.l, o.r, o.result, replace(o.oprname, '%', '%%'));
    EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.operator)', o.oprname, o.l, o.r);
    EXECUTE format('ALTER FUNCTION evil.operator(%s, %s) RENAME TO %I', o.l, o.r, 'operator' || o.oprname);
  END LOOP;
END
$make$;
SELECT count(*) > 100 AS operators FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace;
-- aggregates,
DO $make$
DECLARE
  t text;
  aggregate text;
BEGIN
  FOREACH t IN ARRAY ARRAY['int4', 'int8', 'numeric', 'timestamptz', 'text'] LOOP
    EXECUTE format('CREATE FUNCTION evil.step(bigint, %s) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''an aggregate was called''; END $$', t);
    FOREACH aggregate IN ARRAY ARRAY['sum', 'min', 'max', 'count', 'array_agg'] LOOP
      EXECUTE format('CREATE AGGREGATE evil.%s(%s) (SFUNC = evil.step, STYPE = bigint)', aggregate, t);
    END LOOP;
  END LOOP;
END
$make$;
-- types,
DO $make$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['uuid', 'text', 'int8', 'int4', 'numeric', 'timestamptz', 'date', 'jsonb', 'bytea', 'bool', 'bank_money', 'bank_receipt', 'event_type']
  LOOP
    EXECUTE format('CREATE TYPE evil.%I AS (impostor pg_catalog.text)', t);
  END LOOP;
END
$make$;
-- tables of the names of the ledger's own, in evil and among the temporary ones,
CREATE TABLE evil.accounts (impostor pg_catalog.text);
CREATE TABLE evil.events (impostor pg_catalog.text);
CREATE TABLE evil.idempotency_keys (impostor pg_catalog.text);
CREATE TABLE evil.backdated_movements (impostor pg_catalog.text);
CREATE VIEW evil.stream AS SELECT 1 AS impostor;
CREATE VIEW evil.bank_accounts AS SELECT 1 AS impostor;
CREATE VIEW evil.bank_events AS SELECT 1 AS impostor;
CREATE SEQUENCE evil.events_position_seq;
CREATE SEQUENCE evil.account_serial_seq;
CREATE TEMP TABLE accounts (impostor pg_catalog.text);
CREATE TEMP TABLE events (impostor pg_catalog.text);
CREATE TEMP TABLE pg_class (impostor pg_catalog.text);
CREATE TEMP TABLE pg_namespace (impostor pg_catalog.text);
-- and the extension's own functions.
CREATE FUNCTION evil.minor_to_numeric(pg_catalog.int8, pg_catalog.text) RETURNS pg_catalog.numeric LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'minor_to_numeric was called'; END $$;
CREATE FUNCTION evil.require_account(pg_catalog.uuid, pg_catalog.text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'require_account was called'; END $$;
CREATE FUNCTION evil.version_at(pg_catalog.uuid, pg_catalog.timestamptz, pg_catalog.bool) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'version_at was called'; END $$;

-- The look-alikes do what they should.
SET search_path = evil, pg_catalog, public, pg_temp;
SELECT '1'::pg_catalog.int8 = '1'::pg_catalog.int8;
SELECT '1'::pg_catalog.numeric + '1'::pg_catalog.numeric;
SELECT 'now'::pg_catalog.timestamptz <= 'now'::pg_catalog.timestamptz;
SELECT 'a'::pg_catalog.text || 'b'::pg_catalog.text;
SELECT now();
SELECT sum(1);
SELECT '00000000-0000-7000-8000-000000000001'::uuid;
SELECT * FROM accounts, stream;

-- Every command and query, in a fresh backend, so that nothing has been planned before.
\c
CREATE TEMP TABLE accounts (impostor pg_catalog.text);
CREATE TEMP TABLE events (impostor pg_catalog.text);
SET search_path = evil, pg_temp, pg_catalog, public;
\set one '''00000000-0000-7000-8000-000000000001'''
\set two '''00000000-0000-7000-8000-000000000002'''
SELECT account_number FROM public.bank_create_account(:one, 'COURANT', 'HTG', account_id => :one, overdraft_limit => '10 HTG', idempotency_key => 'k0', expected_version => 0);
SELECT account_number FROM public.bank_create_account(:one, 'EPARGNE', 'HTG', account_id => :two);
SELECT account_number FROM public.bank_create_account(:one, 'EPARGNE', 'HTG', account_id => :two);
SELECT house_account FROM public.bank_create_house_account('vault', 'HTG', metadata => '{"a":1}');
SELECT balance, replayed FROM public.bank_deposit(:one, '100 HTG', idempotency_key => 'k1', metadata => '{"a":1}');
SELECT balance, replayed FROM public.bank_deposit(:one, '100 HTG', idempotency_key => 'k1');
SELECT balance, replayed FROM public.bank_deposit(:one, '200 HTG', idempotency_key => 'k1');
SELECT balance FROM public.bank_deposit(:one, '50 HTG', occurred_at => '2026-01-01 00:00+00');
SELECT balance FROM public.bank_withdraw(:one, '10 HTG', expected_version => 3, house_account => 'vault');
SELECT balance FROM public.bank_withdraw(:one, '1000 HTG');
SELECT balance FROM public.bank_transfer(:one, :two, '40 HTG');
SELECT balance FROM public.bank_transfer(:two, :one, '1 HTG');
SELECT version FROM public.bank_freeze(:two);
SELECT version FROM public.bank_unfreeze(:two);
SELECT version FROM public.bank_set_limits(:two, balance_limit => '39 HTG');
SELECT balance FROM public.bank_withdraw(:two, '39 HTG');
SELECT version FROM public.bank_close(:two);
SELECT status, balance FROM public.bank_account(:two);
SELECT status, balance FROM public.bank_accounts_of(:one);
SELECT public.bank_account_exists(:one);
SELECT balance, available FROM public.bank_balance(:one);
SELECT balance FROM public.bank_balance_at(:one, '2026-01-01 00:00+00');
SELECT balance FROM public.bank_balance_at(:one, 'infinity', true);
SELECT balance FROM public.bank_balance_at('62616e6b-cd88-8d36-b93e-d47e9841f012', 'infinity');
SELECT version, event_type, amount, balance FROM public.bank_transactions(:one, '2025-12-31', NULL, page_size => 3);
SELECT version, event_type, amount, balance FROM public.bank_transactions(:one, NULL, '2026-01-02', before_version => 4);
SELECT event_type, amount FROM public.bank_transactions('62616e6b-cd88-8d36-b93e-d47e9841f012', page_size => 1);
SELECT line, entry, debit, credit, balance FROM public.bank_statement(:one, '2025-12-31', '2026-01-02');
SELECT version, peer_version, event_type FROM public.bank_account_events(:one);
SELECT event_type, event_data FROM public.bank_events LIMIT 1;
SELECT * FROM public.bank_trial_balance;
SELECT public.bank_account_number_valid('000000000195');
SELECT version FROM public.bank_balance('00000000-0000-7000-8000-000000000009');
UPDATE bank.events SET amount = 1;
INSERT INTO bank.events (version, balance, event_id, aggregate_id, event_type, currency)
  VALUES (7, 10100, '00000000-0000-7000-8000-00000000e001', :one, 'account.frozen', 'HTG');
INSERT INTO bank.events (version, balance, event_id, aggregate_id, event_type, currency)
  VALUES (8, 10100, '00000000-0000-7000-8000-00000000e002', :one, 'account.unfrozen', 'HTG');
-- The money functions and operators.
SELECT '1 HTG'::public.bank_money OPERATOR(public.+) '2 HTG', '3 HTG'::public.bank_money OPERATOR(public.-) '2 HTG',
       '3 HTG'::public.bank_money OPERATOR(public.<) '4 HTG', public.bank_money(1.5, 'HTG'), public.bank_amount('1 HTG'), public.bank_currency('1 HTG');
SELECT public.sum(m), public.min(m), public.max(m) FROM (VALUES ('1 HTG'::public.bank_money), ('2 HTG')) AS v (m);
-- No search_path at all.
SET search_path = '';
SELECT balance FROM public.bank_deposit(:one, '1 HTG');
SELECT balance FROM public.bank_balance_at(:one, 'infinity');
SET search_path = no_such_schema;
SELECT balance FROM public.bank_deposit(:one, '1 HTG');
RESET search_path;
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP SCHEMA evil CASCADE;
