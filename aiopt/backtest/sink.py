"""What a backtest tells a log: features and signals of every bar, and the trades.

Owns the streams ``features``, ``signals`` and ``trades`` and their columns.  Knows a log only as something
with `append` and `extend`; `aiopt.featurelog.FeatureLog` is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiopt.backtest.results import TrialResult
from aiopt.bars.schema import BarArrays
from aiopt.strategy.signals import BarSignal, SignalArrays

HASH_DIGITS = 12
"""Of the hashes that say which backtest a row is of."""

_LEVELS = ("stop_price", "target_price")


class RowSink(Protocol):
    """What takes rows."""

    def append(self, stream: str, row: Mapping[str, Any], /) -> None:
        """Take one row."""

    def extend(self, stream: str, columns: Mapping[str, Any], /) -> None:
        """Take rows given as columns of equal length."""


class BacktestRecorder:
    """Rows of one backtest.

    Every row begins with ``spec``, ``config`` and ``data``, the first `HASH_DIGITS` digits of the hashes in
    the result, then ``bar`` and ``ts_open_ns``.

    Parameters
    ----------
    sink : RowSink
        Takes the rows.
    spec_hash, config_hash, data_hash : str
        Of the strategy, the assumptions and the bars.
    """

    def __init__(self, sink: RowSink, *, spec_hash: str, config_hash: str, data_hash: str) -> None:
        self._sink = sink
        self._run = {
            "spec": spec_hash[:HASH_DIGITS],
            "config": config_hash[:HASH_DIGITS],
            "data": data_hash[:HASH_DIGITS],
        }

    def bar(
        self, number: int, ts_open_ns: int, close: float, indicators: Mapping[str, float], signal: BarSignal
    ) -> None:
        """Log one bar as the strategy saw it."""
        lead = {**self._run, "bar": number, "ts_open_ns": ts_open_ns}
        self._sink.append("features", {**lead, "close": close, **indicators})
        self._sink.append("signals", {**lead, **signal._asdict()})

    def arrays(self, bars: BarArrays, signals: SignalArrays) -> None:
        """Log all bars at once; the same rows as one `bar` after the other."""
        n_bars = len(bars)
        lead: dict[str, NDArray | Sequence[str]] = {
            **{name: [value] * n_bars for name, value in self._run.items()},
            "bar": np.arange(n_bars),
            "ts_open_ns": bars.ts_open_ns,
        }
        self._sink.extend("features", {**lead, "close": bars.close, **signals.indicators})
        self._sink.extend("signals", {**lead, **{name: getattr(signals, name) for name in BarSignal._fields}})

    def trades(self, result: TrialResult) -> None:
        """Log the closed trades of a finished backtest."""
        for trade in result.trades:
            row = msgspec.to_builtins(trade)
            # A column of prices alone: a stop that is absent is NaN, as in the stream of signals.
            levels = {name: math.nan if row[name] is None else row[name] for name in _LEVELS}
            self._sink.append("trades", {**self._run, **row, **levels})
