-- Accounts: the read model against which commands decide, made from the events
-- by a trigger, in the transaction that appends them.
--
-- No index covers a column that a movement or a hold changes, and pages are half empty,
-- so that a movement is a HOT update.

CREATE TABLE bank.accounts (
  account_id uuid NOT NULL,
  version bigint NOT NULL,
  debits bigint NOT NULL,
  credits bigint NOT NULL,
  position bigint NOT NULL,
  held bigint NOT NULL,
  overdraft_limit bigint NOT NULL,
  recorded_at timestamptz NOT NULL,
  business_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  currency text NOT NULL,
  account_type text NOT NULL,
  status text NOT NULL,
  balance_limit bigint,
  owner_id uuid,
  account_number text,
  house_code text,
  stripe integer,
  house_account_id uuid,
  next_expiry timestamptz,
  limits_version bigint NOT NULL,
  CONSTRAINT accounts_pkey PRIMARY KEY (account_id),
  CONSTRAINT accounts_number_key UNIQUE (account_number)
) WITH (fillfactor = 50);

CREATE INDEX accounts_owner ON bank.accounts (owner_id) WHERE owner_id IS NOT NULL;
CREATE UNIQUE INDEX accounts_house_stripe ON bank.accounts (house_code, currency, stripe)
  WHERE house_code IS NOT NULL;
CREATE INDEX accounts_house ON bank.accounts (house_account_id) WHERE house_account_id IS NOT NULL;

CREATE SEQUENCE bank.account_serial_seq AS bigint MAXVALUE 9999999999 CACHE 1;
COMMENT ON SEQUENCE bank.account_serial_seq IS 'Serial numbers inside account numbers; the check digits are added to them.';
SELECT pg_catalog.pg_extension_config_dump('bank.account_serial_seq', '');

COMMENT ON TABLE bank.accounts IS
  'Read model: current state of every account, and of every stripe of a house account. Made from bank.events; bank_rebuild() makes it again.';
COMMENT ON COLUMN bank.accounts.account_id IS 'Identifier of the account (UUID version 7) or of the stripe.';
COMMENT ON COLUMN bank.accounts.version IS 'Version of the stream: the version of its last event.';
COMMENT ON COLUMN bank.accounts.debits IS 'Sum of the money that left, in minor units, never negative.';
COMMENT ON COLUMN bank.accounts.credits IS 'Sum of the money that came, in minor units, never negative.';
COMMENT ON COLUMN bank.accounts.position IS 'Position of the last event of the stream.';
COMMENT ON COLUMN bank.accounts.held IS 'Part of the balance that is reserved by holds, in minor units.';
COMMENT ON COLUMN bank.accounts.overdraft_limit IS 'The balance may fall to minus this, in minor units.';
COMMENT ON COLUMN bank.accounts.recorded_at IS 'recorded_at of the last event of the stream.';
COMMENT ON COLUMN bank.accounts.business_at IS 'Latest business time among the movements and holds; -infinity before the first.';
COMMENT ON COLUMN bank.accounts.created_at IS 'recorded_at of account.created.';
COMMENT ON COLUMN bank.accounts.currency IS 'Currency of the account (ISO 4217 letters).';
COMMENT ON COLUMN bank.accounts.account_type IS 'COURANT, EPARGNE or HOUSE.';
COMMENT ON COLUMN bank.accounts.status IS 'ACTIVE, FROZEN or CLOSED.';
COMMENT ON COLUMN bank.accounts.balance_limit IS 'The balance may rise to this, in minor units; null: no ceiling.';
COMMENT ON COLUMN bank.accounts.owner_id IS 'Owner; null for a house account.';
COMMENT ON COLUMN bank.accounts.account_number IS 'Number with ISO 7064 MOD 97-10 check digits; null for a house account.';
COMMENT ON COLUMN bank.accounts.house_code IS 'Code of the house account; null for a customer''s account.';
COMMENT ON COLUMN bank.accounts.stripe IS 'Number of the stripe of the house account.';
COMMENT ON COLUMN bank.accounts.house_account_id IS 'Identifier of the logical house account all whose stripes add up to its balance.';
COMMENT ON COLUMN bank.accounts.next_expiry IS 'The earliest expires_at among the open holds; null when there is none.';
COMMENT ON COLUMN bank.accounts.limits_version IS 'Version of the event that set the limits.';

-- Movements, and events of holds, whose business time lies before that of an earlier one of the
-- same stream. Few or none in most ledgers; they let bank_balance_at stay exact.
CREATE TABLE bank.backdated_movements (
  account_id uuid NOT NULL,
  version bigint NOT NULL,
  business_at timestamptz NOT NULL,
  latest_before timestamptz NOT NULL,
  amount bigint NOT NULL,
  held bigint NOT NULL,
  CONSTRAINT backdated_movements_pkey PRIMARY KEY (account_id, version)
);
COMMENT ON TABLE bank.backdated_movements IS
  'Read model: movements and events of holds that were appended after one with a later business time. Made from bank.events.';
COMMENT ON COLUMN bank.backdated_movements.account_id IS 'The account on whose stream the event is out of order.';
COMMENT ON COLUMN bank.backdated_movements.version IS 'Its place in that stream.';
COMMENT ON COLUMN bank.backdated_movements.business_at IS 'Its business time.';
COMMENT ON COLUMN bank.backdated_movements.latest_before IS 'The latest business time among the movements and holds before it in the stream.';
COMMENT ON COLUMN bank.backdated_movements.amount IS 'What it added to the balance, in minor units, signed; 0 unless a movement.';
COMMENT ON COLUMN bank.backdated_movements.held IS 'What it added to what is held, in minor units, signed.';

CREATE FUNCTION bank.events_apply() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_events_apply';
COMMENT ON FUNCTION bank.events_apply() IS
  'Brings the read models up to date with the inserted events; raises BK020 when one does not continue its streams exactly.';

CREATE TRIGGER events_apply
  AFTER INSERT ON bank.events
  REFERENCING NEW TABLE AS inserted
  FOR EACH STATEMENT EXECUTE FUNCTION bank.events_apply();
ALTER TABLE bank.events ENABLE ALWAYS TRIGGER events_apply;
REVOKE ALL ON FUNCTION bank.events_apply() FROM PUBLIC;
COMMENT ON TRIGGER events_apply ON bank.events IS 'Keeps bank.accounts, bank.holds and bank.backdated_movements; per statement, so that a restore is one pass.';
