-- Prints what the database holds and what belongs to it, in an order of its own: two equal prints are two equal databases.
-- Passwords that each server hashes anew at its first start, and what a server alone knows (oids, files, statistics, our own
-- marks and records), are not part of it.
SET timezone = 'UTC';
SET search_path = pg_catalog;
\echo == database
SELECT d.datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), to_jsonb(d) ->> 'datlocprovider', datcollate,
    datctype, datconnlimit, datallowconn, datistemplate, shobj_description(d.oid, 'pg_database'),
    (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(datacl, acldefault('d', datdba))) a)
  FROM pg_database d WHERE datname = current_database();
\echo == settings
SELECT coalesce(pg_get_userbyid(nullif(setrole, 0)), 'all'), s
  FROM pg_db_role_setting, unnest(setconfig) s
  WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    AND s !~ '^cdk8s_postgres\.(monitoring|backup_)' ORDER BY 1, 2;
\echo == roles
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
    rolvaliduntil, CASE WHEN rolsuper OR rolname = 'postgres_exporter' THEN 'not compared' ELSE md5(rolpassword) END
  FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 1;
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), admin_option
  FROM pg_auth_members WHERE pg_get_userbyid(roleid) !~ '^pg_' ORDER BY 1, 2;
\echo == relations
SELECT c.oid::regclass, relkind, pg_get_userbyid(relowner),
    (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) a),
    CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) WHEN relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid) END
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY c.oid::regclass::text COLLATE "C";
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attacl,
    pg_get_expr(adbin, adrelid)
  FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  ORDER BY attrelid::regclass::text COLLATE "C", attnum;
SELECT conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid), convalidated
  FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace
  WHERE conrelid <> 0 AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  ORDER BY conrelid::regclass::text COLLATE "C", conname COLLATE "C";
SELECT defaclobjtype, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(defaclacl) a) FROM pg_default_acl ORDER BY 1, 2;
\echo == sequences
SELECT schemaname, sequencename, start_value, increment_by, last_value FROM pg_sequences ORDER BY 1, 2;
\echo == rows
SELECT format('SELECT %L, t::text FROM %s t ORDER BY t::text COLLATE "C"', c.oid::regclass, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY c.oid::regclass::text COLLATE "C" \gexec
