"""What differs between systems and Pythons, and small questions about this process: asked by the
modules that start runs. Imports nothing that starts threads."""

from __future__ import annotations

import os
import sys
import threading

HAS_PROCESSES = sys.platform == "linux"
"""Whether worker processes can be had."""


def has_gil() -> bool:
    """Whether threads of this interpreter wait for each other when they run Python code."""
    is_enabled = getattr(sys, "_is_gil_enabled", None)
    return True if is_enabled is None else bool(is_enabled())


def other_threads() -> int:
    """How many threads this process has besides the calling one; those of libraries (BLAS, OpenMP,
    Arrow, polars) count, where the system tells of them."""
    try:
        return max(0, len(os.listdir("/proc/self/task")) - 1)
    except OSError:
        return max(0, threading.active_count() - 1)


def thread_names() -> str:
    """A few words on those threads, for messages."""
    total = other_threads()
    python = [t.name for t in threading.enumerate() if t is not threading.current_thread()]
    parts = [f"{name!r}" for name in python[:5]]
    if total > len(python):
        parts.append(f"{total - len(python)} of libraries (BLAS, OpenMP, Arrow, polars, ...)")
    return f"{total} other thread{'s' if total != 1 else ''}: " + ", ".join(parts)
