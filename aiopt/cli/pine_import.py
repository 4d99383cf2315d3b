"""``aiopt pine import``: another person's strategy as a spec, proved by running both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from aiopt.cli.options import PATH, OutFile, json_option, timeframe_option
from aiopt.cli.output import emit, stderr_console
from aiopt.errors import EXIT_FAILED, PineError
from aiopt.files import atomic_write_text
from aiopt.outputs import IMPORTED

if TYPE_CHECKING:
    from aiopt.bars.schema import BarArrays
    from aiopt.pine.importing.importing import Imported
    from aiopt.verification.import_proof import ImportProof


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says; fields as the options' help has it."""

    file: Path
    out: Path | None
    bars_path: Path | None
    timeframe: str | None
    symbol: str | None
    last: int | None
    timezone: str | None
    units: int | None
    unproved: bool
    time_limit: float
    as_json: bool


@click.command(
    "import", epilog="Example: aiopt pine import theirs.pine --out theirs.yaml --bars data/bars/EURUSD/5m"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=OutFile(IMPORTED), help="YAML file of the strategy.  [default: printed]")
@click.option(
    "--bars",
    "bars_path",
    type=PATH,
    help="Bars on which both are run.  [default: a month of generated 5m bars]",
)
@timeframe_option
@click.option(
    "--instrument",
    "symbol",
    help="Whose pips the script's distances are in.  [default: of --bars, else what the script states, else "
    "EURUSD]",
)
@click.option("--last", type=click.IntRange(2), help="Take this many bars from the end.  [default: all]")
@click.option("--timezone", help="Time zone of the chart, for hours and sessions that name none, e.g. UTC.")
@click.option(
    "--units",
    type=click.IntRange(1, 10**9),
    help="Size of a position instead of the script's.  [default: the script's if fixed, else 10000]",
)
@click.option(
    "--unproved", is_flag=True, help="Write the strategy although it was not, or could not be, proved."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Seconds after which a script in the Pine engine is stopped.",
)
@json_option
@click.pass_context
def import_command(ctx: click.Context, /, **values: Any) -> None:
    """Convert FILE, anyone's strategy in Pine 5 or 6, into one of ours; exit code 1 if it cannot be.

    What has no exact equal is refused with line, column and the nearest form.  What is read is proved: the
    script and the one written from the strategy run over the bars in the Pine engine (`aiopt pine engine
    install`), and the strategy is written only if every trade is the same, or with --unproved.  A script of
    ours gives back the strategy that its last comments state, if that writes the very script.
    """
    _import(ctx, ImportOptions(**values))


def _import(ctx: click.Context, options: ImportOptions) -> None:
    from aiopt.indicators.wall_clock import check_timezone
    from aiopt.market.instrument import instrument
    from aiopt.pine.importing.importing import import_script
    from aiopt.pine.made_from import read_made_from
    from aiopt.pine.parsing.script_file import read_script_file

    script = read_script_file(options.file)
    if options.timezone is not None:
        check_timezone(options.timezone, where="--timezone")
    bars = None if options.bars_path is None else _bars(options)
    made = read_made_from(script)
    stated = "EURUSD" if made is None else made.symbol
    symbol = options.symbol or (stated if bars is None else bars.instrument)
    imported = import_script(
        script, instrument=instrument(symbol), timezone=options.timezone, units=options.units
    )
    if imported.spec is None:
        emit(
            options.as_json,
            _document(options, imported, None, "", written=False),
            _refused(options, imported),
        )
        ctx.exit(EXIT_FAILED)
    proof, reason = (None, "") if imported.is_rewritten else _prove(options, script, imported, bars, symbol)
    is_proved = imported.is_rewritten or (proof is not None and proof.is_equal)
    text = _yaml(options.file, script, imported, _verdict(imported, proof, reason))
    may_write = is_proved or options.unproved
    is_written = options.out is not None and may_write
    if is_written and options.out is not None:
        atomic_write_text(options.out, text)

    def human(console: Console) -> None:
        _show(console, options, imported, proof, reason, text if may_write else None)

    document = _document(options, imported, proof, reason, written=is_written)
    document["yaml"] = text if may_write else None
    emit(options.as_json, document, human)
    if not may_write:
        ctx.exit(EXIT_FAILED)


def _verdict(imported: Imported, proof: ImportProof | None, reason: str) -> str:
    """Return what was shown of the strategy, in one sentence."""
    if imported.is_rewritten:
        return "aiopt writes this very script of the strategy, but for comments and the limits of inputs."
    return reason if proof is None else proof.text


def _bars(options: ImportOptions) -> BarArrays:
    from aiopt.bars.files import load_bar_set
    from aiopt.verification.scripts import last_bars

    assert options.bars_path is not None
    bars = load_bar_set(options.bars_path, timeframe=options.timeframe, symbol=options.symbol)
    return last_bars(bars, options.last).bid


def _prove(
    options: ImportOptions, script: str, imported: Imported, bars: BarArrays | None, symbol: str
) -> tuple[ImportProof | None, str]:
    """Return what running both showed, or why they were not run."""
    from aiopt.verification.engine_folder import PineEngineError, find_engine
    from aiopt.verification.import_proof import ImportTask, prove_imports
    from aiopt.verification.pine_runs import PineRunner
    from aiopt.verification.sample_bars import sample_bars

    if options.timezone not in (None, "UTC"):
        return (
            None,
            f"the Pine engine's chart is in UTC, and --timezone is {options.timezone}: nothing was run.",
        )
    try:
        runner = PineRunner(find_engine(), time_limit_s=options.time_limit)
    except PineEngineError as failure:
        return None, f"nothing was run: {failure}"
    if bars is None:
        bars = sample_bars(symbol, timeframe=options.timeframe or "5m")
        if options.last is not None:
            bars = bars.slice(max(0, len(bars) - options.last), len(bars))
    stderr_console().print(f"running both in {runner.engine.title} on {len(bars):,} bars ...", markup=False)
    (found,) = prove_imports([ImportTask(script, imported)], runner, bars)
    return (None, str(found)) if isinstance(found, PineError) else (found, "")


def _yaml(file: Path, script: str, imported: Imported, proof: str) -> str:
    """Return the strategy file: where it comes from and what was shown, as comments, and the strategy."""
    from aiopt.errors import SearchSpaceError
    from aiopt.pine.text import comment
    from aiopt.strategy.space import SearchSpace

    assert imported.spec is not None
    digest = hashlib.sha256(script.encode()).hexdigest()
    said = [f"Imported from Pine by aiopt: {file.name}, sha256 {digest}", f"Proof: {proof}"]
    said += [f"Note, {note}" for note in imported.notes]
    body = imported.spec.to_yaml()
    if imported.dimensions:
        try:
            body = SearchSpace(imported.spec, imported.dimensions).to_yaml()
            said.append("Search: the limits that the script's inputs state; narrow them before a sweep.")
        except SearchSpaceError as failure:
            said.append(f"The limits of the script's inputs are no search: {failure}")
    lines = [line for text in said for line in comment(text)]
    return "\n".join(line.replace("//", "#", 1) for line in lines) + "\n" + body


def _document(
    options: ImportOptions, imported: Imported, proof: ImportProof | None, reason: str, *, written: bool
) -> dict[str, Any]:
    spec = imported.spec
    is_proved = imported.is_rewritten or (proof is not None and proof.is_equal)
    return {
        "file": str(options.file),
        "ok": is_proved,
        "version": imported.version,
        "refusals": [vars(one) for one in imported.refusals],
        "notes": [vars(one) for one in imported.notes],
        "spec": spec,
        "spec_hash": None if spec is None else spec.spec_hash,
        "stated_spec_hash": imported.stated_hash or None,
        "proved": is_proved,
        "rewritten": imported.is_rewritten,
        "proof": None if proof is None else msgspec.to_builtins(proof),
        "not_proved": reason or None,
        "out": None if options.out is None else str(options.out),
        "written": written,
    }


def _refused(options: ImportOptions, imported: Imported) -> Any:
    def human(console: Console) -> None:
        for refusal in imported.refusals:
            console.print(f"{options.file}: {refusal}", markup=False, highlight=False, soft_wrap=True)
        count = len(imported.refusals)
        text = f"{options.file}: not imported; {count} construct{'s' * (count > 1)} cannot be said"
        console.print(text, markup=False, soft_wrap=True)

    return human


def _show(
    console: Console,
    options: ImportOptions,
    imported: Imported,
    proof: ImportProof | None,
    reason: str,
    text: str | None,
) -> None:
    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    for note in imported.notes:
        say(f"note, {note}")
    if imported.stated_hash and imported.spec is not None:
        same = imported.stated_hash == imported.spec.spec_hash
        say(f"the script states spec {imported.stated_hash[:12]}: {'the same' if same else 'another text'}")
    verdict = _verdict(imported, proof, reason)
    if imported.is_rewritten or (proof is not None and proof.is_equal):
        say(f"PROVED: {verdict}")
    else:
        say(f"NOT PROVED: {verdict}" if proof is None else verdict)
    if text is None:
        say("nothing written; a strategy that is not proved is written with --unproved only")
    elif options.out is None:
        click.echo(text, nl=False)
    else:
        say(f"written: {options.out}")
