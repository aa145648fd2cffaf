#!/bin/bash
# entrypoint.sh and run.sh of the rehearsed Bitnami image: our own stand-in. It keeps what that image documents and its chart
# relies on, so that a server which somebody else's manifest describes starts here:
#   POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DATABASE, POSTGRES_POSTGRES_PASSWORD: each also as POSTGRESQL_… and as NAME_FILE
#   POSTGRESQL_VOLUME_DIR, PGDATA, POSTGRESQL_PORT_NUMBER
#   POSTGRESQL_ENABLE_TLS, POSTGRESQL_TLS_CERT_FILE, …_KEY_FILE, …_CA_FILE (with it clients need a certificate)
#   $POSTGRESQL_VOLUME_DIR/conf/{postgresql,pg_hba}.conf take the place of what is made here
# Configuration and pg_hba.conf lie in /opt/bitnami/postgresql/conf, not in the data directory; passwords are asked for by md5.
# https://github.com/bitnami/containers/blob/main/bitnami/postgresql/README.md
set -Eeuo pipefail

base=/opt/bitnami/postgresql
conf=$base/conf

_fail() {
  echo "bitnami entrypoint: error: $*" >&2
  exit 1
}

# _setting NAME...: the first that is given, by itself or as the file NAME_FILE
_setting() {
  local name file
  for name; do
    file=${name}_FILE
    [ -z "${!file:-}" ] || { cat -- "${!file}" && return; }
    [ -z "${!name:-}" ] || { printf '%s' "${!name}" && return; }
  done
}

_settings() {
  volume=${POSTGRESQL_VOLUME_DIR:-/bitnami/postgresql}
  data=${PGDATA:-$volume/data}
  port=${POSTGRESQL_PORT_NUMBER:-5432}
  user=$(_setting POSTGRESQL_USERNAME POSTGRES_USER)
  password=$(_setting POSTGRESQL_PASSWORD POSTGRES_PASSWORD)
  admin_password=$(_setting POSTGRESQL_POSTGRES_PASSWORD POSTGRES_POSTGRES_PASSWORD)
  database=$(_setting POSTGRESQL_DATABASE POSTGRES_DATABASE POSTGRES_DB)
  [ "${user:-postgres}" != postgres ] || admin_password=$password
  [ -n "$password" ] || _fail "the password is empty; set POSTGRESQL_PASSWORD"
}

# initdb and postgres want a name for their uid, and 1001 has none in the image.
_name_ourselves() {
  ! getent passwd "$(id -u)" >/dev/null || return 0
  echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$data:/bin/false" >"$base/tmp/passwd"
  echo "postgres:x:$(id -g):" >"$base/tmp/group"
  export NSS_WRAPPER_PASSWD=$base/tmp/passwd NSS_WRAPPER_GROUP=$base/tmp/group
  LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}$(ls /usr/lib/*/libnss_wrapper.so)
  export LD_PRELOAD
}

_tls() {
  [ "${POSTGRESQL_ENABLE_TLS:-no}" = yes ] || return 0
  : "${POSTGRESQL_TLS_CERT_FILE:?}" "${POSTGRESQL_TLS_KEY_FILE:?}"
  printf "ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\n" "$POSTGRESQL_TLS_CERT_FILE" "$POSTGRESQL_TLS_KEY_FILE"
  [ -z "${POSTGRESQL_TLS_CA_FILE:-}" ] || printf "ssl_ca_file = '%s'\n" "$POSTGRESQL_TLS_CA_FILE"
}

_hba() {
  if [ "${POSTGRESQL_ENABLE_TLS:-no}" = yes ] && [ -n "${POSTGRESQL_TLS_CA_FILE:-}" ]; then
    printf 'hostssl all all %s cert\n' 0.0.0.0/0 ::/0
  fi
  printf 'host all all %s md5\n' 0.0.0.0/0 ::/0
  echo 'local all all md5'
  printf 'host all all %s md5\n' 127.0.0.1/32 ::1/128
}

_configure() {
  mkdir -p "$conf/conf.d"
  printf "listen_addresses = '*'\nport = %s\nunix_socket_directories = '/tmp'\ninclude_dir = 'conf.d'\n" "$port" >"$conf/postgresql.conf"
  _tls >>"$conf/postgresql.conf"
  _hba >"$conf/pg_hba.conf"
  local file
  for file in postgresql.conf pg_hba.conf; do
    [ ! -f "$volume/conf/$file" ] || cat "$volume/conf/$file" >"$conf/$file"
  done
}

_own_role() {
  [ -n "$user" ] && [ "$user" != postgres ] || return 0
  echo "CREATE ROLE :\"user\" WITH LOGIN CREATEDB PASSWORD :'password';"
}

_initialize() {
  [ ! -s "$data/PG_VERSION" ] || return 0
  mkdir -p "$data"
  chmod 700 "$data"
  initdb -D "$data" -U postgres --pwfile=<(printf '%s\n' "${admin_password:-$password}") --auth=scram-sha-256 -E UTF8
  rm -f "$data"/{pg_hba.conf,postgresql.conf}
  pg_ctl -w -D "$data" -o "-c config_file=$conf/postgresql.conf -c hba_file=$conf/pg_hba.conf -c listen_addresses=" start
  _own_role | PGPASSWORD=${admin_password:-$password} psql -X -h /tmp -p "$port" -U postgres -v ON_ERROR_STOP=1 \
    -v user="$user" -v password="$password" -f -
  if [ -n "$database" ] && [ "$database" != postgres ]; then
    PGPASSWORD=${admin_password:-$password} createdb -h /tmp -p "$port" -U postgres -O "${user:-postgres}" "$database"
  fi
  pg_ctl -w -D "$data" -m fast stop
}

_main() {
  case $0:${1:-} in
    */entrypoint.sh:*/run.sh)
      _settings
      _name_ourselves
      _configure
      _initialize
      ;;
    */run.sh:*)
      _settings
      _name_ourselves
      exec postgres -D "$data" --config-file="$conf/postgresql.conf" --hba_file="$conf/pg_hba.conf" \
        --external_pid_file="$base/tmp/postgresql.pid" "$@"
      ;;
  esac
  exec "$@"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
