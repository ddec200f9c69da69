-- A tour of the ledger: five minutes, from opening accounts to the trial balance.
--
--   psql -X -f examples/tour.sql            (in a database of its own)
--
-- ./quickstart runs it. What is refused is refused on purpose, and says with which code. The second
-- half looks at the made-up month of credit_union.sql.

\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\pset null '-'
\set ECHO none
SET client_min_messages = warning;

\echo
\echo '== Install the ledger'
\set ECHO queries
CREATE EXTENSION banking;

\set ECHO none
\echo
\echo '== Two customers open accounts in gourdes (HTG); Marie''s may be overdrawn by 100.00'
\set ECHO queries
SELECT account_id AS marie
  FROM bank_create_account(gen_random_uuid(), 'COURANT', 'HTG', overdraft_limit => '100.00 HTG')
\gset
SELECT account_id AS jean FROM bank_create_account(gen_random_uuid(), 'EPARGNE', 'HTG')
\gset
SELECT account_number, account_type, currency, status, balance, available, version
  FROM bank_account(:'marie');

\set ECHO none
\echo
\echo '== Deposit 1000.00, withdraw 250.50'
\set ECHO queries
SELECT event_type, amount, currency, balance, version
  FROM bank_deposit(:'marie', '1000.00 HTG', metadata => '{"teller": "Rose"}');
SELECT event_type, amount, currency, balance, version
  FROM bank_withdraw(:'marie', '250.50 HTG');

\set ECHO none
\echo
\echo '== Transfer 300.00 to Jean under an idempotency key, and once more with the same key: one effect'
\set ECHO queries
SELECT event_type, amount, currency, balance, version, replayed
  FROM bank_transfer(:'marie', :'jean', '300.00 HTG', idempotency_key => 'rent-2026-01');
SELECT event_type, amount, currency, balance, version, replayed
  FROM bank_transfer(:'marie', :'jean', '300.00 HTG', idempotency_key => 'rent-2026-01');

\set ECHO none
\echo
\echo '== More than the account has, its overdraft included'
\set ON_ERROR_STOP off
\set ECHO queries
SELECT bank_withdraw(:'marie', '600.00 HTG');
\set ECHO none
\echo refused with :SQLSTATE

\echo
\echo '== Another currency'
\set ECHO queries
SELECT bank_deposit(:'marie', '10.00 USD');
\set ECHO none
\echo refused with :SQLSTATE

\echo
\echo '== A decision made on version 2, when the account has moved on'
\set ECHO queries
SELECT bank_withdraw(:'marie', '1.00 HTG', expected_version => 2);
\set ECHO none
\echo refused with :SQLSTATE
\set ON_ERROR_STOP on

\echo
\echo '== Freeze Jean''s account; money cannot reach it until it is unfrozen'
\set ECHO queries
SELECT event_type, version FROM bank_freeze(:'jean', metadata => '{"reason": "lost card"}');
\set ON_ERROR_STOP off
SELECT bank_transfer(:'marie', :'jean', '5.00 HTG');
\set ECHO none
\echo refused with :SQLSTATE
\set ON_ERROR_STOP on
\set ECHO queries
SELECT event_type, version FROM bank_unfreeze(:'jean');

\set ECHO none
\echo
\echo '== Reserve 120.00 for an order; pay 80.00 of it, the rest is free again; a hold is used once'
\set ECHO queries
SELECT event_id AS hold FROM bank_hold(:'marie', '120.00 HTG', expires_in => '3 days') \gset
SELECT balance, held, available FROM bank_balance(:'marie');
SELECT event_type, amount, balance
  FROM bank_capture(:'hold', amount => '80.00 HTG', to_account => :'jean');
SELECT amount, captured, status FROM bank_holds;
\set ON_ERROR_STOP off
SELECT bank_release(:'hold');
\set ECHO none
\echo refused with :SQLSTATE
\set ON_ERROR_STOP on
\set ECHO queries

\set ECHO none
\echo
\echo '== Marie''s balance, and her statement of today'
\set ECHO queries
SELECT currency, balance, held, available, version FROM bank_balance(:'marie');
SELECT line, entry, event_type, debit, credit, balance
  FROM bank_statement(:'marie', current_date, current_date);

\set ECHO none
\echo
\echo '== Jean''s events: the only source of truth, append-only for everybody'
\set ECHO queries
SELECT CASE aggregate_id WHEN :'jean' THEN version ELSE peer_version END AS version,
       event_type, event_data ->> 'amount' AS amount, metadata
  FROM bank_account_events(:'jean') ORDER BY position;
\set ON_ERROR_STOP off
DELETE FROM bank.events;
\set ECHO none
\echo refused with :SQLSTATE
\set ON_ERROR_STOP on

\echo
\echo '== A month at a credit union: nine accounts, 44 movements with their business dates'
\echo '   (made up; examples/credit_union.sql)'
\ir credit_union.sql
\set ECHO queries
SELECT name, account_number, account_type, currency, balance, available, version
  FROM member JOIN bank_accounts USING (account_id, account_type, currency) ORDER BY number;
SELECT account_id AS rose FROM member WHERE number = 1
\gset

\set ECHO none
\echo
\echo '== Rose''s statement of January; the deposit of the 10th was entered last, and stands where it belongs'
\set ECHO queries
SELECT line, entry, occurred_at::date AS day, debit, credit, balance, metadata ->> 'purpose' AS purpose
  FROM bank_statement(:'rose', '2025-01-01', '2025-01-31');

\set ECHO none
\echo
\echo '== Her balance at the end of the 14th, and her last three movements in the order of booking'
\set ECHO queries
SELECT currency, balance FROM bank_balance_at(:'rose', '2025-01-14 23:59:59');
SELECT version, occurred_at::date AS day, amount, balance, metadata ->> 'purpose' AS purpose
  FROM bank_transactions(:'rose', page_size => 3);

\set ECHO none
\echo
\echo '== The other side of it: the bank''s own accounts'
\set ECHO queries
SELECT house_account, currency, balance FROM bank_accounts
 WHERE account_type = 'HOUSE' ORDER BY currency, house_account;

\set ECHO none
\echo
\echo '== The books balance, and everything re-derived from the events agrees'
\set ECHO queries
SELECT currency, debits, credits, credits - debits AS difference FROM bank_trial_balance ORDER BY currency;
SELECT invariant, ok, failures FROM bank_verify();
\set ECHO none
