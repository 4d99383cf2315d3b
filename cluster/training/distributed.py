"""A training by several workers of a Ray cluster, through Ray Train's `TorchTrainer`.

Owns the worker group, its resources, and going on after a worker died.  What a worker does is
`aiopt.training.training.run_training`, the same as without Ray; batches are dealt by number, so every worker
needs the dataset and the training's folder at the same paths.  Ray Train's own checkpoints are not used: the
training's states are whole, hashed and the same with and without Ray.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from aiopt.errors import AioptError, ClusterError, ConfigError
from aiopt.training.identity import claim
from aiopt.training.loop import StepReport
from aiopt.training.training import TrainingJob, TrainingResult, finished, prepare, run_training
from aiopt.training.watching import METRICS_FILE
from aiopt.training.workers import Group
from cluster.resources import stage_options

REPORT_STEPS = 10
"""Steps between two reports to Ray; each makes the workers wait for each other."""

RAY_FOLDER = "ray"
MAX_RESTARTS = 3
TAIL_EVERY_S = 0.5
GROUP_TIMEOUT_S = 1800


def train_on_ray(
    job: TrainingJob,
    *,
    workers: int,
    report: Callable[[StepReport], None] = lambda row: None,
    note: Callable[[str], None] = lambda text: None,
    max_restarts: int = MAX_RESTARTS,
) -> TrainingResult:
    """Train on the connected cluster, or go on where a killed training stopped.

    Parameters
    ----------
    job : TrainingJob
        What to train; its paths must be seen by every node.
    workers : int
        Processes that train together, one GPU each where the device is one.
    report : callable, optional
        Called with every step.
    note : callable, optional
        Told of restarts.
    max_restarts : int
        How often a group is started again of which a worker died.

    Raises
    ------
    AioptError
        As `run_training`, of the class raised in the worker.
    ClusterError
        If the cluster has no room for the workers, or they die again and again.
    """
    ready = prepare(job)
    resources = _resources(job, ready.plan.total)
    _check_room(workers, resources)
    job.out.mkdir(parents=True, exist_ok=True)
    # Before Ray Train puts its own folder there.
    claim(job.out, ready.identity)
    done = finished(job)
    if done is not None:
        return done
    for restart in range(max_restarts + 1):
        try:
            with _tailed(job.out / METRICS_FILE, report):
                _trainer(job, workers, resources).fit()
            found = finished(job)
            if found is None:
                raise ClusterError(
                    f"The workers ended, but {job.out} holds no finished training as this process sees it. "
                    "The "
                    "folder must be the same one on every node."
                )
            return found
        except TrainingFailedError as failure:
            cause = product_error(failure)
            if cause is not None:
                raise cause from failure
            if restart == max_restarts:
                raise ClusterError(
                    f"Workers of the training died {max_restarts + 1} times, the last time with: "
                    f"{str(failure).strip().splitlines()[-1]}. Its states are kept in {job.out}: mend the "
                    "cause, "
                    "then run the same command again."
                ) from failure
            note(f"A worker died; the training goes on from its last state (restart {restart + 1}).")
    raise AssertionError("the loop returns or raises")


def product_error(failure: BaseException) -> AioptError | None:
    """Return the product's own error inside what Ray Train raised; None where there is none."""
    pending: list[Any] = [failure]
    seen: list[Any] = []
    while pending:
        error = pending.pop()
        if isinstance(error, AioptError):
            return error
        if not isinstance(error, BaseException) or any(error is other for other in seen):
            continue
        seen.append(error)
        pending += [error.__cause__, getattr(error, "cause", None), getattr(error, "_base_exc", None)]
        pending += list(getattr(error, "worker_failures", {}).values())
    return None


def _trainer(job: TrainingJob, workers: int, resources: dict[str, float]) -> TorchTrainer:
    gpu = job.device != "cpu"
    return TorchTrainer(
        _work,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=GROUP_TIMEOUT_S),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name=job.out.name,
            storage_path=str((job.out / RAY_FOLDER).resolve()),
            # Which failures are worth another try is decided here: a loss that is no number is none.
            failure_config=FailureConfig(max_failures=0),
        ),
    )


def _work(settings: dict[str, Any]) -> None:
    """Train as one worker of the group that Ray Train has set up."""
    job: TrainingJob = settings["job"]

    def report(row: StepReport) -> None:
        if row.look is not None or row.step % REPORT_STEPS == 0 or row.step == row.steps:
            look = {} if row.look is None else {f"probe_{k}": v for k, v in _numbers(row.look).items()}
            train.report({**_numbers(row), **look})

    run_training(job, workers=Group(), report=report)


def _numbers(row: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(row)
    return {key: value for key, value in document.items() if isinstance(value, (int, float, str))}


def _resources(job: TrainingJob, memory_bytes: int) -> dict[str, float]:
    """Return what Ray sets aside for a worker: its row of the table, and on a CPU the planned memory."""
    options = stage_options("training-cpu" if job.device == "cpu" else "training-gpu")
    found = {"CPU": float(options["num_cpus"])}
    if "num_gpus" in options:
        found["GPU"] = float(options["num_gpus"])
    else:
        found["memory"] = float(memory_bytes)
    return found


def _check_room(workers: int, resources: dict[str, float]) -> None:
    """Refuse a group that the cluster could never start: Ray would wait for ever.

    Raises
    ------
    ConfigError
        If less than one worker is asked for.
    ClusterError
        Names what is asked for and what there is.
    """
    if workers < 1:
        raise ConfigError(f"`workers >= 1` must hold, but got workers={workers}.")
    offered = ray.cluster_resources()
    for name, amount in resources.items():
        if amount * workers > offered.get(name, 0.0):
            raise ClusterError(
                f"The cluster must have {amount * workers:,.10g} of {name} for {workers} workers, but has "
                f"{offered.get(name, 0.0):,.10g}. Ask for fewer workers, or add nodes (`aiopt cluster up`)."
            )


@contextmanager
def _tailed(path: Path, report: Callable[[StepReport], None]) -> Iterator[None]:
    """Report the rows that the first worker appends to a file while the block runs."""
    ended = threading.Event()
    started = path.stat().st_size if path.is_file() else 0

    def follow() -> None:
        offset, last, rest = started, 0, b""
        while True:
            finishing = ended.is_set()
            if path.is_file():
                if path.stat().st_size < offset:
                    offset, rest = 0, b""  # the worker dropped rows of steps that are trained again
                with path.open("rb") as stream:
                    stream.seek(offset)
                    data = stream.read()
                offset += len(data)
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    row = msgspec.json.decode(line, type=StepReport)
                    if row.step > last:
                        last = row.step
                        report(row)
            if finishing:
                return
            ended.wait(TAIL_EVERY_S)

    thread = threading.Thread(target=follow, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=10)
