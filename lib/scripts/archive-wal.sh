#!/usr/bin/env bash
# usage: WAL_ARCHIVE=… DATA_MOUNT=… archive-wal.sh PATH NAME
# PostgreSQL's archive_command (`bash /scripts/archive-wal.sh %p %f`), which runs in the data directory. It ends in 0 only
# when the file is on the archive's disk under its final name: from then on the server may recycle its own. Anything else
# makes the server keep the file and try again.
# https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-ARCHIVING-WAL
set -Eeuo pipefail
# shellcheck source=lib/scripts/lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source=lib/scripts/wal-archive.sh
. "${BASH_SOURCE[0]%/*}/wal-archive.sh"

readonly kept='the server keeps the file and tries again'

# An archive that was used before and has no mark is another volume, or none: filling that one instead would leave a hole
# that nobody sees before the day of the recovery. The note on the data volume remembers that there was a mark.
check_mark() {
  local note=$DATA_MOUNT/$archive_mark
  [ -e "$WAL_ARCHIVE/$archive_mark" ] || begin_archive "$note"
  [ -e "$note" ] || { : >"$note"; } 2>/dev/null || die archive "cannot write $note; $kept: look at the data volume"
}

begin_archive() {
  local note=$1 entry
  if [ ! -w "$WAL_ARCHIVE" ] || [ ! -x "$WAL_ARCHIVE" ]; then
    die archive "$WAL_ARCHIVE is not writable for uid $(id -u) ($(stat -c 'mode %a, owner %u:%g' "$WAL_ARCHIVE" 2>&1)); $kept: give the volume to that uid"
  fi
  [ ! -e "$note" ] ||
    die archive "$WAL_ARCHIVE has no $archive_mark, and this server has archived to a volume that has one; $kept: mount that volume, or remove $note if the archive is lost and a new one may begin"
  for entry in "$WAL_ARCHIVE"/*; do
    if [ ! -e "$entry" ] || [ "${entry##*/}" = lost+found ]; then continue; fi
    die archive "$WAL_ARCHIVE has no $archive_mark and holds ${entry##*/}, so it is not a WAL archive; $kept: mount a volume of its own"
  done
  : >"$WAL_ARCHIVE/$archive_mark" || die archive "cannot write to $WAL_ARCHIVE; $kept: look at the archive volume"
  fsync_path "$WAL_ARCHIVE/$archive_mark" "$WAL_ARCHIVE"
  log archive "$WAL_ARCHIVE is the WAL archive from now on"
}

make_folder() {
  mkdir -p -- "$folder/.partial" ||
    die archive "cannot make $folder as uid $(id -u); $kept: look at owner and mode of the archive volume, and at its free space"
  fsync_path "$folder" "$WAL_ARCHIVE"
}

# already_there: what lies under the final name is this file, so the run before this one was only interrupted after its rename
already_there() {
  local status=0
  cmp -s -- "$source" "$final" || status=$?
  case $status in
    0) fsync_path "$final" "$folder" ;;
    1) die archive "the archive holds another $name of server $system_identifier, and it is not overwritten; $kept: another server with this identifier archives here (a copy of its volume?): run it with archive_mode=off" ;;
    *) die archive "cannot compare $name with what the archive holds under this name; $kept: look at the archive volume" ;;
  esac
}

partial=''
remove_partial() { [ -z "$partial" ] || rm -f -- "$partial"; }

copy_and_publish() {
  local leftover
  for leftover in "$folder/.partial/$name"-*; do
    # Of a run that was killed. If a run of another server is writing it, that one fails and tries again.
    [ ! -e "$leftover" ] || rm -f -- "$leftover"
  done
  partial=$folder/.partial/$name-$$-$RANDOM$RANDOM
  # sparse: a segment that archive_timeout closed early is mostly zeros, and these take no space then.
  if ! dd if="$source" of="$partial" bs=128k conv=excl,sparse,fsync status=none; then
    free_bytes
    die archive "could not copy $name into the archive, where ${archive_free:-an unknown number of} bytes are free; $kept: if the volume is full, grow it or take another base backup and let the oldest go"
  fi
  # Two servers with one identifier: whoever comes first, the other one does not overwrite it.
  mv -n -T -- "$partial" "$final" || true
  if [ -e "$partial" ]; then
    [ -e "$final" ] || die archive "could not rename $partial to $name; $kept: look at the archive volume"
    already_there
  else
    partial=''
    fsync_path "$folder"
  fi
}

_main() {
  [ $# = 2 ] || die archive "takes the path and the name of a file, got $# arguments; write archive_command = 'bash /scripts/archive-wal.sh %p %f'"
  require WAL_ARCHIVE DATA_MOUNT
  source=$1 name=$2
  valid_wal_name "$name" || die archive "\`$name\` is no name of a WAL file; write archive_command = 'bash /scripts/archive-wal.sh %p %f'"
  set_traps
  stop_note=$kept
  at_exit remove_partial
  check_mark
  read_system_identifier . || die archive "cannot read the system identifier in $PWD; $kept: look at global/pg_control"
  folder=$WAL_ARCHIVE/$system_identifier final=$WAL_ARCHIVE/$system_identifier/$name
  [ -d "$folder/.partial" ] || make_folder
  if [ -e "$final" ]; then already_there; else copy_and_publish; fi
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
