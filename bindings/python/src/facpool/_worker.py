"""What runs in other processes: the life of the fresh process that workers are forked from
(``main``), what each worker does before its first task (``Setup``), and the child that finds out how
wide a row is (``probe``). Imports no NumPy: libraries are loaded with the function, or not at all."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _core, _output
from ._compat import other_threads
from ._libraries import one_thread_each
from ._probe import Answer, Unit, Work
from ._wire import Wire

# ------------------------------------------------------------------ a worker


class Setup:
    """Called in each worker before its first task: where its output goes, threads of libraries,
    random states, the user's ``worker_init``."""

    def __init__(
        self, worker_init: Optional[Callable[[], Any]], ends: Optional[Dict[int, int]] = None
    ) -> None:
        """``ends``: descriptors to write to in place of 1 and 2, as Output has them."""
        self._worker_init = worker_init
        self._ends = dict(ends or {})

    def __call__(self, worker: int) -> None:
        _output.write_to(self._ends)
        os.environ.update(one_thread_each(os.environ))  # for libraries that are loaded from now on
        _draw_new_numbers()
        run_worker_init(self._worker_init)


def run_worker_init(worker_init: Optional[Callable[[], Any]]) -> None:
    """The user's own preparations. Raises TaskError with the traceback where they fail."""
    if worker_init is None:
        return
    try:
        worker_init()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _core.TaskError(f"worker_init failed:\n{traceback.format_exc()}") from error


def _draw_new_numbers() -> None:
    """Workers are copies of one process: without this they would all draw the same numbers."""
    for name in ("random", "numpy.random"):
        module = sys.modules.get(name)
        if module is not None:
            module.seed()


# ------------------------------------------------------------------ the probe's child


def probe(wire: Wire, work: Work, setup: Callable[[int], None]) -> None:
    """In a forked child: calls the function as it is asked to, and leaves the process."""
    status = 1
    try:
        _leave_the_terminal()
        wire.send(("pid", os.getpid()))
        _answer_all(wire, work, setup)
        status = 0
    except (EOFError, OSError):
        pass  # who asked is gone
    finally:
        _output.flush()
        os._exit(status)


def _answer_all(wire: Wire, work: Work, setup: Callable[[int], None]) -> None:
    try:
        setup(0)
    except BaseException as error:
        wire.send(("unprepared", str(error)))
        return
    wire.send(("prepared", None))
    while True:
        units: Optional[List[Unit]] = wire.receive()
        if units is None:
            return
        for unit in units:
            answer = _answer(work, unit)
            wire.send(("answer", answer))
            if answer.width:
                break


def _answer(work: Work, unit: Unit) -> Answer:
    try:
        return work.answer(unit)
    except KeyboardInterrupt:  # raised by the function: as any other exception
        text = traceback.format_exc()
        return Answer(known=dict.fromkeys(unit[0], text), failure=text)


def _leave_the_terminal() -> None:
    """As the library's own workers: Ctrl-C is the run's to deal with, input is nobody's."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def die_with_parent() -> None:
    """Has this process killed when its parent ends, however that ends."""
    import ctypes

    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


# ------------------------------------------------------------------ the fresh process


class Payload:
    """What the function travels in: a file that begins with a line of JSON (what ``main`` must
    know before it can import anything), then a pickle, then its buffers, then where these are.
    Buffers are mapped, not read: an array reaches all workers without a copy."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)

    def load(self) -> Dict[str, Any]:
        view = memoryview(self._map)
        size = int.from_bytes(view[-8:], "little")
        parts: List[Tuple[int, int]] = pickle.loads(view[-8 - size : -8])
        pieces = [view[start:end] for start, end in parts]
        for piece in pieces[1:]:
            piece[:: mmap.PAGESIZE].tobytes()  # here once, rather than in each worker for itself
        content: Dict[str, Any] = pickle.loads(pieces[0], buffers=pieces[1:])
        return content


class Late:
    """A function that each worker loads for itself, as loading it starts threads, and a process
    with threads can't be forked."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._func: Optional[Callable[..., Any]] = None
        self._kwargs: Dict[str, Any] = {}

    def __call__(self, date: Any, code: Any) -> Any:
        assert self._func is not None
        return self._func(date, code, **self._kwargs)

    def prepare(self) -> None:
        """The worker's worker_init."""
        content = self._payload.load()
        self._func, self._kwargs = content["func"], content["kwargs"]
        run_worker_init(content["worker_init"])


class Helper:
    """The fresh process: loads the function, forks the probe's child and then the workers."""

    def __init__(self, wire: Wire, payload: Payload, header: Dict[str, Any], is_late: bool) -> None:
        self._wire = wire
        self._payload = payload
        self._header = header
        self._is_late = is_late
        self._content: Dict[str, Any] = {}

    def load(self) -> bool:
        """False: threads were started, so that this process can't fork."""
        if self._is_late:
            late = Late(self._payload)
            self._content = {"func": late, "kwargs": {}, "worker_init": late.prepare}
            return True
        self._content = self._payload.load()
        return other_threads() == 0

    def serve(self) -> None:
        """Does what it is told, until the run is over or its process is gone."""
        self._wire.send(("ready", {"is_late": self._is_late}))
        while True:
            what, details = self._wire.receive()
            if what == "probe":
                self._fork_probe(details)
            elif what == "serve":
                self._fork_workers(details, self._wire.descriptors)
                return

    def _setup(self) -> Setup:
        # Where output is piped, the pipes are this process's own 1 and 2.
        return Setup(self._content["worker_init"], {number: number for number in self._header["piped"]})

    def _fork_probe(self, details: Dict[str, Any]) -> None:
        content = self._content
        work = Work(content["func"], content["kwargs"], None, details["batch"], details["attempts"])
        child = os.fork()
        if child == 0:
            probe(self._wire, work, self._setup())
        _, status = os.waitpid(child, 0)
        self._wire.send(("ended", status))

    def _fork_workers(self, details: Dict[str, Any], descriptors: List[int]) -> None:
        fd, error_fd = descriptors
        options: Any = {
            **details,
            "func": self._content["func"],
            "kwargs": self._content["kwargs"],
            "worker_init": self._setup(),
            "error_fd": error_fd,
        }
        if details["batch"]:
            from ._batch import BatchCall

            options["batch_call"] = BatchCall(details["factor_names"])
        self._wire.close()
        _core.serve(fd, options)


def main(file: Any, header: Dict[str, Any]) -> None:
    """Entered by the command line that _start makes: ``file`` holds the function."""
    import socket

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()  # where it has died already, the wire says so
    sys.argv[:] = header["argv"]
    wire = Wire(socket.socket(fileno=header["wire"]))
    is_late = os.environ.pop(LATE, None) is not None
    helper = Helper(wire, Payload(file.fileno()), header, is_late)
    status = 0
    try:
        if not helper.load():
            _begin_again(file, wire, header)
        helper.serve()
    except EOFError:
        pass  # the run is over, or its process is gone
    except BaseException:
        status = 1
        try:
            wire.send(("broken", traceback.format_exc()))
        except OSError:
            pass
    _output.flush()
    os._exit(status)


LATE = "FACPOOL_LOAD_IN_WORKERS"
"""Set for a helper that is not to load the function itself."""


def _begin_again(file: Any, wire: Wire, header: Dict[str, Any]) -> None:
    """Replaces this process by one that leaves loading to the workers."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    for descriptor in (file.fileno(), wire.fileno()):
        os.set_inheritable(descriptor, True)
    os.environ[LATE] = "1"
    os.execv(header["command"][0], header["command"])
