-- The data that all systems are tested with, and beside it what a dump of tables alone would lose: roles, memberships,
-- grants, settings of the database and of roles in it, sequence positions, a second database.
CREATE ROLE app_owner LOGIN PASSWORD 'own:@/\"$er';
CREATE ROLE app_reader;
CREATE ROLE "App Writer" LOGIN PASSWORD 'write''r' CONNECTION LIMIT 7 VALID UNTIL '2031-01-02 03:04:05+00';
GRANT app_reader TO "App Writer" WITH ADMIN OPTION;
ALTER ROLE "App Writer" SET statement_timeout = '17s';
CREATE DATABASE backup_test OWNER app_owner TEMPLATE template0 ENCODING 'UTF8' CONNECTION LIMIT 42;
COMMENT ON DATABASE backup_test IS 'it''s "quoted", costs $1 and \ ends';
ALTER DATABASE backup_test SET work_mem = '5MB';
ALTER DATABASE backup_test SET search_path = public, "$user";
ALTER ROLE app_reader IN DATABASE backup_test SET lock_timeout = '3s';
REVOKE CONNECT ON DATABASE backup_test FROM PUBLIC;
GRANT CONNECT ON DATABASE backup_test TO app_reader;
CREATE DATABASE busy;

\connect backup_test
CREATE TABLE users (
  id serial PRIMARY KEY,
  name text NOT NULL UNIQUE CHECK (name <> ''),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE transactions (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
  amount numeric(10, 2) NOT NULL,
  note text,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX transactions_at ON transactions (at);
INSERT INTO users (name) VALUES ('alice'), ('bob'), ('charlie');
INSERT INTO transactions (user_id, amount, note) VALUES
  (1, 10.50, 'first'), (1, -3.25, E'tab\there, back\\slash'), (2, 100.00, NULL), (3, 0.01, '\.'),
  (3, 99999999.99, '-- PostgreSQL database cluster dump complete');
-- Positions that nobody would guess from the rows.
SELECT setval('users_id_seq', 41), nextval('transactions_id_seq');
CREATE SEQUENCE never_used START 7 INCREMENT 3;
CREATE VIEW balances AS SELECT name, sum(amount) AS balance FROM users JOIN transactions ON user_id = users.id GROUP BY name;
ALTER TABLE users OWNER TO app_owner;
GRANT SELECT ON users, balances TO app_reader;
GRANT INSERT (user_id, amount), UPDATE (note) ON transactions TO "App Writer";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_reader;

\connect busy
CREATE TABLE load (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), filler text NOT NULL);
INSERT INTO load (filler) SELECT repeat('x', 100) FROM generate_series(1, 500);
