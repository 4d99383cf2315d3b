"""Where the Nautilus strategy gets its signals: from arrays or bar by bar.  Knows nothing of orders."""

from __future__ import annotations

from typing import Protocol

from aiopt.backtest.sink import BacktestRecorder
from aiopt.strategy.signals import BarSignal, SignalArrays, StreamingSignals


class SignalSource(Protocol):
    """The seam between signals and the strategy."""

    @property
    def size_step(self) -> int | None:
        """Units to which sizes by risk are rounded down; None for fixed sizes."""
        ...

    def at(self, bar: int) -> BarSignal:
        """Return what was said at the close of bar `bar` (0-based)."""
        ...


class ArraySignals:
    """Signals computed in advance: what sweeps use."""

    def __init__(self, arrays: SignalArrays) -> None:
        self.arrays = arrays
        self.size_step = arrays.size_step

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


class StreamedSignals:
    """Signals computed from each bar as the engine delivers it: what live trading would use.

    Every signal is kept in `observed`, so that a test can compare what the strategy saw with the arrays.

    Parameters
    ----------
    signals : StreamingSignals
        Fed with each bar.
    recorder : BacktestRecorder, optional
        Told of each bar at once.
    """

    def __init__(self, signals: StreamingSignals, recorder: BacktestRecorder | None = None) -> None:
        self._signals = signals
        self.size_step = signals.size_step
        self._recorder = recorder
        self.observed: list[BarSignal] = []

    def push(
        self, ts_open_ns: int, open: float, high: float, low: float, close: float, volume: float
    ) -> BarSignal:
        """Add the next bar and return its signal."""
        signal = self._signals.update(ts_open_ns, open, high, low, close, volume)
        self.observed.append(signal)
        if self._recorder is not None:
            number = len(self.observed) - 1
            self._recorder.bar(number, ts_open_ns, close, self._signals.indicators(), signal)
        return signal

    def at(self, bar: int) -> BarSignal:
        """Return the signal of a bar that has been pushed."""
        return self.observed[bar]
