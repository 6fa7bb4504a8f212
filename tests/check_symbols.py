#!/usr/bin/env python3
"""Checks the names that the built libraries show to a linker.

    check_symbols.py <shared library> <static library> [the repository's root]

The shared library exports facpool_* and nothing else, and every function that the public headers
declare. The static one has global names facpool_* and fp_* only, so that it can be linked beside
anything. Prints each offence, and exits with 1 where there is one."""

import os
import pathlib
import re
import subprocess
import sys

# What sanitizers and coverage put beside a program's own names.
INSTRUMENTATION = re.compile(
    r"(__odr_asan|__asan_|__ubsan_|__tsan_|__msan_|__sancov_|__llvm_|__gcov|__prof|__start___|__stop___|"
    r"asan\.module|tsan\.module|msan\.module)")
DECLARATION = re.compile(r"\bFACPOOL_API\b[^;{]*?\b(\w+)\s*\(", re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def read_symbols(library, *options):
    """(name, type) of each global symbol that the library defines."""
    nm = os.environ.get("NM", "nm")
    text = subprocess.run([nm, *options, "--defined-only", library], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    symbols = set()
    for line in text.splitlines():
        fields = line.split()
        # "address type name"; other lines name the members of an archive.
        if len(fields) == 3 and len(fields[1]) == 1:
            symbols.add((fields[2].split("@")[0], fields[1]))
    return {(n, t) for n, t in symbols if not INSTRUMENTATION.match(n)}


def declared_functions(root):
    names = set()
    for header in sorted((root / "include" / "facpool").glob("*.h")):
        text = COMMENT.sub(" ", header.read_text(encoding="utf-8"))
        text = re.sub(r"^\s*#\s*define\s+FACPOOL_API\b.*$", "", text, flags=re.MULTILINE)
        names.update(DECLARATION.findall(text))
    return names


def check_shared(library, declared):
    symbols = read_symbols(library, "-D")
    # Absolute ones are the nodes of the version script.
    exported = {name for name, kind in symbols if kind != "A"}
    problems = [f"{library}: exports {name}, which is not facpool_*"
                for name in sorted(exported) if not name.startswith("facpool_")]
    problems += [f"{library}: does not export {name}, which a public header declares"
                 for name in sorted(declared - exported)]
    problems += [f"{library}: exports {name}, which no public header declares"
                 for name in sorted(exported - declared) if name.startswith("facpool_")]
    return problems


def check_static(library):
    symbols = read_symbols(library, "-g")
    if not symbols:
        return [f"{library}: no global symbols found"]
    return [f"{library}: has global {name}, which is neither facpool_* nor fp_*"
            for name, _ in sorted(symbols) if not name.startswith(("facpool_", "fp_"))]


def main():
    if len(sys.argv) not in (3, 4):
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parent.parent)
    declared = declared_functions(root)
    problems = [] if declared else [f"{root}: no public function found in the headers"]
    problems += check_shared(sys.argv[1], declared)
    problems += check_static(sys.argv[2])
    for problem in problems:
        print(problem)
    print(f"{len(declared)} public functions, {len(problems)} offences")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
