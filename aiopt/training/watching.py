"""What a training leaves for those who watch it: ``metrics.jsonl`` and TensorBoard files.

Owns both.  After a kill, rows of steps that are trained again are dropped first.  Both are written by the
training's own thread: a writer of its own that meets a full disk dies unheard, and whoever feeds it waits for
ever.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from aiopt.files import atomic_write_bytes
from aiopt.training.disk import disk_errors
from aiopt.training.loop import StepReport

METRICS_FILE = "metrics.jsonl"
BOARD_FOLDER = "tensorboard"
FLUSH_S = 10.0
"""Between two times that TensorBoard's file is brought to the disk."""


class Watch:
    """Writes every step of a training.

    Parameters
    ----------
    folder : Path
        Of the training.
    step : int
        Steps done before: rows after it are of a process that was killed, and go.

    Raises
    ------
    StorageError
        If the disk is full, then and at every step.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / METRICS_FILE
        kept = [row for row in read_metrics(folder) if row.step <= step]
        atomic_write_bytes(self._path, b"".join(msgspec.json.encode(row) + b"\n" for row in kept))
        self._open = contextlib.ExitStack()
        with disk_errors(self._path), self._open:
            self._stream = self._open.enter_context(self._path.open("ab"))
            # It comes with Ray; training by itself does without.
            self._board = None
            if importlib.util.find_spec("tensorboardX") is not None:
                self._board = _Board(folder / BOARD_FOLDER, step + 1)
                self._open.callback(self._board.close)
            self._open = self._open.pop_all()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with disk_errors(self._path):
                self._open.close()
            return
        # What stopped the training is told; closing says the same once more where the disk is full.
        with contextlib.suppress(OSError):
            self._open.close()

    def report(self, row: StepReport) -> None:
        """Write a step."""
        with disk_errors(self._path):
            self._stream.write(msgspec.json.encode(row) + b"\n")
            self._stream.flush()
            if self._board is not None:
                self._board.report(row)


class _Board:
    """A file of events for TensorBoard.

    Parameters
    ----------
    folder : Path
        Of all files of events of this training.
    step : int
        Events of earlier files from this step on are no longer shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import scalar

        self._event, self._scalar = event_pb2.Event, scalar
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._records: Any = RecordWriter(str(folder / name))
        self._flushed = time.monotonic()
        self._write(0, file_version="brain.Event:2")
        self._write(step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def report(self, row: StepReport) -> None:
        """Write the numbers of a step."""
        names = ("loss", "learning_rate", "gradient_norm", "tokens_per_s", "memory_bytes")
        values = {f"train/{name}": getattr(row, name) for name in names}
        if row.look is not None:
            looked = ("accuracy", "token_accuracy", "loss")
            values |= {f"probe/{name}": getattr(row.look, name) for name in looked}
        for name, value in values.items():
            self._write(row.step, summary=self._scalar(name, value))
        now = time.monotonic()
        if now - self._flushed >= FLUSH_S:
            self._flushed = now
            self._records.flush()

    def close(self) -> None:
        """Write what is left."""
        self._records.close()

    def _write(self, step: int, **content: Any) -> None:
        event = self._event(wall_time=time.time(), step=step, **content)
        self._records.write(event.SerializeToString())


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
