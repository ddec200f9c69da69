-- Events: the only source of truth. One movement is one row, so no row can be
-- unbalanced. Amounts and balances are minor units of the row's currency.
--
-- The columns stand in the order that needs no padding; adapters/store/tables.h
-- repeats their numbers.

CREATE TYPE bank.event_type AS ENUM (
  'account.created', 'account.frozen', 'account.unfrozen', 'account.closed',
  'account.limits_changed', 'money.deposited', 'money.withdrawn', 'transfer.completed',
  'hold.created', 'hold.captured', 'hold.released', 'hold.expired',
  'transfer.initiated', 'transfer.reserved', 'transfer.submitted', 'transfer.rejected', 'transfer.compensated',
  'transfer.in_doubt', 'transfer.cancel_requested', 'transfer.received', 'transfer.refused', 'transfer.kept',
  'transfer.cancelled',
  'approval.requested', 'approval.granted', 'approval.rejected'
);
COMMENT ON TYPE bank.event_type IS 'What happened; the list is that of src/domain/event.h.';

CREATE SEQUENCE bank.events_position_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE bank.events_position_seq IS
  'Positions of events; drawn by the appending command after all its checks, never cached.';

CREATE TABLE bank.events (
  position bigint NOT NULL DEFAULT pg_catalog.nextval('bank.events_position_seq'::pg_catalog.regclass),
  version bigint NOT NULL,
  peer_version bigint,
  amount bigint,
  balance bigint NOT NULL,
  peer_balance bigint,
  recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  transaction_id xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
  event_id uuid NOT NULL,
  aggregate_id uuid NOT NULL,
  peer_id uuid,
  event_type bank.event_type NOT NULL,
  currency text NOT NULL,
  occurred_at timestamptz,
  data jsonb,
  metadata jsonb,
  held bigint,
  peer_held bigint,
  expires_at timestamptz,
  hold_id uuid,
  limits_before bigint,
  actor_id integer,
  CONSTRAINT events_pkey PRIMARY KEY (aggregate_id, version),
  CONSTRAINT events_peer_key UNIQUE (peer_id, peer_version),
  CONSTRAINT events_position_key UNIQUE (position) WITH (fillfactor = 100)
);
ALTER SEQUENCE bank.events_position_seq OWNED BY bank.events.position;

COMMENT ON TABLE bank.events IS
  'Append-only: every accepted command is one row. UPDATE, DELETE and TRUNCATE are refused for everybody.';
COMMENT ON COLUMN bank.events.position IS 'Global order of appending; unique. A refused command leaves no gap; a rollback of the caller, a crash or a failover can.';
COMMENT ON COLUMN bank.events.version IS 'Place in the stream of aggregate_id: 1, 2, 3, … without gaps, counting the events where it is the peer.';
COMMENT ON COLUMN bank.events.peer_version IS 'Place in the stream of peer_id; null when the event is no movement.';
COMMENT ON COLUMN bank.events.amount IS 'Amount of the movement, or of the hold that is made or freed, in minor units, greater than zero; null for other events, save those of a transfer to or from another ledger and of a request for approval.';
COMMENT ON COLUMN bank.events.balance IS 'Balance of aggregate_id after the event, in minor units, signed.';
COMMENT ON COLUMN bank.events.peer_balance IS 'Balance of peer_id after the event, in minor units, signed.';
COMMENT ON COLUMN bank.events.recorded_at IS 'When the event was appended; never decreases along a stream.';
COMMENT ON COLUMN bank.events.transaction_id IS 'The top-level transaction that appended the event.';
COMMENT ON COLUMN bank.events.event_id IS 'Identifier for the outside (UUID version 7); the transaction id of a movement.';
COMMENT ON COLUMN bank.events.aggregate_id IS 'The account the event is about, the source of a transfer; or the transfer to or from another ledger, or the request for approval.';
COMMENT ON COLUMN bank.events.peer_id IS 'The second account of a movement: the house account of a deposit or withdrawal, the destination of a transfer or capture.';
COMMENT ON COLUMN bank.events.event_type IS 'What happened.';
COMMENT ON COLUMN bank.events.currency IS 'Currency of the account, and so of amount and balances (ISO 4217 letters).';
COMMENT ON COLUMN bank.events.occurred_at IS 'Business date when one was given (imports, back-dated entries); null means recorded_at.';
COMMENT ON COLUMN bank.events.data IS 'Payload beyond the columns: the opening of an account, its limits, what a transfer or a request for approval says.';
COMMENT ON COLUMN bank.events.metadata IS 'What the caller said about the command: correlation, causation, traceparent, and so on.';
COMMENT ON COLUMN bank.events.held IS 'What open holds reserve of aggregate_id after the event, in minor units; null: nothing.';
COMMENT ON COLUMN bank.events.peer_held IS 'What they reserve of peer_id.';
COMMENT ON COLUMN bank.events.expires_at IS 'When the hold expires, or until when a request can be approved; of hold.created and approval.requested only.';
COMMENT ON COLUMN bank.events.hold_id IS 'The hold the event is about: the event_id of its hold.created.';
COMMENT ON COLUMN bank.events.limits_before IS 'Of account.limits_changed: the version of the event that set the limits before.';

COMMENT ON COLUMN bank.events.actor_id IS 'Who has done it; null in an event that nobody''s command has made.';

CREATE SEQUENCE bank.actors_actor_id_seq AS integer CACHE 1;
COMMENT ON SEQUENCE bank.actors_actor_id_seq IS 'Numbers of actors.';
CREATE TABLE bank.actors (
  actor_id integer NOT NULL DEFAULT pg_catalog.nextval('bank.actors_actor_id_seq'::pg_catalog.regclass),
  session_user_name text NOT NULL,
  application_name text NOT NULL,
  subject text NOT NULL DEFAULT '',
  owner_id uuid,
  CONSTRAINT actors_pkey PRIMARY KEY (actor_id)
);
ALTER SEQUENCE bank.actors_actor_id_seq OWNED BY bank.actors.actor_id;
CREATE INDEX actors_who ON bank.actors (session_user_name, application_name, subject);
COMMENT ON TABLE bank.actors IS 'Who has appended events. The same one may have several rows.';
COMMENT ON COLUMN bank.actors.actor_id IS 'What events point to.';
COMMENT ON COLUMN bank.actors.session_user_name IS 'The role that had logged in.';
COMMENT ON COLUMN bank.actors.application_name IS 'What the session called itself; nobody has verified that.';
COMMENT ON COLUMN bank.actors.subject IS 'Subject of the verified token, or empty.';
COMMENT ON COLUMN bank.actors.owner_id IS 'The owner for whom a customer acted; null for staff.';

CREATE INDEX events_transaction ON bank.events (transaction_id);

-- One outcome per idempotency key. The outcome is an event, named by its place
-- in its stream, which is known before the event is appended; or a refusal.
CREATE TABLE bank.idempotency_keys (
  idempotency_key text NOT NULL,
  request_hash bytea NOT NULL,
  aggregate_id uuid,
  version bigint,
  refusal jsonb,
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (idempotency_key)
);
COMMENT ON TABLE bank.idempotency_keys IS 'Outcome of every command that was given an idempotency key; commits with the money.';
COMMENT ON COLUMN bank.idempotency_keys.idempotency_key IS 'The key the caller chose, 1 to 255 bytes; of a customer behind a control character, the owner and a slash.';
COMMENT ON COLUMN bank.idempotency_keys.request_hash IS 'SHA-256 of the canonical request; metadata is not part of it.';
COMMENT ON COLUMN bank.idempotency_keys.aggregate_id IS 'Stream of the event that is the outcome.';
COMMENT ON COLUMN bank.idempotency_keys.version IS 'Place of that event in its stream.';
COMMENT ON COLUMN bank.idempotency_keys.refusal IS 'The outcome when it is a refusal that bank_execute answered with; else null.';

-- pg_dump must bring the events in the order in which they were appended: the
-- restore replays them through the trigger that makes the read models, which
-- for that reason are not dumped themselves.
SELECT pg_catalog.pg_extension_config_dump('bank.events', 'WHERE true ORDER BY position');
SELECT pg_catalog.pg_extension_config_dump('bank.events_position_seq', '');
SELECT pg_catalog.pg_extension_config_dump('bank.idempotency_keys', '');
SELECT pg_catalog.pg_extension_config_dump('bank.actors', '');
SELECT pg_catalog.pg_extension_config_dump('bank.actors_actor_id_seq', '');

CREATE FUNCTION bank.events_refuse_change() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_events_refuse_change';
COMMENT ON FUNCTION bank.events_refuse_change() IS 'Raises BK012: events are append-only.';

CREATE TRIGGER events_refuse_change
  BEFORE UPDATE OR DELETE OR TRUNCATE ON bank.events
  FOR EACH STATEMENT EXECUTE FUNCTION bank.events_refuse_change();
ALTER TABLE bank.events ENABLE ALWAYS TRIGGER events_refuse_change;
COMMENT ON TRIGGER events_refuse_change ON bank.events IS 'Refuses every change, even one that would meet no row.';

-- A logical replication worker fires row triggers only.
CREATE TRIGGER events_refuse_row_change
  BEFORE UPDATE OR DELETE ON bank.events
  FOR EACH ROW EXECUTE FUNCTION bank.events_refuse_change();
ALTER TABLE bank.events ENABLE ALWAYS TRIGGER events_refuse_row_change;
REVOKE ALL ON FUNCTION bank.events_refuse_change() FROM PUBLIC;
COMMENT ON TRIGGER events_refuse_row_change ON bank.events IS 'Refuses changes that arrive by logical replication.';

CREATE FUNCTION bank.guard_drop() RETURNS event_trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_guard_drop';
COMMENT ON FUNCTION bank.guard_drop() IS
  'Loads the library, whose hook refuses to drop bank.events while it has rows, unless banking.allow_drop is on.';

CREATE EVENT TRIGGER banking_guard_drop ON ddl_command_start
  WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED', 'DROP TABLE')
  EXECUTE FUNCTION bank.guard_drop();
ALTER EVENT TRIGGER banking_guard_drop ENABLE ALWAYS;
REVOKE ALL ON FUNCTION bank.guard_drop() FROM PUBLIC;
COMMENT ON EVENT TRIGGER banking_guard_drop IS 'Guards a ledger that has events against being dropped.';
