"""The command `aiopt ticks`: download, import, validate and generate ticks.

Owns flags and what is printed.  Knows nothing of formats and rules beyond asking for their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from aiopt.cli.check_against import check_options
from aiopt.cli.options import OutFile, OutFolder, json_option
from aiopt.cli.output import emit, print_table, progress, text
from aiopt.cli.ticks_download import download
from aiopt.cli.ticks_spread import spread_model
from aiopt.cli.ticks_stops import stop_slippage
from aiopt.cli.ticks_tables import check_document, print_check, print_store, summary
from aiopt.errors import EXIT_BAD_INPUT, EXIT_OK
from aiopt.outputs import PAGE

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.ticks.sources import ReaderOptions

_instrument_option = click.option("--instrument", help="Symbol, e.g. EURUSD. Default: what the source says.")
_format_option = click.option(
    "--format",
    "format_",
    help="dukascopy, dukascopy_json, oanda, fxcm, histdata, truefx, metatrader, csv, json or parquet. "
    "Default: recognised.",
)
_rule_option = click.option(
    "--rule",
    "rule_texts",
    multiple=True,
    metavar="NAME=TREATMENT",
    help="keep, drop, fix or fail for a rule (see `aiopt ticks rules`), or a threshold: spike_z=30, "
    "stale_s=300, gap_s=300.",
)
_READER_OPTIONS = (
    click.option(
        "--timezone",
        help="Clock of the source, if not the format's own: UTC, +02:00, Europe/Athens, NY, NY+7 (the server "
        "of most FX brokers).",
    ),
    click.option("--utc-offset", type=float, help="The clock as hours ahead of UTC."),
    click.option(
        "--size-unit",
        type=float,
        help="Units of the base currency that a size of 1 in a table means; 1e6 for millions. Default: 1, "
        "or 1e6 for exports of Dukascopy's ticks.",
    ),
    click.option(
        "--map",
        "column_map",
        metavar="ts=NAME,bid=NAME,ask=NAME",
        help="Columns of a table whose names are not recognised; also bid_size, ask_size, symbol.",
    ),
    click.option(
        "--time-unit",
        help="What a numeric time counts: s, ms, us, ns, dotnet, filetime, excel, or digits such as "
        "YYYYMMDDHHMMSSmmm. Default: the one unit that gives possible years.",
    ),
    click.option(
        "--time-format",
        help="How a time is written, e.g. '%d/%m/%Y %H:%M:%S.%f' (also %y %b %I %p %z). Default: the one "
        "way that fits all rows.",
    ),
    click.option("--no-header", is_flag=True, help="The CSV has no header: --map counts columns from 0."),
)


def _reader_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about what a source does not say itself; the command gets them as `reader`."""

    @wraps(function)
    def with_reader(
        *,
        timezone: str | None,
        utc_offset: float | None,
        size_unit: float | None,
        column_map: str | None,
        time_unit: str | None,
        time_format: str | None,
        no_header: bool,
        **others: Any,
    ) -> Any:
        from aiopt.ticks.sources import ReaderOptions, parse_columns

        reader = ReaderOptions(
            utc_offset_h=utc_offset,
            timezone=timezone,
            size_unit=size_unit,
            columns=parse_columns(column_map or ""),
            time_unit=time_unit,
            time_format=time_format,
            header=not no_header,
        )
        return function(reader=reader, **others)

    command: Callable[..., Any] = with_reader
    for option in reversed(_READER_OPTIONS):
        command = option(command)
    return command


@click.group(epilog="Example: aiopt ticks import downloads/EURUSD --out data/ticks/EURUSD")
def command() -> None:
    """Download, import, validate and generate ticks."""


command.add_command(download)
command.add_command(spread_model)
command.add_command(stop_slippage)


@command.command("import", epilog="Example: aiopt ticks import downloads/EURUSD --out data/ticks/EURUSD")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=OutFolder(), required=True, help="Folder of the tick store.")
@_instrument_option
@_format_option
@_rule_option
@_reader_options
@click.option("--replace", is_flag=True, help="Replace another tick store in --out.")
@check_options
@json_option
# One parameter per flag, as click passes them.
def import_(
    source: Path,
    out: Path,
    instrument: str | None,
    format_: str | None,
    rule_texts: tuple[str, ...],
    reader: ReaderOptions,
    replace: bool,
    check_path: Path | None,
    check_timezone: str | None,
    as_json: bool,
) -> None:
    """Import SOURCE, a file or folder of ticks, into a tick store.

    The same import twice changes nothing.
    """
    from aiopt.bars.importing.witness_bars import witness_of
    from aiopt.ticks.checks.validation import parse_rules
    from aiopt.ticks.importing import import_ticks

    witness = witness_of(check_path, check_timezone)
    with _percent("importing ticks") as report:
        manifest = import_ticks(
            source,
            out,
            instrument=instrument,
            format=format_,
            rules=parse_rules(rule_texts),
            options=reader,
            replace=replace,
            witness=witness,
            progress=report,
        )
    document = summary(manifest, out)
    emit(as_json, document, lambda console: print_store(console, manifest, out))


@command.command(epilog="Example: aiopt ticks validate data/ticks/EURUSD --html quality.html")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=OutFile(PAGE),
    help="Also write the data-quality page to this file: pictures and lists, no network.",
)
@_instrument_option
@_format_option
@_rule_option
@_reader_options
@json_option
# One parameter per flag, as click passes them.
def validate(
    source: Path,
    html: Path | None,
    instrument: str | None,
    format_: str | None,
    rule_texts: tuple[str, ...],
    reader: ReaderOptions,
    as_json: bool,
) -> int:
    """Check the ticks of SOURCE, a tick store or anything `import` reads, and print a table.

    It also compares a store's files with the manifest.  Exit code 2 if a rule with treatment `fail`
    found something or a file differs from the manifest.
    """
    from aiopt.ticks.checks.validation import parse_rules
    from aiopt.ticks.importing import validate_ticks

    with _percent("judging ticks") as report:
        check = validate_ticks(
            source,
            instrument=instrument,
            format=format_,
            rules=parse_rules(rule_texts),
            options=reader,
            progress=report,
        )
    if html is not None:
        from aiopt.files import atomic_write_text
        from aiopt.report.tick_page import render_tick_page

        atomic_write_text(html, render_tick_page(check, html.parent))
    document = check_document(check, html)
    emit(as_json, document, lambda console: print_check(console, check, document))
    return EXIT_OK if check.ok else EXIT_BAD_INPUT


@command.command(epilog="Example: aiopt ticks sample --out data/sample --days 31 --seed 7")
@click.option("--out", type=OutFolder(), required=True, help="Folder of the tick store.")
@click.option("--instrument", default="EURUSD", show_default=True, help="Symbol.")
@click.option("--start", default="2024-03-01", show_default=True, help="First day, YYYY-MM-DD, UTC.")
@click.option("--days", type=int, default=31, show_default=True, help="Calendar days.")
@click.option(
    "--ticks-per-day",
    type=int,
    default=134_000,
    show_default=True,
    help="Mean number of ticks of a full day.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed, same ticks, everywhere.")
@click.option(
    "--edge",
    type=float,
    metavar="SHARPE",
    help="Plant a known edge: a pull to the mean worth this true Sharpe ratio to rsi_reversion on 5m.",
)
@click.option("--replace", is_flag=True, help="Replace another tick store in --out.")
@json_option
# One parameter per flag, as click passes them.
def sample(
    out: Path,
    instrument: str,
    start: str,
    days: int,
    ticks_per_day: int,
    seed: int,
    edge: float | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Generate ticks that no market ever quoted, and mark them as synthetic."""
    from aiopt.ticks.sample import generate_ticks

    with _percent("generating ticks") as report:
        manifest = generate_ticks(
            out,
            instrument=instrument,
            start=start,
            days=days,
            ticks_per_day=ticks_per_day,
            seed=seed,
            edge=msgspec.UNSET if edge is None else edge,
            replace=replace,
            progress=report,
        )
    document = summary(manifest, out)
    emit(as_json, document, lambda console: print_store(console, manifest, out))


@command.command(epilog="Example: aiopt ticks rules")
@json_option
def rules(as_json: bool) -> None:
    """List the rules of validation and their treatments."""
    from aiopt.ticks.checks.validation import RULES

    document = [
        {
            "rule": rule.name,
            "counts": rule.counts,
            "default": rule.default,
            "allowed": list(rule.allowed),
            "text": rule.text,
            "fix": rule.fix or None,
        }
        for rule in RULES.values()
    ]

    def show(console: Console) -> None:
        rows = []
        for row in RULES.values():
            fix = f" (fix: {row.fix})" if row.fix else ""
            rows.append((row.name, row.default, " ".join(row.allowed), row.text + fix))
        print_table(console, ("rule", "default", text("allowed"), text("what it finds")), rows)

    emit(as_json, {"rules": document}, show)


@contextmanager
def _percent(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress in per cent: the work is only known once the source is open."""
    with progress(description, 100) as report:
        yield lambda done, total: report(100.0 * done / total)
