"""Functions of C given to ``run`` in place of a Python function: what counts as one, and how it is
called. Imports none of the libraries that make them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class Native:
    """An address, the extension's word for how it is called, and who keeps it alive."""

    address: int
    signature: str
    owner: Any


def find(func: Any, batch: bool) -> Optional[Native]:
    """The native function that ``func`` is, or None where it is a Python callable. Native are

    - an int: the address;
    - a numba ``cfunc``, or anything with an int attribute ``address``;
    - a ctypes function pointer;
    - a cffi function pointer (``ffi.addressof(lib, "name")`` in API mode).

    With ``batch`` it is a facpool_batch_fn. Else it is the simple kind, ``int32_t f(int64_t date,
    const char *code, double *factors)``, or a facpool_task_fn where its first parameter is known to
    be a pointer."""
    found = _address(func)
    if found is None:
        return None
    if not 0 < found < 1 << 64:
        raise ValueError(f"func={func!r}: address {found} is none of a function")
    if batch:
        return Native(found, "batch", func)
    return Native(found, "task" if _first_is_pointer(func) else "simple", func)


def _address(func: Any) -> Optional[int]:
    if isinstance(func, int) and not isinstance(func, bool):
        return func
    address = getattr(func, "address", None)
    if isinstance(address, int) and not isinstance(func, type):
        return address
    if _is_ctypes(func):
        import ctypes

        return ctypes.cast(func, ctypes.c_void_p).value or 0
    if _is_cffi(func):
        import cffi

        return int(cffi.FFI().cast("uintptr_t", func))
    return None


def _is_ctypes(func: Any) -> bool:
    ctypes = sys.modules.get("ctypes")
    return ctypes is not None and isinstance(func, ctypes._CFuncPtr)


def _is_cffi(func: Any) -> bool:
    backend = sys.modules.get("_cffi_backend")
    return backend is not None and isinstance(func, getattr(backend, "_CDataBase", backend.FFI.CData))


def _first_is_pointer(func: Any) -> bool:
    if _is_ctypes(func):
        import ctypes

        kinds = func.argtypes
        if not kinds:
            return False
        return issubclass(kinds[0], (ctypes._Pointer, ctypes.c_void_p, ctypes.c_char_p))
    if _is_cffi(func):
        import cffi

        kinds = cffi.FFI().typeof(func).args
        return bool(kinds) and kinds[0].kind in ("pointer", "array")
    signature = getattr(func, "_sig", None)  # numba
    parameters = getattr(signature, "args", None) or ()
    return any(str(parameter).endswith("*") for parameter in parameters[:1])
