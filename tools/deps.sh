#!/bin/sh
# usage: tools/deps.sh [ARCH]
#
# Installs with apt what building for ARCH (default: this machine's), testing and the demo need and this machine lacks.
# For another architecture than this machine's: its cross compiler, and its libraries in build/ARCH/sysroot; exit status
# 69 says that apt's archive has no package of it. Does nothing when all is there.
set -eu
host=$(uname -m)
arch=${1:-$host}

libraries="liburing-dev libfdt-dev libcap-dev libjansson-dev"
[ "$arch" != aarch64 ] || libraries="$libraries zlib1g-dev libzstd-dev liblz4-dev"
build="gcc make pkg-config $libraries libcriterion-dev spin libuv1-dev jq valgrind"
lint="clang-format clang-tidy shellcheck"
guests="busybox-static cpio xz-utils zstd kmod e2fsprogs iproute2 pciutils fio iperf3 ethtool"
case $arch in
x86_64) guests="$guests qemu-system-x86 acpica-tools" ;;
aarch64) guests="$guests qemu-system-arm device-tree-compiler" ;;
*) echo "deps: no architecture $arch: there are x86_64 and aarch64" >&2; exit 2 ;;
esac
[ "$arch" = "$host" ] || build="$build gcc-aarch64-linux-gnu"

missing=""
for package in $build $lint $guests; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "deps: installing$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "deps: not root and no sudo; install by hand:$missing" >&2; exit 1; }
        as_root=sudo
    fi
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ "$arch" != "$host" ]; then
    cd "$(dirname "$0")/.."
    # shellcheck disable=SC2086
    tools/unpack.sh arm64 "build/$arch/sysroot" libc6-dev libgcc-12-dev $libraries
fi
