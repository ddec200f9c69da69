-- Every function of the extension: volatility, strictness, parallel safety, whose rights it uses,
-- who may call it. A new function fails here until somebody has decided all that for it.
-- Needs a database of its own.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION banking;

BEGIN;
SELECT no_plan();

CREATE VIEW f AS
SELECT p.oid, p.oid::regprocedure AS name, p.proname, n.nspname, l.lanname, p.prokind, p.prosecdef, p.proconfig, p.proargnames,
       CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
       CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel, p.proisstrict AS strict,
       has_function_privilege('public', p.oid, 'EXECUTE') AS for_public
FROM pg_depend AS d
JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking'
JOIN pg_proc AS p ON p.oid = d.objid
JOIN pg_namespace AS n ON n.oid = p.pronamespace
JOIN pg_language AS l ON l.oid = p.prolang
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e';

-- What was decided. kind: command, query, maintenance, helper (of queries), internal, harmless.
CREATE TABLE decided (kind text, schema text, name text);
INSERT INTO decided SELECT 'command', 'public', unnest(ARRAY['bank_create_account', 'bank_create_house_account', 'bank_deposit',
  'bank_withdraw', 'bank_transfer', 'bank_transfer_to_number', 'bank_freeze', 'bank_unfreeze', 'bank_close', 'bank_set_limits', 'bank_post_transfers', 'bank_hold', 'bank_capture',
  'bank_release', 'bank_send', 'bank_cancel_transfer', 'bank_resolve_transfer', 'bank_receive', 'bank_cancel_received',
  'bank_approve', 'bank_reject', 'bank_execute', 'bank_execute_batch']);
INSERT INTO decided SELECT 'query', 'public', unnest(ARRAY['bank_account', 'bank_accounts_of', 'bank_account_exists', 'bank_balance',
  'bank_balance_at', 'bank_transactions', 'bank_statement', 'bank_account_events']);
INSERT INTO decided SELECT 'lookup', 'public', unnest(ARRAY['bank_transfer_status']);
INSERT INTO decided SELECT 'maintenance', 'public', unnest(ARRAY['bank_verify', 'bank_rebuild', 'bank_expire_holds']);
INSERT INTO decided SELECT 'helper', 'bank', unnest(ARRAY['require_account', 'logical_account', 'latest_business_time', 'version_at',
  'last_version_until', 'balance_at', 'overdraft_limit_at']);
INSERT INTO decided SELECT 'log', 'bank', unnest(ARRAY['log_denied']);
-- What an operator does and asks.
INSERT INTO decided SELECT 'operator', 'public', unnest(ARRAY['bank_subscribe', 'bank_change_subscription', 'bank_unsubscribe',
  'bank_pause_subscription', 'bank_resume_subscription', 'bank_rotate_secret', 'bank_replay', 'bank_retry_dead_letters',
  'bank_discard_dead_letters', 'bank_force_breaker', 'bank_relay_start', 'bank_relay_stop', 'bank_add_participant', 'bank_change_participant',
  'bank_remove_participant', 'bank_pause_participant', 'bank_resume_participant', 'bank_rotate_participant_secret', 'bank_force_participant_breaker']);
INSERT INTO decided SELECT 'operator query', 'public', unnest(ARRAY['bank_relay_status', 'bank_health']);
INSERT INTO decided SELECT 'feed', 'public', unnest(ARRAY['bank_feed', 'bank_feed_cursor']);
INSERT INTO decided SELECT 'feed helper', 'bank', unnest(ARRAY['feed', 'feed_cursor']);
INSERT INTO decided SELECT 'operator helper', 'bank', unnest(ARRAY['relay_status', 'relay_stop', 'relay_start', 'relay_note_created',
  'sink_check', 'refuse_subscription', 'check_subscription', 'decode_secret', 'encode_secret', 'start_cursor', 'lock_subscription',
  'refuse_participant', 'check_participant', 'participant_secret', 'lock_participant']);
-- What a participant gets at through the HTTP front, and what that stands on.
INSERT INTO decided SELECT 'door', 'public', unnest(ARRAY['bank_answer_participant']);
INSERT INTO decided SELECT 'door helper', 'bank', unnest(ARRAY['receive', 'cancel_received', 'transfer_answer', 'answer_receive', 'webhook_signed',
  'parse_money', 'participant_problem']);
-- Who may do what: for the ledger's owner alone; the marks of profiles; what tells a caller about itself.
INSERT INTO decided SELECT 'owner', 'public', unnest(ARRAY['bank_grant', 'bank_revoke', 'bank_map_owner', 'bank_unmap_owner', 'bank_remove_approval_threshold']);
INSERT INTO decided SELECT 'owner in C', 'public', unnest(ARRAY['bank_set_approval_threshold']);
INSERT INTO decided SELECT 'owner helper', 'bank', unnest(ARRAY['change_profile', 'profile_objects', 'sees_account', 'person']);
INSERT INTO decided SELECT 'profile', 'bank', unnest(ARRAY['auditor', 'teller', 'operator', 'customer']);
INSERT INTO decided SELECT 'oneself', 'bank', unnest(ARRAY['sees_all', 'current_owner']);
INSERT INTO decided SELECT 'oneself', 'public', unnest(ARRAY['bank_current_owner']);
-- Called by the server, or by views that a role may be allowed to read; they tell nobody anything by themselves.
INSERT INTO decided SELECT 'internal', 'bank', unnest(ARRAY['progress']);
-- Fired by the server, callable by nobody.
INSERT INTO decided SELECT 'trigger', 'bank', unnest(ARRAY['events_apply', 'events_refuse_change', 'events_stamp',
  'incarnations_skip', 'relay_note_change', 'relay_note_restore', 'relay_note_transfer', 'guard_drop']);
-- The money type, and what only computes on its arguments.
INSERT INTO decided SELECT 'harmless', 'public', unnest(ARRAY['bank_money', 'bank_amount', 'bank_currency', 'bank_money_allocate',
  'sum', 'min', 'max', 'bank_account_number_valid']);
INSERT INTO decided SELECT 'harmless', 'bank', unnest(ARRAY['minor_to_numeric', 'minor_to_text', 'money_in', 'money_out', 'money_recv',
  'money_send', 'money_add', 'money_subtract', 'money_multiply', 'multiply_money', 'money_eq', 'money_ne', 'money_lt', 'money_le',
  'money_gt', 'money_ge', 'money_order', 'money_order_lt', 'money_order_le', 'money_order_gt', 'money_order_ge', 'money_sortsupport',
  'money_hash', 'money_hash_extended', 'money_smaller', 'money_larger', 'money_ltsel', 'money_lesel', 'money_gtsel', 'money_gesel']);

SELECT is_empty($$SELECT f.name FROM f LEFT JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname WHERE d.name IS NULL$$,
                'every function has been decided on');
SELECT is_empty($$SELECT d.schema, d.name FROM decided AS d LEFT JOIN f ON d.schema = f.nspname AND d.name = f.proname WHERE f.name IS NULL$$,
                'what was decided on is there');
SELECT is_empty($$SELECT nspname, proname FROM f WHERE prokind <> 'a' GROUP BY 1, 2 HAVING count(*) > 1$$, 'no overloads');
SELECT is_empty($$SELECT f.name FROM f JOIN pg_proc AS p USING (oid) WHERE p.provariadic <> 0 OR (p.prorettype = 'record'::regtype AND p.proallargtypes IS NULL)$$,
                'no VARIADIC, no untyped record');

-- Who may call it.
SELECT is_empty($$SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
                  WHERE f.for_public <> (d.kind IN ('harmless', 'internal', 'oneself'))$$, 'PUBLIC may call what is harmless, and nothing else');
SELECT is_empty($$SELECT f.name FROM f, pg_proc AS p WHERE p.oid = f.oid AND p.proacl IS NOT NULL
                  AND EXISTS (SELECT FROM aclexplode(p.proacl) AS a WHERE a.grantee NOT IN (0, p.proowner))$$,
                'nobody else has been granted anything');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class AS c WHERE c.relkind IN ('r', 'v', 'S') AND (c.relnamespace = 'bank'::regnamespace OR c.relname LIKE 'bank\_%')
                  AND EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner)$$,
                'nobody but the owner has a right on tables, views and sequences');

-- Whose rights it uses, and where it finds names.
SELECT is_empty($$SELECT name FROM f WHERE prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$,
                'SECURITY DEFINER comes with a fixed search_path');
SELECT is_empty($$SELECT name FROM f WHERE lanname IN ('sql', 'plpgsql') AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$,
                'what is written in SQL or PL/pgSQL has a fixed search_path');
SELECT is_empty($$SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
                  WHERE f.prosecdef <> (d.kind IN ('query', 'lookup', 'feed', 'operator', 'operator query', 'door', 'owner'))$$,
                'queries, what an operator or the owner calls and the door of participants, and only they, are SECURITY DEFINER');

-- Volatility, strictness, parallel safety.
CREATE FUNCTION odd(kind text, volatility text, parallel text, strict boolean, except_names text[] DEFAULT '{}') RETURNS SETOF regprocedure
LANGUAGE sql AS $$
  SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
  WHERE d.kind = odd.kind AND f.prokind = 'f' AND f.proname <> ALL (except_names)
    AND (f.volatility, f.parallel, f.strict) IS DISTINCT FROM (odd.volatility, odd.parallel, odd.strict)
$$;
SELECT is_empty($$SELECT odd('command', 'volatile', 'unsafe', false, '{bank_execute,bank_execute_batch}')$$, 'commands are volatile, parallel unsafe, and tell a missing argument');
SELECT is_empty($$SELECT odd('query', 'stable', 'safe', false)$$, 'queries are stable, parallel safe, and tell a missing argument');
SELECT is_empty($$SELECT odd('helper', 'stable', 'safe', false)$$, 'their helpers are too');
SELECT is_empty($$SELECT odd('log', 'volatile', 'safe', true)$$, 'but for what writes into the log');
SELECT is_empty($$SELECT odd('operator', 'volatile', 'unsafe', false)$$, 'what an operator does is volatile and parallel unsafe');
SELECT is_empty($$SELECT odd('operator query', 'stable', 'restricted', false)$$, 'what an operator asks is stable; shared memory is the leader''s');
SELECT is(ARRAY(SELECT format('%s %s %s %s', f.proname, f.volatility, f.parallel, f.strict) FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
                WHERE d.kind = 'operator helper' ORDER BY 1),
          ARRAY['check_participant volatile unsafe f', 'check_subscription volatile unsafe f', 'decode_secret volatile safe f', 'encode_secret immutable safe f',
                'lock_participant volatile unsafe f', 'lock_subscription volatile unsafe f', 'participant_secret volatile safe f',
                'refuse_participant immutable safe f', 'refuse_subscription immutable safe f', 'relay_note_created volatile unsafe f',
                'relay_start volatile unsafe f', 'relay_status stable restricted f', 'relay_stop volatile unsafe f',
                'sink_check volatile unsafe t', 'start_cursor volatile unsafe f'], 'their helpers, one by one');
SELECT is_empty($$SELECT odd('lookup', 'stable', 'safe', true)$$, 'a look at a transfer is stable and parallel safe; null is not known');
SELECT is_empty($$SELECT odd('door', 'volatile', 'unsafe', false)$$, 'the door of participants is volatile and parallel unsafe');
SELECT is(ARRAY(SELECT format('%s %s %s %s', f.proname, f.volatility, f.parallel, f.strict) FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
                WHERE d.kind = 'door helper' ORDER BY 1),
          ARRAY['answer_receive volatile unsafe f', 'cancel_received volatile unsafe f', 'parse_money stable safe f', 'participant_problem immutable safe f',
                'receive volatile unsafe f', 'transfer_answer stable safe f', 'webhook_signed stable safe t'], 'its helpers, one by one');
SELECT is_empty($$SELECT odd('owner', 'volatile', 'unsafe', false) UNION ALL SELECT odd('owner in C', 'volatile', 'unsafe', false)$$, 'what gives rights is volatile and parallel unsafe');
SELECT is_empty($$SELECT odd('profile', 'immutable', 'safe', false)$$, 'marks of profiles do nothing');
SELECT is_empty($$SELECT odd('oneself', 'stable', 'safe', false, '{sees_all}') UNION ALL SELECT name FROM f WHERE proname = 'sees_all' AND (volatility, parallel, strict) IS DISTINCT FROM ('stable', 'safe', true)$$,
                'what tells a caller about itself is stable and parallel safe');
SELECT is_empty($$SELECT odd('feed', 'stable', 'unsafe', false)$$, 'the feed is stable, and flushes WAL');
SELECT is_empty($$SELECT odd('feed helper', 'stable', 'unsafe', false)$$, 'so are its helpers');
SELECT is_empty($$SELECT odd('harmless', 'immutable', 'safe', true, '{money_ltsel,money_lesel,money_gtsel,money_gesel}')$$, 'the rest is immutable, strict and parallel safe');
SELECT is_empty($$SELECT name FROM f WHERE proname ~ '^money_(lt|le|gt|ge)sel$' AND (volatility, parallel, strict) IS DISTINCT FROM ('stable', 'safe', true)$$,
                'estimators are stable, strict and parallel safe');
SELECT is_empty($$SELECT name FROM f WHERE prokind = 'a' AND (volatility, parallel) IS DISTINCT FROM ('immutable', 'safe')$$, 'aggregates are immutable and parallel safe');
SELECT is(ARRAY(SELECT format('%s %s %s %s', proname, volatility, parallel, strict) FROM f WHERE proname IN ('bank_verify', 'bank_rebuild', 'bank_expire_holds') ORDER BY 1),
          ARRAY['bank_expire_holds volatile unsafe t', 'bank_rebuild volatile unsafe f', 'bank_verify stable unsafe f'],
          'verifying is stable, rebuilding volatile, expiring volatile');
SELECT is(ARRAY(SELECT format('%s %s %s %s', proname, volatility, parallel, strict) FROM f WHERE proname IN ('bank_execute', 'bank_execute_batch') ORDER BY 1),
          ARRAY['bank_execute volatile unsafe t', 'bank_execute_batch volatile unsafe t'], 'commands as JSON are volatile and parallel unsafe; null gives null');
SELECT is_empty($$SELECT odd('trigger', 'volatile', 'unsafe', false)$$, 'trigger functions are volatile and parallel unsafe');
SELECT is_empty($$SELECT name FROM f WHERE lanname NOT IN ('c', 'sql', 'plpgsql', 'internal')$$, 'no other languages are needed');

-- The signatures that PostgREST and PostGraphile rely on: names of the common options, all with defaults, after what is required.
SELECT is_empty($$
  SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname JOIN pg_proc AS p USING (oid)
  WHERE d.kind = 'command' AND f.proname NOT IN ('bank_post_transfers', 'bank_execute', 'bank_execute_batch')
    AND NOT (array_to_string(f.proargnames, ' ') ~ ' expected_version idempotency_key occurred_at metadata( |$)'
             OR array_to_string(f.proargnames, ' ') ~ '^(account_id) expected_version idempotency_key occurred_at metadata( |$)')$$,
  'commands take expected_version, idempotency_key, occurred_at and metadata, in this order');
SELECT is_empty($$
  SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname JOIN pg_proc AS p USING (oid)
  WHERE d.kind = 'command' AND f.proname NOT IN ('bank_post_transfers', 'bank_execute', 'bank_execute_batch')
    AND p.pronargs - p.pronargdefaults <> array_position(f.proargnames, 'expected_version') - 1$$,
  'required arguments stand before the options, everything after them has a default');
SELECT is_empty($$
  SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname JOIN pg_proc AS p USING (oid)
  WHERE d.kind = 'operator' AND p.pronargs > 0
    AND (f.proargnames[1] <> 'name'
         OR p.pronargs - p.pronargdefaults <> CASE WHEN f.proname IN ('bank_subscribe', 'bank_force_breaker', 'bank_add_participant',
                                                                      'bank_force_participant_breaker') THEN 2 ELSE 1 END)$$,
  'what an operator calls takes the name of a subscription or participant first; the rest has defaults, but a URL and a state');
SELECT is_empty($$
  SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname
  WHERE d.kind IN ('feed', 'operator') AND f.proname <> 'bank_relay_stop'
    AND obj_description(f.oid, 'pg_proc') !~ ' Errors: [0-9A-Z]{5}(, [0-9A-Z]{5})*( when [^.]*)?\.( |$)'$$,
  'their comments list their errors');
SELECT is_empty($$SELECT f.name FROM f JOIN decided AS d ON d.schema = f.nspname AND d.name = f.proname JOIN pg_proc AS p USING (oid)
                  WHERE d.kind IN ('command', 'query', 'feed', 'operator') AND f.proargnames IS NULL AND p.pronargs > 0 AND f.proname <> 'bank_execute'$$,
                'every argument has a name, but the one that is a whole HTTP request for PostgREST');
SELECT is_empty($$SELECT f.name FROM f JOIN pg_proc AS p USING (oid)
                  WHERE f.proname IN ('bank_create_account', 'bank_create_house_account', 'bank_account') AND p.prorettype <> 'bank_accounts'::regtype
                     OR f.proname IN ('bank_deposit', 'bank_withdraw', 'bank_transfer', 'bank_transfer_to_number', 'bank_freeze', 'bank_unfreeze', 'bank_close', 'bank_set_limits',
                                    'bank_hold', 'bank_capture', 'bank_release', 'bank_approve', 'bank_reject')
                        AND p.prorettype <> 'bank_receipt'::regtype
                     OR f.proname IN ('bank_cancel_transfer', 'bank_resolve_transfer', 'bank_receive', 'bank_cancel_received', 'bank_transfer_status')
                        AND p.prorettype <> 'bank_transfers'::regtype
                     OR f.proname = 'bank_send' AND p.prorettype <> 'uuid'::regtype$$, 'commands return an account, a receipt or a transfer');

-- The money type.
SELECT is((SELECT format('%s %s %s %s', typlen, typbyval, typalign, typstorage) FROM pg_type WHERE typname = 'bank_money'), '16 f d p', 'bank_money has 16 bytes');
SELECT is(ARRAY(SELECT amname::text FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod WHERE opcintype = 'bank_money'::regtype AND opcdefault ORDER BY 1),
          ARRAY['btree', 'hash'], 'it has one default operator class for btree and one for hash');
SELECT is_empty($$SELECT o.oid::regoperator FROM pg_operator AS o JOIN pg_amop AS a ON a.amopopr = o.oid
                  WHERE o.oprname IN ('<', '<=', '>=', '>') AND o.oprleft = 'bank_money'::regtype$$,
                'operators that can fail are in no operator class');
SELECT is(ARRAY(SELECT format('%s %s %s', castsource::regtype, casttarget::regtype, castcontext) FROM pg_cast WHERE 'bank_money'::regtype IN (castsource, casttarget)),
          ARRAY['bank_money numeric e'], 'the only cast is explicit, to numeric');

SELECT * FROM finish();
ROLLBACK;
