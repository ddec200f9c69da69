-- Compares the ledger with the files of the current directory; run by ./compare.

\set VERBOSITY terse
\pset footer off

CREATE TEMP TABLE movement (
  line integer GENERATED ALWAYS AS IDENTITY,
  movement_id integer NOT NULL,
  account integer NOT NULL,
  booked_on date NOT NULL,
  direction text NOT NULL,
  amount numeric NOT NULL,
  bank_balance_after numeric NOT NULL,
  operation text,
  symbol text,
  partner_bank text,
  partner_account text
);
\copy movement (movement_id, account, booked_on, direction, amount, bank_balance_after, operation, symbol, partner_bank, partner_account) FROM 'movements.csv' WITH (FORMAT csv, HEADER)

CREATE TEMP TABLE expected (
  account integer PRIMARY KEY,
  movements integer NOT NULL,
  final_balance numeric NOT NULL,
  lowest_balance numeric NOT NULL,
  bank_final_balance numeric NOT NULL,
  bank_agrees_at_every_step boolean NOT NULL
);
\copy expected FROM 'accounts_expected.csv' WITH (FORMAT csv, HEADER)

-- What the files say, movement by movement ...
CREATE TEMP TABLE filed AS
  SELECT format('706b6464-3939-8000-8000-%s', lpad(m.account::text, 12, '0'))::uuid AS account_id,
         row_number() OVER (PARTITION BY m.account ORDER BY m.line) AS step,
         m.booked_on, CASE m.direction WHEN 'credit' THEN m.amount ELSE -m.amount END AS amount,
         m.bank_balance_after, e.bank_agrees_at_every_step AS agrees,
         jsonb_strip_nulls(jsonb_build_object(
           'movement_id', m.movement_id, 'operation', m.operation, 'symbol', m.symbol,
           'partner_bank', m.partner_bank, 'partner_account', m.partner_account)) AS metadata
  FROM movement AS m JOIN expected AS e USING (account);

-- ... what bank_transactions says (no account has more than one page of 1000) ...
CREATE TEMP TABLE listed AS
  SELECT a.account_id, row_number() OVER (PARTITION BY a.account_id ORDER BY t.version) AS step,
         (t.occurred_at AT TIME ZONE 'UTC')::date AS booked_on, t.amount, t.balance, t.metadata
  FROM (SELECT DISTINCT account_id FROM filed) AS a,
       LATERAL bank_transactions(a.account_id, page_size => 1000) AS t
  WHERE bank_account_exists(a.account_id);

-- ... and what the events say.
CREATE TEMP TABLE told AS
  SELECT a.account_id, row_number() OVER (PARTITION BY a.account_id ORDER BY e.version) AS step,
         (e.event_data ->> 'balance')::numeric AS balance
  FROM (SELECT DISTINCT account_id FROM filed) AS a, LATERAL bank_account_events(a.account_id) AS e
  WHERE e.event_type <> 'account.created';

ANALYZE filed, listed, told;

CREATE TEMP TABLE checked AS
  SELECT 1 AS number, 'accounts with the file''s final balance' AS "check",
         count(*)::text AS expected,
         (count(*) FILTER (WHERE a.balance = e.final_balance AND a.version = e.movements + 1))::text AS actual
  FROM expected AS e
  LEFT JOIN bank_accounts AS a
    ON a.account_id = format('706b6464-3939-8000-8000-%s', lpad(e.account::text, 12, '0'))::uuid
UNION ALL
  SELECT 2, 'accounts with the file''s lowest balance', count(*)::text,
         (count(*) FILTER (WHERE l.lowest = e.lowest_balance))::text
  FROM expected AS e
  LEFT JOIN (SELECT account_id, least(min(balance), 0) AS lowest FROM listed GROUP BY account_id) AS l
    ON l.account_id = format('706b6464-3939-8000-8000-%s', lpad(e.account::text, 12, '0'))::uuid
UNION ALL
  SELECT 3, 'movements in order: day, amount, metadata', count(*)::text,
         (count(*) FILTER (WHERE (l.booked_on, l.amount, l.metadata) = (f.booked_on, f.amount, f.metadata)))::text
  FROM filed AS f LEFT JOIN listed AS l USING (account_id, step)
UNION ALL
  SELECT 4, 'accounts on which the bank agrees at every step', count(*)::text,
         (count(*) FILTER (WHERE agrees))::text
  FROM (SELECT bool_and(l.balance IS NOT DISTINCT FROM f.bank_balance_after
                        AND t.balance IS NOT DISTINCT FROM f.bank_balance_after) AS agrees
        FROM filed AS f
        LEFT JOIN listed AS l USING (account_id, step)
        LEFT JOIN told AS t USING (account_id, step)
        WHERE f.agrees GROUP BY account_id) AS account
UNION ALL
  SELECT 5, 'their steps: bank_transactions', count(*)::text,
         (count(*) FILTER (WHERE l.balance = f.bank_balance_after))::text
  FROM filed AS f LEFT JOIN listed AS l USING (account_id, step) WHERE f.agrees
UNION ALL
  SELECT 6, 'their steps: bank_account_events', count(*)::text,
         (count(*) FILTER (WHERE t.balance = f.bank_balance_after))::text
  FROM filed AS f LEFT JOIN told AS t USING (account_id, step) WHERE f.agrees
UNION ALL
  SELECT 7, 'sum of the accounts'' balances, CZK',
         (SELECT sum(final_balance) FROM expected)::text, sum(a.balance)::text
  FROM bank_accounts AS a
  WHERE a.account_id::text LIKE '706b6464-3939-8000-8000-%'
UNION ALL
  SELECT 8, 'trial balance, CZK', '0.00', sum(credits - debits)::text
  FROM bank_trial_balance WHERE currency = 'CZK'
UNION ALL
  SELECT 9, 'bank_verify: failures', '0', sum(failures)::text
  FROM bank_verify();

SELECT "check", expected, actual,
       CASE WHEN actual = expected THEN 'ok' ELSE 'DIFFERS' END AS result
FROM checked ORDER BY number;

DO $$
BEGIN
  IF EXISTS (SELECT FROM checked WHERE actual IS DISTINCT FROM expected) THEN
    RAISE EXCEPTION 'the ledger does not agree with the files';
  END IF;
END
$$;
