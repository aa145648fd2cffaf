# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # what the parts of a restore know, they know through variables
# The moment at which the restored databases become the live ones, and what happens if it never comes. Sourced by
# logical-restore.sh.

touched=''     # this run has made something that undo must remove
swap_began=''
swapped=''
left_note='the databases on the server were not changed, but what this run has made could not be removed, the next restore does that'
swapped_note='the databases were swapped in before'
fresh=()
created_roles=()

swap() {
  local attempt since='live since now'
  [ "$INTO" = live ] || { swapped_note='the new databases were complete before, and stay'; since=complete; }
  lock_check
  template1_trial
  if ((${#names[@]} + ${#created_roles[@]} == 0)) && [ ! -s "$work/roles.existing.sql" ]; then
    swapped=1
    return
  fi
  maintenance_database
  swap_statements >"$work/swap.sql"
  swap_began=1
  for attempt in 1 2 3; do
    if PGDATABASE=$maintenance run_job run_swap; then
      swapped=1
      break
    fi
    # The answer to COMMIT can get lost with the connection.
    if is_swapped; then break; fi
    grep -q 'being accessed by other users' "$work/swap.said" || break
    log swap "a client came in between (attempt $attempt of 3)"
    sleep 1
  done
  [ -n "$swapped" ] || swap_failed
  stop_note=$swapped_note
  log swap "$since: $(IFS=,; printf %s "${targets[*]}")"
  template1_content
}

run_swap() { run_psql -v VERBOSITY=terse -f "$work/swap.sql" >/dev/null 2>"$work/swap.said"; }

swap_failed() {
  local list
  await_outcome
  [ -z "$swapped" ] || return 0
  sql_list "${targets[@]}"
  list=$sql_list
  if grep -q 'being accessed by other users' "$work/swap.said"; then
    sessions_on "$list"
    fail swap "clients kept the databases busy: ${sessions:-they have left by now}" \
      'stop them (scale the application to 0), or set SESSIONS=terminate, then run it again'
  fi
  fail swap "the databases could not be renamed ($(last_error "$work/swap.said"))" "look at the server's log, then run it again"
}

# await_outcome: asks until the server answers, which after a crash it does when it has recovered; ends the run if it never does
await_outcome() {
  local waited status
  for ((waited = 0; waited < ${CONNECT_WAIT_STARTING:-60}; waited++)); do
    status=0
    is_swapped || status=$?
    ((status == 2)) || return 0
    ((waited)) || log swap "the server does not answer; asking it for up to ${CONNECT_WAIT_STARTING:-60} s whether the databases were swapped"
    sleep 1
  done
  die swap "the connection was lost at the moment of the swap and the server does not answer; $(unknown_note)"
}

unknown_note() {
  printf 'when it does: databases whose names end in _restoring_%s say that nothing was changed, run it again; without them the restore is done' "$stamp"
}

# The swap must not be connected to a database that it renames, and nor may the lock's session be.
maintenance_database() {
  local target
  maintenance=$PGDATABASE
  for target in "${targets[@]}"; do
    [ "$target" = "$PGDATABASE" ] || continue
    maintenance=template1
    lock_close
  done
}

swap_statements() {
  local i
  printf '%s\n' 'BEGIN;' 'SET LOCAL synchronous_commit = on;'
  [ ! -s "$work/roles.existing.sql" ] || cat "$work/roles.existing.sql"
  for i in "${!created_roles[@]}"; do printf 'ALTER ROLE %s RESET cdk8s_postgres.restoring;\n' "${created_roles[i]}"; done
  for i in "${!names[@]}"; do
    if [ "${exists[i]}" = 1 ]; then
      if [ "$SESSIONS" = terminate ]; then
        terminate "${targets[i]}"
      elif [ -n "${watcher:-}" ]; then
        terminate "${targets[i]}" "$watcher"
      fi
      rename "${targets[i]}" "${kept[i]}"
    fi
    terminate "${fresh[i]}"
    identifier "${fresh[i]}"
    printf 'ALTER DATABASE %s RESET cdk8s_postgres.restoring;\n' "$identifier"
    rename "${fresh[i]}" "${targets[i]}"
  done
  [ "$INTO" != fresh ] || stand_in_statements
  printf '%s\n' 'COMMIT;'
}

identifier() { identifier="\"${1//\"/\"\"}\""; } # NAME: sets identifier

# RENAME takes the database's lock first, then waits up to 5 s for those who are in; whoever comes now waits outside.
rename() {
  local from
  identifier "$1"
  from=$identifier
  identifier "$2"
  printf 'ALTER DATABASE %s RENAME TO %s;\n' "$from" "$identifier"
}

terminate() { # DATABASE [ROLE]: all its sessions, or those of one role
  sql_literal "$1"
  local where="datname = $sql_result"
  if [ $# -gt 1 ]; then
    sql_literal "$2"
    where+=" AND usename = $sql_result"
  fi
  printf 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE %s AND pid <> pg_backend_pid();\n' "$where"
}

# is_swapped: yes (0, sets swapped), no (1), or the server does not answer (2)
is_swapped() {
  local left
  ((${#fresh[@]})) || return 1
  sql_list "${fresh[@]}"
  left=$(PGDATABASE=${maintenance:-$PGDATABASE} run_psql -c "SELECT count(*) FROM pg_database WHERE datname = ANY ($sql_list)" 2>/dev/null) || return 2
  [ "$left" = 0 ] && swapped=1
}

# ---- template1 ---------------------------------------------------------------------------------------------------
# Nothing is ever renamed over template1: tools and images rely on it. Its content goes into the live one, if that is empty.

template1_trial() {
  ((template1_objects)) || return 0
  if [ "$(PGDATABASE=template1 run_psql -c "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
      + (SELECT count(*) FROM pg_type WHERE oid >= 16384) + (SELECT count(*) FROM pg_namespace WHERE oid >= 16384)")" != 0 ]; then
    warn template1 "the dump has $template1_objects statements for it, but the server's own holds objects: left as it is"
    template1_objects=0
    return
  fi
  template1_section ||
    fail template1 "$chosen cannot be read any more, or was changed since it was checked" 'check the volume, then run it again'
  template1_load ROLLBACK || fail template1 "its content cannot be loaded ($(last_error "$work/load.said"))" 'remove that cause, or choose another dump'
}

template1_content() {
  ((template1_objects)) || return 0
  template1_load COMMIT ||
    die template1 "its content could not be loaded ($(last_error "$work/load.said")); all databases are restored, load what template1 needs by hand"
  log template1 "loaded $template1_objects statements"
}

# Kept in a file: after the swap nothing may depend on the volume any more.
template1_section() {
  local now
  printf 'template1\ttemplate1\n' >"$work/map"
  run_job write_template1 && now=$(sha256sum <"$file") && [ "${now%% *}" = "$checksum" ]
}

write_template1() {
  "${unpack[@]}" <"$file" |
    awk -v stay=1 -v map="$work/map" -v server_major="$server_major" -f "$here/dump-lexer.awk" -f "$here/dump-section.awk" >"$work/template1.sql"
}

template1_load() {
  template1_end=$1
  run_job template1_once
}

template1_once() {
  { printf 'BEGIN;\n' && cat "$work/template1.sql" && printf '%s;\n' "$template1_end"; } |
    PGDATABASE=template1 psql -X -w -q -v ON_ERROR_STOP=1 -o /dev/null 2>"$work/load.said"
}

# ---- the end -----------------------------------------------------------------------------------------------------

tell_what_is_kept() {
  local i
  for i in "${!names[@]}"; do
    [ "${exists[i]}" = 1 ] || continue
    identifier "${kept[i]}"
    log kept "the former ${targets[i]} is now ${kept[i]}; when nobody needs it any more: DROP DATABASE $identifier;"
  done
}

# fail STEP CAUSE REMEDY: as die, after everything that this run has made is gone
fail() {
  local state='nothing on the server was changed'
  undo || state=$left_note
  die "$1" "$2; $state; $3"
}

undo_at_exit() {
  undo && return
  warn undo 'what this run has made could not be removed; the next restore does that'
  last_words=${last_words/"$stop_note"/"$left_note"}
}

# undo: runs at every end; removes what this run has made unless it has become live
undo() {
  local name failed=0 status=1
  if [ -z "$touched" ] || [ -n "$swapped" ]; then return 0; fi
  if [ -n "$swap_began" ]; then
    status=0
    is_swapped || status=$?
  fi
  # A stop can come between the COMMIT and our knowing of it: then the last line, which is still to be written, must say so.
  case $status in
    0)
      last_words=${last_words/"$stop_note"/"$swapped_note"}
      return 0 ;;
    2)
      last_words=${last_words/"$stop_note"/"whether the databases were swapped in is not known, the server does not answer; $(unknown_note)"}
      return 1 ;;
  esac
  touched=''
  end_own_sessions || return 1
  for name in "${fresh[@]}"; do drop_database "$name" >/dev/null 2>"$work/undo.said" || not_removed "$name"; done
  drop_created_roles
  return $failed
}

# All at once: since 16 who has granted a membership cannot go before its member. One by one only if that fails.
drop_created_roles() {
  local name list
  ((${#created_roles[@]})) || return 0
  printf -v list '%s, ' "${created_roles[@]}"
  ! run_psql -c "DROP ROLE IF EXISTS ${list%, }" >/dev/null 2>"$work/undo.said" || return 0
  for name in "${created_roles[@]}"; do
    run_psql -c "DROP ROLE IF EXISTS $name" >/dev/null 2>"$work/undo.said" || not_removed "$name"
  done
}

not_removed() {
  failed=1
  log undo "$1 is still there ($(last_error "$work/undo.said"))"
}

# A CREATE DATABASE that was interrupted on this side goes on in the server: wait until none of our sessions is left.
end_own_sessions() {
  local i left
  for ((i = 0; i < 50; i++)); do
    left=$(run_psql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
      WHERE application_name = '$PGAPPNAME' AND pid <> pg_backend_pid()" 2>/dev/null) || return 1
    [ "$left" != 0 ] || return 0
    sleep 0.2
  done
}
