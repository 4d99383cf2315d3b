"""The training that `aiopt model train` and ``jobs/train.py`` ask for: by this process or on the cluster.

Owns the choice of engine and device, and the way from a job's arguments to an exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aiopt.errors import AioptError, ConfigError
from aiopt.serving.checkpoint.sources import resolve
from cluster import lifecycle
from cluster.resources import detect_machine
from cluster.training.beside_serving import Ask, WhileServing, beside_serving

if TYPE_CHECKING:
    from aiopt.training.loop import StepReport
    from aiopt.training.training import TrainingJob, TrainingResult

Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["auto", "local", "ray"]


def training_job(
    config: Path | None, *, data: Sequence[Path], base: str, out: Path, device: Device
) -> TrainingJob:
    """Return what to train, with the device and its memory; a generated base (``tiny:vision:1``) is made.

    Raises
    ------
    ConfigError
        If the configuration is wrong, or a GPU is asked for and there is none.
    """
    from aiopt.training import load_training_config
    from aiopt.training.libraries import load_transformers

    settings = load_training_config(config)
    found = resolve(base, lifecycle.state_dir())
    load_transformers()
    import torch

    from aiopt.training.training import TrainingJob

    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ConfigError(
            "`--device cuda` needs a GPU that torch can use, but there is none. Use --device cpu."
        )
    if device == "cpu" or not gpu:
        name, memory = "cpu", detect_machine().memory_bytes
    else:
        name, memory = "cuda", int(torch.cuda.get_device_properties(0).total_memory)
    paths = tuple(Path(folder).resolve() for folder in data)
    return TrainingJob(
        config=settings, data=paths, base=found, out=Path(out).resolve(), device=name, device_bytes=memory
    )


def run_job(
    job: TrainingJob,
    *,
    engine: Engine,
    workers: int,
    report: Callable[[StepReport], None],
    note: Callable[[str], None],
    while_serving: WhileServing = "share",
    ask: Ask = lambda question: False,
) -> TrainingResult:
    """Train by this process, or by workers of the connected cluster.

    Parameters
    ----------
    job : TrainingJob
        What to train.
    engine : {"auto", "local", "ray"}
        auto: Ray for more than one worker.
    workers : int
        Processes that train together.
    report, note : callable
        Called with every step, and with what is out of the ordinary.
    while_serving : {"auto", "share", "drain", "refuse"}
        What becomes of an endpoint that serves from this state folder, see `beside_serving`.
    ask : callable
        Puts a question to the user.
    """
    if engine == "local" and workers > 1:
        raise ConfigError(f"`--engine local` is one worker, but got --workers {workers}. Use --engine ray.")
    from aiopt.training.training import finished, prepare, run_training

    # Everything is checked before an endpoint is asked to rest, and a finished training needs no memory.
    ready = prepare(job)
    beside: AbstractContextManager[None] = nullcontext()
    if finished(job) is None:
        needed = ready.plan.total * workers
        folder = lifecycle.state_dir()
        beside = beside_serving(folder, job, needed, mode=while_serving, ask=ask, note=note)
    with beside:
        if engine == "local" or (engine == "auto" and workers == 1):
            return run_training(job, report=report, note=note, prepared=ready)
        from cluster.connection import cluster_connection
        from cluster.training.distributed import train_on_ray

        with cluster_connection():
            return train_on_ray(job, workers=workers, report=report, note=note)


def train_job(
    config: Path | None,
    *,
    data: Sequence[Path],
    base: str,
    out: Path,
    device: Device,
    workers: int,
    while_serving: WhileServing = "auto",
) -> int:
    """Run a submitted training on the cluster it was submitted to; print, and return the exit code.

    Nobody is there to be asked: where ``auto`` would ask, the training is refused and the remedy printed.
    """
    from cluster.optimize import connect

    try:
        job = training_job(config, data=data, base=base, out=out, device=device)
        connect()
        result = run_job(
            job,
            engine="ray",
            workers=workers,
            report=print_step,
            note=print_note,
            while_serving=while_serving,
        )
    except AioptError as error:
        print_note(f"error: {error}")
        return error.exit_code
    print_note(f"{result.checkpoint} revision {result.revision}")
    return 0


def print_step(row: StepReport) -> None:
    """Print a step of a job's log: looks at the probe, and every tenth step."""
    if row.look is not None or row.step % 10 == 0 or row.step == row.steps:
        sys.stdout.write(step_text(row) + "\n")
        sys.stdout.flush()


def print_note(text: str) -> None:
    """Print a line of a job's log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def step_text(row: StepReport) -> str:
    """Return a step in one line."""
    text = (
        f"step {row.step:,}/{row.steps:,} {row.stage}: loss {row.loss:.4f}, rate {row.learning_rate:.2e}, "
        f"{row.tokens_per_s:,.0f} tokens/s, {row.memory_bytes / 2**30:.2f} GiB, {_left(row.eta_s)} left"
    )
    if row.look is not None:
        best = ", the best so far" if row.best else ""
        text += f"; probe {row.look.accuracy:.1%} right, loss {row.look.loss:.4f}{best}"
    return text


def _left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
