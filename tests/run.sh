#!/bin/sh
# All tests, from nothing: installs what is missing, then builds and tests libfacpool
#
#   gcc         release build, warnings are errors: the whole suite
#   asan        gcc with AddressSanitizer (leaks included) and UndefinedBehaviorSanitizer: the whole
#               suite
#   tsan        clang with ThreadSanitizer, and Archer, which tells it of OpenMP's own ordering: all
#               tests that start threads, the longest with fewer cases
#   valgrind    the small tests of the release build under memcheck
#   no-openmp   clang, release build, -Dopenmp=disabled: everything but the slow tests and the long
#               ones that never run a task
#   foreign     readers that are not ours (pyarrow, polars, DuckDB, pandas, jq, the Arrow library for
#               Rust) on files from real runs, and on streams in and out, these also with
#               AddressSanitizer. Without a network it is skipped, but with CI=true it fails
#   python      the Python package: installed by pip, built as sdist and wheel, the wheel in a clean
#               environment, and its tests by pytest. Without a network it is skipped, but with
#               CI=true it fails, as does a skipped proof
#   users       installed, found by pkg-config, and as a meson subproject: a stranger's C99 and C++11
#               programs
#   mutants     bugs put into copies of the sources, each of which some test must see
#   clang       clang, release build, with its OpenMP: everything but the slow tests; only with
#               --long, or by name, as tsan and no-openmp have what is special in it
#   coverage    lines and branches of lib/ that the tests reach; only with --long, or by name
#
#   sh tests/run.sh [--quick | --long] [ROUND...]
#                  --quick: gcc alone, without the slow tests
#                  --long: hours: the counts of a release, with gcc and for mutants; coverage
#                          (tests/TESTING.md says what that is)
#                  ROUND...: only these, of the list above
#
# Everything is written to build-tests/ beside the sources; it can be run any number of times. The
# last line says how many test programs passed, failed and were skipped over all rounds (a skip is
# printed with its reason). Tests on real market data run where $FACPOOL_DATA or ../shared/data is.
set -u

quick=no
long=no
rounds=
for argument in "$@"; do
    case $argument in
    --quick) quick=yes ;;
    --long) long=yes ;;
    gcc | clang | asan | tsan | valgrind | no-openmp | foreign | python | users | mutants | coverage)
        rounds="$rounds $argument"
        ;;
    -h | --help)
        sed -n '2,33s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "run.sh: '$argument' is not understood, see --help" >&2
        exit 2
        ;;
    esac
done
if [ -z "$rounds" ]; then
    rounds="gcc asan tsan valgrind no-openmp foreign python users mutants"
    [ "$long" = no ] || rounds="$rounds clang coverage"
    [ "$quick" = no ] || rounds=gcc
fi

CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1
root=$(pwd)
out=$root/build-tests
mkdir -p "$out"
passed=0
failed=0
skipped=0
started=$(date +%s)

say() {
    printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - started))"
}

# went_wrong N WHAT: so many failures more, which the last lines name again.
failures=
went_wrong() {
    [ "$1" -gt 0 ] || return 0
    failed=$((failed + $1))
    failures="$failures
     $round: $2"
}

# check NAME COMMAND...: one more test, its output shown only when it fails.
check() {
    name=$1
    shift
    if "$@" >"$out/check.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $name"
    else
        went_wrong 1 "$name"
        echo "FAIL $name"
        tail -n 60 "$out/check.log"
    fi
}

# configure NAME COMPILER MESON_OPTION...: build-tests/NAME, which is begun anew where it was configured
# otherwise. Its tests build what they need; build() is for all of it.
configure() {
    name=$1
    compiler=$2
    shift 2
    folder=$out/$name
    log=$out/$name.log
    stamp="$compiler $*"
    if [ "$(cat "$folder/configured-as" 2>/dev/null)" != "$stamp" ]; then
        rm -rf "$folder"
        CC=$compiler meson setup "$folder" "$root" --werror "$@" >"$log" 2>&1 &&
            printf '%s\n' "$stamp" >"$folder/configured-as"
    fi
    [ -f "$folder/configured-as" ] || cannot_build
}

cannot_build() {
    echo "FAIL build $name"
    tail -n 60 "$log"
    went_wrong 1 "build $name"
    return 1
}

# build NAME COMPILER MESON_OPTION...: configures it and builds it ($targets of it, where that is set).
targets=
build() {
    configure "$@" || return
    # shellcheck disable=SC2086
    meson compile -C "$folder" $targets >>"$log" 2>&1 || cannot_build
}

# One test more than there are cores, as many wait for disks and processes.
at_once=$(($(nproc) + 1))

# suite NAME MESON_TEST_OPTION...: builds what tests of build-tests/NAME need, runs them, and adds up
# what they gave.
suite() {
    log=$out/$1.out
    logs=$out/$1/meson-logs
    folder=$out/$1
    shift
    rm -f "$logs"/testlog*.json
    meson test -C "$folder" --print-errorlogs --num-processes "$at_once" --timeout-multiplier 4 "$@" \
        >"$log" 2>&1
    status=$?
    results=$(find "$logs" -name 'testlog*.json') # a wrapper's name is part of it
    if [ ! -s "$results" ]; then
        echo "FAIL no tests ran"
        tail -n 60 "$log"
        went_wrong 1 "no tests ran"
        return
    fi
    ok=$(grep -cE '"result": "(OK|EXPECTEDFAIL)"' "$results")
    skip=$(grep -c '"result": "SKIP"' "$results")
    bad=$(($(wc -l <"$results") - ok - skip))
    if [ "$bad" -eq 0 ] && [ "$status" -ne 0 ]; then
        bad=1
    fi
    echo "$ok passed, $bad failed, $skip skipped"
    [ "$skip" -eq 0 ] || grep -h 'SKIP:' "${results%.json}.txt" | sort -u
    [ "$bad" -eq 0 ] || cat "$log"
    passed=$((passed + ok))
    skipped=$((skipped + skip))
    # shellcheck disable=SC2046
    went_wrong "$bad" "$(echo $(grep -vE '"result": "(OK|EXPECTEDFAIL|SKIP)"' "$results" |
        sed 's/.*"name": "[^"]* \/ \([^"]*\)".*/\1/'))"
}

# tests_but NAMES NAME MESON_TEST_OPTION...: the tests of build-tests/NAME that the options choose,
# without those of the regular expression NAMES.
tests_but() {
    names=$1
    folder=$out/$2
    shift 2
    meson test -C "$folder" --no-rebuild --list "$@" 2>/dev/null | sed -n 's/.* \/ //p' |
        grep -vxE "$names"
}

# ------------------------------------------------------------------ what is needed

has_packages() {
    "$1" -c 'import numpy, xxhash, zstandard' 2>/dev/null
}

find_python() {
    for python in python3 /usr/bin/python3 "$out/venv/bin/python3"; do
        if has_packages "$python"; then
            command -v "$python"
            return
        fi
    done
}

make_python() {
    rm -rf "$out/venv"
    python3 -m venv "$out/venv" &&
        "$out/venv/bin/pip" install -q --disable-pip-version-check numpy xxhash zstandard
}

# The Python that checks the file format and the factors needs three packages: the distribution's,
# or else pip's in an environment of our own. Without a network these checks are skipped, visibly.
set_up_python() {
    FACPOOL_PYTHON=$(find_python)
    if [ -z "$FACPOOL_PYTHON" ]; then
        sh tools/setup.sh python || echo "setup: trying pip for numpy, xxhash and zstandard"
        FACPOOL_PYTHON=$(find_python)
    fi
    if [ -z "$FACPOOL_PYTHON" ]; then
        make_python >"$out/venv.log" 2>&1 || tail -n 3 "$out/venv.log"
        FACPOOL_PYTHON=$(find_python)
    fi
    if [ -z "$FACPOOL_PYTHON" ]; then
        echo "setup: tests that need numpy, xxhash or zstandard are skipped"
        FACPOOL_PYTHON=$(command -v python3)
    fi
    export FACPOOL_PYTHON
    # meson takes the python3 that it finds first
    mkdir -p "$out/bin"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$FACPOOL_PYTHON" >"$out/bin/python3"
    chmod +x "$out/bin/python3"
    PATH=$out/bin:$PATH
}

# ------------------------------------------------------------------ the rounds

# Tests that one round can't make use of: those that look at the sources or the built files; for
# ThreadSanitizer also those that start no thread, without OpenMP the long ones of what never runs a
# task, for valgrind those that take long, and the one whose children end in the middle of what they do.
on_files='layers|symbols|readme'
without_threads="$on_files|minute_bars_parts|codec.*|store_damage.*|query_model|format|real_data"
without_runs="$on_files|codec.*|json.*|arrow_.*|store_damage.*|query_model|format|real_data"
not_small="$on_files|codec_bytes|store_damage.*|query_model|compact|json(_damage|_text)?|arrow_file.*"

# How much tests do that can do more or less: see of_tier in tests/tiers.h.
tier() {
    FACPOOL_TEST_TIER=$1
    export FACPOOL_TEST_TIER
}

# Optimised as for a release, and with line numbers.
build_gcc() {
    build gcc gcc -Ddebug=true
}

round_gcc() {
    build_gcc || return
    if [ "$quick" = yes ]; then
        suite gcc --no-suite slow
    elif [ "$long" = yes ]; then
        tier long
        suite gcc --timeout-multiplier 0
    else
        suite gcc
    fi
}

# What libomp leaves of every process that was killed or ended by _exit: see tests/meson.build.
sweep_after_libomp() {
    for file in /dev/shm/__KMP_REGISTERED_LIB_*_"$(id -u)"; do
        number=${file#*_LIB_}
        [ ! -f "$file" ] || kill -0 "${number%_*}" 2>/dev/null || rm -f "$file"
    done
}

round_clang() {
    build clang clang || return
    suite clang --no-suite slow
    sweep_after_libomp
}

build_asan() {
    build asan gcc -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false
}

round_asan() {
    build_asan || return
    [ "$long" = yes ] || tier small
    suite asan
}

find_archer() {
    for library in "$(dirname "$(readlink -f "$(command -v clang)")")/../lib/libarcher.so" \
        /usr/lib/llvm-*/lib/libarcher.so; do
        if [ -e "$library" ]; then
            echo "$library"
            return
        fi
    done
}

round_tsan() {
    archer=$(find_archer)
    if [ -z "$archer" ]; then
        echo "FAIL libarcher.so is not there: ThreadSanitizer can't follow OpenMP without it"
        went_wrong 1 "libarcher.so is not there"
        return
    fi
    configure tsan clang -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false || return
    OMP_TOOL_LIBRARIES=$archer
    export OMP_TOOL_LIBRARIES
    tier small
    # shellcheck disable=SC2046
    suite tsan $(tests_but "$without_threads" tsan --no-suite slow)
    FACPOOL_TEST_CASES=250 FACPOOL_TEST_CYCLES=8
    export FACPOOL_TEST_CASES FACPOOL_TEST_CYCLES
    suite tsan property kill
    unset FACPOOL_TEST_CASES FACPOOL_TEST_CYCLES
    unset OMP_TOOL_LIBRARIES
    sweep_after_libomp
}

round_valgrind() {
    build_gcc || return
    tier small
    # shellcheck disable=SC2046
    suite gcc --timeout-multiplier 8 --wrapper \
        'valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite' \
        $(tests_but "$not_small" gcc --suite unit)
}

round_no_openmp() {
    configure no-openmp clang -Dopenmp=disabled || return
    # shellcheck disable=SC2046
    suite no-openmp $(tests_but "$without_runs" no-openmp --no-suite slow)
}

# proofs NAME COMMAND...: a program that prints a line a proof: "ok ..." or "FAIL ...".
proofs() {
    name=$1
    log=$out/$name.proofs
    shift
    "$@" >"$log" 2>&1
    status=$?
    ok=$(grep -c '^ok ' "$log")
    bad=$(grep -c '^FAIL ' "$log")
    if [ "$bad" -eq 0 ] && [ "$status" -ne 0 ]; then
        bad=1
    fi
    echo "$name: $ok proved, $bad failed"
    [ "$bad" -eq 0 ] || cat "$log"
    passed=$((passed + ok))
    went_wrong "$bad" "$name"
}

# lacking WHAT: a part of the foreign round can't run.
lacking() {
    if [ "${CI:-}" = true ]; then
        echo "FAIL $1"
        went_wrong 1 "$1"
    else
        echo "SKIP: $1"
        skipped=$((skipped + 1))
    fi
}

build_arrow_rs() {
    for cargo in cargo "${HOME:-}/.cargo/bin/cargo"; do
        (cd tests/foreign/arrow_rs &&
            CARGO_TARGET_DIR=$out/foreign-cargo "$cargo" build --locked) && return
    done
}

# use_library NAME: that of build-tests/NAME, for the proofs.
use_library() {
    FACPOOL_MAKE_BACKUP=$out/$1/tests/foreign_make_backup
    FACPOOL_LIBRARY=$(find "$out/$1/lib" -name libfacpool.so)
    export FACPOOL_MAKE_BACKUP FACPOOL_LIBRARY
}

# Python itself is built without the sanitizer, which must then be there first, and would see leaks
# of Python's own.
with_asan() {
    env ASAN_OPTIONS=detect_leaks=0 \
        LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" "$@"
}

round_foreign() {
    foreign_python=$out/foreign-venv/bin/python3
    sh tools/setup.sh foreign || echo "setup: not everything for foreign readers could be had"
    if ! [ -e "$out/foreign-venv/installed.txt" ] || ! command -v jq >/dev/null; then
        lacking "jq, or packages of tests/foreign/requirements.txt"
        return
    fi
    arrow_rs=$out/foreign-cargo/debug/arrow_rs_rows
    if ! build_arrow_rs >"$out/foreign-cargo.log" 2>&1; then
        tail -n 5 "$out/foreign-cargo.log"
        lacking "cargo of Rust 1.85 or later, or the crates of tests/foreign/arrow_rs"
        arrow_rs=
    fi
    targets=foreign_make_backup
    build_gcc && build_asan
    built=$?
    targets=
    [ "$built" -eq 0 ] || return
    use_library asan
    proofs tasks_asan with_asan "$foreign_python" tests/foreign/test_tasks.py
    proofs stream_asan with_asan "$foreign_python" tests/foreign/test_stream.py memory_map
    use_library gcc
    proofs tasks "$foreign_python" tests/foreign/test_tasks.py
    for format in binary json memory_map; do
        proofs "stream_$format" "$foreign_python" tests/foreign/test_stream.py "$format"
    done
    proofs json "$foreign_python" tests/foreign/test_json.py
    proofs memory_map "$foreign_python" tests/foreign/test_memory_map.py \
        ${arrow_rs:+"$arrow_rs"}
}

# As a user with a compiler does it: pip, and build below, fetch what the build needs into an
# environment of its own.
pip_install() {
    "$package_python" -m pip install -q --disable-pip-version-check --force-reinstall --no-deps \
        bindings/python
}

# These builds have one small program run: without optimisation they take half the time. That of
# `pip install`, which has all tests run, is a release.
unoptimised=setup-args=-Doptimization=0

build_sdist_and_wheel() {
    rm -rf "$out/python-dist"
    "$package_python" -m build -C "$unoptimised" -o "$out/python-dist" bindings/python
}

# works_in_new_environment PYTHON FILE: of an sdist or wheel, with what it requires and nothing else.
# Runs elsewhere, so that no source is found by its folder.
works_in_new_environment() {
    rm -rf "$out/python-clean"
    "$1" -m venv --without-pip "$out/python-clean" &&
        "$package_python" -m pip --python "$out/python-clean/bin/python3" \
            --disable-pip-version-check install -q --config-settings "$unoptimised" "$2" &&
        (cd "$out/python-clean" && bin/python3 "$root/bindings/python/tests/smoke.py" smoke.fpb)
}

# The oldest Python that the package is for.
find_python_3_9() {
    for python in python3.9 "${HOME:-}"/.pyenv/versions/3.9.*/bin/python3; do
        if "$python" -c 'import venv' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

# Files stay together. The line that conftest.py prints at
# the end, added up; and why what was skipped was.
pytest_suite() {
    log=$out/python.out
    "$package_python" -m pytest -q -p no:cacheprovider -n "$at_once" --dist loadfile \
        "$root/bindings/python/tests" >"$log" 2>&1
    status=$?
    counts=$(sed -n 's/^proofs: \([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log")
    # shellcheck disable=SC2086
    set -- ${counts:-0 1 0}
    bad=$2
    if [ "$bad" -eq 0 ] && [ "$status" -ne 0 ]; then
        bad=1
    fi
    echo "pytest: $1 passed, $bad failed, $3 skipped"
    [ "$3" -eq 0 ] || grep '^SKIP' "$log"
    [ "$bad" -eq 0 ] || tail -n 200 "$log"
    passed=$((passed + $1))
    went_wrong "$bad" "$(sed -n 's/^\(FAILED\|ERROR\) \([^ ]*\).*/\2/p' "$log")"
    skipped=$((skipped + $3))
}

round_python() {
    package_python=$out/python-venv/bin/python3
    sh tools/setup.sh package || echo "setup: not everything for the Python package could be had"
    if ! [ -e "$out/python-venv/installed.txt" ]; then
        lacking "Python's headers, or packages of bindings/python/tests/requirements.txt"
        return
    fi
    # What pip and build fetch for each build of the package is not in that environment.
    if ! "$package_python" -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir \
        -d "$out/python-index" cloudpickle >"$out/python-index.log" 2>&1; then
        lacking "a package index: pip can't reach one"
        return
    fi
    targets='foreign_make_backup tools/facpool:executable'
    build_gcc
    built=$?
    targets=
    [ "$built" -eq 0 ] || return
    use_library gcc
    FACPOOL_TOOL=$out/gcc/tools/facpool
    export FACPOOL_TOOL
    check "sdist, and wheel from it" build_sdist_and_wheel
    check "wheel in a clean environment" works_in_new_environment "$package_python" \
        "$out"/python-dist/*.whl
    old=$(find_python_3_9)
    if [ -n "$old" ]; then
        check "sdist with Python 3.9" works_in_new_environment "$old" "$out"/python-dist/*.tar.gz
    else
        echo "SKIP: no Python 3.9 here"
        skipped=$((skipped + 1))
    fi
    failed_before=$failed
    check "pip install" pip_install
    [ "$failed" -eq "$failed_before" ] || return
    pytest_suite
}

# A bug a line; the last one sums up.
round_mutants() {
    if [ "$long" = yes ]; then
        tier long
    fi
    proofs mutants python3 tests/mutants/run.py "$out/mutants"
    tail -n 1 "$out/mutants.proofs"
}

round_coverage() {
    tier small
    check "coverage" sh tests/coverage.sh "$out/coverage"
    grep -E '^(lines|branches|total)' "$out/check.log"
}

consumer_by_pkg_config() {
    PKG_CONFIG_PATH=$(dirname "$(find "$out/prefix" -name facpool.pc)")
    export PKG_CONFIG_PATH
    LD_LIBRARY_PATH=$(dirname "$(find "$out/prefix" -name 'libfacpool.so')")
    export LD_LIBRARY_PATH
    rm -rf "$out/consumer-installed"
    meson setup "$out/consumer-installed" tests/consumer --wrap-mode=nofallback &&
        meson test -C "$out/consumer-installed"
}

consumer_as_subproject() {
    rm -rf "$out/consumer"
    cp -r tests/consumer "$out/consumer" &&
        mkdir "$out/consumer/subprojects" &&
        ln -s "$root" "$out/consumer/subprojects/libfacpool" &&
        meson setup "$out/consumer/build" "$out/consumer" --force-fallback-for=facpool &&
        meson test -C "$out/consumer/build" --suite consumer
}

compile_header() {
    printf '#include <facpool/facpool.h>\n' >"$out/header.c"
    "$@" -pedantic -Wall -Wextra -Werror -Iinclude -fsyntax-only "$out/header.c"
}

tool_answers() {
    LD_LIBRARY_PATH=$(dirname "$(find "$out/prefix" -name 'libfacpool.so')") \
        "$out/prefix/bin/facpool" --help
}

round_users() {
    build users gcc -Dprefix="$out/prefix" -Dtests=false -Dexamples=false || return
    for compiler in gcc clang; do
        check "header in C99, $compiler" compile_header "$compiler" -std=c99
    done
    for compiler in g++ clang++; do
        check "header in C++11, $compiler" compile_header "$compiler" -x c++ -std=c++11
    done
    rm -rf "$out/prefix"
    check "install" meson install -C "$out/users"
    check "installed tool" tool_answers
    check "use through pkg-config" consumer_by_pkg_config
    check "use as a subproject" consumer_as_subproject
}

# ------------------------------------------------------------------ all

# Each of these is read by its own sanitizer alone.
ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:second_deadlock_stack=1
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

say "What is needed"
if [ "$rounds" = gcc ]; then
    sh tools/setup.sh build || exit 1
else
    sh tools/setup.sh tests || exit 1
fi
set_up_python

for round in $rounds; do
    say "$round"
    tier usual
    case $round in
    gcc) round_gcc ;;
    clang) round_clang ;;
    asan) round_asan ;;
    tsan) round_tsan ;;
    valgrind) round_valgrind ;;
    no-openmp) round_no_openmp ;;
    foreign) round_foreign ;;
    python) round_python ;;
    users) round_users ;;
    mutants) round_mutants ;;
    coverage) round_coverage ;;
    esac
done

say "All rounds over: $rounds"
summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
[ "$failed" -eq 0 ] || echo "failed:$failures"
echo "$summary"
[ "$failed" -eq 0 ]
