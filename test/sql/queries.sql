-- The queries, compared with the slow and simple way of getting the same from bank.events.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
SET timezone = 'America/Port-au-Prince';

-- An empty ledger has no accounts, but answers.
SELECT bank_account_exists(a(1)), bank_account_exists(NULL);
SELECT * FROM bank_accounts_of(a(100));
SELECT * FROM bank_account_events(a(1));
SELECT * FROM bank_trial_balance;

-- An account nothing has happened on yet.
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1), overdraft_limit => '100000 HTG');
SELECT currency, balance, held, available, version FROM bank_balance(a(1));
SELECT currency, balance, held, version FROM bank_balance_at(a(1), clock_timestamp());
SELECT currency, balance, held, version FROM bank_balance_at(a(1), clock_timestamp(), as_recorded => true);
SELECT currency, balance, held, version FROM bank_balance_at(a(1), '-infinity');
SELECT currency, balance, held, version FROM bank_balance_at(a(1), 'infinity');
SELECT * FROM bank_transactions(a(1));
SELECT line, entry, debit, credit, balance FROM bank_statement(a(1), '2026-01-01', '2026-01-31');

-- A busy ledger: every kind of movement, every fourth one back-dated, some at midnight sharp or a
-- microsecond before, and between them events that move nothing.
SELECT account_number FROM bank_create_account(a(100), 'EPARGNE', 'HTG', account_id => a(2), overdraft_limit => '100000 HTG');
SELECT account_number FROM bank_create_account(a(101), 'COURANT', 'HTG', account_id => a(3), overdraft_limit => '100000 HTG');
CREATE FUNCTION movement(n integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  amount bank_money := bank_money(n * 7919 % 10007 / 100.0 + 0.01, 'HTG');
  one uuid := a(1 + n % 3);
  other uuid := a(1 + (n + 1 + n % 2) % 3);
  day timestamptz := timestamptz '2026-01-01 00:00' + interval '1 day' * (n * 31 % 97);
  at timestamptz := CASE WHEN n % 4 = 0 THEN
                      CASE n / 4 % 3 WHEN 0 THEN day WHEN 1 THEN day - interval '1 microsecond'
                                 ELSE day + interval '1 minute' * (n * 17 % 1440) END END;
  note jsonb := CASE WHEN n % 5 = 0 THEN jsonb_build_object('n', n) END;
BEGIN
  RETURN CASE n % 7
    WHEN 0 THEN (bank_deposit(one, amount, occurred_at => at, metadata => note)).event_type
    WHEN 1 THEN (bank_withdraw(one, amount, occurred_at => at, metadata => note)).event_type
    WHEN 2 THEN (bank_deposit(one, amount, occurred_at => at, house_account => 'interest')).event_type
    WHEN 3 THEN (bank_withdraw(one, amount, occurred_at => at, house_account => 'fees')).event_type
    WHEN 4 THEN (bank_set_limits(one, overdraft_limit => '100000 HTG', occurred_at => at)).event_type
    ELSE (bank_transfer(one, other, amount, occurred_at => at, metadata => note)).event_type
  END;
END
$$;
SELECT movement(n), count(*) FROM generate_series(1, 200) AS n GROUP BY 1 ORDER BY 1;
-- Another backend has house stripes of its own; psql opens the new connection before it closes the old one.
\c
SET timezone = 'America/Port-au-Prince';
SELECT movement(n), count(*) FROM generate_series(201, 300) AS n GROUP BY 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE house_code = 'cash') > 1 AS several_stripes FROM bank.accounts;
SELECT count(*) > 50 AS many_backdated FROM bank.backdated_movements;
SELECT * FROM broken_invariants();

-- One event, once for each account that it touches.
CREATE TABLE side AS
SELECT coalesce(h.house_account_id, s.row_id) AS account_id, s.*
FROM (SELECT aggregate_id, version, peer_id AS other, position, event_id, event_type::text,
             CASE WHEN event_type IN ('money.withdrawn', 'transfer.completed') THEN -amount ELSE amount END / 100.0 AS delta,
             balance / 100.0 AS balance, coalesce(occurred_at, recorded_at) AS at, recorded_at, metadata
      FROM bank.events
      UNION ALL
      SELECT peer_id, peer_version, aggregate_id, position, event_id, event_type::text,
             CASE WHEN event_type IN ('money.withdrawn', 'transfer.completed') THEN amount ELSE -amount END / 100.0,
             peer_balance / 100.0, coalesce(occurred_at, recorded_at), recorded_at, metadata
      FROM bank.events WHERE peer_id IS NOT NULL) AS s (row_id, version, other, position, event_id, event_type,
                                                       delta, balance, at, recorded_at, metadata)
LEFT JOIN bank.accounts AS h ON h.account_id = s.row_id AND h.house_code IS NOT NULL;
CREATE INDEX ON side (account_id);
ANALYZE side;

-- bank_balance_at: at moments at which something happened, and just before and after.
CREATE TABLE moment AS
SELECT DISTINCT at + interval '1 microsecond' * step AS at
FROM (SELECT at FROM side WHERE at < recorded_at UNION SELECT recorded_at FROM side WHERE position % 8 = 0) AS m, generate_series(-1, 1) AS step
UNION ALL VALUES ('-infinity'::timestamptz), ('infinity'), ('1900-01-01'), ('2026-02-01');
SELECT count(*) AS wrong
FROM bank_accounts AS a, moment AS m, LATERAL bank_balance_at(a.account_id, m.at) AS b
WHERE (b.account_id, b.currency, b.balance, b.held) IS DISTINCT FROM
      (a.account_id, 'HTG', (SELECT coalesce(sum(s.delta), 0) FROM side AS s WHERE s.account_id = a.account_id AND s.at <= m.at), 0);
SELECT count(*) AS wrong
FROM bank_accounts AS a, moment AS m, LATERAL bank_balance_at(a.account_id, m.at, as_recorded => true) AS b
WHERE (b.balance, b.version) IS DISTINCT FROM
      ((SELECT coalesce(sum(s.delta), 0) FROM side AS s WHERE s.account_id = a.account_id AND s.recorded_at <= m.at),
       (SELECT count(*) FROM side AS s WHERE s.account_id = a.account_id AND s.recorded_at <= m.at));
-- Now, all is there.
SELECT count(*) AS wrong FROM bank_accounts AS a, LATERAL bank_balance_at(a.account_id, 'infinity') AS b
WHERE (b.balance, b.version) IS DISTINCT FROM (a.balance, a.version);

-- bank_transactions, in pages of several sizes, with and without dates, and by version.
CREATE VIEW choice AS
SELECT a.account_id, d.*
FROM bank_accounts AS a,
     (VALUES (NULL::date, NULL::date), ('2026-02-01', NULL), (NULL, '2026-02-14'), ('2026-01-10', '2026-02-20'),
             ('2026-02-14', '2026-02-14'), ('2026-12-31', '2026-01-01'), ('1900-01-01', '2999-12-31'),
             ('-infinity', 'infinity')) AS d (from_date, to_date);
CREATE FUNCTION expected(account uuid, from_date date, to_date date, before_version bigint DEFAULT NULL)
RETURNS TABLE (rank bigint, event_id uuid, version bigint, "position" bigint, event_type text, amount numeric, currency text,
               balance numeric, other_account_id uuid, occurred_at timestamptz, recorded_at timestamptz, metadata jsonb)
LANGUAGE sql STABLE AS $$
  SELECT row_number() OVER (ORDER BY s.position DESC), s.event_id, s.version, s.position, s.event_type, s.delta, 'HTG',
         CASE WHEN s.row_id = account THEN s.balance END, s.other, s.at, s.recorded_at, s.metadata
  FROM side AS s
  WHERE s.account_id = account AND s.delta IS NOT NULL
    AND (from_date IS NULL OR (s.at AT TIME ZONE 'America/Port-au-Prince')::date >= from_date)
    AND (to_date IS NULL OR (s.at AT TIME ZONE 'America/Port-au-Prince')::date <= to_date)
    AND (before_version IS NULL OR s.version < before_version)
$$;
-- What a row is of a house account, apart from other_account_id, is compared below.
SELECT size, count(*) AS pages,
       count(*) FILTER (WHERE got IS DISTINCT FROM
         (SELECT jsonb_agg(to_jsonb(e) - 'rank' - 'other_account_id' ORDER BY e.rank) FROM expected(c.account_id, c.from_date, c.to_date) AS e
          WHERE e.rank > (page - 1) * size AND e.rank <= page * size)) AS wrong
FROM choice AS c, unnest(ARRAY[1, 7, 50, 1000]) AS size, generate_series(1, 4) AS page,
     LATERAL (SELECT jsonb_agg(to_jsonb(t) - 'other_account_id') AS got
              FROM bank_transactions(c.account_id, c.from_date, c.to_date, page, size) AS t) AS t
GROUP BY size ORDER BY size;
SELECT count(*) > 0 AS some, count(*) FILTER (WHERE e.other_account_id IS DISTINCT FROM t.other_account_id) AS wrong_other
FROM generate_series(1, 3) AS n, LATERAL bank_transactions(a(n), page_size => 1000) AS t
JOIN expected(a(n), NULL, NULL) AS e USING (event_id) WHERE t.event_type = 'transfer.completed';
-- By version: each page begins where the last one ended.
SELECT count(*) AS pages, count(*) FILTER (WHERE got IS DISTINCT FROM
         (SELECT jsonb_agg(to_jsonb(e) - 'rank' - 'other_account_id' ORDER BY e.rank)
          FROM expected(a(n), d.from_date, d.to_date, before) AS e WHERE e.rank <= 9)) AS wrong
FROM generate_series(1, 3) AS n, (VALUES (NULL::date, NULL::date), ('2026-01-10', '2026-02-20')) AS d (from_date, to_date),
     unnest(ARRAY[NULL, 0, 1, 2, 3, 50, 99, 100, 1000000, 9223372036854775807]) AS before,
     LATERAL (SELECT jsonb_agg(to_jsonb(t) - 'other_account_id') AS got
              FROM bank_transactions(a(n), d.from_date, d.to_date, page_size => 9, before_version => before) AS t) AS t;
WITH RECURSIVE walk AS (
  SELECT t.version, t.amount, 1 AS row FROM bank_transactions(a(1), page_size => 1) AS t
  UNION ALL
  SELECT t.version, t.amount, w.row + 1 FROM walk AS w, LATERAL bank_transactions(a(1), page_size => 1, before_version => w.version) AS t
)
SELECT count(*) = (SELECT count(*) FROM expected(a(1), NULL, NULL)) AS every_one,
       sum(amount) = (SELECT balance FROM bank_balance(a(1))) AS adds_up
FROM walk;
-- A day is a day of the session.
CREATE FUNCTION wrong_days(zone text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('timezone', zone, true);
  RETURN (SELECT count(*) FROM generate_series(1, 3) AS n, generate_series(0, 97, 5) AS d,
            LATERAL (SELECT count(*) AS got FROM bank_transactions(a(n), date '2026-01-01' + d, date '2026-01-01' + d)) AS t
          WHERE got <> (SELECT count(*) FROM side WHERE account_id = a(n) AND delta IS NOT NULL
                          AND (at AT TIME ZONE zone)::date = date '2026-01-01' + d));
END
$$;
SELECT zone, wrong_days(zone) AS wrong FROM unnest(ARRAY['UTC', 'Asia/Kathmandu', 'Pacific/Kiritimati', 'America/Port-au-Prince']) AS zone;
SET timezone = 'America/Port-au-Prince';
-- Deep pages past the end are empty.
SELECT * FROM bank_transactions(a(1), page => 2147483647, page_size => 1000);

-- bank_statement: opening balance, movements, closing balance, for every account and several periods.
CREATE TABLE statement AS
SELECT c.account_id, c.from_date, c.to_date, s.*
FROM (SELECT * FROM choice WHERE from_date <= to_date AND isfinite(from_date)) AS c,
     LATERAL bank_statement(c.account_id, c.from_date, c.to_date) AS s;
SELECT count(*) AS statements,
       count(*) FILTER (WHERE opening IS DISTINCT FROM (SELECT coalesce(sum(delta), 0) FROM side AS s
                                                        WHERE s.account_id = t.account_id AND s.at < t.from_date::timestamptz)) AS wrong_opening,
       count(*) FILTER (WHERE closing IS DISTINCT FROM (SELECT coalesce(sum(delta), 0) FROM side AS s
                                                        WHERE s.account_id = t.account_id AND s.at < (t.to_date + 1)::timestamptz)) AS wrong_closing,
       count(*) FILTER (WHERE opening + came - went IS DISTINCT FROM closing) AS does_not_add_up,
       count(*) FILTER (WHERE (total_debit, total_credit) IS DISTINCT FROM (went, came)) AS wrong_totals,
       count(*) FILTER (WHERE lines <> last_line + 1 OR movements <> lines - 2) AS wrong_lines,
       sum(movements) > 0 AS some
FROM (SELECT account_id, from_date, to_date, count(*) AS lines, max(line) AS last_line,
             max(balance) FILTER (WHERE entry = 'opening') AS opening, max(balance) FILTER (WHERE entry = 'closing') AS closing,
             coalesce(sum(debit) FILTER (WHERE entry = 'movement'), 0) AS went,
             coalesce(sum(credit) FILTER (WHERE entry = 'movement'), 0) AS came,
             max(debit) FILTER (WHERE entry = 'closing') AS total_debit, max(credit) FILTER (WHERE entry = 'closing') AS total_credit,
             count(*) FILTER (WHERE entry = 'movement') AS movements
      FROM statement GROUP BY 1, 2, 3) AS t;
-- The running balance runs, in the order of business time, and no movement is missing.
SELECT count(*) FILTER (WHERE entry = 'movement' AND balance <> previous - coalesce(debit, 0) + coalesce(credit, 0)) AS wrong_balance,
       count(*) FILTER (WHERE entry = 'movement' AND (debit IS NULL) = (credit IS NULL)) AS not_one_side,
       count(*) FILTER (WHERE occurred_at < earlier) AS out_of_order
FROM (SELECT s.*, lag(balance) OVER w AS previous, lag(occurred_at) OVER w AS earlier FROM statement AS s
      WINDOW w AS (PARTITION BY account_id, from_date, to_date ORDER BY line)) AS s;
SELECT count(*) AS wrong FROM (SELECT account_id, from_date, to_date, array_agg(event_id ORDER BY event_id) AS events
                               FROM statement WHERE entry = 'movement' GROUP BY 1, 2, 3) AS s
WHERE events <> (SELECT array_agg(e.event_id ORDER BY e.event_id) FROM expected(s.account_id, s.from_date, s.to_date) AS e);
-- A few days of one account, in full.
SELECT line, entry, occurred_at, event_type, debit, credit, balance, currency, metadata
FROM bank_statement(a(2), '2026-01-20', '2026-02-05') ORDER BY line;

-- bank_account_events: the whole stream, the events in which the account is the peer included.
SELECT a.account_type, count(*) AS accounts,
       count(*) FILTER (WHERE e.positions IS DISTINCT FROM
         (SELECT array_agg(DISTINCT s.position ORDER BY s.position) FROM side AS s WHERE s.account_id = a.account_id)) AS wrong
FROM bank_accounts AS a, LATERAL (SELECT array_agg(e.position) AS positions FROM bank_account_events(a.account_id) AS e) AS e
GROUP BY 1 ORDER BY 1;
SELECT array_agg(CASE aggregate_id WHEN a(1) THEN version ELSE peer_version END) =
       array_agg(n) AS contiguous, count(*) FILTER (WHERE peer_id = a(1)) > 10 AS with_peer_side
FROM bank_account_events(a(1)) WITH ORDINALITY AS e (position, event_id, aggregate_id, version, peer_id, peer_version,
                                                     event_type, event_data, metadata, occurred_at, recorded_at, actor, n);

-- House accounts: one row in the view whatever the number of stripes, one identifier for all queries.
SELECT a.house_account, count(*) AS rows,
       bool_and(a.balance = (SELECT sum(s.delta) FROM side AS s WHERE s.account_id = a.account_id)) AS balance_right,
       bool_and(a.version = (SELECT count(*) FROM side AS s WHERE s.account_id = a.account_id)) AS version_right,
       bool_and(b.balance = a.balance AND b.available IS NULL) AS same_in_bank_balance,
       bool_and(bank_account(a.account_id) = a) AS same_in_bank_account,
       bool_and(bank_account_exists(a.account_id)) AS exists
FROM bank_accounts AS a, LATERAL bank_balance(a.account_id) AS b WHERE a.account_type = 'HOUSE'
GROUP BY 1 ORDER BY 1;
SELECT sum(balance) FROM bank_accounts;

-- Owners
SELECT account_number, account_type FROM bank_accounts_of(a(100));
SELECT account_number, account_type FROM bank_accounts_of(a(101));
SELECT account_number, account_type FROM bank_accounts_of(NULL);
SELECT bank_account_exists(a(1)), bank_account_exists(a(99)), bank_account_exists(NULL);

-- Account numbers: ISO 7064 MOD 97-10. A wrong digit and a swap of neighbours are found.
SELECT account_number, account_number::numeric % 97 AS remainder, bank_account_number_valid(account_number) AS valid
FROM bank_accounts WHERE account_number IS NOT NULL ORDER BY 1;
SELECT count(*) AS wrong_digits, count(*) FILTER (WHERE bank_account_number_valid(wrong)) AS accepted
FROM bank_accounts, generate_series(1, 12) AS place, generate_series(0, 9) AS digit,
     LATERAL overlay(account_number PLACING digit::text FROM place FOR 1) AS wrong
WHERE account_number IS NOT NULL AND wrong <> account_number;
SELECT count(*) AS swaps, count(*) FILTER (WHERE bank_account_number_valid(wrong)) AS accepted
FROM unnest(ARRAY['000000000195', '123456789013', '909090909055', '979797979779']) AS number,
     LATERAL (SELECT number::bigint / 100 * 100 + 98 - number::bigint / 100 * 100 % 97 AS value) AS v,
     LATERAL (SELECT lpad(value::text, 12, '0') AS right_one) AS r, generate_series(1, 11) AS place,
     LATERAL (SELECT overlay(right_one PLACING reverse(substr(right_one, place, 2)) FROM place FOR 2) AS wrong) AS w
WHERE wrong <> right_one;
SELECT number, bank_account_number_valid(number)
FROM (VALUES ('000000000195'), (' 00000000195'), ('000000000195 '), ('00000000195'), ('0000000000195'), (''), ('00000000019५'),
             ('0000000001９5'), ('-00000000195'), ('000000000001'), ('000000000098'), ('0x0000000195'), (NULL)) AS v (number);

-- Queries never write: they run in a read-only transaction, and see one state of the ledger.
BEGIN TRANSACTION READ ONLY;
SELECT (bank_account(a(1))).version = (bank_balance(a(1))).version AS same,
       (bank_balance_at(a(1), 'infinity')).version = (SELECT count(*) FROM bank_account_events(a(1))) AS same,
       bank_account_exists(a(1)), (SELECT count(*) FROM bank_accounts_of(a(100))) AS accounts,
       (SELECT count(*) FROM bank_transactions(a(1))) AS transactions,
       (SELECT count(*) > 2 FROM bank_statement(a(1), '2026-01-01', '2999-01-01')) AS statement,
       (SELECT count(*) FROM bank_trial_balance WHERE debits = credits) AS balanced, (SELECT count(*) > 0 FROM bank_events) AS events;
ROLLBACK;

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
