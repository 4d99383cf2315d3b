"""``aiopt dataset logs``: look at the streams of a feature log, take rows out, merge its small files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiopt.cli.options import OutFile, json_option
from aiopt.cli.output import (
    check_table_name,
    emit,
    number,
    print_table,
    progress,
    text,
    write_frame,
)
from aiopt.errors import ConfigError
from aiopt.outputs import TABLE
from aiopt.utc import time_text

if TYPE_CHECKING:
    pass


@click.group(epilog="Example: aiopt dataset logs list data/logs")
def command() -> None:
    """Look at and compact feature and prediction logs."""


@command.command("list", epilog="Example: aiopt dataset logs list data/logs --json")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def list_command(folder: Path, as_json: bool) -> None:
    """List the streams of a log with their versions."""
    from aiopt.featurelog import list_streams

    streams = list_streams(folder)

    def human(console: Console) -> None:
        if not streams:
            console.print(f"No streams in {folder}.", soft_wrap=True)
            return
        counted = map(number, ("version", "rows", "columns", "files", "size", "writers"))
        rows = []
        for stream in streams:
            name = stream.name
            for version in stream.versions:
                size = f"{version.bytes / 2**20:.1f} MiB"
                counts = (str(len(version.fields)), str(version.segments), size, str(version.writers))
                lead = (name, str(version.version), f"{version.rows:,}")
                last = "" if version.last_ns is None else time_text(version.last_ns)
                rows.append((*lead, *counts, last))
                name = ""
        print_table(console, ("stream", *counted, text("last file (UTC)")), rows)

    emit(as_json, {"folder": str(folder), "streams": streams}, human)


@command.command("show", epilog="Example: aiopt dataset logs show data/logs signals --rows 20")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("stream")
@click.option("--version", type=int, help="One version only; all, joined, by default.")
@click.option("--columns", help="Comma-separated; all by default.")
@click.option("--rows", type=int, default=10, show_default=True, help="Last rows to print.")
@click.option("--out", type=OutFile(TABLE), help="Also write all rows to this Parquet or CSV file.")
@json_option
def show_command(
    folder: Path,
    stream: str,
    version: int | None,
    columns: str | None,
    rows: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print the last rows of a stream."""
    from aiopt.featurelog import read_stream

    if rows < 0:
        raise ConfigError(f"`rows >= 0` must hold, but got rows={rows}. Ask for e.g. 10.")
    check_table_name(out)
    names = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    frame = read_stream(folder, stream, version=version, columns=names)
    if out is not None:
        write_frame(frame, out)
    last = frame.tail(rows)
    document = {
        "folder": str(folder),
        "stream": stream,
        "rows": frame.height,
        "columns": frame.columns,
        "last": last.to_dicts(),
    }

    def human(console: Console) -> None:
        console.print(f"{frame.height:,} rows of {stream}; the last {last.height}:")
        cells = [["" if value is None else _cell(value) for value in row] for row in last.iter_rows()]
        print_table(console, frame.columns, cells)
        if out is not None:
            console.print(f"All rows: {out}", markup=False, soft_wrap=True)

    emit(as_json, document, human)


@command.command("compact", epilog="Example: aiopt dataset logs compact data/logs")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("streams", nargs=-1)
@json_option
def compact_command(folder: Path, streams: tuple[str, ...], as_json: bool) -> None:
    """Merge the small files of STREAMS, all by default.  Writers and readers may go on."""
    from aiopt.featurelog import compact_stream, list_streams

    names = streams or tuple(stream.name for stream in list_streams(folder))
    done = []
    with progress("Compacting", len(names)) as report:
        for name in names:
            done.append(compact_stream(folder, name))
            report(len(done))

    def human(console: Console) -> None:
        for item in done:
            console.print(
                f"{item.stream}: {item.segments_before} files to {item.segments_after}, {item.rows:,} rows, "
                f"{item.bytes_before / 2**20:.1f} to {item.bytes_after / 2**20:.1f} MiB"
            )
        if not done:
            console.print(f"No streams in {folder}.", soft_wrap=True)

    emit(as_json, {"folder": str(folder), "streams": done}, human)


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
