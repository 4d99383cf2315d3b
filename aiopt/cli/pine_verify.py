"""``aiopt pine verify``: run a script in the Pine engine and compare it with arrays and NautilusTrader."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, instrument_option, json_option, params_option, timeframe_option
from aiopt.cli.output import emit, minute_text, progress
from aiopt.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from aiopt.bars.schema import BarSet
    from aiopt.optimize.run_verification import Recorded
    from aiopt.verification.pine_runs import PineRunError
    from aiopt.verification.verification_file import Difference, Verified
    from aiopt.verification.verifying import ScriptTask

_QUIET_S = 2.0


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What the command line says; fields as the options' help has it."""

    what: str
    bars_path: Path | None
    timeframe: str | None
    symbol: str | None
    last: int | None
    params: tuple[str, ...]
    version: str
    spec_path: Path | None
    entry: str | None
    initial_balance: float
    leverage: float
    time_limit: float
    write: bool
    as_json: bool


@click.command("verify", epilog="Example: aiopt pine verify rsi_reversion --bars data/bars/EURUSD/5m")
@click.argument("what", metavar="SPEC|RUN|FILE.pine")
@click.option(
    "--bars",
    "bars_path",
    type=PATH,
    help="A folder with bid.parquet, or one Parquet file of bars. Default for a run: its own bars.",
)
@timeframe_option
@instrument_option
@click.option("--last", type=click.IntRange(2), help="Take this many bars from the end.  [default: all]")
@params_option
@click.option("--version", type=click.Choice(["6", "5"]), default="6", show_default=True, help="Of Pine.")
@click.option("--spec", "spec_path", type=PATH, help="Of FILE.pine: its strategy, if not beside it.")
@click.option("--entry", help="Of a run: verify this entry only.")
@click.option(
    "--initial-balance",
    type=float,
    default=100_000.0,
    show_default=True,
    help="Of SPEC: account at the start.",
)
@click.option("--leverage", type=float, default=30.0, show_default=True, help="Of SPEC: as for `pine emit`.")
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Seconds after which a script in the Pine engine is stopped.",
)
@click.option(
    "--write/--no-write",
    default=True,
    show_default=True,
    help="Of a run: put what was found into its scripts' headers, verification.json and report.",
)
@json_option
@click.pass_context
def verify_command(ctx: click.Context, /, **values: Any) -> None:
    """Prove that a script trades as the backtest does, or show the first difference (exit code 1).

    SPEC is a strategy file or a ready family, RUN a run folder, FILE.pine a script with its spec beside it.
    Three engines go over the same bid bars without costs: arrays, NautilusTrader, and the script in the Pine
    engine (`aiopt pine engine install`).  Signals are compared bar by bar, trades by entry and exit bar,
    side, size, both prices to the tick, and the reason of the exit.

    What was found of a run's entries is written into the run, as `aiopt optimize` does it: into the headers
    of its scripts, verification.json and the report.
    """
    _verify(ctx, VerifyOptions(**values))


def _verify(ctx: click.Context, options: VerifyOptions) -> None:
    from aiopt.runs import held_run
    from aiopt.verification.engine_folder import find_engine
    from aiopt.verification.pine_runs import PineRunner
    from aiopt.verification.verification_file import Verified
    from aiopt.verification.verifying import verify_scripts

    engine = find_engine()
    runner = PineRunner(engine, time_limit_s=options.time_limit)
    run_dir = _written_run(options)
    with nullcontext() if run_dir is None else held_run(run_dir):
        tasks = _tasks(options)
        with progress("verify, scripts", len(tasks), quiet_s=_QUIET_S) as report:
            found = verify_scripts(tasks, runner, report)
        recorded = None if run_dir is None else _record(run_dir, tasks, found, engine.title)
    documents = []
    for task, one in zip(tasks, found, strict=True):
        if isinstance(one, Verified):
            documents.append({**msgspec.to_builtins(one), "agrees": one.agrees, "error": None})
        else:
            documents.append({"name": task.name, "agrees": False, "error": str(one)})

    def human(console: Console) -> None:
        for task, one in zip(tasks, found, strict=True):
            if isinstance(one, Verified):
                _print(console, one)
            else:
                console.print(f"{task.name}: NOT verified. {one}", markup=False, soft_wrap=True)
        if recorded is not None:
            for line in recorded.left:
                console.print(line, markup=False, soft_wrap=True)
            written = ", ".join(recorded.written) or "nothing, it was all there"
            console.print(f"Written in {run_dir}: {written}", markup=False, soft_wrap=True)

    agree = all(document["agrees"] for document in documents)
    document: dict[str, object] = {"ok": agree, "scripts": documents}
    if recorded is not None:
        document |= {"written": list(recorded.written), "left": list(recorded.left)}
    emit(options.as_json, document, human)
    if not agree:
        ctx.exit(EXIT_FAILED)


def _written_run(options: VerifyOptions) -> Path | None:
    """Return the run folder into which the result is to be written, None where there is none."""
    from aiopt.verification.scripts import is_run_folder

    path = Path(options.what)
    return path if options.write and is_run_folder(path) else None


def _record(
    run_dir: Path, tasks: Sequence[ScriptTask], found: Sequence[Verified | PineRunError], engine: str
) -> Recorded:
    """Write what was found into a run, and its report again where it has one."""
    from aiopt.optimize.run_verification import record_verification
    from aiopt.report import write_report
    from aiopt.runs import REPORT_HTML, REPORT_JSON

    recorded = record_verification(run_dir, tasks, found, engine)
    if recorded.written and (run_dir / REPORT_HTML).is_file():
        write_report(run_dir)
        return replace(recorded, written=(*recorded.written, REPORT_HTML, REPORT_JSON))
    return recorded


def _tasks(options: VerifyOptions) -> list[ScriptTask]:
    from aiopt.verification import scripts

    path = Path(options.what)
    if scripts.is_run_folder(path):
        given = None if options.bars_path is None else _bars(options)
        return scripts.tasks_of_run(path, given, options.entry, options.last)
    if options.entry is not None:
        raise ConfigError(f"--entry is for a run folder, and {options.what} is none. Leave it out.")
    if options.bars_path is None:
        raise ConfigError(f"{options.what} is no run folder, so it has no bars. Give --bars.")
    if path.suffix == scripts.SUFFIX:
        return [scripts.task_of_file(path, _bars(options), options.spec_path)]
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, but no run folder. Give a spec, a run or a .pine file.")
    return [
        scripts.task_of_spec(
            options.what,
            options.params,
            _bars(options),
            version=int(options.version),
            initial_balance=options.initial_balance,
            leverage=options.leverage,
        )
    ]


def _bars(options: VerifyOptions) -> BarSet:
    from aiopt.bars.files import load_bar_set
    from aiopt.verification.scripts import last_bars

    assert options.bars_path is not None
    bars = load_bar_set(options.bars_path, timeframe=options.timeframe, symbol=options.symbol)
    return last_bars(bars, options.last)


def _print(console: Console, one: Verified) -> None:
    where = f"{one.bars:,} {one.timeframe} bars of {one.instrument}"
    span = f"{minute_text(one.first_ts_ns)} to {minute_text(one.last_ts_ns)} UTC"
    head = f"{one.name} in {one.engine} ({one.node}) on {where}, {span}, data {one.data_hash[:12]}:"
    console.print(head, markup=False, soft_wrap=True)
    if one.difference is not None:
        _print_difference(console, one.difference)
    elif not one.trades:
        console.print("  no trade was made, so nothing is proved. Give more bars.", markup=False)
    else:
        signals = f"signals on {one.signals:,} bars and " if one.signals else ""
        held = ", and the one still open" if one.open_trades else ""
        console.print(
            f"  VERIFIED: {signals}{one.trades:,} closed trades{held} agree in arrays, "
            "NautilusTrader and Pine.",
            markup=False,
            soft_wrap=True,
        )
    if one.excused:
        console.print(
            f"  {one.excused} exit(s) set aside: their bar opens past the stop or target and reaches the "
            f"other, which {one.engine} is known to read in the wrong order.",
            markup=False,
            soft_wrap=True,
        )
    for note in one.notes:
        console.print(f"  {note}", markup=False, soft_wrap=True)


def _print_difference(console: Console, found: Difference) -> None:
    console.print(
        f"  DIFFERENT at {minute_text(found.ts_ns)} UTC: {found.what}", markup=False, soft_wrap=True
    )
    for bar in found.bars:
        mark = ">" if bar["bar"] == found.bar else " "
        prices = "  ".join(f"{name[0].upper()} {bar[name]:.10g}" for name in ("open", "high", "low", "close"))
        console.print(f"  {mark} bar {bar['bar']}, {minute_text(bar['ts_ns'])}  {prices}", markup=False)
    for name, said in found.views.items():
        text = "no such trade" if said is None else said
        if isinstance(said, dict):
            text = ", ".join(f"{key} {value}" for key, value in said.items())
        console.print(f"    {name}: {text}", markup=False, soft_wrap=True)
