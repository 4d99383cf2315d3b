"""Charts: 200 candles, three overlays, volume, RSI and MACD to a 1200 × 800 PNG, against matplotlib.

matplotlib is no dependency of the project.  Where it is installed, or where MATPLOTLIB_PATH names a folder it
is in, its default path (a new figure, one call per kind of artist, `savefig`) draws the same content side by
side; elsewhere only our own figures are measured and a line says so.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import time
from typing import Any

import numpy as np

from aiopt.charts import ChartSpec, PreparedChart, TradeMark, parse_plot
from aiopt.charts.png import encode_png
from aiopt.charts.theme import theme
from aiopt.market.bars import BarArrays
from aiopt.testing.bars import random_walk_bars
from benchmarks._harness import Figure, interleaved, median

N_CHARTS = 100
WINDOW = 200
STRIDE = 40
ROUNDS = 3
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
    ours = _ours(chart, starts, trades)
    figures = list(ours)
    if not _has_matplotlib():
        print(
            "matplotlib is not installed: comparison skipped. Install it anywhere "
            "(`pip install --target DIR matplotlib`) and set MATPLOTLIB_PATH=DIR.",
            file=sys.stderr,
        )
        return figures
    import matplotlib as mpl

    mpl.use("agg")
    some = starts[:PER_ROUND]
    times = interleaved(
        {
            "ours": lambda: [chart.render(start, start + WINDOW, trades=trades) for start in some],
            "matplotlib": lambda: [_matplotlib(chart, start, trades) for start in some],
        },
        ROUNDS,
    )
    theirs = median(times["matplotlib"]) / PER_ROUND
    return [
        *figures,
        Figure(name="matplotlib_per_chart", value=round(theirs * 1e3, 2), unit="ms"),
        Figure(
            name="speedup_over_matplotlib",
            value=round(theirs / (median(times["ours"]) / PER_ROUND), 1),
            unit="x",
            target=10.0,
        ),
    ]


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
    return [
        Figure(name="charts_100", value=round(sum(whole), 3), unit="s"),
        Figure(name="per_chart", value=round(median(whole) * 1e3, 2), unit="ms"),
        Figure(name="drawing_per_chart", value=round(median(drawing) * 1e3, 2), unit="ms"),
        Figure(name="encoding_per_chart", value=round(median(encoding) * 1e3, 2), unit="ms"),
        Figure(name="charts_per_second_per_core", value=round(1 / median(whole), 1), unit="charts/s"),
        Figure(name="png_size", value=round(median([len(png) for png in images]) / 1024, 1), unit="KiB"),
    ]


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
