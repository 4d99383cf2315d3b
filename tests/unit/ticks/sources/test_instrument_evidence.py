"""An instrument is named by the user or by the file, however brokers write it, and never defaulted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.bars.files import load_bar_set
from aiopt.errors import DataError
from aiopt.market.instrument import INSTRUMENTS
from aiopt.market.symbol_names import symbols_in
from aiopt.ticks.importing import import_ticks, validate_ticks
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.sources.instrument_evidence import ASSUMED_NOTE, Evidence, name_evidence, resolve

PREFIXES = ("", "#", "m", "FX:", "OANDA:", "FX_IDC:", "C:", "20190205_", "DAT_ASCII_", "x.")
SUFFIXES = (
    *("", "m", "c", ".a", "_i", "-ECN", ".ecn", "pro", ".raw", "_SB", "+", "!", "=X", ".r", "micro", "-STD"),
    *("_ticks", "_M1_2019", "2019", "_GMT+2_EU-DST", "T", "C", ".SIM"),
)
SEPARATORS = ("", "/", "-", "_", ".", " ")
GBP_ROWS = "2019-02-05 10:00:00.746,1.29998,1.30006\n2019-02-05 10:00:01.630,1.29996,1.30004\n"


@given(
    symbol=st.sampled_from(sorted(INSTRUMENTS)),
    prefix=st.sampled_from(PREFIXES),
    separator=st.sampled_from(SEPARATORS),
    suffix=st.sampled_from(SUFFIXES),
    lower=st.booleans(),
)
def test_any_usual_spelling_is_the_right_instrument_or_refused(
    symbol: str, prefix: str, separator: str, suffix: str, lower: bool
) -> None:
    pair = symbol[:3] + separator + symbol[3:]
    text = prefix + (pair.lower() if lower else pair) + suffix
    found = [Evidence(symbols, "it", Path(text)) for symbols in symbols_in(text)]
    assert any(symbol in one.symbols for one in found), text
    assert resolve(symbol, found, Path(text)).symbol == symbol
    if any(len(one.symbols) > 1 for one in found):
        with pytest.raises(DataError, match=r"may mean .*Give --instrument"):
            resolve(None, found, Path(text))
    else:
        assert resolve(None, found, Path(text)).symbol == symbol


@pytest.mark.parametrize(
    "text",
    ["ticks.csv", "prices 2019", "backtry_usd", "USDUSD", "history_start", "instruments", "currency", ""],
)
def test_what_names_no_pair_says_nothing(text: str) -> None:
    assert symbols_in(text) == []


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "header", "extra"),
    [
        ("GBPUSDm_ticks.csv", "time,bid,ask", ""),
        ("GBP_USD/ticks.csv", "time,bid,ask", ""),
        ("data/symbol=GBPUSD/part.csv", "time,bid,ask", ""),
        ("ticks.csv", "time,bid,ask,name", ",GBP/USD"),
        ("ticks.csv", "time,bid,ask,what", ",GBPUSD.ecn"),
        ("ticks.csv", "time,GBPUSD bid,GBPUSD ask", ""),
    ],
)
def test_what_a_file_says_is_its_instrument_and_nothing_else(
    tmp_path: Path, name: str, header: str, extra: str
) -> None:
    rows = "".join(f"{line}{extra}\n" for line in GBP_ROWS.splitlines())
    path = _write(tmp_path / name, f"{header}\n{rows}")
    if "GBPUSD bid" in header:
        assert validate_ticks_symbol(path) == "GBPUSD"
        return
    manifest = import_ticks(path, tmp_path / "store", instrument=None)
    assert (manifest.instrument, manifest.rows) == ("GBPUSD", 2)
    with pytest.raises(DataError, match=r"This file is of GBPUSD, not of EURUSD|says GBPUSD"):
        import_ticks(path, tmp_path / "other", instrument="EURUSD")
    assert not (tmp_path / "other").exists()


def validate_ticks_symbol(path: Path) -> str:
    """Return the instrument of a file whose header names it beside the columns."""
    from aiopt.ticks.sources import ReaderOptions, open_named_source

    columns = {"ts": "time", "bid": "GBPUSD bid", "ask": "GBPUSD ask"}
    return open_named_source(path, None, options=ReaderOptions(columns=columns))[1].symbol


def test_what_says_nothing_is_taken_as_eurusd_and_the_record_says_so(tmp_path: Path) -> None:
    path = _write(tmp_path / "ticks.csv", f"time,bid,ask\n{GBP_ROWS}")
    manifest = import_ticks(path, tmp_path / "s", instrument=None)
    assert (manifest.instrument, manifest.rows) == ("EURUSD", 2)
    assert ASSUMED_NOTE in manifest.notes
    assert ASSUMED_NOTE in validate_ticks(path).notes
    named = import_ticks(path, tmp_path / "g", instrument="GBPUSD")
    assert (named.instrument, read_manifest(tmp_path / "g").instrument) == ("GBPUSD", "GBPUSD")
    assert ASSUMED_NOTE not in named.notes
    yen = _write(tmp_path / "yen.csv", "time,bid,ask\n2019-02-05 10:00:00,110.21,110.22\n")
    with pytest.raises(DataError, match=r"110\.2"):
        import_ticks(yen, tmp_path / "y", instrument=None)
    assert not (tmp_path / "y").exists()


def test_a_pair_that_is_not_known_is_refused_and_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "USDMXN_2019.csv", "time,bid,ask\n2019-02-05 10:00:00,1.1,1.2\n")
    with pytest.raises(DataError, match=r"USDMXN_2019\.csv says USDMXN, which is not in the table"):
        import_ticks(path, tmp_path / "s", instrument=None)


@pytest.mark.parametrize("column", ["sym", "symbol", "name", "ticker", "whatever"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_instruments_in_a_column_of_any_name_are_refused(tmp_path: Path, column: str, kind: str) -> None:
    frame = pl.DataFrame(
        {
            "time": [1_549_360_800_746 + 250 * at for at in range(2_000)],
            # The second instrument comes late: behind what is looked at to find out the instrument.
            column: ["EURUSD"] * 1_990 + ["GBPUSD"] * 10,
            "bid": [1.14] * 2_000,
            "ask": [1.1401] * 2_000,
        }
    )
    path = tmp_path / f"ticks.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    with pytest.raises(
        DataError, match=r"row 1990: The column '\w+' says EURUSD, GBPUSD; a source holds one"
    ):
        import_ticks(path, tmp_path / "s", instrument=None)


def test_numbers_of_two_instruments_and_unknown_names_are_refused(tmp_path: Path) -> None:
    rows = "2019-02-05 10:00:00,{},1.14,1.1401\n2019-02-05 10:00:01,{},1.14,1.1401\n"
    frame = pl.DataFrame(
        {
            "ts": [1_549_360_800_000, 1_549_360_801_000],
            "instrument_id": [1, 2],
            "bid": [1.1] * 2,
            "ask": [1.2] * 2,
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"row 1: .*'instrument_id' numbers several"):
        import_ticks(tmp_path / "t.parquet", tmp_path / "s")
    path = _write(tmp_path / "t.csv", "time,symbol,bid,ask\n" + rows.format("US500", "US500"))
    with pytest.raises(DataError, match=r"says 'US500'.*leave the column out: --map"):
        import_ticks(path, tmp_path / "s")
    gold = _write(
        tmp_path / "g.csv", ("time,symbol,bid,ask\n" + rows.format("GOLD", "GOLD")).replace("1.14", "1300.")
    )
    assert import_ticks(gold, tmp_path / "s", instrument="XAUUSD").rows == 2


def test_the_nearest_name_speaks_and_a_far_folder_only_where_nothing_else_does(tmp_path: Path) -> None:
    deep = tmp_path / "gbpusd-research" / "a" / "b" / "c" / "d"
    far = name_evidence([deep / "ticks.csv"], deep / "ticks.csv")
    assert [(one.symbols, one.strong) for one in far] == [(frozenset({"GBPUSD"}), False)]
    assert resolve(None, far, deep).symbol == "GBPUSD"
    assert resolve("EURUSD", far, deep).symbol == "EURUSD"
    near = name_evidence([deep / "EURUSD" / "ticks.csv"], deep)
    assert resolve(None, near, deep).symbol == "EURUSD"
    with pytest.raises(DataError, match="the folder EURUSD"):
        resolve("GBPUSD", near, deep)
    hive = name_evidence([deep / "symbol=EURUSD" / "GBPUSD.csv"], deep)
    with pytest.raises(DataError, match=r"the file name GBPUSD\.csv says GBPUSD, the folder"):
        resolve(None, hive, deep)


def _bars(path: Path, price: float = 110.2, **columns: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = [1_549_274_400_000_000_000 + 60_000_000_000 * at for at in range(3)]
    prices = {name: [price] * 3 for name in ("open", "high", "low", "close")}
    pl.DataFrame({"ts": stamps, **prices, **columns}).write_parquet(path)
    return path


def test_bars_of_others_say_their_instrument_or_are_told_it(tmp_path: Path) -> None:
    assert load_bar_set(_bars(tmp_path / "USDJPYm_M1.parquet")).instrument.symbol == "USDJPY"
    _bars(tmp_path / "USDJPY" / "1m" / "bid.parquet")
    assert load_bar_set(tmp_path / "USDJPY" / "1m").instrument.symbol == "USDJPY"
    assert load_bar_set(_bars(tmp_path / "a.parquet", name=["USD/JPY"] * 3)).instrument.symbol == "USDJPY"
    silent = _bars(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"say its instrument.*Give --instrument"):
        load_bar_set(silent)
    assert load_bar_set(silent, symbol="usd/jpy").instrument.symbol == "USDJPY"
    with pytest.raises(DataError, match=r"row 0: Prices of EURUSD .* 0.5 … 2.2, but got 110.2"):
        load_bar_set(silent, symbol="EURUSD")
    with pytest.raises(DataError, match=r"This file is of USDJPY, not of EURUSD: so says the file name"):
        load_bar_set(tmp_path / "USDJPYm_M1.parquet", symbol="EURUSD")
    with pytest.raises(DataError, match=r"row 1: The column 'what' says USDJPY, EURJPY"):
        load_bar_set(_bars(tmp_path / "c.parquet", what=["USDJPY", "EURJPY", "USDJPY"]), symbol="USDJPY")
