-- The relay: what it keeps about subscriptions and deliveries, and the SQL to run it.

CREATE TABLE bank.subscriptions (
  subscription_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
  name text NOT NULL,
  sink text NOT NULL,
  url text NOT NULL,
  headers jsonb NOT NULL,
  event_types text[],
  account_ids uuid[],
  owner_ids uuid[],
  currencies text[],
  batch_size integer,
  connect_timeout interval NOT NULL,
  request_timeout interval NOT NULL,
  concurrency integer NOT NULL,
  max_attempts integer NOT NULL,
  retry_delay interval NOT NULL,
  retry_max_delay interval NOT NULL,
  on_failure text NOT NULL,
  failure_threshold integer NOT NULL,
  breaker_timeout interval NOT NULL,
  state text NOT NULL DEFAULT 'active',
  state_reason text,
  state_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT subscriptions_pkey PRIMARY KEY (subscription_id),
  CONSTRAINT subscriptions_name_key UNIQUE (name)
);
COMMENT ON TABLE bank.subscriptions IS 'Who is told of which events, as bank_subscribe was asked.';
COMMENT ON COLUMN bank.subscriptions.subscription_id IS 'Identifier; the name may be used again.';
COMMENT ON COLUMN bank.subscriptions.name IS 'What people call it.';
COMMENT ON COLUMN bank.subscriptions.sink IS 'The library that delivers: banking_<sink>.';
COMMENT ON COLUMN bank.subscriptions.url IS 'Where to.';
COMMENT ON COLUMN bank.subscriptions.headers IS 'Further headers, an object of strings; may hold secrets.';
COMMENT ON COLUMN bank.subscriptions.event_types IS 'Which types, an asterisk stands for anything; null: all.';
COMMENT ON COLUMN bank.subscriptions.account_ids IS 'Events that touch one of these accounts; null: all.';
COMMENT ON COLUMN bank.subscriptions.owner_ids IS 'Events that touch an account of one of these owners; null: all.';
COMMENT ON COLUMN bank.subscriptions.currencies IS 'Events in one of these currencies; null: all.';
COMMENT ON COLUMN bank.subscriptions.batch_size IS 'Up to so many events in a request, as a batch; null: one event per request, not as a batch.';
COMMENT ON COLUMN bank.subscriptions.connect_timeout IS 'Longest time for connecting.';
COMMENT ON COLUMN bank.subscriptions.request_timeout IS 'Longest time for a request, connecting included.';
COMMENT ON COLUMN bank.subscriptions.concurrency IS 'Requests at a time.';
COMMENT ON COLUMN bank.subscriptions.max_attempts IS 'After so many failed attempts an event is a dead letter.';
COMMENT ON COLUMN bank.subscriptions.retry_delay IS 'Before the second attempt; doubles with each further one.';
COMMENT ON COLUMN bank.subscriptions.retry_max_delay IS 'The longest wait between two attempts.';
COMMENT ON COLUMN bank.subscriptions.on_failure IS 'park: later events of the accounts of a failing event wait for it; skip: they do not.';
COMMENT ON COLUMN bank.subscriptions.failure_threshold IS 'So many consecutive failures open the breaker.';
COMMENT ON COLUMN bank.subscriptions.breaker_timeout IS 'How long the breaker stays open.';
COMMENT ON COLUMN bank.subscriptions.state IS 'active, paused (by command) or disabled (by the endpoint, 410).';
COMMENT ON COLUMN bank.subscriptions.state_reason IS 'Why it is disabled.';
COMMENT ON COLUMN bank.subscriptions.state_since IS 'Since when it is in this state.';
COMMENT ON COLUMN bank.subscriptions.created_at IS 'When it was made.';

CREATE TABLE bank.subscription_secrets (
  subscription_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  secret bytea NOT NULL,
  expires_at timestamptz,
  CONSTRAINT subscription_secrets_pkey PRIMARY KEY (subscription_id, created_at)
);
COMMENT ON TABLE bank.subscription_secrets IS 'Keys with which requests are signed; no view shows them.';
COMMENT ON COLUMN bank.subscription_secrets.subscription_id IS 'Whose.';
COMMENT ON COLUMN bank.subscription_secrets.created_at IS 'When it was set.';
COMMENT ON COLUMN bank.subscription_secrets.secret IS '24 to 64 bytes.';
COMMENT ON COLUMN bank.subscription_secrets.expires_at IS 'It signs until then, beside the newer one; null: it is the newest.';

-- Written by the worker all the time. A command that changes it must raise revision:
-- the worker then forgets what it knows and reads the row again.
CREATE TABLE bank.subscription_progress (
  subscription_id uuid NOT NULL,
  revision bigint NOT NULL DEFAULT 1,
  cursor text NOT NULL,
  done_after bigint[] NOT NULL DEFAULT '{}',
  read_position bigint NOT NULL,
  breaker_state text NOT NULL DEFAULT 'closed',
  breaker_forced boolean NOT NULL DEFAULT false,
  breaker_since timestamptz NOT NULL DEFAULT pg_catalog.now(),
  breaker_failures integer NOT NULL DEFAULT 0,
  throttled_until timestamptz,
  delivered bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  last_delivered_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  CONSTRAINT subscription_progress_pkey PRIMARY KEY (subscription_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE bank.subscription_progress IS 'How far each subscription has come, and the state of its breaker.';
COMMENT ON COLUMN bank.subscription_progress.subscription_id IS 'Whose.';
COMMENT ON COLUMN bank.subscription_progress.revision IS 'Raised by commands that change this row.';
COMMENT ON COLUMN bank.subscription_progress.cursor IS 'Every event before it is delivered, a dead letter, or in bank.deliveries.';
COMMENT ON COLUMN bank.subscription_progress.done_after IS 'Positions of events after the cursor of which that is true too.';
COMMENT ON COLUMN bank.subscription_progress.read_position IS 'The highest position that was read; for showing the lag.';
COMMENT ON COLUMN bank.subscription_progress.breaker_state IS 'closed, open or half-open.';
COMMENT ON COLUMN bank.subscription_progress.breaker_forced IS 'Opened by command: stays so until the next command.';
COMMENT ON COLUMN bank.subscription_progress.breaker_since IS 'Since when it is in this state.';
COMMENT ON COLUMN bank.subscription_progress.breaker_failures IS 'Consecutive failures.';
COMMENT ON COLUMN bank.subscription_progress.throttled_until IS 'The endpoint has asked for no requests until then (429).';
COMMENT ON COLUMN bank.subscription_progress.delivered IS 'Events delivered so far, repetitions included.';
COMMENT ON COLUMN bank.subscription_progress.failed IS 'Failed attempts so far, by events.';
COMMENT ON COLUMN bank.subscription_progress.last_delivered_at IS 'When an event was delivered last.';
COMMENT ON COLUMN bank.subscription_progress.last_error IS 'What went wrong last.';
COMMENT ON COLUMN bank.subscription_progress.last_error_at IS 'When.';

CREATE TABLE bank.deliveries (
  subscription_id uuid NOT NULL,
  position bigint NOT NULL,
  state text NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  first_attempt_at timestamptz,
  last_attempt_at timestamptz,
  last_status integer,
  last_error text,
  CONSTRAINT deliveries_pkey PRIMARY KEY (subscription_id, position)
) WITH (fillfactor = 80);
COMMENT ON TABLE bank.deliveries IS 'Events that are not delivered although the cursor has passed them, and dead letters.';
COMMENT ON COLUMN bank.deliveries.subscription_id IS 'To whom.';
COMMENT ON COLUMN bank.deliveries.position IS 'Which event.';
COMMENT ON COLUMN bank.deliveries.state IS 'waiting (never tried), retrying or dead.';
COMMENT ON COLUMN bank.deliveries.attempts IS 'Failed attempts that count.';
COMMENT ON COLUMN bank.deliveries.next_attempt_at IS 'Not before then.';
COMMENT ON COLUMN bank.deliveries.first_attempt_at IS 'When it was tried first.';
COMMENT ON COLUMN bank.deliveries.last_attempt_at IS 'When it was tried last.';
COMMENT ON COLUMN bank.deliveries.last_status IS 'HTTP status of the last attempt; 0: none came.';
COMMENT ON COLUMN bank.deliveries.last_error IS 'What went wrong in the last attempt.';

CREATE TABLE bank.relay_stopped (
  stopped_at timestamptz NOT NULL,
  stopped_by text NOT NULL
);
COMMENT ON TABLE bank.relay_stopped IS 'Has a row while the relay of this database is stopped by bank_relay_stop().';
COMMENT ON COLUMN bank.relay_stopped.stopped_at IS 'Since when.';
COMMENT ON COLUMN bank.relay_stopped.stopped_by IS 'By which role.';

SELECT pg_catalog.pg_extension_config_dump('bank.subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('bank.subscription_secrets', '');
SELECT pg_catalog.pg_extension_config_dump('bank.subscription_progress', '');
SELECT pg_catalog.pg_extension_config_dump('bank.deliveries', '');
SELECT pg_catalog.pg_extension_config_dump('bank.relay_stopped', '');

-- The worker hears of every change, also of those that pg_restore makes.
CREATE FUNCTION bank.relay_note_change() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_relay_note_change';
COMMENT ON FUNCTION bank.relay_note_change() IS 'Has the worker read the subscriptions again when the transaction has committed.';
REVOKE ALL ON FUNCTION bank.relay_note_change() FROM PUBLIC;
CREATE TRIGGER subscriptions_note_change
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bank.subscriptions
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.subscriptions ENABLE ALWAYS TRIGGER subscriptions_note_change;
COMMENT ON TRIGGER subscriptions_note_change ON bank.subscriptions IS 'Tells the worker.';
CREATE TRIGGER subscription_progress_note_change
  AFTER INSERT ON bank.subscription_progress
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.subscription_progress ENABLE ALWAYS TRIGGER subscription_progress_note_change;
COMMENT ON TRIGGER subscription_progress_note_change ON bank.subscription_progress IS 'Tells the worker, when pg_restore brings it after the subscription.';
CREATE TRIGGER subscription_secrets_note_change
  AFTER INSERT ON bank.subscription_secrets
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.subscription_secrets ENABLE ALWAYS TRIGGER subscription_secrets_note_change;
COMMENT ON TRIGGER subscription_secrets_note_change ON bank.subscription_secrets IS 'Tells the worker, when pg_restore brings them after the subscription.';
CREATE TRIGGER incarnations_note_change
  AFTER INSERT ON bank.incarnations
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.incarnations ENABLE ALWAYS TRIGGER incarnations_note_change;
COMMENT ON TRIGGER incarnations_note_change ON bank.incarnations IS 'Tells the worker, when pg_restore brings them after the cursors that need them.';
CREATE TRIGGER relay_stopped_note_change
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bank.relay_stopped
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.relay_stopped ENABLE ALWAYS TRIGGER relay_stopped_note_change;
COMMENT ON TRIGGER relay_stopped_note_change ON bank.relay_stopped IS 'Tells the worker, also when pg_restore brings it.';

CREATE FUNCTION bank.relay_note_restore() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_relay_note_restore';
COMMENT ON FUNCTION bank.relay_note_restore() IS 'Has the worker begin anew with all subscriptions when the transaction has committed, unless the worker or a command has written.';
REVOKE ALL ON FUNCTION bank.relay_note_restore() FROM PUBLIC;
CREATE TRIGGER deliveries_note_restore
  AFTER INSERT ON bank.deliveries
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_restore();
ALTER TABLE bank.deliveries ENABLE ALWAYS TRIGGER deliveries_note_restore;
COMMENT ON TRIGGER deliveries_note_restore ON bank.deliveries IS 'Tells the worker, when pg_restore brings them after the subscription.';

CREATE FUNCTION bank.relay_note_created() RETURNS void
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_relay_note_created';
COMMENT ON FUNCTION bank.relay_note_created() IS 'Has a worker started for this database when the transaction has committed.';
REVOKE ALL ON FUNCTION bank.relay_note_created() FROM PUBLIC;
SELECT bank.relay_note_created();

-- An event as it leaves the server: CloudEvents 1.0, JSON format.
CREATE VIEW bank.outgoing AS
  SELECT e.position, e.event_id, e.aggregate_id, e.peer_id, e.event_type,
         COALESCE(e.event_data ->> 'currency', 'XXX') AS currency,
         e.event_type = 'account.created' AND e.event_data ->> 'account_type' = 'HOUSE' AS opens_house,
         COALESCE(pg_catalog.pg_column_size(e.metadata), 0) AS metadata_size,
         pg_catalog.json_build_object(
           'specversion', '1.0',
           'id', e.event_id,
           'source', '/banking/' || pg_catalog.current_database(),
           'type', e.event_type,
           'subject', e.aggregate_id,
           'time', pg_catalog.to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'datacontenttype', 'application/json',
           'data', e.event_data || pg_catalog.jsonb_build_object(
             'position', e.position,
             'version', e.version,
             'peer_id', e.peer_id,
             'peer_version', e.peer_version,
             'occurred_at', pg_catalog.to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
             'metadata', e.metadata))::text AS cloud_event
  FROM bank.event_list AS e;
COMMENT ON VIEW bank.outgoing IS 'Events as the relay sends them.';

-- What an operator sees and does.

CREATE VIEW @extschema@.bank_subscriptions AS
  SELECT s.name, s.sink, s.url, s.state, s.state_reason, s.state_since,
         p.breaker_state, p.breaker_since, p.breaker_failures, p.breaker_forced, p.throttled_until,
         GREATEST(l.last_position - p.read_position, 0) + d.waiting AS lag_events,
         COALESCE(GREATEST(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - o.recorded_at), 0), 0)::numeric(20, 3) AS lag_seconds,
         d.retrying, d.dead_letters, p.delivered, p.failed, p.last_delivered_at, p.last_error, p.last_error_at,
         s.event_types, s.account_ids, s.owner_ids, s.currencies,
         ARRAY(SELECT h.* FROM pg_catalog.jsonb_object_keys(s.headers) AS h) AS header_names,
         CASE WHEN s.batch_size IS NULL THEN 'single' ELSE 'batch' END AS mode, s.batch_size,
         s.connect_timeout, s.request_timeout, s.concurrency, s.max_attempts, s.retry_delay,
         s.retry_max_delay, s.on_failure, s.failure_threshold, s.breaker_timeout,
         (SELECT pg_catalog.count(*) FROM bank.subscription_secrets AS k
          WHERE k.subscription_id = s.subscription_id
            AND (k.expires_at IS NULL OR k.expires_at > pg_catalog.now())) AS secrets,
         s.subscription_id, s.created_at
  FROM bank.subscriptions AS s
  JOIN bank.subscription_progress AS p ON p.subscription_id = s.subscription_id
  CROSS JOIN (SELECT COALESCE(pg_catalog.max(e.position), 0) AS last_position FROM bank.events AS e) AS l
  CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) FILTER (WHERE d.state <> 'dead') AS waiting,
           pg_catalog.count(*) FILTER (WHERE d.state = 'retrying') AS retrying,
           pg_catalog.count(*) FILTER (WHERE d.state = 'dead') AS dead_letters,
           pg_catalog.min(d.position) FILTER (WHERE d.state <> 'dead') AS oldest
    FROM bank.deliveries AS d WHERE d.subscription_id = s.subscription_id) AS d
  LEFT JOIN LATERAL (
    SELECT e.recorded_at FROM bank.events AS e
    WHERE e.position >= LEAST(d.oldest, p.read_position + 1) ORDER BY e.position LIMIT 1) AS o ON true;
COMMENT ON VIEW @extschema@.bank_subscriptions IS
  'Every subscription: where it stands, what its breaker does, what went wrong last. Secrets and values of headers are not shown.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.name IS 'Its name.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.sink IS 'What delivers: http, or the name of another sink.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.url IS 'Where to.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.state IS 'active, paused, or disabled (the endpoint answered 410).';
COMMENT ON COLUMN @extschema@.bank_subscriptions.state_reason IS 'Why it is disabled.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.state_since IS 'Since when.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.breaker_state IS 'closed, open or half-open.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.breaker_since IS 'Since when.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.breaker_failures IS 'Consecutive failures of the endpoint.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.breaker_forced IS 'Opened by command; stays so until the next command.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.throttled_until IS 'The endpoint asked for no requests until then.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.lag_events IS 'Events not delivered yet, at most: those not read, counted by position, and those waiting.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.lag_seconds IS 'Age of the oldest event that is not delivered.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.retrying IS 'Events that failed and will be tried again.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.dead_letters IS 'Events given up; see bank_dead_letters.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.delivered IS 'Events delivered so far.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.failed IS 'Failed attempts so far.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.last_delivered_at IS 'When an event was delivered last.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.last_error IS 'What went wrong last.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.last_error_at IS 'When.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.event_types IS 'Types of events; null: all.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.account_ids IS 'Accounts; null: all.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.owner_ids IS 'Owners; null: all.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.currencies IS 'Currencies; null: all.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.header_names IS 'Names of its further headers.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.mode IS 'single: one event per request; batch.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.batch_size IS 'Events in a batch at most.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.connect_timeout IS 'Longest time for connecting.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.request_timeout IS 'Longest time for a request.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.concurrency IS 'Requests at a time.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.max_attempts IS 'Attempts before an event is a dead letter.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.retry_delay IS 'Before the second attempt.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.retry_max_delay IS 'Longest wait between attempts.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.on_failure IS 'park or skip.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.failure_threshold IS 'Consecutive failures that open the breaker.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.breaker_timeout IS 'How long it stays open.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.secrets IS 'How many secrets sign its requests at present.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.subscription_id IS 'Identifier.';
COMMENT ON COLUMN @extschema@.bank_subscriptions.created_at IS 'When it was made.';

CREATE VIEW @extschema@.bank_deliveries AS
  SELECT s.name AS subscription, d.state, e.event_id, d.position, e.event_type::text AS event_type,
         e.aggregate_id, e.peer_id, d.attempts, d.next_attempt_at, d.first_attempt_at, d.last_attempt_at,
         d.last_status, d.last_error
  FROM bank.deliveries AS d
  JOIN bank.subscriptions AS s ON s.subscription_id = d.subscription_id
  JOIN bank.events AS e ON e.position = d.position;
COMMENT ON VIEW @extschema@.bank_deliveries IS
  'Deliveries worth looking at: what failed and is tried again, what waits behind it, what was given up.';
COMMENT ON COLUMN @extschema@.bank_deliveries.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN @extschema@.bank_deliveries.state IS 'waiting, retrying, or dead.';
COMMENT ON COLUMN @extschema@.bank_deliveries.event_id IS 'The event.';
COMMENT ON COLUMN @extschema@.bank_deliveries.position IS 'Its position.';
COMMENT ON COLUMN @extschema@.bank_deliveries.event_type IS 'What happened.';
COMMENT ON COLUMN @extschema@.bank_deliveries.aggregate_id IS 'The account it is about.';
COMMENT ON COLUMN @extschema@.bank_deliveries.peer_id IS 'The other account of a movement.';
COMMENT ON COLUMN @extschema@.bank_deliveries.attempts IS 'Failed attempts that count.';
COMMENT ON COLUMN @extschema@.bank_deliveries.next_attempt_at IS 'When it is tried again.';
COMMENT ON COLUMN @extschema@.bank_deliveries.first_attempt_at IS 'When it was tried first.';
COMMENT ON COLUMN @extschema@.bank_deliveries.last_attempt_at IS 'When it was tried last.';
COMMENT ON COLUMN @extschema@.bank_deliveries.last_status IS 'HTTP status of the last attempt; 0: none came.';
COMMENT ON COLUMN @extschema@.bank_deliveries.last_error IS 'What went wrong.';

CREATE VIEW @extschema@.bank_dead_letters AS
  SELECT s.name AS subscription, e.event_id, d.position, e.event_type, e.aggregate_id, e.event_data,
         d.attempts, d.first_attempt_at, d.last_attempt_at, d.last_status, d.last_error
  FROM bank.deliveries AS d
  JOIN bank.subscriptions AS s ON s.subscription_id = d.subscription_id
  JOIN bank.event_list AS e ON e.position = d.position
  WHERE d.state = 'dead';
COMMENT ON VIEW @extschema@.bank_dead_letters IS 'Events that a subscription has not got, after all attempts; bank_retry_dead_letters tries again.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.event_id IS 'The event.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.position IS 'Its position.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.event_type IS 'What happened.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.aggregate_id IS 'The account it is about.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.event_data IS 'What happened, as a JSON object.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.attempts IS 'Failed attempts.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.first_attempt_at IS 'When it was tried first.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.last_attempt_at IS 'When it was tried last.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.last_status IS 'HTTP status of the last attempt; 0: none came.';
COMMENT ON COLUMN @extschema@.bank_dead_letters.last_error IS 'What went wrong.';

CREATE FUNCTION bank.relay_status(
  OUT state text, OUT pid integer, OUT started_at timestamptz, OUT failures integer,
  OUT error text, OUT in_flight bigint, OUT events bigint, OUT bytes bigint, OUT delivered bigint
) LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bank_relay_status';
COMMENT ON FUNCTION bank.relay_status() IS 'What the relay of this database does; see bank_relay_status.';
REVOKE ALL ON FUNCTION bank.relay_status() FROM PUBLIC;

CREATE FUNCTION bank.relay_stop() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_relay_stop';
COMMENT ON FUNCTION bank.relay_stop() IS 'Ends the worker and waits until it has left the database.';
REVOKE ALL ON FUNCTION bank.relay_stop() FROM PUBLIC;

CREATE FUNCTION bank.relay_start() RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_relay_start';
COMMENT ON FUNCTION bank.relay_start() IS 'Lets the launcher start the worker when the transaction has committed.';
REVOKE ALL ON FUNCTION bank.relay_start() FROM PUBLIC;

CREATE TYPE @extschema@.bank_relay_state AS (
  state text,
  pid integer,
  started_at timestamptz,
  error text,
  requests_in_flight bigint,
  events_in_memory bigint,
  payload_bytes bigint,
  delivered bigint
);
COMMENT ON TYPE @extschema@.bank_relay_state IS 'What the relay of a database does.';
COMMENT ON COLUMN @extschema@.bank_relay_state.state IS 'running, starting, waiting (to be started again), stopping, stopped, no launcher (nothing starts it), not preloaded, or standby.';
COMMENT ON COLUMN @extschema@.bank_relay_state.pid IS 'Process of the worker.';
COMMENT ON COLUMN @extschema@.bank_relay_state.started_at IS 'When the worker started.';
COMMENT ON COLUMN @extschema@.bank_relay_state.error IS 'Why it does not run although it should.';
COMMENT ON COLUMN @extschema@.bank_relay_state.requests_in_flight IS 'Requests under way.';
COMMENT ON COLUMN @extschema@.bank_relay_state.events_in_memory IS 'Events on their way.';
COMMENT ON COLUMN @extschema@.bank_relay_state.payload_bytes IS 'Memory of their payloads; see banking.relay_memory.';
COMMENT ON COLUMN @extschema@.bank_relay_state.delivered IS 'Events delivered since the worker started.';

CREATE FUNCTION @extschema@.bank_relay_status() RETURNS @extschema@.bank_relay_state
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN r.state <> 'not preloaded' AND EXISTS (SELECT FROM bank.relay_stopped) THEN 'stopped' ELSE r.state END,
         r.pid, r.started_at, r.error, r.in_flight, r.events, r.bytes, r.delivered
  FROM bank.relay_status() AS r;
END;
COMMENT ON FUNCTION @extschema@.bank_relay_status() IS 'Does the relay of this database run? What is it doing?';

CREATE FUNCTION @extschema@.bank_relay_stop() RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- one after the other: who comes later sees what the other has decided
  LOCK TABLE bank.relay_stopped IN SHARE ROW EXCLUSIVE MODE;
  IF NOT EXISTS (SELECT FROM bank.relay_stopped) THEN
    INSERT INTO bank.relay_stopped (stopped_at, stopped_by) VALUES (pg_catalog.clock_timestamp(), session_user);
  END IF;
  PERFORM bank.relay_stop();
END
$$;
COMMENT ON FUNCTION @extschema@.bank_relay_stop() IS
  'Stops the relay of this database and waits until its worker is gone, so that the database can be cloned, renamed or dropped. Stays so, also over restarts, until bank_relay_start(). Commands go on, events wait.';

CREATE FUNCTION @extschema@.bank_relay_start() RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  LOCK TABLE bank.relay_stopped IN SHARE ROW EXCLUSIVE MODE;
  DELETE FROM bank.relay_stopped;
  PERFORM bank.relay_start();
END
$$;
COMMENT ON FUNCTION @extschema@.bank_relay_start() IS
  'Lets the relay of this database run again, once the transaction has committed. The library must be preloaded. Errors: 55000.';

CREATE FUNCTION @extschema@.bank_health(OUT name text, OUT ok boolean, OUT detail text) RETURNS SETOF record
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED ROWS 5
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH subscription AS (
    SELECT s.name, s.state, p.breaker_state, d.dead, p.last_error
    FROM bank.subscriptions AS s
    JOIN bank.subscription_progress AS p ON p.subscription_id = s.subscription_id
    CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS dead FROM bank.deliveries AS d
                        WHERE d.subscription_id = s.subscription_id AND d.state = 'dead') AS d
  ), status AS (
    SELECT r.state, r.error FROM bank.relay_status() AS r
  )
  SELECT 'relay', s.state IN ('running', 'standby') AND NOT stopped.yes,
         CASE WHEN s.state = 'not preloaded'
              THEN 'Nothing is delivered: add banking to shared_preload_libraries and restart the server.'
              WHEN stopped.yes THEN 'Nothing is delivered: stopped by bank_relay_stop(); bank_relay_start() starts it.'
              WHEN s.state = 'running' THEN 'The worker is running.'
              WHEN s.state = 'standby' THEN 'This is a standby; the primary delivers.'
              WHEN s.state = 'no launcher' THEN 'Nothing is delivered: ' || s.error || '.'
              ELSE pg_catalog.concat_ws(': ', 'Nothing is delivered: the worker is ' || s.state, s.error) END
  FROM status AS s, (SELECT EXISTS (SELECT FROM bank.relay_stopped)) AS stopped (yes)
  UNION ALL
  SELECT 'subscriptions', NOT COALESCE(pg_catalog.bool_or(s.state = 'disabled'), false),
         pg_catalog.format('%s active, %s paused, %s disabled%s', pg_catalog.count(*) FILTER (WHERE s.state = 'active'),
           pg_catalog.count(*) FILTER (WHERE s.state = 'paused'), pg_catalog.count(*) FILTER (WHERE s.state = 'disabled'),
           ': ' || pg_catalog.string_agg(s.name, ', ' ORDER BY s.name) FILTER (WHERE s.state = 'disabled'))
  FROM subscription AS s
  UNION ALL
  SELECT 'endpoints', pg_catalog.count(*) = 0,
         COALESCE(pg_catalog.string_agg(pg_catalog.concat(s.name, ' (breaker ', s.breaker_state, ': ', s.last_error, ')'), ', ' ORDER BY s.name),
                  'No breaker is open.')
  FROM subscription AS s WHERE s.breaker_state <> 'closed'
  UNION ALL
  SELECT 'dead_letters', pg_catalog.count(*) = 0,
         COALESCE(pg_catalog.string_agg(pg_catalog.concat(s.name, ' (', s.dead, ')'), ', ' ORDER BY s.name), 'There are none.')
  FROM subscription AS s WHERE s.dead > 0;
END;
COMMENT ON FUNCTION @extschema@.bank_health() IS
  'Is anything wrong with delivery? One row per check; detail says what, and what to do.';

REVOKE ALL ON FUNCTION
  @extschema@.bank_relay_status(),
  @extschema@.bank_relay_stop(),
  @extschema@.bank_relay_start(),
  @extschema@.bank_health()
FROM PUBLIC;
