"""The program that the README shows is the one that is built and run: check_readme.py ROOT."""
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
program = (root / "examples/quickstart.c").read_text(encoding="utf-8").strip()
readme = (root / "README.md").read_text(encoding="utf-8")
if program not in readme:
    sys.exit("README.md does not show examples/quickstart.c as it is")
if len(program.splitlines()) >= 40:
    sys.exit("examples/quickstart.c is no longer under 40 lines")
print("README.md shows examples/quickstart.c as it is")
