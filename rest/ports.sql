-- What is used of the two other extensions, under names that do not depend on
-- the schemas those are in. SQL-standard bodies: they are resolved here, once, and
-- recorded as dependencies. They run with the rights of the caller.

DO $ports$
DECLARE
  ledger name := (SELECT n.nspname FROM pg_catalog.pg_extension AS e
                  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
                  WHERE e.extname = 'banking');
  crypto name := (SELECT n.nspname FROM pg_catalog.pg_extension AS e
                  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
                  WHERE e.extname = 'pgcrypto');
BEGIN
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.hash_password(password text, salt_or_hash text) RETURNS text
      LANGUAGE sql IMMUTABLE STRICT
    BEGIN ATOMIC
      SELECT %1$I.crypt(password, salt_or_hash);
    END
    $sql$, crypto);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.new_salt(cost integer) RETURNS text LANGUAGE sql VOLATILE STRICT
    BEGIN ATOMIC
      SELECT %1$I.gen_salt('bf', cost);
    END
    $sql$, crypto);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.sign(message bytea, key bytea) RETURNS bytea
      LANGUAGE sql IMMUTABLE STRICT
    BEGIN ATOMIC
      SELECT %1$I.hmac(message, key, 'sha256');
    END
    $sql$, crypto);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.random_bytes(count integer) RETURNS bytea LANGUAGE sql VOLATILE STRICT
    BEGIN ATOMIC
      SELECT %1$I.gen_random_bytes(count);
    END
    $sql$, crypto);

  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.execute(command jsonb) RETURNS jsonb LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %1$I.bank_execute(command);
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.account_json(account %1$I.bank_accounts) RETURNS json
      LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
      SELECT pg_catalog.json_build_object(
        'account_id', account.account_id, 'account_number', account.account_number,
        'owner_id', account.owner_id, 'account_type', account.account_type,
        'currency', account.currency, 'status', account.status,
        'balance', account.balance::text, 'held', account.held::text,
        'available', account.available::text, 'overdraft_limit', account.overdraft_limit::text,
        'balance_limit', account.balance_limit::text, 'version', account.version,
        'created_at', account.created_at);
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.account(account_id uuid) RETURNS json LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT bank_rest.account_json(a) FROM %1$I.bank_account(account_id) AS a;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.currency_of(account_id uuid) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT b.currency FROM %1$I.bank_balance(account_id) AS b;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.currency_of_hold(hold_id uuid) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT h.currency FROM %1$I.bank_holds AS h WHERE h.hold_id = currency_of_hold.hold_id;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.accounts_of(owner_id uuid) RETURNS SETOF json LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT bank_rest.account_json(a) FROM %1$I.bank_accounts_of(owner_id) AS a;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.all_accounts(page integer, page_size integer) RETURNS SETOF json
      LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT bank_rest.account_json(a) FROM %1$I.bank_accounts AS a
      WHERE a.owner_id IS NOT NULL
      ORDER BY a.account_id
      OFFSET (page::bigint - 1) * page_size LIMIT page_size;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.transactions(
      account_id uuid, from_date date, to_date date, page integer, page_size integer
    ) RETURNS SETOF json LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT pg_catalog.json_build_object(
        'transaction_id', t.event_id, 'event_type', t.event_type, 'amount', t.amount::text,
        'currency', t.currency, 'balance', t.balance::text,
        'other_account_id', t.other_account_id, 'occurred_at', t.occurred_at,
        'recorded_at', t.recorded_at, 'version', t.version, 'position', t.position,
        'metadata', t.metadata)
      FROM %1$I.bank_transactions(account_id, from_date, to_date, page, page_size) AS t;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.statement(account_id uuid, from_date date, to_date date)
      RETURNS SETOF json LANGUAGE sql STABLE
    BEGIN ATOMIC
      SELECT pg_catalog.json_build_object(
        'line', s.line, 'entry', s.entry, 'occurred_at', s.occurred_at,
        'transaction_id', s.event_id, 'event_type', s.event_type, 'debit', s.debit::text,
        'credit', s.credit::text, 'balance', s.balance::text, 'currency', s.currency,
        'metadata', s.metadata)
      FROM %1$I.bank_statement(account_id, from_date, to_date) AS s;
    END
    $sql$, ledger);
  EXECUTE pg_catalog.format($sql$
    COMMENT ON FUNCTION bank_rest.account_json(%1$I.bank_accounts) IS 'An account as JSON; figures are strings.'
    $sql$, ledger);

  EXECUTE pg_catalog.format($sql$
    CREATE FUNCTION bank_rest.grant_profile(role_name name, profile text) RETURNS void
      LANGUAGE sql VOLATILE
    BEGIN ATOMIC
      SELECT %1$I.bank_grant(role_name, profile);
    END
    $sql$, ledger);
END $ports$;

COMMENT ON FUNCTION bank_rest.grant_profile(name, text) IS 'bank_grant of the ledger.';

COMMENT ON FUNCTION bank_rest.hash_password(text, text) IS 'crypt of pgcrypto.';
COMMENT ON FUNCTION bank_rest.new_salt(integer) IS 'A salt for bcrypt.';
COMMENT ON FUNCTION bank_rest.sign(bytea, bytea) IS 'HMAC-SHA256.';
COMMENT ON FUNCTION bank_rest.random_bytes(integer) IS 'Random bytes fit for secrets.';
COMMENT ON FUNCTION bank_rest.execute(jsonb) IS 'bank_execute of the ledger.';
COMMENT ON FUNCTION bank_rest.account(uuid) IS 'An account, by its identifier, as JSON.';
COMMENT ON FUNCTION bank_rest.currency_of(uuid) IS 'The currency of an account.';
COMMENT ON FUNCTION bank_rest.currency_of_hold(uuid) IS 'The currency of a hold; null: the caller sees none.';
COMMENT ON FUNCTION bank_rest.accounts_of(uuid) IS 'The accounts of an owner as JSON.';
COMMENT ON FUNCTION bank_rest.all_accounts(integer, integer) IS
  'A page of all customers'' accounts as JSON, in the order of their identifiers.';
COMMENT ON FUNCTION bank_rest.transactions(uuid, date, date, integer, integer) IS
  'A page of an account''s movements as JSON, newest first.';
COMMENT ON FUNCTION bank_rest.statement(uuid, date, date) IS 'The lines of a statement as JSON.';
