-- The two schemas. bank_api is what PostgREST exposes: one function per route.
-- bank_rest is its inside: tables on which no role of the API has any right,
-- helpers that these roles may call, and the functions for the DBA.

CREATE SCHEMA bank_api;
COMMENT ON SCHEMA bank_api IS 'The ledger''s REST API: one function per route, for PostgREST behind nginx.';

CREATE SCHEMA bank_rest;
COMMENT ON SCHEMA bank_rest IS
  'Internals of the banking_rest extension: users, signing keys, settings, and the functions for the DBA.';

CREATE TABLE bank_rest.settings (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  audience text NOT NULL DEFAULT 'banking' CHECK (audience <> ''),
  token_lifetime interval NOT NULL DEFAULT '15 minutes'
    CHECK (token_lifetime BETWEEN '1 second' AND '15 minutes'),
  bcrypt_cost integer NOT NULL DEFAULT 12 CHECK (bcrypt_cost BETWEEN 12 AND 16),
  max_failures integer NOT NULL DEFAULT 5 CHECK (max_failures BETWEEN 1 AND 100),
  lock_time interval NOT NULL DEFAULT '15 minutes'
    CHECK (lock_time BETWEEN '1 second' AND '7 days'),
  customers_move_cash boolean NOT NULL DEFAULT true,
  dummy_hash text NOT NULL
);
COMMENT ON TABLE bank_rest.settings IS 'Settings of the REST API; one row.';
COMMENT ON COLUMN bank_rest.settings.only_row IS 'Always true: there is one row.';
COMMENT ON COLUMN bank_rest.settings.audience IS 'Claim aud of tokens; the same as jwt-aud of PostgREST.';
COMMENT ON COLUMN bank_rest.settings.token_lifetime IS 'How long a token is good, at most 15 minutes.';
COMMENT ON COLUMN bank_rest.settings.bcrypt_cost IS 'Cost of new password hashes, 12 to 16; each step doubles the time of a login.';
COMMENT ON COLUMN bank_rest.settings.max_failures IS 'So many failed logins in a row lock an e-mail address out.';
COMMENT ON COLUMN bank_rest.settings.lock_time IS 'For how long; and a pause as long as this forgets earlier failures.';
COMMENT ON COLUMN bank_rest.settings.customers_move_cash IS 'May customers deposit to and withdraw from their own accounts? Else only tellers do.';
COMMENT ON COLUMN bank_rest.settings.dummy_hash IS 'What the password of an unknown user is compared with, so that it takes as long.';

CREATE TABLE bank_rest.roles (
  profile text PRIMARY KEY
    CHECK (profile IN ('authenticator', 'anonymous', 'customer', 'teller', 'auditor', 'cash')),
  role_name text NOT NULL UNIQUE
);
COMMENT ON TABLE bank_rest.roles IS 'The roles that bank_rest.set_up made.';
COMMENT ON COLUMN bank_rest.roles.profile IS 'What the role is for.';
COMMENT ON COLUMN bank_rest.roles.role_name IS 'The database role; the claim role of tokens.';

CREATE TABLE bank_rest.users (
  user_id uuid PRIMARY KEY,
  email text NOT NULL UNIQUE CHECK (email = pg_catalog.lower(email)),
  password_hash text NOT NULL,
  profile text NOT NULL CHECK (profile IN ('customer', 'teller', 'auditor')),
  active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE bank_rest.users IS 'Who may log in.';
COMMENT ON COLUMN bank_rest.users.user_id IS 'Claim sub of tokens; of a customer, the owner_id of the accounts.';
COMMENT ON COLUMN bank_rest.users.email IS 'Name for logging in, in lower case.';
COMMENT ON COLUMN bank_rest.users.password_hash IS 'bcrypt.';
COMMENT ON COLUMN bank_rest.users.profile IS 'customer, teller or auditor.';
COMMENT ON COLUMN bank_rest.users.active IS 'False: no login, and tokens are refused at once.';
COMMENT ON COLUMN bank_rest.users.created_at IS 'When the user was added.';

CREATE TABLE bank_rest.login_failures (
  email_hash bytea PRIMARY KEY,
  failures integer NOT NULL,
  last_failed_at timestamptz NOT NULL,
  locked_until timestamptz
);
COMMENT ON TABLE bank_rest.login_failures IS 'Failed logins, of known and unknown e-mail addresses alike.';
COMMENT ON COLUMN bank_rest.login_failures.email_hash IS 'SHA-256 of the address in lower case.';
COMMENT ON COLUMN bank_rest.login_failures.failures IS 'Failures in a row.';
COMMENT ON COLUMN bank_rest.login_failures.last_failed_at IS 'When the last one was.';
COMMENT ON COLUMN bank_rest.login_failures.locked_until IS 'No login until then; null: not locked out.';

CREATE TABLE bank_rest.signing_keys (
  kid text PRIMARY KEY,
  secret bytea NOT NULL CHECK (pg_catalog.octet_length(secret) >= 32),
  state text NOT NULL CHECK (state IN ('next', 'signing', 'previous')),
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
CREATE UNIQUE INDEX signing_keys_state ON bank_rest.signing_keys USING btree (state);
COMMENT ON TABLE bank_rest.signing_keys IS 'Keys that sign tokens; no role but the owner may read them.';
COMMENT ON COLUMN bank_rest.signing_keys.kid IS 'Name of the key, in the header of tokens.';
COMMENT ON COLUMN bank_rest.signing_keys.secret IS 'For HMAC-SHA256.';
COMMENT ON COLUMN bank_rest.signing_keys.state IS
  'next (PostgREST learns it), signing, or previous (tokens signed with it are still good); at most one each.';
COMMENT ON COLUMN bank_rest.signing_keys.created_at IS 'When it was made.';

REVOKE ALL ON bank_rest.settings, bank_rest.roles, bank_rest.users, bank_rest.login_failures,
  bank_rest.signing_keys FROM PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('bank_rest.settings', '');
SELECT pg_catalog.pg_extension_config_dump('bank_rest.roles', '');
SELECT pg_catalog.pg_extension_config_dump('bank_rest.users', '');
SELECT pg_catalog.pg_extension_config_dump('bank_rest.signing_keys', '');
