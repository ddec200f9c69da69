-- Every route to what belongs to the ledger, for every kind of role that has no business there. The
-- statements are made from the catalog, so a new table, view or sequence is attacked too.
\set superuser :USER
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
CREATE ROLE regress_banking_nobody LOGIN;
CREATE ROLE regress_banking_customer LOGIN;
CREATE ROLE regress_banking_teller LOGIN;
CREATE ROLE regress_banking_operator LOGIN;
CREATE ROLE regress_banking_auditor LOGIN;
CREATE ROLE regress_banking_files LOGIN IN ROLE pg_read_server_files, pg_write_server_files;
CREATE ROLE regress_banking_stats LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_banking_schema LOGIN;
CREATE ROLE regress_banking_database LOGIN CREATEROLE;
SELECT bank_grant('regress_banking_' || p, p) FROM unnest(ARRAY['customer', 'teller', 'operator', 'auditor']) AS p;
SELECT bank_map_owner('regress_banking_customer', a(100));
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(2));
SELECT balance FROM bank_deposit(a(1), '100 HTG');
SELECT balance FROM bank_deposit(a(2), '12345 HTG');
-- All of them may make objects of their own; in the API's schema too, as anybody could before PostgreSQL 15.
CREATE SCHEMA attackers;
GRANT ALL ON SCHEMA attackers, public TO PUBLIC;
SELECT format('ALTER DATABASE %I OWNER TO regress_banking_database', current_database()) \gexec
ALTER SCHEMA public OWNER TO regress_banking_schema;
CREATE FUNCTION attackers.fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TABLE attackers.paper (n integer);
ALTER TABLE attackers.paper OWNER TO regress_banking_nobody;
GRANT regress_banking_nobody TO regress_banking_customer, regress_banking_teller, regress_banking_operator, regress_banking_auditor,
  regress_banking_files, regress_banking_stats, regress_banking_schema, regress_banking_database;

-- R a table or view, C its first column, T the type of that, O its identifier.
CREATE TABLE route (kinds text, command text);
INSERT INTO route SELECT 'rv', unnest(ARRAY['INSERT INTO R DEFAULT VALUES', 'INSERT INTO R SELECT * FROM R', 'UPDATE R SET C = C', 'UPDATE R SET C = C WHERE false',
  'DELETE FROM R', 'DELETE FROM R WHERE false', 'MERGE INTO R USING (SELECT 1) AS s ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES',
  'MERGE INTO R AS r USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE', 'WITH w AS (DELETE FROM R RETURNING *) SELECT * FROM w',
  'TRUNCATE R', 'COPY R FROM ''/dev/null''', 'COPY R FROM PROGRAM ''true''', 'SELECT C FROM R FOR UPDATE', 'SELECT C FROM R FOR KEY SHARE',
  'LOCK TABLE R IN ACCESS EXCLUSIVE MODE', 'LOCK TABLE R IN SHARE MODE', 'LOCK TABLE R IN ROW EXCLUSIVE MODE',
  'ALTER TABLE R ADD mine integer', 'ALTER TABLE R OWNER TO CURRENT_USER', 'ALTER TABLE R RENAME TO mine', 'ALTER TABLE R SET SCHEMA attackers',
  'ALTER TABLE R ALTER C SET DEFAULT NULL', 'ALTER TABLE R DISABLE TRIGGER ALL', 'ALTER TABLE R NO FORCE ROW LEVEL SECURITY', 'ALTER TABLE attackers.paper INHERIT R',
  'DROP TABLE R CASCADE', 'DROP VIEW R CASCADE', 'CREATE TRIGGER mine BEFORE INSERT ON R FOR EACH STATEMENT EXECUTE FUNCTION attackers.fire()',
  'CREATE TRIGGER mine INSTEAD OF INSERT ON R FOR EACH ROW EXECUTE FUNCTION attackers.fire()',
  'CREATE RULE mine AS ON INSERT TO R DO INSTEAD NOTHING', 'CREATE RULE "_RETURN" AS ON SELECT TO R DO INSTEAD SELECT 1', 'CREATE INDEX ON R (C)', 'CREATE STATISTICS attackers.s ON (C), (C IS NULL) FROM R',
  'CREATE POLICY mine ON R', 'COMMENT ON TABLE R IS ''mine''', 'COMMENT ON VIEW R IS ''mine''', 'COMMENT ON COLUMN R.C IS ''mine''', 'CREATE TABLE attackers.child () INHERITS (R)',
  'CREATE TABLE attackers.part PARTITION OF R DEFAULT', 'CREATE TABLE attackers.pointer (c T REFERENCES R (C))', 'CLUSTER R', 'REINDEX TABLE R',
  'REFRESH MATERIALIZED VIEW R', 'GRANT ALL ON R TO PUBLIC', 'REVOKE ALL ON R FROM PUBLIC', 'CREATE PUBLICATION mine FOR TABLE R', 'ALTER EXTENSION banking DROP TABLE R', 'ALTER EXTENSION banking DROP VIEW R']);
INSERT INTO route SELECT 'bank', unnest(ARRAY['SELECT * FROM R', 'SELECT count(*) FROM R', 'TABLE R', 'COPY R TO ''/dev/null''', 'COPY (SELECT * FROM R) TO ''/dev/null''', 'COPY (DELETE FROM R RETURNING C) TO ''/dev/null''',
  'EXPLAIN SELECT * FROM R', 'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM R', 'PREPARE mine AS SELECT * FROM R', 'DO $$ BEGIN PERFORM * FROM R; END $$', 'LOCK TABLE R IN ACCESS SHARE MODE',
  'SELECT table_to_xml(O::regclass, true, true, '''')', 'SELECT query_to_xml(''SELECT * FROM R'', true, true, '''')', 'SELECT ts_stat(''SELECT to_tsvector(C::text) FROM R'')', 'SELECT currtid2(''R'', ''(0,1)'')',
  'CREATE TABLE attackers.copied AS SELECT * FROM R', 'CREATE TABLE attackers.alike (LIKE R)', 'SELECT ''R''::regclass', 'CREATE TABLE attackers.typed (r R)', 'SELECT NULL::R']);
INSERT INTO route SELECT 'S', unnest(ARRAY['SELECT nextval(O::regclass)', 'SELECT setval(O::regclass, 1)', 'SELECT currval(O::regclass)', 'DO $x$ BEGIN IF pg_sequence_last_value(O::regclass) IS NULL THEN RAISE insufficient_privilege; END IF; END $x$', 'SELECT * FROM R', 'ALTER SEQUENCE R RESTART',
  'DROP SEQUENCE R', 'CREATE TABLE attackers.drawn (n bigint DEFAULT nextval(''R''))', 'ALTER SEQUENCE R OWNED BY NONE', 'GRANT ALL ON SEQUENCE R TO PUBLIC', 'COMMENT ON SEQUENCE R IS ''mine''']);
-- F a function of schema bank, A its name, W a call with nulls.
INSERT INTO route SELECT 'f', unnest(ARRAY['SELECT W', 'ALTER FUNCTION F OWNER TO CURRENT_USER', 'ALTER FUNCTION F SECURITY INVOKER', 'ALTER FUNCTION F RESET ALL', 'DROP FUNCTION F CASCADE', 'GRANT EXECUTE ON FUNCTION F TO PUBLIC',
  'ALTER EXTENSION banking DROP FUNCTION F']);
INSERT INTO route SELECT 'trigger', 'CREATE TRIGGER mine AFTER INSERT ON attackers.paper FOR EACH STATEMENT EXECUTE FUNCTION A()';
INSERT INTO route SELECT 'api', command FROM route WHERE kinds = 'f' AND command <> 'SELECT W';
-- What there is once.
INSERT INTO route SELECT 'once', unnest(ARRAY['CREATE FUNCTION bank.mine() RETURNS void LANGUAGE sql AS ''''', 'CREATE TABLE bank.mine ()', 'CREATE TYPE bank.mine AS ENUM ()', 'CREATE VIEW bank.mine AS SELECT 1',
  'DROP SCHEMA bank CASCADE', 'ALTER SCHEMA bank RENAME TO mine', 'ALTER SCHEMA bank OWNER TO CURRENT_USER', 'GRANT ALL ON SCHEMA bank TO PUBLIC', 'DROP EXTENSION banking', 'DROP EXTENSION banking CASCADE',
  'ALTER EXTENSION banking UPDATE', 'ALTER EXTENSION banking SET SCHEMA attackers', 'ALTER EXTENSION banking ADD TABLE attackers.paper', 'COMMENT ON EXTENSION banking IS ''mine''', 
  'ALTER EVENT TRIGGER banking_guard_drop DISABLE', 'DROP EVENT TRIGGER banking_guard_drop', 'CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION bank.guard_drop()',
  'SELECT ''account.created''::bank.event_type', 'ALTER TYPE bank.event_type ADD VALUE ''mine''', 'ALTER TYPE bank_money RENAME TO mine', 'CREATE OPERATOR CLASS attackers.mine FOR TYPE bank_money USING btree AS STORAGE bank_money',
  'CREATE CAST (bank_money AS text) WITH INOUT AS IMPLICIT', 'CREATE CAST (uuid AS bank_money) WITHOUT FUNCTION AS IMPLICIT', 'CREATE FUNCTION attackers.shell(cstring) RETURNS bank_money LANGUAGE internal AS ''money_in''',
  'ALTER OPERATOR + (bank_money, bank_money) OWNER TO CURRENT_USER', 'DROP CAST (bank_money AS numeric)', 'CREATE OR REPLACE FUNCTION bank_current_owner() RETURNS uuid LANGUAGE sql AS ''SELECT NULL::uuid''',
  'CREATE OR REPLACE VIEW bank_accounts AS SELECT 1', 'SET session_replication_role = replica', 'SET LOCAL session_replication_role = local', 'SET banking.allow_drop = on', 'SET banking.log_refusals = off',
  'SET zero_damaged_pages = on', 'SET allow_system_table_mods = on', 'SET session_preload_libraries = ''x''', 'ALTER ROLE CURRENT_USER SET banking.allow_drop = on',
  'ALTER ROLE CURRENT_USER SET session_replication_role = replica', 'ALTER ROLE CURRENT_USER SUPERUSER', 'ALTER ROLE CURRENT_USER REPLICATION', 'ALTER ROLE CURRENT_USER BYPASSRLS', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'GRANT postgres TO CURRENT_USER',
  'GRANT SET ON PARAMETER banking.allow_drop TO CURRENT_USER', 'ALTER DATABASE current SET banking.allow_drop = on', 'ALTER DATABASE current SET banking.log_refusals = off',
  'ALTER DATABASE current SET session_replication_role = replica', 'ALTER ROLE postgres IN DATABASE current SET search_path = attackers', 'SELECT lo_import(''/etc/passwd'')', 'SELECT lo_export(1, ''/tmp/mine'')',
  'SELECT pg_read_file(''postgresql.conf'')', 'SELECT pg_ls_dir(''.'')', 'SELECT pg_reload_conf()', 'SELECT pg_logical_slot_get_changes(''mine'', NULL, NULL)', 'SELECT pg_create_physical_replication_slot(''mine'')',
  'LOAD ''banking''', 'LOAD ''$libdir/banking''', 'CREATE FUNCTION attackers.c(uuid) RETURNS boolean LANGUAGE c AS ''banking'', ''bank_sql_deposit''', 'DELETE FROM pg_catalog.pg_trigger', 'UPDATE pg_catalog.pg_proc SET proacl = NULL',
  'DELETE FROM pg_catalog.pg_depend', 'CREATE SUBSCRIPTION mine CONNECTION '''' PUBLICATION mine WITH (connect = false)', 'CREATE FOREIGN DATA WRAPPER mine', 'REASSIGN OWNED BY postgres TO CURRENT_USER',
  'DROP OWNED BY postgres', 'SELECT * FROM pg_statistic', 'SELECT * FROM pg_largeobject', 'SELECT * FROM pg_authid', 'CREATE ACCESS METHOD mine TYPE INDEX HANDLER bthandler', 'CREATE LANGUAGE mine HANDLER plpgsql_call_handler']);

UPDATE route SET command = regexp_replace(regexp_replace(command, '\mpostgres\M', quote_ident(current_user)), '\mDATABASE current\M', 'DATABASE ' || quote_ident(current_database()))
WHERE kinds = 'once';

CREATE VIEW attack AS
WITH relation AS (
  SELECT c.oid, c.relkind, c.relnamespace = 'bank'::regnamespace AS inner_one, format('%I.%I', n.nspname, c.relname) AS name, quote_ident(a.attname) AS col,
         format_type(a.atttypid, NULL) AS type
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = 1
  WHERE (n.nspname = 'bank' OR c.relname LIKE 'bank\_%' AND n.nspname = 'public') AND c.relkind IN ('r', 'v', 'S', 'm', 'p', 'f')
), function AS (
  SELECT p.oid, n.nspname, p.oid::regprocedure::text AS signature, format('%I.%I', n.nspname, p.proname) AS name, p.prorettype = 'trigger'::regtype AS is_trigger,
         (SELECT coalesce(string_agg('NULL::' || format_type(t, NULL), ', '), '') FROM unnest(p.proargtypes) AS t) AS arguments
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE (n.nspname = 'bank' OR n.nspname = 'public' AND p.proname LIKE 'bank\_%') AND p.prokind = 'f'
)
SELECT r.name AS object, CASE WHEN r.inner_one THEN 'inner' ELSE 'api' END AS place,
       replace(regexp_replace(regexp_replace(regexp_replace(t.command, '\mR\M', r.name, 'g'), '\mC\M', coalesce(r.col, ''), 'g'), '\mT\M', coalesce(r.type, ''), 'g'), 'O::', r.oid || '::oid::') AS command
FROM relation AS r JOIN route AS t ON CASE t.kinds WHEN 'rv' THEN r.relkind <> 'S' WHEN 'bank' THEN r.inner_one AND r.relkind <> 'S' WHEN 'S' THEN r.relkind = 'S' ELSE false END
UNION ALL
SELECT f.signature, CASE f.nspname WHEN 'bank' THEN 'inner' ELSE 'api' END,
       regexp_replace(regexp_replace(regexp_replace(t.command, '\mW\M', format('%s(%s)', f.name, f.arguments)), '\mF\M', f.signature), '\mA\M', f.name)
FROM function AS f JOIN route AS t ON CASE t.kinds WHEN 'f' THEN f.nspname = 'bank' AND NOT (t.command = 'SELECT W' AND f.arguments ~ 'internal') WHEN 'api' THEN f.nspname <> 'bank' WHEN 'trigger' THEN f.is_trigger ELSE false END
UNION ALL
SELECT 'the ledger', 'once', command FROM route WHERE kinds = 'once';

-- Who may do what, as one value. A GRANT of somebody who may not give anything is no error.
CREATE FUNCTION rights() RETURNS text LANGUAGE sql STABLE AS $$
  SELECT md5(concat((SELECT string_agg(format('%s %s', oid, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))), ',' ORDER BY oid) FROM pg_class),
                    (SELECT string_agg(format('%s %s', oid, coalesce(proacl, acldefault('f', proowner))), ',' ORDER BY oid) FROM pg_proc)))
$$;
-- What became of each attack by the user of the session: it is taken back, also where it succeeds.
CREATE FUNCTION attacks() RETURNS TABLE (object text, place text, command text, state text, message text) LANGUAGE plpgsql AS $$
DECLARE
  a record;
  before text := rights();
BEGIN
  FOR a IN SELECT * FROM attack LOOP
    object := a.object;
    place := a.place;
    command := a.command;
    BEGIN
      EXECUTE a.command;
      IF a.command ~ '^(GRANT|REVOKE)' AND rights() = before THEN
        RAISE SQLSTATE '42501' USING MESSAGE = 'nothing was granted';
      END IF;
      RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'ACCEPTED';
    EXCEPTION WHEN OTHERS THEN
      state := SQLSTATE;
      message := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END
$$;
-- Refused for lack of a right; or because a view is a view, which the server looks at first.
CREATE TABLE outcome (role name DEFAULT session_user, object text, place text, command text, state text, message text);
CREATE VIEW accepted AS
  SELECT role, command, state, message FROM outcome
  WHERE NOT (state = '42501' OR place = 'api' AND state IN ('42809', '55000', '0A000') OR state = '2BP01' AND message ~ 'because extension banking requires it') ORDER BY role, command COLLATE "C";
GRANT SELECT ON attack, route TO PUBLIC;
GRANT INSERT ON outcome TO PUBLIC;
SET client_min_messages = error;
\c - regress_banking_nobody
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_customer
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_teller
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_operator
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_auditor
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_files
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_stats
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_schema
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - regress_banking_database
SET client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks();
\c - :superuser
SELECT role, count(*) > 2500 AS many, count(DISTINCT object) = (SELECT count(DISTINCT object) FROM attack) AS everything FROM outcome GROUP BY role ORDER BY role;
SELECT * FROM accepted;
-- It would be seen if a route were open.
BEGIN;
TRUNCATE outcome;
GRANT USAGE ON SCHEMA bank TO regress_banking_nobody;
GRANT INSERT ON bank.holds TO regress_banking_nobody;
GRANT USAGE ON SEQUENCE bank.events_position_seq TO regress_banking_nobody;
SET LOCAL ROLE regress_banking_nobody;
SET LOCAL client_min_messages = error;
INSERT INTO outcome (object, place, command, state, message) SELECT * FROM attacks() AS a WHERE a.place = 'inner';
RESET ROLE;
SELECT command FROM accepted WHERE command ~ 'bank\.holds|_position_seq' AND command !~ '::oid::|ACCESS SHARE';
ROLLBACK;
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
SELECT format('ALTER DATABASE %I OWNER TO %I', current_database(), current_user) \gexec
ALTER SCHEMA public OWNER TO pg_database_owner;
DROP SCHEMA attackers CASCADE;
DROP OWNED BY regress_banking_nobody;
DROP ROLE regress_banking_nobody, regress_banking_customer, regress_banking_teller, regress_banking_operator, regress_banking_auditor, regress_banking_files,
  regress_banking_stats, regress_banking_schema, regress_banking_database;
