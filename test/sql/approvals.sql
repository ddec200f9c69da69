-- Four eyes: above a currency's threshold a teller's command becomes a request, which somebody else
-- approves or rejects, once and in time; the command is decided again then.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_banking_tellers;
CREATE ROLE regress_banking_jean IN ROLE regress_banking_tellers;
CREATE ROLE regress_banking_marie IN ROLE regress_banking_tellers;
CREATE ROLE regress_banking_auditor;
CREATE ROLE regress_banking_operator;
CREATE ROLE regress_banking_alice;
SELECT bank_grant('regress_banking_tellers', 'teller'), bank_grant('regress_banking_auditor', 'auditor'),
  bank_grant('regress_banking_operator', 'operator'), bank_grant('regress_banking_alice', 'customer');
SELECT bank_map_owner('regress_banking_alice', a(100));
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(2), balance_limit => '50000 HTG');
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'USD', account_id => a(3));

-- Off as long as there is no threshold.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type, balance FROM bank_deposit(a(1), '10000 HTG');
SELECT bank_set_approval_threshold('1 HTG');
RESET SESSION AUTHORIZATION;
SELECT bank_set_approval_threshold('-1 HTG');
SELECT bank_set_approval_threshold(NULL);
SELECT bank_set_approval_threshold('1 HTG', '0');
SELECT bank_set_approval_threshold('1 HTG', '20 years');
SELECT bank_set_approval_threshold('500 HTG'), bank_set_approval_threshold('1000 HTG', '3 days');
SELECT currency, threshold, expires_in, changed_by = session_user AS by_me FROM bank_approval_thresholds;

-- What is not above it is done at once, in other currencies everything.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type, balance FROM bank_deposit(a(1), '1000 HTG');
SELECT event_type, balance FROM bank_deposit(a(3), '5000 USD');
-- What is above it moves nothing. The client is told.
SET client_min_messages = notice;
SELECT event_type, account_id = a(1) AS names_the_account, amount, currency, balance, version, replayed
FROM bank_deposit(a(1), '1000.01 HTG', idempotency_key => 'large', metadata => '{"note": "x"}');
SET client_min_messages = warning;
SELECT balance, version FROM bank_balance(a(1));
SELECT command, account_id = a(1) AS of_the_account, amount, currency, request, requested_by, expires_at - requested_at AS lasts FROM bank_pending_approvals;
-- The key's outcome is the request.
SELECT event_type, replayed, event_id = (SELECT request_id FROM bank_pending_approvals) AS the_same
FROM bank_deposit(a(1), '1000.01 HTG', idempotency_key => 'large');
SELECT bank_deposit(a(1), '1000.02 HTG', idempotency_key => 'large');
SELECT request_id AS request FROM bank_pending_approvals \gset

-- Who has asked for it cannot approve it, in no role and by no name.
SELECT bank_approve(:'request');
SET ROLE regress_banking_tellers;
SELECT bank_approve(:'request');
RESET ROLE;
SET application_name = 'somebody else';
SELECT bank_approve(:'request');
RESET application_name;
PREPARE approve AS SELECT bank_approve($1);
EXECUTE approve(:'request');
DEALLOCATE approve;
RESET SESSION AUTHORIZATION;
-- A role that stands for the same owner is the same person.
SELECT bank_map_owner('regress_banking_jean', a(300)), bank_map_owner('regress_banking_marie', a(300));
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'request');
RESET SESSION AUTHORIZATION;
SELECT bank_unmap_owner('regress_banking_jean'), bank_unmap_owner('regress_banking_marie');
-- Others have no right to.
SET SESSION AUTHORIZATION regress_banking_auditor;
SELECT bank_approve(:'request');
SELECT count(*) FROM bank_pending_approvals;
SET SESSION AUTHORIZATION regress_banking_operator;
SELECT bank_approve(:'request');
SELECT count(*) FROM bank_pending_approvals;
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT bank_approve(:'request');
SELECT count(*) FROM bank_pending_approvals;

-- Somebody else can, once. The event is that of a command, with who has approved it as its actor.
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'request', expected_version => 2);
SELECT event_type, account_id = a(1) AS names_the_account, amount, balance, version, replayed
FROM bank_approve(:'request', expected_version => 1, idempotency_key => 'yes', occurred_at => '2026-01-01 00:00+00', metadata => '{"why": "known"}');
SELECT event_type, amount, balance, version, replayed
FROM bank_approve(:'request', expected_version => 1, idempotency_key => 'yes', occurred_at => '2026-01-01 00:00+00');
SELECT bank_approve(:'request') IS NULL;
SELECT bank_reject(:'request', 'too late') IS NULL;
SELECT state, command, amount, requested_by, decided_by, reason, event_id IS NOT NULL AS has_event FROM bank_approvals;
SELECT count(*) FROM bank_pending_approvals;
SELECT event_type, version, event_data - 'request_id' - 'transaction_id' - 'expires_at' - 'account_id' - 'result_aggregate_id' AS event_data,
  replace(metadata::text, :'request', '<request>') AS metadata, actor ->> 'session_user' AS by, occurred_at < '2026-02-01' AS business_time
FROM bank_events WHERE position >= (SELECT min(position) FROM bank_events WHERE event_type = 'approval.requested') ORDER BY position;

-- What would be refused is refused at once; and again when it is approved, which leaves the request.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT bank_withdraw(a(1), '100000 HTG') IS NULL;
SELECT bank_withdraw(a(9), '100000 HTG') IS NULL;
SELECT event_type FROM bank_withdraw(a(1), '12000 HTG') \gset
SELECT request_id AS request FROM bank_pending_approvals \gset
SELECT event_type FROM bank_withdraw(a(1), '1 HTG', idempotency_key => 'small');
SELECT count(*) FROM bank_withdraw(a(1), '900 HTG');
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'request');
SELECT state, command FROM bank_approvals WHERE request_id = :'request';
SELECT balance FROM bank_deposit(a(1), '901 HTG');
SELECT event_type, balance FROM bank_approve(:'request');

-- A version that the requester has seen counts when it is approved.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT bank_deposit(a(2), '20000 HTG', expected_version => 2) IS NULL;
SELECT count(*) FROM bank_deposit(a(2), '20000 HTG', expected_version => 1);
SELECT count(*) FROM bank_deposit(a(2), '100 HTG');
SELECT request_id AS request FROM bank_pending_approvals \gset
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'request');
-- Rejected: with a reason, once; who has made it takes it back so.
SELECT bank_reject(:'request', NULL);
SELECT bank_reject(:'request', '');
SELECT event_type, account_id = a(2) AS names_the_account, amount, balance, version FROM bank_reject(:'request', 'the account has moved on');
SELECT bank_reject(:'request', 'again') IS NULL;
SELECT bank_approve(:'request') IS NULL;
SELECT state, decided_by, reason FROM bank_approvals WHERE request_id = :'request';
SELECT bank_approve(a(77));
SELECT bank_reject(a(77), 'unknown');
SELECT bank_approve(NULL);
SELECT count(*) FROM bank_deposit(a(2), '20000 HTG');
SELECT request_id AS request FROM bank_pending_approvals \gset
SELECT event_type FROM bank_reject(:'request', 'my mistake');

-- Every command that moves or reserves money, or lends it; as a function and as JSON.
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM bank_deposit(a(1), '20000 HTG');
SELECT event_id AS hold FROM bank_hold(a(1), '3000 HTG') \gset
SELECT count(*) FROM bank_add_participant('other', 'https://other.example/');
SELECT bank_pause_participant('other');
SELECT state FROM bank_receive(a(50), a(2), '4000 HTG', participant => 'other');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1001 HTG');
SELECT event_type FROM bank_withdraw(a(1), '1002 HTG', occurred_at => '2026-10-01 12:00+00');
SELECT event_type FROM bank_transfer(a(1), a(2), '1003 HTG');
SELECT event_type FROM bank_hold(a(1), '1004 HTG', expires_in => '2 days 3 hours');
SELECT event_type, account_id = a(1) AS names_the_account FROM bank_capture(:'hold');
SELECT event_type FROM bank_capture(:'hold', amount => '1005 HTG', to_account => a(2));
SELECT event_type FROM bank_set_limits(a(1), overdraft_limit => '1006 HTG', balance_limit => '100000 HTG');
SELECT bank_send(a(1), '1007 HTG', 'other', 'a "quoted" | destination') IS NOT NULL AS request_id;
SELECT transfer_id = a(51) AS the_one, state FROM bank_receive(a(51), a(1), '1008 HTG');
SELECT transfer_id = a(50) AS the_one, state FROM bank_cancel_received(a(50));
SELECT bank_execute(jsonb_build_object('command', 'transfer', 'from_account', a(1), 'to_account', a(2), 'amount', '1009 HTG', 'metadata', '{"causation_id": "mine"}'::jsonb))
  - '{event_id,request_id,position,recorded_at}'::text[];
-- What returns an account cannot say so, nor can a row of a batch: that is refused.
SELECT bank_create_account(a(200), 'COURANT', 'HTG', overdraft_limit => '1001 HTG') IS NULL;
SELECT ok, code, message, detail FROM bank_post_transfers(ARRAY[a(1), a(1)], ARRAY[a(2), a(2)], ARRAY['1000 HTG', '1000.01 HTG']::bank_money[]);
-- A key that stands for a request is not an order that was posted; its chain falls with it.
SELECT event_type FROM bank_transfer(a(1), a(2), '1011 HTG', idempotency_key => 'waits');
SELECT ok, code, event_id, replayed FROM bank_post_transfers(ARRAY[a(2), a(1)], ARRAY[a(1), a(2)], ARRAY['1 HTG', '1011 HTG']::bank_money[], ARRAY[NULL, 'waits'], linked => ARRAY[true, false]);
SELECT event_type FROM bank_reject((SELECT request_id FROM bank_pending_approvals WHERE amount = 1011), 'a test');
-- A key of before the threshold answers with what was done then.
RESET SESSION AUTHORIZATION;
SELECT bank_set_approval_threshold('5000 HTG', '3 days');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT version FROM bank_create_account(a(200), 'COURANT', 'HTG', overdraft_limit => '1012 HTG', idempotency_key => 'lent');
RESET SESSION AUTHORIZATION;
SELECT bank_set_approval_threshold('1000 HTG', '3 days');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT version FROM bank_create_account(a(200), 'COURANT', 'HTG', overdraft_limit => '1012 HTG', idempotency_key => 'lent');
-- Money that came from another ledger and is spent cannot be asked back.
SELECT state FROM bank_receive(a(62), a(3), '900 USD');
RESET SESSION AUTHORIZATION;
SELECT bank_set_approval_threshold('500 USD'), count(*) FROM bank_withdraw(a(3), '5800 USD');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT bank_cancel_received(a(62)) IS NULL;
RESET SESSION AUTHORIZATION;
SELECT bank_remove_approval_threshold('USD');
SET SESSION AUTHORIZATION regress_banking_jean;
-- What takes nothing does not become a request.
SELECT event_type FROM bank_set_limits(a(2), overdraft_limit => '10 HTG', remove_balance_limit => true);
SELECT command, amount, account_id IN (a(1), a(2)) AS of_an_account,
  replace(replace((request - 'command' - 'amount')::text, :'hold', '<hold>'), '00000000-0000-7000-8000-0000000000', '') AS request
FROM bank_pending_approvals ORDER BY requested_at;
RESET SESSION AUTHORIZATION;
-- All of them can be approved, in any order; of two that capture one hold the first.
CREATE FUNCTION approve(request_id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  r := bank_approve(request_id);
  RETURN concat_ws(' ', r.event_type, r.amount, r.balance);
EXCEPTION WHEN OTHERS THEN
  RETURN concat_ws(' ', SQLSTATE, SQLERRM);
END
$$;
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT p.command, p.amount, approve(p.request_id) FROM (SELECT * FROM bank_pending_approvals ORDER BY requested_at OFFSET 0) AS p;
SELECT command, amount FROM bank_pending_approvals;
SELECT transfer_id = a(51) AS received, direction, state, amount, destination FROM bank_transfers WHERE amount > 1006 AND amount <> 2000 ORDER BY amount;
SELECT amount, expires_at - created_at AS lasts FROM bank_holds WHERE amount = 1004;
SELECT available - balance + held AS overdraft FROM bank_accounts WHERE account_id = a(1);
SELECT metadata ->> 'causation_id' IN (SELECT request_id::text FROM bank_approvals WHERE amount = 1009) AS by_the_request FROM bank_events WHERE event_data ->> 'amount' = '1009.00' AND event_type = 'transfer.completed';
RESET SESSION AUTHORIZATION;
SELECT invariant, failures, detail FROM bank_verify() WHERE NOT ok;

-- One transfer that is asked for twice comes once, and is approved once.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT count(bank_receive(a(52), a(1), '1013 HTG')) FROM generate_series(1, 2);
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT p.command, p.amount, approve(p.request_id) FROM (SELECT * FROM bank_pending_approvals WHERE amount = 1013 ORDER BY requested_at OFFSET 0) AS p;
SELECT event_type FROM bank_reject((SELECT request_id FROM bank_pending_approvals WHERE amount = 1013), 'it has come');
SELECT count(bank_cancel_received(a(52))) FROM generate_series(1, 2);
RESET SESSION AUTHORIZATION;
SELECT p.command, p.amount, approve(p.request_id) FROM (SELECT * FROM bank_pending_approvals WHERE amount = 1013 ORDER BY requested_at OFFSET 0) AS p;
SELECT event_type FROM bank_reject((SELECT request_id FROM bank_pending_approvals WHERE amount = 1013), 'it has gone');
SELECT invariant, failures, detail FROM bank_verify() WHERE NOT ok;

-- Customers and the ledger's owner ask nobody.
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT event_type FROM bank_transfer(a(1), a(2), '1500 HTG');
RESET SESSION AUTHORIZATION;
SELECT event_type FROM bank_deposit(a(1), '1500 HTG');
SET ROLE regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1500 HTG');
-- A superuser who sets the role is still the one who has asked.
SET ROLE regress_banking_marie;
SELECT request_id AS request FROM bank_pending_approvals WHERE amount = 1500 \gset
SELECT bank_approve(:'request');
RESET ROLE;
SELECT event_type FROM bank_reject(:'request', 'a test');
-- Asking and approving take rights of one's own: a function of a teller's lends them to nobody.
CREATE FUNCTION ask() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT event_type FROM bank_deposit(a(1), '1560 HTG') $$;
CREATE FUNCTION ask_json() RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$
  SELECT bank_execute(jsonb_build_object('command', 'deposit', 'account_id', a(1), 'amount', '1560 HTG')) - 'hint' $$;
CREATE FUNCTION approve_it() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT event_type FROM bank_approve((SELECT max(request_id::text)::uuid FROM bank_pending_approvals)) $$;
CREATE FUNCTION reject_it() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT event_type FROM bank_reject((SELECT max(request_id::text)::uuid FROM bank_pending_approvals), 'x') $$;
ALTER FUNCTION ask() OWNER TO regress_banking_jean;
ALTER FUNCTION ask_json() OWNER TO regress_banking_jean;
ALTER FUNCTION approve_it() OWNER TO regress_banking_marie;
ALTER FUNCTION reject_it() OWNER TO regress_banking_marie;
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT ask();
SET SESSION AUTHORIZATION regress_banking_auditor;
SELECT ask();
SELECT ask_json();
SELECT approve_it();
SELECT reject_it();
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT approve_it();
RESET SESSION AUTHORIZATION;
DROP FUNCTION ask(), ask_json(), approve_it(), reject_it();
-- A customer who has been given the functions decides on nothing.
GRANT EXECUTE ON FUNCTION bank_approve, bank_reject TO regress_banking_alice;
SELECT max(request_id::text) AS request FROM bank_pending_approvals \gset
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT bank_approve(:'request');
SELECT bank_reject(:'request', 'x');
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION bank_approve, bank_reject FROM regress_banking_alice;
-- Nor does a function of a teller's, whoever calls it, move more.
CREATE FUNCTION lent() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT event_type FROM bank_deposit(a(1), '1550 HTG') $$;
ALTER FUNCTION lent() OWNER TO regress_banking_jean;
SELECT lent();
DROP FUNCTION lent();

-- In time, or not at all.
SELECT bank_set_approval_threshold('1000 HTG', '1 millisecond');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1600 HTG');
SELECT pg_sleep(0.01);
SELECT state FROM bank_approvals WHERE amount = 1600;
SELECT count(*) FROM bank_pending_approvals WHERE amount = 1600;
SELECT request_id AS request FROM bank_approvals WHERE amount = 1600 \gset
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'request') IS NULL;
SELECT event_type FROM bank_reject(:'request', 'expired');
RESET SESSION AUTHORIZATION;

-- A request of a command that had much to read before, of holds that have expired.
SELECT bank_set_approval_threshold('1000 HTG');
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(4));
SELECT count(event_id) FROM bank_deposit(a(4), '9000 HTG');
SELECT event_id AS hold FROM bank_hold(a(4), '2000 HTG') \gset
SELECT count(event_id) FROM generate_series(1, 600) AS i, bank_hold(a(4), '1 HTG', expires_in => make_interval(secs => 1 + 0 * i));
SELECT pg_sleep(1.1);
\c -
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type, account_id = a(4) AS names_the_account FROM bank_capture(:'hold');
SET client_min_messages = warning;
SELECT bank_execute(jsonb_build_object('command', 'capture', 'hold_id', :'hold')) ->> 'account_id' = a(4)::text AS names_the_account;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM (SELECT bank_reject(request_id, 'a test') FROM bank_pending_approvals WHERE account_id = a(4) OFFSET 0) AS r;

-- What the caller said caused it, nothing, stays so.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_id AS request FROM bank_deposit(a(4), '1800 HTG', metadata => '{"causation_id": null}') \gset
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT event_type FROM bank_approve(:'request');
RESET SESSION AUTHORIZATION;

-- One that has been damaged behind the trigger's back cannot be approved.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_id AS damaged FROM bank_deposit(a(4), '1900 HTG') \gset
RESET SESSION AUTHORIZATION;
BEGIN;
ALTER TABLE bank.events DISABLE TRIGGER USER;
SAVEPOINT whole;
UPDATE bank.events SET data = '{}' WHERE aggregate_id = :'damaged';
SET LOCAL SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'damaged');
ROLLBACK TO whole;
RESET SESSION AUTHORIZATION;
UPDATE bank.events SET data = '[]' WHERE aggregate_id = :'damaged';
SET LOCAL SESSION AUTHORIZATION regress_banking_marie;
SELECT bank_approve(:'damaged');
ROLLBACK;
SELECT event_type FROM bank_reject(:'damaged', 'a test');

-- Requests outlive the threshold, which can be removed.
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1700 HTG');
RESET SESSION AUTHORIZATION;
SELECT bank_remove_approval_threshold('USD'), bank_remove_approval_threshold('HTG');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1800 HTG');
SELECT request_id AS request FROM bank_pending_approvals WHERE amount = 1700 \gset
SET SESSION AUTHORIZATION regress_banking_marie;
SELECT event_type FROM bank_approve(:'request');
RESET SESSION AUTHORIZATION;

-- Nobody writes an approval by hand that does not fit; nor chooses a request's identifier.
SELECT bank_set_approval_threshold('1000 HTG');
SET SESSION AUTHORIZATION regress_banking_jean;
SELECT event_type FROM bank_deposit(a(1), '1900 HTG');
RESET SESSION AUTHORIZATION;
SELECT request_id AS request FROM bank_pending_approvals WHERE amount = 1900 \gset
SELECT bank_create_account(a(100), 'COURANT', 'HTG', account_id => :'request') IS NULL;
CREATE FUNCTION forge(request_id uuid, event_version bigint, type text, what jsonb, amount bigint DEFAULT 190000, currency text DEFAULT 'HTG') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bank.events (version, balance, event_id, aggregate_id, event_type, currency, amount, data, actor_id)
    VALUES (event_version, 0, gen_random_uuid(), request_id, type::bank.event_type, currency, amount, what, 1);
  RAISE EXCEPTION 'TAKEN';
EXCEPTION WHEN OTHERS THEN
  RETURN regexp_replace(concat_ws('|', SQLSTATE, SQLERRM), '[0-9a-f-]{36}', '<uuid>');
END
$$;
SELECT forge(:'request', 2, 'approval.granted', '{"result_aggregate_id": "00000000-0000-7000-8000-000000000001", "result_version": "2"}');
SELECT forge(:'request', 3, 'approval.granted', '{"result_aggregate_id": "00000000-0000-7000-8000-000000000001", "result_version": "2"}');
SELECT forge(:'request', 2, 'approval.granted', '{}');
SELECT forge(:'request', 2, 'approval.granted', NULL);
SELECT forge(:'request', 2, 'approval.rejected', '{}');
SELECT forge(:'request', 2, 'approval.requested', '{"command": {}}');
SELECT forge(:'request', 2, 'approval.rejected', '{"reason": "x"}', 190001);
SELECT forge(:'request', 2, 'approval.rejected', '{"reason": "x"}', 190000, 'USD');
SELECT forge(a(88), 1, 'approval.granted', '{"result_aggregate_id": "00000000-0000-7000-8000-000000000001", "result_version": "2"}');
SELECT forge(a(1), 99, 'approval.granted', '{"result_aggregate_id": "00000000-0000-7000-8000-000000000001", "result_version": "2"}');
-- One that fits its stream is found by bank_verify: nothing was carried out, and who is it?
BEGIN;
INSERT INTO bank.events (version, balance, event_id, aggregate_id, event_type, currency, amount, data)
  VALUES (2, 0, gen_random_uuid(), :'request', 'approval.granted', 'HTG', 190000, '{"result_aggregate_id": "00000000-0000-7000-8000-000000000001", "result_version": "2"}');
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;

-- The read model is made from the events alone.
CREATE TABLE approvals_before AS SELECT * FROM bank.approvals;
DELETE FROM bank.approvals WHERE state = 'granted';
UPDATE bank.approvals SET state = 'granted' WHERE state = 'rejected';
SELECT invariant, failures > 0 AS failures FROM bank_verify() WHERE NOT ok AND invariant = 'read_models_match_events';
SELECT repaired > 0 AS repaired FROM bank_rebuild();
SELECT count(*) FROM (SELECT * FROM bank.approvals EXCEPT SELECT * FROM approvals_before) AS d;
SELECT count(*) FROM (SELECT * FROM approvals_before EXCEPT SELECT * FROM bank.approvals) AS d;
SELECT * FROM broken_invariants();
SELECT * FROM bank_verify() WHERE NOT ok;

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP ROLE regress_banking_jean, regress_banking_marie, regress_banking_tellers, regress_banking_auditor, regress_banking_operator, regress_banking_alice;
