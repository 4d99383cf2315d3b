"""``aiopt pine check``: what TradingView would refuse in a script, and what deserves a look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from aiopt.cli.options import json_option
from aiopt.cli.output import emit
from aiopt.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from aiopt.pine.checking.check import CheckResult


@click.command("check", epilog="Example: aiopt pine check pine/rsi_reversion.pine")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--version",
    type=click.Choice(["6", "5"]),
    help="Read the script as this version of Pine.  [default: as its //@version says]",
)
@click.option(
    "--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0, which editors and code hosts read."
)
@json_option
@click.pass_context
def check_command(ctx: click.Context, file: Path, version: str | None, as_sarif: bool, as_json: bool) -> None:
    """Check a Pine script of anyone without running it; exit code 1 if it has an error.

    An error is what TradingView refuses; a warning runs but may not do what it seems to, as repainting; a
    note is a name that aiopt does not know.  The rules are listed in docs/reference/pine-checks.md.
    """
    from aiopt.pine.checking.check import check_script
    from aiopt.pine.parsing.script_file import read_script_file

    if as_json and as_sarif:
        raise ConfigError("--json and --sarif were both given. Choose one.")
    result = check_script(read_script_file(file), version=None if version is None else int(version))
    if as_sarif:
        _print_sarif(file, result)
    else:
        _print(file, result, as_json)
    if result.errors:
        ctx.exit(EXIT_FAILED)


def _print(file: Path, result: CheckResult, as_json: bool) -> None:
    document = {
        "file": str(file),
        "version": result.version,
        "ok": not result.errors,
        "findings": [diagnostic.document() for diagnostic in result.diagnostics],
    }

    def human(console: Console) -> None:
        for diagnostic in result.diagnostics:
            console.print(f"{file}: {diagnostic}", markup=False, highlight=False, soft_wrap=True)
        counts = {
            kind: sum(diagnostic.severity == kind for diagnostic in result.diagnostics)
            for kind in ("error", "warning", "note")
        }
        shown = [f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count]
        verdict = ", ".join(shown) or "no rule broken"
        console.print(f"{file}: {verdict}; trades are not compared", markup=False, soft_wrap=True)

    emit(as_json, document, human)


def _print_sarif(file: Path, result: CheckResult) -> None:
    import json
    from importlib.metadata import version as installed_version

    from aiopt.pine.checking.sarif import sarif

    document = sarif(result, path=file.as_posix(), tool_version=installed_version("aiopt"))
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
