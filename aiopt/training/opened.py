"""A checkpoint opened to be asked: its model, and questions of sets of tasks as its training encoded them.

Owns the way from a question to the tokens and pixels before its answer, the same for every reader in this
process.  How an answer is found is theirs: freely (`aiopt.training.reading`) or among the possible ones
(`aiopt.eyes.answering`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aiopt.dataset.judging.asking import Asked
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.training.base import Base, open_base
from aiopt.training.encoding import Encoder
from aiopt.training.equal_windows import join_equal_windows
from aiopt.training.records import Record
from aiopt.training.training_config import TrainingConfig


class OpenedCheckpoint:
    """A checkpoint in memory, in float32, ready to be asked.

    Parameters
    ----------
    checkpoint : Path
        Its folder.
    device : str
        As torch names it.

    Attributes
    ----------
    base : Base
        Tokenizer, geometry, revision.
    encoder : Encoder
        Makes prompts of records.
    model : Any
        On its device.

    Raises
    ------
    CheckpointError
        If it is not whole.
    ConfigError
        If it is of an architecture that is not trained here, or transformers is not installed.
    """

    def __init__(self, checkpoint: Path, *, device: str = "cpu") -> None:
        config = TrainingConfig()
        self.base: Base = open_base(str(checkpoint), config)
        self.encoder = Encoder(self.base, config)
        model = self.base.load_model(torch.float32)
        join_equal_windows(model)
        self.model: Any = model.to(device).eval()
        self._drawn: tuple[object, bytes] = (None, b"")

    def record(self, one: Asked, answer: str, pictures: PictureConfig, *, numbers: bool = False) -> Record:
        """Return a question with an answer as a record of training; its chart is drawn where it is looked at.

        Parameters
        ----------
        one : Asked
            The question; several of one chart in a row draw it once.
        answer : str
            What would be said.
        pictures : PictureConfig
            How charts are drawn, the badge of generated ones included.
        numbers : bool
            Whether the question comes with the bars in numbers.
        """
        said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        return Record(
            where=f"{one.sample}, {one.task}, {one.variant}",
            sample=one.sample,
            messages=[*one.messages(numbers=numbers), said],
            png=None if self.base.geometry is None else self._picture(one, pictures),
        )

    def _picture(self, one: Asked, pictures: PictureConfig) -> bytes:
        shown, png = self._drawn
        if shown is not one.bars:
            png = pictures.draw(one.bars)
            self._drawn = one.bars, png
        return png
