#!/bin/sh
# Fuzzes: builds the targets of fuzz/ with clang's libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer in build-fuzz/ beside the sources, and runs each for a time.
#
#   sh fuzz/run.sh [OPTION...] [TARGET...]     all targets where none is given
#
#   --seconds N   processor seconds a target (60)
#   --jobs N      so many targets at a time, each one process (1)
#   --out FOLDER  where corpora grow and findings are kept (build-fuzz/out)
#   --no-build    with the targets as they were built for this FOLDER before
#   --table       runs nothing: only the table of what was run so far, also while it runs
#   --minimise    then brings back into fuzz/corpus/TARGET, as few inputs as reach the same edges, at
#                 most 60 KiB in all; regressions (regression-*) stay as they are
#
# FOLDER holds TARGET.log and TARGET/: corpus/, and crashes/ (inputs that ended the target, took
# longer than 30 s, or more memory than a hostile file may cost). Started again it goes on with the
# grown corpus, and its figures add up. The last lines are a table; the exit status is 1 where there
# are crashes.
set -u

cd "$(dirname "$0")/.." || exit 2
root=$(pwd)
build=$root/build-fuzz
out=$build/out
seconds=60
jobs=1
minimise=no
one=no
builds=yes
runs=yes
targets=

while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    --out) mkdir -p "$2" && out=$(cd "$2" && pwd) && shift ;;
    --no-build) builds=no ;;
    --table) builds=no && runs=no ;;
    --minimise) minimise=yes ;;
    --one) one=yes ;; # a target of a run that has built them: how this script calls itself
    -h | --help)
        sed -n '2,21s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        echo "fuzz/run.sh: unknown option '$1' (see --help)"
        exit 2
        ;;
    *) targets="$targets $1" ;;
    esac
    shift
done

# A hostile file may cost this much and no more: see tests/TESTING.md.
rss_mb=1024
malloc_mb=512
timeout_s=30 # by the wall: generous, for machines that do much else
# Of one process; then the next one goes on with what it left, and no leak or fragmented heap lasts.
slice_seconds=300
most_crashes=20
most_corpus_bytes=$((60 * 1024))

ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=1
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
OMP_WAIT_POLICY=passive
export ASAN_OPTIONS UBSAN_OPTIONS OMP_WAIT_POLICY

build_targets() {
    mkdir -p "$build" "$out"
    if ! [ -f "$build/build.ninja" ]; then
        CC=clang meson setup "$build" "$root" -Dfuzz=true -Dtests=false -Dexamples=false \
            -Dtools=false -Dopenmp=auto -Dbuildtype=debugoptimized -Ddefault_library=static \
            -Db_sanitize=address,undefined -Db_lundef=false >"$build/setup.log" 2>&1 || {
            cat "$build/setup.log"
            exit 2
        }
    fi
    meson compile -C "$build" >"$build/compile.log" 2>&1 || {
        tail -n 60 "$build/compile.log"
        exit 2
    }
    # a long run goes on with these, whatever is built meanwhile
    rm -rf "$out/bin"
    mkdir -p "$out/bin"
    find "$build/fuzz" -maxdepth 1 -type f -exec cp {} "$out/bin" \;
}

# Files as writers leave them, and the golden ones.
make_seeds() {
    rm -rf "$out/seeds"
    "$out/bin/make_seeds" "$out/seeds" || exit 2
    cp tests/data/*.fpb "$out/seeds/binary"
    cp tests/data/*.jsonl "$out/seeds/json"
    cp tests/data/*.arrow "$out/seeds/memory_map"
}

count_files() {
    find "$1" -type f 2>/dev/null | wc -l
}

# Processor seconds of this shell's children, of the second line that `times` has written to a file.
cpu_seconds() {
    awk 'NR == 2 {
        for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); sum += t[1] * 60 + t[2] }
        printf "%d\n", sum }' "$1"
}

last_number() {
    sed -n "s/.*$1 *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1
}

# result_of TARGET: what it has done so far, as executions, seconds, edges, corpus, crashes.
result_of() {
    cat "$out/$1/result" 2>/dev/null || echo "0 0 0 0 0"
}

# Runs one target, process after process, until its time is used up.
run_one() {
    target=$1
    here=$out/$target
    log=$out/$target.log
    mkdir -p "$here/corpus" "$here/crashes" "$out/seeds/$target"
    # files are written and synced all the time: in memory, where that can be
    scratch=$(mktemp -d /dev/shm/facpool-fuzz-XXXXXX 2>/dev/null || mktemp -d)
    read -r executions before edges rest <<EOF
$(result_of "$target")
EOF
    used=0
    idle=0
    while left=$((seconds - used)) && [ "$left" -gt 0 ] && [ "$idle" -lt 5 ]; do
        [ "$left" -lt "$slice_seconds" ] || left=$slice_seconds
        [ "$left" -gt 20 ] || left=20
        TMPDIR=$scratch "$out/bin/$target" -max_total_time="$left" -timeout="$timeout_s" \
            -rss_limit_mb="$rss_mb" -malloc_limit_mb="$malloc_mb" -max_len=65536 \
            -print_final_stats=1 -artifact_prefix="$here/crashes/" -reload=0 \
            "$here/corpus" "$root/fuzz/corpus/$target" "$out/seeds/$target" >"$here/slice.log" 2>&1
        cat "$here/slice.log" >>"$log"
        new=$(last_number 'number_of_executed_units:' "$here/slice.log")
        executions=$((executions + ${new:-0}))
        idle=$((${new:-0} > 0 ? 0 : idle + 1)) # it can't even start
        times >"$here/times" # not in a pipe: that would be another shell, without children
        used=$(cpu_seconds "$here/times")
        edges=$(last_number 'cov:' "$here/slice.log")
        echo "$executions $((before + used)) ${edges:-0} $(count_files "$here/corpus")" \
            "$(count_files "$here/crashes")" >"$here/result"
        [ "$(count_files "$here/crashes")" -lt "$most_crashes" ] || break
    done
    rm -rf "$scratch" "$here/slice.log" "$here/times"
}

print_table() {
    printf '%-14s %12s %9s %8s %8s %8s\n' target executions 'CPU s' edges corpus crashes
    for target in $targets; do
        # shellcheck disable=SC2046
        printf '%-14s %12s %9s %8s %8s %8s\n' "$target" $(result_of "$target")
    done
}

# Few inputs that reach every edge: how often they do is not looked at, or there would be ten times as
# many, each of which costs the normal tests its changed copies. Those that would make the folder too
# large are left out: larger ones come last.
minimise_one() {
    target=$1
    kept=$root/fuzz/corpus/$target
    fresh=$(mktemp -d)
    mkdir -p "$out/seeds/$target" "$out/$target/corpus"
    "$out/bin/$target" -set_cover_merge=1 -use_counters=0 -rss_limit_mb="$rss_mb" \
        -timeout="$timeout_s" "$fresh" "$kept" "$out/$target/corpus" "$out/seeds/$target" \
        >"$out/$target/merge.log" 2>&1 || {
        tail -n 5 "$out/$target/merge.log"
        return
    }
    find "$kept" -type f ! -name 'regression-*' -exec rm {} +
    sum=$(cat "$kept"/* 2>/dev/null | wc -c)
    for file in $(ls -Sr "$fresh"); do
        bytes=$(wc -c <"$fresh/$file")
        [ $((sum + bytes)) -le "$most_corpus_bytes" ] || break
        sum=$((sum + bytes))
        cp "$fresh/$file" "$kept/$(echo "$file" | cut -c 1-12)"
    done
    echo "fuzz/corpus/$target: $(count_files "$kept") files, $sum bytes, of $(count_files "$fresh") merged"
    rm -rf "$fresh"
}

if [ "$one" = yes ]; then
    # shellcheck disable=SC2086
    run_one $targets
    exit 0
fi

if [ -z "$targets" ]; then
    targets=$(cd fuzz && ls fuzz_*.c | sed 's/^fuzz_\(.*\)\.c$/\1/')
fi
if [ "$builds" = yes ]; then
    build_targets
    make_seeds
fi
if [ "$runs" = yes ]; then
    # shellcheck disable=SC2086
    printf '%s\n' $targets |
        xargs -n 1 -P "$jobs" sh "$root/fuzz/run.sh" --one --seconds "$seconds" --out "$out"
fi
print_table
if [ "$minimise" = yes ]; then
    for target in $targets; do
        minimise_one "$target"
    done
fi
crashes=0
for target in $targets; do
    crashes=$((crashes + $(result_of "$target" | cut -d ' ' -f 5)))
done
[ "$crashes" -eq 0 ]
