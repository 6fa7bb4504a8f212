"""The package itself: what it holds, how it is documented and typed, what importing it costs."""
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys

import pytest

import facpool
from helpers import python

FOLDER = os.path.dirname(facpool.__file__)
PUBLIC = ["run", "query", "run_pools", "query_backup", "grid", "tasks", "show_versions"]


IS_INSTALLED = "site-packages" in FOLDER  # not in place, as developers install it


def test_public_names_are_there_and_documented():
    for name in PUBLIC:
        assert name in facpool.__all__
    for name in facpool.__all__:
        thing = getattr(facpool, name)
        assert inspect.getdoc(thing), f"{name} has no docstring"
        if inspect.isclass(thing) and not issubclass(thing, BaseException):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member} has no docstring"
    assert set(facpool.__all__) <= set(dir(facpool))


def test_every_option_is_documented():
    for function in (facpool.run, facpool.query, facpool.run_pools, facpool.query_backup):
        text = inspect.getdoc(function)
        for name in inspect.signature(function).parameters:
            assert re.search(rf"\b{name}\b", text), f"{function.__name__} says nothing of {name}"


def test_type_information_is_part_of_it():
    assert os.path.exists(os.path.join(FOLDER, "py.typed"))
    assert os.path.exists(os.path.join(FOLDER, "_core.pyi"))


def test_stubs_match_the_extension():
    """Every name of the stub is there, and nothing public is without one."""
    import ast
    with open(os.path.join(FOLDER, "_core.pyi"), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    from facpool import _core
    typed = {"TypedDict"}
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and "Final" in ast.unparse(node.annotation):
            names.add(node.target.id)
        elif isinstance(node, ast.ClassDef):
            if any(getattr(base, "id", "") in typed for base in node.bases):
                continue
            names.add(node.name)
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name != "__buffer__":
                    assert hasattr(getattr(_core, node.name), member.name), member.name
    for name in names:
        assert hasattr(_core, name), name
    public = {name for name in vars(_core) if not name.startswith("_")}
    assert public <= names, public - names


def test_metadata():
    data = importlib.metadata.metadata("facpool")
    assert data["Name"] == "facpool" and data["Version"] == facpool.__version__
    assert data["Requires-Python"] == ">=3.9"
    required = [line for line in importlib.metadata.requires("facpool") if "extra" not in line]
    assert sorted(re.match("[a-z]+", line).group() for line in required) == ["cloudpickle", "numpy"]


def test_only_what_belongs_there_is_installed():
    if not IS_INSTALLED:
        pytest.skip("installed in place")
    files = [str(path) for path in importlib.metadata.files("facpool")]
    ours = [path for path in files if path.startswith("facpool/") and "__pycache__" not in path]
    assert all(path.endswith((".py", ".pyi", ".typed", ".so")) for path in ours), ours
    assert sum(path.endswith(".so") for path in ours) == 1
    assert not any(path.split("/")[0] in ("include", "lib", "tests", "bin") for path in files)
    assert any("LICENSE" in path for path in files)


def test_the_extension_exports_its_initialiser_alone():
    """The library is within it, and is no one else's business."""
    from facpool import _core
    out = subprocess.run(["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True,
                         check=True).stdout
    names = {line.split()[-1].split("@")[0] for line in out.splitlines()}
    assert names == {"PyInit__core"}, names
    needed = subprocess.run(["ldd", _core.__file__], capture_output=True, text=True, check=True).stdout
    assert "libfacpool" not in needed


def test_no_path_of_the_build_machine_is_in_it():
    if not IS_INSTALLED:
        pytest.skip("installed in place")
    from facpool import _core
    with open(_core.__file__, "rb") as file:
        content = file.read()
    assert b"/site-packages/" not in content and b"/tmp/" not in content


def test_show_versions(capsys):
    facpool.show_versions()
    out = capsys.readouterr().out
    for word in (facpool.__version__, sys.version.split()[0], "numpy"):
        assert word in out


def test_import_loads_no_optional_library(folder):
    done = python("""
        import sys, facpool
        facpool.run, facpool.query, facpool.tasks
        heavy = {"pandas", "polars", "pyarrow", "tqdm", "numba", "duckdb", "IPython"} & set(sys.modules)
        print(sorted(heavy))
    """, cwd=folder)
    assert done.stdout == "[]\n"


def test_import_starts_no_thread(folder):
    done = python("""
        import os, facpool
        print(len(os.listdir("/proc/self/task")))
    """, cwd=folder)
    assert done.stdout == "1\n"


def test_works_without_optional_libraries(folder):
    python("""
        import sys
        for name in ("pandas", "polars", "pyarrow", "tqdm", "duckdb"):
            sys.modules[name] = None
        import facpool
        result = facpool.run(lambda d, c: [1.0], facpool.grid([1, 2], ["a"]), backup="b", progress=True)
        assert result["f0"].tolist() == [1.0, 1.0]
        assert len(facpool.query("b")) == 2 and facpool.query_backup("b", storage_format="binary")
        facpool.show_versions()
        try:
            facpool.query("b").to_pandas()
        except ImportError as error:
            assert "pandas" in str(error)
        else:
            raise AssertionError("pandas was there")
    """, cwd=folder)


def test_warnings_are_no_errors_of_ours(folder):
    """Neither deprecations nor unclosed files, with all of Python's warnings as errors."""
    (folder / "program.py").write_text(
        "import facpool\n"
        "for method in ('fork', 'spawn'):\n"
        "    r = facpool.run(lambda d, c: [1.0], [(1, 'a')], backup='b', mode='overwrite',\n"
        "                    start_method=method)\n"
        "    assert list(facpool.query('b')) and r.report.ok == 1\n"
        "facpool.run(lambda d, c: [1.0], [(1, 'a')], executor='serial')\n")
    done = subprocess.run([sys.executable, "-W", "error", "-X", "dev", "program.py"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.may_skip
def test_it_is_declared_ready_for_free_threading():
    if not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled():
        pytest.skip("this Python has a GIL")
    assert facpool.__version__ and not sys._is_gil_enabled()  # importing has not switched it on
