#!/bin/sh
# Installs what is missing to build and test libfacpool on Debian or Ubuntu, and says what it does.
#
#   sh tools/setup.sh [SET ...]     SET: build (default) | tests | python | bench | foreign | package
#
#   build  a C compiler, meson, ninja, pkg-config, zstd, xxHash and json-c
#   tests  build, and clang with OpenMP and its sanitizers, valgrind, SQLite, locales, Python with
#          venv and zone data
#   python NumPy, xxHash and Zstandard for Python, with which tests check files and factors
#   bench  tests' Python, and what to compare with: SQLite and LMDB; pyarrow, DuckDB, h5py and
#          py-lmdb from PyPI in build-bench/venv
#   foreign build, and readers of backups that are not ours: jq; pyarrow, polars, DuckDB and pandas
#          from PyPI in build-tests/foreign-venv; cargo, and the crates of tests/foreign/arrow_rs
#   package build, and what the Python package is built and tested with: Python's headers and venv;
#          packages from PyPI in build-tests/python-venv
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

python_has_headers() {
    python3 -c 'import os, sysconfig
os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))' >/dev/null 2>&1
}

python_has_zones() {
    python3 -c 'import zoneinfo; zoneinfo.ZoneInfo("America/New_York")' >/dev/null 2>&1
}

# Tests take a locale with a decimal comma, which they compile themselves from its source.
has_locale_sources() {
    [ -e /usr/share/i18n/locales/de_DE ] && have_command localedef
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
    have_command cc && have_header json-c/json.h || need libjson-c-dev
}

look_for_tests() {
    look_for_build
    have_command g++ || need g++
    have_command clang || need clang
    have_command python3 || need python3
    python_has_venv || need python3-venv
    python_has_zones || need tzdata
    have_command valgrind || need valgrind
    has_locale_sources || need locales
    have_command nm || need binutils
    have_command cc && have_header sqlite3.h || need libsqlite3-dev
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
    have_command python3 || need python3
    python_has_venv || need python3-venv
}

# A cargo that can build tests/foreign/arrow_rs.
RUST_LEAST=85 # of Rust 1

find_cargo() {
    for cargo in cargo "${HOME:-}/.cargo/bin/cargo"; do
        minor=$("$cargo" --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
        if [ "${minor:-0}" -ge "$RUST_LEAST" ]; then
            echo "$cargo"
            return
        fi
    done
}

# Debian 12 has a cargo of its own age, and one of today that comes with its browsers' updates.
need_cargo() {
    for package in cargo cargo-web; do
        minor=$(apt-cache show --no-all-versions "$package" 2>/dev/null |
            sed -n 's/^Version: 1\.\([0-9]*\)\..*/\1/p' | head -n 1)
        if [ "${minor:-0}" -ge "$RUST_LEAST" ]; then
            need "$package"
            return
        fi
    done
}

look_for_foreign() {
    look_for_build
    have_command jq || need jq
    have_command python3 || need python3
    python_has_venv || need python3-venv
    [ -n "$(find_cargo)" ] || need_cargo
}

look_for_package() {
    look_for_build
    have_command python3 || need python3
    python_has_venv || need python3-venv
    python_has_headers || need python3-dev
}

# Where the versions are those of requirements.txt, nothing is fetched.
make_venv() {
    wanted=$root/$1/requirements.txt
    venv=$root/$2
    cmp -s "$wanted" "$venv/installed.txt" && return
    echo "setup: pip install -r $1/requirements.txt, into $2"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install -q --disable-pip-version-check --only-binary :all: -r "$wanted" &&
        cp "$wanted" "$venv/installed.txt"
}

fetch_crates() {
    cargo=$(find_cargo)
    if [ -z "$cargo" ]; then
        echo "setup.sh: no package here has cargo of Rust 1.$RUST_LEAST or later: see rustup.rs" >&2
        return 1
    fi
    (cd "$root/tests/foreign/arrow_rs" && "$cargo" fetch -q --locked)
}

# What packages do not bring.
finish() {
    status=0
    for set in "$@"; do
        if [ "$set" = foreign ]; then
            make_venv tests/foreign build-tests/foreign-venv || status=1
            fetch_crates || status=1
        elif [ "$set" = bench ]; then
            make_venv tests/bench build-bench/venv || status=1
        elif [ "$set" = package ]; then
            make_venv bindings/python/tests build-tests/python-venv || status=1
        fi
    done
    return $status
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
        foreign) look_for_foreign ;;
        package) look_for_package ;;
        *)
            echo "setup.sh: '$set' is not one of build, tests, python, bench, foreign, package" >&2
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
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
look "$@"
if [ -z "$missing" ]; then
    finish "$@"
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
finish "$@"
