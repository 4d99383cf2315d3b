"""The example that serves and swaps, against the endpoint of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiopt.serving.endpoint import read_token
from tests.serving.conftest import Served

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def test_serve_and_swap_asks_swaps_and_rolls_back(served: Served) -> None:
    before = served.revision()
    tokens = {"AIOPT_TOKEN": served.token, "AIOPT_ADMIN_TOKEN": read_token(served.folder, "admin")}
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / "07_serve_and_swap.py", served.url, "tiny:vision:2"],
        capture_output=True,
        text=True,
        env={**os.environ, **tokens, "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=400,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[0:2] for line in (lines[1], lines[3])] == [["swap", "done"], ["rollback", "done"]]
    first, second, third = lines[0], lines[2], lines[4]
    assert first == third != second
    assert served.revision() == before
