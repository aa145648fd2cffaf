#!/bin/bash
# Runs in the privileged Debian container that setup.ts starts where the machine itself is no Debian: makes cgroup v2
# usable for the pods' memory limits, installs the modules for this platform, and runs what it is given.
set -Eeuo pipefail

# Controllers can be passed on to children only by a cgroup that has no processes of its own.
_share_cgroups() {
  local pid
  [ -w /sys/fs/cgroup/cgroup.subtree_control ] || return 0
  mkdir -p /sys/fs/cgroup/init
  while read -r pid; do
    echo "$pid" >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
  done </sys/fs/cgroup/cgroup.procs
  sed 's/^/+/; s/ / +/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control || true
}

_main() {
  _share_cgroups
  npm ci --no-audit --no-fund
  exec "$@"
}

[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"
