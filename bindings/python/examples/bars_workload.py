"""The standard deviation of high / low over the bars of every trading day, for every instrument of
a folder: one Arrow file of bars an instrument in, one Arrow file (factor, date, instrument) out.

    python bars_workload.py [BARS] [--out FILE] [--backup FILE] [--workers N]

BARS holds files as bars_data.py makes them; without it, bars are made up. Days without bars, and
instruments whose file has no column `high`, are left out. With --backup, rows are kept while they
are computed: stop the program when you like, and start it again.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import facpool


def main():
    options = read_options()
    with tempfile.TemporaryDirectory() as scratch:
        bars = options.bars
        if not bars:
            import bars_data

            bars = pathlib.Path(scratch, "bars")
            print(f"made up: {bars_data.make_up(bars)} instruments")
        backup = options.backup or pathlib.Path(scratch, "deviation.arrow")
        result = compute(bars, backup, workers=options.workers, progress=True)
        combine(backup, options.out)
    report = result.report
    print(f"{report['ok']} days, {report['skipped']} skipped, {report['failed']} failed, "
          f"{report['resumed']} taken over: {options.out}")
    for failure in result.failures[:3]:
        print(f"  {failure.code} {failure.date}: {failure.message}")


def read_options():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("bars", nargs="?", type=pathlib.Path, help="folder of Arrow files")
    options.add_argument("--out", default="deviation.arrow", help="the combined file")
    options.add_argument("--backup", help="keeps the rows, and is gone on with")
    options.add_argument("--workers", type=int, help="default: what the machine allows")
    return options.parse_args()


# ------------------------------------------------------------------ what is computed


def deviations(path):
    """The dates of a file of bars and, for each, the sample standard deviation of high / low over
    its bars. Gives None where there is no column `high`."""
    with pa.memory_map(str(path)) as file:
        bars = pa.ipc.open_file(file).read_all()
        if "high" not in bars.column_names:
            return None
        date, high, low = (bars[name].to_numpy() for name in ("date", "high", "low"))
        with np.errstate(invalid="ignore"):
            ratio = high / low
    dates, starts = np.unique(date, return_index=True)  # bars are in order of time
    return dates, deviation_of_pieces(ratio, starts)


def deviation_of_pieces(values, starts):
    """The sample standard deviation of each piece of `values`, leaving out NaN, as pandas does;
    NaN where fewer than two values are left."""
    there = ~np.isnan(values)
    values = np.where(there, values, 0.0)
    counts = np.add.reduceat(there, starts, dtype=np.int64)
    lengths = np.diff(np.append(starts, len(values)))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(values, starts) / counts
        squares = np.where(there, (values - np.repeat(means, lengths)) ** 2, 0.0)
        deviation = np.sqrt(np.add.reduceat(squares, starts) / (counts - 1))
    return np.where(counts > 1, deviation, np.nan)


# ------------------------------------------------------------------ the run


def compute(bars, backup, **options):
    """Runs the above over every day of every instrument, a file at a time; goes on where an earlier
    run stopped. Other options are those of facpool.run."""
    dates = np.loadtxt(pathlib.Path(bars, "calendar.txt"), dtype=np.int64)
    codes = sorted(path.stem for path in pathlib.Path(bars).glob("*.arrow"))
    return facpool.run(of_instrument, facpool.grid(dates, codes), factors=["deviation"], batch=True,
                       group_by="code", kwargs={"bars": str(bars)}, backup=backup, mode="resume",
                       **options)


def of_instrument(dates, codes, bars):
    """Called with all dates of one code, so that a file is opened once. What is masked, and None,
    which is all of it, is skipped: no bars on that day, or no column `high`."""
    found = deviations(pathlib.Path(bars, codes[0] + ".arrow"))
    if found is None:
        return None
    days, values = found
    places = np.minimum(np.searchsorted(days, dates), len(days) - 1)
    return np.ma.masked_array(values[places], mask=days[places] != dates)


def combine(backup, out):
    """The backup is an Arrow file itself: pyarrow maps it, and picks and names its columns."""
    with pa.memory_map(str(backup)) as file:
        rows = pa.ipc.open_file(file).read_all()
        rows = rows.filter(pc.equal(rows["status"], 1))  # 1: ok
        write(out, rows["deviation"], rows["date"], rows["code"])


def write(out, factor, date, instrument):
    table = pa.table({"factor": factor, "date": date, "instrument": instrument})
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


if __name__ == "__main__":
    main()
