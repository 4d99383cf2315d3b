"""Ray Train's workers: two train as one does, and one that dies changes no bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from aiopt.errors import ClusterError
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.failures import TrainingError
from aiopt.training.loop import StepReport
from aiopt.training.training import TrainingResult, run_training
from cluster.training.distributed import product_error, train_on_ray
from tests.unit.training.made_training import configured, dataset, job

# Ray's own, of its own names and files.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TOLERANCE = 1e-6
"""Of weights after 8 steps.  With two micro batches a step the bits are equal: a sum of two has one order."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set")
    return folder


@pytest.fixture(scope="module")
def two(made: Path, ray_driver: object) -> tuple[TrainingResult, list[StepReport]]:
    rows: list[StepReport] = []
    result = train_on_ray(
        job(configured(), made / "set", made / "tiny", made / "two"), workers=2, report=rows.append
    )
    return result, rows


@pytest.mark.slow
def test_two_workers_train_as_one(made: Path, two: tuple[TrainingResult, list[StepReport]]) -> None:
    result, rows = two
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone: list[StepReport] = []
    one = run_training(job(configured(), made / "set", made / "tiny", made / "one"), report=alone.append)
    torch.set_num_threads(threads)
    assert [row.step for row in rows] == list(range(1, 9))
    assert [row.tokens for row in rows] == [row.tokens for row in alone]
    for row, other in zip(rows, alone, strict=True):
        assert row.loss == pytest.approx(other.loss, rel=1e-4)
    assert one.identity == result.identity
    states = [
        load_file(made / name / "states" / "step-00000008" / "weights.safetensors") for name in ("one", "two")
    ]
    largest = max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0])
    assert largest < TOLERANCE


@pytest.mark.slow
def test_a_worker_that_dies_is_started_again_and_no_bit_differs(made: Path, ray_driver: object) -> None:
    notes: list[str] = []
    killed: list[int] = []

    def kill(row: StepReport) -> None:
        if row.step >= 3 and not killed:
            workers = [process for process in psutil.process_iter() if "RayTrainWorker" in _title(process)]
            killed.extend(process.pid for process in workers[:1])
            os.kill(killed[0], signal.SIGKILL)

    result = train_on_ray(
        job(configured(), made / "set", made / "tiny", made / "killed"),
        workers=2,
        report=kill,
        note=notes.append,
    )
    assert killed
    assert notes == ["A worker died; the training goes on from its last state (restart 1)."]
    torch.set_num_threads(1)
    one = run_training(job(configured(), made / "set", made / "tiny", made / "one"))
    assert result.weights_hash == one.weights_hash


@pytest.mark.slow
def test_more_workers_than_room_are_refused_at_once(made: Path, ray_driver: object) -> None:
    with pytest.raises(ClusterError, match=r"must have 64 of CPU for 64 workers, but has 2\. Ask for fewer"):
        train_on_ray(job(configured(), made / "set", made / "tiny", made / "many"), workers=64)


def test_the_products_own_error_is_found_inside_rays() -> None:
    inner = TrainingError("no number")
    outer = RuntimeError("outer")
    outer.worker_failures = {0: ValueError("x"), 1: inner}  # type: ignore[attr-defined]
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = outer
    assert product_error(wrapped) is inner
    assert product_error(ValueError("other")) is None


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""
