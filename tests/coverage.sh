#!/bin/sh
# How much of lib/ the tests reach: builds with gcc's instrumentation, runs every test of the C suite
# in the tier of $FACPOOL_TEST_TIER (small, where it is not set), and has coverage.py compare with
# the targets and with uncovered.md.
#
#   sh tests/coverage.sh [FOLDER [TEST...]]
#                FOLDER: to build in, build-tests/coverage where none is given; counts of an earlier
#                run in it are forgotten. TEST...: only these
#
# Asserts are left out of this build: no test can reach what they would do. Everything is linked
# statically, so that each program has one set of counters, which forked children leave too.
set -u

CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1
root=$(pwd)
folder=${1:-$root/build-tests/coverage}
[ $# -eq 0 ] || shift
FACPOOL_TEST_TIER=${FACPOOL_TEST_TIER:-small}
export FACPOOL_TEST_TIER

mkdir -p "$folder" || exit 1
if ! gcc -O1 -Wall -c "$root/tests/coverage_exit.c" -o "$folder/coverage_exit.o"; then
    echo "FAIL coverage: tests/coverage_exit.c does not compile"
    exit 1
fi
if ! [ -e "$folder/build.ninja" ] && ! CC=gcc meson setup "$folder" "$root" -Dbuildtype=debug \
    -Db_coverage=true -Db_ndebug=true -Ddefault_library=static \
    -Dc_link_args="--coverage -Wl,--wrap=_exit $folder/coverage_exit.o" >"$folder/setup.log" 2>&1; then
    tail -n 40 "$folder/setup.log"
    exit 1
fi
if ! ninja -C "$folder" >"$folder/build.log" 2>&1; then
    tail -n 40 "$folder/build.log"
    exit 1
fi

# Those that count nothing of lib/ (the model's are over a copy of their own), and the one that minds
# what the counting itself asks of its environment.
left_out='layers|readme|symbols|process_model.*|model_bug_.*|security'
find "$folder" -name '*.gcda' -exec rm -f {} +
status=0
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046
    set -- $(meson test -C "$folder" --no-rebuild --list 2>/dev/null | sed -n 's/.* \/ //p' |
        grep -vxE "$left_out")
fi
meson test -C "$folder" --no-rebuild --print-errorlogs --timeout-multiplier 10 "$@" \
    >"$folder/tests.log" 2>&1 || status=1
sed -n '/^Ok:/,/^Timeout:/p' "$folder/tests.log"
[ "$status" -eq 0 ] || grep -E ' (FAIL|TIMEOUT|ERROR) ' "$folder/tests.log" | sort -u

python3 tests/coverage.py "$folder" || status=1
exit "$status"
