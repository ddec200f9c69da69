-- What a customer can lend to others by views, functions, indexes of its own: its own rights, and no
-- more; whoever uses them is a customer too.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
CREATE ROLE regress_banking_customers;
CREATE ROLE regress_banking_nobody;
CREATE ROLE regress_banking_alice IN ROLE regress_banking_customers, regress_banking_nobody;
CREATE ROLE regress_banking_bob IN ROLE regress_banking_customers;
CREATE ROLE regress_banking_reader;
CREATE ROLE regress_banking_operator;
CREATE ROLE regress_banking_auditor;
CREATE ROLE regress_banking_teller;
CREATE SCHEMA alices AUTHORIZATION regress_banking_alice;
GRANT USAGE ON SCHEMA alices TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_banking_auditor, regress_banking_nobody;
SELECT bank_grant('regress_banking_customers', 'customer'), bank_grant('regress_banking_operator', 'operator'),
       bank_grant('regress_banking_auditor', 'auditor'), bank_grant('regress_banking_teller', 'teller');
SELECT bank_map_owner('regress_banking_alice', a(100)), bank_map_owner('regress_banking_bob', a(200));
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(2));
SELECT balance FROM bank_deposit(a(1), '100 HTG');
SELECT balance FROM bank_deposit(a(2), '50 HTG', metadata => '{"private": "yes"}');
SELECT balance FROM bank_transfer(a(2), a(1), '1 HTG', metadata => '{"private": "yes"}');
SELECT event_id AS of_bob FROM bank_hold(a(2), '5 HTG') \gset

SET SESSION AUTHORIZATION regress_banking_alice;
CREATE VIEW alices.accounts AS SELECT * FROM bank_accounts;
CREATE VIEW alices.as_who_asks WITH (security_invoker) AS SELECT * FROM bank_accounts;
CREATE VIEW alices.holds AS SELECT * FROM bank_holds;
CREATE VIEW alices.transfers AS SELECT * FROM bank_transfers;
CREATE VIEW alices.balance AS SELECT * FROM bank_balance('00000000-0000-7000-8000-000000000002');
CREATE TABLE alices.paper (n integer);
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA alices TO PUBLIC;
-- Every function and view that a customer may use, with her rights.
CREATE FUNCTION alices.tried(command text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
  answer text;
BEGIN
  EXECUTE format('SELECT coalesce(string_agg(r::text, '' ''), ''nothing'') FROM (%s) AS r', command) INTO answer;
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END
$$;
CREATE FUNCTION alices.tries(hold uuid) RETURNS TABLE (command text, answer text) LANGUAGE sql AS $$
  SELECT c, alices.tried(c) FROM unnest(ARRAY[
    'SELECT bank_transfer(a(2), a(1), ''1 HTG'')', 'SELECT bank_create_account(a(200), ''COURANT'', ''HTG'')',
    'SELECT bank_create_account(a(100), ''COURANT'', ''HTG'', overdraft_limit => ''1000 HTG'')',
    'SELECT bank_hold(a(2), ''1 HTG'')', format('SELECT bank_capture(%L, to_account => a(1))', hold), format('SELECT bank_release(%L)', hold),
    'SELECT bank_send(a(2), ''1 HTG'', ''elsewhere'', ''1'')', 'SELECT bank_cancel_transfer(a(9))',
    'SELECT balance FROM bank_account(a(2))', 'SELECT balance FROM bank_balance(a(2))', 'SELECT balance FROM bank_balance_at(a(2), now())',
    'SELECT amount FROM bank_transactions(a(2))', 'SELECT balance FROM bank_statement(a(2), current_date, current_date)',
    'SELECT bank_account_exists(a(2))', 'SELECT balance FROM bank_accounts_of(a(200))', 'SELECT bank_transfer_status(a(9))',
    'SELECT balance FROM bank_accounts', 'SELECT amount FROM bank_holds', 'SELECT amount FROM bank_transfers']) AS c
$$;
-- Herself, after she has left her role.
SET ROLE regress_banking_nobody;
SELECT replace(command, :'of_bob', '...') AS command, answer FROM alices.tries(:'of_bob');
CREATE FUNCTION pg_temp.mine() RETURNS numeric LANGUAGE sql AS 'SELECT balance FROM bank_accounts';
SELECT pg_temp.mine();
RESET ROLE;
-- Somebody else who has no profile, and one who is an operator: who sees the transfers, and nothing else.
SET SESSION AUTHORIZATION regress_banking_nobody;
SELECT * FROM alices.tries(:'of_bob') WHERE answer NOT IN ('BK001', 'BK013', 'BK030', 'BK035', 'nothing');
SELECT balance FROM alices.accounts;
SELECT balance FROM alices.as_who_asks;
SELECT amount FROM alices.holds;
SELECT amount FROM alices.transfers;
SELECT balance FROM alices.balance;
SET SESSION AUTHORIZATION regress_banking_operator;
SELECT * FROM alices.tries(:'of_bob') WHERE answer NOT IN ('BK001', 'BK013', 'BK030', 'BK035', 'nothing');
SELECT balance FROM alices.accounts;
SELECT balance FROM alices.as_who_asks;
-- A teller who calls it moves nothing for her; a customer is the customer that it is.
SET SESSION AUTHORIZATION regress_banking_teller;
SELECT alices.tried('SELECT bank_transfer(a(2), a(1), ''1 HTG'')'), alices.tried('SELECT balance FROM bank_accounts');
SET SESSION AUTHORIZATION regress_banking_bob;
SELECT balance FROM alices.accounts;
SELECT alices.tried('SELECT balance FROM bank_transfer(a(2), a(1), ''1 HTG'')'), alices.tried('SELECT balance FROM bank_transfer(a(1), a(2), ''1 HTG'')');

-- What the server calls while it maintains her table, for a superuser or autovacuum; also by a function that the bank lends to customers.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pay(from_account uuid, to_account uuid) RETURNS numeric LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'SELECT balance FROM bank_transfer(from_account, to_account, ''1 HTG'')';
SET SESSION AUTHORIZATION regress_banking_alice;
CREATE FUNCTION alices.fine(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN n; END';
CREATE INDEX ON alices.paper (alices.fine(n));
INSERT INTO alices.paper SELECT generate_series(1, 10);
CREATE OR REPLACE FUNCTION alices.fine(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE SET search_path = public AS $$
BEGIN
  IF n = 1 THEN
    RAISE NOTICE '% % % % % %', current_user, alices.tried('SELECT bank_transfer(a(2), a(1), ''1 HTG'')'), alices.tried('SELECT pay(a(2), a(1))'),
      alices.tried('SELECT balance FROM bank_balance(a(2))'), alices.tried('SELECT balance FROM bank_accounts'),
      (SELECT count(*) FROM bank_accounts);
  END IF;
  RETURN n;
END
$$;
CREATE MATERIALIZED VIEW alices.stored AS SELECT a.balance FROM bank_accounts AS a;
CREATE MATERIALIZED VIEW alices.stored_balance AS
  SELECT alices.tried('SELECT balance FROM bank_balance(a(2))') AS of_bob, alices.tried('SELECT balance FROM bank_accounts') AS accounts;
SELECT pay(a(1), a(2));
SELECT pay(a(2), a(1));
SET SESSION AUTHORIZATION regress_banking_nobody;
CREATE MATERIALIZED VIEW public.stored AS SELECT a.balance FROM alices.accounts AS a;
RESET SESSION AUTHORIZATION;
REFRESH MATERIALIZED VIEW stored;
SELECT * FROM stored;
ANALYZE alices.paper;
REINDEX TABLE alices.paper;
SELECT * FROM alices.stored;
REFRESH MATERIALIZED VIEW alices.stored;
SELECT * FROM alices.stored;
REFRESH MATERIALIZED VIEW alices.stored_balance;
SELECT * FROM alices.stored_balance;

-- Rights that somebody has been given are its own: it sees what they show.
GRANT SELECT ON bank_accounts TO regress_banking_reader;
GRANT EXECUTE ON FUNCTION bank_balance(uuid) TO regress_banking_reader;
SET SESSION AUTHORIZATION regress_banking_reader;
SELECT balance FROM bank_accounts ORDER BY 1;
SELECT balance FROM bank_balance(a(2));
SELECT alices.tried('SELECT balance FROM bank_account(a(2))'), alices.tried('SELECT amount FROM bank_holds');
SET SESSION AUTHORIZATION regress_banking_auditor;
CREATE VIEW report AS SELECT balance FROM bank_accounts;
CREATE MATERIALIZED VIEW kept AS SELECT balance FROM bank_accounts;
SELECT balance FROM kept ORDER BY 1;
GRANT SELECT ON report TO regress_banking_nobody;
RESET SESSION AUTHORIZATION;
REFRESH MATERIALIZED VIEW kept;
SELECT balance FROM kept ORDER BY 1;
-- A view lends the right to read, not the rows.
SET SESSION AUTHORIZATION regress_banking_nobody;
SELECT * FROM report;
RESET SESSION AUTHORIZATION;

-- A look-alike in the API's schema is no right on the API.
CREATE FUNCTION bank_account(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION bank_account(text) DEPENDS ON EXTENSION banking;
SET SESSION AUTHORIZATION regress_banking_nobody;
SELECT alices.tried('SELECT balance FROM bank_account(a(2))');
RESET SESSION AUTHORIZATION;
DROP FUNCTION bank_account(text);

SELECT account_type, balance FROM bank_accounts ORDER BY balance;
SELECT * FROM broken_invariants();
SET client_min_messages = warning;
DROP SCHEMA alices CASCADE;
DROP OWNED BY regress_banking_auditor, regress_banking_nobody;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP OWNED BY regress_banking_auditor, regress_banking_nobody, regress_banking_reader;
DROP ROLE regress_banking_alice, regress_banking_bob, regress_banking_customers, regress_banking_nobody, regress_banking_reader,
  regress_banking_operator, regress_banking_auditor, regress_banking_teller;
