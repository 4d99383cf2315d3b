"""docs/how-to/analyst.md prints what the program prints and its example runs."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aiopt.analyst.scans import ScanConfig, run_scan
from aiopt.cli.analyst import command
from aiopt.testing.bars import random_walk_bar_set

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "analyst.md").read_text(encoding="utf-8")


def test_the_evaluation_on_the_page_is_what_the_command_prints() -> None:
    [(call, block)] = re.findall(
        r"\$ aiopt analyst eval (--cases \d+ --seed \d+)[^\n]*\n(.*?)```", PAGE, flags=re.DOTALL
    )
    documented = block.splitlines()[3:-1]
    assert len(documented) == 14
    result = CliRunner(env={"COLUMNS": "100"}).invoke(command, ["eval", *call.split()])
    assert result.exit_code == 0, result.output
    printed = [line.rstrip() for line in result.stdout.splitlines()]
    start = printed.index(documented[0])
    assert printed[start : start + len(documented)] == documented
    assert "tells something about being right" in result.stdout


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example, gate] = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(example, "docs/how-to/analyst.md", "exec"), {})
    assert "Bias" in out.getvalue()
    pair = random_walk_bar_set(400, seed=5)
    run_scan(pair, ScanConfig(windows=50), tmp_path / "data" / "scans" / "rules")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"bars": pair.bid}
    exec(compile(gate, "docs/how-to/analyst.md", "exec"), names)
    assert (names["known"] >= 0).sum() > 200
