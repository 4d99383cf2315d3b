"""The table of the rivals' trades is the one its benchmark gives."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks._harness import Result
from benchmarks.rival_trades import table

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def test_the_table_is_made_of_the_published_counts() -> None:
    published = REFERENCE / "benchmarks" / "rival_trades.json"
    result = msgspec.json.decode(published.read_bytes(), type=Result)
    assert table(result.figures) in (REFERENCE / "benchmarks.md").read_text(encoding="utf-8")
