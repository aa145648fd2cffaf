#!/usr/bin/env bash
# Restores a whole server, or one database, from a plain dump (pg_dumpall or pg_dump; gzip, zstd, xz or not compressed).
#
#   BACKUP_DIR, BACKUP_NAME      the volume, and the job whose dumps are looked for
#   BACKUP_FILE                  a file on the volume; empty: the newest verified dump of that job
#   DATABASE                     one database out of the dump; empty: all that it holds
#   TARGET_DATABASE              another name for that one database
#   INTO                         live (default): each database takes the place of the one of its name; fresh: each goes
#                                beside it, as <database>_restored_<time>, and nothing that was there before is changed
#   SESSIONS                     refuse (default) or terminate: clients on a database that is to be replaced
#   PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE
#
# Everything is checked first. Then each database is loaded into a new one beside the live one and compared with the
# dump; one transaction renames them all. Whatever fails before it, the server is as it was.
# INTO=fresh is the same way with names that are free.
set -Eeuo pipefail

here=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=retention.sh
. "$here/retention.sh"
# shellcheck source=restore-file.sh
. "$here/restore-file.sh"
# shellcheck source=restore-preflight.sh
. "$here/restore-preflight.sh"
# shellcheck source=restore-load.sh
. "$here/restore-load.sh"
# shellcheck source=restore-swap.sh
. "$here/restore-swap.sh"
# shellcheck source=restore-fresh.sh
. "$here/restore-fresh.sh"

check_parameters() {
  require BACKUP_DIR BACKUP_NAME PGHOST PGUSER
  require_tools psql awk gzip sha256sum od
  BACKUP_FILE=${BACKUP_FILE:-} DATABASE=${DATABASE:-} TARGET_DATABASE=${TARGET_DATABASE:-} SESSIONS=${SESSIONS:-refuse}
  INTO=${INTO:-live}
  export PGDATABASE=${PGDATABASE:-postgres} PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-10}
  case $SESSIONS in
    refuse | terminate) ;;
    *) die environment "SESSIONS must be refuse or terminate, got \`$SESSIONS\`; correct it in the container's env" ;;
  esac
  case $INTO,$TARGET_DATABASE in
    live,* | fresh,) ;;
    fresh,*) die environment "TARGET_DATABASE has no meaning with INTO=fresh, which names the databases itself; leave one of the two empty" ;;
    *) die environment "INTO must be live or fresh, got \`$INTO\`; correct it in the container's env" ;;
  esac
  case $DATABASE,$TARGET_DATABASE in
    template[01],* | *,template[01])
      die environment "a template database cannot be restored by itself; leave DATABASE empty to restore the whole server" ;;
    *$'\n'*) die environment "DATABASE and TARGET_DATABASE must be one line each; correct them in the container's env" ;;
  esac
}

# A server whose node is gone answers nothing, not even that: without keepalives psql would wait for it for two hours.
# libpq has no variables for them, but reads them from a service file.
notice_dead_servers() {
  [ -z "${PGSERVICE:-}" ] || return 0
  printf '[restore]\nkeepalives_idle=20\nkeepalives_interval=10\nkeepalives_count=3\ntcp_user_timeout=50000\n' >"$work/service"
  export PGSERVICEFILE=$work/service PGSERVICE=restore
}

# Settings that belong to databases or roles of the dump must not stop its load; messages are read below, in English. The
# load need not wait for the disk: the commit that makes it visible does, and with it everything before.
session_settings() {
  local options='-c lc_messages=C -c standard_conforming_strings=on -c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0'
  options+=' -c idle_in_transaction_session_timeout=0 -c client_min_messages=warning -c synchronous_commit=off'
  # A login trigger of a restored database must not keep the restore out.
  ((server_major < 17)) || options+=' -c transaction_timeout=0 -c event_triggers=off'
  export PGOPTIONS="${PGOPTIONS:+$PGOPTIONS }$options" PGAPPNAME="logical-restore-$stamp"
}

remove_work() { rm -rf -- "$work"; }

_main() {
  local began=$SECONDS
  check_parameters
  set_traps
  stop_note='nothing on the server was changed, run it again'
  stamp=$(date -u +%Y%m%d%H%M%S)
  work=$(mktemp -d "$TMPDIR/restore.XXXXXX")
  at_exit remove_work
  choose_file
  notice_dead_servers
  connect_server
  lock_server exclusive
  lock_ask 'SELECT pg_backend_pid();' && lock_backend=$lock_answer
  session_settings
  at_exit undo_at_exit
  read_dump
  plan
  preflight
  drop_leftovers
  create_roles
  load
  compare
  swap
  if [ "$INTO" = fresh ]; then
    tell_what_is_fresh $((SECONDS - began))
  else
    log finished "restored $chosen in $((SECONDS - began)) s"
    tell_what_is_kept
  fi
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
