"""P10: what a call of a Python function costs, against the process pools of others.

    bench_calls.py [--tasks N] [--rounds N] [--workers N] [--all] [--quick] [--dir DIR]

A function of next to nothing gives three floats. Ours keeps every row in a binary backup meanwhile;
the peers only compute. Each contestant runs in a process of its own, after a small run that warms it
up; building the list of tasks is outside the time, making the workers inside. The peers' chunk sizes
are searched first, on a tenth of the tasks.
"""

import json
import os
import sys

import measure
import work

CHUNKS = [256, 1024, 4096, 16384, 65536]
SLOW = {"mpire", "pebble"}  # measured on a tenth of the tasks


# ------------------------------------------------------------------ ours


def backup_path(options):
    return os.path.join(options.dir, f"calls-{os.getpid()}.fpb")


def prepared(options, dates, codes, function):
    import facpool

    return run_ours(options, facpool.tasks(work.pairs(dates, codes)), function)


def grid(options, dates, codes, function):
    import facpool

    return run_ours(options, facpool.grid(dates, codes), function)


def listed(options, dates, codes, function):
    return run_ours(options, work.pairs(dates, codes), function)


def run_ours(options, tasks, function):
    """Gives what is timed: from the call until the columns are in memory and the file is closed."""
    import facpool

    def timed():
        result = facpool.run(function, tasks, workers=options.workers, backup=backup_path(options),
                             mode="overwrite", results="keep")
        result.raise_if_failed()
        return result, [result[name] for name in result.factor_names]

    return timed, lambda got: float(got[1][2].sum())


def pools(options, dates, codes, function):
    import facpool

    tasks = work.pairs(dates, codes)

    def timed():
        path = backup_path(options)
        if os.path.exists(path):
            os.unlink(path)
        return facpool.run_pools(function, tasks, num_threads=options.workers, backup_file=path)

    return timed, lambda rows: sum(row[4] for row in rows)


# ------------------------------------------------------------------ peers


def pool_map(options, dates, codes, function):
    import multiprocessing

    tasks = work.pairs(dates, codes)

    def timed():
        with multiprocessing.get_context("fork").Pool(options.workers) as pool:
            return pool.map(function, tasks, chunksize=options.chunk)

    return timed, sum_of_thirds


def executor_map(options, dates, codes, function):
    import concurrent.futures
    import multiprocessing

    tasks = work.pairs(dates, codes)

    def timed():
        with concurrent.futures.ProcessPoolExecutor(options.workers,
                                                    multiprocessing.get_context("fork")) as pool:
            return list(pool.map(function, tasks, chunksize=options.chunk))

    return timed, sum_of_thirds


def joblib_parallel(options, dates, codes, function):
    import joblib

    tasks = work.pairs(dates, codes)
    batch = options.chunk or "auto"

    def timed():
        call = joblib.delayed(function)
        return joblib.Parallel(options.workers, batch_size=batch, pre_dispatch="2*n_jobs")(
            call(pair) for pair in tasks)

    return timed, sum_of_thirds


def mpire_map(options, dates, codes, function):
    import mpire

    tasks = [(pair,) for pair in work.pairs(dates, codes)]

    def timed():
        with mpire.WorkerPool(options.workers, start_method="fork") as pool:
            return pool.map(function, tasks, chunk_size=options.chunk)

    return timed, sum_of_thirds


def pebble_map(options, dates, codes, function):
    import pebble

    tasks = work.pairs(dates, codes)

    def timed():
        with pebble.ProcessPool(options.workers) as pool:
            return list(pool.map(function, tasks, chunksize=options.chunk).result())

    return timed, sum_of_thirds


def plain_loop(options, dates, codes, function):
    tasks = work.pairs(dates, codes)
    return lambda: [function(date, code) for date, code in tasks], sum_of_thirds


def sum_of_thirds(rows):
    return sum(row[2] for row in rows)


# Name: what makes it ready, whether its function takes a pair, the chunk sizes to search.
CONTESTANTS = {
    "prepared": (prepared, False, []),
    "grid": (grid, False, []),
    "listed": (listed, False, []),
    "pools": (pools, False, []),
    "Pool.map": (pool_map, True, CHUNKS),
    "ProcessPoolExecutor.map": (executor_map, True, CHUNKS),
    "joblib": (joblib_parallel, True, [0, *CHUNKS]),
    "mpire": (mpire_map, True, CHUNKS),
    "pebble": (pebble_map, True, CHUNKS),
    "loop": (plain_loop, False, []),
}


# ------------------------------------------------------------------ one measurement


def measure_one(options):
    """What the fresh process does: makes ready, warms up, measures once, prints JSON."""
    make_ready, takes_pair, _ = CONTESTANTS[options.contestant]
    function = work.FUNCTIONS[options.function][takes_pair]
    warm_up, _ = make_ready(options, *work.axes(min(options.tasks, 10000)), function)
    warm_up()
    dates, codes = work.axes(options.tasks)
    timed, sum_up = make_ready(options, dates, codes, function)
    start = measure.now()
    got = timed()
    seconds = measure.now() - start
    if options.function == "nothing":
        check(sum_up(got), len(dates) * len(codes))
    if os.path.exists(backup_path(options)):
        os.unlink(backup_path(options))
    print(json.dumps(seconds), flush=True)
    if options.contestant == "joblib":
        from joblib.externals import loky

        loky.get_reusable_executor().shutdown(kill_workers=True)
        sys.exit(0)
    os._exit(0)  # giving back some GB of tuples one by one takes longer than measuring


def check(total, n):
    if total != work.THIRD * n:
        raise SystemExit(f"the rows add up to {total}, not {work.THIRD * n}")


def seconds_of(options, name, tasks, chunk, function="nothing"):
    return measure.measured_apart(__file__, "--contestant", name, "--tasks", tasks, "--chunk", chunk,
                                  "--workers", options.workers, "--dir", options.dir,
                                  "--function", function)


def best_chunk(options, name, tasks):
    taken = {chunk: seconds_of(options, name, tasks, chunk) for chunk in CONTESTANTS[name][2]}
    best = min(taken, key=taken.get)
    measure.say(f"{name}: chunks of " + ", ".join(f"{chunk or 'auto'}: {tasks / s / 1e6:.2f} M/s"
                                                  for chunk, s in taken.items()))
    return best


# ------------------------------------------------------------------ the table


# What it is, and P10's targets for it.
OURS = {
    "prepared": ("`run`, prepared task set", {"Pool.map": 5.0, "joblib": 25.0}),
    "grid": ("`run`, grid", {}),
    "listed": ("`run`, list of tuples", {"Pool.map": 3.0}),
    "pools": ("`run_pools`, list in, list of lists out", {"Pool.map": 1.8}),
}


def contest(options, function, names, rounds, chunks):
    def contestant(name):
        tasks = max(1, options.tasks // 10) if name in SLOW else options.tasks
        return lambda: (seconds_of(options, name, tasks, chunks.get(name, 0), function)
                        * options.tasks / tasks)

    return measure.in_turns({name: contestant(name) for name in names}, rounds)


def print_contest(options, taken, chunks, judged):
    peers = [name for name in taken if name not in OURS]
    heads = ["what", "tasks/s", *(f"against {name}" for name in peers)]
    rows = []
    for name, seconds in taken.items():
        what, targets = OURS.get(name, (None, {}))
        ratios = {peer: measure.ratio(seconds, taken[peer]) for peer in peers}
        rows.append([what or peer_title(name, chunks), measure.rate_cell(seconds, options.tasks),
                     *(f"{ratios[peer]:.2f}x" if what else "" for peer in peers)])
        if judged:
            rows[-1] += judgement(ratios, targets)
    measure.print_table(heads + (["target", "met"] if judged else []), rows)


def judgement(ratios, targets):
    if not targets:
        return ["-", ""]
    return [", ".join(f">= {least:g}x {peer}" for peer, least in targets.items()),
            measure.verdict(all(ratios[peer] >= least for peer, least in targets.items()))]


def peer_title(name, chunks):
    if name == "loop":
        return "one plain loop in one process"
    if chunks.get(name):
        return f"{name}, chunks of {chunks[name]:,}"
    return f"{name}, chunks as it chooses"


def main():
    options = measure.parser(__doc__)
    options.add_argument("--tasks", type=int)
    options.add_argument("--all", action="store_true", help="mpire and pebble too")
    options.add_argument("--contestant", choices=CONTESTANTS)
    options.add_argument("--function", choices=work.FUNCTIONS, default="nothing")
    options.add_argument("--chunk", type=int, default=0)
    options = options.parse_args()
    options.tasks = options.tasks or (500000 if options.quick else 10000000)
    if options.contestant:
        measure_one(options)
    peers = ["Pool.map", "ProcessPoolExecutor.map", "joblib", *(sorted(SLOW) if options.all else [])]
    rounds = measure.rounds_of(options, 3)
    chunks = {name: best_chunk(options, name, max(1000, options.tasks // 10)) for name in peers}

    print(f"\nP10: {options.tasks:,} tasks of next to nothing, 3 floats each, {options.workers} "
          f"workers. Ours keeps every row in\na binary backup (durability group), closed inside the "
          f"time; the peers keep nothing.\n{measure.machine()} "
          f"{measure.versions('joblib', *(sorted(SLOW) if options.all else []))}.")
    taken = contest(options, "nothing", [*OURS, *peers, "loop"], rounds, chunks)
    print_contest(options, taken, chunks, judged=True)
    print("\nThe same with three random numbers, which neither repeat nor compress:")
    taken = contest(options, "noise", [*OURS, "Pool.map", "loop"], rounds, chunks)
    print_contest(options, taken, chunks, judged=False)


if __name__ == "__main__":
    sys.exit(main())
