"""TrueFX, MetaTrader, mapped tables, wall clocks, and bars imported as bars."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aiopt.bars.files import read_bars
from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.importing.reading import BarReading
from aiopt.cli.ticks import command
from aiopt.errors import ConfigError, DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.clocks.local_time import WallClock, parse_clock
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.schema import TickArrays
from aiopt.ticks.sources import ReaderOptions, TickSource, open_source, parse_columns
from aiopt.utc import HOUR_NS

EURUSD = instrument("EURUSD")


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def read_all(source: TickSource) -> TickArrays:
    parts = [batch.ticks for number in range(len(source.files)) for batch in source.read(number)]
    names = [name for name, _ in parts[0].columns()]
    return TickArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- TrueFX -----------------------------------------------------------------------------------------------

TRUEFX = "EUR/USD,20140501 00:00:00.123,1.38676,1.38686\nEUR/USD,20140501 00:00:01.000,1.38677,1.38687\n"


def test_truefx_months_are_recognised_zipped_or_not_and_gmt(tmp_path: Path) -> None:
    later = TRUEFX.replace("201405", "201406")
    with zipfile.ZipFile(tmp_path / "EURUSD-2014-06.zip", "w") as archive:
        archive.writestr("EURUSD-2014-06.csv", later)
    with zipfile.ZipFile(tmp_path / "z_EURUSD-2014-05.zip", "w") as archive:
        archive.writestr("EURUSD-2014-05.csv", TRUEFX)
    source = open_source(tmp_path, EURUSD)
    assert (source.format, source.notes) == ("truefx", [])
    ticks = read_all(source)
    assert ticks.ts_event_ns[[0, 3]].tolist() == [ns("2014-05-01T00:00:00.123"), ns("2014-06-01T00:00:01")]
    assert (ticks.bid[0], ticks.ask[0]) == (1.38676, 1.38686)
    plain = open_source(write(tmp_path / "plain/EURUSD-2014-05.csv", TRUEFX), EURUSD)
    assert plain.format == "truefx"
    assert len(read_all(plain)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message", "row"),
    [
        ("EUR/USD,20140501 00:00:01", "GBP/USD,20140501 00:00:01", "'pair' says EUR/USD, GBP/USD", 1),
        ("00:00:01.000", "00:00:71.000", "is no time like 20180102 17:00:00.123", 1),
        (",1.38687", ",dear", "'ask' must hold a number, but got 'dear'", 1),
    ],
)
def test_a_bad_line_of_truefx_names_file_and_row(
    tmp_path: Path, old: str, new: str, message: str, row: int
) -> None:
    path = write(tmp_path / "EURUSD-2014-05.csv", TRUEFX.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        import_ticks(path, tmp_path / "store")
    assert (caught.value.file, caught.value.row) == (path, row)
    assert not (tmp_path / "store").exists()


# --- MetaTrader -------------------------------------------------------------------------------------------

HEADER = "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"


def test_metatrader_ticks_carry_blank_prices_forward_and_are_on_the_brokers_clock(tmp_path: Path) -> None:
    path = write(
        tmp_path / "EURUSD_201901020000_201907020000.csv",
        HEADER
        + "2019.01.02\t00:00:00.100\t\t1.14620\t\t\t4\n"
        + "2019.01.02\t00:00:00.250\t1.14610\t\t\t\t2\n"
        + "2019.01.02\t00:00:01.000\t\t\t\t\t0\n"
        + "2019.01.02\t00:00:02.000\t1.14611\t1.14621\t\t\t6\n"
        + "2019.07.02\t00:00:02.000\t\t1.14625\t\t\t4\n",
    )
    source = open_source(path, EURUSD)
    assert source.format == "metatrader"
    batches = list(source.read(0))
    assert [(batch.first_row, len(batch.ticks)) for batch in batches] == [(1, 1), (3, 2)]
    ticks = read_all(open_source(path, EURUSD))
    # Midnight of the server is 17:00 New York: 22:00 UTC in winter, 21:00 in summer.
    wanted = ["2019-01-01T22:00:00.250", "2019-01-01T22:00:02", "2019-07-01T21:00:02"]
    assert ticks.ts_event_ns.tolist() == [ns(text) for text in wanted]
    assert ticks.bid.tolist() == [1.1461, 1.14611, 1.14611]
    assert ticks.ask.tolist() == [1.1462, 1.14621, 1.14625]
    assert source.notes == [
        "Stamps were read as the clock NY+7 and turned into UTC.",
        f"{path.name}: 2 line(s) without a quote left out.",
    ]
    athens = read_all(open_source(path, EURUSD, options=ReaderOptions(timezone="Europe/Athens")))
    assert athens.ts_event_ns[2] == ns("2019-07-01T21:00:02")


@given(
    quotes=st.lists(
        st.tuples(st.none() | st.integers(110_000, 110_100), st.none() | st.integers(110_101, 110_200)),
        min_size=1,
        max_size=60,
    )
)
def test_metatrader_ticks_are_the_last_known_prices(
    tmp_path_factory: pytest.TempPathFactory, quotes: list[tuple[int | None, int | None]]
) -> None:
    lines, wanted = [], []
    bid = ask = None
    for second, (new_bid, new_ask) in enumerate(quotes):
        texts = ["" if price is None else f"{price / 1e5:.5f}" for price in (new_bid, new_ask)]
        lines.append(
            f"2019.01.02\t00:{second // 60:02d}:{second % 60:02d}.000\t{texts[0]}\t{texts[1]}\t\t\t6"
        )
        bid, ask = new_bid or bid, new_ask or ask
        if bid and ask and (new_bid or new_ask):
            wanted.append((second, bid / 1e5, ask / 1e5))
    path = write(tmp_path_factory.mktemp("mt") / "EURUSD.csv", HEADER + "\n".join(lines) + "\n")
    source = open_source(path, EURUSD)
    found = [
        (batch.first_row + number, float(batch.ticks.bid[number]), float(batch.ticks.ask[number]))
        for batch in source.read(0)
        for number in range(len(batch.ticks))
    ]
    assert found == wanted


def test_metatrader_refuses_bars_and_missing_columns_as_ticks(tmp_path: Path) -> None:
    bars = write(tmp_path / "EURUSD1.csv", "2019.01.02,00:00,1.1461,1.1465,1.1460,1.1464,52\n")
    with pytest.raises(DataError, match=r"This file holds bars of MetaTrader.*`aiopt bars import"):
        open_source(bars, EURUSD)
    odd = write(tmp_path / "b/EURUSD.csv", "<DATE>\t<TIME>\t<BID>\n2019.01.02\t00:00:00.1\t1.1\n")
    with pytest.raises(DataError, match="<ASK> is missing in"):
        open_source(odd, EURUSD)


# --- mapped tables ----------------------------------------------------------------------------------------


def test_columns_can_be_named_and_units_given(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.csv", "wann,Geld,Brief,Menge\n1549274400.5,1.1,1.2,3\n")
    with pytest.raises(DataError, match="or name them: --map ts="):
        open_source(path, EURUSD)
    columns = {"ts": "wann", "bid": "Geld", "ask": "Brief", "bid_size": "Menge"}
    ticks = read_all(open_source(path, EURUSD, options=ReaderOptions(columns=columns, time_unit="s")))
    assert (ticks.ts_event_ns[0], ticks.bid_size[0]) == (1_549_274_400_500_000_000, 3.0)
    frame = pl.DataFrame({"a": [1549274400000], "b": [1.1], "c": [1.2]})
    frame.write_parquet(tmp_path / "odd.parquet")
    options = ReaderOptions(columns={"ts": "a", "bid": "b", "ask": "c"}, time_unit="ms")
    ticks = read_all(open_source(tmp_path / "odd.parquet", EURUSD, options=options))
    assert ticks.ts_event_ns[0] == 1_549_274_400_000_000_000


def test_a_table_without_header_is_mapped_by_position(tmp_path: Path) -> None:
    path = write(tmp_path / "bare.csv", "1.2;1.1;2019-02-04 10:00:00\n1.3;1.1;2019-02-04 10:00:01\n")
    options = ReaderOptions(columns={"ts": "2", "bid": "1", "ask": "0"}, header=False, timezone="NY")
    ticks = read_all(open_source(path, EURUSD, options=options))
    assert ticks.ts_event_ns[0] == ns("2019-02-04T15:00:00")
    assert ticks.ask.tolist() == [1.2, 1.3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"ts": "a", "bid": "b"}}, "--map needs ts, bid and ask, but got ts, bid"),
        ({"columns": {"tz": "a"}}, "no meaning 'tz'. Use ts, bid"),
        (
            {"time_unit": "min"},
            "There is no time unit 'min'. Choose one of s, ms, us, ns, .*YYYYMMDDHHMMSSmmm",
        ),
        ({"header": False}, "say where the columns are"),
        ({"timezone": "NY", "utc_offset_h": 2.0}, "given twice"),
        ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is no timezone"),
        ({"timezone": "+99:00"}, "'\\+99:00' is no timezone"),
    ],
)
def test_wrong_options_say_what_would_be_right(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ReaderOptions(**options)  # type: ignore[arg-type]


def test_options_a_format_has_no_use_for_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "EURUSD-2014-05.csv", TRUEFX)
    with pytest.raises(DataError, match="are for csv, json and parquet, but this is truefx"):
        open_source(path, EURUSD, format="truefx", options=ReaderOptions(time_unit="ms"))
    hour = tmp_path / "2019/01/04/10h_ticks.bi5"
    hour.parent.mkdir(parents=True)
    hour.write_bytes(b"x")
    with pytest.raises(DataError, match="for dukascopy: it is UTC"):
        open_source(hour, EURUSD, options=ReaderOptions(timezone="NY"))
    table = write(tmp_path / "t.csv", "time,bid,ask\n1549274400,1.1,1.2\n")
    wrong = ReaderOptions(columns={"ts": "tme", "bid": "bid", "ask": "ask"})
    with pytest.raises(DataError, match=r"no column 'tme', which --map names\. Did you mean 'time'"):
        open_source(table, EURUSD, options=wrong)


def test_the_command_takes_the_map(tmp_path: Path) -> None:
    assert parse_columns("ts=a, bid=b,ask=c") == {"ts": "a", "bid": "b", "ask": "c"}
    with pytest.raises(ConfigError, match="each meaning once, but got 'ts=b'"):
        parse_columns("ts=a,ts=b")
    path = write(tmp_path / "odd.csv", "w,g,b\n1549274400,1.1,1.2\n")
    arguments = ["import", str(path), "--out", str(tmp_path / "s"), "--map", "ts=w,bid=g,ask=b", "--json"]
    arguments += ["--instrument", "EURUSD"]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None
    assert '"rows":1' in result.stdout


def test_the_order_of_files_does_not_matter(tmp_path: Path) -> None:
    frames = [
        pl.DataFrame(
            {
                "ts_event_ns": ns("2024-05-06T00:00") + (np.arange(500) + 500 * part) * 10**9,
                "bid": (110_000 + (np.arange(500) * 7 + part) % 40) / 1e5,
                "ask": (110_010 + (np.arange(500) * 7 + part) % 40) / 1e5,
            }
        )
        for part in range(3)
    ]
    found = []
    for kind in ("csv", "parquet"):
        for order in ((0, 1, 2), (2, 0, 1)):
            folder = tmp_path / f"{kind}{order[0]}"
            folder.mkdir()
            for name, part in zip("abc", order, strict=True):
                getattr(frames[part], f"write_{kind}")(folder / f"{name}.{kind}")
            manifest = import_ticks(folder, tmp_path / f"store-{kind}{order[0]}")
            found.append((manifest.data_hash, [(count.rule, count.found) for count in manifest.rules]))
    assert all(one == found[0] for one in found)


# --- clocks -----------------------------------------------------------------------------------------------


@given(
    seconds=st.lists(st.integers(1_500_000_000, 1_800_000_000), min_size=1, max_size=50),
    zone=st.sampled_from(["NY", "NY+7", "Europe/Athens", "+05:30", "UTC", "Australia/Sydney"]),
)
def test_turning_a_clock_and_back_gives_the_same_stamps(seconds: list[int], zone: str) -> None:
    clock = parse_clock(zone)
    utc = pl.Series(sorted(seconds)).cast(pl.Int64) * 10**9
    stamps = utc.cast(pl.Datetime("ns", "UTC"))
    if clock.zone is not None:
        stamps = stamps.dt.convert_time_zone(clock.zone)
    local = stamps.dt.replace_time_zone(None).to_physical().to_numpy() + clock.ahead_ns
    found = WallClock(clock).to_utc(local)
    # An hour that occurs twice is told from its repetition only by a step back, which sparse stamps lack.
    twice = np.abs(found - utc.to_numpy()) == HOUR_NS
    assert np.array_equal(np.where(twice, found + HOUR_NS, found), utc.to_numpy())


def test_a_repeated_hour_is_told_by_the_step_back_and_counted_per_hour() -> None:
    wall = WallClock(parse_clock("NY"))
    minutes = np.arange(180, dtype=np.int64) * 60 * 10**9
    utc = ns("2018-11-04T04:30") + minutes  # clocks change at 06:00 UTC
    local = np.where(utc < ns("2018-11-04T06:00"), utc - 4 * HOUR_NS, utc - 5 * HOUR_NS)
    parts = [wall.to_utc(part) for part in np.split(local, [45, 95, 140])]
    assert np.array_equal(np.concatenate(parts), utc)
    note = "120 stamp(s) in 2018-11-04T01 of America/New_York, which was twice: 60 read as the first, 60 "
    assert wall.notes() == [note + "(after a step back) as the second."]


def test_a_skipped_hour_proves_another_clock() -> None:
    wall = WallClock(parse_clock("NY"), Path("ticks.csv"))
    assert wall.to_utc(np.array([ns("2018-03-11T01:59")])).tolist() == [ns("2018-03-11T06:59")]
    with pytest.raises(
        DataError, match="never showed 2018-03-11T02:30:00: America/New_York skipped 2018-03-11T02"
    ) as caught:
        wall.to_utc(np.array([ns("2018-03-11T03:00"), ns("2018-03-11T02:30")]))
    assert (caught.value.file, caught.value.row) == (Path("ticks.csv"), 2)


# --- bars -------------------------------------------------------------------------------------------------

M1 = "20180101 170000;1.20037;1.20100;1.20030;1.20100;0\n20180101 170100;1.20100;1.20110;1.20090;1.20095;0\n"


def test_bars_of_every_layout_become_bar_files(tmp_path: Path) -> None:
    histdata = import_bars(write(tmp_path / "a/DAT_ASCII_EURUSD_M1_2018.csv", M1), tmp_path / "bars")
    assert (histdata.timeframe, histdata.clock, histdata.bars) == ("1m", "America/New_York", {"bid": 2})
    table = read_bars(tmp_path / "bars/EURUSD/1m/bid.parquet")
    assert table.frame["ts_open_ns"][0] == ns("2018-01-01T22:00")
    assert table.frame.row(1)[1:] == (1.201, 1.2011, 1.2009, 1.20095, 0.0, 0)
    assert table.meta.data_hash == histdata.data_hash
    before = (tmp_path / "bars/EURUSD/1m/bid.parquet").read_bytes()
    import_bars(tmp_path / "a/DAT_ASCII_EURUSD_M1_2018.csv", tmp_path / "bars")
    assert (tmp_path / "bars/EURUSD/1m/bid.parquet").read_bytes() == before

    old = "2018.01.02,00:00,1.20037,1.20100,1.20030,1.20100,7\n2018.01.02,00:01,1.2,1.2,1.2,1.2,1\n"
    metatrader = import_bars(write(tmp_path / "b/EURUSD1.csv", old), tmp_path / "mt")
    assert (metatrader.format, metatrader.clock) == ("metatrader", "NY+7")
    table = read_bars(tmp_path / "mt/EURUSD/1m/bid.parquet")
    assert (table.frame["ts_open_ns"][0], table.frame["ticks"][0]) == (ns("2018-01-01T22:00"), 7)
    new = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n" + "".join(
        f"2018.01.02\t{hour:02d}:00:00\t1.2\t1.3\t1.1\t1.25\t9\t0\t12\n" for hour in range(3)
    )
    assert import_bars(write(tmp_path / "c/EURUSD_H1.csv", new), tmp_path / "h1").timeframe == "1h"
    named = import_bars(write(tmp_path / "d/DAT_MT_EURUSD_M1_2018.csv", old), tmp_path / "hd")
    assert named.clock == "America/New_York"

    with zipfile.ZipFile(tmp_path / "eurusd.zip", "w") as archive:
        rows = [f"20180102 {hour:02d}:00,1.1,1.3,1.0,1.2,0,1.2,1.4,1.1,1.3,0" for hour in range(4)]
        archive.writestr("eurusd.csv", "\n".join(rows))
    both = import_bars(tmp_path / "eurusd.zip", tmp_path / "both")
    assert (both.bars, both.timeframe) == ({"bid": 4, "ask": 4}, "1h")
    assert read_bars(tmp_path / "both/EURUSD/1h/ask.parquet").frame["close"][0] == 1.3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("20180101 170200;1.2;1.1;1.0;1.1;0", "High and low of a bar must hold its open and close"),
        ("20180101 170200;120.1;120.2;120.0;120.1;0", r"Prices of EURUSD must lie in 0\.5"),
        ("20180101 170100;1.3;1.3;1.3;1.3;0", "2018-01-01T22:01:00.000000000Z has a second one"),
    ],
)
def test_an_impossible_bar_is_refused_with_its_row_or_left_out(
    tmp_path: Path, line: str, message: str
) -> None:
    path = write(tmp_path / "DAT_ASCII_EURUSD_M1_2018.csv", M1 + line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        import_bars(path, tmp_path / "bars")
    assert (caught.value.file, caught.value.row) == (path, 2)
    assert not (tmp_path / "bars").exists()
    if "second" not in message:
        result = import_bars(path, tmp_path / "bars", BarReading(drop_bad=True))
        assert (result.bars, result.dropped) == ({"bid": 2}, 1)


def test_equal_bars_of_overlapping_files_count_once(tmp_path: Path) -> None:
    write(tmp_path / "in/DAT_ASCII_EURUSD_M1_a.csv", M1)
    write(tmp_path / "in/DAT_ASCII_EURUSD_M1_b.csv", M1)
    result = import_bars(tmp_path / "in", tmp_path / "bars")
    assert (result.bars, result.repeated) == ({"bid": 2}, 2)


def test_what_are_no_bars_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "EURUSD-2014-05.csv", TRUEFX)
    with pytest.raises(DataError, match=r"known layout .*imported with `aiopt ticks import`"):
        import_bars(path, tmp_path / "bars")
    with pytest.raises(DataError, match="this path does not exist"):
        import_bars(tmp_path / "nothing", tmp_path / "bars")
    with pytest.raises(DataError, match="Did you mean 'histdata'"):
        import_bars(path, tmp_path / "bars", BarReading(format="histdat"))
