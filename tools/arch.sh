# shellcheck shell=sh disable=SC2034
# Sourced by scripts: what ARCH (default: this machine's) means for them. Sets
#   arch      x86_64 or aarch64
#   debian    Debian's name of it
#   foreign   not empty: it is not this machine's
#   build     the directory of its build; BUILD has the last word
arch=${ARCH:-$(uname -m)}
foreign=
[ "$arch" = "$(uname -m)" ] || foreign=yes
build=${BUILD:-build${foreign:+/$arch}}
case $arch in
x86_64) debian=amd64 ;;
aarch64) debian=arm64 ;;
*) echo "no architecture $arch: there are x86_64 and aarch64" >&2; exit 2 ;;
esac
