#!/usr/bin/env python3
"""Checks that the library's sources keep to their floors: includes go only downward, and what belongs
to one place (OpenMP, the platform, memory, the process itself) is touched nowhere else.

    check_layers.py [the repository's root]

Prints each offence as file:line, and exits with 1 where there is one."""

import pathlib
import re
import sys

FLOORS = {
    "base": 0, "os": 1, "codec": 2, "model": 3, "store": 4, "run": 5, "query": 5, "api": 6,
}

PLATFORM_HEADERS = re.compile(
    r"(sys|linux|mach|netinet|arpa)/|(unistd|fcntl|pthread|sched|signal|poll|termios|dlfcn|spawn|"
    r"semaphore|dirent|pwd|grp|windows|io)\.h$")
PLATFORM_MACROS = re.compile(
    r"\b(__linux__|__linux|__APPLE__|__MACH__|_WIN32|_WIN64|WIN32|_MSC_VER|__unix__|__FreeBSD__|"
    r"__NetBSD__|__OpenBSD__|__ANDROID__|__CYGWIN__|__GLIBC__|F_OFD_SETLK|MADV_HUGEPAGE|"
    r"RENAME_NOREPLACE)\b")
OPENMP = re.compile(r"#\s*pragma\s+omp\b|_Pragma\s*\(\s*\"\s*omp\b|#\s*include\s*<omp\.h>")

# (pattern, why, files it may be in)
CALLS = [
    (re.compile(r"(?<![\w.>])(printf|vprintf|puts|putchar|perror)\s*\("),
     "the library never prints", ()),
    (re.compile(r"\b(stdout|stderr)\b"), "the library never prints", ("lib/os/process.c",)), # flushes them
    (re.compile(r"(?<![\w.>])(exit|_exit|_Exit|quick_exit|abort|atexit)\s*\("),
     "the library never ends the process", ("lib/os/process.c",)),
    (re.compile(r"\bfp_leave_process\s*\("), "only processes that the library forked are its to end",
     ("lib/os/process.c", "lib/os/process.h", "lib/run/process_helper.c", "lib/run/process_pool.c",
      "lib/run/process_worker.c")),
    (re.compile(r"(?<![\w.>])v?fork\s*\("), "processes are forked in lib/os/process.c",
     ("lib/os/process.c",)),
    (re.compile(r"(?<![\w.>])(signal|sigaction)\s*\("),
     "the library installs no signal handler", ("lib/os/process.c",)), # resets those of a child
    (re.compile(r"(?<![\w.>])setlocale\s*\("), "the library changes no global setting", ()),
    (re.compile(r"\bomp_set_\w+\s*\("), "the library changes no OpenMP setting", ()),
    (re.compile(r"(?<![\w.>])(malloc|calloc|realloc|aligned_alloc|posix_memalign|free|strdup|"
                r"strndup)\s*\("),
     "memory comes from base/alloc.h", ("lib/base/alloc.c",)),
]

COMMENT_OR_TEXT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
                             re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(if|ifdef|ifndef|elif)\b")


def without_comments(text, keep_texts):
    """The source with comments blanked, and texts too where they are not kept; lines stay lines."""
    def blank(match):
        part = match.group(0)
        if part[0] in "\"'" and keep_texts:
            return part
        if part[0] == '"':
            return '""'
        if part[0] == "'":
            return "' '"
        return "\n" * part.count("\n") or " "
    return COMMENT_OR_TEXT.sub(blank, text)


def check_include(room, quote, target):
    if quote == "<":
        if PLATFORM_HEADERS.match(target) and room != "os":
            return f"<{target}> belongs to lib/os"
        return None
    if target.startswith("facpool/"):
        return None
    their_room = target.split("/")[0]
    if "/" not in target or their_room not in FLOORS:
        return f'"{target}" names no room: write "room/file.h"'
    if their_room != room and FLOORS[their_room] >= FLOORS[room]:
        return (f'"{target}" is on floor {FLOORS[their_room]}, '
                f"lib/{room} on floor {FLOORS[room]}: includes go only downward")
    return None


def check_source(name, room, text):
    """The offences in one file, as (line, what)."""
    offences = []
    with_texts = without_comments(text, True).split("\n")
    code_only = without_comments(text, False).split("\n")
    for number, (line, code) in enumerate(zip(with_texts, code_only), 1):
        include = INCLUDE.match(line)
        if include:
            offence = check_include(room, *include.groups())
            if offence:
                offences.append((number, offence))
        if OPENMP.search(line) and name != "lib/run/exec_omp.c":
            offences.append((number, "OpenMP belongs to lib/run/exec_omp.c"))
        if CONDITION.match(line) and PLATFORM_MACROS.search(line) and room != "os":
            offences.append((number, "platform conditions belong to lib/os"))
        for pattern, why, allowed in CALLS:
            call = pattern.search(code)
            if call and name not in allowed:
                offences.append((number, f"{call.group(0).strip()} - {why}"))
    return offences


# What each rule must catch and must let pass, so that a rule that catches nothing is noticed.
EXAMPLES = [
    ("base", '#include "os/os.h"', True),
    ("store", '#include "model/batch.h"', False),
    ("run", '#include "query/filter.h"', True),
    ("query", '#include "run/job.h"', True),
    ("run", '#include "job.h"', True),
    ("api", '#include "run/job.h"', False),
    ("store", "#include <unistd.h>", True),
    ("store", "#include <sys/stat.h>", True),
    ("os", "#include <sys/stat.h>", False),
    ("run", "#include <omp.h>", True),
    ("run", "  #pragma omp parallel", True),
    ("run", "/* #pragma omp parallel */", False),
    ("codec", "#ifdef __linux__", True),
    ("os", "#if defined(__APPLE__)", False),
    ("run", 'printf("x");', True),
    ("run", 'snprintf(text, 3, "printf(");', False),
    ("run", 'fprintf(stderr, "x");', True),
    ("run", 'fprintf(console->stream, "x");', False),
    ("run", "abort();", True),
    ("run", "worker_exit(state);", False),
    ("store", "pid = fork();", True),
    ("store", "fp_leave_process(1);", True),
    ("run", "fp_fork(err);", False),
    ("run", "omp_set_num_threads(2);", True),
    ("model", "free(memory);", True),
    ("model", "a->free(a->ctx, memory);", False),
    ("model", "fp_free(a, memory); facpool_tasks_free(tasks);", False),
    ("model", "/* free(memory) */ char c = '\"'; /* \" */", False),
    ("model", "int (*free)(void);", False),
]


def check_rules():
    return [f"check_layers.py: rule fails on lib/{room}: {text}"
            for room, text, wrong in EXAMPLES
            if bool(check_source(f"lib/{room}/example.c", room, text)) != wrong]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems = check_rules()
    sources = sorted(p for p in (root / "lib").rglob("*") if p.suffix in (".c", ".h"))
    if not sources:
        problems.append(f"{root / 'lib'}: no sources found")
    for path in sources:
        name = path.relative_to(root).as_posix()
        room = name.split("/")[1]
        if room not in FLOORS or name.count("/") != 2:
            problems.append(f"{name}:1: lib/{room} is no room of the house")
            continue
        for number, offence in check_source(name, room, path.read_text(encoding="utf-8")):
            problems.append(f"{name}:{number}: {offence}")
    for problem in problems:
        print(problem)
    print(f"{len(sources)} sources, {len(problems)} offences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
