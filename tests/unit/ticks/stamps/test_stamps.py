"""Stamps: the unit or layout of a file is proved by all its rows, or the file is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.clocks.local_time import UTC, WallClock, parse_clock
from aiopt.ticks.stamps.stamp_reader import AmbiguousStampsError, StampReader, StampRules
from aiopt.ticks.stamps.time_text import compile_format, parse, zone_ns
from aiopt.ticks.stamps.time_units import UNITS, latest_ns

FILE = Path("ticks.csv")
EUR = instrument("EURUSD").life_start_ns
JPY = instrument("USDJPY").life_start_ns
MS = 1_000_000
START_MS = 1_549_360_800_991  # 2019-02-05 10:00:00.991 UTC
LONG = settings(max_examples=60, deadline=None)


def read(
    values: object, *, name: str = "time", low_ns: int = EUR, clock: str = "UTC", **stated: object
) -> NDArray[np.int64]:
    rules = StampRules(low_ns=low_ns, high_ns=latest_ns(), clock_given=clock != "UTC", **stated)  # type: ignore[arg-type]
    column = values if isinstance(values, pl.Series) else pl.Series(name, values, strict=False)  # type: ignore[call-overload]
    return StampReader(FILE, WallClock(parse_clock(clock)), rules).read(column.alias(name), 0)


def attempt(values: object, **stated: object) -> tuple[NDArray[np.int64], DataError | None]:
    """Return stamps, or why they were refused."""
    try:
        return read(values, **stated), None  # type: ignore[arg-type]
    except DataError as refusal:
        return np.zeros(0, dtype=np.int64), refusal


def walk(count: int = 40, step_ms: int = 817) -> NDArray[np.int64]:
    return START_MS + step_ms * np.arange(count)


def counted(ms: NDArray[np.int64], unit: str) -> list[int]:
    """Write milliseconds as whole counts of a unit."""
    if unit == "YYYYMMDDHHMMSSmmm":
        texts = [str(np.datetime64(int(one), "ms")) for one in ms]
        return [int(text.translate({ord(mark): None for mark in "-T:."})) for text in texts]
    if unit in {"YYYYMMDDHHMMSS", "YYYYMMDDHHMM"}:
        digits = len(unit)
        return [value // 10 ** (17 - digits) for value in counted(ms, "YYYYMMDDHHMMSSmmm")]
    item = UNITS[unit]
    return [int(one) * MS // item.factor_ns + item.origin for one in ms]


# --- units ------------------------------------------------------------------------------------------------

EXACT_MS = {"s": 1_000, "YYYYMMDDHHMMSS": 1_000, "YYYYMMDDHHMM": 60_000}


@pytest.mark.parametrize("dtype", ["int", "text"])
@pytest.mark.parametrize("unit", sorted(set(UNITS) - {"excel", "YYYYMMDD", "YYYYMMDDHH"}))
def test_every_unit_gives_the_same_instants(unit: str, dtype: str) -> None:
    ms = walk(step_ms=61_817)
    counts = counted(ms, unit)
    found = read(counts if dtype == "int" else [str(count) for count in counts])
    exact = EXACT_MS.get(unit, 1)
    assert found.tolist() == [int(one) // exact * exact * MS for one in ms]


@LONG
@given(
    unit=st.sampled_from(sorted(set(UNITS) - {"YYYYMMDD", "YYYYMMDDHH"})),
    kind=st.sampled_from(["int", "float", "text", "decimals"]),
    ms=st.lists(st.integers(915_148_800_000, 1_700_000_000_000), min_size=1, max_size=30),
    low_ns=st.sampled_from([EUR, JPY]),
)
def test_any_unit_in_the_same_instants_out_or_a_refusal(
    unit: str, kind: str, ms: list[int], low_ns: int
) -> None:
    stamps = np.array(ms) // EXACT_MS.get(unit, 1) * EXACT_MS.get(unit, 1)
    values: list[object]
    if unit == "excel":
        days = [one / 86_400_000 + 25_569 for one in stamps.tolist()]
        values = list(days) if kind != "decimals" else [f"{day:.10f}" for day in days]
    elif kind == "decimals" and not UNITS[unit].digits:
        item = UNITS[unit]
        whole, rest = np.divmod(stamps * MS, item.factor_ns)
        width = len(str(item.factor_ns)) - 1
        pairs = zip((whole + item.origin).tolist(), rest.tolist(), strict=True)
        values = [f"{count}.{part:0{width}d}" if width else str(count) for count, part in pairs]
    else:
        numbers = counted(stamps, unit)
        values = [float(one) for one in numbers] if kind == "float" else list(numbers)
        values = [str(one) for one in values] if kind in {"text", "decimals"} else values
    found, refusal = attempt(values, low_ns=low_ns)
    if isinstance(refusal, AmbiguousStampsError):
        assert low_ns == JPY
        assert {reading.unit.name for reading in refusal.readings if reading.unit} == {"ns", "dotnet"}
        return
    if refusal is not None:
        rounded = "lost digits" in str(refusal) and len(ms) >= 20
        assert rounded or "digits as floats" in str(refusal)
        return
    # Doubles of .NET ticks hold 13 microseconds, so they are read to a tenth of a millisecond.
    slack = 100_000 if kind == "float" and unit in {"dotnet", "filetime"} else 1_000
    assert np.abs(found - stamps * MS).max() <= (slack if kind == "float" or unit == "excel" else 0)


def test_ticks_of_net_are_told_from_nanoseconds_by_the_life_of_the_instrument_or_refused() -> None:
    ticks = counted(walk(), "dotnet")
    assert read(ticks).tolist() == (walk() * MS).tolist()
    with pytest.raises(AmbiguousStampsError, match=r"fits ns \(1990-03-.*and dotnet \(2019-02-05T10:00\)"):
        read(ticks, low_ns=JPY)
    assert read(ticks, low_ns=JPY, unit="dotnet")[0] == START_MS * MS
    assert read(ticks, low_ns=JPY, name="ts_ns")[0] == ticks[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1.54936E+12"] * 30, r"'1\.54936E\+12' has 6, and its last stands for 10,000 s\. A spreadsheet"),
        (["1.549360801E+12", "1.5493608E+12"], "has 10, and its last stands for 1 s"),
        ([1_549_360_000_000] * 30, "end in zeros"),
        ([str(1_549_360_000_000)] * 30, "end in zeros"),
        ([value // 100 * 100 for value in counted(walk(), "YYYYMMDDHHMMSSmmm")], "end in zeros"),
        ([float(value) for value in counted(walk(), "YYYYMMDDHHMMSSmmm")], "times of 17 digits as floats"),
        (["43501.41668", "43501.41669"], r"days with 5 decimals tell 0\.86 s"),
        (pl.Series([1.549e9, 1.5491e9], dtype=pl.Float32), "float32, which holds 7"),
    ],
)
def test_stamps_that_were_rounded_are_refused(values: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(values)


def test_exponents_with_all_digits_are_read() -> None:
    assert read(["1.549360800991E+12", "1.54936080182E+12"]).tolist() == [
        START_MS * MS,
        1_549_360_801_820 * MS,
    ]


def test_a_row_of_another_unit_is_refused_and_one_of_none_is_kept_for_the_rules() -> None:
    values = walk().tolist()
    with pytest.raises(
        DataError, match="1549360900 counts seconds since 1970, the times before it milliseconds"
    ) as caught:
        read([*values, 1_549_360_900])
    assert caught.value.row == 40
    far = read([*values, 0, 2**63 - 1, -(2**63)])
    assert far[40] == 0
    assert (far[41] > latest_ns(), far[42] < 0) == (True, True)


@pytest.mark.parametrize(
    ("values", "message", "row"),
    [
        ([1, 2, 3], r"1 is no time from 1999-01-01 to tomorrow in any unit .*\. Map", 0),
        ([20_190_230_100_000_991, 20_190_205_100_001_821], r"digits YYYYMMDDHHMMSSmmm.*but got 20190230", 0),
        ([20_190_205, 20_190_206], "without a time of day", None),
        ([START_MS, None], r"but got nothing \(null\)", 1),
        ([1.0e9, float("nan")], "but got nan", 1),
        (["2019-02-05 10:00:00", "05/02/2019 10:00:01"], r"as the rows before it\), but got '05/02/2019", 1),
        (
            ["05/13/2019 10:00", "13/05/2019 10:00"],
            "'13/05/2019 10:00' has its day and month in another order",
            1,
        ),
        (["05/02/19 10:00"], r"has two digits.*--time-format '%d/%m/%y", None),
        (["2019-02-05 10:00:00 EST"], "or say how it is written: --time-format", 0),
        (["2019-02-05"], "without a time of day", None),
        (["2019-02-05 10:00:00:7", "2019-02-05 10:00:00:12"], r"but got '2019-02-05 10:00:00:7'", 0),
        (["2019-02-05 01:00 PM", "2019-02-05 13:00 PM"], "but got '2019-02-05 13:00 PM'", 1),
    ],
)
def test_what_is_no_stamp_is_named_with_its_row(values: object, message: str, row: int | None) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(values)
    assert caught.value.row == row


# --- text -------------------------------------------------------------------------------------------------

AT = dt.datetime(2019, 2, 5, 10, 0, 0, 991_000)
LAYOUTS = (
    *("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y.%m.%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S,%f"),
    *("%Y%m%d %H:%M:%S.%f", "%Y%m%d %H:%M:%S:%f", "%Y%m%d %H%M%S%f", "%Y%m%dT%H%M%S.%f", "%Y%m%d%H%M%S%f"),
    *("%d.%m.%Y %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S.%f", "%m-%d-%Y %H:%M:%S.%f"),
    *("%m/%d/%Y %I:%M:%S.%f %p", "%d %b %Y %H:%M:%S.%f", "%b %d, %Y %H:%M:%S.%f", "%Y-%m-%d %I:%M:%S.%f%p"),
)


@LONG
@given(
    layout=st.sampled_from(LAYOUTS),
    us=st.lists(st.integers(915_148_800_000_000, 1_700_000_000_000_000), min_size=1, max_size=25),
    zone=st.sampled_from(["", "Z", "+00", "+0200", "-05:00", " GMT+0800", " UTC", "+05:30"]),
    stated=st.booleans(),
)
def test_any_layout_in_the_same_instants_out_or_a_refusal(
    layout: str, us: list[int], zone: str, stated: bool
) -> None:
    epoch = dt.datetime(1970, 1, 1)
    moments = [epoch + dt.timedelta(microseconds=one) for one in us]
    texts = [moment.strftime(layout) + zone for moment in moments]
    ahead = zone_ns(zone.strip()) or 0 if zone else 0
    text = layout + (" %z" if zone.startswith(" ") else "%z" if zone else "")
    found, refusal = attempt(texts, format=text if stated else None)
    if isinstance(refusal, AmbiguousStampsError):
        assert not stated
        assert all(moment.day <= 12 for moment in moments)
        assert len(refusal.readings) == 2
        assert "." not in layout[:3]
        return
    assert refusal is None
    assert found.tolist() == [one * 1_000 - ahead for one in us]


def test_dates_with_two_readings_are_refused_until_told() -> None:
    texts = ["02/05/2019 10:00:00.991", "02/06/2019 10:00:01"]
    with pytest.raises(AmbiguousStampsError, match=r"all 2 rows fit day first and month first") as caught:
        read(texts)
    assert "'%d/%m/%Y %H:%M:%S.%f' (2019-05-02) or '%m/%d/%Y %H:%M:%S.%f' (2019-02-05)" in str(caught.value)
    assert read(texts, format="%m/%d/%Y %H:%M:%S.%f")[0] == START_MS * MS
    # One row that cannot be of the other order tells, wherever it stands.
    assert read([*texts, "02/13/2019 10:00:02"])[0] == START_MS * MS
    # So does a day that is still to come.
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    coming = f"{tomorrow.day if tomorrow.day <= 12 else 1:02d}"
    later = [f"01/{coming}/{tomorrow.year + 1}", f"{coming}/01/{tomorrow.year + 1}"]
    assert all(read([f"{day} 10:00"] * 2, format="%d/%m/%Y %H:%M")[0] > latest_ns() for day in later)


def test_the_rows_that_tell_may_come_late_in_the_file() -> None:
    first = pl.Series("time", ["02/05/2019 10:00"] * 3)
    rest = pl.Series("time", ["02/14/2019 10:00"])
    rules = StampRules(low_ns=EUR, high_ns=latest_ns())
    reader = StampReader(FILE, WallClock(UTC), rules, whole=lambda: iter([(0, first), (3, rest)]))
    assert str(np.datetime64(int(reader.read(first, 0)[0]), "ns"))[:10] == "2019-02-05"
    reader = StampReader(FILE, WallClock(UTC), rules, whole=lambda: iter([(0, first), (3, first)]))
    with pytest.raises(AmbiguousStampsError, match="all 6 rows"):
        reader.read(first, 0)


def test_years_that_nanoseconds_cannot_hold_stay_far_away() -> None:
    # Polars wraps them: 2574 would come out as 1990.
    found = read(["2019-02-05 10:00:00", "2574-01-02 10:00:00", "1410-01-02 10:00:00", "9999-01-01 00:00:00"])
    assert found[0] == 1_549_360_800_000 * MS
    assert (found[1:] > latest_ns()).tolist() == [True, False, True]
    assert found[2] < 0


def test_a_clock_applies_to_numbers_and_is_refused_where_a_zone_is_said() -> None:
    assert read(walk(2), clock="+02:00").tolist() == ((walk(2) - 7_200_000) * MS).tolist()
    assert read(["2019-02-05 12:00:00.991"], clock="+02:00").tolist() == [START_MS * MS]
    for values, name in (
        (["2019-02-05 10:00:00Z"], "time"),
        (["05.02.2019 10:00:00 GMT+0800"], "time"),
        (pl.Series([AT.replace(tzinfo=dt.UTC)]), "time"),
        (walk(2) * MS, "ts_event_ns"),
    ):
        with pytest.raises(DataError, match="No clock can be given for the times of"):
            read(values, name=name, clock="NY")
    with pytest.raises(DataError, match="local times without their clock"):
        read(["05.02.2019 10:00:00"], name="Local time")


def test_statements_without_a_use_are_refused() -> None:
    with pytest.raises(DataError, match="A time unit is for numbers"):
        read(["2019-02-05 10:00:00"], unit="ms")
    with pytest.raises(DataError, match="--time-format has no use"):
        read(pl.Series([AT]), format="%Y-%m-%d %H:%M")
    with pytest.raises(DataError, match=r"counted in s is no time from .* these fit: ms"):
        read(walk(), unit="s")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%s", "For numbers use --time-unit"),
        ("%Y-%m %H:%M", "lacks %d"),
        ("%Y-%m-%d %I:%M", "%I and %p"),
        ("%Y-%m-%d %q", "but got %q"),
        ("%Y-%m-%d %z %H:%M", "%z must stand at the end"),
        ("%Y-%m-%d %d %H:%M", "stands twice"),
    ],
)
def test_a_layout_that_is_none_says_what_is_missing(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compile_format(text)


def test_short_years_other_words_and_a_missing_fraction_can_be_stated() -> None:
    found = read(["05/02/19 10:00:00 EST"], format="%d/%m/%y %H:%M:%S EST", clock="-05:00")
    assert str(np.datetime64(int(found[0]), "ns"))[:19] == "2019-02-05T15:00:00"
    texts = pl.Series(["2019-02-05 10:00:00", "2019-02-05 10:00:00.5", "@2019-02-05 10:00:00"])
    stamps = parse(texts, compile_format("%Y-%m-%d %T.%f"))
    assert (stamps - stamps[0]).to_list() == [0, 500 * MS, None]


# --- anything ---------------------------------------------------------------------------------------------

ANYTHING = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8).map(lambda v: pl.Series(v, dtype=pl.Int64)),
    st.lists(st.integers(0, 2**64 - 1), max_size=8).map(lambda v: pl.Series(v, dtype=pl.UInt64)),
    st.lists(st.floats(), max_size=8).map(lambda v: pl.Series(v, dtype=pl.Float64)),
    st.lists(st.sampled_from([0, START_MS, 2**62, -1, None, 43_501, 20_190_205_100_000]), max_size=8).map(
        lambda v: pl.Series(v, dtype=pl.Int64)
    ),
    st.lists(st.text(max_size=20) | st.none(), max_size=8).map(lambda v: pl.Series(v, dtype=pl.String)),
    st.lists(
        st.from_regex(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}[ T][0-9:.,apmAPMZ+-]{0,14}"), max_size=5
    ).map(lambda v: pl.Series(v, dtype=pl.String)),
    st.lists(
        st.from_regex(r"[0-9]{1,22}([.,][0-9]{0,12})?([eE][+-]?[0-9]{1,3})?", fullmatch=True), max_size=5
    ).map(lambda v: pl.Series(v, dtype=pl.String)),
    st.lists(st.integers(-(2**62), 2**62), max_size=4).map(
        lambda v: pl.Series(v, dtype=pl.Int64).cast(pl.Datetime("us"))
    ),
    st.lists(st.integers(-(2**62), 2**62), max_size=4).map(
        lambda v: pl.Series(v, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))
    ),
    st.lists(st.booleans(), max_size=4).map(lambda v: pl.Series(v, dtype=pl.Boolean)),
    st.lists(st.integers(-(10**7), 10**7), max_size=4).map(
        lambda v: pl.Series(v, dtype=pl.Int32).cast(pl.Date)
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    column=ANYTHING,
    unit=st.none() | st.sampled_from(sorted(UNITS)),
    days=st.booleans(),
    clock=st.sampled_from(["UTC", "NY+7"]),
)
def test_whatever_a_column_holds_it_is_read_or_refused(
    column: pl.Series, unit: str | None, days: bool, clock: str
) -> None:
    try:
        found = read(column, unit=unit, days=days, clock=clock)
    except DataError:
        return
    assert found.dtype == np.int64
    assert found.size == column.len()
