# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # what the parts of a restore know, they know through variables
# Which dump is restored, and what it holds. Sourced by logical-restore.sh.

# choose_file: sets chosen (name), file (path), manifest (path, or nothing)
choose_file() {
  if ! { [ -d "$BACKUP_DIR" ] && [ -r "$BACKUP_DIR" ] && [ -x "$BACKUP_DIR" ]; }; then
    die choose "cannot read $BACKUP_DIR as uid $(id -u); mount the backup volume there, readable for that uid"
  fi
  if [ -n "$BACKUP_FILE" ]; then choose_named; else choose_newest; fi
  file=$BACKUP_DIR/$chosen
  manifest=$BACKUP_DIR/$chosen.manifest.json
  local has=with
  if [ ! -e "$manifest" ] && [ ! -L "$manifest" ]; then
    manifest=''
    has=without
  elif ! read_manifest "$manifest" || [ "$manifest_file" != "$chosen" ]; then
    die choose "the manifest of $chosen is damaged, of another file, or of a newer format; look at it, or move it away to restore $chosen without it"
  fi
  log choose "$chosen, $(file_bytes "$file") bytes, $has manifest"
}

choose_named() {
  case $BACKUP_FILE in
    */* | .* | *[[:cntrl:]]*)
      die choose "BACKUP_FILE must be the name of a file in $BACKUP_DIR, without folders, got \`$BACKUP_FILE\`; correct it in the container's env" ;;
    *.manifest.json)
      die choose "$BACKUP_FILE is a manifest, not a dump; set BACKUP_FILE to ${BACKUP_FILE%.manifest.json}" ;;
  esac
  chosen=$BACKUP_FILE
  list_files
  [ -e "$BACKUP_DIR/$chosen" ] ||
    die choose "there is no $chosen in $BACKUP_DIR; set BACKUP_FILE to one of: ${files_listed:-(the volume is empty)}"
  regular_file "$BACKUP_DIR/$chosen" ||
    die choose "$chosen is not a regular file; set BACKUP_FILE to one of: ${files_listed:-(there is none)}"
  [ -r "$BACKUP_DIR/$chosen" ] || die choose "cannot read $chosen as uid $(id -u); its owner must let that uid read it"
  [ -s "$BACKUP_DIR/$chosen" ] || die choose "$chosen is empty; set BACKUP_FILE to another one"
}

# A link could lead anywhere.
regular_file() { [ -f "$1" ] && [ ! -L "$1" ]; }

# Only a manifest says that a dump was verified; a file without one is never preferred, however new it is. What counts
# as verified is the same as for retention.
choose_newest() {
  local i now
  list_verified choose
  warn_of_lost_files
  if ((${#verified[@]} == 0)); then
    list_files
    [ -n "$files_listed" ] ||
      die choose "$BACKUP_DIR is empty; run the backup first, or copy a dump there and set BACKUP_FILE to its name"
    die choose "no verified dump of $BACKUP_NAME in $BACKUP_DIR; set BACKUP_FILE to one of: $files_listed"
  fi
  chosen=${verified[-1]}
  own_backup_name "$chosen"
  now=$(date -u +%Y-%m-%d-%H%M%S)
  if [[ $name_stamp > $now ]]; then
    list_files
    die choose "the newest dump, $chosen, is from the future: a clock was wrong when it was made, or is wrong now, and it need not be the newest; set BACKUP_FILE to one of: $files_listed"
  fi
  # After a lost volume there are good dumps of an empty server; the ones before them may be what is wanted.
  for ((i = ${#verified[@]} - 2; i >= 0; i--)); do
    [ "${systems[i]}" != "${systems[-1]}" ] || continue
    warn choose "$chosen is of the server ${systems[-1]}; ${verified[i]} is the newest one of another server, ${systems[i]}: set BACKUP_FILE to it if that is the one you want back"
    break
  done
}

warn_of_lost_files() {
  local manifest
  for manifest in "$BACKUP_DIR/$BACKUP_NAME"-*.manifest.json; do
    if [ ! -e "$manifest" ] || [ -e "${manifest%.manifest.json}" ]; then continue; fi
    manifest=${manifest##*/}
    warn choose "passing over ${manifest%.manifest.json}: only its manifest is there, somebody has removed or moved the dump itself"
  done
}

# list_files: sets files_listed to what could be restored by name, newest names first
list_files() {
  local name all=() i
  files_listed=''
  for name in "$BACKUP_DIR"/*; do
    name=${name##*/}
    case $name in *.manifest.json | lost+found) continue ;; esac
    if regular_file "$BACKUP_DIR/$name"; then all+=("$name"); fi
  done
  for ((i = ${#all[@]} - 1; i >= 0 && i >= ${#all[@]} - 10; i--)); do files_listed+="${files_listed:+, }${all[i]}"; done
  ((${#all[@]} <= 10)) || files_listed+=", and $((${#all[@]} - 10)) more"
}

# compression: sets unpack to the command that reads the file; its bytes decide, not its name
compression() {
  local magic
  magic=$(od -An -tx1 -N6 -- "$file" | tr -d ' \n')
  case $magic in
    1f8b*)
      unpack=(gzip -dc)
      # zstd reads gzip in about half the time of gzip; not every build of it can.
      [ "$(printf probe | gzip -c | zstd -dcq 2>/dev/null)" != probe ] || unpack=(zstd -dcq) ;;
    28b52ffd*) unpack=(zstd -dcq) ;;
    fd377a585a00) unpack=(xz -dc) ;;
    504744*) die read "$chosen is an archive of pg_dump -Fc, which this job cannot read; turn it into SQL with pg_restore -f FILE.sql first" ;;
    *) unpack=(cat) ;;
  esac
  require_tools "${unpack[0]}"
}

# One read: checksum, decompression and lexer see the same bytes.
read_once() {
  sha256sum <"$work/checksum.in" >"$work/checksum" &
  tee -- "$work/checksum.in" 2>"$work/read.said" <"$file" | "${unpack[@]}" 2>"$work/unpack.said" |
    awk -v statements="$work/statements.sql" -v users="$work/users" -f "$here/dump-lexer.awk" -f "$here/dump-inventory.awk" >"$work/inventory" ||
    { printf '%s\n' "${PIPESTATUS[*]}" >"$work/read.status"; return 1; }
  wait $!
}

# read_dump: sets format, source_version, dump_version, dump_bytes, restricted and the inventory's file
read_dump() {
  local status said
  compression
  if [ -n "$manifest" ] && [ "$manifest_bytes" != "$(file_bytes "$file")" ]; then
    die read "$chosen has $(file_bytes "$file") bytes, its manifest says $manifest_bytes; the file is damaged, set BACKUP_FILE to another one"
  fi
  mkfifo "$work/checksum.in"
  : >"$work/statements.sql"
  : >"$work/users"
  if ! run_job read_once; then
    read -r -a status <"$work/read.status" || status=(1 0 0)
    said=$(tail -n 1 "$work/unpack.said")
    log_file read 'read: ' "$work/read.said"
    # tee ends in 1 when the volume fails; when the unpacker does, SIGPIPE ends tee.
    if ((status[0] == 1)); then said=$(tail -n 1 "$work/read.said"); fi
    if ((status[0] != 1 && status[1] != 0)) && [ -n "$said" ]; then
      die read "$chosen cannot be unpacked ($said); the file is truncated or damaged, set BACKUP_FILE to another one"
    fi
    die read "$chosen cannot be read (exit codes of read, ${unpack[0]}, awk: ${status[*]}${said:+; $said}); check the volume, then run it again"
  fi
  checksum=$(cut -d ' ' -f 1 "$work/checksum")
  if [ -n "$manifest" ] && [ "$checksum" != "$manifest_sha256" ]; then
    die read "the checksum of $chosen is $checksum, its manifest says $manifest_sha256; the file is damaged, set BACKUP_FILE to another one"
  fi
  format=$(inventory_field format)
  [ "$format" != unknown ] ||
    die read "$chosen is not the output of pg_dump or pg_dumpall in plain format; set BACKUP_FILE to one that is"
  [ "$(inventory_field complete)" = 1 ] ||
    die read "$chosen is incomplete: what pg_dump writes last is not at its end; set BACKUP_FILE to another one"
  source_version=$(inventory_field dumped-from)
  dump_version=$(inventory_field dumped-by)
  dump_bytes=$(inventory_field bytes)
  restricted=$(inventory_field restrict)
  log read "$format file, server ${source_version:-unknown}, pg_dump ${dump_version:-unknown}, $dump_bytes bytes, complete, sha256 $checksum"
}
