"""Where the Nautilus strategy gets its signals: from arrays or bar by bar.  Knows nothing of orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from aiopt.backtest.sink import BacktestRecorder
from aiopt.bars.reading_log import MarketReading
from aiopt.indicators.windows import FloatArray
from aiopt.strategy.distances import CLOSE
from aiopt.strategy.entry_limits import LimitPlan
from aiopt.strategy.exits import ExitPlan
from aiopt.strategy.signals import BarSignal, SignalArrays, StreamingSignals


class SignalSource(Protocol):
    """The seam between signals and the strategy."""

    @property
    def size_step(self) -> int | None:
        """Units to which sizes by risk are rounded down; None for fixed sizes."""
        ...

    @property
    def exits(self) -> ExitPlan | None:
        """Exits beside stop, target and signals; None where there are none."""
        ...

    @property
    def limits(self) -> LimitPlan | None:
        """What holds entries back; None where nothing does."""
        ...

    @property
    def pyramiding(self) -> int:
        """Entries of one side that may be open at once."""
        ...

    def at(self, bar: int) -> BarSignal:
        """Return what was said at the close of bar `bar` (0-based)."""
        ...

    def indicator(self, name: str, bar: int) -> float:
        """Return a series at the close of bar `bar`, the last one asked for with `at`.

        An indicator by its name in conditions, or `aiopt.strategy.distances.CLOSE`.
        """
        ...


class ArraySignals:
    """Signals computed in advance: what sweeps use.

    Parameters
    ----------
    arrays : SignalArrays
        One element per bar.
    close : ndarray of shape (n_bars,)
        Closes of the bars they were computed on.
    """

    def __init__(self, arrays: SignalArrays, close: FloatArray) -> None:
        self.arrays = arrays
        self._close = close
        self.size_step = arrays.size_step
        self.exits = arrays.exits
        self.limits = arrays.limits
        self.pyramiding = arrays.pyramiding

    def at(self, bar: int) -> BarSignal:
        """Return the bar's elements of the arrays."""
        arrays = self.arrays
        return BarSignal(
            entry_long=bool(arrays.entry_long[bar]),
            entry_short=bool(arrays.entry_short[bar]),
            exit_long=bool(arrays.exit_long[bar]),
            exit_short=bool(arrays.exit_short[bar]),
            stop_long=float(arrays.stop_long[bar]),
            target_long=float(arrays.target_long[bar]),
            stop_short=float(arrays.stop_short[bar]),
            target_short=float(arrays.target_short[bar]),
            units=float(arrays.units[bar]),
            ready=bool(arrays.ready[bar]),
        )

    def indicator(self, name: str, bar: int) -> float:
        """Return the bar's element of the series."""
        return float((self._close if name == CLOSE else self.arrays.indicators[name])[bar])


class StreamedSignals:
    """Signals computed from each bar as the engine delivers it: what live trading would use.

    Every signal is kept in `observed`, so that a test can compare what the strategy saw with the arrays.

    Parameters
    ----------
    signals : StreamingSignals
        Fed with each bar.
    recorder : BacktestRecorder, optional
        Told of each bar at once.
    keep : bool
        Whether `observed` keeps all signals; False, for bars without end: the last alone.
    readings : callable, optional
        From `aiopt.strategy.reading_gate.arrivals`: gives the readings that arrived before a bar's close.
        Where they come by themselves, `add_reading` takes them.
    timeframe_ns : int
        Length of a bar.
    """

    def __init__(
        self,
        signals: StreamingSignals,
        recorder: BacktestRecorder | None = None,
        *,
        keep: bool = True,
        readings: Callable[[int], Iterator[MarketReading]] | None = None,
        timeframe_ns: int = 0,
    ) -> None:
        self._signals = signals
        self._readings, self._timeframe_ns = readings, timeframe_ns
        self.size_step = signals.size_step
        self.exits = signals.exits
        self.limits = signals.limits
        self.pyramiding = signals.pyramiding
        self._recorder = recorder
        self._keep = keep
        self._pushed = 0
        self.size_factor = 1.0
        """By which sizes are multiplied from the next bar on, rounded down to whole steps."""
        self.observed: list[BarSignal] = []

    def push(
        self, ts_open_ns: int, open: float, high: float, low: float, close: float, volume: float
    ) -> BarSignal:
        """Add the next bar, after the readings that arrived before its close; return its signal."""
        if self._readings is not None:
            for reading in self._readings(ts_open_ns + self._timeframe_ns):
                self._signals.add_reading(reading)
        signal = self._sized(self._signals.update(ts_open_ns, open, high, low, close, volume))
        if not self._keep:
            self.observed.clear()
        self.observed.append(signal)
        self._pushed += 1
        if self._recorder is not None:
            self._recorder.bar(self._pushed - 1, ts_open_ns, close, self._signals.indicators(), signal)
        return signal

    def _sized(self, signal: BarSignal) -> BarSignal:
        if self.size_factor == 1.0 or not math.isfinite(signal.units):
            return signal
        step = self.size_step or 1
        return signal._replace(units=float(math.floor(signal.units * self.size_factor / step) * step))

    def at(self, bar: int) -> BarSignal:
        """Return the signal of a bar that has been pushed and is still kept."""
        return self.observed[bar - self._pushed]

    def indicator(self, name: str, bar: int) -> float:
        """Return the series on the last bar pushed, which `bar` must be."""
        assert bar == self._pushed - 1
        return self._signals.value(name)

    def indicators(self) -> dict[str, float]:
        """Return every indicator's value on the last bar pushed."""
        return self._signals.indicators()
