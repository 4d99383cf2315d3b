"""Charts drawn by this process or on the cluster, whichever is asked for or sooner done.

Owns that choice.  Imports Ray only where it is used, so that a few charts need none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.connection import cluster_connection, connected

if TYPE_CHECKING:
    from aiopt.charts import PreparedChart, TradeMark
    from aiopt.charts.windows import Window
    from aiopt.dataset import ChartRenderer

ENGINES = ("auto", "ray", "local")

RAY_FROM_CHARTS = 5_000
"""`auto` starts a cluster for so many charts: one process draws fewer while a cluster starts."""


@contextmanager
def drawn(
    chart: PreparedChart, windows: Sequence[Window], trades: Sequence[TradeMark], engine: str
) -> Iterator[Iterator[bytes]]:
    """Yield the PNGs of windows, in their order, drawn by this process or on the cluster.

    Parameters
    ----------
    chart : PreparedChart
        Bars, indicators and how they look.
    windows : sequence of (int, int)
        First bar and the bar behind the last.
    trades : sequence of TradeMark
        Marked in every window they lie in.
    engine : {"auto", "local", "ray"}
        auto: Ray when a cluster is connected or there are at least `RAY_FROM_CHARTS` windows.
    """
    if not _use_ray(engine, len(windows)):
        from aiopt.charts.windows import render_windows

        yield render_windows(chart, windows, trades=trades)
        return
    with cluster_connection():
        from cluster.charts import render_charts_distributed

        pngs = render_charts_distributed(chart.bars, chart.spec, windows, trades=trades)
        try:
            yield pngs
        finally:
            pngs.close()  # type: ignore[attr-defined]  # cancels what nobody takes any more


@contextmanager
def renderer(charts: int, engine: str) -> Iterator[ChartRenderer | None]:
    """Yield what draws the charts of a dataset on the cluster; None where this process draws them.

    Parameters
    ----------
    charts : int
        How many there will be at most; 0 for a dataset without.
    engine : {"auto", "local", "ray"}
        As in `drawn`.
    """
    if not charts or not _use_ray(engine, charts):
        yield None
        return
    with cluster_connection():
        from cluster.charts import render_charts_distributed

        def render(chart: PreparedChart, windows: Sequence[Window]) -> Iterator[bytes]:
            return render_charts_distributed(chart.bars, chart.spec, windows)

        yield render


def _use_ray(engine: str, charts: int) -> bool:
    return engine == "ray" or (engine == "auto" and (connected() or charts >= RAY_FROM_CHARTS))
