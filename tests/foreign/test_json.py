"""Backups of format json in the hands of pandas, DuckDB, jq and Python's own reader: each gives the
rows that our own cursor gives, codes as text, numbers bit for bit. Also of a file whose writer was
killed, cut to whole lines, and of one that was resumed over a damaged line."""
import json
import math
import os
import shutil
import subprocess
import tempfile

import duckdb
import pandas

from library import (STATUS_NAMES, Row, any_nan, check_sample, end, key_of, latest, make_backup, own_rows,
                     prove, same_rows, value, word)

FOLDER = tempfile.TemporaryDirectory()
FORMAT = "json"
FIXED = ["date", "code", "timestamp", "status"]


def path_of(name):
    return os.path.join(FOLDER.name, name + ".jsonl")


def copy_of(name, new_name):
    shutil.copy(path_of(name), path_of(new_name))
    return path_of(new_name)


# ------------------------------------------------------------------ rows of readers

def factor_of(found, status):
    """A factor's word: null is NaN in a row that is ok, infinities are texts."""
    if status != 1:
        assert found is None or isinstance(found, float) and math.isnan(found), found
        return None
    return any_nan(word(math.nan if found is None else float(found)))


def row_of(fields):
    """From date, code, timestamp, status by name, and factors."""
    date, code, timestamp, status, *factors = fields
    assert isinstance(code, str), repr(code)
    number = STATUS_NAMES.index(status)
    return Row(int(date), code, int(timestamp), number, None, None,
               tuple(factor_of(factor, number) for factor in factors))


def by_python(path, names):
    with open(path, encoding="utf-8") as file:
        objects = [json.loads(line) for line in file if line.strip()]
    return [row_of([found.get(name) for name in FIXED + names]) for found in objects]


def by_jq(path, names):
    fields = ", ".join(f".[{json.dumps(name)}]" for name in FIXED + names)
    done = subprocess.run(["jq", "-c", f"[{fields}]", path], capture_output=True, check=True)
    # jq 1.6 writes -0.0 as -0, which is no integer; its line ends are \n alone
    return [row_of(json.loads(line, parse_int=float)) for line in done.stdout.decode().split("\n")[:-1]]


def by_duckdb(path, names):
    fields = ", ".join(f'"{name}"' for name in FIXED + names)
    with duckdb.connect() as connection:
        answer = connection.execute(f"select {fields} from read_json(?)", [path])
        return [row_of([plain(field) for field in found]) for found in answer.fetchall()]


def plain(field):
    """A column of numbers and of infinities as texts comes as JSON: "Infinity" in its quotes."""
    if isinstance(field, str) and field.startswith('"'):
        return json.loads(field)
    return field


def by_pandas(path, names, precise=False):
    frame = pandas.read_json(path, lines=True, dtype={"code": str}, precise_float=precise)
    if pandas.api.types.is_datetime64_any_dtype(frame["timestamp"]):
        frame["timestamp"] = frame["timestamp"].astype("datetime64[us]").astype("int64")
    return [row_of(fields) for fields in frame[FIXED + names].itertuples(index=False, name=None)]


READERS = {
    "Python json": by_python,
    "jq": by_jq,
    "DuckDB read_json": by_duckdb,
}


def nearly(bits, other):
    """What pandas makes of a number: fifteen digits of it, and of the largest one infinity."""
    if bits is None or other is None or bits == other:
        return bits == other
    found, ours = value(bits), value(other)
    return math.isclose(found, ours, rel_tol=1e-9, abs_tol=1e-300) or \
        math.isinf(found) and abs(ours) > 1e308 and found * ours > 0


def check_pandas(path, names, expected):
    """The file as it is. Numbers are rounded by pandas; all else is exact."""
    rows = by_pandas(path, names)
    assert len(rows) == len(expected)
    for row, other in zip(sorted(rows, key=key_of), expected):
        assert all(map(nearly, row.factors, other.factors)), (row, other)
    same_rows([row._replace(factors=()) for row in rows],
              [row._replace(factors=()) for row in expected])


def is_subnormal(number):
    return isinstance(number, float) and 0 < abs(number) < 2.2250738585072014e-308


def check_pandas_precisely(path, names, expected):
    """With precise_float numbers come bit for bit, and pandas refuses subnormal ones: without the
    lines that have one."""
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file
                 if line.strip() and not any(map(is_subnormal, json.loads(line).values()))]
    with open(path_of("normal"), "w", encoding="utf-8") as file:
        file.writelines(lines)
    normal = [row for row in expected
              if not any(bits is not None and is_subnormal(value(bits)) for bits in row.factors)]
    assert len(normal) > len(expected) / 2
    same_rows(by_pandas(path_of("normal"), names, precise=True), normal)


def expected_rows(path):
    names, rows = own_rows(path)
    return names, [row._replace(factors=tuple(any_nan(bits) for bits in row.factors))
                   for row in rows]


def prove_file(name):
    path = path_of(name)
    names, expected = expected_rows(path)
    for reader, read in READERS.items():
        prove(f"{name}: {reader}", lambda read=read: same_rows(read(path, names), expected))
    prove(f'{name}: pandas read_json(dtype={{"code": str}})', check_pandas, path, names, expected)
    prove(f"{name}: pandas with precise_float", check_pandas_precisely, path, names, expected)


# ------------------------------------------------------------------ files that were hurt

def torn_anywhere():
    """Cut to whole lines a torn file holds what our cursor gives from it as it is."""
    with open(path_of("killed"), "rb") as file:
        content = file.read()
    counts = set()
    for cut in [len(content) * i // 9 + i for i in range(1, 9)] + [len(content) - 1, len(content)]:
        with open(path_of("torn"), "wb") as file:
            file.write(content[:cut])
        names, expected = expected_rows(path_of("torn"))
        with open(path_of("cut"), "wb") as file:
            file.write(content[:content.rfind(b"\n", 0, cut) + 1])
        for read in (by_python, by_jq, by_duckdb):
            same_rows(read(path_of("cut"), names), expected)
        counts.add(len(expected))
    assert len(counts) > 5, counts


def damage(path):
    """One digit of a number in a line in the middle becomes another."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    number = next(i for i in range(len(lines) // 2, len(lines)) if b'"status":"ok"' in lines[i])
    line = bytearray(lines[number])
    at = line.index(b'"timestamp":') + len(b'"timestamp":') + 12
    line[at] ^= 1
    lines[number] = bytes(line)
    with open(path, "wb") as file:
        file.write(b"\n".join(lines))
    return json.loads(line)


def damaged_line():
    path = copy_of("whole", "damaged")
    before = expected_rows(path)[1]
    victim = damage(path)
    make_backup("resume", FORMAT, path)
    names, expected = expected_rows(path)
    keys = {(row.date, row.code): row for row in expected}
    assert {(row.date, row.code) for row in before} < set(keys)
    assert keys[victim["date"], victim["code"]].timestamp != victim["timestamp"]
    for reader, read in READERS.items():
        try:
            same_rows(read(path, names), expected)
        except Exception as error:
            raise AssertionError(f"{reader}: {error}") from error
    check_pandas(path, names, expected)


def retried():
    path = copy_of("whole", "retried")
    make_backup("retry", FORMAT, path)
    names, expected = expected_rows(path)
    for read in READERS.values():
        rows = read(path, names)
        assert len(rows) > len(expected), "nothing was superseded"
        same_rows(latest(rows), expected)


def lines_as_designed():
    """One object a line, with the tag in it, and nothing that is no row."""
    with open(path_of("whole"), "rb") as file:
        content = file.read()
    assert content.endswith(b"\n")
    for line in content.split(b"\n")[:-1]:
        found = json.loads(line)
        assert list(found)[:2] == ["date", "code"], line
        assert 'version 1, "版本"' in found.values(), line
        if found["status"] == "failed":
            assert any(field in found for field in ("message", "failure_code")), line


make_backup("whole", FORMAT, path_of("whole"))
make_backup("killed", FORMAT, path_of("killed"), killed=True)
make_backup("repair", copy_of("killed", "repaired"))
make_backup("resume", FORMAT, copy_of("killed", "resumed"))
check_sample(own_rows(path_of("resumed"))[1])

prove("one object a line", lines_as_designed)
for file_name in ("whole", "repaired", "resumed"):
    prove_file(file_name)
prove("torn anywhere, cut to whole lines: Python json, jq, DuckDB", torn_anywhere)
prove("resumed over a damaged line: all readers", damaged_line)
prove("retried: superseded failures can be told", retried)
end()
