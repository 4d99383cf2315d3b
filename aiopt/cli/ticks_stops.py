"""The command `aiopt ticks stop-slippage`.  Owns flags and what is printed; measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, progress

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.bars.stops.stop_slippage import StopSlippage


@click.command("stop-slippage", epilog="Example: aiopt ticks stop-slippage data/ticks/EURUSD")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--timeframe", default="1m", show_default=True, help="Bars inside which stops are reached.")
@json_option
def stop_slippage(store: Path, timeframe: str, as_json: bool) -> None:
    """Measure by how much the ticks of STORE fill stops beyond their price.

    Every tick that a bar passed on its way to its low or high is taken as a stop, filled at the first quote
    at or beyond it.  `aiopt backtest --ticks STORE` uses the mean where bars come without their ticks.
    """
    from aiopt.bars.stops.stop_measuring import measure_store

    with progress("measuring stops", 100) as report:
        found = measure_store(
            store, timeframe, progress=lambda done, total: report(100.0 * done / max(total, 1))
        )
    document = {
        **msgspec.to_builtins(found),
        "mean_pips": found.mean_pips,
        "p95_pips": found.p95_ticks / found.ticks_per_pip,
        "max_pips": found.max_ticks / found.ticks_per_pip,
    }
    emit(as_json, document, lambda console: _print(console, found))


def _print(console: Console, found: StopSlippage) -> None:
    kind = "SYNTHETIC ticks" if found.synthetic else "ticks"
    per_pip = found.ticks_per_pip
    console.print(
        f"{found.n:,} stops inside {found.timeframe} bars of {kind} of {found.instrument}: filled "
        f"{found.mean_pips:.3f} pip beyond the stop on average, 95 in 100 at most "
        f"{found.p95_ticks / per_pip:g}, at most {found.max_ticks / per_pip:g}"
    )
    console.print(f"as a setting: stop_slippage_ticks: {found.mean_ticks:.2f}")
