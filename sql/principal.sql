-- Who is calling. Profiles are EXECUTE on four functions that nobody calls: so they are kept, dumped
-- and dropped with roles by the server itself. bank_grant in privileges.sql gives them.

CREATE FUNCTION bank.auditor() RETURNS void LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp BEGIN ATOMIC SELECT; END;
COMMENT ON FUNCTION bank.auditor() IS 'Marks a profile: EXECUTE on it makes a role an auditor.';
CREATE FUNCTION bank.teller() RETURNS void LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp BEGIN ATOMIC SELECT; END;
COMMENT ON FUNCTION bank.teller() IS 'Marks a profile: EXECUTE on it makes a role a teller.';
CREATE FUNCTION bank.operator() RETURNS void LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp BEGIN ATOMIC SELECT; END;
COMMENT ON FUNCTION bank.operator() IS 'Marks a profile: EXECUTE on it makes a role an operator.';
CREATE FUNCTION bank.customer() RETURNS void LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp BEGIN ATOMIC SELECT; END;
COMMENT ON FUNCTION bank.customer() IS 'Marks a profile: EXECUTE on it makes a role a customer, limited to the accounts of its owner unless it is a teller or auditor too.';
REVOKE ALL ON FUNCTION bank.auditor(), bank.teller(), bank.operator(), bank.customer() FROM PUBLIC;

CREATE TABLE bank.role_owners (
  role_name name NOT NULL,
  owner_id uuid NOT NULL,
  CONSTRAINT role_owners_pkey PRIMARY KEY (role_name)
);
COMMENT ON TABLE bank.role_owners IS 'Which owner a role that logs in stands for, when it is a customer.';
COMMENT ON COLUMN bank.role_owners.role_name IS 'The session user.';
COMMENT ON COLUMN bank.role_owners.owner_id IS 'The owner of its accounts.';
SELECT pg_catalog.pg_extension_config_dump('bank.role_owners', '');

-- Names are text: a role may be gone since. A UUID is the same one with hyphens and without.
CREATE FUNCTION bank.person(session_user_name text, subject text) RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT CASE WHEN subject ~ '^[0-9A-Fa-f-]+$' THEN pg_catalog.concat('owner ', pg_catalog.replace(pg_catalog.lower(subject), '-', ''))
              WHEN subject <> '' THEN pg_catalog.concat('owner ', pg_catalog.lower(subject))
              ELSE COALESCE((SELECT pg_catalog.concat('owner ', pg_catalog.replace(o.owner_id::text, '-', '')) FROM bank.role_owners AS o
                             WHERE o.role_name::text = session_user_name),
                            pg_catalog.concat('role ', session_user_name)) END;
END;
COMMENT ON FUNCTION bank.person(text, text) IS
  'Who an actor is, whatever role it has taken: the subject of the verified token, else the owner that its role stands for, else that role.';
REVOKE ALL ON FUNCTION bank.person(text, text) FROM PUBLIC;

-- These tell a caller about itself only, so anybody may ask; views do.
CREATE FUNCTION bank.sees_all(object_name text) RETURNS boolean
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_sees_all';
COMMENT ON FUNCTION bank.sees_all(text) IS 'May the caller see every row of this view or function of the API? Not a mere customer, nor who has been lent a customer''s right to it.';

CREATE FUNCTION bank.current_owner() RETURNS uuid
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_current_owner';
COMMENT ON FUNCTION bank.current_owner() IS 'bank_current_owner, for what must not look into the schema of the API.';

CREATE FUNCTION @extschema@.bank_current_owner() RETURNS uuid
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bank_sql_current_owner';
COMMENT ON FUNCTION @extschema@.bank_current_owner() IS
  'The owner for whom a customer''s session acts: the subject of the token in request.jwt.claims if the session user is in banking.trusted_authenticators, else the owner that the session user is mapped to; null: nobody.';

CREATE FUNCTION bank.sees_account(account_id uuid, object_name text) RETURNS boolean
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank.sees_all(object_name) OR EXISTS (
    SELECT FROM bank.accounts AS a
    WHERE a.account_id = sees_account.account_id AND a.owner_id = bank.current_owner());
END;
COMMENT ON FUNCTION bank.sees_account(uuid, text) IS 'May the caller see this account by this view or function of the API?';
REVOKE ALL ON FUNCTION bank.sees_account(uuid, text) FROM PUBLIC;
