"""How worker processes come to be: forked from this process, or from a fresh one that receives the
function once. ``choose`` says which; ``Fork`` and ``Spawn`` do it, for a run and for the probe before
it. The workers themselves are forked and minded by the library."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from typing import Any, Dict, List, Optional

from . import _compat, _core, _output
from ._libraries import OneThread, one_thread_each
from ._output import Output
from ._probe import Answer, Asker, Lost, Unit, Work
from ._wire import Wire
from ._worker import LATE, Setup, probe

METHODS = ("fork", "spawn")
HELPER_SECONDS = 10.0
"""How long the fresh process may take to end after its run."""

_log = logging.getLogger("facpool")


def choose(asked: Optional[str]) -> str:
    """The start method: the one asked for, else "fork" where this process has one thread, and
    "spawn" where it has more, since locks that other threads hold stay locked in a fork for ever."""
    if asked is not None:
        if asked == "fork" and _compat.other_threads():
            _log.info("forking workers, as asked, beside %s", _compat.thread_names())
        return asked
    return "spawn" if _compat.other_threads() else "fork"


def starter(asked: Optional[str], work: Work) -> "Starter":
    """A way to start workers for this function. Raises TypeError where it must be sent to a fresh
    process and can't be."""
    if choose(asked) == "fork":
        return Fork(work)
    try:
        return Spawn(work)
    except CannotSend as error:
        if asked is None:
            error = CannotSend(
                f"{error} A fork needs not send it, but is not safe in this process, which has "
                f"{_compat.thread_names()}. To fork all the same: start_method='fork'"
            )
        raise error from error.__cause__


class CannotSend(TypeError):
    """The function can't be pickled."""


class Starter(Asker):
    """A run's workers: first asked by the probe, maybe, then started with ``options``."""

    method: str

    def options(self, details: Dict[str, Any]) -> Dict[str, Any]:
        """What the extension's ``start`` needs to start workers. ``details``: n_factors,
        factor_names, batch, known, group_by."""
        raise NotImplementedError

    def started(self) -> None:
        """Called when the run has started."""

    def finish(self, in_order: bool) -> None:
        """Called when the run is over, or did not start."""


# ------------------------------------------------------------------ talking to the probe's child


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _ending(status: int) -> str:
    """Of a child that died, by its wait status."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number:
        try:
            return f"the process died of {signal.Signals(number).name}"
        except ValueError:
            return f"the process died of signal {number}"
    return f"the process exited with status {os.WEXITSTATUS(status)}"


def _timed_out(seconds: Optional[float]) -> Lost:
    return Lost(f"the task took longer than the timeout of {seconds:g} s")


# ------------------------------------------------------------------ fork


class Fork(Starter):
    """Workers are copies of this process as it is when the run starts."""

    method = "fork"

    def __init__(self, work: Work) -> None:
        self._work = work
        self._output = Output()
        self._wire: Optional[Wire] = None
        self._child = 0
        self._libraries = OneThread()

    def _setup(self) -> Setup:
        return Setup(self._work.worker_init, self._output.ends)

    def options(self, details: Dict[str, Any]) -> Dict[str, Any]:
        return {
            **details,
            "func": self._work.func,
            "kwargs": self._work.kwargs,
            "worker_init": self._setup(),
        }

    def started(self) -> None:
        self._libraries.restore()
        self._output.begin()

    def finish(self, in_order: bool) -> None:
        self._libraries.restore()
        self.end()
        self._output.end()

    # -------------------------------------------------------------- the probe

    def ask(self, units: List[Unit]) -> None:
        if self._wire is None:
            self._fork_probe()
        assert self._wire is not None
        self._wire.send(units)

    def _fork_probe(self) -> None:
        ours, theirs = Wire.pair()
        _output.flush()
        with warnings.catch_warnings():
            # Beside other threads it was asked for by name.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            ours.close()
            probe(theirs, self._work, self._setup())
        theirs.close()
        self._wire, self._child = ours, child
        ours.receive()  # its id, which is known here
        what, text = ours.receive()
        if what == "unprepared":
            raise _core.TaskError(text)

    def next_answer(self, seconds: Optional[float]) -> Answer:
        assert self._wire is not None
        try:
            return _answer_of(self._wire.receive(seconds))
        except TimeoutError:
            _kill(self._child)
            self._bury()
            raise _timed_out(seconds) from None
        except EOFError:
            raise Lost(_ending(self._bury())) from None

    def end(self) -> None:
        if self._wire is not None:
            _kill(self._child)
            self._bury()

    def _bury(self) -> int:
        assert self._wire is not None
        self._wire.close()
        self._wire = None
        return os.waitpid(self._child, 0)[1]


def _answer_of(message: Any) -> Answer:
    what, answer = message
    assert what == "answer", what
    return answer  # type: ignore[no-any-return]


# ------------------------------------------------------------------ spawn


class Spawn(Starter):
    """Workers are forked from a fresh process, which has nothing of this one but the function with
    all it refers to, kwargs, worker_init, sys.path, sys.argv, the environment and the folder."""

    method = "spawn"

    def __init__(self, work: Work) -> None:
        self._work = work
        self._output = Output()
        self._is_ready = False
        self._probe_child = 0
        self.is_late = False
        began = time.monotonic()
        try:
            self._wire, self._process = _launch(work, self._output)
        except BaseException:
            self._output.end()
            raise
        self._output.begin()
        _log.debug("fresh process %d after %.3f s", self._process.pid, time.monotonic() - began)

    def options(self, details: Dict[str, Any]) -> Dict[str, Any]:
        def start(fd: int, error_fd: int) -> None:
            self._wait_until_ready()
            self._tell(("serve", details), [fd, error_fd])

        return {**details, "func": self._work.func, "start": start}

    def finish(self, in_order: bool) -> None:
        self._wire.close()
        if not in_order:
            self._process.kill()
        try:
            self._process.wait(HELPER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.end()

    # -------------------------------------------------------------- the probe

    def ask(self, units: List[Unit]) -> None:
        self._wait_until_ready()
        if not self._probe_child:
            details = {"batch": self._work.batch, "attempts": self._work.attempts}
            self._tell(("probe", details))
            self._probe_child = self._hear()[1]
            what, text = self._hear()
            if what == "unprepared":
                raise _core.TaskError(text)
            if what == "ended":
                raise _core.WorkerError(f"worker_init can't be run: {_ending(text)}")
        self._tell(units)

    def next_answer(self, seconds: Optional[float]) -> Answer:
        try:
            message = self._hear(seconds)
        except TimeoutError:
            _kill(self._probe_child)
            while self._hear()[0] != "ended":
                pass
            self._probe_child = 0
            raise _timed_out(seconds) from None
        if message[0] == "ended":
            self._probe_child = 0
            raise Lost(_ending(message[1]))
        return _answer_of(message)

    def end(self) -> None:
        if self._probe_child:
            _kill(self._probe_child)
            while self._hear()[0] != "ended":
                pass
            self._probe_child = 0

    # -------------------------------------------------------------- the fresh process

    def _wait_until_ready(self) -> None:
        if not self._is_ready:
            self.is_late = self._hear()[1]["is_late"]
            self._is_ready = True
            if self.is_late:
                _log.info("loading the function starts threads: each worker loads it for itself")

    def _tell(self, message: Any, descriptors: Any = ()) -> None:
        try:
            self._wire.send(message, descriptors)
        except OSError:
            raise self._is_gone() from None

    def _hear(self, seconds: Optional[float] = None) -> Any:
        try:
            message = self._wire.receive(seconds)
        except EOFError:
            raise self._is_gone() from None
        if message[0] == "broken":
            raise _core.WorkerError(
                "the function can't be loaded in a fresh process. Modules it needs must be importable "
                "there; start_method='fork' needs no loading. It says:\n" + message[1]
            )
        return message

    def _is_gone(self) -> Exception:
        status = self._process.wait(HELPER_SECONDS)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return _core.WorkerError(
            f"the fresh process that workers are forked from ended ({how}) before they were: what it "
            "wrote to stderr says more"
        )


_BOOT = (
    "import sys, json; file = open(int(sys.argv[1]), 'rb'); header = json.loads(file.readline()); "
    "sys.path[:] = header['path']; from facpool._worker import main; main(file, header)"
)


def _launch(work: Work, output: Output) -> Any:
    """Starts the fresh process: (our end of its wire, the Popen object)."""
    ours, theirs = Wire.pair()
    payload = os.memfd_create("facpool function", os.MFD_CLOEXEC)
    try:
        flags: List[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
        command = [sys.executable, *flags, "-c", _BOOT, str(payload)]
        header = {
            "path": [each for each in sys.path if isinstance(each, str)],
            "argv": [str(each) for each in sys.argv],
            "wire": theirs.fileno(),
            "piped": sorted(output.ends),
            "command": command,
        }
        _write_payload(payload, header, work)
        _output.flush()  # what this process has printed comes before what workers print
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output.ends.get(1),
            stderr=output.ends.get(2),
            pass_fds=(payload, theirs.fileno()),
            env=_environment(),
            start_new_session=True,  # out of the terminal's reach: Ctrl-C is ours
        )
        return ours, process
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(payload)


def _environment() -> Dict[str, str]:
    environment = {**os.environ, **one_thread_each(os.environ)}
    environment.pop(LATE, None)
    return environment


def _write_payload(descriptor: int, header: Dict[str, Any], work: Work) -> None:
    """As _worker.Payload reads it."""
    import cloudpickle

    buffers: List[memoryview] = []

    def keep_apart(buffer: pickle.PickleBuffer) -> bool:
        try:
            buffers.append(buffer.raw())
        except BufferError:  # not in one piece
            return True
        return False

    content = {"func": work.func, "kwargs": work.kwargs, "worker_init": work.worker_init}
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(header).encode() + b"\n")
        parts = []
        start = file.tell()
        try:
            cloudpickle.Pickler(file, protocol=5, buffer_callback=keep_apart).dump(content)
        except Exception as error:
            raise CannotSend(
                f"the function, or something it refers to, can't be sent to a fresh process: {error}. "
                "Make files, locks and connections in worker_init, where each worker has its own."
            ) from error
        parts.append((start, file.tell()))
        for buffer in buffers:
            file.write(bytes(-file.tell() % 64))
            start = file.tell()
            file.write(buffer)
            parts.append((start, file.tell()))
        index = pickle.dumps(parts)
        file.write(index + len(index).to_bytes(8, "little"))
    os.lseek(descriptor, 0, os.SEEK_SET)
