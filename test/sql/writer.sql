-- Who writes: the extension itself where it may, the executor where somebody has put something on a
-- table that only the executor sees to. What comes out is the same.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
SELECT count(bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(n))) FROM generate_series(1, 4) AS n;
SELECT count(bank_deposit(a(n), '100 HTG')) FROM generate_series(1, 4) AS n;
SHOW banking.writer;
SET banking.writer = slow;

-- Twenty orders, one in five refused.
CREATE FUNCTION post() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT concat_ws('/', count(*) FILTER (WHERE ok), count(*))
  FROM (SELECT array_agg(a(1 + n % 4)) AS f, array_agg(a(1 + (n + 1) % 4)) AS t,
               array_agg(bank_money(CASE WHEN n % 5 = 0 THEN 1000 ELSE 0.01 END, 'HTG')) AS amounts
        FROM generate_series(1, 20) AS n) AS b, bank_post_transfers(f, t, amounts) AS r
$$;
SET banking.writer = direct;
SELECT post();
SELECT balance FROM bank_deposit(a(1), '1 HTG');
SET banking.writer = executor;
SELECT post();
SELECT balance FROM bank_deposit(a(1), '1 HTG');
SELECT * FROM broken_invariants();

-- Everything that keeps a table from being written directly. With direct, a command says what it is; with
-- auto it works all the same, and the thing has its effect.
SET client_min_messages = error;
CREATE TABLE seen (what text, rows bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO seen SELECT TG_NAME, CASE WHEN TG_LEVEL = 'ROW' THEN 1 END;
  RETURN NEW;
END
$$;
CREATE FUNCTION see_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO seen SELECT TG_NAME, count(*) FROM inserted;
  RETURN NULL;
END
$$;
CREATE FUNCTION obstacle(commands text) RETURNS TABLE (direct text, auto text, effect text) LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE commands;
    PERFORM set_config('banking.writer', 'direct', true);
    BEGIN
      direct := post();
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS direct = PG_EXCEPTION_DETAIL;
      direct := concat_ws('|', SQLSTATE, SQLERRM, direct);
    END;
    PERFORM set_config('banking.writer', 'auto', true);
    BEGIN
      auto := post();
    EXCEPTION WHEN OTHERS THEN
      auto := concat_ws('|', SQLSTATE, SQLERRM);
    END;
    SET CONSTRAINTS ALL IMMEDIATE;
    SELECT string_agg(DISTINCT concat_ws(' ', what, rows), ', ') INTO effect FROM seen;
    auto := concat_ws(' ', auto, (SELECT string_agg(b, ', ') FROM broken_invariants() AS b));
    RAISE EXCEPTION SQLSTATE 'ZZ000';
  EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    RETURN NEXT;
  END;
END
$$;
\t on
\a
SELECT * FROM obstacle('CREATE TRIGGER t AFTER INSERT ON bank.events REFERENCING NEW TABLE AS inserted EXECUTE FUNCTION see_table()');
SELECT * FROM obstacle('CREATE TRIGGER t AFTER INSERT ON bank.events FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE TRIGGER t BEFORE INSERT ON bank.events FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE TRIGGER t BEFORE INSERT ON bank.events EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE CONSTRAINT TRIGGER t AFTER INSERT ON bank.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE TRIGGER t AFTER UPDATE ON bank.accounts FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE TABLE r (id uuid REFERENCES bank.accounts)');
SELECT * FROM obstacle('ALTER TABLE bank.events ADD FOREIGN KEY (aggregate_id) REFERENCES bank.accounts');
SELECT * FROM obstacle('ALTER TABLE bank.events ENABLE TRIGGER events_apply');
SELECT * FROM obstacle('CREATE RULE r AS ON INSERT TO bank.events DO ALSO INSERT INTO seen VALUES (''rule'', 1)');
SELECT * FROM obstacle('CREATE RULE r AS ON UPDATE TO bank.accounts DO ALSO INSERT INTO seen VALUES (''rule'', 1)');
SELECT * FROM obstacle('ALTER TABLE bank.events ENABLE ROW LEVEL SECURITY');
SELECT * FROM obstacle('ALTER TABLE bank.accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
SELECT * FROM obstacle('ALTER TABLE bank.events ADD CHECK (amount < 100000)');
SELECT * FROM obstacle('ALTER TABLE bank.events ADD CHECK (amount <> 1) NOT VALID');
SELECT * FROM obstacle('ALTER TABLE bank.accounts ADD CHECK (version < 1000000)');
SELECT * FROM obstacle('ALTER TABLE bank.events ADD COLUMN note text DEFAULT ''x''');
SELECT * FROM obstacle('ALTER TABLE bank.accounts ADD COLUMN double bigint GENERATED ALWAYS AS (credits * 2) STORED');
SELECT * FROM obstacle('CREATE INDEX ON bank.events ((metadata ->> ''correlation''))');
SELECT * FROM obstacle('CREATE INDEX ON bank.events (position) WHERE amount > 5');
SELECT * FROM obstacle('CREATE INDEX ON bank.events USING hash (event_id)');
SELECT * FROM obstacle('CREATE INDEX ON bank.events USING brin (recorded_at)');
SELECT * FROM obstacle('ALTER TABLE bank.events ADD UNIQUE (event_id) DEFERRABLE');
SELECT * FROM obstacle('CREATE TABLE child () INHERITS (bank.events)');
-- no obstacle: a default, a plain index more, one of several columns, one that makes updates cold
SELECT * FROM obstacle('ALTER TABLE bank.accounts ALTER balance_limit SET DEFAULT 0');
SELECT * FROM obstacle('CREATE INDEX ON bank.events (recorded_at)');
SELECT * FROM obstacle('CREATE UNIQUE INDEX ON bank.events (peer_id, position DESC, event_id)');
SELECT * FROM obstacle('CREATE INDEX ON bank.accounts (version)');
-- a publication that needs more of bank.accounts than it has
SELECT * FROM obstacle('ALTER TABLE bank.accounts REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR TABLE bank.accounts');
-- The same for holds: one captured, one released, one open.
ALTER FUNCTION post() RENAME TO post_orders;
CREATE FUNCTION post() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  hold uuid;
BEGIN
  hold := (bank_hold(a(1), '0.03 HTG')).event_id;
  PERFORM bank_capture(hold, amount => '0.01 HTG', to_account => a(2));
  hold := (bank_hold(a(1), '0.03 HTG')).event_id;
  PERFORM bank_release(hold);
  PERFORM bank_hold(a(2), '0.03 HTG', expires_in => '1 microsecond');
  PERFORM bank_hold(a(2), '0.04 HTG');
  RETURN (SELECT string_agg(concat_ws(' ', status, n), ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM bank.holds GROUP BY 1) AS s);
END
$$;
SELECT * FROM obstacle('SELECT 1');
SELECT * FROM obstacle('CREATE TRIGGER t AFTER INSERT ON bank.holds FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE TRIGGER t AFTER UPDATE ON bank.holds FOR EACH ROW EXECUTE FUNCTION see()');
SELECT * FROM obstacle('CREATE RULE r AS ON UPDATE TO bank.holds DO ALSO INSERT INTO seen VALUES (''rule'', 1)');
SELECT * FROM obstacle('ALTER TABLE bank.holds ENABLE ROW LEVEL SECURITY');
SELECT * FROM obstacle('ALTER TABLE bank.holds ADD CHECK (captured <= amount)');
SELECT * FROM obstacle('ALTER TABLE bank.holds ADD CHECK (captured > amount) NOT VALID');
SELECT * FROM obstacle('ALTER TABLE bank.holds ADD COLUMN note text DEFAULT ''x''');
SELECT * FROM obstacle('CREATE INDEX ON bank.holds ((upper(status))) WHERE amount > 3');
\a
\t off
SET banking.writer = executor;
SELECT post();
SET banking.writer = direct;
SELECT post();
SELECT * FROM broken_invariants();
DROP FUNCTION post();
ALTER FUNCTION post_orders() RENAME TO post;

-- The rights of the ledger's owner count for both writers.
CREATE ROLE regress_banking_owner;
BEGIN;
ALTER TABLE bank.events OWNER TO regress_banking_owner;
ALTER TABLE bank.accounts OWNER TO regress_banking_owner;
ALTER TABLE bank.holds OWNER TO regress_banking_owner;
ALTER SEQUENCE bank.events_position_seq OWNER TO regress_banking_owner;
GRANT USAGE ON SCHEMA bank TO regress_banking_owner;
GRANT ALL ON ALL TABLES IN SCHEMA bank TO regress_banking_owner;
REVOKE INSERT ON bank.events FROM regress_banking_owner;
SET LOCAL banking.writer = auto;
SELECT post();
ROLLBACK;
DROP ROLE regress_banking_owner;

-- What a command has written directly is seen by the next one, and not by what was before; a savepoint takes it back.
SET banking.writer = direct;
BEGIN;
SELECT count(*) AS before FROM bank.events \gset
DECLARE c CURSOR FOR SELECT count(*) - :before FROM bank.events;
SELECT post();
FETCH c;
SELECT count(*) - :before FROM bank.events;
SAVEPOINT s;
SELECT post();
ROLLBACK TO s;
SELECT count(*) - :before FROM bank.events;
SELECT post();
COMMIT;
SELECT count(*) - :before FROM bank.events;
SELECT * FROM broken_invariants();

SET client_min_messages = warning;
SET banking.allow_drop = on;
DROP EXTENSION banking CASCADE;
