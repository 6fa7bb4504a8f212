"""What all tests of the package share: a folder, ways to run, the watch over what a test leaves behind,
and the count that tests/run.sh adds up. It imports no library that starts threads.

A test that can't run is skipped with its reason. Where CI=true such a skip is a failure, but for tests
marked `may_skip`, which need what not every machine has."""
import gc
import os
import signal

import pytest

import helpers

IN_CI = os.environ.get("CI") == "true"


def pytest_configure(config):
    helpers.adopt_orphans()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as the shell starts a job in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "may_skip: may be skipped in continuous integration too")
    config.addinivalue_line("markers", "seconds(n): may take so long")


# ------------------------------------------------------------------ what becomes of skips

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and IN_CI and item.get_closest_marker("may_skip") is None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure where CI=true: {reason}"


def pytest_terminal_summary(terminalreporter):
    counts = {name: len(terminalreporter.stats.get(name, [])) for name in
              ("passed", "failed", "error", "skipped")}
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"SKIP: {report.nodeid.split('/')[-1]}: {report.longrepr[2]}")
    terminalreporter.write_line(f"proofs: {counts['passed']} passed, "
                                f"{counts['failed'] + counts['error']} failed, "
                                f"{counts['skipped']} skipped")


# ------------------------------------------------------------------ the watch

class TooLong(BaseException):
    """Not an Exception, so that no test or library takes it for one of its own."""


@pytest.fixture(autouse=True)
def time_limit(request):
    """Interrupts a test that hangs, on its own thread: a watching thread would make forks unsafe."""
    marker = request.node.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else 120

    def stop(number, frame):
        raise TooLong(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_processes_left():
    """Every process that a test started, and those that these started, are gone when it ends:
    buried by who started them, as long as that lives."""
    gc.collect()
    before = set(helpers.processes_below_us())
    yield
    left = helpers.wait_until(lambda: not set(helpers.processes_below_us()) - before)
    if not left:
        stray = set(helpers.processes_below_us()) - before
        what = [helpers.command_of(pid) for pid in stray]
        for pid in stray:
            os.kill(pid, signal.SIGKILL)
        pytest.fail(f"processes left behind: {what}")


# ------------------------------------------------------------------ what tests are given

@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["fork", "spawn", "serial", "threads"])
def how(request):
    """Options of each way to run a Python function."""
    return helpers.WAYS[request.param]


@pytest.fixture(params=["fork", "spawn"])
def processes(request):
    """Options of each way to start worker processes."""
    return helpers.WAYS[request.param]


@pytest.fixture(params=["json", "binary", "memory_map"])
def storage_format(request):
    return request.param


@pytest.fixture(scope="session")
def make_backup():
    return program("FACPOOL_MAKE_BACKUP")


@pytest.fixture(scope="session")
def tool():
    return program("FACPOOL_TOOL")


def program(name):
    path = os.environ.get(name)
    if not path:
        pytest.skip(f"${name} is not given (tests/run.sh gives it)")
    return path
