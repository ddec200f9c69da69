-- A plain role with EXECUTE on the functions: it can do what they do, and cannot touch schema bank.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE ROLE regress_banking_nobody;
CREATE ROLE regress_banking_teller;
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT balance FROM bank_deposit(a(1), '100 HTG');
SELECT balance FROM bank_hold(a(1), '1 HTG', expires_in => '1 microsecond');

-- Nobody has no right to anything but the money type.
SET ROLE regress_banking_nobody;
SELECT bank_deposit(a(1), '1 HTG');
SELECT bank_withdraw(a(1), '1 HTG');
SELECT bank_transfer(a(1), a(2), '1 HTG');
SELECT bank_create_account(a(100), 'COURANT', 'HTG');
SELECT bank_create_house_account('vault', 'HTG');
SELECT bank_freeze(a(1));
SELECT bank_unfreeze(a(1));
SELECT bank_close(a(1));
SELECT bank_set_limits(a(1));
SELECT bank_hold(a(1), '1 HTG');
SELECT bank_capture(a(1));
SELECT bank_release(a(1));
SELECT bank_expire_holds();
SELECT * FROM bank_holds;
SELECT bank_account(a(1));
SELECT bank_accounts_of(a(100));
SELECT bank_account_exists(a(1));
SELECT bank_balance(a(1));
SELECT bank_balance_at(a(1), now());
SELECT bank_transactions(a(1));
SELECT bank_statement(a(1), '2026-01-01', '2026-01-31');
SELECT bank_account_events(a(1));
SELECT bank_verify();
SELECT bank_rebuild();
SELECT * FROM bank_accounts;
SELECT * FROM bank_events;
SELECT * FROM bank_trial_balance;
SELECT * FROM bank_progress;
SELECT * FROM bank.events;
SELECT bank.require_account(a(1), 'bank_account');
SELECT bank_money(1, 'HTG') + '2 HTG', bank_account_number_valid('000000000195');
RESET ROLE;

-- Views can be given to whoever may read everything.
GRANT SELECT ON bank_accounts, bank_events, bank_holds, bank_trial_balance, bank_progress TO regress_banking_nobody;
SET ROLE regress_banking_nobody;
SELECT account_type, balance FROM bank_accounts ORDER BY 1;
SELECT amount, status FROM bank_holds;
SELECT event_type, event_data ->> 'amount' AS amount, peer_id IS NULL AS alone FROM bank_events ORDER BY position;
SELECT * FROM bank_trial_balance;
SELECT * FROM bank_progress;
UPDATE bank_events SET metadata = '{}';
SELECT bank_balance(a(1));
RESET ROLE;
REVOKE ALL ON bank_accounts, bank_events, bank_holds, bank_trial_balance, bank_progress FROM regress_banking_nobody;

-- A teller may call functions, all that are there.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'bank\_%' AND prokind = 'f' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO regress_banking_teller', f);
  END LOOP;
END
$$;
SET ROLE regress_banking_teller;
SELECT account_number FROM bank_create_account(a(100), 'EPARGNE', 'HTG', account_id => a(2), overdraft_limit => '5 HTG', idempotency_key => 'k0');
SELECT house_account FROM bank_create_house_account('vault', 'HTG');
SELECT balance, replayed FROM bank_deposit(a(1), '10 HTG', idempotency_key => 'k1', occurred_at => '2026-01-01 12:00+00', metadata => '{"by":"teller"}');
SELECT balance, replayed FROM bank_deposit(a(1), '10 HTG', idempotency_key => 'k1', occurred_at => '2026-01-01 12:00+00');
SELECT balance FROM bank_withdraw(a(1), '5 HTG', house_account => 'vault');
SELECT balance FROM bank_transfer(a(1), a(2), '5 HTG');
SELECT balance FROM bank_withdraw(a(1), '1000 HTG');
SELECT event_type FROM bank_hold(a(1), '2 HTG', idempotency_key => 'h1');
SELECT event_type FROM bank_capture((SELECT event_id FROM bank_hold(a(1), '2 HTG', idempotency_key => 'h1')));
SELECT event_type FROM bank_hold(a(1), '2 HTG', idempotency_key => 'h2');
SELECT event_type FROM bank_release((SELECT event_id FROM bank_hold(a(1), '2 HTG', idempotency_key => 'h2')));
SELECT bank_expire_holds();
SELECT version FROM bank_freeze(a(2));
SELECT version FROM bank_unfreeze(a(2));
SELECT version FROM bank_set_limits(a(2));
SELECT balance FROM bank_withdraw(a(2), '5 HTG');
SELECT version FROM bank_close(a(2));
SELECT status, balance FROM bank_account(a(2));
SELECT account_number FROM bank_accounts_of(a(100));
SELECT bank_account_exists(a(1));
SELECT balance FROM bank_balance(a(1));
SELECT balance FROM bank_balance_at(a(1), '2026-01-01 12:00+00');
SELECT version, amount FROM bank_transactions(a(1), page_size => 2);
SELECT line, balance FROM bank_statement(a(1), '2026-01-01', '2026-01-02');
SELECT count(*) FROM bank_account_events(a(1));
SELECT count(*) FROM bank_verify() WHERE NOT ok;
SELECT repaired FROM bank_rebuild();
-- ... and nothing else.
SELECT * FROM bank_accounts;
SELECT * FROM bank_events;
SELECT * FROM bank.accounts;
SELECT * FROM bank.events;
INSERT INTO bank.events SELECT * FROM bank.events;
UPDATE bank.accounts SET credits = 1;
DELETE FROM bank.idempotency_keys;
TRUNCATE bank.events;
SELECT nextval('bank.events_position_seq');
SELECT setval('bank.events_position_seq', 1);
CREATE TRIGGER mine BEFORE INSERT ON bank.events FOR EACH ROW EXECUTE FUNCTION bank.events_apply();
CREATE FUNCTION bank.mine() RETURNS void LANGUAGE sql AS '';
SELECT bank.minor_to_numeric(1, 'HTG');
ALTER TABLE bank.events DISABLE TRIGGER ALL;
ALTER EVENT TRIGGER banking_guard_drop DISABLE;
SET banking.allow_drop = on;
DROP EXTENSION banking;
SET session_replication_role = replica;
-- The command leaves the caller who it was, also after an error.
SELECT current_user, session_user = current_user AS same;
DO $$
BEGIN
  PERFORM bank_withdraw(a(1), '1000 HTG');
EXCEPTION WHEN SQLSTATE 'BK004' THEN
  RAISE NOTICE '%', current_user;
END
$$;
SELECT current_user;
BEGIN;
SAVEPOINT s;
SELECT bank_withdraw(a(1), '1000 HTG');
ROLLBACK TO s;
SELECT current_user;
SELECT * FROM bank.accounts;
ROLLBACK;
-- What stands in an argument runs as the caller.
RESET ROLE;
GRANT CREATE ON SCHEMA public TO regress_banking_teller;
SET ROLE regress_banking_teller;
CREATE FUNCTION who(text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'called as %', current_user; RETURN '{}'; END $$;
SELECT balance FROM bank_deposit(a(1), '1 HTG', metadata => who('x'));
RESET ROLE;

-- A setting for row level security does not stand in the way.
SET row_security = off;
SET ROLE regress_banking_teller;
SELECT balance FROM bank_deposit(a(1), '1 HTG');
RESET ROLE;
RESET row_security;

SELECT * FROM broken_invariants();
SET client_min_messages = warning;
DROP OWNED BY regress_banking_teller CASCADE;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP OWNED BY regress_banking_nobody, regress_banking_teller CASCADE;
DROP ROLE regress_banking_nobody, regress_banking_teller;
