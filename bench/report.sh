#!/usr/bin/env bash
# usage: bench/report.sh SAMPLES JSON
#
# From samples "WHO NAME UNIT VALUE", a line each, prints the medians of everyone and writes JSON as the other
# benchmarks do. WHO is ringvm or CLASS:WHOM; ringvm is compared with the best of each class: in the row NAME with the
# best of the class "qemu", in the row NAME_CLASS with that of another one. A unit that ends in "/s" is a rate, which
# wants to be large; the others are costs.
set -euo pipefail
rows=$(jq -Rn '
    def summary: sort | {median: ((.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2), min: first, max: last,
        runs: length};
    def class: split(":") | if length > 1 then first else "" end;
    [inputs | split(" ") | select(length == 4) | {who: .[0], name: .[1], unit: .[2], value: (.[3] | tonumber)}]
    | to_entries | map(.value + {order: .key}) | group_by(.name) | sort_by(map(.order) | min)
    | map((first | {name, unit}) + {everyone: (group_by(.who)
        | map({who: first.who, class: (first.who | class)} + (map(.value) | summary)))})' "$1")
jq -r '.[] | . as $row | .everyone[]
    | [$row.name, .who, $row.unit, .median, .min, .max, .runs] | @tsv' <<<"$rows" |
    awk -F '\t' '{ printf "%-34s %-14s %-12s median %10.3f   min %10.3f   max %10.3f   of %d\n", $1, $2, $3, $4, $5, $6, $7 }'
jq '[.[] | . as $row | (.everyone[] | select(.who == "ringvm")) as $ours
    | .everyone | map(select(.class != "")) | group_by(.class) | sort_by(first.class != "qemu")[]
    | (if $row.unit | endswith("/s") then max_by(.median) else min_by(.median) end) as $best
    | {name: ($row.name + (if $best.class == "qemu" then "" else "_" + $best.class end)), unit: $row.unit}
        + ($ours | {median, min, max, runs})
        + {reference: ($best.who | sub("qemu:"; "QEMU ") | sub(":"; ", ")),
            ratio: (if $best.median == 0 then null else $ours.median / $best.median end)}]' <<<"$rows" >"$2"
[[ $(jq length "$2") -gt 0 ]] || { echo "bench: no two to compare in $1" >&2 && exit 1; }
