"""Tasks from everything that holds dates and codes; what is none is refused, and the message says
which value."""
import datetime

import numpy
import pytest

import facpool
from helpers import some_codes, some_dates, some_pairs

DATES = [20240102, 20240102, 20240103, 20231229]
CODES = ["000001", "600519", "000001", "平安"]
PAIRS = list(zip(DATES, CODES))
DAYS = [datetime.date(date // 10000, date // 100 % 100, date % 100) for date in DATES]


def keys(task_set):
    return [task_set.key(i) for i in range(len(task_set))]


def check(source, expected=PAIRS):
    """Both as a task set made beforehand, and given to run as it is."""
    assert keys(facpool.tasks(source() if callable(source) else source)) == expected
    given = source() if callable(source) else source
    result = facpool.run(lambda date, code: [float(date), float(len(code))], given, factors=2,
                         executor="serial")
    assert result.dates.tolist() == [date for date, _ in expected]
    assert list(result.codes) == [code for _, code in expected]
    assert result["f0"].tolist() == [float(date) for date, _ in expected]


class OnlyStream:
    """An object of a library that nobody has heard of: all it has is the Arrow stream."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


# ------------------------------------------------------------------ Python's own

def test_list_of_tuples():
    check(PAIRS)


def test_list_of_lists():
    check([list(pair) for pair in PAIRS])


def test_tuple_of_tuples():
    check(tuple(PAIRS))


def test_generator():
    check(lambda: (pair for pair in PAIRS))


def test_zip():
    check(lambda: zip(DATES, CODES))


def test_pairs_of_numpy_scalars():
    check(list(zip(numpy.array(DATES), numpy.array(CODES))))


def test_pairs_with_dates():
    check(list(zip(DAYS, CODES)))


def test_pairs_with_datetimes():
    check([(datetime.datetime(d.year, d.month, d.day, 15, 30), c) for d, c in zip(DAYS, CODES)])


def test_pairs_with_timestamps():
    pandas = pytest.importorskip("pandas")
    check([(pandas.Timestamp(day), code) for day, code in zip(DAYS, CODES)])


def test_pairs_with_datetime64():
    check([(numpy.datetime64(day), code) for day, code in zip(DAYS, CODES)])


def test_dict_of_lists():
    check({"date": DATES, "code": CODES})


def test_dict_of_arrays():
    check({"date": numpy.array(DATES), "code": numpy.array(CODES)})


def test_dict_of_dates():
    check({"date": DAYS, "code": CODES})


def test_dict_of_object_arrays():
    check({"date": numpy.array(DATES, dtype=object), "code": numpy.array(CODES, dtype=object)})


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_dict_of_datetime64(unit):
    check({"date": numpy.array(DAYS, dtype=f"datetime64[{unit}]"), "code": CODES})


@pytest.mark.parametrize("kind", ["int32", "uint32", "int64", "uint64"])
def test_integer_arrays_of_each_width(kind):
    check({"date": numpy.array(DATES, dtype=kind), "code": numpy.array(CODES)})


def test_arrays_that_do_not_lie_in_one_piece():
    check({"date": numpy.repeat(DATES, 2)[::2], "code": numpy.repeat(CODES, 2)[::2]})


def test_structured_array():
    array = numpy.array(PAIRS, dtype=[("date", "i8"), ("code", "U8")])
    check(array)


def test_object_array_of_two_columns():
    check(numpy.array(PAIRS, dtype=object))


def test_dates_that_are_no_days():
    """Any int64 is a date."""
    pairs = [(-5, "a"), (0, "a"), (2**63 - 1, "a"), (-2**63, "a")]
    assert keys(facpool.tasks(pairs)) == pairs


def test_empty():
    assert len(facpool.tasks([])) == 0
    assert len(facpool.tasks({"date": [], "code": []})) == 0


def test_a_task_set_is_taken_as_it_is():
    check(facpool.tasks(PAIRS))


def test_a_task_set_serves_many_runs():
    task_set = facpool.tasks(PAIRS)
    for _ in range(3):
        assert len(facpool.run(lambda d, c: [1.0], task_set, executor="serial")) == 4


# ------------------------------------------------------------------ grids

def test_grid_is_date_major():
    dates, codes = some_dates(3), some_codes(4)
    check(facpool.grid(dates, codes), [(d, c) for d in dates for c in codes])


def test_grid_of_arrays_and_days():
    grid = facpool.grid(numpy.array(sorted(set(DAYS)), dtype="datetime64[D]"), numpy.array(["1", "01"]))
    assert keys(grid) == [(d, c) for d in sorted(set(DATES)) for c in ("1", "01")]


def test_grid_of_ranges_and_generators():
    grid = facpool.grid(range(5, 8), (str(i) for i in range(2)))
    assert keys(grid) == [(d, c) for d in (5, 6, 7) for c in ("0", "1")]


def test_a_large_grid_takes_no_memory():
    assert len(facpool.grid(range(100_000), [str(i) for i in range(10_000)])) == 10**9


# ------------------------------------------------------------------ data frames

def test_pandas():
    pandas = pytest.importorskip("pandas")
    check(pandas.DataFrame({"date": DATES, "code": CODES}))


def test_pandas_with_timestamps_and_other_columns():
    pandas = pytest.importorskip("pandas")
    check(pandas.DataFrame({"close": 1.0, "code": CODES, "date": pandas.to_datetime(DAYS)}))


def test_pandas_with_categories_and_a_filtered_index():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"date": DATES * 2, "code": pandas.Categorical(CODES * 2),
                              "keep": [True] * 4 + [False] * 4})
    check(frame[frame["keep"]])


def test_pandas_with_object_codes():
    pandas = pytest.importorskip("pandas")
    check(pandas.DataFrame({"date": DATES, "code": pandas.Series(CODES, dtype=object)}))


def test_polars():
    polars = pytest.importorskip("polars")
    check(polars.DataFrame({"date": DATES, "code": CODES}))


def test_polars_with_days_and_categories():
    polars = pytest.importorskip("polars")
    check(polars.DataFrame({"date": DAYS, "code": CODES},
                           schema_overrides={"code": polars.Categorical}))


def test_pyarrow_table():
    pyarrow = pytest.importorskip("pyarrow")
    check(pyarrow.table({"date": DATES, "code": CODES}))


def test_pyarrow_chunks_and_slices():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.concat_tables([pyarrow.table({"date": [d], "code": [c]}) for d, c in PAIRS * 3])
    check(table.slice(4, 4))


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
def test_pyarrow_texts_of_each_kind(kind):
    pyarrow = pytest.importorskip("pyarrow")
    codes = pyarrow.array(CODES)
    codes = codes.dictionary_encode() if kind == "dictionary" else codes.cast(getattr(pyarrow, kind)())
    check(pyarrow.table({"date": DATES, "code": codes}))


@pytest.mark.parametrize("kind", ["int32", "int64", "date32", "date64", "timestamp_s", "timestamp_ns"])
def test_pyarrow_dates_of_each_kind(kind):
    pyarrow = pytest.importorskip("pyarrow")
    if kind.startswith("int"):
        dates = pyarrow.array(DATES, type=getattr(pyarrow, kind)())
    elif kind.startswith("timestamp"):
        dates = pyarrow.array(DAYS).cast(pyarrow.timestamp(kind[10:]))
    else:
        dates = pyarrow.array(DAYS, type=getattr(pyarrow, kind)())
    check(pyarrow.table({"date": dates, "code": CODES}))


def test_pyarrow_record_batch_and_reader():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"date": DATES, "code": CODES})
    check(table.to_batches()[0])
    check(lambda: table.to_reader())


def test_any_object_with_an_arrow_stream():
    pyarrow = pytest.importorskip("pyarrow")
    check(OnlyStream(pyarrow.table({"date": DATES, "code": CODES})))


def test_duckdb_relation():
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    relation = connection.sql("SELECT * FROM (VALUES (20240102::BIGINT, '000001'), (20240103, '1')) "
                              "t(date, code)")
    check(relation, [(20240102, "000001"), (20240103, "1")])
    connection.close()


def test_the_rows_of_a_query_are_tasks_for_the_next_run(folder):
    facpool.run(lambda d, c: [1.0], PAIRS, backup="b", executor="serial")
    check(facpool.query("b", order="key"), sorted(PAIRS))


# ------------------------------------------------------------------ what is refused

@pytest.mark.parametrize("wrong, says", [
    ([(20240102, 1)], "1"),
    ([(20240102, None)], "None"),
    ([(20240102, b"000001")], "000001"),
    ([("20240102", "000001")], "20240102"),
    ([(20240102.5, "000001")], "20240102.5"),
    ([(None, "000001")], "None"),
    ([(True, "000001")], "True"),
    ([(2**63, "000001")], "9223372036854775808"),
    ([(20240102, "")], ""),
    ([(20240102, "a\0b")], ""),
    ([(20240102, "x" * 256)], "255"),
    ([(20240102, "\ud800")], ""),
    ([(20240102,)], ""),
    ([20240102], "20240102"),
    (["000001"], ""),
    (5, "5"),
    (None, "None"),
    ({"date": [1, 2], "code": ["a"]}, "2"),
    ({"dates": [1], "codes": ["a"]}, "date"),
    ({"date": [1.5], "code": ["a"]}, "1.5"),
    ({"date": [1], "code": [7]}, "7"),
])
def test_what_is_no_task_is_refused_by_its_value(wrong, says):
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        facpool.tasks(wrong)
    assert says in str(caught.value)


def test_the_message_says_which_row():
    with pytest.raises((TypeError, ValueError), match="1234"):
        facpool.tasks([(1, "a")] * 1234 + [(1, 5)])


def test_nulls_are_refused():
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="null"):
        facpool.tasks(pyarrow.table({"date": [1, None], "code": ["a", "b"]}))
    pandas = pytest.importorskip("pandas")
    with pytest.raises((TypeError, ValueError)):
        facpool.tasks(pandas.DataFrame({"date": [1, 2], "code": ["a", None]}))
    with pytest.raises((TypeError, ValueError)):
        facpool.tasks({"date": numpy.array(["2024-01-02", "NaT"], dtype="datetime64[D]"),
                       "code": ["a", "b"]})


def test_a_key_twice_is_refused_naming_it():
    with pytest.raises(ValueError, match="(?s)20240102.*600519|600519.*20240102"):
        facpool.run(lambda d, c: [1.0], PAIRS + [(20240102, "600519")], factors=1, executor="serial")


def test_an_error_in_a_generator_comes_through():
    def broken():
        yield (1, "a")
        raise ZeroDivisionError("in the middle")

    with pytest.raises(ZeroDivisionError, match="in the middle"):
        facpool.tasks(broken())


def test_a_list_that_changes_while_it_is_read_does_no_harm():
    """A date whose __index__ empties the list."""
    pairs = [(1, "a")] * 100

    class Date:
        def __index__(self):
            pairs.clear()
            return 1

    pairs[50] = (Date(), "b")
    try:
        facpool.tasks(pairs)
    except (TypeError, ValueError, RuntimeError, IndexError):
        pass


@pytest.mark.parametrize("n", [100_000])
def test_long_lists(n):
    pairs = [(i // 500, f"{i % 500:06d}") for i in range(n)]
    task_set = facpool.tasks(pairs)
    assert len(task_set) == n
    assert keys(task_set) == pairs


def test_keys_by_index():
    task_set = facpool.tasks(some_pairs(3, 3))
    assert len(keys(task_set)) == 9
    with pytest.raises(IndexError):
        task_set.key(9)
