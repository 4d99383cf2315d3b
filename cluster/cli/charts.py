"""The command `aiopt charts`: draw windows of bars as PNG.

Owns flags, the choice between one process and the cluster, and what is printed.  Knows nothing of drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from aiopt.cli.options import OutFolder, instrument_option, json_option, typed
from aiopt.cli.output import emit, progress
from cluster.drawing import ENGINES, write_charts

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="auto: this process, or Ray if RAY_ADDRESS is set or there are 5,000 charts or more.",
)


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What the command line says; fields as the options' help has it."""

    bars_path: Path
    out_dir: Path
    indicators: tuple[str, ...]
    theme: Any
    window: int | None
    stride: int | None
    timeframe: str | None
    symbol: str | None
    price: str
    trades_path: Path | None
    width: int
    height: int
    volume: bool
    engine: str
    as_json: bool


@click.group(epilog="Example: aiopt charts render --bars data/bars/EURUSD/5m --out charts --indicator rsi")
def command() -> None:
    """Draw bars, indicators and trades as PNG."""


@command.command(
    "render",
    epilog="Example: aiopt charts render --bars data/bars/EURUSD/5m --out charts --indicator ema:length=50 "
    "--indicator rsi --window 150 --stride 50",
)
@click.option(
    "--bars", "bars_path", required=True, type=click.Path(path_type=Path), help="Bar file or folder."
)
@click.option("--out", "out_dir", required=True, type=OutFolder(), help="Folder of the PNGs.")
@click.option(
    "--indicator",
    "indicators",
    multiple=True,
    metavar="KIND[:NAME=NUMBER,…]",
    help="An indicator, e.g. bollinger:length=20,multiplier=2. Averages and bands are drawn over the prices.",
)
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True)
@click.option("--window", type=int, help="Bars per chart; 200, or all bars if there are fewer.")
@click.option("--stride", type=int, help="Draw a window every so many bars, not only the last one.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--price", type=click.Choice(["bid", "ask"]), default="bid", show_default=True, help="Side.")
@click.option(
    "--trades",
    "trades_path",
    type=click.Path(path_type=Path),
    help="JSON with `trades`, as `aiopt backtest --json` prints it.",
)
@click.option("--width", type=int, default=1200, show_default=True, help="Pixels.")
@click.option("--height", type=int, default=800, show_default=True, help="Pixels.")
@click.option("--volume/--no-volume", default=True, help="Draw the volume below, if the bars have it.")
@engine_option
@json_option
@typed(RenderOptions)
def render_command(options: RenderOptions) -> None:
    """Draw the last window of bars, or one every STRIDE bars, to one PNG each.

    The files are the same, byte for byte, whichever engine draws them.
    """
    from aiopt.bars.files import load_bar_set
    from aiopt.charts import ChartSpec, PreparedChart, parse_plot
    from aiopt.charts.spec import split_plots
    from aiopt.charts.trade_marks import read_trades, shown_trades
    from aiopt.charts.windows import plan_windows

    overlays, panes = split_plots(parse_plot(text) for text in options.indicators)
    spec = ChartSpec(
        width=options.width,
        height=options.height,
        theme=options.theme,
        overlays=overlays,
        panes=panes,
        volume=options.volume,
    )
    bars = load_bar_set(
        options.bars_path, timeframe=options.timeframe, symbol=options.symbol, allow_interpolated=True
    )
    path = options.trades_path
    trades = [] if path is None else read_trades(path, bars.instrument.symbol)
    chart = PreparedChart(getattr(bars, options.price), spec)
    windows = plan_windows(chart, options.window, options.stride)
    with progress("Drawing charts", len(windows)) as report:
        charts = write_charts(chart, windows, trades, options.out_dir, options.engine, report)
    document = {
        "out": str(options.out_dir),
        "spec_hash": spec.spec_hash,
        "theme": options.theme,
        "charts": charts,
    }
    shown = len(shown_trades(chart.bars, windows, trades))
    if path is not None:
        document |= {"trades": len(trades), "trades_shown": shown}

    def human(console: Console) -> None:
        name = f"{charts[0]['file']}" if len(charts) == 1 else f"{len(charts)} charts"
        size = windows[0][1] - windows[0][0]
        what = f"{size} bars each, {options.width} × {options.height} pixels."
        console.print(f"{name} in {options.out_dir}, {what}", markup=False, soft_wrap=True)
        if path is not None:
            outside = len(trades) - shown
            rest = f"; {outside:,} lie outside of what is drawn (--stride draws more)" if outside else ""
            console.print(f"{shown:,} of {len(trades):,} trades are shown{rest}.")

    emit(options.as_json, document, human)
