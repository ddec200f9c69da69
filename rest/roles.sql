-- The roles of the API, made by one function. Last in the script: it grants what stands above.

CREATE FUNCTION bank_rest.set_up(prefix text DEFAULT 'bank') RETURNS SETOF bank_rest.roles
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  profile text;
  name text;
  authenticator text := prefix || '_authenticator';
BEGIN
  FOREACH profile IN ARRAY '{authenticator,anonymous,customer,teller,auditor,cash}'::text[] LOOP
    name := prefix || '_' || profile;
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = name) THEN
      EXECUTE format('CREATE ROLE %I %s', name,
                     CASE profile WHEN 'authenticator' THEN 'LOGIN NOINHERIT' ELSE 'NOLOGIN' END);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA bank_api, bank_graphql, bank_rest TO %I', name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION bank_rest.check_request() TO %I', name);
    IF profile = 'authenticator' THEN
      -- A request waits for no lock longer than its client would.
      EXECUTE format('ALTER ROLE %I SET lock_timeout = ''5s''', name);
      EXECUTE format('ALTER ROLE %I SET statement_timeout = ''15s''', name);
      EXECUTE format('GRANT EXECUTE ON FUNCTION bank_rest.verify_token(text) TO %I', name);
    ELSE
      EXECUTE format('GRANT %I TO %I', name, authenticator);
      EXECUTE format(
        'GRANT EXECUTE ON FUNCTION bank_rest.answer(integer, json, json), '
        'bank_rest.status_of(text, text), '
        'bank_rest.refuse(text, text, text, text, text, integer), '
        'bank_rest.body_of(bytea) TO %I', name);
    END IF;
    IF profile = 'anonymous' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION bank_api.login(bytea), '
                     'bank_rest.login(text, text), bank_graphql.login(text, text) TO %I', name);
    ELSIF profile = 'cash' THEN
      PERFORM bank_rest.grant_profile(name::name, 'teller');
      EXECUTE format('GRANT EXECUTE ON FUNCTION bank_rest.execute(jsonb) TO %I', name);
    ELSIF profile <> 'authenticator' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I',
                     (SELECT p.oid::regprocedure FROM pg_proc AS p
                      WHERE p.pronamespace = 'bank_rest'::regnamespace
                        AND p.proname = 'account_json'), name);
      PERFORM bank_rest.grant_profile(name::name, profile);
      -- Whoever has logged in may call every route; what it may do there, the ledger says.
      EXECUTE format(
        'GRANT EXECUTE ON FUNCTION bank_api.create_account(bytea), bank_api.deposit(bytea), '
        'bank_api.withdraw(bytea), bank_api.transfer(bytea), bank_api.hold(bytea), '
        'bank_api.capture(bytea), bank_api.release(bytea), bank_api.accounts(text, text, text), '
        'bank_api.account(text), bank_api.transactions(text, text, text, text, text), '
        'bank_api.statement(text, text, text), '
        'bank_graphql.account(uuid), bank_graphql.accounts(uuid), '
        'bank_graphql.account_transactions(bank_graphql.account, date, date, integer, integer), '
        'bank_graphql.account_statement(bank_graphql.account, date, date), '
        'bank_graphql.create_account(text, text, uuid, text, jsonb), '
        'bank_graphql.deposit(uuid, text, bigint, text, jsonb), '
        'bank_graphql.withdraw(uuid, text, bigint, text, jsonb), '
        'bank_graphql.transfer(uuid, uuid, text, bigint, text, jsonb), '
        'bank_graphql.hold(uuid, text, text, bigint, text, jsonb), '
        'bank_graphql.capture(uuid, text, uuid, bigint, text, jsonb), '
        'bank_graphql.release(uuid, bigint, text, jsonb), '
        'bank_rest.account(uuid), bank_rest.accounts_of(uuid), '
        'bank_rest.all_accounts(integer, integer), '
        'bank_rest.transactions(uuid, date, date, integer, integer), '
        'bank_rest.statement(uuid, date, date), bank_rest.currency_of(uuid), '
        'bank_rest.currency_of_hold(uuid), bank_rest.execute(jsonb), '
        'bank_rest.execute_as(text, jsonb), '
        'bank_rest.move_cash(text, uuid, text, bigint, text, jsonb), '
        'bank_rest.header(text), bank_rest.subject(), bank_rest.profile(), '
        'bank_rest.idempotency_key(text), bank_rest.with_trace(jsonb), bank_rest.traceparent(), bank_rest.is_uuid(jsonb), '
        'bank_rest.with_currency(jsonb, text), '
        'bank_rest.run(text, bytea, text[], text, integer), '
        'bank_rest.accept(text, jsonb, jsonb, integer), '
        'bank_rest.number_of(text, text, integer), bank_rest.date_of(text, text, date), '
        'bank_rest.uuid_of(text), bank_rest.refuse_query(text, text, text, text) TO %I', name);
    END IF;
    IF profile = 'customer' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION bank_rest.execute_own(jsonb), '
                     'bank_rest.execute_cash(jsonb), bank_rest.cash_role() TO %I', name);
    END IF;
    INSERT INTO bank_rest.roles (profile, role_name) VALUES (profile, name)
    ON CONFLICT ON CONSTRAINT roles_pkey DO UPDATE SET role_name = excluded.role_name;
  END LOOP;

  IF NOT EXISTS (SELECT FROM bank_rest.settings) THEN
    INSERT INTO bank_rest.settings (dummy_hash)
    VALUES (bank_rest.hash_password(encode(bank_rest.random_bytes(16), 'hex'),
                                    bank_rest.new_salt(12)));
  END IF;
  IF NOT EXISTS (SELECT FROM bank_rest.signing_keys) THEN
    INSERT INTO bank_rest.signing_keys (kid, secret, state)
    SELECT k.kid, k.secret, 'signing' FROM bank_rest.new_key() AS k;
  END IF;
  RETURN QUERY SELECT r.profile, r.role_name FROM bank_rest.roles AS r ORDER BY r.role_name;
END $$;
COMMENT ON FUNCTION bank_rest.set_up(text) IS
  'Makes the roles of the API, their names beginning with prefix, and grants them their rights; makes settings and the first signing key. Can be repeated. Returns the roles.';

CREATE FUNCTION bank_rest.set_bcrypt_cost(cost integer) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  UPDATE bank_rest.settings
  SET bcrypt_cost = cost,
      dummy_hash = bank_rest.hash_password(
        pg_catalog.encode(bank_rest.random_bytes(16), 'hex'), bank_rest.new_salt(cost));
END;
COMMENT ON FUNCTION bank_rest.set_bcrypt_cost(integer) IS
  'Sets the cost of password hashes, 12 to 16, for passwords set from now on.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA bank_api, bank_graphql, bank_rest FROM PUBLIC;
