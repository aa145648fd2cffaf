#!/usr/bin/env bash
# Dumps the whole server (every database, roles, grants) into one compressed SQL file with a manifest beside it.
#
#   PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE   the server; PGDATABASE is where the run's lock lives
#   BACKUP_DIR BACKUP_NAME                       the volume, and the name that all files of this job begin with
#   COMPRESSION COMPRESSION_LEVEL                gzip 1–9, or zstd 1–19
#   RETENTION_LAST and others                    which verified backups stay: retention.sh
#   LOCK_WAIT_TIMEOUT                            seconds that the dump waits for a table that somebody has locked
#
# Nothing gets a final name before it was read back from the volume, decompressed and found complete.
set -Eeuo pipefail

scripts=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=lib/scripts/lib.sh
. "$scripts/lib.sh"
# shellcheck source=lib/scripts/retention.sh
. "$scripts/retention.sh"

check_environment() {
  require PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE BACKUP_DIR BACKUP_NAME COMPRESSION COMPRESSION_LEVEL RETENTION_LAST \
    LOCK_WAIT_TIMEOUT
  [[ $BACKUP_NAME =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
    die environment "BACKUP_NAME must consist of letters, digits, dots, - and _, got \`$BACKUP_NAME\`; correct it in the container's env"
  [ -d "$BACKUP_DIR" ] || die environment "BACKUP_DIR $BACKUP_DIR is no directory; mount the backup volume there"
  case $COMPRESSION in
    gzip) require_number COMPRESSION_LEVEL 1 9 ;;
    zstd) require_number COMPRESSION_LEVEL 1 19 ;;
    *) die environment "COMPRESSION must be gzip or zstd, got \`$COMPRESSION\`; correct it in the container's env" ;;
  esac
  check_retention
  require_number LOCK_WAIT_TIMEOUT 1 1000000
  require_tools pg_dumpall pg_dump psql awk flock sha256sum "$COMPRESSION"
}

# zstd writes and reads the gzip format with zlib, in about half the time of gzip; not every build of it can.
choose_compressor() {
  case $COMPRESSION in
    zstd)
      suffix=sql.zst
      compress=(zstd -q -c "-$COMPRESSION_LEVEL")
      decompress=(zstd -q -d -c)
      ;;
    gzip)
      suffix=sql.gz
      compress=(gzip -c "-$COMPRESSION_LEVEL")
      decompress=(gzip -d -c)
      if [ "$(printf probe | zstd -q -c --format=gzip 2>/dev/null | gzip -dc 2>/dev/null)" = probe ]; then
        compress=(zstd -q -c --format=gzip "-$COMPRESSION_LEVEL")
        decompress=(zstd -q -d -c --format=gzip)
      fi
      ;;
  esac
}

# Work is invisible to everybody who looks for backups until publish renames it.
prepare_files() {
  started=$(utc_now)
  local stamp
  # 2026-11-21T02:00:00Z as 2026-11-21-020000
  stamp=${started//[:Z]/}
  stamp=${stamp/T/-}
  name=$BACKUP_NAME-$stamp.$suffix
  local taken
  for taken in "$BACKUP_NAME-$stamp".sql.{gz,zst}{,.manifest.json}; do
    if [ -e "$BACKUP_DIR/$taken" ] || [ -L "$BACKUP_DIR/$taken" ]; then
      die prepare "$taken exists already and is never overwritten; run it again in a second, or check the clock"
    fi
  done
  work=$(mktemp -d "$TMPDIR/backup.XXXXXX")
  partial=$BACKUP_DIR/.partial-$BACKUP_NAME-$stamp-$$x$RANDOM
  partial_manifest=$partial.manifest.json
  at_exit remove_work
}

remove_work() { rm -rf -- "$work" "$partial" "$partial_manifest"; }

# A dump about as big as the last one has to fit. Databases shrink, too: only what cannot go well is refused.
check_space() {
  local free
  list_verified
  free=$(df -Pk -- "$BACKUP_DIR" | awk 'END { print $(NF - 2) }')
  [[ $free =~ ^[0-9]+$ ]] || return 0
  free=$((free * 1024))
  local cure='grow the claim, keep fewer backups, or remove old ones by hand'
  if ((free < 65536 || free < ${newest_bytes:-0} / 2)); then
    die space "only $free bytes are free on the backup volume, the newest backup has ${newest_bytes:-none}; $cure"
  elif ((free < ${newest_bytes:-0} + ${newest_bytes:-0} / 10)); then
    warn space "only $free bytes are free on the backup volume, the newest backup has $newest_bytes; $cure"
  fi
}

warn_of_clock() {
  local last
  ((${#verified[@]} > 0)) || return 0
  last=${verified[-1]}
  own_backup_name "$last"
  [[ $BACKUP_NAME-$name_stamp < $name ]] ||
    warn prepare "the newest backup, $last, is from after now, $started; the clock was wrong or is wrong"
}

# One line per database: name (escaped as by COPY), dumped by pg_dumpall (t|f), invalid (t|f), bytes
list_databases() {
  run_psql -c "COPY (SELECT datname, datallowconn AND datconnlimit <> -2, datconnlimit = -2, coalesce(pg_database_size(oid), 0)
    FROM pg_database WHERE datname <> 'template0' ORDER BY datname) TO STDOUT" >"$1" 2>"$work/list.log" || {
    log_file list '' "$work/list.log"
    die list "could not list the databases; look at the lines above and at the server's log"
  }
}

warn_of_skipped() {
  local name dumped invalid
  while IFS=$'\t' read -r name dumped invalid _; do
    [ "$dumped" = f ] || continue
    if [ "$invalid" = t ]; then
      warn list "database $name is NOT in this backup: an interrupted DROP DATABASE left it invalid; drop it"
    else
      warn list "database $name is NOT in this backup: it allows no connections; ALTER DATABASE … ALLOW_CONNECTIONS true to have it dumped"
    fi
  done <"$work/before"
}

# What restores have made or kept is dumped like everything else: only people know when it is no longer needed.
warn_of_copies() {
  local name size drop
  while IFS=$'\037' read -r name size drop; do
    [ -z "$name" ] || warn list "database $name is a copy that a restore has left, $((size >> 20)) MiB that every dump holds as well; when nobody needs it any more: $drop"
  done < <(run_psql -F $'\037' -c "SELECT datname, pg_database_size(oid), format('DROP DATABASE %I;', datname) FROM pg_database
    WHERE datname ~ '_(restoring|restored|before_restore)_[0-9]{14}\$' AND datallowconn AND datconnlimit <> -2 ORDER BY datname")
}

# ---- dump --------------------------------------------------------------------------------------------------------

dump_pipe() {
  set +e
  pg_dumpall --no-password --database="$PGDATABASE" --lock-wait-timeout="${LOCK_WAIT_TIMEOUT}s" 2>"$work/pg_dumpall.log" |
    "${compress[@]}" 2>"$work/compress.log" >"$partial"
  printf '%s\n' "${PIPESTATUS[*]}" >"$work/status"
}

dump() {
  log dump "pg_dumpall $client_version | ${compress[*]} into $name"
  # bash itself would print "Killed" between our lines; the statuses say it.
  { run_job dump_pipe; } 2>/dev/null || true
  local dumped='' compressed=''
  read -r dumped compressed <"$work/status" || die dump "the dump ended without a status; is $TMPDIR full?"
  log_file dump 'pg_dumpall: ' "$work/pg_dumpall.log"
  log_file dump "${compress[0]}: " "$work/compress.log"
  # When the compressor dies, pg_dumpall fails as well; the reason is the compressor.
  if [ "$compressed" != 0 ]; then
    die dump "$COMPRESSION $(ended "$compressed") and pg_dumpall $(ended "$dumped"); $(volume_cure "$work/compress.log" "$compressed")"
  elif [ "$dumped" != 0 ]; then
    die dump "pg_dumpall $(ended "$dumped"); $(dump_cure "$dumped")"
  fi
}

# ended STATUS: in words
ended() {
  if (($1 > 128)); then
    printf 'was killed by signal %s' "$(($1 - 128))"
  else
    printf 'ended with status %s' "$1"
  fi
}

readonly memory_cure='the pod ran out of memory: raise its memory limit and run it again'

# volume_cure LOG STATUS
volume_cure() {
  if grep -qi -e 'no space left' -e 'quota exceeded' "$1"; then
    printf 'the backup volume is full: grow the claim, keep fewer backups, or remove old ones by hand'
  elif ! touch -- "$partial_manifest" 2>/dev/null; then
    printf 'the backup volume has turned read-only: repair it (its node or its server logs why), then run it again'
  elif memory_ran_out; then
    printf '%s' "$memory_cure"
  elif [ "$2" = 137 ]; then
    printf 'was the pod out of memory? raise its memory limit and run it again'
  else
    printf 'look at the lines above and at the backup volume, then run it again'
  fi
}

dump_cure() {
  # pg_dump's end is all that pg_dumpall tells.
  if memory_ran_out; then
    printf '%s' "$memory_cure"
    return
  fi
  case $(<"$work/pg_dumpall.log") in
    *'statement timeout'* | *'lock timeout'*)
      printf 'a table was locked for more than %s s: end the session that holds it, or raise LOCK_WAIT_TIMEOUT' "$LOCK_WAIT_TIMEOUT" ;;
    *'permission denied'*) printf 'user %s may not read everything: use the superuser' "$PGUSER" ;;
    *'server closed the connection'* | *'terminating connection'* | *'connection to server'*)
      printf 'the server went away: look at its log, run it again when it is ready' ;;
    *'out of shared memory'* | *max_locks_per_transaction*)
      printf 'the dump locks every table of a database at once and the server has no room for so many locks: raise max_locks_per_transaction (64 by default; about as many as the largest database has tables, divided by max_connections), restart the server, and run it again' ;;
    *'newline or carriage return'*) printf 'pg_dumpall cannot dump a database whose name has a line break: rename it' ;;
    *'aborting because of server version mismatch'*) printf 'use an image of the server'\''s major version or newer' ;;
    *) if [ "$1" = 137 ]; then
        printf 'was the pod out of memory? raise its memory limit and run it again'
      else
        printf 'look at the lines above and at the server'\''s log, then run it again'
      fi ;;
  esac
}

# ---- verify ------------------------------------------------------------------------------------------------------

# One read of the file feeds both the checksum and, decompressed, the inventory.
verify_pipe() {
  set +e
  {
    tee /dev/fd/3 <"$partial" 2>"$work/read.log" |
      "${decompress[@]}" 2>"$work/decompress.log" |
      awk -f "$scripts/dump-lexer.awk" -f "$scripts/dump-inventory.awk" >"$work/inventory" 2>"$work/awk.log"
    printf '%s\n' "${PIPESTATUS[*]}" >"$work/status"
  } 3>&1 | sha256sum >"$work/sha256"
}

verify() {
  log verify "reading $name back"
  fsync_path "$partial"
  # What was just written is still in memory; the volume is what has to be believed. Best effort: only GNU dd can.
  dd if="$partial" iflag=nocache count=0 2>/dev/null || true
  { run_job verify_pipe; } 2>/dev/null || true
  local read='' decompressed='' scanned=''
  read -r read decompressed scanned <"$work/status" || die verify "the check ended without a status; is $TMPDIR full?"
  log_file verify 'read: ' "$work/read.log"
  log_file verify "${decompress[0]}: " "$work/decompress.log"
  log_file verify 'awk: ' "$work/awk.log"
  local cure='nothing was published; check the backup volume, then run it again'
  ! memory_ran_out || cure=$memory_cure
  [ "$decompressed" = 0 ] || die verify "what was written to the volume is damaged: $COMPRESSION $(ended "$decompressed") when it read it back; $cure"
  [ "$read" = 0 ] || die verify "what was written to the volume cannot be read back (tee $(ended "$read")); $cure"
  [ "$scanned" = 0 ] || die verify "the dump cannot be checked (awk $(ended "$scanned")); $cure"
  [ "$(inventory_field complete)" = 1 ] ||
    die verify "the dump has no end: its last line is not where pg_dumpall writes \"cluster dump complete\"; run it again, and look at the server's log"
  [ "$(inventory_field format)" = pg_dumpall ] ||
    die verify "the dump is not one of a whole server; is pg_dumpall in the image PostgreSQL's own?"
  read -r sha256 _ <"$work/sha256"
  [[ $sha256 =~ ^[0-9a-f]{64}$ ]] || die verify "sha256sum gave no checksum; is $TMPDIR full?"
}

# What the server had before and still has must be in the dump; what came or went meanwhile may be.
compare_databases() {
  local database dumped escaped missing=''
  local -A before=() in_dump=()
  while IFS=$'\t' read -r database dumped _; do
    [ "$dumped" != t ] || before["$database"]=1
  done <"$work/before"
  while IFS=$'\t' read -r escaped database _; do
    [ "$escaped" = database ] || continue
    copy_escapes "$database"
    in_dump["$copy_escaped"]=1
  done <"$work/inventory"
  while IFS=$'\t' read -r database dumped _; do
    if [ "$dumped" != t ] || [ -n "${in_dump["$database"]:-}" ]; then continue; fi
    if [ -n "${before["$database"]:-}" ]; then
      missing+="${missing:+, }$database"
    else
      log verify "database $database was created during the dump and is not in it"
    fi
  done <"$work/after"
  [ -z "$missing" ] || die verify "databases of the server are missing in the dump: $missing; run it again, and look at the lines above"
  database_count=${#in_dump[@]}
}

# The inventory escapes less than COPY does: carriage return and friends in a name.
copy_escapes() {
  copy_escaped=${1//$'\r'/\\r}
  copy_escaped=${copy_escaped//$'\b'/\\b}
  copy_escaped=${copy_escaped//$'\f'/\\f}
  copy_escaped=${copy_escaped//$'\v'/\\v}
}

# ---- publish -----------------------------------------------------------------------------------------------------

write_manifest() {
  bytes=$(file_bytes "$partial")
  uncompressed=$(inventory_field bytes)
  finished=$(utc_now)
  {
    printf '{\n  "formatVersion": 1,\n  "kind": "logical",\n'
    manifest_text job "$BACKUP_NAME"
    manifest_text file "$name"
    printf '  "bytes": %s,\n' "$bytes"
    manifest_text sha256 "$sha256"
    manifest_text start "$started"
    manifest_text end "$finished"
    manifest_text serverVersion "$server_version"
    manifest_text clientVersion "$client_version"
    manifest_text systemIdentifier "$system_identifier"
    printf '  "uncompressedBytes": %s,\n' "$uncompressed"
    manifest_text scope server
    manifest_databases
    printf '}\n'
  } >"$partial_manifest" || die manifest "could not write the manifest; is the backup volume full? grow the claim or keep fewer backups"
}

manifest_text() {
  json_string "$2"
  printf '  "%s": %s,\n' "$1" "$json_result"
}

# Names come escaped as by COPY, which printf %b undoes. A file per database, because a string that grows line by line
# would take quadratic time.
manifest_databases() {
  local kind database rest size index=0 comma=''
  local -A sizes=() tables=()
  while IFS=$'\t' read -r database _ _ size; do
    sizes["$database"]=$size
  done <"$work/before"
  while IFS=$'\t' read -r kind database rest; do
    case $kind in
      database) tables["$database"]=$work/tables.$((index += 1)) ;;
      table) manifest_table "${rest%$'\t'*}" "${rest##*$'\t'}" >>"${tables["$database"]}" ;;
    esac
  done <"$work/inventory"
  printf '  "databases": ['
  while IFS=$'\t' read -r kind database _; do
    [ "$kind" = database ] || continue
    copy_escapes "$database"
    json_escaped "$database"
    printf '%s\n    {"name": %s, "bytes": %s, "tables": [' "$comma" "$json_result" "${sizes["$copy_escaped"]:-null}"
    comma=,
    if [ -e "${tables["$database"]}" ]; then
      printf '\n'
      sed '$!s/$/,/' "${tables["$database"]}"
      printf '    '
    fi
    printf ']}'
  done <"$work/inventory"
  printf '\n  ]\n'
}

manifest_table() { # NAME ROWS
  json_escaped "$1"
  printf '      {"name": %s, "rows": %s}\n' "$json_result" "$2"
}

json_escaped() {
  local plain
  printf -v plain '%b' "$1"
  json_string "$plain"
}

# The manifest is on the volume, under its unpublished name, before the data file gets its final one: if this run is
# killed between the two renames, the next one finds both and finishes (finish_leftovers).
publish() {
  fsync_path "$partial" "$partial_manifest" "$BACKUP_DIR"
  lock_check
  [ ! -e "$BACKUP_DIR/$name" ] || die publish "$name has appeared meanwhile and is never overwritten; who else writes to this volume?"
  # A stop signal between the renames would only make work for the next run; both take no time.
  trap '' INT TERM
  mv -- "$partial" "$BACKUP_DIR/$name"
  fsync_path "$BACKUP_DIR"
  mv -- "$partial_manifest" "$BACKUP_DIR/$name.manifest.json"
  fsync_path "$BACKUP_DIR"
  log publish "$name"
  stop_note="$name was published before"
  set_traps
}

# Where the server is watched (monitoring-role.sql has marked it), its metrics tell the age of the last backup. Everything by
# the server's clock, which that age is counted by; from the beginning of this run, since later changes are not in the dump.
record() {
  run_psql -v job="$BACKUP_NAME" -v file="$name" -v bytes="$bytes" -v seconds="$SECONDS" <<'SQL'
SET statement_timeout = '5s';
SET default_transaction_read_only = off;
SELECT format('ALTER DATABASE %I SET cdk8s_postgres.backup_%s = %L', current_database(), md5(:'job'), json_build_object(
  'job', :'job', 'file', :'file', 'bytes', :bytes, 'started', extract(epoch FROM now() - make_interval(secs => :seconds)),
  'finished', extract(epoch FROM now())))
WHERE current_setting('cdk8s_postgres.monitoring', true) <> '' \gexec
SQL
}

tell_metrics() {
  record 2>"$work/record.log" && return 0
  log_file record 'psql: ' "$work/record.log"
  warn record "the backup is good, but the server could not be told, so its metrics will call the last backup older than it is; look at the lines above"
}

summary() {
  awk -F '\t' -v name="$name" -v bytes="$bytes" -v from="$uncompressed" -v seconds="$SECONDS" -v databases="$database_count" '
    $1 == "table" { tables++; rows += $4 }
    END { printf "%s: %s bytes (%s uncompressed) in %s s, %s databases, %d tables, %.0f rows", name, bytes, from, seconds, databases, tables, rows }
  ' "$work/inventory"
}

_main() {
  set_traps
  check_environment
  umask 027
  choose_compressor
  lock_volume "$BACKUP_DIR" "$BACKUP_NAME"
  connect_server
  require_client pg_dumpall
  [ "$server_is_superuser" = t ] ||
    die connect "user $PGUSER is no superuser, and only a superuser can dump a whole server with its roles; use the superuser's Secret"
  lock_owner=$BACKUP_NAME
  lock_server shared
  lock_key "backup/$BACKUP_NAME"
  finish_leftovers
  check_space
  prepare_files
  warn_of_clock
  list_databases "$work/before"
  warn_of_skipped
  warn_of_copies
  dump
  verify
  list_databases "$work/after"
  compare_databases
  write_manifest
  publish
  tell_metrics
  retain
  log finished "$(summary)"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
