-- The extension's life: installing it, in which schema, and what keeps a ledger from being dropped.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set test_database :DBNAME

-- Somebody else's schema of the same name, or function, is in the way; nothing is taken over.
CREATE SCHEMA bank;
CREATE EXTENSION banking;
DROP SCHEMA bank;
CREATE TYPE bank_receipt AS (mine text);
CREATE EXTENSION banking;
DROP TYPE bank_receipt;
SELECT count(*) FROM pg_namespace WHERE nspname = 'bank';

-- An empty ledger can be dropped, whichever way, and be made again by the same session.
CREATE EXTENSION banking;
DROP EXTENSION banking;
SELECT count(*) FROM pg_event_trigger;
CREATE SCHEMA ledger;
CREATE EXTENSION banking SCHEMA ledger;
DROP SCHEMA ledger CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'banking';
SELECT count(*) FROM pg_namespace WHERE nspname = 'bank';

-- In a schema of its own it works as anywhere.
CREATE ROLE regress_banking_owner SUPERUSER;
SET ROLE regress_banking_owner;
CREATE SCHEMA ledger;
CREATE EXTENSION banking SCHEMA ledger;
RESET ROLE;
ALTER EXTENSION banking SET SCHEMA public;
SELECT n.nspname, e.extversion, e.extrelocatable FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE extname = 'banking';
SELECT count(*) AS outside FROM pg_proc WHERE proname LIKE 'bank\_%' AND pronamespace NOT IN ('ledger'::regnamespace, 'bank'::regnamespace);
\set one '''00000000-0000-7000-8000-000000000001'''
SELECT account_number, balance FROM ledger.bank_create_account(:one, 'COURANT', 'HTG', account_id => :one, overdraft_limit => '1 HTG');
SELECT balance FROM ledger.bank_deposit(:one, '100 HTG', occurred_at => '2026-01-01 00:00+00');
SELECT balance FROM ledger.bank_withdraw(:one, '1 HTG', idempotency_key => 'k');
SELECT balance FROM ledger.bank_balance(:one);
SELECT balance FROM ledger.bank_balance_at(:one, '2026-01-01 00:00+00');
SELECT amount FROM ledger.bank_transactions(:one);
SELECT entry, balance FROM ledger.bank_statement(:one, '2025-12-31', '2026-01-01');
SELECT event_type FROM ledger.bank_account_events(:one);
SELECT invariant, failures FROM ledger.bank_verify() WHERE NOT ok;
SELECT repaired FROM ledger.bank_rebuild();
SELECT '1 HTG'::ledger.bank_money OPERATOR(ledger.+) '2 HTG';

-- With events in it the ledger is not dropped, whichever way it is tried,
DROP EXTENSION banking;
DROP EXTENSION banking CASCADE;
DROP EXTENSION IF EXISTS banking, plpgsql CASCADE;
DROP SCHEMA ledger;
DROP SCHEMA ledger CASCADE;
DROP SCHEMA bank CASCADE;
DROP TABLE bank.events CASCADE;
DROP TABLE bank.accounts;
DROP SEQUENCE bank.events_position_seq;
DROP FUNCTION bank.events_apply() CASCADE;
DROP EVENT TRIGGER banking_guard_drop;
ALTER TABLE bank.events DROP COLUMN amount CASCADE;
-- ... nor by a session that has not yet used it,
\c
SET client_min_messages = warning;
DROP EXTENSION banking CASCADE;
\c
SET client_min_messages = warning;
DROP SCHEMA ledger CASCADE;
-- ... nor where triggers do not fire as usual,
\c
SET client_min_messages = warning;
SET session_replication_role = replica;
DROP EXTENSION banking CASCADE;
-- ... nor by way of its owner,
\c
SET client_min_messages = warning;
DROP OWNED BY regress_banking_owner CASCADE;
-- ... nor when its only events are of this very transaction.
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS still_there FROM bank.events;
CREATE DATABASE regress_banking_other;
\c regress_banking_other
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION banking;
SELECT version FROM bank_create_account(:one, 'COURANT', 'HTG');
SAVEPOINT s;
DROP EXTENSION banking;
ROLLBACK TO s;
ROLLBACK;
-- What was rolled back is no event.
CREATE EXTENSION banking;
BEGIN;
SELECT version FROM bank_create_account(:one, 'COURANT', 'HTG');
ROLLBACK;
DROP EXTENSION banking;
SELECT count(*) FROM pg_extension WHERE extname = 'banking';

-- What watches over the ledger cannot be taken away unnoticed.
CREATE EXTENSION banking;
SELECT version FROM bank_create_account(:one, 'COURANT', 'HTG');
BEGIN;
DROP TRIGGER events_refuse_change ON bank.events;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;
BEGIN;
ALTER TABLE bank.events DISABLE TRIGGER events_refuse_change;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;
BEGIN;
ALTER TABLE bank.events DISABLE TRIGGER events_refuse_row_change;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;
BEGIN;
ALTER TABLE bank.events DISABLE TRIGGER events_apply;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;
BEGIN;
ALTER TABLE bank.events ENABLE TRIGGER events_refuse_change;
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;

-- With banking.allow_drop it is dropped, events and all, and can be made again by the same session.
SET banking.allow_drop = on;
DROP EXTENSION banking;
SELECT count(*) FROM pg_namespace WHERE nspname = 'bank';
SELECT count(*) FROM pg_event_trigger;
RESET banking.allow_drop;
CREATE EXTENSION banking;
SELECT account_number, version FROM bank_create_account(:one, 'COURANT', 'HTG', account_id => :one);
SELECT balance, version FROM bank_deposit(:one, '5 HTG', idempotency_key => 'k', occurred_at => '2026-01-01 00:00+00');
SELECT balance, version FROM bank_deposit(:one, '5 HTG', occurred_at => '2025-01-01 00:00+00');
SELECT balance FROM bank_balance_at(:one, '2025-01-01 00:00+00');
SELECT invariant, failures FROM bank_verify() WHERE NOT ok;
SELECT repaired FROM bank_rebuild();
DROP EXTENSION banking;

-- A whole database is its owner's to drop.
\c :test_database
SET client_min_messages = warning;
DROP DATABASE regress_banking_other;
-- Dropping what a role owns drops the ledger too, once it is allowed.
SET banking.allow_drop = on;
DROP OWNED BY regress_banking_owner CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'banking';
DROP ROLE regress_banking_owner;
