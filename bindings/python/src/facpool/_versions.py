"""show_versions: what a bug report needs."""

from __future__ import annotations

import os
import platform
import sys
from typing import Dict, List, Optional

from . import _compat, _core

_LIBRARIES = ("numpy", "cloudpickle", "tqdm", "pandas", "polars", "pyarrow", "duckdb", "numba", "cffi")


def show_versions() -> None:
    """Prints the versions of the package, of Python, of the system and of the libraries that work
    with it, one a line. Imports none of them."""
    values: Dict[str, str] = {
        "facpool": _installed("facpool") or _core.VERSION,
        "C library": f"{_core.VERSION}, threads by {'OpenMP' if _core.HAS_OPENMP else 'one'}",
        "Python": f"{platform.python_version()} {platform.python_implementation()}",
        "GIL": "yes" if _compat.has_gil() else "no",
        "system": platform.platform(),
        "machine": f"{platform.machine()}, {_processors()} processors for this process",
        "executable": sys.executable or "unknown",
    }
    for name in _LIBRARIES:
        values[name] = _installed(name) or "not installed"
    for variable in _variables():
        values[variable] = os.environ[variable]
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value}")


def _variables() -> List[str]:
    return [name for name in sorted(os.environ) if name.endswith("_NUM_THREADS")]


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _installed(name: str) -> Optional[str]:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
