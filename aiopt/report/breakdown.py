"""Breaking results down: trades by hour and weekday, a metric over two parameters.

Owns the grouping only.  Knows nothing of files or of markup.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiopt.report.document import Breakdown, HeatMap
from aiopt.report.svg import short, utc
from aiopt.trades import Trade

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_FEWEST_BINS, _MOST_BINS = 3, 7
_TRIALS_PER_CELL = 3


def by_hour(trades: Sequence[Trade]) -> Breakdown | None:
    """Return profit and number of trades by the hour (UTC) of entry; None without trades."""
    labels = [f"{hour:02d}" for hour in range(24)]
    return _breakdown(labels, [utc(trade.entry_ts_ns).hour for trade in trades], trades)


def by_weekday(trades: Sequence[Trade]) -> Breakdown | None:
    """Return profit and number of trades by the weekday (UTC) of entry; None without trades."""
    return _breakdown(list(WEEKDAYS), [utc(trade.entry_ts_ns).weekday() for trade in trades], trades)


def _breakdown(labels: list[str], places: Sequence[int], trades: Sequence[Trade]) -> Breakdown | None:
    if not trades:
        return None
    pnl = [0.0] * len(labels)
    counts = [0] * len(labels)
    for place, trade in zip(places, trades, strict=True):
        pnl[place] += trade.pnl
        counts[place] += 1
    return Breakdown(labels=labels, pnl=[round(value, 2) for value in pnl], trades=counts)


def heat_map(
    points: Sequence[dict[str, Any]], values: Sequence[float], chosen: dict[str, Any], *, metric: str
) -> HeatMap | None:
    """Return the median of a metric over the two parameters that explain most of its spread.

    Parameters
    ----------
    points : sequence of dict
        Parameters of each trial, all with the same keys.
    values : sequence of float
        The metric of each trial; trials whose value is not finite are left out.
    chosen : dict
        Parameters whose cell is marked.
    metric : str
        Name of the metric.

    Returns
    -------
    HeatMap or None
        None if fewer than two parameters vary.
    """
    kept = [(point, value) for point, value in zip(points, values, strict=True) if math.isfinite(value)]
    if not kept:
        return None
    metric_values = np.array([value for _, value in kept])
    bins = max(_FEWEST_BINS, min(_MOST_BINS, int(math.sqrt(len(kept) / _TRIALS_PER_CELL))))
    axes = {}
    for name in sorted(kept[0][0]):
        tried = [point[name] for point, _ in kept if name in point]
        if len(tried) == len(kept) and len(set(tried)) > 1:
            axes[name] = _Axis(tried, bins)
    if len(axes) < 2:
        return None
    influence = {name: explained_spread(axis.places, metric_values) for name, axis in axes.items()}
    x_name, y_name = sorted(axes, key=lambda name: (-influence[name], name))[:2]
    x, y = axes[x_name], axes[y_name]
    cells: list[list[list[float]]] = [[[] for _ in x.labels] for _ in y.labels]
    for across, up, value in zip(x.places, y.places, metric_values.tolist(), strict=True):
        cells[up][across].append(value)
    column_of, row_of = x.place(chosen.get(x_name)), y.place(chosen.get(y_name))
    return HeatMap(
        metric=metric,
        x_name=x_name,
        y_name=y_name,
        x_labels=x.labels,
        y_labels=y.labels,
        values=[[float(np.median(cell)) if cell else None for cell in row] for row in cells],
        counts=[[len(cell) for cell in row] for row in cells],
        chosen=None if column_of is None or row_of is None else (column_of, row_of),
    )


def explained_spread(places: Sequence[int], values: NDArray[np.float64]) -> float:
    """Return the share of the variance of `values` that its groups explain, corrected for their number.

    This is epsilon squared of a one-way analysis of variance (Kelley, 1935, PNAS 21(9)): unlike eta squared
    it does not favour the parameter with the most bins.

    Parameters
    ----------
    places : sequence of int
        Group of each value.
    values : ndarray of shape (n,), finite

    Returns
    -------
    float
        At most 1; negative where the groups explain less than chance would.
    """
    groups = np.asarray(places)
    total = float(((values - values.mean()) ** 2).sum())
    names = np.unique(groups)
    free = len(values) - len(names)
    if total == 0.0 or free <= 0:
        return 0.0
    within = sum(
        float(((values[groups == name] - values[groups == name].mean()) ** 2).sum()) for name in names
    )
    return (total - within - (len(names) - 1) * within / free) / total


class _Axis:
    """One parameter cut into labelled bins of about equally many trials."""

    def __init__(self, column: Sequence[Any], bins: int) -> None:
        distinct = sorted(set(column), key=lambda value: (isinstance(value, str), value))
        self._edges: list[Any] = distinct
        if len(distinct) > bins and not any(isinstance(value, str) for value in distinct):
            ordered = sorted(column)
            starts = [ordered[index * len(ordered) // bins] for index in range(bins)]
            self._edges = sorted(set(starts))
        self._numeric = not any(isinstance(value, str) for value in distinct)
        self.places = [self._find(value) for value in column]
        self._low, self._high = distinct[0], distinct[-1]
        self.labels = []
        for place, _ in enumerate(self._edges):
            members = [value for value, where in zip(column, self.places, strict=True) if where == place]
            self.labels.append(_label(min(members), max(members)))

    def place(self, value: Any) -> int | None:
        """Return the bin of a value, or None if it lies outside what was tried."""
        if value is None or (self._numeric and not self._low <= value <= self._high):
            return None
        if not self._numeric and value not in self._edges:
            return None
        return self._find(value)

    def _find(self, value: Any) -> int:
        if not self._numeric:
            return self._edges.index(value)
        return max(int(np.searchsorted(self._edges, value, side="right")) - 1, 0)


def _label(low: Any, high: Any) -> str:
    if isinstance(low, str):
        return low
    return short(float(low)) if low == high else f"{short(float(low))}–{short(float(high))}"
