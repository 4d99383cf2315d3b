"""Export to a NautilusTrader catalog: NautilusTrader reads back what the store holds, to the last price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from nautilus_trader.model.data import Bar, QuoteTick
from nautilus_trader.persistence.catalog import ParquetDataCatalog

from aiopt.backtest import nautilus_catalog
from aiopt.backtest.nautilus_catalog import export_catalog
from aiopt.bars.building.build import build
from aiopt.bars.files import load_bar_set
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules
from aiopt.catalog import find_entries, verify
from aiopt.errors import AioptError, ConfigError, DataError
from aiopt.testing.tick_stores import write_tick_store
from aiopt.ticks.manifest import Manifest

MONDAY_NS = int(np.datetime64("2024-05-06T22:00", "ns").astype(np.int64))


def ticks(count: int = 3_000) -> pl.DataFrame:
    """Return ticks over midnight, three to a stamp."""
    number = np.arange(count)
    bid = 108_000 + (number * 7_919) % 997
    return pl.DataFrame(
        {
            "ts_event_ns": MONDAY_NS + number // 3 * 9_000_000_001,
            "bid": bid / 1e5,
            "ask": (bid + 1 + number % 9) / 1e5,
            "bid_size": (number % 5) * 100_000.0,
            "ask_size": number * 1.0,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_tick_store(tmp_path / "ticks", ticks(), row_group_rows=700)
    return tmp_path / "ticks"


def test_quotes_are_read_back_exactly(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nautilus_catalog, "CHUNK_ROWS", 1_000)  # three ticks share a stamp: 1000 cuts one
    seen: list[tuple[int, int]] = []
    result = export_catalog(store, tmp_path / "out", progress=lambda *at: seen.append(at))
    (part,) = result.parts
    assert (part.kind, part.identifier, part.rows, part.files) == ("quote ticks", "EUR/USD.SIM", 3_000, 4)
    assert seen[-1] == (6_000, 6_000)
    catalog = ParquetDataCatalog(str(tmp_path / "out"))
    (pair,) = catalog.instruments()
    assert (str(pair.id), pair.price_precision, str(pair.raw_symbol)) == ("EUR/USD.SIM", 5, "EURUSD")
    quotes: list[Any] = catalog.query(QuoteTick, identifiers=["EUR/USD.SIM"])
    expected = ticks()
    assert [quote.ts_event for quote in quotes] == expected["ts_event_ns"].to_list()
    for name, column in (("bid_price", "bid"), ("ask_price", "ask")):
        assert [float(str(getattr(quote, name))) for quote in quotes] == expected[column].to_list()
    for name in ("bid_size", "ask_size"):
        assert [float(str(getattr(quote, name))) for quote in quotes] == expected[name].to_list()
    assert (part.first_ts_ns, part.last_ts_ns) == (expected["ts_event_ns"][0], expected["ts_event_ns"][-1])


def test_bars_of_both_sides_are_stamped_with_their_close(store: Path, tmp_path: Path) -> None:
    request = BarRequest(parse_bar_rules("time", "5m"), ("bid", "ask", "mid"))
    build(store, tmp_path / "bars", request)
    result = export_catalog(tmp_path / "bars", tmp_path / "out", venue="DUKASCOPY")
    names = [f"EUR/USD.DUKASCOPY-5-MINUTE-{side}-EXTERNAL" for side in ("BID", "ASK")]
    assert [part.identifier for part in result.parts] == names
    bars = load_bar_set(tmp_path / "bars")
    catalog = ParquetDataCatalog(str(tmp_path / "out"))
    for name, side in zip(names, (bars.bid, bars.ask), strict=True):
        found: list[Any] = catalog.query(Bar, identifiers=[name])
        assert [bar.ts_event for bar in found] == (side.ts_open_ns + 300_000_000_000).tolist()
        for column in ("open", "high", "low", "close", "volume"):
            assert [float(str(getattr(bar, column))) for bar in found] == getattr(side, column).tolist()
    mid = export_catalog(tmp_path / "bars" / "EURUSD" / "5m" / "mid.parquet", tmp_path / "mid")
    assert mid.parts[0].identifier == "EUR/USD.SIM-5-MINUTE-MID-EXTERNAL"


def test_an_export_is_an_entry_of_the_catalogue_and_can_be_made_again(store: Path, tmp_path: Path) -> None:
    first = export_catalog(store, tmp_path / "out")
    assert export_catalog(store, tmp_path / "out") == first
    export = next(entry for entry in find_entries([tmp_path]) if entry.kind == "nautilus")
    assert (export.rows, export.hash, export.current) == (3_000, first.data_hash, True)
    assert export.provenance == "synthetic"
    assert verify([export]).ok
    files = list((tmp_path / "out").rglob("*.parquet"))
    assert len(files) == 3
    files[0].write_bytes(b"")
    assert not verify([export]).ok


def test_an_export_that_reads_back_otherwise_leaves_the_old_one(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_catalog(store, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    real = ParquetDataCatalog.query
    monkeypatch.setattr(ParquetDataCatalog, "query", lambda *a, **k: real(*a, **k)[1:])
    with pytest.raises(AioptError, match="must be what was written, but has 2399 rows instead of 2400"):
        export_catalog(store, tmp_path / "out")
    monkeypatch.setattr(ParquetDataCatalog, "query", lambda *a, **k: list(reversed(real(*a, **k))))
    with pytest.raises(AioptError, match="other stamps"):
        export_catalog(store, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("bid") + 1e-7, "at most 5 decimals to be exported exactly, but bid is"),
        (pl.col("bid_size") + 0.5, "a whole number of units to be exported exactly, but bid_size is 0.5"),
    ],
)
def test_what_cannot_be_exact_is_refused(tmp_path: Path, change: pl.Expr, message: str) -> None:
    write_tick_store(tmp_path / "ticks", ticks(9).with_columns(change))
    with pytest.raises(DataError, match=message):
        export_catalog(tmp_path / "ticks", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_day_and_a_folder_of_something_else_are_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "busy" / "thesis").mkdir(parents=True)
    with pytest.raises(DataError, match="output folder holds thesis"):
        export_catalog(store, tmp_path / "busy")
    (tmp_path / "foreign" / "data").mkdir(parents=True)
    with pytest.raises(DataError, match="holds a catalog of something else"):
        export_catalog(store, tmp_path / "foreign")
    with pytest.raises(ConfigError, match="A venue must be upper-case"):
        export_catalog(store, tmp_path / "out", venue="my venue")
    path = next(store.rglob("*.parquet"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataError, match="its SHA-256 differs from the manifest"):
        export_catalog(store, tmp_path / "out")


def test_real_ticks_go_through(shared_data: Path, tmp_path: Path) -> None:
    from aiopt.ticks.importing import import_ticks

    source = shared_data / "oanda" / "tick" / "eurusd" / "20140504_quote.zip"
    manifest: Manifest = import_ticks(source, tmp_path / "ticks", format="oanda")
    (part,) = export_catalog(tmp_path / "ticks", tmp_path / "out").parts
    assert part.rows == manifest.rows
