#!/bin/sh
# Checks the include table: which folder of src/ may include headers of which others.
# A change here is a change of the architecture: see README.md.
set -eu
cd "$(dirname "$0")/../.."

may_include() {
    case $1 in
    base)    echo "base" ;;
    cli)     echo "cli base" ;;
    report)  echo "report base" ;;
    exec)    echo "exec base" ;;
    sync)    echo "sync exec base" ;;
    stress)  echo "stress cli report sync exec base" ;;
    latency) echo "latency cli report sync exec base" ;;
    bench)   echo "bench cli report mem base" ;;
    mem)     echo "mem base" ;;
    bus)     echo "bus exec base mem" ;;
    chardev) echo "chardev exec base" ;;
    virtio)  echo "virtio bus chardev sync exec mem base" ;;
    legacy)  echo "legacy bus chardev exec mem base" ;;
    kvm)     echo "kvm exec mem bus base" ;;
    boot)    echo "boot mem base" ;;
    vmm)     echo "vmm base cli report exec sync stress latency bench mem bus chardev virtio legacy kvm boot" ;;
    *)       echo "" ;;
    esac
}

status=0
for file in $(find src -name '*.[ch]' | sort); do
    folder=${file#src/}
    folder=${folder%%/*}
    allowed=" $(may_include "$folder") "
    for header in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
        target=${header%%/*}
        case $allowed in
        *" $target "*) ;;
        *)
            echo "$file: may not include \"$header\" (src/$folder may include:$allowed)" >&2
            status=1
            ;;
        esac
    done
done
exit $status
