"""``aiopt pine``: write a strategy as Pine Script, check a script."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from aiopt.cli.options import OutFolder, json_option, params_option
from aiopt.cli.output import emit, stderr_console
from aiopt.errors import EXIT_FAILED, ConfigError


@click.group(epilog="Example: aiopt pine emit rsi_reversion --out pine")
def command() -> None:
    """Write strategies as Pine Script for TradingView and check scripts."""


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
@json_option
def emit_command(
    spec: str,
    out: Path,
    name: str | None,
    version: str,
    params: tuple[str, ...],
    symbol: str,
    initial_balance: float,
    leverage: float,
    as_json: bool,
) -> None:
    """Write SPEC, a file or the name of a ready family, as Pine Script.

    The spec is written beside the script.  The header says that the trades are not verified: the command has
    no market data to compare them on.
    """
    from aiopt.market.instrument import instrument
    from aiopt.pine.emitter import write_script
    from aiopt.pine.provenance import Provenance
    from aiopt.strategy.choosing import find_strategy

    strategy, source = find_strategy(spec, params)
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
    )
    document = {
        "path": str(path),
        "spec_path": str(beside),
        "name": name,
        "version": int(version),
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


@command.command("check", epilog="Example: aiopt pine check pine/rsi_reversion.pine")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def check_command(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Check a generated script without running it; exit code 1 and the reasons if it breaks a rule.

    The rules are those of scripts written by aiopt: functions it does not use are errors, too.
    """
    from aiopt.pine.checker import check_script

    text = _read_script(file)
    stderr_console().print("checking; an unusual script takes some seconds ...")
    findings = check_script(text)
    document = {
        "file": str(file),
        "ok": not findings,
        "findings": [
            {"line": finding.line, "rule": finding.rule, "message": finding.message} for finding in findings
        ],
    }

    def human(console: Console) -> None:
        for finding in findings:
            console.print(f"{file}: {finding}", markup=False)
        verdict = f"{len(findings)} rule(s) broken" if findings else "no rule broken; trades are not compared"
        console.print(f"{file}: {verdict}", markup=False)

    emit(as_json, document, human)
    if findings:
        ctx.exit(EXIT_FAILED)


def _read_script(file: Path) -> str:
    if not file.is_file():
        msg = f"There is no file {file}. Check the path."
        raise ConfigError(msg)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as failure:
        msg = f"{file} is not UTF-8 text ({failure.reason}). Check the path."
        raise ConfigError(msg) from failure
