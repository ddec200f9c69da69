-- Prepares the batches of a run: table bench.batches has "batches" of them for each client, of "size"
-- orders each, between the accounts of accounts.sql. With skew 0 every account is as likely as another; with
-- skew 1 it is Zipf(1.0): the n-th account is 1/n times as likely as the first. With keys 1 each order has an
-- idempotency key.

DROP TABLE IF EXISTS bench.batches, bench.weights;

CREATE TABLE bench.weights AS
SELECT array_agg(weight ORDER BY n) AS bounds, max(weight) AS total
FROM (SELECT n, sum(1 / n ^ :skew) OVER (ORDER BY n)::float8 AS weight
      FROM generate_series(1.0, :accounts) AS n) AS w;

CREATE FUNCTION pg_temp.account(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN format('00000000-0000-7000-8000-%s', 100000000000 + n)::uuid;

CREATE TABLE bench.batches AS
SELECT client, batch,
       array_agg(pg_temp.account(source)) AS from_accounts,
       array_agg(pg_temp.account(CASE WHEN target = source THEN source % :accounts + 1 ELSE target END)) AS to_accounts,
       array_agg('1.00 HTG'::bank_money) AS amounts,
       CASE WHEN :keys = 1 THEN array_agg(gen_random_uuid()::text) END AS keys
FROM (SELECT client, batch,
             1 + width_bucket(random() * total, bounds) AS source,
             1 + width_bucket(random() * total, bounds) AS target
      FROM bench.weights, generate_series(0, :clients - 1) AS client,
           generate_series(1, :batches) AS batch, generate_series(1, :size)) AS o
GROUP BY client, batch;

CREATE UNIQUE INDEX ON bench.batches (client, batch);
VACUUM ANALYZE bench.batches;
