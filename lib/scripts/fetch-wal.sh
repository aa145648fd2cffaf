#!/usr/bin/env bash
# usage: WAL_ARCHIVE=… fetch-wal.sh NAME PATH
# PostgreSQL's restore_command (`bash /scripts/fetch-wal.sh %f %p`), which runs in the data directory. How it ends decides
# what the recovery does:
#   0    the file is at PATH
#   1    the archive does not hold it and nothing is wrong: recovery ends with the WAL that there is
#   200  it can't be known, or the archive has a hole: recovery stops. PostgreSQL takes only more than 125 for that; for
#        everything below it would open the database without the rest of its data.
# https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-RESTORE-COMMAND
set -Eeuo pipefail

# Whatever ends this script in a way that nobody foresaw must not look like the end of the archive, a missing lib.sh included.
absent=''
name=${1:-}
stop_unless_absent() {
  local status=$?
  [ "$status" != 0 ] || return 0
  [ -z "$absent" ] || exit 1
  echo "fetch-wal.sh: recovery stops here: cannot tell whether the archive holds $name" >&2
  exit 200
}
[ "${BASH_SOURCE[0]}" != "$0" ] || trap stop_unless_absent EXIT

# shellcheck source=lib/scripts/lib.sh
. "${BASH_SOURCE[0]%/*}/lib.sh"
# shellcheck source=lib/scripts/wal-archive.sh
. "${BASH_SOURCE[0]%/*}/wal-archive.sh"

check_archive() {
  [ -e "$WAL_ARCHIVE/$archive_mark" ] ||
    die fetch "$WAL_ARCHIVE has no $archive_mark: it is not a WAL archive, or its volume is not mounted or can't be read; mount the archive's claim there"
  read_system_identifier . || die fetch "cannot read the system identifier in $PWD; look at global/pg_control"
  folder=$WAL_ARCHIVE/$system_identifier
  [ -d "$folder" ] ||
    die fetch "the archive holds nothing of server $system_identifier; mount the archive that this server wrote to, or recover without restore_command, to the end of the base backup only"
}

# holds FILE: whether it is there; "no" only when the file system says so, and not when it can't answer
holds() {
  local said
  if said=$(stat -L -c %s -- "$1" 2>&1); then return 0; fi
  [[ $said == *': No such file or directory' ]] || die fetch "cannot look into the archive (${said#stat: }); look at its volume"
  return 1
}

# A later segment of the same timeline says that this one was archived, too, and is lost; without it recovery would end here and
# nobody would know. What the base backup brought along is taken from pg_wal.
refuse_hole() {
  local later
  is_segment "$name" && [ ! -e "pg_wal/$name" ] || return 0
  for later in "$folder/${name:0:8}"????????????????; do
    later=${later##*/}
    if is_segment "$later" && [[ $later > $name ]]; then
      die fetch "the archive has a hole: it holds $later, but not $name, which comes before; recover to a time before it, or start from a newer base backup"
    fi
  done
}

# A timeline's history says up to where the one before it was written. What is missing before that point is lost, also where no
# later segment of the same timeline says so.
refuse_lost_end() {
  local history parent at rest size number
  is_segment "$name" && [ ! -e "pg_wal/$name" ] || return 0
  size=$(pg_controldata -D . | sed -n 's/^Bytes per WAL segment: *//p') || true
  [[ $size =~ ^[0-9]+$ ]] || die fetch "cannot read the size of a segment in $PWD; look at global/pg_control"
  number=$((16#${name:8:8} * (0x100000000 / size) + 16#${name:16:8}))
  for history in "$folder"/????????.history; do
    [ -e "$history" ] || continue
    while read -r parent at rest; do
      if [[ $parent =~ ^[0-9]+$ && $at =~ ^([0-9A-F]+)/([0-9A-F]+)$ ]] && ((parent == 16#${name:0:8})) &&
        (((number + 1) * size <= (16#${BASH_REMATCH[1]} << 32) + 16#${BASH_REMATCH[2]})); then
        die fetch "the archive has a hole: ${history##*/} says that timeline $parent went on to $at, and $name, which comes before, is not there; recover to a time before it, or start from a newer base backup"
      fi
    done <"$history" || die fetch "cannot read ${history##*/} in the archive; look at its volume"
  done
}

_main() {
  if [ $# != 2 ] || ! valid_wal_name "$name"; then
    die fetch "takes the name of a WAL file and a path, got \`$*\`; write restore_command = 'bash /scripts/fetch-wal.sh %f %p'"
  fi
  require WAL_ARCHIVE
  check_archive
  if ! holds "$folder/$name"; then
    refuse_hole
    refuse_lost_end
    # The volume may have gone since it was looked at.
    [ -e "$WAL_ARCHIVE/$archive_mark" ] || die fetch "$WAL_ARCHIVE has gone away; look at its volume"
    absent=1
    exit 1
  fi
  cp -- "$folder/$name" "$2" || die fetch "cannot read $name out of the archive, or not write it to $2; look at the archive volume and at the free space of the data volume"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
