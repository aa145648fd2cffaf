#!/bin/bash
# usage: build.sh RECIPE MAJOR TARGET
# Unpacks a small Debian with the recipe's packages into TARGET/root and writes TARGET/image.json beside it: what the
# image's configuration would say. A recipe is one file, recipes/RECIPE.sh, which sets
#   suite, packages  Debian suite, and the packages to unpack with all that they depend on
#   _dress           makes the tree below $root look like the image
#   _describe        prints image.json
# and may use $major, the PostgreSQL of the rehearsal. A recipe for what is no PostgreSQL does not look at it.
# The machine's own apt and dpkg stay untouched: all state of the apt calls below lives in a folder of their own.
set -Eeuo pipefail

_fail() {
  echo "image/build.sh: error: $*" >&2
  exit 1
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
  : "${suite:?the recipe sets it}" "${packages:?the recipe sets them}"
  [ -r "$keys" ] || _fail "$keys is missing; apt-get install debian-archive-keyring"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  echo "deb [signed-by=$keys] $(_mirror) $suite main" >"$work/sources.list"
  _apt update
  _apt install --download-only "${packages[@]}" >/dev/null
}

# No maintainer script runs; what they would have done for us follows in _dress.
_unpack() {
  local deb dir
  mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
  for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
  rm -f "$work"/cache/archives/procps_*.deb # a dependency here, absent from the images: nobody may rely on ps
  for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --wildcards \
      --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*/LC_MESSAGES/*'
    rm "$deb"
  done
}

_main() {
  [ $# -eq 3 ] || _fail "expected a recipe, a major version and a target folder, got: $*"
  [ "$(id -u)" = 0 ] || _fail "must run as root (files of other owners are unpacked)"
  recipes=$(dirname "$0")/recipes
  [ -r "$recipes/$1.sh" ] || _fail "there is no recipe $recipes/$1.sh"
  # shellcheck disable=SC2034  # read by recipes
  major=$2
  target=$3
  # shellcheck disable=SC1090
  . "$recipes/$1.sh"
  mkdir -p "$(dirname "$target")"
  work=$(mktemp -d "$(dirname "$target")/.build-$1.XXXXXX")
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
