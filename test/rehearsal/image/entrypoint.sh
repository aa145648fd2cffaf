#!/bin/bash
# docker-entrypoint.sh of the rehearsed images: our own stand-in for the official image's. It keeps that one's documented
# contract (environment, init scripts, temporary server, pg_hba line), so a manifest made for one starts on the other.
#   POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_INITDB_ARGS: each also as NAME_FILE
#   POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA
#   /docker-entrypoint-initdb.d/*.sh (run if executable, else sourced) *.sql *.sql.gz *.sql.xz *.sql.zst, in order of name
# REHEARSAL_ENTRYPOINT=/path/to/the/official/docker-entrypoint.sh makes the runner use that one instead.
set -Eeuo pipefail

_say() { echo "entrypoint: $*"; }
_fail() {
  echo "entrypoint: error: $*" >&2
  exit 1
}

# _setting NAME DEFAULT: exports NAME as given, else as the file NAME_FILE holds it, else DEFAULT
_setting() {
  local from_file="${1}_FILE"
  if [ -n "${!1:-}" ] && [ -n "${!from_file:-}" ]; then
    _fail "both $1 and $from_file are set; set one of them"
  fi
  if [ -n "${!from_file:-}" ]; then
    export "$1=$(cat "${!from_file}")"
  else
    export "$1=${!1:-$2}"
  fi
  unset "$from_file"
}

# Started as root (no securityContext), the official entrypoint gives the folders to postgres and goes on as postgres.
_leave_root() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA" || true
  chmod 3775 /var/run/postgresql || true
  find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} + || true
  exec gosu postgres "${BASH_SOURCE[0]}" "$@"
}

# From 18 on the default PGDATA has the major version in it: a database elsewhere below the volume would look lost.
_refuse_old_layout() {
  local dir
  [ "${PG_MAJOR:?}" -ge 18 ] && [ "$PGDATA" = "/var/lib/postgresql/$PG_MAJOR/docker" ] || return 0
  for dir in /var/lib/postgresql /var/lib/postgresql/data; do
    [ ! -s "$dir/PG_VERSION" ] || _fail "there is a database in $dir, but PGDATA is $PGDATA; upgrade or move it first"
  done
  if grep -q ' /var/lib/postgresql/data ' /proc/self/mountinfo; then
    _fail "/var/lib/postgresql/data is a mount, which images of 18 and later do not use; mount /var/lib/postgresql"
  fi
}

_initdb() {
  local args=(--pgdata="$PGDATA" --username="$POSTGRES_USER")
  [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || args+=(--waldir="$POSTGRES_INITDB_WALDIR")
  # POSTGRES_INITDB_ARGS is shell text by contract ("--locale-provider=icu --icu-locale='de'").
  eval "args+=($POSTGRES_INITDB_ARGS)"
  initdb "${args[@]}" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
}

_allow_remote() {
  local method=${POSTGRES_HOST_AUTH_METHOD:-}
  [ -n "$method" ] || method=$(postgres -D "$PGDATA" -C password_encryption)
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# The server that init scripts talk to: on the socket only, with the options that the real one will get.
_temporary_server() {
  local action=$1 options=()
  shift
  if [ "$action" = start ]; then
    shift # the word "postgres"
    options=(-o "$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")")
  else
    options=(-m fast)
  fi
  PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" "${options[@]}" -w "$action"
}

_psql() {
  PGHOST='' PGHOSTADDR='' PGPASSWORD=$POSTGRES_PASSWORD \
    psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" "$@"
}

_create_database() {
  local found
  found=$(_psql -d postgres -qAt -v name="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'name'")
  [ -n "$found" ] || _psql -d postgres -v name="$POSTGRES_DB" <<<'CREATE DATABASE :"name"'
}

_init_file() {
  local into=(_psql -d "$POSTGRES_DB")
  case $1 in
    *.sh) if [ -x "$1" ]; then "$1"; else
      # shellcheck disable=SC1090
      . "$1"
    fi ;;
    *.sql) "${into[@]}" -f "$1" ;;
    *.sql.gz) gzip -dc <"$1" | "${into[@]}" ;;
    *.sql.xz) xz -dc <"$1" | "${into[@]}" ;;
    *.sql.zst) zstd -dc <"$1" | "${into[@]}" ;;
    *) _say "ignoring $1" ;;
  esac
}

_init_scripts() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    [ -e "$file" ] || continue
    _say "running $file"
    _init_file "$file"
  done
}

_new_database() {
  if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    _fail "the database is not initialised and POSTGRES_PASSWORD is empty; set it (or POSTGRES_HOST_AUTH_METHOD=trust)"
  fi
  # Listed first: an unreadable folder must fail before there is a database.
  ls /docker-entrypoint-initdb.d/ >/dev/null
  _initdb
  _allow_remote
  _temporary_server start "$@"
  _create_database
  _init_scripts
  _temporary_server stop
  _say 'PostgreSQL init process complete; ready for start up.'
}

# Only a server gets prepared: other commands, and options that print and exit, run as they are.
_wants_server() {
  local word
  [ "${1:-}" = postgres ] || return 1
  for word; do
    case $word in -\? | --help | --describe-config | -V | --version) return 1 ;; esac
  done
}

_prepare_server() {
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA" || true
  _setting POSTGRES_PASSWORD ''
  _setting POSTGRES_USER postgres
  _setting POSTGRES_DB "$POSTGRES_USER"
  _setting POSTGRES_INITDB_ARGS ''
  if [ -s "$PGDATA/PG_VERSION" ]; then
    _say 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
  else
    _refuse_old_layout
    _new_database "$@"
  fi
}

_main() {
  [ "${1:0:1}" != - ] || set -- postgres "$@"
  if _wants_server "$@"; then
    [ "$(id -u)" != 0 ] || _leave_root "$@"
    _prepare_server "$@"
  fi
  exec "$@"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
