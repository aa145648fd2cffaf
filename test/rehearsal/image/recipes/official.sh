# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # read and set by build.sh
# The official Debian image of PostgreSQL: 999:999, PATH, VOLUME, locale.

# Debian carries one major version per suite, and no other ones.
_suite_of() {
  case $1 in
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo forky ;;
    *) _fail "the major version must be 15, 17 or 18 (Debian has no packages of others), got \`$1\`" ;;
  esac
}

suite=$(_suite_of "$major")
# What a minimal Debian brings, then what the official image adds to it.
packages=(base-files base-passwd bash bsdutils coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin
  login mawk mount ncurses-bin passwd perl-base sed sysvinit-utils tar tzdata util-linux
  "postgresql-$major" "postgresql-client-$major" gosu less libnss-wrapper locales xz-utils zstd)
if [ "$major" -ge 18 ]; then
  volume=/var/lib/postgresql pgdata=/var/lib/postgresql/$major/docker
else
  volume=/var/lib/postgresql/data pgdata=/var/lib/postgresql/data
fi

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
  install -m 755 "$recipes/../entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
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
  "suite": "$suite",
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
  "user": "",
  "stopSignal": "SIGINT"
}
JSON
}
