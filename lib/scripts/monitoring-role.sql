-- What a monitoring role is. Run by monitoring-role.sh as a superuser, in the database `postgres`, any number of times; the
-- new password follows on standard input.

-- Of the password only a hash is sent, which psql makes; not even that belongs into the server's log.
SET log_statement = 'none';
SET log_duration = off;
SET log_min_duration_statement = -1;
SET log_min_duration_sample = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';

BEGIN;
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

-- No membership, not even pg_monitor: it shows what everybody else is asking the server, and that is data, too.
-- Two Prometheus scraping at once take four connections.
ALTER ROLE :"role" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5;
ALTER ROLE :"role" SET default_transaction_read_only = on;
ALTER ROLE :"role" SET search_path = pg_catalog;
ALTER ROLE :"role" SET statement_timeout = '30s';
ALTER ROLE :"role" SET lock_timeout = '5s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '1min';

-- The mark that this server is watched, and by whom. Backups leave their record beside it, restores know that this role's
-- sessions are no application's. A setting of the database `postgres` is in no dump: no restore brings an old record back.
SELECT format('ALTER DATABASE %I SET cdk8s_postgres.monitoring = %L', current_database(), :'role') \gexec

\password :"role"
