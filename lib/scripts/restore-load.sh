# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # what the parts of a restore know, they know through variables
# Roles, new databases, their content, and the comparison with the dump. Sourced by logical-restore.sh.
# Nothing in here changes a database or a role that was there before.

# Databases of restores that died (killed, node lost) carry a mark. One that died between CREATE DATABASE and the mark is
# empty and known by its name. This run has the server's lock: none of them can belong to a run that still goes on.
drop_leftovers() {
  local oid oids name marked own
  # By number: a name can hold a line break, and its lines must not be taken for names.
  oids=$(run_psql -F ' ' -c "SELECT oid, bool_or(is_marked) FROM (SELECT d.oid, coalesce(c LIKE 'cdk8s\\_postgres.restoring=%', false) AS is_marked
      FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid AND s.setrole = 0 LEFT JOIN unnest(s.setconfig) c ON true
      WHERE c LIKE 'cdk8s\\_postgres.restoring=%' OR datname ~ '_restoring_[0-9]{14}\$') d GROUP BY oid")
  while read -r oid marked; do
    [ -n "$oid" ] || continue
    name=$(run_psql -c "SELECT datname FROM pg_database WHERE oid = $oid" && printf .)
    name=${name%$'\n.'}
    if [ "$marked" = f ]; then
      own=$(PGDATABASE=$name run_psql -c "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
        + (SELECT count(*) FROM pg_type WHERE oid >= 16384) + (SELECT count(*) FROM pg_namespace WHERE oid >= 16384)" 2>/dev/null) || continue
      [ "$own" = 0 ] || continue
    fi
    drop_database "$name"
    log leftovers "dropped $name, left behind by a restore that died"
  done <<<"$oids"
  drop_leftover_roles
}

# Roles carry the same mark until the swap: one that a dead restore has made must not stay, least of all a superuser.
drop_leftover_roles() {
  local oid name before='' left
  leftover_roles
  # Since 16 who has granted a membership can only go after its member has: again, as long as one of them goes.
  while [ "$left" != "$before" ]; do
    before=$left
    for oid in $left; do
      name=$(run_psql -c "SELECT quote_ident(rolname) FROM pg_roles WHERE oid = $oid")
      ! drop_unused_role "$oid" "$name" || log leftovers "dropped the role $name, left behind by a restore that died"
    done
    leftover_roles
  done
  for oid in $left; do
    name=$(run_psql -c "SELECT quote_ident(rolname) FROM pg_roles WHERE oid = $oid")
    drop_unused_role "$oid" "$name" || true
    run_psql -c "ALTER ROLE $name RESET cdk8s_postgres.restoring"
    warn leftovers "a restore that died has made the role $name, and something depends on it since ($(last_error "$work/roles.said")): it stays, drop it by hand if nobody needs it"
  done
}

# leftover_roles: sets left to their numbers, since a name can hold a line break
leftover_roles() {
  left=$(run_psql -c "SELECT string_agg(r.oid::text, ' ' ORDER BY r.oid) FROM pg_roles r JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
    WHERE r.oid >= 16384 AND rolname <> current_user
      AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c LIKE 'cdk8s\\_postgres.restoring=%')")
}

# Nothing in the server keeps a role that somebody is logged in as.
drop_unused_role() { # OID NAME
  if [ "$(run_psql -c "SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1")" != 0 ]; then
    echo 'somebody is logged in as it' >"$work/roles.said"
    return 1
  fi
  run_psql -c "DROP ROLE $2" >/dev/null 2>"$work/roles.said"
}

drop_database() {
  drop_subscriptions "$1"
  run_psql -v name="$1" <<'SQL'
SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname) FROM pg_database WHERE datname = :'name' AND datistemplate \gexec
DROP DATABASE IF EXISTS :"name" WITH (FORCE);
SQL
}

# A database that has subscriptions cannot be dropped, not even by force. Their slots on the publisher belong to the live ones.
drop_subscriptions() {
  [ "$(run_psql -v name="$1" <<<"SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid WHERE datname = :'name';")" != 0 ] || return 0
  PGDATABASE=$1 run_psql <<'SQL'
SELECT format(command, subname) FROM pg_subscription, unnest(ARRAY['ALTER SUBSCRIPTION %I DISABLE', 'ALTER SUBSCRIPTION %I SET (slot_name = NONE)',
  'DROP SUBSCRIPTION %I']) WITH ORDINALITY AS c(command, step) WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY subname, step \gexec
SQL
}

# ---- roles -------------------------------------------------------------------------------------------------------

# What must not be in the server's log either, in which each statement can be.
readonly unlogged='-c log_statement=none -c log_min_duration_statement=-1 -c log_min_duration_sample=-1 -c log_min_error_statement=panic'

# globals needed|new|stand-in|existing: writes what is to be done for roles that the server lacks, or has, to a file
globals() {
  # awk reads \ in -v as an escape
  awk -v existing="$work/roles" -v needed="$needed" -v part="$1" -v created="$work/roles.created" -v bootstrap="${bootstrap//\\/\\\\}" -v current="${PGUSER//\\/\\\\}" \
    -v server_major="$server_major" -v dumped_by_major="${dump_version%%[!0-9]*}" -f "$here/dump-lexer.awk" -f "$here/dump-globals.awk" \
    <"$work/statements.sql" >"$work/roles.$1.sql"
}

# Roles that the server lacks come with all that the dump says of them, their passwords too; the others are not touched
# here (what the dump says of them becomes true with the swap, in the same transaction).
create_roles() {
  local kind=new
  [ "$INTO" = live ] || kind=stand-in
  created_roles=()
  [ "$format" = pg_dumpall ] || return 0
  run_psql -c 'COPY (SELECT rolname FROM pg_roles) TO STDOUT' >"$work/roles"
  bootstrap=$(run_psql -c 'SELECT rolname FROM pg_roles WHERE oid = 10')
  : >"$work/roles.created"
  needed=''
  globals "$kind"
  [ -n "$whole_server" ] || only_needed_roles
  [ -z "$whole_server" ] || [ "$INTO" = fresh ] || globals existing
  local name list=''
  while IFS= read -r name; do
    printf -v name %b "$name"
    created_roles+=("$name")
    printf "ALTER ROLE %s SET cdk8s_postgres.restoring = '%s';\n" "$name" "$stamp" >>"$work/roles.$kind.sql"
    list+="${list:+, }$name"
  done <"$work/roles.created"
  ((${#created_roles[@]})) || return 0
  touched=1
  # terse: an error must not quote the line, it can hold a password's hash
  if ! PGOPTIONS="$PGOPTIONS $unlogged" run_psql -1 -v VERBOSITY=terse -f "$work/roles.$kind.sql" >/dev/null 2>"$work/roles.said"; then
    created_roles=()
    fail roles "the roles of the dump cannot be created ($(last_error "$work/roles.said"))" 'create them by hand, then run it again'
  fi
  if [ "$INTO" = fresh ]; then
    log roles "the server lacks $list: roles that nobody can log in to stand in for them"
  else
    log roles "created $list"
  fi
}

# A single database needs only the roles that it names: somebody who was dropped must not come back with a database that has
# nothing of his.
only_needed_roles() {
  local left_out
  mv -- "$work/roles.created" "$work/roles.all"
  escaped "${names[0]}"
  escaped=$escaped_result awk -F '\t' '$1 == ENVIRON["escaped"] { print $2 }' "$work/users" >"$work/roles.named"
  needed=$work/roles.named
  globals needed
  needed=$work/roles.needed.sql
  : >"$work/roles.created"
  globals "$kind"
  left_out=$(grep -vxFf "$work/roles.created" -- "$work/roles.all" | paste -sd ' ') || true
  [ -z "$left_out" ] || log roles "not created, because ${names[0]} names them nowhere: $left_out"
}

# last_error FILE: what psql has said last, an error if there is one
last_error() {
  awk '{ sub(/^psql:[^ ]* /, "") } /ERROR:|FATAL:|error:/ { error = $0 } NF { last = $0 }
    END { print substr(error == "" ? last : error, 1, 300) }' "$1"
}

# ---- new databases -----------------------------------------------------------------------------------------------

# The dump has no CREATE DATABASE for `postgres`, nor in a pg_dump file without --create: the new database becomes what the
# live one is, with everything that belongs to a database but is not inside it.
create_like() { # LIVE FRESH
  run_psql -v live="$1" -v fresh="$2" >/dev/null <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0%s', :'fresh', (
  -- the columns of pg_database differ between 15, 16, 17 and 18: asked by name
  SELECT format(' OWNER %I ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype)
    || CASE j->>'datlocprovider'
         WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(j->>'datlocale', j->>'daticulocale'))
           || CASE WHEN j->>'daticurules' IS NULL THEN '' ELSE format(' ICU_RULES %L', j->>'daticurules') END
         WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j->>'datlocale')
         WHEN 'c' THEN ' LOCALE_PROVIDER libc' ELSE '' END
    || (SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace t WHERE t.oid = dattablespace)
    || format(' CONNECTION LIMIT %s IS_TEMPLATE %s', datconnlimit, CASE WHEN datistemplate THEN 'true' ELSE 'false' END)
  FROM (SELECT d.*, to_jsonb(d) AS j FROM pg_database d WHERE datname = :'live') d)) \gexec

SELECT format('COMMENT ON DATABASE %I IS %L', :'fresh', shobj_description(oid, 'pg_database'))
FROM pg_database WHERE datname = :'live' AND shobj_description(oid, 'pg_database') IS NOT NULL \gexec

-- A list is stored as SQL writes it ("$user", public), everything else as its bare value.
SELECT format('ALTER %s SET %s TO %s',
  CASE WHEN setrole = 0 THEN format('DATABASE %I', :'fresh') ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), :'fresh') END,
  (SELECT string_agg(quote_ident(p), '.') FROM regexp_split_to_table(name, '\.') p),
  CASE WHEN value IN ('', '""') THEN ''''''
    WHEN name IN ('local_preload_libraries', 'search_path', 'session_preload_libraries', 'shared_preload_libraries',
      'temp_tablespaces', 'unix_socket_directories') THEN value
    ELSE quote_literal(value) END)
FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid, unnest(setconfig) c,
  LATERAL (SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)) AS v(name, value)
WHERE datname = :'live' \gexec

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'fresh') FROM pg_database WHERE datname = :'live' AND datacl IS NOT NULL
UNION ALL
SELECT format('REVOKE ALL ON DATABASE %I FROM %I', :'fresh', pg_get_userbyid(datdba)) FROM pg_database WHERE datname = :'live' AND datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, :'fresh',
  CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_database, aclexplode(datacl) WHERE datname = :'live' \gexec
SQL
}

mark() { # DATABASE: until the swap it belongs to this run
  run_psql -v name="$1" -v stamp="$stamp" <<<"ALTER DATABASE :\"name\" SET cdk8s_postgres.restoring = :'stamp';"
}

# ---- content -----------------------------------------------------------------------------------------------------

# escaped TEXT: sets escaped_result to the form that the awk scripts read
escaped() {
  escaped_result=${1//\\/\\\\}
  escaped_result=${escaped_result//$'\t'/\\t}
}

# Between the first read and this one the file can have been cut or replaced: its checksum is taken again, so that what is
# loaded is what was checked.
load_once() {
  local beside=''
  [ "$INTO" = live ] && [ "${TARGET_DATABASE:-$DATABASE}" = "$DATABASE" ] || beside=1
  sha256sum <"$work/checksum.in" >"$work/checksum" &
  tee -- "$work/checksum.in" 2>"$work/load.read" <"$file" | "${unpack[@]}" 2>"$work/load.unpack" |
    awk -v mark="$stamp" -v beside="$beside" -v map="$work/map" -v server_major="$server_major" -f "$here/dump-lexer.awk" -f "$here/dump-section.awk" |
    psql -X -w -q -v ON_ERROR_STOP=1 -o /dev/null 2>"$work/load.said" ||
    { printf '%s\n' "${PIPESTATUS[*]}" >"$work/load.status"; return 1; }
  wait $!
}

load() {
  local i live began=$SECONDS
  ((${#names[@]})) || return 0
  : >"$work/map"
  touched=1
  for i in "${!names[@]}"; do
    if [ "${made[i]}" = 0 ]; then
      live=${targets[i]}
      [ "$INTO" = live ] || live=${DATABASE:-${names[i]}}
      create_like "$live" "${fresh[i]}" 2>"$work/create.said" ||
        fail load "the new database for ${targets[i]} cannot be created ($(last_error "$work/create.said"))" 'remove that cause, then run it again'
      mark "${fresh[i]}"
    fi
    escaped "${names[i]}"
    printf '%s\t' "$escaped_result" >>"$work/map"
    escaped "${fresh[i]}"
    printf '%s\n' "$escaped_result" >>"$work/map"
  done
  log load "loading into $(IFS=,; printf %s "${fresh[*]}")"
  run_job load_once || load_failed
  [ "$(cut -d ' ' -f 1 "$work/checksum")" = "$checksum" ] ||
    fail load "$chosen was changed while it was loaded: its checksum is not the one of the check any more" 'find out who writes to the volume, then run it again'
  log load "loaded in $((SECONDS - began)) s"
}

load_failed() {
  local i status
  read -r -a status <"$work/load.status" || status=(0 0 0 1)
  log_file load 'psql: ' "$work/load.said"
  # Whoever comes before one that ends early is killed by SIGPIPE (141); with another status it was the first to fail, and
  # what psql says is only what half a row looks like.
  for i in 0 1; do
    ((status[i] == 0 || status[i] == 141)) ||
      fail load "$chosen cannot be read any more ($(cat "$work/load.read" "$work/load.unpack" | tail -n 1))" 'check the volume, then run it again'
  done
  # psql's own status for a connection that is gone
  ((status[3] != 2)) ||
    fail load "the connection to the server was lost ($(last_error "$work/load.said"))" "look at the server's log, then run it again"
  ((status[3] == 0)) || fail load "the dump cannot be loaded ($(last_error "$work/load.said"))" "$(load_remedy)"
  fail load "$chosen could not be read to its end (exit codes of tee, ${unpack[0]}, awk, psql: ${status[*]})" 'check the volume, then run it again'
}

load_remedy() {
  case $(last_error "$work/load.said") in
    *'role "'*'does not exist'*)
      [ "$format" = pg_dump ] || { printf %s 'nothing that names a role in a dump says that this database needs it; create it on the server, then run it again'; return; }
      printf %s 'the file says nothing about roles; create that one on the server, then run it again' ;;
    *'No space left'* | *'could not extend file'*) printf %s 'enlarge the volume of the server, then run it again' ;;
    *'must be a superuser'*) printf %s 'something in the dump wants a superuser as its owner that the server lacks; create that role on the server, or restore with INTO=live' ;;
    *'invalid LC_'* | *'invalid locale'* | *'collation'*'does not exist'*) printf %s "the server's image lacks that locale; use one that has it" ;;
    *) printf %s 'remove that cause, or choose another dump' ;;
  esac
}

# ---- comparison --------------------------------------------------------------------------------------------------

compare() {
  local i said as_in=dump
  [ -z "$manifest_agrees" ] || as_in=manifest
  for i in "${!names[@]}"; do
    escaped "${names[i]}"
    # The inventory escapes as COPY reads it. null: the rows are INSERT statements, nobody has counted them.
    escaped=$escaped_result awk -F '\t' '
      $1 == "table" && $2 == ENVIRON["escaped"] && $4 != "null" { gsub(/\r/, "\\r", $3); print $3 "\t" $4 }
    ' "$work/inventory" >"$work/expected"
    run_job run_compare "${fresh[i]}" || fail compare "the rows of ${targets[i]} cannot be counted" "look at the server's log, then run it again"
    said=$(<"$work/compare.said")
    [[ $said == ok || $said == 'ok; '* ]] ||
      fail compare "${targets[i]} was loaded, but differs from the $as_in (table: rows expected, rows found): ${said//$'\n'/, }" \
        'choose another dump, and keep this one for an analysis'
    log compare "${targets[i]}: $(wc -l <"$work/expected") tables, rows as in the $as_in${said#ok}$(uncounted)"
    # Statistics make it fast, not right: what keeps ANALYZE from working must not keep the data away.
    run_job analyze "${fresh[i]}" ||
      warn compare "ANALYZE of ${targets[i]} failed ($(last_error "$work/analyze.said")); run it again by hand"
  done
}

uncounted() {
  local tables
  tables=$(escaped=$escaped_result awk -F '\t' '$1 == "table" && $2 == ENVIRON["escaped"] && $4 == "null"' "$work/inventory" | wc -l)
  ((tables == 0)) || printf '; not compared, because their rows are INSERT statements: %s' "$tables"
}

analyze() { PGDATABASE=$1 run_psql -c ANALYZE 2>"$work/analyze.said"; }

# Names are bytes here, whatever the encoding of the database.
run_compare() {
  PGCLIENTENCODING=SQL_ASCII PGDATABASE=$1 run_psql >"$work/compare.said" <<SQL
CREATE TEMP TABLE expected (name text, rows bigint);
\\copy expected FROM '$work/expected'
CREATE TEMP TABLE found (name text, rows bigint);
-- A row of an extension's table may come from the extension itself: only the dump's tables are compared.
-- Before 10.3 pg_dump wrote names without their schema; of those only public's can be told.
CREATE TEMP TABLE known AS SELECT name, c.oid::regclass AS relation, relkind, EXISTS (SELECT FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e') AS of_extension
  FROM expected LEFT JOIN pg_class c ON c.oid = to_regclass(CASE WHEN name ~ '^("([^"]|"")*"|[^".]+)\$' THEN 'public.' ELSE '' END || name);
-- The rows of a partitioned table lie in its partitions; other tables' children have lines of their own.
SELECT format('INSERT INTO found SELECT %L, count(*) FROM %s %s', name, CASE relkind WHEN 'p' THEN '' ELSE 'ONLY' END, relation)
FROM known WHERE relkind IS NOT NULL AND NOT of_extension \\gexec
SELECT coalesce(string_agg(format('%s: %s, %s', name, e.rows, coalesce(f.rows::text, 'no such table')), E'\\n'), 'ok'
    || (SELECT coalesce('; not compared, of extensions: ' || string_agg(name, ', '), '') FROM known WHERE of_extension))
FROM expected e LEFT JOIN found f USING (name)
WHERE e.rows IS DISTINCT FROM f.rows AND NOT (SELECT of_extension FROM known k WHERE k.name = e.name);
SQL
}
