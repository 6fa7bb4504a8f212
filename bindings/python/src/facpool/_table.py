"""What Result and Query have in common: rows as NumPy columns, tuples, a pandas DataFrame, a matrix of
dates and codes. Both hand their columns in; nothing here knows where they come from. Loads pandas
only where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

_CHUNK = 65_536
"""Rows that are made Python objects at a time."""

_SHOWN = 5
"""Rows at each end in a notebook."""

_MOST_SHOWN_OF = 1_000_000
"""A table of more rows is not read just to show some."""


OK = 1
"""The status of a row that is ok: FACPOOL_STATUS_OK."""


@dataclass
class Cells:
    """Rows in columns. ``code_numbers`` say which of ``codes`` each row has; ``columns`` are the
    others in their order, factors last. ``status`` None: every row is ok."""

    dates: Any
    code_numbers: Any
    codes: List[str]
    columns: Dict[str, Any] = field(default_factory=dict)
    status: Any = None

    def code_array(self) -> Any:
        """Codes as an array of str objects, equal ones shared."""
        distinct = np.empty(len(self.codes), dtype=object)
        distinct[:] = self.codes
        return distinct[self.code_numbers]

    def take(self, rows: Any) -> "Cells":
        """Some of the rows, by a mask or a slice."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        status = None if self.status is None else self.status[rows]
        return Cells(self.dates[rows], self.code_numbers[rows], self.codes, columns, status)

    def lists(self, factors: List[str]) -> List[List[Any]]:
        """The columns as lists of Python objects; a factor of a row that is not ok is None."""
        missing = None if self.status is None else self.status != OK
        found = [self.dates.tolist(), self.code_array().tolist()]
        for name, values in self.columns.items():
            if missing is not None and name in factors and missing.any():
                values = np.where(missing, None, values.astype(object))
            found.append(values.tolist())
        return found


class Table:
    """Rows of ok tasks, or of those a question asked for. Derived classes give ``_cells`` and
    ``factor_names``."""

    factor_names: List[str]

    def _cells(self) -> Cells:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Tuple[Any, ...]]:
        """The rows as tuples of Python objects, in the order of ``to_pandas``'s columns."""
        cells, factors = self._cells(), self.factor_names
        for start in range(0, len(cells.dates), _CHUNK):
            yield from zip(*cells.take(slice(start, start + _CHUNK)).lists(factors))

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the columns date (int64), code (text) and those that ``_cells``
        has; made from the buffers, pyarrow is not needed. It owns its memory."""
        import pandas

        cells = self._cells()
        return pandas.DataFrame({"date": cells.dates, "code": cells.code_array(), **cells.columns})

    def to_matrix(self, factor: str) -> Tuple[Any, Any, List[str]]:
        """(values, dates, codes): a factor as a two-dimensional float64 array, a row for each
        date and a column for each code, both sorted; NaN where there is no row. Dates and codes
        without any row are left out."""
        cells = self._cells()
        values = _column(cells, factor)
        dates, rows = np.unique(cells.dates, return_inverse=True)
        used = np.flatnonzero(np.bincount(cells.code_numbers, minlength=len(cells.codes)))
        order = sorted(used.tolist(), key=cells.codes.__getitem__)
        places = np.zeros(len(cells.codes), dtype=np.intp)
        places[order] = np.arange(len(order))
        matrix = np.full((len(dates), len(order)), np.nan)
        matrix[rows, places[cells.code_numbers]] = values
        return matrix, dates, [cells.codes[number] for number in order]

    def pivot(self, factor: str) -> Any:
        """A factor as a pandas DataFrame of dates (index) and codes (columns), both sorted; NaN
        where there is no row. ``to_matrix`` gives the same without pandas."""
        import pandas

        matrix, dates, codes = self.to_matrix(factor)
        return pandas.DataFrame(
            matrix,
            index=pandas.Index(dates, name="date"),
            columns=pandas.Index(codes, name="code"),
            copy=False,
        )

    def _html(self, title: str, n_rows: Optional[int]) -> str:
        """The title and, where there are not too many rows to read, the first and last ones."""
        if n_rows is None or n_rows > _MOST_SHOWN_OF:
            return f"<p>{escape(title)}</p>"
        cells = self._cells()
        n = len(cells.dates)
        rows = list(range(n)) if n <= 2 * _SHOWN else [*range(_SHOWN), *range(n - _SHOWN, n)]
        part = cells.take(np.asarray(rows, dtype=np.intp))
        names = ["date", "code", *part.columns]
        columns = [part.dates, part.code_array(), *part.columns.values()]
        lines = [
            f"<tr>{''.join(f'<td>{_cell(c[i])}</td>' for c in columns)}</tr>" for i in range(len(rows))
        ]
        if n > len(rows):
            lines.insert(_SHOWN, f"<tr><td colspan='{len(names)}'>&#8942;</td></tr>")
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        return (
            f"<p>{escape(title)}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(lines)}</tbody></table>"
        )


def _column(cells: Cells, name: str) -> Any:
    try:
        return cells.columns[name]
    except KeyError:
        names = ", ".join(cells.columns)
        raise KeyError(f"there is no factor {name!r}: there are {names}") from None


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= 60 else text[:57] + "...")
