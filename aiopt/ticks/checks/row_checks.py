"""The rules that look at one tick, or at the order of the rows of one file.

Owns how they are applied and what their fixes do.  Knows nothing of neighbours in time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.market.instrument import Instrument
from aiopt.ticks.checks.ledger import RuleLedger
from aiopt.ticks.checks.sourced import SourcedTicks, swapped, with_columns
from aiopt.ticks.schema import round_price
from aiopt.ticks.stamps.time_units import latest_ns


class RowChecks:
    """Applies the rules to the rows of a source, in the order of the source."""

    def __init__(self, instrument: Instrument, ledger: RuleLedger) -> None:
        self._instrument = instrument
        self._ledger = ledger
        # No quote is older than its instrument, nor of a day to come.
        self._first_ns, self._stop_ns = instrument.life_start_ns, latest_ns()
        self._file = -1
        self._latest_ns = -(2**63)

    def check(self, batch: SourcedTicks, *, newest_first: bool) -> SourcedTicks:
        """Return what is left, prices rounded; the same object if nothing had to be changed."""
        batch = self._check_plausible(batch)
        batch = self._check_sizes(batch)
        batch = self._check_backward(self._round(batch), newest_first)
        return self._check_spread(batch)

    def _check_plausible(self, batch: SourcedTicks) -> SourcedTicks:
        item, ticks = self._instrument, batch.ticks
        # Comparisons with NaN are false: what passes here breaks none of the rules below.
        edges = [item.plausible_low <= price.min() for price in (ticks.bid, ticks.ask)]
        edges += [price.max() <= item.plausible_high for price in (ticks.bid, ticks.ask)]
        ts = ticks.ts_event_ns
        if item.plausible_low > 0 and all(edges) and ts.min() >= self._first_ns and ts.max() < self._stop_ns:
            return batch
        batch = self._ledger.apply("implausible_time", (ts < self._first_ns) | (ts >= self._stop_ns), batch)
        batch = self._ledger.apply("non_finite", _either(batch, lambda price: ~np.isfinite(price)), batch)
        batch = self._ledger.apply("non_positive", _either(batch, lambda price: price <= 0), batch)
        low, high = item.plausible_low, item.plausible_high
        beyond = _either(batch, lambda price: (price < low) | (price > high))
        return self._ledger.apply("implausible_price", beyond, batch)

    def _check_sizes(self, batch: SourcedTicks) -> SourcedTicks:
        if not len(batch):
            return batch
        ticks = batch.ticks
        if not all(size.min() >= 0 and size.max() < np.inf for size in (ticks.bid_size, ticks.ask_size)):
            bad = [~(np.isfinite(size) & (size >= 0)) for size in (ticks.bid_size, ticks.ask_size)]
            batch = self._ledger.apply("bad_size", bad[0] | bad[1], batch)
            ticks = batch.ticks
            sizes = (ticks.bid_size, ticks.ask_size)
            cleaned = [np.where(np.isfinite(size) & (size > 0), size, 0.0) for size in sizes]
            batch = with_columns(batch, bid_size=cleaned[0], ask_size=cleaned[1])
            ticks = batch.ticks
        step = float(self._instrument.size_increment)
        whole = [_whole(size, step) for size in (ticks.bid_size, ticks.ask_size)]
        if np.array_equal(whole[0], ticks.bid_size) and np.array_equal(whole[1], ticks.ask_size):
            return batch
        return with_columns(batch, bid_size=whole[0], ask_size=whole[1])

    def _round(self, batch: SourcedTicks) -> SourcedTicks:
        ticks = batch.ticks
        bid, ask = round_price(ticks.bid, self._instrument), round_price(ticks.ask, self._instrument)
        if np.array_equal(bid, ticks.bid) and np.array_equal(ask, ticks.ask):
            return batch
        # Prices that only differ by float noise (a sum, a float32) are on the grid.
        tolerance = 1e-3 * self._instrument.tick_size
        off = (np.abs(bid - ticks.bid) > tolerance) | (np.abs(ask - ticks.ask) > tolerance)
        return self._ledger.apply("off_grid", off, with_columns(batch, bid=bid, ask=ask))

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
            return self._ledger.apply("backward", (-ts[::-1] < latest[:-1])[::-1], batch)
        if ts[0] >= self._latest_ns and bool((ts[1:] >= ts[:-1]).all()):
            self._latest_ns = int(ts[-1])
            return batch
        latest = np.maximum.accumulate(np.concatenate(([self._latest_ns], ts)))
        self._latest_ns = int(latest[-1])
        return self._ledger.apply("backward", ts < latest[:-1], batch)

    def _check_spread(self, batch: SourcedTicks) -> SourcedTicks:
        crossed = batch.ticks.ask < batch.ticks.bid
        if crossed.any():
            batch = self._ledger.apply("crossed", crossed, batch)
            if self._ledger.rules.treatment("crossed") == "fix":
                batch = with_columns(batch, **swapped(batch.ticks, crossed))
        zero = batch.ticks.ask == batch.ticks.bid
        if zero.any():
            batch = self._ledger.apply("zero_spread", zero, batch)
            if self._ledger.rules.treatment("zero_spread") == "fix":
                step = np.where(zero, self._instrument.tick_size, 0.0)
                bid = round_price(batch.ticks.bid - step, self._instrument)
                batch = with_columns(
                    batch, bid=bid, ask=round_price(batch.ticks.ask + step, self._instrument)
                )
        return batch


def _either(batch: SourcedTicks, test: Any) -> NDArray[np.bool_]:
    return np.asarray(test(batch.ticks.bid) | test(batch.ticks.ask))


def _whole(size: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    return np.asarray(np.rint(size) if step == 1.0 else np.rint(size / step) * step)
