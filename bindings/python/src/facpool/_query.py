"""Query: a question asked of backups, answered as often as wanted. Called by users; the scanning,
filtering and merging are the library's."""

from __future__ import annotations

import warnings
from typing import Any, Dict, Iterable, List, Optional, Union

import numpy as np

from . import _core, _options
from ._files import Paths, path_list
from ._record import Record, record
from ._table import Cells, Table
from ._tasks import code_column, date_column, date_number

STATUSES = ("ok", "skipped", "failed", "timeout", "crashed")
BAD = ("failed", "timeout", "crashed")
_NAMES = np.array(("not run", *STATUSES), dtype=object)


def query(
    paths: Paths,
    *,
    start: Any = None,
    end: Any = None,
    dates: Optional[Iterable[Any]] = None,
    codes: Union[str, Iterable[str], None] = None,
    factors: Union[str, Iterable[str], None] = None,
    status: Union[str, Iterable[str]] = "ok",
    order: str = "key",
) -> "Query":
    """Asks one or many backups, as one, also while they are being written: what was whole in them
    when this was called. Conditions are joined by "and".

    paths    the path of a backup, or several (shards of one job; all have the same factors)
    start    first date, included; end: last date, included
    dates    only these dates; codes: only these codes (or one). An empty list matches nothing
    factors  only these factors, in this order (or one)
    status   "ok", "skipped", "failed", "timeout", "crashed", several of them, or "all"
    order    "key": by date and code; "file": as stored, which is faster for large answers

    Raises FileNotFoundError for a missing backup, FactorNotFoundError (a KeyError) for an unknown
    factor, ValueError for backups of different factors, CorruptError and UnsupportedError for what
    is no sound backup. Damaged blocks are left out with a warning."""
    where = path_list(paths)
    reader = _core.Reader(where)
    conditions: Dict[str, Any] = {
        "date_min": None if start is None else date_number(start),
        "date_max": None if end is None else date_number(end),
        "dates": None if dates is None else date_column(dates),
        "codes": None if codes is None else [codes] if isinstance(codes, str) else code_column(codes),
        "factors": _factor_list(reader, factors),
        "statuses": _status_list(status),
        "order": _options.one_of("order", order, ("key", "file")),
    }
    return Query(where, reader, conditions)


def _factor_list(
    reader: "_core.Reader", factors: Union[str, Iterable[str], None]
) -> Optional[List[str]]:
    if factors is None:
        return None
    names = [factors] if isinstance(factors, str) else list(factors)
    for name in names:
        if name not in reader.factor_names:
            there = ", ".join(reader.factor_names)
            raise _core.FactorNotFoundError(f"there is no factor {name!r}: there are {there}")
    return names


def _status_list(status: Union[str, Iterable[str]]) -> List[str]:
    if status == "all":
        return list(STATUSES)
    wanted = [status] if isinstance(status, str) else list(status)
    for name in wanted:
        _options.one_of("status", name, STATUSES)
    if not wanted:
        raise ValueError("status is empty: name at least one, or 'all'")
    return wanted


class Query(Table):
    """The answer to a question, made when it is asked for. It stays the same, as the files were
    when ``query`` was called; ``refresh`` looks again.

    As a table (iteration, ``to_pandas``, ``pivot``, ``__arrow_c_stream__``, so that
    ``polars.DataFrame(q)``, ``pyarrow.table(q)`` and DuckDB take it, any number of times) it has the
    columns date, code, timestamp and the factors; where other rows than ok ones were asked for, also
    status, failure_code and message. As NumPy columns: ``q["ma5"]``, ``q.dates``, ``q.codes``,
    ``q.timestamps``, ``q.status``; these are read once and kept."""

    def __init__(self, paths: List[Any], reader: "_core.Reader", conditions: Dict[str, Any]) -> None:
        self._paths = paths
        self._reader = reader
        self._conditions = conditions
        self._kept: Optional[Cells] = None
        self._count: Optional[int] = None

    # -------------------------------------------------------------- columns

    @property
    def factor_names(self) -> List[str]:  # type: ignore[override]
        """The factors that were asked for, in that order; else all, as in the files."""
        chosen = self._conditions["factors"]
        return list(self._reader.factor_names if chosen is None else chosen)

    def __len__(self) -> int:
        """How many rows there are; finding out reads one factor of them."""
        if self._count is None:
            if self._kept is None:
                narrow = {**self._conditions, "factors": self.factor_names[:1]}
                self._count = len(_without_damage(self._reader.columns, narrow)["date"])
            else:
                self._count = len(self._kept.dates)
        return self._count

    def __getitem__(self, name: str) -> Any:
        """A column by its name."""
        cells = self._cells()
        if name == "date":
            return cells.dates
        if name == "code":
            return self.codes
        if name not in cells.columns:
            raise KeyError(
                f"there is no column {name!r}: there are date, code, {', '.join(cells.columns)}"
            )
        return cells.columns[name]

    @property
    def dates(self) -> Any:
        """int64."""
        return self._cells().dates

    @property
    def codes(self) -> Any:
        """Texts, as an array of objects."""
        return self._cells().code_array()

    @property
    def timestamps(self) -> Any:
        """When the rows were computed: datetime64[us], UTC."""
        return self._cells().columns["timestamp"]

    @property
    def status(self) -> Any:
        """uint8: 1 ok, 2 skipped, 3 failed, 4 timeout, 5 crashed."""
        return self._cells().status

    def _shows_status(self) -> bool:
        return bool(self._conditions["statuses"] != ["ok"])

    def _cells(self) -> Cells:
        if self._kept is None:
            found = _without_damage(self._reader.columns, self._conditions)
            self._kept = _cells_of(found, self._shows_status())
        return self._kept

    # -------------------------------------------------------------- streams and failures

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """A fresh Arrow stream at every call, read from the files as it is consumed: date int64,
        code utf8, timestamp[us, UTC], the factors float64, null where a row is not ok. A damaged
        block is an error of the stream. The schema is not changed on request."""
        columns = ["date", "code", "timestamp"] + (["status"] if self._shows_status() else [])
        conditions: Any = {**self._conditions, "columns": columns}
        return self._reader.stream(conditions)

    @property
    def failures(self) -> List[Record]:
        """The rows that failed, timed out or crashed, under the same conditions, whatever
        ``status`` was asked for (unless it names some of these): each with ``date``, ``code``,
        ``status``, ``failure_code`` and ``message``, which is the whole traceback where the function
        raised."""
        asked = [name for name in self._conditions["statuses"] if name in BAD] or list(BAD)
        conditions = {**self._conditions, "statuses": asked}
        found = _without_damage(self._reader.columns, conditions)
        cells = _cells_of(found, True)
        names = ("status", "failure_code", "message")
        columns = [cells.columns[name].tolist() for name in names]
        rows = zip(cells.dates.tolist(), cells.code_array().tolist(), *columns)
        return [record(dict(zip(("date", "code", *names), row))) for row in rows]

    def refresh(self) -> "Query":
        """The same question asked of the files as they are now; this one stays as it is."""
        return Query(self._paths, _core.Reader(self._paths), self._conditions)

    def __repr__(self) -> str:
        names = self.factor_names
        shown = ", ".join(names[:8]) + (f", ... {len(names)} in all" if len(names) > 8 else "")
        rows = "" if self._kept is None else f" of {len(self._kept.dates):,} rows"
        return f"<facpool.Query{rows}; factors {shown}>"

    def _repr_html_(self) -> str:
        stored = sum(sum(_core.info(path)["rows"].values()) for path in self._paths)
        return self._html(repr(self)[1:-1], stored if self._kept is None else len(self))


def _cells_of(found: "_core.Columns", with_status: bool) -> Cells:
    numbers, distinct = found["code"]
    timestamps = np.asarray(found["timestamp"]).view("datetime64[us]")
    status = np.asarray(found["status"])
    columns: Dict[str, Any] = {"timestamp": timestamps}
    if with_status:
        n = len(timestamps)
        codes, messages = found["failure_code"], found["message"]
        columns["status"] = _NAMES[status]
        columns["failure_code"] = np.zeros(n, np.int32) if codes is None else np.asarray(codes)
        columns["message"] = np.empty(n, dtype=object)
        columns["message"][:] = "" if messages is None else messages
    for name, values in zip(found["factor_names"], found["factors"]):
        columns[name] = np.asarray(values)
    return Cells(np.asarray(found["date"]), np.asarray(numbers), distinct, columns, status)


def _without_damage(read: Any, conditions: Dict[str, Any]) -> Any:
    """Reads, and warns once where blocks had to be left out."""
    damage: List[str] = []
    found = read({**conditions, "damage": damage.append})
    if damage:
        warnings.warn(
            f"{len(damage)} damaged block{'s' if len(damage) > 1 else ''} left out: {damage[0]}",
            RuntimeWarning,
            stacklevel=4,
        )
    return found
