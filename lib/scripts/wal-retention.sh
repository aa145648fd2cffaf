# shellcheck shell=bash disable=SC2154 # archive_mark is set by wal-archive.sh
# Which WAL may go: what is older than the oldest base backup that is kept. Sourced after lib.sh and wal-archive.sh by the job
# that knows the base backups; needs WAL_ARCHIVE.

# prune_wal SYSTEM_ID OLDEST: removes that server's segments before OLDEST, the segment that the oldest kept base backup
# begins with, or the name of its .backup file. Timelines' histories stay, and so do all other servers' folders. Sets pruned to
# the number of files that went. Fails without having removed anything if OLDEST is not in the archive.
prune_wal() {
  local system=$1 oldest=$2 folder=$WAL_ARCHIVE/$1 segment=${2:0:24} before
  pruned=0
  [[ $system =~ ^[0-9]{1,20}$ ]] || die retention "\`$system\` is no system identifier; call prune_wal SYSTEM_ID OLDEST_SEGMENT"
  [[ $oldest =~ ^[0-9A-F]{24}(\.[0-9A-F]{8}\.backup)?$ ]] ||
    die retention "\`$oldest\` is neither a segment nor a .backup file; call prune_wal SYSTEM_ID OLDEST_SEGMENT"
  if [ ! -e "$WAL_ARCHIVE/$archive_mark" ]; then
    die retention "$WAL_ARCHIVE has no $archive_mark: it is not a WAL archive, or its volume is not mounted; mount the archive's claim there"
  fi
  # A name that is wrong, or of another server, would make everything older than any segment.
  if [ ! -f "$folder/$segment" ]; then
    warn retention "the archive of server $system does not hold $segment, with which the oldest kept base backup begins; no WAL was removed"
    return 1
  fi
  before=$(count_wal "$folder")
  pg_archivecleanup "$folder" "$oldest" || die retention "pg_archivecleanup failed on $folder; look at owner and mode of the archive volume"
  # Copies of runs that were killed, and whose segment was archived by another: a living one takes seconds.
  find "$folder/.partial" -type f -mmin +1440 -delete 2>/dev/null || true
  fsync_path "$folder"
  pruned=$((before - $(count_wal "$folder")))
  log retention "removed $pruned WAL files of server $system from before $segment"
}

# count_wal FOLDER: prints how many files of PostgreSQL lie in it
count_wal() { find "$1" -maxdepth 1 -type f -name '[0-9A-F]*' | wc -l; }
