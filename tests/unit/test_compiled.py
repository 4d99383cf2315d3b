"""Compiled code is kept by what it was compiled from: found elsewhere, never taken when that changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aiopt
from aiopt.compiled import UNUSED_DAYS

CALLEE = """
from aiopt.compiled import compiled
from aiopt.units import SCALE, SHIFTS

STEP = 3

@compiled
def inner(value):
    return value * SCALE + STEP + SHIFTS[1]
"""
CALLER = """
from aiopt.callee import inner
from aiopt.compiled import compiled

@compiled
def outer(value):
    return inner(value) + 1
"""
RUN = """
from aiopt.caller import outer
print(outer(2), sum(outer._cache_hits.values()), sum(outer._cache_misses.values()), outer._cache.cache_path)
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def package(folder: Path) -> Path:
    """Make a package of this name with the files under test and two loops, one inside the other."""
    root = Path(aiopt.__file__).parent
    target = folder / "aiopt"
    target.mkdir(parents=True)
    (target / "__init__.py").touch()
    for name in ("compiled.py", "files.py", "errors.py"):
        shutil.copy(root / name, target)
    (target / "units.py").write_text("SCALE = 10\nSHIFTS = (5, 0)\n")
    (target / "callee.py").write_text(CALLEE)
    (target / "caller.py").write_text(CALLER)
    return folder


def run(folder: Path, cache: Path, **variables: str) -> tuple[int, int, int, Path]:
    """Return the result of the outer loop, how often its code was found and not found, and where it lies."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment = {**kept, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache), **variables}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value, hits, misses, path = done.stdout.split()
    return int(value), int(hits), int(misses), Path(path)


def test_code_is_found_again_from_another_folder(tmp_path: Path, cache: Path) -> None:
    first = run(package(tmp_path / "one"), cache)
    assert first[:3] == (24, 0, 1)
    assert first[3].parent == cache
    assert run(package(tmp_path / "two"), cache) == (24, 1, 0, first[3])


@pytest.mark.parametrize(
    ("name", "old", "new", "result"),
    [
        ("callee.py", "+ STEP", "- STEP", 18),
        ("units.py", "10", "20", 44),
        ("units.py", "(5, 0)", "(5, 1)", 25),
    ],
)
def test_code_is_compiled_anew_where_what_it_took_from_another_file_changed(
    tmp_path: Path, cache: Path, name: str, old: str, new: str, result: int
) -> None:
    """The file of the loop itself stays as it was: Numba's own cache would give the old result."""
    folder = package(tmp_path / "one")
    before = run(folder, cache)
    path = folder / "aiopt" / name
    path.write_text(path.read_text().replace(old, new))
    after = run(folder, cache)
    assert (before[0], *after[:3]) == (24, result, 0, 1)
    assert after[3] != before[3]


def test_without_a_folder_of_its_own_code_is_kept_beside_the_file(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    folder = package(tmp_path / "one")
    assert run(folder, blocked) == (24, 0, 1, folder / "aiopt" / "__pycache__")
    assert run(folder, blocked)[1:3] == (1, 0)


def test_a_folder_without_locks_keeps_nothing_and_stops_nothing(tmp_path: Path, cache: Path) -> None:
    folder = package(tmp_path / "one")
    refusing = "import fcntl\ndef flock(*_):\n    raise OSError(37, 'no locks')\nfcntl.flock = flock\n"
    (folder / "sitecustomize.py").write_text(refusing)
    for _ in range(2):
        assert run(folder, cache)[:3] == (24, 0, 1)


def test_code_of_versions_long_unused_is_deleted(tmp_path: Path, cache: Path) -> None:
    folder = package(tmp_path / "one")
    old = run(folder, cache)[3]
    recent = cache / "caller-0123456789abcdef"
    recent.mkdir()
    long_ago = time.time() - (UNUSED_DAYS + 1) * 86_400
    os.utime(old, (long_ago, long_ago))
    (folder / "aiopt" / "units.py").write_text("SCALE = 30\nSHIFTS = (5, 0)\n")
    new = run(folder, cache)[3]
    assert {path.name for path in cache.glob("caller-*")} == {new.name, recent.name}
