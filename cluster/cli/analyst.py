"""The command `aiopt analyst`, with the scan, which may run on a cluster.  Owns the scan's flags alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.analyst import ReaderOptions, calibration_option, calibrations_of, command, reader_options
from aiopt.cli.options import OutFolder, instrument_option, json_option, typed
from aiopt.cli.output import emit, stderr_console
from aiopt.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from aiopt.analyst.scans import ScanConfig

__all__ = ["command"]


@dataclass(frozen=True, kw_only=True)
class ScanOptions(ReaderOptions):
    """What the command line says of `scan`; fields as the options' help has it."""

    bars_path: Path
    timeframe: str | None
    symbol: str | None
    windows: int
    every: int | None
    window: int | None
    reader: str | None
    engine: str
    concurrency: int | None
    calibration_paths: tuple[Path, ...]
    out: Path
    as_json: bool

    def config(self) -> ScanConfig:
        """Return the scan's settings: file < environment < options."""
        from aiopt.analyst.scans import ScanConfig

        calibrations = calibrations_of(self.calibration_paths)
        settings = self.fitted(calibrations, bars=self.window, concurrency=self.concurrency)
        reader = self.reader or ("rules" if settings.endpoint is None else "model")
        return ScanConfig(
            windows=self.windows,
            every=self.every,
            reader=reader,  # type: ignore[arg-type]  # click has checked the choice
            analyst=settings,
            calibrations=calibrations,
        )


@command.command(
    "scan",
    epilog="Example: aiopt analyst scan --bars data/bars/EURUSD/5m --windows 10000 "
    "--endpoint http://127.0.0.1:8000/v1 --concurrency 8 --out data/scans/eurusd-5m",
)
@click.option(
    "--bars", "bars_path", required=True, type=click.Path(path_type=Path), help="Bar file or folder."
)
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--windows", type=int, default=1_000, show_default=True, help="Most windows to read.")
@click.option(
    "--every",
    type=int,
    help="A window ends every so many bars; the last ones are read. Default: spread over the series.",
)
@click.option("--window", type=int, help="Bars of a window. Default: 120.")
@click.option(
    "--reader",
    type=click.Choice(["rules", "model"]),
    help="Who reads. Default: the model where an endpoint is named, else the rules.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Draw and ask in this process, or in actors on a Ray cluster.",
)
@click.option("--concurrency", type=int, help="Requests in flight, over all actors. Default: 4.")
@click.option("--out", required=True, type=OutFolder(), help="The scan's folder.")
@calibration_option
@reader_options
@json_option
@typed(ScanOptions)
def scan_command(options: ScanOptions) -> int:
    """Read thousands of windows of a series into one Parquet file of readings.

    A scan that was killed goes on where it stopped; windows that the endpoint left unanswered are asked again
    by the next run.  Exit code 1 while there are any.
    """
    from aiopt.bars.files import load_bar_set
    from cluster.scanning import scan, summary_lines

    config = options.config()
    bars = load_bar_set(options.bars_path, timeframe=options.timeframe, symbol=options.symbol)
    console = stderr_console()
    found = scan(
        bars,
        config,
        options.out,
        engine=options.engine,
        say=lambda text: console.print(text, markup=False, soft_wrap=True),
    )

    def human(shown: object) -> None:
        for line in summary_lines(found):
            click.echo(line)

    emit(options.as_json, found, human)
    return EXIT_FAILED if found.open else EXIT_OK
