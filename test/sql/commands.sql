-- Every command: what it does, what it answers, what each option is for.
-- Refusals are in errors.sql, idempotency keys in depth in idempotency.sql.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- What a receipt says, without what differs from run to run.
CREATE FUNCTION told(r bank_receipt) RETURNS text LANGUAGE sql
RETURN pg_catalog.format('%s %s %s %s, balance %s, version %s, position %s%s', r.account_id = ANY (ARRAY[a(1), a(2), a(3), a(4), a(5), a(6)]),
                         r.event_type, r.amount, r.currency, r.balance, r.version, r.position,
                         CASE WHEN r.replayed THEN ', replayed' END);

-- Opening accounts. The row that comes back is the row of the view.
SELECT account_id, account_number, owner_id, account_type, currency, status, balance, held, available,
       version, overdraft_limit, balance_limit, house_account
FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT account_number, account_type, currency, balance, available, version, overdraft_limit, balance_limit
FROM bank_create_account(a(100), 'EPARGNE', 'HTG', account_id => a(2),
                         overdraft_limit => '250.50 HTG', balance_limit => '10000 HTG');
SELECT account_number, currency, balance, available FROM bank_create_account(a(100), 'COURANT', 'JPY', account_id => a(3));
SELECT account_number, currency, balance, available FROM bank_create_account(a(100), 'COURANT', 'KWD', account_id => a(4));
CREATE TABLE created AS SELECT * FROM bank_create_account(a(101), 'COURANT', 'USD', expected_version => 0, metadata => '{"branch":"Jacmel"}');
SELECT c = b AS same_as_the_view FROM (SELECT * FROM created) AS c, bank_accounts AS b WHERE c.account_id = b.account_id;
-- An identifier of its own is a UUID of version 7, made now.
SELECT substr(account_id::text, 15, 1) AS uuid_version, substr(account_id::text, 20, 1) IN ('8', '9', 'a', 'b') AS variant,
       abs(extract(epoch FROM clock_timestamp()) * 1000
           - ('x' || substr(replace(account_id::text, '-', ''), 1, 12))::bit(48)::bigint) < 60000 AS made_now,
       created_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS created_now
FROM bank_accounts WHERE owner_id = a(101);

-- Money in, money out.
SELECT account_id, event_type, amount, currency, balance, version, position, replayed FROM bank_deposit(a(1), '1000 HTG');
SELECT recorded_at BETWEEN now() AND clock_timestamp() AS recorded_now, substr(event_id::text, 15, 1) AS uuid_version
FROM bank_deposit(a(1), '0.01 HTG');
SELECT account_id, event_type, amount, currency, balance, version, position, replayed FROM bank_withdraw(a(1), '500.01 HTG');
SELECT told(bank_deposit(a(3), '7 JPY'));
SELECT told(bank_withdraw(a(3), 'JPY 7'));
SELECT told(bank_deposit(a(4), '0.001 KWD'));
-- From another house account than cash.
SELECT told(bank_deposit(a(1), '12.34 HTG', house_account => 'interest'));
SELECT told(bank_withdraw(a(1), '2.34 HTG', house_account => 'fees'));

-- Transfers: the receipt is the source's, the destination has the money.
SELECT account_id, event_type, amount, currency, balance, version, position, replayed
FROM bank_transfer(a(1), a(2), '100 HTG');
SELECT balance, available, version FROM bank_balance(a(2));
SELECT told(bank_transfer(a(2), a(1), '350.50 HTG'));
SELECT balance, held, available FROM bank_balance(a(2));
-- A house account may be either side, or both.
CREATE FUNCTION house(code text, currency text) RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT h.account_id FROM bank_accounts AS h WHERE h.house_account = code AND h.currency = house.currency);
SELECT told(bank_transfer(a(1), house('fees', 'HTG'), '5 HTG'));
SELECT event_type, amount, currency FROM bank_transfer(house('cash', 'HTG'), a(1), '3 HTG');
SELECT event_type, amount, currency FROM bank_transfer(house('fees', 'HTG'), house('interest', 'HTG'), '1 HTG');
SELECT house_account, currency, account_type, status, balance, available, account_number, owner_id
FROM bank_accounts WHERE account_type = 'HOUSE' ORDER BY house_account, currency COLLATE "C";

-- A house account of the bank's own.
SELECT account_type, currency, status, balance, held, available, version, house_account
FROM bank_create_house_account('vault_2', 'HTG', metadata => '{"where":"Jacmel"}');
SELECT told(bank_withdraw(a(1), '10 HTG', house_account => 'vault_2'));
-- Its code can then be used in every currency.
SELECT told(bank_deposit(a(4), '1 KWD', house_account => 'vault_2'));
-- The same code and currency have the same identifier in every ledger.
SELECT house('cash', 'HTG'), house('vault_2', 'KWD');

-- Freezing stops everything but unfreezing.
SELECT told(bank_freeze(a(1)));
SELECT status, balance FROM bank_account(a(1));
SELECT told(bank_unfreeze(a(1)));
SELECT told(bank_withdraw(a(1), '1 HTG'));

-- A limit that is left out stays; the ceiling can be removed.
SELECT told(bank_set_limits(a(1), overdraft_limit => '100 HTG', balance_limit => '5000 HTG'));
SELECT balance, available, overdraft_limit, balance_limit FROM bank_account(a(1));
SELECT told(bank_set_limits(a(1), balance_limit => '6000 HTG'));
SELECT balance, available, overdraft_limit, balance_limit FROM bank_account(a(1));
SELECT told(bank_set_limits(a(1), overdraft_limit => '0 HTG', remove_balance_limit => true));
SELECT refused($$SELECT bank_set_limits(a(1), balance_limit => '1 HTG', remove_balance_limit => true)$$);
SELECT balance, available, overdraft_limit, balance_limit FROM bank_account(a(1));
-- A limit of zero is a limit; the balance may be at it.
SELECT told(bank_withdraw(a(1), bank_money((SELECT balance FROM bank_balance(a(1))), 'HTG')));
SELECT told(bank_set_limits(a(1), balance_limit => '0 HTG'));
SELECT refused($$SELECT bank_deposit(a(1), '0.01 HTG')$$);

-- Closing an empty account.
SELECT told(bank_close(a(1)));
SELECT status, balance, version FROM bank_account(a(1));

-- expected_version: the version that was read.
SELECT told(bank_deposit(a(2), '300 HTG', expected_version => 3));
SELECT told(bank_withdraw(a(2), '1 HTG', expected_version => 4));
SELECT told(bank_transfer(a(2), house('fees', 'HTG'), '1 HTG', expected_version => 5));
SELECT told(bank_freeze(a(2), expected_version => 6));
SELECT told(bank_unfreeze(a(2), expected_version => 7));
SELECT told(bank_set_limits(a(2), expected_version => 8));
SELECT refused($$SELECT bank_freeze(a(2), expected_version => 8)$$);

-- occurred_at and metadata stay with the event; the account goes on in the order of recording.
SELECT told(bank_deposit(a(2), '1 HTG', occurred_at => '1999-12-31 12:00+00', metadata => '{"operator":"Marie","desk":[1,2]}'));
SELECT told(bank_freeze(a(2), occurred_at => '2000-01-01 12:00+00', metadata => '{}'));
SELECT version, event_type, occurred_at AT TIME ZONE 'UTC' AS occurred_at, metadata, recorded_at > now() - interval '1 hour' AS recorded_now
FROM bank_events WHERE aggregate_id = a(2) AND occurred_at < recorded_at ORDER BY position;
-- Without occurred_at the event occurred when it was recorded.
SELECT count(*) FROM bank_events WHERE occurred_at IS DISTINCT FROM recorded_at;

-- Arguments in any order, by name: what PostgREST does.
SELECT told(bank_deposit(amount => '2 HTG', account_id => a(5)))
FROM bank_create_account(owner_id => a(102), currency => 'HTG', account_type => 'COURANT', account_id => a(5));

-- Several commands in one statement see each other.
SELECT told(bank_deposit(a(5), bank_money(n, 'HTG'))) FROM generate_series(1, 3) AS n;

-- The greatest balance there can be, and the lowest.
SELECT told(bank_deposit(account_id, '92233720368547758.07 USD')) FROM bank_create_account(a(102), 'COURANT', 'USD', account_id => a(6));
SELECT balance FROM bank_accounts WHERE house_account = 'cash' AND currency = 'USD';
SELECT told(bank_withdraw(a(6), '92233720368547758.07 USD', house_account => 'suspense'));
SELECT balance FROM bank_accounts WHERE house_account = 'suspense' AND currency = 'USD';

-- What was written, in order.
SELECT position, event_type, version, peer_version, event_data - 'account_id' - 'transaction_id' - 'to_account_id' - 'house_account_id' - 'stripe' AS event_data
FROM bank_events ORDER BY position;
SELECT event_data ->> 'account_id' = aggregate_id::text AS account,
       count(*) FILTER (WHERE event_data ->> 'transaction_id' = event_id::text) AS with_transaction_id,
       count(*) FILTER (WHERE event_data ->> 'to_account_id' = peer_id::text) AS with_destination,
       count(*)
FROM bank_events GROUP BY 1;
SELECT * FROM bank_trial_balance ORDER BY currency COLLATE "C";
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
