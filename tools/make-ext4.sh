#!/usr/bin/env bash
# usage: tools/make-ext4.sh FILE SPARE_MB [DIR]
#
# Makes FILE an ext4 disk image with the contents of DIR, and SPARE_MB of free space; needs no root.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
file=$1 spare_mb=$2 dir=${3-}
used_mb=0
[[ -z $dir ]] || used_mb=$(du -sm --apparent-size "$dir" | cut -f1)
rm -f "$file.new"
truncate -s "$((used_mb * 17 / 16 + spare_mb + 4))M" "$file.new"
mke2fs -q -F -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 ${dir:+-d "$dir"} "$file.new"
mv "$file.new" "$file"
