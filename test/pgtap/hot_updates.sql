-- Movements update accounts in place: HOT updates, which leave nothing to the indexes. Needs a
-- database of its own.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION banking;
SELECT no_plan();

CREATE TABLE customer AS SELECT (bank_create_account(gen_random_uuid(), 'COURANT', 'HTG')).account_id FROM generate_series(1, 20);

-- Each movement in a transaction of its own.
CREATE PROCEDURE movements(rounds integer) LANGUAGE plpgsql AS $$
DECLARE
  one uuid;
  other uuid;
  hold uuid;
BEGIN
  FOR i IN 1..rounds LOOP
    FOR one, other IN SELECT account_id, lead(account_id, 1, account_id) OVER (ORDER BY account_id) FROM customer LOOP
      PERFORM bank_deposit(one, '2 HTG', occurred_at => CASE WHEN i % 3 = 0 THEN timestamptz '2026-01-01 00:00+00' END);
      COMMIT;
      IF one <> other THEN
        PERFORM bank_transfer(one, other, '1 HTG', idempotency_key => format('%s %s', i, one));
        COMMIT;
      END IF;
      IF i % 4 = 0 THEN
        hold := event_id FROM bank_hold(one, '1 HTG');
        COMMIT;
        PERFORM bank_capture(hold, to_account => NULLIF(other, one));
        COMMIT;
      END IF;
    END LOOP;
  END LOOP;
END
$$;
CALL movements(25);
SELECT pg_stat_force_next_flush();
SELECT ok(n_tup_upd > 1000, 'accounts were updated') FROM pg_stat_user_tables WHERE relid = 'bank.accounts'::regclass;
SELECT ok(n_tup_hot_upd >= 0.95 * n_tup_upd, 'nearly all updates of accounts were HOT: ' || round(100.0 * n_tup_hot_upd / n_tup_upd) || ' %')
FROM pg_stat_user_tables WHERE relid = 'bank.accounts'::regclass;
SELECT ok(n_tup_upd = 0 AND n_tup_del = 0, 'events were neither updated nor deleted') FROM pg_stat_user_tables WHERE relid = 'bank.events'::regclass;
SELECT ok(pg_relation_size('bank.accounts_pkey') <= 16384, 'the index of the accounts has not grown');
SELECT is_empty($$SELECT invariant FROM bank_verify() WHERE NOT ok$$, 'the ledger is sound');
SELECT * FROM finish();
