-- Commands inside the caller's transactions: savepoints, blocks, functions, isolation levels.
-- (Prepared transactions need a setting of the server: test/tap.)
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(n))).account_number FROM generate_series(1, 3) AS n;
SELECT balance FROM bank_deposit(a(1), '1000 HTG');

-- All of a transaction, or nothing.
SELECT ledger_state() AS before \gset
BEGIN;
SELECT balance FROM bank_withdraw(a(1), '100 HTG');
SELECT balance FROM bank_transfer(a(1), a(2), '200 HTG');
SELECT event_type FROM bank_freeze(a(2));
SELECT version FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(9));
SELECT balance, status FROM bank_accounts WHERE account_number IS NOT NULL ORDER BY account_id;
SELECT * FROM broken_invariants();
ROLLBACK;
SELECT split_part(ledger_state(), ' at position', 1) = split_part(:'before', ' at position', 1) AS nothing_has_changed;
-- An error ends the transaction, what was done before included.
BEGIN;
SELECT balance FROM bank_withdraw(a(1), '100 HTG');
SELECT balance FROM bank_withdraw(a(1), '1000 HTG');
SELECT balance FROM bank_withdraw(a(1), '1 HTG');
COMMIT;
SELECT split_part(ledger_state(), ' at position', 1) = split_part(:'before', ' at position', 1) AS nothing_has_changed;

-- Savepoints: what was rolled back is gone, the rest counts, and versions stay contiguous.
BEGIN;
SELECT balance, version FROM bank_deposit(a(1), '1 HTG');
SAVEPOINT one;
SELECT balance, version FROM bank_deposit(a(1), '10 HTG');
SAVEPOINT two;
SELECT balance, version FROM bank_transfer(a(1), a(3), '100 HTG');
SELECT balance, version FROM bank_withdraw(a(1), '5000 HTG');
ROLLBACK TO two;
SELECT balance, version FROM bank_balance(a(1));
SELECT balance, version FROM bank_transfer(a(1), a(3), '50 HTG');
ROLLBACK TO one;
SELECT balance, version FROM bank_balance(a(1));
SELECT balance, version FROM bank_balance(a(3));
SELECT balance, version FROM bank_deposit(a(1), '2 HTG', expected_version => 3);
RELEASE one;
COMMIT;
SELECT balance, version FROM bank_balance(a(1));
SELECT * FROM broken_invariants();
-- A house account first used after a savepoint that is rolled back, and then again.
BEGIN;
SAVEPOINT s;
SELECT balance FROM bank_deposit(a(1), '1 HTG', house_account => 'suspense');
ROLLBACK TO s;
SELECT balance FROM bank_deposit(a(1), '1 HTG', house_account => 'suspense');
COMMIT;
SELECT balance, version FROM bank_accounts WHERE house_account = 'suspense';
SELECT * FROM broken_invariants();

-- PL/pgSQL: errors are caught by their SQLSTATE and the block goes on.
DO $$
DECLARE
  receipt bank_receipt;
BEGIN
  FOR i IN 1..4 LOOP
    BEGIN
      receipt := bank_withdraw(a(1), bank_money(400, 'HTG'));
      RAISE NOTICE 'withdrawn, balance %', receipt.balance;
    EXCEPTION
      WHEN SQLSTATE 'BK004' THEN
        RAISE NOTICE 'refused: %', SQLERRM;
    END;
  END LOOP;
END
$$;
SELECT balance, version FROM bank_balance(a(1));
SELECT * FROM broken_invariants();
-- A procedure that commits on its way.
CREATE PROCEDURE salaries() LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..3 LOOP
    PERFORM bank_deposit(a(i), '100 HTG', idempotency_key => 'salary of ' || i);
    COMMIT;
  END LOOP;
END
$$;
CALL salaries();
CALL salaries();
SELECT balance, version FROM generate_series(1, 3) AS n, LATERAL bank_balance(a(n));

-- Called from functions, triggers, rules, prepared statements and cursors.
CREATE TABLE invoice (id serial PRIMARY KEY, amount numeric, paid uuid);
CREATE FUNCTION pay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.paid := (bank_transfer(a(1), a(3), bank_money(NEW.amount, 'HTG'), metadata => jsonb_build_object('invoice', NEW.id))).event_id;
  RETURN NEW;
END
$$;
CREATE TRIGGER pay BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION pay();
INSERT INTO invoice (amount) VALUES (10), (20);
INSERT INTO invoice (amount) VALUES (1), (100000);
SELECT i.id, i.amount, t.amount, t.metadata FROM invoice AS i JOIN bank_transactions(a(3)) AS t ON t.event_id = i.paid ORDER BY i.id;
PREPARE pay_in AS SELECT balance, version FROM bank_deposit($1, bank_money($2, 'HTG'));
EXECUTE pay_in(a(2), 1); EXECUTE pay_in(a(2), 2); EXECUTE pay_in(a(2), 3); EXECUTE pay_in(a(2), 4);
EXECUTE pay_in(a(2), 5); EXECUTE pay_in(a(2), 6); EXECUTE pay_in(a(2), 7);
BEGIN;
DECLARE slowly CURSOR FOR SELECT n, (bank_deposit(a(2), bank_money(n, 'HTG'))).version FROM generate_series(1, 3) AS n;
FETCH 1 FROM slowly;
FETCH 1 FROM slowly;
CLOSE slowly;
COMMIT;
SELECT balance, version FROM bank_balance(a(2));
SELECT ledger_state() AS before \gset
EXPLAIN (COSTS OFF) SELECT bank_deposit(a(2), '1 HTG');
SELECT ledger_state() = :'before' AS nothing_has_changed;

-- Isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT balance, version FROM bank_deposit(a(2), '1 HTG');
SELECT balance, version FROM bank_deposit(a(2), '1 HTG', idempotency_key => 'rr');
SELECT balance, version, replayed FROM bank_deposit(a(2), '1 HTG', idempotency_key => 'rr');
SELECT balance, version FROM bank_balance(a(2));
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT balance, version FROM bank_deposit(a(2), '1 HTG');
SELECT version FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(8));
SELECT balance, version FROM bank_transfer(a(2), a(8), '1 HTG', idempotency_key => 'sr');
SELECT balance, version, replayed FROM bank_transfer(a(2), a(8), '1 HTG', idempotency_key => 'sr');
SELECT balance, version FROM bank_balance(a(8));
COMMIT;

-- Read-only transactions: the server's own error.
BEGIN READ ONLY;
SAVEPOINT s;
SELECT bank_deposit(a(1), '1 HTG'); ROLLBACK TO s;
SELECT bank_withdraw(a(1), '1 HTG'); ROLLBACK TO s;
SELECT bank_transfer(a(1), a(2), '1 HTG'); ROLLBACK TO s;
SELECT bank_create_account(a(100), 'COURANT', 'HTG'); ROLLBACK TO s;
SELECT bank_create_house_account('vault', 'HTG'); ROLLBACK TO s;
SELECT bank_freeze(a(1)); ROLLBACK TO s;
SELECT bank_unfreeze(a(1)); ROLLBACK TO s;
SELECT bank_close(a(1)); ROLLBACK TO s;
SELECT bank_set_limits(a(1)); ROLLBACK TO s;
-- also for what would be a replay
SELECT bank_deposit(a(1), '100 HTG', idempotency_key => 'salary of 1'); ROLLBACK TO s;
-- and for what is refused anyway
SELECT bank_deposit(NULL, NULL); ROLLBACK TO s;
COMMIT;

-- Whatever a session has set, the answers are the same.
SET transform_null_equals = on;
SET datestyle = 'SQL, DMY';
SET intervalstyle = sql_standard;
SET bytea_output = escape;
SET extra_float_digits = -15;
SET enable_indexscan = off;
SET enable_seqscan = off;
SET plan_cache_mode = force_custom_plan;
SET row_security = off;
SET default_transaction_isolation = 'serializable';
SET client_min_messages = error;
SET standard_conforming_strings = off;
SELECT balance, version FROM bank_deposit(a(2), '0.10 HTG', occurred_at => '2026-01-02 00:00+00', metadata => '{"a":1.10}');
SELECT account_number IS NOT NULL AS made FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(7), overdraft_limit => '1.50 HTG');
SELECT version FROM bank_set_limits(a(7), overdraft_limit => '2.50 HTG');
SELECT available FROM bank_balance(a(7));
SELECT balance FROM bank_balance_at(a(2), '2026-01-02 00:00+00');
RESET ALL;
SELECT event_data ->> 'overdraft_limit' AS overdraft_limit FROM bank_account_events(a(7));
-- Plans that the library keeps survive what invalidates them.
ANALYZE bank.events, bank.accounts;
ALTER TABLE bank.accounts SET (fillfactor = 50);
DISCARD ALL;
SELECT balance, version FROM bank_deposit(a(2), '1 HTG', idempotency_key => 'after discard');
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
