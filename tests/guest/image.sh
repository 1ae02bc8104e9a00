#!/usr/bin/env bash
# usage: tests/guest/image.sh KERNEL...
#
# Makes what guests of architecture ARCH boot from, below build/guest/ (build/ARCH/guest/ for another one than this
# machine's): for each KERNEL (6.12 or 6.1, Debian's cloud flavour) KERNEL/vmlinuz and KERNEL/initrd.cpio, and root.img,
# an ext4 root file system with the tools that tests and the demo use. Does nothing when all is up to date.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "$0")/../.."
. tools/arch.sh
out=$build/guest

programs="bash cat cmp cp dd df ethtool fio free head hwclock ip iperf3 ls lsblk lspci mke2fs mount sha256sum sleep stty
    sync tail tee umount"
[[ $arch != x86_64 ]] || programs="acpidump $programs"

# Where the programs come from.
source=
if [[ $foreign ]]; then
    tools/foreign-root.sh
    source=$PWD/$build/root
fi

mkdir -p "$out"
scratch=$(mktemp -d "$out/image.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

for kernel in "$@"; do
    case $kernel in
    6.12) package=linux-image-6.12-cloud-$debian ;;
    6.1) package=linux-image-cloud-$debian ;;
    *) echo "guest: no kernel $kernel: there are 6.12 and 6.1" >&2 && exit 2 ;;
    esac
    modules="virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_rng"
    [[ $arch != x86_64 ]] || modules="$modules button pvpanic_mmio pvpanic_pci"
    # shellcheck disable=SC2086
    tools/kernel.sh "$package" "$out/$kernel" $modules
    tools/make-initrd.sh "$out/$kernel" tests/guest/init "$source/bin/busybox"
done

# shellcheck disable=SC2086
files=$(for program in $programs; do
    if [[ $source ]]; then (cd "$source" && ls -d usr/*bin/"$program") | sed 's,^,/,'; else command -v "$program"; fi
done)
versions=$({ (cd "${source:-/}" && sed 's,^/,,' <<<"$files" | xargs ls -lL); cat "$0" tests/guest/root-init tools/copy-programs.sh; } | sha256sum)
if [[ $(cat "$out/root.complete" 2>/dev/null) != "$versions" ]]; then
    echo "guest: making $out/root.img"
    root=$scratch/root
    mkdir -p "$root"/{dev,etc,proc,root,run,sys,tmp,mnt}
    tools/copy-programs.sh "$root" ${source:+"$source"} <<<"$files"$'\n/bin/busybox'
    # busybox fills the gaps.
    for name in $(busybox --list); do
        [[ -e $root/usr/bin/$name || -e $root/usr/sbin/$name ]] || ln -s busybox "$root/usr/bin/$name"
    done
    # As sh, busybox would prefer its own programs to these.
    ln -sf bash "$root/usr/bin/sh"
    cp tests/guest/root-init "$root/usr/sbin/init"
    mkdir -p "$root/usr/share/misc"
    cp -L "$source/usr/share/misc/pci.ids" "$root/usr/share/misc/" 2>/dev/null || true
    [[ $source ]] || cp /etc/ld.so.cache "$root/etc/"
    echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo 'PRETTY_NAME="ringvm test guest"' >"$root/etc/os-release"
    tools/make-ext4.sh "$out/root.img" 64 "$root"
    echo "$versions" >"$out/root.complete"
fi
