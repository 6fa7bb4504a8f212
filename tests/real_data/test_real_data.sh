#!/bin/sh
# Proves that the factors which minute_bars computes through the library are those of check.py on
# each set of real market data, that its crash demonstration works there, and that the query tool
# prints what was stored.
#
#   test_real_data.sh MINUTE_BARS FACPOOL     the two programs
#
# The data is not part of the project: it is looked for in $FACPOOL_DATA, then in ../shared/data
# beside the project. Without it, or without Python with NumPy, the test is skipped (status 77).
set -eu

minute_bars=$1
facpool=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
data=${FACPOOL_DATA:-$here/../../../shared/data}
python=${FACPOOL_PYTHON:-python3}

if [ ! -d "$data" ]; then
    echo "SKIP: no market data: set FACPOOL_DATA to its folder"
    exit 77
fi
if ! "$python" -c 'import numpy, zoneinfo; zoneinfo.ZoneInfo("America/New_York")' 2>/dev/null; then
    echo "SKIP: $python lacks NumPy or zone data: sh tests/run.sh sets up a Python that has them"
    exit 77
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/facpool-real-data.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

failed=0
for set in us_1min ashare_15min ashare_daily; do
    "$minute_bars" --backup "$work/$set.fpb" "$data/$set" >"$work/$set.txt" 2>"$work/$set.err" || {
        echo "FAIL: minute_bars on $set:"
        tail -n 20 "$work/$set.txt" "$work/$set.err"
        failed=1
        continue
    }
    grep -E 'killed by|resumed|bit for bit' "$work/$set.txt"
    "$facpool" query "$work/$set.fpb" --status all --format csv >"$work/$set.csv"
    "$python" "$here/check.py" --data "$data/$set" --rows "$work/$set.csv" || failed=1
done
exit "$failed"
