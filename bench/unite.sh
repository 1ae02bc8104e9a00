#!/usr/bin/env bash
# usage: bench/unite.sh JSON PART...
#
# Writes to JSON, in order, the rows of those PARTs that exist: each benchmark of a part keeps a document of its own,
# so that it can be run alone, and the whole has the last of all.
set -euo pipefail
json=$1
shift
parts=()
for part in "$@"; do
    [[ ! -s $part ]] || parts+=("$part")
done
[[ ${#parts[@]} -gt 0 ]] || { echo "bench: none of $* is there yet" >&2 && exit 1; }
jq -s add "${parts[@]}" >"$json.new"
mv "$json.new" "$json"
