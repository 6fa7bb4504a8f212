"""Backups of format memory_map in the hands of Arrow's readers: pyarrow, feather, polars, DuckDB and
the Arrow library for Rust. Of files that a run closed, that were repaired after the run was killed,
and that a later run resumed, each gives exactly the rows that our own cursor gives; of a file whose
writer was killed, every whole batch.

    python3 test_memory_map.py [PROGRAM of arrow_rs]"""
import io
import os
import shutil
import subprocess
import sys
import tempfile

import polars
import pyarrow as pa
import pyarrow.dataset
from pyarrow import feather, ipc

import tables
from library import Row, check_sample, end, latest, make_backup, own_rows, prove, same_rows

ARROW_RS = sys.argv[1] if len(sys.argv) > 1 else None
FOLDER = tempfile.TemporaryDirectory()
STREAM_START = 8  # behind the file's magic
FORMAT = "memory_map"


def path_of(name):
    return os.path.join(FOLDER.name, name + ".arrow")


def copy_of(name, new_name):
    shutil.copy(path_of(name), path_of(new_name))
    return path_of(new_name)


# ------------------------------------------------------------------ readers of closed files

def by_pyarrow(path):
    """All batches at once, none of them copied."""
    before = pa.total_allocated_bytes()
    with pa.memory_map(path) as source:
        reader = ipc.open_file(source)
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        taken = pa.total_allocated_bytes() - before
        size = os.path.getsize(path)
        assert size > 300_000, f"{size} bytes show nothing"
        assert taken < 20_000, f"{taken} bytes were allocated for a file of {size}"
        for batch in batches:
            batch.validate(full=True)
        assert len([batch for batch in batches if batch.num_rows]) > 1
        return pa.Table.from_batches(batches)


def by_feather(path):
    return feather.read_table(path, memory_map=True)


def by_pyarrow_stream(path):
    """A closed file is still the stream that it was while it grew."""
    with pa.memory_map(path) as source:
        source.seek(STREAM_START)
        return ipc.open_stream(source).read_all()


def by_duckdb_stream(path):
    with pa.memory_map(path) as source:
        source.seek(STREAM_START)
        return tables.duckdb_table("from reader", reader=ipc.open_stream(source))


def by_duckdb_dataset(path):
    return tables.duckdb_table("from data", data=pyarrow.dataset.dataset(path, format="ipc"))


def polars_from_bytes(path):
    with open(path, "rb") as file:
        return polars.read_ipc(io.BytesIO(file.read()))


ARROW_READERS = {
    "pyarrow open_file, nothing allocated": by_pyarrow,
    "feather read_table": by_feather,
    "pyarrow open_stream from byte 8": by_pyarrow_stream,
    "DuckDB over the Arrow stream": by_duckdb_stream,
    "DuckDB over a dataset": by_duckdb_dataset,
}
POLARS_READERS = {
    "polars scan_ipc": lambda path: polars.scan_ipc(path).collect(),
    "polars read_ipc": polars.read_ipc,
    "polars read_ipc, from bytes": polars_from_bytes,
    "polars scan_ipc, one date": lambda path: polars.scan_ipc(path).filter(
        polars.col("date") == ONE_DATE).collect(),
}
ONE_DATE = 20240115


def rust_rows(kind, path):
    """Names, rows, and whether the reader came to the end."""
    done = subprocess.run([ARROW_RS, kind, path], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 3), done.stderr
    names, *lines = done.stdout.split("\n")[:-1] or [""]
    rows = []
    for line in lines:
        date, code, timestamp, status, *words = line.split("\t")
        rows.append(Row(int(date), bytes.fromhex(code).decode(), int(timestamp), int(status), None,
                        None, tuple(None if word == "-" else int(word, 16) for word in words)))
    return names.split("\t"), rows, done.returncode == 0, done.stderr


def by_rust(kind, path, expected, names):
    found_names, rows, complete, why = rust_rows(kind, path)
    assert complete, why
    assert found_names == names
    same_rows(rows, expected)


def prove_closed(name):
    path = path_of(name)
    names, expected = own_rows(path)

    def check_arrow(read):
        same_rows(tables.rows_of_arrow(read(path), names), expected)

    def check_polars(read, rows):
        same_rows(tables.rows_of_polars(read(path), names), rows)

    for reader, read in ARROW_READERS.items():
        prove(f"{name}: {reader}", check_arrow, read)
    for reader, read in POLARS_READERS.items():
        one_date = [row for row in expected if row.date == ONE_DATE]
        prove(f"{name}: {reader}", check_polars, read,
              one_date if "one date" in reader else expected)
    if ARROW_RS:
        for kind in ("file", "stream"):
            prove(f"{name}: arrow-rs, as a {kind}", by_rust, kind, path, expected, names)


# ------------------------------------------------------------------ files left by a killed writer

def whole_batches(path):
    """What a stream reader gets, up to a torn message."""
    batches = []
    with pa.memory_map(path) as source:
        source.seek(STREAM_START)
        try:
            for batch in ipc.open_stream(source):
                batch.validate(full=True)
                batches.append(batch)
        except (pa.ArrowInvalid, OSError):
            pass
        return batches


def check_growing(path, whole=True):
    """Every batch of a file that ends anywhere. A torn one is no batch, and no row of ours."""
    names, expected = own_rows(path)
    batches = whole_batches(path)
    assert batches or not expected
    if batches:
        same_rows(tables.rows_of_arrow(pa.Table.from_batches(batches), names), expected)
    if ARROW_RS and batches:
        found_names, rows, complete, why = rust_rows("stream", path)
        assert complete or not whole, why
        assert found_names == names
        same_rows(rows, expected)
    return len(expected)


def killed_file():
    assert check_growing(path_of("killed")) > 1000


def torn_files():
    """The killed file cut anywhere, most often near the borders of its messages."""
    with open(path_of("killed"), "rb") as file:
        content = file.read()
    borders = []
    with pa.memory_map(path_of("killed")) as source:
        source.seek(STREAM_START)
        try:
            for message in ipc.MessageReader.open_stream(source):
                borders.append(source.tell())
        except (pa.ArrowInvalid, OSError):
            pass
    assert len(borders) > 3, "the file has too few messages"
    cuts = [border + step for border in borders[1::2] for step in (-1, 0, 1)]
    cuts += [len(content) * i // 7 for i in range(2, 7)]
    counts = set()
    for cut in cuts:
        path = path_of("torn")
        with open(path, "wb") as file:
            file.write(content[:cut])
        counts.add(check_growing(path, whole=False))
    assert len(counts) > 2, counts


def retried():
    """Superseded failures stay in the file: readers take a key's best row, and then the latest."""
    path = copy_of("repaired", "retried")
    make_backup("retry", FORMAT, path)
    names, expected = own_rows(path)
    rows = tables.rows_of_arrow(by_pyarrow(path), names)
    assert len(rows) > len(expected), "nothing was superseded"
    same_rows(latest(rows), expected)


def resumed_under_a_reader():
    """A closed file is not cut when a run resumes it: what was mapped before stays as it was."""
    path = copy_of("whole", "mapped")
    names, expected = own_rows(path)
    with pa.memory_map(path) as source:
        reader = ipc.open_file(source)
        make_backup("resume", FORMAT, path)
        same_rows(tables.rows_of_arrow(reader.read_all(), names), expected)


def schema():
    with pa.memory_map(path_of("whole")) as source:
        found = ipc.open_file(source).schema
    assert [f"{field.name}: {field.type}" for field in found] == [
        "date: int64", "code: string", "timestamp: timestamp[us, tz=UTC]", "status: uint8",
        "special: double", "price: double", "rank: double", "价格: double"], found


make_backup("whole", FORMAT, path_of("whole"))
make_backup("killed", FORMAT, path_of("killed"), killed=True)
make_backup("repair", copy_of("killed", "repaired"))
make_backup("resume", FORMAT, copy_of("killed", "resumed"))
make_backup("resume", FORMAT, copy_of("repaired", "repaired_and_resumed"))
check_sample(own_rows(path_of("resumed"))[1])

if not ARROW_RS:
    print("skip arrow-rs: there is no cargo")
prove("names and types of the columns", schema)
for file_name in ("whole", "repaired", "resumed", "repaired_and_resumed"):
    prove_closed(file_name)
prove("killed: every whole batch by open_stream from byte 8", killed_file)
prove("torn anywhere: every whole batch by open_stream from byte 8", torn_files)
prove("resumed while a reader has it mapped", resumed_under_a_reader)
prove("retried: superseded failures can be told", retried)
end()
