#!/usr/bin/env python3
"""Checks the rows that examples/minute_bars.c wrote for real market data against an independent
computation of the same factors: Python, NumPy in long double and the zone data of the machine,
nothing of the library or of the example.

    check.py --data DIR --rows FILE     FILE: what `facpool query BACKUP --status all --format csv`
                                        printed; DIR: one of us_1min, ashare_15min, ashare_daily

The definitions are those at the top of examples/minute_bars/factors.h. Exit status: 0 all rows
agree, 1 they don't.
"""

import argparse
import csv
import datetime
import math
import pathlib
import sys
import zoneinfo

import numpy as np

FACTORS = ("hl_std", "realised_vol", "vwap_to_close", "last30_share")
RELATIVE = 1e-12
# Equal ratios have a deviation of exactly 0; in long double their mean may be off by 1e-19.
ABSOLUTE = 1e-18
# The New York exchanges' half-days of 2024, by name rather than by rule.
HALF_DAYS = {20240703, 20241129, 20241224}

# What the data's own description says, independent of either computation: sample standard
# deviation of high / low.
SPOT_VALUES = {
    ("ashare_15min", 20250102, "000001"): 0.0024002063251780787,
    ("ashare_15min", 20260401, "000001"): 0.0015068621539833249,
}
# Data set: trading days, instruments, pairs that have a bar (zero-filled ones counted).
SIZES = {
    "us_1min": (252, 17, 3910),
    "ashare_15min": (300, 155, 46291),
    "ashare_daily": (1512, 304, 453436),
}


class Bars:
    """One file's usable bars as columns, in the order of time."""

    def __init__(self, path):
        with open(path, newline="", encoding="ascii") as file:
            separator = ";" if ";" in file.readline() else ","
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=separator))
        self.read_when(rows)
        assert all(a < b for a, b in zip(self.when, self.when[1:])), f"{path} is not in order"
        self.dates_in_file = {date for date, _ in self.when}
        usable = [i for i, row in enumerate(rows) if self.is_usable(row)]
        self.date = np.array([self.when[i][0] for i in usable], dtype=np.int64)
        self.second = np.array([self.when[i][1] for i in usable], dtype=np.int64)
        number = lambda name: np.array([rows[i][name] for i in usable], dtype=np.float64)
        self.high, self.low, self.close = number("high"), number("low"), number("close")
        self.volume = number("volume").astype(np.longdouble)
        if "amount" in rows[0]:
            self.money = number("amount").astype(np.longdouble)
        elif "price" in rows[0]:
            self.money = number("price").astype(np.longdouble) * self.volume
        else:
            typical = self.high.astype(np.longdouble) + self.low + self.close
            self.money = typical / 3 * self.volume
        self.set_regular()

    @staticmethod
    def is_usable(row):
        if row["volume"] == "":
            return False
        return any(float(row[name]) != 0 for name in ("high", "low", "close", "volume"))

    def read_when(self, rows):
        """(date, second of day) of every row, on the exchange's clock."""
        first = rows[0]
        if "timestamp" in first:
            self.kind = "start"
            zone = zoneinfo.ZoneInfo("America/New_York")
            hours = {}
            self.when = []
            for row in rows:
                seconds, rest = divmod(int(row["timestamp"]), 1000)
                assert rest == 0
                hour = seconds // 3600
                if hour not in hours:
                    local = datetime.datetime.fromtimestamp(hour * 3600, zone)
                    hours[hour] = (int(local.strftime("%Y%m%d")), local.hour * 3600)
                date, second = hours[hour]
                self.when.append((date, second + seconds % 3600))
        elif "time" in first:
            self.kind = "end"
            self.when = []
            for row in rows:
                hour, minute, second = map(int, row["time"].split(":"))
                self.when.append(
                    (int(row["date"].replace("-", "")), hour * 3600 + minute * 60 + second)
                )
        else:
            self.kind = "day"
            self.when = [(int(row["date"].replace("-", "")), 0) for row in rows]

    def set_regular(self):
        if self.kind == "start":
            close = np.where(np.isin(self.date, list(HALF_DAYS)), 13 * 3600, 16 * 3600)
            self.regular = (self.second >= 34200) & (self.second < close)
        elif self.kind == "end":
            self.regular = (self.second > 34200) & (self.second <= 15 * 3600)
        else:
            self.regular = np.zeros(len(self.date), dtype=bool)


def factors_of(bars):
    """{date: (four factors)} of every day with a usable bar."""
    if len(bars.date) == 0:
        return {}
    begins = np.flatnonzero(np.r_[True, bars.date[1:] != bars.date[:-1]])
    counts = np.diff(np.r_[begins, len(bars.date)])
    lasts = begins + counts - 1
    total = lambda column: np.add.reduceat(column, begins)
    spread = lambda column: np.repeat(column, counts)
    nan = np.longdouble("nan")

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (bars.high / bars.low).astype(np.longdouble)
        distance = ratio - spread(total(ratio) / counts)
        hl_std = np.where(counts > 1, np.sqrt(total(distance**2) / (counts - 1)), nan)

        close = bars.close.astype(np.longdouble)
        log_return = np.log(np.r_[close[:1], close[1:]] / np.r_[close[:1], close[:-1]])
        log_return[begins] = 0
        realised_vol = np.where(counts > 1, np.sqrt(total(log_return**2)), nan)

        volume = total(bars.volume)
        vwap_to_close = np.where(volume > 0, total(bars.money) / volume / close[lasts], nan)

        never = -(10**9)
        last_regular = np.maximum.reduceat(np.where(bars.regular, bars.second, never), begins)
        last = spread(last_regular)
        within = (bars.second <= last) & (bars.second > last - 1800)
        late = total(np.where(within, bars.volume, np.longdouble(0)))
        share = np.where((volume > 0) & (last_regular != never), late / volume, nan)

    columns = [column.astype(np.float64) for column in (hl_std, realised_vol, vwap_to_close, share)]
    return dict(zip(bars.date[begins].tolist(), zip(*(column.tolist() for column in columns))))


def read_rows(path):
    """{(date, code): (status, factors)} as the tool printed them."""
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (int(row["date"]), row["code"])
            if key in rows:
                raise SystemExit(f"{key} occurs twice")
            values = tuple(float(row[name]) if row[name] else None for name in FACTORS)
            rows[key] = (row["status"], values)
    return rows


def agree(found, expected):
    if math.isnan(expected):
        return math.isnan(found)
    return abs(found - expected) <= RELATIVE * abs(expected) + ABSOLUTE


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--rows", required=True)
    arguments = parser.parse_args()

    found = read_rows(arguments.rows)
    expected, pairs, dates, codes = {}, 0, set(), []
    for path in sorted(arguments.data.glob("*.csv")):
        bars = Bars(path)
        codes.append(path.stem)
        dates |= bars.dates_in_file
        pairs += len(bars.dates_in_file)
        for date, factors in factors_of(bars).items():
            expected[date, path.stem] = factors

    spots = {key: found.get(key[1:]) for key in SPOT_VALUES if key[0] == arguments.data.name}
    problems, worst = [], dict.fromkeys(FACTORS, 0.0)
    values, numbers = 0, 0
    for date in sorted(dates):
        for code in codes:
            status, factors = found.pop((date, code), ("no row", None))
            want = "ok" if (date, code) in expected else "skipped"
            if status != want:
                problems.append(f"{code} on {date}: status {status}, expected {want}")
            elif want == "skipped":
                if any(value is not None for value in factors):
                    problems.append(f"{code} on {date}: skipped, but has factors {factors}")
            else:
                for name, value, right in zip(FACTORS, factors, expected[date, code]):
                    values += 1
                    numbers += not math.isnan(right)
                    if value is None or not agree(value, right):
                        problems.append(f"{code} on {date}: {name} {value!r}, expected {right!r}")
                    elif right:
                        worst[name] = max(worst[name], abs(value / right - 1))
    problems += [f"row that was not asked for: {key}" for key in list(found)[:10]]

    name = arguments.data.name
    if name in SIZES and (len(dates), len(codes), pairs) != SIZES[name]:
        problems.append(f"{name}: {len(dates)} days, {len(codes)} codes, {pairs} pairs of the data")
    for key, row in spots.items():
        right = SPOT_VALUES[key]
        if row is None or not math.isclose(row[1][0], right, rel_tol=1e-13):
            problems.append(f"spot value {key}: {row}, not {right!r}")

    for problem in problems[:20]:
        print(problem)
    print(
        f"{name}: {len(dates)} days x {len(codes)} codes, {pairs} pairs in the data, "
        f"{len(expected)} ok, {values} values of which {numbers} numbers, {len(spots)} spot values; "
        f"largest relative difference "
        + ", ".join(f"{factor} {error:.1e}" for factor, error in worst.items())
        + f"; {len(problems)} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
