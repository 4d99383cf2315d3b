"""docs/how-to/feature-log.md: the example runs; settings and columns are the documented ones."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from aiopt.featurelog import LogConfig, list_streams
from aiopt.featurelog.writer import MAX_PENDING
from aiopt.strategy.signals import BarSignal

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "feature-log.md").read_text(
    encoding="utf-8"
)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["frame"]["confidence"].to_list() == [0.7]
    assert [stream.name for stream in list_streams(tmp_path / "data" / "logs")] == ["predictions", "scores"]


def test_settings_have_the_documented_defaults() -> None:
    documented = dict(re.findall(r"^\| `([a-z_]+)` \| ([0-9.]+) \|", PAGE, flags=re.MULTILINE))
    assert documented == {field.name: str(field.default) for field in msgspec.structs.fields(LogConfig)}
    assert MAX_PENDING == 2, "the page says how many full buffers a kill can cost"


def test_columns_of_signals_are_the_documented_ones() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `signals`"))
    assert re.findall(r"`([a-z_]+)`", row)[1:] == list(BarSignal._fields)
