"""One file, two languages: what a C program began Python finishes, and the other way round; the
command-line tool reads both. Files are the same, whoever wrote them."""
import json
import math
import os
import signal
import struct
import subprocess
import sys

import facpool
from helpers import read_lines, wait_until

NAMES = ["special", "price", "rank", "价格"]
TAG = 'version 1, "版本"'
N_DATES, N_CODES, N_ALL_CODES = 100, 200, 250
MASK = 2**64 - 1

ODD_CODES = ["0", "00", "-0", "1e5", "0x10", "NaN", "nan", "null", "true", "None", "Infinity", "+7", " 1",
             "1 ", "平安银行", "a,b", 'a"b', "a\\b", "a\tb", "a'b", "2024-01-02", "20240102", "🙂",
             "600519.SH", "a/b\n", "\x7f", '{"a":1}', "[1]", "a\x01z", "é", "// not a comment", "1.0"]
SPECIALS = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, -5e-324, 2.2250738585072009e-308,
            2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 1 / 3,
            9007199254740993.0, 9007199254740991.0, 1e22, 1e23, 123456789012345680.0, 5e-5, 1e-7,
            8.41e21, 2.2204460492503131e-16, 4.35, 100.0]


# ------------------------------------------------------------------ the job of tests/foreign/make_backup.c

def mix(x):
    x ^= x >> 30
    x = x * 0xbf58476d1ce4e5b9 & MASK
    x ^= x >> 27
    x = x * 0x94d049bb133111eb & MASK
    return x ^ x >> 31


def hash_key(date, code):
    value = mix(date & MASK)
    for byte in code.encode():
        value = mix(value ^ byte)
    return value


def compute(date, code):
    """The same numbers, bit for bit, as its function of that name gives."""
    value = hash_key(date, code)
    kind = value >> 40 & 63
    if kind == 0:
        return None
    if kind <= 2:
        raise ValueError(f"no bars for {code}")
    bits = mix(value) & ~(1 << 62)
    return [SPECIALS[value % len(SPECIALS)], (value >> 20 & 0xfffff) / 100, float(value >> 8 & 0xfff),
            struct.unpack("<d", struct.pack("<Q", bits))[0]]


def grid_of(n_codes):
    dates = [20240101 + d // 28 * 100 + d % 28 for d in range(N_DATES)]
    codes = []
    for c in range(n_codes):
        odd = c * 3 // 20
        codes.append(ODD_CODES[odd] if c * 3 % 20 < 3 and odd < len(ODD_CODES) else f"{c * 31:06d}")
    return dates, codes


def bits_of(values):
    """NaN payloads and signs of zeros count."""
    return tuple(struct.pack("<d", value) for value in values)


def rows_of_c(make_backup, path):
    """What the C library's cursor prints: (date, code) -> (status, message, bits of the factors)."""
    done = subprocess.run([make_backup, "rows", path], capture_output=True, check=True)
    header, *lines = done.stdout.decode("utf-8").splitlines()
    assert header.split("\t") == NAMES
    rows = {}
    for line in lines:
        date, code, _, status, _, message, *factors = line.split("\t")
        key = int(date), bytes.fromhex(code).decode()
        assert key not in rows, key
        rows[key] = (int(status), bytes.fromhex(message).decode(),
                     None if factors[0] == "-" else tuple(struct.pack("<Q", int(word, 16))
                                                          for word in factors))
    return rows


def expected_rows(n_codes):
    """By the model above: (date, code) -> (status, bits)."""
    dates, codes = grid_of(n_codes)
    rows = {}
    for date in dates:
        for code in codes:
            try:
                values = compute(date, code)
            except ValueError:
                rows[date, code] = (3, None)
            else:
                rows[date, code] = (2, None) if values is None else (1, bits_of(values))
    return rows


def same_rows(rows, expected, storage_format):
    assert rows.keys() == expected.keys()
    nan = bits_of([math.nan])[0]

    def plain(bits):
        """JSON has one NaN."""
        if bits is None or storage_format != "json":
            return bits
        return tuple(nan if math.isnan(struct.unpack("<d", b)[0]) else b for b in bits)

    for key, (status, bits) in expected.items():
        assert (rows[key][0], plain(rows[key][-1])) == (status, plain(bits)), key


# ------------------------------------------------------------------ proofs

def test_python_resumes_what_c_began(make_backup, folder, storage_format):
    """A C program is killed half-way; Python computes what is missing with the same function."""
    done = subprocess.run([make_backup, "killed", storage_format, "b"], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    before = {status: facpool.query("b", status=status) for status in ("ok", "skipped", "failed")}
    n_before = {status: len(rows) for status, rows in before.items()}
    assert 1000 < sum(n_before.values()) < N_DATES * N_CODES
    result = facpool.run(compute, facpool.grid(*grid_of(N_CODES)), factors=NAMES, backup="b",
                         mode="resume", tag=TAG, retry_failed=False, workers=2)
    assert result.report.resumed == sum(n_before.values())
    expected = expected_rows(N_CODES)
    same_rows(rows_of_c(make_backup, "b"), expected, storage_format)
    got = {(date, code): bits_of(values) for (date, code), values in zip(
        zip(result.dates.tolist(), result.codes), zip(*(result[name] for name in NAMES)))}
    ok = {key: row for key, row in expected.items() if row[0] == 1}
    same_rows({key: (1, got[key]) for key in ok}, ok, storage_format)
    messages = [f.message for f in result.failures]
    assert any(m.startswith('no "bars" for') for m in messages)  # of the C program
    assert any("ValueError: no bars for" in m for m in messages)  # of Python


PYTHON_HALF = """
import sys, time, facpool
sys.path.insert(0, {tests!r})
from test_across_languages import NAMES, TAG, N_CODES, compute, grid_of

def slower(date, code):
    time.sleep(0.0002)
    return compute(date, code)

facpool.run(slower, facpool.grid(*grid_of(N_CODES)), factors=NAMES, backup="b", tag=TAG,
            storage_format=sys.argv[1], workers=2, flush=0.02, batch_rows=500,
            progress=lambda now: open("done", "a").write(f"{{now.done}}\\n"))
"""


def test_c_resumes_what_python_began(make_backup, folder, storage_format):
    """Python is killed on its way; the C program goes on where it was, with more codes."""
    (folder / "half.py").write_text(PYTHON_HALF.format(tests=os.path.dirname(__file__)))
    child = subprocess.Popen([sys.executable, "half.py", storage_format])
    assert wait_until(lambda: os.path.exists("b") and len(read_lines("done")) > 2
                      and int(read_lines("done")[-1]) > 4000, 40)
    child.kill()
    child.wait()
    n_before = sum(facpool.info("b")["rows"].values())
    assert 0 < n_before < N_DATES * N_CODES
    subprocess.run([make_backup, "resume", storage_format, "b"], check=True)
    rows = rows_of_c(make_backup, "b")
    added = {key for key in rows if key[0] in (-20240101, 0, 20991231)}
    assert len(added) == 5  # rows of each status that the program appends by hand
    python_messages = sum("ValueError" in row[1] for row in rows.values())
    assert python_messages  # kept word by word
    same_rows({key: row for key, row in rows.items() if key not in added},
              expected_rows(N_ALL_CODES), storage_format)
    assert facpool.verify("b")["sound"]
    statuses = {status: len(facpool.query("b", status=status)) for status in
                ("ok", "skipped", "failed", "timeout", "crashed")}
    assert sum(statuses.values()) == len(rows) and statuses["timeout"] == statuses["crashed"] == 1


def test_python_reads_what_c_wrote(make_backup, folder, storage_format):
    subprocess.run([make_backup, "whole", storage_format, "b"], check=True)
    expected = {key: row for key, row in expected_rows(N_CODES).items() if row[0] == 1}
    query = facpool.query("b")
    rows = {(date, code): (1, bits_of(values)) for date, code, values in zip(
        query.dates.tolist(), query.codes, zip(*(query[name] for name in NAMES)))}
    same_rows(rows, expected, storage_format)
    lists = facpool.query_backup("b", storage_format=storage_format)
    same_rows({(row[0], row[1]): (1, bits_of(row[3:])) for row in lists}, expected, storage_format)
    assert facpool.info("b")["tag"] == TAG


def test_the_tool_reads_what_python_wrote(tool, folder, storage_format):
    def fails(date, code):
        if code == "平安":
            raise ValueError("第 一 行\nsecond line")
        return [1.5, float(len(code))]

    facpool.run(fails, [(d, c) for d in (20240102, 20240103) for c in ("000001", "平安", "a,b")],
                factors=["x", "y"], backup="b", storage_format=storage_format, tag="v1", workers=2)
    said = subprocess.run([tool, "info", "b"], capture_output=True, text=True, check=True).stdout
    assert storage_format in said and "v1" in said
    subprocess.run([tool, "verify", "b"], check=True, stdout=subprocess.DEVNULL)
    rows = subprocess.run([tool, "query", "b", "--status", "all", "--format", "jsonl"],
                          capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in rows.splitlines()]
    assert [(row["date"], row["code"], row["status"]) for row in rows] == [
        (date, code, "failed" if code == "平安" else "ok")
        for date in (20240102, 20240103) for code in ("000001", "a,b", "平安")]
    assert rows[0]["x"] == 1.5 and rows[0]["y"] == 6.0
    assert rows[2]["message"].startswith("Traceback") and "第 一 行\nsecond" in rows[2]["message"]


def test_files_of_all_ways_hold_the_same(folder, storage_format):
    """Serial, forked, spawned, on threads; the rows of the files are equal."""
    from helpers import WAYS
    dates, codes = grid_of(20)
    for name, way in WAYS.items():
        facpool.run(compute, facpool.grid(dates, codes), factors=NAMES, backup=name,
                    storage_format=storage_format, **way)
    first = facpool.query("serial", status="all")
    for name in ("fork", "spawn", "threads"):
        other = facpool.query(name, status="all")
        assert other.dates.tolist() == first.dates.tolist() and list(other.codes) == list(first.codes)
        for factor in NAMES:
            assert other[factor].tobytes() == first[factor].tobytes()
