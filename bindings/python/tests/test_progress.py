"""How far a run is: a bar, a callback, a line; what a callback may do; and what is logged."""
import logging
import os
import sys
import time

import pytest

import facpool
from helpers import python, some_pairs

PAIRS = some_pairs(10, 20)


def quick(date, code):
    time.sleep(0.001)
    return [1.0]


# ------------------------------------------------------------------ callbacks

def test_callback_counts_up_to_the_end(how):
    seen = []
    facpool.run(quick, PAIRS, factors=1, progress=seen.append, **how)
    assert seen
    assert [now.done for now in seen] == sorted(now.done for now in seen)
    assert (seen[-1].done, seen[-1].ok, seen[-1].failed, seen[-1].resumed) == (200, 200, 0, 0)
    assert all(now.total == 200 for now in seen)
    assert seen[-1].elapsed > 0 and seen[-1].rate > 0


def test_a_callback_that_returns_true_cancels_nothing(how):
    """As tqdm's update does."""
    result = facpool.run(quick, PAIRS, factors=1, progress=lambda *a: True, **how)
    assert result.report.ok == 200


def test_an_exception_in_a_callback_cancels_and_comes_out(how, folder):
    class Enough(Exception):
        pass

    def stop(now):
        if now.done >= 2:
            raise Enough("stop here")

    def slow(date, code):
        time.sleep(0.02)
        return [1.0]

    with pytest.raises(Enough, match="stop here"):
        facpool.run(slow, PAIRS, factors=1, progress=stop, backup="b", **how)
    kept = len(facpool.query("b"))
    assert 2 <= kept < 200
    again = facpool.run(quick, PAIRS, factors=1, backup="b", mode="resume", **how)
    assert again.report.resumed == kept


def test_run_pools_callbacks_cancel_by_an_exception_alone(folder):
    def slow(date, code):
        time.sleep(0.02)
        return [1.0]

    with pytest.raises(RuntimeError, match="enough"):
        def stop(completed, total, elapsed_time, speed):
            if completed:
                raise RuntimeError("enough")
        facpool.run_pools(slow, PAIRS, progress_callback=stop, backup_file="b")
    assert len(facpool.query_backup("b")) < 200
    rows = facpool.run_pools(slow, PAIRS[:4], progress_callback=lambda *a: True)
    assert len(rows) == 4


def test_callback_is_called_while_a_task_takes_long(processes):
    """Promise 5."""
    seen = []

    def slow(date, code):
        time.sleep(2.5)
        return [1.0]

    facpool.run(slow, [(1, "a")], factors=1, progress=seen.append, **processes)
    assert len(seen) >= 3 and seen[0].done == 0


def test_callback_runs_on_the_calling_thread(processes):
    import threading
    seen = set()
    facpool.run(quick, PAIRS, factors=1, progress=lambda *a: seen.add(threading.get_ident()),
                **processes)
    assert seen == {threading.get_ident()}


def test_resumed_tasks_are_done_from_the_beginning_but_not_in_the_speed(folder):
    facpool.run(quick, PAIRS[:150], factors=1, backup="b", executor="serial")
    seen = []

    def slow(date, code):
        time.sleep(0.005)
        return [1.0]

    facpool.run(slow, PAIRS, factors=1, backup="b", mode="resume", progress=seen.append,
                workers=1)
    assert seen[0].done >= 150 and seen[-1].done == 200 and seen[-1].resumed == 150
    assert seen[-1].rate <= 250  # 5 ms each: 200 a second and no more


# ------------------------------------------------------------------ progress=True

def test_bar_by_tqdm_on_a_terminal(folder):
    import fcntl
    import pty
    import struct
    import subprocess
    import termios
    pytest.importorskip("tqdm")
    (folder / "program.py").write_text(
        "import time, facpool\n"
        "facpool.run(lambda d, c: time.sleep(0.01) or [1.0], [(1, str(i)) for i in range(100)],\n"
        "            factors=1, progress=True, workers=2)\n")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen([sys.executable, "program.py"], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert child.wait(60) == 0
    assert b"100%" in text and b"100/100" in text and b"\r" in text


def test_own_line_where_there_is_no_tqdm(folder):
    done = python("""
        import sys, time
        sys.modules["tqdm"] = None
        sys.modules["tqdm.auto"] = None
        import facpool
        facpool.run(lambda d, c: [1.0], [(1, str(i)) for i in range(100)], factors=1, progress=True)
        print("over")
    """, cwd=folder)
    assert done.stdout == "over\n"
    assert "100" in done.stderr


def test_no_progress_is_silent(folder):
    done = python("""
        import facpool
        facpool.run(lambda d, c: [1.0], [(1, "a")], factors=1)
        facpool.run(lambda d, c: [1.0], [(1, "a")], factors=1, progress=False)
    """, cwd=folder)
    assert done.stdout == done.stderr == ""


def test_a_bar_says_how_many_failed(folder):
    done = python("""
        import facpool
        def fails(date, code):
            if int(code) % 2:
                raise ValueError
            return [1.0]
        facpool.run(fails, [(1, str(i)) for i in range(100)], factors=1, progress=True)
    """, cwd=folder)
    assert "50" in done.stderr and "fail" in done.stderr


def test_a_closed_stderr_ends_no_run(folder):
    done = python("""
        import sys, facpool
        sys.stderr.close()
        result = facpool.run(lambda d, c: [1.0], [(1, str(i)) for i in range(10)], factors=1,
                             progress=True)
        print(result.report.ok)
    """, cwd=folder)
    assert done.stdout == "10\n"


# ------------------------------------------------------------------ logging

def test_what_the_library_does_on_its_own_is_logged(folder, caplog):
    """A torn tail that resume cuts off."""
    facpool.run(quick, PAIRS[:50], factors=1, backup="b", executor="serial")
    with open("b", "ab") as file:
        file.write(b"torn" * 100)
    with caplog.at_level(logging.DEBUG, logger="facpool"):
        facpool.run(quick, PAIRS, factors=1, backup="b", mode="resume", executor="serial")
    records = [record for record in caplog.records if record.name.split(".")[0] == "facpool"]
    assert records and any("tail" in record.getMessage() for record in records), caplog.text


def test_logging_is_silent_by_default(folder):
    done = python("""
        import facpool
        facpool.run(lambda d, c: [1.0], [(1, "a")], factors=1, backup="b")
        with open("b", "ab") as file:
            file.write(b"torn" * 100)
        facpool.run(lambda d, c: [1.0], [(1, "b")], factors=1, backup="b", mode="resume")
    """, cwd=folder)
    assert done.stdout == ""


def test_a_handler_that_raises_ends_no_run(folder):
    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError("broken handler")

    handler = Broken()
    logger = logging.getLogger("facpool")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        facpool.run(quick, PAIRS[:5], factors=1, backup="b", executor="serial")
        with open("b", "ab") as file:
            file.write(b"torn" * 100)
        try:
            result = facpool.run(quick, PAIRS[:9], factors=1, backup="b", mode="resume",
                                 executor="serial")
            assert result.report.ok == 4
        except RuntimeError as error:
            assert "broken handler" in str(error)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert len(facpool.query("b")) == 9


def test_logging_in_workers_goes_where_the_host_sends_it(folder):
    """By fork: handlers are inherited."""
    done = python("""
        import logging, sys, facpool
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s", level=logging.INFO)

        def logs(date, code):
            logging.getLogger("mine").info("at %s", code)
            return [1.0]

        facpool.run(logs, [(1, str(i)) for i in range(5)], factors=1, start_method="fork", workers=2)
    """, cwd=folder)
    assert sorted(line for line in done.stdout.splitlines() if "at" in line) == \
        [f"INFO at {i}" for i in range(5)]


def test_a_progress_callback_may_look_at_the_backup_and_print(folder, capsys):
    def look(now):
        print("at", now.done, len(facpool.query("b")) if os.path.exists("b") else 0)

    facpool.run(quick, PAIRS, factors=1, backup="b", progress=look, workers=2)
    assert "at 200" in capsys.readouterr().out
