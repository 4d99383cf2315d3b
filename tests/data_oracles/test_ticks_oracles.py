"""Real ticks against what is known about them: row counts, dirt, the providers' own bars, the trap files."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aiopt.errors import DataError
from aiopt.market.calendar import is_open
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.clocks.local_time import parse_clock
from aiopt.ticks.importing import import_ticks, open_ticks, validate_ticks
from aiopt.ticks.manifest import Manifest, verify_store
from aiopt.ticks.sources import ReaderOptions, histdata, quote_zip
from aiopt.ticks.sources.dukascopy import read_candles
from aiopt.utc import DAY_NS

MINUTE_NS = 60_000_000_000


def found(manifest: Manifest) -> dict[str, int]:
    return {count.rule: count.found for count in manifest.rules if count.found}


def ticks_of(out: Path, manifest: Manifest) -> pl.DataFrame:
    return pl.concat(
        [pl.read_parquet(out / part.path, hive_partitioning=False) for part in manifest.partitions]
    )


def minute_bars(ticks: pl.DataFrame, side: str) -> pl.DataFrame:
    price = pl.col(side)
    return (
        ticks.group_by(pl.col("ts_event_ns") // MINUTE_NS * MINUTE_NS, maintain_order=True)
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=pl.col(f"{side}_size").sum(),
        )
        .rename({"ts_event_ns": "ts_open_ns"})
    )


def test_dukascopy_day_is_whole_and_clean(shared_data: Path, tmp_path: Path) -> None:
    manifest = import_ticks(shared_data / "dukascopy/EURUSD", tmp_path / "store")
    assert (manifest.rows, manifest.rows_read, found(manifest)) == (136_741, 136_741, {})
    assert [part.date for part in manifest.partitions] == ["2019-02-04"]  # the path says month 01
    assert all(manifest.partitions[0].hour_rows)
    assert len(manifest.files) == 24
    assert "ASK_candles_min_1.bi5, BID_candles_min_1.bi5" in manifest.notes[0]
    assert verify_store(tmp_path / "store") == manifest


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_dukascopy_ticks_make_the_providers_candles(shared_data: Path, tmp_path: Path, side: str) -> None:
    manifest = import_ticks(shared_data / "dukascopy/EURUSD", tmp_path / "store")
    bars = minute_bars(ticks_of(tmp_path / "store", manifest), side)
    path = shared_data / f"dukascopy/EURUSD/2019/01/04/{side.upper()}_candles_min_1.bi5"
    oracle = read_candles(path, instrument("EURUSD"))
    assert oracle.height == 1_440
    assert read_candles(path, instrument("EURUSD"), dt.date(2019, 2, 4)).equals(oracle)
    traded = oracle.filter(pl.col("volume") > 0)
    assert traded["ts_open_ns"].to_list() == bars["ts_open_ns"].to_list()
    for name in ("open", "high", "low", "close"):
        assert traded[name].to_list() == bars[name].to_list()
    # The provider sums float32 millions.
    assert np.abs(traded["volume"].to_numpy() / bars["volume"].to_numpy() - 1).max() < 4e-5


def test_oanda_week_has_repeated_stamps_and_nothing_crossed(shared_data: Path, tmp_path: Path) -> None:
    manifest = import_ticks(shared_data / "oanda/tick/eurusd", tmp_path / "store")
    assert (manifest.rows, manifest.rows_read) == (186_092, 186_092)
    assert found(manifest) == {"same_stamp": 992, "gap": 3}
    repeated = ticks_of(tmp_path / "store", manifest)["ts_event_ns"].is_duplicated().mean()
    assert repeated == pytest.approx(0.009, abs=0.003)
    assert [part.date for part in manifest.partitions] == [f"2014-05-{day:02d}" for day in (1, 2, 4, 5, 6, 7)]


def test_oanda_ticks_make_the_providers_minute_bars(shared_data: Path, tmp_path: Path) -> None:
    manifest = import_ticks(shared_data / "oanda/tick/eurusd", tmp_path / "store")
    ticks = ticks_of(tmp_path / "store", manifest)
    for path in sorted((shared_data / "oanda/minute/eurusd").iterdir()):
        oracle = quote_zip.read_bars(path)
        day = oracle["ts_open_ns"][0] // DAY_NS
        today = ticks.filter(pl.col("ts_event_ns") // DAY_NS == day)
        for side in ("bid", "ask"):
            joined = minute_bars(today, side).join(oracle, on="ts_open_ns")
            assert joined.height == (today["ts_event_ns"] // MINUTE_NS).n_unique()
            for name in ("open", "high", "low", "close"):
                assert joined[name].to_list() == joined[f"{side}_{name}"].to_list(), (path.name, side, name)


def test_fxcm_dirt_is_seen_counted_and_treated(shared_data: Path, tmp_path: Path) -> None:
    manifest = import_ticks(shared_data / "fxcm/tick/eurusd", tmp_path / "store")
    assert manifest.source_format == "fxcm"
    counts = {count.rule: count for count in manifest.rules}
    assert (counts["crossed"].found, counts["crossed"].dropped) == (16_052, 16_052)
    assert (counts["zero_spread"].found, counts["zero_spread"].dropped) == (18_413, 0)
    assert counts["crossed"].found / manifest.rows_read == pytest.approx(0.11, abs=0.01)
    assert counts["zero_spread"].found / manifest.rows_read == pytest.approx(0.12, abs=0.01)
    assert sum(counts["crossed"].hours.values()) == 16_052
    # UTC-5: the file of Friday 2 May ends with the FX week, 21:00 UTC.
    assert np.datetime64(manifest.last_ts_ns, "ns") == np.datetime64("2014-05-02T20:59:11.909")
    with pytest.raises(DataError, match="The rule crossed found ask below bid"):
        open_strictly(shared_data / "fxcm/tick/eurusd", tmp_path / "strict")


def open_strictly(source: Path, out: Path) -> None:
    import_ticks(source, out, rules=parse_rules(["crossed=fail"]))


def test_fxcm_read_as_utc_would_leave_the_week(shared_data: Path) -> None:
    wrong = validate_ticks(shared_data / "fxcm/tick/eurusd", options=ReaderOptions(utc_offset_h=-12))
    assert {count.rule: count.found for count in wrong.rules}["out_of_session"] > 0


@pytest.mark.parametrize(
    ("name", "symbol", "message"),
    [
        ("empty.bi5", "EURUSD", "This file has 0 bytes: it is an hour without ticks"),
        ("HistoryStart.bi5", "EURUSD", "not LZMA-compressed"),
        ("BTC.bi5", "BTCUSD", "This file holds minute candles"),
        ("BTCUSD_2023-02-20_12h_ticks.bi5", "EURUSD", "This file is of BTCUSD.*, not of EURUSD"),
    ],
)
def test_each_trap_has_its_own_error(
    shared_data: Path, tmp_path: Path, name: str, symbol: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        import_ticks(shared_data / "dukascopy/traps" / name, tmp_path / "store", instrument=symbol)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("HistoryStart.bi5", "not LZMA-compressed"),
        ("BTC.bi5", "The file holds minute candles"),
        (
            "BTCUSD_2023-02-20_12h_ticks.bi5",
            r"Prices of EURUSD must lie in 0\.5 … 2\.2, but got bid=2\.48494",
        ),
    ],
)
def test_a_trap_disguised_as_an_hour_is_found_by_its_content(
    shared_data: Path, tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / "in/2019/01/04/10h_ticks.bi5"
    path.parent.mkdir(parents=True)
    shutil.copy(shared_data / "dukascopy/traps" / name, path)
    with pytest.raises(DataError, match=message) as caught:
        import_ticks(tmp_path / "in", tmp_path / "store")
    assert caught.value.file == path


def test_bitcoin_has_its_own_scale(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "dukascopy/traps/BTCUSD_2023-02-20_12h_ticks.bi5"
    manifest = import_ticks(path, tmp_path / "store", instrument="BTCUSD")
    ticks = ticks_of(tmp_path / "store", manifest)
    assert (manifest.rows, manifest.partitions[0].date) == (8_523, "2023-02-20")
    assert 24_000 < ticks["bid"].min() < ticks["ask"].max() < 26_000


def test_a_truncated_real_hour_fails_and_a_lost_one_is_missed(shared_data: Path, tmp_path: Path) -> None:
    tree = tmp_path / "EURUSD"
    shutil.copytree(shared_data / "dukascopy/EURUSD", tree)
    hour = tree / "2019/01/04/10h_ticks.bi5"
    hour.parent.chmod(0o755)
    raw = hour.read_bytes()
    hour.chmod(0o644)
    hour.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="cut off after 22154 bytes"):
        open_ticks(tree, tmp_path / "cache")
    hour.unlink()
    with pytest.raises(DataError, match=r"no file of the hour 2019-02-04T10 \(UTC\)"):
        open_ticks(tree, tmp_path / "cache")


def test_bars_are_refused_as_ticks(shared_data: Path, tmp_path: Path) -> None:
    for name in ("oanda/minute/eurusd", "oanda/hour/eurusd.zip", "histdata"):
        with pytest.raises(DataError, match=r"This (archive|file) holds .* not ticks"):
            import_ticks(shared_data / name, tmp_path / "store")


def test_histdata_year_is_new_york_wall_clock(shared_data: Path) -> None:
    path = next((shared_data / "histdata").glob("*.zip"))
    bars = histdata.read_minute_bars(path)
    assert bars.height == 372_607
    ts = bars["ts_open_ns"].to_numpy()
    assert (np.diff(ts) > 0).all()
    # On New York's clock the bars lie in the FX week; five hours fixed would move the summer out of it.
    assert is_open(ts).mean() > 0.9999
    fixed = histdata.read_minute_bars(path, parse_clock("-5"))["ts_open_ns"].to_numpy()
    assert is_open(fixed).mean() < is_open(ts).mean()
