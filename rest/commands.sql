-- The routes that move money and open accounts: POST with a JSON object, which becomes a
-- command of bank_execute. Amounts are strings; "currency" stands beside them, or is that of
-- the account.

CREATE FUNCTION bank_rest.idempotency_key(key text) RETURNS text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  -- Keys of two users never meet. The ledger takes up to 255 bytes.
  SELECT pg_catalog.concat('api:', bank_rest.subject(), ':',
    CASE WHEN pg_catalog.octet_length(key) <= 210 THEN key
         ELSE 'sha256:' || pg_catalog.encode(
           pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex') END)
  WHERE key IS NOT NULL;
END;
COMMENT ON FUNCTION bank_rest.idempotency_key(text) IS
  'A client''s key as the ledger is given it: for this user only.';

CREATE FUNCTION bank_rest.traceparent() RETURNS text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT h.value FROM (SELECT bank_rest.header('traceparent') AS value) AS h
  WHERE h.value ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
    AND h.value !~ '^(ff|[0-9a-f]{2}-0{32}|[0-9a-f]{2}-[0-9a-f]{32}-0{16})';
END;
COMMENT ON FUNCTION bank_rest.traceparent() IS
  'The header traceparent if it is one (W3C Trace Context); one that is not is ignored.';

CREATE FUNCTION bank_rest.is_uuid(value jsonb) RETURNS boolean
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT COALESCE(pg_catalog.jsonb_typeof(value) = 'string'
    AND value #>> '{}' ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$', false);
END;
COMMENT ON FUNCTION bank_rest.is_uuid(jsonb) IS 'Is it a UUID in its usual form?';

-- The amount of a request as the ledger takes it, "100.00 HTG".
CREATE FUNCTION bank_rest.with_currency(request jsonb, account_member text) RETURNS jsonb
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  amount text := request ->> 'amount';
  currency text := request ->> 'currency';
BEGIN
  IF currency IS NULL AND amount !~ '[A-Za-z]'
     AND bank_rest.is_uuid(request -> account_member) THEN
    currency := CASE account_member
      WHEN 'hold_id' THEN bank_rest.currency_of_hold((request ->> account_member)::uuid)
      ELSE bank_rest.currency_of((request ->> account_member)::uuid) END;
  END IF;
  IF jsonb_typeof(request -> 'amount') = 'string' AND currency IS NOT NULL THEN
    request := jsonb_set(request, '{amount}', to_jsonb(concat(amount, ' ', currency)));
  END IF;
  RETURN request - 'currency';
END $$;
COMMENT ON FUNCTION bank_rest.with_currency(jsonb, text) IS
  'The request with its currency inside the amount; where it names none, that of its account or hold.';

-- Customers have no right to bank_execute, a teller's function. Here they get it for what the routes
-- do and no more. The ledger looks at the role of the session, not at the owner of this function: a
-- customer still acts for the own accounts only.
CREATE FUNCTION bank_rest.execute_own(command jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF command ->> 'command' <> ALL ('{create_account,transfer,hold,capture,release}'::text[]) THEN
    RAISE EXCEPTION 'permission denied for this command' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN bank_rest.execute(command);
END $$;
COMMENT ON FUNCTION bank_rest.execute_own(jsonb) IS
  'bank_execute for customers: what the routes do, on their own accounts.';

CREATE FUNCTION bank_rest.cash_role() RETURNS name
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.role_name::name FROM bank_rest.roles AS r, bank_rest.settings AS s
  WHERE r.profile = 'cash' AND s.customers_move_cash;
END;
COMMENT ON FUNCTION bank_rest.cash_role() IS 'The role that moves customers'' cash; null: they move none.';

-- Cash is the bank's: nobody but staff moves it. So that customers can, as at a cash machine, the
-- session takes a role that has a teller's profile, once it is known that the account is the
-- customer's, and gives it back. Only a session of the authenticator can take it.
CREATE FUNCTION bank_rest.execute_cash(command jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  caller name := current_user;
  cash name := bank_rest.cash_role();
  answer jsonb;
BEGIN
  IF cash IS NULL OR command ->> 'command' <> ALL ('{deposit,withdraw}'::text[])
     OR command ? 'house_account' THEN
    RAISE EXCEPTION 'permission denied for this command' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF bank_rest.is_uuid(command -> 'account_id') THEN
    PERFORM bank_rest.account((command ->> 'account_id')::uuid);
  END IF;
  PERFORM set_config('role', cash, true);
  answer := bank_rest.execute(command);
  PERFORM set_config('role', caller, true);
  RETURN answer;
END $$;
COMMENT ON FUNCTION bank_rest.execute_cash(jsonb) IS
  'A deposit or withdrawal by a customer, on the customer''s own account; BK001 for any other.';

-- Carry a command out with the rights of whoever asks.
CREATE FUNCTION bank_rest.execute_as(profile text, command jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF profile IS DISTINCT FROM 'customer' THEN
    RETURN bank_rest.execute(command);
  ELSIF command ->> 'command' IN ('deposit', 'withdraw') THEN
    RETURN bank_rest.execute_cash(command);
  END IF;
  RETURN bank_rest.execute_own(command);
END $$;
COMMENT ON FUNCTION bank_rest.execute_as(text, jsonb) IS 'bank_execute, by the way that a profile has to it.';

CREATE FUNCTION bank_rest.run(
  command text, body bytea, members text[], account_member text, status integer
) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  request jsonb := bank_rest.body_of(body);
  subject uuid := bank_rest.subject();
  trace text := bank_rest.traceparent();
  answer jsonb;
  surplus text;
  detail text;
  hint text;
BEGIN
  IF request IS NULL OR jsonb_typeof(request) <> 'object' THEN
    RETURN bank_rest.refuse('bad_request', 'Bad request', 'The body is not a JSON object.');
  END IF;
  SELECT min(k.key) INTO surplus FROM jsonb_object_keys(request) AS k(key)
  WHERE k.key <> ALL (members);
  IF surplus IS NOT NULL THEN
    RETURN bank_rest.refuse('BK025', 'Invalid command', 'This request has no such member.', NULL,
      '/' || replace(replace(surplus, '~', '~0'), '/', '~1'));
  END IF;
  request := jsonb_strip_nulls(request - 'metadata')
    || CASE WHEN jsonb_typeof(request -> 'metadata') <> 'null'
            THEN jsonb_build_object('metadata', request -> 'metadata') ELSE '{}' END;

  IF command = 'create_account' THEN
    IF bank_rest.profile() = 'customer' AND NOT request ? 'owner_id' THEN
      request := request || jsonb_build_object('owner_id', subject);
    END IF;
  ELSE
    IF request ? 'currency' AND jsonb_typeof(request -> 'currency') <> 'string' THEN
      RETURN bank_rest.refuse('BK025', 'Invalid command', 'A string is expected.', NULL,
                              '/currency');
    END IF;
    request := bank_rest.with_currency(request, account_member);
  END IF;
  IF trace IS NOT NULL THEN
    request := CASE
      WHEN NOT request ? 'metadata'
      THEN request || jsonb_build_object('metadata', jsonb_build_object('traceparent', trace))
      WHEN jsonb_typeof(request -> 'metadata') = 'object'
      THEN jsonb_set(request, '{metadata,traceparent}', to_jsonb(trace))
      ELSE request END;
  END IF;

  request := request || jsonb_build_object('command', command);
  IF bank_rest.header('idempotency-key') IS NOT NULL THEN
    request := request || jsonb_build_object(
      'idempotency_key', bank_rest.idempotency_key(bank_rest.header('idempotency-key')));
  END IF;
  answer := bank_rest.execute_as(bank_rest.profile(), request);
  IF NOT (answer ->> 'ok')::boolean THEN
    RETURN bank_rest.refuse(answer ->> 'code', answer ->> 'message',
                            replace(answer ->> 'detail', concat('api:', subject, ':'), ''),
                            answer ->> 'hint', answer ->> 'path');
  END IF;
  RETURN bank_rest.accept(command, request, answer, status);
EXCEPTION WHEN query_canceled OR OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN bank_rest.refuse(SQLSTATE, SQLERRM, detail, hint);
END $$;
COMMENT ON FUNCTION bank_rest.run(text, bytea, text[], text, integer) IS
  'Carries out a command that a route was given: which members it takes, which of them names the account, and the status when it is accepted.';

-- A repeated answer must not differ in a byte: everything in it comes from the event.
CREATE FUNCTION bank_rest.accept(
  command text, request jsonb, answer jsonb, status integer
) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  body json;
  headers jsonb := '[]';
BEGIN
  IF answer ->> 'event_type' = 'approval.requested' THEN
    status := 202;
    body := json_build_object(
      'request_id', answer -> 'request_id', 'event_type', answer -> 'event_type',
      'account_id', answer -> 'account_id', 'amount', answer -> 'amount',
      'currency', answer -> 'currency', 'position', answer -> 'position',
      'recorded_at', answer -> 'recorded_at');
  ELSIF command = 'create_account' THEN
    body := json_build_object(
      'account_id', answer -> 'account_id', 'account_number', answer -> 'account_number',
      'owner_id', request -> 'owner_id', 'account_type', answer -> 'account_type',
      'currency', answer -> 'currency', 'status', 'ACTIVE', 'balance', answer -> 'balance',
      'held', answer -> 'balance', 'available', answer -> 'balance',
      'version', answer -> 'version', 'created_at', answer -> 'recorded_at');
    headers := jsonb_build_array(jsonb_build_object(
      'Location', '/api/v1/accounts/' || (answer ->> 'account_id')));
  ELSE
    body := json_strip_nulls(json_build_object(
      'transaction_id', CASE WHEN command NOT IN ('hold', 'release') THEN answer -> 'event_id' END,
      'hold_id', CASE command WHEN 'hold' THEN answer -> 'event_id' ELSE request -> 'hold_id' END,
      'event_type', answer -> 'event_type', 'account_id', answer -> 'account_id',
      'amount', answer -> 'amount', 'currency', answer -> 'currency',
      'balance', answer -> 'balance', 'version', answer -> 'version',
      'position', answer -> 'position', 'recorded_at', answer -> 'recorded_at'));
  END IF;
  IF (answer ->> 'replayed')::boolean THEN
    headers := headers || jsonb '{"Idempotency-Replayed": "true"}';
  END IF;
  RETURN bank_rest.answer(status, body, headers::json);
END $$;
COMMENT ON FUNCTION bank_rest.accept(text, jsonb, jsonb, integer) IS 'The answer to an accepted command; 202 to one that waits for somebody else''s approval.';

CREATE FUNCTION bank_api.create_account(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('create_account', $1, '{account_type,currency,owner_id,metadata}', NULL, 201);
END;
COMMENT ON FUNCTION bank_api.create_account(bytea) IS
  'POST accounts: {"account_type", "currency"[, "owner_id", "metadata"]} → 201, Location, the account. A customer opens accounts for nobody else; a teller names the owner.';

CREATE FUNCTION bank_api.deposit(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('deposit', $1, '{account_id,amount,currency,expected_version,metadata}',
                       'account_id', 201);
END;
COMMENT ON FUNCTION bank_api.deposit(bytea) IS
  'POST deposits: {"account_id", "amount"[, "currency", "expected_version", "metadata"]} → 201, the receipt.';

CREATE FUNCTION bank_api.withdraw(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('withdraw', $1, '{account_id,amount,currency,expected_version,metadata}',
                       'account_id', 201);
END;
COMMENT ON FUNCTION bank_api.withdraw(bytea) IS
  'POST withdrawals: {"account_id", "amount"[, "currency", "expected_version", "metadata"]} → 201, the receipt.';

CREATE FUNCTION bank_api.transfer(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('transfer', $1,
    '{from_account,to_account,to_account_number,amount,currency,expected_version,metadata}', 'from_account', 201);
END;
COMMENT ON FUNCTION bank_api.transfer(bytea) IS
  'POST transfers: {"from_account", "to_account" or "to_account_number", "amount"[, "currency", "expected_version", "metadata"]} → 201, the receipt of the source.';

CREATE FUNCTION bank_api.hold(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('hold', $1,
    '{account_id,amount,currency,expires_in,expected_version,metadata}', 'account_id', 201);
END;
COMMENT ON FUNCTION bank_api.hold(bytea) IS
  'POST holds: {"account_id", "amount"[, "currency", "expires_in", "expected_version", "metadata"]} → 201, the receipt with the hold_id.';

CREATE FUNCTION bank_api.capture(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('capture', $1,
    '{hold_id,amount,currency,to_account,expected_version,metadata}', 'hold_id', 200);
END;
COMMENT ON FUNCTION bank_api.capture(bytea) IS
  'POST holds/capture: {"hold_id"[, "amount", "currency", "to_account", "expected_version", "metadata"]} → 200, the receipt.';

CREATE FUNCTION bank_api.release(bytea) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank_rest.run('release', $1, '{hold_id,expected_version,metadata}', 'hold_id', 200);
END;
COMMENT ON FUNCTION bank_api.release(bytea) IS
  'POST holds/release: {"hold_id"[, "expected_version", "metadata"]} → 200, the receipt.';
