#!/bin/sh
# Installs what is missing to build and test libfacpool on Debian or Ubuntu, and says what it does.
#
#   sh tools/setup.sh [SET ...]     SET: build (default) | tests | python | bench
#
#   build  a C compiler, meson, ninja, pkg-config, zstd and xxHash
#   tests  build, and clang with OpenMP and its sanitizers, valgrind, Python with venv and zone data
#   python NumPy, xxHash and Zstandard for Python, with which tests check files and factors
#   bench  build, and SQLite and LMDB to compare with
#
# What is there already is left alone: where nothing is missing, apt-get is not called and no rights
# are needed. Else it runs as root, or through sudo.
set -eu

have_command() {
    command -v "$1" >/dev/null 2>&1
}

have_header() {
    printf '#include <%s>\n' "$1" | cc -E -x c - >/dev/null 2>&1
}

# Does clang link this option, so that the runtime library it needs is there?
clang_links() {
    printf 'int main(void) { return 0; }\n' | clang "$1" -x c - -o /dev/null >/dev/null 2>&1
}

clang_runs_openmp() {
    printf '#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n' |
        clang -fopenmp -x c - -o /dev/null >/dev/null 2>&1
}

python_has_venv() {
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1
}

python_has_zones() {
    python3 -c 'import zoneinfo; zoneinfo.ZoneInfo("America/New_York")' >/dev/null 2>&1
}

missing=
need() {
    case " $missing " in
    *" $1 "*) ;;
    *) missing="$missing $1" ;;
    esac
}

# clang's runtime libraries come in packages that carry its version in their names.
clang_major() {
    if have_command clang; then
        clang -dumpversion | cut -d. -f1
    else
        apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1
    fi
}

look_for_build() {
    have_command cc || need gcc
    have_command cc && have_header stdlib.h || need libc6-dev
    have_command meson || need meson
    have_command ninja || need ninja-build
    have_command pkg-config || need pkg-config
    have_command cc && have_header zstd.h || need libzstd-dev
    have_command cc && have_header xxhash.h || need libxxhash-dev
}

look_for_tests() {
    look_for_build
    have_command g++ || need g++
    have_command clang || need clang
    have_command python3 || need python3
    python_has_venv || need python3-venv
    python_has_zones || need tzdata
    have_command valgrind || need valgrind
    have_command nm || need binutils
    have_command clang && clang_runs_openmp || need_clang_package libomp dev
    if ! have_command clang || ! clang_links -fsanitize=address || ! clang_links -fsanitize=thread; then
        need_clang_package libclang-rt dev
    fi
    have_command llvm-symbolizer || need llvm
}

python_has_packages() {
    /usr/bin/python3 -c 'import numpy, xxhash, zstandard' >/dev/null 2>&1
}

look_for_python() {
    if ! python_has_packages; then
        need python3-numpy
        need python3-xxhash
        need python3-zstandard
    fi
}

look_for_bench() {
    look_for_build
    have_command cc && have_header sqlite3.h || need libsqlite3-dev
    have_command cc && have_header lmdb.h || need liblmdb-dev
}

# The name with clang's version where there is such a package; else the plain one, if there is one
# (older releases have the sanitizers' runtime in clang's own packages).
need_clang_package() {
    major=$(clang_major)
    for package in "$1-${major:-none}-$2" "$1-$2"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            need "$package"
            return
        fi
    done
}

look() {
    missing=
    for set in "$@"; do
        case $set in
        build) look_for_build ;;
        tests) look_for_tests ;;
        python) look_for_python ;;
        bench) look_for_bench ;;
        *)
            echo "setup.sh: '$set' is not one of build, tests, python, bench" >&2
            exit 2
            ;;
        esac
    done
}

install_missing() {
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! have_command sudo; then
            echo "setup.sh: missing:$missing" >&2
            echo "setup.sh: install them as root, or install sudo" >&2
            exit 1
        fi
        as_root=sudo
    fi
    echo "setup: apt-get install$missing"
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
        >/dev/null
}

update_lists() {
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    echo "setup: apt-get update"
    $as_root apt-get update -q >/dev/null
}

[ $# -gt 0 ] || set -- build
look "$@"
if [ -z "$missing" ]; then
    echo "setup: everything for '$*' is there"
    exit 0
fi
if ! have_command apt-get; then
    echo "setup.sh: no apt-get here; please install what these Debian packages hold:$missing" >&2
    exit 1
fi
[ "$(id -u)" -eq 0 ] || have_command sudo || install_missing
update_lists
look "$@" # clang's version, and with it some names, may only be known now
install_missing
