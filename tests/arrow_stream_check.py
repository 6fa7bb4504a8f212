"""A cursor's Arrow stream as pyarrow sees it: backups of every format are written, asked and
exported through the shared library alone (ctypes), imported by pyarrow, and compared with the rows
that the cursor itself gives, after all of the library's handles are gone.

    python3 arrow_stream_check.py LIBFACPOOL_SO [FORMAT ...]

Needs the package pyarrow; exits with 77 (skipped) where it is missing. A format that the library
refuses as unsupported is skipped, and said so."""
import ctypes
import math
import os
import sys
import tempfile

try:
    import pyarrow as pa
except ImportError as missing:
    print(f"skipped: {missing}: pip install pyarrow")
    sys.exit(77)

FORMATS = {"binary": ".fpb", "json": ".jsonl", "memory_map": ".arrow"}
DATES, CODES, FACTORS = 60, 300, ["ma5", "rank", "价格"]
OK, SKIPPED, FAILED, TIMEOUT = 1, 2, 3, 4
ALL_STATUSES = 0x3E
DATE, CODE, TIMESTAMP, STATUS, NONE = 1, 2, 4, 8, 16
ORDER_KEY = 2
CREATE = 1
E_INVALID, E_UNSUPPORTED = -1, -8

c_long_p = ctypes.POINTER(ctypes.c_int64)
c_double_p = ctypes.POINTER(ctypes.c_double)
c_text_p = ctypes.POINTER(ctypes.c_char_p)


# ---------------------------------------------------------------- the library's structs


class Sized(ctypes.Structure):
    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(type(self)), **fields)


class Error(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("code", ctypes.c_int32), ("os_errno", ctypes.c_int32),
                ("has_task", ctypes.c_int32), ("reserved", ctypes.c_int32),
                ("date", ctypes.c_int64), ("task_code", ctypes.c_char * 256),
                ("message", ctypes.c_char * 1024)]


class BackupOptions(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("path", ctypes.c_char_p), ("format", ctypes.c_char_p),
                ("mode", ctypes.c_int32), ("durability", ctypes.c_int32), ("tag", ctypes.c_char_p),
                ("batch_rows", ctypes.c_uint32), ("flush_ms", ctypes.c_uint32),
                ("no_async", ctypes.c_int32), ("no_retry_failed", ctypes.c_int32),
                ("queue_bytes", ctypes.c_uint64), ("compression_level", ctypes.c_int32),
                ("reserved", ctypes.c_int32), ("sink", ctypes.c_void_p),
                ("sink_user", ctypes.c_void_p)]


class Rows(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("n", ctypes.c_size_t), ("dates", c_long_p),
                ("codes", c_text_p), ("timestamps", c_long_p),
                ("statuses", ctypes.POINTER(ctypes.c_uint8)), ("factors", c_double_p),
                ("factor_columns", ctypes.c_void_p),
                ("failure_codes", ctypes.POINTER(ctypes.c_int32)), ("messages", c_text_p)]


class Filter(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("date_min", c_long_p), ("date_max", c_long_p),
                ("dates", c_long_p), ("n_dates", ctypes.c_size_t), ("codes", c_text_p),
                ("n_codes", ctypes.c_size_t), ("factors", c_text_p),
                ("n_factors", ctypes.c_size_t), ("statuses", ctypes.c_uint32),
                ("columns", ctypes.c_uint32), ("order", ctypes.c_int32),
                ("require_zero_copy", ctypes.c_int32), ("copy", ctypes.c_int32),
                ("reserved", ctypes.c_int32), ("skip_bytes", ctypes.c_uint64)]


class Row(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("date", ctypes.c_int64), ("code", ctypes.c_char_p),
                ("timestamp", ctypes.c_int64), ("status", ctypes.c_int32),
                ("failure_code", ctypes.c_int32), ("message", ctypes.c_char_p),
                ("n_factors", ctypes.c_size_t), ("factors", c_double_p)]


class ArrowArrayStream(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in
                ("get_schema", "get_next", "get_last_error", "release", "private_data")]


class Refused(Exception):
    def __init__(self, error):
        super().__init__(error.message.decode())
        self.code = error.code


class Library:
    """Calls by name, whose last argument is the error; a negative result raises it."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)

    def __getattr__(self, name):
        function = getattr(self.library, "facpool_" + name)

        def call(*arguments):
            error = Error()
            result = function(*arguments, ctypes.byref(error))
            if result < 0:
                raise Refused(error)
            return result

        return call

    def free(self, what, handle):
        function = getattr(self.library, f"facpool_{what}_free")
        function.restype = None
        function(handle)


# ---------------------------------------------------------------- backups


def list_of(kind, values):
    return (kind * len(values))(*values)


def texts(values):
    return list_of(ctypes.c_char_p, [v if v is None else v.encode() for v in values])


def status_of(i):
    return {7: SKIPPED, 11: FAILED, 13: TIMEOUT}.get(i % 97, OK)


def factor_of(i, k):
    return [math.nan if i % 13 == 0 else i / 8, float(i % CODES), round(i * 0.37, 2)][k]


def write_backup(library, path, name):
    n = DATES * CODES
    backup = BackupOptions(path=path.encode(), format=name.encode(), mode=CREATE)
    names = texts(FACTORS)
    writer = ctypes.c_void_p()
    library.writer_open(ctypes.byref(writer), ctypes.byref(backup), names,
                        ctypes.c_size_t(len(FACTORS)))
    rows = Rows(
        n=n,
        dates=list_of(ctypes.c_int64, [20240000 + i // CODES for i in range(n)]),
        codes=texts([f"{i % CODES:06d}" for i in range(n)]),
        timestamps=list_of(ctypes.c_int64, [1700000000000000 + i for i in range(n)]),
        statuses=list_of(ctypes.c_uint8, [status_of(i) for i in range(n)]),
        factors=list_of(ctypes.c_double, [factor_of(i, k) for i in range(n)
                                          for k in range(len(FACTORS))]),
        failure_codes=list_of(ctypes.c_int32, [i % 5 for i in range(n)]),
        messages=texts([None if i % 2 else f"row {i}: 无数据" for i in range(n)]))
    library.writer_append(writer, ctypes.byref(rows))
    library.writer_close(writer)


# ---------------------------------------------------------------- questions


def ask(library, path, make_filter):
    """A cursor whose reader is gone already."""
    reader, cursor = ctypes.c_void_p(), ctypes.c_void_p()
    library.reader_open(ctypes.byref(reader), texts([path]), ctypes.c_size_t(1))
    try:
        library.query(reader, ctypes.byref(make_filter()), ctypes.byref(cursor))
    finally:
        library.free("reader", reader)
    return cursor


def rows_of(library, cursor, columns, factors, with_failures):
    """What facpool_cursor_next gives, as the table should have it."""
    rows, row = [], Row()
    while library.cursor_next(cursor, ctypes.byref(row)):
        ok = row.status == OK
        values = []
        values += [row.date] if columns & DATE else []
        values += [row.code.decode()] if columns & CODE else []
        values += [row.timestamp] if columns & TIMESTAMP else []
        values += [row.status] if columns & STATUS else []
        if with_failures:
            values += [None, None] if ok else [row.failure_code, row.message.decode()]
        values += [row.factors[k] if ok else None for k in range(len(factors))]
        rows.append(tuple(values))
    library.free("cursor", cursor)
    return rows


def table_of(library, cursor):
    stream = ArrowArrayStream()
    library.cursor_to_arrow(cursor, ctypes.byref(stream))
    reader = pa.RecordBatchReader._import_from_c(ctypes.addressof(stream))
    return pa.Table.from_batches(list(reader), schema=reader.schema)


def expected_schema(columns, factors, with_failures):
    fields = []
    fields += [pa.field("date", pa.int64(), nullable=False)] if columns & DATE else []
    fields += [pa.field("code", pa.utf8(), nullable=False)] if columns & CODE else []
    if columns & TIMESTAMP:
        fields += [pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False)]
    fields += [pa.field("status", pa.uint8(), nullable=False)] if columns & STATUS else []
    if with_failures:
        fields += [pa.field("failure_code", pa.int32()), pa.field("message", pa.utf8())]
    return pa.schema(fields + [pa.field(name, pa.float64()) for name in factors])


def plain_rows(table):
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        columns.append(column.to_pylist())
    return list(zip(*columns)) if columns else []


def same(a, b):
    return a == b or (isinstance(a, float) and isinstance(b, float) and
                      math.isnan(a) and math.isnan(b))


def compare(name, expected, got):
    assert len(expected) == len(got), f"{name}: {len(got)} rows, not {len(expected)}"
    for i, (left, right) in enumerate(zip(expected, got)):
        assert len(left) == len(right) and all(map(same, left, right)), \
            f"{name}: row {i} is {right}, not {left}"


def number(value):
    return ctypes.pointer(ctypes.c_int64(value))


QUESTIONS = {
    "all ok rows": {},
    "rows of every status": {"statuses": ALL_STATUSES},
    "failures alone": {"statuses": 1 << FAILED | 1 << TIMEOUT},
    "in key order": {"statuses": ALL_STATUSES, "order": ORDER_KEY},
    "a range of dates": {"date_min": 20240007, "date_max": 20240031},
    "one date": {"date_min": 20240007, "date_max": 20240007},
    "two codes": {"codes": ["000001", "000299"], "statuses": ALL_STATUSES},
    "some columns": {"columns": DATE | STATUS, "factors": ["价格", "ma5"]},
    "one factor": {"columns": NONE, "factors": ["rank"]},
    "no factor": {"columns": CODE, "factors": []},
    "a copy": {"copy": 1},
    "nothing": {"date_min": 7, "date_max": 8},
}


def filter_maker(question):
    def make():
        fields = dict(question)
        for bound in ("date_min", "date_max"):
            if bound in fields:
                fields[bound] = number(fields[bound])
        for names in ("codes", "factors"):
            if names in fields:
                fields["n_" + names] = len(fields[names])
                fields[names] = texts(fields[names] or [""])
        return Filter(**fields)

    return make


def check_question(library, path, name, question):
    make = filter_maker(question)
    columns = question.get("columns", DATE | CODE | TIMESTAMP | STATUS)
    columns = 0 if columns == NONE else columns
    factors = question.get("factors", FACTORS)
    with_failures = question.get("statuses", 1 << OK) != 1 << OK and bool(columns & STATUS)
    expected = rows_of(library, ask(library, path, make), columns, factors, with_failures)
    table = table_of(library, ask(library, path, make))
    table.validate(full=True)
    schema = expected_schema(columns, factors, with_failures)
    assert table.schema.equals(schema), f"{name}: {table.schema}\nis not\n{schema}"
    compare(name, expected, plain_rows(table))
    return len(expected)


def check_children_outlive_their_array(library, path):
    """One column of one batch is kept; batches, reader and stream are gone."""
    stream = ArrowArrayStream()
    library.cursor_to_arrow(ask(library, path, Filter), ctypes.byref(stream))
    batches = pa.RecordBatchReader._import_from_c(ctypes.addressof(stream))
    kept = next(iter(batches)).column(1)
    del batches
    codes = [f"{i % CODES:06d}" for i in range(DATES * CODES) if status_of(i) == OK]
    assert len(kept) > 1000 and kept.to_pylist() == codes[:len(kept)], kept


def check_zero_copy(library, path):
    """Nothing is allocated by pyarrow, and every value lies where require_zero_copy says."""
    before = pa.total_allocated_bytes()
    table = table_of(library, ask(library, path, lambda: Filter(require_zero_copy=1)))
    grown = pa.total_allocated_bytes() - before
    assert grown < 65536, f"pyarrow allocated {grown} bytes"
    assert table.num_rows > 0
    os.unlink(path)
    table.validate(full=True)


def check_format(library, folder, name, suffix):
    path = os.path.join(folder, "rows" + suffix)
    try:
        write_backup(library, path, name)
    except Refused as refusal:
        if refusal.code not in (E_UNSUPPORTED, E_INVALID):
            raise
        print(f"skip {name}: {refusal}")
        return
    for question, fields in QUESTIONS.items():
        n = check_question(library, path, f"{name}, {question}", fields)
        print(f"ok   {name}: {question} ({n} rows)")
    check_children_outlive_their_array(library, path)
    print(f"ok   {name}: a column outlives its batch")
    if name == "memory_map":
        check_zero_copy(library, path)
        print(f"ok   {name}: without a copy")


def main():
    library = Library(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="facpool-arrow-") as folder:
        for name in sys.argv[2:] or FORMATS:
            check_format(library, folder, name, FORMATS[name])


if __name__ == "__main__":
    main()
