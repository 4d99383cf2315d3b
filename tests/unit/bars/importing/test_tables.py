"""Bars from CSV, JSON and Parquet with named columns: proved stamps, closing times, unknown sides."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopt.bars.files import load_bar_set, read_bars
from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.importing.bar_source import read_bar_source
from aiopt.bars.importing.reading import BarReading
from aiopt.bars.importing.tables import BarTableOptions, opening_times
from aiopt.cli.bars_import import command
from aiopt.errors import DataError

FIRST_S = 1_549_324_800  # 2019-02-05 00:00 UTC, a Tuesday
MINUTE_NS = 60_000_000_000


def bars(times: object, name: str = "timestamp", count: int = 30) -> pl.DataFrame:
    close = np.round(1.14 + np.arange(count) * 1e-5, 5)
    prices = {"open": close - 1e-5, "high": close + 2e-5, "low": close - 3e-5, "close": close}
    return pl.DataFrame({name: times, **{key: np.round(value, 5) for key, value in prices.items()}})


def opens(count: int = 30, step_s: int = 60) -> np.ndarray:
    return FIRST_S + step_s * np.arange(count)


def texts(layout: str, count: int = 30) -> list[str]:
    stamps = pl.Series(opens(count) * 1_000_000).cast(pl.Datetime("us"))
    return stamps.dt.strftime(layout).to_list()


def first_open(found: object) -> str:
    return str(np.datetime64(int(found.sides["last"]["ts_open_ns"][0]), "ns"))[:19]  # type: ignore[attr-defined]


def write(frame: pl.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(frame.to_dicts()))
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    else:
        frame.write_csv(path)
    return path


@pytest.mark.parametrize("name", ["m1.csv", "m1.csv.gz", "m1.json", "m1.parquet"])
def test_every_kind_of_table_gives_the_same_bars(tmp_path: Path, name: str) -> None:
    path = write(bars(opens() * 1_000), tmp_path / name)
    result = import_bars(path, tmp_path / "out", BarReading(price="bid"))
    assert (result.bars, result.timeframe) == ({"bid": 30}, "1m")
    table = read_bars(tmp_path / "out/EURUSD/1m/bid.parquet")
    assert table.frame["ts_open_ns"].to_list() == (opens() * 1_000_000_000).tolist()
    assert table.frame["close"][1] == 1.14001


def test_the_side_of_plain_prices_is_unknown_until_told(tmp_path: Path) -> None:
    path = write(bars(opens()), tmp_path / "m1.csv")
    assert set(read_bar_source(path).sides) == {"last"}
    both = pl.concat([bars(opens()).rename(lambda name: f"bid{name}" if name != "timestamp" else name)])
    both = both.with_columns(
        pl.col(f"bid{name}").add(1e-5).round(5).alias(f"ask{name}")
        for name in ("open", "high", "low", "close")
    )
    path = write(both, tmp_path / "both.csv")
    found = read_bar_source(path)
    assert set(found.sides) == {"bid", "ask"}
    assert (found.sides["ask"]["open"] > found.sides["bid"]["open"]).all()
    with pytest.raises(DataError, match="but --price says mid"):
        read_bar_source(path, BarReading(price="mid"))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_dates_with_two_readings_are_refused_until_told(tmp_path: Path, suffix: str) -> None:
    path = write(bars(texts("%m/%d/%Y %H:%M"), "date"), tmp_path / f"m1.{suffix}")
    with pytest.raises(DataError, match=r"Day and month cannot be told apart: all 30 rows .*--time-format"):
        import_bars(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    told = read_bar_source(path, BarReading(time_format="%m/%d/%Y %H:%M"))
    assert first_open(told) == "2019-02-05T00:00:00"
    assert told.notes == ("Stamps were read as text like %m/%d/%Y %H:%M.",)
    if suffix == "parquet":
        with pytest.raises(DataError, match=r"an option of `aiopt bars import m1\.parquet"):
            load_bar_set(path, symbol="EURUSD")


@pytest.mark.parametrize("early_ns", [0, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("name", ["close_time", "time_close", "closeTime", "Close Time", "end_ts"])
def test_closing_times_are_turned_into_opening_times(tmp_path: Path, name: str, early_ns: int) -> None:
    close_ns = (opens() + 60) * 1_000_000_000 - early_ns
    path = write(bars(pl.Series(close_ns // 1_000_000), name), tmp_path / "m1.parquet")
    found = read_bar_source(path)
    assert first_open(found) == "2019-02-05T00:00:00"
    assert found.notes == ("Closing times were turned into opening times.",)
    assert load_bar_set(path, symbol="EURUSD").bid.ts_open_ns[0] == FIRST_S * 10**9


def test_an_opening_time_beside_a_closing_time_is_taken(tmp_path: Path) -> None:
    frame = bars(opens() + 60, "close_time").with_columns(open_time=pl.Series(opens()))
    assert first_open(read_bar_source(write(frame, tmp_path / "m1.csv"))) == "2019-02-05T00:00:00"


def test_closing_times_that_show_no_length_are_refused(tmp_path: Path) -> None:
    stamps = opens() + np.where(np.arange(30) % 7 == 0, 13, 0)
    path = write(bars(stamps, "close_time"), tmp_path / "m1.csv")
    with pytest.raises(DataError, match="must all lie on ends of bars"):
        read_bar_source(path)
    columns = {name: name for name in ("open", "high", "low", "close")}
    with pytest.raises(DataError, match=r"called a closing time\. Map it as ts_close=close_time"):
        read_bar_source(path, BarReading(columns={"ts": "close_time", **columns}))
    path = write(bars(opens() + 60, "bis"), tmp_path / "m2.csv")
    mapped = read_bar_source(path, BarReading(columns={"ts_close": "bis", **columns}))
    assert first_open(mapped) == "2019-02-05T00:00:00"


@settings(max_examples=60, deadline=None)
@given(
    step_s=st.sampled_from([1, 5, 60, 300, 3_600, 86_400]),
    rows=st.lists(st.integers(0, 400), min_size=3, max_size=40, unique=True),
    early=st.sampled_from([0, 1, 1_000, 1_000_000]),
)
def test_opening_times_are_those_of_the_bars_or_refused(step_s: int, rows: list[int], early: int) -> None:
    step = step_s * 1_000_000_000
    opened = FIRST_S // 86_400 * 86_400 * 10**9 + np.sort(np.array(rows)) * step
    steps = np.diff(opened)
    values, counts = np.unique(steps, return_counts=True)
    try:
        found = opening_times(opened + step - early, "close_time", Path("m1.csv"))
    except DataError:
        # The most frequent step is longer than a bar, and not all others are whole ones of it.
        assert values[np.argmax(counts)] != step
        return
    if values[np.argmax(counts)] == step:
        assert found.tolist() == opened.tolist()


def test_a_clock_applies_to_numbers_and_is_refused_where_a_zone_is_said(tmp_path: Path) -> None:
    path = write(bars(opens()), tmp_path / "m1.csv")
    assert first_open(read_bar_source(path, BarReading(timezone="+02:00"))) == "2019-02-04T22:00:00"
    path = write(bars([f"{text}Z" for text in texts("%Y-%m-%dT%H:%M:%S")]), tmp_path / "zoned.csv")
    assert first_open(read_bar_source(path)) == "2019-02-05T00:00:00"
    with pytest.raises(DataError, match="No clock can be given for the times of"):
        read_bar_source(path, BarReading(timezone="+02:00"))


def test_bars_of_metatraders_package_are_on_the_brokers_clock(tmp_path: Path) -> None:
    frame = bars(opens(), "time").with_columns(tick_volume=pl.lit(7), spread=pl.lit(1), real_volume=pl.lit(0))
    found = read_bar_source(write(frame, tmp_path / "rates.csv"))
    assert first_open(found) == "2019-02-04T22:00:00"
    assert found.clock == "NY+7"
    assert found.sides["last"]["ticks"].to_list() == [7] * 30


@pytest.mark.parametrize(
    ("values", "message", "row"),
    [
        ([*opens(29).tolist(), 5], "Bars must be from 1999-01-01 to tomorrow, but one is of 5 ", 29),
        ([*opens(29).tolist(), None], "must hold a time", 29),
        ([1.5e9] * 30, "end in zeros", 0),
    ],
)
def test_a_wrong_stamp_is_named_with_its_row(
    tmp_path: Path, values: list[float], message: str, row: int
) -> None:
    path = write(bars(pl.Series(values)), tmp_path / "m1.parquet")
    with pytest.raises(DataError, match=message) as caught:
        read_bar_source(path)
    assert (caught.value.file, caught.value.row) == (path, row)


def test_the_two_commands_do_not_send_each_other_round(tmp_path: Path) -> None:
    frame = bars(opens() * 1_000).with_columns(volume=pl.lit(12.5))
    path = write(frame, tmp_path / "eurusd-m1-bid.csv")
    out = ["--out", str(tmp_path / "out"), "--price", "bid"]
    done = CliRunner().invoke(command, [str(path), *out], standalone_mode=False)
    assert done.exception is None
    assert "30 bid bars of EURUSD 1m, 2019-02-05T00:00" in done.stdout
    strange = tmp_path / "strange.csv"
    strange.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"Name its columns: --map ts=") as caught:
        read_bar_source(strange)
    assert "ticks import" not in str(caught.value)
    own = tmp_path / "out/EURUSD/1m/bid.parquet"
    with pytest.raises(DataError, match="this is a bar file of aiopt"):
        read_bar_source(own)


def test_options_of_tables_are_refused_for_layouts_that_have_their_own(tmp_path: Path) -> None:
    path = tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv"
    path.write_text("20180101 170000;1.20037;1.20100;1.20030;1.20100;0\n" * 2)
    with pytest.raises(DataError, match="may only be given for csv, json, parquet"):
        read_bar_source(path, BarReading(format="histdata", time_unit="s"))
    for options, message in (
        ({"price": "buy"}, "must be bid, ask or mid"),
        ({"columns": {"tz": "a"}}, "A column of bars must mean one of"),
        ({"columns": {"open": "a"}}, "one of ts and ts_close"),
        ({"header": False}, "must be mapped by position"),
    ):
        with pytest.raises(DataError, match=message):
            BarTableOptions(**options)  # type: ignore[arg-type]
