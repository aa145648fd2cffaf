# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # read and set by build.sh
# An image of nobody's, for the runner's own tests: no shell but busybox, and everything else than PostgreSQL's image has.

suite=trixie
packages=(busybox-static)

_dress() {
  local applet
  mkdir -p "$root"/{dev,etc,proc,sys,tmp,declared}
  chmod 1777 "$root/tmp"
  for applet in sh id cat sleep stat touch env; do ln -s busybox "$root/usr/bin/$applet"; done
  echo 'one:x:1234:1234::/home/one:/bin/sh' >"$root/etc/passwd"
  echo 'from the image' >"$root/declared/file"
  chown -R 1234:5678 "$root/declared"
  rm -rf "${root:?}/usr/share" "${root:?}/var"
}

_describe() {
  cat <<JSON
{
  "version": "$(chroot "$root" /usr/bin/busybox | sed -En '1s/^BusyBox v([0-9.]+).*/\1/p')",
  "suite": "$suite",
  "env": { "PATH": "/usr/bin", "OTHER": "yes" },
  "volumes": ["/declared"],
  "entrypoint": ["sh", "-c"],
  "cmd": ["echo this is the other image"],
  "user": "one",
  "stopSignal": "SIGQUIT"
}
JSON
}
