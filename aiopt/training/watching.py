"""What a training leaves for those who watch it: ``metrics.jsonl`` and TensorBoard files.

Owns both.  After a kill, rows of steps that are trained again are dropped first.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from aiopt.files import atomic_write_bytes
from aiopt.training.loop import StepReport

METRICS_FILE = "metrics.jsonl"
BOARD_FOLDER = "tensorboard"


class Watch:
    """Writes every step of a training.

    Parameters
    ----------
    folder : Path
        Of the training.
    step : int
        Steps done before: rows after it are of a process that was killed, and go.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / METRICS_FILE
        kept = [row for row in read_metrics(folder) if row.step <= step]
        atomic_write_bytes(self._path, b"".join(msgspec.json.encode(row) + b"\n" for row in kept))
        self._stream = self._path.open("ab")
        self._board: Any = None
        # It comes with Ray; training by itself does without.
        if importlib.util.find_spec("tensorboardX") is not None:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / BOARD_FOLDER), purge_step=step + 1, flush_secs=10)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        if self._board is not None:
            self._board.close()

    def report(self, row: StepReport) -> None:
        """Write a step."""
        self._stream.write(msgspec.json.encode(row) + b"\n")
        self._stream.flush()
        if self._board is None:
            return
        for name in ("loss", "learning_rate", "gradient_norm", "tokens_per_s", "memory_bytes"):
            self._board.add_scalar(f"train/{name}", getattr(row, name), row.step)
        if row.look is not None:
            for name in ("accuracy", "token_accuracy", "loss"):
                self._board.add_scalar(f"probe/{name}", getattr(row.look, name), row.step)


def read_metrics(folder: Path) -> list[StepReport]:
    """Return the rows of ``metrics.jsonl``; the half of one that a kill left at the end is left out."""
    path = Path(folder) / METRICS_FILE
    if not path.is_file():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(msgspec.json.decode(line, type=StepReport))
        except msgspec.DecodeError:
            # Only a process that was killed while it wrote leaves half a row, and it is the last.
            break
    return rows
