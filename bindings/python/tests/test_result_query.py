"""Result and Query: columns, rows, pivots, frames, and Arrow streams that every reader may take as often
as it likes."""
import datetime
import gc
import pickle
import warnings

import numpy
import pytest

import facpool
from helpers import some_codes, some_dates, three_factors

DATES = some_dates(5)
CODES = some_codes(6)
PAIRS = [(date, code) for date in DATES for code in CODES]
NAMES = ["half", "number", "价格"]


def of_each_status(date, code):
    if code == CODES[1]:
        return None
    if code == CODES[2]:
        raise ValueError(f"no bars for {code}")
    values = three_factors(date, code)
    if code == CODES[3]:
        values[2] = float("nan")
    return values


OK = [(date, code) for date, code in PAIRS if code not in CODES[1:3]]


@pytest.fixture
def result(folder, storage_format):
    return facpool.run(of_each_status, PAIRS, factors=NAMES, backup="b", tag="version 1",
                       storage_format=storage_format, executor="serial")


@pytest.fixture
def query(result):
    return facpool.query("b")


@pytest.fixture(params=["result", "query", "result without backup"])
def source(request, folder):
    """Both faces of rows: what is tested here holds for both."""
    backup = None if "without" in request.param else "b"
    run = facpool.run(of_each_status, PAIRS, factors=NAMES, backup=backup, executor="serial")
    return facpool.query("b") if request.param == "query" else run


def ok_rows():
    """What readers shall see: date, code and factors, by key."""
    return [[date, code, *of_each_status(date, code)] for date, code in sorted(OK)]


def same(rows, expected):
    """NaN equals NaN."""
    return repr([[*row[:2], *map(float, row[2:])] for row in rows]) == \
        repr([[*row[:2], *map(float, row[2:])] for row in expected])


# ------------------------------------------------------------------ the result

def test_columns_of_a_result_are_in_task_order(result):
    assert len(result) == 30
    assert result.dates.tolist() == [date for date, _ in PAIRS] and result.dates.dtype == numpy.int64
    assert list(result.codes) == [code for _, code in PAIRS]
    assert list(result.factor_names) == NAMES
    number = result["number"]
    assert number.dtype == numpy.float64 and number.shape == (30,)
    for i, (date, code) in enumerate(PAIRS):
        if (date, code) in OK:
            assert number[i] == int(code)
        else:
            assert numpy.isnan(number[i])
    with pytest.raises(KeyError, match="unknown"):
        result["unknown"]


def test_columns_of_a_result_are_read_only_and_outlive_it(folder):
    run = facpool.run(three_factors, PAIRS, factors=NAMES, executor="serial")
    column = run["half"]
    with pytest.raises(ValueError):
        column[0] = 1.0
    expected = column.tolist()
    del run
    gc.collect()
    assert column.tolist() == expected


def test_failures(result):
    assert [(f.date, f.code) for f in result.failures] == [(date, CODES[2]) for date in DATES]
    for failure in result.failures:
        assert failure.status == "failed" and failure.failure_code == 1
        assert "ValueError: no bars for" in failure.message
        assert CODES[2] in repr(failure) or CODES[2] in str(failure)


def test_report(result):
    report = result.report
    assert (report.total, report.ok, report.skipped, report.failed) == (30, 20, 5, 5)
    assert (report.timeout, report.crashed, report.not_run, report.resumed) == (0, 0, 0, 0)
    assert report.rows_written == 30
    assert report.elapsed > 0 and report.executor == "serial"
    assert "30" in repr(report) or "20" in repr(report)


def test_repr_says_what_it_is(result, query):
    assert "30" in repr(result) and "Result" in repr(result)
    assert "Query" in repr(query)


# ------------------------------------------------------------------ iteration and columns

def test_rows_by_iteration(source):
    rows = [list(row) for row in source]
    wanted = [row for row in rows if tuple(row[:2]) in OK]
    assert same([row[:2] + row[-3:] for row in sorted(wanted, key=lambda row: row[:2])], ok_rows())
    assert [list(row) for row in source] is not rows and len(list(source)) == len(rows)  # again


def test_columns_of_a_query(query):
    assert len(query) == 20
    assert query.dates.tolist() == [row[0] for row in ok_rows()]
    assert list(query.codes) == [row[1] for row in ok_rows()]
    assert query["half"].tolist() == [row[2] for row in ok_rows()]
    assert query["half"].dtype == numpy.float64
    now = datetime.datetime.now(datetime.timezone.utc).timestamp() * 1e6
    stamps = numpy.asarray(query.timestamps).astype("i8")
    assert (abs(stamps - now) < 600e6).all()
    assert list(query.factor_names) == NAMES
    with pytest.raises(KeyError):
        query["unknown"]


# ------------------------------------------------------------------ filters

def test_filter_by_start_and_end(query):
    for start, end in ((DATES[1], DATES[3]), (datetime.date(2024, 1, 2), datetime.date(2024, 1, 4)),
                       (numpy.datetime64("2024-01-02"), numpy.datetime64("2024-01-04"))):
        rows = facpool.query("b", start=start, end=end)
        assert set(rows.dates.tolist()) == set(DATES[1:4])
    assert len(facpool.query("b", start=DATES[4])) == 4 and len(facpool.query("b", end=DATES[0])) == 4


def test_filter_by_dates_and_codes(query):
    rows = facpool.query("b", dates=[DATES[4], DATES[0]], codes=[CODES[5], CODES[0]])
    assert list(zip(rows.dates.tolist(), rows.codes)) == \
        [(d, c) for d in (DATES[0], DATES[4]) for c in (CODES[0], CODES[5])]
    assert len(facpool.query("b", dates=[])) == 0 and len(facpool.query("b", codes=[])) == 0
    assert len(facpool.query("b", codes=[CODES[0]])) == 5
    assert facpool.query("b", codes=["7"])["half"].tolist() == []  # not "000007"


def test_filter_by_factors(query):
    rows = facpool.query("b", factors=["价格", "half"])
    assert list(rows.factor_names) == ["价格", "half"]
    assert rows["half"].tolist() == query["half"].tolist()
    with pytest.raises(KeyError, match="unknown"):
        len(facpool.query("b", factors=["unknown"]))


def test_filter_by_status(query):
    for status, n in (("ok", 20), ("skipped", 5), ("failed", 5), ("crashed", 0), ("all", 30),
                      (["ok", "failed"], 25)):
        assert len(facpool.query("b", status=status)) == n, status
    with pytest.raises(ValueError, match="good"):
        facpool.query("b", status="good")


def test_order(query):
    by_key = facpool.query("b", order="key")
    assert list(zip(by_key.dates.tolist(), by_key.codes)) == sorted(OK)
    assert sorted(facpool.query("b", order="file")["half"].tolist()) == sorted(by_key["half"].tolist())
    with pytest.raises(ValueError, match="random"):
        facpool.query("b", order="random")


def test_rows_that_are_not_ok_are_null_and_never_nan(query):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(facpool.query("b", status="all"))
    for row in table.to_pylist():
        status = row["status"]
        if row["code"] in CODES[1:3]:
            assert row["half"] is None and row["价格"] is None, row
        else:
            assert row["half"] is not None
        if row["code"] == CODES[2]:
            assert "no bars" in row["message"] and row["failure_code"] == 1
        elif "message" in row:
            assert not row["message"]
        assert status is not None
    nan = pyarrow.table(facpool.query("b", codes=[CODES[3]]))["价格"].to_pylist()
    assert len(nan) == 5 and all(value is not None and value != value for value in nan)


def test_many_backups_as_one(folder):
    for number in range(3):
        facpool.run(three_factors, [(date, code) for date in DATES for code in CODES[number::3]],
                    factors=NAMES, backup=f"shard{number}", executor="serial")
    rows = facpool.query([f"shard{i}" for i in range(3)])
    assert list(zip(rows.dates.tolist(), rows.codes)) == sorted(PAIRS)
    assert len(facpool.query([folder / "shard0"])) == 10


def test_a_query_may_be_asked_again_and_sees_new_rows_when_asked_anew(folder):
    facpool.run(three_factors, PAIRS[:10], factors=NAMES, backup="b", executor="serial")
    query = facpool.query("b")
    assert len(list(query)) == len(list(query)) == 10
    facpool.run(three_factors, PAIRS, factors=NAMES, backup="b", mode="resume", executor="serial")
    assert len(facpool.query("b")) == 30


def test_what_is_no_backup(folder):
    (folder / "text").write_text("no backup at all\n" * 100)
    with pytest.raises(facpool.Error, match="text"):
        len(facpool.query("text"))
    with pytest.raises(FileNotFoundError, match="nothing"):
        len(facpool.query("nothing"))
    with pytest.raises((ValueError, facpool.Error)):
        len(facpool.query([]))


def test_damage_is_no_silent_gap(folder, storage_format):
    """A flipped bit anywhere in the rows: an error, a warning or all rows, never fewer in silence."""
    facpool.run(three_factors, PAIRS, factors=NAMES, backup="b", storage_format=storage_format,
                executor="serial")
    with open("b", "rb") as file:
        sound = file.read()
    end = sound.rindex(b"\n", 0, -1) if storage_format == "json" else len(sound)
    for place in range(7, end, 97):  # json: a last line that is not whole is a torn tail
        with open("b", "wb") as file:
            file.write(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1:])
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            try:
                n = len(list(facpool.query("b")))
            except facpool.Error:
                continue
        assert n == 30 or record, f"byte {place}: {n} rows and no word"


# ------------------------------------------------------------------ Arrow, twice each

def rows_of(table):
    """Of a pyarrow table: date, code and factors of ok rows, by key."""
    names = ["date", "code", *NAMES]
    rows = [[row[name] for name in names] for row in table.to_pylist()]
    return sorted((row for row in rows if row[2] is not None), key=lambda row: row[:2])


def test_pyarrow_reads_it_twice(source):
    pyarrow = pytest.importorskip("pyarrow")
    for _ in range(2):
        table = pyarrow.table(source)
        assert same(rows_of(table), ok_rows())
        assert table.schema.field("code").type == pyarrow.string()
        assert table.schema.field("date").type == pyarrow.int64()
    reader = pyarrow.RecordBatchReader.from_stream(source)
    assert same(rows_of(reader.read_all()), ok_rows())


def test_polars_reads_it_twice(source):
    polars = pytest.importorskip("polars")
    for _ in range(2):
        frame = polars.DataFrame(source).filter(polars.col("half").is_not_null()).sort("date", "code")
        assert same(frame.select("date", "code", *NAMES).rows(), ok_rows())
        assert frame.schema["code"] == polars.String


def test_duckdb_reads_it_twice(source):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    for _ in range(2):
        rows = connection.sql("SELECT date, code, half, number, 价格 FROM source WHERE half IS NOT NULL "
                              "ORDER BY date, code").fetchall()
        assert same(rows, ok_rows())
        # One question that scans it twice, in which streams of one use give wrong answers.
        n = connection.sql("SELECT count(*) FROM source a JOIN source b USING (date, code) "
                           "WHERE a.half IS NOT NULL").fetchall()[0][0]
        assert n == len(OK)
    connection.close()


def test_pandas_reads_it_twice(source):
    pandas = pytest.importorskip("pandas")
    for _ in range(2):
        frame = pandas.DataFrame.from_arrow(source)
        frame = frame[frame["half"].notna()].sort_values(["date", "code"])
        assert same(frame[["date", "code", *NAMES]].values.tolist(), ok_rows())


def test_to_pandas(source):
    pandas = pytest.importorskip("pandas")
    for _ in range(2):
        frame = source.to_pandas()
        assert isinstance(frame, pandas.DataFrame)
        frame = frame[frame["half"].notna()].sort_values(["date", "code"])
        assert same(frame[["date", "code", *NAMES]].values.tolist(), ok_rows())


def test_to_pandas_needs_no_pyarrow(folder):
    pytest.importorskip("pandas")
    from helpers import python
    facpool.run(three_factors, PAIRS, factors=NAMES, backup="b", executor="serial")
    python("""
        import sys
        sys.modules["pyarrow"] = None
        import facpool
        frame = facpool.query("b").to_pandas()
        assert len(frame) == 30 and list(frame["code"])[:2] == ["000000", "000007"], frame
    """, cwd=folder)


def test_streams_outlive_what_they_came_from(source):
    pyarrow = pytest.importorskip("pyarrow")
    capsule = source.__arrow_c_stream__()
    reader = pyarrow.RecordBatchReader.from_stream(source)
    unused = [source.__arrow_c_stream__() for _ in range(3)]
    del source, capsule, unused
    gc.collect()
    assert same(rows_of(reader.read_all()), ok_rows())


def test_two_streams_side_by_side(source):
    pyarrow = pytest.importorskip("pyarrow")
    first = pyarrow.RecordBatchReader.from_stream(source)
    second = pyarrow.RecordBatchReader.from_stream(source)
    assert same(rows_of(first.read_all()), rows_of(second.read_all()))


def test_a_memory_map_backup_is_opened_by_pyarrow_directly(folder):
    pyarrow = pytest.importorskip("pyarrow")
    facpool.run(of_each_status, PAIRS, factors=NAMES, backup="b.arrow", executor="serial")
    with pyarrow.memory_map("b.arrow") as file:
        table = pyarrow.ipc.open_file(file).read_all()
        assert same(rows_of(table), ok_rows())


def test_large_results_come_in_several_batches(folder):
    pyarrow = pytest.importorskip("pyarrow")
    grid = facpool.grid(range(300), [str(i) for i in range(1000)])
    result = facpool.run(lambda d, c: (1.0, d), grid, factors=2, backup="b", workers=2)
    for source in (result, facpool.query("b")):
        table = pyarrow.table(source)
        assert table.num_rows == 300_000
        assert pyarrow.compute.sum(table["f1"]).as_py() == 1000 * sum(range(300))


# ------------------------------------------------------------------ pivots

def test_pivot(source):
    pandas = pytest.importorskip("pandas")
    table = source.pivot("number")
    assert isinstance(table, pandas.DataFrame)
    assert list(table.index) == DATES
    codes = [code for code in CODES if code in table.columns]
    assert set(codes) >= {CODES[0], *CODES[3:]}
    for code in (CODES[0], *CODES[3:]):
        assert table[code].tolist() == [float(code)] * 5
    with pytest.raises(KeyError):
        source.pivot("unknown")


def test_pivot_with_gaps(folder):
    pytest.importorskip("pandas")
    result = facpool.run(three_factors, [(1, "02"), (2, "1"), (1, "1")], factors=NAMES, executor="serial")
    table = result.pivot("half")
    assert list(table.index) == [1, 2] and list(table.columns) == ["02", "1"]
    assert numpy.isnan(table.loc[2, "02"]) and table.loc[2, "1"] == 1.0


# ------------------------------------------------------------------ files

def test_info_verify_repair_convert_compact(result, storage_format):
    info = facpool.info("b")
    assert info["format"] == storage_format and info["factor_names"] == NAMES
    assert info["tag"] == "version 1" and info["rows"]["ok"] == 20 and info["closed"]
    assert facpool.verify("b")["sound"]
    assert facpool.repair("b")["sound"]
    facpool.convert(["b"], "c.jsonl")
    assert facpool.info("c.jsonl")["format"] == "json"
    facpool.compact("b")
    for path in ("b", "c.jsonl"):
        rows = facpool.query(path)
        assert same(zip(rows.dates.tolist(), rows.codes, *(rows[name] for name in NAMES)), ok_rows())


def test_results_do_not_pretend_to_be_picklable(result):
    try:
        copy = pickle.loads(pickle.dumps(result))
    except (TypeError, pickle.PicklingError):
        return
    assert copy["number"].tolist()[:1] == result["number"].tolist()[:1]
