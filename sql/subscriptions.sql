-- Commands of an operator on subscriptions. They run with the rights of the ledger's
-- owner and a fixed search_path; nobody but the owner may call them until EXECUTE is
-- granted. Order of locks: the row of bank.subscriptions, then that of
-- bank.subscription_progress. The worker waits for neither.

CREATE FUNCTION bank.sink_check(
  sink text, url text, header_names text[], header_values text[], secret bytea, batch boolean
) RETURNS text
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sink_check';
COMMENT ON FUNCTION bank.sink_check(text, text, text[], text[], bytea, boolean) IS
  'What the sink says is wrong with a target, a sentence; null when it is good. Loads the sink''s library.';

CREATE FUNCTION bank.refuse_subscription(detail text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'Invalid subscription' USING ERRCODE = 'BK026', DETAIL = detail;
END
$$;
COMMENT ON FUNCTION bank.refuse_subscription(text) IS 'Raises BK026.';

CREATE FUNCTION bank.check_subscription(s bank.subscriptions, secret bytea) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wrong text;
BEGIN
  IF s.name IS NULL OR s.name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' THEN
    wrong := 'A name has 1 to 63 letters, digits, dots, hyphens and underscores, and begins with a letter or digit.';
  ELSIF s.url IS NULL OR s.sink IS NULL THEN
    wrong := 'url and sink must not be null.';
  ELSIF s.headers IS NULL OR pg_catalog.jsonb_typeof(s.headers) <> 'object' THEN
    wrong := 'headers must be a JSON object.';
  ELSIF EXISTS (SELECT FROM pg_catalog.jsonb_each(s.headers) AS h WHERE pg_catalog.jsonb_typeof(h.value) <> 'string') THEN
    wrong := 'headers must be a JSON object of strings.';
  ELSIF s.event_types IS NOT NULL AND (pg_catalog.cardinality(s.event_types) = 0 OR pg_catalog.array_position(s.event_types, NULL) IS NOT NULL) THEN
    wrong := 'event_types must be null or name at least one type.';
  ELSIF EXISTS (
    SELECT FROM pg_catalog.unnest(s.event_types) AS t
    WHERE t !~ '^[a-z_.*]+$' OR NOT EXISTS (
      SELECT FROM pg_catalog.unnest(pg_catalog.enum_range(NULL::bank.event_type)) AS e
      WHERE e::text LIKE pg_catalog.replace(pg_catalog.replace(t, '_', '\_'), '*', '%'))) THEN
    wrong := 'event_types has a type that no event can have.';
  ELSIF pg_catalog.cardinality(s.account_ids) = 0 OR pg_catalog.array_position(s.account_ids, NULL) IS NOT NULL
     OR pg_catalog.cardinality(s.owner_ids) = 0 OR pg_catalog.array_position(s.owner_ids, NULL) IS NOT NULL
     OR pg_catalog.cardinality(s.currencies) = 0 OR pg_catalog.array_position(s.currencies, NULL) IS NOT NULL THEN
    wrong := 'account_ids, owner_ids and currencies must each be null or have at least one element, and none that is null.';
  ELSIF EXISTS (SELECT FROM pg_catalog.unnest(s.currencies) AS c WHERE c !~ '^[A-Z]{3}$') THEN
    wrong := 'A currency is three capital letters.';
  ELSIF s.batch_size NOT BETWEEN 1 AND 1000 THEN
    wrong := 'batch_size must be between 1 and 1000.';
  ELSIF s.connect_timeout IS NULL OR s.request_timeout IS NULL
     OR NOT s.connect_timeout BETWEEN interval '1 millisecond' AND interval '5 minutes'
     OR NOT s.request_timeout BETWEEN interval '1 millisecond' AND interval '5 minutes' THEN
    wrong := 'connect_timeout and request_timeout must be between 1 millisecond and 5 minutes.';
  ELSIF s.concurrency IS NULL OR s.concurrency NOT BETWEEN 1 AND 256 THEN
    wrong := 'concurrency must be between 1 and 256.';
  ELSIF s.max_attempts IS NULL OR s.max_attempts NOT BETWEEN 1 AND 1000 THEN
    wrong := 'max_attempts must be between 1 and 1000.';
  ELSIF s.retry_delay IS NULL OR s.retry_max_delay IS NULL
     OR NOT s.retry_delay BETWEEN interval '1 millisecond' AND interval '30 days'
     OR NOT s.retry_max_delay BETWEEN s.retry_delay AND interval '30 days' THEN
    wrong := 'retry_delay must be at least 1 millisecond, and retry_max_delay between that and 30 days.';
  ELSIF s.on_failure IS NULL OR s.on_failure NOT IN ('park', 'skip') THEN
    wrong := 'on_failure must be park or skip.';
  ELSIF s.failure_threshold IS NULL OR s.failure_threshold NOT BETWEEN 1 AND 1000000 THEN
    wrong := 'failure_threshold must be between 1 and 1000000.';
  ELSIF s.breaker_timeout IS NULL OR NOT s.breaker_timeout BETWEEN interval '1 millisecond' AND interval '30 days' THEN
    wrong := 'breaker_timeout must be between 1 millisecond and 30 days.';
  ELSE
    wrong := bank.sink_check(s.sink, s.url,
      ARRAY(SELECT h.key FROM pg_catalog.jsonb_each_text(s.headers) AS h ORDER BY h.key),
      ARRAY(SELECT h.value FROM pg_catalog.jsonb_each_text(s.headers) AS h ORDER BY h.key),
      secret, s.batch_size IS NOT NULL);
  END IF;
  IF wrong IS NOT NULL THEN
    PERFORM bank.refuse_subscription(wrong);
  END IF;
END
$$;
COMMENT ON FUNCTION bank.check_subscription(bank.subscriptions, bytea) IS 'Raises BK026 when something is wrong with a subscription.';

CREATE FUNCTION bank.decode_secret(secret text) RETURNS bytea
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF secret IS NULL THEN
    RETURN pg_catalog.sha256(pg_catalog.uuid_send(pg_catalog.gen_random_uuid()) || pg_catalog.uuid_send(pg_catalog.gen_random_uuid()));
  END IF;
  IF secret !~ '^whsec_[A-Za-z0-9+/]+={0,2}$' OR pg_catalog.length(secret) > 200 THEN
    PERFORM bank.refuse_subscription('A secret is "whsec_" and the base64 form of 24 to 64 random bytes.');
  END IF;
  BEGIN
    RETURN pg_catalog.decode(pg_catalog.substr(secret, 7), 'base64');
  EXCEPTION WHEN invalid_parameter_value THEN
    PERFORM bank.refuse_subscription('The secret is no base64.');
  END;
END
$$;
COMMENT ON FUNCTION bank.decode_secret(text) IS 'The bytes of a secret, fresh random ones for null. Raises BK026 for what is no secret.';

CREATE FUNCTION bank.encode_secret(secret bytea) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT 'whsec_' || pg_catalog.replace(pg_catalog.encode(secret, 'base64'), E'\n', '');
END;
COMMENT ON FUNCTION bank.encode_secret(bytea) IS 'The text form of a secret.';

-- The cursor at which a subscription starts, and the highest position before it.
CREATE FUNCTION bank.start_cursor(
  start text, start_position bigint, start_time timestamptz, OUT cursor text, OUT read_position bigint
) LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF start_time IS NOT NULL THEN
    SELECT pg_catalog.min(e.position) INTO start_position FROM bank.events AS e WHERE e.recorded_at >= start_time;
    start := CASE WHEN start_position IS NULL THEN 'now' ELSE start END;
  END IF;
  IF start_position IS NULL AND start = 'now' THEN
    cursor := bank.feed_cursor(NULL);
    SELECT COALESCE(pg_catalog.max(e.position), 0) INTO read_position FROM bank.events AS e;
  ELSE
    read_position := GREATEST(COALESCE(start_position, 1) - 1, 0);
    cursor := bank.feed_cursor(read_position);
  END IF;
END
$$;
COMMENT ON FUNCTION bank.start_cursor(text, bigint, timestamptz) IS 'Where a subscription begins, as a cursor.';

CREATE FUNCTION bank.lock_subscription(name text, progress boolean) RETURNS uuid
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid;
BEGIN
  UPDATE bank.subscriptions AS s SET state_since = s.state_since WHERE s.name = lock_subscription.name
    RETURNING s.subscription_id INTO id;
  IF id IS NULL THEN
    RAISE EXCEPTION 'Subscription not found' USING ERRCODE = 'BK027', DETAIL = pg_catalog.format('Subscription: %s', name);
  END IF;
  IF progress THEN
    UPDATE bank.subscription_progress AS p SET revision = p.revision + 1 WHERE p.subscription_id = id;
  END IF;
  RETURN id;
END
$$;
COMMENT ON FUNCTION bank.lock_subscription(text, boolean) IS
  'Locks a subscription, and its progress as something that the worker must read again; has the worker told. Raises BK027.';

REVOKE ALL ON FUNCTION
  bank.sink_check(text, text, text[], text[], bytea, boolean),
  bank.refuse_subscription(text),
  bank.check_subscription(bank.subscriptions, bytea),
  bank.decode_secret(text),
  bank.encode_secret(bytea),
  bank.start_cursor(text, bigint, timestamptz),
  bank.lock_subscription(text, boolean)
FROM PUBLIC;

CREATE TYPE @extschema@.bank_subscription_secret AS (subscription_id uuid, name text, secret text);
COMMENT ON TYPE @extschema@.bank_subscription_secret IS 'A subscription and the secret that was made for it.';
COMMENT ON COLUMN @extschema@.bank_subscription_secret.subscription_id IS 'Identifier.';
COMMENT ON COLUMN @extschema@.bank_subscription_secret.name IS 'Its name.';
COMMENT ON COLUMN @extschema@.bank_subscription_secret.secret IS 'The secret if it was made just now: it is not shown again. Null when the caller gave one.';

CREATE FUNCTION @extschema@.bank_subscribe(
  name text,
  url text,
  event_types text[] DEFAULT NULL,
  account_ids uuid[] DEFAULT NULL,
  owner_ids uuid[] DEFAULT NULL,
  currencies text[] DEFAULT NULL,
  start text DEFAULT 'now',
  start_position bigint DEFAULT NULL,
  start_time timestamptz DEFAULT NULL,
  headers jsonb DEFAULT '{}',
  secret text DEFAULT NULL,
  mode text DEFAULT 'single',
  batch_size integer DEFAULT 100,
  connect_timeout interval DEFAULT '5 seconds',
  request_timeout interval DEFAULT '15 seconds',
  concurrency integer DEFAULT 20,
  max_attempts integer DEFAULT 20,
  retry_delay interval DEFAULT '1 second',
  retry_max_delay interval DEFAULT '1 hour',
  on_failure text DEFAULT 'park',
  failure_threshold integer DEFAULT 5,
  breaker_timeout interval DEFAULT '60 seconds',
  sink text DEFAULT 'http'
) RETURNS @extschema@.bank_subscription_secret
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s bank.subscriptions;
  key bytea;
  result record;
BEGIN
  IF mode IS NULL OR mode NOT IN ('single', 'batch') THEN
    PERFORM bank.refuse_subscription('mode must be single or batch.');
  END IF;
  IF start IS NULL OR start NOT IN ('now', 'beginning') THEN
    PERFORM bank.refuse_subscription('start must be now or beginning.');
  END IF;
  IF start_position IS NOT NULL AND start_time IS NOT NULL OR start_position < 0 THEN
    PERFORM bank.refuse_subscription('Give one of start_position, from 0 on, and start_time.');
  END IF;
  s.subscription_id := pg_catalog.gen_random_uuid();
  s.name := name;
  s.sink := sink;
  s.url := url;
  s.headers := headers;
  s.event_types := event_types;
  s.account_ids := account_ids;
  s.owner_ids := owner_ids;
  s.currencies := currencies;
  s.batch_size := CASE WHEN mode = 'batch' THEN COALESCE(batch_size, 0) END;
  s.connect_timeout := connect_timeout;
  s.request_timeout := request_timeout;
  s.concurrency := concurrency;
  s.max_attempts := max_attempts;
  s.retry_delay := retry_delay;
  s.retry_max_delay := retry_max_delay;
  s.on_failure := on_failure;
  s.failure_threshold := failure_threshold;
  s.breaker_timeout := breaker_timeout;
  s.state := 'active';
  s.state_since := pg_catalog.now();
  s.created_at := pg_catalog.now();
  key := bank.decode_secret(secret);
  PERFORM bank.check_subscription(s, key);
  INSERT INTO bank.subscriptions SELECT s.* ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Subscription already exists' USING ERRCODE = 'BK028', DETAIL = pg_catalog.format('Subscription: %s', name);
  END IF;
  INSERT INTO bank.subscription_secrets (subscription_id, created_at, secret)
    VALUES (s.subscription_id, pg_catalog.clock_timestamp(), key);
  INSERT INTO bank.subscription_progress (subscription_id, cursor, read_position)
    SELECT s.subscription_id, c.cursor, c.read_position
    FROM bank.start_cursor(start, start_position, start_time) AS c;
  SELECT s.subscription_id, s.name, CASE WHEN bank_subscribe.secret IS NULL THEN bank.encode_secret(key) END INTO result;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_subscribe(text, text, text[], uuid[], uuid[], text[], text, bigint, timestamptz, jsonb, text, text, integer, interval, interval, integer, integer, interval, interval, text, integer, interval, text) IS
  'Has events delivered to a URL as CloudEvents, signed by the rules of Standard Webhooks. Which: event_types (with * as in account.*), account_ids, owner_ids, currencies. From when: start (now or beginning), start_position, start_time. How: headers, secret (made and returned if none is given), mode (single or batch of up to batch_size), time-outs, concurrency; after a failure: max_attempts with a delay that doubles from retry_delay to retry_max_delay, on_failure (park or skip), and a breaker with failure_threshold and breaker_timeout. Errors: BK026, BK028.';

CREATE FUNCTION @extschema@.bank_change_subscription(
  name text,
  url text DEFAULT NULL,
  headers jsonb DEFAULT NULL,
  connect_timeout interval DEFAULT NULL,
  request_timeout interval DEFAULT NULL,
  concurrency integer DEFAULT NULL,
  batch_size integer DEFAULT NULL,
  max_attempts integer DEFAULT NULL,
  retry_delay interval DEFAULT NULL,
  retry_max_delay interval DEFAULT NULL,
  on_failure text DEFAULT NULL,
  failure_threshold integer DEFAULT NULL,
  breaker_timeout interval DEFAULT NULL
) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  s bank.subscriptions;
  id uuid := bank.lock_subscription(name, false);
BEGIN
  SELECT o.* INTO s FROM bank.subscriptions AS o WHERE o.subscription_id = id;
  IF batch_size IS NOT NULL AND s.batch_size IS NULL THEN
    PERFORM bank.refuse_subscription('batch_size is for subscriptions in mode batch.');
  END IF;
  s.url := COALESCE(url, s.url);
  s.headers := COALESCE(headers, s.headers);
  s.connect_timeout := COALESCE(connect_timeout, s.connect_timeout);
  s.request_timeout := COALESCE(request_timeout, s.request_timeout);
  s.concurrency := COALESCE(concurrency, s.concurrency);
  s.batch_size := COALESCE(batch_size, s.batch_size);
  s.max_attempts := COALESCE(max_attempts, s.max_attempts);
  s.retry_delay := COALESCE(retry_delay, s.retry_delay);
  s.retry_max_delay := COALESCE(retry_max_delay, s.retry_max_delay);
  s.on_failure := COALESCE(on_failure, s.on_failure);
  s.failure_threshold := COALESCE(failure_threshold, s.failure_threshold);
  s.breaker_timeout := COALESCE(breaker_timeout, s.breaker_timeout);
  PERFORM bank.check_subscription(s, (SELECT k.secret FROM bank.subscription_secrets AS k
    WHERE k.subscription_id = id ORDER BY k.created_at DESC LIMIT 1));
  UPDATE bank.subscriptions AS o
    SET url = s.url, headers = s.headers, connect_timeout = s.connect_timeout, request_timeout = s.request_timeout,
        concurrency = s.concurrency, batch_size = s.batch_size, max_attempts = s.max_attempts,
        retry_delay = s.retry_delay, retry_max_delay = s.retry_max_delay, on_failure = s.on_failure,
        failure_threshold = s.failure_threshold, breaker_timeout = s.breaker_timeout
    WHERE o.subscription_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_change_subscription(text, text, jsonb, interval, interval, integer, integer, integer, interval, interval, text, integer, interval) IS
  'Changes what is given, for requests from then on; what is left out stays. Errors: BK026, BK027.';

CREATE FUNCTION @extschema@.bank_unsubscribe(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, true);
BEGIN
  DELETE FROM bank.deliveries AS d WHERE d.subscription_id = id;
  DELETE FROM bank.subscription_progress AS p WHERE p.subscription_id = id;
  DELETE FROM bank.subscription_secrets AS k WHERE k.subscription_id = id;
  DELETE FROM bank.subscriptions AS s WHERE s.subscription_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_unsubscribe(text) IS
  'Ends a subscription and forgets what it has not delivered, dead letters included. Errors: BK027.';

CREATE FUNCTION @extschema@.bank_pause_subscription(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, false);
BEGIN
  UPDATE bank.subscriptions AS s SET state = 'paused', state_reason = NULL, state_since = pg_catalog.now()
    WHERE s.subscription_id = id AND s.state <> 'paused';
END
$$;
COMMENT ON FUNCTION @extschema@.bank_pause_subscription(text) IS 'Sends nothing more until bank_resume_subscription; nothing is lost. Errors: BK027.';

CREATE FUNCTION @extschema@.bank_resume_subscription(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, false);
BEGIN
  UPDATE bank.subscriptions AS s SET state = 'active', state_reason = NULL, state_since = pg_catalog.now()
    WHERE s.subscription_id = id AND s.state <> 'active';
END
$$;
COMMENT ON FUNCTION @extschema@.bank_resume_subscription(text) IS 'Goes on with a paused or disabled subscription where it stopped. Errors: BK027.';

CREATE FUNCTION @extschema@.bank_rotate_secret(name text, secret text DEFAULT NULL, keep_old interval DEFAULT '24 hours')
  RETURNS @extschema@.bank_subscription_secret
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, false);
  key bytea := bank.decode_secret(secret);
  s bank.subscriptions;
  result record;
BEGIN
  IF keep_old IS NULL OR keep_old < interval '0' OR keep_old > interval '30 days' THEN
    PERFORM bank.refuse_subscription('keep_old must be between 0 and 30 days.');
  END IF;
  SELECT o.* INTO s FROM bank.subscriptions AS o WHERE o.subscription_id = id;
  PERFORM bank.check_subscription(s, key);
  DELETE FROM bank.subscription_secrets AS k WHERE k.subscription_id = id AND k.expires_at <= pg_catalog.now();
  UPDATE bank.subscription_secrets AS k SET expires_at = pg_catalog.now() + keep_old
    WHERE k.subscription_id = id AND (k.expires_at IS NULL OR k.expires_at > pg_catalog.now() + keep_old);
  INSERT INTO bank.subscription_secrets (subscription_id, created_at, secret)
    VALUES (id, pg_catalog.clock_timestamp(), key);
  SELECT id, s.name, CASE WHEN bank_rotate_secret.secret IS NULL THEN bank.encode_secret(key) END INTO result;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_rotate_secret(text, text, interval) IS
  'Signs with a new secret from now on (made and returned if none is given), and for keep_old with the old ones too. Errors: BK026, BK027.';

CREATE FUNCTION @extschema@.bank_replay(
  name text,
  from_position bigint DEFAULT NULL,
  from_time timestamptz DEFAULT NULL,
  account_id uuid DEFAULT NULL
) RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, true);
  first bigint := COALESCE(from_position, 1);
  undelivered bigint;
  page record;
  place text;
  events bigint;
BEGIN
  IF from_position IS NOT NULL AND from_time IS NOT NULL OR from_position < 0 THEN
    PERFORM bank.refuse_subscription('Give one of from_position, from 0 on, and from_time.');
  END IF;
  IF from_time IS NOT NULL THEN
    SELECT COALESCE(pg_catalog.min(e.position), pg_catalog.max(e.position) + 1, 1) INTO first
      FROM bank.events AS e WHERE e.recorded_at >= from_time;
  END IF;

  IF account_id IS NOT NULL THEN
    INSERT INTO bank.deliveries AS d (subscription_id, position, state)
      SELECT id, e.position, 'waiting'
      FROM bank.subscriptions AS s
      JOIN bank.subscription_progress AS p ON p.subscription_id = s.subscription_id
      CROSS JOIN LATERAL (
        SELECT a.account_id FROM bank.accounts AS a
        WHERE a.account_id = bank_replay.account_id OR a.house_account_id = bank_replay.account_id) AS a
      CROSS JOIN LATERAL (
        SELECT o.position, o.event_type, o.currency, o.aggregate_id, o.peer_id FROM bank.events AS o WHERE o.aggregate_id = a.account_id
        UNION
        SELECT o.position, o.event_type, o.currency, o.aggregate_id, o.peer_id FROM bank.events AS o WHERE o.peer_id = a.account_id) AS e
      WHERE s.subscription_id = id AND e.position BETWEEN first AND p.read_position
        AND (s.currencies IS NULL OR e.currency = ANY (s.currencies))
        AND (s.event_types IS NULL OR e.event_type::text LIKE ANY (ARRAY(
          SELECT pg_catalog.replace(pg_catalog.replace(t, '_', '\_'), '*', '%') FROM pg_catalog.unnest(s.event_types) AS t)))
        AND (s.account_ids IS NULL OR EXISTS (
          SELECT FROM bank.accounts AS f WHERE f.account_id IN (e.aggregate_id, e.peer_id)
            AND (f.account_id = ANY (s.account_ids) OR f.house_account_id = ANY (s.account_ids))))
        AND (s.owner_ids IS NULL OR EXISTS (
          SELECT FROM bank.accounts AS f WHERE f.account_id IN (e.aggregate_id, e.peer_id) AND f.owner_id = ANY (s.owner_ids)))
      ON CONFLICT (subscription_id, position) DO UPDATE
        SET state = 'waiting', attempts = 0, next_attempt_at = NULL WHERE d.state = 'dead';
    GET DIAGNOSTICS events = ROW_COUNT;
    RETURN events;
  END IF;

  -- Whatever it has not read yet must not be passed over.
  SELECT p.cursor INTO place FROM bank.subscription_progress AS p WHERE p.subscription_id = id;
  BEGIN
    LOOP
      SELECT pg_catalog.min(f.position) AS lowest, (pg_catalog.array_agg(f.next_cursor ORDER BY f.n DESC))[1] AS last
        INTO page FROM bank.feed(place, 10000) WITH ORDINALITY AS f (next_cursor, "position", n);
      EXIT WHEN page.lowest IS NULL;
      undelivered := LEAST(undelivered, page.lowest);
      place := page.last;
    END LOOP;
  EXCEPTION WHEN SQLSTATE 'BK029' THEN
    NULL;
  END;
  first := GREATEST(LEAST(first, undelivered), 1);
  DELETE FROM bank.deliveries AS d WHERE d.subscription_id = id AND d.state <> 'dead' AND d.position >= first;
  UPDATE bank.subscription_progress AS p
    SET cursor = bank.feed_cursor(first - 1), done_after = '{}', read_position = first - 1
    WHERE p.subscription_id = id;
  SELECT pg_catalog.count(*) INTO events FROM bank.events AS e WHERE e.position >= first;
  RETURN events;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_replay(text, bigint, timestamptz, uuid) IS
  'Delivers again what has been delivered: everything from a position or a time on (from the beginning if neither is given), or of that one account''s events only. The events keep their identifiers. Returns how many events it will look at. Errors: BK026, BK027.';

CREATE FUNCTION @extschema@.bank_retry_dead_letters(name text, event_id uuid DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, true);
  letters bigint;
BEGIN
  UPDATE bank.deliveries AS d SET state = 'waiting', attempts = 0, next_attempt_at = NULL
    WHERE d.subscription_id = id AND d.state = 'dead'
      AND (bank_retry_dead_letters.event_id IS NULL OR bank_retry_dead_letters.event_id = (
        SELECT e.event_id FROM bank.events AS e WHERE e.position = d.position));
  GET DIAGNOSTICS letters = ROW_COUNT;
  RETURN letters;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_retry_dead_letters(text, uuid) IS
  'Tries dead letters again with all their attempts: one event, or all. Returns how many. Errors: BK027.';

CREATE FUNCTION @extschema@.bank_discard_dead_letters(name text, event_id uuid DEFAULT NULL) RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, true);
  letters bigint;
BEGIN
  DELETE FROM bank.deliveries AS d
    WHERE d.subscription_id = id AND d.state = 'dead'
      AND (bank_discard_dead_letters.event_id IS NULL OR bank_discard_dead_letters.event_id = (
        SELECT e.event_id FROM bank.events AS e WHERE e.position = d.position));
  GET DIAGNOSTICS letters = ROW_COUNT;
  RETURN letters;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_discard_dead_letters(text, uuid) IS
  'Gives dead letters up for good: one event, or all. Returns how many. Errors: BK027.';

CREATE FUNCTION @extschema@.bank_force_breaker(name text, state text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_subscription(name, true);
BEGIN
  IF state IS NULL OR state NOT IN ('open', 'half-open', 'closed') THEN
    PERFORM bank.refuse_subscription('The state of a breaker is open, half-open or closed.');
  END IF;
  -- an open one whose time is over is half-open at once
  UPDATE bank.subscription_progress AS p
    SET breaker_state = CASE WHEN bank_force_breaker.state = 'closed' THEN 'closed' ELSE 'open' END,
        breaker_forced = bank_force_breaker.state = 'open',
        breaker_since = CASE WHEN bank_force_breaker.state = 'half-open'
                             THEN pg_catalog.now() - (SELECT s.breaker_timeout FROM bank.subscriptions AS s WHERE s.subscription_id = id)
                             ELSE pg_catalog.now() END,
        breaker_failures = CASE WHEN bank_force_breaker.state = 'closed' THEN 0 ELSE p.breaker_failures END
    WHERE p.subscription_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_force_breaker(text, text) IS
  'Puts the breaker of a subscription into a state: open (until this function is called again), half-open (tries with one event now) or closed (forgets all failures). Errors: BK026, BK027.';

REVOKE ALL ON FUNCTION
  @extschema@.bank_subscribe(text, text, text[], uuid[], uuid[], text[], text, bigint, timestamptz, jsonb, text, text, integer, interval, interval, integer, integer, interval, interval, text, integer, interval, text),
  @extschema@.bank_change_subscription(text, text, jsonb, interval, interval, integer, integer, integer, interval, interval, text, integer, interval),
  @extschema@.bank_unsubscribe(text),
  @extschema@.bank_pause_subscription(text),
  @extschema@.bank_resume_subscription(text),
  @extschema@.bank_rotate_secret(text, text, interval),
  @extschema@.bank_replay(text, bigint, timestamptz, uuid),
  @extschema@.bank_retry_dead_letters(text, uuid),
  @extschema@.bank_discard_dead_letters(text, uuid),
  @extschema@.bank_force_breaker(text, text)
FROM PUBLIC;
