-- Static rules for every object of the extensions, from the catalog: what runs with whose rights, what it can be made to
-- call, what PUBLIC may do, what has a comment. Each rule also finds an offender made for it. Needs a database of its own.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION banking;
-- The REST API where what it stands on is there.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto') AS rest \gset
\if :rest
CREATE EXTENSION banking_rest CASCADE;
\endif

BEGIN;
SELECT no_plan();

CREATE VIEW member AS
SELECT d.classid, d.objid, e.extname, pg_describe_object(d.classid, d.objid, 0) AS name
FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname IN ('banking', 'banking_rest');
CREATE VIEW function AS
SELECT m.extname, m.name, p.*, l.lanname FROM member AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid JOIN pg_language AS l ON l.oid = p.prolang;

-- A rule is a query that finds who breaks it.
CREATE TABLE rule (name text PRIMARY KEY, query text, offence text);
INSERT INTO rule VALUES
('SECURITY DEFINER: a search_path of pg_catalog, pg_temp', $$
  SELECT name FROM function WHERE prosecdef AND lanname <> 'c' AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)$$,
 'CREATE FUNCTION bank.offender() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS '''''),
('no function in C is SECURITY DEFINER: it would call as the owner what its arguments lead to', $$
  SELECT name FROM function WHERE prosecdef AND lanname IN ('c', 'internal')$$,
 'ALTER FUNCTION bank.current_owner() SECURITY DEFINER'),
('SQL and PL/pgSQL: a search_path of pg_catalog, pg_temp, and no other setting, or a body that was resolved', $$
  SELECT name FROM function WHERE lanname NOT IN ('c', 'internal') AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
    AND NOT (proconfig IS NULL AND prosqlbody IS NOT NULL AND extname = 'banking_rest')$$,
 'ALTER FUNCTION bank.auditor() SET work_mem = ''1GB'''),
('SQL: bodies that were resolved when they were made', $$
  SELECT name FROM function WHERE lanname = 'sql' AND prosqlbody IS NULL$$,
 'CREATE FUNCTION bank.offender() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS ''SELECT'''),
('functions are in C, SQL or PL/pgSQL', $$
  SELECT name FROM function WHERE lanname NOT IN ('c', 'sql', 'plpgsql') AND prokind <> 'a'$$,
 'CREATE FUNCTION bank.offender(text) RETURNS integer LANGUAGE internal AS ''textlen'''),
('functions in C: in this library, with names of its own', $$
  SELECT name FROM function WHERE lanname = 'c' AND (probin <> '$libdir/banking' OR prosrc !~ '^bank_')$$,
 'CREATE FUNCTION bank.offender() RETURNS void LANGUAGE c AS ''plpgsql'', ''plpgsql_call_handler'''),
('leakproof is what cannot fail: comparing for equality, ordering, hashing', $$
  SELECT name FROM function WHERE proleakproof AND NOT (pronamespace = 'bank'::regnamespace AND proname IN
    ('money_eq', 'money_ne', 'money_order', 'money_order_lt', 'money_order_le', 'money_order_ge', 'money_order_gt', 'money_hash', 'money_hash_extended'))$$,
 'ALTER FUNCTION bank.money_lt(@bank_money, @bank_money) LEAKPROOF'),
('no support functions of somebody else''s', $$
  SELECT name FROM function WHERE prosupport <> 0$$, 'ALTER FUNCTION bank.money_eq(@bank_money, @bank_money) SUPPORT pg_catalog.textlike_support'),
('everything belongs to who made the extension', $$
  SELECT m.name FROM member AS m JOIN pg_shdepend AS s ON s.classid = m.classid AND s.objid = m.objid
  WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.deptype = 'o' AND s.refobjid <> current_user::regrole$$,
 'ALTER TABLE bank.holds OWNER TO pgtap_banking_offender'),
('no text with the owner''s rights names the schema of the API', $$
  SELECT name FROM function WHERE extname = 'banking' AND lanname = 'plpgsql' AND prosrc ~* '\mpublic\M'$$,
 'CREATE FUNCTION bank.offender() RETURNS void LANGUAGE plpgsql AS ''BEGIN PERFORM * FROM public.bank_accounts; END'''),
('PL/pgSQL runs no text that is put together but GRANT and REVOKE, and no text that comes from outside', $$
  SELECT name FROM function WHERE extname = 'banking' AND lanname = 'plpgsql' AND prosrc ~* '\mEXECUTE\M'
    AND (pronamespace, proname) NOT IN (('bank'::regnamespace, 'change_profile'))$$,
 'CREATE FUNCTION bank.offender(x text) RETURNS void LANGUAGE plpgsql AS ''BEGIN EXECUTE x; END'''),
('PUBLIC may use no table, view or sequence, nor a column', $$
  SELECT m.name FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
  WHERE EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner AND m.extname = 'banking' OR a.grantee = 0)
     OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)$$,
 'GRANT SELECT (position) ON bank.events TO PUBLIC'),
('nor a schema', $$
  SELECT m.name FROM member AS m JOIN pg_namespace AS n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
  WHERE EXISTS (SELECT FROM aclexplode(n.nspacl) AS a WHERE a.grantee = 0)$$, 'GRANT USAGE ON SCHEMA bank TO PUBLIC'),
('nor a function that is not harmless', $$
  SELECT name FROM function WHERE has_function_privilege('public', oid, 'EXECUTE') AND NOT (extname = 'banking' AND
    (lanname = 'c' AND (provolatile = 'i' OR proname ~ '^money_(lt|le|gt|ge)sel$') OR prokind = 'a' AND proargtypes[0] = '@bank_money'::regtype
     OR proname IN ('sees_all', 'current_owner', 'bank_current_owner', 'progress') OR proname IN ('bank_money', 'bank_amount', 'bank_currency', 'minor_to_numeric', 'minor_to_text')))$$,
 'GRANT EXECUTE ON FUNCTION bank.require_account(uuid, text) TO PUBLIC'),
('what PUBLIC may call of the API is never SECURITY DEFINER', $$
  SELECT name FROM function WHERE prosecdef AND has_function_privilege('public', oid, 'EXECUTE')$$,
 'GRANT EXECUTE ON FUNCTION @bank_account(uuid) TO PUBLIC'),
('no default privileges', $$SELECT defaclobjtype::text FROM pg_default_acl$$, 'ALTER DEFAULT PRIVILEGES IN SCHEMA bank GRANT SELECT ON TABLES TO PUBLIC'),
('views of the API cannot be written through', $$
  SELECT m.name FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
  WHERE c.relkind = 'v' AND c.relnamespace <> 'bank'::regnamespace AND pg_relation_is_updatable(c.oid, true) <> 0$$,
 'CREATE OR REPLACE VIEW @bank_approval_thresholds AS SELECT t.currency, t.threshold::numeric, t.expires_in, t.changed_at, t.changed_by FROM bank.approval_thresholds AS t'),
('views that ask who is looking are security barriers', $$
  SELECT m.name FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
  WHERE c.relkind = 'v' AND pg_get_viewdef(c.oid) ~ '(sees_all|current_owner)[(]'
    AND NOT coalesce('security_barrier=true' = ANY (c.reloptions), false)$$, 'ALTER VIEW bank.own_holds RESET (security_barrier)'),
('views that customers have, and no others, are security barriers', $$
  SELECT r.object_name FROM bank.profile_rights AS r JOIN pg_class AS c ON c.relname = r.object_name AND c.relkind = 'v' AND c.relnamespace = '@bank_money'::regtype::regclass_namespace
  WHERE r.customer <> coalesce('security_barrier=true' = ANY (c.reloptions), false)$$, 'ALTER VIEW @bank_holds RESET (security_barrier)'),
('views run with the rights of their owner, as what stands below them is nobody''s', $$
  SELECT m.name FROM member AS m JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
  WHERE c.reloptions::text ~ 'security_invoker'$$, 'ALTER VIEW @bank_holds SET (security_invoker)'),
('no rules, no policies, no inheritance, no foreign tables', $$
  SELECT format('rule %s', r.rulename) FROM pg_rewrite AS r JOIN member AS m ON m.classid = 'pg_class'::regclass AND m.objid = r.ev_class WHERE r.rulename <> '_RETURN'
  UNION ALL SELECT format('policy %s', p.polname) FROM pg_policy AS p UNION ALL SELECT format('child %s', inhrelid::regclass) FROM pg_inherits
  UNION ALL SELECT format('foreign %s', ftrelid::regclass) FROM pg_foreign_table$$, 'CREATE RULE offender AS ON INSERT TO bank.holds DO INSTEAD NOTHING'),
('no casts but the one to numeric, and none that is implicit', $$
  SELECT m.name FROM member AS m JOIN pg_cast AS c ON m.classid = 'pg_cast'::regclass AND c.oid = m.objid WHERE c.castcontext <> 'e' OR c.casttarget <> 'numeric'::regtype$$,
 'CREATE CAST (@bank_money AS text) WITH INOUT AS IMPLICIT'),
('every function a trigger fires is one of schema bank', $$
  SELECT t.tgname FROM pg_trigger AS t JOIN member AS m ON m.classid = 'pg_class'::regclass AND m.objid = t.tgrelid AND m.extname = 'banking' JOIN pg_proc AS p ON p.oid = t.tgfoid
  WHERE NOT t.tgisinternal AND p.pronamespace <> 'bank'::regnamespace$$,
 'CREATE TRIGGER offender BEFORE INSERT ON bank.holds FOR EACH STATEMENT EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
('every object has a comment', $$
  SELECT m.name FROM member AS m
  WHERE m.classid NOT IN ('pg_amop'::regclass, 'pg_amproc'::regclass, 'pg_opfamily'::regclass)
    AND NOT (m.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t WHERE t.oid = m.objid AND t.typelem <> 0 AND t.typcategory = 'A'))
    AND coalesce(obj_description(m.objid, m.classid::regclass::text), (SELECT obj_description(t.typrelid, 'pg_class') FROM pg_type AS t WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid),
                 (SELECT obj_description(t.oid, 'pg_type') FROM pg_class AS c JOIN pg_type AS t ON t.oid = c.reltype WHERE m.classid = 'pg_class'::regclass AND c.oid = m.objid)) IS NULL$$,
 'COMMENT ON OPERATOR @+ (@bank_money, @bank_money) IS NULL'),
('so has every column of a table, of a view of an API and of a composite type', $$
  SELECT format('%s.%s', a.attrelid::regclass, a.attname) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
  JOIN member AS m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid OR m.classid = 'pg_type'::regclass AND m.objid = c.reltype
  WHERE a.attnum > 0 AND NOT a.attisdropped AND (c.relkind IN ('r', 'c') OR c.relkind = 'v' AND c.relnamespace <> 'bank'::regnamespace) AND col_description(a.attrelid, a.attnum) IS NULL$$,
 'COMMENT ON COLUMN @bank_holds.status IS NULL'),
('no comment says nothing', $$
  SELECT m.name FROM member AS m WHERE length(obj_description(m.objid, m.classid::regclass::text)) < 3$$, 'COMMENT ON TABLE bank.holds IS ''-''');
UPDATE rule SET query = replace(replace(query, '''@bank_money''::regtype::regclass_namespace', '''public''::regnamespace'), '@', 'public.'),
  offence = replace(replace(offence, '@+ (', 'public.+ ('), '@', 'public.');

CREATE FUNCTION broken(rule text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE (SELECT format('SELECT x::text FROM (%s) AS q (x) ORDER BY 1', query) FROM rule AS r WHERE r.name = rule);
END
$$;
-- Somebody who breaks it is found; what that does is taken back.
CREATE FUNCTION finds(rule text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  before text[] := ARRAY(SELECT broken(rule));
  offence text := (SELECT r.offence FROM rule AS r WHERE r.name = rule);
BEGIN
  EXECUTE offence;
  IF offence ~ '\mbank\.offender\M' THEN
    EXECUTE format('ALTER EXTENSION banking ADD FUNCTION %s', (SELECT oid::regprocedure FROM pg_proc WHERE proname = 'offender'));
  ELSIF offence ~ '^CREATE CAST' THEN
    ALTER EXTENSION banking ADD CAST (public.bank_money AS text);
  END IF;
  RAISE SQLSTATE 'ZZ000' USING MESSAGE = (ARRAY(SELECT broken(rule)) <> before)::text;
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
  RETURN SQLERRM::boolean;
END
$$;
CREATE ROLE pgtap_banking_offender;

SELECT ok((SELECT count(*) > 200 FROM member WHERE extname = 'banking'), 'there is something to look at');
SELECT is(ARRAY(SELECT broken(name)), '{}'::text[], name) FROM rule ORDER BY name COLLATE "C";
SELECT ok(finds(name), 'finds an offender: ' || name) FROM rule ORDER BY name COLLATE "C";

SELECT * FROM finish();
ROLLBACK;
