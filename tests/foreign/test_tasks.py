"""Task sets from Arrow streams of pyarrow, polars and pandas: every type of date and code that these
libraries hand out."""
import ctypes
import datetime

import numpy
import pandas
import polars
import pyarrow as pa

from library import FacpoolError, Stream, end, prove, tasks_from, tasks_from_stream

DAYS = [datetime.date(2024, 1, 2), datetime.date(1969, 12, 31), datetime.date(2000, 2, 29),
        datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.date(1900, 3, 1)]
CODES = ["000001", "平安银行", "a code of more than twelve bytes", "x", "000001", "twelve bytes"]
NUMBERS = [day.year * 10000 + day.month * 100 + day.day for day in DAYS]
EXPECTED = list(zip(NUMBERS, CODES))


def refused(table, part):
    try:
        tasks_from(table)
    except FacpoolError as error:
        assert part in str(error), error
        return
    raise AssertionError(f"was taken, and should have said '{part}'")


# ------------------------------------------------------------------ pyarrow

def pyarrow_codes():
    types = [pa.string(), pa.large_string(), pa.string_view()]
    dictionaries = [pa.dictionary(index, text) for text in types
                    for index in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(),
                                  pa.uint16(), pa.uint32(), pa.uint64())]
    for kind in types + dictionaries:
        if pa.types.is_dictionary(kind):
            plain = pa.array(CODES, pa.string()).dictionary_encode()
            codes = pa.DictionaryArray.from_arrays(plain.indices.cast(kind.index_type),
                                                   plain.dictionary.cast(kind.value_type))
        else:
            codes = pa.array(CODES, kind)
        table = pa.table({"date": pa.array(NUMBERS, pa.int64()), "code": codes})
        assert tasks_from(table) == EXPECTED, kind
        assert tasks_from(table.slice(2, 3)) == EXPECTED[2:5], kind


def pyarrow_dates():
    far = slice(0, 3)  # nanoseconds reach from 1677 to 2262
    days = numpy.array(DAYS, "datetime64[D]")
    for kind, rows in [(pa.int32(), slice(None)), (pa.int64(), slice(None)),
                       (pa.date32(), slice(None)), (pa.date64(), slice(None)),
                       (pa.timestamp("s"), slice(None)), (pa.timestamp("ms"), slice(None)),
                       (pa.timestamp("us", "UTC"), slice(None)),
                       (pa.timestamp("us", "Asia/Shanghai"), slice(None)),
                       (pa.timestamp("ns"), far), (pa.timestamp("ns", "+08:00"), far)]:
        if pa.types.is_integer(kind):
            dates = pa.array(NUMBERS, kind)
        elif pa.types.is_timestamp(kind):
            dates = pa.array(days[rows].astype(f"datetime64[{kind.unit}]").view("int64"), pa.int64())
            dates = dates.cast(kind)
        else:
            dates = pa.array(DAYS, kind)
        table = pa.table({"date": dates, "code": pa.array(CODES[rows])})
        assert tasks_from(table) == EXPECTED[rows], kind


def pyarrow_last_moments():
    for unit in ("s", "ms", "us", "ns"):
        day = numpy.array(["1969-12-31", "2024-01-02"], "datetime64[D]") + 1
        last = day.astype(f"datetime64[{unit}]") - 1
        table = pa.table({"date": pa.array(last), "code": ["a", "b"]})
        assert tasks_from(table) == [(19691231, "a"), (20240102, "b")], unit


def pyarrow_chunks():
    whole = pa.table({"x": [0.5] * 600, "code": CODES * 100, "date": NUMBERS * 100})
    for rows in (1, 7, 599, 600):
        reader = pa.RecordBatchReader.from_batches(whole.schema,
                                                   whole.to_batches(max_chunksize=rows))
        assert tasks_from(reader) == EXPECTED * 100, rows
    assert tasks_from(whole.slice(0, 0)) == []
    assert tasks_from(pa.RecordBatchReader.from_batches(whole.schema, [])) == []
    assert tasks_from(whole.rename_columns(["x", "b", "a"]).select(["a", "b"])) == EXPECTED * 100


def pyarrow_export_to_c():
    stream = Stream()
    table = pa.table({"date": NUMBERS, "code": CODES})
    table.to_reader()._export_to_c(ctypes.addressof(stream))
    assert tasks_from_stream(ctypes.addressof(stream)) == EXPECTED


def pyarrow_refused():
    refused(pa.table({"date": [1, None], "code": ["a", "b"]}), "date is null in row 1")
    refused(pa.table({"date": [1, 2], "code": ["a", None]}), "code is null in row 1")
    refused(pa.table({"date": [1, 2], "code": pa.array(["a", None]).dictionary_encode()}), "row 1")
    refused(pa.table({"date": [1.5], "code": ["a"]}), "date column 'date'")
    refused(pa.table({"date": [1], "code": [2]}), "code column 'code'")
    refused(pa.table({"date": [1], "code": [b"a"]}), "code column 'code'")
    refused(pa.table({"date": [1], "code": [""]}), "row 0")
    refused(pa.table({"date": [1], "code": ["a\0b"]}), "row 0")
    refused(pa.table({"date": [1]}), "two, date and code")
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2]), pa.array(["a"]))
    refused(pa.table({"date": [1, 2], "code": runs}), "code column 'code'")


def pyarrow_failing_stream():
    schema = pa.schema([("date", pa.int64()), ("code", pa.string())])

    def batches():
        yield pa.record_batch([NUMBERS, CODES], schema=schema)
        raise OSError("the source went away")

    refused(pa.RecordBatchReader.from_batches(schema, batches()), "the source went away")


# ------------------------------------------------------------------ polars and pandas

def polars_codes():
    for kind in (polars.String, polars.Categorical, polars.Enum(sorted(set(CODES)))):
        frame = polars.DataFrame({"date": NUMBERS, "code": polars.Series(CODES, dtype=kind)})
        assert tasks_from(frame) == EXPECTED, kind
        assert tasks_from(frame.slice(1, 3)) == EXPECTED[1:4], kind
        assert tasks_from(polars.concat([frame, frame], rechunk=False)) == EXPECTED * 2, kind
        assert tasks_from(frame.clear()) == [], kind


def polars_dates():
    frame = polars.DataFrame({"date": DAYS, "code": CODES})
    assert tasks_from(frame) == EXPECTED
    for unit in ("ms", "us"):
        assert tasks_from(frame.with_columns(
            polars.col("date").cast(polars.Datetime(unit)))) == EXPECTED, unit
    frame = frame.with_columns(polars.Series("date", NUMBERS, dtype=polars.Int32))
    assert tasks_from(frame) == EXPECTED
    refused(polars.DataFrame({"date": [1], "code": [None]}), "code column 'code'")


def pandas_frames():
    frame = pandas.DataFrame({"date": NUMBERS, "code": CODES})
    assert tasks_from(frame) == EXPECTED
    assert tasks_from(frame.astype({"code": "category"})) == EXPECTED
    assert tasks_from(frame.astype({"code": object})) == EXPECTED
    days = pandas.to_datetime(pandas.Series(["2024-01-02", "1969-12-31", "2000-02-29"]))
    frame = pandas.DataFrame({"date": days, "code": CODES[:3]})
    assert tasks_from(frame) == EXPECTED[:3]
    assert tasks_from(frame.assign(date=days.dt.tz_localize("UTC"))) == EXPECTED[:3]


def million_rows():
    n = 1_000_000
    codes = pa.array([f"{i % 5000:06d}" for i in range(n)])
    table = pa.table({"date": pa.array(range(n), pa.int64()), "code": codes})
    pairs = tasks_from(table)
    assert len(pairs) == n and pairs[::99999] == [(i, f"{i % 5000:06d}") for i in range(0, n, 99999)]


prove("tasks from pyarrow: every text and dictionary type", pyarrow_codes)
prove("tasks from pyarrow: every date type", pyarrow_dates)
prove("tasks from pyarrow: the last moment of a day, before and after 1970", pyarrow_last_moments)
prove("tasks from pyarrow: chunks of any size, columns by name or by place", pyarrow_chunks)
prove("tasks from pyarrow: RecordBatchReader._export_to_c", pyarrow_export_to_c)
prove("tasks from pyarrow: nulls and other types are refused", pyarrow_refused)
prove("tasks from pyarrow: a stream that fails", pyarrow_failing_stream)
prove("tasks from polars: string views, categories, enums", polars_codes)
prove("tasks from polars: dates and times", polars_dates)
prove("tasks from pandas", pandas_frames)
prove("tasks from pyarrow: a million", million_rows)
end()
