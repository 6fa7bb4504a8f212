"""The few calls of libfacpool that the proofs by foreign readers need, over ctypes, and the rows of
backups as make_backup prints them."""
import collections
import ctypes
import math
import os
import struct
import subprocess
import sys

# ------------------------------------------------------------------ the library

LIBRARY = os.environ["FACPOOL_LIBRARY"]
MAKE_BACKUP = os.environ["FACPOOL_MAKE_BACKUP"]
STATUS_ALL = 0x3e
STATUS_NAMES = ["none", "ok", "skipped", "failed", "timeout", "crashed"]


class Error(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("code", ctypes.c_int32), ("os_errno", ctypes.c_int32),
                ("has_task", ctypes.c_int32), ("reserved", ctypes.c_int32),
                ("date", ctypes.c_int64), ("task_code", ctypes.c_char * 256),
                ("message", ctypes.c_char * 1024)]


class Filter(ctypes.Structure):
    """As far as the proofs ask: a shorter struct is an older caller's."""
    _fields_ = [("size", ctypes.c_size_t), ("date_min", ctypes.c_void_p),
                ("date_max", ctypes.c_void_p), ("dates", ctypes.c_void_p),
                ("n_dates", ctypes.c_size_t), ("codes", ctypes.c_void_p),
                ("n_codes", ctypes.c_size_t), ("factors", ctypes.c_void_p),
                ("n_factors", ctypes.c_size_t), ("statuses", ctypes.c_uint32),
                ("columns", ctypes.c_uint32), ("order", ctypes.c_int32),
                ("require_zero_copy", ctypes.c_int32)]


class Stream(ctypes.Structure):
    """struct ArrowArrayStream."""
    _fields_ = [("get_schema", ctypes.c_void_p), ("get_next", ctypes.c_void_p),
                ("get_last_error", ctypes.c_void_p), ("release", ctypes.c_void_p),
                ("private_data", ctypes.c_void_p)]


class FacpoolError(Exception):
    pass


_library = ctypes.CDLL(LIBRARY)
_library.facpool_tasks_count.restype = ctypes.c_size_t


def call(name, *arguments):
    """facpool_NAME(*arguments, &err): its result, or FacpoolError."""
    error = Error(size=ctypes.sizeof(Error))
    code = getattr(_library, "facpool_" + name)(*arguments, ctypes.byref(error))
    if code < 0:
        raise FacpoolError(error.message.decode())
    return code


def free(name, handle):
    getattr(_library, f"facpool_{name}_free")(handle)


# ------------------------------------------------------------------ Arrow streams

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
CAPSULE_NAME = b"arrow_array_stream"

RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Rows:
    """All rows of backups, as any Arrow reader takes them: each __arrow_c_stream__ is a new cursor's
    stream."""

    def __init__(self, *paths, statuses=STATUS_ALL, zero_copy=False):
        self.paths = [os.fsencode(path) for path in paths]
        self.statuses = statuses
        self.zero_copy = zero_copy
        self.streams = []

    def open_stream(self):
        reader, cursor, stream = ctypes.c_void_p(), ctypes.c_void_p(), Stream()
        paths = (ctypes.c_char_p * len(self.paths))(*self.paths)
        call("reader_open", ctypes.byref(reader), paths, ctypes.c_size_t(len(paths)))
        try:
            question = Filter(size=ctypes.sizeof(Filter), statuses=self.statuses,
                              require_zero_copy=int(self.zero_copy))
            call("query", reader, ctypes.byref(question), ctypes.byref(cursor))
        finally:
            free("reader", reader)
        try:
            call("cursor_to_arrow", cursor, ctypes.byref(stream))
        except FacpoolError:
            free("cursor", cursor)
            raise
        self.streams.append(stream)
        return stream

    def __arrow_c_stream__(self, requested_schema=None):
        return _new_capsule(ctypes.addressof(self.open_stream()), CAPSULE_NAME, None)


def tasks_from_stream(address):
    """The tasks as (date, code) pairs; the stream must be released by then."""
    tasks = ctypes.c_void_p()
    stream = ctypes.cast(address, ctypes.POINTER(Stream)).contents
    try:
        call("tasks_from_arrow", ctypes.byref(tasks), ctypes.c_void_p(address))
    finally:
        assert not stream.release, "the stream was not released"
    try:
        date, code = ctypes.c_int64(), ctypes.c_char_p()
        pairs = []
        for i in range(_library.facpool_tasks_count(tasks)):
            call("tasks_get", tasks, ctypes.c_size_t(i), ctypes.byref(date), ctypes.byref(code))
            pairs.append((date.value, code.value.decode()))
        return pairs
    finally:
        free("tasks", tasks)


def tasks_from(table):
    """The tasks of anything that has __arrow_c_stream__."""
    capsule = table.__arrow_c_stream__()
    return tasks_from_stream(_capsule_pointer(capsule, CAPSULE_NAME))


# ------------------------------------------------------------------ rows

Row = collections.namedtuple("Row", "date code timestamp status failure_code message factors")


def make_backup(*arguments, killed=False):
    done = subprocess.run([MAKE_BACKUP, *map(os.fspath, arguments)], capture_output=True)
    if done.returncode != (-9 if killed else 0):
        raise AssertionError(f"make_backup {arguments} gave {done.returncode}: "
                             f"{done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def own_rows(path):
    """Names of the factors, and all rows that our own cursor gives, sorted by key. Factors are 64-bit
    words, None where null."""
    lines = make_backup("rows", path).split("\n")
    rows = []
    for line in lines[1:-1]:
        date, code, timestamp, status, failure_code, message, *words = line.split("\t")
        rows.append(Row(int(date), bytes.fromhex(code).decode(), int(timestamp), int(status),
                        int(failure_code), bytes.fromhex(message).decode(),
                        tuple(None if word == "-" else int(word, 16) for word in words)))
    return lines[0].split("\t"), sorted(rows, key=key_of)


def key_of(row):
    return row.date, row.code.encode()


def word(value):
    """The bits of a double; None stays."""
    return None if value is None else struct.unpack("<Q", struct.pack("<d", value))[0]


def value(bits):
    return None if bits is None else struct.unpack("<d", struct.pack("<Q", bits))[0]


def any_nan(bits):
    """For formats that keep no payload of NaN."""
    return word(math.nan) if bits is not None and math.isnan(value(bits)) else bits


def same_rows(found, expected):
    """Date, code, timestamp, status and factors of all rows are equal, bit for bit."""
    assert len(found) == len(expected), f"{len(found)} rows, not {len(expected)}"
    for row, other in zip(sorted(found, key=key_of), expected):
        for field in ("date", "code", "timestamp", "status", "factors"):
            ours = getattr(other, field)
            assert getattr(row, field) == ours, f"{field} of {row}\nis not that of {other}"


def latest(rows):
    """One row a key: ok beats not ok, then the later timestamp."""
    best = {}
    for row in rows:
        key = row.date, row.code
        rank = row.status == 1, row.timestamp
        if key not in best or rank >= best[key][0]:
            best[key] = rank, row
    return [row for _, row in best.values()]


def check_sample(rows):
    """What these proofs are about is there."""
    assert {row.status for row in rows} == {1, 2, 3, 4, 5}
    codes = {row.code for row in rows}
    assert {"000000", "000031", "平安银行", 'a"b', "0", "00"} <= codes, sorted(codes)
    words = {bits for row in rows if row.factors[0] is not None for bits in row.factors[:1]}
    assert {word(-0.0), word(math.inf), word(-math.inf), word(5e-324), word(math.nan)} <= words
    assert any(row.message for row in rows)


# ------------------------------------------------------------------ proofs

_failed = []


def prove(name, proof, *arguments):
    """Runs one proof and says in a line how it went."""
    try:
        proof(*arguments)
        print(f"ok   {name}", flush=True)
    except Exception as error:  # pylint: disable=broad-except
        _failed.append(name)
        print(f"FAIL {name}: {type(error).__name__}: {str(error)[:2000]}", flush=True)


def end():
    print(f"{len(_failed)} failed" if _failed else "all proved")
    sys.exit(1 if _failed else 0)
