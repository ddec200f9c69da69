-- What a plain session can set, prepare, open, declare and look at, and what that does to commands and queries: nothing.
\set superuser :USER
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
CREATE ROLE regress_banking_customers;
CREATE ROLE regress_banking_tellers;
CREATE ROLE regress_banking_alice LOGIN IN ROLE regress_banking_customers;
CREATE ROLE regress_banking_jean LOGIN NOINHERIT IN ROLE regress_banking_tellers, regress_banking_customers;
SELECT bank_grant('regress_banking_customers', 'customer'), bank_grant('regress_banking_tellers', 'teller');
SELECT bank_map_owner('regress_banking_alice', a(100));
CREATE SCHEMA attackers;
GRANT ALL ON SCHEMA attackers, public TO PUBLIC;
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(2));
SELECT balance FROM bank_deposit(a(1), '100 HTG');
SELECT balance FROM bank_deposit(a(2), '12345 HTG');
SELECT count(event_id) FROM bank_hold(a(2), '45 HTG');

-- The settings of the extension: a plain role may choose how is written, not what. The same before the library is loaded.
\c - regress_banking_alice
ALTER ROLE regress_banking_alice SET banking.allow_drop = on;
SET banking.allow_drop = on;
SET banking.log_refusals = off;
SET banking.trusted_authenticators = 'regress_banking_alice';
SET request.jwt.claims = '{"sub": "00000000-0000-7000-8000-000000000200"}';
SELECT bank_current_owner(), balance FROM bank_accounts;
SHOW banking.allow_drop;
\set VERBOSITY sqlstate
SHOW banking.trusted_authenticators;
\set VERBOSITY terse
SELECT name, context, pg_catalog.has_parameter_privilege(name, 'SET') AS may_set FROM pg_settings WHERE name LIKE 'banking.%' ORDER BY name COLLATE "C";
SET banking.allow_drop = on;
SET banking.log_refusals = off;
SET banking.trusted_authenticators = 'regress_banking_alice';
SET banking.allow_private_endpoints = on;
SET banking.relay_memory = 1024;
SET banking.writer = direct;
SET banking.no_such = 'x';
RESET banking.writer;

-- Settings of the server that a plain role may change: commands do and queries say the same.
\c - :superuser
CREATE FUNCTION story() RETURNS text LANGUAGE plpgsql SET client_min_messages = error AS $$
DECLARE
  parts text[];
  part text;
  command text;
BEGIN
  FOREACH command IN ARRAY ARRAY[
    'SELECT balance, version FROM bank_deposit(a(1), ''10.50 HTG'', occurred_at => ''2026-02-01 12:00:00+00'', idempotency_key => ''s1'', metadata => ''{"a": 1.50, "b": "x''''y"}'')',
    'SELECT replayed FROM bank_deposit(a(1), ''10.50 HTG'', occurred_at => ''2026-02-01 13:00:00+01'', idempotency_key => ''s1'')',
    'SELECT balance FROM bank_transfer(a(2), a(1), ''1 HTG'')', 'SELECT balance FROM bank_withdraw(a(1), ''0.50 HTG'')',
    'SELECT event_type FROM bank_hold(a(1), ''1 HTG'', expires_in => ''1 hour'')', 'SELECT status FROM bank_create_account(a(300), ''EPARGNE'', ''USD'')',
    'SELECT bank_execute(''{"command": "deposit", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG", "occurred_at": "2026-02-03T04:05:06+00:00"}'') ->> ''ok''',
    'SELECT bank_execute(''{"command": "deposit", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG", "occurred_at": "03/02/2026"}'') ->> ''code''',
    'SELECT event_type, amount FROM bank_transactions(a(1))', 'SELECT entry, debit, credit, balance FROM bank_statement(a(1), ''2026-01-02'', ''2026-12-30'')',
    'SELECT balance FROM bank_balance_at(a(1), ''2026-02-02 00:00:00+00'')', 'SELECT balance, available FROM bank_accounts WHERE owner_id = a(100)',
    'SELECT event_type, event_data ->> ''amount'', metadata, extract(epoch FROM occurred_at) FROM bank_events WHERE metadata IS NOT NULL', 'SELECT count(*) FROM bank_account_events(a(1))']
  LOOP
    EXECUTE format('SELECT string_agg(r::text, '' '') FROM (%s) AS r', command) INTO part;
    parts := parts || part;
  END LOOP;
  RAISE SQLSTATE 'ZZ000' USING MESSAGE = array_to_string(parts, E'\n');
EXCEPTION
  WHEN SQLSTATE 'ZZ000' THEN
    RETURN SQLERRM;
  WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
\c - regress_banking_jean
SET ROLE regress_banking_tellers;
SELECT story();
CREATE TEMP TABLE plain AS SELECT story() AS story;
CREATE TEMP TABLE odd (name text, setting text);
INSERT INTO odd VALUES ('TimeZone', 'Pacific/Kiritimati'), ('TimeZone', 'America/Port-au-Prince'), ('DateStyle', 'SQL, DMY'), ('DateStyle', 'Postgres, MDY'), ('DateStyle', 'German'), ('IntervalStyle', 'sql_standard'),
  ('IntervalStyle', 'iso_8601'), ('bytea_output', 'escape'), ('extra_float_digits', '-15'), ('standard_conforming_strings', 'off'), ('backslash_quote', 'on'), ('escape_string_warning', 'off'),
  ('quote_all_identifiers', 'on'), ('xmloption', 'document'), ('xmlbinary', 'hex'), ('array_nulls', 'off'), ('transform_null_equals', 'on'), ('row_security', 'off'),
  ('plan_cache_mode', 'force_custom_plan'), ('plan_cache_mode', 'force_generic_plan'), ('jit_above_cost', '0'), ('force_parallel_mode', 'regress'), ('parallel_setup_cost', '0'), ('enable_indexscan', 'off'),
  ('enable_seqscan', 'off'), ('constraint_exclusion', 'on'), ('from_collapse_limit', '1'), ('join_collapse_limit', '1'), ('cursor_tuple_fraction', '0'), ('check_function_bodies', 'off'), ('work_mem', '64kB'),
  ('default_toast_compression', 'pglz'), ('default_table_access_method', 'heap'), ('default_text_search_config', 'pg_catalog.simple'), ('lc_monetary', 'C'), ('lc_numeric', 'C'), ('lc_time', 'C'),
  ('synchronous_commit', 'off'), ('vacuum_freeze_min_age', '0'), ('gin_fuzzy_search_limit', '1'), ('search_path', 'pg_temp, attackers, public'), ('application_name', 'x"''\'), ('plpgsql.extra_errors', 'all'), ('plpgsql.extra_warnings', 'all'),
  ('timezone_abbreviations', 'Australia'), ('stats_fetch_consistency', 'snapshot'), ('recursive_worktable_factor', '0.001'), ('geqo', 'off'), ('idle_in_transaction_session_timeout', '1h');
-- (a setting that this server does not know is none)
DELETE FROM odd AS o WHERE NOT EXISTS (SELECT FROM pg_settings AS s WHERE lower(s.name) = lower(o.name));
CREATE FUNCTION pg_temp.with_setting(name text, setting text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config(name, setting, true);
  RAISE SQLSTATE 'ZZ001' USING MESSAGE = public.story();	-- which takes the setting back
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
  RETURN SQLERRM;
END
$$;
SELECT count(*) > 40 AS settings FROM odd;
SELECT o.name, o.setting, pg_temp.with_setting(o.name, o.setting) FROM odd AS o, plain AS p WHERE pg_temp.with_setting(o.name, o.setting) IS DISTINCT FROM p.story;
SET default_transaction_read_only = on;
SELECT bank_deposit(a(1), '1 HTG');
RESET default_transaction_read_only;
SET session_replication_role = replica;

-- Prepared under one role, run under another: rights and rows are those of the moment.
PREPARE pay AS SELECT balance FROM bank_deposit('00000000-0000-7000-8000-000000000001', '1 HTG');
PREPARE look AS SELECT balance FROM bank_accounts ORDER BY balance;
PREPARE look_at(uuid) AS SELECT balance FROM bank_balance($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE pay;
EXECUTE look;
EXECUTE look_at('00000000-0000-7000-8000-000000000002');
SET ROLE regress_banking_customers;
EXECUTE pay;
EXECUTE look;
EXECUTE look_at('00000000-0000-7000-8000-000000000002');
SET ROLE NONE;
EXECUTE look;
-- A cursor shows what it would at its first FETCH; one WITH HOLD has its rows already, and the session had the right to them.
SET ROLE regress_banking_tellers;
DECLARE kept CURSOR WITH HOLD FOR SELECT balance FROM bank_accounts ORDER BY balance;
BEGIN;
DECLARE open CURSOR FOR SELECT balance FROM bank_accounts ORDER BY balance;
SET LOCAL ROLE regress_banking_customers;
FETCH ALL FROM open;
COMMIT;
SET ROLE regress_banking_customers;
FETCH 1 FROM kept;
RESET ROLE;
-- Revoked while it is prepared.
\c - :superuser
SET SESSION AUTHORIZATION regress_banking_alice;
PREPARE pay AS SELECT balance FROM bank_transfer('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000002', '1 HTG');
EXECUTE pay;
RESET SESSION AUTHORIZATION;
SELECT bank_revoke('regress_banking_customers', 'customer');
SET SESSION AUTHORIZATION regress_banking_alice;
EXECUTE pay;
RESET SESSION AUTHORIZATION;
SELECT bank_grant('regress_banking_customers', 'customer');

\c - regress_banking_alice

-- Functions, operators and casts in WHERE see rows of others neither by looking nor by failing.
CREATE FUNCTION attackers.saw(numeric, numeric) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE OPERATOR attackers.=== (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = attackers.saw, RESTRICT = eqsel);
CREATE TYPE attackers.seen AS (n numeric);
CREATE FUNCTION attackers.to_seen(numeric) RETURNS attackers.seen LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'cast %', $1; RETURN ROW($1); END $$;
SELECT balance FROM bank_accounts WHERE balance OPERATOR(attackers.===) 12300;
SELECT amount FROM bank_holds WHERE amount OPERATOR(attackers.===) 45;
SELECT amount FROM bank_transfers WHERE amount OPERATOR(attackers.===) 45;
-- Nor does the planner show its statistics to an operator.
\c - :superuser
ANALYZE bank.accounts, bank.holds;
\c - regress_banking_alice
CREATE FUNCTION attackers.saw(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE OPERATOR attackers.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = attackers.saw, RESTRICT = eqsel);
EXPLAIN (COSTS OFF, SUMMARY OFF, FORMAT JSON) SELECT account_id FROM bank_accounts WHERE currency OPERATOR(attackers.===) 'HTG' \g /dev/null
EXPLAIN (COSTS OFF, SUMMARY OFF, FORMAT JSON) SELECT hold_id FROM bank_holds WHERE currency OPERATOR(attackers.===) 'HTG' \g /dev/null
SELECT balance FROM bank_accounts WHERE attackers.to_seen(balance) IS NOT NULL;
SELECT count(*) FROM bank_accounts WHERE 1 / (balance - 12347)::integer IS NOT NULL;
SELECT count(*) FROM bank_accounts WHERE (owner_id::text || 'x')::uuid IS NULL;
SELECT count(*) FROM bank_holds WHERE 1 / (amount - 45)::integer IS NOT NULL;
SELECT count(*) FROM bank_accounts AS a CROSS JOIN (VALUES (12347), (45)) AS v (n) WHERE a.balance = v.n OR a.held = v.n;
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM bank_accounts LOOP
    RAISE NOTICE '%', r.balance;
  END LOOP;
END
$$;
COPY (SELECT balance FROM bank_accounts) TO STDOUT;
-- Neither do statistics.
\c - :superuser
ANALYZE bank.accounts, bank.events, bank.holds;
\c - regress_banking_alice
SELECT count(*) FROM pg_stats WHERE schemaname = 'bank' OR tablename LIKE 'bank\_%';
SELECT count(*) FROM pg_stats_ext WHERE schemaname = 'bank';
-- A plan tells how many rows were looked at, and nothing of what is in them: the owner is asked for in the same step as what she asks for.
CREATE FUNCTION attackers.removed(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  line text;
  lines text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
    lines := concat_ws(' ', lines, substring(line FROM 'Rows Removed by Filter: \d+'));
  END LOOP;
  RETURN lines;
END
$$;
SELECT attackers.removed(q) FROM unnest(ARRAY['version = 3', 'version = 4', 'currency = ''HTG''', 'currency = ''USD''', 'created_at > ''2000-01-01''', 'created_at < ''2000-01-01''', 'balance > 12000', 'balance < 12000',
  'held = 45', 'held = 0']) AS c, LATERAL (SELECT 'SELECT * FROM bank_accounts WHERE account_id = ''00000000-0000-7000-8000-000000000002'' AND ' || c) AS q (q);

-- Look-alikes of her own: temporary ones, casts, and overloads of the API, which the ledger itself never calls.
CREATE TEMP TABLE accounts AS SELECT 1 AS n;
CREATE TEMP TABLE events AS SELECT 1 AS n;
CREATE TEMP TABLE role_owners AS SELECT 'regress_banking_alice'::name AS role_name, '00000000-0000-7000-8000-000000000200'::uuid AS owner_id;
CREATE TEMP VIEW bank_accounts AS SELECT 1 AS n;
CREATE TYPE pg_temp.bank_money AS (n integer);
CREATE DOMAIN pg_temp.uuid AS text;
CREATE FUNCTION pg_temp.sees_all(text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION pg_temp.current_owner() RETURNS pg_catalog.uuid LANGUAGE sql AS $$ SELECT '00000000-0000-7000-8000-000000000200'::pg_catalog.uuid $$;
CREATE FUNCTION public.bank_account(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'look-alike called'; END $$;
CREATE FUNCTION public.bank_current_owner(text DEFAULT '') RETURNS pg_catalog.uuid LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'look-alike called'; END $$;
CREATE FUNCTION public.saw(public.bank_money, public.bank_money) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'look-alike called'; END $$;
CREATE OPERATOR public.= (LEFTARG = public.bank_money, RIGHTARG = public.bank_money, FUNCTION = public.saw);
CREATE OPERATOR public.=== (LEFTARG = public.bank_money, RIGHTARG = public.bank_money, FUNCTION = public.saw);
CREATE FUNCTION public.eq(pg_catalog.uuid, pg_catalog.uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'look-alike called'; END $$;
CREATE OPERATOR public.= (LEFTARG = pg_catalog.uuid, RIGHTARG = pg_catalog.uuid, FUNCTION = public.eq);
CREATE FUNCTION public.as_json(attackers.seen) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'cast by %', current_user; RETURN '{}'; END $$;
CREATE CAST (attackers.seen AS jsonb) WITH FUNCTION public.as_json(attackers.seen) AS IMPLICIT;
SET search_path = pg_temp, attackers, public, pg_catalog;
SELECT balance FROM public.bank_accounts;
SELECT balance FROM public.bank_transfer('00000000-0000-7000-8000-000000000001'::pg_catalog.uuid, '00000000-0000-7000-8000-000000000002', '1 HTG'::public.bank_money, metadata => ROW(1)::attackers.seen);
SELECT balance FROM public.bank_balance('00000000-0000-7000-8000-000000000002'::pg_catalog.uuid);
SELECT balance FROM public.bank_account('00000000-0000-7000-8000-000000000001'::pg_catalog.uuid);
SELECT count(*) FROM public.bank_transactions('00000000-0000-7000-8000-000000000001'::pg_catalog.uuid);
-- But who has CREATE in the API's schema is called there instead by somebody who writes no types.
SELECT public.bank_account('00000000-0000-7000-8000-000000000001');
RESET search_path;
-- Views of her own are hers: nothing can be written through them, and a rule on them is a rule on them.
CREATE VIEW attackers.mine AS SELECT account_id, balance FROM public.bank_accounts;
UPDATE attackers.mine SET balance = 1000000;
CREATE RULE raise AS ON UPDATE TO attackers.mine DO INSTEAD UPDATE public.bank_accounts SET balance = NEW.balance;
UPDATE attackers.mine SET balance = 1000000;
SELECT table_name, is_updatable, is_insertable_into, is_trigger_updatable FROM information_schema.views
WHERE table_schema = 'public' AND table_name LIKE 'bank\_%' AND 'YES' IN (is_updatable, is_insertable_into, is_trigger_updatable);

-- The locks of the ledger are no advisory locks, which anybody may take.
\c - :superuser
BEGIN;
SELECT count(account_id) FROM bank_create_account(a(100), 'EPARGNE', 'HTG', account_id => a(7));
SELECT count(event_id) FROM bank_deposit(a(1), '1 HTG', house_account => 'suspense', idempotency_key => 'lock');
SELECT locktype, count(*) > 0 AS held FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'object') GROUP BY 1;
ROLLBACK;

-- Hostile text in every member of a command in JSON: answers, no errors, and no change where the answer is no.
CREATE FUNCTION fuzz() RETURNS TABLE (state text, times bigint) LANGUAGE plpgsql AS $fuzz$
DECLARE
  command jsonb;
  member text;
  hostile jsonb;
  answer jsonb;
  before text;
  seen jsonb := '{}';
BEGIN
  FOR command IN SELECT c::jsonb FROM unnest(ARRAY[
    '{"command": "create_account", "owner_id": "00000000-0000-7000-8000-000000000100", "account_type": "COURANT", "currency": "HTG"}',
    '{"command": "deposit", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG"}', '{"command": "withdraw", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG"}',
    '{"command": "transfer", "from_account": "00000000-0000-7000-8000-000000000001", "to_account": "00000000-0000-7000-8000-000000000002", "amount": "1 HTG"}',
    '{"command": "hold", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG"}', '{"command": "release", "hold_id": "00000000-0000-7000-8000-000000000001"}',
    '{"command": "freeze", "account_id": "00000000-0000-7000-8000-000000000001"}', '{"command": "create_house_account", "house_account": "vault", "currency": "HTG"}']) AS c LOOP
    FOR member IN SELECT jsonb_object_keys(command) UNION SELECT unnest(ARRAY['idempotency_key', 'expected_version', 'occurred_at', 'metadata', 'house_account', 'account_id', 'overdraft_limit', 'expires_in', 'role', '']) LOOP
      FOR hostile IN SELECT to_jsonb(t) FROM unnest(ARRAY['''; DROP TABLE bank.events; --', '$$; DROP TABLE bank.events; $$', '%s%n%I%L%1$s', E'\x01\x7f\\', '\u0000', '${jndi}', repeat('x', 100000), 'NaN', '-1 HTG', '1e999 HTG', '"}', '../../etc', '٣ HTG'])
                                                        AS t UNION ALL SELECT unnest(ARRAY['null', '[]', '{}', '[[[[]]]]', '1e400', '-0', 'true', '{"a": {"b": [1, 2, null]}}']::jsonb[]) LOOP
        before := (SELECT format('%s %s', last_value, is_called) FROM bank.events_position_seq);
        BEGIN
          answer := bank_execute(command || jsonb_build_object(member, hostile));
        EXCEPTION WHEN OTHERS THEN
          answer := jsonb_build_object('code', SQLSTATE || ' raised for ' || member || left(hostile::text, 30));
        END;
        IF (answer ->> 'ok') IS DISTINCT FROM 'true' AND before <> (SELECT format('%s %s', last_value, is_called) FROM bank.events_position_seq) THEN
          answer := jsonb_build_object('code', 'changed');
        END IF;
        seen := seen || jsonb_build_object(coalesce(answer ->> 'code', 'done'), coalesce((seen ->> coalesce(answer ->> 'code', 'done'))::integer, 0) + 1);
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN QUERY SELECT key, value::bigint FROM jsonb_each_text(seen);
END
$fuzz$;
SELECT sum(times) > 1500 AS many, count(*) > 8 AS different FROM fuzz();
SELECT state FROM fuzz() WHERE state !~ '^(BK[0-9]{3}|done)$';

SELECT * FROM broken_invariants();
SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP SCHEMA attackers CASCADE;
DROP OWNED BY regress_banking_alice, regress_banking_jean, regress_banking_tellers, regress_banking_customers CASCADE;
DROP ROLE regress_banking_alice, regress_banking_jean, regress_banking_tellers, regress_banking_customers;
