"""Any clock in, the same instants out, or a refusal: FX weeks written on every usual clock and read again."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiopt.bars.files import read_bars
from aiopt.bars.importing.bar_import import import_bars
from aiopt.bars.importing.reading import BarReading
from aiopt.errors import DataError
from aiopt.market.calendar import fx_weeks
from aiopt.ticks.clocks.clock_shift import WeekWatch
from aiopt.ticks.clocks.conventions import choose, convention, fitting_clocks
from aiopt.ticks.clocks.local_time import Clock, WallClock, parse_clock
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.sources import ReaderOptions
from aiopt.utc import HOUR_NS

MINUTE_NS = 60_000_000_000
CLOCKS = (
    *("UTC", "-05:00", "+01:00", "+02:00", "+03:00", "+08:00", "-08:00"),
    *("America/New_York", "NY+7", "NY+5", "Europe/London", "Europe/London-5", "Europe/Athens"),
)
EURUSD = "EURUSD"


def to_local(utc_ns: NDArray[np.int64], clock: Clock) -> NDArray[np.int64]:
    """Write stamps on a clock, independently of how they are read."""
    hours, starts = np.unique(utc_ns // (HOUR_NS // 2), return_index=True)
    ahead = [clock.ahead_of_utc_ns(int(hour) * (HOUR_NS // 2)) for hour in hours.tolist()]
    return utc_ns + np.repeat(np.array(ahead), np.diff(np.append(starts, utc_ns.size)))


@st.composite
def fx_stamps(draw: st.DrawFn, step_min: int = 10) -> NDArray[np.int64]:
    """Draw whole FX weeks of a random year: quiet openings and closings, a holiday perhaps."""
    day = draw(st.dates(dt.date(2003, 1, 1), dt.date(2026, 1, 1)))
    start = int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
    count = draw(st.integers(1, 6))
    opens, closes = fx_weeks(start, start + count * 7 * 24 * HOUR_NS)
    weeks = []
    for open_ns, close_ns in zip(opens[:count].tolist(), closes[:count].tolist(), strict=True):
        quiet = [draw(st.integers(0, 15 // step_min)) * step_min for _ in range(2)]
        weeks.append(
            np.arange(open_ns + quiet[0] * MINUTE_NS, close_ns - quiet[1] * MINUTE_NS, step_min * MINUTE_NS)
        )
    stamps = np.concatenate(weeks)
    if count > 2 and draw(st.booleans()):
        # A holiday inside the span: a day is missing, at an edge of its week or not.
        hole = draw(st.integers(int(closes[0]), int(opens[count - 1])))
        stamps = stamps[(stamps < hole) | (stamps >= hole + 24 * HOUR_NS)]
    return stamps


def same(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    return bool(np.array_equal(one, other))


def judged(local: NDArray[np.int64], told: Clock, bar_ns: int = 0) -> WeekWatch | None:
    """Return the weeks of stamps read as a clock; None if one of them never was."""
    try:
        utc = WallClock(told).to_utc(local)
    except DataError:
        return None
    watch = WeekWatch(bar_ns)
    watch.see(utc)
    return watch


@settings(max_examples=60, deadline=None)
@given(fx_stamps(), st.sampled_from(CLOCKS), st.sampled_from(CLOCKS))
def test_a_given_clock_gives_the_same_instants_or_is_contradicted(
    utc: NDArray[np.int64], true: str, told: str
) -> None:
    local = to_local(utc, parse_clock(true))
    watch = judged(local, parse_clock(told))
    right = same(local, to_local(utc, parse_clock(told)))
    if watch is None or watch.shifts():
        assert not right
        return
    assert right
    assert sum(week.fits() for week in watch.weeks()) > 0


@settings(max_examples=50, deadline=None)
@given(fx_stamps(), st.sampled_from(CLOCKS), st.sampled_from(CLOCKS), st.floats(0.02, 0.98))
def test_a_clock_that_changes_within_a_file_is_never_accepted(
    utc: NDArray[np.int64], first: str, second: str, where: float
) -> None:
    at = int(where * utc.size)
    local = np.concatenate(
        [to_local(part, parse_clock(name)) for part, name in ((utc[:at], first), (utc[at:], second))]
    )
    # Cut between two ticks of an open market, so that the change itself can be seen.
    assume(utc[at] - utc[at - 1] < HOUR_NS)
    for told in (first, second):
        watch = judged(local, parse_clock(told))
        if watch is None or watch.shifts() or watch.steps_back():
            continue
        if any(week.has_strays for week in watch.weeks()):
            # A few hours on another clock lie in the week-end: they are told of, not taken for a clock.
            continue
        assert same(local, to_local(utc, parse_clock(told)))


@settings(max_examples=30, deadline=None)
@given(fx_stamps(), st.sampled_from(CLOCKS))
def test_the_clocks_that_are_named_give_the_same_instants(utc: NDArray[np.int64], true: str) -> None:
    local = to_local(utc, parse_clock(true))
    for told in ("UTC", "America/New_York", "NY+7"):
        watch = judged(local, parse_clock(told))
        if watch is None:
            continue
        names = fitting_clocks([(week, parse_clock(told)) for week in watch.weeks()])
        assert names
        for name in names:
            assert same(local, to_local(utc, parse_clock(name)))


@settings(max_examples=30, deadline=None)
@given(fx_stamps(), st.sampled_from(CLOCKS))
def test_histdata_files_choose_their_clock_or_none_fits(utc: NDArray[np.int64], true: str) -> None:
    local = to_local(utc, parse_clock(true))
    chosen = choose(Path("DAT_ASCII_EURUSD_T.csv"), convention("histdata", Path("x.csv")), [local]).clock
    watch = judged(local, chosen)
    if true in {"America/New_York", "Europe/London-5", "-05:00"}:
        assert same(to_local(utc, chosen), local)
        assert watch is not None
        assert not watch.shifts()
    else:
        assert watch is None or watch.shifts() or same(to_local(utc, chosen), local)


# --- through files ----------------------------------------------------------------------------------------


def texts(local: NDArray[np.int64], pattern: str) -> list[str]:
    return pl.Series(local).cast(pl.Datetime("ns")).dt.strftime(pattern).to_list()


def write_bars(folder: Path, local: NDArray[np.int64], format: str) -> Path:
    price = [f"{1.1 + (row % 50) * 1e-5:.5f}" for row in range(local.size)]
    if format == "histdata":
        path = folder / "DAT_ASCII_EURUSD_M1.csv"
        lines = [f"{t};{p};{p};{p};{p};0" for t, p in zip(texts(local, "%Y%m%d %H%M%S"), price, strict=True)]
    else:
        path = folder / "EURUSD_M10.csv"
        rows = zip(texts(local, "%Y.%m.%d,%H:%M"), price, strict=True)
        lines = [f"{t},{p},{p},{p},{p},9" for t, p in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@settings(max_examples=20, deadline=None)
@given(fx_stamps(), st.sampled_from(CLOCKS), st.sampled_from(["histdata", "metatrader"]), st.booleans())
def test_bars_come_out_at_the_same_instants_or_are_refused(
    utc: NDArray[np.int64], true: str, format: str, told: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_bars(folder, to_local(utc, parse_clock(true)), format)
        refusal = ""
        try:
            result = import_bars(path, folder / "bars", BarReading(timezone=true if told else None))
        except DataError as error:
            refusal = str(error)
        if refusal:
            assert not told
            assert "--timezone" in refusal
            assert not (folder / "bars").exists()
            return
        found = read_bars(Path(result.files[0])).frame["ts_open_ns"].to_numpy()
        assert same(found, utc)
        assert result.proof.is_proved
        assert result.proof.fitting > 0


@settings(max_examples=15, deadline=None)
@given(
    fx_stamps(), st.sampled_from(CLOCKS), st.sampled_from(["metatrader", "csv", "histdata"]), st.booleans()
)
def test_ticks_come_out_at_the_same_instants_or_are_refused(
    utc: NDArray[np.int64], true: str, format: str, told: bool
) -> None:
    local = to_local(utc, parse_clock(true))
    price = [1.1 + (row % 50) * 1e-5 for row in range(local.size)]
    form = {
        "metatrader": "%Y.%m.%d\t%H:%M:%S.%3f",
        "csv": "%Y-%m-%d %H:%M:%S",
        "histdata": "%Y%m%d %H%M%S%3f",
    }
    head = {"metatrader": "<DATE>\t<TIME>\t<BID>\t<ASK>\n", "csv": "time,bid,ask\n", "histdata": ""}[format]
    comma = "\t" if format == "metatrader" else ","
    tail = ",0" if format == "histdata" else ""
    lines = [
        f"{t}{comma}{p:.5f}{comma}{p + 1e-4:.5f}{tail}"
        for t, p in zip(texts(local, form[format]), price, strict=True)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "in" / "EURUSD.csv"
        path.parent.mkdir()
        path.write_text(head + "\n".join(lines) + "\n")
        options = ReaderOptions(timezone=true) if told else None
        refusal = ""
        try:
            manifest = import_ticks(path, folder / "store", options=options)
        except DataError as error:
            refusal = str(error)
        if refusal:
            assert not told
            assert "--timezone" in refusal
            assert not (folder / "store").exists()
            return
        parts = [pl.read_parquet(folder / "store" / part.path) for part in manifest.partitions]
        assert same(pl.concat(parts)["ts_event_ns"].to_numpy(), utc)
        assert manifest.clock is not None
        assert manifest.clock.is_proved


@pytest.mark.parametrize("hours", [-3, -1, 1, 2])
def test_ticks_whose_clock_changes_in_the_middle_are_refused(tmp_path: Path, hours: int) -> None:
    opens, closes = fx_weeks(1_560_000_000_000_000_000, 1_560_000_000_000_000_000)
    utc = np.arange(int(opens[0]), int(closes[0]), 5 * MINUTE_NS)
    at = utc.size // 2
    ts = np.concatenate([utc[:at], utc[at:] + hours * HOUR_NS])
    frame = pl.DataFrame({"ts_event_ns": ts, "bid": np.full(ts.size, 1.1), "ask": np.full(ts.size, 1.2)})
    frame.write_csv(tmp_path / "EURUSD.csv")
    message = (
        "which no shift of the whole week mends.* No one clock fits" if hours > 0 else "the file goes on"
    )
    with pytest.raises(DataError, match=message) as caught:
        import_ticks(tmp_path / "EURUSD.csv", tmp_path / "store")
    if hours < 0:
        assert caught.value.row == at
