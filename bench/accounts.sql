-- Opens the accounts of a benchmark's database: "accounts" of them with the identifiers
-- 00000000-0000-7000-8000-100000000001 and so on, each with 1 000 000.00 HTG.

SELECT count(bank_create_account('00000000-0000-7000-8000-000000000000', 'COURANT', 'HTG',
         account_id => format('00000000-0000-7000-8000-%s', 100000000000 + n)::uuid)) AS opened
  FROM generate_series(1, :accounts) AS n;
SELECT count(bank_deposit(format('00000000-0000-7000-8000-%s', 100000000000 + n)::uuid,
         '1000000.00 HTG')) AS funded
  FROM generate_series(1, :accounts) AS n;
VACUUM (ANALYZE);
