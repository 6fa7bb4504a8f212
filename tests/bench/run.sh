#!/bin/sh
# Builds the benchmarks as a release and prints tables in Markdown: the figures (ours, peer, ratio,
# target, met), the origin's own table, the bytes a row against Parquet, and stores beside ours.
# Takes about ten minutes; let the machine do nothing else meanwhile. Where that is allowed, it runs
# with a raised priority.
#
# sh tests/bench/run.sh [--quick] [--only P2,P5] [--dir DIR] [--build DIR]
#   --quick      smaller sizes, fewer rounds: to see that it works, not how fast
#   --only IDS   only these of P1 P2 P3 P4 P5 P6 P7 P8 P9 P12 VERIFY ORIGIN STORES
#   --dir DIR    where temporary files go (some GB, on a real disk); default: the build folder
#   --build DIR  build folder; default: build-bench at the root of the repository
#
# SQLite and LMDB (libsqlite3-dev, liblmdb-dev) are compared with where they are installed; P4 and
# STORES need build-bench/venv. `sh tools/setup.sh bench` gets all of them. The market data of the
# main job is looked for in $FACPOOL_DATA, then in ../shared/data beside the repository.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-bench
python=$root/build-bench/venv/bin/python3
data=${FACPOOL_DATA:-$root/../shared/data}
dir=
only=
quick=

usage() {
    sed -n '2,17s/^# \{0,1\}//p' "$0"
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
        -Dexamples=true -Dtools=false >&2
fi
meson configure "$build" -Dexamples=true >&2
ninja -C "$build" tests/bench/bench examples/minute_bars >&2

priority=
if nice -n -10 true 2>/dev/null; then
    priority="nice -n -10"
else
    echo "# the priority can't be raised: whatever else runs here will show" >&2
fi

work=$(mktemp -d "${dir:-$build}/facpool-bench-XXXXXX")
child=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$child" ] || kill "$child"; exit 130' INT TERM

# In the background, so that a signal to this script is heard at once.
run() {
    # shellcheck disable=SC2086
    $priority "$@" &
    child=$!
    wait "$child"
    child=
}

# Is there one of these among what is wanted?
wanted() {
    [ -n "$only" ] || return 0
    for id in "$@"; do
        case ",$only," in *,"$id",*) return 0 ;; esac
    done
    return 1
}

if wanted P1 P2 P3 P5 P6 P7 P8 P9 P12 VERIFY ORIGIN; then
    run "$build/tests/bench/bench" --dir "$work" $quick ${only:+--only "$only"}
fi
if wanted P4 STORES; then
    if "$python" -c 'import duckdb, h5py, lmdb, numpy, pyarrow' 2>/dev/null; then
        run "$python" "$root/tests/bench/peers.py" --bench "$build/tests/bench/bench" \
            --minute-bars "$build/examples/minute_bars" --dir "$work" --data "$data" $quick \
            ${only:+--only "$only"}
    else
        printf '\nSKIPPED: P4 and the table of stores: no %s with pyarrow, DuckDB, h5py and\n' \
            "build-bench/venv"
        printf 'py-lmdb; sh tools/setup.sh bench makes it\n'
    fi
fi
