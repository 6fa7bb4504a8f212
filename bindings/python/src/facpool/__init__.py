"""Run a function of (date, code) over millions of tasks on every core, keep every finished row in a
backup file while it runs, resume after a crash, and ask questions of the rows.

>>> import facpool
>>> def factor(date, code):
...     return {"ma5": 1.0, "ma20": 2.0}
>>> result = facpool.run(factor, facpool.grid([20240102, 20240103], ["000001", "600519"]),
...                      backup="factors.arrow")
>>> rows = facpool.query("factors.arrow", start=20240103).to_pandas()

``run`` and ``query`` are what new code calls. ``run_pools`` and ``query_backup`` take and give plain
lists. All calls are documented where they are defined: ``help(facpool.run)``.

Names are looked up when they are first used, so that ``import facpool`` is quick and loads nothing
that starts threads (NumPy's BLAS does): a process with one thread can fork its workers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, List

from . import _core
from ._core import (
    AbiError,
    BackupIOError,
    BusyError,
    CancelledError,
    CorruptError,
    DuplicateError,
    Error,
    ExistsError,
    FactorNotFoundError,
    ForkedError,
    InvalidError,
    MismatchError,
    NoMemoryError,
    NotFoundError,
    StateError,
    SystemFault,
    TaskError,
    Tasks,
    UnsupportedError,
    WorkerError,
)

if TYPE_CHECKING:
    from ._files import compact, convert, info, repair, verify
    from ._pools import query_backup, run_pools
    from ._query import Query, query
    from ._record import Record
    from ._result import Result
    from ._run import run
    from ._tasks import grid, tasks
    from ._versions import show_versions

__version__ = _core.VERSION

_WHERE = {
    "run": "_run",
    "query": "_query",
    "grid": "_tasks",
    "tasks": "_tasks",
    "run_pools": "_pools",
    "query_backup": "_pools",
    "info": "_files",
    "verify": "_files",
    "repair": "_files",
    "convert": "_files",
    "compact": "_files",
    "show_versions": "_versions",
    "Result": "_result",
    "Query": "_query",
    "Record": "_record",
}

__all__ = [
    "AbiError",
    "BackupIOError",
    "BusyError",
    "CancelledError",
    "CorruptError",
    "DuplicateError",
    "Error",
    "ExistsError",
    "FactorNotFoundError",
    "ForkedError",
    "InvalidError",
    "MismatchError",
    "NoMemoryError",
    "NotFoundError",
    "Query",
    "Record",
    "Result",
    "StateError",
    "SystemFault",
    "TaskError",
    "Tasks",
    "UnsupportedError",
    "WorkerError",
    "compact",
    "convert",
    "grid",
    "info",
    "query",
    "query_backup",
    "repair",
    "run",
    "run_pools",
    "show_versions",
    "tasks",
    "verify",
]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'facpool' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"facpool.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
