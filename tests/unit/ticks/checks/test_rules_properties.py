"""Invariants of cleaning: mended ticks are clean, clean ticks stay, counts add up, clocks are judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from aiopt.errors import DataError
from aiopt.market.instrument import instrument
from aiopt.ticks.checks.spikes import find_spikes
from aiopt.ticks.checks.tick_rules import RULES
from aiopt.ticks.checks.validation import SourcedTicks, Validator, parse_rules
from aiopt.ticks.importing import import_ticks
from aiopt.ticks.schema import TickArrays
from aiopt.utc import DAY_NS, HOUR_NS

EURUSD = instrument("EURUSD")
MONDAY_NS = int(np.datetime64("2024-05-06T21:00", "ns").astype(np.int64))
SECOND = 1_000_000_000
MENDABLE = ("backward", "crossed", "zero_spread", "duplicate", "same_stamp", "spike", "stale")


def sourced(ts: NDArray[np.int64], bid: NDArray[np.int64], ask: NDArray[np.int64]) -> SourcedTicks:
    ticks = TickArrays(ts, bid / 1e5, ask / 1e5, np.zeros(ts.size), np.zeros(ts.size))
    return SourcedTicks(ticks, np.zeros(ts.size, dtype=np.int32), np.arange(ts.size, dtype=np.int64))


@st.composite
def dirty(draw: st.DrawFn) -> SourcedTicks:
    """Return ticks of three hours around midnight with every kind of dirt a neighbour can show."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 400))
    ts = MONDAY_NS + np.sort(rng.integers(0, 6 * 3600, count)) * SECOND
    bid = 110_000 + np.cumsum(rng.integers(-1, 2, count))
    ask = bid + rng.integers(0, 4, count)

    def some(share: float) -> NDArray[np.int64]:
        return np.flatnonzero(rng.random(count) < share * draw(st.sampled_from([0.0, 1.0])))

    for at in some(0.02):
        bid[at : at + 3] += 5_000
        ask[at : at + 3] += 5_000
    for at in some(0.02):
        bid[at : at + 60], ask[at : at + 60] = bid[at], ask[at]
    for at in some(0.05):
        ask[at] = bid[at] - 2
    for at in some(0.1):
        ts[at] = ts[max(at - 1, 0)]
    for at in some(0.1):
        ts[at], bid[at], ask[at] = (column[max(at - 1, 0)] for column in (ts, bid, ask))
    for at in some(0.05):
        ts[at] -= 20 * SECOND
    return sourced(ts, bid, ask)


def clean(validator: Validator, batch: SourcedTicks) -> SourcedTicks:
    """Do what an import does, in memory: rows in two batches, then day by day."""
    half = len(batch) // 2
    index = np.arange(len(batch))
    parts = [validator.check_rows(batch.take(index[cut])) for cut in (slice(half), slice(half, None))]
    validator.finish_rows()
    names = [name for name, _ in batch.ticks.columns()]
    ticks = TickArrays(*(np.concatenate([getattr(part.ticks, name) for part in parts]) for name in names))
    both = SourcedTicks(
        ticks,
        np.concatenate([part.file for part in parts]),
        np.concatenate([part.row for part in parts]),
    )
    both = both.take(np.argsort(both.ticks.ts_event_ns, kind="stable"))
    days = both.ticks.ts_event_ns // DAY_NS
    kept = [validator.check_day(both.take(days == day)) for day in np.unique(days)]
    if not kept:
        return both
    ticks = TickArrays(*(np.concatenate([getattr(part.ticks, name) for part in kept]) for name in names))
    return SourcedTicks(
        ticks, np.concatenate([part.file for part in kept]), np.concatenate([part.row for part in kept])
    )


treatments = st.fixed_dictionaries(
    {name: st.sampled_from([t for t in ("drop", "fix") if t in RULES[name].allowed]) for name in MENDABLE}
)


@settings(max_examples=150, deadline=None)
@given(batch=dirty(), chosen=treatments)
def test_what_was_dropped_and_fixed_is_not_found_again(batch: SourcedTicks, chosen: dict[str, str]) -> None:
    rules = parse_rules([f"{name}={treatment}" for name, treatment in chosen.items()] + ["stale_s=40"])
    kept = clean(Validator(EURUSD, rules), batch)
    again = Validator(EURUSD, rules)
    after = clean(again, kept)
    found = {count.rule: count.found for count in again.counts() if count.found and count.rule in MENDABLE}
    assert found == {}
    for (name, left), (_, right) in zip(kept.ticks.columns(), after.ticks.columns(), strict=True):
        assert np.array_equal(left, right), name


@settings(max_examples=100, deadline=None)
@given(batch=dirty(), chosen=treatments)
def test_counts_per_hour_add_up_and_every_tick_is_accounted_for(
    batch: SourcedTicks, chosen: dict[str, str]
) -> None:
    rules = parse_rules([f"{name}={treatment}" for name, treatment in chosen.items()] + ["stale_s=40"])
    validator = Validator(EURUSD, rules, strict=False)
    kept = clean(validator, batch)
    counts = validator.counts()
    assert len(kept) == len(batch) - sum(count.dropped for count in counts)
    hours = range(MONDAY_NS // HOUR_NS - 2, MONDAY_NS // HOUR_NS + 10)
    assert sum(validator.dropped_in_hour(hour) for hour in hours) == len(batch) - len(kept)
    for count in counts:
        assert sum(count.hours.values()) == count.found
        assert count.dropped + count.fixed <= count.found
        if count.treatment != "keep" and RULES[count.rule].counts == "ticks":
            assert count.dropped + count.fixed == count.found
        places = {finding.hour for (rule, _), finding in validator.findings.items() if rule == count.rule}
        if RULES[count.rule].counts == "ticks":
            assert len(places) == len(count.hours)


def naive_spikes(mid: NDArray[np.float64], z: float) -> NDArray[np.bool_]:
    """Return the spikes by the formula of the documentation, window by window."""
    if mid.size < 11:
        return np.zeros(mid.size, dtype=bool)
    change = np.abs(np.diff(mid, prepend=mid[0]))
    moved = change[change > EURUSD.tick_size / 4]
    typical = np.median(moved) if moved.size else 0.0
    nearby = median_filter(change, size=51, mode="nearest")
    scale = np.maximum(1.4826 * np.maximum(nearby, typical), EURUSD.tick_size)
    return np.asarray(np.abs(mid - median_filter(mid, size=11, mode="nearest")) > z * scale)


@settings(max_examples=100, deadline=None)
@given(batch=dirty(), z=st.sampled_from([1.0, 3.0, 30.0]))
def test_the_fast_way_to_find_spikes_is_the_formula(batch: SourcedTicks, z: float) -> None:
    mid = (batch.ticks.bid + batch.ticks.ask) / 2
    found = find_spikes(mid, EURUSD.tick_size, z)
    assert found.tolist() == np.flatnonzero(naive_spikes(mid, z)).tolist()


def repeats(ticks: TickArrays) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    stamp = np.diff(ticks.ts_event_ns, prepend=-1) == 0
    quote = (np.diff(ticks.bid, prepend=np.nan) == 0) & (np.diff(ticks.ask, prepend=np.nan) == 0)
    return stamp, quote


ALONE: dict[str, Callable[[TickArrays], NDArray[np.bool_]]] = {
    "backward": lambda t: t.ts_event_ns < np.maximum.accumulate(t.ts_event_ns),
    "crossed": lambda t: t.ask < t.bid,
    "zero_spread": lambda t: t.ask == t.bid,
}


@pytest.mark.parametrize("rule", sorted(ALONE))
@settings(max_examples=50, deadline=None)
@given(batch=dirty())
def test_dropping_drops_what_breaks_the_rule_and_no_clean_tick(rule: str, batch: SourcedTicks) -> None:
    others = [f"{name}=keep" for name in MENDABLE if "keep" in RULES[name].allowed and name != rule]
    kept = clean(Validator(EURUSD, parse_rules([*others, f"{rule}=drop"])), batch)
    assert sorted(kept.row.tolist()) == np.flatnonzero(~ALONE[rule](batch.ticks)).tolist()


@settings(max_examples=50, deadline=None)
@given(batch=dirty())
def test_dropping_duplicates_leaves_every_quote_of_every_stamp_in_its_place(batch: SourcedTicks) -> None:
    batch = batch.take(np.argsort(batch.ticks.ts_event_ns, kind="stable"))
    others = [f"{name}=keep" for name in MENDABLE if "keep" in RULES[name].allowed and name != "duplicate"]
    kept = clean(Validator(EURUSD, parse_rules(others)), batch)
    stamp, quote = repeats(batch.ticks)
    assert kept.row.tolist() == batch.row[~(stamp & quote)].tolist()


# --- fixes, by their formulas -----------------------------------------------------------------------------


def quiet(count: int = 60) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    number = np.arange(count)
    bid = 110_000 + number % 3
    return MONDAY_NS + number * SECOND, bid, bid + 10


def test_crossed_quotes_are_swapped_with_their_sizes() -> None:
    ts, bid, ask = quiet()
    bid[5], ask[5] = 110_010, 110_002
    batch = sourced(ts, bid, ask)
    batch.ticks.bid_size[5] = 7.0
    validator = Validator(EURUSD, parse_rules(["crossed=fix"]))
    kept = clean(validator, batch)
    assert (kept.ticks.bid[5], kept.ticks.ask[5]) == (1.10002, 1.1001)
    assert (kept.ticks.bid_size[5], kept.ticks.ask_size[5]) == (0.0, 7.0)
    count = next(count for count in validator.counts() if count.rule == "crossed")
    assert (count.found, count.dropped, count.fixed) == (1, 0, 1)


def test_a_zero_spread_is_widened_by_a_step_on_both_sides() -> None:
    ts, bid, ask = quiet()
    ask[5] = bid[5]
    kept = clean(Validator(EURUSD, parse_rules(["zero_spread=fix"])), sourced(ts, bid, ask))
    assert (kept.ticks.bid[5], kept.ticks.ask[5]) == ((bid[5] - 1) / 1e5, (bid[5] + 1) / 1e5)


def test_spikes_take_the_quote_before_them() -> None:
    ts, bid, ask = quiet()
    for at in (1, 30, 31):
        bid[at], ask[at] = 121_000, 121_010
    validator = Validator(EURUSD, parse_rules(["spike=fix"]))
    kept = clean(validator, sourced(ts, bid, ask))
    assert kept.ticks.bid[[1, 30, 31]].tolist() == [bid[0] / 1e5, bid[29] / 1e5, bid[29] / 1e5]
    count = next(count for count in validator.counts() if count.rule == "spike")
    assert (count.found, count.dropped, count.fixed) == (3, 0, 3)


def test_a_frozen_quote_is_stale_while_ticks_come_and_a_silence_is_not() -> None:
    ts, bid, ask = quiet(100)
    bid[20:80], ask[20:80] = 110_005, 110_015
    validator = Validator(EURUSD, parse_rules(["stale_s=30", "stale=drop"]))
    kept = clean(validator, sourced(ts, bid, ask))
    assert kept.row.tolist() == [*range(51), *range(80, 100)]
    ts[50:] += 40 * SECOND
    kept = clean(Validator(EURUSD, parse_rules(["stale_s=30", "stale=drop"])), sourced(ts, bid, ask))
    assert len(kept) == 100


def test_a_quote_frozen_over_midnight_is_stale_on_the_next_day() -> None:
    ts, bid, ask = quiet(40)
    ts += 3 * HOUR_NS - 20 * SECOND
    bid[10:], ask[10:] = 110_005, 110_015
    validator = Validator(EURUSD, parse_rules(["stale_s=20"]))
    clean(validator, sourced(ts, bid, ask))
    assert next(c for c in validator.counts() if c.rule == "stale").hours == {"2024-05-07T00": 9}


# --- the source's clock -----------------------------------------------------------------------------------


def weeks(first: str, count: int, shift_h: int = 0) -> pl.DataFrame:
    """Return a tick every ten minutes of FX weeks, the stamps `shift_h` late."""
    from aiopt.market.calendar import is_open

    start = int(np.datetime64(first, "ns").astype(np.int64))
    ts = start + np.arange(count * 7 * 144) * 600 * SECOND
    ts = ts[is_open(ts)]
    bid = 110_000 + (np.arange(ts.size) * 7) % 40
    return pl.DataFrame({"ts_event_ns": ts + shift_h * HOUR_NS, "bid": bid / 1e5, "ask": (bid + 10) / 1e5})


def csv(folder: Path, frame: pl.DataFrame, name: str = "ticks.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    frame.write_csv(folder / name)
    return folder


@pytest.mark.parametrize("shift_h", [-5, -1, 1, 3])
def test_weeks_on_another_clock_are_refused_or_moved(tmp_path: Path, shift_h: int) -> None:
    # Two weeks before New York's clocks change in March 2024 and two after.
    truth = import_ticks(csv(tmp_path / "good", weeks("2024-02-24", 4)), tmp_path / "truth")
    shifted = csv(tmp_path / "shifted", weeks("2024-02-24", 4, shift_h))
    with pytest.raises(DataError, match=rf"a week begins at .* \{shift_h:+d} h, as do 3 more") as caught:
        import_ticks(shifted, tmp_path / "store")
    assert (caught.value.file, caught.value.row) == (shifted / "ticks.csv", 0)
    assert not (tmp_path / "store").exists()
    moved = import_ticks(shifted, tmp_path / "store", rules=parse_rules(["clock_shift=fix"]))
    assert moved.data_hash == truth.data_hash
    count = next(count for count in moved.rules if count.rule == "clock_shift")
    assert (count.found, count.fixed) == (4, 4)
    assert next(count for count in moved.rules if count.rule == "out_of_session").found == 0


def test_a_source_without_daylight_saving_is_found_in_the_weeks_it_is_off(tmp_path: Path) -> None:
    frame = weeks("2024-02-24", 4)
    summer = pl.col("ts_event_ns") > int(np.datetime64("2024-03-09T22:00", "ns").astype(np.int64))
    frame = frame.with_columns(pl.col("ts_event_ns") + pl.when(summer).then(HOUR_NS).otherwise(0))
    kept = import_ticks(
        csv(tmp_path / "in", frame), tmp_path / "store", rules=parse_rules(["clock_shift=keep"])
    )
    count = next(count for count in kept.rules if count.rule == "clock_shift")
    assert count.hours == {"2024-03-10T22": 1, "2024-03-17T22": 1}


def test_counts_move_with_the_ticks(tmp_path: Path) -> None:
    frame = weeks("2024-02-24", 1, -1)
    crossed = pl.int_range(pl.len()) == 60
    frame = frame.with_columns(bid=pl.when(crossed).then(pl.col("ask") + 0.0001).otherwise(pl.col("bid")))
    hour = np.datetime64(frame["ts_event_ns"][60] + HOUR_NS, "ns").astype("datetime64[h]")
    manifest = import_ticks(
        csv(tmp_path / "in", frame), tmp_path / "store", rules=parse_rules(["clock_shift=fix"])
    )
    assert next(c for c in manifest.rules if c.rule == "crossed").hours == {str(hour): 1}
    part = next(part for part in manifest.partitions if part.date == str(hour)[:10])
    assert part.hour_dropped[int(str(hour)[11:13])] == 1


def test_a_part_of_a_week_is_not_judged(tmp_path: Path) -> None:
    frame = weeks("2024-02-24", 1, 1).head(400)
    manifest = import_ticks(csv(tmp_path / "in", frame), tmp_path / "store")
    assert next(count for count in manifest.rules if count.rule == "clock_shift").found == 0
