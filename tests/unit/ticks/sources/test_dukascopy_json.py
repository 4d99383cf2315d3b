"""Answers of the JSON API as a format of import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiopt.errors import DataError
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.sources import dukascopy_json
from aiopt.utc import HOUR_NS
from tests.unit.ticks.download.faulty_server import (
    SPAN,
    TICKS,
    json_body,
    points,
)


def test_json_answers_are_imported_under_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, hour in enumerate(range(SPAN[1], SPAN[0] - 1, -1)):
        (folder / f"answer{number}.json").write_bytes(json_body(hour))
    (folder / "candles.json").write_text('{"timestamp": 0, "times": [], "opens": []}')
    manifest = import_ticks(folder, tmp_path / "out")
    assert (manifest.source_format, manifest.rows) == ("dukascopy_json", 4 * TICKS)
    assert manifest.notes == ["1 file(s) left aside: candles or descriptions, not ticks."]
    assert manifest.first_ts_ns == SPAN[0] * HOUR_NS + int(points(SPAN[0])[0][0]) * 1_000_000


def test_json_beside_other_ticks_is_a_description_of_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ticks.csv").write_text("time,bid,ask\n2024-05-06T10:00:00,1.1,1.1001\n")
    (tmp_path / "in" / "about.json").write_bytes(json_body(SPAN[0]))
    assert import_ticks(tmp_path / "in", tmp_path / "out").source_format == "csv"


def test_a_json_answer_cut_short_is_recognised_and_refused(tmp_path: Path) -> None:
    (tmp_path / "hour.json").write_bytes(json_body(SPAN[0])[:-30])
    with pytest.raises(DataError, match="no whole JSON of /v1/ticks"):
        import_ticks(tmp_path / "hour.json", tmp_path / "out")


def test_json_prices_are_the_nearest_doubles_of_their_decimals() -> None:
    _, bid, ask, _ = points(SPAN[0])
    _, ticks = dukascopy_json.decode(json_body(SPAN[0]), file="x", hour=SPAN[0])
    assert ticks.bid.tolist() == [float(f"{int(value) // 100000}.{int(value) % 100000:05}") for value in bid]
    assert ticks.ask.tolist() == [float(f"{int(value) // 100000}.{int(value) % 100000:05}") for value in ask]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": [1, 2]}, "The lists are not equally long"),
        ({"timestamp": 5}, "start of an hour"),
        ({"multiplier": 3e-5}, "`multiplier` must be"),
        ({"ask": None}, "`ask` must be a whole number of points"),
        ({"bid": 1.080004}, "`bid` must be a whole number of points"),
        ({"times": [3_600_000] + [0] * (TICKS - 1)}, "outside of its hour"),
        ({"asks": [2**40] * TICKS}, "JSON of /v1/ticks"),
        ({"asks": ["1"] * TICKS}, "JSON of /v1/ticks"),
    ],
)
def test_a_broken_json_answer_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dukascopy_json.decode(json_body(SPAN[0], **change), file="x")
