#!/usr/bin/env bash
# usage: bench/report.sh SAMPLES JSON
#
# From samples "MONITOR NAME UNIT VALUE", a line each, prints the medians of every monitor and writes JSON as the
# other benchmarks do: ringvm beside the best of the others. A unit that ends in "/s" is a rate, which wants to be
# large; the others are costs.
set -euo pipefail
sort -k 2,2 -k 1,1 -k 4,4g "$1" | awk -v json="$2" '
    function summarize() {
        if (!count)
            return
        median = count % 2 ? value[(count + 1) / 2] : (value[count / 2] + value[count / 2 + 1]) / 2
        gsub("_", " ", name)
        printf "%-32s %-4s %-8s median %10.3f   min %10.3f   max %10.3f   of %d\n", name, unit, monitor, median,
            value[1], value[count], count
        if (monitor == "ringvm")
            ours = sprintf("\"median\": %.4f, \"min\": %.4f, \"max\": %.4f, \"runs\": %d", median, value[1],
                           value[count], count)
        if (monitor == "ringvm")
            ours_median = median
        else if (reference == "" || (unit ~ "/s$" ? median > reference_median : median < reference_median)) {
            reference = monitor
            reference_median = median
        }
        count = 0
    }
    function finish() {
        if (ours != "" && reference != "")
            rows[++row_count] = sprintf("  {\"name\": \"%s\", \"unit\": \"%s\", %s, \"reference\": \"QEMU %s\", " \
                "\"ratio\": %.4f}", name, unit, ours, reference, ours_median / reference_median)
        ours = reference = ""
    }
    $1 != monitor || $2 != raw {
        summarize()
        if ($2 != raw)
            finish()
        monitor = $1
        raw = name = $2
        unit = $3
    }
    { value[++count] = $4 }
    END {
        summarize()
        finish()
        print "[" > json
        for (i = 1; i <= row_count; i++)
            print rows[i] (i < row_count ? "," : "") > json
        print "]" > json
        exit row_count == 0
    }'
