#!/bin/sh
# usage: tools/qemu.sh OPTION...
#
# Runs a QEMU that can emulate two processors with guests of their own. Before version 10.2 a processor changes the set of
# its pending interrupts without a lock when a guest ends its turn, and before 8.2 it may go on for ever with its
# translation of code that the other has just changed: now and then an interrupt is lost or a guest, or the whole machine,
# dies. If this machine's QEMU is older, the one of Debian 13's backports is unpacked below build/qemu with the libraries
# it needs, and not installed.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
program=qemu-system-x86_64
needed=10.2
suite=trixie
own=$top/build/qemu

version=$($program --version 2>/dev/null | sed -n 's/.* version \([0-9]*\.[0-9]*\).*/\1/p')
if [ "$(printf '%s\n' $needed "${version:-0}" | sort -V | head -n 1)" = $needed ]; then
    exec $program "$@"
fi

# A program of the unpacked tree, with the libraries there.
run_in() {
    tree=$1
    shift
    libraries=$tree/usr/lib/$(uname -m)-linux-gnu
    loader=$(echo "$libraries"/ld-linux-*.so.*)
    exec "$loader" --library-path "$libraries" "$tree/usr/bin/$program" -L "$tree/usr/share/seabios" \
        -L "$tree/usr/share/qemu" "$@"
}

fetch() {
    # From where this machine itself has its packages.
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # the format is apt's
    archive=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | sed -n "s/ $codename\$//p" | head -n 1)
    [ -n "$archive" ] || return 1
    printf 'deb %s %s main\n' "$archive" $suite "$archive" $suite-backports >"$scratch/sources.list"
    mkdir -p "$scratch/lists/partial" "$scratch/archives/partial"
    # An empty state: everything that QEMU needs counts as missing.
    : >"$scratch/status"
    options="-qq -t $suite-backports -o Dir::State=$scratch -o Dir::State::status=$scratch/status -o Dir::Cache=$scratch
        -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Dir::Etc::sourcelist=$scratch/sources.list -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null"
    # shellcheck disable=SC2086
    apt-get $options update && apt-get $options --yes --no-install-recommends --download-only install \
        qemu-system-x86 seabios || return 1
    for package in "$scratch"/archives/*.deb; do dpkg-deb -x "$package" "$scratch/root" || return 1; done
    (run_in "$scratch/root" --version) || return 1
    rm -rf "$own"
    mkdir -p "$own/usr/share"
    for part in bin lib share/qemu share/seabios; do mv "$scratch/root/usr/$part" "$own/usr/$part"; done
}

if [ ! -d "$own/usr/share/seabios" ]; then
    mkdir -p "$top/build"
    scratch=$(mktemp -d "$top/build/qemu.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    echo "qemu: version ${version:-0} loses interrupts; unpacking a newer one" >&2
    if ! fetch >&2; then
        echo "qemu: cannot fetch it; with version ${version:-0} emulated machines will hang now and then" >&2
        rm -rf "$scratch"
        exec $program "$@"
    fi
    rm -rf "$scratch"
fi
run_in "$own" "$@"
