-- Transfers to and from other ledgers: participants, the read model of transfers (made
-- from the events by the trigger that makes bank.accounts), and the worker's notes.

CREATE TABLE bank.participants (
  participant_id uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  url text NOT NULL,
  state text NOT NULL DEFAULT 'active',
  house_account text NOT NULL DEFAULT 'external',
  deadline interval NOT NULL,
  connect_timeout interval NOT NULL,
  request_timeout interval NOT NULL,
  concurrency integer NOT NULL,
  retry_delay interval NOT NULL,
  retry_max_delay interval NOT NULL,
  failure_threshold integer NOT NULL,
  breaker_timeout interval NOT NULL,
  created_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL,
  CONSTRAINT participants_pkey PRIMARY KEY (participant_id),
  CONSTRAINT participants_name_key UNIQUE (name)
);
COMMENT ON TABLE bank.participants IS 'The other ledgers that money can be sent to and received from.';
COMMENT ON COLUMN bank.participants.participant_id IS 'Identifier.';
COMMENT ON COLUMN bank.participants.name IS 'What this ledger calls it.';
COMMENT ON COLUMN bank.participants.url IS 'Where it takes requests of the protocol.';
COMMENT ON COLUMN bank.participants.state IS 'active or paused; requests of a paused one are refused, and nothing is sent to it.';
COMMENT ON COLUMN bank.participants.house_account IS 'Code of the house account that stands here for the money on the other side.';
COMMENT ON COLUMN bank.participants.deadline IS 'How long a transfer may take before it is in doubt.';
COMMENT ON COLUMN bank.participants.connect_timeout IS 'How long connecting may take.';
COMMENT ON COLUMN bank.participants.request_timeout IS 'How long a request may take, connecting included.';
COMMENT ON COLUMN bank.participants.concurrency IS 'Requests under way at a time.';
COMMENT ON COLUMN bank.participants.retry_delay IS 'Wait before a transfer is asked for the second time.';
COMMENT ON COLUMN bank.participants.retry_max_delay IS 'No wait between attempts is longer.';
COMMENT ON COLUMN bank.participants.failure_threshold IS 'So many failures in a row open the breaker.';
COMMENT ON COLUMN bank.participants.breaker_timeout IS 'How long it stays open before a probe.';
COMMENT ON COLUMN bank.participants.created_at IS 'When it was added.';
COMMENT ON COLUMN bank.participants.changed_at IS 'When its settings were last changed.';

CREATE TABLE bank.participant_secrets (
  participant_id uuid NOT NULL,
  secret bytea NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  CONSTRAINT participant_secrets_pkey PRIMARY KEY (participant_id, created_at)
);
COMMENT ON TABLE bank.participant_secrets IS 'The keys of signatures, the same on both sides; several while they are rotated.';
COMMENT ON COLUMN bank.participant_secrets.participant_id IS 'Whose.';
COMMENT ON COLUMN bank.participant_secrets.secret IS 'The key of HMAC-SHA-256, 24 to 64 bytes.';
COMMENT ON COLUMN bank.participant_secrets.created_at IS 'When it came into use.';
COMMENT ON COLUMN bank.participant_secrets.expires_at IS 'From then on it is not used; null: no end.';

CREATE TABLE bank.participant_progress (
  participant_id uuid NOT NULL,
  revision bigint NOT NULL DEFAULT 1,
  breaker_state text NOT NULL DEFAULT 'closed',
  breaker_forced boolean NOT NULL DEFAULT false,
  breaker_since timestamptz NOT NULL,
  breaker_failures integer NOT NULL DEFAULT 0,
  throttled_until timestamptz,
  answered bigint NOT NULL DEFAULT 0,
  failed bigint NOT NULL DEFAULT 0,
  last_answered_at timestamptz,
  last_error_at timestamptz,
  last_error text,
  CONSTRAINT participant_progress_pkey PRIMARY KEY (participant_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE bank.participant_progress IS 'What the worker keeps of each participant: its breaker, how requests have gone.';
COMMENT ON COLUMN bank.participant_progress.participant_id IS 'Whose.';
COMMENT ON COLUMN bank.participant_progress.revision IS 'Raised by commands that change this row, so that the worker takes it anew.';
COMMENT ON COLUMN bank.participant_progress.breaker_state IS 'closed, open or half_open.';
COMMENT ON COLUMN bank.participant_progress.breaker_forced IS 'It stays as it is until a command says otherwise.';
COMMENT ON COLUMN bank.participant_progress.breaker_since IS 'Since when it is in this state.';
COMMENT ON COLUMN bank.participant_progress.breaker_failures IS 'Failures in a row.';
COMMENT ON COLUMN bank.participant_progress.throttled_until IS 'Nothing is sent before, as the participant has asked.';
COMMENT ON COLUMN bank.participant_progress.answered IS 'Requests that were answered in the protocol.';
COMMENT ON COLUMN bank.participant_progress.failed IS 'Requests that were not.';
COMMENT ON COLUMN bank.participant_progress.last_answered_at IS 'When it last answered.';
COMMENT ON COLUMN bank.participant_progress.last_error_at IS 'When a request last failed.';
COMMENT ON COLUMN bank.participant_progress.last_error IS 'How.';

CREATE TABLE bank.transfers (
  transfer_id uuid NOT NULL,
  version bigint NOT NULL,
  position bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  amount bigint NOT NULL,
  captured boolean NOT NULL,
  state text COLLATE "C" NOT NULL,
  currency text NOT NULL,
  participant text COLLATE "C" NOT NULL,
  house_account text NOT NULL,
  destination text NOT NULL,
  code text NOT NULL,
  reason text NOT NULL,
  account_id uuid,
  deadline timestamptz,
  CONSTRAINT transfers_pkey PRIMARY KEY (transfer_id)
) WITH (fillfactor = 70);
CREATE INDEX transfers_unresolved ON bank.transfers (state, created_at)
  WHERE state IN ('initiated', 'reserved', 'submitted', 'cancelling', 'returning', 'in_doubt');
CREATE INDEX transfers_deadline ON bank.transfers (deadline)
  WHERE state IN ('reserved', 'submitted', 'cancelling', 'returning');
CREATE INDEX transfers_account ON bank.transfers (account_id);
COMMENT ON TABLE bank.transfers IS 'Read model: every transfer to or from another ledger. Made from bank.events; bank_rebuild() makes it again.';
COMMENT ON COLUMN bank.transfers.transfer_id IS 'Identifier, the same in both ledgers; of one that was sent, also that of its hold.';
COMMENT ON COLUMN bank.transfers.version IS 'Version of its stream.';
COMMENT ON COLUMN bank.transfers.position IS 'Position of its last event.';
COMMENT ON COLUMN bank.transfers.recorded_at IS 'recorded_at of its last event.';
COMMENT ON COLUMN bank.transfers.created_at IS 'recorded_at of its first event.';
COMMENT ON COLUMN bank.transfers.amount IS 'In minor units; 0 when it was never known.';
COMMENT ON COLUMN bank.transfers.captured IS 'The money has left the account (or has come to it), and is not back.';
COMMENT ON COLUMN bank.transfers.state IS 'See src/domain/transfer.h.';
COMMENT ON COLUMN bank.transfers.currency IS 'ISO 4217 letters; XXX when it was never known.';
COMMENT ON COLUMN bank.transfers.participant IS 'Name of the other ledger; empty when bank_receive was told none.';
COMMENT ON COLUMN bank.transfers.house_account IS 'Code of the house account on the other side of its movements.';
COMMENT ON COLUMN bank.transfers.destination IS 'The account over there, as the sender named it.';
COMMENT ON COLUMN bank.transfers.code IS 'Why it is in this state: an error code, or empty.';
COMMENT ON COLUMN bank.transfers.reason IS 'Why: a sentence, or empty.';
COMMENT ON COLUMN bank.transfers.account_id IS 'The account here.';
COMMENT ON COLUMN bank.transfers.deadline IS 'When it is in doubt unless it is known by then.';

-- What the worker has to do, and how often it has tried. A row for each transfer that a
-- participant is to be asked about; the worker adds those that are missing.
CREATE TABLE bank.transfer_attempts (
  transfer_id uuid NOT NULL,
  participant text COLLATE "C" NOT NULL,
  next_attempt_at timestamptz NOT NULL,
  attempts integer NOT NULL,
  absent boolean NOT NULL,
  last_attempt_at timestamptz,
  last_status integer,
  last_error text,
  CONSTRAINT transfer_attempts_pkey PRIMARY KEY (transfer_id)
);
CREATE INDEX transfer_attempts_due ON bank.transfer_attempts (participant, next_attempt_at);
COMMENT ON TABLE bank.transfer_attempts IS 'The transfers that participants are to be asked about.';
COMMENT ON COLUMN bank.transfer_attempts.transfer_id IS 'Which.';
COMMENT ON COLUMN bank.transfer_attempts.participant IS 'Name of the participant.';
COMMENT ON COLUMN bank.transfer_attempts.next_attempt_at IS 'Not before.';
COMMENT ON COLUMN bank.transfer_attempts.attempts IS 'Requests sent since it was in its state.';
COMMENT ON COLUMN bank.transfer_attempts.absent IS 'The last answer was that it is not known there.';
COMMENT ON COLUMN bank.transfer_attempts.last_attempt_at IS 'When the last one was sent.';
COMMENT ON COLUMN bank.transfer_attempts.last_status IS 'HTTP status of the last answer.';
COMMENT ON COLUMN bank.transfer_attempts.last_error IS 'What was wrong with it.';

SELECT pg_catalog.pg_extension_config_dump('bank.participants', '');
SELECT pg_catalog.pg_extension_config_dump('bank.participant_secrets', '');
SELECT pg_catalog.pg_extension_config_dump('bank.participant_progress', '');
SELECT pg_catalog.pg_extension_config_dump('bank.transfer_attempts', '');

CREATE VIEW bank.transfer_list AS
  SELECT t.transfer_id,
         CASE WHEN t.state IN ('received', 'kept', 'refused', 'cancelled') THEN 'in' ELSE 'out' END AS direction,
         t.state, NULLIF(t.participant, '') AS participant, t.account_id, NULLIF(t.destination, '') AS destination,
         CASE WHEN t.amount > 0 THEN bank.minor_to_numeric(t.amount, t.currency) END AS amount,
         CASE WHEN t.amount > 0 THEN t.currency END AS currency,
         t.version, t.created_at, t.recorded_at AS changed_at,
         CASE WHEN t.state IN ('initiated', 'reserved', 'submitted', 'cancelling', 'returning', 'in_doubt')
              THEN GREATEST(pg_catalog.statement_timestamp(), t.recorded_at) ELSE t.recorded_at END - t.created_at AS age,
         t.deadline, COALESCE(a.attempts, 0) AS attempts, a.next_attempt_at, a.last_status, a.last_error,
         NULLIF(t.code, '') AS code, NULLIF(t.reason, '') AS reason
  FROM bank.transfers AS t
  LEFT JOIN bank.transfer_attempts AS a ON a.transfer_id = t.transfer_id;
COMMENT ON VIEW bank.transfer_list IS 'What bank_transfers shows.';

-- In two parts, as bank_accounts.
CREATE VIEW bank.all_transfers WITH (security_barrier) AS
  SELECT t.* FROM bank.transfer_list AS t
  WHERE (SELECT bank.sees_all('bank_transfers'));
COMMENT ON VIEW bank.all_transfers IS 'What bank_transfers shows to staff; nothing to a customer.';

CREATE VIEW bank.own_transfers WITH (security_barrier) AS
  SELECT t.* FROM bank.accounts AS a JOIN bank.transfer_list AS t ON t.account_id = a.account_id
  WHERE NOT (SELECT bank.sees_all('bank_transfers')) AND a.owner_id = (SELECT bank.current_owner());
COMMENT ON VIEW bank.own_transfers IS 'What bank_transfers shows to a customer.';

CREATE VIEW @extschema@.bank_transfers WITH (security_barrier) AS
  SELECT t.* FROM bank.all_transfers AS t UNION ALL SELECT o.* FROM bank.own_transfers AS o;
COMMENT ON VIEW @extschema@.bank_transfers IS 'Every transfer to or from another ledger, and how far it is.';
COMMENT ON COLUMN @extschema@.bank_transfers.transfer_id IS 'Identifier, the same in both ledgers; of one that was sent, also that of its hold.';
COMMENT ON COLUMN @extschema@.bank_transfers.direction IS 'out: sent by this ledger; in: it came from another one.';
COMMENT ON COLUMN @extschema@.bank_transfers.state IS 'out: reserved, submitted, cancelling, completed, returning, compensated, rejected or in_doubt; in: received, kept, refused or cancelled.';
COMMENT ON COLUMN @extschema@.bank_transfers.participant IS 'The other ledger.';
COMMENT ON COLUMN @extschema@.bank_transfers.account_id IS 'The account here.';
COMMENT ON COLUMN @extschema@.bank_transfers.destination IS 'The account there, as it was named; of one that was sent.';
COMMENT ON COLUMN @extschema@.bank_transfers.amount IS 'How much; null when that was never known.';
COMMENT ON COLUMN @extschema@.bank_transfers.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_transfers.version IS 'Version of its stream.';
COMMENT ON COLUMN @extschema@.bank_transfers.created_at IS 'When it began here.';
COMMENT ON COLUMN @extschema@.bank_transfers.changed_at IS 'When it came into its state.';
COMMENT ON COLUMN @extschema@.bank_transfers.age IS 'How long it has been under way, or was.';
COMMENT ON COLUMN @extschema@.bank_transfers.deadline IS 'When it is in doubt unless it is known by then.';
COMMENT ON COLUMN @extschema@.bank_transfers.attempts IS 'Requests to the participant since it came into its state.';
COMMENT ON COLUMN @extschema@.bank_transfers.next_attempt_at IS 'When the next one is due; null: none.';
COMMENT ON COLUMN @extschema@.bank_transfers.last_status IS 'HTTP status of the last answer that decided nothing.';
COMMENT ON COLUMN @extschema@.bank_transfers.last_error IS 'What was wrong with it.';
COMMENT ON COLUMN @extschema@.bank_transfers.code IS 'Why it is in this state: an error code of ours, or of the participant.';
COMMENT ON COLUMN @extschema@.bank_transfers.reason IS 'Why, in words.';

CREATE FUNCTION @extschema@.bank_send(
  from_account uuid,
  amount @extschema@.bank_money,
  participant text,
  destination text,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  deadline_in interval DEFAULT NULL
) RETURNS uuid
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_send';
COMMENT ON FUNCTION @extschema@.bank_send(uuid, @extschema@.bank_money, text, text, bigint, text, timestamptz, jsonb, interval) IS
  'Reserves money of an account and has it sent to the account "destination" of another ledger; returns the identifier of the transfer, which is in doubt if its outcome is not known after deadline_in (default: the participant''s). Errors: BK001 to BK009, BK016 to BK018, BK021, BK031, BK034.';
REVOKE ALL ON FUNCTION @extschema@.bank_send(uuid, @extschema@.bank_money, text, text, bigint, text, timestamptz, jsonb, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_cancel_transfer(
  transfer_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_transfers
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_cancel_transfer';
COMMENT ON FUNCTION @extschema@.bank_cancel_transfer(uuid, bigint, text, timestamptz, jsonb) IS
  'Asks for the money of a transfer back, sent or not, completed or not; the participant decides. expected_version is the transfer''s. Errors: BK006, BK007, BK016 to BK018, BK021, BK030, BK031.';
REVOKE ALL ON FUNCTION @extschema@.bank_cancel_transfer(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_resolve_transfer(
  transfer_id uuid,
  state text,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  reason text DEFAULT NULL
) RETURNS @extschema@.bank_transfers
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_resolve_transfer';
COMMENT ON FUNCTION @extschema@.bank_resolve_transfer(uuid, text, bigint, text, timestamptz, jsonb, text) IS
  'Says what has become of a transfer in doubt: completed, rejected or compensated; or submitted, to have it asked for again. Errors: BK006, BK007, BK016 to BK018, BK021, BK030, BK031.';
REVOKE ALL ON FUNCTION @extschema@.bank_resolve_transfer(uuid, text, bigint, text, timestamptz, jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_receive(
  transfer_id uuid,
  to_account uuid,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  participant text DEFAULT NULL,
  house_account text DEFAULT 'external'
) RETURNS @extschema@.bank_transfers
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_receive';
COMMENT ON FUNCTION @extschema@.bank_receive(uuid, uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text, text) IS
  'Takes money from another ledger, once for each transfer_id: called again it answers as the transfer is by then. What the account cannot take is not an error: the transfer is refused, for ever. expected_version is the account''s. Errors: BK001, BK006, BK007, BK016 to BK019, BK021, BK030, BK031.';
REVOKE ALL ON FUNCTION @extschema@.bank_receive(uuid, uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_cancel_received(
  transfer_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  participant text DEFAULT NULL
) RETURNS @extschema@.bank_transfers
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_cancel_received';
COMMENT ON FUNCTION @extschema@.bank_cancel_received(uuid, bigint, text, timestamptz, jsonb, text) IS
  'Gives back the money of a transfer that came, or sees to it that one that has not come never will. expected_version is the transfer''s. Errors: BK002, BK004, BK006, BK007, BK016 to BK018, BK021, BK030, BK031.';
REVOKE ALL ON FUNCTION @extschema@.bank_cancel_received(uuid, bigint, text, timestamptz, jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_transfer_status(transfer_id uuid) RETURNS @extschema@.bank_transfers
  LANGUAGE sql STABLE STRICT SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT t.* FROM bank.transfer_list AS t WHERE t.transfer_id = bank_transfer_status.transfer_id
    AND bank.sees_account(t.account_id, 'bank_transfer_status');
END;
COMMENT ON FUNCTION @extschema@.bank_transfer_status(uuid) IS 'How far a transfer is, sent or received; null when it is not known here.';
REVOKE ALL ON FUNCTION @extschema@.bank_transfer_status(uuid) FROM PUBLIC;

-- What the door for participants stands on.
CREATE TYPE bank.transfer_answer AS (status text, code text, message text);
COMMENT ON TYPE bank.transfer_answer IS 'What this ledger answers to a participant.';
COMMENT ON COLUMN bank.transfer_answer.status IS 'received, refused, cancelled or unknown.';
COMMENT ON COLUMN bank.transfer_answer.code IS 'Why: an error code.';
COMMENT ON COLUMN bank.transfer_answer.message IS 'Why, in words.';

CREATE FUNCTION bank.receive(transfer_id uuid, to_account uuid, amount @extschema@.bank_money, participant text,
                             house_account text, refusal_code text, refusal_detail text) RETURNS bank.transfer_answer
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_answer_receive';
COMMENT ON FUNCTION bank.receive(uuid, uuid, @extschema@.bank_money, text, text, text, text) IS
  'Takes money from a participant, or refuses it for the error that is given.';
REVOKE ALL ON FUNCTION bank.receive(uuid, uuid, @extschema@.bank_money, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION bank.cancel_received(transfer_id uuid, participant text) RETURNS bank.transfer_answer
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_answer_cancel';
COMMENT ON FUNCTION bank.cancel_received(uuid, text) IS 'Gives money back to a participant; where that is not possible, neither is it later.';
REVOKE ALL ON FUNCTION bank.cancel_received(uuid, text) FROM PUBLIC;

CREATE FUNCTION bank.transfer_answer(transfer_id uuid, participant text) RETURNS bank.transfer_answer
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE t.state WHEN 'kept' THEN 'received' ELSE COALESCE(t.state, 'unknown') END, NULLIF(t.code, ''), NULL::text
  FROM (VALUES (true)) AS always (always)
  LEFT JOIN bank.transfers AS t
    ON t.transfer_id = transfer_answer.transfer_id AND t.participant = transfer_answer.participant
       AND t.state IN ('received', 'kept', 'refused', 'cancelled');
END;
COMMENT ON FUNCTION bank.transfer_answer(uuid, text) IS 'What has become here of a transfer of a participant.';
REVOKE ALL ON FUNCTION bank.transfer_answer(uuid, text) FROM PUBLIC;
