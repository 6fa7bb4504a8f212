"""Writes tests/uncovered.md anew from what a coverage build has counted (coverage.sh made it):

    python3 tests/coverage_reasons.py BUILD-FOLDER >tests/uncovered.md

The reason of each line and branch that was not reached is told by rules over its text and its place.
A rule can be wrong about a line: what is new in the list is to be read, and either tested, or found to
be under the right reason."""

import collections
import pathlib
import re
import sys

import coverage

HEAD = """# What the tests do not reach

Lines and branches of `lib/` that no test reaches in a coverage run (`sh tests/coverage.sh`), by reason
and function. A function may stand under several reasons. `coverage.py` compares with what it measures,
and names what is missed beyond this list; `coverage_reasons.py` writes the list.

Not counted are asserts (that build has none), and what processes did that were killed before they could
write their counts down.
"""

# What the text of a line tells of it.
WORDS = {
    "machine": r"little_endian|word_swap|strerror|F_OFD|getrandom|big-endian",
    "size": r"FP_MOST_|UINT32_MAX|SIZE_MAX|INT32_MAX|INT64_MAX|UINT16_MAX|>= FP_CODE_NONE"
            r"|fail_index_size|wrapped after",
    "memory": r"alloc|nomem|NOMEM|strdup|_grow|texts_add|buffer_(put|reserve|pad)|intern|out_of_memory"
              r"|no_memory|!\w+(->\w+)* \|\| !\w+"
              r"|if \(!(made|copy|memory|view|block|rows|source|reader|state|sink|log|opened|found|held"
              r"|keys|room|end|at|to|start|flat|codes|rank|info|b|s|m|l|w|h|p|run|job|set|tasks|encoder"
              r"|tokener|lengths|order|taken|names|pointers|path|ids|sources|first)\)",
    "passed": r"\brc\b|\bcode\b|\bfailure\b|\blooked\b",
    "system": r"errno|EINTR|fstat|fcntl|sig|E_IO|E_SYSTEM|pthread|sched_|fp_file_(read|write)\(|poll"
              r"|close\(|open\(|sync|lock",
    "time": r"atomic|_ns\b|clock",
}
OF_MACHINES = {"fp_word_swap", "error_text_of_int", "check_machine", "fp_words_load", "fp_words_store",
               "random_from_device"}
BUSY_FILES = r"run/(exec_process|process_\w+|claim|exec_omp|writer|progress|run)\.[ch]|store/arrow_file_view"
READ_FILES = r"store/|codec/(arrow|page|json|texts)"

REASONS = {
    "memory": ("Memory that runs out where no test has it run out",
               "Each allocation of runs, resumes, questions, conversions and worker processes fails "
               "once, in test_alloc_fail, test_convert_fail and test_process_fail. These stand in calls "
               "that those scenarios do not make, or lie behind one that always takes enough for two."),
    "passed": ("The way of an error that was met elsewhere",
               "`if (rc)` and `!rc &&` behind calls that fail in tests, though not for these callers: "
               "the same error a step earlier or later takes the same way."),
    "system": ("Failures of the system that no test brings about",
               "Calls that fail in a way for which the kernel of the tests has no cause, and at which "
               "no test has them fail by force."),
    "machine": ("Other machines and systems",
                "Big-endian processors; systems without locks of open files, without getrandom, or with "
                "the other strerror_r."),
    "size": ("Sizes that take gigabytes to reach",
             "Blocks beyond 1 GiB, indexes beyond 4 GiB, 2^32 codes or bytes of text, products beyond 64 "
             "bits: the check is there, the file or the memory that fails it is not made."),
    "lies": ("What a file could say whose checksums are right",
             "Only a hostile writer makes such files. The fuzz targets make them, with mended checksums; "
             "their corpora, which run as tests, and test_front, test_arrow_header, test_store_damage "
             "and test_hostile do not hold one for every field."),
    "time": ("Two things at one moment",
             "Reached now and then, where threads, processes or a clock happen to meet: counted in some "
             "runs and not in others. test_store_threads, test_stress, test_process_storm and the model "
             "of the process executor are about these."),
    "parts": ("Parts of conditions, limits and defaults",
              "The condition was seen true and false, but not each part of it decided alone; or it is a "
              "limit that callers keep, or the default of a switch over all values."),
}


def reason_of(file, function, line):
    if function in OF_MACHINES:
        return "machine"
    for name in ("machine", "size", "memory", "passed"):
        if re.search(WORDS[name], line):
            return name
    if file.startswith("os/") or re.search(WORDS["system"], line):
        return "system"
    if re.match(BUSY_FILES, file) or re.search(WORDS["time"], line):
        return "time"
    return "lies" if re.match(READ_FILES, file) else "parts"


def sort_out(files):
    """By reason: (file, function): [lines, branches]."""
    found = {name: collections.OrderedDict() for name in REASONS}
    for file in sorted(files):
        text = (coverage.LIB / file).read_text().splitlines()
        for function, (lines, branches) in sorted(files[file].missed().items()):
            decided = None  # by the branch before: a line goes with it
            for number, kind in sorted([(n, 0) for n in branches] + [(n, 1) for n in lines]):
                reason = reason_of(file, function, text[number - 1])
                if kind == 0:
                    decided = reason
                elif decided and reason in ("lies", "parts"):
                    reason = decided
                found[reason].setdefault((file, function), [0, 0])[1 - kind] += 1
    return found


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: coverage_reasons.py BUILD-FOLDER")
    found = sort_out(coverage.measure(pathlib.Path(sys.argv[1]).resolve()))
    print(HEAD)
    for name, (title, text) in REASONS.items():
        entries = found[name]
        if not entries:
            continue
        n_lines, n_branches = (sum(both[i] for both in entries.values()) for i in (0, 1))
        print(f"## {title}\n\n{text}\nHere: {n_lines} lines, {n_branches} branches.\n")
        print("| file | function | lines | branches |\n| --- | --- | --- | --- |")
        for (file, function), (lines, branches) in entries.items():
            print(f"| `{file}` | `{function}` | {lines} | {branches} |")
        print()


if __name__ == "__main__":
    main()
