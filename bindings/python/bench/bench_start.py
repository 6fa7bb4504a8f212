"""What starting and ending two workers costs: a run of two tasks, by fork and by spawn, against the
pools of others.

    bench_start.py [--rounds N] [--workers N] [--quick]

First: the first run of a fresh interpreter that has imported the library. Later: the tenth run of the
same interpreter. joblib keeps its workers from one run to the next; the others start new ones.
"""

import importlib
import json
import sys

import measure
import work

MODULES = {"facpool": "facpool", "pool": "multiprocessing", "executor": "concurrent.futures",
           "joblib": "joblib"}


def run_facpool(options, method):
    import facpool

    tasks = work.pairs(work.weekdays(options.workers), ["x"])
    facpool.run(work.nothing, tasks, factors=3, workers=options.workers,
                start_method=method).raise_if_failed()


def run_pool(options, method):
    import multiprocessing

    with multiprocessing.get_context(method).Pool(options.workers) as pool:
        pool.map(work.nothing_of_pair, work.pairs(work.weekdays(options.workers), ["x"]))


def run_executor(options, method):
    import concurrent.futures
    import multiprocessing

    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(options.workers, context) as pool:
        list(pool.map(work.nothing_of_pair, work.pairs(work.weekdays(options.workers), ["x"])))


def run_joblib(options, method):
    import joblib

    call = joblib.delayed(work.nothing_of_pair)
    joblib.Parallel(options.workers, backend=method)(
        call(pair) for pair in work.pairs(work.weekdays(options.workers), ["x"]))


RUNNERS = {"facpool": run_facpool, "pool": run_pool, "executor": run_executor, "joblib": run_joblib}
CONTESTANTS = {
    "facpool fork": "facpool.run, fork",
    "facpool spawn": "facpool.run, spawn",
    "pool fork": "multiprocessing.Pool, fork",
    "pool forkserver": "multiprocessing.Pool, forkserver",
    "pool spawn": "multiprocessing.Pool, spawn",
    "executor fork": "ProcessPoolExecutor, fork",
    "executor spawn": "ProcessPoolExecutor, spawn",
    "joblib loky": "joblib, loky",
}


def measure_one(options):
    kind, method = options.contestant.split()
    module = importlib.import_module(MODULES[kind])
    if kind == "facpool":
        _ = module.run, module.Result  # which are imported when they are first asked for
    taken = []
    for _ in range(10):
        start = measure.now()
        RUNNERS[kind](options, method)
        taken.append(measure.now() - start)
    print(json.dumps([taken[0], taken[-1]]))


def main():
    options = measure.parser(__doc__)
    options.add_argument("--contestant", choices=CONTESTANTS)
    options = options.parse_args()
    if options.contestant:
        return measure_one(options)
    first = {name: measure.Series() for name in CONTESTANTS}
    later = {name: measure.Series() for name in CONTESTANTS}
    for _ in range(measure.rounds_of(options, 7)):
        for name in CONTESTANTS:
            seconds = measure.measured_apart(__file__, "--contestant", name, "--workers",
                                             options.workers)
            first[name].append(seconds[0] * 1e3)
            later[name].append(seconds[1] * 1e3)
    print(f"\nStarting and ending {options.workers} workers for {options.workers} tasks. "
          f"{measure.machine()} {measure.versions('joblib')}.")
    measure.print_table(["what", "first run", "later runs"],
                        [[title, measure.cell(first[name], "ms"), measure.cell(later[name], "ms")]
                         for name, title in CONTESTANTS.items()])


if __name__ == "__main__":
    sys.exit(main())
