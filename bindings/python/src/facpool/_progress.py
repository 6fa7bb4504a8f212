"""How far a run is, shown to a person or handed to a function: made by ``run`` from its ``progress``
argument, called by the loop that waits for the run. Decides how often; never cancels by itself."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from typing import Any, Callable, Optional

from . import _core
from ._record import Record

LINE_SECONDS = 0.2
"""How often a line on a terminal is written anew."""
LOG_SECONDS = 10.0
"""How often a line is written where the output is no terminal."""
BAR_SECONDS = 0.1

_log = logging.getLogger("facpool")


class Display:
    """Shows nothing; what others derive from."""

    def show(self, progress: "_core.Progress") -> None:
        """Called every tenth of a second or so."""

    def end(self, progress: Optional["_core.Progress"], whole: bool) -> None:
        """Called once, with the last counts where there are any; ``whole``: the run went to its
        end."""


def make(progress: Any) -> Display:
    """The display for a ``progress`` argument: None, a bool, or a function."""
    if progress is None or progress is False:
        return Display()
    if progress is True:
        bar = _bar_class()
        return Lenient(Line() if bar is None else Bar(bar))
    if callable(progress):
        return Caller(progress)
    raise TypeError(f"progress={progress!r}: give True, or a function of one argument")


class Lenient(Display):
    """A display of ours: where it can't be written (a closed stderr), the run goes on without."""

    def __init__(self, inner: Display) -> None:
        self._inner: Optional[Display] = inner

    def show(self, progress: "_core.Progress") -> None:
        if self._inner is not None:
            try:
                self._inner.show(progress)
            except (OSError, ValueError) as error:
                self._give_up(error)

    def end(self, progress: Optional["_core.Progress"], whole: bool) -> None:
        if self._inner is not None:
            try:
                self._inner.end(progress, whole)
            except (OSError, ValueError) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _log.debug("progress can't be shown: %s", error)
        self._inner = None


class Caller(Display):
    """Hands progress to a function of the user's, whose result is not looked at (tqdm's ``update``
    returns True): only an exception ends the run."""

    def __init__(self, function: Callable[[Record], Any], seconds: float = BAR_SECONDS) -> None:
        self._function = function
        self._seconds = seconds
        self._next = 0.0

    def show(self, progress: "_core.Progress") -> None:
        now = time.monotonic()
        if now >= self._next:
            self._function(Record(progress))
            self._next = time.monotonic() + self._seconds

    def end(self, progress: Optional["_core.Progress"], whole: bool) -> None:
        if whole and progress is not None:
            self._function(Record(progress))


def _bar_class() -> Any:
    """tqdm's bar for this place, without the thread that it starts beside (a process that is to
    fork should have one thread alone), or None where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a notebook without ipywidgets
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return type("FacpoolBar", (tqdm,), {"monitor_interval": 0})


class Bar(Display):
    """A tqdm bar. Opened with the first counts, as tasks that were done before are no progress."""

    def __init__(self, bar_class: Any) -> None:
        self._class = bar_class
        self._bar: Any = None

    def show(self, progress: "_core.Progress") -> None:
        if self._bar is None:
            total = progress["total"]
            self._bar = self._class(
                total=total,
                initial=progress["resumed"],
                unit="task",
                unit_scale=total >= 100_000,
                ncols=_narrow(sys.stderr),
            )
        if progress["failed"]:
            self._bar.set_postfix(failed=progress["failed"], refresh=False)
        self._bar.update(progress["done"] - self._bar.n)

    def end(self, progress: Optional["_core.Progress"], whole: bool) -> None:
        if progress is not None:
            self.show(progress)
        if self._bar is not None:
            self._bar.close()


def _narrow(stream: Any) -> Optional[int]:
    """A width for terminals that say theirs is 0, where tqdm would show nothing."""
    try:
        return 79 if os.get_terminal_size(stream.fileno()).columns == 0 else None
    except (OSError, ValueError, AttributeError):
        return None


class Line(Display):
    """Our own line on stderr: a live one on a terminal, else one every ten seconds."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        is_terminal = getattr(self._stream, "isatty", None)
        self._live = bool(is_terminal and is_terminal())
        self._seconds = LINE_SECONDS if self._live else LOG_SECONDS
        self._next = time.monotonic() + (0.0 if self._live else LOG_SECONDS)
        self._width = 0

    def show(self, progress: "_core.Progress") -> None:
        if time.monotonic() >= self._next:
            self._write(describe(progress), ended=not self._live)
            self._next = time.monotonic() + self._seconds

    def end(self, progress: Optional["_core.Progress"], whole: bool) -> None:
        if progress is not None:
            self._write(describe(progress), ended=True)

    def _write(self, text: str, ended: bool) -> None:
        if self._stream is None:
            return
        padded = text.ljust(self._width) if self._live else text
        self._width = len(text)
        self._stream.write(("\r" if self._live else "") + padded + ("\n" if ended else ""))
        self._stream.flush()


def describe(progress: "_core.Progress") -> str:
    """``facpool: 45% 4,500/10,000 [00:12<00:15, 375/s, 3 failed]``"""
    total, done = progress["total"], progress["done"]
    percent = 100 * done // total if total else 100
    eta = progress["eta"]
    parts = [f"{_clock(progress['elapsed'])}<{'?' if eta is None else _clock(eta)}"]
    parts.append(f"{progress['rate']:,.0f}/s")
    for name in ("resumed", "skipped", "failed"):
        if progress[name]:
            parts.append(f"{progress[name]:,} {name}")
    return f"facpool: {percent:3d}% {done:,}/{total:,} [{', '.join(parts)}]"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
