"""The command `aiopt charts`: draw windows of bars as PNG.

Owns flags, the choice between one process and the cluster, and what is printed.  Knows nothing of drawing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFolder, instrument_option, json_option
from aiopt.cli.output import emit, progress
from cluster.drawing import ENGINES, drawn

if TYPE_CHECKING:
    from aiopt.charts import PreparedChart, TradeMark
    from aiopt.charts.windows import Window

engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    show_default=True,
    help="auto: this process, or Ray if RAY_ADDRESS is set or there are 5,000 charts or more.",
)


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
def render_command(
    bars_path: Path,
    out_dir: Path,
    indicators: tuple[str, ...],
    theme: Any,
    window: int | None,
    stride: int | None,
    timeframe: str | None,
    symbol: str | None,
    price: str,
    trades_path: Path | None,
    width: int,
    height: int,
    volume: bool,
    engine: str,
    as_json: bool,
) -> None:
    """Draw the last window of bars, or one every STRIDE bars, to one PNG each.

    The files are the same, byte for byte, whichever engine draws them.
    """
    from aiopt.bars.files import load_bar_set
    from aiopt.charts import ChartSpec, PreparedChart, parse_plot
    from aiopt.charts.spec import PRICE_KINDS
    from aiopt.charts.trade_marks import read_trades, shown_trades
    from aiopt.charts.windows import plan_windows

    plots = [parse_plot(text) for text in indicators]
    spec = ChartSpec(
        width=width,
        height=height,
        theme=theme,
        overlays=tuple(plot for plot in plots if plot.kind in PRICE_KINDS),
        panes=tuple(plot for plot in plots if plot.kind not in PRICE_KINDS),
        volume=volume,
    )
    bars = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol, allow_interpolated=True)
    trades = [] if trades_path is None else read_trades(trades_path, bars.instrument.symbol)
    chart = PreparedChart(getattr(bars, price), spec)
    windows = plan_windows(chart, window, stride)
    charts = _write(chart, windows, trades, out_dir, engine)
    document = {"out": str(out_dir), "spec_hash": spec.spec_hash, "theme": theme, "charts": charts}
    shown = len(shown_trades(chart.bars, windows, trades))
    if trades_path is not None:
        document |= {"trades": len(trades), "trades_shown": shown}

    def human(console: Console) -> None:
        name = f"{charts[0]['file']}" if len(charts) == 1 else f"{len(charts)} charts"
        size = windows[0][1] - windows[0][0]
        console.print(
            f"{name} in {out_dir}, {size} bars each, {width} × {height} pixels.", markup=False, soft_wrap=True
        )
        if trades_path is not None:
            outside = len(trades) - shown
            rest = f"; {outside:,} lie outside of what is drawn (--stride draws more)" if outside else ""
            console.print(f"{shown:,} of {len(trades):,} trades are shown{rest}.")

    emit(as_json, document, human)


def _write(
    chart: PreparedChart, windows: list[Window], trades: list[TradeMark], out_dir: Path, engine: str
) -> list[dict[str, Any]]:
    import hashlib

    from aiopt.charts.windows import window_name
    from aiopt.files import atomic_write_bytes

    charts: list[dict[str, Any]] = []
    with (
        progress("Drawing charts", len(windows)) as done,
        drawn(chart, windows, trades, engine) as pngs,
    ):
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
            done(len(charts))
    return charts
