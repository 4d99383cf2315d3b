"""``aiopt charts``: draw windows of bars as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.output import emit, json_option, progress
from aiopt.errors import ConfigError

if TYPE_CHECKING:
    from aiopt.charts import PreparedChart, TradeMark

_DEFAULT_WINDOW = 200


@click.group(epilog="Example: aiopt charts render --bars bars/EURUSD/5m --out charts --indicator rsi")
def command() -> None:
    """Draw bars, indicators and trades as PNG."""


@command.command(
    "render",
    epilog="Example: aiopt charts render --bars bars/EURUSD/5m --out charts --indicator ema:length=50 "
    "--indicator rsi --window 150 --stride 50",
)
@click.option(
    "--bars", "bars_path", required=True, type=click.Path(path_type=Path), help="Bar file or folder."
)
@click.option("--out", "out_dir", required=True, type=click.Path(path_type=Path), help="Folder of the PNGs.")
@click.option(
    "--indicator",
    "indicators",
    multiple=True,
    metavar="KIND[:NAME=NUMBER,…]",
    help="An indicator, e.g. bollinger:length=20,multiplier=2. Averages and bands go over the prices.",
)
@click.option("--theme", type=click.Choice(["dark", "light"]), default="dark", show_default=True)
@click.option("--window", type=int, help="Bars per chart; 200, or all bars if there are fewer.")
@click.option("--stride", type=int, help="Draw a window every so many bars, not the last one only.")
@click.option("--price", type=click.Choice(["bid", "ask"]), default="bid", show_default=True, help="Side.")
@click.option(
    "--trades",
    "trades_path",
    type=click.Path(path_type=Path),
    help="JSON with `trades`, as `aiopt backtest --json` prints it.",
)
@click.option("--width", type=int, default=1200, show_default=True, help="Pixels.")
@click.option("--height", type=int, default=800, show_default=True, help="Pixels.")
@click.option("--volume/--no-volume", default=True, help="Volume pane, where there is volume.")
@json_option
def render_command(
    bars_path: Path,
    out_dir: Path,
    indicators: tuple[str, ...],
    theme: Any,
    window: int | None,
    stride: int | None,
    price: str,
    trades_path: Path | None,
    width: int,
    height: int,
    volume: bool,
    as_json: bool,
) -> None:
    """Draw the last window of bars, or one every STRIDE bars, to one PNG each."""
    from aiopt.charts import ChartSpec, PreparedChart, parse_plot
    from aiopt.charts.spec import PRICE_KINDS
    from aiopt.market.bars import load_bar_set

    plots = [parse_plot(text) for text in indicators]
    spec = ChartSpec(
        width=width,
        height=height,
        theme=theme,
        overlays=tuple(plot for plot in plots if plot.kind in PRICE_KINDS),
        panes=tuple(plot for plot in plots if plot.kind not in PRICE_KINDS),
        volume=volume,
    )
    trades = [] if trades_path is None else _read_trades(trades_path)
    chart = PreparedChart(getattr(load_bar_set(bars_path), price), spec)
    windows = _windows(chart, window, stride)
    charts = _write(chart, windows, trades, out_dir)
    document = {"out": str(out_dir), "spec_hash": spec.spec_hash, "theme": theme, "charts": charts}

    def human(console: Console) -> None:
        name = f"{charts[0]['file']}" if len(charts) == 1 else f"{len(charts)} charts"
        size = windows[0][1] - windows[0][0]
        console.print(f"{name} in {out_dir}, {size} bars each, {width} × {height} pixels.")

    emit(as_json, document, human)


def _windows(chart: PreparedChart, window: int | None, stride: int | None) -> list[tuple[int, int]]:
    """Return first and last (excluded) bar of each chart."""
    n_bars = len(chart.bars)
    size = min(_DEFAULT_WINDOW, n_bars) if window is None else window
    if not 1 <= size <= n_bars:
        msg = f"`1 <= window <= {n_bars}` must hold for these bars, but got window={size}."
        raise ConfigError(msg + " Choose a shorter one.")
    if stride is None:
        return [(n_bars - size, n_bars)]
    if stride < 1:
        raise ConfigError(
            f"`stride >= 1` must hold, but got stride={stride}. Choose how many bars to move on."
        )
    first = chart.first_ready()
    if first is None or first + size > n_bars:
        known = "no bar" if first is None else f"bar {first}"
        msg = (
            f"A window must fit behind the warm-up, but {n_bars} bars with window={size} have all indicators "
            f"from {known} on. Choose a shorter window or shorter indicators."
        )
        raise ConfigError(msg)
    return [(start, start + size) for start in range(first, n_bars - size + 1, stride)]


def _write(
    chart: PreparedChart, windows: list[tuple[int, int]], trades: list[TradeMark], out_dir: Path
) -> list[dict[str, Any]]:
    import hashlib

    from aiopt.files import atomic_write_bytes

    charts: list[dict[str, Any]] = []
    with progress("Drawing charts", len(windows)) as done:
        for start, stop in windows:
            png = chart.render(start, stop, trades=trades)
            name = _file_name(chart, start, stop)
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


def _file_name(chart: PreparedChart, start: int, stop: int) -> str:
    """Return e.g. ``"EURUSD-5m-bid-20180102T080000-200.png"``: first bar, number of bars."""
    from aiopt.charts.axes import stamp

    bars = chart.bars
    seconds = int(bars.ts_open_ns[start]) // 1_000_000_000 * 1_000_000_000
    digits = stamp(seconds).replace("-", "").replace(":", "").replace(" ", "T")
    digits = digits if len(digits) == len("20180102T080000") else f"{digits}00"
    return f"{bars.instrument}-{bars.timeframe.label}-{bars.price}-{digits}-{stop - start}.png"


def _read_trades(path: Path) -> list[TradeMark]:
    import msgspec

    from aiopt.charts import TradeMark
    from aiopt.errors import DataError

    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return msgspec.convert(document.get("trades"), list[TradeMark])
    except FileNotFoundError as failure:
        raise DataError("The file of trades must exist, but does not. Name another.", file=path) from failure
    except msgspec.DecodeError as failure:
        msg = f"The file must be JSON with `trades` as `aiopt backtest --json` prints it, but: {failure}."
        raise DataError(msg + " Write it again.", file=path) from failure
