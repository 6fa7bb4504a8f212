#!/bin/sh
# Measures the Python package against the process pools of others and prints tables in Markdown: what
# a call costs (P10), native functions (P11), scaling (P12), starting, the workload of
# examples/bars_workload.py, and what big read-only inputs cost in memory. Takes about 25 minutes; let
# the machine do nothing else meanwhile. Where that is allowed, it runs with a raised priority.
#
# sh bindings/python/bench/run.sh [--quick] [--only calls,start] [--dir DIR] [--python PYTHON] [--all]
#   --quick          smaller sizes, fewer rounds: to see that it works, not how fast
#   --only NAMES     only these of calls native scaling start workload memory
#   --dir DIR        where temporary files go (some GB, on a real disk); default: the build folder
#   --python PYTHON  which one makes the virtual environment, at its first use; default: python3
#   --all            more peers: mpire and pebble
#
# It makes build-bench (a release build of the C library) and build-bench/python-venv (the peers and
# the package of this tree). The market data of the workload is looked for in $FACPOOL_DATA, then in
# ../shared/data beside the repository.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
here=$root/bindings/python/bench
build=$root/build-bench
venv=$build/python-venv
data=${FACPOOL_DATA:-$root/../shared/data}
python=python3
dir=
only=
quick=
all=

usage() {
    sed -n '2,17s/^# \{0,1\}//p' "$0"
    exit "$1"
}

while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --all) all=--all ;;
    --only | --dir | --python)
        [ $# -ge 2 ] || usage 2
        case $1 in
        --only) only=$2 ;;
        --dir) dir=$2 ;;
        --python) python=$2 ;;
        esac
        shift
        ;;
    -h | --help) usage 0 ;;
    *) usage 2 >&2 ;;
    esac
    shift
done

# Is this among what is wanted?
wanted() {
    [ -n "$only" ] || return 0
    case ",$only," in *,"$1",*) return 0 ;; esac
    return 1
}

make_venv() {
    if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
        rm -rf "$venv"
        mkdir -p "$build"
        "$python" -m venv "$venv"
        "$venv/bin/pip" install -q --disable-pip-version-check --only-binary :all: \
            -r "$here/requirements.txt"
        cp "$here/requirements.txt" "$venv/installed.txt"
    fi
    "$venv/bin/pip" install -q --disable-pip-version-check --force-reinstall --no-deps \
        "$root/bindings/python"
}

build_library() {
    if [ ! -f "$build/build.ninja" ]; then
        meson setup "$build" "$root" --buildtype=release -Dbench=true -Dtests=false \
            -Dexamples=true -Dtools=false >&2
    fi
    ninja -C "$build" >&2
}

make_venv
work=$(mktemp -d "${dir:-$build}/facpool-python-bench-XXXXXX")
child=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$child" ] || kill "$child"; exit 130' INT TERM

priority=
if nice -n -10 true 2>/dev/null; then
    priority="nice -n -10"
else
    echo "# the priority can't be raised: whatever else runs here will show" >&2
fi

# In the background, so that a signal to this script is heard at once.
run() {
    name=$1
    shift
    wanted "$name" || return 0
    # shellcheck disable=SC2086
    PYTHONDONTWRITEBYTECODE=1 $priority "$venv/bin/python" "$here/bench_$name.py" --dir "$work" \
        $quick "$@" &
    child=$!
    wait "$child"
    child=
}

# shellcheck disable=SC2086
run calls $all
if wanted native; then
    build_library
    run native --build "$build"
fi
run scaling
run start
run workload --data "$data"
run memory
