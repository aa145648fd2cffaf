#!/bin/bash
# usage: build.sh 15|17|18 TARGET
# Unpacks PostgreSQL and a minimal Debian out of Debian's packages into TARGET/root, laid out like the official Debian
# image (999:999, PATH, VOLUME, locale), and writes TARGET/image.json beside it.
# The machine's own apt and dpkg stay untouched: all state of the apt calls below lives in a folder of their own.
set -Eeuo pipefail

_fail() {
  echo "image/build.sh: error: $*" >&2
  exit 1
}

# Debian carries one major version per suite, and no other ones.
_suite_of() {
  case $1 in
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo forky ;;
    *) _fail "the major version must be 15, 17 or 18 (Debian has no packages of others), got \`$1\`" ;;
  esac
}

# The address from which this machine itself takes Debian's main archive; it is asked for, never written down.
_mirror() {
  local own found
  own=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
  # shellcheck disable=SC2016  # apt's own placeholders
  found=$(apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v own="$own" '$1 == own && $2 == "main" { print $3; exit }')
  [ -n "$found" ] || _fail "apt knows no source for '$own main'; add one below /etc/apt and run apt-get update"
  echo "$found"
}

# An apt-get that believes nothing is installed and knows one suite only.
_apt() {
  apt-get -qq -y -o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Acquire::Languages=none \
    -o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Debug::NoLocking=true "$@"
}

_download() {
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -r "$keys" ] || _fail "$keys is missing; apt-get install debian-archive-keyring"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  echo "deb [signed-by=$keys] $(_mirror) $(_suite_of "$major") main" >"$work/sources.list"
  _apt update
  # What a minimal Debian brings, then what the official image adds to it.
  _apt install --download-only \
    base-files base-passwd bash bsdutils coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin \
    login mawk mount ncurses-bin passwd perl-base sed sysvinit-utils tar tzdata util-linux \
    "postgresql-$major" "postgresql-client-$major" gosu less libnss-wrapper locales xz-utils zstd >/dev/null
}

# No maintainer script runs; what they would have done for us follows in _dress.
_unpack() {
  local deb dir
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
  rm -f "$work"/cache/archives/procps_*.deb # a dependency here, absent from the official image: nobody may rely on ps
  for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --wildcards \
      --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*/LC_MESSAGES/*'
    rm "$deb"
  done
}

_accounts() {
  printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'postgres:x:999:999::/var/lib/postgresql:/bin/bash' \
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$root/etc/passwd"
  printf '%s\n' root:x:0: tty:x:5: ssl-cert:x:101:postgres postgres:x:999: nogroup:x:65534: >"$root/etc/group"
  printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >"$root/etc/nsswitch.conf"
}

_alternatives() {
  [ -e "$root/usr/bin/awk" ] || ln -s mawk "$root/usr/bin/awk"
  [ -e "$root/usr/bin/which" ] || ln -s which.debianutils "$root/usr/bin/which"
  [ -e "$root/usr/bin/pager" ] || ln -s less "$root/usr/bin/pager"
  ln -sf /usr/share/zoneinfo/Etc/UTC "$root/etc/localtime"
}

_folders() {
  mkdir -p "$root"/{dev,docker-entrypoint-initdb.d,etc,proc,root,run,sys,tmp,usr/local/bin,usr/local/sbin,var/lib}
  chmod 1777 "$root/tmp"
  rm -rf "$root/var/run" "$root/var/lib/postgresql" "$root/etc/postgresql"
  ln -s /run "$root/var/run"
  install -d -o 999 -g 999 -m 3777 "$root/run/postgresql"
  install -d -o 999 -g 999 -m 1777 "$root/var/lib/postgresql" "$root$volume"
}

_dress() {
  _accounts
  _alternatives
  _folders
  sed -i -E "s/^#?listen_addresses *=.*/listen_addresses = '*'/" \
    "$root/usr/share/postgresql/$major/postgresql.conf.sample"
  install -m 755 "$(dirname "$0")/entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
  chroot "$root" /usr/sbin/ldconfig
  chroot "$root" /usr/bin/localedef -i en_US -c -f UTF-8 en_US.UTF-8
}

# What the official image's configuration says; the runner reads nothing else.
_describe() {
  local version
  version=$(chroot "$root" "/usr/lib/postgresql/$major/bin/postgres" --version | sed -E 's/^[^0-9]*([0-9][0-9.a-z~]*).*/\1/')
  cat <<JSON
{
  "major": $major,
  "version": "$version",
  "suite": "$(_suite_of "$major")",
  "env": {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/$major/bin",
    "LANG": "en_US.utf8",
    "PG_MAJOR": "$major",
    "PG_VERSION": "$version",
    "PGDATA": "$pgdata"
  },
  "volumes": ["$volume"],
  "entrypoint": ["docker-entrypoint.sh"],
  "cmd": ["postgres"],
  "stopSignal": "SIGINT"
}
JSON
}

_main() {
  [ $# -eq 2 ] || _fail "expected 15|17|18 and a target folder, got: $*"
  [ "$(id -u)" = 0 ] || _fail "must run as root (files of other owners are unpacked)"
  major=$1
  target=$2
  if [ "$major" -ge 18 ]; then
    volume=/var/lib/postgresql pgdata=/var/lib/postgresql/$major/docker
  else
    volume=/var/lib/postgresql/data pgdata=/var/lib/postgresql/data
  fi
  mkdir -p "$(dirname "$target")"
  work=$(mktemp -d "$(dirname "$target")/.build-$major.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  root=$work/image/root
  mkdir -p "$root"
  chmod 755 "$work/image" "$root"
  _download
  _unpack
  _dress
  _describe >"$work/image/image.json"
  mv -T "$work/image" "$target"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
