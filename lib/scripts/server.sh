#!/usr/bin/env bash
# usage: PGDATA=… DATA_MOUNT=… server.sh [option of postgres]...
# Starts the image's server while holding a lock on the volume for as long as any of its processes lives. A stale
# postmaster.pid is no proof of anything: it says pid 1 in every container.
set -Eeuo pipefail

log() { echo "$(date -u +%FT%TZ) server: $*" >&2; }
die() {
  log "error: $*"
  exit 1
}

# After `kubectl delete --force` the next pod starts while the old server is still shutting down: worth waiting for.
lock_volume() {
  local patience=${LOCK_PATIENCE:-30} waited=0
  exec {lock}>>"$DATA_MOUNT/.server.lock"
  until flock -n "$lock"; do
    ((waited > 0)) || log "another server runs on this volume, waiting up to $patience s for it to end"
    ((waited++ < patience)) ||
      die "another server runs on this volume; stop it first (\`kubectl get pods -A\` shows which pod mounts the claim)"
    sleep 1
  done
}

# An init script that fails leaves a database that would start next time and lack what the script was to make
# (https://github.com/docker-library/postgres/issues/891). The mark goes when the last init script, zzz-initialized.sh, runs.
# It is checked here and not in prepare-data.sh: a restarted container does not run the init containers again.
mark_first_start() {
  local mark=$DATA_MOUNT/.initializing
  if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : >"$mark"
  elif [ -e "$mark" ]; then
    die "the first start did not end (an init script failed, or it was killed), so $PGDATA is half-made and holds nothing" \
      "that was ever served; correct the init script, then delete the new claim, or remove $PGDATA and $mark"
  fi
}

_main() {
  : "${PGDATA:?}" "${DATA_MOUNT:?}"
  umask 0077
  lock_volume
  mark_first_start
  exec docker-entrypoint.sh postgres -c config_file=/etc/postgresql/postgresql.conf "$@"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
