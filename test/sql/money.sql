-- bank_money: text form, refusals, arithmetic, comparison, order, aggregates, allocation
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS banking;
RESET client_min_messages;

-- What becomes of a statement: its (only) result, or how it is refused
CREATE FUNCTION pg_temp.outcome(statement text, OUT result text, OUT code text,
                                OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement INTO result;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
    detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;

--
-- Text form
--
SELECT input, input::bank_money AS money, bank_amount(input::bank_money), bank_currency(input::bank_money)
  FROM unnest(ARRAY[
    '1000.00 HTG', 'HTG 1000', '1000 HTG', '1000.5 HTG', E' \t1000.50\n HTG ', '0 HTG', '0.01 HTG',
    '007 HTG', '92233720368547758.07 HTG',
    '5 JPY', 'JPY 0', '9223372036854775807 JPY',
    '5 KWD', '0.005 KWD', '9223372036854775.807 KWD',
    '5 CLF', '0.0001 CLF', '1.2345 UYW', '922337203685477.5807 CLF']) WITH ORDINALITY AS t(input, i)
 ORDER BY i;

-- Every refusal has its own words
SELECT input, o.code, o.message, o.detail, o.hint
  FROM unnest(ARRAY[
    '', ' ', 'abc', 'HTG', '1000', '1000HTG', 'hello world', 'NaN', '.5 HTG', '5. HTG', '+5 HTG',
    '5 HTG HTG', '0x10 HTG', '$5 USD',
    '5 XYZ', '5 XAU', '5 XXX', '5 htg', '5 HT', '5 HTGS', 'XTS 5',
    '-5.00 HTG', 'HTG -0.01', '-0 HTG',
    '1.005 HTG', '1000.000 HTG', '5.0 JPY', '5.0001 KWD', '5.00001 CLF',
    'NaN HTG', 'HTG nan', 'Infinity HTG', '-inf HTG',
    '1e3 HTG', '1.5E-2 HTG',
    '1,000.00 HTG', '1000,50 HTG', '1.000.000 HTG', '1 000 HTG', '1''000 HTG', '1_000 HTG',
    '92233720368547758.08 HTG', '9223372036854775808 JPY', '99999999999999999999999 KWD']) WITH ORDINALITY AS t(input, i),
    LATERAL pg_temp.outcome(format('SELECT %L::bank_money', input)) AS o
 ORDER BY i;

-- Stored in 16 bytes
SELECT typlen, typalign, typstorage, typbyval, pg_column_size('922337203685477.5807 CLF'::bank_money)
  FROM pg_type WHERE oid = 'bank_money'::regtype;

-- Refusals raised as they reach a client
SELECT 'abc'::bank_money;
SELECT '5 usd'::bank_money;
SELECT '-5 HTG'::bank_money;

-- Where the server has soft errors (16 and later), all of these are soft
DO $$
DECLARE
  input text;
  state text;
  expected text;
BEGIN
  IF current_setting('server_version_num')::integer < 160000 THEN
    RETURN;
  END IF;
  FOR input, expected IN VALUES ('5 HTG', NULL), ('abc', '22P02'), ('-5 HTG', 'BK008'), ('NaN HTG', 'BK008'),
    ('1.005 HTG', 'BK008'), ('1e3 HTG', 'BK008'), ('1,5 HTG', 'BK008'), ('99999999999999999999 HTG', 'BK008'), ('5 XYZ', 'BK014')
  LOOP
    EXECUTE 'SELECT sql_error_code FROM pg_input_error_info($1, ''bank_money'')' INTO state USING input;
    IF state IS DISTINCT FROM expected THEN
      RAISE WARNING '%: %, expected %', input, state, expected;
    END IF;
  END LOOP;
END $$;

-- As JSON, in arrays, in a column
SELECT to_jsonb('1000.00 HTG'::bank_money), ARRAY['1 HTG', '2.50 USD']::bank_money[],
       '{"1 HTG",NULL}'::bank_money[];
CREATE TEMP TABLE fees (fee bank_money NOT NULL DEFAULT '2.50 HTG' CHECK (fee >= '1.00 HTG'));
INSERT INTO fees DEFAULT VALUES;
INSERT INTO fees VALUES ('0.99 HTG');
SELECT * FROM fees;
DROP TABLE fees;

-- Binary form: minor units, letters, decimals
SELECT bank.money_send('1000.00 HTG'), bank.money_send('0 JPY'), bank.money_send('922337203685477.5807 CLF');

--
-- Construction and access
--
SELECT bank_money(1000, 'HTG'), bank_money(12.5, 'HTG'), bank_money(12.5000000, 'HTG'), bank_money(-0.0, 'HTG'),
       bank_money(1e3, 'JPY'), bank_money(0.0001, 'CLF'), bank_money(92233720368547758.07, 'HTG');
SELECT call, o.code, o.message, o.detail, o.hint
  FROM unnest(ARRAY[
    $$bank_money('NaN', 'HTG')$$, $$bank_money('Infinity', 'HTG')$$, $$bank_money('-Infinity', 'HTG')$$,
    $$bank_money(-0.01, 'HTG')$$, $$bank_money(0.001, 'HTG')$$, $$bank_money(1.5, 'JPY')$$,
    $$bank_money(92233720368547758.08, 'HTG')$$, $$bank_money(1e1000, 'HTG')$$, $$bank_money(1e-1000, 'HTG')$$,
    $$bank_money(5, 'XYZ')$$, $$bank_money(5, 'htg')$$, $$bank_money(5, '')$$, $$bank_money(5, 'HTG ')$$, $$bank_money(5, 'gourdes')$$]) WITH ORDINALITY AS t(call, i),
    LATERAL pg_temp.outcome('SELECT ' || call) AS o
 ORDER BY i;
SELECT bank_money(NULL, 'HTG') IS NULL AS no_amount, bank_money(5, NULL) IS NULL AS no_currency;

SELECT m, bank_amount(m), m::numeric, scale(m::numeric), bank_currency(m),
       bank_money(bank_amount(m), bank_currency(m)) = m AS rebuilt
  FROM (VALUES ('1000.50 HTG'::bank_money), ('7 JPY'), ('0.005 KWD'), ('0 CLF'), ('922337203685477.5807 UYW')) AS t(m);

-- No way to a number or from one without saying so
SELECT '5 HTG'::bank_money + 1;
SELECT '5 HTG'::bank_money::double precision;
SELECT 5::numeric::bank_money;
SELECT round('5 HTG'::bank_money);

-- Signed figures of the read models
SELECT minor, currency, bank.minor_to_numeric(minor, currency), bank.minor_to_text(minor, currency)
  FROM (VALUES (100000, 'HTG'), (-50050, 'HTG'), (-5, 'HTG'), (0, 'HTG'), (-7, 'JPY'), (-7, 'KWD'), (7, 'CLF'),
               (9223372036854775807, 'HTG'), (-9223372036854775808, 'HTG'), (-9223372036854775808, 'JPY'),
               (-9223372036854775808, 'KWD'), (-9223372036854775808, 'CLF')) AS t(minor, currency);
SELECT bank.minor_to_numeric(1, 'XXX');
SELECT bank.minor_to_text(1, 'xxx');

--
-- Arithmetic and comparison
--
SELECT call, o.result, o.code, o.message, o.detail
  FROM unnest(ARRAY[
    $$'1.50 HTG'::bank_money + '2.75 HTG'$$,
    $$'92233720368547758.07 HTG'::bank_money + '0.01 HTG'$$,
    $$'1 HTG'::bank_money + '1 USD'$$,
    $$'2.75 HTG'::bank_money - '1.50 HTG'$$,
    $$'2.75 HTG'::bank_money - '2.75 HTG'$$,
    $$'1.50 HTG'::bank_money - '1.51 HTG'$$,
    $$'0 HTG'::bank_money - '0 USD'$$,
    $$'1.25 HTG'::bank_money * 3$$,
    $$3 * '1.25 HTG'::bank_money$$,
    $$3::smallint * '1.25 HTG'::bank_money * 2::bigint$$,
    $$'1.25 HTG'::bank_money * 0$$,
    $$'1.25 HTG'::bank_money * -1$$,
    $$-1 * '1.25 HTG'::bank_money$$,
    $$'92233720368547758.07 HTG'::bank_money * 2$$,
    $$'1.25 HTG'::bank_money * 1.5$$,
    $$'1.25 HTG'::bank_money * '1.25 HTG'::bank_money$$,
    $$- '1.25 HTG'::bank_money$$,
    $$'1 HTG'::bank_money + NULL$$]) WITH ORDINALITY AS t(call, i),
    LATERAL pg_temp.outcome('SELECT ' || call) AS o
 ORDER BY i;

SELECT a, b, a = b AS "=", a <> b AS "<>", a < b AS "<", a <= b AS "<=", a > b AS ">", a >= b AS ">=",
       a *< b AS "*<", a *<= b AS "*<=", a *> b AS "*>", a *>= b AS "*>="
  FROM (VALUES ('1 HTG'::bank_money, '1.00 HTG'::bank_money), ('1 HTG', '2 HTG'), ('2 HTG', '1 HTG'),
               ('10 HTG', '9 HTG')) AS t(a, b);
SELECT a, b, a = b AS "=", a <> b AS "<>",
       a *< b AS "*<", a *<= b AS "*<=", a *> b AS "*>", a *>= b AS "*>="
  FROM (VALUES ('1 HTG'::bank_money, '1 USD'::bank_money), ('2 USD', '1 HTG'), ('0 HTG', '0 JPY')) AS t(a, b);
SELECT operator, o.result, o.code, o.message, o.detail
  FROM unnest(ARRAY['<', '<=', '>', '>=']) AS operator,
    LATERAL pg_temp.outcome(format('SELECT ''1 HTG''::bank_money %s ''1 USD''', operator)) AS o;
SELECT '1 HTG'::bank_money < '1 USD';
SELECT '5 HTG'::bank_money BETWEEN '1 HTG' AND '10 HTG' AS between_of_one_currency;
SELECT '5 HTG'::bank_money BETWEEN '1 USD' AND '10 USD' AS between_of_two;
-- what asks the default operator class for an order gets the total one; "<" is not an order
SELECT greatest('10 HTG'::bank_money, '9 USD'), least('10 HTG'::bank_money, '9 USD');
SELECT call, o.result, o.code, o.message
  FROM unnest(ARRAY[
    $$m FROM (VALUES ('1 HTG'::bank_money)) AS t(m) ORDER BY m USING <$$,
    $$('1 HTG'::bank_money, 1) < ('2 HTG'::bank_money, 1)$$]) WITH ORDINALITY AS t(call, i),
    LATERAL pg_temp.outcome('SELECT ' || call) AS o
 ORDER BY i;

--
-- Order, grouping, indexes, joins: two currencies never raise here
--
CREATE TABLE amounts (id integer PRIMARY KEY, m bank_money);
INSERT INTO amounts VALUES (1, '10 USD'), (2, '9.99 USD'), (3, '500 HTG'), (4, '9.99 USD'), (5, '100 JPY'),
  (6, '0 HTG'), (7, NULL), (8, '500.00 HTG'), (9, '20 JPY'), (10, '0 USD');
SELECT m FROM amounts ORDER BY m, id;
SELECT m FROM amounts ORDER BY m DESC NULLS LAST, id LIMIT 3;
SELECT m, count(*) FROM amounts GROUP BY m HAVING count(*) > 1 ORDER BY m;
SELECT count(DISTINCT m) FROM amounts;
SELECT array_agg(DISTINCT m ORDER BY m) FROM amounts;
SET enable_hashagg = off;
SELECT DISTINCT m FROM amounts ORDER BY m;
SET enable_hashagg = on;
SET enable_sort = off;
SELECT count(*) FROM (SELECT DISTINCT m FROM amounts) AS d;
RESET enable_sort;
RESET enable_hashagg;

-- joins by hash, merge and nested loop find the same pairs
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM amounts a JOIN amounts b USING (m);
SELECT count(*) FROM amounts a JOIN amounts b USING (m);
SET enable_mergejoin = on;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM amounts a JOIN amounts b USING (m);
SELECT count(*) FROM amounts a JOIN amounts b USING (m);
SET enable_nestloop = on;
SET enable_mergejoin = off;
SELECT count(*) FROM amounts a JOIN amounts b USING (m);
RESET enable_mergejoin;
RESET enable_hashjoin;
RESET enable_nestloop;

-- indexes serve equality and the total order
INSERT INTO amounts SELECT i, bank_money(i / 100.0, (ARRAY['HTG', 'USD', 'JPY'])[1 + (i / 100) % 2])
  FROM generate_series(1001, 4000) AS i;
CREATE INDEX amounts_m ON amounts (m);
ANALYZE amounts;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM amounts WHERE m = '15.00 USD';
SELECT id FROM amounts WHERE m = '15.00 USD';
EXPLAIN (COSTS OFF) SELECT id FROM amounts WHERE m *>= '20 JPY' AND m *< '10 USD' ORDER BY m;
SELECT id, m FROM amounts WHERE m *>= '20 JPY' AND m *< '10 USD' ORDER BY m, id;
EXPLAIN (COSTS OFF) SELECT m FROM amounts ORDER BY m DESC LIMIT 1;
SELECT m FROM amounts WHERE m IS NOT NULL ORDER BY m DESC LIMIT 1;
-- "<" and max never use one (servers from 18 on add that a sequential scan is disabled)
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    CONTINUE WHEN line LIKE '%Disabled: true%';
    RETURN NEXT line;
  END LOOP;
END
$$;
SELECT plan($$SELECT id FROM amounts WHERE m < '15.00 USD'$$);
SELECT count(*) FROM amounts WHERE m < '15.00 USD';
EXPLAIN (COSTS OFF) SELECT max(m) FROM amounts;
SELECT max(m) FROM amounts;
-- and planning "<" with statistics of several currencies raises nothing
SELECT count(*) FROM amounts WHERE bank_currency(m) = 'USD' AND m < '15.00 USD';
SELECT count(*) FROM amounts WHERE m >= '39.00 USD' AND bank_currency(m) = 'USD';
SELECT count(*) FROM amounts WHERE bank_currency(m) = 'USD' AND m <= '15.00 USD' AND '12 USD' < m;
DROP INDEX amounts_m;
CREATE INDEX amounts_m ON amounts USING hash (m);
EXPLAIN (COSTS OFF) SELECT id FROM amounts WHERE m = '15.00 USD';
SELECT id FROM amounts WHERE m = '15.00 USD';
RESET enable_seqscan;
RESET enable_bitmapscan;

-- unique, partitions by hash, and the operator classes as the server checks them
CREATE TEMP TABLE prices (price bank_money UNIQUE);
INSERT INTO prices VALUES ('1 HTG'), ('1 USD');
INSERT INTO prices VALUES ('1.00 HTG');
CREATE TEMP TABLE parts (m bank_money) PARTITION BY HASH (m);
CREATE TEMP TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT bank_money(i, 'HTG') FROM generate_series(1, 100) AS i;
SELECT count(*) FROM parts WHERE m = '42 HTG';
SELECT count(*) BETWEEN 20 AND 80 AS spread FROM parts_0;
SELECT opcname, amvalidate(oid) FROM pg_opclass WHERE opcname LIKE 'bank\_money%' ORDER BY opcname;
SELECT amproc::regproc, amprocnum FROM pg_amproc
 WHERE amproclefttype = 'bank_money'::regtype ORDER BY amprocfamily::text::bigint, amprocnum;
SELECT o.oprname, c.oprname AS commutator, n.oprname AS negator, o.oprrest, o.oprjoin, o.oprcanhash AS hash,
       o.oprcanmerge AS merge, o.oprleft::regtype, o.oprright::regtype
  FROM pg_operator o LEFT JOIN pg_operator c ON c.oid = o.oprcom LEFT JOIN pg_operator n ON n.oid = o.oprnegate
 WHERE 'bank_money'::regtype IN (o.oprleft, o.oprright) ORDER BY o.oprname COLLATE "C", o.oprleft::regtype::text;

--
-- Aggregates
--
SELECT bank_currency(m), sum(m), min(m), max(m), count(m),
       bank_amount(sum(m)) = sum(bank_amount(m)) AS same_sum,
       bank_amount(min(m)) = min(bank_amount(m)) AS same_min,
       bank_amount(max(m)) = max(bank_amount(m)) AS same_max
  FROM amounts GROUP BY bank_currency(m) ORDER BY 1;
SELECT sum(m), min(m), max(m) FROM amounts WHERE id = 7;
SELECT sum(m), min(m), max(m) FROM amounts WHERE false;
SELECT aggregate, o.result, o.code, o.message, o.detail
  FROM unnest(ARRAY['sum', 'min', 'max']) AS aggregate,
    LATERAL pg_temp.outcome(format('SELECT %s(m) FROM amounts WHERE id IN (3, 5)', aggregate)) AS o;
SELECT sum(m) FROM (VALUES ('92233720368547758.07 HTG'::bank_money), ('0.01 HTG')) AS t(m);

-- over a moving window: the same sums as without the inverse
SELECT count(*) AS different
  FROM (SELECT sum(m) OVER w AS moving, sum(bank_amount(m)) OVER w AS exact
          FROM (SELECT * FROM amounts WHERE bank_currency(m) = 'USD' OR id = 7) AS usd
        WINDOW w AS (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)) AS s
 WHERE bank_amount(moving) IS DISTINCT FROM exact;

-- in parallel
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT sum(m), min(m), max(m) FROM amounts WHERE bank_currency(m) = 'HTG';
SELECT sum(m), min(m), max(m) FROM amounts WHERE bank_currency(m) = 'HTG';
\set VERBOSITY terse
SELECT sum(m) FROM amounts;
\set VERBOSITY default
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

--
-- Allocation
--
SELECT whole, weights, bank_money_allocate(whole, weights)
  FROM (VALUES ('100.00 HTG'::bank_money, '{1,1,1}'::bigint[]), ('100.00 HTG', '{0,1,0,3}'), ('0.05 HTG', '{3,7}'),
               ('0.05 HTG', '{7,3}'), ('101 JPY', '{50,30,20}'), ('1 JPY', '{1,2}'), ('0 KWD', '{1,2}'),
               ('0.0001 CLF', '{5}'), ('100.00 HTG', '[5:6]={1,1}'),
               ('9223372036854775807 JPY', '{9223372036854775807,9223372036854775807}')) AS t(whole, weights);
SELECT sum(part) = '100.00 HTG' AS adds_up, count(*), min(part), max(part)
  FROM unnest(bank_money_allocate('100.00 HTG', (SELECT array_agg(i) FROM generate_series(1, 1000) AS i))) AS part;
SELECT call, o.code, o.message, o.detail
  FROM unnest(ARRAY[
    $$bank_money_allocate('1 HTG', '{}')$$,
    $$bank_money_allocate('1 HTG', '{0,0}')$$,
    $$bank_money_allocate('1 HTG', '{1,-1}')$$,
    $$bank_money_allocate('1 HTG', '{1,NULL}')$$,
    $$bank_money_allocate('1 HTG', '{{1,2},{3,4}}')$$,
    $$bank_money_allocate('1 HTG', array_fill(1::bigint, ARRAY[65536]))$$]) WITH ORDINALITY AS t(call, i),
    LATERAL pg_temp.outcome('SELECT ' || call) AS o
 ORDER BY i;
SELECT bank_money_allocate(NULL, '{1}') IS NULL AS no_money, bank_money_allocate('1 HTG', NULL) IS NULL AS no_weights;

--
-- Without the extension's schema on the path, for a user without any right on "bank"
--
CREATE ROLE regress_money_user;
GRANT SELECT ON amounts TO regress_money_user;
SET ROLE regress_money_user;
SET search_path = pg_catalog;
SELECT public.sum(m), public.max(m) OPERATOR(public.-) public.min(m) AS spread,
       public.bank_money_allocate(public.max(m), '{1,1}')
  FROM public.amounts WHERE public.bank_currency(m) = 'JPY' AND m OPERATOR(public.>) '0 JPY';
SELECT m FROM public.amounts WHERE id < 10 ORDER BY m LIMIT 1;
RESET search_path;
RESET ROLE;
DROP TABLE amounts;
DROP ROLE regress_money_user;
