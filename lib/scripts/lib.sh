# shellcheck shell=bash disable=SC2034 # results are read by the scripts that source this file
# Shared by every script that runs inside a pod: source it, never run it.
# It works with a read-only root file system, any uid and no HOME; the only place it writes to is TMPDIR.
#
# Rule for callers: never call `die` inside $(…); it would only end the sub-shell. Functions that can fail return their
# result in a global variable that their comment names.

# Sort orders and tools' messages must not depend on the image's locale.
export LC_ALL=C
export TMPDIR=${TMPDIR:-/tmp}

# The log is the stderr this script was started with, also where a command's own stderr is thrown away.
exec {log_fd}>&2

# ---- what is said ------------------------------------------------------------------------------------------------

utc_now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# log STEP FACT...: one line on stderr, whatever the fact contains
log() {
  local step=$1 fact
  shift
  fact="$*"
  fact=${fact//[$'\n\r\t']/ }
  printf '%s %s: %s\n' "$(utc_now)" "$step" "${fact//[[:cntrl:]]/?}" >&"$log_fd"
}

warn() {
  local step=$1
  shift
  log "$step" "warning: $*"
}

# die STEP "CAUSE; WHAT TO DO": ends the run; the reason is its last line, after the lines of the clean-up
die() {
  local step=$1
  shift
  last_words="error: $*"
  last_step=$step
  # In a sub-shell, or without set_traps, nobody else would say it.
  if [ -z "$traps_set" ] || [ "$BASHPID" != "$$" ]; then log "$step" "$last_words"; fi
  exit 1
}

# log_file STEP PREFIX FILE: passes on what a program has said on its stderr, line by line
log_file() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    [ -z "$line" ] || log "$1" "$2$line"
  done <"$3"
}

# require VAR...: parameters come only from the environment, and are checked before anything is touched
require() {
  local name missing=''
  for name in "$@"; do
    [ -n "${!name:-}" ] || missing+="${missing:+, }$name"
  done
  [ -z "$missing" ] || die environment "not set or empty: $missing; set it in the container's env"
}

# require_number VAR MIN MAX
require_number() {
  local value=${!1:-}
  # 10# because a leading zero would make it octal; more than 9 digits would overflow silently.
  if ! [[ $value =~ ^[0-9]{1,9}$ ]] || ((10#$value < $2 || 10#$value > $3)); then
    die environment "$1 must be a whole number from $2 to $3, got \`$value\`; correct it in the container's env"
  fi
}

require_tools() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null ||
      die environment "the image has no \`$tool\`; use an official postgres image or one that contains it"
  done
}

# json_string TEXT: sets json_result to a JSON string literal, quotes included
json_string() {
  local text=$1 code char escaped
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  if [[ $text == *[[:cntrl:]]* ]]; then
    for code in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 127; do
      printf -v escaped '%04x' "$code"
      printf -v char '%b' "\\x${escaped:2}"
      text=${text//"$char"/"\\u$escaped"}
    done
  fi
  json_result="\"$text\""
}

# fsync_path PATH...: files and directories. `sync FILE` is one fsync(2) per argument in coreutils and in busybox.
fsync_path() {
  sync -- "$@" || die fsync "could not flush to disk: $*; the volume or its server has a problem, nothing was published"
}

# ---- how a run ends ----------------------------------------------------------------------------------------------

traps_set=''
last_step=''
last_words=''
failed_command=''
job_running=''
job_before=''
exit_functions=()

# at_exit FUNCTION: runs once when the script ends, whatever ends it (except -9); the last one given runs first
at_exit() { exit_functions+=("$1"); }

# A container of the official image is stopped with INT, most others with TERM: both are handled alike.
set_traps() {
  traps_set=1
  trap '_on_exit $?' EXIT
  trap '_on_signal INT 130' INT
  trap '_on_signal TERM 143' TERM
  # A dead lock session must be an error that is reported, not the silent end of this shell.
  trap : PIPE
  trap 'failed_command="${BASH_COMMAND} (line $LINENO)"' ERR
}

_on_exit() {
  local status=$1 i
  trap - EXIT ERR
  trap '' INT TERM
  for ((i = ${#exit_functions[@]} - 1; i >= 0; i--)); do
    "${exit_functions[i]}" || true
  done
  if [ "$status" -ne 0 ]; then
    log "${last_step:-${0##*/}}" "${last_words:-error: ended with status $status at: ${failed_command:-unknown}; read the lines above, then run it again}"
  fi
  exit "$status"
}

_on_signal() {
  trap '' INT TERM
  # bash would print that the job was terminated; what the log says does not come this way.
  exec 2>/dev/null
  stop_job
  last_step=${0##*/}
  last_words="error: stopped by SIG$1; ${stop_note:-nothing was published by this run, start it again}"
  exit "$2"
}

# run_job COMMAND...: in a process group of its own and waited for in a way that signals interrupt at once; a shell
# that waits for a foreground command would act on them only after it, which in a big dump is after the grace period.
run_job() {
  local status=0
  job_before=${!:-} job_running=1
  set -m
  "$@" </dev/null &
  set +m
  { wait "$!" || status=$?; } 2>/dev/null
  job_running=''
  return "$status"
}

# The whole group, because pg_dumpall's children outlive it. `$!` and not a variable that is set after the start: the
# signal can come between the two.
stop_job() {
  local i group=${!:-}
  if [ -z "$job_running" ] || [ "$group" = "$job_before" ]; then return 0; fi
  kill -TERM -- "-$group" 2>/dev/null || return 0
  for ((i = 0; i < 10; i++)); do
    kill -0 -- "-$group" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL -- "-$group" 2>/dev/null || true
}

# memory_ran_out: has the kernel killed a process of this container for its memory limit? (cgroup version 2, or 1) The parent
# of that process may know only that it has ended.
memory_ran_out() {
  grep -qsE '^oom_kill [1-9]' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control
}

# ---- files -------------------------------------------------------------------------------------------------------

# inventory_field NAME: prints the second field of that line of what dump-inventory.awk has written
inventory_field() { awk -F '\t' -v name="$1" '$1 == name { print $2; exit }' "${work:?}/inventory"; }

# file_bytes PATH: prints the size; -c is known to coreutils and to busybox
file_bytes() { stat -c %s -- "$1"; }

# lock_volume DIRECTORY NAME: one run at a time per volume and job. The descriptor stays open until the last process of
# this run is gone, so also a dump that outlived its shell keeps the lock.
lock_volume() {
  local file=$1/.$2.lock status=0
  if ! { exec {volume_lock_fd}>>"$file"; } 2>/dev/null; then
    die lock "cannot write $file as uid $(id -u); the volume must be mounted writable and belong to that uid (fsGroup, or chown on the NFS server)"
  fi
  flock -n "$volume_lock_fd" || status=$?
  case $status in
    0) ;;
    1) die lock "another run of $2 is working on this volume ($file is locked); wait for it to end, or delete its Job" ;;
    # Some NFS servers have no locks; the advisory lock on the server still keeps two runs apart.
    *) warn lock "this volume cannot lock files (flock ended with $status); only the lock on the server protects this run" ;;
  esac
}

# ---- the server --------------------------------------------------------------------------------------------------

# -X: no psqlrc; -w: never ask for a password; the connection itself comes from PGHOST, PGPORT, PGUSER, PGPASSWORD.
# search_path: what the owner of a database puts there under the name of a built-in function must not run as superuser.
readonly plain_names='-c search_path=pg_catalog'
run_psql() {
  PGOPTIONS="${PGOPTIONS:+$PGOPTIONS }$plain_names" psql -X -w -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# connection_problem FILE: explains what libpq has said; sets problem and problem_kind (retry, starting; final: no use in
# trying again)
connection_problem() {
  local said
  said=$(tr '\n\t' '  ' <"$1")
  local where="${PGHOST:-the local socket}:${PGPORT:-5432}"
  problem_kind=retry
  case $said in
    *'could not translate host name'* | *'Name or service not known'* | *'name resolution'*)
      problem="the host name ${PGHOST:-} is unknown; check host and namespace of the Service, and the cluster's DNS" ;;
    *'starting up'* | *'not yet accepting connections'* | *'not accepting connections'* | *'in recovery mode'*)
      problem_kind=starting
      problem="the server at $where is still starting up; run it again when its pod is ready" ;;
    *'shutting down'*)
      problem_kind=starting
      problem="the server at $where is shutting down; run it again when its pod is ready" ;;
    *'password authentication failed'*)
      problem_kind=final
      problem="the server at $where rejects the password of user ${PGUSER:-}; the Secret must hold the password that the server knows (changing the Secret alone does not change it: ALTER ROLE … PASSWORD)"
      [[ ${PGPASSWORD:-} != *$'\n' ]] ||
        problem="the server at $where rejects the password of user ${PGUSER:-}; it ends in a line break: make the Secret with printf %s, not with echo" ;;
    *'no password supplied'*)
      problem_kind=final
      problem="the server at $where wants a password and PGPASSWORD is empty; check name and key of the Secret" ;;
    *'no pg_hba.conf entry'*'no encryption'*)
      problem_kind=final
      problem="pg_hba.conf of the server at $where does not let user ${PGUSER:-} in from this pod"
      # Asked twice, with and without TLS, and refused twice: then TLS is not what is missing.
      case $said in
        *'SSL encryption'*) problem+='; add a line for it' ;;
        *) problem+=' without TLS; set PGSSLMODE (the endpoint'\''s Tls.require() or stricter), or add a line for it' ;;
      esac ;;
    *'no pg_hba.conf entry'* | *'pg_hba.conf rejects'*)
      problem_kind=final
      problem="pg_hba.conf of the server at $where does not let user ${PGUSER:-} in from this pod; add a line for it" ;;
    *'too many clients'* | *'connection slots are reserved'* | *'too many connections'*)
      problem="the server at $where has no free connection; raise max_connections or close idle sessions" ;;
    *'permission denied'*)
      problem_kind=final
      problem="user ${PGUSER:-} may not do what this job needs ($said); use the superuser's Secret" ;;
    *'database '*'does not exist'*)
      problem_kind=final
      problem="the server at $where has no database ${PGDATABASE:-}; set PGDATABASE to one that exists, usually postgres" ;;
    *'role '*'does not exist'*)
      problem_kind=final
      problem="the server at $where has no user ${PGUSER:-}; correct PGUSER or create the role" ;;
    *'does not support SSL'*)
      problem_kind=final
      problem="the server at $where has no TLS, and PGSSLMODE=${PGSSLMODE:-} wants it; switch it on there (ssl = on), or set Tls.disable() if the network is trusted" ;;
    *'root certificate file'* | *'certificate or crl found'*)
      problem_kind=final
      problem="the certificate of the authority cannot be read ($said); the key that \`tls.ca\` names must hold one in PEM form" ;;
    *'certificate verify failed'*)
      problem_kind=final
      problem="the certificate of the server at $where is not signed by the authority in \`tls.ca\`, or has expired; compare both with openssl x509 -noout -issuer -dates, and renew the one that is wrong" ;;
    *'does not match host name'*)
      problem_kind=final
      problem="the certificate of the server is for another name than ${PGHOST:-} ($said); give the endpoint a \`host\` that is in the certificate, or the server a certificate with this name" ;;
    *'valid client certificate'* | *'certificate required'* | *'certificate authentication failed'* | *'alert unknown ca'* | *'alert handshake failure'*)
      problem_kind=final
      problem="the server at $where does not accept this client's certificate ($said); set \`clientCertificate\` of \`tls\` to one that its ssl_ca_file has signed, with ${PGUSER:-the role} as its common name" ;;
    *SSL* | *certificate* | *'private key'*)
      problem_kind=final
      problem="no TLS connection to $where ($said); check PGSSLMODE, PGSSLROOTCERT and the server's certificate" ;;
    *'Connection refused'* | *'timeout expired'* | *'timed out'* | *'No route to host'* | *'unreachable'* | *'No such file'* | *'closed the connection'*)
      problem="the server at $where cannot be reached ($said); check that its pod is ready, the Service's name and port, and network policies" ;;
    *)
      problem_kind=final
      problem="no connection to $where ($said); check PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE" ;;
  esac
}

private_key=''

# libpq refuses a private key that others might read, and on a volume without fsGroup a Secret is readable for all or for
# root alone: so the key is copied.
own_private_key() {
  [ -n "${PGSSLKEY:-}" ] && [ -z "$private_key" ] || return 0
  private_key=$TMPDIR/client-key.$$
  at_exit remove_private_key
  (umask 077 && cat -- "$PGSSLKEY" >"$private_key") ||
    die connect "cannot copy the private key $PGSSLKEY to $TMPDIR; check the Secret of \`clientCertificate\`, and that $TMPDIR is writable"
  export PGSSLKEY=$private_key
}

remove_private_key() { rm -f -- "$private_key"; }

# connect_server: waits a little for a server that is starting, then sets server_version (text), server_version_num,
# server_major, system_identifier and server_is_superuser (t|f)
connect_server() {
  local said=$TMPDIR/connect.$$ answer='' waited=0 began=$SECONDS limit last='' tls
  own_private_key
  while :; do
    if answer=$(run_psql -F '|' -c "SELECT current_setting('server_version_num'), current_setting('is_superuser') = 'on',
        (SELECT system_identifier FROM pg_control_system()), current_setting('server_version'),
        (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid())" 2>"$said"); then
      break
    fi
    connection_problem "$said"
    case $problem_kind in
      final) limit=0 ;;
      starting) limit=${CONNECT_WAIT_STARTING:-60} ;;
      *) limit=${CONNECT_WAIT:-15} ;;
    esac
    if ((waited >= limit)); then
      rm -f -- "$said"
      die connect "$problem"
    fi
    [ "$last" = "$problem_kind" ] || log connect "${problem%%;*}; trying for up to $limit s"
    last=$problem_kind
    sleep 1
    # A server that hangs takes PGCONNECT_TIMEOUT for each try.
    waited=$((waited + 1 > SECONDS - began ? waited + 1 : SECONDS - began))
  done
  rm -f -- "$said"
  IFS='|' read -r server_version_num server_is_superuser system_identifier server_version tls <<<"$answer"
  server_major=$((server_version_num / 10000))
  log connect "server $server_version at ${PGHOST:-the local socket}:${PGPORT:-5432}, system identifier $system_identifier${tls:+, $tls}"
  [ "${PGSSLMODE:-}" != prefer ] || [ -n "$tls" ] || log connect 'not encrypted: the server has no TLS'
}

# require_client TOOL: sets client_version; a client must be at least as new as the server, pg_dump refuses otherwise
require_client() {
  local major
  client_version=$("$1" --version) ||
    die connect "$1 does not run in this image; use an image of PostgreSQL that fits this machine"
  client_version=${client_version#*") "}
  major=${client_version%%[!0-9]*}
  ((major >= server_major)) ||
    die connect "$1 $client_version is older than the server $server_version; use an image with PostgreSQL $server_major or newer for this job"
}

# ---- the lock on the server --------------------------------------------------------------------------------------
# Advisory locks belong to a session. One psql holds them for the whole run and reads its orders from this shell: when
# the shell dies, also by -9, psql reads the end of its input, ends, and the server frees the locks.

lock_pid=''

lock_open() {
  [ -z "$lock_pid" ] || return 0
  # A coproc's descriptors are closed in every other child, so nothing keeps the session open after this shell.
  coproc LOCK_SESSION { PGAPPNAME=${lock_owner:-${0##*/}} PGOPTIONS="${PGOPTIONS:+$PGOPTIONS }$plain_names" exec psql -X -w -q -A -t -F '|' 2>&1; }
  lock_pid=$LOCK_SESSION_PID
  lock_to=${LOCK_SESSION[1]}
  lock_from=${LOCK_SESSION[0]}
  at_exit lock_close
  # keepalives: a node that vanished must not hold the lock for hours; idle_session_timeout exists since 14.
  lock_ask "SELECT count(set_config(name, CASE name WHEN 'idle_session_timeout' THEN '0' WHEN 'tcp_keepalives_count' THEN '3'
      ELSE '20' END, false)) FROM pg_settings
    WHERE name IN ('idle_session_timeout', 'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count');" ||
    die lock "could not open a session for the lock (${lock_answer:-psql has ended}); look at the server's log, then run it again"
}

# lock_ask SQL: sets lock_answer to what psql prints; fails if the session is gone
lock_ask() {
  local line end="--end-of-answer-$RANDOM$RANDOM--"
  lock_answer=''
  [ -n "${LOCK_SESSION_PID:-}" ] || return 1
  { printf '%s\n\\echo %s\n' "$1" "$end" >&"$lock_to"; } 2>/dev/null || return 1
  while IFS= read -r -t 60 -u "$lock_from" line 2>/dev/null; do
    [ "$line" != "$end" ] || return 0
    lock_answer+="${lock_answer:+$'\n'}$line"
  done
  return 1
}

sql_literal() { # TEXT: sets sql_result to a literal that is right whatever standard_conforming_strings says
  local text=${1//\'/\'\'}
  sql_result="E'${text//\\/\\\\}'"
}

# lock_take FUNCTION NAME: one advisory lock of the cdk8s-postgres family
lock_take() {
  local holder="SELECT string_agg(format('%s (pid %s, from %s, since %s)', a.application_name, a.pid,
      coalesce(host(a.client_addr), 'socket'), to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')), ', ')
    FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
  local key
  sql_literal "$2"
  key="hashtext('cdk8s-postgres'), hashtext($sql_result)"
  lock_open
  lock_ask "SELECT $1($key);" || die lock "the lock session ended (${lock_answer:-no message}); look at the server's log, then run it again"
  case $lock_answer in
    t) return 0 ;;
    f) ;;
    *) die lock "could not take the lock $2 ($lock_answer); look at the server's log, then run it again" ;;
  esac
  lock_ask "$holder AND pid <> pg_backend_pid() AND (l.classid::bigint, l.objid::bigint) =
    (hashtext('cdk8s-postgres')::bigint & 4294967295, hashtext($sql_result)::bigint & 4294967295);" || true
  die lock "another dump or restore is running on this server: ${lock_answer:-it has just ended}; wait for it to end, or delete its Job"
}

# lock_server exclusive|shared: dumps share the server with dumps, a restore wants it alone
lock_server() {
  case $1 in
    exclusive) lock_take pg_try_advisory_lock server ;;
    shared) lock_take pg_try_advisory_lock_shared server ;;
    *) die lock "lock_server takes exclusive or shared, got $1; correct the script" ;;
  esac
}

# lock_key NAME: one run at a time of what NAME stands for, e.g. backup/postgres-backup
lock_key() { lock_take pg_try_advisory_lock "$1"; }

# lock_check: the run is only as good as its lock; call it before anything becomes visible to others
lock_check() {
  if ! lock_ask "SELECT 1;" || [ "$lock_answer" != 1 ]; then
    # What follows the first line depends on how far the server came with its goodbye.
    lock_answer=${lock_answer%%$'\n'*}
    die lock "the lock on the server was lost during this run (${lock_answer:-the session ended}); the server was restarted or the network failed, run it again"
  fi
}

lock_close() {
  [ -n "$lock_pid" ] || return 0
  kill -TERM "$lock_pid" 2>/dev/null || true
  { wait "$lock_pid" || true; } 2>/dev/null
  lock_pid=''
}
