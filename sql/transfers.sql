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
  moved_version bigint NOT NULL,
  returned_version bigint NOT NULL,
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
CREATE INDEX transfers_account ON bank.transfers (account_id);
COMMENT ON TABLE bank.transfers IS 'Read model: every transfer to or from another ledger. Made from bank.events; bank_rebuild() makes it again.';
COMMENT ON COLUMN bank.transfers.transfer_id IS 'Identifier, the same in both ledgers; of one that was sent, also that of its hold.';
COMMENT ON COLUMN bank.transfers.version IS 'Version of its stream.';
COMMENT ON COLUMN bank.transfers.position IS 'Position of its last event.';
COMMENT ON COLUMN bank.transfers.recorded_at IS 'recorded_at of its last event.';
COMMENT ON COLUMN bank.transfers.created_at IS 'recorded_at of its first event.';
COMMENT ON COLUMN bank.transfers.amount IS 'In minor units; 0 when it was never known.';
COMMENT ON COLUMN bank.transfers.moved_version IS 'Place in the account''s stream of the movement that took the money from it, or brought it; 0: none yet.';
COMMENT ON COLUMN bank.transfers.returned_version IS 'Place of the movement that took it back; 0: none.';
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
