"""What readings decide on a bar, over whole arrays and bar by bar: the twin views of `spec_readings`.

Owns the rules below.  Knows logs of readings and bars' times; knows no signal, no order and no model.

Rules
-----
* A decision is made at a bar's close.  A reading counts there if it was known before it: one of a chart that
  ends with bar t is known at that close at the soonest, and so counts from the close of bar t + 1 on.
* Of the readings that count, the one of the latest chart decides; a late answer about an earlier chart does
  not replace it.
* Its age is the number of bars that opened since its chart ended, the one decided on included.  Older than
  `max_age_bars`, or without a figure that is asked for, it is no reading.
* Where there is none, `without` decides, and sizes stay as they are.
* The gate comes last: where both sides signal neither enters, whatever readings say, and an entry that comes
  late is judged at the close at which it is ordered.  Exits are never held back.
* A size by units is scaled and rounded down to whole units; of a size by risk the risk is scaled.  An entry
  of less than one unit, or one step, does not fire.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.bars.reading_log import FIGURES, MarketReading, ReadingLog
from aiopt.bars.schema import BarArrays
from aiopt.errors import DataError, SpecError
from aiopt.indicators.windows import FloatArray
from aiopt.strategy.spec import StrategySpec
from aiopt.strategy.spec_readings import SideReading, gate_of
from aiopt.utc import stamp_text

BoolArray = npt.NDArray[np.bool_]

NONE = -1
"""No reading is known."""

_FACTOR_STEPS = 1e9
"""Factors are whole multiples of one over this."""


class SizePlan(NamedTuple):
    """A `ReadingSize` with its parameters resolved."""

    by: str
    low: float
    high: float
    least: float
    most: float

    def factor(self, figure: float) -> float:
        """Return the factor of a figure's value, without the float noise that would cost a step of size."""
        share = min(max((figure - self.low) / (self.high - self.low), 0.0), 1.0)
        return (
            math.floor((self.least + (self.most - self.least) * share) * _FACTOR_STEPS + 0.5) / _FACTOR_STEPS
        )

    def factors(self, figures: FloatArray) -> FloatArray:
        """Return `factor` of many values, bit for bit; NaN of NaN."""
        share = np.minimum(np.maximum((figures - self.low) / (self.high - self.low), 0.0), 1.0)
        whole = np.floor((self.least + (self.most - self.least) * share) * _FACTOR_STEPS + 0.5)
        return np.asarray(whole / _FACTOR_STEPS)


class GatePlan(NamedTuple):
    """What a spec asks of readings, its parameters resolved.

    Attributes
    ----------
    allows_without : bool
        Whether an entry is taken where there is no reading.
    max_age_bars : int
        Bars.
    confidence : str
        The figure `min_confidence` is of; empty where none is asked for.
    min_confidence : float
        0.0 where none is asked for.
    sides : tuple of two SideReading or None
        What must hold for a long and for a short entry.
    within_bars : tuple of two int
        Of each side; 0 for the whole chart.
    size : SizePlan or None
        How sizes are scaled.
    """

    allows_without: bool
    max_age_bars: int
    confidence: str
    min_confidence: float
    sides: tuple[SideReading | None, SideReading | None]
    within_bars: tuple[int, int]
    size: SizePlan | None

    @property
    def figures(self) -> tuple[str, ...]:
        """The figures a reading must have."""
        asked = (self.confidence, "" if self.size is None else self.size.by)
        return tuple(dict.fromkeys(name for name in asked if name))

    def concerns(self, side: int) -> bool:
        """Return whether readings have a say in entries of a side, 0 for long."""
        return bool(self.figures) or self.sides[side] is not None


def gate_plan(spec: StrategySpec) -> GatePlan | None:
    """Return what a strategy asks of readings; None where it asks nothing."""
    gate = gate_of(spec)
    if gate is None:
        return None
    size = gate.size
    has_least = gate.min_confidence is not None
    return GatePlan(
        allows_without=gate.without == "allow",
        max_age_bars=int(spec.value_of(gate.max_age_bars)),
        confidence=gate.confidence if has_least else "",
        min_confidence=0.0 if gate.min_confidence is None else float(spec.value_of(gate.min_confidence)),
        sides=(gate.long, gate.short),
        within_bars=(_within(spec, gate.long), _within(spec, gate.short)),
        size=None
        if size is None
        else SizePlan(
            size.by,
            *(float(spec.value_of(value)) for value in (size.low, size.high, size.least, size.most)),
        ),
    )


def _within(spec: StrategySpec, side: SideReading | None) -> int:
    return 0 if side is None or side.within_bars is None else int(spec.value_of(side.within_bars))


def holds(side: SideReading, within_bars: int, reading: MarketReading) -> bool:
    """Return whether a reading says what a side asks for."""
    for asked, said in (
        (side.bias, reading.bias),
        (side.trend, reading.trend),
        (side.volatility, reading.volatility),
    ):
        if asked and said not in asked:
            return False
    seen = {one.kind for one in reading.patterns if not within_bars or one.bars_ago < within_bars}
    if side.patterns and seen.isdisjoint(side.patterns):
        return False
    return seen.isdisjoint(side.no_patterns)


# --- over arrays ------------------------------------------------------------------------------------------


class GateArrays(NamedTuple):
    """What readings decide on every bar.

    Attributes
    ----------
    long, short : ndarray of shape (n_bars,), bool
        Where an entry of that side may be taken.
    factor : ndarray of shape (n_bars,) or None
        By which sizes are multiplied; None where none is.
    """

    long: BoolArray
    short: BoolArray
    factor: FloatArray | None


class ReadingsOnBars:
    """A log of readings aligned to the bars of one series.

    Parameters
    ----------
    log : ReadingLog
        What was read.
    bars : BarArrays
        Of the same instrument; their timeframe may be another than that of the charts.

    Raises
    ------
    DataError
        If the log is of another instrument, or its charts do not cover the bars.
    """

    def __init__(self, log: ReadingLog, bars: BarArrays) -> None:
        if log.instrument != bars.instrument:
            msg = f"Readings must be of the bars' instrument {bars.instrument}, but they are of "
            raise DataError(f"{msg}{log.instrument}. Give the readings of these bars.")
        self.log = log
        self._opens = bars.ts_open_ns
        closes = bars.ts_open_ns + bars.timeframe.ns
        check_cover(log, bars.ts_open_ns, closes)
        places = np.searchsorted(log.known_ns, closes, side="left") - 1
        self.known = np.full(closes.size, NONE, dtype=np.int64)
        """The reading that counts at the close of each bar, whatever its age; -1 for none."""
        there = places >= 0
        self.known[there] = log.newest[places[there]]
        self._sides: dict[tuple[SideReading, int], BoolArray] = {}

    def __repr__(self) -> str:
        return f"ReadingsOnBars({self.log!r}, {self._opens.size:,} bars)"

    def gate(self, spec: StrategySpec) -> GateArrays | None:
        """Return what the readings decide for a strategy; None where it asks nothing of them.

        Raises
        ------
        DataError
            If no reading has a figure that the strategy asks for.
        """
        plan = gate_plan(spec)
        if plan is None:
            return None
        counts = self._counting(plan)
        index = self.known[counts]
        passed = np.ones(len(self.log), dtype=bool)
        if plan.confidence:
            passed &= self._figures[plan.confidence] >= plan.min_confidence
        sides = []
        for side, asked in enumerate(plan.sides):
            allowed = np.full(counts.size, plan.allows_without or not plan.concerns(side))
            if plan.concerns(side):
                held = passed if asked is None else passed & self._holding(asked, plan.within_bars[side])
                allowed[counts] = held[index]
            sides.append(allowed)
        factor = None
        if plan.size is not None:
            factor = np.ones(counts.size)
            factor[counts] = plan.size.factors(self._figures[plan.size.by])[index]
        return GateArrays(sides[0], sides[1], factor)

    def _counting(self, plan: GatePlan) -> BoolArray:
        """Return where a reading counts."""
        there = self.known >= 0
        age = plan.max_age_bars
        # Too old: the bar so many before the one decided on opened when its chart was over.
        then = self._opens[:-age] if age < there.size else self._opens[:0]
        late = there[age:]
        late[late] = then[late] < self.log.ends_ns[self.known[age:][late]]
        for name in plan.figures:
            values = self._figures[name]
            if len(self.log) and np.isnan(values).all():
                raise DataError(_without_figure(name, self.log))
            there[there] = ~np.isnan(values[self.known[there]])
        return there

    @cached_property
    def _figures(self) -> dict[str, FloatArray]:
        return {name: self.log.figure(name) for name in FIGURES}

    def _holding(self, asked: SideReading, within_bars: int) -> BoolArray:
        """Return which readings say what a side asks for; kept, as a sweep asks again."""
        key = asked, within_bars
        if key not in self._sides:
            found = [holds(asked, within_bars, one) for one in self.log.readings]
            self._sides[key] = np.array(found, dtype=bool)
        return self._sides[key]


def gate_on_bars(spec: StrategySpec, readings: ReadingsOnBars | None) -> GateArrays | None:
    """Return what readings decide for a strategy; None where it asks nothing of them.

    Raises
    ------
    SpecError
        If it asks for readings and there are none.
    """
    if readings is not None:
        return readings.gate(spec)
    if gate_plan(spec) is not None:
        raise need_readings(spec)
    return None


def check_cover(log: ReadingLog, opens: npt.NDArray[np.int64], closes: npt.NDArray[np.int64]) -> None:
    """Refuse readings whose charts do not cover some bars.

    Charts follow each other in steps, and bars before the first and behind the last of them may be as many
    as the usual step.

    Raises
    ------
    DataError
        Names the first bar without a chart near it, and the remedy.
    """
    ends = log.chart_ends_ns
    # Bars that were over as each chart ended: charts' distances count in bars, so that weekends are none.
    over = np.searchsorted(closes, ends, side="right")
    steps = np.diff(over[(ends > opens[0]) & (ends <= closes[-1])])
    usual = int(np.median(steps)) + 1 if steps.size else 1
    before = int(np.searchsorted(opens, log.first_ns))
    behind = int(closes.size - np.searchsorted(closes, ends[-1], side="right"))
    span = f"the charts go from {stamp_text(log.first_ns, 's')} to {stamp_text(int(ends[-1]), 's')}"
    bars = f"the bars from {stamp_text(int(opens[0]), 's')} to {stamp_text(int(closes[-1]), 's')}"
    remedy = "Scan these bars (`aiopt analyst scan`), or give bars that were scanned."
    if before > usual or behind > usual:
        missing = f"{before:,} bars before and {behind:,} behind them were not read"
        raise DataError(f"Readings must cover the bars, but {span} and {bars}: {missing}. {remedy}")
    if steps.size and int(steps.max()) > 2 * usual:
        bar = int(over[(ends > opens[0]) & (ends <= closes[-1])][int(steps.argmax())])
        hole = f"{int(steps.max()):,} bars from {stamp_text(int(opens[bar]), 's')} on were not read"
        raise DataError(f"Readings must cover the bars, but {hole}, where {usual - 1} are usual. {remedy}")


def _without_figure(name: str, log: ReadingLog) -> str:
    remedy = "Ask for another figure"
    if name == "calibrated":
        remedy = "Scan with a calibration of the reader (--calibration), or ask for `confidence`"
    return f"The strategy asks for the figure {name!r}, but no reading by {log.origin.text} has it. {remedy}."


# --- bar by bar -------------------------------------------------------------------------------------------


class BarGate(NamedTuple):
    """What readings decide on one bar; fields as in `GateArrays`, a factor of 1 where nothing is scaled."""

    long: bool
    short: bool
    factor: float


class ReadingStream:
    """Streaming twin of `ReadingsOnBars.gate`: takes readings as they arrive and says what they decide.

    Parameters
    ----------
    plan : GatePlan
        Of the strategy.
    """

    def __init__(self, plan: GatePlan) -> None:
        self._plan = plan
        self._reading: MarketReading | None = None
        self._opens: deque[int] = deque(maxlen=plan.max_age_bars + 1)

    def add(self, reading: MarketReading) -> None:
        """Take a reading that has arrived: it counts from the next bar's close on."""
        if self._reading is None or reading.ts_end_ns >= self._reading.ts_end_ns:
            self._reading = reading

    def update(self, ts_open_ns: int) -> BarGate:
        """Return what the readings that have arrived decide at the close of the next bar."""
        plan, opens = self._plan, self._opens
        opens.append(ts_open_ns)
        reading = self._reading
        if reading is not None:
            is_old = len(opens) > plan.max_age_bars and opens[0] >= reading.ts_end_ns
            if is_old or any(name not in reading.figures for name in plan.figures):
                reading = None
        if reading is None:
            allowed = [plan.allows_without or not plan.concerns(side) for side in (0, 1)]
            return BarGate(allowed[0], allowed[1], 1.0)
        passed = not plan.confidence or reading.figures[plan.confidence] >= plan.min_confidence
        sides = []
        for side, asked in enumerate(plan.sides):
            held = passed and (asked is None or holds(asked, plan.within_bars[side], reading))
            sides.append(held or not plan.concerns(side))
        factor = 1.0 if plan.size is None else plan.size.factor(reading.figures[plan.size.by])
        return BarGate(sides[0], sides[1], factor)


def arrivals(log: ReadingLog) -> Callable[[int], Iterator[MarketReading]]:
    """Return what gives, moment by moment, the readings that have become known before each.

    The function returned takes moments in order, UTC in nanoseconds.
    """
    left = deque(log.readings)

    def before(moment_ns: int) -> Iterator[MarketReading]:
        while left and left[0].known_ns < moment_ns:
            yield left.popleft()

    return before


def need_readings(spec: StrategySpec) -> SpecError:
    """Return the error of a strategy that asks for readings where there are none."""
    msg = f"strategy {spec.name}: readings: it asks for readings of a model, but none were given. Add "
    return SpecError(f"{msg}--readings FILE, made by `aiopt analyst scan`, or remove `readings` from it.")
