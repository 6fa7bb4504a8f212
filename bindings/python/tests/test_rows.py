"""What a function may return, and that everything else is its task's failure, with a message that is
kept in the backup and never a silent NaN."""
import decimal
import fractions
import json
import math
import re

import numpy
import pytest

import facpool
from helpers import python, some_pairs

INF = math.inf
NAN = math.nan


class Floating:
    def __float__(self):
        return 2.5


class FloatSubclass(float):
    pass


class ListSubclass(list):
    pass


def run_one(value, how, **options):
    return facpool.run(lambda date, code: value, [(20240102, "a")], **how, **options)


def shown(value):
    """For the names of tests: without addresses, which differ from process to process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))[:60]


# ------------------------------------------------------------------ what is a row

GOOD = [
    [1.0, 2.5], (1.0, 2.5), [1, 2.5], (numpy.float64(1), numpy.float32(2.5)), [numpy.int8(1), 2.5],
    numpy.array([1, 2.5]), numpy.array([1, 2.5], dtype="f4"), numpy.array([9, 1, 9, 2.5])[1::2],
    numpy.array([1, 2.5])[::-1][::-1], [numpy.array(1.0), numpy.array(2.5)], [1, Floating()],
    [decimal.Decimal(1), fractions.Fraction(5, 2)], ListSubclass([1, 2.5]), [FloatSubclass(1), 2.5],
    {"a": 1, "b": 2.5}, {"b": 2.5, "a": 1.0}, {"a": numpy.int64(1), "b": numpy.float32(2.5)},
]


@pytest.mark.parametrize("value", GOOD, ids=shown)
def test_rows_of_each_kind(value):
    result = run_one(value, {"executor": "serial"}, factors=["a", "b"])
    assert not result.failures, result.failures
    assert result["a"].tolist() == [1.0] and result["b"].tolist() == [2.5]


@pytest.mark.parametrize("value", [7, 7.0, numpy.float64(7), numpy.float32(7), numpy.int32(7),
                                   numpy.array(7.0), numpy.array([7]), [7], Floating], ids=shown)
def test_one_factor_needs_no_list(value):
    value = 7 if value is Floating else value
    assert run_one(value, {"executor": "serial"}, factors=["a"])["a"].tolist() == [7.0]


def test_integer_arrays_of_each_width():
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">f8", ">i4"):
        result = run_one(numpy.array([1, 100], dtype=kind), {"executor": "serial"}, factors=2)
        assert [result["f0"][0], result["f1"][0]] == [1, 100], kind


def test_large_integers_are_rounded_as_float_does():
    result = run_one([2**53 + 1, 10**300], {"executor": "serial"}, factors=2)
    assert [result["f0"][0], result["f1"][0]] == [float(2**53 + 1), 1e300]


def test_pandas_series_and_polars_series_are_rows():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    for value in (pandas.Series([1.0, 2.5]), polars.Series([1.0, 2.5])):
        result = run_one(value, {"executor": "serial"}, factors=["a", "b"])
        assert not result.failures, result.failures
        assert [result["a"][0], result["b"][0]] == [1.0, 2.5]


def test_values_come_bit_for_bit(how, folder, storage_format):
    values = [0.0, -0.0, INF, -INF, 5e-324, -5e-324, 1.7976931348623157e308, 0.1, 1 / 3, 1e22,
              2.0**53 - 1, NAN]
    result = run_one(values, how, backup="b", storage_format=storage_format)
    stored = facpool.query("b")
    for i, value in enumerate(values):
        for source in (result, stored):
            got = source[f"f{i}"]
            assert got.view("u8").tolist() == numpy.array([value]).view("u8").tolist(), value


# ------------------------------------------------------------------ None and NaN

def test_none_is_skipped(how, folder):
    result = run_one(None, how, factors=2, backup="b")
    assert result.report.skipped == 1 and not result.failures
    assert len(facpool.query("b")) == 0
    again = facpool.run(lambda date, code: [1, 2], [(20240102, "a")], factors=2, backup="b",
                        mode="resume", **how)
    assert again.report.resumed == 1  # final: it is not asked again


def test_nan_is_a_value_and_none_in_a_row_a_failure(how):
    good = run_one([NAN, numpy.nan], how, factors=2)
    assert good.report.ok == 1
    bad = run_one([1.0, None], how, factors=2)
    assert bad.report.ok == 0 and bad.report.failed == 1
    assert bad.failures[0].failure_code == 3 and "None" in bad.failures[0].message


# ------------------------------------------------------------------ what is no row

LENGTH, NUMBER = 2, 3
BAD = [
    ([1.0], LENGTH), ([1.0, 2.0, 3.0], LENGTH), ([], LENGTH), ((), LENGTH), (5.0, LENGTH),
    (numpy.zeros(3), LENGTH), (numpy.zeros(0), LENGTH), ({"a": 1}, LENGTH),
    ({"a": 1, "b": 2, "c": 3}, LENGTH),
    ([1.0, None], NUMBER), ([1.0, "2"], NUMBER), ([1.0, "nan"], NUMBER), ([1.0, True], NUMBER),
    (True, NUMBER), ([1.0, [2.0]], NUMBER), ([1.0, 1j], NUMBER), ("ab", NUMBER), (b"ab", NUMBER),
    ([1.0, object()], NUMBER), ([1.0, 10**400], NUMBER), (numpy.array([1, 1j]), NUMBER),
    (numpy.array(["1", "2"]), NUMBER), (numpy.array([1, None]), NUMBER),
    (numpy.array([True, False]), NUMBER), (numpy.array(["2024-01-02", "NaT"], dtype="M8[D]"), NUMBER),
    ({"a": 1, "b": None}, NUMBER), ({1, 2}, NUMBER), (object(), NUMBER), (print, NUMBER),
]


@pytest.mark.parametrize("value, code", BAD, ids=shown)
def test_what_is_no_row_is_that_tasks_failure(value, code):
    def sometimes(date, key):
        return value if key == "bad" else [1.0, 2.0]

    pairs = [(1, "before"), (1, "bad"), (2, "after")]
    result = facpool.run(sometimes, pairs, factors=["a", "b"], executor="serial")
    assert result.report.ok == 2 and result.report.failed == 1
    failure = result.failures[0]
    assert (failure.date, failure.code, failure.status) == (1, "bad", "failed")
    assert failure.failure_code in (code, LENGTH + NUMBER - code) if code == LENGTH else \
        failure.failure_code == code
    assert failure.message


def test_dict_with_another_name_is_a_failure_that_says_both():
    result = run_one({"a": 1, "c": 2}, {"executor": "serial"}, factors=["a", "b"])
    assert result.report.failed == 1
    assert "b" in result.failures[0].message and "c" in result.failures[0].message


def test_wrong_length_in_each_way_to_run(how, folder):
    def ragged(date, code):
        return [1.0] * (2 + int(code) % 2)

    pairs = [(1, str(i)) for i in range(10)]
    result = facpool.run(ragged, pairs, factors=2, backup="b", **how)
    assert result.report.ok == 5 and result.report.failed == 5
    assert all(f.failure_code == LENGTH and "3" in f.message and "2" in f.message
               for f in result.failures)
    assert numpy.isnan(result["f0"][1::2]).all()
    frame = list(facpool.query("b", status="failed"))
    assert len(frame) == 5


def test_a_sequence_that_raises_is_a_failure():
    class Broken(list):
        def __len__(self):
            raise RuntimeError("no length")

        def __iter__(self):
            raise RuntimeError("no items")

        def __getitem__(self, i):
            raise RuntimeError("no item")

    class NoFloat:
        def __float__(self):
            raise RuntimeError("no float")

    for value in (Broken(), [1.0, NoFloat()]):
        result = run_one(value, {"executor": "serial"}, factors=2)
        assert result.report.failed == 1
        assert "RuntimeError: no " in result.failures[0].message


def test_a_list_that_shrinks_while_it_is_read_does_no_harm():
    class Shrinks:
        def __float__(self):
            row.clear()
            return 1.0

    row = [Shrinks(), 2.0, 3.0]
    result = run_one(row, {"executor": "serial"}, factors=3)
    assert result.report.ok + result.report.failed == 1


# ------------------------------------------------------------------ exceptions

def third_level(code):
    raise KeyError(f"no column 'high' in {code}")


def second_level(code):
    third_level(code)


def fails_deeply(date, code):
    if int(code) % 3 == 0:
        second_level(code)
    return [float(code)]


def test_traceback_is_whole_and_readable_from_the_file_alone(how, folder, storage_format):
    pairs = [(20240102, f"{i:06d}") for i in range(9)]
    result = facpool.run(fails_deeply, pairs, backup="b", storage_format=storage_format, **how,
                         factors=["x"])
    assert result.report.failed == 3 and result.report.ok == 6
    done = python("""
        import json, sys, facpool
        assert "test_rows" not in sys.modules
        failures = facpool.query("b", status="failed").failures
        print(json.dumps([[f.date, f.code, f.status, f.failure_code, f.message] for f in failures]))
    """, cwd=folder)
    stored = json.loads(done.stdout)
    assert [row[:4] for row in stored] == [[20240102, f"{i:06d}", "failed", 1] for i in (0, 3, 6)]
    for _, code, _, _, message in stored:
        assert message.startswith("Traceback (most recent call last):")
        for name in ("fails_deeply", "second_level", "third_level", "test_rows.py"):
            assert name in message
        assert message.rstrip().endswith(f"KeyError: \"no column 'high' in {code}\"")
    assert [f.message for f in result.failures] == [row[4] for row in stored]


def test_chained_exceptions_are_in_the_traceback(how):
    def chained(date, code):
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError("second") from error

    message = facpool.run(chained, [(1, "a")], factors=1, **how).failures[0].message
    assert "ZeroDivisionError" in message and "direct cause" in message
    assert message.rstrip().endswith("ValueError: second")


def test_a_very_long_message_keeps_both_ends(how, folder):
    def long_message(date, code):
        raise ValueError("begin " + "x" * 100_000 + " end")

    facpool.run(long_message, [(1, "a")], factors=1, backup="b", **how)
    message = facpool.query("b", status="failed").failures[0].message
    assert message.startswith("Traceback") and message.rstrip().endswith(" end")
    assert 8_000 < len(message.encode()) <= 16_384


def test_messages_of_any_text(how, folder):
    texts = ["价格 🙂", "line one\nline two", "tab\tand\x01control", "quote\" back\\slash", "\udc80 lone"]

    def says(date, code):
        raise ValueError(texts[int(code)])

    facpool.run(says, [(1, str(i)) for i in range(len(texts))], factors=1, backup="b", **how)
    failures = facpool.query("b", status="failed").failures
    assert len(failures) == len(texts)
    for text, failure in zip(texts[:4], failures):
        assert failure.message.rstrip().endswith(text)


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException",
                                  "StopIteration", "MemoryError"])
def test_exceptions_of_all_kinds_cost_only_their_task(processes, name):
    def raises(date, code):
        if code == "3":
            raise getattr(__import__("builtins"), name)("on purpose")
        return [1.0]

    result = facpool.run(raises, [(1, str(i)) for i in range(6)], factors=1, **processes)
    assert result.report.ok == 5 and result.report.failed == 1
    assert name in result.failures[0].message


def test_an_exception_whose_text_raises(how):
    def raises(date, code):
        class Rude(Exception):
            def __str__(self):
                raise RuntimeError("not even that")
        raise Rude()

    result = facpool.run(raises, [(1, "a")], factors=1, **how)
    assert result.report.failed == 1 and "Rude" in result.failures[0].message


def test_recursion_error_is_a_failure(how):
    def down(date, code):
        return down(date, code)

    result = facpool.run(down, [(1, "a"), (1, "b")], factors=1, **how)
    assert result.report.failed == 2
    message = result.failures[0].message
    assert "RecursionError" in message and "repeated" in message


def test_traceback_of_a_function_made_in_a_string(how):
    space = {}
    exec("def made(date, code):\n    return unknown_name\n", space)
    result = facpool.run(space["made"], [(1, "a")], factors=1, **how)
    assert "NameError" in result.failures[0].message


# ------------------------------------------------------------------ names and widths

def test_width_is_found_from_the_first_row(how):
    result = facpool.run(lambda d, c: [1.0, 2.0, 3.0], some_pairs(3, 3), **how)
    assert list(result.factor_names) == ["f0", "f1", "f2"]


def test_names_are_found_from_the_first_dict(how):
    result = facpool.run(lambda d, c: {"ma5": 1.0, "价格": 2.0}, some_pairs(3, 3), **how)
    assert list(result.factor_names) == ["ma5", "价格"]
    assert result["价格"].tolist() == [2.0] * 9


def test_width_is_found_though_the_first_tasks_give_none(how, folder):
    calls = str(folder / "calls")

    def late(date, code):
        from helpers import append_line
        append_line(calls, code)
        if int(code) < 5:
            return None
        if int(code) < 8:
            raise ValueError("early")
        return [1.0, 2.0]

    pairs = [(1, f"{i:03d}") for i in range(30)]
    result = facpool.run(late, pairs, **how)
    assert list(result.factor_names) == ["f0", "f1"]
    assert (result.report.skipped, result.report.failed, result.report.ok) == (5, 3, 22)
    with open(calls, encoding="utf-8") as file:
        assert sorted(file.read().split()) == [code for _, code in pairs]  # none is computed twice


def test_first_row_of_a_wrong_kind_is_no_width(how):
    """The first task's row is no row at all: the second says how wide rows are."""
    def odd(date, code):
        return "text" if code == "0" else [1.0, 2.0]

    result = facpool.run(odd, [(1, "0"), (1, "1"), (1, "2")], **how)
    assert list(result.factor_names) == ["f0", "f1"]
    assert result.report.ok == 2 and result.report.failed == 1


def test_all_tasks_fail_before_there_is_a_width(how):
    def never(date, code):
        raise ValueError("never " + code)

    with pytest.raises(Exception, match="never"):
        result = facpool.run(never, [(1, str(i)) for i in range(5)], **how)
        assert result.report.failed == 5
        result.raise_if_failed()


def test_factors_as_count_and_as_names():
    pairs = some_pairs(2, 2)
    assert list(facpool.run(lambda d, c: [1, 2], pairs, factors=2, executor="serial").factor_names) \
        == ["f0", "f1"]
    assert list(facpool.run(lambda d, c: [1, 2], pairs, factors=("x", "y"), executor="serial")
                .factor_names) == ["x", "y"]
    assert list(facpool.run(lambda d, c: 1, pairs, factors=["only"], executor="serial")
                .factor_names) == ["only"]


@pytest.mark.parametrize("factors", [0, -1, 1.5, True, [], ["a", "a"], ["date"], [""], [1], "ab", 70_000])
def test_wrong_factors_are_refused(factors):
    with pytest.raises((TypeError, ValueError)):
        facpool.run(lambda d, c: [1.0], [(1, "a")], factors=factors, executor="serial")


def test_wide_rows(how, folder):
    result = facpool.run(lambda d, c: numpy.arange(20_000) + d, [(i, "a") for i in range(20)],
                         backup="b", **how)
    assert result.report.ok == 20
    assert result["f19999"].tolist() == [19999.0 + i for i in range(20)]
    assert facpool.query("b", factors=["f19999"])["f19999"].tolist() == result["f19999"].tolist()


def test_kwargs_reach_the_function(how):
    def scaled(date, code, *, scale, table):
        return [table[code] * scale]

    result = facpool.run(scaled, [(1, "a"), (1, "b")], kwargs={"scale": 10, "table": {"a": 1, "b": 2}},
                         **how)
    assert result["f0"].tolist() == [10.0, 20.0]


def test_what_the_function_is_given(how):
    def kinds(date, code):
        assert type(date) is int and type(code) is str
        return [float(date), float(len(code))]

    result = facpool.run(kinds, [(numpy.int32(20240102), numpy.str_("00001"))], **how)
    assert (result["f0"][0], result["f1"][0]) == (20240102, 5)


def test_callables_that_are_no_functions(how):
    import functools

    class Model:
        def __init__(self, scale):
            self.scale = scale

        def __call__(self, date, code):
            return [self.scale]

        def method(self, date, code):
            return [self.scale * 2]

    for function, expected in ((Model(3), 3), (Model(3).method, 6), (max, None),
                               (functools.partial(lambda s, d, c: [s], 9), 9)):
        result = facpool.run(function, [(1, "a")], factors=1, **how)
        if expected is None:
            assert result.report.failed == 1  # max(1, "a") is a TypeError
        else:
            assert result["f0"].tolist() == [expected]


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError):
        facpool.run("text", [(1, "a")])
    with pytest.raises(TypeError):
        facpool.run(None, [(1, "a")])
    with pytest.raises(TypeError):
        facpool.run_pools(None, [(1, "a")])
