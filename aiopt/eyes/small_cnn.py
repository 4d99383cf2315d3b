"""A small convolutional network on the pixels the eyes see: the baseline that a reader of charts must beat.

Three layers and one head per task; all questions of a chart are answered at once.  It knows no language and
cannot be asked anything else.  Owns the network and its answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from aiopt.dataset.judging import Asked, Reading
from aiopt.dataset.tasks.task_config import PictureConfig
from aiopt.eyes.charts import Size, answers_of, pixels


class SmallCnn(nn.Module):
    """Pixels to scores of every task.

    Parameters
    ----------
    tasks : sequence of str
        What it answers.
    size : Size
        Of the pictures.
    seed : int
        Of the weights.
    """

    def __init__(self, tasks: Sequence[str], size: Size, *, seed: int) -> None:
        super().__init__()
        self.tasks, self.size = tuple(tasks), size
        self.answers = [answers_of(task) for task in tasks]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                *(nn.Conv2d(3, 16, 7, stride=4, padding=3), nn.ReLU()),
                *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
                *(nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU()),
                nn.Flatten(),
            )
            with torch.no_grad():
                features = self.layers.eval()(torch.zeros(1, 3, size.height, size.width)).shape[1]
            self.joined = nn.Sequential(nn.Dropout(0.2), nn.Linear(features, 128), nn.ReLU(), nn.Dropout(0.2))
            self.heads = nn.ModuleList([nn.Linear(128, len(texts)) for texts in self.answers])

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Return scores of shape (n, classes) per task; pictures are uint8, (n, height, width, 3)."""
        scaled = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        joined = self.joined(self.layers(scaled))
        return [head(joined) for head in self.heads]

    def answers_to(
        self, asked: Iterable[Asked], pictures: PictureConfig, *, batch: int = 64
    ) -> list[Reading]:
        """Answer every question of its tasks; charts are drawn as for the eyes."""
        charts: dict[tuple[str, str], list[Asked]] = {}
        for one in asked:
            if one.task in self.tasks:
                charts.setdefault((one.sample, one.variant), []).append(one)
        groups = list(charts.values())
        found: list[Reading] = []
        self.eval()
        for start in range(0, len(groups), batch):
            part = groups[start : start + batch]
            seen = [torch.tensor(pixels(pictures.draw(group[0].bars), self.size)) for group in part]
            with torch.no_grad():
                scores = self(torch.stack(seen))
            for row, group in enumerate(part):
                found += [self._reading(one, [part[row] for part in scores]) for one in group]
        return found

    def _reading(self, one: Asked, scores: Sequence[torch.Tensor]) -> Reading:
        place = self.tasks.index(one.task)
        shares = torch.softmax(scores[place], 0)
        best = int(shares.argmax())
        return Reading(
            sample=one.sample,
            task=one.task,
            variant=one.variant,
            answer=self.answers[place][best],
            confidence=float(shares[best]),
        )
