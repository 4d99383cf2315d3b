"""Bars as the input of a run: what is put together, what a side gets as its spread, what is refused."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.building.build import build
from aiopt.bars.files import bar_path, load_bar_set, read_bars, write_bars
from aiopt.bars.importing.bar_input import BarInput, open_bars
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.request import BarRequest
from aiopt.bars.rules import parse_bar_rules, time_rules
from aiopt.bars.schema import BAR_SCHEMA, BarMeta
from aiopt.bars.spread_model import SpreadConfig, estimate_spread_model, write_spread_model
from aiopt.errors import ConfigError, DataError, UnevenBarsError
from aiopt.market.calendar import is_open
from aiopt.ticks.sample import generate_ticks
from aiopt.timeframe import parse_timeframe

MINUTE_NS = 60_000_000_000
MONDAY = dt.datetime(2018, 3, 5, 10, tzinfo=dt.UTC)
PIPS = SpreadConfig(pips=0.8)
PRICES = ("open", "high", "low", "close")


def frames(*labels: str) -> list:
    return [parse_timeframe(label) for label in labels]


def histdata(path: Path, start: dt.datetime, minutes: int, *, base: float = 1.2, step: int = 1) -> Path:
    """HistData's minute bars, stamped in New York time, of a price that climbs a point a minute."""
    lines = []
    for minute in range(0, minutes, step):
        local = start + dt.timedelta(minutes=minute) - dt.timedelta(hours=5)
        price = base + minute / 1e5
        values = (price, price + 3e-5, price - 2e-5, price + 1e-5)
        lines.append(f"{local:%Y%m%d %H%M%S};" + ";".join(f"{value:.5f}" for value in values) + ";0")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}.csv", "\n".join(lines) + "\n")
    else:
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bars-input") / "store"
    generate_ticks(folder, start="2024-03-04", days=4, ticks_per_day=4_000)
    return folder


@pytest.fixture(scope="module")
def own(store: Path) -> Path:
    """Bid, ask and mid bars of 1m and 5m, and event bars, of one store."""
    out = store.parent / "bars"
    request = BarRequest(time_rules(frames("1m", "5m")), ("bid", "ask", "mid"))
    build(store, out, request)
    return out


def test_a_provider_s_one_sided_bars_get_the_spread_and_say_so(tmp_path: Path) -> None:
    path = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv", MONDAY, 90)
    found = open_bars([path], spread=PIPS, timeframes=frames("1m", "15m"))
    for name in PRICES:
        steps = np.rint((found.ask[name].to_numpy() - found.bid[name].to_numpy()) * 1e5)
        assert (steps == 8).all()
        assert all(value == float(f"{value:.5f}") for value in found.ask[name])
    assert found.bid["ts_open_ns"][0] == int(MONDAY.timestamp()) * 1_000_000_000
    manifest = found.manifest
    assert manifest.spread == "constant 0.8 pips, added to one-sided bars (given: bid)"
    assert (manifest.bars, manifest.timeframe, manifest.instrument) == (90, "1m", "EURUSD")
    assert manifest.day_bars == {"2018-03-05": [0] * 10 + [60, 30] + [0] * 12}
    assert manifest.sources[0].files[0].path == path.name
    found.write(tmp_path / "out", frames("15m"))
    bars = load_bar_set(tmp_path / "out" / "EURUSD" / "15m")
    assert len(bars) == 6
    assert bars.data_hash == manifest.data_hash
    assert bars.ask.high[0] == max(found.ask["high"][:15])


def test_without_a_spread_one_side_is_refused_with_the_remedies(tmp_path: Path) -> None:
    path = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv", MONDAY, 9)
    with pytest.raises(DataError, match=r"of the bid alone.*--spread-pips.*--spread-file.*--ask-bars"):
        open_bars([path])


def test_files_and_years_are_put_together_and_repeated_bars_counted(tmp_path: Path) -> None:
    first = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv", MONDAY, 60)
    later = histdata(
        tmp_path / "HISTDATA_COM_ASCII_EURUSD_M12018.zip", MONDAY + dt.timedelta(minutes=50), 60, base=1.2005
    )
    found = open_bars([later, first], spread=PIPS)
    assert found.manifest.bars == 110
    assert found.manifest.left_out == {"there twice": 10}
    assert [one.bars for one in found.manifest.sources] == [60, 60]
    assert (np.diff(found.bid["ts_open_ns"].to_numpy()) == MINUTE_NS).all()
    other = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2019.csv", MONDAY, 60, base=1.21)
    with pytest.raises(DataError, match=r"one bar, but at 2018-03-05T10:00.*2018\.csv has.*2019\.csv has"):
        open_bars([first, other], spread=PIPS)


def test_own_bars_of_both_sides_are_those_of_the_ticks(store: Path, own: Path, tmp_path: Path) -> None:
    found = open_bars([own], timeframes=frames("1m", "15m", "1h"))
    assert found.base.label == "1m"
    assert found.manifest.spread == "bid and ask of the bars"
    assert found.manifest.synthetic
    found.write(tmp_path / "merged", frames("15m", "1h"))
    build(store, tmp_path / "built", BarRequest(time_rules(frames("15m", "1h")), ("bid", "ask")))
    for label in ("15m", "1h"):
        for side in ("bid", "ask"):
            merged, built = (
                read_bars(bar_path(tmp_path / name, "EURUSD", label, side)) for name in ("merged", "built")
            )
            assert merged.frame.equals(built.frame), (label, side)


@pytest.mark.parametrize("fill", [{"empty": "flat"}, {"fill": "flat"}])
def test_fillings_are_no_market(store: Path, own: Path, tmp_path: Path, fill: dict[str, str]) -> None:
    request = BarRequest(time_rules(frames("1m")), ("bid", "ask"), **fill)  # type: ignore[arg-type]
    build(store, tmp_path, request)
    found, plain = open_bars([tmp_path]), open_bars([own])
    assert found.bid.equals(plain.bid)
    assert found.manifest.data_hash == plain.manifest.data_hash
    assert found.manifest.sources[0].left_out["filled, without a quote"] > 0


def test_prices_to_come_and_event_bars_are_refused(store: Path, tmp_path: Path) -> None:
    request = BarRequest(time_rules(frames("1m")), ("bid", "ask"), fill="linear")
    build(store, tmp_path / "linear", request)
    with pytest.raises(DataError, match="prices from the future"):
        open_bars([tmp_path / "linear"])
    build(store, tmp_path / "events", BarRequest(parse_bar_rules("tick", "50"), ("bid", "ask")))
    with pytest.raises(UnevenBarsError, match="bars of one length in time, but this folder holds tick-50"):
        open_bars([tmp_path / "events"])
    with pytest.raises(UnevenBarsError, match="bars of one length in time, but these are tick bars"):
        open_bars([tmp_path / "events" / "EURUSD" / "tick-50" / "bid.parquet"], spread=PIPS)


def test_a_spread_where_bid_and_ask_are_known_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match="have bid and ask, so their spread is known"):
        open_bars([own], spread=PIPS)


def test_the_other_side_can_be_a_source_of_its_own(own: Path) -> None:
    folder = own / "EURUSD" / "1m"
    both = open_bars([own])
    apart = open_bars([folder / "bid.parquet"], ask_sources=[folder / "ask.parquet"])
    assert apart.ask.equals(both.ask)
    assert apart.manifest.data_hash == both.manifest.data_hash
    with pytest.raises(DataError, match="must be of the ask, but their file says bid"):
        open_bars([folder / "bid.parquet"], ask_sources=[folder / "bid.parquet"])


def test_a_mid_lies_between_bid_and_ask(own: Path) -> None:
    folder = own / "EURUSD" / "1m"
    found = open_bars([folder / "mid.parquet"], spread=SpreadConfig(pips=0.3))
    mid = read_bars(folder / "mid.parquet").frame
    for name in PRICES:
        bid, ask, middle = (np.rint(one[name].to_numpy() * 2e5) for one in (found.bid, found.ask, mid))
        assert ((ask - bid) == 6).all()
        # Exactly between where it comes out even, else half a step (one of these units) lower.
        assert set(np.unique(2 * middle - bid - ask)) <= {0, 2}


@settings(max_examples=40)
@given(
    steps=st.lists(st.integers(-40, 40), min_size=2, max_size=40),
    spread=st.integers(1, 200),
    side=st.sampled_from(["bid", "ask", "mid"]),
)
def test_added_spreads_are_whole_on_any_side(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], spread: int, side: str
) -> None:
    half = 2 if side == "mid" else 1
    close = (113_000 * half + np.cumsum(steps)) / (100_000 * half)
    opens = int(MONDAY.timestamp()) * 1_000_000_000 + MINUTE_NS * np.arange(close.size, dtype=np.int64)
    frame = pl.DataFrame(
        {
            "ts_open_ns": opens,
            **dict.fromkeys(PRICES, close),
            "volume": np.ones(close.size),
            "ticks": np.ones(close.size, dtype=np.int64),
        },
        schema=BAR_SCHEMA,
    )
    path = tmp_path_factory.mktemp("side") / f"{side}.parquet"
    write_bars(path, frame, BarMeta(instrument="EURUSD", timeframe="1m", price=side, data_hash="d"))
    found = open_bars([path], spread=SpreadConfig(pips=spread / 10))
    bid, ask = (np.rint(one["close"].to_numpy() * 1e5).astype(int) for one in (found.bid, found.ask))
    assert (ask - bid == spread).all()
    given_ = np.rint(close * 2e5).astype(int)
    middle = {"bid": 2 * bid, "ask": 2 * ask, "mid": bid + ask}[side]
    assert (np.abs(given_ - middle) <= (1 if side == "mid" else 0)).all()
    for one in (found.bid, found.ask):
        assert all(value == float(f"{value:.5f}") for value in one["close"])


def test_a_spread_by_hour_is_that_of_each_bar(store: Path, own: Path, tmp_path: Path) -> None:
    model = estimate_spread_model(store)
    write_spread_model(tmp_path / "s.yaml", model)
    config = SpreadConfig(file=str(tmp_path / "s.yaml"), statistic="median")
    found = open_bars([own / "EURUSD" / "1m" / "bid.parquet"], spread=config)
    wanted = {row.at: np.ceil(round(row.median * 10, 6)) for row in model.hours}
    hours = (
        found.bid["ts_open_ns"]
        .cast(pl.Datetime("ns", "UTC"))
        .dt.convert_time_zone("America/New_York")
        .dt.strftime("%H")
    )
    steps = np.rint((found.ask["low"].to_numpy() - found.bid["low"].to_numpy()) * 1e5)
    assert steps.tolist() == [wanted[hour] for hour in hours]
    assert "median by hour of the day in New York" in found.manifest.spread
    assert "SYNTHETIC ticks" in found.manifest.spread


def test_what_does_not_say_its_side_is_refused_until_told(tmp_path: Path) -> None:
    frame = pl.DataFrame(schema=BAR_SCHEMA)
    opens = int(MONDAY.timestamp()) * 1_000_000_000 + MINUTE_NS * np.arange(5, dtype=np.int64)
    frame = pl.DataFrame(
        {
            "ts_open_ns": opens,
            **dict.fromkeys(PRICES, np.full(5, 1.1)),
            "volume": np.ones(5),
            "ticks": opens * 0,
        },
        schema=BAR_SCHEMA,
    )
    path = tmp_path / "last.parquet"
    write_bars(path, frame, BarMeta(instrument="EURUSD", timeframe="1m", price="last", data_hash="d"))
    with pytest.raises(DataError, match=r"the file does not say.*--bars-price bid"):
        open_bars([path], spread=PIPS)
    assert open_bars([path], spread=PIPS, reading=BarReading(price="ask")).manifest.sources[0].side == "ask"


def test_sides_of_different_times_are_refused(tmp_path: Path) -> None:
    def side(name: str, count: int) -> Path:
        opens = int(MONDAY.timestamp()) * 1_000_000_000 + MINUTE_NS * np.arange(count, dtype=np.int64)
        frame = pl.DataFrame(
            {
                "ts_open_ns": opens,
                **dict.fromkeys(PRICES, np.full(count, 1.1 if name == "bid" else 1.1001)),
                "volume": np.ones(count),
                "ticks": np.ones(count, dtype=np.int64),
            },
            schema=BAR_SCHEMA,
        )
        path = tmp_path / f"{name}{count}" / f"{name}.parquet"
        write_bars(path, frame, BarMeta(instrument="EURUSD", timeframe="1m", price=name, data_hash="d"))
        return path

    found = open_bars([side("bid", 300)], ask_sources=[side("ask", 298)])
    assert found.manifest.bars == 298
    assert found.manifest.left_out == {"of one side only": 2}
    with pytest.raises(DataError, match="of 300 bid and 150 ask bars only 150 share one"):
        open_bars([side("bid", 300)], ask_sources=[side("ask", 150)])


def test_crossed_sides_are_refused(own: Path, tmp_path: Path) -> None:
    for side, other in (("bid", "ask"), ("ask", "bid")):
        table = read_bars(own / "EURUSD" / "1m" / f"{other}.parquet")
        meta = BarMeta(instrument="EURUSD", timeframe="1m", price=side, data_hash="d")
        write_bars(tmp_path / f"{side}.parquet", table.frame, meta)
    with pytest.raises(DataError, match="ask bar must not lie below its bid bar, but"):
        open_bars([tmp_path])


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("30s",), "cannot be cut into shorter ones"), (("1m", "90s"), "90s is none")],
)
def test_timeframes_that_cannot_be_made_are_refused_early(own: Path, labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_bars([own], timeframes=frames(*labels))


def test_other_instruments_and_timeframes_do_not_mix(own: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of GBPUSD, but these are of EURUSD\. Use --instrument EURUSD"):
        open_bars([own], instrument="GBPUSD")
    with pytest.raises(DataError, match=r"one timeframe, but these are of 5m and .* of 1m"):
        open_bars([own / "EURUSD" / "1m", own / "EURUSD" / "5m"])
    with pytest.raises(DataError, match="must exist, but this path does not"):
        open_bars([tmp_path / "none"])
    with pytest.raises(DataError, match=r"this is a tick store\. Give it with --ticks"):
        open_bars([own.parent / "store"])
    with pytest.raises(DataError, match="at least one source"):
        open_bars([])


def test_silent_hours_are_those_of_an_open_market(tmp_path: Path) -> None:
    friday = dt.datetime(2018, 3, 2, 20, tzinfo=dt.UTC)
    first = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv", friday, 120)
    sunday = friday + dt.timedelta(days=2, hours=2)
    second = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2018_b.csv", sunday + dt.timedelta(hours=2), 60)
    found: BarInput = open_bars([first, second], spread=PIPS)
    silent = [one.hour for one in found.manifest.silent_hours]
    assert silent == ["2018-03-04T22", "2018-03-04T23"]
    assert is_open(found.bid["ts_open_ns"].to_numpy()).all()


def test_tables_of_others_are_read_and_told_what_they_are(tmp_path: Path) -> None:
    lines = ["date,open,high,low,close"]
    for minute in range(40):
        when = MONDAY + dt.timedelta(minutes=minute)
        lines.append(f"{when:%d/%m/%Y %H:%M},1.2,1.2001,1.1999,1.2")
    path = tmp_path / "eurusd.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="time"):
        open_bars([path], spread=PIPS, reading=BarReading(price="bid"))
    told = BarReading(price="bid", time_format="%d/%m/%Y %H:%M", timezone="UTC")
    found = open_bars([path], spread=PIPS, reading=told, timeframes=frames("5m"))
    assert found.bid["ts_open_ns"][0] == int(MONDAY.timestamp()) * 1_000_000_000
    assert found.manifest.bars == 40
    with pytest.raises(DataError, match="--bars-price"):
        open_bars([path], spread=PIPS, reading=BarReading(time_format="%d/%m/%Y %H:%M", timezone="UTC"))
    with pytest.raises(DataError, match="Did you mean 'open'"):
        BarReading(columns={"ts": "date", "opne": "open"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("timezone", "UTC"), ("drop_bad", True), ("time_format", "%d/%m/%Y %H:%M"), ("format", "oanda")],
)
def test_options_that_would_do_nothing_are_refused(own: Path, name: str, value: object) -> None:
    with pytest.raises(DataError, match=f"say themselves how they are read, but {name} was given"):
        open_bars([own], reading=BarReading(**{name: value}))  # type: ignore[arg-type]
