"""run: the one call that starts work. Turns what it is given into options of the extension, finds out
how wide rows are, chooses executor and start method, waits for the end, and gives the Result."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional, Union

from . import _compat, _core, _native, _options, _probe, _progress
from ._probe import Shape, Work
from ._start import METHODS, Starter, starter
from ._tasks import Source
from ._worker import run_worker_init

if TYPE_CHECKING:
    from ._result import Result

POLL_SECONDS = 0.1
GRACE_SECONDS = 2.0
"""How long tasks in hand are waited for after Ctrl-C before workers are killed."""

E_EXISTS = -5

_log = logging.getLogger("facpool")


def run(
    func: Any,
    tasks: Any,
    *,
    factors: Union[int, Iterable[str], None] = None,
    workers: Optional[int] = None,
    executor: Optional[str] = None,
    batch: bool = False,
    group_by: Optional[str] = None,
    backup: Any = None,
    storage_format: Optional[str] = None,
    mode: str = "create",
    tag: Optional[str] = None,
    retry_failed: bool = True,
    attempts: int = 1,
    timeout: Optional[float] = None,
    on_error: str = "continue",
    worker_init: Optional[Callable[[], Any]] = None,
    kwargs: Optional[Mapping[str, Any]] = None,
    batch_rows: int = 1000,
    flush: float = 1.0,
    durability: str = "group",
    progress: Any = None,
    results: Optional[str] = None,
    start_method: Optional[str] = None,
    memory_limit: Union[int, str, None] = None,
    tasks_per_worker: Optional[int] = None,
    dry_run: bool = False,
) -> "Result":
    """Calls ``func(date, code, **kwargs)`` for every task, on every core, and gives the Result.

    ``func`` gets an int and a str and returns a row: a sequence of numbers, a dict of them by factor
    name, a number where there is one factor, or None for "nothing here" (the task is skipped, which
    is final and no failure). An exception, a row of another length, or anything in it that is no
    number (None, text and bool are none, NaN is one) is that task's failure and costs its row; the
    message, with the whole traceback, is kept. Lambdas, closures, functions of ``__main__`` without
    a guard and of notebooks work.

    What to run
    tasks         see ``facpool.tasks``; or ``facpool.grid(dates, codes)``
    factors       their names, or how many; None: names from the first dict returned, else the width
                  of the first row in task order. To find out, the first tasks are run one by one in
                  a child process, and what they give is used: no task is computed twice (but one
                  that crashes or takes too long)
    batch         func(dates, codes) gets the tasks of a slice as NumPy arrays (int64, objects that
                  are str) and returns an array of a row each, a dict of columns, or None for
                  nothing here; rows of a masked array that are masked whole are skipped
    group_by      "code" or "date": a slice is all tasks of a code (one file an instrument) or of a
                  date (cross-sections), never split; without batch, they go to one worker
    kwargs        passed on to each call; worker_init: called once in each worker, without arguments

    Where to run
    executor      "process" (default), "threads" (default without the GIL, and for native functions)
                  or "serial": in the calling thread, for pdb
    workers       how many; None: what machine, cgroup, affinity and OMP_NUM_THREADS allow
    start_method  "fork", "spawn", or None for what is safe: "fork" where the process has one thread,
                  else "spawn": a fresh process gets func and all it refers to once, by cloudpickle
    memory_limit  bytes, or "2GB": a worker above it is replaced when a task ends
    tasks_per_worker  a worker is replaced after so many

    What becomes of failures
    attempts      calls that a failing task gets in all
    timeout       seconds that a call may take ("process" only); a task above it, or that kills its
                  worker, is tried again while it has attempts left, then its status is timeout or
                  crashed
    on_error      "continue", or "stop": the first failure ends the run. A run whose first 100 tasks
                  all fail ends in any case

    What becomes of rows
    backup        path of a file that keeps every finished row; see ``facpool.query``
    storage_format  "binary", "json" or "memory_map" (an Arrow file); None: by the suffix (.jsonl,
                  .arrow, else binary)
    mode          "create": the file must not exist; "resume": create, or continue: only tasks
                  without an ok or skipped row are run; "overwrite"
    retry_failed  whether resume runs tasks again that failed
    tag           which version of func this is: resuming with another is refused
    batch_rows, flush  rows are handed to the file when so many wait, or after so many seconds
    durability    "group": a sync every 100 ms or 64 MiB; "batch": after every block; "none"
    results       None: in memory, or read from the backup when asked for; "keep": in memory;
                  "drop": only the report
    dry_run       only report what would run, and why; nothing is called

    progress      True: a bar (tqdm's where it is installed); or a function that is given a Record
                  (done, total, resumed, ok, skipped, failed, rows_written, rows_durable, elapsed,
                  rate, eta) about ten times a second and at the end; if it raises, the run ends and
                  that exception comes out

    ``func`` may be a native function too (a numba cfunc, a ctypes or cffi function pointer, an
    address): ``int32_t f(int64_t date, const char *code, double *factors)``, which returns 0,
    -2147483647 for nothing here, or a failure code; or, where its first parameter is declared a
    pointer, a facpool_task_fn; with batch, a facpool_batch_fn. It runs on threads without the GIL.

    Ctrl-C ends the run after the tasks in hand, at most two seconds later, closes the backup and
    raises KeyboardInterrupt; ``mode="resume"`` goes on from there. What ends a run early raises an
    exception whose attribute ``result`` has the Result: TaskError (on_error, or the first 100 failed,
    or worker_init), BackupIOError (the file can't be written), WorkerError. What keeps it from
    starting: ExistsError (a FileExistsError), MismatchError, DuplicateError (ValueErrors), BusyError,
    NotFoundError (the backup's folder), ... Notes go to ``logging.getLogger("facpool")``."""
    plan = make_plan(
        func,
        factors=factors,
        batch=batch,
        kwargs=kwargs,
        worker_init=worker_init,
        executor=executor,
        start_method=start_method,
        timeout=timeout,
        progress=progress,
        group_by=_options.one_of("group_by", group_by, ("date", "code")),
        attempts=_options.count("attempts", attempts),
        workers=_options.count("workers", workers, 1, 4096),
        on_error=_options.one_of("on_error", on_error, ("continue", "stop")),
        results=_options.one_of("results", results, ("keep", "drop")),
        memory_limit_bytes=_options.size("memory_limit", memory_limit),
        tasks_per_worker=_options.count("tasks_per_worker", tasks_per_worker),
        dry_run=_options.flag("dry_run", dry_run),
        backup={
            "path": _options.path("backup", backup),
            "format": _options.one_of("storage_format", storage_format, _options.FORMATS),
            "mode": _options.one_of("mode", mode, ("create", "resume", "overwrite")),
            "tag": _options.text("tag", tag),
            "batch_rows": _options.count("batch_rows", batch_rows),
            "flush_ms": _options.seconds("flush", flush),
            "durability": _options.one_of("durability", durability, ("group", "none", "batch")),
            "retry_failed": _options.flag("retry_failed", retry_failed),
        },
    )
    return plan.execute(Source(tasks))


# ------------------------------------------------------------------ the plan


@dataclass
class Plan:
    """A run that is decided on, but for its tasks. ``options`` are the extension's."""

    work: Optional[Work]
    native: Optional[_native.Native]
    executor: str
    start_method: Optional[str]
    timeout: Optional[float]
    width: Optional[int]
    names: Optional[List[str]]
    progress: Any
    options: Dict[str, Any]
    known: Dict[int, Any] = field(default_factory=dict)

    @property
    def backup(self) -> Dict[str, Any]:
        found: Dict[str, Any] = self.options.get("backup") or {}
        return found

    def execute(self, source: Source) -> "Result":
        """Runs it. A second call with other tasks uses what the first found out (``known`` is by
        index, so it is the caller's to change)."""
        self._take_shape_of_backup()
        if self.executor == "process" and self.work is not None and not self.options["dry_run"]:
            return self._run_in_processes(source, self.work)
        tasks = source.tasks()
        if self.options["dry_run"]:
            return self._run_here(tasks, _Prepare(None))
        prepare = _Prepare(self.work.worker_init if self.work else None, self.executor == "serial")
        if self.work is not None and self.width is None:
            self._probe(tasks, _probe.Here(self.work, prepare))
        if self.executor == "serial":
            return self._run_here(tasks, prepare)
        return self._follow(tasks, {**self._details(), "worker_init": prepare.or_none()}, None)

    # -------------------------------------------------------------- how wide rows are

    def _take_shape_of_backup(self) -> None:
        """A backup that is continued says which factors it has."""
        path = self.backup.get("path")
        if path is None or self.names is not None or not os.path.lexists(path):
            return
        if self.backup["mode"] == "resume":
            try:
                names = _core.info(path)["factor_names"]
            except _core.Error as error:
                _log.debug("no factors from %r: %s", path, error)
                return
            if self.width is None or self.width == len(names):
                self.width, self.names = len(names), list(names)
        elif self.backup["mode"] == "create" and self.width is None and not self.options["dry_run"]:
            shown = os.fsdecode(path)
            raise _core.make_error(
                E_EXISTS,
                f"backup {shown!r} is there already: give another path, mode='resume' or 'overwrite'",
            )

    def _probe(self, tasks: "_core.Tasks", asker: _probe.Asker) -> None:
        assert self.work is not None
        shape = _probe.find_shape(
            tasks,
            asker,
            self.options["group_by"] if self.work.batch else None,
            self.timeout,
            self.options["on_error"] == "stop",
        )
        if len(tasks):
            self._take(shape)
        else:
            self.options["backup"] = None  # of no rows, with a width that nobody knows

    def _take(self, shape: Shape) -> None:
        if shape.width:
            self.width, self.names = shape.width, shape.names
        elif self.backup:
            _log.warning(
                "backup %r is not written: no task gave a row, so the number of factors is not known",
                os.fsdecode(self.backup["path"]),
            )
            self.options["backup"] = None
        self.known.update(shape.known)

    def _details(self) -> Dict[str, Any]:
        """Of options, what the workers' side must know too."""
        width = self.width or 1
        names = self.names or [f"f{i}" for i in range(width)]
        details: Dict[str, Any] = {
            "n_factors": width,
            "factor_names": names,
            "known": self.known or None,
            "group_by": self.options["group_by"],
            "batch": bool(self.work and self.work.batch),
        }
        if details["batch"]:
            from ._batch import BatchCall

            details["batch_call"] = BatchCall(names)
        return details

    # -------------------------------------------------------------- where it runs

    def _run_in_processes(self, source: Source, work: Work) -> "Result":
        workers = starter(self.start_method, work)
        in_order = False
        try:
            tasks = source.tasks()
            if self.width is None:
                self._probe(tasks, workers)
            result = self._follow(tasks, workers.options(self._details()), workers)
            in_order = True
            return result
        finally:
            workers.finish(in_order)

    def _run_here(self, tasks: "_core.Tasks", prepare: "_Prepare") -> "Result":
        display = _progress.make(self.progress)
        seen: List[Any] = []

        def show(progress: "_core.Progress") -> None:
            seen[:] = [progress]
            display.show(progress)

        options = self._all_options({**self._details(), "worker_init": prepare.or_none()})
        options.update(
            executor="serial", timeout_ms=None, tasks_per_worker=None, memory_limit_bytes=None
        )
        outcome = _core.run_serial(tasks, options, show, int(POLL_SECONDS * 1000))
        return self._conclude(outcome, None, display, seen[0] if seen else None, None)

    def _follow(
        self, tasks: "_core.Tasks", more: Dict[str, Any], workers: Optional[Starter]
    ) -> "Result":
        display = _progress.make(self.progress)
        handle = _core.start(tasks, self._all_options(more))
        if workers is not None:
            workers.started()
        stopped = _watch(handle, display)
        outcome = _wait(handle)
        method = None if workers is None else workers.method
        return self._conclude(outcome, stopped, display, handle.progress, method)

    def _all_options(self, more: Dict[str, Any]) -> Any:
        options = {**self.options, "executor": self.executor, "log": _log.warning, **more}
        if self.native is not None:
            options.update(
                native=self.native.address,
                native_signature=self.native.signature,
                keep=self.native.owner,
            )
        elif "func" not in options and self.work is not None:
            options.update(func=self.work.func, kwargs=self.work.kwargs)
        return options

    def _conclude(
        self,
        outcome: "_core.Outcome",
        stopped: Optional[BaseException],
        display: _progress.Display,
        progress: Any,
        start_method: Optional[str],
    ) -> "Result":
        from ._result import Result

        code, _, core, exception = outcome
        error = stopped or exception
        details = {"executor": self.executor, "start_method": start_method}
        result = None if core is None else Result(core, details)
        try:
            display.end(progress, error is None)
        except BaseException as raised:
            error = error or raised
        if error is None:
            assert result is not None, code
            return result
        try:
            error.result = result  # type: ignore[attr-defined]
        except AttributeError:
            pass  # an exception without room for it
        raise error


class _Prepare:
    """worker_init of a run on threads of this process; ``once``: on one thread, probe included."""

    def __init__(self, worker_init: Optional[Callable[[], Any]], once: bool = False) -> None:
        self._worker_init = worker_init
        self._once = once
        self._is_done = False

    def __call__(self, worker: int) -> None:
        if not self._is_done:
            self._is_done = self._once
            run_worker_init(self._worker_init)

    def or_none(self) -> Optional["_Prepare"]:
        return None if self._worker_init is None else self


# ------------------------------------------------------------------ waiting


def _watch(handle: "_core.Run", display: _progress.Display) -> Optional[BaseException]:
    """Waits for the end, showing progress. Gives the exception that is to end the run early: Ctrl-C,
    or one of the user's progress function."""
    while True:
        try:
            over, progress = handle.poll(POLL_SECONDS)
        except BaseException as error:
            _end_soon(handle)
            return error
        try:
            display.show(progress)
        except Exception as error:
            handle.cancel()
            return error
        except BaseException as error:
            _end_soon(handle)
            return error
        if over:
            return None


def _end_soon(handle: "_core.Run") -> None:
    """Cancels, and kills what has not ended after a while, or when asked again."""
    handle.cancel()
    end = time.monotonic() + GRACE_SECONDS
    try:
        while time.monotonic() < end:
            if handle.poll(0.05)[0]:
                return
    except BaseException:
        pass  # Ctrl-C again: at once
    handle.kill()


def _wait(handle: "_core.Run") -> "_core.Outcome":
    while True:
        try:
            return handle.wait()
        except _core.Error:
            raise
        except BaseException:  # Ctrl-C while the run ends
            handle.kill()


# ------------------------------------------------------------------ from arguments to a plan


def make_plan(
    func: Any,
    *,
    factors: Any,
    batch: bool,
    kwargs: Optional[Mapping[str, Any]],
    worker_init: Any,
    executor: Optional[str],
    start_method: Optional[str],
    timeout: Optional[float],
    progress: Any,
    backup: Dict[str, Any],
    **options: Any,
) -> Plan:
    """Checks what is left to check. ``options`` and ``backup`` are the extension's already."""
    width, names = _options.factors(factors)
    _options.one_of("start_method", start_method, METHODS)
    _options.function("worker_init", worker_init)
    _progress.make(progress)
    native = _native.find(func, _options.flag("batch", batch))
    if native is None and not callable(func):
        raise TypeError(f"func={func!r}: give a function of (date, code), or a native function")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs={kwargs!r}: give a dict")
    work = None
    if native is None:
        work = Work(func, dict(kwargs or {}), worker_init, batch, options["attempts"] or 1)
    else:
        _check_native(width, backup, kwargs, worker_init, start_method)
    chosen = _executor(executor, native is not None)
    options["timeout_ms"] = _options.seconds("timeout", timeout)
    _check_processes(chosen, start_method, options)
    options["backup"] = backup if backup["path"] is not None else None
    return Plan(work, native, chosen, start_method, timeout, width, names, progress, options)


def _executor(asked: Optional[str], is_native: bool) -> str:
    _options.one_of("executor", asked, ("process", "threads", "serial"))
    if asked is not None:
        return asked
    if is_native or not _compat.has_gil() or not _compat.HAS_PROCESSES:
        return "threads"
    return "process"


def _check_native(
    width: Optional[int],
    backup: Dict[str, Any],
    kwargs: Any,
    worker_init: Any,
    start_method: Optional[str],
) -> None:
    if width is None and backup["mode"] != "resume":
        raise ValueError(
            "factors=None: how many a native function fills in can't be found out: give factors"
        )
    if kwargs or worker_init is not None:
        raise ValueError("a native function takes neither kwargs nor worker_init: leave them out")
    if start_method == "spawn":
        raise ValueError("a native function has its address in this process alone: start_method='fork'")


def _check_processes(executor: str, start_method: Optional[str], options: Dict[str, Any]) -> None:
    if executor == "process":
        return
    given = {
        "timeout": options["timeout_ms"],
        "memory_limit": options["memory_limit_bytes"],
        "tasks_per_worker": options["tasks_per_worker"],
        "start_method": start_method,
    }
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} is for worker processes, and the executor is {executor!r}: leave it out"
            )
