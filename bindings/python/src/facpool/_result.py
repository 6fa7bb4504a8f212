"""Result: what ``run`` gives. A view of the extension's result object, which owns the rows; arrays
given out lie in its memory and keep it alive."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from . import _core
from ._record import Record, record
from ._table import OK, Cells, Table


class Result(Table):
    """What a run left.

    As columns it has an entry for every task, in the order of the tasks: ``result["ma5"]``,
    ``result.dates``, ``result.codes``, ``result.status``; ``len(result)`` is the number of tasks.
    These arrays are read-only and not copied; a factor is NaN where the task is not ok.

    As a table (iteration, ``to_pandas``, ``pivot``, ``__arrow_c_stream__``, so that
    ``polars.DataFrame(result)`` and ``pyarrow.table(result)`` work, any number of times) it has the
    rows that are ok, in the order of the tasks.

    With a backup and no ``results="keep"`` the rows are read from the backup when they are first
    asked for; it must then still be there."""

    def __init__(self, core: "_core.Result", details: Dict[str, Any]) -> None:
        self._core = core
        self._details = details
        self._report: Optional[Record] = None
        self._arrays: Dict[Any, Any] = {}
        self._index: Optional[Tuple[Any, List[str]]] = None

    # -------------------------------------------------------------- columns by task

    def __len__(self) -> int:
        return self._core.count

    @property
    def factor_names(self) -> List[str]:  # type: ignore[override]
        """What a row holds, in its order: as given, as in the first dict, or f0, f1, ..."""
        return list(self._core.factor_names)

    def __getitem__(self, name: str) -> Any:
        """A factor by its name (or ``"date"``, ``"code"``, ``"status"``), in task order."""
        fixed = {"date": "dates", "code": "codes", "status": "status"}.get(name)
        if fixed is not None:
            return getattr(self, fixed)
        names = self._core.factor_names
        if name not in names:
            raise KeyError(f"there is no factor {name!r}: there are {', '.join(names)}")
        return self._array(name, lambda: self._core.factor(names.index(name)))

    @property
    def dates(self) -> Any:
        """int64, in task order."""
        return self._array(0, self._core.dates if len(self) else self._core.tasks.dates)

    @property
    def codes(self) -> Any:
        """Texts, as an array of objects, in task order."""
        if "codes" not in self._arrays:
            self._arrays["codes"] = Cells(None, *self._code_index()).code_array()
        return self._arrays["codes"]

    def _code_index(self) -> Tuple[Any, List[str]]:
        """(numbers, distinct codes): see Cells."""
        if self._index is None:
            numbers, distinct = self._core.tasks.code_index()
            self._index = np.asarray(numbers), distinct
        return self._index

    @property
    def status(self) -> Any:
        """uint8, in task order: 1 ok, 2 skipped, 3 failed, 4 timeout, 5 crashed, 0 not run."""
        return self._array(1, self._core.status)

    @property
    def ok(self) -> Any:
        """Which tasks are ok, in task order, as bools: ``result["ma5"][result.ok]``."""
        return self.status == OK

    def _array(self, key: Any, get: Any) -> Any:
        if key not in self._arrays:
            self._arrays[key] = np.asarray(get())
        return self._arrays[key]

    # -------------------------------------------------------------- the table

    def _cells(self) -> Cells:
        columns = {name: self[name] for name in self._core.factor_names}
        cells = Cells(self.dates, *self._code_index(), columns)
        rows = self.ok
        return cells if rows.all() else cells.take(rows)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """A fresh Arrow stream of the ok rows at every call: date int64, code utf8, the factors
        float64. The schema is not changed on request."""
        return self._core.stream({"columns": ("date", "code")})

    def rows(self) -> List[List[Any]]:
        """The ok rows as lists ``[date, code, *factors]``, in the order of the tasks."""
        return self._core.rows() if len(self) else []

    # -------------------------------------------------------------- what went wrong

    @property
    def report(self) -> Record:
        """What the run did: counts of tasks by status (``total``, ``resumed``, ``ok``, ``skipped``,
        ``failed``, ``timeout``, ``crashed``, ``not_run``), why tasks were run (``new_tasks``,
        ``retry_failed``, ...), ``rows_written`` and ``rows_durable``, ``workers``, seconds
        (``elapsed``, and summed over workers ``compute``, ``wait``, ``write``), the first
        ``failures``, the ``slowest`` stretches of work, and ``executor`` and ``start_method``
        ("fork", "spawn", or None where there are no worker processes)."""
        if self._report is None:
            self._report = record({**self._core.report(), **self._details})
        return self._report

    @property
    def failures(self) -> List[Record]:
        """Tasks that failed, timed out or crashed, in task order, each with ``index``, ``date``,
        ``code``, ``status``, ``failure_code`` (1 the function raised, 2 a row of another length, 3
        a value that is no number, others: a native function's) and ``message`` (the whole traceback
        where the function raised). All of them, or the first 20 where rows were dropped."""
        return [record(failure) for failure in self._core.failures()]

    @property
    def failure_count(self) -> int:
        """How many ``failures`` there are, without making them."""
        report = self.report
        counted: int = report.failed + report.timeout + report.crashed
        return max(counted, self._core.n_failures())

    @property
    def first_failure(self) -> Optional[Record]:
        """The first of ``failures`` in task order, or None."""
        found = self._core.failures(1)
        return record(found[0]) if found else None

    def raise_if_failed(self) -> None:
        """Raises TaskError, with the number of failed tasks and the first one's message, unless
        every task is ok or skipped."""
        if self.failure_count or self.report.not_run:
            raise task_error(self.failure_count, self.first_failure, self)

    # -------------------------------------------------------------- looks

    def __repr__(self) -> str:
        report = self.report
        done = report.ok + report.resumed
        parts = [f"{done:,} ok" if not report.resumed else f"{done:,} done ({report.resumed:,} before)"]
        for name in ("skipped", "failed", "timeout", "crashed", "not_run"):
            if report[name]:
                parts.append(f"{report[name]:,} {name.replace('_', ' ')}")
        names = self._core.factor_names
        shown = ", ".join(names[:8]) + (f", ... {len(names)} in all" if len(names) > 8 else "")
        tasks = f"{len(self):,} task{'' if len(self) == 1 else 's'}"
        return f"<facpool.Result of {tasks}: {', '.join(parts)}; factors {shown}>"

    def _repr_html_(self) -> str:
        try:
            return self._html(repr(self)[1:-1], len(self))
        except _core.Error:  # the rows were dropped
            return self._html(repr(self)[1:-1], None)


def task_error(count: int, first: Optional[Record], result: Any) -> "_core.TaskError":
    """The exception for tasks that failed, with the result as its attribute ``result``."""
    if first is None:
        message = f"{count:,} tasks failed" if count else "not every task was run"
        error = _core.TaskError(message)
    else:
        many = f"{count:,} tasks failed, the first" if count > 1 else "1 task failed:"
        key = (first["date"], first["code"])
        error = _core.TaskError(f"{many} {key} ({first['status']}):\n{first['message']}")
        error.task = key
    error.result = result  # type: ignore[attr-defined]
    return error
