# shellcheck shell=bash
# Which files on a backup volume belong to a job, which of them are verified backups, and which may go.
# Sourced by logical-backup.sh after lib.sh; needs BACKUP_DIR and BACKUP_NAME. Only names of exactly this job's own
# pattern are ever looked at: postgres-backup-extra-… belongs to another job, and so does whatever has no manifest.

readonly stamp_pattern='[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{6}'

# own_backup_name NAME: is it a data file of this job? Sets name_stamp.
own_backup_name() {
  local rest=${1#"$BACKUP_NAME-"}
  [ "$rest" != "$1" ] && [[ $rest =~ ^($stamp_pattern)\.sql\.(gz|zst)$ ]] && name_stamp=${BASH_REMATCH[1]}
}

# own_partial_name NAME: is it unpublished work of a run of this job?
own_partial_name() {
  local rest=${1#".partial-$BACKUP_NAME-"}
  [ "$rest" != "$1" ] && [[ $rest =~ ^$stamp_pattern-[0-9a-z]+(\.manifest\.json)?$ ]]
}

# read_manifest FILE: sets manifest_job, manifest_file, manifest_bytes, manifest_sha256, manifest_system; fails unless it is a whole
# manifest in the layout that we write (one scalar per line; a "}" alone in the last line)
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

# retain_last N: removes this job's oldest verified backups until N are left. Call it only after a publish, under the
# volume's lock. What the clock says has not happened yet is neither counted nor removed: after a clock that ran ahead
# was put right, a dump of today must not go because of names from next year, nor the other way round.
# Only dumps of the server that the newest one is of are counted: when a volume was lost and initdb made an empty server,
# its good dumps of nothing must not push out those that can still be restored.
retain_last() {
  local keep=$1 now name i surplus
  local -a counted=()
  now=$(date -u +%Y-%m-%d-%H%M%S)
  list_verified retention
  for i in "${!verified[@]}"; do
    name=${verified[i]}
    own_backup_name "$name"
    if [ "${systems[i]}" != "${system_identifier:-${systems[-1]}}" ]; then
      warn retention "$name is of another server (system identifier ${systems[i]}): not counted and not removed; when nobody needs it any more: rm $name $name.manifest.json"
    elif [[ $name_stamp > $now ]]; then
      warn retention "$name is from the future: not counted and not removed; check the clock, and remove it by hand if it is of no use"
    else
      counted+=("$name")
    fi
  done
  surplus=$((${#counted[@]} > keep ? ${#counted[@]} - keep : 0))
  for ((i = 0; i < surplus; i++)); do
    remove_backup "${counted[i]}"
  done
  log retention "kept $((${#counted[@]} - surplus)) of at most $keep: ${counted[*]:surplus}"
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
