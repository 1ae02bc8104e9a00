#!/usr/bin/env bash
# usage: tools/make-initrd.sh KERNEL_DIR INIT [BUSYBOX]
#
# Makes KERNEL_DIR/initrd.cpio of INIT, a static busybox (default: this machine's) and the modules that tools/kernel.sh put there. Not
# compressed: it is to boot fast, and more archives may be appended to it. Does nothing when it is up to date.
set -euo pipefail
kernel=$1 init=$2 busybox=${3:-/bin/busybox}
initrd=$kernel/initrd.cpio
[[ $initrd -ot $init || $initrd -ot $kernel/complete || $initrd -ot $0 ]] || exit 0

scratch=$(mktemp -d "$kernel/initrd.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/root/bin" "$scratch/root/modules"
cp "$init" "$scratch/root/init"
cp "$busybox" "$scratch/root/bin/"
cp "$kernel"/modules.load "$kernel"/*.ko "$scratch/root/modules/"
(cd "$scratch/root" && find . | cpio --quiet -o -H newc -R 0:0) >"$scratch/initrd.cpio"
mv "$scratch/initrd.cpio" "$initrd"
