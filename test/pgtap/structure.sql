-- The ledger as a DBA finds it: schemas, tables, columns, constraints, indexes, sequences, triggers,
-- comments, and what pg_dump takes along. Needs a database of its own.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION banking;

BEGIN;
SELECT no_plan();

-- Where things are.
SELECT has_extension('public', 'banking', 'the extension is in the schema that was asked for');
SELECT schema_owner_is('bank', current_user, 'schema bank belongs to who made the extension');
SELECT ok(NOT has_schema_privilege('public', 'bank', 'USAGE'), 'PUBLIC has no USAGE on schema bank');
SELECT ok(NOT has_schema_privilege('public', 'bank', 'CREATE'), 'PUBLIC cannot create in schema bank');
SELECT tables_are('bank', ARRAY['actors', 'role_owners', 'events', 'accounts', 'holds', 'backdated_movements', 'idempotency_keys', 'incarnations', 'subscriptions',
  'subscription_secrets', 'subscription_progress', 'deliveries', 'relay_stopped', 'transfers', 'transfer_attempts', 'participants',
  'participant_secrets', 'participant_progress', 'approvals', 'approval_thresholds']);
SELECT views_are('bank', ARRAY['profile_rights', 'customer_account_list', 'account_list', 'all_accounts', 'own_accounts', 'all_holds', 'own_holds', 'all_transfers', 'own_transfers', 'event_list', 'hold_list', 'transfer_list', 'approval_list', 'stream', 'outgoing']);
SELECT sequences_are('bank', ARRAY['actors_actor_id_seq', 'events_position_seq', 'account_serial_seq', 'incarnation']);
SELECT is((SELECT format('%s %s %s', extversion, extrelocatable, extowner::regrole) FROM pg_extension WHERE extname = 'banking'),
          (SELECT format('%s f %s', default_version, current_user) FROM pg_available_extensions WHERE name = 'banking'),
          'it has its default version, is not relocatable and belongs to who made it');
SELECT results_eq($$SELECT superuser, trusted FROM pg_available_extension_versions WHERE name = 'banking' AND installed$$,
                  $$VALUES (true, false)$$, 'only a superuser can make it');

-- Columns: name, type, may it be null?
CREATE FUNCTION columns(relation regclass) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT format('%s %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN ' NOT NULL' END)
  FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped ORDER BY attnum
$$;
SELECT is(ARRAY(SELECT columns('bank.events')), ARRAY[
  'position bigint NOT NULL', 'version bigint NOT NULL', 'peer_version bigint', 'amount bigint', 'balance bigint NOT NULL',
  'peer_balance bigint', 'recorded_at timestamp with time zone NOT NULL', 'transaction_id xid8 NOT NULL', 'event_id uuid NOT NULL',
  'aggregate_id uuid NOT NULL', 'peer_id uuid', 'event_type bank.event_type NOT NULL', 'currency text NOT NULL',
  'occurred_at timestamp with time zone', 'data jsonb', 'metadata jsonb', 'held bigint', 'peer_held bigint',
  'expires_at timestamp with time zone', 'hold_id uuid', 'limits_before bigint',
  'actor_id integer'], 'columns of bank.events');
SELECT is(ARRAY(SELECT columns('bank.accounts')), ARRAY[
  'account_id uuid NOT NULL', 'version bigint NOT NULL', 'debits bigint NOT NULL', 'credits bigint NOT NULL', 'position bigint NOT NULL',
  'held bigint NOT NULL', 'overdraft_limit bigint NOT NULL', 'recorded_at timestamp with time zone NOT NULL',
  'business_at timestamp with time zone NOT NULL', 'created_at timestamp with time zone NOT NULL', 'currency text NOT NULL',
  'account_type text NOT NULL', 'status text NOT NULL', 'balance_limit bigint', 'owner_id uuid', 'account_number text',
  'house_code text', 'stripe integer', 'house_account_id uuid', 'next_expiry timestamp with time zone', 'limits_version bigint NOT NULL'],
  'columns of bank.accounts');
SELECT is(ARRAY(SELECT columns('bank.holds')), ARRAY[
  'hold_id uuid NOT NULL', 'account_id uuid NOT NULL', 'amount bigint NOT NULL', 'captured bigint NOT NULL',
  'expires_at timestamp with time zone NOT NULL', 'created_at timestamp with time zone NOT NULL', 'created_version bigint NOT NULL',
  'created_position bigint NOT NULL', 'resolved_at timestamp with time zone', 'resolved_version bigint', 'resolved_position bigint',
  'currency text NOT NULL', 'status text NOT NULL'], 'columns of bank.holds');
SELECT is(ARRAY(SELECT columns('bank.backdated_movements')), ARRAY[
  'account_id uuid NOT NULL', 'version bigint NOT NULL', 'business_at timestamp with time zone NOT NULL',
  'latest_before timestamp with time zone NOT NULL', 'amount bigint NOT NULL', 'held bigint NOT NULL'],
  'columns of bank.backdated_movements');
SELECT is(ARRAY(SELECT columns('bank.idempotency_keys')), ARRAY[
  'idempotency_key text NOT NULL', 'request_hash bytea NOT NULL', 'aggregate_id uuid', 'version bigint', 'refusal jsonb'],
  'columns of bank.idempotency_keys');
SELECT is(ARRAY(SELECT columns('bank.incarnations')), ARRAY[
  'incarnation bigint NOT NULL', 'after_position bigint NOT NULL', 'loaded_by xid8', 'begun_at timestamp with time zone NOT NULL'],
  'columns of bank.incarnations');
SELECT is(ARRAY(SELECT columns('bank.subscriptions')), ARRAY[
  'subscription_id uuid NOT NULL', 'name text NOT NULL', 'sink text NOT NULL', 'url text NOT NULL', 'headers jsonb NOT NULL',
  'event_types text[]', 'account_ids uuid[]', 'owner_ids uuid[]', 'currencies text[]', 'batch_size integer',
  'connect_timeout interval NOT NULL', 'request_timeout interval NOT NULL', 'concurrency integer NOT NULL',
  'max_attempts integer NOT NULL', 'retry_delay interval NOT NULL', 'retry_max_delay interval NOT NULL', 'on_failure text NOT NULL',
  'failure_threshold integer NOT NULL', 'breaker_timeout interval NOT NULL', 'state text NOT NULL', 'state_reason text',
  'state_since timestamp with time zone NOT NULL', 'created_at timestamp with time zone NOT NULL'], 'columns of bank.subscriptions');
SELECT is(ARRAY(SELECT columns('bank.subscription_secrets')), ARRAY[
  'subscription_id uuid NOT NULL', 'created_at timestamp with time zone NOT NULL', 'secret bytea NOT NULL',
  'expires_at timestamp with time zone'], 'columns of bank.subscription_secrets');
SELECT is(ARRAY(SELECT columns('bank.subscription_progress')), ARRAY[
  'subscription_id uuid NOT NULL', 'revision bigint NOT NULL', 'cursor text NOT NULL', 'done_after bigint[] NOT NULL',
  'read_position bigint NOT NULL', 'breaker_state text NOT NULL', 'breaker_forced boolean NOT NULL',
  'breaker_since timestamp with time zone NOT NULL', 'breaker_failures integer NOT NULL', 'throttled_until timestamp with time zone',
  'delivered bigint NOT NULL', 'failed bigint NOT NULL', 'last_delivered_at timestamp with time zone', 'last_error text',
  'last_error_at timestamp with time zone'], 'columns of bank.subscription_progress');
SELECT is(ARRAY(SELECT columns('bank.deliveries')), ARRAY[
  'subscription_id uuid NOT NULL', 'position bigint NOT NULL', 'state text NOT NULL', 'attempts integer NOT NULL',
  'next_attempt_at timestamp with time zone', 'first_attempt_at timestamp with time zone', 'last_attempt_at timestamp with time zone',
  'last_status integer', 'last_error text'], 'columns of bank.deliveries');
SELECT is(ARRAY(SELECT columns('bank.relay_stopped')), ARRAY['stopped_at timestamp with time zone NOT NULL', 'stopped_by text NOT NULL'],
  'columns of bank.relay_stopped');
SELECT is(ARRAY(SELECT columns('bank.transfers')), ARRAY[
  'transfer_id uuid NOT NULL', 'version bigint NOT NULL', 'position bigint NOT NULL', 'recorded_at timestamp with time zone NOT NULL',
  'created_at timestamp with time zone NOT NULL', 'amount bigint NOT NULL', 'captured boolean NOT NULL', 'state text NOT NULL',
  'currency text NOT NULL', 'participant text NOT NULL', 'house_account text NOT NULL', 'destination text NOT NULL', 'code text NOT NULL',
  'reason text NOT NULL', 'account_id uuid', 'deadline timestamp with time zone'], 'columns of bank.transfers');
SELECT is(ARRAY(SELECT columns('bank.transfer_attempts')), ARRAY[
  'transfer_id uuid NOT NULL', 'participant text NOT NULL', 'next_attempt_at timestamp with time zone NOT NULL', 'attempts integer NOT NULL',
  'absent boolean NOT NULL', 'last_attempt_at timestamp with time zone', 'last_status integer', 'last_error text'],
  'columns of bank.transfer_attempts');
SELECT is(ARRAY(SELECT columns('bank.participants')), ARRAY[
  'participant_id uuid NOT NULL', 'name text NOT NULL', 'url text NOT NULL', 'state text NOT NULL', 'house_account text NOT NULL',
  'deadline interval NOT NULL', 'connect_timeout interval NOT NULL', 'request_timeout interval NOT NULL', 'concurrency integer NOT NULL',
  'retry_delay interval NOT NULL', 'retry_max_delay interval NOT NULL', 'failure_threshold integer NOT NULL',
  'breaker_timeout interval NOT NULL', 'created_at timestamp with time zone NOT NULL', 'changed_at timestamp with time zone NOT NULL'],
  'columns of bank.participants');
SELECT is(ARRAY(SELECT columns('bank.participant_secrets')), ARRAY[
  'participant_id uuid NOT NULL', 'secret bytea NOT NULL', 'created_at timestamp with time zone NOT NULL',
  'expires_at timestamp with time zone'], 'columns of bank.participant_secrets');
SELECT is(ARRAY(SELECT columns('bank.participant_progress')), ARRAY[
  'participant_id uuid NOT NULL', 'revision bigint NOT NULL', 'breaker_state text NOT NULL', 'breaker_forced boolean NOT NULL',
  'breaker_since timestamp with time zone NOT NULL', 'breaker_failures integer NOT NULL', 'throttled_until timestamp with time zone',
  'answered bigint NOT NULL', 'failed bigint NOT NULL', 'last_answered_at timestamp with time zone',
  'last_error_at timestamp with time zone', 'last_error text'], 'columns of bank.participant_progress');
-- What others rely on; columns may be added after these.
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_accounts') WITH ORDINALITY AS t (c, n) WHERE n <= 11) = ARRAY[
  'account_id uuid', 'account_number text', 'owner_id uuid', 'account_type text', 'currency text', 'status text', 'balance numeric',
  'held numeric', 'available numeric', 'version bigint', 'created_at timestamp with time zone'], 'columns of bank_accounts');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_events') WITH ORDINALITY AS t (c, n) WHERE n <= 11) = ARRAY[
  'position bigint', 'event_id uuid', 'aggregate_id uuid', 'version bigint', 'peer_id uuid', 'peer_version bigint', 'event_type text',
  'event_data jsonb', 'metadata jsonb', 'occurred_at timestamp with time zone', 'recorded_at timestamp with time zone'],
  'columns of bank_events');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_holds') WITH ORDINALITY AS t (c, n) WHERE n <= 11) = ARRAY[
  'hold_id uuid', 'account_id uuid', 'currency text', 'amount numeric', 'captured numeric', 'status text',
  'expires_at timestamp with time zone', 'created_at timestamp with time zone', 'resolved_at timestamp with time zone',
  'created_position bigint', 'resolved_position bigint'], 'columns of bank_holds');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_transfers') WITH ORDINALITY AS t (c, n) WHERE n <= 19) = ARRAY[
  'transfer_id uuid', 'direction text', 'state text', 'participant text', 'account_id uuid', 'destination text', 'amount numeric',
  'currency text', 'version bigint', 'created_at timestamp with time zone', 'changed_at timestamp with time zone', 'age interval',
  'deadline timestamp with time zone', 'attempts integer', 'next_attempt_at timestamp with time zone', 'last_status integer',
  'last_error text', 'code text', 'reason text'], 'columns of bank_transfers');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_participants') WITH ORDINALITY AS t (c, n) WHERE n <= 15) = ARRAY[
  'name text', 'url text', 'state text', 'breaker_state text', 'breaker_since timestamp with time zone', 'breaker_failures integer',
  'breaker_forced boolean', 'throttled_until timestamp with time zone', 'under_way bigint', 'in_doubt bigint', 'answered bigint',
  'failed bigint', 'last_answered_at timestamp with time zone', 'last_error text', 'last_error_at timestamp with time zone'],
  'columns of bank_participants');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_trial_balance') WITH ORDINALITY AS t (c, n) WHERE n <= 3) = ARRAY[
  'currency text', 'debits numeric', 'credits numeric'], 'columns of bank_trial_balance');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_receipt') WITH ORDINALITY AS t (c, n) WHERE n <= 10) = ARRAY[
  'event_id uuid', 'account_id uuid', 'event_type text', 'amount numeric', 'currency text', 'balance numeric', 'version bigint',
  'position bigint', 'recorded_at timestamp with time zone', 'replayed boolean'], 'members of bank_receipt');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_feed_event') WITH ORDINALITY AS t (c, n) WHERE n <= 12) = ARRAY[
  'cursor text', 'position bigint', 'event_id uuid', 'aggregate_id uuid', 'version bigint', 'peer_id uuid', 'peer_version bigint', 'event_type text',
  'event_data jsonb', 'metadata jsonb', 'occurred_at timestamp with time zone', 'recorded_at timestamp with time zone'],
  'members of bank_feed_event: a cursor, and the columns of bank_events');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_subscriptions') WITH ORDINALITY AS t (c, n) WHERE n <= 20) = ARRAY[
  'name text', 'sink text', 'url text', 'state text', 'state_reason text', 'state_since timestamp with time zone', 'breaker_state text',
  'breaker_since timestamp with time zone', 'breaker_failures integer', 'breaker_forced boolean', 'throttled_until timestamp with time zone',
  'lag_events bigint', 'lag_seconds numeric(20,3)', 'retrying bigint', 'dead_letters bigint', 'delivered bigint', 'failed bigint',
  'last_delivered_at timestamp with time zone', 'last_error text', 'last_error_at timestamp with time zone'], 'columns of bank_subscriptions');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_deliveries') WITH ORDINALITY AS t (c, n) WHERE n <= 13) = ARRAY[
  'subscription text', 'state text', 'event_id uuid', 'position bigint', 'event_type text', 'aggregate_id uuid', 'peer_id uuid',
  'attempts integer', 'next_attempt_at timestamp with time zone', 'first_attempt_at timestamp with time zone',
  'last_attempt_at timestamp with time zone', 'last_status integer', 'last_error text'], 'columns of bank_deliveries');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_dead_letters') WITH ORDINALITY AS t (c, n) WHERE n <= 11) = ARRAY[
  'subscription text', 'event_id uuid', 'position bigint', 'event_type text', 'aggregate_id uuid', 'event_data jsonb', 'attempts integer',
  'first_attempt_at timestamp with time zone', 'last_attempt_at timestamp with time zone', 'last_status integer', 'last_error text'],
  'columns of bank_dead_letters');
SELECT ok((SELECT array_agg(c ORDER BY n) FROM columns('bank_relay_state') WITH ORDINALITY AS t (c, n) WHERE n <= 8) = ARRAY[
  'state text', 'pid integer', 'started_at timestamp with time zone', 'error text', 'requests_in_flight bigint', 'events_in_memory bigint',
  'payload_bytes bigint', 'delivered bigint'], 'members of bank_relay_state');
-- Secrets leave by the functions that make them, and by the worker: no view and no SQL function reads them, nor values of headers.
SELECT is_empty($$SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d JOIN pg_attribute AS a ON a.attrelid = d.refobjid
                  WHERE d.refobjid IN ('bank.subscription_secrets'::regclass, 'bank.participant_secrets'::regclass) AND d.refobjsubid = a.attnum AND a.attname = 'secret'$$,
                'no view or function depends on the column of the secrets');
SELECT is_empty($$SELECT attrelid::regclass, attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                  WHERE c.relkind = 'v' AND c.relname LIKE 'bank\_%' AND attname IN ('headers', 'secret')$$, 'no view shows headers');

-- Keys.
SELECT col_is_pk('bank', 'events', ARRAY['aggregate_id', 'version'], 'an event has one place in its stream');
SELECT col_is_unique('bank', 'events', ARRAY['peer_id', 'peer_version'], 'and one in its peer''s');
SELECT col_is_unique('bank', 'events', ARRAY['position'], 'positions are unique');
SELECT col_is_pk('bank', 'accounts', 'account_id', 'an account has one row');
SELECT col_is_unique('bank', 'accounts', 'account_number', 'account numbers are unique');
SELECT col_is_pk('bank', 'idempotency_keys', 'idempotency_key', 'a key has one outcome');
SELECT col_is_pk('bank', 'backdated_movements', ARRAY['account_id', 'version'], 'a movement is back-dated once');
SELECT col_is_pk('bank', 'holds', 'hold_id', 'a hold has one row');
SELECT is(ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'bank.holds'::regclass AND NOT indisprimary ORDER BY 1), ARRAY[
  'CREATE INDEX holds_account ON bank.holds USING btree (account_id, status, expires_at)',
  'CREATE INDEX holds_expiry ON bank.holds USING btree (expires_at) WHERE (status = ''OPEN''::text)'],
  'open holds are found by account and by expiry');
SELECT col_is_pk('bank', 'transfers', 'transfer_id', 'a transfer has one row');
SELECT is(ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'bank.transfers'::regclass AND NOT indisprimary ORDER BY 1), ARRAY[
  'CREATE INDEX transfers_account ON bank.transfers USING btree (account_id)',
  'CREATE INDEX transfers_deadline ON bank.transfers USING btree (deadline) WHERE (state = ANY (ARRAY[''reserved''::text, ''submitted''::text, ''cancelling''::text, ''returning''::text]))',
  'CREATE INDEX transfers_unresolved ON bank.transfers USING btree (state, created_at) WHERE (state = ANY (ARRAY[''initiated''::text, ''reserved''::text, '
  '''submitted''::text, ''cancelling''::text, ''returning''::text, ''in_doubt''::text]))'], 'transfers are found by account, and those under way by deadline and state');
SELECT col_is_pk('bank', 'transfer_attempts', 'transfer_id', 'a transfer is to be asked about once');
SELECT is(ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'bank.transfer_attempts'::regclass AND NOT indisprimary ORDER BY 1), ARRAY[
  'CREATE INDEX transfer_attempts_due ON bank.transfer_attempts USING btree (participant, next_attempt_at)'], 'and found by participant and time');
SELECT col_is_pk('bank', 'participants', 'participant_id', 'a participant has one row');
SELECT col_is_unique('bank', 'participants', 'name', 'names of participants are unique');
SELECT col_is_pk('bank', 'participant_progress', 'participant_id', 'and one for its progress');
SELECT col_is_pk('bank', 'participant_secrets', ARRAY['participant_id', 'created_at'], 'and it may have several secrets');
SELECT index_is_unique('bank', 'accounts', 'accounts_house_stripe', 'a stripe has one row');
SELECT is_empty($$SELECT conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'bank'::regnamespace$$,
                'no foreign keys: none could be restored in any order, and each would cost a lock');
SELECT is_empty($$SELECT indexrelid::regclass FROM pg_index WHERE indrelid IN ('bank.events'::regclass, 'bank.accounts'::regclass)
                  AND NOT indisvalid$$, 'all indexes are valid');
SELECT is((SELECT count(*)::integer FROM pg_index WHERE indrelid = 'bank.events'::regclass), 4,
          'events have the indexes their keys need, one for the feed, and no other');
SELECT col_is_pk('bank', 'deliveries', ARRAY['subscription_id', 'position'], 'an event is due to a subscription once');
SELECT col_is_unique('bank', 'subscriptions', 'name', 'names of subscriptions are unique');
SELECT col_is_pk('bank', 'subscriptions', 'subscription_id', 'a subscription has one row');
SELECT col_is_pk('bank', 'subscription_progress', 'subscription_id', 'and one for its progress');
SELECT col_is_pk('bank', 'subscription_secrets', ARRAY['subscription_id', 'created_at'], 'it may have several secrets');
SELECT col_is_pk('bank', 'incarnations', 'incarnation', 'an incarnation has one row');
SELECT is((SELECT pg_get_indexdef('bank.events_transaction'::regclass)),
          'CREATE INDEX events_transaction ON bank.events USING btree (transaction_id)', 'events are found by their transaction');

-- A movement updates an account in place: room in the page, and no index on what it changes.
SELECT is((SELECT reloptions FROM pg_class WHERE oid = 'bank.accounts'::regclass), ARRAY['fillfactor=50'], 'pages of accounts are half empty');
SELECT is_empty($$
  SELECT i.indexrelid::regclass, a.attname
  FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid
  WHERE i.indrelid = 'bank.accounts'::regclass
    AND (a.attnum = ANY (i.indkey)
         OR pg_get_expr(i.indpred, i.indrelid) ~ ('\m' || a.attname || '\M')
         OR pg_get_expr(i.indexprs, i.indrelid) ~ ('\m' || a.attname || '\M'))
    AND a.attname NOT IN ('account_id', 'account_number', 'owner_id', 'house_code', 'currency', 'stripe', 'house_account_id')$$,
  'no index covers a column of bank.accounts that changes');
-- The worker does the same with what it writes.
SELECT is(ARRAY(SELECT format('%s %s', relname, reloptions) FROM pg_class WHERE relnamespace = 'bank'::regnamespace AND reloptions IS NOT NULL
                AND relkind = 'r' ORDER BY 1),
          ARRAY['accounts {fillfactor=50}', 'deliveries {fillfactor=80}', 'participant_progress {fillfactor=50}',
                'subscription_progress {fillfactor=50}', 'transfers {fillfactor=70}'],
          'pages have room for new versions of rows');
SELECT is(ARRAY(SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN ('bank.subscription_progress'::regclass, 'bank.deliveries'::regclass,
                'bank.subscription_secrets'::regclass, 'bank.relay_stopped'::regclass, 'bank.incarnations'::regclass) ORDER BY 1),
          ARRAY['bank.deliveries_pkey', 'bank.incarnations_pkey', 'bank.subscription_progress_pkey', 'bank.subscription_secrets_pkey'],
          'tables of the relay have the indexes of their keys, and no other');

-- Sequences: drawn one by one, owned by what they number.
SELECT is_empty($$SELECT seqrelid::regclass FROM pg_sequence WHERE seqrelid IN ('bank.events_position_seq'::regclass, 'bank.account_serial_seq'::regclass)
                  AND (seqcache <> 1 OR seqcycle OR seqincrement <> 1 OR seqtypid <> 'bigint'::regtype OR seqstart <> 1)$$,
                'sequences are bigint, from 1, by 1, not cached, not cycling');
SELECT is((SELECT seqmax FROM pg_sequence WHERE seqrelid = 'bank.account_serial_seq'::regclass), 9999999999, 'serials have ten digits');
SELECT is(pg_get_serial_sequence('bank.events', 'position'), 'bank.events_position_seq', 'positions own their sequence');
-- The incarnation is a sequence's value: pg_upgrade and physical copies keep it, a dump does not.
SELECT results_eq($$SELECT i.incarnation, i.after_position, i.loaded_by IS NULL, i.begun_at <= clock_timestamp() FROM bank.incarnations AS i$$,
                  $$SELECT last_value, 0::bigint, true, true FROM bank.incarnation$$, 'a new ledger is in its first incarnation');
SELECT ok((SELECT last_value > 1000 AND is_called FROM bank.incarnation), 'its number is random');
SELECT is_empty($$SELECT 1 FROM pg_extension WHERE extname = 'banking' AND 'bank.incarnation'::regclass = ANY (extconfig)$$,
                'it is not dumped');

-- Triggers: always, whatever session_replication_role is.
SELECT is(ARRAY(
  SELECT format('%s %s %s %s %s %s', tgname, tgenabled, tgfoid::regprocedure,
                CASE tgtype::integer & 1 WHEN 1 THEN 'row' ELSE 'statement' END, CASE tgtype::integer & 2 WHEN 2 THEN 'before' ELSE 'after' END,
                concat_ws(' ', CASE WHEN tgtype::integer & 4 > 0 THEN 'insert' END, CASE WHEN tgtype::integer & 16 > 0 THEN 'update' END,
                          CASE WHEN tgtype::integer & 8 > 0 THEN 'delete' END, CASE WHEN tgtype::integer & 32 > 0 THEN 'truncate' END))
  FROM pg_trigger WHERE tgrelid = 'bank.events'::regclass AND NOT tgisinternal ORDER BY tgname),
  ARRAY['events_apply A bank.events_apply() statement after insert',
        'events_refuse_change A bank.events_refuse_change() statement before update delete truncate',
        'events_refuse_row_change A bank.events_refuse_change() row before update delete',
        'events_stamp R bank.events_stamp() row before insert'],
  'the triggers on bank.events; one is for logical replication only');
SELECT is(ARRAY(SELECT format('%s %s %s', tgname, tgenabled, tgrelid::regclass) FROM pg_trigger
                WHERE NOT tgisinternal AND tgrelid <> 'bank.events'::regclass ORDER BY 1),
          ARRAY['deliveries_note_restore A bank.deliveries', 'incarnations_note_change A bank.incarnations', 'incarnations_skip R bank.incarnations',
                'participant_progress_note_change A bank.participant_progress', 'participant_secrets_note_change A bank.participant_secrets',
                'participants_note_change A bank.participants', 'relay_stopped_note_change A bank.relay_stopped', 'subscription_progress_note_change A bank.subscription_progress',
                'subscription_secrets_note_change A bank.subscription_secrets', 'subscriptions_note_change A bank.subscriptions',
                'transfer_attempts_note_transfer A bank.transfer_attempts'], 'the other triggers');
SELECT is(ARRAY(SELECT format('%s %s %s %s', evtname, evtenabled, evtevent, evtfoid::regproc) FROM pg_event_trigger),
          ARRAY['banking_guard_drop A ddl_command_start bank.guard_drop'], 'one event trigger, against dropping, always');
SELECT is(enum_range(NULL::bank.event_type)::text[], ARRAY['account.created', 'account.frozen', 'account.unfrozen', 'account.closed',
                 'account.limits_changed', 'money.deposited', 'money.withdrawn', 'transfer.completed', 'hold.created', 'hold.captured', 'hold.released',
                 'hold.expired', 'transfer.initiated', 'transfer.reserved', 'transfer.submitted', 'transfer.rejected', 'transfer.compensated',
                 'transfer.in_doubt', 'transfer.cancel_requested', 'transfer.received', 'transfer.refused', 'transfer.kept',
                 'transfer.cancelled', 'approval.requested', 'approval.granted', 'approval.rejected'], 'the event types, in this order');
SELECT is_empty($$SELECT attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                  WHERE c.relnamespace = 'bank'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
                    AND a.atttypid IN ('regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype, 'regoperator'::regtype,
                                       'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype, 'regcollation'::regtype)$$,
                'no column type that pg_upgrade refuses');

-- What pg_dump takes along: events in the order in which they were appended, and what cannot be made from them.
SELECT is(ARRAY(
  SELECT format('%s %s', c::regclass, w) FROM pg_extension, unnest(extconfig, extcondition) AS t (c, w) WHERE extname = 'banking' ORDER BY 1),
  ARRAY['bank.account_serial_seq ', 'bank.actors ', 'bank.actors_actor_id_seq ', 'bank.approval_thresholds ', 'bank.deliveries ', 'bank.events WHERE true ORDER BY position', 'bank.events_position_seq ',
        'bank.idempotency_keys ', 'bank.incarnations ', 'bank.participant_progress ', 'bank.participant_secrets ', 'bank.participants ',
        'bank.relay_stopped ', 'bank.role_owners ', 'bank.subscription_progress ', 'bank.subscription_secrets ', 'bank.subscriptions ', 'bank.transfer_attempts '],
  'tables and sequences that are dumped');

-- Members of the extension: everything in schema bank and every bank_* object; each with a comment.
CREATE FUNCTION member(class oid, object oid) RETURNS boolean LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
                 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'banking'
                   AND d.classid = class AND d.objid = object)
$$;
SELECT is_empty($$SELECT oid::regprocedure FROM pg_proc
                  WHERE (pronamespace = 'bank'::regnamespace OR proname LIKE 'bank\_%') AND NOT member('pg_proc'::regclass, oid)$$,
                'every function is a member of the extension');
SELECT is_empty($$SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v', 'S', 'm', 'p')
                    AND (relnamespace = 'bank'::regnamespace OR relname LIKE 'bank\_%') AND NOT member('pg_class'::regclass, oid)$$,
                'every table, view and sequence is a member of the extension');
SELECT is_empty($$
  SELECT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'banking'
    AND d.classid <> 'pg_opfamily'::regclass AND d.classid <> 'pg_amop'::regclass AND d.classid <> 'pg_amproc'::regclass
    AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type AS t WHERE t.oid = d.objid AND (t.typelem <> 0 AND t.typcategory = 'A')))
    AND coalesce(obj_description(d.objid, d.classid::regclass::text),
                 -- the type of a table or a composite type is commented on in one place
                 (SELECT obj_description(t.typrelid, 'pg_class') FROM pg_type AS t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid),
                 (SELECT obj_description(t.oid, 'pg_type') FROM pg_class AS c JOIN pg_type AS t ON t.oid = c.reltype
                  WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'c')) IS NULL$$,
  'every object of the extension has a comment');
SELECT is_empty($$
  SELECT a.attrelid::regclass, a.attname
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND member('pg_class'::regclass, c.oid)
    AND (c.relnamespace = 'bank'::regnamespace AND c.relkind = 'r' OR c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'c'))
    AND col_description(a.attrelid, a.attnum) IS NULL
  UNION ALL
  SELECT a.attrelid::regclass, a.attname
  FROM pg_attribute AS a JOIN pg_type AS t ON t.typrelid = a.attrelid JOIN pg_class AS c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND c.relkind = 'c' AND member('pg_type'::regclass, t.oid) AND col_description(a.attrelid, a.attnum) IS NULL$$,
  'every column of tables, views and composite types has a comment');
SELECT is_empty($$SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND obj_description(oid, 'pg_trigger') IS NULL$$,
                'every trigger has a comment');

-- No un-prefixed name enters the schema of the API, save the aggregates that SQL prescribes.
SELECT is_empty($$
  SELECT p.oid::regprocedure::text FROM pg_proc AS p
  WHERE p.pronamespace = 'public'::regnamespace AND member('pg_proc'::regclass, p.oid)
    AND p.proname NOT LIKE 'bank\_%' AND NOT (p.prokind = 'a' AND p.proname IN ('sum', 'min', 'max'))
  UNION ALL
  SELECT c.oid::regclass::text FROM pg_class AS c
  WHERE c.relnamespace = 'public'::regnamespace AND member('pg_class'::regclass, c.oid) AND c.relname NOT LIKE 'bank\_%'$$,
  'names in the schema of the API begin with bank_');

SELECT * FROM finish();
ROLLBACK;
