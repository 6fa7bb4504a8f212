"""Threads that BLAS and OpenMP libraries start of their own. N workers with N threads each are slower
than N workers with one, so one is the default, unless the user has set another number. Used by _start
and by what it starts."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Tuple

FOLLOW_OPENMP = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Where these are not set, OMP_NUM_THREADS counts."""

OTHERS = ("NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")

# Functions that get and set the number, by what a library's file name contains. Builds of OpenBLAS
# differ in the endings of their names.
_CALLS: Mapping[str, Tuple[Tuple[str, str], ...]] = {
    "openblas": tuple(
        (f"{start}openblas_get_num_threads{end}", f"{start}openblas_set_num_threads{end}")
        for start in ("scipy_", "")
        for end in ("64_", "")
    ),
    "libmkl_rt": (("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),),
    "libblis": (("bli_thread_get_num_threads", "bli_thread_set_num_threads"),),
    "libgomp": (("omp_get_max_threads", "omp_set_num_threads"),),
    "libiomp": (("omp_get_max_threads", "omp_set_num_threads"),),
    "libomp": (("omp_get_max_threads", "omp_set_num_threads"),),
}


def one_thread_each(environment: Mapping[str, str]) -> Dict[str, str]:
    """What to add to a worker's environment. What the user has set stays."""
    missing = [name for name in OTHERS if name not in environment]
    if not _is_set_by_user(environment):
        missing.append("OMP_NUM_THREADS")
        missing += [name for name in FOLLOW_OPENMP if name not in environment]
    return dict.fromkeys(missing, "1")


def _is_set_by_user(environment: Mapping[str, str]) -> bool:
    return "OMP_NUM_THREADS" in environment


class OneThread:
    """Has the libraries in this process use one thread until ``restore``: called around a fork, as
    a library that is told in the child starts its threads there to count them. A worker forked in
    between has one."""

    def __init__(self) -> None:
        self._before: List[Tuple[Any, int]] = []
        if not _is_set_by_user(os.environ):
            for path, calls in _loaded():
                self._limit(path, calls)

    def _limit(self, path: str, calls: Tuple[Tuple[str, str], ...]) -> None:
        import ctypes

        library = ctypes.CDLL(path)
        for get, put in calls:
            if hasattr(library, get) and hasattr(library, put):
                before = getattr(library, get)()
                if before > 1:
                    getattr(library, put)(1)
                    self._before.append((getattr(library, put), before))
                return

    def restore(self) -> None:
        while self._before:
            put, before = self._before.pop()
            put(before)


def _loaded() -> List[Tuple[str, Tuple[Tuple[str, str], ...]]]:
    """(path, calls) of the libraries in this process."""
    found: Dict[str, Tuple[Tuple[str, str], ...]] = {}
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                path = line[line.find("/") :].rstrip("\n") if "/" in line else ""
                name = os.path.basename(path)
                for word, calls in _CALLS.items():
                    if word in name and path not in found and os.path.exists(path):
                        found[path] = calls
    except OSError:
        pass  # not on this system
    return list(found.items())
