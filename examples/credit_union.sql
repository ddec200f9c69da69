-- A small made-up data set: January 2025 at the Caisse Lakay, a credit union that never was.
-- Nine members' accounts, 44 movements, one of them entered late.
--
--   psql -X -f examples/credit_union.sql      (in a database that has the extension)
--
-- Run again it has no effect: each account and each movement has its idempotency key. The temporary
-- table member is there for the rest of the session, to find an account by its owner's name.

CREATE TEMP TABLE member (
  number integer PRIMARY KEY,
  name text NOT NULL,
  account_type text NOT NULL,
  currency text NOT NULL,
  overdraft_limit numeric NOT NULL,
  account_id uuid
);
COPY member (number, name, account_type, currency, overdraft_limit) FROM STDIN WITH (FORMAT csv);
1,Rose Toussaint,COURANT,HTG,5000.00
2,Wilner Baptiste,COURANT,HTG,0.00
3,Nadège Jean-Louis,COURANT,HTG,2500.00
4,Emmanuel Pierre,EPARGNE,HTG,0.00
5,Mirlande Desrosiers,COURANT,HTG,0.00
6,Fritz Dorvil,COURANT,HTG,10000.00
7,Yolande Michel,EPARGNE,HTG,0.00
8,École Bon Espoir,COURANT,HTG,0.00
9,Rose Toussaint,EPARGNE,USD,0.00
\.

-- "source" and "target" are a member's number or the code of a house account.
CREATE TEMP TABLE entry (
  number integer PRIMARY KEY,
  day date NOT NULL,
  source text NOT NULL,
  target text NOT NULL,
  amount numeric NOT NULL,
  purpose text NOT NULL
);
COPY entry FROM STDIN WITH (FORMAT csv);
1,2025-01-02,cash,1,18500.00,opening deposit
2,2025-01-02,cash,2,7200.00,opening deposit
3,2025-01-02,cash,3,4000.00,opening deposit
4,2025-01-02,cash,4,60000.00,opening deposit
5,2025-01-03,cash,5,2350.50,market takings
6,2025-01-03,cash,6,15000.00,opening deposit
7,2025-01-03,cash,7,32000.00,opening deposit
8,2025-01-03,external,9,250.00,money from abroad
9,2025-01-06,1,8,6500.00,school fees
10,2025-01-06,3,8,6000.00,school fees
11,2025-01-06,2,8,6500.00,school fees
12,2025-01-07,cash,5,3120.00,market takings
13,2025-01-07,6,cash,9400.00,cement
14,2025-01-08,6,5,1275.00,rice and oil
15,2025-01-08,1,cash,2000.00,cash
16,2025-01-09,6,2,8000.00,wages
17,2025-01-09,6,3,4500.00,wages
18,2025-01-10,cash,5,2890.25,market takings
19,2025-01-10,8,external,9800.00,textbooks
20,2025-01-13,external,6,42000.00,building site: first instalment
21,2025-01-13,2,5,640.00,groceries
22,2025-01-14,cash,5,3400.00,market takings
23,2025-01-14,5,7,5000.00,savings
24,2025-01-15,external,1,26750.00,salary
25,2025-01-15,1,7,3000.00,for mother
26,2025-01-16,6,cash,12800.00,timber
27,2025-01-16,6,2,8000.00,wages
28,2025-01-16,6,3,4500.00,wages
29,2025-01-17,3,5,980.00,groceries
30,2025-01-17,cash,5,2745.75,market takings
31,2025-01-20,2,cash,4000.00,cash
32,2025-01-20,8,external,7250.00,teachers
33,2025-01-21,cash,5,3015.00,market takings
34,2025-01-22,7,cash,10000.00,roof
35,2025-01-23,6,2,8000.00,wages
36,2025-01-24,cash,5,2980.00,market takings
37,2025-01-27,9,cash,100.00,cash
38,2025-01-28,5,4,4000.00,loan paid back
39,2025-01-31,1,fees,75.00,account fee
40,2025-01-31,6,fees,75.00,account fee
41,2025-01-31,8,fees,75.00,account fee
42,2025-01-31,interest,4,250.00,interest
43,2025-01-31,interest,7,132.50,interest
44,2025-01-10,cash,1,1500.00,deposit of 10 January found in the box
\.

DO $$
DECLARE
  m member;
  e entry;
  keyed text;
  at timestamptz;
  about jsonb;
BEGIN
  FOR m IN SELECT * FROM member ORDER BY number LOOP
    UPDATE member SET account_id = (SELECT opened.account_id FROM bank_create_account(
        owner_id => md5('caisse lakay ' || m.name)::uuid,
        account_type => m.account_type,
        currency => m.currency,
        idempotency_key => 'caisse-lakay-account-' || m.number,
        occurred_at => '2025-01-02 08:00+00',
        overdraft_limit => bank_money(m.overdraft_limit, m.currency)) AS opened)
    WHERE number = m.number;
  END LOOP;

  FOR e IN SELECT * FROM entry ORDER BY number LOOP
    keyed := 'caisse-lakay-' || e.number;
    at := (e.day + time '12:00') AT TIME ZONE 'UTC';
    about := jsonb_build_object('purpose', e.purpose);
    IF e.source ~ '^\d+$' AND e.target ~ '^\d+$' THEN
      PERFORM bank_transfer(s.account_id, t.account_id, bank_money(e.amount, s.currency),
                            idempotency_key => keyed, occurred_at => at, metadata => about)
      FROM member AS s, member AS t WHERE s.number = e.source::integer AND t.number = e.target::integer;
    ELSIF e.target ~ '^\d+$' THEN
      PERFORM bank_deposit(t.account_id, bank_money(e.amount, t.currency), house_account => e.source,
                           idempotency_key => keyed, occurred_at => at, metadata => about)
      FROM member AS t WHERE t.number = e.target::integer;
    ELSE
      PERFORM bank_withdraw(s.account_id, bank_money(e.amount, s.currency), house_account => e.target,
                            idempotency_key => keyed, occurred_at => at, metadata => about)
      FROM member AS s WHERE s.number = e.source::integer;
    END IF;
  END LOOP;
END
$$;
DROP TABLE entry;
