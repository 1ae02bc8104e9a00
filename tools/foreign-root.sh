#!/bin/sh
# usage: tools/foreign-root.sh
#
# Makes build/ARCH/root, for another architecture ARCH than this machine's: what the tests and the demo run in an emulated
# host and in guests, and the libraries that our programs load. Does nothing when it is there.
set -eu
cd "$(dirname "$0")/.."
. tools/arch.sh
tools/unpack.sh "$debian" "$build/root" bash bsdutils busybox-static coreutils cpio dash diffutils device-tree-compiler e2fsprogs \
    ethtool findutils fio grep gzip hostname iperf3 iproute2 kmod mawk mount pciutils procps sed util-linux util-linux-extra \
    liburing2 libfdt1 libcap2 libjansson4 zlib1g libzstd1 liblz4-1 lz4 zstd
# What installing the packages would have made.
ln -sf mawk "$build/root/usr/bin/awk"
echo 'root:x:0:0:root:/root:/bin/bash' >"$build/root/etc/passwd"
echo 'root:x:0:' >"$build/root/etc/group"
