"""What tests of the package do over and over: task lists, expected rows, Python programs run in new
processes, a look at the processes there are. Worker processes import it too: it imports nothing heavy."""
import ctypes
import os
import subprocess
import sys
import textwrap
import time

WAYS = {
    "fork": {"executor": "process", "start_method": "fork", "workers": 2},
    "spawn": {"executor": "process", "start_method": "spawn", "workers": 2},
    "serial": {"executor": "serial"},
    "threads": {"executor": "threads", "workers": 2},
}

# ------------------------------------------------------------------ tasks and rows


def some_dates(n):
    """Trading days as ints: 28 to a month."""
    return [20240101 + i // 28 * 100 + i % 28 for i in range(n)]


def some_codes(n):
    """Codes with leading zeros."""
    return [f"{i * 7:06d}" for i in range(n)]


def some_pairs(n_dates, n_codes):
    return [(date, code) for date in some_dates(n_dates) for code in some_codes(n_codes)]


def three_factors(date, code):
    """What most tests run."""
    return [date * 0.5, float(int(code)), date % 97 + int(code) / 3]


def three_rows(pairs):
    """What run_pools makes of it."""
    return [[date, code, *three_factors(date, code)] for date, code in pairs]


# ------------------------------------------------------------------ other processes


def python(text, *arguments, cwd=None, timeout=60, expect=0, **options):
    """Runs a program in a new interpreter, as it stands in a file, and gives what it printed."""
    path = os.path.join(str(cwd or os.getcwd()), f"program_{time.monotonic_ns()}.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(textwrap.dedent(text))
    done = subprocess.run([sys.executable, path, *map(str, arguments)], cwd=cwd, timeout=timeout,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **options)
    if expect is not None:
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


# The limit, in seconds, of calls that are not to meet it: a busy machine may stand still for a second, and
# then everything on it is late.
PATIENCE = 3


def wait_until(condition, seconds=30):
    """Looks again and again; whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def read_lines(path):
    """Lines of a file that other processes append to, whole lines each."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def append_line(path, text):
    """One write, so that lines of several processes do not mix."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{text}\n".encode())
    finally:
        os.close(file)


def stat_fields(pid):
    """Fields of /proc/PID/stat behind the name: state, parent, group, session; None: gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[2]), int(fields[3])


def all_processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid):
    """All processes below one."""
    parents = {}
    for each in all_processes():
        fields = stat_fields(each)
        if fields:
            parents.setdefault(fields[1], []).append(each)
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def adopt_orphans():
    """From now on what descendants leave behind becomes our child, and so stays in sight."""
    PR_SET_CHILD_SUBREAPER = 36
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def processes_below_us():
    """All descendants; adopted ones that are dead are buried."""
    found = []
    for pid in descendants(os.getpid()):
        fields = stat_fields(pid)
        if fields and fields[0] == "Z" and fields[1] == os.getpid():
            os.waitpid(pid, os.WNOHANG)
        elif fields:
            found.append(pid)
    return found


def is_alive(pid):
    fields = stat_fields(pid)
    return fields is not None and fields[0] not in "ZX"


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"{pid}: {file.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return f"{pid}: gone"


def memory_kib(pid, field="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise KeyError(field)
