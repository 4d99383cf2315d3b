"""Spreads by hour: measured exactly, written and read, applied on the grid, refused where none is known."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.spread_model import (
    SpreadConfig,
    SpreadModel,
    estimate_spread_model,
    load_spread,
    places_of,
    read_spread_model,
    write_spread_model,
)
from aiopt.errors import ConfigError, DataError, ManifestError
from aiopt.market.instrument import instrument
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.sample import generate_ticks
from cluster.cli import main as cli

EURUSD = instrument("EURUSD")
HOUR_NS = 3_600_000_000_000
MONDAY_NS = int(dt.datetime(2019, 2, 4, tzinfo=dt.UTC).timestamp()) * 1_000_000_000


def store_of(folder: Path, hours: dict[int, list[int]]) -> Path:
    """A store whose ticks of an hour (after Monday 00:00 UTC) have these spreads in price steps."""
    rows = []
    for hour, spreads in hours.items():
        for number, steps in enumerate(spreads):
            ts = MONDAY_NS + hour * HOUR_NS + number * 1_000_000
            bid = 113_000 + number % 7
            rows.append((ts, bid / 1e5, (bid + steps) / 1e5))
    frame = pl.DataFrame(rows, schema=["ts_event_ns", "bid", "ask"], orient="row")
    frame.write_parquet(folder / "ticks.parquet")
    import_ticks(folder / "ticks.parquet", folder / "store")
    return folder / "store"


def test_rows_are_exact(tmp_path: Path) -> None:
    spreads = [1, 2, 2, 3, 40, 7, 7, 7, 7, 8]
    model = estimate_spread_model(store_of(tmp_path, {12: spreads, 13: [5]}))
    first, second = model.hours
    # 12:00 UTC in February is 07:00 New York.
    assert (first.at, first.ticks, second.at, second.ticks) == ("07", 10, "08", 1)
    assert first.mean == pytest.approx(np.mean(spreads) / 10)
    ordered = sorted(spreads)
    for name, share in {
        "p05": 0.05,
        "p25": 0.25,
        "median": 0.5,
        "p75": 0.75,
        "p90": 0.9,
        "p99": 0.99,
    }.items():
        assert getattr(first, name) == ordered[int(np.ceil(share * 10)) - 1] / 10, name
    assert first.max == 4.0
    assert (model.ticks, model.crossed, model.synthetic) == (11, 0, False)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 2_200_000_000), min_size=1, max_size=20),
    st.sampled_from(["hour", "hour_of_week"]),
)
def test_places_are_new_yorks_wall_clock(seconds: list[int], by: str) -> None:
    found = places_of(np.array(seconds, dtype=np.int64) * 1_000_000_000, by)  # type: ignore[arg-type]
    zone = ZoneInfo("America/New_York")
    wall = [dt.datetime.fromtimestamp(second, zone) for second in seconds]
    week = 24 if by == "hour_of_week" else 0
    assert found.tolist() == [one.hour + week * one.weekday() for one in wall]


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    generate_ticks(tmp_path / "store", days=3, ticks_per_day=2_000)
    model = estimate_spread_model(tmp_path / "store", by="hour_of_week")
    assert model.synthetic
    write_spread_model(tmp_path / "s.yaml", model)
    assert read_spread_model(tmp_path / "s.yaml") == model


def test_steps_are_rounded_up_to_the_grid(tmp_path: Path) -> None:
    model = estimate_spread_model(store_of(tmp_path, {12: [2, 3], 13: [4, 4]}))
    write_spread_model(tmp_path / "s.yaml", model)
    ts = MONDAY_NS + np.array([12, 13, 12]) * HOUR_NS
    for statistic, wanted in {"mean": [3, 4, 3], "median": [2, 4, 2], "p90": [3, 4, 3]}.items():
        spread = load_spread(
            SpreadConfig(file=str(tmp_path / "s.yaml"), statistic=statistic), EURUSD, HOUR_NS
        )
        assert spread.steps(ts).tolist() == wanted
        assert statistic in spread.description


def test_an_hour_without_ticks_is_named(tmp_path: Path) -> None:
    write_spread_model(tmp_path / "s.yaml", estimate_spread_model(store_of(tmp_path, {12: [2], 13: [4]})))
    spread = load_spread(SpreadConfig(file=str(tmp_path / "s.yaml")), EURUSD, HOUR_NS)
    with pytest.raises(DataError, match=r"no ticks at 09 New York \(1 bars, the first at 2019-02-04T14:00"):
        spread.steps(MONDAY_NS + np.array([12, 14]) * HOUR_NS)


def test_a_model_of_another_instrument_or_for_longer_bars_is_refused(tmp_path: Path) -> None:
    write_spread_model(tmp_path / "s.yaml", estimate_spread_model(store_of(tmp_path, {12: [2]})))
    config = SpreadConfig(file=str(tmp_path / "s.yaml"))
    with pytest.raises(ConfigError, match="must be of GBPUSD, but is of EURUSD"):
        load_spread(config, instrument("GBPUSD"), HOUR_NS)
    with pytest.raises(ConfigError, match="bars of an hour or less, but these last 4 h"):
        load_spread(config, EURUSD, 4 * HOUR_NS)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"pips": 0.0}, "0 < spread.pips"),
        ({"pips": float("nan")}, "0 < spread.pips"),
        ({"pips": 1.0, "file": "s.yaml"}, "given once"),
        ({"pips": 1.0, "statistic": "medain"}, "Did you mean 'median'"),
    ],
)
def test_a_spread_config_has_rules(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpreadConfig(**settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize("pips", [0.85, 0.04])
def test_a_constant_lies_on_the_grid(pips: float) -> None:
    with pytest.raises(ConfigError, match=r"whole price steps of 0\.1 pips"):
        load_spread(SpreadConfig(pips=pips), EURUSD, HOUR_NS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "must be of format"),
        ({"timezone": "UTC"}, "count hours in America/New_York"),
        ({"by": "minute"}, "by"),
        ({"hours": []}, "at least one"),
        ({"hours": "twice"}, "one row for each hour"),
        ({"hours": "unknown"}, "must be an hour of it, but got '25'"),
        ({"hours": "negative"}, "Spreads must be 0"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    model = msgspec.to_builtins(estimate_spread_model(store_of(tmp_path, {12: [2]})))
    (row,) = model["hours"]
    rows = {"twice": [row, row], "unknown": [{**row, "at": "25"}], "negative": [{**row, "mean": -1.0}]}
    if isinstance(changes.get("hours"), str):
        changes = {"hours": rows[str(changes["hours"])]}
    (tmp_path / "s.yaml").write_text(json.dumps({**model, **changes}))
    with pytest.raises(ConfigError, match=message):
        read_spread_model(tmp_path / "s.yaml")


def test_the_command_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path, {12: [2, 4]})
    assert cli.run(["ticks", "spread-model", str(store), "--out", str(tmp_path / "s.yaml"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert msgspec.convert(document["model"], SpreadModel) == read_spread_model(tmp_path / "s.yaml")
    assert cli.run(["ticks", "spread-model", str(store), "--out", str(tmp_path / "s.yaml")]) == 0
    assert "0.30" in capsys.readouterr().out
    assert cli.run(["ticks", "spread-model", str(tmp_path), "--out", str(tmp_path / "s.yaml")]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        estimate_spread_model(tmp_path)
