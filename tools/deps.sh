#!/bin/sh
# Installs with apt what building, testing and the demo need and this machine lacks. Does nothing when
# all is there.
set -eu

build="gcc make pkg-config liburing-dev libfdt-dev libcap-dev libjansson-dev libcriterion-dev spin libuv1-dev jq valgrind"
lint="clang-format clang-tidy shellcheck"
guests="qemu-system-x86 busybox-static cpio xz-utils zstd kmod e2fsprogs iproute2 pciutils acpica-tools fio iperf3 ethtool"

missing=""
for package in $build $lint $guests; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "deps: installing$missing"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "deps: not root and no sudo; install by hand:$missing" >&2; exit 1; }
    as_root=sudo
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
