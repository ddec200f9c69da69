-- The feed: committed events in delivery order, for the relay and for everybody's
-- own consumers. A batch is what one snapshot sees and the one before it did not,
-- by position (adapters/store/feed.c).

-- Transaction ids mean something in the cluster that gave them only. An
-- incarnation is the life of this ledger in one such space of ids: CREATE
-- EXTENSION begins one, and so pg_dump and pg_restore begin a new one with the
-- events of the old. A cursor names the incarnation that its snapshots are of.
--
-- The present incarnation is a sequence's value, as it must stay behind when the
-- ledger is dumped, but come along with pg_upgrade and physical copies.
CREATE SEQUENCE bank.incarnation AS bigint CACHE 1;
COMMENT ON SEQUENCE bank.incarnation IS
  'Its value, drawn at random by CREATE EXTENSION, is the number of the present incarnation; for that reason not dumped.';
SELECT pg_catalog.setval('bank.incarnation',
  (pg_catalog.floor(pg_catalog.random() * 9007199254740991))::bigint + 1);

CREATE TABLE bank.incarnations (
  incarnation bigint NOT NULL,
  after_position bigint NOT NULL,
  loaded_by xid8,
  begun_at timestamptz NOT NULL,
  CONSTRAINT incarnations_pkey PRIMARY KEY (incarnation)
);
COMMENT ON TABLE bank.incarnations IS
  'The lives of this ledger: where its transaction ids come from, before and after each dump and restore.';
COMMENT ON COLUMN bank.incarnations.incarnation IS 'Number of the incarnation.';
COMMENT ON COLUMN bank.incarnations.after_position IS 'Events up to here were loaded from a dump; those after it were appended in this incarnation, or loaded later.';
COMMENT ON COLUMN bank.incarnations.loaded_by IS 'The transaction that loaded them, an id of this incarnation; null when there were none.';
COMMENT ON COLUMN bank.incarnations.begun_at IS 'When the extension was created.';
INSERT INTO bank.incarnations (incarnation, after_position, begun_at)
  SELECT i.last_value, 0, pg_catalog.clock_timestamp() FROM bank.incarnation AS i;
SELECT pg_catalog.pg_extension_config_dump('bank.incarnations', '');

-- What logical replication brings gets the ids of this cluster, and leaves the
-- incarnations alone.
CREATE FUNCTION bank.events_stamp() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_events_stamp';
COMMENT ON FUNCTION bank.events_stamp() IS 'Writes the running transaction into a replicated event.';
REVOKE ALL ON FUNCTION bank.events_stamp() FROM PUBLIC;
CREATE FUNCTION bank.incarnations_skip() RETURNS trigger
  LANGUAGE c AS 'MODULE_PATHNAME', 'bank_incarnations_skip';
COMMENT ON FUNCTION bank.incarnations_skip() IS 'Leaves a replicated row out: it is about another ledger.';
REVOKE ALL ON FUNCTION bank.incarnations_skip() FROM PUBLIC;
CREATE TRIGGER events_stamp
  BEFORE INSERT ON bank.events
  FOR EACH ROW EXECUTE FUNCTION bank.events_stamp();
ALTER TABLE bank.events ENABLE REPLICA TRIGGER events_stamp;
COMMENT ON TRIGGER events_stamp ON bank.events IS 'Fires for logical replication only: transaction ids of another cluster mean nothing here.';
CREATE TRIGGER incarnations_skip
  BEFORE INSERT OR UPDATE OR DELETE ON bank.incarnations
  FOR EACH ROW EXECUTE FUNCTION bank.incarnations_skip();
ALTER TABLE bank.incarnations ENABLE REPLICA TRIGGER incarnations_skip;
COMMENT ON TRIGGER incarnations_skip ON bank.incarnations IS 'Fires for logical replication only: the publisher''s incarnations are not this ledger''s.';

CREATE FUNCTION bank.feed(cursor text, max_events integer)
  RETURNS TABLE (next_cursor text, "position" bigint)
  LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'bank_feed';
COMMENT ON FUNCTION bank.feed(text, integer) IS
  'Positions of the events after a cursor, in delivery order, each with the cursor after it.';
REVOKE ALL ON FUNCTION bank.feed(text, integer) FROM PUBLIC;

CREATE FUNCTION bank.feed_cursor(after_position bigint) RETURNS text
  LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bank_feed_cursor';
COMMENT ON FUNCTION bank.feed_cursor(bigint) IS
  'A cursor before every event that is not visible yet, and before those visible ones after this position; null: before no visible one.';
REVOKE ALL ON FUNCTION bank.feed_cursor(bigint) FROM PUBLIC;

CREATE TYPE @extschema@.bank_feed_event AS (
  cursor text,
  position bigint,
  event_id uuid,
  aggregate_id uuid,
  version bigint,
  peer_id uuid,
  peer_version bigint,
  event_type text,
  event_data jsonb,
  metadata jsonb,
  occurred_at timestamptz,
  recorded_at timestamptz
);
COMMENT ON TYPE @extschema@.bank_feed_event IS 'An event as the feed gives it.';
COMMENT ON COLUMN @extschema@.bank_feed_event.cursor IS 'Where to go on after this event: what bank_feed takes next.';
COMMENT ON COLUMN @extschema@.bank_feed_event.position IS 'Position of the event; not always greater than that of the row before.';
COMMENT ON COLUMN @extschema@.bank_feed_event.event_id IS 'Identifier of the event; the same whenever it is read again.';
COMMENT ON COLUMN @extschema@.bank_feed_event.aggregate_id IS 'The account the event is about; the source of a transfer.';
COMMENT ON COLUMN @extschema@.bank_feed_event.version IS 'Place in the stream of aggregate_id.';
COMMENT ON COLUMN @extschema@.bank_feed_event.peer_id IS 'The other account of a movement.';
COMMENT ON COLUMN @extschema@.bank_feed_event.peer_version IS 'Place in the stream of peer_id.';
COMMENT ON COLUMN @extschema@.bank_feed_event.event_type IS 'What happened.';
COMMENT ON COLUMN @extschema@.bank_feed_event.event_data IS 'What happened, as a JSON object; see view bank_events.';
COMMENT ON COLUMN @extschema@.bank_feed_event.metadata IS 'What the caller added to the command.';
COMMENT ON COLUMN @extschema@.bank_feed_event.occurred_at IS 'Business time.';
COMMENT ON COLUMN @extschema@.bank_feed_event.recorded_at IS 'When the event was appended.';

CREATE FUNCTION @extschema@.bank_feed(cursor text DEFAULT NULL, max_events integer DEFAULT 1000)
  RETURNS SETOF @extschema@.bank_feed_event
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL UNSAFE ROWS 1000
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT f.next_cursor, e.position, e.event_id, e.aggregate_id, e.version, e.peer_id, e.peer_version,
         e.event_type, e.event_data, e.metadata, e.occurred_at, e.recorded_at
  FROM bank.feed(bank_feed.cursor, bank_feed.max_events) WITH ORDINALITY AS f (next_cursor, "position", n)
  JOIN bank.event_list AS e ON e.position = f.position
  ORDER BY f.n;
END;
COMMENT ON FUNCTION @extschema@.bank_feed(text, integer) IS
  'Up to max_events (1 to 10000) committed events after a cursor, null for the beginning, each once and those of a stream in the order of its versions, also events that commit late; never waits. Keep the cursor of the last row and call again with it; none when there is nothing new. Errors: BK029, 22023.';
REVOKE ALL ON FUNCTION @extschema@.bank_feed(text, integer) FROM PUBLIC;

CREATE FUNCTION @extschema@.bank_feed_cursor(after_position bigint DEFAULT NULL) RETURNS text
  LANGUAGE sql STABLE SECURITY DEFINER PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
  SELECT bank.feed_cursor(bank_feed_cursor.after_position);
END;
COMMENT ON FUNCTION @extschema@.bank_feed_cursor(bigint) IS
  'A cursor for bank_feed that begins now, or with the first event after a position. Whatever is not committed yet comes in either case. Errors: 22023.';
REVOKE ALL ON FUNCTION @extschema@.bank_feed_cursor(bigint) FROM PUBLIC;
