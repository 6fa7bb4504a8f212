#!/usr/bin/env python3
"""Stores beside ours, on the factors of the main job on market data and on synthetic rows: P4
(bytes a row against Parquet + zstd) and one table of stores a row set. Started by run.sh.

    peers.py --bench PROGRAM --minute-bars PROGRAM --dir FOLDER [--data FOLDER] [--only IDS]
             [--rounds N] [--quick]

Every store gets the same rows, sorted by date and code, from columns in memory, and is asked the
same questions of a file that is opened for each; all answers are compared. Ours and the others take
turns, round by round; the table holds medians. Without market data those rows are left out, and it
says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

import peer_parquet
import peer_stores

REAL_SETS = ["us_1min", "ashare_15min", "ashare_daily"]
BIG_ENOUGH = 10000  # rows, for a table of speeds
SLOW_QUESTIONS = 2
LEVELS = [1, 3, 9]


def say(text):
    print(f"# {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------ row sets


class RowSet:
    def __init__(self, title, folder, job_bytes=None):
        self.title = title
        self.folder = folder
        self.rows = peer_stores.Rows(folder)
        self.job_bytes = job_bytes  # of the backup that the main job left


def make_synthetic(options):
    folder = os.path.join(options.dir, "synthetic")
    os.mkdir(folder)
    n_dates = 20 if options.quick else 200
    subprocess.run([options.bench, "--export-synthetic", folder, str(n_dates), "5000"], check=True)
    return RowSet("synthetic (z-score, 2-decimal price, rank)", folder)


def make_real(options, name):
    backup = os.path.join(options.dir, name + ".fpb")
    folder = os.path.join(options.dir, name)
    data = os.path.join(options.data, name)
    os.mkdir(folder)
    subprocess.run([options.minute_bars, "--only-run", "--backup", backup, data], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run([options.bench, "--export-backup", backup, folder], check=True)
    return RowSet(f"{name} (the main job's factors)", folder, os.path.getsize(backup))


def make_sets(options):
    sets = []
    for name in REAL_SETS:
        if options.data and os.path.isdir(os.path.join(options.data, name)):
            sets.append(make_real(options, name))
        else:
            print(f"\nSKIPPED: the rows of {name}: no market data (set FACPOOL_DATA to its folder)")
    return sets + [make_synthetic(options)]


# ------------------------------------------------------------------ ours


def ours(options, row_set):
    """One round of every format that the library writes: a dict of figures each."""
    work = os.path.join(options.dir, "ours")
    os.makedirs(work, exist_ok=True)
    done = subprocess.run([options.bench, "--stores", row_set.folder, work], check=True,
                          stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


# ------------------------------------------------------------------ P4


def print_p4(options, sets):
    print("\nP4: bytes a row of the binary format (default level) against Parquet + zstd of the "
          "same rows in the\nsame order (date, code), each column in the smallest of dictionary, "
          "plain, byte stream split and delta.\n\"as pyarrow likes\": its default encodings. Ours "
          "with every index and checksum of the file.\n")
    print("| rows of | n | ours, sorted | ours, as the job left it | as pyarrow likes | "
          + " | ".join(f"Parquet, zstd {level}" for level in LEVELS)
          + " | ratio to the smallest | target | met |")
    print("| --- | --- | --- | --- | --- |" + " --- |" * (len(LEVELS) + 3))
    for row_set in sets:
        print_p4_row(options, row_set)


def print_p4_row(options, row_set):
    n, table = row_set.rows.n, row_set.rows.table()
    path = os.path.join(options.dir, "p4.parquet")
    binary = next(figures for figures in ours(options, row_set) if figures["store"] == "binary")
    sizes = {level: peer_parquet.smallest(table, level, path) for level in LEVELS}
    least = min(size for size, _ in sizes.values())
    ratio = binary["bytes"] / least
    job = f"{row_set.job_bytes / n:.2f}" if row_set.job_bytes else "-"
    cells = [row_set.title, f"{n:,}", f"{binary['bytes'] / n:.2f}", job,
             f"{peer_parquet.by_default(table, path) / n:.2f}"]
    cells += [f"{sizes[level][0] / n:.2f}" for level in LEVELS]
    # The figure asked for is that of real data; of the made-up rows it is only told.
    verdict = ["<= 1.0x, aim 0.9x", "yes" if ratio <= 1.0 else "NO"] if row_set.job_bytes else ["-", ""]
    cells += [f"{ratio:.3f}x", *verdict]
    print("| " + " | ".join(cells) + " |", flush=True)
    columns = {name: f"{size / n:.2f} ({encoding})"
               for name, (encoding, size) in sizes[LEVELS[-1]][1].items()}
    say(f"Parquet's columns of {row_set.title}, bytes a row: {columns}")


# ------------------------------------------------------------------ the table of stores


def sync(path):
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def timed(work, *arguments):
    start = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - start, found


def ask_all(ask, questions):
    """(median seconds, rows found, their sum); the first is asked once before, to be warm."""
    ask(*questions[0])
    answers = [timed(ask, *question) for question in questions]
    return (statistics.median(seconds for seconds, _ in answers),
            sum(found[0] for _, found in answers), sum(found[1] for _, found in answers))


def measure(store):
    store.remove()
    start = time.perf_counter()
    store.write()
    for path in store.files():
        sync(path)
    figures = {"store": store.name, "write_s": time.perf_counter() - start, "bytes": store.bytes()}
    rows = store.rows
    most = SLOW_QUESTIONS if store.slow else len(rows.points)
    questions = {"point": rows.points[:most], "history": [(code,) for code in rows.histories[:most]],
                 "scan": [(name,) for name in rows.names]}
    for kind, asked in questions.items():
        seconds, n, value = ask_all(getattr(store, kind), asked)
        figures.update({f"{kind}_s": seconds, f"{kind}_rows": n, f"{kind}_sum": value})
    store.remove()
    return figures


def expected(rows, most):
    answers = {"point": [], "history": [], "scan": []}
    for date, codes in rows.points[:most]:
        answers["point"].append(rows.answer((rows.dates == date) & np.isin(rows.codes, codes)))
    for code in rows.histories[:most]:
        answers["history"].append(rows.answer(rows.codes == code))
    answers["scan"] = [peer_stores.total([values]) for values in rows.factors]
    return {kind: (sum(n for n, _ in found), sum(value for _, value in found))
            for kind, found in answers.items()}


def check(figures, right):
    for kind, (n, value) in right.items():
        found = figures[f"{kind}_rows"], figures[f"{kind}_sum"]
        if found[0] != n or abs(found[1] - value) > 1e-9 * max(1.0, abs(value)):
            sys.exit(f"peers.py: {figures['store']}, {kind}: found {found}, not {(n, value)}")


def hold_rounds(options, row_set):
    """{store: its figures, one dict a round}, in the order of the table."""
    rows, found = row_set.rows, {}
    all_right, few_right = expected(rows, len(rows.points)), expected(rows, SLOW_QUESTIONS)
    _, encodings = peer_parquet.smallest(rows.table(), 1, os.path.join(options.dir, "p4.parquet"))
    peer_stores.Parquet.encodings = {name: kind for name, (kind, _) in encodings.items()}
    for number in range(options.rounds):
        say(f"{row_set.title}: round {number + 1} of {options.rounds}")
        for figures in ours(options, row_set):
            check(figures, few_right if figures["slow"] else all_right)
            found.setdefault("facpool " + figures["store"], []).append(figures)
        for kind in peer_stores.STORES:
            store = kind(rows, os.path.join(options.dir, "peer"))
            figures = measure(store)
            check(figures, few_right if store.slow else all_right)
            found.setdefault(store.name, []).append(figures)
    return found


def milliseconds(seconds):
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def print_stores(options, row_set):
    n = row_set.rows.n
    found = hold_rounds(options, row_set)
    print(f"\nStores: {row_set.title}, {n:,} rows, {len(row_set.rows.code_list):,} codes, "
          f"{len(row_set.rows.names)} factors; medians of {options.rounds} rounds.\n")
    print("| store | written, M rows/s | bytes a row | 1 date x 2 codes | one code, all dates | "
          "scan of one factor |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, rounds in found.items():
        middle = {key: statistics.median(figures[key] for figures in rounds)
                  for key in ("write_s", "bytes", "point_s", "history_s", "scan_s")}
        print(f"| {name} | {1e-6 * n / middle['write_s']:.2f} | {middle['bytes'] / n:.1f} | "
              f"{milliseconds(middle['point_s'])} | {milliseconds(middle['history_s'])} | "
              f"{milliseconds(middle['scan_s'])} |", flush=True)


def print_how():
    print("\nHow the stores are used (all: the file synced at the end; questions are asked of a file "
          "that is opened\nfor each, warm, and all factors of the rows found are added up). Ours is "
          "called from C, with durability\ngroup, on one thread and its writer; the others from "
          "Python:\n")
    for kind in peer_stores.STORES:
        print(f"- {kind.name}: {kind.how}")


# ------------------------------------------------------------------


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bench", required=True)
    parser.add_argument("--minute-bars", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--data")
    parser.add_argument("--only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.wanted = options.only.split(",") if options.only else ["P4", "STORES"]
    options.rounds = 1 if options.quick else options.rounds
    return options


def main():
    options = read_options()
    if not {"P4", "STORES"} & set(options.wanted):
        return
    sets = make_sets(options)
    if "P4" in options.wanted:
        print_p4(options, sets)
    if "STORES" in options.wanted:
        print_how()
        for row_set in sets:
            if row_set.rows.n >= BIG_ENOUGH:
                print_stores(options, row_set)


main()
