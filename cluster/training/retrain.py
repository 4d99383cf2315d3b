"""The retraining that `aiopt model retrain` and ``jobs/retrain.py`` do: who trains and who reads in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aiopt.errors import AioptError
from cluster import lifecycle

if TYPE_CHECKING:
    from aiopt.dataset.judging import Asked, Reading
    from aiopt.dataset.tasks import PictureConfig
    from aiopt.promotion import Candidate
    from aiopt.retraining import Outcome, RetrainConfig
    from cluster.training.job import Engine


def run_retraining(config: RetrainConfig, *, engine: Engine, say: Callable[[str], None]) -> Outcome:
    """Do a round if there is new data.

    Parameters
    ----------
    config : RetrainConfig
        What to do.
    engine : {"auto", "local", "ray"}
        Who trains.
    say : callable
        Prints a line.
    """
    from aiopt.retraining import retrain
    from cluster.training.job import run_job, step_text, training_job

    def trains(base: str, data: Sequence[Path], out: Path) -> str:
        settings = None if config.training is None else Path(config.training)
        job = training_job(settings, data=data, base=base, out=out, device=config.device)

        def report(row: object) -> None:
            if row.look is not None:  # type: ignore[attr-defined]  # a StepReport
                say(step_text(row))  # type: ignore[arg-type]

        made = run_job(
            job, engine=engine, workers=1, report=report, note=say, while_serving=config.while_serving
        )
        return made.checkpoint

    return retrain(config, trains, read_locally, state=lifecycle.state_dir(), say=say)


def read_locally(candidate: Candidate, asked: Sequence[Asked], pictures: PictureConfig) -> list[Reading]:
    """Answer questions by a checkpoint in this process, as a greedy engine under the grammar would."""
    from aiopt.eyes.answering import CheckpointReader

    return CheckpointReader(Path(candidate.checkpoint.path)).answers_to(asked, pictures)


def retrain_job(config_path: Path) -> int:
    """Run a submitted retraining; print, and return the exit code: 0 also where there was nothing to do."""
    from aiopt.retraining import load_retrain_config
    from cluster.optimize import connect

    log = sys.stdout

    def say(text: str) -> None:
        log.write(text + "\n")
        log.flush()

    try:
        config = load_retrain_config(config_path)
        connect()
        found = run_retraining(config, engine="ray", say=say)
    except AioptError as error:
        say(f"error: {error}")
        return error.exit_code
    say(found.message)
    return 0
