"""P12: how near worker processes come to perfect scaling, with a Python function of 20 us, and with
one long task among many short ones.

    bench_scaling.py [--rounds N] [--workers N] [--quick]

Perfect is the time of one plain loop in one process, divided by the workers; what the machine gives
is that of plain loops in as many forked processes at once, each with its share of the calls.
"""

import json
import os
import random
import sys

import measure
import work

TASK_SECONDS = 20e-6
SHORT_TASKS = 1000


# ------------------------------------------------------------------ equal tasks


def run_ours(options):
    import facpool

    grid = facpool.grid(work.weekdays(options.tasks // 1000), work.instruments(1000))
    n = options.steps

    def spin(date, code):
        return work.steps(n), 1.0, 2.0

    def run(tasks):
        facpool.run(spin, tasks, factors=3, workers=options.workers,
                    start_method=options.contestant).raise_if_failed()

    run(facpool.grid([1], work.instruments(10)))  # imports what is imported at first use
    return lambda: run(grid)


def call_plainly(n_calls, n):
    for _ in range(n_calls):
        work.steps(n)


def loop(options):
    return lambda: call_plainly(options.tasks, options.steps)


def loops_at_once(options):
    def timed():
        children = []
        for _ in range(options.workers):
            child = os.fork()
            if child == 0:
                call_plainly(options.tasks // options.workers, options.steps)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)

    return timed


CONTESTANTS = {"fork": run_ours, "spawn": run_ours, "loop": loop, "loops": loops_at_once}


def seconds_of(options, name):
    return measure.measured_apart(__file__, "--contestant", name, "--tasks", options.tasks, "--steps",
                                  options.steps, "--workers", options.workers)


# ------------------------------------------------------------------ one long task


def run_uneven(options, short, long, place):
    """One run of 1,000 short tasks with a long one; gives the seconds over the on-line bound."""
    import facpool

    tasks = [(date, "x") for date in range(SHORT_TASKS + 1)]

    def hold(date, code):
        end = measure.now() + (long if date == place else short)
        while measure.now() < end:
            pass
        return 0.0

    start = measure.now()
    facpool.run(hold, tasks, factors=1, workers=options.workers, start_method="fork").raise_if_failed()
    return measure.now() - start


def on_line_bound(workers, short, long, place):
    """When workers are done who take the next task in order as soon as they are free."""
    busy = [0.0] * workers
    for task in range(SHORT_TASKS + 1):
        busy[busy.index(min(busy))] += long if task == place else short
    return max(busy)


def uneven_row(options, short, long, places):
    run_uneven(options, 0.0, 0.0, 0)  # imports what is imported at first use
    over = []
    for _ in range(places):
        place = random.randrange(SHORT_TASKS + 1)
        took = run_uneven(options, short, long, place)
        over.append(took / on_line_bound(options.workers, short, long, place))
        measure.say(f"long task {place}: {took:.3f} s, {over[-1]:.3f} of the bound")
    worst = max(over)
    return [f"1,000 tasks of {short * 1e3:g} ms and one of {long:g} s, {places} random places",
            "fork", "the on-line bound", f"{measure.cell(over, 'of it')}", "<= 1.05 at worst",
            measure.verdict(worst <= 1.05)]


# ------------------------------------------------------------------ the table


def equal_rows(options, taken):
    perfect = measure.Series(seconds / options.workers for seconds in taken["loop"])
    given = taken["loops"]
    rows = []
    for name in ("fork", "spawn"):
        for peer, title, least in ((perfect, "one loop's time, divided", 0.97),
                                   (given, "plain loops at once", None)):
            share = measure.ratio(taken[name], peer)
            rows.append([f"20 us a call, {options.tasks:,} tasks: {measure.cell(taken[name], 's')}",
                         name, f"{title}: {measure.cell(peer, 's')}", f"{share:.3f}",
                         f">= {least}" if least else "-",
                         measure.verdict(share >= least) if least else ""])
    return rows


def main():
    options = measure.parser(__doc__)
    options.add_argument("--tasks", type=int)
    options.add_argument("--steps", type=int)
    options.add_argument("--contestant", choices=CONTESTANTS)
    options = options.parse_args()
    options.tasks = options.tasks or (50000 if options.quick else 400000)
    options.steps = options.steps or work.steps_for(TASK_SECONDS, measure.now)
    if options.contestant:
        timed = CONTESTANTS[options.contestant](options)
        start = measure.now()
        timed()
        print(json.dumps(measure.now() - start))
        return
    taken = measure.in_turns({name: lambda name=name: seconds_of(options, name)
                              for name in CONTESTANTS}, measure.rounds_of(options, 5))
    rows = equal_rows(options, taken)
    rows.append(uneven_row(options, 1e-4, 1.0, 2 if options.quick else 9))
    if not options.quick:
        rows.append(uneven_row(options, 1e-3, 10.0, 2))
    print(f"\nP12: Python functions in {options.workers} worker processes, started and ended inside "
          f"the time. {measure.machine()}")
    measure.print_table(["what", "start", "against", "ratio", "target", "met"], rows)


if __name__ == "__main__":
    sys.exit(main())
