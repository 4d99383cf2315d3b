"""`aiopt model retrain`: train again when there is new data, and propose what comes out.  Options alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiopt.cli.options import json_option
from aiopt.cli.output import emit, stderr_console

if TYPE_CHECKING:
    from cluster.training.job import Engine


@click.command(epilog="Example: aiopt model retrain retrain.yaml")
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["auto", "local", "ray"]),
    default="auto",
    show_default=True,
    help="auto: this process.",
)
@click.option("--accept", type=int, help="Train nothing: say that this round's proposal was taken.")
@json_option
def retrain(config: Path, engine: Engine, accept: int | None, as_json: bool) -> None:
    """Train on data that no round has seen, from the last good checkpoint, and judge it on later data.

    CONFIG is a YAML or JSON file (docs/how-to/training.md has the keys).  Without new data nothing is done,
    and a round that was killed goes on, so a timer may call it as often as it likes.
    """
    from aiopt.retraining import accept as take
    from aiopt.retraining import load_retrain_config
    from cluster.training.retrain import run_retraining

    settings = load_retrain_config(config)
    if accept is not None:
        taken = take(settings, accept)
        emit(as_json, taken, lambda shown: shown.print(f"The next round starts from {taken.checkpoint}."))
        return
    console = stderr_console()
    found = run_retraining(
        settings, engine=engine, say=lambda text: console.print(text, markup=False, soft_wrap=True)
    )
    emit(as_json, found, lambda shown: shown.print(found.message, markup=False, soft_wrap=True))
