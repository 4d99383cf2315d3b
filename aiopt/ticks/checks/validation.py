"""Applying the rules to ticks: what each finds is counted per rule and per hour, and treated.

Owns the order in which rules are applied and what their fixes do.  The rules themselves are in `rules`.
Knows nothing of files beyond the name and row it puts into a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.errors import DataError
from aiopt.market.calendar import fx_weeks, is_open, open_time_ns
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks import rule_errors
from aiopt.ticks.checks.sourced import Finding, Gap, SourcedTicks, move, swapped, with_columns
from aiopt.ticks.checks.spikes import find_spikes
from aiopt.ticks.checks.tick_rules import DEFAULT_RULES, RULES, TREATMENTS, Rule, ValidationRules, parse_rules
from aiopt.ticks.clocks.clock_proof import ClockProof, clock_proof, doubtful_clock, shift_error, step_error
from aiopt.ticks.clocks.clock_shift import Shift, WeekWatch
from aiopt.ticks.clocks.conventions import FileClock
from aiopt.ticks.manifest import RuleCount
from aiopt.ticks.schema import TickArrays, round_price
from aiopt.ticks.stamps.time_units import latest_ns
from aiopt.utc import HOUR_NS, hour_text


@dataclass
class _Tally:
    """Counts of one rule."""

    found: int = 0
    dropped: int = 0
    fixed: int = 0
    hours: Counter[int] = field(default_factory=Counter)
    first: DataError | None = None


@dataclass(frozen=True, slots=True)
class _Last:
    """The last tick kept, and since when its quote has stood."""

    ts_ns: int
    bid: float
    ask: float
    since_ns: int


class Validator:
    """Apply the rules to ticks as they come, and count.

    Rows of the source go through `check_rows` in the order of the source, then `finish_rows` judges its
    clock; the days made of what is left go through `check_day` in order of time.

    Parameters
    ----------
    instrument : Instrument
        What the ticks should be of.
    rules : ValidationRules
        Treatments and thresholds.
    files : sequence of Path
        What `SourcedTicks.file` counts.
    clocks : sequence of FileClock
        What their stamps were read as; UTC if empty.
    strict : bool
        Raise at the first tick that breaks a rule of treatment ``fail``.  Otherwise such ticks are counted
        and dropped, `failures` has the first of each rule, `findings` the first of each rule and hour, and
        `gaps` every gap.
    """

    def __init__(
        self,
        instrument: Instrument,
        rules: ValidationRules = DEFAULT_RULES,
        *,
        files: Sequence[Path] = (),
        clocks: Sequence[FileClock] = (),
        strict: bool = True,
    ) -> None:
        self.instrument = instrument
        # No quote is older than its instrument, nor of a day to come.
        self._first_ns, self._stop_ns = instrument.life_start_ns, latest_ns()
        self.rules = rules
        self.findings: dict[tuple[str, int], Finding] = {}
        self.gaps: list[Gap] = []
        self._files = files
        self._clocks = clocks
        self._strict = strict
        self._tallies = {name: _Tally() for name in RULES}
        self._dropped_hours: Counter[int] = Counter()
        self._file = -1
        self._latest_ns = -(2**63)
        self._last: _Last | None = None
        self._weeks = WeekWatch()

    def check_rows(self, batch: SourcedTicks, *, newest_first: bool = False) -> SourcedTicks:
        """Apply the rules that look at one tick, and `backward`; return what is left, prices rounded.

        A batch in which nothing had to be changed comes back as the same object.

        Parameters
        ----------
        batch : SourcedTicks
            The next rows of one file.
        newest_first : bool
            The file runs from its newest row to its oldest, and these rows have been turned round.
        """
        if not len(batch):
            return batch
        batch = self._check_plausible(batch)
        batch = self._check_sizes(batch)
        batch = self._check_backward(self._round(batch), newest_first)
        batch = self._check_spread(batch)
        if not self.instrument.always_open:
            self._weeks.see(batch.ticks.ts_event_ns, batch.file, batch.row, follows=not newest_first)
        return batch

    def finish_rows(self) -> list[Shift]:
        """Judge the clock of the source, all of whose rows have been seen.

        Returns
        -------
        list of Shift
            The weeks whose ticks the caller moves with `move` before `check_day`: those found if the
            treatment of `clock_shift` is ``fix``, none otherwise.

        Raises
        ------
        DataError
            If a week is off and the treatment is ``fail``, or ``fix`` and it is not off by whole hours at
            both edges; names the row of its first tick and the clocks that fit.
        """
        found = self._weeks.shifts()
        if not found:
            self._check_doubts()
            return []
        tally = self._tallies["clock_shift"]
        tally.found += len(found)
        fix = self.rules.treatment("clock_shift") == "fix" and all(shift.hours for shift in found)
        for shift in found:
            hour = shift.edges.first_ns // HOUR_NS
            tally.hours[hour - shift.hours if fix else hour] += 1
        if not fix and self.rules.treatment("clock_shift") != "keep":
            remedy = RULES["clock_shift"].remedy
            self._fail(
                "clock_shift", shift_error(found, self._weeks.weeks(), self._clocks, self._files, remedy)
            )
        if not fix:
            return []
        tally.fixed += len(found)
        # Shifts are whole hours, so what was counted per hour moves with the ticks.
        for name, other in self._tallies.items():
            if name not in {"clock_shift", "missing_hour"}:
                other.hours = _moved(other.hours, found)
        self._dropped_hours = _moved(self._dropped_hours, found)
        moved = (replace(one, hour=one.hour - _shift_of(one.hour, found)) for one in self.findings.values())
        self.findings = {(one.rule, one.hour): one for one in moved}
        return found

    def check_day(self, batch: SourcedTicks, copies: NDArray[np.bool_] | None = None) -> SourcedTicks:
        """Apply the rules that compare ticks with their neighbours; return what is left.

        Parameters
        ----------
        batch : SourcedTicks
            All ticks of one day in order of time, ticks of equal stamp in the order of the source.
        copies : ndarray of bool, optional
            Which of them another file has given already, see `aiopt.ticks.overlaps.lay_over`.
        """
        if copies is not None and copies.any():
            batch = self._apply("overlap", copies, batch)
        if not self.instrument.always_open and len(batch):
            outside = _outside_session(batch.ticks.ts_event_ns)
            if outside is not None:
                batch = self._apply("out_of_session", outside, batch)
        fixed = np.zeros(len(batch), dtype=bool)
        repeats = (fixed, fixed)
        again = len(batch) > 0
        while again:
            # What a later rule drops or replaces can make neighbours of ticks an earlier rule would drop.
            batch, fixed, repeats = self._drop_repeats(batch, fixed)
            count = len(batch)
            batch, fixed, replaced = self._treat_spikes(batch, fixed)
            batch, fixed = self._drop_stale(batch, fixed)
            again = len(batch) > 0 and (replaced or len(batch) < count)
        if len(batch):
            same_stamp, same_quote = repeats
            ts = batch.ticks.ts_event_ns
            step_ns = ts[1:] - ts[:-1]
            runs = self._runs(batch.ticks, same_quote, step_ns)
            self._count_kept(batch, same_stamp, same_quote, runs)
            self._check_gaps(batch, step_ns)
            self._last = _Last(
                int(ts[-1]), float(batch.ticks.bid[-1]), float(batch.ticks.ask[-1]), int(runs[1][-1])
            )
        return batch

    def check_missing_hours(self, hours: Sequence[int], source: Path) -> None:
        """Count hours of the open market the source has no file for; hours since the epoch."""
        tally = self._tallies["missing_hour"]
        tally.found += len(hours)
        tally.hours.update(hours)
        if hours and self.rules.treatment("missing_hour") == "fail":
            more = "" if len(hours) == 1 else f" and {len(hours) - 1} more"
            which = f"{hour_text(hours[0])} (UTC){more}"
            msg = f"Every hour of the open market must have a file, but {which} has none."
            self._fail("missing_hour", DataError(f"{msg} {RULES['missing_hour'].remedy}", file=source))

    def _check_doubts(self) -> None:
        """Refuse a clock that no week contradicts, and yet the source does not bear out."""
        if self.rules.treatment("clock_shift") == "keep":
            return
        steps = self._weeks.steps_back()
        doubt = doubtful_clock(self._weeks.weeks(), self._clocks, self._files)
        if steps:
            remedy = "Or let it pass with --rule clock_shift=keep."
            self._fail("clock_shift", step_error(steps[0], self._files, remedy))
        elif doubt is not None:
            self._fail("clock_shift", doubt)

    def clock_proof(self) -> ClockProof:
        """Return what the weeks seen prove of the clock of the source; once `finish_rows` was called."""
        moved = self._tallies["clock_shift"].fixed
        return clock_proof(self._weeks.weeks(), self._clocks, self.instrument, moved=moved)

    def counts(self) -> list[RuleCount]:
        """Return what each rule found so far."""
        return [
            RuleCount(
                rule=name,
                treatment=self.rules.treatment(name),
                found=tally.found,
                dropped=tally.dropped,
                fixed=tally.fixed,
                hours={hour_text(hour): count for hour, count in sorted(tally.hours.items())},
            )
            for name, tally in self._tallies.items()
        ]

    def failures(self) -> dict[str, DataError]:
        """Return the first failure of each rule of treatment ``fail`` that found something."""
        return {name: tally.first for name, tally in self._tallies.items() if tally.first is not None}

    def dropped_in_hour(self, hour: int) -> int:
        """Return how many ticks of an hour (since the epoch) were dropped so far."""
        return self._dropped_hours[hour]

    # --- rules that look at one tick ----------------------------------------------------------------------

    def _check_plausible(self, batch: SourcedTicks) -> SourcedTicks:
        item, ticks = self.instrument, batch.ticks
        # Comparisons with NaN are false: what passes here breaks none of the rules below.
        edges = [item.plausible_low <= price.min() for price in (ticks.bid, ticks.ask)]
        edges += [price.max() <= item.plausible_high for price in (ticks.bid, ticks.ask)]
        ts = ticks.ts_event_ns
        if item.plausible_low > 0 and all(edges) and ts.min() >= self._first_ns and ts.max() < self._stop_ns:
            return batch
        batch = self._apply("implausible_time", (ts < self._first_ns) | (ts >= self._stop_ns), batch)
        batch = self._apply("non_finite", _either(batch, lambda price: ~np.isfinite(price)), batch)
        batch = self._apply("non_positive", _either(batch, lambda price: price <= 0), batch)
        low, high = item.plausible_low, item.plausible_high
        beyond = _either(batch, lambda price: (price < low) | (price > high))
        return self._apply("implausible_price", beyond, batch)

    def _check_sizes(self, batch: SourcedTicks) -> SourcedTicks:
        if not len(batch):
            return batch
        ticks = batch.ticks
        if not all(size.min() >= 0 and size.max() < np.inf for size in (ticks.bid_size, ticks.ask_size)):
            bad = [~(np.isfinite(size) & (size >= 0)) for size in (ticks.bid_size, ticks.ask_size)]
            batch = self._apply("bad_size", bad[0] | bad[1], batch)
            ticks = batch.ticks
            sizes = (ticks.bid_size, ticks.ask_size)
            cleaned = [np.where(np.isfinite(size) & (size > 0), size, 0.0) for size in sizes]
            batch = with_columns(batch, bid_size=cleaned[0], ask_size=cleaned[1])
            ticks = batch.ticks
        step = float(self.instrument.size_increment)
        whole = [_whole(size, step) for size in (ticks.bid_size, ticks.ask_size)]
        if np.array_equal(whole[0], ticks.bid_size) and np.array_equal(whole[1], ticks.ask_size):
            return batch
        return with_columns(batch, bid_size=whole[0], ask_size=whole[1])

    def _round(self, batch: SourcedTicks) -> SourcedTicks:
        ticks = batch.ticks
        bid, ask = round_price(ticks.bid, self.instrument), round_price(ticks.ask, self.instrument)
        if np.array_equal(bid, ticks.bid) and np.array_equal(ask, ticks.ask):
            return batch
        # Prices that only differ by float noise (a sum, a float32) are on the grid.
        tolerance = 1e-3 * self.instrument.tick_size
        off = (np.abs(bid - ticks.bid) > tolerance) | (np.abs(ask - ticks.ask) > tolerance)
        return self._apply("off_grid", off, with_columns(batch, bid=bid, ask=ask))

    def _check_backward(self, batch: SourcedTicks, newest_first: bool) -> SourcedTicks:
        if not len(batch):
            return batch
        if int(batch.file[0]) != self._file:
            # Files may overlap; only the rows of one file should be in order.
            self._file, self._latest_ns = int(batch.file[0]), -(2**63)
        ts = batch.ticks.ts_event_ns
        if newest_first:
            # Seen from its end the file runs backward in time, which is forward on a clock that runs down.
            latest = np.maximum.accumulate(np.concatenate(([self._latest_ns], -ts[::-1])))
            self._latest_ns = int(latest[-1])
            return self._apply("backward", (-ts[::-1] < latest[:-1])[::-1], batch)
        if ts[0] >= self._latest_ns and bool((ts[1:] >= ts[:-1]).all()):
            self._latest_ns = int(ts[-1])
            return batch
        latest = np.maximum.accumulate(np.concatenate(([self._latest_ns], ts)))
        self._latest_ns = int(latest[-1])
        return self._apply("backward", ts < latest[:-1], batch)

    def _check_spread(self, batch: SourcedTicks) -> SourcedTicks:
        crossed = batch.ticks.ask < batch.ticks.bid
        if crossed.any():
            batch = self._apply("crossed", crossed, batch)
            if self.rules.treatment("crossed") == "fix":
                batch = with_columns(batch, **swapped(batch.ticks, crossed))
        zero = batch.ticks.ask == batch.ticks.bid
        if zero.any():
            batch = self._apply("zero_spread", zero, batch)
            if self.rules.treatment("zero_spread") == "fix":
                step = np.where(zero, self.instrument.tick_size, 0.0)
                bid = round_price(batch.ticks.bid - step, self.instrument)
                batch = with_columns(batch, bid=bid, ask=round_price(batch.ticks.ask + step, self.instrument))
        return batch

    # --- rules that compare neighbours --------------------------------------------------------------------

    def _drop_repeats(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return the ticks left, which of them were replaced, and what `_repeats` says of them."""
        same_stamp, same_quote = self._repeats(batch.ticks)
        duplicate = same_stamp & same_quote
        if self._drops("duplicate") and duplicate.any():
            batch = self._apply("duplicate", duplicate, batch)
            fixed, same_stamp, same_quote = (a[~duplicate] for a in (fixed, same_stamp, same_quote))
        other = same_stamp & ~same_quote
        if self._drops("same_stamp") and other.any():
            batch, fixed = self._apply("same_stamp", other, batch), fixed[~other]
            same_stamp, same_quote = self._repeats(batch.ticks)
        return batch, fixed, (same_stamp, same_quote)

    def _treat_spikes(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_], bool]:
        """Return the ticks left, which of them were replaced so far, and whether any was now."""
        treatment = self.rules.treatment("spike")
        if treatment == "keep":
            return batch, fixed, False
        at = self._spikes(batch.ticks)
        if not at.size:
            return batch, fixed, False
        broken = np.zeros(len(batch), dtype=bool)
        broken[at] = True
        if treatment != "fix":
            return self._apply("spike", broken, batch), fixed[~broken], False
        # A tick that is a spike with another's quote too is dropped: every tick is replaced at most once.
        self._apply("spike", broken & ~fixed, batch)
        hopeless = broken & fixed
        tally = self._tallies["spike"]
        tally.fixed -= int(np.count_nonzero(hopeless))
        # The first tick of a day is no spike, see `find_spikes`: there is a quote before every one.
        before = np.maximum.accumulate(np.where(broken, -1, np.arange(len(batch))))
        ticks = batch.ticks
        batch = with_columns(batch, bid=ticks.bid[before], ask=ticks.ask[before])
        return self._remove("spike", hopeless, batch), (fixed | broken)[~hopeless], True

    def _drop_stale(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_]]:
        if self._drops("stale") and len(batch):
            ts = batch.ticks.ts_event_ns
            runs = self._runs(batch.ticks, self._repeats(batch.ticks)[1], ts[1:] - ts[:-1])
            stale = self._stale(batch.ticks, runs)
            if stale.any():
                return self._apply("stale", stale, batch), fixed[~stale]
        return batch, fixed

    def _count_kept(
        self,
        batch: SourcedTicks,
        same_stamp: NDArray[np.bool_],
        same_quote: NDArray[np.bool_],
        runs: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        """Count what the rules of treatment ``keep`` find among the ticks that stay."""
        if not self._drops("duplicate"):
            self._apply("duplicate", same_stamp & same_quote, batch)
        if not self._drops("same_stamp"):
            self._apply("same_stamp", same_stamp & ~same_quote, batch)
        if self.rules.treatment("spike") == "keep":
            broken = np.zeros(len(batch), dtype=bool)
            broken[self._spikes(batch.ticks)] = True
            self._apply("spike", broken, batch)
        if not self._drops("stale"):
            self._apply("stale", self._stale(batch.ticks, runs), batch)

    def _repeats(self, ticks: TickArrays) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which ticks have the stamp, and which the quote, of the tick before."""
        stamp, quote = np.empty((2, len(ticks)), dtype=bool)
        for result, columns in ((stamp, (ticks.ts_event_ns,)), (quote, (ticks.bid, ticks.ask))):
            np.equal(columns[0][1:], columns[0][:-1], out=result[1:])
            for column in columns[1:]:
                result[1:] &= column[1:] == column[:-1]
        last = self._last
        stamp[:1] = last is not None and bool((ticks.ts_event_ns[:1] == last.ts_ns).all())
        quote[:1] = last is not None and bool(
            (ticks.bid[:1] == last.bid).all() and (ticks.ask[:1] == last.ask).all()
        )
        return stamp, quote

    def _spikes(self, ticks: TickArrays) -> NDArray[np.int64]:
        return find_spikes((ticks.bid + ticks.ask) / 2, self.instrument.tick_size, self.rules.spike_z)

    def _stale(
        self, ticks: TickArrays, runs: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """Return which ticks stand in a run of equal quotes that began more than `stale_s` ago."""
        ts, limit_ns = ticks.ts_event_ns, round(self.rules.stale_s * 1_000_000_000)
        result = np.zeros(len(ticks), dtype=bool)
        starts, since = runs
        # A run ends before the next begins, so only long steps between beginnings can hold stale ticks.
        for run in [*np.flatnonzero(np.diff(since) > limit_ns).tolist(), since.size - 1]:
            stop = int(starts[run + 1]) if run + 1 < starts.size else len(ticks)
            part = slice(int(starts[run]), stop)
            result[part] = ts[part] - since[run] > limit_ns
        return result

    def _runs(
        self, ticks: TickArrays, same_quote: NDArray[np.bool_], step_ns: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first tick of each run of equal quotes without a silence, and since when it stands."""
        ts, limit_ns = ticks.ts_event_ns, round(self.rules.stale_s * 1_000_000_000)
        changed = ~same_quote
        changed[1:] |= step_ns > limit_ns
        last = self._last
        goes_on = last is not None and not changed[0] and ts[0] - last.ts_ns <= limit_ns
        changed[0] = True
        starts = np.flatnonzero(changed)
        since = ts[starts]
        if last is not None and goes_on:
            since[0] = last.since_ns
        return starts, since

    def _check_gaps(self, batch: SourcedTicks, step_ns: NDArray[np.int64]) -> None:
        ts, limit_ns = batch.ticks.ts_event_ns, round(self.rules.gap_s * 1_000_000_000)
        long = np.flatnonzero(step_ns > limit_ns) + 1
        start = ts[long - 1]
        if self._last is not None and ts[0] - self._last.ts_ns > limit_ns:
            long = np.concatenate(([0], long))
            start = np.concatenate(([self._last.ts_ns], start))
        if not long.size:
            return
        silent_ns = ts[long] - start
        if not self.instrument.always_open:
            silent_ns = open_time_ns(start, ts[long])
        chosen = silent_ns > limit_ns
        long, start, silent_ns = long[chosen], start[chosen], silent_ns[chosen]
        tally = self._tallies["gap"]
        tally.found += int(long.size)
        tally.hours.update(_count_hours(start))
        if not self._strict:
            rows = zip(long.tolist(), start.tolist(), silent_ns.tolist(), strict=True)
            self.gaps += [
                Gap(since, int(ts[at]), silent / 1e9, int(batch.file[at]), int(batch.row[at]))
                for at, since, silent in rows
            ]
        if long.size and self.rules.treatment("gap") == "fail":
            self._fail(
                "gap",
                rule_errors.gap_error(batch, int(long[0]), int(start[0]), self.rules.gap_s, self._files),
            )

    # --- counting and treating ----------------------------------------------------------------------------

    def _drops(self, name: str) -> bool:
        return self.rules.treatment(name) in {"drop", "fail"}

    def _apply(self, name: str, broken: NDArray[np.bool_], batch: SourcedTicks) -> SourcedTicks:
        """Count the ticks that break a rule; drop them, note them as fixed by the caller, or keep them."""
        found = int(np.count_nonzero(broken))
        if not found:
            return batch
        tally = self._tallies[name]
        tally.found += found
        ts = batch.ticks.ts_event_ns[broken]
        tally.hours.update(_count_hours(ts))
        if not self._strict:
            self._note_findings(name, np.flatnonzero(broken), batch)
        treatment = self.rules.treatment(name)
        if treatment == "fail":
            self._fail(
                name,
                rule_errors.tick_error(name, self.instrument, batch, int(np.argmax(broken)), self._files),
            )
        if treatment == "fix":
            tally.fixed += found
        return self._remove(name, broken, batch) if self._drops(name) else batch

    def _remove(self, name: str, broken: NDArray[np.bool_], batch: SourcedTicks) -> SourcedTicks:
        found = int(np.count_nonzero(broken))
        if not found:
            return batch
        self._tallies[name].dropped += found
        self._dropped_hours.update(_count_hours(batch.ticks.ts_event_ns[broken]))
        return batch.take(~broken)

    def _note_findings(self, name: str, at: NDArray[np.int64], batch: SourcedTicks) -> None:
        ticks = batch.ticks
        hours, firsts = np.unique(ticks.ts_event_ns[at] // HOUR_NS, return_index=True)
        for hour, first in zip(hours.tolist(), at[firsts].tolist(), strict=True):
            finding = Finding(
                rule=name,
                hour=hour,
                file=int(batch.file[first]),
                row=int(batch.row[first]),
                ts_ns=int(ticks.ts_event_ns[first]),
                bid=float(ticks.bid[first]),
                ask=float(ticks.ask[first]),
            )
            self.findings.setdefault((name, hour), finding)

    def _fail(self, name: str, error: DataError) -> None:
        if self._strict:
            raise error
        if self._tallies[name].first is None:
            self._tallies[name].first = error


def _moved(hours: Counter[int], shifts: Sequence[Shift]) -> Counter[int]:
    result: Counter[int] = Counter()
    for hour, count in hours.items():
        result[hour - _shift_of(hour, shifts)] += count
    return result


def _shift_of(hour: int, shifts: Sequence[Shift]) -> int:
    return next((one.hours for one in shifts if one.start_ns <= hour * HOUR_NS < one.stop_ns), 0)


def _outside_session(ts: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which of a day's ticks, in order of time, lie outside the FX week; None if none does."""
    opens, closes = fx_weeks(int(ts[0]), int(ts[-1]))
    week = int(np.searchsorted(opens, ts[0], side="right")) - 1
    return None if ts[-1] < closes[week] else ~is_open(ts)


def _either(batch: SourcedTicks, test: Any) -> NDArray[np.bool_]:
    return np.asarray(test(batch.ticks.bid) | test(batch.ticks.ask))


def _whole(size: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    return np.asarray(np.rint(size) if step == 1.0 else np.rint(size / step) * step)


def _count_hours(ts_ns: NDArray[np.int64]) -> Mapping[int, int]:
    hours, counts = np.unique(ts_ns // HOUR_NS, return_counts=True)
    return dict(zip(hours.tolist(), counts.tolist(), strict=True))


__all__ = [
    "DEFAULT_RULES",
    "RULES",
    "TREATMENTS",
    "Finding",
    "Gap",
    "Rule",
    "SourcedTicks",
    "ValidationRules",
    "Validator",
    "move",
    "parse_rules",
]
