-- Holds: reserve money, capture it, release it, let it expire.
\set ECHO none
\i test/include/helpers.sql
\set ECHO all
