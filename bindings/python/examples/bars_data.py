"""Folders of bars, one Arrow file an instrument, for bars_workload.py: converted from folders of
CSV files, or made up. The columns are date (yyyymmdd), open, high, low, close and volume;
calendar.txt has the trading days, one a line.

    python bars_data.py CSV_FOLDER ARROW_FOLDER
"""

import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

PRICES = ["open", "high", "low", "close", "volume"]


def write_bars(path, table):
    """An uncompressed Arrow file: readers map it instead of reading it."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_calendar(folder, dates):
    np.savetxt(pathlib.Path(folder, "calendar.txt"), dates, fmt="%d")


# ------------------------------------------------------------------ from CSV


def convert(source, folder, zone="America/New_York"):
    """Every CSV file of `source` into `folder`, under the same stem, which is the code. Files whose
    `timestamp` is in milliseconds UTC get the dates of `zone`. Returns how many."""
    paths = sorted(pathlib.Path(source).glob("*.csv"))
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    days = set()
    for path in paths:
        table = read_csv(path, zone)
        write_bars(pathlib.Path(folder, path.stem + ".arrow"), table)
        days.update(pc.unique(table["date"]).to_pylist())
    write_calendar(folder, sorted(days))
    return len(paths)


def read_csv(path, zone):
    with open(path) as lines:
        separator = ";" if ";" in lines.readline() else ","
    table = pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter=separator))
    columns = {"date": dates_of(table, zone)}
    columns.update((name, table[name].cast(pa.float64())) for name in PRICES
                   if name in table.column_names)
    return pa.table(columns).combine_chunks()


def dates_of(table, zone):
    """yyyymmdd of the day at the exchange: by UTC, bars after hours would fall on the next day."""
    if "timestamp" in table.column_names:
        days = table["timestamp"].cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("ms", zone))
    else:
        days = table["date"].cast(pa.timestamp("ms"))
    return pc.add(pc.add(pc.multiply(pc.year(days), 10000), pc.multiply(pc.month(days), 100)),
                  pc.day(days))


# ------------------------------------------------------------------ made up


def make_up(folder, instruments=40, days=60, bars=240, seed=1):
    """Random walks; the last instrument has no column `high`. Returns how many files."""
    random = np.random.default_rng(seed)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    dates = np.datetime64("2024-01-01") + np.arange(days)
    dates = np.array([int(str(date).replace("-", "")) for date in dates])
    for number in range(instruments):
        table = walk(random, np.repeat(dates, bars))
        if number == instruments - 1:
            table = table.drop_columns(["high"])
        write_bars(pathlib.Path(folder, f"{number + 1:06d}.arrow"), table)
    write_calendar(folder, dates)
    return instruments


def walk(random, dates):
    close = 20 * np.exp(np.cumsum(random.normal(0, 1e-3, len(dates))))
    start = np.concatenate([[20.0], close[:-1]])
    spread = np.abs(random.normal(0, 1e-3, (2, len(dates))))
    return pa.table({
        "date": dates,
        "open": start,
        "high": np.maximum(start, close) * (1 + spread[0]),
        "low": np.minimum(start, close) * (1 - spread[1]),
        "close": close,
        "volume": random.integers(0, 10000, len(dates)).astype(float),
    })


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(f"{convert(sys.argv[1], sys.argv[2])} files in {sys.argv[2]}")
