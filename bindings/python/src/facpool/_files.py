"""Calls on whole backup files: look, check, mend, convert, compact. Thin: the library does it all."""

from __future__ import annotations

import os
from typing import Any, Iterable, Optional, Union

from . import _core
from ._options import FORMATS, one_of
from ._record import Record, record

Path = Union[str, bytes, "os.PathLike[str]"]
Paths = Union[Path, Iterable[Path]]


def info(path: Path) -> Record:
    """What a backup holds, from its header and index, also while it is being written: ``format``,
    ``factor_names``, ``tag``, ``rows`` (stored rows by status), ``date_min``, ``date_max``,
    ``file_bytes``, ``closed``, ... A missing file is FileNotFoundError."""
    return record(_core.info(path))


def verify(path: Path) -> Record:
    """Reads and checks every byte. ``sound`` says whether all is well; ``tail_bytes`` are a torn
    tail, which is no damage: repair, or the next resume, cuts it off."""
    return record(_core.verify(path))


def repair(path: Path) -> Record:
    """Cuts off a torn tail and closes the file; gives what ``verify`` would have given before.
    Damaged blocks stay as they are: a run of their tasks that resumes the file computes them again."""
    return record(_core.repair(path))


def convert(
    paths: Paths,
    to: Path,
    *,
    storage_format: Optional[str] = None,
    mode: str = "create",
    tag: Optional[str] = None,
) -> None:
    """Writes the rows of one or many backups, of every status, into a new one: another format
    (``storage_format``, or by the suffix of ``to``), or many shards as one file. The new file
    appears whole under its name or not at all."""
    target: Any = {
        "path": to,
        "format": one_of("storage_format", storage_format, FORMATS),
        "mode": one_of("mode", mode, ("create", "overwrite")),
        "tag": tag,
    }
    _core.convert(path_list(paths), target)


def compact(path: Path) -> None:
    """Rewrites a backup in place of itself: sorted, in full blocks, without failures that later rows
    made obsolete. Readers that have the old file open keep it."""
    _core.compact(path)


def path_list(paths: Paths) -> "list[Path]":
    """One path or many, as a list."""
    if isinstance(paths, (str, bytes, os.PathLike)):
        return [paths]
    found = list(paths)
    if not found:
        raise ValueError("no path is given: give the path of a backup, or several")
    return found
