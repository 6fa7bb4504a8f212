"""Every Python block of guide.md, run from top to bottom as the reader would: one
program a page, in an empty folder. What a line prints stands in its comment, "..." for whatever."""

import fnmatch
import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
PAGES = ["guide.md"]
PRINTED = re.compile(r"\s*print\(.*\)\s+# (.*)")


def program_of(page):
    """The page with everything but its Python blocks blanked: line numbers stay."""
    lines = []
    inside = False
    for line in page.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


def test_only_python_blocks_are_taken_and_lines_stay():
    page = "words\n```python\nx = 1\n```\n```sh\nls\n```\n"
    assert program_of(page) == "\n\nx = 1\n\n\n\n\n"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_runs_and_prints_what_it_says(name, tmp_path):
    program = program_of((PACKAGE / name).read_text(encoding="utf-8"))
    path = tmp_path / name.replace(".md", ".py")
    path.write_text(program, encoding="utf-8")
    expected = [found.group(1) for found in map(PRINTED.fullmatch, program.splitlines()) if found]
    assert expected

    done = subprocess.run([sys.executable, path.name], cwd=tmp_path, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)

    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    for line, pattern in zip(printed, expected):
        assert line == pattern or fnmatch.fnmatchcase(line, as_pattern(pattern))
    assert len(printed) == len(expected)


def as_pattern(text):
    """What fnmatch takes, where only "..." stands for anything."""
    return re.sub(r"([*?[])", r"[\1]", text).replace("...", "*")
