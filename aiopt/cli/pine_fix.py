"""``aiopt pine fix``: mend a script and bring it to version 6, as a diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from aiopt.cli.options import PATH, json_option
from aiopt.cli.output import emit, stderr_console
from aiopt.errors import InputError
from aiopt.files import atomic_write_bytes

if TYPE_CHECKING:
    from aiopt.pine.fixing.fixing import Fixed, Prover
    from aiopt.pine.fixing.source import Change

_MAX_BARS = 5_000


@click.command("fix", epilog="Example: aiopt pine fix old.pine --bars data/bars/EURUSD/5m --write")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--write", is_flag=True, help="Write the fixed script into FILE; by default only a diff is shown."
)
@click.option(
    "--from",
    "from_version",
    type=click.Choice(["4", "5", "6"]),
    help="Version of a script that does not state it.",
)
@click.option(
    "--bars",
    "bars_path",
    type=PATH,
    help="Bars on which the Pine engine runs the script before and after (`aiopt pine engine install`).",
)
@json_option
def fix_command(
    file: Path, write: bool, from_version: str | None, bars_path: Path | None, as_json: bool
) -> None:
    """Bring a script of version 4 or 5 to version 6 and mend small faults, changing nothing else.

    What is done either says the same by its rule, or a run of both versions over the bars has shown it; what
    would need a decision is left and named.  A conversion is made whole or not at all.
    """
    from aiopt.pine.fixing.fixing import fix_script
    from aiopt.pine.parsing.script_file import read_script_file

    text = read_script_file(file, as_written=True)
    prove = None if bars_path is None else _prover(bars_path)
    version = None if from_version is None else int(from_version)
    try:
        fixed = fix_script(text, from_version=version, prove=prove)
    except InputError as failure:
        raise InputError(f"{file}: {failure}") from failure
    is_written = write and fixed.after != fixed.before
    if is_written:
        _write(file, text, fixed.after)

    def human(console: Console) -> None:
        _show(console, file, fixed, is_written=is_written)

    emit(as_json, _document(file, fixed, is_written=is_written), human)


def _write(file: Path, old: str, new: str) -> None:
    """Write the new text with the line ends and the byte order mark of the old one."""
    from aiopt.pine.parsing.script_file import BYTE_ORDER_MARK

    ends = "\r\n" if "\r\n" in old else "\n" if "\n" in old else "\r"
    mark = BYTE_ORDER_MARK if old.startswith(BYTE_ORDER_MARK) else ""
    atomic_write_bytes(file, (mark + new.replace("\n", ends)).encode("utf-8"))


def _prover(bars_path: Path) -> Prover:
    from aiopt.bars.files import load_bar_set
    from aiopt.verification.engine_folder import find_engine
    from aiopt.verification.fix_proof import fix_prover
    from aiopt.verification.pine_runs import PineRunner

    engine = find_engine()
    bars = load_bar_set(bars_path).bid
    if len(bars) > _MAX_BARS:
        bars = bars.slice(0, _MAX_BARS)
    stderr_console().print(f"running both versions in {engine.title} on {len(bars):,} bars ...", markup=False)
    return fix_prover(PineRunner(engine), bars)


def _document(file: Path, fixed: Fixed, *, is_written: bool) -> dict[str, object]:
    def entries(changes: list[Change]) -> list[dict[str, object]]:
        return [{"line": one.line, "rule": one.rule, "message": one.message} for one in changes]

    return {
        "file": str(file),
        "changed": fixed.after != fixed.before,
        "written": is_written,
        "applied": entries(fixed.applied),
        "left": entries(fixed.left),
        "proof": fixed.proof,
        "script": fixed.after,
    }


def _show(console: Console, file: Path, fixed: Fixed, *, is_written: bool) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    diff = fixed.diff(str(file))
    if diff:
        say(diff.rstrip("\n"))
    for change in fixed.applied:
        how = "same by rule" if change.is_proved else "shown by a run"
        say(f"line {change.line}: {change.message} [{change.rule}, {how}]")
    for change in fixed.left:
        say(f"left, line {change.line}: {change.message} [{change.rule}]")
    if fixed.proof:
        say(f"run: {fixed.proof}")
    elif diff:
        say("run: none; with --bars and the Pine engine both versions are run and compared.")
    if not diff:
        say(f"{file}: nothing changed")
    elif is_written:
        say(f"written: {file}")
    else:
        say("nothing written; add --write")
