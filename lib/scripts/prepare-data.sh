#!/usr/bin/env bash
# usage: PGDATA=… DATA_MOUNT=… EXPECTED_MAJOR=… prepare-data.sh
# The server's init container, as the server's own user: makes PGDATA on the claim, mode 0700, and refuses to let a server
# start on anything that it did not make itself. Nothing here needs root, and nothing is removed.
set -Eeuo pipefail

log() { echo "$(date -u +%FT%TZ) prepare-data: $*" >&2; }
die() {
  log "error: $*"
  exit 1
}

check_writable() {
  [ -w "$DATA_MOUNT" ] && return
  local found
  found=$(stat -c 'mode %a, owner %u:%g' "$DATA_MOUNT")
  die "$DATA_MOUNT is not writable for uid $(id -u) ($found); on a block volume leave \`rootSquash\` out, so that the" \
    "kubelet hands the volume over by fsGroup; on NFS give the exported folder to uid $(id -u)"
}

# A database in another place is somebody's data: a Bitnami chart's, a Deployment's, another image's layout. So may be a
# folder that this server cannot look into.
refuse_other_layouts() {
  [ ! -e "$PGDATA/PG_VERSION" ] || return 0
  local found closed
  # Each database of a server has a PG_VERSION of its own, in base/<number>.
  found=$(cd "$DATA_MOUNT" && find . -maxdepth 4 -name PG_VERSION ! -path '*/base/[0-9]*/PG_VERSION' 2>/dev/null | head -n 1) || true
  if [ -n "$found" ]; then
    found=${found#.}
    found=$DATA_MOUNT${found%/PG_VERSION}
    die "the claim holds a database of PostgreSQL $(cat "$found/PG_VERSION") in $found (owner $(stat -c %u "$found")), and" \
      "PGDATA is $PGDATA; name its layout (\`dataSubdirectory: \"${found#"$DATA_MOUNT"/}\"\`) if it is this server's, else" \
      "dump it with its old server and restore the dump into a new claim"
  fi
  closed=$(find "$DATA_MOUNT" -mindepth 1 -maxdepth 3 -type d ! -name lost+found ! -exec test -r {} -a -x {} ';' -print -prune \
    2>/dev/null | head -n 1) || true
  [ -z "$closed" ] ||
    die "the claim holds $closed (mode $(stat -c '%a, owner %u' "$closed")), which uid $(id -u) cannot look into and which may" \
      "be another server's data; use a new claim, or remove that folder if nobody needs it"
}

refuse_unreadable() {
  local entry
  for entry in "$PGDATA" "$PGDATA/PG_VERSION"; do
    if [ -e "$entry" ] && [ ! -O "$entry" ]; then
      die "$entry belongs to uid $(stat -c %u "$entry"), and this server runs as uid $(id -u); it was made by another" \
        "image: dump it with that image and restore the dump into a new claim"
    fi
  done
}

refuse_other_major() {
  [ -e "$PGDATA/PG_VERSION" ] || return 0
  local major
  major=$(cat "$PGDATA/PG_VERSION")
  [ "$major" = "$EXPECTED_MAJOR" ] ||
    die "$PGDATA was made by PostgreSQL $major, and the image is $EXPECTED_MAJOR; go back to an image of $major, dump," \
      "and restore the dump into a server of $EXPECTED_MAJOR with a new claim"
}

make_data_directory() {
  mkdir -p "$PGDATA"
  # A volume handed over by fsGroup passes its setgid bit and group on; the server wants 0700.
  chmod u=rwx,g=,o=,g-s "$PGDATA"
  log "$PGDATA is there, $(stat -c 'mode %a, owner %u:%g' "$PGDATA")"
}

_main() {
  : "${PGDATA:?}" "${DATA_MOUNT:?}" "${EXPECTED_MAJOR:?}"
  refuse_unreadable
  refuse_other_layouts
  refuse_other_major
  [ -d "$PGDATA" ] || check_writable
  make_data_directory
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
