"""A disk that is full for true while a training writes: told, nothing half-written, gone on with later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors import SafetensorError

from aiopt.errors import StorageError
from aiopt.files import MIB
from aiopt.serving.checkpoint.tiny_minicpm import build_checkpoint
from aiopt.training.base import export, open_base
from aiopt.training.disk import disk_errors
from aiopt.training.loop import StepReport
from aiopt.training.training import run_training
from aiopt.training.watching import Watch, read_metrics
from tests.unit.cluster.training.test_training_log import at
from tests.unit.training.made_training import configured, dataset, job

DISK_BYTES = 56 * MIB
STATE_BYTES = 12 * 578_818


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of a few states' size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a disk of a chosen size needs root that may mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    build_checkpoint(folder / "tiny", seed=1)
    dataset(folder / "set")
    return folder


def fill(disk: Path, *, leave: int) -> None:
    """Fill a disk up to some bytes."""
    with (disk / "ballast").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        while True:
            stream.write(bytes(4096))
    os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - leave)


def test_a_state_that_does_not_fit_stops_the_training_and_no_bit_is_lost(made: Path, disk: Path) -> None:
    whole = run_training(job(configured(), made / "set", made / "tiny", made / "whole"))
    training = job(configured(), made / "set", made / "tiny", disk / "out")

    def others_write(row: StepReport) -> None:
        if row.step == 3:
            fill(disk, leave=STATE_BYTES // 2)

    with pytest.raises(StorageError, match=r"The disk of .*/step-00000004 is full\. Free space"):
        run_training(training, report=others_write)
    assert [path.name for path in (disk / "out" / "states").iterdir()] == ["step-00000002"]
    # Still no room: told again, and what is good stays.
    with pytest.raises(StorageError, match="room for 4 states"):
        run_training(training)
    assert [path.name for path in (disk / "out" / "states").iterdir()] == ["step-00000002"]
    (disk / "ballast").unlink()
    rows: list[int] = []
    result = run_training(training, report=lambda row: rows.append(row.step))
    assert rows == [3, 4, 5, 6, 7, 8]
    assert result.weights_hash == whole.weights_hash
    assert [row.loss for row in read_metrics(disk / "out")] == [
        row.loss for row in read_metrics(made / "whole")
    ]


def test_a_checkpoint_that_does_not_fit_leaves_nothing(made: Path, disk: Path) -> None:
    base = open_base(str(made / "tiny"), configured())
    model = base.load_model(torch.float32)
    fill(disk, leave=MIB)
    with pytest.raises(StorageError, match=r"The disk of .*/checkpoint is full"):
        export(base, model, disk / "checkpoint", dtype="float32", picture_sizes=(), files={})
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_a_step_that_cannot_be_written_down_is_told(disk: Path) -> None:
    told = pytest.raises(StorageError, match=r"The disk of .*/metrics.jsonl is full")
    with told, Watch(disk, 0) as watch:
        fill(disk, leave=16 * 1024)
        for step in range(1, 1_000):
            watch.report(at(step))
    written = read_metrics(disk)
    assert written == [at(step) for step in range(1, len(written) + 1)]
    assert 10 < len(written) < 1_000
    with pytest.raises(StorageError, match="is full"):
        Watch(disk, len(written))
    (disk / "ballast").unlink()
    with Watch(disk, 5) as watch:
        watch.report(at(6))
    assert [row.step for row in read_metrics(disk)] == [1, 2, 3, 4, 5, 6]


def test_only_what_the_system_says_of_the_disk_is_translated(tmp_path: Path) -> None:
    full = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageError, match=r"The disk of .* is full"), disk_errors(tmp_path):
        raise SafetensorError(full)
    for other in (SafetensorError("Error while serializing: a tensor is no tensor"), KeyError("code: 28")):
        with pytest.raises(type(other)), disk_errors(tmp_path):
            raise other
    with pytest.raises(IsADirectoryError), disk_errors(tmp_path):
        tmp_path.read_bytes()
