"""A checkpoint that is compared: what it is called, where it lies, and what it has seen.

Owns opening one by name.  Loads no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiopt.dataset.judging.seen import Seen, read_seen, refuse_what_was_seen, seen_by
from aiopt.errors import DataError
from aiopt.serving.checkpoint.geometry import GEOMETRY_FILE
from aiopt.serving.checkpoint.sources import resolve
from aiopt.serving.checkpoint.validation import Checkpoint, validate


@dataclass(frozen=True)
class Candidate:
    """One side of a comparison.

    Attributes
    ----------
    source : str
        As it was named: what a swap takes.
    checkpoint : Checkpoint
        What was found.
    seen : Seen or None
        What it was trained on; None for one that was not trained here.
    """

    source: str
    checkpoint: Checkpoint
    seen: Seen | None

    @property
    def name(self) -> str:
        """For tables: the model's name and the beginning of its revision."""
        return f"{self.checkpoint.model_id} ({self.checkpoint.revision[:8]})"

    @property
    def known(self) -> bool:
        """Whether it says all it was trained on."""
        return self.seen is not None and self.seen.complete


def open_candidate(source: str, folder: Path, *, trained_on: Sequence[Path] = ()) -> Candidate:
    """Open a checkpoint, training, proposal or hub id.

    Parameters
    ----------
    source : str
        Its name.
    folder : Path
        State folder: generated checkpoints lie below it.
    trained_on : sequence of Path
        Datasets it was trained on beside those it names itself.

    Raises
    ------
    CheckpointError
        If it is absent or not whole.
    DataError
        If it was trained here, but by a version that did not write down on what.
    """
    checkpoint = validate(resolve(source, folder))
    seen = read_seen(Path(checkpoint.path))
    if seen is None and (Path(checkpoint.path) / GEOMETRY_FILE).is_file() and not trained_on:
        raise DataError(
            f"{source}: a trained checkpoint must say what it has seen, but this one was written by a "
            "version that did not. Name its datasets: --trained-on DATASET."
        )
    if trained_on:
        seen = seen_by(trained_on, seen)
    return Candidate(source, checkpoint, seen)


def refuse_seen_charts(candidates: Sequence[Candidate], judged: Path, split: str) -> None:
    """Raise if a candidate would be judged on what it has seen.

    Raises
    ------
    DataError
        Names the candidate and the time or chart.
    """
    for one in candidates:
        refuse_what_was_seen(one.seen or Seen(), one.source, judged, split)
