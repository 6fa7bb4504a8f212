"""run_pools and query_backup: lists in, lists out, as in the library whose users this one takes over.
Thin: what they do is ``run``'s and ``query``'s."""

from __future__ import annotations

import os
import warnings
from typing import Any, Callable, Iterable, List, Optional, Tuple

from . import _core, _options
from ._files import Path
from ._probe import ProbeFailed
from ._run import Plan, make_plan
from ._tasks import Source, date_number


class _Default(str):
    """A default that can be told from the same text given by a caller."""


_JSON = _Default("json")


def run_pools(
    func: Callable[..., Any],
    args: Any,
    num_threads: Optional[int] = None,
    backup_file: Optional[Path] = None,
    backup_batch_size: int = 1000,
    backup_async: bool = True,
    storage_format: str = "binary",
    resume_from_backup: bool = False,
    progress_callback: Optional[Callable[[int, int, float, float], Any]] = None,
) -> List[List[Any]]:
    """Calls ``func(date, code)`` for each of ``args`` in worker processes, and gives the list of
    ``[date, code, *factors]`` in the order of ``args``.

    args                (date, code) tuples, or anything ``facpool.tasks`` takes. A pair that occurs
                        several times is computed once and given each time
    num_threads         how many workers; None: as many as the machine allows
    backup_file         keeps the rows while the run goes on; see ``query_backup``. A file that is
                        there is replaced, unless resume_from_backup is true (``run`` refuses that)
    backup_batch_size   rows are handed to the file when so many wait, or after a second
    backup_async        whether a thread of its own writes
    storage_format      "binary", "json" or "memory_map", whatever the suffix; a file that is
                        continued stays what it is
    resume_from_backup  continue the file: only tasks without a row in it are run, those that failed
                        are tried again; the list has the rows of all of ``args``
    progress_callback   called with (completed, total, elapsed_time, speed): tasks, seconds and tasks
                        a second; an exception it raises ends the run and comes out

    A task whose function returns None is left out. A task that fails (an exception, a row of another
    length, something that is no number) is left out too, with one warning in all, which says how
    many they are and quotes the first; their messages are in the backup. Values are never NaN unless
    the function returned NaN."""
    plan = _plan(
        func,
        num_threads,
        {
            "path": _options.path("backup_file", backup_file),
            "format": _options.one_of("storage_format", storage_format, _options.FORMATS),
            "mode": "resume" if resume_from_backup else "overwrite",
            "batch_rows": _options.count("backup_batch_size", backup_batch_size),
            "no_async": not backup_async,
        },
        progress_callback,
    )
    source = Source(args)
    try:
        return _rows(plan, source, None)
    except _core.DuplicateError:
        unique, numbers = _without_duplicates(source.tasks())
        plan.known = {int(numbers[index]): row for index, row in plan.known.items()}
        return _rows(plan, Source(unique), numbers)
    except ProbeFailed as failed:
        if not failed.whole:
            raise
        _warn(failed.count, failed.task, failed.first, stacklevel=3)
        return []


def _plan(func: Any, workers: Optional[int], backup: Any, progress_callback: Any) -> Plan:
    if not callable(func):
        raise TypeError(f"func={func!r}: give a function of (date, code)")
    _options.function("progress_callback", progress_callback)
    path = backup["path"]
    if path is not None and backup["mode"] == "resume" and os.path.lexists(path):
        backup["format"] = None  # the file's own
    return make_plan(
        func,
        factors=None,
        batch=False,
        kwargs=None,
        worker_init=None,
        executor=None,
        start_method=None,
        timeout=None,
        progress=_progress_of(progress_callback),
        backup=backup,
        group_by=None,
        attempts=1,
        workers=_options.count("num_threads", workers, 1, 4096),
        on_error="continue",
        results="keep",
        memory_limit_bytes=None,
        tasks_per_worker=None,
        dry_run=False,
    )


def _progress_of(callback: Any) -> Any:
    if callback is None:
        return None
    return lambda p: callback(p["done"], p["total"], p["elapsed"], p["rate"])


def _rows(plan: Plan, source: Source, numbers: Any) -> List[List[Any]]:
    result = plan.execute(source)
    first = result.first_failure
    if first is not None:
        _warn(result.failure_count, (first.date, first.code), first.message, stacklevel=4)
    return result._core.rows(numbers) if len(result) else []


def _warn(count: int, key: Any, message: str, stacklevel: int) -> None:
    many = (
        f"{count} tasks failed and are left out, the first"
        if count > 1
        else "1 task failed and is left out:"
    )
    warnings.warn(f"{many} {key}:\n{message}", RuntimeWarning, stacklevel=stacklevel)


def _without_duplicates(tasks: "_core.Tasks") -> Tuple["_core.Tasks", Any]:
    """The tasks as they first occur, and for each given task its number among them."""
    import numpy

    dates = numpy.asarray(tasks.dates())
    index, codes = tasks.code_index()
    numbers = numpy.asarray(index)
    _, days = numpy.unique(dates, return_inverse=True)
    keys = days.reshape(-1).astype(numpy.int64) * len(codes) + numbers
    _, firsts, places = numpy.unique(keys, return_index=True, return_inverse=True)
    order = numpy.argsort(firsts)
    rank = numpy.empty(len(order), numpy.int64)
    rank[order] = numpy.arange(len(order))
    kept = firsts[order]
    unique = _core.Tasks.from_columns(dates[kept], [codes[number] for number in numbers[kept].tolist()])
    return unique, rank[places.reshape(-1)]


# ------------------------------------------------------------------ query_backup


def query_backup(
    backup_file: Path,
    date_range: Optional[Tuple[Any, Any]] = None,
    codes: Optional[Iterable[str]] = None,
    storage_format: str = _JSON,
) -> List[List[Any]]:
    """The rows of a backup as lists ``[date, code, timestamp, *factors]``, sorted by date and code.

    backup_file     path of a backup, also one that is being written
    date_range      (first, last), both included; either may be None
    codes           only these; an empty list matches nothing
    storage_format  accepted as scripts give it; the format is found from the file's content, and
                    one that was given and differs only warns

    Timestamps are integer milliseconds since 1970 UTC, of when the row was computed. Tasks that were
    skipped or failed are not in the list. A missing file is FileNotFoundError."""
    _options.one_of("storage_format", storage_format, _options.FORMATS)
    start, end = _range(date_range)
    if isinstance(codes, str):
        codes = [codes]
    reader = _core.Reader([backup_file])
    if storage_format is not _JSON:
        _check_format(backup_file, storage_format)
    damage: List[str] = []
    conditions: Any = {
        "date_min": start,
        "date_max": end,
        "codes": None if codes is None else list(codes),
        "order": "key",
        "damage": damage.append,
    }
    rows = reader.rows(conditions, "ms")
    if damage:
        warnings.warn(
            f"{len(damage)} damaged blocks left out: {damage[0]}", RuntimeWarning, stacklevel=2
        )
    return rows


def _range(date_range: Optional[Tuple[Any, Any]]) -> Tuple[Optional[int], Optional[int]]:
    if date_range is None:
        return None, None
    try:
        start, end = date_range
    except (TypeError, ValueError):
        raise ValueError(f"date_range={date_range!r}: give (first, last)") from None
    return (
        None if start is None else date_number(start),
        None if end is None else date_number(end),
    )


def _check_format(path: Path, storage_format: str) -> None:
    found = _core.info(path)["format"]
    if storage_format != found:
        warnings.warn(
            f"backup {os.fsdecode(path)!r} is of the format {found!r}, not {storage_format!r}: it is "
            "read as what it is",
            UserWarning,
            stacklevel=3,
        )
