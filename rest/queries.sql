-- The routes that read: GET, with everything in the query. PostgREST runs them in a read-only
-- transaction. Arguments are text, so that what is wrong with them is answered here.

CREATE FUNCTION bank_rest.number_of(name text, value text, fallback integer) RETURNS integer
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF COALESCE(value, '') = '' THEN
    RETURN fallback;
  ELSIF value !~ '^[0-9]{1,9}$' THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'Invalid parameter',
      DETAIL = format('%s must be a whole number.', name);
  END IF;
  RETURN value::integer;
END $$;
COMMENT ON FUNCTION bank_rest.number_of(text, text, integer) IS 'A whole number of the query.';

CREATE FUNCTION bank_rest.date_of(name text, value text, fallback date DEFAULT NULL) RETURNS date
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF COALESCE(value, '') = '' THEN
    RETURN fallback;
  ELSIF value !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'Invalid parameter',
      DETAIL = format('%s must be a date, YYYY-MM-DD.', name);
  END IF;
  RETURN make_date(left(value, 4)::integer, substr(value, 6, 2)::integer, right(value, 2)::integer);
EXCEPTION WHEN datetime_field_overflow THEN
  RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'Invalid parameter',
    DETAIL = format('%s is no day of the calendar.', name);
END $$;
COMMENT ON FUNCTION bank_rest.date_of(text, text, date) IS 'A day of the query, as ISO 8601 writes it.';

CREATE FUNCTION bank_rest.uuid_of(value text) RETURNS uuid
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT bank_rest.is_uuid(to_jsonb(value)) THEN
    RAISE EXCEPTION USING ERRCODE = 'BK001', MESSAGE = 'Account not found',
      DETAIL = 'An account has a UUID.';
  END IF;
  RETURN value::uuid;
END $$;
COMMENT ON FUNCTION bank_rest.uuid_of(text) IS 'An identifier of the query.';

CREATE FUNCTION bank_rest.refuse_query(
  sqlstate_raised text, message text, detail text, hint text
) RETURNS json
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE sqlstate_raised
    WHEN '22023' THEN bank_rest.refuse('invalid_parameter', 'Invalid parameter',
                                       COALESCE(NULLIF(detail, ''), message), hint)
    ELSE bank_rest.refuse(sqlstate_raised, message, detail, hint) END;
END;
COMMENT ON FUNCTION bank_rest.refuse_query(text, text, text, text) IS
  'The answer to a query that was refused with an error.';

CREATE FUNCTION bank_api.accounts(owner_id text, page text, page_size text) RETURNS json
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  page_number integer;
  size integer;
  detail text;
  hint text;
BEGIN
  page_number := bank_rest.number_of('page', page, 1);
  size := bank_rest.number_of('page_size', page_size, 50);
  IF page_number < 1 OR size NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'Invalid parameter',
      DETAIL = 'page begins with 1, page_size is 1 to 1000.';
  END IF;
  IF bank_rest.profile() = 'customer' OR owner_id <> '' THEN
    RETURN bank_rest.answer(200, (
      SELECT COALESCE(json_agg(p.account), '[]')
      FROM (SELECT a.account
            FROM bank_rest.accounts_of(CASE WHEN owner_id <> '' THEN bank_rest.uuid_of(owner_id)
                                            ELSE bank_rest.subject() END) AS a(account)
            OFFSET (page_number::bigint - 1) * size LIMIT size) AS p));
  END IF;
  RETURN bank_rest.answer(200, (SELECT COALESCE(json_agg(a.account), '[]')
                                FROM bank_rest.all_accounts(page_number, size) AS a(account)));
EXCEPTION WHEN query_canceled OR OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN bank_rest.refuse_query(SQLSTATE, SQLERRM, detail, hint);
END $$;
COMMENT ON FUNCTION bank_api.accounts(text, text, text) IS
  'GET accounts?owner_id&page&page_size → 200, an array: a customer''s own accounts; for others all customers'' accounts, or those of an owner.';

CREATE FUNCTION bank_api.account(account_id text) RETURNS json
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  detail text;
  hint text;
BEGIN
  RETURN bank_rest.answer(200, bank_rest.account(bank_rest.uuid_of(account_id)));
EXCEPTION WHEN query_canceled OR OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN bank_rest.refuse_query(SQLSTATE, SQLERRM, detail, hint);
END $$;
COMMENT ON FUNCTION bank_api.account(text) IS
  'GET accounts/{id} → 200, the account; 404 when there is none that the caller may see.';

CREATE FUNCTION bank_api.transactions(
  account_id text, from_date text, to_date text, page text, page_size text
) RETURNS json
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  detail text;
  hint text;
BEGIN
  RETURN bank_rest.answer(200, (
    SELECT COALESCE(json_agg(t.movement), '[]')
    FROM bank_rest.transactions(
      bank_rest.uuid_of(account_id),
      bank_rest.date_of('from_date', from_date), bank_rest.date_of('to_date', to_date),
      bank_rest.number_of('page', page, 1), bank_rest.number_of('page_size', page_size, 50)
    ) AS t(movement)));
EXCEPTION WHEN query_canceled OR OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN bank_rest.refuse_query(SQLSTATE, SQLERRM, detail, hint);
END $$;
COMMENT ON FUNCTION bank_api.transactions(text, text, text, text, text) IS
  'GET accounts/{id}/transactions?from_date&to_date&page&page_size → 200, an array of movements, newest first, with the running balance.';

CREATE FUNCTION bank_api.statement(account_id text, from_date text, to_date text) RETURNS json
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  last_day date;
  detail text;
  hint text;
BEGIN
  last_day := bank_rest.date_of('to_date', to_date, CURRENT_DATE);
  RETURN bank_rest.answer(200, (
    SELECT COALESCE(json_agg(s.line), '[]')
    FROM bank_rest.statement(
      bank_rest.uuid_of(account_id),
      bank_rest.date_of('from_date', from_date, date_trunc('month', last_day)::date), last_day
    ) AS s(line)));
EXCEPTION WHEN query_canceled OR OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN bank_rest.refuse_query(SQLSTATE, SQLERRM, detail, hint);
END $$;
COMMENT ON FUNCTION bank_api.statement(text, text, text) IS
  'GET accounts/{id}/statement?from_date&to_date → 200, an array of lines: opening balance, movements, closing balance. Left out: the month of to_date until to_date; today.';
