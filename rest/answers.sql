-- How a function of bank_api answers: it returns the body and leaves status and headers in
-- the two settings that PostgREST reads. A refusal is an answer too, not an error: what is
-- raised would take back what must stay, such as an outcome stored under an idempotency key.

CREATE FUNCTION bank_rest.answer(status integer, body json, headers json DEFAULT NULL) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM set_config('response.status', status::text, true);
  IF headers IS NOT NULL THEN
    PERFORM set_config('response.headers', headers::text, true);
  END IF;
  RETURN body;
END $$;
COMMENT ON FUNCTION bank_rest.answer(integer, json, json) IS
  'Sets status and headers (an array of objects with one member) of the answer; returns its body.';

CREATE FUNCTION bank_rest.status_of(code text, message text) RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE
    WHEN code IN ('BK001', 'BK027') OR message = 'Hold not found' THEN 404
    WHEN code IN ('BK002', 'BK006', 'BK007', 'BK010', 'BK011') THEN 409
    WHEN code = 'BK013' AND message <> 'Invalid expiry of a hold' THEN 409
    WHEN code IN ('42501', 'BK035') THEN 403
    WHEN code LIKE 'BK%' THEN 422
    WHEN code = 'bad_request' THEN 400
    WHEN code = 'invalid_credentials' THEN 401
    WHEN code = 'locked_out' THEN 429
    WHEN code LIKE 'invalid%' THEN 422
    -- data that no check of ours has found
    WHEN code LIKE '22%' OR code LIKE '54%' THEN 422
    -- connections, transactions, resources, locks, time-outs, standbys
    ELSE 503 END;
END;
COMMENT ON FUNCTION bank_rest.status_of(text, text) IS 'The HTTP status of a refusal.';

CREATE FUNCTION bank_rest.refuse(
  code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL,
  path text DEFAULT NULL, retry_after integer DEFAULT NULL
) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  status integer := bank_rest.status_of(code, message);
BEGIN
  -- What goes wrong inside is for the server's log.
  IF status = 503 THEN
    RAISE LOG 'request not carried out: % %', code, message USING DETAIL = COALESCE(detail, '');
    RETURN bank_rest.answer(503,
      json_build_object('code', 'unavailable', 'message', 'Service unavailable',
                        'detail', 'Try again.'), '[{"Retry-After": "1"}]');
  END IF;
  RETURN bank_rest.answer(status,
    json_strip_nulls(json_build_object(
      'code', CASE code WHEN '42501' THEN 'forbidden' ELSE code END,
      'message', CASE code WHEN '42501' THEN 'Forbidden' ELSE message END,
      'detail', CASE code WHEN '42501' THEN 'Your role may not do this.'
                ELSE NULLIF(detail, '') END,
      'hint', NULLIF(hint, ''), 'path', path)),
    CASE WHEN retry_after IS NOT NULL
         THEN json_build_array(json_build_object('Retry-After', retry_after::text)) END);
END $$;
COMMENT ON FUNCTION bank_rest.refuse(text, text, text, text, text, integer) IS
  'Answers with a refusal: an SQLSTATE or a word as its code.';

CREATE FUNCTION bank_rest.header(name text) RETURNS text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT NULLIF(NULLIF(pg_catalog.current_setting('request.headers', true), '')::json ->> name, '');
END;
COMMENT ON FUNCTION bank_rest.header(text) IS 'A header of the request, name in lower case.';

CREATE FUNCTION bank_rest.subject() RETURNS uuid
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT (NULLIF(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid;
END;
COMMENT ON FUNCTION bank_rest.subject() IS 'The user of the request: claim sub.';

CREATE FUNCTION bank_rest.profile() RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.profile FROM bank_rest.roles AS r
  WHERE r.role_name
        = NULLIF(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'role';
END;
COMMENT ON FUNCTION bank_rest.profile() IS 'What the role of the request is for.';

CREATE FUNCTION bank_rest.body_of(body bytea) RETURNS jsonb
  LANGUAGE plpgsql IMMUTABLE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN convert_from(body, 'UTF8')::jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;
COMMENT ON FUNCTION bank_rest.body_of(bytea) IS 'The body of a request as JSON; null: it is none.';
