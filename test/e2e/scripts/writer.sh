#!/usr/bin/env bash
# usage: PGHOST=… PGPASSWORD=… writer.sh DATABASE FILE
# Inserts into the table `load`, one transaction a row, as fast as the server takes them, and for ever. FILE gets each id
# once the server has said that it is committed, FILE.errors what went wrong; a lost connection is opened again.
set -Eeuo pipefail

statements() {
  while :; do echo "INSERT INTO load (filler) VALUES (repeat('x', 100)) RETURNING id;"; done 2>/dev/null
}

_main() {
  local database=$1 file=$2
  # A server that vanished without a word must not hold the writer for the quarter of an hour that TCP would.
  local connection="dbname=$database tcp_user_timeout=3000 keepalives_idle=2 keepalives_interval=1 keepalives_count=2"
  trap exit INT TERM
  : >"$file.errors"
  while :; do
    statements | psql -X -w -q -A -t -v ON_ERROR_STOP=1 -d "$connection" >>"$file" 2>>"$file.errors" || true
    sleep 0.2
  done
}

# `bash -c` sets no BASH_SOURCE.
[ "${BASH_SOURCE[0]:-$0}" != "$0" ] || _main "$@"
