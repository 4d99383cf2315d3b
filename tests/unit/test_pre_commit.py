"""The hooks of .pre-commit-config.yaml: local, without a network; they accept this tree, not a bad file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
(REPOSITORY,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
HOOKS = {hook["id"]: hook for hook in REPOSITORY["hooks"]}


def run_hook(name: str, *files: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = HOOKS[name]["entry"].split()
    assert program.startswith(".venv/bin/")
    command = [str(Path(sys.executable).parent / Path(program).name), *arguments]
    return subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_every_hook_is_local_and_the_three_are_there() -> None:
    assert REPOSITORY["repo"] == "local"
    assert list(HOOKS) == ["ruff", "ruff-format", "mypy"]
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}
    # mypy reads the whole project, as `make types` does, which runs the same command.
    assert HOOKS["mypy"]["entry"] == ".venv/bin/mypy"
    assert HOOKS["mypy"]["pass_filenames"] is False
    assert "@$(BIN)/mypy\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ruff", "ruff-format"])
def test_a_hook_accepts_a_file_of_the_project(name: str) -> None:
    done = run_hook(name, ROOT / "aiopt" / "timeframe.py", Path(__file__))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "text"), [("ruff", "import os\n"), ("ruff-format", "a = [1,2]\n")])
def test_a_hook_refuses_a_bad_file(name: str, text: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(text)
    done = run_hook(name, bad)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "bad.py" in done.stdout
