"""What workers print. Where this process's sys.stdout and sys.stderr are the real ones, worker
processes write there themselves. Where something stands in for them (a notebook, a test, a
redirection), they write into pipes, and a thread of this process passes it on."""

from __future__ import annotations

import codecs
import os
import sys
import threading
from typing import Any, Dict, List, Optional

JOIN_SECONDS = 2.0
"""How long the end of the pipes is waited for: what a task left running may hold them open."""


class Output:
    """The pipes of one run. ``ends`` has, by descriptor number (1, 2), what workers write to; a
    number that is missing is the process's own."""

    def __init__(self) -> None:
        self.ends: Dict[int, int] = {}
        self._pumps: List["_Pump"] = []
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = getattr(sys, name)
            if stream is not None and not _is_descriptor(stream, number):
                ours, self.ends[number] = os.pipe()
                self._pumps.append(_Pump(ours, stream))

    def begin(self) -> None:
        """Called when the workers' side is there: closes it here, begins to pass on."""
        self._close_ends()
        for pump in self._pumps:
            pump.start()

    def end(self) -> None:
        """Passes on what is left. For runs that never began, too."""
        self._close_ends()
        for pump in self._pumps:
            pump.finish()
        self._pumps = []

    def _close_ends(self) -> None:
        while self.ends:
            os.close(self.ends.popitem()[1])


def flush() -> None:
    """What waits in sys.stdout and sys.stderr is written, as far as they let us."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # None, or closed


class _Pump:
    def __init__(self, end: int, stream: Any) -> None:
        self._end = end
        self._stream = stream
        self._thread: Optional[threading.Thread] = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._pass_on, name="facpool output", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        if self._thread is None:
            os.close(self._end)
        else:
            self._thread.join(JOIN_SECONDS)

    def _pass_on(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            piece = os.read(self._end, 65_536)
            text = decoder.decode(piece, final=not piece)
            try:
                self._stream.write(text)
                self._stream.flush()
            except Exception:
                pass  # a stream that was closed: the workers must not block all the same
            if not piece:
                os.close(self._end)
                return


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except Exception:
        return False


def write_to(ends: Dict[int, int]) -> None:
    """In a worker process: makes sys.stdout and sys.stderr write whole lines to the given pipes, or
    to the descriptors they have."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        end = ends.get(number)
        if end is not None and end != number:
            os.dup2(end, number)
        stream = getattr(sys, name)
        if end is None and _is_descriptor(stream, number) and hasattr(stream, "reconfigure"):
            # Also where Python runs unbuffered, and would write each piece of a line by itself.
            stream.reconfigure(line_buffering=True, write_through=False)
        elif end is not None:
            text = open(
                number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, text)
