-- Verification and rebuilding: everything is derived again from the events.

CREATE FUNCTION @extschema@.bank_verify(
  OUT invariant text, OUT ok boolean, OUT failures bigint, OUT detail text
) RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL UNSAFE ROWS 17 COST 1000000
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'bank_sql_verify';
COMMENT ON FUNCTION @extschema@.bank_verify() IS
  'Re-derives every balance from the events and checks every invariant of the ledger in one snapshot: one row each, with the number of failures and the first one. Blocks nobody; runs on standbys; progress in bank_progress.';
REVOKE ALL ON FUNCTION @extschema@.bank_verify() FROM PUBLIC;

CREATE TYPE @extschema@.bank_rebuild_result AS (events bigint, accounts bigint, repaired bigint);
COMMENT ON TYPE @extschema@.bank_rebuild_result IS 'What bank_rebuild read and repaired.';
COMMENT ON COLUMN @extschema@.bank_rebuild_result.events IS 'Events read.';
COMMENT ON COLUMN @extschema@.bank_rebuild_result.accounts IS 'Accounts and stripes they make.';
COMMENT ON COLUMN @extschema@.bank_rebuild_result.repaired IS 'Rows of read models that were not as the events say.';

CREATE FUNCTION @extschema@.bank_rebuild() RETURNS @extschema@.bank_rebuild_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000
  SET search_path = pg_catalog, pg_temp
  AS 'MODULE_PATHNAME', 'bank_sql_rebuild';
COMMENT ON FUNCTION @extschema@.bank_rebuild() IS
  'Makes the read models again from the events alone and writes the rows that differ; moves the sequences on where they have fallen behind (after taking over a logical replica). Commands wait until the transaction ends, readers do not; progress in bank_progress. Refused when the events themselves are damaged (XX001).';
REVOKE ALL ON FUNCTION @extschema@.bank_rebuild() FROM PUBLIC;

CREATE FUNCTION bank.progress(
  OUT pid integer, OUT command text, OUT phase text, OUT events_total bigint, OUT events_done bigint
) RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 2
  AS 'MODULE_PATHNAME', 'bank_progress';
COMMENT ON FUNCTION bank.progress() IS 'Sessions of this database that run bank_verify or bank_rebuild.';

CREATE VIEW @extschema@.bank_progress AS
  SELECT p.pid, p.command, p.phase, p.events_done, p.events_total
  FROM bank.progress() AS p;
COMMENT ON VIEW @extschema@.bank_progress IS
  'How far running bank_verify and bank_rebuild calls of this database have come.';
COMMENT ON COLUMN @extschema@.bank_progress.pid IS 'Process that runs it.';
COMMENT ON COLUMN @extschema@.bank_progress.command IS 'verify or rebuild.';
COMMENT ON COLUMN @extschema@.bank_progress.phase IS 'starting, waiting for locks, reading events, reading read models, writing read models.';
COMMENT ON COLUMN @extschema@.bank_progress.events_done IS 'Events read so far.';
COMMENT ON COLUMN @extschema@.bank_progress.events_total IS 'Events to read, by the highest position; more than there are where positions were lost to rollbacks.';
