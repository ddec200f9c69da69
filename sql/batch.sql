-- Many transfers in one call.

CREATE TYPE @extschema@.bank_order_result AS (
  ordinal integer,
  ok boolean,
  code text,
  message text,
  detail text,
  event_id uuid,
  replayed boolean
);
COMMENT ON TYPE @extschema@.bank_order_result IS 'What became of one order of a batch.';
COMMENT ON COLUMN @extschema@.bank_order_result.ordinal IS 'Place of the order in the arrays, from 1.';
COMMENT ON COLUMN @extschema@.bank_order_result.ok IS 'Was the order accepted?';
COMMENT ON COLUMN @extschema@.bank_order_result.code IS 'SQLSTATE of the refusal; null when accepted.';
COMMENT ON COLUMN @extschema@.bank_order_result.message IS 'Message of the refusal.';
COMMENT ON COLUMN @extschema@.bank_order_result.detail IS 'Detail of the refusal; for a member of a failed chain, which order failed and why.';
COMMENT ON COLUMN @extschema@.bank_order_result.event_id IS 'The event, the transaction id; null when refused.';
COMMENT ON COLUMN @extschema@.bank_order_result.replayed IS 'True when an earlier order with the same idempotency key had this outcome.';

CREATE FUNCTION @extschema@.bank_post_transfers(
  from_accounts uuid[],
  to_accounts uuid[],
  amounts @extschema@.bank_money[],
  idempotency_keys text[] DEFAULT NULL,
  linked boolean[] DEFAULT NULL,
  occurred_at timestamptz[] DEFAULT NULL,
  metadata jsonb[] DEFAULT NULL
) RETURNS SETOF @extschema@.bank_order_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'bank_sql_post_transfers';
COMMENT ON FUNCTION @extschema@.bank_post_transfers(uuid[], uuid[], @extschema@.bank_money[], text[], boolean[], timestamptz[], jsonb[]) IS
  'Posts up to 65536 transfers, in the order of the arrays, as single bank_transfer calls would: each order sees what the accepted ones before it did, one that is refused touches nothing and says why in its row. linked (true on every member of a chain but the last) makes orders all-or-nothing: when one fails, the others fail with BK023. House accounts may stand on either side. Errors for the call as a whole: BK024.';
REVOKE ALL ON FUNCTION @extschema@.bank_post_transfers(uuid[], uuid[], @extschema@.bank_money[], text[], boolean[], timestamptz[], jsonb[]) FROM PUBLIC;
