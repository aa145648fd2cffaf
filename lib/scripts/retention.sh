# shellcheck shell=bash
# Which files on a backup volume belong to a job, which of them are verified backups, and which may go.
# Sourced by logical-backup.sh after lib.sh; needs BACKUP_DIR and BACKUP_NAME. Only names of exactly this job's own
# pattern are ever looked at: postgres-backup-extra-… belongs to another job, and so does whatever has no manifest.
#
#   RETENTION_LAST                               how many of the newest verified backups stay, at least 1
#   RETENTION_DAILY _WEEKLY _MONTHLY             of how many days, ISO weeks, months the first one stays as well (0 when unset)
#   RETENTION_TIME_ZONE                          whose days these are (Etc/UTC when unset)

# What follows the job's name. All that is read from a stamp are its digits: YYYYMMDDHHMM, or with seconds.
readonly stamp_pattern='[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{6}' stamp_format='%Y-%m-%d-%H%M%S'
readonly suffix_pattern='sql\.(gz|zst)'

# own_backup_name NAME: is it a data file of this job? Sets name_stamp.
own_backup_name() {
  local rest=${1#"$BACKUP_NAME-"}
  [ "$rest" != "$1" ] && [[ $rest =~ ^($stamp_pattern)\.($suffix_pattern)$ ]] && name_stamp=${BASH_REMATCH[1]}
}

# own_partial_name NAME: is it unpublished work of a run of this job?
own_partial_name() {
  local rest=${1#".partial-$BACKUP_NAME-"}
  [ "$rest" != "$1" ] && [[ $rest =~ ^$stamp_pattern-[0-9a-z]+(\.manifest\.json)?$ ]]
}

# read_manifest FILE: sets manifest_job, manifest_file, manifest_bytes, manifest_sha256, manifest_system; fails unless it is
# a whole manifest in the layout that we write (one scalar per line; a "}" alone in the last line)
read_manifest() {
  local line key value version='' kind=''
  manifest_job='' manifest_file='' manifest_bytes='' manifest_sha256='' manifest_system=''
  [ -f "$1" ] && [ ! -L "$1" ] && [ "$(tail -n 1 -- "$1" | tr -d '\000')" = '}' ] || return 1
  while IFS= read -r line && [[ $line != '  "databases": '* ]]; do
    [[ $line =~ ^\ \ \"([A-Za-z0-9]+)\":\ \"?([^\"]*[^\",])\"?,$ ]] || continue
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    case $key in
      formatVersion) version=$value ;;
      kind) kind=$value ;;
      job) manifest_job=$value ;;
      file) manifest_file=$value ;;
      bytes) manifest_bytes=$value ;;
      sha256) manifest_sha256=$value ;;
      systemIdentifier) manifest_system=$value ;;
    esac
  done < <(tr -d '\000' <"$1")
  [ "$version" = 1 ] && [ "$kind" = logical ] && [[ $manifest_bytes =~ ^[0-9]+$ && $manifest_sha256 =~ ^[0-9a-f]{64}$ ]]
}

# manifest_fits MANIFEST NAME: does it speak of this job, this file and its true size?
manifest_fits() {
  read_manifest "$1" && [ "$manifest_job" = "$BACKUP_NAME" ] && [ "$manifest_file" = "$2" ] &&
    [ -f "$BACKUP_DIR/$2" ] && [ ! -L "$BACKUP_DIR/$2" ] && [ "$manifest_bytes" = "$(file_bytes "$BACKUP_DIR/$2")" ]
}

# list_verified: sets verified to the names of this job's verified backups, oldest first, systems to the servers that they
# are of, and newest_bytes
list_verified() { # [STEP that says what is passed over]
  local path name step=${1:-}
  verified=() systems=()
  newest_bytes=''
  # The pattern sorts by name, which is by time: every name has the same prefix and a stamp of fixed width.
  for path in "$BACKUP_DIR/$BACKUP_NAME"-*; do
    name=${path##*/}
    own_backup_name "$name" || continue
    if [ ! -e "$path.manifest.json" ]; then
      [ -z "$step" ] || log "$step" "passing over $name: it has no manifest, so something else made it; it is left alone"
    elif manifest_fits "$path.manifest.json" "$name"; then
      verified+=("$name")
      systems+=("$manifest_system")
      # shellcheck disable=SC2034 # read by logical-backup.sh
      newest_bytes=$manifest_bytes
    else
      [ -z "$step" ] || warn "$step" "passing over $name: its manifest does not fit (job, file name or size); look at both files, they are left alone"
    fi
  done
}

# ---- which of them stay (docs/decisions.md, "Tiered retention") ---------------------------------------------------

# check_retention: the parameters above, before anything else is done
check_retention() {
  local tier
  : "${RETENTION_DAILY:=0}" "${RETENTION_WEEKLY:=0}" "${RETENTION_MONTHLY:=0}" "${RETENTION_TIME_ZONE:=Etc/UTC}"
  require_number RETENTION_LAST 1 100000
  for tier in RETENTION_{LAST,DAILY,WEEKLY,MONTHLY}; do
    require_number "$tier" 0 100000
    # Without zeros in front, which would make it octal.
    printf -v "$tier" %s "$((10#${!tier}))"
  done
  find_time_zone
}

# find_time_zone: sets calendar to a value for TZ. The C library takes an unknown zone for UTC without a word, and days would
# end at another hour than was asked for; so the file itself is named, and looked into.
find_time_zone() {
  local file=/usr/share/zoneinfo/$RETENTION_TIME_ZONE magic=''
  calendar=UTC0
  case $RETENTION_TIME_ZONE in UTC | Etc/UTC) return 0 ;; esac
  [[ $RETENTION_TIME_ZONE =~ ^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*$ ]] ||
    die environment "RETENTION_TIME_ZONE must be a name of the IANA time zone database, got \`$RETENTION_TIME_ZONE\`; correct it in the container's env"
  { IFS= read -r -n 4 magic <"$file"; } 2>/dev/null || :
  [ "$magic" = TZif ] ||
    die environment "the image has no data for the time zone RETENTION_TIME_ZONE, there is no $file; use an official image, the zone's present name, or Etc/UTC"
  calendar=:$file
}

# retain: removes what no tier keeps, oldest first. Call it only after a publish, under the volume's lock.
retain() {
  local i tiers="last $RETENTION_LAST, daily $RETENTION_DAILY, weekly $RETENTION_WEEKLY, monthly $RETENTION_MONTHLY"
  local most=$((RETENTION_LAST + RETENTION_DAILY + RETENTION_WEEKLY + RETENTION_MONTHLY))
  local -a counted=() stamps=() reasons=() kept=()
  list_verified retention
  count_verified
  choose_kept
  ((most == RETENTION_LAST)) || log retention "tiers: $tiers, by the calendar of $RETENTION_TIME_ZONE"
  for i in "${!counted[@]}"; do
    if [ -z "${reasons[i]}" ]; then
      remove_backup "${counted[i]}"
      continue
    fi
    kept+=("${counted[i]}")
    ((most == RETENTION_LAST)) || log retention "keeping ${counted[i]}: ${reasons[i]}"
  done
  log retention "kept ${#kept[@]} of at most $most: ${kept[*]}"
}

# count_verified: sets counted and stamps to those of verified that the tiers are about, oldest first.
# What the clock says has not happened yet is neither counted nor removed: after a clock that ran ahead
# was put right, a dump of today must not go because of names from next year, nor the other way round.
# Only dumps of the server that the newest one is of are counted: when a volume was lost and initdb made an empty server,
# its good dumps of nothing must not push out those that can still be restored.
count_verified() {
  local now name i
  now=$(date -u "+$stamp_format")
  for i in "${!verified[@]}"; do
    name=${verified[i]}
    own_backup_name "$name"
    if [ "${systems[i]}" != "${system_identifier:-${systems[-1]}}" ]; then
      warn retention "$name is of another server (system identifier ${systems[i]}): not counted and not removed; when nobody needs it any more: rm $name $name.manifest.json"
    elif [[ $name_stamp > $now ]]; then
      warn retention "$name is from the future: not counted and not removed; check the clock, and remove it by hand if it is of no use"
    else
      counted+=("$name")
      stamps+=("$name_stamp")
    fi
  done
}

# choose_kept: sets reasons[i] to why the dump of stamps[i] stays, or to nothing. It looks at no clock and at no file.
choose_kept() {
  local i
  local -a ranks=() days=() weeks=() months=()
  local -x TZ=$calendar
  for i in "${!stamps[@]}"; do
    reasons[i]=''
    ranks[i]=$((${#stamps[@]} - i))
    find_periods "${stamps[i]}"
  done
  keep_firsts "$RETENTION_LAST" last "${ranks[@]}"
  keep_firsts "$RETENTION_DAILY" day "${days[@]}"
  keep_firsts "$RETENTION_WEEKLY" week "${weeks[@]}"
  keep_firsts "$RETENTION_MONTHLY" month "${months[@]}"
}

# keep_firsts LIMIT WORD PERIOD...: the period of each counted dump, oldest first. Of the newest LIMIT periods that have a
# dump, the first one stays: no later dump of that period can push it out, and it is there from the period's beginning.
keep_firsts() {
  local limit=$1 word=$2 i before=''
  shift 2
  local -a periods=("$@") firsts=()
  for i in "${!periods[@]}"; do
    [ "${periods[i]}" = "$before" ] || firsts+=("$i")
    before=${periods[i]}
  done
  for i in "${firsts[@]:${#firsts[@]} > limit ? ${#firsts[@]} - limit : 0}"; do
    reasons[i]+="${reasons[i]:+, }$word ${periods[i]}"
  done
}

# find_periods STAMP: sets days[i], weeks[i], months[i] to what that moment, which is in UTC, belongs to in the zone TZ
find_periods() {
  local digits=${1//-/} periods
  utc_epoch "${digits:0:4}" "${digits:4:2}" "${digits:6:2}" "${digits:8:2}" "${digits:10:2}" "${digits:12:2}"
  printf -v periods '%(%Y-%m-%d %G-W%V %Y-%m)T' "$epoch"
  days[i]=${periods%% *} months[i]=${periods##* }
  periods=${periods% *}
  weeks[i]=${periods#* }
}

# utc_epoch YEAR MONTH DAY HOUR MINUTE SECOND: sets epoch. Not by `date`: that would be a process for each name, and busybox reads
# other formats. Years are counted from March, so that the day that not every year has is the last one.
utc_epoch() {
  local year=$((10#$1)) month=$(((10#$2 + 9) % 12)) days
  year=$((year - (month > 9)))
  days=$((year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + 10#$3 - 1 - 719468))
  epoch=$((((days * 24 + 10#$4) * 60 + 10#$5) * 60 + 10#${6:-0}))
}

# A kill at any point must leave nothing that lies. The manifest goes back to an unpublished name first: then either the
# data file is still there and the next run puts the manifest back (finish_leftovers), or it is not and the manifest goes.
remove_backup() {
  local data=$BACKUP_DIR/$1 hidden
  own_backup_name "$1"
  hidden=$BACKUP_DIR/.partial-$BACKUP_NAME-$name_stamp-removed.manifest.json
  mv -f -- "$data.manifest.json" "$hidden"
  fsync_path "$BACKUP_DIR"
  rm -f -- "$data"
  fsync_path "$BACKUP_DIR"
  rm -f -- "$hidden"
  log retention "removed $1"
}

# finish_leftovers: what dead runs have left. Only under the volume's lock: nobody is working on these files now.
finish_leftovers() {
  local path name data
  for path in "$BACKUP_DIR/.partial-$BACKUP_NAME"-*; do
    name=${path##*/}
    if ! own_partial_name "$name" || [ ! -f "$path" ] || [ -L "$path" ]; then continue; fi
    if [[ $name == *.manifest.json ]] && read_manifest "$path" && own_backup_name "$manifest_file"; then
      data=$BACKUP_DIR/$manifest_file
      if [ -f "$data" ] && [ ! -e "$data.manifest.json" ]; then
        finish_publish "$path" "$manifest_file"
        continue
      fi
    fi
    rm -f -- "$path"
    log leftovers "removed $name of a run that was killed"
  done
}

# The run died between the two renames of a publish, or of a removal: the data file is whole, its manifest is not yet out.
finish_publish() {
  local manifest=$1 name=$2 sum
  if manifest_fits "$manifest" "$name" && sum=$(sha256sum <"$BACKUP_DIR/$name") && [ "${sum%% *}" = "$manifest_sha256" ]; then
    mv -- "$manifest" "$BACKUP_DIR/$name.manifest.json"
    fsync_path "$BACKUP_DIR"
    log leftovers "put the manifest of $name in place: a run was killed right before it"
  else
    rm -f -- "$manifest"
    warn leftovers "$name does not match the manifest of the run that wrote it: it stays without one; restore it only by name, or remove it"
  fi
}
