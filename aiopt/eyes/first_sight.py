"""First sight: the vision tower of a small base learns to see charts before it learns words.

Every chart answers all questions at once through heads that are thrown away, which teaches a tower far more
per second than one question at a time through a language model that does not know its words yet.  Owns the
tower with its heads and putting the tower back into the base.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aiopt.errors import InputError
from aiopt.eyes.charts import Size, answers_of
from aiopt.training.equal_windows import join_equal_windows
from aiopt.training.libraries import load_transformers

PATCH = 14


class SeeingTower(nn.Module):
    """The vision tower of a base, its merger, and a linear head per task on the mean of a picture's tokens.

    Parameters
    ----------
    base : Path
        A checkpoint of MiniCPM-V 4.6's architecture.
    tasks : sequence of str
        What it learns to see.
    size : Size
        Of the pictures: multiples of 56 pixels.
    seed : int
        Of the heads.
    """

    def __init__(self, base: Path, tasks: Sequence[str], size: Size, *, seed: int) -> None:
        super().__init__()
        transformers = load_transformers()
        model = transformers.AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32)
        join_equal_windows(model)
        # Beside the model, not part of it: only tower and merger are trained.
        self._whole: list[Any] = [model]
        self.tower, self.merger = model.model.vision_tower, model.model.merger
        self._rows, self._columns = size.height // PATCH, size.width // PATCH
        hidden = int(model.config.text_config.hidden_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.norm = nn.LayerNorm(hidden)
            self.heads = nn.ModuleList([nn.Linear(hidden, len(answers_of(task))) for task in tasks])

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return scores of shape (n, classes) per task; pictures are uint8, (n, height, width, 3)."""
        count, rows, columns = len(pictures), self._rows, self._columns
        scaled = pictures.float() / 127.5 - 1
        patches = scaled.reshape(count, rows, PATCH, columns, PATCH, 3).permute(5, 2, 0, 1, 3, 4)
        packed = patches.reshape(3, PATCH, count * rows * columns * PATCH)
        sizes = torch.tensor([[rows, columns]] * count, dtype=torch.int32)
        found = self._whole[0].model.get_image_features(packed[None], sizes)
        # The mean of the tokens is what attention that has not learnt yet reads: what is in it, a language
        # model can read from the start.  Heads over all tokens side by side would let the answers lie in
        # places that it has to find first.
        seen = self.norm(torch.stack(list(found.pooler_output)).mean(1))
        return [head(seen) for head in self.heads]


def write_seeing_base(tower: SeeingTower, base: Path, out: Path) -> Path:
    """Write a base whose tower and merger are the trained ones.

    Raises
    ------
    InputError
        If `out` exists.
    """
    if out.exists():
        raise InputError(f"The folder of a new checkpoint must not exist, but {out} does. Delete it first.")
    room = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        shutil.copytree(base, room / "base")
        tower._whole[0].save_pretrained(room / "weights")
        shutil.copyfile(room / "weights" / "model.safetensors", room / "base" / "model.safetensors")
        (room / "base").replace(out)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return out
