"""Messages between this process and the one it started: small pickled objects, and descriptors with
them, over a socket. Used by _start on one side and _worker on the other; knows no message."""

from __future__ import annotations

import pickle
import select
import socket
import struct
from typing import Any, List, Optional, Sequence, Tuple

_HEAD = struct.Struct("<QI")
_MOST_DESCRIPTORS = 4


class Wire:
    """One end. Both ends belong to one thread at a time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.descriptors: List[int] = []
        """Those that came with the last message; they are the receiver's."""

    @staticmethod
    def pair() -> Tuple["Wire", "Wire"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return Wire(ours), Wire(theirs)

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Raises OSError where the other end is gone."""
        body = pickle.dumps(message, protocol=5)
        head = _HEAD.pack(len(body), len(descriptors))
        if descriptors:
            socket.send_fds(self._end, [head], list(descriptors))
            self._end.sendall(body)
        else:
            self._end.sendall(head + body)

    def receive(self, seconds: Optional[float] = None) -> Any:
        """The next message. Raises EOFError where the other end is gone, TimeoutError where nothing
        came in so many seconds (None: waits for ever)."""
        if seconds is not None and not self._has_something(seconds):
            raise TimeoutError
        length, descriptors = _HEAD.unpack(self._head())
        assert len(self.descriptors) == descriptors, "descriptors were lost on the way"
        return pickle.loads(self._exactly(length))

    def close(self) -> None:
        self._end.close()

    def _has_something(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _head(self) -> bytes:
        try:
            head, self.descriptors, _, _ = socket.recv_fds(self._end, _HEAD.size, _MOST_DESCRIPTORS)
        except ConnectionResetError:
            raise EOFError from None
        if not head:
            raise EOFError
        return head if len(head) == _HEAD.size else head + self._exactly(_HEAD.size - len(head))

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                part = self._end.recv(min(length - len(parts), 1 << 20))
            except ConnectionResetError:
                raise EOFError from None
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)
