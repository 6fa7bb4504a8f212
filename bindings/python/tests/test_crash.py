"""A worker may die in any way, hang, or eat memory: it costs the task at fault, whose row says what
happened, and nothing else. No process outlives its run."""
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import facpool
from helpers import PATIENCE, append_line, descendants, is_alive, memory_kib, read_lines, wait_until

N = 200


def numbered(n=N):
    return [(20240102, f"{i:06d}") for i in range(n)]


def abort():
    os.abort()


def exit_now():
    os._exit(7)


def read_null():
    ctypes.string_at(0)


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def overflow_the_stack():
    """A real one: C recursion without end, on the worker's own stack."""
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    libc = ctypes.CDLL(None)
    array = (ctypes.c_int * 2)(2, 1)
    sys.setrecursionlimit(2**31 - 1)

    @compare
    def deeper(a, b):
        libc.qsort(array, 2, 4, deeper)
        return 0

    libc.qsort(array, 2, 4, deeper)


def leave_by_exit_of_c():
    ctypes.CDLL(None).exit(0)


DEATHS = {
    "abort": (abort, "SIGABRT"),
    "_exit": (exit_now, "7"),
    "segfault": (read_null, "SIGSEGV"),
    "kill -9": (kill_myself, "SIGKILL"),
    "stack overflow": (overflow_the_stack, "SIGSEGV"),
    "exit of C": (leave_by_exit_of_c, "0"),
}


@pytest.mark.parametrize("name", DEATHS)
def test_death_of_a_worker_costs_its_task_alone(processes, folder, name):
    die, says = DEATHS[name]

    def deadly(date, code):
        if code == "000050":
            append_line(str(folder / "deaths"), os.getpid())
            die()
        return [float(code)]

    result = facpool.run(deadly, numbered(), factors=1, backup="b", **processes)
    assert result.report.crashed == 1 and result.report.ok == N - 1
    failure, = result.failures
    assert (failure.code, failure.status) == ("000050", "crashed")
    assert says in failure.message
    assert len(read_lines("deaths")) == 1  # one attempt
    stored, = facpool.query("b", status="crashed").failures
    assert stored.message == failure.message
    expected = [float(i) for i in range(N)]
    got = result["f0"].tolist()
    assert got[:50] + got[51:] == expected[:50] + expected[51:] and got[50] != got[50]


def test_worker_killed_from_outside(processes, folder):
    """While it is on a task that would end well: kill -9 by who knows whom."""
    def waits_once(date, code):
        if code == "000020" and not os.path.exists("killed"):
            append_line("at_it", os.getpid())
            time.sleep(60)
        return [float(code)]

    def kill_it(*arguments):
        lines = read_lines("at_it")
        if lines and not os.path.exists("killed"):
            append_line("killed", "")
            os.kill(int(lines[0]), signal.SIGKILL)

    result = facpool.run(waits_once, numbered(60), factors=1, progress=kill_it, **processes)
    assert result.report.crashed == 1 and result.report.ok == 59
    assert "SIGKILL" in result.failures[0].message


def test_a_killed_worker_is_no_failure_where_attempts_are_left(processes, folder):
    def dies_once(date, code):
        if code == "000003" and not os.path.exists("died"):
            append_line("died", "")
            os.abort()
        return [float(code)]

    result = facpool.run(dies_once, numbered(20), factors=1, attempts=2, **processes)
    assert result.report.ok == 20 and not result.failures


def test_many_deaths(processes):
    """Every tenth task kills its worker."""
    def deadly(date, code):
        if int(code) % 10 == 3:
            os._exit(1)
        return [float(code)]

    result = facpool.run(deadly, numbered(100), factors=1, **processes)
    assert result.report.crashed == 10 and result.report.ok == 90
    assert [f.code for f in result.failures] == [f"{i:06d}" for i in range(3, 100, 10)]


def test_first_task_of_all_may_crash_where_factors_are_to_be_found_out(processes):
    """The probe runs in a child process too."""
    def deadly(date, code):
        if code == "000000":
            os.abort()
        return [1.0, 2.0]

    result = facpool.run(deadly, numbered(10), **processes)
    assert list(result.factor_names) == ["f0", "f1"]
    assert result.report.ok == 9 and result.report.ok + len(result.failures) == 10


def test_crashed_tasks_are_tried_again_on_resume(processes, folder):
    def deadly(date, code):
        if code == "000005" and not os.path.exists("mended"):
            os.abort()
        return [1.0]

    first = facpool.run(deadly, numbered(10), factors=1, backup="b", **processes)
    assert first.report.crashed == 1
    append_line("mended", "")
    second = facpool.run(deadly, numbered(10), factors=1, backup="b", mode="resume", **processes)
    assert (second.report.retry_crashed, second.report.ok, second.report.resumed) == (1, 1, 9)


# ------------------------------------------------------------------ timeouts

def test_timeout_costs_its_task_alone(processes, folder):
    def hangs(date, code):
        if code == "000007":
            append_line("calls", "")
            while True:
                time.sleep(1)
        return [float(code)]

    result = facpool.run(hangs, numbered(40), factors=1, timeout=PATIENCE, backup="b", **processes)
    assert result.report.timeout == 1 and result.report.ok == 39
    failure, = result.failures
    assert (failure.code, failure.status) == ("000007", "timeout")
    assert "3000 ms" in failure.message
    assert len(read_lines("calls")) == 1
    assert len(facpool.query("b", status="timeout")) == 1


def test_timeout_of_code_that_never_lets_python_look(processes):
    """C code that holds the GIL and takes no signal: the worker is killed all the same."""
    def hangs(date, code):
        if code == "000001":
            libc = ctypes.PyDLL(None)
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            libc.pause()
        return [1.0]

    result = facpool.run(hangs, numbered(5), factors=1, timeout=PATIENCE, **processes)
    assert result.report.timeout == 1 and result.report.ok == 4


def test_timeout_counts_one_call_and_not_the_run(processes):
    def slow(date, code):
        time.sleep(PATIENCE / 10)
        return [1.0]

    result = facpool.run(slow, numbered(24), factors=1, timeout=PATIENCE, **processes)
    assert result.report.ok == 24


def test_timeout_with_attempts_left(processes, folder):
    def slow_once(date, code):
        if not os.path.exists(f"tried_{code}"):
            append_line(f"tried_{code}", "")
            if code == "000002":
                time.sleep(60)
        return [1.0]

    result = facpool.run(slow_once, numbered(4), factors=1, timeout=PATIENCE, attempts=2, **processes)
    assert result.report.ok == 4


# ------------------------------------------------------------------ tasks of all sizes

def test_huge_and_tiny_tasks_together(processes, folder):
    """One of a second with rows of 8 KB among thousands that take nothing."""
    def task(date, code):
        if code == "000100":
            time.sleep(1)
        return [float(code)] * 1000

    result = facpool.run(task, numbered(3000), factors=1000, backup="b", **processes)
    assert result.report.ok == 3000
    assert result["f999"].tolist() == [float(i) for i in range(3000)]
    assert result.report.slowest[0].seconds >= 1


def test_hundreds_of_thousands_of_tiny_tasks(processes, folder):
    grid = facpool.grid(range(200), [str(i) for i in range(1000)])
    result = facpool.run(lambda d, c: (d, 1.0), grid, factors=2, backup="b", **processes)
    assert result.report.ok == 200_000
    assert result["f0"].sum() == 1000 * sum(range(200))


def test_recursion_deep_but_finite(processes):
    def down(n):
        return 0 if n == 0 else 1 + down(n - 1)

    result = facpool.run(lambda d, c: [down(800)], numbered(4), factors=1, **processes)
    assert result["f0"].tolist() == [800.0] * 4


# ------------------------------------------------------------------ retirement

def test_workers_retire_after_so_many_tasks(processes):
    def who(date, code):
        return [float(os.getpid())]

    result = facpool.run(who, numbered(400), factors=1, tasks_per_worker=20, **processes)
    assert result.report.ok == 400
    assert len(set(result["f0"])) >= 8


def test_workers_retire_above_the_memory_limit(processes):
    """Each task leaks 8 MB; the limit leaves room for a few."""
    room = memory_kib(os.getpid()) * 1024 + 40 * 2**20 if processes["start_method"] == "fork" else \
        200 * 2**20

    def leaks(date, code):
        import builtins
        kept = builtins.__dict__.setdefault("kept_by_test", [])
        kept.append(bytearray(8 * 2**20))
        for i in range(0, len(kept[-1]), 4096):
            kept[-1][i] = 1
        return [float(os.getpid()), float(len(kept))]

    result = facpool.run(leaks, numbered(100), factors=2, memory_limit=room, **processes)
    assert result.report.ok == 100 and not result.failures
    assert len(set(result["f0"])) >= 4
    assert max(result["f1"]) < 40


# ------------------------------------------------------------------ the ends of processes

PARENT = """
    import os, sys, time, facpool
    start_method = sys.argv[1]

    def waits(date, code):
        with open("workers", "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(120)
        return [1.0]

    facpool.run(waits, [(1, str(i)) for i in range(4)], factors=1, workers=2, backup="b",
                executor="process", start_method=start_method)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_die_when_the_parent_is_killed(folder, method):
    """With SIGKILL, so that it can do nothing about it."""
    with open("parent.py", "w", encoding="utf-8") as file:
        file.write("\n".join(line[4:] for line in PARENT.splitlines()))
    parent = subprocess.Popen([sys.executable, "parent.py", method])
    try:
        assert wait_until(lambda: len(read_lines("workers")) == 2)
        below = descendants(parent.pid)
        assert {int(pid) for pid in read_lines("workers")} <= set(below)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not any(is_alive(pid) for pid in below)), below


def test_death_of_all_below_does_not_hang_the_run(processes, folder):
    """Who kills all processes below must not leave the run waiting for ever."""
    def waits(date, code):
        append_line("workers", os.getpid())
        time.sleep(120)
        return [1.0]

    killed = []

    def kill_all(*arguments):
        below = descendants(os.getpid())
        if len(read_lines("workers")) >= 2 and not killed:
            killed.extend(below)
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    with pytest.raises(facpool.Error):
        facpool.run(waits, numbered(4), factors=1, progress=kill_all, **processes)
    assert killed


def test_worker_exceptions_do_not_end_the_worker(processes):
    """Only death does: the same process goes on after an exception."""
    def fails_often(date, code):
        if int(code) % 2:
            raise ValueError
        return [float(os.getpid())]

    options = dict(processes, workers=1)
    result = facpool.run(fails_often, numbered(100), factors=1, **options)
    assert result.report.failed == 50
    assert len({pid for pid in result["f0"].tolist() if pid == pid}) == 1


def test_no_descriptors_of_the_host_in_spawned_workers(folder):
    """A file that the host has open stays its own."""
    with open("secret", "w", encoding="utf-8") as file:
        os.set_inheritable(file.fileno(), True)

        def sees(date, code):
            names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                     if os.path.exists(f"/proc/self/fd/{fd}")]
            return [float(any("secret" in name for name in names))]

        result = facpool.run(sees, numbered(2), factors=1, executor="process", start_method="spawn")
    assert result["f0"].tolist() == [0.0, 0.0]


def test_signals_in_workers_are_as_documented(processes):
    """SIGINT ignored, everything else by default, none blocked; a process group of their own."""
    def looks(date, code):
        blocked = len(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        with open("/proc/self/status", encoding="utf-8") as file:
            sets = {line[:6]: int(line[8:], 16) for line in file if line[:6] in ("SigIgn", "SigCgt")}
        ignored = sets["SigIgn"] >> signal.SIGINT - 1 & 1
        caught = sets["SigCgt"] >> signal.SIGTERM - 1 & 1
        return [float(blocked), float(ignored), float(1 - caught), float(os.getpgid(0))]

    previous = signal.signal(signal.SIGTERM, lambda *a: None)
    try:
        result = facpool.run(looks, numbered(4), factors=4, **processes)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert result["f0"].tolist() == [0.0] * 4
    assert result["f1"].tolist() == [1.0] * 4
    assert result["f2"].tolist() == [1.0] * 4
    assert set(result["f3"]) != {float(os.getpgid(0))}


def test_a_worker_that_starts_threads_and_processes(processes):
    def busy(date, code):
        out = []
        thread = threading.Thread(target=lambda: out.append(1.0))
        thread.start()
        thread.join()
        text = subprocess.run(["echo", "2"], capture_output=True, text=True, check=True).stdout
        return out + [float(text)]

    result = facpool.run(busy, numbered(8), factors=2, **processes)
    assert result.report.ok == 8 and result["f1"].tolist() == [2.0] * 8


def test_printing_workers_do_not_disturb_anything(processes, folder, capfd):
    """Neither prints nor bytes on any standard descriptor are part of what workers tell the run."""
    def prints(date, code):
        print("from", code, flush=True)
        os.write(1, b"raw\n")
        os.write(2, b"raw\n")
        return [float(code)]

    result = facpool.run(prints, numbered(50), factors=1, **processes)
    assert result.report.ok == 50
    out = capfd.readouterr().out
    assert out.count("from ") == 50 and out.count("raw") == 50
