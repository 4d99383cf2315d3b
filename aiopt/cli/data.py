"""The command `aiopt data`: what lies in the data roots, whether it is whole, packed and needed.

Owns flags and what is printed.  Knows nothing of how entries are found, checked or packed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.text import Text

from aiopt.cli.options import OutFolder, instrument_option, json_option
from aiopt.cli.output import emit, number, print_pairs, print_table, progress, size_text, text
from aiopt.errors import EXIT_FAILED, EXIT_OK, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.catalog import Compaction, Entry, PruneItem, Verification

_folders = click.argument("folders", nargs=-1, type=click.Path(path_type=Path))


@click.group(epilog="Example: aiopt data list data runs")
def command() -> None:
    """List, verify, pack, prune and export what lies in the data folders."""


@command.command("list", epilog="Example: aiopt data list --kind ticks")
@_folders
@click.option("--kind", "kinds", multiple=True, help="Only this kind; repeat for several.")
@click.option("--instrument", help="Only this symbol.")
@json_option
def list_command(
    folders: tuple[Path, ...], kinds: tuple[str, ...], instrument: str | None, as_json: bool
) -> None:
    """List tick stores, bars, downloads, datasets, streams, runs and Parquet files below FOLDERS.

    Without FOLDERS: data, .cache and runs, where they exist.
    """
    from aiopt.catalog.selection import select_entries

    entries = select_entries(folders, kinds, instrument)
    document = {"entries": [_document(entry) for entry in entries]}
    emit(as_json, document, lambda console: _print_list(console, entries))


@command.command(epilog="Example: aiopt data show data/ticks/EURUSD")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show what is known about PATH, one entry of the list."""
    from aiopt.catalog.discovery import recognise
    from aiopt.catalog.selection import entry_details

    entry = recognise(path) if path.is_dir() else None
    if entry is None:
        msg = "This folder is no entry of the catalogue."
        raise DataError(msg + " List the entries below it: `aiopt data list FOLDER`.", file=path)
    document = _document(entry) | entry_details(entry)
    emit(as_json, document, lambda console: _print_entry(console, document))


@command.command(epilog="Example: aiopt data verify data/ticks/EURUSD --values")
@_folders
@click.option("--kind", "kinds", multiple=True, help="Only this kind; repeat for several.")
@click.option(
    "--values", is_flag=True, help="Decode the ticks of stores too and compare their content hashes."
)
@click.option(
    "--rebuild", is_flag=True, help="Build bars again where their ticks are here too, and compare them."
)
@json_option
def verify(
    folders: tuple[Path, ...], kinds: tuple[str, ...], values: bool, rebuild: bool, as_json: bool
) -> int:
    """Compute hashes again and compare them with what was recorded.

    Exit code 1 if anything is damaged; the file is named, and the row group where it can be.
    """
    from aiopt.catalog import verify as check
    from aiopt.catalog.selection import select_entries

    entries = select_entries(folders, kinds)
    with progress("verifying", 100) as report:
        result = check(
            entries,
            values=values,
            rebuild=rebuild,
            progress=lambda done, total: report(100.0 * done / total),
        )
    document = {"ok": result.ok, **msgspec.to_builtins(result)}
    emit(as_json, document, lambda console: _print_verification(console, result, rebuild))
    return EXIT_OK if result.ok else EXIT_FAILED


@command.command(epilog="Example: aiopt data compact data/logs/features --period day")
@_folders
@click.option(
    "--period",
    type=click.Choice(["hour", "day", "month"]),
    default="day",
    show_default=True,
    help="Time that one packed file of plain Parquet or of a stream covers.",
)
@click.option("--time-column", help="Time column of plain Parquet files, if its name does not tell.")
@click.option("--dry-run", is_flag=True, help="Say what would be packed; change nothing.")
@json_option
def compact(
    folders: tuple[Path, ...], period: str, time_column: str | None, dry_run: bool, as_json: bool
) -> None:
    """Pack many small files into one per day, hour or month; the rows and their hash stay the same.

    Tick stores have one file per day already: days of many small row groups are written again.
    """
    from aiopt.catalog import compact as pack
    from aiopt.catalog.selection import select_entries

    entries = [one for one in select_entries(folders) if one.kind in {"ticks", "stream", "parquet"}]
    results: list[Compaction] = []
    with progress("packing", 100) as report:
        for number, entry in enumerate(entries):

            def show(done: int, total: int, before: int = number) -> None:
                report(100.0 * (before + done / max(total, 1)) / len(entries))

            results.append(
                pack(entry, period=period, time_column=time_column, dry_run=dry_run, progress=show)  # type: ignore[arg-type]
            )
    document = {"dry_run": dry_run, "entries": [msgspec.to_builtins(result) for result in results]}
    emit(as_json, document, lambda console: _print_compactions(console, results, dry_run))


@command.command(epilog="Example: aiopt data prune data runs --delete")
@_folders
@click.option(
    "--what",
    multiple=True,
    default=("leftovers", "caches"),
    show_default=True,
    help="leftovers, caches or bars; repeat for several.",
)
@click.option("--dry-run/--delete", "dry_run", default=True, show_default=True, help="List only, or remove.")
@json_option
def prune(folders: tuple[Path, ...], what: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """List what nobody needs; with --delete remove it.

    leftovers: temporary files of killed processes.  caches: imports in caches that no run refers to.  bars:
    bars whose ticks are gone.  What a run refers to stays, so name the folder of your runs among FOLDERS; a
    folder `runs` here is looked at in any case.
    """
    from aiopt.catalog import find_entries, plan_prune
    from aiopt.catalog import prune as remove
    from aiopt.catalog.selection import roots

    places = roots(folders)
    runs = [Path("runs")] if Path("runs").is_dir() else []
    items = plan_prune(places, find_entries([*places, *runs]), what=what)
    removed, kept = ([], list(items)) if dry_run else remove(items)
    document = {
        "dry_run": dry_run,
        "items": [msgspec.to_builtins(item) for item in items],
        "removed": [item.path for item in removed],
        "bytes": sum(item.bytes for item in (items if dry_run else removed)),
    }
    emit(as_json, document, lambda console: _print_prune(console, items, removed, kept, dry_run))


@command.command(
    "export-nautilus", epilog="Example: aiopt data export-nautilus data/ticks/EURUSD --out catalog"
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=OutFolder(), required=True, help="Folder of the ParquetDataCatalog.")
@click.option("--venue", default="SIM", show_default=True, help="Venue of the instrument in NautilusTrader.")
@click.option("--timeframe", help="Which bars, if SOURCE holds several.")
@instrument_option
@json_option
def export_nautilus(
    source: Path, out: Path, venue: str, timeframe: str | None, symbol: str | None, as_json: bool
) -> None:
    """Export SOURCE, a tick store or bars, to a NautilusTrader ParquetDataCatalog.

    Ticks become quote ticks, bars become bars stamped with their closing time.  The catalog is read back with
    NautilusTrader and compared: counts, stamps and every price.
    """
    from aiopt.backtest.nautilus_catalog import export_catalog

    with progress("exporting", 100) as report:
        result = export_catalog(
            source,
            out,
            venue=venue,
            timeframe=timeframe,
            symbol=symbol,
            progress=lambda done, total: report(100.0 * done / max(total, 1)),
        )

    def show(console: Console) -> None:
        for part in result.parts:
            console.print(f"{part.rows:,} {part.kind} of {part.identifier} in {part.files} file(s), compared")
        console.print(f"catalog    {out}", soft_wrap=True)
        console.print(f"data hash  {result.data_hash}", soft_wrap=True)

    emit(as_json, msgspec.to_builtins(result), show)


def _document(entry: Entry) -> dict[str, Any]:
    return {**msgspec.to_builtins(entry), "open_hours_behind": entry.open_hours_behind()}


# --- for people -------------------------------------------------------------------------------------------


def _print_list(console: Console, entries: list[Entry]) -> None:
    from rich.markup import escape

    if not entries:
        console.print("Nothing of a known kind. Get ticks: `aiopt ticks download EURUSD`.")
        return
    columns = (
        *("kind", text("what"), "from (UTC)", "to"),
        *(number("rows"), number("size"), text("state"), "hash", text("path")),
    )
    rows = [
        (
            entry.kind,
            f"{entry.instrument} {entry.detail}".strip(),
            _day(entry.first_ts_ns),
            _day(entry.last_ts_ns),
            "-" if entry.rows is None else f"{entry.rows:,}",
            size_text(entry.bytes),
            _state(entry),
            entry.hash[:8] or "-",
            entry.path,
        )
        for entry in entries
    ]
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1_000  # paths in one piece, for grep and the clipboard
    print_table(console, columns, rows)
    total = sum(entry.bytes for entry in entries)
    console.print(f"entries: {len(entries)}, {size_text(total)}")
    for entry in entries:
        if entry.problem:
            console.print(
                f"[red]problem:[/red] {escape(entry.path)}: {escape(entry.problem)}", soft_wrap=True
            )


def _state(entry: Entry) -> str | Text:
    """Return provenance and freshness in a few words."""
    if entry.problem:
        return Text("damaged", style="red")
    words: list[str] = [] if entry.provenance == "unknown" else [entry.provenance]
    if entry.current is False:
        words.append("source not here" if entry.kind != "bars" else "ticks not here")
    behind = entry.open_hours_behind()
    if entry.kind in {"ticks", "downloads"} and entry.provenance == "market" and behind:
        words.append(f"{behind} h behind" if behind < 120 else f"{behind // 24:,} d behind")
    if entry.used_by:
        words.append(f"{len(entry.used_by)} run(s)")
    return ", ".join(words) or "-"


def _print_entry(console: Console, document: dict[str, Any]) -> None:
    from aiopt.utc import stamp_text

    pairs = []
    for name, value in document.items():
        if value is None:
            continue  # does not apply to this kind
        shown = str(value)
        if name == "days":
            shown = ", ".join(f"{day['date']} ({day['rows']:,})" for day in value[:10])
            shown += f" and {len(value) - 10} more" if len(value) > 10 else ""
        elif name.endswith("_ts_ns"):
            name, shown = name.removesuffix("_ts_ns"), "-" if value is None else stamp_text(value)
        elif name == "bytes":
            shown = size_text(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            shown = f"{value:,}"
        elif isinstance(value, list):
            shown = ", ".join(map(str, value))
        elif isinstance(value, dict):
            shown = ", ".join(f"{key} {count:,}" for key, count in value.items())
        pairs.append((name.replace("_", " "), shown or "-"))
    print_pairs(console, pairs)


def _print_verification(console: Console, result: Verification, rebuild: bool) -> None:
    from rich.markup import escape

    for fault in result.faults:
        where = fault.file if fault.row_group is None else f"{fault.file}, row group {fault.row_group}"
        text = escape(f"{fault.entry}: {where}: {fault.problem}")
        console.print(f"[red]damaged:[/red] {text}", soft_wrap=True)
    console.print(f"entries: {result.entries}, files: {result.files}, {size_text(result.bytes)} read")
    if rebuild:
        console.print(f"bars built again from their ticks: {len(result.rebuilt)}", highlight=False)
    if result.unproven:
        console.print(
            f"{len(result.unproven)} of them have no recorded hashes: checked only that they can be read"
        )
    if rebuild:
        for path in result.unproven:
            console.print(f"not proven: {escape(path)}", soft_wrap=True)
    console.print("ok" if result.ok else f"{len(result.faults)} fault(s)")


def _print_compactions(console: Console, results: list[Compaction], dry_run: bool) -> None:
    from rich.markup import escape

    if not results:
        console.print("Nothing to pack here: no tick store, no stream, no plain Parquet files.")
    for result in results:
        if not result.changed:
            console.print(f"{escape(result.path)}: packed already", soft_wrap=True)
            continue
        verb = "would become" if dry_run else "are now"
        text = f"{result.files_before} files, {result.row_groups_before} row groups {verb} "
        text += f"{result.files_after} files"
        if not dry_run:
            sizes = f"{size_text(result.bytes_before)} to {size_text(result.bytes_after)}"
            text += f", {result.row_groups_after} row groups; {sizes}; "
            text += f"the same {result.rows:,} rows, hash {result.hash[:12]}"
        console.print(f"{escape(result.path)}: {text}", soft_wrap=True)


def _print_prune(
    console: Console, items: list[PruneItem], removed: list[PruneItem], kept: list[PruneItem], dry_run: bool
) -> None:
    from rich.markup import escape

    if not items:
        console.print("Nothing to prune.")
        return
    gone = {item.path for item in removed}
    for item in items:
        verb = "would remove" if dry_run else "removed" if item.path in gone else "kept, in use"
        text = escape(f"{item.path}  ({item.what}, {size_text(item.bytes)}: {item.reason})")
        console.print(f"{verb}  {text}", soft_wrap=True)
    total = size_text(sum(item.bytes for item in (items if dry_run else removed)))
    if dry_run:
        console.print(f"{len(items)} item(s), {total}. Nothing was removed: add --delete to do it.")
    else:
        console.print(f"{len(removed)} removed, {total}; {len(kept)} kept")


def _day(ts_ns: int | None) -> str:
    from aiopt.utc import DAY_NS, day_text

    return "-" if ts_ns is None else day_text(ts_ns // DAY_NS)
