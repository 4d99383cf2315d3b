"""First sight: the vision tower of a small base learns to see charts before it learns words.

Every chart answers all questions at once through heads that are thrown away, which teaches a tower far more
per second than one question at a time through a language model that does not know its words yet.  Owns the
tower with its heads and putting the tower back into the base.

The heads read the tokens of a picture in three ways at once.  *Side by side*, each token at its own place:
that teaches the tower most and soonest, but the answers may lie where a language model does not look.  By
*looks*, as attention does: a few questions per task find the tokens that matter.  By the *mean*, which is
what attention reads before it has learnt where to look.  Learnt together, what the first finds comes to lie
where the other two read it.
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
MERGED = 16
"""Patches that become one token."""
LOOKS = 2
"""Of each task at the tokens."""


class SeeingTower(nn.Module):
    """The vision tower of a base, its merger, and heads per task on a picture's tokens.

    Training, it answers every task in each of the three ways, one after the other; otherwise by looks alone.

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
            self.looks = nn.Parameter(torch.randn(len(tasks), LOOKS, hidden) * hidden**-0.5)
            self.keys = nn.Linear(hidden, hidden)
            tokens = self._rows * self._columns // MERGED
            self.by_looks = _heads(tasks, LOOKS * hidden)
            self.by_mean = _heads(tasks, hidden)
            self.side_by_side = _heads(tasks, tokens * hidden)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return scores of shape (n, classes) per task; pictures are uint8, (n, height, width, 3)."""
        count, rows, columns = len(pictures), self._rows, self._columns
        scaled = pictures.float() / 127.5 - 1
        patches = scaled.reshape(count, rows, PATCH, columns, PATCH, 3).permute(5, 2, 0, 1, 3, 4)
        packed = patches.reshape(3, PATCH, count * rows * columns * PATCH)
        sizes = torch.tensor([[rows, columns]] * count, dtype=torch.int32)
        found = self._whole[0].model.get_image_features(packed[None], sizes)
        seen = self.norm(torch.stack(list(found.pooler_output)))  # (n, tokens, hidden)
        weights = torch.einsum("tlh,nph->ntlp", self.looks, self.keys(seen)).softmax(-1)
        looked = torch.einsum("ntlp,nph->ntlh", weights, seen).flatten(2)
        scores = [head(looked[:, task]) for task, head in enumerate(self.by_looks)]
        if self.training:
            scores += [head(seen.mean(1)) for head in self.by_mean]
            scores += [head(seen.flatten(1)) for head in self.side_by_side]
        return scores


def _heads(tasks: Sequence[str], width: int) -> nn.ModuleList:
    return nn.ModuleList([nn.Linear(width, len(answers_of(task))) for task in tasks])


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
