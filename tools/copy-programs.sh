#!/usr/bin/env bash
# usage: tools/copy-programs.sh DIR [ROOT] < FILES
#
# Copies files of this machine, one absolute path a line, into a root file system below DIR: links with what they lead
# to, and with each program the libraries that it loads at start. With ROOT they are those of the machine whose files
# are there, and links become what they lead to.
set -euo pipefail
dir=$(realpath "$1")
root=${2-}

# A merged /usr: everything goes to its place below it.
merged() {
    sed -E 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,'
}

files=$(merged)

# Paths of the libraries, and of the program that loads them, that the files below ROOT name.
needed() {
    local names name
    names=$(xargs readelf --wide --dynamic --program-headers 2>/dev/null |
        sed -nE 's,.*\((NEEDED)\).*\[(.*)\],\2,p; s,.*interpreter: .*/([^/]*)\],\1,p' | sort -u)
    # A package's private ones are one folder deeper.
    for name in $names; do
        (cd "$root" && ls -d "usr/lib/$name" usr/lib/*-linux-gnu/{,*/}"$name" 2>/dev/null || true)
    done
}

if [[ $root ]]; then
    cd "$root"
    all=$(sed 's,^/,,' <<<"$files")
    root=$PWD
    count=0
    while [[ $(wc -l <<<"$all") -ne $count ]]; do
        count=$(wc -l <<<"$all")
        all=$({ echo "$all"; needed <<<"$all"; } | sort -u)
    done
    xargs cp -L --preserve=mode,timestamps --parents -t "$dir" <<<"$all"
fi
if [[ ! $root ]]; then
    # ldd fails for files that are not dynamic programs, which says nothing about the others.
    libraries=$(xargs ldd <<<"$files" 2>/dev/null | sed -n 's,^[^/]*\(/[^ ]*\) (.*,\1,p' | merged | sort -u) || true
    {
        echo "$files"
        echo "$libraries"
        printf '%s\n' "$files" "$libraries" | xargs readlink -f
    } | grep . | sort -u | (cd / && xargs cp -a --parents -t "$dir")
fi
for name in bin sbin lib lib64; do
    mkdir -p "$dir/usr/$name"
    ln -sfn "usr/$name" "$dir/$name"
done
