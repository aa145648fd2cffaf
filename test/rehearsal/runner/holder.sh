#!/bin/bash
# PID 1 of a rehearsal's namespaces (network, mounts, processes). Whatever ends it, the kernel ends everything in them:
# containers, FUSE servers, mounts. It ends by itself as soon as its standard input, held by the test process, closes.
# usage: holder.sh FOLDER
set -Eeuo pipefail
# Root file systems of containers are layered here: overlayfs takes no overlay as upper layer, and it is gone with us.
mount -t tmpfs -o mode=0755 layers "$1/layers"
mkdir -p /run/netns
mount -t tmpfs -o mode=0755 netns /run/netns
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
echo ready
while read -r _; do :; done
