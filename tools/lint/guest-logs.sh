#!/bin/sh
# What a guest can cause again and again is logged with log_limited only. These two files log while a device
# is set up, before there is a guest.
set -eu
cd "$(dirname "$0")/../.."

if grep -rnE 'log_(error|warn|info|debug|line)\(' src/bus src/legacy src/virtio |
    grep -v '^src/virtio/\(disk\|tap\)\.c:'; then
    echo "these lines have no limit: use log_limited" >&2
    exit 1
fi
