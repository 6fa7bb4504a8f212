"""The drop-in face: run_pools and query_backup take the arguments and give the lists that scripts
written for the origin of this library rely on."""
import math
import os
import time
import warnings

import pytest

import facpool
from helpers import python, some_pairs, three_factors, three_rows

# The three usage examples of the origin's guide, with the calls as they stand there, as one script
# without a __main__ guard. Its indicators and its three dots are the reader's to fill in.
EXAMPLES = """
    from facpool import run_pools, query_backup
    import sys

    def calculate_ma(date, code, days):
        return date % 100 + int(code) / days

    def calculate_rsi(date, code):
        return 50.0 + int(code)

    def financial_analysis(date, code):
        ma5 = calculate_ma(date, code, 5)
        ma20 = calculate_ma(date, code, 20)
        rsi = calculate_rsi(date, code)
        return [ma5, ma20, rsi]

    args = [(date, code) for date in (20240101, 20240131, 20240201)
            for code in ("000001", "000002", "600519")]

    results = run_pools(
        financial_analysis,
        args,
        backup_file="analysis_results.bin",
        storage_format="binary",
        num_threads=4
    )
    assert results == [[d, c, *financial_analysis(d, c)] for d, c in args], results

    def progress_callback(completed, total, elapsed_time, speed):
        percent = (completed / total) * 100
        print(f"progress: {percent:.1f}% - speed: {speed:.0f} tasks/s")

    again = run_pools(
        financial_analysis,
        args,
        backup_file="analysis_results.bin",
        progress_callback=progress_callback
    )
    assert again == results, again

    backup_data = query_backup(
        "analysis_results.bin",
        date_range=(20240101, 20240131),
        codes=["000001", "000002"],
        storage_format="binary"
    )
    assert [row[:2] + row[3:] for row in backup_data] == \\
        [row for row in results if row[0] <= 20240131 and row[1] != "600519"], backup_data
    assert all(type(row[2]) is int for row in backup_data)
    print("over")
"""


def test_origins_examples_run_twice_as_they_stand(folder):
    for _ in range(2):
        done = python(EXAMPLES, cwd=folder)
        lines = done.stdout.splitlines()
        assert lines[-1] == "over"
        assert "progress: 100.0%" in lines[-2]
        assert done.stderr == ""  # no warning either
    assert os.path.exists("analysis_results.bin")


def test_origins_examples_in_one_process_after_each_other(folder):
    body = "\n".join("    " + line[4:] for line in EXAMPLES.splitlines())
    done = python(f"for turn in range(2):\n{body}", cwd=folder)
    assert done.stdout.splitlines().count("over") == 2


def test_lists_come_in_the_given_order(folder):
    pairs = some_pairs(7, 11)
    mixed = pairs[::-2] + pairs[::2]
    assert facpool.run_pools(three_factors, mixed, num_threads=2) == three_rows(mixed)


def test_duplicates_in_args_are_computed_once_and_given_each_time(folder):
    calls = str(folder / "calls")

    def counted(date, code):
        from helpers import append_line
        append_line(calls, f"{date} {code}")
        return three_factors(date, code)

    pairs = some_pairs(2, 3)
    doubled = pairs + pairs[::-1] + pairs[2:4]
    assert facpool.run_pools(counted, doubled, num_threads=2, backup_file="b.bin") == \
        three_rows(doubled)
    with open(calls, encoding="utf-8") as file:
        lines = file.read().splitlines()
    assert sorted(lines) == sorted(f"{d} {c}" for d, c in pairs)
    assert len(facpool.query_backup("b.bin")) == len(pairs)


def test_rows_are_lists_of_int_text_and_floats(folder):
    rows = facpool.run_pools(lambda date, code: (1, 2.5), [(20240102, "000001")], backup_file="b.bin")
    assert rows == [[20240102, "000001", 1.0, 2.5]]
    assert [type(x) for x in rows[0]] == [int, str, float, float]
    stored = facpool.query_backup("b.bin")
    assert [type(x) for x in stored[0]] == [int, str, int, float, float]


def test_codes_stay_text(folder, storage_format):
    codes = ["000001", "1", "1e5", "NaN", "null", "True", "0x10", " 1", "1 ", "-0", "平安银行", "🙂",
             "600519.SH", "a,b", 'a"b', "a\tb", "2024-01-02", "x" * 255]
    pairs = [(20240102, code) for code in codes]
    rows = facpool.run_pools(lambda date, code: [float(len(code))], pairs, backup_file="b",
                             storage_format=storage_format, num_threads=2)
    assert [row[1] for row in rows] == codes
    assert sorted(row[1] for row in facpool.query_backup("b")) == sorted(codes)
    for code in codes:
        assert [row[1] for row in facpool.query_backup("b", codes=[code])] == [code]


def test_every_format_gives_the_same_and_is_found_by_its_content(folder, storage_format):
    pairs = some_pairs(3, 5)
    assert facpool.run_pools(three_factors, pairs, backup_file="b", storage_format=storage_format) \
        == three_rows(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = facpool.query_backup("b", storage_format=storage_format)
    assert sorted(row[:2] + row[3:] for row in stored) == sorted(three_rows(pairs))


def test_a_wrong_storage_format_in_a_query_only_warns(folder):
    pairs = some_pairs(2, 2)
    facpool.run_pools(three_factors, pairs, backup_file="b", storage_format="memory_map")
    with pytest.warns(UserWarning, match="memory_map"):
        rows = facpool.query_backup("b", storage_format="binary")
    assert len(rows) == 4


def test_query_backup_by_date_range_and_codes(folder):
    pairs = some_pairs(10, 4)
    facpool.run_pools(three_factors, pairs, backup_file="b")
    dates = [date for date, _ in pairs[::4]]
    rows = facpool.query_backup("b", date_range=(dates[2], dates[5]), codes=["000007", "000021"])
    assert [tuple(row[:2]) for row in rows] == \
        [(date, code) for date in dates[2:6] for code in ("000007", "000021")]
    assert facpool.query_backup("b", codes=[]) == []
    assert facpool.query_backup("b", codes=["none"]) == []
    assert facpool.query_backup("b", date_range=(1, 2)) == []
    assert len(facpool.query_backup("b", date_range=(dates[-1], dates[-1]))) == 4


def test_timestamps_are_integer_milliseconds(folder):
    before = time.time() * 1000
    facpool.run_pools(three_factors, some_pairs(2, 2), backup_file="b")
    after = time.time() * 1000
    for row in facpool.query_backup("b"):
        assert type(row[2]) is int
        assert math.floor(before) <= row[2] <= math.ceil(after)


def test_a_missing_backup_is_file_not_found(folder):
    with pytest.raises(FileNotFoundError, match="nothing_here"):
        facpool.query_backup("nothing_here.bin")


def test_failed_tasks_are_left_out_with_one_warning(folder):
    def often_fails(date, code):
        if int(code) % 2:
            raise ValueError(f"no bars for {code}")
        return [1.0]

    pairs = [(20240102, f"{i:06d}") for i in range(20)]
    with pytest.warns() as record:
        rows = facpool.run_pools(often_fails, pairs, backup_file="b", num_threads=2)
    assert [row[1] for row in rows] == [f"{i:06d}" for i in range(0, 20, 2)]
    assert len(record) == 1
    message = str(record[0].message)
    assert "10" in message and "no bars for 000001" in message
    assert len(facpool.query_backup("b")) == 10


def test_none_is_skipped_and_left_out_without_a_warning(folder):
    def some(date, code):
        return [1.0] if int(code) % 2 else None

    pairs = [(20240102, f"{i:06d}") for i in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = facpool.run_pools(some, pairs, backup_file="b", num_threads=2)
    assert [row[1] for row in rows] == [f"{i:06d}" for i in range(1, 20, 2)]
    assert len(facpool.query_backup("b")) == 10


def test_nan_is_a_value(folder):
    rows = facpool.run_pools(lambda date, code: [float("nan"), math.inf], [(1, "a")], backup_file="b")
    assert math.isnan(rows[0][2]) and rows[0][3] == math.inf
    stored = facpool.query_backup("b")
    assert math.isnan(stored[0][3]) and stored[0][4] == math.inf


def test_resume_runs_what_is_missing_and_gives_all(folder, storage_format):
    calls = str(folder / "calls")

    def counted(date, code):
        from helpers import append_line
        append_line(calls, code)
        return three_factors(date, code)

    pairs = some_pairs(4, 5)
    facpool.run_pools(counted, pairs[:8], backup_file="b", storage_format=storage_format)
    rows = facpool.run_pools(counted, pairs, backup_file="b", storage_format=storage_format,
                             resume_from_backup=True)
    assert rows == three_rows(pairs)
    with open(calls, encoding="utf-8") as file:
        assert len(file.read().splitlines()) == len(pairs)


def test_without_resume_the_run_begins_anew(folder):
    """As there: the file then holds what this run computed."""
    facpool.run_pools(lambda date, code: [1.0], some_pairs(2, 2), backup_file="b")
    rows = facpool.run_pools(lambda date, code: [2.0, 3.0], some_pairs(1, 3), backup_file="b")
    assert [row[2:] for row in rows] == [[2.0, 3.0]] * 3
    assert [row[3:] for row in facpool.query_backup("b")] == [[2.0, 3.0]] * 3


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_backup_batch_size_and_async(folder, asynchronous, batch_size):
    pairs = some_pairs(10, 10)
    rows = facpool.run_pools(three_factors, pairs, 2, "b", batch_size, asynchronous)
    assert rows == three_rows(pairs)
    assert len(facpool.query_backup("b")) == 100


def test_progress_callback_counts_up_to_the_total(folder):
    seen = []
    pairs = some_pairs(20, 10)
    facpool.run_pools(three_factors, pairs, progress_callback=lambda *a: seen.append(a))
    assert all(len(arguments) == 4 for arguments in seen)
    done, total, elapsed, speed = seen[-1]
    assert (done, total) == (200, 200)
    assert type(done) is int and type(total) is int
    assert elapsed > 0 and speed > 0
    assert [arguments[0] for arguments in seen] == sorted(arguments[0] for arguments in seen)


def test_nothing_to_do_is_an_empty_list(folder):
    assert facpool.run_pools(three_factors, []) == []


def test_paths_may_be_path_objects(folder):
    facpool.run_pools(three_factors, some_pairs(1, 2), backup_file=folder / "b.bin")
    assert len(facpool.query_backup(folder / "b.bin")) == 2
