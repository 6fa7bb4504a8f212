"""Nothing is left behind, however many runs there were, and memory does not grow with the tasks."""
import ctypes
import gc
import os
import threading

import pytest

import facpool
from helpers import memory_kib, processes_below_us, python, stat_fields, wait_until


def open_files():
    return sorted(os.listdir("/proc/self/fd"), key=int)


def shared_memory():
    """How many mappings of memory of no file this process has."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        return sum("memfd:" in line or "/dev/shm" in line or "/dev/zero" in line for line in file)


def task(date, code):
    if code == "3":
        raise ValueError("on purpose")
    return [1.0, 2.0]


PAIRS = [(1, str(i)) for i in range(20)]


def one_run(number, options):
    result = facpool.run(task, PAIRS, backup=f"b{number}", factors=2, **options)
    assert result.report.ok == 19
    table = result.__arrow_c_stream__()
    rows = list(facpool.query(f"b{number}"))
    assert len(rows) == 19
    del table
    os.remove(f"b{number}")


@pytest.mark.seconds(120)
@pytest.mark.parametrize("way, times", [("fork", 200), ("spawn", 12), ("serial", 200)])
def test_two_hundred_runs_leave_nothing_behind(folder, way, times):
    from helpers import WAYS
    one_run(0, WAYS[way])  # what is made once for all
    gc.collect()
    files, memory, threads = open_files(), shared_memory(), os.listdir("/proc/self/task")
    rss = None
    for number in range(times):
        one_run(number, WAYS[way])
        if number == times // 2:
            gc.collect()
            rss = memory_kib(os.getpid())
    gc.collect()
    assert open_files() == files
    assert shared_memory() == memory
    assert len(os.listdir("/proc/self/task")) <= len(threads)
    children = [pid for pid in processes_below_us() if stat_fields(pid)[1] == os.getpid()]
    assert children == []
    assert memory_kib(os.getpid()) - rss < 4096, "memory grows with the number of runs"


def test_memory_shared_with_workers_has_no_name(processes, folder):
    """So that it can't be left behind, however all of them end: all that workers share is a memfd."""
    def looks(date, code):
        with open("/proc/self/maps", encoding="utf-8") as file:
            shared = [line.split(maxsplit=5) for line in file if line.split()[1][3] == "s"]
        paths = {fields[5].strip() if len(fields) > 5 else "anonymous" for fields in shared}
        with open(f"paths_{code}", "w", encoding="utf-8") as file:
            file.write("\n".join(paths))
        return [1.0, 2.0]

    facpool.run(looks, PAIRS, factors=2, backup="b", **processes)
    for _, code in PAIRS:
        with open(f"paths_{code}", encoding="utf-8") as file:
            paths = file.read().splitlines()
        assert any("memfd:" in path for path in paths), paths
        assert all(path == "anonymous" or path.startswith("/memfd:") or "gconv" in path
                   for path in paths), paths


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_crashing_and_interrupted_runs_leave_nothing_behind(folder, way):
    from helpers import WAYS

    def bad(date, code):
        if code == "7":
            os.abort()
        return [1.0]

    def stop(now):
        if now.done:
            raise RuntimeError("stop")

    def both():
        assert facpool.run(bad, PAIRS, factors=1, **WAYS[way]).report.crashed == 1
        with pytest.raises(RuntimeError, match="stop"):
            facpool.run(task, PAIRS * 1, factors=2, progress=stop, **WAYS[way])
        with pytest.raises(facpool.Error):
            facpool.run(task, PAIRS, factors=2, worker_init=raises, **WAYS[way])

    def raises(*arguments):
        raise OSError("no")

    both()
    gc.collect()
    files, memory = open_files(), shared_memory()
    for _ in range(5):
        both()
    gc.collect()
    assert open_files() == files and shared_memory() == memory
    assert wait_until(lambda: processes_below_us() == [])


def test_refused_runs_leave_nothing_behind(folder):
    facpool.run(task, PAIRS, factors=2, backup="b", executor="serial")
    gc.collect()
    files, memory = open_files(), shared_memory()
    for way in ("fork", "spawn"):
        for _ in range(5):
            with pytest.raises(FileExistsError):
                facpool.run(task, PAIRS, factors=2, backup="b", start_method=way)
            with pytest.raises(ValueError):
                facpool.run(task, PAIRS + PAIRS[:1], factors=2, start_method=way)
    gc.collect()
    assert open_files() == files and shared_memory() == memory


def test_unused_streams_and_queries_leave_nothing_behind(folder):
    facpool.run(task, PAIRS, factors=2, backup="b.arrow", executor="serial")

    def look():
        query = facpool.query("b.arrow")
        streams = [query.__arrow_c_stream__() for _ in range(3)]
        columns = query["f0"], query.dates
        return len(streams) + len(columns)

    look()
    gc.collect()
    files = open_files()
    with open("/proc/self/maps", encoding="utf-8") as file:
        maps = file.read().count("b.arrow")
    for _ in range(50):
        look()
    gc.collect()
    assert open_files() == files
    with open("/proc/self/maps", encoding="utf-8") as file:
        assert file.read().count("b.arrow") <= maps


@pytest.mark.seconds(150)
def test_memory_is_bounded_over_ten_million_tasks(folder):
    """A grid of 10 M tasks, results dropped, a backup: the parent's memory stays where it was."""
    n_dates = 2000
    done = python("""
        import os, sys, facpool

        def memory(field):
            with open("/proc/self/status") as file:
                return next(int(line.split()[1]) for line in file if line.startswith(field))

        grid = facpool.grid(range(int(sys.argv[1])), [f"{i:06d}" for i in range(5000)])
        facpool.run(lambda d, c: (1.0, 2.0, 3.0), [(1, "a")], factors=3, workers=2)
        before = memory("VmRSS")
        result = facpool.run(lambda d, c: (d * 0.5, 2.0, 3.0), grid, factors=3, workers=2, backup="b",
                             results="drop")
        # RssShmem is what the workers share with us, which must be bounded too.
        print(result.report.ok, memory("VmHWM") - before)
    """, n_dates, cwd=folder, timeout=140)
    ok, grown_kib = map(int, done.stdout.split())
    assert ok == n_dates * 5000
    assert grown_kib < 256 * 1024, grown_kib
    assert facpool.info("b")["rows"]["ok"] == ok


def test_workers_do_not_grow_with_the_tasks(folder):
    """Half a million tiny tasks: a worker is no larger at the end than at the beginning."""
    def own_memory(date, code):
        if code == "0":
            return [float(memory_kib(os.getpid()))]
        return [0.0]

    grid = facpool.grid(range(500), [str(i) for i in range(1000)])
    result = facpool.run(own_memory, grid, factors=1, workers=1, executor="process",
                         start_method="fork")
    sizes = result["f0"][::1000]
    assert sizes[-1] - sizes[50] < 8 * 1024, (sizes[50], sizes[-1])


def test_references_of_arguments_are_given_back(folder):
    """The function, its arguments and the task list are free when the run is over."""
    import sys
    import weakref

    class Function:
        def __call__(self, date, code, big):
            return [1.0]

    for options in ({"executor": "serial"}, {"executor": "process", "start_method": "fork"},
                    {"executor": "process", "start_method": "spawn"}):
        function = Function()
        kwargs = {"big": []}
        watched = weakref.ref(function)
        result = facpool.run(function, PAIRS, factors=1, kwargs=kwargs, **options)
        assert result.report.ok == 20
        del function, result
        gc.collect()
        assert watched() is None, options
        assert sys.getrefcount(kwargs["big"]) <= 3


def test_threads_of_native_runs_do_not_pile_up(folder):
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_char_p,
                                ctypes.POINTER(ctypes.c_double))(lambda date, code, out: 0)
    for _ in range(3):
        facpool.run(function, PAIRS, factors=1, workers=2)
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    for _ in range(50):
        facpool.run(function, PAIRS, factors=1, workers=2)
    assert (threading.active_count(), len(os.listdir("/proc/self/task"))) <= before
