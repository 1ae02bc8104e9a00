#!/bin/sh
# usage: tools/qemu.sh OPTION...
#
# Runs a QEMU that can emulate two processors whose kernel changes its own code. Before version 8.2 one of them may go
# on for ever with its translation of what the other has just changed: once in some hundred changes the machine, or a
# guest in it, hangs or dies of an int3. If this machine's QEMU is that old, the one from Debian's backports is unpacked
# below build/qemu, and not installed.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
program=qemu-system-x86_64
own=$top/build/qemu

version=$($program --version 2>/dev/null | sed -n 's/.* version \([0-9]*\.[0-9]*\).*/\1/p')
if [ "$(printf '%s\n' 8.2 "${version:-0}" | sort -V | head -n 1)" = 8.2 ]; then
    exec $program "$@"
fi

fetch() {
    # From where this machine itself has its packages.
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # the format is apt's
    archive=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | sed -n "s/ $codename\$//p" | head -n 1)
    [ -n "$archive" ] || return 1
    echo "deb $archive $codename-backports main" >"$scratch/sources.list"
    mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
    options="-qq -t $codename-backports -o Dir::State=$scratch -o Dir::Cache=$scratch -o APT::Sandbox::User=root
        -o Dir::Etc::sourcelist=$scratch/sources.list -o Dir::Etc::sourceparts=/dev/null"
    # shellcheck disable=SC2086
    (cd "$scratch" && apt-get $options update &&
        apt-get $options download qemu-system-x86 qemu-system-common qemu-system-data seabios) || return 1
    for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$scratch/root" || return 1; done
    "$scratch/root/usr/bin/$program" --version || return 1
    rm -rf "$own"
    mv "$scratch/root" "$own"
}

if [ ! -x "$own/usr/bin/$program" ]; then
    mkdir -p "$top/build"
    scratch=$(mktemp -d "$top/build/qemu.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    echo "qemu: version ${version:-0} changes code unsafely; unpacking the one from backports" >&2
    if ! fetch >&2; then
        echo "qemu: cannot fetch it; with version ${version:-0} emulated machines will hang now and then" >&2
        exec $program "$@"
    fi
    rm -rf "$scratch"
fi
exec "$own/usr/bin/$program" -L "$own/usr/share/seabios" -L "$own/usr/share/qemu" "$@"
