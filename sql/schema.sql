-- The ledger's own schema: tables, trigger functions and internals. No
-- application role needs any right on it.

CREATE SCHEMA bank;

COMMENT ON SCHEMA bank IS
  'Internals of the banking extension: events, read models, trigger functions. Applications use the bank_* functions and views instead.';
