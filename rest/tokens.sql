-- Tokens: JSON Web Tokens signed with HMAC-SHA256. The database makes them and checks
-- them; PostgREST checks them too, with the keys that bank_rest.jwks exports. What counts
-- is the check here: it knows at once of a key that is gone and of a user who left.

CREATE FUNCTION bank_rest.to_base64url(data bytea) RETURNS text
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT pg_catalog.translate(pg_catalog.encode(data, 'base64'), E'+/=\n', '-_');
END;
COMMENT ON FUNCTION bank_rest.to_base64url(bytea) IS 'Base64 for URLs, without padding (RFC 4648, section 5).';

CREATE FUNCTION bank_rest.from_base64url(data text) RETURNS bytea
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT pg_catalog.decode(
    pg_catalog.rpad(pg_catalog.translate(data, '-_', '+/'),
                    (pg_catalog.length(data) + 3) / 4 * 4, '='), 'base64');
END;
COMMENT ON FUNCTION bank_rest.from_base64url(text) IS 'Inverse of to_base64url.';

CREATE FUNCTION bank_rest.issue_token(user_id uuid, profile text) RETURNS text
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  settings bank_rest.settings;
  key bank_rest.signing_keys;
  now_seconds bigint := floor(extract(epoch FROM clock_timestamp()));
  message text;
BEGIN
  SELECT s.* INTO STRICT settings FROM bank_rest.settings AS s;
  SELECT k.* INTO STRICT key FROM bank_rest.signing_keys AS k WHERE k.state = 'signing';
  message := bank_rest.to_base64url(convert_to(
      json_build_object('alg', 'HS256', 'typ', 'JWT', 'kid', key.kid)::text, 'UTF8'))
    || '.' || bank_rest.to_base64url(convert_to(json_build_object(
      'sub', user_id,
      'role', (SELECT r.role_name FROM bank_rest.roles AS r
               WHERE r.profile = issue_token.profile),
      'aud', settings.audience,
      'iat', now_seconds, 'nbf', now_seconds,
      'exp', now_seconds + extract(epoch FROM settings.token_lifetime)::bigint,
      'jti', gen_random_uuid())::text, 'UTF8'));
  RETURN message || '.'
    || bank_rest.to_base64url(bank_rest.sign(convert_to(message, 'UTF8'), key.secret));
END $$;
COMMENT ON FUNCTION bank_rest.issue_token(uuid, text) IS 'A token for a user, signed with the signing key.';

CREATE FUNCTION bank_rest.verify_token(token text, OUT claims jsonb, OUT fault text) RETURNS record
  LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  parts text[];
  header jsonb;
  signature bytea;
  key bytea;
  settings bank_rest.settings;
  now_seconds numeric := extract(epoch FROM clock_timestamp());
BEGIN
  fault := 'The token is malformed.';
  IF token IS NULL OR length(token) > 4096
     OR token !~ '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$' THEN
    RETURN;
  END IF;
  parts := string_to_array(token, '.');
  BEGIN
    header := convert_from(bank_rest.from_base64url(parts[1]), 'UTF8')::jsonb;
    claims := convert_from(bank_rest.from_base64url(parts[2]), 'UTF8')::jsonb;
    signature := bank_rest.from_base64url(parts[3]);
  EXCEPTION WHEN OTHERS THEN
    claims := NULL;
    RETURN;
  END;
  IF jsonb_typeof(header) <> 'object' OR jsonb_typeof(claims) <> 'object' THEN
    claims := NULL;
    RETURN;
  END IF;

  -- Hashes are compared: how far they agree says nothing about the signature.
  SELECT k.secret INTO key FROM bank_rest.signing_keys AS k
  WHERE k.kid = header ->> 'kid' AND k.state <> 'next';
  IF header ->> 'alg' IS DISTINCT FROM 'HS256' THEN
    fault := 'The token is not signed with HS256.';
  ELSIF key IS NULL THEN
    fault := 'The key of the token is not in use.';
  ELSIF sha256(signature)
        <> sha256(bank_rest.sign(convert_to(parts[1] || '.' || parts[2], 'UTF8'), key)) THEN
    fault := 'The signature is wrong.';
  ELSE
    fault := NULL;
  END IF;
  IF fault IS NOT NULL THEN
    claims := NULL;
    RETURN;
  END IF;

  SELECT s.* INTO STRICT settings FROM bank_rest.settings AS s;
  fault := CASE
    WHEN jsonb_typeof(claims -> 'exp') IS DISTINCT FROM 'number'
      OR jsonb_typeof(claims -> 'nbf') IS DISTINCT FROM 'number'
      OR jsonb_typeof(claims -> 'iat') IS DISTINCT FROM 'number'
      OR jsonb_typeof(claims -> 'sub') IS DISTINCT FROM 'string'
      OR jsonb_typeof(claims -> 'role') IS DISTINCT FROM 'string'
      OR jsonb_typeof(claims -> 'aud') IS DISTINCT FROM 'string'
      OR jsonb_typeof(claims -> 'jti') IS DISTINCT FROM 'string'
      THEN 'The token lacks a claim.'
    WHEN claims ->> 'aud' <> settings.audience THEN 'The token is for another audience.'
    WHEN (claims ->> 'exp')::numeric <= now_seconds THEN 'The token has expired.'
    WHEN (claims ->> 'nbf')::numeric > now_seconds OR (claims ->> 'iat')::numeric > now_seconds
      THEN 'The token is not valid yet.'
    WHEN (claims ->> 'exp')::numeric - (claims ->> 'iat')::numeric
         > extract(epoch FROM settings.token_lifetime)
      THEN 'The token is good for too long.'
    WHEN NOT EXISTS (
      SELECT FROM bank_rest.users AS u JOIN bank_rest.roles AS r ON r.profile = u.profile
      WHERE u.user_id::text = claims ->> 'sub' AND u.active AND r.role_name = claims ->> 'role')
      THEN 'The user is not there any more.'
  END;
  IF fault IS NOT NULL THEN
    claims := NULL;
  END IF;
END $$;
COMMENT ON FUNCTION bank_rest.verify_token(text) IS
  'The claims of a good token; or what is wrong with it, and no claims.';

CREATE FUNCTION bank_rest.check_request() RETURNS void
  LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  claims jsonb := NULLIF(current_setting('request.jwt.claims', true), '')::jsonb;
  header text := NULLIF(current_setting('request.headers', true), '')::json ->> 'authorization';
  verified record;
BEGIN
  IF EXISTS (SELECT FROM bank_rest.roles AS r
             WHERE r.profile = 'anonymous'
               AND claims = jsonb_build_object('role', r.role_name)) THEN
    RETURN;
  END IF;
  SELECT v.claims, v.fault INTO verified
  FROM bank_rest.verify_token(substring(header FROM '^[Bb][Ee][Aa][Rr][Ee][Rr] +(\S+)$')) AS v;
  IF verified.claims IS DISTINCT FROM claims OR claims IS NULL THEN
    RAISE SQLSTATE 'PGRST' USING
      MESSAGE = json_build_object('code', 'invalid_token', 'message', 'Unauthorized', 'details',
                                  COALESCE(verified.fault, 'The token is not the one in use.'))::text,
      DETAIL = '{"status": 401, "headers": {"WWW-Authenticate": "Bearer error=\"invalid_token\""}}';
  END IF;
END $$;
COMMENT ON FUNCTION bank_rest.check_request() IS
  'What PostgREST calls before each request (db-pre-request): refuses tokens that are not good, with 401.';

-- Keys. A new one is made known to PostgREST before it signs, and an old one stays known
-- until the last token that it signed has expired.

CREATE FUNCTION bank_rest.new_key() RETURNS bank_rest.signing_keys
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISSUS'),
         bank_rest.random_bytes(32), 'next'::text, pg_catalog.now();
END;
COMMENT ON FUNCTION bank_rest.new_key() IS 'A fresh key, not stored.';

CREATE FUNCTION bank_rest.prepare_key() RETURNS text
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  INSERT INTO bank_rest.signing_keys SELECT k.* FROM bank_rest.new_key() AS k RETURNING kid;
END;
COMMENT ON FUNCTION bank_rest.prepare_key() IS
  'Rotation, first step: makes the next key, and returns its name. Then give PostgREST the new bank_rest.jwks().';

CREATE FUNCTION bank_rest.activate_key() RETURNS text
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  activated text;
BEGIN
  IF NOT EXISTS (SELECT FROM bank_rest.signing_keys AS k WHERE k.state = 'next') THEN
    RAISE EXCEPTION 'no key is prepared' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Call bank_rest.prepare_key first.';
  END IF;
  DELETE FROM bank_rest.signing_keys AS k WHERE k.state = 'previous';
  UPDATE bank_rest.signing_keys AS k SET state = 'previous' WHERE k.state = 'signing';
  UPDATE bank_rest.signing_keys AS k SET state = 'signing' WHERE k.state = 'next'
  RETURNING k.kid INTO activated;
  RETURN activated;
END $$;
COMMENT ON FUNCTION bank_rest.activate_key() IS
  'Rotation, second step: from now on the next key signs, and returns its name; the one before is still good for tokens that it signed.';

CREATE FUNCTION bank_rest.retire_key() RETURNS text
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  DELETE FROM bank_rest.signing_keys AS k WHERE k.state = 'previous' RETURNING k.kid;
END;
COMMENT ON FUNCTION bank_rest.retire_key() IS
  'Rotation, last step: removes the previous key and returns its name; tokens signed with it are refused from now on.';

CREATE FUNCTION bank_rest.jwks() RETURNS json
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT pg_catalog.json_build_object('keys', pg_catalog.json_agg(pg_catalog.json_build_object(
    'kty', 'oct', 'alg', 'HS256', 'use', 'sig', 'kid', k.kid,
    'k', bank_rest.to_base64url(k.secret)) ORDER BY k.created_at))
  FROM bank_rest.signing_keys AS k;
END;
COMMENT ON FUNCTION bank_rest.jwks() IS
  'The keys as a JSON Web Key Set, for the file that PostgREST''s jwt-secret names. Contains secrets.';
