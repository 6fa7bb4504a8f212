#!/bin/sh
# The main job, from nothing: installs what is missing, builds the library, then runs the examples.
#
#   sh examples/run.sh [DIR [OPTION...]]
#
# DIR holds CSV files of bars, one an instrument, or folders of such files, each of which is run by
# itself. Without DIR the bars are made up. OPTIONs go to minute_bars (see its --help).
# Everything it writes goes to build-example/ beside the sources; it can be run any number of times.
set -eu

case ${1:-} in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac

# A relative DIR is meant from where the user stands.
data=
if [ $# -gt 0 ]; then
    if [ ! -d "$1" ]; then
        echo "run.sh: there is no folder '$1'" >&2
        exit 2
    fi
    data=$(CDPATH='' cd -- "$1" && pwd)
    shift
fi
cd -- "$(dirname -- "$0")/.."

say() {
    printf '\n== %s\n' "$*"
}

has_csv() {
    for file in "$1"/*.csv; do
        [ -e "$file" ] && return 0
    done
    return 1
}

say "What is needed to build"
sh tools/setup.sh build

say "Building in build-example/"
if [ -f build-example/build.ninja ]; then
    meson setup --reconfigure build-example >build-example/setup.log 2>&1 || {
        cat build-example/setup.log >&2
        exit 1
    }
else
    mkdir -p build-example
    meson setup build-example --buildtype=release >build-example/setup.log 2>&1 || {
        cat build-example/setup.log >&2
        exit 1
    }
fi
meson compile -C build-example examples/minute_bars examples/quickstart examples/resume

here=$(pwd)
cd build-example
say "quickstart: nine tasks, and again from its backup"
rm -f quickstart.fpb
examples/quickstart
examples/quickstart

say "resume: what failed is run again"
examples/resume

if [ -z "$data" ]; then
    say "minute_bars: the main job, on made-up bars"
    examples/minute_bars "$@"
elif has_csv "$data"; then
    say "minute_bars: the main job, on $data"
    examples/minute_bars "$@" "$data"
else
    found=0
    for folder in "$data"/*/; do
        has_csv "$folder" || continue
        found=1
        say "minute_bars: the main job, on ${folder%/}"
        examples/minute_bars "$@" "${folder%/}"
    done
    if [ "$found" -eq 0 ]; then
        echo "run.sh: neither '$data' nor a folder in it holds .csv files" >&2
        exit 2
    fi
fi
say "Done. The programs are in $here/build-example/examples"
