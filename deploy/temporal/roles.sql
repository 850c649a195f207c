-- Temporal's own role and databases beside the product's, on the same server; repeatable.
\set ON_ERROR_STOP on
\getenv temporal_password TEMPORAL_DATABASE_PASSWORD

SELECT 'CREATE ROLE temporal LOGIN NOSUPERUSER'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'temporal')
\gexec
ALTER ROLE temporal PASSWORD :'temporal_password';

SELECT 'CREATE DATABASE ' || name || ' OWNER temporal'
FROM unnest(ARRAY['temporal', 'temporal_visibility']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name)
\gexec
REVOKE ALL ON DATABASE temporal, temporal_visibility FROM PUBLIC;
