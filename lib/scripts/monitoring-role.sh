#!/usr/bin/env bash
# Makes the monitoring role, or gives it the password that the Secret holds now.
#
#   PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE   the server, as its superuser; PGDATABASE is where the server is marked as watched
#   MONITORING_USER MONITORING_PASSWORD          the role
set -Eeuo pipefail

scripts=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=lib/scripts/lib.sh
. "$scripts/lib.sh"

check_environment() {
  require PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE MONITORING_USER MONITORING_PASSWORD
  require_tools psql
  # https://github.com/prometheus-community/postgres_exporter/blob/v0.20.1/exporter/util.go, parseFingerprint: it cuts the
  # connection string at spaces, and puts all of it, password included, into the message that a part is malformed.
  local name
  for name in MONITORING_USER MONITORING_PASSWORD; do
    if [[ ${!name} == *[[:space:]]* ]]; then
      die environment "$name has white space, which postgres_exporter cannot take and would answer by writing the password into its log; write the Secret without, also at the end (--from-literal, or printf %s)"
    fi
  done
  [ "$MONITORING_USER" != "$PGUSER" ] ||
    die environment "MONITORING_USER must be another role than PGUSER, got \`$MONITORING_USER\` for both; metrics need no superuser, use a role of its own"
}

# A role with rights is somebody's: making it a monitoring role would take some of them away, and let the exporter have the
# others.
check_role() {
  local found
  found=$(run_psql -v role="$MONITORING_USER" <<'SQL'
SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'a superuser' END,
    (SELECT 'a member of ' || string_agg(roleid::regrole::text, ', ') FROM pg_auth_members WHERE member = r.oid),
    (SELECT 'with objects or rights of its own: ' || count(*) FROM pg_shdepend
      WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid HAVING count(*) > 0))
FROM pg_roles r WHERE rolname = :'role';
SQL
  ) || die role "could not look for role $MONITORING_USER; look at the server's log, then run it again"
  [ -z "$found" ] ||
    die role "role $MONITORING_USER exists and is $found; a monitoring role has nothing: choose another name for it, or take that away from it"
}

# Nothing of it is in an argument list, in the environment of another program or in a file: the shell itself writes it into
# a pipe, and psql, which has no terminal to ask, reads it there.
make_role() {
  local said
  said=$({
    cat -- "$scripts/monitoring-role.sql"
    printf '%s\n%s\nCOMMIT;\n' "$MONITORING_PASSWORD" "$MONITORING_PASSWORD"
  } | env -u MONITORING_PASSWORD PGAPPNAME=monitoring-role PGOPTIONS='-c client_min_messages=warning -c lc_messages=C '"$plain_names" \
    psql -X -w -q -o /dev/null -v ON_ERROR_STOP=1 -v VERBOSITY=terse -v role="$MONITORING_USER" -f - 2>&1) ||
    die role "role $MONITORING_USER could not be made (${said##*$'\n'}); look at the server's log, then run it again"
}

_main() {
  set_traps
  stop_note='the role is as it was or as it shall be, run it again'
  check_environment
  connect_server
  [ "$server_is_superuser" = t ] ||
    die connect "user $PGUSER is no superuser, and only a superuser can mark the server as watched; use the superuser's Secret"
  check_role
  make_role
  log finished "role $MONITORING_USER may log in with the password that the Secret holds, and has no rights but everybody's"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
