-- Participants: the other ledgers that money is sent to and received from; commands of an
-- operator on them, and the door through which they ask. Order of locks: the row of
-- bank.participants, then that of bank.participant_progress. The worker waits for neither.

CREATE TRIGGER participants_note_change
  AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bank.participants
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.participants ENABLE ALWAYS TRIGGER participants_note_change;
COMMENT ON TRIGGER participants_note_change ON bank.participants IS 'Tells the worker, also when pg_restore brings it.';
CREATE TRIGGER participant_progress_note_change
  AFTER INSERT ON bank.participant_progress
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.participant_progress ENABLE ALWAYS TRIGGER participant_progress_note_change;
COMMENT ON TRIGGER participant_progress_note_change ON bank.participant_progress IS 'Tells the worker, when pg_restore brings it after the participant.';
CREATE TRIGGER participant_secrets_note_change
  AFTER INSERT ON bank.participant_secrets
  FOR EACH STATEMENT EXECUTE FUNCTION bank.relay_note_change();
ALTER TABLE bank.participant_secrets ENABLE ALWAYS TRIGGER participant_secrets_note_change;
COMMENT ON TRIGGER participant_secrets_note_change ON bank.participant_secrets IS 'Tells the worker, when pg_restore brings them after the participant.';

CREATE FUNCTION bank.refuse_participant(detail text) RETURNS void
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'Invalid participant' USING ERRCODE = 'BK033', DETAIL = detail;
END
$$;
COMMENT ON FUNCTION bank.refuse_participant(text) IS 'Raises BK033.';

CREATE FUNCTION bank.participant_secret(secret text) RETURNS bytea
  LANGUAGE plpgsql VOLATILE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wrong text;
BEGIN
  RETURN bank.decode_secret(secret);
EXCEPTION WHEN SQLSTATE 'BK026' THEN
  GET STACKED DIAGNOSTICS wrong = PG_EXCEPTION_DETAIL;
  PERFORM bank.refuse_participant(wrong);
END
$$;
COMMENT ON FUNCTION bank.participant_secret(text) IS 'The bytes of a secret, fresh random ones for null. Raises BK033 for what is no secret.';

CREATE FUNCTION bank.check_participant(p bank.participants, secret bytea) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wrong text;
BEGIN
  IF p.name IS NULL OR p.name !~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$' THEN
    wrong := 'A name has 1 to 63 letters, digits, dots, hyphens and underscores, and begins with a letter or digit.';
  ELSIF p.url IS NULL THEN
    wrong := 'url must not be null.';
  ELSIF p.connect_timeout IS NULL OR p.request_timeout IS NULL
     OR NOT p.connect_timeout BETWEEN interval '1 millisecond' AND interval '5 minutes'
     OR NOT p.request_timeout BETWEEN interval '1 millisecond' AND interval '5 minutes' THEN
    wrong := 'connect_timeout and request_timeout must be between 1 millisecond and 5 minutes.';
  ELSIF p.deadline IS NULL OR NOT p.deadline BETWEEN interval '1 second' AND interval '3650 days' THEN
    wrong := 'deadline must be between 1 second and 3650 days.';
  ELSIF p.concurrency IS NULL OR p.concurrency NOT BETWEEN 1 AND 256 THEN
    wrong := 'concurrency must be between 1 and 256.';
  ELSIF p.retry_delay IS NULL OR p.retry_max_delay IS NULL
     OR NOT p.retry_delay BETWEEN interval '1 millisecond' AND interval '30 days'
     OR NOT p.retry_max_delay BETWEEN p.retry_delay AND interval '30 days' THEN
    wrong := 'retry_delay must be at least 1 millisecond, and retry_max_delay between that and 30 days.';
  ELSIF p.failure_threshold IS NULL OR p.failure_threshold NOT BETWEEN 1 AND 1000000 THEN
    wrong := 'failure_threshold must be between 1 and 1000000.';
  ELSIF p.breaker_timeout IS NULL OR NOT p.breaker_timeout BETWEEN interval '1 millisecond' AND interval '30 days' THEN
    wrong := 'breaker_timeout must be between 1 millisecond and 30 days.';
  ELSIF p.house_account IS NULL OR NOT (
      p.house_account IN ('cash', 'external', 'fees', 'interest', 'exchange', 'suspense')
      OR EXISTS (SELECT FROM bank.accounts AS a WHERE a.house_code = p.house_account)) THEN
    wrong := 'house_account must be the code of a house account.';
  ELSE
    wrong := bank.sink_check('http', p.url, '{}', '{}', secret, false);
  END IF;
  IF wrong IS NOT NULL THEN
    PERFORM bank.refuse_participant(wrong);
  END IF;
END
$$;
COMMENT ON FUNCTION bank.check_participant(bank.participants, bytea) IS 'Raises BK033 when something is wrong with a participant.';

CREATE FUNCTION bank.lock_participant(name text, progress boolean) RETURNS uuid
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid;
BEGIN
  UPDATE bank.participants AS p SET changed_at = pg_catalog.now() WHERE p.name = lock_participant.name
    RETURNING p.participant_id INTO id;
  IF id IS NULL THEN
    RAISE EXCEPTION 'Participant not found' USING ERRCODE = 'BK031', DETAIL = pg_catalog.format('Participant: %s', name);
  END IF;
  IF progress THEN
    UPDATE bank.participant_progress AS p SET revision = p.revision + 1 WHERE p.participant_id = id;
  END IF;
  RETURN id;
END
$$;
COMMENT ON FUNCTION bank.lock_participant(text, boolean) IS
  'Locks a participant, and its progress as something that the worker must read again; has the worker told. Raises BK031.';

CREATE FUNCTION bank.webhook_signed(secret bytea, message_id text, message_timestamp text, body text, signatures text) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_webhook_signed';
COMMENT ON FUNCTION bank.webhook_signed(bytea, text, text, text, text) IS
  'Is one of these signatures, version v1 of Standard Webhooks, that of this message by this secret? Takes as long whatever they are.';

CREATE FUNCTION bank.parse_money(amount text, currency text) RETURNS @extschema@.bank_money
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT (amount || ' ' || currency)::@extschema@.bank_money;
END;
COMMENT ON FUNCTION bank.parse_money(text, text) IS 'An amount and a currency as money; raises what the type raises.';

REVOKE ALL ON FUNCTION
  bank.refuse_participant(text),
  bank.participant_secret(text),
  bank.check_participant(bank.participants, bytea),
  bank.lock_participant(text, boolean),
  bank.webhook_signed(bytea, text, text, text, text),
  bank.parse_money(text, text)
FROM PUBLIC;

CREATE TYPE @extschema@.bank_participant_secret AS (participant_id uuid, name text, secret text);
COMMENT ON TYPE @extschema@.bank_participant_secret IS 'A participant and the secret that was made for it.';
COMMENT ON COLUMN @extschema@.bank_participant_secret.participant_id IS 'Identifier.';
COMMENT ON COLUMN @extschema@.bank_participant_secret.name IS 'Its name.';
COMMENT ON COLUMN @extschema@.bank_participant_secret.secret IS 'The secret if it was made just now: it is not shown again. Null when the caller gave one.';

CREATE FUNCTION @extschema@.bank_add_participant(
  name text,
  url text,
  secret text DEFAULT NULL,
  connect_timeout interval DEFAULT '5 seconds',
  request_timeout interval DEFAULT '15 seconds',
  deadline interval DEFAULT '1 day',
  concurrency integer DEFAULT 20,
  retry_delay interval DEFAULT '1 second',
  retry_max_delay interval DEFAULT '5 minutes',
  failure_threshold integer DEFAULT 5,
  breaker_timeout interval DEFAULT '60 seconds',
  house_account text DEFAULT 'external'
) RETURNS @extschema@.bank_participant_secret
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p bank.participants;
  key bytea := bank.participant_secret(secret);
  result record;
BEGIN
  p.participant_id := pg_catalog.gen_random_uuid();
  p.name := name;
  p.url := url;
  p.state := 'active';
  p.connect_timeout := connect_timeout;
  p.request_timeout := request_timeout;
  p.deadline := deadline;
  p.concurrency := concurrency;
  p.retry_delay := retry_delay;
  p.retry_max_delay := retry_max_delay;
  p.failure_threshold := failure_threshold;
  p.breaker_timeout := breaker_timeout;
  p.house_account := house_account;
  p.created_at := pg_catalog.now();
  p.changed_at := pg_catalog.now();
  PERFORM bank.check_participant(p, key);
  IF EXISTS (SELECT FROM bank.participant_secrets AS k WHERE k.secret = key) THEN
    PERFORM bank.refuse_participant('Another participant has this secret, which says who sends a request.');
  END IF;
  INSERT INTO bank.participants SELECT p.* ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Participant already exists' USING ERRCODE = 'BK032', DETAIL = pg_catalog.format('Participant: %s', name);
  END IF;
  INSERT INTO bank.participant_secrets (participant_id, created_at, secret)
    VALUES (p.participant_id, pg_catalog.clock_timestamp(), key);
  INSERT INTO bank.participant_progress (participant_id, breaker_since) VALUES (p.participant_id, pg_catalog.now());
  SELECT p.participant_id, p.name, CASE WHEN bank_add_participant.secret IS NULL THEN bank.encode_secret(key) END INTO result;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_add_participant(text, text, text, interval, interval, interval, integer, interval, interval, integer, interval, text) IS
  'Makes another ledger known, which takes requests at a URL and signs its own with the same secret (made and returned if none is given). How: time-outs, the deadline after which an unknown outcome is in doubt, concurrency; after a failure: a delay that doubles from retry_delay to retry_max_delay, and a breaker with failure_threshold and breaker_timeout; house_account stands here for the money over there. Errors: BK032, BK033.';

CREATE FUNCTION @extschema@.bank_change_participant(
  name text,
  url text DEFAULT NULL,
  connect_timeout interval DEFAULT NULL,
  request_timeout interval DEFAULT NULL,
  deadline interval DEFAULT NULL,
  concurrency integer DEFAULT NULL,
  retry_delay interval DEFAULT NULL,
  retry_max_delay interval DEFAULT NULL,
  failure_threshold integer DEFAULT NULL,
  breaker_timeout interval DEFAULT NULL,
  house_account text DEFAULT NULL
) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p bank.participants;
  id uuid := bank.lock_participant(name, false);
BEGIN
  SELECT o.* INTO p FROM bank.participants AS o WHERE o.participant_id = id;
  p.url := COALESCE(url, p.url);
  p.connect_timeout := COALESCE(connect_timeout, p.connect_timeout);
  p.request_timeout := COALESCE(request_timeout, p.request_timeout);
  p.deadline := COALESCE(deadline, p.deadline);
  p.concurrency := COALESCE(concurrency, p.concurrency);
  p.retry_delay := COALESCE(retry_delay, p.retry_delay);
  p.retry_max_delay := COALESCE(retry_max_delay, p.retry_max_delay);
  p.failure_threshold := COALESCE(failure_threshold, p.failure_threshold);
  p.breaker_timeout := COALESCE(breaker_timeout, p.breaker_timeout);
  p.house_account := COALESCE(house_account, p.house_account);
  PERFORM bank.check_participant(p, (SELECT k.secret FROM bank.participant_secrets AS k
    WHERE k.participant_id = id ORDER BY k.created_at DESC LIMIT 1));
  UPDATE bank.participants AS o
    SET url = p.url, connect_timeout = p.connect_timeout, request_timeout = p.request_timeout, deadline = p.deadline,
        concurrency = p.concurrency, retry_delay = p.retry_delay, retry_max_delay = p.retry_max_delay,
        failure_threshold = p.failure_threshold, breaker_timeout = p.breaker_timeout, house_account = p.house_account
    WHERE o.participant_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_change_participant(text, text, interval, interval, interval, integer, interval, interval, integer, interval, text) IS
  'Changes what is given, for requests and transfers from then on; what is left out stays. Errors: BK031, BK033.';

CREATE FUNCTION @extschema@.bank_remove_participant(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_participant(name, true);
  unresolved bigint;
BEGIN
  -- waits for transactions that send to it, which have it locked as a key
  DELETE FROM bank.participants AS p WHERE p.participant_id = id;
  SELECT pg_catalog.count(*) INTO unresolved FROM bank.transfers AS t
    WHERE t.participant = bank_remove_participant.name
      AND t.state IN ('initiated', 'reserved', 'submitted', 'cancelling', 'returning', 'in_doubt');
  IF unresolved > 0 THEN
    RAISE EXCEPTION 'Participant has unresolved transfers' USING ERRCODE = 'BK032', DETAIL = pg_catalog.format('Unresolved transfers: %s', unresolved);
  END IF;
  DELETE FROM bank.participant_progress AS p WHERE p.participant_id = id;
  DELETE FROM bank.participant_secrets AS k WHERE k.participant_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_remove_participant(text) IS
  'Forgets another ledger; not while transfers to it are under way or in doubt. Errors: BK031, BK032.';

CREATE FUNCTION @extschema@.bank_pause_participant(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_participant(name, false);
BEGIN
  UPDATE bank.participants AS p SET state = 'paused' WHERE p.participant_id = id AND p.state <> 'paused';
END
$$;
COMMENT ON FUNCTION @extschema@.bank_pause_participant(text) IS
  'Sends nothing more and refuses its requests until bank_resume_participant; transfers wait, their deadlines go on. Errors: BK031.';

CREATE FUNCTION @extschema@.bank_resume_participant(name text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_participant(name, false);
BEGIN
  UPDATE bank.participants AS p SET state = 'active' WHERE p.participant_id = id AND p.state <> 'active';
END
$$;
COMMENT ON FUNCTION @extschema@.bank_resume_participant(text) IS 'Goes on with a paused participant. Errors: BK031.';

CREATE FUNCTION @extschema@.bank_rotate_participant_secret(name text, secret text DEFAULT NULL, keep_old interval DEFAULT '24 hours')
  RETURNS @extschema@.bank_participant_secret
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_participant(name, false);
  key bytea := bank.participant_secret(secret);
  p bank.participants;
  result record;
BEGIN
  IF keep_old IS NULL OR keep_old < interval '0' OR keep_old > interval '30 days' THEN
    PERFORM bank.refuse_participant('keep_old must be between 0 and 30 days.');
  END IF;
  SELECT o.* INTO p FROM bank.participants AS o WHERE o.participant_id = id;
  PERFORM bank.check_participant(p, key);
  IF EXISTS (SELECT FROM bank.participant_secrets AS k WHERE k.secret = key) THEN
    PERFORM bank.refuse_participant('This secret is in use already.');
  END IF;
  DELETE FROM bank.participant_secrets AS k WHERE k.participant_id = id AND k.expires_at <= pg_catalog.now();
  UPDATE bank.participant_secrets AS k SET expires_at = pg_catalog.now() + keep_old
    WHERE k.participant_id = id AND (k.expires_at IS NULL OR k.expires_at > pg_catalog.now() + keep_old);
  INSERT INTO bank.participant_secrets (participant_id, created_at, secret)
    VALUES (id, pg_catalog.clock_timestamp(), key);
  SELECT id, p.name, CASE WHEN bank_rotate_participant_secret.secret IS NULL THEN bank.encode_secret(key) END INTO result;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_rotate_participant_secret(text, text, interval) IS
  'Signs, and takes requests signed, with a new secret from now on (made and returned if none is given), and for keep_old with the old ones too. Errors: BK031, BK033.';

CREATE FUNCTION @extschema@.bank_force_participant_breaker(name text, state text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  id uuid := bank.lock_participant(name, true);
BEGIN
  IF state IS NULL OR state NOT IN ('open', 'half-open', 'closed') THEN
    PERFORM bank.refuse_participant('The state of a breaker is open, half-open or closed.');
  END IF;
  -- an open one whose time is over is half-open at once
  UPDATE bank.participant_progress AS p
    SET breaker_state = CASE WHEN bank_force_participant_breaker.state = 'closed' THEN 'closed' ELSE 'open' END,
        breaker_forced = bank_force_participant_breaker.state = 'open',
        breaker_since = CASE WHEN bank_force_participant_breaker.state = 'half-open'
                             THEN pg_catalog.now() - (SELECT s.breaker_timeout FROM bank.participants AS s WHERE s.participant_id = id)
                             ELSE pg_catalog.now() END,
        breaker_failures = CASE WHEN bank_force_participant_breaker.state = 'closed' THEN 0 ELSE p.breaker_failures END
    WHERE p.participant_id = id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_force_participant_breaker(text, text) IS
  'Sets the breaker of a participant: open (until it is set otherwise), half-open (one probe) or closed. Errors: BK031, BK033.';

CREATE VIEW @extschema@.bank_participants AS
  SELECT p.name, p.url, p.state, g.breaker_state, g.breaker_since, g.breaker_failures, g.breaker_forced, g.throttled_until,
         t.under_way, t.in_doubt, g.answered, g.failed, g.last_answered_at, g.last_error, g.last_error_at,
         p.house_account, p.deadline, p.connect_timeout, p.request_timeout, p.concurrency, p.retry_delay, p.retry_max_delay,
         p.failure_threshold, p.breaker_timeout,
         (SELECT pg_catalog.count(*) FROM bank.participant_secrets AS k
          WHERE k.participant_id = p.participant_id AND (k.expires_at IS NULL OR k.expires_at > pg_catalog.now())) AS secrets,
         p.participant_id, p.created_at, p.changed_at
  FROM bank.participants AS p
  JOIN bank.participant_progress AS g ON g.participant_id = p.participant_id
  CROSS JOIN LATERAL (
    SELECT pg_catalog.count(*) FILTER (WHERE t.state <> 'in_doubt') AS under_way,
           pg_catalog.count(*) FILTER (WHERE t.state = 'in_doubt') AS in_doubt
    FROM bank.transfers AS t
    WHERE t.participant = p.name
      AND t.state IN ('initiated', 'reserved', 'submitted', 'cancelling', 'returning', 'in_doubt')) AS t;
COMMENT ON VIEW @extschema@.bank_participants IS
  'Every other ledger: how it answers, what its breaker does, how many transfers wait. Secrets are not shown.';
COMMENT ON COLUMN @extschema@.bank_participants.name IS 'What this ledger calls it.';
COMMENT ON COLUMN @extschema@.bank_participants.url IS 'Where it takes requests.';
COMMENT ON COLUMN @extschema@.bank_participants.state IS 'active or paused.';
COMMENT ON COLUMN @extschema@.bank_participants.breaker_state IS 'closed, open or half-open.';
COMMENT ON COLUMN @extschema@.bank_participants.breaker_since IS 'Since when.';
COMMENT ON COLUMN @extschema@.bank_participants.breaker_failures IS 'Failures in a row.';
COMMENT ON COLUMN @extschema@.bank_participants.breaker_forced IS 'Opened by bank_force_participant_breaker, and stays so.';
COMMENT ON COLUMN @extschema@.bank_participants.throttled_until IS 'Nothing is sent before, as it has asked (429).';
COMMENT ON COLUMN @extschema@.bank_participants.under_way IS 'Transfers to it that are not resolved and not in doubt.';
COMMENT ON COLUMN @extschema@.bank_participants.in_doubt IS 'Transfers to it that wait for an operator.';
COMMENT ON COLUMN @extschema@.bank_participants.answered IS 'Requests that it has answered.';
COMMENT ON COLUMN @extschema@.bank_participants.failed IS 'Requests that have brought no answer.';
COMMENT ON COLUMN @extschema@.bank_participants.last_answered_at IS 'When it last answered.';
COMMENT ON COLUMN @extschema@.bank_participants.last_error IS 'What went wrong last.';
COMMENT ON COLUMN @extschema@.bank_participants.last_error_at IS 'When.';
COMMENT ON COLUMN @extschema@.bank_participants.house_account IS 'Code of the house account that stands for it.';
COMMENT ON COLUMN @extschema@.bank_participants.deadline IS 'How long a transfer may take before it is in doubt.';
COMMENT ON COLUMN @extschema@.bank_participants.connect_timeout IS 'How long connecting may take.';
COMMENT ON COLUMN @extschema@.bank_participants.request_timeout IS 'How long a request may take, connecting included.';
COMMENT ON COLUMN @extschema@.bank_participants.concurrency IS 'Requests under way at a time.';
COMMENT ON COLUMN @extschema@.bank_participants.retry_delay IS 'Wait after the first failure; doubled with each further one.';
COMMENT ON COLUMN @extschema@.bank_participants.retry_max_delay IS 'No wait is longer.';
COMMENT ON COLUMN @extschema@.bank_participants.failure_threshold IS 'So many failures in a row open the breaker.';
COMMENT ON COLUMN @extschema@.bank_participants.breaker_timeout IS 'How long it stays open before a probe.';
COMMENT ON COLUMN @extschema@.bank_participants.secrets IS 'How many secrets are in use.';
COMMENT ON COLUMN @extschema@.bank_participants.participant_id IS 'Identifier.';
COMMENT ON COLUMN @extschema@.bank_participants.created_at IS 'When it was added.';
COMMENT ON COLUMN @extschema@.bank_participants.changed_at IS 'When its settings were last changed.';

-- The door.

CREATE TYPE @extschema@.bank_participant_answer AS (status integer, body text);
COMMENT ON TYPE @extschema@.bank_participant_answer IS 'What to answer to a request of a participant.';
COMMENT ON COLUMN @extschema@.bank_participant_answer.status IS 'HTTP status.';
COMMENT ON COLUMN @extschema@.bank_participant_answer.body IS 'JSON.';

CREATE FUNCTION bank.participant_problem(status integer, problem text) RETURNS @extschema@.bank_participant_answer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT status, pg_catalog.jsonb_build_object('error', problem)::text;
END;
COMMENT ON FUNCTION bank.participant_problem(integer, text) IS 'An answer that says nothing about a transfer.';

CREATE FUNCTION bank.answer_receive(transfer_id uuid, participant text, house_account text, request jsonb) RETURNS bank.transfer_answer
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  destination text := request ->> 'to_account';
  account uuid;
  m record;
  code text;
  detail text;
BEGIN
  IF destination ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN
    account := destination::uuid;
  ELSE
    SELECT a.account_id INTO account FROM bank.accounts AS a WHERE a.account_number = destination;
    IF account IS NULL THEN
      code := 'BK001';
      detail := pg_catalog.format('Account: %s', pg_catalog.left(destination, 64));
    END IF;
  END IF;
  BEGIN
    SELECT bank.parse_money(request ->> 'amount', request ->> 'currency') AS amount INTO m;
  EXCEPTION WHEN OTHERS THEN
    code := CASE WHEN SQLSTATE = 'BK014' THEN 'BK014' ELSE 'BK008' END;
    RETURN bank.receive(transfer_id, account, NULL, participant, house_account, code,
      pg_catalog.left(pg_catalog.format('Amount: %s %s', request ->> 'amount', request ->> 'currency'), 200));
  END;
  RETURN bank.receive(transfer_id, account, m.amount, participant, house_account, code, detail);
END
$$;
COMMENT ON FUNCTION bank.answer_receive(uuid, text, text, jsonb) IS 'Takes the money that a participant sends, or refuses it.';

CREATE FUNCTION @extschema@.bank_answer_participant(
  message_id text,
  message_timestamp text,
  signatures text,
  body text
) RETURNS @extschema@.bank_participant_answer
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  p record;
  request jsonb;
  id uuid;
  answer bank.transfer_answer;
  problem text;
BEGIN
  -- The key says who it is. All keys are tried, however early one fits.
  SELECT s.name, s.house_account INTO p
    FROM (SELECT o.name, o.house_account,
                 pg_catalog.bool_or(bank.webhook_signed(k.secret, message_id, message_timestamp, body, signatures)) AS signed
          FROM bank.participants AS o JOIN bank.participant_secrets AS k ON k.participant_id = o.participant_id
          WHERE o.state = 'active' AND (k.expires_at IS NULL OR k.expires_at > pg_catalog.now())
          GROUP BY o.participant_id) AS s
    WHERE s.signed LIMIT 1;
  IF NOT FOUND OR message_timestamp !~ '^[0-9]{1,12}$'
     OR pg_catalog.abs(EXTRACT(epoch FROM pg_catalog.clock_timestamp()) - message_timestamp::numeric) > 300 THEN
    RETURN bank.participant_problem(401, 'not signed by a participant within the last five minutes');
  END IF;

  BEGIN
    request := body::jsonb;
    IF pg_catalog.jsonb_typeof(request) IS DISTINCT FROM 'object' OR request ->> 'protocol' IS DISTINCT FROM 'banking-transfer/1'
       OR request ->> 'transfer_id' !~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN
      problem := 'not a request of banking-transfer/1';
    ELSE
      id := (request ->> 'transfer_id')::uuid;
      IF id IS NULL THEN
        problem := 'transfer_id is missing';
      ELSIF request ->> 'action' = 'receive' AND (
        pg_catalog.jsonb_typeof(request -> 'amount') IS DISTINCT FROM 'string'
        OR pg_catalog.jsonb_typeof(request -> 'currency') IS DISTINCT FROM 'string'
        OR pg_catalog.jsonb_typeof(request -> 'to_account') IS DISTINCT FROM 'string') THEN
        problem := 'amount, currency and to_account must be strings';
      END IF;
    END IF;
  EXCEPTION WHEN OTHERS THEN
    problem := 'the body is not JSON';
  END;
  IF problem IS NOT NULL THEN
    RETURN bank.participant_problem(400, problem);
  END IF;

  BEGIN
    CASE request ->> 'action'
      WHEN 'receive' THEN answer := bank.answer_receive(id, p.name, p.house_account, request);
      WHEN 'cancel' THEN answer := bank.cancel_received(id, p.name);
      WHEN 'status' THEN answer := bank.transfer_answer(id, p.name);
      ELSE RETURN bank.participant_problem(400, 'action must be receive, status or cancel');
    END CASE;
  EXCEPTION
    WHEN SQLSTATE 'BK030' THEN
      RETURN bank.participant_problem(409, 'another transfer has this transfer_id');
    WHEN serialization_failure OR deadlock_detected OR lock_not_available THEN
      RETURN bank.participant_problem(503, 'busy, ask again');
    WHEN OTHERS THEN
      RAISE WARNING 'could not answer participant %: %', p.name, SQLERRM;
      RETURN bank.participant_problem(500, 'the ledger could not answer');
  END;
  RETURN (200, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'transfer_id', id, 'status', answer.status, 'code', answer.code, 'message', answer.message))::text);
END
$$;
COMMENT ON FUNCTION @extschema@.bank_answer_participant(text, text, text, text) IS
  'Answers a request of another ledger: the values of the headers webhook-id, webhook-timestamp and webhook-signature, and the body; returns the HTTP status and the body of the answer. Whoever signs with the secret of an active participant is that participant. Meant for the role of the HTTP front, which needs no other right.';

REVOKE ALL ON FUNCTION
  bank.participant_problem(integer, text),
  bank.answer_receive(uuid, text, text, jsonb),
  @extschema@.bank_add_participant(text, text, text, interval, interval, interval, integer, interval, interval, integer, interval, text),
  @extschema@.bank_change_participant(text, text, interval, interval, interval, integer, interval, interval, integer, interval, text),
  @extschema@.bank_remove_participant(text),
  @extschema@.bank_pause_participant(text),
  @extschema@.bank_resume_participant(text),
  @extschema@.bank_rotate_participant_secret(text, text, interval),
  @extschema@.bank_force_participant_breaker(text, text),
  @extschema@.bank_answer_participant(text, text, text, text)
FROM PUBLIC;
