"""Ctrl-C: in a real terminal, by signal, and in a progress callback. The run ends soon, what was
finished is in the backup, no process stays, and resume runs the rest alone."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

import facpool
from helpers import is_alive, read_lines, wait_until

PROGRAM = """
import os, sys, time, facpool

def slow(date, code):
    with open("calls", "a") as file:
        file.write(f"{os.getpid()} {code}\\n")
    time.sleep(float(os.environ.get("TASK_SECONDS", "0.05")))
    return [float(code)]

tasks = [(1, f"{i:04d}") for i in range(200)]
try:
    result = facpool.run(slow, tasks, factors=1, workers=2, backup="b", mode="resume", flush=0.05,
                         executor=sys.argv[1] if sys.argv[1] == "serial" else "process",
                         start_method=None if sys.argv[1] == "serial" else sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", len(facpool.query("b")), flush=True)
    sys.exit(130)
print("whole", len(facpool.query("b")), result.report.resumed, flush=True)
"""


@pytest.fixture
def program(folder):
    (folder / "program.py").write_text(PROGRAM)
    return folder / "program.py"


def read_all(terminal, child):
    """What a program writes to its terminal until it ends."""
    text = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                piece = b""
            text += piece
            if not piece:
                break
        elif child.poll() is not None:
            break
    return text.decode()


def start_in_terminal(program, *arguments):
    """A child whose controlling terminal is a new one, as under a shell."""
    ours, theirs = pty.openpty()

    def take_terminal():
        os.setsid()
        import fcntl
        import termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen([sys.executable, str(program), *arguments], stdin=theirs, stdout=theirs,
                             stderr=theirs, preexec_fn=take_terminal)
    os.close(theirs)
    return child, ours


@pytest.mark.parametrize("way", ["fork", "spawn", "serial"])
def test_ctrl_c_in_a_terminal(program, way):
    """The key itself: the terminal sends SIGINT to all of its foreground group."""
    child, terminal = start_in_terminal(program, way)
    try:
        assert wait_until(lambda: len(read_lines("calls")) >= 20)
        workers = {int(line.split()[0]) for line in read_lines("calls")}
        os.write(terminal, b"\x03")
        text = read_all(terminal, child)
        assert child.wait(60) == 130, text
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))
    kept = int(re.search(r"interrupted (\d+)", text).group(1))
    assert 10 <= kept < 200
    assert "Traceback" not in text  # neither ours nor a worker's
    calls = len(read_lines("calls"))
    done = subprocess.run([sys.executable, str(program), way], capture_output=True, text=True,
                          check=True, timeout=60, env=dict(os.environ, TASK_SECONDS="0"))
    assert done.stdout.split() == ["whole", "200", str(kept)]
    assert len(read_lines("calls")) - calls == 200 - kept


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_ctrl_c_while_a_task_takes_for_ever(program, way):
    """It is waited for a short while, then killed: not as long as the task would take."""
    child, terminal = start_in_terminal_with(program, way, TASK_SECONDS="600")
    try:
        assert wait_until(lambda: len(read_lines("calls")) >= 2)
        workers = {int(line.split()[0]) for line in read_lines("calls")}
        os.write(terminal, b"\x03")
        text = read_all(terminal, child)
        assert child.wait(60) == 130, text
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert "interrupted 0" in text


def start_in_terminal_with(program, way, **variables):
    os.environ.update(variables)
    try:
        return start_in_terminal(program, way)
    finally:
        for name in variables:
            del os.environ[name]


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_ctrl_c_twice_ends_at_once(program, way):
    """Who presses it again does not get a second exception out of the cleaning up."""
    child, terminal = start_in_terminal_with(program, way, TASK_SECONDS="600")
    try:
        assert wait_until(lambda: len(read_lines("calls")) >= 2)
        workers = {int(line.split()[0]) for line in read_lines("calls")}
        for _ in range(3):
            os.write(terminal, b"\x03")
            time.sleep(0.1)
        read_all(terminal, child)
        assert child.wait(60) != 0
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert facpool.verify("b")["sound"]


def test_interrupt_while_the_factors_are_found_out(folder):
    """The probe is a child process too, and Ctrl-C ends it."""
    (folder / "program.py").write_text(PROGRAM.replace("factors=1, ", ""))
    child, terminal = start_in_terminal_with(folder / "program.py", "fork", TASK_SECONDS="600")
    try:
        assert wait_until(lambda: len(read_lines("calls")) >= 1)
        probe = int(read_lines("calls")[0].split()[0])
        os.write(terminal, b"\x03")
        read_all(terminal, child)
        assert child.wait(60) != 0
    finally:
        child.kill()
        child.wait()
        os.close(terminal)
    assert wait_until(lambda: not is_alive(probe))


def test_interrupt_in_this_process(processes, folder):
    """KeyboardInterrupt comes out of run, and the process goes on."""
    seen = []

    def look(*arguments):
        if len(read_lines("calls")) >= 6 and not seen:
            seen.append(1)
            signal.raise_signal(signal.SIGINT)

    def slow(date, code):
        with open("calls", "a", encoding="utf-8") as file:
            file.write(f"{code}\n")
        time.sleep(0.05)
        return [1.0]

    tasks = [(1, str(i)) for i in range(100)]
    with pytest.raises(KeyboardInterrupt):
        facpool.run(slow, tasks, factors=1, backup="b", progress=look, **processes)
    kept = len(facpool.query("b"))
    assert 4 <= kept < 100
    again = facpool.run(lambda d, c: [1.0], tasks, factors=1, backup="b", mode="resume", **processes)
    assert again.report.resumed == kept and again.report.ok == 100 - kept


def test_sigterm_of_the_host_ends_everything(program):
    child = subprocess.Popen([sys.executable, str(program), "fork"], stdout=subprocess.PIPE)
    assert wait_until(lambda: len(read_lines("calls")) >= 10)
    workers = {int(line.split()[0]) for line in read_lines("calls")}
    child.terminate()
    assert child.wait(60) == -signal.SIGTERM
    child.stdout.close()
    assert wait_until(lambda: not any(is_alive(pid) for pid in workers))
    kept = len(facpool.query("b"))
    done = subprocess.run([sys.executable, str(program), "fork"], capture_output=True, text=True,
                          check=True, timeout=60, env=dict(os.environ, TASK_SECONDS="0"))
    assert done.stdout.split() == ["whole", "200", str(kept)]


@pytest.mark.parametrize("times", [3])
def test_killed_again_and_again_and_resumed_to_the_end(program, times):
    """SIGKILL at any moment: no row is lost that was in the file, none is stored twice."""
    before = 0
    for turn in range(times):
        child = subprocess.Popen([sys.executable, str(program), "fork"], stdout=subprocess.DEVNULL)
        goal = before + 30
        wait_until(lambda: len(read_lines("calls")) >= goal or child.poll() is not None)
        child.kill()
        child.wait()
        kept = len(facpool.query("b")) if os.path.exists("b") else 0
        assert kept >= before // 2
        before = len(read_lines("calls"))
    done = subprocess.run([sys.executable, str(program), "fork"], capture_output=True, text=True,
                          check=True, timeout=60, env=dict(os.environ, TASK_SECONDS="0"))
    assert done.stdout.split()[:2] == ["whole", "200"]
    rows = facpool.query("b")
    assert sorted(rows["f0"].tolist()) == [float(i) for i in range(200)]
    assert facpool.info("b")["rows"]["ok"] == 200
