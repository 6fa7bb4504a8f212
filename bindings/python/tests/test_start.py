"""How worker processes are started: by fork where that is safe, else as fresh processes; what of the
host they see; and that any function can be run, wherever it was written."""
import os
import sys
import threading

import pytest

import facpool
from helpers import python, some_pairs

PAIRS = some_pairs(4, 5)

ON_A_THREAD = """
    import threading
    ending = threading.Event()
    other = threading.Thread(target=ending.wait)
    other.start()
"""


# ------------------------------------------------------------------ which method

def test_default_is_fork_in_a_process_of_one_thread(folder):
    done = python("""
        import facpool
        result = facpool.run(lambda d, c: [1.0], [(1, "a")])
        print(result.report.start_method, result.report.executor)
    """, cwd=folder)
    assert done.stdout.split() == ["fork", "process"]


def test_default_is_spawn_beside_other_threads(folder):
    done = python(ON_A_THREAD + """
    import facpool
    result = facpool.run(lambda d, c: [1.0], [(1, "a")])
    print(result.report.start_method)
    ending.set()
    """, cwd=folder)
    assert done.stdout.split() == ["spawn"]


def test_fork_by_name_beside_other_threads_is_what_was_asked_for(folder):
    done = python(ON_A_THREAD + """
    import facpool
    result = facpool.run(lambda d, c: [1.0], [(1, "a")], start_method="fork")
    print(result.report.start_method, result.report.ok)
    ending.set()
    """, cwd=folder)
    assert done.stdout.split() == ["fork", "1"]


def test_default_is_safe_after_libraries_started_threads_of_their_own(folder):
    """polars locks up in a forked child: the default must see its threads."""
    pytest.importorskip("polars")
    done = python("""
        import polars, facpool
        frame = polars.DataFrame({"x": range(100_000)})
        assert frame.select(polars.col("x").sum()).item() == 4999950000

        def sums(date, code):
            return [frame.select(polars.col("x").sum()).item()]

        result = facpool.run(sums, [(1, str(i)) for i in range(4)])
        print(result.report.start_method, result["f0"].tolist())
    """, cwd=folder)
    assert done.stdout.strip() == "spawn [4999950000.0, 4999950000.0, 4999950000.0, 4999950000.0]"


def test_report_says_which_method(processes):
    result = facpool.run(lambda d, c: [1.0], PAIRS, **processes)
    assert result.report.start_method == processes["start_method"]


def test_fork_from_a_thread_that_is_not_the_main_one():
    results = []
    thread = threading.Thread(target=lambda: results.append(
        facpool.run(lambda d, c: [1.0], PAIRS, executor="process", start_method="fork")))
    thread.start()
    thread.join()
    assert results[0].report.ok == 20


# ------------------------------------------------------------------ any function

def test_lambda(processes):
    assert facpool.run(lambda d, c: [d + 1.0], PAIRS, **processes).report.ok == 20


def test_closure(processes):
    table = {code: float(code) for _, code in PAIRS}

    def outer(scale):
        def inner(date, code):
            return [table[code] * scale]
        return inner

    result = facpool.run(outer(3), PAIRS, **processes)
    assert result["f0"].tolist() == [float(code) * 3 for _, code in PAIRS]


def test_function_of_a_class_made_in_a_function(processes):
    class Factor:
        def __init__(self, window):
            self.window = window

        def __call__(self, date, code):
            return {"ma": float(self.window), "next": self.helper(code)}

        @staticmethod
        def helper(code):
            return float(code) + 1

    result = facpool.run(Factor(5), PAIRS, **processes)
    assert result["ma"].tolist() == [5.0] * 20


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_main_without_a_guard(folder, method):
    """The script is not run again in the workers."""
    done = python(f"""
        import facpool
        print("top level")

        def helper(code):
            return float(code)

        def factor(date, code):
            return [helper(code) + OFFSET]

        OFFSET = 100
        result = facpool.run(factor, [(1, str(i)) for i in range(5)], start_method={method!r})
        print(result["f0"].tolist())
    """, cwd=folder)
    assert done.stdout.splitlines() == ["top level", "[100.0, 101.0, 102.0, 103.0, 104.0]"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_program_from_standard_input_and_from_c(folder, method):
    """Where there is no file that could be imported."""
    import subprocess
    text = (f"import facpool\ndef f(d, c): return [d * 2.0]\n"
            f"print(facpool.run(f, [(4, 'a')], start_method={method!r})['f0'].tolist())\n")
    for arguments, given in (([sys.executable, "-"], text), ([sys.executable, "-c", text], "")):
        done = subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=60,
                              check=True)
        assert done.stdout == "[8.0]\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_modules_beside_the_script_are_found(folder, method):
    (folder / "indicators").mkdir()
    (folder / "indicators" / "__init__.py").write_text("")
    (folder / "indicators" / "ma.py").write_text("def ma(code):\n    return float(code) / 2\n")
    done = python(f"""
        import sys
        import facpool
        from indicators.ma import ma

        def factor(date, code):
            return [ma(code)]

        print(facpool.run(factor, [(1, "4")], start_method={method!r})["f0"][0])
    """, cwd=folder)
    assert done.stdout == "2.0\n"


def test_changes_of_path_environment_and_folder_reach_the_workers(folder):
    """As they are when the run starts, not when Python did."""
    for name in ("lib", "work"):
        (folder / name).mkdir()
    (folder / "lib" / "only_here.py").write_text("VALUE = 7.0\n")
    done = python("""
        import os, sys
        sys.path.insert(0, os.path.abspath("lib"))
        os.environ["FACTOR_SCALE"] = "3"
        os.chdir("work")
        import facpool

        def factor(date, code):
            import only_here
            return [only_here.VALUE * float(os.environ["FACTOR_SCALE"]), os.getcwd().endswith("work") + 0]

        result = facpool.run(factor, [(1, "a")], start_method="spawn")
        result.raise_if_failed()
        print(result["f0"][0], result["f1"][0])
    """, cwd=folder)
    assert done.stdout == "21.0 1.0\n"


def test_a_function_that_cannot_be_sent_is_refused_clearly(folder):
    lock = threading.Lock()

    def holds_a_lock(date, code):
        with lock:
            return [1.0]

    with pytest.raises((TypeError, ValueError, facpool.Error), match="(?i)lock|pickle"):
        facpool.run(holds_a_lock, PAIRS, factors=1, executor="process", start_method="spawn")
    result = facpool.run(holds_a_lock, PAIRS, factors=1, executor="process", start_method="fork")
    assert result.report.ok == 20


def test_where_neither_method_will_do_the_message_says_why_and_what_would(folder):
    """Beside other threads by default a fork is refused; and what can't be sent can't be spawned."""
    done = python(ON_A_THREAD + """
    import facpool
    lock = threading.Lock()

    def holds_a_lock(date, code):
        with lock:
            return [1.0]

    try:
        facpool.run(holds_a_lock, [(1, "a")], factors=1)
    except TypeError as error:
        print(error)
    finally:
        ending.set()
    """, cwd=folder)
    for words in ("lock", "1 other thread", "start_method='fork'"):
        assert words in done.stdout, done.stdout


def test_the_function_travels_once(folder):
    """Not with every task: unpickling it is counted."""
    class Heavy:
        def __init__(self):
            self.data = list(range(1000))

        def __setstate__(self, state):
            from helpers import append_line
            append_line(state["log"], "")
            self.__dict__.update(state)

        def __call__(self, date, code):
            return [float(len(self.data))]

    heavy = Heavy()
    heavy.log = str(folder / "log")
    result = facpool.run(heavy, some_pairs(100, 50), factors=1, executor="process",
                         start_method="spawn", workers=2)
    assert result.report.ok == 5000
    with open(heavy.log, encoding="utf-8") as file:
        assert len(file.readlines()) <= 2


def test_an_import_that_fails_in_the_workers_says_so(folder):
    done = python("""
        import os, sys, facpool
        with open("soon_gone.py", "w") as file:
            file.write("def factor(date, code):\\n    return [1.0]\\n")
        sys.path.insert(0, os.getcwd())
        import soon_gone
        os.remove("soon_gone.py")
        for name in os.listdir("__pycache__") if os.path.isdir("__pycache__") else []:
            os.remove(os.path.join("__pycache__", name))
        try:
            facpool.run(soon_gone.factor, [(1, "a")], factors=1, start_method="spawn")
        except Exception as error:
            print(type(error).__name__, error)
    """, cwd=folder)
    assert "soon_gone" in done.stdout


# ------------------------------------------------------------------ what workers are like

def test_random_states_differ_between_workers(processes):
    """Workers of one parent must not draw the same numbers, nor those of the parent."""
    import random
    import numpy

    def draws(date, code):
        import time
        time.sleep(0.02)
        return [float(os.getpid()), random.random(), numpy.random.random()]

    numpy.random.seed(5)  # a state that forks inherit
    options = dict(processes, workers=4)
    result = facpool.run(draws, some_pairs(4, 20), factors=3, **options)
    assert len(set(result["f0"])) > 1
    for name in ("f1", "f2"):
        assert len(set(result[name].tolist())) == 80


def test_random_states_differ_between_runs(processes):
    import random
    import numpy

    def draws(date, code):
        return [random.random(), numpy.random.random()]

    def first_numbers():
        random.seed(5)
        numpy.random.seed(5)
        result = facpool.run(draws, [(1, "a")], factors=2, **processes)
        return result["f0"][0], result["f1"][0]

    first, second = first_numbers(), first_numbers()
    assert first[0] != second[0] and first[1] != second[1]


def test_replaced_workers_draw_other_numbers(processes):
    import random
    result = facpool.run(lambda d, c: [random.random()], some_pairs(1, 50), factors=1,
                         tasks_per_worker=1, **processes)
    assert len(set(result["f0"].tolist())) == 50


BLAS = """
    import ctypes, os, sys, time
    import numpy, facpool

    def blas_threads():
        # The OpenBLAS that comes with NumPy's wheels: its functions carry one of these endings.
        for line in open("/proc/self/maps"):
            path = line.split()[-1]
            if "openblas" in path:
                library = ctypes.CDLL(path)
                for name in ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads",
                             "openblas_get_num_threads64_", "openblas_get_num_threads"):
                    if hasattr(library, name):
                        return getattr(library, name)()
        return -1

    def looks(date, code):
        # Work of other threads counts for the process, not for this thread.
        a = numpy.ones((600, 600))
        process, thread = time.process_time(), time.thread_time()
        for _ in range(4):
            (a @ a).sum()
        process, thread = time.process_time() - process, time.thread_time() - thread
        return [blas_threads(), float(process < 1.2 * thread)]

    result = facpool.run(looks, [(1, str(i)) for i in range(4)], start_method=sys.argv[1], workers=2)
    result.raise_if_failed()
    print(set(result["f0"].tolist()), set(result["f1"].tolist()))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_blas_and_openmp_threads_are_one(folder, method):
    """Also where NumPy was loaded before the fork, when the environment says nothing any more."""
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    done = python(BLAS, method, cwd=folder, env=environment)
    if "-1" in done.stdout:
        pytest.skip("this NumPy has no OpenBLAS of its own")
    assert done.stdout == "{1.0} {1.0}\n"


def test_environment_of_fresh_workers_asks_for_one_thread(folder):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = python(f"""
        import os, facpool
        result = facpool.run(lambda d, c: [float(os.environ[name]) for name in {names}], [(1, "a")],
                             factors=4, start_method="spawn")
        result.raise_if_failed()
        print([result[f"f{{i}}"][0].item() for i in range(4)], "OMP_NUM_THREADS" in os.environ)
    """, cwd=folder, env=environment)
    assert done.stdout == "[1.0, 1.0, 1.0, 1.0] False\n"


def test_what_workers_print_reaches_the_terminal(folder):
    for method in ("fork", "spawn"):
        done = python("""
            import sys, facpool
            def prints(date, code):
                print("out", code)
                print("err", code, file=sys.stderr)
                return [1.0]
            print("before")
            facpool.run(prints, [(1, str(i)) for i in range(10)], start_method=sys.argv[1], workers=2)
            print("after")
        """, method, cwd=folder)
        lines = done.stdout.splitlines()
        assert lines[0] == "before" and lines[-1] == "after"
        assert sorted(lines[1:-1]) == sorted(f"out {i}" for i in range(10)), method
        assert sorted(done.stderr.splitlines()) == sorted(f"err {i}" for i in range(10)), method


def test_what_was_printed_before_the_run_comes_once(folder):
    """Buffers are flushed before the fork: a child must not print them again."""
    done = python("""
        import sys, facpool
        sys.stdout.write("half a line")
        facpool.run(lambda d, c: [1.0], [(1, "a")], start_method="fork", workers=2)
    """, cwd=folder)
    assert done.stdout == "half a line"


def test_exit_functions_of_the_host_run_once(folder):
    done = python("""
        import atexit, facpool
        atexit.register(print, "at exit")
        facpool.run(lambda d, c: [1.0], [(1, str(i)) for i in range(4)], start_method="fork", workers=2)
    """, cwd=folder)
    assert done.stdout == "at exit\n"


def test_multiprocessing_and_facpool_in_one_program(folder):
    done = python("""
        import multiprocessing, facpool

        def double(x):
            return x * 2

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            with context.Pool(2) as pool:
                assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]
            result = facpool.run(lambda d, c: [double(d)], [(i, "a") for i in range(5)])
            print(result["f0"].tolist())
            with context.Pool(2) as pool:
                assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]
    """, cwd=folder)
    assert done.stdout == "[0.0, 2.0, 4.0, 6.0, 8.0]\n"


def test_a_run_inside_a_multiprocessing_child(folder):
    done = python("""
        import multiprocessing, facpool

        def child(number):
            result = facpool.run(lambda d, c: [d + 0.5], [(number, "a")], workers=1)
            return result["f0"][0]

        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.map(child, range(3)))
    """, cwd=folder)
    assert "0.5" in done.stdout and "2.5" in done.stdout
