"""The options of facpool.run: each does what its name says, over each way to run."""
import errno
import os
import threading
import time

import numpy
import pytest

import facpool
from helpers import append_line, python, read_lines, some_pairs, three_factors

PAIRS = some_pairs(6, 10)


def count_calls(path):
    def counted(date, code):
        append_line(path, f"{date} {code}")
        return three_factors(date, code)
    return counted


# ------------------------------------------------------------------ promises, in Python

def test_results_are_the_same_however_they_are_run(folder):
    """Promise 2: bit-identical for each executor, number of workers, with and without a backup."""
    expected = numpy.array([three_factors(*pair) for pair in PAIRS])
    runs = [{"executor": "serial"}]
    for method in ("fork", "spawn"):
        runs += [{"executor": "process", "start_method": method, "workers": n} for n in (1, 2, 5)]
    for number, options in enumerate(runs):
        for backup in (None, f"b{number}"):
            for results in ("keep", None):
                result = facpool.run(three_factors, PAIRS, backup=backup, mode="overwrite",
                                     results=results, **options)
                got = numpy.column_stack([result[name] for name in result.factor_names])
                assert got.tobytes() == expected.tobytes(), options
                assert result.report.ok == len(PAIRS)


def test_every_task_has_exactly_one_status(how, folder):
    def of_each_kind(date, code):
        kind = int(code) % 4
        if kind == 1:
            return None
        if kind == 2:
            raise ValueError(code)
        return [1.0] if kind == 0 else [1.0, 2.0]

    pairs = [(d, str(c)) for d in range(5) for c in range(8)]
    result = facpool.run(of_each_kind, pairs, factors=1, backup="b", **how)
    report = result.report
    assert (report.total, report.ok, report.skipped, report.failed) == (40, 10, 10, 20)
    assert list(result.status) == [{0: "ok", 1: "skipped"}.get(int(c) % 4, "failed") for _, c in pairs] \
        or result.status.tolist() == [{0: 1, 1: 2}.get(int(c) % 4, 3) for _, c in pairs]
    assert len(facpool.query("b", status="all")) == 40


# ------------------------------------------------------------------ backup modes

def test_create_refuses_a_file_that_is_there(folder):
    facpool.run(three_factors, PAIRS, backup="b", executor="serial")
    before = open("b", "rb").read()
    with pytest.raises(FileExistsError, match="b"):
        facpool.run(three_factors, PAIRS, backup="b", executor="serial")
    assert open("b", "rb").read() == before


def test_overwrite_replaces(how, folder):
    facpool.run(three_factors, PAIRS, backup="b", **how)
    facpool.run(lambda d, c: [1.0], PAIRS[:2], backup="b", mode="overwrite", **how)
    assert len(facpool.query("b")) == 2


def test_resume_creates_or_continues(how, folder):
    """Promise 8."""
    function = count_calls(str(folder / "calls"))
    first = facpool.run(function, PAIRS[:25], backup="b", mode="resume", **how)
    second = facpool.run(function, PAIRS, backup="b", mode="resume", **how)
    third = facpool.run(function, PAIRS, backup="b", mode="resume", **how)
    assert (first.report.ok, second.report.ok, third.report.ok) == (25, 35, 0)
    assert (second.report.resumed, third.report.resumed) == (25, 60)
    assert len(read_lines("calls")) == 60
    for result in (second, third):
        assert result["f1"].tolist() == [three_factors(*pair)[1] for pair in PAIRS]


def test_resume_takes_width_and_names_from_the_file(how, folder):
    """Nothing has to be run to find them out."""
    facpool.run(lambda d, c: {"x": 1.0, "y": 2.0}, PAIRS, backup="b", **how)

    def must_not_run(date, code):
        os.abort()

    result = facpool.run(must_not_run, PAIRS, backup="b", mode="resume", **how)
    assert list(result.factor_names) == ["x", "y"] and result["y"].tolist() == [2.0] * 60


def test_resume_with_other_factors_or_tag_is_refused_and_says_both(folder):
    facpool.run(three_factors, PAIRS, factors=["a", "b", "c"], backup="b", tag="v1", executor="serial")
    with pytest.raises(ValueError, match="(?s)a.*b.*c.*x.*y|x.*y.*a.*b.*c"):
        facpool.run(lambda d, c: [1, 2], PAIRS, factors=["x", "y"], backup="b", tag="v1", mode="resume",
                    executor="serial")
    with pytest.raises(ValueError, match="(?s)v1.*v2|v2.*v1"):
        facpool.run(three_factors, PAIRS, factors=["a", "b", "c"], backup="b", tag="v2", mode="resume",
                    executor="serial")


def test_failed_tasks_are_tried_again_or_not(how, folder):
    good = str(folder / "good")

    def mended(date, code):
        if int(code) % 2 and not os.path.exists(good):
            raise ValueError("not yet")
        return [float(code)]

    pairs = [(1, str(i)) for i in range(10)]
    first = facpool.run(mended, pairs, factors=1, backup="b", **how)
    assert first.report.failed == 5
    append_line(good, "")
    kept = facpool.run(mended, pairs, factors=1, backup="b", mode="resume", retry_failed=False, **how)
    assert kept.report.ok == 0 and kept.report.resumed == 10 and len(kept.failures) == 5
    again = facpool.run(mended, pairs, factors=1, backup="b", mode="resume", **how)
    assert again.report.ok == 5 and not again.failures
    assert len(facpool.query("b")) == 10 and len(facpool.query("b", status="failed")) == 0


def test_attempts(how, folder):
    def third_time(date, code):
        path = f"tried_{code}"
        append_line(path, "")
        if len(read_lines(path)) < 3:
            raise ValueError("not yet")
        return [1.0]

    pairs = [(1, str(i)) for i in range(6)]
    result = facpool.run(third_time, pairs, factors=1, attempts=3, **how)
    assert result.report.ok == 6
    assert [len(read_lines(f"tried_{i}")) for i in range(6)] == [3] * 6


def test_two_writers_are_refused(folder):
    started = folder / "started"

    def slow(date, code):
        append_line(str(started), "")
        while not os.path.exists(str(folder / "go")):
            time.sleep(0.01)
        return [1.0]

    program = """
        import sys, facpool
        sys.path.insert(0, sys.argv[1])
        try:
            facpool.run(lambda d, c: [2.0], [(1, "a")], factors=1, backup="b", mode=sys.argv[2])
        except Exception as error:
            print(type(error).__name__, error)
    """
    seen = []

    def look(*arguments):
        if not seen and started.exists():
            for mode in ("resume", "overwrite", "create"):
                seen.append(python(program, folder, mode, cwd=folder).stdout)
            append_line(str(folder / "go"), "")

    facpool.run(slow, [(1, "a")], factors=1, backup="b", workers=1, progress=look)
    assert len(seen) == 3 and all("b" in text for text in seen)
    assert facpool.query("b")["f0"].tolist() == [1.0]


def test_rows_reach_the_file_while_the_run_goes_on(folder):
    """Promise 3, and readers beside the writer: see promise 7."""
    def slow(date, code):
        if date == 5:
            while not os.path.exists(str(folder / "go")):
                time.sleep(0.01)
        return [float(date)]

    seen = []

    def look(*arguments):
        if os.path.exists("b") and not seen:
            n = len(facpool.query("b"))
            if n >= 5:
                seen.append(n)
                append_line(str(folder / "go"), "")

    facpool.run(slow, [(i, "a") for i in range(6)], factors=1, backup="b", workers=1, flush=0.05,
                progress=look)
    assert seen and seen[0] == 5


def test_formats_by_suffix_and_by_name(folder):
    for path, name, expected in (("a.jsonl", None, "json"), ("a.arrow", None, "memory_map"),
                                 ("a.fpb", None, "binary"), ("b.x", "json", "json"),
                                 ("c.x", "memory_map", "memory_map")):
        facpool.run(three_factors, PAIRS[:3], backup=path, storage_format=name, executor="serial")
        assert facpool.info(path)["format"] == expected
    with pytest.raises(ValueError, match="parquet"):
        facpool.run(three_factors, PAIRS[:3], backup="d", storage_format="parquet", executor="serial")


@pytest.mark.parametrize("durability", ["none", "group", "batch"])
def test_durability(folder, durability):
    result = facpool.run(three_factors, PAIRS, backup="b", durability=durability, batch_rows=7)
    assert result.report.rows_written == 60
    assert len(facpool.query("b")) == 60


def test_no_folder_for_the_backup(folder):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        facpool.run(three_factors, PAIRS, backup="nowhere/b", executor="serial")


FULL_DISK = """
    import os, resource, signal, sys, time, facpool

    def wide(date, code):
        time.sleep(0.001)
        return [date + i * 0.1 for i in range(100)]

    def fill_the_disk(now):
        # The file may not grow any more, from the moment on at which it has some rows.
        if now.rows_written > 100:
            resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize("b"), resource.RLIM_INFINITY))

    way = sys.argv[1]
    options = {"executor": way} if way == "serial" else {"start_method": way, "workers": 2}
    try:
        facpool.run(wide, [(i, "a") for i in range(1500)], factors=100, backup="b", batch_rows=50,
                    flush=0.02, results="keep", progress=fill_the_disk, **options)
    except OSError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        result = error.result
        computed = [i for i, value in enumerate(result["f0"].tolist()) if value == i]
        stored = facpool.query("b").dates.tolist()
        assert set(stored) <= set(computed) and len(stored) >= result.report.rows_written, result
        print(type(error).__name__, error.errno, len(stored) > 50, result.report.ok == len(computed))
"""


@pytest.mark.parametrize("way", ["fork", "spawn", "serial"])
def test_a_full_disk_stops_the_run_and_keeps_what_was_computed(folder, way):
    """Promise 9: the file may not grow any more while the run goes on."""
    done = python(FULL_DISK, way, cwd=folder)
    assert done.stdout.split() == ["BackupIOError", str(errno.EFBIG), "True", "True"], done.stderr
    assert facpool.verify("b").damaged_blocks == 0
    result = facpool.run(lambda d, c: [0.0] * 100, [(i, "a") for i in range(1500)], backup="b",
                         mode="resume", workers=2)
    assert result.report.resumed > 50 and result.report.ok + result.report.resumed == 1500


# ------------------------------------------------------------------ on_error, dry_run, results

def test_on_error_stop_ends_the_run(how):
    def fails_late(date, code):
        if date == 20240103:
            raise ValueError("third day")
        return [1.0]

    with pytest.raises(facpool.Error, match="third day") as caught:
        facpool.run(fails_late, some_pairs(1000, 3), factors=1, on_error="stop", **how)
    assert caught.value.result.report.not_run > 0


def test_a_run_whose_first_hundred_tasks_all_fail_stops(how):
    def never(date, code):
        raise ValueError("always")

    with pytest.raises(facpool.Error, match="always"):
        facpool.run(never, some_pairs(100, 50), factors=1, **how)


def test_dry_run_says_what_would_run_and_why(folder):
    def some_fail(date, code):
        if code == "000000":
            raise ValueError("no")
        return [1.0]

    facpool.run(some_fail, PAIRS[:20], factors=1, backup="b", executor="serial")
    report = facpool.run(None_called, PAIRS, factors=1, backup="b", mode="resume", dry_run=True).report
    assert report.not_run == 42 and report.new_tasks == 40 and report.retry_failed == 2
    assert report.resumed == 18


def None_called(date, code):
    raise AssertionError("a dry run calls nothing")


def test_dropped_results_are_in_the_backup_alone(how, folder):
    result = facpool.run(three_factors, PAIRS, backup="b", results="drop", **how)
    assert result.report.ok == 60
    with pytest.raises(Exception, match="drop"):
        result["f0"]
    assert len(facpool.query("b")) == 60


def test_raise_if_failed(how):
    def fails_once(date, code):
        if code == "b":
            raise ValueError("of b")
        return [1.0]

    good = facpool.run(fails_once, [(1, "a")], factors=1, **how)
    good.raise_if_failed()
    bad = facpool.run(fails_once, [(1, "a"), (1, "b")], factors=1, **how)
    with pytest.raises(facpool.Error, match="of b"):
        bad.raise_if_failed()


# ------------------------------------------------------------------ workers

def test_worker_init_runs_once_in_each_worker(processes, folder):
    def prepare():
        append_line(str(folder / "inits"), os.getpid())
        globals()["prepared"] = os.getpid()

    def uses(date, code):
        time.sleep(0.002)
        return [float(globals()["prepared"] == os.getpid()), os.getpid()]

    result = facpool.run(uses, PAIRS, factors=2, worker_init=prepare, **processes)
    assert result["f0"].tolist() == [1.0] * 60
    inits = [int(pid) for pid in read_lines("inits")]
    assert len(set(inits)) == len(inits)
    assert {int(pid) for pid in result["f1"]} <= set(inits)


def test_worker_init_that_fails_ends_the_run_with_its_traceback(how):
    def prepare():
        raise OSError("no license server")

    with pytest.raises(facpool.Error, match="no license server"):
        facpool.run(three_factors, PAIRS, factors=3, worker_init=prepare, **how)


def test_number_of_workers(processes):
    def who(date, code):
        time.sleep(0.005)
        return [float(os.getpid())]

    options = dict(processes, workers=3)
    result = facpool.run(who, PAIRS, factors=1, **options)
    assert result.report.workers == 3
    assert 1 <= len(set(result["f0"])) <= 3
    assert float(os.getpid()) not in set(result["f0"])


def test_serial_runs_in_the_process_itself(folder):
    seen = []

    def here(date, code):
        seen.append((os.getpid(), threading.get_ident()))
        return [1.0]

    facpool.run(here, PAIRS, executor="serial")
    assert set(seen) == {(os.getpid(), threading.get_ident())} and len(seen) == 60


def test_a_debugger_works_in_a_serial_run(folder):
    """The function stops in pdb, which looks at a local and goes on."""
    done = python("""
        import io, pdb, facpool
        out = io.StringIO()

        def stops(date, code):
            local = 41
            pdb.Pdb(stdin=io.StringIO("p local + 1\\nc\\n"), stdout=out, nosigint=True).set_trace()
            return [1.0]

        facpool.run(stops, [(1, "a")], executor="serial")
        print(out.getvalue())
    """, cwd=folder)
    assert "42" in done.stdout


def test_exceptions_in_a_serial_run_are_failures_too():
    result = facpool.run(lambda d, c: 1 / 0, [(1, "a")], factors=1, executor="serial")
    assert "ZeroDivisionError" in result.failures[0].message


@pytest.mark.parametrize("options", [
    {"executor": "clouds"}, {"workers": -1}, {"workers": 5000}, {"workers": 1.5}, {"group_by": "week"},
    {"mode": "append"}, {"on_error": "ignore"}, {"durability": "some"}, {"results": "maybe"},
    {"start_method": "forkserver_"}, {"attempts": -1}, {"timeout": -1}, {"timeout": "1"}, {"batch_rows": -1},
    {"flush": -1}, {"memory_limit": -1}, {"tasks_per_worker": -1}, {"progress": 5}, {"kwargs": [1]},
    {"worker_init": 5}, {"tag": 5, "backup": "b"}, {"unknown": 1},
])
def test_wrong_options_are_refused_before_anything_is_made(folder, options):
    with pytest.raises((TypeError, ValueError)) as caught:
        facpool.run(three_factors, PAIRS, **{"factors": 3, **options})
    assert str(caught.value)
    assert not os.path.exists("b")


def test_timeout_needs_processes():
    with pytest.raises(ValueError, match="timeout"):
        facpool.run(three_factors, PAIRS, factors=3, executor="serial", timeout=1.0)


def test_signature_is_the_documented_one():
    import inspect
    names = list(inspect.signature(facpool.run).parameters)
    assert names == ["func", "tasks", "factors", "workers", "executor", "batch", "group_by", "backup",
                     "storage_format", "mode", "tag", "retry_failed", "attempts", "timeout", "on_error",
                     "worker_init", "kwargs", "batch_rows", "flush", "durability", "progress",
                     "results", "start_method", "memory_limit", "tasks_per_worker", "dry_run"]
    defaults = {name: p.default for name, p in inspect.signature(facpool.run).parameters.items()}
    assert defaults["mode"] == "create" and defaults["retry_failed"] is True
    assert (defaults["attempts"], defaults["batch_rows"], defaults["flush"]) == (1, 1000, 1.0)
    assert list(inspect.signature(facpool.run_pools).parameters) == [
        "func", "args", "num_threads", "backup_file", "backup_batch_size", "backup_async",
        "storage_format", "resume_from_backup", "progress_callback"]
    assert list(inspect.signature(facpool.query_backup).parameters) == [
        "backup_file", "date_range", "codes", "storage_format"]
    assert list(inspect.signature(facpool.query).parameters) == [
        "paths", "start", "end", "dates", "codes", "factors", "status", "order"]


def test_runs_inside_runs(how):
    """A function may itself run something serially; and several runs may go on at once."""
    def inner(date, code):
        rows = facpool.run(lambda d, c: [d + 1.0], [(date, code)], factors=1, executor="serial")
        return [rows["f0"][0]]

    result = facpool.run(inner, [(i, "a") for i in range(10)], factors=1, **how)
    assert result["f0"].tolist() == [i + 1.0 for i in range(10)]


def test_runs_on_several_threads_at_once(folder):
    """Not the main thread, where no signal handler may be set."""
    results = {}

    def work(number):
        results[number] = facpool.run(three_factors, PAIRS, backup=f"b{number}",
                                      start_method="spawn", workers=1)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2]
    assert all(result.report.ok == 60 for result in results.values())
