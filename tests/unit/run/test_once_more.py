"""What failed beside other tests is run again, alone: passes count, faults fail twice, many stay failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.run.once_more import MOST, failures, main

LUCK = """
from pathlib import Path
def test_lucky(): assert Path("{flag}").exists()
def test_fault(): assert 1 == 2
"""


def cache_of(folder: Path, tests: list[str]) -> Path:
    (folder / "v" / "cache").mkdir(parents=True)
    (folder / "v" / "cache" / "lastfailed").write_text(json.dumps(dict.fromkeys(tests, True)))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_luck.py").write_text(LUCK.format(flag=tmp_path / "flag"))
    (tmp_path / "flag").touch()
    return tmp_path


def test_what_passes_alone_is_let_through_and_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = cache_of(root / "one", ["test_luck.py::test_lucky"])
    assert main([str(cache), str(root / "none")], root) == 0
    assert "FAILED BESIDE OTHERS, passed alone: test_luck.py::test_lucky" in capsys.readouterr().out


def test_a_fault_fails_twice(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caches = [cache_of(root / "one", ["test_luck.py::test_lucky"])]
    caches.append(cache_of(root / "two", ["test_luck.py::test_fault"]))
    assert main([str(cache) for cache in caches], root) == 1
    said = capsys.readouterr().out
    assert "failed twice: test_luck.py::test_fault" in said
    assert "passed alone: test_luck.py::test_lucky" in said


def test_many_failures_are_no_accident(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = cache_of(root / "one", [f"test_luck.py::test_{number}" for number in range(MOST + 1)])
    assert len(failures([cache])) == MOST + 1
    assert main([str(cache)], root) == 1
    assert "run again" in capsys.readouterr().out


def test_a_run_that_broke_without_a_failing_test_stays_failed(root: Path) -> None:
    assert main([str(root / "none")], root) == 1
