"""What a clock is taken for, what proves it, and what is refused: inputs of every kind that went wrong."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from aiopt.bars.files import read_bars
from aiopt.bars.importing.bar_import import BarImport, import_bars
from aiopt.bars.importing.reading import BarReading
from aiopt.errors import DataError
from aiopt.market.calendar import fx_weeks
from aiopt.ticks.checks.validation import parse_rules
from aiopt.ticks.clocks.local_time import WallClock, parse_clock
from aiopt.ticks.importing import import_ticks, validate_ticks
from aiopt.ticks.manifest import read_manifest
from aiopt.ticks.sources import ReaderOptions
from aiopt.utc import HOUR_NS

MINUTE_NS = 60_000_000_000


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def weeks(day: str, count: int = 1, step_min: int = 10) -> NDArray[np.int64]:
    """Return stamps of whole FX weeks, the first that of a Sunday, in UTC."""
    opens, closes = fx_weeks(ns(day), ns(day) + count * 7 * 24 * HOUR_NS)
    first = int(np.searchsorted(opens, ns(day)))
    pairs = zip(opens[first : first + count], closes[first : first + count], strict=True)
    return np.concatenate([np.arange(start, stop, step_min * MINUTE_NS) for start, stop in pairs])


def local(utc: NDArray[np.int64], clock: str) -> NDArray[np.int64]:
    told = parse_clock(clock)
    return utc + np.array([told.ahead_of_utc_ns(stamp) for stamp in utc.tolist()])


def prices(count: int) -> list[str]:
    return [f"{1.1 + (row % 50) * 1e-5:.5f}" for row in range(count)]


def histdata(path: Path, stamps: NDArray[np.int64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    when = pl.Series(stamps).cast(pl.Datetime("ns")).dt.strftime("%Y%m%d %H%M%S")
    rows = zip(when, prices(stamps.size), strict=True)
    path.write_text("".join(f"{time};{price};{price};{price};{price};0\n" for time, price in rows))
    return path


def metatrader(path: Path, stamps: NDArray[np.int64]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    when = pl.Series(stamps).cast(pl.Datetime("ns")).dt.strftime("%Y.%m.%d,%H:%M")
    rows = zip(when, prices(stamps.size), strict=True)
    path.write_text("".join(f"{time},{price},{price},{price},{price},9\n" for time, price in rows))
    return path


def quote_zips(folder: Path, stamps: NDArray[np.int64]) -> Path:
    """Write daily zips of ticks whose stamps are of any clock."""
    folder.mkdir(parents=True)
    days = stamps // (24 * HOUR_NS)
    for day in np.unique(days).tolist():
        ms = (stamps[days == day] - day * 24 * HOUR_NS) // 1_000_000
        name = str(np.datetime64(day, "D")).replace("-", "")
        lines = [
            f"{at},{price},{float(price) + 1e-4:.5f}" for at, price in zip(ms, prices(ms.size), strict=True)
        ]
        with zipfile.ZipFile(folder / f"{name}_quote.zip", "w") as archive:
            archive.writestr(f"{name}_eurusd_tick_quote.csv", "\n".join(lines))
    return folder


def opens(result: BarImport) -> NDArray[np.int64]:
    return read_bars(Path(result.files[0])).frame["ts_open_ns"].to_numpy()


# --- HistData: its conventions by year --------------------------------------------------------------------


def test_one_sunday_evening_tells_new_york_from_london(tmp_path: Path) -> None:
    # 17 March 2019: New York has summer time, London has not.
    utc = weeks("2019-03-17", step_min=1)[:120]
    path = histdata(tmp_path / "DAT_ASCII_EURUSD_M1_2019.csv", local(utc, "Europe/London-5"))
    result = import_bars(path, tmp_path / "bars", instrument="EURUSD")
    assert np.array_equal(opens(result), utc)
    assert (result.clock, result.proof.origin, result.proof.fitting) == ("Europe/London-5", "weeks", 1)
    assert result.first_ts_ns == ns("2019-03-17T21:00")
    source = read_bars(Path(result.files[0])).meta.source
    assert "bars, clock Europe/London-5 (chosen by the weeks of each file): proved by 1 of 1 weeks" in source


def test_every_file_of_several_years_chooses_its_own_clock(tmp_path: Path) -> None:
    years = {2018: "America/New_York", 2019: "Europe/London-5", 2022: "-05:00"}
    truth = []
    for year, clock in years.items():
        truth.append(weeks(f"{year}-03-04", 7))
        histdata(tmp_path / f"in/DAT_ASCII_EURUSD_M1_{year}.csv", local(truth[-1], clock))
    result = import_bars(tmp_path / "in", tmp_path / "bars", instrument="EURUSD")
    assert np.array_equal(opens(result), np.concatenate(truth))
    assert result.clock == ", ".join(years.values())
    assert (result.proof.weeks, result.proof.fitting) == (21, 21)


@pytest.mark.parametrize(
    ("day", "clock", "origin"),
    [("2018-07-10", "America/New_York", "year"), ("2019-03-19", "Europe/London-5", "year")],
)
def test_a_year_that_is_known_decides_where_no_week_does(
    tmp_path: Path, day: str, clock: str, origin: str
) -> None:
    utc = np.arange(ns(day), ns(day) + 30 * HOUR_NS, 10 * MINUTE_NS)
    path = histdata(tmp_path / "DAT_ASCII_EURUSD_M1.csv", local(utc, clock))
    result = import_bars(path, tmp_path / "bars", instrument="EURUSD")
    assert np.array_equal(opens(result), utc)
    assert (result.clock, result.proof.origin, result.proof.is_proved) == (clock, origin, False)
    assert "known of the provider's files of that year): not proved, no week opens" in result.proof.text


def test_a_year_of_which_nothing_is_known_is_asked_for(tmp_path: Path) -> None:
    utc = np.arange(ns("2016-07-12"), ns("2016-07-14"), 10 * MINUTE_NS)
    path = histdata(tmp_path / "DAT_ASCII_EURUSD_M1.csv", local(utc, "NY"))
    message = (
        r"this one can be America/New_York or -05:00: .* nothing is known of its year. Give it with --timez"
    )
    with pytest.raises(DataError, match=message):
        import_bars(path, tmp_path / "bars", instrument="EURUSD")
    result = import_bars(path, tmp_path / "bars", BarReading(timezone="NY"), instrument="EURUSD")
    assert np.array_equal(opens(result), utc)
    # In winter all that HistData uses is the same: there is nothing to ask.
    winter = utc - ns("2016-07-12") + ns("2016-01-12")
    path = histdata(tmp_path / "w/DAT_ASCII_EURUSD_M1.csv", local(winter, "NY"))
    assert np.array_equal(opens(import_bars(path, tmp_path / "w", instrument="EURUSD")), winter)


def test_ticks_of_histdata_choose_their_clock_too(tmp_path: Path) -> None:
    utc = weeks("2019-03-03", 4, step_min=5)
    when = pl.Series(local(utc, "Europe/London-5")).cast(pl.Datetime("ns")).dt.strftime("%Y%m%d %H%M%S%3f")
    rows = zip(when, prices(utc.size), strict=True)
    path = tmp_path / "DAT_ASCII_EURUSD_T_201903.csv"
    path.write_text("".join(f"{time},{price},{float(price) + 1e-4:.5f},0\n" for time, price in rows))
    manifest = import_ticks(path, tmp_path / "store", instrument="EURUSD")
    assert (manifest.first_ts_ns, manifest.last_ts_ns) == (utc[0], utc[-1])
    assert manifest.clock is not None
    assert (manifest.clock.clock, manifest.clock.origin) == ("Europe/London-5", "weeks")
    assert read_manifest(tmp_path / "store").clock == manifest.clock


# --- other sources ----------------------------------------------------------------------------------------


def test_a_broker_on_utc_is_refused_with_the_clock_that_fits(tmp_path: Path) -> None:
    utc = weeks("2019-02-03", step_min=5)
    path = metatrader(tmp_path / "EURUSD_M5.csv", utc)
    message = (
        r"Read as the clock NY\+7, a week begins at 2019-02-03T20:00.*, -2 h\. "
        r".* fits its weeks: --timezone UTC, "
        r".*"
        r"--timezone Europe/London \(alike in these weeks\)"
    )
    with pytest.raises(DataError, match=message) as caught:
        import_bars(path, tmp_path / "bars", instrument="EURUSD")
    assert (caught.value.file, caught.value.row) == (path, 0)
    assert not (tmp_path / "bars").exists()
    assert np.array_equal(
        opens(import_bars(path, tmp_path / "bars", BarReading(timezone="UTC"), instrument="EURUSD")), utc
    )
    kept = import_bars(path, tmp_path / "kept", BarReading(keep_clock=True), instrument="EURUSD")
    assert opens(kept)[0] == utc[0] - 2 * HOUR_NS
    assert "contradicted by 1 of 1 weeks, kept on request" in kept.proof.text
    assert not kept.proof.is_proved


@pytest.mark.parametrize("rows", [2, 12, 40, 200])
def test_a_few_rows_of_a_sunday_evening_are_enough(tmp_path: Path, rows: int) -> None:
    utc = weeks("2019-07-07", step_min=1)[:rows]
    path = metatrader(tmp_path / "EURUSD_M1.csv", local(utc, "UTC"))
    with pytest.raises(DataError, match=r"Read as the clock NY\+7, .*What fits its weeks: --timezone UTC"):
        import_bars(path, tmp_path / "bars", instrument="EURUSD")


def test_a_given_clock_that_the_weeks_contradict_is_refused(tmp_path: Path) -> None:
    path = metatrader(tmp_path / "EURUSD_M10.csv", local(weeks("2019-02-03", 10), "Europe/Athens"))
    fits = r"fits its weeks: --timezone Europe/Athens\."
    message = rf"Read as the clock NY\+7, .*, as do 2 more weeks \(-1 h\).*{fits}"
    with pytest.raises(DataError, match=message):
        import_bars(path, tmp_path / "bars", BarReading(timezone="NY+7"), instrument="EURUSD")


@pytest.mark.parametrize("whole_week", [False, True])
def test_fxcm_files_in_a_folder_of_another_name_are_refused(tmp_path: Path, whole_week: bool) -> None:
    utc = weeks("2014-04-27")
    stamps = local(utc if whole_week else utc[-200:], "-05:00")
    folder = quote_zips(tmp_path / "quotes/eurusd", stamps)
    message = r"Read as the clock UTC.*What fits its weeks: --timezone -05:00"
    with pytest.raises(DataError, match=message):
        import_ticks(folder, tmp_path / "store", instrument="EURUSD")
    for options, format in ((ReaderOptions(utc_offset_h=-5), None), (None, "fxcm")):
        out = tmp_path / f"store-{format}"
        manifest = import_ticks(folder, out, instrument="EURUSD", options=options, format=format)
        assert manifest.last_ts_ns == utc[-1]
        assert manifest.clock is not None
        assert manifest.clock.is_proved
    # Said to be UTC, a file that ends early on Friday is one that ends early on Friday.
    if not whole_week:
        told = import_ticks(
            folder, tmp_path / "told", instrument="EURUSD", options=ReaderOptions(timezone="UTC")
        )
        assert told.clock is not None
        assert told.clock.text == "UTC (as given): not proved, no week opens or closes in the source."


def test_what_proves_nothing_says_so(tmp_path: Path) -> None:
    utc = np.arange(ns("2019-02-05T10:00"), ns("2019-02-05T15:00"), MINUTE_NS)
    result = import_bars(
        metatrader(tmp_path / "EURUSD_M1.csv", local(utc, "NY+7")), tmp_path / "bars", instrument="EURUSD"
    )
    assert (
        result.proof.text
        == "NY+7 (assumed, the files do not say): not proved, no week opens or closes in the source."
    )
    day = 24 * HOUR_NS
    daily = metatrader(tmp_path / "d/EURUSD1440.csv", np.arange(ns("2019-02-04"), ns("2019-02-09"), day))
    proof = import_bars(daily, tmp_path / "daily", instrument="EURUSD").proof
    # A day bar is stamped 00:00 on every clock.
    assert (proof.fitting, proof.contradicting, proof.is_proved) == (0, 0, False)


def test_an_instrument_that_never_closes_has_no_witness(tmp_path: Path) -> None:
    ts = np.arange(ns("2024-02-02"), ns("2024-02-12"), 10 * MINUTE_NS)
    frame = pl.DataFrame(
        {"ts_event_ns": ts, "bid": np.full(ts.size, 40_000.0), "ask": np.full(ts.size, 40_001.0)}
    )
    frame.write_csv(tmp_path / "BTCUSD.csv")
    manifest = import_ticks(tmp_path / "BTCUSD.csv", tmp_path / "store", instrument="BTCUSD")
    assert manifest.clock is not None
    assert (
        "not proved, BTCUSD trades through the week-end and so has no weeks to tell by" in manifest.clock.text
    )


def test_quotes_through_the_week_end_are_no_contradiction(tmp_path: Path) -> None:
    ts = np.arange(ns("2019-02-01"), ns("2019-02-14"), 10 * MINUTE_NS)
    result = import_bars(
        metatrader(tmp_path / "EURUSD.csv", local(ts, "NY+7")), tmp_path / "b", instrument="EURUSD"
    )
    assert (result.proof.fitting, result.proof.contradicting) == (0, 0)


def test_single_quotes_of_a_week_end_are_told_and_move_no_edge(tmp_path: Path) -> None:
    utc = weeks("2019-02-03", 3)
    strays = np.array([ns("2019-02-09T12:00"), ns("2019-02-10T20:00")])
    result = import_bars(
        metatrader(tmp_path / "EURUSD.csv", local(np.sort(np.append(utc, strays)), "NY+7")),
        tmp_path / "bars",
        instrument="EURUSD",
    )
    assert result.proof.fitting == 3
    assert "2 have something in the week-end beside them (first: that of 2019-02-03)" in result.proof.text


def test_holidays_only_shorten_a_week(tmp_path: Path) -> None:
    utc = weeks("2018-12-09", 5)
    # Closed from Christmas Eve to the 26th and on New Year; on Friday 21 December three hours early.
    closed = [("2018-12-24T20:00", "2018-12-26T00:00"), ("2018-12-30T21:00", "2019-01-02T00:00")]
    for start, stop in (*closed, ("2018-12-21T19:00", "2018-12-23T00:00")):
        utc = utc[(utc < ns(start)) | (utc >= ns(stop))]
    result = import_bars(
        metatrader(tmp_path / "E.csv", local(utc, "NY+7")), tmp_path / "b", instrument="EURUSD"
    )
    assert np.array_equal(opens(result), utc)
    assert (result.proof.weeks, result.proof.fitting, result.proof.contradicting) == (5, 5, 0)
    assert "1 begin late or end early by whole hours (first: that of 2018-12-16)" in result.proof.text


def test_validation_counts_weeks_and_names_the_clock(tmp_path: Path) -> None:
    folder = quote_zips(tmp_path / "fxcm/eurusd", local(weeks("2014-04-27", 2), "UTC"))
    check = validate_ticks(folder, instrument="EURUSD")
    assert not check.ok
    assert "What fits its weeks: --timezone UTC" in check.failures[0]
    assert check.clock is not None
    assert check.clock.contradicting == 2
    kept = import_ticks(
        folder, tmp_path / "store", instrument="EURUSD", rules=parse_rules(["clock_shift=keep"])
    )
    assert kept.clock is not None
    assert "contradicted by 2 of 2 weeks" in kept.clock.text
    moved = import_ticks(
        folder, tmp_path / "moved", instrument="EURUSD", rules=parse_rules(["clock_shift=fix"])
    )
    assert moved.first_ts_ns == weeks("2014-04-27")[0]
    assert moved.clock is not None
    assert "2 were moved into place" in moved.clock.text


# --- hours that were twice, or never ----------------------------------------------------------------------

FOLD = ("2018-11-04T01:00", "2018-11-04T01:10", "2018-11-04T01:50")


@pytest.mark.parametrize(
    ("stamps", "second"),
    [
        ((*FOLD, *FOLD), 3),  # both, told apart by the step back
        (("2018-11-04T00:50", *FOLD, *FOLD, "2018-11-04T02:00"), 3),
        (FOLD, None),  # one of the two: which?
        (("2018-11-04T02:00", *FOLD[::-1], *FOLD[::-1]), None),  # newest first
        ((FOLD[0], FOLD[2], FOLD[0], FOLD[2], FOLD[0]), None),  # two steps back
    ],
)
def test_an_hour_that_was_twice_is_proved_by_order_or_refused(
    stamps: Sequence[str], second: int | None
) -> None:
    wall = WallClock(parse_clock("NY"), Path("x.csv"))
    given = np.array([ns(stamp) for stamp in stamps])
    found = wall.to_utc(given)
    if second is None:
        with pytest.raises(
            DataError,
            match=r"2018-11-04T01 of America/New_York was there twice.*they step back \d times.*--utc-offset",
        ):
            wall.notes()
        return
    assert f"{second} (after a step back) as the second" in wall.notes()[0]
    assert (np.diff(found) > 0).all()
    assert int((found - given == 5 * HOUR_NS).sum()) == second + int("2018-11-04T02:00" in stamps)


def test_bars_of_an_hour_show_the_hour_that_was_twice_by_repeating_it() -> None:
    wall = WallClock(parse_clock("NY"), bars=True)
    hours = ["2018-11-04T00:00", "2018-11-04T01:00", "2018-11-04T01:00", "2018-11-04T02:00"]
    found = wall.to_utc(np.array([ns(hour) for hour in hours]))
    assert np.diff(found).tolist() == [HOUR_NS] * 3
    assert len(wall.notes()) == 1


def test_half_an_hour_can_be_twice_too() -> None:
    # Lord Howe Island puts its clock back by half an hour.
    wall = WallClock(parse_clock("Australia/Lord_Howe"))
    texts = [
        "2018-04-01T01:29",
        "2018-04-01T01:31",
        "2018-04-01T01:59",
        "2018-04-01T01:30",
        "2018-04-01T02:00",
    ]
    found = wall.to_utc(np.array([ns(text) for text in texts]))
    assert found[0] == ns("2018-03-31T14:29")
    assert found[-1] == ns("2018-03-31T15:30")
    # 29 minutes back are less than the half-hour a step of ticks must have.
    with pytest.raises(DataError, match="could be of either"):
        wall.notes()


def test_bars_with_a_stamp_that_never_was_are_on_another_clock(tmp_path: Path) -> None:
    stamps = np.arange(ns("2018-03-11T00:00"), ns("2018-03-11T06:00"), 10 * MINUTE_NS)
    path = metatrader(tmp_path / "BTCUSD.csv", stamps)
    path.write_text(path.read_text().replace(",1.1", ",11111.1"))
    with pytest.raises(DataError, match=r"at its change to summer time\. The source is on another clock"):
        import_bars(path, tmp_path / "bars", BarReading(timezone="NY"), instrument="BTCUSD")
