"""Random jobs against a plain model in Python: tasks of any kind, statuses, formats, ways to run,
batches, groups, retries and resumes with other tasks; what facpool gives must be what the model says.
$FACPOOL_TEST_CASES says how many jobs; a job that fails prints its seed."""
import collections
import math
import os
import random
import zlib

import pytest

import facpool
from helpers import WAYS

CASES = int(os.environ.get("FACPOOL_TEST_CASES", "40"))


def outcome(salt, turn, width, date, code):
    """What a task does, from its key alone: ("ok", values) | ("skipped",) | ("failed", kind). Half of the
    failures are mended in the next turn."""
    draw = random.Random(zlib.crc32(f"{salt} {date} {code}".encode()))
    kind = draw.random()
    if kind < 0.1:
        return ("skipped",)
    if kind < 0.25:
        how = draw.choice(["raise", "long", "none", "text"])
        if draw.random() < 0.5 or turn == 0:
            return ("failed", how)
    values = [draw.choice([draw.gauss(0, 1), round(draw.uniform(0, 1000), 2), float(draw.randrange(5000)),
                           math.nan, math.inf, -0.0]) for _ in range(width)]
    return ("ok", values)


class Job:
    """The function that is run: its outcome, as a user's function would bring it about."""

    def __init__(self, salt, turn, names, kind):
        self.salt, self.turn, self.names, self.kind = salt, turn, names, kind

    def __call__(self, date, code):
        what = outcome(self.salt, self.turn, len(self.names), date, code)
        if what[0] == "skipped":
            return None
        if what[0] == "ok":
            if self.kind == "dict":
                return dict(zip(self.names, what[1]))
            return {"list": list, "tuple": tuple, "array": as_array}[self.kind](what[1])
        if what[1] == "raise":
            raise ValueError(f"failed at {date} {code}")
        if what[1] == "long":
            return [1.0] * (len(self.names) + 1)
        return [None if what[1] == "none" else "text"] * len(self.names)


def as_array(values):
    import numpy
    return numpy.array(values)


def random_tasks(draw):
    alphabet = ["0", "00", "000001", "600519", "a,b", "平安", "NaN", "1e5", " x", "-", "A" * 40]
    dates = draw.sample(range(-3, 20240131), draw.randrange(1, 12))
    codes = draw.sample(alphabet, draw.randrange(1, len(alphabet)))
    keys = [(date, code) for date in dates for code in codes]
    if draw.random() < 0.3:
        return facpool.grid(dates, codes), keys
    draw.shuffle(keys)
    keys = keys[:draw.randrange(1, len(keys) + 1)]
    if draw.random() < 0.5:
        return keys, keys
    return {"date": [date for date, _ in keys], "code": [code for _, code in keys]}, keys


def equal(a, b):
    """Bit for bit, but for NaN payloads."""
    return len(a) == len(b) and all(
        x == y and math.copysign(1, x) == math.copysign(1, y) or x != x and y != y
        for x, y in zip(a, b))


def check_result(result, keys, model, names):
    assert list(zip(result.dates.tolist(), result.codes)) == keys
    columns = [result[name].tolist() for name in names]
    failures = {(f.date, f.code): f for f in result.failures}
    for i, key in enumerate(keys):
        status, values = model[key]
        row = [column[i] for column in columns]
        assert equal(row, values if status == "ok" else [math.nan] * len(names)), key
        assert (key in failures) == (status == "failed"), key
        if status == "failed":
            assert failures[key].status == "failed" and failures[key].message, failures[key]
    counts = collections.Counter(model[key][0] for key in keys)
    assert len(failures) == counts["failed"]


def check_file(path, model, names):
    """By rows of each status, and by the drop-in face."""
    for status in ("ok", "skipped", "failed"):
        expected = sorted(key for key, row in model.items() if row[0] == status)
        query = facpool.query(path, status=status)
        got = list(zip(query.dates.tolist(), query.codes))
        assert sorted(got) == sorted(expected), status
    rows = facpool.query_backup(path, storage_format=facpool.info(path)["format"])
    assert len(rows) == sum(row[0] == "ok" for row in model.values())
    for date, code, _, *values in rows:
        assert equal(values, model[date, code][1])
    assert facpool.verify(path)["sound"]


def one_job(seed):
    draw = random.Random(seed)
    width = draw.choice([1, 2, 3, 17])
    names = [f"n{i}" for i in range(width)] if draw.random() < 0.5 else [f"f{i}" for i in range(width)]
    path = draw.choice([None, f"b{seed}"])
    storage_format = draw.choice(["json", "binary", "memory_map"]) if path else None
    model = {}
    for turn in range(draw.choice([1, 2, 3]) if path else 1):
        source, keys = random_tasks(draw)
        way = WAYS[draw.choices(["fork", "spawn", "serial", "threads"], [6, 1, 4, 4])[0]]
        kind = draw.choice(["list", "tuple", "array", "dict"])
        retry = draw.random() < 0.7
        before = dict(model)
        result = facpool.run(
            Job(seed, turn, names, kind), source, factors=names, backup=path, mode="resume",
            storage_format=storage_format, retry_failed=retry, batch_rows=draw.choice([1, 7, 1000]),
            group_by=draw.choice([None, None, "date", "code"]), **way)
        resumed = 0
        for key in keys:
            old = before.get(key)
            if old and (old[0] != "failed" or not retry):
                resumed += 1
                continue
            what = outcome(seed, turn, width, *key)
            model[key] = (what[0], what[1] if what[0] == "ok" else None)
        assert result.report.resumed == resumed and result.report.total == len(keys)
        check_result(result, keys, model, names)
        if path:
            check_file(path, model, names)


@pytest.mark.seconds(120)
@pytest.mark.parametrize("part", range(4))
def test_random_jobs_are_what_a_plain_model_says(folder, part):
    for number in range(CASES // 4):
        seed = part * 1_000_000 + number
        try:
            one_job(seed)
        except BaseException:
            print(f"the job of seed {seed} went wrong")
            raise
