#!/bin/sh
# usage: tools/unpack.sh ARCHITECTURE DIR PACKAGE...
#
# Unpacks Debian packages of another architecture (arm64), with all that they depend on, below DIR: nothing is
# installed, and no root needed. Links lead to their places below DIR. Does nothing when DIR has them. Exit status 69:
# the archive, which answers, has no package of that architecture.
set -eu
[ $# -ge 3 ] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
architecture=$1
mkdir -p "$(dirname "$2")"
dir=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
shift 2
wanted="$*"
[ "$(cat "$dir/complete" 2>/dev/null)" != "$wanted" ] || exit 0

top=$(cd "$(dirname "$0")/.." && pwd)
state=$top/build/apt-$architecture
mkdir -p "$state/lists/partial"
scratch=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$scratch/archives/partial"

# A machine of that architecture where nothing is installed yet, with this machine's sources.
: >"$state/status"
options="-qq -o APT::Architecture=$architecture -o Dir::State=$state -o Dir::State::status=$state/status
    -o Dir::Cache=$scratch -o APT::Sandbox::User=root"
fetch() {
    # shellcheck disable=SC2086
    apt-get $options --download-only --yes --no-install-recommends install $wanted
}
fail() {
    sed 's/^/    /' "$scratch/log" >&2
    echo "unpack: $*" >&2
    exit 1
}
if ! fetch 2>/dev/null; then
    # shellcheck disable=SC2086
    apt-get $options -o APT::Update::Error-Mode=any update >"$scratch/log" 2>&1 ||
        fail "cannot reach apt's archive for packages of $architecture: check the network and apt's sources"
    # shellcheck disable=SC2086
    if [ -z "$(apt-cache $options pkgnames)" ]; then
        echo "unpack: apt's archive has no packages of $architecture" >&2
        exit 69
    fi
    fetch >"$scratch/log" 2>&1 ||
        fail "cannot download $wanted for $architecture: check that apt has Debian's main archive"
fi

echo "unpack: $(find "$scratch/archives" -name '*.deb' | wc -l) packages of $architecture into ${dir#"$top/"}"
for name in bin sbin lib; do
    mkdir -p "$scratch/root/usr/$name"
    ln -s "usr/$name" "$scratch/root/$name"
done
for package in "$scratch"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" >"$scratch/files.tar"
    tar -x --keep-directory-symlink --no-same-owner -C "$scratch/root" -f "$scratch/files.tar"
done
(cd "$scratch/root" && find . -type l -lname '/*' | while read -r link; do
    up=$(dirname "$link" | sed 's,^\.,,; s,/[^/]*,../,g')
    ln -sfn "$up$(readlink "$link" | cut -c 2-)" "$link"
done)
rm -rf "$dir"
mv "$scratch/root" "$dir"
echo "$wanted" >"$dir/complete"
