"""Functions that take many tasks at a time: gives them NumPy arrays of a slice and reads what they
return. Called by the extension once a slice, in workers, and by the probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from . import _core

Mark = Tuple[int, str, int, Optional[str]]
"""A row that is not ok: (number in the slice, "fail" or "skip", failure code, message)."""


class BatchError(ValueError):
    """What a function returned is no table of the slice's rows: the slice fails, without a
    traceback, as the message says it all."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.facpool_failure_code = code


class BatchCall:
    """Calls a function on a slice and writes its rows: the extension's ``batch_call``. ``names`` are
    the factors', by which dicts are read."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def __call__(
        self,
        func: Any,
        dates: Any,
        codes: List[str],
        factors: Any,
        attempt: int,
        worker: int,
        kwargs: Any,
    ) -> Optional[List[Mark]]:
        value = call(func, dates, codes, kwargs)
        return fill(np.asarray(factors), value, self._names)


def call(func: Any, dates: Any, codes: Sequence[str], kwargs: Mapping[str, Any]) -> Any:
    """func(dates, codes, **kwargs) with an int64 array and an array of str objects."""
    texts = np.empty(len(codes), dtype=object)
    texts[:] = codes
    return func(np.asarray(dates, dtype=np.int64), texts, **(kwargs or {}))


def width(value: Any, n: int) -> Tuple[int, Optional[List[str]]]:
    """(number of factors, names or None) of what a function returned for n tasks, not None."""
    if isinstance(value, Mapping):
        names = list(value)
        if not names or not all(isinstance(name, str) for name in names):
            raise BatchError(_core.FAILURE_VALUE, f"the names of the factors are no texts: {names}")
        return len(names), names
    columns = _frame_columns(value)
    if columns is not None and all(isinstance(name, str) for name in columns):
        return len(columns), columns
    rows = [row for row in value if row is not None] if isinstance(value, (list, tuple)) else value
    array = _array(rows)
    if array.ndim == 1:
        return 1, None
    if array.ndim == 2 and array.shape[1]:
        return array.shape[1], None
    raise _wrong_shape(array.shape, n, None)


def fill(out: Any, value: Any, names: Sequence[str]) -> Optional[List[Mark]]:
    """Writes what a function returned into ``out`` (rows x factors), and says which rows are not ok.
    It may be

    - None: there is nothing here, all rows are skipped;
    - an array, list or DataFrame of a row for each task, or of numbers where there is one factor;
      None in place of a row of a list skips that task;
    - a dict (or DataFrame) of a column for each factor;
    - a masked array: rows that are masked as a whole are skipped, others with a masked value fail.

    NaN is a value. Raises BatchError where it is something else."""
    n = len(out)
    if value is None:
        return [(row, "skip", 0, None) for row in range(n)]
    if isinstance(value, Mapping):
        return _fill_columns(out, dict(value), names)
    columns = _frame_columns(value)
    if columns is not None and sorted(map(str, columns)) == sorted(names):
        return _fill_columns(out, {name: value[name] for name in columns}, names)
    if isinstance(value, (list, tuple)) and any(row is None for row in value):
        return _fill_some(out, value, names)
    return _fill_rows(out, _array(value), names)


# ------------------------------------------------------------------ the ways to give rows


def _fill_columns(out: Any, columns: Any, names: Sequence[str]) -> Optional[List[Mark]]:
    if set(columns) != set(names):
        raise BatchError(
            _core.FAILURE_WIDTH,
            f"the function returned columns {list(columns)}, the factors are {list(names)}",
        )
    marks: List[Mark] = []
    for number, name in enumerate(names):
        array = _array(columns[name])
        if array.shape != (len(out),):
            raise BatchError(
                _core.FAILURE_WIDTH,
                f"column {name!r} has the shape {array.shape}, the slice has {len(out)} tasks",
            )
        marks += _fill_rows(out[:, number : number + 1], array, [name]) or []
    return _merged(marks, len(names))


def _merged(marks: List[Mark], columns: int) -> Optional[List[Mark]]:
    """Of marks column by column: a row is skipped where all of its values are masked."""
    skips: Dict[int, int] = {}
    found: Dict[int, Mark] = {}
    for mark in marks:
        row, kind = mark[:2]
        if kind == "fail":
            found.setdefault(row, mark)
        else:
            skips[row] = skips.get(row, 0) + 1
    for row, times in skips.items():
        if row not in found:
            found[row] = (row, "skip", 0, None) if times == columns else _masked_value(row)
    return list(found.values()) or None


def _fill_some(out: Any, rows: Sequence[Any], names: Sequence[str]) -> List[Mark]:
    if len(rows) != len(out):
        raise _wrong_shape((len(rows),), len(out), len(names))
    given = [number for number, row in enumerate(rows) if row is not None]
    marks: List[Mark] = [(n, "skip", 0, None) for n, row in enumerate(rows) if row is None]
    if given:
        part = np.full((len(given), out.shape[1]), np.nan)
        inner = _fill_rows(part, _array([rows[number] for number in given]), names) or []
        out[given] = part
        marks += [(given[mark[0]], *mark[1:]) for mark in inner]
    return marks


def _fill_rows(out: Any, array: Any, names: Sequence[str]) -> Optional[List[Mark]]:
    if array.ndim == 1 and out.shape[1] == 1:
        array = array.reshape(-1, 1)
    if array.shape != out.shape:
        raise _wrong_shape(array.shape, len(out), len(names))
    if array.dtype.kind == "O":
        return _fill_objects(out, array, names)
    if array.dtype.kind not in "fiu":
        raise BatchError(
            _core.FAILURE_VALUE,
            f"the function returned values of type {array.dtype}, such as {array.flat[0]!r}: they are "
            "no numbers",
        )
    out[...] = np.ma.getdata(array)
    mask = np.ma.getmask(array)
    return None if mask is np.ma.nomask or not mask.any() else _masked(out, mask)


def _fill_objects(out: Any, array: Any, names: Sequence[str]) -> Optional[List[Mark]]:
    marks: List[Mark] = []
    for number, row in enumerate(np.ma.getdata(array).tolist()):
        for place, value in enumerate(row):
            try:
                out[number, place] = as_number(value)
            except (TypeError, ValueError, OverflowError) as error:
                message = f"factor {names[place]!r} is {value!r}, which is no number ({error})"
                marks.append((number, "fail", _core.FAILURE_VALUE, message))
                out[number] = np.nan
                break
    return marks or None


def _masked(out: Any, mask: Any) -> List[Mark]:
    whole, some = mask.all(axis=1), mask.any(axis=1)
    out[some] = np.nan
    marks: List[Mark] = [(int(row), "skip", 0, None) for row in np.flatnonzero(whole)]
    return marks + [_masked_value(int(row)) for row in np.flatnonzero(some & ~whole)]


def _masked_value(row: int) -> Mark:
    return row, "fail", _core.FAILURE_VALUE, "a value of the row is masked, which is no number"


# ------------------------------------------------------------------ values


def as_number(value: Any) -> float:
    """A float of what counts as a number: not bool, text or None."""
    if isinstance(value, (bool, str, bytes, np.bool_)) or value is None:
        raise TypeError(f"it is a {type(value).__name__}")
    return float(value)


def _frame_columns(value: Any) -> Optional[List[Any]]:
    """The column names of a DataFrame of any library, or None."""
    columns = getattr(value, "columns", None)
    if columns is None or not hasattr(value, "to_numpy") or not isinstance(columns, Iterable):
        return None
    return list(columns)


def _array(value: Any) -> Any:
    try:
        return np.asanyarray(value)
    except ValueError as error:  # rows of different lengths
        raise BatchError(
            _core.FAILURE_WIDTH, f"the function returned rows that make no array: {error}"
        ) from None


def _wrong_shape(shape: Tuple[int, ...], n: int, factors: Optional[int]) -> BatchError:
    wanted = f"({n}, {'factors' if factors is None else factors})"
    also = f" or ({n},)" if factors in (None, 1) else ""
    return BatchError(
        _core.FAILURE_WIDTH,
        f"the function returned the shape {shape} for a slice of {n} tasks: return {wanted}{also}, a "
        "dict of columns, or None for nothing here",
    )
