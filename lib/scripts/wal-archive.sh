# shellcheck shell=bash disable=SC2034 # results are read by the scripts that source this file
# What a WAL archive looks like; sourced after lib.sh by everything that reads or writes one. Needs WAL_ARCHIVE.
#
#   .wal-archive                   the mark: this is the archive, not an empty folder where its volume should be
#   <system identifier>/           the files of one server, under the names that PostgreSQL gives them
#   <system identifier>/.partial/  copies that are being made
#
# A server that was wiped and initialised again has another identifier, so it never meets its own old segments.

readonly archive_mark=.wal-archive

# valid_wal_name NAME: a segment, the last and incomplete one of a timeline, a backup's history or a timeline's
valid_wal_name() { [[ $1 =~ ^([0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history)$ ]]; }

# is_segment NAME: a whole one
is_segment() { [[ $1 =~ ^[0-9A-F]{24}$ ]]; }

# read_system_identifier DIRECTORY: sets system_identifier to that of the server whose data directory it is
read_system_identifier() {
  local line
  system_identifier=''
  while IFS= read -r line; do
    [[ $line =~ ^'Database system identifier:'\ +([0-9]+)$ ]] || continue
    system_identifier=${BASH_REMATCH[1]}
    break
  done < <(pg_controldata -D "$1" 2>&1)
  [ -n "$system_identifier" ]
}

# free_bytes: sets archive_free to what a user may still write to the archive's volume, or to nothing. A volume whose
# server does not answer must not take this script with it.
free_bytes() {
  archive_free=$(timeout 10 df -B1 --output=avail -- "$WAL_ARCHIVE" 2>/dev/null | tail -n 1) || archive_free=''
  archive_free=${archive_free//[!0-9]/}
}
