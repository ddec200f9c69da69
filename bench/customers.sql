-- 100 000 accounts of 25 000 owners: owner 00000000-0000-7000-8000-200000000000 has the accounts
-- 00000000-0000-7000-8000-100000000000 to …003, and so on. The first is mapped to bench_customer.
DO $$
BEGIN
  FOR i IN 0 .. 99 LOOP
    PERFORM bank_create_account(format('00000000-0000-7000-8000-%s', 200000000000 + n / 4)::uuid, 'COURANT', 'HTG',
      account_id => format('00000000-0000-7000-8000-%s', 100000000000 + n)::uuid)
    FROM generate_series(i * 1000, i * 1000 + 999) AS n;
    COMMIT;
  END LOOP;
END
$$;
VACUUM (ANALYZE);
CREATE ROLE bench_customer LOGIN;
CREATE ROLE bench_teller LOGIN;
CREATE ROLE bench_authenticator LOGIN NOINHERIT IN ROLE bench_customer, bench_teller;
SELECT bank_grant('bench_customer', 'customer'), bank_grant('bench_teller', 'teller'),
  bank_map_owner('bench_customer', '00000000-0000-7000-8000-200000000000');
