"""The build backend: meson-python, with the C library brought along.

The package is built out of this folder, the library out of the one two floors up. Before each build
the library's sources are copied to subprojects/facpool, where meson finds them; in an unpacked sdist
they are there already. Needs no git. An sdist holds all of it and builds alone.
"""

from __future__ import annotations

import contextlib
import filecmp
import gzip
import io
import os
import pathlib
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator

import mesonpy

HERE = pathlib.Path(__file__).resolve().parent
LIBRARY = HERE / "subprojects" / "facpool"

# What the library is built from, as its own meson.build reads it.
LIBRARY_PARTS = (
    "LICENSE",
    "meson.build",
    "meson_options.txt",
    "include",
    "lib",
    "tools/version.sh",
)

# What an sdist holds of this folder.
PACKAGE_PARTS = (
    "README.md",
    "LICENSE",
    "build_backend.py",
    "guide.md",
    "meson.build",
    "pyproject.toml",
    "bench",
    "examples",
    "src",
    "subprojects",
    "tests",
)


# ---------------------------------------------------------------- the library's sources


def _repository() -> pathlib.Path | None:
    """The folder of the whole project, or None in an unpacked sdist."""
    top = HERE.parent.parent
    is_library = (top / "include" / "facpool" / "facpool.h").is_file()
    return top if is_library and (top / "bindings" / "python").resolve() == HERE else None


def _files_below(folder: pathlib.Path, parts: tuple[str, ...]) -> Iterator[pathlib.Path]:
    """Files of these parts, relative to the folder, but hidden ones; missing parts are left out."""
    for part in parts:
        start = folder / part
        if start.is_file():
            yield pathlib.Path(part)
            continue
        for place, folders, names in os.walk(start):
            folders[:] = sorted(f for f in folders if f != "__pycache__" and f[0] != ".")
            for name in sorted(names):
                if name[0] != "." and not name.endswith((".pyc", ".so", "~")):
                    yield (pathlib.Path(place) / name).relative_to(folder)


def _copy_if_changed(source: pathlib.Path, target: pathlib.Path) -> None:
    """Unchanged files keep their times, so that a build folder is not built anew."""
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(source, beside)
    os.replace(beside, target)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One build at a time brings the library along."""
    import fcntl

    LIBRARY.parent.mkdir(exist_ok=True)
    with open(LIBRARY.parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bring_library() -> None:
    top = _repository()
    if top is None:
        if not (LIBRARY / "meson.build").is_file():
            sys.exit("the sources of the C library are missing: build from the project or an sdist")
        return
    with _alone():
        wanted = set(_files_below(top, LIBRARY_PARTS))
        for path in sorted(wanted):
            _copy_if_changed(top / path, LIBRARY / path)
        for path in set(_files_below(LIBRARY, (".",))) - wanted:
            (LIBRARY / path).unlink(missing_ok=True)
        _copy_if_changed(top / "LICENSE", HERE / "LICENSE")


# ---------------------------------------------------------------- sdist


def _version() -> str:
    text = (LIBRARY / "include" / "facpool" / "version.h").read_text()
    numbers = [
        re.search(rf"FACPOOL_VERSION_{part}\s+(\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH")
    ]
    return ".".join(numbers)


def _metadata() -> str:
    from packaging.version import Version
    from pyproject_metadata import StandardMetadata

    try:
        import tomllib
    except ImportError:  # before Python 3.11
        import tomli as tomllib
    with open(HERE / "pyproject.toml", "rb") as file:
        pyproject = tomllib.load(file)
    metadata = StandardMetadata.from_pyproject(pyproject, HERE)
    metadata.version = Version(_version())
    return str(metadata.as_rfc822())


def _clean(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes whoever builds it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


def build_sdist(sdist_directory: str, config_settings: dict | None = None) -> str:
    _bring_library()
    base = f"facpool-{_version()}"
    name = f"{base}.tar.gz"
    info = _metadata().encode()
    target = pathlib.Path(sdist_directory, name)
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in _files_below(HERE, PACKAGE_PARTS):
                archive.add(HERE / path, f"{base}/{path.as_posix()}", filter=_clean)
            member = tarfile.TarInfo(f"{base}/PKG-INFO")
            member.size, member.mode = len(info), 0o644
            archive.addfile(member, io.BytesIO(info))
    return name


# ---------------------------------------------------------------- wheels: meson-python's

get_requires_for_build_sdist = mesonpy.get_requires_for_build_sdist


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    _bring_library()
    return mesonpy.get_requires_for_build_wheel(config_settings)


def build_wheel(
    wheel_directory: str,
    config_settings: dict | None = None,
    metadata_directory: str | None = None,
) -> str:
    _bring_library()
    return mesonpy.build_wheel(wheel_directory, config_settings, metadata_directory)


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    _bring_library()
    return mesonpy.get_requires_for_build_editable(config_settings)


def build_editable(
    wheel_directory: str,
    config_settings: dict | None = None,
    metadata_directory: str | None = None,
) -> str:
    _bring_library()
    return mesonpy.build_editable(wheel_directory, config_settings, metadata_directory)
