-- The commands. Required arguments come first; then, for every command, the same
-- four options:
--   expected_version  refuse with BK006 unless the account has this version
--   idempotency_key   the same key with the same request gives the first outcome again
--   occurred_at       business time, if it is not now; from 1900 to one day ahead
--   metadata          a JSON object of up to 64 kB that is kept with the event
--
-- Nobody but the owner may call them until EXECUTE is granted. They need no
-- right on schema bank: the library works with the rights of the ledger's owner.

CREATE TYPE @extschema@.bank_receipt AS (
  event_id uuid,
  account_id uuid,
  event_type text,
  amount numeric,
  currency text,
  balance numeric,
  version bigint,
  position bigint,
  recorded_at timestamptz,
  replayed boolean
);
COMMENT ON TYPE @extschema@.bank_receipt IS 'Outcome of a command on an account.';
COMMENT ON COLUMN @extschema@.bank_receipt.event_id IS 'The event; the transaction id of a movement, the identifier of a hold or of a request for approval that was made.';
COMMENT ON COLUMN @extschema@.bank_receipt.account_id IS 'The account the command was about; the source of a transfer or capture.';
COMMENT ON COLUMN @extschema@.bank_receipt.event_type IS 'What happened; approval.requested: nothing yet, somebody else has to approve it.';
COMMENT ON COLUMN @extschema@.bank_receipt.amount IS 'Amount moved, held or released, or that is to be approved; null for other commands.';
COMMENT ON COLUMN @extschema@.bank_receipt.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_receipt.balance IS 'Balance of the account after the event, signed; of the session''s stripe for a house account; null of a request for approval.';
COMMENT ON COLUMN @extschema@.bank_receipt.version IS 'Version of the account after the event, or of the request.';
COMMENT ON COLUMN @extschema@.bank_receipt.position IS 'Position of the event in the global order.';
COMMENT ON COLUMN @extschema@.bank_receipt.recorded_at IS 'When the event was appended.';
COMMENT ON COLUMN @extschema@.bank_receipt.replayed IS 'True when an earlier call with the same idempotency key had this outcome.';

CREATE FUNCTION @extschema@.bank_create_account(
  owner_id uuid,
  account_type text,
  currency text,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  account_id uuid DEFAULT NULL,
  overdraft_limit @extschema@.bank_money DEFAULT NULL,
  balance_limit @extschema@.bank_money DEFAULT NULL
) RETURNS @extschema@.bank_accounts
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_create_account';
COMMENT ON FUNCTION @extschema@.bank_create_account(uuid, text, text, bigint, text, timestamptz, jsonb, uuid, @extschema@.bank_money, @extschema@.bank_money) IS
  'Opens a customer''s account, type COURANT or EPARGNE, in an ISO 4217 currency; returns its row. account_id may be given (else a fresh UUID version 7), and the limits: overdraft_limit (the balance may fall to minus this; default none) and balance_limit (ceiling; default none). Errors: BK003, BK006, BK007, BK008, BK009, BK011, BK014, BK016, BK017, BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_create_account(uuid, text, text, bigint, text, timestamptz, jsonb, uuid, @extschema@.bank_money, @extschema@.bank_money) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_create_house_account(
  code text,
  currency text,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_accounts
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_create_house_account';
COMMENT ON FUNCTION @extschema@.bank_create_house_account(text, text, bigint, text, timestamptz, jsonb) IS
  'Opens a house account of the bank''s own in one currency; from then on its code can be named in any currency. cash, external, fees, interest, exchange and suspense need no opening. Errors: BK006, BK007, BK011, BK014, BK016, BK017, BK018, BK019, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_create_house_account(text, text, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_deposit(
  account_id uuid,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  house_account text DEFAULT 'cash'
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_deposit';
COMMENT ON FUNCTION @extschema@.bank_deposit(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text) IS
  'Moves money from a house account to a customer''s account. Errors: BK001 to BK003, BK005 to BK009, BK016 to BK019, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_deposit(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_withdraw(
  account_id uuid,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  house_account text DEFAULT 'cash'
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_withdraw';
COMMENT ON FUNCTION @extschema@.bank_withdraw(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text) IS
  'Moves money from a customer''s account to a house account. Errors: BK001 to BK009, BK016 to BK019, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_withdraw(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_transfer(
  from_account uuid,
  to_account uuid,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_transfer';
COMMENT ON FUNCTION @extschema@.bank_transfer(uuid, uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb) IS
  'Moves money from one account to another of the same currency; either may be a house account. expected_version is the source''s, which then must be a customer''s account. Returns the receipt of the source. Errors: BK001 to BK009, BK015 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_transfer(uuid, uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_transfer_to_number(
  from_account uuid,
  to_account_number text,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_transfer_to_number';
COMMENT ON FUNCTION @extschema@.bank_transfer_to_number(uuid, text, @extschema@.bank_money, bigint, text, timestamptz, jsonb) IS
  'Moves money from an account to the customer''s account with this number. Errors: BK001 to BK009, BK015 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_transfer_to_number(uuid, text, @extschema@.bank_money, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_freeze(
  account_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_freeze';
COMMENT ON FUNCTION @extschema@.bank_freeze(uuid, bigint, text, timestamptz, jsonb) IS
  'Stops an active account: until it is unfrozen it refuses every other command with BK002. Errors: BK001, BK006, BK007, BK009, BK010, BK016 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_freeze(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_unfreeze(
  account_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_unfreeze';
COMMENT ON FUNCTION @extschema@.bank_unfreeze(uuid, bigint, text, timestamptz, jsonb) IS
  'Makes a frozen account active again. Errors: BK001, BK006, BK007, BK009, BK010, BK016 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_unfreeze(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_close(
  account_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_close';
COMMENT ON FUNCTION @extschema@.bank_close(uuid, bigint, text, timestamptz, jsonb) IS
  'Closes an active account for good; its balance must be zero and nothing held. Errors: BK001, BK002, BK006, BK007, BK009, BK010, BK016 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_close(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_set_limits(
  account_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  overdraft_limit @extschema@.bank_money DEFAULT NULL,
  balance_limit @extschema@.bank_money DEFAULT NULL,
  remove_balance_limit boolean DEFAULT false
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_set_limits';
COMMENT ON FUNCTION @extschema@.bank_set_limits(uuid, bigint, text, timestamptz, jsonb, @extschema@.bank_money, @extschema@.bank_money, boolean) IS
  'Changes the limits of an active account; one that is left out stays as it is. overdraft_limit: the balance may fall to minus this. balance_limit: the balance may rise to this; remove_balance_limit removes it. The balance, less what is held, must be within them. Errors: BK001 to BK003, BK005 to BK009, BK016 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_set_limits(uuid, bigint, text, timestamptz, jsonb, @extschema@.bank_money, @extschema@.bank_money, boolean) FROM PUBLIC;


-- Holds: money that is reserved, and then captured, released or expired.

CREATE FUNCTION @extschema@.bank_hold(
  account_id uuid,
  amount @extschema@.bank_money,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  expires_in interval DEFAULT '7 days'
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_hold';
COMMENT ON FUNCTION @extschema@.bank_hold(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, interval) IS
  'Reserves money of a customer''s account: it stays on the balance and is not available until the hold is captured, released or expires. The event_id of the receipt is the identifier of the hold. expires_in: greater than zero, at most ten years; a day has 24 hours, a month 30 days. Errors: BK001 to BK009, BK013, BK016 to BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_hold(uuid, @extschema@.bank_money, bigint, text, timestamptz, jsonb, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_capture(
  hold_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL,
  amount @extschema@.bank_money DEFAULT NULL,
  to_account uuid DEFAULT NULL,
  house_account text DEFAULT 'cash'
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_capture';
COMMENT ON FUNCTION @extschema@.bank_capture(uuid, bigint, text, timestamptz, jsonb, @extschema@.bank_money, uuid, text) IS
  'Moves held money, or an amount that is a part of it, to an account, or without to_account to a house account; the rest is free again. expected_version is that of the hold''s account. Errors: BK001 to BK003, BK005 to BK008, BK013, BK015 to BK019, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_capture(uuid, bigint, text, timestamptz, jsonb, @extschema@.bank_money, uuid, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_release(
  hold_id uuid,
  expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL,
  occurred_at timestamptz DEFAULT NULL,
  metadata jsonb DEFAULT NULL
) RETURNS @extschema@.bank_receipt
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_release';
COMMENT ON FUNCTION @extschema@.bank_release(uuid, bigint, text, timestamptz, jsonb) IS
  'Frees held money; also on a frozen account. expected_version is that of the hold''s account. Errors: BK006, BK007, BK013, BK016, BK017, BK018, BK021.';
REVOKE ALL ON FUNCTION @extschema@.bank_release(uuid, bigint, text, timestamptz, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_expire_holds(max_holds integer DEFAULT 1000) RETURNS bigint
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_expire_holds';
COMMENT ON FUNCTION @extschema@.bank_expire_holds(integer) IS
  'Records hold.expired for holds whose time is over, those that wait longest first, and all of their accounts with them; returns how many. Nothing depends on it: expired holds reserve nothing. It makes the events come soon, for those who wait for them. max_holds is 1 to 65536. Errors: 22023.';
REVOKE ALL ON FUNCTION @extschema@.bank_expire_holds(integer) FROM PUBLIC;
