#!/usr/bin/env bash
# usage: kubectl exec POD -- bash /scripts/archive-health.sh
# One fact a line on stdout. Ends in 0 if the archiver works, in 1 if it fails or is stuck, in 2 if that can't be found out.
# It runs in the server's container: the socket needs no password there, and the archive is mounted.
set -Eeuo pipefail
# shellcheck source=lib/scripts/lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source=lib/scripts/wal-archive.sh
. "${BASH_SOURCE[0]%/*}/wal-archive.sh"

# A segment is archived within seconds; one that waits longer waits for a volume that hangs.
readonly stuck_after=${STUCK_AFTER:-600}

readonly facts="
  WITH a AS (SELECT * FROM pg_stat_archiver),
    w AS (SELECT count(*) AS n, coalesce(extract(epoch FROM now() - min(modification))::bigint, 0) AS age
      FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')
  SELECT f.name || ' ' || f.value FROM a, w, LATERAL (VALUES
    (1, 'archive_mode', current_setting('archive_mode')),
    (2, 'archived_count', a.archived_count::text),
    (3, 'last_archived_wal', coalesce(a.last_archived_wal, '-')),
    (4, 'last_archived_age_seconds', coalesce(extract(epoch FROM now() - a.last_archived_time)::bigint::text, '-')),
    (5, 'failed_count', a.failed_count::text),
    (6, 'last_failed_wal', coalesce(a.last_failed_wal, '-')),
    (7, 'last_failed_age_seconds', coalesce(extract(epoch FROM now() - a.last_failed_time)::bigint::text, '-')),
    (8, 'failing', coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false)::text),
    (9, 'waiting_files', w.n::text),
    (10, 'waiting_age_seconds', w.age::text),
    (11, 'segment_bytes', (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size')),
    (12, 'system_identifier', (SELECT system_identifier::text FROM pg_control_system()))
  ) AS f (place, name, value) ORDER BY f.place"

cannot_tell() {
  echo "problem $*"
  exit 2
}

declare -A fact
read_facts() {
  local said name value
  export PGUSER=${PGUSER:-${POSTGRES_USER:-postgres}} PGDATABASE=${PGDATABASE:-postgres} PGCONNECT_TIMEOUT=10
  said=$(run_psql -c "$facts" 2>&1) || cannot_tell "the server does not answer: ${said//$'\n'/ }"
  while read -r name value; do fact[$name]=$value; done <<<"$said"
  echo "$said"
}

problems=0
problem() {
  problems=$((problems + 1))
  echo "problem $*"
}

judge_server() {
  if [ "${fact[archive_mode]}" = off ]; then
    problem "archive_mode is off, nothing is archived"
  elif [ "${fact[failing]}" = true ]; then
    problem "the last attempt failed (${fact[last_failed_wal]}, ${fact[last_failed_age_seconds]} s ago); the server's log says why"
  elif ((fact[waiting_age_seconds] > stuck_after)); then
    problem "${fact[waiting_files]} files wait, the oldest for ${fact[waiting_age_seconds]} s: the archiver is stuck; look at the archive volume"
  fi
}

judge_volume() {
  local folder=$WAL_ARCHIVE/${fact[system_identifier]}
  free_bytes
  echo "archive_free_bytes ${archive_free:--}"
  if [ -z "$archive_free" ]; then
    problem "$WAL_ARCHIVE does not answer; look at its volume"
    return
  fi
  # The first file makes the mark: a server that has archived nothing yet may lack it.
  if [ ! -e "$WAL_ARCHIVE/$archive_mark" ] && [ "${fact[archived_count]}" != 0 ]; then
    problem "$WAL_ARCHIVE has no $archive_mark: it is not the archive, or its volume is not mounted"
  elif [ ! -w "$WAL_ARCHIVE" ] || { [ -d "$folder" ] && [ ! -w "$folder" ]; }; then
    problem "$WAL_ARCHIVE is not writable for uid $(id -u); give the volume to that uid"
  fi
  ((archive_free >= fact[segment_bytes])) ||
    problem "the archive volume has no room for another segment; grow it, or take another base backup and let the oldest go"
}

_main() {
  require WAL_ARCHIVE
  read_facts
  judge_server
  judge_volume
  ((problems == 0)) || exit 1
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
