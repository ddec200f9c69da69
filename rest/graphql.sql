-- The same for GraphQL: typed functions, which PostGraphile shows under the names that the smart
-- tags (@name, @behavior) in the comments give them. Refusals are raised here: GraphQL has errors.
-- PostGraphile leaves out what belongs to an extension unless a behavior brings it back.

CREATE SCHEMA bank_graphql;
COMMENT ON SCHEMA bank_graphql IS 'The ledger''s GraphQL API, for PostGraphile.';

CREATE TYPE bank_graphql.token AS (access_token text, expires_in integer, retry_after integer);
COMMENT ON TYPE bank_graphql.token IS 'What a login gives: a token, or none.';
COMMENT ON COLUMN bank_graphql.token.access_token IS 'Goes into the header Authorization, after "Bearer "; null: e-mail and password do not fit.';
COMMENT ON COLUMN bank_graphql.token.expires_in IS 'Seconds that it is good for.';
COMMENT ON COLUMN bank_graphql.token.retry_after IS 'Too many logins have failed: seconds to wait.';

CREATE TYPE bank_graphql.account AS (
  account_id uuid,
  account_number text,
  owner_id uuid,
  account_type text,
  currency text,
  status text,
  balance numeric,
  held numeric,
  available numeric,
  overdraft_limit numeric,
  balance_limit numeric,
  version bigint,
  created_at timestamptz
);
COMMENT ON TYPE bank_graphql.account IS 'A customer''s account.';
COMMENT ON COLUMN bank_graphql.account.account_id IS 'Identifier.';
COMMENT ON COLUMN bank_graphql.account.account_number IS 'Number with check digits.';
COMMENT ON COLUMN bank_graphql.account.owner_id IS 'Owner.';
COMMENT ON COLUMN bank_graphql.account.account_type IS 'COURANT or EPARGNE.';
COMMENT ON COLUMN bank_graphql.account.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN bank_graphql.account.status IS 'ACTIVE, FROZEN or CLOSED.';
COMMENT ON COLUMN bank_graphql.account.balance IS 'Money that came less money that left.';
COMMENT ON COLUMN bank_graphql.account.held IS 'Part of it that holds reserve.';
COMMENT ON COLUMN bank_graphql.account.available IS 'What can be spent.';
COMMENT ON COLUMN bank_graphql.account.overdraft_limit IS 'The balance may fall to minus this.';
COMMENT ON COLUMN bank_graphql.account.balance_limit IS 'The balance may rise to this; null: no ceiling.';
COMMENT ON COLUMN bank_graphql.account.version IS 'Number of events of the account.';
COMMENT ON COLUMN bank_graphql.account.created_at IS 'When it was opened.';

CREATE TYPE bank_graphql.receipt AS (
  event_id uuid,
  event_type text,
  account_id uuid,
  amount numeric,
  currency text,
  balance numeric,
  version bigint,
  position bigint,
  recorded_at timestamptz,
  replayed boolean
);
COMMENT ON TYPE bank_graphql.receipt IS 'Outcome of a command.';
COMMENT ON COLUMN bank_graphql.receipt.event_id IS 'The transaction id of a movement, the identifier of a hold that was made.';
COMMENT ON COLUMN bank_graphql.receipt.event_type IS 'What happened.';
COMMENT ON COLUMN bank_graphql.receipt.account_id IS 'The account it was about; the source of a transfer or capture.';
COMMENT ON COLUMN bank_graphql.receipt.amount IS 'Amount moved, held or released.';
COMMENT ON COLUMN bank_graphql.receipt.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN bank_graphql.receipt.balance IS 'Balance of the account after it.';
COMMENT ON COLUMN bank_graphql.receipt.version IS 'Version of the account after it.';
COMMENT ON COLUMN bank_graphql.receipt.position IS 'Position of the event in the global order.';
COMMENT ON COLUMN bank_graphql.receipt.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN bank_graphql.receipt.replayed IS 'True: an earlier request with the same key had this outcome.';

CREATE TYPE bank_graphql.transaction AS (
  transaction_id uuid,
  event_type text,
  amount numeric,
  currency text,
  balance numeric,
  other_account_id uuid,
  occurred_at timestamptz,
  recorded_at timestamptz,
  version bigint,
  metadata jsonb
);
COMMENT ON TYPE bank_graphql.transaction IS 'A movement as an account sees it.';
COMMENT ON COLUMN bank_graphql.transaction.transaction_id IS 'Identifier.';
COMMENT ON COLUMN bank_graphql.transaction.event_type IS 'What happened.';
COMMENT ON COLUMN bank_graphql.transaction.amount IS 'Positive when money came, negative when it left.';
COMMENT ON COLUMN bank_graphql.transaction.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN bank_graphql.transaction.balance IS 'Balance after it.';
COMMENT ON COLUMN bank_graphql.transaction.other_account_id IS 'The account on the other side.';
COMMENT ON COLUMN bank_graphql.transaction.occurred_at IS 'Business time.';
COMMENT ON COLUMN bank_graphql.transaction.recorded_at IS 'When it was recorded.';
COMMENT ON COLUMN bank_graphql.transaction.version IS 'Version of the account after it.';
COMMENT ON COLUMN bank_graphql.transaction.metadata IS 'What was added to the command.';

CREATE TYPE bank_graphql.statement_line AS (
  line integer,
  entry text,
  occurred_at timestamptz,
  transaction_id uuid,
  event_type text,
  debit numeric,
  credit numeric,
  balance numeric,
  currency text
);
COMMENT ON TYPE bank_graphql.statement_line IS 'A line of a statement.';
COMMENT ON COLUMN bank_graphql.statement_line.line IS '0 for the opening balance, then 1, 2, 3, …';
COMMENT ON COLUMN bank_graphql.statement_line.entry IS 'opening, movement or closing.';
COMMENT ON COLUMN bank_graphql.statement_line.occurred_at IS 'Business time.';
COMMENT ON COLUMN bank_graphql.statement_line.transaction_id IS 'Of a movement.';
COMMENT ON COLUMN bank_graphql.statement_line.event_type IS 'Of a movement.';
COMMENT ON COLUMN bank_graphql.statement_line.debit IS 'Money that left; on the closing line the total.';
COMMENT ON COLUMN bank_graphql.statement_line.credit IS 'Money that came; on the closing line the total.';
COMMENT ON COLUMN bank_graphql.statement_line.balance IS 'Balance after this line.';
COMMENT ON COLUMN bank_graphql.statement_line.currency IS 'ISO 4217 letters.';

CREATE FUNCTION bank_rest.with_trace(metadata jsonb) RETURNS jsonb
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN bank_rest.traceparent() IS NULL THEN metadata
    WHEN pg_catalog.jsonb_typeof(COALESCE(metadata, '{}')) <> 'object' THEN metadata
    ELSE COALESCE(metadata, '{}')
         || pg_catalog.jsonb_build_object('traceparent', bank_rest.traceparent()) END;
END;
COMMENT ON FUNCTION bank_rest.with_trace(jsonb) IS 'Metadata with the traceparent of the request in it.';

CREATE FUNCTION bank_graphql.login(email text, password text) RETURNS bank_graphql.token
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT l.token, l.expires_in, l.retry_after FROM bank_rest.login(email, password) AS l;
END;
COMMENT ON FUNCTION bank_graphql.login(text, text) IS
  E'@behavior +mutationField\n@resultFieldName token\nLogs in. No accessToken: e-mail and password do not fit.';

-- Deposits and withdrawals: tellers and customers have different rights to them.
CREATE FUNCTION bank_rest.move_cash(
  command text, account_id uuid, amount text, expected_version bigint, idempotency_key text, metadata jsonb
) RETURNS bank_graphql.receipt
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  request jsonb := jsonb_strip_nulls(jsonb_build_object(
    'command', command, 'account_id', account_id, 'amount', amount,
    'expected_version', expected_version,
    'idempotency_key', bank_rest.idempotency_key(idempotency_key)));
  answer jsonb;
BEGIN
  IF bank_rest.with_trace(metadata) IS NOT NULL THEN
    request := request || jsonb_build_object('metadata', bank_rest.with_trace(metadata));
  END IF;
  answer := bank_rest.execute_as(bank_rest.profile(), request);
  IF NOT (answer ->> 'ok')::boolean THEN
    RAISE EXCEPTION USING ERRCODE = answer ->> 'code', MESSAGE = answer ->> 'message',
      DETAIL = COALESCE(answer ->> 'detail', ''), HINT = COALESCE(answer ->> 'hint', '');
  END IF;
  RETURN jsonb_populate_record(NULL::bank_graphql.receipt, answer);
END $$;
COMMENT ON FUNCTION bank_rest.move_cash(text, uuid, text, bigint, text, jsonb) IS
  'Carries out a deposit or withdrawal, and raises its refusal.';

CREATE FUNCTION bank_graphql.deposit(
  account_id uuid, amount text, expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
) RETURNS bank_graphql.receipt
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.* FROM bank_rest.move_cash('deposit', account_id, amount, expected_version,
                                      idempotency_key, metadata) AS r;
END;

CREATE FUNCTION bank_graphql.withdraw(
  account_id uuid, amount text, expected_version bigint DEFAULT NULL,
  idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
) RETURNS bank_graphql.receipt
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT r.* FROM bank_rest.move_cash('withdraw', account_id, amount, expected_version,
                                      idempotency_key, metadata) AS r;
END;

DO $graphql$
DECLARE
  ledger name := (SELECT n.nspname FROM pg_catalog.pg_extension AS e
                  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
                  WHERE e.extname = 'banking');
  account text := 'a.account_id, a.account_number, a.owner_id, a.account_type, a.currency, a.status, '
    'a.balance, a.held, a.available, a.overdraft_limit, a.balance_limit, a.version, a.created_at';
  receipt text := 'r.event_id, r.event_type, r.account_id, r.amount, r.currency, r.balance, r.version, '
    'r.position, r.recorded_at, r.replayed';
  options text := 'expected_version => expected_version, '
    'idempotency_key => bank_rest.idempotency_key(idempotency_key), '
    'metadata => bank_rest.with_trace(metadata)';
BEGIN
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.account(account_id uuid) RETURNS bank_graphql.account
      LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT %2$s FROM %1$I.bank_account(account_id) AS a;
    END
    $sql$, ledger, account);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.accounts(owner_id uuid DEFAULT NULL) RETURNS SETOF bank_graphql.account
      LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT %2$s
      FROM %1$I.bank_accounts_of(COALESCE(owner_id, bank_rest.subject())) AS a;
    END
    $sql$, ledger, account);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.account_transactions(
      account bank_graphql.account, from_date date DEFAULT NULL, to_date date DEFAULT NULL,
      page integer DEFAULT 1, page_size integer DEFAULT 50
    ) RETURNS SETOF bank_graphql.transaction LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT t.event_id, t.event_type, t.amount, t.currency, t.balance, t.other_account_id,
             t.occurred_at, t.recorded_at, t.version, t.metadata
      FROM %1$I.bank_transactions((account).account_id, from_date, to_date, page, page_size) AS t;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.account_statement(
      account bank_graphql.account, from_date date, to_date date
    ) RETURNS SETOF bank_graphql.statement_line LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT s.line, s.entry, s.occurred_at, s.event_id, s.event_type, s.debit, s.credit, s.balance,
             s.currency
      FROM %1$I.bank_statement((account).account_id, from_date, to_date) AS s;
    END
    $sql$, ledger);

  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.create_account(
      account_type text, currency text, owner_id uuid DEFAULT NULL,
      idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
    ) RETURNS bank_graphql.account LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %2$s
      FROM %1$I.bank_create_account(
        COALESCE(owner_id, CASE bank_rest.profile() WHEN 'customer' THEN bank_rest.subject() END),
        account_type, currency, idempotency_key => bank_rest.idempotency_key(idempotency_key),
        metadata => bank_rest.with_trace(metadata)) AS a;
    END
    $sql$, ledger, account);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.transfer(
      from_account uuid, to_account uuid, amount text, expected_version bigint DEFAULT NULL,
      idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
    ) RETURNS bank_graphql.receipt LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %2$s
      FROM %1$I.bank_transfer(from_account, to_account, amount::%1$I.bank_money, %3$s) AS r;
    END
    $sql$, ledger, receipt, options);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.hold(
      account_id uuid, amount text, expires_in text DEFAULT '7 days',
      expected_version bigint DEFAULT NULL,
      idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
    ) RETURNS bank_graphql.receipt LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %2$s FROM %1$I.bank_hold(account_id, amount::%1$I.bank_money, %3$s,
                                      expires_in => expires_in::interval) AS r;
    END
    $sql$, ledger, receipt, options);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.capture(
      hold_id uuid, amount text DEFAULT NULL, to_account uuid DEFAULT NULL,
      expected_version bigint DEFAULT NULL,
      idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
    ) RETURNS bank_graphql.receipt LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %2$s FROM %1$I.bank_capture(hold_id, %3$s, amount => amount::%1$I.bank_money,
                                         to_account => to_account) AS r;
    END
    $sql$, ledger, receipt, options);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_graphql.release(
      hold_id uuid, expected_version bigint DEFAULT NULL,
      idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT NULL
    ) RETURNS bank_graphql.receipt LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %2$s FROM %1$I.bank_release(hold_id, %3$s) AS r;
    END
    $sql$, ledger, receipt, options);
END $graphql$;

COMMENT ON FUNCTION bank_graphql.account(uuid) IS
  E'@behavior +queryField\nAn account. BK001 when there is none that the caller may see.';
COMMENT ON FUNCTION bank_graphql.accounts(uuid) IS
  E'@behavior +queryField +queryField:resource:list -queryField:resource:connection\nThe accounts of an owner; by default the caller''s own.';
COMMENT ON FUNCTION bank_graphql.account_transactions(bank_graphql.account, date, date, integer, integer) IS
  E'@behavior +typeField +typeField:resource:list -typeField:resource:connection\nMovements, newest first, page by page.';
COMMENT ON FUNCTION bank_graphql.account_statement(bank_graphql.account, date, date) IS
  E'@behavior +typeField +typeField:resource:list -typeField:resource:connection\nOpening balance, movements, closing balance.';
COMMENT ON FUNCTION bank_graphql.create_account(text, text, uuid, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName account\nOpens an account, COURANT or EPARGNE. A teller names the owner.';
COMMENT ON FUNCTION bank_graphql.deposit(uuid, text, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nDeposits money, such as "100.00 HTG".';
COMMENT ON FUNCTION bank_graphql.withdraw(uuid, text, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nWithdraws money.';
COMMENT ON FUNCTION bank_graphql.transfer(uuid, uuid, text, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nTransfers money. The receipt is that of the source.';
COMMENT ON FUNCTION bank_graphql.hold(uuid, text, text, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nReserves money. The eventId is the identifier of the hold.';
COMMENT ON FUNCTION bank_graphql.capture(uuid, text, uuid, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nMoves reserved money, all of it or a part.';
COMMENT ON FUNCTION bank_graphql.release(uuid, bigint, text, jsonb) IS
  E'@behavior +mutationField\n@resultFieldName receipt\nFrees reserved money.';
