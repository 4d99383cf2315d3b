"""The command itself where Node is too old, absent or no Node: each stand-in is a program on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiopt.market.instrument import instrument
from aiopt.pine.emitter import write_script
from aiopt.pine.provenance import Provenance
from aiopt.strategy.families import FAMILIES
from aiopt.testing.bars import random_walk_bars, write_bar_file
from aiopt.verification.engine_folder import FOLDER_VARIABLE, node_folder

pytestmark = pytest.mark.slow


class Machine:
    """A machine with the real engine in its folder, and no Node but that of `programs`."""

    def __init__(self, folder: Path, engine_folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.python = self.programs / "python"
        # A Node is also looked for beside Python, so Python stands in a folder of its own.
        self.python.symlink_to(Path(sys.executable).resolve())
        self.folder = folder
        self.environment = {
            "PATH": str(self.programs),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(self.programs),
            FOLDER_VARIABLE: str(engine_folder),
        }

    def program(self, text: str) -> None:
        path = self.programs / "node"
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), "-c", "from cluster.cli.main import main; main()", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture
def machine(pine, tmp_path: Path) -> Machine:
    folder = pine.engine.module.parents[3]
    if node_folder(folder).exists():
        pytest.skip("the engine's folder of these tests holds a Node of its own")
    made = Machine(tmp_path, folder)
    spec = FAMILIES["rsi_reversion"].spec
    write_script(tmp_path, "mine", spec, provenance=Provenance(), instrument=instrument("EURUSD"))
    write_bar_file(random_walk_bars(400, seed=3), tmp_path / "bars.parquet")
    return made


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("echo v16.20.2", "Node is too old"),
        ("echo banana", "is banana"),
        ("exit 1", "is no Node"),
        (None, "Node is not installed"),
    ],
)
def test_verify_says_what_is_wrong_with_node(machine: Machine, node: str | None, said: str) -> None:
    if node is not None:
        machine.program(node)
    before = sorted(path.name for path in machine.folder.iterdir())
    for arguments in (
        ("pine", "verify", "mine.pine", "--bars", "bars.parquet"),
        ("pine", "engine", "status"),
    ):
        done = machine.run(*arguments)
        told = done.stdout + done.stderr
        assert done.returncode != 0, told
        assert said in " ".join(told.split()), told
        assert "needs Node 20 or later" in " ".join(told.split())
        assert "aiopt pine engine install" in " ".join(told.split())
        assert "Traceback" not in told
    assert sorted(path.name for path in machine.folder.iterdir()) == before


def test_a_node_that_dies_or_never_ends_is_stopped(machine: Machine) -> None:
    verify = ("pine", "verify", "mine.pine", "--bars", "bars.parquet", "--time-limit", "2")
    for body in ("exit 3", "sleep 600"):
        machine.program(f'if [ "$1" = --version ]; then echo v22.1.0; else {body}; fi')
        done = machine.run(*verify)
        told = done.stdout + done.stderr
        assert done.returncode not in (0, -9), told
        assert "Traceback" not in told
        assert "mine" in told
