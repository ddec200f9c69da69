-- money.sql
--     The type bank_money with its operators, operator classes, casts, aggregates
--     and functions.
--
-- What applications use stands in the extension's schema. The functions behind the
-- type, its operators and aggregates stand in "bank", so that tools which publish
-- every function of a schema do not publish them. All of this is harmless and stays
-- executable by PUBLIC: whoever may use an operator must be able to execute its
-- function.

-- Type

CREATE TYPE @extschema@.bank_money;

CREATE FUNCTION bank.money_in(cstring) RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_in'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_in(cstring) IS 'I/O';

CREATE FUNCTION bank.money_out(@extschema@.bank_money) RETURNS cstring
    AS 'MODULE_PATHNAME', 'bank_sql_money_out'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_out(@extschema@.bank_money) IS 'I/O';

CREATE FUNCTION bank.money_recv(internal) RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_recv'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_recv(internal) IS 'I/O';

CREATE FUNCTION bank.money_send(@extschema@.bank_money) RETURNS bytea
    AS 'MODULE_PATHNAME', 'bank_sql_money_send'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_send(@extschema@.bank_money) IS 'I/O';

CREATE TYPE @extschema@.bank_money (
    INPUT = bank.money_in,
    OUTPUT = bank.money_out,
    RECEIVE = bank.money_recv,
    SEND = bank.money_send,
    INTERNALLENGTH = 16,
    ALIGNMENT = double,
    STORAGE = plain
);
COMMENT ON TYPE @extschema@.bank_money IS
    'Money: an exact amount, never negative, of an ISO 4217 currency, such as ''1000.00 HTG''';

-- Construction and access

CREATE FUNCTION @extschema@.bank_money(amount numeric, currency text) RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_make'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.bank_money(numeric, text) IS
    'Money of exactly this amount and currency; refuses an amount that the currency''s decimals cannot express';

CREATE FUNCTION @extschema@.bank_amount(money @extschema@.bank_money) RETURNS numeric
    AS 'MODULE_PATHNAME', 'bank_sql_money_amount'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.bank_amount(@extschema@.bank_money) IS
    'The amount, with all decimals of the currency';

CREATE FUNCTION @extschema@.bank_currency(money @extschema@.bank_money) RETURNS text
    AS 'MODULE_PATHNAME', 'bank_sql_money_currency'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.bank_currency(@extschema@.bank_money) IS
    'The ISO 4217 code of the currency';

CREATE FUNCTION @extschema@.bank_money_allocate(money @extschema@.bank_money, weights bigint[])
    RETURNS @extschema@.bank_money[]
    AS 'MODULE_PATHNAME', 'bank_sql_money_allocate'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.bank_money_allocate(@extschema@.bank_money, bigint[]) IS
    'Parts of money in proportion to the weights, which add up to the whole exactly';

CREATE CAST (@extschema@.bank_money AS numeric)
    WITH FUNCTION @extschema@.bank_amount(@extschema@.bank_money);
COMMENT ON CAST (@extschema@.bank_money AS numeric) IS 'The amount, without its currency';

-- Signed figures of the read models, in minor units

CREATE FUNCTION bank.minor_to_numeric(minor bigint, currency text) RETURNS numeric
    AS 'MODULE_PATHNAME', 'bank_sql_minor_to_numeric'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.minor_to_numeric(bigint, text) IS
    'A figure in minor units as numeric with the currency''s decimals';

CREATE FUNCTION bank.minor_to_text(minor bigint, currency text) RETURNS text
    AS 'MODULE_PATHNAME', 'bank_sql_minor_to_text'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.minor_to_text(bigint, text) IS
    'A figure in minor units as text with the currency''s decimals';

-- Arithmetic

CREATE FUNCTION bank.money_add(@extschema@.bank_money, @extschema@.bank_money)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_add'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_add(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of + operator';

CREATE FUNCTION bank.money_subtract(@extschema@.bank_money, @extschema@.bank_money)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_subtract'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_subtract(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of - operator';

CREATE FUNCTION bank.money_multiply(@extschema@.bank_money, bigint)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_multiply'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_multiply(@extschema@.bank_money, bigint) IS
    'implementation of * operator';

CREATE FUNCTION bank.multiply_money(bigint, @extschema@.bank_money)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_multiply_money'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.multiply_money(bigint, @extschema@.bank_money) IS
    'implementation of * operator';

CREATE OPERATOR @extschema@.+ (
    FUNCTION = bank.money_add,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.+)
);
COMMENT ON OPERATOR @extschema@.+ (@extschema@.bank_money, @extschema@.bank_money) IS
    'add money of one currency';

CREATE OPERATOR @extschema@.- (
    FUNCTION = bank.money_subtract,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money
);
COMMENT ON OPERATOR @extschema@.- (@extschema@.bank_money, @extschema@.bank_money) IS
    'subtract money of one currency; the result cannot be negative';

CREATE OPERATOR @extschema@.* (
    FUNCTION = bank.money_multiply,
    LEFTARG = @extschema@.bank_money, RIGHTARG = bigint,
    COMMUTATOR = OPERATOR(@extschema@.*)
);
COMMENT ON OPERATOR @extschema@.* (@extschema@.bank_money, bigint) IS
    'multiply money by a whole number';

CREATE OPERATOR @extschema@.* (
    FUNCTION = bank.multiply_money,
    LEFTARG = bigint, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.*)
);
COMMENT ON OPERATOR @extschema@.* (bigint, @extschema@.bank_money) IS
    'multiply money by a whole number';

-- Equality: two currencies are just not equal

CREATE FUNCTION bank.money_eq(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_eq'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_eq(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of = operator';

CREATE FUNCTION bank.money_ne(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_ne'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_ne(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of <> operator';

CREATE OPERATOR @extschema@.= (
    FUNCTION = bank.money_eq,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
    RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
    HASHES, MERGES
);
COMMENT ON OPERATOR @extschema@.= (@extschema@.bank_money, @extschema@.bank_money) IS
    'equal: same currency and same amount';

CREATE OPERATOR @extschema@.<> (
    FUNCTION = bank.money_ne,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
    RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR @extschema@.<> (@extschema@.bank_money, @extschema@.bank_money) IS
    'not equal: another currency or another amount';

-- Comparison of amounts: raises "Currency mismatch" for two currencies. In no operator
-- class, so that neither a sort nor an index can turn the error into an answer. The
-- estimators are our own, lest the planner raise it (see money_selectivity.c), and the cost
-- lets conditions that may filter out other currencies, such as bank_currency(m) = 'HTG',
-- run first.

CREATE FUNCTION bank.money_lt(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_lt'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION bank.money_lt(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of < operator';

CREATE FUNCTION bank.money_le(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_le'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION bank.money_le(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of <= operator';

CREATE FUNCTION bank.money_gt(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_gt'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION bank.money_gt(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of > operator';

CREATE FUNCTION bank.money_ge(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_ge'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION bank.money_ge(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of >= operator';

CREATE FUNCTION bank.money_ltsel(internal, oid, internal, integer) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bank_sql_money_ltsel'
    LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_ltsel(internal, oid, internal, integer) IS
    'restriction selectivity of < operator';

CREATE FUNCTION bank.money_lesel(internal, oid, internal, integer) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bank_sql_money_lesel'
    LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_lesel(internal, oid, internal, integer) IS
    'restriction selectivity of <= operator';

CREATE FUNCTION bank.money_gtsel(internal, oid, internal, integer) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bank_sql_money_gtsel'
    LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_gtsel(internal, oid, internal, integer) IS
    'restriction selectivity of > operator';

CREATE FUNCTION bank.money_gesel(internal, oid, internal, integer) RETURNS double precision
    AS 'MODULE_PATHNAME', 'bank_sql_money_gesel'
    LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_gesel(internal, oid, internal, integer) IS
    'restriction selectivity of >= operator';

CREATE OPERATOR @extschema@.< (
    FUNCTION = bank.money_lt,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=),
    RESTRICT = bank.money_ltsel, JOIN = pg_catalog.scalarltjoinsel
);
COMMENT ON OPERATOR @extschema@.< (@extschema@.bank_money, @extschema@.bank_money) IS
    'less than, of one currency';

CREATE OPERATOR @extschema@.<= (
    FUNCTION = bank.money_le,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>),
    RESTRICT = bank.money_lesel, JOIN = pg_catalog.scalarlejoinsel
);
COMMENT ON OPERATOR @extschema@.<= (@extschema@.bank_money, @extschema@.bank_money) IS
    'less than or equal, of one currency';

CREATE OPERATOR @extschema@.> (
    FUNCTION = bank.money_gt,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=),
    RESTRICT = bank.money_gtsel, JOIN = pg_catalog.scalargtjoinsel
);
COMMENT ON OPERATOR @extschema@.> (@extschema@.bank_money, @extschema@.bank_money) IS
    'greater than, of one currency';

CREATE OPERATOR @extschema@.>= (
    FUNCTION = bank.money_ge,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<),
    RESTRICT = bank.money_gesel, JOIN = pg_catalog.scalargejoinsel
);
COMMENT ON OPERATOR @extschema@.>= (@extschema@.bank_money, @extschema@.bank_money) IS
    'greater than or equal, of one currency';

-- Total order, by currency and then amount: what ORDER BY, DISTINCT, GROUP BY, merge
-- joins and btree indexes use. Named after the record operators of the same kind.

CREATE FUNCTION bank.money_order_lt(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_order_lt'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_order_lt(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of *< operator';

CREATE FUNCTION bank.money_order_le(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_order_le'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_order_le(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of *<= operator';

CREATE FUNCTION bank.money_order_gt(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_order_gt'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_order_gt(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of *> operator';

CREATE FUNCTION bank.money_order_ge(@extschema@.bank_money, @extschema@.bank_money) RETURNS boolean
    AS 'MODULE_PATHNAME', 'bank_sql_money_order_ge'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_order_ge(@extschema@.bank_money, @extschema@.bank_money) IS
    'implementation of *>= operator';

CREATE OPERATOR @extschema@.*< (
    FUNCTION = bank.money_order_lt,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.*>), NEGATOR = OPERATOR(@extschema@.*>=),
    RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
COMMENT ON OPERATOR @extschema@.*< (@extschema@.bank_money, @extschema@.bank_money) IS
    'less than, in the order of currencies, then amounts';

CREATE OPERATOR @extschema@.*<= (
    FUNCTION = bank.money_order_le,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.*>=), NEGATOR = OPERATOR(@extschema@.*>),
    RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
COMMENT ON OPERATOR @extschema@.*<= (@extschema@.bank_money, @extschema@.bank_money) IS
    'less than or equal, in the order of currencies, then amounts';

CREATE OPERATOR @extschema@.*> (
    FUNCTION = bank.money_order_gt,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.*<), NEGATOR = OPERATOR(@extschema@.*<=),
    RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
COMMENT ON OPERATOR @extschema@.*> (@extschema@.bank_money, @extschema@.bank_money) IS
    'greater than, in the order of currencies, then amounts';

CREATE OPERATOR @extschema@.*>= (
    FUNCTION = bank.money_order_ge,
    LEFTARG = @extschema@.bank_money, RIGHTARG = @extschema@.bank_money,
    COMMUTATOR = OPERATOR(@extschema@.*<=), NEGATOR = OPERATOR(@extschema@.*<),
    RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);
COMMENT ON OPERATOR @extschema@.*>= (@extschema@.bank_money, @extschema@.bank_money) IS
    'greater than or equal, in the order of currencies, then amounts';

CREATE FUNCTION bank.money_order(@extschema@.bank_money, @extschema@.bank_money) RETURNS integer
    AS 'MODULE_PATHNAME', 'bank_sql_money_order'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_order(@extschema@.bank_money, @extschema@.bank_money) IS
    'less-equal-greater, in the order of currencies, then amounts';

CREATE FUNCTION bank.money_sortsupport(internal) RETURNS void
    AS 'MODULE_PATHNAME', 'bank_sql_money_sortsupport'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_sortsupport(internal) IS 'sort support';

CREATE OPERATOR CLASS @extschema@.bank_money_order_ops
    DEFAULT FOR TYPE @extschema@.bank_money USING btree AS
    OPERATOR 1 @extschema@.*<,
    OPERATOR 2 @extschema@.*<=,
    OPERATOR 3 @extschema@.=,
    OPERATOR 4 @extschema@.*>=,
    OPERATOR 5 @extschema@.*>,
    FUNCTION 1 bank.money_order(@extschema@.bank_money, @extschema@.bank_money),
    FUNCTION 2 bank.money_sortsupport(internal),
    FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS @extschema@.bank_money_order_ops USING btree IS
    'order by currency, then amount';
COMMENT ON OPERATOR FAMILY @extschema@.bank_money_order_ops USING btree IS
    'order by currency, then amount';

-- Hashing

CREATE FUNCTION bank.money_hash(@extschema@.bank_money) RETURNS integer
    AS 'MODULE_PATHNAME', 'bank_sql_money_hash'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_hash(@extschema@.bank_money) IS 'hash';

CREATE FUNCTION bank.money_hash_extended(@extschema@.bank_money, bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'bank_sql_money_hash_extended'
    LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_hash_extended(@extschema@.bank_money, bigint) IS 'hash';

CREATE OPERATOR CLASS @extschema@.bank_money_hash_ops
    DEFAULT FOR TYPE @extschema@.bank_money USING hash AS
    OPERATOR 1 @extschema@.=,
    FUNCTION 1 bank.money_hash(@extschema@.bank_money),
    FUNCTION 2 bank.money_hash_extended(@extschema@.bank_money, bigint);
COMMENT ON OPERATOR CLASS @extschema@.bank_money_hash_ops USING hash IS
    'hash of currency and amount';
COMMENT ON OPERATOR FAMILY @extschema@.bank_money_hash_ops USING hash IS
    'hash of currency and amount';

-- Aggregates: of one currency, else they raise "Currency mismatch". Without SORTOP, as
-- an index has the total order, which would let a second currency pass unnoticed.

CREATE FUNCTION bank.money_smaller(@extschema@.bank_money, @extschema@.bank_money)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_smaller'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_smaller(@extschema@.bank_money, @extschema@.bank_money) IS
    'smaller of two, of one currency';

CREATE FUNCTION bank.money_larger(@extschema@.bank_money, @extschema@.bank_money)
    RETURNS @extschema@.bank_money
    AS 'MODULE_PATHNAME', 'bank_sql_money_larger'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bank.money_larger(@extschema@.bank_money, @extschema@.bank_money) IS
    'larger of two, of one currency';

CREATE AGGREGATE @extschema@.sum(@extschema@.bank_money) (
    SFUNC = bank.money_add,
    STYPE = @extschema@.bank_money,
    COMBINEFUNC = bank.money_add,
    MSFUNC = bank.money_add,
    MINVFUNC = bank.money_subtract,
    MSTYPE = @extschema@.bank_money,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.sum(@extschema@.bank_money) IS
    'sum of money of one currency';

CREATE AGGREGATE @extschema@.min(@extschema@.bank_money) (
    SFUNC = bank.money_smaller,
    STYPE = @extschema@.bank_money,
    COMBINEFUNC = bank.money_smaller,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.min(@extschema@.bank_money) IS
    'smallest amount of money of one currency';

CREATE AGGREGATE @extschema@.max(@extschema@.bank_money) (
    SFUNC = bank.money_larger,
    STYPE = @extschema@.bank_money,
    COMBINEFUNC = bank.money_larger,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.max(@extschema@.bank_money) IS
    'largest amount of money of one currency';
