"""Which bars of a series are read and drawn, and the request made of them.  Owns the rule "nothing later".

Knows bars, chart specs and requests; asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from aiopt.analyst.analysis import AnalysisRequest
from aiopt.analyst.settings import DEFAULT_CHART
from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, IndicatorPlot

FEWEST_BARS = 20
"""A window of fewer bars is not read."""


def drawable(spec: ChartSpec, bars: BarArrays) -> ChartSpec:
    """Return a chart as the analyst draws it, without the indicators that so few bars give no value.

    Only of `DEFAULT_CHART` is anything left out: of its indicators nobody asked for one.
    """
    if spec != DEFAULT_CHART:
        return spec

    def has_values(plot: IndicatorPlot) -> bool:
        return all(np.isfinite(values).any() for values in plot.compute(bars).values())

    return msgspec.structs.replace(
        spec,
        overlays=tuple(plot for plot in spec.overlays if has_values(plot)),
        panes=tuple(plot for plot in spec.panes if has_values(plot)),
    )


def window_before(bars: BarArrays, ts_ns: int, length: int) -> tuple[int, int] | None:
    """Return first and last (excluded) of the `length` bars that were closed at `ts_ns`.

    Parameters
    ----------
    bars : BarArrays
        A whole series.
    ts_ns : int
        UTC, e.g. of a fill at a bar's open: that bar is not in the window.
    length : int
        Fewer at the start of the series.

    Returns
    -------
    tuple of int, or None
        None if there are fewer than `FEWEST_BARS`.
    """
    closes = bars.ts_open_ns + bars.timeframe.ns
    stop = int(np.searchsorted(closes, ts_ns, side="right"))
    start = max(0, stop - length)
    return (start, stop) if stop - start >= FEWEST_BARS else None


def request_of_window(
    bars: BarArrays,
    window: tuple[int, int],
    *,
    spec: ChartSpec,
    lines: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    chart_png: bytes | None = None,
    spread: float | None = None,
    note: str = "",
) -> AnalysisRequest:
    """Return the request for a window.

    Parameters
    ----------
    bars : BarArrays
        The whole series.
    window : tuple of int
        First bar and the bar behind the last; no later bar is looked at.
    spec : ChartSpec
        Its indicators' values at the last bar go into the request.
    lines : mapping, optional
        `indicator_lines` of the series, so that many windows compute them once.
    chart_png, spread, note
        As in `AnalysisRequest`.
    """
    start, stop = window
    values = values_at(indicator_lines(bars, spec) if lines is None else lines, stop - 1)
    return AnalysisRequest(
        bars=bars.slice(start, stop), chart_png=chart_png, indicators=values, spread=spread, note=note
    )


def indicator_lines(bars: BarArrays, spec: ChartSpec) -> dict[str, dict[str, np.ndarray]]:
    """Return, by title and output, every indicator of a chart over all bars."""
    return {plot.title(): plot.compute(bars) for plot in (*spec.overlays, *spec.panes)}


def values_at(lines: Mapping[str, Mapping[str, np.ndarray]], bar: int) -> dict[str, float]:
    """Return the values of `indicator_lines` at a bar, by title; those that are none are left out."""
    return {
        title if len(outputs) == 1 else f"{title} {name}": float(series[bar])
        for title, outputs in lines.items()
        for name, series in outputs.items()
        if np.isfinite(series[bar])
    }
