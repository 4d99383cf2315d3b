"""The sample generator: equal everywhere, clean by the rules of real data, and shaped like a market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.errors import ConfigError, DataError
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.manifest import Manifest, verify_store
from aiopt.ticks.sample import SampleParameters, first_state, generate_ticks, sample_day
from aiopt.ticks.schema import TICK_COLUMNS

# The identity of a small sample.  A change of the model must change MODEL's version, and then this.
GOLDEN_HASH = "e898473b24d3fef31188ea5d99bab44d354ea39498ca91fe89b63bc0c31cf13e"
SMALL = {"days": 5, "ticks_per_day": 20_000}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    out = tmp_path_factory.mktemp("sample") / "store"
    return out, generate_ticks(out, start="2024-03-06", days=12, ticks_per_day=30_000, seed=11)


@pytest.fixture(scope="module")
def frame(sample: tuple[Path, Manifest]) -> pl.DataFrame:
    out, manifest = sample
    return pl.concat(
        [pl.read_parquet(out / part.path, hive_partitioning=False) for part in manifest.partitions]
    )


def test_the_same_parameters_give_the_same_ticks_on_every_machine(tmp_path: Path) -> None:
    manifest = generate_ticks(tmp_path / "a", start="2024-03-01", seed=7, **SMALL)
    assert manifest.data_hash == GOLDEN_HASH
    assert generate_ticks(tmp_path / "b", start="2024-03-01", seed=7, **SMALL) == manifest
    assert generate_ticks(tmp_path / "c", start="2024-03-01", seed=8, **SMALL).data_hash != GOLDEN_HASH


def test_a_second_call_leaves_the_store_alone_and_another_sample_is_refused(tmp_path: Path) -> None:
    generate_ticks(tmp_path / "s", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    generate_ticks(tmp_path / "s", **SMALL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(DataError, match="another source or other rules"):
        generate_ticks(tmp_path / "s", seed=8, **SMALL)
    assert generate_ticks(tmp_path / "s", seed=8, replace=True, **SMALL).source.endswith("seed 8")


def test_a_longer_sample_begins_with_the_shorter(tmp_path: Path, sample: tuple[Path, Manifest]) -> None:
    short = generate_ticks(tmp_path / "s", start="2024-03-06", days=3, ticks_per_day=30_000, seed=11)
    assert short.partitions == sample[1].partitions[: len(short.partitions)]


def test_the_store_is_marked_synthetic_and_whole(sample: tuple[Path, Manifest]) -> None:
    out, manifest = sample
    assert verify_store(out) == manifest
    assert (manifest.synthetic, manifest.source_format) == (True, "synthetic")
    assert "no market ever quoted" in manifest.notes[0]


def test_no_rule_of_real_data_finds_anything(sample: tuple[Path, Manifest]) -> None:
    assert [count for count in sample[1].rules if count.found] == []


def test_the_week_end_is_silent_and_every_open_hour_has_ticks(sample: tuple[Path, Manifest]) -> None:
    dates = {part.date: part.hour_rows for part in sample[1].partitions}
    assert "2024-03-09" not in dates  # Saturday
    assert np.flatnonzero(dates["2024-03-08"]).tolist() == list(range(22))  # Friday, UTC-5
    assert np.flatnonzero(dates["2024-03-10"]).tolist() == [21, 22, 23]  # Sunday, clocks changed: UTC-4
    assert all(dates["2024-03-12"])


def test_quotes_lie_on_the_grid_with_bid_below_ask(frame: pl.DataFrame) -> None:
    assert frame.columns == list(TICK_COLUMNS)
    ts, bid, ask = (frame[name].to_numpy() for name in ("ts_event_ns", "bid", "ask"))
    assert (np.diff(ts) > 0).all()
    assert (ts % 1_000_000 == 0).all()
    assert (bid < ask).all()
    for price in (bid, ask):
        assert np.array_equal(price, np.rint(price * 1e5) / 1e5)
    assert (frame["bid_size"] % 50_000 == 0).all()
    assert (frame["bid_size"] > 0).all()


def test_it_looks_like_a_market(frame: pl.DataFrame) -> None:
    mid = (frame["bid"].to_numpy() + frame["ask"].to_numpy()) / 2
    minute = frame["ts_event_ns"].to_numpy() // 60_000_000_000
    last = np.flatnonzero(np.diff(minute, append=minute[-1] + 1))
    change = np.diff(np.log(mid[last]))[np.diff(minute[last]) == 1]
    daily = change.std() * np.sqrt(1440)
    assert 0.002 < daily < 0.012
    assert ((change / change.std()) ** 4).mean() > 4, "no fat tails"
    size = np.abs(change)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1, "volatility does not cluster"
    assert abs(np.corrcoef(change[1:], change[:-1])[0, 1]) < 0.05, "the next minute can be guessed"
    hour = minute // 60 % 24
    spread = (frame["ask"] - frame["bid"]).to_numpy() * 1e5
    busy, quiet = (hour == 13), (hour == 21)
    assert busy.sum() > 4 * quiet.sum()
    assert 2 * np.median(spread[busy]) < np.median(spread[quiet])


def test_the_number_of_ticks_is_about_what_was_asked(sample: tuple[Path, Manifest]) -> None:
    full = [part.rows for part in sample[1].partitions if all(part.hour_rows)]
    assert 0.75 < np.mean(full) / 30_000 < 1.25


@pytest.mark.parametrize("symbol", ["USDJPY", "XAUUSD", "BTCUSD", "AUDCAD"])
def test_other_instruments_stay_plausible(tmp_path: Path, symbol: str) -> None:
    manifest = generate_ticks(tmp_path / "s", instrument=symbol, **SMALL)
    assert [count for count in manifest.rules if count.found] == []
    saturday = "2024-03-02" in {part.date for part in manifest.partitions}
    assert saturday == (symbol == "BTCUSD")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 0}, "`1 <= days <= 36525` must hold, but got days=0"),
        ({"ticks_per_day": 1}, "`1000 <= ticks_per_day <= 5000000` must hold"),
        ({"seed": -1}, "`0 <= seed"),
        ({"start": "yesterday"}, "`start` must be a day as YYYY-MM-DD, but got 'yesterday'"),
        ({"start": "1066-10-14"}, "must lie in 1990 … 2089"),
        (
            {"start": "2024-03-02", "days": 1},
            "The market is closed in all of 1 day\\(s\\) from 2024-03-02",
        ),
    ],
)
def test_parameters_out_of_range_are_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_ticks(tmp_path / "s", **changes)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_a_day_needs_a_state_of_the_model() -> None:
    parameters = SampleParameters()
    with pytest.raises(TypeError, match="must come from first_state"):
        sample_day(parameters, 19_790, object())
    assert len(sample_day(parameters, 19_790, first_state(parameters))) > 50_000


def test_generated_ticks_stay_synthetic_when_their_files_are_imported(tmp_path: Path) -> None:
    store, other = tmp_path / "s", tmp_path / "other.parquet"
    manifest = generate_ticks(store, **SMALL)
    copied = import_ticks(store, tmp_path / "copy")
    assert (copied.synthetic, copied.data_hash) == (True, manifest.data_hash)
    assert f"Taken from a tick store of {manifest.source}." in copied.notes
    assert import_ticks(store, tmp_path / "copy") == copied
    day = store / manifest.partitions[0].path
    assert import_ticks(day, tmp_path / "day").synthetic
    # A file of something else that only lies there says nothing of itself.
    other.write_bytes(day.read_bytes())
    (store / "x.parquet").write_bytes(day.read_bytes())
    assert not import_ticks(other, tmp_path / "other").synthetic
    assert not import_ticks(store / "x.parquet", tmp_path / "stray").synthetic
