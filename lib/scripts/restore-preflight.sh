# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # what the parts of a restore know, they know through variables
# What is to be done, and everything that could be in the way, before anything is changed. Sourced by logical-restore.sh.

# plan: one entry per database that will be replaced or made, the same index in each of
#   names (in the dump)  targets (on the server)  fresh (while it is loaded)  kept (the former one afterwards)
#   exists (on the server: 1|0)  made (the dump has its CREATE DATABASE: 1|0)
plan() {
  local line kind name identifier created objects about bytes found=''
  names=() targets=() fresh=() kept=() exists=() made=()
  whole_server=1 template1_objects=0 planned_bytes=0 all_names=''
  if [ -n "$DATABASE$TARGET_DATABASE" ] || [ "$format" = pg_dump ]; then whole_server=''; fi
  # Not a tab: read would take two of them, with an empty field between, for one.
  while IFS=$'\037' read -r kind name identifier created objects about bytes; do
    [ "$kind" = database ] || continue
    printf -v name %b "$name"
    all_names+="${all_names:+, }${name:-(a pg_dump file that does not say)}"
    if [ -n "$whole_server" ]; then
      plan_one_of_all
    elif [ -z "$name" ] || [ -z "$DATABASE" ] || [ "$name" = "$DATABASE" ]; then
      found=$((found + 1))
      add_database "$name" "${TARGET_DATABASE:-${DATABASE:-$name}}" "$created" "$bytes"
    fi
  done < <(tr '\t' '\037' <"$work/inventory")
  if [ -z "$whole_server" ]; then
    [ -n "$found" ] || die plan "$chosen holds no database \`$DATABASE\`; set DATABASE to one of: $all_names"
    [ "$found" = 1 ] || die plan "TARGET_DATABASE is for one database, $chosen holds several; set DATABASE to one of: $all_names"
    [ -n "${targets[0]}" ] || [ "$INTO" = live ] ||
      die plan "$chosen does not say which database it is of; set DATABASE to its name"
    [ -n "${targets[0]}" ] ||
      die plan "$chosen does not say which database it is of; set TARGET_DATABASE to the name that it shall have"
  fi
  ((${#names[@]} + template1_objects > 0)) || [ "$INTO" = live ] ||
    die plan "$chosen holds no database to put beside the live ones; set BACKUP_FILE to another one"
  ((${#names[@]} + template1_objects > 0)) || log plan "the dump holds no database to restore, only roles"
}

plan_one_of_all() {
  if [ "$INTO" = fresh ]; then
    [ "$name" != template1 ] || return 0
    if is_copy "$name"; then
      log plan "$name: made by a restore itself, left out"
      return
    fi
  fi
  case $name in
    template0) return ;;
    template1)
      template1_objects=$objects
      return ;;
    postgres)
      if ((objects + about == 0)); then
        log plan 'postgres: nothing of its own in the dump, the one on the server stays as it is'
        return
      fi ;;
  esac
  add_database "$name" "$name" "$created" "$bytes"
}

add_database() { # NAME TARGET CREATED BYTES
  local target=$2
  if [ "$INTO" = fresh ] && [ -n "$2" ]; then
    dated_name "$2" _restored_
    target=$dated
  fi
  names+=("$1")
  targets+=("$target")
  made+=("$3")
  planned_bytes=$((planned_bytes + $4))
  dated_name "$2" _restoring_
  fresh+=("$dated")
  dated_name "$target" _before_restore_
  kept+=("$dated")
}

# dated_name NAME MIDDLE: sets dated to NAME, MIDDLE and the time, in 63 bytes; a long name is cut and gets its checksum
dated_name() {
  local base=$1 room=$((63 - ${#2} - ${#stamp})) sum
  if ((${#base} > room)); then
    sum=$(printf %s "$base" | sha256sum)
    base=${base:0:room-9}
    # not in the middle of a character: 10xxxxxx goes on from the byte before, 11xxxxxx begins one
    while [[ $base == *[$'\x80'-$'\xbf'] ]]; do base=${base%?}; done
    base=${base%[$'\xc0'-$'\xff']}_${sum:0:8}
  fi
  dated=$base$2$stamp
}

# sql_list WORD...: sets sql_list to an array of literals
sql_list() {
  local word
  sql_list=''
  for word in "$@"; do
    sql_literal "$word"
    sql_list+="${sql_list:+, }$sql_result"
  done
  sql_list="ARRAY[$sql_list]::text[]"
}

# problem TEXT: preflight goes on, so that all of them are told at once
add_problem() {
  problems+=("$1")
  log preflight "problem: $1"
}

preflight() {
  local list all='' one
  problems=()
  sql_list "${targets[@]}"
  list=$sql_list
  check_rights
  check_versions
  check_targets "$list"
  check_copies
  check_extensions
  check_tablespaces
  check_sessions "$list"
  check_space
  check_manifest
  if ((${#problems[@]})); then
    for one in "${problems[@]}"; do all+="${all:+ | }$one"; done
    die preflight "nothing was changed: $all"
  fi
  log preflight "no problem found; to be restored: $(IFS=,; printf %s "${targets[*]}")"
}

check_rights() {
  [ "$server_is_superuser" = t ] ||
    die preflight "user $PGUSER is no superuser, a restore needs one (owners, roles, renames); set the credentials of the server's superuser"
}

check_versions() {
  local client client_major dump_major source_major minor
  client=$(psql --version | awk '{ print $3 }')
  client_major=${client%%[!0-9]*}
  dump_major=${dump_version%%[!0-9]*}
  source_major=${source_version%%[!0-9]*}
  if [ -n "$dump_major" ] && ((client_major < dump_major)); then
    add_problem "the dump was made by pg_dump $dump_version and this pod has psql $client; use an image with PostgreSQL $dump_major or newer for the restore"
  fi
  if [ -n "$source_major" ] && ((server_major < source_major)); then
    add_problem "the dump is of a server $source_version and this one is $server_version; restore into PostgreSQL $source_major or newer"
  fi
  if [ -n "$restricted" ]; then
    minor=${client#*.}
    minor=${minor%%[!0-9]*}
    case $client_major in
      13) one_of_minors=22 ;;
      14) one_of_minors=19 ;;
      15) one_of_minors=14 ;;
      16) one_of_minors=10 ;;
      17) one_of_minors=6 ;;
      *) one_of_minors=0 ;;
    esac
    if [[ ! $minor =~ ^[0-9]+$ ]]; then minor=999; fi
    ((minor >= one_of_minors)) ||
      add_problem "the dump has \\restrict lines, which psql $client cannot read; use an image with PostgreSQL $client_major.$one_of_minors or newer for the restore"
  fi
}

# check_targets LIST: also sets exists
check_targets() {
  local i found prepared
  found=$(run_psql -c "SELECT string_agg((EXISTS (SELECT FROM pg_database WHERE datname = n))::int::text, ' ' ORDER BY i)
    FROM unnest($1) WITH ORDINALITY AS t(n, i)")
  read -r -a exists <<<"$found"
  for i in "${!targets[@]}"; do
    if ((${#targets[i]} > 63)); then
      add_problem "the name ${targets[i]} is longer than 63 bytes; set TARGET_DATABASE to a shorter one"
    fi
  done
  prepared=$(run_psql -c "SELECT string_agg(DISTINCT quote_ident(database), ', ') FROM pg_prepared_xacts WHERE database = ANY ($1)")
  [ -z "$prepared" ] ||
    add_problem "prepared transactions are open in $prepared; end them with COMMIT PREPARED or ROLLBACK PREPARED (see pg_prepared_xacts)"
}

check_extensions() {
  local kind database name wanted=() missing
  while IFS=$'\037' read -r kind database name; do
    [ "$kind" = extension ] || continue
    printf -v database %b "$database"
    printf -v name %b "$name"
    is_planned "$database" && wanted+=("$name")
  done < <(tr '\t' '\037' <"$work/inventory")
  ((${#wanted[@]})) || return 0
  sql_list "${wanted[@]}"
  missing=$(run_psql -c "SELECT string_agg(DISTINCT n, ', ') FROM unnest($sql_list) n
    WHERE NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = n)")
  [ -z "$missing" ] || add_problem "the server has no extension $missing; use a server image that contains it"
}

is_planned() {
  local name
  for name in "${names[@]}"; do [ "$name" != "$1" ] || return 0; done
  [ "$1" = template1 ] && ((template1_objects))
}

check_tablespaces() {
  local kind name wanted=() missing
  while IFS=$'\t' read -r kind name; do
    [ "$kind" = tablespace ] || continue
    printf -v name %b "$name"
    wanted+=("$name")
  done <"$work/inventory"
  ((${#wanted[@]})) || return 0
  sql_list "${wanted[@]}"
  missing=$(run_psql -c "SELECT string_agg(n, ', ') FROM unnest($sql_list) n
    WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE quote_ident(spcname) = n OR spcname = n)")
  [ -z "$missing" ] ||
    add_problem "the server has no tablespace $missing; mount a volume for it and run CREATE TABLESPACE … LOCATION … on the server first"
}

# sessions_on LIST: sets sessions to who is connected, without this run and the exporter, which writes nothing and comes back;
# sets watcher to the exporter's role, where the server is watched (monitoring-role.sql)
sessions_on() {
  watcher=$(run_psql -c "SELECT current_setting('cdk8s_postgres.monitoring', true)")
  sql_literal "$watcher"
  sessions=$(run_psql -c "SELECT string_agg(format('%s on %s from %s%s', usename, datname, coalesce(host(client_addr), 'socket'),
      coalesce(' (' || nullif(application_name, '') || ')', '')), ', ' ORDER BY datname, usename)
    FROM (SELECT DISTINCT usename, datname, client_addr, application_name FROM pg_stat_activity
      WHERE datname = ANY ($1) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND usename <> $sql_result AND pid <> ${lock_backend:-0} AND application_name <> '$PGAPPNAME' LIMIT 10) s")
}

check_sessions() {
  sessions_on "$1"
  if [ -n "$sessions" ]; then
    if [ "$SESSIONS" = terminate ]; then
      log preflight "connected, and cut off at the end: $sessions"
    else
      add_problem "clients are connected: $sessions; stop them (scale the application to 0), or set SESSIONS=terminate to cut them off"
    fi
  fi
}

# The server's own view of its disk: the restore's pod does not see it.
check_space() {
  local free need=$planned_bytes list
  ((${#targets[@]})) || return 0
  if [ -n "$manifest" ]; then
    sql_list "${names[@]}"
    list=$sql_list
    need=$(ask_manifest "SELECT coalesce(sum((d->>'bytes')::numeric), $planned_bytes) FROM json_array_elements(:'m'::json->'databases') d
      WHERE d->>'name' = ANY ($list)") || need=$planned_bytes
    # What somebody has written into it by hand need not be a number that a shell can count with.
    [[ $need =~ ^[0-9]{1,18}$ ]] || need=$planned_bytes
  fi
  [ "$INTO" != fresh ] || add_reserve
  free=$(run_psql 2>"$work/df.said" <<'SQL'
BEGIN;
CREATE TEMP TABLE df (line text);
SELECT format('COPY df FROM PROGRAM %L (FORMAT csv, DELIMITER E''\x01'', QUOTE E''\x02'')',
  'df -Pk -- ''' || replace(current_setting('data_directory'), '''', '''\''''') || '''') \gexec
-- What a dead restore has left behind is dropped first.
SELECT (regexp_match(line, '^\S+\s+\d+\s+\d+\s+(\d+)\s'))[1]::bigint * 1024 + (SELECT coalesce(sum(pg_database_size(setdatabase)), 0)
  FROM pg_db_role_setting, unnest(setconfig) c WHERE setrole = 0 AND c LIKE 'cdk8s\_postgres.restoring=%') FROM df WHERE line ~ '\d%' LIMIT 1;
ROLLBACK;
SQL
  ) || free=''
  if [[ ! $free =~ ^[0-9]+$ ]]; then
    log preflight "the free space on the server is unknown, about $((need >> 20)) MiB are needed"
  elif ((free < need)); then
    add_problem "the new databases need about $((need >> 20)) MiB beside the old ones and the server's volume has $((free >> 20)) MiB free; enlarge it, or drop databases that are no longer needed"
  else
    log preflight "about $((need >> 20)) MiB needed, $((free >> 20)) MiB free on the server's volume"
  fi
}

# ask_manifest SQL: the server reads the JSON, as variable m. Names are in the encoding of their databases, of which there
# can be several: as LATIN1 every byte is a character, and comes back as the same byte.
ask_manifest() {
  PGCLIENTENCODING=LATIN1 RESTORE_MANIFEST=$manifest run_psql 2>"$work/manifest.said" <<SQL
\\set m \`cat -- "\$RESTORE_MANIFEST"\`
$1
\\g
SQL
}

# The manifest was written from the dump when it was made: both must list the same rows.
check_manifest() {
  manifest_agrees=''
  [ -n "$manifest" ] || return 0
  awk -F '\t' '$1 == "table" { print $2 "\t" $3 "\t" $4 }' "$work/inventory" | sort >"$work/tables.dump"
  local escaped="replace(replace(replace(%s->>'name', '\\', '\\\\'), E'\\t', '\\t'), E'\\n', '\\n')"
  if ! ask_manifest "SELECT ${escaped/\%s/d} || E'\\t' || ${escaped/\%s/t} || E'\\t' || coalesce(t->>'rows', 'null')
      FROM json_array_elements(:'m'::json->'databases') d, json_array_elements(d->'tables') t" | sort >"$work/tables.manifest"; then
    warn preflight "the manifest's tables cannot be read ($(last_error "$work/manifest.said")); the dump's own list is used"
  elif ! cmp -s "$work/tables.dump" "$work/tables.manifest"; then
    add_problem "the manifest of $chosen lists other tables or rows than the dump holds; one of the two was replaced, set BACKUP_FILE to another one"
  else
    manifest_agrees=1
  fi
}
