-- The relay's SQL: subscriptions, what operators do with them, the feed. On a server that has not
-- preloaded the library: nothing is delivered here; everything else works.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
SET intervalstyle = 'postgres';

-- Fingerprint of all that the relay keeps.
CREATE FUNCTION relay_state() RETURNS text
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
  SELECT format('%s %s %s %s %s',
    (SELECT md5(string_agg(s::text, chr(10) ORDER BY s.name)) FROM bank.subscriptions AS s),
    (SELECT md5(string_agg(k::text, chr(10) ORDER BY k::text)) FROM bank.subscription_secrets AS k),
    (SELECT md5(string_agg(p::text, chr(10) ORDER BY p.subscription_id)) FROM bank.subscription_progress AS p),
    (SELECT md5(string_agg(d::text, chr(10) ORDER BY d.subscription_id, d.position)) FROM bank.deliveries AS d),
    (SELECT count(*) FROM bank.relay_stopped))
$$;

-- Events of two owners in two currencies; house accounts are opened when they are needed.
SELECT account_number FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT account_number FROM bank_create_account(a(200), 'COURANT', 'USD', account_id => a(2));
SELECT balance FROM bank_deposit(a(1), '10 HTG');
SELECT balance FROM bank_deposit(a(2), '10 USD');
SELECT balance FROM bank_withdraw(a(1), '1 HTG', metadata => '{"branch":"north"}');
BEGIN;
SELECT balance FROM bank_deposit(a(1), '99 HTG');
ROLLBACK;
SELECT version FROM bank_freeze(a(1));
SELECT position, event_type FROM bank_events ORDER BY position;

-- The feed: pages, each event once; then nothing new; then what is new.
CREATE TABLE page (n serial, event bank_feed_event);
INSERT INTO page (event) SELECT f FROM bank_feed(max_events => 4) AS f;
SELECT n, (event).event_type, (event).version FROM page ORDER BY n;
SELECT (event).cursor AS last FROM page ORDER BY n DESC LIMIT 1 \gset
INSERT INTO page (event) SELECT f FROM bank_feed(:'last', 10000) AS f;
SELECT count(*), count(DISTINCT (p.event).event_id),
       bool_and((e.event_id, e.aggregate_id, e.version, e.event_type, e.event_data, e.recorded_at) = ((p.event).event_id, (p.event).aggregate_id,
                (p.event).version, (p.event).event_type, (p.event).event_data, (p.event).recorded_at)) AS same
FROM bank_events AS e LEFT JOIN page AS p ON (p.event).position = e.position;
SELECT (event).cursor AS last FROM page ORDER BY n DESC LIMIT 1 \gset
SELECT count(*) FROM bank_feed(:'last');
SELECT bank_feed_cursor() AS now \gset
SELECT count(*) FROM bank_feed(:'now');
SELECT version FROM bank_unfreeze(a(1));
SELECT event_type, version, metadata FROM bank_feed(:'last');
SELECT event_type, version FROM bank_feed(:'now');
-- Every cursor on the way is a place to go on from.
SELECT n, (SELECT count(*) FROM bank_feed((p.event).cursor)) AS left_over FROM page AS p ORDER BY n;
-- From a position.
SELECT p, (SELECT count(*) FROM bank_feed(bank_feed_cursor(p))) AS after_it FROM generate_series(0, 12, 3) AS p;
SELECT metadata FROM bank_feed(bank_feed_cursor(0)) WHERE event_type = 'money.withdrawn';
-- In a transaction its own events are no part of it: they are not committed yet.
BEGIN;
SELECT version FROM bank_deposit(a(1), '5 HTG');
SELECT count(*) FROM bank_feed(:'now');
COMMIT;
SELECT count(*) FROM bank_feed(:'now');

-- Subscribing. A secret is shown once, when it was made.
SELECT name, secret ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS made, subscription_id IS NOT NULL AS has_id
FROM bank_subscribe('all', 'https://example.com/hook');
SELECT name, secret FROM bank_subscribe('mine', 'https://example.com:8443/hook?x=1',
  secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', headers => '{"Authorization": "Bearer very secret", "X-Team": "north"}');
SELECT name FROM bank_subscribe('filtered', 'http://example.com/', event_types => '{money.*,account.created}',
  account_ids => ARRAY[a(1), a(2)], owner_ids => ARRAY[a(100)], currencies => '{HTG,USD}', start => 'beginning', mode => 'batch',
  batch_size => 10, connect_timeout => '1 second', request_timeout => '2 seconds', concurrency => 3, max_attempts => 4,
  retry_delay => '5 seconds', retry_max_delay => '6 minutes', on_failure => 'skip', failure_threshold => 7,
  breaker_timeout => '8 minutes');
SELECT name FROM bank_subscribe('positioned', 'https://example.com/', start_position => 4);
SELECT name FROM bank_subscribe('timed', 'https://example.com/', start_time => '-infinity');
SELECT name FROM bank_subscribe('future', 'https://example.com/', start_time => 'infinity');
SELECT length(name) FROM bank_subscribe('A.b_c-9' || repeat('x', 56), 'https://example.com/');
SELECT bank_unsubscribe('A.b_c-9' || repeat('x', 56));

-- The view: everything but secrets and values of headers.
\pset expanded on
SELECT name, sink, url, state, state_reason, breaker_state, breaker_failures, breaker_forced, throttled_until, lag_events, retrying,
       dead_letters, delivered, failed, last_delivered_at, last_error, last_error_at, event_types, account_ids, owner_ids, currencies,
       header_names, mode, batch_size, connect_timeout, request_timeout, concurrency, max_attempts, retry_delay, retry_max_delay,
       on_failure, failure_threshold, breaker_timeout, secrets
FROM bank_subscriptions WHERE name IN ('all', 'mine', 'filtered') ORDER BY name;
\pset expanded off
SELECT name, lag_events, lag_seconds > 0 AS lags FROM bank_subscriptions ORDER BY name;
SELECT count(*) AS secrets_shown FROM bank_subscriptions AS s WHERE s::text ~* 'secret |whsec|MfKQ9r8|31f290f6';
\pset format unaligned
SELECT attrelid::regclass AS relation, string_agg(attname, ' ' ORDER BY attnum) AS columns FROM pg_attribute
WHERE attnum > 0 AND attrelid IN ('bank_subscriptions'::regclass, 'bank_deliveries'::regclass, 'bank_dead_letters'::regclass,
  (SELECT typrelid FROM pg_type WHERE typname = 'bank_feed_event'), (SELECT typrelid FROM pg_type WHERE typname = 'bank_relay_state'),
  (SELECT typrelid FROM pg_type WHERE typname = 'bank_subscription_secret'))
GROUP BY attrelid ORDER BY attrelid::regclass::text COLLATE "C";

-- An event as it is sent.
SELECT jsonb_pretty(cloud_event::jsonb - ARRAY['id', 'time', 'source'] #- '{data,peer_id}' #- '{data,occurred_at}' #- '{data,transaction_id}') AS event
FROM bank.outgoing WHERE position = 7;
\pset format aligned
SELECT bool_and(cloud_event::json ->> 'source' = '/banking/' || current_database()) AS source,
       bool_and(cloud_event::json ->> 'id' = e.event_id::text) AS id,
       bool_and((cloud_event::json ->> 'time')::timestamptz = e.recorded_at
                AND cloud_event::json ->> 'time' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$') AS time,
       bool_and((cloud_event::json -> 'data' ->> 'occurred_at')::timestamptz IS NOT DISTINCT FROM e.occurred_at) AS occurred_at,
       bool_and(cloud_event::json -> 'data' ->> 'peer_id' IS NOT DISTINCT FROM e.peer_id::text) AS peer_id
FROM bank.outgoing AS o JOIN bank_events AS e USING (position);

-- Changing.
SELECT bank_change_subscription('mine', url => 'https://example.org/', headers => '{}', concurrency => 1, retry_delay => '2 seconds');
SELECT bank_change_subscription('filtered', batch_size => 1000);
SELECT bank_change_subscription('all');
SELECT name, url, header_names, concurrency, retry_delay, batch_size, max_attempts FROM bank_subscriptions
WHERE name IN ('mine', 'filtered', 'all') ORDER BY name;
SELECT bank_pause_subscription('all');
SELECT state, state_reason FROM bank_subscriptions WHERE name = 'all';
SELECT state_since AS since FROM bank_subscriptions WHERE name = 'all' \gset
SELECT bank_pause_subscription('all');
SELECT state_since = :'since' AS since_the_first_time FROM bank_subscriptions WHERE name = 'all';
SELECT bank_resume_subscription('all');
SELECT bank_resume_subscription('all');
SELECT state, state_reason FROM bank_subscriptions WHERE name = 'all';

-- Secrets: the new one and, for a time, the old ones.
SELECT name, secret ~ '^whsec_' AS made FROM bank_rotate_secret('mine');
SELECT name, secret FROM bank_rotate_secret('mine', 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '1 hour');
SELECT secrets FROM bank_subscriptions WHERE name = 'mine';
SELECT count(*) FILTER (WHERE expires_at IS NULL) AS for_good, count(*) FILTER (WHERE expires_at <= now() + interval '1 hour') AS for_an_hour
FROM bank.subscription_secrets AS k JOIN bank.subscriptions AS s USING (subscription_id) WHERE s.name = 'mine';
SELECT secret IS NOT NULL AS made FROM bank_rotate_secret('mine', keep_old => '0');
SELECT secrets FROM bank_subscriptions WHERE name = 'mine';

-- Replaying: what has been read is delivered again. Nobody reads here; this subscription began at the end.
CREATE VIEW progress AS SELECT s.name, p.* FROM bank.subscription_progress AS p JOIN bank.subscriptions AS s USING (subscription_id);
SELECT revision FROM progress WHERE name = 'all' \gset
SELECT bank_replay('all', account_id => a(2)) AS events;
SELECT state, position, event_type, attempts FROM bank_deliveries WHERE subscription = 'all' ORDER BY position;
SELECT bank_replay('all', account_id => a(2)) AS nothing_more;
SELECT bank_replay('all', from_position => 6, account_id => a(1)) AS events;
SELECT lag_events, lag_seconds > 0 AS lags, retrying, dead_letters FROM bank_subscriptions WHERE name = 'all';
SELECT bank_replay('all', account_id => account_id) AS events_of_a_house_account
FROM bank_accounts WHERE house_account = 'cash' AND currency = 'HTG';
SELECT bank_replay('filtered', account_id => a(1)) AS events_not_read_yet;
SELECT bank_replay('all', from_position => 6) AS events;
SELECT read_position FROM progress WHERE name = 'all';
SELECT position FROM bank_feed((SELECT cursor FROM progress WHERE name = 'all')) ORDER BY 1 LIMIT 1;
SELECT position FROM bank_deliveries WHERE subscription = 'all' ORDER BY position;
SELECT bank_replay('all', from_time => '-infinity') = count(*) AS from_the_beginning FROM bank_events;
SELECT bank_replay('all') = count(*) AS from_the_beginning FROM bank_events;
SELECT bank_replay('all', from_time => 'infinity') = count(*) AS nothing_unread_is_passed_over FROM bank_events;
SELECT position FROM bank_deliveries WHERE subscription = 'all';
SELECT revision > :revision AS the_worker_is_told FROM progress WHERE name = 'all';

-- Dead letters as the worker would leave them, and one that is tried again.
INSERT INTO bank.deliveries (subscription_id, position, state, attempts, next_attempt_at, first_attempt_at, last_attempt_at, last_status, last_error)
SELECT s.subscription_id, p, CASE p WHEN 3 THEN 'retrying' ELSE 'dead' END, p, CASE p WHEN 3 THEN timestamptz '2026-01-02 00:00+00' END,
       '2026-01-01 00:00+00', '2026-01-01 01:00+00', 400, 'HTTP status 400'
FROM bank.subscriptions AS s, generate_series(3, 6) AS p WHERE s.name = 'mine';
SELECT subscription, state, position, event_type, attempts, next_attempt_at IS NOT NULL AS next, last_status, last_error
FROM bank_deliveries ORDER BY position;
SELECT subscription, position, event_type, event_data ->> 'currency' AS currency, attempts, last_status, last_error
FROM bank_dead_letters ORDER BY position;
SELECT lag_events, retrying, dead_letters FROM bank_subscriptions WHERE name = 'mine';
SELECT * FROM bank_health();
SELECT event_id AS dead FROM bank_events WHERE position = 4 \gset
SELECT event_id AS tried FROM bank_events WHERE position = 3 \gset
SELECT bank_retry_dead_letters('mine', :'dead') AS one;
SELECT bank_retry_dead_letters('mine', :'dead') AS not_any_more, bank_retry_dead_letters('mine', :'tried') AS not_dead,
       bank_retry_dead_letters('mine', a(1)) AS no_such_event, bank_retry_dead_letters('all', :'dead') AS of_another;
SELECT bank_discard_dead_letters('mine', :'dead') AS not_dead;
SELECT bank_discard_dead_letters('mine', event_id) AS one FROM bank_events WHERE position = 5;
SELECT state, position, attempts FROM bank_deliveries ORDER BY position;
SELECT bank_retry_dead_letters('mine') AS what_is_left;
SELECT bank_discard_dead_letters('mine') AS nothing;
SELECT state, position, attempts FROM bank_deliveries ORDER BY position;

-- The breaker by command, and what bank_health finds.
SELECT bank_force_breaker('mine', 'open');
SELECT breaker_state, breaker_forced FROM bank_subscriptions WHERE name = 'mine';
UPDATE bank.subscription_progress SET breaker_failures = 3, last_error = 'HTTP status 500'
WHERE subscription_id = (SELECT subscription_id FROM bank.subscriptions WHERE name = 'mine');
UPDATE bank.subscriptions SET state = 'disabled', state_reason = 'The endpoint answered 410 Gone.' WHERE name = 'timed';
SELECT * FROM bank_health();
SELECT bank_force_breaker('mine', 'half-open');
SELECT breaker_state, breaker_forced, breaker_failures, breaker_since <= now() - breaker_timeout AS time_is_over FROM bank_subscriptions WHERE name = 'mine';
SELECT bank_force_breaker('mine', 'closed');
SELECT breaker_state, breaker_forced, breaker_failures FROM bank_subscriptions WHERE name = 'mine';
SELECT bank_resume_subscription('timed');
SELECT state, state_reason FROM bank_subscriptions WHERE name = 'timed';

-- The relay of this database.
SELECT * FROM bank_relay_status();
SELECT bank_relay_start();
SELECT bank_relay_stop();
SELECT bank_relay_stop();
SELECT count(*), bool_and(stopped_by = session_user) AS by_us, bool_and(stopped_at <= clock_timestamp()) AS before_now FROM bank.relay_stopped;
SELECT state FROM bank_relay_status();
SELECT * FROM bank_health() LIMIT 1;
DELETE FROM bank.relay_stopped;

-- Nothing of a transaction that is rolled back is left.
SELECT relay_state() AS before \gset
BEGIN;
SELECT name FROM bank_subscribe('passing', 'https://example.com/');
SELECT bank_replay('all') > 0 AS replayed;
SELECT bank_force_breaker('mine', 'open'), bank_pause_subscription('mine'), bank_unsubscribe('filtered'), bank_relay_stop();
SELECT relay_state() = :'before' AS nothing_has_changed;
ROLLBACK;
SELECT relay_state() = :'before' AS nothing_has_changed;

-- Bad input: every line is one mistake, with the error it gets.
CREATE TABLE bad_input (line serial, subject text, command text);
INSERT INTO bad_input (subject, command)
SELECT 'subscribe: ' || subject, format('bank_subscribe(%s)', arguments)
FROM (VALUES
    (1, 'name null', $$NULL, 'https://example.com/'$$),
    (2, 'name empty', $$'', 'https://example.com/'$$),
    (3, 'name with a blank', $$'a b', 'https://example.com/'$$),
    (4, 'name with a newline', $$E'a\nb', 'https://example.com/'$$),
    (5, 'name and a newline', $$E'a\n', 'https://example.com/'$$),
    (6, 'name that begins with a dot', $$'.a', 'https://example.com/'$$),
    (7, 'name with an accent', $$'café', 'https://example.com/'$$),
    (8, 'name of 64 letters', $$repeat('x', 64), 'https://example.com/'$$),
    (9, 'name of 1 MB', $$repeat('x', 1048576), 'https://example.com/'$$),
    (10, 'name that is taken', $$'mine', 'https://example.com/'$$),
    (11, 'url null', $$'x', NULL$$),
    (12, 'url empty', $$'x', ''$$),
    (13, 'url without scheme', $$'x', 'example.com'$$),
    (14, 'ftp', $$'x', 'ftp://example.com/'$$),
    (15, 'file', $$'x', 'file:///etc/passwd'$$),
    (16, 'url without host', $$'x', 'https:///hook'$$),
    (17, 'url with a blank', $$'x', 'https://example.com/a b'$$),
    (18, 'url with a newline', $$'x', E'https://example.com/\nHost: other'$$),
    (19, 'url with a user', $$'x', 'https://user:secret@example.com/'$$),
    (20, 'url with a fragment', $$'x', 'https://example.com/#part'$$),
    (21, 'url with an accent', $$'x', 'https://example.com/café'$$),
    (22, 'url of 1 MB', $$'x', 'https://example.com/' || repeat('x', 1048576)$$),
    (23, 'loopback', $$'x', 'http://127.0.0.1/'$$),
    (24, 'loopback, short', $$'x', 'http://127.1/'$$),
    (25, 'loopback as a number', $$'x', 'http://2130706433/'$$),
    (26, 'localhost', $$'x', 'http://localhost:5432/'$$),
    (27, 'loopback of IPv6', $$'x', 'http://[::1]/'$$),
    (28, 'loopback in IPv6', $$'x', 'http://[::ffff:127.0.0.1]/'$$),
    (29, 'private address', $$'x', 'https://192.168.1.1/'$$),
    (30, 'metadata service', $$'x', 'http://169.254.169.254/latest'$$),
    (31, 'any address', $$'x', 'http://0.0.0.0/'$$)) AS v (line, subject, arguments)
ORDER BY line;
INSERT INTO bad_input (subject, command)
SELECT 'subscribe: ' || subject, format('bank_subscribe(''x'', ''https://example.com/'', %s)', arguments)
FROM (VALUES
    (1, 'no types', $$event_types => '{}'$$),
    (2, 'type null', $$event_types => '{money.deposited,NULL}'$$),
    (3, 'unknown type', $$event_types => '{money.deposited,money.lost}'$$),
    (4, 'pattern that nothing matches', $$event_types => '{x*}'$$),
    (5, 'type with a percent sign', $$event_types => '{%}'$$),
    (6, 'type in capitals', $$event_types => '{MONEY.DEPOSITED}'$$),
    (7, 'type empty', $$event_types => '{""}'$$),
    (8, 'no accounts', $$account_ids => '{}'$$),
    (9, 'account null', $$account_ids => '{NULL}'$$),
    (10, 'no owners', $$owner_ids => '{}'$$),
    (11, 'owner null', $$owner_ids => '{NULL}'$$),
    (12, 'no currencies', $$currencies => '{}'$$),
    (13, 'currency null', $$currencies => '{HTG,NULL}'$$),
    (14, 'currency in small letters', $$currencies => '{htg}'$$),
    (15, 'currency of four letters', $$currencies => '{HTGX}'$$),
    (16, 'start null', $$start => NULL$$),
    (17, 'start tomorrow', $$start => 'tomorrow'$$),
    (18, 'start_position below zero', $$start_position => -1$$),
    (19, 'two beginnings', $$start_position => 1, start_time => now()$$),
    (20, 'headers null', $$headers => NULL$$),
    (21, 'headers an array', $$headers => '[]'$$),
    (22, 'headers text', $$headers => '"x"'$$),
    (23, 'header a number', $$headers => '{"X": 1}'$$),
    (24, 'header null', $$headers => '{"X": null}'$$),
    (25, 'header of two lines', $$headers => '{"X": "a\r\nY: b"}'$$),
    (26, 'header with a name of two lines', $$headers => '{"X\r\nY": "a"}'$$),
    (27, 'header with a colon in its name', $$headers => '{"X:": "a"}'$$),
    (28, 'header without a name', $$headers => '{"": "a"}'$$),
    (29, 'Content-Type', $$headers => '{"content-TYPE": "text/plain"}'$$),
    (30, 'Host', $$headers => '{"Host": "other"}'$$),
    (31, 'webhook-id', $$headers => '{"Webhook-Id": "1"}'$$),
    (32, 'a value of 1 MB', $$headers => jsonb_build_object('X', repeat('x', 1048576))$$),
    (33, 'a thousand headers', $$headers => (SELECT jsonb_object_agg('X-' || i, '') FROM generate_series(1, 1000) AS i)$$),
    (34, 'secret without prefix', $$secret => 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'$$),
    (35, 'secret empty', $$secret => ''$$),
    (36, 'secret of nothing', $$secret => 'whsec_'$$),
    (37, 'secret too short', $$secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ=='$$),
    (38, 'secret too long', $$secret => bank.encode_secret(decode(repeat('00', 65), 'hex'))$$),
    (39, 'secret of 1 MB', $$secret => 'whsec_' || repeat('A', 1048576)$$),
    (40, 'secret that is no base64', $$secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS'$$),
    (41, 'secret with a newline', $$secret => E'whsec_MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaSw'$$),
    (42, 'mode null', $$mode => NULL$$),
    (43, 'mode both', $$mode => 'both'$$),
    (44, 'batch_size null', $$mode => 'batch', batch_size => NULL$$),
    (45, 'batch_size 0', $$mode => 'batch', batch_size => 0$$),
    (46, 'batch_size 1001', $$mode => 'batch', batch_size => 1001$$),
    (47, 'connect_timeout null', $$connect_timeout => NULL$$),
    (48, 'connect_timeout 0', $$connect_timeout => '0'$$),
    (49, 'connect_timeout of a century', $$connect_timeout => '100 years'$$),
    (50, 'request_timeout null', $$request_timeout => NULL$$),
    (51, 'request_timeout below zero', $$request_timeout => '-1 second'$$),
    (52, 'request_timeout too long', $$request_timeout => '5 minutes 1 millisecond'$$),
    (53, 'concurrency null', $$concurrency => NULL$$),
    (54, 'concurrency 0', $$concurrency => 0$$),
    (55, 'concurrency 257', $$concurrency => 257$$),
    (56, 'max_attempts null', $$max_attempts => NULL$$),
    (57, 'max_attempts 0', $$max_attempts => 0$$),
    (58, 'max_attempts 1001', $$max_attempts => 1001$$),
    (59, 'retry_delay null', $$retry_delay => NULL$$),
    (60, 'retry_delay 0', $$retry_delay => '0'$$),
    (61, 'retry_max_delay null', $$retry_max_delay => NULL$$),
    (62, 'retry_max_delay below retry_delay', $$retry_delay => '2 seconds', retry_max_delay => '1 second'$$),
    (63, 'retry_max_delay too long', $$retry_max_delay => '31 days'$$),
    (64, 'on_failure null', $$on_failure => NULL$$),
    (65, 'on_failure ignore', $$on_failure => 'ignore'$$),
    (66, 'failure_threshold null', $$failure_threshold => NULL$$),
    (67, 'failure_threshold 0', $$failure_threshold => 0$$),
    (68, 'breaker_timeout null', $$breaker_timeout => NULL$$),
    (69, 'breaker_timeout 0', $$breaker_timeout => '0'$$),
    (70, 'breaker_timeout too long', $$breaker_timeout => '31 days'$$),
    (71, 'sink null', $$sink => NULL$$),
    (72, 'sink empty', $$sink => ''$$),
    (73, 'sink in capitals', $$sink => 'HTTP'$$),
    (74, 'sink in another directory', $$sink => '../banking_http'$$),
    (75, 'sink with a semicolon', $$sink => 'http; drop'$$),
    (76, 'no such sink', $$sink => 'nosuch'$$)) AS v (line, subject, arguments)
ORDER BY line;
INSERT INTO bad_input (subject, command)
SELECT f || ', ' || who, format('bank_%s(%s%s)', f, name, arguments)
FROM (VALUES (1, 'change_subscription', ''), (2, 'unsubscribe', ''), (3, 'pause_subscription', ''), (4, 'resume_subscription', ''),
             (5, 'rotate_secret', ''), (6, 'replay', ''), (7, 'retry_dead_letters', ''), (8, 'discard_dead_letters', ''),
             (9, 'force_breaker', $$, 'open'$$)) AS v (line, f, arguments),
     (VALUES (1, 'nobody', $$'nobody'$$), (2, 'null', 'NULL'), (3, 'in capitals', $$'MINE'$$)) AS w (n, who, name)
ORDER BY line, n;
INSERT INTO bad_input (subject, command) VALUES
  ('change to another scheme', $$bank_change_subscription('mine', url => 'ftp://example.com/')$$),
  ('change to a private address', $$bank_change_subscription('mine', url => 'http://10.0.0.1/')$$),
  ('change headers', $$bank_change_subscription('mine', headers => '{"Host": "x"}')$$),
  ('change batch_size, single', $$bank_change_subscription('mine', batch_size => 5)$$),
  ('change batch_size, batch', $$bank_change_subscription('filtered', batch_size => 0)$$),
  ('change concurrency', $$bank_change_subscription('mine', concurrency => 0)$$),
  ('change max_attempts', $$bank_change_subscription('mine', max_attempts => 0)$$),
  ('change connect_timeout', $$bank_change_subscription('mine', connect_timeout => '0')$$),
  ('change request_timeout', $$bank_change_subscription('mine', request_timeout => '1 day')$$),
  ('change retry_delay', $$bank_change_subscription('mine', retry_delay => '2 hours')$$),
  ('change retry_max_delay', $$bank_change_subscription('mine', retry_max_delay => '1 millisecond')$$),
  ('change on_failure', $$bank_change_subscription('mine', on_failure => '')$$),
  ('change failure_threshold', $$bank_change_subscription('mine', failure_threshold => -1)$$),
  ('change breaker_timeout', $$bank_change_subscription('mine', breaker_timeout => '-1 day')$$),
  ('rotate to a short secret', $$bank_rotate_secret('mine', 'whsec_AAAA')$$),
  ('rotate to no secret', $$bank_rotate_secret('mine', 'secret')$$),
  ('rotate, keep_old null', $$bank_rotate_secret('mine', keep_old => NULL)$$),
  ('rotate, keep_old below zero', $$bank_rotate_secret('mine', keep_old => '-1 second')$$),
  ('rotate, keep_old too long', $$bank_rotate_secret('mine', keep_old => '31 days')$$),
  ('replay from below zero', $$bank_replay('mine', -1)$$),
  ('replay from two places', $$bank_replay('mine', 1, now())$$),
  ('breaker null', $$bank_force_breaker('mine', NULL)$$),
  ('breaker ajar', $$bank_force_breaker('mine', 'ajar')$$),
  ('feed, cursor empty', $$bank_feed('')$$),
  ('feed, cursor of text', $$bank_feed('x')$$),
  ('feed, cursor of another format', $$bank_feed(regexp_replace(bank_feed_cursor(), '^\d+', '9'))$$),
  ('feed, cursor cut short', $$bank_feed(regexp_replace(bank_feed_cursor(), '[^/]+$', ''))$$),
  ('feed, cursor with something behind', $$bank_feed(bank_feed_cursor() || 'x')$$),
  ('feed, cursor of another ledger', $$bank_feed(regexp_replace(bank_feed_cursor(), '\d+@', '1@', 'g'))$$),
  ('feed, cursor of 1 MB', $$bank_feed(repeat('1', 1048576))$$),
  ('feed, max_events 0', $$bank_feed(max_events => 0)$$),
  ('feed, max_events below zero', $$bank_feed(max_events => -1)$$),
  ('feed, max_events 10001', $$bank_feed(max_events => 10001)$$),
  ('feed, max_events null', $$bank_feed(max_events => NULL)$$),
  ('feed_cursor below zero', $$bank_feed_cursor(-1)$$);
SELECT relay_state() AS before, ledger_state() AS ledger_before \gset
\pset format unaligned
\pset tuples_only on
CREATE TABLE answer AS
SELECT line, subject, regexp_replace(refused('SELECT ' || command), '(access file).*', '\1 …') AS answer FROM bad_input ORDER BY line;
SELECT subject || ': ' || answer FROM answer ORDER BY line;
\pset tuples_only off
\pset format aligned
SELECT relay_state() = :'before' AND ledger_state() = :'ledger_before' AS nothing_has_changed;
-- The bytes of a secret are in no answer, nor what stands in a URL or a header.
SELECT count(*) AS leaks FROM answer WHERE answer ~ 'MfKQ9r8|user:secret|whsec_[A-Za-z0-9]|Y: b';

-- What lies just inside the bounds is accepted.
SELECT name FROM bank_subscribe('low', 'https://example.com/', mode => 'batch', batch_size => 1, connect_timeout => '1 millisecond',
  request_timeout => '1 millisecond', concurrency => 1, max_attempts => 1, retry_delay => '1 millisecond', retry_max_delay => '1 millisecond',
  failure_threshold => 1, breaker_timeout => '1 millisecond', secret => bank.encode_secret(decode(repeat('00', 24), 'hex')),
  event_types => '{*}', start_position => 0);
SELECT name FROM bank_subscribe('high', 'https://example.com/', mode => 'batch', batch_size => 1000, connect_timeout => '5 minutes',
  request_timeout => '5 minutes', concurrency => 256, max_attempts => 1000, retry_delay => '30 days', retry_max_delay => '30 days',
  failure_threshold => 1000000, breaker_timeout => '30 days', secret => bank.encode_secret(decode(repeat('00', 64), 'hex')),
  event_types => '{*.deposited,account.*}', start_position => 9223372036854775807);
SELECT name, lag_events FROM bank_subscriptions WHERE name IN ('low', 'high') ORDER BY name;
SELECT bank_discard_dead_letters('low'), bank_replay('low', 9223372036854775807) > 0 AS unread;

-- A plain role can call nothing and see nothing.
CREATE ROLE regress_banking_nobody;
CREATE ROLE regress_banking_operator;
SET ROLE regress_banking_nobody;
SELECT bank_subscribe('x', 'https://example.com/');
SELECT bank_change_subscription('mine', concurrency => 2);
SELECT bank_unsubscribe('mine');
SELECT bank_pause_subscription('mine');
SELECT bank_resume_subscription('mine');
SELECT bank_rotate_secret('mine');
SELECT bank_replay('mine');
SELECT bank_retry_dead_letters('mine');
SELECT bank_discard_dead_letters('mine');
SELECT bank_force_breaker('mine', 'open');
SELECT bank_relay_status();
SELECT bank_relay_stop();
SELECT bank_relay_start();
SELECT bank_health();
SELECT bank_feed();
SELECT bank_feed_cursor();
SELECT * FROM bank_subscriptions;
SELECT * FROM bank_deliveries;
SELECT * FROM bank_dead_letters;
SELECT * FROM bank.subscriptions;
SELECT * FROM bank.subscription_secrets;
SELECT * FROM bank.subscription_progress;
SELECT * FROM bank.deliveries;
SELECT * FROM bank.relay_stopped;
SELECT * FROM bank.incarnations;
SELECT * FROM bank.incarnation;
SELECT * FROM bank.outgoing;
SELECT bank.feed(NULL, 1);
SELECT bank.relay_status();
SELECT bank.sink_check('http', 'https://example.com/', '{}', '{}', '', false);
SELECT bank.decode_secret(NULL);
SET banking.allow_private_endpoints = on;
SET banking.relay_memory = '1 GB';
RESET ROLE;

-- EXECUTE, and SELECT on the views, are all that an operator needs, and give nothing else.
DO $$
DECLARE
  f regprocedure;
BEGIN
  FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace
             AND proname ~ '^bank_(.*subscri.*|rotate_secret|replay|.*dead_letters|force_breaker|relay_.*|health|feed.*)$' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO regress_banking_operator', f);
  END LOOP;
END
$$;
GRANT SELECT ON bank_subscriptions, bank_deliveries, bank_dead_letters TO regress_banking_operator;
SET ROLE regress_banking_operator;
SELECT name, secret IS NOT NULL AS made FROM bank_subscribe('theirs', 'https://example.com/', start => 'beginning');
SELECT bank_change_subscription('theirs', concurrency => 2);
SELECT bank_pause_subscription('theirs');
SELECT bank_resume_subscription('theirs');
SELECT name FROM bank_rotate_secret('theirs');
SELECT bank_replay('theirs') > 0 AS replayed;
SELECT bank_retry_dead_letters('theirs'), bank_discard_dead_letters('theirs');
SELECT bank_force_breaker('theirs', 'closed');
SELECT state FROM bank_relay_status();
SELECT name, ok FROM bank_health();
SELECT count(*) > 0 AS feed FROM bank_feed();
SELECT bank_feed_cursor() <> '' AS cursor;
SELECT name, concurrency, secrets FROM bank_subscriptions WHERE name = 'theirs';
SELECT count(*) FROM bank_deliveries WHERE subscription = 'theirs';
SELECT count(*) FROM bank_dead_letters;
SELECT bank_unsubscribe('theirs');
SELECT bank_relay_stop();
SELECT bank_relay_start();
SELECT * FROM bank.subscription_secrets;
SELECT * FROM bank.subscriptions;
INSERT INTO bank.relay_stopped VALUES (now(), 'x');
UPDATE bank_subscriptions SET url = 'https://example.net/';
SELECT current_user;
RESET ROLE;

-- Nothing is looked up in the caller's search_path.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE FUNCTION hostile.replace(text, text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE FUNCTION hostile.differs(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE OPERATOR hostile.= (FUNCTION = hostile.differs, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR hostile.~ (FUNCTION = hostile.differs, LEFTARG = text, RIGHTARG = text);
SET search_path = hostile, public, pg_catalog;
SELECT name FROM bank_subscribe('plain', 'https://example.com/', event_types => '{money.*}');
SELECT bank_change_subscription('plain', concurrency => 7);
SELECT bank_pause_subscription('plain');
SELECT bank_replay('plain', account_id => a(1)) FROM bank_rotate_secret('plain');
SELECT pg_catalog.count(*) FROM bank_health();
SELECT pg_catalog.count(*) FROM bank_feed();
SELECT pg_catalog.count(*) FROM bank_subscriptions;
SELECT state FROM bank_relay_status();
SELECT bank_unsubscribe('plain');
RESET search_path;

-- Unsubscribing forgets everything; the name is free again.
SELECT name FROM bank_subscriptions ORDER BY name;
SELECT subscription_id AS former FROM bank_subscriptions WHERE name = 'mine' \gset
SELECT bank_unsubscribe(name) FROM bank.subscriptions ORDER BY name;
SELECT count(*) FROM bank.subscription_progress;
SELECT count(*) FROM bank.subscription_secrets;
SELECT count(*) FROM bank.deliveries;
SELECT subscription_id <> :'former' AS another FROM bank_subscribe('mine', 'https://example.com/');
SELECT count(*) FROM bank_deliveries;
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
DROP ROLE regress_banking_nobody, regress_banking_operator;
