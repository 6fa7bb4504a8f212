"""The C extension: conversions, hot loops and the GIL. No policy lives here.

This file is the contract between the extension and the Python modules of the package. Everything
in it is private to the package, apart from the exceptions, which ``facpool`` re-exports.

Conventions
- Times are seconds where the name says nothing, else as the name says (``_ms``, ``_us``).
- An ``Int64s`` argument is any C-contiguous buffer of 8-byte signed integers (NumPy int64,
  ``array('q')``, a ``Buffer``) or a sequence of ints. A ``Strs`` argument is a sequence of str.
- Paths are str, bytes or os.PathLike.
- Wrong types raise TypeError, values the library refuses raise an ``Error``.
- No call holds the GIL while it waits in the library.
- Objects are freed with their last reference. In a forked child the handles of the parent are
  never freed. Objects may be shared between threads; a call that must not overlap another one
  (``Run.poll``, ``Run.wait``) raises StateError when it does.

Changes since the first version of this file: none.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, Union

Int64s = Any
Strs = Sequence[str]
Path = Any
Row = Union[Sequence[float], None, str]

VERSION: Final[str]
"""Version of the C library in use, ``"major.minor.patch"``."""

SKIP: Final[int]
"""What a native function returns for "nothing here": FACPOOL_SKIP."""

FAILURE_RAISED: Final[int]
"""1: failure code of a task whose function raised."""
FAILURE_WIDTH: Final[int]
"""2: ... whose row has another length than the run's, or other names (a dict)."""
FAILURE_VALUE: Final[int]
"""3: ... whose row holds something that is no number."""

HAS_OPENMP: Final[bool]
"""Whether the threads executor is OpenMP's."""

# ------------------------------------------------------------------ errors

class Error(RuntimeError):
    """What the library refused or failed at. The message names the value and the remedy.

    ``code``: the frozen FACPOOL_E_* number (negative). ``name``: ``"FACPOOL_E_BUSY"`` and so on.
    ``os_errno``: errno of the failing system call, or 0. ``task``: (date, code) of the task
    concerned, or None. All subclasses set them."""

    code: int
    name: str
    os_errno: int
    task: tuple[int, str] | None

class InvalidError(ValueError, Error): ...  # INVALID
class DuplicateError(ValueError, Error): ...  # DUPLICATE; .task is the key
class MismatchError(ValueError, Error): ...  # MISMATCH
class ExistsError(FileExistsError, Error): ...  # EXISTS
class NotFoundError(FileNotFoundError, Error): ...  # NOT_FOUND of a backup or a folder
class FactorNotFoundError(KeyError, Error): ...  # NOT_FOUND of a factor in a question
class BackupIOError(OSError, Error): ...  # IO; .errno is set where the system gave one
class NoMemoryError(MemoryError, Error): ...  # NOMEM
class UnsupportedError(NotImplementedError, Error): ...  # UNSUPPORTED
class BusyError(Error): ...  # BUSY
class CorruptError(Error): ...  # CORRUPT
class CancelledError(Error): ...  # CANCELLED
class TaskError(Error): ...  # TASK
class ForkedError(Error): ...  # FORKED
class SystemFault(Error): ...  # SYSTEM
class StateError(Error): ...  # STATE
class WorkerError(Error): ...  # WORKER
class AbiError(Error): ...  # ABI

def make_error(code: int, message: str, os_errno: int = 0) -> Error:
    """The exception that stands for a FACPOOL_E_* code, not raised."""

def error_name(code: int) -> str:
    """``"FACPOOL_E_BUSY"`` for -7, ``"ok"`` for 0."""

# ------------------------------------------------------------------ buffers

class Buffer:
    """Memory with the buffer protocol: ``memoryview(b)``, ``np.asarray(b)``. C-contiguous, one or
    two dimensions, formats "q" (int64), "d", "B" (uint8), "i" (int32). Keeps its owner (a Result)
    alive; what comes from a Result is read-only. ``len`` is that of the first dimension."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

# ------------------------------------------------------------------ tasks

class Tasks:
    """An ordered set of (date, code) tasks, immutable. Codes are str of 1 to 255 UTF-8 bytes
    without NUL. A key that occurs twice is found when a run starts (DuplicateError)."""

    @staticmethod
    def from_pairs(
        pairs: Iterable[Sequence[Any]], date_of: Callable[[Any], int] | None = None
    ) -> Tasks:
        """From (date, code[, ...]) sequences; what follows the code is not looked at. A date is an
        int (also NumPy's; not bool); anything else is handed to ``date_of``, or is a TypeError.
        Errors say which row (TypeError, InvalidError)."""

    @staticmethod
    def from_columns(dates: Int64s, codes: Strs) -> Tasks:
        """Task i is (dates[i], codes[i]). Errors: InvalidError (lengths differ, a bad code)."""

    @staticmethod
    def from_grid(dates: Int64s, codes: Strs) -> Tasks:
        """Every date with every code, date by date, at the memory of dates + codes."""

    @staticmethod
    def from_arrow(capsule: object) -> Tasks:
        """From a capsule named "arrow_array_stream" (what ``__arrow_c_stream__()`` gives), whose
        batches have the columns date and code, or these as their first two. The stream is consumed,
        also on an error. Date types and codes as facpool_tasks_from_arrow takes them."""

    def __len__(self) -> int: ...

    n_codes: int
    """How many distinct codes there are."""

    def key(self, index: int) -> tuple[int, str]:
        """(date, code) of a task. IndexError where there is none; no negative indexes."""

    def dates(self) -> Buffer:
        """int64 dates of all tasks, a fresh copy."""

    def codes(self) -> list[str]:
        """Codes of all tasks; equal codes are (nearly always) one object."""

    def code_index(self) -> tuple[Buffer, list[str]]:
        """(numbers, distinct): code of task i is distinct[numbers[i]]; numbers are int32, distinct
        codes in order of first appearance. For pivots and categoricals."""

# ------------------------------------------------------------------ runs

class BackupOptions(TypedDict, total=False):
    """Left-out or None: the library's default."""

    path: Path  # required
    format: Literal["binary", "json", "memory_map"]  # default: by suffix
    mode: Literal["create", "resume", "overwrite"]
    tag: str
    batch_rows: int
    flush_ms: int
    durability: Literal["group", "none", "batch"]
    no_async: bool
    retry_failed: bool  # default True
    queue_bytes: int
    compression_level: int

class RunOptions(TypedDict, total=False):
    """What a run is told. Left-out or None: the library's default. An unknown key is a TypeError.
    "func or native" is required, and n_factors."""

    func: Callable[..., Any]
    """batch False: func(date: int, code: str, **kwargs) -> row. A row is
    - a sequence (tuple, list, namedtuple, NumPy array, pandas Series, any iterable but str, bytes,
      set) of n_factors numbers,
    - a number, where n_factors is 1,
    - a dict with exactly the factor names as keys,
    - None: nothing here (status skipped).
    A number is an int, a float or anything with __float__ or __index__ (NumPy scalars); NaN is one.
    bool, None, str, bytes, complex, NaT inside a row fail the task. Failures keep a message (cut
    in its middle to 16 KiB) and a code: FAILURE_RAISED with the full traceback, FAILURE_WIDTH,
    FAILURE_VALUE. BaseException is caught too; only KeyboardInterrupt on the serial executor ends
    the run (it comes back as the exception of ``run_serial``; the task counts as failed).

    batch True: func is only handed to ``batch_call``."""

    batch: bool
    batch_call: Callable[..., Any]
    """Needed with batch: called once a slice as
    batch_call(func, dates, codes, factors, attempt, worker, kwargs):
    dates: Buffer, int64, n; codes: list[str], n (a fresh list); factors: Buffer, float64,
    (n, n_factors), writable, filled with NaN: where rows are written; attempt: 1 for the first;
    worker: its number; kwargs: the options' dict, or {}. All arguments may be kept.
    Returns None, or an iterable of (i, "fail" | "skip", code, message or None) for rows that are
    not ok. Raising fails the slice with FAILURE_RAISED and the traceback; a slice of several tasks
    (not a group) is then called again task by task. A ValueError with an attribute
    ``facpool_failure_code`` (int) fails with that code and its message alone, no traceback (so does
    any exception that carries the attribute): for rows of a wrong width or type."""

    kwargs: Mapping[str, Any]
    """Passed on to every call."""

    native: int
    """Address of a C function, in place of func; called without the GIL. Not with worker_init."""
    native_signature: Literal["simple", "task", "batch"]
    """"simple" (default): int32_t f(int64_t date, const char *code, double *factors), returns 0,
    SKIP or a failure code. "task": facpool_task_fn. "batch": facpool_batch_fn."""
    native_user: int
    """``user`` for "task" and "batch": an address, default 0."""
    keep: object
    """Kept alive as long as the run: what owns the native function."""

    n_factors: int
    factor_names: Strs
    known: Mapping[int, Row]
    """Task index -> what the function returned for it before: n_factors floats, None (skipped) or
    a str (failed with FAILURE_RAISED and this message). These tasks are not called. With group_by
    only where a whole group is known."""

    executor: Literal["threads", "process", "serial"]
    workers: int
    group_by: Literal["date", "code"]
    attempts: int
    timeout_ms: int
    on_error: Literal["continue", "stop"]
    stop_if_first_fail: int
    """So many; 0: never; None: the default of 100."""
    results: Literal["keep", "drop"]
    dry_run: bool
    backup: BackupOptions
    tasks_per_worker: int
    memory_limit_bytes: int

    worker_init: Callable[[int], Any]
    """worker_init(worker_number), in each worker before its first task, with its process or
    thread to itself. Raising ends the run."""
    worker_exit: Callable[[int], Any]
    """worker_exit(worker_number), after a worker's last task. sys.stdout and sys.stderr of a worker
    process are flushed after it in any case. What it raises goes to sys.unraisablehook."""

    start: Callable[[int, int], Any]
    """Process executor: start(fd, error_fd) makes a fresh process call
    ``serve(fd_there, {..., "error_fd": error_fd_there})`` with descriptors inherited from these
    (pass_fds). Both stay the caller's of ``start`` only during the call; they are closed by the
    extension afterwards. Raising fails ``start()`` with that very exception. Left out: fork."""

    log: Callable[[str], Any]
    """Notes of the library on what it did on its own. Raising does not end the run; the exception
    comes back from wait()."""

class Progress(TypedDict):
    total: int
    done: int
    resumed: int
    ok: int
    skipped: int
    failed: int
    rows_written: int
    rows_durable: int
    elapsed: float
    rate: float
    eta: float | None  # None: not known yet

Outcome = tuple[int, str, "Result | None", "BaseException | None"]
"""(code, message, result, exception): 0, "", Result, None when all went well. Else a FACPOOL_E_*
code and its message, the result where there is one (CANCELLED, TASK, IO and others that end a run
early), and the exception to raise: the very one that worker_init (threads, serial), a progress
callback or the log raised, with its traceback, also where code is 0; else an ``Error`` (that of a
worker_init in a worker process carries the traceback as text in its message)."""

def start(tasks: Tasks, options: RunOptions) -> Run:
    """Starts a run on "threads" or "process" (the serial executor: run_serial). Raises what keeps
    the run from starting: DuplicateError, ExistsError, MismatchError, BusyError, NotFoundError,
    UnsupportedError, CorruptError, ForkedError, WorkerError, SystemFault, BackupIOError, ...
    By fork (no ``start``): PyOS_BeforeFork and its fellows are called around it, sys.stdout and
    sys.stderr flushed before. Only from the main interpreter."""

def run_serial(
    tasks: Tasks,
    options: RunOptions,
    progress: Callable[[Progress], Any] | None = None,
    interval_ms: int = 200,
) -> Outcome:
    """Runs everything on the calling thread (also as a dry run of any executor). progress is called
    between tasks, and once at the end; raising cancels the run. Raises as ``start`` does."""

class Run:
    """A started run. A Run that is dropped unfinished is killed and waited for."""

    def poll(self, seconds: float = 0.0) -> tuple[bool, Progress]:
        """Waits until the run is over, at most so long, and says whether it is. Runs Python's
        signal handlers at least every 50 ms: KeyboardInterrupt comes out of here, the run goes on
        (cancel it). May be called after the end. StateError after wait()."""

    def cancel(self) -> None:
        """Ends the run after what is in hand. From any thread, at any time, returns at once."""

    def kill(self) -> None:
        """The same without waiting for worker processes: they are killed. From any thread."""

    def wait(self) -> Outcome:
        """Waits for the end, closes the backup. Runs signal handlers as poll does: where one
        raises before the run is over, the run goes on and wait may be called again. Once."""

    progress: Progress
    """Counts now (after wait: as they were at the end)."""

class ServeOptions(TypedDict, total=False):
    """Of RunOptions: func, batch, batch_call, kwargs, native, native_signature, native_user, keep,
    n_factors, factor_names, known, group_by (whether given), worker_init, worker_exit, log
    (not used). And:"""

    error_fd: int
    """The second descriptor that ``start`` was given: how a traceback of worker_init travels."""

def serve(fd: int, options: ServeOptions) -> None:
    """The other side of ``start``: forks workers until the run is over or its process is gone.
    Takes over both descriptors. The calling process must have one thread only."""

# ------------------------------------------------------------------ results

class FailureDict(TypedDict):
    index: int
    date: int
    code: str
    status: Literal["failed", "timeout", "crashed"]
    failure_code: int
    message: str

class SlowDict(TypedDict):
    date: int
    code: str
    n: int
    seconds: float

class ReportDict(TypedDict):
    total: int
    resumed: int
    ok: int
    skipped: int
    failed: int
    timeout: int
    crashed: int
    not_run: int
    new_tasks: int
    retry_failed: int
    retry_timeout: int
    retry_crashed: int
    rows_written: int
    rows_durable: int
    damaged_blocks: int
    tail_bytes_cut: int
    workers: int
    elapsed: float
    compute: float
    wait: float
    write: float
    failures: list[FailureDict]  # the first ones, at most 20
    slowest: list[SlowDict]  # at most 10, longest first

class Filter(TypedDict, total=False):
    """Conditions are joined by "and". Left-out or None: no condition, or the default."""

    date_min: int  # inclusive
    date_max: int
    dates: Int64s
    codes: Strs
    factors: Strs  # which, in this order; unknown: FactorNotFoundError
    statuses: Sequence[Literal["ok", "skipped", "failed", "timeout", "crashed"]]  # default ("ok",)
    columns: Sequence[Literal["date", "code", "timestamp", "status"]]  # of stream; default all
    order: Literal["file", "key"]  # default "file"
    zero_copy: bool  # UnsupportedError rather than decode or copy
    copy: bool
    skip_bytes: int
    damage: Callable[[str], Any]
    """Of rows and columns: called with a message for each damaged block, which is left out. Left
    out: CorruptError. (A stream gives the consumer an error once, and goes on behind the block when
    it is asked again.)"""

class Columns(TypedDict):
    """Columns of n rows. Values of factors are NaN where the status is not ok."""

    date: Buffer  # int64
    code: tuple[Buffer, list[str]]  # (int32 numbers, distinct codes), as Tasks.code_index
    timestamp: Buffer  # int64, us since 1970-01-01 UTC
    status: Buffer  # uint8: FACPOOL_STATUS_* (1 ok, 2 skipped, 3 failed, 4 timeout, 5 crashed)
    failure_code: Buffer | None  # int32; None where all rows are ok
    message: list[str] | None
    factors: list[Buffer]  # float64, as factor_names says
    factor_names: list[str]

class Result:
    """What a run left, immutable. Getters that need the rows read them from the backup on first
    use where they are not in memory, and raise as facpool_result_load (StateError: dropped)."""

    count: int
    n_factors: int
    factor_names: list[str]
    tasks: Tasks

    def load(self) -> None:
        """Makes sure that the rows are in memory."""

    def factor(self, index: int) -> Buffer:
        """float64 in task order, zero copy; NaN where the status is not ok."""

    def dates(self) -> Buffer:
        """int64 in task order, zero copy."""

    def status(self) -> Buffer:
        """uint8 in task order, zero copy: FACPOOL_STATUS_*; 0 not run."""

    def failures(self, limit: int | None = None) -> list[FailureDict]:
        """Tasks that failed, timed out or crashed, in task order: all of them where rows are kept
        or in a backup, else the report's first ones."""

    def n_failures(self) -> int: ...
    def report(self) -> ReportDict: ...

    def rows(self, indexes: Int64s | None = None) -> list[list[Any]]:
        """[date, code, *factors] of the ok rows in task order, or of the tasks with these indexes,
        in this order (repeats are fine: each gets a list of its own). Rows that are not ok are left
        out."""

    def stream(self, filter: Filter | None = None) -> object:
        """A fresh capsule "arrow_array_stream" of the rows; needs this object no longer."""

    def columns(self, filter: Filter | None = None) -> Columns: ...

class Reader:
    """Backups that are open for questions: a snapshot of what was whole in them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Errors: NotFoundError, MismatchError, UnsupportedError, CorruptError, BackupIOError."""

    n_factors: int
    factor_names: list[str]

    def refresh(self) -> None:
        """Takes a new snapshot. On an error the old one stays."""

    def stream(self, filter: Filter | None = None) -> object:
        """A fresh capsule "arrow_array_stream"; needs this object no longer."""

    def rows(
        self, filter: Filter | None = None, timestamp: Literal["ms", "us"] = "ms"
    ) -> list[list[Any]]:
        """[date, code, timestamp, *factors] (timestamp: int). Rows that are not ok, where asked
        for, have None in place of factors."""

    def columns(self, filter: Filter | None = None) -> Columns: ...

# ------------------------------------------------------------------ files

class InfoDict(TypedDict):
    format: Literal["binary", "json", "memory_map"]
    version: int
    closed: bool
    factor_names: list[str]
    tag: str | None
    rows: dict[str, int]  # stored rows by status name, superseded ones counted
    blocks: int
    pages: int
    date_min: int | None  # None: no row
    date_max: int | None
    file_bytes: int
    valid_bytes: int
    durable_bytes: int
    damaged_blocks: int
    created_us: int

class VerifyDict(TypedDict):
    sound: bool  # a torn tail is not damage
    blocks: int
    damaged_blocks: int
    damaged_parts: int
    rows: int
    rows_damaged: int
    tail_bytes: int
    first_damage: int | None
    closed: bool

def info(path: Path) -> InfoDict: ...
def verify(path: Path) -> VerifyDict:
    """Reads every byte. Damage is no exception: see ``sound``."""

def repair(path: Path) -> VerifyDict:
    """Cuts off a torn tail, writes the index; says what was found before."""

def convert(paths: Sequence[Path], to: BackupOptions) -> None: ...
def compact(path: Path) -> None: ...
