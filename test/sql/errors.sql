-- Bad input: every line is one mistake, with the error it gets, as
--   subject: SQLSTATE|message|detail|hint
-- and refused() adds a complaint should anything in the ledger have changed.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all

-- The ledger the mistakes are made on: 1 and 2 active, 3 frozen, 4 closed,
-- 5 in another currency, 6 with limits, 7 in yen; 99 does not exist.
CREATE TABLE account AS
SELECT (bank_create_account(a(100), 'COURANT', CASE n WHEN 5 THEN 'USD' WHEN 7 THEN 'JPY' ELSE 'HTG' END,
                            account_id => a(n),
                            overdraft_limit => CASE n WHEN 6 THEN '100 HTG'::bank_money END,
                            balance_limit => CASE n WHEN 6 THEN '500 HTG'::bank_money END)).account_number
FROM generate_series(1, 7) AS n;
SELECT balance FROM bank_deposit(a(1), '1000 HTG');
SELECT balance FROM bank_deposit(a(2), '10 HTG', idempotency_key => 'used');
SELECT balance FROM bank_deposit(a(3), '50 HTG');
SELECT event_type FROM bank_freeze(a(3));
SELECT event_type FROM bank_close(a(4));
SELECT balance FROM bank_deposit(a(6), '450 HTG');
CREATE FUNCTION cash() RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT account_id FROM bank_accounts WHERE house_account = 'cash' AND currency = 'HTG');

CREATE TABLE bad_input (line serial, subject text, command text);

-- Every command, on accounts that cannot take it.
INSERT INTO bad_input (subject, command)
SELECT format('%s, %s', c.name, who.name), format(c.command, who.id)
FROM (VALUES
    (1, 'deposit',       'bank_deposit(%s, ''1 HTG'')'),
    (2, 'withdraw',      'bank_withdraw(%s, ''1 HTG'')'),
    (3, 'transfer from', 'bank_transfer(%s, a(1), ''1 HTG'')'),
    (4, 'transfer to',   'bank_transfer(a(1), %s, ''1 HTG'')'),
    (5, 'freeze',        'bank_freeze(%s)'),
    (6, 'unfreeze',      'bank_unfreeze(%s)'),
    (7, 'close',         'bank_close(%s)'),
    (8, 'set_limits',    'bank_set_limits(%s)')) AS c (line, name, command),
  (VALUES (1, 'unknown', 'a(99)'), (2, 'NULL', 'NULL'), (3, 'frozen', 'a(3)'),
          (4, 'closed', 'a(4)'), (5, 'house', 'cash()')) AS who (line, name, id)
WHERE NOT (c.name = 'unfreeze' AND who.name = 'frozen')
  AND NOT (c.name LIKE 'transfer%' AND who.name = 'house')
ORDER BY who.line, c.line;

INSERT INTO bad_input (subject, command) VALUES
  ('unfreeze an active account', 'bank_unfreeze(a(1))'),
  ('close with money in it', 'bank_close(a(1))'),
  ('transfer to itself', 'bank_transfer(a(1), a(1), ''1 HTG'')'),
  ('transfer of the house to itself', 'bank_transfer(cash(), cash(), ''1 HTG'')'),
  ('transfer between unknown accounts', 'bank_transfer(a(98), a(99), ''1 HTG'')'),
  ('transfer from frozen to closed', 'bank_transfer(a(3), a(4), ''1 HTG'')');

-- Amounts
INSERT INTO bad_input (subject, command)
SELECT 'amount ' || coalesce(amount, 'NULL'), format('bank_deposit(a(%s), %L)', account, amount)
FROM (VALUES (1, NULL), (1, '0 HTG'), (1, '0.00 HTG'), (7, '0 JPY'), (1, '-1 HTG'), (1, '-0.01 HTG'),
             (1, '1.001 HTG'), (7, '1.5 JPY'), (1, '92233720368547758.08 HTG'),
             (1, '99999999999999999999999999 HTG'), (1, 'NaN HTG'), (1, 'Infinity HTG'),
             (1, '-Infinity HTG'), (1, '1e3 HTG'), (1, '1,000.00 HTG'), (1, '0x10 HTG'),
             (1, 'abc'), (1, ''), (1, '100'), (1, 'HTG'), (1, '1 ZZZ'), (1, '1 htg'),
             (1, '1 HTG USD')) AS v (account, amount);
INSERT INTO bad_input (subject, command) VALUES
  ('withdraw nothing', 'bank_withdraw(a(1), ''0 HTG'')'),
  ('withdraw NULL', 'bank_withdraw(a(1), NULL)'),
  ('transfer nothing', 'bank_transfer(a(1), a(2), ''0 HTG'')'),
  ('transfer NULL', 'bank_transfer(a(1), a(2), NULL)'),
  ('amount from numeric, NaN', 'bank_deposit(a(1), bank_money(''NaN'', ''HTG''))'),
  ('amount from numeric, infinite', 'bank_deposit(a(1), bank_money(''Infinity'', ''HTG''))'),
  ('amount from numeric, negative', 'bank_deposit(a(1), bank_money(-1, ''HTG''))'),
  ('amount from numeric, too precise', 'bank_deposit(a(1), bank_money(0.001, ''HTG''))'),
  ('amount from numeric, too great', 'bank_deposit(a(1), bank_money(1e30, ''HTG''))'),
  ('sum of movements overflows', 'bank_deposit(a(1), ''92233720368547758.07 HTG'')');

-- Currencies
INSERT INTO bad_input (subject, command) VALUES
  ('deposit of another currency', 'bank_deposit(a(1), ''1 USD'')'),
  ('withdraw another currency', 'bank_withdraw(a(1), ''1 USD'')'),
  ('transfer of another currency', 'bank_transfer(a(1), a(2), ''1 USD'')'),
  ('transfer between currencies', 'bank_transfer(a(1), a(5), ''1 HTG'')'),
  ('transfer between currencies, in the other one', 'bank_transfer(a(1), a(5), ''1 USD'')'),
  ('limit in another currency', 'bank_set_limits(a(1), overdraft_limit => ''1 USD'')'),
  ('ceiling in another currency', 'bank_set_limits(a(1), balance_limit => ''9999 USD'')'),
  ('new account with a limit in another currency',
   'bank_create_account(a(100), ''COURANT'', ''HTG'', overdraft_limit => ''1 USD'')'),
  ('new account with a ceiling in another currency',
   'bank_create_account(a(100), ''COURANT'', ''HTG'', balance_limit => ''1 USD'')');

-- Money that is not there, and limits
INSERT INTO bad_input (subject, command) VALUES
  ('withdraw a centime too much', 'bank_withdraw(a(1), ''1000.01 HTG'')'),
  ('transfer a centime too much', 'bank_transfer(a(1), a(2), ''1000.01 HTG'')'),
  ('withdraw everything there could be', 'bank_withdraw(a(1), ''92233720368547758.07 HTG'')'),
  ('withdraw beyond the overdraft', 'bank_withdraw(a(6), ''550.01 HTG'')'),
  ('deposit beyond the ceiling', 'bank_deposit(a(6), ''50.01 HTG'')'),
  ('transfer beyond the ceiling', 'bank_transfer(a(1), a(6), ''50.01 HTG'')'),
  ('ceiling below the balance', 'bank_set_limits(a(6), overdraft_limit => ''100 HTG'', balance_limit => ''449.99 HTG'')'),
  ('negative limit', 'bank_set_limits(a(6), overdraft_limit => ''-1 HTG'')'),
  ('ceiling set and removed at once', 'bank_set_limits(a(6), balance_limit => ''600 HTG'', remove_balance_limit => true)');

-- Versions
INSERT INTO bad_input (subject, command)
SELECT format('%s, expected version %s', c.name, v), format(c.command, v)
FROM (VALUES
    (1, 'deposit',    'bank_deposit(a(1), ''1 HTG'', expected_version => %s)'),
    (2, 'withdraw',   'bank_withdraw(a(1), ''1 HTG'', expected_version => %s)'),
    (3, 'transfer',   'bank_transfer(a(1), a(2), ''1 HTG'', expected_version => %s)'),
    (4, 'freeze',     'bank_freeze(a(1), expected_version => %s)'),
    (5, 'unfreeze',   'bank_unfreeze(a(3), expected_version => %s)'),
    (6, 'close',      'bank_close(a(1), expected_version => %s)'),
    (7, 'set_limits', 'bank_set_limits(a(1), expected_version => %s)')) AS c (line, name, command),
  unnest(ARRAY[1, 99]) AS v
ORDER BY c.line, v;
INSERT INTO bad_input (subject, command) VALUES
  ('expected version 0', 'bank_deposit(a(1), ''1 HTG'', expected_version => 0)'),
  ('expected version -1', 'bank_deposit(a(1), ''1 HTG'', expected_version => -1)'),
  ('new account, expected version 1', 'bank_create_account(a(100), ''COURANT'', ''HTG'', expected_version => 1)'),
  ('new house account, expected version 1', 'bank_create_house_account(''vault'', ''HTG'', expected_version => 1)'),
  ('a stale version is told before a lack of money', 'bank_withdraw(a(1), ''5000 HTG'', expected_version => 1)');

-- Idempotency keys; "used" stands for a deposit of 10 HTG to account 2
INSERT INTO bad_input (subject, command) VALUES
  ('key reused, other amount', 'bank_deposit(a(2), ''11 HTG'', idempotency_key => ''used'')'),
  ('key reused, other account', 'bank_deposit(a(1), ''10 HTG'', idempotency_key => ''used'')'),
  ('key reused, other command', 'bank_withdraw(a(2), ''10 HTG'', idempotency_key => ''used'')'),
  ('key reused, no movement', 'bank_freeze(a(2), idempotency_key => ''used'')'),
  ('key reused, other house account', 'bank_deposit(a(2), ''10 HTG'', idempotency_key => ''used'', house_account => ''external'')'),
  ('key reused, other business date', 'bank_deposit(a(2), ''10 HTG'', idempotency_key => ''used'', occurred_at => ''2020-01-01 00:00+00'')'),
  ('key reused, other expected version', 'bank_deposit(a(2), ''10 HTG'', idempotency_key => ''used'', expected_version => 1)'),
  ('key reused, new account', 'bank_create_account(a(100), ''COURANT'', ''HTG'', idempotency_key => ''used'')'),
  ('key reused, new house account', 'bank_create_house_account(''vault'', ''HTG'', idempotency_key => ''used'')'),
  ('key reused, limits', 'bank_set_limits(a(2), idempotency_key => ''used'')'),
  ('key empty', 'bank_deposit(a(1), ''1 HTG'', idempotency_key => '''')'),
  ('key of 256 bytes', 'bank_deposit(a(1), ''1 HTG'', idempotency_key => repeat(''k'', 256))'),
  ('key of 128 characters and 256 bytes', 'bank_deposit(a(1), ''1 HTG'', idempotency_key => repeat(chr(233), 128))'),
  ('key of 1 MB', 'bank_deposit(a(1), ''1 HTG'', idempotency_key => repeat(''k'', 1048576))');

-- Business dates
INSERT INTO bad_input (subject, command)
SELECT 'occurred_at ' || at, format('bank_deposit(a(1), ''1 HTG'', occurred_at => %s)', at)
FROM unnest(ARRAY['''1899-12-31 23:59:59.999999+00''', '''4714-11-24 00:00+00 BC''', '''0001-01-01 00:00+00''',
                  '''-infinity''', '''infinity''', '''294276-12-31 23:59:59.999999+00''',
                  'now() + interval ''24 hours 1 minute''', '''2026-02-30''', '''yesterday-ish''']) AS at;
INSERT INTO bad_input (subject, command)
SELECT name || ' with an absurd date', command
FROM (VALUES
    (1, 'withdraw', 'bank_withdraw(a(1), ''1 HTG'', occurred_at => ''infinity'')'),
    (2, 'transfer', 'bank_transfer(a(1), a(2), ''1 HTG'', occurred_at => ''infinity'')'),
    (3, 'freeze', 'bank_freeze(a(1), occurred_at => ''infinity'')'),
    (4, 'create_account', 'bank_create_account(a(100), ''COURANT'', ''HTG'', occurred_at => ''infinity'')'),
    (5, 'create_house_account', 'bank_create_house_account(''vault'', ''HTG'', occurred_at => ''infinity'')'),
    (6, 'set_limits', 'bank_set_limits(a(1), occurred_at => ''-infinity'')')) AS v (line, name, command)
ORDER BY line;

-- Metadata
INSERT INTO bad_input (subject, command)
SELECT 'metadata: ' || what, format('bank_deposit(a(1), ''1 HTG'', metadata => %s)', metadata)
FROM (VALUES
    (1, '1 MB', 'jsonb_build_object(''k'', repeat(''v'', 1048576))'),
    (2, 'one byte more than allowed', 'jsonb_build_object(''k'', repeat(''v'', 65520))'),
    (3, '1 MB of members', '(SELECT jsonb_object_agg(i, ''0123456789'') FROM generate_series(1, 50000) AS i)'),
    (4, 'invalid JSON', '''{"k":}'''),
    (5, 'empty text', ''''''),
    (6, 'a zero byte', '''{"k":"\u0000"}'''),
    (7, 'array', '''[{"k":1}]'''),
    (8, 'string', '''"k"'''),
    (9, 'number', '''1'''),
    (10, 'true', '''true'''),
    (11, 'JSON null', '''null''')) AS v (line, what, metadata)
ORDER BY line;

-- House account codes
INSERT INTO bad_input (subject, command)
SELECT 'house code ' || coalesce(code, 'NULL'), format('bank_deposit(a(1), ''1 HTG'', house_account => %L)', code)
FROM unnest(ARRAY[NULL, '', 'Cash', 'CASH', '1st', '_x', 'a-b', 'a b', ' cash', 'caché', 'cash|fees',
                  repeat('x', 33), 'nosuch']) AS code;
INSERT INTO bad_input (subject, command) VALUES
  ('withdraw to an unknown house account', 'bank_withdraw(a(1), ''1 HTG'', house_account => ''nosuch'')'),
  ('new house account, no code', 'bank_create_house_account(NULL, ''HTG'')'),
  ('new house account, bad code', 'bank_create_house_account(''Vault'', ''HTG'')'),
  ('new house account, no currency', 'bank_create_house_account(''vault'', NULL)'),
  ('new house account, unknown currency', 'bank_create_house_account(''vault'', ''ZZZ'')'),
  ('new house account that is there', 'bank_create_house_account(''cash'', ''HTG'')');

-- Opening accounts
INSERT INTO bad_input (subject, command) VALUES
  ('no owner', 'bank_create_account(NULL, ''COURANT'', ''HTG'')'),
  ('no type', 'bank_create_account(a(100), NULL, ''HTG'')'),
  ('no currency', 'bank_create_account(a(100), ''COURANT'', NULL)'),
  ('type HOUSE', 'bank_create_account(a(100), ''HOUSE'', ''HTG'')'),
  ('type SAVINGS', 'bank_create_account(a(100), ''SAVINGS'', ''HTG'')'),
  ('type in small letters', 'bank_create_account(a(100), ''courant'', ''HTG'')'),
  ('type empty', 'bank_create_account(a(100), '''', ''HTG'')'),
  ('type with a blank', 'bank_create_account(a(100), ''COURANT '', ''HTG'')'),
  ('type of 1 MB', 'bank_create_account(a(100), repeat(''T'', 1048576), ''HTG'')'),
  ('type of many bytes per letter', 'bank_create_account(a(100), ''x'' || repeat(chr(233), 40), ''HTG'')'),
  ('unknown currency', 'bank_create_account(a(100), ''COURANT'', ''ZZZ'')'),
  ('currency in small letters', 'bank_create_account(a(100), ''COURANT'', ''htg'')'),
  ('currency of two letters', 'bank_create_account(a(100), ''COURANT'', ''HT'')'),
  ('currency of four letters', 'bank_create_account(a(100), ''COURANT'', ''HTGX'')'),
  ('currency empty', 'bank_create_account(a(100), ''COURANT'', '''')'),
  ('currency of many bytes per letter', 'bank_create_account(a(100), ''COURANT'', ''x'' || repeat(chr(8364), 40))'),
  ('identifier of another account', 'bank_create_account(a(100), ''COURANT'', ''HTG'', account_id => a(1))'),
  ('identifier of a closed account', 'bank_create_account(a(100), ''COURANT'', ''HTG'', account_id => a(4))'),
  ('identifier of a house account', 'bank_create_account(a(100), ''COURANT'', ''HTG'', account_id => cash())'),
  ('owner that is no identifier', 'bank_create_account(''Toussaint'', ''COURANT'', ''HTG'')');

-- Queries
INSERT INTO bad_input (subject, command)
SELECT format('%s, %s', c.name, who.name), format(c.command, who.id)
FROM (VALUES
    (1, 'account',      'bank_account(%s)'),
    (2, 'balance',      'bank_balance(%s)'),
    (3, 'balance_at',   'bank_balance_at(%s, now())'),
    (4, 'transactions', 'bank_transactions(%s)'),
    (5, 'statement',    'bank_statement(%s, ''2026-01-01'', ''2026-01-31'')')) AS c (line, name, command),
  (VALUES (1, 'unknown', 'a(99)'), (2, 'NULL', 'NULL::uuid')) AS who (line, name, id)
ORDER BY who.line, c.line;
INSERT INTO bad_input (subject, command) VALUES
  ('balance_at NULL', 'bank_balance_at(a(1), NULL)'),
  ('balance_at, as_recorded NULL', 'bank_balance_at(a(1), now(), NULL)'),
  ('before_version for a house account', 'bank_transactions(cash(), before_version => 5)'),
  ('page 0', 'bank_transactions(a(1), page => 0)'),
  ('page -1', 'bank_transactions(a(1), page => -1)'),
  ('page NULL', 'bank_transactions(a(1), page => NULL)'),
  ('page_size 0', 'bank_transactions(a(1), page_size => 0)'),
  ('page_size 1001', 'bank_transactions(a(1), page_size => 1001)'),
  ('page_size NULL', 'bank_transactions(a(1), page_size => NULL)'),
  ('statement without a beginning', 'bank_statement(a(1), NULL, ''2026-01-31'')'),
  ('statement without an end', 'bank_statement(a(1), ''2026-01-01'', NULL)'),
  ('statement backwards', 'bank_statement(a(1), ''2026-02-01'', ''2026-01-31'')');

-- The proof: nothing is accepted, nothing has changed, whatever was tried.
SELECT ledger_state() AS before \gset
\pset format unaligned
\pset tuples_only on
CREATE TABLE answer AS
SELECT line, subject, refused('SELECT ' || command) AS answer FROM bad_input ORDER BY line;
SELECT subject || ': ' || answer FROM answer ORDER BY line;
\pset tuples_only off
\pset format aligned
SELECT ledger_state() = :'before' AS nothing_has_changed;
SELECT * FROM broken_invariants();

-- Texts cut to size are still text: no half of a letter at the end.
SELECT count(*) = sum(length(convert_from(textsend(answer), 'UTF8')) / length(answer)) AS all_valid FROM answer;

-- The same without a surrounding block: a plain statement that fails.
SELECT bank_withdraw(a(1), '1000.01 HTG');
SELECT bank_deposit(a(1), '1 HTG', expected_version => 1);
SELECT ledger_state() = :'before' AS nothing_has_changed;

-- What lies just inside the bounds is accepted.
SELECT version FROM bank_deposit(a(1), '0.01 HTG', expected_version => 2);
SELECT version FROM bank_deposit(a(1), '1 HTG', idempotency_key => repeat('k', 255));
SELECT version FROM bank_deposit(a(1), '1 HTG', occurred_at => '1900-01-01 00:00+00');
SELECT version FROM bank_deposit(a(1), '1 HTG', occurred_at => now() + interval '23 hours 59 minutes');
SELECT version FROM bank_deposit(a(1), '1 HTG', metadata => jsonb_build_object('k', repeat('v', 65519)));
SELECT version FROM bank_deposit(a(1), '1 HTG', metadata => '{}');
SELECT balance FROM bank_deposit(a(6), '50 HTG');
SELECT balance FROM bank_withdraw(a(6), '600 HTG');
SELECT balance FROM bank_deposit(a(2), '46116860184273878 HTG');
SELECT refused($$SELECT bank_deposit(a(2), '46116860184273878 HTG')$$);
SELECT version FROM bank_deposit(a(1), '1 HTG', idempotency_key => 'k' || repeat(chr(233), 127));
SELECT left(convert_from(textsend(answer), 'UTF8'), 80)
FROM refused($$SELECT bank_deposit(a(1), '2 HTG', idempotency_key => 'k' || repeat(chr(233), 127))$$) AS answer;
SELECT house_account FROM bank_create_house_account(repeat('x', 32), 'HTG');
SELECT * FROM broken_invariants();

-- Settings of the extension are known by name.
SET banking.allow_dorp = on;
SET banking.allow_drop = perhaps;

SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
