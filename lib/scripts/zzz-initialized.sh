# shellcheck shell=bash
# The last of the init scripts, sourced by the image's entrypoint: the first start is complete.
rm -f "$DATA_MOUNT/.initializing"
