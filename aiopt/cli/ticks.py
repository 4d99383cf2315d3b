"""The command `aiopt ticks`: download, import, validate and generate ticks.

Owns flags and what is printed.  Knows nothing of formats and rules beyond asking for their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.check_against import check_options, witness_of
from aiopt.cli.output import emit, json_option, progress
from aiopt.cli.ticks_download import download
from aiopt.cli.ticks_spread import spread_model
from aiopt.cli.ticks_stops import stop_slippage
from aiopt.errors import EXIT_BAD_INPUT, EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.ticks.checks.quality import GapSpan
    from aiopt.ticks.importing import TickCheck
    from aiopt.ticks.manifest import Manifest, RuleCount
    from aiopt.ticks.sources import ReaderOptions

WORST_HOURS = 5
"""Hours and gaps listed by `validate`: those with the most findings, and the longest."""

# Rules that count something else than ticks have no share of them.
_NOT_TICKS = {"gap": "gaps", "missing_hour": "hours", "clock_shift": "weeks"}

_instrument_option = click.option(
    "--instrument", help="Symbol, e.g. EURUSD; what the source says, if left out."
)
_format_option = click.option(
    "--format",
    "format_",
    help="dukascopy, dukascopy_json, oanda, fxcm, histdata, truefx, metatrader, csv, json or parquet; "
    "recognised if left out.",
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
    click.option("--utc-offset", type=float, help="The same as hours ahead of UTC."),
    click.option(
        "--size-unit",
        type=float,
        help="Units of the base currency a size of 1 stands for in tables; 1e6 for millions. If left out: 1, "
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
        "YYYYMMDDHHMMSSmmm; proved by its range if left out.",
    ),
    click.option(
        "--time-format",
        help="How a time is written, e.g. '%d/%m/%Y %H:%M:%S.%f' (also %y %b %I %p %z); proved by all rows "
        "if left out.",
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
        from aiopt.ticks.sources import ReaderOptions

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


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``ts=NAME,bid=NAME,ask=NAME``.

    Raises
    ------
    ConfigError
        If a part has no ``=`` or a meaning is given twice.
    """
    from aiopt.errors import ConfigError

    result: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        meaning, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not name or meaning in result:
            msg = f"--map must be MEANING=COLUMN, each meaning once, but got {part!r}. "
            raise ConfigError(msg + "E.g. --map ts=time,bid=b,ask=a.")
        result[meaning] = name
    return result


@click.group(epilog="Example: aiopt ticks import downloads/EURUSD --out data/ticks/EURUSD")
def command() -> None:
    """Download, import, validate and generate ticks."""


command.add_command(download)
command.add_command(spread_model)
command.add_command(stop_slippage)


@command.command("import", epilog="Example: aiopt ticks import downloads/EURUSD --out data/ticks/EURUSD")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the tick store.")
@_instrument_option
@_format_option
@_rule_option
@_reader_options
@click.option("--replace", is_flag=True, help="Replace another tick store in --out.")
@check_options
@json_option
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
    emit(as_json, document, lambda console: _print_store(console, manifest, out))


@command.command(epilog="Example: aiopt ticks validate data/ticks/EURUSD --html quality.html")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("tick-quality.html"),
    show_default=True,
    help="Where the data-quality page goes: pictures and lists in one file, no network.",
)
@click.option("--no-html", is_flag=True, help="Write no page.")
@_instrument_option
@_format_option
@_rule_option
@_reader_options
@json_option
def validate(
    source: Path,
    html: Path,
    no_html: bool,
    instrument: str | None,
    format_: str | None,
    rule_texts: tuple[str, ...],
    reader: ReaderOptions,
    as_json: bool,
) -> int:
    """Judge the ticks of SOURCE, a tick store or anything `import` reads; print a table and write a page.

    Of a store, the files are compared with the manifest as well.  Exit code 2 if a rule of treatment `fail`
    found something or a file does not agree with the manifest.
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
    if not no_html:
        from aiopt.files import atomic_write_text
        from aiopt.report.tick_page import render_tick_page

        atomic_write_text(html, render_tick_page(check, html.parent))
    document = check_document(check, None if no_html else html)
    emit(as_json, document, lambda console: _print_check(console, check, document))
    return EXIT_OK if check.ok else EXIT_BAD_INPUT


@command.command(epilog="Example: aiopt ticks sample --out data/sample --days 31 --seed 7")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the tick store.")
@click.option("--instrument", default="EURUSD", show_default=True, help="Symbol.")
@click.option("--start", default="2024-03-01", show_default=True, help="First day, YYYY-MM-DD, UTC.")
@click.option("--days", type=int, default=31, show_default=True, help="Calendar days.")
@click.option("--ticks-per-day", type=int, default=134_000, show_default=True, help="Mean of a full day.")
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed, same ticks, everywhere.")
@click.option("--replace", is_flag=True, help="Replace another tick store in --out.")
@json_option
def sample(
    out: Path,
    instrument: str,
    start: str,
    days: int,
    ticks_per_day: int,
    seed: int,
    replace: bool,
    as_json: bool,
) -> None:
    """Generate ticks that no market ever quoted, marked as synthetic."""
    from aiopt.ticks.sample import generate_ticks

    with _percent("generating ticks") as report:
        manifest = generate_ticks(
            out,
            instrument=instrument,
            start=start,
            days=days,
            ticks_per_day=ticks_per_day,
            seed=seed,
            replace=replace,
            progress=report,
        )
    document = summary(manifest, out)
    emit(as_json, document, lambda console: _print_store(console, manifest, out))


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
        from rich.table import Table

        table = Table("rule", "default", "allowed", "what it finds", box=None)
        for row in RULES.values():
            fix = f" (fix: {row.fix})" if row.fix else ""
            table.add_row(row.name, row.default, " ".join(row.allowed), row.text + fix)
        console.print(table)

    emit(as_json, {"rules": document}, show)


def summary(manifest: Manifest, out: Path) -> dict[str, Any]:
    """Return what `import` and `sample` print as JSON: the manifest's figures without its long lists."""
    return {
        "out": str(out),
        "instrument": manifest.instrument,
        "source": manifest.source,
        "format": manifest.source_format,
        "synthetic": manifest.synthetic,
        "data_hash": manifest.data_hash,
        "rows": manifest.rows,
        "rows_read": manifest.rows_read,
        "first_ts_ns": manifest.first_ts_ns,
        "last_ts_ns": manifest.last_ts_ns,
        "partitions": len(manifest.partitions),
        "silent_hours": len(manifest.silent_hours),
        "rules": _rule_rows(manifest.rules, manifest.rows_read),
        "clock": manifest.clock,
        "notes": manifest.notes,
    }


def check_document(check: TickCheck, html: Path | None = None) -> dict[str, Any]:
    """Return what `validate` prints as JSON."""
    quality = check.quality
    return {
        "ok": check.ok,
        "source": check.source,
        "format": check.format,
        "instrument": check.instrument,
        "synthetic": check.synthetic,
        "data_hash": check.data_hash,
        "rows_read": check.rows_read,
        "rows_kept": check.rows_kept,
        "first_ts_ns": check.first_ts_ns,
        "last_ts_ns": check.last_ts_ns,
        "rules": _rule_rows(check.rules, check.rows_read),
        "imported": _rule_rows(
            check.imported, check.rows_read + sum(rule.dropped for rule in check.imported)
        ),
        "worst_hours": [] if quality is None else quality.worst[:WORST_HOURS],
        "spread_pips": [] if quality is None else quality.spreads,
        "gaps": 0 if quality is None else quality.gap_count,
        "longest_gaps": [] if quality is None else _longest(quality.gaps),
        "ticks_per_hour": {} if quality is None else quality.hours,
        "failures": check.failures,
        "clock": check.clock,
        "notes": check.notes,
        "html": None if html is None else str(html),
    }


def _longest(gaps: Sequence[GapSpan]) -> list[GapSpan]:
    return sorted(gaps, key=lambda gap: (-gap.open_s, gap.start_ns))[:WORST_HOURS]


def _rule_rows(counts: Sequence[RuleCount], rows_read: int) -> list[dict[str, Any]]:
    return [
        {
            "rule": count.rule,
            "treatment": count.treatment,
            "found": count.found,
            "share": None if count.rule in _NOT_TICKS or not rows_read else count.found / rows_read,
            "dropped": count.dropped,
            "fixed": count.fixed,
        }
        for count in counts
    ]


@contextmanager
def _percent(description: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress in per cent: the work is only known once the source is open."""
    with progress(description, 100) as report:
        yield lambda done, total: report(100.0 * done / total)


def _print_store(console: Console, manifest: Manifest, out: Path) -> None:
    from aiopt.utc import stamp_text

    what = "synthetic ticks" if manifest.synthetic else "ticks"
    console.print(
        f"{manifest.rows:,} {what} of {manifest.instrument} on {len(manifest.partitions)} days, "
        f"{stamp_text(manifest.first_ts_ns)} to {stamp_text(manifest.last_ts_ns)}"
    )
    console.print(f"source     {manifest.source} ({manifest.source_format})", soft_wrap=True)
    console.print(f"store      {out}", soft_wrap=True)
    console.print(f"data hash  {manifest.data_hash}", soft_wrap=True)
    if manifest.clock is not None:
        console.print(f"clock      {manifest.clock.text}", soft_wrap=True)
    _print_rules(console, manifest.rules, manifest.rows_read)
    if manifest.silent_hours:
        console.print(f"{len(manifest.silent_hours)} hour(s) of open market without ticks, see manifest.json")
    for note in manifest.notes:
        console.print(f"note: {note}", soft_wrap=True)


def _print_check(console: Console, check: TickCheck, document: dict[str, Any]) -> None:
    console.print(f"{check.rows_read:,} ticks of {check.instrument} read, {check.rows_kept:,} kept")
    _print_rules(console, check.rules, check.rows_read)
    if check.imported:
        dropped = sum(rule.dropped for rule in check.imported)
        fixed = sum(rule.fixed for rule in check.imported)
        console.print(f"at the import {dropped:,} were dropped and {fixed:,} fixed, see manifest.json")
    if document["worst_hours"]:
        console.print("hours with most findings (UTC), and the first place of each rule:")
    for hour in document["worst_hours"]:
        by_rule = ", ".join(f"{rule} {found:,}" for rule, found in hour.rules.items())
        console.print(f"  {hour.hour}  {hour.found:>8,}  {by_rule}")
        for place in hour.places:
            console.print(f"      {place.rule}: {_escaped(place.file)}, row {place.row}", soft_wrap=True)
    if document["html"]:
        console.print(f"page: {_escaped(document['html'])}", soft_wrap=True)
    if check.clock is not None:
        console.print(f"clock: {check.clock.text}", soft_wrap=True)
    for note in check.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for failure in check.failures:
        console.print(f"[red]failed:[/red] {_escaped(failure)}", soft_wrap=True)
    if check.ok:
        console.print("ok")


def _print_rules(console: Console, counts: Sequence[RuleCount], rows_read: int) -> None:
    from rich.table import Table

    rows = [count for count in counts if count.found]
    if not rows:
        console.print(f"no rule found anything ({len(counts)} rules)")
        return
    table = Table("rule", "treatment", box=None)
    for name in ("found", "share", "dropped", "fixed"):
        table.add_column(name, justify="right")
    for count in rows:
        share = _NOT_TICKS.get(count.rule) or f"{count.found / max(rows_read, 1):.3%}"
        table.add_row(
            count.rule, count.treatment, f"{count.found:,}", share, f"{count.dropped:,}", f"{count.fixed:,}"
        )
    console.print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
