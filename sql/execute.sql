-- Commands as JSON, which answer instead of raising.

CREATE FUNCTION @extschema@.bank_execute(jsonb) RETURNS jsonb
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_execute';
COMMENT ON FUNCTION @extschema@.bank_execute(jsonb) IS
  'Runs a command given as a JSON object: "command" names it (create_account, create_house_account, deposit, withdraw, transfer, freeze, unfreeze, close, set_limits, hold, capture, release, send, cancel_transfer, resolve_transfer, receive, cancel_received), the other members are its arguments, money as text such as "100.00 HTG". Answers {"ok":true, …} with the receipt, or {"ok":false,"code":…,"message":…}; a malformed command is answered with BK025, BK008 or BK014 and the path of the member at fault. Under an idempotency key a refusal is an outcome too, stored and replayed.';
REVOKE ALL ON FUNCTION @extschema@.bank_execute(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_execute_batch(commands jsonb[]) RETURNS jsonb[]
  LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_sql_execute_batch';
COMMENT ON FUNCTION @extschema@.bank_execute_batch(jsonb[]) IS
  'Runs commands one after the other, each as bank_execute does, and returns their answers in the same order; all in the caller''s transaction, after locking every customer''s account they name, in identifier order. At most 65536 commands. Errors: BK024.';
REVOKE ALL ON FUNCTION @extschema@.bank_execute_batch(jsonb[]) FROM PUBLIC;
