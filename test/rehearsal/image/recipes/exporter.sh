# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # read and set by build.sh
# Prometheus' exporter for PostgreSQL, as quay.io/prometheuscommunity/postgres-exporter has it: one program, USER nobody. Of the
# few tools in that one (busybox) there is nothing here: no pod of ours may need them.

# The newest release that Debian carries.
suite=forky
packages=(prometheus-postgres-exporter)

_dress() {
  local tree=$work/tree library loader
  mkdir -p "$tree"/{bin,dev,etc,proc,sys,tmp}
  chmod 1777 "$tree/tmp"
  cp "$root/usr/bin/prometheus-postgres-exporter" "$tree/bin/postgres_exporter"
  # Debian's is linked with the C library; the image's is static.
  loader=$(cd "$root" && echo lib*/ld-linux*.so.?)
  chroot "$root" "/${loader##* }" --list /usr/bin/prometheus-postgres-exporter | grep -o '/[^ ]*' | while read -r library; do
    install -D "$root/$library" "$tree/$library"
  done
  echo 'nobody:x:65534:65534:nobody:/home:/bin/false' >"$tree/etc/passwd"
  rm -rf "${root:?}"
  mv "$tree" "$root"
}

_describe() {
  cat <<JSON
{
  "version": "$(chroot "$root" /bin/postgres_exporter --version 2>&1 | sed -En '1s/.*version ([0-9.]+).*/\1/p')",
  "suite": "$suite",
  "env": { "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  "volumes": [],
  "entrypoint": ["/bin/postgres_exporter"],
  "cmd": [],
  "user": "nobody",
  "stopSignal": "SIGTERM"
}
JSON
}
