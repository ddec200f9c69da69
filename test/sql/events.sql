-- Events are append-only for everybody, and nobody can append one that does not
-- continue its streams exactly.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- Accounts 1 and 2 active, 3 frozen, 4 closed, 5 in another currency, 6 with limits.
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', CASE n WHEN 5 THEN 'USD' ELSE 'HTG' END, account_id => a(n),
                            balance_limit => CASE n WHEN 6 THEN '500 HTG'::bank_money END)).account_number
FROM generate_series(1, 6) AS n;

-- A refused command leaves no gap in the positions, even if it had been the first to use a house account.
CREATE FUNCTION drawn() RETURNS bigint LANGUAGE sql VOLATILE RETURN (SELECT last_value FROM bank.events_position_seq);
SELECT drawn();
SELECT bank_withdraw(a(1), '1 HTG');
SELECT bank_deposit(a(1), '1 HTG', expected_version => 5, house_account => 'interest');
SELECT bank_deposit(a(6), '501 HTG', house_account => 'external');
SELECT drawn();
SELECT event_type FROM bank_freeze(a(3));
SELECT event_type FROM bank_close(a(4));
SELECT position FROM bank_deposit(a(1), '10 HTG');
SELECT bank_withdraw(a(1), '11 HTG');
SELECT bank_deposit(a(1), '1 HTG', expected_version => 5);
SELECT bank_deposit(a(3), '1 HTG', house_account => 'fees');
SELECT bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT position FROM bank_deposit(a(1), '10 HTG');
SELECT max(position) - min(position) + 1 - count(*) AS gaps FROM bank.events;
-- A transaction that is rolled back after an accepted command leaves a gap: positions are not given back.
BEGIN;
SELECT position FROM bank_deposit(a(1), '1 HTG');
ROLLBACK;
SELECT position FROM bank_deposit(a(1), '1 HTG');

-- Append-only: no change, not even of no row.
SELECT ledger_state() AS before \gset
UPDATE bank.events SET amount = 1;
UPDATE bank.events SET amount = amount WHERE false;
DELETE FROM bank.events;
DELETE FROM bank.events WHERE false;
TRUNCATE bank.events;
TRUNCATE bank.accounts, bank.events CASCADE;
WITH gone AS (DELETE FROM bank.events RETURNING 1) SELECT count(*) FROM gone;
INSERT INTO bank.events SELECT * FROM bank.events LIMIT 1
  ON CONFLICT (aggregate_id, version) DO UPDATE SET balance = 0;
INSERT INTO bank.events SELECT * FROM bank.events LIMIT 0
  ON CONFLICT (aggregate_id, version) DO UPDATE SET balance = 0;
MERGE INTO bank.events AS e USING bank.accounts AS a ON e.aggregate_id = a.account_id
  WHEN MATCHED THEN UPDATE SET balance = 0;
MERGE INTO bank.events AS e USING bank.accounts AS a ON e.aggregate_id = a.account_id
  WHEN MATCHED THEN DELETE;
UPDATE bank_events SET metadata = '{}';
DELETE FROM bank_events;
-- ... also where triggers do not fire as usual,
SET session_replication_role = replica;
UPDATE bank.events SET amount = 1;
DELETE FROM bank.events;
TRUNCATE bank.events;
INSERT INTO bank.events SELECT * FROM bank.events LIMIT 1
  ON CONFLICT (aggregate_id, version) DO UPDATE SET balance = 0;
SET session_replication_role = local;
DELETE FROM bank.events;
RESET session_replication_role;
-- ... and for an owner who is no superuser.
CREATE ROLE regress_banking_owner;
ALTER TABLE bank.events OWNER TO regress_banking_owner;
GRANT USAGE ON SCHEMA bank TO regress_banking_owner;
SET ROLE regress_banking_owner;
UPDATE bank.events SET amount = 1;
DELETE FROM bank.events;
TRUNCATE bank.events;
RESET ROLE;
ALTER TABLE bank.events OWNER TO CURRENT_USER;
DROP OWNED BY regress_banking_owner;
DROP ROLE regress_banking_owner;
SELECT ledger_state() = :'before' AS nothing_has_changed;

-- Hand-written events. The exact continuation of a stream: a deposit of 1.00 to account 1.
CREATE FUNCTION cash_stripe() RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT account_id FROM bank.accounts WHERE house_code = 'cash' AND currency = 'HTG');
CREATE FUNCTION exact() RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('position', s.last_value + 1, 'version', a.version + 1, 'peer_version', h.version + 1, 'amount', 100,
           'balance', a.credits - a.debits + 100, 'peer_balance', h.credits - h.debits - 100,
           'recorded_at', clock_timestamp(), 'transaction_id', pg_current_xact_id()::text,
           'event_id', '00000000-0000-7000-8000-00000000e001', 'aggregate_id', a.account_id, 'peer_id', h.account_id,
           'event_type', 'money.deposited', 'currency', 'HTG')
  FROM bank.accounts AS a, bank.accounts AS h, bank.events_position_seq AS s
  WHERE a.account_id = a(1) AND h.account_id = cash_stripe()
$$;
-- The exact event of another kind, without a peer, on another account.
CREATE FUNCTION exact(account uuid, type text, data jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT exact() - '{peer_id,peer_version,peer_balance,amount}'::text[]
         || CASE WHEN type = 'account.limits_changed' THEN '{"limits_before":1}'::jsonb ELSE '{}' END
         || jsonb_build_object('aggregate_id', account, 'event_type', type, 'data', data,
              'version', coalesce((SELECT version FROM bank.accounts WHERE account_id = account), 0) + 1,
              'balance', coalesce((SELECT credits - debits FROM bank.accounts WHERE account_id = account), 0),
              'currency', coalesce((SELECT currency FROM bank.accounts WHERE account_id = account), 'HTG'))
$$;
CREATE FUNCTION insert_event(VARIADIC event jsonb[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO bank.events SELECT (jsonb_populate_record(NULL::bank.events, e)).* FROM unnest(event) AS e
$$;

CREATE TABLE flawed (line serial, subject text, event text);
-- One column of the exact event changed.
INSERT INTO flawed (subject, event)
SELECT format('%s %s', kind, to_what), format('exact() || %L', jsonb_build_object(kind, value))
FROM (VALUES
  ('version', 'taken', '4'::jsonb), ('version', 'with a gap', '6'), ('version', 'zero', '0'), ('version', 'negative', '-1'),
  ('version', 'null', 'null'),
  ('peer_version', 'taken', '4'), ('peer_version', 'with a gap', '6'), ('peer_version', 'zero', '0'), ('peer_version', 'null', 'null'),
  ('currency', 'another', '"USD"'), ('currency', 'in small letters', '"htg"'), ('currency', 'too long', '"HTGX"'),
  ('currency', 'empty', '""'), ('currency', 'null', 'null'),
  ('balance', 'too high', '2201'), ('balance', 'too low', '2199'), ('balance', 'null', 'null'),
  ('peer_balance', 'too high', '-2199'), ('peer_balance', 'too low', '-2201'), ('peer_balance', 'null', 'null'),
  ('amount', 'zero', '0'), ('amount', 'negative', '-100'), ('amount', 'null', 'null'), ('amount', 'another', '101'),
  ('amount', 'lowest', '-9223372036854775808'), ('amount', 'highest', '9223372036854775807'),
  ('aggregate_id', 'unknown', to_jsonb(a(99))), ('aggregate_id', 'another', to_jsonb(a(2))),
  ('aggregate_id', 'the peer', to_jsonb(cash_stripe())),
  ('peer_id', 'unknown', to_jsonb(a(99))), ('peer_id', 'another', to_jsonb(a(2))), ('peer_id', 'null', 'null'),
  ('peer_id', 'the aggregate', to_jsonb(a(1))),
  ('event_type', 'withdrawal', '"money.withdrawn"'), ('event_type', 'transfer', '"transfer.completed"'),
  ('event_type', 'freeze', '"account.frozen"'), ('event_type', 'opening', '"account.created"'),
  ('event_type', 'unheard of', '"money.stolen"'), ('event_type', 'null', 'null'),
  ('recorded_at', 'before the last event', '"2020-01-01T00:00:00Z"'), ('recorded_at', 'null', 'null'),
  ('recorded_at', 'never', '"infinity"'),
  ('recorded_at', 'always', '"-infinity"'),
  ('occurred_at', 'never', '"infinity"'), ('occurred_at', 'always', '"-infinity"'),
  ('position', 'taken', '1'), ('position', 'before the last event', '-5'), ('position', 'null', 'null'),
  ('event_id', 'null', 'null'),
  ('data', 'on a movement', '{"amount":"5.00"}')) AS v (kind, to_what, value);
-- Other kinds of events.
INSERT INTO flawed (subject, event) VALUES
  ('freeze a frozen account', 'exact(a(3), ''account.frozen'')'),
  ('freeze a closed account', 'exact(a(4), ''account.frozen'')'),
  ('freeze a house account', 'exact(cash_stripe(), ''account.frozen'')'),
  ('freeze with another balance', 'exact(a(1), ''account.frozen'') || ''{"balance":0}'''),
  ('freeze with an amount', 'exact(a(1), ''account.frozen'') || ''{"amount":1}'''),
  ('freeze with an amount of nothing', 'exact(a(1), ''account.frozen'') || ''{"amount":0}'''),
  ('unfreeze an active account', 'exact(a(1), ''account.unfrozen'')'),
  ('unfreeze a closed account', 'exact(a(4), ''account.unfrozen'')'),
  ('close an account with money', 'exact(a(1), ''account.closed'')'),
  ('close a frozen account', 'exact(a(3), ''account.closed'')'),
  ('close a closed account', 'exact(a(4), ''account.closed'')'),
  ('close a house account', 'exact(cash_stripe(), ''account.closed'')'),
  ('limits of a house account', 'exact(cash_stripe(), ''account.limits_changed'', ''{"overdraft_limit":"0.00"}'')'),
  ('limits of a frozen account', 'exact(a(3), ''account.limits_changed'', ''{"overdraft_limit":"1.00"}'')'),
  ('ceiling below the balance', 'exact(a(1), ''account.limits_changed'', ''{"overdraft_limit":"0.00","balance_limit":"1.00"}'')'),
  ('limits that name others before', 'exact(a(1), ''account.limits_changed'', ''{"overdraft_limit":"0.00"}'') || ''{"limits_before":2}'''),
  ('negative limit', 'exact(a(1), ''account.limits_changed'', ''{"overdraft_limit":"-1.00"}'')'),
  ('limit that is no figure', 'exact(a(1), ''account.limits_changed'', ''{"overdraft_limit":"much"}'')'),
  ('limit that is a number', 'exact(a(1), ''account.limits_changed'', ''{"overdraft_limit":"0.00","balance_limit":9000}'')'),
  ('ceiling with too many decimals', 'exact(a(1), ''account.limits_changed'', ''{"balance_limit":"9000.001"}'')'),
  ('deposit beyond the ceiling', 'exact() || jsonb_build_object(''aggregate_id'', a(6), ''version'', 2, ''amount'', 50001, ''balance'', 50001, ''peer_balance'', -52101)'),
  ('withdrawal beyond the balance', 'exact() || ''{"event_type":"money.withdrawn","amount":2101,"balance":-1,"peer_balance":1}'''),
  ('deposit to a frozen account', 'exact() || jsonb_build_object(''aggregate_id'', a(3), ''version'', 3, ''balance'', 100)'),
  ('deposit to a closed account', 'exact() || jsonb_build_object(''aggregate_id'', a(4), ''version'', 3, ''balance'', 100)'),
  ('transfer to a frozen account', 'exact() || jsonb_build_object(''event_type'', ''transfer.completed'', ''balance'', 2000, ''peer_id'', a(3), ''peer_version'', 3, ''peer_balance'', 100)'),
  ('transfer to another currency', 'exact() || jsonb_build_object(''event_type'', ''transfer.completed'', ''balance'', 2000, ''peer_id'', a(5), ''peer_version'', 2, ''peer_balance'', 100)');
-- Openings.
INSERT INTO flawed (subject, event)
SELECT 'open ' || what, format('exact(a(7), ''account.created'', %L) || %L', data, changes)
FROM (VALUES
  ('without data', NULL::jsonb, '{}'::jsonb),
  ('with other data', '[]', '{}'),
  ('without a type', '{"owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777","overdraft_limit":"0.00"}', '{}'),
  ('of a type unheard of', '{"account_type":"GOLD","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777"}', '{}'),
  ('without an owner', '{"account_type":"COURANT","account_number":"000000000777"}', '{}'),
  ('with an owner that is no identifier', '{"account_type":"COURANT","owner_id":"Toussaint","account_number":"000000000777"}', '{}'),
  ('without a number', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100"}', '{}'),
  ('with wrong check digits', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000778"}', '{}'),
  ('with a taken number', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000195"}', '{}'),
  ('with a negative limit', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777","overdraft_limit":"-1.00"}', '{}'),
  ('a house account without a code', '{"account_type":"HOUSE","house_account_id":"00000000-0000-7000-8000-0000000000ff","stripe":"1"}', '{}'),
  ('a house account with a bad code', '{"account_type":"HOUSE","house_account":"The Vault","house_account_id":"00000000-0000-7000-8000-0000000000ff","stripe":"1"}', '{}'),
  ('a house account without a stripe', '{"account_type":"HOUSE","house_account":"vault","house_account_id":"00000000-0000-7000-8000-0000000000ff"}', '{}'),
  ('a house account without its logical one', '{"account_type":"HOUSE","house_account":"vault","stripe":"1"}', '{}'),
  ('a house account with an owner', '{"account_type":"HOUSE","house_account":"vault","house_account_id":"00000000-0000-7000-8000-0000000000ff","stripe":"1","owner_id":"00000000-0000-7000-8000-000000000100"}', '{}'),
  ('in an unknown currency', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777"}', '{"currency":"ZZZ"}'),
  ('with money', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777"}', '{"balance":100}'),
  ('at version 2', '{"account_type":"COURANT","owner_id":"00000000-0000-7000-8000-000000000100","account_number":"000000000777"}', '{"version":2}')) AS v (what, data, changes);
INSERT INTO flawed (subject, event) VALUES
  ('open a stripe that is there', 'exact(a(7), ''account.created'', (SELECT data FROM bank.events WHERE aggregate_id = cash_stripe() AND version = 1))'),
  ('twice the same in one statement', 'exact(), exact()'),
  ('a good one, then a bad one', 'exact(), exact() || ''{"version":6,"position":1000,"peer_version":6,"balance":2399,"peer_balance":-2300}''');

SELECT ledger_state() AS before \gset
\pset format unaligned
\pset tuples_only on
SELECT subject || ': ' || refused(format('SELECT insert_event(%s)', event)) FROM flawed ORDER BY line;
\pset tuples_only off
\pset format aligned
SELECT ledger_state() = :'before' AS nothing_has_changed;

-- The exact event is accepted, by hand too, and the read models follow.
INSERT INTO bank.events (version, peer_version, amount, balance, peer_balance, event_id, aggregate_id, peer_id, event_type, currency)
SELECT a.version + 1, h.version + 1, 100, a.credits - a.debits + 100, h.credits - h.debits - 100,
       gen_random_uuid(), a.account_id, h.account_id, 'money.deposited', 'HTG'
FROM bank.accounts AS a, bank.accounts AS h WHERE a.account_id = a(1) AND h.account_id = cash_stripe();
SELECT version, balance FROM bank_balance(a(1));
-- Several of one stream in one statement are accepted too, also where triggers do not fire as usual.
SET session_replication_role = replica;
SELECT insert_event(e, e || jsonb_build_object('version', (e ->> 'version')::bigint + 1, 'peer_version', (e ->> 'peer_version')::bigint + 1,
                                               'balance', (e ->> 'balance')::bigint + 100, 'peer_balance', (e ->> 'peer_balance')::bigint - 100,
                                               'position', (e ->> 'position')::bigint + 1, 'event_id', gen_random_uuid()))
FROM exact() AS e;
RESET session_replication_role;
SELECT setval('bank.events_position_seq', max(position)) > 0 AS sequence_follows FROM bank.events;
SELECT version, balance FROM bank_balance(a(1));
-- The commands go on from there.
SELECT version, balance FROM bank_deposit(a(1), '1 HTG');
SELECT * FROM broken_invariants();

-- Holds by hand: account 1 has an open one of 1.00, and one that was released.
SELECT event_id AS open FROM bank_hold(a(1), '1 HTG') \gset
SELECT event_id AS done FROM bank_hold(a(1), '2 HTG') \gset
SELECT event_type FROM bank_release(:'done');
CREATE TABLE hold AS SELECT * FROM (VALUES ('open', :'open'::uuid), ('done', :'done')) AS v (name, hold_id);
CREATE FUNCTION exact_hold(kind text, hold text) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT exact(a(1), CASE kind WHEN 'account' THEN 'account.frozen' ELSE 'hold.' || kind END) || '{"held":100}'
         || CASE kind WHEN 'account' THEN '{}' ELSE '{"amount":100,"hold_id":"00000000-0000-7000-8000-00000000e001"}'::jsonb END
         || CASE kind WHEN 'created' THEN '{"held":200,"expires_at":"2100-01-01T00:00:00Z"}'::jsonb ELSE '{}' END
         || coalesce((SELECT jsonb_build_object('hold_id', h.hold_id) FROM hold AS h WHERE h.name = exact_hold.hold), '{}')
         || CASE WHEN kind = 'created' AND exact_hold.hold IS NOT NULL
                 THEN (SELECT jsonb_build_object('event_id', h.hold_id) FROM hold AS h WHERE h.name = exact_hold.hold) ELSE '{}' END
$$;
CREATE TABLE flawed_hold (line serial, subject text, event text);
INSERT INTO flawed_hold (subject, event)
SELECT 'hold: ' || what, format('exact_hold(%L, %L) || %L', kind, hold, changes)
FROM (VALUES
  ('created for nothing', 'created', NULL, '{"amount":0,"held":100}'::jsonb),
  ('created with another held', 'created', NULL, '{"held":150}'),
  ('created under another identifier', 'created', NULL, '{"hold_id":"00000000-0000-7000-8000-00000000e002"}'),
  ('created under no identifier', 'created', NULL, '{"hold_id":null}'),
  ('created under one that is there', 'created', 'open', '{}'),
  ('created for ever', 'created', NULL, '{"expires_at":"infinity"}'),
  ('created without an end', 'created', NULL, '{"expires_at":null}'),
  ('created too late', 'created', NULL, '{"expires_at":"2020-01-01T00:00:00Z"}'),
  ('created beyond the balance', 'created', NULL, '{"amount":1000000,"held":1000100}'),
  ('created with a peer', 'created', NULL, '{"peer_id":"00000000-0000-7000-8000-000000000002","peer_version":1,"peer_balance":0}'),
  ('captured without a peer', 'captured', 'open', '{"held":null}'),
  ('released, another held', 'released', 'open', '{"held":50}'),
  ('released, a part only', 'released', 'open', '{"held":null,"amount":50}'),
  ('released, too much', 'released', 'open', '{"held":null,"amount":150}'),
  ('released once more', 'released', 'done', '{"held":null}'),
  ('released, unknown', 'released', NULL, '{"held":null}'),
  ('released on another account', 'released', 'open', '{"held":null,"aggregate_id":"00000000-0000-7000-8000-000000000006","version":2,"balance":0}'),
  ('released with an end', 'released', 'open', '{"held":null,"expires_at":"2100-01-01T00:00:00Z"}'),
  ('expired too early', 'expired', 'open', '{"held":null}'),
  ('freeze that frees', 'account', NULL, '{"held":null}'),
  ('freeze with a hold', 'account', 'open', '{}')) AS v (what, kind, hold, changes);
SELECT ledger_state() AS before \gset
\pset format unaligned
\pset tuples_only on
SELECT subject || ': ' || refused(format('SELECT insert_event(%s)', event)) FROM flawed_hold ORDER BY line;
\pset tuples_only off
\pset format aligned
SELECT ledger_state() = :'before' AS nothing_has_changed;
-- The exact ones are accepted.
SELECT insert_event(exact_hold('created', NULL));
SELECT insert_event(exact_hold('released', 'open') || '{"held":100}');
SELECT setval('bank.events_position_seq', max(position)) > 0 AS sequence_follows FROM bank.events;
SELECT held FROM bank_balance(a(1));
-- What is over must be expired before anything else is said of the account, also where it is the peer.
SELECT event_id AS over FROM bank_hold(a(1), '1 HTG', expires_in => '1 microsecond') \gset
SELECT refused('SELECT insert_event(exact(a(1), ''account.frozen'') || ''{"held":200}'')');
SELECT refused('SELECT insert_event(exact() || jsonb_build_object(''held'', 200))');
SELECT refused(format('SELECT insert_event(exact_hold(''expired'', NULL) || jsonb_build_object(''hold_id'', %L, ''occurred_at'', now()))', :'over'));
SELECT insert_event(exact_hold('expired', NULL) || jsonb_build_object('hold_id', hold_id, 'occurred_at', expires_at)) FROM bank_holds WHERE hold_id = :'over';
SELECT setval('bank.events_position_seq', max(position)) > 0 AS sequence_follows FROM bank.events;
SELECT event_type FROM bank_freeze(a(1));
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
