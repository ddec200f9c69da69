-- Customers act for the accounts of their own owner, and learn nothing of others'. Which owner that is
-- comes from the role that has logged in, not from what a session says.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
CREATE ROLE regress_banking_tellers;
CREATE ROLE regress_banking_customers;
CREATE ROLE regress_banking_alice IN ROLE regress_banking_customers;
CREATE ROLE regress_banking_bob IN ROLE regress_banking_customers;
CREATE ROLE regress_banking_carol IN ROLE regress_banking_customers;
SELECT bank_grant('regress_banking_tellers', 'teller'), bank_grant('regress_banking_customers', 'customer');
SELECT bank_map_owner('regress_banking_alice', a(100)), bank_map_owner('regress_banking_bob', a(200));
SELECT role_name, profile FROM bank_grants ORDER BY 1;

SET SESSION AUTHORIZATION regress_banking_tellers;
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT count(account_id) FROM bank_create_account(a(200), 'COURANT', 'HTG', account_id => a(2));
SELECT balance FROM bank_deposit(a(1), '100 HTG', metadata => '{"note": "salary"}');
SELECT balance FROM bank_deposit(a(2), '50 HTG', idempotency_key => 'same');
SELECT event_id AS of_staff FROM bank_hold(a(1), '5 HTG') \gset
SELECT event_id AS of_bob FROM bank_hold(a(2), '5 HTG') \gset
SELECT balance FROM bank_transfer(a(2), a(1), '1 HTG', metadata => '{"private": "yes"}');

-- Alice sees her account, as a view and by every query.
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT bank_current_owner();
SELECT account_id, balance, held FROM bank_accounts;
SELECT balance FROM bank_account(a(1));
SELECT balance, available FROM bank_balance(a(1));
SELECT balance FROM bank_balance_at(a(1), 'infinity');
SELECT amount, other_account_id = a(2) AS from_bob, metadata FROM bank_transactions(a(1)) ORDER BY version;
SELECT balance, metadata FROM bank_statement(a(1), current_date - 1, current_date + 1);
SELECT amount, status FROM bank_holds;

-- Bob's are not there, as those that are nobody's.
SELECT count(*) FROM bank_accounts WHERE account_id = a(2);
SELECT count(*) FROM bank_accounts_of(a(200));
SELECT bank_account_exists(a(1)), bank_account_exists(a(2)), bank_account_exists(a(3));
SELECT bank_account(a(2));
SELECT bank_account(a(3));
SELECT bank_balance(a(2));
SELECT bank_balance_at(a(2), now());
SELECT bank_transactions(a(2));
SELECT bank_statement(a(2), current_date, current_date);
SELECT bank_transfer(a(2), a(1), '1 HTG');
SELECT bank_transfer(a(3), a(1), '1 HTG');
SELECT bank_hold(a(2), '1 HTG');
SELECT bank_capture(:'of_bob', to_account => a(1));
SELECT bank_release(:'of_bob');
SELECT bank_capture(a(9), to_account => a(1));
SELECT bank_send(a(2), '1 HTG', 'nobody', '1');
SELECT bank_cancel_transfer(a(9));

-- A function in WHERE sees no row of another one.
CREATE FUNCTION pg_temp.tell(uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT count(*) FROM bank_accounts WHERE pg_temp.tell(account_id);
SELECT count(*) FROM bank_holds WHERE pg_temp.tell(account_id);
DROP FUNCTION pg_temp.tell(uuid);

-- She moves what is hers, into any customer's account, not into the bank's own.
SELECT balance FROM bank_transfer(a(1), a(2), '10 HTG', idempotency_key => 'same');
SELECT balance, replayed FROM bank_transfer(a(1), a(2), '10 HTG', idempotency_key => 'same');
-- Her keys are hers: one that staff has chosen to look like it is another, as are those of staff she might take first.
SELECT balance FROM bank_transfer(a(1), a(2), '1 HTG', idempotency_key => 'fee');
SET SESSION AUTHORIZATION regress_banking_tellers;
SELECT balance, replayed FROM bank_transfer(a(1), a(2), '1 HTG', idempotency_key => a(100) || '/fee');
SELECT balance, replayed FROM bank_deposit(a(1), '1 HTG', idempotency_key => '/fee');
SELECT bank_deposit(a(1), '1 HTG', idempotency_key => chr(1) || a(100) || '/fee');
SELECT bank_execute(jsonb_build_object('command', 'deposit', 'account_id', a(1), 'amount', '1 HTG', 'idempotency_key', chr(1) || a(100) || '/fee'));
SELECT detail FROM bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], ARRAY['1 HTG']::bank_money[], idempotency_keys => ARRAY[chr(1) || 'fee']);
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT event_id AS of_alice FROM bank_hold(a(1), '2 HTG') \gset
SELECT bank_capture(:'of_alice');
SELECT event_type FROM bank_capture(:'of_alice', '1 HTG', to_account => a(2));
SELECT event_type FROM bank_capture(:'of_alice', amount => '1 HTG', to_account => a(2));
-- What staff holds is not hers to free.
SELECT bank_release(:'of_staff');
SELECT bank_capture(:'of_staff', to_account => a(2));

-- What Bob's account does not take is refused without his balance and ceiling; her own ceiling she is told.
SET SESSION AUTHORIZATION regress_banking_tellers;
SELECT count(*) FROM bank_set_limits(a(2), balance_limit => '100 HTG');
SET SESSION AUTHORIZATION regress_banking_alice;
\set VERBOSITY default
SELECT event_id AS too_much FROM bank_hold(a(1), '60 HTG') \gset
SELECT bank_capture(:'too_much', to_account => a(2));
SELECT event_type FROM bank_release(:'too_much');
SELECT bank_transfer(a(1), a(2), '60 HTG', idempotency_key => 'ceiling');
SELECT account_id AS hers FROM bank_create_account(a(100), 'EPARGNE', 'HTG') \gset
SELECT balance FROM bank_transfer(a(1), :'hers', '20 HTG');
SET SESSION AUTHORIZATION regress_banking_tellers;
SELECT count(*) FROM bank_set_limits(:'hers', balance_limit => '25 HTG');
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT bank_transfer(a(1), :'hers', '20 HTG');
SELECT balance FROM bank_transfer(:'hers', a(1), '20 HTG');
\set VERBOSITY terse

-- An account for herself, without credit of her own making.
SELECT balance, account_type FROM bank_create_account(a(100), 'EPARGNE', 'HTG');
SELECT bank_create_account(a(200), 'COURANT', 'HTG');
SELECT bank_create_account(a(100), 'COURANT', 'HTG', overdraft_limit => '1000 HTG');
SELECT bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(5));

-- What she may not call; and claims of her own change nothing.
SELECT bank_deposit(a(1), '1 HTG');
SELECT bank_execute('{"command": "deposit"}');
SELECT count(*) FROM bank_events;
SELECT count(*) FROM bank.accounts;
SELECT bank_map_owner('regress_banking_alice', a(200));
SELECT bank_grant('regress_banking_alice', 'teller');
SET request.jwt.claims = '{"sub": "00000000-0000-7000-8000-000000000200"}';
SELECT bank_current_owner();
SET banking.trusted_authenticators = 'regress_banking_alice';
SET ROLE regress_banking_tellers;
SET session_replication_role = replica;
RESET ROLE;

-- Who stands for nobody has nothing.
SET SESSION AUTHORIZATION regress_banking_carol;
SELECT bank_current_owner();
SELECT count(*) FROM bank_accounts;
SELECT bank_transfer(a(1), a(2), '1 HTG');
SELECT bank_create_account(a(100), 'COURANT', 'HTG');

-- A customer who is staff too is staff; so is a superuser, until it sets the role.
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM bank_accounts WHERE house_account IS NULL;
SET ROLE regress_banking_alice;
SELECT count(*) FROM bank_accounts;
RESET ROLE;
GRANT regress_banking_tellers TO regress_banking_bob;
SET SESSION AUTHORIZATION regress_banking_bob;
SELECT count(*) FROM bank_accounts WHERE house_account IS NULL;
RESET SESSION AUTHORIZATION;

SELECT max(position) AS last FROM bank_events \gset
-- Whatever she reads is found by indexes, however much there is of others.
SELECT count(bank_create_account(a(1000 + n), 'COURANT', 'HTG', account_id => a(1000 + n))) FROM generate_series(1, 400) AS n;
SELECT count(bank_deposit(a(1000 + n), '10 HTG')), count(bank_hold(a(1000 + n), '1 HTG')) FROM generate_series(1, 400) AS n;
SELECT name FROM bank_add_participant('coop', 'https://coop.example/');
SELECT count(bank_send(a(1000 + n), '1 HTG', 'coop', '1')) FROM generate_series(1, 400) AS n;
SELECT count(bank_send(a(1), '1 HTG', 'coop', '1'));
ANALYZE;
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT pg_stat_force_next_flush();
BEGIN;
SELECT count(*) FROM bank_accounts WHERE account_id = a(1);
SELECT count(*) FROM bank_accounts;
SELECT count(*) FROM bank_accounts_of(a(100));
SELECT count(*) FROM bank_holds WHERE account_id = a(1);
SELECT count(*) FROM bank_holds;
SELECT count(*) FROM bank_transfers WHERE account_id = a(1);
SELECT count(*) FROM bank_transfers;
SELECT count(*) FROM bank_account(a(1)), bank_balance(a(1)), bank_balance_at(a(1), 'infinity');
SELECT count(*) FROM bank_transactions(a(1));
SELECT count(*) FROM bank_statement(a(1), current_date, current_date);
SELECT relname, seq_scan FROM pg_stat_xact_all_tables
WHERE schemaname = 'bank' AND relname IN ('accounts', 'events', 'holds', 'transfers') ORDER BY relname;
COMMIT;
RESET SESSION AUTHORIZATION;
-- What a customer was refused in a session makes nobody a customer who comes after.
SET SESSION AUTHORIZATION regress_banking_alice;
SELECT bank_transfer(a(2), a(1), '1 HTG') IS NULL;
SET SESSION AUTHORIZATION regress_banking_tellers;
SELECT ok FROM bank_post_transfers(ARRAY[a(1)], ARRAY[a(2)], ARRAY['1 HTG']::bank_money[]);
SELECT bank_transfer(a(9), a(1), '1 HTG') IS NULL;
SELECT bank_execute_batch(ARRAY['{"command": "deposit"}']::jsonb[]);
RESET SESSION AUTHORIZATION;
-- Who has done it.
SELECT event_type, actor - 'application_name' AS actor FROM bank_events WHERE event_type <> 'account.created' AND position <= :last ORDER BY position;
BEGIN;
DELETE FROM bank.actors;
SELECT invariant, failures > 0 AS failures FROM bank_verify() WHERE NOT ok;
ROLLBACK;
-- Within one session: a role that gets another name.
SET SESSION AUTHORIZATION regress_banking_bob;
SELECT balance FROM bank_deposit(a(1), '1 HTG');
RESET SESSION AUTHORIZATION;
ALTER ROLE regress_banking_bob RENAME TO regress_banking_robert;
SET SESSION AUTHORIZATION regress_banking_robert;
SELECT balance FROM bank_deposit(a(1), '1 HTG');
RESET SESSION AUTHORIZATION;
SELECT actor ->> 'session_user' AS actor FROM bank_events ORDER BY position DESC LIMIT 2;
SELECT * FROM bank_verify() WHERE NOT ok;

DROP EXTENSION banking;
SET banking.allow_drop = on;
-- And a ledger that is made again.
SELECT balance FROM bank_deposit(a(1), '1 HTG');
DROP EXTENSION banking CASCADE;
CREATE EXTENSION banking;
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT balance FROM bank_deposit(a(1), '1 HTG');
SELECT event_type, actor ->> 'session_user' = session_user AS by_me FROM bank_events ORDER BY position;
DROP EXTENSION banking CASCADE;
DROP ROLE regress_banking_tellers, regress_banking_alice, regress_banking_robert, regress_banking_carol, regress_banking_customers;
