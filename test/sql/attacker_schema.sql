-- A superuser makes the extension in a schema that belongs to an attacker, or where an attacker has been before.
SET client_min_messages = warning;
\set VERBOSITY terse
\set superuser :USER
\set one '''00000000-0000-7000-8000-000000000001''::uuid'
\set two '''00000000-0000-7000-8000-000000000002''::uuid'
CREATE ROLE regress_banking_attacker LOGIN;
CREATE ROLE regress_banking_teller LOGIN;
CREATE SCHEMA attackers AUTHORIZATION regress_banking_attacker;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_banking_attacker', current_database()) \gexec

-- Schema bank is somebody's already, empty or not.
SET SESSION AUTHORIZATION regress_banking_attacker;
CREATE SCHEMA bank;
CREATE TABLE bank.events (position bigint);
RESET SESSION AUTHORIZATION;
CREATE EXTENSION banking;
CREATE EXTENSION banking SCHEMA bank;
SET SESSION AUTHORIZATION regress_banking_attacker;
DROP SCHEMA bank CASCADE;
RESET SESSION AUTHORIZATION;

-- Objects with names of the extension's are in its way: none is taken over, and nothing is left behind.
CREATE FUNCTION refuses(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL SESSION AUTHORIZATION regress_banking_attacker;
  EXECUTE statement;
  RESET SESSION AUTHORIZATION;
  EXECUTE 'CREATE EXTENSION banking SCHEMA attackers';
  RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'CREATED';
EXCEPTION WHEN OTHERS THEN
  RETURN format('%s %s', SQLSTATE, SQLERRM);
END
$$;
SELECT refuses(s) FROM unnest(ARRAY['CREATE FUNCTION attackers.bank_current_owner() RETURNS uuid LANGUAGE sql AS ''SELECT NULL::uuid''', 'CREATE TYPE attackers.bank_money AS (n integer)', 'CREATE TYPE attackers.bank_money',
  'CREATE VIEW attackers.bank_accounts AS SELECT 1 AS account_id', 'CREATE TABLE attackers.bank_holds (hold_id uuid)', 'CREATE SEQUENCE attackers.bank_events', 'CREATE TYPE attackers.bank_receipt AS (event_id uuid)',
  'CREATE DOMAIN attackers.bank_money AS text']) AS s;
SELECT count(*) FROM pg_namespace WHERE nspname = 'bank';

-- Look-alikes of what its script calls, and rights that the attacker gives on whatever it makes.
SET SESSION AUTHORIZATION regress_banking_attacker;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA attackers GRANT ALL ON FUNCTIONS TO PUBLIC;
CREATE FUNCTION attackers.evil() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'look-alike called by %', current_user; END $$;
CREATE FUNCTION attackers.eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE OPERATOR attackers.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = attackers.eq);
CREATE OPERATOR attackers.= (LEFTARG = text, RIGHTARG = text, FUNCTION = attackers.eq);
CREATE OPERATOR attackers.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = attackers.eq);
CREATE OPERATOR attackers.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = attackers.eq);
CREATE OPERATOR attackers.- (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = attackers.eq);
CREATE FUNCTION attackers.pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.sum(numeric) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.jsonb_build_object(text, text) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE FUNCTION attackers.bank_account(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM attackers.evil(); END $$;
CREATE TABLE attackers.events (n integer);
CREATE TABLE attackers.accounts (n integer);
CREATE TYPE attackers.uuid AS (n integer);
CREATE TYPE attackers.text AS (n integer);
CREATE DOMAIN attackers.numeric AS pg_catalog.text;
GRANT USAGE ON SCHEMA attackers TO PUBLIC;
RESET SESSION AUTHORIZATION;
SET search_path = attackers, pg_catalog;
CREATE EXTENSION banking SCHEMA attackers;
RESET search_path;
-- Nothing of it is the attacker's, and nobody has more rights than elsewhere.
SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking' AND d.deptype = 'e'
JOIN pg_shdepend AS s ON s.classid = d.classid AND s.objid = d.objid JOIN pg_roles AS r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass WHERE r.rolname LIKE 'regress\_banking\_%';
SELECT c.oid::regclass FROM pg_class AS c JOIN pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'banking'
WHERE c.relkind IN ('r', 'v', 'S') AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('regress_banking_attacker', c.oid, 'USAGE, SELECT, UPDATE')
  ELSE has_table_privilege('regress_banking_attacker', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END;

-- The owner of the schema, about what is in it.
\c - regress_banking_attacker
SET client_min_messages = warning;
ALTER FUNCTION attackers.bank_current_owner() RENAME TO mine;
ALTER VIEW attackers.bank_accounts RENAME TO mine;
DROP FUNCTION attackers.bank_current_owner();
DROP VIEW attackers.bank_accounts;
DROP TYPE attackers.bank_money;
DROP SCHEMA attackers;
CREATE OR REPLACE VIEW attackers.bank_accounts AS SELECT 1;
CREATE OR REPLACE FUNCTION attackers.bank_current_owner() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
COMMENT ON VIEW attackers.bank_accounts IS 'mine';
GRANT SELECT ON attackers.bank_accounts TO regress_banking_attacker;
SELECT attackers.bank_deposit(:one, '1 HTG');

-- Commands, queries and rights work, and none of the look-alikes is called.
\c - :superuser
SET client_min_messages = warning;
SELECT attackers.bank_grant('regress_banking_teller', 'teller');
\c - regress_banking_teller
SET search_path = pg_temp;
SELECT balance FROM attackers.bank_create_account(:one, 'COURANT', 'HTG', account_id => :one);
SELECT balance FROM attackers.bank_create_account(:one, 'COURANT', 'HTG', account_id => :two);
SELECT balance FROM attackers.bank_deposit(:one, '100 HTG'::attackers.bank_money, idempotency_key => 'k');
SELECT balance, replayed FROM attackers.bank_deposit(:one, '100 HTG'::attackers.bank_money, idempotency_key => 'k');
SELECT balance FROM attackers.bank_transfer(:one, :two, '1 HTG'::attackers.bank_money, metadata => '{}');
SELECT count(event_id) FROM attackers.bank_hold(:one, '1 HTG'::attackers.bank_money);
SELECT balance FROM attackers.bank_account(:one);
SELECT balance, held FROM attackers.bank_accounts WHERE owner_id = :one ORDER BY balance;
SELECT event_type, balance FROM attackers.bank_transactions(:one);
SELECT entry, balance FROM attackers.bank_statement(:one, current_date - 2, current_date + 2);
SELECT attackers.bank_execute('{"command": "deposit", "account_id": "00000000-0000-7000-8000-000000000001", "amount": "1 HTG"}') ->> 'ok' AS ok;
SELECT event_type FROM attackers.bank_events ORDER BY position;
-- What the owner of a schema can do to those who call what is there: stand in for it, where no types are written; and lock the door. It cannot drop what has events.
SELECT attackers.bank_account('00000000-0000-7000-8000-000000000001');
\c - regress_banking_attacker
SET client_min_messages = warning;
DROP SCHEMA attackers CASCADE;
REVOKE USAGE ON SCHEMA attackers FROM PUBLIC;
ALTER SCHEMA attackers RENAME TO theirs;
\c - regress_banking_teller
SELECT balance FROM theirs.bank_account(:one);
-- The ledger stands.
\c - :superuser
SET client_min_messages = warning;
SELECT balance FROM theirs.bank_account(:one);
SELECT balance FROM theirs.bank_deposit(:one, '1 HTG'::theirs.bank_money);
SELECT theirs.bank_grant('regress_banking_attacker', 'auditor');
SELECT theirs.bank_revoke('regress_banking_attacker', 'auditor');
SELECT * FROM theirs.bank_verify() WHERE NOT ok;

SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP SCHEMA theirs CASCADE;
DROP OWNED BY regress_banking_attacker, regress_banking_teller CASCADE;
DROP ROLE regress_banking_attacker, regress_banking_teller;
