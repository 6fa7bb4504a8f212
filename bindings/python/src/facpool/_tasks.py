"""Task sets from everything that holds dates and codes. Called by users (``tasks``, ``grid``) and by
``run``. The conversions of long inputs are the extension's and NumPy's; here is only what decides
between them. Loads NumPy only for inputs that are NumPy's or a library's on top of it."""

from __future__ import annotations

import datetime
import operator
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, List, Optional, Union

from ._core import Tasks

_GIVE = (
    "give (date, code) pairs, a dict of columns 'date' and 'code', a NumPy array, a DataFrame, an "
    "object with __arrow_c_stream__, or facpool.grid(dates, codes)"
)
_DATES = "give ints such as 20240102, datetime.date, datetime, Timestamp or datetime64"


def tasks(source: Any) -> Tasks:
    """A task set, in the given order, from

    - a list, tuple or any iterable of (date, code) pairs,
    - a dict of columns, ``{"date": ..., "code": ...}``,
    - a NumPy structured array with these fields, or an object array of two columns,
    - a pandas DataFrame with these columns,
    - anything with ``__arrow_c_stream__`` (polars, pyarrow, DuckDB, a ``Query``, a ``Result``).

    Dates are ints (any int64), or days as date, datetime, Timestamp or datetime64, which become
    yyyymmdd ints; a time of day is dropped, and a time zone too, but for Arrow timestamps with a
    zone, which are taken by UTC. Codes are text of 1 to 255 UTF-8 bytes and stay text: numbers are
    refused, as their leading zeros are lost already.

    A set may be used by many runs; made once from a long list, it saves each run the conversion.
    Raises TypeError or ValueError naming the value and its row. A key that occurs twice is found
    when a run starts (DuplicateError)."""
    if isinstance(source, Tasks):
        return source
    if isinstance(source, (list, tuple)):
        return Tasks.from_pairs(source, date_number)
    if _is_a(source, "pandas", "DataFrame"):
        return _from_mapping(source, list(source.columns), "the DataFrame")
    if _is_a(source, "numpy", "ndarray"):
        return _from_array(source)
    if hasattr(source, "__arrow_c_stream__"):
        return Tasks.from_arrow(source.__arrow_c_stream__())
    if isinstance(source, Mapping):
        return _from_mapping(source, list(source), "the dict")
    if hasattr(source, "collect") and hasattr(source, "lazy"):
        raise TypeError("a lazy frame has no rows yet: give frame.collect()")
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise TypeError(f"{source!r} holds no tasks: {_GIVE}")
    return Tasks.from_pairs(source, date_number)


class Source:
    """What tasks are to be made of, made when first asked: converting a long list can then go on
    while a fresh process starts."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._tasks: Optional[Tasks] = None

    def tasks(self) -> Tasks:
        if self._tasks is None:
            self._tasks = tasks(self._source)
            self._source = None
        return self._tasks


def grid(dates: Iterable[Any], codes: Iterable[str]) -> Tasks:
    """Every date with every code, date by date; task ``i`` is
    ``(dates[i // len(codes)], codes[i % len(codes)])``. It takes the memory of dates plus codes, not
    of their product: a grid of 1,000,000,000 tasks is fine. Dates as in ``tasks``."""
    return Tasks.from_grid(date_column(dates), code_column(codes))


# ------------------------------------------------------------------ containers


def _is_a(value: Any, module: str, name: str) -> bool:
    """Whether it is of a class of a library; one that is not loaded has made no values."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _from_mapping(columns: Any, names: List[Any], what: str) -> Tasks:
    missing = [name for name in ("date", "code") if name not in names]
    if missing:
        raise ValueError(
            f"{what} has no column {' and no column '.join(map(repr, missing))} (it has "
            f"{', '.join(map(repr, names[:20]))}): name the columns 'date' and 'code'"
        )
    return _from_columns(columns["date"], columns["code"])


def _from_columns(dates: Any, codes: Any) -> Tasks:
    return Tasks.from_columns(date_column(dates), code_column(codes))


def _from_array(values: Any) -> Tasks:
    names = values.dtype.names
    if names is not None and values.ndim == 1:
        if "date" in names and "code" in names:
            return _from_columns(values["date"], values["code"])
        if len(names) >= 2:
            return _from_columns(values[names[0]], values[names[1]])
    if values.ndim == 2 and values.shape[1] >= 2 and values.dtype.kind == "O":
        return _from_columns(values[:, 0], values[:, 1])
    raise TypeError(
        f"an array of shape {values.shape} and type {values.dtype} holds no tasks: give a structured "
        "array with the fields date and code, or an object array of two columns"
    )


# ------------------------------------------------------------------ dates


def date_number(value: Any) -> int:
    """The int64 of one date: ints as they are, days as yyyymmdd."""
    if isinstance(value, datetime.date):  # also datetime and pandas.Timestamp
        if value != value:  # NaT
            raise ValueError(f"date {value!r} is none: leave such rows out")
        return value.year * 10_000 + value.month * 100 + value.day
    if _is_a(value, "numpy", "datetime64"):
        return int(_days_as_numbers(value.reshape(1))[0])
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"date {value!r} is none: {_DATES}")
    return operator.index(value)


def date_column(values: Any) -> Any:
    """The int64s of many dates, as a buffer."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{values!r} is no column of dates: give a list or an array")
    if isinstance(values, range):
        return array("q", values)
    if hasattr(values, "__array__"):
        return _date_array(values)
    dates = values if isinstance(values, (list, tuple)) else list(values)
    try:
        if set(map(type, dates)) == {int}:
            return array("q", dates)
    except OverflowError:
        pass  # said below, with its row
    return array("q", _each_date(dates))


def _each_date(values: Iterable[Any]) -> Iterable[int]:
    for row, value in enumerate(values):
        if type(value) is not int:
            value = _date_at(row, value)
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(f"row {row}: date {value} is no int64")
        yield value


def _date_at(row: int, value: Any) -> int:
    try:
        return date_number(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"row {row}: {error}") from None


def _date_array(values: Any) -> Any:
    """Of NumPy, pandas, polars, pyarrow."""
    import numpy

    dates = numpy.asarray(values)
    if dates.ndim != 1:
        raise ValueError(f"dates have the shape {dates.shape}: give one dimension")
    kind = dates.dtype.kind
    if kind == "i" or (kind == "u" and (not dates.size or dates.max() < 1 << 63)):
        return numpy.ascontiguousarray(dates, dtype=numpy.int64)
    if kind == "M":
        return _days_as_numbers(dates)
    if not dates.size:
        return numpy.empty(0, numpy.int64)
    if kind == "O" or kind == "u":
        return array("q", _each_date(dates.tolist()))
    raise TypeError(f"row 0: date {dates[0].item()!r} is none: {_DATES}")


def _days_as_numbers(dates: Any) -> Any:
    """yyyymmdd of datetime64 of any unit."""
    import numpy

    missing = numpy.isnat(dates)
    if missing.any():
        raise ValueError(f"row {int(missing.argmax())}: date NaT is none: leave such rows out")
    days = dates.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    years = months.astype("datetime64[Y]")
    number = (years.astype(numpy.int64) + 1970) * 10_000
    number += ((months - years).astype(numpy.int64) + 1) * 100
    number += (days - months).astype(numpy.int64) + 1
    return number


# ------------------------------------------------------------------ codes


def code_column(values: Any) -> Sequence[str]:
    """Codes as a list of str; what is no text in it the extension refuses, naming the row."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{values!r} is no column of codes: give a list of texts")
    if isinstance(values, list):
        return values
    for name in ("tolist", "to_pylist", "to_list"):  # NumPy, pandas; pyarrow; polars
        convert = getattr(values, name, None)
        if convert is not None:
            found: Union[List[str], Any] = convert()
            if isinstance(found, list):
                return found
    return list(values)
