#!/bin/sh
# Makes of the async library what other programs compile and link:
#
#     tools/library.sh OUT ARCHIVE        OUT/include/ringvm/..., OUT/libringvm-async.a
#
# Headers: those of src/exec and src/sync that are not "Private to" their folder, what they include, and the
# clock. They include each other by relative paths, so that a program's own "base/..." is never in the way.
# Symbols: what a public header names gets the prefix ringvm_, by a header that all of them include; all else
# becomes local. So the library claims no name of the linker's but ringvm_*.
set -eu
cd "$(dirname "$0")/.."
out=$1
archive=$2

rm -rf "$out"
mkdir -p "$out/include/ringvm"

# The public headers and, round by round, what they include.
headers=$(grep -L 'Private to' src/exec/*.h src/sync/*.h 2>/dev/null | sed 's|^src/||')
all="base/clock.h $headers"
while :; do
    before=$all
    # shellcheck disable=SC2086
    all=$(cd src && { printf '%s\n' $all; sed -n 's/^#include "\(.*\)"/\1/p' $all; } | sort -u)
    [ "$all" != "$before" ] || break
done

# Symbols that the public headers name.
nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort -u > "$out/defined"
# shellcheck disable=SC2086
(cd src && cat $all) | grep -oE '[A-Za-z_][A-Za-z0-9_]*' | sort -u > "$out/named"
comm -12 "$out/defined" "$out/named" > "$out/public"

for header in $all; do
    mkdir -p "$out/include/ringvm/$(dirname "$header")"
    sed -e 's|^#include "\(.*\)"|#include "../\1"|' -e 's|^#pragma once$|&\n#include "../names.h"|' "src/$header" \
        > "$out/include/ringvm/$header"
    grep -q 'names.h' "$out/include/ringvm/$header"
done
{
    echo "/* The symbols of the library have a prefix, so that they clash with no other's. */"
    echo "#pragma once"
    sed 's/.*/#define & ringvm_&/' "$out/public"
} > "$out/include/ringvm/names.h"
{
    echo "/* The whole library. */"
    echo "#pragma once"
    printf '#include "%s"\n' $headers base/clock.h
} > "$out/include/ringvm/async.h"

# One object of what they need, of which the linker sees nothing but their names.
# shellcheck disable=SC2046
ld -r -o "$out/all.o" $(sed 's/^/-u /' "$out/public") "$archive"
sed 's/.*/& ringvm_&/' "$out/public" > "$out/renamed"
objcopy --keep-global-symbols="$out/public" "$out/all.o"
objcopy --redefine-syms="$out/renamed" "$out/all.o" "$out/ringvm-async.o"
ar rcs "$out/libringvm-async.a" "$out/ringvm-async.o"
(cd "$out" && rm all.o ringvm-async.o defined named public renamed)
