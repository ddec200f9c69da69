-- Appends "passes" times as many events as there are accounts, fast: in each pass every account
-- sends 1.00 to the next one, the last to the first. The rows are written by hand, and go through
-- the same indexes and the same trigger, which takes none that does not continue its streams exactly.
--
-- In a pass account 1 sends before it receives, every other account receives before it sends; so
-- versions and balances of any pass follow from those before the first.

INSERT INTO bank.events (version, peer_version, amount, balance, peer_balance, event_id,
                         aggregate_id, peer_id, event_type, currency)
WITH account AS (
  SELECT row_number() OVER (ORDER BY account_id) AS number, account_id, version,
         credits - debits AS balance
  FROM bank.accounts WHERE house_code IS NULL
)
SELECT a.version + 2 * pass - (a.number = 1)::integer,
       p.version + 2 * pass - (p.number <> 1)::integer,
       100,
       a.balance - 100 * (a.number = 1)::integer,
       p.balance + 100 * (p.number <> 1)::integer,
       gen_random_uuid(), a.account_id, p.account_id, 'transfer.completed', 'HTG'
FROM generate_series(1, :passes) AS pass, account AS a
JOIN account AS p ON p.number = a.number % (SELECT count(*) FROM account) + 1
ORDER BY pass, a.number;
