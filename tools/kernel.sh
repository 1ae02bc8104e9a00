#!/bin/sh
# usage: tools/kernel.sh PACKAGE DIR MODULE...
#
# Fetches a Debian kernel package, for the architecture ARCH, into DIR without installing it and without root. DIR then holds vmlinuz,
# release, the named modules with all that they depend on as NAME.ko, and modules.load: their file names in
# loading order. Modules that are built into this kernel are left out. Does nothing when DIR is complete.
set -eu
PATH=$PATH:/usr/sbin:/sbin
[ $# -ge 2 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
package=$1
dir=$2
shift 2
wanted="$package $*"
[ "$(cat "$dir/complete" 2>/dev/null)" != "$wanted" ] || exit 0

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tools/arch.sh"
mkdir -p "$top/build"
scratch=$(mktemp -d "$top/build/kernel.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Package lists of our own: for a machine whose lists are missing or out of date, and a user who is not root; and for
# another architecture.
lists=$top/build/apt${foreign:+-$debian}
own_lists="-o Dir::State=$lists -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache=$lists
    -o APT::Architecture=$debian"

# The meta package names the newest kernel of its line.
download() {
    # shellcheck disable=SC2086
    image=$(apt-cache $1 depends "$package" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    # shellcheck disable=SC2086
    [ -n "$image" ] && (cd "$scratch" && apt-get $1 -o APT::Sandbox::User=root -qq download "$image")
}
if ! download "${foreign:+$own_lists}" 2>/dev/null; then
    mkdir -p "$lists/lists/partial" "$lists/archives/partial"
    # shellcheck disable=SC2086
    apt-get $own_lists -qq update || true
    if ! download "$own_lists"; then
        echo "kernel: cannot download $package: check that apt has the Debian main and security archives" >&2
        exit 1
    fi
fi

echo "kernel: unpacking $image"
dpkg-deb -x "$scratch"/*.deb "$scratch/root"
release=$(ls "$scratch/root/lib/modules")
depmod -b "$scratch/root" "$release"
modules=$scratch/root/lib/modules/$release

rm -rf "$dir"
mkdir -p "$dir"
cp "$scratch/root/boot/vmlinuz-$release" "$dir/vmlinuz"
echo "$release" >"$dir/release"
: >"$dir/modules.load"
for module in "$@"; do
    pattern="/$(echo "$module" | sed 's/[-_]/[-_]/g')[.]ko"
    ! grep -q "$pattern" "$modules/modules.builtin" || continue
    files=$(grep "^[^:]*${pattern}[^:]*:" "$modules/modules.dep") ||
        { echo "kernel: $image has no module $module" >&2; exit 1; }
    # "module: direct dependency ... deepest dependency" is the loading order backwards.
    for file in $(echo "$files" | tr -d : | tr ' ' '\n' | tac); do
        name=$(basename "$file" .xz)
        [ ! -e "$dir/$name" ] || continue
        case $file in
        *.xz) xz -dc "$modules/$file" >"$dir/$name" ;;
        *) cp "$modules/$file" "$dir/$name" ;;
        esac
        echo "$name" >>"$dir/modules.load"
    done
done
echo "$wanted" >"$dir/complete"
