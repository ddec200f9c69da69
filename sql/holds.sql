-- Holds: the read model of reserved money, made from the events by the trigger
-- that makes bank.accounts. What is open changes once, when it is resolved.

CREATE TABLE bank.holds (
  hold_id uuid NOT NULL,
  account_id uuid NOT NULL,
  amount bigint NOT NULL,
  captured bigint NOT NULL,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  created_version bigint NOT NULL,
  created_position bigint NOT NULL,
  resolved_at timestamptz,
  resolved_version bigint,
  resolved_position bigint,
  currency text NOT NULL,
  status text COLLATE "C" NOT NULL,
  CONSTRAINT holds_pkey PRIMARY KEY (hold_id)
);

CREATE INDEX holds_account ON bank.holds (account_id, status, expires_at);
CREATE INDEX holds_expiry ON bank.holds (expires_at) WHERE status = 'OPEN';

COMMENT ON TABLE bank.holds IS
  'Read model: every hold and what became of it. Made from bank.events; bank_rebuild() makes it again.';
COMMENT ON COLUMN bank.holds.hold_id IS 'The event_id of hold.created.';
COMMENT ON COLUMN bank.holds.account_id IS 'The account whose money is reserved.';
COMMENT ON COLUMN bank.holds.amount IS 'What was reserved, in minor units.';
COMMENT ON COLUMN bank.holds.captured IS 'What of it was moved, in minor units; 0 unless the status is CAPTURED.';
COMMENT ON COLUMN bank.holds.expires_at IS 'From this instant on the hold cannot be used.';
COMMENT ON COLUMN bank.holds.created_at IS 'Business time of hold.created.';
COMMENT ON COLUMN bank.holds.created_version IS 'Place of hold.created in the account''s stream.';
COMMENT ON COLUMN bank.holds.created_position IS 'Position of hold.created.';
COMMENT ON COLUMN bank.holds.resolved_at IS 'Business time of the event that resolved it: of hold.expired, expires_at.';
COMMENT ON COLUMN bank.holds.resolved_version IS 'Place of that event in the account''s stream.';
COMMENT ON COLUMN bank.holds.resolved_position IS 'Position of that event.';
COMMENT ON COLUMN bank.holds.currency IS 'Currency of the account (ISO 4217 letters).';
COMMENT ON COLUMN bank.holds.status IS 'OPEN until an event resolved it, then CAPTURED, RELEASED or EXPIRED; one whose time is over stays OPEN here until hold.expired is recorded.';
