-- POST auth/login

CREATE FUNCTION bank_api.login(bytea) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  request jsonb := bank_rest.body_of($1);
  outcome record;
BEGIN
  IF request IS NULL OR jsonb_typeof(request) <> 'object' THEN
    RETURN bank_rest.refuse('bad_request', 'Bad request', 'The body is not a JSON object.');
  END IF;
  IF jsonb_typeof(request -> 'email') IS DISTINCT FROM 'string'
     OR jsonb_typeof(request -> 'password') IS DISTINCT FROM 'string' THEN
    RETURN bank_rest.refuse('invalid_request', 'Invalid request',
                            'Give "email" and "password", both strings.');
  END IF;
  SELECT l.token, l.expires_in, l.retry_after INTO outcome
  FROM bank_rest.login(request ->> 'email', request ->> 'password') AS l;
  IF outcome.retry_after IS NOT NULL THEN
    RETURN bank_rest.refuse('locked_out', 'Too many failed logins', NULL, 'Try again later.',
                            retry_after => outcome.retry_after);
  ELSIF outcome.token IS NULL THEN
    RETURN bank_rest.refuse('invalid_credentials', 'E-mail or password is wrong');
  END IF;
  RETURN bank_rest.answer(200,
    json_build_object('access_token', outcome.token, 'token_type', 'Bearer',
                      'expires_in', outcome.expires_in), '[{"Cache-Control": "no-store"}]');
EXCEPTION WHEN query_canceled OR OTHERS THEN
  RETURN bank_rest.refuse(SQLSTATE, SQLERRM);
END $$;
COMMENT ON FUNCTION bank_api.login(bytea) IS
  'POST auth/login: {"email", "password"} → 200 {"access_token", "token_type", "expires_in"}; 401 when they do not fit, 429 with Retry-After after too many failures.';
