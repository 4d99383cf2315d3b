"""Signals of a strategy, over whole arrays (`compute_signals`) and bar by bar (`StreamingSignals`).

Owns what fires on which bar and where stop and target would lie.  Knows nothing of positions: whether an
entry is taken, ignored or reverses one is the engine's business.

Rules
-----
* Nothing fires on a bar on which some indicator of the strategy has no value yet.
* Entries fire only on bars that open inside the session; exits always.
* ``entry_long`` and ``entry_short`` both true on a bar: neither fires.
* Stop and target are measured from the bar's close and rounded to a tick, but for those that are laid from
  the entry's own price.
* An entry with no size (less than one step of a risk-sized position) does not fire.
* What a strategy asks of readings comes last, see `aiopt.strategy.reading_gate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from aiopt.errors import SpecError
from aiopt.indicators.bar_series import bar_series
from aiopt.indicators.heikin_ashi import HEIKIN_ASHI, HeikinAshi
from aiopt.indicators.windows import NAN, FloatArray
from aiopt.strategy.distances import CLOSE, level_away
from aiopt.strategy.entry_limits import LimitPlan, limit_plan
from aiopt.strategy.evaluation import BoolArray, StreamingCondition, evaluate, names_of
from aiopt.strategy.exits import ExitPlan, exit_plan
from aiopt.strategy.higher_timeframes import check_higher_timeframes
from aiopt.strategy.reading_gate import (
    ReadingsOnBars,
    ReadingStream,
    arrivals,
    gate_on_bars,
    gate_plan,
    need_readings,
)
from aiopt.strategy.session_filter import SessionClock, session_mask
from aiopt.strategy.sizes import Balance, size_step, streaming_units, units_on_bars
from aiopt.strategy.spec import PriceDistance, StrategySpec
from aiopt.strategy.spec_pyramiding import entries_of

if TYPE_CHECKING:
    from aiopt.bars.reading_log import MarketReading, ReadingLog
    from aiopt.bars.schema import BarArrays


@dataclass(frozen=True, eq=False, slots=True)
class SignalArrays:
    """What a strategy says on every bar.

    Attributes
    ----------
    entry_long, entry_short, exit_long, exit_short : ndarray of shape (n_bars,), bool
        Evaluated at the close of the bar; acted on at the open of the next.
    stop_long, target_long, stop_short, target_short : ndarray of shape (n_bars,)
        Prices for an entry signalled on the bar; NaN where there is none, and where it is laid from the
        entry's own price, which is not known yet (`exits` has it).
    units : ndarray of shape (n_bars,)
        Size of an entry signalled on the bar, units of the base currency, before the account's margin.
    ready : ndarray of shape (n_bars,), bool
        Where every indicator has a value.
    indicators : dict of str to ndarray of shape (n_bars,)
        By the names conditions use: ``rsi``, ``macd.signal``.
    size_step : int or None
        Units to which sizes by risk are rounded down, also when the account cuts them to what its margin
        allows; None for fixed sizes, which are never cut.
    exits : ExitPlan or None
        Further exits, of every entry alike.
    limits : LimitPlan or None
        What holds entries back.  The entry signals above do not know it, as it depends on fills.
    pyramiding : int
        Entries of one side that may be open at once.
    """

    entry_long: BoolArray
    entry_short: BoolArray
    exit_long: BoolArray
    exit_short: BoolArray
    stop_long: FloatArray
    target_long: FloatArray
    stop_short: FloatArray
    target_short: FloatArray
    units: FloatArray
    ready: BoolArray
    indicators: dict[str, FloatArray]
    size_step: int | None = None
    exits: ExitPlan | None = None
    limits: LimitPlan | None = None
    pyramiding: int = 1

    def __len__(self) -> int:
        return int(self.entry_long.size)


class BarSignal(NamedTuple):
    """What a strategy says on one bar; fields as in `SignalArrays`."""

    entry_long: bool
    entry_short: bool
    exit_long: bool
    exit_short: bool
    stop_long: float
    target_long: float
    stop_short: float
    target_short: float
    units: float
    ready: bool


def price_digits(tick_size: float) -> int:
    """Return the decimals of a tick size: 5 for 0.00001.

    Raises
    ------
    SpecError
        If `tick_size` is not positive and finite.
    """
    if not (math.isfinite(tick_size) and tick_size > 0):
        msg = f"`tick_size > 0` must hold, but got tick_size={tick_size}. Take it from the instrument."
        raise SpecError(msg)
    exponent = Decimal(repr(float(tick_size))).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def round_to_tick(price: FloatArray, tick_size: float) -> FloatArray:
    """Return prices rounded to the nearest tick, halves up, as the float nearest to the decimal price.

    Parameters
    ----------
    price : ndarray
        NaN stays NaN.
    tick_size : float
        Smallest price step.
    """
    ticks = np.floor(price / tick_size + 0.5)
    return np.round(ticks * tick_size, price_digits(tick_size))


# --- over arrays ------------------------------------------------------------------------------------------


def series_arrays(bars: BarArrays, name: str) -> FloatArray:
    """Return one of the bars' own series, or of Heikin-Ashi's, shape (n_bars,)."""
    return bar_series(bars, name)


def compute_indicators(spec: StrategySpec, bars: BarArrays) -> dict[str, FloatArray]:
    """Return every output of every indicator of a strategy, by the names conditions use.

    Raises
    ------
    SpecError
        If the bars cannot give a higher timeframe that the strategy reads.
    """
    check_higher_timeframes(spec, bars.timeframe)
    sources: dict[str, FloatArray] = {}
    result: dict[str, FloatArray] = {}
    names = spec.output_names()
    for identifier, indicator in spec.indicators.items():
        kind = spec.definition(identifier)
        inputs = [indicator.source if name == "source" else name for name in kind.inputs]
        for name in inputs:
            if name not in sources:
                sources[name] = series_arrays(bars, name)
        outputs = kind.compute([sources[name] for name in inputs], spec.resolved_args(identifier))
        result.update(zip(names[identifier], outputs, strict=True))
    return result


def compute_signals(
    spec: StrategySpec,
    bars: BarArrays,
    *,
    tick_size: float,
    pip_size: float,
    initial_balance: Balance,
    delay_bars: int = 0,
    readings: ReadingsOnBars | None = None,
) -> SignalArrays:
    """Return a strategy's signals on every bar.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    bars : BarArrays
        Bars of one price side, in time order.
    tick_size, pip_size : float
        Of the instrument, quote currency.
    initial_balance : float or ndarray of shape (n_bars,)
        Account at the start, quote currency; risk-based sizes are measured by it.  An array: its worth at
        the close of each bar, of an account in another currency.
    delay_bars : int
        Bars by which entries come late; their stop, target, size and gate are those of the later bar.
    readings : ReadingsOnBars, optional
        Aligned to `bars`; a strategy that asks for none takes no note of them.

    Returns
    -------
    SignalArrays
        Without a delay equal, bar for bar and bit for bit, to what `StreamingSignals` says.

    Raises
    ------
    SpecError
        If the strategy asks for readings and there are none.
    """
    n_bars = len(bars)
    indicators = compute_indicators(spec, bars)
    ready = np.ones(n_bars, dtype=bool)
    for values in indicators.values():
        ready &= ~np.isnan(values)
    environment: dict[str, FloatArray | float] = {
        **{name: float(value) for name, value in spec.params.items()},
        **indicators,
    }
    fired = _evaluate_conditions(spec, bars, environment, ready)

    close = bars.close
    series = {**indicators, CLOSE: close}
    stop = _distances(spec, spec.stop_loss, series, (pip_size, tick_size), n_bars)
    target = _distances(spec, spec.take_profit, series, (pip_size, tick_size), n_bars)
    gate = gate_on_bars(spec, readings)
    units = units_on_bars(spec, stop, initial_balance, None if gate is None else gate.factor)
    stop, target = _known(spec.stop_loss, stop), _known(spec.take_profit, target)

    entry_long, entry_short = fired["entry_long"], fired["entry_short"]
    once = entry_long != entry_short
    if spec.session is not None:
        once &= session_mask(spec.session, bars.ts_open_ns)
    sized = units > 0
    long, short = (sized, sized) if gate is None else (sized & gate.long, sized & gate.short)
    return SignalArrays(
        entry_long=_later(entry_long & once, delay_bars) & long,
        entry_short=_later(entry_short & once, delay_bars) & short,
        exit_long=fired["exit_long"],
        exit_short=fired["exit_short"],
        stop_long=round_to_tick(close - stop, tick_size),
        target_long=round_to_tick(close + target, tick_size),
        stop_short=round_to_tick(close + stop, tick_size),
        target_short=round_to_tick(close - target, tick_size),
        units=units,
        ready=ready,
        indicators=indicators,
        size_step=size_step(spec),
        exits=exit_plan(spec, pip_size=pip_size, tick_size=tick_size),
        limits=limit_plan(spec),
        pyramiding=entries_of(spec),
    )


def _later(fired: BoolArray, bars: int) -> BoolArray:
    """Return signals so many bars later."""
    if bars == 0:
        return fired
    late = np.zeros_like(fired)
    late[bars:] = fired[:-bars]
    return late


def _evaluate_conditions(
    spec: StrategySpec, bars: BarArrays, environment: dict[str, FloatArray | float], ready: BoolArray
) -> dict[str, BoolArray]:
    result = {}
    for field in ("entry_long", "entry_short", "exit_long", "exit_short"):
        tree = spec.trees.get(field)
        if tree is None:
            result[field] = np.zeros(ready.size, dtype=bool)
            continue
        for name in names_of(tree) - environment.keys():
            environment[name] = series_arrays(bars, name)
        result[field] = evaluate(tree, environment, ready.size) & ready
    return result


def _distances(
    spec: StrategySpec,
    distance: PriceDistance | None,
    series: Mapping[str, FloatArray],
    sizes: tuple[float, float],
    n_bars: int,
) -> FloatArray:
    if distance is None:
        return np.full(n_bars, NAN)
    away = level_away(spec, distance, *sizes)
    if away.series is None:
        return np.full(n_bars, away.value + away.farther)
    return away.value * series[away.series] + away.farther


def _known(distance: PriceDistance | None, away: FloatArray) -> FloatArray:
    """Return distances from the close, NaN where they are laid from the price of an entry to come."""
    return away if distance is None or distance.is_from_signal else np.full_like(away, NAN)


# --- bar by bar -------------------------------------------------------------------------------------------


class StreamingSignals:
    """Streaming twin of `compute_signals`: fed one bar at a time, it says the same.

    A strategy that asks for readings is fed with them too, each as it arrives: those that `add_reading` took
    before a bar count at its close.

    Parameters
    ----------
    spec : StrategySpec
        The strategy.
    tick_size, pip_size, initial_balance : float
        As in `compute_signals`.
    """

    def __init__(
        self, spec: StrategySpec, *, tick_size: float, pip_size: float, initial_balance: Balance
    ) -> None:
        self._indicators = [_StreamingOutputs(spec, name) for name in spec.indicators]
        reads_candles = any(indicator.source in HEIKIN_ASHI for indicator in spec.indicators.values())
        self._candles = HeikinAshi() if reads_candles else None
        self._output_names = [name for names in spec.output_names().values() for name in names]
        self._values: Mapping[str, float] = {}
        params = {name: float(value) for name, value in spec.params.items()}
        conditions = {field: StreamingCondition(tree, params) for field, tree in spec.trees.items()}
        self._conditions = tuple(
            conditions.get(field) for field in ("entry_long", "entry_short", "exit_long", "exit_short")
        )
        self._clock = None if spec.session is None else SessionClock(spec.session)
        self._stop = _streaming_distance(spec, spec.stop_loss, pip_size, tick_size)
        self._target = _streaming_distance(spec, spec.take_profit, pip_size, tick_size)
        self._stop_known = spec.stop_loss is not None and spec.stop_loss.is_from_signal
        self._target_known = spec.take_profit is not None and spec.take_profit.is_from_signal
        self._units = streaming_units(spec, initial_balance)
        plan = gate_plan(spec)
        self._readings = None if plan is None else ReadingStream(plan)
        self.size_step = size_step(spec)
        self.exits = exit_plan(spec, pip_size=pip_size, tick_size=tick_size)
        self.limits = limit_plan(spec)
        self.pyramiding = entries_of(spec)
        self._bar = -1
        self._tick_size = tick_size
        self._digits = price_digits(tick_size)

    def update(
        self, ts_open_ns: int, open: float, high: float, low: float, close: float, volume: float
    ) -> BarSignal:
        """Add one bar (opening time in UTC, prices, volume); return what the strategy says on it."""
        values = _bar_values(open, high, low, close, volume)
        values["time"] = ts_open_ns  # whole nanoseconds
        if self._candles is not None:
            candle = self._candles.update(open, high, low, close)
            values.update(zip(HEIKIN_ASHI, map(float, candle), strict=True))
        ready = True
        for indicator in self._indicators:
            ready &= indicator.update(values)
        self._values = values
        fired = [condition is not None and condition.update(values) for condition in self._conditions]
        entry_long, entry_short, exit_long, exit_short = (ready and value for value in fired)

        stop, target = self._stop(values), self._target(values)
        self._bar += 1
        gate = None if self._readings is None else self._readings.update(ts_open_ns)
        units = self._units(stop, self._bar, 1.0 if gate is None else gate.factor)
        stop, target = (stop if self._stop_known else NAN), (target if self._target_known else NAN)
        allowed = units > 0 and (self._clock is None or self._clock.contains(ts_open_ns))
        entry_long, entry_short = entry_long and allowed, entry_short and allowed
        both = entry_long and entry_short
        return BarSignal(
            entry_long=entry_long and not both and (gate is None or gate.long),
            entry_short=entry_short and not both and (gate is None or gate.short),
            exit_long=exit_long,
            exit_short=exit_short,
            stop_long=self._round(close - stop),
            target_long=self._round(close + target),
            stop_short=self._round(close + stop),
            target_short=self._round(close - target),
            units=units,
            ready=ready,
        )

    def add_reading(self, reading: MarketReading) -> None:
        """Take a reading that has arrived since the last bar; nothing without a strategy that asks for it."""
        if self._readings is not None:
            self._readings.add(reading)

    def indicators(self) -> dict[str, float]:
        """Return every indicator output on the last bar, as `SignalArrays.indicators` names them."""
        return {name: self._values[name] for name in self._output_names}

    def value(self, name: str) -> float:
        """Return a series on the last bar: an output by its name in conditions, or one of the bar's own."""
        return self._values[name]

    def _round(self, price: float) -> float:
        if not math.isfinite(price):
            return NAN
        return round(math.floor(price / self._tick_size + 0.5) * self._tick_size, self._digits)


def _bar_values(open: float, high: float, low: float, close: float, volume: float) -> dict[str, float]:
    return {
        "open": open,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "hl2": (high + low) / 2.0,
        "hlc3": (high + low + close) / 3.0,
        "ohlc4": (open + high + low + close) / 4.0,
    }


class _StreamingOutputs:
    """One indicator of a strategy and the names of its outputs."""

    def __init__(self, spec: StrategySpec, identifier: str) -> None:
        indicator = spec.indicators[identifier]
        kind = spec.definition(identifier)
        self._inputs = [indicator.source if name == "source" else name for name in kind.inputs]
        self._names = spec.output_names()[identifier]
        self._twin = kind.streaming(**spec.resolved_args(identifier))

    def update(self, values: dict[str, float]) -> bool:
        """Add one bar, write the outputs into `values`; return whether all have a value."""
        result = self._twin.update(*[values[name] for name in self._inputs])
        outputs = (result,) if len(self._names) == 1 else result
        ready = True
        for name, output in zip(self._names, outputs, strict=True):
            values[name] = output
            ready &= not math.isnan(output)
        return ready


def _streaming_distance(
    spec: StrategySpec, distance: PriceDistance | None, pip_size: float, tick_size: float
) -> Callable[[Mapping[str, float]], float]:
    if distance is None:
        return lambda values: NAN
    away = level_away(spec, distance, pip_size, tick_size)
    return lambda values: away.at(values.__getitem__)


def signals_equal(left: SignalArrays, right: SignalArrays) -> bool:
    """Return whether two sets of signals agree on every bar, bit for bit, NaN equal to NaN."""
    same_plans = (left.exits, left.limits, left.pyramiding) == (right.exits, right.limits, right.pyramiding)
    return (
        left.size_step == right.size_step
        and same_plans
        and all(
            np.array_equal(getattr(left, field), getattr(right, field), equal_nan=field not in _FLAGS)
            for field in BarSignal._fields
        )
    )


_FLAGS = frozenset({"entry_long", "entry_short", "exit_long", "exit_short", "ready"})


def stream_signals(
    spec: StrategySpec,
    bars: BarArrays,
    *,
    tick_size: float,
    pip_size: float,
    initial_balance: Balance,
    readings: ReadingLog | None = None,
) -> SignalArrays:
    """Return the signals as `StreamingSignals` says them, gathered into arrays; `indicators` is empty.

    Parameters and errors as in `compute_signals`; readings arrive when they are known.
    """
    if readings is None and gate_plan(spec) is not None:
        raise need_readings(spec)
    stream = StreamingSignals(spec, tick_size=tick_size, pip_size=pip_size, initial_balance=initial_balance)
    known = (lambda moment: iter(())) if readings is None else arrivals(readings)
    columns = (bars.ts_open_ns, bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = []
    for row in zip(*(column.tolist() for column in columns), strict=True):
        for reading in known(row[0] + bars.timeframe.ns):
            stream.add_reading(reading)
        rows.append(stream.update(*row))
    gathered: dict[str, npt.NDArray] = {
        field: np.array([row[i] for row in rows], dtype=bool if field in _FLAGS else np.float64)
        for i, field in enumerate(BarSignal._fields)
    }
    return SignalArrays(
        **gathered,
        indicators={},
        size_step=stream.size_step,
        exits=stream.exits,
        limits=stream.limits,
        pyramiding=stream.pyramiding,
    )
