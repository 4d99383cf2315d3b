"""The command `aiopt dataset`: build training sets from bars, and look at one.

Owns flags, the choice between one process and the cluster for the charts, and what is printed.  Knows nothing
of features or labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiopt.cli.feature_logs import command as logs
from aiopt.cli.options import instrument_option, json_option
from aiopt.cli.output import emit, progress
from aiopt.errors import DataError
from aiopt.utc import time_text
from cluster.cli.charts import RAY_FROM_CHARTS, engine_option
from cluster.connection import cluster_connection, connected

if TYPE_CHECKING:
    from rich.console import Console

    from aiopt.charts import PreparedChart
    from aiopt.charts.windows import Window
    from aiopt.dataset import ChartRenderer, DatasetConfig, DatasetInfo

ENV_PREFIX = "AIOPT_DATASET"


@click.group(epilog="Example: aiopt dataset build --bars bars/EURUSD/5m --out datasets/eurusd-5m")
def command() -> None:
    """Build training sets of features, labels and charts."""


command.add_command(logs, "logs")


@command.command(
    epilog="Example: aiopt dataset build --bars bars/EURUSD/5m --out datasets/eurusd-5m --images embed "
    "--stride 20 --messages-horizon 12"
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--bars",
    "bars_path",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder with bid.parquet and ask.parquet, or one Parquet file of bars.",
)
@click.option("--out", "out_dir", required=True, type=click.Path(path_type=Path), help="Dataset's folder.")
@click.option("--timeframe", help="Which bars to take, if the folder holds several, e.g. 5m.")
@instrument_option
@click.option("--horizons", help="Bars ahead, comma-separated, e.g. 6,12,24.")
@click.option("--threshold", type=float, help="Move from which on a label is BUY or SELL.")
@click.option("--threshold-unit", type=click.Choice(["atr", "pips"]), help="Unit of the threshold.")
@click.option("--costs/--no-costs", default=None, help="Labels net of spread and commission.")
@click.option(
    "--images", type=click.Choice(["none", "embed", "files"]), help="A chart per row, in Parquet or as files."
)
@click.option("--stride", type=int, help="Take every so-manieth bar as a row.")
@click.option(
    "--across-gaps",
    type=click.Choice(["drop", "keep"]),
    help="Rows whose window, label or features would span a gap or a weekend. Default: drop.",
)
@click.option("--messages-horizon", type=int, help="Add a conversation per row, answered by this horizon.")
@engine_option
@json_option
def build(
    config: Path | None,
    bars_path: Path,
    out_dir: Path,
    timeframe: str | None,
    symbol: str | None,
    horizons: str | None,
    threshold: float | None,
    threshold_unit: str | None,
    costs: bool | None,
    images: str | None,
    stride: int | None,
    across_gaps: str | None,
    messages_horizon: int | None,
    engine: str,
    as_json: bool,
) -> None:
    """Build a dataset from bars, or finish one whose build was interrupted.

    CONFIG is a YAML or JSON file (docs/how-to/datasets.md has the keys); options and AIOPT_DATASET__KEY
    variables override it.  Charts are drawn by this process or on the cluster; the files are the same.
    """
    from aiopt.bars.files import load_bar_set
    from aiopt.dataset import build_dataset, plan_rows

    settings = _settings(
        config, horizons, threshold, threshold_unit, costs, images, stride, across_gaps, messages_horizon
    )
    bars = load_bar_set(bars_path, timeframe=timeframe, symbol=symbol)
    plan = plan_rows(bars, settings)
    with (
        progress("Building the dataset, rows", plan.rows) as report,
        _renderer(settings, plan.rows, engine) as render,
    ):
        info = build_dataset(
            bars, out_dir, settings, plan=plan, render=render, progress=lambda done, _: report(done)
        )
    document = {"out": str(out_dir), **_facts(info)}
    emit(as_json, document, lambda console: _print(console, document, info))


@command.command(epilog="Example: aiopt dataset show datasets/eurusd-5m --verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare every file with its recorded SHA-256.")
@json_option
def show(folder: Path, verify: bool, as_json: bool) -> None:
    """Show what a dataset holds: rows, class balance, what was left out and why."""
    from aiopt.dataset import read_info, verify_files

    info = read_info(folder)
    problems = verify_files(folder, info) if verify else []
    if problems:
        raise DataError(
            f"The files must be as recorded, but {'; '.join(problems)}. Build again.", file=folder
        )
    document = {"out": str(folder), "verified": verify, **_facts(info)}
    emit(as_json, document, lambda console: _print(console, document, info))


def _settings(
    config: Path | None,
    horizons: str | None,
    threshold: float | None,
    threshold_unit: str | None,
    costs: bool | None,
    images: str | None,
    stride: int | None,
    across_gaps: str | None,
    messages_horizon: int | None,
) -> DatasetConfig:
    from aiopt.config import environment_overrides, load_config, merge, read_mapping
    from aiopt.dataset import DatasetConfig
    from aiopt.errors import ConfigError

    given: dict[str, Any] = {} if config is None else read_mapping(config)
    given = merge(given, environment_overrides(ENV_PREFIX))
    labels: dict[str, Any] = {}
    if horizons is not None:
        try:
            labels["horizons"] = [int(part) for part in horizons.split(",") if part.strip()]
        except ValueError as failure:
            msg = f"Horizons must be whole numbers, but got {horizons!r}. Write e.g. 6,12,24."
            raise ConfigError(msg) from failure
    if threshold is not None:
        labels["threshold"] = threshold
    if threshold_unit is not None:
        labels["threshold_unit"] = threshold_unit
    if across_gaps is not None:
        labels["across_gaps"] = across_gaps
    top: dict[str, Any] = {"labels": labels} if labels else {}
    if across_gaps is not None:
        top["across_gaps"] = across_gaps
    if costs is not None:
        # Switched on, costs of the file stay what they are.
        kept = (given.get("labels") or {}).get("costs") or {}
        top["labels"] = {**labels, "costs": kept if costs else None}
    if images is not None:
        top["images"] = None if images == "none" else {"store": images}
    if stride is not None:
        top["stride"] = stride
    if messages_horizon is not None:
        top["messages_horizon"] = messages_horizon
    return load_config(config, DatasetConfig, env_prefix=ENV_PREFIX, overrides=top)


@contextmanager
def _renderer(config: DatasetConfig, rows: int, engine: str) -> Iterator[ChartRenderer | None]:
    """Yield what draws the charts; None for this process."""
    wanted = engine == "ray" or (engine == "auto" and (connected() or rows >= RAY_FROM_CHARTS))
    if config.images is None or not wanted:
        yield None
        return
    with cluster_connection():
        from cluster.charts import render_charts_distributed

        def render(chart: PreparedChart, windows: Sequence[Window]) -> Iterator[bytes]:
            return render_charts_distributed(chart.bars, chart.spec, windows)

        yield render


def _facts(info: DatasetInfo) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(info)
    del facts["scale"]
    return facts


def _print(console: Console, document: dict[str, Any], info: DatasetInfo) -> None:
    from rich.table import Table

    console.print(
        f"{info.rows:,} rows of {info.bars:,} {info.timeframe} bars of {info.instrument}"
        f"{', synthetic data' if info.synthetic else ''}: {len(info.feature_columns)} features, "
        f"{len(info.label_columns)} labels, {len(info.files)} files, "
        f"{sum(file.bytes for file in info.files) / 2**20:.1f} MiB in {document['out']}",
        soft_wrap=True,
    )
    table = Table(
        "split", "rows", "first decision (UTC)", "last decision (UTC)", "label", "SELL", "HOLD", "BUY"
    )
    for name, split in info.splits.items():
        lead = (
            name,
            f"{split.rows:,}",
            time_text(split.first_decision_ns, "m"),
            time_text(split.last_decision_ns, "m"),
        )
        for label, counts in split.balance.items():
            shares = (f"{counts[side] / split.rows:.1%}" for side in ("SELL", "HOLD", "BUY"))
            table.add_row(*lead, label.removeprefix("label_"), *shares)
            lead = ("", "", "", "")
    console.print(table)
    reasons = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in info.left_out.items() if n)
    console.print(
        f"Left out: {reasons or 'nothing'}. Purge {info.purge_bars} bars, embargo {info.embargo_bars} bars."
    )
