-- Queries: they never write, and run on standbys. They run with the rights of
-- the ledger's owner and a fixed search_path; nobody but the owner may call them
-- until EXECUTE is granted.
--
-- Times: "business time" is occurred_at where one was given, else recorded_at.
-- Days are those of the session's TimeZone.

CREATE TYPE @extschema@.bank_balance_row AS (
  account_id uuid,
  currency text,
  balance numeric,
  held numeric,
  available numeric,
  version bigint
);
COMMENT ON TYPE @extschema@.bank_balance_row IS 'Current balance of an account.';
COMMENT ON COLUMN @extschema@.bank_balance_row.account_id IS 'The account.';
COMMENT ON COLUMN @extschema@.bank_balance_row.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_balance_row.balance IS 'Posted balance, signed.';
COMMENT ON COLUMN @extschema@.bank_balance_row.held IS 'Part of it that holds reserve.';
COMMENT ON COLUMN @extschema@.bank_balance_row.available IS 'Balance less what is held, plus the overdraft limit; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_balance_row.version IS 'Version of the account.';

CREATE TYPE @extschema@.bank_balance_then AS (
  account_id uuid,
  currency text,
  balance numeric,
  held numeric,
  available numeric,
  version bigint
);
COMMENT ON TYPE @extschema@.bank_balance_then IS 'Balance of an account at a moment of the past.';
COMMENT ON COLUMN @extschema@.bank_balance_then.account_id IS 'The account.';
COMMENT ON COLUMN @extschema@.bank_balance_then.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_balance_then.balance IS 'Posted balance, signed.';
COMMENT ON COLUMN @extschema@.bank_balance_then.held IS 'Part of it that holds reserved; one whose time was over reserved nothing.';
COMMENT ON COLUMN @extschema@.bank_balance_then.available IS 'Balance less what was held, plus the overdraft limit of then; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_balance_then.version IS 'Version of the account then; back-dated movements recorded later are in the balance all the same.';

CREATE TYPE @extschema@.bank_transaction AS (
  version bigint,
  position bigint,
  event_id uuid,
  event_type text,
  amount numeric,
  currency text,
  balance numeric,
  other_account_id uuid,
  occurred_at timestamptz,
  recorded_at timestamptz,
  metadata jsonb
);
COMMENT ON TYPE @extschema@.bank_transaction IS 'A movement as one of its two accounts sees it.';
COMMENT ON COLUMN @extschema@.bank_transaction.version IS 'Version of the account after the movement; what before_version takes.';
COMMENT ON COLUMN @extschema@.bank_transaction.position IS 'Position of the event in the global order.';
COMMENT ON COLUMN @extschema@.bank_transaction.event_id IS 'Transaction id.';
COMMENT ON COLUMN @extschema@.bank_transaction.event_type IS 'money.deposited, money.withdrawn, transfer.completed or hold.captured.';
COMMENT ON COLUMN @extschema@.bank_transaction.amount IS 'Signed: positive when money came, negative when it left.';
COMMENT ON COLUMN @extschema@.bank_transaction.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_transaction.balance IS 'Balance after the movement, in the order of recording; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_transaction.other_account_id IS 'The account on the other side.';
COMMENT ON COLUMN @extschema@.bank_transaction.occurred_at IS 'Business time.';
COMMENT ON COLUMN @extschema@.bank_transaction.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN @extschema@.bank_transaction.metadata IS 'What the caller added to the command.';

CREATE TYPE @extschema@.bank_statement_line AS (
  line integer,
  entry text,
  occurred_at timestamptz,
  event_id uuid,
  event_type text,
  debit numeric,
  credit numeric,
  balance numeric,
  currency text,
  metadata jsonb
);
COMMENT ON TYPE @extschema@.bank_statement_line IS 'A line of an account statement.';
COMMENT ON COLUMN @extschema@.bank_statement_line.line IS '0 for the opening balance, then 1, 2, 3, …';
COMMENT ON COLUMN @extschema@.bank_statement_line.entry IS 'opening, movement or closing.';
COMMENT ON COLUMN @extschema@.bank_statement_line.occurred_at IS 'Business time of the movement; the bounds of the period on the first and last line.';
COMMENT ON COLUMN @extschema@.bank_statement_line.event_id IS 'Transaction id of the movement.';
COMMENT ON COLUMN @extschema@.bank_statement_line.event_type IS 'money.deposited, money.withdrawn, transfer.completed or hold.captured.';
COMMENT ON COLUMN @extschema@.bank_statement_line.debit IS 'Money that left; on the closing line the total.';
COMMENT ON COLUMN @extschema@.bank_statement_line.credit IS 'Money that came; on the closing line the total.';
COMMENT ON COLUMN @extschema@.bank_statement_line.balance IS 'Balance after this line, in the order of business time.';
COMMENT ON COLUMN @extschema@.bank_statement_line.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_statement_line.metadata IS 'What the caller added to the command.';

-- Helpers in schema bank.

CREATE FUNCTION bank.logical_account(account_id uuid) RETURNS uuid
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT COALESCE(a.house_account_id, a.account_id) FROM bank.accounts AS a
  WHERE a.account_id = logical_account.account_id;
END;
COMMENT ON FUNCTION bank.logical_account(uuid) IS 'The house account of a stripe; any other account itself.';

-- Before the error, which somebody may catch.
CREATE FUNCTION bank.log_denied(account_id uuid, object_name text) RETURNS void
  LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_log_denied';
COMMENT ON FUNCTION bank.log_denied(uuid, text) IS 'Writes into the log that a customer has asked for an account that it has not.';

CREATE FUNCTION bank.require_account(account_id uuid, object_name text) RETURNS uuid
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  account uuid;
BEGIN
  IF account_id IS NULL THEN
    RAISE EXCEPTION 'Missing argument' USING ERRCODE = 'BK021', DETAIL = 'account_id must not be null.';
  END IF;
  account := bank.logical_account(account_id);
  IF account IS NULL AND EXISTS (
       SELECT FROM bank.accounts AS a WHERE a.house_account_id = require_account.account_id) THEN
    account := account_id;
  END IF;
  IF account IS NULL OR NOT bank.sees_account(account_id, object_name) THEN
    IF NOT bank.sees_all(object_name) THEN
      PERFORM bank.log_denied(account_id, object_name);
    END IF;
    RAISE EXCEPTION 'Account not found' USING ERRCODE = 'BK001',
      DETAIL = pg_catalog.format('Account: %s', account_id);
  END IF;
  RETURN account;
END
$$;
COMMENT ON FUNCTION bank.require_account(uuid, text) IS 'The account, or for a stripe its house account; raises BK021 for null and BK001 for an account that does not exist.';

-- The latest business time among the movements and holds up to a version is what makes a
-- binary search possible: it never decreases. A back-dated one knows it;
-- for another one it is its own; an event that is neither has that of
-- the one before it.
CREATE FUNCTION bank.latest_business_time(account_id uuid, version bigint) RETURNS timestamptz
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  event record;
  latest timestamptz;
BEGIN
  LOOP
    SELECT s.amount, s.business_at INTO event FROM bank.stream AS s
    WHERE s.account_id = latest_business_time.account_id AND s.version = latest_business_time.version;
    IF NOT FOUND THEN
      RETURN '-infinity';
    END IF;
    IF event.amount IS NOT NULL THEN
      SELECT b.latest_before INTO latest FROM bank.backdated_movements AS b
      WHERE b.account_id = latest_business_time.account_id AND b.version = latest_business_time.version;
      RETURN COALESCE(latest, event.business_at);
    END IF;
    version := version - 1;
  END LOOP;
END
$$;
COMMENT ON FUNCTION bank.latest_business_time(uuid, bigint) IS
  'Latest business time among the movements and holds of a stream up to a version; -infinity when there is none.';

CREATE FUNCTION bank.version_at(account_id uuid, at timestamptz, as_recorded boolean) RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  low bigint := 0;
  high bigint;
  middle bigint;
  moment timestamptz;
BEGIN
  SELECT a.version INTO high FROM bank.accounts AS a WHERE a.account_id = version_at.account_id;
  WHILE low < high LOOP
    middle := (low + high + 1) / 2;
    IF as_recorded THEN
      SELECT s.recorded_at INTO moment FROM bank.stream AS s
      WHERE s.account_id = version_at.account_id AND s.version = middle;
    ELSE
      moment := bank.latest_business_time(account_id, middle);
    END IF;
    IF moment <= at THEN
      low := middle;
    ELSE
      high := middle - 1;
    END IF;
  END LOOP;
  RETURN low;
END
$$;
COMMENT ON FUNCTION bank.version_at(uuid, timestamptz, boolean) IS
  'The last version of a stream whose event was recorded, or all whose movements and holds occurred, not after a moment. Binary search: O(log n) of the stream.';

CREATE FUNCTION bank.last_version_until(account_id uuid, since timestamptz, until timestamptz) RETURNS bigint
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN GREATEST(
    bank.version_at(account_id, until - interval '1 microsecond', false),
    (SELECT pg_catalog.max(b.version) FROM bank.backdated_movements AS b
     WHERE b.account_id = last_version_until.account_id
       AND b.business_at >= since AND b.business_at < until));
END
$$;
COMMENT ON FUNCTION bank.last_version_until(uuid, timestamptz, timestamptz) IS
  'No movement of the stream with a business time from since up to but not including until has a higher version.';

CREATE FUNCTION bank.balance_at(account_id uuid, at timestamptz, as_recorded boolean,
                                OUT version bigint, OUT balance bigint, OUT held bigint)
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  later record;
  next_version bigint;
BEGIN
  version := bank.version_at(account_id, at, as_recorded);
  SELECT s.balance, s.held INTO balance, held FROM bank.stream AS s
  WHERE s.account_id = balance_at.account_id AND s.version = balance_at.version;
  balance := COALESCE(balance, 0);
  held := COALESCE(held, 0);
  IF NOT as_recorded THEN
    SELECT pg_catalog.sum(b.amount) AS amount, pg_catalog.sum(b.held) AS held INTO later
    FROM bank.backdated_movements AS b
    WHERE b.account_id = balance_at.account_id AND b.version > balance_at.version
      AND b.business_at <= at;
    balance := balance + COALESCE(later.amount, 0);
    held := held + COALESCE(later.held, 0);
  ELSIF held > 0 THEN
    -- Expired by then, but recorded later: by the very next events of the stream, as
    -- whatever is recorded on an account first expires what is over.
    next_version := version + 1;
    LOOP
      SELECT e.event_type, e.amount, e.occurred_at INTO later FROM bank.events AS e
      WHERE e.aggregate_id = balance_at.account_id AND e.version = next_version;
      EXIT WHEN NOT FOUND OR later.event_type <> 'hold.expired' OR later.occurred_at > at;
      held := held - later.amount;
      next_version := next_version + 1;
    END LOOP;
  END IF;
  -- expired by then, and not recorded yet
  held := held - COALESCE((
    SELECT pg_catalog.sum(h.amount) FROM bank.holds AS h
    WHERE h.account_id = balance_at.account_id AND h.status = 'OPEN' AND h.expires_at <= at
      AND (as_recorded OR h.created_at <= at)), 0);
END
$$;
COMMENT ON FUNCTION bank.balance_at(uuid, timestamptz, boolean) IS
  'Version, balance and what was held, in minor units, of one account or stripe at a moment; O(log n) of the stream, plus the back-dated movements after it.';

-- Each change of limits names the one before it.
CREATE FUNCTION bank.overdraft_limit_at(account_id uuid, at timestamptz, as_recorded boolean) RETURNS numeric
  LANGUAGE plpgsql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  place bigint;
  event record;
BEGIN
  SELECT a.limits_version INTO place FROM bank.accounts AS a
  WHERE a.account_id = overdraft_limit_at.account_id;
  LOOP
    SELECT e.data ->> 'overdraft_limit' AS overdraft_limit, e.limits_before,
           CASE WHEN as_recorded THEN e.recorded_at ELSE COALESCE(e.occurred_at, e.recorded_at) END AS since
    INTO event FROM bank.events AS e
    WHERE e.aggregate_id = overdraft_limit_at.account_id AND e.version = place;
    IF NOT FOUND THEN
      RETURN NULL;
    END IF;
    IF event.since <= at THEN
      RETURN event.overdraft_limit::numeric;
    END IF;
    place := event.limits_before;
  END LOOP;
END
$$;
COMMENT ON FUNCTION bank.overdraft_limit_at(uuid, timestamptz, boolean) IS
  'The overdraft limit of a customer''s account at a moment; null before it was created.';

-- The public queries.

CREATE FUNCTION @extschema@.bank_account(account_id uuid) RETURNS @extschema@.bank_accounts
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  result record;
BEGIN
  SELECT a.* INTO result FROM bank.account_list AS a
  WHERE a.account_id = bank_account.account_id
    AND (bank.sees_all('bank_account') OR a.owner_id = bank.current_owner());
  IF NOT FOUND THEN
    account_id := bank.require_account(account_id, 'bank_account');
    SELECT a.* INTO result FROM bank.account_list AS a
    WHERE a.account_id = bank_account.account_id;
  END IF;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_account(uuid) IS 'The current state of one account. Errors: BK001, BK021.';

CREATE FUNCTION @extschema@.bank_accounts_of(owner_id uuid) RETURNS SETOF @extschema@.bank_accounts
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT a.* FROM bank.account_list AS a
  WHERE a.owner_id = bank_accounts_of.owner_id
    AND (bank.sees_all('bank_accounts_of') OR a.owner_id = bank.current_owner())
  ORDER BY a.created_at, a.account_id;
END;
COMMENT ON FUNCTION @extschema@.bank_accounts_of(uuid) IS 'The accounts of an owner, oldest first; none for an unknown owner.';

CREATE FUNCTION @extschema@.bank_account_exists(account_id uuid) RETURNS boolean
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank.sees_account(bank_account_exists.account_id, 'bank_account_exists')
     AND (EXISTS (SELECT FROM bank.accounts AS a WHERE a.account_id = bank_account_exists.account_id)
       OR EXISTS (SELECT FROM bank.accounts AS a WHERE a.house_account_id = bank_account_exists.account_id));
END;
COMMENT ON FUNCTION @extschema@.bank_account_exists(uuid) IS 'Is there an account with this identifier? False for null.';

CREATE FUNCTION @extschema@.bank_account_number_valid(account_number text) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_account_number_valid';
COMMENT ON FUNCTION @extschema@.bank_account_number_valid(text) IS
  'Are these twelve digits with the right check digits (ISO 7064 MOD 97-10)? Says nothing about the account''s existence.';

CREATE FUNCTION @extschema@.bank_balance(account_id uuid) RETURNS @extschema@.bank_balance_row
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  result record;
BEGIN
  SELECT a.account_id, a.currency, a.balance, a.held, a.available, a.version INTO result
  FROM bank.account_list AS a WHERE a.account_id = bank_balance.account_id
    AND (bank.sees_all('bank_balance') OR a.owner_id = bank.current_owner());
  IF NOT FOUND THEN
    account_id := bank.require_account(account_id, 'bank_balance');
    SELECT a.account_id, a.currency, a.balance, a.held, a.available, a.version INTO result
    FROM bank.account_list AS a WHERE a.account_id = bank_balance.account_id;
  END IF;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_balance(uuid) IS 'The current balance of an account. Errors: BK001, BK021.';

CREATE FUNCTION @extschema@.bank_balance_at(account_id uuid, at timestamptz, as_recorded boolean DEFAULT false)
  RETURNS @extschema@.bank_balance_then
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  result record;
BEGIN
  account_id := bank.require_account(account_id, 'bank_balance_at');
  IF at IS NULL OR as_recorded IS NULL THEN
    RAISE EXCEPTION 'Missing argument' USING ERRCODE = 'BK021', DETAIL = 'at and as_recorded must not be null.';
  END IF;
  SELECT bank_balance_at.account_id, pg_catalog.max(a.currency),
         pg_catalog.sum(bank.minor_to_numeric(b.balance, a.currency)),
         pg_catalog.sum(bank.minor_to_numeric(b.held, a.currency)),
         CASE WHEN pg_catalog.max(a.house_code) IS NULL THEN
           pg_catalog.sum(bank.minor_to_numeric(b.balance - b.held, a.currency))
             + COALESCE(bank.overdraft_limit_at(bank_balance_at.account_id, at, as_recorded), 0) END,
         pg_catalog.sum(b.version)::bigint
  INTO result
  FROM bank.accounts AS a, LATERAL bank.balance_at(a.account_id, at, as_recorded) AS b
  WHERE a.account_id = bank_balance_at.account_id OR a.house_account_id = bank_balance_at.account_id;
  RETURN result;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_balance_at(uuid, timestamptz, boolean) IS
  'The balance of an account at a moment, that moment included, what was held of it and what was available: by business time, or as the ledger had recorded it then (as_recorded). Exact; zero before the first movement. O(log n) of the stream. Errors: BK001, BK021.';

CREATE FUNCTION @extschema@.bank_account_events(account_id uuid) RETURNS SETOF @extschema@.bank_events
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  mine record;
BEGIN
  FOR mine IN
    SELECT a.account_id, a.version FROM bank.accounts AS a
    WHERE a.account_id = bank_account_events.account_id
    UNION ALL
    SELECT a.account_id, a.version FROM bank.accounts AS a
    WHERE a.house_account_id = bank_account_events.account_id
  LOOP
    -- The bounds on versions keep the planner from expecting half of the ledger.
    RETURN QUERY
      SELECT e.* FROM bank.event_list AS e
      WHERE e.aggregate_id = mine.account_id AND e.version BETWEEN 1 AND mine.version
      UNION ALL
      SELECT e.* FROM bank.event_list AS e
      WHERE e.peer_id = mine.account_id AND e.peer_version BETWEEN 1 AND mine.version
      ORDER BY 1;
  END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_account_events(uuid) IS
  'The whole stream of an account in order, the events where it is the peer included; stripe after stripe for a house account. Empty for an unknown account.';

CREATE FUNCTION @extschema@.bank_transactions(
  account_id uuid,
  from_date date DEFAULT NULL,
  to_date date DEFAULT NULL,
  page integer DEFAULT 1,
  page_size integer DEFAULT 50,
  before_version bigint DEFAULT NULL
) RETURNS SETOF @extschema@.bank_transaction
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  since timestamptz := COALESCE(from_date::timestamptz, '-infinity');
  until timestamptz := COALESCE((to_date + 1)::timestamptz, 'infinity');
  low bigint;
  high bigint;
BEGIN
  account_id := bank.require_account(account_id, 'bank_transactions');
  IF page IS NULL OR page < 1 THEN
    RAISE EXCEPTION 'page must be at least 1' USING ERRCODE = '22023';
  END IF;
  IF page_size IS NULL OR page_size NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'page_size must be between 1 and 1000' USING ERRCODE = '22023';
  END IF;

  IF EXISTS (SELECT FROM bank.accounts AS a WHERE a.house_account_id = bank_transactions.account_id) THEN
    IF before_version IS NOT NULL THEN
      RAISE EXCEPTION 'before_version cannot be used for a house account' USING ERRCODE = '22023',
        DETAIL = 'Each of its stripes has versions of its own.';
    END IF;
    RETURN QUERY
      SELECT s.version, s.position, s.event_id, s.event_type::text,
             bank.minor_to_numeric(s.delta, s.currency), s.currency, NULL::numeric, bank.logical_account(s.other_id),
             s.business_at, s.recorded_at, s.metadata
      FROM bank.accounts AS a JOIN bank.stream AS s ON s.account_id = a.account_id
      WHERE a.house_account_id = bank_transactions.account_id AND s.delta IS NOT NULL
        AND s.business_at >= since AND s.business_at < until
      ORDER BY s.position DESC
      LIMIT page_size OFFSET (page::bigint - 1) * page_size;
    RETURN;
  END IF;

  -- Bounds by version, so that a page costs what it shows and not the whole stream.
  low := CASE WHEN from_date IS NULL THEN 0
              ELSE bank.version_at(account_id, since - interval '1 microsecond', false) END;
  SELECT a.version INTO high FROM bank.accounts AS a WHERE a.account_id = bank_transactions.account_id;
  IF to_date IS NOT NULL THEN
    high := bank.last_version_until(account_id, since, until);
  END IF;
  high := LEAST(high, before_version - 1);
  RETURN QUERY
    SELECT s.version, s.position, s.event_id, s.event_type::text,
           bank.minor_to_numeric(s.delta, s.currency), s.currency,
           bank.minor_to_numeric(s.balance, s.currency), bank.logical_account(s.other_id),
           s.business_at, s.recorded_at, CASE WHEN s.own OR bank.sees_all('bank_transactions') THEN s.metadata END
    FROM bank.stream AS s
    WHERE s.account_id = bank_transactions.account_id AND s.version > low AND s.version <= high
      AND s.delta IS NOT NULL AND s.business_at >= since AND s.business_at < until
    ORDER BY s.version DESC
    LIMIT page_size OFFSET (page::bigint - 1) * page_size;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_transactions(uuid, date, date, integer, integer, bigint) IS
  'Movements of an account, newest first, with the running balance; from_date and to_date are days of business time, both included. Deep paging: pass the version of the last row seen as before_version instead of a page. page_size is 1 to 1000. Errors: BK001, BK021, 22023.';

CREATE FUNCTION @extschema@.bank_statement(account_id uuid, from_date date, to_date date)
  RETURNS SETOF @extschema@.bank_statement_line
  LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  since timestamptz := from_date::timestamptz;
  until timestamptz := (to_date + 1)::timestamptz;
  opening numeric;
  code text;
  accounts uuid[];
  lows bigint[];
  highs bigint[];
BEGIN
  account_id := bank.require_account(account_id, 'bank_statement');
  IF from_date IS NULL OR to_date IS NULL THEN
    RAISE EXCEPTION 'Missing argument' USING ERRCODE = 'BK021',
      DETAIL = 'from_date and to_date must not be null.';
  END IF;
  IF from_date > to_date THEN
    RAISE EXCEPTION 'from_date must not be after to_date' USING ERRCODE = '22023';
  END IF;

  -- One account, or the stripes of a house account: the balance before the period,
  -- and the versions between which its movements lie.
  SELECT pg_catalog.max(a.currency),
         pg_catalog.sum(bank.minor_to_numeric(b.balance, a.currency)),
         pg_catalog.array_agg(a.account_id),
         pg_catalog.array_agg(bank.version_at(a.account_id, since - interval '1 microsecond', false)),
         pg_catalog.array_agg(bank.last_version_until(a.account_id, since, until))
  INTO code, opening, accounts, lows, highs
  FROM bank.accounts AS a,
       LATERAL bank.balance_at(a.account_id, since - interval '1 microsecond', false) AS b
  WHERE a.account_id = bank_statement.account_id OR a.house_account_id = bank_statement.account_id;

  RETURN QUERY
    WITH movement AS (
      SELECT s.business_at, s.position, s.event_id, s.event_type::text AS event_type,
             CASE WHEN s.own OR bank.sees_all('bank_statement') THEN s.metadata END AS metadata,
             bank.minor_to_numeric(s.delta, s.currency) AS delta
      FROM ROWS FROM (pg_catalog.unnest(accounts), pg_catalog.unnest(lows), pg_catalog.unnest(highs)) AS m (account, low, high),
           LATERAL (SELECT * FROM bank.stream AS e
                    WHERE e.account_id = m.account AND e.version > m.low AND e.version <= m.high) AS s
      WHERE s.delta IS NOT NULL AND s.business_at >= since AND s.business_at < until
    ), line AS (
      SELECT pg_catalog.row_number() OVER moment AS number, m.*,
             opening + pg_catalog.sum(m.delta) OVER moment AS balance
      FROM movement AS m
      WINDOW moment AS (ORDER BY m.business_at, m.position)
    ), total AS (
      SELECT pg_catalog.count(*) AS lines,
             COALESCE(-pg_catalog.sum(m.delta) FILTER (WHERE m.delta < 0), opening - opening) AS debit,
             COALESCE(pg_catalog.sum(m.delta) FILTER (WHERE m.delta > 0), opening - opening) AS credit
      FROM movement AS m
    )
    SELECT 0, 'opening'::text, since, NULL::uuid, NULL::text, NULL::numeric, NULL::numeric,
           opening, code, NULL::jsonb
    UNION ALL
    SELECT l.number::integer, 'movement', l.business_at, l.event_id, l.event_type,
           CASE WHEN l.delta < 0 THEN -l.delta END, CASE WHEN l.delta > 0 THEN l.delta END,
           l.balance, code, l.metadata
    FROM line AS l
    UNION ALL
    SELECT t.lines::integer + 1, 'closing', until, NULL, NULL, t.debit, t.credit,
           opening + t.credit - t.debit, code, NULL
    FROM total AS t
    ORDER BY 1;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_statement(uuid, date, date) IS
  'Statement of an account for the days from_date to to_date of business time, both included: opening balance, every movement with the running balance, closing balance with totals. Errors: BK001, BK021, 22023.';

REVOKE ALL ON FUNCTION
  @extschema@.bank_account(uuid),
  @extschema@.bank_accounts_of(uuid),
  @extschema@.bank_account_exists(uuid),
  @extschema@.bank_balance(uuid),
  @extschema@.bank_balance_at(uuid, timestamptz, boolean),
  @extschema@.bank_account_events(uuid),
  @extschema@.bank_transactions(uuid, date, date, integer, integer, bigint),
  @extschema@.bank_statement(uuid, date, date),
  bank.logical_account(uuid),
  bank.log_denied(uuid, text),
  bank.require_account(uuid, text),
  bank.latest_business_time(uuid, bigint),
  bank.version_at(uuid, timestamptz, boolean),
  bank.last_version_until(uuid, timestamptz, timestamptz),
  bank.balance_at(uuid, timestamptz, boolean),
  bank.overdraft_limit_at(uuid, timestamptz, boolean)
FROM PUBLIC;
