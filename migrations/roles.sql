-- Three roles with three rights, so that a bug in one cannot use the rights of another.
-- Run by psql as superuser, on the embedded server and in the container alike; repeatable.
\set ON_ERROR_STOP on
\set QUIET on
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv app_password DATABASE_APP_PASSWORD
\getenv operator_password DATABASE_OPERATOR_PASSWORD

SELECT 'CREATE ROLE ' || role || ' LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE'
FROM unnest(ARRAY['billing_owner', 'billing_app', 'billing_operator']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

-- The owner of the tables runs migrations only; the app lives behind row-level security;
-- the operator sees all accounts, for sweepers and administrators' lists.
ALTER ROLE billing_owner PASSWORD :'owner_password' NOBYPASSRLS;
ALTER ROLE billing_app PASSWORD :'app_password' NOBYPASSRLS;
ALTER ROLE billing_operator PASSWORD :'operator_password' BYPASSRLS;

-- Commands of operators see who blocks whom, and end it; what serves customers ends nobody.
GRANT pg_read_all_stats TO billing_operator;
GRANT pg_signal_backend TO billing_owner;

-- Texts sort by their bytes, on every server alike: an upgrade of the operating system may change
-- the order of its own locales, and the indexes would keep the old one.
SELECT $$CREATE DATABASE billing OWNER billing_owner TEMPLATE template0 ENCODING 'UTF8'
    LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'billing')
\gexec
ALTER DATABASE billing OWNER TO billing_owner;
REVOKE ALL ON DATABASE billing FROM PUBLIC;
GRANT CONNECT ON DATABASE billing TO billing_app, billing_operator;

\connect billing
ALTER SCHEMA public OWNER TO billing_owner;
-- A database of before Postgres 15 lets everybody make functions in it, which others would call.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO billing_app, billing_operator;
ALTER DEFAULT PRIVILEGES FOR ROLE billing_owner
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO billing_app, billing_operator;
ALTER DEFAULT PRIVILEGES FOR ROLE billing_owner
    GRANT USAGE, SELECT ON SEQUENCES TO billing_app, billing_operator;
