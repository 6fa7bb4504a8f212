"""Big read-only inputs: what each worker holds in memory of its own, by fork and by spawn.

    bench_memory.py [--workers N] [--quick] [--dir DIR]

Every worker looks at all of the data, waits until all have, and reads the private memory of its
process (Private_Clean + Private_Dirty of /proc/self/smaps_rollup): what a worker costs beyond what
it shares. The figure is the most that any worker has, less what workers have that look at nothing.
"""

import json
import os
import pathlib
import sys
import time

import numpy as np

import measure

FILES = 256
MIB = 1 << 20


def private_mib():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines
                   if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def wait_for_all(folder, what, workers):
    """Until as many processes have come here."""
    open(f"{folder}/{what}-{os.getpid()}", "w").close()
    while sum(name.startswith(what) for name in os.listdir(folder)) < workers:
        time.sleep(0.005)


# ------------------------------------------------------------------ the inputs


class Sizes:
    def __init__(self, quick):
        self.array_bytes = 400 * MIB // (10 if quick else 1)
        self.entries = 5000000 // (10 if quick else 1)


def nothing(sizes, folder):
    return lambda: 0.0


def array(sizes, folder):
    """A NumPy array that the function refers to."""
    values = np.ones(sizes.array_bytes // 8)
    return lambda: values.sum()


def array_in_worker_init(sizes, folder):
    return WorkerLoads(make_file(sizes, folder), None)


def array_mapped_in_worker_init(sizes, folder):
    return WorkerLoads(make_file(sizes, folder), "r")


class WorkerLoads:
    """What worker_init loads stays in a global of the worker."""

    def __init__(self, path, mode):
        self.path, self.mode = path, mode

    def worker_init(self):
        global loaded
        loaded = np.load(self.path, mmap_mode=self.mode)

    def __call__(self):
        return loaded.sum()


def make_file(sizes, folder):
    path = os.path.join(folder, "values.npy")
    np.save(path, np.ones(sizes.array_bytes // 8))
    return path


def arrow_files(sizes, folder):
    """Mapped Arrow files, opened by the tasks."""
    import pyarrow as pa

    table = pa.table({"value": np.ones(sizes.array_bytes // 8 // FILES)})
    for number in range(FILES):
        with pa.OSFile(f"{folder}/{number}.arrow", "wb") as sink:
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    def look():
        total = 0.0
        for number in range(FILES):
            with pa.memory_map(f"{folder}/{number}.arrow") as file:
                total += pa.ipc.open_file(file).read_all()["value"].to_numpy().sum()
        return total

    return look


def dictionary(sizes, folder):
    """A dict: every key and value that is looked at has its reference count written, and the page it
    lies in copied. (Workers freeze the collector themselves: it is the counts alone.)"""
    values = {key: key + 0.5 for key in range(sizes.entries)}

    def look():
        total = 0.0
        for key in range(sizes.entries):
            total += values[key]
        return total

    return look


def sorted_arrays(sizes, folder):
    """The same table as two arrays, keys sorted: searchsorted finds what a dict would."""
    keys = np.arange(sizes.entries)
    values = keys + 0.5

    def look():
        total = 0.0
        for start in range(0, sizes.entries, 65536):  # as many questions as a task may have at once
            wanted = np.arange(start, min(start + 65536, sizes.entries))
            total += values[np.searchsorted(keys, wanted)].sum()
        return total

    return look


INPUTS = {
    "array": (array, "NumPy array of {array}, referred to"),
    "arrow": (arrow_files, "Arrow files of {array}, mapped by the tasks"),
    "init": (array_in_worker_init, "NumPy file of {array}, `np.load` in `worker_init`"),
    "mapped": (array_mapped_in_worker_init,
               "the same, `np.load(..., mmap_mode=\"r\")` in `worker_init`"),
    "dict": (dictionary, "dict of {entries} entries, int to float, referred to"),
    "sorted": (sorted_arrays, "the same as two sorted arrays and `np.searchsorted`"),
}


# ------------------------------------------------------------------ measuring


def measure_one(options):
    import facpool

    sizes = Sizes(options.quick)
    make = nothing if options.contestant == "nothing" else INPUTS[options.contestant][0]
    look = make(sizes, options.dir)

    folder, workers = options.dir, options.workers

    def task(date, code):
        total = look()
        wait_for_all(folder, "looked", workers)
        private = private_mib()
        wait_for_all(folder, "read", workers)
        return total, private

    start = measure.now()
    result = facpool.run(task, facpool.grid(range(workers), ["x"]),
                         factors=["total", "private"], timeout=300,
                         workers=options.workers, start_method=options.start,
                         worker_init=getattr(look, "worker_init", None))
    seconds = measure.now() - start
    result.raise_if_failed()
    print(json.dumps([result["total"].max(), result["private"].max(), seconds]))


def of_worker(options, name, start):
    folder = pathlib.Path(options.dir, f"memory-{name}")
    folder.mkdir(exist_ok=True)
    got = measure.measured_apart(__file__, "--contestant", name, "--start", start, "--workers",
                                 options.workers, "--dir", folder,
                                 *(["--quick"] if options.quick else []))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    measure.say(f"{name}, {start}: {got[1]:.1f} MiB, {got[2]:.2f} s")
    return got


def check(sizes, name, total):
    entries = name in ("dict", "sorted")
    expected = sizes.entries ** 2 / 2 if entries else sizes.array_bytes / 8
    if total != expected:
        raise SystemExit(f"{name}: the values add up to {total}, not {expected}")


def main():
    options = measure.parser(__doc__)
    options.add_argument("--contestant", choices=["nothing", *INPUTS])
    options.add_argument("--start", choices=["fork", "spawn"], default="fork")
    options = options.parse_args()
    if options.contestant:
        return measure_one(options)
    sizes = Sizes(options.quick)
    floor = {start: of_worker(options, "nothing", start)[1] for start in ("fork", "spawn")}
    rows = []
    for name, (_, title) in INPUTS.items():
        row = [title.format(array=f"{sizes.array_bytes // MIB} MiB", entries=f"{sizes.entries:,}")]
        for start in ("fork", "spawn"):
            total, private, _ = of_worker(options, name, start)
            check(sizes, name, total)
            row.append(f"{max(0.0, private - floor[start]):.0f} MiB")
        rows.append(row)
    print(f"\nBig read-only inputs, {options.workers} workers that have all looked at all of it: "
          f"private memory of a worker, beyond the\n{floor['fork']:.1f} MiB (fork) and "
          f"{floor['spawn']:.1f} MiB (spawn) of one that looks at nothing. {measure.machine()}\n"
          f"{measure.versions('numpy', 'pyarrow')}.")
    measure.print_table(["input", "fork", "spawn"], rows)


if __name__ == "__main__":
    sys.exit(main())
