"""Rows out of the tables of foreign readers, in the form that library.own_rows gives."""
import math

import duckdb
import polars
import pyarrow as pa

from library import Row, value


def is_nan(bits):
    return math.isnan(value(bits))


def bits_of_arrow(column):
    """The words of float64 values, None where null: by their buffers, as a float of Python may lose
    the payload of a NaN."""
    words = []
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        assert pa.types.is_float64(chunk.type), chunk.type
        words += pa.Array.from_buffers(pa.uint64(), len(chunk), chunk.buffers(), chunk.null_count,
                                       chunk.offset).to_pylist()
    return words


def _rows(columns, factors):
    return [Row(date, code, timestamp, status, None, None, tuple(words))
            for date, code, timestamp, status, *words in zip(*columns, *factors)]


def rows_of_arrow(table, names):
    """Rows of a Table or RecordBatch."""
    assert table.schema.field("timestamp").type.unit == "us"
    timestamps = table["timestamp"].cast(pa.int64())
    columns = [table["date"], table["code"], timestamps, table["status"]]
    return _rows([column.to_pylist() for column in columns],
                 [bits_of_arrow(table[name]) for name in names])


def rows_of_polars(frame, names):
    assert frame.schema["code"] == polars.String
    assert frame.schema["date"] == polars.Int64
    plain = frame.with_columns(polars.col("timestamp").dt.epoch("us"))
    return _rows([plain[name].to_list() for name in ("date", "code", "timestamp", "status")],
                 [bits_of_arrow(frame[name].to_arrow()) for name in names])


def duckdb_table(query, **sources):
    """The answer as an Arrow table; DuckDB sees the sources by their names."""
    with duckdb.connect() as connection:
        for name, source in sources.items():
            connection.register(name, source)
        connection.execute("set timezone = 'UTC'")
        answer = connection.sql(query).arrow()  # a table or, in newer versions, a reader
        return answer.read_all() if isinstance(answer, pa.RecordBatchReader) else answer
