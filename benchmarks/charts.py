"""Charts: 200 candles, three overlays, volume, RSI and MACD to a 1200 × 800 PNG, on Ray, against matplotlib.

One hundred charts are drawn by one process and by a local Ray cluster on all cores, and a few by matplotlib,
in turn; our bytes are compared.  What starting the cluster and its workers costs is a figure of its own.

matplotlib is no dependency of the project.  Where it is installed, or where MATPLOTLIB_PATH names a folder it
is in, its default path (a new figure, one call per kind of artist, `savefig`) draws the same content side by
side; elsewhere only our own figures are measured and a line says so.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aiopt.bars.schema import BarArrays
from aiopt.charts import ChartSpec, PreparedChart, TradeMark, parse_plot, render_windows
from aiopt.charts.png import encode_png
from aiopt.charts.theme import theme
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import ROOT, Figure, interleaved, median
from cluster import lifecycle
from cluster.connection import keep_loopback
from cluster.resources import detect_machine, plan_node

N_CHARTS = 100
WINDOW = 200
STRIDE = 40
ROUNDS = 5
PER_ROUND = 5
DPI = 100

SPEC = ChartSpec(
    overlays=(parse_plot("ema:length=20"), parse_plot("ema:length=50"), parse_plot("bollinger")),
    panes=(parse_plot("rsi"), parse_plot("macd")),
)


def run() -> list[Figure]:
    bars = random_walk_bars(50 + WINDOW + STRIDE * N_CHARTS, seed=7, timeframe="5m")
    starts = [50 + STRIDE * number for number in range(N_CHARTS)]
    trades = [_trade(bars, start) for start in starts]
    chart = PreparedChart(bars, SPEC)
    figures = _ours(chart, starts, trades)
    windows = [(start, start + WINDOW) for start in starts]
    expected = list(render_windows(chart, windows, trades=trades))

    def alone() -> None:
        if list(render_windows(chart, windows, trades=trades)) != expected:
            raise AssertionError("the same window must give the same bytes")

    def distributed() -> None:
        from cluster.charts import render_charts_distributed

        if list(render_charts_distributed(bars, SPEC, windows, trades=trades)) != expected:
            raise AssertionError("the cluster's charts must equal those of one process")

    ways: dict[str, Callable[[], Any]] = {"alone": alone, "ray": distributed}
    if _has_matplotlib():
        import matplotlib as mpl

        mpl.use("agg")
        # As many as one can wait for: a chart of matplotlib's takes a second.
        ways["matplotlib"] = lambda: [_matplotlib(chart, start, trades) for start in starts[:PER_ROUND]]
    else:
        print(
            "matplotlib is not installed: comparison skipped. Install it anywhere "
            "(`pip install --target DIR matplotlib`) and set MATPLOTLIB_PATH=DIR.",
            file=sys.stderr,
        )
    with _cluster() as (start_s, ray):
        begun = time.perf_counter()
        distributed()
        first_s = time.perf_counter() - begun
        times = interleaved(ways, ROUNDS)
        resident = ray.get([ray.remote(_resident_bytes).remote() for _ in range(2)])
    figures += [
        Figure(name="one_process_charts_100", value=round(median(times["alone"]), 3), unit="s"),
        Figure(name="ray_charts_100", value=round(median(times["ray"]), 3), unit="s"),
        Figure(name="ray_speedup_over_one_process", value=_ratio(times["alone"], times["ray"]), unit="x"),
        Figure(name="ray_start", value=round(start_s, 1), unit="s"),
        Figure(name="ray_first_call", value=round(first_s, 1), unit="s"),
        Figure(name="ray_worker_rss", value=round(max(resident) / 2**20), unit="MiB", target=512.0),
    ]
    if "matplotlib" not in times:
        return figures
    theirs = [seconds / PER_ROUND * N_CHARTS for seconds in times["matplotlib"]]
    per_chart = median(theirs) / N_CHARTS * 1e3
    return [
        *figures,
        Figure(name="matplotlib_per_chart", value=round(per_chart, 2), unit="ms"),
        Figure(name="speedup_over_matplotlib", value=_ratio(theirs, times["alone"]), unit="x", target=10.0),
        Figure(name="ray_speedup_over_matplotlib", value=_ratio(theirs, times["ray"]), unit="x", target=10.0),
    ]


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Return the middle of the ratios round by round, which a busy neighbour moves least."""
    return round(median([left / right for left, right in zip(slow, fast, strict=True)]), 2)


@contextmanager
def _cluster() -> Iterator[tuple[float, Any]]:
    """Yield what starting a cluster took, and Ray connected to it."""
    # Workers import the project from here; a raylet hands its environment down.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        state, _ = lifecycle.up(Path(folder), plan_node(detect_machine()))
        before = dict(os.environ)
        os.environ.update(lifecycle.client_environment(state))
        # Ray reads the token from the environment when it is imported.
        import ray

        try:
            keep_loopback(state.address)
            ray.init(address="auto", namespace="benchmark", log_to_driver=False, logging_level="error")
            yield time.perf_counter() - begun, ray
        finally:
            ray.shutdown()
            lifecycle.down(Path(folder))
            os.environ.clear()
            os.environ.update(before)


def _resident_bytes() -> int:
    """Return the resident bytes of a worker that has drawn charts."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ours(chart: PreparedChart, starts: list[int], trades: list[TradeMark]) -> list[Figure]:
    palette = theme(SPEC.theme).palette
    chart.render(starts[0], starts[0] + WINDOW, trades=trades)
    whole, drawing, encoding, sizes = [], [], [], set()
    images = []
    for start in starts:
        begun = time.perf_counter()
        image = chart.draw(start, start + WINDOW, trades=trades)
        drawn = time.perf_counter()
        png = encode_png(image, palette)
        ended = time.perf_counter()
        drawing.append(drawn - begun)
        encoding.append(ended - drawn)
        whole.append(ended - begun)
        sizes.add(len(png))
        images.append(png)
    if len(set(images)) != N_CHARTS:
        raise AssertionError("the charts must differ from each other")
    packing, repacked = _with_zlibs_usual_level(images)
    return [
        Figure(name="charts_100", value=round(sum(whole), 3), unit="s"),
        Figure(name="per_chart", value=round(median(whole) * 1e3, 2), unit="ms"),
        Figure(name="drawing_per_chart", value=round(median(drawing) * 1e3, 2), unit="ms"),
        Figure(name="encoding_per_chart", value=round(median(encoding) * 1e3, 2), unit="ms"),
        Figure(name="charts_per_second_per_core", value=round(1 / median(whole), 1), unit="charts/s"),
        Figure(name="png_size", value=round(median([len(png) for png in images]) / 1024, 1), unit="KiB"),
        Figure(name="zlib_level_6_per_chart", value=round(packing * 1e3, 2), unit="ms"),
        Figure(name="zlib_level_6_png_size", value=round(repacked / 1024, 1), unit="KiB"),
    ]


def _with_zlibs_usual_level(images: list[bytes]) -> tuple[float, float]:
    """Return seconds and bytes per chart of zlib at level 6 over the same filtered rows."""
    seconds, sizes = [], []
    for png in images[:: N_CHARTS // 10]:
        at = png.index(b"IDAT")
        rows = zlib.decompress(png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at], "big")])
        begun = time.perf_counter()
        packed = zlib.compress(rows, 6)
        seconds.append(time.perf_counter() - begun)
        sizes.append(float(len(packed)))
    return median(seconds), median(sizes)


def _trade(bars: BarArrays, start: int) -> TradeMark:
    entry, leave = start + 60, start + 90
    price = float(bars.open[entry])
    return TradeMark(
        entry_ts_ns=int(bars.ts_open_ns[entry]),
        exit_ts_ns=int(bars.ts_open_ns[leave]),
        side="long",
        entry_price=price,
        exit_price=float(bars.open[leave]),
        stop_price=price - 0.001,
        target_price=price + 0.0015,
    )


def _has_matplotlib() -> bool:
    folder = os.environ.get("MATPLOTLIB_PATH")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    return importlib.util.find_spec("matplotlib") is not None


def _matplotlib(chart: PreparedChart, start: int, trades: list[TradeMark]) -> bytes:
    """Draw the same bars, lines, panes and trades the way matplotlib's documentation does."""
    import matplotlib.pyplot as plt

    stop = start + WINDOW
    bars = chart.bars.slice(start, stop)
    x = np.arange(WINDOW)
    figure, axes = plt.subplots(
        4, 1, figsize=(12, 8), dpi=DPI, sharex=True, height_ratios=[5, 1, 1.4, 1.4], layout=None
    )
    price, volume, rsi, macd = axes
    colours = np.where(bars.close >= bars.open, "#26a69a", "#ef5350")
    price.vlines(x, bars.low, bars.high, colors=colours, linewidth=1)
    price.bar(x, bars.close - bars.open, bottom=bars.open, color=colours, width=0.7)
    for plot in SPEC.overlays:
        for name, values in plot.compute(chart.bars).items():
            price.plot(x, values[start:stop], linewidth=1.2, label=f"{plot.title()} {name}")
    for trade in trades:
        entry, leave = (np.searchsorted(bars.ts_open_ns, ts) for ts in (trade.entry_ts_ns, trade.exit_ts_ns))
        if 0 < entry < WINDOW and 0 < leave < WINDOW:
            price.plot([entry, leave], [trade.entry_price, trade.exit_price], marker="^")
            price.hlines([trade.stop_price, trade.target_price], entry, leave, linestyles="dashed")
    price.legend(loc="upper left", fontsize=8)
    price.set_title(f"{bars.instrument} {bars.timeframe.label} {bars.price}")
    volume.bar(x, bars.volume, color=colours, width=0.7)
    rsi.plot(x, SPEC.panes[0].compute(chart.bars)["value"][start:stop])
    rsi.set_ylim(0, 100)
    lines: dict[str, Any] = SPEC.panes[1].compute(chart.bars)
    macd.plot(x, lines["macd"][start:stop])
    macd.plot(x, lines["signal"][start:stop])
    macd.bar(x, lines["histogram"][start:stop], width=0.7)
    for axis in axes:
        axis.grid(alpha=0.3)
    labelled = x[::30]
    moments = bars.ts_open_ns[labelled].astype("datetime64[ns]").astype("datetime64[m]")
    macd.set_xticks(labelled, [str(moment)[5:].replace("T", " ") for moment in moments])
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI)
    plt.close(figure)
    return out.getvalue()
