-- Paying into accounts by identifier and by number. What a customer is told when somebody else's account takes no
-- money: the same as of one that is not there; and why its own does not give it, before all that.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
ALTER FUNCTION ledger_state() SECURITY DEFINER;
\set ECHO all
\set VERBOSITY terse
CREATE ROLE regress_banking_teller;
CREATE ROLE regress_banking_alice;
SELECT bank_grant('regress_banking_teller', 'teller'), bank_grant('regress_banking_alice', 'customer');
SELECT bank_map_owner('regress_banking_alice', a(100));
SELECT count(bank_create_account(owner, 'COURANT', currency, account_id => id, balance_limit => ceiling::bank_money))
FROM (VALUES (a(10), a(100), 'HTG', NULL), (a(11), a(100), 'HTG', NULL), (a(12), a(100), 'USD', NULL),
             (a(5), a(200), 'HTG', NULL), (a(6), a(200), 'HTG', NULL), (a(7), a(200), 'HTG', NULL),
             (a(20), a(200), 'USD', NULL), (a(21), a(200), 'HTG', '1 HTG')) AS t (id, owner, currency, ceiling);
SELECT balance FROM bank_deposit(a(10), '100 HTG');
SELECT event_type FROM bank_freeze(a(6));
SELECT event_type FROM bank_freeze(a(11));
SELECT event_type FROM bank_close(a(7));
SELECT account_id AS cash FROM bank_accounts WHERE house_account = 'cash' \gset
CREATE TABLE payee (account_id, what) AS VALUES
  (a(6), 'frozen'), (a(7), 'closed'), (a(20), 'in USD'), (a(21), 'full'), (a(9), 'nobody''s'), (a(99), 'nobody''s'), (:'cash', 'the bank''s');
GRANT SELECT ON payee TO PUBLIC;
CREATE TABLE numbers (account_id, account_number) AS SELECT account_id, account_number FROM bank_accounts WHERE account_number IS NOT NULL;
GRANT SELECT ON numbers TO PUBLIC;
SELECT n AS nobody FROM (SELECT '0000099999' || lpad(i::text, 2, '0') FROM generate_series(0, 99) AS i) AS t (n) WHERE bank_account_number_valid(n) \gset

-- Staff is told why.
SET SESSION AUTHORIZATION regress_banking_teller;
SELECT what, refused(format('SELECT bank_transfer(a(10), %L, ''2 HTG'')', account_id)) FROM payee WHERE what <> 'the bank''s';
SELECT what, refused(format('SELECT bank_transfer_to_number(a(10), %L, ''2 HTG'')', account_number)) FROM payee JOIN numbers USING (account_id);

-- A customer is not, and cannot tell one from another; nor from the house account.
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT count(*), count(DISTINCT replace(refused(format('SELECT bank_transfer(a(10), %L, ''2 HTG'')', account_id)), coalesce(substring(account_id::text, '^00000000.*'), '<uuid>'), 'it')) FROM payee;
SELECT refused('SELECT bank_transfer(a(10), a(6), ''2 HTG'')');
SELECT count(*), count(DISTINCT replace(refused(format('SELECT bank_transfer_to_number(a(10), %L, ''2 HTG'')', number)), number, 'it'))
FROM (SELECT account_number FROM payee JOIN numbers USING (account_id) UNION SELECT :'nobody') AS n (number);
SELECT refused(format('SELECT bank_transfer_to_number(a(10), %L, ''2 HTG'')', :'nobody'));
SELECT event_id AS hold FROM bank_hold(a(10), '2 HTG') \gset
SELECT count(*), count(DISTINCT replace(refused(format('SELECT bank_capture(%L, to_account => %L)', :'hold', account_id)), coalesce(substring(account_id::text, '^00000000.*'), '<uuid>'), 'it')) FROM payee;
SELECT refused(format('SELECT bank_capture(%L, to_account => a(6))', :'hold'));

-- Of her own account and her own mistakes she is told everything, and first of all.
SELECT account_id, refused(format('SELECT bank_transfer(a(10), %L, ''500 HTG'')', account_id)) FROM payee WHERE account_id < a(50);
SELECT DISTINCT refused(format('SELECT bank_transfer(a(10), %L, ''1 USD'')', account_id)) FROM payee;
SELECT DISTINCT refused(format('SELECT bank_transfer(a(11), %L, ''1 HTG'')', account_id)) FROM payee;
SELECT DISTINCT refused(format('SELECT bank_transfer(a(10), %L, ''1 HTG'', expected_version => 1)', account_id)) FROM payee;
SELECT DISTINCT refused(format('SELECT bank_capture(%L, to_account => %L, amount => ''3 HTG'')', :'hold', account_id)) FROM payee;
SELECT refused('SELECT bank_transfer(a(10), a(11), ''1 HTG'')');
SELECT refused('SELECT bank_transfer(a(10), a(12), ''1 HTG'')');
SELECT refused('SELECT bank_transfer(a(10), a(10), ''1 HTG'')');
SELECT refused(format('SELECT bank_transfer_to_number(a(10), %L, ''1 HTG'')', account_number)) FROM numbers WHERE account_id = a(10);
SELECT refused(format('SELECT bank_transfer_to_number(a(5), %L, ''1 HTG'')', account_number)) FROM numbers WHERE account_id = a(10);

-- By number, with the options of every transfer.
SELECT account_number AS number FROM numbers WHERE account_id = a(5) \gset
SELECT event_type, account_id, amount, balance FROM bank_transfer_to_number(a(10), :'number', '3 HTG', metadata => '{"for": "rent"}');
SELECT balance, replayed FROM bank_transfer_to_number(a(10), :'number', '3 HTG', idempotency_key => 'k');
SELECT balance, replayed FROM bank_transfer_to_number(a(10), :'number', '3 HTG', idempotency_key => 'k');
SELECT refused('SELECT bank_transfer(a(10), a(5), ''3 HTG'', idempotency_key => ''k'')');
SELECT refused(format('SELECT bank_transfer_to_number(a(10), %L, ''1 HTG'', expected_version => 1)', :'number'));
SELECT amount, other_account_id, metadata FROM bank_transactions(a(10)) ORDER BY version DESC LIMIT 1;

-- What is no number.
SELECT n, refused(format('SELECT bank_transfer_to_number(a(10), %L, ''1 HTG'')', n))
FROM unnest(ARRAY['000000000196', '195', '', '0000000001955', 'É', :'number' || ' ', NULL]) AS n;
SELECT refused('SELECT bank_transfer_to_number(NULL, ''000000000195'', ''1 HTG'')');
SELECT refused('SELECT bank_transfer_to_number(a(10), ''000000000195'', NULL)');

-- As JSON, where a refusal is the outcome of its key: what is replayed is what was told.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION run(command jsonb) RETURNS jsonb LANGUAGE sql SECURITY DEFINER
  RETURN bank_execute(command) - 'event_id' - 'recorded_at' - 'position';
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account_number": "%s", "amount": "1 HTG"}', a(10), :'number')::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account": "%s", "amount": "1 HTG", "idempotency_key": "no"}', a(10), a(6))::jsonb);
RESET SESSION AUTHORIZATION;
SELECT event_type FROM bank_unfreeze(a(6));
SELECT refusal FROM bank.idempotency_keys WHERE refusal IS NOT NULL;
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account": "%s", "amount": "1 HTG", "idempotency_key": "no"}', a(10), a(6))::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account": "%s", "amount": "1 HTG", "idempotency_key": "now"}', a(10), a(6))::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "amount": "1 HTG"}', a(10))::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account": "%s", "to_account_number": "%s", "amount": "1 HTG"}', a(10), a(5), :'number')::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account_number": 195, "amount": "1 HTG"}', a(10))::jsonb);
SELECT run(format('{"command": "transfer", "from_account": "%s", "to_account_number": "196", "amount": "1 HTG"}', a(10))::jsonb);
RESET SESSION AUTHORIZATION;
SELECT r ->> 'ok' AS ok, r ->> 'balance' AS balance FROM unnest(bank_execute_batch(ARRAY[
  format('{"command": "transfer", "from_account": "%s", "to_account_number": "%s", "amount": "1 HTG"}', a(10), :'number'),
  format('{"command": "transfer", "from_account": "%s", "to_account_number": "%s", "amount": "1 HTG"}', a(10), :'nobody')]::jsonb[])) AS r;

SELECT * FROM broken_invariants();
DROP FUNCTION run(jsonb);
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP ROLE regress_banking_teller, regress_banking_alice;
