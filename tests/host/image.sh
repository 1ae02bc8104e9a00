#!/usr/bin/env bash
# usage: tests/host/image.sh KERNEL
#
# Makes what an emulated host of architecture ARCH boots from, below build/host/ (build/ARCH/host/ for another one than
# this machine's): KERNEL/vmlinuz, KERNEL/initrd.cpio and root.img. root.img holds those files of this machine's /usr that
# commands inside need most. That is for speed alone: the whole of /usr is shared as well. For another architecture it is
# all that there is inside: Debian packages, and the libraries that we link. Does nothing when all is up to date.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "$0")/../.."
. tools/arch.sh
kernel=$1
out=$PWD/$build/host
case $kernel in
6.12) package=linux-image-6.12-$debian ;;
6.1) package=linux-image-$debian ;;
*) echo "host: no kernel $kernel: there are 6.12 and 6.1" >&2; exit 2 ;;
esac

packages="acpica-tools bash coreutils cpio dash diffutils e2fsprogs findutils fio grep gzip hostname iperf3
    iproute2 kmod mawk mount pciutils procps qemu-system-common qemu-system-data qemu-system-x86 seabios sed
    util-linux xz-utils"
# Those of them that this machine has.
# shellcheck disable=SC2086
packages=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $packages 2>/dev/null | sed -n 's/ installed$//p' || true)

# Programs and data of these packages.
list_files() {
    # shellcheck disable=SC2086
    dpkg -L $packages | sed 's,^/usr/,/,' | grep -E '^/(s?bin|share/(qemu|seabios))/' |
        while read -r file; do [[ -d /usr$file ]] || echo "/usr$file"; done
}

make_root() {
    # shellcheck disable=SC2086
    versions=$({ dpkg-query -W -f '${Package} ${Version}\n' $packages; cat "$0" tools/copy-programs.sh; } | sha256sum)
    [[ $(cat "$out/root.complete" 2>/dev/null) != "$versions" ]] || return 0
    echo "host: making build/host/root.img"
    mkdir -p "$scratch/root/etc"
    list_files | tools/copy-programs.sh "$scratch/root"
    for name in alternatives group iproute2 ld.so.cache mke2fs.conf nsswitch.conf passwd protocols services; do
        [[ ! -e /etc/$name ]] || cp -a "/etc/$name" "$scratch/root/etc/"
    done
    tools/make-ext4.sh "$out/root.img" 16 "$scratch/root"
    echo "$versions" >"$out/root.complete"
}

make_foreign_root() {
    tools/foreign-root.sh
    versions=$(cat "$0" tools/foreign-root.sh | sha256sum)
    [[ $(cat "$out/root.complete" 2>/dev/null) != "$versions" ]] || return 0
    echo "host: making $out/root.img"
    tools/make-ext4.sh "$out/root.img" 16 "$build/root"
    echo "$versions" >"$out/root.complete"
}

mkdir -p "$out"
scratch=$(mktemp -d "$out/image.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
modules="virtio_pci virtio_blk virtio_console virtio_rng 9pnet_virtio 9p crc32c_generic ext4 overlay tun vhost_net veth
    loop null_blk"
if [[ $arch == x86_64 ]]; then
    tools/qemu.sh --version >/dev/null
    modules="$modules kvm_amd button"
fi
# shellcheck disable=SC2086
tools/kernel.sh "$package" "$build/host/$kernel" $modules
[[ -e $out/scratch.img ]] || tools/make-ext4.sh "$out/scratch.img" 16384
if [[ $foreign ]]; then
    make_foreign_root
    tools/make-initrd.sh "$build/host/$kernel" tests/host/init "$build/root/bin/busybox"
else
    make_root
    tools/make-initrd.sh "$build/host/$kernel" tests/host/init
fi
