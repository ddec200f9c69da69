-- The views of the SQL API, and the views of schema bank on which they and the
-- queries stand: what runs with the owner's rights names nothing in the schema
-- of the API, which may be somebody else's. The row of one that some are joined with makes them
-- views that cannot be written through, whatever is granted on them; it costs nothing.

CREATE VIEW bank.stream AS
  SELECT e.aggregate_id AS account_id, e.version, e.position, e.event_id, e.event_type,
         e.peer_id AS other_id,
         CASE WHEN e.peer_id IS NULL THEN NULL
              WHEN e.event_type IN ('money.withdrawn', 'transfer.completed', 'hold.captured')
              THEN -e.amount ELSE e.amount END AS delta,
         e.amount, e.balance, COALESCE(e.held, 0) AS held, e.expires_at, e.currency, e.recorded_at,
         COALESCE(e.occurred_at, e.recorded_at) AS business_at, e.metadata, true AS own
  FROM bank.events AS e
  UNION ALL
  SELECT e.peer_id, e.peer_version, e.position, e.event_id, e.event_type,
         e.aggregate_id,
         CASE WHEN e.event_type IN ('money.withdrawn', 'transfer.completed', 'hold.captured')
              THEN e.amount ELSE -e.amount END,
         e.amount, e.peer_balance, COALESCE(e.peer_held, 0), e.expires_at, e.currency, e.recorded_at,
         COALESCE(e.occurred_at, e.recorded_at), e.metadata, false
  FROM bank.events AS e
  WHERE e.peer_id IS NOT NULL;
COMMENT ON VIEW bank.stream IS
  'Every event once for each account it touches, as that account sees it; amounts in minor units; delta, what it added to the balance, is signed, and null unless a movement.';

CREATE VIEW bank.customer_account_list AS
  SELECT a.account_id, a.account_number, a.owner_id, a.account_type, a.currency, a.status,
         bank.minor_to_numeric(a.credits - a.debits, a.currency) AS balance,
         bank.minor_to_numeric(h.held, a.currency) AS held,
         bank.minor_to_numeric(a.credits - a.debits - h.held, a.currency)
           + bank.minor_to_numeric(a.overdraft_limit, a.currency) AS available,
         a.version, a.created_at,
         bank.minor_to_numeric(a.overdraft_limit, a.currency) AS overdraft_limit,
         bank.minor_to_numeric(a.balance_limit, a.currency) AS balance_limit,
         a.house_code AS house_account
  FROM bank.accounts AS a,
       LATERAL (SELECT CASE WHEN a.next_expiry <= pg_catalog.statement_timestamp()
                            THEN a.held - (SELECT pg_catalog.sum(o.amount)::bigint FROM bank.holds AS o
                                           WHERE o.account_id = a.account_id AND o.status = 'OPEN'
                                             AND o.expires_at <= pg_catalog.statement_timestamp())
                            ELSE a.held END AS held OFFSET 0) AS h
  WHERE a.house_code IS NULL;
COMMENT ON VIEW bank.customer_account_list IS 'The part of bank.account_list that belongs to customers.';

CREATE VIEW bank.account_list AS
  SELECT c.* FROM bank.customer_account_list AS c
  UNION ALL
  SELECT a.house_account_id, NULL::text, NULL::uuid, 'HOUSE'::text, a.currency, 'ACTIVE'::text,
         pg_catalog.sum(bank.minor_to_numeric(a.credits - a.debits, a.currency)),
         pg_catalog.sum(bank.minor_to_numeric(a.held, a.currency)),
         NULL::numeric,
         pg_catalog.sum(a.version)::bigint, pg_catalog.min(a.created_at),
         NULL::numeric, NULL::numeric, a.house_code
  FROM bank.accounts AS a
  WHERE a.house_code IS NOT NULL
  GROUP BY a.house_account_id, a.currency, a.house_code;
COMMENT ON VIEW bank.account_list IS 'What bank_accounts shows.';

-- The views that customers have are in two parts, of which one is executed: so that the owner's
-- accounts are found by their index, which an OR would not use. Each part is a security barrier of its
-- own: that of the whole ends where the planner takes its UNION ALL apart.
CREATE VIEW bank.all_accounts WITH (security_barrier) AS
  SELECT a.* FROM bank.account_list AS a
  WHERE (SELECT bank.sees_all('bank_accounts'));
COMMENT ON VIEW bank.all_accounts IS 'What bank_accounts shows to staff; nothing to a customer.';

CREATE VIEW bank.own_accounts WITH (security_barrier) AS
  SELECT a.* FROM bank.customer_account_list AS a
  WHERE NOT (SELECT bank.sees_all('bank_accounts')) AND a.owner_id = (SELECT bank.current_owner());
COMMENT ON VIEW bank.own_accounts IS 'What bank_accounts shows to a customer.';

CREATE VIEW @extschema@.bank_accounts WITH (security_barrier) AS
  SELECT a.* FROM bank.all_accounts AS a UNION ALL SELECT o.* FROM bank.own_accounts AS o;
COMMENT ON VIEW @extschema@.bank_accounts IS
  'Current state of every account. House accounts are added up over their stripes; their balance may be negative and nothing bounds what is available.';
COMMENT ON COLUMN @extschema@.bank_accounts.account_id IS 'Identifier (UUID version 7; version 8 for house accounts).';
COMMENT ON COLUMN @extschema@.bank_accounts.account_number IS 'Number with ISO 7064 MOD 97-10 check digits; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_accounts.owner_id IS 'Owner; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_accounts.account_type IS 'COURANT, EPARGNE or HOUSE.';
COMMENT ON COLUMN @extschema@.bank_accounts.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_accounts.status IS 'ACTIVE, FROZEN or CLOSED.';
COMMENT ON COLUMN @extschema@.bank_accounts.balance IS 'Money that came less money that left, signed.';
COMMENT ON COLUMN @extschema@.bank_accounts.held IS 'Part of the balance that holds reserve; one whose time is over reserves nothing.';
COMMENT ON COLUMN @extschema@.bank_accounts.available IS 'What can be spent: balance - held + overdraft_limit; null for house accounts.';
COMMENT ON COLUMN @extschema@.bank_accounts.version IS 'Number of events of the account''s stream; of all stripes for house accounts.';
COMMENT ON COLUMN @extschema@.bank_accounts.created_at IS 'When the account was created.';
COMMENT ON COLUMN @extschema@.bank_accounts.overdraft_limit IS 'The balance may fall to minus this.';
COMMENT ON COLUMN @extschema@.bank_accounts.balance_limit IS 'The balance may rise to this; null: no ceiling.';
COMMENT ON COLUMN @extschema@.bank_accounts.house_account IS 'Code of a house account; null for customers'' accounts.';

CREATE VIEW bank.event_list AS
  SELECT e.position, e.event_id, e.aggregate_id, e.version, e.peer_id, e.peer_version,
         e.event_type::text AS event_type,
         CASE WHEN e.event_type BETWEEN 'transfer.initiated' AND 'transfer.cancelled' OR (e.event_type = 'transfer.completed' AND e.peer_id IS NULL)
              THEN pg_catalog.jsonb_build_object('transfer_id', e.aggregate_id)
                     || CASE WHEN e.amount IS NULL THEN '{}'::jsonb
                             ELSE pg_catalog.jsonb_build_object(
                                    'currency', e.currency, 'amount', bank.minor_to_text(e.amount, e.currency)) END
              WHEN e.event_type >= 'approval.requested'
              THEN pg_catalog.jsonb_build_object('request_id', e.aggregate_id, 'currency', e.currency,
                                                 'amount', bank.minor_to_text(e.amount, e.currency))
              ELSE pg_catalog.jsonb_build_object('account_id', e.aggregate_id, 'currency', e.currency)
                     || CASE WHEN e.amount IS NULL THEN '{}'::jsonb
                             ELSE pg_catalog.jsonb_build_object(
                                    'amount', bank.minor_to_text(e.amount, e.currency),
                                    'balance', bank.minor_to_text(e.balance, e.currency)) END END
           || CASE WHEN e.peer_id IS NULL THEN '{}'::jsonb
                   ELSE pg_catalog.jsonb_build_object('transaction_id', e.event_id) END
           || CASE WHEN e.hold_id IS NULL THEN '{}'::jsonb
                   ELSE pg_catalog.jsonb_build_object(
                          'hold_id', e.hold_id,
                          'held', bank.minor_to_text(COALESCE(e.held, 0), e.currency)) END
           || CASE WHEN e.expires_at IS NULL THEN '{}'::jsonb
                   ELSE pg_catalog.jsonb_build_object('expires_at', e.expires_at) END
           || CASE WHEN e.event_type IN ('transfer.completed', 'hold.captured') AND e.peer_id IS NOT NULL
                   THEN pg_catalog.jsonb_build_object('to_account_id', e.peer_id)
                   ELSE '{}'::jsonb END
           || COALESCE(e.data, '{}'::jsonb) AS event_data,
         e.metadata,
         COALESCE(e.occurred_at, e.recorded_at) AS occurred_at,
         e.recorded_at,
         (SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                   'session_user', a.session_user_name, 'application_name', a.application_name,
                   'subject', NULLIF(a.subject, ''), 'owner_id', a.owner_id))
          FROM bank.actors AS a WHERE a.actor_id = e.actor_id) AS actor
  FROM bank.events AS e CROSS JOIN (VALUES (true)) AS one (one);
COMMENT ON VIEW bank.event_list IS 'What bank_events shows.';

CREATE VIEW @extschema@.bank_events AS SELECT e.* FROM bank.event_list AS e;
COMMENT ON VIEW @extschema@.bank_events IS
  'Every event, in the order of position when asked for it; amounts in event_data are strings.';
COMMENT ON COLUMN @extschema@.bank_events.position IS 'Global order of appending.';
COMMENT ON COLUMN @extschema@.bank_events.event_id IS 'Identifier of the event (UUID version 7); the transaction id of a movement.';
COMMENT ON COLUMN @extschema@.bank_events.aggregate_id IS 'The account the event is about, the source of a transfer or capture; or the transfer to or from another ledger, or the request for approval.';
COMMENT ON COLUMN @extschema@.bank_events.version IS 'Place in the stream of aggregate_id.';
COMMENT ON COLUMN @extschema@.bank_events.peer_id IS 'The other account of a movement; for deposits, withdrawals and captures without to_account a stripe of the house account.';
COMMENT ON COLUMN @extschema@.bank_events.peer_version IS 'Place in the stream of peer_id.';
COMMENT ON COLUMN @extschema@.bank_events.event_type IS 'account.created, account.frozen, account.unfrozen, account.closed, account.limits_changed, money.deposited, money.withdrawn, transfer.completed, hold.created, hold.captured, hold.released, hold.expired; transfer.* of a transfer to or from another ledger; approval.requested, approval.granted, approval.rejected.';
COMMENT ON COLUMN @extschema@.bank_events.event_data IS 'What happened, as a JSON object.';
COMMENT ON COLUMN @extschema@.bank_events.metadata IS 'What the caller added to the command.';
COMMENT ON COLUMN @extschema@.bank_events.occurred_at IS 'Business time: as given, else recorded_at.';
COMMENT ON COLUMN @extschema@.bank_events.recorded_at IS 'When the event was appended.';
COMMENT ON COLUMN @extschema@.bank_events.actor IS 'Who has done it: session_user, application_name, subject of the verified token, owner_id for whom a customer acted.';

CREATE VIEW bank.hold_list AS
  SELECT h.hold_id, h.account_id, h.currency,
         bank.minor_to_numeric(h.amount, h.currency) AS amount,
         bank.minor_to_numeric(h.captured, h.currency) AS captured,
         CASE WHEN h.status = 'OPEN' AND h.expires_at <= pg_catalog.statement_timestamp()
              THEN 'EXPIRED' ELSE h.status END AS status,
         h.expires_at, h.created_at,
         CASE WHEN h.status = 'OPEN' AND h.expires_at <= pg_catalog.statement_timestamp()
              THEN h.expires_at ELSE h.resolved_at END AS resolved_at,
         h.created_position, h.resolved_position
  FROM bank.holds AS h CROSS JOIN (VALUES (true)) AS one (one);
COMMENT ON VIEW bank.hold_list IS 'What bank_holds shows.';

CREATE VIEW bank.all_holds WITH (security_barrier) AS
  SELECT h.* FROM bank.hold_list AS h
  WHERE (SELECT bank.sees_all('bank_holds'));
COMMENT ON VIEW bank.all_holds IS 'What bank_holds shows to staff; nothing to a customer.';

CREATE VIEW bank.own_holds WITH (security_barrier) AS
  SELECT h.* FROM bank.accounts AS a JOIN bank.hold_list AS h ON h.account_id = a.account_id
  WHERE NOT (SELECT bank.sees_all('bank_holds')) AND a.owner_id = (SELECT bank.current_owner());
COMMENT ON VIEW bank.own_holds IS 'What bank_holds shows to a customer.';

CREATE VIEW @extschema@.bank_holds WITH (security_barrier) AS
  SELECT h.* FROM bank.all_holds AS h UNION ALL SELECT o.* FROM bank.own_holds AS o;
COMMENT ON VIEW @extschema@.bank_holds IS 'Every hold, and what became of it.';
COMMENT ON COLUMN @extschema@.bank_holds.hold_id IS 'Identifier of the hold: the event_id that bank_hold returned.';
COMMENT ON COLUMN @extschema@.bank_holds.account_id IS 'The account whose money is reserved.';
COMMENT ON COLUMN @extschema@.bank_holds.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_holds.amount IS 'What was reserved.';
COMMENT ON COLUMN @extschema@.bank_holds.captured IS 'What of it was moved; 0 unless the status is CAPTURED.';
COMMENT ON COLUMN @extschema@.bank_holds.status IS 'OPEN, CAPTURED, RELEASED or EXPIRED.';
COMMENT ON COLUMN @extschema@.bank_holds.expires_at IS 'From this instant on the hold cannot be used, and its money is free.';
COMMENT ON COLUMN @extschema@.bank_holds.created_at IS 'Business time of the hold.';
COMMENT ON COLUMN @extschema@.bank_holds.resolved_at IS 'Business time of what resolved it; null while it is open.';
COMMENT ON COLUMN @extschema@.bank_holds.created_position IS 'Position of hold.created.';
COMMENT ON COLUMN @extschema@.bank_holds.resolved_position IS 'Position of the event that resolved it; null while there is none, also of an expired hold that nobody has swept yet.';

CREATE VIEW @extschema@.bank_trial_balance AS
  SELECT a.currency,
         pg_catalog.sum(bank.minor_to_numeric(a.debits, a.currency)) AS debits,
         pg_catalog.sum(bank.minor_to_numeric(a.credits, a.currency)) AS credits
  FROM bank.accounts AS a
  GROUP BY a.currency;
COMMENT ON VIEW @extschema@.bank_trial_balance IS
  'Per currency, the sums of all debits and all credits over all accounts; they are always equal.';
COMMENT ON COLUMN @extschema@.bank_trial_balance.currency IS 'ISO 4217 letters.';
COMMENT ON COLUMN @extschema@.bank_trial_balance.debits IS 'Sum of the money that left accounts.';
COMMENT ON COLUMN @extschema@.bank_trial_balance.credits IS 'Sum of the money that came to accounts.';
