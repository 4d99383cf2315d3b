"""Charts drawn by this process or on the cluster, whichever is asked for or sooner done.

Owns that choice, and the files of charts.  Imports Ray only where it is used, so that a few charts need none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def write_charts(
    chart: PreparedChart,
    windows: Sequence[Window],
    trades: Sequence[TradeMark],
    out_dir: Path,
    engine: str,
    report: Callable[[float], None],
) -> list[dict[str, Any]]:
    """Draw windows to one PNG each and return what each file shows, with its SHA-256.

    Parameters
    ----------
    chart, windows, trades, engine
        As in `drawn`.
    out_dir : Path
        Folder of the PNGs, created if absent.
    report : callable
        Called with the number of charts done.
    """
    import hashlib

    from aiopt.charts.windows import window_name
    from aiopt.files import atomic_write_bytes

    charts: list[dict[str, Any]] = []
    with drawn(chart, windows, trades, engine) as pngs:
        for (start, stop), png in zip(windows, pngs, strict=True):
            name = f"{window_name(chart.bars, (start, stop))}.png"
            atomic_write_bytes(out_dir / name, png)
            charts.append(
                {
                    "file": name,
                    "start": start,
                    "stop": stop,
                    "ts_first_ns": int(chart.bars.ts_open_ns[start]),
                    "ts_last_ns": int(chart.bars.ts_open_ns[stop - 1]),
                    "sha256": hashlib.sha256(png).hexdigest(),
                }
            )
            report(len(charts))
    return charts


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
