-- Prints events per second of bank_verify() or bank_rebuild() (variable "function"). The rebuild makes
-- the read models from nothing.

SELECT count(*) AS events FROM bank.events \gset
SELECT :'function' = 'rebuild' AS rebuild \gset
\if :rebuild
BEGIN;
TRUNCATE bank.accounts, bank.backdated_movements;
SELECT clock_timestamp() AS started \gset
SELECT repaired FROM bank_rebuild() \gset
SELECT round(:events / extract(epoch FROM clock_timestamp() - :'started'));
COMMIT;
\else
SELECT clock_timestamp() AS started \gset
SELECT bool_and(ok) AS ok FROM bank_verify() \gset
SELECT round(:events / extract(epoch FROM clock_timestamp() - :'started'));
\endif
