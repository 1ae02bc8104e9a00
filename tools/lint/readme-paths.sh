#!/bin/sh
# Every path that the Markdown files name in backquotes exists (paths below src, tests, bench, docs, tools).
set -eu
cd "$(dirname "$0")/../.."

status=0
for document in $(git ls-files '*.md'); do
    for path in $(grep -o '`\(src\|tests\|bench\|docs\|tools\|fuzz\)/[A-Za-z0-9_./-]*`' "$document" | tr -d '`' | sort -u); do
        if [ ! -e "$path" ]; then
            echo "$document: names $path, which does not exist" >&2
            status=1
        fi
    done
done
exit $status
