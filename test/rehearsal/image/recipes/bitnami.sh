# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # read and set by build.sh
# Bitnami's image of PostgreSQL, as its Dockerfile describes it: 1001 without a name, programs in /opt/bitnami, configuration
# outside the data directory, no zstd, no xz, no gosu; certificates of public authorities on board.
# https://github.com/bitnami/containers/blob/main/bitnami/postgresql/18/debian-12/Dockerfile

# shellcheck source=test/rehearsal/image/recipes/official.sh
. "$recipes/official.sh"
packages=(base-files base-passwd bash bsdutils ca-certificates coreutils dash debianutils diffutils findutils grep gzip
  hostname libc-bin libnss-wrapper locales login mawk mount ncurses-bin openssl passwd perl-base sed sysvinit-utils tar
  tzdata util-linux "postgresql-$major" "postgresql-client-$major")
base=/opt/bitnami/postgresql

_bitnami_accounts() {
  printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'postgres:x:26:0::/home/postgres:/bin/sh' \
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin' >"$root/etc/passwd"
  printf '%s\n' root:x:0: tty:x:5: nogroup:x:65534: >"$root/etc/group"
  printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >"$root/etc/nsswitch.conf"
}

# Debian's wrappers in /usr/bin are not there; what they would call is.
_bitnami_programs() {
  find "$root/usr/bin" -lname '*pg_wrapper' -delete
  rm -f "$root"/usr/bin/{zstd,xz,gosu} "$root"/usr/bin/zstd*
  mkdir -p "$root$base"/{conf/conf.d,conf.default,tmp,logs} "$root/opt/bitnami/scripts/postgresql"
  ln -s "/usr/lib/postgresql/$major/bin" "$root$base/bin"
  install -m 755 "$recipes/bitnami-entrypoint.sh" "$root/opt/bitnami/scripts/postgresql/entrypoint.sh"
  install -m 755 "$recipes/bitnami-entrypoint.sh" "$root/opt/bitnami/scripts/postgresql/run.sh"
  cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
}

_bitnami_folders() {
  mkdir -p "$root"/{dev,docker-entrypoint-initdb.d,docker-entrypoint-preinitdb.d,etc,proc,root,run,sys,tmp,usr/local/bin} \
    "$root/bitnami/postgresql/conf/conf.d"
  chmod 1777 "$root/tmp"
  rm -rf "$root/var/run" "$root/var/lib/postgresql" "$root/etc/postgresql"
  ln -s /run "$root/var/run"
  # Group root may write: OpenShift's users of any number are in it.
  chmod -R g+rwX "$root$base"/{conf,tmp,logs} "$root/bitnami" "$root"/docker-entrypoint-*initdb.d
}

_dress() {
  _bitnami_accounts
  _alternatives
  _bitnami_programs
  _bitnami_folders
  chroot "$root" /usr/sbin/ldconfig
  chroot "$root" /usr/bin/localedef -i en_US -c -f UTF-8 en_US.UTF-8
}

_describe() {
  local version
  version=$(chroot "$root" "$base/bin/postgres" --version | sed -E 's/^[^0-9]*([0-9][0-9.a-z~]*).*/\1/')
  cat <<JSON
{
  "version": "$version",
  "suite": "$suite",
  "env": {
    "PATH": "/opt/bitnami/common/bin:$base/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "en_US.UTF-8",
    "LANGUAGE": "en_US:en",
    "APP_VERSION": "$version",
    "BITNAMI_APP_NAME": "postgresql"
  },
  "volumes": ["/bitnami/postgresql", "/docker-entrypoint-initdb.d", "/docker-entrypoint-preinitdb.d"],
  "entrypoint": ["/opt/bitnami/scripts/postgresql/entrypoint.sh"],
  "cmd": ["/opt/bitnami/scripts/postgresql/run.sh"],
  "user": "1001",
  "stopSignal": "SIGTERM"
}
JSON
}
