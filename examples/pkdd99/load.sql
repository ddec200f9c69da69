-- Books movements.csv of the current directory; run by ./load.

\set VERBOSITY terse
SET client_min_messages = notice;

CREATE TEMP TABLE movement (
  line integer GENERATED ALWAYS AS IDENTITY,
  movement_id integer NOT NULL,
  account integer NOT NULL,
  booked_on date NOT NULL,
  direction text NOT NULL CHECK (direction IN ('credit', 'debit')),
  amount numeric NOT NULL,
  bank_balance_after numeric,
  operation text,
  symbol text,
  partner_bank text,
  partner_account text
);
\copy movement (movement_id, account, booked_on, direction, amount, bank_balance_after, operation, symbol, partner_bank, partner_account) FROM 'movements.csv' WITH (FORMAT csv, HEADER)
CREATE INDEX ON movement (booked_on, line);
ANALYZE movement;

-- One transaction per day: first the accounts that have their first movement
-- that day, then the day's movements in booking order, a call for each.
DO $$
DECLARE
  day record;
  opened record;
  m record;
  receipt bank_receipt;
  started timestamptz := clock_timestamp();
  accounts integer := 0;
  movements integer := 0;
  replayed integer := 0;
BEGIN
  FOR day IN
    SELECT booked_on AS date,
           -- The files know the day only. Noon UTC is that day nearly everywhere.
           (booked_on + time '12:00') AT TIME ZONE 'UTC' AS occurred_at,
           booked_on + 1 = date_trunc('month', booked_on + 1) AS ends_month
    FROM movement GROUP BY booked_on ORDER BY booked_on
  LOOP
    FOR opened IN
      SELECT account FROM movement GROUP BY account HAVING min(booked_on) = day.date
      ORDER BY min(line)
    LOOP
      PERFORM bank_create_account(
        owner_id => format('706b6464-3939-8001-8000-%s', lpad(opened.account::text, 12, '0'))::uuid,
        account_type => 'COURANT',
        currency => 'CZK',
        idempotency_key => 'pkdd99-account-' || opened.account,
        occurred_at => day.occurred_at,
        account_id => format('706b6464-3939-8000-8000-%s', lpad(opened.account::text, 12, '0'))::uuid,
        overdraft_limit => '10000.00 CZK');
      accounts := accounts + 1;
    END LOOP;

    FOR m IN
      SELECT movement_id, direction, bank_money(amount, 'CZK') AS amount,
             format('706b6464-3939-8000-8000-%s', lpad(account::text, 12, '0'))::uuid AS account_id,
             CASE WHEN symbol IN ('UROK', 'SANKC. UROK') THEN 'interest'
                  WHEN symbol = 'SLUZBY' THEN 'fees'
                  WHEN operation IN ('PREVOD Z UCTU', 'PREVOD NA UCET', 'VYBER KARTOU') THEN 'external'
                  ELSE 'cash' END AS house_account,
             jsonb_strip_nulls(jsonb_build_object(
               'movement_id', movement_id, 'operation', operation, 'symbol', symbol,
               'partner_bank', partner_bank, 'partner_account', partner_account)) AS metadata
      FROM movement WHERE booked_on = day.date ORDER BY line
    LOOP
      IF m.direction = 'credit' THEN
        receipt := bank_deposit(
          account_id => m.account_id,
          amount => m.amount,
          idempotency_key => 'pkdd99-' || m.movement_id,
          occurred_at => day.occurred_at,
          metadata => m.metadata,
          house_account => m.house_account);
      ELSE
        receipt := bank_withdraw(
          account_id => m.account_id,
          amount => m.amount,
          idempotency_key => 'pkdd99-' || m.movement_id,
          occurred_at => day.occurred_at,
          metadata => m.metadata,
          house_account => m.house_account);
      END IF;
      movements := movements + 1;
      replayed := replayed + receipt.replayed::integer;
    END LOOP;
    COMMIT;

    IF day.ends_month THEN
      RAISE NOTICE '%: % accounts, % movements so far', to_char(day.date, 'YYYY-MM'), accounts, movements;
    END IF;
  END LOOP;
  RAISE NOTICE '% accounts, % movements, % of them there already; % s', accounts, movements, replayed,
    round(extract(epoch FROM clock_timestamp() - started), 1);
END
$$;
