#!/usr/bin/env bash
# usage: tools/copy-programs.sh DIR < FILES
#
# Copies files of this machine, one absolute path a line, into a root file system below DIR: links with what they lead
# to, and with each program the libraries that it loads at start.
set -euo pipefail
dir=$(realpath "$1")

# A merged /usr: everything goes to its place below it.
merged() {
    sed -E 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,'
}

files=$(merged)
# ldd fails for files that are not dynamic programs, which says nothing about the others.
libraries=$(xargs ldd <<<"$files" 2>/dev/null | sed -n 's,^[^/]*\(/[^ ]*\) (.*,\1,p' | merged | sort -u) || true
{
    echo "$files"
    echo "$libraries"
    printf '%s\n' "$files" "$libraries" | xargs readlink -f
} | grep . | sort -u | (cd / && xargs cp -a --parents -t "$dir")
for name in bin sbin lib lib64; do
    mkdir -p "$dir/usr/$name"
    ln -sfn "usr/$name" "$dir/$name"
done
