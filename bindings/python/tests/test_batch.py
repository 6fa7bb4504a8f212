"""batch=True: the function is given the dates and codes of a slice as arrays, and gives an array back;
group_by: a slice is all of a code, or all of a date."""
import os
import signal
import subprocess
import sys
import threading
import time

import numpy
import pytest

import facpool
from helpers import PATIENCE, append_line, read_lines, some_codes, some_dates, some_pairs, wait_until

DATES = some_dates(30)
CODES = some_codes(40)
PAIRS = [(date, code) for date in DATES for code in CODES]


def numbers(codes):
    return numpy.array([int(code) for code in codes], dtype=float)


def doubles(dates, codes):
    assert isinstance(dates, numpy.ndarray) and dates.dtype == numpy.int64
    assert len(dates) == len(codes) >= 1
    assert all(isinstance(code, str) for code in codes)
    return numpy.column_stack([dates * 2.0, numbers(codes)])


EXPECTED = numpy.array([[date * 2.0, int(code)] for date, code in PAIRS])


def columns(result):
    return numpy.column_stack([result[name] for name in result.factor_names])


# ------------------------------------------------------------------ what is given and taken

@pytest.mark.parametrize("group_by", [None, "date", "code"])
def test_array_of_rows(how, folder, group_by):
    result = facpool.run(doubles, PAIRS, batch=True, group_by=group_by, backup="b", **how)
    assert not result.failures, result.failures
    assert columns(result).tolist() == EXPECTED.tolist()
    assert len(facpool.query("b")) == len(PAIRS)


def test_dict_of_arrays(how):
    result = facpool.run(lambda dates, codes: {"twice": dates * 2.0, "number": numbers(codes)},
                         PAIRS, batch=True, **how)
    assert list(result.factor_names) == ["twice", "number"]
    assert columns(result).tolist() == EXPECTED.tolist()


def test_one_column(how):
    result = facpool.run(lambda dates, codes: dates * 2.0, PAIRS, batch=True, factors=["x"], **how)
    assert result["x"].tolist() == EXPECTED[:, 0].tolist()


@pytest.mark.parametrize("make", [
    lambda a: a.tolist(), lambda a: a.astype("f4").astype("f8"), lambda a: numpy.asfortranarray(a),
    lambda a: a[::-1][::-1], lambda a: a.astype("i8"), lambda a: a.astype(">f8"),
    lambda a: numpy.ascontiguousarray(a), lambda a: {"f0": a[:, 0].tolist(), "f1": a[:, 1].tolist()},
])
def test_arrays_of_each_kind(make):
    def function(dates, codes):
        return make(numpy.column_stack([dates % 100, numbers(codes)]).astype("f8"))

    result = facpool.run(function, PAIRS, batch=True, factors=2, executor="serial")
    assert not result.failures, result.failures
    assert result["f0"].tolist() == [date % 100 for date, _ in PAIRS]


def test_data_frames_are_taken():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")

    def frame_of(library):
        return lambda dates, codes: library.DataFrame({"a": dates * 2.0, "b": numbers(codes)})

    for library in (pandas, polars):
        result = facpool.run(frame_of(library), PAIRS, batch=True, factors=["a", "b"],
                             executor="serial")
        assert not result.failures, result.failures
        assert columns(result).tolist() == EXPECTED.tolist()


def test_groups_are_whole(how, folder):
    for group_by in ("date", "code"):
        def whole(dates, codes):
            append_line(f"{group_by}_calls", len(dates))
            own = set(dates.tolist()) if group_by == "date" else set(codes)
            return [[float(len(own)), float(len(dates))]] * len(dates)

        result = facpool.run(whole, PAIRS, batch=True, group_by=group_by, factors=2, **how)
        size = len(CODES) if group_by == "date" else len(DATES)
        assert result["f0"].tolist() == [1.0] * len(PAIRS)
        assert result["f1"].tolist() == [float(size)] * len(PAIRS)
        assert len(read_lines(f"{group_by}_calls")) == len(PAIRS) // size


def test_groups_keep_the_order_of_tasks_within(how):
    """Of tasks in any order: those of a group come by date."""
    mixed = PAIRS[::-1]

    def steps(dates, codes):
        return numpy.column_stack([dates, numpy.sign(numpy.diff(dates, prepend=0))]).astype(float)

    result = facpool.run(steps, mixed, batch=True, group_by="code", factors=2, **how)
    assert result["f0"].tolist() == [float(date) for date, _ in mixed]
    assert result["f1"].tolist() == [1.0] * len(mixed)


def test_kwargs_reach_a_batch_function(how):
    result = facpool.run(lambda dates, codes, *, add: numbers(codes) + add, PAIRS, batch=True,
                         factors=1, kwargs={"add": 0.5}, **how)
    assert result["f0"].tolist() == [int(code) + 0.5 for _, code in PAIRS]


# ------------------------------------------------------------------ what goes wrong

@pytest.mark.parametrize("wrong", [
    lambda n: numpy.zeros((n + 1, 2)), lambda n: numpy.zeros((n, 3)), lambda n: numpy.zeros(n),
    lambda n: numpy.zeros((n, 2), dtype=complex), lambda n: numpy.zeros((n, 2), dtype=bool),
    lambda n: [["a", "b"]] * n, lambda n: "text", lambda n: {"f0": numpy.zeros(n)},
    lambda n: {"f0": numpy.zeros(n), "f1": numpy.zeros(n + 1)}, lambda n: numpy.zeros((1, n, 2)),
    lambda n: [[1.0, None]] * n, lambda n: 5, lambda n: {"f0": 1.0, "f1": 2.0},
])
def test_what_is_no_array_of_the_slice_is_a_failure(wrong):
    """Of the whole slice, then of each task: never a silent NaN."""
    result = facpool.run(lambda dates, codes: wrong(len(dates)), PAIRS[:7], batch=True, factors=2,
                         executor="serial")
    if result.report.ok:  # numpy.zeros(1) for one task is no row of two; zeros((n, 2)) were
        pytest.fail(f"taken as rows: {columns(result)}")
    assert result.report.failed == 7
    assert all(failure.failure_code in (1, 2, 3) and failure.message for failure in result.failures)


def test_one_bad_task_of_a_slice_costs_one_row(how):
    """The slice is run again task by task."""
    def fails(dates, codes):
        if "000049" in codes:
            raise ValueError("no bars for 000049")
        return numbers(codes)

    result = facpool.run(fails, PAIRS, batch=True, factors=1, **how)
    assert {f.code for f in result.failures} == {"000049"} and len(result.failures) == len(DATES)
    assert result.report.ok == len(PAIRS) - len(DATES)
    assert "ValueError: no bars for 000049" in result.failures[0].message


def test_a_bad_group_fails_whole(how):
    def fails(dates, codes):
        if dates[0] == DATES[3]:
            raise ValueError("holiday")
        return numbers(codes)

    result = facpool.run(fails, PAIRS, batch=True, factors=1, group_by="date", **how)
    assert {f.date for f in result.failures} == {DATES[3]} and len(result.failures) == len(CODES)


def test_none_skips_the_slice(how):
    def some(dates, codes):
        return None if dates[0] == DATES[0] else numbers(codes)

    result = facpool.run(some, PAIRS, batch=True, factors=1, group_by="date", **how)
    assert result.report.skipped == len(CODES) and result.report.ok == len(PAIRS) - len(CODES)


def test_a_crash_in_a_batch_costs_one_row(processes):
    def dies(dates, codes):
        if "000049" in list(codes) and DATES[2] in dates[[c == "000049" for c in codes]]:
            os.abort()
        return numbers(codes)

    result = facpool.run(dies, PAIRS, batch=True, factors=1, **processes)
    assert result.report.crashed == 1 and result.report.ok == len(PAIRS) - 1
    assert (result.failures[0].date, result.failures[0].code) == (DATES[2], "000049")


def test_given_arrays_may_be_kept_and_changed(how):
    """They are the function's own."""
    kept = []

    def keeps(dates, codes):
        kept.append(dates)
        copy = dates.copy()
        dates += 1
        return copy * 1.0

    result = facpool.run(keeps, PAIRS, batch=True, factors=1, **how)
    assert result["f0"].tolist() == [float(date) for date, _ in PAIRS]


# ------------------------------------------------------------------ cross sections

RANKS = """
import os, sys, time
import numpy, facpool
sys.path.insert(0, {tests!r})
from test_batch import CODES, DATES

def rank(dates, codes):
    # Ranks across the codes of a day; ties are broken by nothing, for there are none.
    with open("calls", "a") as file:
        file.write(f"{{dates[0]}}\\n")
    time.sleep(float(os.environ.get("TASK_SECONDS", "0")))
    seed = numpy.random.default_rng(int(dates[0]))
    values = seed.permutation(1000)[[int(code) for code in codes]].astype(float)
    return numpy.column_stack([values, values.argsort().argsort()])

result = facpool.run(rank, facpool.grid(DATES, CODES), factors=["value", "rank"], batch=True,
                     group_by="date", backup=sys.argv[1], mode="resume", flush=0.05, workers=2,
                     start_method=sys.argv[2], executor="process")
result.raise_if_failed()
print(result.report.resumed, result.report.ok)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_ranks_across_codes_killed_resumed_and_equal(folder, method, storage_format):
    """Killed in the middle of days: what is resumed equals what was never interrupted."""
    path = folder / "ranks.py"
    path.write_text(RANKS.format(tests=os.path.dirname(__file__)))
    name = {"json": "x.jsonl", "binary": "x.fpb", "memory_map": "x.arrow"}[storage_format]

    def start(backup, seconds):
        return subprocess.Popen([sys.executable, str(path), backup, method],
                                env=dict(os.environ, TASK_SECONDS=str(seconds)),
                                stdout=subprocess.PIPE, text=True)

    whole = start("whole_" + name, 0)
    assert whole.communicate(timeout=60)[0].split() == ["0", "1200"]
    os.remove("calls")
    killed = start(name, 0.04)
    assert wait_until(lambda: len(read_lines("calls")) >= 12)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    kept = len(facpool.query(name))
    assert 0 < kept < 1200
    resumed = start(name, 0)
    assert resumed.communicate(timeout=60)[0].split() == [str(kept), str(1200 - kept)]
    first, second = facpool.query("whole_" + name), facpool.query(name)
    assert list(first.codes) == list(second.codes)
    assert first.dates.tolist() == second.dates.tolist()
    for factor in ("value", "rank"):
        assert first[factor].tobytes() == second[factor].tobytes()
    assert sorted(second["rank"][:40].tolist()) == [float(i) for i in range(40)]


def test_a_group_in_which_a_task_is_left_is_called_whole(how, folder):
    """Promise 8: and only the missing rows are stored."""
    facpool.run(lambda dates, codes: numbers(codes), PAIRS[:50], batch=True, factors=1, backup="b",
                executor="serial")

    def whole(dates, codes):
        append_line("calls", f"{dates[0]} {len(dates)}")
        return numbers(codes)

    result = facpool.run(whole, PAIRS, batch=True, group_by="date", factors=1, backup="b",
                         mode="resume", **how)
    assert result.report.resumed == 50 and result.report.ok == len(PAIRS) - 50
    calls = read_lines("calls")
    assert f"{DATES[1]} 40" in calls and f"{DATES[0]} 40" not in calls
    assert len(facpool.query("b")) == len(PAIRS) == facpool.info("b")["rows"]["ok"]


def test_one_file_per_instrument(how, folder):
    """group_by="code" without batch: all dates of a code go to one worker, one after the other, so that
    a file that was opened for the first serves the others."""
    opened = {}

    def reads(date, code):
        mine = opened.setdefault(threading.get_ident(), {})
        if code not in mine:
            mine.clear()
            mine[code] = float(code)
            append_line("opened", code)
        return [mine[code] + date]

    result = facpool.run(reads, PAIRS, group_by="code", factors=1, **how)
    assert result.report.ok == len(PAIRS)
    assert sorted(read_lines("opened")) == sorted(CODES)
    assert result["f0"].tolist() == [float(code) + date for date, code in PAIRS]


def test_names_and_width_of_a_batch_are_found_out(how, folder):
    def function(dates, codes):
        append_line("calls", len(dates))
        return {"a": dates * 1.0, "b": numbers(codes)}

    result = facpool.run(function, PAIRS, batch=True, group_by="date", **how)
    assert list(result.factor_names) == ["a", "b"] and result.report.ok == len(PAIRS)
    assert sum(int(n) for n in read_lines("calls")) <= len(PAIRS) + len(CODES)


def test_time_in_a_slice_counts_as_one_call(processes):
    def slow(dates, codes):
        if dates[0] == DATES[5]:
            time.sleep(60)
        return numbers(codes)

    result = facpool.run(slow, PAIRS, batch=True, group_by="date", factors=1, timeout=PATIENCE, **processes)
    assert {f.status for f in result.failures} == {"timeout"}
    assert {f.date for f in result.failures} == {DATES[5]} and len(result.failures) == len(CODES)


def test_slices_without_groups_are_many_tasks(how, folder):
    """A batch function is called far less often than there are tasks."""
    def function(dates, codes):
        append_line("calls", len(dates))
        return dates * 1.0

    pairs = some_pairs(100, 100)
    facpool.run(function, pairs, batch=True, factors=1, **how)
    calls = [int(n) for n in read_lines("calls")]
    assert sum(calls) == len(pairs) and len(calls) < len(pairs) / 10
