"""A real Jupyter kernel, driven as a notebook drives it: a cell runs, is interrupted at about 30 %, and
runs again with mode="resume": only the missing tasks run. What workers print reaches the notebook."""
import queue
import re
import time

import pytest

from helpers import read_lines

pytestmark = pytest.mark.seconds(120)


class Notebook:
    """Cells of one kernel."""

    def __init__(self, folder):
        manager = pytest.importorskip("jupyter_client").KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(folder))
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def begin(self, source):
        self.request = self.client.execute(source)
        self.text = ""
        self.error = None
        self.data = []

    def look(self, seconds=0.1):
        """Takes what has come from the running cell; whether it is over."""
        try:
            message = self.client.get_iopub_msg(timeout=seconds)
        except queue.Empty:
            return False
        if message["parent_header"].get("msg_id") != self.request:
            return False
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.text += content["text"]
        elif kind == "error":
            self.error = content["ename"]
            self.text += "\n".join(content["traceback"])
        elif kind in ("execute_result", "display_data"):
            self.data.append(content["data"])
        return kind == "status" and content["execution_state"] == "idle"

    def cell(self, source, seconds=60):
        self.begin(source)
        end = time.monotonic() + seconds
        while not self.look():
            assert time.monotonic() < end, f"the cell hangs: {self.text}"
        assert self.error is None, self.text
        return self.text

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def notebook(folder, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    pytest.importorskip("ipykernel")
    opened = Notebook(folder)
    yield opened
    opened.close()


CELL = """
import time, facpool
SCALE = 2.0

def factor(date, code):
    with open("calls", "a") as file:
        file.write(f"{{code}}\\n")
    time.sleep({seconds})
    return [float(code) * SCALE]

tasks = [(20240102, f"{{i:04d}}") for i in range(100)]
result = facpool.run(factor, tasks, workers=2, backup="b", mode="resume", flush=0.05{more})
print("resumed", result.report.resumed, "ok", result.report.ok, result.report.start_method)
"""


def test_interrupted_at_30_percent_and_run_again(notebook):
    notebook.begin(CELL.format(seconds=0.1, more=""))
    interrupted = None
    end = time.monotonic() + 90
    while not notebook.look(0.01):
        if interrupted is None and len(read_lines("calls")) >= 30:
            interrupted = time.monotonic()
            notebook.manager.interrupt_kernel()
        assert time.monotonic() < end
    assert interrupted is not None and notebook.error == "KeyboardInterrupt", notebook.text
    kept = int(notebook.cell("print(len(facpool.query('b')))"))
    assert 25 <= kept <= 70  # workers go on until the interrupt has reached the kernel
    calls = len(read_lines("calls"))
    text = notebook.cell(CELL.format(seconds=0, more=""))
    assert re.search(rf"resumed {kept} ok {100 - kept} ", text), text
    assert len(read_lines("calls")) - calls == 100 - kept
    assert notebook.cell("print(result['f0'].tolist() == [i * 2.0 for i in range(100)])") == "True\n"


def test_what_workers_print_reaches_the_notebook(notebook):
    text = notebook.cell("""
import facpool
def prints(date, code):
    print("worker says", code)
    return [1.0]
facpool.run(prints, [(1, str(i)) for i in range(10)], workers=2)
print("over")
""")
    end = time.monotonic() + 60  # what comes through another pipe may come after the cell
    while text.count("worker says") < 10 and time.monotonic() < end:
        notebook.look()
        text = notebook.text
    assert sorted(line for line in text.splitlines() if line.startswith("worker")) == \
        sorted(f"worker says {i}" for i in range(10)), text


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_notebook_functions_and_both_methods(notebook, method):
    """By name, fork is what was asked for, though a kernel has threads."""
    text = notebook.cell(CELL.format(seconds=0, more=f", start_method={method!r}"))
    assert f"ok 100 {method}" in text


def test_default_in_a_notebook_is_safe(notebook):
    """A kernel has other threads."""
    assert "spawn" in notebook.cell(CELL.format(seconds=0, more=""))


def test_progress_and_results_show_in_a_notebook(notebook):
    text = notebook.cell(CELL.format(seconds=0.001, more=", progress=True"))
    assert "100" in text
    notebook.cell("result")
    assert notebook.data and "text/plain" in notebook.data[-1]


def test_magic_and_redefined_functions(notebook):
    """A function of a cell that was run again is the new one."""
    notebook.cell("import facpool\ndef f(d, c): return [1.0]\nr = facpool.run(f, [(1, 'a')])")
    assert notebook.cell("def f(d, c): return [2.0]\nr = facpool.run(f, [(1, 'a')])\n"
                         "print(r['f0'][0])") == "2.0\n"
