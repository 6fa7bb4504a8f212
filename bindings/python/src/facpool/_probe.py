"""How wide a row is, where ``run`` was not told: the first tasks in task order are run one by one
until one gives a row. What they gave is handed to the run, so that no task is computed twice.

The driver (``find_shape``) decides which tasks and when to give up; an *asker* runs them: in this
process (``Here``), in a forked child, or in a child of the fresh process (_start). ``Work.answer`` is
what happens where the function runs."""

from __future__ import annotations

import itertools
import operator
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from . import _core

MOST_FAILURES = 100
"""So many tasks may fail before one gives a row: as in a run, which then stops."""
MOST_LOST = 10
"""So many may crash or take too long."""
MOST_TASKS_GROUPED = 100_000_000

Unit = Tuple[List[int], List[int], List[str]]
"""Tasks of one call: indexes, dates, codes. One task, but for batch functions."""


@dataclass
class Answer:
    """What a call gave. ``width`` 0: no row. ``known`` has what the run needs not compute."""

    width: int = 0
    names: Optional[List[str]] = None
    known: Dict[int, Any] = field(default_factory=dict)
    failure: Optional[str] = None


@dataclass
class Shape:
    """What the probe found. ``width`` 0: every task was skipped, or there is none."""

    width: int
    names: Optional[List[str]]
    known: Dict[int, Any]


class Lost(Exception):
    """The child process died, or took too long, at the first unit it has not answered."""


class ProbeFailed(_core.TaskError):
    """No task gave a row, and some failed. ``count`` failed, ``first`` is the first's message, ``task``
    its key; ``whole``: all tasks were tried."""

    count: int
    first: str
    whole: bool


# ------------------------------------------------------------------ where the function runs


@dataclass
class Work:
    """A function and how to call it."""

    func: Callable[..., Any]
    kwargs: Dict[str, Any]
    worker_init: Optional[Callable[[], Any]]
    batch: bool
    attempts: int = 1

    def answer(self, unit: Unit) -> Answer:
        """Calls the function, again where it raises and has attempts left."""
        indexes, dates, codes = unit
        for attempt in range(1, self.attempts + 1):
            try:
                return self._read(indexes, self._call(dates, codes))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if attempt == self.attempts:
                    return _failed(indexes, error)
        raise AssertionError("attempts are at least one")

    def _call(self, dates: List[int], codes: List[str]) -> Any:
        if not self.batch:
            return self.func(dates[0], codes[0], **self.kwargs)
        from . import _batch

        return _batch.call(self.func, dates, codes, self.kwargs)

    def _read(self, indexes: List[int], value: Any) -> Answer:
        if value is None or (self.batch and _is_all_none(value)):
            return Answer(known=dict.fromkeys(indexes))
        if self.batch:
            return _read_batch(indexes, value)
        row, names = read_row(value)
        return Answer(len(row), names, {indexes[0]: row})


def _is_all_none(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(row is None for row in value)


class NoRow(Exception):
    """A value that is no row: the run says so as this task's failure."""


def _failed(indexes: List[int], error: BaseException) -> Answer:
    """A task whose function raised counts as computed; what is no row the run computes again, as it
    has the words for what is wrong with it."""
    if isinstance(error, NoRow) or hasattr(error, "facpool_failure_code"):
        return Answer(failure=str(error))
    text = "".join(traceback.format_exception(type(error), error, _without_ours(error)))
    return Answer(known=dict.fromkeys(indexes, text), failure=text)


def _without_ours(error: BaseException) -> Any:
    """The traceback from the user's function on."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_globals.get("__name__", "").startswith("facpool._"):
        found = found.tb_next
    return found if found is not None else error.__traceback__


def _read_batch(indexes: List[int], value: Any) -> Answer:
    import numpy

    from . import _batch

    width, names = _batch.width(value, len(indexes))
    rows = numpy.full((len(indexes), width), numpy.nan)
    marks = _batch.fill(rows, value, names or [f"f{i}" for i in range(width)]) or []
    known: Dict[int, Any] = dict(zip(indexes, rows.tolist()))
    for number, kind, _, _ in marks:
        if kind == "skip":
            known[indexes[number]] = None
        else:
            del known[indexes[number]]
    return Answer(width, names, known)


def read_row(value: Any) -> Tuple[List[float], Optional[List[str]]]:
    """The floats of a returned row, and its names where it is a dict. Raises NoRow."""
    names: Optional[List[str]] = None
    if isinstance(value, Mapping):
        names = list(value)
        if not all(isinstance(name, str) for name in names):
            raise NoRow(f"the names of the factors are no texts: {names}")
        values = list(value.values())
    elif isinstance(value, (str, bytes, bytearray, set, frozenset)):
        raise NoRow(f"the function returned {value!r}, which is no row")
    else:
        values = _items(value)
    if not values:
        raise NoRow(f"the function returned {value!r}, which is an empty row")
    return [_number(each) for each in values], names


def _items(value: Any) -> List[Any]:
    if hasattr(value, "tolist"):  # NumPy, pandas
        found = value.tolist()
        return found if isinstance(found, list) else [found]
    try:
        return list(value)
    except TypeError:
        return [value]


def _number(value: Any) -> float:
    if hasattr(value, "tolist"):
        value = value.tolist()
    refused = (bool, str, bytes, bytearray, complex, list, tuple)
    if value is None or isinstance(value, refused) or hasattr(value, "isoformat"):
        raise NoRow(f"the row holds {value!r}, which is no number")
    try:
        return float(value) if hasattr(value, "__float__") else float(operator.index(value))
    except (TypeError, ValueError, OverflowError):
        raise NoRow(f"the row holds {value!r}, which is no number") from None


# ------------------------------------------------------------------ who runs it


class Asker:
    """Runs units in their order. ``ask`` begins; ``next_answer`` waits for each; after Lost, the
    next ``ask`` begins anew."""

    def ask(self, units: List[Unit]) -> None:
        raise NotImplementedError

    def next_answer(self, seconds: Optional[float]) -> Answer:
        """Raises Lost."""
        raise NotImplementedError

    def end(self) -> None:
        """Nothing more is asked."""


class Here(Asker):
    """In this process, for runs on its threads."""

    def __init__(self, work: Work, prepare: Callable[[int], None]) -> None:
        self._work = work
        self._prepare: Optional[Callable[[int], None]] = prepare
        self._units: Iterator[Unit] = iter(())

    def ask(self, units: List[Unit]) -> None:
        if self._prepare is not None:
            self._prepare(0)
            self._prepare = None
        self._units = iter(list(units))

    def next_answer(self, seconds: Optional[float]) -> Answer:
        return self._work.answer(next(self._units))


# ------------------------------------------------------------------ the driver


def find_shape(
    tasks: "_core.Tasks",
    asker: Asker,
    group_by: Optional[str],
    timeout: Optional[float],
    stop_at_failure: bool,
) -> Shape:
    """Asks until there is a row. ``group_by``: of a batch function, whose calls are whole groups.
    Raises ProbeFailed where none of the tasks (or of the first hundred that were not skipped) gave
    one and some failed."""
    units = _singles(tasks) if group_by is None else _groups(tasks, group_by)
    search = _Search(1 if stop_at_failure else MOST_FAILURES)
    try:
        for size in itertools.chain((1, 4, 16, 64), itertools.repeat(256)):
            waiting = list(itertools.islice(units, size))
            if not waiting:
                break
            answer = _ask_all(asker, waiting, timeout, search)
            if answer is not None:
                return Shape(answer.width, answer.names, search.known)
    finally:
        asker.end()
    if search.failures:
        raise search.failed(whole=True)
    return Shape(0, None, search.known)


@dataclass
class _Search:
    most: int
    known: Dict[int, Any] = field(default_factory=dict)
    failures: int = 0
    lost: int = 0
    first: Tuple[Tuple[int, str], str] = ((0, ""), "")

    def note_failure(self, unit: Unit, text: str) -> None:
        if not self.failures:
            self.first = ((unit[1][0], unit[2][0]), text)
        self.failures += len(unit[0])
        if self.failures >= self.most or self.lost >= MOST_LOST:
            raise self.failed(whole=False)

    def failed(self, whole: bool) -> ProbeFailed:
        key, text = self.first
        tried = "each of the" if whole else "the first"
        error = ProbeFailed(
            f"how many factors a row has can't be found out: {tried} {self.failures} tasks failed. Give "
            f"factors, or look at the first failure, of {key}:\n{text}"
        )
        error.task, error.count, error.first, error.whole = key, self.failures, text, whole
        return error


def _ask_all(
    asker: Asker, waiting: List[Unit], timeout: Optional[float], search: _Search
) -> Optional[Answer]:
    """The first answer with a row, or None. A unit that is lost is left to the run."""
    while waiting:
        asker.ask(waiting)
        try:
            while waiting:
                answer = asker.next_answer(timeout)
                unit = waiting.pop(0)
                search.known.update(answer.known)
                if answer.failure is not None:
                    search.note_failure(unit, answer.failure)
                if answer.width:
                    return answer
        except Lost as lost:
            search.lost += 1
            search.note_failure(waiting.pop(0), str(lost))
    return None


def _singles(tasks: "_core.Tasks") -> Iterator[Unit]:
    for index in range(len(tasks)):
        date, code = tasks.key(index)
        yield [index], [date], [code]


def _groups(tasks: "_core.Tasks", group_by: str) -> Iterator[Unit]:
    """Whole groups, in the order of their first tasks."""
    if len(tasks) > MOST_TASKS_GROUPED:
        raise ValueError(f"factors=None with group_by: give factors for {len(tasks):,} tasks")
    import numpy

    dates = numpy.asarray(tasks.dates())
    index, codes = tasks.code_index()
    numbers = numpy.asarray(index)
    keys = dates if group_by == "date" else numbers
    _, firsts = numpy.unique(keys, return_index=True)
    for first in numpy.sort(firsts).tolist():
        indexes = numpy.flatnonzero(keys == keys[first])
        yield indexes.tolist(), dates[indexes].tolist(), [codes[i] for i in numbers[indexes].tolist()]
