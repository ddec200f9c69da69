-- A tour of the relay: another system hears of every movement, also of those that it was down for.
--
--   psql -X -v url=http://127.0.0.1:PORT/ -v secret=whsec_… -f examples/relay.sql
--
-- ./quickstart runs it, in a database with the ledger on a server that preloads banking, with
-- examples/receive_webhook at the URL. Environment: RECEIVED is the file that holds what the receiver
-- prints, OUTAGE the file that makes it answer 503 while it is there.

\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
\pset null '-'
\set ECHO none
SET client_min_messages = warning;

-- Waits, at most 60 seconds, until a condition holds.
CREATE PROCEDURE pg_temp.wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
  holds boolean;
BEGIN
  LOOP
    EXECUTE 'SELECT ' || condition INTO holds;
    EXIT WHEN holds;
    IF clock_timestamp() > now() + interval '60 seconds' THEN
      RAISE EXCEPTION 'waited in vain until %', condition;
    END IF;
    PERFORM pg_sleep(0.05);
  END LOOP;
END
$$;

\echo
\echo '== A shop wants to hear of every movement; its breaker is an impatient one'
\set ECHO queries
SELECT name FROM bank_subscribe('shop', :'url', event_types => '{money.*,transfer.*}', secret => :'secret',
  failure_threshold => 3, retry_delay => '200 milliseconds', breaker_timeout => '2 seconds');

\set ECHO none
SELECT account_id AS ana FROM bank_create_account(gen_random_uuid(), 'COURANT', 'HTG')
\gset
SELECT account_id AS luc FROM bank_create_account(gen_random_uuid(), 'EPARGNE', 'HTG')
\gset
SELECT max(position) AS before FROM bank_events
\gset

\echo
\echo '== Ana deposits 500.00 and sends Luc 120.00; the receiver checks the signature and prints what it got'
\set ECHO queries
SELECT event_type, amount, balance FROM bank_deposit(:'ana', '500.00 HTG');
SELECT event_type, amount, balance FROM bank_transfer(:'ana', :'luc', '120.00 HTG');
\set ECHO none
CALL pg_temp.wait_until('lag_events = 0 AND delivered >= 2 FROM bank_subscriptions WHERE name = ''shop''');
\! cat "$RECEIVED"

\echo
\echo '== The shop goes down, the bank goes on'
\! touch "$OUTAGE"
\set ECHO queries
SELECT event_type, amount, balance FROM bank_withdraw(:'luc', '20.00 HTG');
SELECT event_type, amount, balance FROM bank_transfer(:'ana', :'luc', '75.50 HTG');
SELECT event_type, amount, balance FROM bank_deposit(:'luc', '10.00 HTG');

\set ECHO none
CALL pg_temp.wait_until('breaker_state = ''open'' FROM bank_subscriptions WHERE name = ''shop''');
\echo
\echo '== After three failures the breaker opens: nothing is sent but a probe every two seconds'
\set ECHO queries
SELECT name, breaker_state, lag_events, dead_letters, last_error FROM bank_subscriptions;
SELECT * FROM bank_health() WHERE NOT ok;

\set ECHO none
\echo
\echo '== The shop comes back: the next probe closes the breaker, the rest follows in order'
\! rm "$OUTAGE"
CALL pg_temp.wait_until('breaker_state = ''closed'' AND lag_events = 0 FROM bank_subscriptions WHERE name = ''shop''');
\! tail -n +3 "$RECEIVED"
\set ECHO queries
SELECT name, breaker_state, lag_events, dead_letters FROM bank_subscriptions;

\set ECHO none
\echo
\echo '== Nothing is lost'
\set received `sort -u "$RECEIVED" | wc -l`
\set ECHO queries
SELECT count(*) AS movements, :received AS received FROM bank_events
 WHERE position > :before AND event_type <> 'account.created';

\set ECHO none
\echo
\echo '== Pause the subscription; what happens from now on waits for it'
\set ECHO queries
SELECT bank_pause_subscription('shop') \g /dev/null
\set ECHO none
