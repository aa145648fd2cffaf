#!/bin/bash
# usage: setup.sh decide | install
# decide   prints how this machine can rehearse: `packages` (Debian as root), `docker` or `podman`; else fails with one hint
# install  gets the Debian packages that the runner needs and that are missing; does nothing in 50 ms when all are there
set -Eeuo pipefail

# runc executes the pods, fuse and python3-fusepy make the root-squashed export, libfaketime the clock, the keyring lets
# apt take the images' packages from other suites, openssl makes certificates for servers with TLS; shellcheck is for the
# lint and the tests of the scripts, which run on every awk that an image may have.
PACKAGES=(runc util-linux iproute2 mount e2fsprogs fuse python3 python3-fusepy libfaketime debian-archive-keyring
  openssl xz-utils zstd gzip mawk gawk busybox shellcheck)

_fail() {
  echo "rehearsal: error: $*" >&2
  exit 1
}

_is_debian() { grep -qx 'ID=debian' "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && command -v apt-get >/dev/null; }
_is_root() { [ "$(id -u)" = 0 ]; }
# In an unprivileged container root may not make namespaces and mounts.
_may_isolate() { unshare --net --mount --pid --fork true 2>/dev/null; }

_engine() {
  local engine
  for engine in docker podman; do
    if command -v "$engine" >/dev/null && "$engine" info >/dev/null 2>&1; then
      echo "$engine"
      return 0
    fi
  done
  return 1
}

_decide() {
  if _is_debian && _is_root && _may_isolate; then
    echo packages
  elif [ -n "${REHEARSAL_IN_CONTAINER:-}" ]; then
    _fail 'the rehearsal container may not make namespaces; it must run with --privileged'
  else
    _engine || _fail 'pods are executed on Debian as root, or anywhere with docker or podman; start one of these engines, or run npm test on Debian as root'
  fi
}

_missing() {
  local package
  for package in "${PACKAGES[@]}"; do
    grep -qx "$package installed" <<<"$installed" || echo "$package"
  done
}

_install() {
  local installed missing
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null || true)
  mapfile -t missing < <(_missing)
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "rehearsal: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 install "${missing[@]}")
  # The lists may be absent (fresh container) or stale: one update is tried before giving up.
  "${install[@]}" >/dev/null 2>&1 || { apt-get -qq update && "${install[@]}" >/dev/null; } ||
    _fail "apt-get could not install ${missing[*]}; install them by hand"
}

_main() {
  case ${1:-} in
    decide) _decide ;;
    install) _install ;;
    *) _fail "expected decide or install, got \`${1:-}\`" ;;
  esac
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
