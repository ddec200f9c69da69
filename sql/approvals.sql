-- Four eyes: above a currency's threshold a teller's command becomes a request that somebody
-- else approves or rejects. Off where there is no threshold.

CREATE TABLE bank.approval_thresholds (
  currency text NOT NULL,
  threshold bigint NOT NULL,
  expires_in interval NOT NULL,
  changed_at timestamptz NOT NULL,
  changed_by text NOT NULL,
  CONSTRAINT approval_thresholds_pkey PRIMARY KEY (currency)
);
COMMENT ON TABLE bank.approval_thresholds IS 'Above how much commands have to be approved, by currency; no row: never.';
COMMENT ON COLUMN bank.approval_thresholds.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN bank.approval_thresholds.threshold IS 'In minor units; what is above has to be approved.';
COMMENT ON COLUMN bank.approval_thresholds.expires_in IS 'How long a request can be approved.';
COMMENT ON COLUMN bank.approval_thresholds.changed_at IS 'When it was set.';
COMMENT ON COLUMN bank.approval_thresholds.changed_by IS 'The session user who set it.';
SELECT pg_catalog.pg_extension_config_dump('bank.approval_thresholds', '');

CREATE TABLE bank.approvals (
  request_id uuid NOT NULL,
  version bigint NOT NULL,
  position bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  amount bigint NOT NULL,
  state text COLLATE "C" NOT NULL,
  currency text NOT NULL,
  account_id uuid,
  CONSTRAINT approvals_pkey PRIMARY KEY (request_id)
);
CREATE INDEX approvals_pending ON bank.approvals (created_at) WHERE state = 'pending';
COMMENT ON TABLE bank.approvals IS 'Read model: every request for approval. Made from bank.events; bank_rebuild() makes it again.';
COMMENT ON COLUMN bank.approvals.request_id IS 'Identifier: the event_id of its approval.requested.';
COMMENT ON COLUMN bank.approvals.version IS 'Version of its stream.';
COMMENT ON COLUMN bank.approvals.position IS 'Position of its last event.';
COMMENT ON COLUMN bank.approvals.recorded_at IS 'recorded_at of its last event.';
COMMENT ON COLUMN bank.approvals.created_at IS 'recorded_at of its first event.';
COMMENT ON COLUMN bank.approvals.expires_at IS 'From then on it cannot be approved.';
COMMENT ON COLUMN bank.approvals.amount IS 'What the command would move, in minor units.';
COMMENT ON COLUMN bank.approvals.state IS 'pending, granted or rejected; pending also when it has expired.';
COMMENT ON COLUMN bank.approvals.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN bank.approvals.account_id IS 'The account the command is about, as it names it.';

CREATE VIEW bank.approval_list AS
  SELECT a.request_id,
         CASE WHEN a.state = 'pending' AND a.expires_at <= pg_catalog.statement_timestamp() THEN 'expired' ELSE a.state END AS state,
         r.data -> 'command' ->> 'command' AS command, a.account_id,
         bank.minor_to_numeric(a.amount, a.currency) AS amount, a.currency,
         r.data -> 'command' AS request,
         COALESCE(NULLIF(w.subject, ''), w.session_user_name) AS requested_by, a.created_at AS requested_at, a.expires_at,
         COALESCE(NULLIF(b.subject, ''), b.session_user_name) AS decided_by, d.recorded_at AS decided_at,
         d.data ->> 'reason' AS reason, c.event_id
  FROM bank.approvals AS a
  JOIN bank.events AS r ON r.aggregate_id = a.request_id AND r.version = 1
  LEFT JOIN bank.actors AS w ON w.actor_id = r.actor_id
  LEFT JOIN bank.events AS d ON d.aggregate_id = a.request_id AND d.version = 2
  LEFT JOIN bank.actors AS b ON b.actor_id = d.actor_id
  LEFT JOIN bank.events AS c
    ON a.state = 'granted' AND c.aggregate_id = (d.data ->> 'result_aggregate_id')::uuid AND c.version = (d.data ->> 'result_version')::bigint;
COMMENT ON VIEW bank.approval_list IS 'What bank_approvals shows.';

CREATE VIEW @extschema@.bank_approvals AS SELECT a.* FROM bank.approval_list AS a;
COMMENT ON VIEW @extschema@.bank_approvals IS 'Every request for approval, and what became of it.';
COMMENT ON COLUMN @extschema@.bank_approvals.request_id IS 'Identifier of the request: the event_id in the receipt of the command that became one.';
COMMENT ON COLUMN @extschema@.bank_approvals.state IS 'pending, granted, rejected or expired.';
COMMENT ON COLUMN @extschema@.bank_approvals.command IS 'Name of the command, as bank_execute knows it.';
COMMENT ON COLUMN @extschema@.bank_approvals.account_id IS 'The account it is about.';
COMMENT ON COLUMN @extschema@.bank_approvals.amount IS 'What it would move or reserve, or the overdraft limit it would set.';
COMMENT ON COLUMN @extschema@.bank_approvals.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_approvals.request IS 'The whole command, as bank_execute takes it.';
COMMENT ON COLUMN @extschema@.bank_approvals.requested_by IS 'Who has asked for it: subject of the verified token, else the session user.';
COMMENT ON COLUMN @extschema@.bank_approvals.requested_at IS 'When.';
COMMENT ON COLUMN @extschema@.bank_approvals.expires_at IS 'From then on it cannot be approved.';
COMMENT ON COLUMN @extschema@.bank_approvals.decided_by IS 'Who has approved or rejected it.';
COMMENT ON COLUMN @extschema@.bank_approvals.decided_at IS 'When.';
COMMENT ON COLUMN @extschema@.bank_approvals.reason IS 'Why it was rejected.';
COMMENT ON COLUMN @extschema@.bank_approvals.event_id IS 'The event of the command, when it was approved.';

CREATE VIEW @extschema@.bank_pending_approvals AS
  SELECT a.request_id, a.command, a.account_id, a.amount, a.currency, a.request, a.requested_by, a.requested_at, a.expires_at
  FROM bank.approval_list AS a
  WHERE a.request_id IN (SELECT p.request_id FROM bank.approvals AS p WHERE p.state = 'pending')
    AND a.state = 'pending';
COMMENT ON VIEW @extschema@.bank_pending_approvals IS 'The requests that can be approved or rejected.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.request_id IS 'What bank_approve and bank_reject are told.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.command IS 'Name of the command, as bank_execute knows it.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.account_id IS 'The account it is about.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.amount IS 'What it would move or reserve, or the overdraft limit it would set.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.request IS 'The whole command, as bank_execute takes it.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.requested_by IS 'Who has asked for it: subject of the verified token, else the session user.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.requested_at IS 'When.';
COMMENT ON COLUMN @extschema@.bank_pending_approvals.expires_at IS 'From then on it cannot be approved.';

CREATE VIEW @extschema@.bank_approval_thresholds AS
  SELECT t.currency, bank.minor_to_numeric(t.threshold, t.currency) AS threshold, t.expires_in, t.changed_at, t.changed_by
  FROM bank.approval_thresholds AS t CROSS JOIN (VALUES (true)) AS one (one);
COMMENT ON VIEW @extschema@.bank_approval_thresholds IS 'Above how much commands of tellers have to be approved; a currency without a row: never.';
COMMENT ON COLUMN @extschema@.bank_approval_thresholds.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_approval_thresholds.threshold IS 'What is above has to be approved.';
COMMENT ON COLUMN @extschema@.bank_approval_thresholds.expires_in IS 'How long a request can be approved.';
COMMENT ON COLUMN @extschema@.bank_approval_thresholds.changed_at IS 'When it was set.';
COMMENT ON COLUMN @extschema@.bank_approval_thresholds.changed_by IS 'The session user who set it.';

CREATE FUNCTION @extschema@.bank_approve(
  request_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_approve';
COMMENT ON FUNCTION @extschema@.bank_approve(uuid, bigint, text, timestamptz, jsonb) IS
  'Carries out a command that somebody else has asked for, decided as if it were asked for now; returns its receipt. Who has asked for it cannot, in whatever role. occurred_at is the command''s, unless it names one; expected_version is the request''s. Errors: BK006, BK007, BK016 to BK018, BK021, BK035, BK037, and those of the command. It stays a request then.';
REVOKE ALL ON FUNCTION @extschema@.bank_approve(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_reject(
  request_id uuid,
  reason text,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_reject';
COMMENT ON FUNCTION @extschema@.bank_reject(uuid, text, bigint, text, timestamptz, jsonb) IS
  'Rejects a request for approval, for good; who has made it takes it back so. The reason has up to 255 bytes. expected_version is the request''s. Errors: BK006, BK007, BK016 to BK018, BK021, BK037.';
REVOKE ALL ON FUNCTION @extschema@.bank_reject(uuid, text, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_set_approval_threshold(threshold @extschema@.bank_money, expires_in interval DEFAULT '7 days') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_set_approval_threshold';
COMMENT ON FUNCTION @extschema@.bank_set_approval_threshold(@extschema@.bank_money, interval) IS
  'From now on commands of tellers that move or reserve more than this of its currency have to be approved by somebody else, within expires_in. Errors: BK008, BK016, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_set_approval_threshold(@extschema@.bank_money, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_remove_approval_threshold(currency text) RETURNS boolean
  LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH removed AS (DELETE FROM bank.approval_thresholds AS t WHERE t.currency = bank_remove_approval_threshold.currency RETURNING 1)
  SELECT EXISTS (SELECT FROM removed);
END;
COMMENT ON FUNCTION @extschema@.bank_remove_approval_threshold(text) IS
  'From now on no command in this currency has to be approved; requests that were made stay. False: there was no threshold.';
REVOKE ALL ON FUNCTION @extschema@.bank_remove_approval_threshold(text) FROM PUBLIC;
