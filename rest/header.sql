\echo Use "CREATE EXTENSION banking_rest" to load this file. \quit

/* Nothing below resolves a name through the schema of the extension or of a user. */
SET LOCAL search_path TO pg_catalog, pg_temp;
