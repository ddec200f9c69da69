-- Who may do what. One list says for every function and view of the API which profiles have it;
-- bank_grant and bank_revoke make GRANT and REVOKE of it. Nobody but the ledger's owner may call them.

CREATE VIEW bank.profile_rights (object_name, auditor, teller, operator, customer) AS VALUES
  -- commands
  ('bank_create_account',            false, true,  false, true),
  ('bank_create_house_account',      false, true,  false, false),
  ('bank_deposit',                   false, true,  false, false),
  ('bank_withdraw',                  false, true,  false, false),
  ('bank_transfer',                  false, true,  false, true),
  ('bank_transfer_to_number',        false, true,  false, true),
  ('bank_freeze',                    false, true,  false, false),
  ('bank_unfreeze',                  false, true,  false, false),
  ('bank_close',                     false, true,  false, false),
  ('bank_set_limits',                false, true,  false, false),
  ('bank_hold',                      false, true,  false, true),
  ('bank_capture',                   false, true,  false, true),
  ('bank_release',                   false, true,  false, true),
  ('bank_expire_holds',              false, true,  true,  false),
  ('bank_post_transfers',            false, true,  false, false),
  ('bank_execute',                   false, true,  false, false),
  ('bank_execute_batch',             false, true,  false, false),
  ('bank_send',                      false, true,  false, true),
  ('bank_cancel_transfer',           false, true,  false, true),
  ('bank_resolve_transfer',          false, true,  false, false),
  ('bank_receive',                   false, true,  false, false),
  ('bank_cancel_received',           false, true,  false, false),
  ('bank_approve',                   false, true,  false, false),
  ('bank_reject',                    false, true,  false, false),
  -- queries
  ('bank_account',                   true,  true,  false, true),
  ('bank_accounts_of',               true,  true,  false, true),
  ('bank_account_exists',            true,  true,  false, true),
  ('bank_balance',                   true,  true,  false, true),
  ('bank_balance_at',                true,  true,  false, true),
  ('bank_transactions',              true,  true,  false, true),
  ('bank_statement',                 true,  true,  false, true),
  ('bank_account_events',            true,  true,  false, false),
  ('bank_transfer_status',           true,  true,  true,  true),
  ('bank_feed',                      true,  false, false, false),
  ('bank_feed_cursor',               true,  false, false, false),
  ('bank_current_owner',             true,  true,  true,  true),
  -- views
  ('bank_accounts',                  true,  true,  false, true),
  ('bank_events',                    true,  true,  false, false),
  ('bank_holds',                     true,  true,  false, true),
  ('bank_transfers',                 true,  true,  true,  true),
  ('bank_approvals',                 true,  true,  false, false),
  ('bank_pending_approvals',         true,  true,  false, false),
  ('bank_approval_thresholds',       true,  true,  true,  false),
  ('bank_trial_balance',             true,  false, false, false),
  ('bank_grants',                    true,  false, true,  false),
  -- operation
  ('bank_progress',                  true,  false, true,  false),
  ('bank_verify',                    true,  false, true,  false),
  ('bank_rebuild',                   false, false, true,  false),
  ('bank_subscribe',                 false, false, true,  false),
  ('bank_change_subscription',       false, false, true,  false),
  ('bank_unsubscribe',               false, false, true,  false),
  ('bank_pause_subscription',        false, false, true,  false),
  ('bank_resume_subscription',       false, false, true,  false),
  ('bank_rotate_secret',             false, false, true,  false),
  ('bank_replay',                    false, false, true,  false),
  ('bank_retry_dead_letters',        false, false, true,  false),
  ('bank_discard_dead_letters',      false, false, true,  false),
  ('bank_force_breaker',             false, false, true,  false),
  ('bank_subscriptions',             true,  false, true,  false),
  ('bank_deliveries',                true,  false, true,  false),
  ('bank_dead_letters',              true,  false, true,  false),
  ('bank_add_participant',           false, false, true,  false),
  ('bank_change_participant',        false, false, true,  false),
  ('bank_remove_participant',        false, false, true,  false),
  ('bank_pause_participant',         false, false, true,  false),
  ('bank_resume_participant',        false, false, true,  false),
  ('bank_rotate_participant_secret', false, false, true,  false),
  ('bank_force_participant_breaker', false, false, true,  false),
  ('bank_participants',              true,  false, true,  false),
  ('bank_relay_status',              true,  false, true,  false),
  ('bank_relay_stop',                false, false, true,  false),
  ('bank_relay_start',               false, false, true,  false),
  ('bank_health',                    true,  false, true,  false),
  -- the HTTP front's; and those of the ledger's owner alone
  ('bank_answer_participant',        false, false, false, false),
  ('bank_grant',                     false, false, false, false),
  ('bank_revoke',                    false, false, false, false),
  ('bank_set_approval_threshold',    false, false, false, false),
  ('bank_remove_approval_threshold', false, false, false, false),
  ('bank_map_owner',                 false, false, false, false),
  ('bank_unmap_owner',               false, false, false, false);
COMMENT ON VIEW bank.profile_rights IS 'Which profiles may use a function or view of the API. Part of the extension, not data of the ledger.';
COMMENT ON COLUMN bank.profile_rights.object_name IS 'Name of the function or view.';
COMMENT ON COLUMN bank.profile_rights.auditor IS 'May an auditor, who reads everything and changes nothing?';
COMMENT ON COLUMN bank.profile_rights.teller IS 'May a teller, who acts on any account?';
COMMENT ON COLUMN bank.profile_rights.operator IS 'May an operator, who keeps the ledger running and moves no money?';
COMMENT ON COLUMN bank.profile_rights.customer IS 'May a customer, who acts for the accounts of one owner?';

CREATE VIEW @extschema@.bank_grants AS
  SELECT r.rolname AS role_name, p.proname::text AS profile
  FROM pg_catalog.pg_proc AS p
  CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS a
  JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
  WHERE p.pronamespace = 'bank'::pg_catalog.regnamespace AND p.pronargs = 0
    AND p.proname IN ('auditor', 'teller', 'operator', 'customer')
    AND a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner;
COMMENT ON VIEW @extschema@.bank_grants IS 'Which roles have been given which profile; their members have it too.';
COMMENT ON COLUMN @extschema@.bank_grants.role_name IS 'The role.';
COMMENT ON COLUMN @extschema@.bank_grants.profile IS 'auditor, teller, operator or customer.';

-- The statements that give a profile's rights, or take those that no other profile of the role gives.
CREATE FUNCTION bank.profile_objects(role_name name, profile text, revoking boolean) RETURNS SETOF text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  WITH object AS (
    SELECT p.proname AS object_name, pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure) AS object, 'EXECUTE' AS privilege
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
    JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
    WHERE e.extname = 'banking' AND p.pronamespace = e.extnamespace
    UNION ALL
    SELECT c.relname, pg_catalog.format('TABLE %s', c.oid::pg_catalog.regclass), 'SELECT'
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
    JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
    WHERE e.extname = 'banking' AND c.relnamespace = e.extnamespace AND c.relkind = 'v'
  ), held AS (
    SELECT g.profile FROM @extschema@.bank_grants AS g
    WHERE g.role_name = profile_objects.role_name AND g.profile <> profile_objects.profile
  )
  SELECT pg_catalog.format(CASE WHEN revoking THEN 'REVOKE %s ON %s FROM %I' ELSE 'GRANT %s ON %s TO %I' END, o.privilege, o.object, role_name)
  FROM object AS o JOIN bank.profile_rights AS r ON r.object_name = o.object_name::text
  CROSS JOIN LATERAL (VALUES ('auditor', r.auditor), ('teller', r.teller), ('operator', r.operator), ('customer', r.customer)) AS v (profile, has)
  WHERE v.profile = profile_objects.profile AND v.has
    AND NOT (revoking AND EXISTS (
      SELECT FROM held AS h
      WHERE CASE h.profile WHEN 'auditor' THEN r.auditor WHEN 'teller' THEN r.teller WHEN 'operator' THEN r.operator ELSE r.customer END))
  UNION ALL
  SELECT pg_catalog.format(CASE WHEN revoking THEN 'REVOKE EXECUTE ON FUNCTION bank.%I() FROM %I' ELSE 'GRANT EXECUTE ON FUNCTION bank.%I() TO %I' END,
                           profile, role_name);
END;
COMMENT ON FUNCTION bank.profile_objects(name, text, boolean) IS 'The statements that give a role a profile, or take it.';

CREATE FUNCTION bank.change_profile(role_name name, profile text, revoking boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  statement text;
BEGIN
  IF profile IS NULL OR profile NOT IN ('auditor', 'teller', 'operator', 'customer') THEN
    RAISE EXCEPTION 'unknown profile' USING ERRCODE = '22023', DETAIL = 'Profiles are auditor, teller, operator and customer.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = role_name) THEN
    RAISE EXCEPTION 'role "%" does not exist', role_name USING ERRCODE = '42704';
  END IF;
  FOR statement IN SELECT s.* FROM bank.profile_objects(role_name, profile, revoking) AS s LOOP
    EXECUTE statement;
  END LOOP;
END
$$;
COMMENT ON FUNCTION bank.change_profile(name, text, boolean) IS 'Gives a role a profile, or takes it. Raises 22023, 42704.';

CREATE FUNCTION @extschema@.bank_grant(role_name name, profile text) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank.change_profile(role_name, profile, false);
END;
COMMENT ON FUNCTION @extschema@.bank_grant(name, text) IS
  'Gives a role the rights of a profile: auditor (reads everything, changes nothing), teller (commands on any account), operator (subscriptions, participants, relay, rebuild, verify; moves no money), customer (accounts of its own owner only). Errors: 22023, 42704.';

CREATE FUNCTION @extschema@.bank_revoke(role_name name, profile text) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank.change_profile(role_name, profile, true);
END;
COMMENT ON FUNCTION @extschema@.bank_revoke(name, text) IS
  'Takes the rights of a profile from a role, save those that another profile gives it. Errors: 22023, 42704.';

CREATE FUNCTION @extschema@.bank_map_owner(role_name name, owner_id uuid) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF role_name IS NULL OR owner_id IS NULL THEN
    RAISE EXCEPTION 'Missing argument' USING ERRCODE = 'BK021', DETAIL = 'role_name and owner_id must not be null.';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = role_name) THEN
    RAISE EXCEPTION 'role "%" does not exist', role_name USING ERRCODE = '42704';
  END IF;
  INSERT INTO bank.role_owners AS o (role_name, owner_id) VALUES (bank_map_owner.role_name, bank_map_owner.owner_id)
    ON CONFLICT ON CONSTRAINT role_owners_pkey DO UPDATE SET owner_id = EXCLUDED.owner_id;
END
$$;
COMMENT ON FUNCTION @extschema@.bank_map_owner(name, uuid) IS
  'Says for which owner a role stands that logs in as itself; before it is renamed or dropped, unmap it. Errors: BK021, 42704.';

CREATE FUNCTION @extschema@.bank_unmap_owner(role_name name) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  DELETE FROM bank.role_owners AS o WHERE o.role_name = bank_unmap_owner.role_name;
END;
COMMENT ON FUNCTION @extschema@.bank_unmap_owner(name) IS 'Takes back bank_map_owner.';

REVOKE ALL ON FUNCTION
  bank.profile_objects(name, text, boolean),
  bank.change_profile(name, text, boolean),
  @extschema@.bank_grant(name, text),
  @extschema@.bank_revoke(name, text),
  @extschema@.bank_map_owner(name, uuid),
  @extschema@.bank_unmap_owner(name)
FROM PUBLIC;

-- What the default privileges of the database have given to roles as the objects above were made, is taken
-- back: a role gets what bank_grant gives it. What everybody may call stays as the server makes it.
DO $$
DECLARE
  statement text;
BEGIN
  FOR statement IN
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
      WHERE e.extname = 'banking' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
    ), object (object, owner, acl, given_to_public) AS (
      SELECT pg_catalog.format('FUNCTION %s', p.oid::pg_catalog.regprocedure), p.proowner, p.proacl, true
      FROM member AS m JOIN pg_catalog.pg_proc AS p ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = m.objid
      UNION ALL
      SELECT pg_catalog.format(CASE c.relkind WHEN 'S' THEN 'SEQUENCE %s' ELSE 'TABLE %s' END, c.oid::pg_catalog.regclass),
             c.relowner, c.relacl, false
      FROM member AS m JOIN pg_catalog.pg_class AS c ON m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = m.objid
      UNION ALL
      SELECT pg_catalog.format('SCHEMA %I', n.nspname), n.nspowner, n.nspacl, false
      FROM member AS m JOIN pg_catalog.pg_namespace AS n ON m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = m.objid
    )
    SELECT DISTINCT pg_catalog.format('REVOKE ALL ON %s FROM %s', o.object,
                                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END)
    FROM object AS o CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) AS a
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
    WHERE a.grantee <> o.owner AND NOT (o.given_to_public AND a.grantee = 0)
  LOOP
    EXECUTE statement;
  END LOOP;
END
$$;
