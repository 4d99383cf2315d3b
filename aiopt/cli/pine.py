"""``aiopt pine``: write a strategy as Pine Script; the commands that check scripts are added here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console

from aiopt.cli.options import OutFolder, json_option, params_option
from aiopt.cli.output import emit, stderr_console
from aiopt.cli.pine_check import check_command
from aiopt.cli.pine_compare import compare_command
from aiopt.cli.pine_engine import engine_group
from aiopt.cli.pine_fix import fix_command
from aiopt.cli.pine_import import import_command
from aiopt.cli.pine_verify import verify_command
from aiopt.errors import ConfigError

if TYPE_CHECKING:
    from aiopt.strategy.dimensions import Dimension
    from aiopt.strategy.space import SearchSpace
    from aiopt.strategy.spec import StrategySpec


@click.group(epilog="Example: aiopt pine emit rsi_reversion --out pine")
def command() -> None:
    """Write strategies as Pine Script for TradingView and check scripts."""


command.add_command(engine_group)
command.add_command(verify_command)
command.add_command(check_command)
command.add_command(compare_command)
command.add_command(fix_command)
command.add_command(import_command)


def _ranges(strategy: StrategySpec, space: SearchSpace | None) -> dict[str, Dimension]:
    """Return what a sweep would try of the strategy's own parameters and parts."""
    if space is None:
        return {}
    known = {*strategy.params, *strategy.named_parts()}
    return {name: dimension for name, dimension in space.dimensions.items() if name in known}


@command.command("emit", epilog="Example: aiopt pine emit my_strategy.yaml --out pine --params rsi_length=9")
@click.argument("spec")
@click.option(
    "--out",
    type=OutFolder(),
    required=True,
    help="Folder for NAME.pine and NAME.json.",
)
@click.option("--name", help="File name without suffix.  [default: the strategy's name]")
@click.option("--version", type=click.Choice(["6", "5"]), default="6", show_default=True, help="Of Pine.")
@params_option
@click.option(
    "--instrument",
    "symbol",
    default="EURUSD",
    show_default=True,
    help="Symbol whose pips and ticks the script uses.",
)
@click.option(
    "--initial-balance",
    type=float,
    default=100_000.0,
    show_default=True,
    help="Account at the start, quote currency.",
)
@click.option(
    "--leverage",
    type=float,
    default=30.0,
    show_default=True,
    help="Largest position value, as a multiple of equity; sizes by risk are cut to it.",
)
@click.option(
    "--form",
    "kind",
    type=click.Choice(["strategy", "indicator"]),
    default="strategy",
    show_default=True,
    help="An indicator shows and alerts signals and books no trades.",
)
@click.option("--alerts/--no-alerts", default=True, show_default=True, help="JSON messages for webhooks.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Levels, indicators, signals.")
@click.option(
    "--commission-pct",
    type=float,
    default=0.0,
    show_default=True,
    help="Commission the script declares, per cent of an order's value.",
)
@click.option(
    "--slippage-ticks", type=int, default=0, show_default=True, help="Slippage the script declares, in ticks."
)
@click.option(
    "--without-readings",
    is_flag=True,
    help="Of a strategy with `readings:`: write it without them; the script then trades every signal.",
)
@json_option
# reason: one parameter per option
def emit_command(
    spec: str,
    out: Path,
    name: str | None,
    version: str,
    params: tuple[str, ...],
    symbol: str,
    initial_balance: float,
    leverage: float,
    kind: Literal["strategy", "indicator"],
    alerts: bool,
    plots: bool,
    commission_pct: float,
    slippage_ticks: int,
    without_readings: bool,
    as_json: bool,
) -> None:
    """Write SPEC, a file or the name of a ready family, as Pine Script.

    The spec is written beside the script.  Inputs are limited to what a sweep would try, where SPEC says it.
    The header says that the trades are not verified: the command has no market data to compare them on.
    """
    from aiopt.market.instrument import instrument
    from aiopt.pine.emitter import write_script
    from aiopt.pine.form import ScriptCosts, ScriptForm
    from aiopt.pine.provenance import Provenance
    from aiopt.strategy.choosing import find_strategy, search_of

    strategy, source = find_strategy(spec, params)
    space = search_of(spec, source)
    if without_readings:
        strategy = strategy.without_readings()
    form = ScriptForm(
        kind=kind,
        costs=ScriptCosts(commission_pct=commission_pct, slippage_ticks=slippage_ticks),
        alerts=alerts,
        plots=plots,
        ranges=_ranges(strategy, space),
    )
    name = name or strategy.name
    beside = out / f"{name}.json"
    if source is not None and beside.exists() and beside.samefile(source):
        msg = (
            f"The spec would be written to {beside}, the file it is read from. Choose another "
            "--out or --name."
        )
        raise ConfigError(msg)
    stderr_console().print("writing and checking the script ...")
    path = write_script(
        out,
        name,
        strategy,
        provenance=Provenance(),
        instrument=instrument(symbol),
        version=int(version),
        initial_balance=initial_balance,
        leverage=leverage,
        form=form,
    )
    document = {
        "path": str(path),
        "spec_path": str(beside),
        "name": name,
        "version": int(version),
        "form": kind,
        "spec_hash": strategy.spec_hash,
        "structure_checked": True,
        "trades_verified": False,
        "script": path.read_text(encoding="utf-8"),
    }

    def human(console: Console) -> None:
        console.print(f"script: {path}", markup=False, soft_wrap=True)
        console.print(f"spec:   {beside}", markup=False, soft_wrap=True)
        console.print("The structure was checked; the trades were not verified by a Pine engine.")

    emit(as_json, document, human)
