-- Who may call which function and read which view: everything of the API, for each profile and for
-- PUBLIC. A new function or view fails here until somebody has decided that. Needs a database of its own.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION banking;

BEGIN;
SELECT no_plan();
CREATE ROLE pgtap_banking_nobody;
CREATE ROLE pgtap_banking_auditor;
CREATE ROLE pgtap_banking_teller;
CREATE ROLE pgtap_banking_operator;
CREATE ROLE pgtap_banking_customer;
SELECT bank_grant('pgtap_banking_' || p, p) FROM unnest(ARRAY['auditor', 'teller', 'operator', 'customer']) AS p \g /dev/null

-- The functions and views of the API, with what is a right on them; the money type and what only computes apart.
CREATE VIEW object AS
SELECT p.oid::regprocedure::text AS name, p.proname, p.oid AS function, NULL::oid AS view
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking' JOIN pg_proc AS p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.pronamespace = 'public'::regnamespace
  AND p.proname NOT IN ('bank_money', 'bank_amount', 'bank_currency', 'bank_money_allocate', 'sum', 'min', 'max', 'bank_account_number_valid')
UNION ALL
SELECT c.relname, c.relname, NULL, c.oid
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking' JOIN pg_class AS c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relnamespace = 'public'::regnamespace AND c.relkind = 'v';

CREATE FUNCTION has(role text, function oid, view oid) RETURNS boolean LANGUAGE sql AS $$
  SELECT CASE WHEN view IS NULL THEN has_function_privilege(role, function, 'EXECUTE') ELSE has_table_privilege(role, view, 'SELECT') END
$$;

-- What was decided: a auditor, t teller, o operator, c customer, p PUBLIC.
SELECT is(ARRAY(
  SELECT concat_ws(' ', o.proname::text, nullif(concat(CASE WHEN has('pgtap_banking_auditor', function, view) THEN 'a' END,
    CASE WHEN has('pgtap_banking_teller', function, view) THEN 't' END, CASE WHEN has('pgtap_banking_operator', function, view) THEN 'o' END,
    CASE WHEN has('pgtap_banking_customer', function, view) THEN 'c' END, CASE WHEN has('public', function, view) THEN 'p' END), ''))
  FROM object AS o ORDER BY o.proname::text COLLATE "C"), ARRAY[
  'bank_account atc', 'bank_account_events at', 'bank_account_exists atc', 'bank_accounts atc', 'bank_accounts_of atc', 
  'bank_add_participant o', 'bank_answer_participant', 'bank_approval_thresholds ato', 'bank_approvals at', 'bank_approve t', 
  'bank_balance atc', 'bank_balance_at atc', 'bank_cancel_received t', 
  'bank_cancel_transfer tc', 'bank_capture tc', 'bank_change_participant o', 'bank_change_subscription o', 'bank_close t', 
  'bank_create_account tc', 'bank_create_house_account t', 'bank_current_owner atocp', 'bank_dead_letters ao', 
  'bank_deliveries ao', 'bank_deposit t', 'bank_discard_dead_letters o', 'bank_events at', 'bank_execute t', 
  'bank_execute_batch t', 'bank_expire_holds to', 'bank_feed a', 'bank_feed_cursor a', 'bank_force_breaker o', 
  'bank_force_participant_breaker o', 'bank_freeze t', 'bank_grant', 'bank_grants ao', 'bank_health ao', 'bank_hold tc', 
  'bank_holds atc', 'bank_map_owner', 'bank_participants ao', 'bank_pause_participant o', 'bank_pause_subscription o', 'bank_pending_approvals at', 
  'bank_post_transfers t', 'bank_progress ao', 'bank_rebuild o', 'bank_receive t', 'bank_reject t', 'bank_relay_start o', 
  'bank_relay_status ao', 'bank_relay_stop o', 'bank_release tc', 'bank_remove_approval_threshold', 'bank_remove_participant o', 'bank_replay o', 
  'bank_resolve_transfer t', 'bank_resume_participant o', 'bank_resume_subscription o', 'bank_retry_dead_letters o', 
  'bank_revoke', 'bank_rotate_participant_secret o', 'bank_rotate_secret o', 'bank_send tc', 'bank_set_approval_threshold', 'bank_set_limits t', 
  'bank_statement atc', 'bank_subscribe o', 'bank_subscriptions ao', 'bank_transactions atc', 'bank_transfer tc', 
  'bank_transfer_status atoc', 'bank_transfer_to_number tc', 'bank_transfers atoc', 'bank_trial_balance a', 'bank_unfreeze t', 'bank_unmap_owner', 
  'bank_unsubscribe o', 'bank_verify ao', 'bank_withdraw t'], 'every function and view of the API, for every profile and for PUBLIC');
SELECT is_empty($$SELECT name FROM object WHERE has('pgtap_banking_nobody', function, view) AND proname <> 'bank_current_owner'$$,
                'a role without a profile has nothing');

-- Schema bank is for nobody.
SELECT is_empty($$SELECT r.rolname FROM pg_roles AS r WHERE r.rolname LIKE 'pgtap\_banking\_%'
                  AND (has_schema_privilege(r.oid, 'bank', 'USAGE') OR has_schema_privilege(r.oid, 'bank', 'CREATE'))$$,
                'no profile gives a right on schema bank');
SELECT is_empty($$SELECT r.rolname, c.oid::regclass FROM pg_roles AS r, pg_class AS c
                  WHERE r.rolname LIKE 'pgtap\_banking\_%' AND c.relnamespace = 'bank'::regnamespace AND c.relkind IN ('r', 'v', 'S')
                  AND (c.relkind <> 'S' AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                       OR c.relkind = 'S' AND has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE'))$$,
                'nor on a table, view or sequence of it');
SELECT is_empty($$SELECT r.rolname, o.name FROM pg_roles AS r, object AS o WHERE r.rolname LIKE 'pgtap\_banking\_%' AND view IS NOT NULL
                  AND has_table_privilege(r.oid, view, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')$$, 'views are read only');

-- bank_revoke takes what no other profile gives.
SELECT bank_grant('pgtap_banking_auditor', 'operator') \g /dev/null
SELECT bank_revoke('pgtap_banking_auditor', 'auditor') \g /dev/null
SELECT is_empty($$SELECT name FROM object WHERE has('pgtap_banking_auditor', function, view) <> has('pgtap_banking_operator', function, view)$$,
                'an auditor who became an operator has an operator''s rights');
SELECT bank_revoke('pgtap_banking_' || p, p) FROM unnest(ARRAY['teller', 'operator', 'customer']) AS p \g /dev/null
SELECT bank_revoke('pgtap_banking_auditor', 'operator') \g /dev/null
SELECT is_empty($$SELECT r.rolname, o.name FROM pg_roles AS r, object AS o WHERE r.rolname LIKE 'pgtap\_banking\_%'
                  AND has(r.rolname, function, view) AND proname <> 'bank_current_owner'$$, 'without a profile nothing is left');
SELECT is_empty('SELECT * FROM bank_grants', 'nor is there a mark');
SELECT throws_ok($$SELECT bank_grant('pgtap_banking_nobody', 'owner')$$, '22023', 'unknown profile', 'there are four profiles');
SELECT throws_ok($$SELECT bank_grant('pgtap_banking_missing', 'teller')$$, '42704', NULL, 'and a role must be there');

SELECT * FROM finish();
ROLLBACK;
