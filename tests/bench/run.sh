#!/bin/sh
# Builds the benchmarks as a release and prints one table in Markdown: ours, peer, ratio, target,
# met. Takes about six minutes; let the machine do nothing else meanwhile.
#
# sh tests/bench/run.sh [--quick] [--only P2,P5] [--dir DIR] [--build DIR]
#   --quick      smaller sizes, fewer rounds: to see that it works, not how fast
#   --only IDS   only these of P1 P2 P3 P5 P6 P7 P8 P9 P12
#   --dir DIR    where temporary files go (some GB, on a real disk); default: the build folder
#   --build DIR  build folder; default: build-bench at the root of the repository
#
# SQLite and LMDB (libsqlite3-dev, liblmdb-dev) are compared with where they are installed.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-bench
dir=
only=
quick=

usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit "$1"
}

while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --only | --dir | --build)
        [ $# -ge 2 ] || usage 2
        case $1 in
        --only) only=$2 ;;
        --dir) dir=$2 ;;
        --build) build=$2 ;;
        esac
        shift
        ;;
    -h | --help) usage 0 ;;
    *) usage 2 >&2 ;;
    esac
    shift
done

if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" "$root" --buildtype=release -Dbench=true -Dtests=false \
        -Dexamples=false -Dtools=false >&2
fi
ninja -C "$build" tests/bench/bench >&2

work=$(mktemp -d "${dir:-$build}/facpool-bench-XXXXXX")
child=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$child" ] || kill "$child"; exit 130' INT TERM
"$build/tests/bench/bench" --dir "$work" $quick ${only:+--only "$only"} &
child=$!
wait "$child"
