"""The rules that compare ticks with those before them in time: one day at a time, days in order.

Owns how they are applied, what their fixes do, and what is remembered from one day to the next.  Knows
nothing of the rows of a source.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiopt.market.calendar import fx_weeks, is_open, open_time_ns
from aiopt.market.instrument import Instrument
from aiopt.ticks.checks import rule_errors
from aiopt.ticks.checks.ledger import RuleLedger, count_hours
from aiopt.ticks.checks.sourced import Gap, SourcedTicks, with_columns
from aiopt.ticks.checks.spikes import find_spikes
from aiopt.ticks.schema import TickArrays
from aiopt.utc import SECOND_NS


@dataclass(frozen=True, slots=True)
class _Last:
    """The last tick kept, and since when its quote has stood."""

    ts_ns: int
    bid: float
    ask: float
    since_ns: int


class NeighbourChecks:
    """Applies the rules to whole days."""

    def __init__(self, instrument: Instrument, ledger: RuleLedger) -> None:
        self._instrument = instrument
        self._ledger = ledger
        self._last: _Last | None = None

    def check(self, batch: SourcedTicks, copies: NDArray[np.bool_] | None) -> SourcedTicks:
        """Return what is left of one day, see `Validator.check_day`."""
        if copies is not None and copies.any():
            batch = self._ledger.apply("overlap", copies, batch)
        if not self._instrument.always_open and len(batch):
            outside = _outside_session(batch.ticks.ts_event_ns)
            if outside is not None:
                batch = self._ledger.apply("out_of_session", outside, batch)
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

    def _drop_repeats(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Return the ticks left, which of them were replaced, and what `_repeats` says of them."""
        same_stamp, same_quote = self._repeats(batch.ticks)
        duplicate = same_stamp & same_quote
        if self._ledger.drops("duplicate") and duplicate.any():
            batch = self._ledger.apply("duplicate", duplicate, batch)
            fixed, same_stamp, same_quote = (a[~duplicate] for a in (fixed, same_stamp, same_quote))
        other = same_stamp & ~same_quote
        if self._ledger.drops("same_stamp") and other.any():
            batch, fixed = self._ledger.apply("same_stamp", other, batch), fixed[~other]
            same_stamp, same_quote = self._repeats(batch.ticks)
        return batch, fixed, (same_stamp, same_quote)

    def _treat_spikes(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_], bool]:
        """Return the ticks left, which of them were replaced so far, and whether any was now."""
        treatment = self._ledger.rules.treatment("spike")
        if treatment == "keep":
            return batch, fixed, False
        at = self._spikes(batch.ticks)
        if not at.size:
            return batch, fixed, False
        broken = np.zeros(len(batch), dtype=bool)
        broken[at] = True
        if treatment != "fix":
            return self._ledger.apply("spike", broken, batch), fixed[~broken], False
        # A tick that is a spike with another's quote too is dropped: every tick is replaced at most once.
        self._ledger.apply("spike", broken & ~fixed, batch)
        hopeless = broken & fixed
        tally = self._ledger.tally("spike")
        tally.fixed -= int(np.count_nonzero(hopeless))
        # The first tick of a day is no spike, see `find_spikes`: there is a quote before every one.
        before = np.maximum.accumulate(np.where(broken, -1, np.arange(len(batch))))
        ticks = batch.ticks
        batch = with_columns(batch, bid=ticks.bid[before], ask=ticks.ask[before])
        return self._ledger.remove("spike", hopeless, batch), (fixed | broken)[~hopeless], True

    def _drop_stale(
        self, batch: SourcedTicks, fixed: NDArray[np.bool_]
    ) -> tuple[SourcedTicks, NDArray[np.bool_]]:
        if self._ledger.drops("stale") and len(batch):
            ts = batch.ticks.ts_event_ns
            runs = self._runs(batch.ticks, self._repeats(batch.ticks)[1], ts[1:] - ts[:-1])
            stale = self._stale(batch.ticks, runs)
            if stale.any():
                return self._ledger.apply("stale", stale, batch), fixed[~stale]
        return batch, fixed

    def _count_kept(
        self,
        batch: SourcedTicks,
        same_stamp: NDArray[np.bool_],
        same_quote: NDArray[np.bool_],
        runs: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> None:
        """Count what the rules of treatment ``keep`` find among the ticks that stay."""
        if not self._ledger.drops("duplicate"):
            self._ledger.apply("duplicate", same_stamp & same_quote, batch)
        if not self._ledger.drops("same_stamp"):
            self._ledger.apply("same_stamp", same_stamp & ~same_quote, batch)
        if self._ledger.rules.treatment("spike") == "keep":
            broken = np.zeros(len(batch), dtype=bool)
            broken[self._spikes(batch.ticks)] = True
            self._ledger.apply("spike", broken, batch)
        if not self._ledger.drops("stale"):
            self._ledger.apply("stale", self._stale(batch.ticks, runs), batch)

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
        return find_spikes(
            (ticks.bid + ticks.ask) / 2, self._instrument.tick_size, self._ledger.rules.spike_z
        )

    def _stale(
        self, ticks: TickArrays, runs: tuple[NDArray[np.int64], NDArray[np.int64]]
    ) -> NDArray[np.bool_]:
        """Return which ticks stand in a run of equal quotes that began more than `stale_s` ago."""
        ts, limit_ns = ticks.ts_event_ns, round(self._ledger.rules.stale_s * SECOND_NS)
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
        ts, limit_ns = ticks.ts_event_ns, round(self._ledger.rules.stale_s * SECOND_NS)
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
        ts, limit_ns = batch.ticks.ts_event_ns, round(self._ledger.rules.gap_s * SECOND_NS)
        long = np.flatnonzero(step_ns > limit_ns) + 1
        start = ts[long - 1]
        if self._last is not None and ts[0] - self._last.ts_ns > limit_ns:
            long = np.concatenate(([0], long))
            start = np.concatenate(([self._last.ts_ns], start))
        if not long.size:
            return
        silent_ns = ts[long] - start
        if not self._instrument.always_open:
            silent_ns = open_time_ns(start, ts[long])
        chosen = silent_ns > limit_ns
        long, start, silent_ns = long[chosen], start[chosen], silent_ns[chosen]
        tally = self._ledger.tally("gap")
        tally.found += int(long.size)
        tally.hours.update(count_hours(start))
        if not self._ledger.strict:
            rows = zip(long.tolist(), start.tolist(), silent_ns.tolist(), strict=True)
            self._ledger.gaps += [
                Gap(since, int(ts[at]), silent / 1e9, int(batch.file[at]), int(batch.row[at]))
                for at, since, silent in rows
            ]
        if long.size and self._ledger.rules.treatment("gap") == "fail":
            self._ledger.fail(
                "gap",
                rule_errors.gap_error(
                    batch, int(long[0]), int(start[0]), self._ledger.rules.gap_s, self._ledger.files
                ),
            )


def _outside_session(ts: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which of a day's ticks, in order of time, lie outside the FX week; None if none does."""
    opens, closes = fx_weeks(int(ts[0]), int(ts[-1]))
    week = int(np.searchsorted(opens, ts[0], side="right")) - 1
    return None if ts[-1] < closes[week] else ~is_open(ts)
