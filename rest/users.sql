-- Users and logging in.

CREATE FUNCTION bank_rest.hash_new_password(password text) RETURNS text
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF password IS NULL OR octet_length(password) NOT BETWEEN 8 AND 72 THEN
    RAISE EXCEPTION 'invalid password' USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'A password has 8 to 72 bytes.';
  END IF;
  RETURN bank_rest.hash_password(password,
                                 bank_rest.new_salt((SELECT s.bcrypt_cost FROM bank_rest.settings AS s)));
END $$;
COMMENT ON FUNCTION bank_rest.hash_new_password(text) IS
  'Hash of a new password. bcrypt ignores what comes after 72 bytes, so such are refused.';

CREATE FUNCTION bank_rest.add_user(
  email text, password text, profile text DEFAULT 'customer', user_id uuid DEFAULT gen_random_uuid()
) RETURNS uuid
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO bank_rest.users (user_id, email, password_hash, profile)
  VALUES (user_id, pg_catalog.lower(email), bank_rest.hash_new_password(password), profile)
  RETURNING users.user_id;
END;
COMMENT ON FUNCTION bank_rest.add_user(text, text, text, uuid) IS
  'Adds a user, profile customer, teller or auditor, and returns the identifier: of a customer, the owner_id of the accounts.';

CREATE FUNCTION bank_rest.set_password(email text, password text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE bank_rest.users AS u SET password_hash = bank_rest.hash_new_password(password)
  WHERE u.email = lower(set_password.email);
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION bank_rest.set_password(text, text) IS
  'Gives a user another password. False: there is no such user.';

CREATE FUNCTION bank_rest.set_active(email text, active boolean) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE bank_rest.users AS u SET active = set_active.active WHERE u.email = lower(set_active.email);
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION bank_rest.set_active(text, boolean) IS
  'Bars a user, whose tokens are refused from then on, or lets the user in again. False: there is no such user.';

CREATE FUNCTION bank_rest.unlock(email text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  DELETE FROM bank_rest.login_failures AS f
  WHERE f.email_hash = sha256(convert_to(lower(unlock.email), 'UTF8'));
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION bank_rest.unlock(text) IS
  'Forgets the failed logins of an e-mail address. False: there were none.';

-- Never raises for a wrong login: what raises takes the count of failures back. Known and unknown
-- addresses take the same time and are locked out alike. The lock is looked at again after the
-- hashing, on the locked row: of many guesses at a time no more are answered than one by one.
CREATE FUNCTION bank_rest.login(
  email text, password text, OUT token text, OUT expires_in integer, OUT retry_after integer
) RETURNS record
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  settings bank_rest.settings;
  found_user bank_rest.users;
  failure bank_rest.login_failures;
  hash bytea := sha256(convert_to(lower(email), 'UTF8'));
  correct boolean;
BEGIN
  SELECT s.* INTO STRICT settings FROM bank_rest.settings AS s;
  SELECT f.* INTO failure FROM bank_rest.login_failures AS f WHERE f.email_hash = hash;
  IF failure.locked_until > clock_timestamp() THEN
    retry_after := ceil(extract(epoch FROM failure.locked_until - clock_timestamp()));
    RETURN;
  END IF;

  SELECT u.* INTO found_user FROM bank_rest.users AS u WHERE u.email = lower(login.email);
  correct := bank_rest.hash_password(password, COALESCE(found_user.password_hash, settings.dummy_hash))
             = found_user.password_hash
             AND found_user.active AND octet_length(password) <= 72;

  IF correct THEN
    SELECT f.* INTO failure FROM bank_rest.login_failures AS f WHERE f.email_hash = hash FOR UPDATE;
  ELSE
    INSERT INTO bank_rest.login_failures AS f (email_hash, failures, last_failed_at)
    VALUES (hash, 0, clock_timestamp())
    ON CONFLICT ON CONSTRAINT login_failures_pkey DO UPDATE SET failures = f.failures
    RETURNING f.* INTO STRICT failure;
  END IF;
  IF failure.locked_until > clock_timestamp() THEN
    retry_after := ceil(extract(epoch FROM failure.locked_until - clock_timestamp()));
    RETURN;
  END IF;

  IF correct THEN
    DELETE FROM bank_rest.login_failures AS f WHERE f.email_hash = hash;
    token := bank_rest.issue_token(found_user.user_id, found_user.profile);
    expires_in := extract(epoch FROM settings.token_lifetime);
    RETURN;
  END IF;
  IF failure.locked_until IS NOT NULL
     OR failure.last_failed_at < clock_timestamp() - settings.lock_time THEN
    failure.failures := 0;
  END IF;
  UPDATE bank_rest.login_failures AS f
  SET failures = failure.failures + 1, last_failed_at = clock_timestamp(),
      locked_until = CASE WHEN failure.failures + 1 >= settings.max_failures
                          THEN clock_timestamp() + settings.lock_time END
  WHERE f.email_hash = hash;
  -- what is forgotten anyhow; it waits for nobody
  DELETE FROM bank_rest.login_failures AS f
  WHERE f.email_hash IN (
    SELECT o.email_hash FROM bank_rest.login_failures AS o
    WHERE o.last_failed_at < clock_timestamp() - settings.lock_time
    LIMIT 100 FOR UPDATE SKIP LOCKED);
END $$;
COMMENT ON FUNCTION bank_rest.login(text, text) IS
  'A token for an e-mail address and its password. No token: they do not fit, or, with retry_after (seconds), too many logins have failed.';
