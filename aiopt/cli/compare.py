"""``aiopt compare``: two backtests or two runs side by side.  Owns what is printed alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import PATH, json_option, seed_option
from aiopt.cli.output import emit, minute_text, print_table, text

if TYPE_CHECKING:
    from aiopt.comparing import Comparison, Side


@click.command(epilog="Example: aiopt compare before.json after.json")
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("--rank", type=click.IntRange(1), default=1, show_default=True, help="Which entry of each run.")
@seed_option
@json_option
def command(first: Path, second: Path, rank: int, seed: int, as_json: bool) -> None:
    """Compare FIRST and SECOND, two files of `aiopt backtest --out` or two run folders, on the same data.

    Of two runs it compares the out-of-sample profit of the entries of one rank.  The interval of the
    difference comes from a block bootstrap of the profits period by period.  Data and periods must be equal.
    """
    from aiopt.comparing import compare, read_side

    found = compare(read_side(first, rank=rank), read_side(second, rank=rank), seed=seed)
    emit(as_json, _document(found), lambda console: _print(console, found))


def _document(found: Comparison) -> dict[str, Any]:
    difference = found.difference
    return {
        "first": _side(found.first),
        "second": _side(found.second),
        "difference": {
            "pnl": difference.total,
            "low": difference.interval.low,
            "high": difference.interval.high,
            "confidence": 0.95,
            "decided": difference.decided,
            "correlation": difference.correlation,
            "periods": difference.periods,
            "block_length": difference.block_length,
            "seed": found.seed,
        },
        "settings_differ": found.settings_differ,
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "path": side.path,
        "kind": side.kind,
        "strategy": side.strategy,
        **side.basis,
        "figures": side.figures,
    }


def _print(console: Console, found: Comparison) -> None:
    first, second, difference = found.first, found.second, found.difference
    begin, end = minute_text(first.ts_ns[0]), minute_text(first.ts_ns[-1])
    currency = first.basis["currency"]
    where = " out of sample" if first.kind == "run" else ""
    console.print(
        f"{first.basis['instrument']}, {difference.periods:,} periods from {begin} to {end} UTC{where}"
    )
    rows = [("strategy", first.strategy, second.strategy), ("from", first.path, second.path)]
    rows += [(name, _figure(name, first), _figure(name, second)) for name in first.figures]
    rows += [(name, str(one), str(other)) for name, (one, other) in found.settings_differ.items()]
    print_table(console, ("", text("first"), text("second")), rows)
    console.print("PF: profit factor. DD: drawdown.")
    if math.isnan(difference.interval.low):
        console.print("The profits do not differ in any way that could be measured.")
        return
    low, high = difference.interval.low, difference.interval.high
    console.print(
        f"First less second: {difference.total:,.2f} {currency}, 95% interval {low:,.2f} to {high:,.2f} "
        f"(paired block bootstrap, seed {found.seed}, blocks of {difference.block_length:.1f} periods)."
    )
    if difference.decided:
        better = "first" if difference.total > 0 else "second"
        console.print(f"The {better} earned more, and by more than chance would explain in these periods.")
    else:
        console.print("The interval holds 0: these periods do not tell which is better.")


def _figure(name: str, side: Side) -> str:
    value = side.figures[name]
    if value is None or math.isnan(value):
        return "-"
    if name == "max DD":
        return f"{value:.2%}"
    return f"{value:,.0f}" if name == "trades" else f"{value:,.2f}"
