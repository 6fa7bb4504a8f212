"""The workload this library grew from: standard deviation of high / low a trading day, one Arrow file
an instrument in, one combined Arrow file out; ours with a memory_map backup, against multiprocessing,
concurrent.futures and joblib running the same function.

    bench_workload.py [--data FOLDER] [--links N] [--rounds N] [--workers N] [--quick] [--dir DIR]

The program is examples/bars_workload.py. FOLDER holds ashare_15min/*.csv (market data; made-up bars
where there is none), converted to Arrow once. As 155 files take some tens of milliseconds, each is
linked N times under other codes. Timed is everything from the folder of bars to the combined file, in
a process of its own for each contestant, imports apart; every combined file is compared with pandas.
"""

import json
import os
import pathlib
import shutil
import sys

import measure

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples"))

CHUNKS = [1, 4, 16, 64, 256]
MARKET_DATA = "ashare_15min"


# ------------------------------------------------------------------ the bars


def make_bars(options):
    """The folder of Arrow files, and a word on what is in it."""
    import bars_data

    folder = pathlib.Path(options.dir, "bars")
    shutil.rmtree(folder, ignore_errors=True)
    source = pathlib.Path(options.data or "", MARKET_DATA)
    if options.data and source.is_dir():
        bars_data.convert(source, folder)
        what = f"15-minute bars of the market data in {MARKET_DATA}"
    else:
        print("\nSKIPPED: the workload on market data: set FACPOOL_DATA to its folder. Made-up bars "
              "instead.")
        bars_data.make_up(folder, instruments=155, days=300, bars=16)
        what = "made-up bars"
    originals = sorted(folder.glob("*.arrow"))
    leave_out_high(originals[0], folder / "nohigh.arrow")
    for path in originals:
        for number in range(1, options.links):
            os.link(path, folder / f"{path.stem}-{number}.arrow")
    return folder, what


def leave_out_high(path, to):
    import bars_data
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
        bars_data.write_bars(to, table.drop_columns(["high"] if "high" in table.column_names else []))


def check(bars, out):
    """Compares the combined file with pandas on the same bars; returns how many rows it has."""
    import numpy as np
    import pandas as pd

    combined = pd.read_feather(out)
    for code, rows in combined.groupby("instrument"):
        if "-" in code:
            continue  # a link: its original is compared
        table = pd.read_feather(bars / f"{code}.arrow")
        expected = (table["high"] / table["low"]).groupby(table["date"]).std()
        rows = rows.sort_values("date")
        assert rows["date"].tolist() == expected.index.tolist(), code
        np.testing.assert_allclose(rows["factor"], expected, rtol=1e-9, atol=1e-15)
    return len(combined)


# ------------------------------------------------------------------ contestants


def facpool_fork(options, bars, out):
    return facpool_run(options, bars, out, "fork")


def facpool_spawn(options, bars, out):
    return facpool_run(options, bars, out, "spawn")


def facpool_run(options, bars, out, start_method):
    import bars_workload
    import facpool

    _ = facpool.run, facpool.Result  # which are imported when they are first asked for
    backup = pathlib.Path(options.dir, "deviation-backup.arrow")
    backup.unlink(missing_ok=True)

    def timed():
        bars_workload.compute(bars, backup, workers=options.workers,
                              start_method=start_method).raise_if_failed()
        bars_workload.combine(backup, out)

    return timed


def peer(run_all):
    """A contestant that maps over the paths and combines what comes back."""

    def make_ready(options, bars, out):
        import bars_workload
        import numpy as np

        def timed():
            paths = sorted(bars.glob("*.arrow"))
            found = run_all(options, bars_workload.deviations, paths)
            kept = [(path.stem, *pair) for path, pair in zip(paths, found) if pair is not None]
            codes = np.repeat(np.array([code for code, _, _ in kept], dtype=object),
                              [len(days) for _, days, _ in kept])
            bars_workload.write(out, np.concatenate([values for _, _, values in kept]),
                                np.concatenate([days for _, days, _ in kept]), codes)

        return timed

    return make_ready


@peer
def pool_map(options, function, paths):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(options.workers) as pool:
        return pool.map(function, paths, chunksize=options.chunk)


@peer
def executor_map(options, function, paths):
    import concurrent.futures
    import multiprocessing

    with concurrent.futures.ProcessPoolExecutor(options.workers,
                                                multiprocessing.get_context("fork")) as pool:
        return list(pool.map(function, paths, chunksize=options.chunk))


@peer
def joblib_parallel(options, function, paths):
    import joblib

    call = joblib.delayed(function)
    return joblib.Parallel(options.workers, batch_size=options.chunk)(call(path) for path in paths)


@peer
def plain_loop(options, function, paths):
    return [function(path) for path in paths]


CONTESTANTS = {
    "facpool": (facpool_fork, "facpool, fork; rows kept in a memory_map backup"),
    "facpool spawn": (facpool_spawn, "facpool, spawn (its own choice beside pyarrow's threads)"),
    "Pool.map": (pool_map, "multiprocessing.Pool.map"),
    "ProcessPoolExecutor.map": (executor_map, "concurrent.futures.ProcessPoolExecutor.map"),
    "joblib": (joblib_parallel, "joblib.Parallel"),
    "loop": (plain_loop, "one plain loop in one process"),
}


PEERS = ["Pool.map", "ProcessPoolExecutor.map", "joblib"]


# ------------------------------------------------------------------ measuring


def measure_one(options):
    bars, out = pathlib.Path(options.bars), pathlib.Path(options.dir, "deviation.arrow")
    timed = CONTESTANTS[options.contestant][0](options, bars, out)
    start = measure.now()
    timed()
    print(json.dumps([measure.now() - start, check(bars, out)]))
    sys.exit(0)


def seconds_of(options, bars, name, chunk):
    seconds, rows = measure.measured_apart(__file__, "--contestant", name, "--bars", bars, "--chunk",
                                           chunk, "--workers", options.workers, "--dir", options.dir)
    if options.rows not in (None, rows):
        raise SystemExit(f"{name} gives {rows} rows, others {options.rows}")
    options.rows = rows
    return seconds


def main():
    options = measure.parser(__doc__)
    options.add_argument("--data", default=os.environ.get("FACPOOL_DATA"))
    options.add_argument("--links", type=int)
    options.add_argument("--contestant", choices=CONTESTANTS)
    options.add_argument("--bars")
    options.add_argument("--chunk", type=int, default=1)
    options = options.parse_args()
    options.rows = None
    if options.contestant:
        measure_one(options)
    options.links = options.links or (4 if options.quick else 64)
    bars, what = make_bars(options)
    chunks = {}
    for name in CONTESTANTS:
        if name in PEERS:
            taken = {chunk: seconds_of(options, bars, name, chunk) for chunk in CHUNKS}
            chunks[name] = min(taken, key=taken.get)
    taken = measure.in_turns(
        {name: lambda name=name: seconds_of(options, bars, name, chunks.get(name, 1))
         for name in CONTESTANTS}, measure.rounds_of(options, 5))
    print_results(options, taken, chunks, what, len(list(bars.glob("*.arrow"))))
    shutil.rmtree(bars)


def print_results(options, taken, chunks, what, files):
    print(f"\nThe workload: {what}, each file linked {options.links} times: {files:,} files, "
          f"{options.rows:,} days, {options.workers}\nworkers. From the folder of bars to the "
          f"combined Arrow file, the same numbers as pandas. {measure.machine()}\n"
          f"{measure.versions('numpy', 'pyarrow', 'pandas', 'joblib')}.")
    rows = []
    for name, (_, title) in CONTESTANTS.items():
        title += f", chunks of {chunks[name]}" if name in chunks else ""
        ratio = measure.ratio(taken["facpool"], taken[name])
        rows.append([title, measure.cell(taken[name], "s"),
                     "" if name == "facpool" else f"{ratio:.2f}x"])
    measure.print_table(["what", "time", "its time / ours"], rows)


if __name__ == "__main__":
    main()
