"""Puts bugs into copies of the sources and has the tests look for them. Each *.patch beside this file
is one bug in lib/, with lines before the diff that say what it breaks and which tests see it, the
likeliest first. A copy of the tree is built once, and those tests must pass on it; then, bug by bug,
the changed files are compiled anew and the tests are run until one fails, or takes many times as long
as it did. A bug that none of them sees is a gap in the tests: the exit status says so, as it does
where a patch no longer fits the sources.

    python3 tests/mutants/run.py FOLDER [NAME...]

FOLDER is for the copies, and is made anew. NAME: only these bugs. With FACPOOL_TEST_TIER=long each
bug meets all of its tests, and the table says which of them see it."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PARTS = ["include", "lib", "tests", "tools", "examples", "fuzz", "meson.build", "meson_options.txt"]
SLOTS = 2
WITH_ALL_TESTS = os.environ.get("FACPOOL_TEST_TIER") == "long"

# A bug may make a test hang. It may take so many times what it took without, and so many seconds at
# least.
PATIENCE_TIMES = 10
PATIENCE_LEAST = 10


class Stop(Exception):
    """Something that is no bug of ours to find: a patch, the build or the machine is at fault."""


# ------------------------------------------------------------------ patches


class Mutant:
    """A patch: "breaks: ...", "tests: ..." (names as meson has them), then a unified diff."""

    def __init__(self, path):
        self.name = path.stem
        head, _, diff = path.read_text().partition("\n--- ")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        self.breaks = fields.get("breaks", "")
        self.tests = fields.get("tests", "").split()
        self.changes = list(changes_of(path.name, diff))
        if not self.breaks or not self.tests or not self.changes:
            raise Stop(f"{path.name} lacks 'breaks: ', 'tests: ' or a diff")
        list(self.changed(ROOT))  # or it would be known only after minutes

    def changed(self, tree):
        """The files that it changes, as it has them: (path, text)."""
        for name, hunks in self.changes:
            text = (tree / name).read_text()
            for old, new in hunks:
                if text.count(old) != 1:
                    raise Stop(f"{self.name}.patch fits {name} at {text.count(old)} places, not one: "
                               f"have it say the same of today's sources\n{old}")
                text = text.replace(old, new)
            yield tree / name, text

    def apply(self, tree):
        """Returns what take_back needs."""
        changed = list(self.changed(tree))
        before = [(path, path.read_text()) for path, _ in changed]
        for path, text in changed:
            path.write_text(text)
        return before


def take_back(before):
    for path, text in before:
        path.write_text(text)


def changes_of(patch, diff):
    """(file, [(old lines, new lines)]). A hunk's place is where its old lines are, whatever its
    numbers say: code moves, and the bug goes with it."""
    for part in diff.split("\n--- "):
        lines = part.splitlines(keepends=True)
        name = lines[1].removeprefix("+++ b/").strip()
        if not name.startswith("lib/"):
            raise Stop(f"{patch} changes '{name}', which is no file of lib/")
        hunks = []
        for line in lines[2:]:
            if line.startswith("@@"):
                hunks.append(["", ""])
            elif line[0] in " -+":
                hunks[-1][0] += line[1:] if line[0] in " -" else ""
                hunks[-1][1] += line[1:] if line[0] in " +" else ""
        yield name, hunks


# ------------------------------------------------------------------ a copy of the tree


class Slot:
    """A tree and its build folder, side by side, so that a copy of the two works as they do."""

    def __init__(self, folder, tests=None):
        self.folder = folder
        self.tree = folder / "tree"
        self.build = folder / "build"
        self.tests = tests or {}

    def make(self):
        self.tree.mkdir(parents=True)
        for name in PARTS:
            if (ROOT / name).exists():
                subprocess.run(["cp", "-a", ROOT / name, self.tree / name], check=True)
        self.ask("meson", "setup", self.build, self.tree, "-Dbuildtype=plain", "-Dc_args=-O1 -w",
                 "-Ddefault_library=static", "-Dexamples=false", env={"CC": "gcc"})
        described = json.loads(self.ask("meson", "introspect", self.build, "--tests"))
        self.tests = {test["name"]: (test["cmd"], test["env"]) for test in described}

    def copy(self, folder):
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        moved = {name: ([word.replace(str(self.build), str(folder / "build")) for word in command], env)
                 for name, (command, env) in self.tests.items()}
        return Slot(folder, moved)

    def ask(self, *command, env=None):
        done = subprocess.run(command, cwd=self.folder, env=dict(os.environ, **(env or {})),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise Stop(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")
        return done.stdout

    def compile(self, tests, jobs):
        programs = {os.path.relpath(word, self.build) for test in tests for word in self.tests[test][0]
                    if word.startswith(str(self.build))}
        self.ask("ninja", "-C", self.build, f"-j{jobs}", *sorted(programs))

    def run(self, test, seconds):
        """Runs a test until it ends, or prints that something failed: how it failed ("" where it
        passed), the seconds it took, what it printed."""
        command, env = self.tests[test]
        began = time.monotonic()
        with subprocess.Popen(command, cwd=self.build, env=dict(os.environ, **env), text=True,
                              errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, start_new_session=True) as process:
            late = threading.Event()
            watch = threading.Timer(seconds, lambda: (late.set(), end_group(process)))
            watch.start()
            printed = []
            for line in process.stdout:
                printed.append(line)
                if line.startswith("FAIL "):
                    break
            failed = bool(printed) and printed[-1].startswith("FAIL ")
            if failed:
                end_group(process)
            status = process.wait()
            watch.cancel()
            end_group(process)
        how = "hangs" if late.is_set() else "fails" if failed or status > 0 else ""
        if status < 0 and not how:
            how = signal.Signals(-status).name
        return how, time.monotonic() - began, "".join(printed)


def end_group(process):
    """The program, and what it left running; workers of the library end with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# ------------------------------------------------------------------ the search


class Search:
    def __init__(self, folder, mutants):
        self.folder = folder
        self.waiting = list(mutants)
        self.first = Slot(folder / "0")
        self.patience = {}
        self.n_seen = 0
        self.lock = threading.Lock()

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def in_slots(self, work):
        """Runs work(slot) in each of them, and raises what one of them raised."""
        raised = []

        def guarded(slot):
            try:
                work(slot)
            except Stop as why:
                raised.append(why)

        threads = [threading.Thread(target=guarded, args=(slot,)) for slot in self.slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if raised:
            raise raised[0]

    def prepare(self):
        """The tree as it is: every test that a bug names must pass on it."""
        tests = sorted({test for mutant in self.waiting for test in mutant.tests})
        self.first.make()
        unknown = [test for test in tests if test not in self.first.tests]
        if unknown:
            raise Stop(f"no such tests: {' '.join(unknown)}")
        self.first.compile(tests, SLOTS)
        self.slots = [self.first] + [self.first.copy(self.folder / str(i)) for i in range(1, SLOTS)]
        self.in_slots(lambda slot: self.prove(slot, tests))

    def prove(self, slot, tests):
        while True:
            with self.lock:
                if not tests:
                    return
                test = tests.pop()
            how, took, output = slot.run(test, 600)
            if how:
                raise Stop(f"the test {test} {how} without any bug:\n{output[-4000:]}")
            self.patience[test] = max(PATIENCE_LEAST, PATIENCE_TIMES * took)

    def search(self):
        self.in_slots(self.work_off)

    def work_off(self, slot):
        while True:
            with self.lock:
                if not self.waiting:
                    return
                mutant = self.waiting.pop(0)
            before = mutant.apply(slot.tree)
            try:
                self.look_for(slot, mutant)
            finally:
                take_back(before)

    def look_for(self, slot, mutant):
        began = time.monotonic()
        seen_by = []
        for test in mutant.tests:
            slot.compile([test], 1)
            how, _, _ = slot.run(test, self.patience[test])
            if how:
                seen_by.append(f"{test} {how}")
            if how and not WITH_ALL_TESTS:
                break
        took = time.monotonic() - began
        self.say(f"{'ok  ' if seen_by else 'FAIL'} {mutant.name:<32} {took:5.1f} s  "
                 f"{', '.join(seen_by) or 'NO TEST SEES IT':<22}  {mutant.breaks}")
        with self.lock:
            self.n_seen += bool(seen_by)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    names = sys.argv[2:]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ.setdefault("FACPOOL_TEST_SEED", "1")
    os.environ["FACPOOL_TEST_TIER"] = "small"
    began = time.monotonic()
    try:
        mutants = [Mutant(path) for path in sorted(HERE.glob("*.patch"))
                   if not names or path.stem in names]
        if not mutants or len(mutants) < len(names):
            raise Stop("there is no such bug")
        n = len(mutants)
        search = Search(folder, mutants)
        search.prepare()
        search.say(f"{n} bugs; the tests pass without them ({time.monotonic() - began:.0f} s)")
        search.search()
    except Stop as why:
        sys.exit(f"FAIL mutants: {why}")
    print(f"mutants: {search.n_seen} of {n} seen, {time.monotonic() - began:.0f} s")
    shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if search.n_seen == n else 1)


if __name__ == "__main__":
    main()
