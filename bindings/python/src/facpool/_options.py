"""Checks of what callers give: each returns the value in the library's terms or raises an error that
names the option, the value and what would do. Called before anything is started or written."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Iterable, List, Optional, Tuple, Union

FORMATS = ("binary", "json", "memory_map")

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:I?B)?\s*", re.IGNORECASE)


def one_of(name: str, value: Optional[str], allowed: Iterable[str]) -> Optional[str]:
    """A word out of a few; None stays None, the library's default."""
    allowed = tuple(allowed)
    if value is None or (isinstance(value, str) and value in allowed):
        return value
    raise ValueError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")


def count(name: str, value: Any, least: int = 1, most: int = (1 << 32) - 1) -> Optional[int]:
    """A whole number; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}={value!r}: give a whole number")
    number = value.__index__()
    if not least <= number <= most:
        raise ValueError(f"{name}={value!r}: give a number from {least} to {most}")
    return int(number)


def flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"{name}={value!r}: give True or False")


def seconds(name: str, value: Any) -> Optional[int]:
    """Seconds as milliseconds, at least one; None stays None."""
    if value is None:
        return None
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}={value!r}: give seconds, such as 2.5")
    number = float(value)
    if not (0 < number <= 4_000_000):
        raise ValueError(f"{name}={value!r}: give seconds above 0, at most 4,000,000")
    return max(1, math.ceil(number * 1000))


def size(name: str, value: Any) -> Optional[int]:
    """Bytes: an int, or a text such as "2GB", "1.5 GiB", "512m" (powers of 1024)."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if not match:
            raise ValueError(f"{name}={value!r}: give bytes, or a text such as '2GB'")
        value = int(float(match.group(1)) * _UNITS[match.group(2).upper()])
    return count(name, value, 1, (1 << 63) - 1)


def function(name: str, value: Any) -> Any:
    """Something to call, or None."""
    if value is None or callable(value):
        return value
    raise TypeError(f"{name}={value!r}: give a function")


def text(name: str, value: Any) -> Optional[str]:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{name}={value!r}: give a text")


def path(name: str, value: Any) -> Union[str, bytes, None]:
    if value is None or isinstance(value, (str, bytes, os.PathLike)):
        return None if value is None else os.fspath(value)
    raise TypeError(f"{name}={value!r}: give a path")


def factors(value: Any) -> Tuple[Optional[int], Optional[List[str]]]:
    """(count, names) of what ``run`` is given: a count, names, or None for "find out"."""
    if value is None:
        return None, None
    if isinstance(value, (str, bytes)):
        raise TypeError(f"factors={value!r}: give a list of names, such as [{value!r}], or a count")
    if hasattr(value, "__index__") or isinstance(value, (bool, float)):
        return count("factors", value, 1, 65_535), None
    names = list(value)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"factors: {name!r} is no name: give texts, or a count")
    if not names:
        raise ValueError("factors is empty: name at least one, or leave it out")
    return len(names), [str(name) for name in names]
