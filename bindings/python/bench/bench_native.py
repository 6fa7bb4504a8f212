"""P11: a C function from Python, on threads and without the GIL, against the C library running it.

    bench_native.py --build FOLDER [--rounds N] [--workers N] [--quick]

The function is that of P1 (tests/bench): three factors in a few ns. It comes by ctypes and by cffi
out of a shared library, and from numba as a cfunc; the peer is a C program that runs it over the same
grid. FOLDER is a release build of the library, with the shared one.
"""

import ctypes
import pathlib
import subprocess
import sys

import facpool
import numba
import numpy as np
from numba import types

import measure
import work

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent


# ------------------------------------------------------------------ the function, four times


def by_ctypes(library):
    """In the library's own form: int (const facpool_task *, double *, void *)."""
    function = ctypes.CDLL(library).factors_of_task
    function.restype = ctypes.c_int
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return function


def by_ctypes_short(library):
    """In the short form: int32_t (int64_t date, const char *code, double *factors)."""
    function = ctypes.CDLL(library).factors_of_pair
    function.restype = ctypes.c_int32
    function.argtypes = [ctypes.c_int64, ctypes.c_char_p, ctypes.POINTER(ctypes.c_double)]
    return function


def by_cffi(library):
    import cffi

    ffi = cffi.FFI()
    ffi.cdef("int32_t factors_of_pair(int64_t date, const char *code, double *factors);")
    opened = ffi.dlopen(library)
    by_cffi.kept = opened  # closing it would take the code away
    return ffi.addressof(opened, "factors_of_pair")


def by_numba(library):
    @numba.njit(types.uint64(types.uint64), inline="always")
    def mix(x):
        x ^= x >> np.uint64(32)
        x *= np.uint64(0xD6E8FEB86659FD93)
        x ^= x >> np.uint64(32)
        return x * np.uint64(0xD6E8FEB86659FD93)

    @numba.njit(types.float64(types.uint64), inline="always")
    def unit_interval(bits):
        return np.int64(bits >> np.uint64(11)) * 2.0**-53

    @numba.cfunc(types.int32(types.int64, types.CPointer(types.uint8), types.CPointer(types.float64)))
    def factors(date, code, out):
        digits = np.uint64(0)
        for i in range(4):
            digits |= np.uint64(code[2 + i]) << np.uint64(8 * i)
        h = mix(np.uint64(date) << np.uint64(32) ^ digits)
        low, high = h & np.uint64(0xFFFFFFFF), h >> np.uint64(32)
        golden = np.uint64(0x9E3779B97F4A7C15)
        out[0] = (unit_interval(h) + unit_interval(h * golden) - 1.0) * 2.449489742783178
        out[1] = np.int64(np.uint64(500) + (low * np.uint64(9500) >> np.uint64(32))) / 100.0
        out[2] = np.int64(np.uint64(1) + (high * np.uint64(5000) >> np.uint64(32))) / 5000.0
        return 0

    return factors


# The others run the very code of the peer; what numba makes of it is slower by itself.
NUMBA = "numba cfunc, short form, as numba compiles it"
FUNCTIONS = {
    "ctypes, the library's own form": by_ctypes,
    "ctypes, short form": by_ctypes_short,
    "cffi, short form": by_cffi,
    NUMBA: by_numba,
}


# ------------------------------------------------------------------ building


def compile_c(output, *arguments):
    subprocess.run(["cc", "-O2", "-std=c11", "-D_GNU_SOURCE", f"-I{ROOT / 'include'}",
                    f"-I{ROOT / 'tests/bench'}", "-o", output, *map(str, arguments)], check=True)
    return output


def build_library(options):
    return compile_c(f"{options.dir}/libnative_factors.so", "-shared", "-fPIC",
                     HERE / "native_factors.c")


def build_peer(options):
    bench = ROOT / "tests/bench"
    return compile_c(f"{options.dir}/native_peer", HERE / "native_peer.c", bench / "bench.c",
                     bench / "bench_work.c", f"-L{options.build}/lib", f"-L{options.build}",
                     f"-Wl,-rpath,{options.build}/lib,-rpath,{options.build}", "-lfacpool", "-lm")


class Peer:
    """The C program, which runs once at every call."""

    def __init__(self, options, n_dates):
        self.process = subprocess.Popen([build_peer(options), str(n_dates), str(options.workers)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        bufsize=1)

    def __call__(self):
        self.process.stdin.write("go\n")
        return float(self.process.stdout.readline())


# ------------------------------------------------------------------ measuring


def timed(function, grid, options):
    def run():
        start = measure.now()
        result = facpool.run(function, grid, factors=work.NATIVE_FACTORS, workers=options.workers)
        columns = [result[name] for name in work.NATIVE_FACTORS]
        seconds = measure.now() - start
        timed.sums = [float(column.sum()) for column in columns]
        return seconds

    return run


def same_everywhere(functions, options):
    """All four must give the same bits."""
    grid = facpool.grid(work.weekdays(5), work.instruments(5000))
    columns = [np.column_stack([facpool.run(function, grid, factors=work.NATIVE_FACTORS,
                                            workers=options.workers)[name]
                                for name in work.NATIVE_FACTORS]) for function in functions]
    for other in columns[1:]:
        np.testing.assert_array_equal(columns[0], other)


def main():
    options = measure.parser(__doc__)
    options.add_argument("--build", required=True)
    options = options.parse_args()
    n_dates = 400 if options.quick else 2000
    library = build_library(options)
    functions = {name: make(library) for name, make in FUNCTIONS.items()}
    same_everywhere(functions.values(), options)
    grid = facpool.grid(work.weekdays(n_dates), work.instruments(5000))
    contestants = {name: timed(function, grid, options) for name, function in functions.items()}
    taken = measure.in_turns({"C": Peer(options, n_dates), **contestants},
                             measure.rounds_of(options, 9))

    n = n_dates * 5000
    print(f"\nP11: a C function of a few ns from Python, {n:,} tasks, results kept, {options.workers} "
          f"threads; peer: P1 of the C library,\nthe same function. {measure.machine()} "
          f"{measure.versions('numba', 'cffi')}.")
    rows = []
    for name in contestants:
        ratio = measure.ratio(taken[name], taken["C"])
        judged = name != NUMBA
        rows.append([name, measure.rate_cell(taken[name], n), measure.rate_cell(taken["C"], n),
                     f"{ratio:.2f}x", ">= 0.9x" if judged else "-",
                     measure.verdict(ratio >= 0.9) if judged else ""])
    measure.print_table(["what", "ours", "C library (P1)", "ratio", "target", "met"], rows)


if __name__ == "__main__":
    sys.exit(main())
