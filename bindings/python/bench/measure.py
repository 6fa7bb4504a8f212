"""The clock, the medians and the tables of the benchmarks: see run.sh.

Used by every bench_*.py; knows nothing of what is measured. Contestants take turns, round by round,
so that a slow minute of the machine meets all of them; a ratio is the median of the rounds' ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

now = time.perf_counter


def say(text):
    """A note on what is being measured, to stderr."""
    print(f"# {text}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------ series


class Series(list):
    """What one contestant took, a value a round."""

    @property
    def median(self):
        return statistics.median(self)


def ratio(ours, theirs):
    """The median over the rounds of theirs / ours: how many times faster ours is."""
    return statistics.median(their / our for our, their in zip(ours, theirs))


def in_turns(contestants, rounds):
    """Calls each contestant once a round; they give seconds. Returns a Series for each."""
    taken = {name: Series() for name in contestants}
    for number in range(rounds):
        for name, contestant in contestants.items():
            seconds = contestant()
            taken[name].append(seconds)
            say(f"round {number + 1} of {rounds}: {name}: {seconds:.3f} s")
    return taken


# ------------------------------------------------------------------ cells and tables


def number(value):
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def cell(values, unit):
    """'median unit (least to most)'."""
    text = f"{number(statistics.median(values))} {unit}"
    if len(values) > 1:
        text += f" ({number(min(values))} to {number(max(values))})"
    return text


def rate_cell(seconds, n):
    """The same of millions of tasks a second."""
    return cell([n / second / 1e6 for second in seconds], "M/s")


def print_table(heads, rows):
    print("\n| " + " | ".join(heads) + " |")
    print("| " + " | ".join("---" for _ in heads) + " |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row) + " |")
    sys.stdout.flush()


def verdict(met):
    return "yes" if met else "NO"


# ------------------------------------------------------------------ the machine


def processor():
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def machine():
    """One sentence saying where figures were measured, and with what."""
    return (f"Measured {time.strftime('%Y-%m-%d')} on {processor()}, {os.cpu_count()} processors, "
            f"Linux {platform.release()}, Python {platform.python_version()}.")


def versions(*names):
    """'numpy 2.4.6, joblib 1.6.0' of what is installed."""
    from importlib import metadata

    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


# ------------------------------------------------------------------ a process of its own


def measured_apart(program, *arguments):
    """Runs `program` with `arguments` in a fresh interpreter and returns what it prints, one line of
    JSON: so that no contestant meets the threads, the memory or the imports of another."""
    process = subprocess.Popen([sys.executable, program, *map(str, arguments)],
                               stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if process.wait() != 0 or not line:
        raise SystemExit(f"{os.path.basename(program)} {' '.join(map(str, arguments))}: exit status "
                         f"{process.returncode}")
    return json.loads(line)


# ------------------------------------------------------------------ options


def parser(text):
    """The options that all programs have: --dir, --quick, --rounds, --workers."""
    options = argparse.ArgumentParser(description=text.splitlines()[0])
    options.add_argument("--dir", default=tempfile.gettempdir(),
                         help="where files go: on a real disk, with some GB to spare")
    options.add_argument("--quick", action="store_true",
                         help="smaller sizes, fewer rounds: to see that it works, not how fast")
    options.add_argument("--rounds", type=int, help="how often each contestant is measured")
    options.add_argument("--workers", type=int, default=2)
    return options


def rounds_of(options, usual):
    return options.rounds or (1 if options.quick else usual)
