"""The Arrow stream of a cursor (facpool_cursor_to_arrow), read by pyarrow, polars, DuckDB and pandas:
each gives the rows that the cursor itself gives, from backups of the format named.

    python3 test_stream.py FORMAT"""
import gc
import os
import sys
import tempfile

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset

import tables
from library import Rows, check_sample, end, make_backup, own_rows, prove, same_rows

FORMAT = sys.argv[1]
FOLDER = tempfile.TemporaryDirectory()
PATH = os.path.join(FOLDER.name, "backup")
make_backup("whole", FORMAT, PATH)
make_backup("resume", FORMAT, PATH)
NAMES, EXPECTED = own_rows(PATH)
OK = [row for row in EXPECTED if row.status == 1]


def check(table, expected=EXPECTED):
    same_rows(tables.rows_of_arrow(table, NAMES), expected)


def check_failures(table):
    """Failure codes and messages, null where a row is ok."""
    found = {(row["date"], row["code"]): (row["failure_code"], row["message"])
             for row in table.select(["date", "code", "failure_code", "message"]).to_pylist()}
    for row in EXPECTED:
        ours = (None, None) if row.status == 1 else (row.failure_code, row.message)
        assert found[row.date, row.code] == ours, (row, found[row.date, row.code])


def pyarrow_table():
    table = pa.table(Rows(PATH))
    assert table.schema.names[:4] == ["date", "code", "timestamp", "status"]
    assert [str(kind) for kind in table.schema.types[:4]] == [
        "int64", "string", "timestamp[us, tz=UTC]", "uint8"]
    for batch in table.to_batches():
        batch.validate(full=True)
    check(table)
    check_failures(table)


def pyarrow_reader():
    reader = pa.RecordBatchReader.from_stream(Rows(PATH))
    batches = list(reader)
    assert len(batches) > 1
    reader.close()
    del reader
    gc.collect()
    check(pa.Table.from_batches(batches))


def pyarrow_ok_rows():
    table = pa.table(Rows(PATH, statuses=0))
    assert "message" not in table.schema.names
    assert all(table[name].null_count == 0 for name in table.schema.names)
    check(table, OK)


def zero_copy():
    rows = Rows(PATH, statuses=0, zero_copy=True)
    batches = list(pa.RecordBatchReader.from_stream(rows))
    before = pa.total_allocated_bytes()
    check(pa.Table.from_batches(batches), OK)
    del batches
    assert pa.total_allocated_bytes() <= before


def left_alone():
    """Streams that nobody reads to their end, and batches that outlive their stream."""
    reader = pa.RecordBatchReader.from_stream(Rows(PATH))
    first = reader.read_next_batch()
    del reader
    gc.collect()
    first.validate(full=True)
    column = first.column(0)
    del first
    gc.collect()
    assert len(column.to_pylist()) > 0


def polars_frame():
    frame = polars.DataFrame(Rows(PATH))
    same_rows(tables.rows_of_polars(frame, NAMES), EXPECTED)


def duckdb_scan():
    rows = Rows(PATH)
    check(tables.duckdb_table("from rows", rows=rows))


def duckdb_reader():
    reader = pa.RecordBatchReader.from_stream(Rows(PATH))
    check(tables.duckdb_table("from reader", reader=reader))


def duckdb_query():
    table = pa.table(Rows(PATH))
    dataset = pyarrow.dataset.dataset(table)
    with duckdb.connect() as connection:
        connection.register("backup", dataset)
        found = connection.sql("select status, count(*), count(rank) from backup "
                               "group by status order by status").fetchall()
    statuses = sorted({row.status for row in EXPECTED})
    assert found == [(status, sum(row.status == status for row in EXPECTED),
                      sum(row.status == status for row in EXPECTED) if status == 1 else 0)
                     for status in statuses], found


def pandas_frame():
    frame = pandas.DataFrame.from_arrow(Rows(PATH)) if hasattr(pandas.DataFrame, "from_arrow") \
        else pa.table(Rows(PATH)).to_pandas()
    assert list(frame["code"]) == [row["code"] for row in pa.table(Rows(PATH)).to_pylist()]
    assert int(frame["special"].isna().sum()) == sum(
        row.factors[0] is None or tables.is_nan(row.factors[0]) for row in EXPECTED)


def what(reader):
    return f"stream of {FORMAT}: {reader}"


check_sample(EXPECTED)
prove(what("pyarrow Table, validated in full, with failures"), pyarrow_table)
prove(what("pyarrow RecordBatchReader, batches outlive it"), pyarrow_reader)
prove(what("pyarrow, ok rows alone hold no null"), pyarrow_ok_rows)
prove(what("streams left before their end"), left_alone)
prove(what("polars DataFrame"), polars_frame)
prove(what("DuckDB over __arrow_c_stream__"), duckdb_scan)
prove(what("DuckDB over a RecordBatchReader"), duckdb_reader)
prove(what("DuckDB, a query over a dataset"), duckdb_query)
prove(what("pandas DataFrame"), pandas_frame)
if FORMAT == "memory_map":
    prove(what("pyarrow, with zero copy required"), zero_copy)
end()
