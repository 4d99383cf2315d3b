"""The readers on generated files: round trips, recognition, and what is wrong with bad files."""

from __future__ import annotations

import lzma
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import (
    FORMATS,
    ReaderOptions,
    TickSource,
    dukascopy,
    histdata,
    open_source,
    quote_zip,
)
from aiopt.utc import HOUR_NS

EURUSD = instrument("EURUSD")
HOUR = int(np.datetime64("2019-02-04T10", "h").astype(np.int64))


def bi5(path: Path, records: list[tuple[int, int, int, float, float]]) -> Path:
    """Write an hour file; records of (ms, ask, bid, ask size, bid size)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = np.array(records, dtype=dukascopy.TICK_RECORD).tobytes()
    path.write_bytes(lzma.compress(raw, format=lzma.FORMAT_ALONE))
    return path


def candles(path: Path, count: int = 1440) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(60 * i, 110_000, 110_001, 109_999, 110_002, 1.5) for i in range(count)]
    raw = np.array(rows, dtype=dukascopy.CANDLE_RECORD).tobytes()
    path.write_bytes(lzma.compress(raw, format=lzma.FORMAT_ALONE))
    return path


def zipped(path: Path, member: str, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)
    return path


def read_all(source: TickSource) -> TickArrays:
    parts = [batch.ticks for number in range(len(source.files)) for batch in source.read(number)]
    names = [name for name, _ in parts[0].columns()]
    return TickArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def read(root: Path, **options: object) -> TickArrays:
    return read_all(open_source(root, EURUSD, **options))  # type: ignore[arg-type]


# --- Dukascopy --------------------------------------------------------------------------------------------

hour_records = st.lists(
    st.tuples(
        st.integers(0, 3_599_999),
        st.integers(50_000, 220_000),
        st.integers(50_000, 220_000),
        st.integers(0, 4_000).map(lambda size: size / 4),
        st.integers(0, 4_000).map(lambda size: size / 4),
    ),
    min_size=1,
    max_size=200,
)


@given(records=hour_records)
def test_bi5_round_trip_is_exact(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, int, int, float, float]]
) -> None:
    path = bi5(tmp_path_factory.mktemp("bi5") / "2019/01/04/10h_ticks.bi5", records)
    ticks = dukascopy.read_hour(path, HOUR, EURUSD)
    assert ticks.ts_event_ns.tolist() == [HOUR * HOUR_NS + row[0] * 1_000_000 for row in records]
    assert ticks.ask.tolist() == [float(f"{row[1]}e-5") for row in records]
    assert ticks.bid.tolist() == [float(f"{row[2]}e-5") for row in records]
    assert ticks.ask_size.tolist() == [row[3] * 1e6 for row in records]
    assert ticks.bid_size.tolist() == [row[4] * 1e6 for row in records]


def test_months_of_a_tree_count_from_zero_and_of_a_flat_name_from_one(tmp_path: Path) -> None:
    assert dukascopy.hour_of(Path("EURUSD/2019/01/04/10h_ticks.bi5")) == HOUR
    assert dukascopy.hour_of(Path("EURUSD_2019-02-04_10h_ticks.bi5")) == HOUR
    assert dukascopy.hour_of(Path("EURUSD/2019/01/04/BID_candles_min_1.bi5")) is None
    with pytest.raises(DataError, match=r"no date that exists \(months 0 to 11\)"):
        dukascopy.hour_of(tmp_path / "2019/12/04/10h_ticks.bi5")


def test_a_tree_is_read_in_order_and_candles_are_left_aside(tmp_path: Path) -> None:
    day = tmp_path / "EURUSD/2019/01/04"
    for hour in (11, 9, 10):
        bi5(day / f"{hour:02d}h_ticks.bi5", [(hour, 110_010, 110_000, 1.0, 2.0)])
    candles(day / "BID_candles_min_1.bi5")
    candles(day / "ASK_candles_min_1.bi5")
    (tmp_path / "EURUSD/HistoryStart.bi5").write_bytes(b"\0" * 64)
    source = open_source(tmp_path, EURUSD)
    assert source.format == "dukascopy"
    assert source.notes == [
        "3 file(s) left aside, not ticks: ASK_candles_min_1.bi5, BID_candles_min_1.bi5, HistoryStart.bi5."
    ]
    assert ((read_all(source).ts_event_ns // HOUR_NS) - HOUR).tolist() == [-1, 0, 1]


def test_an_empty_hour_is_quiet_and_a_missing_one_is_missing(tmp_path: Path) -> None:
    day = tmp_path / "EURUSD/2019/01/04"
    bi5(day / "08h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])
    (day / "09h_ticks.bi5").write_bytes(b"")
    bi5(day / "11h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])
    source = open_source(tmp_path, EURUSD)
    assert source.empty_hours == (HOUR - 1,)
    assert source.missing_hours == (HOUR,)
    assert len(read_all(source)) == 2


def test_a_weekend_without_files_is_not_missing(tmp_path: Path) -> None:
    bi5(tmp_path / "2019/01/01/21h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])  # Friday, 1 February
    bi5(tmp_path / "2019/01/03/22h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])  # Sunday open
    assert open_source(tmp_path, EURUSD).missing_hours == ()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def not_lzma(path: Path) -> None:
    path.write_bytes(b"\0" * 64)


def half_record(path: Path) -> None:
    raw = np.array([(0, 110_010, 110_000, 1.0, 1.0)] * 3, dtype=dukascopy.TICK_RECORD).tobytes()[:-7]
    path.write_bytes(lzma.compress(raw, format=lzma.FORMAT_ALONE))


def holds_candles(path: Path) -> None:
    candles(path)


def late_tick(path: Path) -> None:
    bi5(path, [(5, 110_010, 110_000, 1.0, 1.0), (3_600_000, 110_010, 110_000, 1.0, 1.0)])


@pytest.mark.parametrize(
    ("spoil", "message", "row"),
    [
        (truncate, "cut off after", None),
        (not_lzma, "of 64 bytes holds no LZMA-compressed records", None),
        (half_record, "of 53 bytes is not whole records of 20 bytes", None),
        (holds_candles, "The file holds minute candles", 1),
        (late_tick, r"This tick is at 3600000 ms, outside of its hour \(below 3600000 ms\)", 1),
    ],
)
def test_a_spoilt_hour_is_an_error_and_never_quiet(
    tmp_path: Path, spoil: object, message: str, row: int | None
) -> None:
    path = bi5(
        tmp_path / "2019/01/04/10h_ticks.bi5", [(i, 110_010 + i, 110_000, 1.0, 1.0) for i in range(500)]
    )
    spoil(path)  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert caught.value.file == path
    assert caught.value.row == row


def test_a_file_that_is_no_hour_file_is_judged_by_its_content(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="This file holds minute candles"):
        open_source(candles(tmp_path / "a/BTC.bi5"), EURUSD)
    with pytest.raises(DataError, match="does not say the hour"):
        open_source(bi5(tmp_path / "b/some.bi5", [(0, 110_010, 110_000, 1.0, 1.0)]), EURUSD)
    (tmp_path / "c.bi5").write_bytes(b"")
    with pytest.raises(DataError, match="This file has 0 bytes: it is an hour without ticks"):
        open_source(tmp_path / "c.bi5", EURUSD)


def test_candles_are_decoded_in_the_order_open_close_low_high(tmp_path: Path) -> None:
    path = candles(tmp_path / "2019/01/04/BID_candles_min_1.bi5", 3)
    frame = dukascopy.read_candles(path, EURUSD)
    midnight = (HOUR - 10) * HOUR_NS
    assert frame.row(1) == (midnight + 60_000_000_000, 1.1, 1.10002, 1.09999, 1.10001, 1_500_000.0)


# --- zips and HistData ------------------------------------------------------------------------------------


def test_quote_zips_are_utc_and_fxcm_five_hours_behind(tmp_path: Path) -> None:
    text = "0,1.38676,1.38686\n86399999,1.38677,1.38687\n"
    for broker in ("oanda", "fxcm"):
        zipped(tmp_path / broker / "eurusd/20140501_quote.zip", "20140501_eurusd_tick_quote.csv", text)
    midnight = int(np.datetime64("2014-05-01", "ns").astype(np.int64))
    oanda = open_source(tmp_path / "oanda/eurusd", EURUSD)
    assert (oanda.format, oanda.notes) == ("oanda", [])
    assert read_all(oanda).ts_event_ns.tolist() == [midnight, midnight + 86_399_999_000_000]
    fxcm = open_source(tmp_path / "fxcm/eurusd", EURUSD)
    assert (fxcm.format, fxcm.notes) == (
        "fxcm",
        ["Stamps were read as the clock -05:00 and turned into UTC."],
    )
    assert read_all(fxcm).ts_event_ns[0] == midnight + 5 * HOUR_NS
    given = read(tmp_path / "oanda/eurusd", format="fxcm", options=ReaderOptions(utc_offset_h=2.0))
    assert given.ts_event_ns[0] == midnight - 2 * HOUR_NS


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        ("0,1.1,1.2\n86400000,1.1,1.2\n", r"86400000 ms is outside of the file's day \(0 … 86399999 ms\)", 1),
        ("0,1.1,1.2\n5,abc,1.2\n", "'bid' must hold a number, but got 'abc'", 1),
        ("0,1.1,1.2\nx,1.1,1.2\n", "'ms' must hold a whole number, but got 'x'", 1),
        ("0,1.1,1.2\n5,1.1\n", "This line has 2 fields, the others 3", 1),
        ("0,1,2,3,4,5,6,7,8,9,10\n", "This archive holds bars", None),
        ("0,1.1\n", "The first line '0,1.1' is not", 0),
    ],
)
def test_a_bad_line_names_file_and_row(tmp_path: Path, text: str, message: str, row: int | None) -> None:
    path = zipped(tmp_path / "20140501_quote.zip", "20140501_eurusd_tick_quote.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert (caught.value.file, caught.value.row) == (path, row)


def test_a_damaged_or_strange_zip_is_an_error(tmp_path: Path) -> None:
    path = zipped(tmp_path / "20140501_quote.zip", "20140501_eurusd_tick_quote.csv", "0,1.1,1.2\n" * 2000)
    raw = bytearray(path.read_bytes())
    raw[60:70] = b"\xff" * 10
    path.write_bytes(bytes(raw))
    with pytest.raises(DataError, match="This zip archive is damaged"):
        read(tmp_path, format="oanda")
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match="This zip archive is damaged"):
        read(tmp_path)
    zipped(path, "readme.md", "nothing")
    with pytest.raises(DataError, match=r"holds readme\.md instead of one CSV file"):
        read(tmp_path)


def test_histdata_ticks_are_on_new_york_wall_clock(tmp_path: Path) -> None:
    text = "20180102 170000123,1.205010,1.205130,0\n20180702 170000123,1.165010,1.165130,0\n"
    source = open_source(
        zipped(tmp_path / "HISTDATA_COM_ASCII_EURUSD_T201801.zip", "DAT_ASCII.csv", text), EURUSD
    )
    assert source.format == "histdata"
    ticks = read_all(source)
    wanted = [np.datetime64("2018-01-02T22:00:00.123"), np.datetime64("2018-07-02T21:00:00.123")]
    assert ticks.ts_event_ns.astype("datetime64[ns]").tolist() == [
        stamp.astype("datetime64[ns]").astype(int) for stamp in wanted
    ]
    assert ticks.bid.tolist() == [1.20501, 1.16501]


def test_histdata_minute_bars_are_refused_as_ticks_and_read_as_bars(tmp_path: Path) -> None:
    path = tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv"
    path.write_text("20180101 170000;1.200370;1.201000;1.200370;1.201000;0\n")
    with pytest.raises(DataError, match=r"This file holds minute bars \(HistData M1: bid only\)"):
        open_source(path, EURUSD)
    bars = histdata.read_minute_bars(path)
    opening = int(np.datetime64("2018-01-01T22:00", "ns").astype(np.int64))
    assert bars.row(0) == (opening, 1.20037, 1.201, 1.20037, 1.201, 0, 0)


def test_minute_bars_of_quote_zips_are_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "20140501_quote.zip", "x.csv", "60000,1,2,3,4,5,6,7,8,9,10\n")
    opening = int(np.datetime64("2014-05-01T00:01", "ns").astype(np.int64))
    assert quote_zip.read_bars(path).row(0) == (opening, *map(float, range(1, 11)), 0)


# --- CSV and Parquet --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "line", "stamp"),
    [
        ("time,bid,ask", "2019-02-04 10:00:00.043,1.1,1.2", "2019-02-04T10:00:00.043"),
        ("Timestamp,Bid,Ask", "2019-02-04T10:00:00.043Z,1.1,1.2", "2019-02-04T10:00:00.043"),
        ("timestamp,bid,ask", "2019-02-04T12:00:00.043+02:00,1.1,1.2", "2019-02-04T10:00:00.043"),
        ("Gmt time,Ask,Bid", "04.02.2019 10:00:00.043,1.2,1.1", "2019-02-04T10:00:00.043"),
        ("date\ttime\tbid\task", "2019.02.04\t10:00:00.043\t1.1\t1.2", "2019-02-04T10:00:00.043"),
        ("ts_event_ns,bid,ask", "1549274400043000001,1.1,1.2", "2019-02-04T10:00:00.043000001"),
        ("time;bid;ask", "1549274400043;1.1;1.2", "2019-02-04T10:00:00.043"),
        ("time,bid,ask", "1549274400,1.1,1.2", "2019-02-04T10:00:00"),
        ("time,bid,ask", "20190204 100000043,1.1,1.2", "2019-02-04T10:00:00.043"),
    ],
)
def test_csv_times_are_read_in_every_usual_notation(
    tmp_path: Path, header: str, line: str, stamp: str
) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(f"{header}\n{line}\n")
    ticks = read(path)
    assert ticks.ts_event_ns[0] == np.datetime64(stamp, "ns").astype(np.int64)
    assert (ticks.bid[0], ticks.ask[0]) == (1.1, 1.2)


def test_a_clock_without_zone_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,bid,ask\n2019-02-04 10:00:00,1.1,1.2\n")
    ticks = read(path, options=ReaderOptions(utc_offset_h=-5))
    assert ticks.ts_event_ns[0] == (HOUR + 5) * HOUR_NS


@pytest.mark.parametrize(
    ("text", "message", "row"),
    [
        (
            "time,open,high,low,close\n1,1,1,1,1\n",
            r"This file holds bars \(time, open, high, low, close\)",
            None,
        ),
        ("when,price\n1,1\n", "No column for time and bid and ask is among when, price", None),
        ("time,bid,ask\nsoon,1.1,1.2\n", "'soon' in the column 'time' is no time", 0),
        ("time,bid,ask\n1549274400,1.1,1.2\n1549274401,x,1.2\n", "'bid' must hold a number, but got 'x'", 1),
        ("time,bid,ask\n1549274400,1.1,1.2\n1549274401,1.2\n", "This line has 2 fields, the others 3", 1),
        ("time,bid,ask,symbol\n1549274400,1,2,GBPUSD\n", "This file is of GBPUSD, not of EURUSD", 0),
        (
            "time,bid,ask,symbol\n1549274400,1,2,EUR/USD\n1549274401,1,2,GBPUSD\n",
            "The column 'symbol' says EUR/USD, GBPUSD; a source holds one",
            1,
        ),
        ("time,bid,ask,bid_size\n1549274400,1,2,0.75\n", "If sizes are in millions, give --size-unit 1e6", 0),
        ("", "This file is empty", None),
        ("time,bid,bid\n", "names a column twice", None),
    ],
)
def test_a_bad_csv_names_file_and_row(tmp_path: Path, text: str, message: str, row: int | None) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert (caught.value.file, caught.value.row) == (path, row)


def test_sizes_in_millions(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,bid,ask,BidVolume,AskVolume\n1549274400,1.1,1.2,0.75,\n")
    ticks = read(path, options=ReaderOptions(size_unit=1e6))
    assert (ticks.bid_size[0], ticks.ask_size[0]) == (750_000.0, 0.0)


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([1549274400043, 1549274401043]).cast(pl.Datetime("ms")),
        pl.Series([1549274400043000, 1549274401043000]).cast(pl.Datetime("us", "UTC")),
        pl.Series([1549274400043, 1549274401043]),
        pl.Series([1549274400.043, 1549274401.043]),
        pl.Series(["2019-02-04T10:00:00.043", "2019-02-04T10:00:01.043"]),
    ],
    ids=["naive", "zoned", "integer", "float", "text"],
)
@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32, pl.Decimal(12, 5)], ids=str)
def test_parquet_columns_are_mapped(tmp_path: Path, times: pl.Series, dtype: pl.DataType) -> None:
    path = tmp_path / "ticks.parquet"
    prices = pl.Series(["1.10001", "1.10002"]).cast(pl.Decimal(12, 5)).cast(dtype)
    pl.DataFrame({"Timestamp": times, "bid_price": prices, "ask_price": prices}).write_parquet(path)
    ticks = read(path)
    first = int(np.datetime64("2019-02-04T10:00:00.043", "ns").astype(np.int64))
    assert ticks.ts_event_ns.tolist() == [first, first + 10**9]
    assert ticks.bid.tolist() == [1.10001, 1.10002]


def test_other_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    pl.DataFrame({"x": [1], "y": [2]}).write_parquet(path)
    with pytest.raises(DataError, match="No column for time and bid and ask is among x, y"):
        open_source(tmp_path, EURUSD)
    pl.DataFrame({"time": [True], "bid": [1.0], "ask": [1.0]}).write_parquet(path)
    with pytest.raises(DataError, match="'time' holds Boolean, not times"):
        read(tmp_path)
    path.write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match="no readable Parquet"):
        open_source(tmp_path, EURUSD)


# --- recognition ------------------------------------------------------------------------------------------


def test_unknown_sources_list_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no such file or folder\. Check the path"):
        open_source(tmp_path / "nothing", EURUSD)
    with pytest.raises(DataError, match="This folder is empty"):
        open_source(tmp_path, EURUSD)
    (tmp_path / "ticks.json").write_text("{}")
    with pytest.raises(DataError, match=r"no format that is known: 1 \.json\. Formats: dukascopy") as caught:
        open_source(tmp_path, EURUSD)
    assert all(name in str(caught.value) for name in FORMATS)
    with pytest.raises(DataError, match=r"reads \.bi5 files, but this source holds 1 \.json"):
        open_source(tmp_path, EURUSD, format="dukascopy")
    with pytest.raises(DataError, match=r"There is no format 'parket'\. Did you mean 'parquet'"):
        open_source(tmp_path, EURUSD, format="parket")


def test_mixed_formats_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "ticks.csv").write_text("time,bid,ask\n1549274400,1.1,1.2\n")
    pl.DataFrame({"time": [1549274400], "bid": [1.1], "ask": [1.2]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"files of more than one format: 1 \.csv, 1 \.parquet"):
        open_source(tmp_path, EURUSD)
    source = open_source(tmp_path, EURUSD, format="csv")
    assert source.notes == ["1 file(s) of other kinds left aside (1 .parquet)."]


def test_two_instruments_or_another_one_are_refused_by_name(tmp_path: Path) -> None:
    for symbol in ("EURUSD", "GBPUSD"):
        bi5(tmp_path / symbol / "2019/01/04/10h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])
    with pytest.raises(DataError, match="This file is of GBPUSD, not of EURUSD"):
        open_source(tmp_path / "GBPUSD", EURUSD)
    bi5(tmp_path / "GBPUSD/2019/01/04/11h_ticks.bi5", [(0, 110_010, 110_000, 1.0, 1.0)])
    (tmp_path / "GBPUSD/2019/01/04/10h_ticks.bi5").unlink()
    with pytest.raises(
        DataError, match="a source holds one: the folder EURUSD says EURUSD, the folder GBPUSD"
    ):
        open_source(tmp_path, EURUSD)
