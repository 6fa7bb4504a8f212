"""Native functions: the address of compiled code runs on threads, without the GIL."""
import ctypes
import os
import subprocess
import threading
import time

import pytest

import facpool
from helpers import some_codes, some_dates

DATES, CODES = some_dates(40), some_codes(50)
SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_char_p,
                             ctypes.POINTER(ctypes.c_double))

SOURCE = """
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <pthread.h>

/* Factors: twice the date, the code as a number, how many threads called so far. */
static int threads;
static __thread int seen;

int32_t simple(int64_t date, const char *code, double *factors)
{
    if (!seen)
        seen = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
    usleep(100);
    if (code[5] == '8')
        return -2147483647; /* SKIP */
    if (code[5] == '1')
        return 42;
    factors[0] = (double)date * 2;
    factors[1] = atof(code);
    factors[2] = seen;
    return 0;
}

int32_t fast(int64_t date, const char *code, double *factors)
{
    (void)code;
    factors[0] = (double)date;
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    (folder / "native.c").write_text(SOURCE)
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", folder / "native.so",
                    folder / "native.c"], check=True)
    return ctypes.CDLL(str(folder / "native.so"))


def check(result):
    for i, (date, code) in enumerate((d, c) for d in DATES for c in CODES):
        if code[5] not in "18":
            assert (result["f0"][i], result["f1"][i]) == (date * 2.0, float(code))
    n = {digit: sum(code[5] == digit for code in CODES) * len(DATES) for digit in "18"}
    assert (result.report.skipped, result.report.failed) == (n["8"], n["1"])
    assert {failure.failure_code for failure in result.failures} == {42}


def test_ctypes_function(library, folder):
    result = facpool.run(library.simple, facpool.grid(DATES, CODES), factors=3, workers=2, backup="b")
    check(result)
    assert result.report.executor == "threads"
    assert set(result["f2"][result["f2"] == result["f2"]]) == {1.0, 2.0}  # both were at it
    assert len(facpool.query("b")) == result.report.ok


def test_address_as_a_number(library):
    address = ctypes.cast(library.simple, ctypes.c_void_p).value
    check(facpool.run(address, facpool.grid(DATES, CODES), factors=3, workers=2))


def test_ctypes_function_with_a_prototype(library):
    check(facpool.run(SIGNATURE(("simple", library)), facpool.grid(DATES, CODES), factors=3, workers=2))


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_native_functions_on_other_executors(library, executor):
    check(facpool.run(library.simple, facpool.grid(DATES, CODES), factors=3, workers=2,
                      executor=executor))


def test_numba_cfunc():
    numba = pytest.importorskip("numba")
    types = numba.types

    @numba.cfunc(types.int32(types.int64, types.CPointer(types.uint8), types.CPointer(types.double)))
    def function(date, code, factors):
        number = 0
        i = 0
        while code[i] != 0:
            number = number * 10 + (code[i] - 48)
            i += 1
        if number % 10 == 8:
            return -2147483647
        if number % 10 == 1:
            return 42
        factors[0] = date * 2.0
        factors[1] = number
        return 0

    for given in (function, function.address):
        check(facpool.run(given, facpool.grid(DATES, CODES), factors=2, workers=2))


def test_cffi_function(library):
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef("int32_t simple(int64_t date, const char *code, double *factors);")
    native = ffi.dlopen(library._name)
    check(facpool.run(ffi.addressof(native, "simple"), facpool.grid(DATES, CODES), factors=3, workers=2))
    address = int(ffi.cast("uintptr_t", ffi.addressof(native, "simple")))
    check(facpool.run(address, facpool.grid(DATES, CODES), factors=3, workers=2))


def test_python_goes_on_while_native_code_runs(library):
    """No GIL is held: a thread of the host counts meanwhile."""
    counted = []
    ending = threading.Event()

    def count():
        while not ending.is_set():
            counted.append(1)
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        facpool.run(library.simple, facpool.grid(DATES, CODES), factors=3, workers=2)
    finally:
        ending.set()
        thread.join()
    assert len(counted) >= 10


def test_backups_of_native_runs_resume(library, folder):
    grid = facpool.grid(DATES, CODES)
    facpool.run(library.fast, facpool.grid(DATES[:10], CODES), factors=1, backup="b")
    result = facpool.run(library.fast, grid, factors=1, backup="b", mode="resume")
    assert result.report.resumed == 500 and result.report.ok == 1500
    assert result["f0"].tolist() == [float(d) for d in DATES for _ in CODES]


def test_native_functions_need_to_be_told_how_many_factors(library):
    with pytest.raises((TypeError, ValueError), match="factors"):
        facpool.run(library.simple, facpool.grid(DATES, CODES))


def test_options_that_native_functions_cannot_have(library):
    for options in ({"kwargs": {"a": 1}}, {"worker_init": print}):
        with pytest.raises((TypeError, ValueError)):
            facpool.run(library.simple, facpool.grid(DATES, CODES), factors=3, **options)


def test_a_run_of_threads_after_runs_of_processes_and_the_other_way_round(library):
    """OpenMP in this process, then a fork of it: neither hangs."""
    grid = facpool.grid(DATES, CODES)
    for _ in range(2):
        assert facpool.run(library.fast, grid, factors=1, workers=2).report.ok == 2000
        for method in ("fork", "spawn"):
            result = facpool.run(lambda d, c: [1.0], grid, factors=1, workers=2, executor="process",
                                 start_method=method)
            assert result.report.ok == 2000
