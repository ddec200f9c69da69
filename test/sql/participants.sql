-- Participants: the commands of an operator, every refusal; the door, which raises nothing for what comes
-- from outside; and that signatures are those of the test vectors.
CREATE EXTENSION banking;
\getenv abs_srcdir PG_ABS_SRCDIR
\set helpers :abs_srcdir '/include/helpers.sql'
\set ECHO none
\i :helpers
\set ECHO all
\set VERBOSITY terse
SELECT count(account_id) FROM bank_create_account(a(100), 'COURANT', 'HTG', account_id => a(1));
SELECT account_number AS number FROM bank_account(a(1)) \gset

-- A secret is made, and not shown again.
SELECT name, secret ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS made FROM bank_add_participant('coop', 'https://coop.example/transfers');
SELECT name, secret FROM bank_add_participant('given', 'https://given.example/', 'whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=');
SELECT name, url, state, breaker_state, under_way, in_doubt, house_account, deadline, secrets FROM bank_participants ORDER BY name;

-- What is wrong with one.
SELECT refused($$SELECT bank_add_participant('coop', 'https://other.example/')$$);
SELECT refused($$SELECT bank_add_participant('no good', 'https://other.example/')$$);
SELECT refused($$SELECT bank_add_participant('other', 'ftp://other.example/')$$);
SELECT refused($$SELECT bank_add_participant('other', 'https://other.example/', 'secret')$$);
SELECT refused($$SELECT bank_add_participant('other', 'https://other.example/', 'whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=')$$);
SELECT refused($$SELECT bank_add_participant('other', 'https://other.example/', deadline => '0')$$);
SELECT refused($$SELECT bank_add_participant('other', 'https://other.example/', house_account => 'vault')$$);
SELECT refused($$SELECT bank_change_participant('missing', deadline => '1 day')$$);
SELECT refused($$SELECT bank_change_participant('coop', concurrency => 0)$$);
SELECT refused($$SELECT bank_pause_participant('missing')$$);
SELECT refused($$SELECT bank_force_participant_breaker('coop', 'ajar')$$);
SELECT refused($$SELECT bank_rotate_participant_secret('coop', keep_old => '1 year')$$);

-- Changed, paused, its breaker forced, its secret rotated.
SELECT bank_change_participant('coop', url => 'https://coop.example/v2', deadline => '2 days');
SELECT bank_pause_participant('coop');
SELECT bank_force_participant_breaker('coop', 'open');
SELECT url, state, deadline, breaker_state, breaker_forced FROM bank_participants WHERE name = 'coop';
SELECT bank_resume_participant('coop');
SELECT bank_force_participant_breaker('coop', 'closed');
SELECT secret IS NOT NULL AS made FROM bank_rotate_participant_secret('coop');
SELECT state, breaker_state, breaker_forced, secrets FROM bank_participants WHERE name = 'coop';

-- The vectors: signed by the first secret, or by both.
\set vectors `cat "$PG_ABS_SRCDIR/vectors/protocol.json"`
SELECT m.name, bank.webhook_signed(bank.decode_secret(v.j ->> 'secret'), m."webhook-id", m."webhook-timestamp", m.body, m."webhook-signature") AS signed,
       bank.webhook_signed(bank.decode_secret(v.j ->> 'second_secret'), m."webhook-id", m."webhook-timestamp", m.body, m."webhook-signature") AS by_second,
       bank.webhook_signed(bank.decode_secret(v.j ->> 'secret'), m."webhook-id", m."webhook-timestamp", m.body || ' ', m."webhook-signature") AS forged
FROM (SELECT :'vectors'::jsonb) AS v (j),
     jsonb_to_recordset(v.j -> 'messages') AS m (name text, "webhook-id" text, "webhook-timestamp" text, body text, "webhook-signature" text);

-- The door. HMAC-SHA-256 written out (RFC 2104), so that the test has its own.
CREATE FUNCTION hmac(key bytea, message bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT sha256(x.outer_pad || sha256(x.inner_pad || message))
  FROM (SELECT string_agg(set_byte('\x00'::bytea, 0, b # 92), '' ORDER BY i) AS outer_pad, string_agg(set_byte('\x00'::bytea, 0, b # 54), '' ORDER BY i) AS inner_pad
        FROM (SELECT i, CASE WHEN i < length(key) THEN get_byte(key, i) ELSE 0 END AS b FROM generate_series(0, 63) AS i) AS k) AS x
$$;
CREATE FUNCTION ask(body text, at text DEFAULT extract(epoch FROM now())::bigint::text) RETURNS bank_participant_answer LANGUAGE sql AS $$
  SELECT bank_answer_participant('m', at, 'v1,' || encode(hmac(bank.decode_secret('whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA='),
    convert_to(concat('m.', at, '.', body), 'UTF8')), 'base64'), body)
$$;
CREATE FUNCTION request(action text, n integer, rest jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
  SELECT (jsonb_build_object('protocol', 'banking-transfer/1', 'action', action, 'transfer_id', a(n)) || rest)::text
$$;
SELECT * FROM ask(request('status', 11));
SELECT * FROM ask(request('receive', 11, jsonb_build_object('amount', '5.00', 'currency', 'HTG', 'to_account', :'number')));
SELECT * FROM ask(request('receive', 11, jsonb_build_object('amount', '5.00', 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 11, jsonb_build_object('amount', '6.00', 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 12, jsonb_build_object('amount', '6.001', 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 13, jsonb_build_object('amount', 'NaN', 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 14, jsonb_build_object('amount', '6', 'currency', 'ABC', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 15, jsonb_build_object('amount', '6', 'currency', 'USD', 'to_account', a(1))));
SELECT * FROM ask(request('receive', 16, jsonb_build_object('amount', '6', 'currency', 'HTG', 'to_account', a(2))));
SELECT * FROM ask(request('receive', 17, jsonb_build_object('amount', '6', 'currency', 'HTG', 'to_account', '; DROP TABLE')));
SELECT * FROM ask(request('receive', 18, jsonb_build_object('amount', 6, 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('cancel', 11));
SELECT * FROM ask(request('cancel', 19));
SELECT * FROM ask(request('receive', 19, jsonb_build_object('amount', '6', 'currency', 'HTG', 'to_account', a(1))));
SELECT * FROM ask(request('steal', 11));
SELECT * FROM ask('{"protocol": "banking-transfer/1"}');
SELECT * FROM ask('{"protocol": "banking-transfer/1", "transfer_id": "x"}');
SELECT * FROM ask('[]');
SELECT * FROM ask('{');
SELECT * FROM ask('{"protocol": "\u0000"}');
SELECT * FROM ask(request('status', 11), '1767225600');
SELECT * FROM ask(request('status', 11), 'now');
SELECT * FROM bank_answer_participant('m', extract(epoch FROM now())::bigint::text, 'v1,AAAA v1', '{}');
SELECT * FROM bank_answer_participant(NULL, NULL, NULL, NULL);
SELECT balance FROM bank_balance(a(1));
SELECT direction, state, participant, amount, currency, code FROM bank_transfers ORDER BY transfer_id;
SELECT bank_pause_participant('given');
SELECT * FROM ask(request('status', 11));

-- Not removed while a transfer is under way.
SELECT balance FROM bank_deposit(a(1), '10 HTG');
SELECT bank_send(a(1), '1 HTG', 'coop', '000000000195') AS sent \gset
SELECT refused($$SELECT bank_remove_participant('coop')$$);
SELECT under_way FROM bank_participants WHERE name = 'coop';
SELECT state FROM bank_cancel_transfer(:'sent');
SELECT bank_remove_participant('coop');
SELECT refused($$SELECT bank_send(a(1), '1 HTG', 'coop', '000000000195')$$);
SELECT name FROM bank_participants;
SELECT * FROM bank_verify() WHERE NOT ok;
