"""``aiopt pine compare``: TradingView's own list of trades against the trades of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit
from aiopt.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from aiopt.verification.trade_lists import ListComparison


@click.command("compare", epilog="Example: aiopt pine compare trades.csv runs/first --entry 1 --timezone UTC")
@click.argument("export", type=PATH)
@click.argument("ours", type=PATH, metavar="RUN|TRADES")
@click.option("--entry", help="Which entry of the run.  [default: its only one]")
@click.option("--timezone", help="Of the chart when it was exported, e.g. UTC or Europe/Berlin.")
@click.option("--instrument", "symbol", help="Whose ticks prices are counted in. Default: the run's.")
@json_option
@click.pass_context
def compare_command(
    ctx: click.Context,
    export: Path,
    ours: Path,
    entry: str | None,
    timezone: str | None,
    symbol: str | None,
    as_json: bool,
) -> None:
    """Compare EXPORT, TradingView's "List of trades" as CSV, with a run's trades; exit code 1 if they differ.

    The run's are those of its bid bars without costs, as a chart trades the script; TRADES may also be the
    JSON of `aiopt backtest --mode parity --out`.  Trades are matched by side and bar of entry in the stretch
    that both cover, and prices compared in ticks.  How to export: docs/how-to/tradingview.md.
    """
    from aiopt.market.instrument import instrument
    from aiopt.verification.trade_lists import compare_lists, shift_of, trades_of
    from aiopt.verification.tradingview import read_trade_list

    trades, tick, name = trades_of(ours, entry)
    if symbol is not None:
        tick = instrument(symbol).tick_size
    if tick is None:
        raise ConfigError(f"{ours} does not say of which instrument its trades are. Give --instrument.")
    exported = read_trade_list(export, timezone)
    found = compare_lists(exported.trades, trades, tick=tick)
    hours = None if found.pairs else shift_of(exported.trades, trades)
    equal = sum(pair.equal for pair in found.pairs)
    document = {
        "export": str(export),
        "ours": str(ours),
        "name": name,
        "agrees": found.agrees,
        "equal": equal,
        "hours_late": hours,
        **msgspec.to_builtins(found),
    }

    def human(console: Console) -> None:
        _print(console, found, name, equal, hours)

    emit(as_json, document, human)
    if not found.agrees:
        ctx.exit(EXIT_FAILED)


def _print(console: Console, found: ListComparison, name: str, equal: int, hours: float | None) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    say(f"{name}: {found.listed:,} closed trades of TradingView, {found.ours:,} of ours in the same stretch")
    say(f"  the same: {equal:,}")
    say(f"  matched, but different: {len(found.pairs) - equal:,}")
    say(f"  missing at TradingView: {len(found.missing):,}")
    say(f"  extra at TradingView: {len(found.extra):,}")
    if found.outside or found.open_trades:
        say(f"  not compared: {found.outside:,} outside the stretch, {found.open_trades:,} still open")
    if found.agrees:
        say("Every trade is the same, bar by bar and price to the tick.")
        return
    if not found.listed and not found.ours:
        say("Nothing was compared: the two lists have no time in common.")
    else:
        say(f"First difference: {found.first}.")
    for line in found.context:
        say(f"  {line}")
    if hours is not None:
        say(
            f"All entries are {abs(hours):g} h {'late' if hours > 0 else 'early'}: --timezone is not that of "
            "the chart."
        )
